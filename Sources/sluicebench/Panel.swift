import Glibc

/// One group of bars of the picture: what some ways reach in one contest.
struct Panel {
    struct Bar {
        let label: String
        /// Its class in the picture's style.
        let kind: String
        let value: Double
        let rounds: Int
    }
    let title: String
    let metric: Metric
    let bars: [Bar]

    /// Where a main result comes from.
    struct Row {
        let title: String
        let contest: String
        let metric: Metric
        /// The contestant that stands for Sluice.
        var sluice = "sluice"
        /// By what the kernel's one travels.
        var kernel = "kernel TCP"
    }

    /// The main results, in the order of the picture.
    static let main = [
        Row(title: "TCP round trip 64 B, both spin", contest: "pingpong-spin-two-64", metric: .median),
        Row(title: "UDP round trip 64 B, both spin", contest: "udp-pingpong-spin-two-64", metric: .median, kernel: "kernel UDP"),
        Row(
            title: "TCP round trip 64 B, nothing set", contest: "pingpong-sleep-two-64", metric: .median,
            sluice: "sluice adaptive"),
        Row(
            title: "UDP round trip 64 B, nothing set", contest: "udp-pingpong-sleep-two-64", metric: .median,
            sluice: "sluice adaptive", kernel: "kernel UDP"),
        Row(title: "TCP 64 B one way", contest: "stream-two-64", metric: .rate, sluice: "sluice adaptive"),
        Row(
            title: "UDP 64 B one way, received", contest: "udp-oneway-two-64", metric: .rate, sluice: "sluice adaptive",
            kernel: "kernel UDP"),
        Row(title: "50 client processes, TCP", contest: "clients-tcp-50", metric: .rate),
        Row(title: "50 client processes, UDP", contest: "clients-udp-50", metric: .rate, kernel: "kernel UDP"),
        Row(title: "memcached GET, 1 connection", contest: "memcached-c1", metric: .rate),
        Row(title: "memcached GET, 50 connections", contest: "memcached-c50", metric: .rate),
        Row(title: "redis GET, 1 connection", contest: "redis-get-c1-p1", metric: .rate),
        Row(title: "redis GET, 50 connections", contest: "redis-get-c50-p1", metric: .rate),
        Row(title: "nginx 1 KB, 1 kept connection", contest: "nginx-keep-1", metric: .rate),
        Row(title: "nginx 1 KB, 50 kept connections", contest: "nginx-keep-50", metric: .rate),
        Row(title: "PostgreSQL SELECT, 1 client", contest: "pgbench-c1", metric: .rate),
        Row(title: "PostgreSQL SELECT, 50 clients", contest: "pgbench-c50", metric: .rate),
    ]

    /// Panels of what the document has: contests that were not held, and contestants that could not run, are left out.
    static func panels(_ document: Document) -> [Panel] {
        main.compactMap { row in
            let ways = [
                ("Sluice", row.sluice, "s"), (row.kernel, "kernel", "k"), ("unix socket", "unix", "u"),
                ("bare ring", "bare ring", "r"),
            ]
            let bars = ways.compactMap { label, contestant, kind -> Bar? in
                guard let line = document.results.first(where: { $0.contest == row.contest && $0.contestant == contestant }),
                    let value = line.values[row.metric.rawValue], value > 0
                else { return nil }
                return Bar(label: label, kind: kind, value: value, rounds: line.rounds)
            }
            return bars.isEmpty ? nil : Panel(title: row.title, metric: row.metric, bars: bars)
        }
    }

    /// The scale of its bars: logarithmic when the longest would leave less than a twentieth for the shortest.
    var scale: Scale {
        let values = bars.map(\.value)
        let (least, most) = (values.min() ?? 1, values.max() ?? 1)
        guard most > 20 * least else { return Scale(low: 0, high: most, decades: []) }
        // The shortest has some length too where it is a power of ten itself.
        let (first, last) = (Int(log10(least).rounded(.up)) - 1, Int(log10(most).rounded(.up)))
        let decades = (first...last).map { pow(10, Double($0)) }
        return Scale(low: decades[0], high: decades[decades.count - 1], decades: decades)
    }

    /// What the reader must know to read the bars.
    var hint: String {
        (metric.moreIsBetter ? "longer is better" : "shorter is better") + (scale.isLogarithmic ? ", logarithmic" : "")
    }
}

/// From a value to a part of the full length.
struct Scale {
    let low: Double
    let high: Double
    /// The values of the lines across a logarithmic panel, `low` first; empty: linear, from 0.
    let decades: [Double]

    var isLogarithmic: Bool { !decades.isEmpty }

    /// 0 to 1.
    func part(_ value: Double) -> Double {
        isLogarithmic ? log10(value / low) / log10(high / low) : value / high
    }
}
