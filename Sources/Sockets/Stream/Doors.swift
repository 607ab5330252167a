import CLinux
import CStackLayout
import Counters
import Settings
import SharedMemory
import Stacks

// The doors by which CInterpose brings the byte calls of tracked sockets. Result or -errno.

@inline(__always) func endpoint(_ entry: UInt64) -> Endpoint {
    unsafe Endpoint(bitPattern: DescriptorTable.address(entry)).unsafelyUnwrapped
}

/// The endpoint of a word that was just read from the table; nil: it is none, or its place is another socket's by now, since a
/// forked sharer has closed its number past libc.
@inline(__always) func tracked(_ entry: UInt64) -> Endpoint? {
    guard DescriptorTable.kind(entry) == 1 else { return nil }
    let e = unsafe endpoint(entry)
    return unsafe slc_relaxed_u32(&e.pointee.generation) & 0xffff == DescriptorTable.generation(entry) ? e : nil
}

/// Calls in which libc's own function blocks in the kernel are counted, so that no lane opens under them.
/// `wasOnLane`: the call has been sent here by its lane; else a lane that opened before the call was counted gets it
/// (`restartCall`).
@inline(__always) func plain(_ e: Endpoint, _ kind: Held.Kind, _ wasOnLane: Bool, _ body: () -> Int) -> Int {
    slc_enter()
    unsafe Held.note(kind, e)
    let generation = unsafe e.pointee.generation
    let half = unsafe kind == .receiving ? e.rx : e.tx
    _ = unsafe slc_add_u32(&half.pointee.plain_calls, 1)
    let isLate = unsafe !wasOnLane && (onLane(e) || kind == .receiving && e.isDatagram && Flows.hasOpen(e))
    if isLate {
        Held.drop(kind, UInt(bitPattern: e))
        _ = unsafe slc_sub_u32(&half.pointee.plain_calls, 1)
    }
    slc_leave()
    if isLate { return restartCall }
    let r = body()
    slc_enter()
    Held.drop(kind, UInt(bitPattern: e))
    // The socket may have been closed meanwhile, and its slot be another's.
    if unsafe e.pointee.generation == generation { _ = unsafe slc_sub_u32(&half.pointee.plain_calls, 1) }
    slc_leave()
    return r
}

@inline(__always) private func noteReceived(_ e: Endpoint, _ r: Int) {
    guard r > 0 else { return }
    unsafe e.pointee.messages_in = unsafe e.pointee.messages_in &+ 1
    unsafe e.pointee.bytes_in = unsafe e.pointee.bytes_in &+ UInt64(r)
    unsafe e.pointee.counters.rx_kernel_bytes &+= UInt64(r)
}

@inline(__always) private func noteSent(_ e: Endpoint, _ r: Int) {
    guard r > 0 else { return }
    unsafe e.pointee.messages_out = unsafe e.pointee.messages_out &+ 1
    unsafe e.pointee.bytes_out = unsafe e.pointee.bytes_out &+ UInt64(r)
    unsafe e.pointee.counters.tx_kernel_bytes &+= UInt64(r)
}

@inline(__always) private func onLane(_ e: Endpoint) -> Bool {
    unsafe slc_acquire_u32(&e.pointee.lane) == UInt32(SL_LANE_LOOPBACK)
}

@c(sluice_recv) public func recv(
    _ fd: Int32, _ entry: UInt64, _ buffer: UnsafeMutableRawPointer?, _ n: Int, _ flags: Int32, _ call: Int32
) -> Int {
    let e = unsafe endpoint(entry)
    if unsafe !onLane(e) {
        if unsafe e.isDatagram { return unsafe datagramReceive(e, fd, buffer, n, flags, call) }
        unsafe Meet.consider(e, fd)
    }
    let isOnLane = unsafe onLane(e)
    if unsafe isOnLane && !ReceiveFlags(raw: flags).kernelOnly && !Lane.receivesByKernel(e) && n >= 0 {
        if n > 0 && UInt(bitPattern: buffer) < 4096 && flags & 0x20 == 0 { return -Int(EFAULT) }
        if n == 0 && call == Int32(SLUICE_CALL_READ.rawValue) { return 0 }
        var v = unsafe iovec(iov_base: buffer, iov_len: n)
        var target = unsafe UserBytes(&v, 1)
        let r = unsafe streamReceive(e, fd, &target, ReceiveFlags(raw: flags))
        if r == restartCall { return unsafe again(fd, buffer, n, flags, call) }
        if r != useKernel { return r }
    }
    let r = unsafe plain(e, .receiving, isOnLane) { unsafe sluice_real_recv(fd, buffer, n, flags, call) }
    if r == restartCall { return unsafe again(fd, buffer, n, flags, call) }
    if flags & 0x2 == 0 { unsafe noteReceived(e, r) }
    return r
}

