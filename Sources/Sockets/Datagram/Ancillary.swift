import CLinux
import CStackLayout
import SharedMemory
import Stacks

/// Ancillary data of datagrams in rings (recvmsg(2)): where a datagram was sent to, its TTL and its type of service. Of one flow they are
/// the same for all datagrams until the sender changes its options: so those that the kernel gave with the flow's last datagram
/// are given with what comes by the ring, too. Without one the ring stays closed. Under `flowsRx`, but for `senderChanged`.
@safe struct Ancillary {
    private var bytes = 0
    /// The number of the kernel's datagram that they are of, as its sender counts them.
    private var number: UInt64 = 0
    private static var room: Int { 240 }
    static var size: Int { MemoryLayout<Ancillary>.stride + room }
    /// MSG_CTRUNC
    static var isCut: Int32 { 0x8 }

    /// Keeps what came with the flow's newest datagram by the kernel, all of which is counted.
    static func keep(_ f: Endpoint, _ msg: UnsafeMutablePointer<msghdr>) {
        guard let record = unsafe record(of: f) else { return }
        let n = unsafe Int(truncatingIfNeeded: msg.pointee.msg_controllen)
        guard unsafe msg.pointee.msg_flags & isCut == 0, n <= room, let control = unsafe msg.pointee.msg_control else {
            unsafe record.pointee.number = 0
            return
        }
        guard unsafe isOfFlow(f, control, n) else { return }
        unsafe memcpy(data(record), control, n)
        unsafe record.pointee.bytes = n
        unsafe record.pointee.number = unsafe f.rx.pointee.kernel_bytes
    }

    /// May the ring be open? The sender has changed nothing since that datagram.
    static func isKnown(_ f: Endpoint) -> Bool {
        guard let d = unsafe f.rxDirection else { return false }
        return unsafe isKnown(f, since: slc_acquire_u64(&d.pointee.ring_end))
    }

    /// The same of a datagram in the ring, before which the sender changed its options last at `optionsAt`.
    static func isKnown(_ f: Endpoint, since optionsAt: UInt64) -> Bool {
        guard let record = unsafe f.local.pointee.ancillary else { return false }
        return unsafe record.assumingMemoryBound(to: Ancillary.self).pointee.number > optionsAt
    }

    /// Gives them to the program, as much as it has room for, and as the kernel would cut them off.
    static func give(_ f: Endpoint, _ msg: UnsafeMutablePointer<msghdr>) {
        guard let record = unsafe record(of: f) else { return }
        let target = unsafe msg.pointee.msg_control
        let all = unsafe target == nil ? 0 : Int(truncatingIfNeeded: msg.pointee.msg_controllen)
        var (at, from) = (0, 0)
        while unsafe from &+ header <= record.pointee.bytes {
            let source = unsafe data(record) + from
            let wanted = unsafe Int(truncatingIfNeeded: source.loadUnaligned(as: UInt64.self))
            guard let target = unsafe target, all &- at >= header else {
                unsafe msg.pointee.msg_flags |= isCut
                break
            }
            let n = min(wanted, all &- at)
            unsafe memcpy(target + at, source, n)
            if n < wanted {
                unsafe (target + at).storeBytes(of: UInt64(truncatingIfNeeded: n), as: UInt64.self)
                unsafe msg.pointee.msg_flags |= isCut
            }
            at = min(all, at &+ aligned(n))
            from = from &+ aligned(wanted)
        }
        unsafe msg.pointee.msg_controllen = at
    }

