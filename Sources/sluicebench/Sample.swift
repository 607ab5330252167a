import Histogram

/// The metrics of one run. Times are nanoseconds.
enum Metric: String, CaseIterable, Codable {
    case median, p99, p999, maximum
    /// Messages (requests, connections, calls, processes) a second.
    case rate
    /// Payload bytes a second.
    case bytes
    /// Messages that were sent and did not arrive, in per cent.
    case loss
    /// User and system time of both ends per message.
    case processor
    /// Time of a call or of a process start.
    case cost
    /// Resident bytes per connection, both ends.
    case resident
    /// The same, each end's own size added, shared pages twice.
    case residentTwice
}

/// What one run gave.
struct Sample {
    var values: [Metric: Double] = [:]
}

/// The end of one run: figures, or the reason why the system cannot do it.
enum Outcome {
    case measured(Sample)
    case skipped(String)
}

/// Percentiles of latencies in nanoseconds, three significant digits.
func percentiles(_ counts: [[Double]]) -> [Metric: Double] {
    var histogram = Histogram<UInt64>(numberOfSignificantValueDigits: .three)
    for pair in counts where pair.count == 2 {
        // Tenths of a nanosecond, so that rounding does not show at 100 ns.
        histogram.record(UInt64(max(1, pair[0] * 10)), count: UInt64(pair[1]))
    }
    guard histogram.totalCount > 0 else { return [:] }
    return [
        .median: Double(histogram.valueAtPercentile(50)) / 10, .p99: Double(histogram.valueAtPercentile(99)) / 10,
        .p999: Double(histogram.valueAtPercentile(99.9)) / 10,
    ]
}

/// The middle of the values; nil when there are none.
func median(_ values: [Double]) -> Double? {
    guard !values.isEmpty else { return nil }
    let sorted = values.sorted()
    let middle = sorted.count / 2
    return sorted.count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}
