/// memcached with one worker and bench-peer as load client, one core each: kernel, Sluice on both ends with nothing set, and the unix socket.
///
/// The client is bench-peer's pattern `memcache`: the text protocol, an event loop, one question on its way per connection. The load client
/// that Debian has (memcslap) takes a thread for each connection, and tells no latencies.
struct Memcached {
    let programs: Programs
    let peer: Peer
    let pace: Pace

    static let clients = [1, 50]
    /// Bytes of the item that is asked for.
    static let size = 100

    var contests: [Contest] {
        Self.clients.map { clients in
            Contest(
                id: "memcached-c\(clients)", title: "memcached GET of \(Self.size) B, connections: \(clients)",
                metrics: [.rate, .median, .p99, .processor],
                contestants: [
                    Contestant(name: "kernel") { try run(clients, settings: nil, unix: false) },
                    Contestant(name: "sluice") { try run(clients, settings: [:], unix: false) },
                    Contestant(name: "unix") { try run(clients, settings: nil, unix: true) },
                ], rounds: pace.programRounds)
        }
    }

    private func run(_ clients: Int, settings: [String: String]?, unix: Bool) throws -> Outcome {
        guard let server = programs.path("memcached") else {
            return .skipped("memcached is not there: Scripts/setup --servers brings it")
        }
        return try Server.with(
            programs, settings, ready: { unix ? .file("\($0.path)/socket") : .listener },
            { folder, port in
                let place = unix ? ["-s", "\(folder.path)/socket"] : ["-l", "127.0.0.1", "-p", "\(port)"]
                return [server, "-U", "0", "-t", "1", "-m", "64"] + place + (runsAsRoot ? ["-u", "root"] : [])
            },
            { running in
                let place = unix ? ["--path", "\(running.folder.path)/socket"] : ["--port", "\(running.port)"]
                let words = [
                    "memcache", "--connections", "\(clients)", "--size", "\(Self.size)", "--server-pid", "\(running.child.pid)",
                    "--cores", "\(programs.cores.client),-", "--warmup", "100", "--run", pace.isQuick ? "300" : "1000",
                ]
                return try peer.run(words + place, settings: settings)
            })
    }
}

/// The acceptance figures with memcached.
enum MemcachedGoals {
    static var all: [Goal] {
        [
            quotient(50, .atLeast(5), "kernel"), quotient(1, .atLeast(12), "kernel"), quotient(50, .atLeast(1), "unix"),
            quotient(1, .atLeast(1), "unix"),
        ]
    }

    private static func quotient(_ clients: Int, _ bound: Goal.Bound, _ other: String) -> Goal {
        let contest = "memcached-c\(clients)"
        return .quotient(
            "memcached GET, connections: \(clients): sluice / \(other == "unix" ? "its unix socket" : other)", bound, .rate,
            Entry(contest, "sluice"), over: Entry(contest, other))
    }
}
