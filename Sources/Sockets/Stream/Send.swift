import CLinux
import CStackLayout
import Counters
import Settings
import SharedMemory
import Stacks

/// -EPIPE that the kernel did not see, so that SIGPIPE is ours to raise.
let brokenPipe = -100_001

extension Lane {
    /// Puts as much as fits on the way without blocking. Bytes, -EAGAIN, or another -errno; `useKernel` when there is no
    /// lane. Takes the tx lock.
    static func sendNow(_ e: Endpoint, _ fd: Int32, _ source: inout UserBytes, _ flags: Int32) -> Int {
        let lock = unsafe RobustLock(&e.tx.pointee.lock)
        if lock.acquire() { unsafe mendSend(e, fd) }
        let r = unsafe sendLocked(e, fd, &source, flags)
        lock.release()
        return r
    }

    private static func sendLocked(_ e: Endpoint, _ fd: Int32, _ source: inout UserBytes, _ flags: Int32) -> Int {
        guard let writer = unsafe e.writer else { return useKernel }
        if unsafe e.pointee.flags & UInt32(SL_EP_RESET) != 0 {
            let error = unsafe takeError(e)
            return error != 0 ? -Int(error) : brokenPipe
        }
        // Each turn is a change of the peer's words: one that changes them all the time keeps us only so long.
        var turns = 0
        while turns < 64 {
            turns &+= 1
            if unsafe e.tx.pointee.phase & 1 == 1 {
                if unsafe slc_relaxed_u32(&writer.direction.pointee.rx_control) != UInt32(SL_RX_OPEN) {
                    unsafe settle(e, fd)
                    continue
                }
                let r = unsafe put(e, fd, writer, &source)
                // The ring was left in it: the kernel takes the bytes at once.
                if unsafe r == -Int(EAGAIN) && e.tx.pointee.phase & 1 == 0 { continue }
                return r
            }
            if unsafe e.tx.pointee.flags & UInt32(SL_HALF_TAKE_BACK) != 0 && !flush(e, fd) { return -Int(EAGAIN) }
            if unsafe source.total > 0 && enterRing(e, fd) { continue }
            return unsafe kernelSend(e, fd, &source, flags)
        }
        return unsafe damaged(e, fd)
    }

    @inline(__always)
    private static func put(_ e: Endpoint, _ fd: Int32, _ writer: RingWriter, _ source: inout UserBytes) -> Int {
        let wanted = source.left
        guard wanted > 0 else { return 0 }
        guard var room = writer.room(UInt64(wanted)) else { return unsafe lostPlace(e, fd, writer) }
        if unsafe room < UInt64(wanted) || peerMayBeGone(e, writer) {
            unsafe e.tx.pointee.kernel_look = slc_tsc()
            if let r = unsafe peerIsGone(e, fd) { return r }
            if unsafe e.tx.pointee.phase & 1 == 0 { return -Int(EAGAIN) }
            guard let now = writer.room(UInt64(wanted)) else { return unsafe lostPlace(e, fd, writer) }
            room = now
            if unsafe room < UInt64(wanted) && Patience.noteFull(e, fd, writer.direction, wants: true) { return -Int(EAGAIN) }
        }
        if room == 0 { return -Int(EAGAIN) }
        writer.rewindIfEmpty()
        var n = Int(truncatingIfNeeded: min(room, UInt64(truncatingIfNeeded: wanted)))
        let result = n
        var offset = unsafe e.tx.pointee.offset
        while n > 0 {
            let (p, k) = unsafe source.next(n)
            guard k > 0, let p = unsafe p else { break }
            unsafe writer.write(p, k, at: offset)
            offset &+= UInt64(k)
            source.advance(k)
            n = n &- k
        }
        unsafe published(e, fd, writer, offset, result)
        return result
    }

