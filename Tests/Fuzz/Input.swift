/// The bytes of one execution, taken from the front: what is missing reads as 0.
struct Input {
    private let bytes: UnsafeBufferPointer<UInt8>
    private var place = 0

    init(_ data: UnsafePointer<UInt8>?, _ count: Int) { bytes = UnsafeBufferPointer(start: data, count: count) }

    var isOver: Bool { place >= bytes.count }

    mutating func byte() -> UInt8 {
        guard place < bytes.count else { return 0 }
        defer { place += 1 }
        return bytes[place]
    }

    mutating func number<T: FixedWidthInteger>(_ type: T.Type) -> T {
        var value: T = 0
        for shift in 0..<MemoryLayout<T>.size { value |= T(truncatingIfNeeded: byte()) << T(8 * shift) }
        return value
    }

    mutating func below(_ most: Int) -> Int { Int(number(UInt16.self)) % most }

    /// A word as somebody would choose it who wants to do harm: near `now`, at an edge, or any.
    mutating func word(near now: UInt64) -> UInt64 {
        let choice = byte()
        switch choice & 7 {
        case 0: return now &+ UInt64(byte())
        case 1: return now &- UInt64(byte())
        case 2: return now &+ UInt64(number(UInt16.self))
        case 3: return now ^ 1 << 63
        case 4: return UInt64(byte() & 7)
        case 5: return hostileNumbers[Int(byte()) % hostileNumbers.count]
        case 6: return now
        default: return number(UInt64.self)
        }
    }

    /// All that is left.
    mutating func rest() -> [UInt8] {
        defer { place = bytes.count }
        return place < bytes.count ? Array(bytes[place...]) : []
    }

    mutating func take(_ count: Int) -> [UInt8] { (0..<min(count, bytes.count - place)).map { _ in byte() } }
}

/// Numbers at which careless arithmetic goes wrong.
let hostileNumbers: [UInt64] = [
    0, 1, 63, 64, 65, 255, 256, 4095, 4096, 4097, 1 << 20, 1 << 26, 1 << 27, 1 << 31, (1 << 32) - 1, 1 << 32, 1 << 48, 1 << 62,
    (1 << 63) - 1, 1 << 63, (1 << 63) + 4096, .max - 4096, .max - 1, .max,
]
