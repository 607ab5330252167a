import FoundationEssentials

/// Starts bench-peer and reads its result.
struct Peer {
    let path: String
    let library: String
    let cores: Cores

    /// The answer of bench-peer, as it prints it.
    struct Answer: Decodable {
        struct Side: Decodable {
            var cpu_ns: Double
            var rss_before, rss_after, pss_before, pss_after: Double?
        }
        var skipped: String?
        var error: String?
        var messages: Double?
        var sent: Double?
        var bytes: Double?
        var elapsed_ns: Double?
        var maximum_ns: Double?
        var server: Side?
        var client: Side?
        var cost_ns: Double?
        var histogram: [[Double]]?
    }

    /// Runs one pattern to its end. Blocks, at most for `limit` seconds.
    /// - Parameter settings: the environment of a run under Sluice; nil runs without it.
    func run(_ arguments: [String], settings: [String: String]?, limit: Int = 30) throws -> Outcome {
        var words = [path] + arguments + ["--limit", "\(limit * 1000)"]
        var environment = cleanEnvironment()
        if let settings {
            words += ["--preload", library]
            environment.merge(settings) { $1 }
        }
        var child = try Child(words, environment: environment)
        return try outcome(of: child.outcome(within: Double(limit) + 5).text)
    }

    /// The figures in an answer.
    func outcome(of text: String) throws -> Outcome {
        guard let answer = try? JSONDecoder().decode(Answer.self, from: Data(text.utf8)) else {
            throw BenchError("bench-peer answered: \(text.prefix(200))")
        }
        if let reason = answer.skipped { return .skipped(reason) }
        if let reason = answer.error { throw BenchError(reason) }
        guard let messages = answer.messages, let elapsed = answer.elapsed_ns, let server = answer.server,
            let client = answer.client, messages > 0 || (answer.sent ?? 0) > 0, elapsed > 0
        else { throw BenchError("bench-peer left out a figure: \(text.prefix(200))") }
        var sample = Sample(values: percentiles(answer.histogram ?? []))
        sample.values[.maximum] = answer.maximum_ns
        sample.values[.rate] = messages / elapsed * 1e9
        sample.values[.bytes] = (answer.bytes ?? 0) / elapsed * 1e9
        if messages > 0 { sample.values[.processor] = (server.cpu_ns + client.cpu_ns) / messages }
        sample.values[.loss] = answer.sent.map { 100 * (1 - messages / $0) }
        sample.values[.cost] = answer.cost_ns
        let (pss, rss) = (growth(\.pss_before, \.pss_after, server, client), growth(\.rss_before, \.rss_after, server, client))
        sample.values[.resident] = pss
        sample.values[.residentTwice] = rss
        return .measured(sample)
    }

    /// By how much the memory of both ends grew.
    private func growth(
        _ before: KeyPath<Answer.Side, Double?>, _ after: KeyPath<Answer.Side, Double?>, _ server: Answer.Side,
        _ client: Answer.Side
    ) -> Double? {
        guard let a = server[keyPath: before], let b = server[keyPath: after], let c = client[keyPath: before],
            let d = client[keyPath: after]
        else { return nil }
        return b - a + d - c
    }
}
