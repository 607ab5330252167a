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

func datagramSend(_ e: Endpoint, _ fd: Int32, _ buffer: UnsafeRawPointer?, _ n: Int, _ flags: Int32, _ call: Int32) -> Int {
    var part = unsafe iovec(iov_base: UnsafeMutableRawPointer(mutating: buffer), iov_len: n)
    var source = unsafe UserBytes(&part, 1)
    return unsafe datagramSend(e, fd, &source, connectedTo(e), flags, isPlain: !source.isInvalid) {
        unsafe sluice_real_send(fd, buffer, n, flags, call)
    }
}

func datagramSend(
    _ e: Endpoint, _ fd: Int32, _ msg: UnsafePointer<msghdr>?, _ iov: UnsafePointer<iovec>?, _ n: Int, _ flags: Int32
) -> Int {
    var remote = unsafe connectedTo(e)
    var isPlain = n <= 1024
    if let m = unsafe msg {
        isPlain = unsafe isPlain && m.pointee.msg_controllen == 0
        if let name = unsafe m.pointee.msg_name, unsafe m.pointee.msg_namelen > 0 {
            var to = slc_address()
            let isKnown = unsafe slc_address_of(name, m.pointee.msg_namelen, &to) == 0 && to.family == e.pointee.family
            remote = isKnown ? sl_address(to) : nil
        }
    }
    guard let v = unsafe iov ?? noParts(n) else { return -Int(EFAULT) }
    var source = unsafe UserBytes(v, isPlain ? n : 0)
    return unsafe datagramSend(e, fd, &source, remote, flags, isPlain: isPlain && !source.isInvalid) {
        unsafe msg == nil ? sluice_real_writev(fd, iov, n) : sluice_real_sendmsg(fd, msg, flags)
    }
}

func datagramReceive(
    _ e: Endpoint, _ fd: Int32, _ buffer: UnsafeMutableRawPointer?, _ n: Int, _ flags: Int32, _ call: Int32
) -> Int {
    var part = unsafe iovec(iov_base: buffer, iov_len: n)
    var m = unsafe msghdr()
    return unsafe withUnsafeMutablePointer(to: &part) { p in
        unsafe m.msg_iov = unsafe p
        m.msg_iovlen = 1
        return unsafe datagramReceive(e, fd, &m, flags)
    }
}

/// `msg` without a name is one of ours.
func datagramReceive(_ e: Endpoint, _ first: Int32, _ msg: UnsafeMutablePointer<msghdr>, _ flags: Int32) -> Int {
    let isKernelOnly = flags & (0x1 | 0x2000) != 0  // MSG_OOB, MSG_ERRQUEUE
    guard !isKernelOnly, let flows = unsafe Flows.open(e) else { return unsafe receiveByKernel(e, first, msg, flags) }
    let interrupts = Interrupts()
    let call = unsafe DatagramCall(e: e, fd: first, flows: flows, msg: msg, flags: flags)
    var wait: DatagramWait? = nil
    let dontWait = unsafe flags & 0x40 != 0 || e.isNonBlocking
    let (nameRoom, controlRoom) = unsafe (msg.pointee.msg_namelen, msg.pointee.msg_controllen)
    while true {
        let r = call.now()
        if r != -Int(EAGAIN) || dontWait { return r }
        unsafe msg.pointee.msg_namelen = nameRoom
        unsafe msg.pointee.msg_controllen = controlRoom
        if wait == nil { wait = unsafe DatagramWait(e, flows, timeoutNs: e.pointee.rx_timeout_ns, interrupts) }
        switch unsafe wait.unsafelyUnwrapped(first) {
        case .ready, .readyByKernel, .restarted: break
        case .timedOut: return -Int(EAGAIN)
        case .interrupted: return -Int(EINTR)
        }
        guard unsafe DescriptorTable.address(DescriptorTable.entry(first)) == UInt(bitPattern: e) else { return -Int(EBADF) }
    }
}

/// Without a lane: the real call. Its sender is asked for, by a name of ours where the program wants none.
private func receiveByKernel(_ e: Endpoint, _ fd: Int32, _ msg: UnsafeMutablePointer<msghdr>, _ flags: Int32) -> Int {
    var name = sockaddr_in6()
    let own = unsafe msg.pointee.msg_name == nil
    let r = unsafe withUnsafeMutablePointer(to: &name) { n -> Int in
        if own {
            unsafe msg.pointee.msg_name = UnsafeMutableRawPointer(n)
            unsafe msg.pointee.msg_namelen = 28
        }
        let r = unsafe plain(e, .receiving, false) { unsafe sluice_real_recvmsg(fd, msg, flags) }
        var from = slc_address()
        if unsafe r >= 0 && flags & 0x2 == 0 && slc_address_of(msg.pointee.msg_name, msg.pointee.msg_namelen, &from) == 0 {
            unsafe noteKernel(e, fd, sl_address(from), r)
        }
        return r
    }
    if own {
        unsafe msg.pointee.msg_name = nil
        unsafe msg.pointee.msg_namelen = 0
    }
    // A lane was opened before the call was counted.
    return r == restartCall ? unsafe datagramReceive(e, fd, msg, flags) : r
}

func datagramReceive(
    _ e: Endpoint, _ fd: Int32, _ msg: UnsafeMutablePointer<msghdr>?, _ iov: UnsafePointer<iovec>?, _ n: Int, _ flags: Int32
) -> Int {
    if let msg = unsafe msg { return unsafe datagramReceive(e, fd, msg, flags) }
    var m = unsafe msghdr()
    unsafe m.msg_iov = unsafe UnsafeMutablePointer(mutating: iov)
    m.msg_iovlen = n
    return unsafe datagramReceive(e, fd, &m, flags)
}
