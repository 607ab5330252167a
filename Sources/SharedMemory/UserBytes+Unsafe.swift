import CLinux

/// The program's buffers of one call, as a cursor over its parts. The program owns the memory; addresses are used as given.
@safe public struct UserBytes {
    private let parts: UnsafePointer<iovec>
    private let count: Int
    private var part = 0
    private var offset = 0
    public private(set) var done = 0
    public let total: Int
    /// A length beyond what ssize_t can say (readv(2): EINVAL).
    public let isInvalid: Bool

    public init(_ parts: UnsafePointer<iovec>, _ count: Int) {
        unsafe self.parts = unsafe parts
        self.count = count
        var n = 0
        var i = 0
        var bad = false
        while i < count {
            let k = unsafe Int(parts[i].iov_len)
            bad = bad || k < 0
            n = n &+ (k < 0 ? 0 : k)
            bad = bad || n < 0
            i += 1
        }
        total = n
        isInvalid = bad
    }

    @inline(__always) public var left: Int { total &- done }

    /// The last piece filled its part to the end.
    @inline(__always) public var isAtPart: Bool { unsafe part < count && offset == Int(parts[part].iov_len) }

    /// The next piece of at most `n` bytes: (address, length); length 0 when all is used.
    @inline(__always) public mutating func next(_ n: Int) -> (UnsafeMutableRawPointer?, Int) {
        while part < count {
            let p = unsafe parts[part]
            let rest = unsafe Int(p.iov_len) &- offset
            if rest > 0 {
                return unsafe (
                    UnsafeMutableRawPointer(bitPattern: UInt(bitPattern: p.iov_base) &+ UInt(bitPattern: offset)), min(rest, n)
                )
            }
            part += 1
            offset = 0
        }
        return (nil, 0)
    }

    @inline(__always) public mutating func advance(_ n: Int) {
        offset &+= n
        done &+= n
    }

    /// Moves on over `n` bytes that somebody else filled, across parts.
    public mutating func skip(_ n: Int) {
        var rest = n
        while rest > 0 {
            let (_, k) = unsafe next(rest)
            if k == 0 { return }
            advance(k)
            rest -= k
        }
    }

    /// The parts from here on, at most `most` bytes of them, for a real call: fills `out` (capacity `room`), returns the count.
    public mutating func remaining(most: Int, _ out: UnsafeMutablePointer<iovec>, _ room: Int) -> Int {
        var copy = self
        var n = 0
        var budget = most
        while n < room && budget > 0 {
            let (p, k) = unsafe copy.next(budget)
            if k == 0 { break }
            unsafe out[n] = unsafe iovec(iov_base: p, iov_len: k)
            copy.advance(k)
            budget -= k
            n += 1
        }
        return n
    }
}
