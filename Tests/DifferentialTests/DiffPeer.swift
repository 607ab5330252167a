import Foundation

/// What the environment chooses: `SLUICE_LIB` (library), `DIFF_PEER` (program), `SLUICE_DIFF_CASES` (comma-separated
/// globs of group/name), `SLUICE_DIFF_MODES` (comma-separated: default, first, chaos:N, chaos:N-M), `SLUICE_DIFF_JOBS`.
enum Choice {
    static let environment = ProcessInfo.processInfo.environment
    static let packageRoot = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()

    static var preload: String {
        environment["SLUICE_LIB"] ?? packageRoot.appendingPathComponent(".build/lib/libsluice.so").path
    }

    /// SwiftPM puts executables beside the test bundle.
    static var peer: String {
        if let chosen = environment["DIFF_PEER"] { return chosen }
        let besideTests = URL(fileURLWithPath: CommandLine.arguments[0]).deletingLastPathComponent().appendingPathComponent(
            "diff-peer"
        ).path
        if FileManager.default.isExecutableFile(atPath: besideTests) { return besideTests }
        return packageRoot.appendingPathComponent(".build/debug/diff-peer").path
    }

    static var globs: [String] { list("SLUICE_DIFF_CASES", otherwise: []) }

    static var modes: [String] {
        list("SLUICE_DIFF_MODES", otherwise: ["default", "first"]).flatMap { mode -> [String] in
            let ends = mode.dropFirst("chaos:".count).split(separator: "-").compactMap { Int($0) }
            guard mode.hasPrefix("chaos:"), ends.count == 2, ends[0] <= ends[1] else { return [mode] }
            return (ends[0]...ends[1]).map { "chaos:\($0)" }
        }
    }

    static var jobs: [String] { environment["SLUICE_DIFF_JOBS"].map { ["--jobs", $0] } ?? [] }

    private static func list(_ name: String, otherwise: [String]) -> [String] {
        environment[name].map { $0.split(separator: ",").map(String.init) } ?? otherwise
    }
}

/// One failed run of a case: its first line names case, placement, mode and fault; the rest is the difference.
struct Fault {
    var headline: String
    var details: String
}

/// The output of one `diff-peer` command.
struct PeerOutput {
    var status: Int32
    var lines: [String]

    /// Runs diff-peer and waits until it ends, which its own time limit for each case ensures.
    init(_ arguments: [String]) throws {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: Choice.peer)
        process.arguments = arguments
        let pipe = Pipe()
        process.standardOutput = pipe
        process.standardInput = FileHandle.nullDevice
        try process.run()
        let data = pipe.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        status = process.terminationStatus
        lines = String(decoding: data, as: UTF8.self).split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
    }

    var faults: [Fault] {
        var found: [Fault] = []
        var inFault = false
        for line in lines {
            if line.hasPrefix("FAIL ") {
                found.append(Fault(headline: String(line.dropFirst("FAIL ".count)), details: ""))
                inFault = true
            } else if inFault, line.hasPrefix("    ") {
                found[found.count - 1].details += line + "\n"
            } else {
                inFault = false
            }
        }
        return found
    }

    /// The numbers of the last line, "N passed, N failed".
    var totals: (passed: Int, failed: Int)? {
        guard let words = lines.last(where: { $0.contains(" passed, ") })?.split(separator: " "), words.count == 4 else {
            return nil
        }
        guard let passed = Int(words[0]), let failed = Int(words[2]) else { return nil }
        return (passed, failed)
    }
}

/// The cases that the program has, by group.
struct CaseList {
    var groups: [String: [String]] = [:]

    init() throws {
        for line in try PeerOutput(["list"]).lines {
            let name = line.split(separator: " ").first.map(String.init) ?? ""
            guard let slash = name.firstIndex(of: "/") else { continue }
            groups[String(name[..<slash]), default: []].append(name)
        }
    }

    /// The groups in order, or none when the program could not be run.
    static let groupNames: [String] = ((try? CaseList())?.groups.keys.sorted()) ?? []
}
