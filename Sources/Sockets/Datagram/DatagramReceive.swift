import CLinux
import CStackLayout
import Counters
import Settings
import SharedMemory
import Stacks

/// One receive on a UDP socket that has lanes. Rings and the kernel's queue are one queue for the program: a ring's datagrams
/// come before what the same sender has sent by the kernel behind them, and after what it had sent so before. Under `flowsRx`.
@safe struct DatagramCall {
    let e: Endpoint
    let fd: Int32
    /// The program's, or one of ours for calls without a name.
    let msg: UnsafeMutablePointer<msghdr>
    let flags: Int32
    var isPeek: Bool { flags & 0x2 != 0 }
    /// MSG_DONTWAIT, O_NONBLOCK
    var dontWait: Bool { unsafe flags & 0x40 != 0 || e.isNonBlocking }

    /// One look, without blocking. Bytes, -EAGAIN, or another -errno. True in `hasOpened`: `Flows.opened` is due. With `comesBack`
    /// another look follows soon: the kernel's queue, which was looked at just now, is left to that one.
    func now(_ hasOpened: inout Bool, comesBack: Bool) -> Int {
        guard let flows = unsafe Flows.known(e) else { return takeKernel(&hasOpened) }
        var r = -Int(EAGAIN)
        if unsafe flows.pointee.hasStock == 0 {
            r = takeKernel(&hasOpened)
        } else {
            let time = slc_tsc()
            if unsafe time &- flows.pointee.kernelLook > 20 &* process.tickRate {
                unsafe flows.pointee.kernelLook = time
                r = unsafe ofKernel(flows, &hasOpened)
                if r == -Int(EAGAIN) { r = unsafe ofRings(flows, &hasOpened) ?? r }
            } else {
                if let r = unsafe ofRings(flows, &hasOpened) { return r }
                if unsafe comesBack || flows.isSilent() { return -Int(EAGAIN) }
                r = unsafe ofKernel(flows, &hasOpened)
            }
        }
        guard r == -Int(EAGAIN) else { return r }
        if unsafe Flows.lookAround(flows) { return unsafe ofRings(flows, &hasOpened) ?? r }
        r = unsafe settle(flows, &hasOpened)
        if r == -Int(EAGAIN) { unsafe flows.noteSilence(e) }
        return r
    }

    /// The kernel's queue is empty: rings that were closed for what it had are opened again.
    private func settle(_ flows: UnsafeMutablePointer<Flows>, _ hasOpened: inout Bool) -> Int {
        let bits = unsafe Flows.readCounts(flows, of: flows.pointee.isKnown)
        if bits == 0 { return -Int(EAGAIN) }
        let backlog = unsafe flows.backlog(bits)
        let r = unsafe ofKernel(flows, &hasOpened)
        if r == -Int(EAGAIN) { unsafe Flows.settle(e, fd, flows, bits, backlog) }
        return r
    }

    /// What the kernel has, unless datagrams of the same sender (but of flow `waiting`) lie before it in a ring: all that it has sent before are
    /// published when the kernel shows this one.
    private func ofKernel(_ flows: UnsafeMutablePointer<Flows>, _ hasOpened: inout Bool, waiting: Int = -1) -> Int {
        var name = sockaddr_in6()
        var look = unsafe msghdr()
        unsafe withUnsafeMutablePointer(to: &name) { unsafe look.msg_name = UnsafeMutableRawPointer($0) }
        unsafe look.msg_namelen = 28
        let r = unsafe slc_recvmsg(fd, &look, 0x2 | 0x40)
        // An error is told once.
        if r < 0 { return r }
        var from = slc_address()
        if unsafe slc_address_of(&name, look.msg_namelen, &from) == 0,
            let i = unsafe flows.find(sl_address(from)), i != waiting, unsafe flows.hasNews(i),
            let r = unsafe ofRing(flows, i, kernelHas: true, &hasOpened)
        {
            return r
        }
        return takeKernel(&hasOpened)
    }

    /// The real receive, counted for the flow of its sender.
    private func takeKernel(_ hasOpened: inout Bool) -> Int {
        unsafe withSender(e, msg) { m in
            unsafe slc_recvmsg(fd, m, flags | 0x40)
        } then: { r, from, m in
            if !isPeek { unsafe noteKernel(e, fd, from, r, m, &hasOpened) }
        }
    }

    private func ofRings(_ flows: UnsafeMutablePointer<Flows>, _ hasOpened: inout Bool) -> Int? {
        var tries = Flows.most
        while tries > 0, let i = unsafe flows.news() {
            tries &-= 1
            unsafe flows.pointee.turn = i &+ 1
            if let r = unsafe ofRing(flows, i, kernelHas: false, &hasOpened) { return r }
        }
        return nil
    }

