import ArgumentParser

struct Latency: ParsableCommand {
    static var configuration: CommandConfiguration {
        CommandConfiguration(
            commandName: "latency",
            abstract: "Shows how long calls waited, of programs that run with SLUICE_LATENCY=1.",
            discussion: """
                One line for each kind of wait: receive and send of connections, datagram (receives of UDP), poll (select too) and \
                epoll; apart for those that ended while the call span and those that slept in the kernel. Only waits \
                with a socket that has a lane, or looks for one, are known; they count however they end, also by a time-out. Times are \
                true to 3 percent.
                """)
    }

    @Argument(help: ArgumentHelp("Processes; without any, all that keep such times.", valueName: "PID"))
    var processes: [Int32] = []

    @Flag(name: .short, help: "Says on stderr how many processes could not be read.")
    var verbose = false

    @Flag(help: jsonHelp)
    var json = false

    func validate() throws {
        if processes.contains(where: { $0 <= 0 }) { throw ValidationError("A process id is a positive number.") }
    }

    static var percentiles: [Double] { [50, 90, 99, 99.9] }

    func run() throws {
        var survey: StackSurvey
        var unreadable = 0
        if processes.isEmpty {
            let scan = ProcessScan()
            survey = StackSurvey(scan.processes, readsWaits: true)
            unreadable = scan.unreadable
            if verbose { scan.warnOfUnreadable() }
        } else {
            let found = processes.map { ProcessRecord.found($0) }
            survey = StackSurvey(found, readsWaits: true)
            if let missing = found.first(where: { Self.timed(survey, $0).isEmpty }) {
                survey.warnOfBadStacks()
                let own = StackSurvey([missing])
                if own.stacks.isEmpty { try missing.failWithoutStack(own) }
                fail("process \(missing.id) does not keep the times of its waits: start it with SLUICE_LATENCY=1", .notFound)
            }
        }
        survey.warnOfBadStacks()
        let stacks = survey.stacks.filter { $0.record.waits != nil }
        if json {
            let told = stacks.map { JSONReport.Timed($0, survey) }
            print(JSONReport.text(JSONReport.Latency(processes: told, unreadableProcesses: unreadable)))
        } else {
            print(Self.table(stacks, survey).text, terminator: "")
            if stacks.isEmpty { warn("no process that may be read keeps the times of its waits: start it with SLUICE_LATENCY=1") }
        }
    }

    /// The stacks of a process that have times.
    private static func timed(_ survey: StackSurvey, _ process: ProcessRecord) -> [StackHolding] {
        survey.stacks.filter { stack in
            stack.record.waits != nil && stack.holders.contains { survey.processes[$0].id == process.id }
        }
    }

    private static func table(_ stacks: [StackHolding], _ survey: StackSurvey) -> PlainTable {
        let names = percentiles.map { "p" + ($0 == $0.rounded() ? String(Int($0)) : String($0)) }
        var table = PlainTable(titles: ["Pid", "Command", "Wait", "Ended", "Count"] + names + ["Max"])
        table.numbers = Set(table.titles).subtracting(["Command", "Wait", "Ended"])
        for stack in stacks {
            let process = survey.process(of: stack)
            for waits in stack.record.waits ?? [] {
                let times = waits.percentiles(percentiles) + [waits.maximumNs]
                table.rows.append(
                    [String(process.id), stack.record.header.command, "\(waits.kind)", "\(waits.end)", String(waits.count)]
                        + times.map(short))
            }
        }
        return table
    }

    /// A time for people, of three digits: 950ns, 1.23us, 45.6ms, 789s.
    static func short(_ ns: UInt64) -> String {
        guard ns >= 1000 else { return "\(ns)ns" }
        var (rest, unit) = (Double(ns) / 1000, "us")
        for next in ["ms", "s"] where rest >= 999.5 { (rest, unit) = (rest / 1000, next) }
        let places: Double = rest < 9.995 ? 100 : rest < 99.95 ? 10 : 1
        let rounded = (rest * places).rounded() / places
        return (places == 1 ? String(Int(rounded)) : String(rounded)) + unit
    }
}

extension JSONReport {
    struct Latency: Encodable {
        var version = 1
        var processes: [Timed]
        var unreadableProcesses: Int
    }

    struct Timed: Encodable {
        var nonce: String
        var pid: Int32
        var user: String
        var command: String
        var waits: [WaitTimes]
    }

    struct WaitTimes: Encodable {
        var wait: String
        var ended: String
        var count: UInt64
        var sumNs: UInt64
        var p50Ns: UInt64
        var p90Ns: UInt64
        var p99Ns: UInt64
        var p999Ns: UInt64
        var maximumNs: UInt64
    }
}

extension JSONReport.Timed {
    init(_ stack: StackHolding, _ survey: StackSurvey) {
        let process = survey.process(of: stack)
        nonce = String(stack.record.header.nonce, radix: 16)
        pid = process.id
        user = userName(process.userID)
        command = stack.record.header.command
        waits = (stack.record.waits ?? []).map { JSONReport.WaitTimes($0) }
    }
}

extension JSONReport.WaitTimes {
    init(_ waits: Waits) {
        let times = waits.percentiles(Latency.percentiles)
        wait = "\(waits.kind)"
        ended = "\(waits.end)"
        count = waits.count
        sumNs = waits.sumNs
        (p50Ns, p90Ns, p99Ns, p999Ns) = (times[0], times[1], times[2], times[3])
        maximumNs = waits.maximumNs
    }
}
