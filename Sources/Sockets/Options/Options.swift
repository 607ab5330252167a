import CLinux
import CStackLayout
import Counters
import SharedMemory
import Stacks

/// SOL_SOCKET option: `sl_endpoint_counters`, then lane and reason (two u32). Read only.
private let statsOption: Int32 = 0x534C02
private let solSocket: Int32 = 1
private let solTCP: Int32 = 6

@c(sluice_getsockopt)
public func getsockopt(
    _ fd: Int32, _ entry: UInt64, _ level: Int32, _ name: Int32, _ value: UnsafeMutableRawPointer?,
    _ length: UnsafeMutablePointer<UInt32>?
) -> Int {
    let e = unsafe endpoint(entry)
    if level == solSocket && name == SO_NET_KERNEL_BYPASS_STATS { return unsafe bypassStats(e, value, length) }
    if level == solSocket && name == statsOption { return unsafe stats(e, value, length) }
    // SO_ERROR
    if level == solSocket && name == 4, let value = unsafe value, let length = unsafe length, unsafe length.pointee >= 4 {
        let pending = unsafe Lane.takeError(e)
        if pending != 0 {
            unsafe value.storeBytes(of: Int32(bitPattern: pending), as: Int32.self)
            unsafe length.pointee = 4
            return 0
        }
    }
    let r = unsafe slc_getsockopt(fd, level, name, value, length)
    // Whoever has read a reset here is not told of it again: the next send asks the kernel.
    if r == 0 && level == solSocket && name == 4, let value = unsafe value, unsafe value.loadUnaligned(as: Int32.self) != 0 {
        _ = unsafe slc_or_u32(sl_flags(e.rx), UInt32(SL_HALF_EOF_SEEN))
    }
    if unsafe r == 0 && level == solSocket && name == 18 && e.pointee.rx_lowat > 1, let value = unsafe value,
        let length = unsafe length, unsafe length.pointee >= 4
    {
        unsafe value.storeBytes(of: e.pointee.rx_lowat, as: UInt32.self)
    }
    if r == 0 && level == solTCP && name == 11, let value = unsafe value, let length = unsafe length {
        unsafe addRingBytes(e, value, Int(length.pointee))
    }
    return r
}

/// sluice.h tells what the fields are. What the caller has beyond this version's size stays as it is.
private func bypassStats(_ e: Endpoint, _ value: UnsafeMutableRawPointer?, _ length: UnsafeMutablePointer<UInt32>?) -> Int {
    guard let value = unsafe value, let length = unsafe length else { return -Int(EFAULT) }
    let size = MemoryLayout<so_nkp_stats_t>.size
    // The kernel takes a length beyond an int's as a negative one.
    guard unsafe Int32(bitPattern: length.pointee) >= Int32(size) else { return -Int(EINVAL) }
    var c = unsafe e.pointee.counters
    if unsafe e.isDatagram { unsafe Flows.add(e, &c) }
    var known = so_nkp_stats_t(
        nkps_ipkts: c.rx_packets, nkps_ipkts_spin: c.rx_packets_spin, nkps_opks: c.tx_packets, nkps_opkts_spin: c.tx_packets_spin,
        nkps_send_spin_max: c.send_spin_max, nkps_reserved: 0)
    unsafe withUnsafeBytes(of: &known) { _ = unsafe memcpy(value, $0.baseAddress.unsafelyUnwrapped, size) }
    unsafe length.pointee = UInt32(size)
    return 0
}

private func stats(_ e: Endpoint, _ value: UnsafeMutableRawPointer?, _ length: UnsafeMutablePointer<UInt32>?) -> Int {
    guard let value = unsafe value, let length = unsafe length else { return -Int(EFAULT) }
    var all = unsafe (e.pointee.counters, e.pointee.lane, e.pointee.reason)
    if unsafe e.isDatagram { unsafe Flows.add(e, &all.0) }
    let n = unsafe min(Int(length.pointee), 136)
    unsafe withUnsafeBytes(of: &all) { _ = unsafe memcpy(value, $0.baseAddress.unsafelyUnwrapped, n) }
    unsafe length.pointee = UInt32(n)
    return 0
}

