import CLinux
import CStackLayout
import Counters
import Settings
import SharedMemory
import Stacks

/// When a flow tries for a lane. Runs inside the program's calls on the socket; never waits.
extension Flows {
    /// A datagram went by the kernel to or came from `remote`.
    static func note(_ e: Endpoint, _ fd: Int32, _ remote: sl_address) {
        guard unsafe e.pointee.flags & UInt32(SL_EP_FOREIGN | SL_EP_SHARED) == 0, unsafe !process.sealed && !process.isCrowded,
            remote.port != 0, let flows = unsafe Flows.of(e), let flow = unsafe flows.findOrMake(remote)
        else { return }
        unsafe flow.pointee.messages = unsafe flow.pointee.messages &+ 1
        if unsafe flow.pointee.endpoint == nil {
            let at = unsafe max(UInt32(truncatingIfNeeded: process.settings.laneAt), 2)
            guard unsafe flow.pointee.messages >= at && flow.pointee.messages >= flow.pointee.nextAttempt else { return }
            unsafe flow.pointee.nextAttempt = unsafe flow.pointee.messages &* 2
            guard unsafe begin(e, fd, flow) else { return }
        }
        if let f = unsafe flow.pointee.endpoint { unsafe advance(e, fd, flows, flow, f) }
    }

    /// The flow gets an endpoint. False: not now, or never (then with a reason at the socket's own endpoint).
    private static func begin(_ e: Endpoint, _ fd: Int32, _ flow: UnsafeMutablePointer<Flow>) -> Bool {
        let s = unsafe process.settings
        if s.withFilters == 2 { return unsafe refuse(e, .packetFilter) }
        guard s.tcpClientLoopback && s.tcpServerLoopback else { return unsafe refuse(e, .setting) }
        guard unsafe isExclusive(fd) else { return unsafe refuse(e, .sharedPort) }
        guard unsafe e.local.pointee.memberships == nil else { return unsafe refuse(e, .kind) }
        unsafe Identity.learnLocal(e, fd)
        var netns: UInt64 = 0
        var n: UInt32 = 8
        guard unsafe slc_getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &netns, &n) == 0,
            let own = unsafe ownAddress(e, flow.pointee.remote), unsafe own.port != flow.pointee.remote.port
        else { return false }
        guard let f = unsafe StackMemory.allocate() else { return false }
        unsafe f.pointee.family = unsafe e.pointee.family
        unsafe f.pointee.type = 2
        unsafe f.pointee.protocol = 17
        unsafe f.pointee.cookie = unsafe e.pointee.cookie
        unsafe f.pointee.netns_cookie = netns
        unsafe f.pointee.local = own
        unsafe f.pointee.remote = unsafe flow.pointee.remote
        unsafe f.pointee.role = unsafe own.port > flow.pointee.remote.port ? 0 : 1
        unsafe f.pointee.state = UInt32(SL_ENDPOINT_CONNECTED)
        unsafe f.pointee.rx_lowat = 1
        unsafe f.local.pointee.descriptor = fd
        unsafe f.pointee.reason = Reason.young.number
        slc_fence()
        unsafe flow.pointee.endpoint = unsafe f
        return true
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

    /// A step of the meeting.
    private static func advance(
        _ e: Endpoint, _ fd: Int32, _ flows: UnsafeMutablePointer<Flows>, _ flow: UnsafeMutablePointer<Flow>, _ f: Endpoint
    ) {
        guard unsafe f.pointee.flags & UInt32(SL_EP_GIVEN_UP) == 0, unsafe f.pointee.lane != UInt32(SL_LANE_LOOPBACK),
            unsafe flow.pointee.messages >= f.pointee.next_attempt,
            unsafe slc_cas_u32(&f.local.pointee.meetingBusy, 0, 1)
        else { return }
        defer { unsafe slc_release_u32(&f.local.pointee.meetingBusy, 0) }
        if unsafe f.pointee.lane == UInt32(SL_LANE_KERNEL) {
            count(StackCounter.meetingsStarted)
            unsafe f.pointee.reason = Reason.meeting.number
            unsafe slc_release_u32(&f.pointee.lane, UInt32(SL_LANE_MEETING))
        }
        switch unsafe Rendezvous.step(f, fd) {
        case .goOn: return
        case .failed(let reason): unsafe failed(flow, f, reason)
        case .met(let pair, let region, let slot, let rings):
            unsafe f.local.pointee.meeting.end()
            if unsafe pair.pointee.isStranger {
                unsafe Lane.leave(pair, region, slot, rings)
                unsafe f.local.pointee.pair = nil
                unsafe failed(flow, f, .consent)
                return
            }
            unsafe process.lock.acquire()
            unsafe Lane.map(f, fd, pair, region, slot, rings)
            unsafe process.lock.release()
            unsafe process.calibrate()
            count(StackCounter.lanesOpened)
            if let d = unsafe f.rxDirection {
                _ = unsafe slc_cas_u32(&d.pointee.rx_control, UInt32(SL_RX_CLOSED), UInt32(SL_RX_OPEN))
            }
            _ = unsafe slc_add_u32(&flows.pointee.open, 1)
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
            unsafe f.pointee.next_attempt = unsafe flow.pointee.messages &* 2
        } else {
            unsafe f.pointee.flags |= UInt32(SL_EP_GIVEN_UP)
        }
        unsafe slc_release_u32(&f.pointee.lane, UInt32(SL_LANE_KERNEL))
    }
}
