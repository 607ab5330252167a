import CStackLayout
import Counters

/// Where the bytes of a stack come from. The other process goes on writing meanwhile and may write anything.
protocol StackSource: ~Copyable {
    /// Size of the file now.
    var byteCount: Int { get }
    /// A copy of `count` bytes at `offset`; nil when they are not all there.
    func read(_ offset: Int, _ count: Int) -> [UInt8]?
}

enum StackError: Error, Equatable {
    case tooShort
    case notAStack
    case otherVersion(UInt32)
    case damaged
}

/// What a stack says about itself.
struct StackHeader {
    var nonce: UInt64
    var processID: UInt32
    var userID: UInt32
    var command: String
    var settings: [Int64]
    /// Bit n: the variable of setting n was set, and its value taken; could not be used.
    var given: UInt64
    var bad: UInt64
    var counters: [UInt64]
}

/// What a stack says about one endpoint, as read at one moment; none of it is trusted.
struct EndpointRecord {
    var index: Int
    var cookie: UInt64
    /// The number under which the socket was made, -1 when that is not told.
    var descriptor: Int32
    var state: UInt32
    var lane: UInt32
    var reason: UInt32
    /// Its lane has been left for good, though what it needs may still be there.
    var hasLeftLane: Bool
    var local: SocketAddress
    var remote: SocketAddress
    var protocolNumber: UInt16
    /// One peer of a UDP socket, whose own endpoint has the same cookie.
    var isFlow: Bool
    /// In the order of the counter table.
    var counters: [UInt64]
    /// Packets in, out and dropped.
    var rxPackets: UInt64
    var txPackets: UInt64
    var drops: UInt64
    var rxRingBytes: UInt64
    var txRingBytes: UInt64
    var rxKernelBytes: UInt64
    var txKernelBytes: UInt64
}

extension EndpointRecord {
    /// It listens, connects or is connected: the kernel lists such sockets, and no others.
    var isBound: Bool {
        [SL_ENDPOINT_LISTENING, SL_ENDPOINT_CONNECTING, SL_ENDPOINT_CONNECTED].contains { UInt32($0) == state }
    }

    var isConnected: Bool { state == UInt32(SL_ENDPOINT_CONNECTED) }

    /// The socket's bytes travel in shared memory. (Who only sends datagrams is not told of a first one by the ring.)
    var isBypassed: Bool {
        let isUsed = reason == Reason.none.number || isFlow && reason == Reason.young.number && (rxPackets != 0 || txPackets != 0)
        return lane == UInt32(SL_LANE_LOOPBACK) && isUsed && !hasLeftLane
    }

    /// A connected UDP socket is the one flow to its peer: its lane and its reason, and what both have carried.
    func joined(with flow: EndpointRecord) -> EndpointRecord {
        var both = self
        (both.lane, both.reason, both.hasLeftLane, both.isFlow) = (flow.lane, flow.reason, flow.hasLeftLane, true)
        for (place, value) in flow.counters.enumerated() where place < counters.count {
            if EndpointCounter.row(place)?.isMaximum ?? false {
                both.counters[place] = max(counters[place], value)
            } else {
                both.counters[place] &+= value
            }
        }
        both.rxPackets &+= flow.rxPackets
        both.txPackets &+= flow.txPackets
        both.drops &+= flow.drops
        both.rxRingBytes &+= flow.rxRingBytes
        both.txRingBytes &+= flow.txRingBytes
        both.rxKernelBytes &+= flow.rxKernelBytes
        both.txKernelBytes &+= flow.txKernelBytes
        return both
    }
}

/// A copy of a stack's header and of its endpoints in use.
struct StackRecord {
    var header: StackHeader
    var endpoints: [EndpointRecord]
    /// Endpoints lie beyond the file's end or the tool's limit and were not read.
    var isCut: Bool
    /// How long its calls waited; nil: not kept, or not asked for.
    var waits: [Waits]?

    /// More endpoints are not read: a hostile stack must not fill the tool's memory.
    static var mostEndpoints: Int { 1 << 18 }
    /// The layout is copied from at most this many endpoints at a time.
    private static var batch: Int { 512 }

    /// Reads and checks a stack: every number of it is input. The endpoints that are free are left out.
    init<Source: StackSource & ~Copyable>(_ source: borrowing Source, readsWaits: Bool = false) throws(StackError) {
        let headerBytes = MemoryLayout<sl_stack_header>.size
        guard source.byteCount >= headerBytes, let bytes = source.read(0, headerBytes) else { throw .tooShort }
        guard let raw = Layout.header(bytes) else { throw .tooShort }
        guard raw.magic == SL_STACK_MAGIC else { throw .notAStack }
        guard raw.version == SL_LAYOUT_VERSION else { throw .otherVersion(raw.version) }
        let stride = Int(raw.endpoint_bytes)
        let first = Int(raw.first_endpoint)
        let used = Int(raw.endpoints_used)
        guard stride == MemoryLayout<sl_endpoint>.size, first >= headerBytes, first % 64 == 0,
            first <= source.byteCount, used <= Int(raw.endpoint_capacity)
        else { throw .damaged }
        let fitting = (source.byteCount - first) / stride
        let count = min(used, fitting, Self.mostEndpoints)
        isCut = count < used
        header = Layout.record(raw, bytes)
        endpoints = []
        if readsWaits { waits = Waits.read(source, at: raw.waits_offset) }
        var index = 0
        while index < count {
            let batch = min(Self.batch, count - index)
            // The file may have become shorter since.
            guard let bytes = source.read(first + index * stride, batch * stride) else {
                isCut = true
                return
            }
            for place in 0..<batch {
                if let endpoint = Layout.endpoint(bytes, place, index: index + place) { endpoints.append(endpoint) }
            }
            index += batch
        }
    }
}

extension StackRecord {
    /// The endpoints, connected UDP sockets with the flows to their peers taken in.
    var joined: [EndpointRecord] {
        var result = endpoints.filter { !$0.isFlow }
        var places: [UInt64: Int] = [:]
        for (place, endpoint) in result.enumerated()
        where endpoint.protocolNumber == 17 && endpoint.isConnected && endpoint.cookie != 0 {
            places[endpoint.cookie] = place
        }
        for flow in endpoints where flow.isFlow {
            if let place = places[flow.cookie], result[place].remote == flow.remote, !result[place].isFlow {
                result[place] = result[place].joined(with: flow)
            } else {
                result.append(flow)
            }
        }
        return result
    }
}
