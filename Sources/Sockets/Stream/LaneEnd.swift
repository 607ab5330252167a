import CLinux
import CStackLayout
import Counters
import SharedMemory
import Stacks

/// How a lane ends: in order with the socket, or by the survivor's rule when the peer was killed.
extension Lane {
    /// The last known descriptor is about to be closed. The peer sees E and then the kernel's FIN; unread ring bytes
    /// become a reset, as unread kernel bytes would.
    static func endInOrder(_ e: Endpoint, _ fd: Int32) {
        guard slc_acquire_u32(&e.pointee.lane) == UInt32(SL_LANE_LOOPBACK) else { return }
        // First: whoever is killed in between leaves unread bytes that count as unread.
        let rxLock = RobustLock(&e.rx.pointee.lock)
        if rxLock.acquire() { mendReceive(e, fd) }
        if let d = e.rxDirection {
            let unread = slc_acquire_u64(&d.pointee.producer) &- e.rx.pointee.offset
            if e.rx.pointee.phase & 1 == 1 && unread != 0 && e.rx.pointee.flags & UInt32(SL_HALF_GONE) == 0 {
                // The peer is told by the reset alone.
                resetOnClose(fd)
            } else if e.pointee.linger == 0 {
                slc_release_u32(&d.pointee.closed, 1)
                _ = slc_exchange_u32(&d.pointee.rx_control, UInt32(SL_RX_GONE))
            }
        }
        rxLock.release()
        let txLock = RobustLock(&e.tx.pointee.lock)
        if txLock.acquire() { mendSend(e, fd) }
        if let d = e.txDirection {
            leaveRing(e, fd)
            finishTakeBack(e, fd)
            slc_release_u32(&d.pointee.ended, 1)
        }
        txLock.release()
        detach(e)
    }

    /// Bytes taken back must be in the kernel before the FIN.
    static func finishTakeBack(_ e: Endpoint, _ fd: Int32) {
        let end = slc_now_ns() &+ 1_000_000_000
        while !flush(e, fd) && slc_now_ns() < end {
            var p = pollfd(fd: fd, events: Int16(POLLOUT), revents: 0)
            var pause = timespec(tv_sec: 0, tv_nsec: 10_000_000)
            _ = slc_ppoll(&p, 1, &pause, nil)
        }
    }

