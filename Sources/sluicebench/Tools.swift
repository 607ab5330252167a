import FoundationEssentials

/// Programs that send datagrams: sockperf, iperf3 -u, dnsmasq with dnsperf; one core each, kernel and Sluice on both ends.
///
/// iperf3's server shares its port (SO_REUSEADDR), and dnsmasq asks for control messages (IP_PKTINFO): their datagrams go by the kernel
/// under Sluice too, and what their contests show is what that costs.
struct Tools {
    let programs: Programs
    let pace: Pace

    var contests: [Contest] { sockperf + iperf + dns }

    private func contest(
        _ id: String, _ title: String, _ metrics: [Metric], _ run: @escaping ([String: String]?) throws -> Outcome,
        sluice: [String: String] = [:]
    ) -> Contest {
        Contest(
            id: id, title: title, metrics: metrics,
            contestants: [Contestant(name: "kernel") { try run(nil) }, Contestant(name: "sluice") { try run(sluice) }],
            rounds: pace.programRounds)
    }

    /// The tools count whole seconds.
    private var seconds: String { pace.isQuick ? "1" : "2" }

    private func serve(
        _ name: String, _ client: String, _ settings: [String: String]?, _ ready: Server.Readiness,
        _ arguments: (String, Folder, UInt16) throws -> [String], _ body: (Server, String) throws -> Outcome
    ) throws -> Outcome {
        guard let server = programs.path(name), let tool = programs.path(client) else {
            return .skipped("\(name) or \(client) is not there: Scripts/setup --servers brings them")
        }
        return try Server.with(
            programs, settings, ready: { _ in ready }, { folder, port in try arguments(server, folder, port) },
            { try body($0, tool) })
    }

    private var sockperf: [Contest] {
        [
            contest(
                "sockperf-sleep-64", "sockperf ping-pong 64 B, blocking, half a round trip", [.median, .p99, .p999, .processor],
                { try sockperf([], $0) }),
            contest(
                "sockperf-spin-64", "sockperf ping-pong 64 B, non-blocking calls, half a round trip",
                [.median, .p99, .p999, .processor],
                { try sockperf(["--nonblocked"], $0) }),
        ]
    }

    private func sockperf(_ extra: [String], _ settings: [String: String]?) throws -> Outcome {
        try serve(
            "sockperf", "sockperf", settings, .bound,
            { server, _, port in [server, "sr", "-i", "127.0.0.1", "-p", "\(port)"] + extra },
            { server, tool in
                // It has room for as many messages as --mps lets it expect.
                let command =
                    [
                        tool, "ping-pong", "-m", "64", "-t", seconds, "--mps", "5000000", "-i", "127.0.0.1", "-p",
                        "\(server.port)",
                    ] + extra
                // Where others use the processors it may have nothing in its time, on the kernel too: it is asked again.
                var measured = try server.measure(command, programs.environment(settings), within: 60)
                for _ in 0..<3 where !measured.text.contains("percentile 50.000") {
                    measured = try server.measure(command, programs.environment(settings), within: 60)
                }
                return .measured(try Self.sockperf(measured.text, processor: measured.processor))
            })
    }

    /// The figures that sockperf prints.
    static func sockperf(_ text: String, processor: Double) throws -> Sample {
        var sample = Sample()
        for line in text.split(separator: "\n") {
            for (word, metric) in [("50.000", Metric.median), ("99.000", .p99), ("99.900", .p999)]
            where line.contains("percentile \(word) =") {
                sample.values[metric] = line.split(separator: " ").last.flatMap { Double($0) }.map { $0 * 1000 }
            }
            if line.contains("[Total Run]"), let count = number(after: "ReceivedMessages=", in: line), count > 0 {
                sample.values[.processor] = processor / count
            }
            if line.contains("# dropped messages ="), number(after: "dropped messages = ", in: line) != 0 {
                throw BenchError("sockperf: \(line)")
            }
        }
        guard sample.values[.median] != nil, sample.values[.processor] != nil else {
            throw BenchError("sockperf answered: \(text.suffix(400))")
        }
        return sample
    }

    private var iperf: [Contest] {
        [64, 1400, 65000].filter { !pace.isQuick || $0 == 1400 }.map { size in
            contest(
                "iperf3-\(size)", "iperf3 -u -l \(size) -b 0, received (by the kernel: shared port)",
                [.rate, .loss, .bytes, .processor],
                { try iperf(size, $0) })
        }
    }

