/// Fifty client processes on one server: each has one message on its way all the time. The server has a core of its own, the clients share
/// the other one.
struct Clients {
    let peer: Peer
    let pace: Pace

    static let count = 50

    var contests: [Contest] {
        [
            contest("tcp", "a connection each, epoll", "tcp", "unix"),
            contest("udp", "one socket for all", "udp", "unix-datagram"),
        ]
    }

    private func contest(_ id: String, _ title: String, _ transport: String, _ unix: String) -> Contest {
        let words =
            [
                "clients", "--connections", "\(Self.count)", "--warmup", pace.isQuick ? "200" : "400", "--run",
                pace.isQuick ? "300" : "1000",
            ] + Placement.two.arguments(peer.cores)
        let ways = [
            Way(name: "kernel", arguments: ["--transport", transport]),
            Way(name: "sluice", arguments: ["--transport", transport], settings: [:]),
            Way(name: "unix", arguments: ["--transport", unix]),
        ]
        return Contest(
            id: "clients-\(id)-\(Self.count)", title: "\(Self.count) client processes, \(id.uppercased()), \(title)",
            metrics: [.rate, .median, .p99, .processor],
            contestants: ways.map { way in
                Contestant(name: way.name) { try peer.run(words + way.arguments, settings: way.settings) }
            })
    }
}
