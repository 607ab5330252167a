import CLinux
import CStackLayout
import SharedMemory
import Stacks

// recvmmsg and sendmmsg on a UDP socket without a lane: one call of the kernel's, as the program meant it. Else each message is a
// call of its own (`SLUICE_ONE_BY_ONE`).

@c(sluice_recvmmsg)
public func recvmmsg(
    _ fd: Int32, _ entry: UInt64, _ messages: UnsafeMutablePointer<mmsghdr>?, _ count: UInt32, _ flags: Int32,
    _ timeout: UnsafeMutablePointer<timespec>?
) -> Int {
    let e = unsafe endpoint(entry)
    // MSG_PEEK, MSG_ERRQUEUE, MSG_OOB
    guard unsafe e.isDatagram && !Flows.hasOpen(e) && flags & 0x2003 == 0, let messages = unsafe messages,
        unsafe isExcluded(e) || haveNames(messages, count)
    else { return SLUICE_ONE_BY_ONE }
    let r = unsafe plain(e, .receiving, false) { unsafe sluice_real_recvmmsg(fd, messages, count, flags, timeout) }
    if r == restartCall { return SLUICE_ONE_BY_ONE }
    var hasOpened = false
    var i = 0
    unsafe e.local.pointee.flowsRx.acquire()
    while i < r {
        let m = unsafe messages + i
        var from = slc_address()
        let n = unsafe Int(m.pointee.msg_len)
        unsafe withUnsafeMutablePointer(to: &m.pointee.msg_hdr) { h in
            if unsafe h.pointee.msg_name != nil && slc_address_of(h.pointee.msg_name, h.pointee.msg_namelen, &from) == 0 {
                unsafe noteKernel(e, fd, sl_address(from), n, h, &hasOpened)
            } else {
                unsafe e.pointee.counters.rx_kernel_bytes &+= UInt64(n)
            }
        }
        i &+= 1
    }
    unsafe e.local.pointee.flowsRx.release()
    if hasOpened { unsafe Flows.opened(e) }
    return r
}

@c(sluice_sendmmsg)
public func sendmmsg(
    _ fd: Int32, _ entry: UInt64, _ messages: UnsafeMutablePointer<mmsghdr>?, _ count: UInt32, _ flags: Int32
) -> Int {
    let e = unsafe endpoint(entry)
    // MSG_MORE
    guard unsafe e.isDatagram && !Flows.hasOpen(e) && flags & 0x8000 == 0, let messages = unsafe messages else {
        return SLUICE_ONE_BY_ONE
    }
    // Counted, so that no flow begins to count under it.
    _ = unsafe slc_add_u32(&e.tx.pointee.plain_calls, 1)
    let isLate = unsafe Flows.hasOpen(e)
    let began = slc_tsc()
    let r = unsafe isLate ? SLUICE_ONE_BY_ONE : sluice_real_sendmmsg(fd, messages, count, flags)
    var hasOpened = false
    var i = 0
    unsafe e.local.pointee.flowsTx.acquire()
    _ = unsafe slc_sub_u32(&e.tx.pointee.plain_calls, 1)
    while i < r {
        unsafe e.pointee.counters.tx_kernel_bytes &+= UInt64(messages[i].msg_len)
        let to = unsafe withUnsafePointer(to: &messages[i].msg_hdr) { unsafe destination(e, $0) }
        if let to {
            if unsafe Flows.note(e, fd, to) { hasOpened = true }
            if let flows = unsafe Flows.known(e), let i = unsafe flows.find(to) { unsafe flows.countSent(i, since: began) }
        }
        i &+= 1
    }
    unsafe e.local.pointee.flowsTx.release()
    if hasOpened { unsafe Flows.opened(e) }
    return r
}

/// No flow of it will ever have a lane.
private func isExcluded(_ e: Endpoint) -> Bool {
    unsafe e.pointee.flags & UInt32(SL_EP_OPTION | SL_EP_FOREIGN) != 0
}

/// Who sent them is known afterwards.
private func haveNames(_ messages: UnsafeMutablePointer<mmsghdr>, _ count: UInt32) -> Bool {
    var i = 0
    while i < min(Int(count), 1024) {
        if unsafe messages[i].msg_hdr.msg_name == nil || messages[i].msg_hdr.msg_namelen < 28 { return false }
        i &+= 1
    }
    return true
}
