import CStackLayout

/// How long the calls of a program waited for one thing, and what became of it: a copy of its buckets, of which nothing is trusted.
struct Waits {
    enum Kind: UInt32, CaseIterable {
        case receive, send, datagram, poll, epoll
    }
    enum End: UInt32, CaseIterable {
        case spun, slept
    }

    var kind: Kind
    var end: End
    var sumNs: UInt64
    var maximumNs: UInt64
    /// Calls per bucket of CStackLayout.
    var buckets: [UInt64]

    /// A bucket has at most so many: sums of all of several thousand processes do not overflow.
    static var most: UInt64 { 1 << 40 }

    var count: UInt64 { buckets.reduce(0, +) }

    /// The least time of bucket `place`, in nanoseconds.
    static func begin(_ place: Int) -> UInt64 { sl_wait_bucket_begin(UInt32(place)) }

    /// How many waits were shorter than a power of two of nanoseconds, where buckets end too.
    func count(below ns: UInt64) -> UInt64 {
        buckets.enumerated().reduce(0) { Self.begin($1.offset + 1) <= ns ? $0 + $1.element : $0 }
    }

    mutating func add(_ other: Waits) {
        sumNs &+= other.sumNs
        maximumNs = max(maximumNs, other.maximumNs)
        for (place, count) in other.buckets.enumerated() where place < buckets.count {
            buckets[place] = min(buckets[place] + count, Self.most)
        }
    }
}

extension Waits {
    /// Those of a stack that has any, in the order of the layout; nil: the stack says of none, or what it says cannot be.
    static func read<Source: StackSource & ~Copyable>(_ source: borrowing Source, at offset: UInt64) -> [Waits]? {
        let head = MemoryLayout<sl_waits_area>.offset(of: \.waits) ?? 64
        guard offset >= UInt64(SL_STACK_FIRST_ENDPOINT), offset % 64 == 0, offset <= UInt64(source.byteCount),
            let first = source.read(Int(offset), head), first.number(UInt64.self, at: 0) == SL_WAITS_MAGIC,
            first.number(UInt32.self, at: 8) == UInt32(SL_WAIT_KINDS),
            let buckets = first.number(UInt32.self, at: 12).map(Int.init), buckets == MemoryLayout<sl_waits>.size / 8 - 2,
            let bytes = source.read(Int(offset) + head, MemoryLayout<sl_waits>.size * 2 * Int(SL_WAIT_KINDS))
        else { return nil }
        var found: [Waits] = []
        for kind in Kind.allCases {
            for end in End.allCases {
                let start = MemoryLayout<sl_waits>.size * Int(kind.rawValue * 2 + end.rawValue)
                func word(_ place: Int) -> UInt64 { bytes.number(UInt64.self, at: start + 8 * place) ?? 0 }
                let counts = (0..<buckets).map { min(word(2 + $0), most) }
                let waits = Waits(kind: kind, end: end, sumNs: word(0), maximumNs: word(1), buckets: counts)
                if waits.count > 0 { found.append(waits) }
            }
        }
        return found
    }
}
