import CLinux
import CStackLayout
import Counters
import SharedMemory
import Stacks

// Members of an epoll set; everything here is under the set's lock.
extension UnsafeMutablePointer where Pointee == EpollSet {
    func find(_ fd: Int32, _ e: Endpoint) -> UnsafeMutablePointer<Member>? {
        var m = unsafe pointee.buckets[Int(fd) & (pointee.bucketCount &- 1)]
        while let p = unsafe m {
            if unsafe p.pointee.fd == fd && p.pointee.endpoint == e { return unsafe p }
            unsafe m = unsafe p.pointee.nextOfHash
        }
        return nil
    }

    func add(_ fd: Int32, _ e: Endpoint, _ event: epoll_event) -> UnsafeMutablePointer<Member>? {
        unsafe process.lock.acquire()
        let record = unsafe process.pool.take(MemoryLayout<Member>.stride)
        if unsafe pointee.memberCount > 2 * pointee.bucketCount { unsafe grow() }
        defer { unsafe process.lock.release() }
        guard let m = unsafe record?.assumingMemoryBound(to: Member.self) else { return nil }
        unsafe m.initialize(to: Member(set: self, endpoint: e, fd: fd, events: event.events, data: event.data.u64))
        let bucket = unsafe Int(fd) & (pointee.bucketCount &- 1)
        unsafe m.pointee.nextOfHash = unsafe pointee.buckets[bucket]
        unsafe pointee.buckets[bucket] = unsafe m
        unsafe pointee.memberCount += 1
        unsafe m.pointee.nextOfEndpoint = unsafe e.local.pointee.memberships?.assumingMemoryBound(to: Member.self)
        unsafe e.local.pointee.memberships = UnsafeMutableRawPointer(m)
        return unsafe m
    }

    private func grow() {
        let size = unsafe pointee.bucketCount * 8
        guard size <= 8192, let p = unsafe process.pool.take(size * 8) else { return }
        let fresh = unsafe p.assumingMemoryBound(to: UnsafeMutablePointer<Member>?.self)
        var i = 0
        while unsafe i < pointee.bucketCount {
            var m = unsafe pointee.buckets[i]
            while let member = unsafe m {
                unsafe m = unsafe member.pointee.nextOfHash
                let b = unsafe Int(member.pointee.fd) & (size - 1)
                unsafe member.pointee.nextOfHash = unsafe fresh[b]
                unsafe fresh[b] = unsafe member
            }
            i += 1
        }
        unsafe process.pool.give(UnsafeMutableRawPointer(pointee.buckets), pointee.bucketCount * 8)
        unsafe pointee.buckets = unsafe fresh
        unsafe pointee.bucketCount = size
    }

    func remove(_ m: UnsafeMutablePointer<Member>) {
        unsafe cutFromHash(m)
        unsafe pointee.memberCount -= 1
        unsafe dequeue(m)
        if let w = unsafe m.pointee.watch {
            unsafe pointee.laned -= 1
            unsafe cutFromSlot(m, w)
        } else if unsafe m.pointee.watchesRings {
            unsafe cutFromRings(m)
        }
        let e = unsafe m.pointee.endpoint
        unsafe process.lock.acquire()
        defer { unsafe process.lock.release() }
        var p = unsafe e.local.pointee.memberships?.assumingMemoryBound(to: Member.self)
        if unsafe p == m {
            unsafe e.local.pointee.memberships = unsafe m.pointee.nextOfEndpoint.map { UnsafeMutableRawPointer($0) }
        } else {
            while let q = unsafe p {
                if unsafe q.pointee.nextOfEndpoint == m { unsafe q.pointee.nextOfEndpoint = unsafe m.pointee.nextOfEndpoint }
                unsafe p = unsafe q.pointee.nextOfEndpoint
            }
        }
        unsafe Tags.give(m.pointee.tag)
        unsafe process.pool.give(UnsafeMutableRawPointer(m), MemoryLayout<Member>.stride)
    }

