import CStackLayout
import Counters
import Settings

extension StackHeader {
    /// `bytes` are those that `raw` was made from.
    init(_ raw: sl_stack_header, _ bytes: [UInt8]) {
        nonce = raw.nonce
        processID = raw.pid
        userID = raw.uid
        command = withUnsafeBytes(of: raw.command) { printable($0.prefix { $0 != 0 }) }
        let settingsOffset = MemoryLayout<sl_stack_header>.offset(of: \.settings) ?? 0
        let countersOffset = MemoryLayout<sl_stack_header>.offset(of: \.counters) ?? 0
        settings = (0..<Setting.count).map { bytes.number(Int64.self, at: settingsOffset + 8 * $0) ?? 0 }
        counters = (0..<StackCounter.count).map { bytes.number(UInt64.self, at: countersOffset + 8 * $0) ?? 0 }
    }
}

extension EndpointRecord {
    /// `bytes` are those that `raw` was made from.
    init(_ raw: sl_endpoint, _ index: Int, _ bytes: UnsafeRawBufferPointer) {
        self.index = index
        cookie = raw.cookie
        state = raw.state
        lane = raw.lane
        reason = raw.reason
        descriptors = raw.descriptors
        local = SocketAddress(raw.local)
        remote = SocketAddress(raw.remote)
        protocolNumber = raw.protocol
        rxPackets = raw.counters.rx_packets
        txPackets = raw.counters.tx_packets
        drops = raw.counters.drops
        let start = MemoryLayout<sl_endpoint>.offset(of: \.counters) ?? 0
        counters = (0..<EndpointCounter.count).compactMap { EndpointCounter.row($0) }.map { row in
            let offset = start + row.offset
            return row.bytes == 4
                ? UInt64(bytes.loadUnaligned(fromByteOffset: offset, as: UInt32.self))
                : bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
        }
    }

    /// It listens, connects or is connected: the kernel lists such sockets, and no others.
    var isBound: Bool {
        [SL_ENDPOINT_LISTENING, SL_ENDPOINT_CONNECTING, SL_ENDPOINT_CONNECTED].contains { UInt32($0) == state }
    }

    /// The socket's bytes travel in shared memory.
    var isBypassed: Bool { lane == UInt32(SL_LANE_LOOPBACK) }
}

extension SocketAddress {
    init(_ raw: sl_address) {
        self = withUnsafeBytes(of: raw.ip) { SocketAddress(bytes: $0, port: raw.port) }
    }
}
