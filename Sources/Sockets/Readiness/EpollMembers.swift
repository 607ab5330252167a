import CLinux
import CStackLayout
import Counters
import SharedMemory
import Stacks

// Members of an epoll set; everything here is under the set's lock.
extension UnsafeMutablePointer where Pointee == EpollSet {
    func find(_ fd: Int32, _ e: Endpoint) -> UnsafeMutablePointer<Member>? {
        var m = pointee.buckets[Int(fd) & (pointee.bucketCount - 1)]
        while let p = m {
            if p.pointee.fd == fd && p.pointee.endpoint == e { return p }
            m = p.pointee.nextOfHash
        }
        return nil
    }

    func add(_ fd: Int32, _ e: Endpoint, _ event: epoll_event) -> UnsafeMutablePointer<Member>? {
        process.lock.acquire()
        let record = process.pool.take(MemoryLayout<Member>.stride)
        if pointee.memberCount > 2 * pointee.bucketCount { grow() }
        defer { process.lock.release() }
        guard let m = record?.assumingMemoryBound(to: Member.self) else { return nil }
        m.initialize(to: Member(set: self, endpoint: e, fd: fd, events: event.events, data: event.data.u64))
        let bucket = Int(fd) & (pointee.bucketCount - 1)
        m.pointee.nextOfHash = pointee.buckets[bucket]
        pointee.buckets[bucket] = m
        pointee.memberCount += 1
        m.pointee.nextOfEndpoint = e.local.pointee.memberships?.assumingMemoryBound(to: Member.self)
        e.local.pointee.memberships = UnsafeMutableRawPointer(m)
        return m
    }

    private func grow() {
        let size = pointee.bucketCount * 8
        guard size <= 8192, let p = process.pool.take(size * 8) else { return }
        let fresh = p.assumingMemoryBound(to: UnsafeMutablePointer<Member>?.self)
        var i = 0
        while i < pointee.bucketCount {
            var m = pointee.buckets[i]
            while let member = m {
                m = member.pointee.nextOfHash
                let b = Int(member.pointee.fd) & (size - 1)
                member.pointee.nextOfHash = fresh[b]
                fresh[b] = member
            }
            i += 1
        }
        process.pool.give(UnsafeMutableRawPointer(pointee.buckets), pointee.bucketCount * 8)
        pointee.buckets = fresh
        pointee.bucketCount = size
    }

    func remove(_ m: UnsafeMutablePointer<Member>) {
        cutFromHash(m)
        pointee.memberCount -= 1
        dequeue(m)
        if let w = m.pointee.watch {
            pointee.laned -= 1
            cutFromSlot(m, w)
        }
        let e = m.pointee.endpoint
        process.lock.acquire()
        defer { process.lock.release() }
        var p = e.local.pointee.memberships?.assumingMemoryBound(to: Member.self)
        if p == m {
            e.local.pointee.memberships = m.pointee.nextOfEndpoint.map { UnsafeMutableRawPointer($0) }
        } else {
            while let q = p {
                if q.pointee.nextOfEndpoint == m { q.pointee.nextOfEndpoint = m.pointee.nextOfEndpoint }
                p = q.pointee.nextOfEndpoint
            }
        }
        Tags.give(m.pointee.tag)
        process.pool.give(UnsafeMutableRawPointer(m), MemoryLayout<Member>.stride)
    }

    private func cutFromHash(_ m: UnsafeMutablePointer<Member>) {
        let bucket = Int(m.pointee.fd) & (pointee.bucketCount - 1)
        if pointee.buckets[bucket] == m {
            pointee.buckets[bucket] = m.pointee.nextOfHash
            return
        }
        var p = pointee.buckets[bucket]
        while let q = p {
            if q.pointee.nextOfHash == m { q.pointee.nextOfHash = m.pointee.nextOfHash }
            p = q.pointee.nextOfHash
        }
    }

    private func cutFromSlot(_ m: UnsafeMutablePointer<Member>, _ w: UnsafeMutablePointer<Watch>) {
        let slot = Int(m.pointee.endpoint.pointee.slot & 63)
        if w.pointee.members[slot] == m {
            w.pointee.members[slot] = m.pointee.nextOfSlot
        } else {
            var p = w.pointee.members[slot]
            while let q = p {
                if q.pointee.nextOfSlot == m { q.pointee.nextOfSlot = m.pointee.nextOfSlot }
                p = q.pointee.nextOfSlot
            }
        }
        guard w.pointee.members[slot] == nil, let d = m.pointee.endpoint.rxDirection else { return }
        _ = slc_and_u64(sl_data_waiters(d), ~(1 << UInt64(w.pointee.index)))
    }

