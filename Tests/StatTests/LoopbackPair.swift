import Foundation

/// A listening socket, a client and the accepted end, on 127.0.0.1 with a free port. Closed at the end.
final class LoopbackPair {
    let listener: Int32
    let client: Int32
    let accepted: Int32
    let port: UInt16
    let clientPort: UInt16

    struct Failed: Error { var call: String; var number: Int32 }

    init() throws {
        func checked(_ result: Int32, _ call: String) throws -> Int32 {
            guard result >= 0 else { throw Failed(call: call, number: errno) }
            return result
        }
        let type = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        listener = try checked(socket(AF_INET, type, 0), "socket")
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = in_addr_t(0x7f00_0001).bigEndian
        let length = socklen_t(MemoryLayout<sockaddr_in>.size)
        func with(_ body: (UnsafePointer<sockaddr>) -> Int32) -> Int32 {
            withUnsafePointer(to: &address) { $0.withMemoryRebound(to: sockaddr.self, capacity: 1, body) }
        }
        let listening = listener
        _ = try checked(with { bind(listening, $0, length) }, "bind")
        _ = try checked(listen(listener, 5), "listen")
        port = try Self.localPort(listener)
        address.sin_port = port.bigEndian
        client = try checked(socket(AF_INET, type, 0), "socket")
        let connecting = client
        _ = try checked(with { connect(connecting, $0, length) }, "connect")
        accepted = try checked(accept4(listener, nil, nil, Int32(SOCK_CLOEXEC.rawValue)), "accept4")
        clientPort = try Self.localPort(client)
    }

    private static func localPort(_ descriptor: Int32) throws -> UInt16 {
        var address = sockaddr_in()
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let result = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(descriptor, $0, &length) }
        }
        guard result == 0 else { throw Failed(call: "getsockname", number: errno) }
        return UInt16(bigEndian: address.sin_port)
    }

    /// SO_COOKIE of a socket.
    func cookie(of descriptor: Int32) -> UInt64 {
        var value: UInt64 = 0
        var length = socklen_t(8)
        return getsockopt(descriptor, SOL_SOCKET, 57, &value, &length) == 0 ? value : 0
    }

    deinit {
        for descriptor in [client, accepted, listener] { close(descriptor) }
    }
}