    private static func resetOnClose(_ fd: Int32) {
        var l = linger(l_onoff: 1, l_linger: 0)
        _ = slc_setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, UInt32(MemoryLayout<linger>.size))
    }

    /// Unmaps and leaves the slot, now or with the last call that sleeps on it.
    static func detach(_ e: Endpoint) {
        let rxLock = RobustLock(&e.rx.pointee.lock)
        rxLock.acquire()
        e.pointee.rx_direction = 0
        rxLock.release()
        let txLock = RobustLock(&e.tx.pointee.lock)
        txLock.acquire()
        e.pointee.tx_direction = 0
        slc_release_u32(&e.pointee.lane, UInt32(SL_LANE_KERNEL))
        txLock.release()
        process.lock.acquire()
        if process.lanes > 0 { process.lanes &-= 1 }
        let local = e.local
        if slc_relaxed_u32(&local.pointee.users) == 0 {
            unmap(e)
        } else {
            local.pointee.unmapWhenIdle = true
        }
        process.lock.release()
    }

    /// Under the process lock.
    private static func unmap(_ e: Endpoint) {
        let local = e.local
        let first = min(e.pointee.rx_ring, e.pointee.tx_ring)
        Memory.unmap(first, Int(e.pointee.ring_bytes) * 2)
        e.pointee.rx_ring = 0
        e.pointee.tx_ring = 0
        e.pointee.region_address = 0
        if let pair = local.pointee.pair { pair.leaveSlot(local.pointee.region, local.pointee.slot) }
        local.pointee.pair = nil
        local.pointee.unmapWhenIdle = false
    }

    /// A call that sleeps keeps the lane's memory; nil when there is no lane any more.
    static func hold(_ e: Endpoint) -> Bool {
        _ = slc_add_u32(&e.local.pointee.users, 1)
        if slc_acquire_u32(&e.pointee.lane) == UInt32(SL_LANE_LOOPBACK) { return true }
        letGo(e)
        return false
    }

    static func letGo(_ e: Endpoint) {
        guard slc_sub_u32(&e.local.pointee.users, 1) == 1 else { return }
        if e.local.pointee.kept >= 0 { endKept(e) }
        guard e.local.pointee.unmapWhenIdle else { return }
        process.lock.acquire()
        if slc_relaxed_u32(&e.local.pointee.users) == 0 && e.local.pointee.unmapWhenIdle { unmap(e) }
        process.lock.release()
    }

    /// The last descriptor is being closed under a call that sleeps: true when the end is left to that call.
    static func keep(_ e: Endpoint, _ fd: Int32) -> Bool {
        guard slc_acquire_u32(&e.pointee.lane) == UInt32(SL_LANE_LOOPBACK), hold(e) else { return false }
        process.lock.acquire()
        let others = slc_relaxed_u32(&e.local.pointee.users) > 1
        if others { e.local.pointee.kept = OwnDescriptor.duplicate(fd) }
        process.lock.release()
        let kept = others && e.local.pointee.kept >= 0
        // They poll a number that will be another file's.
        if kept { wakeOwn(e) }
        letGo(e)
        return kept
    }

    private static func endKept(_ e: Endpoint) {
        process.lock.acquire()
        let fd = e.local.pointee.kept
        e.local.pointee.kept = -1
        process.lock.release()
        guard fd >= 0 else { return }
        endInOrder(e, fd)
        OwnDescriptor.close(fd)
        StackMemory.free(e)
    }

    /// The number by which a call that has slept may go on: its own if the table still says so, else the kept one; nil: the
    /// number is somebody else's now.
    @inline(__always) static func current(_ e: Endpoint, _ fd: Int32) -> Int32? {
        if DescriptorTable.address(DescriptorTable.entry(fd)) == UInt(bitPattern: e) { return fd }
        let kept = e.local.pointee.kept
        return kept >= 0 ? kept : e.local.pointee.descriptor >= 0 ? e.local.pointee.descriptor : nil
    }

    /// The peer's end is gone without an orderly end. Bytes that we sent and it did not read: a reset, as the kernel would
    /// have sent. Under the rx lock; true when the connection counts as reset.
    static func survivorIsReset(_ e: Endpoint) -> Bool {
        guard let d = e.txDirection, let r = e.rxDirection, e.tx.pointee.phase & 1 == 1,
            (e.rx.pointee.flags | e.tx.pointee.flags) & UInt32(SL_HALF_SHUT) == 0
        else { return false }
        if slc_acquire_u32(&r.pointee.ended) != 0 || slc_acquire_u32(&d.pointee.closed) != 0 { return false }
        let sent = slc_acquire_u64(&d.pointee.producer)
        guard sent != slc_acquire_u64(&d.pointee.consumer) else { return false }
        markReset(e)
        return true
    }

    /// Wakes the calls of this process that sleep on the connection.
    static func wakeOwn(_ e: Endpoint) {
        guard let tx = e.txDirection, let rx = e.rxDirection, let pair = e.local.pointee.pair else { return }
        var bits = slc_relaxed_u64(&tx.pointee.space_waiters) | slc_relaxed_u64(&rx.pointee.data_waiters)
        while bits != 0 {
            let i = bits.trailingZeroBitCount
            bits &= bits &- 1
            guard let w = UnsafeMutablePointer<Waiter>(bitPattern: pair.pointee.waiters[i]), w.pointee.bell >= 0 else { continue }
            var one: UInt64 = 1
            _ = slc_write(w.pointee.bell, &one, 8)
        }
    }

    static func markReset(_ e: Endpoint) {
        if slc_or_u32(&e.pointee.flags, UInt32(SL_EP_RESET)) & UInt32(SL_EP_RESET) == 0 {
            slc_set_u32(&e.pointee.error, UInt32(ECONNRESET))
            // Threads that sleep for space may have no event of the kernel's left to wake them.
            wakeOwn(e)
        }
    }

    /// Something in shared memory cannot be: this connection alone ends, as by a reset.
    @inline(never) static func damaged(_ e: Endpoint, _ fd: Int32) -> Int {
        e.pointee.reason = Reason.damaged.number
        e.pointee.flags |= UInt32(SL_EP_GIVEN_UP)
        markReset(e)
        _ = slc_shutdown(fd, 2)
        return -Int(takeError(e))
    }

    /// The pending error, once.
    static func takeError(_ e: Endpoint) -> UInt32 { slc_exchange_u32(&e.pointee.error, 0) }
}
