import CStackLayout
import Counters
import Settings
import Testing

@testable import sluicestat

@Suite struct StackReaderTests {
    @Test("a stack is read as it was written; free slots are left out")
    func good() throws {
        var image = StackImage()
        image.header.settings.0 = 1
        image.header.counters.2 = 42
        withUnsafeMutableBytes(of: &image.header.command) { $0.copyBytes(from: Array("redis\u{1b}[31m".utf8)) }
        image.add(state: SL_ENDPOINT_FREE, lane: SL_LANE_KERNEL)
        image.add(
            lane: SL_LANE_LOOPBACK, cookie: 77, local: SocketAddress(ipv4: 0x7f00_0001, port: 6379),
            remote: SocketAddress(ipv4: 0x7f00_0001, port: 40000), rx: 5, tx: 6, drops: 1)
        let record = try StackRecord(MemorySource(image.bytes))
        #expect(record.endpoints.count == 1 && !record.isCut)
        #expect(record.header.command == "redis?[31m")
        #expect(record.header.settings.count == Setting.count && record.header.settings[0] == 1)
        #expect(record.header.counters[StackCounter.lanesOpened] == 42)
        let endpoint = try #require(record.endpoints.first)
        #expect(endpoint.index == 1 && endpoint.cookie == 77 && endpoint.isBypassed && endpoint.isBound)
        #expect(endpoint.local.dotted == "127.0.0.1.6379" && endpoint.remote.port == 40000)
        #expect(endpoint.rxPackets == 5 && endpoint.txPackets == 6 && endpoint.drops == 1)
        #expect(endpoint.counters == [5, 0, 6, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 7])
    }

    @Test("a connection that has left its lane travels by the kernel, and has a reason, also while its memory is there")
    func leftLane() throws {
        var image = StackImage()
        image.add(lane: SL_LANE_LOOPBACK, reason: Reason.damaged.number, flags: SL_EP_GIVEN_UP)
        let endpoint = try #require(try StackRecord(MemorySource(image.bytes)).endpoints.first)
        #expect(!endpoint.isBypassed && endpoint.laneName == "kernel" && endpoint.reason == Reason.damaged.number)
    }

    @Test("what is no stack of this layout is refused with its reason")
    func refused() {
        var image = StackImage()
        image.header.magic = 1
        #expect(throws: StackError.notAStack) { try StackRecord(MemorySource(image.bytes)) }
        image = StackImage()
        image.header.version = 2
        #expect(throws: StackError.otherVersion(2)) { try StackRecord(MemorySource(image.bytes)) }
        #expect(throws: StackError.tooShort) { try StackRecord(MemorySource([1, 2, 3])) }
        #expect(throws: StackError.tooShort) { try StackRecord(MemorySource([], claims: 1 << 40)) }
    }

    @Test(
        "numbers that cannot be are refused",
        arguments: [
            { (header: inout sl_stack_header) in header.endpoint_bytes = 0 }, { $0.endpoint_bytes = 641 },
            { $0.endpoint_bytes = .max }, { $0.first_endpoint = 0 }, { $0.first_endpoint = 641 }, { $0.first_endpoint = .max },
            { $0.endpoints_used = 65 }, { $0.endpoints_used = .max },
        ] as [@Sendable (inout sl_stack_header) -> Void])
    func damaged(_ harm: @Sendable (inout sl_stack_header) -> Void) {
        var image = StackImage()
        harm(&image.header)
        #expect(throws: StackError.damaged) { try StackRecord(MemorySource(image.bytes)) }
    }

    @Test("endpoints beyond the end are not read, also when the file shrinks meanwhile")
    func cut() throws {
        var image = StackImage()
        for _ in 0..<10 { image.add(lane: SL_LANE_KERNEL) }
        let first = Int(SL_STACK_FIRST_ENDPOINT)
        let short = try StackRecord(MemorySource(Array(image.bytes[..<(first + 640 * 3 + 100)])))
        #expect(short.endpoints.count == 3 && short.isCut)
        let shrunk = try StackRecord(MemorySource(image.bytes, end: first + 700))
        #expect(shrunk.endpoints.isEmpty && shrunk.isCut)
    }

    @Test("a stack that claims four thousand million endpoints costs no memory")
    func greedy() throws {
        var image = StackImage()
        image.header.endpoint_capacity = .max
        image.header.endpoints_used = .max
        let record = try StackRecord(MemorySource(image.bytes, claims: Int.max))
        #expect(record.endpoints.isEmpty && record.isCut)
    }

