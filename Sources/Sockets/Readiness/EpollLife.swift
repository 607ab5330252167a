import CLinux
import CStackLayout
import Settings
import SharedMemory
import Stacks

// How epoll sets come and go. Locks are taken in this order, some of them left out: `ProcessState.setsLock` (the lists of
// sets), a set's lock (several only by a fork, in the order of the list), the lock of an endpoint's half, and
// `ProcessState.lock`. Whoever walks the list of sets holds its lock.

@c(sluice_made_epoll) public func madeEpoll(_ fd: Int32) {
    unsafe process.start()
    madeOther(fd)
    guard unsafe process.isOwner, unsafe process.settings.tcp || process.settings.udp else { return }
    unsafe process.setsLock.acquire()
    defer { unsafe process.setsLock.release() }
    guard let set = unsafe EpollSet.record(fd) else { return }
    let generation = unsafe set.pointee.generation
    unsafe process.lock.acquire()
    let fits = DescriptorTable.set(
        fd, DescriptorTable.word(kind: 2 | DescriptorTable.plainSet, address: UInt(bitPattern: set), generation: generation))
    unsafe process.lock.release()
    guard fits else {
        unsafe EpollSet.giveBack(set)
        return
    }
    unsafe set.pointee.next = unsafe process.sets?.assumingMemoryBound(to: EpollSet.self)
    unsafe process.sets = UnsafeMutableRawPointer(set)
}

extension EpollSet {
    @inline(__always) static func of(_ entry: UInt64) -> Set {
        unsafe Set(bitPattern: DescriptorTable.address(entry)).unsafelyUnwrapped
    }

    /// The set that the table's word names, with its lock taken; nil: it has been closed.
    static func locked(_ entry: UInt64) -> Set? {
        let set = unsafe of(entry)
        unsafe set.pointee.lock.acquire()
        if unsafe set.isNamed(by: entry) { return unsafe set }
        unsafe set.pointee.lock.release()
        return nil
    }

    /// Looks at the set go through us from now on. `change` makes it so, under the process lock.
    static func serve(_ set: Set, _ change: () -> Void) {
        unsafe process.lock.acquire()
        if unsafe !set.pointee.isServed {
            unsafe set.pointee.isServed = true
            DescriptorTable.each { fd, entry in
                if unsafe DescriptorTable.kind(entry) == 2 && of(entry) == set {
                    DescriptorTable.set(fd, entry & ~DescriptorTable.plainSet)
                }
                return true
            }
        }
        change()
        unsafe process.lock.release()
    }

    /// Under `setsLock`.
    static func each(_ body: (Set) -> Void) {
        var s = unsafe process.sets?.assumingMemoryBound(to: EpollSet.self)
        while let set = unsafe s {
            unsafe s = unsafe set.pointee.next
            unsafe body(set)
        }
    }

    /// `body` has each set with its lock taken, one at a time.
    static func eachLocked(_ body: (Set) -> Void) {
        unsafe process.setsLock.acquire()
        unsafe each { set in
            unsafe set.pointee.lock.acquire()
            unsafe body(set)
            unsafe set.pointee.lock.release()
        }
        unsafe process.setsLock.release()
    }

    /// A record for a new set. Under `setsLock`.
    fileprivate static func record(_ fd: Int32) -> Set? {
        unsafe process.lock.acquire()
        let table = unsafe process.pool.take(64 * 8)
        var fresh: UnsafeMutableRawPointer? = nil
        if unsafe process.freeSets == nil { unsafe fresh = unsafe process.pool.take(MemoryLayout<EpollSet>.stride) }
        unsafe process.lock.release()
        guard let buckets = unsafe table?.assumingMemoryBound(to: UnsafeMutablePointer<Member>?.self) else { return nil }
        if let set = unsafe process.freeSets?.assumingMemoryBound(to: EpollSet.self) {
            unsafe process.freeSets = unsafe set.pointee.next.map { UnsafeMutableRawPointer($0) }
            unsafe set.pointee.lock.acquire()
            unsafe set.begin(fd, buckets)
            unsafe set.pointee.lock.release()
            return unsafe set
        }
        guard let set = unsafe fresh?.assumingMemoryBound(to: EpollSet.self) else {
            unsafe process.lock.acquire()
            unsafe process.pool.give(UnsafeMutableRawPointer(buckets), 64 * 8)
            unsafe process.lock.release()
            return nil
        }
        unsafe set.initialize(to: EpollSet(buckets: buckets))
        unsafe set.pointee.fd = fd
        return unsafe set
    }

    /// A record that nobody names any more, without its table of members. Under `setsLock`.
    fileprivate static func giveBack(_ set: Set) {
        unsafe process.lock.acquire()
        unsafe process.pool.give(UnsafeMutableRawPointer(set.pointee.buckets), set.pointee.bucketCount * 8)
        unsafe process.lock.release()
        unsafe set.pointee.next = unsafe process.freeSets?.assumingMemoryBound(to: EpollSet.self)
        unsafe process.freeSets = UnsafeMutableRawPointer(set)
    }

    static func duplicated(_ entry: UInt64) {
        unsafe process.setsLock.acquire()
        unsafe of(entry).pointee.descriptors += 1
        unsafe process.setsLock.release()
    }

