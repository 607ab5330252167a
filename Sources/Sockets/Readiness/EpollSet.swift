import CLinux
import CStackLayout
import Counters
import Settings
import SharedMemory
import Stacks

/// One region in which an epoll set has members: our waiter there and who stands in which slot. A private record.
@safe struct Watch {
    var next: UnsafeMutablePointer<Watch>? = nil
    var region: Region
    var pair: UnsafeMutablePointer<Pair>
    var side: Int
    /// Our waiter's number in the pair.
    var index: Int
    /// Member (address) per slot; several by `Member.nextOfSlot`.
    var members: UnsafeMutablePointer<UnsafeMutablePointer<Member>?>
}

/// One descriptor of ours in one epoll set.
@safe struct Member {
    var set: UnsafeMutablePointer<EpollSet>
    var endpoint: Endpoint
    var fd: Int32
    var events: UInt32
    var data: UInt64
    /// What the kernel set reports for it while it is on a lane.
    var tag: UInt64 = 0
    var watch: UnsafeMutablePointer<Watch>? = nil
    var isQueued = false
    /// Edge-triggered: to be reported whatever was reported before (added, changed).
    var isNew = false
    /// What the last look saw.
    var seenEvents: UInt32 = 0
    var kernelNews = false
    var isDisarmed = false
    /// Taken out by the program, while our registration stays: programs that take a socket out and put it in again for each
    /// message pay no system call.
    var isParked = false
    var seenProducer: UInt64 = 0
    /// `Lane.arrivedByKernel` at the last report.
    var seenArrived: UInt64 = ~0
    /// Ends among all events of the last look, and of the last report in a kernel phase.
    var ends: UInt32 = 0
    var seenEnds: UInt32 = 0
    var nextReady: UnsafeMutablePointer<Member>? = nil
    var nextOfHash: UnsafeMutablePointer<Member>? = nil
    var nextOfSlot: UnsafeMutablePointer<Member>? = nil
    var nextOfEndpoint: UnsafeMutablePointer<Member>? = nil

    var isEdge: Bool { events & (1 << 31) != 0 }
    var isOneShot: Bool { events & (1 << 30) != 0 }
    var isExclusive: Bool { events & (1 << 28) != 0 }
}

/// An epoll set of the program. The kernel's set keeps all members and our bell; of members on a lane it reports the
/// changes of the kernel socket, edge-triggered, under a tag of ours. What rings report is kept here. A private record;
/// all but `sleepers` and the counts is under `lock`.
@safe struct EpollSet {
    var next: UnsafeMutablePointer<EpollSet>? = nil
    var lock = PrivateLock()
    var fd: Int32 = -1
    var descriptors: Int32 = 1
    /// Members on a lane. 0: every call is the kernel's.
    var laned: Int32 = 0
    /// Calls that sleep in the kernel's set; atomic.
    var sleepers: UInt32 = 0
    /// Calls that look at `watches` without the lock; atomic.
    var lookers: UInt32 = 0
    /// It is a member of another set, or polled: the bell must ring though nobody sleeps in it.
    var isWatched = false
    /// It has other sets as members.
    var hasInner = false
    /// Kernel events come first at every other look.
    var kernelFirst = false
    /// Looks that were full with rings' news since the kernel was asked.
    var fullLooks: UInt32 = 0
    /// Another process has the kernel's set too, since a fork, and may change it.
    var isShared = false
    /// The set was closed while calls slept in it: its number for them.
    var kept: Int32 = -1
    var isInherited = false
    var waiter: UnsafeMutablePointer<Waiter>? = nil
    var watches: UnsafeMutablePointer<Watch>? = nil
    var firstReady: UnsafeMutablePointer<Member>? = nil
    var lastReady: UnsafeMutablePointer<Member>? = nil
    var readyCount: Int32 = 0
    var kernelLook: UInt64 = 0
    var average: UInt32 = 0
    var trial: UInt32 = 0
    var buckets: UnsafeMutablePointer<UnsafeMutablePointer<Member>?>
    var bucketCount: Int = 64
    var memberCount: Int = 0

    static var bellTag: UInt64 { Tags.bell }
}

typealias Set = UnsafeMutablePointer<EpollSet>

extension UnsafeMutablePointer where Pointee == EpollSet {
    /// A member for `e` that does not have our registration yet. The list of an endpoint's members is under the process lock.
    func unattached(_ e: Endpoint) -> UnsafeMutablePointer<Member>? {
        unsafe process.lock.acquire()
        defer { unsafe process.lock.release() }
        var next = unsafe e.local.pointee.memberships?.assumingMemoryBound(to: Member.self)
        while let m = unsafe next {
            if unsafe m.pointee.set == self && m.pointee.watch == nil { return unsafe m }
            unsafe next = unsafe m.pointee.nextOfEndpoint
        }
        return nil
    }

