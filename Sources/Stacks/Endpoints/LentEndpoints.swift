import CLinux
import CStackLayout
import SharedMemory

/// Endpoints of this process that only forked sharers hold: accept, fork, close. Whoever of them ends the connection in order
/// marks the endpoint free; of one that nobody counts himself a holder of any more (exec) the kernel tells that its socket is
/// gone. The sharers' private records are copies, so this process takes such endpoints back, some at each new socket. (A
/// killed sharer does not count itself out: its place stays taken.) All under the process lock.
public enum LentEndpoints {
    nonisolated(unsafe) private static var first: Endpoint? = nil
    nonisolated(unsafe) private static var last: Endpoint? = nil

    /// In a fork child: they are the parent's.
    public static func afterFork() {
        unsafe first = nil
        unsafe last = nil
    }

    /// The last descriptor of this process is closed, while others hold it. A call of this process may still sleep on it.
    public static func add(_ e: Endpoint) {
        unsafe e.local.pointee.nextLent = nil
        if let l = unsafe last { unsafe l.local.pointee.nextLent = unsafe e } else { unsafe first = unsafe e }
        unsafe last = unsafe e
    }

    /// Looks at the next eight, and asks the kernel of three at most, which nobody has counted himself a holder of for a tenth of a second.
    static func sweep() {
        guard unsafe first != nil else { return }
        var questions = 3
        let end = unsafe last
        var looks = 8
        while looks > 0, let e = unsafe first {
            looks -= 1
            unsafe first = unsafe e.local.pointee.nextLent
            if unsafe first == nil { unsafe last = nil }
            if unsafe !takeBack(e, &questions) { unsafe add(e) }
            if unsafe e == end { return }
        }
    }

    private static func takeBack(_ e: Endpoint, _ questions: inout Int) -> Bool {
        let local = unsafe e.local
        guard unsafe slc_relaxed_u32(&local.pointee.users) == 0 else { return false }
        if unsafe slc_acquire_u32(&e.pointee.state) == UInt32(SL_ENDPOINT_FREE) {
            // They have left the slot.
            if let pair = unsafe local.pointee.pair { unsafe pair.pointee.liveSlots -= 1 }
        } else {
            // Somebody counts himself a holder: the kernel's word that there is no such socket is no proof (a socket that
            // was reset is in no table of it). One that nobody counts himself a holder of may be being ended just now.
            guard unsafe slc_relaxed_u32(&e.pointee.descriptors) == 0 else {
                unsafe local.pointee.unheldSince = 0
                return false
            }
            let now = slc_now_ns()
            if unsafe local.pointee.unheldSince == 0 { unsafe local.pointee.unheldSince = now }
            guard unsafe questions > 0 && e.pointee.cookie != 0 && now &- local.pointee.unheldSince > 100_000_000 else {
                return false
            }
            questions -= 1
            guard unsafe Proof.hasNoHolder(e) else { return false }
            // One that died just behind leaving the slot: it may be another connection's by now.
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
