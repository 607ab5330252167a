import ArgumentParser
import Settings

struct Env: ParsableCommand {
    static var configuration: CommandConfiguration {
        CommandConfiguration(
            commandName: "env",
            abstract: "Shows the settings of a running process, and where each comes from.",
            discussion: """
                Without --all only those that are not at their default. What is in force is what the process read at its \
                start; below stand variables of Onload's that do nothing here, and EF_ variables that nobody knows.
                """)
    }

    @Argument(help: ArgumentHelp("A process.", valueName: "PID"))
    var process: Int32

    @Flag(name: .shortAndLong, help: "Also shows settings at their default.")
    var all = false

    @Flag(help: jsonHelp)
    var json = false

    func validate() throws {
        guard process > 0 else { throw ValidationError("'\(process)' is no process.") }
    }

    func run() throws {
        let record = ProcessRecord.found(process)
        let survey = StackSurvey([record])
        survey.warnOfBadStacks()
        // Those that a fork child has from its parent tell the same: it has its settings too.
        let stacks = survey.stacks.map { $0.record.header }
        let header = stacks.first { $0.processID == UInt32(process) } ?? stacks.first
        if header == nil && (!survey.badStacks.isEmpty || !record.hasLoadedSluice) { try record.failWithoutStack(survey) }
        let effective = Effective(header, record.environment)
        if json {
            print(JSONReport.text(JSONReport.Environment(record, effective, hasStack: header != nil)))
        } else {
            show(effective, record, hasStack: header != nil)
        }
    }

    private func show(_ effective: Effective, _ record: ProcessRecord, hasStack: Bool) {
        let source = hasStack ? "" : ", which has no stack yet: by its environment"
        print("Process \(record.id) (\(record.command))\(source)")
        let shown = effective.settings.filter { all || $0.origin != .default }
        var table = PlainTable(titles: ["Variable", "Value", "Origin"])
        table.rows = shown.map { setting in
            let isFreeText = setting.row.kind == .ports || setting.row.kind == .text
            let text = isFreeText && setting.origin == .environment ? setting.text.map { printable($0.utf8) } : nil
            let value = text ?? setting.row.written(setting.value)
            let unit = text == nil && Int64(value) != nil && !"\(setting.row.unit)".isEmpty ? " \(setting.row.unit)" : ""
            return ["\(setting.row.name)", value + unit, origin(setting)]
        }
        print(shown.isEmpty ? "All settings are at their default." : table.text, terminator: shown.isEmpty ? "\n" : "")
        for status in [SettingStatus.accepted, .notApplicable] {
            let rows = effective.others.filter { $0.row.status == status }
            guard !rows.isEmpty else { continue }
            print(status == .accepted ? "\nAccepted, without effect:" : "\nNot applicable:")
            for row in rows {
                let flaw = row.isUsable ? "" : " (its value cannot be used)"
                let sentence = status == .accepted ? "\(row.row.doc)" : "\(row.row.absence)"
                print("  \(row.row.name)=\(printable(row.text.utf8))\(flaw): \(sentence)")
            }
        }
        if !effective.unknown.isEmpty {
            print("\nNot known: \(effective.unknown.map { printable($0.utf8) }.joined(separator: ", "))")
        }
    }

    private func origin(_ setting: Effective.InForce) -> String {
        switch setting.origin {
        case .default: "default"
        case .environment: "environment"
        case .other: "other settings"
        case .bad: "environment, cannot be used" + (setting.text.map { ": " + printable($0.utf8) } ?? "")
        }
    }
}

extension JSONReport {
    struct Environment: Encodable {
        struct InForce: Encodable {
            var name: String
            var value: SettingValue
            var written: String
            var unit: String?
            var origin: String
            var text: String?
        }

        struct InVain: Encodable {
            var name: String
            var text: String
            var status: String
            var isUsable: Bool
        }

        var version = 1
        var pid: Int32
        var command: String
        var commandLine: String
        var source: String
        var settings: [InForce]
        var inVain: [InVain]
        var unknown: [String]

        init(_ record: ProcessRecord, _ effective: Effective, hasStack: Bool) {
            pid = record.id
            command = record.command
            commandLine = record.commandLine
            source = hasStack ? "stack" : "environment"
            settings = zip(0..., effective.settings).compactMap { place, setting in
                guard let known = Setting(rawValue: place) else { return nil }
                return InForce(
                    name: "\(setting.row.name)", value: SettingValue(known, setting.value),
                    written: setting.row.written(setting.value),
                    unit: "\(setting.row.unit)".isEmpty ? nil : "\(setting.row.unit)",
                    origin: setting.origin.rawValue, text: setting.text)
            }
            inVain = effective.others.map {
                InVain(
                    name: "\($0.row.name)", text: $0.text, status: $0.row.status.word,
                    isUsable: $0.isUsable)
            }
            unknown = effective.unknown
        }
    }
}
