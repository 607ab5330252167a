import CLinux
import CStackLayout
import Counters
import SharedMemory
import Stacks

/// sendfile(2) with an accelerated target: the file is read straight into the ring.
@c(sluice_sendfile)
public func sendfile(_ fd: Int32, _ entry: UInt64, _ input: Int32, _ offset: UnsafeMutablePointer<off_t>?, _ n: Int) -> Int {
    let e = unsafe endpoint(entry)
    if unsafe e.isDatagram { unsafe Flows.exclude(e, .foreignCall) }
    if unsafe slc_acquire_u32(&e.pointee.lane) != UInt32(SL_LANE_LOOPBACK) { unsafe Meet.consider(e, fd) }
    let isOnLane = unsafe slc_acquire_u32(&e.pointee.lane) == UInt32(SL_LANE_LOOPBACK)
    guard isOnLane, unsafe !Lane.sendsByKernel(e), n > 0,
        unsafe offset == nil || offset.unsafelyUnwrapped.pointee >= 0
    else {
        return unsafe plainSendFile(e, fd, input, offset, n, isOnLane)
    }
    // Reading at the file's own position would take bytes out of a pipe; at a given one only a file can be read.
    if unsafe offset == nil && slc_is_regular(input) != 1 { return unsafe sendByKernel(e, fd, input, offset, n) }
    return unsafe sendFile(e, fd, input, offset, n)
}

/// Piece by piece, waiting for room. The number may be another file's behind a wait: then it is the connection's that counts.
private func sendFile(_ e: Endpoint, _ first: Int32, _ input: Int32, _ offset: UnsafeMutablePointer<off_t>?, _ n: Int) -> Int {
    let interrupts = Interrupts()
    var fd = first
    var wait: Wait? = nil
    defer {
        if let wait {
            wait.timed.end(.send)
            unsafe Lane.letGo(e)
        }
    }
    var done = 0
    while done < n {
        let r = unsafe Lane.sendFileNow(e, fd, input, offset, min(n - done, 0x7fff_f000 - done))
        if r == useKernel { return unsafe done > 0 ? done : plainSendFile(e, fd, input, offset, n, true) }
        if r == 0 { return done }
        if r == noFile { return unsafe done > 0 ? done : sendByKernel(e, fd, input, offset, n) }
        if r > 0 {
            done += r
            continue
        }
        if unsafe r == -Int(EAGAIN) && e.isNonBlocking { unsafe EpollSet.armSpace(of: e) }
        if unsafe r != -Int(EAGAIN) || e.isNonBlocking { return failed(done, r) }
        if wait == nil {
            guard unsafe Lane.hold(e) else { continue }
            wait = unsafe Wait(.space, timeoutNs: e.pointee.tx_timeout_ns, interrupts: interrupts)
        }
        switch unsafe wait.unsafelyUnwrapped(e, fd) {
        case .ready, .readyByKernel, .restarted: break
        case .timedOut: return done > 0 ? done : -Int(EAGAIN)
        case .interrupted: return done > 0 ? done : -Int(EINTR)
        }
        guard let now = unsafe Lane.current(e, fd) else { return done > 0 ? done : -Int(EBADF) }
        fd = now
    }
    return done
}

/// Not an errno: what is to be sent cannot be read as a file is.
private let noFile = -100_003

/// What is no file: the kernel judges, and moves the bytes if it does.
private func sendByKernel(_ e: Endpoint, _ fd: Int32, _ input: Int32, _ offset: UnsafeMutablePointer<off_t>?, _ n: Int) -> Int {
    let r = unsafe leaveFirst(e, fd, .foreignCall, 0)
    return unsafe r < 0 ? r : plainSendFile(e, fd, input, offset, n, true)
}

private func failed(_ done: Int, _ r: Int) -> Int {
    if done > 0 { return done }
    guard r == brokenPipe else { return r }
    _ = slc_raise(SIGPIPE)
    return -Int(EPIPE)
}

