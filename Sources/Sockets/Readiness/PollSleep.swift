import CLinux
import CStackLayout
import Counters
import SharedMemory
import Stacks

// How a poll sleeps: all peers are told, and the kernel watches the descriptors, the bell and the peers' channels.

extension PollCall {
    /// Tells all peers, looks again, sleeps in the kernel over everything and the bell. A number > 0, 0: nothing yet, or -errno.
    func sleep(_ hasFull: Bool) -> Int {
        let waiter = unsafe Waiter.ofThread()
        let began = slc_tsc()
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
        if unsafe e.isDatagram { return unsafe Flows.lastRing(e, began) }
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
        TimedWait.sleeps()
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
        if r > 0 { verifySets() }
        return merge()
    }

    /// The bell of a set rings also for what only the set itself must know.
    private func verifySets() {
        var i = 0
        while i < count {
            let entry = unsafe DescriptorTable.entry(fds[i].fd)
            if unsafe real[i].revents != 0 && DescriptorTable.kind(entry) == 2 && entry & DescriptorTable.plainSet == 0 {
                EpollSet.watchedFromOutside(entry)
                var zero = timespec()
                unsafe real[i].revents = 0
                _ = unsafe slc_ppoll(real + i, 1, &zero, nil)
            }
            i &+= 1
        }
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
            if unsafe e.isDatagram {
                if unsafe Flows.hasOpen(e) { unsafe closeRings(e, fds[i].fd, &slice, &average) }
                return
            }
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
            shorten(&slice, to: 1_000_000)
            return
        }
        if unsafe slc_relaxed_u32(&rx.pointee.sender_shared) != 0 { shorten(&slice) }
        unsafe Sleeper.announce(sl_region_waiter(region, Int(e.pointee.side), index), number: w.pointee.number)
        let events = unsafe UInt32(UInt16(bitPattern: fds[i].events))
        if events & (Readiness.IN | Readiness.RDNORM) != 0 { _ = unsafe slc_or_u64(sl_data_waiters(rx), 1 << UInt64(index)) }
        if events & (Readiness.OUT | Readiness.WRNORM) != 0 {
            _ = unsafe slc_or_u64(sl_space_waiters(tx), 1 << UInt64(index))
            if unsafe Patience.isTried(e) { shorten(&slice) }
        }
    }

    /// From now on the kernel wakes us for a UDP socket; the look behind this one sees what its rings have.
    private func closeRings(_ e: Endpoint, _ fd: Int32, _ slice: inout UInt64, _ average: inout Endpoint?) {
        unsafe e.local.pointee.flowsRx.acquire()
        unsafe Flows.countBeforeSleep(e, fd)
        if unsafe !Flows.fallAsleep(e) { shorten(&slice, to: 1_000_000) }
        unsafe e.local.pointee.flowsRx.release()
        unsafe FlowLane.askPeers(e)
        if unsafe average == nil { unsafe average = unsafe e }
    }

    private func shorten(_ slice: inout UInt64, to most: UInt64 = Patience.slice) { slice = slice == 0 ? most : min(slice, most) }

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
