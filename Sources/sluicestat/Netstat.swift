import ArgumentParser
import Glibc

/// The transport protocols that `-P` selects.
enum TransportProtocol: String, ExpressibleByArgument, CaseIterable {
    case tcp
    case udp
}

struct Netstat: ParsableCommand {
    static var configuration: CommandConfiguration {
        CommandConfiguration(
            commandName: "netstat",
            abstract: "Lists sockets, with the packets that bypassed the kernel.",
            discussion: """
                Ipkts, Opkts and Dpkts count what travelled in user space: one publication of a stream or one datagram; \
                Dpkts are drops. They are - for sockets that Sluice does not track. UDP states are Idle and Connected. \
                A UDP socket without a peer has a row for each peer that it talks to by Sluice (a flow), beside its own.

                Each socket stands in one row, also one that comes or goes meanwhile. What Sluice does with the sockets of \
                processes that may not be read is not known: a line on stderr says so to who is not root.
                """)
    }

    @Flag(name: .short, help: "Only sockets whose bytes bypass the kernel.")
    var kernelBypassed = false

    @Flag(name: .short, help: "Also listening sockets and unconnected UDP sockets.")
    var all = false

    @Flag(name: .short, help: "Adds the columns User, Pid and Command.")
    var users = false

    @Flag(name: .short, help: "As -u, with the full command line; says on stderr which stacks could not be read.")
    var verbose = false

    @Option(name: [.customShort("P")], help: "Only this protocol: tcp or udp.")
    var transport: TransportProtocol?

    @Option(help: ArgumentHelp("Only sockets with this port, at either end.", valueName: "NUMBER"))
    var port: UInt16?

    @Argument(help: ArgumentHelp("Only sockets of these processes.", valueName: "PID"))
    var processes: [Int32] = []

    @Flag(help: jsonHelp)
    var json = false

    func validate() throws {
        if processes.contains(where: { $0 <= 0 }) { throw ValidationError("A process id is a positive number.") }
    }

    func run() throws {
        // Who asks for a process that is not there is told so.
        let wanted = Set(processes.map { ProcessRecord.found($0).id })
        let scan = ProcessScan()
        let survey = Survey(scan.processes, includesUDP: transport != .tcp)
        let interfaces = Interfaces()
        let rows = survey.rows.filter { isWanted($0) && isOf(wanted, $0, survey) }.sorted(by: Self.order)
        if json {
            let sockets = rows.map { JSONReport.Socket($0, survey, interfaces) }
            print(JSONReport.text(JSONReport.Netstat(sockets: sockets, unreadableProcesses: scan.unreadable)))
        } else {
            print(table(rows, survey, interfaces).text, terminator: "")
        }
        if verbose { survey.found.warnOfBadStacks() }
        if !json && (verbose || geteuid() != 0) {
            scan.warnOfUnreadable(kernelBypassed ? ": their sockets are not shown" : ": their packets are not shown")
        } else if verbose {
            scan.warnOfUnreadable()
        }
    }

    private func isWanted(_ row: SocketRow) -> Bool {
        if let transport, row.isTCP != (transport == .tcp) { return false }
        if kernelBypassed { return row.isBypassed }
        if all { return true }
        // Without the kernel's word an endpoint may be the remains of a socket that has just been closed.
        return (row.kernel ?? row.owner) != nil && row.stateName != "LISTEN" && row.stateName != "Idle"
    }

    private func isOf(_ wanted: Set<Int32>, _ row: SocketRow, _ survey: Survey) -> Bool {
        if let port, row.local.port != port && row.remote.port != port { return false }
        return wanted.isEmpty || row.holders.contains { wanted.contains(survey.processes[$0.process].id) }
    }

    private static func order(_ a: SocketRow, _ b: SocketRow) -> Bool {
        if a.isTCP != b.isTCP { return a.isTCP }
        let (x, y) = (a.sortKey, b.sortKey)
        return x.lexicographicallyPrecedes(y)
    }

    private func table(_ rows: [SocketRow], _ survey: Survey, _ interfaces: Interfaces) -> PlainTable {
        var table = PlainTable(
            titles: ["Local Address", "Remote Address", "State", "If", "Ipkts", "Opkts", "Dpkts"],
            numbers: ["Ipkts", "Opkts", "Dpkts"])
        if users || verbose { table.titles += ["User", "Pid", "Command"] }
        for row in rows {
            var cells = [
                row.local.dotted, row.remote.dotted, row.stateName,
                interfaces.name(of: row, ownNamespace: survey.kernel.ownNamespace),
            ]
            if let endpoint = row.endpoint {
                cells += [endpoint.rxPackets, endpoint.txPackets, endpoint.drops].map { String($0) }
            } else {
                cells += ["-", "-", "-"]
            }
            if users || verbose { cells += holderCells(row, survey) }
            table.rows.append(cells)
        }
        return table
    }

    private func holderCells(_ row: SocketRow, _ survey: Survey) -> [String] {
        guard let first = row.holders.first else {
            // Without an inode (TIME_WAIT) the kernel no longer knows whose it was.
            return [(row.kernel ?? row.owner).flatMap { $0.inode == 0 ? nil : userName($0.userID) } ?? "-", "-", "-"]
        }
        let process = survey.processes[first.process]
        return [userName(process.userID), String(process.id), verbose ? process.commandLine : process.command]
    }
}

extension SocketRow {
    /// Orders rows for people: by local port and address, then by the remote one.
    fileprivate var sortKey: [UInt64] {
        [UInt64(local.port), local.high, local.low, UInt64(remote.port), remote.high, remote.low]
    }
}

extension StackError {
    var sentence: String {
        switch self {
        case .tooShort: "its stack is too short"
        case .notAStack: "a memfd named sluice is no stack"
        case .otherVersion(let version): "its stack has the layout \(version), which this tool does not know"
        case .damaged: "its stack is damaged"
        }
    }
}