    /// A descriptor of the set is being closed.
    static func closed(_ entry: UInt64, _ fd: Int32) {
        let set = unsafe of(entry)
        unsafe process.setsLock.acquire()
        unsafe set.pointee.descriptors -= 1
        let last = unsafe set.pointee.descriptors == 0
        if last { unsafe unlink(set) }
        unsafe process.setsLock.release()
        guard last else { return }
        unsafe set.pointee.lock.acquire()
        unsafe slc_set_u32(&set.pointee.generation, set.pointee.generation &+ 1)
        unsafe set.pointee.isClosed = true
        unsafe set.leaveShare()
        // Calls that are in it go on, as in the kernel; the last of them cleans up.
        if unsafe set.isVisited {
            unsafe process.lock.acquire()
            unsafe set.pointee.kept = OwnDescriptor.duplicate(fd)
            unsafe process.lock.release()
        }
        let isVisited = unsafe set.isVisited
        unsafe set.pointee.lock.release()
        if !isVisited { unsafe finish(set) }
    }

    private static func unlink(_ set: Set) {
        if unsafe process.sets == UnsafeMutableRawPointer(set) {
            unsafe process.sets = unsafe set.pointee.next.map { UnsafeMutableRawPointer($0) }
            return
        }
        unsafe each { if unsafe $0.pointee.next == set { unsafe $0.pointee.next = unsafe set.pointee.next } }
    }

    /// The set is closed and no call is inside, or was when the caller looked: whoever finds it so cleans up.
    @inline(never) static func finish(_ set: Set) {
        unsafe set.pointee.lock.acquire()
        guard unsafe set.pointee.isClosed && !set.isVisited else {
            unsafe set.pointee.lock.release()
            return
        }
        unsafe set.pointee.isClosed = false
        var i = 0
        while unsafe i < set.pointee.bucketCount {
            while let m = unsafe set.pointee.buckets[i] { unsafe set.remove(m) }
            i += 1
        }
        unsafe set.dropWatches()
        unsafe process.lock.acquire()
        unsafe OwnDescriptor.close(set.pointee.kept)
        unsafe set.pointee.kept = -1
        unsafe process.lock.release()
        unsafe set.pointee.lock.release()
        unsafe process.setsLock.acquire()
        unsafe giveBack(set)
        unsafe process.setsLock.release()
    }

    // MARK: fork

    /// Locks all. Then everything that a child will have stands still.
    static func prepareFork() {
        unsafe process.setsLock.acquire()
        let isOwner = unsafe process.isOwner
        unsafe each {
            unsafe $0.pointee.lock.acquire()
            if isOwner { unsafe $0.share() }
        }
    }

    /// There is no child.
    static func forkFailed(_ fork: UInt32) {
        unsafe eachLocked { set in
            guard unsafe set.pointee.lastFork == fork, let s = unsafe set.pointee.share else { return }
            _ = unsafe slc_sub_u32(sl_holders(s), 1)
            unsafe set.pointee.lastFork = 0
        }
    }

    static func endFork() {
        unsafe each { unsafe $0.pointee.lock.release() }
        unsafe process.setsLock.release()
    }

    /// In a fork child: bells and waiters are the parent's; the child looks every few milliseconds.
    static func inheritedByChild() {
        ShareMemory.isTheParents()
        unsafe each {
            unsafe $0.pointee.lock.resetAfterFork()
            unsafe $0.pointee.isInherited = true
            unsafe $0.pointee.isGuest = unsafe $0.pointee.waiter != nil
            unsafe $0.pointee.calls = 0
        }
        unsafe process.setsLock.resetAfterFork()
    }
}

extension UnsafeMutablePointer where Pointee == EpollSet {
    /// The record serves another set now. Under the lock, which a late call for the last one may want too.
    fileprivate func begin(_ fd: Int32, _ buckets: UnsafeMutablePointer<UnsafeMutablePointer<Member>?>) {
        unsafe pointee.fd = fd
        unsafe pointee.descriptors = 1
        unsafe pointee.closing = 0
        unsafe pointee.isWatched = false
        unsafe pointee.isServed = false
        unsafe pointee.hasInner = false
        unsafe pointee.hasNumberless = false
        unsafe pointee.firstRings = nil
        unsafe pointee.hasWriter = false
        unsafe pointee.awaitsSpace = 0
        unsafe pointee.spaceLook = 0
        unsafe pointee.kernelFirst = false
        unsafe pointee.fullLooks = 0
        unsafe pointee.isInherited = false
        unsafe pointee.isGuest = false
        unsafe pointee.givesLanes = false
        unsafe pointee.kernelLook = 0
        unsafe pointee.average = 0
        unsafe pointee.trial = 0
        unsafe pointee.buckets = unsafe buckets
        unsafe pointee.bucketCount = 64
    }

    /// Its waiter and watches, when no member is on a lane any more.
    func dropWatches() {
        let isLookedAt = unsafe self.isLookedAt
        let waiter = unsafe pointee.waiter
        unsafe pointee.waiter = nil
        unsafe pointee.isGuest = false
        unsafe pointee.hasNumberless = false
        unsafe process.lock.acquire()
        while let w = unsafe pointee.watches {
            unsafe pointee.watches = unsafe w.pointee.next
            // A record that a call may still look at is not given back.
            if !isLookedAt { unsafe giveBack(w) }
        }
        unsafe process.lock.release()
        if let waiter = unsafe waiter { unsafe Waiter.retire(waiter) }
    }

    /// Under the process lock.
    func giveBack(_ w: UnsafeMutablePointer<Watch>) {
        unsafe process.pool.give(UnsafeMutableRawPointer(w.pointee.members), 64 * 8)
        unsafe process.pool.give(UnsafeMutableRawPointer(w), MemoryLayout<Watch>.stride)
    }
}
