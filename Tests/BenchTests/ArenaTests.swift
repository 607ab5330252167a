import Testing

@testable import sluicebench

private func contest(_ values: [String: [Double]]) -> Contest {
    Contest(
        id: "test", title: "test", metrics: [.median],
        contestants: values.keys.sorted().map { name in
            var left = values[name] ?? []
            return Contestant(name: name) { .measured(Sample(values: [.median: left.removeFirst()])) }
        })
}

@Test("a contestant's figure is the median over its rounds")
func medianOverRounds() throws {
    var arena = Arena(rounds: 3, limit: nil, patienceSeconds: 0)
    try arena.hold(contest(["a": [5, 1, 3], "b": [10, 30, 20]]))
    #expect(arena.results.value("test", "a", .median) == 3)
    #expect(arena.results.value("test", "b", .median) == 20)
    #expect(arena.counted == 6)
    #expect(!arena.results.haveFailures)
}

@Test("rounds that the user asks for win over those of the contest")
func roundsOfAll() throws {
    var one = contest(["a": [1, 2, 3]])
    one.rounds = 3
    var arena = Arena(rounds: 2, limit: nil, patienceSeconds: 0)
    arena.allRounds = 1
    try arena.hold(one)
    #expect(arena.counted == 1)
}

@Test("disturbed runs do not count, and are given up when patience ends")
func disturbedRuns() throws {
    // Nobody can use less than nothing: every run is disturbed.
    var arena = Arena(rounds: 2, limit: 0, patienceSeconds: 0)
    try arena.hold(contest(["a": [1, 2, 3, 4]]))
    #expect(arena.counted == 0)
    #expect(arena.disturbed == 2)
    #expect(arena.givenUp == 2)
    #expect(arena.results.value("test", "a", .median) == nil)
}

@Test("a contestant that fails is not run again, and the others go on")
func failure() throws {
    var runs = 0
    var arena = Arena(rounds: 3, limit: nil, patienceSeconds: 0)
    try arena.hold(
        Contest(
            id: "test", title: "test", metrics: [.median],
            contestants: [
                Contestant(name: "bad") {
                    runs += 1
                    throw BenchError("broken")
                }, Contestant(name: "good") { .measured(Sample(values: [.median: 1])) },
            ]))
    #expect(runs == 1)
    #expect(arena.results.haveFailures)
    #expect(arena.results["test", "good"].samples.count == 3)
    #expect(arena.results["test", "bad"].skipped == "failed: broken")
}

@Test("goals: met on the bound, missed beyond it, not measured without a part")
func verdicts() {
    var results = Results()
    let atLeast = Goal.quotient("q", .atLeast(2), .rate, Entry("c", "a"), over: Entry("c", "b"))
    #expect(atLeast.verdict(results) == .notMeasured)
    results["c", "a"].samples = [Sample(values: [.rate: 20, .cost: 30])]
    #expect(atLeast.verdict(results) == .notMeasured)
    results["c", "b"].samples = [Sample(values: [.rate: 10, .cost: 20])]
    #expect(atLeast.verdict(results) == .met)
    results["c", "b"].samples = [Sample(values: [.rate: 10.1, .cost: 20])]
    #expect(atLeast.verdict(results) == .missed)
    let atMost = Goal.difference("d", .atMost(10), " ns", .cost, Entry("c", "a"), less: Entry("c", "b"), scale: 1)
    #expect(atMost.verdict(results) == .met)
    results["c", "b"].samples = [Sample(values: [.cost: 19.9])]
    #expect(atMost.verdict(results) == .missed)
}

@Test("every goal names a contest and contestants that exist")
func goalsHaveContests() throws {
    let cores = Cores(server: 0, client: 1)
    let peer = Peer(path: "", library: "", cores: cores)
    let programs = Programs(roots: [], library: "", cores: cores)
    for pace in [Pace.quick, .full] {
        let contests = allContests(peer, programs, stat: "", pace)
        #expect(Set(contests.map(\.id)).count == contests.count)
        var results = Results()
        for contest in contests {
            for contestant in contest.contestants {
                let values = Dictionary(uniqueKeysWithValues: Metric.allCases.map { ($0, 1.0) })
                results[contest.id, contestant.name].samples = [Sample(values: values)]
            }
        }
        let missing = allGoals.filter { $0.verdict(results) == .notMeasured }.map(\.name)
        // The quick form leaves out these.
        let left = pace.isQuick ? missing.filter { !$0.hasPrefix("redis SET") } : missing
        #expect(left.isEmpty)
    }
}

@Test(
    "figures for people",
    arguments: [
        (0.0, "0.000"), (0.4567, "0.457"), (1.999, "2.00"), (12.34, "12.3"), (999.6, "1000"), (-4.317, "-4.32"), (0.05, "0.050"),
        (9.999, "10.00"),
    ])
func figures(_ value: Double, _ expected: String) {
    #expect(text(value) == expected)
}
