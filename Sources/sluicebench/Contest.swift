import Glibc

/// One of those that are compared: a name and how to run it once.
struct Contestant {
    let name: String
    let run: () throws -> Outcome
}

/// Contestants that are measured in turns, so that all of them see the same machine.
struct Contest {
    /// Short and unique, for `--only` and the goals.
    let id: String
    let title: String
    /// What its table shows.
    let metrics: [Metric]
    let contestants: [Contestant]
    /// Rounds of this contest; nil: those of the whole benchmark.
    var rounds: Int?
    /// It has a table of its own; false: it stands in a table with others.
    var isShown = true
    /// Other processes change its figures; false: every run counts.
    var isTimed = true
}

/// The figures of a contestant: one sample per counted round.
struct Standing {
    var samples: [Sample] = []
    /// Why it could not run.
    var skipped: String?
    /// It could have run, but something went wrong.
    var failed = false
    /// Runs that did not count, because other processes used the machine.
    var disturbed = 0

    func value(_ metric: Metric) -> Double? { median(samples.compactMap { $0.values[metric] }) }
}

/// All results by contest and contestant.
struct Results {
    private(set) var standings: [String: [String: Standing]] = [:]

    subscript(contest: String, contestant: String) -> Standing {
        get { standings[contest]?[contestant] ?? Standing() }
        set { standings[contest, default: [:]][contestant] = newValue }
    }

    /// Whether any contestant went wrong.
    var haveFailures: Bool { standings.values.contains { $0.values.contains(where: \.failed) } }

    func value(_ contest: String, _ contestant: String, _ metric: Metric) -> Double? { self[contest, contestant].value(metric) }
}

/// Runs contests round by round and repeats what other processes disturbed.
struct Arena {
    /// Rounds of each contest that says nothing of them.
    let rounds: Int
    /// Rounds of all contests, whatever they say.
    var allRounds: Int?
    /// Largest share of one processor that others may use in a run that counts; nil: every run counts.
    let limit: Double?
    /// Repetitions of one run before its round is given up.
    let repeats = 6
    /// Time for repetitions that is left, in nanoseconds; without any, disturbed runs are given up at once.
    private var patience: UInt64
    private(set) var results = Results()
    private(set) var disturbed = 0
    private(set) var givenUp = 0
    private(set) var counted = 0
    private var neighbours = Neighbours()

    init(rounds: Int, limit: Double?, patienceSeconds: Int) {
        self.rounds = rounds
        self.limit = limit
        patience = UInt64(patienceSeconds) * 1_000_000_000
    }

    /// Where the share of other processes is read.
    var source: String { neighbours.description }

    /// Measures all contestants of a contest. Blocks until all rounds are done.
    /// Throws only when the tool is interrupted.
    mutating func hold(_ contest: Contest) throws {
        for round in 0..<(allRounds ?? contest.rounds ?? rounds) {
            for index in contest.contestants.indices {
                // The order moves on by one each round: nobody always runs after the same one.
                let contestant = contest.contestants[(index + round) % contest.contestants.count]
                if results[contest.id, contestant.name].skipped == nil {
                    try run(contestant, in: contest)
                }
            }
        }
    }

    private mutating func run(_ contestant: Contestant, in contest: Contest) throws {
        for _ in 0...repeats {
            let began = monotonicNanoseconds()
            neighbours.begin()
            do {
                switch try contestant.run() {
                case .skipped(let reason):
                    results[contest.id, contestant.name].skipped = reason
                    return
                case .measured(let sample):
                    if limit == nil || !contest.isTimed || neighbours.share() < limit! {
                        results[contest.id, contestant.name].samples.append(sample)
                        counted += 1
                        return
                    }
                }
            } catch {
                try Interruption.check()
                results[contest.id, contestant.name].failed = true
                results[contest.id, contestant.name].skipped = "failed: \(error)"
                return
            }
            results[contest.id, contestant.name].disturbed += 1
            disturbed += 1
            try awaitQuiet()
            let spent = monotonicNanoseconds() - began
            patience -= min(patience, spent)
            if patience == 0 { break }
        }
        givenUp += 1
    }

    /// Blocks until others have left the processors alone for a tenth of a second, at most three seconds.
    private mutating func awaitQuiet() throws {
        for _ in 0..<30 {
            neighbours.begin()
            usleep(100_000)
            try Interruption.check()
            if neighbours.share() < limit ?? .infinity { return }
        }
    }
}
