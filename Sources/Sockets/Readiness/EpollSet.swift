import CLinux
import CStackLayout
import Counters
import Settings
import SharedMemory
import Stacks

/// One region in which an epoll set has members: our waiter there and who stands in which slot. A private record.
struct Watch {
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
struct Member {
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
struct EpollSet {
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
        process.lock.acquire()
        defer { process.lock.release() }
        var next = e.local.pointee.memberships?.assumingMemoryBound(to: Member.self)
        while let m = next {
            if m.pointee.set == self && m.pointee.watch == nil { return m }
            next = m.pointee.nextOfEndpoint
        }
        return nil
    }

    @inline(__always) func fallAsleep() { _ = withUnsafeMutablePointer(to: &pointee.sleepers) { slc_add_u32($0, 1) } }
    @inline(__always) func beginLooking() { _ = withUnsafeMutablePointer(to: &pointee.lookers) { slc_add_u32($0, 1) } }
    @inline(__always) func endLooking() { _ = withUnsafeMutablePointer(to: &pointee.lookers) { slc_sub_u32($0, 1) } }
    /// A full fence: whoever begins to look afterwards sees what was changed before.
    var isLookedAt: Bool { withUnsafeMutablePointer(to: &pointee.lookers) { slc_add_u32($0, 0) } != 0 }
    /// How many sleep still.
    @inline(__always) func wakeUp() -> UInt32 { withUnsafeMutablePointer(to: &pointee.sleepers) { slc_sub_u32($0, 1) } &- 1 }
}

@c(sluice_made_epoll) public func madeEpoll(_ fd: Int32) {
    process.start()
    madeOther(fd)
    guard process.isOwner, process.settings.tcp else { return }
    process.lock.acquire()
    defer { process.lock.release() }
    guard let m = process.pool.take(MemoryLayout<EpollSet>.stride), let b = process.pool.take(64 * 8) else { return }
    let set = m.assumingMemoryBound(to: EpollSet.self)
    set.initialize(to: EpollSet(buckets: b.assumingMemoryBound(to: UnsafeMutablePointer<Member>?.self)))
    set.pointee.fd = fd
    guard DescriptorTable.set(fd, DescriptorTable.word(kind: 2, address: UInt(bitPattern: set), generation: 0)) else { return }
    set.pointee.next = process.sets?.assumingMemoryBound(to: EpollSet.self)
    process.sets = UnsafeMutableRawPointer(set)
}

extension EpollSet {
    static func of(_ entry: UInt64) -> Set { Set(bitPattern: DescriptorTable.address(entry)).unsafelyUnwrapped }

    static func each(_ body: (Set) -> Void) {
        var s = process.sets?.assumingMemoryBound(to: EpollSet.self)
        while let set = s {
            s = set.pointee.next
            body(set)
        }
    }

    // MARK: life

    static func duplicated(_ entry: UInt64) {
        process.lock.acquire()
        of(entry).pointee.descriptors += 1
        process.lock.release()
    }

    /// A descriptor of the set is being closed.
    static func closed(_ entry: UInt64, _ fd: Int32) {
        let set = of(entry)
        process.lock.acquire()
        set.pointee.descriptors -= 1
        let last = set.pointee.descriptors == 0
        if last { unlink(set) }
        process.lock.release()
        guard last else { return }
        set.pointee.lock.acquire()
        // Calls that sleep in it go on, as in the kernel; the last of them cleans up.
        if set.pointee.waiter != nil && set.pointee.sleepers > 0 { set.pointee.kept = OwnDescriptor.duplicate(fd) }
        let kept = set.pointee.kept >= 0
        set.pointee.lock.release()
        if !kept { cleanUp(set) }
    }

    static func cleanUp(_ set: Set) {
        set.pointee.lock.acquire()
        var i = 0
        while i < set.pointee.bucketCount {
            while let m = set.pointee.buckets[i] { set.remove(m) }
            i += 1
        }
        let waiter = set.pointee.waiter
        set.pointee.waiter = nil
        set.pointee.lock.release()
        if let waiter { Waiter.retire(waiter) }
    }

    private static func unlink(_ set: Set) {
        if process.sets == UnsafeMutableRawPointer(set) {
            process.sets = set.pointee.next.map { UnsafeMutableRawPointer($0) }
            return
        }
        each { if $0.pointee.next == set { $0.pointee.next = set.pointee.next } }
    }

    /// The last descriptor of this process for the endpoint is being closed: the kernel drops it from its sets, so do we.
    static func endpointLeaves(_ e: Endpoint) {
        while let m = e.local.pointee.memberships?.assumingMemoryBound(to: Member.self) {
            let set = m.pointee.set
            set.pointee.lock.acquire()
            if e.local.pointee.memberships == UnsafeMutableRawPointer(m) { set.remove(m) }
            set.pointee.lock.release()
        }
    }

    /// A connection has got its lane: its members get our registration.
    static func laneAttached(_ e: Endpoint) {
        each { set in
            set.pointee.lock.acquire()
            while let m = set.unattached(e) {
                set.takeOver(m, isRegistered: true)
                guard m.pointee.watch != nil else { break }
                set.enqueue(m, isNew: false)
                set.wakeOwn()
            }
            set.pointee.lock.release()
        }
    }

