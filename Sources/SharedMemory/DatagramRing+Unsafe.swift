import CLinux
import CStackLayout

/// The most that a datagram can carry (udp(7)): 65535 less the headers of IPv4.
@inline(__always) public var largestDatagram: Int { 65507 }

/// What a datagram takes in a ring, its header included.
@inline(__always) private func recordBytes(_ n: Int) -> UInt64 {
    let alignment = UInt64(SL_RECORD_ALIGNMENT)
    return (UInt64(MemoryLayout<sl_record>.size + n) &+ alignment &- 1) & ~(alignment &- 1)
}

/// Room for one datagram that is being written.
@safe public struct DatagramRoom {
    /// Where its bytes go.
    public let memory: UnsafeMutableRawPointer
    /// The ring's offset behind it.
    public let next: UInt64
}

/// Datagrams in the byte ring of one direction: each in one piece behind its header (`sl_record`), so that it can be read
/// where it lies. Offsets stay multiples of the alignment; a ring's size is one too.
extension RingWriter {
    /// Room for a datagram of `n` bytes, at most `largestDatagram`; its header is written. `publish(room.next)` makes it visible.
    /// `isDamaged`: the reader's offset cannot be. Nil otherwise: the ring is full.
    public func datagram(_ n: Int, kernelCount: UInt64, isDamaged: inout Bool) -> DatagramRoom? {
        isDamaged = false
        guard n >= 0, n <= largestDatagram else { return nil }
        let wanted = recordBytes(n)
        // What may have to be left at the ring's end counts, too.
        guard let room = self.room(wanted &* 2) else {
            isDamaged = true
            return nil
        }
        rewindIfEmpty()
        var offset = unsafe half.pointee.offset
        let position = unsafe (offset &- half.pointee.base) & (bytes &- 1)
        let left = bytes &- position
        guard position % UInt64(SL_RECORD_ALIGNMENT) == 0 else {
            isDamaged = true
            return nil
        }
        let needed = left < wanted ? left &+ wanted : wanted
        guard needed <= room else { return nil }
        if left < wanted {
            put(sl_record(kind: SL_RECORD_PAD, bytes: Int(left) &- MemoryLayout<sl_record>.size), at: position)
            offset &+= left
        }
        let place = unsafe (offset &- half.pointee.base) & (bytes &- 1)
        var header = sl_record(kind: SL_RECORD_DATAGRAM, bytes: n)
        header.kernel_count = kernelCount
        unsafe header.options_at = unsafe slc_relaxed_u64(&direction.pointee.ring_end)
        put(header, at: place)
        return unsafe DatagramRoom(
            memory: memory + Int(truncatingIfNeeded: place) + MemoryLayout<sl_record>.size, next: offset &+ wanted)
    }

    @inline(__always) private func put(_ header: sl_record, at position: UInt64) {
        unsafe (memory + Int(truncatingIfNeeded: position)).assumingMemoryBound(to: sl_record.self).pointee = header
    }
}

/// One datagram in a ring, as its header was when it was looked at: the sender can change what lies there.
@safe public struct Datagram {
    /// `bytes` of them, all inside the ring.
    public let memory: UnsafeRawPointer
    public let bytes: Int
    public let kernelCount: UInt64
    /// The sender's options were the same since its datagram behind this number by the kernel.
    public let optionsAt: UInt64
    /// What `consume` gives back, with what was left unused before it.
    public let taken: UInt64
}

extension RingReader {
    /// The next datagram, where it lies; nil: none, or `isDamaged`. It is ours until `consume(datagram.taken)`; false from
    /// that: the sender has claimed it, and it comes by the kernel.
    public func datagram(isDamaged: inout Bool) -> Datagram? {
        isDamaged = true
        guard let available = self.available() else { return nil }
        let base = unsafe slc_relaxed_u64(&direction.pointee.base)
        var skipped: UInt64 = 0
        while skipped < available {
            let position = unsafe (half.pointee.offset &+ skipped &- base) & (bytes &- 1)
            guard position % UInt64(SL_RECORD_ALIGNMENT) == 0 else { return nil }
            // Each word is read once: the sender can change it.
            let words = unsafe (memory + Int(truncatingIfNeeded: position)).assumingMemoryBound(to: UInt64.self)
            let header = unsafe sl_record(first: slc_relaxed_u64(words))
            let n = Int(header.bytes)
            let most = Int(truncatingIfNeeded: bytes &- position) &- MemoryLayout<sl_record>.size
            guard n <= most else { return nil }
            if UInt32(header.kind) == UInt32(SL_RECORD_PAD) && n == most && skipped == 0 {
                skipped = bytes &- position
                continue
            }
            let size = recordBytes(n)
            guard UInt32(header.kind) == UInt32(SL_RECORD_DATAGRAM), n <= largestDatagram, skipped &+ size <= available else {
                return nil
            }
            isDamaged = false
            return unsafe Datagram(
                memory: UnsafeRawPointer(memory + Int(truncatingIfNeeded: position) + MemoryLayout<sl_record>.size), bytes: n,
                kernelCount: slc_relaxed_u64(words + 1), optionsAt: slc_relaxed_u64(words + 2), taken: skipped &+ size)
        }
        isDamaged = skipped != 0
        return nil
    }
}

extension sl_record {
    /// What its first eight bytes say.
    @inline(__always) fileprivate init(first word: UInt64) {
        self.init()
        bytes = UInt32(truncatingIfNeeded: word)
        kind = UInt16(truncatingIfNeeded: word >> 32)
    }

    fileprivate init(kind: Int, bytes: Int) {
        self.init()
        self.kind = UInt16(truncatingIfNeeded: kind)
        self.bytes = UInt32(truncatingIfNeeded: bytes)
    }
}
