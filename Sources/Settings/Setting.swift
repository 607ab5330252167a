/// The one table of settings: the parser (`Settings.load`), `sluicestat settings` and the manual are all made from it.
/// A case's raw value is its place in the table, and in `settings` of a stack's header: the numbers are fixed, new ones go
/// to the end. `load` reads in this order, so what overrides stands below what it overrides.
public enum Setting: Int, Sendable {
    case loadEnvironment = 0
    case dontAccelerate
    case tcp
    case udp
    case log
    case tcpClientLoopback
    case tcpServerLoopback
    case pollUsec
    case spinUsec
    case tcpRecvSpin
    case tcpSendSpin
    case selectSpin
    case pollSpin
    case epollSpin
    case tcpAcceptSpin
    case tcpConnectSpin
    case shareWith
    case receiveMode
    case laneAt
    case chaos
    case ringBytes
    case withFilters
    case tcpListenHandover
    case tcpConnectHandover
    case ports

    /// How many settings there are; their places are `0 ..< count`. At most 32 (room in a stack's header).
    public static var count: Int { 25 }

    /// EF_LOAD_ENV=0 ignores it.
    public var isOnload: Bool {
        switch self {
        case .loadEnvironment, .receiveMode, .laneAt, .chaos, .ringBytes, .withFilters, .ports: false
        default: true
        }
    }
}

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
}

/// What the value of a setting does in this version.
public enum SettingStatus: Sendable {
    case acts
    /// Read and checked, so that existing configurations go on working; without effect.
    case accepted
}

/// One row of the table.
public struct SettingDefinition: Sendable {
    /// Name of the environment variable.
    public let name: StaticString
    public let kind: SettingKind
    /// Unit of the value, or empty.
    public let unit: StaticString
    /// What holds when the variable is unset.
    public let defaultValue: Int64
    /// The default in words where the number does not tell it, or empty.
    public let defaultText: StaticString
    /// The range; both ends are allowed.
    public let minimum: Int64
    public let maximum: Int64
    /// For `.word` and `.list`: the words, separated by one space.
    public let words: StaticString
    public let doc: StaticString
    public let status: SettingStatus

    static func flag(_ name: StaticString, _ value: Int64, _ doc: StaticString, status: SettingStatus = .acts) -> Self {
        Self(
            name: name, kind: .flag, unit: "", defaultValue: value, defaultText: "", minimum: 0, maximum: 1, words: "",
            doc: doc, status: status)
    }

    static func spin(_ name: StaticString, _ doc: StaticString) -> Self {
        Self(
            name: name, kind: .flag, unit: "", defaultValue: Settings.adaptive,
            defaultText: "adaptive while no spin setting is given", minimum: 0, maximum: 1, words: "", doc: doc, status: .acts)
    }

    static func number(
        _ name: StaticString, _ value: Int64, _ range: ClosedRange<Int64>, _ doc: StaticString, unit: StaticString = "",
        text: StaticString = "", kind: SettingKind = .number
    ) -> Self {
        Self(
            name: name, kind: kind, unit: unit, defaultValue: value, defaultText: text, minimum: range.lowerBound,
            maximum: range.upperBound, words: "", doc: doc, status: .acts)
    }

    static func words(
        _ name: StaticString, _ kind: SettingKind, _ words: StaticString, text: StaticString, _ doc: StaticString
    ) -> Self {
        Self(
            name: name, kind: kind, unit: "", defaultValue: 0, defaultText: text, minimum: 0, maximum: 63, words: words,
            doc: doc, status: .acts)
    }
}
