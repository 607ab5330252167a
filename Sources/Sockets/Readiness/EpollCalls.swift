import CLinux
import CStackLayout
import Counters
import Settings
import SharedMemory
import Stacks

// epoll_ctl and epoll_wait on a set that Sluice knows.

@c(sluice_epoll_ctl)
public func epollCtl(
    _ fd: Int32, _ entry: UInt64, _ operation: Int32, _ target: Int32, _ event: UnsafeMutablePointer<epoll_event>?
) -> Int {
    let targetEntry = DescriptorTable.entry(target)
    if unsafe EpollSet.of(entry).pointee.share != nil { unsafe EpollSet.of(entry).meetSharers(entry) }
    switch DescriptorTable.kind(targetEntry) {
    case 1: break
    case 2:
        let r = unsafe slc_epoll_ctl(fd, operation, target, event)
        if r == 0 && operation == EPOLL_CTL_ADD {
            if let set = unsafe EpollSet.locked(entry) {
                unsafe EpollSet.serve(set) { unsafe set.pointee.hasInner = true }
                unsafe set.pointee.lock.release()
            }
            EpollSet.watchedFromOutside(targetEntry)
        }
        return r
    default: return unsafe slc_epoll_ctl(fd, operation, target, event)
    }
    let e = unsafe endpoint(targetEntry)
    let isLaned = unsafe slc_acquire_u32(&e.pointee.lane) == UInt32(SL_LANE_LOOPBACK)
    if unsafe isLaned && operation != EPOLL_CTL_DEL && EpollSet.of(entry).isKernelOnly {
        unsafe Lane.handBack(e, target, .sharedByFork, foreign: true)
    }
    guard let set = unsafe EpollSet.locked(entry) else { return unsafe slc_epoll_ctl(fd, operation, target, event) }
    unsafe set.pointee.fd = fd
    var reason = Reason.none
    let r: Int
    switch operation {
    case EPOLL_CTL_ADD: r = unsafe addMember(set, fd, target, e, event, &reason)
    case EPOLL_CTL_MOD: r = unsafe modifyMember(set, fd, target, e, event)
    case EPOLL_CTL_DEL: r = unsafe deleteMember(set, fd, target, e, event)
    default: r = unsafe slc_epoll_ctl(fd, operation, target, event)
    }
    unsafe set.pointee.lock.release()
    if reason != .none { unsafe Lane.handBack(e, target, reason, foreign: true) }
    return r
}

private func deleteMember(
    _ set: Set, _ fd: Int32, _ target: Int32, _ e: Endpoint, _ event: UnsafeMutablePointer<epoll_event>?
) -> Int {
    if let m = unsafe set.find(target, e), unsafe m.pointee.watch != nil {
        if unsafe m.pointee.isParked { return -Int(ENOENT) }
        if unsafe !set.isShared {
            unsafe m.pointee.isParked = true
            return 0
        }
    }
    let r = unsafe slc_epoll_ctl(fd, EPOLL_CTL_DEL, target, event)
    if r == 0, let m = unsafe set.find(target, e) { unsafe set.remove(m) }
    return r
}

private func addMember(
    _ set: Set, _ fd: Int32, _ target: Int32, _ e: Endpoint, _ event: UnsafeMutablePointer<epoll_event>?, _ reason: inout Reason
) -> Int {
    if let m = unsafe set.find(target, e), unsafe m.pointee.watch != nil, let event = unsafe event,
        unsafe m.pointee.isParked || !set.isShared
    {
        guard unsafe m.pointee.isParked else { return -Int(EEXIST) }
        if unsafe event.pointee.events & (1 << 28) == 0 && !set.isKernelOnly {
            unsafe m.pointee.isParked = false
            unsafe rearm(set, m, event.pointee)
            return 0
        }
        // EPOLLEXCLUSIVE has rules of its own: the kernel judges.
        var unused = unsafe epoll_event()
        _ = unsafe slc_epoll_ctl(fd, EPOLL_CTL_DEL, target, &unused)
        unsafe set.remove(m)
    }
    let r = unsafe slc_epoll_ctl(fd, EPOLL_CTL_ADD, target, event)
    guard r == 0, let event = unsafe event else { return r }
    if let stale = unsafe set.find(target, e) { unsafe set.remove(stale) }
    guard let m = unsafe set.add(target, e, event.pointee) else {
        // Without a record it cannot be served here, should it get a lane.
        reason = .resources
        return r
    }
    if unsafe slc_acquire_u32(&e.pointee.lane) == UInt32(SL_LANE_LOOPBACK) {
        reason = unsafe set.takeOver(m, isRegistered: true)
        guard unsafe m.pointee.watch != nil else { return r }
        unsafe set.enqueue(m, isNew: true)
        unsafe set.wakeOwn()
    } else if unsafe e.isDatagram && Flows.hasOpen(e) {
        unsafe set.watchRings(of: e)
        unsafe set.ringsChanged(m)
    }
    return r
}

