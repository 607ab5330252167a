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
    // MSG_MORE: what follows is part of the same datagram.
    if unsafe flags & 0x8000 != 0 && e.pointee.flags & UInt32(SL_EP_OPTION) == 0 { unsafe Flows.exclude(e, .option) }
    guard let remote else {
        let r = unsafe countKernel(e, real())
        // By another family's name for a peer: no flow has counted it.
        if unsafe r >= 0 && Flows.hasOpen(e) { unsafe Flows.exclude(e, .option) }
        return r
    }
    var way: KernelWay
    while true {
        way = KernelWay()
        if unsafe Flows.hasOpen(e) {
            let r = unsafe sendByRing(e, &source, remote, flags, isPlain, &way)
            if r != useKernel { return r }
            if way.isNew { unsafe Flows.leaveTwins(e, remote) }
        }
        _ = unsafe slc_add_u32(&e.tx.pointee.plain_calls, 1)
        // Its flow may have begun to count before this one was seen to be under way.
        if unsafe way.flow >= 0 || !Flows.hasOpen(e) || !isCounted(e, remote) { break }
        _ = unsafe slc_sub_u32(&e.tx.pointee.plain_calls, 1)
    }
    let began = slc_tsc()
    let r = unsafe countKernel(e, real())
    var isOver = false
    let hasOpened = unsafe hasSent(e, fd, remote, way, r, began, &isOver)
    if hasOpened { unsafe Flows.opened(e) }
    if isOver { unsafe Flows.retireOver(e, remote) }
    return r
}

/// Behind a datagram by the kernel. True: `Flows.opened` is due; `isOver`: `Flows.retireOver` is.
private func hasSent(
    _ e: Endpoint, _ fd: Int32, _ remote: sl_address, _ way: KernelWay, _ r: Int, _ began: UInt64, _ isOver: inout Bool
) -> Bool {
    unsafe e.local.pointee.flowsTx.acquire()
    defer { unsafe e.local.pointee.flowsTx.release() }
    let others = unsafe slc_sub_u32(&e.tx.pointee.plain_calls, 1) &- 1
    let hasOpened = unsafe r >= 0 && Flows.note(e, fd, remote)
    if let flows = unsafe Flows.known(e) {
        if r >= 0, let i = unsafe flows.find(remote) {
            unsafe flows.countSent(i, since: began)
            if let f = unsafe flows.pointee.entries[i].endpoint { isOver = unsafe Flows.isOver(e, f) }
        }
        // A refusal is told before anything that lies in a ring.
        unsafe flows.pointee.kernelLook = 0
        if way.flow >= 0 {
            if let f = unsafe flows.laned(way.flow), unsafe f.pointee.generation == way.generation {
                unsafe FlowLane.endKernel(f, r >= 0)
                if way.rings { unsafe FlowLane.hasRung(flows, way.flow, f, r >= 0) }
            }
        } else if others == 0, let i = unsafe flows.find(remote), let f = unsafe flows.laned(i) {
            unsafe FlowLane.beginCounts(f, flows.pointee.entries[i])
        }
    }
    return hasOpened
}

private func isCounted(_ e: Endpoint, _ remote: sl_address) -> Bool {
    unsafe e.local.pointee.flowsTx.acquire()
    defer { unsafe e.local.pointee.flowsTx.release() }
    guard let flows = unsafe Flows.known(e), let i = unsafe flows.find(remote), let f = unsafe flows.laned(i) else {
        return false
    }
    return unsafe f.tx.pointee.flags & UInt32(SL_HALF_COUNTED) != 0
}

/// A datagram of a flow with a lane, on its way by the kernel.
private struct KernelWay {
    var flow = -1
    var generation: UInt32 = 0
    /// It wakes the receiver.
    var rings = false
    /// The first to this address.
    var isNew = false
}

private func countKernel(_ e: Endpoint, _ r: Int) -> Int {
    if r > 0 { unsafe e.pointee.counters.tx_kernel_bytes &+= UInt64(r) }
    return r
}

