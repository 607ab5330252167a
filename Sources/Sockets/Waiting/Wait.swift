import CLinux
import CStackLayout
import Counters
import SharedMemory
import Stacks

/// `readyByKernel`: the kernel socket itself has news. `restarted`: a handler with SA_RESTART ran.
enum WaitOutcome { case ready, readyByKernel, timedOut, interrupted, restarted }

/// One blocking call's wait on one accelerated socket.
@safe struct Wait {
    enum Target { case data, space }
    let target: Target
    /// CLOCK_MONOTONIC in ns, 0: none.
    let deadline: UInt64
    let interrupts: Interrupts
    let timed = TimedWait()

    init(_ target: Target, timeoutNs: UInt64, interrupts: Interrupts) {
        self.target = target
        deadline = timeoutNs == 0 ? 0 : slc_now_ns() &+ timeoutNs
        self.interrupts = interrupts
    }

    /// Returns when it is worth to look again. Blocks; holds no lock; a cancellation point while it sleeps. The caller
    /// holds the lane (`Lane.hold`).
    func callAsFunction(_ e: Endpoint, _ fd: Int32) -> WaitOutcome { unsafe onLane(e, fd) }

    // MARK: on the lane

    private func onLane(_ e: Endpoint, _ fd: Int32) -> WaitOutcome {
        guard let rx = unsafe e.rxDirection, let tx = unsafe e.txDirection else { return .ready }
        let began = slc_tsc()
        let ring = unsafe target == .data ? rx : tx
        if target == .data {
            unsafe slc_set_u32(&rx.pointee.receiver_cpu, slc_cpu() &+ 1)
        } else {
            unsafe slc_set_u32(&tx.pointee.sender_cpu, slc_cpu() &+ 1)
        }
        var trial = unsafe e.pointee.spin_trial
        let budget = unsafe SpinPolicy.budget(
            target == .data ? .receive : .send, average: e.pointee.sleep_average_ns, trial: &trial)
        unsafe e.pointee.spin_trial = trial
        if unsafe budget != 0 && !SpinPolicy.peerIsHere(rx, tx) {
            count(StackCounter.spins)
            if unsafe spin(e, rx, tx, began, budget) {
                count(StackCounter.spinsPaid)
                let waited = slc_tsc() &- began
                unsafe SpinPolicy.learn(&e.pointee.sleep_average_ns, ticks: waited)
                if target == .data {
                    unsafe e.pointee.counters.rx_packets_spin &+= 1
                } else {
                    unsafe e.pointee.counters.tx_packets_spin &+= 1
                }
                return .ready
            }
            if interrupts.happened(hasTimeout: deadline != 0) { return .interrupted }
        }
        let outcome = unsafe sleep(e, fd, rx, tx)
        let rung = unsafe slc_relaxed_u64(&ring.pointee.rung_at)
        let end = rung &- began < 1 << 40 ? rung : slc_tsc()
        unsafe SpinPolicy.learn(&e.pointee.sleep_average_ns, ticks: end &- began)
        return outcome
    }

    /// Has something changed since the look that found nothing? Reads shared words only.
    @inline(__always) private func changed(_ e: Endpoint, _ rx: Direction, _ tx: Direction) -> Bool {
        if unsafe slc_relaxed_u32(&e.pointee.flags) & UInt32(SL_EP_RESET) != 0 { return true }
        if unsafe slc_relaxed_u32(&tx.pointee.rx_control) != UInt32(SL_RX_OPEN) && slc_relaxed_u32(&e.tx.pointee.phase) & 1 == 1 {
            return true
        }
        switch target {
        case .data:
            if unsafe e.rx.pointee.flags & UInt32(SL_HALF_GONE) != 0 { return false }
            let isInRing = unsafe slc_relaxed_u32(&e.rx.pointee.phase) & 1 == 1
            if unsafe slc_acquire_u32(&rx.pointee.phase) != slc_relaxed_u32(&e.rx.pointee.phase) {
                // Up to K the bytes come by the kernel, which tells.
                let left = unsafe slc_relaxed_u64(&rx.pointee.kernel_count) &- slc_relaxed_u64(&e.rx.pointee.kernel_bytes)
                return unsafe isInRing || left &- 1 >= 1 << 48 || e.rx.pointee.flags & UInt32(SL_HALF_COUNTED) == 0
            }
            // In the kernel phase the ring says nothing; what is claimed comes by the kernel, and a claim that lasts is no news.
            if !isInRing { return false }
            return unsafe slc_acquire_u64(&rx.pointee.producer) != slc_relaxed_u64(&e.rx.pointee.offset)
                && slc_relaxed_u64(&rx.pointee.consumer) & ringClaim == 0
        case .space:
            if unsafe slc_relaxed_u32(&e.tx.pointee.phase) & 1 == 0 { return false }
            let used = unsafe slc_relaxed_u64(&e.tx.pointee.offset) &- slc_acquire_u64(&tx.pointee.consumer)
            return unsafe used <= e.pointee.tx_limit &- e.pointee.tx_limit / 3
        }
    }

