import CLinux
import CStackLayout
import SharedMemory

/// Endpoints of this process that only forked sharers hold: accept, fork, close. Whoever of them ends the connection in order
/// marks the endpoint free. Of all others (exec, a kill, an end behind our back) the kernel tells: before this process closes
/// its last descriptor, the socket becomes a member of an epoll set of ours, and a file is a member until no descriptor of any
/// process refers to it (epoll(7)). The sharers' private records are copies, so it is this process that takes such endpoints
/// back, some at each new socket. All under the process lock.
public enum LentEndpoints {
    nonisolated(unsafe) private static var first: Endpoint? = nil
    nonisolated(unsafe) private static var last: Endpoint? = nil
    /// The epoll set, -1: none yet; nothing ever waits on it.
    nonisolated(unsafe) private static var watch: Int32 = -1
    /// A member of the set that is always there, so that a reading without it is none: the set's number is another file's, or the
    /// kernel tells no members.
    nonisolated(unsafe) private static var witness: Int32 = -1
    nonisolated(unsafe) private static var hasWitness = false
    /// Number of the last reading of the set's members, and when the next one may be.
    nonisolated(unsafe) private static var reading: UInt32 = 0
    nonisolated(unsafe) private static var nextReading: UInt64 = 0

    /// In a fork child: they are the parent's, and our copies of what it keeps for them are of no use.
    public static func afterFork() {
        while let e = unsafe first {
            let local = unsafe e.local
            if unsafe local.pointee.rings != 0 {
                unsafe Memory.unmap(UInt64(local.pointee.rings), Int(local.pointee.ringBytes) * 2)
                unsafe local.pointee.rings = 0
            }
            if let pair = unsafe local.pointee.pair { unsafe pair.pointee.liveSlots -= 1 }
            unsafe local.pointee.pair = nil
            unsafe first = unsafe local.pointee.nextLent
        }
        unsafe last = nil
        unsafe OwnDescriptor.close(watch)
        unsafe OwnDescriptor.close(witness)
        unsafe watch = -1
        unsafe witness = -1
    }

    /// The last descriptor of this process, `fd`, is about to be closed, and others hold the socket.
    public static func observe(_ e: Endpoint, _ fd: Int32) {
        if unsafe watch < 0 { makeWatch() }
        guard unsafe watch >= 0 else { return }
        var event = unsafe epoll_event()
        unsafe event.data.u64 = unsafe UInt64(e.pointee.generation) << 32 | UInt64(e.pointee.index)
        unsafe e.local.pointee.isObserved = unsafe slc_epoll_ctl(watch, EPOLL_CTL_ADD, fd, &event) == 0
    }

    private static func makeWatch() {
        let set = OwnDescriptor.adopt(slc_epoll_create1(Int32(O_CLOEXEC)))
        let member = OwnDescriptor.adopt(slc_eventfd(0, Int32(O_CLOEXEC)))
        var event = unsafe epoll_event()
        unsafe event.data.u64 = ~0
        guard set >= 0, member >= 0, unsafe slc_epoll_ctl(set, EPOLL_CTL_ADD, member, &event) == 0 else {
            OwnDescriptor.close(set)
            OwnDescriptor.close(member)
            return
        }
        unsafe watch = set
        unsafe witness = member
    }

    /// It is closed. A call of this process may still sleep on it.
    public static func add(_ e: Endpoint) {
        unsafe e.local.pointee.seenIn = unsafe reading
        unsafe append(e)
    }

    /// The set's number is another one now.
    public static func renumber(_ old: Int32, _ new: Int32) {
        if unsafe watch == old { unsafe watch = new }
        guard unsafe witness == old else { return }
        unsafe witness = new
        var event = unsafe epoll_event()
        unsafe event.data.u64 = ~0
        _ = unsafe slc_epoll_ctl(watch, EPOLL_CTL_DEL, old, &event)
        _ = unsafe slc_epoll_ctl(watch, EPOLL_CTL_ADD, new, &event)
    }

    /// The set is to be closed: what is lent from now on comes back only when it is ended in order.
    public static func retireDescriptors() {
        unsafe OwnDescriptor.retire(&watch)
        unsafe OwnDescriptor.retire(&witness)
    }

    private static func append(_ e: Endpoint) {
        unsafe e.local.pointee.nextLent = nil
        if let l = unsafe last { unsafe l.local.pointee.nextLent = unsafe e } else { unsafe first = unsafe e }
        unsafe last = unsafe e
    }

    /// Looks at the next eight, or at all of them when the kernel has just been asked who is still held: ten times a second
    /// at most, and for a hundredth of the time.
    static func sweep() {
        guard unsafe first != nil else { return }
        let now = slc_now_ns()
        let isDue = unsafe watch >= 0 && now >= nextReading && askKernel()
        if isDue { unsafe nextReading = now &+ max(100_000_000, 100 &* (slc_now_ns() &- now)) }
        let end = unsafe last
        var looks = isDue ? Int.max : 8
        while looks > 0, let e = unsafe first {
            looks -= 1
            unsafe first = unsafe e.local.pointee.nextLent
            if unsafe first == nil { unsafe last = nil }
            if unsafe !takeBack(e, knows: isDue) { unsafe append(e) }
            if unsafe e == end { return }
        }
    }

    /// Marks those that somebody holds. False: cannot be asked now.
    private static func askKernel() -> Bool {
        unsafe reading &+= 1
        unsafe hasWitness = false
        let r = unsafe slc_each_epoll_member(
            watch,
            { _, _, data in
                if data == ~0 { unsafe LentEndpoints.hasWitness = true }
                guard let e = unsafe StackMemory.at(UInt32(truncatingIfNeeded: data)),
                    unsafe e.pointee.generation == UInt32(truncatingIfNeeded: data >> 32)
                else { return }
                unsafe e.local.pointee.seenIn = unsafe LentEndpoints.reading
            }, nil)
        return unsafe r == 0 && hasWitness
    }

    /// `knows`: whoever was not seen in this reading is held by nobody.
    private static func takeBack(_ e: Endpoint, knows: Bool) -> Bool {
        let local = unsafe e.local
        guard unsafe slc_relaxed_u32(&local.pointee.users) == 0 else { return false }
        if unsafe slc_acquire_u32(&e.pointee.state) == UInt32(SL_ENDPOINT_FREE) {
            // They have left the slot.
            if let pair = unsafe local.pointee.pair { unsafe pair.pointee.liveSlots -= 1 }
        } else {
            guard unsafe knows && local.pointee.isObserved && local.pointee.seenIn != reading else { return false }
            // One that was killed just behind leaving the slot: it may be another connection's by now.
            let isLeft = unsafe slc_relaxed_u32(&e.pointee.flags) & UInt32(SL_EP_LEFT) != 0
            if let pair = unsafe local.pointee.pair {
                if isLeft {
                    unsafe pair.pointee.liveSlots -= 1
                } else {
                    unsafe pair.leaveSlot(local.pointee.region, local.pointee.slot)
                }
            }
            unsafe slc_release_u32(&e.pointee.state, UInt32(SL_ENDPOINT_FREE))
        }
        unsafe local.pointee.pair = nil
        unsafe StackMemory.recycle(e)
        return true
    }
}
