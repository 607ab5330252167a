import Glibc

/// The kernel's sockets of one network namespace after another, found by inode, by cookie or by addresses.
struct KernelSockets {
    private(set) var all: [KernelSocket] = []
    private(set) var byInode: [UInt64: Int] = [:]
    private(set) var byCookie: [UInt64: Int] = [:]
    private var known: Set<String> = []
    /// Namespaces that were read from /proc, which does not tell cookies.
    private var withoutCookies: Set<String> = []
    let ownNamespace: String
    let includesUDP: Bool

    init(includesUDP: Bool) {
        self.includesUDP = includesUDP
        ownNamespace = linkText("/proc/self/ns/net") ?? ""
        known.insert(ownNamespace)
        if !addFromSockDiag(ownNamespace) { addFromProc("/proc/self", ownNamespace) }
    }

    /// Adds the sockets of the namespace that the process lives in, once.
    mutating func add(_ namespace: String, of process: ProcessRecord) {
        guard known.insert(namespace).inserted else { return }
        let own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC)
        let other = open("/proc/\(process.id)/ns/net", O_RDONLY | O_CLOEXEC)
        defer {
            if own >= 0 { close(own) }
            if other >= 0 { close(other) }
        }
        var isDone = false
        // Entering needs CAP_SYS_ADMIN; without it /proc tells the same without cookies.
        if own >= 0, other >= 0, setns(other, cloneNewNetwork) == 0 {
            isDone = addFromSockDiag(namespace)
            guard setns(own, cloneNewNetwork) == 0 else {
                fail("cannot return to the tool's own network namespace", .unreadable)
            }
        }
        if !isDone { addFromProc("/proc/\(process.id)", namespace) }
    }

    /// Adds a socket, or what is told of one once more: while sockets come and go, the kernel's list may name one twice, or its
    /// connection in the state before and in the one after. The later word counts.
    mutating func add(_ socket: KernelSocket) {
        let known = socket.cookie.flatMap { byCookie[$0] } ?? (socket.inode == 0 ? nil : byInode[socket.inode])
        let place = known ?? all.count
        if socket.inode != 0 { byInode[socket.inode] = place }
        if let cookie = socket.cookie { byCookie[cookie] = place }
        if known == nil {
            all.append(socket)
        } else {
            all[place] = socket
        }
    }

    private mutating func addFromSockDiag(_ namespace: String) -> Bool {
        var found: [KernelSocket] = []
        for isTCP in includesUDP ? [true, false] : [true] {
            for isIPv6 in [false, true] {
                // A kernel without IPv6 refuses that family alone; without an answer for IPv4 there is no sock_diag.
                let sockets = SockDiag.sockets(isTCP: isTCP, isIPv6: isIPv6, namespace: namespace)
                if sockets == nil && !isIPv6 { return false }
                found += sockets ?? []
            }
        }
        for socket in found { add(socket) }
        return true
    }

    /// Are the cookies of this namespace's sockets known?
    func tellsCookies(_ namespace: String) -> Bool { !withoutCookies.contains(namespace) }

    private mutating func addFromProc(_ directory: String, _ namespace: String) {
        withoutCookies.insert(namespace)
        for isTCP in includesUDP ? [true, false] : [true] {
            for isIPv6 in [false, true] {
                let path = "\(directory)/net/\(isTCP ? "tcp" : "udp")\(isIPv6 ? "6" : "")"
                guard let bytes = fileBytes(path) else { continue }
                for line in bytes.split(separator: UInt8(ascii: "\n")).dropFirst() {
                    let socket = procNetSocket(
                        String(decoding: line, as: UTF8.self), isTCP: isTCP, isIPv6: isIPv6, namespace: namespace)
                    if let socket { add(socket) }
                }
            }
        }
    }
}

/// CLONE_NEWNET
private let cloneNewNetwork: Int32 = 0x4000_0000

/// One line of /proc/net/tcp and its siblings.
func procNetSocket(_ line: String, isTCP: Bool, isIPv6: Bool, namespace: String) -> KernelSocket? {
    let fields = line.split(separator: " ")
    guard fields.count >= 10, let local = procNetAddress(fields[1], isIPv6), let remote = procNetAddress(fields[2], isIPv6),
        let state = UInt8(fields[3], radix: 16), let userID = UInt32(fields[7]), let inode = UInt64(fields[9])
    else { return nil }
    return KernelSocket(
        isTCP: isTCP, isIPv6: isIPv6, state: state, local: local, remote: remote, interface: 0, userID: userID, inode: inode,
        cookie: nil, namespace: namespace)
}

/// Address and port in hexadecimal; each four bytes of the address are one number in the host's order.
private func procNetAddress(_ text: Substring, _ isIPv6: Bool) -> SocketAddress? {
    let parts = text.split(separator: ":")
    guard parts.count == 2, parts[0].utf8.count == (isIPv6 ? 32 : 8), let port = UInt16(parts[1], radix: 16) else { return nil }
    var bytes: [UInt8] = []
    var rest = parts[0]
    while !rest.isEmpty {
        guard let word = UInt32(rest.prefix(8), radix: 16) else { return nil }
        bytes.append(number: word)
        rest = rest.dropFirst(8)
    }
    return isIPv6
        ? SocketAddress(bytes: bytes, port: port)
        : SocketAddress(ipv4: bytes.reduce(0) { $0 << 8 | UInt32($1) }, port: port)
}
