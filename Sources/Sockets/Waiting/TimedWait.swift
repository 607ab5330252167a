import CLinux
import CStackLayout
import Counters
import Stacks

/// The time that one call waits, for SLUICE_LATENCY: made where its wait begins. Without that setting it does nothing.
@safe struct TimedWait {
    enum Kind: UInt32 { case receive, send, datagram, poll, epoll }

    /// CLOCK_MONOTONIC in ns, 0: not timed.
    private let began: UInt64
    private let sleeps: UInt32

    @inline(__always) init() {
        guard unsafe process.waits != nil else {
            began = 0
            sleeps = 0
            return
        }
        began = slc_now_ns()
        sleeps = unsafe slc_self()!.pointee.sleeps
    }

    /// The wait is over, whatever came of it.
    @inline(__always) func end(_ kind: Kind) {
        if began != 0 { count(kind) }
    }

    @inline(never) private func count(_ kind: Kind) {
        let ns = slc_now_ns() &- began
        guard let area = unsafe process.waits else { return }
        unsafe sl_wait_count(area, kind.rawValue, slc_self()!.pointee.sleeps == sleeps ? 0 : 1, ns)
    }

    /// The calling thread is about to sleep in the kernel.
    @inline(__always) static func sleeps() {
        let me = unsafe slc_self()!
        unsafe me.pointee.sleeps = unsafe me.pointee.sleeps &+ 1
        Stacks.count(StackCounter.sleeps)
    }
}