/// TCP_INFO: what has travelled by the ring is added, at the places of linux/tcp.h. A publication counts as a segment, and
/// bytes in the ring have arrived, read or not.
private func addRingBytes(_ e: Endpoint, _ value: UnsafeMutableRawPointer, _ n: Int) {
    func add(_ offset: Int, _ bytes: UInt64) {
        guard n >= offset + 8, bytes != 0 else { return }
        let old = unsafe value.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
        unsafe value.storeBytes(of: old &+ bytes, toByteOffset: offset, as: UInt64.self)
    }
    func addSegments(_ offset: Int, _ segments: UInt64) {
        guard n >= offset + 4, segments != 0 else { return }
        let old = unsafe value.loadUnaligned(fromByteOffset: offset, as: UInt32.self)
        unsafe value.storeBytes(of: old &+ UInt32(truncatingIfNeeded: segments), toByteOffset: offset, as: UInt32.self)
    }
    let unread = unsafe Lane.unreadIn(e)
    let unacknowledged = unsafe Lane.unacknowledged(e)
    let (sent, received) = unsafe (e.pointee.counters.tx_ring_bytes, e.pointee.counters.rx_ring_bytes &+ unread)
    add(120, sent > unacknowledged ? sent &- unacknowledged : 0)  // tcpi_bytes_acked
    add(128, received)  // tcpi_bytes_received
    add(200, sent)  // tcpi_bytes_sent
    let (out, inn) = unsafe (e.pointee.counters.tx_packets, e.pointee.counters.rx_packets &+ (unread != 0 ? 1 : 0))
    addSegments(136, out)  // tcpi_segs_out
    addSegments(140, inn)  // tcpi_segs_in
    addSegments(152, inn)  // tcpi_data_segs_in
    addSegments(156, out)  // tcpi_data_segs_out
    addSegments(192, out)  // tcpi_delivered
}

@c(sluice_setsockopt)
public func setsockopt(
    _ fd: Int32, _ entry: UInt64, _ level: Int32, _ name: Int32, _ value: UnsafeRawPointer?, _ length: UInt32
) -> Int {
    let e = unsafe endpoint(entry)
    if level == solSocket && (name == statsOption || name == SO_NET_KERNEL_BYPASS_STATS) { return -Int(ENOPROTOOPT) }
    // SO_PEEK_OFF counts from the first unread byte, which must be in the kernel then.
    let takesAll = level == solSocket && name == 42
    if unsafe e.isDatagram {
        let isOfPort = level == solSocket && (name == SO_REUSEADDR || name == SO_REUSEPORT)
        if Ancillary.isOfSender(level, name) { unsafe Ancillary.senderChanged(e) }
        let told = Ancillary.bit(level, name)
        if unsafe told != 0 && !Flows.hasOpen(e) { return unsafe setTold(e, fd, level, name, value, length) }
        if told != 0 || changesDatagrams(level, name) { unsafe Flows.exclude(e, isOfPort ? .sharedPort : .option) }
    } else if handsBack(level, name) {
        unsafe Lane.handBack(e, fd, .option, foreign: takesAll)
    }
    let r = unsafe slc_setsockopt(fd, level, name, value, length)
    if unsafe r == 0 && e.isDatagram && joinsGroup(level, name) { unsafe e.local.pointee.joinsGroups = true }
    // What another thread has sent meanwhile went as before.
    if unsafe e.isDatagram && Ancillary.isOfSender(level, name) { unsafe Ancillary.senderChanged(e) }
    if r == 0 && level == solSocket {
        unsafe remember(e, name, value, length)
        if name == 7 || name == 32 { unsafe Lane.sendBufferChanged(e, fd) }  // SO_SNDBUF, SO_SNDBUFFORCE
        if unsafe name == 18 && slc_acquire_u32(&e.pointee.lane) == UInt32(SL_LANE_LOOPBACK)
            && e.pointee.flags & UInt32(SL_EP_GIVEN_UP) == 0
        {
            unsafe Lane.setKernelLowWater(fd, 1, e)
        }
    }
    return r
}

