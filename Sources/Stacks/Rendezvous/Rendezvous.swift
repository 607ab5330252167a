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
        if unsafe m.pointee.meeting.began == 0 { unsafe m.pointee.meeting.began = slc_now_ns() }
        if unsafe e.pointee.role == 0 {
            unsafe m.pointee.meeting.step = .knocking
            unsafe m.pointee.meeting.nextLook = 1
            return unsafe knock(e, fd)
        }
        guard OpenNames.makeRoom() else {
            // The other end knocks as long as this: whoever has waited in vain tries again when it does.
            unsafe m.pointee.meeting.looks &+= 1
            return unsafe hasWaited(m) ? .failed(.plainPeer) : .goOn
        }
        let s = unsafe unixSocket(e)
        guard s >= 0 else { return .failed(s == -2 ? .namespace : .resources) }
        var name = unsafe MeetingName(
            cookie: e.pointee.netns_cookie, acceptor: e.pointee.local, connector: e.pointee.remote, isDatagram: e.isDatagram)
        var a = sockaddr_un()
        let n = name.address(&a)
        let r = unsafe slc_bind(s, &a, n)
        guard r == 0, slc_listen(s, 4) == 0 else {
            OwnDescriptor.close(s)
            return .failed(r == -Int(EADDRINUSE) ? .proof : .resources)
        }
        if unsafe OpenNames.add(m, s) { unsafe m.pointee.meeting.step = .listening }
        return .goOn
    }

    static func listening(_ e: Endpoint, _ fd: Int32) -> MeetingResult {
        let m = unsafe e.local
        // Closed for another connection: as if nobody had come.
        guard unsafe m.pointee.meeting.listener >= 0 else { return .failed(.plainPeer) }
        unsafe m.pointee.meeting.looks &+= 1
        guard unsafe m.pointee.meeting.looks >= m.pointee.meeting.nextLook else { return .goOn }
        if unsafe process.settings.laneAt != 0 {
            unsafe m.pointee.meeting.nextLook = unsafe m.pointee.meeting.looks &+ 1 &+ m.pointee.meeting.looks / 256
        }
        let c = unsafe slc_accept4(m.pointee.meeting.listener, nil, nil, SOCK_CLOEXEC_FLAG | SOCK_NONBLOCK_FLAG)
        if c >= 0 {
            let channel = OwnDescriptor.adopt(c)
            guard channel >= 0 else { return .failed(.resources) }
            unsafe m.pointee.meeting.channel = channel
            unsafe m.pointee.meeting.greeted = slc_now_ns()
            if let reason = OwnDescriptor.withRoom({ unsafe hello(e, fd) }) {
                unsafe dropVisitor(e)
                if reason == .noProof { return .failed(reason) }
                if reason == .consent { unsafe m.pointee.hadStranger = true }
                return .goOn
            }
            unsafe m.pointee.meeting.step = .greeting
            return unsafe greeting(e, fd)
        }
        guard unsafe hasWaited(m) else { return .goOn }
        return unsafe .failed(m.pointee.hadStranger ? .consent : .plainPeer)
    }

    /// Nobody has come to the name, or opened it, for so long that nobody will.
    private static func hasWaited(_ m: UnsafeMutablePointer<Local>) -> Bool {
        // Longer each time: one end may be some hundred milliseconds behind the other, by what lies in the kernel's buffers.
        let twos = unsafe process.settings.laneAt == 0 ? 0 : 2 * min(m.pointee.tries, 3)
        return unsafe m.pointee.meeting.looks > mostLooks << twos
            || m.pointee.meeting.looks > patience && slc_now_ns() &- m.pointee.meeting.began > nameNs << UInt64(twos)
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
            return unsafe hasWaited(m) ? .failed(.plainPeer) : .goOn
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
        var name = unsafe MeetingName(
            cookie: e.pointee.netns_cookie, acceptor: e.pointee.remote, connector: e.pointee.local, isDatagram: e.isDatagram)
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
        var pid: Int32 = 0
        guard unsafe slc_peer_credentials(m.pointee.meeting.channel, &uid, &pid) == 0 else { return .consent }
        guard Consent.admits(uid, pid) else { return .consent }
        unsafe m.pointee.meeting.peerUid = uid
        unsafe m.pointee.meeting.peerPid = pid
        let counts = unsafe KernelCounts.take(fd, connecting: e.pointee.role == 0)
        if let counts { unsafe m.pointee.meeting.counts = counts } else if unsafe !e.isDatagram { return .ended }
        let proof = slc_epoll_create1(Int32(O_CLOEXEC))
        guard proof >= 0 else { return .resources }
        let p = Int32(truncatingIfNeeded: proof)
        defer { _ = slc_close(p) }
        var event = unsafe epoll_event()
        guard unsafe slc_epoll_ctl(p, EPOLL_CTL_ADD, fd, &event) == 0 else { return .resources }
        var hello = message(SL_MESSAGE_HELLO)
        hello.uid = slc_geteuid()
        hello.ring_bytes = unsafe UInt64(process.settings.ringBytes)
        tell(counts, &hello)
        if unsafe e.isDatagram { unsafe hello.tellAddresses(e.pointee.local, e.pointee.remote) }
        let r = unsafe slc_send_message(m.pointee.meeting.channel, &hello, MemoryLayout<sl_message>.size, p)
        // The other end has gone without a word: it does not share with us.
        if r == -Int(EPIPE) || r == -Int(ECONNRESET) { return .plainPeer }
        return r == MemoryLayout<sl_message>.size ? nil : .resources
    }

    static func message(_ kind: Int) -> sl_message {
        var m = sl_message()
        m.magic = SL_MESSAGE_MAGIC
        m.kind = UInt32(kind)
        m.nonce = unsafe process.nonce
        return m
    }

    static func tell(_ counts: KernelCounts?, _ m: inout sl_message) {
        guard let counts else { return }
        m.counted = 1
        m.sent = counts.sent
        m.received = counts.received
        m.unacknowledged = counts.unacknowledged
    }

    static func send(_ channel: Int32, _ m: inout sl_message, _ pass: Int32 = -1) -> Bool {
        unsafe slc_send_message(channel, &m, MemoryLayout<sl_message>.size, pass) == MemoryLayout<sl_message>.size
    }

    /// One message, or nil: nothing yet. `broken`: the channel ended or spoke something else.
    static func receive(_ e: Endpoint, _ m: inout sl_message, _ passed: inout Int32, _ broken: inout Bool) -> Bool {
        let own = unsafe e.local
        unsafe own.pointee.meeting.looks &+= 1
        if let pair = unsafe own.pointee.pair, unsafe pair.pointee.awaitsReady,
            unsafe pair.pointee.channel == own.pointee.meeting.channel && pair.takeAnswer(&m)
        {
            return true
        }
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
        guard unsafe receive(e, &got, &passed, &broken) else {
            guard broken else { return .goOn }
            // We would have shared with that user; it goes without a word.
            if unsafe m.pointee.meeting.peerUid != slc_geteuid() { unsafe m.pointee.hadStranger = true }
            // Whoever has the name says nothing, or has closed it: it may be the true end, which had waited too long.
            return unsafe e.pointee.role == 0 && got.magic == 0 ? .failed(.plainPeer) : stranger(e)
        }
        guard got.kind == UInt32(SL_MESSAGE_HELLO), passed >= 0, got.nonce != 0 else {
            if passed >= 0 { _ = slc_close(passed) }
            return unsafe stranger(e)
        }
        let verdict = OwnDescriptor.withRoom { unsafe Proof.check(passed, e) }
        _ = slc_close(passed)
        if verdict == .noProof { return .failed(.noProof) }
        guard verdict == .none else { return unsafe stranger(e) }
        // A socket that is reached by several addresses may answer by another one than it was asked at.
        if unsafe e.isDatagram && !got.tellsAddresses(e.pointee.remote, e.pointee.local) { return unsafe stranger(e) }
        // Nil: another thread moves bytes all the time, or the connection is ending.
        let now = unsafe KernelCounts.take(fd, connecting: e.pointee.role == 0)
        if let now, !now.agree(with: got) { return .failed(.counts) }
        unsafe m.pointee.meeting.peer = got
        if unsafe e.pointee.role == 1 {
            unsafe m.pointee.meeting.step = .proven
            return unsafe proven(e, fd)
        }
        if let now { unsafe m.pointee.meeting.counts = now }
        return unsafe offer(e, now)
    }

    static func stranger(_ e: Endpoint) -> MeetingResult {
        count(StackCounter.proofsRefused)
        if unsafe e.pointee.role == 1 && e.local.pointee.meeting.attempts < 8 {
            unsafe e.local.pointee.meeting.attempts &+= 1
            unsafe dropVisitor(e)
            return .goOn
        }
        return .failed(.proof)
    }

    static var SOCK_SEQPACKET_NUMBER: Int32 { 5 }
    static var SOCK_CLOEXEC_FLAG: Int32 { 0o2000000 }
    static var SOCK_NONBLOCK_FLAG: Int32 { 0o4000 }
}
