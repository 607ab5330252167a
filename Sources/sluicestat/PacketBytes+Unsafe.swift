/// Packets of IP without a link layer, and the file that holds them (pcap, LINKTYPE_RAW).
enum PacketBytes {
    static var linkTypeRaw: UInt32 { 101 }
    /// What tcpdump keeps of a packet unless it is told otherwise.
    static var defaultSnapshot: Int { 262_144 }

    /// The file's header: times in nanoseconds, numbers in this host's order.
    static func fileHeader(snapshot: Int) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.append(number: UInt32(0xa1b2_3c4d))
        bytes.append(number: UInt16(2))
        bytes.append(number: UInt16(4))
        bytes.append(number: UInt64(0))
        bytes.append(number: UInt32(snapshot))
        bytes.append(number: linkTypeRaw)
        return bytes
    }

    /// Appends the packet with its record's header, cut to `snapshot` bytes.
    static func append(_ packet: CapturedPacket, number: UInt16, snapshot: Int, to file: inout [UInt8]) {
        let headers = headers(of: packet, number: number)
        let payload = min(packet.bytes.count, max(0, snapshot - headers.count))
        let kept = min(headers.count, snapshot) + payload
        file.append(number: UInt32(truncatingIfNeeded: packet.time / 1_000_000_000))
        file.append(number: UInt32(packet.time % 1_000_000_000))
        file.append(number: UInt32(kept))
        file.append(number: UInt32(headers.count + packet.length))
        file += headers.prefix(snapshot)
        file += packet.bytes.prefix(payload)
    }

    /// IP and TCP or UDP, with their checksums; these of a packet that is not whole are 0.
    static func headers(of packet: CapturedPacket, number: UInt16) -> [UInt8] {
        let isIPv4 = packet.from.isIPv4 && packet.to.isIPv4
        let transport = packet.isTCP ? tcp(packet) : udp(packet)
        let addresses = isIPv4 ? ipv4(packet.from) + ipv4(packet.to) : ipv6(packet.from) + ipv6(packet.to)
        let length = transport.count + packet.length
        var ip: [UInt8] = []
        if isIPv4 {
            ip += [0x45, 0]
            ip.append(network: UInt16(truncatingIfNeeded: 20 + length))
            ip.append(network: number)
            ip += [0x40, 0, 64, packet.isTCP ? 6 : 17, 0, 0]
            ip += addresses
            ip.replace(at: 10, with: ~sum(ip))
        } else {
            ip += [0x60, 0, 0, 0]
            ip.append(network: UInt16(truncatingIfNeeded: length))
            ip += [packet.isTCP ? 6 : 17, 64]
            ip += addresses
        }
        return ip + (packet.bytes.count == packet.length ? checked(transport, packet, addresses, length) : transport)
    }

    /// The transport header with its checksum, which covers addresses and bytes as well.
    private static func checked(_ header: [UInt8], _ packet: CapturedPacket, _ addresses: [UInt8], _ length: Int) -> [UInt8] {
        var pseudo = addresses
        pseudo.append(network: UInt16(truncatingIfNeeded: length))
        pseudo += [0, packet.isTCP ? 6 : 17]
        var value = ~sum(packet.bytes, sum(header, sum(pseudo)))
        // Of UDP, 0 means that there is none.
        if value == 0 && !packet.isTCP { value = 0xffff }
        var result = header
        result.replace(at: packet.isTCP ? 16 : 6, with: value)
        return result
    }

    /// Sequence numbers are the bytes of each direction, as its begin was 0 and the SYN took one.
    private static func tcp(_ packet: CapturedPacket) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.append(network: packet.from.port)
        bytes.append(network: packet.to.port)
        bytes.append(network: UInt32(truncatingIfNeeded: packet.position &+ 1))
        bytes.append(network: UInt32(truncatingIfNeeded: packet.acknowledged &+ 1))
        bytes += [0x50, 0x18, 0xff, 0xff, 0, 0, 0, 0]
        return bytes
    }

    private static func udp(_ packet: CapturedPacket) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.append(network: packet.from.port)
        bytes.append(network: packet.to.port)
        bytes.append(network: UInt16(truncatingIfNeeded: 8 + packet.length))
        bytes.append(network: UInt16(0))
        return bytes
    }

    private static func ipv4(_ address: SocketAddress) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.append(network: UInt32(truncatingIfNeeded: address.low))
        return bytes
    }

    private static func ipv6(_ address: SocketAddress) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.append(network: address.high)
        bytes.append(network: address.low)
        return bytes
    }

    /// The sum of the internet checksum (RFC 1071) over these bytes, the last of an odd number padded, on top of another sum.
    static func sum(_ bytes: [UInt8], _ start: UInt16 = 0) -> UInt16 {
        // In this host's order: the sum is the same but for its own order.
        var total = UInt64(start.byteSwapped)
        bytes.withUnsafeBytes { all in
            var at = 0
            while all.count - at >= 4 {
                total &+= UInt64(all.loadUnaligned(fromByteOffset: at, as: UInt32.self))
                at += 4
            }
            if all.count - at >= 2 {
                total &+= UInt64(all.loadUnaligned(fromByteOffset: at, as: UInt16.self))
                at += 2
            }
            if at < all.count { total &+= UInt64(all[at]) }
        }
        while total > 0xffff { total = (total & 0xffff) &+ (total >> 16) }
        return UInt16(total).byteSwapped
    }
}

extension Array where Element == UInt8 {
    fileprivate mutating func append<T: FixedWidthInteger>(network value: T) { append(number: value.byteSwapped) }

    fileprivate mutating func replace(at offset: Int, with value: UInt16) {
        self[offset] = UInt8(value >> 8)
        self[offset + 1] = UInt8(value & 0xff)
    }
}
