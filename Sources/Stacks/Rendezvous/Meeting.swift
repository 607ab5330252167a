import CLinux
import CStackLayout
import Counters
import SharedMemory

/// Where the meeting of one connection stands. It goes forward inside the program's own calls, never by a thread of
/// ours, and never waits.
///
/// ```
///   accepting end                              connecting end
///   listening   names itself by the 4-tuple    knocking    tries that name at growing intervals
///   greeting    HELLO + proof  <------------>  greeting    HELLO + proof
///   proven      <--- REGION (slot, memfd) ---  offered     maps, offers
///   done        ---- READY ----------------->  done
/// ```
public struct Meeting {
    public enum Step: UInt8 { case idle, listening, knocking, greeting, proven, offered, done, over }
    public var step = Step.idle
    public var listener: Int32 = -1
    public var channel: Int32 = -1
    /// Nonce of the process that these descriptors belong to.
    public var owner: UInt64 = 0
    public var began: UInt64 = 0
    public var greeted: UInt64 = 0
    public var looks: UInt32 = 0
    public var nextLook: UInt32 = 1
    public var attempts: UInt32 = 0
    /// Calls that have waited for the peer (SLUICE_LANE_AT=0).
    public var waits: UInt32 = 0
    /// Of the slot that is offered.
    public var ticket: UInt64 = 0
    public var peer = sl_message()
    /// Who is at the other end of `channel` (SO_PEERCRED). The process is 0 when it is not of our pid namespace.
    public var peerUid: UInt32 = 0
    public var peerPid: Int32 = 0
    public var counts = KernelCounts()

    public init() {}

    /// Closes what it holds; `step` becomes `over`.
    public mutating func end() {
        if unsafe owner == process.nonce {
            OpenNames.close(&listener)
            OwnDescriptor.close(channel)
        }
        listener = -1
        channel = -1
        step = .over
    }
}

/// What the kernel says of a connection's bytes: see reference on TCP_INFO. Sent is all that was ever sent, of which
/// `unacknowledged` have not been confirmed; received all that ever arrived, read is what the program took.
public struct KernelCounts {
    public var sent: UInt64 = 0
    public var unacknowledged: UInt64 = 0
    public var received: UInt64 = 0
    public var read: UInt64 = 0

    public init() {}

    /// Nil when the connection is not established, or the counts moved each time they were taken. Exact when nobody here
    /// sends or receives meanwhile: queue lengths that are equal before and after tell that nothing moved between.
    /// `afterFin`: also when the peer has ended.
    public static func take(_ fd: Int32, connecting: Bool, afterFin: Bool = false) -> KernelCounts? {
        var tries = 0
        while tries < 32 {
            tries += 1
            var acked: UInt64 = 0
            var c = KernelCounts()
            guard let before = Queues(fd), unsafe slc_tcp_counts(fd, afterFin ? 1 : 0, &acked, &c.received) == 0,
                let after = Queues(fd)
            else { return nil }
            guard before == after else { continue }
            // bytes_acked counts the SYN of the connecting side.
            c.sent = acked &+ after.out &- (connecting ? 1 : 0)
            c.unacknowledged = after.out
            c.read = c.received &- after.inn
            return c
        }
        return nil
    }

    /// Bytes that the other end must have received.
    var confirmed: UInt64 { sent &- unacknowledged }

    /// Can these, taken now, and what the peer has told of its end be counts of the two ends of one connection? `earlier`:
    /// our counts from before the peer took its own. No count ever falls, what an end has received the other has sent,
    /// and what is acknowledged has been received: so each of the peer's counts lies between two of ours, however much
    /// moves meanwhile; and on a connection where nothing moves these two are the same number.
    func agree(with peer: sl_message, after earlier: KernelCounts? = nil) -> Bool {
        guard peer.unacknowledged <= peer.sent, peer.received <= sent, peer.sent &- peer.unacknowledged <= received else {
            return false
        }
        guard let earlier else { return true }
        return earlier.confirmed <= peer.received && earlier.received <= peer.sent
    }

    private struct Queues: Equatable {
        var out: UInt64
        var inn: UInt64

        init?(_ fd: Int32) {
            var o: Int32 = 0
            var i: Int32 = 0
            // SIOCOUTQ, SIOCINQ
            guard unsafe slc_ioctl(fd, 0x5411, &o) == 0, unsafe slc_ioctl(fd, 0x541B, &i) == 0, o >= 0, i >= 0 else { return nil }
            out = UInt64(o)
            inn = UInt64(i)
        }
    }
}

/// The name by which two ends find each other: the network namespace's cookie and the 4-tuple as the accepting end has it. Ends of
/// datagrams may not know by which of their addresses the other one knows them: their name has the ports alone.
public struct MeetingName {
    var bytes: (UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0, 0, 0, 0)

    public init(cookie: UInt64, acceptor: sl_address, connector: sl_address, isDatagram: Bool = false) {
        unsafe withUnsafeMutableBytes(of: &bytes) { b in
            unsafe b.storeBytes(of: isDatagram ? 0x3275_6c73 : 0x3175_6c73, as: UInt32.self)  // "slu1", "slu2"
            unsafe b.storeBytes(of: UInt32(acceptor.port) << 16 | UInt32(connector.port), toByteOffset: 4, as: UInt32.self)
            unsafe b.storeBytes(of: cookie, toByteOffset: 8, as: UInt64.self)
            if isDatagram { return }
            unsafe b.storeBytes(of: acceptor.ip, toByteOffset: 16, as: type(of: acceptor.ip))
            unsafe b.storeBytes(of: connector.ip, toByteOffset: 32, as: type(of: connector.ip))
        }
    }

    mutating func address(_ out: inout sockaddr_un) -> UInt32 {
        unsafe withUnsafeBytes(of: &bytes) { unsafe slc_abstract(&out, $0.baseAddress, 48) }
    }
}

extension sl_message {
    /// Of a flow of datagrams: by which addresses the sender knows itself and the other end, in place of counts.
    mutating func tellAddresses(_ own: sl_address, _ far: sl_address) {
        sent = own.digest
        received = far.digest
    }

    func tellsAddresses(_ own: sl_address, _ far: sl_address) -> Bool { sent == own.digest && received == far.digest }
}

extension sl_address {
    /// FNV-1a of the IP address: the two ends of a meeting compare it, both of which are known to hold their sockets.
    fileprivate var digest: UInt64 {
        var bytes = ip
        var h: UInt64 = 0xcbf2_9ce4_8422_2325
        unsafe withUnsafeBytes(of: &bytes) { b in
            var i = 0
            while i < 16 {
                h = unsafe (h ^ UInt64(b[i])) &* 0x100_0000_01b3
                i += 1
            }
        }
        return h
    }
}
