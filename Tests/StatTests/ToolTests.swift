import CStackLayout
import Counters
import Foundation
import Settings
import Testing

@testable import sluicestat

/// A memfd with the bytes of a stack, as a process under Sluice holds it.
final class StackMemory {
    let descriptor: Int32

    init(_ bytes: [UInt8]) {
        descriptor = memfd_create("sluice", 1)  // MFD_CLOEXEC
        _ = pwrite(descriptor, bytes, bytes.count, 0)
    }

    deinit { close(descriptor) }
}

struct ToolRun {
    var status: Int32
    var output: String
    var errors: String

    /// Runs the built tool with `before` (for example `unshare -n`) in front; ended after 30 seconds.
    init(_ arguments: [String], before: [String] = []) throws {
        let folder = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent()
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = ["timeout", "30"] + before + [folder.appendingPathComponent("sluicestat").path] + arguments
        let outputPipe = Pipe()
        let errorFile = memfd_create("errors", 1)
        defer { close(errorFile) }
        process.standardOutput = outputPipe
        process.standardError = FileHandle(fileDescriptor: errorFile)
        process.standardInput = FileHandle.nullDevice
        try process.run()
        output = String(decoding: outputPipe.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        status = process.terminationStatus
        var bytes = [UInt8](repeating: 0, count: 1 << 16)
        errors = String(decoding: bytes[..<max(0, pread(errorFile, &bytes, bytes.count, 0))], as: UTF8.self)
    }

    /// The output as JSON.
    func object() throws -> [String: Any] {
        try #require(JSONSerialization.jsonObject(with: Data(output.utf8)) as? [String: Any])
    }

    /// The sockets of the JSON output with these ports. Both: other programs' connections may share one of them.
    func sockets(_ localPort: UInt16, to remotePort: UInt16) throws -> [[String: Any]] {
        try #require(object()["sockets"] as? [[String: Any]]).filter { socket in
            (socket["local"] as? [String: Any])?["port"] as? Int == Int(localPort)
                && (socket["remote"] as? [String: Any])?["port"] as? Int == Int(remotePort)
        }
    }

    /// The cells of the table's rows that begin with these.
    func rows(_ first: String...) -> [[String]] {
        output.split(separator: "\n").map { $0.split(separator: " ").map(String.init) }.filter { $0.starts(with: first) }
    }
}

/// A pair of real sockets, and a stack that speaks of them: the client on the loopback lane, the others in the kernel.
struct Scene {
    let pair: LoopbackPair
    let memory: StackMemory

    init() throws {
        pair = try LoopbackPair()
        let here = SocketAddress(ipv4: 0x7f00_0001, port: pair.port)
        let there = SocketAddress(ipv4: 0x7f00_0001, port: pair.clientPort)
        var image = StackImage()
        image.add(
            state: SL_ENDPOINT_LISTENING, lane: SL_LANE_KERNEL, reason: Reason.listening.number,
            cookie: pair.cookie(of: pair.listener), local: here)
        image.add(
            lane: SL_LANE_LOOPBACK, cookie: pair.cookie(of: pair.client), local: there, remote: here, rx: 11, tx: 22, drops: 33)
        image.add(
            lane: SL_LANE_KERNEL, reason: Reason.plainPeer.number, cookie: pair.cookie(of: pair.accepted), local: here,
            remote: there)
        image.header.settings.7 = UInt64(bitPattern: Settings.adaptive)  // EF_POLL_USEC
        image.header.settings.8 = 50  // EF_SPIN_USEC
        memory = StackMemory(image.bytes)
    }
}

@Suite struct ToolTests {
    let me = String(getpid())

    @Test("netstat -k shows the bypassed socket with its packets, and not the others")
    func bypassed() throws {
        let scene = try Scene()
        let run = try ToolRun(["netstat", "-k"])
        // Who is not root is told that he does not see all.
        #expect(run.status == 0 && (run.errors == "" || geteuid() != 0))
        #expect(run.output.hasPrefix("Local Address"))
        let client = "127.0.0.1.\(scene.pair.clientPort)"
        let server = "127.0.0.1.\(scene.pair.port)"
        #expect(run.rows(client, server) == [[client, server, "ESTABLISHED", "lo", "11", "22", "33"]])
        #expect(run.rows(server, client).isEmpty)
    }

