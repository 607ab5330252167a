import CStackLayout
import Foundation

@testable import sluicestat

/// The bytes of a stack as the library writes it.
struct StackImage {
    var header = sl_stack_header()
    var endpoints: [sl_endpoint] = []

    init() {
        header.magic = SL_STACK_MAGIC
        header.version = SL_LAYOUT_VERSION
        header.endpoint_bytes = UInt32(MemoryLayout<sl_endpoint>.size)
        header.first_endpoint = SL_STACK_FIRST_ENDPOINT
        header.endpoint_capacity = 64
        header.nonce = 0xabcd
        header.pid = UInt32(getpid())
        header.uid = getuid()
    }

    /// Adds an endpoint, of TCP unless it is said to be a datagram's, and returns its place.
    @discardableResult
    mutating func add(
        state: Int = SL_ENDPOINT_CONNECTED, lane: Int, reason: UInt32 = 0, flags: Int = 0, cookie: UInt64 = 0,
        local: SocketAddress = SocketAddress(ipv4: 0, port: 0), remote: SocketAddress = SocketAddress(ipv4: 0, port: 0),
        rx: UInt64 = 0, tx: UInt64 = 0, drops: UInt64 = 0, isDatagram: Bool = false
    ) -> Int {
        var endpoint = sl_endpoint()
        endpoint.index = UInt32(endpoints.count)
        endpoint.state = UInt32(state)
        endpoint.lane = UInt32(lane)
        endpoint.reason = reason
        endpoint.flags = UInt32(flags)
        endpoint.cookie = cookie
        endpoint.protocol = isDatagram ? 17 : 6
        endpoint.local = local.raw
        endpoint.remote = remote.raw
        endpoint.counters.rx_packets = rx
        endpoint.counters.tx_packets = tx
        endpoint.counters.drops = drops
        endpoint.counters.send_spin_max = 7
        endpoints.append(endpoint)
        header.endpoints_used = UInt32(endpoints.count)
        return endpoints.count - 1
    }

    /// Header, room up to the first endpoint, endpoints, and free ones up to the capacity.
    var bytes: [UInt8] {
        let stride = MemoryLayout<sl_endpoint>.size
        let first = Int(SL_STACK_FIRST_ENDPOINT)
        var result = [UInt8](repeating: 0, count: first + 64 * stride)
        withUnsafeBytes(of: header) { result.replaceSubrange(0..<$0.count, with: $0) }
        for (place, endpoint) in endpoints.enumerated() {
            let start = first + place * stride
            withUnsafeBytes(of: endpoint) { result.replaceSubrange(start..<(start + stride), with: $0) }
        }
        return result
    }
}

extension SocketAddress {
    var raw: sl_address {
        var result = sl_address()
        let bytes = withUnsafeBytes(of: (high.bigEndian, low.bigEndian)) { Array($0) }
        withUnsafeMutableBytes(of: &result.ip) { $0.copyBytes(from: bytes) }
        result.port = port
        return result
    }
}

/// A stack in memory, for the reader. Reads beyond `end` fail, as in a file that was shortened after it was opened.
struct MemorySource: StackSource {
    var bytes: [UInt8]
    var byteCount: Int
    var end: Int

    init(_ bytes: [UInt8], claims byteCount: Int? = nil, end: Int? = nil) {
        self.bytes = bytes
        self.byteCount = byteCount ?? bytes.count
        self.end = end ?? bytes.count
    }

    func read(_ offset: Int, _ count: Int) -> [UInt8]? {
        guard offset >= 0, count >= 0, offset <= end, count <= end - offset else { return nil }
        return Array(bytes[offset..<(offset + count)])
    }
}

/// xorshift64*: the same sequence in every run.
struct SeededGenerator: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
        state ^= state >> 12
        state ^= state << 25
        state ^= state >> 27
        return state &* 2_685_821_657_736_338_717
    }
}
