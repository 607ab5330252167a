import CLinux
import CStackLayout
import Counters
import Settings
import SharedMemory
import Stacks

// How sockets come and go: the doors around socket, accept, close, dup, connect, bind, listen and shutdown.

@c(sluice_start) public func start() { unsafe process.start() }

/// The entry of a fresh socket, or nothing when it is not to be tracked.
private func track(_ fd: Int32, family: Int32, role: UInt16, state: UInt32, isDatagram: Bool = false) -> Endpoint? {
    unsafe process.start()
    let s = unsafe process.settings
    guard isDatagram ? s.udp : s.tcp, !s.dontAccelerate, unsafe process.isOwner else { return nil }
    guard let e = unsafe StackMemory.allocate() else {
        count(StackCounter.endpointsRefused)
        Log.introduce()
        Log.write(.resourceWarnings, "no endpoint for descriptor %d: it travels by the kernel", fd)
        return nil
    }
    unsafe e.pointee.family = UInt16(truncatingIfNeeded: family)
    unsafe e.pointee.type = isDatagram ? 2 : 1
    unsafe e.pointee.protocol = isDatagram ? 17 : 6
    // A UDP socket has no lane itself: its flows have.
    if isDatagram { unsafe e.pointee.flags = UInt32(SL_EP_GIVEN_UP) }
    unsafe e.pointee.role = role
    unsafe e.pointee.reason = Reason.young.number
    unsafe e.pointee.rx_lowat = 1
    unsafe e.local.pointee.descriptor = fd
    unsafe e.pointee.descriptor = UInt32(bitPattern: fd) &+ 1
    unsafe e.pointee.state = state
    if s.descriptorTableSize > 0 && fd >= s.descriptorTableSize {
        unsafe e.pointee.flags = UInt32(SL_EP_GIVEN_UP | SL_EP_OPTION)
        unsafe e.pointee.reason = Reason.setting.number
    }
    let word = unsafe DescriptorTable.word(kind: 1, address: UInt(bitPattern: e), generation: e.pointee.generation)
    unsafe process.lock.acquire()
    let fits = DescriptorTable.set(fd, word)
    unsafe process.lock.release()
    if !fits {
        count(StackCounter.endpointsRefused)
        unsafe StackMemory.free(e)
        return nil
    }
    count(StackCounter.endpointsMade)
    Log.introduce()
    return unsafe e
}

@c(sluice_made_socket) public func madeSocket(_ fd: Int32, _ domain: Int32, _ type: Int32, _ proto: Int32) {
    madeOther(fd)
    // SOCK_STREAM with protocol 0 or IPPROTO_TCP, SOCK_DGRAM with 0 or IPPROTO_UDP; of IPv4 or IPv6.
    let isDatagram = type & 0xf == 2
    guard domain == 2 || domain == 10, proto == 0 || proto == (isDatagram ? 17 : 6), isDatagram || type & 0xf == 1 else { return }
    guard let e = unsafe track(fd, family: domain, role: 0, state: UInt32(SL_ENDPOINT_LIVE), isDatagram: isDatagram) else {
        return
    }
    unsafe e.pointee.status_flags = UInt32(bitPattern: type) & 0o4000
}

@c(sluice_made_accepted) public func madeAccepted(_ listener: Int32, _ listenerEntry: UInt64, _ fd: Int32, _ flags: Int32) {
    madeOther(fd)
    guard DescriptorTable.kind(listenerEntry) == 1 else {
        acceptedFromOutside(fd, flags)
        return
    }
    let l = unsafe endpoint(listenerEntry)
    guard let e = unsafe track(fd, family: Int32(l.pointee.family), role: 1, state: UInt32(SL_ENDPOINT_CONNECTED)) else { return }
    unsafe e.pointee.status_flags = UInt32(bitPattern: flags) & 0o4000
    // What a listening socket was told is inherited (socket(7), tcp(7)).
    unsafe e.pointee.rx_timeout_ns = unsafe l.pointee.rx_timeout_ns
    unsafe e.pointee.tx_timeout_ns = unsafe l.pointee.tx_timeout_ns
    unsafe e.pointee.rx_lowat = unsafe l.pointee.rx_lowat
    if unsafe l.pointee.flags & UInt32(SL_EP_GIVEN_UP) != 0 && l.pointee.reason == Reason.option.number {
        unsafe e.pointee.flags |= UInt32(SL_EP_GIVEN_UP)
        unsafe e.pointee.reason = unsafe l.pointee.reason
    }
    if unsafe process.settings.laneAt == 0 { unsafe Meet.advance(e, fd) }
}

