import ArgumentParser
import Glibc

@main
struct Sluicebench: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "sluicebench",
        abstract:
            "Measures Sluice beside the kernel and what else a user could pick, in turns in one run, and compares with the acceptance figures."
    )

    @Flag(help: "Two to three minutes: fewer sizes, shorter and fewer rounds.")
    var quick = false
    @Option(help: ArgumentHelp("Also write all results to this file as JSON.", valueName: "file"))
    var json: String?
    @Option(help: ArgumentHelp("Also draw the main results to this file, as SVG.", valueName: "file"))
    var svg: String?
    @Option(help: ArgumentHelp("Measure nothing: draw the results that --json wrote to this file.", valueName: "file"))
    var from: String?
    @Option(help: ArgumentHelp("The preload library.", valueName: "file"))
    var library: String?
    @Option(help: ArgumentHelp("The program that is measured.", valueName: "file"))
    var peer: String?
    @Option(help: ArgumentHelp("The sluicestat whose commands are timed.", valueName: "file"))
    var stat: String?
    @Option(help: ArgumentHelp("Where redis, nginx, wrk and ab are unpacked (SLUICE_PROGRAMS).", valueName: "folder"))
    var programs: String?
    @Option(help: "Rounds of each contest.")
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
        if from != nil && svg == nil { throw ValidationError("--from wants --svg FILE") }
    }

    mutating func run() throws {
        if let from, let svg { return try write(Picture(Document(file: from)).text, to: svg) }
        let pace = quick ? Pace.quick : Pace.full
        let cores = try Cores()
        let program = try self.peer ?? find("bench-peer", ["", "../lib/sluice/"])
        let peer = Peer(
            path: program, library: try absolute(library ?? find("libsluice.so", ["../lib/", "../lib/sluice/"])), cores: cores)
        let stat = try absolute(self.stat ?? find("sluicestat", [""]))
        let contests = (all(peer, pace) + Observers(peer: peer, pace: pace, stat: stat).contests).filter { contest in
            only.isEmpty || only.contains { contest.id.hasPrefix($0) }
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
            rounds: rounds ?? pace.rounds, limit: noFilter ? nil : 0.1, patienceSeconds: patience ?? pace.patienceSeconds)
        for contest in contests {
            try Interruption.check()
            try arena.hold(contest)
            if contest.isShown { print(table(contest, arena.results)) }
            fflush(nil)
        }
        print(Lifecycles.callTable(contests, arena.results))
        print(table(goals, arena.results, complete: only.isEmpty))
        print(arena.summary)
        let document = Document(arena, contests, goals)
        if let json { try write(document.text(), to: json) }
        if let svg { try write(Picture(document).text, to: svg) }
        if arena.results.haveFailures { throw ExitCode(1) }
    }

    private func all(_ peer: Peer, _ pace: Pace) -> [Contest] {
        let root = programs ?? getenv("SLUICE_PROGRAMS").map { String(cString: $0) } ?? Self.folder + "../programs"
        let real = Programs(root: (try? absolute(root)) ?? root, library: peer.library, cores: peer.cores)
        return Transfers(peer: peer, pace: pace).contests + Lifecycles(peer: peer, pace: pace).contests
            + Redis(programs: real, pace: pace).contests
            + Nginx(programs: real, pace: pace).contests
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
