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
    let set = EpollSet.of(entry)
    let targetEntry = DescriptorTable.entry(target)
    set.pointee.fd = fd
    switch DescriptorTable.kind(targetEntry) {
    case 1: break
    case 2:
        let r = slc_epoll_ctl(fd, operation, target, event)
        if r == 0 && operation == EPOLL_CTL_ADD {
            set.pointee.hasInner = true
            EpollSet.watchedFromOutside(targetEntry)
        }
        return r
    default: return slc_epoll_ctl(fd, operation, target, event)
    }
    let e = endpoint(targetEntry)
    set.pointee.lock.acquire()
    defer { set.pointee.lock.release() }
    switch operation {
    case EPOLL_CTL_ADD: return addMember(set, fd, target, e, event)
    case EPOLL_CTL_MOD: return modifyMember(set, fd, target, e, event)
    default:
        if operation == EPOLL_CTL_DEL, let m = set.find(target, e), m.pointee.watch != nil, !set.pointee.isShared {
            if m.pointee.isParked { return -Int(ENOENT) }
            m.pointee.isParked = true
            return 0
        }
        let r = slc_epoll_ctl(fd, operation, target, event)
        if r == 0, let m = set.find(target, e) { set.remove(m) }
        return r
    }
}

private func addMember(
    _ set: Set, _ fd: Int32, _ target: Int32, _ e: Endpoint, _ event: UnsafeMutablePointer<epoll_event>?
) -> Int {
    if let m = set.find(target, e), m.pointee.watch != nil, let event, !set.pointee.isShared {
        guard m.pointee.isParked else { return -Int(EEXIST) }
        if event.pointee.events & (1 << 28) == 0 {
            m.pointee.isParked = false
            rearm(set, m, event.pointee)
            return 0
        }
        // EPOLLEXCLUSIVE has rules of its own: the kernel judges.
        var unused = epoll_event()
        _ = slc_epoll_ctl(fd, EPOLL_CTL_DEL, target, &unused)
        set.remove(m)
    }
    let r = slc_epoll_ctl(fd, EPOLL_CTL_ADD, target, event)
    guard r == 0, let event else { return r }
    if let stale = set.find(target, e) { set.remove(stale) }
    guard let m = set.add(target, e, event.pointee) else { return r }
    if slc_acquire_u32(&e.pointee.lane) == UInt32(SL_LANE_LOOPBACK) {
        set.takeOver(m, isRegistered: true)
        set.enqueue(m, isNew: true)
        set.wakeOwn()
    }
    return r
}

private func modifyMember(
    _ set: Set, _ fd: Int32, _ target: Int32, _ e: Endpoint, _ event: UnsafeMutablePointer<epoll_event>?
) -> Int {
    guard let m = set.find(target, e), let event else { return slc_epoll_ctl(fd, EPOLL_CTL_MOD, target, event) }
    if m.pointee.isExclusive || event.pointee.events & (1 << 28) != 0 { return -Int(EINVAL) }
    if m.pointee.watch == nil {
        let r = slc_epoll_ctl(fd, EPOLL_CTL_MOD, target, event)
        if r == 0 {
            m.pointee.events = event.pointee.events
            m.pointee.data = event.pointee.data.u64
        }
        return r
    }
    if m.pointee.isParked { return -Int(ENOENT) }
    rearm(set, m, event.pointee)
    return 0
}

/// A member on a lane is watched for something new; what is there already counts.
private func rearm(_ set: Set, _ m: UnsafeMutablePointer<Member>, _ event: epoll_event) {
    m.pointee.events = event.events
    m.pointee.data = event.data.u64
    m.pointee.isDisarmed = false
    set.enqueue(m, isNew: true)
    set.wakeOwn()
}

@c(sluice_epoll_wait)
public func epollWait(
    _ fd: Int32, _ entry: UInt64, _ events: UnsafeMutablePointer<epoll_event>?, _ max: Int32, _ timeoutNs: Int64,
    _ mask: UnsafePointer<sigset_t>?
) -> Int {
    let set = EpollSet.of(entry)
    set.pointee.fd = fd
    guard let events, max > 0 else { return sluice_real_epoll_pwait(fd, events, max, timeoutNs, mask) }
    if set.pointee.waiter == nil && !set.pointee.hasInner {
        // A call that does not sleep need not be woken.
        if timeoutNs == 0 {
            let r = sluice_real_epoll_pwait(fd, events, max, 0, mask)
            return r > 0 && set.pointee.waiter != nil ? set.sortOut(events, 0, r) : r
        }
        set.fallAsleep()
        let slept = set.pointee.waiter == nil
        let r = slept ? sluice_real_epoll_pwait(fd, events, max, timeoutNs, mask) : 0
        _ = set.wakeUp()
        guard set.pointee.waiter != nil, r > 0 || !slept else { return r }
        // A lane was opened while we slept.
        let kept = set.sortOut(events, 0, r)
        if kept > 0 { return kept }
    }
    return EpollCall(set, fd, events, Int(max), timeoutNs, mask).run()
}

extension UnsafeMutablePointer where Pointee == EpollSet {
    /// Of the kernel's events at `start ..< start + n` keeps those that are the program's, in place; ours become news.
    /// Takes the set's lock.
    func sortOut(_ events: UnsafeMutablePointer<epoll_event>, _ start: Int, _ n: Int) -> Int {
        var kept = start
        var i = start
        while i < start + n {
            let data = events[i].data.u64
            if Tags.isOurs(data) {
                takeNews(data, events[i].events)
            } else {
                if kept != i { events[kept] = events[i] }
                kept += 1
            }
            i += 1
        }
        return kept - start
    }

