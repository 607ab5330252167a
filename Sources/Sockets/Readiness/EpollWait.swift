import CLinux
import CStackLayout
import Counters
import Settings
import SharedMemory
import Stacks

/// One epoll_wait on a set with members on lanes.
@safe struct EpollCall {
    let set: Set
    /// What the descriptor table said of it.
    let entry: UInt64
    let fd: Int32
    let events: UnsafeMutablePointer<epoll_event>
    let max: Int
    let deadline: UInt64
    let timeoutNs: Int64
    let mask: UnsafePointer<sigset_t>?
    let interrupts = Interrupts()

    init(
        _ set: Set, _ entry: UInt64, _ fd: Int32, _ events: UnsafeMutablePointer<epoll_event>, _ max: Int, _ timeoutNs: Int64,
        _ mask: UnsafePointer<sigset_t>?
    ) {
        unsafe self.set = unsafe set
        self.entry = entry
        self.fd = fd
        unsafe self.events = unsafe events
        self.max = max
        self.timeoutNs = timeoutNs
        unsafe self.mask = unsafe mask
        deadline = timeoutNs <= 0 ? 0 : slc_now_ns() &+ UInt64(timeoutNs)
    }

    func run() -> Int {
        let due = unsafe mask != nil || isDue
        // The busy way: what rings have, and nothing that needs more than the lock.
        if !due {
            let n = ofRings()
            if n != 0 { return n }
        }
        let r = unsafe Visit.to(set, entry, asleep: false) { visit in unsafe stay(visit, hasLooked: !due) }
        return r ?? closed()
    }

    /// The set is closed: the kernel says what the number is now.
    @inline(never) private func closed() -> Int {
        unsafe sluice_real_epoll_pwait(fd, events, Int32(truncatingIfNeeded: max), timeoutNs, mask)
    }

    private func stay(_ visit: UnsafeMutablePointer<Visit>, hasLooked: Bool) -> Int {
        var n = 0
        if !hasLooked {
            n = unsafe collect(askKernel: mask != nil || timeoutNs == 0)
        } else if timeoutNs == 0 {
            n = kernelNow(0)
            if n >= 0 && n < max { n = again(n) }
            leaveBell()
        }
        if n != 0 || timeoutNs == 0 { return n }
        let timed = TimedWait()
        defer { timed.end(.epoll) }
        n = spin()
        if n != 0 { return n }
        while true {
            n = unsafe sleep(visit)
            if n != 0 { return n }
            if interrupts.any() { return -Int(EINTR) }
            if deadline != 0 && slc_now_ns() >= deadline { return 0 }
        }
    }

    /// The kernel's set is asked at most every 20 us while rings have news.
    @inline(__always) private var isDue: Bool {
        unsafe self.set.pointee.fullLooks >= 8 || slc_tsc() &- set.pointee.kernelLook > 20 &* process.tickRate
    }

    /// Number of events, 0 also when the set is closed.
    private func ofRings() -> Int {
        unsafe set.pointee.lock.acquire()
        guard unsafe set.isNamed(by: entry) else {
            unsafe set.pointee.lock.release()
            return 0
        }
        unsafe set.takeNews()
        let n = unsafe set.report(events, max)
        unsafe set.pointee.lock.release()
        if n == max { unsafe set.pointee.fullLooks &+= 1 }
        leaveBell()
        return n
    }

    /// Rings first, then the kernel's set if that is due; at every other such look the kernel's come first, so that neither
    /// starves the other. Number of events, or -errno.
    private func collect(askKernel: Bool) -> Int {
        let now = slc_tsc()
        let due = askKernel || isDue
        var n = 0
        if unsafe due && set.pointee.kernelFirst {
            unsafe set.pointee.kernelFirst = false
            n = kernelNow(0)
            if n < 0 { return n }
        }
        unsafe set.pointee.lock.acquire()
        unsafe set.takeNews()
        n = unsafe set.mergeEqual(events, from: n, n &+ set.report(events + n, max &- n))
        unsafe set.pointee.lock.release()
        if due {
            let ofRings = n
            if unsafe set.pointee.kernelLook < now && n < max {
                n = kernelNow(n)
                if ofRings == 0 && n >= 0 && n < max { n = again(n) }
            }
            unsafe set.pointee.kernelFirst = unsafe n == max && set.pointee.kernelLook < now
        } else if n == max {
            unsafe set.pointee.fullLooks &+= 1
        }
        leaveBell()
        return n
    }

