import Histogram

extension Waits {
    /// The times at these percentiles in nanoseconds, the middle of their buckets; never above the greatest that was measured.
    func percentiles(_ wanted: [Double]) -> [UInt64] {
        var histogram = Histogram<UInt64>(highestTrackableValue: 1 << 43, numberOfSignificantValueDigits: .two)
        for (place, count) in buckets.enumerated() where count > 0 {
            histogram.record((Self.begin(place) + Self.begin(place + 1)) / 2, count: count)
        }
        return wanted.map { min(histogram.valueAtPercentile($0), maximumNs) }
    }
}
