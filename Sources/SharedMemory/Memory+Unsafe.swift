import CLinux

/// Anonymous and shared mappings; every call is a raw system call and reports failure as nil.
public enum Memory {
    public static var pageBytes: Int { 4096 }

    @inline(__always) static func pointer(_ r: Int) -> UnsafeMutableRawPointer? {
        unsafe r < 0 && r > -4096 ? nil : UnsafeMutableRawPointer(bitPattern: r)
    }

    /// Private zeroed memory.
    public static func anonymous(_ bytes: Int) -> UnsafeMutableRawPointer? {
        unsafe pointer(slc_mmap(nil, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0))
    }

    /// Zeroed memory that fork children share.
    public static func sharedByFork(_ bytes: Int) -> UnsafeMutableRawPointer? {
        unsafe pointer(slc_mmap(nil, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0))
    }

    /// Maps a part of a memfd, shared. It is mapped without access first and made accessible after munlock: under
    /// mlockall(MCL_FUTURE) a sparse mapping would otherwise become resident at once.
    public static func shared(_ fd: Int32, offset: Int, bytes: Int) -> UnsafeMutableRawPointer? {
        guard let p = unsafe pointer(slc_mmap(nil, bytes, PROT_NONE, MAP_SHARED, fd, off_t(offset))) else { return nil }
        _ = unsafe slc_munlock(p, bytes)
        guard unsafe slc_mprotect(p, bytes, PROT_READ | PROT_WRITE) == 0 else {
            _ = unsafe slc_munmap(p, bytes)
            return nil
        }
        _ = unsafe slc_madvise(p, bytes, MADV_DONTDUMP)
        return unsafe p
    }

    public static func unmap(_ address: UInt64, _ bytes: Int) {
        guard address != 0 else { return }
        _ = unsafe slc_munmap(UnsafeMutableRawPointer(bitPattern: UInt(address)), bytes)
    }
}

/// Small private records that must not come from malloc: malloc may be a library that calls us. Size classes are powers
/// of two from 64 bytes to 64 KiB; freed records are kept for reuse. All calls are made under the process lock.
public struct RecordPool {
    private var next: UInt = 0
    private var end: UInt = 0
    private var free: (UInt, UInt, UInt, UInt, UInt, UInt, UInt, UInt, UInt, UInt, UInt) = (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)

    public init() {}

    @inline(__always) private static func sizeClass(_ bytes: Int) -> Int {
        let b = UInt64(bytes <= 64 ? 63 : bytes - 1)
        return 64 - b.leadingZeroBitCount - 6
    }

    private mutating func withFree<R>(_ index: Int, _ body: (UnsafeMutablePointer<UInt>) -> R) -> R {
        unsafe withUnsafeMutableBytes(of: &free) { unsafe body($0.baseAddress!.assumingMemoryBound(to: UInt.self) + index) }
    }

    /// Zeroed memory, aligned to 64 bytes; nil when there is none or it is larger than 64 KiB.
    public mutating func take(_ bytes: Int) -> UnsafeMutableRawPointer? {
        let c = RecordPool.sizeClass(bytes)
        guard c <= 10 else { return nil }
        let size = UInt(64) << UInt(c)
        let reused = unsafe withFree(c) { head -> UnsafeMutableRawPointer? in
            guard let p = unsafe UnsafeMutableRawPointer(bitPattern: head.pointee) else { return nil }
            unsafe head.pointee = unsafe p.load(as: UInt.self)
            return unsafe p
        }
        if let p = unsafe reused {
            unsafe memset(p, 0, Int(size))
            return unsafe p
        }
        if end &- next < size {
            let chunk = size > 16384 ? Int(size) : 65536
            guard let p = unsafe Memory.anonymous(chunk) else { return nil }
            next = UInt(bitPattern: p)
            end = next &+ UInt(chunk)
        }
        let p = unsafe UnsafeMutableRawPointer(bitPattern: next)
        next &+= size
        return unsafe p
    }

    public mutating func give(_ p: UnsafeMutableRawPointer, _ bytes: Int) {
        let c = RecordPool.sizeClass(bytes)
        guard c <= 10 else { return }
        unsafe withFree(c) { head in
            unsafe p.storeBytes(of: head.pointee, as: UInt.self)
            unsafe head.pointee = UInt(bitPattern: p)
        }
    }
}
