import CLinux
import CStackLayout
import Counters
import Glibc
import SharedMemory

@testable import Stacks

nonisolated(unsafe) private var runs = 0
nonisolated(unsafe) private var before = 0

/// A pair: what comes over its channel, regions that are offered, and words of a region that change under us.
func fuzzPair(_ input: inout Input) {
    process.start()
    let manner = input.byte()
    let side = Int32(manner & 1)
    let (fake, core) = FakeEnd.pair()
    var peer = sl_message()
    peer.magic = SL_MESSAGE_MAGIC
    peer.nonce = 77
    process.lock.acquire()
    guard let pair = Pair.make(side: side, peer: peer, uid: slc_geteuid() &+ UInt32(manner >> 1 & 1), channel: core) else {
        complain("no pair")
    }
    pair.pointee.ringBytes = side == 0 ? 4096 : 0
    var held: [(Int32, Int32)] = []
    var turns = 0
    while !input.isOver, turns < 60 {
        turns += 1
        let choice = input.byte()
        let regions = pair.pointee.regionCount
        switch choice % 8 {
        case 0:
            var bell = peer
            bell.kind = UInt32(SL_MESSAGE_BELL)
            bell.index = UInt32(input.byte() % 70)
            let passed = descriptors(&input, proof: 0, regionBytes: 4096)
            fake.send(message(&input, like: bell), passed)
            for d in passed { slc_close(d) }
        case 1: bounded("the channel") { pair.readChannel() }
        case 2:
            process.lock.release()
            bounded("a ring") { pair.ring(Int(input.byte())) }
            var bell = core
            if let n = pair.number(of: UInt(1 + input.byte() % 70) << 6, bell: &bell) {
                require(n >= 0 && n < 64, "number \(n)")
            }
            process.lock.acquire()
            fake.drain()
        case 3, 4:
            guard regions > 0, let map = pair.map(Int32(input.byte()) % regions) else { continue }
            // Mostly the words of a slot.
            let first = choice & 0x80 == 0 ? MemoryLayout<sl_region>.offset(of: \.slot)! : 0
            let place = first + 8 * (input.below(MemoryLayout<sl_region>.size / 8 - first / 8))
            let memory = UnsafeMutableRawPointer(map)
            let now = memory.load(fromByteOffset: place, as: UInt64.self)
            memory.storeBytes(of: input.word(near: now), toByteOffset: place, as: UInt64.self)
        case 5 where side == 0:
            guard let (region, slot) = bounded("a slot", { pair.takeSlot() }) else { continue }
            require(region >= 0 && region < pair.pointee.regionCount && slot >= 0 && slot < 64, "slot \(slot) of \(region)")
            require(!held.contains { $0 == (region, slot) }, "slot \(slot) of \(region) twice")
            pair.pointee.liveSlots += 1
            let ticket = pair.offerSlot(region, slot)
            if choice & 0x40 != 0 { pair.takeBackSlot(region, slot, ticket) } else { held.append((region, slot)) }
        case 5 where side == 1, 6 where side == 1:
            var offer = peer
            offer.kind = UInt32(SL_MESSAGE_REGION)
            offer.ring_bytes = 4096
            offer.region = UInt32(bitPattern: regions)
            offer.region_bytes = UInt64(Pair.regionBytes(4096))
            offer.slot = UInt32(input.byte() & 63)
            offer.ticket = 9
            let m = message(&input, like: offer)
            for d in descriptors(&input, proof: 0, regionBytes: Int(offer.region_bytes)) {
                _ = bounded("a region") { pair.adoptRegion(d, m) }
            }
            let region = Int32(bitPattern: m.region)
            let slot = Int32(bitPattern: m.slot)
            guard !pair.isTakenBack(region, slot, m.ticket), pair.isFree(region, slot) else { continue }
            guard let rings = pair.mapRings(region, slot) else { continue }
            Memory.unmap(UInt64(UInt(bitPattern: rings)), 2 * Int(pair.pointee.ringBytes))
            if pair.claim(region, slot, m.ticket) { held.append((region, slot)) }
        default:
            guard let last = held.popLast() else { continue }
            bounded("leaving") { pair.leaveSlot(last.0, last.1) }
        }
    }
    require(!pair.pointee.isStranger || (0..<64).allSatisfy { pair.pointee.bells[$0] == -1 }, "a stranger has bells")
    process.lock.release()
    slc_close(fake.socket)
    forgetPairs()
    runs += 1
    if runs == 100 { before = openDescriptors() }
    if runs > 100 && runs % 1000 == 0 {
        let now = openDescriptors()
        require(now <= before + 2, "\(now) descriptors are open, \(before) were")
    }
}
