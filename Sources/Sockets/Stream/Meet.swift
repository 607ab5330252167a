import CLinux
import CStackLayout
import Counters
import Settings
import SharedMemory
import Stacks

/// When a connection tries for a lane, and what becomes of the try. Runs inside the program's calls on that socket.
enum Meet {
    /// Called by every data call on a socket without a lane. Cheap for sockets that have given up.
    @inline(__always) static func consider(_ e: Endpoint, _ fd: Int32) {
        if unsafe e.pointee.flags & UInt32(SL_EP_GIVEN_UP | SL_EP_FOREIGN) != 0 { return }
        if unsafe e.pointee.lane == UInt32(SL_LANE_KERNEL) {
            let messages = unsafe e.pointee.messages_in &+ e.pointee.messages_out
            if unsafe process.settings.laneAt != 0 {
                // Known to the tools, too, before it is old enough for a lane.
                if unsafe messages == 4 && e.pointee.cookie == 0 { _ = unsafe Identity.learn(e, fd) }
                guard unsafe messages >= e.pointee.next_attempt,
                    unsafe e.pointee.bytes_in &+ e.pointee.bytes_out >= e.pointee.next_attempt_bytes,
                    unsafe isAlive(e, messages)
                else { return }
            }
        }
        unsafe advance(e, fd)
    }

    /// Some messages in both directions, or some hundred KB in one: it will live.
    private static func isAlive(_ e: Endpoint, _ messages: UInt32) -> Bool {
        let quarter = unsafe UInt32(truncatingIfNeeded: process.settings.laneAt) / 4
        if unsafe Int64(messages) >= process.settings.laneAt && e.pointee.messages_in >= quarter
            && e.pointee.messages_out >= quarter
        {
            return true
        }
        return unsafe e.pointee.bytes_in &+ e.pointee.bytes_out >= 256 << 10
    }

    @inline(never) static func advance(_ e: Endpoint, _ fd: Int32) {
        let local = unsafe e.local
        guard unsafe slc_cas_u32(&local.pointee.meetingBusy, 0, 1) else { return }
        if unsafe e.pointee.lane == UInt32(SL_LANE_KERNEL) {
            if unsafe !prepare(e, fd) {
                unsafe slc_release_u32(&local.pointee.meetingBusy, 0)
                return
            }
            count(StackCounter.meetingsStarted)
            sweep()
            if unsafe local.pointee.tries == 0 { unsafe e.pointee.reason = Reason.meeting.number }
            unsafe slc_release_u32(&e.pointee.lane, UInt32(SL_LANE_MEETING))
        }
        if unsafe e.pointee.lane == UInt32(SL_LANE_MEETING) { unsafe work(e, fd) }
        unsafe slc_release_u32(&local.pointee.meetingBusy, 0)
    }

    /// What processes that have ended leave in ours goes with later meetings, as many as come.
    private static func sweep() {
        var turns = 2
        while turns > 0 {
            turns -= 1
            unsafe process.lock.acquire()
            let pair = unsafe Pair.takeUnused()
            unsafe process.lock.release()
            guard let pair = unsafe pair else { return }
            let isQuiet = unsafe EpollSet.forget(pair)
            unsafe process.lock.acquire()
            if isQuiet {
                if unsafe pair.pointee.ownNonce != process.nonce { unsafe pair.giveBackNumbers(where: Waiter.isOurs) }
                unsafe Pair.dispose(pair)
            } else {
                unsafe Pair.postpone(pair)
            }
            unsafe process.lock.release()
        }
    }