/// The call begins anew, on what the number is now.
@inline(never) private func again(_ fd: Int32, _ buffer: UnsafeMutableRawPointer?, _ n: Int, _ flags: Int32, _ call: Int32) -> Int
{
    let entry = DescriptorTable.entry(fd)
    if DescriptorTable.kind(entry) == 1 { return unsafe recv(fd, entry, buffer, n, flags, call) }
    return unsafe sluice_real_recv(fd, buffer, n, flags, call)
}

@c(sluice_send) public func send(
    _ fd: Int32, _ entry: UInt64, _ buffer: UnsafeRawPointer?, _ n: Int, _ flags: Int32, _ call: Int32
) -> Int {
    let e = unsafe endpoint(entry)
    if unsafe !onLane(e) {
        if unsafe e.isDatagram { return unsafe datagramSend(e, fd, buffer, n, flags, call) }
        unsafe Meet.consider(e, fd)
    }
    let isOnLane = unsafe onLane(e)
    if unsafe isOnLane && n >= 0 && !Lane.sendsByKernel(e) {
        if let reason = unservedSend(flags) {
            let r = unsafe leaveFirst(e, fd, reason, flags)
            if r < 0 { return r }
        } else {
            if n > 0 && UInt(bitPattern: buffer) < 4096 { return -Int(EFAULT) }
            var v = unsafe iovec(iov_base: UnsafeMutableRawPointer(mutating: buffer), iov_len: n)
            var source = unsafe UserBytes(&v, 1)
            let r = unsafe streamSend(e, fd, &source, flags)
            if r != useKernel { return r }
        }
    }
    let r = unsafe plain(e, .sending, isOnLane) { unsafe sluice_real_send(fd, buffer, n, flags, call) }
    if r == restartCall { return unsafe sendAgain(fd, buffer, n, flags, call) }
    unsafe noteSent(e, r)
    return r
}

@inline(never) private func sendAgain(_ fd: Int32, _ buffer: UnsafeRawPointer?, _ n: Int, _ flags: Int32, _ call: Int32) -> Int {
    let entry = DescriptorTable.entry(fd)
    if DescriptorTable.kind(entry) == 1 { return unsafe send(fd, entry, buffer, n, flags, call) }
    return unsafe sluice_real_send(fd, buffer, n, flags, call)
}

/// Goes back to the kernel before a call that the lane does not serve: what was taken back goes first. 0, or -errno.
func leaveFirst(_ e: Endpoint, _ first: Int32, _ reason: Reason, _ flags: Int32) -> Int {
    unsafe Lane.handBack(e, first, reason, foreign: false)
    var fd = first
    let interrupts = Interrupts()
    let dontWait = unsafe flags & 0x40 != 0 || e.isNonBlocking
    let wait = unsafe Wait(.space, timeoutNs: e.pointee.tx_timeout_ns, interrupts: interrupts)
    while unsafe e.tx.pointee.flags & UInt32(SL_HALF_TAKE_BACK) != 0 {
        unsafe Lane.service(e, fd)
        guard unsafe e.tx.pointee.flags & UInt32(SL_HALF_TAKE_BACK) != 0 else { break }
        if dontWait { return -Int(EAGAIN) }
        guard unsafe Lane.hold(e) else { break }
        let outcome = unsafe wait(e, fd)
        let now = unsafe Lane.current(e, fd)
        unsafe Lane.letGo(e)
        if outcome == .timedOut { return -Int(EAGAIN) }
        if outcome == .interrupted { return -Int(EINTR) }
        // The number is another file's: the call that follows is not for that.
        guard now == first else { return -Int(EBADF) }
        fd = first
    }
    let pending = unsafe Lane.takeError(e)
    return -Int(pending)
}

/// Flags that the lane does not serve: the connection goes back to the kernel first.
func unservedSend(_ flags: Int32) -> Reason? {
    if flags & 0x1 != 0 { return .urgentData }  // MSG_OOB
    if flags & 0x2400_0000 != 0 { return .option }  // MSG_ZEROCOPY, MSG_FASTOPEN
    return nil
}