    private func iperf(_ size: Int, _ settings: [String: String]?) throws -> Outcome {
        try serve(
            "iperf3", "iperf3", settings, .quietListener,
            { server, _, port in [server, "-s", "-B", "127.0.0.1", "-p", "\(port)"] },
            { server, tool in
                let command = [
                    tool, "-u", "-c", "127.0.0.1", "-p", "\(server.port)", "-t", seconds, "-l", "\(size)", "-b", "0", "-J",
                ]
                let measured = try server.measure(command, programs.environment(settings), within: 60)
                return .measured(try Self.iperf(measured.text, size: size, processor: measured.processor))
            })
    }

    /// The figures that iperf3 -J prints.
    static func iperf(_ text: String, size: Int, processor: Double) throws -> Sample {
        struct Report: Decodable {
            struct End: Decodable { let sum: Sum }
            struct Sum: Decodable { let packets, lost_packets, seconds: Double }
            let end: End
        }
        guard let sum = try? JSONDecoder().decode(Report.self, from: Data(text.utf8)).end.sum, sum.packets > 0, sum.seconds > 0
        else {
            throw BenchError("iperf3 answered: \(text.prefix(200))")
        }
        let received = sum.packets - sum.lost_packets
        var values: [Metric: Double] = [
            .rate: received / sum.seconds, .bytes: received * Double(size) / sum.seconds,
            .loss: 100 * sum.lost_packets / sum.packets,
        ]
        if received > 0 { values[.processor] = processor / received }
        return Sample(values: values)
    }

    private var dns: [Contest] {
        [20, 100].map { outstanding in
            contest(
                "dnsmasq-q\(outstanding)", "dnsmasq, dnsperf -q \(outstanding) (by the kernel: control messages)",
                [.rate, .cost, .processor], { try dns(outstanding, $0) })
        }
    }

    private func dns(_ outstanding: Int, _ settings: [String: String]?) throws -> Outcome {
        try serve(
            "dnsmasq", "dnsperf", settings, .listener,
            { server, folder, port in
                let hosts = (1...250).map { "host-record=h\($0).test,10.7.1.\($0)\n" }.joined()
                try write(hosts, to: "\(folder.path)/conf")
                try write((1...250).map { "h\($0).test A\n" }.joined(), to: "\(folder.path)/questions")
                let user = runsAsRoot ? ["-u", "root", "-g", "root"] : []
                return [
                    server, "-k", "-p", "\(port)", "-C", "\(folder.path)/conf", "--no-resolv", "--no-hosts", "-a", "127.0.0.1",
                    "-z",
                    "--pid-file=", "--log-facility=\(folder.path)/log",
                ] + user
            },
            { server, tool in
                let command = [
                    tool, "-s", "127.0.0.1", "-p", "\(server.port)", "-d", "\(server.folder.path)/questions", "-l", seconds,
                    "-q", "\(outstanding)",
                ]
                let measured = try server.measure(command, programs.environment(settings), within: 60)
                return .measured(try Self.dnsperf(measured.text, processor: measured.processor))
            })
    }

    /// The figures that dnsperf prints: answers a second, and the mean time of one.
    static func dnsperf(_ text: String, processor: Double) throws -> Sample {
        var sample = Sample()
        for line in text.split(separator: "\n") {
            let words = line.split(separator: " ")
            if line.contains("Queries per second:") { sample.values[.rate] = words.last.flatMap { Double($0) } }
            if line.contains("Average Latency (s):"), words.count > 3 { sample.values[.cost] = Double(words[3]).map { $0 * 1e9 } }
            if line.contains("Queries completed:"), words.count > 2, let count = Double(words[2]), count > 0 {
                sample.values[.processor] = processor / count
            }
            if line.contains("Queries lost:"), words.count > 2, words[2] != "0" { throw BenchError("dnsperf: \(line)") }
        }
        guard sample.values[.rate] != nil, sample.values[.processor] != nil else {
            throw BenchError("dnsperf answered: \(text.prefix(200))")
        }
        return sample
    }
}

/// The number that follows some words.
private func number(after words: String, in line: some StringProtocol) -> Double? {
    guard let place = line.range(of: words) else { return nil }
    return Double(line[place.upperBound...].prefix { $0.isNumber || $0 == "." })
}
