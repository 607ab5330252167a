import CLinux
import CStackLayout
import Counters
import SharedMemory
import Stacks

// A set that a fork child has too. The kernel's set is one and the same; what rings report is private to the process that
// forked. As long as the child leaves the set alone, closes it, or ends, nothing changes. Once it uses the set, all is the
// kernel's: the process that forked puts the program's own events and data back into the kernel's set and hands the lanes
// back. Until it comes to that, the child (a guest in its set) looks at its copies of the members every few milliseconds.

/// Words for the sets that are shared, in pages that fork children share.
enum ShareMemory {
    nonisolated(unsafe) private static var next: UnsafeMutablePointer<sl_set_share>? = nil
    nonisolated(unsafe) private static var left = 0

    /// Zeroed. Under `setsLock`; never given back, since another process may have it still.
    static func take() -> UnsafeMutablePointer<sl_set_share>? {
        if unsafe left == 0 {
            guard let page = unsafe Memory.sharedByFork(Memory.pageBytes) else { return nil }
            unsafe next = unsafe page.assumingMemoryBound(to: sl_set_share.self)
            unsafe left = Memory.pageBytes / MemoryLayout<sl_set_share>.stride
        }
        guard let share = unsafe next else { return nil }
        unsafe next = unsafe share + 1
        unsafe left -= 1
        return unsafe share
    }

    /// In a fork child: what is left of the page is the parent's.
    static func isTheParents() { unsafe left = 0 }
}

extension EpollSet {
    /// Before exec: sets whose descriptors all go with it.
    static func leaveByExec() {
        DescriptorTable.each { fd, entry in
            guard DescriptorTable.kind(entry) == 2, slc_fcntl(fd, F_GETFD, 0) & 1 != 0 else { return true }
            let set = unsafe of(entry)
            unsafe set.pointee.closing += 1
            if let s = unsafe set.pointee.share, unsafe set.pointee.closing == set.pointee.descriptors {
                _ = unsafe slc_sub_u32(sl_holders(s), 1)
            }
            return true
        }
    }

    /// The process ends; the thread may have been interrupted anywhere.
    static func leaveAll() {
        guard unsafe process.setsLock.tryAcquire() else { return }
        unsafe each { unsafe $0.leaveShare() }
        unsafe process.setsLock.release()
    }

    /// exec has failed.
    static func stay() {
        unsafe eachLocked { set in
            if let s = unsafe set.pointee.share, unsafe set.pointee.closing == set.pointee.descriptors {
                _ = unsafe slc_add_u32(sl_holders(s), 1)
            }
            unsafe set.pointee.closing = 0
        }
    }
}

extension UnsafeMutablePointer where Pointee == EpollSet {
    /// Another process has the kernel's set too.
    @inline(__always) var isShared: Bool {
        guard let s = unsafe pointee.share else { return false }
        return unsafe slc_relaxed_u32(sl_holders(s)) > 1
    }

    /// Several processes use it: what it has as members must come by the kernel.
    var isKernelOnly: Bool {
        guard let s = unsafe pointee.share else { return false }
        return unsafe slc_relaxed_u32(sl_used(s)) != 0 && slc_relaxed_u32(sl_holders(s)) > 1
    }

    /// Before a fork: one more process will have it. Under the locks of the list and the set.
    func share() {
        if unsafe pointee.share == nil {
            let share = unsafe ShareMemory.take()
            unsafe EpollSet.serve(self) { unsafe pointee.share = unsafe share }
            if let s = unsafe pointee.share { unsafe slc_set_u32(sl_holders(s), 1) }
        }
        guard let s = unsafe pointee.share else { return }
        if unsafe slc_relaxed_u32(sl_holders(s)) == 1 {
            unsafe slc_set_u32(sl_used(s), 0)
            unsafe slc_set_u32(sl_yielded(s), 0)
        }
        _ = unsafe slc_add_u32(sl_holders(s), 1)
        unsafe pointee.lastFork = unsafe slc_self()!.pointee.fork
        Tags.prepare()
    }

    /// This process has it no more.
    func leaveShare() {
        if let s = unsafe pointee.share { _ = unsafe slc_sub_u32(sl_holders(s), 1) }
        unsafe pointee.share = nil
    }

