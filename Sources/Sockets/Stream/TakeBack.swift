import CLinux
import CStackLayout
import Counters
import SharedMemory
import Stacks

/// The receiver has left the ring for good with bytes unread. The sender takes them back at its next call; one that makes
/// no call for a while is helped: where ptrace access allows it, the receiver sends them by the sender's own socket. Not
/// between users: who shares memory with another one shall not be able to keep him waiting.
enum TakeBack {
    /// How long a call waits for all its peers together: 0.2 s from now (CLOCK_MONOTONIC, ns).
    static func patience() -> UInt64 { slc_now_ns() &+ 200_000_000 }

    /// A bounded wait: blocks until then at most; behind it the peer is helped once all the same. Once for each lane: a
    /// program that tries exec along its PATH does not wait at each folder.
    static func await(_ e: Endpoint, until end: UInt64) {
        // What is published from now on its sender takes back at once.
        guard let d = unsafe e.rxDirection, unsafe slc_acquire_u32(&d.pointee.phase) & 1 == 1,
            unsafe slc_acquire_u64(&d.pointee.producer) != slc_relaxed_u64(&e.rx.pointee.offset),
            unsafe slc_or_u32(sl_flags(e.rx), UInt32(SL_HALF_AWAITED)) & UInt32(SL_HALF_AWAITED) == 0
        else { return }
        count(StackCounter.peersAwaited)
        let began = slc_now_ns()
        let isStranger = unsafe isStranger(e)
        // One that sleeps has been woken by now, and takes back without being waited for.
        let end = isStranger ? min(end, began &+ 1_000_000) : end
        var helped = isStranger
        while unsafe slc_acquire_u32(&d.pointee.phase) & 1 == 1 && (slc_now_ns() < end || !helped) {
            if !helped && (slc_now_ns() &- began > 1_000_000 || slc_now_ns() >= end) {
                helped = true
                if unsafe help(e, d) { return }
            }
            var pause = timespec(tv_sec: 0, tv_nsec: 50_000)
            _ = unsafe slc_ppoll(nil, 0, &pause, nil)
        }
    }

    /// Under the rx lock: the sender has claimed what is unread, and bytes lie in the kernel, where it sends nothing before it
    /// has left the ring. It does so in a moment, unless it is neither whole nor honest: false after 50 ms, or 1 ms of another user.
    static func comesAbout(_ e: Endpoint, _ d: Direction) -> Bool {
        let end = unsafe slc_now_ns() &+ (isStranger(e) ? 1_000_000 : 50_000_000)
        while unsafe slc_acquire_u32(&d.pointee.phase) == e.rx.pointee.phase {
            if slc_now_ns() > end { return false }
            var pause = timespec(tv_sec: 0, tv_nsec: 50_000)
            _ = unsafe slc_ppoll(nil, 0, &pause, nil)
        }
        return true
    }

    /// Is the peer another user?
    static func isStranger(_ e: Endpoint) -> Bool { unsafe e.local.pointee.pair?.pointee.isStranger ?? true }

    /// Under TAKING the sender waits before it leaves the ring itself.
    private static func help(_ e: Endpoint, _ d: Direction) -> Bool {
        guard let socket = unsafe senderSocket(e, d) else { return false }
        defer { _ = slc_close(socket) }
        let lock = unsafe RobustLock(&e.rx.pointee.lock)
        lock.acquire()
        defer { lock.release() }
        unsafe slc_set_u64(&d.pointee.taking_from, e.rx.pointee.offset)
        guard let reader = unsafe e.reader, unsafe slc_cas_u32(&d.pointee.rx_control, UInt32(SL_RX_GONE), UInt32(SL_RX_TAKING))
        else {
            return false
        }
        var done = unsafe slc_acquire_u32(&d.pointee.phase) & 1 == 1 && !reader.isClaimed
        while done, let n = reader.available(), n > 0 {
            let position = unsafe Int((reader.half.pointee.offset &- slc_relaxed_u64(&d.pointee.base)) & (reader.bytes &- 1))
            let r = unsafe slc_sendto(socket, reader.memory + position, min(Int(n), Int(reader.bytes) &- position), 0x4040)
            done = r > 0 && reader.consume(UInt64(r))
        }
        unsafe slc_release_u32(&d.pointee.rx_control, UInt32(SL_RX_GONE))
        return done
    }

    /// A duplicate of the sender's socket, proven to be the far end of this connection.
    static func senderSocket(_ e: Endpoint, _ d: Direction) -> Int32? {
        guard let pair = unsafe e.local.pointee.pair, let inode = unsafe farEndInode(e), inode != 0 else { return nil }
        let pid = unsafe slc_peer_pid(pair.pointee.channel)
        let number = unsafe slc_relaxed_u32(&d.pointee.sender_descriptor)
        guard pid > 0, number > 0 else { return nil }
        let fd = slc_foreign_descriptor(Int32(truncatingIfNeeded: pid), Int32(bitPattern: number &- 1))
        guard fd >= 0 else { return nil }
        let socket = Int32(truncatingIfNeeded: fd)
        if slc_inode(socket) == inode { return socket }
        _ = slc_close(socket)
        return nil
    }

    /// Under the tx lock, for the sender: what the receiver has sent by our socket counts as taken back, also when it was
    /// killed before it could say so.
    static func countReceivers(_ e: Endpoint, _ fd: Int32, _ d: Direction) {
        guard let c = unsafe KernelCounts.take(fd, connecting: e.pointee.role == 0, afterFin: true) else { return }
        let reached = unsafe slc_relaxed_u64(&d.pointee.taking_from) &+ (c.sent &- e.tx.pointee.kernel_bytes)
        unsafe e.tx.pointee.kernel_bytes = c.sent
        let more = unsafe reached &- e.tx.pointee.other_offset
        if unsafe more <= e.tx.pointee.offset &- e.tx.pointee.other_offset { unsafe e.tx.pointee.other_offset = reached }
    }

    /// For the sender: the receiver is at it; a receiver that died there has no reader behind it.
    static func awaitReceiver(_ d: Direction) {
        let end = slc_now_ns() &+ 200_000_000
        while unsafe slc_acquire_u32(&d.pointee.rx_control) == UInt32(SL_RX_TAKING) && slc_now_ns() < end {
            var pause = timespec(tv_sec: 0, tv_nsec: 20_000)
            _ = unsafe slc_ppoll(nil, 0, &pause, nil)
        }
    }
}