    /// The next datagram of a flow's ring; nil: none, or datagrams of the kernel come first.
    private func ofRing(_ flows: UnsafeMutablePointer<Flows>, _ i: Int, kernelHas: Bool, _ hasOpened: inout Bool) -> Int? {
        guard let f = unsafe flows.laned(i), let reader = unsafe f.reader, unsafe f.rx.pointee.flags & UInt32(SL_HALF_GONE) == 0
        else { return nil }
        var isDamaged = false
        guard let d = reader.datagram(isDamaged: &isDamaged) else {
            if isDamaged { unsafe FlowLane.damaged(f) }
            return nil
        }
        // Of what the sender sent by the kernel before this one, some may not have come yet, or was dropped.
        let missing = unsafe d.kernelCount &- f.rx.pointee.kernel_bytes
        let isCounted = unsafe flows.pointee.isCounted & flowBit(i) != 0
        if !isCounted || missing != 0 && missing < 1 << 62 {
            if kernelHas { return nil }
            if let r = unsafe awaitKernel(flows, i, isCounted ? missing : 0, &hasOpened) { return r }
        }
        if !isPeek {
            unsafe flows.pointee.isCounted |= flowBit(i)
            // Of several threads that send, one's datagram by the kernel may overtake another's by the ring.
            if !isCounted || missing < 1 << 62 { unsafe f.rx.pointee.kernel_bytes = d.kernelCount }
        }
        if unsafe e.local.pointee.told != 0 && !Ancillary.isKnown(f, since: d.optionsAt) {
            return unsafe Flows.giveAll(f, .option)
        }
        return unsafe deliver(d, f, reader)
    }

    /// What the kernel has comes first. Where it has not all that was sent, and has not dropped as many, it is asked again for
    /// a while: a busy machine delivers late. What was dropped elsewhere, by a filter, has no count.
    @inline(never) private func awaitKernel(
        _ flows: UnsafeMutablePointer<Flows>, _ waiting: Int, _ missing: UInt64, _ hasOpened: inout Bool
    ) -> Int? {
        let began = slc_tsc()
        while true {
            let r = unsafe ofKernel(flows, &hasOpened, waiting: waiting)
            if r != -Int(EAGAIN) { return r }
            if unsafe missing != 0 && flows.hasDropped(missing, fd) { return nil }
            let passed = slc_tsc() &- began
            // Who does not want to wait comes back for it.
            if unsafe passed > 50 &* process.tickRate && missing != 0 && dontWait {
                return unsafe flows.isLate(waiting, missing, us: Flows.lostUs) ? nil : r
            }
            if unsafe passed > (missing == 0 ? 50 : Flows.lateUs) &* process.tickRate { break }
            if unsafe passed < 50 &* process.tickRate {
                slc_pause()
            } else {
                var p = pollfd(fd: fd, events: Int16(POLLIN), revents: 0)
                var pause = timespec(tv_sec: 0, tv_nsec: 1_000_000)
                _ = unsafe slc_ppoll(&p, 1, &pause, nil)
            }
        }
        _ = unsafe flows.hasDropped(0, fd)
        return nil
    }

    private func deliver(_ d: Datagram, _ f: Endpoint, _ reader: RingReader) -> Int? {
        let parts = unsafe Int(truncatingIfNeeded: msg.pointee.msg_iovlen)
        guard let iov = unsafe UnsafePointer(msg.pointee.msg_iov) ?? noParts(parts) else { return -Int(EFAULT) }
        var target = unsafe UserBytes(iov, parts)
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
            guard unsafe f.isWatched ? Capture.consume(f, reader, d) : reader.consume(d.taken) else {
                // Of datagrams nobody takes any back.
                unsafe FlowLane.damaged(f)
                return nil
            }
            unsafe f.pointee.counters.rx_packets &+= 1
            unsafe f.pointee.counters.rx_ring_bytes &+= UInt64(truncatingIfNeeded: d.bytes)
        }
        if let name = unsafe msg.pointee.msg_name {
            var from = unsafe slc_address(f.pointee.remote)
            unsafe msg.pointee.msg_namelen = unsafe slc_name_of(&from, name, msg.pointee.msg_namelen)
        }
        let isCut = d.bytes > n
        unsafe msg.pointee.msg_flags = 0
        if unsafe e.local.pointee.told == 0 {
            unsafe msg.pointee.msg_controllen = 0
        } else {
            unsafe Ancillary.give(f, msg)
        }
        unsafe msg.pointee.msg_flags |= (isCut ? 0x20 : 0) | flags & 0x4000_0000
        return isCut && flags & 0x20 != 0 ? d.bytes : n
    }
}

/// The size of the next datagram in a ring, 0: none. Under `flowsRx`.
func nextInRings(_ e: Endpoint) -> Int? {
    guard let flows = unsafe Flows.known(e), let i = unsafe flows.news(), let reader = unsafe flows.laned(i)?.reader else {
        return nil
    }
    var isDamaged = false
    return reader.datagram(isDamaged: &isDamaged)?.bytes
}

