import CLinux
import SharedMemory

/// Sluice's own descriptors: high numbers, CLOEXEC, known to the table so that the program's closing loops pass them by.
public enum OwnDescriptor {
    /// Moves what `make` returns up and registers it. Returns the new number, or -1 when there is none (then it is closed).
    /// The program's numbers may be used up: then it is made above them.
    public static func adopt(_ make: @autoclosure () -> Int) -> Int32 {
        var fd = make()
        if unsafe process.isCrowded {
            if fd >= 0 { _ = slc_close(Int32(truncatingIfNeeded: fd)) }
            return -1
        }
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

    /// Runs `body`, which makes or receives a descriptor or two, and adopts none (that may raise the limit itself); above the program's numbers, where that is possible, when
    /// these are used up.
    public static func withRoom<R>(_ body: () -> R) -> R {
        let room = hasRoom ? nil : Headroom()
        let r = body()
        room?.end()
        return r
    }

    /// Are two of the program's numbers free?
    private static var hasRoom: Bool {
        let first = slc_eventfd(0, 0o2000000)
        guard first >= 0 else { return false }
        let second = slc_fcntl(Int32(truncatingIfNeeded: first), F_DUPFD_CLOEXEC, 0)
        _ = slc_close(Int32(truncatingIfNeeded: first))
        guard second >= 0 else { return false }
        _ = slc_close(Int32(truncatingIfNeeded: second))
        return true
    }

    /// The lowest free number from the base: above the soft limit where the process may raise it; else in the upper quarter.
    static func place(_ fd: Int32) -> Int32 {
        if let room = Headroom() {
            let r = slc_fcntl(fd, F_DUPFD_CLOEXEC, room.first)
            room.end()
            return r < 0 ? -1 : Int32(truncatingIfNeeded: r)
        }
        var now = rlimit()
        guard unsafe slc_prlimit(Headroom.number, nil, &now) == 0, now.rlim_cur >= 16 else { return -1 }
        // Not so high that the kernel's table of descriptors grows much for it.
        let quarter = now.rlim_cur - now.rlim_cur / 4
        let r = slc_fcntl(fd, F_DUPFD_CLOEXEC, Int(min(quarter, 3072)))
        // The program's own numbers come here only when those below are used up: among these at once, else near the end.
        sluice_crowded_from(Int32(truncatingIfNeeded: quarter <= 3072 ? quarter : min(now.rlim_cur - 64, 1 << 30)))
        return r < 0 ? -1 : Int32(truncatingIfNeeded: r)
    }
}

// MARK: fork

/// Held while the limit of descriptors is raised. Nothing is locked under it.
nonisolated(unsafe) private var limitLock = PrivateLock()

extension OwnDescriptor {
    public static func lockForFork() { unsafe limitLock.acquire() }
    public static func unlockInParent() { unsafe limitLock.release() }
    public static func unlockInChild() {
        unsafe limitLock.resetAfterFork()
        // Threads that were using one are not in this process.
        unsafe users = 0
    }
}

// MARK: giving them back

nonisolated(unsafe) private var users: UInt32 = 0

extension OwnDescriptor {
    /// Writes to the event descriptor at `place`, unless it was given back. Another thread may do so at any moment, and the
    /// number be the program's then: whoever uses one between these two is waited for.
    public static func ring(_ place: UnsafeMutablePointer<Int32>) -> Bool {
        _ = unsafe withUnsafeMutablePointer(to: &users) { unsafe slc_add_u32($0, 1) }
        let fd = unsafe load(place)
        var one: UInt64 = 1
        if fd >= 0 { _ = unsafe slc_write(fd, &one, 8) }
        _ = unsafe withUnsafeMutablePointer(to: &users) { unsafe slc_sub_u32($0, 1) }
        return fd >= 0
    }

    private static func load(_ place: UnsafeMutablePointer<Int32>) -> Int32 {
        unsafe Int32(bitPattern: slc_relaxed_u32(UnsafeMutableRawPointer(place).assumingMemoryBound(to: UInt32.self)))
    }

    /// Calls `body` with the descriptor at `place`, unless it was given back. It must not wait.
    public static func use(_ place: UnsafeMutablePointer<Int32>, _ body: (Int32) -> Void) {
        _ = unsafe withUnsafeMutablePointer(to: &users) { unsafe slc_add_u32($0, 1) }
        let fd = unsafe load(place)
        if fd >= 0 { body(fd) }
        _ = unsafe withUnsafeMutablePointer(to: &users) { unsafe slc_sub_u32($0, 1) }
    }

