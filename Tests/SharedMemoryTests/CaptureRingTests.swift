import CLinux
import CStackLayout
import SharedMemory
import Testing

/// A ring of captured packets with its tool's side.
private final class CaptureMemory {
    let memory = Memory.anonymous(CaptureRing.mappedBytes)!
    var ring = CaptureRing()
    let size = Int(SL_CAPTURE_LEAST)
    private var read: UInt64 = 0
    var control: UnsafeMutablePointer<sl_capture> { memory.assumingMemoryBound(to: sl_capture.self) }

    init() { ring.use(memory) }
    deinit { Memory.unmap(UInt64(UInt(bitPattern: memory)), CaptureRing.mappedBytes) }

    func append(_ data: [UInt8], from skip: Int = 0, count: Int? = nil) -> Bool {
        var record = sl_capture_record()
        record.magic = UInt32(SL_CAPTURE_MAGIC)
        record.bytes = UInt32(count ?? data.count)
        return data.withUnsafeBytes { bytes in
            ring.append(record, LyingBytes(bytes.baseAddress ?? UnsafeRawPointer(memory), data.count), from: skip, size: size)
        }
    }

    private func bytes(_ count: Int) -> [UInt8] {
        let first = UnsafeRawPointer(memory) + Int(SL_CAPTURE_CONTROL)
        return (0..<count).map { (first + (Int(read) + $0) % size).load(as: UInt8.self) }
    }

    /// The next one that is published, read as the tool does.
    func next() -> [UInt8]? {
        guard control.pointee.head != read else { return nil }
        let header = bytes(MemoryLayout<sl_capture_record>.size).withUnsafeBytes { $0.loadUnaligned(as: sl_capture_record.self) }
        #expect(header.magic == UInt32(SL_CAPTURE_MAGIC))
        read += UInt64(MemoryLayout<sl_capture_record>.size)
        let data = bytes(Int(header.bytes))
        read += UInt64((data.count + 7) & ~7)
        control.pointee.tail = read
        return data
    }
}

@Suite struct CaptureRingTests {
    @Test("records come out as they went in, around the ring's end too", arguments: [1, 2, 3] as [UInt64])
    func order(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let capture = CaptureMemory()
        for _ in 0..<200 {
            let data = (0..<Int(random.next() % 20000)).map { UInt8(truncatingIfNeeded: $0 &* 7) }
            let skip = data.isEmpty ? 0 : Int(random.next() % UInt64(data.count))
            #expect(capture.append(data, from: skip, count: data.count - skip))
            #expect(capture.next() == nil)
            capture.ring.publish()
            #expect(capture.next() == Array(data[skip...]))
        }
    }

    @Test("what has not come about is not seen; while it is written, that is told")
    func discarded() {
        let capture = CaptureMemory()
        let before = slc_real_ns()
        capture.ring.begin()
        #expect((before...slc_real_ns()).contains(capture.control.pointee.writing))
        capture.ring.end()
        #expect(capture.control.pointee.writing == 0)
        #expect(capture.append([1]))
        capture.ring.discard()
        #expect(capture.append([2]))
        capture.ring.publish()
        #expect(capture.next() == [2] && capture.next() == nil)
    }

    @Test("what finds no room is dropped and counted, and does no harm to what lies there")
    func full() {
        let capture = CaptureMemory()
        var count = 0
        while capture.append([UInt8](repeating: UInt8(count), count: 60000)) {
            capture.ring.publish()
            count += 1
        }
        #expect(count == Int(SL_CAPTURE_LEAST) / 60120 && capture.control.pointee.dropped == 1)
        let isAbandoned = capture.ring.isAbandoned()
        #expect(!isAbandoned)
        for number in 0..<count { #expect(capture.next() == [UInt8](repeating: UInt8(number), count: 60000)) }
        #expect(capture.append([1]))
    }

    @Test("an offset of the tool that cannot be drops packets", arguments: [1, 1 << 63, 1 << 40] as [UInt64])
    func hostile(tail: UInt64) {
        let capture = CaptureMemory()
        capture.control.pointee.tail = tail
        #expect(!capture.append([1]) && capture.control.pointee.dropped == 1)
    }

    @Test("of a ring's bytes, those around its end lie in two pieces")
    func around() {
        let ring = TestRing(bytes: 4096)
        ring.start(at: 4000, base: 0)
        let data = (0..<200).map { UInt8($0) }
        data.withUnsafeBytes { ring.writer.write($0.baseAddress!, 200, at: 4000) }
        let capture = CaptureMemory()
        var record = sl_capture_record()
        record.magic = UInt32(SL_CAPTURE_MAGIC)
        for (skip, count) in [(0, 200), (50, 100), (96, 104), (97, 3), (0, 96), (199, 1)] {
            record.bytes = UInt32(count)
            let isWritten = capture.ring.append(record, ring.writer.unpublished(upTo: 4200), from: skip, size: capture.size)
            #expect(isWritten)
            capture.ring.publish()
            #expect(capture.next() == Array(data[skip..<(skip + count)]))
        }
        ring.writer.publish(4200)
        record.bytes = 200
        let isWritten = capture.ring.append(record, ring.reader.next(200), from: 0, size: capture.size)
        #expect(isWritten)
        capture.ring.publish()
        #expect(capture.next() == data)
    }
}