/// A UDP socket without lanes wants to be told more with its datagrams, or less: rings can tell that, too.
private func setTold(
    _ e: Endpoint, _ fd: Int32, _ level: Int32, _ name: Int32, _ value: UnsafeRawPointer?, _ length: UInt32
) -> Int {
    let r = unsafe slc_setsockopt(fd, level, name, value, length)
    var isOn: Int32 = 0
    var n: UInt32 = 4
    let bit = Ancillary.bit(level, name)
    // Who opens a lane at this moment looks at the bits under this lock.
    unsafe e.local.pointee.flowsRx.acquire()
    if unsafe slc_getsockopt(fd, level, name, &isOn, &n) != 0 || isOn != 0 {
        unsafe e.local.pointee.told |= bit
    } else {
        unsafe e.local.pointee.told &= ~bit
    }
    unsafe e.local.pointee.flowsRx.release()
    // Rings that were open before have datagrams of which nothing more is known.
    if unsafe Flows.hasOpen(e) { unsafe Flows.exclude(e, .option) }
    return r
}

/// Options by which the kernel would treat bytes differently than the ring does.
private func handsBack(_ level: Int32, _ name: Int32) -> Bool {
    if level == solSocket {
        // ATTACH_FILTER, ATTACH_BPF, TIMESTAMP, TIMESTAMPNS, TIMESTAMPING (old and new), ZEROCOPY, MAX_PACING_RATE,
        // PEEK_OFF, OOBINLINE, TXTIME
        switch name {
        case 26, 50, 29, 35, 37, 63, 64, 65, 60, 47, 42, 10, 61: return true
        default: return false
        }
    }
    // TCP_REPAIR, TCP_ULP, TCP_ZEROCOPY_RECEIVE, TCP_MD5SIG, TCP_MD5SIG_EXT, TCP_INQ, TCP_AO_*
    if level == solTCP {
        switch name {
        case 19, 31, 35, 14, 32, 36, 38, 39: return true
        default: return false
        }
    }
    return false
}

/// Options of a UDP socket by which datagrams travel otherwise, are told of with more than their sender, or reach somebody else.
private func changesDatagrams(_ level: Int32, _ name: Int32) -> Bool {
    switch level {
    case solSocket:
        // REUSEADDR, REUSEPORT, BINDTODEVICE, BINDTOIFINDEX, DONTROUTE, MARK, NO_CHECK, RXQ_OVFL, PASSCRED, PASSSEC, RCVMARK,
        // RCVPRIORITY, and those of streams
        switch name {
        case 2, 15, 25, 62, 5, 36, 11, 40, 16, 34, 75, 82: return true
        default: return handsBack(level, name)
        }
    case 0:
        // But not: TOS, TTL (of what is sent), RECVERR, MTU_DISCOVER, MULTICAST_*, memberships of groups
        switch name {
        case 1, 2, 10, 11, 32, 33, 34, 35, 36, 37, 38, 39, 42, 43, 44, 45, 46, 47, 48, 49: return false
        default: return true
        }
    case 41:
        // But not: UNICAST_HOPS, MULTICAST_*, memberships, MTU_DISCOVER, RECVERR, V6ONLY, TCLASS, ADDR_PREFERENCES
        switch name {
        case 16, 17, 18, 19, 20, 21, 23, 25, 26, 67, 72, 42, 43, 44, 45, 46, 47, 48: return false
        default: return true
        }
    case 17: return true  // UDP_CORK, UDP_SEGMENT, UDP_GRO, UDP_ENCAP
    default: return false
    }
}

