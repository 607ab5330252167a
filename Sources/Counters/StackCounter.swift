/// The process-wide counters: places in `sl_stack_header.counters`. A place is never used for something else; new ones
/// go to the end, below `SL_STACK_COUNTERS`.
public enum StackCounter {
    /// Sockets that got an endpoint.
    @inlinable public static var endpointsMade: Int { 0 }
    /// Sockets that got none: no memory, no descriptor, or the table is full.
    @inlinable public static var endpointsRefused: Int { 1 }
    /// Lanes that were opened.
    @inlinable public static var lanesOpened: Int { 2 }
    /// Lanes that were handed back to the kernel for good: of a connection by this side, of a UDP socket's peer by either.
    @inlinable public static var lanesHandedBack: Int { 3 }
    /// Meetings that this side started: a name listened on, or the peer's name tried.
    @inlinable public static var meetingsStarted: Int { 4 }
    /// Meetings that ended without a lane.
    @inlinable public static var meetingsFailed: Int { 5 }
    /// Peers that could not prove that they hold the other end.
    @inlinable public static var proofsRefused: Int { 6 }
    /// Pair regions that were made, or taken from a peer.
    @inlinable public static var regionsMapped: Int { 7 }
    /// Pair regions that were left.
    @inlinable public static var regionsUnmapped: Int { 8 }
    /// Bells that were rung for peers that sleep.
    @inlinable public static var bellsRung: Int { 9 }
    /// How often a wait with a lane slept in the kernel.
    @inlinable public static var sleeps: Int { 10 }
    /// Waits that spun.
    @inlinable public static var spins: Int { 11 }
    /// Of these, the ones that ended while spinning.
    @inlinable public static var spinsPaid: Int { 12 }
    /// Words of a peer that cannot be; each closed a lane.
    @inlinable public static var damagedWords: Int { 13 }
    /// Connections that were reset because their peer died with unread bytes.
    @inlinable public static var survivorResets: Int { 14 }
    /// Times that descriptors ran out and own ones were given up.
    @inlinable public static var descriptorShortages: Int { 15 }
    /// Bytes that sockets put into rings or read from them, of sockets that have ended.
    @inlinable public static var ringBytesEnded: Int { 16 }
    /// Waits of a call that leaves a lane at once (exec, a descriptor passed on) for its peer to take back unread bytes.
    @inlinable public static var peersAwaited: Int { 17 }

    /// How many places are in use.
    public static var count: Int { 18 }

    /// Name in tools, what it is a number of, and what is counted, for the counter at `place`; nil for places not in use.
    public static func row(_ place: Int) -> (name: StaticString, unit: StaticString, doc: StaticString)? {
        switch place {
        case endpointsMade: ("endpoints_made", "sockets", "Sockets that got an endpoint.")
        case endpointsRefused:
            ("endpoints_refused", "sockets", "Sockets that got none: no memory, no descriptor, or the table is full.")
        case lanesOpened: ("lanes_opened", "lanes", "Lanes that were opened.")
        case lanesHandedBack:
            (
                "lanes_handed_back", "lanes",
                "Lanes that were handed back to the kernel for good: of a connection by this side, of a UDP socket's peer by either."
            )
        case meetingsStarted: ("meetings_started", "meetings", "Meetings that this side started.")
        case meetingsFailed: ("meetings_failed", "meetings", "Meetings that ended without a lane.")
        case proofsRefused: ("proofs_refused", "peers", "Peers that could not prove that they hold the other end.")
        case regionsMapped: ("regions_mapped", "regions", "Pair regions that were made, or taken from a peer.")
        case regionsUnmapped: ("regions_unmapped", "regions", "Pair regions that were left.")
        case bellsRung: ("bells_rung", "wake-ups", "Bells that were rung for peers that sleep.")
        case sleeps: ("sleeps", "waits", "How often a wait with a lane slept in the kernel.")
        case spins: ("spins", "waits", "Waits that spun.")
        case spinsPaid: ("spins_paid", "waits", "Waits that ended while spinning.")
        case damagedWords: ("damaged_words", "words", "Words of a peer that cannot be; each closed a lane.")
        case survivorResets:
            ("survivor_resets", "connections", "Connections that were reset because their peer died with unread bytes.")
        case descriptorShortages:
            ("descriptor_shortages", "shortages", "Times that descriptors ran out and own ones were given up.")
        case ringBytesEnded: ("ring_bytes_ended", "bytes", "Bytes put into rings or read from them, of sockets that have ended.")
        case peersAwaited:
            ("peers_awaited", "calls", "Calls that left a lane at once and waited for the peer to take back unread bytes.")
        default: nil
        }
    }
}
