import CLinux
import CStackLayout
import Glibc
import SharedMemory

/// Both ends of a ring whose shared words change under them. The memory of the ring lies between pages that cannot be touched.
struct Arena {
    static let bytes = 4096
    let ring: UnsafeMutableRawPointer
    let direction: Direction
    let half: Half

    init() {
        let all = mmap(nil, 3 * Self.bytes, Int32(PROT_READ | PROT_WRITE), MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)!
        mprotect(all, Self.bytes, PROT_NONE)
        mprotect(all + 2 * Self.bytes, Self.bytes, PROT_NONE)
        ring = all + Self.bytes
        direction = .allocate(capacity: 1)
        half = .allocate(capacity: 1)
    }
}

nonisolated(unsafe) let arena = Arena()
nonisolated(unsafe) private var user = [UInt8](repeating: 7, count: 2 * Arena.bytes)

func fuzzRing(_ input: inout Input) {
    arena.direction.initialize(to: sl_direction())
    arena.half.initialize(to: sl_half())
    let words = UnsafeMutableRawPointer(arena.direction)
    if input.byte() & 1 == 0 {
        let limit = max(1, UInt64(input.below(Arena.bytes + 1)))
        let w = RingWriter(
            direction: arena.direction, half: arena.half, memory: arena.ring, bytes: UInt64(Arena.bytes), limit: limit)
        while !input.isOver {
            switch input.byte() % 6 {
            case 0, 1:
                let place = 8 * (Int(input.byte()) % 32)
                let now = words.load(fromByteOffset: place, as: UInt64.self)
                words.storeBytes(of: input.word(near: now), toByteOffset: place, as: UInt64.self)
            case 2, 3:
                let wanted = input.below(2 * Arena.bytes)
                guard let room = w.room(UInt64(wanted)) else { continue }
                require(room <= limit, "room for \(room) bytes of \(limit)")
                w.rewindIfEmpty()
                let n = min(wanted, Int(room))
                w.write(user, n, at: arena.half.pointee.offset)
                w.publish(arena.half.pointee.offset &+ UInt64(n))
            case 4:
                guard let end = w.claim() else { continue }
                require(arena.half.pointee.offset &- end <= UInt64(Arena.bytes), "claimed more than a ring holds")
            default:
                if let n = w.unread() { require(n <= UInt64(Arena.bytes), "\(n) bytes unread") }
            }
        }
    } else {
        let r = RingReader(direction: arena.direction, half: arena.half, memory: arena.ring, bytes: UInt64(Arena.bytes))
        while !input.isOver {
            switch input.byte() % 7 {
            case 0, 1:
                let place = 8 * (Int(input.byte()) % 32)
                let now = words.load(fromByteOffset: place, as: UInt64.self)
                words.storeBytes(of: input.word(near: now), toByteOffset: place, as: UInt64.self)
            case 2, 3:
                guard let n = r.available() else { continue }
                require(n <= UInt64(Arena.bytes), "\(n) bytes to read")
                let first = input.below(Int(n) + 1)
                r.read(&user, first)
                r.read(&user, Int(n) - first, skip: UInt64(first))
                _ = r.consume(UInt64(first))
            case 4: r.jump()
            case 5: r.unclaim()
            default: _ = r.isClaimed
            }
        }
    }
}
