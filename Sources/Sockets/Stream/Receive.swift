import CLinux
import CStackLayout
import Counters
import Settings
import SharedMemory
import Stacks

/// Flags of a receive that are ours to act on; the rest goes to the kernel with the call.
struct ReceiveFlags {
    let raw: Int32
    @inline(__always) var peek: Bool { raw & 0x2 != 0 }
    @inline(__always) var waitAll: Bool { raw & 0x100 != 0 }
    @inline(__always) var dontWait: Bool { raw & 0x40 != 0 }
    @inline(__always) var discard: Bool { raw & 0x20 != 0 }
    /// MSG_OOB, MSG_ERRQUEUE.
    @inline(__always) var kernelOnly: Bool { raw & (0x1 | 0x2000) != 0 }
}

/// Not an errno: the endpoint has no lane (any more), the real call must serve it.
let useKernel = -100_000

/// Not an errno: the call restarts after a handler, and its number is another file's by now.
let restartCall = -100_002

extension Lane {
    /// One look at both sources, in order, without blocking. Bytes, 0 at the end of the stream, -EAGAIN, or another
    /// -errno; `useKernel` when there is no lane. Takes the rx lock. `peeked`: bytes that this call has already shown by MSG_PEEK.
    static func receiveNow(_ e: Endpoint, _ fd: Int32, _ target: inout UserBytes, _ flags: ReceiveFlags) -> Int {
        let lock = unsafe RobustLock(&e.rx.pointee.lock)
        if lock.acquire() { unsafe mendReceive(e, fd) }
        var r = unsafe receiveLocked(e, fd, &target, flags)
        // What lies on both sides of a switch comes in one call.
        if unsafe r > 0 && target.left > 0 && !flags.peek && isAtSwitch(e) {
            var more = r
            while unsafe more > 0 && target.left > 0 && isAtSwitch(e) {
                more = unsafe receiveLocked(e, fd, &target, flags)
                if more > 0 { r = r &+ more }
            }
            if more < 0 && more != -Int(EAGAIN) && more != useKernel {
                unsafe slc_set_u32(&e.pointee.error, UInt32(truncatingIfNeeded: 0 &- more))
            }
        }
        lock.release()
        return r
    }

    @inline(__always) private static func isAtSwitch(_ e: Endpoint) -> Bool {
        guard let d = unsafe e.rxDirection else { return false }
        return unsafe slc_acquire_u32(&d.pointee.phase) != e.rx.pointee.phase
            || e.rx.pointee.phase & 1 == 1 && slc_relaxed_u64(&d.pointee.producer) != e.rx.pointee.offset
    }

    private static func receiveLocked(_ e: Endpoint, _ fd: Int32, _ target: inout UserBytes, _ flags: ReceiveFlags) -> Int {
        guard let reader = unsafe e.reader else { return useKernel }
        if unsafe e.rx.pointee.flags & UInt32(SL_HALF_GONE) != 0 { return unsafe kernelReceive(e, fd, &target, flags, Int.max) }
        var turns = 0
        while turns < 64 {
            turns &+= 1
            if unsafe e.rx.pointee.phase & 1 == 1 {
                guard let n = reader.available() else { return unsafe damaged(e, fd) }
                if n > 0 && !reader.isClaimed {
                    let before = target
                    let r = unsafe take(e, reader, Int(truncatingIfNeeded: n), &target, flags)
                    if r > 0 { return unsafe flags.peek ? peekOn(e, fd, reader, &target, flags, r) : r }
                    if r == 0 { return 0 }
                    target = before
                    // Only a claim takes our own offset from us.
                    if !reader.isClaimed { return unsafe damaged(e, fd) }
                }
                let phase = unsafe slc_acquire_u32(&reader.direction.pointee.phase)
                if unsafe phase != e.rx.pointee.phase {
                    guard unsafe slc_relaxed_u64(&reader.direction.pointee.ring_end) == e.rx.pointee.offset else {
                        // E lies behind what we have read: more was published meanwhile, or the word is damaged.
                        guard let again = reader.available(), again > 0 else { return unsafe damaged(e, fd) }
                        continue
                    }
                    reader.jump()
                    unsafe advance(e, reader.direction)
                    continue
                }
                guard let r = unsafe emptyRing(e, fd, reader, &target, flags) else { continue }
                return r
            }
            unsafe openReceive(e, fd)
            if unsafe process.settings.chaos != 0 { unsafe chaosReceive(e) }
            let phase = unsafe slc_acquire_u32(&reader.direction.pointee.phase)
            guard unsafe phase != e.rx.pointee.phase else {
                guard let r = unsafe plainReceive(e, fd, reader, &target, flags) else { continue }
                return r
            }
            let left = unsafe slc_relaxed_u64(&reader.direction.pointee.kernel_count) &- e.rx.pointee.kernel_bytes
            guard left < 1 << 48, unsafe e.rx.pointee.flags & UInt32(SL_HALF_COUNTED) != 0 else {
                guard unsafe passRing(e, reader) else { return unsafe damaged(e, fd) }
                continue
            }
            if left == 0 {
                unsafe advance(e, reader.direction)
                continue
            }
            let r = unsafe kernelReceive(e, fd, &target, flags, Int(left))
            if flags.peek && r == Int(left) && target.left > 0, let n = reader.available(), n > 0 {
                return unsafe r &+ take(e, reader, Int(truncatingIfNeeded: n), &target, flags)
            }
            return r
        }
        return unsafe damaged(e, fd)
    }

