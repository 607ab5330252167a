import CLinux

/// The effective settings of a process, read from its environment once at start.
public struct Settings {
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
    /// The user set a spin length or a spin switch: `spinUsec` and the switches rule, not the adaptive policy.
    public var spinIsSet = false
    public var tcpRecvSpin = false
    public var tcpSendSpin = false
    public var selectSpin = false
    public var pollSpin = false
    public var epollSpin = false
    /// EF_SHARE_WITH: 0 same uid only, -1 everyone, else that uid too.
    public var shareWith: Int64 = 0
    /// _NET_KERNEL_BYPASS_RECV_MODE: -1 unset (adaptive), 0 never spin, 1 spin.
    public var receiveMode: Int64 = -1
    /// EF_LOG level: 0 quiet.
    public var log: Int64 = 0
    /// SLUICE_LANE_AT: messages after which a lane is tried; 0: before the first byte, waiting for it.
    public var laneAt: Int64 = 16
    /// SLUICE_CHAOS: seed of the chaos mode, 0 off.
    public var chaos: UInt64 = 0
    /// SLUICE_RING_BYTES: bytes of one byte ring, a power of two.
    public var ringBytes: Int64 = 1 << 20

    public init() {}

    /// Reads the variables by `lookup` (null: unset).
    public mutating func load(_ lookup: (UnsafePointer<CChar>) -> UnsafePointer<CChar>?) {
        if let v = lookup("SLUICE_LANE_AT"), v[0] != 0 { laneAt = Int64(v[0]) - 48 }
    }
}
