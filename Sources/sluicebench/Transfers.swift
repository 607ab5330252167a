/// Where the two ends run.
enum Placement: String {
    case two = "two cores"
    case one = "same core"
    case free = "unpinned"

    func arguments(_ cores: Cores) -> [String] {
        switch self {
        case .two: ["--cores", "\(cores.server),\(cores.client)"]
        case .one: ["--cores", "\(cores.server),\(cores.server)"]
        case .free: ["--cores", "-,-"]
        }
    }
    /// Its part of a contest's name.
    var mark: String {
        switch self {
        case .two: "two"
        case .one: "same"
        case .free: "free"
        }
    }
}

/// The contests between transports: ping-pong and one-way streams.
struct Transfers {
    let peer: Peer
    let pace: Pace

    /// Ways of one pattern, in the benchmark's times.
    func contest(
        _ id: String, _ title: String, _ metrics: [Metric], _ placement: Placement, _ arguments: [String], _ ways: [Way]
    ) -> Contest {
        let times = ["--warmup", "\(pace.warmupMilliseconds)", "--run", "\(pace.runMilliseconds)"]
        let words = arguments + placement.arguments(peer.cores) + times
        return Contest(
            id: id, title: "\(title), \(placement.rawValue)", metrics: metrics,
            contestants: ways.map { way in
                Contestant(name: way.name) { try peer.run(words + way.arguments, settings: way.settings) }
            },
            // The scheduler puts unpinned ends on one core in some runs and on two in others: a median needs more of them.
            rounds: placement == .free ? pace.rounds * 2 + 1 : nil)
    }

    private func pingpong(
        _ id: String, _ title: String, _ size: Int, _ placement: Placement, _ ways: [Way], extra: [String] = []
    ) -> Contest {
        contest(
            "pingpong-\(id)-\(placement.mark)-\(size)", "ping-pong \(bytesText(size)), \(title)",
            [.median, .p99, .p999, .processor], placement,
            ["pingpong", "--size", "\(size)"] + extra, ways)
    }

    var contests: [Contest] {
        var list: [Contest] = []
        for size in pace.sizes { list.append(pingpong("spin", "spinning", size, .two, Way.spinning())) }
        let waitings: [Waiting] = [.asleep, .adaptive, .spinning]
        for placement in [Placement.two, .one] {
            for size in pace.isQuick ? [64] : pace.sizes {
                list.append(pingpong("sleep", "blocking", size, placement, Way.blocking(waitings)))
            }
        }
        for call in ["poll", "epoll"] {
            for placement in pace.isQuick ? [Placement.two] : [.two, .one] {
                list.append(pingpong(call, call, 64, placement, Way.blocking(waitings, call: call)))
            }
        }
        list.append(pingpong("spin", "spinning", 64, .free, Way.spinning().filter { $0.name != "bare ring" }))
        list.append(pingpong("sleep", "blocking", 64, .free, Way.blocking(waitings)))
        let few: Set = ["kernel", "sluice", "sluice asleep", "sluice adaptive", "sluice spinning"]
        let neighbour = ["--neighbour", "-"]
        list.append(
            pingpong(
                "spin-neighbour", "spinning beside a busy neighbour", 64, .two, Way.spinning().filter { few.contains($0.name) },
                extra: neighbour))
        list.append(
            pingpong(
                "sleep-neighbour", "blocking beside a busy neighbour", 64, .two,
                Way.blocking(waitings).filter { few.contains($0.name) }, extra: neighbour))
        return list + streams
    }

    private var streams: [Contest] {
        var list: [Contest] = []
        for placement in [Placement.two, .one, .free] {
            for size in placement == .two ? pace.sizes : [64, 65536] {
                let ways = Way.blocking([.adaptive, .spinning]) + (placement == .two ? [.ring] : [])
                list.append(
                    contest(
                        "stream-\(placement.mark)-\(size)", "one way \(bytesText(size))", [.rate, .bytes, .processor], placement,
                        ["stream", "--size", "\(size)"], ways))
            }
        }
        return list
    }
}

/// A message size for people.
func bytesText(_ size: Int) -> String {
    switch size {
    case ..<1024: "\(size) B"
    case _ where size % 1024 == 0: "\(size / 1024) KB"
    default: "\(size / 1000),\(String(repeating: "0", count: 3 - "\(size % 1000)".count))\(size % 1000) B"
    }
}
