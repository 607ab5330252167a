extension OtherSettings {
    /// Packets, queues and pipes.
    static func buffers(_ rows: inout some SettingVisitor) {
        rows.number("EF_MAX_PACKETS", 32_768, 1_024...1_000_000_000, "Packet buffers of a stack.", why: noPackets)
        rows.number("EF_MAX_RX_PACKETS", 24_576, 0...1_000_000_000, "Those of them for what arrives.", why: noPackets)
        rows.number("EF_MAX_TX_PACKETS", 24_576, 0...1_000_000_000, "Those of them for what is sent.", why: noPackets)
        rows.number("EF_MIN_FREE_PACKETS", 100, 0...1_000_000_000, "Free ones that a new stack must have.", why: noPackets)
        rows.number("EF_FREE_PACKETS_LOW_WATERMARK", 0, 0...65_535, "Free ones to keep.", why: noPackets)
        rows.number("EF_PREFAULT_PACKETS", 1, 0...1_000_000_000, "Those that are touched beforehand.", why: noPackets)
        rows.flag("EF_PREALLOC_PACKETS", 0, "All are made beforehand.", why: noPackets)
        rows.number("EF_ENDPOINT_PACKET_RESERVE", 0, 0...1_024, "Those reserved for each socket.", why: noPackets)
        rows.number(
            "EF_USE_HUGE_PAGES", 1, 0...2,
            "Huge pages: 0 none, 1 where there are some, 2 only them. Rings have pages as the kernel gives them.", .accepted)
        rows.number("EF_COMPOUND_PAGES_MODE", 0, 0...2, "Kind of pages.", why: noPackets)
        rows.number("EF_PACKET_BUFFER_MODE", 0, 0...3, "How the card addresses packets.", why: noCard)
        rows.number(
            "EF_MAX_ENDPOINTS", 8_192, 4...2_097_152, "Most sockets of a stack. Here it is 131072.", .accepted, kind: .powerOfTwo)
        rows.number("EF_RXQ_SIZE", -1, -1...32_768, "Size of the card's receive queue.", why: noCard)
        rows.number("EF_TXQ_SIZE", -1, -1...4_096, "Size of the card's send queue.", why: noCard)
        rows.number("EF_RXQ_LIMIT", 65_535, 16...65_535, "How far the receive queue is filled.", why: noCard)
        rows.number("EF_RXQ_MIN", 256, 0...65_535, "How far it must be filled.", why: noCard)
        rows.number("EF_SHARED_RXQ_NUM", -1, -1...2_147_483_647, "A shared receive queue.", why: noCard)
        rows.number("EF_ICMP_PKTS", 64, 2...1_024, "ICMP messages that are kept.", why: noStackOfTCP)
        rows.number("EF_PIPE", 2, 0...2, "Pipes in user space. They are the kernel's so far.", .accepted)
        rows.number(
            "EF_PIPE_SIZE", 237_568, 4_096...1_048_576, "Size of a pipe. Pipes are the kernel's so far.", .accepted,
            unit: "bytes", text: "128 packets")
    }

    /// UDP and multicast.
    static func datagrams(_ rows: inout some SettingVisitor) {
        rows.number(
            "EF_UDP_SNDBUF", 0, 0...1_073_741_824, "Send buffer of UDP sockets. Here they keep what the program sets.", .accepted,
            unit: "bytes")
        rows.number(
            "EF_UDP_RCVBUF", 0, 0...1_073_741_824, "Receive buffer of UDP sockets. Here they keep what the program sets.",
            .accepted, unit: "bytes")
        rows.number(
            "EF_UDP_CONNECT_HANDOVER", 1, 0...2, "When connect gives a UDP socket to the kernel. Here never.",
            .accepted)
        rows.number(
            "EF_UDP_PORT_HANDOVER_MIN", 2, 0...65_535,
            "First port whose UDP sockets travel by the kernel. Here SLUICE_PORTS says that.",
            .accepted)
        rows.number("EF_UDP_PORT_HANDOVER_MAX", 1, 0...65_535, "The last of them.", .accepted)
        rows.number("EF_UDP_PORT_HANDOVER2_MIN", 2, 0...65_535, "First port of a second range.", .accepted)
        rows.number("EF_UDP_PORT_HANDOVER2_MAX", 1, 0...65_535, "The last of it.", .accepted)
        rows.number("EF_UDP_PORT_HANDOVER3_MIN", 2, 0...65_535, "First port of a third range.", .accepted)
        rows.number("EF_UDP_PORT_HANDOVER3_MAX", 1, 0...65_535, "The last of it.", .accepted)
        rows.flag("EF_UDP_SEND_UNLOCKED", 1, "Sends without the stack's lock.", why: noStackLock)
        rows.number(
            "EF_UDP_SEND_UNLOCK_THRESH", 1_500, 0...65_535, "Size from which a send does so.", why: noStackLock, unit: "bytes")
        rows.flag("EF_UDP_SEND_NONBLOCK_NO_PACKETS_MODE", 0, "What a send without packets does.", why: noPackets)
        rows.flag("EF_MCAST_RECV", 1, "Accelerates the receiving of multicast. It travels by the kernel so far.", .accepted)
        rows.number(
            "EF_MCAST_SEND", 0, 0...3, "To whom multicast is looped back. The kernel loops it back as the socket says.", .accepted
        )
        rows.flag("EF_MCAST_RECV_HW_LOOP", 1, "Takes multicast that the card loops back.", why: noCard)
        rows.flag("EF_MULTICAST_LOOP_OFF", 1, "The old form of a bit of EF_MCAST_SEND.", .accepted)
        rows.flag(
            "EF_FORCE_SEND_MULTICAST", 1, "Accelerates the sending of multicast. It travels by the kernel so far.", .accepted)
        rows.flag(
            "EF_MCAST_JOIN_BINDTODEVICE", 0,
            "Who joins a group is bound to its interface. Here the socket keeps what the program sets.", .accepted)
        rows.number(
            "EF_MCAST_JOIN_HANDOVER", 0, 0...2, "When joining gives a socket to the kernel. Here it is there already.", .accepted)
        rows.flag("EF_BINDTODEVICE_HANDOVER", 0, "SO_BINDTODEVICE gives a socket to the kernel.", .accepted)
        rows.number("EF_DEFER_ARP_MAX", 128, 0...4_096, "Packets that wait for a neighbour's address.", why: noARP)
        rows.number("EF_DEFER_ARP_TIMEOUT", 60, 1...600, "How long they wait.", why: noARP, unit: "s")
    }
}
