/// One acceptance figure: what is asked, and where the measured value comes from.
struct Goal {
    enum Bound { case atLeast(Double), atMost(Double) }
    let name: String
    let bound: Bound
    let unit: String
    /// Whose figures it is made of.
    let entries: [Entry]
    /// The measured value in `unit`; nil when one of its parts was not measured.
    let value: (Results) -> Double?

    enum Verdict: String { case met, missed, notMeasured = "not measured" }

    func verdict(_ results: Results) -> Verdict {
        guard let value = value(results) else { return .notMeasured }
        switch bound {
        case .atLeast(let limit): return value >= limit ? .met : .missed
        case .atMost(let limit): return value <= limit ? .met : .missed
        }
    }

    /// Counted rounds of the part that has the fewest.
    func rounds(_ results: Results) -> Int { entries.map { results[$0.contest, $0.name].samples.count }.min() ?? 0 }

    /// The bound for people.
    var asked: String {
        switch bound {
        case .atLeast(let limit): "at least \(text(limit))\(unit)"
        case .atMost(let limit): "at most \(text(limit))\(unit)"
        }
    }
}

/// A contestant of a contest.
struct Entry {
    let contest: String
    let name: String
    init(_ contest: String, _ name: String) {
        self.contest = contest
        self.name = name
    }
}

extension Goal {
    /// An absolute figure; the metric is divided by `scale` to come into the unit.
    static func figure(_ name: String, _ bound: Bound, _ unit: String, _ entry: Entry, _ metric: Metric, scale: Double) -> Goal {
        Goal(name: name, bound: bound, unit: unit, entries: [entry]) {
            $0.value(entry.contest, entry.name, metric).map { $0 / scale }
        }
    }

    /// Quotient of two figures of one metric.
    static func quotient(_ name: String, _ bound: Bound, _ metric: Metric, _ upper: Entry, over lower: Entry) -> Goal {
        Goal(name: name, bound: bound, unit: "x", entries: [upper, lower]) { results in
            guard let a = results.value(upper.contest, upper.name, metric),
                let b = results.value(lower.contest, lower.name, metric), b > 0
            else { return nil }
            return a / b
        }
    }

    /// Difference of two figures, in `unit` after division by `scale`.
    static func difference(
        _ name: String, _ bound: Bound, _ unit: String, _ metric: Metric, _ entry: Entry, less base: Entry, scale: Double
    ) -> Goal {
        Goal(name: name, bound: bound, unit: unit, entries: [entry, base]) { results in
            guard let a = results.value(entry.contest, entry.name, metric), let b = results.value(base.contest, base.name, metric)
            else { return nil }
            return (a - b) / scale
        }
    }
}

/// All acceptance figures.
var allGoals: [Goal] {
    TransferGoals.all + DatagramGoals.all + RedisGoals.all + NginxGoals.all + MemcachedGoals.all + LifecycleGoals.all
        + ObserverGoals.all
}

/// The acceptance figures between transports.
enum TransferGoals {
    static var all: [Goal] { latency + tails + blocking + oneWay }

    private static var latency: [Goal] {
        let contest = "pingpong-spin-two-64"
        let sluice = Entry(contest, "sluice")
        return [
            .figure("64 B round trip, spinning", .atMost(0.5), " us", sluice, .median, scale: 1000),
            .quotient("64 B spinning: kernel / sluice", .atLeast(13), .median, Entry(contest, "kernel"), over: sluice),
            .quotient("64 B spinning: unix socket / sluice", .atLeast(5), .median, Entry(contest, "unix"), over: sluice),
            .quotient("64 B spinning: sluice / bare ring", .atMost(2.5), .median, sluice, over: Entry(contest, "bare ring")),
            .figure(
                "1 KB round trip, spinning", .atMost(0.7), " us", Entry("pingpong-spin-two-1024", "sluice"), .median, scale: 1000),
            .figure(
                "64 KB round trip, spinning", .atMost(6), " us", Entry("pingpong-spin-two-65536", "sluice"), .median, scale: 1000),
        ]
    }