    private static func work(_ e: Endpoint, _ fd: Int32) {
        // Lane at the first byte: the call waits for its peer, a bounded time.
        let patience: UInt64 = unsafe process.settings.laneAt == 0 && e.local.pointee.meeting.waits < 3 ? 30_000_000 : 0
        unsafe e.local.pointee.meeting.waits &+= 1
        let began = patience == 0 ? 0 : slc_now_ns()
        while true {
            switch unsafe Rendezvous.step(e, fd) {
            case .met(let pair, let region, let slot, let rings):
                unsafe e.local.pointee.meeting.end()
                // No fork between the look at who holds the socket and the addresses that a child would not have mapped.
                unsafe process.lock.acquire()
                let isSole = unsafe e.pointee.descriptors == UInt32(bitPattern: e.local.pointee.descriptors)
                if isSole { unsafe Lane.map(e, fd, pair, region, slot, rings) }
                unsafe process.lock.release()
                guard isSole else {
                    unsafe Lane.leave(pair, region, slot, rings)
                    unsafe e.local.pointee.pair = nil
                    unsafe failed(e, .sharedByFork)
                    return
                }
                unsafe Lane.attached(e, fd)
                unsafe openBoth(e, fd)
                return
            case .failed(let reason):
                unsafe failed(e, reason)
                return
            case .goOn:
                guard patience != 0, slc_now_ns() &- began < patience else { return }
                var pause = timespec(tv_sec: 0, tv_nsec: 20_000)
                _ = unsafe slc_ppoll(nil, 0, &pause, nil)
            }
        }
    }

    /// The receiving half may open at once when nobody sleeps in a plain call.
    private static func openBoth(_ e: Endpoint, _ fd: Int32) {
        let lock = unsafe RobustLock(&e.rx.pointee.lock)
        lock.acquire()
        unsafe Lane.openReceive(e, fd)
        lock.release()
        guard unsafe process.settings.laneAt == 0 else { return }
        let end = slc_now_ns() &+ 30_000_000
        while let d = unsafe e.txDirection, unsafe slc_relaxed_u32(&d.pointee.rx_control) == UInt32(SL_RX_CLOSED),
            slc_now_ns() < end
        {
            var pause = timespec(tv_sec: 0, tv_nsec: 20_000)
            _ = unsafe slc_ppoll(nil, 0, &pause, nil)
        }
    }

    private static func failed(_ e: Endpoint, _ reason: Reason) {
        count(StackCounter.meetingsFailed)
        unsafe process.lock.acquire()
        unsafe Rendezvous.withdraw(e)
        unsafe process.lock.release()
        let tries = unsafe e.local.pointee.tries
        unsafe e.local.pointee.tries = tries &+ 1
        // Seldomer each time, so that a plain peer costs next to nothing.
        let most: UInt32 = unsafe reason == .plainPeer && process.settings.laneAt != 0 ? 64 : 3
        let mayCome = reason == .plainPeer || reason == .resources || reason == .limit || reason == .consent
        if mayCome && tries < most {
            // The other end may come under way later than we, or made no call while we looked. Both look again at the same
            // powers of two of the bytes of both directions, which are the same at both ends, however the calls cut them.
            let bytes = unsafe e.pointee.bytes_in &+ e.pointee.bytes_out
            var next: UInt64 = 1 << 10
            while next < 1 << 62 && next < bytes &+ bytes / 4 { next *= 2 }
            unsafe e.pointee.next_attempt_bytes = next
            unsafe e.local.pointee.meeting = Meeting()
        } else {
            unsafe e.pointee.flags |= UInt32(SL_EP_GIVEN_UP)
        }
        unsafe e.pointee.reason = reason.number
        unsafe slc_release_u32(&e.pointee.lane, UInt32(SL_LANE_KERNEL))
        if reason == .resources || reason == .limit {
            unsafe Log.write(
                .resourceWarnings, "no lane for descriptor %d: memory, descriptors or regions are used up",
                e.local.pointee.descriptor)
        }
    }

    private static func refuse(_ e: Endpoint, _ reason: Reason) -> Bool {
        unsafe e.pointee.reason = reason.number
        unsafe e.pointee.flags |= UInt32(SL_EP_GIVEN_UP)
        return false
    }