    private func cutFromHash(_ m: UnsafeMutablePointer<Member>) {
        let bucket = unsafe Int(m.pointee.fd) & (pointee.bucketCount - 1)
        if unsafe pointee.buckets[bucket] == m {
            unsafe pointee.buckets[bucket] = unsafe m.pointee.nextOfHash
            return
        }
        var p = unsafe pointee.buckets[bucket]
        while let q = unsafe p {
            if unsafe q.pointee.nextOfHash == m { unsafe q.pointee.nextOfHash = unsafe m.pointee.nextOfHash }
            unsafe p = unsafe q.pointee.nextOfHash
        }
    }

    private func cutFromSlot(_ m: UnsafeMutablePointer<Member>, _ w: UnsafeMutablePointer<Watch>) {
        let slot = unsafe Int(m.pointee.endpoint.pointee.slot & 63)
        if unsafe w.pointee.members[slot] == m {
            unsafe w.pointee.members[slot] = unsafe m.pointee.nextOfSlot
        } else {
            var p = unsafe w.pointee.members[slot]
            while let q = unsafe p {
                if unsafe q.pointee.nextOfSlot == m { unsafe q.pointee.nextOfSlot = unsafe m.pointee.nextOfSlot }
                unsafe p = unsafe q.pointee.nextOfSlot
            }
        }
        // A guest's number is another process's, which goes on.
        guard unsafe w.pointee.members[slot] == nil, unsafe !pointee.isGuest, let d = unsafe m.pointee.endpoint.rxDirection
        else { return }
        _ = unsafe slc_and_u64(sl_data_waiters(d), ~w.pointee.bit)
    }

    /// The member stays, as one that the kernel alone serves.
    func detach(_ m: UnsafeMutablePointer<Member>) {
        guard let w = unsafe m.pointee.watch else { return }
        unsafe dequeue(m)
        unsafe pointee.laned -= 1
        unsafe cutFromSlot(m, w)
        unsafe m.pointee.watch = nil
        unsafe process.lock.acquire()
        unsafe Tags.give(m.pointee.tag)
        unsafe process.lock.release()
        unsafe m.pointee.tag = 0
        unsafe m.pointee.isParked = false
        unsafe m.pointee.isDisarmed = false
        unsafe m.pointee.kernelNews = false
        unsafe m.pointee.seenEvents = 0
    }

    // MARK: lanes

    /// Events by which the kernel set watches a member on a lane: changes only.
    static var lanedEvents: UInt32 { Readiness.IN | Readiness.RDHUP | Readiness.PRI | 1 << 31 }