/// IP_ADD_MEMBERSHIP, IP_ADD_SOURCE_MEMBERSHIP, IPV6_JOIN_GROUP, MCAST_JOIN_GROUP, MCAST_JOIN_SOURCE_GROUP
private func joinsGroup(_ level: Int32, _ name: Int32) -> Bool {
    level == 0 && (name == 35 || name == 39 || name == 42 || name == 46)
        || level == 41 && (name == 20 || name == 42 || name == 46)
}

private func remember(_ e: Endpoint, _ name: Int32, _ value: UnsafeRawPointer?, _ length: UInt32) {
    guard let value = unsafe value else { return }
    switch name {
    case 20, 66:  // SO_RCVTIMEO
        if length >= 16 { unsafe e.pointee.rx_timeout_ns = unsafe nanoseconds(value) }
    case 21, 67:  // SO_SNDTIMEO
        if length >= 16 { unsafe e.pointee.tx_timeout_ns = unsafe nanoseconds(value) }
    case 13:  // SO_LINGER
        if length >= 8 {
            unsafe e.pointee.linger =
                unsafe value.loadUnaligned(as: Int32.self) != 0 && value.loadUnaligned(fromByteOffset: 4, as: Int32.self) == 0
                ? 1 : 0
        }
    case 18:  // SO_RCVLOWAT
        if length >= 4 { unsafe e.pointee.rx_lowat = unsafe UInt32(bitPattern: max(1, value.loadUnaligned(as: Int32.self))) }
    default: break
    }
}

/// What was set on a socket before we knew it.
func learnOptions(_ e: Endpoint, _ fd: Int32) {
    var options: (Int32, Int32, Int32, Int32) = (20, 21, 18, 13)  // RCVTIMEO, SNDTIMEO, RCVLOWAT, LINGER
    var i = 0
    while i < 4 {
        let name = unsafe withUnsafeBytes(of: &options) { unsafe $0.load(fromByteOffset: 4 * i, as: Int32.self) }
        i += 1
        var value: (UInt64, UInt64) = (0, 0)
        var n: UInt32 = 16
        if unsafe slc_getsockopt(fd, 1, name, &value, &n) == 0 {
            unsafe withUnsafeBytes(of: &value) { unsafe remember(e, name, $0.baseAddress, n) }
        }
    }
}

/// Of a struct timeval; 0 (no timeout) stays 0, what is shorter than a nanosecond does not exist.
private func nanoseconds(_ value: UnsafeRawPointer) -> UInt64 {
    let s = unsafe value.loadUnaligned(as: Int64.self)
    let us = unsafe value.loadUnaligned(fromByteOffset: 8, as: Int64.self)
    // A negative time is no time at all (sock_set_timeout): the call does not wait.
    if s < 0 { return 1 }
    guard us >= 0, s < 1 << 32 else { return 0 }
    return UInt64(s) &* 1_000_000_000 &+ UInt64(us) &* 1000
}

@c(sluice_ioctl) public func ioctl(_ fd: Int32, _ entry: UInt64, _ request: UInt, _ argument: UnsafeMutableRawPointer?) -> Int {
    let e = unsafe endpoint(entry)
    let r = unsafe slc_ioctl(fd, request, argument)
    guard r == 0, let argument = unsafe argument else { return r }
    switch request {
    case 0x5421:  // FIONBIO
        unsafe setNonBlocking(e, argument.loadUnaligned(as: Int32.self) != 0)
    case 0x541B:  // FIONREAD, SIOCINQ
        if unsafe e.isDatagram {
            unsafe tellNext(e, argument)
        } else {
            unsafe add(argument, Lane.unreadIn(e))
        }
    case 0x5411:  // SIOCOUTQ
        unsafe add(argument, Lane.unacknowledged(e))
    case 0x5452:  // FIOASYNC
        if unsafe argument.loadUnaligned(as: Int32.self) != 0 { unsafe Lane.handBack(e, fd, .option, foreign: false) }
    default: break
    }
    return r
}

