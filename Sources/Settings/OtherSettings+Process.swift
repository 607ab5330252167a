extension OtherSettings {
    /// What is accelerated, names, and the life of a process.
    static func selection(_ rows: inout some SettingVisitor) {
        rows.text(
            "EF_NAME", 16, "Name of the stack that processes share. Every process has a stack of its own so far.", .accepted)
        rows.flag("EF_STACK_PER_THREAD", 0, "A stack for each thread. Threads do not contend for a stack here.", .accepted)
        rows.flag(
            "EF_NO_FAIL", 1, "1: a kernel socket where no other can be had. That is always so here, also with 0.", .accepted)
        rows.flag("EF_PROBE", 1, "Takes sockets up again that came over exec. Here they travel by the kernel.", .accepted)
        rows.number(
            "EF_FORK_NETIF", 3, 0...3, "Which process makes a new stack after fork.",
            why: "After a fork the child always has a stack of its own, and connections are shared.")
        rows.number("EF_VFORK_MODE", 1, 0...2, "How vfork is carried out.", why: "vfork is the real one, always.")
        rows.number(
            "EF_NETIF_DTOR", 1, 0...2, "When a stack ends whose last socket is closed.",
            why: "A stack lives as long as its process.")
        rows.flag(
            "EF_FDTABLE_STRICT", 0, "More locking in the table of descriptors.", why: "The table of descriptors is always exact.")
        rows.flag(
            "EF_FDS_MT_SAFE", 1, "Allows weaker checks in the table of descriptors.",
            why: "The table of descriptors is always exact.")
        rows.number(
            "EF_ONLOAD_FD_BASE", 4, 0...4_294_967_295, "Lowest number of the library's own descriptors.",
            why: "Sluice's own descriptors stand above the program's numbers.")
        rows.flag(
            "EF_ACCEPT_INHERIT_NONBLOCK", 0,
            "1: what a socket accepts is non-blocking if the socket is. Here it is not, as on Linux.", .accepted)
        rows.text(
            "EF_SIGNALS_NOPOSTPONE", 255, "Signals whose handlers run at once, also inside the library.", .accepted,
            text: "ILL, BUS, FPE, SEGV, PROF, which hold always")
        rows.flag(
            "EF_SA_ONSTACK_INTERCEPT", 0,
            "1: handlers with SA_ONSTACK are put off too. Here they always are, except those of faults.", .accepted)
        rows.number(
            "EF_SYNC_CPLANE_AT_CREATE", 1, 0...2, "Whether a new stack learns routes and neighbours first.",
            why: "Routes are the kernel's.")
        rows.flag("EF_NO_HW", 0, "1: only connections of this host are accelerated. No others are, so far.", .accepted)
        rows.text("EF_INTERFACE_WHITELIST", 255, "Interfaces that may be accelerated.", why: noCard)
        rows.text("EF_INTERFACE_BLACKLIST", 255, "Interfaces that may not be accelerated.", why: noCard)
        rows.number("EF_CLUSTER_SIZE", 0, 0...4_294_967_295, "Stacks of a cluster.", why: noClusters)
        rows.flag("EF_CLUSTER_RESTART", 0, "Ends an orphan where a cluster is full.", why: noClusters)
        rows.flag("EF_CLUSTER_HOT_RESTART", 0, "A new process takes over stacks of a cluster.", why: noClusters)
        rows.flag("EF_CLUSTER_IGNORE", 0, "No clusters.", why: noClusters)
        rows.text("EF_CLUSTER_NAME", 13, "Name of the cluster.", why: noClusters)
        rows.text(
            "EF_TCP_FORCE_REUSEPORT", 255, "Ports whose TCP sockets get SO_REUSEPORT. Here they get what the program sets.",
            .accepted)
        rows.text(
            "EF_UDP_FORCE_REUSEPORT", 255, "Ports whose UDP sockets get SO_REUSEPORT. Here they get what the program sets.",
            .accepted)
    }

    /// What is told.
    static func logging(_ rows: inout some SettingVisitor) {
        rows.number(
            "EF_UNIX_LOG", 3, 0...4_294_967_295, "Bits of what is logged for debugging. EF_LOG says what is logged here.",
            .accepted)
        rows.flag(
            "EF_LOG_VIA_IOCTL", 0, "1: lines go to the system log. Here they go to standard error, or to EF_LOG_FILE.", .accepted,
            text: "by whether standard error is a terminal")
        rows.flag("EF_LOG_TIMESTAMPS", 0, "Time stamps in front of lines.", .accepted)
        rows.flag("EF_LOG_THREAD", 0, "The thread's number in front of lines.", .accepted, text: "unset")
        rows.flag("EF_CONFIG_DUMP", 0, "Prints what is in force. Here `sluicestat env PID` does.", .accepted, text: "unset")
        rows.flag(
            "EF_DUMP_STACK_ON_EXIT", 0, "Writes down a stack that ends. Here `sluicestat` reads it while it lives.", .accepted)
        rows.flag("EF_TCP_RX_CHECKS", 0, "More checks of what arrives.", why: noStackOfTCP)
        rows.number("EF_TCP_RX_LOG_FLAGS", 0, 0...255, "Segments with these flags are logged.", why: noStackOfTCP)
        rows.number("EF_TCP_MAX_SEQERR_MSGS", -1, -1...4_294_967_295, "Most messages about sequence numbers.", why: noStackOfTCP)
        rows.number("EF_RX_DROP_RATE", 0, 0...4_294_967_295, "Drops one packet in so many, for tests.", why: notBuilt)
        rows.number("EF_POISON_RX_BUF", 0, 0...2, "Overwrites packets, for tests.", why: notBuilt)
        rows.number("EF_POISON", 0, 0...4_294_967_295, "Overwrites packets, for tests.", why: notBuilt)
    }

    /// What is read outside of Onload's own tables: by its launcher, or when it is built.
    static func launching(_ rows: inout some SettingVisitor) {
        rows.text("EF_LD_PRELOAD", 255, "The library that the launcher preloads. Here `--preload` says so.", .accepted)
        rows.flag(
            "EF_NO_PRELOAD_RESTORE", 0, "1: LD_PRELOAD is not put back into the environment that a program gives to exec.",
            why: "exec passes on the program's environment as it stands, always.", text: "unset")
        rows.text("EF_USERBUILD", 255, "For working on Onload.", why: notProgram)
        rows.text("EF_BUILDTREE_UL", 255, "For working on Onload.", why: notProgram)
    }

    private static var notProgram: StaticString { "Only Onload's own build reads it." }
}
