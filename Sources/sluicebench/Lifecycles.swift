/// The contests around a connection's and a process's life: churn, many connections, rated messages, memory, calls, start.
struct Lifecycles {
    let peer: Peer
    let pace: Pace

    static let rates = [10, 100, 1000]
    static let calls = [
        "read-zero", "readv-zero", "write-null", "recv-unix", "exchange-unix", "poll-pipes", "select-pipes", "epoll-pipes",
        "fcntl-file", "dup-close",
        "open-close",
    ]
    /// Kernel and Sluice as they are without any setting.
    private let both = [
        Way(name: "kernel", arguments: ["--transport", "tcp"]),
        Way(name: "sluice", arguments: ["--transport", "tcp"], settings: [:]),
    ]
    private let unix = Way(name: "unix", arguments: ["--transport", "unix"])
    private let spinning = Way(name: "sluice spinning", arguments: ["--transport", "tcp"], settings: Waiting.spinning.settings)
    private let nodelay = Way(name: "kernel nodelay", arguments: ["--transport", "tcp-nodelay"])

    private var times: [String] { ["--warmup", "\(pace.warmupMilliseconds)", "--run", "\(pace.runMilliseconds)"] }

    private func contest(
        _ id: String, _ title: String, _ metrics: [Metric], _ arguments: [String], _ ways: [Way], rounds: Int? = nil
    ) -> Contest {
        Contest(
            id: id, title: title, metrics: metrics,
            contestants: ways.map { way in
                Contestant(name: way.name) { try peer.run(arguments + way.arguments, settings: way.settings) }
            }, rounds: rounds)
    }

    var contests: [Contest] { crowds + rated + [memory] + unaccelerated }

    /// More than elsewhere: the goal is a few percent, and the place of a new connection's wake-ups moves by more than that.
    private var churnRounds: Int { pace.churnRounds }

    private var crowds: [Contest] {
        let two = Placement.two.arguments(peer.cores)
        return [
            contest(
                "churn-two", "a connection per request, two cores", [.rate, .median, .p99, .p999, .processor],
                ["churn"] + two + times,
                both + [nodelay, unix], rounds: churnRounds),
            contest(
                "churn-free", "a connection per request, unpinned", [.rate, .median, .p99, .p999, .processor],
                ["churn"] + Placement.free.arguments(peer.cores) + times, both + [nodelay, unix], rounds: churnRounds),
            contest(
                "many-two", "1000 connections, 10 busy, epoll", [.rate, .median, .p99, .p999, .processor],
                ["many", "--connections", "1000", "--busy", "10"] + two + times, both + [spinning, nodelay, unix]),
        ]
    }

    private var rated: [Contest] {
        Self.rates.map { rate in
            // At least 20 messages, at least a second.
            let milliseconds = max(pace.isQuick ? 700 : 3000, (pace.isQuick ? 15 : 40) * 1000 / rate)
            return contest(
                "rate-\(rate)", "\(rate) messages a second, two cores", [.processor, .median, .p99],
                ["rate", "--rate", "\(rate)", "--run", "\(milliseconds)", "--warmup", "20"] + Placement.two.arguments(peer.cores),
                both)
        }
    }

    /// Connections and messages on each.
    private var crowd: (connections: Int, messages: Int) { pace.isQuick ? (1000, 500) : (10_000, 10_000) }

    /// The kernel's own connections are measured with few messages: they leave nothing behind in the processes, however many there are.
    private var memory: Contest {
        let (connections, messages) = crowd
        return Contest(
            id: "memory", title: "\(connections) connections, \(messages) messages each, resident per connection",
            metrics: [.resident, .residentTwice, .rate, .processor],
            contestants: both.map { way in
                Contestant(name: way.name) {
                    let number = way.settings == nil ? min(messages, 100) : messages
                    let arguments =
                        ["memory", "--connections", "\(connections)", "--messages", "\(number)"]
                        + Placement.two.arguments(peer.cores)
                    let outcome = try peer.run(arguments + way.arguments, settings: way.settings, limit: pace.isQuick ? 60 : 900)
                    guard case .measured(var sample) = outcome else { return outcome }
                    for metric in [Metric.resident, .residentTwice] {
                        sample.values[metric] = sample.values[metric].map { $0 / Double(connections) }
                    }
                    return .measured(sample)
                }
            }, rounds: 1, isTimed: false)
    }

    /// One process on one core, with and without the library.
    private var unaccelerated: [Contest] {
        let plain = [Way(name: "without", arguments: []), Way(name: "sluice", arguments: [], settings: [:])]
        let rounds = pace.isQuick ? 5 : 11
        let place = ["--cores", "\(peer.cores.client),-"]
        return Self.calls.map { call in
            var one = contest(
                "call-\(call)", "call \(call)", [.cost], ["calls", "--call", call, "--run", "40"] + place, plain, rounds: rounds)
            one.isShown = false
            return one
        } + [
            contest(
                "start", "start and end of /bin/true", [.cost], ["start", "--messages", "100"] + place, plain, rounds: rounds)
        ]
    }

    /// The calls in one table.
    static func callTable(_ contests: [Contest], _ results: Results) -> String {
        let lines = contests.filter { $0.id.hasPrefix("call-") }.map { contest -> [String] in
            let (without, with) = (results.value(contest.id, "without", .cost), results.value(contest.id, "sluice", .cost))
            guard let without, let with else {
                return [contest.title, results[contest.id, "sluice"].skipped ?? "no undisturbed run"]
            }
            return [contest.title, Metric.cost.show(without), Metric.cost.show(with), Metric.cost.show(with - without)]
        }
        return lines.isEmpty ? "" : render(["unaccelerated call", "without", "sluice", "difference"], lines)
    }
}

/// The acceptance figures of these contests.
enum LifecycleGoals {
    static var all: [Goal] {
        var list = [
            Goal.quotient(
                "connection per request: sluice / kernel", .atLeast(0.95), .rate, Entry("churn-two", "sluice"),
                over: Entry("churn-two", "kernel")),
            .quotient(
                "connection per request, unpinned: sluice / kernel", .atLeast(0.95), .rate, Entry("churn-free", "sluice"),
                over: Entry("churn-free", "kernel")),
        ]
        for rate in Lifecycles.rates {
            let contest = "rate-\(rate)"
            list.append(
                .quotient(
                    "user and system time, \(rate) messages a second: sluice / kernel", .atMost(1.05), .processor,
                    Entry(contest, "sluice"),
                    over: Entry(contest, "kernel")))
        }
        list.append(
            .figure("resident memory of a connection", .atMost(24), " KB", Entry("memory", "sluice"), .resident, scale: 1024))
        list.append(
            .difference(
                "process start: sluice less plain", .atMost(0.3), " ms", .cost, Entry("start", "sluice"),
                less: Entry("start", "without"), scale: 1e6))
        for call in Lifecycles.calls {
            let contest = "call-\(call)"
            list.append(
                .difference(
                    "call \(call): sluice less plain", .atMost(10), " ns", .cost, Entry(contest, "sluice"),
                    less: Entry(contest, "without"), scale: 1))
        }
        return list
    }
}
