extension SettingDefinition {
    /// The value that `text` stands for, or nil when it is malformed or out of range. Allocates nothing, never traps.
    func parse(_ text: EnvironmentText) -> Int64? {
        guard let count = text.count, count > 0 else { return nil }
        switch kind {
        case .flag, .number:
            return number(text, count)
        case .powerOfTwo:
            guard let value = number(text, count), value & (value &- 1) == 0 else { return nil }
            return value
        case .word:
            guard let place = place(of: text, 0, count) else { return nil }
            return Int64(place) &+ 1
        case .list:
            return list(text, count, keepsUnknown: false)
        case .ports:
            return PortRules(text).map { Int64($0.count) }
        case .text:
            return count <= maximum ? Int64(count) : nil
        }
    }

    /// An optional sign, then decimal digits, or hexadecimal ones after 0x.
    private func number(_ text: EnvironmentText, _ count: Int) -> Int64? {
        var at = 0
        let negative = text.byte(0) == UInt8(ascii: "-")
        if negative || text.byte(0) == UInt8(ascii: "+") { at = 1 }
        var base: Int64 = 10
        if text.byte(at) == UInt8(ascii: "0"), text.byte(at + 1) | 0x20 == UInt8(ascii: "x") {
            base = 16
            at += 2
        }
        guard at < count else { return nil }
        var value: Int64 = 0
        while at < count {
            guard let digit = digitValue(text.byte(at)), digit < base else { return nil }
            let product = value.multipliedReportingOverflow(by: base)
            let sum = product.partialValue.addingReportingOverflow(digit)
            if product.overflow || sum.overflow { return nil }
            value = sum.partialValue
            at += 1
        }
        if negative { value = 0 &- value }
        return value >= minimum && value <= maximum ? value : nil
    }

    private func digitValue(_ byte: UInt8) -> Int64? {
        let lower = byte | 0x20
        if byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") { return Int64(byte &- UInt8(ascii: "0")) }
        if lower >= UInt8(ascii: "a"), lower <= UInt8(ascii: "f") { return Int64(lower &- UInt8(ascii: "a")) &+ 10 }
        return nil
    }

    /// The bits of those words of a list that are known; of a value that is too long, none.
    func knownWords(_ text: EnvironmentText) -> Int64 { text.count.flatMap { list(text, $0, keepsUnknown: true) } ?? 0 }

    /// The bits of a list of words. Spaces around words are allowed. Nil: an unknown word, unless they are passed over.
    private func list(_ text: EnvironmentText, _ count: Int, keepsUnknown: Bool) -> Int64? {
        let all = maximum
        if says("0", text, count) || says("none", text, count) { return 0 }
        if says("1", text, count) { return all }
        var bits: Int64 = defaultValue
        var start = 0
        while start <= count {
            var end = start
            while end < count, text.byte(end) != UInt8(ascii: ",") { end += 1 }
            var first = start
            var last = end
            while first < last, text.byte(first) == UInt8(ascii: " ") { first += 1 }
            while last > first, text.byte(last - 1) == UInt8(ascii: " ") { last -= 1 }
            let takesOut = text.byte(first) == UInt8(ascii: "-") && first < last
            if takesOut { first += 1 }
            start = end + 1
            guard let place = place(of: text, first, last), place < 63 else {
                if keepsUnknown { continue }
                return nil
            }
            let bit: Int64 = 1 << Int64(place)
            bits = takesOut ? bits & ~bit : bits | bit
        }
        return bits & all
    }

    /// Is the whole text this word?
    private func says(_ word: StaticString, _ text: EnvironmentText, _ count: Int) -> Bool {
        var same = 0
        while same < count, same < word.utf8CodeUnitCount, text.byte(same) == word.byte(same) { same += 1 }
        return same == count && same == word.utf8CodeUnitCount
    }

    /// The place among `words` of the bytes `first ..< last` of `text`, counted from 0.
    private func place(of text: EnvironmentText, _ first: Int, _ last: Int) -> Int? {
        guard first < last else { return nil }
        var at = 0
        var place = 0
        while at < words.utf8CodeUnitCount {
            var same = 0
            while at + same < words.utf8CodeUnitCount, words.byte(at + same) != UInt8(ascii: " "),
                words.byte(at + same) == text.byte(first + same), first + same < last
            {
                same += 1
            }
            let wordEnds = words.byte(at + same) == UInt8(ascii: " ") || words.byte(at + same) == 0
            if wordEnds, first + same == last { return place }
            while at < words.utf8CodeUnitCount, words.byte(at) != UInt8(ascii: " ") { at += 1 }
            at += 1
            place += 1
        }
        return nil
    }
}
