/// The main results of a document as a table in Markdown, for the README.
struct Summary {
    /// Where a line comes from.
    struct Row {
        let title: String
        let contest: String
        let metric: Metric
        var sluice = "sluice"
        var kernel = "kernel"
    }

    static let rows = [
        Row(title: "TCP round trip 64 B, both spinning", contest: "pingpong-spin-two-64", metric: .median),
        Row(
            title: "TCP round trip 64 B, nothing set", contest: "pingpong-sleep-two-64", metric: .median,
            sluice: "sluice adaptive"),
        Row(
            title: "TCP round trip 64 B, made to sleep", contest: "pingpong-sleep-two-64", metric: .median,
            sluice: "sluice asleep"),
        Row(
            title: "TCP round trip 64 B, made to sleep, one core", contest: "pingpong-sleep-same-64", metric: .median,
            sluice: "sluice asleep"),
        Row(title: "TCP round trip 1 KB, both spinning", contest: "pingpong-spin-two-1024", metric: .median),
        Row(title: "TCP round trip 64 KB, both spinning", contest: "pingpong-spin-two-65536", metric: .median),
        Row(title: "TCP 64 B one way", contest: "stream-two-64", metric: .rate, sluice: "sluice adaptive"),
        Row(title: "UDP round trip 64 B, both spinning", contest: "udp-pingpong-spin-two-64", metric: .median),
        Row(
            title: "UDP round trip 64 B, nothing set", contest: "udp-pingpong-sleep-two-64", metric: .median,
            sluice: "sluice adaptive"),
        Row(title: "UDP round trip 65,000 B, both spinning", contest: "udp-pingpong-spin-two-65000", metric: .median),
        Row(title: "UDP 64 B one way, received", contest: "udp-oneway-two-64", metric: .rate, sluice: "sluice adaptive"),
        Row(
            title: "UDP 64 B one way, received, both spinning", contest: "udp-oneway-two-64", metric: .rate,
            sluice: "sluice spinning",
            kernel: "kernel loop"),
        Row(title: "UDP 65,000 B one way, received", contest: "udp-oneway-two-65000", metric: .rate, sluice: "sluice adaptive"),
        Row(title: "50 client processes on one server, TCP", contest: "clients-tcp-50", metric: .rate),
        Row(title: "50 client processes on one server, UDP", contest: "clients-udp-50", metric: .rate),
        Row(title: "redis GET, 1 connection", contest: "redis-get-c1-p1", metric: .rate),
        Row(title: "redis GET, 50 connections", contest: "redis-get-c50-p1", metric: .rate),
        Row(title: "redis GET, 50 connections, 16 in a pipeline", contest: "redis-get-c50-p16", metric: .rate),
        Row(title: "memcached GET, 1 connection", contest: "memcached-c1", metric: .rate),
        Row(title: "memcached GET, 50 connections", contest: "memcached-c50", metric: .rate),
        Row(title: "nginx 1 KB, 1 kept connection", contest: "nginx-keep-1", metric: .rate),
        Row(title: "nginx 1 KB, 50 kept connections", contest: "nginx-keep-50", metric: .rate),
        Row(title: "PostgreSQL, pgbench -S, 1 client", contest: "pgbench-c1", metric: .rate),
        Row(title: "PostgreSQL, pgbench -S, 50 clients", contest: "pgbench-c50", metric: .rate),
        Row(title: "sockperf 64 B, blocking, half a round trip", contest: "sockperf-sleep-64", metric: .median),
        Row(title: "sockperf 64 B, non-blocking, half a round trip", contest: "sockperf-spin-64", metric: .median),
        Row(title: "iperf3 -u, 1400 B, received (by the kernel)", contest: "iperf3-1400", metric: .rate),
        Row(title: "dnsmasq, 20 questions under way (by the kernel)", contest: "dnsmasq-q20", metric: .rate),
        Row(title: "a connection per request", contest: "churn-two", metric: .rate),
    ]

    /// What a run for the main results holds: whatever stands in this table or in the picture.
    static var contests: Set<String> { Set(rows.map(\.contest) + Panel.main.map(\.contest)) }

    let document: Document

    private func value(_ row: Row, _ contestant: String, _ metric: Metric) -> Double? {
        document.results.first { $0.contest == row.contest && $0.contestant == contestant }?.values[metric.rawValue]
    }

    private func cell(_ row: Row, _ contestant: String) -> String? {
        value(row, contestant, row.metric).map { value in
            let unit = row.metric == .rate ? "/s" : ""
            // 1.2 M/s, and 950/s.
            return row.metric.show(value) + unit
        }
    }

    /// How many times better Sluice is.
    private func factor(_ row: Row) -> String? {
        guard let own = value(row, row.sluice, row.metric), let other = value(row, row.kernel, row.metric), own > 0, other > 0
        else {
            return nil
        }
        return text(row.metric.moreIsBetter ? own / other : other / own)
    }

    private func remarks(_ row: Row) -> String {
        var list: [String] = []
        if let own = value(row, row.sluice, .loss), let other = value(row, row.kernel, .loss) {
            list.append("lost: kernel \(Metric.loss.show(other)), Sluice \(Metric.loss.show(own))")
        }
        for (name, label) in [("unix", "unix socket"), ("pipe", "pipe"), ("bare ring", "bare ring")] {
            if let cell = cell(row, name) { list.append("\(label) \(cell)") }
        }
        return list.joined(separator: "; ")
    }

    /// - Throws: when the document has none of the lines.
    func markdown() throws -> String {
        let lines = Self.rows.compactMap { row -> String? in
            guard let kernel = cell(row, row.kernel), let sluice = cell(row, row.sluice), let factor = factor(row) else {
                return nil
            }
            return "| \(row.title) | \(kernel) | \(sluice) | \(factor) | \(remarks(row)) |"
        }
        guard !lines.isEmpty else { throw BenchError("no table: none of the main results was measured") }
        return (["| | kernel | Sluice | times better | beside |", "|---|---|---|---|---|"] + lines + ["", document.note, ""])
            .joined(separator: "\n")
    }
}

extension Document {
    /// On what, and how often, it was measured.
    var note: String {
        let counts = results.filter { Summary.contests.contains($0.contest) && $0.rounds > 0 }.map(\.rounds)
        let (least, most) = (counts.min() ?? 0, counts.max() ?? 0)
        return "Measured on \(machine.line): medians of \(roundsText(least, most)) in turns."
    }
}

/// A number of rounds, or the fewest and the most, for people.
func roundsText(_ least: Int, _ most: Int) -> String {
    least == most ? "\(least) round\(least == 1 ? "" : "s")" : "\(least) to \(most) rounds"
}