    // MARK: lanes

    /// Events by which the kernel set watches a member on a lane: changes only.
    static var lanedEvents: UInt32 { Readiness.IN | Readiness.RDHUP | Readiness.PRI | 1 << 31 }

    /// The member's endpoint has a lane: our tag in the kernel's set, our bit among the data waiters, our bell in the set.
    func takeOver(_ m: UnsafeMutablePointer<Member>, isRegistered: Bool) {
        guard m.pointee.watch == nil else { return }
        let e = m.pointee.endpoint
        guard ensureBell(), let watch = watch(for: e) else { return }
        process.lock.acquire()
        m.pointee.tag = Tags.take(m)
        process.lock.release()
        guard m.pointee.tag != 0 else { return }
        var event = epoll_event()
        event.events = Self.lanedEvents
        event.data.u64 = m.pointee.tag
        if isRegistered {
            if m.pointee.isExclusive {
                _ = slc_epoll_ctl(pointee.fd, EPOLL_CTL_DEL, m.pointee.fd, &event)
                _ = slc_epoll_ctl(pointee.fd, EPOLL_CTL_ADD, m.pointee.fd, &event)
            } else {
                _ = slc_epoll_ctl(pointee.fd, EPOLL_CTL_MOD, m.pointee.fd, &event)
            }
        }
        m.pointee.watch = watch
        m.pointee.nextOfSlot = watch.pointee.members[Int(e.pointee.slot & 63)]
        watch.pointee.members[Int(e.pointee.slot & 63)] = m
        pointee.laned += 1
        if let d = e.rxDirection { _ = slc_or_u64(sl_data_waiters(d), 1 << UInt64(watch.pointee.index)) }
        slc_fence()
        if pointee.sleepers > 0 || pointee.isWatched { announceOne(watch) }
    }

    /// Is the member still in the kernel's set? Another process that has the set since a fork may have taken it out.
    func isRegistered(_ m: UnsafeMutablePointer<Member>) -> Bool {
        var event = epoll_event()
        event.data.u64 = m.pointee.tag
        guard slc_epoll_ctl(pointee.fd, EPOLL_CTL_ADD, m.pointee.fd, &event) == 0 else { return true }
        _ = slc_epoll_ctl(pointee.fd, EPOLL_CTL_DEL, m.pointee.fd, &event)
        return false
    }

    private func ensureBell() -> Bool {
        if pointee.waiter != nil { return true }
        guard let w = Waiter.make(isSet: true) else { return false }
        Tags.prepare()
        var event = epoll_event()
        event.events = Readiness.IN
        event.data.u64 = Tags.bell
        guard slc_epoll_ctl(pointee.fd, EPOLL_CTL_ADD, w.pointee.bell, &event) == 0 else {
            Waiter.retire(w)
            return false
        }
        pointee.waiter = w
        return true
    }

    private func watch(for e: Endpoint) -> UnsafeMutablePointer<Watch>? {
        guard let region = e.region, let pair = e.local.pointee.pair, let waiter = pointee.waiter else { return nil }
        var p = pointee.watches
        while let w = p {
            if w.pointee.region == region { return w }
            p = w.pointee.next
        }
        guard let index = pair.number(of: UInt(bitPattern: waiter), bell: waiter.pointee.bell) else { return nil }
        process.lock.acquire()
        let record = process.pool.take(MemoryLayout<Watch>.stride)
        let table = process.pool.take(64 * 8)
        process.lock.release()
        guard let w = record?.assumingMemoryBound(to: Watch.self), let table else { return nil }
        w.initialize(
            to: Watch(
                region: region, pair: pair, side: Int(e.pointee.side), index: index,
                members: table.assumingMemoryBound(to: UnsafeMutablePointer<Member>?.self)))
        w.pointee.next = pointee.watches
        pointee.watches = w
        if pair.pointee.ownNonce == process.nonce {
            // EEXIST: another region of the same pair.
            var event = epoll_event()
            // Edge-triggered: a fork child that has the set too cannot read our channel.
            event.events = Readiness.IN | 1 << 31
            event.data.u64 = Tags.channel
            _ = slc_epoll_ctl(pointee.fd, EPOLL_CTL_ADD, pair.pointee.channel, &event)
        }
        let word = sl_region_waiter(region, w.pointee.side, index)!
        slc_set_u32(&word.pointee.kind, 2)
        _ = Sleeper.awake(word, number: waiter.pointee.number)
        return w
    }