@inline(__always)
private func sendByRing(
    _ e: Endpoint, _ source: inout UserBytes, _ remote: sl_address, _ flags: Int32, _ isPlain: Bool, _ way: inout KernelWay
) -> Int {
    unsafe e.local.pointee.flowsTx.acquire()
    defer { unsafe e.local.pointee.flowsTx.release() }
    guard let flows = unsafe Flows.known(e) else { return useKernel }
    let fits = isPlain && flags & ~ringFlags == 0
    var i = unsafe flows.pointee.lastSent
    if unsafe !flows.isFlow(i, remote) {
        guard let found = unsafe flows.find(remote) else {
            way.isNew = true
            return useKernel
        }
        i = found
        unsafe flows.pointee.lastSent = i
    }
    guard let f = unsafe flows.laned(i), unsafe f.tx.pointee.flags & UInt32(SL_HALF_COUNTED) != 0 else { return useKernel }
    if unsafe fits && flows.pointee.mustPass & flowBit(i) == 0 {
        let r = unsafe FlowLane.sendNow(f, &source, mayWait: flags & 0x40 == 0 && !e.isNonBlocking)
        if r != useKernel {
            unsafe flows.pointee.hasSent |= flowBit(i)
            return r
        }
    }
    unsafe FlowLane.beginKernel(f)
    way = unsafe KernelWay(flow: i, generation: f.pointee.generation, rings: FlowLane.passBy(flows, i, f))
    unsafe flows.pointee.mustPass &= ~flowBit(i)
    // With options of its own, perhaps.
    if !isPlain { unsafe Ancillary.senderChanged(flows, i, f) }
    return useKernel
}

/// The lane of a flow: its slot's rings as those of a stream, but that datagrams lie in them, its phase never changes, and
/// `Half.kernel_bytes` counts datagrams of the kernel. Under `flowsTx`.
enum FlowLane {
    /// A ring that holds more than a receive buffer of the kernel's: what it does not take is dropped.
    static var wholeRing: UInt64 { 512 << 10 }

    /// One datagram into the ring. Its bytes, -errno, or `useKernel`. `mayWait`: the program's call may block.
    @inline(__always) static func sendNow(_ f: Endpoint, _ source: inout UserBytes, mayWait: Bool) -> Int {
        guard let writer = unsafe f.writer else { return useKernel }
        let d = unsafe writer.direction
        let n = source.total
        // What other threads have under way by the kernel comes in an order that is not known.
        guard n >= 0, n <= largestDatagram, UInt64(truncatingIfNeeded: n) < writer.limit / 4,
            unsafe slc_relaxed_u64(&d.pointee.kernel_begun) == f.tx.pointee.kernel_bytes,
            unsafe slc_cas_u32(&d.pointee.rx_control, UInt32(SL_RX_OPEN), UInt32(SL_RX_WRITING))
        else { return useKernel }
        let reader = unsafe look(f, writer)
        if unsafe f.pointee.flags & UInt32(SL_EP_GIVEN_UP) != 0 || reader == .gone { return unsafe giveUp(f, d) }
        if reader == .still {
            _ = unsafe slc_cas_u32(&d.pointee.rx_control, UInt32(SL_RX_WRITING), UInt32(SL_RX_SHUT))
            return useKernel
        }
        var isDamaged = false
        guard let room = unsafe room(f, writer, n, mayWait, &isDamaged) else {
            return isDamaged ? unsafe damaged(f, d) : unsafe full(f, d, n)
        }
        var at = 0
        while at < n {
            let (p, k) = unsafe source.next(n &- at)
            guard k > 0, let p = unsafe p else {
                _ = unsafe slc_cas_u32(&d.pointee.rx_control, UInt32(SL_RX_WRITING), UInt32(SL_RX_OPEN))
                return -Int(EFAULT)
            }
            unsafe memcpy(room.memory + at, p, k)
            source.advance(k)
            at = at &+ k
        }
        if unsafe f.isWatched { unsafe Capture.sent(f, room, n) }
        writer.publish(room.next)
        if unsafe !slc_cas_u32(&d.pointee.rx_control, UInt32(SL_RX_WRITING), UInt32(SL_RX_OPEN)) { unsafe FlowGift.missed(f, d) }
        unsafe f.pointee.counters.tx_packets &+= 1
        unsafe f.pointee.counters.tx_ring_bytes &+= UInt64(truncatingIfNeeded: n)
        return n
    }