    /// Reads the event descriptor at `place` empty.
    public static func silence(_ place: UnsafeMutablePointer<Int32>) {
        _ = unsafe withUnsafeMutablePointer(to: &users) { unsafe slc_add_u32($0, 1) }
        let fd = unsafe load(place)
        var n: UInt64 = 0
        if fd >= 0 { _ = unsafe slc_read(fd, &n, 8) }
        _ = unsafe withUnsafeMutablePointer(to: &users) { unsafe slc_sub_u32($0, 1) }
    }

    /// Sends a message on the channel at `place`, with the descriptor `passed` if it is one. Bytes, or -errno.
    public static func send(
        _ place: UnsafeMutablePointer<Int32>, _ message: UnsafeRawPointer, _ n: Int, passing passed: Int32
    ) -> Int {
        _ = unsafe withUnsafeMutablePointer(to: &users) { unsafe slc_add_u32($0, 1) }
        let fd = unsafe load(place)
        let r = unsafe fd >= 0 ? slc_send_message(fd, message, n, passed) : -Int(EBADF)
        _ = unsafe withUnsafeMutablePointer(to: &users) { unsafe slc_sub_u32($0, 1) }
        return r
    }

    /// The number at `place` is to be closed by `closeRetired`.
    public static func retire(_ place: UnsafeMutablePointer<Int32>) {
        let fd = unsafe place.pointee
        guard fd >= 0 else { return }
        unsafe slc_set_u32(UnsafeMutableRawPointer(place).assumingMemoryBound(to: UInt32.self), ~0)
        DescriptorTable.set(fd, DescriptorTable.word(kind: 3, address: retired, generation: 0))
    }

    /// Waits until nobody is in the middle of using one, at most a second: false.
    public static func awaitUsers() -> Bool {
        let end = slc_now_ns() &+ 1_000_000_000
        while unsafe withUnsafeMutablePointer(to: &users, { unsafe slc_add_u32($0, 0) }) != 0 {
            if slc_now_ns() > end { return false }
            var pause = timespec(tv_sec: 0, tv_nsec: 20_000)
            _ = unsafe slc_ppoll(nil, 0, &pause, nil)
        }
        return true
    }

    /// Closes what was retired once nobody is in the middle of using it.
    public static func closeRetired() {
        guard awaitUsers() else { return }
        DescriptorTable.each { fd, entry in
            if entry == DescriptorTable.word(kind: 3, address: retired, generation: 0) { close(fd) }
            return true
        }
    }

    /// Does one of them stand where the program could have a number of its own?
    public static var areInTheWay: Bool {
        var now = rlimit()
        guard unsafe slc_prlimit(Headroom.number, nil, &now) == 0 else { return false }
        var found = false
        DescriptorTable.each(from: 0, to: Int32(truncatingIfNeeded: min(now.rlim_cur, 1 << 30))) { _, entry in
            found = DescriptorTable.kind(entry) == 3
            return !found
        }
        return found
    }

    private static var retired: UInt { 64 }
}

/// RLIMIT_NOFILE raised for a moment; a privileged process raises the hard limit with it. Nil where that is not allowed,
/// or where the soft limit is so high that nothing above it is needed.
///
/// The limit is the program's, too. Threads of ours raise it one at a time, no fork comes in between, and a limit that the
/// program has set meanwhile stays. What remains: a limit that it sets between the last look and the restoring call, the
/// one that it reads meanwhile, and a program that libc starts meanwhile in another thread, which inherits the raised one.
private struct Headroom {
    private let before: rlimit
    private let raised: rlimit

    init?() {
        unsafe limitLock.acquire()
        guard let (before, raised) = Headroom.raise() else {
            unsafe limitLock.release()
            return nil
        }
        self.before = before
        self.raised = raised
    }

    private static func raise() -> (rlimit, rlimit)? {
        var now = rlimit()
        guard unsafe slc_prlimit(Headroom.number, nil, &now) == 0, now.rlim_cur <= 65536 else { return nil }
        var raised = now
        if now.rlim_max > now.rlim_cur {
            raised.rlim_cur = min(now.rlim_max, now.rlim_cur + 65536)
        } else {
            raised.rlim_cur = now.rlim_cur + 4096
            raised.rlim_max = raised.rlim_cur
        }
        return unsafe slc_prlimit(Headroom.number, &raised, nil) == 0 ? (now, raised) : nil
    }

    func end() {
        var now = rlimit()
        _ = unsafe slc_prlimit(Headroom.number, nil, &now)
        if now.rlim_cur == raised.rlim_cur && now.rlim_max == raised.rlim_max {
            now = before
            _ = unsafe slc_prlimit(Headroom.number, &now, nil)
        }
        unsafe limitLock.release()
    }

    /// The lowest number above the program's.
    var first: Int { Int(truncatingIfNeeded: before.rlim_cur) }

    static var number: Int32 { 7 }
}
