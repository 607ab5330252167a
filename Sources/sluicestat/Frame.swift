/// What a program has moved over one connection, or moves in a second.
struct Traffic {
    var rxBytes = 0.0
    var txBytes = 0.0
    var rxPackets = 0.0
    var txPackets = 0.0
    var bytes: Double { rxBytes + txBytes }
}

/// All stacks at one moment.
struct Moment {
    /// An endpoint while it is one connection.
    struct Key: Hashable {
        var stack: FileIdentity
        var index: Int
        var local: SocketAddress
        var remote: SocketAddress
    }

    let time = milliseconds()
    let survey: StackSurvey
    let unreadable: Int
    private(set) var endpoints: [Key: EndpointRecord] = [:]
    private(set) var stacks: [FileIdentity: StackHolding] = [:]

    init() {
        let scan = ProcessScan()
        unreadable = scan.unreadable
        survey = StackSurvey(scan.processes)
        for stack in survey.stacks {
            stacks[stack.identity] = stack
            for endpoint in stack.record.joined where endpoint.isConnected {
                let key = Key(stack: stack.identity, index: endpoint.index, local: endpoint.local, remote: endpoint.remote)
                endpoints[key] = endpoint
            }
        }
    }
}

/// The connections of one moment with their rates since another.
struct Frame {
    struct Row {
        var endpoint: EndpointRecord
        var process: ProcessRecord
        var command: String
        /// Per second; nil in the first frame.
        var rate: Traffic?
    }

    let isFirst: Bool
    let seconds: Double
    let unreadable: Int
    private(set) var sum = StackSum()
    /// The fastest first.
    private(set) var connections: [Row] = []
    var bytesPerSecond: Double { connections.reduce(0) { $0 + ($1.rate?.bytes ?? 0) } }

    init(_ moment: Moment, since last: Moment?) {
        isFirst = last == nil
        unreadable = moment.unreadable
        let span = last.map { Double(max(1, moment.time - $0.time)) / 1000 } ?? 0
        seconds = span
        for stack in moment.survey.stacks { sum.add(stack.record) }
        for (key, endpoint) in moment.endpoints {
            guard let stack = moment.stacks[key.stack] else { continue }
            let rate = last.map { endpoint.traffic(since: $0.endpoints[key], seconds: span) }
            connections.append(
                Row(
                    endpoint: endpoint, process: moment.survey.process(of: stack), command: stack.record.header.command,
                    rate: rate))
        }
        connections.sort { a, b in
            let (x, y) = (a.rate?.bytes ?? 0, b.rate?.bytes ?? 0)
            return x != y ? x > y : (a.process.id, a.endpoint.index) < (b.process.id, b.endpoint.index)
        }
    }
}

extension EndpointRecord {
    /// What it moved per second since an earlier copy of it was made. Without one, or with one of another connection, which
    /// had moved more, it is new.
    func traffic(since earlier: EndpointRecord?, seconds: Double) -> Traffic {
        func rate(_ counts: KeyPath<EndpointRecord, UInt64>...) -> Double {
            counts.reduce(0) { sum, count in
                let (now, before) = (self[keyPath: count], earlier?[keyPath: count] ?? 0)
                return sum + Double(now >= before ? now - before : now)
            } / seconds
        }
        return Traffic(
            rxBytes: rate(\.rxRingBytes, \.rxKernelBytes), txBytes: rate(\.txRingBytes, \.txKernelBytes),
            rxPackets: rate(\.rxPackets), txPackets: rate(\.txPackets))
    }
}
