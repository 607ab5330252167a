import Settings
import Testing

/// Settings as a program would see them with exactly these variables set.
func settings(_ variables: [String: String]) -> Settings {
    var result = Settings()
    let values = variables.mapValues { Array($0.utf8CString) }
    result.load { name in
        guard let value = values[String(cString: name)] else { return nil }
        // The array stays alive until `load` has returned, and nothing changes it.
        return value.withUnsafeBufferPointer { $0.baseAddress }
    }
    withExtendedLifetime(values) {}
    return result
}

/// The values of all settings, by name.
func values(_ settings: Settings) -> [String: Int64] {
    var result: [String: Int64] = [:]
    for setting in allSettings { result["\(setting.definition.name)"] = settings.value(of: setting) }
    return result
}

let allSettings = (0..<Setting.count).compactMap { Setting(rawValue: $0) }

@Suite struct SettingsTests {
    @Test("nothing set: every setting has the default of the table")
    func defaults() {
        let empty = settings([:])
        #expect(empty.bad == 0 && empty.given == 0 && !empty.spinIsSet)
        for setting in allSettings {
            #expect(empty.value(of: setting) == setting.definition.defaultValue, "\(setting)")
        }
        #expect(values(empty) == values(Settings()))
    }

    @Test("the table: names are unique, ranges hold the defaults, every row is documented, places fit a stack's header")
    func table() {
        #expect(allSettings.count == Setting.count && Setting.count <= 32)
        #expect(Setting(rawValue: Setting.count) == nil, "a row is missing from `count`")
        #expect(Set(allSettings.map { "\($0.definition.name)" }).count == Setting.count)
        for setting in allSettings {
            let row = setting.definition
            #expect(row.minimum < row.maximum && "\(row.doc)".hasSuffix("."), "\(row.name)")
            #expect(setting.isOnload == (setting != .loadEnvironment && "\(row.name)".hasPrefix("EF_")), "\(row.name)")
            let hasWords = row.kind == .word || row.kind == .list
            #expect(hasWords == !"\(row.words)".isEmpty)
        }
    }

    @Test(
        "one variable changes its own setting alone",
        arguments: [
            ("EF_DONT_ACCELERATE", "1", Int64(1)), ("EF_TCP", "0", 0), ("EF_UDP", "0", 0), ("EF_TCP_CLIENT_LOOPBACK", "0", 0),
            ("EF_TCP_SERVER_LOOPBACK", "0", 0), ("EF_SHARE_WITH", "-1", -1), ("EF_SHARE_WITH", "1000", 1000),
            ("EF_LOG", "1", 63), ("EF_LOG", "0", 0), ("EF_LOG", "none", 0), ("EF_LOG", "banner, conn_drop", 5),
            ("EF_LOG", "banner,usage_warnings,-banner", 32),
            ("SLUICE_LANE_AT", "0", 0),
            ("SLUICE_LANE_AT", "200", 200), ("SLUICE_CHAOS", "0xff", 255), ("SLUICE_CHAOS", "9223372036854775807", Int64.max),
            ("SLUICE_RING_BYTES", "4096", 4096), ("SLUICE_WITH_FILTERS", "bypass", 1), ("SLUICE_WITH_FILTERS", "refuse", 2),
            ("SLUICE_PORTS", "6379", 1), ("SLUICE_PORTS", "1, 2-3 ,!22", 3),
            ("EF_TCP_LISTEN_HANDOVER", "1", 1), ("EF_TCP_CONNECT_HANDOVER", "1", 1), ("EF_TCP_ACCEPT_SPIN", "1", 1),
            ("EF_TCP_CONNECT_SPIN", "+1", 1), ("EF_VALIDATE_ENV", "0", 0), ("EF_LOG_FILE", "/a b", 4),
            ("EF_LOG_FILE", String(repeating: "x", count: 255), 255), ("EF_FDTABLE_SIZE", "64", 64),
        ])
    func single(_ name: String, _ text: String, _ value: Int64) throws {
        let loaded = settings([name: text])
        let setting = try #require(allSettings.first { "\($0.definition.name)" == name })
        #expect(loaded.isGiven(setting) && loaded.bad == 0 && !loaded.spinIsSet)
        var expected = values(Settings())
        expected[name] = value
        #expect(values(loaded) == expected)
    }

