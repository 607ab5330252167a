import CLinux
import CStackLayout
import Settings
import SharedMemory

/// One memfd that two processes share: control words of 64 slots and their rings. It holds nothing but the traffic of
/// these two.
@safe public struct RegionRecord {
    public var descriptor: Int32 = -1
    /// Slots that the connecting side has handed out and that both have not left yet.
    public var used: UInt64 = 0
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

    public static var maximumRegions: Int32 { 256 }
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
        unsafe pair.pointee.isStranger = uid != slc_geteuid()
        unsafe pair.pointee.channel = channel
        unsafe pair.pointee.next = unsafe process.pairs
        unsafe process.pairs = unsafe pair
        return unsafe pair
    }

    /// The pair of this role with the process of that nonce, if it is ours to extend.
    public static func find(side: Int32, nonce: UInt64) -> UnsafeMutablePointer<Pair>? {
        var p = unsafe process.pairs
        while let pair = unsafe p {
            if unsafe pair.pointee.side == side && pair.pointee.peerNonce == nonce && pair.pointee.ownNonce == process.nonce
                && !pair.pointee.peerIsGone
            {
                return unsafe pair
            }
            unsafe p = unsafe pair.pointee.next
        }
        return nil
    }
}

extension UnsafeMutablePointer where Pointee == Pair {
    /// A descriptor of ours has moved.
    public func renumber(_ old: Int32, _ new: Int32) {
        if unsafe pointee.channel == old { unsafe pointee.channel = new }
        var i = 0
        while i < 64 {
            if unsafe pointee.bells[i] == old { unsafe pointee.bells[i] = new }
            i += 1
        }
        i = 0
        while unsafe i < Int(pointee.regionCount) {
            if unsafe pointee.regions[i].descriptor == old { unsafe pointee.regions[i].descriptor = new }
            i += 1
        }
    }

    public func map(_ region: Int32) -> Region? {
        unsafe region >= 0 && region < pointee.regionCount ? pointee.regions[Int(region)].map : nil
    }

    /// Connecting side: a new region of the process's ring size. Nil: no memory or no descriptor.
    func addRegion() -> Int32? {
        guard unsafe pointee.regionCount < Pair.maximumRegions else { return nil }
        let bytes = unsafe Pair.regionBytes(pointee.ringBytes)
        guard StackMemory.fitsFileSizeLimit(bytes) else { return nil }
        let fd = unsafe OwnDescriptor.adopt(slc_memfd_create("sluice-pair", 1 | 2))
        guard fd >= 0 else { return nil }
        guard slc_ftruncate(fd, off_t(bytes)) == 0, slc_fcntl(fd, 1033, 1 | 2 | 4) == 0,
            let m = unsafe Memory.shared(fd, offset: 0, bytes: Pair.controlBytes)
        else {
            OwnDescriptor.close(fd)
            return nil
        }
        let region = unsafe m.assumingMemoryBound(to: sl_region.self)
        unsafe region.pointee.version = SL_LAYOUT_VERSION
        unsafe region.pointee.slots = 64
        unsafe region.pointee.bytes = UInt64(bytes)
        unsafe region.pointee.ring_bytes = unsafe pointee.ringBytes
        unsafe region.pointee.rings_offset = UInt64(Pair.controlBytes)
        unsafe region.pointee.token = unsafe (pointee.token.0, pointee.token.1)
        unsafe slc_release_u64(&region.pointee.magic, 0x6e6f_6967_6572_736c)
        let index = unsafe pointee.regionCount
        unsafe pointee.regions[Int(index)] = unsafe RegionRecord(descriptor: fd, used: 0, map: region)
        unsafe pointee.regionCount += 1
        return index
    }

    /// Accepting side: takes the memfd that came with a REGION message. Checked: kind of file, size, seals, header.
    func adoptRegion(_ received: Int32, _ message: sl_message) -> Bool {
        let fd = OwnDescriptor.adopt(Int(received))
        guard fd >= 0 else { return false }
        let ring = message.ring_bytes
        let expected =
            ring >= 4096 && ring <= UInt64(Settings.largestRing) && ring & (ring &- 1) == 0 ? Pair.regionBytes(ring) : 0
        guard expected != 0, message.region_bytes == UInt64(expected), unsafe pointee.ringBytes == 0 || pointee.ringBytes == ring,
            unsafe message.region == UInt32(bitPattern: pointee.regionCount), unsafe pointee.regionCount < Pair.maximumRegions,
            slc_is_sealed_memory(fd, UInt64(expected)) == 1,
            let m = unsafe Memory.shared(fd, offset: 0, bytes: Pair.controlBytes)
        else {
            OwnDescriptor.close(fd)
            return false
        }
        let region = unsafe m.assumingMemoryBound(to: sl_region.self)
        unsafe pointee.ringBytes = ring
        unsafe pointee.regions[Int(pointee.regionCount)] = unsafe RegionRecord(descriptor: fd, used: 0, map: region)
        unsafe pointee.regionCount += 1
        return true
    }

