import CLinux
import CStackLayout
import Counters
import Settings
import SharedMemory
import Stacks

/// Flags of a send that a ring serves; with any other it goes by the kernel. (MSG_CONFIRM and MSG_EOR mean nothing here.)
private let ringFlags: Int32 = 0x40 | 0x4000 | 0x800 | 0x80  // MSG_DONTWAIT, NOSIGNAL, CONFIRM, EOR

/// sendto, sendmsg, send, write on a UDP socket. `remote`: to whom, nil: a name that the kernel must judge. Result or -errno.
func datagramSend(
    _ e: Endpoint, _ fd: Int32, _ source: inout UserBytes, _ remote: sl_address?, _ flags: Int32, isPlain: Bool, _ real: () -> Int
) -> Int {
    if isPlain, flags & ~ringFlags == 0, let remote, let flows = unsafe Flows.open(e), let flow = unsafe flows.find(remote),
        let f = unsafe flow.pointee.endpoint, unsafe slc_acquire_u32(&f.pointee.lane) == UInt32(SL_LANE_LOOPBACK),
        unsafe e.pointee.error == 0
    {
        let r = unsafe FlowLane.sendNow(f, fd, &source)
        if r != useKernel { return r }
    }
    let r = real()
    if r >= 0, let remote {
        if let f = unsafe Flows.known(e)?.find(remote)?.pointee.endpoint {
            let lock = unsafe RobustLock(&f.tx.pointee.lock)
            lock.acquire()
            unsafe f.tx.pointee.kernel_bytes &+= 1
            lock.release()
        }
        unsafe Flows.note(e, fd, remote)
        unsafe e.pointee.counters.tx_kernel_bytes &+= UInt64(r)
    }
    return r
}

/// The lane of a flow: as that of a stream, but that datagrams lie in its rings, and `Half.kernel_bytes` counts datagrams of the
/// kernel.
enum FlowLane {
    /// One datagram into the ring. Its bytes, -errno, or `useKernel`. Takes the tx lock of the flow.
    static func sendNow(_ f: Endpoint, _ fd: Int32, _ source: inout UserBytes) -> Int {
        let lock = unsafe RobustLock(&f.tx.pointee.lock)
        lock.acquire()
        defer { lock.release() }
        guard let writer = unsafe f.writer else { return useKernel }
        let d = unsafe writer.direction
        guard unsafe slc_acquire_u32(&d.pointee.rx_control) == UInt32(SL_RX_OPEN),
            unsafe f.pointee.flags & UInt32(SL_EP_GIVEN_UP) == 0
        else {
            unsafe leave(f)
            return useKernel
        }
        if unsafe f.tx.pointee.phase & 1 == 0 {
            unsafe f.pointee.tx_limit = unsafe f.pointee.ring_bytes
            unsafe f.tx.pointee.phase &+= 1
            unsafe slc_release_u32(&d.pointee.phase, f.tx.pointee.phase)
            unsafe f.pointee.reason = Reason.none.number
        }
        let n = source.total
        guard n <= largestDatagram, UInt64(n) < writer.limit / 4 else { return useKernel }
        if peerMayBeGone(f, writer) {
            unsafe leave(f)
            return useKernel
        }
        var isDamaged = false
        guard
            let room = unsafe writer.datagram(n, kernelCount: f.tx.pointee.kernel_bytes, stamp: slc_tsc(), isDamaged: &isDamaged)
        else {
            if isDamaged {
                unsafe damaged(f)
                return useKernel
            }
            // As the kernel: a receiver that is full drops it, and the sender is not told.
            unsafe f.pointee.counters.drops &+= 1
            return n
        }
        var at = 0
        while at < n {
            let (p, k) = unsafe source.next(n &- at)
            guard k > 0, let p = unsafe p else { break }
            unsafe memcpy(room.memory + at, p, k)
            source.advance(k)
            at = at &+ k
        }
        writer.publish(room.next)
        unsafe f.pointee.counters.tx_packets &+= 1
        unsafe f.pointee.counters.tx_ring_bytes &+= UInt64(n)
        slc_fence()
        let mask = unsafe slc_relaxed_u64(&d.pointee.data_waiters)
        if mask != 0 { unsafe Lane.notify(f, mask, d) }
        return n
    }

    /// Datagrams lie unread and the reader has not moved for a millisecond: has its process ended?
    @inline(__always) private static func peerMayBeGone(_ f: Endpoint, _ writer: RingWriter) -> Bool {
        let now = slc_tsc()
        guard unsafe now &- f.tx.pointee.kernel_look > 1000 &* process.tickRate else { return false }
        unsafe f.tx.pointee.kernel_look = now
        let before = unsafe f.tx.pointee.other_offset
        guard let unread = writer.unread() else { return false }
        return unsafe unread != 0 && before == f.tx.pointee.other_offset && peerIsGone(f)
    }

    @inline(never) static func peerIsGone(_ f: Endpoint) -> Bool {
        guard let pair = unsafe f.local.pointee.pair else { return true }
        var p = unsafe pollfd(fd: pair.pointee.channel, events: 0, revents: 0)
        var zero = timespec()
        return unsafe pair.pointee.peerIsGone || slc_ppoll(&p, 1, &zero, nil) > 0 && p.revents & Int16(POLLHUP) != 0
    }

    /// Under the tx lock: from now on the kernel carries what is sent. What is unread in the ring stays the reader's.
    @inline(never) static func leave(_ f: Endpoint) {
        unsafe f.pointee.flags |= UInt32(SL_EP_GIVEN_UP)
        if unsafe f.pointee.reason == Reason.none.number { unsafe f.pointee.reason = Reason.peerHandedBack.number }
        guard let d = unsafe f.txDirection, unsafe f.tx.pointee.phase & 1 == 1 else { return }
        unsafe slc_release_u32(&d.pointee.ended, UInt32(SL_ENDED))
        unsafe f.tx.pointee.phase &+= 1
        unsafe slc_release_u32(&d.pointee.phase, f.tx.pointee.phase)
        unsafe f.pointee.counters.lane_handbacks &+= 1
    }

    @inline(never) static func damaged(_ f: Endpoint) {
        count(StackCounter.damagedWords)
        unsafe f.pointee.reason = Reason.damaged.number
        unsafe f.pointee.flags |= UInt32(SL_EP_GIVEN_UP)
        _ = unsafe slc_or_u32(sl_flags(f.rx), UInt32(SL_HALF_GONE))
    }
}
