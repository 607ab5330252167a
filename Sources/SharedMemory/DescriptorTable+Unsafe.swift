import CLinux

/// The table from descriptor numbers to what Sluice knows of them: one word per number, in chunks made on demand.
/// A word is `generation << 48 | address | kind`. It is private to the process, read without a lock by every
/// intercepted call, and changed under the process lock (or by the only thread of a fork child).
public enum DescriptorTable {
    public static let maximum: Int32 = 4096 << 10

    @inline(__always) public static func entry(_ fd: Int32) -> UInt64 { slc_fd_entry(fd) }

    @inline(__always) public static func kind(_ entry: UInt64) -> UInt64 { entry & 31 }
    @inline(__always) public static func address(_ entry: UInt64) -> UInt { UInt(entry & 0x0000_ffff_ffff_ffc0) }

    /// Mark of a set that the kernel alone serves so far (SLC_FD_PLAIN_SET).
    public static var plainSet: UInt64 { 32 }
    @inline(__always) public static func generation(_ entry: UInt64) -> UInt32 { UInt32(truncatingIfNeeded: entry >> 48) }

    public static func word(kind: UInt64, address: UInt, generation: UInt32) -> UInt64 {
        UInt64(generation & 0xffff) << 48 | UInt64(address) | kind
    }

    static func chunks() -> UnsafeMutablePointer<UnsafeMutablePointer<UInt64>?> {
        unsafe UnsafeMutableRawPointer(slc_fd_root()!).assumingMemoryBound(to: UnsafeMutablePointer<UInt64>?.self)
    }

    /// Sets the word of `fd`; false when the number is beyond the table or memory is missing.
    @discardableResult
    public static func set(_ fd: Int32, _ word: UInt64) -> Bool {
        guard fd >= 0, fd < maximum else { return false }
        let slot = unsafe chunks() + Int(fd >> 10)
        if unsafe slot.pointee == nil {
            if word == 0 { return true }
            guard let m = unsafe Memory.anonymous(8192) else { return false }
            unsafe slot.pointee = unsafe m.assumingMemoryBound(to: UInt64.self)
        }
        unsafe slc_release_u64(slot.pointee.unsafelyUnwrapped + Int(fd & 1023), word)
        return true
    }

    /// Calls `body` for each known number in [first, last], in order.
    public static func each(from first: Int32 = 0, to last: Int32 = maximum - 1, _ body: (Int32, UInt64) -> Bool) {
        var fd = max(first, 0)
        let end = min(last, maximum - 1)
        while fd <= end {
            guard let chunk = unsafe chunks()[Int(fd >> 10)] else {
                fd = (fd | 1023) + 1
                continue
            }
            let word = unsafe chunk[Int(fd & 1023)]
            if word != 0 && !body(fd, word) { return }
            fd += 1
        }
    }
}
