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

extension Lane {
    /// One look at both sources, in order, without blocking. Bytes, 0 at the end of the stream, -EAGAIN, or another
    /// -errno; `useKernel` when there is no lane. Takes the rx lock. `peeked`: bytes that this call has already shown by MSG_PEEK.
    static func receiveNow(_ e: Endpoint, _ fd: Int32, _ target: inout UserBytes, _ flags: ReceiveFlags) -> Int {
        let lock = RobustLock(&e.rx.pointee.lock)
        lock.acquire()
        let r = receiveLocked(e, fd, &target, flags)
        lock.release()
        return r
    }

    private static func receiveLocked(_ e: Endpoint, _ fd: Int32, _ target: inout UserBytes, _ flags: ReceiveFlags) -> Int {
        guard let reader = e.reader else { return useKernel }
        if e.rx.pointee.flags & UInt32(SL_HALF_GONE) != 0 { return kernelReceive(e, fd, &target, flags, Int.max) }
        var turns = 0
        while turns < 64 {
            turns += 1
            if e.rx.pointee.phase & 1 == 1 {
                guard let n = reader.available() else { return damaged(e, fd) }
                if n > 0 {
                    let r = take(e, reader, Int(n), &target, flags)
                    return flags.peek ? peekOn(e, fd, reader, &target, flags, r) : r
                }
                let phase = slc_acquire_u32(&reader.direction.pointee.phase)
                if phase != e.rx.pointee.phase {
                    guard slc_relaxed_u64(&reader.direction.pointee.ring_end) == e.rx.pointee.offset else {
                        // E lies behind what we have read: more was published meanwhile, or the word is damaged.
                        guard let again = reader.available(), again > 0 else { return damaged(e, fd) }
                        continue
                    }
                    advance(e, reader.direction)
                    continue
                }
                guard let r = emptyRing(e, fd, reader, &target, flags) else { continue }
                return r
            }
            openReceive(e, fd)
            if process.settings.chaos != 0 { chaosReceive(e) }
            let phase = slc_acquire_u32(&reader.direction.pointee.phase)
            guard phase != e.rx.pointee.phase else { return kernelReceive(e, fd, &target, flags, Int.max) }
            let left = slc_relaxed_u64(&reader.direction.pointee.kernel_count) &- e.rx.pointee.kernel_bytes
            guard left < 1 << 48, e.rx.pointee.flags & UInt32(SL_HALF_COUNTED) != 0 else { return damaged(e, fd) }
            if left == 0 {
                advance(e, reader.direction)
                continue
            }
            let r = kernelReceive(e, fd, &target, flags, Int(left))
            if flags.peek && r == Int(left) && target.left > 0, let n = reader.available(), n > 0 {
                return r + take(e, reader, Int(n), &target, flags)
            }
            return r
        }
        return damaged(e, fd)
    }

    /// A peek that has shown all of the ring goes on into the kernel's bytes when the sender has gone back there.
    private static func peekOn(_ e: Endpoint, _ fd: Int32, _ reader: RingReader, _ target: inout UserBytes, _ flags: ReceiveFlags, _ shown: Int) -> Int {
        guard target.left > 0, slc_acquire_u32(&reader.direction.pointee.phase) != e.rx.pointee.phase,
            slc_relaxed_u64(&reader.direction.pointee.ring_end) == e.rx.pointee.offset &+ UInt64(shown)
        else { return shown }
        let r = kernelReceive(e, fd, &target, flags, Int.max)
        return r > 0 ? shown + r : shown
    }

    /// On to the next phase, and says so to the sender.
    private static func advance(_ e: Endpoint, _ d: Direction) {
        e.rx.pointee.phase &+= 1
        slc_release_u32(&d.pointee.phase_reached, e.rx.pointee.phase)
        // A sender that waits for us to catch up may sleep.
        slc_fence()
        let mask = slc_relaxed_u64(&d.pointee.space_waiters)
        if mask != 0 { notify(e, mask, nil) }
    }

    @inline(__always)
    private static func take(_ e: Endpoint, _ reader: RingReader, _ available: Int, _ target: inout UserBytes, _ flags: ReceiveFlags) -> Int {
        var n = min(available, target.left)
        let result = n
        var skip: UInt64 = 0
        while n > 0 {
            let (p, k) = target.next(n)
            guard k > 0, let p else { break }
            if !flags.discard { reader.read(p, k, skip: skip) }
            skip &+= UInt64(k)
            target.advance(k)
            n -= k
        }
        if !flags.peek { consumed(e, reader, result) }
        return result
    }

    @inline(__always)
    static func consumed(_ e: Endpoint, _ reader: RingReader, _ n: Int) {
        reader.consume(UInt64(n))
        e.pointee.counters.rx_packets &+= 1
        e.pointee.counters.rx_ring_bytes &+= UInt64(n)
        slc_fence()
        let mask = slc_relaxed_u64(&reader.direction.pointee.space_waiters)
        if mask != 0 { spaceFreed(e, reader, mask) }
        if process.settings.chaos != 0 { chaosReceive(e) }
    }

    /// A sender that waits for space is woken when a third of the ring is free.
    @inline(never) private static func spaceFreed(_ e: Endpoint, _ reader: RingReader, _ mask: UInt64) {
        guard let left = reader.available() else { return }
        if left <= e.pointee.ring_bytes - e.pointee.ring_bytes / 3 { notify(e, mask, nil) }
    }