    @Test(
        "a bad value keeps the default and is noted",
        arguments: [
            ("EF_TCP", "2"), ("EF_TCP", "-1"), ("EF_TCP", "yes"), ("EF_TCP", "0 "), ("EF_TCP", "0x"), ("EF_TCP", "-"),
            ("EF_TCP_CLIENT_LOOPBACK", "5"), ("EF_POLL_USEC", "-2"), ("EF_POLL_USEC", "4294967296"),
            ("EF_SPIN_USEC", "99999999999999999999"), ("EF_SPIN_USEC", "0x1ffffffffffffffff"), ("EF_SHARE_WITH", "2147483648"),
            ("SLUICE_CHAOS", "9223372036854775808"), ("SLUICE_RING_BYTES", "5000"), ("SLUICE_RING_BYTES", "2048"),
            ("SLUICE_WITH_FILTERS", "refuses"), ("SLUICE_WITH_FILTERS", "ref"), ("SLUICE_WITH_FILTERS", "bypass refuse"),
            ("SLUICE_PORTS", "65536"), ("SLUICE_PORTS", "5-4"), ("SLUICE_PORTS", "!"), ("SLUICE_PORTS", "1,"),
            ("SLUICE_PORTS", ",1"),
            ("SLUICE_PORTS", "1-"), ("SLUICE_PORTS", "-1"), ("SLUICE_PORTS", "1;2"), ("SLUICE_PORTS", "1 2"),
            ("SLUICE_PORTS", "http"),
            ("SLUICE_PORTS", String(repeating: "1,", count: 16) + "1"), ("_NET_KERNEL_BYPASS_RECV_MODE", "-1"),
            ("EF_TCP", String(repeating: "0", count: 300)), ("EF_LOG_FILE", String(repeating: "x", count: 256)),
            ("EF_FDTABLE_SIZE", "-1"),
        ])
    func badValue(_ name: String, _ text: String) throws {
        let loaded = settings([name: text])
        let setting = try #require(allSettings.first { "\($0.definition.name)" == name })
        #expect(loaded.isBad(setting) && !loaded.isGiven(setting))
        #expect(loaded.bad == 1 << UInt64(setting.rawValue))
        #expect(values(loaded) == values(Settings()) && !loaded.spinIsSet)
    }

    @Test(
        "words of EF_LOG that are not known are said to be, and the others hold",
        arguments: [
            ("banner,,conn_drop", 1 | 4 | 8), ("loud", 8), (",", 8), ("nonesuch", 8), ("non", 8), ("banner,none", 9),
            ("loud,usage_warnings,-config_warnings", 32 | 8),
            (String(repeating: "banner,", count: 40), 8),
        ])
    func unknownWords(_ text: String, _ value: Int) {
        let loaded = settings(["EF_LOG": text])
        #expect(loaded.log == Int64(value) && loaded.isBad(.log) && !loaded.isGiven(.log))
    }

    @Test("an empty value counts as unset")
    func emptyValue() {
        let loaded = settings(["EF_TCP": "", "EF_POLL_USEC": ""])
        #expect(loaded.tcp && loaded.bad == 0 && loaded.given == 0 && !loaded.spinIsSet)
    }

    @Test("EF_LOAD_ENV=0 ignores the other EF_ variables and no others")
    func loadEnvironment() {
        let loaded = settings([
            "EF_LOAD_ENV": "0", "EF_TCP": "0", "EF_POLL_USEC": "100", "EF_SHARE_WITH": "junk", "SLUICE_LANE_AT": "3",
            "_NET_KERNEL_BYPASS_RECV_MODE": "1",
        ])
        #expect(loaded.tcp && !loaded.spinIsSet && loaded.bad == 0)
        #expect(loaded.laneAt == 3 && loaded.receiveMode == 1 && !loaded.loadEnvironment)
    }
}