    /// The member's endpoint has a lane: our tag in the kernel's set, our bit among the data waiters, our bell in the set.
    /// Returns `.none`, or why the member cannot be served here and its lane must be handed back.
    func takeOver(_ m: UnsafeMutablePointer<Member>, isRegistered: Bool) -> Reason {
        guard unsafe m.pointee.watch == nil else { return .none }
        if unsafe isShared {
            if unsafe isKernelOnly { return .sharedByFork }
            // The other one has it, and this process does not use it.
            if unsafe pointee.isInherited { return .none }
        }
        let e = unsafe m.pointee.endpoint
        // Its number was closed, while a duplicate keeps the socket, and may be another member's by now.
        guard unsafe !isRegistered || m.isAtItsNumber else { return .resources }
        guard unsafe ensureWaiter(), let watch = unsafe watch(for: e) else { return .resources }
        unsafe process.lock.acquire()
        unsafe m.pointee.tag = unsafe Tags.take(m)
        unsafe process.lock.release()
        guard unsafe m.pointee.tag != 0 else { return .resources }
        var event = unsafe epoll_event()
        unsafe event.events = unsafe Self.lanedEvents
        unsafe event.data.u64 = unsafe m.pointee.tag
        if isRegistered {
            if unsafe m.pointee.isExclusive {
                _ = unsafe slc_epoll_ctl(pointee.fd, EPOLL_CTL_DEL, m.pointee.fd, &event)
                _ = unsafe slc_epoll_ctl(pointee.fd, EPOLL_CTL_ADD, m.pointee.fd, &event)
            } else {
                _ = unsafe slc_epoll_ctl(pointee.fd, EPOLL_CTL_MOD, m.pointee.fd, &event)
            }
        }
        unsafe m.pointee.watch = unsafe watch
        unsafe m.pointee.nextOfSlot = unsafe watch.pointee.members[Int(e.pointee.slot & 63)]
        unsafe watch.pointee.members[Int(e.pointee.slot & 63)] = unsafe m
        unsafe pointee.laned += 1
        if let d = unsafe e.rxDirection { _ = unsafe slc_or_u64(sl_data_waiters(d), watch.pointee.bit) }
        slc_fence()
        if unsafe isSleptIn || pointee.isWatched { unsafe announceOne(watch) }
        if unsafe watch.pointee.index < 0 {
            // Nobody can wake us for it: it goes back to the kernel, in order.
            unsafe pointee.hasNumberless = true
            unsafe Lane.handBack(e, m.pointee.fd, .resources, foreign: false)
        }
        return .none
    }

    /// Is the member still in the kernel's set? A program that is not ours, and has the set by exec, may have taken it out.
    func isRegistered(_ m: UnsafeMutablePointer<Member>) -> Bool {
        var event = unsafe epoll_event()
        unsafe event.data.u64 = unsafe m.pointee.tag
        guard unsafe slc_epoll_ctl(pointee.fd, EPOLL_CTL_ADD, m.pointee.fd, &event) == 0 else { return true }
        _ = unsafe slc_epoll_ctl(pointee.fd, EPOLL_CTL_DEL, m.pointee.fd, &event)
        return false
    }

    /// False: no memory.
    func ensureWaiter() -> Bool {
        if unsafe pointee.waiter != nil { return true }
        Tags.prepare()
        var event = unsafe epoll_event()
        unsafe event.events = Readiness.IN
        unsafe event.data.u64 = Tags.bell
        var w = unsafe Waiter.make(isSet: true)
        if let fresh = unsafe w, unsafe slc_epoll_ctl(pointee.fd, EPOLL_CTL_ADD, fresh.pointee.bell, &event) != 0 {
            unsafe Waiter.retire(fresh)
            unsafe w = nil
        }
        // Without a bell it gets no number from any peer.
        guard let waiter = unsafe w ?? Waiter.deaf() else { return false }
        unsafe waiter.pointee.isWatched = unsafe pointee.isWatched
        unsafe EpollSet.serve(self) { unsafe pointee.waiter = unsafe waiter }
        return true
    }

    private func watch(for e: Endpoint) -> UnsafeMutablePointer<Watch>? {
        guard let region = unsafe e.region, let pair = unsafe e.local.pointee.pair, let waiter = unsafe pointee.waiter else {
            return nil
        }
        var numberless: UnsafeMutablePointer<Watch>? = nil
        var p = unsafe pointee.watches
        while let w = unsafe p {
            unsafe p = unsafe w.pointee.next
            guard unsafe w.pointee.region == region else { continue }
            if unsafe w.pointee.index >= 0 { return unsafe w }
            unsafe numberless = unsafe w
        }
        // Numbers may have come free since the last one was asked for.
        let index = unsafe pair.number(of: UInt(bitPattern: waiter), bell: &waiter.pointee.bell) ?? -1
        if let w = unsafe numberless, index < 0 { return unsafe w }
        unsafe process.lock.acquire()
        let record = unsafe process.pool.take(MemoryLayout<Watch>.stride)
        let table = unsafe process.pool.take(64 * 8)
        unsafe process.lock.release()
        guard let w = unsafe record?.assumingMemoryBound(to: Watch.self), let table = unsafe table else { return nil }
        unsafe w.initialize(
            to: Watch(
                region: region, pair: pair, side: Int(e.pointee.side), index: index,
                members: table.assumingMemoryBound(to: UnsafeMutablePointer<Member>?.self)))
        unsafe w.pointee.next = unsafe pointee.watches
        unsafe pointee.watches = unsafe w
        if unsafe pair.pointee.ownNonce == process.nonce {
            // EEXIST: another region of the same pair.
            var event = unsafe epoll_event()
            // Edge-triggered: a fork child that has the set too cannot read our channel.
            unsafe event.events = Readiness.IN | 1 << 31
            unsafe event.data.u64 = Tags.channel
            _ = unsafe slc_epoll_ctl(pointee.fd, EPOLL_CTL_ADD, pair.pointee.channel, &event)
        }
        if let word = unsafe w.pointee.word {
            unsafe slc_set_u32(&word.pointee.kind, 2)
            _ = unsafe Sleeper.awake(word, number: waiter.pointee.number)
        }
        return unsafe w
    }