private func modifyMember(
    _ set: Set, _ fd: Int32, _ target: Int32, _ e: Endpoint, _ event: UnsafeMutablePointer<epoll_event>?
) -> Int {
    guard let m = unsafe set.find(target, e), let event = unsafe event else {
        return unsafe slc_epoll_ctl(fd, EPOLL_CTL_MOD, target, event)
    }
    if unsafe m.pointee.isParked { return -Int(ENOENT) }
    if unsafe m.pointee.isExclusive || event.pointee.events & (1 << 28) != 0 { return -Int(EINVAL) }
    // The other process that has the set is to see it.
    if unsafe set.isKernelOnly { unsafe set.detach(m) }
    if unsafe m.pointee.watch == nil {
        let r = unsafe slc_epoll_ctl(fd, EPOLL_CTL_MOD, target, event)
        if r == 0 {
            unsafe m.pointee.events = unsafe event.pointee.events
            unsafe m.pointee.data = unsafe event.pointee.data.u64
            if unsafe m.pointee.watchesRings { unsafe set.ringsChanged(m) }
        }
        return r
    }
    unsafe rearm(set, m, event.pointee)
    return 0
}

/// A member on a lane is watched for something new; what is there already counts.
private func rearm(_ set: Set, _ m: UnsafeMutablePointer<Member>, _ event: epoll_event) {
    unsafe m.pointee.events = unsafe event.events
    unsafe m.pointee.data = unsafe event.data.u64
    unsafe m.pointee.isDisarmed = false
    unsafe set.enqueue(m, isNew: true)
    unsafe set.wakeOwn()
}

@c(sluice_epoll_wait)
public func epollWait(
    _ fd: Int32, _ entry: UInt64, _ events: UnsafeMutablePointer<epoll_event>?, _ max: Int32, _ timeoutNs: Int64,
    _ mask: UnsafePointer<sigset_t>?
) -> Int {
    let set = unsafe EpollSet.of(entry)
    guard let events = unsafe events, max > 0 else { return unsafe sluice_real_epoll_pwait(fd, events, max, timeoutNs, mask) }
    if unsafe set.pointee.share != nil { unsafe set.meetSharers(entry) }
    if unsafe set.pointee.waiter == nil && !set.pointee.hasInner && !set.isShared {
        // A call that does not sleep need not be woken.
        if timeoutNs == 0 {
            let r = unsafe sluice_real_epoll_pwait(fd, events, max, 0, mask)
            return unsafe r > 0 && set.pointee.waiter != nil ? set.sortOut(events, 0, r) : r
        }
        var slept = false
        let began = slc_tsc()
        let r = unsafe Visit.to(set, entry, asleep: true) { _ in
            slept = unsafe set.pointee.waiter == nil
            return unsafe slept ? sluice_real_epoll_pwait(fd, events, max, timeoutNs, mask) : 0
        }
        guard let r else { return unsafe sluice_real_epoll_pwait(fd, events, max, timeoutNs, mask) }
        guard unsafe set.pointee.waiter != nil, r > 0 || !slept else { return r }
        // A lane was opened while we slept.
        let kept = unsafe set.sortOut(events, 0, r)
        if kept > 0 { return kept }
        if timeoutNs > 0 {
            let passed = unsafe Int64(truncatingIfNeeded: (slc_tsc() &- began) &* 1000 / process.tickRate)
            let call = unsafe EpollCall(set, entry, fd, events, Int(max), Swift.max(0, timeoutNs &- passed), mask)
            return call.run()
        }
    }
    let call = unsafe EpollCall(set, entry, fd, events, Int(max), timeoutNs, mask)
    return call.run()
}

