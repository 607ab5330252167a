import CLinux
import CStackLayout
import Counters
import SharedMemory
import Stacks

/// How flows end: with the socket, or by what makes the kernel's word on it another one.
extension Flows {
    /// connect(2), also of AF_UNSPEC: from now on other datagrams come.
    static func connected(_ e: Endpoint, _ fd: Int32) {
        unsafe handBack(e, .option)
        if unsafe !Identity.learn(e, fd) { unsafe e.pointee.state = UInt32(SL_ENDPOINT_LIVE) }
    }

    /// The socket is known by another number from now on, or by none. Under `process.lock`.
    static func moved(_ e: Endpoint) {
        unsafe known(e)?.eachEndpoint { f in
            let fd = unsafe e.local.pointee.descriptor
            unsafe f.local.pointee.descriptor = fd
            guard let d = unsafe f.txDirection else { return }
            unsafe slc_set_u32(&d.pointee.sender_descriptor, UInt32(bitPattern: fd) &+ 1)
        }
    }

    /// Both directions of all flows go by the kernel from now on, for good. What is unread is still read here; with `foreign`
    /// its sender sends it again by the kernel, at its next call.
    static func handBack(_ e: Endpoint, _ reason: Reason, foreign: Bool = false) {
        unsafe e.local.pointee.flowsRx.acquire()
        unsafe e.local.pointee.flowsTx.acquire()
        if let flows = unsafe known(e) {
            unsafe flows.eachEndpoint { f in unsafe leave(f, reason, foreign) }
        }
        unsafe e.local.pointee.flowsTx.release()
        unsafe e.local.pointee.flowsRx.release()
    }

    /// The first datagram to `remote` is on its way. Where one port has several addresses, they may be one socket's, which tells those
    /// who send to it apart by their address alone: the kernel keeps their order.
    @inline(never) static func leaveTwins(_ e: Endpoint, _ remote: sl_address) {
        guard let flows = unsafe known(e), unsafe flows.hasTwin(remote) else { return }
        unsafe e.local.pointee.flowsRx.acquire()
        unsafe e.local.pointee.flowsTx.acquire()
        unsafe flows.eachEndpoint { f in
            if unsafe f.pointee.remote.port == remote.port { unsafe leave(f, .sharedPort, false) }
        }
        unsafe e.local.pointee.flowsTx.release()
        unsafe e.local.pointee.flowsRx.release()
    }

    /// In front of a fork: a child has the socket, too, and none of the rings. Without the locks, which another thread may hold
    /// and keep until the fork is over: a datagram that is being written is there before the sender sees it.
    static func handBackBeforeFork(_ e: Endpoint) {
        guard let flows = unsafe known(e) else { return }
        // What is unread goes to whoever reads first, of both.
        let isQuiet = unsafe e.local.pointee.flowsRx.tryAcquire()
        unsafe flows.eachEndpoint { f in unsafe leave(f, .sharedByFork, isQuiet) }
        if isQuiet { unsafe e.local.pointee.flowsRx.release() }
    }

    /// Was the flow given up for a fork, and has the child left the socket to us since then? Not where the sender stood while it
    /// wrote: what it publishes yet shall be read.
    static func isAloneAgain(_ e: Endpoint, _ f: Endpoint) -> Bool {
        unsafe f.rx.pointee.flags & UInt32(SL_HALF_AWAITED) == 0 && f.pointee.flags & UInt32(SL_EP_GIVEN_UP) != 0
            && f.pointee.reason == Reason.sharedByFork.number
            && e.pointee.descriptors == UInt32(bitPattern: e.local.pointee.descriptors)
            // What its sender is to send again lies in the ring until then.
            && f.rxDirection.map { d in unsafe slc_acquire_u32(&d.pointee.rx_control) == UInt32(SL_RX_GONE) } ?? true
    }

    /// In the child: the parent goes on with its flows, and has what lies in their rings.
    static func forgetInChild(_ e: Endpoint) {
        let local = unsafe e.local
        unsafe local.pointee.flowsRx = PrivateLock()
        unsafe local.pointee.flowsTx = PrivateLock()
        guard let flows = unsafe known(e) else { return }
        unsafe flows.eachEndpoint { f in
            unsafe OwnDescriptor.close(f.local.pointee.meeting.listener)
            unsafe OwnDescriptor.close(f.local.pointee.meeting.channel)
        }
        unsafe local.pointee.flows = nil
    }