    /// Connecting side: a zeroed slot, as (region, slot). Slots that the peer has left meanwhile come back first.
    func takeSlot() -> (Int32, Int32)? {
        var r: Int32 = 0
        while unsafe r < pointee.regionCount {
            let record = unsafe pointee.regions + Int(r)
            if unsafe record.pointee.used == ~0, let map = unsafe record.pointee.map { unsafe reclaim(record, map) }
            if unsafe record.pointee.used != ~0 {
                let slot = unsafe Int32((~record.pointee.used).trailingZeroBitCount)
                unsafe record.pointee.used |= 1 << UInt64(slot)
                return (r, slot)
            }
            r += 1
        }
        guard let fresh = unsafe addRegion() else { return nil }
        unsafe pointee.regions[Int(fresh)].used = 1
        return (fresh, 0)
    }

    private func reclaim(_ record: UnsafeMutablePointer<RegionRecord>, _ map: Region) {
        var slot = 0
        while slot < 64 {
            let d = unsafe sl_region_direction(map, slot, 0)!
            if unsafe slc_relaxed_u64(&d.pointee.left) != 0 && slc_relaxed_u64(&(d + 1).pointee.left) != 0 {
                unsafe zero(record, slot, d)
            }
            slot += 1
        }
    }

    /// Zeroes the words and gives the rings' pages back; the slot is free then.
    private func zero(_ record: UnsafeMutablePointer<RegionRecord>, _ slot: Int, _ d: Direction) {
        unsafe memset(d, 0, 2 * MemoryLayout<sl_direction>.stride)
        let bytes = unsafe 2 * Int(pointee.ringBytes)
        // PUNCH_HOLE | KEEP_SIZE
        _ = unsafe slc_fallocate(record.pointee.descriptor, 3, off_t(Pair.controlBytes + slot * bytes), off_t(bytes))
        unsafe record.pointee.used &= ~(1 << UInt64(slot))
    }

    /// This side leaves a slot: its rings are unmapped, nobody here looks at its words again. Under the process lock.
    public func leaveSlot(_ region: Int32, _ slot: Int32) {
        guard let map = unsafe map(region) else { return }
        unsafe pointee.liveSlots -= 1
        let d = unsafe sl_region_direction(map, Int(slot), 0)!
        unsafe slc_release_u64(&(d + Int(pointee.side)).pointee.left, 1)
        guard unsafe pointee.side == 0, unsafe slc_acquire_u64(&(d + 1).pointee.left) != 0 else { return }
        unsafe zero(pointee.regions + Int(region), Int(slot), d)
    }

    /// Maps the two rings of a slot: that of side 0's sender first.
    func mapRings(_ region: Int32, _ slot: Int32) -> UnsafeMutableRawPointer? {
        let bytes = unsafe 2 * Int(pointee.ringBytes)
        let fd = unsafe pointee.regions[Int(region)].descriptor
        return unsafe Memory.shared(fd, offset: Pair.controlBytes + Int(slot) * bytes, bytes: bytes)
    }

    /// The number of a waiter of ours in this pair, making it known to the peer at first use: its bell travels over the
    /// control channel, so it is there before the peer can find the waiter asleep. Nil: table or channel full.
    /// Takes the process lock.
    public func number(of waiter: UInt, bell: Int32) -> Int? {
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
            if unsafe !tell(free, bell, sl_region_waiter(first, side, free)) {
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

    /// Takes in what came over the control channel: bells, rings. Under the process lock.
    public func readChannel() { OwnDescriptor.withRoom { unsafe readMessages() } }

    private func readMessages() {
        var budget = 64
        while budget > 0 {
            budget -= 1
            var m = sl_message()
            var passed: Int32 = -1
            let n = unsafe slc_receive_message(pointee.channel, &m, MemoryLayout<sl_message>.size, &passed)
            if n == 0 || n == -Int(ECONNRESET) { unsafe pointee.peerIsGone = true }
            if n <= 0 {
                // A message without a byte may carry a descriptor all the same.
                if passed >= 0 { _ = slc_close(passed) }
                return
            }
            let fits = n == MemoryLayout<sl_message>.size && m.magic == SL_MESSAGE_MAGIC
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