    /// A peek that has shown all of the ring goes on into the kernel's bytes when the sender has gone back there.
    private static func peekOn(
        _ e: Endpoint, _ fd: Int32, _ reader: RingReader, _ target: inout UserBytes, _ flags: ReceiveFlags, _ shown: Int
    ) -> Int {
        guard target.left > 0, unsafe slc_acquire_u32(&reader.direction.pointee.phase) != e.rx.pointee.phase,
            unsafe slc_relaxed_u64(&reader.direction.pointee.ring_end) == e.rx.pointee.offset &+ UInt64(shown)
        else { return shown }
        let r = unsafe kernelReceive(e, fd, &target, flags, Int.max)
        return r > 0 ? shown &+ r : shown
    }

    /// For the tools, of an end that only receives.
    private static func noteSwitch(_ e: Endpoint) {
        let isInRing = unsafe e.rx.pointee.phase & 1 == 1
        if unsafe isInRing && e.pointee.reason == Reason.peerHandedBack.number { unsafe e.pointee.reason = Reason.none.number }
        if unsafe !isInRing && e.pointee.reason == Reason.none.number { unsafe e.pointee.reason = Reason.peerHandedBack.number }
    }

    /// On to the next phase, and says so to the sender.
    static func advance(_ e: Endpoint, _ d: Direction) {
        unsafe e.rx.pointee.phase &+= 1
        unsafe slc_release_u32(&d.pointee.phase_reached, e.rx.pointee.phase)
        if unsafe e.tx.pointee.phase & 1 == 0 { unsafe noteSwitch(e) }
        // A sender that waits for us to catch up may sleep.
        slc_fence()
        let mask = unsafe slc_relaxed_u64(&d.pointee.space_waiters)
        if mask != 0 { unsafe notify(e, mask, nil) }
    }

    @inline(__always)
    private static func take(
        _ e: Endpoint, _ reader: RingReader, _ available: Int, _ target: inout UserBytes, _ flags: ReceiveFlags
    ) -> Int {
        var n = min(available, target.left)
        let result = n
        var skip: UInt64 = 0
        while n > 0 {
            let (p, k) = unsafe target.next(n)
            guard k > 0 else { break }
            if !flags.discard, let p = unsafe p { unsafe reader.read(p, k, skip: skip) }
            skip &+= UInt64(k)
            target.advance(k)
            n = n &- k
        }
        if unsafe !flags.peek && result > 0 && !consumed(e, reader, result) { return -1 }
        return result
    }

    @inline(__always)
    static func consumed(_ e: Endpoint, _ reader: RingReader, _ n: Int) -> Bool {
        guard unsafe e.isWatched ? Capture.consume(e, reader, n) : reader.consume(UInt64(n)) else { return false }
        unsafe e.pointee.counters.rx_packets &+= 1
        unsafe e.pointee.counters.rx_ring_bytes &+= UInt64(n)
        let mask = unsafe slc_relaxed_u64(&reader.direction.pointee.space_waiters)
        if mask != 0 { unsafe spaceFreed(e, reader, mask) }
        if unsafe process.settings.chaos != 0 { unsafe chaosReceive(e) }
        return true
    }

    /// A sender that waits for space is woken when a third of the ring is free.
    @inline(never) private static func spaceFreed(_ e: Endpoint, _ reader: RingReader, _ mask: UInt64) {
        guard let left = reader.available() else { return }
        if unsafe left <= e.pointee.ring_bytes - e.pointee.ring_bytes / 3 { unsafe notify(e, mask, nil) }
    }

