import CLinux
import CStackLayout
import Counters
import SharedMemory

/// One memfd that two processes share: control words of 64 slots and their rings. It holds nothing but the traffic of
/// these two.
@safe public struct RegionRecord {
    public var descriptor: Int32 = -1
    /// A bit per slot: the connecting side has handed it out, and both have not left it yet; the accepting side has mapped it.
    public var used: UInt64 = 0
    /// Connecting side: the peer has it.
    public var isTaken = false
    public var map: Region? = nil
}

/// Another process that this one talks to over loopback, in one role. `side` is ours: 0 the connecting one, which makes
/// regions and hands out slots, 1 the accepting one. A private record; its shared half is the regions. Changed under
/// the process lock.
@safe public struct Pair {
    public var next: UnsafeMutablePointer<Pair>? = nil
    public var peerNonce: UInt64 = 0
    /// Our nonce when it was made: another one after fork, when only open slots may still be used.
    public var ownNonce: UInt64 = 0
    public var side: Int32 = 0
    public var peerUid: UInt32 = 0
    /// The process at the other end of `channel`, 0 when it is not of our pid namespace.
    public var peerPid: Int32 = 0
    /// Our effective user when it was made.
    public var ownUid: UInt32 = 0
    /// The peer is another user: bells that it could block or empty are not shared with it.
    public var isStranger = false
    public var channel: Int32 = -1
    public var token: (UInt64, UInt64) = (0, 0)
    public var ringBytes: UInt64 = 0
    public var liveSlots: Int32 = 0
    public var regionCount: Int32 = 0
    public var regions: UnsafeMutablePointer<RegionRecord>
    /// Event descriptors of the peer's waiters, -1 while unknown.
    public var bells: UnsafeMutablePointer<Int32>
    /// Serials of those bells: a number may be another waiter's by now.
    public var serials: UnsafeMutablePointer<UInt64>
    /// Our waiters (addresses), by their number in the pair; 0: free.
    public var waiters: UnsafeMutablePointer<UInt>
    public var peerIsGone = false
    /// A meeting waits for the peer's answer to the first offer on `channel`, too: whoever reads it there keeps it for that one.
    public var awaitsReady = false
    var answer = sl_message()
    var hasAnswer = false

    public static var maximumRegions: Int32 { 256 }
    /// Regions that this process has with all processes of another user together.
    public static var foreignRegions: Int32 { 64 }
    public static var controlBytes: Int { (MemoryLayout<sl_region>.size + 4095) & ~4095 }

    public static func regionBytes(_ ringBytes: UInt64) -> Int { controlBytes + 64 * 2 * Int(ringBytes) }

    /// A record with an own channel; takes over `channel`. Under the process lock.
    public static func make(side: Int32, peer: sl_message, uid: UInt32, channel: Int32) -> UnsafeMutablePointer<Pair>? {
        guard let r = unsafe process.pool.take(MemoryLayout<RegionRecord>.stride * Int(maximumRegions)),
            let b = unsafe process.pool.take(64 * 4), let n = unsafe process.pool.take(64 * 8),
            let w = unsafe process.pool.take(64 * 8),
            let m = unsafe process.pool.take(MemoryLayout<Pair>.stride)
        else { return nil }
        let pair = unsafe m.assumingMemoryBound(to: Pair.self)
        unsafe pair.initialize(
            to: Pair(
                regions: r.assumingMemoryBound(to: RegionRecord.self), bells: b.assumingMemoryBound(to: Int32.self),
                serials: n.assumingMemoryBound(to: UInt64.self), waiters: w.assumingMemoryBound(to: UInt.self)))
        unsafe pair.pointee.regions.initialize(repeating: RegionRecord(), count: Int(maximumRegions))
        unsafe pair.pointee.bells.initialize(repeating: -1, count: 64)
        unsafe pair.pointee.side = side
        unsafe pair.pointee.peerNonce = peer.nonce
        unsafe pair.pointee.ownNonce = unsafe process.nonce
        unsafe pair.pointee.peerUid = uid
        unsafe pair.pointee.peerPid = Int32(truncatingIfNeeded: max(0, slc_peer_pid(channel)))
        unsafe pair.pointee.ownUid = slc_geteuid()
        unsafe pair.pointee.isStranger = unsafe uid != pair.pointee.ownUid
        unsafe pair.pointee.channel = channel
        unsafe pair.pointee.next = unsafe process.pairs
        unsafe process.pairs = unsafe pair
        return unsafe pair
    }

