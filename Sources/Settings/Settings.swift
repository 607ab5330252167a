/// The effective settings of a process, read from its environment once at start.
public struct Settings: Sendable {
    /// EF_LOAD_ENV: 0 ignores all other EF_ variables.
    public var loadEnvironment = true
    /// EF_DONT_ACCELERATE: start un-accelerated.
    public var dontAccelerate = false
    /// EF_TCP, EF_UDP: accelerate new sockets of this kind.
    public var tcp = true
    public var udp = true
    /// EF_TCP_CLIENT_LOOPBACK, EF_TCP_SERVER_LOOPBACK: 0 set by the user turns the loopback lane off for that end.
    public var tcpClientLoopback = true
    public var tcpServerLoopback = true
    /// Spin length in microseconds when the user set EF_POLL_USEC or EF_SPIN_USEC; -1 in `spinUsec`: for ever.
    public var spinUsec: Int64 = 0
    /// The spin length when _NET_KERNEL_BYPASS_RECV_MODE=1 says that calls spin, and nothing how long.
    public static var bypassUsec: Int64 { 100_000 }
    /// The user set a spin length or a spin switch: `spinUsec` and the switches rule, not the adaptive policy.
    public var spinIsSet = false
    public var tcpRecvSpin = false
    public var tcpSendSpin = false
    public var udpRecvSpin = false
    public var selectSpin = false
    public var pollSpin = false
    public var epollSpin = false
    /// EF_TCP_ACCEPT_SPIN, EF_TCP_CONNECT_SPIN: read, without effect.
    public var tcpAcceptSpin = false
    public var tcpConnectSpin = false
    /// EF_SHARE_WITH: 0 same uid only, -1 everyone, else that uid too.
    public var shareWith: Int64 = 0
    /// _NET_KERNEL_BYPASS_RECV_MODE: -1 unset (adaptive), 0 never spin, 1 spin.
    public var receiveMode: Int64 = -1
    /// EF_LOG: 0 quiet, else a bit for each category (`LogCategory`).
    public var log: Int64 = 0
    /// SLUICE_LANE_AT: messages after which a lane is tried; 0: before the first byte, waiting for it.
    public var laneAt: Int64 = 16
    /// SLUICE_CHAOS: seed of the chaos mode, 0 off.
    public var chaos: UInt64 = 0
    /// SLUICE_RING_BYTES: bytes of one byte ring, a power of two.
    public var ringBytes: Int64 = 1 << 20
    /// The largest ring, of ours and of a peer's offer.
    public static var largestRing: Int64 { 1 << 28 }
    /// SLUICE_WITH_FILTERS: 0 unset, 1 bypass, 2 refuse.
    public var withFilters: Int64 = 0
    /// EF_TCP_LISTEN_HANDOVER, EF_TCP_CONNECT_HANDOVER: what is accepted, what is connected goes by the kernel.
    public var tcpListenHandover = false
    public var tcpConnectHandover = false
    /// EF_VALIDATE_ENV: names of EF_ variables that are not known are told.
    public var validateEnvironment = true
    /// EF_LOG_FILE: bytes of the path, 0: none.
    public var logFileBytes: Int64 = 0
    /// EF_FDTABLE_SIZE: sockets with this number or a higher one stay in the kernel; 0: no limit.
    public var descriptorTableSize: Int64 = 0
    /// SLUICE_LATENCY: how long calls wait is kept.
    public var latency = false
    /// SLUICE_PORTS.
    public var ports = PortRules()
    /// Bit n: the variable of the setting with place n was malformed or out of range, so its default holds.
    public private(set) var bad: UInt64 = 0
    /// Bit n: the variable of the setting with place n was set, and its value taken.
    public private(set) var given: UInt64 = 0

    public init() {}

    /// Reads the variables by `lookup` (null: unset). An empty value counts as unset, a bad one keeps the default and is
    /// noted in `bad`. Allocates nothing, never traps; call it once, on a fresh value.
    public mutating func load(_ lookup: (UnsafePointer<CChar>) -> UnsafePointer<CChar>?) {
        var place = 0
        while place < Setting.count {
            if let setting = Setting(rawValue: place), loadEnvironment || !setting.isOnload {
                let definition = setting.definition
                if let text = unsafe EnvironmentText(definition.name, lookup) {
                    let bit: UInt64 = 1 << UInt64(place)
                    if let value = definition.parse(text) {
                        given |= bit
                        apply(setting, value)
                        if setting == .ports, let rules = PortRules(text) { ports = rules }
                    } else {
                        bad |= bit
                        if setting == .ports { ports = .none }
                        // Who asks for words wants to hear which of them there are not.
                        if setting == .log { log = definition.knownWords(text) | LogCategory.configWarnings }
                    }
                }
            }
            place += 1
        }
    }

    /// The value of the setting was malformed or out of range.
    public func isBad(_ setting: Setting) -> Bool { bad & (1 << UInt64(setting.rawValue)) != 0 }

    /// The variable was set, and its value taken.
    public func isGiven(_ setting: Setting) -> Bool { given & (1 << UInt64(setting.rawValue)) != 0 }

