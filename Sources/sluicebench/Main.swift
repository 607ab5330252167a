import ArgumentParser
import Glibc

@main
struct Sluicebench: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "sluicebench",
        abstract:
            "Measures Sluice beside the kernel and what else a user could pick, in turns in one run, and compares with the acceptance figures."
    )

    @Flag(help: "A few minutes: fewer sizes, shorter and fewer rounds.")
    var quick = false
    @Flag(help: "Only the main results, those of picture and table: about eight minutes.")
    var main = false
    @Option(help: ArgumentHelp("Also write all results to this file as JSON.", valueName: "file"))
    var json: String?
    @Option(help: ArgumentHelp("Also draw the main results to this file, as SVG.", valueName: "file"))
    var svg: String?
    @Option(help: ArgumentHelp("Also write the main results to this file, as a table in Markdown.", valueName: "file"))
    var markdown: String?
    @Option(
        help: ArgumentHelp(
            "Measure nothing: draw the results that --json wrote to this file, or write their table.", valueName: "file"))
    var from: String?
    @Option(help: ArgumentHelp("The preload library.", valueName: "file"))
    var library: String?
    @Option(help: ArgumentHelp("The program that is measured.", valueName: "file"))
    var peer: String?
    @Option(help: ArgumentHelp("The sluicestat whose commands are timed.", valueName: "file"))
    var stat: String?
    @Option(
        help: ArgumentHelp(
            "Where the measured programs are unpacked; may be given several times (SLUICE_PROGRAMS, with colons).",
            valueName: "folder"))
    var programs: [String] = []
    @Option(help: "Rounds of each contest, in the place of their own numbers.")
    var rounds: Int?
    @Option(help: ArgumentHelp("Only contests whose name begins with this; may be given several times.", valueName: "name"))
    var only: [String] = []
    @Option(help: ArgumentHelp("Time for repeating runs that other processes disturbed.", valueName: "seconds"))
    var patience: Int?
    @Flag(help: "Count every run, whatever other processes do.")
    var noFilter = false
    @Flag(help: "Show the names of the contests and end.")
    var list = false

    func validate() throws {
        if from != nil && svg == nil && markdown == nil { throw ValidationError("--from wants --svg FILE or --markdown FILE") }
        if quick && main { throw ValidationError("--quick or --main, not both") }
    }

    mutating func run() throws {
        if let from { return try show(Document(file: from)) }
        let pace = quick ? Pace.quick : main ? .main : .full
        let cores = try Cores()
        let program = try self.peer ?? find("bench-peer", ["", "../lib/sluice/"])
        let peer = Peer(
            path: program, library: try absolute(library ?? find("libsluice.so", ["../lib/", "../lib/sluice/"])), cores: cores)
        let stat = try absolute(self.stat ?? find("sluicestat", [""]))
        let contests = all(peer, stat, pace).filter { contest in
            (only.isEmpty || only.contains { contest.id.hasPrefix($0) }) && (!main || Summary.contests.contains(contest.id))
        }
        let goals = allGoals
        if list {
            for contest in contests { print(contest.id) }
            return
        }
        guard !contests.isEmpty else { throw BenchError("no contest has such a name; --list shows them") }
        Interruption.watch()
        print(Document.Machine().line, "library \(peer.library)", separator: ", ")
        var arena = Arena(
            rounds: pace.rounds, limit: noFilter ? nil : 0.1, patienceSeconds: patience ?? pace.patienceSeconds)
        arena.allRounds = rounds
        for contest in contests {
            try Interruption.check()
            try arena.hold(contest)
            if contest.isShown { print(table(contest, arena.results)) }
            fflush(nil)
        }
        print(Lifecycles.callTable(contests, arena.results))
        print(table(goals, arena.results, complete: only.isEmpty && !main))
        print(arena.summary)
        let document = Document(arena, contests, goals)
        if let json { try write(document.text(), to: json) }
        try show(document)
        if arena.results.haveFailures { throw ExitCode(1) }
    }

    /// The picture and the table that were asked for.
    private func show(_ document: Document) throws {
        if let svg { try write(Picture(document).text, to: svg) }
        if let markdown { try write(Summary(document: document).markdown(), to: markdown) }
    }

    private func all(_ peer: Peer, _ stat: String, _ pace: Pace) -> [Contest] {
        let told = getenv("SLUICE_PROGRAMS").map { String(cString: $0).split(separator: ":").map(String.init) }
        let roots = programs.isEmpty ? told ?? ["programs", "servers"].map { "\(Self.folder)../\($0)" } : programs
        let real = Programs(roots: roots.map { (try? absolute($0)) ?? $0 }, library: peer.library, cores: peer.cores)
        return allContests(peer, real, stat: stat, pace)
    }

    /// The path with which other programs, started elsewhere, find the file.
    private func absolute(_ path: String) throws -> String {
        guard let full = realpath(path, nil) else { throw BenchError.system(path) }
        defer { free(full) }
        return String(cString: full)
    }

    /// A file of the project by its place, seen from the tool's own folder.
    private func find(_ name: String, _ folders: [String]) throws -> String {
        for folder in folders where access(Self.folder + folder + name, R_OK) == 0 { return Self.folder + folder + name }
        throw BenchError("no \(name) at \(Self.folder)\(folders[0]): build it first")
    }

    /// The tool's own folder, with a slash at the end.
    private static var folder: String {
        var path = [CChar](repeating: 0, count: Int(PATH_MAX))
        let length = readlink("/proc/self/exe", &path, path.count - 1)
        let own = String(decoding: path.prefix(max(0, length)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
        return String(own[...(own.lastIndex(of: "/") ?? own.startIndex)])
    }
}

extension Arena {
    /// What was repeated and why.
    var summary: String {
        guard let limit else { return "\(counted) runs, all counted: the filter was off." }
        let share = Int(limit * 100)
        return
            "\(counted) runs counted; \(disturbed) did not, because other processes used \(share) % of a processor or more (\(source)), and were "
            + "repeated; \(givenUp) were given up."
    }
}