@c(sluice_recvmsg)
public func recvmsg(
    _ fd: Int32, _ entry: UInt64, _ msg: UnsafeMutablePointer<msghdr>?, _ iov: UnsafePointer<iovec>?, _ n: Int, _ flags: Int32,
    _ call: Int32
) -> Int {
    let e = unsafe endpoint(entry)
    if unsafe !onLane(e) {
        if unsafe e.isDatagram { return unsafe datagramReceive(e, fd, msg, iov, n, flags) }
        unsafe Meet.consider(e, fd)
    }
    let isOnLane = unsafe onLane(e)
    if unsafe isOnLane && !ReceiveFlags(raw: flags).kernelOnly && !Lane.receivesByKernel(e), n >= 0, n <= 1024,
        let v = unsafe iov ?? noParts(n)
    {
        var target = unsafe UserBytes(v, n)
        if unsafe target.total == 0 && msg == nil { return 0 }
        if target.isInvalid { return -Int(EINVAL) }
        let r = unsafe streamReceive(e, fd, &target, ReceiveFlags(raw: flags))
        if r == restartCall { return unsafe messageAgain(fd, msg, iov, n, flags, call) }
        if r != useKernel {
            if r >= 0, let m = unsafe msg {
                unsafe m.pointee.msg_namelen = 0
                unsafe m.pointee.msg_controllen = 0
                unsafe m.pointee.msg_flags = flags & 0x4000_0000  // MSG_CMSG_CLOEXEC comes back
            }
            return r
        }
    }
    let r = unsafe plain(e, .receiving, isOnLane) {
        unsafe msg == nil ? sluice_real_readv(fd, iov, n) : sluice_real_recvmsg(fd, msg, flags)
    }
    if r == restartCall { return unsafe messageAgain(fd, msg, iov, n, flags, call) }
    if flags & 0x2 == 0 { unsafe noteReceived(e, r) }
    return r
}

@inline(never) private func messageAgain(
    _ fd: Int32, _ msg: UnsafeMutablePointer<msghdr>?, _ iov: UnsafePointer<iovec>?, _ n: Int, _ flags: Int32, _ call: Int32
) -> Int {
    let entry = DescriptorTable.entry(fd)
    if DescriptorTable.kind(entry) == 1 { return unsafe recvmsg(fd, entry, msg, iov, n, flags, call) }
    return unsafe msg == nil ? sluice_real_readv(fd, iov, n) : sluice_real_recvmsg(fd, msg, flags)
}

func noParts(_ n: Int) -> UnsafePointer<iovec>? {
    unsafe n == 0 ? UnsafePointer(bitPattern: 4096) : nil
}

@c(sluice_sendmsg)
public func sendmsg(
    _ fd: Int32, _ entry: UInt64, _ msg: UnsafePointer<msghdr>?, _ iov: UnsafePointer<iovec>?, _ n: Int, _ flags: Int32,
    _ call: Int32
) -> Int {
    let e = unsafe endpoint(entry)
    if unsafe !onLane(e) {
        if unsafe e.isDatagram { return unsafe datagramSend(e, fd, msg, iov, n, flags) }
        unsafe Meet.consider(e, fd)
    }
    let isOnLane = unsafe onLane(e)
    if unsafe isOnLane && !Lane.sendsByKernel(e), n >= 0, n <= 1024, let v = unsafe iov ?? noParts(n) {
        let control = unsafe msg != nil && msg.unsafelyUnwrapped.pointee.msg_controllen > 0
        if let reason = unservedSend(flags) ?? (control ? .option : nil) {
            let r = unsafe leaveFirst(e, fd, reason, flags)
            if r < 0 { return r }
        } else {
            var source = unsafe UserBytes(v, n)
            if source.isInvalid { return -Int(EINVAL) }
            let r = unsafe streamSend(e, fd, &source, flags)
            if r != useKernel { return r }
        }
    }
    let r = unsafe plain(e, .sending, isOnLane) {
        unsafe msg == nil ? sluice_real_writev(fd, iov, n) : sluice_real_sendmsg(fd, msg, flags)
    }
    if r == restartCall {
        let entry = DescriptorTable.entry(fd)
        if DescriptorTable.kind(entry) == 1 { return unsafe sendmsg(fd, entry, msg, iov, n, flags, call) }
        return unsafe msg == nil ? sluice_real_writev(fd, iov, n) : sluice_real_sendmsg(fd, msg, flags)
    }
    unsafe noteSent(e, r)
    return r
}

@c(sluice_hand_back) public func handBack(_ fd: Int32, _ entry: UInt64, _ reason: UInt32) {
    guard let e = unsafe tracked(entry) else { return }
    unsafe Lane.handBack(e, fd, Reason(reason), foreign: true)
}

@c(sluice_hand_back_all) public func handBackAll(_ reason: UInt32) {
    unsafe process.sealed = true
    DescriptorTable.each { fd, entry in
        if let e = unsafe tracked(entry) { _ = unsafe Lane.beginHandBack(e, fd, Reason(reason), foreign: true) }
        return true
    }
    awaitPeers()
}

/// Lanes have been left at once: their peers take back what was not read, all of them in one bounded time.
func awaitPeers() {
    let end = TakeBack.patience()
    DescriptorTable.each { fd, entry in
        guard let e = unsafe tracked(entry) else { return true }
        if unsafe e.rx.pointee.flags & UInt32(SL_HALF_GONE) != 0 { unsafe TakeBack.await(e, until: end) }
        return true
    }
}