    /// Before each use of a set with a share: takes note of what others did, or tells them that they are not alone.
    @inline(never) func meetSharers(_ entry: UInt64) {
        guard let s = unsafe pointee.share, unsafe pointee.isInherited || pointee.givesLanes || isUsed(s) else { return }
        guard unsafe EpollSet.locked(entry) != nil else { return }
        unsafe settle()
        let gives = unsafe pointee.givesLanes
        unsafe pointee.givesLanes = false
        unsafe pointee.lock.release()
        if gives { unsafe handBackUnwatched() }
    }

    /// For the process that forked: has another one used the set since this one looked?
    @inline(__always) private func isUsed(_ s: UnsafeMutablePointer<sl_set_share>) -> Bool {
        unsafe slc_acquire_u32(sl_used(s)) != 0 && slc_relaxed_u32(sl_yielded(s)) == 0
    }

    /// Takes what peers have set, and behind that a look at what other processes have done to the set: what a sharer changed
    /// before the peer sent must be seen in the report. Under the lock.
    @inline(__always) func takeNews() {
        unsafe takeBits()
        if unsafe pointee.firstRings != nil { unsafe takeRings() }
        if unsafe pointee.share != nil { unsafe settle() }
        unsafe lookForSpace()
    }

    /// Under the lock.
    func settle() {
        guard let s = unsafe pointee.share else { return }
        let isAlone = unsafe slc_acquire_u32(sl_holders(s)) == 1
        guard unsafe pointee.isInherited else {
            if unsafe isUsed(s) { unsafe yield(s, isAlone) }
            return
        }
        if isAlone { return unsafe adopt() }
        let isFirst = unsafe slc_exchange_u32(sl_used(s), 1) == 0
        if isFirst { unsafe pointee.givesLanes = true }
        guard unsafe pointee.isGuest else { return }
        if unsafe slc_acquire_u32(sl_yielded(s)) != 0 {
            unsafe eachLaned { m in unsafe detach(m) }
            unsafe dropWatches()
        } else if isFirst, let w = unsafe pointee.waiter {
            _ = unsafe OwnDescriptor.ring(&w.pointee.bell)
        }
    }

    /// Another process has used the set. Alone again: takes over what it changed in the kernel's set. Else that set gets the
    /// program's events and data, and nothing is kept here.
    private func yield(_ s: UnsafeMutablePointer<sl_set_share>, _ isAlone: Bool) {
        unsafe compareWithKernel()
        unsafe eachLaned { m in
            if unsafe !m.pointee.isInKernel { return unsafe remove(m) }
            if unsafe !m.pointee.hasTag { return unsafe detach(m) }
            if isAlone { return }
            if unsafe m.pointee.isParked {
                var event = unsafe epoll_event()
                _ = unsafe slc_epoll_ctl(pointee.fd, EPOLL_CTL_DEL, m.pointee.fd, &event)
                return unsafe remove(m)
            }
            // The kernel can't be told of a one-shot member that has been reported: nobody knows its tag any more.
            if unsafe !m.pointee.isDisarmed { unsafe putBack(m) }
            unsafe detach(m)
        }
        if isAlone {
            unsafe slc_set_u32(sl_used(s), 0)
            return
        }
        unsafe takeBellsOut(all: true)
        unsafe dropWatches()
        unsafe pointee.givesLanes = true
        unsafe slc_release_u32(sl_yielded(s), 1)
    }

    /// The process that forked has gone, and left the set to this one: its members get our own registration.
    private func adopt() {
        if unsafe pointee.isGuest {
            unsafe compareWithKernel()
            unsafe takeBellsOut(all: true)
            unsafe eachLaned { m in
                let stays = unsafe m.pointee.isInKernel && !m.pointee.isParked
                if unsafe m.pointee.hasTag && m.pointee.isParked {
                    var event = unsafe epoll_event()
                    _ = unsafe slc_epoll_ctl(pointee.fd, EPOLL_CTL_DEL, m.pointee.fd, &event)
                }
                if unsafe stays && m.pointee.hasTag { unsafe putBack(m) }
                if stays { unsafe detach(m) } else { unsafe remove(m) }
            }
            unsafe dropWatches()
        }
        unsafe pointee.isInherited = false
        if let s = unsafe pointee.share { unsafe slc_set_u32(sl_used(s), 0) }
        unsafe eachUnwatched { m in
            guard unsafe takeOver(m, isRegistered: true) == .none, unsafe m.pointee.watch != nil else { return true }
            unsafe enqueue(m, isNew: false)
            return true
        }
    }

