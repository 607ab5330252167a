import CLinux
import SharedMemory

/// Sluice's own descriptors: high numbers, CLOEXEC, known to the table so that the program's closing loops pass them by.
public enum OwnDescriptor {
    /// Moves `fd` up and registers it. Returns the new number, or -1 when there is none (then `fd` is closed).
    public static func adopt(_ fd: Int) -> Int32 {
        guard fd >= 0 else { return -1 }
        let low = Int32(truncatingIfNeeded: fd)
        let high = place(low)
        _ = slc_close(low)
        guard high >= 0 else { return -1 }
        if !DescriptorTable.set(high, DescriptorTable.word(kind: 3, address: 0, generation: 0)) {
            _ = slc_close(high)
            return -1
        }
        return high
    }

    /// Another number for what `fd` refers to; `fd` stays as it is.
    public static func duplicate(_ fd: Int32) -> Int32 {
        let high = place(fd)
        guard high >= 0 else { return -1 }
        DescriptorTable.set(high, DescriptorTable.word(kind: 3, address: 0, generation: 0))
        return high
    }

    public static func close(_ fd: Int32) {
        guard fd >= 0 else { return }
        DescriptorTable.set(fd, 0)
        _ = slc_close(fd)
    }

    /// The lowest free number from the base: above the soft limit where the hard one allows, else in the upper quarter.
    static func place(_ fd: Int32) -> Int32 {
        var now = rlimit()
        guard slc_prlimit(Int32(RLIMIT_NOFILE_NUMBER), nil, &now) == 0 else { return -1 }
        let soft = now.rlim_cur
        if soft < now.rlim_max && soft <= 65536 {
            var raised = now
            raised.rlim_cur = min(now.rlim_max, soft + 65536)
            guard slc_prlimit(Int32(RLIMIT_NOFILE_NUMBER), &raised, nil) == 0 else { return -1 }
            let r = slc_fcntl(fd, F_DUPFD_CLOEXEC, Int(soft))
            _ = slc_prlimit(Int32(RLIMIT_NOFILE_NUMBER), &now, nil)
            if r >= 0 { return Int32(truncatingIfNeeded: r) }
        }
        // Not so high that the kernel's table of descriptors grows much for it.
        let base = min(soft - soft / 4, 3072)
        let r = slc_fcntl(fd, F_DUPFD_CLOEXEC, Int(base))
        return r < 0 ? -1 : Int32(truncatingIfNeeded: r)
    }

    static var RLIMIT_NOFILE_NUMBER: UInt32 { 7 }
}
