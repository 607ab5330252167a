import CLinux
import CStackLayout
import Counters
import Settings
import SharedMemory

/// What a step of a meeting came to.
@safe public enum MeetingResult {
    case goOn
    /// Both ends have mapped slot `slot` of `region`.
    case met(UnsafeMutablePointer<Pair>, region: Int32, slot: Int32, rings: UnsafeMutableRawPointer)
    case failed(Reason)
}

/// The steps. All are made by one thread at a time (`Local.meetingBusy`), without the process lock but where said.
public enum Rendezvous {
    /// Number of looks after which an end gives up, and how long a name stays open.
    static var patience: UInt32 { 64 }
    static var nameNs: UInt64 { unsafe process.settings.laneAt == 0 ? 1_000_000_000 : 50_000_000 }
    static var mostLooks: UInt32 { unsafe process.settings.laneAt == 0 ? 1 << 20 : 4096 }
    static var greetingNs: UInt64 { nameNs }

    /// One step forward for the connection `e` with descriptor `fd`.
    public static func step(_ e: Endpoint, _ fd: Int32) -> MeetingResult {
        let m = unsafe e.local
        switch unsafe m.pointee.meeting.step {
        case .idle: return unsafe begin(e, fd)
        case .listening: return unsafe listening(e, fd)
        case .knocking: return unsafe knock(e, fd)
        case .greeting: return unsafe greeting(e, fd)
        case .proven: return unsafe proven(e, fd)
        case .offered: return unsafe offered(e, fd)
        case .done, .over: return .failed(.ended)
        }
    }

    /// A unix socket of the same network namespace as the connection; after setns it may be another one.
    static func unixSocket(_ e: Endpoint) -> Int32 {
        let s = OwnDescriptor.adopt(rawSocket())
        guard s >= 0 else { return -1 }
        if unsafe isOfNamespace(s, e) { return s }
        OwnDescriptor.close(s)
        return -2
    }

    private static func rawSocket() -> Int {
        slc_socket(AF_UNIX, SOCK_SEQPACKET_NUMBER | SOCK_CLOEXEC_FLAG | SOCK_NONBLOCK_FLAG, 0)
    }

    private static func isOfNamespace(_ s: Int32, _ e: Endpoint) -> Bool {
        var cookie: UInt64 = 0
        var n: UInt32 = 8
        return unsafe slc_getsockopt(s, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &n) == 0 && cookie == e.pointee.netns_cookie
    }

    static func begin(_ e: Endpoint, _ fd: Int32) -> MeetingResult {
        let m = unsafe e.local
        unsafe m.pointee.meeting.owner = unsafe process.nonce
        unsafe m.pointee.meeting.began = slc_now_ns()
        unsafe m.pointee.meeting.looks = 0
        if unsafe e.pointee.role == 0 {
            unsafe m.pointee.meeting.step = .knocking
            unsafe m.pointee.meeting.nextLook = 1
            return unsafe knock(e, fd)
        }
        guard unsafe openNames < 64 else { return .goOn }
        let s = unsafe unixSocket(e)
        guard s >= 0 else { return .failed(s == -2 ? .namespace : .resources) }
        var name = unsafe MeetingName(cookie: e.pointee.netns_cookie, acceptor: e.pointee.local, connector: e.pointee.remote)
        var a = sockaddr_un()
        let n = name.address(&a)
        let r = unsafe slc_bind(s, &a, n)
        guard r == 0, slc_listen(s, 4) == 0 else {
            OwnDescriptor.close(s)
            return .failed(r == -Int(EADDRINUSE) ? .proof : .resources)
        }
        unsafe openNames += 1
        unsafe m.pointee.meeting.listener = s
        unsafe m.pointee.meeting.step = .listening
        return .goOn
    }

