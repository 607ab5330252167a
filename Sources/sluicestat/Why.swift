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
        func turn(_ name: String) -> Reason {
            process.isTurnedOff(name) ? .setting : process.isFiltered ? .sealedOff : .foreignOrigin
        }
        if process.hasLoadedSluice { survey.untracked = (turn("EF_TCP"), turn("EF_UDP")) }
        var rows = survey.rows.filter { !$0.holders.isEmpty }
        if let descriptor = socket.descriptor {
            rows = rows.filter { $0.holders.contains { $0.descriptor == descriptor } }
            if rows.isEmpty { explainMissing(descriptor, process) }
        }
        // A socket stands in front of its flows.
        rows.sort { a, b in
            let (x, y) = (a.holders.first?.descriptor ?? 0, b.holders.first?.descriptor ?? 0)
            return x != y ? x < y : !a.isFlow && b.isFlow
        }
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
            for row in rows where !row.isFlow { printDetails(row, process, survey, peers) }
            printFlows(rows.filter { $0.isFlow }, survey, peers)
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
            let inode = process.socketDescriptors.first { $0.value.contains(descriptor) }?.key
            if !json, let family = inode.flatMap({ process.otherFamily($0) }) {
                let note = JSONReport.ReasonNote(Reason.kind.number)
                print("Process \(process.id) (\(process.command)), descriptor \(descriptor)")
                print("Family          \(family)\nLane            kernel")
                print("Reason          \(note.name) (\(note.number)): \(note.sentence)\nWhat to do      \(note.action)")
                Glibc.exit(0)
            }
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
        let (flows, bypassed) = (rows.count { $0.isFlow }, rows.count { $0.isBypassed })
        let sockets = rows.count - flows
        let words = flows == 0 ? "" : " and \(flows) \(flows == 1 ? "peer" : "peers") of UDP sockets"
        print(
            "Process \(process.id) (\(process.command)): \(sockets) \(sockets == 1 ? "socket" : "sockets")\(words), \(bypassed) past the kernel"
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
        if row.hasFlows, row.kernel?.remote.port == 0 { print("Peers           have lanes and reasons of their own, below") }
        guard let endpoint = row.endpoint else { return }
        print("")
        for (place, value) in endpoint.counters.enumerated() {
            if let counter = EndpointCounter.row(place) { print("\(value)\t\(counter.name)\t\(counter.doc)") }
        }
    }

    /// A line for each peer of a UDP socket, and what their reasons mean.
    private func printFlows(_ flows: [SocketRow], _ survey: Survey, _ peers: Peers) {
        guard !flows.isEmpty else { return }
        var table = PlainTable(
            titles: ["Local Address", "Remote Address", "Lane", "Reason", "Ipkts", "Opkts", "Dpkts", "Peer"],
            numbers: ["Ipkts", "Opkts", "Dpkts"])
        var reasons: Set<UInt32> = []
        for flow in flows {
            guard let endpoint = flow.endpoint else { continue }
            let reason = survey.reason(of: flow)
            if let reason { reasons.insert(reason) }
            let counts = [endpoint.rxPackets, endpoint.txPackets, endpoint.drops].map { String($0) }
            table.rows.append(
                [flow.local.dotted, flow.remote.dotted, endpoint.laneName, reason.map { JSONReport.ReasonNote($0).name } ?? "-"]
                    + counts + [peers[flow]?.words ?? "-"])
        }
        print("\n\(table.text)", terminator: "")
        for note in reasons.sorted().map({ JSONReport.ReasonNote($0) }) {
            print("\n\(note.name): \(note.sentence)\n  \(note.action)")
        }
    }
}
