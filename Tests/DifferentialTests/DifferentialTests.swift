import Foundation
import Testing

/// The same program with and without the library must write the same transcript. `Tests/diff-peer` holds the cases and
/// compares; these tests run it and turn its findings into issues.
@Suite(.serialized) struct DifferentialTests {
    /// One suite run; every fault becomes an issue that names the case and shows the difference.
    private func run(_ arguments: [String]) throws {
        let output = try PeerOutput(["suite"] + Choice.jobs + arguments)
        for fault in output.faults {
            if try failsAgain(fault, arguments) {
                Issue.record("\(fault.headline)\n\(fault.details)")
            } else {
                print("seen once: \(fault.headline)")
            }
        }
        let totals = try #require(output.totals, "diff-peer gave no totals: \(output.lines.suffix(3))")
        #expect(totals.failed == output.faults.count)
        #expect(totals.passed > 0 || !output.faults.isEmpty, "no case was run")
    }

    /// A faulty case is run five times more. One that then passes each time met a limit of its own on a busy machine; what
    /// hung is never excused.
    private func failsAgain(_ fault: Fault, _ arguments: [String]) throws -> Bool {
        if fault.headline.hasSuffix("hung") { return true }
        guard let name = fault.headline.split(separator: " ").first(where: { $0.contains("/") }) else { return true }
        let options = arguments.filter { !$0.contains("/") || $0.hasPrefix("/") }
        for _ in 1...5 {
            let again = try PeerOutput(["suite"] + options + [String(name)])
            if !again.faults.isEmpty || again.totals == nil { return true }
        }
        return false
    }

    private func requireLibrary() throws {
        try #require(
            FileManager.default.isReadableFile(atPath: Choice.preload),
            "no library at \(Choice.preload): build it or set SLUICE_LIB")
    }

    private var modeArguments: [String] { Choice.modes.flatMap { ["--mode", $0] } }

    @Test func thereAreEnoughCases() throws {
        let groups = try CaseList().groups
        #expect(groups.values.map(\.count).reduce(0, +) >= 200)
        for group in ["blocking", "nonblocking", "threads", "fork", "addresses", "options", "ends", "errors", "readiness"] {
            #expect((groups[group]?.count ?? 0) >= 8, "group \(group)")
        }
        #expect(groups.filter { $0.key.hasPrefix("datagram_") }.values.map(\.count).reduce(0, +) >= 80)
    }

    /// A case whose transcript differs from one run on the plain kernel to the next would prove nothing.
    @Test func plainKernelRepeatsItself() throws {
        try run(["--repeat", "1"] + Choice.globs)
    }

    /// Group by group, or the cases that were chosen.
    @Test(arguments: Choice.globs.isEmpty ? CaseList.groupNames.map { "\($0)/*" } : Choice.globs)
    func transcriptsEqualThePlainKernels(cases: String) throws {
        try requireLibrary()
        try run(["--preload", Choice.preload] + modeArguments + [cases])
    }

    /// With 64 descriptors, soft and hard limit.
    @Test func withFewDescriptors() throws {
        try requireLibrary()
        try run(["--preload", Choice.preload, "--limits", "nofile"] + Choice.globs)
    }

    /// All memory locked (which only decides how memory is had: both ends accelerated alone); a user without any right or
    /// writable directory.
    @Test(.enabled(if: geteuid() == 0, "only root may lock all memory and change its uid"), arguments: ["mlock", "nobody"])
    func underLimits(limit: String) throws {
        try requireLibrary()
        try run(
            ["--preload", Choice.preload, "--limits", limit] + (limit == "mlock" ? ["--placements", "both"] : []) + Choice.globs)
    }
}