    static func listening(_ e: Endpoint, _ fd: Int32) -> MeetingResult {
        let m = unsafe e.local
        let c = unsafe slc_accept4(m.pointee.meeting.listener, nil, nil, SOCK_CLOEXEC_FLAG | SOCK_NONBLOCK_FLAG)
        if c >= 0 {
            let channel = OwnDescriptor.adopt(c)
            guard channel >= 0 else { return .failed(.resources) }
            unsafe m.pointee.meeting.channel = channel
            unsafe m.pointee.meeting.greeted = slc_now_ns()
            if let reason = OwnDescriptor.withRoom({ unsafe hello(e, fd) }) {
                unsafe dropVisitor(e)
                if reason == .noProof { return .failed(reason) }
                return .goOn
            }
            unsafe m.pointee.meeting.step = .greeting
            return unsafe greeting(e, fd)
        }
        unsafe m.pointee.meeting.looks &+= 1
        if unsafe m.pointee.meeting.looks > patience && slc_now_ns() &- m.pointee.meeting.began > nameNs {
            return .failed(.plainPeer)
        }
        if unsafe m.pointee.meeting.looks > mostLooks { return .failed(.plainPeer) }
        return .goOn
    }

    /// Whoever knocked is not the other end: the name stays open for the true one.
    static func dropVisitor(_ e: Endpoint) {
        unsafe OwnDescriptor.close(e.local.pointee.meeting.channel)
        unsafe e.local.pointee.meeting.channel = -1
        unsafe e.local.pointee.meeting.step = .listening
    }

    static func knock(_ e: Endpoint, _ fd: Int32) -> MeetingResult {
        let m = unsafe e.local
        unsafe m.pointee.meeting.looks &+= 1
        guard unsafe m.pointee.meeting.looks >= m.pointee.meeting.nextLook else { return .goOn }
        unsafe m.pointee.meeting.nextLook =
            unsafe m.pointee.meeting.looks &+ 1 &+ (process.settings.laneAt == 0 ? 0 : m.pointee.meeting.looks / 4)
        var refusal: Reason? = nil
        let s = OwnDescriptor.adopt(unsafe dial(e, &refusal))
        guard s >= 0 else {
            guard refusal == .plainPeer else { return .failed(refusal ?? .resources) }
            if unsafe m.pointee.meeting.looks > patience && slc_now_ns() &- m.pointee.meeting.began > nameNs {
                return .failed(.plainPeer)
            }
            if unsafe m.pointee.meeting.looks > mostLooks { return .failed(.plainPeer) }
            return .goOn
        }
        unsafe m.pointee.meeting.channel = s
        unsafe m.pointee.meeting.greeted = slc_now_ns()
        if let reason = OwnDescriptor.withRoom({ unsafe hello(e, fd) }) { return .failed(reason) }
        unsafe m.pointee.meeting.step = .greeting
        return unsafe greeting(e, fd)
    }

    /// A channel to the other end's name, or -errno; `refusal` says why there is none, nil: for want of a descriptor.
    private static func dial(_ e: Endpoint, _ refusal: inout Reason?) -> Int {
        refusal = nil
        let r = rawSocket()
        guard r >= 0 else { return r }
        let s = Int32(truncatingIfNeeded: r)
        var name = unsafe MeetingName(cookie: e.pointee.netns_cookie, acceptor: e.pointee.remote, connector: e.pointee.local)
        var a = sockaddr_un()
        let n = name.address(&a)
        if unsafe !isOfNamespace(s, e) {
            refusal = .namespace
        } else if unsafe slc_connect(s, &a, n) == 0 {
            return r
        } else {
            refusal = .plainPeer
        }
        _ = slc_close(s)
        return -Int(ECONNREFUSED)
    }