    /// The ring is empty and not ended: has the kernel connection ended, or does somebody write to it who is not our peer?
    /// Nil: look again. At most one system call in 20 us, of all connections together unless a connection has not been looked
    /// at for a millisecond; at once when the peer says that it has ended.
    @inline(never)
    private static func emptyRing(
        _ e: Endpoint, _ fd: Int32, _ reader: RingReader, _ target: inout UserBytes, _ flags: ReceiveFlags
    ) -> Int? {
        let now = slc_tsc()
        let short = unsafe 20 &* process.tickRate
        let own = unsafe now &- e.rx.pointee.kernel_look
        let isRecent = unsafe own < short || own < 50 &* short && now &- process.kernelLook < short
        let isReset = unsafe e.pointee.flags & UInt32(SL_EP_RESET) != 0
        if unsafe isRecent && !isReset && slc_relaxed_u32(&reader.direction.pointee.ended) == 0 { return -Int(EAGAIN) }
        unsafe e.rx.pointee.kernel_look = now
        unsafe process.kernelLook = now
        var byte: UInt8 = 0
        let r = unsafe slc_recvfrom(fd, &byte, 1, 0x2 | 0x40)
        if r == -Int(EAGAIN) {
            return unsafe isReset || e.pointee.error != 0 ? resetResult(e) : -Int(EAGAIN)
        }
        // The look has taken the error from the socket.
        if r < 0 { unsafe slc_set_u32(&e.pointee.error, UInt32(truncatingIfNeeded: 0 &- r)) }
        // What was published before the end is in the ring by now.
        if let n = reader.available(), n > 0 {
            guard unsafe reader.isClaimed && slc_acquire_u32(&reader.direction.pointee.phase) == e.rx.pointee.phase else {
                return nil
            }
            if r <= 0 {
                reader.unclaim()
            } else if unsafe !TakeBack.comesAbout(e, reader.direction) {
                return unsafe damaged(e, fd)
            }
            return nil
        }
        if unsafe slc_acquire_u32(&reader.direction.pointee.phase) != e.rx.pointee.phase { return nil }
        if r == 0 {
            unsafe e.rx.pointee.flags |= UInt32(SL_HALF_EOF_SEEN)
            // Another look of ours, or a sender that left the ring, may have taken the error from the socket.
            _ = unsafe survivorIsReset(e)
            return unsafe resetResult(e)
        }
        if r < 0 {
            unsafe e.rx.pointee.flags |= UInt32(SL_HALF_EOF_SEEN)
            return unsafe -Int(takeError(e))
        }
        if r > 0 {
            // Not from our peer's lane: somebody else writes to this connection. Deliver, and end the lane.
            unsafe e.pointee.reason = Reason.foreignOrigin.number
            unsafe e.pointee.flags |= UInt32(SL_EP_FOREIGN | SL_EP_GIVEN_UP)
        }
        return unsafe kernelReceive(e, fd, &target, flags, Int.max)
    }

    /// The error once, then the end of the stream.
    private static func resetResult(_ e: Endpoint) -> Int {
        let error = unsafe takeError(e)
        return error != 0 ? -Int(error) : 0
    }

    /// Chaos mode: the receiver asks for the lane to close at random reads.
    @inline(never) static func chaosReceive(_ e: Endpoint) {
        guard unsafe process.nextRandom() % 32 == 0, let d = unsafe e.rxDirection else { return }
        _ = unsafe slc_cas_u32(&d.pointee.rx_control, UInt32(SL_RX_OPEN), UInt32(SL_RX_WANT))
    }
}

/// recv, recvfrom, recvmsg, read, readv on a tracked stream. Result or -errno.
func streamReceive(_ e: Endpoint, _ fd: Int32, _ target: inout UserBytes, _ flags: ReceiveFlags) -> Int {
    let r = unsafe Lane.receiveNow(e, fd, &target, flags)
    let simple = unsafe flags.raw & 0x102 == 0 && e.pointee.rx_lowat <= 1
    if r > 0 && (simple || flags.peek || target.left == 0) { return r }
    if r == useKernel { return r }
    return unsafe receiveSlowly(e, fd, &target, flags, r)
}

