import CLinux
import Glibc

/// SIGINT, SIGTERM and SIGHUP, blocked from now on, as a descriptor that can be waited for; -1 when there is none.
func endSignals() -> Int32 {
    var set = sigset_t()
    sigemptyset(&set)
    for number in [SIGINT, SIGTERM, SIGHUP] { sigaddset(&set, number) }
    sigprocmask(SIG_BLOCK, &set, nil)
    let descriptor = withUnsafePointer(to: &set) { set in
        Int32(max(-1, slc_syscall4(Int(SYS_signalfd4), -1, Int(bitPattern: set), 8, Int(O_CLOEXEC | O_NONBLOCK))))
    }
    if descriptor < 0 { sigprocmask(SIG_UNBLOCK, &set, nil) }
    return descriptor
}

/// The signal that has come, or nil.
func readSignal(_ descriptor: Int32) -> Int32? {
    // signalfd_siginfo, which begins with the number.
    var record = [UInt8](repeating: 0, count: 128)
    guard read(descriptor, &record, record.count) == record.count else { return nil }
    return record.number(Int32.self, at: 0)
}

/// Ends the tool by this signal, as if it had never been blocked.
func endTool(by number: Int32) -> Never {
    var set = sigset_t()
    sigemptyset(&set)
    sigaddset(&set, number)
    signal(number, SIG_DFL)
    raise(number)
    sigprocmask(SIG_UNBLOCK, &set, nil)
    exit(128 + number)
}

/// Waits until one of the descriptors can be read, has ended or failed, at most for so many milliseconds (-1: for ever).
/// Returns for each whether it is so.
func waitForInput(_ descriptors: [Int32], milliseconds: Int32) -> [Bool] {
    var records = descriptors.map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
    guard poll(&records, nfds_t(records.count), milliseconds) > 0 else { return records.map { _ in false } }
    return records.map { $0.revents != 0 }
}

/// Milliseconds on the monotonic clock.
func milliseconds() -> Int64 {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000
}
