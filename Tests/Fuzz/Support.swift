import CLinux
import CStackLayout
import CTestSupport
import Glibc
import SharedMemory

@testable import Stacks

/// A connection over 127.0.0.1. It is used for many executions, as long as neither end has been ended.
final class Connection {
    let client: Int32
    let server: Int32

    /// Behind them all stands one listener, and each has an address of its own in 127/8: what is left of those that ended
    /// (TIME_WAIT) takes no port from the next.
    private static let listener: (fd: Int32, port: in_port_t) = {
        let fd = Int32(slc_socket(AF_INET, 1 | 0o2000000, 0))
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        var length = UInt32(MemoryLayout<sockaddr_in>.size)
        guard slc_bind(fd, &address, length) == 0, slc_listen(fd, 5) == 0, slc_getsockname(fd, &address, &length) == 0 else {
            complain("no listener")
        }
        return (fd, address.sin_port)
    }()
    nonisolated(unsafe) private static var count: UInt32 = 0

    init() {
        process.start()
        let listener = Connection.listener
        Connection.count = (Connection.count + 1) % 1_000_000
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = (0x7f00_0001 + Connection.count).bigEndian
        address.sin_port = listener.port
        client = Int32(slc_socket(AF_INET, 1 | 0o2000000, 0))
        // The fuzzer's own clock interrupts calls.
        func whole(_ call: () -> Int) -> Int {
            while true {
                let r = call()
                if r != -Int(EINTR) { return r }
            }
        }
        let fd = client
        let r = whole { slc_connect(fd, &address, UInt32(MemoryLayout<sockaddr_in>.size)) }
        guard r == 0 || r == -Int(EISCONN) else { complain("no connection: \(r)") }
        server = Int32(whole { slc_accept4(listener.fd, nil, nil, 0o2000000) })
        guard server >= 0 else { complain("accept: \(server)") }
        // A reset at close: as little stays behind as can be.
        var now = linger(l_onoff: 1, l_linger: 0)
        for fd in [client, server] { setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, UInt32(MemoryLayout<linger>.size)) }
    }

    /// Takes out what is unread on both sides. False: the connection is not to be used again.
    func drain() -> Bool {
        var room = [UInt8](repeating: 0, count: 1 << 16)
        for fd in [client, server] {
            while true {
                let n = slc_recvfrom(fd, &room, room.count, 0x40)
                if n == -Int(EAGAIN) { break }
                if n <= 0 { return false }
            }
        }
        return true
    }

    /// An endpoint for one of the two ends.
    func endpoint(_ fd: Int32, role: UInt16) -> Endpoint {
        guard let e = StackMemory.allocate() else { complain("no endpoint") }
        var a = slc_address()
        e.pointee.role = role
        e.pointee.rx_lowat = 1
        e.pointee.state = UInt32(SL_ENDPOINT_CONNECTED)
        e.pointee.status_flags = 0o4000
        e.local.pointee.descriptor = fd
        if slc_socket_address(fd, 0, &a) == 0 {
            e.pointee.local = sl_address(ip: a.ip, port: a.port, family: a.family, scope: a.scope)
        }
        if slc_socket_address(fd, 1, &a) == 0 {
            e.pointee.remote = sl_address(ip: a.ip, port: a.port, family: a.family, scope: a.scope)
        }
        var n: UInt32 = 8
        _ = slc_getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &e.pointee.netns_cookie, &n)
        return e
    }

    deinit {
        slc_close(client)
        slc_close(server)
    }
}

nonisolated(unsafe) var connection: Connection? = nil

/// The far end of a control channel, in the hands of somebody who does not keep to the rules.
struct FakeEnd {
    let socket: Int32

    /// Both ends of a new channel: ours, and the one for the core (non-blocking, registered as its own).
    static func pair() -> (FakeEnd, Int32) {
        var ends: (Int32, Int32) = (-1, -1)
        let type = Int32(SOCK_SEQPACKET.rawValue) | 0o2000000 | 0o4000
        let r = withUnsafeMutableBytes(of: &ends) {
            socketpair(AF_UNIX, type, 0, $0.baseAddress!.assumingMemoryBound(to: Int32.self))
        }
        guard r == 0 else { complain("socketpair: \(errno)") }
        return (FakeEnd(socket: ends.0), OwnDescriptor.adopt(Int(ends.1)))
    }