    /// Consent, then who we are and the proof that we hold our end. Nil when sent.
    static func hello(_ e: Endpoint, _ fd: Int32) -> Reason? {
        let m = unsafe e.local
        var uid: UInt32 = 0
        guard unsafe slc_peer_uid(m.pointee.meeting.channel, &uid) == 0 else { return .consent }
        guard Consent.admits(uid) else { return .consent }
        unsafe m.pointee.meeting.peerUid = uid
        guard let counts = unsafe KernelCounts.take(fd, connecting: e.pointee.role == 0) else { return .counts }
        unsafe m.pointee.meeting.counts = counts
        let proof = slc_epoll_create1(Int32(O_CLOEXEC))
        guard proof >= 0 else { return .resources }
        let p = Int32(truncatingIfNeeded: proof)
        defer { _ = slc_close(p) }
        var event = unsafe epoll_event()
        guard unsafe slc_epoll_ctl(p, EPOLL_CTL_ADD, fd, &event) == 0 else { return .resources }
        var hello = message(SL_MESSAGE_HELLO)
        hello.uid = slc_geteuid()
        hello.ring_bytes = unsafe UInt64(process.settings.ringBytes)
        hello.sent = counts.sent
        hello.received = counts.received
        hello.unacknowledged = counts.unacknowledged
        return unsafe send(m.pointee.meeting.channel, &hello, p) ? nil : .resources
    }

    static func message(_ kind: Int) -> sl_message {
        var m = sl_message()
        m.magic = SL_MESSAGE_MAGIC
        m.kind = UInt32(kind)
        m.nonce = unsafe process.nonce
        return m
    }

    static func send(_ channel: Int32, _ m: inout sl_message, _ pass: Int32 = -1) -> Bool {
        unsafe slc_send_message(channel, &m, MemoryLayout<sl_message>.size, pass) == MemoryLayout<sl_message>.size
    }

    /// One message, or nil: nothing yet. `broken`: the channel ended or spoke something else.
    static func receive(_ e: Endpoint, _ m: inout sl_message, _ passed: inout Int32, _ broken: inout Bool) -> Bool {
        let own = unsafe e.local
        unsafe own.pointee.meeting.looks &+= 1
        // A peer with many connections to meet takes its time: later looks are rarer.
        if unsafe own.pointee.meeting.looks > patience && own.pointee.meeting.looks & 7 != 0 { return false }
        var n = unsafe slc_recvfrom(own.pointee.meeting.channel, nil, 0, 0x2 | 0x40)  // is there anything?
        if n != -Int(EAGAIN) {
            n = OwnDescriptor.withRoom {
                unsafe slc_receive_message(e.local.pointee.meeting.channel, &m, MemoryLayout<sl_message>.size, &passed)
            }
        }
        if n == -Int(EAGAIN) {
            let limit = unsafe own.pointee.meeting.step == .greeting ? greetingNs : 2_000_000_000
            broken = unsafe slc_now_ns() &- own.pointee.meeting.greeted > limit && own.pointee.meeting.looks > patience
            return false
        }
        if n != MemoryLayout<sl_message>.size || m.magic != SL_MESSAGE_MAGIC {
            if passed >= 0 { _ = slc_close(passed) }
            passed = -1
            broken = true
            return false
        }
        return true
    }

    static func greeting(_ e: Endpoint, _ fd: Int32) -> MeetingResult {
        let m = unsafe e.local
        var got = sl_message()
        var passed: Int32 = -1
        var broken = false
        guard unsafe receive(e, &got, &passed, &broken) else { return unsafe broken ? stranger(e) : .goOn }
        guard got.kind == UInt32(SL_MESSAGE_HELLO), passed >= 0, got.nonce != 0 else {
            if passed >= 0 { _ = slc_close(passed) }
            return unsafe stranger(e)
        }
        let verdict = OwnDescriptor.withRoom { unsafe Proof.check(passed, e) }
        _ = slc_close(passed)
        if verdict == .noProof { return .failed(.noProof) }
        guard verdict == .none else { return unsafe stranger(e) }
        guard unsafe countsAgree(m.pointee.meeting.counts, got) else { return .failed(.counts) }
        unsafe m.pointee.meeting.peer = got
        if unsafe e.pointee.role == 1 {
            unsafe m.pointee.meeting.step = .proven
            return unsafe proven(e, fd)
        }
        return unsafe offer(e, fd)
    }

