import CLinux
import CStackLayout
import SharedMemory
import Testing

extension TestRing {
    /// False: full; nil: refused.
    fileprivate func send(_ data: [UInt8], count: UInt64 = 0) -> Bool? {
        var isDamaged = false
        guard let room = writer.datagram(data.count, kernelCount: count, isDamaged: &isDamaged) else {
            return isDamaged ? nil : false
        }
        data.withUnsafeBytes { if !data.isEmpty { room.memory.copyMemory(from: $0.baseAddress!, byteCount: data.count) } }
        writer.publish(room.next)
        return true
    }

    fileprivate func look() -> (Datagram?, isDamaged: Bool) {
        var isDamaged = false
        let d = reader.datagram(isDamaged: &isDamaged)
        return (d, isDamaged)
    }

    /// The next datagram, taken out; nil: none.
    fileprivate func receive() -> [UInt8]? {
        guard let d = look().0 else { return nil }
        let data = Array(UnsafeRawBufferPointer(start: d.memory, count: d.bytes))
        return reader.consume(d.taken) ? data : nil
    }
}

@Suite struct DatagramRingTests {
    @Test("datagrams come out one by one, with their counts, empty ones too")
    func inOrder() throws {
        let ring = TestRing()
        #expect(ring.look().0 == nil && !ring.look().isDamaged)
        #expect(ring.send([1, 2, 3], count: 7) == true && ring.send([]) == true && ring.send([4]) == true)
        let first = try #require(ring.look().0)
        #expect(first.kernelCount == 7 && first.bytes == 3)
        #expect(ring.receive() == [1, 2, 3] && ring.receive() == [] && ring.receive() == [4] && ring.receive() == nil)
    }

    @Test("the largest datagram fits, one byte more does not")
    func sizes() {
        let ring = TestRing(bytes: 1 << 17)
        let data = (0..<largestDatagram).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        #expect(ring.send(data) == true && ring.receive() == data)
        #expect(ring.send(data + [1]) == false)
    }

    @Test("one that does not fit before the ring's end lies at its beginning", arguments: [1, 100, 1000, 1900])
    func wrap(size: Int) {
        let ring = TestRing()
        for round in 0..<500 {
            let data = [UInt8](repeating: UInt8(truncatingIfNeeded: round), count: size)
            // One stays in it, so that it never begins anew.
            #expect(ring.send(data) == true)
            if round > 0 { #expect(ring.receive()?.count == size) }
        }
    }

    @Test("a full ring takes no more, and again when one was read")
    func full() {
        let ring = TestRing(bytes: 4096, limit: 1024)
        var sent = 0
        while ring.send([UInt8](repeating: 5, count: 200)) == true { sent += 1 }
        #expect(sent == 4)
        #expect(ring.receive()?.count == 200 && ring.send([UInt8](repeating: 6, count: 200)) == true)
        #expect(ring.send([7]) == false)
    }

    @Test("random sends and receives equal those of a queue", arguments: [1, 2, 3, 4, 5, 6] as [UInt64])
    func model(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let ring = TestRing(bytes: seed % 2 == 0 ? 4096 : 8192)
        let start = (random.next() >> 2) & ~63
        ring.start(at: start, base: start)
        var queue: [[UInt8]] = []
        for _ in 0..<20_000 {
            if random.next() % 2 == 0 {
                let data = random.bytes(Int.random(in: 0...Int(seed) * 300, using: &random))
                switch ring.send(data) {
                case true: queue.append(data)
                case false: #expect(!queue.isEmpty || data.count > 3500, "full, and nothing is in it")
                default: Issue.record("refused")
                }
            } else {
                #expect(ring.receive() == (queue.isEmpty ? nil : queue.removeFirst()))
            }
        }
    }

    @Test("one that the sender has claimed is not consumed")
    func claimed() throws {
        let ring = TestRing()
        #expect(ring.send([1]) == true && ring.send([2]) == true && ring.receive() == [1])
        let second = try #require(ring.look().0)
        #expect(ring.writer.claim() == ring.readerHalf.pointee.offset)
        #expect(!ring.reader.consume(second.taken))
    }

    @Test(
        "headers and words that cannot be are refused, and never followed out of the ring", arguments: [1, 2, 3, 4] as [UInt64])
    func hostile(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let ring = TestRing()
        for _ in 0..<50_000 {
            if random.next() % 32 == 0 { ring.start(at: random.next() >> 1, base: random.next()) }
            _ = ring.send([UInt8](repeating: 1, count: Int.random(in: 0...900, using: &random)))
            let offset = 8 * Int.random(in: 0..<512, using: &random)
            let word = random.next() % 2 == 0 ? random.next() % 5000 | (random.next() % 4) << 32 : random.next()
            ring.memory.storeBytes(of: word, toByteOffset: offset, as: UInt64.self)
            if random.next() % 8 == 0 {
                ring.direction.pointee.producer = ring.readerHalf.pointee.offset &+ random.next() % 5000
            }
            if random.next() % 8 == 0 { ring.direction.pointee.base = random.next() }
            guard let d = ring.look().0 else { continue }
            let place = d.memory - UnsafeRawPointer(ring.memory)
            #expect(place >= 32 && place + d.bytes <= 4096 && d.taken <= 4096)
            _ = Array(UnsafeRawBufferPointer(start: d.memory, count: d.bytes))
            _ = ring.reader.consume(d.taken)
        }
    }
}
