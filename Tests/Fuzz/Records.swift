import CLinux
import CStackLayout
import Glibc
import SharedMemory

/// Datagrams in a ring whose shared words and headers change under both ends. The ring lies between pages that cannot be touched.
func fuzzRecords(_ input: inout Input) {
    arena.direction.initialize(to: sl_direction())
    arena.half.initialize(to: sl_half())
    memset(arena.ring, 0, Arena.bytes)
    if input.byte() & 1 == 0 { writeRecords(&input) } else { readRecords(&input) }
}

private func scribble(_ input: inout Input) {
    let words = UnsafeMutableRawPointer(arena.direction)
    let place = 8 * (Int(input.byte()) % 32)
    let now = words.load(fromByteOffset: place, as: UInt64.self)
    words.storeBytes(of: input.word(near: now), toByteOffset: place, as: UInt64.self)
}

/// A header where one may be looked for: mostly one that could be true.
func scribbleHeader(_ input: inout Input, _ ring: UnsafeMutableRawPointer, _ bytes: Int, count: UInt64) {
    let choice = input.byte()
    let place = Int(SL_RECORD_ALIGNMENT) * input.below(bytes / Int(SL_RECORD_ALIGNMENT))
    var header = sl_record()
    header.kind = UInt16(choice & 7 == 0 ? input.byte() : choice & 1 == 0 ? UInt8(SL_RECORD_PAD) : UInt8(SL_RECORD_DATAGRAM))
    switch choice >> 3 & 3 {
    case 0: header.bytes = UInt32(truncatingIfNeeded: input.word(near: UInt64(bytes - place)))
    case 1: header.bytes = UInt32(bytes - place - MemoryLayout<sl_record>.size)
    default: header.bytes = UInt32(input.below(bytes))
    }
    header.kernel_count = choice & 0x80 == 0 ? count : input.word(near: count)
    ring.storeBytes(of: header, toByteOffset: place, as: sl_record.self)
}

private func isInside(_ memory: UnsafeRawPointer, _ n: Int) -> Bool {
    n >= 0 && memory >= UnsafeRawPointer(arena.ring) && memory + n <= UnsafeRawPointer(arena.ring + Arena.bytes)
}

private func writeRecords(_ input: inout Input) {
    let limit = max(1, UInt64(input.below(Arena.bytes + 1)))
    let w = RingWriter(
        direction: arena.direction, half: arena.half, memory: arena.ring, bytes: UInt64(Arena.bytes), limit: limit)
    var isDamaged = false
    while !input.isOver {
        switch input.byte() % 6 {
        case 0, 1: scribble(&input)
        case 2, 3:
            let n =
                input.byte() & 15 == 0 ? Int(truncatingIfNeeded: input.word(near: UInt64(largestDatagram))) : input.below(2048)
            guard let room = w.datagram(n, kernelCount: 3, isDamaged: &isDamaged) else { continue }
            require(!isDamaged && isInside(room.memory, n), "room for \(n) bytes outside of the ring")
            memset(room.memory, 7, n)
            w.publish(room.next)
        case 4: w.publish(arena.half.pointee.offset &+ UInt64(SL_RECORD_ALIGNMENT) * UInt64(input.byte() & 63))
        default: if let n = w.unread() { require(n <= UInt64(Arena.bytes), "\(n) bytes unread") }
        }
    }
}

private func readRecords(_ input: inout Input) {
    let r = RingReader(direction: arena.direction, half: arena.half, memory: arena.ring, bytes: UInt64(Arena.bytes))
    var isDamaged = false
    var sum: UInt8 = 0
    while !input.isOver {
        switch input.byte() % 8 {
        case 0: scribble(&input)
        case 1, 2: scribbleHeader(&input, arena.ring, Arena.bytes, count: 1)
        case 3: arena.direction.pointee.producer &+= UInt64(SL_RECORD_ALIGNMENT) * UInt64(input.byte() & 63)
        default:
            guard let d = r.datagram(isDamaged: &isDamaged) else { continue }
            require(!isDamaged && d.bytes <= largestDatagram, "\(d.bytes) bytes in one datagram")
            require(isInside(d.memory, d.bytes), "\(d.bytes) bytes outside of the ring")
            require(d.taken <= UInt64(Arena.bytes) && d.taken >= UInt64(d.bytes), "\(d.taken) taken for \(d.bytes)")
            for i in 0..<d.bytes { sum &+= d.memory.load(fromByteOffset: i, as: UInt8.self) }
            let before = arena.half.pointee.offset
            if r.consume(d.taken) { require(arena.half.pointee.offset == before &+ d.taken, "another offset") }
        }
    }
    slc_set_u64(&arena.half.pointee.mark_offset, UInt64(sum))
}