/// Accepted from a listener that came over exec or a unix socket: the connection itself was born here.
private func acceptedFromOutside(_ fd: Int32, _ flags: Int32) {
    func option(_ name: Int32) -> Int32 {
        var v: Int32 = 0
        var n: UInt32 = 4
        return unsafe slc_getsockopt(fd, 1, name, &v, &n) == 0 ? v : 0
    }
    let family = option(39)  // SO_DOMAIN
    guard family == 2 || family == 10, option(38) == 6 else { return }  // SO_PROTOCOL
    guard let e = unsafe track(fd, family: family, role: 1, state: UInt32(SL_ENDPOINT_CONNECTED)) else { return }
    unsafe e.pointee.status_flags = UInt32(bitPattern: flags) & 0o4000
    unsafe learnOptions(e, fd)
    if unsafe process.settings.laneAt == 0 { unsafe Meet.advance(e, fd) }
}

/// The number was made by a call that we do not serve: whatever stood there is gone without our knowing.
@c(sluice_made_other) public func madeOther(_ fd: Int32) {
    let entry = DescriptorTable.entry(fd)
    guard entry != 0, unsafe process.isOwner else { return }
    forget(fd, entry, closing: false)
}

/// Another number of the same description, -1 when there is none.
private func otherNumber(_ entry: UInt64, _ left: Int32) -> Int32 {
    guard left > 0 else { return -1 }
    var found: Int32 = -1
    DescriptorTable.each { fd, other in
        if other == entry { found = fd }
        return found < 0
    }
    return found
}

/// The number no longer refers to what the entry says. `closing`: the real close follows.
private func forget(_ fd: Int32, _ entry: UInt64, closing: Bool) {
    switch DescriptorTable.kind(entry) {
    case 1:
        let e = unsafe endpoint(entry)
        unsafe process.lock.acquire()
        DescriptorTable.set(fd, 0)
        guard unsafe entry >> 48 == UInt64(e.pointee.generation & 0xffff) else {
            // Closed behind our back in a sharer: its place is another socket's.
            unsafe process.lock.release()
            return
        }
        unsafe e.local.pointee.descriptors -= 1
        if unsafe e.local.pointee.descriptor == fd {
            unsafe e.local.pointee.descriptor = unsafe otherNumber(entry, e.local.pointee.descriptors)
            if unsafe e.isDatagram { unsafe Flows.moved(e) }
        }
        let lastHere = unsafe e.local.pointee.descriptors == 0
        if unsafe lastHere && closing && slc_relaxed_u32(&e.pointee.descriptors) > 1 && e.pointee.owner == process.nonce {
            // Before it is counted out: nobody may use its place anew.
            unsafe LentEndpoints.observe(e, fd)
        }
        var last = false
        if unsafe e.local.pointee.countedOut > 0 {
            // The process is ending: others who hold it may have ended it already.
            unsafe e.local.pointee.countedOut -= 1
        } else {
            last = unsafe slc_sub_u32(&e.pointee.descriptors, 1) == 1
        }
        // Whoever is the last one from now on shall not have its place used again under us.
        if lastHere && !last { _ = unsafe slc_add_u32(&e.local.pointee.users, 1) }
        if lastHere { unsafe Rendezvous.withdraw(e) }
        unsafe process.lock.release()
        if unsafe lastHere && e.isDatagram { unsafe Flows.end(e) }
        if lastHere { unsafe EpollSet.endpointLeaves(e) }
        if unsafe last && closing && Lane.keep(e, fd) { return }
        if last {
            if closing { unsafe Lane.endInOrder(e, fd) } else { unsafe Lane.detach(e) }
            unsafe StackMemory.free(e)
        } else if lastHere {
            if unsafe e.pointee.lane == UInt32(SL_LANE_MEETING) {
                unsafe slc_release_u32(&e.pointee.lane, UInt32(SL_LANE_KERNEL))
            }
            unsafe Lane.leaveToOthers(e)
        }
    case 2:
        unsafe process.lock.acquire()
        DescriptorTable.set(fd, 0)
        unsafe process.lock.release()
        EpollSet.closed(entry, fd)
    default:
        // One of our own descriptors was closed and its number used again, behind our back.
        unsafe process.lock.acquire()
        DescriptorTable.set(fd, 0)
        unsafe process.lock.release()
    }
}

@c(sluice_before_close) public func beforeClose(_ fd: Int32, _ entry: UInt64) -> Int {
    guard unsafe process.isOwner else { return 0 }
    if DescriptorTable.kind(entry) == 3 { return -Int(EBADF) }
    Held.sweep()
    forget(fd, entry, closing: true)
    return 0
}

@c(sluice_next_own) public func nextOwn(_ first: Int32, _ last: Int32) -> Int32 {
    guard unsafe process.isOwner else { return -1 }
    var found: Int32 = -1
    DescriptorTable.each(from: first, to: last) { fd, entry in
        if DescriptorTable.kind(entry) == 3 {
            found = fd
            return false
        }
        return true
    }
    return found
}