    /// Nobody stands in their slots any more. A record that a call may still look at is not given back.
    func removeWatches(of pair: UnsafeMutablePointer<Pair>) {
        var previous: UnsafeMutablePointer<Watch>? = nil
        var p = pointee.watches
        while let w = p {
            p = w.pointee.next
            guard w.pointee.pair == pair else {
                previous = w
                continue
            }
            if let q = previous { q.pointee.next = p } else { pointee.watches = p }
            var event = epoll_event()
            _ = slc_epoll_ctl(pointee.fd, EPOLL_CTL_DEL, pair.pointee.channel, &event)
            guard !isLookedAt else { continue }
            process.lock.acquire()
            process.pool.give(UnsafeMutableRawPointer(w.pointee.members), 64 * 8)
            process.pool.give(UnsafeMutableRawPointer(w), MemoryLayout<Watch>.stride)
            process.lock.release()
        }
    }

    // MARK: sleeping

    private func announceOne(_ w: UnsafeMutablePointer<Watch>) {
        guard let waiter = pointee.waiter else { return }
        Sleeper.announce(sl_region_waiter(w.pointee.region, w.pointee.side, w.pointee.index), number: waiter.pointee.number)
    }

    /// All peers must ring from now on.
    func announce() {
        guard let waiter = pointee.waiter else { return }
        waiter.pointee.number &+= 1
        var p = pointee.watches
        while let w = p {
            announceOne(w)
            p = w.pointee.next
        }
    }

    func sayAwake() {
        guard let waiter = pointee.waiter else { return }
        var p = pointee.watches
        while let w = p {
            _ = Sleeper.awake(sl_region_waiter(w.pointee.region, w.pointee.side, w.pointee.index), number: waiter.pointee.number)
            p = w.pointee.next
        }
    }

    /// Something came over a control channel: a bell, a ring by one who knows no bell, or the peer's end. Under the set's lock.
    func readChannels() {
        process.lock.acquire()
        defer { process.lock.release() }
        var p = pointee.watches
        while let w = p {
            p = w.pointee.next
            let pair = w.pointee.pair
            guard pair.pointee.ownNonce == process.nonce, !pair.pointee.peerIsGone else { continue }
            pair.readChannel()
            var event = epoll_event()
            if pair.pointee.peerIsGone { _ = slc_epoll_ctl(pointee.fd, EPOLL_CTL_DEL, pair.pointee.channel, &event) }
        }
    }

    /// Silences the bell unless something is ready; under the set's lock.
    func tellTruth() {
        guard let w = pointee.waiter else { return }
        Waiter.silence(w)
        readChannels()
        announce()
        takeBits()
        var turns = pointee.readyCount
        var ready = false
        while turns > 0, let m = popReady() {
            turns -= 1
            if m.look() != nil {
                ready = true
                enqueue(m, isNew: m.pointee.isNew)
            }
        }
        if ready || hasBits() { ringOwn() }
    }

    /// Wakes our own sleepers, after a change by another thread.
    func wakeOwn() {
        if pointee.sleepers > 0 || pointee.isWatched { ringOwn() }
    }

    func ringOwn() {
        guard let w = pointee.waiter else { return }
        var one: UInt64 = 1
        _ = slc_write(w.pointee.bell, &one, 8)
    }

    // MARK: the ready list

    func enqueue(_ m: UnsafeMutablePointer<Member>, isNew: Bool) {
        if isNew { m.pointee.isNew = true }
        guard !m.pointee.isQueued else { return }
        m.pointee.isQueued = true
        m.pointee.nextReady = nil
        if let last = pointee.lastReady { last.pointee.nextReady = m } else { pointee.firstReady = m }
        pointee.lastReady = m
        pointee.readyCount += 1
    }

    func popReady() -> UnsafeMutablePointer<Member>? {
        guard let m = pointee.firstReady else { return nil }
        pointee.firstReady = m.pointee.nextReady
        if pointee.firstReady == nil { pointee.lastReady = nil }
        m.pointee.isQueued = false
        m.pointee.nextReady = nil
        pointee.readyCount -= 1
        return m
    }

    private func dequeue(_ m: UnsafeMutablePointer<Member>) {
        guard m.pointee.isQueued else { return }
        if pointee.firstReady == m {
            _ = popReady()
            return
        }
        var p = pointee.firstReady
        while let q = p {
            if q.pointee.nextReady == m {
                q.pointee.nextReady = m.pointee.nextReady
                if pointee.lastReady == m { pointee.lastReady = q }
                pointee.readyCount -= 1
                m.pointee.isQueued = false
                return
            }
            p = q.pointee.nextReady
        }
    }
}
