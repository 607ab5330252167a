import Testing

@testable import sluicebench

private let cores = Cores(server: 0, client: 1)
private func allOfMain() -> [Contest] {
    allContests(
        Peer(path: "", library: "", cores: cores), Programs(roots: [], library: "", cores: cores), stat: "", .main)
}

/// All contests with figures: the kernel's 10, Sluice's by its name.
private func document() throws -> Document {
    var arena = Arena(rounds: 1, limit: nil, patienceSeconds: 0)
    let chosen = allOfMain().filter { Summary.contests.contains($0.id) }.map { contest in
        var one = contest
        one.rounds = 1
        return Contest(
            id: one.id, title: one.title, metrics: one.metrics,
            contestants: one.contestants.map { contestant in
                Contestant(name: contestant.name) {
                    let value = contestant.name.hasPrefix("kernel") ? 10.0 : contestant.name.hasPrefix("sluice") ? 40 : 20
                    var sample = Sample(values: [.median: value, .rate: value])
                    if contest.metrics.contains(.loss) { sample.values[.loss] = value }
                    return .measured(sample)
                }
            })
    }
    for contest in chosen { try arena.hold(contest) }
    return Document(arena, chosen, [])
}

@Test("the table has a line for each of its rows, with the kernel, Sluice and how many times better it is")
func summaryLines() throws {
    let text = try Summary(document: document()).markdown()
    let lines = text.split(separator: "\n").filter { $0.hasPrefix("| ") && !$0.hasPrefix("| |") }
    #expect(lines.count == Summary.rows.count)
    for (line, row) in zip(lines, Summary.rows) {
        #expect(line.hasPrefix("| \(row.title) | "))
        #expect(line.contains(row.metric == .rate ? "| 10.0/s | 40.0/s | 4.00 |" : "| 10.0 ns | 40.0 ns | 0.250 |"), "\(line)")
    }
    #expect(text.contains("lost: kernel 10.0 %, Sluice 40.0 %"))
    #expect(text.contains("unix socket 20.0/s"))
    #expect(text.contains("medians of 1 round in turns"))
}

@Test("a table of nothing is an error, and so is a picture")
func summaryOfNothing() throws {
    let nothing = Document(Arena(rounds: 1, limit: nil, patienceSeconds: 0), [], [])
    #expect(throws: BenchError.self) { try Summary(document: nothing).markdown() }
    #expect(throws: BenchError.self) { try Picture(nothing) }
}

@Test("every panel of the picture has its bars, and a title that leaves room for the hint beside it")
func panelsOfAll() throws {
    let panels = Panel.panels(try document())
    #expect(panels.map(\.title) == Panel.main.map(\.title))
    for panel in panels {
        #expect(panel.bars.count >= 2, "\(panel.title)")
        #expect(panel.bars[0].label == "Sluice")
        #expect(panel.bars[1].label.hasPrefix("kernel "))
        #expect(panel.title.count <= 32, "\(panel.title)")
    }
}

@Test(
    "a message size for people",
    arguments: [(64, "64 B"), (1024, "1 KB"), (65536, "64 KB"), (65000, "65,000 B"), (1400, "1,400 B"), (2005, "2,005 B")])
func sizes(_ size: Int, _ expected: String) {
    #expect(bytesText(size) == expected)
}
