/// How the bytes travel and how the ends wait: what a user could pick.
struct Way {
    let name: String
    let arguments: [String]
    /// The settings of a run under Sluice; nil: without it.
    var settings: [String: String]?
}

/// How a Sluice end waits.
enum Waiting: String {
    /// Never looks again before it sleeps.
    case asleep
    /// Nothing set.
    case adaptive
    /// Looks until something comes.
    case spinning

    var settings: [String: String] {
        switch self {
        case .asleep: ["EF_POLL_USEC": "0", "EF_SPIN_USEC": "0"]
        case .adaptive: [:]
        case .spinning: ["EF_POLL_USEC": "100000"]
        }
    }
}

extension Way {
    /// The kernel's ways with blocking calls, and Sluice's with the given waiting.
    static func blocking(_ waitings: [Waiting], call: String = "block") -> [Way] {
        let wait = ["--wait", call]
        return [
            Way(name: "kernel", arguments: ["--transport", "tcp"] + wait),
            Way(name: "kernel nodelay", arguments: ["--transport", "tcp-nodelay"] + wait),
        ] + waitings.map { Way(name: "sluice \($0.rawValue)", arguments: ["--transport", "tcp"] + wait, settings: $0.settings) }
            + [
                Way(name: "unix", arguments: ["--transport", "unix"] + wait),
                Way(name: "pipe", arguments: ["--transport", "pipe"] + wait),
                Way(name: "sockmap", arguments: ["--transport", "sockmap"] + wait),
            ]
    }

    /// Everybody spins: by non-blocking calls in a loop; Sluice also by its setting with blocking calls.
    static func spinning() -> [Way] {
        let wait = ["--wait", "spin"]
        return [
            Way(name: "kernel", arguments: ["--transport", "tcp"] + wait),
            Way(name: "kernel nodelay", arguments: ["--transport", "tcp-nodelay"] + wait),
            Way(name: "sluice", arguments: ["--transport", "tcp", "--wait", "block"], settings: Waiting.spinning.settings),
            Way(name: "sluice loop", arguments: ["--transport", "tcp"] + wait, settings: [:]),
            Way(name: "unix", arguments: ["--transport", "unix"] + wait),
            Way(name: "pipe", arguments: ["--transport", "pipe"] + wait),
            Way(name: "sockmap", arguments: ["--transport", "sockmap"] + wait), ring,
        ]
    }

    /// Nothing but the copy through shared memory.
    static let ring = Way(name: "bare ring", arguments: ["--transport", "ring"])
}
