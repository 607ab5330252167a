import CLinux
import CStackLayout
import Counters
import Settings
import SharedMemory
import Stacks

/// poll(2) and ppoll(2) over any mixture of descriptors; select comes here too. `timeoutNs` < 0: for ever.
@c(sluice_poll)
public func poll(_ fds: UnsafeMutablePointer<pollfd>?, _ count: Int, _ timeoutNs: Int64, _ mask: UnsafePointer<sigset_t>?) -> Int
{
    guard let fds = unsafe fds else { return -Int(EFAULT) }
    var scratch: UnsafeMutableRawPointer? = nil
    // More than any limit of descriptors.
    guard count >= 0, count < 1 << 30 else { return -Int(EINVAL) }
    let bytes = (3 &* count &+ 1) &* MemoryLayout<pollfd>.stride
    defer {
        if let scratch = unsafe scratch {
            slc_enter()
            Held.drop(.memory, UInt(bitPattern: scratch))
            _ = unsafe slc_munmap(scratch, bytes)
            slc_leave()
        }
    }
    if count > 32 {
        slc_enter()
        unsafe scratch = unsafe Memory.anonymous(bytes)
        if let scratch = unsafe scratch, bytes <= UInt32.max {
            Held.note(.memory, UInt(bitPattern: scratch), UInt32(truncatingIfNeeded: bytes))
        }
        slc_leave()
        guard let scratch = unsafe scratch else { return -Int(ENOMEM) }
        return unsafe PollCall(fds, count, scratch.assumingMemoryBound(to: pollfd.self), timeoutNs, mask).run()
    }
    return unsafe withUnsafeTemporaryAllocation(of: pollfd.self, capacity: 97) { b in
        unsafe PollCall(fds, count, b.baseAddress.unsafelyUnwrapped, timeoutNs, mask).run()
    }
}

@safe struct PollCall {
    let fds: UnsafeMutablePointer<pollfd>
    let count: Int
    /// The array for the kernel: the program's, changed where a lane carries, the bell behind it, and the peers' channels.
    let real: UnsafeMutablePointer<pollfd>
    /// While it sleeps: per descriptor the endpoint (address) that it counts on, | 1 when only a plain call was counted.
    let held: UnsafeMutablePointer<UInt>
    let deadline: UInt64
    let waits: Bool
    let mask: UnsafePointer<sigset_t>?
    let interrupts = Interrupts()

    init(
        _ fds: UnsafeMutablePointer<pollfd>, _ count: Int, _ real: UnsafeMutablePointer<pollfd>, _ timeoutNs: Int64,
        _ mask: UnsafePointer<sigset_t>?
    ) {
        unsafe self.fds = unsafe fds
        self.count = count
        unsafe self.real = unsafe real
        unsafe held = unsafe UnsafeMutableRawPointer(real + 2 &* count + 1).assumingMemoryBound(to: UInt.self)
        unsafe self.mask = unsafe mask
        waits = timeoutNs != 0
        deadline = timeoutNs < 0 ? 0 : slc_now_ns() &+ UInt64(timeoutNs)
    }

    @inline(__always) func laned(_ i: Int) -> Endpoint? {
        let entry = unsafe DescriptorTable.entry(fds[i].fd)
        guard let e = unsafe tracked(entry) else { return nil }
        return unsafe slc_acquire_u32(&e.pointee.lane) == UInt32(SL_LANE_LOOPBACK) ? e : nil
    }

    /// A UDP socket that has had lanes.
    @inline(__always) func datagrams(_ i: Int) -> Endpoint? {
        let entry = unsafe DescriptorTable.entry(fds[i].fd)
        guard let e = unsafe tracked(entry) else { return nil }
        return unsafe e.isDatagram && Flows.hasOpen(e) ? e : nil
    }

    func run() -> Int {
        var hasFull = prepare()
        var first: Endpoint? = nil
        var ready = unsafe look(kernel: true, &first)
        if ready != 0 || !waits { return ready }
        let timed = TimedWait()
        defer { timed.end(.poll) }
        if let e = unsafe first {
            ready = unsafe spin(e)
            if ready != 0 { return ready }
        }
        while true {
            ready = sleep(hasFull)
            if ready != 0 { return ready }
            if interrupts.any() { return -Int(EINTR) }
            if deadline != 0 && slc_now_ns() >= deadline { return 0 }
            if hasFull { hasFull = prepare() }
        }
    }

    /// True: a set among the descriptors, or inside one, waits for space in a ring whose reader may have stopped.
    private func prepare() -> Bool {
        var hasFull = false
        var i = 0
        while i < count {
            let entry = unsafe DescriptorTable.entry(fds[i].fd)
            if let e = unsafe tracked(entry) {
                if unsafe slc_acquire_u32(&e.pointee.lane) != UInt32(SL_LANE_LOOPBACK) {
                    if unsafe e.pointee.lane == UInt32(SL_LANE_MEETING) { unsafe Meet.consider(e, fds[i].fd) }
                }
            } else if DescriptorTable.kind(entry) == 2 {
                EpollSet.watchedFromOutside(entry)
                if unsafe slc_relaxed_u32(&EpollSet.of(entry).pointee.awaitsSpace) != 0 { hasFull = true }
                if unsafe EpollSet.of(entry).pointee.hasInner && EpollSet.refreshWatched() { hasFull = true }
            }
            i &+= 1
        }
        return hasFull
    }

