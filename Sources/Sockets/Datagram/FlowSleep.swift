import CLinux
import CStackLayout
import Counters
import SharedMemory
import Stacks

// When a receiver's rings are open: while nobody of its process may sleep in the kernel over the socket. All under `flowsRx`.
//
// Who is about to sleep first counts itself (`sl_half.plain_calls`, or the epoll set's calls), then takes the lock and calls
// `fallAsleep`; who opens a ring looks at these counts under the same lock. A sender writes between two exchanges of one word
// with the receiver, so that the receiver sees either what it wrote, or the kernel's datagram.

extension Flows {
    /// All rings are closed from here on, and what lies in them is known. False: a sender is just writing, and does not end:
    /// whoever sleeps looks again soon.
    static func fallAsleep(_ e: Endpoint) -> Bool {
        guard let flows = unsafe known(e) else { return true }
        let isAlone = unsafe !flows.pointee.isThreaded && sleepers(e) == 1
        let state = UInt32(isAlone ? SL_RX_ASLEEP : SL_RX_SHUT)
        var isWhole = true
        var bits = unsafe flows.pointee.isKnown
        while bits != 0 {
            let i = bits.trailingZeroBitCount
            bits &= bits &- 1
            guard let f = unsafe flows.laned(i), let d = unsafe f.rxDirection else { continue }
            // The sender opens a ring again that is asleep; one that is shut, we do.
            let mayBeOpened = unsafe e.local.pointee.told == 0 || Ancillary.isKnown(f)
            let isClosed = unsafe close(d, f, mayBeOpened ? state : UInt32(SL_RX_SHUT))
            if !isClosed { isWhole = false }
            if unsafe !isClosed || flows.hasNews(i) {
                unsafe flows.pointee.hasStock |= flowBit(i)
            } else {
                unsafe flows.pointee.hasStock &= ~(flowBit(i))
            }
        }
        return isWhole
    }

    private static func close(_ d: Direction, _ f: Endpoint, _ state: UInt32) -> Bool {
        var turns = 0
        while turns < 4000 {
            let control = unsafe slc_relaxed_u32(&d.pointee.rx_control)
            switch control {
            case state, UInt32(SL_RX_CLOSED), UInt32(SL_RX_GONE), UInt32(SL_RX_WANT): return true
            case UInt32(SL_RX_WRITING): slc_pause()
            default: if unsafe slc_cas_u32(&d.pointee.rx_control, control, state) { return true }
            }
            // Also where the other side changes the word all the time.
            turns &+= 1
        }
        guard unsafe FlowLane.peerIsGone(f) else { return false }
        // What a killed sender was about to publish is not there.
        _ = unsafe slc_exchange_u32(&d.pointee.rx_control, UInt32(SL_RX_GONE))
        return true
    }

    /// A datagram of the flow has come by the kernel: the next may come by the ring, if nobody sleeps.
    static func wake(_ e: Endpoint, _ i: Int) {
        let bit: UInt64 = flowBit(i)
        guard let flows = unsafe known(e), unsafe flows.pointee.isKnown & bit != 0, unsafe flows.pointee.hasStock & bit == 0,
            let f = unsafe flows.laned(i), let d = unsafe f.rxDirection
        else { return }
        // Behind it by the ring; what comes by the kernel then finds the ring closed, and comes later.
        if unsafe flows.hasNews(i) { unsafe flows.pointee.hasStock |= bit }
        if unsafe flows.pointee.isCounted & bit == 0 { return }
        var turns = 0
        while turns < 100 {
            turns &+= 1
            let control = unsafe slc_relaxed_u32(&d.pointee.rx_control)
            switch control {
            case UInt32(SL_RX_OPEN), UInt32(SL_RX_WRITING):
                unsafe flows.pointee.hasStock |= bit
                return
            case UInt32(SL_RX_ASLEEP), UInt32(SL_RX_CLOSED), UInt32(SL_RX_RINGING):
                // The sender may have opened it at this moment.
                guard unsafe mayOpen(e, f) else { return }
                _ = unsafe open(e, f, d, control)
            default: return
            }
        }
    }