    /// Was it sent to the address of the flow? A socket that is bound to all addresses gets others from the same sender, too.
    private static func isOfFlow(_ f: Endpoint, _ control: UnsafeMutableRawPointer, _ n: Int) -> Bool {
        let own = unsafe sl_local_ip(f).unsafelyUnwrapped
        var at = 0
        while at &+ header <= n {
            let bytes = unsafe Int(truncatingIfNeeded: (control + at).loadUnaligned(as: UInt64.self))
            let (level, type) = unsafe (control + at + 8).loadUnaligned(as: (Int32, Int32).self)
            // IP_PKTINFO: struct in_pktinfo with the address at 8; IPV6_PKTINFO: struct in6_pktinfo with it at 0.
            let value = unsafe control + at + header
            let isOther: Bool
            switch (level, type) {
            case (0, 8): isOther = unsafe memcmp(value + 8, own + 12, 4) != 0
            case (41, 50): isOther = unsafe memcmp(value, own, 16) != 0
            default: isOther = false
            }
            if isOther { return false }
            guard bytes >= header else { break }
            at = at &+ aligned(bytes)
        }
        return true
    }

    private static var header: Int { MemoryLayout<cmsghdr>.size }

    private static func aligned(_ n: Int) -> Int { (n &+ 7) & ~7 }

    private static func data(_ record: UnsafeMutablePointer<Ancillary>) -> UnsafeMutableRawPointer {
        unsafe UnsafeMutableRawPointer(record) + MemoryLayout<Ancillary>.stride
    }

    private static func record(of f: Endpoint) -> UnsafeMutablePointer<Ancillary>? {
        if let known = unsafe f.local.pointee.ancillary { return unsafe known.assumingMemoryBound(to: Ancillary.self) }
        unsafe process.lock.acquire()
        defer { unsafe process.lock.release() }
        guard let memory = unsafe process.pool.take(size) else { return nil }
        let record = unsafe memory.assumingMemoryBound(to: Ancillary.self)
        unsafe record.initialize(to: Ancillary())
        unsafe f.local.pointee.ancillary = memory
        return unsafe record
    }

    /// Under `process.lock`.
    static func free(_ f: Endpoint) {
        guard let memory = unsafe f.local.pointee.ancillary else { return }
        unsafe f.local.pointee.ancillary = nil
        unsafe process.pool.give(memory, size)
    }
}

extension Ancillary {
    /// The sender's next datagram has another TTL or type of service, or this one has: the kernel carries the next of each flow.
    /// Under `flowsTx`.
    static func senderChanged(_ flows: UnsafeMutablePointer<Flows>, _ i: Int, _ f: Endpoint) {
        unsafe flows.pointee.mustPass |= flowBit(i)
        guard let d = unsafe f.txDirection else { return }
        unsafe slc_release_u64(&d.pointee.ring_end, slc_relaxed_u64(&d.pointee.kernel_begun))
    }

    static func senderChanged(_ e: Endpoint) {
        unsafe e.local.pointee.flowsTx.acquire()
        defer { unsafe e.local.pointee.flowsTx.release() }
        guard let flows = unsafe Flows.known(e) else { return }
        var i = 0
        while unsafe i < Int(slc_relaxed_u32(&flows.pointee.used)) {
            if let f = unsafe flows.laned(i) { unsafe senderChanged(flows, i, f) }
            i &+= 1
        }
    }

    /// Options of the sender that its receiver may be told of: TTL, TOS, UNICAST_HOPS, TCLASS (ip(7), ipv6(7)).
    static func isOfSender(_ level: Int32, _ name: Int32) -> Bool {
        level == 0 && (name == 1 || name == 2) || level == 41 && (name == 16 || name == 67)
    }

    /// The receiver's options that `give` serves, each a bit: IP_PKTINFO, RECVTTL, RECVTOS, IPV6_RECVPKTINFO, RECVHOPLIMIT,
    /// RECVTCLASS; 0: it is none of them.
    static func bit(_ level: Int32, _ name: Int32) -> UInt8 {
        switch (level, name) {
        case (0, 8): return 1
        case (0, 12): return 2
        case (0, 13): return 4
        case (41, 49): return 8
        case (41, 51): return 16
        case (41, 66): return 32
        default: return 0
        }
    }
}
