import CLinux
import CStackLayout
import SharedMemory

nonisolated(unsafe) private var postponed: UnsafeMutablePointer<Pair>? = nil
nonisolated(unsafe) private var asked = 0

/// How a pair ends: no slot is open, and the peer has ended or the pair was only inherited over a fork. All under the
/// process lock.
extension Pair {
    /// Takes such a pair out of the list, nil: none was found. At most eight channels are asked, in turn.
    public static func takeUnused() -> UnsafeMutablePointer<Pair>? {
        if let pair = postponed {
            postponed = pair.pointee.next
            return pair
        }
        var place = 0
        var previous: UnsafeMutablePointer<Pair>? = nil
        var p = process.pairs
        while let pair = p {
            p = pair.pointee.next
            if pair.pointee.liveSlots == 0 {
                if place >= asked && place < asked + 8 && pair.pointee.ownNonce == process.nonce && !pair.pointee.peerIsGone {
                    pair.readChannel()
                }
                place += 1
                if pair.pointee.peerIsGone || pair.pointee.ownNonce != process.nonce {
                    if let q = previous { q.pointee.next = p } else { process.pairs = p }
                    return pair
                }
            }
            previous = pair
        }
        asked = place > asked + 8 ? asked + 8 : 0
        return nil
    }

    /// It cannot go yet: the next `takeUnused` returns it again.
    public static func postpone(_ pair: UnsafeMutablePointer<Pair>) {
        pair.pointee.next = postponed
        postponed = pair
    }

    /// Closes, unmaps and gives back all that it holds.
    public static func dispose(_ pair: UnsafeMutablePointer<Pair>) {
        OwnDescriptor.close(pair.pointee.channel)
        var i = 0
        while i < 64 {
            OwnDescriptor.close(pair.pointee.bells[i])
            i += 1
        }
        i = 0
        while i < Int(pair.pointee.regionCount) {
            let record = pair.pointee.regions[i]
            if let map = record.map { Memory.unmap(UInt64(UInt(bitPattern: map)), Pair.controlBytes) }
            OwnDescriptor.close(record.descriptor)
            i += 1
        }
        process.pool.give(UnsafeMutableRawPointer(pair.pointee.regions), MemoryLayout<RegionRecord>.stride * Int(maximumRegions))
        process.pool.give(UnsafeMutableRawPointer(pair.pointee.bells), 64 * 4)
        process.pool.give(UnsafeMutableRawPointer(pair.pointee.serials), 64 * 8)
        process.pool.give(UnsafeMutableRawPointer(pair.pointee.waiters), 64 * 8)
        process.pool.give(UnsafeMutableRawPointer(pair), MemoryLayout<Pair>.stride)
    }
}
