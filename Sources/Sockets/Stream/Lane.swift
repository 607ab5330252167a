import CLinux
import CStackLayout
import Counters
import Settings
import SharedMemory
import Stacks

/// The lane of a stream: attached when both ends have mapped the slot, entered and left per direction by phases
/// (sl_direction), ended with the socket.
enum Lane {
    /// Both ends have met. From now on every wait on this socket includes a bell. Under the process lock.
    static func map(
        _ e: Endpoint, _ fd: Int32, _ pair: UnsafeMutablePointer<Pair>, _ region: Int32, _ slot: Int32,
        _ rings: UnsafeMutableRawPointer
    ) {
        guard let map = unsafe pair.map(region) else { return }
        let side = unsafe Int(pair.pointee.side)
        let ring = unsafe pair.pointee.ringBytes
        let local = unsafe e.local
        unsafe local.pointee.pair = unsafe pair
        unsafe local.pointee.region = region
        unsafe local.pointee.slot = slot
        unsafe local.pointee.rings = UInt(bitPattern: rings)
        unsafe local.pointee.ringBytes = ring
        unsafe local.pointee.generation = unsafe e.pointee.generation
        unsafe e.pointee.flags &= ~UInt32(SL_EP_LEFT)
        let tx = unsafe RobustLock(&e.tx.pointee.lock)
        tx.acquire()
        unsafe e.pointee.side = UInt32(side)
        unsafe e.pointee.slot = UInt32(bitPattern: slot)
        unsafe e.pointee.ring_bytes = ring
        unsafe e.pointee.tx_limit = ring
        unsafe e.pointee.region_address = UInt64(UInt(bitPattern: map))
        unsafe e.pointee.tx_ring = unsafe UInt64(UInt(bitPattern: rings + (side == 0 ? 0 : Int(ring))))
        unsafe reset(e.tx)
        unsafe e.pointee.tx_direction = unsafe UInt64(UInt(bitPattern: sl_region_direction(map, Int(slot), side)))
        tx.release()
        let rx = unsafe RobustLock(&e.rx.pointee.lock)
        rx.acquire()
        unsafe e.pointee.rx_ring = unsafe UInt64(UInt(bitPattern: rings + (side == 0 ? Int(ring) : 0)))
        unsafe reset(e.rx)
        unsafe e.pointee.rx_direction = unsafe UInt64(UInt(bitPattern: sl_region_direction(map, Int(slot), 1 - side)))
        rx.release()
        unsafe process.lanes &+= 1
        unsafe e.pointee.lane_generation = unsafe e.pointee.lane_generation &+ 1
        unsafe e.pointee.reason = Reason.none.number
        unsafe slc_release_u32(&e.pointee.lane, UInt32(SL_LANE_LOOPBACK))
        // A plain call counts itself and then looks at the lane; who opens a direction looks at the count behind this.
        slc_fence()
        unsafe e.pointee.counters.lane_openings &+= 1
    }

    /// The slot is not used after all.
    static func leave(_ pair: UnsafeMutablePointer<Pair>, _ region: Int32, _ slot: Int32, _ rings: UnsafeMutableRawPointer) {
        unsafe process.lock.acquire()
        unsafe Memory.unmap(UInt64(UInt(bitPattern: rings)), Int(pair.pointee.ringBytes) * 2)
        unsafe pair.leaveSlot(region, slot)
        unsafe process.lock.release()
    }

    /// Behind `map`, without the process lock.
    static func attached(_ e: Endpoint, _ fd: Int32) {
        unsafe process.calibrate()
        unsafe setKernelLowWater(fd, 1, e)
        count(StackCounter.lanesOpened)
        let reason = unsafe EpollSet.laneAttached(e)
        // The peer has not been told yet that it may use the ring: there is nothing to wait for.
        if reason != .none { _ = unsafe beginHandBack(e, fd, reason, foreign: true) }
    }

