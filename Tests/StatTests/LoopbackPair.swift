import CLinux

/// A listening socket, a client and the accepted end, on 127.0.0.1 with a free port. Closed at the end.
final class LoopbackPair {
    let listener: Int32
    let client: Int32
    let accepted: Int32
    let port: UInt16
    let clientPort: UInt16

    struct Failed: Error {
        var call: String
        var number: Int
    }

    init() throws {
        let streamCloseOnExec: Int32 = 1 | 0o2000000
        listener = try Self.checked(slc_socket(AF_INET, streamCloseOnExec, 0), "socket")
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = in_addr_t(0x7f00_0001).bigEndian
        let length = UInt32(MemoryLayout<sockaddr_in>.size)
        _ = try Self.checked(slc_bind(listener, &address, length), "bind")
        _ = try Self.checked(slc_listen(listener, 5), "listen")
        port = try Self.localPort(listener)
        address.sin_port = port.bigEndian
        client = try Self.checked(slc_socket(AF_INET, streamCloseOnExec, 0), "socket")
        _ = try Self.checked(slc_connect(client, &address, length), "connect")
        accepted = try Self.checked(slc_accept4(listener, nil, nil, 0o2000000), "accept4")
        clientPort = try Self.localPort(client)
    }

    private static func checked(_ result: Int, _ call: String) throws -> Int32 {
        guard result >= 0 else { throw Failed(call: call, number: -result) }
        return Int32(result)
    }

    private static func localPort(_ descriptor: Int32) throws -> UInt16 {
        var address = sockaddr_in()
        var length = UInt32(MemoryLayout<sockaddr_in>.size)
        _ = try checked(slc_getsockname(descriptor, &address, &length), "getsockname")
        return UInt16(bigEndian: address.sin_port)
    }

    /// SO_COOKIE of a socket.
    func cookie(of descriptor: Int32) -> UInt64 {
        var value: UInt64 = 0
        var length: UInt32 = 8
        return slc_getsockopt(descriptor, SOL_SOCKET, 57, &value, &length) == 0 ? value : 0
    }

    deinit {
        for descriptor in [client, accepted, listener] { slc_close(descriptor) }
    }
}