    @inline(__always)
    private func spin(_ e: Endpoint, _ rx: Direction, _ tx: Direction, _ began: UInt64, _ budget: UInt64) -> Bool {
        var turns: UInt32 = 0
        defer {
            if unsafe target == .space && turns > e.pointee.counters.send_spin_max {
                unsafe e.pointee.counters.send_spin_max = turns
            }
        }
        // In a kernel phase the news comes by the kernel: only the ring can be seen from here.
        if unsafe target == .data && e.rx.pointee.phase & 1 == 0 && slc_relaxed_u32(&rx.pointee.phase) == e.rx.pointee.phase {
            return false
        }
        if unsafe target == .space && e.tx.pointee.phase & 1 == 0 { return false }
        while true {
            if unsafe changed(e, rx, tx) { return true }
            slc_pause()
            turns = turns &+ 1
            if turns & 15 == 0 {
                let passed = slc_tsc() &- began
                if passed > budget { return false }
                // However long it is to spin: a ring that stays full is left.
                if target == .space && passed > Patience.ticks { return true }
                if interrupts.happened(hasTimeout: deadline != 0) { return false }
                if deadline != 0 && turns & 0xffff == 0 && slc_now_ns() > deadline { return false }
            }
        }
    }

    private func sleep(_ e: Endpoint, _ fd: Int32, _ rx: Direction, _ tx: Direction) -> WaitOutcome {
        guard let w = unsafe Waiter.ofThread(), unsafe w.pointee.bell >= 0, let pair = unsafe e.local.pointee.pair,
            let region = unsafe e.region,
            let index = unsafe pair.number(of: UInt(bitPattern: w), bell: &w.pointee.bell)
        else { return unsafe inKernel(e, fd, withBell: nil) }
        let word = unsafe sl_region_waiter(region, Int(e.pointee.side), index)!
        let bit: UInt64 = 1 &<< UInt64(truncatingIfNeeded: index)
        unsafe w.pointee.number &+= 1
        let number = unsafe w.pointee.number
        unsafe Sleeper.announce(word, number: number)
        let mask = unsafe target == .data ? sl_data_waiters(rx) : sl_space_waiters(tx)
        _ = unsafe slc_or_u64(mask, bit)
        var outcome = WaitOutcome.ready
        var rungBell = false
        if unsafe !changed(e, rx, tx) { outcome = unsafe inKernel(e, fd, withBell: w, rung: &rungBell) }
        _ = unsafe slc_and_u64(mask, ~bit)
        let rung = unsafe Sleeper.awake(word, number: number)
        if rung || rungBell { unsafe Waiter.silence(w) }
        return outcome
    }

    // MARK: in the kernel

    private func inKernel(_ e: Endpoint, _ fd: Int32, withBell w: UnsafeMutablePointer<Waiter>?) -> WaitOutcome {
        var rung = false
        return unsafe inKernel(e, fd, withBell: w, rung: &rung)
    }

