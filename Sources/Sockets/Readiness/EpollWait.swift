import CLinux
import CStackLayout
import Counters
import Settings
import SharedMemory
import Stacks

/// One epoll_wait on a set with members on lanes.
@safe struct EpollCall {
    let set: Set
    let fd: Int32
    let events: UnsafeMutablePointer<epoll_event>
    let max: Int
    let deadline: UInt64
    let timeoutNs: Int64
    let mask: UnsafePointer<sigset_t>?
    let interrupts = Interrupts()

    init(
        _ set: Set, _ fd: Int32, _ events: UnsafeMutablePointer<epoll_event>, _ max: Int, _ timeoutNs: Int64,
        _ mask: UnsafePointer<sigset_t>?
    ) {
        unsafe self.set = unsafe set
        self.fd = fd
        unsafe self.events = unsafe events
        self.max = max
        self.timeoutNs = timeoutNs
        unsafe self.mask = unsafe mask
        deadline = timeoutNs <= 0 ? 0 : slc_now_ns() &+ UInt64(timeoutNs)
    }

    func run() -> Int {
        var n = unsafe collect(askKernel: mask != nil)
        if n != 0 || timeoutNs == 0 { return n != 0 ? n : collect(askKernel: true) }
        n = spin()
        if n != 0 { return n }
        while true {
            n = sleep()
            if n != 0 { return n }
            if interrupts.any() { return -Int(EINTR) }
            if deadline != 0 && slc_now_ns() >= deadline { return 0 }
        }
    }

    /// Rings first, then the kernel's set, at most every 20 us while rings have news; at every other such look the kernel's
    /// come first, so that neither starves the other. Number of events, or -errno.
    private func collect(askKernel: Bool) -> Int {
        let now = slc_tsc()
        let due = unsafe askKernel || set.pointee.fullLooks >= 8 || now &- set.pointee.kernelLook > 20 &* process.tickRate
        var n = 0
        if unsafe due && set.pointee.kernelFirst {
            unsafe set.pointee.kernelFirst = false
            n = kernelNow(0)
            if n < 0 { return n }
        }
        unsafe set.pointee.lock.acquire()
        unsafe set.takeBits()
        n = unsafe n &+ set.report(events + n, max &- n)
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
        return unsafe n &+ set.sortOut(events, n, k)
    }

    private var number: Int32 { unsafe self.set.pointee.kept >= 0 ? self.set.pointee.kept : fd }

    /// News that the kernel's events brought, where no member has been reported yet.
    private func again(_ n: Int) -> Int {
        guard unsafe set.pointee.firstReady != nil else { return n }
        unsafe set.pointee.lock.acquire()
        defer { unsafe set.pointee.lock.release() }
        return unsafe n + set.report(events + n, max - n)
    }

    /// An outer set sees us by our bell: it stays rung as long as something is ready.
    private func leaveBell() {
        guard unsafe set.pointee.isWatched else { return }
        unsafe set.pointee.lock.acquire()
        unsafe set.tellTruth()
        unsafe set.pointee.lock.release()
    }

    private func spin() -> Int {
        unsafe set.beginLooking()
        defer { unsafe set.endLooking() }
        guard unsafe mask == nil, unsafe set.pointee.laned > 0, let first = unsafe set.pointee.watches else { return 0 }
        let budget = unsafe SpinPolicy.budget(.epoll, average: set.pointee.average, trial: &set.pointee.trial)
        guard budget != 0, unsafe !peerIsHere(first) else { return 0 }
        let began = slc_tsc()
        var looked = began
        while true {
            let now = slc_tsc()
            if unsafe set.hasBits() || set.pointee.firstReady != nil {
                let n = collect(askKernel: false)
                if n != 0 {
                    unsafe SpinPolicy.learn(&set.pointee.average, ticks: slc_tsc() &- began)
                    return n
                }
            } else if unsafe now &- looked > 20 &* process.tickRate {
                looked = now
                let n = collect(askKernel: true)
                if n != 0 {
                    unsafe SpinPolicy.learn(&set.pointee.average, ticks: slc_tsc() &- began)
                    return n
                }
                if deadline != 0 && slc_now_ns() >= deadline { return 0 }
            }
            if now &- began > budget || interrupts.any() { return 0 }
            slc_pause()
        }
    }

    /// Does a peer of the set's newest region wait on this CPU?
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
    private func sleep() -> Int {
        let began = slc_tsc()
        unsafe set.pointee.lock.acquire()
        unsafe set.fallAsleep()
        unsafe set.announce()
        unsafe set.takeBits()
        var n = unsafe set.report(events, max)
        unsafe set.pointee.lock.release()
        // A level-triggered member stays in the list: a second report would name it twice in one answer.
        let hasReported = n != 0
        if !hasReported { n = block() }
        unsafe set.pointee.lock.acquire()
        let others = unsafe set.wakeUp()
        if unsafe others == 0 && !set.pointee.isWatched { unsafe set.sayAwake() }
        unsafe set.takeBits()
        if !hasReported && n >= 0 && n < max { n = unsafe n &+ set.report(events + n, max &- n) }
        unsafe set.beginLooking()
        defer { unsafe set.endLooking() }
        let first = unsafe set.pointee.watches
        let isLast = unsafe set.pointee.kept >= 0 && others == 0
        unsafe set.pointee.lock.release()
        leaveBell()
        if isLast { unsafe EpollSet.endKept(set) }
        unsafe SpinPolicy.learn(&set.pointee.average, ticks: lastRing(first, began) &- began)
        return n
    }

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
        var slice: Int64 = unsafe set.pointee.isInherited ? 5_000_000 : set.pointee.isShared ? 20_000_000 : -1
        // Without a bell.
        if unsafe process.isCrowded && set.pointee.laned > 0 { slice = 5_000_000 }
        if slice > 0 && (left < 0 || left > slice) { left = slice }
        if unsafe set.pointee.hasInner { EpollSet.refreshWatched() }
        let r = unsafe sluice_real_epoll_pwait(number, events, Int32(max), left, mask)
        if unsafe r > 0 && set.pointee.hasInner {
            // An inner set's bell may be older than what the program has read since.
            EpollSet.refreshWatched()
            let again = unsafe sluice_real_epoll_pwait(number, events, Int32(max), 0, nil)
            return unsafe again > 0 ? set.sortOut(events, 0, again) : 0
        }
        if r > 0 { return unsafe set.sortOut(events, 0, r) }
        return r == -Int(EINTR) && !interrupts.any() ? 0 : r
    }
}

extension EpollSet {
    /// The set was closed while calls slept in it, and the last of them is over.
    static func endKept(_ set: Set) {
        unsafe process.lock.acquire()
        let kept = unsafe set.pointee.kept
        unsafe set.pointee.kept = -1
        OwnDescriptor.close(kept)
        unsafe process.lock.release()
        unsafe cleanUp(set)
    }

    /// A call that slept in the set will never wake up.
    static func sleeperIsGone(_ set: Set) {
        unsafe set.pointee.lock.acquire()
        let others = unsafe set.oneFewerSleeps()
        if unsafe others == 0 && !set.pointee.isWatched { unsafe set.sayAwake() }
        let isLast = unsafe set.pointee.kept >= 0 && others == 0
        unsafe set.pointee.lock.release()
        if isLast { unsafe endKept(set) }
    }
}