    /// SO_RCVLOWAT is ours while there is a lane: the kernel socket alone cannot know what is there.
    static func setKernelLowWater(_ fd: Int32, _ n: Int32, _ e: Endpoint) {
        guard unsafe e.pointee.rx_lowat > 1 else { return }
        var v = n
        _ = unsafe slc_setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &v, 4)
    }

    private static func reset(_ h: Half) {
        unsafe h.pointee.phase = 0
        unsafe h.pointee.flags &= UInt32(SL_HALF_SHUT)
        unsafe h.pointee.offset = 0
        unsafe h.pointee.other_offset = 0
        unsafe h.pointee.base = 0
    }

    /// Bytes in flight: never more than the kernel would take at once, so that taking back is one non-blocking send. Nil:
    /// so little that the kernel had better go on.
    static func limit(_ fd: Int32, _ ring: UInt64) -> UInt64? {
        // SO_MEMINFO (sock_diag(7)): the send buffer's size at 3, what is charged to it at 5.
        var info: (UInt32, UInt32, UInt32, UInt32, UInt32, UInt32, UInt32, UInt32, UInt32) = (0, 0, 0, 0, 0, 0, 0, 0, 0)
        var n: UInt32 = 36
        guard unsafe slc_getsockopt(fd, SOL_SOCKET, 55, &info, &n) == 0, n >= 24, info.5 < info.3 else { return nil }
        let free = UInt64(info.3 &- info.5)
        let most = free &- free / 8
        return most >= 2048 ? min(ring, most) : nil
    }

    // MARK: phases

    /// Under the rx lock: tells the sender that it may use the ring, once our place in the kernel stream is known and no
    /// call of this side can sleep without a bell.
    @inline(never) static func openReceive(_ e: Endpoint, _ fd: Int32) {
        guard let d = unsafe e.rxDirection, unsafe e.rx.pointee.flags & UInt32(SL_HALF_GONE | SL_HALF_SHUT) == 0,
            unsafe e.pointee.flags & UInt32(SL_EP_FOREIGN | SL_EP_GIVEN_UP) == 0
        else { return }
        let control = unsafe slc_relaxed_u32(&d.pointee.rx_control)
        if unsafe e.rx.pointee.flags & UInt32(SL_HALF_COUNTED) == 0 {
            guard control == UInt32(SL_RX_CLOSED), unsafe slc_relaxed_u32(&e.rx.pointee.plain_calls) == 0,
                let c = unsafe KernelCounts.take(fd, connecting: e.pointee.role == 0)
            else { return }
            unsafe e.rx.pointee.kernel_bytes = c.read
            unsafe e.rx.pointee.flags |= UInt32(SL_HALF_COUNTED)
        }
        if control == UInt32(SL_RX_CLOSED) || control == UInt32(SL_RX_SETTLED) {
            _ = unsafe slc_cas_u32(&d.pointee.rx_control, control, UInt32(SL_RX_OPEN))
        }
    }

    /// Under the tx lock, in the kernel phase: goes over to the ring when the receiver allows it.
    @inline(never) static func enterRing(_ e: Endpoint, _ fd: Int32) -> Bool {
        guard let d = unsafe e.txDirection, unsafe slc_acquire_u32(&d.pointee.rx_control) == UInt32(SL_RX_OPEN),
            unsafe slc_acquire_u32(&d.pointee.phase_reached) == e.tx.pointee.phase,
            unsafe e.tx.pointee.flags & UInt32(SL_HALF_SHUT | SL_HALF_TAKE_BACK) == 0,
            unsafe e.pointee.flags & UInt32(SL_EP_FOREIGN | SL_EP_GIVEN_UP | SL_EP_RESET) == 0, unsafe !process.sealed
        else { return false }
        if unsafe e.tx.pointee.flags & UInt32(SL_HALF_COUNTED) == 0 {
            guard unsafe slc_relaxed_u32(&e.tx.pointee.plain_calls) == 0,
                let c = unsafe KernelCounts.take(fd, connecting: e.pointee.role == 0)
            else { return false }
            unsafe e.tx.pointee.kernel_bytes = c.sent
            unsafe e.tx.pointee.flags |= UInt32(SL_HALF_COUNTED)
        }
        guard let limit = unsafe limit(fd, e.pointee.ring_bytes) else { return false }
        unsafe e.pointee.tx_limit = limit
        unsafe slc_set_u64(&d.pointee.kernel_count, e.tx.pointee.kernel_bytes)
        unsafe slc_set_u32(&d.pointee.sender_cpu, slc_cpu() &+ 1)
        unsafe slc_set_u32(&d.pointee.sender_descriptor, UInt32(bitPattern: fd) &+ 1)
        unsafe e.tx.pointee.phase &+= 1
        unsafe slc_release_u32(&d.pointee.phase, e.tx.pointee.phase)
        unsafe slc_set_u64(&e.pointee.full_since, 0)
        unsafe e.pointee.reason = Reason.none.number
        return true
    }

    /// Under the tx lock, in the ring phase: claims what the receiver has not read, publishes E, and sends it by the kernel,
    /// where all that follows goes too. So nothing stays behind in the ring whatever becomes of the receiver.
    static func leaveRing(_ e: Endpoint, _ fd: Int32) {
        guard let w = unsafe e.writer, unsafe e.tx.pointee.phase & 1 == 1 else { return }
        let end = unsafe w.claim() ?? e.tx.pointee.offset
        // In this order: a receiver says that it is taking and then looks for the claim.
        var control = unsafe slc_acquire_u32(&w.direction.pointee.rx_control)
        if unsafe control == UInt32(SL_RX_TAKING) && TakeBack.isStranger(e) { control = UInt32(SL_RX_OPEN) }
        if control == UInt32(SL_RX_TAKING) { unsafe TakeBack.awaitReceiver(w.direction) }
        unsafe slc_set_u64(&w.direction.pointee.ring_end, end)
        unsafe e.tx.pointee.other_offset = end
        if unsafe control == UInt32(SL_RX_TAKING)
            || control == UInt32(SL_RX_GONE) && slc_relaxed_u32(&w.direction.pointee.closed) == 0
        {
            unsafe TakeBack.countReceivers(e, fd, w.direction)
        }
        if unsafe e.tx.pointee.other_offset != e.tx.pointee.offset { unsafe e.tx.pointee.flags |= UInt32(SL_HALF_TAKE_BACK) }
        unsafe e.pointee.counters.tx_ring_bytes &-= e.tx.pointee.offset &- end
        unsafe e.tx.pointee.phase &+= 1
        unsafe slc_release_u32(&w.direction.pointee.phase, e.tx.pointee.phase)
        unsafe slc_set_u64(&e.pointee.full_since, 0)
        unsafe e.pointee.counters.lane_handbacks &+= 1
        _ = unsafe flush(e, fd)
    }

    /// Under the tx lock, in the ring phase: the receiver wants the lane closed or has left it.
    @inline(never) static func settle(_ e: Endpoint, _ fd: Int32) {
        guard let d = unsafe e.txDirection, unsafe e.tx.pointee.phase & 1 == 1 else { return }
        let control = unsafe slc_acquire_u32(&d.pointee.rx_control)
        if control == UInt32(SL_RX_OPEN) { return }
        if control == UInt32(SL_RX_WANT) { _ = unsafe slc_cas_u32(&d.pointee.rx_control, control, UInt32(SL_RX_SETTLED)) }
        unsafe leaveRing(e, fd)
        let isChaos = unsafe process.settings.chaos != 0
        if unsafe e.pointee.reason == Reason.none.number {
            unsafe e.pointee.reason = isChaos ? Reason.chaos.number : Reason.peerHandedBack.number
        }
    }

    /// Under the tx lock: sends what was taken back. True when nothing is left.
    @inline(never) static func flush(_ e: Endpoint, _ fd: Int32) -> Bool {
        guard unsafe e.tx.pointee.flags & UInt32(SL_HALF_TAKE_BACK) != 0, let w = unsafe e.writer else { return true }
        while unsafe e.tx.pointee.other_offset != e.tx.pointee.offset {
            let position = unsafe Int((e.tx.pointee.other_offset &- e.tx.pointee.base) & (w.bytes &- 1))
            let n = unsafe min(Int(e.tx.pointee.offset &- e.tx.pointee.other_offset), Int(w.bytes) &- position)
            let r = unsafe slc_sendto(fd, w.memory + position, n, Int32(MSG_DONTWAIT_FLAG | MSG_NOSIGNAL_FLAG))
            if r == -Int(EAGAIN) { return false }
            if r <= 0 {
                // The program's own call shall see it.
                if r < 0 && r != -Int(EPIPE) { unsafe slc_set_u32(&e.pointee.error, UInt32(truncatingIfNeeded: -r)) }
                break
            }
            unsafe e.tx.pointee.other_offset = unsafe e.tx.pointee.other_offset &+ UInt64(r)
            unsafe e.tx.pointee.kernel_bytes = unsafe e.tx.pointee.kernel_bytes &+ UInt64(r)
            unsafe e.pointee.counters.tx_kernel_bytes &+= UInt64(r)
        }
        unsafe e.tx.pointee.other_offset = unsafe e.tx.pointee.offset
        unsafe e.tx.pointee.flags &= ~UInt32(SL_HALF_TAKE_BACK)
        return true
    }

    /// Handed back for good in this direction: the kernel's own call serves it.
    @inline(__always) static func receivesByKernel(_ e: Endpoint) -> Bool {
        guard unsafe e.pointee.flags & UInt32(SL_EP_GIVEN_UP) != 0, unsafe e.rx.pointee.phase & 1 == 0,
            let d = unsafe e.rxDirection
        else {
            return false
        }
        let control = unsafe slc_relaxed_u32(&d.pointee.rx_control)
        return unsafe e.pointee.error == 0 && e.pointee.flags & UInt32(SL_EP_RESET) == 0 && control != UInt32(SL_RX_OPEN)
            && (slc_acquire_u32(&d.pointee.phase) == e.rx.pointee.phase || e.rx.pointee.flags & UInt32(SL_HALF_GONE) != 0)
    }

    @inline(__always) static func sendsByKernel(_ e: Endpoint) -> Bool {
        unsafe e.pointee.flags & UInt32(SL_EP_GIVEN_UP) != 0 && e.tx.pointee.phase & 1 == 0
            && e.tx.pointee.flags & UInt32(SL_HALF_TAKE_BACK) == 0 && e.pointee.error == 0
            && e.pointee.flags & UInt32(SL_EP_RESET) == 0
    }

    // MARK: telling the peer

    /// Wakes the peer's waiters in `mask`. Under the lock of the half that changed, so that the lane cannot go meanwhile.
    @inline(never) static func notify(_ e: Endpoint, _ mask: UInt64, _ direction: Direction?) {
        guard let region = unsafe e.region, let pair = unsafe e.local.pointee.pair else { return }
        let bit: UInt64 = unsafe 1 << UInt64(e.pointee.slot & 63)
        var rest = mask
        while rest != 0 {
            let i = rest.trailingZeroBitCount
            rest &= rest &- 1
            let w = unsafe sl_region_waiter(region, 1 - Int(e.pointee.side), i)!
            if unsafe slc_relaxed_u64(&w.pointee.ready) & bit == 0 {
                _ = unsafe slc_or_u64(&w.pointee.ready, bit)
            } else {
                slc_fence()
            }
            if let word = unsafe Sleeper.asleep(w) {
                if let d = unsafe direction { unsafe slc_set_u64(&d.pointee.rung_at, slc_tsc()) }
                unsafe pair.ring(i)
                unsafe Sleeper.markRung(w, word)
                unsafe e.pointee.counters.wakes_sent &+= 1
            }
        }
    }

    /// Everyone of the peer who waits on this slot for anything.
    static func notifyAll(_ e: Endpoint) {
        guard let tx = unsafe e.txDirection, let rx = unsafe e.rxDirection else { return }
        slc_fence()
        let mask = unsafe slc_relaxed_u64(&tx.pointee.data_waiters) | slc_relaxed_u64(&rx.pointee.space_waiters)
        if mask != 0 { unsafe notify(e, mask, nil) }
    }

    // MARK: leaving for good

    /// Gives both directions back to the kernel, for `reason`, at once: what the peer has not read yet is
    /// taken back; what we have not read is taken back by the peer, at its next call. With `foreign` a program that is not ours
    /// will read on: the ring is left at once, and the call waits a bounded time for the peer.
    static func handBack(_ e: Endpoint, _ fd: Int32, _ reason: Reason, foreign: Bool) {
        if unsafe beginHandBack(e, fd, reason, foreign: foreign) { unsafe TakeBack.await(e, until: TakeBack.patience()) }
    }

    /// All but the wait. True when the peer has bytes to take back.
    static func beginHandBack(_ e: Endpoint, _ fd: Int32, _ reason: Reason, foreign: Bool) -> Bool {
        let isNew = unsafe e.pointee.flags & UInt32(SL_EP_GIVEN_UP) == 0
        unsafe e.pointee.flags |= UInt32(foreign ? SL_EP_FOREIGN | SL_EP_GIVEN_UP : SL_EP_GIVEN_UP)
        // That of an option stays: what is accepted from a listener has the option, too.
        if unsafe e.pointee.reason != Reason.option.number { unsafe e.pointee.reason = reason.number }
        if unsafe e.isDatagram { unsafe Flows.handBack(e, reason, foreign: foreign) }
        guard unsafe slc_acquire_u32(&e.pointee.lane) == UInt32(SL_LANE_LOOPBACK) else { return false }
        let txLock = unsafe RobustLock(&e.tx.pointee.lock)
        if txLock.acquire() { unsafe mendSend(e, fd) }
        unsafe leaveRing(e, fd)
        // Another thread may have entered the ring meanwhile.
        if unsafe e.pointee.reason == Reason.none.number { unsafe e.pointee.reason = reason.number }
        unsafe notifyAll(e)
        txLock.release()
        let rxLock = unsafe RobustLock(&e.rx.pointee.lock)
        if rxLock.acquire() { unsafe mendReceive(e, fd) }
        var mustWait = false
        if let d = unsafe e.rxDirection, unsafe e.rx.pointee.flags & UInt32(SL_HALF_GONE) == 0 {
            if foreign {
                mustWait = unsafe leaveReceive(e, d)
            } else {
                _ = unsafe slc_cas_u32(&d.pointee.rx_control, UInt32(SL_RX_OPEN), UInt32(SL_RX_WANT))
            }
            unsafe notifyAll(e)
        }
        rxLock.release()
        unsafe setKernelLowWater(fd, Int32(bitPattern: e.pointee.rx_lowat), e)
        if isNew { count(StackCounter.lanesHandedBack) }
        if isNew, let text = reason.text {
            Log.write(.usageWarnings, "descriptor %d goes back to the kernel: %s", fd, word: text.name)
        }
        return mustWait
    }

    /// Under the rx lock. True when the peer has bytes to take back.
    private static func leaveReceive(_ e: Endpoint, _ d: Direction) -> Bool {
        _ = unsafe slc_exchange_u32(&d.pointee.rx_control, UInt32(SL_RX_GONE))
        unsafe e.rx.pointee.flags |= UInt32(SL_HALF_GONE)
        return unsafe slc_acquire_u32(&d.pointee.phase) & 1 == 1 && slc_acquire_u64(&d.pointee.producer) != e.rx.pointee.offset
    }

    /// What a waker or the peer's state may ask of this end besides bytes. Cheap when there is nothing.
    static func service(_ e: Endpoint, _ fd: Int32) {
        guard let d = unsafe e.txDirection else { return }
        let control = unsafe slc_relaxed_u32(&d.pointee.rx_control)
        let asked = unsafe e.tx.pointee.phase & 1 == 1 && control != UInt32(SL_RX_OPEN)
        let isFull = unsafe Patience.isTried(e)
        guard unsafe asked || isFull || e.tx.pointee.flags & UInt32(SL_HALF_TAKE_BACK) != 0 else { return }
        let lock = unsafe RobustLock(&e.tx.pointee.lock)
        if lock.acquire() { unsafe mendSend(e, fd) }
        if unsafe e.txDirection != nil {
            if unsafe asked || e.tx.pointee.flags & UInt32(SL_HALF_TAKE_BACK) != 0 {
                unsafe settle(e, fd)
                _ = unsafe flush(e, fd)
                unsafe notifyAll(e)
            }
            if unsafe isFull && e.tx.pointee.phase & 1 == 1 { _ = unsafe Patience.noteFull(e, fd, d, wants: false) }
        }
        lock.release()
    }

    static var MSG_DONTWAIT_FLAG: UInt32 { 0x40 }
    static var MSG_NOSIGNAL_FLAG: UInt32 { 0x4000 }
}