/// The set was the kernel's alone when the real call was made, and is no more: events of ours are taken out. The number left.
@c(sluice_epoll_sort)
public func epollSort(_ entry: UInt64, _ events: UnsafeMutablePointer<epoll_event>?, _ n: Int) -> Int {
    guard let events = unsafe events, let set = unsafe EpollSet.locked(entry) else { return n }
    unsafe set.pointee.lock.release()
    return unsafe set.sortOut(events, 0, n)
}

extension UnsafeMutablePointer where Pointee == EpollSet {
    /// Of the kernel's events at `start ..< start + n` keeps those that are the program's, in place; ours become news.
    /// Takes the set's lock.
    func sortOut(_ events: UnsafeMutablePointer<epoll_event>, _ start: Int, _ n: Int) -> Int {
        var kept = start
        var i = start
        while i < start &+ n {
            let data = unsafe events[i].data.u64
            if Tags.isOurs(data) {
                unsafe takeNews(data, events[i].events)
            } else {
                if kept != i { unsafe events[kept] = unsafe events[i] }
                kept &+= 1
            }
            i &+= 1
        }
        return kept &- start
    }

    private func takeNews(_ data: UInt64, _ events: UInt32) {
        unsafe pointee.lock.acquire()
        if data == Tags.bell {
            if let w = unsafe pointee.waiter, unsafe !pointee.isGuest { unsafe Waiter.silence(w) }
        } else if data == Tags.channel {
            unsafe readChannels()
        } else if let m = unsafe Tags.member(data), unsafe m.pointee.set == self {
            unsafe m.pointee.kernelNews = true
            unsafe enqueue(m, isNew: false)
        }
        unsafe pointee.lock.release()
    }

    /// Reports ready members, each at most once, in turn. Under the set's lock.
    func report(_ out: UnsafeMutablePointer<epoll_event>, _ room: Int) -> Int {
        var n = 0
        var turns = unsafe pointee.readyCount
        while turns > 0 && n < room, let m = unsafe popReady() {
            turns -= 1
            if unsafe m.pointee.endpoint.pointee.flags & UInt32(SL_EP_FOREIGN) != 0 && pointee.share != nil && !isRegistered(m) {
                unsafe remove(m)
                continue
            }
            guard let events = unsafe m.look() else { continue }
            unsafe out[n].events = events
            unsafe out[n].data.u64 = unsafe m.pointee.data
            n += 1
            if unsafe m.pointee.watchesRings { unsafe m.ringsReported() } else { unsafe m.reported(events) }
            if unsafe m.pointee.isOneShot {
                unsafe m.pointee.isDisarmed = true
            } else if unsafe !m.pointee.isEdge {
                unsafe enqueue(m, isNew: false)
            }
        }
        return n
    }
}

extension UnsafeMutablePointer where Pointee == Member {
    /// What is to be reported now; nil: nothing. Arms the wait for space where that is asked for. Under the set's lock.
    func look() -> UInt32? {
        if unsafe pointee.watchesRings { return unsafe lookAtRings() }
        let e = unsafe pointee.endpoint
        guard unsafe !pointee.isDisarmed, unsafe !pointee.isParked, let rx = unsafe e.rxDirection else { return nil }
        // The member's own number may be closed while a duplicate keeps the description open.
        guard let fd = unsafe Lane.current(e, pointee.fd) else { return nil }
        unsafe Lane.service(e, fd)
        let producer = unsafe slc_relaxed_u64(&rx.pointee.producer)
        var kernel: UInt32 = 0
        let carries = unsafe Readiness.kernelCarries(e)
        let hadNews = unsafe pointee.kernelNews
        if hadNews || carries {
            kernel = Readiness.kernel(fd)
            unsafe pointee.kernelNews =
                kernel & (Readiness.IN | Readiness.RDHUP | Readiness.HUP | Readiness.ERR | Readiness.PRI) != 0
        }
        let all = unsafe Readiness.merge(e, ring: Readiness.ring(e), kernel: kernel)
        unsafe pointee.ends = all & (Readiness.RDHUP | Readiness.HUP | Readiness.ERR)
        let interest = unsafe pointee.events & 0x0fff_ffff | Readiness.ERR | Readiness.HUP
        if interest & Readiness.OUT != 0 && all & Readiness.OUT == 0 { unsafe armSpace(fd) }
        if unsafe slc_relaxed_u32(&pointee.lostSpace) != 0 && slc_exchange_u32(&pointee.lostSpace, 0) != 0 {
            unsafe pointee.seenEvents &= ~Readiness.OUT
        }
        if all & Readiness.OUT != 0 { unsafe slc_set_u32(&pointee.looksForSpace, 0) }
        let events = all & interest
        if unsafe pointee.isEdge && !isNews(events, producer, hadNews && carries) {
            unsafe pointee.seenEvents &= events
            return nil
        }
        return events != 0 ? events : nil
    }

