import TextTable

/// A figure with three significant digits and no more than it needs.
func text(_ value: Double, _ unit: String = "") -> String {
    let magnitude = abs(value)
    let digits = magnitude >= 100 ? 0 : magnitude >= 10 ? 1 : magnitude >= 1 ? 2 : 3
    var scale = 1.0
    for _ in 0..<digits { scale *= 10 }
    let rounded = (magnitude * scale).rounded()
    let whole = UInt64(rounded / scale)
    var result = (value < 0 && rounded > 0 ? "-" : "") + "\(whole)"
    if digits > 0 {
        let rest = "\(UInt64(rounded) - whole * UInt64(scale))"
        result += "." + String(repeating: "0", count: digits - rest.count) + rest
    }
    return result + unit
}

extension Metric {
    /// The head of its column.
    var heading: String {
        switch self {
        case .median: "median"
        case .p99: "p99"
        case .p999: "p99.9"
        case .maximum: "max"
        case .rate: "per second"
        case .bytes: "bytes/s"
        case .loss: "lost"
        case .processor: "CPU/message"
        case .cost: "cost"
        case .resident: "resident"
        case .residentTwice: "both RSS"
        }
    }

    /// Whether a larger value is the better one.
    var moreIsBetter: Bool { self == .rate || self == .bytes }

    func show(_ value: Double) -> String {
        switch self {
        case .rate, .bytes:
            value >= 1e9
                ? text(value / 1e9, " G")
                : value >= 1e6 ? text(value / 1e6, " M") : value >= 1e3 ? text(value / 1e3, " k") : text(value)
        case .loss: text(value, " %")
        case .resident, .residentTwice: text(value / 1024, " KB")
        default: value >= 1e6 ? text(value / 1e6, " ms") : value >= 1e3 ? text(value / 1e3, " us") : text(value, " ns")
        }
    }
}

/// The table of a contest: each contestant, and by how much it is better (above 1) or worse than the first one. Whoever could not run stands
/// below it with the reason.
func table(_ contest: Contest, _ results: Results) -> String {
    var lines: [[String]] = []
    var notes = ""
    for contestant in contest.contestants {
        let standing = results[contest.id, contestant.name]
        if standing.samples.isEmpty {
            notes += "  \(contestant.name): \(standing.skipped ?? "no undisturbed run")\n"
            continue
        }
        let cells = contest.metrics.map { metric in standing.value(metric).map { metric.show($0) } ?? "-" }
        lines.append([contestant.name] + cells + [factor(contestant, in: contest, results)])
    }
    let head = [contest.title] + contest.metrics.map(\.heading) + ["vs " + contest.contestants[0].name]
    return render(head, lines) + notes
}

private func factor(_ contestant: Contestant, in contest: Contest, _ results: Results) -> String {
    guard let metric = contest.metrics.first, let own = results.value(contest.id, contestant.name, metric),
        let base = results.value(contest.id, contest.contestants[0].name, metric), own > 0, base > 0
    else { return "-" }
    return text(metric.moreIsBetter ? own / base : base / own, "x")
}

/// Columns with a head; texts to the left, figures to the right.
func render(_ head: [String], _ lines: [[String]], left: Set<Int> = [0]) -> String {
    let table = TextTable<[String]> { line in
        head.indices.map {
            Column(title: head[$0], value: $0 < line.count ? line[$0] : "", align: left.contains($0) ? .left : .right)
        }
    }
    return table.string(for: lines, style: Style.psql) ?? ""
}
