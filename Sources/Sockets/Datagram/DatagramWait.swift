import CLinux
import CStackLayout
import Counters
import SharedMemory
import Stacks

/// A wait for datagrams on a UDP socket with lanes: all rings, the kernel's queue, one bell.
@safe struct DatagramWait {
    let e: Endpoint
    let flows: UnsafeMutablePointer<Flows>
    let interrupts: Interrupts
    /// CLOCK_MONOTONIC in ns, 0: none.
    let deadline: UInt64

    init(_ e: Endpoint, _ flows: UnsafeMutablePointer<Flows>, timeoutNs: UInt64, _ interrupts: Interrupts) {
        unsafe self.e = unsafe e
        unsafe self.flows = unsafe flows
        self.interrupts = interrupts
        deadline = timeoutNs == 0 ? 0 : slc_now_ns() &+ timeoutNs
    }

    /// Does a ring have datagrams?
    @inline(__always) func hasNews() -> Bool {
        var news = false
        unsafe flows.eachOpen { f, _ in
            if let rx = unsafe f.rxDirection, unsafe f.rx.pointee.flags & UInt32(SL_HALF_GONE) == 0,
                unsafe slc_acquire_u64(&rx.pointee.producer) != slc_relaxed_u64(&f.rx.pointee.offset)
            {
                news = true
            }
            return !news
        }
        return news
    }

    /// Returns when it is worth to look again.
    func callAsFunction(_ fd: Int32) -> WaitOutcome {
        let began = slc_tsc()
        var trial = unsafe e.pointee.spin_trial
        let budget = unsafe SpinPolicy.budget(.receive, average: e.pointee.sleep_average_ns, trial: &trial)
        unsafe e.pointee.spin_trial = trial
        if budget != 0 && !peerIsHere() {
            count(StackCounter.spins)
            var turns: UInt32 = 0
            while slc_tsc() &- began < budget {
                if hasNews() {
                    count(StackCounter.spinsPaid)
                    unsafe SpinPolicy.learn(&e.pointee.sleep_average_ns, ticks: slc_tsc() &- began)
                    return .ready
                }
                turns = turns &+ 1
                if interrupts.happened(hasTimeout: deadline != 0) { return .interrupted }
                // The kernel's queue is looked at by the call itself.
                if turns & 255 == 0, unsafe slc_tsc() &- flows.pointee.kernelLook > 20 &* process.tickRate { return .ready }
                slc_pause()
            }
        }
        let outcome = sleep(fd)
        unsafe SpinPolicy.learn(&e.pointee.sleep_average_ns, ticks: slc_tsc() &- began)
        return outcome
    }

    private func peerIsHere() -> Bool {
        var isHere = false
        unsafe flows.eachOpen { f, _ in
            if let rx = unsafe f.rxDirection, let tx = unsafe f.txDirection {
                unsafe slc_set_u32(&rx.pointee.receiver_cpu, slc_cpu() &+ 1)
                isHere = unsafe SpinPolicy.peerIsHere(rx, tx)
            }
            return !isHere
        }
        return isHere
    }

    private func sleep(_ fd: Int32) -> WaitOutcome {
        if interrupts.happened(hasTimeout: deadline != 0) { return .interrupted }
        let waiter = unsafe Waiter.ofThread()
        unsafe waiter?.pointee.number &+= 1
        var held: UInt64 = 0
        // Where somebody cannot ring us we look by ourselves.
        var slice: UInt64 = unsafe waiter == nil ? 1_000_000 : 0
        unsafe flows.eachOpen { f, i in
            if unsafe Lane.hold(f) {
                held |= 1 << UInt64(i)
                if unsafe !arm(f, waiter) { slice = 1_000_000 }
            }
            return true
        }
        slc_fence()
        count(StackCounter.sleeps)
        var outcome = WaitOutcome.ready
        if !hasNews() { outcome = unsafe block(fd, waiter, slice) }
        var rung = false
        while held != 0 {
            let i = held.trailingZeroBitCount
            held &= held &- 1
            guard let f = unsafe flows.pointee.entries[i].endpoint else { continue }
            if let w = unsafe waiter, unsafe Waiter.silence(w, on: f) { rung = true }
            unsafe Lane.letGo(f)
        }
        if let w = unsafe waiter, rung { unsafe Waiter.silence(w) }
        return outcome
    }

    private func arm(_ f: Endpoint, _ waiter: UnsafeMutablePointer<Waiter>?) -> Bool {
        guard let w = unsafe waiter, unsafe w.pointee.bell >= 0, let pair = unsafe f.local.pointee.pair,
            let region = unsafe f.region,
            let rx = unsafe f.rxDirection, let index = unsafe pair.number(of: UInt(bitPattern: w), bell: &w.pointee.bell)
        else { return false }
        unsafe Sleeper.announce(sl_region_waiter(region, Int(f.pointee.side), index), number: w.pointee.number)
        _ = unsafe slc_or_u64(sl_data_waiters(rx), 1 << UInt64(index))
        return true
    }

    private func block(_ fd: Int32, _ w: UnsafeMutablePointer<Waiter>?, _ slice: UInt64) -> WaitOutcome {
        unsafe Waiter.beginPoll(w)
        var fds = unsafe (
            pollfd(fd: fd, events: Int16(POLLIN), revents: 0),
            pollfd(fd: w?.pointee.bell ?? -1, events: Int16(POLLIN), revents: 0)
        )
        // A ring by the channel, where the bell could not be told, is missed: hence a slice in any case.
        var left = slice != 0 ? slice : 50_000_000
        var isWhole = false
        if deadline != 0 {
            let now = slc_now_ns()
            let rest = deadline > now ? deadline &- now : 0
            isWhole = rest <= left
            left = min(left, rest)
        }
        var t = timespec(tv_sec: Int(left / 1_000_000_000), tv_nsec: Int(left % 1_000_000_000))
        let r = unsafe withUnsafeMutablePointer(to: &fds) {
            unsafe sluice_real_ppoll(UnsafeMutableRawPointer($0).assumingMemoryBound(to: pollfd.self), 2, &t, nil)
        }
        unsafe Waiter.endPoll(w)
        if r == 0 { return isWhole ? .timedOut : .ready }
        if fds.1.revents != 0, let w = unsafe w { unsafe Waiter.silence(w) }
        if fds.0.revents != 0 { unsafe flows.pointee.kernelLook = 0 }
        if r < 0 && interrupts.happened(hasTimeout: deadline != 0) { return .interrupted }
        return r < 0 && interrupts.any() ? .restarted : .ready
    }
}