    /// The kernel's events behind the first `n`; the number of all, or -errno when there are none.
    private func kernelNow(_ n: Int) -> Int {
        unsafe set.pointee.kernelLook = slc_tsc()
        unsafe set.pointee.fullLooks = 0
        if unsafe set.pointee.hasInner { EpollSet.refreshWatched() }
        let k = unsafe sluice_real_epoll_pwait(number, events + n, Int32(truncatingIfNeeded: max &- n), 0, mask)
        if k < 0 { return n > 0 ? n : k }
        guard k > 0 else { return n }
        return unsafe set.mergeEqual(events, from: n, n &+ set.sortOut(events, n, k))
    }

    private var number: Int32 { unsafe self.set.pointee.kept >= 0 ? self.set.pointee.kept : fd }

    /// News that the kernel's events brought, where no member has been reported yet.
    private func again(_ n: Int) -> Int {
        guard unsafe set.pointee.firstReady != nil else { return n }
        unsafe set.pointee.lock.acquire()
        defer { unsafe set.pointee.lock.release() }
        return unsafe set.mergeEqual(events, from: n, n + set.report(events + n, max - n))
    }

    /// An outer set sees us by our bell: it stays rung as long as something is ready.
    private func leaveBell() {
        guard unsafe set.pointee.isWatched, unsafe EpollSet.locked(entry) != nil else { return }
        unsafe set.tellTruth()
        unsafe set.pointee.lock.release()
    }

    private func spin() -> Int {
        guard unsafe mask == nil, unsafe !set.pointee.isGuest, unsafe set.pointee.laned > 0 || set.pointee.firstRings != nil
        else { return 0 }
        let budget = unsafe SpinPolicy.budget(.epoll, average: set.pointee.average, trial: &set.pointee.trial)
        guard budget != 0 else { return 0 }
        unsafe set.pointee.lock.acquire()
        var isHere = unsafe set.pointee.laned > 0 ? set.pointee.watches.map { w in unsafe peerIsHere(w) } ?? false : false
        if let m = unsafe set.pointee.firstRings, unsafe Flows.waitsHere(m.pointee.endpoint) { isHere = true }
        unsafe set.pointee.lock.release()
        if isHere { return 0 }
        count(StackCounter.spins)
        let began = slc_tsc()
        var looked = began
        while true {
            let now = slc_tsc()
            if unsafe set.hasBits() || set.pointee.firstReady != nil || hasRings() {
                let n = collect(askKernel: false)
                if n != 0 {
                    count(StackCounter.spinsPaid)
                    unsafe SpinPolicy.learn(&set.pointee.average, ticks: slc_tsc() &- began)
                    return n
                }
            } else if unsafe now &- looked > 20 &* process.tickRate {
                looked = now
                let n = collect(askKernel: true)
                if n != 0 {
                    count(StackCounter.spinsPaid)
                    unsafe SpinPolicy.learn(&set.pointee.average, ticks: slc_tsc() &- began)
                    return n
                }
                if deadline != 0 && slc_now_ns() >= deadline { return 0 }
            }
            if now &- began > budget || interrupts.any() { return 0 }
            slc_pause()
        }
    }

    private func hasRings() -> Bool {
        guard unsafe set.pointee.firstRings != nil else { return false }
        unsafe set.pointee.lock.acquire()
        defer { unsafe set.pointee.lock.release() }
        unsafe set.takeRings()
        return unsafe set.pointee.firstReady != nil
    }

    /// Does a peer of the set's newest region wait on this CPU? Under the set's lock.
    private func peerIsHere(_ w: UnsafeMutablePointer<Watch>) -> Bool {
        let here = slc_cpu() &+ 1
        var slot = 0
        while slot < 64 {
            if let m = unsafe w.pointee.members[slot], let tx = unsafe m.pointee.endpoint.txDirection,
                let rx = unsafe m.pointee.endpoint.rxDirection
            {
                unsafe slc_set_u32(&rx.pointee.receiver_cpu, here)
                if unsafe slc_relaxed_u32(&tx.pointee.receiver_cpu) == here { return true }
                return false
            }
            slot += 1
        }
        return false
    }

