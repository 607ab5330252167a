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
        guard unsafe slc_acquire_u32(&e.pointee.lane) == UInt32(SL_LANE_LOOPBACK) else { return }
        // First: whoever is killed in between leaves unread bytes that count as unread.
        let rxLock = unsafe RobustLock(&e.rx.pointee.lock)
        if rxLock.acquire() { unsafe mendReceive(e, fd) }
        if let d = unsafe e.rxDirection {
            let unread = unsafe slc_acquire_u64(&d.pointee.producer) &- e.rx.pointee.offset
            // The sender may be in the ring already, while no call of ours has read up to K.
            let isInRing = unsafe e.rx.pointee.phase & 1 == 1 || slc_acquire_u32(&d.pointee.phase) != e.rx.pointee.phase
            if unsafe isInRing && unread != 0 && e.rx.pointee.flags & UInt32(SL_HALF_GONE) == 0 {
                // The peer is told by the reset alone.
                resetOnClose(fd)
            } else if unsafe e.pointee.linger == 0 {
                unsafe slc_release_u32(&d.pointee.closed, 1)
                _ = unsafe slc_exchange_u32(&d.pointee.rx_control, UInt32(SL_RX_GONE))
            }
        }
        rxLock.release()
        let txLock = unsafe RobustLock(&e.tx.pointee.lock)
        if txLock.acquire() { unsafe mendSend(e, fd) }
        if let d = unsafe e.txDirection {
            unsafe leaveRing(e, fd)
            unsafe endSending(e, fd, d)
        }
        txLock.release()
        unsafe detach(e)
    }

    /// Under the tx lock, behind `leaveRing`: the FIN comes next. What the kernel does not take at once (the program has
    /// made its send buffer smaller since) the receiver finds in the ring, behind the kernel's end.
    static func endSending(_ e: Endpoint, _ fd: Int32, _ d: Direction) {
        // After a shutdown the kernel takes no more: the rest stays one.
        if unsafe slc_relaxed_u32(&d.pointee.ended) == UInt32(SL_ENDED_WITH_REST) { return }
        unsafe slc_release_u32(&d.pointee.ended, UInt32(flush(e, fd) ? SL_ENDED : SL_ENDED_WITH_REST))
    }

    /// The process exits and is the last that holds the connection: what is in the ring goes back to the kernel, as it would
    /// be there without us. With bytes unread here the end is no end in order: the survivor's rule makes it a reset.
    static func atExit(_ e: Endpoint, _ fd: Int32) {
        guard unsafe slc_acquire_u32(&e.pointee.lane) == UInt32(SL_LANE_LOOPBACK) else { return }
        _ = unsafe slc_or_u32(&e.pointee.flags, UInt32(SL_EP_GIVEN_UP))
        let rxLock = unsafe RobustLock(&e.rx.pointee.lock)
        if rxLock.acquire() { unsafe mendReceive(e, fd) }
        var isUnread = false
        if let d = unsafe e.rxDirection, unsafe e.rx.pointee.flags & UInt32(SL_HALF_GONE) == 0 {
            let isInRing = unsafe e.rx.pointee.phase & 1 == 1 || slc_acquire_u32(&d.pointee.phase) != e.rx.pointee.phase
            isUnread = unsafe isInRing && slc_acquire_u64(&d.pointee.producer) != e.rx.pointee.offset
        }
        rxLock.release()
        let txLock = unsafe RobustLock(&e.tx.pointee.lock)
        if txLock.acquire() { unsafe mendSend(e, fd) }
        if let d = unsafe e.txDirection {
            unsafe leaveRing(e, fd)
            if isUnread { _ = unsafe flush(e, fd) } else { unsafe endSending(e, fd, d) }
            unsafe notifyAll(e)
        }
        txLock.release()
    }

    private static func resetOnClose(_ fd: Int32) {
        var l = linger(l_onoff: 1, l_linger: 0)
        _ = unsafe slc_setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, UInt32(MemoryLayout<linger>.size))
    }

    /// Unmaps and leaves the slot, now or with the last call that sleeps on it.
    static func detach(_ e: Endpoint) {
        let rxLock = unsafe RobustLock(&e.rx.pointee.lock)
        rxLock.acquire()
        unsafe e.pointee.rx_direction = 0
        rxLock.release()
        let txLock = unsafe RobustLock(&e.tx.pointee.lock)
        txLock.acquire()
        unsafe e.pointee.tx_direction = 0
        unsafe slc_release_u32(&e.pointee.lane, UInt32(SL_LANE_KERNEL))
        txLock.release()
        unsafe process.lock.acquire()
        let local = unsafe e.local
        if unsafe local.pointee.rings != 0 {
            unsafe process.lanes &-= 1
            unsafe local.pointee.leavesSlot = true
            if unsafe slc_relaxed_u32(&local.pointee.users) == 0 {
                unsafe unmap(e)
            } else {
                unsafe local.pointee.unmapWhenIdle = true
            }
        }
        unsafe process.lock.release()
    }

    /// The last descriptor of this process is closed, but other processes hold the endpoint: what is mapped here goes, now or
    /// with the last call that sleeps on it; the lane goes on. The caller has counted itself among its users.
    static func leaveToOthers(_ e: Endpoint) {
        let local = unsafe e.local
        unsafe process.lock.acquire()
        if unsafe local.pointee.rings != 0 && !local.pointee.unmapWhenIdle {
            unsafe process.lanes &-= 1
            unsafe local.pointee.unmapWhenIdle = true
        }
        if unsafe e.pointee.owner == process.nonce { unsafe LentEndpoints.add(e) }
        unsafe process.lock.release()
        unsafe letGo(e)
    }

    /// Under the process lock. The slot is left by the last process of this side only.
    private static func unmap(_ e: Endpoint) {
        let local = unsafe e.local
        unsafe Memory.unmap(UInt64(local.pointee.rings), Int(local.pointee.ringBytes) * 2)
        unsafe local.pointee.rings = 0
        unsafe local.pointee.unmapWhenIdle = false
        guard let pair = unsafe local.pointee.pair else { return }
        if unsafe local.pointee.leavesSlot {
            if unsafe e.pointee.generation == local.pointee.generation {
                unsafe e.pointee.rx_ring = 0
                unsafe e.pointee.tx_ring = 0
                unsafe e.pointee.region_address = 0
                _ = unsafe slc_or_u32(&e.pointee.flags, UInt32(SL_EP_LEFT))
            }
            unsafe pair.leaveSlot(local.pointee.region, local.pointee.slot)
        } else {
            unsafe pair.disclaim(local.pointee.region, local.pointee.slot)
            // The owner keeps the pair, to leave the slot for sharers that are killed.
            if unsafe e.pointee.owner == process.nonce { return }
            unsafe pair.pointee.liveSlots -= 1
        }
        unsafe local.pointee.pair = nil
    }

    /// A call that sleeps keeps the lane's memory; false when there is no lane any more.
    static func hold(_ e: Endpoint) -> Bool {
        slc_enter()
        let isThere = unsafe use(e)
        if isThere { unsafe Held.note(.lane, e) }
        slc_leave()
        return isThere
    }

    static func letGo(_ e: Endpoint) {
        slc_enter()
        // The socket may have been closed meanwhile, and its slot be another's.
        let generation = Held.drop(.lane, UInt(bitPattern: e))
        if unsafe generation ?? e.pointee.generation == e.pointee.generation { unsafe release(e) }
        slc_leave()
    }

    private static func use(_ e: Endpoint) -> Bool {
        _ = unsafe slc_add_u32(&e.local.pointee.users, 1)
        if unsafe slc_acquire_u32(&e.pointee.lane) == UInt32(SL_LANE_LOOPBACK) { return true }
        unsafe release(e)
        return false
    }

    /// One call fewer.
    static func release(_ e: Endpoint) {
        guard unsafe slc_sub_u32(&e.local.pointee.users, 1) == 1 else { return }
        if unsafe e.local.pointee.kept >= 0 { unsafe endKept(e) }
        guard unsafe e.local.pointee.unmapWhenIdle else { return }
        unsafe process.lock.acquire()
        if unsafe slc_relaxed_u32(&e.local.pointee.users) == 0 && e.local.pointee.unmapWhenIdle { unsafe unmap(e) }
        unsafe process.lock.release()
    }

    /// The last descriptor is being closed under a call that sleeps: true when the end is left to that call.
    static func keep(_ e: Endpoint, _ fd: Int32) -> Bool {
        slc_enter()
        defer { slc_leave() }
        guard unsafe slc_acquire_u32(&e.pointee.lane) == UInt32(SL_LANE_LOOPBACK), unsafe use(e) else { return false }
        unsafe process.lock.acquire()
        let others = unsafe slc_relaxed_u32(&e.local.pointee.users) > 1
        if others { unsafe e.local.pointee.kept = OwnDescriptor.duplicate(fd) }
        unsafe process.lock.release()
        let kept = unsafe others && e.local.pointee.kept >= 0
        // They poll a number that will be another file's.
        if kept { unsafe wakeOwn(e) }
        unsafe release(e)
        return kept
    }

    private static func endKept(_ e: Endpoint) {
        unsafe process.lock.acquire()
        let fd = unsafe e.local.pointee.kept
        unsafe e.local.pointee.kept = -1
        unsafe process.lock.release()
        guard fd >= 0 else { return }
        unsafe endInOrder(e, fd)
        OwnDescriptor.close(fd)
        unsafe StackMemory.free(e)
    }

    /// The number by which a call that has slept may go on: its own if the table still says so, else the kept one; nil: the
    /// number is somebody else's now.
    @inline(__always) static func current(_ e: Endpoint, _ fd: Int32) -> Int32? {
        if DescriptorTable.address(DescriptorTable.entry(fd)) == UInt(bitPattern: e) { return fd }
        let kept = unsafe e.local.pointee.kept
        return unsafe kept >= 0 ? kept : e.local.pointee.descriptor >= 0 ? e.local.pointee.descriptor : nil
    }

    /// The peer's end is gone without an orderly end. Bytes that we sent and it did not read: a reset, as the kernel would
    /// have sent. Under the rx lock; true when the connection counts as reset.
    static func survivorIsReset(_ e: Endpoint) -> Bool {
        guard let d = unsafe e.txDirection, let r = unsafe e.rxDirection, unsafe e.tx.pointee.phase & 1 == 1,
            unsafe (e.rx.pointee.flags | e.tx.pointee.flags) & UInt32(SL_HALF_SHUT) == 0
        else { return false }
        if unsafe slc_acquire_u32(&r.pointee.ended) != 0 || slc_acquire_u32(&d.pointee.closed) != 0 { return false }
        let sent = unsafe slc_acquire_u64(&d.pointee.producer)
        guard unsafe sent != slc_acquire_u64(&d.pointee.consumer) else { return false }
        unsafe markReset(e)
        count(StackCounter.survivorResets)
        unsafe Log.write(
            .connectionDrop, "descriptor %d is reset: its peer ended and has not read all", e.local.pointee.descriptor)
        return true
    }

    /// Wakes the calls of this process that sleep on the connection.
    static func wakeOwn(_ e: Endpoint) {
        guard let tx = unsafe e.txDirection, let rx = unsafe e.rxDirection, let pair = unsafe e.local.pointee.pair else { return }
        var bits = unsafe slc_relaxed_u64(&tx.pointee.space_waiters) | slc_relaxed_u64(&rx.pointee.data_waiters)
        while bits != 0 {
            let i = bits.trailingZeroBitCount
            bits &= bits &- 1
            guard let w = unsafe UnsafeMutablePointer<Waiter>(bitPattern: pair.pointee.waiters[i]) else { continue }
            _ = unsafe OwnDescriptor.ring(&w.pointee.bell)
        }
    }

    static func markReset(_ e: Endpoint) {
        if unsafe slc_or_u32(&e.pointee.flags, UInt32(SL_EP_RESET)) & UInt32(SL_EP_RESET) == 0 {
            unsafe slc_set_u32(&e.pointee.error, UInt32(ECONNRESET))
            // Threads that sleep for space may have no event of the kernel's left to wake them.
            unsafe wakeOwn(e)
        }
    }

    /// Something in shared memory cannot be: this connection alone ends, as by a reset.
    @inline(never) static func damaged(_ e: Endpoint, _ fd: Int32) -> Int {
        count(StackCounter.damagedWords)
        Log.write(.connectionDrop, "descriptor %d is reset: its peer wrote what cannot be", fd)
        unsafe e.pointee.reason = Reason.damaged.number
        unsafe e.pointee.flags |= UInt32(SL_EP_GIVEN_UP)
        unsafe markReset(e)
        _ = slc_shutdown(fd, 2)
        return unsafe -Int(takeError(e))
    }

    /// The pending error, once.
    static func takeError(_ e: Endpoint) -> UInt32 { unsafe slc_exchange_u32(&e.pointee.error, 0) }
}
