import FoundationEssentials

/// Starts bench-peer and reads its result.
struct Peer {
    let path: String
    let library: String

    /// The answer of bench-peer, as it prints it.
    struct Answer: Decodable {
        struct Side: Decodable {
            var cpu_ns: Double
            var rss_before, rss_after, pss_before, pss_after: Double?
        }
        var skipped: String?
        var error: String?
        var messages: Double?
        var bytes: Double?
        var elapsed_ns: Double?
        var maximum_ns: Double?
        var server: Side?
        var client: Side?
        var histogram: [[Double]]?
    }

    /// Runs one pattern to its end. Blocks.
    /// - Parameter settings: the environment of a run under Sluice; nil runs without it.
    func run(_ arguments: [String], settings: [String: String]?) throws -> Outcome {
        var words = [path] + arguments
        var environment = cleanEnvironment()
        if let settings {
            words += ["--preload", library]
            environment.merge(settings) { $1 }
        }
        let limit = 30.0
        var child = try Child(words + (words.contains("--limit") ? [] : ["--limit", "\(Int(limit * 1000))"]), environment: environment)
        return try outcome(of: child.finish(within: max(limit, limitSeconds(in: words)) + 5))
    }

    private func limitSeconds(in words: [String]) -> Double {
        guard let at = words.firstIndex(of: "--limit"), at + 1 < words.count else { return 0 }
        return (Double(words[at + 1]) ?? 0) / 1000
    }

    /// The figures in an answer.
    func outcome(of text: String) throws -> Outcome {
        guard let answer = try? JSONDecoder().decode(Answer.self, from: Data(text.utf8)) else { throw BenchError("bench-peer answered: \(text.prefix(200))") }
        if let reason = answer.skipped { return .skipped(reason) }
        if let reason = answer.error { throw BenchError(reason) }
        guard let messages = answer.messages, let elapsed = answer.elapsed_ns, let server = answer.server, let client = answer.client, messages > 0, elapsed > 0
        else { throw BenchError("bench-peer left out a figure: \(text.prefix(200))") }
        var sample = Sample(values: percentiles(answer.histogram ?? []))
        sample.values[.maximum] = answer.maximum_ns
        sample.values[.rate] = messages / elapsed * 1e9
        sample.values[.bytes] = (answer.bytes ?? 0) / elapsed * 1e9
        sample.values[.processor] = (server.cpu_ns + client.cpu_ns) / messages
        sample.values[.cost] = elapsed / messages
        return .measured(sample)
    }
}