    @Test("random words at every offset never harm the reader")
    func fuzz() {
        var random = SeededGenerator(state: 0x5175_1ce5_eed0_0002)
        var image = StackImage()
        for _ in 0..<4 { image.add(lane: SL_LANE_LOOPBACK) }
        let clean = image.bytes
        let special: [UInt64] = [0, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 1 << 63, .max, .max - 639, 640, 4096]
        var outcomes = Set<String>()
        let fields = Array(stride(from: 0, to: 640, by: 4)) + Array(stride(from: 4096, to: 4096 + 4 * 640, by: 4))
        for round in 0..<(fields.count * 12) {
            var bytes = clean
            let offset = fields[round % fields.count]
            let word = Bool.random(using: &random) ? special.randomElement(using: &random)! : random.next()
            for place in 0..<(round % 2 == 0 ? 4 : 8) {
                bytes[offset + place] = UInt8(truncatingIfNeeded: word >> UInt64(8 * place))
            }
            let end = round % 5 == 0 ? Int.random(in: 0...bytes.count, using: &random) : bytes.count
            do throws(StackError) {
                let record = try StackRecord(MemorySource(bytes, end: end))
                outcomes.insert("read")
                for endpoint in record.endpoints {
                    _ = endpoint.local.dotted + endpoint.remote.host + endpoint.laneName
                    _ = JSONReport.ReasonNote(endpoint.reason)
                }
                _ = JSONReport.text(JSONReport.Stack(record))
                var sum = StackSum(record)
                sum.add(record)
                _ = JSONReport.text(JSONReport.Stats(sum, process: nil))
            } catch {
                outcomes.insert(error.sentence.prefix(20).description)
            }
        }
        #expect(outcomes.count == 5, "\(outcomes)")
    }
}

