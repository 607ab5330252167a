import CLinux
import CStackLayout
import SharedMemory
import Testing

@Suite struct ByteRingTests {
    @Test("bytes come out as they went in, over the wrap at every position", arguments: [0, 1, 4095, 4096])
    func wrap(base: UInt64) {
        let ring = TestRing()
        for start in base..<base + 4096 where start % 13 == 0 || start % 4096 > 4090 {
            ring.start(at: start, base: base)
            let data = (0..<4096).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ Int(start)) }
            #expect(ring.put(data.prefix(100)) == 100)
            #expect(ring.put(data.dropFirst(100)) == 3996)
            #expect(ring.writer.unread() == 4096 && ring.put([1]) == 0)
            #expect(ring.peek(50, skip: 4000) == Array(data[4000..<4050]))
            #expect(ring.take(4096) == data)
        }
    }

    @Test("an empty ring begins at its first byte again, and the reader follows")
    func rewind() {
        let ring = TestRing()
        #expect(ring.put([UInt8](repeating: 1, count: 3000)) == 3000)
        #expect(ring.take(2999)?.count == 2999)
        _ = ring.writer.unread()
        ring.writer.rewindIfEmpty()
        #expect(ring.writerHalf.pointee.base == 0, "one byte is unread")
        #expect(ring.take(1) == [1] && ring.writer.unread() == 0)
        ring.writer.rewindIfEmpty()
        #expect(ring.direction.pointee.base == 3000)
        #expect(ring.put([5, 6, 7]) == 3)
        #expect(ring.memory.loadUnaligned(as: UInt32.self) & 0xff_ffff == 0x07_0605)
        #expect(ring.take(10) == [5, 6, 7])
    }

    @Test("never more in flight than the limit")
    func limit() {
        let ring = TestRing(bytes: 8192, limit: 1000)
        #expect(ring.put([UInt8](repeating: 1, count: 5000)) == 1000)
        #expect(ring.put([2]) == 0)
        #expect(ring.take(10)?.count == 10)
        #expect(ring.put([UInt8](repeating: 3, count: 5000)) == 10)
    }

    @Test("random writes, looks and reads equal those of a plain queue", arguments: [1, 2, 3, 4] as [UInt64])
    func model(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let ring = TestRing(bytes: 4096, limit: seed % 2 == 0 ? 3000 : 4096)
        ring.start(at: random.next() >> 2, base: random.next() >> 2)
        var queue: [UInt8] = []
        for _ in 0..<10_000 {
            switch random.next() % 4 {
            case 0, 1:
                let data = random.bytes(Int.random(in: 0...1500, using: &random))
                let n = ring.put(data)
                #expect(n != nil && n! <= data.count && queue.count + (n ?? 0) <= Int(ring.limit))
                #expect(n == data.count || queue.count + (n ?? 0) == Int(ring.limit), "all, or the ring is full")
                queue += data.prefix(n ?? 0)
            case 2:
                let skip = Int.random(in: 0...queue.count, using: &random)
                #expect(ring.peek(700, skip: skip) == Array(queue.dropFirst(skip).prefix(700)))
            default:
                let n = Int.random(in: 0...2000, using: &random)
                #expect(ring.take(n) == Array(queue.prefix(n)))
                queue.removeFirst(min(n, queue.count))
            }
            #expect(ring.reader.available() == UInt64(queue.count))
        }
    }

    // MARK: taking back

    @Test("claim behind a consume takes the rest; a consume behind the claim is refused")
    func claimOrder() {
        let ring = TestRing()
        #expect(ring.put([1, 2, 3, 4, 5]) == 5)
        #expect(ring.take(2) == [1, 2])
        #expect(!ring.reader.isClaimed)
        #expect(ring.writer.claim() == 2)
        #expect(ring.reader.isClaimed)
        #expect(ring.peek(3) == [3, 4, 5] && ring.take(3) == nil, "shown, but no longer ours to consume")
        #expect(ring.readerHalf.pointee.offset == 2)
        #expect(ring.writer.unread() == nil, "a second holder of the sending half learns of the claim")
        #expect(ring.writer.claim() == 2, "claiming again changes nothing")
    }

    @Test("after a claim: the reader jumps behind what was taken back, or has it again when the sender died")
    func afterClaim() {
        let ring = TestRing()
        #expect(ring.put([1, 2, 3, 4, 5]) == 5)
        #expect(ring.take(2) == [1, 2] && ring.writer.claim() == 2)
        ring.reader.unclaim()
        #expect(!ring.reader.isClaimed && ring.take(1) == [3])
        #expect(ring.writer.claim() == 3)
        ring.reader.jump()
        #expect(!ring.reader.isClaimed && ring.reader.available() == 0)
        ring.writerHalf.pointee.other_offset = 5
        #expect(ring.put([9]) == 1 && ring.take(5) == [9])
    }

    // MARK: damage

    @Test("an offset that cannot be is refused by either side, and never followed")
    func hostileOffsets() {
        for number in hostileNumbers { hostileOffsets(number) }
    }

    private func hostileOffsets(_ number: UInt64) {
        for place in [0, 1, 4095, 4096, 1 << 40] as [UInt64] {
            let ring = TestRing()
            ring.start(at: place, base: place)
            #expect(ring.put([1, 2, 3]) == 3)

            ring.direction.pointee.consumer = number
            let consumed = number >= place && number - place <= 3
            #expect(ring.writer.unread() == (consumed ? place + 3 - number : nil))
            // A quick look needs no offset of the peer's; a full one refuses it.
            #expect(ring.writer.room(4096) == (consumed ? 4096 - (place + 3 - number) : nil))
            let claimed = number & ~ringClaim
            let fits = place + 3 >= claimed && place + 3 - claimed <= 4096
            ring.direction.pointee.consumer = number
            #expect(ring.writer.claim() == (fits ? claimed : nil))

            ring.direction.pointee.producer = number
            let published = number >= place && number - place <= 4096
            #expect(ring.reader.available() == (published ? number - place : nil))
            ring.reader.jump()
            #expect(ring.readerHalf.pointee.offset == number & ~ringClaim)
        }
    }

    @Test("any word of the shared structure may be anything: calls give bounded answers and stay inside the ring")
    func hostileWords() {
        let words = MemoryLayout<sl_direction>.size / 8
        for word in 0..<words {
            for number in hostileNumbers {
                let ring = TestRing()
                ring.start(at: 4000, base: 77)
                _ = ring.put(Array(1...200))
                UnsafeMutableRawPointer(ring.direction).storeBytes(of: number, toByteOffset: 8 * word, as: UInt64.self)
                exercise(ring)
            }
        }
    }

    @Test("random damage between calls", arguments: [11, 12, 13, 14] as [UInt64])
    func randomDamage(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let ring = TestRing()
        for _ in 0..<20_000 {
            if random.next() % 4 == 0 {
                let offset = 8 * Int.random(in: 0..<MemoryLayout<sl_direction>.size / 8, using: &random)
                let near = ring.writerHalf.pointee.offset &+ random.next() % 9000 &- 4500
                let value = random.next() % 2 == 0 ? near : hostileNumbers.randomElement(using: &random)!
                UnsafeMutableRawPointer(ring.direction).storeBytes(of: value, toByteOffset: offset, as: UInt64.self)
            }
            exercise(ring)
            if random.next() % 64 == 0 { ring.start(at: random.next() >> 1, base: random.next()) }
        }
    }

    private func exercise(_ ring: TestRing) {
        if let n = ring.writer.unread() { #expect(n <= 4096) }
        if let n = ring.writer.room(5000) { #expect(n <= 4096) }
        if let n = ring.put([1, 2, 3, 4, 5, 6, 7, 8]) { #expect(n <= 8) }
        if let n = ring.peek(5000) { #expect(n.count <= 4096) }
        if let n = ring.take(100) { #expect(n.count <= 100) }
        if let n = ring.writer.claim() { #expect(ring.writerHalf.pointee.offset &- n <= 4096) }
        ring.reader.unclaim()
        if ring.reader.isClaimed { ring.reader.jump() }
    }
}
