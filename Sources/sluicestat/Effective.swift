import Settings

/// The settings of a process: those in force, and what its environment asks for in vain.
struct Effective {
    enum Origin: String {
        case `default`
        case environment
        /// The variable is set, and its value cannot be used.
        case bad
        /// It is not set; another one that is decides.
        case other
    }

    struct InForce {
        var row: SettingDefinition
        var value: Int64
        var origin: Origin
        /// The variable as it stood at the process's start, if it still stands there.
        var text: String?
    }

    struct InVain {
        var row: SettingDefinition
        var text: String
        var isUsable: Bool
    }

    var settings: [InForce]
    var others: [InVain]
    var unknown: [String]

    /// What a stack tells is in force; without one what `environment` would make so.
    init(_ header: StackHeader?, _ environment: [(name: String, text: String)]) {
        let texts = Dictionary(environment.map { ($0.name, $0.text) }, uniquingKeysWith: { first, _ in first })
        let loaded = Self.load(texts)
        let places = 0..<Setting.count
        let values = header?.settings ?? places.compactMap { Setting(rawValue: $0).map { loaded.value(of: $0) } }
        let given = header?.given ?? loaded.given
        let bad = header?.bad ?? loaded.bad
        settings = zip(places, zip(SettingRows.placed, values)).map { place, pair in
            let (row, value) = pair
            var origin = value == row.defaultValue ? Origin.default : .other
            if given >> UInt64(place) & 1 == 1 { origin = .environment }
            if bad >> UInt64(place) & 1 == 1 { origin = .bad }
            let isSet = origin == .environment || origin == .bad
            return InForce(row: row, value: value, origin: origin, text: isSet ? texts["\(row.name)"] : nil)
        }
        others = []
        unknown = []
        guard values.first != 0 else { return }  // EF_LOAD_ENV
        for row in SettingRows.others {
            guard let text = texts["\(row.name)"], let isUsable = Self.isUsable(row, text) else { continue }
            others.append(InVain(row: row, text: text, isUsable: isUsable))
        }
        let known = Set(SettingRows.others.map { "\($0.name)" })
        unknown = environment.map { $0.name }.filter { name in
            !known.contains(name) && name.withCString { EnvironmentName(of: $0).isForeign }
        }
    }
}
