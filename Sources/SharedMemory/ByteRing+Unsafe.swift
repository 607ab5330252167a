import CLinux
import CStackLayout

public typealias Endpoint = UnsafeMutablePointer<sl_endpoint>
public typealias Half = UnsafeMutablePointer<sl_half>
public typealias Direction = UnsafeMutablePointer<sl_direction>
public typealias Region = UnsafeMutablePointer<sl_region>

/// Bit of the consumer word by which a sender takes unread bytes back; offsets stay below it.
@inline(__always) public var ringClaim: UInt64 { 1 << 63 }

/// One direction of a lane as its sender sees it. All calls are made under the lock of the sending half.
///
/// ```
///   offset:   consumer ........ producer          both only grow; producer - consumer <= limit <= bytes
///   memory:   (offset - base) & (bytes - 1)       base moves to the producer when the ring is empty, so that a
///                                                 quiet connection stays in its first page
/// ```
/// The consumer offset is input from another process: it is read once, checked, and refused by `nil`.
@safe public struct RingWriter {
    public let direction: Direction
    public let half: Half
    public let memory: UnsafeMutableRawPointer
    public let bytes: UInt64
    public let limit: UInt64

    @inline(__always)
    public init(direction: Direction, half: Half, memory: UnsafeMutableRawPointer, bytes: UInt64, limit: UInt64) {
        unsafe self.direction = unsafe direction
        unsafe self.half = unsafe half
        unsafe self.memory = unsafe memory
        self.bytes = bytes
        self.limit = limit
    }

    /// Bytes that were published and not yet consumed; nil when the other side's offset cannot be, or a holder of this half
    /// died between claiming and leaving.
    @inline(__always) public func unread() -> UInt64? {
        let consumer = unsafe slc_acquire_u64(&direction.pointee.consumer)
        let used = unsafe half.pointee.offset &- consumer
        guard used <= bytes, unsafe consumer &- half.pointee.other_offset <= bytes else { return nil }
        unsafe half.pointee.other_offset = consumer
        return used
    }

    /// Room for at least `wanted` bytes as far as known, else as much as there is; nil when damaged.
    @inline(__always) public func room(_ wanted: UInt64) -> UInt64? {
        let used = unsafe half.pointee.offset &- half.pointee.other_offset
        // An empty ring begins at its first byte again; one look at the consumer's line a page tells.
        let isSamePage = unsafe (half.pointee.offset ^ (half.pointee.offset &+ wanted)) >> 12 == 0
        if used < limit && limit &- used >= wanted && isSamePage { return limit &- used }
        guard let now = unread() else { return nil }
        return now >= limit ? 0 : limit &- now
    }

    /// Copies `n` bytes (at most the room) behind what was written since the last publication.
    @inline(__always) public func write(_ source: UnsafeRawPointer, _ n: Int, at offset: UInt64) {
        let position = unsafe Int(truncatingIfNeeded: (offset &- half.pointee.base) & (bytes &- 1))
        let first = Int(truncatingIfNeeded: bytes) &- position
        if n <= first {
            unsafe memcpy(memory + position, source, n)
        } else {
            unsafe memcpy(memory + position, source, first)
            unsafe memcpy(memory, source + first, n &- first)
        }
    }

    /// Before writing into an empty ring: start at its first byte.
    @inline(__always) public func rewindIfEmpty() {
        if unsafe half.pointee.offset == half.pointee.other_offset && half.pointee.base != half.pointee.offset {
            unsafe half.pointee.base = unsafe half.pointee.offset
            unsafe slc_set_u64(&direction.pointee.base, half.pointee.base)
        }
    }

    /// Claims what was published and not consumed: from now on the reader cannot consume. Returns the reader's last offset,
    /// or nil when it cannot be.
    public func claim() -> UInt64? {
        let consumer = unsafe slc_or_u64(&direction.pointee.consumer, ringClaim) & ~ringClaim
        return unsafe half.pointee.offset &- consumer <= bytes ? consumer : nil
    }

    /// Makes everything up to `offset` visible.
    @inline(__always) public func publish(_ offset: UInt64) {
        unsafe half.pointee.offset = offset
        unsafe slc_release_u64(&direction.pointee.producer, offset)
    }
}

/// One direction as its receiver sees it; under the lock of the receiving half. Producer and base are input from another process.
@safe public struct RingReader {
    public let direction: Direction
    public let half: Half
    public let memory: UnsafeMutableRawPointer
    public let bytes: UInt64

    @inline(__always)
    public init(direction: Direction, half: Half, memory: UnsafeMutableRawPointer, bytes: UInt64) {
        unsafe self.direction = unsafe direction
        unsafe self.half = unsafe half
        unsafe self.memory = unsafe memory
        self.bytes = bytes
    }

    /// Bytes to read; nil when damaged.
    @inline(__always) public func available() -> UInt64? {
        let producer = unsafe slc_acquire_u64(&direction.pointee.producer)
        let n = unsafe producer &- half.pointee.offset
        return n <= bytes ? n : nil
    }

    /// Copies `n` bytes that lie `skip` bytes behind the consumer, without consuming them.
    @inline(__always) public func read(_ target: UnsafeMutableRawPointer, _ n: Int, skip: UInt64 = 0) {
        let base = unsafe slc_relaxed_u64(&direction.pointee.base)
        let position = unsafe Int(truncatingIfNeeded: (half.pointee.offset &+ skip &- base) & (bytes &- 1))
        let first = Int(truncatingIfNeeded: bytes) &- position
        if n <= first {
            unsafe memcpy(target, memory + position, n)
        } else {
            unsafe memcpy(target, memory + position, first)
            unsafe memcpy(target + first, memory, n &- first)
        }
    }

    /// Gives `n` bytes that were copied out back to the sender; a full barrier. False: the sender has claimed them
    /// meanwhile, and they come by the kernel.
    @inline(__always) public func consume(_ n: UInt64) -> Bool {
        let next = unsafe half.pointee.offset &+ n
        guard unsafe slc_cas_u64(&direction.pointee.consumer, half.pointee.offset, next) else { return false }
        unsafe half.pointee.offset = next
        return true
    }

    @inline(__always) public var isClaimed: Bool { unsafe slc_relaxed_u64(&direction.pointee.consumer) & ringClaim != 0 }

    /// The sender died between claiming and leaving: what it published is ours to read.
    public func unclaim() { unsafe slc_release_u64(&direction.pointee.consumer, half.pointee.offset) }

    /// The sender has left the ring: what it took back comes by the kernel, the next ring phase begins behind it.
    public func jump() {
        unsafe half.pointee.offset = unsafe slc_acquire_u64(&direction.pointee.producer) & ~ringClaim
        unsafe slc_release_u64(&direction.pointee.consumer, half.pointee.offset)
    }
}