@Suite struct KernelTableTests {
    @Test("the kernel's own answer is understood, and no mutation of it harms the parser")
    func sockDiag() throws {
        let pair = try LoopbackPair()
        let found = try #require(SockDiag.sockets(isTCP: true, isIPv6: false, namespace: "n"))
        let listener = try #require(found.first { $0.local.port == pair.port && $0.isListening })
        #expect(listener.stateName == "LISTEN" && listener.cookie == pair.cookie(of: pair.listener))
        let client = try #require(found.first { $0.remote.port == pair.port && $0.local.port == pair.clientPort })
        #expect(client.stateName == "ESTABLISHED")
        #expect(client.cookie == pair.cookie(of: pair.client) && client.inode != 0 && client.local.isLoopback)

        var random = SeededGenerator(state: 0x5175_1ce5_eed0_0003)
        // Two answers of 72 bytes, made of a request, and the mark of the end.
        var one = SockDiag.dumpRequest(isTCP: true, isIPv6: true) + [UInt8](repeating: 1, count: 16)
        one[0] = UInt8(one.count)
        let end: [UInt8] = [16, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        let answer = one + one + end
        var whole: [KernelSocket] = []
        #expect(SockDiag.parse(answer, isTCP: true, namespace: "n", into: &whole) == .done && whole.count == 2)
        for _ in 0..<20_000 {
            var bytes = answer
            for _ in 0..<Int.random(in: 1...6, using: &random) {
                bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
            }
            bytes.removeLast(Int.random(in: 0...bytes.count, using: &random))
            var sockets: [KernelSocket] = []
            _ = SockDiag.parse(bytes, isTCP: true, namespace: "n", into: &sockets)
            for socket in sockets { _ = socket.stateName + socket.local.dotted }
        }
    }

    @Test("/proc/net/tcp tells the same as sock_diag but the cookie")
    func procNet() throws {
        let pair = try LoopbackPair()
        let lines = String(decoding: try #require(fileBytes("/proc/self/net/tcp")), as: UTF8.self).split(separator: "\n")
        let sockets = lines.compactMap { procNetSocket(String($0), isTCP: true, isIPv6: false, namespace: "n") }
        let client = try #require(sockets.first { $0.remote.port == pair.port && $0.local.port == pair.clientPort })
        #expect(client.stateName == "ESTABLISHED")
        let dump = try #require(SockDiag.sockets(isTCP: true, isIPv6: false, namespace: "n"))
        let same = try #require(dump.first { $0.inode == client.inode })
        #expect(client.local == same.local && client.remote == same.remote && client.userID == same.userID)
        #expect(client.cookie == nil)
        let v6 = "  1: 00000000000000000000000001000000:1F90 00000000000000000000000000000000:0000 0A 0:0 0:0 0 1000 0 4242 1 0"
        let socket = try #require(procNetSocket(v6, isTCP: true, isIPv6: true, namespace: "n"))
        #expect(socket.local.dotted == "::1.8080" && socket.isListening && socket.userID == 1000 && socket.inode == 4242)
        #expect(procNetSocket("  sl  local_address rem_address", isTCP: true, isIPv6: false, namespace: "n") == nil)
    }
}

@Suite struct WordsTests {
    @Test("addresses are written as Solaris wrote them")
    func addresses() {
        #expect(SocketAddress(ipv4: 0, port: 48944).dotted == "*.48944")
        #expect(SocketAddress(bytes: [], port: 48944).dotted == "::.48944")
        #expect(SocketAddress(bytes: [], port: 0).dotted == "*.*")
        #expect(SocketAddress(ipv4: 0, port: 0).dotted == "*.*")
        #expect(SocketAddress(ipv4: 0x0a00_0001, port: 80).dotted == "10.0.0.1.80")
        #expect(SocketAddress(bytes: [0x20, 1, 0xd, 0xb8], port: 443).dotted == "2001:db8::.443")
        #expect(SocketAddress(bytes: Array(repeating: 0, count: 15) + [1], port: 1).isLoopback)
        #expect(SocketAddress(ipv4: 0x7f01_0203, port: 1).isLoopback && !SocketAddress(ipv4: 0x0a00_007f, port: 1).isLoopback)
    }

    @Test("text of other processes cannot steer the terminal")
    func safeText() {
        #expect(printable(Array("a\u{1b}]0;x\u{7}b\nc\u{9b}d\u{202e}é".utf8)) == "a?]0;x?b?c?d?é")
        #expect(printable([0x41, 0xff, 0x42]) == "A\u{fffd}B")
    }

    @Test("every reason has a name of its own, a sentence and an advice; numbers outside have none")
    func reasons() {
        var names = Set<String>()
        for number in 0..<Reason.count {
            let text = Reason(number).text
            names.insert("\(text?.name ?? "")")
            #expect("\(text?.sentence ?? "")".hasSuffix(".") && "\(text?.action ?? "")".hasSuffix("."), "reason \(number)")
        }
        #expect(names.count == Int(Reason.count) && !names.contains(""))
        for number in [Reason.count, 1000, .max] {
            #expect(Reason(number).text == nil && JSONReport.ReasonNote(number).name == "unknown")
        }
    }

    @Test("the counter tables name every counter of the layout once")
    func counters() {
        let rows = (0..<EndpointCounter.count).compactMap { EndpointCounter.row($0) }
        #expect(rows.count == EndpointCounter.count && EndpointCounter.row(EndpointCounter.count) == nil)
        typealias Layout = MemoryLayout<sl_endpoint_counters>
        let expected = [
            Layout.offset(of: \.rx_packets), Layout.offset(of: \.rx_packets_spin), Layout.offset(of: \.tx_packets),
            Layout.offset(of: \.tx_packets_spin), Layout.offset(of: \.rx_ring_bytes), Layout.offset(of: \.tx_ring_bytes),
            Layout.offset(of: \.rx_kernel_bytes), Layout.offset(of: \.tx_kernel_bytes), Layout.offset(of: \.drops),
            Layout.offset(of: \.lane_openings), Layout.offset(of: \.lane_handbacks), Layout.offset(of: \.sleeps),
            Layout.offset(of: \.wakes_sent), Layout.offset(of: \.send_spin_max),
        ]
        #expect(rows.map { $0.offset } == expected)
        let processRows = (0..<StackCounter.count).compactMap { StackCounter.row($0) }
        #expect(processRows.count == StackCounter.count && StackCounter.count <= Int(SL_STACK_COUNTERS))
        #expect(Set(processRows.map { "\($0.name)" }).count == StackCounter.count)
        #expect(CounterText.all.count == rows.count + processRows.count && CounterText.all.allSatisfy { !$0.unit.isEmpty })
        #expect(CounterText.ofSockets.allSatisfy { !$0.name.hasSuffix("_bytes") || $0.unit == "bytes" })
    }

    @Test("the tables print every entry, as text and as manual")
    func tables() {
        #expect(Tables.settings.count == Setting.count + SettingRows.others.count && Tables.reasons.count == Int(Reason.count))
        #expect(Tables.counters.count == EndpointCounter.count + StackCounter.count)
        #expect(Tables.settings.contains { $0.title == "EF_POLL_USEC" && $0.facts.contains("us") })
    }
}
