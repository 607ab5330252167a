import CLinux
import CStackLayout
import Counters
import Settings
import SharedMemory
import Stacks

// The byte calls of UDP sockets, from the doors of streams (Doors.swift). Result or -errno.

/// To whom a socket that is connected sends.
private func connectedTo(_ e: Endpoint) -> sl_address? {
    unsafe e.pointee.state == UInt32(SL_ENDPOINT_CONNECTED) ? e.pointee.remote : nil
}

/// To whom a message goes; nil: nobody, or the kernel must judge.
@inline(__always) func destination(_ e: Endpoint, _ m: UnsafePointer<msghdr>) -> sl_address? {
    guard let name = unsafe m.pointee.msg_name, unsafe m.pointee.msg_namelen > 0 else { return unsafe connectedTo(e) }
    var to = slc_address()
    return unsafe slc_address_of(name, m.pointee.msg_namelen, &to) == 0 && to.family == e.pointee.family ? sl_address(to) : nil
}

/// Does the kernel make several datagrams of it (UDP_SEGMENT)?
private func isSegmented(_ m: UnsafePointer<msghdr>) -> Bool {
    let header = MemoryLayout<cmsghdr>.size
    guard let control = unsafe m.pointee.msg_control else { return false }
    let all = unsafe Int(truncatingIfNeeded: m.pointee.msg_controllen)
    var at = 0
    while at >= 0 && at &+ header <= all {
        let bytes = unsafe Int(truncatingIfNeeded: (control + at).loadUnaligned(as: UInt64.self))
        if unsafe (control + at + 8).loadUnaligned(as: (Int32, Int32).self) == (17, 103) { return true }
        guard bytes >= header, bytes <= all else { break }
        at = at &+ ((bytes &+ 7) & ~7)
    }
    return false
}

func datagramSend(_ e: Endpoint, _ fd: Int32, _ buffer: UnsafeRawPointer?, _ n: Int, _ flags: Int32, _ call: Int32) -> Int {
    var part = unsafe iovec(iov_base: UnsafeMutableRawPointer(mutating: buffer), iov_len: n)
    var source = unsafe UserBytes(&part, 1)
    // write(2) and send(2) of an address that is none fail in the kernel, and say so.
    let isPlain = !source.isInvalid && (n == 0 || UInt(bitPattern: buffer) >= 4096)
    return unsafe datagramSend(e, fd, &source, connectedTo(e), flags, isPlain: isPlain) {
        unsafe sluice_real_send(fd, buffer, n, flags, call)
    }
}

func datagramSend(
    _ e: Endpoint, _ fd: Int32, _ msg: UnsafePointer<msghdr>?, _ iov: UnsafePointer<iovec>?, _ n: Int, _ flags: Int32
) -> Int {
    var remote = unsafe connectedTo(e)
    var isPlain = n >= 0 && n <= 1024
    if let m = unsafe msg {
        isPlain = unsafe isPlain && m.pointee.msg_controllen == 0
        remote = unsafe destination(e, m)
        if unsafe m.pointee.msg_controllen != 0 && isSegmented(m) { unsafe Flows.exclude(e, .option) }
    }
    let parts = unsafe isPlain ? iov ?? noParts(n) : nil
    guard let parts = unsafe parts else {
        var nothing = unsafe iovec()
        var source = unsafe UserBytes(&nothing, 0)
        return unsafe datagramSend(e, fd, &source, remote, flags, isPlain: false) {
            unsafe msg == nil ? sluice_real_writev(fd, iov, n) : sluice_real_sendmsg(fd, msg, flags)
        }
    }
    var source = unsafe UserBytes(parts, n)
    // writev(2) of nothing sends nothing.
    if unsafe msg == nil && source.total == 0 { return unsafe sluice_real_writev(fd, iov, n) }
    return unsafe datagramSend(e, fd, &source, remote, flags, isPlain: !source.isInvalid) {
        unsafe msg == nil ? sluice_real_writev(fd, iov, n) : sluice_real_sendmsg(fd, msg, flags)
    }
}

