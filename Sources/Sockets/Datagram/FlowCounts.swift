import CLinux
import CStackLayout
import Counters
import SharedMemory
import Stacks

// How both ends of a flow agree on what has gone by the kernel: the sender counts what it sends so, the receiver what has come. A
// ring is opened for the first time when nothing is under way, which the receiver sees so: it reads the sender's count, then that no
// packet of this host waits for a CPU, then that its own queue is empty. From there on every record of the ring says how many
// were sent by the kernel before it. All under `flowsRx`, but for `countSent`.
//
// Packets may also wait elsewhere (netem on lo, NFQUEUE): both have to have counted alike from the first datagram on. Where another
// process had one of the two addresses before they cannot, and the difference has to stay the same for a while (`quietUs`).
//
// A queue that is never empty tells nothing. Who counts from the first datagram on trusts that count behind some hundred
// datagrams: records of the ring wait until as many have come.

/// Packets of this host that no socket has yet.
enum Backlog { case empty, waiting, notAsked, unknown }

extension Flows {
    /// A program that asks before it receives never finds the queue empty itself: its flows are counted when it waits.
    static func countBeforeSleep(_ e: Endpoint, _ fd: Int32) {
        guard let flows = unsafe known(e) else { return }
        unsafe countNow(e, fd, flows)
    }

    /// A datagram of the flow has come by the kernel, perhaps the last one that is under way: who reads no further does not find
    /// the queue empty either.
    @inline(__always) static func countEarly(_ e: Endpoint, _ fd: Int32, _ flows: UnsafeMutablePointer<Flows>, _ i: Int) {
        let bit: UInt64 = flowBit(i)
        if unsafe flows.pointee.isKnown & ~flows.pointee.isCounted & bit == 0 { return }
        guard let f = unsafe flows.laned(i), let d = unsafe f.rxDirection else { return }
        // A queue that is never empty: records of the ring wait until as many have come as were sent, from the first one on.
        let received = unsafe flows.pointee.entries[i].received
        if unsafe received > 500 && received & 63 == 0 && slc_relaxed_u64(&d.pointee.kernel_count) != 0 && flows.isFirst(i, d) {
            unsafe flows.pointee.isCounted |= bit
            return
        }
        let missing = unsafe slc_relaxed_u64(&d.pointee.kernel_count) &- f.rx.pointee.kernel_bytes
        if unsafe missing == 0 || received & 15 == 0 { unsafe countNow(e, fd, flows) }
    }

    @inline(never) private static func countNow(_ e: Endpoint, _ fd: Int32, _ flows: UnsafeMutablePointer<Flows>) {
        guard unsafe flows.pointee.isKnown & ~flows.pointee.isCounted != 0, isEmpty(fd) else { return }
        let bits = unsafe readCounts(flows, of: flows.pointee.isKnown & ~flows.pointee.isCounted)
        let backlog = unsafe flows.backlog(bits)
        if isEmpty(fd) { unsafe settle(e, fd, flows, bits, backlog) }
    }

    private static func isEmpty(_ fd: Int32) -> Bool {
        var p = pollfd(fd: fd, events: Int16(POLLIN), revents: 0)
        var zero = timespec()
        return unsafe slc_ppoll(&p, 1, &zero, nil) == 0
    }

    /// Of `some` flows those whose ring has to be opened, or that are to be counted, once the kernel's queue is empty, and whose
    /// senders have begun to count. What these have sent by the kernel is read.
    @inline(__always) static func readCounts(_ flows: UnsafeMutablePointer<Flows>, of some: UInt64) -> UInt64 {
        var (bits, found): (UInt64, UInt64) = (some, 0)
        while bits != 0 {
            let i = bits.trailingZeroBitCount
            bits &= bits &- 1
            guard unsafe isShut(flows, i), let d = unsafe flows.laned(i)?.rxDirection else { continue }
            let count = unsafe slc_acquire_u64(&d.pointee.kernel_count)
            if count == 0 { continue }
            if unsafe flows.pointee.entries[i].counted == 0 { unsafe flows.pointee.backlogPause = 0 }
            unsafe flows.pointee.entries[i].counted = count
            found |= flowBit(i)
        }
        return found
    }

    @inline(__always) private static func isShut(_ flows: UnsafeMutablePointer<Flows>, _ i: Int) -> Bool {
        guard let d = unsafe flows.laned(i)?.rxDirection else { return false }
        let control = unsafe slc_relaxed_u32(&d.pointee.rx_control)
        if unsafe control == UInt32(SL_RX_SHUT) || control == UInt32(SL_RX_CLOSED)
            || flows.pointee.isCounted & flowBit(i) == 0
        {
            return true
        }
        // One that was late when it was counted has been counted twice.
        return unsafe slc_relaxed_u64(&d.pointee.kernel_count) < flows.laned(i).unsafelyUnwrapped.rx.pointee.kernel_bytes
    }

    /// The kernel's queue is empty since `readCounts`: what these senders sent before has come, or was dropped. What they send from
    /// now on may go by the ring.
    static func settle(
        _ e: Endpoint, _ fd: Int32, _ flows: UnsafeMutablePointer<Flows>, _ some: UInt64, _ backlog: Backlog
    ) {
        var bits = some
        while bits != 0 {
            let i = bits.trailingZeroBitCount
            bits &= bits &- 1
            guard let f = unsafe flows.laned(i), let d = unsafe f.rxDirection, unsafe !flows.hasNews(i) else { continue }
            let count = unsafe flows.pointee.entries[i].counted
            guard unsafe flows.agree(i, f, d, fd, backlog) else { continue }
            unsafe flows.pointee.entries[i].lateSince = 0
            unsafe f.rx.pointee.kernel_bytes = count
            unsafe flows.pointee.isCounted |= flowBit(i)
            let control = unsafe slc_relaxed_u32(&d.pointee.rx_control)
            guard control == UInt32(SL_RX_SHUT) || control == UInt32(SL_RX_CLOSED) else { continue }
            if unsafe open(e, f, d, control) { unsafe flows.pointee.hasStock |= flowBit(i) }
        }
    }
}