    @inline(__always) func fallAsleep() {
        slc_enter()
        Held.note(.sleeping, UInt(bitPattern: self), 0)
        _ = unsafe withUnsafeMutablePointer(to: &pointee.sleepers) { unsafe slc_add_u32($0, 1) }
        slc_leave()
    }
    @inline(__always) func beginLooking() {
        slc_enter()
        Held.note(.looking, UInt(bitPattern: self), 0)
        _ = unsafe withUnsafeMutablePointer(to: &pointee.lookers) { unsafe slc_add_u32($0, 1) }
        slc_leave()
    }
    @inline(__always) func endLooking() {
        slc_enter()
        Held.drop(.looking, UInt(bitPattern: self))
        _ = unsafe withUnsafeMutablePointer(to: &pointee.lookers) { unsafe slc_sub_u32($0, 1) }
        slc_leave()
    }
    /// A full fence: whoever begins to look afterwards sees what was changed before.
    var isLookedAt: Bool { unsafe withUnsafeMutablePointer(to: &pointee.lookers) { unsafe slc_add_u32($0, 0) } != 0 }
    /// How many sleep still.
    @inline(__always) func wakeUp() -> UInt32 {
        slc_enter()
        Held.drop(.sleeping, UInt(bitPattern: self))
        let left = unsafe oneFewerSleeps()
        slc_leave()
        return left
    }
    @inline(__always) func oneFewerSleeps() -> UInt32 {
        unsafe withUnsafeMutablePointer(to: &pointee.sleepers) { unsafe slc_sub_u32($0, 1) } &- 1
    }
}

@c(sluice_made_epoll) public func madeEpoll(_ fd: Int32) {
    unsafe process.start()
    madeOther(fd)
    guard unsafe process.isOwner, unsafe process.settings.tcp else { return }
    unsafe process.lock.acquire()
    defer { unsafe process.lock.release() }
    guard let m = unsafe process.pool.take(MemoryLayout<EpollSet>.stride), let b = unsafe process.pool.take(64 * 8) else {
        return
    }
    let set = unsafe m.assumingMemoryBound(to: EpollSet.self)
    unsafe set.initialize(to: EpollSet(buckets: b.assumingMemoryBound(to: UnsafeMutablePointer<Member>?.self)))
    unsafe set.pointee.fd = fd
    guard DescriptorTable.set(fd, DescriptorTable.word(kind: 2, address: UInt(bitPattern: set), generation: 0)) else { return }
    unsafe set.pointee.next = unsafe process.sets?.assumingMemoryBound(to: EpollSet.self)
    unsafe process.sets = UnsafeMutableRawPointer(set)
}

extension EpollSet {
    static func of(_ entry: UInt64) -> Set { unsafe Set(bitPattern: DescriptorTable.address(entry)).unsafelyUnwrapped }

    static func each(_ body: (Set) -> Void) {
        var s = unsafe process.sets?.assumingMemoryBound(to: EpollSet.self)
        while let set = unsafe s {
            unsafe s = unsafe set.pointee.next
            unsafe body(set)
        }
    }

    // MARK: life

    static func duplicated(_ entry: UInt64) {
        unsafe process.lock.acquire()
        unsafe of(entry).pointee.descriptors += 1
        unsafe process.lock.release()
    }

    /// A descriptor of the set is being closed.
    static func closed(_ entry: UInt64, _ fd: Int32) {
        let set = unsafe of(entry)
        unsafe process.lock.acquire()
        unsafe set.pointee.descriptors -= 1
        let last = unsafe set.pointee.descriptors == 0
        if last { unsafe unlink(set) }
        unsafe process.lock.release()
        guard last else { return }
        unsafe set.pointee.lock.acquire()
        // Calls that sleep in it go on, as in the kernel; the last of them cleans up.
        if unsafe set.pointee.waiter != nil && set.pointee.sleepers > 0 { unsafe set.pointee.kept = OwnDescriptor.duplicate(fd) }
        let kept = unsafe set.pointee.kept >= 0
        unsafe set.pointee.lock.release()
        if !kept { unsafe cleanUp(set) }
    }