    /// The pair of this role with the peer of `m`, if it is ours to extend. A nonce proves nothing, since every peer of a process
    /// knows it: the kernel must name the same process for the meeting's channel as for the pair's, which is still open. (Its
    /// number may be another process's by now where a fork child holds the channel on: that one has none of the regions.) The
    /// connecting side tells the token to a process that it can name only, else it makes a pair for each connection; so the
    /// accepting side can rely on the `token` where it cannot name the peer itself, as between pid namespaces.
    static func find(side: Int32, _ m: Meeting, token: (UInt64, UInt64)? = nil) -> UnsafeMutablePointer<Pair>? {
        guard m.peerPid != 0 || token != nil else { return nil }
        var p = unsafe process.pairs
        while let pair = unsafe p {
            if unsafe pair.pointee.side == side && pair.pointee.peerNonce == m.peer.nonce
                && pair.pointee.ownNonce == process.nonce && pair.pointee.peerPid == m.peerPid
                && pair.pointee.peerUid == m.peerUid && pair.isExtendable,
                unsafe token == nil || pair.pointee.token == token.unsafelyUnwrapped
            {
                unsafe pair.readChannel()
                if unsafe !pair.pointee.peerIsGone { return unsafe pair }
            }
            unsafe p = unsafe pair.pointee.next
        }
        return nil
    }

    /// May no further region be shared with processes of `uid`?
    static func isOverQuota(_ uid: UInt32) -> Bool {
        guard uid != slc_geteuid() else { return false }
        var regions: Int32 = 0
        var p = unsafe process.pairs
        while let pair = unsafe p {
            if unsafe pair.pointee.peerUid == uid { unsafe regions &+= pair.pointee.regionCount }
            unsafe p = unsafe pair.pointee.next
        }
        return regions >= foreignRegions
    }
}

extension UnsafeMutablePointer where Pointee == Pair {
    /// May later connections take slots? Not when either side is another user now than when it was made: open slots are
    /// used up to their end, and a new connection gets a new pair.
    var isExtendable: Bool {
        unsafe !pointee.peerIsGone && (pointee.side == 1 || pointee.peerPid != 0) && pointee.ownUid == slc_geteuid()
    }

    public func map(_ region: Int32) -> Region? {
        unsafe region >= 0 && region < pointee.regionCount ? pointee.regions[Int(region)].map : nil
    }

    /// The number of a waiter of ours in this pair, making it known to the peer at first use: its bell travels over the
    /// control channel, so it is there before the peer can find the waiter asleep. Nil: table or channel full.
    /// Takes the process lock, and reads the bell's number under it: the bell may move.
    public func number(of waiter: UInt, bell: UnsafePointer<Int32>) -> Int? {
        unsafe process.lock.acquire()
        defer { unsafe process.lock.release() }
        if let i = unsafe known(waiter) { return i }
        guard unsafe pointee.regionCount > 0, let first = unsafe pointee.regions[0].map else { return nil }
        let side = unsafe Int(pointee.side)
        let used = unsafe sl_numbers(first, side)!
        // The peer can write this word too: it shall not keep us here.
        var tries = 0
        while tries < 1000 {
            tries += 1
            let bits = unsafe slc_relaxed_u64(used)
            guard bits != ~0 else { return nil }
            let free = (~bits).trailingZeroBitCount
            guard unsafe slc_cas_u64(used, bits, bits | 1 << UInt64(free)) else { continue }
            if unsafe !tell(free, bell.pointee, sl_region_waiter(first, side, free)) {
                _ = unsafe slc_and_u64(used, ~(1 << UInt64(free)))
                return nil
            }
            unsafe pointee.waiters[free] = waiter
            return free
        }
        return nil
    }

    /// Sends a bell to the peer, under a serial that the peer finds beside the number.
    private func tell(_ number: Int, _ bell: Int32, _ word: UnsafeMutablePointer<sl_waiter>) -> Bool {
        if unsafe pointee.isStranger { return true }
        var m = sl_message()
        m.magic = SL_MESSAGE_MAGIC
        m.kind = UInt32(SL_MESSAGE_BELL)
        m.nonce = unsafe process.nonce
        m.index = UInt32(number)
        m.token.0 = slc_tsc()
        let n = MemoryLayout<sl_message>.size
        guard unsafe bell >= 0 && OwnDescriptor.send(&pointee.channel, &m, n, passing: bell) == n else { return false }
        unsafe slc_release_u64(&word.pointee.bell, m.token.0)
        return true
    }

