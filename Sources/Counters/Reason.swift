/// Why a socket travels by the kernel: one number per socket, from this fixed list. Numbers are never changed or used
/// again; new ones go to the end. The words for people are in `ReasonTable`.
public struct Reason: Equatable, Sendable {
    public let number: UInt32
    public init(_ number: UInt32) { self.number = number }

    /// How many reasons there are; their numbers are `0 ..< count`.
    public static var count: UInt32 { 30 }

    public static var none: Reason { Reason(0) }
    /// It has not shown yet that it will live.
    public static var young: Reason { Reason(1) }
    /// The other end is not on this host, or in another network namespace.
    public static var remotePeer: Reason { Reason(2) }
    /// The other end did not come to the rendezvous: it does not run under Sluice.
    public static var plainPeer: Reason { Reason(3) }
    /// A setting turned acceleration off for it.
    public static var setting: Reason { Reason(4) }
    /// Another user, and no consent on both sides.
    public static var consent: Reason { Reason(5) }
    /// The other end could not prove that it holds its end.
    public static var proof: Reason { Reason(6) }
    /// sock_diag or /proc is missing, so nothing can be proven.
    public static var noProof: Reason { Reason(7) }
    /// The thread's network namespace is not the socket's.
    public static var namespace: Reason { Reason(8) }
    /// It came over exec or SCM_RIGHTS: a plain program may hold it too.
    public static var foreignOrigin: Reason { Reason(9) }
    /// The kernel's byte counts of both ends do not agree.
    public static var counts: Reason { Reason(10) }
    /// Held by several processes since a fork.
    public static var sharedByFork: Reason { Reason(11) }
    /// No memory, no descriptor, or a refused system call.
    public static var resources: Reason { Reason(12) }
    /// Handed back before exec.
    public static var exec: Reason { Reason(13) }
    /// Handed back: the descriptor was passed to another process.
    public static var passed: Reason { Reason(14) }
    /// Handed back: stdio, aio, splice or another call by which libc or the kernel moves the bytes itself.
    public static var foreignCall: Reason { Reason(15) }
    /// Handed back: an option that the lane does not serve.
    public static var option: Reason { Reason(16) }
    /// Handed back: urgent data.
    public static var urgentData: Reason { Reason(17) }
    /// Handed back before a seccomp filter, io_uring, or a library whose calls go straight to libc.
    public static var sealedOff: Reason { Reason(18) }
    /// The peer handed its end back.
    public static var peerHandedBack: Reason { Reason(19) }
    /// The peer wrote something into shared memory that cannot be.
    public static var damaged: Reason { Reason(20) }
    /// The connection is ending or has ended.
    public static var ended: Reason { Reason(21) }
    /// Neither a TCP nor a UDP socket of IPv4 or IPv6.
    public static var kind: Reason { Reason(22) }
    /// Listening sockets carry no bytes.
    public static var listening: Reason { Reason(23) }
    /// Chaos mode handed it back.
    public static var chaos: Reason { Reason(24) }
    /// A table of Sluice is full.
    public static var limit: Reason { Reason(25) }
    /// Packet filters exist and the user wants them obeyed.
    public static var packetFilter: Reason { Reason(26) }
    /// The two ends are looking for each other.
    public static var meeting: Reason { Reason(27) }
    /// Another socket may be bound to the same port.
    public static var sharedPort: Reason { Reason(28) }
    /// Multicast or broadcast: datagrams to many.
    public static var multicast: Reason { Reason(29) }
}
