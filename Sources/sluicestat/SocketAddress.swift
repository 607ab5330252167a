import Glibc

/// An IPv4 or IPv6 address with a port. IPv4 is kept mapped (::ffff:a.b.c.d), as in a stack.
struct SocketAddress: Hashable {
    /// The 16 bytes of the address, in network order: the first eight and the last eight as numbers.
    var high: UInt64 = 0
    var low: UInt64 = 0
    var port: UInt16 = 0

    /// From the four bytes of an IPv4 address, as a number.
    init(ipv4 address: UInt32, port: UInt16) {
        low = 0xffff_0000_0000 | UInt64(address)
        self.port = port
    }

    /// From 16 bytes in network order; fewer bytes count as followed by zeros.
    init(bytes: some Sequence<UInt8>, port: UInt16) {
        var place = 0
        for byte in bytes.prefix(16) {
            if place < 8 { high |= UInt64(byte) << UInt64(56 - 8 * place) }
            if place >= 8 { low |= UInt64(byte) << UInt64(120 - 8 * place) }
            place += 1
        }
        self.port = port
    }

    var isIPv4: Bool { high == 0 && low >> 32 == 0xffff }
    var isWildcard: Bool { high == 0 && (low == 0 || low == 0xffff_0000_0000) }
    var isLoopback: Bool { isIPv4 ? (low >> 24) & 0xff == 127 : high == 0 && low == 1 }

    /// The address alone, for comparing hosts.
    var withoutPort: SocketAddress {
        var copy = self
        copy.port = 0
        return copy
    }

    /// The address in text: `127.0.0.1`, `::1`.
    var host: String {
        if isIPv4 {
            return [24, 16, 8, 0].map { String((low >> UInt64($0)) & 0xff) }.joined(separator: ".")
        }
        var text = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
        let words = [high.bigEndian, low.bigEndian]
        guard inet_ntop(AF_INET6, words, &text, socklen_t(text.count)) != nil else { return "?" }
        return String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// Address, dot, port, with `*` for the wildcard address of IPv4 and for port 0: `127.0.0.1.80`, `*.48944`, `*.*`,
    /// `::.80`.
    var dotted: String {
        "\(isWildcard && (isIPv4 || port == 0) ? "*" : host).\(port == 0 ? "*" : String(port))"
    }
}
