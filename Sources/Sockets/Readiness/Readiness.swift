import CLinux
import CStackLayout
import SharedMemory
import Stacks

/// What poll(2) says of an accelerated stream: ring and kernel together. Event bits have the same values in poll and epoll.
enum Readiness {
    static let IN: UInt32 = 0x1
    static let PRI: UInt32 = 0x2
    static let OUT: UInt32 = 0x4
    static let ERR: UInt32 = 0x8
    static let HUP: UInt32 = 0x10
    static let RDNORM: UInt32 = 0x40
    static let WRNORM: UInt32 = 0x100
    static let RDHUP: UInt32 = 0x2000

    /// Does the kernel socket have a say beyond the ends? Then it is asked at every look.
    @inline(__always) static func kernelCarries(_ e: Endpoint) -> Bool {
        guard let d = unsafe e.rxDirection else { return true }
        return unsafe (e.rx.pointee.phase & e.tx.pointee.phase) & 1 == 0
            || slc_relaxed_u32(&d.pointee.phase) != e.rx.pointee.phase
            || e.tx.pointee.flags & UInt32(SL_HALF_TAKE_BACK) != 0 || e.rx.pointee.flags & UInt32(SL_HALF_GONE) != 0
    }

    /// Has the lane been handed back, and everything that lay in its rings been read or sent?
    static func isBack(_ e: Endpoint) -> Bool {
        guard let d = unsafe e.rxDirection else { return true }
        return unsafe e.pointee.flags & UInt32(SL_EP_GIVEN_UP) != 0 && (e.rx.pointee.phase | e.tx.pointee.phase) & 1 == 0
            && slc_relaxed_u32(&d.pointee.phase) == e.rx.pointee.phase
            && e.tx.pointee.flags & UInt32(SL_HALF_TAKE_BACK) == 0
    }

    /// Events of the ring alone, without a lock or a system call.
    @inline(__always) static func ring(_ e: Endpoint) -> UInt32 {
        // An error that a call of ours has taken from the socket.
        var events: UInt32 = unsafe e.pointee.error != 0 ? ERR : 0
        if unsafe e.pointee.flags & UInt32(SL_EP_RESET) != 0 {
            return IN | OUT | HUP | RDHUP | RDNORM | WRNORM | events
        }
        guard let rx = unsafe e.rxDirection, let tx = unsafe e.txDirection else { return events }
        let unread = unsafe slc_acquire_u64(&rx.pointee.producer) &- slc_relaxed_u64(&e.rx.pointee.offset)
        // What is claimed comes by the kernel in a moment.
        let isClaimed = unsafe slc_relaxed_u64(&rx.pointee.consumer) & ringClaim != 0
        if unsafe unread != 0 && !isClaimed && e.rx.pointee.flags & UInt32(SL_HALF_GONE) == 0 && isAtRing(e, rx)
            && unread >= UInt64(min(e.pointee.rx_lowat, 1 << 20))
        {
            events |= IN | RDNORM
        }
        if unsafe e.tx.pointee.phase & 1 == 1 {
            let used = unsafe slc_relaxed_u64(&e.tx.pointee.offset) &- slc_acquire_u64(&tx.pointee.consumer)
            if unsafe used <= e.pointee.tx_limit &- e.pointee.tx_limit / 3
                || slc_relaxed_u32(&tx.pointee.rx_control) != UInt32(SL_RX_OPEN)
            {
                events |= OUT | WRNORM
            }
        }
        return events
    }

    /// What the rings of a UDP socket add to that which the kernel says.
    static func datagrams(_ e: Endpoint) -> UInt32 {
        unsafe e.local.pointee.flowsRx.acquire()
        defer { unsafe e.local.pointee.flowsRx.release() }
        return unsafe Flows.hasNews(e) ? IN | RDNORM : 0
    }

    /// Are the ring's bytes next in the stream?
    @inline(__always) private static func isAtRing(_ e: Endpoint, _ rx: Direction) -> Bool {
        if unsafe e.rx.pointee.phase & 1 == 1 { return true }
        return unsafe slc_acquire_u32(&rx.pointee.phase) != e.rx.pointee.phase
            && slc_relaxed_u64(&rx.pointee.kernel_count) == e.rx.pointee.kernel_bytes
    }

    /// Puts what the kernel socket reported (as poll events) beside what the ring says.
    @inline(__always) static func merge(_ e: Endpoint, ring: UInt32, kernel: UInt32) -> UInt32 {
        var events = ring | kernel & ~(OUT | WRNORM)
        if kernel & (IN | RDHUP | HUP | ERR) != 0 { unsafe e.rx.pointee.kernel_look = 0 }
        if unsafe e.pointee.rx_lowat > 1 && events & IN != 0 && kernel & (RDHUP | HUP | ERR) == 0 && !reachesLowWater(e) {
            events &= ~(IN | RDNORM)
        }
        let carriesOut = unsafe e.tx.pointee.phase & 1 == 0 && e.tx.pointee.flags & UInt32(SL_HALF_TAKE_BACK) == 0
        if carriesOut || kernel & (ERR | HUP) != 0 { events |= kernel & (OUT | WRNORM) }
        if kernel & RDHUP != 0 { _ = unsafe slc_or_u32(sl_flags(e.rx), UInt32(SL_HALF_EOF_SEEN)) }
        if unsafe kernel & RDHUP != 0 && e.tx.pointee.phase & 1 == 1 && Lane.survivorIsReset(e) {
            return unsafe Readiness.ring(e) | kernel
        }
        // The peer was killed: a writer learns it by writing.
        if kernel & RDHUP != 0, let tx = unsafe e.txDirection, unsafe slc_relaxed_u32(&tx.pointee.closed) != 0 {
            events |= OUT | WRNORM
        }
        return events
    }

    /// SO_RCVLOWAT over both sources.
    @inline(never) private static func reachesLowWater(_ e: Endpoint) -> Bool {
        guard let rx = unsafe e.rxDirection else { return true }
        var queued: Int32 = 0
        _ = unsafe slc_ioctl(e.local.pointee.descriptor, 0x541B, &queued)
        var unread: UInt64 = 0
        if unsafe slc_relaxed_u64(&rx.pointee.consumer) & ringClaim == 0 {
            // What was taken back is among the queued bytes, or will be.
            let isLeft = unsafe slc_acquire_u32(&rx.pointee.phase) & 1 == 0
            let end = unsafe isLeft ? slc_relaxed_u64(&rx.pointee.ring_end) : slc_acquire_u64(&rx.pointee.producer)
            let isThere = unsafe !isLeft || e.rx.pointee.phase & 1 == 1
            unread = unsafe isThere ? end &- slc_relaxed_u64(&e.rx.pointee.offset) : 0
        }
        return unsafe unread &+ UInt64(max(0, queued)) >= UInt64(e.pointee.rx_lowat)
    }

    /// Asks the kernel about one socket.
    static func kernel(_ fd: Int32) -> UInt32 {
        var p = pollfd(fd: fd, events: Int16(IN | PRI | OUT | RDHUP | RDNORM | WRNORM), revents: 0)
        var zero = timespec()
        guard unsafe slc_ppoll(&p, 1, &zero, nil) > 0 else { return 0 }
        return UInt32(UInt16(bitPattern: p.revents))
    }
}
