import CLinux
import CStackLayout
import Counters
import SharedMemory

nonisolated(unsafe) private var postponed: UnsafeMutablePointer<Pair>? = nil
nonisolated(unsafe) private var asked = 0

/// How a pair ends: no slot is open, and none will be: the peer has ended, the pair cannot be extended, or was only inherited
/// over a fork. All under the process lock.
extension Pair {
    /// Takes such a pair out of the list, nil: none was found. At most eight channels are asked, in turn.
    public static func takeUnused() -> UnsafeMutablePointer<Pair>? {
        if let pair = unsafe postponed {
            unsafe postponed = unsafe pair.pointee.next
            return unsafe pair
        }
        var place = 0
        var previous: UnsafeMutablePointer<Pair>? = nil
        var p = unsafe process.pairs
        while let pair = unsafe p {
            unsafe p = unsafe pair.pointee.next
            if unsafe pair.pointee.liveSlots == 0 {
                if unsafe place >= asked && place < asked + 8 && pair.pointee.ownNonce == process.nonce
                    && !pair.pointee.peerIsGone
                {
                    unsafe pair.readChannel()
                }
                place += 1
                if unsafe !pair.isExtendable || pair.pointee.ownNonce != process.nonce {
                    if let q = unsafe previous { unsafe q.pointee.next = unsafe p } else { unsafe process.pairs = unsafe p }
                    return unsafe pair
                }
            }
            unsafe previous = unsafe pair
        }
        unsafe asked = unsafe place > asked + 8 ? asked + 8 : 0
        return nil
    }

    /// It cannot go yet: the next `takeUnused` returns it again.
    public static func postpone(_ pair: UnsafeMutablePointer<Pair>) {
        unsafe pair.pointee.next = unsafe postponed
        unsafe postponed = unsafe pair
    }

    /// A descriptor of ours has moved. Under the process lock.
    public static func renumber(_ old: Int32, _ new: Int32) {
        var p = unsafe process.pairs
        var isListed = true
        while true {
            guard let pair = unsafe p else {
                guard isListed else { return }
                isListed = false
                unsafe p = unsafe postponed
                continue
            }
            if unsafe pair.pointee.channel == old { unsafe pair.pointee.channel = new }
            var i = 0
            while i < 64 {
                if unsafe pair.pointee.bells[i] == old { unsafe pair.pointee.bells[i] = new }
                i += 1
            }
            i = 0
            while unsafe i < Int(pair.pointee.regionCount) {
                if unsafe pair.pointee.regions[i].descriptor == old { unsafe pair.pointee.regions[i].descriptor = new }
                i += 1
            }
            unsafe p = unsafe pair.pointee.next
        }
    }

    /// Closes, unmaps and gives back all that it holds.
    public static func dispose(_ pair: UnsafeMutablePointer<Pair>) {
        unsafe OwnDescriptor.close(pair.pointee.channel)
        var i = 0
        while i < 64 {
            unsafe OwnDescriptor.close(pair.pointee.bells[i])
            i += 1
        }
        i = 0
        while unsafe i < Int(pair.pointee.regionCount) {
            let record = unsafe pair.pointee.regions[i]
            if let map = unsafe record.map { Memory.unmap(UInt64(UInt(bitPattern: map)), Pair.controlBytes) }
            OwnDescriptor.close(record.descriptor)
            count(StackCounter.regionsUnmapped)
            i += 1
        }
        unsafe process.pool.give(
            UnsafeMutableRawPointer(pair.pointee.regions), MemoryLayout<RegionRecord>.stride * Int(maximumRegions))
        unsafe process.pool.give(UnsafeMutableRawPointer(pair.pointee.bells), 64 * 4)
        unsafe process.pool.give(UnsafeMutableRawPointer(pair.pointee.serials), 64 * 8)
        unsafe process.pool.give(UnsafeMutableRawPointer(pair.pointee.waiters), 64 * 8)
        unsafe process.pool.give(UnsafeMutableRawPointer(pair), MemoryLayout<Pair>.stride)
    }
}