    static func cleanUp(_ set: Set) {
        unsafe set.pointee.lock.acquire()
        var i = 0
        while unsafe i < set.pointee.bucketCount {
            while let m = unsafe set.pointee.buckets[i] { unsafe set.remove(m) }
            i += 1
        }
        let waiter = unsafe set.pointee.waiter
        unsafe set.pointee.waiter = nil
        unsafe set.pointee.lock.release()
        if let waiter = unsafe waiter { unsafe Waiter.retire(waiter) }
    }

    private static func unlink(_ set: Set) {
        if unsafe process.sets == UnsafeMutableRawPointer(set) {
            unsafe process.sets = unsafe set.pointee.next.map { UnsafeMutableRawPointer($0) }
            return
        }
        unsafe each { if unsafe $0.pointee.next == set { unsafe $0.pointee.next = unsafe set.pointee.next } }
    }

    /// The last descriptor of this process for the endpoint is being closed: the kernel drops it from its sets, so do we.
    static func endpointLeaves(_ e: Endpoint) {
        while let m = unsafe e.local.pointee.memberships?.assumingMemoryBound(to: Member.self) {
            let set = unsafe m.pointee.set
            unsafe set.pointee.lock.acquire()
            if unsafe e.local.pointee.memberships == UnsafeMutableRawPointer(m) { unsafe set.remove(m) }
            unsafe set.pointee.lock.release()
        }
    }

    /// A connection has got its lane: its members get our registration.
    static func laneAttached(_ e: Endpoint) {
        unsafe each { set in
            unsafe set.pointee.lock.acquire()
            while let m = unsafe set.unattached(e) {
                unsafe set.takeOver(m, isRegistered: true)
                guard unsafe m.pointee.watch != nil else { break }
                unsafe set.enqueue(m, isNew: false)
                unsafe set.wakeOwn()
            }
            unsafe set.pointee.lock.release()
        }
    }

    /// A non-blocking send found the ring full: sets that watch for OUT are told when a third is free.
    static func wantsSpace(_ e: Endpoint) {
        unsafe process.lock.acquire()
        var next = unsafe e.local.pointee.memberships?.assumingMemoryBound(to: Member.self)
        while let m = unsafe next {
            unsafe next = unsafe m.pointee.nextOfEndpoint
            unsafe m.pointee.seenEvents &= ~Readiness.OUT
            guard let w = unsafe m.pointee.watch, unsafe m.pointee.events & Readiness.OUT != 0, let tx = unsafe e.txDirection
            else { continue }
            if unsafe e.tx.pointee.phase & 1 == 0 {
                unsafe m.armKernelSpace()
                continue
            }
            _ = unsafe slc_or_u64(sl_space_waiters(tx), 1 << UInt64(w.pointee.index))
            if unsafe Readiness.ring(e) & Readiness.OUT != 0 {
                let word = unsafe sl_region_waiter(w.pointee.region, w.pointee.side, w.pointee.index)!
                _ = unsafe slc_or_u64(&word.pointee.ready, 1 << UInt64(e.pointee.slot & 63))
                unsafe m.pointee.set.wakeOwn()
            }
        }
        unsafe process.lock.release()
    }

    /// Somebody looks at the set from outside (an outer set, poll): from now on peers ring its bell though nobody sleeps in
    /// it, and the bell tells the truth at each look.
    static func watchedFromOutside(_ entry: UInt64) {
        let set = unsafe of(entry)
        unsafe set.pointee.lock.acquire()
        unsafe set.pointee.isWatched = true
        unsafe set.pointee.waiter?.pointee.isWatched = true
        unsafe set.tellTruth()
        unsafe set.pointee.lock.release()
    }

    /// Before and after a look at an outer set.
    static func refreshWatched() {
        unsafe each {
            guard unsafe $0.pointee.isWatched else { return }
            unsafe $0.pointee.lock.acquire()
            unsafe $0.tellTruth()
            unsafe $0.pointee.lock.release()
        }
    }

    /// The pair is about to go. False: a call may still look at what belongs to it.
    static func forget(_ pair: UnsafeMutablePointer<Pair>) -> Bool {
        var isQuiet = true
        unsafe each { set in
            unsafe set.pointee.lock.acquire()
            unsafe set.removeWatches(of: pair)
            if unsafe set.isLookedAt { isQuiet = false }
            unsafe set.pointee.lock.release()
        }
        return isQuiet
    }

    static func renumber(_ old: Int32, _ new: Int32) {
        unsafe each { if let w = unsafe $0.pointee.waiter, unsafe w.pointee.bell == old { unsafe w.pointee.bell = new } }
    }