    /// A datagram by the kernel was taken while another thread sleeps over the socket: it may have been the one that was to wake
    /// that thread. From now on all goes by the kernel while anybody sleeps, and what lies in rings is put into its queue.
    static func mindThreads(_ e: Endpoint, _ flows: UnsafeMutablePointer<Flows>) {
        guard unsafe !flows.pointee.isThreaded, let n = unsafe sleepers(e), n > 0 else { return }
        unsafe flows.pointee.isThreaded = true
        if unsafe !fallAsleep(e) { unsafe leaveWriting(flows) }
        var bits = unsafe flows.pointee.hasStock
        while bits != 0 {
            let i = bits.trailingZeroBitCount
            bits &= bits &- 1
            guard let f = unsafe flows.laned(i), let d = unsafe f.rxDirection,
                unsafe slc_cas_u32(&d.pointee.rx_control, UInt32(SL_RX_SHUT), UInt32(SL_RX_TAKING))
            else { continue }
            unsafe FlowGift.give(f, d, after: UInt32(SL_RX_SHUT))
        }
    }

    /// Who stands still while it writes would leave its datagram to a thread that sleeps: it sends it again by the kernel.
    private static func leaveWriting(_ flows: UnsafeMutablePointer<Flows>) {
        var bits = unsafe flows.pointee.isKnown
        while bits != 0 {
            let i = bits.trailingZeroBitCount
            bits &= bits &- 1
            guard let f = unsafe flows.laned(i), let d = unsafe f.rxDirection else { continue }
            if unsafe slc_relaxed_u32(&d.pointee.rx_control) == UInt32(SL_RX_WRITING) { _ = unsafe giveAll(f, .peerHandedBack) }
        }
    }

    private static func mayOpen(_ e: Endpoint, _ f: Endpoint) -> Bool {
        unsafe sleepers(e) == 0 && f.pointee.flags & UInt32(SL_EP_GIVEN_UP) == 0
            && (e.local.pointee.told == 0 || Ancillary.isKnown(f))
    }

    static func open(_ e: Endpoint, _ f: Endpoint, _ d: Direction, _ control: UInt32) -> Bool {
        guard unsafe mayOpen(e, f), unsafe slc_cas_u32(&d.pointee.rx_control, control, UInt32(SL_RX_OPEN)) else { return false }
        if unsafe f.pointee.reason != 0 { unsafe f.pointee.reason = Reason.none.number }
        return true
    }

    /// Nobody sleeps after all: what was closed for it is opened again.
    static func stayAwake(_ e: Endpoint) {
        guard let flows = unsafe known(e), unsafe sleepers(e) == 0 else { return }
        var bits = unsafe flows.pointee.hasStock
        while bits != 0 {
            let i = bits.trailingZeroBitCount
            bits &= bits &- 1
            guard let f = unsafe flows.laned(i), let d = unsafe f.rxDirection,
                unsafe f.pointee.flags & UInt32(SL_EP_GIVEN_UP) == 0
            else { continue }
            _ = unsafe slc_cas_u32(&d.pointee.rx_control, UInt32(SL_RX_ASLEEP), UInt32(SL_RX_OPEN))
        }
    }

    /// The kernel's queue is empty: which rings has a sender opened by a datagram that the kernel has dropped? True: some.
    static func lookAround(_ flows: UnsafeMutablePointer<Flows>) -> Bool {
        var isFound = false
        var bits = unsafe flows.pointee.isKnown & ~flows.pointee.hasStock
        while bits != 0 {
            let i = bits.trailingZeroBitCount
            bits &= bits &- 1
            if unsafe flows.hasNews(i) {
                unsafe flows.pointee.hasStock |= flowBit(i)
                isFound = true
            }
        }
        return isFound
    }

