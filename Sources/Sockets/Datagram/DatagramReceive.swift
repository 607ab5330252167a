import CLinux
import CStackLayout
import Counters
import Settings
import SharedMemory
import Stacks

/// One receive on a UDP socket that has lanes. Rings and the kernel's queue are one queue for the program: a ring's datagrams
/// come before what the same sender has sent by the kernel behind them, and after what it had sent so before.
@safe struct DatagramCall {
    let e: Endpoint
    let fd: Int32
    let flows: UnsafeMutablePointer<Flows>
    /// The program's, or one of ours for calls without a name.
    let msg: UnsafeMutablePointer<msghdr>
    let flags: Int32
    var isPeek: Bool { flags & 0x2 != 0 }

    /// One look, without blocking. Bytes, -EAGAIN, or another -errno. Takes the rx lock of the socket.
    func now() -> Int {
        let lock = unsafe RobustLock(&e.rx.pointee.lock)
        lock.acquire()
        defer { lock.release() }
        let time = slc_tsc()
        var isDue = unsafe time &- flows.pointee.kernelLook > 20 &* process.tickRate
        if isDue {
            unsafe flows.pointee.kernelLook = time
            let r = ofKernel()
            if r != -Int(EAGAIN) { return r }
            isDue = false
        }
        return ofRings()
    }

    /// What the kernel has, unless datagrams of the same sender lie before it in a ring.
    private func ofKernel() -> Int {
        var name = sockaddr_in6()
        var look = unsafe msghdr()
        var part = iovec()
        unsafe withUnsafeMutablePointer(to: &name) { unsafe look.msg_name = UnsafeMutableRawPointer($0) }
        look.msg_namelen = 28
        unsafe withUnsafeMutablePointer(to: &part) { unsafe look.msg_iov = $0 }
        look.msg_iovlen = 1
        let r = unsafe slc_recvmsg(fd, &look, 0x2 | 0x40)
        if r == -Int(EAGAIN) { return r }
        if r >= 0 {
            var from = slc_address()
            if unsafe slc_address_of(&name, look.msg_namelen, &from) == 0,
                let f = unsafe flows.find(sl_address(from))?.pointee.endpoint, let r = unsafe ofRing(f, kernelHas: true)
            {
                return r
            }
        }
        return takeKernel()
    }

    /// The real receive, counted for the flow of its sender.
    private func takeKernel() -> Int {
        var name = sockaddr_in6()
        var length: UInt32 = 28
        let own = unsafe msg.pointee.msg_name == nil
        if own {
            unsafe withUnsafeMutablePointer(to: &name) { unsafe msg.pointee.msg_name = UnsafeMutableRawPointer($0) }
            unsafe msg.pointee.msg_namelen = 28
        }
        let r = unsafe slc_recvmsg(fd, msg, flags | 0x40)
        var from = slc_address()
        length = unsafe msg.pointee.msg_namelen
        let isKnown = unsafe r >= 0 && slc_address_of(msg.pointee.msg_name, length, &from) == 0
        if own {
            unsafe msg.pointee.msg_name = nil
            unsafe msg.pointee.msg_namelen = 0
        }
        if isKnown && !isPeek { unsafe noteKernel(e, fd, sl_address(from), r) }
        return r
    }

    private func ofRings() -> Int {
        var result = -Int(EAGAIN)
        unsafe flows.eachOpen { f, i in
            guard let r = unsafe ofRing(f, kernelHas: false) else { return true }
            result = r
            unsafe flows.pointee.turn = Int32(truncatingIfNeeded: i &+ 1)
            return false
        }
        return result
    }

    /// The next datagram of a flow's ring; nil: none, or datagrams of the kernel come first.
    private func ofRing(_ f: Endpoint, kernelHas: Bool) -> Int? {
        guard let reader = unsafe f.reader, unsafe f.rx.pointee.flags & UInt32(SL_HALF_GONE) == 0 else { return nil }
        var isDamaged = false
        guard let d = reader.datagram(isDamaged: &isDamaged) else {
            if isDamaged { unsafe FlowLane.damaged(f) }
            return nil
        }
        // Of what the sender sent by the kernel before this one, some may not have come yet, or was dropped.
        let missing = unsafe d.kernelCount &- f.rx.pointee.kernel_bytes
        let isCounted = unsafe f.rx.pointee.flags & UInt32(SL_HALF_COUNTED) != 0
        if !isCounted || missing != 0 && missing < 1 << 62 {
            if kernelHas { return nil }
            if let r = awaitKernel() { return r }
        }
        unsafe f.rx.pointee.flags |= UInt32(SL_HALF_COUNTED)
        unsafe f.rx.pointee.kernel_bytes = d.kernelCount
        return unsafe deliver(d, f, reader)
    }

    /// Twice, 50 us apart: what the kernel has not by then was dropped.
    private func awaitKernel() -> Int? {
        var r = takeKernel()
        if r != -Int(EAGAIN) { return r }
        let began = slc_tsc()
        while unsafe slc_tsc() &- began < 50 &* process.tickRate { slc_pause() }
        r = takeKernel()
        return r != -Int(EAGAIN) ? r : nil
    }

    private func deliver(_ d: Datagram, _ f: Endpoint, _ reader: RingReader) -> Int? {
        var target = unsafe UserBytes(msg.pointee.msg_iov, Int(msg.pointee.msg_iovlen))
        let n = min(d.bytes, target.total)
        var at = 0
        while at < n {
            let (p, k) = unsafe target.next(n &- at)
            guard k > 0, let p = unsafe p else { break }
            unsafe memcpy(p, d.memory + at, k)
            target.advance(k)
            at = at &+ k
        }
        if !isPeek {
            guard reader.consume(d.taken) else { return nil }
            unsafe f.pointee.counters.rx_packets &+= 1
            unsafe f.pointee.counters.rx_ring_bytes &+= UInt64(d.bytes)
        }
        if let name = unsafe msg.pointee.msg_name {
            var from = unsafe slc_address(f.pointee.remote)
            unsafe msg.pointee.msg_namelen = unsafe slc_name_of(&from, name, msg.pointee.msg_namelen)
        }
        unsafe msg.pointee.msg_controllen = 0
        let isCut = d.bytes > n
        unsafe msg.pointee.msg_flags = (isCut ? 0x20 : 0) | flags & 0x4000_0000
        return isCut && flags & 0x20 != 0 ? d.bytes : n
    }
}

/// A datagram came by the kernel.
func noteKernel(_ e: Endpoint, _ fd: Int32, _ from: sl_address, _ n: Int) {
    if let f = unsafe Flows.known(e)?.find(from)?.pointee.endpoint { unsafe f.rx.pointee.kernel_bytes &+= 1 }
    unsafe e.pointee.counters.rx_kernel_bytes &+= UInt64(n)
    unsafe Flows.note(e, fd, from)
}

extension sl_address {
    init(_ a: slc_address) { self.init(ip: a.ip, port: a.port, family: a.family, scope: a.scope) }
}
