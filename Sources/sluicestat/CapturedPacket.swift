/// One of the lives of an endpoint: its place is used again, and of a socket of UDP each lane counts anew.
struct EndpointLife: Hashable {
    var owner: UInt64
    var index: UInt32
    var generation: UInt32
    var lane: UInt32
}

/// A packet as a process has written it into the ring of its stack; none of it is trusted.
struct CapturedPacket {
    /// CLOCK_REALTIME, ns.
    var time: UInt64
    var isTCP: Bool
    /// The process that tells has received it; else it has sent it.
    var isReceived: Bool
    var namespace: UInt64
    var life: EndpointLife
    /// Of the process that tells.
    var local: SocketAddress
    var remote: SocketAddress
    /// Of a stream: the place of its first byte; of a datagram: a number that grows.
    var position: UInt64
    /// Of a stream: what the sender of the packet has read of the other direction.
    var acknowledged: UInt64
    /// Without headers.
    var length: Int
    /// As many of them as were kept.
    var bytes: [UInt8]

    var from: SocketAddress { isReceived ? remote : local }
    var to: SocketAddress { isReceived ? local : remote }
}

/// What was written of each direction so far. Where both ends are captured, both tell of a packet: the sender first. Each
/// byte is written once, whoever tells of it.
struct CaptureFlows {
    private struct Direction: Hashable {
        var isTCP: Bool
        var namespace: UInt64
        var from: SocketAddress
        var to: SocketAddress
    }

    private struct Progress {
        var sender: EndpointLife?
        var receiver: EndpointLife?
        /// Behind what was written; nil: nothing yet.
        var end: UInt64?
    }

    private var flows: [Direction: Progress] = [:]
    /// Forgetting costs a few packets that are written twice.
    private static var most: Int { 1 << 17 }

    /// False: the packet was written. Else it is cut to what was not.
    mutating func admit(_ packet: inout CapturedPacket) -> Bool {
        let key = Direction(isTCP: packet.isTCP, namespace: packet.namespace, from: packet.from, to: packet.to)
        if flows.count >= Self.most { flows.removeAll() }
        var flow = flows[key] ?? Progress()
        // Another socket at the same addresses: it counts anew.
        if let known = packet.isReceived ? flow.receiver : flow.sender, known != packet.life { flow = Progress() }
        if packet.isReceived { flow.receiver = packet.life } else { flow.sender = packet.life }
        defer { flows[key] = flow }
        guard packet.isTCP else {
            if let end = flow.end, packet.position <= end { return false }
            flow.end = packet.position
            return true
        }
        let (next, isTooMuch) = packet.position.addingReportingOverflow(UInt64(packet.length))
        if isTooMuch { return false }
        if let end = flow.end, packet.position < end {
            guard next > end else { return false }
            packet.cut(Int(end - packet.position))
        }
        flow.end = next
        return true
    }
}

extension CapturedPacket {
    /// Without its first bytes.
    fileprivate mutating func cut(_ count: Int) {
        position += UInt64(count)
        length -= count
        bytes.removeFirst(min(count, bytes.count))
    }
}