func datagramReceive(
    _ e: Endpoint, _ fd: Int32, _ buffer: UnsafeMutableRawPointer?, _ n: Int, _ flags: Int32, _ call: Int32
) -> Int {
    // read(2) of nothing takes nothing.
    if n == 0 && call == Int32(SLUICE_CALL_READ.rawValue) { return unsafe sluice_real_recv(fd, buffer, n, flags, call) }
    if n > 0 && UInt(bitPattern: buffer) < 4096 { return -Int(EFAULT) }
    // The kernel takes no more in one call (MAX_RW_COUNT).
    var part = unsafe iovec(iov_base: buffer, iov_len: n < 0 ? 0x7fff_f000 : min(n, 0x7fff_f000))
    var m = unsafe msghdr()
    return unsafe withUnsafeMutablePointer(to: &part) { p in
        unsafe m.msg_iov = unsafe p
        unsafe m.msg_iovlen = 1
        return unsafe datagramReceive(e, fd, &m, flags)
    }
}

func datagramReceive(
    _ e: Endpoint, _ fd: Int32, _ msg: UnsafeMutablePointer<msghdr>?, _ iov: UnsafePointer<iovec>?, _ n: Int, _ flags: Int32
) -> Int {
    guard n >= 0, n <= 1024 else {
        return unsafe msg == nil ? sluice_real_readv(fd, iov, n) : sluice_real_recvmsg(fd, msg, flags)
    }
    // readv(2) of nothing takes nothing.
    if let iov = unsafe iov, unsafe msg == nil && UserBytes(iov, n).total == 0 { return unsafe sluice_real_readv(fd, iov, n) }
    if let msg = unsafe msg { return unsafe datagramReceive(e, fd, msg, flags) }
    var m = unsafe msghdr()
    unsafe m.msg_iov = unsafe UnsafeMutablePointer(mutating: iov)
    unsafe m.msg_iovlen = n
    return unsafe datagramReceive(e, fd, &m, flags)
}

private func isInvalid(_ msg: UnsafePointer<msghdr>) -> Bool {
    guard let iov = unsafe msg.pointee.msg_iov else { return false }
    return unsafe UserBytes(iov, Int(truncatingIfNeeded: msg.pointee.msg_iovlen)).isInvalid
}

/// `msg` without a name is the program's too, or one of ours.
private func datagramReceive(_ e: Endpoint, _ fd: Int32, _ msg: UnsafeMutablePointer<msghdr>, _ flags: Int32) -> Int {
    // MSG_OOB, MSG_ERRQUEUE; lengths that the kernel refuses.
    if unsafe flags & (0x1 | 0x2000) != 0 || isInvalid(msg) { return unsafe sluice_real_recvmsg(fd, msg, flags) }
    guard unsafe Flows.hasOpen(e) else { return unsafe receiveByKernel(e, fd, msg, flags) }
    return unsafe DatagramWait(DatagramCall(e: e, fd: fd, msg: msg, flags: flags)).run()
}

/// Without a lane: the real call.
private func receiveByKernel(_ e: Endpoint, _ fd: Int32, _ msg: UnsafeMutablePointer<msghdr>, _ flags: Int32) -> Int {
    var hasOpened = false
    let r = unsafe withSender(e, msg) { m in
        unsafe plain(e, .receiving, false) { unsafe sluice_real_recvmsg(fd, m, flags) }
    } then: { r, from, m in
        guard flags & 0x2 == 0 else { return }
        unsafe e.local.pointee.flowsRx.acquire()
        unsafe noteKernel(e, fd, from, r, m, &hasOpened)
        unsafe e.local.pointee.flowsRx.release()
    }
    if hasOpened { unsafe Flows.opened(e) }
    // A lane was opened before the call was counted.
    return r == restartCall ? unsafe datagramReceive(e, fd, msg, flags) : r
}
