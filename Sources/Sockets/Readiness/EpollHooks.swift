import CLinux
import CStackLayout
import Counters
import SharedMemory
import Stacks

// What other parts of the process tell the epoll sets.

extension EpollSet {
    /// The last descriptor of this process for the endpoint is being closed: the kernel drops it from its sets, so do we.
    static func endpointLeaves(_ e: Endpoint) {
        while let m = unsafe firstMember(e, ifStill: nil) {
            let set = unsafe m.set
            unsafe set.pointee.lock.acquire()
            // A set's memory stays a set's; a member in it stays while its lock is held.
            if unsafe firstMember(e, ifStill: m) != nil { unsafe set.remove(m.member) }
            unsafe set.pointee.lock.release()
        }
    }

    @safe private struct Membership {
        let member: UnsafeMutablePointer<Member>
        let set: Set
    }

    private static func firstMember(_ e: Endpoint, ifStill known: Membership?) -> Membership? {
        unsafe process.lock.acquire()
        defer { unsafe process.lock.release() }
        guard let m = unsafe e.local.pointee.memberships?.assumingMemoryBound(to: Member.self) else { return nil }
        if let known, unsafe m != known.member || m.pointee.set != known.set { return nil }
        return unsafe Membership(member: m, set: m.pointee.set)
    }

    /// A connection has got its lane: its members get our registration. Returns why the lane cannot stay, `.none`: it can.
    static func laneAttached(_ e: Endpoint) -> Reason {
        var reason = Reason.none
        unsafe eachLocked { set in
            while let m = unsafe set.unattached(e) {
                let r = unsafe set.takeOver(m, isRegistered: true)
                if r != .none { reason = r }
                guard unsafe m.pointee.watch != nil else { break }
                unsafe set.enqueue(m, isNew: false)
                unsafe set.wakeOwn()
            }
        }
        return reason
    }

    /// Would a lane of the endpoint be handed back at once, because a set has it that only the kernel serves?
    static func refusesLane(_ e: Endpoint) -> Bool {
        unsafe process.lock.acquire()
        defer { unsafe process.lock.release() }
        var next = unsafe e.local.pointee.memberships?.assumingMemoryBound(to: Member.self)
        while let m = unsafe next {
            if unsafe m.pointee.set.isKernelOnly { return true }
            unsafe next = unsafe m.pointee.nextOfEndpoint
        }
        return false
    }

    /// A non-blocking send found the ring full, or a full ring was left: sets that watch for OUT are told when a third is free,
    /// and look by themselves whether the reader has stopped.
    static func armSpace(of e: Endpoint) {
        unsafe process.lock.acquire()
        var next = unsafe e.local.pointee.memberships?.assumingMemoryBound(to: Member.self)
        while let m = unsafe next {
            unsafe next = unsafe m.pointee.nextOfEndpoint
            unsafe slc_set_u32(&m.pointee.lostSpace, 1)
            guard let w = unsafe m.pointee.watch, unsafe m.pointee.isAskedForSpace, let tx = unsafe e.txDirection,
                unsafe !m.pointee.set.pointee.isGuest
            else { continue }
            if unsafe e.tx.pointee.phase & 1 == 0 {
                unsafe m.armKernelSpace()
                continue
            }
            _ = unsafe slc_or_u64(sl_space_waiters(tx), w.pointee.bit)
            let isNew = unsafe slc_exchange_u32(&m.pointee.set.pointee.awaitsSpace, 1) == 0
            if unsafe isNew || Readiness.ring(e) & Readiness.OUT != 0 {
                if let word = unsafe w.pointee.word {
                    _ = unsafe slc_or_u64(&word.pointee.ready, 1 << UInt64(e.pointee.slot & 63))
                }
                unsafe m.pointee.set.wakeOwn()
            }
        }
        unsafe process.lock.release()
    }

    /// Somebody looks at the set from outside (an outer set, poll): from now on peers ring its bell though nobody sleeps in
    /// it, and the bell tells the truth at each look.
    static func watchedFromOutside(_ entry: UInt64) {
        if unsafe of(entry).pointee.share != nil { unsafe of(entry).meetSharers(entry) }
        guard let set = unsafe locked(entry) else { return }
        unsafe set.pointee.isWatched = true
        unsafe set.closeRings()
        unsafe set.pointee.waiter?.pointee.isWatched = true
        unsafe set.tellTruth()
        unsafe set.pointee.lock.release()
    }

