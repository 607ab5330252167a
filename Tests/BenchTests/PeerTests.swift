import Glibc
import Testing

@testable import sluicebench

/// The program that was built together with these tests.
private func peer() throws -> Peer {
    var path = [CChar](repeating: 0, count: Int(PATH_MAX))
    let length = readlink("/proc/self/exe", &path, path.count - 1)
    let own = String(decoding: path.prefix(max(0, length)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    let folder = String(own[..<(own.lastIndex(of: "/") ?? own.startIndex)])
    try #require(isExecutable(folder + "/bench-peer"), "\(folder)/bench-peer")
    return Peer(path: folder + "/bench-peer", library: "", cores: Cores(server: 0, client: 1))
}

private let short = ["--warmup", "1", "--run", "10"]

@Suite("bench-peer", .serialized)
struct PeerTests {
    @Test(
        "ping-pong arrives whole over every transport and way of waiting",
        arguments: ["tcp", "tcp-nodelay", "unix", "pipe", "ring", "sockmap", "udp", "unix-datagram"],
        ["block", "spin", "poll", "epoll"])
    func pingpong(_ transport: String, _ wait: String) throws {
        for size in [64, transport == "udp" || transport == "unix-datagram" ? 65000 : 65536] {
            let outcome = try peer().run(
                ["pingpong", "--transport", transport, "--wait", wait, "--size", "\(size)"] + short, settings: nil)
            switch outcome {
            case .skipped(let reason): #expect(transport == "sockmap", "\(reason)")
            case .measured(let sample):
                #expect((sample.values[.median] ?? 0) > 0)
                #expect((sample.values[.p999] ?? 0) >= (sample.values[.median] ?? .infinity))
                #expect((sample.values[.processor] ?? 0) > 0)
            }
        }
    }

    @Test(
        "a stream's bytes are all acknowledged", arguments: ["tcp", "tcp-nodelay", "unix", "pipe", "ring", "sockmap"],
        [64, 1000, 65536])
    func stream(_ transport: String, _ size: Int) throws {
        let outcome = try peer().run(["stream", "--transport", transport, "--size", "\(size)"] + short, settings: nil)
        switch outcome {
        case .skipped(let reason): #expect(transport == "sockmap", "\(reason)")
        case .measured(let sample): #expect((sample.values[.rate] ?? 0) > 0)
        }
    }

    @Test(
        "of datagrams one way all that arrive are counted, and none that were not sent", arguments: ["udp", "unix-datagram"],
        [64, 65000])
    func datagrams(_ transport: String, _ size: Int) throws {
        // On a busy machine a receiver may get none in the whole interval: a few large ones fill its buffer. In some run it gets its turn.
        for _ in 0..<50 {
            guard
                case .measured(let sample) = try peer().run(
                    ["stream", "--transport", transport, "--size", "\(size)"] + short, settings: nil)
            else {
                Issue.record("skipped")
                return
            }
            let loss = try #require(sample.values[.loss])
            // A unix socket makes its sender wait.
            #expect(transport == "udp" ? (0...100).contains(loss) : loss == 0)
            if (sample.values[.rate] ?? 0) > 0 { return }
            #expect(loss == 100)
        }
        Issue.record("nothing ever arrived")
    }

    @Test("many client processes on one server all count", arguments: ["tcp", "unix", "udp", "unix-datagram"])
    func clients(_ transport: String) throws {
        guard
            case .measured(let sample) = try peer().run(
                ["clients", "--connections", "5", "--transport", transport, "--warmup", "5", "--run", "100"], settings: nil)
        else {
            Issue.record("skipped")
            return
        }
        #expect((sample.values[.rate] ?? 0) > 0)
        #expect((sample.values[.median] ?? 0) > 0)
        #expect((sample.values[.processor] ?? 0) > 0)
    }

    @Test(
        "the other patterns end with figures",
        arguments: [
            ["churn"], ["churn", "--transport", "unix"], ["many", "--connections", "50", "--busy", "5"],
            ["rate", "--rate", "200", "--run", "50"],
            ["memory", "--connections", "100", "--messages", "20"], ["calls", "--call", "read-zero"],
            ["calls", "--call", "dup-close"],
            ["start", "--messages", "3"], ["observe", "--connections", "20", "--messages", "3", "--call", "/bin/kill -0 PID"],
        ])
    func pattern(_ arguments: [String]) throws {
        guard case .measured(let sample) = try peer().run(short + arguments, settings: nil) else {
            Issue.record("skipped")
            return
        }
        #expect((sample.values[.rate] ?? 0) > 0)
        if arguments[0] == "memory" { #expect(sample.values[.resident] != nil) }
        if ["calls", "start", "observe"].contains(arguments[0]) { #expect((sample.values[.cost] ?? 0) > 0) }
    }

    @Test("a run that does not end is ended, and says so")
    func limit() throws {
        #expect(throws: BenchError.self) { try peer().run(["pingpong", "--run", "60000"], settings: nil, limit: 1) }
    }

    @Test(
        "wrong arguments are refused",
        arguments: [
            ["nothing"], ["churn", "--transport", "udp"], ["pingpong", "--size", "x"], ["pingpong", "--cores", "1"],
            ["pingpong", "extra"],
        ])
    func arguments(_ arguments: [String]) throws {
        var child = try Child([peer().path] + arguments, environment: cleanEnvironment(), loud: false)
        #expect(try child.outcome(within: 10).status == 2)
    }
}
