/// Reads of numbers from untrusted bytes: nil instead of a trap where the bytes end.
extension Array where Element == UInt8 {
    func number<T: FixedWidthInteger>(_ type: T.Type, at offset: Int) -> T? {
        let width = MemoryLayout<T>.size
        guard offset >= 0, offset <= count, count - offset >= width else { return nil }
        var value: T = 0
        // The host's order on x86-64: the least significant byte first.
        for place in 0..<width { value |= T(truncatingIfNeeded: self[offset + place]) << T(8 * place) }
        return value
    }

    /// A port in network order.
    func port(at offset: Int) -> UInt16? { number(UInt16.self, at: offset)?.byteSwapped }

    mutating func append<T: FixedWidthInteger>(number value: T) {
        for place in 0..<MemoryLayout<T>.size { append(UInt8(truncatingIfNeeded: value >> T(8 * place))) }
    }
}

/// Text that came from another process, made safe for a terminal: control characters become `?`.
func printable(_ bytes: some Collection<UInt8>) -> String {
    var text = ""
    for scalar in String(decoding: bytes, as: UTF8.self).unicodeScalars {
        let isControl = scalar.value < 0x20 || (scalar.value >= 0x7f && scalar.value < 0xa0)
        // Also the marks that turn the direction of writing.
        let turns = (0x2028...0x202e).contains(scalar.value) || (0x2066...0x2069).contains(scalar.value)
        text.unicodeScalars.append(isControl || turns ? "?" : scalar)
    }
    return text
}