@c(sluice_duplicated) public func duplicated(_ from: Int32, _ fromEntry: UInt64, _ to: Int32) {
    guard from != to, unsafe process.isOwner else { return }
    madeOther(to)
    switch DescriptorTable.kind(fromEntry) {
    case 1:
        let e = unsafe endpoint(fromEntry)
        unsafe process.lock.acquire()
        if DescriptorTable.set(to, fromEntry) {
            unsafe e.local.pointee.descriptors += 1
            _ = unsafe slc_add_u32(&e.pointee.descriptors, 1)
        } else {
            unsafe e.pointee.flags |= UInt32(SL_EP_FOREIGN | SL_EP_GIVEN_UP)
        }
        unsafe process.lock.release()
    case 2:
        unsafe process.lock.acquire()
        let isServed = unsafe EpollSet.of(fromEntry).pointee.isServed
        DescriptorTable.set(to, isServed ? fromEntry & ~DescriptorTable.plainSet : fromEntry)
        unsafe process.lock.release()
        EpollSet.duplicated(fromEntry)
    default: break
    }
}

@c(sluice_before_replace) public func beforeReplace(_ to: Int32, _ entry: UInt64) -> Int {
    guard unsafe process.isOwner else { return 0 }
    if DescriptorTable.kind(entry) == 3 {
        guard OwnMove.away(to) else { return -Int(EBADF) }
        return 0
    }
    Held.sweep()
    forget(to, entry, closing: true)
    return 0
}

@c(sluice_connect) public func connect(_ fd: Int32, _ entry: UInt64, _ a: UnsafePointer<sockaddr>?, _ n: UInt32) -> Int {
    let e = unsafe endpoint(entry)
    // connect(AF_UNSPEC) ends a connection and the socket may be used for another one.
    if let a = unsafe a, n >= 2, unsafe a.pointee.sa_family == 0, unsafe e.pointee.lane != UInt32(SL_LANE_KERNEL) {
        unsafe Lane.handBack(e, fd, .ended, foreign: false)
    }
    let r = unsafe sluice_real_connect(fd, a, n)
    if unsafe e.isDatagram {
        if r == 0 { unsafe Flows.connected(e, fd) }
        return r
    }
    if r == 0 || r == -Int(EINPROGRESS) {
        unsafe e.pointee.role = 0
        unsafe e.pointee.state = r == 0 ? UInt32(SL_ENDPOINT_CONNECTED) : UInt32(SL_ENDPOINT_CONNECTING)
        if r == 0 {
            if unsafe process.settings.laneAt == 0 { unsafe Meet.advance(e, fd) }
        }
    }
    return r
}

@c(sluice_bind) public func bind(_ fd: Int32, _ entry: UInt64, _ a: UnsafePointer<sockaddr>?, _ n: UInt32) -> Int {
    let r = unsafe slc_bind(fd, a, n)
    if r == 0 { unsafe Identity.learnLocal(endpoint(entry), fd) }
    if unsafe r == 0 && endpoint(entry).isDatagram { unsafe Flows.handBack(endpoint(entry), .option) }
    return r
}

@c(sluice_listen) public func listen(_ fd: Int32, _ entry: UInt64, _ backlog: Int32) -> Int {
    let e = unsafe endpoint(entry)
    let r = slc_listen(fd, backlog)
    if r == 0 {
        unsafe e.pointee.state = UInt32(SL_ENDPOINT_LISTENING)
        if unsafe e.pointee.flags & UInt32(SL_EP_GIVEN_UP) == 0 { unsafe e.pointee.reason = Reason.listening.number }
        unsafe Identity.learnLocal(e, fd)
    }
    return r
}

@c(sluice_shutdown) public func shutdown(_ fd: Int32, _ entry: UInt64, _ how: Int32) -> Int {
    let e = unsafe endpoint(entry)
    if unsafe e.isDatagram { unsafe Flows.exclude(e, .ended) }
    guard unsafe slc_acquire_u32(&e.pointee.lane) == UInt32(SL_LANE_LOOPBACK), how >= 0, how <= 2 else {
        return slc_shutdown(fd, how)
    }
    unsafe Lane.shutdown(e, fd, how)
    let r = slc_shutdown(fd, how)
    unsafe Lane.wakeOwn(e)
    return r
}

extension Lane {
    /// Before the kernel sends the FIN: E, and what was taken back.
    static func shutdown(_ e: Endpoint, _ fd: Int32, _ how: Int32) {
        if how != 0 {
            let lock = unsafe RobustLock(&e.tx.pointee.lock)
            if lock.acquire() { unsafe mendSend(e, fd) }
            if let d = unsafe e.txDirection {
                unsafe leaveRing(e, fd)
                unsafe e.tx.pointee.flags |= UInt32(SL_HALF_SHUT)
                unsafe endSending(e, fd, d)
                unsafe notifyAll(e)
            }
            lock.release()
        }
        if how != 1 {
            let lock = unsafe RobustLock(&e.rx.pointee.lock)
            if lock.acquire() { unsafe mendReceive(e, fd) }
            unsafe e.rx.pointee.flags |= UInt32(SL_HALF_SHUT)
            unsafe e.rx.pointee.kernel_look = 0
            lock.release()
        }
    }
}