/// Makes `call` with a name to tell the sender, and with room for ancillary data that flows need, ours where the program wants
/// none; `then` has them. It gets a copy: a call that blocks may be left by a jump, and the program's header stays the program's.
func withSender(
    _ e: Endpoint, _ msg: UnsafeMutablePointer<msghdr>, _ call: (UnsafeMutablePointer<msghdr>) -> Int,
    then: (Int, sl_address, UnsafeMutablePointer<msghdr>) -> Void
) -> Int {
    var name = sockaddr_in6()
    var copy = unsafe msg.pointee
    let needsRoom = unsafe e.local.pointee.told != 0 && (copy.msg_control == nil || copy.msg_controllen == 0)
    return unsafe withUnsafeMutablePointer(to: &name) { n in
        unsafe copy.msg_name = UnsafeMutableRawPointer(n)
        unsafe copy.msg_namelen = 28
        return unsafe withUnsafeMutablePointer(to: &copy) { m -> Int in
            if !needsRoom { return unsafe answer(msg, m, call, then) }
            return unsafe withUnsafeTemporaryAllocation(byteCount: Ancillary.size, alignment: 16) { room -> Int in
                unsafe m.pointee.msg_control = room.baseAddress
                unsafe m.pointee.msg_controllen = room.count
                return unsafe answer(msg, m, call, then)
            }
        }
    }
}

/// What the kernel answers goes into the program's header, as far as it was asked for.
private func answer(
    _ msg: UnsafeMutablePointer<msghdr>, _ m: UnsafeMutablePointer<msghdr>, _ call: (UnsafeMutablePointer<msghdr>) -> Int,
    _ then: (Int, sl_address, UnsafeMutablePointer<msghdr>) -> Void
) -> Int {
    let r = unsafe call(m)
    guard r >= 0 else { return r }
    var from = slc_address()
    if unsafe slc_address_of(m.pointee.msg_name, m.pointee.msg_namelen, &from) == 0 { unsafe then(r, sl_address(from), m) }
    // The name's whole length, and as much of it as there is room for.
    if let target = unsafe msg.pointee.msg_name, let name = unsafe m.pointee.msg_name {
        unsafe memcpy(target, name, Int(min(msg.pointee.msg_namelen, m.pointee.msg_namelen, 28)))
        unsafe msg.pointee.msg_namelen = unsafe m.pointee.msg_namelen
    }
    unsafe msg.pointee.msg_flags = unsafe m.pointee.msg_flags
    if unsafe msg.pointee.msg_control == m.pointee.msg_control {
        unsafe msg.pointee.msg_controllen = unsafe m.pointee.msg_controllen
    } else {
        if unsafe m.pointee.msg_controllen != 0 { unsafe msg.pointee.msg_flags |= Ancillary.isCut }
        unsafe msg.pointee.msg_controllen = 0
    }
    return r
}

/// A datagram came by the kernel. Under `flowsRx`.
func noteKernel(
    _ e: Endpoint, _ fd: Int32, _ from: sl_address, _ n: Int, _ msg: UnsafeMutablePointer<msghdr>, _ hasOpened: inout Bool
) {
    unsafe e.pointee.counters.rx_kernel_bytes &+= UInt64(truncatingIfNeeded: n)
    let flows = unsafe Flows.known(e)
    let i = unsafe flows?.find(from)
    if let flows = unsafe flows, unsafe i == nil && flows.pointee.used == UInt32(truncatingIfNeeded: Flows.most) {
        unsafe Flows.makeRoom(e, flows)
    }
    if let flows = unsafe flows, let i, let f = unsafe flows.laned(i) {
        unsafe f.rx.pointee.kernel_bytes &+= 1
        if unsafe e.local.pointee.told != 0 && flows.pointee.isCounted & flowBit(i) != 0 { unsafe Ancillary.keep(f, msg) }
        // A process that has ended may have a successor at its address.
        if unsafe !flows.hasNews(i) && (FlowLane.hasLeft(f) || Flows.isAloneAgain(e, f)) {
            unsafe Flows.retire(e, flows, i)
        } else {
            unsafe Flows.countEarly(e, fd, flows, i)
            unsafe Flows.wake(e, i)
            unsafe Flows.mindThreads(e, flows)
        }
    } else if let flows = unsafe flows, let i, let f = unsafe flows.pointee.entries[i].endpoint, unsafe Flows.isAloneAgain(e, f) {
        unsafe Flows.retire(e, flows, i)
    }
    if unsafe Flows.note(e, fd, from) { hasOpened = true }
    if let flows = unsafe Flows.known(e) { unsafe flows.countReceived(from) }
}
