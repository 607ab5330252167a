/// How the value of a setting is written.
public enum SettingKind: Sendable {
    /// 0 or 1.
    case flag
    /// A decimal number, or a hexadecimal one after 0x.
    case number
    /// A decimal number that is a power of two.
    case powerOfTwo
    /// One word of `words`; its value is its place there, counted from 1.
    case word
    /// Words of `words` separated by commas, `-` before a word takes it out, a number 0 (none) or 1 (all). Its value has
    /// bit n for word n, counted from 0.
    case list
    /// Ports and ranges of ports (`PortRules`). Its value is how many there are.
    case ports
    /// Any text of at most `maximum` bytes. Its value is how many there are.
    case text
}

/// What the value of a setting does in this version.
public enum SettingStatus: Sendable {
    case acts
    /// Read and checked, so that existing configurations go on working; without effect.
    case accepted
    /// What it sets does not exist in Sluice; `absence` says why.
    case notApplicable
}

/// One row of the table.
public struct SettingDefinition: Sendable {
    /// Name of the environment variable.
    public let name: StaticString
    public let kind: SettingKind
    /// What holds when the variable is unset.
    public let defaultValue: Int64
    /// The range; both ends are allowed.
    public let minimum: Int64
    public let maximum: Int64
    /// For `.word` and `.list`: the words, separated by one space.
    public let words: StaticString
    public let status: SettingStatus
    // The library prints none of these, and does not carry them.
    #if !hasFeature(Embedded)
        /// Unit of the value, or empty.
        public let unit: StaticString
        /// The default in words where the number does not tell it, or empty.
        public let defaultText: StaticString
        public let doc: StaticString
        /// For `.notApplicable`: why, in one sentence; else empty.
        public let absence: StaticString
    #endif

    @inline(__always) init(
        _ name: StaticString, _ kind: SettingKind, _ value: Int64, _ minimum: Int64, _ maximum: Int64, words: StaticString = "",
        unit: StaticString = "", text: StaticString = "", _ doc: StaticString, _ status: SettingStatus, why: StaticString = ""
    ) {
        self.name = name
        self.kind = kind
        self.defaultValue = value
        self.minimum = minimum
        self.maximum = maximum
        self.words = words
        self.status = why.utf8CodeUnitCount > 0 ? .notApplicable : status
        #if !hasFeature(Embedded)
            self.unit = unit
            self.defaultText = text
            self.doc = doc
            self.absence = why
        #endif
    }

    // The makers of rows. One with `why` is not applicable.

    @inline(__always) static func flag(
        _ name: StaticString, _ value: Int64, _ doc: StaticString, _ status: SettingStatus = .acts, why: StaticString = "",
        text: StaticString = ""
    ) -> Self {
        Self(name, .flag, value, 0, 1, text: text, doc, status, why: why)
    }

    @inline(__always) static func spin(_ name: StaticString, _ doc: StaticString) -> Self {
        Self(name, .flag, Settings.adaptive, 0, 1, text: "adaptive while no spin setting is given", doc, .acts)
    }

    @inline(__always) static func number(
        _ name: StaticString, _ value: Int64, _ range: ClosedRange<Int64>, _ doc: StaticString, _ status: SettingStatus = .acts,
        why: StaticString = "", unit: StaticString = "", text: StaticString = "", kind: SettingKind = .number
    ) -> Self {
        Self(name, kind, value, range.lowerBound, range.upperBound, unit: unit, text: text, doc, status, why: why)
    }

    @inline(__always) static func words(
        _ name: StaticString, _ kind: SettingKind, _ words: StaticString, text: StaticString, _ doc: StaticString,
        _ status: SettingStatus = .acts, why: StaticString = ""
    ) -> Self {
        Self(name, kind, 0, 0, 63, words: words, text: text, doc, status, why: why)
    }

    @inline(__always) static func text(
        _ name: StaticString, _ longest: Int64, _ doc: StaticString, _ status: SettingStatus = .acts, why: StaticString = "",
        text: StaticString = "unset"
    ) -> Self {
        Self(name, .text, 0, 0, longest, unit: "bytes", text: text, doc, status, why: why)
    }
}