/// The size of the next datagram, where it lies in a ring.
private func tellNext(_ e: Endpoint, _ argument: UnsafeMutableRawPointer) {
    unsafe e.local.pointee.flowsRx.acquire()
    if let n = unsafe nextInRings(e) { unsafe argument.storeBytes(of: Int32(truncatingIfNeeded: n), as: Int32.self) }
    unsafe e.local.pointee.flowsRx.release()
}

private func add(_ argument: UnsafeMutableRawPointer, _ n: UInt64) {
    let old = unsafe argument.loadUnaligned(as: Int32.self)
    unsafe argument.storeBytes(of: old &+ Int32(truncatingIfNeeded: min(n, 1 << 30)), as: Int32.self)
}

private func setNonBlocking(_ e: Endpoint, _ on: Bool) {
    if on {
        _ = unsafe slc_or_u32(&e.pointee.status_flags, 0o4000)
    } else {
        _ = unsafe slc_and_u32(&e.pointee.status_flags, ~0o4000)
    }
}

@c(sluice_fcntl) public func fcntl(_ fd: Int32, _ entry: UInt64, _ command: Int32, _ argument: Int) -> Int {
    let r = slc_fcntl(fd, command, argument)
    if r == 0 && command == 4 && DescriptorTable.kind(entry) == 1 {  // F_SETFL
        let e = unsafe endpoint(entry)
        unsafe setNonBlocking(e, argument & 0o4000 != 0)
        if argument & 0o20000 != 0 { unsafe Lane.handBack(e, fd, .option, foreign: false) }  // O_ASYNC
    }
    return r
}

extension Lane {
    /// The ring holds no more than the kernel would.
    static func sendBufferChanged(_ e: Endpoint, _ fd: Int32) {
        guard unsafe slc_acquire_u32(&e.pointee.lane) == UInt32(SL_LANE_LOOPBACK) else { return }
        let lock = unsafe RobustLock(&e.tx.pointee.lock)
        if lock.acquire() { unsafe mendSend(e, fd) }
        defer { lock.release() }
        guard unsafe e.writer != nil, unsafe e.tx.pointee.phase & 1 == 1 else { return }
        if let limit = unsafe limit(fd, e.pointee.ring_bytes) {
            unsafe e.pointee.tx_limit = limit
        } else {
            unsafe leaveRing(e, fd)
        }
    }

    /// Ring bytes that this side has not read.
    static func unreadIn(_ e: Endpoint) -> UInt64 {
        guard unsafe slc_acquire_u32(&e.pointee.lane) == UInt32(SL_LANE_LOOPBACK) else { return 0 }
        let lock = unsafe RobustLock(&e.rx.pointee.lock)
        lock.acquire()
        defer { lock.release() }
        guard let r = unsafe e.reader, unsafe e.rx.pointee.flags & UInt32(SL_HALF_GONE) == 0, !r.isClaimed else { return 0 }
        return r.available() ?? 0
    }

    /// Bytes that have come by the kernel, read or not.
    static func arrivedByKernel(_ e: Endpoint) -> UInt64 {
        var queued: Int32 = 0
        _ = unsafe slc_ioctl(e.local.pointee.descriptor, 0x541B, &queued)
        return unsafe e.rx.pointee.kernel_bytes &+ UInt64(max(0, queued))
    }

    /// What TCP would call sent and not acknowledged: most of the ring counts as the receiver's buffer.
    static func unacknowledged(_ e: Endpoint) -> UInt64 {
        guard unsafe slc_acquire_u32(&e.pointee.lane) == UInt32(SL_LANE_LOOPBACK) else { return 0 }
        let lock = unsafe RobustLock(&e.tx.pointee.lock)
        lock.acquire()
        defer { lock.release() }
        guard let w = unsafe e.writer, unsafe e.tx.pointee.phase & 1 == 1, let n = w.unread(), n > w.limit &- w.limit / 8 else {
            return 0
        }
        return n &- (w.limit &- w.limit / 8)
    }
}