@Suite struct SpinSettingsTests {
    func switches(_ s: Settings) -> [Bool] {
        [s.tcpRecvSpin, s.tcpSendSpin, s.udpRecvSpin, s.selectSpin, s.pollSpin, s.epollSpin]
    }

    @Test("EF_POLL_USEC sets the length and the switches of the data and readiness calls, not of accept and connect")
    func master() {
        let loaded = settings(["EF_POLL_USEC": "100"])
        #expect(loaded.spinIsSet && loaded.spinUsec == 100 && switches(loaded) == [true, true, true, true, true, true])
        #expect(!loaded.tcpAcceptSpin && !loaded.tcpConnectSpin)
    }

    @Test("a single switch and EF_SPIN_USEC stand above EF_POLL_USEC")
    func overrides() {
        let loaded = settings(["EF_POLL_USEC": "100", "EF_SPIN_USEC": "-1", "EF_POLL_SPIN": "0"])
        #expect(loaded.spinUsec == -1 && switches(loaded) == [true, true, true, true, false, true])
    }

    @Test("EF_POLL_USEC=0 and a switch of 0 mean: no spin, not: adaptive")
    func noSpin() {
        for variables in [
            ["EF_POLL_USEC": "0"], ["EF_TCP_RECV_SPIN": "0"], ["EF_UDP_RECV_SPIN": "0"], ["EF_EPOLL_SPIN": "0"],
            ["EF_SPIN_USEC": "0"],
        ] {
            let loaded = settings(variables)
            #expect(loaded.spinIsSet && loaded.spinUsec == 0 && switches(loaded) == [false, false, false, false, false, false])
        }
    }

    @Test("EF_SPIN_USEC acts on the calls whose switch is on")
    func lengthAndSwitch() {
        let loaded = settings(["EF_SPIN_USEC": "50", "EF_TCP_RECV_SPIN": "1"])
        #expect(loaded.spinIsSet && loaded.spinUsec == 50 && switches(loaded) == [true, false, false, false, false, false])
    }

    @Test("EF_UDP_RECV_SPIN acts on datagrams alone")
    func datagrams() {
        #expect(switches(settings(["EF_UDP_RECV_SPIN": "1"])) == [false, false, true, false, false, false])
        #expect(switches(settings(["EF_POLL_USEC": "9", "EF_UDP_RECV_SPIN": "0"])) == [true, true, false, true, true, true])
    }

    @Test("what is told to be in force: adaptive until something is set, and what stands above")
    func inForce() {
        func told(_ variables: [String: String]) -> [Int64] {
            let loaded = settings(variables)
            return [.pollUsec, .spinUsec, .tcpRecvSpin, .tcpSendSpin, .udpRecvSpin, .selectSpin, .pollSpin, .epollSpin].map {
                loaded.value(of: $0)
            }
        }
        #expect(settings(["_NET_KERNEL_BYPASS_RECV_MODE": "0"]).receiveMode == 0 && settings([:]).receiveMode == -1)
        #expect(told([:]) == Array(repeating: Settings.adaptive, count: 8))
        #expect(told(["EF_POLL_USEC": "0"]) == [0, 0, 0, 0, 0, 0, 0, 0])
        #expect(told(["EF_POLL_USEC": "50", "EF_POLL_SPIN": "0"]) == [50, 50, 1, 1, 1, 1, 0, 1])
        #expect(told(["_NET_KERNEL_BYPASS_RECV_MODE": "0", "EF_POLL_USEC": "50"]) == [0, 0, 0, 0, 0, 0, 0, 0])
        #expect(told(["_NET_KERNEL_BYPASS_RECV_MODE": "1"]) == [Settings.bypassUsec, Settings.bypassUsec, 1, 1, 1, 1, 1, 1])
        #expect(told(["_NET_KERNEL_BYPASS_RECV_MODE": "1", "EF_POLL_USEC": "0"]) == [0, 0, 1, 1, 1, 1, 1, 1])
    }

