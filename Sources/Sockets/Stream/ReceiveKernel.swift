import CLinux
import CStackLayout
import SharedMemory
import Stacks

/// The kernel's part of a receive: what came before the sender entered the ring, and what comes behind its leaving it.
extension Lane {
    /// A read of the kernel while the sender is there too. The sender may go over to the ring, and back again, before the
    /// kernel answers. Nil: look again, the ring may have bytes that come before the end that was found.
    static func plainReceive(
        _ e: Endpoint, _ fd: Int32, _ reader: RingReader, _ target: inout UserBytes, _ flags: ReceiveFlags
    ) -> Int? {
        let r = unsafe kernelReceive(e, fd, &target, flags, Int.max)
        if unsafe slc_acquire_u32(&reader.direction.pointee.phase) == e.rx.pointee.phase || target.total == 0 { return r }
        if r > 0 {
            if !flags.peek { _ = unsafe passRing(e, reader) }
            return r
        }
        guard r == 0 || r == -Int(EAGAIN) || r == -Int(ECONNRESET) else { return r }
        if r == -Int(ECONNRESET) { unsafe slc_set_u32(&e.pointee.error, UInt32(ECONNRESET)) }
        return nil
    }

    /// A read has gone beyond K: what it found there the sender had put into the ring, and taken back before we saw that.
    /// So the ring phase is over. False: it is not so, and the counts cannot be.
    static func passRing(_ e: Endpoint, _ reader: RingReader) -> Bool {
        let d = unsafe reader.direction
        let beyond = unsafe e.rx.pointee.kernel_bytes &- slc_relaxed_u64(&d.pointee.kernel_count)
        guard beyond != 0, beyond < 1 << 48, unsafe e.rx.pointee.flags & UInt32(SL_HALF_COUNTED) != 0,
            unsafe slc_acquire_u32(&d.pointee.phase) == e.rx.pointee.phase &+ 2,
            unsafe slc_relaxed_u64(&d.pointee.ring_end) == e.rx.pointee.offset
        else { return false }
        unsafe advance(e, d)
        reader.jump()
        unsafe advance(e, d)
        return true
    }

    /// A non-blocking real receive of at most `most` bytes.
    static func kernelReceive(
        _ e: Endpoint, _ fd: Int32, _ target: inout UserBytes, _ flags: ReceiveFlags, _ most: Int
    ) -> Int {
        let goal = min(most, target.left)
        var r = unsafe kernelPiece(e, fd, &target, flags, goal)
        // More parts than one real call was given.
        while r > 0 && !flags.peek && r < goal && target.isAtPart {
            let n = unsafe kernelPiece(e, fd, &target, flags, goal - r)
            if n <= 0 { break }
            r += n
        }
        return r
    }

    private static func kernelPiece(
        _ e: Endpoint, _ fd: Int32, _ target: inout UserBytes, _ flags: ReceiveFlags, _ most: Int
    ) -> Int {
        let r = unsafe withUnsafeTemporaryAllocation(of: iovec.self, capacity: 64) { room -> Int in
            let p = unsafe room.baseAddress.unsafelyUnwrapped
            var m = unsafe msghdr()
            unsafe m.msg_iov = unsafe p
            unsafe m.msg_iovlen = unsafe Int(target.remaining(most: most, p, 64))
            return unsafe slc_recvmsg(fd, &m, (flags.raw & ~0x100) | 0x40)
        }
        if r > 0 {
            target.skip(r)
            if !flags.peek {
                unsafe e.rx.pointee.kernel_bytes = unsafe e.rx.pointee.kernel_bytes &+ UInt64(r)
                unsafe e.pointee.counters.rx_kernel_bytes &+= UInt64(r)
            }
        } else if r < 0 && r != -Int(EAGAIN) && target.left > 0 {
            guard let n = unsafe restOfTakeBack(e, &target, flags) else { return r }
            unsafe slc_set_u32(&e.pointee.error, UInt32(truncatingIfNeeded: -r))
            return n
        } else if r == 0 && target.left > 0 {
            if let n = unsafe restOfTakeBack(e, &target, flags) { return n }
            unsafe e.rx.pointee.flags |= UInt32(SL_HALF_EOF_SEEN)
            _ = unsafe survivorIsReset(e)
            let pending = unsafe takeError(e)
            if pending != 0 { return -Int(pending) }
        }
        return r
    }

    /// What was taken back and has not come by the kernel yet, by its place in the ring.
    private static func missing(_ e: Endpoint, _ reader: RingReader) -> (UInt64, UInt64)? {
        let d = unsafe reader.direction
        guard unsafe e.rx.pointee.phase & 1 == 0, unsafe e.rx.pointee.phase > 0,
            unsafe slc_acquire_u32(&d.pointee.ended) != UInt32(SL_ENDED)
        else { return nil }
        let end = unsafe slc_relaxed_u64(&d.pointee.ring_end)
        let producer = unsafe slc_acquire_u64(&d.pointee.producer)
        let came = unsafe e.rx.pointee.kernel_bytes &- slc_relaxed_u64(&d.pointee.kernel_count)
        let taken = producer &- end
        guard taken <= reader.bytes, came < taken, unsafe slc_acquire_u32(&d.pointee.phase) == e.rx.pointee.phase else {
            return nil
        }
        return (end &+ came, taken &- came)
    }

    /// Is the sender taking back what lies unread in the ring? It could be read before, and will come by the kernel.
    static func isOnItsWay(_ e: Endpoint, _ fd: Int32) -> Bool {
        let lock = unsafe RobustLock(&e.rx.pointee.lock)
        if lock.acquire() { unsafe mendReceive(e, fd) }
        defer { lock.release() }
        guard let reader = unsafe e.reader, unsafe e.rx.pointee.flags & UInt32(SL_HALF_GONE) == 0 else { return false }
        if unsafe e.rx.pointee.phase & 1 == 0 { return unsafe missing(e, reader) != nil }
        return unsafe reader.isClaimed && slc_acquire_u64(&reader.direction.pointee.producer) != e.rx.pointee.offset
    }

    /// The stream has ended in the kernel before all that was taken back came: the sender was killed in between. The rest
    /// still lies in the ring. Nil: nothing is missing.
    private static func restOfTakeBack(_ e: Endpoint, _ target: inout UserBytes, _ flags: ReceiveFlags) -> Int? {
        guard let reader = unsafe e.reader, let (from, count) = unsafe missing(e, reader) else { return nil }
        let save = unsafe e.rx.pointee.offset
        unsafe e.rx.pointee.offset = from
        let n = min(Int(count), target.left)
        var left = n
        var skip: UInt64 = 0
        while left > 0 {
            let (p, k) = unsafe target.next(left)
            guard k > 0, let p = unsafe p else { break }
            unsafe reader.read(p, k, skip: skip)
            skip &+= UInt64(k)
            target.advance(k)
            left -= k
        }
        unsafe e.rx.pointee.offset = save
        if !flags.peek { unsafe e.rx.pointee.kernel_bytes = unsafe e.rx.pointee.kernel_bytes &+ UInt64(n) }
        return n
    }
}
