import ArgumentParser
import Counters
import Settings

/// The tables that the parser, the tools and the manual are made from.
enum TableName: String, ExpressibleByArgument, CaseIterable {
    case settings
    case reasons
    case counters
}

struct Tables: ParsableCommand {
    static var configuration: CommandConfiguration {
        CommandConfiguration(
            commandName: "tables",
            abstract: "Prints the tables of settings, reasons or counters.",
            discussion: "With --roff: as a page of section 7 of the manual, `sluicestat tables settings --roff | man -l -`.")
    }

    @Argument(help: "settings, reasons or counters.")
    var table: TableName

    @Flag(help: "Writes a manual page.")
    var roff = false

    @Flag(help: jsonHelp)
    var json = false

    func validate() throws {
        if roff && json { throw ValidationError("Only one of --roff and --json.") }
    }

    func run() throws {
        if json {
            print(JSONReport.text(report))
            return
        }
        switch table {
        case .settings: show("environment variables", Self.settings)
        case .reasons: show("why a socket is not accelerated", Self.reasons)
        case .counters: show("what is counted", Self.counters)
        }
    }

    private var report: JSONReport.Tables {
        switch table {
        case .settings:
            JSONReport.Tables(
                settings: SettingRows.all.map { JSONReport.SettingRow($0) })
        case .reasons: JSONReport.Tables(reasons: (0..<Reason.count).map { JSONReport.ReasonNote($0) })
        case .counters: JSONReport.Tables(counters: CounterText.all)
        }
    }

    private func show(_ what: String, _ entries: [Entry]) {
        print(roff ? Self.page(table.rawValue, what, entries) : Self.text(entries))
    }

    /// One entry: its title, the facts beside it, and the paragraph below.
    struct Entry {
        var title: String
        /// The section of the manual that it stands in.
        var section = "DESCRIPTION"
        var facts: String
        var paragraph: String
    }

    static var settings: [Entry] { SettingRows.all.map { entry($0) } }

    private static func entry(_ row: SettingDefinition) -> Entry {
        var facts: [String] = []
        switch row.kind {
        case .flag: facts.append("0 or 1")
        case .ports: facts.append("up to \(row.maximum) ports and ranges")
        case .number: facts.append(row.maximum == Int64.max ? "from \(row.minimum)" : "\(row.minimum) to \(row.maximum)")
        case .powerOfTwo: facts.append("power of two, \(row.minimum) to \(row.maximum)")
        case .word: facts.append("one of: " + "\(row.words)".split(separator: " ").joined(separator: ", "))
        case .text: facts.append("text of at most \(row.maximum)")
        case .list: facts.append("list of: " + "\(row.words)".split(separator: " ").joined(separator: ", "))
        }
        if !"\(row.unit)".isEmpty { facts[0] += " \(row.unit)" }
        facts.append("default " + ("\(row.defaultText)".isEmpty ? String(row.defaultValue) : "\(row.defaultText)"))
        switch row.status {
        case .acts: break
        case .accepted: facts.append("accepted, without effect")
        case .notApplicable: facts.append("not applicable")
        }
        let paragraph = "\(row.absence)".isEmpty ? "\(row.doc)" : "\(row.doc) \(row.absence)"
        return Entry(
            title: "\(row.name)", section: section(row.status), facts: facts.joined(separator: "; "), paragraph: paragraph)
    }

    private static func section(_ status: SettingStatus) -> String {
        switch status {
        case .acts: "VARIABLES"
        case .accepted: "ACCEPTED, WITHOUT EFFECT"
        case .notApplicable: "NOT APPLICABLE"
        }
    }

    /// What stands in front of the entries in the manual.
    private static func introduction(_ name: String) -> [String] {
        guard name == "settings" else { return [] }
        return [
            ".SH DESCRIPTION",
            "A program under Sluice reads these variables once, at its start; one that gains privilege (set\\-uid, file capabilities) reads none.",
            "They come from the environment, or from a profile of",
            ".BR sluice (1).",
            ".PP",
            "A variable that is empty counts as unset. Numbers are decimal, or hexadecimal after 0x. A value that cannot be used, since it is",
            "malformed or out of range, leaves the default in force, where the table does not say otherwise.",
            ".B EF_LOG=config_warnings",
            "tells of such values and of names that nobody knows,",
            ".B more_config_warnings",
            "of variables that do nothing here.",
            ".B sluicestat env",
            ".I PID",
            "shows what is in force in a running process.",
            ".PP",
            "The names are those of Onload, where it has one. Of its other variables the values are checked and the defaults are Onload's:",
            "those that are accepted have no effect here so far, or change nothing; the others set what Sluice does not have.",
        ]
    }

    static var reasons: [Entry] {
        (0..<Reason.count).compactMap { number in
            Reason(number).text.map {
                Entry(title: "\($0.name)", facts: "\(number)", paragraph: "\($0.sentence) \($0.action)")
            }
        }
    }

    static var counters: [Entry] {
        (CounterText.ofSockets + CounterText.ofProcesses).map {
            Entry(title: $0.name, facts: "per \($0.per.rawValue), in \($0.unit)", paragraph: $0.description)
        }
    }

    private static func text(_ entries: [Entry]) -> String {
        entries.map { "\($0.title) (\($0.facts))\n    \($0.paragraph)" }.joined(separator: "\n")
    }

    private static func page(_ name: String, _ what: String, _ entries: [Entry]) -> String {
        var lines = [
            ".\\\" Made by `sluicestat tables \(name) --roff`; do not edit.", ".TH SLUICE-\(name.uppercased()) 7",
            ".SH NAME", "sluice\\-\(name) \\- \(what)",
        ]
        lines += introduction(name)
        var section = ""
        for entry in entries {
            if entry.section != section { lines.append(".SH \(entry.section)") }
            section = entry.section
            lines += [".TP", ".BR \(escaped(entry.title)) \" (\(escaped(entry.facts)))\"", escaped(entry.paragraph)]
        }
        lines += [".SH SEE ALSO", ".BR sluice (1),", ".BR sluicestat (1)"]
        return lines.joined(separator: "\n")
    }

    private static func escaped(_ text: String) -> String {
        var result = ""
        for character in text {
            switch character {
            case "\\": result += "\\e"
            case "-": result += "\\-"
            case "\"": result += "\\(dq"
            default: result.append(character)
            }
        }
        return result.hasPrefix(".") || result.hasPrefix("'") ? "\\&" + result : result
    }
}