    @Test("netstat shows kernel sockets too, -a the listening ones, -u whose they are, -P one protocol")
    func columns() throws {
        let scene = try Scene()
        let client = "127.0.0.1.\(scene.pair.clientPort)"
        let server = "127.0.0.1.\(scene.pair.port)"
        let plain = try ToolRun(["netstat"])
        #expect(plain.rows(server, client) == [[server, client, "ESTABLISHED", "lo", "0", "0", "0"]])
        let all = try ToolRun(["netstat", "-a", "-u", "-P", "tcp"])
        let titles = all.output.split(separator: "\n")[0].split(separator: " ").joined(separator: " ")
        #expect(titles == "Local Address Remote Address State If Ipkts Opkts Dpkts User Pid Command")
        #expect(all.rows(server, "*.*", "LISTEN", "lo").contains { $0[8] == me })
        #expect(all.rows(client, server).first?[7] == userName(getuid()))
        let udp = try ToolRun(["netstat", "-a", "-P", "udp"])
        #expect(udp.status == 0 && udp.rows(server, client).isEmpty && !udp.output.contains("LISTEN"))
    }

    @Test("netstat shows the sockets of some processes, or of one port, alone")
    func chosen() throws {
        let scene = try Scene()
        let client = "127.0.0.1.\(scene.pair.clientPort)"
        let server = "127.0.0.1.\(scene.pair.port)"
        let own = try ToolRun(["netstat", me, "-u"])
        #expect(own.rows(client, server).count == 1 && own.rows(server, client).count == 1)
        #expect(own.output.split(separator: "\n").dropFirst().allSatisfy { $0.contains(" \(me) ") })
        let other = try ToolRun(["netstat", "-a", String(getppid())])
        #expect(other.status == 0 && other.rows(client, server).isEmpty)
        let port = try ToolRun(["netstat", "-a", "--port", String(scene.pair.port)])
        #expect(port.rows(client, server).count == 1 && port.rows(server, "*.*", "LISTEN", "lo").count == 1)
        #expect(port.output.split(separator: "\n").dropFirst().allSatisfy { $0.contains(".\(scene.pair.port) ") })
        let none = try ToolRun(["netstat", "4194304"])
        #expect(none.status != 0 && none.errors.contains("4194304"))
        #expect(try ToolRun(["netstat", "0"]).status == 64)
    }

    @Test("netstat --json tells lane, reason, holders and counters")
    func json() throws {
        let scene = try Scene()
        let run = try ToolRun(["netstat", "-a", "--json"])
        let client = try #require(run.sockets(scene.pair.clientPort, to: scene.pair.port).first)
        #expect(client["lane"] as? String == "loopback" && client["reason"] == nil)
        #expect((client["counters"] as? [String: Int])?["rx_packets"] == 11)
        #expect((client["counters"] as? [String: Int])?["send_spin_max"] == 7)
        let holders = try #require(client["holders"] as? [[String: Any]])
        #expect(holders.contains { $0["pid"] as? Int32 == getpid() && $0["fd"] as? Int32 == scene.pair.client })
        let servers = try run.sockets(scene.pair.port, to: 0) + run.sockets(scene.pair.port, to: scene.pair.clientPort)
        let reasons = servers.compactMap { ($0["reason"] as? [String: Any])?["name"] as? String }
        #expect(Set(reasons) == ["listening", "plain_peer"])
        #expect(try run.object()["unreadable_processes"] as? Int != nil)
    }

    @Test("why PID lists lanes and reasons, and explains each reason once")
    func whyProcess() throws {
        let scene = try Scene()
        let run = try ToolRun(["why", me])
        #expect(run.status == 0)
        let client = String(scene.pair.client)
        #expect(run.rows(client).contains { $0.dropFirst(3).starts(with: ["ESTABLISHED", "loopback", "-", me]) })
        #expect(run.rows(String(scene.pair.accepted)).contains { $0.dropFirst(4).starts(with: ["kernel", "plain_peer", me]) })
        let sentence = "\(Reason.plainPeer.text!.sentence)"
        #expect(run.output.components(separatedBy: sentence).count == 2)
    }