    /// What the one received cannot be more than the other sent, and is not less than what the other knows confirmed.
    /// The counts were taken at different moments, so only bounds that hold at any moment are asked.
    static func countsAgree(_ own: KernelCounts, _ peer: sl_message) -> Bool {
        let slack: UInt64 = 1 << 40
        return own.received <= peer.sent &+ slack && peer.received <= own.sent &+ slack
    }

    static func stranger(_ e: Endpoint) -> MeetingResult {
        if unsafe e.pointee.role == 1 && e.local.pointee.meeting.attempts < 8 {
            unsafe e.local.pointee.meeting.attempts &+= 1
            unsafe dropVisitor(e)
            return .goOn
        }
        return .failed(.proof)
    }

    static func offer(_ e: Endpoint, _ fd: Int32) -> MeetingResult {
        let m = unsafe e.local
        unsafe process.lock.acquire()
        defer { unsafe process.lock.release() }
        var pair = unsafe Pair.find(side: 0, nonce: m.pointee.meeting.peer.nonce)
        if let p = unsafe pair {
            unsafe p.readChannel()
            if unsafe p.pointee.peerIsGone { unsafe pair = nil }
        }
        let isNew = unsafe pair == nil
        if isNew {
            unsafe pair = unsafe Pair.make(
                side: 0, peer: m.pointee.meeting.peer, uid: m.pointee.meeting.peerUid, channel: m.pointee.meeting.channel)
            unsafe pair?.pointee.ringBytes = unsafe UInt64(process.settings.ringBytes)
            var token: (UInt64, UInt64) = unsafe (slc_tsc(), process.nonce)
            _ = unsafe withUnsafeMutableBytes(of: &token) { unsafe slc_getrandom($0.baseAddress, 16) }
            unsafe pair?.pointee.token = token
        }
        guard let pair = unsafe pair else { return .failed(.resources) }
        let before = unsafe pair.pointee.regionCount
        guard let (region, slot) = unsafe pair.takeSlot() else {
            if isNew { unsafe keepUnused(e, pair) }
            return .failed(.resources)
        }
        unsafe pair.pointee.liveSlots += 1
        var offer = message(SL_MESSAGE_REGION)
        offer.token = unsafe (pair.pointee.token.0, pair.pointee.token.1)
        offer.region = UInt32(bitPattern: region)
        offer.slot = UInt32(bitPattern: slot)
        offer.region_bytes = unsafe UInt64(Pair.regionBytes(pair.pointee.ringBytes))
        offer.ring_bytes = unsafe pair.pointee.ringBytes
        offer.index = isNew ? 1 : 0
        let pass = unsafe pair.pointee.regionCount > before ? pair.pointee.regions[Int(region)].descriptor : -1
        guard unsafe send(m.pointee.meeting.channel, &offer, pass) else {
            unsafe pair.leaveSlot(region, slot)
            if isNew { unsafe keepUnused(e, pair) }
            return .failed(.resources)
        }
        unsafe m.pointee.pair = unsafe pair
        unsafe m.pointee.region = region
        unsafe m.pointee.slot = slot
        unsafe m.pointee.meeting.step = .offered
        return .goOn
    }

