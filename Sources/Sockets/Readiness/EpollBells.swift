import CLinux
import CStackLayout
import SharedMemory
import Stacks

// How an epoll set lets its peers wake it, and takes their news. All under the set's lock. A guest leaves bell, numbers and
// bits to the process that forked, and looks at all members instead.

extension UnsafeMutablePointer where Pointee == EpollSet {
    func announceOne(_ w: UnsafeMutablePointer<Watch>) {
        guard let waiter = unsafe pointee.waiter, let word = unsafe w.pointee.word else { return }
        unsafe Sleeper.announce(word, number: waiter.pointee.number)
    }

    /// All peers must ring from now on.
    func announce() {
        guard let waiter = unsafe pointee.waiter, unsafe !pointee.isGuest else { return }
        unsafe waiter.pointee.number &+= 1
        var p = unsafe pointee.watches
        while let w = unsafe p {
            unsafe announceOne(w)
            unsafe p = unsafe w.pointee.next
        }
    }

    func sayAwake() {
        guard let waiter = unsafe pointee.waiter, unsafe !pointee.isGuest else { return }
        var p = unsafe pointee.watches
        while let w = unsafe p {
            if let word = unsafe w.pointee.word { _ = unsafe Sleeper.awake(word, number: waiter.pointee.number) }
            unsafe p = unsafe w.pointee.next
        }
    }

    /// Something came over a control channel: a bell, a ring by one who knows no bell, or the peer's end.
    func readChannels() {
        unsafe process.lock.acquire()
        defer { unsafe process.lock.release() }
        var p = unsafe pointee.watches
        while let w = unsafe p {
            unsafe p = unsafe w.pointee.next
            let pair = unsafe w.pointee.pair
            guard unsafe pair.pointee.ownNonce == process.nonce, unsafe !pair.pointee.peerIsGone else { continue }
            unsafe pair.readChannel()
            var event = unsafe epoll_event()
            if unsafe pair.pointee.peerIsGone {
                _ = unsafe slc_epoll_ctl(pointee.fd, EPOLL_CTL_DEL, pair.pointee.channel, &event)
            }
        }
    }

    /// Silences the bell unless something is ready.
    func tellTruth() {
        guard let w = unsafe pointee.waiter, unsafe !pointee.isGuest else { return }
        unsafe Waiter.silence(w)
        unsafe settle()
        unsafe readChannels()
        unsafe announce()
        unsafe takeBits()
        unsafe takeRings()
        unsafe lookForSpace()
        var turns = unsafe pointee.readyCount
        var ready = false
        while turns > 0, let m = unsafe popReady() {
            turns -= 1
            if unsafe m.look() != nil {
                ready = true
                unsafe enqueue(m, isNew: m.pointee.isNew)
            }
        }
        if ready { unsafe ringOwn() }
    }

    /// Wakes our own sleepers, after a change by another thread.
    func wakeOwn() {
        if unsafe isSleptIn || pointee.isWatched { unsafe ringOwn() }
    }

    func ringOwn() {
        guard let w = unsafe pointee.waiter, unsafe !pointee.isGuest else { return }
        _ = unsafe OwnDescriptor.ring(&w.pointee.bell)
    }

    /// Takes the bits that peers have set.
    func takeBits() {
        if unsafe pointee.isGuest { return unsafe suspectAll() }
        var p = unsafe pointee.watches
        while let w = unsafe p {
            unsafe p = unsafe w.pointee.next
            guard let word = unsafe w.pointee.word else {
                _ = unsafe suspect(w)
                continue
            }
            guard unsafe slc_relaxed_u64(&word.pointee.ready) != 0 else { continue }
            var bits = unsafe slc_exchange_u64(&word.pointee.ready, 0)
            while bits != 0 {
                let slot = bits.trailingZeroBitCount
                bits &= bits &- 1
                var m = unsafe w.pointee.members[slot]
                while let member = unsafe m {
                    unsafe enqueue(member, isNew: false)
                    unsafe m = unsafe member.pointee.nextOfSlot
                }
            }
        }
    }

    @inline(__always) func hasBits() -> Bool {
        var p = unsafe pointee.watches
        while let w = unsafe p {
            if let word = unsafe w.pointee.word, unsafe slc_relaxed_u64(&word.pointee.ready) != 0 { return true }
            unsafe p = unsafe w.pointee.next
        }
        return false
    }

    /// A watch without a number: whoever is not back in the kernel is to be looked at. False: all are.
    @inline(never) private func suspect(_ w: UnsafeMutablePointer<Watch>) -> Bool {
        var any = false
        var slot = 0
        while slot < 64 {
            var m = unsafe w.pointee.members[slot]
            while let member = unsafe m {
                unsafe m = unsafe member.pointee.nextOfSlot
                if unsafe Readiness.isBack(member.pointee.endpoint) { continue }
                any = true
                unsafe enqueue(member, isNew: false)
            }
            slot += 1
        }
        return any
    }

    /// Is there a member that nobody can wake us for?
    @inline(never) func hasUnheard() -> Bool {
        var p = unsafe pointee.watches
        while let w = unsafe p {
            if unsafe w.pointee.index < 0 && suspect(w) { return true }
            unsafe p = unsafe w.pointee.next
        }
        return false
    }

    /// Members that wait for space are to be looked at, now and then: a ring whose reader has stopped is left there.
    @inline(__always) func lookForSpace() {
        guard unsafe slc_relaxed_u32(&pointee.awaitsSpace) != 0 else { return }
        let now = slc_tsc()
        if unsafe now &- pointee.spaceLook > 2_000 &* process.tickRate { unsafe lookForSpace(now) }
    }

    @inline(never) private func lookForSpace(_ now: UInt64) {
        unsafe pointee.spaceLook = now
        unsafe slc_set_u32(&pointee.awaitsSpace, 0)
        // A send that finds a ring full from here on says so again.
        slc_fence()
        unsafe eachLaned { m in
            guard unsafe m.pointee.isAskedForSpace,
                unsafe Patience.isTried(m.pointee.endpoint) || slc_relaxed_u32(&m.pointee.looksForSpace) != 0
            else { return }
            unsafe slc_set_u32(&pointee.awaitsSpace, 1)
            unsafe enqueue(m, isNew: false)
        }
    }

    /// A guest: the kernel's news may have gone to the other process.
    @inline(never) private func suspectAll() {
        unsafe eachLaned { m in
            unsafe m.pointee.kernelNews = true
            unsafe enqueue(m, isNew: false)
        }
    }
}
