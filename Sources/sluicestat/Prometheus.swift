import ArgumentParser
import Counters

struct Prometheus: ParsableCommand {
    static var configuration: CommandConfiguration {
        CommandConfiguration(
            commandName: "prometheus",
            abstract: "Writes the counters of all processes as Prometheus reads them.",
            discussion: """
                Text of the exposition format 0.0.4: to standard output, to a file (for a collector of text files), or by \
                HTTP on a unix socket, one answer per connection, until the tool is ended.

                Counters per process are named sluice_NAME_total. Those per socket are the sums over the open sockets of a \
                process, which shrink when one ends: gauges, named sluice_open_NAME. sluice_sockets tells how many sockets \
                there are per lane and reason.
                """)
    }

    @Option(name: .shortAndLong, help: ArgumentHelp("Writes this file, whole or not at all: by rename.", valueName: "file"))
    var output: String?

    @Option(help: ArgumentHelp("Answers on this unix socket, with what is so at that moment.", valueName: "path"))
    var listen: String?

    @Flag(help: "One sum of all processes, in place of a series for each.")
    var sum = false

    func validate() throws {
        if output != nil && listen != nil { throw ValidationError("Only one of --output and --listen.") }
    }

    func run() throws {
        if let listen {
            MetricsServer.serve(listen) { text() }
        } else if let output {
            if let error = writeFile(output, text()) { fail("cannot write \(output): \(error)", .unreadable) }
        } else {
            print(text(), terminator: "")
        }
    }

    private func text() -> String {
        let scan = ProcessScan()
        let survey = StackSurvey(scan.processes, readsWaits: true)
        survey.warnOfBadStacks()
        var groups: [StackGroup] = []
        var places: [Int32: Int] = [:]
        for stack in survey.stacks {
            let process = sum ? nil : survey.process(of: stack)
            // Two stacks may have one process, and a series may stand there once only.
            let place = places[process?.id ?? 0] ?? groups.count
            if place == groups.count {
                groups.append(StackGroup(process))
                places[process?.id ?? 0] = place
            }
            groups[place].sum.add(stack.record)
            for waits in stack.record.waits ?? [] { groups[place].add(waits) }
        }
        if sum && groups.isEmpty { groups.append(StackGroup(nil)) }
        return Exposition.text(groups, survey.stacks.map { $0.record }, unreadable: scan.unreadable)
    }
}

/// Stacks that are told together: those of one process, or all.
struct StackGroup {
    var labels: [(name: String, value: String)] = []
    var sum = StackSum()
    /// Of the processes that keep such times.
    private(set) var waits: [Waits] = []

    /// Nil: all processes.
    init(_ process: ProcessRecord?) {
        guard let process else { return }
        labels = [("pid", String(process.id)), ("user", userName(process.userID)), ("command", process.command)]
    }

    mutating func add(_ other: Waits) {
        if let place = waits.firstIndex(where: { $0.kind == other.kind && $0.end == other.end }) {
            waits[place].add(other)
        } else {
            waits.append(other)
        }
    }
}

/// Prometheus's text format: https://prometheus.io/docs/instrumenting/exposition_formats/
struct Exposition {
    static var contentType: String { "text/plain; version=0.0.4; charset=utf-8" }

    enum Kind: String {
        case counter
        case gauge
        case histogram
    }

    private(set) var text = ""

    /// The lines before the samples of one name.
    mutating func begin(_ name: String, _ kind: Kind, _ help: String) {
        let escaped = help.escaping(["\\": "\\\\", "\n": "\\n"])
        text += "# HELP \(name) \(escaped)\n# TYPE \(name) \(kind.rawValue)\n"
    }

    mutating func sample(_ name: String, _ labels: [(name: String, value: String)], _ value: UInt64) {
        sample(name, labels, String(value))
    }