extension UnsafeMutablePointer where Pointee == Flows {
    /// Has all come that the sender had counted when it was asked, or been dropped?
    fileprivate func agree(_ i: Int, _ f: Endpoint, _ d: Direction, _ fd: Int32, _ backlog: Backlog) -> Bool {
        let count = unsafe pointee.entries[i].counted
        let missing = unsafe count &- f.rx.pointee.kernel_bytes
        // A sender that has not begun another one since then.
        let isIdle = unsafe slc_acquire_u64(&d.pointee.kernel_begun) == count
        let isCounted = unsafe pointee.isCounted & flowBit(i) != 0
        if !isCounted {
            if unsafe !isFirst(i, d) {
                // They have no number to compare, and need none where nothing has been under way for a while.
                guard isIdle, unsafe isLate(i, missing, us: backlog == .empty ? Flows.quietUs : Flows.lostUs) else {
                    return false
                }
                return unsafe noDrops(fd)
            }
            if !isIdle { return unsafe backlog != .waiting && (missing == 0 ? noDrops(fd) : hasDropped(missing, fd)) }
            if backlog == .waiting || backlog == .notAsked {
                return unsafe isLate(i, missing, us: Flows.lostUs)
            }
        }
        if missing == 0 { return unsafe noDrops(fd) }
        // One that was not there when it was counted has been counted twice.
        let isTwice = missing > 1 << 62 && isCounted
        return unsafe isIdle && (isTwice || hasDropped(missing, fd) || isLate(i, missing, us: Flows.lostUs))
    }

    /// What the kernel has dropped so far nobody misses.
    private func noDrops(_ fd: Int32) -> Bool {
        _ = unsafe hasDropped(0, fd)
        return true
    }

    /// Both ends count from the first datagram on that one has sent the other: here none came before the first that the process
    /// which sends now has sent.
    fileprivate func isFirst(_ i: Int, _ d: Direction) -> Bool {
        let flow = unsafe pointee.entries + (i & (Flows.most &- 1))
        return unsafe flow.pointee.isWhole && slc_acquire_u32(&d.pointee.phase) != 0
            && (flow.pointee.received == 0 || flow.pointee.receivedSince > slc_relaxed_u64(&d.pointee.sent_since))
    }

    /// Is anything under way on this host that was sent before now? Asked for flows that are not counted yet; ever more
    /// rarely, until one begins.
    func backlog(_ some: UInt64) -> Backlog {
        if unsafe some & ~pointee.isCounted == 0 || process.sealed { return .unknown }
        let now = slc_tsc()
        guard unsafe now &- pointee.backlogLook >= pointee.backlogPause else { return .notAsked }
        unsafe pointee.backlogLook = now
        unsafe pointee.backlogPause = unsafe min(
            max(pointee.backlogPause &* 2, 100 &* process.tickRate), 10_000 &* process.tickRate)
        let n = slc_backlog()
        guard n == 0 else { return n < 0 ? .unknown : .waiting }
        // One that has just left its CPU's queue is with its socket behind this.
        let began = slc_tsc()
        while unsafe slc_tsc() &- began < 5 &* process.tickRate { slc_pause() }
        return .empty
    }

    /// Have datagrams of a flow that the kernel neither has nor has dropped been missed for so long that they will not come?
    func isLate(_ i: Int, _ missing: UInt64, us: UInt64) -> Bool {
        let now = slc_tsc()
        let flow = unsafe pointee.entries + (i & (Flows.most &- 1))
        if unsafe flow.pointee.lateMissing != missing || flow.pointee.lateSince == 0 {
            unsafe flow.pointee.lateMissing = missing
            unsafe flow.pointee.lateSince = now
        }
        return unsafe now &- flow.pointee.lateSince > us &* process.tickRate
    }

    /// One of flow `i` has gone by the kernel. Under `flowsTx`.
    func countSent(_ i: Int, since: UInt64) {
        if unsafe pointee.entries[i].sent == 0 { unsafe pointee.entries[i].sentSince = since }
        unsafe pointee.entries[i].sent &+= 1
    }

    /// One of `remote` has come by the kernel. Under `flowsRx`.
    func countReceived(_ remote: sl_address) {
        guard let i = unsafe find(remote) else { return }
        if unsafe pointee.entries[i].received == 0 { unsafe pointee.entries[i].receivedSince = slc_tsc() }
        unsafe pointee.entries[i].received &+= 1
    }

    /// Has the kernel dropped so many at this socket that no flow has missed yet? 0: all drops so far are accounted for. Under
    /// `flowsRx`.
    func hasDropped(_ missing: UInt64, _ fd: Int32) -> Bool {
        // SO_MEMINFO (sock_diag(7)): drops stand at 8.
        var info: (UInt32, UInt32, UInt32, UInt32, UInt32, UInt32, UInt32, UInt32, UInt32) = (0, 0, 0, 0, 0, 0, 0, 0, 0)
        var n: UInt32 = 36
        guard unsafe slc_getsockopt(fd, SOL_SOCKET, 55, &info, &n) == 0, n >= 36 else { return false }
        let fresh = unsafe info.8 &- pointee.drops
        guard UInt64(fresh) >= missing else { return false }
        unsafe pointee.drops &+= missing == 0 ? fresh : UInt32(truncatingIfNeeded: missing)
        return true
    }
}
