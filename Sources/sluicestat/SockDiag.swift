import Glibc

/// A socket as the kernel shows it.
struct KernelSocket {
    var isTCP: Bool
    var isIPv6: Bool
    /// The kernel's number of the state; `stateName` gives its name.
    var state: UInt8
    var local: SocketAddress
    var remote: SocketAddress
    /// The interface that the socket is bound to, 0: none.
    var interface: UInt32
    var userID: UInt32
    /// 0 for one without a descriptor (TIME_WAIT, not yet accepted).
    var inode: UInt64
    /// SO_COOKIE; nil when the source of this record does not tell it.
    var cookie: UInt64?
    /// Identifies the network namespace it was found in.
    var namespace: String

    var isListening: Bool { isTCP && state == 10 }

    var stateName: String {
        guard isTCP else { return remote.port == 0 ? "Idle" : "Connected" }
        let names = [
            "?", "ESTABLISHED", "SYN_SENT", "SYN_RECV", "FIN_WAIT1", "FIN_WAIT2", "TIME_WAIT", "CLOSE", "CLOSE_WAIT",
            "LAST_ACK", "LISTEN", "CLOSING", "SYN_RECV",
        ]
        return Int(state) < names.count ? names[Int(state)] : "?"
    }
}

/// The kernel's socket tables, asked through NETLINK_SOCK_DIAG: no privilege is needed, and the answer tells SO_COOKIE.
enum SockDiag {
    private static let typeSocket: UInt16 = 20  // SOCK_DIAG_BY_FAMILY
    private static let typeError: UInt16 = 2  // NLMSG_ERROR
    private static let typeDone: UInt16 = 3  // NLMSG_DONE

    /// All sockets of the calling thread's network namespace of this kind; nil when the kernel does not answer.
    static func sockets(isTCP: Bool, isIPv6: Bool, namespace: String) -> [KernelSocket]? {
        let netlink = socket(AF_NETLINK, Int32(SOCK_RAW.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 4)  // NETLINK_SOCK_DIAG
        guard netlink >= 0 else { return nil }
        defer { close(netlink) }
        var patience = timeval(tv_sec: 5, tv_usec: 0)
        setsockopt(netlink, SOL_SOCKET, SO_RCVTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
        let request = dumpRequest(isTCP: isTCP, isIPv6: isIPv6)
        guard send(netlink, request, request.count, 0) == request.count else { return nil }
        var found: [KernelSocket] = []
        var buffer = [UInt8](repeating: 0, count: 1 << 17)
        while true {
            let received = recv(netlink, &buffer, buffer.count, 0)
            if received < 0, errno == EINTR { continue }
            guard received > 0 else { return nil }
            switch parse(Array(buffer[..<received]), isTCP: isTCP, namespace: namespace, into: &found) {
            case .more: continue
            case .done: return found
            case .failed: return nil
            }
        }
    }

    /// nlmsghdr and inet_diag_req_v2 for a dump of all states.
    static func dumpRequest(isTCP: Bool, isIPv6: Bool) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.append(number: UInt32(16 + 56))
        bytes.append(number: typeSocket)
        bytes.append(number: UInt16(0x301))  // NLM_F_REQUEST | NLM_F_DUMP
        bytes.append(number: UInt32(1))
        bytes.append(number: UInt32(0))
        bytes += [UInt8(isIPv6 ? AF_INET6 : AF_INET), UInt8(isTCP ? 6 : 17), 0, 0]
        bytes.append(number: UInt32.max)
        bytes += [UInt8](repeating: 0, count: 48)
        return bytes
    }

    enum Progress: Equatable {
        case more
        case done
        case failed
    }

    /// Takes the messages of one datagram of the answer.
    static func parse(_ bytes: [UInt8], isTCP: Bool, namespace: String, into found: inout [KernelSocket]) -> Progress {
        var offset = 0
        while bytes.count - offset >= 16 {
            guard let length = bytes.number(UInt32.self, at: offset), let type = bytes.number(UInt16.self, at: offset + 4),
                length >= 16, Int(length) <= bytes.count - offset
            else { return .failed }
            if type == typeDone { return .done }
            if type == typeError { return .failed }
            if type == typeSocket,
                let socket = message(Array(bytes[(offset + 16)..<(offset + Int(length))]), isTCP, namespace)
            {
                found.append(socket)
            }
            offset += (Int(length) + 3) & ~3
        }
        return .more
    }

    /// One inet_diag_msg.
    private static func message(_ bytes: [UInt8], _ isTCP: Bool, _ namespace: String) -> KernelSocket? {
        guard bytes.count >= 72, let localPort = bytes.port(at: 4), let remotePort = bytes.port(at: 6),
            let interface = bytes.number(UInt32.self, at: 40), let cookie = bytes.number(UInt64.self, at: 44),
            let userID = bytes.number(UInt32.self, at: 64), let inode = bytes.number(UInt32.self, at: 68)
        else { return nil }
        let isIPv6 = bytes[0] == UInt8(AF_INET6)
        let prefix: [UInt8] = isIPv6 ? [] : [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff]
        let width = isIPv6 ? 16 : 4
        return KernelSocket(
            isTCP: isTCP, isIPv6: isIPv6, state: bytes[1],
            local: SocketAddress(bytes: prefix + bytes[8..<(8 + width)], port: localPort),
            remote: SocketAddress(bytes: prefix + bytes[24..<(24 + width)], port: remotePort),
            interface: interface, userID: userID, inode: UInt64(inode), cookie: cookie, namespace: namespace)
    }
}
