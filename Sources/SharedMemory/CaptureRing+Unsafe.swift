import CLinux
import CStackLayout

/// Bytes where they lie: in one piece, or in a ring, at whose begin they go on.
@safe public struct LyingBytes {
    let first: UnsafeRawPointer
    let firstCount: Int
    let second: UnsafeRawPointer
    public let count: Int

    /// `count` bytes in one piece.
    public init(_ memory: UnsafeRawPointer, _ count: Int) {
        unsafe first = unsafe memory
        unsafe second = unsafe memory
        firstCount = count
        self.count = count
    }

    /// At `position` of a ring; at most as many as the ring has.
    fileprivate init(_ ring: UnsafeRawPointer, _ bytes: UInt64, _ position: UInt64, _ count: UInt64) {
        let place = position & (bytes &- 1)
        unsafe first = unsafe ring + Int(truncatingIfNeeded: place)
        unsafe second = unsafe ring
        firstCount = Int(truncatingIfNeeded: min(count, bytes &- place))
        self.count = Int(truncatingIfNeeded: min(count, bytes))
    }

    /// Calls `body` with each piece of the `n` bytes behind the first `skip`, as far as there are so many.
    @inline(__always) fileprivate func each(from skip: Int, _ n: Int, _ body: (UnsafeRawPointer, Int) -> Void) {
        let end = min(count, skip &+ n)
        if skip < min(firstCount, end) { unsafe body(first + skip, min(firstCount, end) &- skip) }
        let start = max(skip, firstCount)
        if start < end { unsafe body(second + (start &- firstCount), end &- start) }
    }
}

extension RingWriter {
    /// What was written since the last publication, up to `offset`.
    public func unpublished(upTo offset: UInt64) -> LyingBytes {
        unsafe LyingBytes(memory, bytes, half.pointee.offset &- half.pointee.base, offset &- half.pointee.offset)
    }
}

extension RingReader {
    /// The next `n` bytes.
    public func next(_ n: Int) -> LyingBytes {
        let base = unsafe slc_relaxed_u64(&direction.pointee.base)
        return unsafe LyingBytes(memory, bytes, half.pointee.offset &- base, UInt64(truncatingIfNeeded: n))
    }
}

/// The ring of captured packets in a stack (sl_capture), as the process writes it; all calls are made under a lock of the
/// process. So a process that is killed leaves whole records only: `head` is published behind them. The words of the tool are
/// input. Nothing waits for it: what finds no room is counted.
@safe public struct CaptureRing {
    private var memory: UnsafeMutableRawPointer? = nil
    /// Behind what was published, and behind what was written.
    private var head: UInt64 = 0
    private var next: UInt64 = 0
    /// The tool's beat when the ring was found full, and since when it stands (CLOCK_MONOTONIC, ns).
    private var beat: UInt64 = 0
    private var beatSince: UInt64 = 0

    public init() {}

    public static var mappedBytes: Int { Int(SL_CAPTURE_CONTROL) + Int(SL_CAPTURE_ROOM) }
    private static var headerBytes: Int { MemoryLayout<sl_capture_record>.size }

    public var isMapped: Bool { unsafe memory != nil }

    /// The mapping, zeroed or with what an earlier capture of this process has left.
    public mutating func use(_ mapping: UnsafeMutableRawPointer) { unsafe memory = unsafe mapping }

    /// In a fork child: the ring is the parent's.
    public mutating func forget() {
        if let p = unsafe memory { Memory.unmap(UInt64(UInt(bitPattern: p)), CaptureRing.mappedBytes) }
        self = CaptureRing()
    }

    /// Before the time of what is appended is taken: the tool brings the packets of several processes into their order. `end` follows.
    public mutating func begin() { setWriting(slc_real_ns()) }

    /// Behind `publish` or `discard`.
    public mutating func end() { setWriting(0) }

    private func setWriting(_ time: UInt64) {
        guard let memory = unsafe memory else { return }
        unsafe slc_release_u64(&memory.assumingMemoryBound(to: sl_capture.self).pointee.writing, time)
        if time != 0 { slc_fence() }
    }

    /// A record with `record.bytes` bytes of `source` behind the first `skip`, in a ring of `size` bytes, a power of two. `publish`
    /// makes it visible. False: there is no room.
    public mutating func append(_ record: sl_capture_record, _ source: LyingBytes, from skip: Int, size: Int) -> Bool {
        guard let memory = unsafe memory, size > 0, size <= Int(SL_CAPTURE_ROOM), size & (size &- 1) == 0 else { return false }
        let control = unsafe memory.assumingMemoryBound(to: sl_capture.self)
        let wanted = UInt64(CaptureRing.headerBytes &+ ((Int(record.bytes) &+ 7) & ~7))
        let used = unsafe next &- slc_acquire_u64(&control.pointee.tail)
        guard used <= UInt64(size), UInt64(size) &- used >= wanted else {
            unsafe slc_set_u64(&control.pointee.dropped, slc_relaxed_u64(&control.pointee.dropped) &+ 1)
            return false
        }
        var at = next
        var header = record
        unsafe withUnsafeBytes(of: &header) { h in
            if let p = h.baseAddress { unsafe copy(p, CaptureRing.headerBytes, to: &at, size) }
        }
        unsafe source.each(from: skip, Int(record.bytes)) { p, n in unsafe copy(p, n, to: &at, size) }
        next = next &+ wanted
        return true
    }

    private func copy(_ source: UnsafeRawPointer, _ n: Int, to offset: inout UInt64, _ size: Int) {
        guard let memory = unsafe memory else { return }
        let ring = unsafe memory + Int(SL_CAPTURE_CONTROL)
        let place = Int(truncatingIfNeeded: offset & UInt64(size &- 1))
        let first = min(n, size &- place)
        unsafe memcpy(ring + place, source, first)
        if first < n { unsafe memcpy(ring, source + first, n &- first) }
        offset = offset &+ UInt64(truncatingIfNeeded: n)
    }

    /// Makes what was written visible.
    public mutating func publish() {
        head = next
        guard let memory = unsafe memory else { return }
        unsafe slc_release_u64(&memory.assumingMemoryBound(to: sl_capture.self).pointee.head, head)
    }

    /// What was written since the last publication has not come about.
    public mutating func discard() { next = head }

    /// The ring is full: does the tool stand still, for ten seconds by now? Then it was killed, and nobody reads this.
    public mutating func isAbandoned() -> Bool {
        guard let memory = unsafe memory else { return false }
        let now = slc_now_ns()
        let seen = unsafe slc_relaxed_u64(&memory.assumingMemoryBound(to: sl_capture.self).pointee.beat)
        if seen != beat || beatSince == 0 {
            beat = seen
            beatSince = now
        }
        return now &- beatSince > 10_000_000_000
    }
}
