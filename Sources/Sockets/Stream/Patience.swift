import CLinux
import CStackLayout
import SharedMemory
import Stacks

/// A sender and a ring that stays full: two programs that both send before they read would wait for each other, where the
/// kernel's buffers, larger than a ring, let them go on. After 20 ms in which the reader has taken nothing, of the ring or of
/// what the kernel has from before, the ring is left; the way back to it is open as soon as the reader has caught up. Whatever a
/// sender waits by looks again after that time: a blocking call, poll, or an epoll set (`EpollSet.awaitsSpace`).
enum Patience {
    /// How long a wait for room sleeps at most, in nanoseconds.
    static let slice: UInt64 = 20_000_000
    /// The same in ticks, a little less, for it is measured by another clock.
    @inline(__always) static var ticks: UInt64 { unsafe 19_000 &* process.tickRate }

    /// There is no room in the ring: notes where the reader stands, and leaves the ring when it has stood there for long. True:
    /// the ring was left. `wants`: a send has found less room than it wanted; else it is a wait, for which a third must be free.
    /// Under the tx lock, in the ring phase.
    @inline(never) static func noteFull(_ e: Endpoint, _ fd: Int32, _ d: Direction, wants: Bool) -> Bool {
        let at = unsafe slc_relaxed_u64(&d.pointee.consumer)
        // It may be busy with what the kernel has for it yet.
        let isInKernel = unsafe slc_relaxed_u32(&d.pointee.phase_reached) != e.tx.pointee.phase
        let inKernel = isInKernel ? slc_tcp_progress(fd) : 0
        let now = slc_tsc()
        if unsafe e.pointee.full_since == 0 || at != e.pointee.full_consumer || inKernel != e.pointee.full_kernel {
            let isFull = unsafe wants || Readiness.ring(e) & Readiness.OUT == 0
            unsafe slc_set_u64(&e.pointee.full_since, isFull ? max(now, 1) : 0)
            unsafe e.pointee.full_consumer = at
            unsafe e.pointee.full_kernel = inKernel
            return false
        }
        guard unsafe now &- e.pointee.full_since > ticks else { return false }
        unsafe Lane.leaveRing(e, fd)
        unsafe Lane.notifyAll(e)
        unsafe EpollSet.armSpace(of: e)
        return true
    }

    /// A look found no room, for which somebody waits. True: look again after `slice`, though nobody rings. Takes the tx lock.
    @inline(never) static func awaitRoom(_ e: Endpoint, _ fd: Int32) -> Bool {
        let lock = unsafe RobustLock(&e.tx.pointee.lock)
        if lock.acquire() { unsafe Lane.mendSend(e, fd) }
        defer { lock.release() }
        guard let d = unsafe e.txDirection, unsafe e.tx.pointee.phase & 1 == 1 else { return false }
        return unsafe !noteFull(e, fd, d, wants: false) && e.pointee.full_since != 0
    }

    /// Is somebody known to wait for room in the ring?
    @inline(__always) static func isTried(_ e: Endpoint) -> Bool { unsafe slc_relaxed_u64(&e.pointee.full_since) != 0 }
}
