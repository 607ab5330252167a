import Glibc

/// The real programs that are measured: unpacked under a folder, else those of the host.
struct Programs {
    /// A folder with `usr/bin`, `usr/sbin` and `usr/lib`.
    let root: String
    let library: String
    let cores: Cores

    private var libraries: String {
        #if arch(arm64)
            return root + "/usr/lib/aarch64-linux-gnu"
        #else
            return root + "/usr/lib/x86_64-linux-gnu"
        #endif
    }

    /// The program's file; nil when it is not there.
    func path(_ name: String) -> String? {
        for folder in [root + "/usr/bin", root + "/usr/sbin", "/usr/bin", "/usr/sbin", "/usr/local/bin"]
        where isExecutable("\(folder)/\(name)") {
            return "\(folder)/\(name)"
        }
        return nil
    }

    /// The environment of a program; with the preload library when `settings` are given.
    func environment(_ settings: [String: String]?) -> [String: String] {
        var result = cleanEnvironment()
        let others = result["LD_LIBRARY_PATH"].map { ":" + $0 } ?? ""
        result["LD_LIBRARY_PATH"] = libraries + others
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

    /// Runs `body` with the server listening, and ends it afterwards in every case.
    static func with<Result>(
        _ programs: Programs, _ settings: [String: String]?, _ arguments: (Folder, UInt16) throws -> [String],
        _ body: (Server) throws -> Result
    ) throws -> Result {
        let folder = try Folder()
        defer { folder.remove() }
        let port = try freePort()
        let child = try Child(
            try arguments(folder, port), environment: programs.environment(settings), core: programs.cores.server,
            captured: false, loud: false)
        var server = Server(child: child, folder: folder, port: port, clientCore: programs.cores.client)
        defer { server.child.stop() }
        try awaitListener(port, of: server.child)
        return try body(server)
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
