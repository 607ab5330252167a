import CLinux
import CStackLayout
import CTestSupport
import Counters
import SharedMemory
import Testing

@testable import Stacks

/// The state of the process is one for all: these suites run one after the other, below this one.
@Suite(.serialized, .timeLimit(.minutes(2))) enum StacksTests {}

/// xorshift64*: the same numbers for the same seed, on every run.
struct SeededRandom: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed | 1 }

    mutating func next() -> UInt64 {
        state ^= state >> 12
        state ^= state << 25
        state ^= state >> 27
        return state &* 0x2545_f491_4f6c_dd1d
    }
}

/// Numbers at which careless arithmetic goes wrong.
let hostileNumbers: [UInt64] = [
    0, 1, 63, 64, 65, 255, 256, 4095, 4096, 4097, 1 << 20, 1 << 26, 1 << 27, 1 << 31, (1 << 32) - 1, 1 << 32, 1 << 48, 1 << 62,
    (1 << 63) - 1, 1 << 63, .max - 4096, .max - 1, .max,
]

/// A connection over 127.0.0.1 whose two ends are endpoints of this process.
final class Connection {
    let client: Int32
    let server: Int32
    let connector: Endpoint
    let acceptor: Endpoint

    init() throws {
        process.start()
        let listener = Int32(slc_socket(AF_INET, 1 | 0o2000000, 0))
        defer { slc_close(listener) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = in_addr_t(0x7f00_0001).bigEndian
        var length = UInt32(MemoryLayout<sockaddr_in>.size)
        try #require(slc_bind(listener, &address, length) == 0 && slc_listen(listener, 5) == 0)
        try #require(slc_getsockname(listener, &address, &length) == 0)
        client = Int32(slc_socket(AF_INET, 1 | 0o2000000, 0))
        try #require(slc_connect(client, &address, length) == 0)
        server = Int32(slc_accept4(listener, nil, nil, 0o2000000))
        try #require(server >= 0)
        connector = try #require(StackMemory.allocate())
        acceptor = try #require(StackMemory.allocate())
        describe(connector, client, role: 0)
        describe(acceptor, server, role: 1)
    }

    deinit {
        for e in [connector, acceptor] {
            Rendezvous.withdraw(e)
            StackMemory.free(e)
        }
        slc_close(client)
        slc_close(server)
    }

    private func describe(_ e: Endpoint, _ fd: Int32, role: UInt16) {
        var a = slc_address()
        e.pointee.role = role
        e.pointee.protocol = 6
        if slc_socket_address(fd, 0, &a) == 0 {
            e.pointee.local = sl_address(ip: a.ip, port: a.port, family: a.family, scope: a.scope)
        }
        if slc_socket_address(fd, 1, &a) == 0 {
            e.pointee.remote = sl_address(ip: a.ip, port: a.port, family: a.family, scope: a.scope)
        }
        var n: UInt32 = 8
        _ = slc_getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &e.pointee.netns_cookie, &n)
    }

    func send(_ fd: Int32, _ count: Int) -> Bool {
        let bytes = [UInt8](repeating: 7, count: count)
        return slc_sendto(fd, bytes, count, 0) == count
    }

    func receive(_ fd: Int32, _ count: Int) -> Bool {
        var bytes = [UInt8](repeating: 0, count: count)
        return slc_recvfrom(fd, &bytes, count, 0x100) == count
    }

    /// The address of the acceptor's name.
    func name() -> (sockaddr_un, UInt32) {
        var name = MeetingName(
            cookie: acceptor.pointee.netns_cookie, acceptor: acceptor.pointee.local, connector: acceptor.pointee.remote)
        var address = sockaddr_un()
        let length = name.address(&address)
        return (address, length)
    }
}

/// Descriptors that are passed to the core, all of them writing ends of one pipe: once the core holds none any more,
/// the reading end hangs up.
final class Passed {
    private var ends: (Int32, Int32) = (-1, -1)

    init() {
        let result = withUnsafeMutableBytes(of: &ends) { CTestSupport_pipe($0.baseAddress!.assumingMemoryBound(to: Int32.self)) }
        precondition(result == 0)
    }

    var descriptor: Int32 { ends.1 }

    /// Gives our own end up; true when nobody else has one.
    func allAreClosed() -> Bool {
        slc_close(ends.1)
        ends.1 = -1
        return CTestSupport_hangs_up(ends.0, 10_000) == 1
    }

    deinit {
        if ends.1 >= 0 { slc_close(ends.1) }
        slc_close(ends.0)
    }
}

/// The far end of a control channel, in the hands of somebody who does not keep to the rules.
struct FakeEnd {
    let socket: Int32

    /// Both ends of a new channel: ours, and the one for the core (non-blocking, registered as its own).
    static func pair() -> (FakeEnd, Int32) {
        let listener = Int32(slc_socket(AF_UNIX, 5 | 0o2000000, 0))
        var address = sockaddr_un()
        let text = "sluice-tests-\(slc_getpid())-\(slc_tsc())"
        let length = text.withCString { slc_abstract(&address, $0, strlen($0)) }
        precondition(slc_bind(listener, &address, length) == 0 && slc_listen(listener, 1) == 0)
        let end = Int32(slc_socket(AF_UNIX, 5 | 0o2000000 | 0o4000, 0))
        precondition(slc_connect(end, &address, length) == 0)
        let core = OwnDescriptor.adopt(slc_accept4(listener, nil, nil, 0o2000000 | 0o4000))
        slc_close(listener)
        return (FakeEnd(socket: end), core)
    }