    /// Before and after a look at an outer set. True: one of them is to be looked at again after `Patience.slice`.
    @discardableResult static func refreshWatched() -> Bool {
        var awaitsSpace = false
        unsafe process.setsLock.acquire()
        unsafe each {
            guard unsafe $0.pointee.isWatched else { return }
            unsafe $0.pointee.lock.acquire()
            unsafe $0.tellTruth()
            if unsafe slc_relaxed_u32(&$0.pointee.awaitsSpace) != 0 { awaitsSpace = true }
            unsafe $0.pointee.lock.release()
        }
        unsafe process.setsLock.release()
        return awaitsSpace
    }

    /// The pair is about to go. False: a call may still look at what belongs to it.
    static func forget(_ pair: UnsafeMutablePointer<Pair>) -> Bool {
        var isQuiet = true
        unsafe eachLocked { set in
            unsafe set.removeWatches(of: pair)
            if unsafe set.isLookedAt { isQuiet = false }
        }
        return isQuiet
    }

    /// A descriptor of ours is moving: where it is a member of a set in the kernel, as bell or channel, it becomes one under
    /// its new number.
    static func renumber(_ old: Int32, _ new: Int32) {
        unsafe eachLocked { set in
            if unsafe set.pointee.kept == old { unsafe set.pointee.kept = new }
            // What a guest has there is the other process's.
            guard unsafe !set.pointee.isGuest else { return }
            if unsafe set.pointee.waiter?.pointee.bell == old { unsafe set.moveMember(old, new, Readiness.IN, Tags.bell) }
            var next = unsafe set.pointee.watches
            while let w = unsafe next {
                unsafe next = unsafe w.pointee.next
                if unsafe w.pointee.pair.pointee.channel == old {
                    unsafe set.moveMember(old, new, Readiness.IN | 1 << 31, Tags.channel)
                }
            }
        }
    }

    /// Before bells and channels are closed: a duplicate that a peer holds would keep them in the kernel's sets.
    static func retireBells() {
        unsafe eachLocked { set in
            if unsafe !set.pointee.isGuest { unsafe set.takeBellsOut(all: false) }
        }
    }
}

extension UnsafeMutablePointer where Pointee == EpollSet {
    /// A member for `e` that does not have our registration yet. The list of an endpoint's members is under the process lock.
    fileprivate func unattached(_ e: Endpoint) -> UnsafeMutablePointer<Member>? {
        unsafe process.lock.acquire()
        defer { unsafe process.lock.release() }
        var next = unsafe e.local.pointee.memberships?.assumingMemoryBound(to: Member.self)
        while let m = unsafe next {
            if unsafe m.pointee.set == self && m.pointee.watch == nil { return unsafe m }
            unsafe next = unsafe m.pointee.nextOfEndpoint
        }
        return nil
    }

    fileprivate func moveMember(_ old: Int32, _ new: Int32, _ events: UInt32, _ tag: UInt64) {
        var event = unsafe epoll_event()
        unsafe event.events = events
        unsafe event.data.u64 = tag
        let number = unsafe pointee.kept >= 0 ? pointee.kept : pointee.fd
        if unsafe slc_epoll_ctl(number, EPOLL_CTL_DEL, old, &event) == 0 {
            _ = unsafe slc_epoll_ctl(number, EPOLL_CTL_ADD, new, &event)
        }
    }

    /// Takes bell and channels out of the kernel's set. A bell that outer sets look at stays, unless `all` go.
    func takeBellsOut(all: Bool) {
        var event = unsafe epoll_event()
        if let w = unsafe pointee.waiter, unsafe all || !pointee.isWatched, unsafe w.pointee.bell >= 0 {
            _ = unsafe slc_epoll_ctl(pointee.fd, EPOLL_CTL_DEL, w.pointee.bell, &event)
        }
        var next = unsafe pointee.watches
        while let w = unsafe next {
            unsafe next = unsafe w.pointee.next
            guard unsafe w.pointee.pair.pointee.channel >= 0 else { continue }
            _ = unsafe slc_epoll_ctl(pointee.fd, EPOLL_CTL_DEL, w.pointee.pair.pointee.channel, &event)
        }
    }
}
