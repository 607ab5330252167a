import CLinux
import SharedMemory

/// Sluice's own descriptors: high numbers, CLOEXEC, known to the table so that the program's closing loops pass them by.
public enum OwnDescriptor {
    /// Moves what `make` returns up and registers it. Returns the new number, or -1 when there is none (then it is closed).
    /// The program's numbers may be used up: then it is made above them.
    public static func adopt(_ make: @autoclosure () -> Int) -> Int32 {
        var fd = make()
        if fd == -Int(EMFILE), let room = Headroom() {
            fd = make()
            room.end()
        }
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

    /// Runs `body`, which makes or receives a descriptor, with numbers above the program's where that is possible.
    public static func withRoom<R>(_ body: () -> R) -> R {
        let room = Headroom()
        let r = body()
        room?.end()
        return r
    }

    /// The lowest free number from the base: above the soft limit where the process may raise it; else in the upper quarter,
    /// unless so few are allowed that the program may come to need every one of them.
    static func place(_ fd: Int32) -> Int32 {
        if let room = Headroom() {
            let r = slc_fcntl(fd, F_DUPFD_CLOEXEC, Int(room.before.rlim_cur))
            room.end()
            return r < 0 ? -1 : Int32(truncatingIfNeeded: r)
        }
        var now = rlimit()
        guard unsafe slc_prlimit(Headroom.number, nil, &now) == 0, now.rlim_cur >= 4096 else { return -1 }
        // Not so high that the kernel's table of descriptors grows much for it.
        let base = min(now.rlim_cur - now.rlim_cur / 4, 3072)
        let r = slc_fcntl(fd, F_DUPFD_CLOEXEC, Int(base))
        return r < 0 ? -1 : Int32(truncatingIfNeeded: r)
    }
}

/// RLIMIT_NOFILE raised for a moment; a privileged process raises the hard limit with it. Nil where that is not allowed,
/// or where the soft limit is so high that nothing above it is needed.
private struct Headroom {
    let before: rlimit

    init?() {
        var now = rlimit()
        guard unsafe slc_prlimit(Headroom.number, nil, &now) == 0, now.rlim_cur <= 65536 else { return nil }
        var raised = now
        if now.rlim_max > now.rlim_cur {
            raised.rlim_cur = min(now.rlim_max, now.rlim_cur + 65536)
        } else {
            raised.rlim_cur = now.rlim_cur + 4096
            raised.rlim_max = raised.rlim_cur
        }
        guard unsafe slc_prlimit(Headroom.number, &raised, nil) == 0 else { return nil }
        before = now
    }

    func end() {
        var old = before
        _ = unsafe slc_prlimit(Headroom.number, &old, nil)
    }

    static var number: Int32 { 7 }
}