    static func proven(_ e: Endpoint, _ fd: Int32) -> MeetingResult {
        let m = unsafe e.local
        var got = sl_message()
        var passed: Int32 = -1
        var broken = false
        guard unsafe receive(e, &got, &passed, &broken) else { return broken ? .failed(.plainPeer) : .goOn }
        unsafe process.lock.acquire()
        defer { unsafe process.lock.release() }
        guard got.kind == UInt32(SL_MESSAGE_REGION), unsafe got.nonce == m.pointee.meeting.peer.nonce, got.slot < 64 else {
            if passed >= 0 { _ = slc_close(passed) }
            return .failed(got.kind == UInt32(SL_MESSAGE_REFUSE) ? .plainPeer : .proof)
        }
        var pair = unsafe Pair.find(side: 1, nonce: got.nonce)
        let isNew = got.index == 1
        if isNew {
            unsafe pair = unsafe Pair.make(side: 1, peer: got, uid: m.pointee.meeting.peerUid, channel: m.pointee.meeting.channel)
            unsafe pair?.pointee.token = (got.token.0, got.token.1)
        }
        guard let pair = unsafe pair, unsafe pair.pointee.token == (got.token.0, got.token.1) else {
            if passed >= 0 { _ = slc_close(passed) }
            return .failed(.proof)
        }
        if isNew { unsafe m.pointee.meeting.channel = -1 }
        if unsafe passed >= 0 && !pair.adoptRegion(passed, got) { return unsafe refuse(e, pair, isNew) }
        let region = Int32(bitPattern: got.region)
        let slot = Int32(bitPattern: got.slot)
        guard let rings = unsafe pair.map(region) != nil ? pair.mapRings(region, slot) : nil else {
            return unsafe refuse(e, pair, isNew)
        }
        var ready = message(SL_MESSAGE_READY)
        guard unsafe send(isNew ? pair.pointee.channel : m.pointee.meeting.channel, &ready) else {
            unsafe Memory.unmap(UInt64(UInt(bitPattern: rings)), 2 * Int(pair.pointee.ringBytes))
            return .failed(.plainPeer)
        }
        unsafe pair.pointee.liveSlots += 1
        return unsafe .met(pair, region: region, slot: slot, rings: rings)
    }

    static func refuse(_ e: Endpoint, _ pair: UnsafeMutablePointer<Pair>, _ isNew: Bool) -> MeetingResult {
        var m = message(SL_MESSAGE_REFUSE)
        _ = unsafe send(isNew ? pair.pointee.channel : e.local.pointee.meeting.channel, &m)
        if isNew { unsafe pair.pointee.peerIsGone = true }
        return .failed(.resources)
    }

    static func offered(_ e: Endpoint, _ fd: Int32) -> MeetingResult {
        let m = unsafe e.local
        var got = sl_message()
        var passed: Int32 = -1
        var broken = false
        guard unsafe receive(e, &got, &passed, &broken) else { return broken ? .failed(.plainPeer) : .goOn }
        if passed >= 0 { _ = slc_close(passed) }
        guard got.kind == UInt32(SL_MESSAGE_READY), let pair = unsafe m.pointee.pair else { return .failed(.resources) }
        unsafe process.lock.acquire()
        let mapped = unsafe pair.mapRings(m.pointee.region, m.pointee.slot)
        unsafe process.lock.release()
        guard let rings = unsafe mapped else { return .failed(.resources) }
        if unsafe pair.pointee.channel == m.pointee.meeting.channel { unsafe m.pointee.meeting.channel = -1 }
        return unsafe .met(pair, region: m.pointee.region, slot: m.pointee.slot, rings: rings)
    }

    /// A pair that came to nothing keeps the meeting's channel, until both go.
    private static func keepUnused(_ e: Endpoint, _ pair: UnsafeMutablePointer<Pair>) {
        unsafe pair.pointee.peerIsGone = true
        unsafe e.local.pointee.meeting.channel = -1
    }

    /// The meeting came to nothing, or its socket is being closed: what was offered is taken back. Under the process lock.
    public static func withdraw(_ e: Endpoint) {
        let m = unsafe e.local
        if unsafe m.pointee.meeting.step == .offered, unsafe m.pointee.meeting.owner == process.nonce,
            let pair = unsafe m.pointee.pair
        {
            // The peer never took the first offer.
            if unsafe pair.pointee.channel == m.pointee.meeting.channel { unsafe keepUnused(e, pair) }
            unsafe pair.leaveSlot(m.pointee.region, m.pointee.slot)
            unsafe m.pointee.pair = nil
        }
        unsafe m.pointee.meeting.end()
    }

    static var SOCK_SEQPACKET_NUMBER: Int32 { 5 }
    static var SOCK_CLOEXEC_FLAG: Int32 { 0o2000000 }
    static var SOCK_NONBLOCK_FLAG: Int32 { 0o4000 }
}
