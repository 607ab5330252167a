import CStackLayout
import Counters
import FoundationEssentials
import Settings

/// The forms of `--json`, which `Scripts/schemas/sluicestat.schema.json` describes. Members that are unknown are absent. The key
/// `version` grows when a member changes its meaning.
enum JSONReport {
    struct Netstat: Encodable {
        var version = 1
        var sockets: [Socket]
        /// Processes that were skipped because the user may not read them.
        var unreadableProcesses: Int
    }

    struct Why: Encodable {
        var version = 1
        var pid: Int32
        var command: String
        var commandLine: String
        var underSluice: Bool
        var stacks: [Stack]
        var sockets: [Socket]
        /// Sockets that are neither TCP nor UDP.
        var otherSockets: Int
    }

    struct Address: Encodable {
        var address: String
        var port: UInt16
    }

    struct Holder: Encodable {
        var pid: Int32
        /// Absent when the process holds the stack, and the descriptor could not be found.
        var fd: Int32?
        var user: String
        var command: String
    }

    struct ReasonNote: Encodable {
        var number: UInt32
        var name: String
        var sentence: String
        var action: String
    }

    struct Socket: Encodable {
        var `protocol`: String
        /// True of a flow, one peer of a UDP socket that is told of too; absent of sockets.
        var isFlow: Bool?
        var local: Address
        var remote: Address
        var state: String
        var interface: String
        /// `kernel`, `meeting` or `loopback`; absent for sockets that Sluice does not track.
        var lane: String?
        /// Absent on the loopback lane.
        var reason: ReasonNote?
        var uid: UInt32?
        var inode: UInt64?
        var cookie: UInt64?
        var holders: [Holder]
        /// Of `why` only.
        var peer: Peer?
        var counters: [String: UInt64]?
    }

    /// The number in force, or the word where there is none since waits are adaptive.
    enum SettingValue: Encodable {
        case number(Int64)
        case adaptive

        init(_ setting: Setting, _ value: Int64) {
            switch setting {
            case .pollUsec, .spinUsec, .tcpRecvSpin, .tcpSendSpin, .udpRecvSpin, .selectSpin, .pollSpin, .epollSpin:
                self = value == Settings.adaptive ? .adaptive : .number(value)
            default: self = .number(value)
            }
        }

        func encode(to encoder: any Encoder) throws {
            var container = encoder.singleValueContainer()
            switch self {
            case .number(let value): try container.encode(value)
            case .adaptive: try container.encode("adaptive")
            }
        }
    }

    struct Stack: Encodable {
        /// Identity of the process that made it, in hexadecimal.
        var nonce: String
        var pid: UInt32
        var uid: UInt32
        var command: String
        var endpoints: Int
        var settings: [String: SettingValue]
        var counters: [String: UInt64]
        var isCut: Bool
    }

    static func text(_ value: some Encodable) -> String { text(value, [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]) }

    /// All in one line.
    static func line(_ value: some Encodable) -> String { text(value, [.sortedKeys, .withoutEscapingSlashes]) }

    private static func text(_ value: some Encodable, _ format: JSONEncoder.OutputFormatting) -> String {
        let encoder = JSONEncoder()
        encoder.keyEncodingStrategy = .convertToSnakeCase
        encoder.outputFormatting = format
        // Only numbers and valid text are encoded, which cannot fail.
        guard let bytes = try? encoder.encode(value) else { fail("cannot write JSON", .unreadable) }
        return String(decoding: bytes, as: UTF8.self)
    }
}

extension JSONReport.Socket {
    init(_ row: SocketRow, _ survey: Survey, _ interfaces: Interfaces) {
        `protocol` = row.isTCP ? "tcp" : "udp"
        isFlow = row.isFlow ? true : nil
        local = JSONReport.Address(address: row.local.host, port: row.local.port)
        remote = JSONReport.Address(address: row.remote.host, port: row.remote.port)
        state = row.stateName
        interface = interfaces.name(of: row, ownNamespace: survey.kernel.ownNamespace)
        lane = row.endpoint.map { $0.laneName }
        reason = survey.reason(of: row).map { JSONReport.ReasonNote($0) }
        let kernel = row.kernel ?? row.owner
        uid = kernel.flatMap { $0.inode == 0 ? nil : $0.userID }
        inode = kernel.flatMap { $0.inode == 0 ? nil : $0.inode }
        // A stack has 0 until it has asked.
        cookie = kernel?.cookie ?? row.endpoint.flatMap { $0.cookie == 0 ? nil : $0.cookie }
        holders = row.holders.map { holder in
            let process = survey.processes[holder.process]
            return JSONReport.Holder(
                pid: process.id, fd: holder.descriptor < 0 ? nil : holder.descriptor, user: userName(process.userID),
                command: process.command)
        }
        counters = row.endpoint.map { endpoint in
            var named: [String: UInt64] = [:]
            for (place, value) in endpoint.counters.enumerated() {
                if let counter = EndpointCounter.row(place) { named["\(counter.name)"] = value }
            }
            return named
        }
    }
}

extension JSONReport.ReasonNote {
    init(_ number: UInt32) {
        let text = Reason(number).text
        self.number = number
        name = text.map { "\($0.name)" } ?? "unknown"
        sentence = text.map { "\($0.sentence)" } ?? "This version of the tool does not know the reason \(number)."
        action = text.map { "\($0.action)" } ?? "Use the tool of the same version as the library."
    }
}

extension JSONReport.Stack {
    init(_ record: StackRecord) {
        nonce = String(record.header.nonce, radix: 16)
        pid = record.header.processID
        uid = record.header.userID
        command = record.header.command
        endpoints = record.endpoints.count { !$0.isFlow }
        isCut = record.isCut
        settings = [:]
        for (place, value) in record.header.settings.enumerated() {
            if let setting = Setting(rawValue: place) { settings["\(setting.definition.name)"] = .init(setting, value) }
        }
        counters = [:]
        for (place, value) in record.header.counters.enumerated() {
            if let counter = StackCounter.row(place) { counters["\(counter.name)"] = value }
        }
    }
}

extension EndpointRecord {
    var laneName: String {
        switch lane {
        case UInt32(SL_LANE_KERNEL): "kernel"
        case UInt32(SL_LANE_MEETING): "meeting"
        // One that was handed back keeps its memory until the connection ends.
        case UInt32(SL_LANE_LOOPBACK): isBypassed ? "loopback" : "kernel"
        default: "unknown"
        }
    }
}
