import CLinux
import CStackLayout
import Counters
import Settings
import SharedMemory

/// The regions of a pair and their slots: made and handed out by the connecting side, adopted and claimed by the accepting
/// one. All under the process lock.
extension UnsafeMutablePointer where Pointee == Pair {
    /// Connecting side: a new region of the process's ring size. Nil: no memory or no descriptor.
    func addRegion() -> Int32? {
        guard unsafe pointee.regionCount < Pair.maximumRegions, unsafe !Pair.isOverQuota(pointee.peerUid) else { return nil }
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
        count(StackCounter.regionsMapped)
        return index
    }

    /// Accepting side: takes the memfd that came with a REGION message. Checked: kind of file, size, seals, header. Nil: taken.
    func adoptRegion(_ received: Int32, _ message: sl_message) -> Reason? {
        let fd = OwnDescriptor.adopt(Int(received))
        guard fd >= 0 else { return .resources }
        guard unsafe !Pair.isOverQuota(pointee.peerUid) else {
            OwnDescriptor.close(fd)
            return .limit
        }
        let ring = message.ring_bytes
        let expected =
            ring >= 4096 && ring <= UInt64(Settings.largestRing) && ring & (ring &- 1) == 0 ? Pair.regionBytes(ring) : 0
        guard expected != 0, message.region_bytes == UInt64(expected), unsafe pointee.ringBytes == 0 || pointee.ringBytes == ring,
            unsafe message.region == UInt32(bitPattern: pointee.regionCount), unsafe pointee.regionCount < Pair.maximumRegions,
            slc_is_sealed_memory(fd, UInt64(expected)) == 1,
            let m = unsafe Memory.shared(fd, offset: 0, bytes: Pair.controlBytes)
        else {
            OwnDescriptor.close(fd)
            return .resources
        }
        let region = unsafe m.assumingMemoryBound(to: sl_region.self)
        unsafe pointee.ringBytes = ring
        unsafe pointee.regions[Int(pointee.regionCount)] = unsafe RegionRecord(descriptor: fd, used: 0, map: region)
        unsafe pointee.regionCount += 1
        count(StackCounter.regionsMapped)
        return nil
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

    /// This side leaves a slot: the rings are unmapped, nobody here looks at its words again. Also in a fork child that is the
    /// last to use it; the process that hands out slots zeroes it then. Under the process lock.
    public func leaveSlot(_ region: Int32, _ slot: Int32) {
        guard let map = unsafe map(region) else { return }
        unsafe pointee.liveSlots -= 1
        unsafe disclaim(region, slot)
        let d = unsafe sl_region_direction(map, Int(slot), 0)!
        unsafe slc_release_u64(&(d + Int(pointee.side)).pointee.left, 1)
        guard unsafe pointee.side == 0 && pointee.ownNonce == process.nonce, unsafe slc_acquire_u64(&(d + 1).pointee.left) != 0
        else { return }
        unsafe zero(pointee.regions + Int(region), Int(slot), d)
    }

    /// Connecting side: the slot is offered, under a ticket that no other offer has.
    func offerSlot(_ region: Int32, _ slot: Int32) -> UInt64 {
        let ticket = max(slc_tsc(), 2)
        if let map = unsafe map(region) { unsafe slc_release_u64(sl_offer(map, Int(slot)), ticket) }
        return ticket
    }

    /// Connecting side: the offer is taken back. Free at once if the peer has not claimed it; else it leaves it, too.
    func takeBackSlot(_ region: Int32, _ slot: Int32, _ ticket: UInt64) {
        guard let map = unsafe map(region) else { return }
        guard unsafe slc_cas_u64(sl_offer(map, Int(slot)), ticket, 0) else { return unsafe leaveSlot(region, slot) }
        unsafe pointee.liveSlots -= 1
        unsafe zero(pointee.regions + Int(region), Int(slot), sl_region_direction(map, Int(slot), 0)!)
    }

    /// Accepting side: is there no such offer any more?
    func isTakenBack(_ region: Int32, _ slot: Int32, _ ticket: UInt64) -> Bool {
        guard let map = unsafe map(region) else { return false }
        return unsafe slc_acquire_u64(sl_offer(map, Int(slot))) != ticket
    }

    /// Accepting side: could a slot that was offered be ours? Not one that we use already.
    func isFree(_ region: Int32, _ slot: Int32) -> Bool {
        guard unsafe map(region) != nil, slot >= 0, slot < 64 else { return false }
        return unsafe pointee.regions[Int(region)].used & 1 << UInt64(slot) == 0
    }

    /// Accepting side: such a slot is ours from now on. False: the offer was taken back.
    func claim(_ region: Int32, _ slot: Int32, _ ticket: UInt64) -> Bool {
        guard ticket > UInt64(SL_OFFER_CLAIMED), let map = unsafe map(region),
            unsafe slc_cas_u64(sl_offer(map, Int(slot)), ticket, UInt64(SL_OFFER_CLAIMED))
        else { return false }
        unsafe pointee.regions[Int(region)].used |= 1 << UInt64(slot)
        unsafe pointee.liveSlots += 1
        return true
    }

    /// Accepting side: this process has not mapped the slot any more.
    public func disclaim(_ region: Int32, _ slot: Int32) {
        guard unsafe pointee.side == 1, unsafe map(region) != nil else { return }
        unsafe pointee.regions[Int(region)].used &= ~(1 << UInt64(slot & 63))
    }

    /// Maps the two rings of a slot: that of side 0's sender first.
    func mapRings(_ region: Int32, _ slot: Int32) -> UnsafeMutableRawPointer? {
        let bytes = unsafe 2 * Int(pointee.ringBytes)
        let fd = unsafe pointee.regions[Int(region)].descriptor
        return unsafe Memory.shared(fd, offset: Pair.controlBytes + Int(slot) * bytes, bytes: bytes)
    }
}
