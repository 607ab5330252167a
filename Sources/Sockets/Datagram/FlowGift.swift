import CLinux
import CStackLayout
import Counters
import SharedMemory
import Stacks

/// What is unread of a flow goes into the kernel's queue, for a program that reads it there: by the sender's own socket, where
/// ptrace access allows it, or by one at its address when it has ended; else the sender sends it again with its next call. Datagrams that the kernel has already, and that
/// were sent behind those, are taken out and sent again too, as far as no other sender's lie between. Under `flowsRx`.
enum FlowGift {
    /// More than a ring and a receive buffer hold by default.
    private static var room: Int { 4 << 20 }
    /// What the kernel's queue may hold: over IPv6 a datagram is a little longer than `largestDatagram`.
    private static var longest: Int { 65535 }

    /// The ring is TAKING, so that nothing overtakes the gift; behind it is what `after` says.
    static func give(_ f: Endpoint, _ d: Direction, after: UInt32) {
        var after = after
        defer { _ = unsafe slc_cas_u32(&d.pointee.rx_control, UInt32(SL_RX_TAKING), after) }
        guard unsafe f.rx.pointee.flags & UInt32(SL_HALF_GONE) == 0, let reader = unsafe f.reader else { return }
        var isDamaged = false
        guard reader.datagram(isDamaged: &isDamaged) != nil else { return }
        guard let socket = unsafe TakeBack.senderSocket(f, d) ?? inPlaceOfSender(f) else {
            if after == UInt32(SL_RX_GONE) { after = UInt32(SL_RX_WANT) }
            return
        }
        defer { _ = slc_close(socket) }
        unsafe awaitKernel(d)
        guard let memory = unsafe Memory.anonymous(room) else { return }
        defer { _ = unsafe slc_munmap(memory, room) }
        let n = unsafe collect(f, reader, memory)
        var at = 0
        while at < n {
            let bytes = unsafe Int((memory + at).load(as: UInt64.self))
            unsafe FlowLane.send(memory + at + 8, bytes, by: socket, to: f.pointee.local)
            at += size(bytes)
        }
    }

    /// A socket at the address of a sender that has ended or closed its own: else somebody is there.
    private static func inPlaceOfSender(_ f: Endpoint) -> Int32? {
        let s = unsafe slc_socket(Int32(f.pointee.remote.family), 2 | 0o2000000, 0)
        guard s >= 0 else { return nil }
        let socket = Int32(truncatingIfNeeded: s)
        var name = sockaddr_in6()
        var far = unsafe slc_address(f.pointee.remote)
        let length = unsafe slc_name_of(&far, &name, 28)
        if unsafe slc_bind(socket, &name, length) == 0 { return socket }
        _ = slc_close(socket)
        return nil
    }

    /// What the sender had begun to send by the kernel before the ring was closed lies in the queue, then, or comes late.
    private static func awaitKernel(_ d: Direction) {
        let end = slc_now_ns() &+ 50_000_000
        while unsafe slc_acquire_u64(&d.pointee.kernel_begun) != slc_acquire_u64(&d.pointee.kernel_count) && slc_now_ns() < end {
            var pause = timespec(tv_sec: 0, tv_nsec: 20_000)
            _ = unsafe slc_ppoll(nil, 0, &pause, nil)
        }
    }

    /// The receiver is just sending what was unread by this socket, and a datagram of ours, which is begun, shall not overtake it.
    /// A receiver that does not end is waited for once. What the ring is then. Under `flowsTx`.
    @inline(never) static func await(_ f: Endpoint, _ d: Direction) -> UInt32 {
        if unsafe f.tx.pointee.flags & UInt32(SL_HALF_AWAITED) == 0 {
            unsafe FlowLane.endKernel(f, false)
            unsafe TakeBack.awaitReceiver(d)
            unsafe FlowLane.beginKernel(f)
        }
        if unsafe slc_cas_u32(&d.pointee.rx_control, UInt32(SL_RX_TAKING), UInt32(SL_RX_GONE)) {
            unsafe f.tx.pointee.flags |= UInt32(SL_HALF_AWAITED)
        }
        return unsafe slc_acquire_u32(&d.pointee.rx_control)
    }

    /// The receiver has left while we were writing, and did not wait for us. It says whether it will read what we have published.
    @inline(never) static func missed(_ f: Endpoint, _ d: Direction) {
        if unsafe slc_acquire_u32(&d.pointee.rx_control) == UInt32(SL_RX_TAKING) { unsafe TakeBack.awaitReceiver(d) }
        unsafe FlowLane.leave(f, d, slc_acquire_u32(&d.pointee.rx_control))
    }

    private static func size(_ bytes: Int) -> Int { (8 + bytes + 7) & ~7 }

    /// All unread datagrams of the flow in their order, each behind its length. What they take.
    private static func collect(_ f: Endpoint, _ reader: RingReader, _ memory: UnsafeMutableRawPointer) -> Int {
        var at = 0
        var isDamaged = false
        while at + size(longest) <= room {
            let next = reader.datagram(isDamaged: &isDamaged)
            let missing = next.map { d in unsafe d.kernelCount &- f.rx.pointee.kernel_bytes } ?? 1
            var n = -1
            if missing != 0 && missing < 1 << 62 {
                n = unsafe ofKernel(f, memory + at + 8)
                if n >= 0 { unsafe f.rx.pointee.kernel_bytes &+= 1 }
            }
            if n < 0 {
                guard let next, next.bytes <= largestDatagram else { break }
                n = next.bytes
                unsafe memcpy(memory + at + 8, next.memory, n)
                guard reader.consume(next.taken) else { break }
                if missing < 1 << 62 { unsafe f.rx.pointee.kernel_bytes = next.kernelCount }
            }
            unsafe (memory + at).storeBytes(of: UInt64(n), as: UInt64.self)
            at += size(n)
        }
        return at
    }

    /// The kernel's next datagram, if it is this sender's; -1: it is not.
    private static func ofKernel(_ f: Endpoint, _ target: UnsafeMutableRawPointer) -> Int {
        var name = sockaddr_in6()
        var part = unsafe iovec(iov_base: target, iov_len: longest)
        var m = unsafe msghdr()
        unsafe withUnsafeMutablePointer(to: &name) { unsafe m.msg_name = UnsafeMutableRawPointer($0) }
        unsafe m.msg_namelen = 28
        unsafe withUnsafeMutablePointer(to: &part) { unsafe m.msg_iov = $0 }
        unsafe m.msg_iovlen = 1
        let fd = unsafe f.local.pointee.descriptor
        guard unsafe slc_recvmsg(fd, &m, 0x2 | 0x40) >= 0 else { return -1 }
        var from = slc_address()
        guard unsafe slc_address_of(&name, m.msg_namelen, &from) == 0 else { return -1 }
        let sender = sl_address(from)
        guard unsafe sender.port == f.pointee.remote.port && sender.ip == f.pointee.remote.ip else { return -1 }
        unsafe m.msg_namelen = 28
        return unsafe slc_recvmsg(fd, &m, 0x40)
    }
}