    /// What stands in the kernel's set under the program's own data is reported by the kernel alone. (A member whose number
    /// was closed, while a duplicate keeps the socket, cannot be reached: that number may be another member's.)
    private func putBack(_ m: UnsafeMutablePointer<Member>) {
        guard unsafe m.isAtItsNumber else { return }
        var event = unsafe epoll_event()
        unsafe event.events = unsafe m.pointee.events
        unsafe event.data.u64 = unsafe m.pointee.data
        if unsafe m.pointee.isExclusive {
            _ = unsafe slc_epoll_ctl(pointee.fd, EPOLL_CTL_DEL, m.pointee.fd, &event)
            _ = unsafe slc_epoll_ctl(pointee.fd, EPOLL_CTL_ADD, m.pointee.fd, &event)
        } else {
            _ = unsafe slc_epoll_ctl(pointee.fd, EPOLL_CTL_MOD, m.pointee.fd, &event)
        }
    }

    /// Finds out which members on a lane the kernel's set has, and whether under our tag. Without /proc: all are as we left them.
    private func compareWithKernel() {
        unsafe eachLaned { m in
            unsafe m.pointee.isInKernel = false
            unsafe m.pointee.hasTag = false
        }
        let r = unsafe slc_each_epoll_member(
            pointee.fd,
            { set, number, data in
                guard let set = unsafe set?.assumingMemoryBound(to: EpollSet.self) else { return }
                var m = unsafe set.pointee.buckets[Int(number) & (set.pointee.bucketCount - 1)]
                while let p = unsafe m {
                    unsafe m = unsafe p.pointee.nextOfHash
                    guard unsafe p.pointee.fd == number else { continue }
                    unsafe p.pointee.isInKernel = true
                    if unsafe data == p.pointee.tag { unsafe p.pointee.hasTag = true }
                }
            }, self)
        if r == 0 { return }
        unsafe eachLaned { m in
            unsafe m.pointee.isInKernel = true
            unsafe m.pointee.hasTag = true
        }
    }

    /// Lanes of members whose readiness the kernel alone tells.
    private func handBackUnwatched() {
        while true {
            var found: Endpoint? = nil
            var fd: Int32 = -1
            unsafe pointee.lock.acquire()
            unsafe eachUnwatched { m in
                let e = unsafe m.pointee.endpoint
                guard unsafe e.pointee.flags & UInt32(SL_EP_FOREIGN) == 0, unsafe Lane.hold(e) else { return true }
                unsafe found = unsafe e
                fd = unsafe m.pointee.fd
                return false
            }
            unsafe pointee.lock.release()
            guard let e = unsafe found else { return }
            unsafe Lane.handBack(e, fd, .sharedByFork, foreign: true)
            unsafe Lane.letGo(e)
        }
    }

    /// Members on a lane that are served here; `body` may take its own out.
    func eachLaned(_ body: (UnsafeMutablePointer<Member>) -> Void) {
        var i = 0
        while unsafe i < pointee.bucketCount {
            var m = unsafe pointee.buckets[i]
            while let p = unsafe m {
                unsafe m = unsafe p.pointee.nextOfHash
                if unsafe p.pointee.watch != nil { unsafe body(p) }
            }
            i += 1
        }
    }

    /// Members on a lane that are not served here, until `body` says false.
    private func eachUnwatched(_ body: (UnsafeMutablePointer<Member>) -> Bool) {
        var i = 0
        while unsafe i < pointee.bucketCount {
            var m = unsafe pointee.buckets[i]
            while let p = unsafe m {
                unsafe m = unsafe p.pointee.nextOfHash
                guard unsafe p.pointee.watch == nil,
                    unsafe slc_acquire_u32(&p.pointee.endpoint.pointee.lane) == UInt32(SL_LANE_LOOPBACK)
                else { continue }
                if unsafe !body(p) { return }
            }
            i += 1
        }
    }
}
