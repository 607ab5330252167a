import Settings

/// The rows of the settings, as a list.
struct SettingRows: SettingVisitor {
    private var seen: [SettingDefinition] = []

    mutating func visit(_ row: SettingDefinition) { seen.append(row) }

    /// Those with a place in a stack's header, in the order of the places.
    static var placed: [SettingDefinition] { (0..<Setting.count).compactMap { Setting(rawValue: $0)?.definition } }

    /// Those that do nothing here.
    static var others: [SettingDefinition] {
        var rows = SettingRows()
        OtherSettings.visit(&rows)
        return rows.seen
    }

    /// In the order of the manual: those that act, those that are accepted, those that do not apply.
    static var all: [SettingDefinition] {
        let rows = placed + others
        return [SettingStatus.acts, .accepted, .notApplicable].flatMap { status in rows.filter { $0.status == status } }
    }
}

extension SettingDefinition {
    /// A value as a user would write it.
    func written(_ value: Int64) -> String {
        if value == defaultValue, !"\(defaultText)".isEmpty { return "\(defaultText)" }
        let names = "\(words)".split(separator: " ").map(String.init)
        switch kind {
        case .flag, .number, .powerOfTwo: return "\(value)"
        case .word: return value >= 1 && value <= names.count ? names[Int(value) - 1] : "\(value)"
        case .list:
            let set = names.enumerated().filter { value >> Int64($0.offset) & 1 == 1 }.map { $0.element }
            return set.isEmpty ? "none" : set.joined(separator: ",")
        case .ports: return value == 1 ? "1 entry" : "\(value) entries"
        case .text: return "\(value) bytes"
        }
    }
}
