/// The words for a reason: a short name for scripts, a sentence that says what happened, and what the user can do.
/// Only tools read them; the preload library carries numbers.
public struct ReasonText: Sendable {
    public let name: StaticString
    public let sentence: StaticString
    public let action: StaticString

    init(_ name: StaticString, _ sentence: StaticString, _ action: StaticString) {
        self.name = name
        self.sentence = sentence
        self.action = action
    }
}

extension Reason {
    /// The words for this reason; nil for a number that is not in the list.
    public var text: ReasonText? {
        if number < 9 { return neverTried }
        return number < 19 ? handedBack : ended
    }

    /// Reasons that keep a connection from its lane in the first place.
    private var neverTried: ReasonText? {
        switch self {
        case .none: ReasonText("none", "No reason is recorded.", "Nothing to do.")
        case .young:
            ReasonText(
                "young", "Too few messages have been exchanged yet; a connection that ends soon is not worth a lane.",
                "Wait, or set SLUICE_LANE_AT to a smaller number of messages.")
        case .remotePeer:
            ReasonText(
                "remote_peer", "The other end is on another host or in another network namespace.",
                "Nothing to do: the loopback lane joins two programs of one host and one namespace.")
        case .plainPeer:
            ReasonText(
                "plain_peer",
                "The program at the other end did not answer: it does not run under Sluice, its settings keep it out, or it shares with its own user only.",
                "Start the other program under Sluice too (statically linked and set-uid ones cannot be), or ask sluicestat why of it."
            )
        case .setting:
            ReasonText(
                "setting", "A setting turned the lane off for this socket.",
                "`sluicestat env PID` tells which is in force. Look at SLUICE_PORTS (a value that cannot be used keeps all out), EF_DONT_ACCELERATE, EF_TCP, EF_UDP, EF_FDTABLE_SIZE, and the EF_TCP_ variables that end in LOOPBACK or HANDOVER, on both sides."
            )
        case .consent:
            ReasonText(
                "consent", "The other end runs as another user or with other privileges, and not both sides consent.",
                "Set EF_SHARE_WITH to the other user's uid on both sides (-1: everyone; the only way to admit root). UDP has no lanes between users."
            )
        case .proof:
            ReasonText(
                "proof", "The process that answered could not prove that it holds the other end of this connection.",
                "See whether a proxy or address translation lies between the two, or another program took the name.")
        case .noProof:
            ReasonText(
                "no_proof", "Neither side can be proven: sock_diag or /proc is not available here.",
                "Allow NETLINK_SOCK_DIAG sockets and mount /proc in the container or sandbox.")
        case .namespace:
            ReasonText(
                "namespace", "The socket belongs to another network namespace than the thread that uses it.",
                "Use the socket from a thread in its own namespace.")
        default: nil
        }
    }

    /// Reasons that are found at the meeting, or that end a lane for good.
    private var handedBack: ReasonText? {
        switch self {
        case .foreignOrigin:
            ReasonText(
                "foreign_origin", "The socket came over exec or from another process, so a plain program may hold it too.",
                "Let the program that uses the socket make it or accept it itself.")
        case .counts:
            ReasonText(
                "counts", "The kernel's byte counts of the two ends do not agree, so they are not one quiet connection.",
                "See whether another process reads or writes the same socket, or a proxy lies between the two.")
        case .sharedByFork:
            ReasonText(
                "shared_by_fork", "Several processes hold the socket since a fork.",
                "Close the socket in the processes that do not use it.")
        case .resources:
            ReasonText(
                "resources", "Memory or descriptors ran out, or a system call was refused.",
                "Raise the limits on open files and locked memory; allow memfd_create and eventfd in the sandbox.")
        case .exec:
            ReasonText(
                "exec", "It was handed back before the process started another program.",
                "Set close-on-exec on sockets that the new program does not need.")
        case .passed:
            ReasonText(
                "passed", "It was handed back because its descriptor was sent to another process.",
                "Nothing to do: a passed socket belongs to the kernel.")
        case .foreignCall:
            ReasonText(
                "foreign_call",
                "It was handed back because of a call by which libc or the kernel moves the bytes: stdio, aio, splice.",
                "Use read, write, send, recv or sendfile on the socket.")
        case .option:
            ReasonText(
                "option", "It was handed back because of a socket option or flag that the lane does not serve.",
                "Leave the option out if the program lets you: time stamps, filters, zero-copy, pacing, upper-layer protocols, SIGIO; with UDP control messages, GSO, GRO and corks too."
            )
        case .urgentData:
            ReasonText(
                "urgent_data", "It was handed back because urgent data was sent or received.",
                "Nothing to do: only the kernel carries urgent data.")
        case .sealedOff:
            ReasonText(
                "sealed_off",
                "The process has no lanes (any more): it has installed a seccomp filter, or uses io_uring, or a library opened with RTLD_DEEPBIND.",
                "Turn io_uring or the filter off in the program, let who starts it install the filter, or open the library without that flag."
            )
        default: nil
        }
    }

    /// Reasons of the peer, of the end of a connection, and of sockets that never have a lane.
    private var ended: ReasonText? {
        switch self {
        case .peerHandedBack:
            ReasonText(
                "peer_handed_back", "The other end gave its side back to the kernel.",
                "Ask for the reason there: sluicestat why of the other process.")
        case .damaged:
            ReasonText(
                "damaged", "The other process wrote something into shared memory that cannot be.",
                "Report it, with the versions of Sluice on both sides; do not share lanes with a program you do not trust.")
        case .ended:
            ReasonText("ended", "The connection is ending or has ended, or the UDP socket was shut down.", "Nothing to do.")
        case .kind:
            ReasonText(
                "kind", "It is neither a TCP nor a UDP socket of IPv4 or IPv6.",
                "Nothing to do: other kinds of sockets have no lane.")
        case .listening:
            ReasonText("listening", "A listening socket carries no bytes.", "Nothing to do: look at its connections.")
        case .chaos:
            ReasonText(
                "chaos", "The chaos mode for tests handed it back.", "Unset SLUICE_CHAOS outside of tests.")
        case .limit:
            ReasonText(
                "limit", "A table of Sluice in this process is full.", "Spread the connections over more processes.")
        case .packetFilter:
            ReasonText(
                "packet_filter", "SLUICE_WITH_FILTERS=refuse keeps local connections where packet filters see every segment.",
                "Set SLUICE_WITH_FILTERS=bypass, or unset it, if lanes need not pass the filters.")
        case .meeting:
            ReasonText(
                "meeting", "It looks for the other end and has had no answer yet; it goes on with the program's next calls.",
                "Wait. If it stays so, see whether the other program runs under Sluice, with a like SLUICE_LANE_AT.")
        case .sharedPort:
            ReasonText(
                "shared_port",
                "Another socket may be bound to the UDP port too, so that the kernel chooses who gets a datagram; or it sends to one port at several addresses.",
                "Leave SO_REUSEADDR and SO_REUSEPORT out if the program lets you.")
        case .multicast:
            ReasonText(
                "multicast", "Datagrams to a group or to a whole network reach many sockets; the kernel carries them.",
                "Nothing to do: datagrams to one address have lanes.")
        default: nil
        }
    }
}