    /// The peer has ended, and nothing of it is unread: the flow begins anew. Under `flowsRx`.
    static func retire(_ e: Endpoint, _ flows: UnsafeMutablePointer<Flows>, _ i: Int) {
        unsafe e.local.pointee.flowsTx.acquire()
        unsafe flows.pointee.lock.acquire()
        let bit: UInt64 = flowBit(i)
        if let f = unsafe flows.pointee.entries[i].endpoint {
            unsafe flows.pointee.entries[i] = unsafe Flow(remote: flows.pointee.entries[i].remote, isWhole: false)
            unsafe flows.pointee.isKnown &= ~bit
            unsafe flows.pointee.isCounted &= ~bit
            unsafe flows.pointee.hasStock &= ~bit
            unsafe flows.pointee.silent = 0
            unsafe flows.pointee.mustPass &= ~bit
            unsafe flows.pointee.hasSent &= ~bit
            unsafe flows.pointee.isRinging &= ~bit
            if let d = unsafe f.txDirection, unsafe slc_acquire_u32(&d.pointee.rx_control) == UInt32(SL_RX_WANT) {
                unsafe FlowLane.leave(f, d, UInt32(SL_RX_WANT))
            }
            unsafe keepCounts(e, f)
            unsafe free(f)
        }
        unsafe flows.pointee.lock.release()
        unsafe e.local.pointee.flowsTx.release()
    }

    /// Has the flow been given up, and can it begin anew? For who only sends; without a system call.
    static func isOver(_ e: Endpoint, _ f: Endpoint) -> Bool {
        guard unsafe f.pointee.flags & UInt32(SL_EP_GIVEN_UP) != 0 else { return false }
        if let d = unsafe f.rxDirection, unsafe slc_acquire_u64(&d.pointee.left) != 0 { return true }
        return unsafe isAloneAgain(e, f)
    }

    /// Begins a flow anew that is over, unless something of it is unread.
    static func retireOver(_ e: Endpoint, _ remote: sl_address) {
        unsafe e.local.pointee.flowsRx.acquire()
        if let flows = unsafe known(e), let i = unsafe flows.find(remote), let f = unsafe flows.pointee.entries[i].endpoint,
            unsafe isOver(e, f) && !flows.hasNews(i)
        {
            unsafe retire(e, flows, i)
        }
        unsafe e.local.pointee.flowsRx.release()
    }

    /// What a flow has counted is the socket's from now on: its counts never go down.
    private static func keepCounts(_ e: Endpoint, _ f: Endpoint) {
        unsafe add(f.pointee.counters, &e.pointee.counters)
        unsafe f.pointee.counters = sl_endpoint_counters()
    }

    /// Who has sent this by the kernel has no place, and all are taken: flows give up theirs whose peers have ended or left, and
    /// those that came to no lane and are idle. Looked for at most ten times a second. Under `flowsRx`.
    @inline(never) static func makeRoom(_ e: Endpoint, _ flows: UnsafeMutablePointer<Flows>) {
        let now = slc_tsc()
        guard unsafe now &- flows.pointee.roomLook > 100_000 &* process.tickRate else { return }
        unsafe flows.pointee.roomLook = now
        var i = 0
        while i < most {
            if unsafe hasEnded(flows, i) {
                unsafe retire(e, flows, i)
                unsafe flows.pointee.entries[i].remote = sl_address()
            }
            i &+= 1
        }
    }

    private static func hasEnded(_ flows: UnsafeMutablePointer<Flows>, _ i: Int) -> Bool {
        let flow = unsafe flows.pointee.entries + i
        guard let f = unsafe flow.pointee.endpoint else { return false }
        if unsafe slc_acquire_u32(&f.pointee.lane) == UInt32(SL_LANE_LOOPBACK) {
            // A peer whose socket is closed reads no more. One that has a thread which sends may just be writing.
            guard let tx = unsafe f.txDirection, let rx = unsafe f.rxDirection, unsafe !flows.hasNews(i),
                unsafe slc_acquire_u32(&tx.pointee.rx_control) == UInt32(SL_RX_GONE) || FlowLane.peerIsGone(f)
            else { return false }
            _ = unsafe shut(rx)
            _ = unsafe slc_cas_u32(&rx.pointee.rx_control, UInt32(SL_RX_TAKING), UInt32(SL_RX_GONE))
            return unsafe !flows.hasNews(i)
        }
        let messages = unsafe slc_relaxed_u32(&flow.pointee.messages)
        defer { unsafe flow.pointee.messagesThen = messages }
        return unsafe flow.pointee.messagesThen == messages
    }

    private static func free(_ f: Endpoint) {
        unsafe process.lock.acquire()
        unsafe Rendezvous.withdraw(f)
        unsafe Ancillary.free(f)
        unsafe process.lock.release()
        if unsafe slc_acquire_u32(&f.pointee.lane) == UInt32(SL_LANE_LOOPBACK) { unsafe Lane.detach(f) }
        unsafe f.pointee.descriptors = 0
        unsafe StackMemory.free(f)
    }

