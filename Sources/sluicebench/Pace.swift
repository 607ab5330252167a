/// How long and how wide the benchmark measures.
struct Pace {
    let isQuick: Bool
    let rounds: Int
    /// Rounds of real programs, and of connections that carry one request.
    let programRounds: Int
    let churnRounds: Int
    let warmupMilliseconds: Int
    let runMilliseconds: Int
    /// Message sizes in bytes.
    let sizes: [Int]
    /// Time for repeating what others disturbed.
    let patienceSeconds: Int

    static let quick = Pace(
        isQuick: true, rounds: 3, programRounds: 2, churnRounds: 7, warmupMilliseconds: 30, runMilliseconds: 100,
        sizes: [64, 1024, 65536], patienceSeconds: 60)
    static let full = Pace(
        isQuick: false, rounds: 7, programRounds: 5, churnRounds: 21, warmupMilliseconds: 60, runMilliseconds: 300,
        sizes: [64, 256, 1024, 4096, 16384, 65536],
        patienceSeconds: 1200)
    /// For the main results alone: eight minutes.
    static let main = Pace(
        isQuick: false, rounds: 5, programRounds: 3, churnRounds: 7, warmupMilliseconds: 60, runMilliseconds: 300,
        sizes: [64, 1024, 65536], patienceSeconds: 60)
}
