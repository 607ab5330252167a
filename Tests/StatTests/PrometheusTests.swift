import Foundation
import Testing

@testable import sluicestat

@Suite struct PrometheusTests {
    let me = String(getpid())

    @Test("two stacks of one process are one series")
    func oneSeries() throws {
        let memories = [StackMemory(StackImage().bytes), StackMemory(StackImage().bytes)]
        let run = try ToolRun(["prometheus"])
        withExtendedLifetime(memories) {}
        let series = run.output.split(separator: "\n").filter { $0.hasPrefix("sluice_lanes{pid=\"\(me)\",") }
        #expect(run.status == 0 && series.count == 1, "\(series)")
    }

    @Test("what Prometheus's format gives a meaning is escaped")
    func escapes() {
        var page = Exposition()
        page.begin("a", .gauge, "one \\ two\nthree \"four\"")
        page.sample("a", [("x", "\\ \n \""), ("y", "é")], 5)
        page.sample("a", [], .max)
        #expect(
            page.text == """
                # HELP a one \\\\ two\\nthree "four"
                # TYPE a gauge
                a{x="\\\\ \\n \\"",y="é"} 5
                a 18446744073709551615

                """)
    }

    @Test("requests get the answer of their kind")
    func http() {
        func status(_ request: String) -> String { String(MetricsServer.response(to: request) { "page" }.prefix(12).suffix(3)) }
        #expect(status("GET /metrics?x=1 HTTP/1.1\r\n\r\n") == "200" && status("GET / HTTP/1.0\n\n") == "200")
        #expect(status("DELETE / HTTP/1.1\r\n\r\n") == "405" && status("GET /a HTTP/1.1\r\n\r\n") == "404")
        for wrong in ["", "\r\n\r\n", "GET /\r\n\r\n", "GET / HTTP/2\r\n\r\n", "GET / HTTP/1.1 x\r\n\r\n"] {
            #expect(status(wrong) == "400", "\(wrong)")
        }
        #expect(
            MetricsServer.response(to: "HEAD / HTTP/1.1\r\n\r\n") { "page" }.hasSuffix(
                "Content-Length: 4\r\nConnection: close\r\n\r\n"))
    }
}
