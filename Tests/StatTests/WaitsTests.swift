import CStackLayout
import Foundation
import Testing

@testable import sluicestat

@Suite("times of waits") struct WaitsTests {
    /// A stack whose waits lie where the library puts them, and where that is.
    private func image(_ change: (inout sl_waits_area) -> Void) -> (bytes: [UInt8], offset: UInt64) {
        var stack = StackImage()
        let offset = stack.bytes.count
        stack.header.waits_offset = UInt64(offset)
        let area = UnsafeMutablePointer<sl_waits_area>.allocate(capacity: 1)
        defer { area.deallocate() }
        memset(area, 0, MemoryLayout<sl_waits_area>.size)
        area.pointee.magic = SL_WAITS_MAGIC
        area.pointee.kinds = UInt32(SL_WAIT_KINDS)
        area.pointee.buckets = UInt32(MemoryLayout<sl_waits>.size / 8 - 2)
        change(&area.pointee)
        return (stack.bytes + UnsafeRawBufferPointer(start: area, count: MemoryLayout<sl_waits_area>.size), UInt64(offset))
    }

    @Test("buckets follow one another without a gap, and each time is in its own")
    func buckets() {
        let count = UInt32(MemoryLayout<sl_waits>.size / 8 - 2)
        for bucket in 0..<count {
            let (begin, end) = (sl_wait_bucket_begin(bucket), sl_wait_bucket_begin(bucket + 1))
            #expect(begin < end && sl_wait_bucket(begin) == bucket && sl_wait_bucket(end - 1) == bucket)
            #expect(bucket < 64 ? end - begin == 1 : (end - begin) * 32 <= begin)
        }
        #expect(sl_wait_bucket_begin(count) == 1 << 42)
        #expect(sl_wait_bucket(1 << 42) == count - 1 && sl_wait_bucket(UInt64.max) == count - 1)
    }

    @Test("percentiles, sum and count are those of the times that were counted")
    func percentiles() throws {
        var random = SeededGenerator(state: 42)
        let times = (0..<5000).map { _ in
            UInt64.random(in: 1...UInt64(1 << Int.random(in: 1...40, using: &random)), using: &random)
        }
        let (bytes, offset) = image { area in
            for time in times { sl_wait_count(&area, UInt32(SL_WAIT_EPOLL), UInt32(SL_WAIT_SLEPT), time) }
            sl_wait_count(&area, UInt32(SL_WAIT_SEND), UInt32(SL_WAIT_SPUN), 150)
        }
        let all = try #require(Waits.read(MemorySource(bytes), at: offset))
        try #require(all.map { "\($0.kind) \($0.end)" } == ["send spun", "epoll slept"])
        #expect(all[0].percentiles([50, 99.9]) == [150, 150] && all[0].sumNs == 150 && all[0].count == 1)
        let sorted = times.sorted()
        #expect(all[1].sumNs == times.reduce(0, +) && all[1].maximumNs == sorted.last && all[1].count == 5000)
        for (percent, time) in zip(Latency.percentiles, all[1].percentiles(Latency.percentiles)) {
            let exact = Double(sorted[max(1, Int((5000 * percent / 100).rounded(.up))) - 1])
            #expect(abs(Double(time) - exact) <= exact * 0.03 + 1, "p\(percent): \(time), exactly \(exact)")
        }
        #expect(all[1].count(below: 1 << 20) == UInt64(times.count { $0 < 1 << 20 }))
    }

    @Test("what cannot be is refused, and no number traps")
    func hostile() throws {
        let (bytes, offset) = image { area in
            withUnsafeMutableBytes(of: &area.waits) { for place in $0.indices { $0[place] = 0xff } }
        }
        let all = try #require(Waits.read(MemorySource(bytes), at: offset))
        #expect(all.count == 10 && all.allSatisfy { $0.count == 1216 * Waits.most })
        var sum = all[0]
        for waits in all { sum.add(waits) }
        #expect(sum.count == 1216 * Waits.most && sum.percentiles([50, 99.9]).allSatisfy { $0 > 0 })
        for place in [UInt64(0), 64, offset - 64, offset + 1, offset + 64, UInt64.max, UInt64.max - 63, 1 << 63] {
            #expect(Waits.read(MemorySource(bytes), at: place) == nil)
        }
        for change: (inout sl_waits_area) -> Void in [{ $0.magic = 1 }, { $0.kinds = 6 }, { $0.buckets = 1 << 31 }] {
            let (other, place) = image(change)
            #expect(Waits.read(MemorySource(other), at: place) == nil)
        }
        #expect(Waits.read(MemorySource(bytes, end: bytes.count - 1), at: offset) == nil)
        #expect(try StackRecord(MemorySource(bytes), readsWaits: true).waits?.count == 10)
        #expect(try StackRecord(MemorySource(bytes)).waits == nil)
    }

    @Test(
        "times for people",
        arguments: [
            (0, "0ns"), (999, "999ns"), (1000, "1.0us"), (1234, "1.23us"), (45_600, "45.6us"), (999_600, "1.0ms"),
            (789_000_000_000, "789s"),
        ])
    func short(_ ns: UInt64, _ text: String) { #expect(Latency.short(ns) == text) }
}
