import CLinux
import CStackLayout
import SharedMemory
import Stacks

/// Packets for `sluicestat capture`. The data's way asks `Endpoint.isWatched`, one word of a line that it reads anyway; all the rest
/// is here, out of line. A packet is captured before it is published, or before what was read is given back: its bytes still
/// lie in the ring, and an answer to it has a later time.
enum Capture {
    /// The most that one packet of TCP can carry: 65535 less the headers of IPv4 and TCP.
    private static var largestSegment: Int { 65495 }

    /// A stream is about to publish up to `offset`. Under the tx lock.
    @inline(never) static func sent(_ e: Endpoint, _ writer: RingWriter, _ offset: UInt64) {
        guard let wish = unsafe CaptureMemory.begin(e, isReceived: false) else { return }
        var record = unsafe record(e, isReceived: false)
        record.position = unsafe sentBytes(e)
        record.acknowledged = unsafe readBytes(e)
        let isWhole = segments(record, writer.unpublished(upTo: offset), wish)
        unsafe process.capture.publish()
        CaptureMemory.end(isFull: !isWhole)
    }

    /// A stream has read `n` bytes and gives them back. False: the sender has claimed them. Under the rx lock.
    @inline(never) static func consume(_ e: Endpoint, _ reader: RingReader, _ n: Int) -> Bool {
        guard let wish = unsafe CaptureMemory.begin(e, isReceived: true) else { return reader.consume(UInt64(n)) }
        var record = unsafe record(e, isReceived: true)
        record.position = unsafe readBytes(e)
        // What the other side had read, as far as we know.
        record.acknowledged = unsafe sentBytes(e) &- (e.tx.pointee.offset &- e.tx.pointee.other_offset)
        let isWhole = segments(record, reader.next(n), wish)
        return settle(reader.consume(UInt64(n)), isWhole)
    }

    /// A datagram is about to be published. Under `flowsTx`.
    @inline(never) static func sent(_ f: Endpoint, _ room: DatagramRoom, _ n: Int) {
        guard let wish = unsafe CaptureMemory.begin(f, isReceived: false) else { return }
        var record = unsafe record(f, isReceived: false)
        record.position = room.next
        let isWhole = unsafe datagram(&record, LyingBytes(room.memory, n), wish)
        unsafe process.capture.publish()
        CaptureMemory.end(isFull: !isWhole)
    }

    /// A datagram has been read and is given back. False: its sender has claimed it. Under `flowsRx`.
    @inline(never) static func consume(_ f: Endpoint, _ reader: RingReader, _ d: Datagram) -> Bool {
        guard let wish = unsafe CaptureMemory.begin(f, isReceived: true) else { return reader.consume(d.taken) }
        var record = unsafe record(f, isReceived: true)
        record.position = unsafe reader.half.pointee.offset &+ d.taken
        let isWhole = unsafe datagram(&record, LyingBytes(d.memory, d.bytes), wish)
        return settle(reader.consume(d.taken), isWhole)
    }

    /// What the kernel and rings have carried of each direction, as both ends count it: a byte's place in the stream.
    private static func sentBytes(_ e: Endpoint) -> UInt64 {
        if unsafe e.tx.pointee.flags & UInt32(SL_HALF_COUNTED) == 0 { return unsafe e.pointee.bytes_out }
        return unsafe e.tx.pointee.kernel_bytes &+ e.pointee.counters.tx_ring_bytes
    }

    private static func readBytes(_ e: Endpoint) -> UInt64 {
        if unsafe e.rx.pointee.flags & UInt32(SL_HALF_COUNTED) == 0 { return unsafe e.pointee.bytes_in }
        return unsafe e.rx.pointee.kernel_bytes &+ e.pointee.counters.rx_ring_bytes
    }

    private static func record(_ e: Endpoint, isReceived: Bool) -> sl_capture_record {
        var r = sl_capture_record()
        r.magic = UInt32(SL_CAPTURE_MAGIC)
        r.protocol = unsafe e.pointee.protocol
        r.is_received = isReceived ? 1 : 0
        r.time_ns = slc_real_ns()
        r.netns_cookie = unsafe e.pointee.netns_cookie
        r.owner = unsafe e.pointee.owner
        r.index = unsafe e.pointee.index
        r.generation = unsafe e.pointee.generation
        r.lane_generation = unsafe e.pointee.lane_generation
        r.local = unsafe e.pointee.local
        r.remote = unsafe e.pointee.remote
        return r
    }

    /// In packets as large as IP allows. False: some found no room.
    private static func segments(_ first: sl_capture_record, _ source: LyingBytes, _ wish: CaptureWish) -> Bool {
        var record = first
        var isWhole = true
        var at = 0
        while at < source.count {
            let n = min(source.count &- at, largestSegment)
            record.length = UInt32(truncatingIfNeeded: n)
            record.bytes = UInt32(truncatingIfNeeded: min(n, wish.keptBytes))
            if unsafe !process.capture.append(record, source, from: at, size: wish.ringBytes) { isWhole = false }
            record.position = record.position &+ UInt64(truncatingIfNeeded: n)
            at = at &+ n
        }
        return isWhole
    }

    private static func datagram(_ record: inout sl_capture_record, _ source: LyingBytes, _ wish: CaptureWish) -> Bool {
        record.length = UInt32(truncatingIfNeeded: source.count)
        record.bytes = UInt32(truncatingIfNeeded: min(source.count, wish.keptBytes))
        return unsafe process.capture.append(record, source, from: 0, size: wish.ringBytes)
    }

    private static func settle(_ isTaken: Bool, _ isWhole: Bool) -> Bool {
        if isTaken { unsafe process.capture.publish() } else { unsafe process.capture.discard() }
        CaptureMemory.end(isFull: !isWhole)
        return isTaken
    }
}
