import ArgumentParser
import Glibc

@main
struct Sluicebench: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "sluicebench",
        abstract: "Measures Sluice beside the kernel and what else a user could pick, in turns in one run, and compares with the acceptance figures.")

    @Flag(help: "Two to three minutes: fewer sizes, shorter and fewer rounds.")
    var quick = false
    @Option(help: ArgumentHelp("Also write all results to this file as JSON.", valueName: "file"))
    var json: String?
    @Option(help: ArgumentHelp("The preload library.", valueName: "file"))
    var library: String = ".build/lib/libsluice.so"
    @Option(help: ArgumentHelp("The program that is measured.", valueName: "file"))
    var peer: String?
    @Option(help: ArgumentHelp("Where redis, nginx, wrk and ab are unpacked (SLUICE_PROGRAMS).", valueName: "folder"))
    var programs: String?
    @Option(help: "Rounds of each contest.")
    var rounds: Int?
    @Option(help: ArgumentHelp("Only contests whose name begins with this; may be given several times.", valueName: "name"))
    var only: [String] = []
    @Flag(help: "Count every run, whatever other processes do.")
    var noFilter = false
    @Flag(help: "Show the names of the contests and end.")
    var list = false

    mutating func run() throws {
        let pace = quick ? Pace.quick : Pace.full
        let peer = Peer(path: self.peer ?? besideTool("bench-peer"), library: try absolute(library))
        let contests = all(peer, pace).filter { contest in only.isEmpty || only.contains { contest.id.hasPrefix($0) } }
        let goals = TransferGoals.all + RedisGoals.all + NginxGoals.all + LifecycleGoals.all
        if list {
            for contest in contests { print(contest.id) }
            return
        }
        guard !contests.isEmpty else { throw BenchError("no contest has such a name; --list shows them") }
        guard isExecutable(peer.path) else { throw BenchError("no program \(peer.path): build it first") }
        Interruption.watch()
        var arena = Arena(rounds: rounds ?? pace.rounds, limit: noFilter ? nil : 0.1)
        for contest in contests {
            try Interruption.check()
            try arena.hold(contest)
            print(table(contest, arena.results))
            fflush(nil)
        }
        print(table(goals, arena.results, complete: only.isEmpty))
        print(arena.summary)
        if let json { try write(Document(arena, contests, goals).text(), to: json) }
        if arena.results.haveFailures { throw ExitCode(1) }
    }

    private func all(_ peer: Peer, _ pace: Pace) -> [Contest] {
        let root = programs ?? getenv("SLUICE_PROGRAMS").map { String(cString: $0) } ?? ".build/programs"
        let real = Programs(root: (try? absolute(root)) ?? root, library: peer.library)
        return Transfers(peer: peer, pace: pace).contests + Lifecycles(peer: peer, pace: pace).contests + Redis(programs: real, pace: pace).contests
            + Nginx(programs: real, pace: pace).contests
    }

    /// The path with which other programs, started elsewhere, find the file.
    private func absolute(_ path: String) throws -> String {
        guard let full = realpath(path, nil) else { throw BenchError.system(path) }
        defer { free(full) }
        return String(cString: full)
    }

    /// A program in the tool's own folder.
    private func besideTool(_ name: String) -> String {
        var path = [CChar](repeating: 0, count: Int(PATH_MAX))
        let length = readlink("/proc/self/exe", &path, path.count - 1)
        let own = String(decoding: path.prefix(max(0, length)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
        return own.split(separator: "/", omittingEmptySubsequences: false).dropLast().joined(separator: "/") + "/" + name
    }
}

extension Arena {
    /// What was repeated and why.
    var summary: String {
        guard let limit else { return "\(counted) runs, all counted: the filter was off." }
        let share = Int(limit * 100)
        return "\(counted) runs counted; \(repeated) repeated because other processes used \(share) % of a processor or more (by \(source)); "
            + "\(givenUp) given up after \(repeats + 1) tries."
    }
}