    @Test("for ever may be written as -1 or as the greatest 32-bit number")
    func forEver() {
        #expect(settings(["EF_POLL_USEC": "4294967295"]).spinUsec == -1)
        #expect(settings(["EF_POLL_USEC": "-1"]).spinUsec == -1)
        #expect(settings(["EF_SPIN_USEC": "0xffffffff", "EF_TCP_SEND_SPIN": "1"]).spinUsec == -1)
    }
}

/// xorshift64*: the same sequence in every run.
struct SeededGenerator: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
        state ^= state >> 12
        state ^= state << 25
        state ^= state >> 27
        return state &* 2_685_821_657_736_338_717
    }
}

@Suite struct SettingsFuzzTests {
    /// Bytes that parsers stumble over more often than random ones.
    let alphabet = Array("0123456789abcdefxX+-, _.\t".utf8) + [0x7f, 0x80, 0xff]

    func randomText(_ random: inout SeededGenerator, _ setting: Setting) -> [UInt8] {
        var text: [UInt8] = []
        switch Int.random(in: 0..<4, using: &random) {
        case 0: text = (0..<Int.random(in: 0..<12, using: &random)).map { _ in alphabet.randomElement(using: &random)! }
        case 1: text = (0..<Int.random(in: 0..<400, using: &random)).map { _ in UInt8.random(in: 1...255, using: &random) }
        case 2:
            let number = Int64.random(in: Int64.min...Int64.max, using: &random) >> Int64.random(in: 0..<63, using: &random)
            text = Array("\(number)".utf8)
        default:
            let words = "\(setting.definition.words)".split(separator: " ")
            for _ in 0..<Int.random(in: 0..<4, using: &random) {
                text += Array((words.randomElement(using: &random) ?? "-").utf8)
                text.append(alphabet.randomElement(using: &random)!)
            }
        }
        return text
    }

    @Test("random values of every setting: either taken and in range, or bad and the default holds")
    func random() {
        var random = SeededGenerator(state: 0x5175_1ce5_eed0_0001)
        for round in 0..<20_000 {
            let setting = allSettings[round % allSettings.count]
            let text = randomText(&random, setting)
            // A value of exactly the bytes, in memory that ends behind its zero, so that a read beyond it is seen.
            let memory = UnsafeMutablePointer<CChar>.allocate(capacity: text.count + 1)
            defer { memory.deallocate() }
            for (index, byte) in text.enumerated() { memory[index] = CChar(bitPattern: byte) }
            memory[text.count] = 0
            let name = "\(setting.definition.name)"
            var loaded = Settings()
            loaded.load { String(cString: $0) == name ? UnsafePointer(memory) : nil }
            let bit: UInt64 = 1 << UInt64(setting.rawValue)
            if text.isEmpty {
                #expect(loaded.given == 0 && loaded.bad == 0)
            } else {
                #expect((loaded.given == bit) != (loaded.bad == bit), "\(name)=\(text)")
            }
            let value = loaded.value(of: setting)
            let row = setting.definition
            let isInRange = value == row.defaultValue || value >= row.minimum && value <= row.maximum
            #expect(isInRange, "\(name)=\(text)")
            // Of EF_LOG the words hold that are known.
            if loaded.isBad(.log) { loaded.log = 0 }
            if loaded.given == 0 { #expect(values(loaded) == values(Settings())) }
        }
    }

    @Test("ports: only those that are listed, without those that are kept out")
    func ports() {
        func admitted(_ text: String) -> [UInt16] {
            let rules = settings(["SLUICE_PORTS": text]).ports
            return ([0, 21, 22, 23, 6379, 65535] as [UInt16]).filter { rules.admits($0) }
        }
        #expect(admitted("") == [0, 21, 22, 23, 6379, 65535])
        #expect(
            admitted("6379") == [6379] && admitted("22-6379") == [22, 23, 6379]
                && admitted("0-65535,!22") == [0, 21, 23, 6379, 65535])
        #expect(admitted("!22") == [0, 21, 23, 6379, 65535] && admitted("!20-23,!65535") == [0, 6379])
        #expect(admitted("21-23,!22,6379") == [21, 23, 6379] && admitted("!6379,6379") == [])
        #expect(admitted("nonsense") == [], "what was meant is not known")
    }

