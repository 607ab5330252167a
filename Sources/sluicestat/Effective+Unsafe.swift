import Settings

extension Effective {
    /// What the library would make of these variables.
    static func load(_ texts: [String: String]) -> Settings {
        var settings = Settings()
        let values = texts.mapValues { Array($0.utf8CString) }
        settings.load { name in
            // The arrays live until `load` has returned, and nothing changes them.
            values[String(cString: name)]?.withUnsafeBufferPointer { $0.baseAddress }
        }
        withExtendedLifetime(values) {}
        return settings
    }

    /// Nil: empty, which counts as unset.
    static func isUsable(_ row: SettingDefinition, _ text: String) -> Bool? {
        text.withCString { value in row.isUsable { _ in value } }
    }
}
