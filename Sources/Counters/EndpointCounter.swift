import CStackLayout

/// One counter of an endpoint (`sl_endpoint_counters`): its place there, its name in tools, and what it counts.
public struct EndpointCounter: Sendable {
    /// Byte offset inside `sl_endpoint_counters`.
    public let offset: Int
    /// 8 or 4 bytes.
    public let bytes: Int
    public let name: StaticString
    /// What it is a number of.
    public let unit: StaticString
    public let doc: StaticString
    /// Of several endpoints the greatest tells, not the sum.
    public let isMaximum: Bool

    private init(
        _ offset: Int, _ name: StaticString, _ unit: StaticString, _ doc: StaticString, bytes: Int = 8, isMaximum: Bool = false
    ) {
        self.offset = offset
        self.bytes = bytes
        self.name = name
        self.unit = unit
        self.doc = doc
        self.isMaximum = isMaximum
    }

    /// How many counters an endpoint has.
    public static var count: Int { 14 }

    /// The row at `place`, in the order of the structure; nil outside `0 ..< count`.
    public static func row(_ place: Int) -> EndpointCounter? {
        switch place {
        case 0: EndpointCounter(0, "rx_packets", "receives", "Receives that took bytes, or a datagram, from a ring.")
        case 1: EndpointCounter(8, "rx_packets_spin", "spins", "Spins of a receive that ended with news from the peer.")
        case 2:
            EndpointCounter(
                16, "tx_packets", "publications",
                "Publications to a ring: one for a send or a datagram, several when a send waits for room.")
        case 3: EndpointCounter(24, "tx_packets_spin", "spins", "Spins of a send that ended with room in the ring.")
        case 4: EndpointCounter(32, "rx_ring_bytes", "bytes", "Bytes read from a ring.")
        case 5: EndpointCounter(40, "tx_ring_bytes", "bytes", "Bytes put into a ring.")
        case 6: EndpointCounter(48, "rx_kernel_bytes", "bytes", "Bytes read from the kernel since the socket is tracked.")
        case 7: EndpointCounter(56, "tx_kernel_bytes", "bytes", "Bytes given to the kernel since the socket is tracked.")
        case 8:
            EndpointCounter(
                64, "drops", "packets", "Datagrams that were sent and dropped, since the ring was full; always 0 for streams.")
        case 9: EndpointCounter(72, "lane_openings", "lanes", "How often a lane was opened.")
        case 10:
            EndpointCounter(
                80, "lane_handbacks", "lanes", "How often what is sent went back to the kernel, for good or for a while.")
        case 11: EndpointCounter(88, "sleeps", "waits", "How often a receive or a send slept on this socket's lane.")
        case 12:
            EndpointCounter(
                96, "wakes_sent", "wake-ups", "Wake-ups that were sent to a sleeping peer: bells, of UDP datagrams by the kernel."
            )
        case 13:
            EndpointCounter(
                104, "send_spin_max", "turns", "Most turns that a send spun in one wait for room.", bytes: 4, isMaximum: true)
        default: nil
        }
    }
}