    /// Before bells and channels are closed: a duplicate that a peer holds would keep them in the kernel's sets.
    static func retireBells() {
        unsafe each { set in
            unsafe set.pointee.lock.acquire()
            var event = unsafe epoll_event()
            if let w = unsafe set.pointee.waiter, unsafe !set.pointee.isWatched {
                _ = unsafe slc_epoll_ctl(set.pointee.fd, EPOLL_CTL_DEL, w.pointee.bell, &event)
            }
            var next = unsafe set.pointee.watches
            while let w = unsafe next {
                unsafe next = unsafe w.pointee.next
                _ = unsafe slc_epoll_ctl(set.pointee.fd, EPOLL_CTL_DEL, w.pointee.pair.pointee.channel, &event)
            }
            unsafe set.pointee.lock.release()
        }
    }

    // MARK: fork (process lock held)

    static func lockAll() {
        unsafe each {
            unsafe $0.pointee.lock.acquire()
            unsafe $0.pointee.isShared = true
        }
    }
    static func unlockAll() { unsafe each { unsafe $0.pointee.lock.release() } }
    static func resetLocks() { unsafe each { unsafe $0.pointee.lock.resetAfterFork() } }

    /// In a fork child: bells and waiters are the parent's; the child looks every few milliseconds.
    static func inheritedByChild() {
        unsafe each {
            unsafe $0.pointee.isInherited = true
            unsafe $0.pointee.sleepers = 0
            unsafe $0.pointee.lookers = 0
        }
    }
}

/// What the kernel set reports for members on a lane: numbers that no other member's data will be.
enum Tags {
    /// Tables of 512 members.
    nonisolated(unsafe) private static var chunks: UnsafeMutablePointer<UnsafeMutablePointer<UInt64>?>? = nil
    nonisolated(unsafe) private static var used: UInt32 = 0
    nonisolated(unsafe) private static var free: UInt32 = 0
    nonisolated(unsafe) private static var secret: UInt64 = 0

    static var bell: UInt64 { unsafe secret | 0xffff_ffff }
    /// A control channel of one of the set's pairs.
    static var channel: UInt64 { unsafe secret | 0xffff_fffe }

    /// Under the process lock. 0: none left.
    static func take(_ m: UnsafeMutablePointer<Member>) -> UInt64 {
        if unsafe chunks == nil {
            unsafe chunks = unsafe process.pool.take(8192 * 8)?.assumingMemoryBound(to: UnsafeMutablePointer<UInt64>?.self)
            prepare()
        }
        guard let chunks = unsafe chunks else { return 0 }
        var index = unsafe free
        if index != 0 {
            unsafe free = unsafe UInt32(truncatingIfNeeded: chunks[Int(index >> 9)].unsafelyUnwrapped[Int(index & 511)] >> 1)
        } else {
            index = unsafe used &+ 1
            guard index < 8192 << 9 else { return 0 }
            if unsafe chunks[Int(index >> 9)] == nil {
                guard let p = unsafe process.pool.take(4096) else { return 0 }
                unsafe chunks[Int(index >> 9)] = unsafe p.assumingMemoryBound(to: UInt64.self)
            }
            unsafe used = index
        }
        unsafe chunks[Int(index >> 9)].unsafelyUnwrapped[Int(index & 511)] = UInt64(UInt(bitPattern: m))
        return unsafe secret | UInt64(index)
    }

    static func give(_ tag: UInt64) {
        guard tag != 0, let chunks = unsafe chunks else { return }
        let index = UInt32(truncatingIfNeeded: tag)
        // An odd word is no member but the next free number.
        unsafe chunks[Int(index >> 9)].unsafelyUnwrapped[Int(index & 511)] = unsafe UInt64(free) << 1 | 1
        unsafe free = index
    }

    @inline(__always) static func isOurs(_ data: UInt64) -> Bool { unsafe secret != 0 && data & ~0xffff_ffff == secret }

    static func member(_ data: UInt64) -> UnsafeMutablePointer<Member>? {
        let index = UInt32(truncatingIfNeeded: data)
        guard let chunks = unsafe chunks, unsafe index <= used, index != 0, let c = unsafe chunks[Int(index >> 9)] else {
            return nil
        }
        let word = unsafe c[Int(index & 511)]
        return unsafe word & 1 == 1 ? nil : UnsafeMutablePointer<Member>(bitPattern: UInt(word))
    }

    static func prepare() {
        if unsafe secret == 0 { unsafe secret = unsafe (process.nonce ^ slc_tsc() << 32) & ~0xffff_ffff | 1 << 63 }
    }
}