    @inline(__always)
    static func published(_ e: Endpoint, _ fd: Int32, _ writer: RingWriter, _ offset: UInt64, _ n: Int) {
        if unsafe e.isWatched { unsafe Capture.sent(e, writer, offset) }
        writer.publish(offset)
        unsafe e.pointee.counters.tx_packets &+= 1
        unsafe e.pointee.counters.tx_ring_bytes &+= UInt64(n)
        slc_fence()
        let mask = unsafe slc_relaxed_u64(&writer.direction.pointee.data_waiters)
        if mask != 0 { unsafe notify(e, mask, writer.direction) }
        if unsafe slc_relaxed_u32(&writer.direction.pointee.rx_control) != UInt32(SL_RX_OPEN) { unsafe settle(e, fd) }
        if unsafe process.settings.chaos != 0 && process.nextRandom() % 32 == 0 {
            unsafe leaveRing(e, fd)
            unsafe e.pointee.reason = Reason.chaos.number
        }
    }

    /// The reader's offset cannot be: either a holder of this half died between claiming and leaving, or it is damage.
    @inline(never) static func lostPlace(_ e: Endpoint, _ fd: Int32, _ writer: RingWriter) -> Int {
        guard unsafe slc_acquire_u64(&writer.direction.pointee.consumer) & ringClaim != 0 else { return unsafe damaged(e, fd) }
        unsafe leaveRing(e, fd)
        return -Int(EAGAIN)
    }

    /// Bytes lie unread and the reader has not moved for a millisecond.
    @inline(__always) static func peerMayBeGone(_ e: Endpoint, _ writer: RingWriter) -> Bool {
        if unsafe e.rx.pointee.flags & UInt32(SL_HALF_EOF_SEEN | SL_HALF_SHUT) == UInt32(SL_HALF_EOF_SEEN) { return true }
        let now = slc_tsc()
        guard unsafe now &- e.tx.pointee.kernel_look > 1000 &* process.tickRate else { return false }
        unsafe e.tx.pointee.kernel_look = now
        let before = unsafe e.tx.pointee.other_offset
        guard let unread = writer.unread() else { return true }
        return unsafe unread != 0 && before == e.tx.pointee.other_offset
    }

    /// Asks the kernel whether the peer still is. Nil: yes, or the kernel phase tells (the ring was left).
    @inline(never) static func peerIsGone(_ e: Endpoint, _ fd: Int32) -> Int? {
        guard let d = unsafe e.txDirection, let r = unsafe e.rxDirection else { return nil }
        var p = (pollfd(), pollfd())
        p.0.fd = fd
        p.0.events = 0x2000
        p.1.fd = unsafe e.local.pointee.pair?.pointee.channel ?? -1
        var zero = timespec()
        _ = unsafe withUnsafeMutablePointer(to: &p) {
            unsafe slc_ppoll(UnsafeMutableRawPointer($0).assumingMemoryBound(to: pollfd.self), 2, &zero, nil)
        }
        if p.0.revents & Int16(POLLERR | POLLHUP) != 0 {
            unsafe leaveRing(e, fd)
            return nil
        }
        let finSeen = p.0.revents & 0x2000 != 0
        let channelGone = p.1.revents & Int16(POLLHUP) != 0
        guard finSeen else { return nil }
        // Our own shutdown of the reading side looks the same to poll.
        if unsafe e.rx.pointee.flags & UInt32(SL_HALF_SHUT) != 0 && !hasPeersFin(fd) { return nil }
        _ = unsafe slc_or_u32(sl_flags(e.rx), UInt32(SL_HALF_EOF_SEEN))
        let endedInOrder = unsafe slc_acquire_u32(&r.pointee.ended) != 0
        if endedInOrder && !channelGone { return nil }
        if unsafe slc_acquire_u32(&d.pointee.closed) != 0 {
            unsafe leaveRing(e, fd)
            return nil
        }
        // Killed. With bytes that it never read the kernel would have reset the connection.
        if unsafe slc_acquire_u64(&d.pointee.consumer) != e.tx.pointee.offset {
            unsafe markReset(e)
            let error = unsafe takeError(e)
            return error != 0 ? -Int(error) : brokenPipe
        }
        unsafe leaveRing(e, fd)
        return nil
    }

