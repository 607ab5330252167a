import CLinux
import CStackLayout
import SharedMemory

// Pairs whose peer has ended: their descriptors and mappings are given back.
extension Pair {
    /// Takes the pairs that nothing uses any more, and whose peer is gone, out of the process's list, as a list of their own.
    /// Takes the process lock.
    public static func takeDead() -> UnsafeMutablePointer<Pair>? {
        process.lock.acquire()
        defer { process.lock.release() }
        var dead: UnsafeMutablePointer<Pair>? = nil
        var kept: UnsafeMutablePointer<Pair>? = nil
        var p = process.pairs
        while let pair = p {
            p = pair.pointee.next
            if pair.pointee.liveSlots == 0 && pair.pointee.ownNonce == process.nonce && !pair.pointee.peerIsGone { pair.readChannel() }
            if pair.pointee.liveSlots == 0 && pair.pointee.ownNonce == process.nonce && pair.pointee.peerIsGone {
                pair.pointee.next = dead
                dead = pair
            } else {
                pair.pointee.next = kept
                kept = pair
            }
        }
        process.pairs = kept
        return dead
    }

    /// Gives everything of a dead pair back. Nobody refers to it any more. Takes the process lock.
    public static func bury(_ pair: UnsafeMutablePointer<Pair>) {
        process.lock.acquire()
        defer { process.lock.release() }
        OwnDescriptor.close(pair.pointee.channel)
        var i = 0
        while i < 64 {
            OwnDescriptor.close(pair.pointee.bells[i])
            i += 1
        }
        i = 0
        while i < Int(pair.pointee.regionCount) {
            OwnDescriptor.close(pair.pointee.regions[i].descriptor)
            if let m = pair.pointee.regions[i].map { Memory.unmap(UInt64(UInt(bitPattern: m)), controlBytes) }
            i += 1
        }
        process.pool.give(UnsafeMutableRawPointer(pair.pointee.regions), MemoryLayout<RegionRecord>.stride * Int(maximumRegions))
        process.pool.give(UnsafeMutableRawPointer(pair.pointee.bells), 64 * 4)
        process.pool.give(UnsafeMutableRawPointer(pair.pointee.serials), 64 * 8)
        process.pool.give(UnsafeMutableRawPointer(pair.pointee.waiters), 64 * 8)
        process.pool.give(UnsafeMutableRawPointer(pair), MemoryLayout<Pair>.stride)
    }
}