    /// Learns what the connection is. False: not now, or never (then with a reason).
    private static func prepare(_ e: Endpoint, _ fd: Int32) -> Bool {
        let s = unsafe process.settings
        if unsafe process.sealed { return unsafe refuse(e, .sealedOff) }
        if unsafe process.isCrowded { return unsafe refuse(e, .resources) }
        // Whether rules exist cannot be read without privilege: who wants them obeyed gets the kernel lane.
        if s.withFilters == 2 { return unsafe refuse(e, .packetFilter) }
        if unsafe !(e.pointee.role == 0
            ? s.tcpClientLoopback && !s.tcpConnectHandover : s.tcpServerLoopback && !s.tcpListenHandover)
        {
            return unsafe refuse(e, .setting)
        }
        if unsafe e.pointee.descriptors != UInt32(bitPattern: e.local.pointee.descriptors) {
            unsafe e.pointee.reason = Reason.sharedByFork.number
            unsafe e.pointee.next_attempt = unsafe (e.pointee.messages_in &+ e.pointee.messages_out) &+ 16
            return false
        }
        if unsafe EpollSet.refusesLane(e) {
            unsafe e.pointee.reason = Reason.sharedByFork.number
            unsafe e.pointee.next_attempt = unsafe (e.pointee.messages_in &+ e.pointee.messages_out) &+ 16
            return false
        }
        guard unsafe Identity.learn(e, fd) else { return false }
        if unsafe !s.ports.admits(e.pointee.role == 0 ? e.pointee.remote.port : e.pointee.local.port) {
            return unsafe refuse(e, .setting)
        }
        let loopback =
            unsafe e.pointee.local.ip == e.pointee.remote.ip
            || Identity.isLoopback(e.pointee.local) && Identity.isLoopback(e.pointee.remote)
        if !loopback {
            guard let here = unsafe farEndIsHere(e) else { return unsafe refuse(e, .noProof) }
            if !here { return unsafe refuse(e, .remotePeer) }
        }
        return true
    }
}

/// What the kernel says a socket is.
enum Identity {
    /// Addresses and cookies; false while it is not connected.
    static func learn(_ e: Endpoint, _ fd: Int32) -> Bool {
        var a = slc_address()
        guard unsafe slc_socket_address(fd, 1, &a) == 0 else { return false }
        unsafe e.pointee.remote = sl_address(ip: a.ip, port: a.port, family: a.family, scope: a.scope)
        guard unsafe slc_socket_address(fd, 0, &a) == 0 else { return false }
        unsafe e.pointee.local = sl_address(ip: a.ip, port: a.port, family: a.family, scope: a.scope)
        var n: UInt32 = 8
        if unsafe e.pointee.netns_cookie == 0 {
            _ = unsafe slc_getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &e.pointee.netns_cookie, &n)
        }
        n = 8
        if unsafe e.pointee.cookie == 0 { _ = unsafe slc_getsockopt(fd, SOL_SOCKET, SO_COOKIE, &e.pointee.cookie, &n) }
        unsafe e.pointee.state = UInt32(SL_ENDPOINT_CONNECTED)
        return true
    }

    static func learnLocal(_ e: Endpoint, _ fd: Int32) {
        var a = slc_address()
        guard unsafe slc_socket_address(fd, 0, &a) == 0 else { return }
        unsafe e.pointee.local = sl_address(ip: a.ip, port: a.port, family: a.family, scope: a.scope)
        var n: UInt32 = 8
        if unsafe e.pointee.cookie == 0 { _ = unsafe slc_getsockopt(fd, SOL_SOCKET, SO_COOKIE, &e.pointee.cookie, &n) }
    }

    static func isLoopback(_ a: sl_address) -> Bool {
        let ip = a.ip
        let zeros =
            ip.0 == 0 && ip.1 == 0 && ip.2 == 0 && ip.3 == 0 && ip.4 == 0 && ip.5 == 0 && ip.6 == 0 && ip.7 == 0 && ip.8 == 0
            && ip.9 == 0
        guard zeros else { return false }
        if ip.10 == 0xff && ip.11 == 0xff { return ip.12 == 127 }
        return ip.10 == 0 && ip.11 == 0 && ip.12 == 0 && ip.13 == 0 && ip.14 == 0 && ip.15 == 1
    }
}

func == (
    a: (UInt8, UInt8, UInt8, UInt8, UInt8, UInt8, UInt8, UInt8, UInt8, UInt8, UInt8, UInt8, UInt8, UInt8, UInt8, UInt8),
    b: (UInt8, UInt8, UInt8, UInt8, UInt8, UInt8, UInt8, UInt8, UInt8, UInt8, UInt8, UInt8, UInt8, UInt8, UInt8, UInt8)
) -> Bool {
    var x = a
    var y = b
    return unsafe memcmp(&x, &y, 16) == 0
}
