/// SLUICE_PORTS: which connections may have a lane, by the port of their accepting end, and which datagrams. Numbers and ranges (`6379`,
/// `8000-8010`) separated by commas; `!` before one keeps it out. With numbers that are not kept out, only those are let in.
public struct PortRules: Sendable {
    /// As many as a value can have.
    static var most: Int { 16 }

    /// Low and high port of each, 16 bits each, and a bit for each that is kept out. (Zeroes that need no code to be made.)
    private var ranges = SIMD16<UInt32>()
    private var out: UInt32 = 0
    private var isClosed = false
    /// How many there are; 0: all ports are let in.
    public private(set) var count = 0

    public init() {}

    /// No port is let in: what was meant is not known.
    static var none: PortRules {
        var rules = PortRules()
        rules.isClosed = true
        return rules
    }

    /// Nil: malformed, a port beyond 65535, a range that runs backwards, or too many. Allocates nothing, never traps.
    init?(_ text: EnvironmentText) {
        guard let length = text.count, length > 0 else { return nil }
        var at = 0
        while true {
            while text.byte(at) == UInt8(ascii: " ") { at += 1 }
            let isOut = text.byte(at) == UInt8(ascii: "!")
            if isOut { at += 1 }
            guard let low = Self.port(text, &at) else { return nil }
            var last = low
            if text.byte(at) == UInt8(ascii: "-") {
                at += 1
                guard let high = Self.port(text, &at), high >= low else { return nil }
                last = high
            }
            while text.byte(at) == UInt8(ascii: " ") { at += 1 }
            guard count < Self.most else { return nil }
            ranges[count] = UInt32(low) << 16 | UInt32(last)
            if isOut { out |= 1 << UInt32(count) }
            count += 1
            if at >= length { return }
            guard text.byte(at) == UInt8(ascii: ",") else { return nil }
            at += 1
        }
    }

    private static func port(_ text: EnvironmentText, _ at: inout Int) -> UInt16? {
        var value: UInt32 = 0
        let start = at
        while text.byte(at) >= UInt8(ascii: "0"), text.byte(at) <= UInt8(ascii: "9") {
            value = value &* 10 &+ UInt32(text.byte(at) &- UInt8(ascii: "0"))
            guard value <= 65535 else { return nil }
            at += 1
        }
        return at > start ? UInt16(truncatingIfNeeded: value) : nil
    }

    /// May a connection that was accepted at `port` have a lane?
    public func admits(_ port: UInt16) -> Bool { admits(port, port) }

    /// May datagrams between these two ports? Nobody tells which of them is the server's: one must be let in, none kept out.
    public func admits(_ one: UInt16, _ other: UInt16) -> Bool {
        var hasList = false
        var isListed = false
        var place = 0
        while place < count {
            let range = ranges[place]
            let fits = range.holds(one) || range.holds(other)
            if out >> UInt32(place) & 1 == 0 {
                hasList = true
                if fits { isListed = true }
            } else if fits {
                return false
            }
            place += 1
        }
        return !isClosed && (isListed || !hasList)
    }
}

extension UInt32 {
    /// As a low and a high port.
    fileprivate func holds(_ port: UInt16) -> Bool { UInt32(port) >= self >> 16 && UInt32(port) <= self & 0xffff }
}
