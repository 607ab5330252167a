import CLinux
import CStackLayout
import Counters
import SharedMemory
import Stacks

/// What a sender knows of the receiver behind a ring: whether it reads, has left, or has ended; and what becomes then of what it
/// has not read. Under `flowsTx`.
extension FlowLane {
    /// The program is about to wait, perhaps for answers: a receiver that has ended would not read what lies in its ring. The
    /// kernel says so of the last of it.
    static func askPeers(_ e: Endpoint) {
        unsafe e.local.pointee.flowsTx.acquire()
        defer { unsafe e.local.pointee.flowsTx.release() }
        guard let flows = unsafe Flows.known(e) else { return }
        var bits = unsafe flows.pointee.hasSent
        unsafe flows.pointee.hasSent = 0
        while bits != 0 {
            let i = bits.trailingZeroBitCount
            bits &= bits &- 1
            guard let f = unsafe flows.laned(i), let writer = unsafe f.writer, let n = writer.unread(), n != 0 else { continue }
            unsafe flows.pointee.hasSent |= flowBit(i)
            if unsafe slc_acquire_u32(&writer.direction.pointee.rx_control) == UInt32(SL_RX_WANT) {
                unsafe leave(f, writer.direction, UInt32(SL_RX_WANT))
            } else if unsafe f.pointee.flags & UInt32(SL_EP_GIVEN_UP) == 0 && peerIsGone(f) {
                unsafe leave(f, writer.direction, UInt32(SL_RX_GONE))
                if unsafe !hasSuccessor(f) { unsafe sendAgain(f, onlyLast: true) }
            }
        }
    }

    /// Is another socket at the address of a peer that has gone? What was not read has ended with the peer's, which nobody else
    /// holds then.
    private static func hasSuccessor(_ f: Endpoint) -> Bool {
        let before = unsafe f.local.pointee.farInode
        guard unsafe before != 0 && !process.sealed, let now = unsafe farEndInode(f) else { return false }
        return now != 0 && now != before
    }

    enum ReaderState { case moves, still, gone }

    /// Datagrams lie unread and the reader has not moved for a while: has its process ended? One that stands still for 20 ms
    /// gets the next by the kernel: it may sleep, and the one that was to wake it have been dropped on its way, by a filter.
    @inline(__always) static func look(_ f: Endpoint, _ writer: RingWriter) -> ReaderState {
        let now = slc_tsc()
        guard unsafe now &- f.tx.pointee.kernel_look > 50 &* process.tickRate else { return .moves }
        unsafe f.tx.pointee.kernel_look = now
        let before = unsafe f.tx.pointee.other_offset
        guard let unread = writer.unread(), unread != 0, unsafe before == f.tx.pointee.other_offset else {
            unsafe f.pointee.full_since = 0
            return .moves
        }
        return unsafe stands(f, now)
    }

    @inline(never) private static func stands(_ f: Endpoint, _ now: UInt64) -> ReaderState {
        if unsafe peerIsGone(f) { return .gone }
        if unsafe f.pointee.full_since == 0 { unsafe f.pointee.full_since = now }
        guard unsafe now &- f.pointee.full_since > 20_000 &* process.tickRate else { return .moves }
        unsafe f.pointee.full_since = 0
        return .still
    }

    /// Has the other process ended, or closed its socket? Then who is at its address now is another.
    static func hasLeft(_ f: Endpoint) -> Bool {
        guard let d = unsafe f.rxDirection else { return true }
        return unsafe slc_acquire_u64(&d.pointee.left) != 0 || peerIsGone(f)
    }

    @inline(never) static func peerIsGone(_ f: Endpoint) -> Bool {
        guard let pair = unsafe f.local.pointee.pair else { return true }
        var p = unsafe pollfd(fd: pair.pointee.channel, events: 0, revents: 0)
        var zero = timespec()
        return unsafe pair.pointee.peerIsGone || slc_ppoll(&p, 1, &zero, nil) > 0 && p.revents & Int16(POLLHUP) != 0
    }

    /// The receiver has gone, or we go: the kernel carries what follows.
    @inline(never) static func giveUp(_ f: Endpoint, _ d: Direction) -> Int {
        _ = unsafe slc_cas_u32(&d.pointee.rx_control, UInt32(SL_RX_WRITING), UInt32(SL_RX_GONE))
        unsafe leave(f, d, UInt32(SL_RX_GONE))
        return useKernel
    }

    @inline(never) static func leave(_ f: Endpoint, _ d: Direction, _ control: UInt32) {
        if unsafe control == UInt32(SL_RX_WANT) && slc_cas_u32(&d.pointee.rx_control, control, UInt32(SL_RX_GONE)),
            unsafe !(peerIsGone(f) && hasSuccessor(f))
        {
            unsafe sendAgain(f, onlyLast: false)
        }
        guard unsafe slc_or_u32(&f.pointee.flags, UInt32(SL_EP_GIVEN_UP)) & UInt32(SL_EP_GIVEN_UP) == 0 else { return }
        unsafe f.pointee.reason = Reason.peerHandedBack.number
        unsafe f.pointee.counters.lane_handbacks &+= 1
        count(StackCounter.lanesHandedBack)
    }

    /// The receiver reads no more from the ring, though its socket lives: what is unread there goes by the kernel.
    private static func sendAgain(_ f: Endpoint, onlyLast: Bool) {
        guard let writer = unsafe f.writer, writer.unread() != nil else { return }
        var half = sl_half()
        half.offset = unsafe f.tx.pointee.other_offset
        unsafe withUnsafeMutablePointer(to: &half) { h in
            let reader = unsafe RingReader(
                direction: writer.direction, half: h, memory: writer.memory, bytes: writer.bytes)
            var isDamaged = false
            var last: Datagram? = nil
            // No further than we have written, whatever the ring's words say.
            while unsafe f.tx.pointee.offset &- h.pointee.offset &- 1 < writer.bytes,
                let d = reader.datagram(isDamaged: &isDamaged)
            {
                unsafe h.pointee.offset &+= d.taken
                last = d
                if !onlyLast { unsafe send(d.memory, d.bytes, by: f.local.pointee.descriptor, to: f.pointee.remote) }
            }
            if onlyLast, let last { unsafe send(last.memory, last.bytes, by: f.local.pointee.descriptor, to: f.pointee.remote) }
        }
    }

    static func send(_ memory: UnsafeRawPointer, _ bytes: Int, by fd: Int32, to remote: sl_address) {
        var to = slc_address(remote)
        var name = sockaddr_in6()
        let length = unsafe slc_name_of(&to, &name, 28)
        var part = unsafe iovec(iov_base: UnsafeMutableRawPointer(mutating: memory), iov_len: bytes)
        var m = unsafe msghdr()
        unsafe withUnsafeMutablePointer(to: &name) { unsafe m.msg_name = UnsafeMutableRawPointer($0) }
        unsafe m.msg_namelen = length
        unsafe withUnsafeMutablePointer(to: &part) { unsafe m.msg_iov = $0 }
        unsafe m.msg_iovlen = 1
        // An error of an earlier one takes this one's place (it comes again, of this one, where nobody is).
        if unsafe slc_sendmsg(fd, &m, 0x4040) < 0 { _ = unsafe slc_sendmsg(fd, &m, 0x4040) }
    }
}