    /// Edge-triggered: did more bytes come, an end, or room where there was none?
    private func isNews(_ events: UInt32, _ producer: UInt64, _ byKernel: Bool) -> Bool {
        if unsafe pointee.isNew { return true }
        // Room in the kernel socket is news only where there was none.
        if unsafe byKernel && events & ~(Readiness.OUT | Readiness.WRNORM) != 0 && !isOldArrival(events) { return true }
        if unsafe events & Readiness.IN != 0 && producer != pointee.seenProducer { return true }
        return unsafe events & ~pointee.seenEvents != 0
    }

    /// The kernel's set tells late of what an earlier look has found and reported.
    @inline(never) private func isOldArrival(_ events: UInt32) -> Bool {
        // Once handed back for good, reads are no longer counted.
        unsafe events & Readiness.PRI == 0 && events & ~pointee.seenEvents == 0 && pointee.ends & ~pointee.seenEnds == 0
            && pointee.endpoint.pointee.flags & UInt32(SL_EP_GIVEN_UP) == 0
            && Lane.arrivedByKernel(pointee.endpoint) == pointee.seenArrived
    }

    func reported(_ events: UInt32) {
        unsafe pointee.isNew = false
        unsafe pointee.seenEvents = events
        if unsafe pointee.isEdge && Readiness.kernelCarries(pointee.endpoint) {
            unsafe pointee.seenEnds = unsafe pointee.ends
            unsafe pointee.seenArrived = unsafe Lane.arrivedByKernel(pointee.endpoint)
        }
        if let rx = unsafe pointee.endpoint.rxDirection {
            unsafe pointee.seenProducer = unsafe slc_relaxed_u64(&rx.pointee.producer)
        }
    }

    /// The peer tells this set when a third of the ring is free.
    func armSpace(_ fd: Int32) {
        guard let w = unsafe pointee.watch, let tx = unsafe pointee.endpoint.txDirection else { return }
        if unsafe pointee.endpoint.tx.pointee.phase & 1 == 0 { return unsafe armKernelSpace() }
        if unsafe !pointee.set.pointee.isGuest { _ = unsafe slc_or_u64(sl_space_waiters(tx), w.pointee.bit) }
        if unsafe Patience.awaitRoom(pointee.endpoint, fd) { unsafe slc_set_u32(&pointee.set.pointee.awaitsSpace, 1) }
        if unsafe Readiness.ring(pointee.endpoint) & Readiness.OUT != 0 { unsafe pointee.set.enqueue(self, isNew: false) }
    }

    /// Does its number still refer to its endpoint? Else a change by that number would be another member's.
    var isAtItsNumber: Bool {
        unsafe DescriptorTable.address(DescriptorTable.entry(pointee.fd)) == UInt(bitPattern: pointee.endpoint)
    }

    /// In a kernel phase the kernel's set tells of space; where it cannot be told to, the set looks by itself.
    func armKernelSpace() {
        guard unsafe isAtItsNumber else {
            unsafe slc_set_u32(&pointee.looksForSpace, 1)
            if unsafe slc_exchange_u32(&pointee.set.pointee.awaitsSpace, 1) == 0 { unsafe pointee.set.wakeOwn() }
            return
        }
        var event = unsafe epoll_event()
        unsafe event.events = unsafe Set.lanedEvents | Readiness.OUT
        unsafe event.data.u64 = unsafe pointee.tag
        _ = unsafe slc_epoll_ctl(pointee.set.pointee.fd, EPOLL_CTL_MOD, pointee.fd, &event)
    }
}
