/// Onload's variables that do not act here, so that configurations for Onload go on working: each value is checked, and
/// EF_LOG tells what is in vain. They have no numbers and no place in a stack's header.
///
/// The rows are visited, not stored: that needs no memory, no start-up work and no numbers.
public enum OtherSettings {
    /// Shows each row to the visitor, in the order of the manual.
    public static func visit(_ rows: inout some SettingVisitor) {
        selection(&rows)
        logging(&rows)
        spinning(&rows)
        readiness(&rows)
        buffers(&rows)
        datagrams(&rows)
        socketBuffers(&rows)
        segments(&rows)
        retransmission(&rows)
        connections(&rows)
        localPorts(&rows)
        timestamps(&rows)
        cards(&rows)
        throughput(&rows)
        launching(&rows)
    }

    // Why a row is not applicable: what Sluice does not have.

    static var noStackOfTCP: StaticString { "The kernel's TCP does this, as its own sysctl settings and socket options say." }
    static var noPackets: StaticString { "Sluice has no packet buffers: bytes lie in rings (SLUICE_RING_BYTES)." }
    static var noCard: StaticString { "Sluice drives no network card." }
    static var noModule: StaticString { "Sluice has no kernel module, and no helper that works while the program does not." }
    static var noStackLock: StaticString { "There is no lock of a stack that a call could wait for." }
    static var noClusters: StaticString {
        "Listening sockets are the kernel's, which spreads connections over those with SO_REUSEPORT itself."
    }
    static var noLocalPorts: StaticString { "The kernel chooses local ports, as it does without Sluice." }
    static var noARP: StaticString { "Neighbours are the kernel's." }
    static var notBuilt: StaticString { "Onload itself is built without it by default." }
}