    @Test("ports of datagrams: one is listed, none is kept out")
    func datagrams() {
        func admits(_ text: String, _ one: UInt16, _ other: UInt16) -> Bool {
            let rules = settings(["SLUICE_PORTS": text]).ports
            #expect(rules.admits(one, other) == rules.admits(other, one))
            return rules.admits(one, other)
        }
        #expect(admits("", 1, 2) && admits("53", 53, 40000) && !admits("53", 54, 40000))
        #expect(!admits("!53", 53, 40000) && admits("!53", 54, 40000) && !admits("53,!40000", 53, 40000))
    }
}

/// The rows of the settings that do nothing here.
struct OtherRows: SettingVisitor {
    var rows: [SettingDefinition] = []
    mutating func visit(_ row: SettingDefinition) { rows.append(row) }

    static let all: [SettingDefinition] = {
        var visitor = OtherRows()
        OtherSettings.visit(&visitor)
        return visitor.rows
    }()
}

@Suite struct OtherSettingsTests {
    @Test("the table: every name stands once, with a default in its range, a text, and for what is absent one sentence why")
    func table() {
        let names = OtherRows.all.map { "\($0.name)" } + allSettings.map { "\($0.definition.name)" }
        #expect(Set(names).count == names.count && OtherRows.all.count > 200)
        for row in OtherRows.all {
            #expect("\(row.name)".hasPrefix("EF_") && row.status != .acts && "\(row.doc)".hasSuffix("."), "\(row.name)")
            let why = "\(row.absence)"
            #expect(
                (row.status == .notApplicable) == !why.isEmpty && why.count(where: { $0 == "." }) == (why.isEmpty ? 0 : 1),
                "\(row.name)")
            #expect((row.kind == .word) == !"\(row.words)".isEmpty && row.minimum < row.maximum, "\(row.name)")
            let hasNumber = row.kind != .word && row.kind != .text
            #expect(!hasNumber || row.defaultValue >= row.minimum && row.defaultValue <= row.maximum, "\(row.name)")
            #expect(hasNumber || !"\(row.defaultText)".isEmpty, "\(row.name)")
        }
    }

    @Test(
        "values are checked as those of the settings that act",
        arguments: [
            ("EF_NO_FAIL", "0", true), ("EF_NO_FAIL", "2", false), ("EF_RXQ_SIZE", "-1", true), ("EF_RXQ_SIZE", "-2", false),
            ("EF_TCP_SYN_OPTS", "0x7", true), ("EF_TCP_SYN_OPTS", "0x10", false), ("EF_MAX_ENDPOINTS", "4096", true),
            ("EF_MAX_ENDPOINTS", "4097", false), ("EF_TCP_URG_MODE", "allow", true), ("EF_TCP_URG_MODE", "deny", false),
            ("EF_NAME", "sixteen_letters_", true), ("EF_NAME", "seventeen_letters", false), ("EF_NAME", "", nil),
            ("EF_NAME", nil, nil),
        ] as [(String, String?, Bool?)])
    func values(_ name: String, _ text: String?, _ isUsable: Bool?) throws {
        let row = try #require(OtherRows.all.first { "\($0.name)" == name })
        let value = text.map { Array($0.utf8CString) }
        let found = row.isUsable { asked in
            // The array stays alive until `isUsable` has returned, and nothing changes it.
            String(cString: asked) == name ? value?.withUnsafeBufferPointer { $0.baseAddress } : nil
        }
        withExtendedLifetime(value) {}
        #expect(found == isUsable)
    }

    @Test(
        "names that are not in the table of what acts",
        arguments: [
            ("EF_NO_SUCH=1", true), ("EF_NAME=x", true), ("EF_TCP=1", false), ("EF_TCPX=1", true), ("EF_TC", true),
            ("EF_=", true),
            ("EF_VI_RXQ_SIZE=1", false), ("TEF_X=1", false), ("EF", false), ("=EF_X", false), ("", false),
        ])
    func foreign(_ variable: String, _ isForeign: Bool) {
        #expect(variable.withCString { EnvironmentName(of: $0).isForeign } == isForeign)
    }
}
