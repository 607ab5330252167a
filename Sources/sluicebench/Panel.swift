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

    /// The main results: title, contest, metric, and the contestant that stands for Sluice.
    static let main: [(title: String, contest: String, metric: Metric, sluice: String)] = [
        ("64 B round trip, both ends spinning", "pingpong-spin-two-64", .median, "sluice"),
        ("64 B round trip, blocking calls, nothing set", "pingpong-sleep-two-64", .median, "sluice adaptive"),
        ("64 B one way, messages a second", "stream-two-64", .rate, "sluice adaptive"),
        ("redis GET, 1 connection, requests a second", "redis-get-c1-p1", .rate, "sluice"),
        ("redis GET, 50 connections, requests a second", "redis-get-c50-p1", .rate, "sluice"),
        ("nginx 1 KB, 1 kept connection, requests a second", "nginx-keep-1", .rate, "sluice"),
        ("nginx 1 KB, 50 kept connections, requests a second", "nginx-keep-50", .rate, "sluice"),
    ]

    /// Panels of what the document has: contests that were not held, and contestants that could not run, are left out.
    static func panels(_ document: Document) -> [Panel] {
        main.compactMap { row in
            let ways = [
                ("Sluice", row.sluice, "s"), ("kernel TCP", "kernel", "k"), ("unix socket", "unix", "u"),
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
