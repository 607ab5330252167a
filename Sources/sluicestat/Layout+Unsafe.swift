import CStackLayout
import Counters
import Settings

/// Copies of the structures of CStackLayout, and the tool's records made from them. Each function checks that the bytes
/// are there; what they say is input.
enum Layout {
    /// The header at the begin of `bytes`; nil when they are too few.
    static func header(_ bytes: [UInt8]) -> sl_stack_header? {
        guard bytes.count >= MemoryLayout<sl_stack_header>.size else { return nil }
        return bytes.withUnsafeBytes { $0.loadUnaligned(as: sl_stack_header.self) }
    }

    /// `bytes` are those that `raw` was made from.
    static func record(_ raw: sl_stack_header, _ bytes: [UInt8]) -> StackHeader {
        let settings = MemoryLayout<sl_stack_header>.offset(of: \.settings) ?? 0
        let counters = MemoryLayout<sl_stack_header>.offset(of: \.counters) ?? 0
        return StackHeader(
            nonce: raw.nonce, processID: raw.pid, userID: raw.uid,
            command: withUnsafeBytes(of: raw.command) { printable(Array($0.prefix { $0 != 0 })) },
            settings: (0..<Setting.count).map { bytes.number(Int64.self, at: settings + 8 * $0) ?? 0 },
            given: raw.settings_given, bad: raw.settings_bad,
            counters: (0..<StackCounter.count).map { bytes.number(UInt64.self, at: counters + 8 * $0) ?? 0 })
    }

    /// The endpoint at `place` of an array of them; nil when it is free or the bytes are too few.
    static func endpoint(_ bytes: [UInt8], _ place: Int, index: Int) -> EndpointRecord? {
        let stride = MemoryLayout<sl_endpoint>.size
        let start = place * stride
        guard place >= 0, start <= bytes.count, bytes.count - start >= stride else { return nil }
        let raw = bytes.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: start, as: sl_endpoint.self) }
        guard raw.state != UInt32(SL_ENDPOINT_FREE) else { return nil }
        let counters = start + (MemoryLayout<sl_endpoint>.offset(of: \.counters) ?? 0)
        return EndpointRecord(
            index: index, cookie: raw.cookie, descriptor: Int32(truncatingIfNeeded: raw.descriptor) &- 1, state: raw.state,
            lane: raw.lane, reason: raw.reason, hasLeftLane: raw.flags & UInt32(SL_EP_GIVEN_UP) != 0,
            local: address(raw.local), remote: address(raw.remote), protocolNumber: raw.protocol,
            isFlow: raw.flags & UInt32(SL_EP_FLOW) != 0,
            counters: (0..<EndpointCounter.count).compactMap { EndpointCounter.row($0) }.map { row in
                row.bytes == 4
                    ? UInt64(bytes.number(UInt32.self, at: counters + row.offset) ?? 0)
                    : bytes.number(UInt64.self, at: counters + row.offset) ?? 0
            }, rxPackets: raw.counters.rx_packets, txPackets: raw.counters.tx_packets, drops: raw.counters.drops,
            rxRingBytes: raw.counters.rx_ring_bytes, txRingBytes: raw.counters.tx_ring_bytes,
            rxKernelBytes: raw.counters.rx_kernel_bytes, txKernelBytes: raw.counters.tx_kernel_bytes)
    }

    private static func address(_ raw: sl_address) -> SocketAddress {
        withUnsafeBytes(of: raw.ip) { SocketAddress(bytes: $0, port: raw.port) }
    }
}