    /// How many calls of this process may sleep in the kernel over the socket; nil: it cannot be known, or must not matter.
    private static func sleepers(_ e: Endpoint) -> Int? {
        guard unsafe !process.sealed && !process.isCrowded else { return nil }
        let n = unsafe Int(slc_relaxed_u32(&e.rx.pointee.plain_calls))
        if unsafe e.local.pointee.memberships == nil { return n }
        return unsafe EpollSet.sleepers(over: e).map { $0 &+ n }
    }

    /// Does a ring have datagrams?
    static func hasNews(_ e: Endpoint) -> Bool {
        guard let flows = unsafe known(e) else { return false }
        return unsafe flows.news() != nil
    }

    /// Does the peer that was sent to last wait on this CPU? Spinning would keep it from running. Tells it that we wait here.
    /// Under `flowsRx`.
    static func peerIsHere(_ e: Endpoint) -> Bool {
        guard let flows = unsafe known(e), let f = unsafe flows.laned(flows.pointee.lastSent), let rx = unsafe f.rxDirection,
            let tx = unsafe f.txDirection
        else { return false }
        let here = slc_cpu() &+ 1
        unsafe slc_set_u32(&rx.pointee.waiting_cpu, here)
        unsafe flows.pointee.isNear = unsafe slc_relaxed_u32(&tx.pointee.waiting_cpu) == here
        return unsafe flows.pointee.isNear
    }

    static func wasHere(_ e: Endpoint) -> Bool { unsafe known(e)?.pointee.isNear ?? false }

    /// The same as `peerIsHere`, for who does not hold `flowsRx`.
    static func waitsHere(_ e: Endpoint) -> Bool {
        unsafe e.local.pointee.flowsRx.acquire()
        defer { unsafe e.local.pointee.flowsRx.release() }
        return unsafe peerIsHere(e)
    }

    /// One number that changes with each datagram that comes by a ring.
    static func arrived(_ e: Endpoint) -> UInt64 {
        guard let flows = unsafe known(e) else { return 0 }
        var sum: UInt64 = 0
        var i = 0
        while unsafe i < Int(flows.pointee.used) {
            if let d = unsafe flows.laned(i)?.rxDirection { sum &+= unsafe slc_acquire_u64(&d.pointee.producer) }
            i &+= 1
        }
        return sum
    }

    /// When a sender found the receiver asleep last, of those behind `began`; else now. For `SpinPolicy`.
    static func lastRing(_ e: Endpoint, _ began: UInt64) -> UInt64 {
        let now = slc_tsc()
        guard let flows = unsafe known(e) else { return now }
        var best = now
        var i = 0
        while unsafe i < Int(flows.pointee.used) {
            if let d = unsafe flows.laned(i)?.rxDirection {
                let rung = unsafe slc_relaxed_u64(&d.pointee.rung_at)
                if rung &- began < best &- began { best = rung }
            }
            i &+= 1
        }
        return best
    }
}

extension UnsafeMutablePointer where Pointee == Flows {
    /// The next flow in turn whose ring has datagrams.
    @inline(__always) func news() -> Int? {
        let bits = unsafe pointee.hasStock
        if bits == 0 { return nil }
        // Those from `turn` on first.
        let late = unsafe bits & ~((1 << UInt64(pointee.turn & 63)) &- 1)
        return unsafe firstNews(late) ?? firstNews(bits & ~late)
    }

    @inline(__always) private func firstNews(_ some: UInt64) -> Int? {
        var bits = some
        while bits != 0 {
            let i = bits.trailingZeroBitCount
            bits &= bits &- 1
            if unsafe hasNews(i) { return i }
        }
        return nil
    }

    @inline(__always) func hasNews(_ i: Int) -> Bool {
        guard let f = unsafe laned(i), let d = unsafe f.rxDirection else { return false }
        return unsafe f.rx.pointee.flags & UInt32(SL_HALF_GONE) == 0
            && slc_acquire_u64(&d.pointee.producer) != slc_relaxed_u64(&f.rx.pointee.offset)
    }
}