    @inline(__always) private static func room(
        _ f: Endpoint, _ writer: RingWriter, _ n: Int, _ mayWait: Bool, _ isDamaged: inout Bool
    ) -> DatagramRoom? {
        let count = unsafe f.tx.pointee.kernel_bytes
        if let room = writer.datagram(n, kernelCount: count, isDamaged: &isDamaged) { return room }
        return isDamaged ? nil : unsafe awaitRoom(f, writer, n, mayWait, &isDamaged)
    }

    /// A sender that is faster than its reader waits as long as the kernel's send would have taken, which also would drop what
    /// does not fit, and lets a reader run that waits for this processor: so no more is lost than there. One whose call may block waits
    /// for as long as the ring has saved it since it waited last, so that a reader that stands for a moment loses nothing
    /// that the slower kernel would have brought; it is never slower than by the kernel, and 4 ms is the most.
    @inline(never) private static func awaitRoom(
        _ f: Endpoint, _ writer: RingWriter, _ n: Int, _ mayWait: Bool, _ isDamaged: inout Bool
    ) -> DatagramRoom? {
        let count = unsafe f.tx.pointee.kernel_bytes
        let us = 2 &+ UInt64(truncatingIfNeeded: n) / 8192
        let sent = unsafe f.pointee.counters.tx_packets
        let saved = unsafe mayWait ? min((sent &- f.pointee.full_kernel) &* us, 4000) : 0
        let (patience, most) = unsafe (us &* process.tickRate, (us &+ saved) &* process.tickRate)
        let began = slc_tsc()
        var hasYielded = false
        // What is left of it is kept.
        defer {
            if hasYielded {
                let used = unsafe (slc_tsc() &- began) / process.tickRate
                unsafe f.pointee.full_kernel = sent &- (saved &- min(used, saved)) / us
            }
        }
        while true {
            if let room = writer.datagram(n, kernelCount: count, isDamaged: &isDamaged) { return room }
            let passed = slc_tsc() &- began
            if isDamaged || hasYielded && passed >= most { return nil }
            if passed < patience {
                slc_pause()
                continue
            }
            hasYielded = true
            // The receiver may close the ring meanwhile; then the kernel carries it.
            guard unsafe slc_cas_u32(&writer.direction.pointee.rx_control, UInt32(SL_RX_WRITING), UInt32(SL_RX_OPEN)) else {
                return nil
            }
            _ = slc_sched_yield()
            guard unsafe slc_cas_u32(&writer.direction.pointee.rx_control, UInt32(SL_RX_OPEN), UInt32(SL_RX_WRITING)) else {
                return nil
            }
        }
    }

    /// As the kernel: a receiver that is full drops it, and the sender is not told. A ring that holds less than a socket's
    /// receive buffer is not what decides that.
    @inline(never) private static func full(_ f: Endpoint, _ d: Direction, _ n: Int) -> Int {
        guard unsafe slc_cas_u32(&d.pointee.rx_control, UInt32(SL_RX_WRITING), UInt32(SL_RX_OPEN)) else { return useKernel }
        if unsafe f.pointee.ring_bytes < wholeRing { return useKernel }
        unsafe f.pointee.counters.drops &+= 1
        return n
    }