    /// Knocks at a name; nil when nobody listens there.
    static func knocking(at name: (sockaddr_un, UInt32)) -> FakeEnd? {
        let end = Int32(slc_socket(AF_UNIX, 5 | 0o2000000 | 0o4000, 0))
        var address = name.0
        if slc_connect(end, &address, name.1) == 0 { return FakeEnd(socket: end) }
        slc_close(end)
        return nil
    }

    @discardableResult
    func send(_ message: sl_message, length: Int = MemoryLayout<sl_message>.size, _ passed: [Int32] = []) -> Int {
        withUnsafeBytes(of: message) { CTestSupport_send(socket, $0.baseAddress!, length, passed, passed.count) }
    }

    /// The next message, nil when there is none; what it carries is closed.
    func receive() -> sl_message? {
        var message = sl_message()
        var passed: Int32 = -1
        let n = slc_receive_message(socket, &message, MemoryLayout<sl_message>.size, &passed)
        if passed >= 0 { slc_close(passed) }
        return n == MemoryLayout<sl_message>.size ? message : nil
    }

    /// Reads first what has come: with that unread the kernel would throw away what we have sent.
    func close() {
        while receive() != nil {}
        slc_close(socket)
    }
}

/// A message with some fields wild: mostly well formed, so that the reader gets far.
func wildMessage(_ random: inout SeededRandom, like model: sl_message) -> sl_message {
    var m = model
    for _ in 0..<[1, 1, 1, 2, 5].randomElement(using: &random)! {
        let value = random.next() % 4 != 0 ? hostileNumbers.randomElement(using: &random)! : random.next()
        withUnsafeMutableBytes(of: &m) {
            if random.next() % 4 == 0 {
                $0.storeBytes(of: value, toByteOffset: 8 * Int.random(in: 0..<13, using: &random), as: UInt64.self)
            } else {
                let word = UInt32(truncatingIfNeeded: value)
                $0.storeBytes(of: word, toByteOffset: 4 * Int.random(in: 0..<26, using: &random), as: UInt32.self)
            }
        }
    }
    if random.next() % 8 == 0 { m.kind = UInt32.random(in: 0...8, using: &random) }
    if random.next() % 4 != 0 { m.magic = SL_MESSAGE_MAGIC }
    return m
}

/// A greeting of somebody who has counted no bytes.
func hello() -> sl_message {
    var m = sl_message()
    m.magic = SL_MESSAGE_MAGIC
    m.kind = UInt32(SL_MESSAGE_HELLO)
    m.nonce = 0xabcd
    m.ring_bytes = 1 << 16
    return m
}

/// An epoll set with the socket as its only member: the proof that its maker holds the socket.
func proof(_ fd: Int32) -> Int32 {
    let set = Int32(slc_epoll_create1(0))
    var event = epoll_event()
    #expect(slc_epoll_ctl(set, EPOLL_CTL_ADD, fd, &event) == 0)
    return set
}

/// The reason why a step has failed; nil: it has not.
func failure(_ result: MeetingResult) -> Reason? {
    if case .failed(let reason) = result { return reason }
    return nil
}

/// Ends all pairs, whatever they carry.
func forgetPairs() {
    process.lock.acquire()
    while let pair = process.pairs { discard(pair) }
    process.lock.release()
}

/// A meeting with a process of that nonce, which the kernel says is `pid` of `uid`: this one, if nothing else is said.
func met(nonce: UInt64, uid: UInt32 = slc_geteuid(), pid: Int32 = slc_getpid()) -> Meeting {
    var m = Meeting()
    m.peer.nonce = nonce
    m.peerUid = uid
    m.peerPid = pid
    return m
}

/// Ends a pair whatever it carries. Under the process lock.
func discard(_ pair: UnsafeMutablePointer<Pair>) {
    if process.pairs == pair { process.pairs = pair.pointee.next }
    var p = process.pairs
    while let other = p {
        if other.pointee.next == pair { other.pointee.next = pair.pointee.next }
        p = other.pointee.next
    }
    Pair.dispose(pair)
}

/// The ticket by which all slots of `regionFile` are offered.
let openTicket: UInt64 = 9

/// A memfd as a pair region should be, but for what is asked.
func regionFile(bytes: Int, seals: Int = 1 | 2 | 4, flags: UInt32 = 1 | 2) -> Int32? {
    let fd = slc_memfd_create("region", flags)
    guard fd >= 0 else { return nil }
    guard slc_ftruncate(Int32(fd), off_t(bytes)) == 0, seals == 0 || slc_fcntl(Int32(fd), 1033, seals) == 0 else {
        slc_close(Int32(fd))
        return nil
    }
    for slot in 0..<64 where bytes >= Pair.controlBytes {
        var ticket = openTicket
        let place = MemoryLayout<sl_region>.offset(of: \.slot)! + slot * MemoryLayout<sl_slot>.stride
        pwrite(Int32(fd), &ticket, 8, off_t(place + MemoryLayout<sl_direction>.offset(of: \.offer)!))
    }
    return Int32(fd)
}
