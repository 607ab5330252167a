import CLinux
import CStackLayout
import SharedMemory

/// Endpoints of this process that only forked sharers hold: accept, fork, close. Whoever of them ends the connection in order
/// marks the endpoint free; of one that was killed, or ended without a close, the kernel tells that its socket is gone. The
/// sharers' private records are copies, so this process takes such endpoints back, some at each new socket. (A slot whose
/// sharers were killed before its addresses were known, or where sock_diag is missing, stays taken.) All under the process
/// lock.
public enum LentEndpoints {
    nonisolated(unsafe) private static var first: Endpoint? = nil
    nonisolated(unsafe) private static var last: Endpoint? = nil
    /// New sockets until the kernel is asked again of endpoints that somebody counts himself a holder of.
    nonisolated(unsafe) private static var pause: UInt32 = 0

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

    /// Looks at the next eight, and asks the kernel of one at most: of one that nobody counts himself a holder of; else, since
    /// the killed do not count themselves out, of any one, but for a while no more when that is held.
    static func sweep() {
        guard unsafe first != nil else { return }
        if unsafe pause > 0 { unsafe pause -= 1 }
        var mayAsk = true
        let end = unsafe last
        var looks = 8
        while looks > 0, let e = unsafe first {
            looks -= 1
            unsafe first = unsafe e.local.pointee.nextLent
            if unsafe first == nil { unsafe last = nil }
            if unsafe !takeBack(e, &mayAsk) { unsafe add(e) }
            if unsafe e == end { return }
        }
    }

    private static func takeBack(_ e: Endpoint, _ mayAsk: inout Bool) -> Bool {
        let local = unsafe e.local
        guard unsafe slc_relaxed_u32(&local.pointee.users) == 0 else { return false }
        if unsafe slc_acquire_u32(&e.pointee.state) == UInt32(SL_ENDPOINT_FREE) {
            // They have left the slot.
            if let pair = unsafe local.pointee.pair { unsafe pair.pointee.liveSlots -= 1 }
        } else {
            let isCounted = unsafe slc_relaxed_u32(&e.pointee.descriptors) != 0
            guard unsafe mayAsk && e.pointee.cookie != 0 && (!isCounted || pause == 0) else { return false }
            mayAsk = false
            guard unsafe Proof.hasNoHolder(e) else {
                if isCounted { unsafe pause = 16 }
                return false
            }
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