    private mutating func apply(_ setting: Setting, _ value: Int64) {
        let isOn = value != 0
        switch setting {
        case .loadEnvironment: loadEnvironment = isOn
        case .dontAccelerate: dontAccelerate = isOn
        case .tcp: tcp = isOn
        case .tcpListenHandover: tcpListenHandover = isOn
        case .tcpConnectHandover: tcpConnectHandover = isOn
        case .ports: break  // `load` keeps the rules themselves
        case .udp: udp = isOn
        case .validateEnvironment: validateEnvironment = isOn
        case .logFile: logFileBytes = value
        case .latency: latency = isOn
        case .descriptorTableSize: descriptorTableSize = value
        case .log: log = value
        case .tcpClientLoopback: tcpClientLoopback = isOn
        case .tcpServerLoopback: tcpServerLoopback = isOn
        case .pollUsec, .spinUsec, .tcpRecvSpin, .tcpSendSpin, .udpRecvSpin, .selectSpin, .pollSpin, .epollSpin, .tcpAcceptSpin,
            .tcpConnectSpin:
            applySpin(setting, value)
        case .shareWith: shareWith = value
        case .receiveMode: receiveMode = value
        case .laneAt: laneAt = value
        case .chaos: chaos = UInt64(bitPattern: value)
        case .ringBytes: ringBytes = value
        case .withFilters: withFilters = value
        }
    }

    private mutating func applySpin(_ setting: Setting, _ value: Int64) {
        let isOn = value != 0
        switch setting {
        case .pollUsec:
            spinUsec = microseconds(value)
            tcpRecvSpin = isOn
            tcpSendSpin = isOn
            udpRecvSpin = isOn
            selectSpin = isOn
            pollSpin = isOn
            epollSpin = isOn
            spinIsSet = true
        case .spinUsec:
            spinUsec = microseconds(value)
            spinIsSet = true
        case .tcpAcceptSpin: tcpAcceptSpin = isOn
        case .tcpConnectSpin: tcpConnectSpin = isOn
        case .tcpRecvSpin:
            tcpRecvSpin = isOn
            spinIsSet = true
        case .tcpSendSpin:
            tcpSendSpin = isOn
            spinIsSet = true
        case .udpRecvSpin:
            udpRecvSpin = isOn
            spinIsSet = true
        case .selectSpin:
            selectSpin = isOn
            spinIsSet = true
        case .pollSpin:
            pollSpin = isOn
            spinIsSet = true
        case .epollSpin:
            epollSpin = isOn
            spinIsSet = true
        default: break
        }
    }

    /// Onload keeps these lengths in 32 bits, where -1 and the greatest value are one: for ever.
    private func microseconds(_ value: Int64) -> Int64 { value == 4_294_967_295 ? -1 : value }

    /// Stands in a stack's header for a spin setting while the adaptive policy rules.
    public static var adaptive: Int64 { -2 }

    /// A spin setting as it is in force: _NET_KERNEL_BYPASS_RECV_MODE stands above it.
    private func inForce(_ value: Int64, bypassed: Int64) -> Int64 {
        if receiveMode == 0 { return 0 }
        if spinIsSet { return value }
        return receiveMode == 1 ? bypassed : Self.adaptive
    }
    private func inForce(_ isOn: Bool) -> Int64 { inForce(isOn || receiveMode == 1 ? 1 : 0, bypassed: 1) }

    /// The value in force as a number, as it stands in a stack's header (`settings`, at the setting's place).
    public func value(of setting: Setting) -> Int64 {
        switch setting {
        case .loadEnvironment: loadEnvironment ? 1 : 0
        case .dontAccelerate: dontAccelerate ? 1 : 0
        case .tcp: tcp ? 1 : 0
        case .udp: udp ? 1 : 0
        case .log: log
        case .tcpClientLoopback: tcpClientLoopback ? 1 : 0
        case .tcpServerLoopback: tcpServerLoopback ? 1 : 0
        case .pollUsec, .spinUsec: inForce(spinUsec, bypassed: Self.bypassUsec)
        case .tcpRecvSpin: inForce(tcpRecvSpin)
        case .tcpSendSpin: inForce(tcpSendSpin)
        case .udpRecvSpin: inForce(udpRecvSpin)
        case .selectSpin: inForce(selectSpin)
        case .pollSpin: inForce(pollSpin)
        case .epollSpin: inForce(epollSpin)
        case .tcpAcceptSpin: tcpAcceptSpin ? 1 : 0
        case .tcpConnectSpin: tcpConnectSpin ? 1 : 0
        case .shareWith: shareWith
        case .receiveMode: receiveMode
        case .laneAt: laneAt
        case .chaos: Int64(truncatingIfNeeded: chaos)
        case .ringBytes: ringBytes
        case .withFilters: withFilters
        case .tcpListenHandover: tcpListenHandover ? 1 : 0
        case .tcpConnectHandover: tcpConnectHandover ? 1 : 0
        case .ports: Int64(ports.count)
        case .validateEnvironment: validateEnvironment ? 1 : 0
        case .logFile: logFileBytes
        case .latency: latency ? 1 : 0
        case .descriptorTableSize: descriptorTableSize
        }
    }
}

/// Categories of EF_LOG, as bits of `Settings.log`, in the order of the table's words.
public enum LogCategory {
    public static var banner: Int64 { 1 }
    public static var resourceWarnings: Int64 { 2 }
    public static var connectionDrop: Int64 { 4 }
    public static var configWarnings: Int64 { 8 }
    public static var moreConfigWarnings: Int64 { 16 }
    public static var usageWarnings: Int64 { 32 }
}