    /// A process that ends gives the numbers of its waiters back to those who share the pair with it.
    public func giveBackNumbers(where isOurs: (UInt) -> Bool) {
        guard unsafe pointee.regionCount > 0, let first = unsafe pointee.regions[0].map else { return }
        var i = 0
        while i < 64 {
            if unsafe pointee.waiters[i] != 0 && isOurs(pointee.waiters[i]) {
                _ = unsafe slc_and_u64(sl_numbers(first, Int(pointee.side)), ~(1 << UInt64(i)))
            }
            i += 1
        }
    }

    /// The number of a waiter that the peer knows already.
    public func known(_ waiter: UInt) -> Int? {
        var i = 0
        while i < 64 {
            if unsafe pointee.waiters[i] == waiter { return i }
            i += 1
        }
        return nil
    }

    /// Takes in what came over the control channel: bells, rings, the answer to the first offer. Under the process lock.
    public func readChannel() {
        // A stranger sends little: who floods the channel shall not keep the others waiting.
        var budget = unsafe pointee.isStranger ? 8 : 64
        while budget > 0 {
            budget -= 1
            var m = sl_message()
            var passed: Int32 = -1
            let n = OwnDescriptor.withRoom {
                unsafe slc_receive_message(pointee.channel, &m, MemoryLayout<sl_message>.size, &passed)
            }
            if n == 0 || n == -Int(ECONNRESET) { unsafe pointee.peerIsGone = true }
            if n <= 0 {
                // A message without a byte may carry a descriptor all the same.
                if passed >= 0 { _ = slc_close(passed) }
                return
            }
            let fits = n == MemoryLayout<sl_message>.size && m.magic == SL_MESSAGE_MAGIC
            let isAnswer = m.kind == UInt32(SL_MESSAGE_READY) || m.kind == UInt32(SL_MESSAGE_REFUSE)
            if unsafe fits && isAnswer && pointee.awaitsReady && !pointee.hasAnswer {
                unsafe pointee.answer = m
                unsafe pointee.hasAnswer = true
            }
            if unsafe fits && m.kind == UInt32(SL_MESSAGE_BELL) && m.index < 64 && passed >= 0 && !pointee.isStranger {
                let old = unsafe pointee.bells[Int(m.index)]
                unsafe pointee.bells[Int(m.index)] = OwnDescriptor.adopt(Int(passed))
                unsafe pointee.serials[Int(m.index)] = m.token.0
                OwnDescriptor.close(old)
            } else if passed >= 0 {
                _ = slc_close(passed)
            }
        }
    }

    /// The answer to the first offer, if it was read by another connection. Takes the process lock.
    func takeAnswer(_ m: inout sl_message) -> Bool {
        unsafe process.lock.acquire()
        defer { unsafe process.lock.release() }
        guard unsafe pointee.hasAnswer else { return false }
        m = unsafe pointee.answer
        unsafe pointee.hasAnswer = false
        return true
    }

    /// All its descriptors are to be closed: lanes that are open go on without, as they go back to the kernel.
    public func retireDescriptors() {
        unsafe OwnDescriptor.retire(&pointee.channel)
        var i = 0
        while i < 64 {
            unsafe OwnDescriptor.retire(pointee.bells + i)
            i += 1
        }
        i = 0
        while unsafe i < Int(pointee.regionCount) {
            unsafe OwnDescriptor.retire(&pointee.regions[i].descriptor)
            i += 1
        }
        unsafe pointee.peerIsGone = true
    }

    /// The descriptor that rings the peer's waiter `index`, -1 when it is not known (yet).
    private func bell(_ index: Int) -> Int32 {
        guard let first = unsafe pointee.regions[0].map else { return -1 }
        let serial = unsafe slc_acquire_u64(&sl_region_waiter(first, 1 - Int(pointee.side), index).pointee.bell)
        return unsafe pointee.serials[index] == serial ? pointee.bells[index] : -1
    }

    /// Wakes the peer's waiter `index`. One system call when its bell is known.
    @inline(never) public func ring(_ index: Int) {
        count(StackCounter.bellsRung)
        var isKnown = unsafe bell(index & 63) >= 0
        if unsafe !isKnown && pointee.ownNonce == process.nonce && !pointee.isStranger {
            unsafe process.lock.acquire()
            unsafe readChannel()
            isKnown = unsafe bell(index & 63) >= 0
            unsafe process.lock.release()
        }
        if unsafe isKnown && OwnDescriptor.ring(pointee.bells + (index & 63)) { return }
        var m = sl_message()
        m.magic = SL_MESSAGE_MAGIC
        m.kind = UInt32(SL_MESSAGE_RING)
        m.index = UInt32(index)
        _ = unsafe OwnDescriptor.send(&pointee.channel, &m, MemoryLayout<sl_message>.size, passing: -1)
    }
}