/// The first look did not settle it: ends, errors, MSG_WAITALL, waiting.
@inline(never)
private func receiveSlowly(_ e: Endpoint, _ fd: Int32, _ target: inout UserBytes, _ flags: ReceiveFlags, _ first: Int) -> Int {
    var call = unsafe ReceiveCall(e, fd, flags, target.total)
    let r = call.run(&target, first)
    if call.isHeld { unsafe Lane.letGo(e) }
    return r
}

@safe private struct ReceiveCall {
    let e: Endpoint
    let first: Int32
    var fd: Int32
    let flags: ReceiveFlags
    let interrupts = Interrupts()
    let goal: Int
    var isHeld = false
    /// How long a call that does not block waits for bytes that are being taken back; 0: not yet.
    private var takeBackEnd: UInt64 = 0

    init(_ e: Endpoint, _ fd: Int32, _ flags: ReceiveFlags, _ total: Int) {
        unsafe self.e = unsafe e
        first = fd
        self.fd = fd
        self.flags = flags
        let low = unsafe min(Int(e.pointee.rx_lowat), total)
        goal = flags.waitAll && !flags.peek ? total : max(1, low)
    }

    mutating func run(_ target: inout UserBytes, _ result: Int) -> Int {
        let dontWait = unsafe flags.dontWait || e.isNonBlocking
        var wait: Wait? = nil
        var r = result
        defer { wait?.timed.end(.receive) }
        while true {
            if r == useKernel { return target.done > 0 ? target.done : useKernel }
            if flags.peek && r > 0 || r > 0 && target.done >= goal { return target.done }
            if r == 0 || r < 0 && r != -Int(EAGAIN) { return ended(target, r) }
            if r < 0 {
                if dontWait {
                    if target.done > 0 || !comes() { return target.done > 0 ? target.done : -Int(EAGAIN) }
                    r = unsafe Lane.receiveNow(e, fd, &target, flags)
                    continue
                }
                if wait == nil {
                    isHeld = unsafe Lane.hold(e)
                    if !isHeld { return target.done > 0 ? target.done : useKernel }
                    wait = unsafe Wait(.data, timeoutNs: e.pointee.rx_timeout_ns, interrupts: interrupts)
                }
                let outcome = unsafe wait.unsafelyUnwrapped(e, fd)
                if outcome != .interrupted && target.done == 0 && interrupts.any() && isReplaced {
                    // A handler that ran behind the sleep's own look at this.
                    return unsafe interrupts.happened(hasTimeout: e.pointee.rx_timeout_ns != 0) ? -Int(EINTR) : restartCall
                }
                guard let now = unsafe Lane.current(e, fd) else { return target.done > 0 ? target.done : -Int(EBADF) }
                fd = now
                unsafe Lane.service(e, fd)
                switch outcome {
                case .ready: break
                case .readyByKernel: unsafe e.rx.pointee.kernel_look = 0
                case .restarted: break
                case .timedOut: return target.done > 0 ? target.done : -Int(EAGAIN)
                case .interrupted: return target.done > 0 ? target.done : -Int(EINTR)
                }
            }
            r = unsafe Lane.receiveNow(e, fd, &target, flags)
        }
    }

    /// The number that the call was made with is another file's by now.
    private var isReplaced: Bool { unsafe DescriptorTable.address(DescriptorTable.entry(first)) != UInt(bitPattern: e) }

    /// A call that does not block may follow a report of bytes in the ring. When the sender is just taking them back, it
    /// waits until they are in the kernel: 50 ms at most, as the sender is in the middle of a call; 1 ms for another user's.
    private mutating func comes() -> Bool {
        guard unsafe Lane.isOnItsWay(e, fd) else { return false }
        let now = slc_now_ns()
        if takeBackEnd == 0 { takeBackEnd = unsafe now &+ (TakeBack.isStranger(e) ? 1_000_000 : 50_000_000) }
        var p = pollfd(fd: fd, events: Int16(POLLIN), revents: 0)
        var pause = timespec(tv_sec: 0, tv_nsec: 200_000)
        _ = unsafe slc_ppoll(&p, 1, &pause, nil)
        return now < takeBackEnd
    }

    private func ended(_ target: UserBytes, _ r: Int) -> Int {
        if target.total == 0 { return 0 }
        guard target.done > 0 else { return r }
        // The error is told by the next call.
        if r < 0 { unsafe slc_set_u32(&e.pointee.error, UInt32(truncatingIfNeeded: 0 &- r)) }
        return target.done
    }
}