    /// The ring is empty and not ended: has the kernel connection ended, or does somebody write to it who is not our peer?
    /// Nil: look again. At most one system call in 20 us.
    @inline(never)
    private static func emptyRing(_ e: Endpoint, _ fd: Int32, _ reader: RingReader, _ target: inout UserBytes, _ flags: ReceiveFlags) -> Int? {
        let now = slc_tsc()
        if now &- e.rx.pointee.kernel_look < 20 &* process.tickRate { return -Int(EAGAIN) }
        e.rx.pointee.kernel_look = now
        var byte: UInt8 = 0
        let r = slc_recvfrom(fd, &byte, 1, 0x2 | 0x40)
        if r == -Int(EAGAIN) { return e.pointee.flags & UInt32(SL_EP_RESET) != 0 ? resetResult(e) : -Int(EAGAIN) }
        // What was published before the end is in the ring by now.
        if let n = reader.available(), n > 0 { return nil }
        if slc_acquire_u32(&reader.direction.pointee.phase) != e.rx.pointee.phase { return nil }
        if r == 0 {
            e.rx.pointee.flags |= UInt32(SL_HALF_EOF_SEEN)
            return survivorIsReset(e) || e.pointee.flags & UInt32(SL_EP_RESET) != 0 ? resetResult(e) : 0
        }
        if r > 0 {
            // Not from our peer's lane: somebody else writes to this connection. Deliver, and end the lane.
            e.pointee.reason = Reason.foreignOrigin.number
            e.pointee.flags |= UInt32(SL_EP_FOREIGN | SL_EP_GIVEN_UP)
        }
        return kernelReceive(e, fd, &target, flags, Int.max)
    }

    /// The error once, then the end of the stream.
    private static func resetResult(_ e: Endpoint) -> Int {
        let error = takeError(e)
        return error != 0 ? -Int(error) : 0
    }

    /// A non-blocking real receive of at most `most` bytes.
    private static func kernelReceive(_ e: Endpoint, _ fd: Int32, _ target: inout UserBytes, _ flags: ReceiveFlags, _ most: Int) -> Int {
        var parts: (iovec, iovec, iovec, iovec, iovec, iovec, iovec, iovec) = (
            iovec(), iovec(), iovec(), iovec(), iovec(), iovec(), iovec(), iovec()
        )
        let r = withUnsafeMutablePointer(to: &parts) { tuple -> Int in
            let p = UnsafeMutableRawPointer(tuple).assumingMemoryBound(to: iovec.self)
            var m = msghdr()
            m.msg_iov = p
            m.msg_iovlen = Int(target.remaining(most: min(most, target.left), p, 8))
            return slc_recvmsg(fd, &m, (flags.raw & ~0x100) | 0x40)
        }
        if r > 0 {
            target.skip(r)
            if !flags.peek {
                e.rx.pointee.kernel_bytes = e.rx.pointee.kernel_bytes &+ UInt64(r)
                e.pointee.counters.rx_kernel_bytes &+= UInt64(r)
            }
        } else if r == 0 && target.left > 0 {
            e.rx.pointee.flags |= UInt32(SL_HALF_EOF_SEEN)
            let pending = takeError(e)
            if pending != 0 { return -Int(pending) }
        }
        return r
    }

    /// Chaos mode: the receiver asks for the lane to close at random reads.
    @inline(never) static func chaosReceive(_ e: Endpoint) {
        guard process.nextRandom() % 32 == 0, let d = e.rxDirection else { return }
        _ = slc_cas_u32(&d.pointee.rx_control, UInt32(SL_RX_OPEN), UInt32(SL_RX_WANT))
    }
}

/// recv, recvfrom, recvmsg, read, readv on a tracked stream. Result or -errno.
func streamReceive(_ e: Endpoint, _ fd: Int32, _ target: inout UserBytes, _ flags: ReceiveFlags) -> Int {
    let interrupts = Interrupts()
    let dontWait = flags.dontWait || e.isNonBlocking
    var wait: Wait? = nil
    var goal = 1
    if flags.waitAll && !flags.peek { goal = target.total }
    if e.pointee.rx_lowat > 1 { goal = max(goal, min(Int(e.pointee.rx_lowat), target.total)) }
    while true {
        let r = Lane.receiveNow(e, fd, &target, flags)
        if r == useKernel { return target.done > 0 ? target.done : useKernel }
        if flags.peek && r > 0 { return r }
        if r > 0 && target.done >= goal { return target.done }
        if r == 0 || r < 0 && r != -Int(EAGAIN) {
            if target.total == 0 { return 0 }
            if target.done > 0 {
                // The error is told by the next call.
                if r < 0 { slc_set_u32(&e.pointee.error, UInt32(truncatingIfNeeded: -r)) }
                return target.done
            }
            return r
        }
        if r > 0 { continue }
        if dontWait { return target.done > 0 ? target.done : -Int(EAGAIN) }
        if target.total == 0 { return 0 }
        if wait == nil { wait = Wait(.data, timeoutNs: e.pointee.rx_timeout_ns, interrupts: interrupts) }
        let outcome = wait.unsafelyUnwrapped(e, fd)
        Lane.service(e, fd)
        switch outcome {
        case .ready: if e.rx.pointee.phase & 1 == 1 { e.rx.pointee.kernel_look = 0 }
        case .timedOut: return target.done > 0 ? target.done : -Int(EAGAIN)
        case .interrupted: return target.done > 0 ? target.done : -Int(EINTR)
        }
    }
}