    func send(_ message: sl_message, length: Int = MemoryLayout<sl_message>.size, _ passed: [Int32] = []) {
        _ = withUnsafeBytes(of: message) {
            CTestSupport_send(socket, $0.baseAddress!, min(length, $0.count), passed, passed.count)
        }
    }

    /// Throws away what has come, so that a close throws nothing away that we have sent.
    func drain() {
        var message = sl_message()
        var passed: Int32 = -1
        while slc_receive_message(socket, &message, MemoryLayout<sl_message>.size, &passed) > 0 {
            if passed >= 0 { slc_close(passed) }
        }
    }
}

/// A message with some fields as the input says.
func message(_ input: inout Input, like model: sl_message) -> sl_message {
    var m = model
    for _ in 0..<Int(input.byte() & 3) {
        let place = input.byte()
        withUnsafeMutableBytes(of: &m) {
            if place & 0x80 != 0 {
                let at = 8 * (Int(place & 0x7f) % 13)
                let now = $0.load(fromByteOffset: at, as: UInt64.self)
                $0.storeBytes(of: input.word(near: now), toByteOffset: at, as: UInt64.self)
            } else {
                let at = 4 * (Int(place) % 26)
                let now = UInt64($0.load(fromByteOffset: at, as: UInt32.self))
                $0.storeBytes(of: UInt32(truncatingIfNeeded: input.word(near: now)), toByteOffset: at, as: UInt32.self)
            }
        }
    }
    return m
}

/// Descriptors to pass along: good ones, and whatever else somebody may have at hand. The caller closes them.
func descriptors(_ input: inout Input, proof: Int32, regionBytes: Int) -> [Int32] {
    let choice = input.byte()
    func memory(_ bytes: Int, _ seals: Int, _ flags: UInt32) -> Int32 {
        let fd = slc_memfd_create("fuzz", flags)
        guard fd >= 0 else { return -1 }
        if slc_ftruncate(Int32(fd), off_t(bytes)) == 0 && seals != 0 { _ = slc_fcntl(Int32(fd), 1033, seals) }
        return Int32(fd)
    }
    func set(_ members: [Int32]) -> Int32 {
        let s = Int32(slc_epoll_create1(0))
        var event = epoll_event()
        for fd in members { _ = slc_epoll_ctl(s, EPOLL_CTL_ADD, fd, &event) }
        return s
    }
    let one: Int32 =
        switch choice & 15 {
        case 0, 1: -1
        case 2, 3, 4: set([proof])
        case 5: set([])
        case 6: Int32(slc_eventfd(0, choice & 16 == 0 ? 0 : 0o4000))
        case 7, 8, 9: memory(regionBytes, 1 | 2 | 4, 1 | 2)
        case 10: memory(regionBytes - Int(input.byte()), 7, 3)
        case 11: memory(regionBytes + 4096, 7, 3)
        case 12: memory(regionBytes, Int(input.byte() & 31), 3)
        case 13: memory(2 << 20, 7, 1 | 2 | 4)  // huge pages
        case 14: set([proof, 1])
        default: memory(0, 0, 1)
        }
    guard one >= 0 else { return [] }
    if choice >> 5 == 7 { return [one] + (0..<15).map { _ in Int32(slc_fcntl(one, 1030, 0)) } }
    return choice >> 5 == 6 ? [one, Int32(slc_fcntl(one, 1030, 0))] : [one]
}

/// Ends all pairs, whatever they carry.
func forgetPairs() {
    process.lock.acquire()
    while let pair = process.pairs {
        process.pairs = pair.pointee.next
        Pair.dispose(pair)
    }
    process.lock.release()
}

/// How many descriptors are open.
func openDescriptors() -> Int {
    guard let d = opendir("/proc/self/fd") else { return 0 }
    defer { closedir(d) }
    var n = 0
    while readdir(d) != nil { n += 1 }
    return n
}
