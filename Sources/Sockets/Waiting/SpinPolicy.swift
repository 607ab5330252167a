import CLinux
import CStackLayout
import Settings
import SharedMemory
import Stacks

/// How long a wait looks at memory before it sleeps. Unless the user set a spin length, an average of recent waits
/// decides, counted to the moment when the peer rang and not to our late wake-up; now and then a few waits are tried.
struct SpinPolicy {
    enum Kind { case receive, send, datagram, select, poll, epoll }

    /// Spins at most this long by the adaptive policy.
    static var longestUs: UInt64 { 50 }
    /// Waits that are shorter than this on average are spun for.
    static var payingUs: UInt64 { 20 }

    /// Under a quota of less than two CPUs a spin eats what the program may need to work with: shorter in proportion.
    @inline(__always) static func rationed(_ us: UInt64) -> UInt64 {
        let quota = unsafe process.cpuQuota
        return quota == 0 || quota >= 2000 ? us : us &* UInt64(quota) / 2000
    }

    /// Ticks to spin now; 0: sleep at once.
    @inline(__always) static func budget(_ kind: Kind, average: UInt32, trial: inout UInt32) -> UInt64 {
        let rate = unsafe process.tickRate
        if unsafe process.settings.chaos != 0 && process.nextRandom() & 1 == 0 { return 0 }
        if unsafe process.settings.receiveMode >= 0 || process.settings.spinIsSet { return fixed(kind) &* rate }
        if UInt64(average) <= rationed(payingUs) &* 1000 { return rationed(longestUs) &* rate }
        trial = trial &+ 1
        let period: UInt32 = average < 1_000_000 ? 512 : 4096
        return trial % period < 8 ? rationed(longestUs) &* rate : 0
    }

    /// Microseconds by the user's settings.
    @inline(never) static func fixed(_ kind: Kind) -> UInt64 {
        let s = unsafe process.settings
        if s.receiveMode == 0 { return 0 }
        let on: Bool
        switch kind {
        case .receive: on = s.tcpRecvSpin
        case .send: on = s.tcpSendSpin
        case .datagram: on = s.udpRecvSpin
        case .select: on = s.selectSpin
        case .poll: on = s.pollSpin
        case .epoll: on = s.epollSpin
        }
        if s.receiveMode == 1 && !s.spinIsSet { return UInt64(Settings.bypassUsec) }
        guard on || s.receiveMode == 1 else { return 0 }
        return s.spinUsec < 0 ? 1 << 40 : UInt64(s.spinUsec)
    }

    /// Takes a wait of `ticks` into the average.
    @inline(__always) static func learn(_ average: inout UInt32, ticks: UInt64) {
        let ns = unsafe min(ticks, 1 << 40) &* 1000 / process.tickRate
        let sample = UInt32(truncatingIfNeeded: min(ns, 1_000_000_000))
        average = average &- average / 4 &+ sample / 4
    }

    /// Does the other side of the lane run on this CPU? Spinning against it would keep it from running.
    @inline(__always) static func peerIsHere(_ rx: Direction, _ tx: Direction) -> Bool {
        let here = slc_cpu() &+ 1
        return unsafe slc_relaxed_u32(&tx.pointee.receiver_cpu) == here || slc_relaxed_u32(&rx.pointee.sender_cpu) == here
    }
}