    private static var tails: [Goal] {
        var list: [Goal] = []
        for (contest, what, names) in [
            ("pingpong-spin-two-64", "spinning", ["sluice"]),
            ("pingpong-spin-neighbour-two-64", "spinning, busy neighbour", ["sluice"]),
            ("pingpong-sleep-two-64", "blocking", ["sluice asleep", "sluice adaptive"]),
            ("pingpong-sleep-neighbour-two-64", "blocking, busy neighbour", ["sluice asleep", "sluice adaptive"]),
        ] {
            for name in names {
                for metric in [Metric.p99, .p999] {
                    list.append(
                        .quotient(
                            "64 B \(what): \(metric.heading), \(name) / kernel", .atMost(1), metric, Entry(contest, name),
                            over: Entry(contest, "kernel")))
                }
            }
        }
        return list
    }

    private static var blocking: [Goal] {
        let two = "pingpong-sleep-two-64", one = "pingpong-sleep-same-64"
        return [
            .quotient(
                "64 B both asleep, two cores: kernel / sluice", .atLeast(1.1), .median, Entry(two, "kernel"),
                over: Entry(two, "sluice asleep")),
            .quotient(
                "64 B both asleep, same core: kernel / sluice", .atLeast(1.5), .median, Entry(one, "kernel"),
                over: Entry(one, "sluice asleep")),
            .figure("64 B both asleep, same core", .atMost(9), " us", Entry(one, "sluice asleep"), .median, scale: 1000),
        ] + unpinned
    }

    private static var unpinned: [Goal] {
        var list: [Goal] = []
        for (contest, names) in [
            ("pingpong-sleep-free-64", ["sluice asleep", "sluice adaptive"]), ("pingpong-spin-free-64", ["sluice"]),
        ] {
            for name in names {
                let mode = contest.contains("spin") ? "spinning" : "blocking"
                list.append(
                    .quotient(
                        "64 B unpinned, \(mode): kernel / \(name)", .atLeast(1), .median, Entry(contest, "kernel"),
                        over: Entry(contest, name)))
            }
        }
        for size in [64, 65536] {
            let contest = "stream-free-\(size)"
            for name in ["sluice adaptive", "sluice spinning"] {
                list.append(
                    .quotient(
                        "one way \(bytesText(size)) unpinned: \(name) / kernel", .atLeast(1), .rate, Entry(contest, name),
                        over: Entry(contest, "kernel")))
            }
        }
        return list
    }

    private static var oneWay: [Goal] {
        let small = "stream-two-64", large = "stream-two-65536"
        let sluice = Entry(small, "sluice adaptive")
        return [
            .figure("one way 64 B", .atLeast(20), " M/s", sluice, .rate, scale: 1e6),
            .quotient("one way 64 B: sluice / kernel with Nagle", .atLeast(12), .rate, sluice, over: Entry(small, "kernel")),
            .quotient("one way 64 B: sluice / unix socket", .atLeast(15), .rate, sluice, over: Entry(small, "unix")),
            .quotient("one way 64 B: sluice / pipe", .atLeast(7), .rate, sluice, over: Entry(small, "pipe")),
            .quotient(
                "one way 64 KB: sluice / unix socket", .atLeast(1.6), .rate, Entry(large, "sluice adaptive"),
                over: Entry(large, "unix")),
        ]
    }
}

/// The table of the goals. Goals without a measured part are left out unless `complete`.
func table(_ goals: [Goal], _ results: Results, complete: Bool) -> String {
    let lines = goals.compactMap { goal -> [String]? in
        let verdict = goal.verdict(results)
        if verdict == .notMeasured && !complete { return nil }
        return [
            goal.name, goal.asked, goal.value(results).map { text($0) + goal.unit } ?? "-", verdict.rawValue,
            "\(goal.rounds(results))",
        ]
    }
    return lines.isEmpty ? "" : render(["acceptance figure", "goal", "measured", "verdict", "rounds"], lines)
}