private func plainSendFile(
    _ e: Endpoint, _ fd: Int32, _ input: Int32, _ offset: UnsafeMutablePointer<off_t>?, _ n: Int, _ isOnLane: Bool
) -> Int {
    let r = unsafe plain(e, .sending, isOnLane) { unsafe sluice_real_sendfile(fd, input, offset, n) }
    if r == restartCall {
        let entry = DescriptorTable.entry(fd)
        if DescriptorTable.kind(entry) == 1 { return unsafe sendfile(fd, entry, input, offset, n) }
        return unsafe sluice_real_sendfile(fd, input, offset, n)
    }
    if r > 0 {
        unsafe e.pointee.messages_out = unsafe e.pointee.messages_out &+ 1
        unsafe e.pointee.bytes_out = unsafe e.pointee.bytes_out &+ UInt64(r)
    }
    return r
}

extension Lane {
    /// One piece, without blocking. In a kernel phase it is the real call.
    static func sendFileNow(_ e: Endpoint, _ fd: Int32, _ input: Int32, _ offset: UnsafeMutablePointer<off_t>?, _ n: Int) -> Int {
        let lock = unsafe RobustLock(&e.tx.pointee.lock)
        if lock.acquire() { unsafe mendSend(e, fd) }
        defer { lock.release() }
        guard let writer = unsafe e.writer else { return useKernel }
        if unsafe e.pointee.flags & UInt32(SL_EP_RESET) != 0 {
            let error = unsafe takeError(e)
            return error != 0 ? -Int(error) : brokenPipe
        }
        if unsafe e.tx.pointee.phase & 1 == 1 && slc_relaxed_u32(&writer.direction.pointee.rx_control) != UInt32(SL_RX_OPEN) {
            unsafe settle(e, fd)
        }
        if unsafe e.tx.pointee.flags & UInt32(SL_HALF_TAKE_BACK) != 0 && !flush(e, fd) { return -Int(EAGAIN) }
        if unsafe e.tx.pointee.phase & 1 == 0 && !enterRing(e, fd) { return unsafe kernelSendFile(e, fd, input, offset, n) }
        guard var room = writer.room(UInt64(n)) else { return unsafe lostPlace(e, fd, writer) }
        if unsafe room < UInt64(n) || peerMayBeGone(e, writer) {
            unsafe e.tx.pointee.kernel_look = slc_tsc()
            if let r = unsafe peerIsGone(e, fd) { return r }
            if unsafe e.tx.pointee.phase & 1 == 0 { return unsafe kernelSendFile(e, fd, input, offset, n) }
            guard let now = writer.room(UInt64(n)) else { return unsafe lostPlace(e, fd, writer) }
            room = now
            if unsafe room < UInt64(n) && Patience.noteFull(e, fd, writer.direction, wants: true) {
                return unsafe kernelSendFile(e, fd, input, offset, n)
            }
        }
        if room == 0 { return -Int(EAGAIN) }
        writer.rewindIfEmpty()
        let position = unsafe Int((e.tx.pointee.offset &- e.tx.pointee.base) & (writer.bytes &- 1))
        let piece = min(n, Int(room), Int(writer.bytes) &- position, 256 << 10)
        let r: Int
        if let o = unsafe offset {
            r = unsafe slc_pread(input, writer.memory + position, piece, o.pointee)
            if r > 0 { unsafe o.pointee &+= off_t(r) }
            if r == -Int(ESPIPE) || r == -Int(EISDIR) || r == -Int(EINVAL) { return noFile }
        } else {
            r = unsafe slc_read(input, writer.memory + position, piece)
        }
        if r > 0 { unsafe published(e, fd, writer, e.tx.pointee.offset &+ UInt64(r), r) }
        return r
    }

    private static func kernelSendFile(
        _ e: Endpoint, _ fd: Int32, _ input: Int32, _ offset: UnsafeMutablePointer<off_t>?, _ n: Int
    ) -> Int {
        // The kernel's sendfile has no MSG_DONTWAIT: a blocking socket would wait under the lock.
        if unsafe !e.isNonBlocking {
            var p = pollfd(fd: fd, events: Int16(POLLOUT), revents: 0)
            var zero = timespec()
            if unsafe slc_ppoll(&p, 1, &zero, nil) <= 0 { return -Int(EAGAIN) }
        }
        let r = unsafe slc_syscall4(40, Int(fd), Int(input), Int(bitPattern: offset), e.isNonBlocking ? n : min(n, 16384))
        if r > 0 { unsafe e.tx.pointee.kernel_bytes = unsafe e.tx.pointee.kernel_bytes &+ UInt64(r) }
        return r
    }
}
