import CLinux
import CStackLayout
import SharedMemory
import Stacks

// UDP sockets with lanes in an epoll set. They stay members of the kernel's set under the program's own event and data, as a
// receiver that sleeps gets its datagrams by the kernel (Flows). What their rings have is looked at by the calls on the set.

extension EpollSet {
    /// A lane of a UDP socket has opened: the sets that it is in look at its rings from now on.
    static func ringsOpened(_ e: Endpoint) {
        unsafe eachLocked { set in unsafe set.watchRings(of: e) }
    }

    /// How many calls sleep in the sets that the socket is in; nil: one of these sets does not look at rings.
    static func sleepers(over e: Endpoint) -> Int? {
        unsafe process.lock.acquire()
        defer { unsafe process.lock.release() }
        var n = 0
        var next = unsafe e.local.pointee.memberships?.assumingMemoryBound(to: Member.self)
        while let m = unsafe next {
            let set = unsafe m.pointee.set
            // What disarms itself does so in the kernel; an outer set, or another process, would not look.
            guard unsafe m.pointee.watchesRings && !m.pointee.isOneShot && !m.pointee.isExclusive,
                unsafe !set.pointee.isWatched && !set.isShared && !set.pointee.isInherited
            else { return nil }
            n += unsafe set.sleeping
            unsafe next = unsafe m.pointee.nextOfEndpoint
        }
        return n
    }
}

// All under the set's lock.
extension UnsafeMutablePointer where Pointee == EpollSet {
    func watchRings(of e: Endpoint) {
        while let m = unsafe unwatched(e) {
            guard unsafe ensureWaiter() else { return }
            unsafe m.pointee.watchesRings = true
            unsafe m.pointee.nextOfSlot = unsafe pointee.firstRings
            unsafe pointee.firstRings = unsafe m
        }
    }

    private func unwatched(_ e: Endpoint) -> UnsafeMutablePointer<Member>? {
        unsafe process.lock.acquire()
        defer { unsafe process.lock.release() }
        var next = unsafe e.local.pointee.memberships?.assumingMemoryBound(to: Member.self)
        while let m = unsafe next {
            if unsafe m.pointee.set == self && !m.pointee.watchesRings { return unsafe m }
            unsafe next = unsafe m.pointee.nextOfEndpoint
        }
        return nil
    }

    func cutFromRings(_ m: UnsafeMutablePointer<Member>) {
        unsafe m.pointee.watchesRings = false
        if unsafe pointee.firstRings == m {
            unsafe pointee.firstRings = unsafe m.pointee.nextOfSlot
            return
        }
        unsafe eachRings { other in
            if unsafe other.pointee.nextOfSlot == m { unsafe other.pointee.nextOfSlot = unsafe m.pointee.nextOfSlot }
        }
    }

    private func eachRings(_ body: (UnsafeMutablePointer<Member>) -> Void) {
        var next = unsafe pointee.firstRings
        while let m = unsafe next {
            unsafe body(m)
            unsafe next = unsafe m.pointee.nextOfSlot
        }
    }

    /// A member was added, or wants other events: who sleeps in the set looks at its rings.
    func ringsChanged(_ m: UnsafeMutablePointer<Member>) {
        unsafe m.pointee.isDisarmed = false
        unsafe closeRings(of: m)
        unsafe enqueue(m, isNew: true)
        unsafe wakeOwn()
    }

    private func closeRings(of m: UnsafeMutablePointer<Member>) {
        let e = unsafe m.pointee.endpoint
        unsafe e.local.pointee.flowsRx.acquire()
        if unsafe m.isAtItsNumber { unsafe Flows.countBeforeSleep(e, m.pointee.fd) }
        if unsafe !Flows.fallAsleep(e) { unsafe pointee.hasWriter = true }
        unsafe e.local.pointee.flowsRx.release()
        unsafe FlowLane.askPeers(e)
    }

    /// Behind `fallAsleep`: from here on the kernel's set tells of all that comes.
    func closeRings() {
        unsafe pointee.hasWriter = false
        unsafe eachRings { m in unsafe closeRings(of: m) }
    }

    /// Members whose rings have datagrams are to be reported.
    func takeRings() {
        unsafe eachRings { m in
            if unsafe !m.pointee.isQueued && Readiness.datagrams(m.pointee.endpoint) != 0 { unsafe enqueue(m, isNew: false) }
        }
    }

    /// When a sender found a member asleep last.
    func lastRingOfRings(_ began: UInt64) -> UInt64 {
        var best = slc_tsc()
        unsafe eachRings { m in
            let e = unsafe m.pointee.endpoint
            unsafe e.local.pointee.flowsRx.acquire()
            let rung = unsafe Flows.lastRing(e, began)
            unsafe e.local.pointee.flowsRx.release()
            if rung &- began < best &- began { best = rung }
        }
        return best
    }

    /// A member may stand among the kernel's events and among those of rings: `[from, n)` goes into what stands before it, where
    /// the data are the same. The number that is left. Programs that give two members the same data do not tell them apart.
    func mergeEqual(_ events: UnsafeMutablePointer<epoll_event>, from: Int, _ n: Int) -> Int {
        guard unsafe pointee.firstRings != nil, from > 0 else { return n }
        var kept = from
        var i = from
        while i < n {
            var k = 0
            while unsafe k < from && events[k].data.u64 != events[i].data.u64 { k &+= 1 }
            if k < from {
                unsafe events[k].events |= events[i].events
            } else {
                if kept != i { unsafe events[kept] = unsafe events[i] }
                kept &+= 1
            }
            i &+= 1
        }
        return kept
    }
}

extension UnsafeMutablePointer where Pointee == Member {
    /// What the rings of a UDP socket have for the program; nil: nothing new.
    func lookAtRings() -> UInt32? {
        let e = unsafe pointee.endpoint
        guard unsafe !pointee.isDisarmed else { return nil }
        unsafe e.local.pointee.flowsRx.acquire()
        defer { unsafe e.local.pointee.flowsRx.release() }
        let arrived = unsafe pointee.isEdge ? Flows.arrived(e) : 0
        guard unsafe Flows.hasNews(e) else { return nil }
        let events = unsafe (Readiness.IN | Readiness.RDNORM) & pointee.events
        if events == 0 { return nil }
        if unsafe pointee.isEdge && !pointee.isNew && arrived == pointee.seenProducer { return nil }
        unsafe pointee.seenProducer = arrived
        return events
    }

    func ringsReported() {
        unsafe pointee.isNew = false
        guard unsafe pointee.isOneShot else { return }
        // The kernel's set reports it no more, either.
        var event = unsafe epoll_event()
        unsafe event.events = unsafe pointee.events & 0xc000_0000
        unsafe event.data.u64 = unsafe pointee.data
        _ = unsafe slc_epoll_ctl(pointee.set.pointee.fd, EPOLL_CTL_MOD, pointee.fd, &event)
    }
}
