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

extension SettingDefinition {
    /// Is the variable set, and can its value be used? Nil: unset or empty. `lookup` as for `Settings.load`.
    public func isUsable(_ lookup: (UnsafePointer<CChar>) -> UnsafePointer<CChar>?) -> Bool? {
        unsafe EnvironmentText(name, lookup).map { parse($0) != nil }
    }
}

/// The name of a variable in the environment: the bytes of `NAME=value` before the first `=`.
@safe public struct EnvironmentName {
    private let start: UnsafePointer<CChar>
    public let count: Int

    /// The text must stay as it is while this is used.
    public init(of variable: UnsafePointer<CChar>) {
        unsafe start = variable
        var length = 0
        while unsafe variable[length] != 0 && UInt8(bitPattern: variable[length]) != UInt8(ascii: "=") { length += 1 }
        count = length
    }

    /// The byte at `index`; 0 at the end and beyond.
    public func byte(_ index: Int) -> UInt8 { index >= 0 && index < count ? unsafe UInt8(bitPattern: start[index]) : 0 }

    private func begins(_ text: StaticString) -> Bool {
        var at = 0
        while at < text.utf8CodeUnitCount, byte(at) == text.byte(at) { at += 1 }
        return at == text.utf8CodeUnitCount
    }

    public func equals(_ text: StaticString) -> Bool { count == text.utf8CodeUnitCount && begins(text) }

    /// Does it look like a variable of Onload's, and is none in the table of `Setting`? Those of ef_vi (`EF_VI_`) are not judged.
    public var isForeign: Bool {
        guard begins("EF_"), !begins("EF_VI_") else { return false }
        var place = 0
        while place < Setting.count {
            if let setting = Setting(rawValue: place), equals(setting.definition.name) { return false }
            place += 1
        }
        return true
    }
}
