extension OtherSettings {
    private static var most32: Int64 { 4_294_967_295 }

    /// Buffers of TCP sockets.
    static func socketBuffers(_ rows: inout some SettingVisitor) {
        rows.number(
            "EF_TCP_SNDBUF", 0, 0...1_073_741_824, "Send buffer of TCP sockets. Here they keep what the program sets.", .accepted,
            unit: "bytes")
        rows.number(
            "EF_TCP_RCVBUF", 0, 0...1_073_741_824, "Receive buffer of TCP sockets. Here they keep what the program sets.",
            .accepted, unit: "bytes")
        rows.number(
            "EF_TCP_SNDBUF_ESTABLISHED_DEFAULT", 131_072, 0...536_870_912, "Send buffer of a fresh connection.",
            why: noStackOfTCP, unit: "bytes")
        rows.number(
            "EF_TCP_RCVBUF_ESTABLISHED_DEFAULT", 131_072, 0...536_870_912, "Receive buffer of a fresh connection.",
            why: noStackOfTCP, unit: "bytes")
        rows.number("EF_TCP_SNDBUF_MODE", 1, 0...2, "What counts for the send buffer.", why: noStackOfTCP)
        rows.flag("EF_TCP_RCVBUF_MODE", 0, "The receive buffer grows by itself.", why: noStackOfTCP)
        rows.flag("EF_TCP_RCVBUF_STRICT", 0, "The receive buffer bounds packets too.", why: noPackets)
        rows.number("EF_TCP_SOCKBUF_MAX_FRACTION", 1, 1...10, "Share of the packets that one socket may have.", why: noPackets)
        rows.flag("EF_TCP_SEND_NONBLOCK_NO_PACKETS_MODE", 0, "What a send without packets does.", why: noPackets)
    }

    /// How a stream becomes segments.
    static func segments(_ rows: inout some SettingVisitor) {
        rows.flag("EF_TCP_COMBINE_SENDS_MODE", 0, "1: what one call sends stays in one segment.", why: noStackOfTCP)
        rows.number(
            "EF_FORCE_TCP_NODELAY", 0, 0...2,
            "1: every socket has TCP_NODELAY; 2: none. On a lane nothing is ever held back; in the kernel sockets keep what the program sets.",
            .accepted)
        rows.number(
            "EF_NONAGLE_INFLIGHT_MAX", 50, 1...65_535, "Segments in flight from which small ones are held back.",
            why: noStackOfTCP)
        rows.number("EF_DELACK_THRESH", 1, 0...65_535, "Segments without an acknowledgement.", why: noStackOfTCP)
        rows.number("EF_DYNAMIC_ACK_THRESH", 16, 0...65_535, "The same, when a stream flows.", why: noStackOfTCP)
        rows.number(
            "EF_TCP_FASTSTART_INIT", 65_536, 0...most32, "Bytes that are acknowledged at once at first.", why: noStackOfTCP,
            unit: "bytes")
        rows.number("EF_TCP_FASTSTART_IDLE", 65_536, 0...most32, "The same after a pause.", why: noStackOfTCP, unit: "bytes")
        rows.number("EF_TCP_FASTSTART_LOSS", 65_536, 0...most32, "The same after a loss.", why: noStackOfTCP, unit: "bytes")
        rows.number("EF_TCP_INITIAL_CWND", 0, 0...most32, "First congestion window.", why: noStackOfTCP, unit: "bytes")
        rows.number("EF_TCP_MIN_CWND", 0, 0...most32, "Least congestion window.", why: noStackOfTCP, unit: "bytes")
        rows.number("EF_TCP_LOSS_MIN_CWND", 0, 0...most32, "The same after a loss.", why: noStackOfTCP, unit: "bytes")
        rows.number("EF_CONG_AVOID_SCALE_BACK", 0, 0...most32, "The window grows more slowly.", why: noStackOfTCP)
        rows.number("EF_CONG_NOTIFY_THRESH", 24, 0...most32, "When congestion is told.", why: notBuilt)
        rows.number("EF_BURST_CONTROL_LIMIT", 0, 0...most32, "Most bytes sent in one go.", why: noStackOfTCP, unit: "bytes")
        rows.number("EF_TCP_SYN_OPTS", 7, 0...15, "Options of a SYN.", why: noStackOfTCP)
        rows.number("EF_TCP_TSOPT_MODE", 2, 0...2, "Time stamps: off, on, as the system says.", why: noStackOfTCP)
        rows.number("EF_TCP_ADV_WIN_SCALE_MAX", 14, 0...14, "Greatest window scale.", why: noStackOfTCP, text: "of sysctl")
        rows.flag("EF_TCP_TIME_WAIT_ASSASSINATION", 1, "A reset ends TIME_WAIT.", why: noStackOfTCP, text: "of sysctl")
        rows.words(
            "EF_TCP_URG_MODE", .word, "allow ignore", text: "ignore",
            "Urgent data. Here they send a connection back to the kernel, which delivers them.", .accepted)
        rows.flag("EF_URG_RFC", 0, "Where the urgent pointer points.", why: noStackOfTCP)
        rows.flag("EF_UNCONFINE_SYN", 1, "Accepts connections between private and public addresses.", why: noStackOfTCP)
        rows.number("EF_AUTO_FLOWLABELS", 1, 0...3, "Flow labels of IPv6.", why: noStackOfTCP, text: "of sysctl")
        rows.text("EF_STRIPE_NETMASK", 15, "Networks over which TCP is striped.", why: notBuilt, text: "255.255.255.255")
        rows.number("EF_STRIPE_DUPACK_THRESHOLD", 3, 0...most32, "Acknowledgements twice, when striped.", why: notBuilt)
        rows.number("EF_STRIPE_DUPACK_THRESH", 3, 0...most32, "The same, under the name that Onload reads.", why: notBuilt)
        rows.number("EF_STRIPE_TCP_OPT", 251, 0...255, "TCP option of striping.", why: notBuilt)
    }