    @Test("why PID:FD tells the reason, what to do, and the counters")
    func whySocket() throws {
        let scene = try Scene()
        let run = try ToolRun(["why", "\(me):\(scene.pair.accepted)"])
        #expect(run.status == 0 && run.output.contains("plain_peer (3)") && run.output.contains("What to do"))
        #expect(run.output.contains("rx_ring_bytes"))
        let json = try ToolRun(["why", "\(me):\(scene.pair.client)", "--json"])
        #expect(try json.sockets(scene.pair.clientPort, to: scene.pair.port).count == 1)
        let stacks = try #require(try json.object()["stacks"] as? [[String: Any]])
        let stack = try #require(stacks.first { $0["nonce"] as? String == "abcd" })
        let told = try #require(stack["settings"] as? [String: Any])
        #expect(
            told["EF_POLL_USEC"] as? String == "adaptive" && told["EF_SPIN_USEC"] as? Int == 50 && told["EF_TCP"] as? Int == 0)
    }

    @Test("each failure has its exit status and one line on stderr")
    func failures() throws {
        let plain = Process()
        let input = Pipe()
        plain.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        plain.arguments = ["cat"]
        plain.standardInput = input
        plain.standardOutput = FileHandle.nullDevice
        try plain.run()
        defer {
            try? input.fileHandleForWriting.close()
            plain.waitUntilExit()
        }
        let notOurs = try ToolRun(["why", String(plain.processIdentifier)])
        #expect(notOurs.status == 1 && notOurs.errors.contains("does not run under Sluice"))
        let noProcess = try ToolRun(["why", "2147483647"])
        #expect(noProcess.status == 1 && noProcess.errors == "sluicestat: there is no process 2147483647\n")
        let noDescriptor = try ToolRun(["why", "\(me):99999"])
        #expect(noDescriptor.status == 1 && noDescriptor.errors.contains("has no descriptor 99999"))
        let scene = try Scene()
        let noSocket = try ToolRun(["why", "\(me):\(scene.memory.descriptor)"])
        #expect(noSocket.status == 1 && noSocket.errors.contains("is no socket"))
        for wrong in ["x", "1:2:3", "-1", "0", "12:x", ""] {
            #expect(try ToolRun(["why", "--", wrong]).status == 64, "\(wrong)")
        }
        #expect(try ToolRun(["netstat", "-P", "sctp"]).status == 64)
    }

    @Test("a stack speaks only for the sockets of its own processes")
    func impostor() throws {
        let pair = try LoopbackPair()
        let other = Process()
        let script = """
            from os import memfd_create, write
            from sys import stdin
            write(memfd_create("sluice"), stdin.buffer.read(\(StackImage().bytes.count)))
            write(1, b"ready")
            stdin.read()
            """
        other.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        other.arguments = ["timeout", "60", "python3", "-c", script]
        let (input, output) = (Pipe(), Pipe())
        other.standardInput = input
        other.standardOutput = output
        try other.run()
        defer {
            try? input.fileHandleForWriting.close()
            other.waitUntilExit()
        }
        var image = StackImage()
        image.add(
            lane: SL_LANE_LOOPBACK, cookie: pair.cookie(of: pair.client),
            local: SocketAddress(ipv4: 0x7f00_0001, port: pair.clientPort), rx: 999)
        try input.fileHandleForWriting.write(contentsOf: Data(image.bytes))
        #expect(output.fileHandleForReading.availableData == Data("ready".utf8))
        let run = try ToolRun(["netstat", "-a", "--json"])
        let sockets = try run.sockets(pair.clientPort, to: pair.port)
        #expect(sockets.count == 1 && sockets.first?["lane"] == nil)
        image.header.version = 99
        let strange = StackMemory(image.bytes)
        let why = try ToolRun(["why", me])
        withExtendedLifetime(strange) {}
        #expect(why.errors.contains("layout 99"))
    }

    @Test("hostile stacks are named on stderr and harm nothing")
    func hostile() throws {
        let scene = try Scene()
        var damaged = StackImage()
        damaged.header.endpoints_used = .max
        let (one, two) = (StackMemory(damaged.bytes), StackMemory(Array("hello".utf8)))
        let run = try ToolRun(["netstat", "-k", "-v"])
        withExtendedLifetime((one, two)) {}
        #expect(run.status == 0 && run.errors.contains("damaged") && run.errors.contains("too short"))
        #expect(!run.rows("127.0.0.1.\(scene.pair.clientPort)", "127.0.0.1.\(scene.pair.port)").isEmpty)
    }

    @Test("from another network namespace, by entering the process's one", .enabled(if: geteuid() == 0))
    func otherNamespace() throws {
        let scene = try Scene()
        let run = try ToolRun(["netstat", "-k", "--json"], before: ["unshare", "-n"])
        let socket = try #require(run.sockets(scene.pair.clientPort, to: scene.pair.port).first)
        #expect(socket["lane"] as? String == "loopback" && socket["state"] as? String == "ESTABLISHED")
        #expect(socket["cookie"] as? UInt64 == scene.pair.cookie(of: scene.pair.client))
    }

    @Test("from another network namespace that may not be left, by addresses", .enabled(if: geteuid() == 0))
    func otherNamespaceByAddress() throws {
        let scene = try Scene()
        let run = try ToolRun(
            ["netstat", "-a", "--json"], before: ["unshare", "-n", "setpriv", "--bounding-set", "-sys_admin"])
        let client = try #require(run.sockets(scene.pair.clientPort, to: scene.pair.port).first)
        #expect(client["lane"] as? String == "loopback" && client["inode"] != nil && client["state"] as? String == "ESTABLISHED")
        #expect(try run.sockets(scene.pair.port, to: 0).count == 1)
        #expect(try run.sockets(scene.pair.port, to: scene.pair.clientPort).count == 1)
    }
}
