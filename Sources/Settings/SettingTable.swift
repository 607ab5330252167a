extension Setting {
    /// The row of this setting. A switch and not an array: it needs no start-up work and no memory.
    public var definition: SettingDefinition {
        switch self {
        case .loadEnvironment, .dontAccelerate, .tcp, .udp, .tcpClientLoopback, .tcpServerLoopback, .tcpListenHandover,
            .tcpConnectHandover, .ports, .descriptorTableSize:
            selection
        case .log, .logFile, .validateEnvironment, .latency: telling
        case .pollUsec, .spinUsec, .tcpRecvSpin, .tcpSendSpin, .udpRecvSpin, .selectSpin, .pollSpin, .epollSpin, .tcpAcceptSpin,
            .tcpConnectSpin, .receiveMode:
            spinning
        case .shareWith, .laneAt, .chaos, .ringBytes, .withFilters: lanes
        }
    }

    /// What is accelerated.
    private var selection: SettingDefinition {
        switch self {
        case .loadEnvironment:
            .flag("EF_LOAD_ENV", 1, "0: all other EF_ variables are ignored.")
        case .dontAccelerate:
            .flag("EF_DONT_ACCELERATE", 0, "1: the program starts unaccelerated; all its sockets travel by the kernel.")
        case .tcp:
            .flag("EF_TCP", 1, "0: new TCP sockets travel by the kernel.")
        case .udp:
            .flag("EF_UDP", 1, "0: new UDP sockets travel by the kernel.")
        case .tcpClientLoopback:
            .number(
                "EF_TCP_CLIENT_LOOPBACK", 1, 0...4,
                "0: connections that this program opens to the same host travel by the kernel, and its datagrams too. 1 to 4: the loopback lane."
            )
        case .tcpServerLoopback:
            .number(
                "EF_TCP_SERVER_LOOPBACK", 1, 0...2,
                "0: connections that this program accepts from the same host travel by the kernel, and its datagrams too. 1 or 2: the loopback lane."
            )
        case .tcpListenHandover:
            .flag("EF_TCP_LISTEN_HANDOVER", 0, "1: what this program accepts travels by the kernel.")
        case .tcpConnectHandover:
            .flag("EF_TCP_CONNECT_HANDOVER", 0, "1: connections that this program opens travel by the kernel.")
        case .descriptorTableSize:
            .number(
                "EF_FDTABLE_SIZE", 0, 0...4_294_967_295,
                "Sockets that are made or accepted with this descriptor number or a higher one travel by the kernel; what dup makes of another does not. 0: no limit."
            )
        default:
            .number(
                "SLUICE_PORTS", 0, 0...16,
                "Which connections may have a lane, by the port of their accepting end, and which datagrams, by either of their ports, of which none may be kept out: ports and ranges separated by commas, as 6379,8000-8010; ! before one keeps it out, as !22. 16 at most. A value that cannot be used lets none in.",
                text: "all", kind: .ports)
        }
    }

    /// What is said, and where.
    private var telling: SettingDefinition {
        switch self {
        case .validateEnvironment:
            .flag(
                "EF_VALIDATE_ENV", 1,
                "1: EF_ variables that neither Sluice nor Onload knows are named at the first socket, with the config_warnings of EF_LOG. Names that begin with EF_VI_ are passed over."
            )
        case .latency:
            .flag(
                "SLUICE_LATENCY", 0,
                "1: how long calls wait for data, room or events of sockets that have a lane is kept, for sluicestat latency. A forked child keeps its own from its first socket on."
            )
        case .logFile:
            .text(
                "EF_LOG_FILE", 255,
                "A file to whose end the lines of EF_LOG are written, in place of standard error. It is opened at the first socket and kept open; it may not be a symbolic link. Where that fails, the lines go to standard error. Once a program has used up its descriptors, they are lost.",
                text: "standard error")
        default:
            .words(
                "EF_LOG", .list,
                "banner resource_warnings conn_drop config_warnings more_config_warnings usage_warnings", text: "none",
                "What is written to standard error, or to EF_LOG_FILE: words separated by commas (-word takes one out again), or 0 or none for nothing, and 1 for all. With a word that is not known the others hold, and config_warnings too, of which a line says so."
            )
        }
    }

    /// How waiting calls wait.
    private var spinning: SettingDefinition {
        switch self {
        case .pollUsec:
            .number(
                "EF_POLL_USEC", Settings.adaptive, -1...4_294_967_295,
                "Master switch: the spin length, and when not 0 the spin switches of select, poll, epoll, TCP receive, TCP send and UDP receive. 0: no spin. -1: for ever.",
                unit: "us", text: "adaptive while no spin setting is given")
        case .spinUsec:
            .number(
                "EF_SPIN_USEC", Settings.adaptive, -1...4_294_967_295,
                "Spin length of the calls whose spin switch is on; stands above the length of EF_POLL_USEC. -1: for ever.",
                unit: "us", text: "adaptive while no spin setting is given")
        case .tcpRecvSpin: .spin("EF_TCP_RECV_SPIN", "Blocking TCP receive calls spin.")
        case .tcpSendSpin: .spin("EF_TCP_SEND_SPIN", "Blocking TCP send calls spin.")
        case .udpRecvSpin: .spin("EF_UDP_RECV_SPIN", "Blocking UDP receive calls spin, on sockets that have had a lane.")
        case .selectSpin: .spin("EF_SELECT_SPIN", "select and pselect spin.")
        case .pollSpin: .spin("EF_POLL_SPIN", "poll and ppoll spin.")
        case .epollSpin: .spin("EF_EPOLL_SPIN", "The epoll waits spin.")
        case .tcpAcceptSpin: .flag("EF_TCP_ACCEPT_SPIN", 0, "Blocking accept calls spin.", .accepted)
        case .tcpConnectSpin: .flag("EF_TCP_CONNECT_SPIN", 0, "Blocking connect calls spin.", .accepted)
        default:
            .number(
                "_NET_KERNEL_BYPASS_RECV_MODE", -1, 0...1,
                "What a receive call does when there is no data: 0 waits in the kernel, 1 spins. Stands above EF_POLL_USEC, but a spin setting of 0 still means no spin.",
                text: "adaptive")
        }
    }

    /// When a lane is opened, with whom, and how big it is.
    private var lanes: SettingDefinition {
        switch self {
        case .shareWith:
            .number(
                "EF_SHARE_WITH", 0, -1...2_147_483_647,
                "Another user whose programs may share lanes with this one: 0 the same user only, -1 everyone, else that uid too (root is let in by -1 only). Both sides must consent.",
                unit: "uid")
        case .laneAt:
            .number(
                "SLUICE_LANE_AT", 16, 0...1_000_000,
                "Messages after which a connection tries to leave the kernel, and datagrams of two sockets do. 0: before the first byte, waiting for the peer; datagrams then with the second, and wait for nobody.",
                unit: "messages")
        case .chaos:
            .number(
                "SLUICE_CHAOS", 0, 0...Int64.max,
                "For tests: a seed; lanes open and are handed back at random calls, rings have one page, waits sleep.",
                text: "off")
        case .ringBytes:
            .number(
                "SLUICE_RING_BYTES", 1 << 20, 4096...Settings.largestRing,
                "Size of one ring of a connection, or of the datagrams of two sockets in one direction, a power of two.",
                unit: "bytes", kind: .powerOfTwo)
        default:
            .words(
                "SLUICE_WITH_FILTERS", .word, "bypass refuse", text: "bypass on the loopback lane",
                "refuse: local connections and datagrams stay in the kernel, where packet filter rules that come later act on every packet."
            )
        }
    }
}
