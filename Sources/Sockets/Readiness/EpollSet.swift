import CLinux
import CStackLayout
import SharedMemory
import Stacks

/// One region in which an epoll set has members: our waiter there and who stands in which slot. A private record.
@safe struct Watch {
    var next: UnsafeMutablePointer<Watch>? = nil
    var region: Region
    var pair: UnsafeMutablePointer<Pair>
    var side: Int
    /// Our waiter's number in the pair; -1: it got none, and the members' lanes go back to the kernel. Until each is there the
    /// set looks at it every millisecond.
    var index: Int
    /// Member (address) per slot; several by `Member.nextOfSlot`.
    var members: UnsafeMutablePointer<UnsafeMutablePointer<Member>?>

    /// Our waiter's bit in the masks of a slot; none without a number.
    @inline(__always) var bit: UInt64 { index < 0 ? 0 : 1 &<< UInt64(truncatingIfNeeded: index) }
    /// Our waiter's words in the region.
    @inline(__always) var word: UnsafeMutablePointer<sl_waiter>? {
        unsafe index < 0 ? nil : sl_region_waiter(region, side, index)
    }
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
    /// 1: a send has found no room since that look. Atomic.
    var lostSpace: UInt32 = 0
    /// 1: its number is closed, so that the kernel's set cannot be told to watch for room. Atomic.
    var looksForSpace: UInt32 = 0
    var kernelNews = false
    var isDisarmed = false
    /// Taken out by the program, while our registration stays: programs that take a socket out and put it in again for each
    /// message pay no system call.
    var isParked = false
    /// A UDP socket with lanes: the set looks at its rings (EpollRings). It stands in a list by `nextOfSlot`.
    var watchesRings = false
    /// What the kernel's set was found to hold for it: its number at all, and under our tag.
    var isInKernel = false
    var hasTag = false
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
    /// Would room for a send be reported?
    var isAskedForSpace: Bool { events & Readiness.OUT != 0 && !isDisarmed && !isParked }
}

/// An epoll set of the program. The kernel's set keeps all members and our bell; of members on a lane it reports the
/// changes of the kernel socket, edge-triggered, under a tag of ours. What rings report is kept here. A private record;
/// all but `calls` and the counts is under `lock`. The memory of a closed set becomes another set's, and never anything
/// else: a call that comes late finds a lock, and by `generation` that the set is not its own.
@safe struct EpollSet {
    /// In the list of sets, or of records of closed ones.
    var next: UnsafeMutablePointer<EpollSet>? = nil
    var lock = PrivateLock()
    /// Grows with each close. What the descriptor table says of a set has it too.
    var generation: UInt32 = 0
    /// Calls inside without the lock, and (by 1 << 32) those of them that sleep in the kernel's set; atomic.
    var calls: UInt64 = 0
    /// Its last descriptor was closed: the last call inside cleans up.
    var isClosed = false
    var fd: Int32 = -1
    /// Under `ProcessState.setsLock`.
    var descriptors: Int32 = 1
    /// Descriptors that go with an exec under way.
    var closing: Int32 = 0
    /// Members on a lane. 0: every call is the kernel's.
    var laned: Int32 = 0
    /// It is a member of another set, or polled: the bell must ring though nobody sleeps in it.
    var isWatched = false
    /// Looks at it go through us (`serve`).
    var isServed = false
    /// It has other sets as members.
    var hasInner = false
    /// A watch of it has no number.
    var hasNumberless = false
    /// A member may wait for space in a ring whose reader has stopped: looked at again after `Patience.slice`. Atomic.
    var awaitsSpace: UInt32 = 0
    /// Time stamp counter of the last such look.
    var spaceLook: UInt64 = 0
    /// Kernel events come first at every other look.
    var kernelFirst = false
    /// Looks that were full with rings' news since the kernel was asked.
    var fullLooks: UInt32 = 0
    /// Nil before the first fork.
    var share: UnsafeMutablePointer<sl_set_share>? = nil
    /// It came by a fork, and another process may have it too.
    var isInherited = false
    /// Waiter, watches and tags are those of the process that forked: nothing of them may be changed for others to see.
    var isGuest = false
    /// Members' lanes are to be handed back, without the lock.
    var givesLanes = false
    /// The set was closed while calls slept in it: its number for them.
    var kept: Int32 = -1
    /// Number of the last fork whose child was counted among the holders.
    var lastFork: UInt32 = 0
    var waiter: UnsafeMutablePointer<Waiter>? = nil
    var watches: UnsafeMutablePointer<Watch>? = nil
    /// Members that are UDP sockets with lanes.
    var firstRings: UnsafeMutablePointer<Member>? = nil
    /// One of them could not close a ring before this sleep.
    var hasWriter = false
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

// MARK: calls inside

extension UnsafeMutablePointer where Pointee == EpollSet {
    @inline(__always) private func add(_ n: UInt64) -> UInt64 {
        unsafe withUnsafeMutablePointer(to: &pointee.calls) { unsafe slc_add_u64($0, n) }
    }
    /// A full fence: whoever comes inside afterwards sees what was changed before.
    private var inside: (all: UInt64, asleep: UInt64) {
        let n = unsafe add(0)
        return (n & 0xffff_ffff, n >> 32)
    }

