import Glibc

/// PostgreSQL with pgbench's SELECT-only script: kernel, Sluice on both ends with nothing set, and the unix socket.
struct PostgreSQL {
    let programs: Programs
    let pace: Pace
    private let cluster: Cluster

    static let clients = [1, 50]

    init(programs: Programs, pace: Pace) {
        self.programs = programs
        self.pace = pace
        cluster = Cluster(programs)
    }

    var contests: [Contest] {
        Self.clients.map { clients in
            Contest(
                id: "pgbench-c\(clients)", title: "PostgreSQL, pgbench -S -c \(clients)", metrics: [.rate, .cost, .processor],
                contestants: [
                    Contestant(name: "kernel") { try run(clients, settings: nil, unix: false) },
                    Contestant(name: "sluice") { try run(clients, settings: [:], unix: false) },
                    Contestant(name: "unix") { try run(clients, settings: nil, unix: true) },
                ], rounds: pace.programRounds)
        }
    }

    private func run(_ clients: Int, settings: [String: String]?, unix: Bool) throws -> Outcome {
        if let missing = try cluster.make() { return .skipped(missing) }
        return try cluster.serve(settings) { server in
            // pgbench counts whole seconds.
            let seconds = pace.isQuick ? 2 : 3
            let command =
                cluster.client("pgbench", server, unix: unix) + ["-n", "-S", "-c", "\(clients)", "-T", "\(seconds)", "postgres"]
            let measured = try server.measure(command, programs.environment(settings), within: 60)
            return .measured(try Self.figures(measured.text, processor: measured.processor))
        }
    }

    /// The figures that pgbench prints: transactions a second, and the mean time of one.
    static func figures(_ text: String, processor: Double) throws -> Sample {
        var sample = Sample()
        for line in text.split(separator: "\n") {
            let words = line.split(separator: " ")
            if line.hasPrefix("tps = "), words.count > 2 { sample.values[.rate] = Double(words[2]) }
            if line.hasPrefix("latency average = "), words.count > 3 { sample.values[.cost] = Double(words[3]).map { $0 * 1e6 } }
            if line.hasPrefix("number of transactions actually processed: "), let count = words.last.flatMap({ Double($0) }),
                count > 0
            {
                sample.values[.processor] = processor / count
            }
            if line.hasPrefix("number of failed transactions: "), !line.contains(": 0 ") { throw BenchError("pgbench: \(line)") }
        }
        guard sample.values[.rate] != nil, sample.values[.processor] != nil else {
            throw BenchError("pgbench answered: \(text.suffix(400))")
        }
        return sample
    }
}

/// A database of its own, made when it is first asked for and removed with the tool. PostgreSQL refuses to run as root: there server and
/// client are nobody's.
private final class Cluster {
    private let programs: Programs
    private var folder: Folder?
    private var missing: String?

    init(_ programs: Programs) { self.programs = programs }

    deinit { folder?.remove() }

    private func path(_ name: String) -> String? { programs.path(name, in: "usr/lib/postgresql/15/bin") }

    private var user: [String] {
        runsAsRoot ? ["/usr/bin/setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--"] : []
    }

    /// - Returns: what is missing; nil when the database is there.
    func make() throws -> String? {
        if folder != nil || missing != nil { return missing }
        guard let tool = path("initdb"), path("postgres") != nil, path("pgbench") != nil, path("pg_isready") != nil else {
            missing = "PostgreSQL 15 is not there: Scripts/setup --servers brings it"
            return missing
        }
        if runsAsRoot, try !works(user + ["/usr/bin/test", "-x", tool, "-a", "-r", programs.library]) {
            missing = "PostgreSQL does not run as root, and \(tool) or \(programs.library) is out of reach for another user"
            return missing
        }
        let made = try Folder()
        do {
            if runsAsRoot, chown(made.path, 65534, 65534) != 0 { throw BenchError.system("chown") }
            var child = try Child(
                user + [tool, "-D", "\(made.path)/data", "-U", "bench", "-A", "trust", "--no-sync", "--locale=C"],
                environment: programs.environment(nil), loud: false)
            _ = try child.finish(within: 120)
            let settings = "listen_addresses = '127.0.0.1'\nunix_socket_directories = '\(made.path)'\nfsync = off\njit = off\n"
            try append(settings, to: "\(made.path)/data/postgresql.conf")
            folder = made
            try serve(nil) { server in
                var fill = try Child(
                    client("pgbench", server, unix: false) + ["-i", "-q", "-s", "10", "postgres"],
                    environment: programs.environment(nil), loud: false)
                _ = try fill.finish(within: 120)
            }
        } catch {
            folder = nil
            made.remove()
            throw error
        }
        return nil
    }

    func client(_ tool: String, _ server: Server, unix: Bool) -> [String] {
        user + [path(tool) ?? tool, "-h", unix ? folder?.path ?? "" : "127.0.0.1", "-p", "\(server.port)", "-U", "bench"]
    }

    /// The server on this database, until `body` has ended.
    func serve<Result>(_ settings: [String: String]?, _ body: (Server) throws -> Result) throws -> Result {
        guard let folder, let server = path("postgres") else { throw BenchError("no database") }
        return try Server.with(
            programs, settings, ready: { _ in .listener }, signal: SIGINT,
            { _, port in user + [server, "-D", "\(folder.path)/data", "-p", "\(port)"] },
            { running in
                // It listens before it answers.
                let end = monotonicNanoseconds() + 20_000_000_000
                while try !works(client("pg_isready", running, unix: false)) {
                    try Interruption.check()
                    guard monotonicNanoseconds() < end else { throw BenchError("PostgreSQL does not answer") }
                    usleep(10_000)
                }
                return try body(running)
            })
    }

    private func works(_ command: [String]) throws -> Bool {
        var child = try Child(command, environment: programs.environment(nil), loud: false)
        return try child.outcome(within: 20).status == 0
    }
}
