/// What `sluicestat` costs: its own time with many processes, and what a program notices of it.
struct Observers {
    let peer: Peer
    let pace: Pace
    /// The tool.
    let stat: String

    static let commands = [
        "netstat -u", "netstat -a --json", "stacks", "stats", "stats --json", "prometheus", "why PID", "latency",
    ]

    var contests: [Contest] { [times, notice] }

    /// A thousand processes under Sluice, each with a listening socket.
    private var times: Contest {
        Contest(
            id: "sluicestat-1000", title: "sluicestat with 1000 processes", metrics: [.cost],
            contestants: Self.commands.map { command in
                Contestant(name: command) {
                    try peer.run(
                        [
                            "observe", "--connections", "1000", "--messages", pace.isQuick ? "3" : "7", "--call",
                            "\(stat) \(command)",
                        ],
                        settings: [:])
                }
            }, rounds: pace.isQuick ? 1 : 3)
    }

    /// Both ends on one core; the tool, which reads all stacks twenty times a second, on the other one.
    private var notice: Contest {
        let words = [
            "pingpong", "--size", "64", "--transport", "tcp", "--wait", "block", "--warmup", "\(pace.warmupMilliseconds)",
            "--run",
            "\(pace.isQuick ? 300 : 1000)",
        ]
        func run() throws -> Outcome { try peer.run(words + Placement.one.arguments(peer.cores), settings: [:]) }
        return Contest(
            id: "sluicestat-notice", title: "ping-pong 64 B, same core, and sluicestat on the other",
            metrics: [.median, .p99, .p999],
            contestants: [
                Contestant(name: "alone") { try run() },
                Contestant(name: "watched") {
                    var tool = try Child(
                        [stat, "watch", "--json", "--interval", "0.05"], environment: cleanEnvironment(), core: peer.cores.client,
                        captured: false)
                    defer { tool.stop() }
                    return try run()
                },
            ])
    }
}

/// The acceptance figures of these contests.
enum ObserverGoals {
    static var all: [Goal] {
        Observers.commands.map { command in
            .figure(
                "sluicestat \(command), 1000 processes", .atMost(1), " s", Entry("sluicestat-1000", command), .cost, scale: 1e9)
        } + [
            .quotient(
                "p99 of a ping-pong: watched by sluicestat / alone", .atMost(1.1), .p99, Entry("sluicestat-notice", "watched"),
                over: Entry("sluicestat-notice", "alone"))
        ]
    }
}
