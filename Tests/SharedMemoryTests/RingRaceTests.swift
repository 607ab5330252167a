import CLinux
import CStackLayout
import CTestSupport
import SharedMemory
import Testing

/// Writer and reader of one ring in two threads.
@Suite(.timeLimit(.minutes(2))) struct RingRaceTests {
    private struct Sides: @unchecked Sendable {
        let ring: TestRing
    }

    @Test("a stream through a small ring arrives whole")
    func stream() {
        let sides = Sides(ring: TestRing(bytes: 4096))
        let total = 2_000_000
        nonisolated(unsafe) var received = 0
        nonisolated(unsafe) var wrong = 0
        inThreads(2) { side in
            var random = SeededRandom(seed: UInt64(side + 5))
            var place = 0
            while place < total {
                let n = Int.random(in: 1...1000, using: &random)
                if side == 0 {
                    let data = (place..<min(place + n, total)).map { UInt8(truncatingIfNeeded: $0 % 251) }
                    place += sides.ring.put(data) ?? total
                } else {
                    guard let data = sides.ring.take(n) else { break }
                    for byte in data {
                        if byte != UInt8(truncatingIfNeeded: place % 251) { wrong += 1 }
                        place += 1
                    }
                    received = place
                    if data.isEmpty { CTestSupport_yield() }
                }
            }
        }
        #expect(received == total && wrong == 0)
    }

    /// The sender takes back at any moment: each byte goes one way, none both, none neither.
    @Test("claim against consume: what is taken back begins where the reader ended")
    func claimAgainstConsume() {
        for round in 0..<300 { claimAgainstConsume(after: round * 5) }
    }

    private func claimAgainstConsume(after pauses: Int) {
        let sides = Sides(ring: TestRing(bytes: 4096))
        let data = (0..<4096).map { UInt8(truncatingIfNeeded: $0 % 253) }
        #expect(sides.ring.put(data) == 4096)
        nonisolated(unsafe) var taken: UInt64? = nil
        nonisolated(unsafe) var consumed: [UInt8] = []
        let start = StartLine(2)
        inThreads(2) { side in
            start.cross()
            if side == 0 {
                for _ in 0..<pauses { slc_pause() }
                taken = sides.ring.writer.claim()
            } else {
                while let next = sides.ring.take(8), !next.isEmpty { consumed += next }
            }
        }
        #expect(taken == UInt64(consumed.count))
        #expect(consumed == Array(data.prefix(consumed.count)))
    }
}
