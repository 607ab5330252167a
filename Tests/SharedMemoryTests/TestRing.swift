import CLinux
import CStackLayout
import SharedMemory

/// A ring of its own with both sides in this process. The bytes lie between two pages without access: whoever writes or
/// reads beside them ends the test run.
final class TestRing {
    let direction: Direction
    let writerHalf: Half
    let readerHalf: Half
    let memory: UnsafeMutableRawPointer
    let bytes: Int
    let limit: UInt64
    private let mapping: UnsafeMutableRawPointer

    init(bytes: Int = 4096, limit: Int? = nil) {
        self.bytes = bytes
        self.limit = UInt64(limit ?? bytes)
        mapping = Memory.anonymous(bytes + 2 * Memory.pageBytes)!
        precondition(slc_mprotect(mapping, Memory.pageBytes, PROT_NONE) == 0)
        precondition(slc_mprotect(mapping + Memory.pageBytes + bytes, Memory.pageBytes, PROT_NONE) == 0)
        memory = mapping + Memory.pageBytes
        direction = .allocate(capacity: 1)
        writerHalf = .allocate(capacity: 1)
        readerHalf = .allocate(capacity: 1)
        direction.initialize(to: sl_direction())
        writerHalf.initialize(to: sl_half())
        readerHalf.initialize(to: sl_half())
    }

    deinit {
        Memory.unmap(UInt64(UInt(bitPattern: mapping)), bytes + 2 * Memory.pageBytes)
        direction.deallocate()
        writerHalf.deallocate()
        readerHalf.deallocate()
    }

    var writer: RingWriter {
        RingWriter(direction: direction, half: writerHalf, memory: memory, bytes: UInt64(bytes), limit: limit)
    }
    var reader: RingReader { RingReader(direction: direction, half: readerHalf, memory: memory, bytes: UInt64(bytes)) }

    /// Both sides as if `offset` bytes had gone through, the first byte of the ring being `base`.
    func start(at offset: UInt64, base: UInt64) {
        direction.pointee.producer = offset
        direction.pointee.consumer = offset
        direction.pointee.base = base
        writerHalf.pointee.offset = offset
        writerHalf.pointee.other_offset = offset
        writerHalf.pointee.base = base
        readerHalf.pointee.offset = offset
    }

    /// Publishes as many of the bytes as there is room for; returns how many, nil when the ring is refused.
    func put(_ data: some Collection<UInt8>) -> Int? {
        let writer = writer
        guard let room = writer.room(UInt64(data.count)) else { return nil }
        writer.rewindIfEmpty()
        let n = min(Int(room), data.count)
        Array(data.prefix(n)).withUnsafeBytes { if n > 0 { writer.write($0.baseAddress!, n, at: writerHalf.pointee.offset) } }
        writer.publish(writerHalf.pointee.offset + UInt64(n))
        return n
    }

    /// The next bytes, `most` at most, without consuming them; nil when the ring is refused.
    func peek(_ most: Int, skip: Int = 0) -> [UInt8]? {
        guard let available = reader.available() else { return nil }
        let n = max(0, min(Int(available) - skip, most))
        var result = [UInt8](repeating: 0, count: n)
        result.withUnsafeMutableBytes { if n > 0 { reader.read($0.baseAddress!, n, skip: UInt64(skip)) } }
        return result
    }

    /// The next bytes, `most` at most; nil when the ring is refused or claimed.
    func take(_ most: Int) -> [UInt8]? {
        guard let result = peek(most), reader.consume(UInt64(result.count)) else { return nil }
        return result
    }
}
