import CLinux
import CStackLayout
import SharedMemory
import Stacks

/// What the kernel set reports for members on a lane: numbers that no other member's data will be.
enum Tags {
    /// Tables of 512 members.
    nonisolated(unsafe) private static var chunks: UnsafeMutablePointer<UnsafeMutablePointer<UInt64>?>? = nil
    nonisolated(unsafe) private static var used: UInt32 = 0
    nonisolated(unsafe) private static var free: UInt32 = 0
    nonisolated(unsafe) private static var secret: UInt64 = 0

    static var bell: UInt64 { unsafe secret | 0xffff_ffff }
    /// A control channel of one of the set's pairs.
    static var channel: UInt64 { unsafe secret | 0xffff_fffe }

    /// Under the process lock. 0: none left.
    static func take(_ m: UnsafeMutablePointer<Member>) -> UInt64 {
        if unsafe chunks == nil {
            unsafe chunks = unsafe process.pool.take(8192 * 8)?.assumingMemoryBound(to: UnsafeMutablePointer<UInt64>?.self)
            prepare()
        }
        guard let chunks = unsafe chunks else { return 0 }
        var index = unsafe free
        if index != 0 {
            unsafe free = unsafe UInt32(truncatingIfNeeded: chunks[Int(index >> 9)].unsafelyUnwrapped[Int(index & 511)] >> 1)
        } else {
            index = unsafe used &+ 1
            guard index < 8192 << 9 else { return 0 }
            if unsafe chunks[Int(index >> 9)] == nil {
                guard let p = unsafe process.pool.take(4096) else { return 0 }
                unsafe chunks[Int(index >> 9)] = unsafe p.assumingMemoryBound(to: UInt64.self)
            }
            unsafe used = index
        }
        unsafe chunks[Int(index >> 9)].unsafelyUnwrapped[Int(index & 511)] = UInt64(UInt(bitPattern: m))
        return unsafe secret | UInt64(index)
    }

    /// Under the process lock.
    static func give(_ tag: UInt64) {
        guard tag != 0, let chunks = unsafe chunks else { return }
        let index = UInt32(truncatingIfNeeded: tag)
        // An odd word is no member but the next free number.
        unsafe chunks[Int(index >> 9)].unsafelyUnwrapped[Int(index & 511)] = unsafe UInt64(free) << 1 | 1
        unsafe free = index
    }

    @inline(__always) static func isOurs(_ data: UInt64) -> Bool { unsafe secret != 0 && data & ~0xffff_ffff == secret }

    static func member(_ data: UInt64) -> UnsafeMutablePointer<Member>? {
        let index = UInt32(truncatingIfNeeded: data)
        guard let chunks = unsafe chunks, unsafe index <= used, index != 0, let c = unsafe chunks[Int(index >> 9)] else {
            return nil
        }
        let word = unsafe c[Int(index & 511)]
        return unsafe word & 1 == 1 ? nil : UnsafeMutablePointer<Member>(bitPattern: UInt(word))
    }

    /// Before the first tag, and before a fork: the processes that have a set together tell each other's tags.
    static func prepare() {
        guard unsafe slc_relaxed_u64(&secret) == 0 else { return }
        _ = unsafe slc_cas_u64(&secret, 0, (process.nonce ^ slc_tsc() << 32) & ~0xffff_ffff | 1 << 63)
    }
}