    /// Nobody stands in their slots any more. A record that a call may still look at is not given back.
    func removeWatches(of pair: UnsafeMutablePointer<Pair>) {
        var previous: UnsafeMutablePointer<Watch>? = nil
        var p = unsafe pointee.watches
        while let w = unsafe p {
            unsafe p = unsafe w.pointee.next
            guard unsafe w.pointee.pair == pair else {
                unsafe previous = unsafe w
                continue
            }
            if let q = unsafe previous { unsafe q.pointee.next = unsafe p } else { unsafe pointee.watches = unsafe p }
            var event = unsafe epoll_event()
            // One that came over a fork stands there for the process that made it.
            if unsafe pair.pointee.ownNonce == process.nonce {
                _ = unsafe slc_epoll_ctl(pointee.fd, EPOLL_CTL_DEL, pair.pointee.channel, &event)
            }
            guard unsafe !isLookedAt else { continue }
            unsafe process.lock.acquire()
            unsafe giveBack(w)
            unsafe process.lock.release()
        }
    }

    // MARK: the ready list

    func enqueue(_ m: UnsafeMutablePointer<Member>, isNew: Bool) {
        if isNew { unsafe m.pointee.isNew = true }
        guard unsafe !m.pointee.isQueued else { return }
        unsafe m.pointee.isQueued = true
        unsafe m.pointee.nextReady = nil
        if let last = unsafe pointee.lastReady {
            unsafe last.pointee.nextReady = unsafe m
        } else {
            unsafe pointee.firstReady = unsafe m
        }
        unsafe pointee.lastReady = unsafe m
        unsafe pointee.readyCount &+= 1
    }

    func popReady() -> UnsafeMutablePointer<Member>? {
        guard let m = unsafe pointee.firstReady else { return nil }
        unsafe pointee.firstReady = unsafe m.pointee.nextReady
        if unsafe pointee.firstReady == nil { unsafe pointee.lastReady = nil }
        unsafe m.pointee.isQueued = false
        unsafe m.pointee.nextReady = nil
        unsafe pointee.readyCount &-= 1
        return unsafe m
    }

    private func dequeue(_ m: UnsafeMutablePointer<Member>) {
        guard unsafe m.pointee.isQueued else { return }
        if unsafe pointee.firstReady == m {
            _ = unsafe popReady()
            return
        }
        var p = unsafe pointee.firstReady
        while let q = unsafe p {
            if unsafe q.pointee.nextReady == m {
                unsafe q.pointee.nextReady = unsafe m.pointee.nextReady
                if unsafe pointee.lastReady == m { unsafe pointee.lastReady = unsafe q }
                unsafe pointee.readyCount &-= 1
                unsafe m.pointee.isQueued = false
                return
            }
            unsafe p = unsafe q.pointee.nextReady
        }
    }
}