    /// Is it still the set that the table's word named? Exact under the lock or from inside.
    @inline(__always) func isNamed(by entry: UInt64) -> Bool {
        unsafe slc_relaxed_u32(&pointee.generation) & 0xffff == DescriptorTable.generation(entry)
    }

    /// False: the set has been closed. Else its record stays until `leave`.
    @inline(__always) func comeInside(_ entry: UInt64, asleep: Bool) -> Bool {
        _ = unsafe add(asleep ? 1 << 32 | 1 : 1)
        if unsafe isNamed(by: entry) { return true }
        unsafe leave(asleep: asleep)
        return false
    }

    @inline(__always) func leave(asleep: Bool) {
        let before = unsafe add(asleep ? ~(1 << 32) : ~0)
        if unsafe before & 0xffff_ffff == 1 && pointee.isClosed { unsafe EpollSet.finish(self) }
    }

    /// From inside.
    @inline(__always) func fallAsleep() { _ = unsafe add(1 << 32) }
    /// How many sleep still.
    @inline(__always) func wakeUp() -> UInt64 { unsafe (add(~0 << 32) >> 32) &- 1 }

    @inline(__always) var isSleptIn: Bool { unsafe sleeping != 0 }
    @inline(__always) var sleeping: Int { unsafe Int(slc_relaxed_u64(&pointee.calls) >> 32) }
    var isVisited: Bool { unsafe inside.all != 0 }
    /// May a call look at `watches` without the lock? One that sleeps doesn't.
    var isLookedAt: Bool {
        let n = unsafe inside
        return n.all != n.asleep
    }
}

/// A call that is inside a set; on its stack.
@safe struct Visit {
    var stay = unsafe slc_stay()
    let set: Set
    var isAsleep: Bool
    /// A fork in a handler: the child goes on in the call, but has begun to count anew.
    let owner: UInt64
    init(_ set: Set, asleep: Bool) {
        unsafe self.set = unsafe set
        isAsleep = asleep
        owner = unsafe process.nonce
    }

    mutating func fallAsleep() {
        isAsleep = true
        if isCounted { unsafe set.fallAsleep() }
    }
    /// True when nobody sleeps in the set any more.
    mutating func wakeUp() -> Bool {
        isAsleep = false
        return unsafe isCounted ? set.wakeUp() == 0 : !set.isSleptIn
    }
    @inline(__always) var isCounted: Bool { unsafe owner == process.nonce }

    /// Runs `body` inside the set, or returns nil: the set has been closed. A call that a handler leaves by siglongjmp, or
    /// that is cancelled, counts no more.
    @inline(__always)
    static func to(_ set: Set, _ entry: UInt64, asleep: Bool, _ body: (UnsafeMutablePointer<Visit>) -> Int) -> Int? {
        guard unsafe set.comeInside(entry, asleep: asleep) else { return nil }
        var visit = unsafe Visit(set, asleep: asleep)
        let r = unsafe withUnsafeMutablePointer(to: &visit) { v in
            unsafe slc_begin_stay(&v.pointee.stay, { p in unsafe Visit.left(p) }, v)
            let r = unsafe body(v)
            unsafe slc_end_stay(&v.pointee.stay)
            return r
        }
        if visit.isCounted { unsafe set.leave(asleep: visit.isAsleep) }
        return r
    }

    private static func left(_ p: UnsafeMutableRawPointer?) {
        guard let v = unsafe p?.assumingMemoryBound(to: Visit.self), unsafe v.pointee.isCounted else { return }
        let set = unsafe v.pointee.set
        if unsafe v.pointee.isAsleep && set.pointee.waiter != nil {
            unsafe set.pointee.lock.acquire()
            if unsafe v.pointee.wakeUp() && !set.pointee.isWatched { unsafe set.sayAwake() }
            unsafe set.pointee.lock.release()
        }
        unsafe set.leave(asleep: v.pointee.isAsleep)
    }
}