    /// ppoll over the socket, the bell, and the peer's control channel (its end tells that the peer is gone). Without a
    /// bell a lane that exists is looked at every millisecond.
    private func inKernel(_ e: Endpoint, _ fd: Int32, withBell w: UnsafeMutablePointer<Waiter>?, rung: inout Bool) -> WaitOutcome
    {
        // A handler may have run since the call began, and not inside the poll.
        if interrupts.happened(hasTimeout: deadline != 0) { return .interrupted }
        let onLane = unsafe slc_acquire_u32(&e.pointee.lane) == UInt32(SL_LANE_LOOPBACK)
        var fds = (pollfd(), pollfd(), pollfd())
        let ringTarget = unsafe target == .space && e.tx.pointee.phase & 1 == 1
        let isEOF = unsafe e.rx.pointee.flags & UInt32(SL_HALF_EOF_SEEN) != 0
        unsafe Waiter.beginPoll(w)
        fds.0.fd = fd
        fds.0.events = target == .data ? Int16(POLLIN) : ringTarget ? (isEOF ? 0 : Int16(POLLRDHUP_FLAG)) : Int16(POLLOUT)
        fds.1.fd = unsafe w?.pointee.bell ?? -1
        fds.1.events = Int16(POLLIN)
        fds.2.fd = unsafe onLane ? (e.local.pointee.pair?.pointee.channel ?? -1) : -1
        // A sharer of the peer's end, since a fork, may not know our bell: it rings by the channel.
        fds.2.events = unsafe e.local.pointee.pair?.pointee.ownNonce ?? 0 == process.nonce ? Int16(POLLIN) : 0
        var slice: UInt64 = 0
        if unsafe onLane && w == nil { slice = 1_000_000 }
        if onLane, let d = unsafe e.rxDirection,
            unsafe slc_relaxed_u32(&d.pointee.sender_shared) != 0 || e.pointee.flags & UInt32(SL_EP_SHARED) != 0
        {
            slice = 20_000_000
        }
        if unsafe e.local.pointee.pair?.pointee.peerIsGone ?? false {
            fds.2.fd = -1
        }
        // The peer's end on this socket may have been seen before; and a ring that stays full is left (`Patience`).
        if ringTarget { slice = Patience.slice }
        // Its number was closed or replaced: a handler that ran just before the sleep must be seen.
        if unsafe e.local.pointee.kept >= 0 { slice = 5_000_000 }
        var r = 0
        if deadline == 0 && slice == 0 {
            unsafe countSleep(e)
            r = unsafe withUnsafeMutablePointer(to: &fds) {
                unsafe sluice_real_ppoll(UnsafeMutableRawPointer($0).assumingMemoryBound(to: pollfd.self), 3, nil, nil)
            }
        } else {
            let now = slc_now_ns()
            if deadline != 0 && now >= deadline {
                unsafe Waiter.endPoll(w)
                return .timedOut
            }
            var left = deadline == 0 ? slice : deadline &- now
            let whole = slice == 0 || left <= slice
            if !whole { left = slice }
            var t = timespec(tv_sec: Int(left / 1_000_000_000), tv_nsec: Int(left % 1_000_000_000))
            unsafe countSleep(e)
            r = unsafe withUnsafeMutablePointer(to: &fds) {
                unsafe sluice_real_ppoll(UnsafeMutableRawPointer($0).assumingMemoryBound(to: pollfd.self), 3, &t, nil)
            }
            if r == 0 {
                unsafe Waiter.endPoll(w)
                return deadline != 0 && whole && slice != left ? .timedOut : .ready
            }
        }
        unsafe Waiter.endPoll(w)
        // First what has come: with a handler's run behind it the call goes on for long, and would find it at each turn.
        if r > 0 {
            rung = fds.1.revents != 0
            if fds.2.revents != 0, let pair = unsafe e.local.pointee.pair {
                unsafe process.lock.acquire()
                if unsafe pair.pointee.ownNonce == process.nonce { unsafe pair.readChannel() }
                if fds.2.revents & Int16(POLLHUP) != 0 { unsafe pair.pointee.peerIsGone = true }
                unsafe process.lock.release()
            }
        }
        if interrupts.happened(hasTimeout: deadline != 0) { return .interrupted }
        if interrupts.any() { return .restarted }
        return fds.0.revents != 0 ? .readyByKernel : .ready
    }

    private var POLLRDHUP_FLAG: Int32 { 0x2000 }

    private func countSleep(_ e: Endpoint) {
        unsafe e.pointee.counters.sleeps &+= 1
        TimedWait.sleeps()
    }
}