    /// Tells all peers, looks again, sleeps in the kernel's set. Number of events, 0: look on, or -errno.
    private func sleep(_ visit: UnsafeMutablePointer<Visit>) -> Int {
        let began = slc_tsc()
        unsafe set.pointee.lock.acquire()
        unsafe visit.pointee.fallAsleep()
        unsafe set.announce()
        unsafe set.closeRings()
        unsafe set.takeNews()
        var n = unsafe set.report(events, max)
        unsafe set.pointee.lock.release()
        // A level-triggered member stays in the list: a second report would name it twice in one answer.
        let hasReported = n != 0
        if !hasReported { n = block() }
        if unsafe set.pointee.share != nil { unsafe set.meetSharers(entry) }
        unsafe set.pointee.lock.acquire()
        let isLast = unsafe visit.pointee.wakeUp()
        if unsafe isLast && !set.pointee.isWatched { unsafe set.sayAwake() }
        unsafe set.takeNews()
        if !hasReported && n >= 0 && n < max {
            n = unsafe set.mergeEqual(events, from: n, n &+ set.report(events + n, max &- n))
        }
        var rung = unsafe lastRing(set.pointee.watches, began)
        if unsafe set.pointee.firstRings != nil { rung = unsafe min(rung, set.lastRingOfRings(began)) }
        unsafe set.pointee.lock.release()
        leaveBell()
        unsafe SpinPolicy.learn(&set.pointee.average, ticks: rung &- began)
        return n
    }

    /// Under the set's lock, as members come and go.
    private func lastRing(_ w: UnsafeMutablePointer<Watch>?, _ began: UInt64) -> UInt64 {
        let now = slc_tsc()
        guard let w = unsafe w else { return now }
        var best = now
        var slot = 0
        while slot < 64 {
            if let m = unsafe w.pointee.members[slot], let rx = unsafe m.pointee.endpoint.rxDirection {
                let rung = unsafe slc_relaxed_u64(&rx.pointee.rung_at)
                if rung &- began < best &- began { best = rung }
            }
            slot += 1
        }
        return best
    }

    private func block() -> Int {
        unsafe set.pointee.kernelLook = slc_tsc()
        var left = timeoutNs
        if deadline != 0 {
            let now = slc_now_ns()
            left = now >= deadline ? 0 : Int64(deadline &- now)
        }
        // Of a set that another process has too, each may take what the other was rung for.
        var slice: Int64 = unsafe set.pointee.isInherited ? 5_000_000 : set.isShared ? 20_000_000 : -1
        // Without a bell.
        if unsafe process.isCrowded && set.pointee.laned > 0 { slice = 5_000_000 }
        if unsafe set.pointee.hasNumberless && hasUnheard() || set.pointee.hasWriter { slice = 1_000_000 }
        if slice > 0 && (left < 0 || left > slice) { left = slice }
        var awaitsSpace = unsafe slc_relaxed_u32(&set.pointee.awaitsSpace) != 0
        if unsafe set.pointee.hasInner && EpollSet.refreshWatched() { awaitsSpace = true }
        if awaitsSpace && (left < 0 || left > Patience.slice) { left = Int64(Patience.slice) }
        TimedWait.sleeps()
        let r = unsafe sluice_real_epoll_pwait(number, events, Int32(max), left, mask)
        if r > 0 {
            let n = unsafe set.sortOut(events, 0, r)
            if unsafe n == 0 && set.pointee.isGuest { rest() }
            return n
        }
        return r == -Int(EINTR) && !interrupts.any() ? 0 : r
    }

    private func hasUnheard() -> Bool {
        unsafe set.pointee.lock.acquire()
        defer { unsafe set.pointee.lock.release() }
        return unsafe set.hasUnheard()
    }

    /// What woke us in the kernel's set is another process's, and stays there until that process takes it.
    private func rest() {
        var pause = timespec(tv_sec: 0, tv_nsec: 1_000_000)
        _ = unsafe slc_ppoll(nil, 0, &pause, nil)
    }
}
