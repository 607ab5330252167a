/// The settings that act, or that tools show as in force; Onload's others stand in `OtherSettings`. Parser, tools and manual
/// are made from these two alone. A case's raw value is its place in the table, and in `settings` of a stack's header: the numbers are fixed, new ones go
/// to the end. `load` reads in this order, so what overrides stands below what it overrides.
public enum Setting: Int, Sendable {
    case loadEnvironment = 0
    case dontAccelerate
    case tcp
    case udp
    case log
    case tcpClientLoopback
    case tcpServerLoopback
    case pollUsec
    case spinUsec
    case tcpRecvSpin
    case tcpSendSpin
    case selectSpin
    case pollSpin
    case epollSpin
    case tcpAcceptSpin
    case tcpConnectSpin
    case shareWith
    case receiveMode
    case laneAt
    case chaos
    case ringBytes
    case withFilters
    case tcpListenHandover
    case tcpConnectHandover
    case ports
    case validateEnvironment
    case logFile
    case descriptorTableSize
    case udpRecvSpin
    case latency

    /// How many settings there are; their places are `0 ..< count`. At most 32 (room in a stack's header).
    public static var count: Int { 30 }

    /// EF_LOAD_ENV=0 ignores it.
    public var isOnload: Bool {
        switch self {
        case .loadEnvironment, .receiveMode, .laneAt, .chaos, .ringBytes, .withFilters, .ports, .latency: false
        default: true
        }
    }
}
