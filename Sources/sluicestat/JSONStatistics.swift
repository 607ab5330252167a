import Settings

extension JSONReport {
    struct Stacks: Encodable {
        var version = 1
        var stacks: [StackLine]
        var unreadableProcesses: Int
    }

    struct StackLine: Encodable {
        var nonce: String
        var pid: Int32
        /// All that hold it, `pid` too.
        var pids: [Int32]
        var uid: UInt32
        var user: String
        var command: String
        var endpoints: Int
        var lanes: Int
        var ringBytes: UInt64
        var kernelBytes: UInt64
        var isCut: Bool
    }

    struct Stats: Encodable {
        var version = 1
        /// Absent for the sums of all.
        var pid: Int32?
        var stacks: Int
        var endpoints: Int
        var lanes: Int
        var ringBytes: UInt64
        var kernelBytes: UInt64
        var processCounters: [String: UInt64]
        var socketCounters: [String: UInt64]
    }

    struct DescribeStats: Encodable {
        var version = 1
        var counters: [CounterText]
    }

    /// One of the tables; the others are absent.
    struct Tables: Encodable {
        var version = 1
        var settings: [SettingRow]?
        var reasons: [ReasonNote]?
        var counters: [CounterText]?
    }

    struct SettingRow: Encodable {
        var name: String
        var kind: String
        /// Absent for values without one.
        var unit: String?
        /// The range; absent for ports, words and lists.
        var minimum: Int64?
        var maximum: Int64?
        /// Absent but for words and lists.
        var words: [String]?
        var `default`: String
        var status: String
        var description: String
    }
}

extension JSONReport.StackLine {
    init(_ stack: StackHolding, _ survey: StackSurvey) {
        let process = survey.process(of: stack)
        let sum = StackSum(stack.record)
        nonce = String(stack.record.header.nonce, radix: 16)
        pid = process.id
        pids = stack.holders.map { survey.processes[$0].id }
        uid = process.userID
        user = userName(process.userID)
        command = stack.record.header.command
        endpoints = sum.endpoints
        lanes = sum.lanes
        ringBytes = sum.ringBytes
        kernelBytes = sum.kernelBytes
        isCut = stack.record.isCut
    }
}

extension JSONReport.Stats {
    init(_ sum: StackSum, process: Int32?) {
        pid = process
        stacks = sum.stacks
        endpoints = sum.endpoints
        lanes = sum.lanes
        ringBytes = sum.ringBytes
        kernelBytes = sum.kernelBytes
        processCounters = sum.values(CounterText.ofProcesses)
        socketCounters = sum.values(CounterText.ofSockets)
    }
}

extension JSONReport.SettingRow {
    init(_ row: SettingDefinition) {
        name = "\(row.name)"
        kind = "\(row.kind)"
        unit = "\(row.unit)".isEmpty ? nil : "\(row.unit)"
        switch row.kind {
        case .flag, .number, .powerOfTwo: (minimum, maximum) = (row.minimum, row.maximum)
        case .word, .list: words = "\(row.words)".split(separator: " ").map(String.init)
        case .ports, .text: break
        }
        `default` = "\(row.defaultText)".isEmpty ? String(row.defaultValue) : "\(row.defaultText)"
        status = row.status.word
        description = ["\(row.doc)", "\(row.absence)"].filter { !$0.isEmpty }.joined(separator: " ")
    }
}

extension SettingStatus {
    /// As it stands in JSON.
    var word: String {
        switch self {
        case .acts: "acts"
        case .accepted: "accepted"
        case .notApplicable: "not_applicable"
        }
    }
}
