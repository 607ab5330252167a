import Testing

@testable import sluicebench

private let cores = Cores(server: 0, client: 1)
private let peer = Peer(path: "", library: "", cores: cores)

@Test("a measured answer of bench-peer gives rates, percentiles and processor time")
func measuredAnswer() throws {
    let text = """
        {"pattern":"pingpong","messages":1000,"bytes":64000,"elapsed_ns":2000000,"server":{"cpu_ns":3000},"client":{"cpu_ns":1000},
        "maximum_ns":900,"histogram":[[100.0,980],[500.0,15],[900.0,5]]}
        """
    guard case .measured(let sample) = try peer.outcome(of: text) else {
        Issue.record("not measured")
        return
    }
    #expect(sample.values[.rate] == 500_000)
    #expect(sample.values[.processor] == 4)
    #expect(sample.values[.bytes] == 32e6)
    #expect(abs((sample.values[.median] ?? 0) - 100) < 1)
    #expect(abs((sample.values[.p99] ?? 0) - 500) < 1)
    #expect(abs((sample.values[.p999] ?? 0) - 900) < 1)
    #expect(sample.values[.resident] == nil)
}

@Test("what was sent and did not arrive is lost")
func lossAnswer() throws {
    let text = """
        {"pattern":"stream","messages":750,"sent":1000,"bytes":48000,"elapsed_ns":1000000,"server":{"cpu_ns":1},"client":{"cpu_ns":1}}
        """
    guard case .measured(let sample) = try peer.outcome(of: text) else {
        Issue.record("not measured")
        return
    }
    #expect(sample.values[.loss] == 25)
    #expect(sample.values[.rate] == 750_000)
    guard case .measured(let none) = try peer.outcome(of: text.replacing("750", with: "0")) else {
        Issue.record("not measured")
        return
    }
    #expect(none.values[.loss] == 100)
    #expect(none.values[.rate] == 0)
    #expect(none.values[.processor] == nil)
}

@Test("memory of both ends is added, growth only")
func memoryAnswer() throws {
    let text = """
        {"pattern":"memory","messages":10,"bytes":640,"elapsed_ns":1000,
        "server":{"cpu_ns":1,"rss_before":100,"rss_after":300,"pss_before":50,"pss_after":150},
        "client":{"cpu_ns":1,"rss_before":1000,"rss_after":1010,"pss_before":500,"pss_after":505}}
        """
    guard case .measured(let sample) = try peer.outcome(of: text) else {
        Issue.record("not measured")
        return
    }
    #expect(sample.values[.resident] == 105)
    #expect(sample.values[.residentTwice] == 210)
}

@Test("a refusal of the system is no failure")
func skippedAnswer() throws {
    guard case .skipped(let reason) = try peer.outcome(of: #"{"pattern":"pingpong","skipped":"no socket map: refused"}"#) else {
        Issue.record("not skipped")
        return
    }
    #expect(reason == "no socket map: refused")
}

