import Glibc

/// nginx with a file of 1 KB: kept connections by wrk, a connection per request by ab.
struct Nginx {
    let programs: Programs
    let pace: Pace

    var contests: [Contest] {
        [1, 50].map { clients in
            contest("nginx-keep-\(clients)", "nginx 1 KB, kept connections: \(clients)", [.rate, .median, .p99, .processor]) {
                settings in
                try keep(clients, settings)
            }
        } + [
            contest("nginx-churn", "nginx 1 KB, a connection per request, 10 at once", [.rate, .processor]) { settings in
                try churn(settings)
            }
        ]
    }

    private func contest(
        _ id: String, _ title: String, _ metrics: [Metric], _ run: @escaping ([String: String]?) throws -> Outcome
    ) -> Contest {
        Contest(
            id: id, title: title, metrics: metrics,
            contestants: [Contestant(name: "kernel") { try run(nil) }, Contestant(name: "sluice") { try run([:]) }],
            rounds: pace.programRounds)
    }

    /// One worker; its user is the client's, since ends of different users do not share memory.
    private func configuration(_ folder: Folder, _ port: UInt16) -> String {
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map { "\($0)_temp_path \(folder.path)/\($0);" }
            .joined(separator: " ")
        return """
            \(runsAsRoot ? "user root root;" : "")
            daemon off; worker_processes 1; pid \(folder.path)/pid; error_log \(folder.path)/errors crit;
            events { worker_connections 1024; }
            http {
                access_log off; sendfile on; keepalive_requests 1000000000; \(temporary)
                server { listen 127.0.0.1:\(port); root \(folder.path); }
            }

            """
    }

    private func serve(
        _ settings: [String: String]?, _ client: String, _ body: (Server, String) throws -> Outcome
    ) throws -> Outcome {
        guard let server = programs.path("nginx") else { return .skipped("nginx is not there: Scripts/setup brings it") }
        guard let tool = programs.path(client) else { return .skipped("\(client) is not there: Scripts/setup brings it") }
        return try Server.with(
            programs, settings,
            { folder, port in
                try write(String(repeating: "0123456789abcdef", count: 64), to: "\(folder.path)/file")
                try write(configuration(folder, port), to: "\(folder.path)/nginx.conf")
                return [server, "-p", folder.path, "-c", "\(folder.path)/nginx.conf", "-e", "\(folder.path)/errors"]
            }, { try body($0, tool) })
    }

    private func keep(_ clients: Int, _ settings: [String: String]?) throws -> Outcome {
        try serve(settings, "wrk") { server, tool in
            // wrk counts whole seconds.
            let seconds = pace.isQuick ? 1 : 2
            let command = [
                tool, "-t", "1", "-c", "\(clients)", "-d", "\(seconds)", "--latency", "http://127.0.0.1:\(server.port)/file",
            ]
            let measured = try server.measure(command, programs.environment(settings), within: 30)
            return .measured(try Self.wrk(measured.text, processor: measured.processor))
        }
    }

    private func churn(_ settings: [String: String]?) throws -> Outcome {
        try serve(settings, "ab") { server, tool in
            let count = pace.isQuick ? 5000 : 15000
            let command = [tool, "-q", "-n", "\(count)", "-c", "10", "http://127.0.0.1:\(server.port)/file"]
            let measured = try server.measure(command, programs.environment(settings), within: 60)
            return .measured(try Self.ab(measured.text, requests: count, processor: measured.processor))
        }
    }

    /// The figures that wrk prints.
    static func wrk(_ text: String, processor: Double) throws -> Sample {
        var sample = Sample()
        for line in text.split(separator: "\n") {
            let words = line.split(separator: " ")
            guard words.count >= 2 else { continue }
            if words[0] == "Requests/sec:" { sample.values[.rate] = Double(words[1]) }
            if words[0] == "50%" { sample.values[.median] = nanoseconds(words[1]) }
            if words[0] == "99%" { sample.values[.p99] = nanoseconds(words[1]) }
            if words[1] == "requests", words.count > 2, words[2] == "in", let count = Double(words[0]), count > 0 {
                sample.values[.processor] = processor / count
            }
            if words[0] == "Socket" || words[0] == "Non-2xx" { throw BenchError("wrk: \(line)") }
        }
        guard sample.values[.rate] != nil, sample.values[.processor] != nil else {
            throw BenchError("wrk answered: \(text.prefix(200))")
        }
        return sample
    }

    /// The figures that ab prints.
    static func ab(_ text: String, requests: Int, processor: Double) throws -> Sample {
        var sample = Sample()
        for line in text.split(separator: "\n") {
            let words = line.split(separator: " ")
            if line.hasPrefix("Requests per second:"), words.count > 3 { sample.values[.rate] = Double(words[3]) }
            if line.hasPrefix("Failed requests:"), words.last != "0" { throw BenchError("ab: \(line)") }
            if line.hasPrefix("Non-2xx responses:") { throw BenchError("ab: \(line)") }
        }
        guard sample.values[.rate] != nil else { throw BenchError("ab answered: \(text.prefix(200))") }
        sample.values[.processor] = processor / Double(requests)
        return sample
    }

    /// A time as wrk writes it: `63.00us`, `1.20ms`, `1.00s`.
    static func nanoseconds(_ word: some StringProtocol) -> Double? {
        for (unit, scale) in [("us", 1e3), ("ms", 1e6), ("s", 1e9)] where word.hasSuffix(unit) {
            if let value = Double(word.dropLast(unit.count)) { return value * scale }
        }
        return nil
    }
}

/// The acceptance figures with nginx.
enum NginxGoals {
    static var all: [Goal] {
        [
            quotient("nginx 1 KB, 50 kept connections: sluice / kernel", 3, "nginx-keep-50"),
            quotient("nginx 1 KB, one kept connection: sluice / kernel", 8, "nginx-keep-1"),
            quotient("nginx, connection per request: sluice / kernel", 0.95, "nginx-churn"),
        ]
    }

    private static func quotient(_ name: String, _ limit: Double, _ contest: String) -> Goal {
        .quotient(name, .atLeast(limit), .rate, Entry(contest, "sluice"), over: Entry(contest, "kernel"))
    }
}