    /// One look at everything. Returns the number of ready descriptors, or -errno.
    func look(kernel: Bool, _ first: inout Endpoint?) -> Int {
        var needKernel = kernel
        var ready = 0
        var i = 0
        while i < count {
            unsafe real[i] = unsafe fds[i]
            unsafe real[i].revents = 0
            unsafe fds[i].revents = 0
            if let e = unsafe laned(i) {
                unsafe real[i].events |= Int16(Readiness.RDHUP)
                if unsafe first == nil { unsafe first = unsafe e }
                unsafe Lane.service(e, fds[i].fd)
                let events = unsafe ringEvents(e, i)
                unsafe fds[i].revents = Int16(bitPattern: UInt16(truncatingIfNeeded: events))
                if events != 0 { ready &+= 1 }
                if unsafe Readiness.kernelCarries(e) { needKernel = true }
            } else if let e = unsafe datagrams(i) {
                if unsafe first == nil { unsafe first = unsafe e }
                let events = unsafe interest(fds[i].events) & Readiness.datagrams(e)
                unsafe fds[i].revents = Int16(bitPattern: UInt16(truncatingIfNeeded: events))
                if events != 0 { ready &+= 1 }
            }
            i &+= 1
        }
        if ready > 0 && !needKernel { return ready }
        if !needKernel { return 0 }
        var zero = timespec()
        let r = unsafe sluice_real_ppoll(real, count, &zero, mask)
        return r < 0 ? (r == -Int(EINTR) && ready > 0 ? ready : r) : merge()
    }

    /// What the ring has of that which is asked for. With no room, it is noted that somebody waits for some.
    @inline(__always) private func ringEvents(_ e: Endpoint, _ i: Int) -> UInt32 {
        let events = unsafe Readiness.ring(e)
        let asked = unsafe interest(fds[i].events)
        let waits = asked & (Readiness.OUT | Readiness.WRNORM) != 0 && events & Readiness.OUT == 0
        if unsafe waits && e.tx.pointee.phase & 1 == 1 { _ = unsafe Patience.awaitRoom(e, fds[i].fd) }
        return events & asked
    }

    @inline(__always) private func interest(_ events: Int16) -> UInt32 {
        UInt32(UInt16(bitPattern: events)) | Readiness.ERR | Readiness.HUP
    }

    /// Puts the kernel's answers beside the rings' and counts.
    func merge() -> Int {
        var ready = 0
        var i = 0
        while i < count {
            let kernel = unsafe UInt32(UInt16(bitPattern: real[i].revents))
            if let e = unsafe laned(i) {
                let events = unsafe Readiness.merge(e, ring: Readiness.ring(e), kernel: kernel) & interest(fds[i].events)
                unsafe fds[i].revents = Int16(bitPattern: UInt16(truncatingIfNeeded: events))
            } else if let e = unsafe datagrams(i) {
                let events = unsafe kernel | interest(fds[i].events) & Readiness.datagrams(e)
                unsafe fds[i].revents = Int16(bitPattern: UInt16(truncatingIfNeeded: events))
            } else {
                unsafe fds[i].revents = unsafe real[i].revents
            }
            if unsafe fds[i].revents != 0 { ready &+= 1 }
            i &+= 1
        }
        return ready
    }

    private func spin(_ e: Endpoint) -> Int {
        guard unsafe mask == nil, count <= 16 else { return 0 }
        let (rx, tx) = unsafe (e.rxDirection, e.txDirection)
        if let rx = unsafe rx { unsafe slc_set_u32(&rx.pointee.receiver_cpu, slc_cpu() &+ 1) }
        var trial = unsafe e.pointee.spin_trial
        let budget = unsafe SpinPolicy.budget(.poll, average: e.pointee.sleep_average_ns, trial: &trial)
        unsafe e.pointee.spin_trial = trial
        guard budget != 0 else { return 0 }
        if let rx = unsafe rx, let tx = unsafe tx, unsafe SpinPolicy.peerIsHere(rx, tx) { return 0 }
        if unsafe e.isDatagram && Flows.waitsHere(e) { return 0 }
        Stacks.count(StackCounter.spins)
        let began = slc_tsc()
        var looked = began
        var unused: Endpoint? = nil
        while true {
            let now = slc_tsc()
            let askKernel = unsafe now &- looked > 20 &* process.tickRate
            if askKernel { looked = now }
            let ready = unsafe lookQuick(askKernel, &unused)
            if ready != 0 {
                Stacks.count(StackCounter.spinsPaid)
                unsafe SpinPolicy.learn(&e.pointee.sleep_average_ns, ticks: now &- began)
                return ready
            }
            if now &- began > budget || interrupts.any() || deadline != 0 && askKernel && slc_now_ns() >= deadline { return 0 }
            slc_pause()
        }
    }

    @inline(__always) private func lookQuick(_ askKernel: Bool, _ unused: inout Endpoint?) -> Int {
        if askKernel { return unsafe look(kernel: true, &unused) }
        var ready = 0
        var i = 0
        while i < count {
            if let e = unsafe laned(i) {
                let events = unsafe Readiness.ring(e) & interest(fds[i].events)
                unsafe fds[i].revents = Int16(bitPattern: UInt16(truncatingIfNeeded: events))
                if events != 0 { ready &+= 1 }
            } else if let e = unsafe datagrams(i) {
                let events = unsafe interest(fds[i].events) & Readiness.datagrams(e)
                unsafe fds[i].revents = Int16(bitPattern: UInt16(truncatingIfNeeded: events))
                if events != 0 { ready &+= 1 }
            } else {
                unsafe fds[i].revents = 0
            }
            i &+= 1
        }
        return ready
    }
}