@Test(
    "answers that are none are errors",
    arguments: ["", "{}", #"{"pattern":"x","error":"broken"}"#, #"{"messages":0,"elapsed_ns":1}"#, "not JSON"])
func brokenAnswer(_ text: String) {
    #expect(throws: BenchError.self) { try peer.outcome(of: text) }
}

@Test("wrk: rate, times in their units, processor time per request")
func wrkAnswer() throws {
    let text = """
        Running 1s test @ http://127.0.0.1:1/file
          1 threads and 50 connections
          Latency Distribution
             50%   63.00us
             75%    1.00ms
             99%    2.50ms
          2000 requests in 1.00s, 3.00MB read
        Requests/sec:  19871.25
        """
    let sample = try Nginx.wrk(text, processor: 4e6)
    #expect(sample.values == [.rate: 19871.25, .median: 63_000, .p99: 2_500_000, .processor: 2000])
    #expect(throws: BenchError.self) {
        try Nginx.wrk(text + "\n  Socket errors: connect 0, read 3, write 0, timeout 0", processor: 1)
    }
    #expect(throws: BenchError.self) { try Nginx.wrk("unable to connect", processor: 1) }
}

@Test("ab: rate, and an error for failed requests")
func abAnswer() throws {
    let text = "Complete requests:      5000\nFailed requests:        0\nRequests per second:    6580.12 [#/sec] (mean)"
    let sample = try Nginx.ab(text, requests: 5000, processor: 5e6)
    #expect(sample.values == [.rate: 6580.12, .processor: 1000])
    let failed = "Failed requests:        3\nRequests per second:    6580.12 [#/sec] (mean)"
    #expect(throws: BenchError.self) { try Nginx.ab(failed, requests: 5000, processor: 1) }
}

@Test("redis-benchmark: the line of the test, not its head")
func redisAnswer() throws {
    let text = """
        "test","rps","avg_latency_ms","min_latency_ms","p50_latency_ms","p95_latency_ms","p99_latency_ms","max_latency_ms"
        "GET","129870.13","0.203","0.100","0.199","0.300","0.351","0.900"
        """
    let line = try Redis.line(of: "get", in: text)
    #expect(line.rate == 129870.13)
    #expect(line.median == 0.199)
    #expect(line.p99 == 0.351)
    #expect(throws: BenchError.self) { try Redis.line(of: "set", in: text) }
}

@Test("a field of a file of the kernel")
func kernelField() {
    #expect(field("usage_usec", in: "usage_usec 1234\nuser_usec 1000\n") == 1234)
    #expect(field("user_usec", in: "usage_usec 1234\nuser_usec 1000\n") == 1000)
    #expect(field("system_usec", in: "usage_usec 1234\n") == nil)
}

@Test("pgbench: rate, mean time, processor time per transaction")
func pgbenchAnswer() throws {
    let text = """
        transaction type: <builtin: select only>
        number of transactions actually processed: 2000
        number of failed transactions: 0 (0.000%)
        latency average = 0.063 ms
        initial connection time = 2.117 ms
        tps = 15862.125 (without initial connection time)
        """
    let sample = try PostgreSQL.figures(text, processor: 4e6)
    #expect(sample.values == [.rate: 15862.125, .cost: 63_000, .processor: 2000])
    #expect(throws: BenchError.self) {
        try PostgreSQL.figures(text.replacing("failed transactions: 0", with: "failed transactions: 3"), processor: 1)
    }
    #expect(throws: BenchError.self) {
        try PostgreSQL.figures(text.replacing("processed: 2000", with: "processed: 0"), processor: 1)
    }
    #expect(throws: BenchError.self) { try PostgreSQL.figures("could not connect", processor: 1) }
}

@Test("sockperf: percentiles, processor time per message, and an error for lost ones")
func sockperfAnswer() throws {
    let text = """
        sockperf: [Total Run] RunTime=1.000 sec; Warm up time=400 msec; SentMessages=5001; ReceivedMessages=5000
        sockperf: # dropped messages = 0; # duplicated messages = 0; # out-of-order messages = 0
        sockperf: Summary: Latency is 7.930 usec
        sockperf: ---> percentile 99.990 = 2503.206
        sockperf: ---> percentile 99.900 = 1152.062
        sockperf: ---> percentile 99.000 =    7.681
        sockperf: ---> percentile 50.000 =    5.378
        """
    let sample = try Tools.sockperf(text, processor: 1e7)
    #expect(sample.values.keys.sorted { $0.rawValue < $1.rawValue } == [.median, .p99, .p999, .processor])
    #expect(abs((sample.values[.median] ?? 0) - 5378) < 0.01)
    #expect(abs((sample.values[.p99] ?? 0) - 7681) < 0.01)
    #expect(abs((sample.values[.p999] ?? 0) - 1_152_062) < 0.1)
    #expect(sample.values[.processor] == 2000)
    #expect(throws: BenchError.self) {
        try Tools.sockperf(text.replacing("dropped messages = 0", with: "dropped messages = 2"), processor: 1)
    }
    #expect(throws: BenchError.self) { try Tools.sockperf("sockperf: No messages were received", processor: 1) }
}

@Test("iperf3: what is received, and what is lost")
func iperfAnswer() throws {
    let text = #"{"end":{"streams":[],"sum":{"seconds":2,"packets":1000,"lost_packets":200,"lost_percent":20}}}"#
    let sample = try Tools.iperf(text, size: 1400, processor: 1.6e6)
    #expect(sample.values == [.rate: 400, .bytes: 560_000, .loss: 20, .processor: 2000])
    #expect(throws: BenchError.self) { try Tools.iperf(#"{"error":"unable to connect"}"#, size: 1, processor: 1) }
}

@Test("dnsperf: rate, mean time, and an error for lost questions")
func dnsAnswer() throws {
    let text = """
          Queries sent:         500
          Queries completed:    500 (100.00%)
          Queries lost:         0 (0.00%)
          Queries per second:   68401.362109

          Average Latency (s):  0.000252 (min 0.000013, max 0.004348)
        """
    let sample = try Tools.dnsperf(text, processor: 1e6)
    #expect(sample.values[.rate] == 68401.362109)
    #expect(abs((sample.values[.cost] ?? 0) - 252_000) < 1)
    #expect(sample.values[.processor] == 2000)
    #expect(throws: BenchError.self) {
        try Tools.dnsperf(text.replacing("lost:         0", with: "lost:         3"), processor: 1)
    }
    #expect(throws: BenchError.self) { try Tools.dnsperf("[Timeout]", processor: 1) }
}
