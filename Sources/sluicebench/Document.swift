import FoundationEssentials
import Glibc

/// The JSON form of the results.
struct Document: Codable {
    struct Machine: Codable {
        let kernel: String
        let processor: String
        let processors: Int

        init() {
            let model = (contents(of: "/proc/cpuinfo") ?? "").split(separator: "\n").first { $0.hasPrefix("model name") }
            kernel = (contents(of: "/proc/sys/kernel/osrelease") ?? "").prefix { $0.isNumber || $0 == "." }.description
            processor = model?.split(separator: ":").last.map { String($0.drop { $0 == " " }) } ?? ""
            processors = sysconf(Int32(_SC_NPROCESSORS_ONLN))
        }

        var line: String { "Linux \(kernel), \(processors) x \(processor)" }
    }
    struct Line: Codable {
        let contest: String
        let contestant: String
        /// Medians over the rounds; times in nanoseconds.
        let values: [String: Double]
        let rounds: Int
        let disturbed: Int
        let skipped: String?
    }
    struct Figure: Codable {
        let name: String
        let goal: String
        let measured: Double?
        let unit: String
        let verdict: String
        let rounds: Int
    }
    let machine: Machine
    let counted: Int
    let disturbed: Int
    let givenUp: Int
    let filter: Double?
    let results: [Line]
    let figures: [Figure]

    init(_ arena: Arena, _ contests: [Contest], _ goals: [Goal]) {
        machine = Machine()
        counted = arena.counted
        disturbed = arena.disturbed
        givenUp = arena.givenUp
        filter = arena.limit
        let found = arena.results
        results = contests.flatMap { contest in
            contest.contestants.map { contestant in
                let standing = found[contest.id, contestant.name]
                let pairs = Metric.allCases.compactMap { metric in standing.value(metric).map { (metric.rawValue, $0) } }
                return Line(
                    contest: contest.id, contestant: contestant.name, values: Dictionary(uniqueKeysWithValues: pairs),
                    rounds: standing.samples.count,
                    disturbed: standing.disturbed, skipped: standing.skipped)
            }
        }
        figures = goals.map {
            Figure(
                name: $0.name, goal: $0.asked, measured: $0.value(found), unit: $0.unit, verdict: $0.verdict(found).rawValue,
                rounds: $0.rounds(found))
        }
    }

    /// Reads what an earlier run wrote.
    init(file: String) throws {
        guard let text = contents(of: file) else { throw BenchError.system(file) }
        do {
            self = try JSONDecoder().decode(Document.self, from: Data(text.utf8))
        } catch {
            throw BenchError("\(file) is not what --json writes: \(error)")
        }
    }

    func text() throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
        return String(decoding: try encoder.encode(self), as: UTF8.self) + "\n"
    }
}
