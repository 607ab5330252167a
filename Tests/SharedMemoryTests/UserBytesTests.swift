import CLinux
import SharedMemory
import Testing

@Suite struct UserBytesTests {
    /// A cursor over parts of these lengths, which lie behind each other in one buffer.
    private func withParts(_ lengths: [Int], _ body: (inout UserBytes, UnsafeMutableRawPointer) -> Void) {
        let memory = UnsafeMutableRawPointer.allocate(byteCount: max(1, lengths.reduce(0, +)), alignment: 1)
        var place = 0
        let parts = lengths.map { n in
            defer { place += n }
            return iovec(iov_base: memory + place, iov_len: n)
        }
        parts.withUnsafeBufferPointer { buffer in
            let none = [iovec()]
            none.withUnsafeBufferPointer {
                var bytes = UserBytes(buffer.baseAddress ?? $0.baseAddress!, lengths.count)
                body(&bytes, memory)
            }
        }
        memory.deallocate()
    }

    @Test("pieces end with their part; empty parts are passed over")
    func pieces() {
        withParts([0, 3, 0, 0, 5, 0]) { bytes, memory in
            #expect(bytes.total == 8 && !bytes.isInvalid && bytes.left == 8)
            #expect(bytes.next(100) == (memory, 3))
            bytes.advance(2)
            #expect(bytes.next(100) == (memory + 2, 1))
            bytes.advance(1)
            #expect(bytes.next(4) == (memory + 3, 4))
            bytes.advance(5)
            #expect(bytes.next(1).1 == 0 && bytes.left == 0 && bytes.done == 8)
        }
    }

    @Test("no parts at all")
    func empty() {
        withParts([]) { bytes, _ in
            #expect(bytes.total == 0 && bytes.next(10).1 == 0)
            bytes.skip(10)
            #expect(bytes.done == 0)
            var out = iovec()
            #expect(bytes.remaining(most: 10, &out, 1) == 0)
        }
    }

    @Test("lengths that ssize_t cannot say are invalid, and do not trap")
    func hostileLengths() {
        for number in hostileNumbers { hostileLengths(number) }
    }

    private func hostileLengths(_ number: UInt64) {
        for lengths in [[number], [1, number], [number, number], [number, 1, number], [number, .max, 5]] {
            let parts = lengths.map {
                iovec(iov_base: UnsafeMutableRawPointer(bitPattern: 4096), iov_len: Int(bitPattern: UInt($0)))
            }
            let bytes = UserBytes(parts, parts.count)
            let sum = lengths.reduce((UInt64(0), false)) {
                let (s, o) = $0.0.addingReportingOverflow($1)
                return (s, $0.1 || o || $1 > UInt64(Int.max) || s > UInt64(Int.max))
            }
            #expect(bytes.isInvalid == sum.1, "\(lengths)")
            if !sum.1 { #expect(bytes.total == Int(sum.0)) }
        }
    }

    @Test("random walks equal those over one flat buffer", arguments: [31, 32, 33, 34, 35] as [UInt64])
    func model(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        for _ in 0..<200 {
            let lengths = (0..<Int.random(in: 0...20, using: &random)).map { _ in
                random.next() % 3 == 0 ? 0 : Int.random(in: 0...300, using: &random)
            }
            let total = lengths.reduce(0, +)
            withParts(lengths) { bytes, memory in
                var place = 0
                while place < total {
                    let most = Int.random(in: 1...400, using: &random)
                    checkRemaining(bytes, memory + place, min(most, total - place), &random)
                    if random.next() % 2 == 0 {
                        bytes.skip(most)
                        place = min(place + most, total)
                    } else {
                        let (p, n) = bytes.next(most)
                        #expect(p == memory + place && n > 0 && n <= most)
                        let step = Int.random(in: 1...max(1, n), using: &random)
                        bytes.advance(step)
                        place += step
                    }
                    #expect(bytes.done == place && bytes.left == total - place)
                }
                #expect(bytes.next(1).1 == 0)
            }
        }
    }

    /// The parts for a real call lie where the cursor stands, and are its bytes in order.
    private func checkRemaining(
        _ bytes: UserBytes, _ place: UnsafeMutableRawPointer, _ expected: Int, _ random: inout SeededRandom
    ) {
        var copy = bytes
        var out = [iovec](repeating: iovec(), count: Int.random(in: 1...24, using: &random))
        let room = out.count
        let n = copy.remaining(most: expected, &out, room)
        #expect(n <= room && copy.done == bytes.done, "the cursor stays")
        var sum = 0
        for part in out.prefix(n) {
            #expect(part.iov_base == place + sum && part.iov_len > 0)
            sum += part.iov_len
        }
        #expect(sum == expected || n == room)
    }
}
