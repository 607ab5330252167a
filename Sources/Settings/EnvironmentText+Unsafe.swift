/// The value of a variable: a C string that is read byte by byte, never copied, and never beyond its end.
@safe struct EnvironmentText {
    /// The longest value that any setting needs; a longer one is bad.
    static var longest: Int { 255 }

    private let start: UnsafePointer<CChar>
    /// Bytes before the terminating zero; nil when there are more than `longest`.
    let count: Int?

    init(_ start: UnsafePointer<CChar>) {
        unsafe self.start = start
        var length = 0
        while unsafe start[length] != 0, length <= Self.longest { length += 1 }
        count = length > Self.longest ? nil : length
    }

    /// Asks `lookup` for the variable; nil when it is unset or empty.
    init?(_ name: StaticString, _ lookup: (UnsafePointer<CChar>) -> UnsafePointer<CChar>?) {
        let key = unsafe UnsafeRawPointer(name.utf8Start).assumingMemoryBound(to: CChar.self)
        guard let value = unsafe lookup(key), unsafe value[0] != 0 else { return nil }
        unsafe self.init(value)
    }

    /// The byte at `index`; 0 at the end and beyond.
    func byte(_ index: Int) -> UInt8 {
        guard let count, index >= 0, index < count else { return 0 }
        return unsafe UInt8(bitPattern: start[index])
    }
}

extension StaticString {
    /// The byte at `index`; 0 at the end and beyond.
    func byte(_ index: Int) -> UInt8 {
        index >= 0 && index < utf8CodeUnitCount ? unsafe utf8Start[index] : 0
    }
}
