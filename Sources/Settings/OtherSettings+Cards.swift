extension OtherSettings {
    /// Time stamps of packets.
    static func timestamps(_ rows: inout some SettingVisitor) {
        rows.number("EF_RX_TIMESTAMPING", 0, 0...3, "Time stamps by the card of what arrives.", why: noCard)
        rows.number("EF_TX_TIMESTAMPING", 0, 0...3, "Time stamps by the card of what is sent.", why: noCard)
        rows.words(
            "EF_RX_TIMESTAMPING_ORDERING", .word, "nic trailer cpacket", text: "nic", "Which stamp orders what arrives.",
            why: noCard)
        rows.words(
            "EF_RX_TIMESTAMPING_TRAILER_FORMAT", .word, "cpacket ttag brcm", text: "cpacket", "How a switch writes stamps.",
            why: noCard)
        rows.flag("EF_TIMESTAMPING_REPORTING", 0, "Which stamps are told.", why: noCard)
    }

    /// What network cards can do.
    static func cards(_ rows: inout some SettingVisitor) {
        rows.flag("EF_AF_XDP_ZEROCOPY", 0, "AF_XDP without copies.", why: noCard)
        rows.words(
            "EF_XDP_MODE", .word, "disabled compatible", text: "disabled", "Runs XDP programs on what arrives.", why: noCard)
        rows.flag("EF_TX_PUSH", 1, "Pushes descriptors to the card.", why: noCard)
        rows.number("EF_TX_PUSH_THRESHOLD", 100, 1...65_535, "How many may be pending then.", why: noCard)
        rows.number("EF_PIO", 1, 0...2, "Programmed transmission.", why: noCard)
        rows.number("EF_PIO_THRESHOLD", 1_514, 0...65_535, "Largest packet for it.", why: noCard, unit: "bytes")
        rows.number("EF_CTPIO", 1, 0...2, "Cut-through transmission.", why: noCard)
        rows.words("EF_CTPIO_MODE", .word, "sf sf-np ct", text: "sf-np", "Its kind.", why: noCard)
        rows.number("EF_CTPIO_MAX_FRAME_LEN", 0, 0...4_092, "Largest frame for it.", why: noCard, unit: "bytes")
        rows.number("EF_CTPIO_CT_THRESH", 64, 0...65_535, "Bytes before it begins.", why: noCard, unit: "bytes")
        rows.flag("EF_CTPIO_SWITCH_BYPASS", 0, "It passes by the card's switch.", why: noCard)
        rows.words("EF_TX_DATAPATH", .word, "enterprise express auto", text: "auto", "The card's way out.", why: noCard)
        rows.words("EF_RX_DATAPATH", .word, "enterprise express both auto", text: "auto", "The card's way in.", why: noCard)
        rows.number("EF_TPH_MODE", 0, 0...2, "Hints on the bus for caches.", why: noCard)
        rows.flag("EF_ENABLE_TX_ERROR_RECOVERY", 1, "Rebuilds a broken send queue.", why: noCard)
    }

    /// Filters of cards, and packets in bulk.
    static func throughput(_ rows: inout some SettingVisitor) {
        rows.flag("EF_HIGH_THROUGHPUT_MODE", 0, "Throughput before latency. Rings have one mode, for both.", .accepted)
        rows.text("EF_SCALABLE_FILTERS", 255, "Takes all traffic of an interface.", why: noCard)
        rows.number("EF_SCALABLE_FILTERS_ENABLE", 0, 0...2, "Turns that on.", why: noCard)
        rows.number("EF_SCALABLE_FILTERS_MODE", -1, -1...2_147_483_647, "Made from the former by Onload itself.", why: noCard)
        rows.number(
            "EF_SCALABLE_FILTERS_IFINDEX_ACTIVE", 0, -1...2_147_483_647, "Made from the former by Onload itself.", why: noCard)
        rows.number(
            "EF_SCALABLE_FILTERS_IFINDEX_PASSIVE", 0, -1...2_147_483_647, "Made from the former by Onload itself.", why: noCard)
        rows.flag("EF_SCALABLE_LISTEN_MODE", 0, "What such listeners accept.", why: noCard)
        rows.flag("EF_SCALABLE_ACTIVE_WILDS_NEED_FILTER", 0, "A filter for each cached socket.", why: noCard)
        rows.number("EF_KERNEL_PACKETS_BATCH_SIZE", 1, 0...64, "Packets given to the kernel at a time.", why: noCard)
        rows.number(
            "EF_KERNEL_PACKETS_TIMER_USEC", 500, 0...4_294_967_295, "How long they wait for that.", why: noCard, unit: "us")
        rows.number("EF_SHRUB_CONTROLLER", -1, -1...9_999, "Daemon that shares a receive queue.", why: noCard)
        rows.number("EF_SHRUB_BUFFER_COUNT", 32, 32...100_000, "Its buffers.", why: noCard)
        rows.flag("EF_SHRUB_UNICAST", 0, "It serves unicast too.", why: noCard)
        rows.flag("EF_SHRUB_DEBUG", 0, "It tells more.", why: noCard)
        rows.flag("EF_SHRUB_USE_INTERRUPTS", 1, "It sleeps until an interrupt.", why: noCard)
        rows.number("EF_SHRUB_AUTO_CLOSE_DELAY", 15_000, -1...2_147_483_647, "When it ends.", why: noCard, unit: "ms")
        rows.number("EF_SHRUB_MAX_CLIENT_BUFFERS", 2, 2...100_000, "Buffers of one program.", why: noCard)
    }
}
