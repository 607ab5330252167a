extension OtherSettings {
    private static var most32: Int64 { 4_294_967_295 }

    /// Calls that spin.
    static func spinning(_ rows: inout some SettingVisitor) {
        rows.number("EF_BUZZ_USEC", 0, 0...most32, "How long a call spins for a lock.", why: noStackLock, unit: "us")
        rows.flag("EF_SOCK_LOCK_BUZZ", 0, "Spins for a socket's lock.", why: noStackLock)
        rows.flag("EF_STACK_LOCK_BUZZ", 0, "Spins for a stack's lock.", why: noStackLock)
        rows.number("EF_SLEEP_SPIN_USEC", 0, 0...most32, "Sleep between two turns of a spin.", .accepted, unit: "us")
        rows.flag("EF_UDP_SEND_SPIN", 0, "Blocking UDP send calls spin. Here none waits for room in a ring.", .accepted)
        rows.flag("EF_PIPE_RECV_SPIN", 0, "Reading from a pipe spins. Pipes are the kernel's so far.", .accepted)
        rows.flag("EF_PIPE_SEND_SPIN", 0, "Writing into a pipe spins. Pipes are the kernel's so far.", .accepted)
        rows.flag("EF_PKT_WAIT_SPIN", 0, "Spins for a free packet buffer.", why: noPackets)
        rows.flag("EF_SO_BUSY_POLL_SPIN", 0, "poll, select and epoll spin only for sockets with SO_BUSY_POLL.", .accepted)
    }

    /// poll, select, epoll, and who looks for news.
    static func readiness(_ rows: inout some SettingVisitor) {
        rows.flag("EF_UL_SELECT", 1, "select in user space. Here it is whenever a socket of it is on a lane.", .accepted)
        rows.flag("EF_UL_POLL", 1, "poll in user space. Here it is whenever a socket of it is on a lane.", .accepted)
        rows.number(
            "EF_UL_EPOLL", 1, 0...3,
            "Kind of epoll: 0 the kernel's, 1 to 3 three kinds in user space. Here there is one, whenever a member is on a lane.",
            .accepted)
        rows.flag("EF_SELECT_FAST", 1, "select may pass over the kernel's descriptors when others are ready.", .accepted)
        rows.flag("EF_POLL_FAST", 1, "poll may pass over the kernel's descriptors when others are ready.", .accepted)
        rows.number(
            "EF_SELECT_FAST_USEC", 32, 0...most32, "How often a select that spins looks at the kernel's descriptors.", .accepted,
            unit: "us")
        rows.number(
            "EF_POLL_FAST_USEC", 32, 0...most32, "How often a poll that spins looks at the kernel's descriptors.", .accepted,
            unit: "us")
        rows.number(
            "EF_SELECT_NONBLOCK_FAST_USEC", 200, 0...most32, "How often select without a wait looks at the kernel's descriptors.",
            .accepted, unit: "us")
        rows.number(
            "EF_POLL_NONBLOCK_FAST_USEC", 200, 0...most32, "How often poll without a wait looks at the kernel's descriptors.",
            .accepted, unit: "us")
        rows.number("EF_POLL_FAST_LOOPS", 0, 0...most32, "The old form of EF_POLL_FAST_USEC.", .accepted, text: "unset")
        rows.number(
            "EF_POLL_NONBLOCK_FAST_LOOPS", 0, 0...most32, "The old form of EF_POLL_NONBLOCK_FAST_USEC.", .accepted, text: "unset")
        rows.flag("EF_EPOLL_CTL_FAST", 1, "Puts off epoll_ctl's system call. Here it is made at once.", .accepted)
        rows.flag("EF_EPOLL_CTL_HANDOFF", 1, "Hands work of epoll_ctl to another thread.", why: noStackLock)
        rows.flag("EF_EPOLL_MT_SAFE", 0, "1: no two threads use one epoll set. Sets keep their locks here.", .accepted)
        rows.flag("EF_WODA_SINGLE_INTERFACE", 0, "onload_ordered_epoll_wait has one interface to regard.", why: noCard)
        rows.flag("EF_INT_DRIVEN", 1, "Interrupts drive the stack.", why: noCard)
        rows.flag("EF_INT_REPRIME", 0, "Interrupts are armed sooner.", why: noCard)
        rows.flag("EF_POLL_ON_DEMAND", 1, "Calls look at the card.", why: noCard)
        rows.flag("EF_POLL_IN_KERNEL", 0, "The kernel module looks at the card.", why: noModule)
        rows.number(
            "EF_HELPER_USEC", 500, 0...most32, "Idle time after which the helper looks at the card.", why: noModule, unit: "us")
        rows.number(
            "EF_HELPER_PRIME_USEC", 250, 0...most32, "How often a program puts the helper off.", why: noModule, unit: "us")
        rows.number("EF_PERIODIC_TIMER_CPU", -1, -1...2_147_483_647, "CPU of the periodic work.", why: noModule)
        rows.number("EF_IRQ_CORE", -1, -1...32_767, "CPU of the card's interrupts.", why: noCard)
        rows.number("EF_IRQ_CHANNEL", -1, -1...32_767, "Channel of the card's interrupts.", why: noCard)
        rows.text("EF_ONLOAD_IRQ_CORES", 255, "CPUs of the card's interrupts.", why: noCard)
        rows.number("EF_EVS_PER_POLL", 64, 0...2_147_483_647, "Events of one look at the card.", why: noCard)
        rows.number("EF_SEND_POLL_THRESH", 64, 0...65_535, "Sends after which a call looks at the card.", why: noCard)
        rows.number("EF_SEND_POLL_MAX_EVS", 96, 1...65_535, "Events of that look.", why: noCard)
        rows.number("EF_DEFER_WORK_LIMIT", 32, 0...65_535, "Work left to the thread that has the stack's lock.", why: noStackLock)
    }
}