    /// Timers and what is sent again.
    static func retransmission(_ rows: inout some SettingVisitor) {
        rows.flag("EF_USE_DSACK", 1, "D-SACK.", why: noStackOfTCP, text: "of sysctl")
        rows.flag("EF_TCP_EARLY_RETRANSMIT", 1, "Early retransmit.", why: noStackOfTCP, text: "of sysctl")
        rows.flag("EF_TAIL_DROP_PROBE", 1, "Tail loss probe.", why: noStackOfTCP, text: "of sysctl")
        rows.number("EF_RFC_RTO_INITIAL", 1_000, 0...most32, "First retransmit time.", why: noStackOfTCP, unit: "ms")
        rows.number("EF_RFC_RTO_MIN", 200, 0...most32, "Least retransmit time.", why: noStackOfTCP, unit: "ms")
        rows.number("EF_RFC_RTO_MAX", 120_000, 0...most32, "Greatest retransmit time.", why: noStackOfTCP, unit: "ms")
        rows.number(
            "EF_RETRANSMIT_THRESHOLD", 15, 0...most32, "Tries before a connection ends.", why: noStackOfTCP, text: "of sysctl")
        rows.number(
            "EF_RETRANSMIT_THRESHOLD_ORPHAN", 8, 0...most32, "The same for orphans.", why: noStackOfTCP, text: "of sysctl")
        rows.number("EF_RETRANSMIT_THRESHOLD_SYN", 4, 0...most32, "Tries of a SYN.", why: noStackOfTCP, text: "of sysctl")
        rows.number("EF_RETRANSMIT_THRESHOLD_SYNACK", 5, 0...10, "Tries of a SYN-ACK.", why: noStackOfTCP, text: "of sysctl")
        rows.number(
            "EF_KEEPALIVE_TIME", 7_200_000, 0...most32, "Idle time before a keepalive probe.", why: noStackOfTCP, unit: "ms",
            text: "of sysctl")
        rows.number(
            "EF_KEEPALIVE_INTVL", 75_000, 0...most32, "Time between two probes.", why: noStackOfTCP, unit: "ms", text: "of sysctl"
        )
        rows.number(
            "EF_KEEPALIVE_PROBES", 9, 0...most32, "Probes before a connection ends.", why: noStackOfTCP, text: "of sysctl")
        rows.number("EF_TCP_TCONST_MSL", 25, 0...most32, "Half of TIME_WAIT.", why: noStackOfTCP, unit: "s")
        rows.number(
            "EF_TCP_FIN_TIMEOUT", 60, 0...most32, "How long an orphan waits for a FIN.", why: noStackOfTCP, unit: "s",
            text: "of sysctl")
        rows.flag("EF_TCP_RST_DELAYED_CONN", 0, "Resets a connection whose data are late.", why: noStackOfTCP)
        rows.number("EF_TCP_RST_COOLDOWN", 0, 0...most32, "Time between two resets to one peer.", why: noStackOfTCP, unit: "us")
        rows.number(
            "EF_INVALID_ACK_RATELIMIT", 500, 0...65_535, "Time between two answers to bad segments.", why: noStackOfTCP,
            unit: "ms", text: "of sysctl")
    }

