import CLinux
import CStackLayout
import CTestSupport
import Counters
import SharedMemory
import Testing

@testable import Stacks

extension StacksTests {
    @Suite struct MeetingNameTests {
        private func address(_ last: UInt8, _ port: UInt16) -> sl_address {
            var a = sl_address()
            withUnsafeMutableBytes(of: &a.ip) {
                $0[10] = 0xff
                $0[11] = 0xff
                $0[12] = 127
                $0[15] = last
            }
            a.port = port
            return a
        }

        private func bytes(_ cookie: UInt64, _ acceptor: sl_address, _ connector: sl_address) -> [UInt8] {
            var name = MeetingName(cookie: cookie, acceptor: acceptor, connector: connector)
            var out = sockaddr_un()
            let length = name.address(&out)
            #expect(length == 2 + 1 + 48)
            return withUnsafeBytes(of: out) { Array($0.prefix(Int(length))) }
        }

        @Test("an abstract name; each part of cookie and 4-tuple makes another one")
        func unique() {
            let first = bytes(5, address(1, 80), address(1, 40_000))
            #expect(first[2] == 0 && Array(first[3..<7]) == Array("slu1".utf8))
            #expect(first == bytes(5, address(1, 80), address(1, 40_000)))
            var seen: Set = [first]
            let others = [
                bytes(6, address(1, 80), address(1, 40_000)), bytes(5 | 1 << 63, address(1, 80), address(1, 40_000)),
                bytes(5, address(1, 81), address(1, 40_000)), bytes(5, address(1, 80), address(1, 40_001)),
                bytes(5, address(2, 80), address(1, 40_000)), bytes(5, address(1, 80), address(2, 40_000)),
                bytes(5, address(1, 40_000), address(1, 80)), bytes(5, address(1, 80 << 8), address(1, 40_000)),
            ]
            for name in others { #expect(seen.insert(name).inserted) }
        }

        @Test("random tuples: equal names only for equal tuples")
        func random() {
            var random = SeededRandom(seed: 41)
            var seen: [[UInt8]: [UInt64]] = [:]
            for _ in 0..<5_000 {
                let tuple =
                    [UInt64.random(in: 0..<4, using: &random)] + (0..<4).map { _ in UInt64.random(in: 0..<4, using: &random) }
                let name = bytes(
                    tuple[0], address(UInt8(tuple[1]), UInt16(tuple[2]) << 8), address(UInt8(tuple[3]), UInt16(tuple[4]) << 8))
                #expect(seen.updateValue(tuple, forKey: name) ?? tuple == tuple)
            }
            #expect(seen.count == Set(seen.values).count)
        }
    }

    @Suite struct KernelCountsTests {
        @Test("on a real connection, with bytes read, bytes unread, and bytes in both directions")
        func counts() throws {
            let c = try Connection()
            func check(_ sent: UInt64, _ arrived: UInt64, _ read: UInt64, _ back: UInt64) throws {
                let client = try #require(KernelCounts.take(c.client, connecting: true))
                let server = try #require(KernelCounts.take(c.server, connecting: false))
                #expect(client.sent == sent && server.received == arrived && server.read == read)
                #expect(server.sent == back && client.received == back && client.read == 0)
            }
            try check(0, 0, 0, 0)
            #expect(c.send(c.client, 1000))
            try check(1000, 1000, 0, 0)
            #expect(c.receive(c.server, 300))
            try check(1000, 1000, 300, 0)
            #expect(c.send(c.server, 50))
            #expect(c.receive(c.server, 700) && c.send(c.client, 1))
            try check(1001, 1001, 1000, 50)
        }

        @Test("with queues that the receiver's buffer cannot hold: what lies at the sender counts as sent, not as received")
        func full() throws {
            let c = try Connection()
            var sent = 0
            let bytes = [UInt8](repeating: 1, count: 60_000)
            while true {
                let n = slc_sendto(c.client, bytes, bytes.count, 0x40)
                guard n > 0 else { break }
                sent += n
            }
            let client = try #require(KernelCounts.take(c.client, connecting: true))
            let server = try #require(KernelCounts.take(c.server, connecting: false))
            #expect(client.sent == UInt64(sent) && client.unacknowledged <= client.sent)
            #expect(server.read == 0 && server.received <= client.sent && server.received >= client.sent - client.unacknowledged)
        }

        @Test("no counts of a connection that has ended, of a listener, or of no socket")
        func none() throws {
            let c = try Connection()
            #expect(slc_shutdown(c.client, 1) == 0)
            #expect(KernelCounts.take(c.client, connecting: true) == nil)
            let fd = Int32(slc_socket(AF_INET, 1, 0))
            #expect(KernelCounts.take(fd, connecting: true) == nil && slc_listen(fd, 1) == 0)
            #expect(KernelCounts.take(fd, connecting: false) == nil)
            slc_close(fd)
            #expect(KernelCounts.take(-1, connecting: true) == nil)
        }
    }
}