    private static func leave(_ f: Endpoint, _ reason: Reason, _ foreign: Bool) {
        let isNew = unsafe slc_or_u32(&f.pointee.flags, UInt32(SL_EP_GIVEN_UP)) & UInt32(SL_EP_GIVEN_UP) == 0
        if isNew { unsafe f.pointee.reason = reason.number }
        guard unsafe slc_acquire_u32(&f.pointee.lane) == UInt32(SL_LANE_LOOPBACK) else { return }
        if isNew {
            unsafe f.pointee.counters.lane_handbacks &+= 1
            count(StackCounter.lanesHandedBack)
        }
        guard let d = unsafe f.rxDirection else { return }
        guard foreign else {
            if unsafe isNew && slc_exchange_u32(&d.pointee.rx_control, UInt32(SL_RX_GONE)) == UInt32(SL_RX_WRITING) {
                _ = unsafe slc_or_u32(sl_flags(f.rx), UInt32(SL_HALF_AWAITED))
            }
            return
        }
        unsafe FlowGift.give(f, d, after: shut(d))
        _ = unsafe slc_or_u32(sl_flags(f.rx), UInt32(SL_HALF_GONE))
    }

    /// What is in the ring cannot be given to the program as the kernel would: the kernel carries it, and all that follows. Under
    /// `flowsRx`.
    static func giveAll(_ f: Endpoint, _ reason: Reason) -> Int? {
        unsafe leave(f, reason, true)
        return nil
    }

    /// Behind this a sender that was just writing has done so, or never will; and none sends by the kernel before the gift is
    /// over. What the ring is after that.
    private static func shut(_ d: Direction) -> UInt32 {
        var turns = 0
        while true {
            let control = unsafe slc_relaxed_u32(&d.pointee.rx_control)
            turns &+= 1
            // A word that changes all the time is nobody's: what is in the ring is left there.
            if turns > 8000 {
                _ = unsafe slc_exchange_u32(&d.pointee.rx_control, UInt32(SL_RX_TAKING))
                return UInt32(SL_RX_GONE)
            }
            if control == UInt32(SL_RX_WRITING) && turns < 4000 {
                slc_pause()
            } else if unsafe slc_cas_u32(&d.pointee.rx_control, control, UInt32(SL_RX_TAKING)) {
                // What one that stood still publishes yet, it sends again itself.
                return UInt32(control == UInt32(SL_RX_WANT) || control == UInt32(SL_RX_WRITING) ? SL_RX_WANT : SL_RX_GONE)
            }
        }
    }

    /// The socket's last descriptor here is being closed: what is unread goes with it, as in the kernel.
    static func end(_ e: Endpoint) {
        unsafe handBack(e, .ended)
        unsafe e.local.pointee.flowsRx.acquire()
        unsafe e.local.pointee.flowsTx.acquire()
        if let flows = unsafe known(e) {
            unsafe flows.eachEndpoint { f in unsafe free(f) }
            unsafe process.lock.acquire()
            unsafe e.local.pointee.flows = nil
            unsafe process.pool.give(UnsafeMutableRawPointer(flows.pointee.entries), MemoryLayout<Flow>.stride * most)
            unsafe process.pool.give(UnsafeMutableRawPointer(flows), MemoryLayout<Flows>.stride)
            unsafe process.lock.release()
        }
        unsafe e.local.pointee.flowsTx.release()
        unsafe e.local.pointee.flowsRx.release()
    }
}

extension Flows {
    /// What the rings of a socket have carried, beside its own counters.
    static func add(_ e: Endpoint, _ sum: inout sl_endpoint_counters) {
        unsafe e.local.pointee.flowsRx.acquire()
        unsafe known(e)?.eachEndpoint { f in unsafe add(f.pointee.counters, &sum) }
        unsafe e.local.pointee.flowsRx.release()
    }

    private static func add(_ c: sl_endpoint_counters, _ sum: inout sl_endpoint_counters) {
        sum.rx_packets &+= c.rx_packets
        sum.tx_packets &+= c.tx_packets
        sum.rx_ring_bytes &+= c.rx_ring_bytes
        sum.tx_ring_bytes &+= c.tx_ring_bytes
        sum.drops &+= c.drops
        sum.lane_openings &+= c.lane_openings
        sum.lane_handbacks &+= c.lane_handbacks
        sum.wakes_sent &+= c.wakes_sent
    }
}

extension UnsafeMutablePointer where Pointee == Flows {
    fileprivate func eachEndpoint(_ body: (Endpoint) -> Void) {
        var i = 0
        while unsafe i < Int(slc_relaxed_u32(&pointee.used)) {
            if let f = unsafe pointee.entries[i].endpoint { unsafe body(f) }
            i &+= 1
        }
    }
}
