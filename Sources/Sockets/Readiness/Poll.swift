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

@safe private struct PollCall {
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

    @inline(__always) private func laned(_ i: Int) -> Endpoint? {
        let entry = unsafe DescriptorTable.entry(fds[i].fd)
        guard let e = unsafe tracked(entry) else { return nil }
        return unsafe slc_acquire_u32(&e.pointee.lane) == UInt32(SL_LANE_LOOPBACK) ? e : nil
    }

    func run() -> Int {
        var hasFull = prepare()
        var first: Endpoint? = nil
        var ready = unsafe look(kernel: true, &first)
        if ready != 0 || !waits { return ready }
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
    private func look(kernel: Bool, _ first: inout Endpoint?) -> Int {
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
                let events = unsafe Readiness.ring(e) & interest(fds[i].events)
                unsafe fds[i].revents = Int16(bitPattern: UInt16(truncatingIfNeeded: events))
                if events != 0 { ready &+= 1 }
                if unsafe Readiness.kernelCarries(e) { needKernel = true }
            }
            i &+= 1
        }
        if ready > 0 && !needKernel { return ready }
        if !needKernel { return 0 }
        var zero = timespec()
        let r = unsafe sluice_real_ppoll(real, count, &zero, mask)
        return r < 0 ? (r == -Int(EINTR) && ready > 0 ? ready : r) : merge()
    }

    @inline(__always) private func interest(_ events: Int16) -> UInt32 {
        UInt32(UInt16(bitPattern: events)) | Readiness.ERR | Readiness.HUP
    }

    /// Puts the kernel's answers beside the rings' and counts.
    private func merge() -> Int {
        var ready = 0
        var i = 0
        while i < count {
            let kernel = unsafe UInt32(UInt16(bitPattern: real[i].revents))
            if let e = unsafe laned(i) {
                let events = unsafe Readiness.merge(e, ring: Readiness.ring(e), kernel: kernel) & interest(fds[i].events)
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
        guard unsafe mask == nil, count <= 16, let rx = unsafe e.rxDirection, let tx = unsafe e.txDirection else { return 0 }
        unsafe slc_set_u32(&rx.pointee.receiver_cpu, slc_cpu() &+ 1)
        var trial = unsafe e.pointee.spin_trial
        let budget = unsafe SpinPolicy.budget(.poll, average: e.pointee.sleep_average_ns, trial: &trial)
        unsafe e.pointee.spin_trial = trial
        guard budget != 0, unsafe !SpinPolicy.peerIsHere(rx, tx) else { return 0 }
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
            } else {
                unsafe fds[i].revents = 0
            }
            i &+= 1
        }
        return ready
    }

    /// Tells all peers, looks again, sleeps in the kernel over everything and the bell. A number > 0, 0: nothing yet, or -errno.
    private func sleep(_ hasFull: Bool) -> Int {
        let waiter = unsafe Waiter.ofThread()
        let began = slc_tsc()
        Stacks.count(StackCounter.sleeps)
        var slice: UInt64 = unsafe waiter == nil ? 1_000_000 : hasFull ? Patience.slice : 0
        var average: Endpoint? = nil
        var heard = unsafe waiter
        unsafe waiter?.pointee.number &+= 1
        var i = 0
        while i < count {
            unsafe arm(i, waiter, &slice, &average)
            i &+= 1
        }
        var result = unsafe look(kernel: false, &average)
        if result == 0 { result = unsafe block(waiter, slice) }
        var rung = false
        while i > 0 {
            i &-= 1
            unsafe disarm(i, waiter, &rung)
        }
        if let w = unsafe heard, unsafe rung || real[count].revents != 0 { unsafe Waiter.silence(w) }
        unsafe heard = nil
        if let e = unsafe average { unsafe SpinPolicy.learn(&e.pointee.sleep_average_ns, ticks: lastRing(e, began) &- began) }
        return result
    }

    private func lastRing(_ e: Endpoint, _ began: UInt64) -> UInt64 {
        guard let rx = unsafe e.rxDirection else { return slc_tsc() }
        let rung = unsafe slc_relaxed_u64(&rx.pointee.rung_at)
        return rung &- began < 1 << 40 ? rung : slc_tsc()
    }

    private func block(_ waiter: UnsafeMutablePointer<Waiter>?, _ slice: UInt64) -> Int {
        var i = 0
        while i < count {
            unsafe real[i] = unsafe fds[i]
            unsafe real[i].revents = 0
            if let e = unsafe laned(i) {
                if unsafe e.tx.pointee.phase & 1 == 1 { unsafe real[i].events &= ~Int16(Readiness.OUT | Readiness.WRNORM) }
                // The end of a killed peer may be a reset, which nobody need ask for.
                if unsafe e.rx.pointee.flags & UInt32(SL_HALF_EOF_SEEN) == 0 { unsafe real[i].events |= Int16(Readiness.RDHUP) }
            }
            i &+= 1
        }
        unsafe Waiter.beginPoll(waiter)
        unsafe real[count] = unsafe pollfd(fd: waiter?.pointee.bell ?? -1, events: Int16(POLLIN), revents: 0)
        let all = withChannels()
        var r: Int
        if deadline == 0 && slice == 0 {
            r = unsafe sluice_real_ppoll(real, all, nil, mask)
        } else {
            let now = slc_now_ns()
            var left = deadline == 0 ? slice : deadline > now ? deadline &- now : 0
            if slice != 0 && slice < left { left = slice }
            var t = timespec(tv_sec: Int(left / 1_000_000_000), tv_nsec: Int(left % 1_000_000_000))
            r = unsafe sluice_real_ppoll(real, all, &t, mask)
        }
        unsafe Waiter.endPoll(waiter)
        if r > 0 { readChannels(all) }
        if r < 0 { return r == -Int(EINTR) && !interrupts.any() ? 0 : r }
        return merge()
    }

    /// Adds the channels of the peers, by which those ring who do not know our bell. The number of descriptors.
    private func withChannels() -> Int {
        var all = count &+ 1
        var i = 0
        while i < count {
            if let pair = unsafe channel(i) {
                var k = max(count &+ 1, all &- 8)
                while unsafe k < all && real[k].fd != pair.pointee.channel { k &+= 1 }
                if k == all {
                    unsafe real[all] = unsafe pollfd(fd: pair.pointee.channel, events: Int16(POLLIN), revents: 0)
                    all &+= 1
                }
            }
            i &+= 1
        }
        return all
    }

    private func channel(_ i: Int) -> UnsafeMutablePointer<Pair>? {
        guard let e = unsafe laned(i), let pair = unsafe e.local.pointee.pair, unsafe pair.pointee.ownNonce == process.nonce,
            unsafe !pair.pointee.peerIsGone
        else { return nil }
        return unsafe pair
    }

    private func readChannels(_ all: Int) {
        var k = count &+ 1
        while unsafe k < all && real[k].revents == 0 { k &+= 1 }
        guard k < all else { return }
        unsafe process.lock.acquire()
        var i = 0
        while i < count {
            if let pair = unsafe channel(i) {
                k = count &+ 1
                while unsafe k < all && real[k].fd != pair.pointee.channel { k &+= 1 }
                if unsafe k < all && real[k].revents != 0 { unsafe pair.readChannel() }
            }
            i &+= 1
        }
        unsafe process.lock.release()
    }

    private func arm(_ i: Int, _ waiter: UnsafeMutablePointer<Waiter>?, _ slice: inout UInt64, _ average: inout Endpoint?) {
        unsafe held[i] = 0
        let entry = unsafe DescriptorTable.entry(fds[i].fd)
        guard let e = unsafe tracked(entry) else { return }
        if unsafe !Lane.hold(e) {
            slc_enter()
            unsafe Held.note(.receiving, e)
            _ = unsafe slc_add_u32(&e.rx.pointee.plain_calls, 1)
            slc_leave()
            unsafe held[i] = UInt(bitPattern: e) | 1
            // A lane that opened before we were counted is waited for as such.
            guard unsafe Lane.hold(e) else { return }
            slc_enter()
            Held.drop(.receiving, UInt(bitPattern: e))
            _ = unsafe slc_sub_u32(&e.rx.pointee.plain_calls, 1)
            slc_leave()
        }
        unsafe held[i] = UInt(bitPattern: e)
        if unsafe average == nil { unsafe average = unsafe e }
        if unsafe e.pointee.flags & UInt32(SL_EP_SHARED) != 0 { shorten(&slice) }
        // Given back: the kernel tells all.
        if unsafe process.isCrowded && Readiness.isBack(e) { return }
        guard let w = unsafe waiter, unsafe w.pointee.bell >= 0, let pair = unsafe e.local.pointee.pair,
            let region = unsafe e.region,
            let rx = unsafe e.rxDirection,
            let tx = unsafe e.txDirection,
            let index = unsafe pair.number(of: UInt(bitPattern: w), bell: &w.pointee.bell)
        else {
            slice = slice == 0 ? 1_000_000 : min(slice, 1_000_000)
            return
        }
        if unsafe slc_relaxed_u32(&rx.pointee.sender_shared) != 0 { shorten(&slice) }
        unsafe Sleeper.announce(sl_region_waiter(region, Int(e.pointee.side), index), number: w.pointee.number)
        let events = unsafe UInt32(UInt16(bitPattern: fds[i].events))
        if events & (Readiness.IN | Readiness.RDNORM) != 0 { _ = unsafe slc_or_u64(sl_data_waiters(rx), 1 << UInt64(index)) }
        if events & (Readiness.OUT | Readiness.WRNORM) != 0 {
            _ = unsafe slc_or_u64(sl_space_waiters(tx), 1 << UInt64(index))
            if unsafe Readiness.ring(e) & Readiness.OUT == 0 && Patience.begins(e, fds[i].fd) { shorten(&slice) }
        }
    }

    private func shorten(_ slice: inout UInt64) { slice = slice == 0 ? Patience.slice : min(slice, Patience.slice) }

    private func disarm(_ i: Int, _ waiter: UnsafeMutablePointer<Waiter>?, _ rung: inout Bool) {
        guard let e = unsafe Endpoint(bitPattern: held[i] & ~1) else { return }
        if unsafe held[i] & 1 != 0 {
            slc_enter()
            let generation = Held.drop(.receiving, UInt(bitPattern: e))
            if unsafe generation ?? e.pointee.generation == e.pointee.generation {
                _ = unsafe slc_sub_u32(&e.rx.pointee.plain_calls, 1)
            }
            slc_leave()
            return
        }
        if let w = unsafe waiter, unsafe Waiter.silence(w, on: e) { rung = true }
        unsafe Lane.letGo(e)
    }
}
