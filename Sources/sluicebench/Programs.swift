import Glibc

/// The real programs that are measured: unpacked under one of some folders, else those of the host.
struct Programs {
    /// Folders with `usr/bin`, `usr/sbin` and `usr/lib`, the first ones first.
    let roots: [String]
    let library: String
    let cores: Cores

    #if arch(arm64)
        private static let triple = "aarch64-linux-gnu"
    #else
        private static let triple = "x86_64-linux-gnu"
    #endif

    /// The program's file; nil when it is not there.
    func path(_ name: String) -> String? {
        for folder in roots.flatMap({ ["\($0)/usr/bin", "\($0)/usr/sbin"] }) + ["/usr/bin", "/usr/sbin", "/usr/local/bin"]
        where isExecutable("\(folder)/\(name)") {
            return "\(folder)/\(name)"
        }
        return nil
    }

    /// The file of a program that has a folder of its own.
    func path(_ name: String, in folder: String) -> String? {
        (roots + [""]).map { "\($0)/\(folder)/\(name)" }.first { isExecutable($0) }
    }

    /// The environment of a program; with the preload library when `settings` are given.
    func environment(_ settings: [String: String]?) -> [String: String] {
        var result = cleanEnvironment()
        let own = roots.flatMap { ["\($0)/usr/lib/\(Self.triple)", "\($0)/lib/\(Self.triple)"] }
        result["LD_LIBRARY_PATH"] = (own + [result["LD_LIBRARY_PATH"]].compactMap { $0 }).joined(separator: ":")
        if let settings {
            result["LD_PRELOAD"] = library
            result.merge(settings) { $1 }
        }
        return result
    }
}

/// A server under measurement, on a core of its own, with its files in a folder of its own.
struct Server {
    var child: Child
    let folder: Folder
    let port: UInt16
    let clientCore: Int

    /// How it is known that the server can be asked.
    enum Readiness {
        /// Something accepts at the TCP port.
        case listener
        /// The same, for a server that does not like connections without a word: nothing is tried.
        case quietListener
        /// The UDP port is bound.
        case bound
        /// The file is there.
        case file(String)
    }

    /// Runs `body` with the server ready, and ends it afterwards in every case, by the signal.
    static func with<Result>(
        _ programs: Programs, _ settings: [String: String]?, ready: (Folder) -> Readiness = { _ in .listener },
        signal: Int32 = SIGTERM, _ arguments: (Folder, UInt16) throws -> [String], _ body: (Server) throws -> Result
    ) throws -> Result {
        let folder = try Folder()
        defer { folder.remove() }
        let port = try freePort()
        let child = try Child(
            try arguments(folder, port), environment: programs.environment(settings), core: programs.cores.server,
            captured: false, loud: false)
        var server = Server(child: child, folder: folder, port: port, clientCore: programs.cores.client)
        defer { server.child.stop(signal) }
        switch ready(folder) {
        case .listener: try awaitListener(port, of: server.child)
        case .quietListener: try server.await("port \(port)") { hasPort(port, "tcp", state: "0A") }
        case .bound: try server.await("port \(port)") { hasPort(port, "udp", state: "07") }
        case .file(let path): try server.await(path) { access(path, F_OK) == 0 }
        }
        return try body(server)
    }

    /// Blocks until it is so, at most five seconds.
    private func await(_ what: String, _ isSo: () -> Bool) throws {
        let end = monotonicNanoseconds() + 5_000_000_000
        while !isSo() {
            try Interruption.check()
            guard monotonicNanoseconds() < end else { throw BenchError("\(child.name) has no \(what)") }
            usleep(2000)
        }
    }

    /// Runs a client on the other core to its end: its output, and the user and system time that both used, in nanoseconds.
    func measure(
        _ client: [String], _ environment: [String: String], within seconds: Double
    ) throws -> (text: String, processor: Double) {
        let before = try child.processorNanoseconds()
        let reaped = usedNanoseconds(RUSAGE_CHILDREN)
        var child = try Child(client, environment: environment, core: clientCore, loud: false)
        let text = try child.finish(within: seconds)
        let after = try self.child.processorNanoseconds()
        return (text, Double(after - before + usedNanoseconds(RUSAGE_CHILDREN) - reaped))
    }
}

/// Whether a socket of 127.0.0.1 has this port, by the kernel's own list.
private func hasPort(_ port: UInt16, _ kind: String, state: String) -> Bool {
    let digits = String(port, radix: 16, uppercase: true)
    let name = "0100007F:" + String(repeating: "0", count: 4 - digits.count) + digits
    return (contents(of: "/proc/net/\(kind)") ?? "").split(separator: "\n").contains { line in
        let words = line.split(separator: " ")
        return words.count > 3 && words[1] == name && words[3] == state
    }
}