    /// Has the peer's FIN come, or a reset? By the state (tcp(7), TCP_INFO): not ESTABLISHED, FIN_WAIT1 or FIN_WAIT2.
    private static func hasPeersFin(_ fd: Int32) -> Bool {
        var state: UInt8 = 0
        var n: UInt32 = 1
        guard unsafe slc_getsockopt(fd, 6, 11, &state, &n) == 0 else { return true }
        return state != 1 && state != 4 && state != 5
    }

    /// A non-blocking real send. The program's flags stay, so that SIGPIPE comes as it should.
    private static func kernelSend(_ e: Endpoint, _ fd: Int32, _ source: inout UserBytes, _ flags: Int32) -> Int {
        let pending = unsafe takeError(e)
        if pending != 0 { return -Int(pending) }
        let r = unsafe withUnsafeTemporaryAllocation(of: iovec.self, capacity: 64) { room -> Int in
            let p = unsafe room.baseAddress.unsafelyUnwrapped
            var m = unsafe msghdr()
            unsafe m.msg_iov = unsafe p
            unsafe m.msg_iovlen = unsafe Int(source.remaining(most: source.left, p, 64))
            return unsafe slc_sendmsg(fd, &m, flags | 0x40)
        }
        if r > 0 {
            source.skip(r)
            unsafe e.tx.pointee.kernel_bytes = unsafe e.tx.pointee.kernel_bytes &+ UInt64(r)
            unsafe e.pointee.counters.tx_kernel_bytes &+= UInt64(r)
        }
        return r
    }
}

/// send, sendto, sendmsg, write, writev on a tracked stream. Result or -errno; raises SIGPIPE with -EPIPE as send(2) says.
func streamSend(_ e: Endpoint, _ fd: Int32, _ source: inout UserBytes, _ flags: Int32) -> Int {
    let r = unsafe Lane.sendNow(e, fd, &source, flags)
    if r >= 0 && source.left == 0 { return source.done }
    if r == useKernel { return r }
    return unsafe sendSlowly(e, fd, &source, flags, r)
}

/// The first try did not take all: ends, errors, waiting for space.
@inline(never)
private func sendSlowly(_ e: Endpoint, _ first: Int32, _ source: inout UserBytes, _ flags: Int32, _ result: Int) -> Int {
    let interrupts = Interrupts()
    let dontWait = unsafe flags & 0x40 != 0 || e.isNonBlocking
    var wait: Wait? = nil
    var fd = first
    var r = result
    defer {
        if let wait {
            wait.timed.end(.send)
            unsafe Lane.letGo(e)
        }
    }
    while true {
        if r == useKernel { return source.done > 0 ? source.done : useKernel }
        if r >= 0 && source.left == 0 { return source.done }
        if r == 0 || r < 0 && r != -Int(EAGAIN) {
            if source.done > 0 { return source.done }
            guard r == brokenPipe else { return r }
            if flags & 0x4000 == 0 { _ = slc_raise(SIGPIPE) }
            return -Int(EPIPE)
        }
        if r < 0 {
            if dontWait {
                unsafe EpollSet.armSpace(of: e)
                return source.done > 0 ? source.done : -Int(EAGAIN)
            }
            if wait == nil {
                guard unsafe Lane.hold(e) else { return source.done > 0 ? source.done : useKernel }
                wait = unsafe Wait(.space, timeoutNs: e.pointee.tx_timeout_ns, interrupts: interrupts)
            }
            switch unsafe wait.unsafelyUnwrapped(e, fd) {
            case .ready, .readyByKernel, .restarted: break
            case .timedOut: return source.done > 0 ? source.done : -Int(EAGAIN)
            case .interrupted: return source.done > 0 ? source.done : -Int(EINTR)
            }
            guard let now = unsafe Lane.current(e, fd) else { return source.done > 0 ? source.done : -Int(EBADF) }
            fd = now
        }
        r = unsafe Lane.sendNow(e, fd, &source, flags)
    }
}