    /// A non-blocking send found the ring full: sets that watch for OUT are told when a third is free.
    static func wantsSpace(_ e: Endpoint) {
        process.lock.acquire()
        var next = e.local.pointee.memberships?.assumingMemoryBound(to: Member.self)
        while let m = next {
            next = m.pointee.nextOfEndpoint
            m.pointee.seenEvents &= ~Readiness.OUT
            guard let w = m.pointee.watch, m.pointee.events & Readiness.OUT != 0, let tx = e.txDirection else { continue }
            if e.tx.pointee.phase & 1 == 0 {
                m.armKernelSpace()
                continue
            }
            _ = slc_or_u64(sl_space_waiters(tx), 1 << UInt64(w.pointee.index))
            if Readiness.ring(e) & Readiness.OUT != 0 {
                let word = sl_region_waiter(w.pointee.region, w.pointee.side, w.pointee.index)!
                _ = slc_or_u64(&word.pointee.ready, 1 << UInt64(e.pointee.slot & 63))
                m.pointee.set.wakeOwn()
            }
        }
        process.lock.release()
    }

    /// Somebody looks at the set from outside (an outer set, poll): from now on peers ring its bell though nobody sleeps in
    /// it, and the bell tells the truth at each look.
    static func watchedFromOutside(_ entry: UInt64) {
        let set = of(entry)
        set.pointee.lock.acquire()
        set.pointee.isWatched = true
        set.tellTruth()
        set.pointee.lock.release()
    }

    /// Before and after a look at an outer set.
    static func refreshWatched() {
        each {
            guard $0.pointee.isWatched else { return }
            $0.pointee.lock.acquire()
            $0.tellTruth()
            $0.pointee.lock.release()
        }
    }

    /// The pair is about to go. False: a call may still look at what belongs to it.
    static func forget(_ pair: UnsafeMutablePointer<Pair>) -> Bool {
        var isQuiet = true
        each { set in
            set.pointee.lock.acquire()
            set.removeWatches(of: pair)
            if set.isLookedAt { isQuiet = false }
            set.pointee.lock.release()
        }
        return isQuiet
    }

    static func renumber(_ old: Int32, _ new: Int32) {
        each { if let w = $0.pointee.waiter, w.pointee.bell == old { w.pointee.bell = new } }
    }

    // MARK: fork (process lock held)

    static func lockAll() {
        each {
            $0.pointee.lock.acquire()
            $0.pointee.isShared = true
        }
    }
    static func unlockAll() { each { $0.pointee.lock.release() } }
    static func resetLocks() { each { $0.pointee.lock.resetAfterFork() } }

    /// In a fork child: bells and waiters are the parent's; the child looks every few milliseconds.
    static func inheritedByChild() {
        each {
            $0.pointee.isInherited = true
            $0.pointee.sleepers = 0
            $0.pointee.lookers = 0
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

    static var bell: UInt64 { secret | 0xffff_ffff }
    /// A control channel of one of the set's pairs.
    static var channel: UInt64 { secret | 0xffff_fffe }

    /// Under the process lock. 0: none left.
    static func take(_ m: UnsafeMutablePointer<Member>) -> UInt64 {
        if chunks == nil {
            chunks = process.pool.take(8192 * 8)?.assumingMemoryBound(to: UnsafeMutablePointer<UInt64>?.self)
            prepare()
        }
        guard let chunks else { return 0 }
        var index = free
        if index != 0 {
            free = UInt32(truncatingIfNeeded: chunks[Int(index >> 9)].unsafelyUnwrapped[Int(index & 511)] >> 1)
        } else {
            index = used &+ 1
            guard index < 8192 << 9 else { return 0 }
            if chunks[Int(index >> 9)] == nil {
                guard let p = process.pool.take(4096) else { return 0 }
                chunks[Int(index >> 9)] = p.assumingMemoryBound(to: UInt64.self)
            }
            used = index
        }
        chunks[Int(index >> 9)].unsafelyUnwrapped[Int(index & 511)] = UInt64(UInt(bitPattern: m))
        return secret | UInt64(index)
    }

    static func give(_ tag: UInt64) {
        guard tag != 0, let chunks else { return }
        let index = UInt32(truncatingIfNeeded: tag)
        // An odd word is no member but the next free number.
        chunks[Int(index >> 9)].unsafelyUnwrapped[Int(index & 511)] = UInt64(free) << 1 | 1
        free = index
    }

    @inline(__always) static func isOurs(_ data: UInt64) -> Bool { secret != 0 && data & ~0xffff_ffff == secret }

    static func member(_ data: UInt64) -> UnsafeMutablePointer<Member>? {
        let index = UInt32(truncatingIfNeeded: data)
        guard let chunks, index <= used, index != 0, let c = chunks[Int(index >> 9)] else { return nil }
        let word = c[Int(index & 511)]
        return word & 1 == 1 ? nil : UnsafeMutablePointer<Member>(bitPattern: UInt(word))
    }

    static func prepare() {
        if secret == 0 { secret = (process.nonce ^ slc_tsc() << 32) & ~0xffff_ffff | 1 << 63 }
    }
}