    /// How connections begin.
    static func connections(_ rows: inout some SettingVisitor) {
        rows.number("EF_ACCEPTQ_MIN_BACKLOG", 1, 0...65_535, "Least backlog of listen.", why: noStackOfTCP)
        rows.number(
            "EF_ACCEPTQ_MAX_BACKLOG", 4_096, 0...most32, "Greatest backlog of listen.", why: noStackOfTCP, text: "of sysctl")
        rows.number(
            "EF_TCP_BACKLOG_MAX", 256, 0...most32, "Half-open connections of a listener.", why: noStackOfTCP, text: "of sysctl")
        rows.number(
            "EF_TCP_SYNRECV_MAX", 1_024, 0...2_097_152, "Half-open connections of a stack.", why: noStackOfTCP,
            text: "4 times EF_TCP_BACKLOG_MAX")
        rows.flag("EF_TCP_SYNCOOKIES", 0, "SYN cookies.", why: noStackOfTCP)
        rows.words(
            "EF_TCP_ISN_MODE", .word, "clocked clocked+cache", text: "clocked+cache", "How initial sequence numbers are made.",
            why: noStackOfTCP)
        rows.flag("EF_TCP_ISN_INCLUDE_PASSIVE", 0, "Also for accepted connections.", why: noStackOfTCP)
        rows.number("EF_TCP_ISN_2MSL", 240, 0...480, "How long numbers are remembered.", why: noStackOfTCP, unit: "s")
        rows.number("EF_TCP_ISN_OFFSET", 65_537, 0...most32, "Distance of two numbers.", why: noStackOfTCP)
        rows.number("EF_TCP_ISN_CACHE_SIZE", 0, 0...most32, "How many are remembered.", why: noStackOfTCP, text: "automatic")
        rows.number(
            "EF_SOCKET_CACHE_MAX", 0, 0...most32, "Closed sockets that are kept for reuse. Kernel sockets are not.", .accepted)
        rows.number("EF_PER_SOCKET_CACHE_MAX", -1, -1...most32, "Those of one listener.", .accepted)
        rows.text("EF_SOCKET_CACHE_PORTS", 255, "Ports for which they are kept.", .accepted)
    }

    /// Local ports that are reserved beforehand.
    static func localPorts(_ rows: inout some SettingVisitor) {
        rows.number("EF_TCP_SHARED_LOCAL_PORTS", 0, 0...most32, "Ports in the pool.", why: noLocalPorts)
        rows.number("EF_TCP_SHARED_LOCAL_PORTS_MAX", 100, 0...most32, "Most of them.", why: noLocalPorts)
        rows.number("EF_TCP_SHARED_LOCAL_PORTS_STEP", 1, 1...most32, "How many are added at a time.", why: noLocalPorts)
        rows.flag("EF_TCP_SHARED_LOCAL_PORTS_REUSE_FAST", 0, "A port is used again at once.", why: noLocalPorts)
        rows.flag("EF_TCP_SHARED_LOCAL_PORTS_NO_FALLBACK", 0, "connect fails when the pool is empty.", why: noLocalPorts)
        rows.flag("EF_TCP_SHARED_LOCAL_PORTS_PER_IP", 0, "A pool for each address.", why: noLocalPorts)
        rows.number("EF_TCP_SHARED_LOCAL_PORTS_PER_IP_MAX", 0, 0...most32, "Most ports of such a pool.", why: noLocalPorts)
    }
}