    private func takeNews(_ data: UInt64, _ events: UInt32) {
        pointee.lock.acquire()
        if data == Tags.bell {
            if let w = pointee.waiter { Waiter.silence(w) }
        } else if data == Tags.channel {
            readChannels()
        } else if let m = Tags.member(data), m.pointee.set == self {
            m.pointee.kernelNews = true
            enqueue(m, isNew: false)
        }
        pointee.lock.release()
    }

    /// Takes the bits that peers have set.
    func takeBits() {
        var p = pointee.watches
        while let w = p {
            p = w.pointee.next
            let word = sl_region_waiter(w.pointee.region, w.pointee.side, w.pointee.index)!
            guard slc_relaxed_u64(&word.pointee.ready) != 0 else { continue }
            var bits = slc_exchange_u64(&word.pointee.ready, 0)
            while bits != 0 {
                let slot = bits.trailingZeroBitCount
                bits &= bits &- 1
                var m = w.pointee.members[slot]
                while let member = m {
                    enqueue(member, isNew: false)
                    m = member.pointee.nextOfSlot
                }
            }
        }
    }

    @inline(__always) func hasBits() -> Bool {
        var p = pointee.watches
        while let w = p {
            if slc_relaxed_u64(&sl_region_waiter(w.pointee.region, w.pointee.side, w.pointee.index)!.pointee.ready) != 0 {
                return true
            }
            p = w.pointee.next
        }
        return false
    }

    /// Reports ready members, each at most once, in turn. Under the set's lock.
    func report(_ out: UnsafeMutablePointer<epoll_event>, _ room: Int) -> Int {
        var n = 0
        var turns = pointee.readyCount
        while turns > 0 && n < room, let m = popReady() {
            turns -= 1
            if pointee.isShared && !isRegistered(m) {
                remove(m)
                continue
            }
            guard let events = m.look() else { continue }
            out[n].events = events
            out[n].data.u64 = m.pointee.data
            n += 1
            m.reported(events)
            if m.pointee.isOneShot {
                m.pointee.isDisarmed = true
            } else if !m.pointee.isEdge {
                enqueue(m, isNew: false)
            }
        }
        return n
    }
}

extension UnsafeMutablePointer where Pointee == Member {
    /// What is to be reported now; nil: nothing. Arms the wait for space where that is asked for. Under the set's lock.
    func look() -> UInt32? {
        let e = pointee.endpoint
        guard !pointee.isDisarmed, !pointee.isParked, let rx = e.rxDirection else { return nil }
        // The member's own number may be closed while a duplicate keeps the description open.
        guard let fd = Lane.current(e, pointee.fd) else { return nil }
        Lane.service(e, fd)
        let producer = slc_relaxed_u64(&rx.pointee.producer)
        var kernel: UInt32 = 0
        let carries = Readiness.kernelCarries(e)
        let hadNews = pointee.kernelNews
        if hadNews || carries {
            kernel = Readiness.kernel(fd)
            pointee.kernelNews = kernel & (Readiness.IN | Readiness.RDHUP | Readiness.HUP | Readiness.ERR | Readiness.PRI) != 0
        }
        let all = Readiness.merge(e, ring: Readiness.ring(e), kernel: kernel)
        let interest = pointee.events & 0x0fff_ffff | Readiness.ERR | Readiness.HUP
        if interest & Readiness.OUT != 0 && all & Readiness.OUT == 0 { armSpace() }
        let events = all & interest
        if pointee.isEdge && !isNews(events, producer, hadNews && carries) {
            pointee.seenEvents &= events
            return nil
        }
        return events != 0 ? events : nil
    }

    /// Edge-triggered: did more bytes come, an end, or room where there was none?
    private func isNews(_ events: UInt32, _ producer: UInt64, _ byKernel: Bool) -> Bool {
        if pointee.isNew || byKernel { return true }
        if events & Readiness.IN != 0 && producer != pointee.seenProducer { return true }
        return events & ~pointee.seenEvents != 0
    }

    func reported(_ events: UInt32) {
        pointee.isNew = false
        pointee.seenEvents = events
        if let rx = pointee.endpoint.rxDirection { pointee.seenProducer = slc_relaxed_u64(&rx.pointee.producer) }
    }

    /// The peer tells this set when a third of the ring is free.
    func armSpace() {
        guard let w = pointee.watch, let tx = pointee.endpoint.txDirection else { return }
        if pointee.endpoint.tx.pointee.phase & 1 == 0 { return armKernelSpace() }
        _ = slc_or_u64(sl_space_waiters(tx), 1 << UInt64(w.pointee.index))
        if Readiness.ring(pointee.endpoint) & Readiness.OUT != 0 { pointee.set.enqueue(self, isNew: false) }
    }

    /// In a kernel phase the kernel's set tells of space.
    func armKernelSpace() {
        var event = epoll_event()
        event.events = Set.lanedEvents | Readiness.OUT
        event.data.u64 = pointee.tag
        _ = slc_epoll_ctl(pointee.set.pointee.fd, EPOLL_CTL_MOD, pointee.fd, &event)
    }
}
