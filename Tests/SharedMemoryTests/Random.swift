/// xorshift64*: the same numbers for the same seed, on every run.
struct SeededRandom: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed | 1 }

    mutating func next() -> UInt64 {
        state ^= state >> 12
        state ^= state << 25
        state ^= state >> 27
        return state &* 0x2545_f491_4f6c_dd1d
    }

    mutating func bytes(_ count: Int) -> [UInt8] { (0..<count).map { _ in UInt8(truncatingIfNeeded: next()) } }
}

/// Numbers at which careless arithmetic goes wrong.
let hostileNumbers: [UInt64] =
    [0, 1, 2, 63, 64, 4095, 4096, 4097, 8191, 8192]
    + [31, 32, 47, 48, 62, 63].flatMap { shift -> [UInt64] in [(1 << shift) - 1, 1 << shift, (1 << shift) + 1] }
    + [.max - 8192, .max - 4096, .max - 1, .max]
