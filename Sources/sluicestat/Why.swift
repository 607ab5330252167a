import ArgumentParser
import Counters
import Glibc

/// A process id, or one with a descriptor: `PID` or `PID:FD`.
struct SocketName: ExpressibleByArgument {
    var process: Int32
    var descriptor: Int32?

    init?(argument: String) {
        let parts = argument.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count <= 2, let process = Int32(parts[0]), process > 0 else { return nil }
        self.process = process
        guard parts.count == 2 else { return }
        guard let descriptor = Int32(parts[1]), descriptor >= 0 else { return nil }
        self.descriptor = descriptor
    }
}

struct Why: ParsableCommand {
    static var configuration: CommandConfiguration {
        CommandConfiguration(
            commandName: "why",
            abstract: "Says for each socket of a process which lane it takes, and why not a better one.",
            discussion: """
                Peer is the process at the other end, when that is on this host and in the same network namespace: the first \
                one, and how many more hold the socket; the user alone, when its process may not be read.
                """)
    }

    @Argument(help: ArgumentHelp("A process, or one descriptor of it.", valueName: "PID[:FD]"))
    var socket: SocketName

    @Flag(help: jsonHelp)
    var json = false

    func run() throws {
        let process = ProcessRecord.found(socket.process)
        var survey = Survey([process], includesUDP: true)
        if process.hasLoadedSluice { survey.untracked = process.isTurnedOff ? .setting : .foreignOrigin }
        var rows = survey.rows.filter { !$0.holders.isEmpty }
        if let descriptor = socket.descriptor {
            rows = rows.filter { $0.holders.contains { $0.descriptor == descriptor } }
            if rows.isEmpty { explainMissing(descriptor, process) }
        }
        rows.sort { ($0.holders.first?.descriptor ?? 0) < ($1.holders.first?.descriptor ?? 0) }
        let peers = Peers(of: rows, survey.kernel)
        survey.found.warnOfBadStacks()
        let others = process.socketDescriptors.keys.count { survey.kernel.byInode[$0] == nil }
        if json {
            let interfaces = Interfaces()
            let report = JSONReport.Why(
                pid: process.id, command: process.command, commandLine: process.commandLine,
                underSluice: !survey.stacks.isEmpty, stacks: survey.stacks.map { JSONReport.Stack($0.record) },
                sockets: rows.map { row in
                    var socket = JSONReport.Socket(row, survey, interfaces)
                    socket.peer = peers[row].map { JSONReport.Peer($0) }
                    return socket
                }, otherSockets: others)
            print(JSONReport.text(report))
        } else if socket.descriptor != nil {
            for row in rows { printDetails(row, process, survey, peers) }
        } else if !rows.isEmpty || !survey.stacks.isEmpty {
            printSummary(rows, process, others, survey, peers)
        }
        if survey.stacks.isEmpty { try process.failWithoutStack(survey.found) }
    }

    /// The descriptor is no socket of IPv4 or IPv6.
    private func explainMissing(_ descriptor: Int32, _ process: ProcessRecord) -> Never {
        guard let link = linkText("/proc/\(process.id)/fd/\(descriptor)") else {
            fail("process \(process.id) has no descriptor \(descriptor)", .notFound)
        }
        if link.hasPrefix("socket:") {
            fail("descriptor \(descriptor) is not bound, or not a TCP or UDP socket: it travels by the kernel", .notFound)
        }
        fail("descriptor \(descriptor) is no socket: \(printable(link.utf8))", .notFound)
    }

    private func printSummary(_ rows: [SocketRow], _ process: ProcessRecord, _ others: Int, _ survey: Survey, _ peers: Peers) {
        var table = PlainTable(
            titles: ["FD", "Local Address", "Remote Address", "State", "Lane", "Reason", "Peer"], numbers: ["FD"])
        var reasons: [UInt32] = []
        for row in rows {
            let descriptors = row.holders.map { $0.descriptor < 0 ? "-" : String($0.descriptor) }.joined(separator: ",")
            var reason = "-"
            if let number = survey.reason(of: row) {
                reason = JSONReport.ReasonNote(number).name
                if !reasons.contains(number) { reasons.append(number) }
            }
            let lane = row.endpoint?.laneName ?? "kernel"
            table.rows.append([
                descriptors, row.local.dotted, row.remote.dotted, row.stateName, lane, reason, peers[row]?.words ?? "-",
            ])
        }
        let bypassed = rows.count { $0.isBypassed }
        print(
            "Process \(process.id) (\(process.command)): \(rows.count) \(rows.count == 1 ? "socket" : "sockets"), \(bypassed) past the kernel"
        )
        print(table.text, terminator: "")
        if others > 0 { print("Other sockets: \(others), not bound, or neither TCP nor UDP; Sluice has some for itself.") }
        for number in reasons.sorted() {
            let note = JSONReport.ReasonNote(number)
            print("\n\(note.name): \(note.sentence)\n  \(note.action)")
        }
    }

    private func printDetails(_ row: SocketRow, _ process: ProcessRecord, _ survey: Survey, _ peers: Peers) {
        print("Process \(process.id) (\(process.command)), descriptor \(socket.descriptor ?? 0)")
        print("Local Address   \(row.local.dotted)")
        print("Remote Address  \(row.remote.dotted)")
        print("State           \(row.stateName)")
        if let peer = peers[row] { print("Peer            \(peer.words)") }
        print("Lane            \(row.endpoint?.laneName ?? "kernel")")
        if let number = survey.reason(of: row) {
            let note = JSONReport.ReasonNote(number)
            print("Reason          \(note.name) (\(note.number)): \(note.sentence)\nWhat to do      \(note.action)")
        }
        guard let endpoint = row.endpoint else { return }
        print("")
        for (place, value) in endpoint.counters.enumerated() {
            if let counter = EndpointCounter.row(place) { print("\(value)\t\(counter.name)\t\(counter.doc)") }
        }
    }
}
