import Glibc

/// The interfaces of the tool's own network namespace by their addresses, for the column `If`.
struct Interfaces {
    private var names: [SocketAddress: String] = [:]

    init() {
        var list: UnsafeMutablePointer<ifaddrs>?
        guard getifaddrs(&list) == 0 else { return }
        defer { freeifaddrs(list) }
        var next = list
        while let entry = next?.pointee {
            next = entry.ifa_next
            guard let address = entry.ifa_addr, let name = entry.ifa_name else { continue }
            let bytes = UnsafeRawPointer(address)
            if Int32(address.pointee.sa_family) == AF_INET {
                let value = UInt32(bigEndian: bytes.loadUnaligned(fromByteOffset: 4, as: UInt32.self))
                names[SocketAddress(ipv4: value, port: 0)] = String(cString: name)
            } else if Int32(address.pointee.sa_family) == AF_INET6 {
                let host = UnsafeRawBufferPointer(start: bytes + 8, count: 16)
                names[SocketAddress(bytes: host, port: 0)] = String(cString: name)
            }
        }
    }

    /// The interface that the socket's packets take: `lo` between addresses of this host, else that of the local
    /// address, `-` where the socket is bound to no address.
    func name(of row: SocketRow, ownNamespace: String) -> String {
        if row.isBypassed || row.local.isLoopback { return "lo" }
        guard (row.kernel ?? row.owner)?.namespace ?? ownNamespace == ownNamespace else { return "-" }
        if let bound = (row.kernel ?? row.owner)?.interface, bound != 0 {
            var text = [CChar](repeating: 0, count: 16)
            if if_indextoname(bound, &text) != nil {
                return printable(text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) })
            }
        }
        guard let local = names[row.local.withoutPort] else { return "-" }
        return names[row.remote.withoutPort] == nil ? local : "lo"
    }
}