    mutating func sample(_ name: String, _ labels: [(name: String, value: String)], _ value: String) {
        let pairs = labels.map { "\($0.name)=\"\($0.value.escaping(["\\": "\\\\", "\n": "\\n", "\"": "\\\""]))\"" }
        text += name + (pairs.isEmpty ? "" : "{\(pairs.joined(separator: ","))}") + " \(value)\n"
    }

    private mutating func family(
        _ name: String, _ kind: Kind, _ help: String, _ groups: [StackGroup], _ value: (StackSum) -> UInt64
    ) {
        begin(name, kind, help)
        for group in groups { sample(name, group.labels, value(group.sum)) }
    }

    /// Everything that is told of these stacks.
    static func text(_ groups: [StackGroup], _ records: [StackRecord], unreadable: Int) -> String {
        var page = Exposition()
        page.begin("sluice_stacks", .gauge, "Stacks that were read: processes with accelerated or tracked sockets.")
        page.sample("sluice_stacks", [], UInt64(records.count))
        page.begin("sluice_unreadable_processes", .gauge, "Processes that the user may not read.")
        page.sample("sluice_unreadable_processes", [], UInt64(unreadable))
        page.family("sluice_endpoints", .gauge, "Sockets that Sluice tracks.", groups) { UInt64($0.endpoints) }
        page.family("sluice_lanes", .gauge, "Connections, and peers of UDP sockets, whose bytes travel in shared memory.", groups)
        {
            UInt64($0.lanes)
        }
        page.sockets(records)
        page.family(
            "sluice_ring_bytes_total", .counter, "Bytes through rings, both directions, also of sockets that have ended.", groups
        ) { $0.ringBytes }
        for counter in CounterText.ofProcesses {
            page.family("sluice_\(counter.name)_total", .counter, counter.description, groups) { $0.value(of: counter) }
        }
        for counter in CounterText.ofSockets {
            page.family("sluice_open_\(counter.name)", .gauge, "\(counter.description) Of open sockets.", groups) {
                $0.value(of: counter)
            }
        }
        page.waits(groups)
        return page.text
    }

    /// How many sockets and flows there are per lane and reason.
    private mutating func sockets(_ records: [StackRecord]) {
        var counts: [String: [String: UInt64]] = [:]
        for endpoint in records.lazy.flatMap({ $0.joined }) {
            let reason = endpoint.isBypassed ? "none" : JSONReport.ReasonNote(endpoint.reason).name
            counts[endpoint.laneName, default: [:]][reason, default: 0] += 1
        }
        begin(
            "sluice_sockets", .gauge,
            "Sockets, and peers of UDP sockets, by lane, and by the reason why they travel by the kernel.")
        for (lane, reasons) in counts.sorted(by: { $0.key < $1.key }) {
            for (reason, count) in reasons.sorted(by: { $0.key < $1.key }) {
                sample("sluice_sockets", [("lane", lane), ("reason", reason)], count)
            }
        }
    }
}

extension Exposition {
    /// The upper ends of the histogram's buckets: each is four times the one before, from 256 ns to 69 s.
    private static let bounds = (4...18).map { UInt64(1) << UInt64(2 * $0) }

    /// Nothing where nobody keeps such times.
    fileprivate mutating func waits(_ groups: [StackGroup]) {
        guard groups.contains(where: { !$0.waits.isEmpty }) else { return }
        let name = "sluice_wait_seconds"
        begin(
            name, .histogram, "How long calls waited, by what they waited for, and whether they span or slept (SLUICE_LATENCY).")
        for group in groups {
            for waits in group.waits {
                let labels = group.labels + [("wait", "\(waits.kind)"), ("ended", "\(waits.end)")]
                for bound in Self.bounds {
                    sample("\(name)_bucket", labels + [("le", Self.seconds(bound))], waits.count(below: bound))
                }
                sample("\(name)_bucket", labels + [("le", "+Inf")], waits.count)
                sample("\(name)_sum", labels, Self.seconds(waits.sumNs))
                sample("\(name)_count", labels, waits.count)
            }
        }
    }

    private static func seconds(_ ns: UInt64) -> String {
        let rest = String(ns % 1_000_000_000)
        return "\(ns / 1_000_000_000).\(String(repeating: "0", count: 9 - rest.count))\(rest)"
    }
}

extension String {
    fileprivate func escaping(_ escapes: [Character: String]) -> String {
        reduce(into: "") { $0 += escapes[$1] ?? String($1) }
    }
}
