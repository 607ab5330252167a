/// redis-server and redis-benchmark, one core each: kernel, Sluice on both ends with nothing set, and the unix socket.
struct Redis {
    let programs: Programs
    let pace: Pace

    struct Load: Hashable {
        let operation: String
        let clients: Int
        let pipeline: Int
        var id: String { "redis-\(operation)-c\(clients)-p\(pipeline)" }
    }

    static let loads = ["get", "set"].flatMap { operation in
        [(1, 1), (50, 1), (1, 16), (50, 16)].map { Load(operation: operation, clients: $0.0, pipeline: $0.1) }
    }

    var contests: [Contest] {
        Self.loads.filter { !pace.isQuick || $0.operation == "get" || ($0.clients == 50 && $0.pipeline == 1) }.map { load in
            Contest(
                id: load.id, title: "redis \(load.operation.uppercased()) -c \(load.clients) -P \(load.pipeline)",
                metrics: [.rate, .median, .p99, .processor],
                contestants: [
                    Contestant(name: "kernel") { try run(load, settings: nil, unix: false) },
                    Contestant(name: "sluice") { try run(load, settings: [:], unix: false) },
                    Contestant(name: "unix") { try run(load, settings: nil, unix: true) },
                ], rounds: pace.programRounds)
        }
    }

    private func run(_ load: Load, settings: [String: String]?, unix: Bool) throws -> Outcome {
        guard let server = programs.path("redis-server"), let client = programs.path("redis-benchmark") else {
            return .skipped("redis-server and redis-benchmark are not there: Scripts/setup brings them")
        }
        return try Server.with(
            programs, settings,
            { folder, port in
                [
                    server, "--port", "\(port)", "--bind", "127.0.0.1", "--unixsocket", "\(folder.path)/socket", "--save", "",
                    "--appendonly", "no",
                    "--daemonize", "no", "--dir", folder.path,
                ]
            },
            { running in
                let place = unix ? ["-s", "\(running.folder.path)/socket"] : ["-h", "127.0.0.1", "-p", "\(running.port)"]
                let environment = programs.environment(settings)
                func command(_ operation: String, _ count: Int) -> [String] {
                    [client] + place + [
                        "-t", operation, "-c", "\(load.clients)", "-P", "\(load.pipeline)", "-n", "\(count)", "--csv",
                    ]
                }
                func one(_ count: Int) throws -> ((text: String, processor: Double), (rate: Double, median: Double, p99: Double))
                {
                    let measured = try running.measure(command(load.operation, count), environment, within: 60)
                    return (measured, try Self.line(of: load.operation, in: measured.text))
                }
                // The first run puts the key there. The measured one is repeated with more requests until it takes half of the
                // wanted time: in a short one the connections' begin would be what is measured.
                var count = 2000 * load.pipeline
                _ = try running.measure(command("set", count), environment, within: 30)
                let wanted = pace.isQuick ? 0.4 : 1.0
                var (measured, line) = try one(count)
                while Double(count) / line.rate < wanted / 2 && count < 20_000_000 {
                    count = min(20_000_000, Int(line.rate * wanted) + count)
                    (measured, line) = try one(count)
                }
                return .measured(
                    Sample(values: [
                        .rate: line.rate, .median: line.median * 1e6, .p99: line.p99 * 1e6,
                        .processor: measured.processor / Double(count),
                    ]))
            })
    }

    /// The line of one test in the CSV output: requests a second, median and p99 in milliseconds.
    static func line(of operation: String, in text: String) throws -> (rate: Double, median: Double, p99: Double) {
        for line in text.split(separator: "\n") {
            let words = line.split(separator: ",").map { $0.filter { $0 != "\"" } }
            guard words.count >= 7, words[0].lowercased() == operation else { continue }
            if let rate = Double(words[1]), let median = Double(words[4]), let p99 = Double(words[6]) {
                return (rate, median, p99)
            }
        }
        throw BenchError("redis-benchmark has no line for \(operation): \(text.prefix(200))")
    }
}

/// The acceptance figures with redis.
enum RedisGoals {
    static var all: [Goal] {
        func pair(_ clients: Int, _ pipeline: Int, _ name: String) -> Entry { Entry("redis-get-c\(clients)-p\(pipeline)", name) }
        var list: [Goal] = [
            .quotient(
                "redis GET -c 50 -P 1: sluice / kernel", .atLeast(8), .rate, pair(50, 1, "sluice"), over: pair(50, 1, "kernel")),
            .quotient(
                "redis GET -c 1 -P 1: sluice / kernel", .atLeast(15), .rate, pair(1, 1, "sluice"), over: pair(1, 1, "kernel")),
            .quotient(
                "redis GET -c 50 -P 16: sluice / its unix socket", .atLeast(1.15), .rate, pair(50, 16, "sluice"),
                over: pair(50, 16, "unix")),
        ]
        for load in Redis.loads {
            let limit = load.clients == 50 && load.pipeline == 1 ? 0.25 : 1
            list.append(
                .quotient(
                    "redis \(load.operation.uppercased()) -c \(load.clients) -P \(load.pipeline): CPU per request, sluice / kernel",
                    .atMost(limit), .processor,
                    Entry(load.id, "sluice"), over: Entry(load.id, "kernel")))
        }
        return list
    }
}
