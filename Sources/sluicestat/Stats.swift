import ArgumentParser
import Counters

struct Stats: ParsableCommand {
    static var configuration: CommandConfiguration {
        CommandConfiguration(
            commandName: "stats",
            abstract: "Shows all counters of one process, or the sums of all.",
            discussion: """
                The counters per process are those since its start, the ones per socket those of the sockets that are \
                open, summed up (of send_spin_max the greatest). describe-stats tells what each of them counts.
                """)
    }

    @Argument(help: ArgumentHelp("A process; without it, all.", valueName: "PID"))
    var process: Int32?

    @Flag(name: .short, help: "Says on stderr how many processes could not be read.")
    var verbose = false

    @Flag(help: jsonHelp)
    var json = false

    func validate() throws {
        if let process, process <= 0 { throw ValidationError("A process id is a positive number.") }
    }

    func run() throws {
        var sum = StackSum()
        if let process {
            let record = ProcessRecord.found(process)
            let survey = StackSurvey([record])
            survey.warnOfBadStacks()
            if survey.stacks.isEmpty { try record.failWithoutStack(survey) }
            // Since a fork it may hold another's stack too, and have none of its own yet.
            let own = survey.stacks.filter { record.made($0.record.header) }
            for stack in own.isEmpty ? survey.stacks : own { sum.add(stack.record) }
        } else {
            let scan = ProcessScan()
            let survey = StackSurvey(scan.processes)
            survey.warnOfBadStacks()
            for stack in survey.stacks { sum.add(stack.record) }
            if verbose { scan.warnOfUnreadable() }
        }
        print(
            json ? JSONReport.text(JSONReport.Stats(sum, process: process)) : Self.table(sum).text, terminator: json ? "\n" : "")
    }

    private static func table(_ sum: StackSum) -> PlainTable {
        var table = PlainTable(titles: ["Counter", "Per", "Value", "Unit"], numbers: ["Value"])
        for counter in CounterText.all {
            table.rows.append([counter.name, counter.per.rawValue, String(sum.value(of: counter)), counter.unit])
        }
        return table
    }
}

struct DescribeStats: ParsableCommand {
    static var configuration: CommandConfiguration {
        CommandConfiguration(
            commandName: "describe-stats", abstract: "Tells each counter's name, its unit, and what it counts.",
            aliases: ["describe_stats"])
    }

    @Flag(help: jsonHelp)
    var json = false

    func run() throws {
        if json {
            print(JSONReport.text(JSONReport.DescribeStats(counters: CounterText.all)))
            return
        }
        var table = PlainTable(titles: ["Counter", "Per", "Unit", "Counts"])
        table.rows = CounterText.all.map { [$0.name, $0.per.rawValue, $0.unit, $0.description] }
        print(table.text, terminator: "")
    }
}

/// A row of one of the two tables of counters, in words.
struct CounterText: Encodable {
    enum Scope: String, Encodable {
        case process
        case socket
    }

    var name: String
    /// Two counters of different scope may have one name.
    var per: Scope
    var unit: String
    var description: String
    /// Its place in its own table.
    var place: Int

    private enum CodingKeys: CodingKey {
        case name, per, unit, description
    }

    static let ofProcesses: [CounterText] = (0..<StackCounter.count).compactMap { place in
        StackCounter.row(place).map {
            CounterText(name: "\($0.name)", per: .process, unit: "\($0.unit)", description: "\($0.doc)", place: place)
        }
    }
    static let ofSockets: [CounterText] = (0..<EndpointCounter.count).compactMap { place in
        EndpointCounter.row(place).map {
            CounterText(name: "\($0.name)", per: .socket, unit: "\($0.unit)", description: "\($0.doc)", place: place)
        }
    }
    static var all: [CounterText] { ofProcesses + ofSockets }
}

extension StackSum {
    func value(of counter: CounterText) -> UInt64 {
        switch counter.per {
        case .process: processCounters[counter.place]
        case .socket: socketCounters[counter.place]
        }
    }

    /// The values of these counters by name.
    func values(_ counters: [CounterText]) -> [String: UInt64] {
        Dictionary(uniqueKeysWithValues: counters.map { ($0.name, value(of: $0)) })
    }
}