    /// This datagram, which is counted as begun, goes by the kernel. True: it wakes the receiver, and `hasRung` is due behind it.
    @inline(never) static func passBy(_ flows: UnsafeMutablePointer<Flows>, _ i: Int, _ f: Endpoint) -> Bool {
        guard let d = unsafe f.txDirection else { return false }
        slc_fence()
        var control = unsafe slc_acquire_u32(&d.pointee.rx_control)
        if control == UInt32(SL_RX_TAKING) { control = unsafe FlowGift.await(f, d) }
        if control == UInt32(SL_RX_GONE) || control == UInt32(SL_RX_WANT) { unsafe leave(f, d, control) }
        // Behind it the ring stays closed until the receiver has found the kernel's queue empty.
        if control == UInt32(SL_RX_OPEN) { _ = unsafe slc_cas_u32(&d.pointee.rx_control, control, UInt32(SL_RX_SHUT)) }
        let bit: UInt64 = flowBit(i)
        // One thread at a time: the word is taken back by whoever changed it.
        guard control == UInt32(SL_RX_ASLEEP), unsafe flows.pointee.isRinging & bit == 0, unsafe !peerIsGone(f),
            unsafe slc_cas_u32(&d.pointee.rx_control, control, UInt32(SL_RX_RINGING))
        else { return false }
        unsafe flows.pointee.isRinging |= bit
        unsafe slc_set_u64(&d.pointee.rung_at, slc_tsc())
        unsafe f.pointee.counters.wakes_sent &+= 1
        return true
    }

    /// The datagram has been sent, or not. A receiver that has fallen asleep again meanwhile has changed the word.
    static func hasRung(_ flows: UnsafeMutablePointer<Flows>, _ i: Int, _ f: Endpoint, _ isSent: Bool) {
        unsafe flows.pointee.isRinging &= ~(flowBit(i))
        guard let d = unsafe f.txDirection else { return }
        _ = unsafe slc_cas_u32(&d.pointee.rx_control, UInt32(SL_RX_RINGING), UInt32(isSent ? SL_RX_OPEN : SL_RX_ASLEEP))
    }

    /// From here on datagrams by the kernel are counted, and the ring is used: none that was not counted is just being sent. `sent`
    /// have been sent. (A count of 0 says that it has not begun.)
    static func beginCounts(_ f: Endpoint, _ flow: Flow) {
        guard let d = unsafe f.txDirection, unsafe f.tx.pointee.flags & UInt32(SL_HALF_COUNTED) == 0 else { return }
        unsafe f.tx.pointee.flags |= UInt32(SL_HALF_COUNTED)
        let sent = flow.sent
        unsafe f.tx.pointee.kernel_bytes = sent &+ 1
        unsafe slc_set_u64(&d.pointee.sent_since, flow.sentSince)
        unsafe slc_set_u32(&d.pointee.phase, flow.isWhole ? 1 : 0)
        unsafe slc_release_u64(&d.pointee.kernel_begun, sent &+ 1)
        unsafe slc_release_u64(&d.pointee.kernel_count, sent &+ 1)
    }

    /// The receiver compares both counts with what it has got: equal ones mean that nothing is under way.
    static func beginKernel(_ f: Endpoint) {
        guard let d = unsafe f.txDirection else { return }
        unsafe slc_release_u64(&d.pointee.kernel_begun, slc_relaxed_u64(&d.pointee.kernel_begun) &+ 1)
    }

    static func endKernel(_ f: Endpoint, _ isSent: Bool) {
        if isSent { unsafe f.tx.pointee.kernel_bytes &+= 1 }
        guard let d = unsafe f.txDirection else { return }
        if isSent {
            unsafe slc_release_u64(&d.pointee.kernel_count, f.tx.pointee.kernel_bytes)
        } else {
            unsafe slc_release_u64(&d.pointee.kernel_begun, slc_relaxed_u64(&d.pointee.kernel_begun) &- 1)
        }
    }

    @inline(never) private static func damaged(_ f: Endpoint, _ d: Direction) -> Int {
        _ = unsafe slc_exchange_u32(&d.pointee.rx_control, UInt32(SL_RX_GONE))
        unsafe damaged(f)
        return useKernel
    }

    @inline(never) static func damaged(_ f: Endpoint) {
        count(StackCounter.damagedWords)
        unsafe f.pointee.reason = Reason.damaged.number
        _ = unsafe slc_or_u32(&f.pointee.flags, UInt32(SL_EP_GIVEN_UP))
        _ = unsafe slc_or_u32(sl_flags(f.rx), UInt32(SL_HALF_GONE))
    }
}
