import CLinux
import CStackLayout
import Counters
import Settings
import SharedMemory
import Stacks

/// When a flow tries for a lane. Runs inside the program's calls on the socket; never waits.
extension Flows {
    /// A datagram went by the kernel to or came from `remote`. Under `flowsRx` or `flowsTx`. True: a lane has opened, which
    /// `opened` must be told of without these locks.
    static func note(_ e: Endpoint, _ fd: Int32, _ remote: sl_address) -> Bool {
        guard unsafe e.pointee.flags & UInt32(SL_EP_FOREIGN | SL_EP_OPTION) == 0, unsafe !process.sealed && !process.isCrowded,
            unsafe isAlone(e), remote.port != 0, let flows = unsafe Flows.of(e), unsafe flows.pointee.lock.tryAcquire()
        else { return false }
        defer { unsafe flows.pointee.lock.release() }
        guard let i = unsafe flows.findOrMake(remote) else { return false }
        let flow = unsafe flows.pointee.entries + i
        unsafe flow.pointee.messages = unsafe flow.pointee.messages &+ 1
        if unsafe flow.pointee.endpoint == nil {
            let at = unsafe max(UInt32(truncatingIfNeeded: process.settings.laneAt), 2)
            guard unsafe flow.pointee.messages >= at && flow.pointee.messages >= flow.pointee.nextAttempt else { return false }
            unsafe flow.pointee.nextAttempt = unsafe flow.pointee.messages &* 2
            guard unsafe begin(e, fd, flow) else { return false }
        }
        guard let f = unsafe flow.pointee.endpoint else { return false }
        guard unsafe advance(fd, flow, f) else {
            // Who sends to the group is asked for by its address, and does not come.
            if unsafe e.local.pointee.joinsGroups && f.pointee.reason == Reason.plainPeer.number {
                unsafe f.pointee.reason = Reason.multicast.number
            }
            return false
        }
        _ = unsafe slc_add_u32(&flows.pointee.open, 1)
        _ = unsafe slc_add_u32(&e.pointee.lane_generation, 1)
        return true
    }

    /// Does this process alone hold the socket? Else the reason is that.
    private static func isAlone(_ e: Endpoint) -> Bool {
        let isShared = unsafe e.pointee.descriptors != UInt32(bitPattern: e.local.pointee.descriptors)
        let reason = isShared ? Reason.young.number : Reason.sharedByFork.number
        if unsafe e.pointee.reason == reason {
            unsafe e.pointee.reason = isShared ? Reason.sharedByFork.number : Reason.young.number
        }
        return !isShared
    }

    /// All sets that watch the socket know of its rings from now on; then these may be used.
    static func opened(_ e: Endpoint) {
        unsafe EpollSet.ringsOpened(e)
        unsafe e.local.pointee.flowsRx.acquire()
        if let flows = unsafe known(e) {
            var i = 0
            while unsafe i < Int(flows.pointee.used) {
                if unsafe flows.pointee.isKnown & flowBit(i) == 0, let f = unsafe flows.laned(i) {
                    // The sender's count begins one higher, too.
                    unsafe f.rx.pointee.kernel_bytes = unsafe flows.pointee.entries[i].received &+ 1
                    unsafe flows.pointee.isKnown |= flowBit(i)
                    unsafe flows.pointee.backlogPause = 0
                }
                i &+= 1
            }
        }
        unsafe e.local.pointee.flowsRx.release()
    }

