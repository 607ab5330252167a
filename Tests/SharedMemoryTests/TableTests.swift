import CLinux
import CStackLayout
import SharedMemory
import Testing

@Suite struct RecordPoolTests {
    @Test("records are zeroed, aligned and apart; what is given back is used again")
    func takeAndGive() {
        var pool = RecordPool()
        let a = pool.take(1)!
        let b = pool.take(64)!
        #expect(a != b && UInt(bitPattern: a) % 64 == 0 && UInt(bitPattern: b) % 64 == 0)
        a.storeBytes(of: ~0, as: UInt64.self)
        (a + 56).storeBytes(of: ~0, as: UInt64.self)
        pool.give(a, 1)
        let again = pool.take(33)!
        #expect(again == a && again.load(as: UInt64.self) == 0 && (again + 56).load(as: UInt64.self) == 0)
    }

    @Test("sizes up to 64 KiB, nothing above")
    func sizes() {
        var pool = RecordPool()
        for bytes in [0, 1, 63, 64, 65, 4096, 4097, 16384, 16385, 65535, 65536] {
            let p = pool.take(bytes)
            #expect(p != nil, "\(bytes)")
            if let p, bytes > 0 { p.initializeMemory(as: UInt8.self, repeating: 0xff, count: bytes) }
        }
        for bytes in [65537, 1 << 20, .max] { #expect(pool.take(bytes) == nil, "\(bytes)") }
        #expect(pool.take(.min) != nil, "as the smallest")
    }

    @Test("random use: live records never overlap and keep what was written", arguments: [1, 2, 3] as [UInt64])
    func model(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        var pool = RecordPool()
        var live: [(address: UnsafeMutableRawPointer, bytes: Int, mark: UInt8)] = []
        for _ in 0..<3_000 {
            if live.count < 200 && random.next() % 3 != 0 {
                let bytes = 1 << Int.random(in: 0...13, using: &random) + Int.random(in: 0...3, using: &random)
                guard let p = pool.take(bytes) else { continue }
                let contents = UnsafeRawBufferPointer(start: p, count: bytes)
                #expect(contents.allSatisfy { $0 == 0 })
                let mark = UInt8(truncatingIfNeeded: random.next()) | 1
                p.initializeMemory(as: UInt8.self, repeating: mark, count: bytes)
                live.append((p, bytes, mark))
            } else if !live.isEmpty {
                let record = live.swapAt(Int.random(in: 0..<live.count, using: &random))
                let contents = UnsafeRawBufferPointer(start: record.address, count: record.bytes)
                #expect(contents.allSatisfy { $0 == record.mark })
                pool.give(record.address, record.bytes)
            }
        }
    }
}

extension Array {
    /// Removes one element without keeping the order.
    fileprivate mutating func swapAt(_ index: Int) -> Element {
        swapAt(index, count - 1)
        return removeLast()
    }
}

/// The table belongs to the process: these tests use numbers that no descriptor has.
@Suite(.serialized) struct DescriptorTableTests {
    private let first: Int32 = 3_000_000

    @Test("a word holds kind, address and generation")
    func words() {
        let word = DescriptorTable.word(kind: 2, address: 0x7fff_1234_5640, generation: 0x1_0005)
        #expect(DescriptorTable.kind(word) == 2 && DescriptorTable.address(word) == 0x7fff_1234_5640)
        #expect(word >> 48 == 5)
    }

    @Test("set and read, at both ends of the table and of a chunk; other numbers are refused")
    func bounds() {
        for fd in [first, first | 1023, (first | 1023) + 1, DescriptorTable.maximum - 1] {
            #expect(DescriptorTable.entry(fd) == 0)
            #expect(DescriptorTable.set(fd, 64 | 1) && DescriptorTable.entry(fd) == 65)
            #expect(DescriptorTable.set(fd, 0) && DescriptorTable.entry(fd) == 0)
        }
        for fd in [-1, Int32.min, DescriptorTable.maximum, Int32.max] {
            #expect(!DescriptorTable.set(fd, 65) && DescriptorTable.entry(fd) == 0)
        }
    }

    @Test("each number once, in order, within the range, until told to stop")
    func each() {
        let numbers = [first, first + 5, first + 1023, first + 50_000, DescriptorTable.maximum - 1]
        for fd in numbers { DescriptorTable.set(fd, UInt64(fd) << 6 | 1) }
        defer { for fd in numbers { DescriptorTable.set(fd, 0) } }
        func found(_ from: Int32, _ to: Int32, atMost most: Int = .max) -> [Int32] {
            var result: [Int32] = []
            DescriptorTable.each(from: from, to: to) { fd, word in
                #expect(word == UInt64(fd) << 6 | 1)
                result.append(fd)
                return result.count < most
            }
            return result
        }
        #expect(found(first, .max) == numbers)
        #expect(found(first + 1, first + 1023) == [first + 5, first + 1023])
        #expect(found(first, .max, atMost: 2) == Array(numbers.prefix(2)))
        #expect(found(first + 6, first + 1000).isEmpty && found(.max, .max).isEmpty && found(10, .min).isEmpty)
    }

    @Test("random changes equal those of a dictionary", arguments: [21, 22] as [UInt64])
    func model(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        var expected: [Int32: UInt64] = [:]
        for _ in 0..<20_000 {
            let fd = first + Int32.random(in: 0..<5_000, using: &random)
            let word = random.next() % 3 == 0 ? 0 : random.next() | 1
            DescriptorTable.set(fd, word)
            expected[fd] = word == 0 ? nil : word
            #expect(DescriptorTable.entry(fd) == word)
        }
        var seen: [Int32: UInt64] = [:]
        DescriptorTable.each(from: first, to: first + 5_000) { fd, word in
            seen[fd] = word
            return true
        }
        #expect(seen == expected)
        for fd in expected.keys { DescriptorTable.set(fd, 0) }
    }
}
