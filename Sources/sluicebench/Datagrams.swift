/// The contests between transports that keep messages apart: ping-pong and one way by UDP, beside datagrams of the unix domain.
struct Datagrams {
    let peer: Peer
    let pace: Pace

    /// Bytes of a message; a datagram holds at most 65,507.
    static let sizes = [64, 1024, 16384, 65000]

    private func pingpong(_ id: String, _ title: String, _ size: Int, _ placement: Placement, _ ways: [Way]) -> Contest {
        Transfers(peer: peer, pace: pace).contest(
            "udp-pingpong-\(id)-\(placement.mark)-\(size)", "UDP ping-pong \(bytesText(size)), \(title)",
            [.median, .p99, .p999, .processor], placement, ["pingpong", "--size", "\(size)"], ways)
    }

    var contests: [Contest] { latency + oneWay }

    private var latency: [Contest] {
        var list = Self.sizes.filter { !pace.isQuick || $0 != 16384 }.map {
            pingpong("spin", "spinning", $0, .two, Way.spinningDatagrams())
        }
        for placement in [Placement.two, .one] {
            for size in pace.isQuick ? [64] : [64, 65000] {
                list.append(pingpong("sleep", "blocking", size, placement, Way.blockingDatagrams()))
            }
        }
        for call in ["poll", "epoll"] {
            for placement in pace.isQuick ? [Placement.two] : [.two, .one] {
                list.append(pingpong(call, call, 64, placement, Way.blockingDatagrams(call: call)))
            }
        }
        list.append(pingpong("spin", "spinning", 64, .free, Way.spinningDatagrams().filter { $0.name != "bare ring" }))
        list.append(pingpong("sleep", "blocking", 64, .free, Way.blockingDatagrams()))
        return list
    }

    /// What arrives in a second, and what is lost on the way.
    private var oneWay: [Contest] {
        func contest(_ size: Int, _ placement: Placement) -> Contest {
            Transfers(peer: peer, pace: pace).contest(
                "udp-oneway-\(placement.mark)-\(size)", "UDP one way \(bytesText(size)), received",
                [.rate, .loss, .bytes, .processor],
                placement, ["stream", "--size", "\(size)"], Way.oneWayDatagrams(ring: placement == .two))
        }
        return [64, 1024, 65000].map { contest($0, .two) } + [contest(64, .free)]
    }
}

extension Way {
    private static func udp(_ name: String, _ wait: String, _ settings: [String: String]? = nil) -> Way {
        Way(name: name, arguments: ["--transport", "udp", "--wait", wait], settings: settings)
    }
    private static func unixDatagram(_ wait: String) -> Way {
        Way(name: "unix", arguments: ["--transport", "unix-datagram", "--wait", wait])
    }

    /// The kernel's ways with blocking calls, and Sluice's with each way of waiting.
    static func blockingDatagrams(call: String = "block") -> [Way] {
        [udp("kernel", call)] + [Waiting.asleep, .adaptive, .spinning].map { udp("sluice \($0.rawValue)", call, $0.settings) }
            + [unixDatagram(call)]
    }

    /// Everybody spins: by non-blocking calls in a loop; Sluice also by its setting with blocking calls.
    static func spinningDatagrams() -> [Way] {
        [
            udp("kernel", "spin"), udp("sluice", "block", Waiting.spinning.settings), udp("sluice loop", "spin", [:]),
            unixDatagram("spin"), ring,
        ]
    }

    /// Blocking calls and loops of non-blocking ones, side by side.
    static func oneWayDatagrams(ring: Bool) -> [Way] {
        [
            udp("kernel", "block"), udp("kernel loop", "spin"), udp("sluice adaptive", "block", Waiting.adaptive.settings),
            udp("sluice spinning", "block", Waiting.spinning.settings), udp("sluice loop", "spin", [:]), unixDatagram("block"),
        ] + (ring ? [Self.ring] : [])
    }
}

/// The acceptance figures of datagrams.
enum DatagramGoals {
    /// Who is compared with whom: both with blocking calls, both looking all the time.
    private static let pairs = [("sluice adaptive", "kernel"), ("sluice spinning", "kernel loop")]

    static var all: [Goal] {
        let spin = "udp-pingpong-spin-two-64", small = "udp-oneway-two-64", large = "udp-oneway-two-65000"
        var list: [Goal] = [
            .figure("UDP 64 B round trip, spinning", .atMost(0.55), " us", Entry(spin, "sluice"), .median, scale: 1000),
            .quotient(
                "UDP 64 B spinning: kernel / sluice", .atLeast(9), .median, Entry(spin, "kernel"), over: Entry(spin, "sluice")),
        ]
        for (sluice, kernel) in pairs {
            list.append(
                .quotient(
                    "UDP one way 64 B, received: \(sluice) / \(kernel)", .atLeast(20), .rate, Entry(small, sluice),
                    over: Entry(small, kernel)))
            list.append(
                .difference(
                    "UDP one way 64 B, lost: \(sluice) less \(kernel)", .atMost(0), " %", .loss, Entry(small, sluice),
                    less: Entry(small, kernel), scale: 1))
            list.append(
                .quotient(
                    "UDP one way 65,000 B, received: \(sluice) / \(kernel)", .atLeast(1.5), .rate, Entry(large, sluice),
                    over: Entry(large, kernel)))
        }
        return list
    }
}