    /// The flow gets an endpoint. False: not now, or never (then with a reason at the socket's own endpoint).
    private static func begin(_ e: Endpoint, _ fd: Int32, _ flow: UnsafeMutablePointer<Flow>) -> Bool {
        let s = unsafe process.settings
        let remote = unsafe flow.pointee.remote
        if s.withFilters == 2 { return unsafe refuse(e, .packetFilter) }
        guard s.udp && s.tcpClientLoopback && s.tcpServerLoopback else { return unsafe refuse(e, .setting) }
        if !remote.isUnicast { return unsafe refuse(e, .multicast) }
        guard isExclusive(fd), unsafe Flows.known(e).map({ unsafe !$0.hasTwin(remote) }) ?? true else {
            return unsafe refuse(e, .sharedPort)
        }
        unsafe Identity.learnLocal(e, fd)
        var netns: UInt64 = 0
        var n: UInt32 = 8
        guard unsafe slc_getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &netns, &n) == 0, let own = unsafe ownAddress(e, remote),
            own.port != remote.port
        else { return false }
        guard s.ports.admits(own.port, remote.port) else { return unsafe refuse(e, .setting) }
        guard let f = unsafe StackMemory.allocate() else { return false }
        unsafe f.pointee.family = unsafe e.pointee.family
        unsafe f.pointee.flags = UInt32(SL_EP_FLOW)
        unsafe f.pointee.descriptor = unsafe e.pointee.descriptor
        unsafe f.pointee.type = 2
        unsafe f.pointee.protocol = 17
        unsafe f.pointee.cookie = unsafe e.pointee.cookie
        unsafe f.pointee.netns_cookie = netns
        unsafe f.pointee.local = own
        unsafe f.pointee.remote = remote
        unsafe f.pointee.role = own.port > remote.port ? 0 : 1
        unsafe f.pointee.rx_lowat = 1
        unsafe f.local.pointee.descriptor = fd
        unsafe f.pointee.reason = Reason.young.number
        let isNear = own.ip == remote.ip || Identity.isLoopback(own) && Identity.isLoopback(remote)
        guard unsafe isNear || farEndIsHere(f) == true else {
            unsafe f.pointee.descriptors = 0
            unsafe StackMemory.free(f)
            return unsafe refuse(e, .remotePeer)
        }
        unsafe f.pointee.state = UInt32(SL_ENDPOINT_CONNECTED)
        slc_fence()
        unsafe flow.pointee.endpoint = unsafe f
        return true
    }

    /// An option by which the kernel alone can serve the socket: no lanes, from now on.
    static func exclude(_ e: Endpoint, _ reason: Reason) {
        guard unsafe slc_or_u32(&e.pointee.flags, UInt32(SL_EP_OPTION)) & UInt32(SL_EP_OPTION) == 0 else { return }
        unsafe e.pointee.reason = reason.number
        // What lies in rings shall be as the kernel makes it with the option.
        unsafe handBack(e, reason, foreign: reason == .option || reason == .sharedPort)
    }

    private static func refuse(_ e: Endpoint, _ reason: Reason) -> Bool {
        unsafe e.pointee.reason = reason.number
        return false
    }

    /// Nobody else may be bound to the port: else the kernel chooses who gets a datagram.
    private static func isExclusive(_ fd: Int32) -> Bool {
        func isOn(_ name: Int32) -> Bool {
            var v: Int32 = 0
            var n: UInt32 = 4
            return unsafe slc_getsockopt(fd, SOL_SOCKET, name, &v, &n) != 0 || v != 0
        }
        return !isOn(SO_REUSEADDR) && !isOn(SO_REUSEPORT)
    }

    /// By which address the peer knows us: the one that the socket is bound to, else the one that the kernel would choose.
    private static func ownAddress(_ e: Endpoint, _ remote: sl_address) -> sl_address? {
        var own = unsafe e.pointee.local
        guard own.port != 0 else { return nil }
        let zero = sl_address()
        var mapped = sl_address()
        mapped.ip.10 = 0xff
        mapped.ip.11 = 0xff
        guard own.ip == zero.ip || own.ip == mapped.ip else { return own }
        let s = slc_socket(Int32(remote.family), 2 | 0o2000000, 0)
        guard s >= 0 else { return nil }
        let probe = Int32(truncatingIfNeeded: s)
        defer { _ = slc_close(probe) }
        var name = sockaddr_in6()
        var far = slc_address(remote)
        var near = slc_address()
        let length = unsafe slc_name_of(&far, &name, 28)
        guard unsafe slc_connect(probe, &name, length) == 0, unsafe slc_socket_address(probe, 0, &near) == 0 else { return nil }
        own.ip = near.ip
        own.scope = near.scope
        return own
    }

    /// A step of the meeting. True: the flow has its lane.
    private static func advance(_ fd: Int32, _ flow: UnsafeMutablePointer<Flow>, _ f: Endpoint) -> Bool {
        guard unsafe f.pointee.flags & UInt32(SL_EP_GIVEN_UP) == 0, unsafe f.pointee.lane != UInt32(SL_LANE_LOOPBACK),
            unsafe flow.pointee.messages >= f.pointee.next_attempt
        else { return false }
        if unsafe f.pointee.lane == UInt32(SL_LANE_KERNEL) {
            count(StackCounter.meetingsStarted)
            if unsafe f.local.pointee.tries == 0 { unsafe f.pointee.reason = Reason.meeting.number }
            unsafe slc_release_u32(&f.pointee.lane, UInt32(SL_LANE_MEETING))
        }
        switch unsafe Rendezvous.step(f, fd) {
        case .goOn: return false
        case .failed(let reason):
            unsafe failed(flow, f, reason)
            return false
        case .met(let pair, let region, let slot, let rings):
            unsafe f.local.pointee.meeting.end()
            // The ring of another user is no lane for datagrams yet: who floods it is not told apart from who is slow.
            if unsafe pair.pointee.isStranger {
                unsafe Lane.leave(pair, region, slot, rings)
                unsafe f.local.pointee.pair = nil
                unsafe failed(flow, f, .consent)
                return false
            }
            unsafe process.lock.acquire()
            unsafe Lane.map(f, fd, pair, region, slot, rings)
            unsafe process.lock.release()
            unsafe process.calibrate()
            unsafe f.pointee.tx_limit = unsafe f.pointee.ring_bytes
            unsafe f.local.pointee.farInode = unsafe farEndInode(f) ?? 0
            if let d = unsafe f.txDirection { unsafe slc_set_u32(&d.pointee.sender_descriptor, UInt32(bitPattern: fd) &+ 1) }
            unsafe f.pointee.reason = Reason.young.number
            count(StackCounter.lanesOpened)
            return true
        }
    }

    private static func failed(_ flow: UnsafeMutablePointer<Flow>, _ f: Endpoint, _ reason: Reason) {
        count(StackCounter.meetingsFailed)
        unsafe process.lock.acquire()
        unsafe Rendezvous.withdraw(f)
        unsafe process.lock.release()
        unsafe f.local.pointee.meeting = Meeting()
        let tries = unsafe f.local.pointee.tries
        unsafe f.local.pointee.tries = tries &+ 1
        unsafe f.pointee.reason = reason.number
        let mayCome = reason == .plainPeer || reason == .resources || reason == .limit || reason == .consent
        if mayCome && tries < 16 {
            // Both ends have counted the same datagrams, and look again at the same powers of two.
            var next: UInt32 = 16
            while unsafe next < 1 << 30 && next < flow.pointee.messages &+ flow.pointee.messages / 4 { next *= 2 }
            unsafe f.pointee.next_attempt = next
        } else {
            unsafe f.pointee.flags |= UInt32(SL_EP_GIVEN_UP)
        }
        unsafe slc_release_u32(&f.pointee.lane, UInt32(SL_LANE_KERNEL))
    }
}

extension sl_address {
    init(_ a: slc_address) { self.init(ip: a.ip, port: a.port, family: a.family, scope: a.scope) }

    /// Neither unspecified, nor a group's or a network's address.
    var isUnicast: Bool {
        let isZero = ip.0 | ip.1 | ip.2 | ip.3 | ip.4 | ip.5 | ip.6 | ip.7 | ip.8 | ip.9 == 0
        if isZero && ip.10 == 0xff && ip.11 == 0xff { return ip.12 != 0 && ip.12 < 224 }
        if isZero && ip.10 | ip.11 | ip.12 | ip.13 | ip.14 | ip.15 == 0 { return false }
        return ip.0 != 0xff
    }
}
