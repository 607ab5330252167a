import Glibc

/// The environment that programs are started with: that of the tool without whatever would change a plain program's sockets.
func cleanEnvironment() -> [String: String] {
    var result: [String: String] = [:]
    var next = environ
    while let entry = next.pointee {
        let text = String(cString: entry)
        next += 1
        guard let equals = text.firstIndex(of: "=") else { continue }
        let name = String(text[..<equals])
        if name == "LD_PRELOAD" || name.hasPrefix("EF_") || name.hasPrefix("SLUICE_") || name == "_NET_KERNEL_BYPASS_RECV_MODE" {
            continue
        }
        result[name] = String(text[text.index(after: equals)...])
    }
    return result
}

/// A program that the tool has started. It is reaped before `Child` is dropped, so that its processor time is counted as ours.
struct Child {
    let pid: pid_t
    let name: String
    /// Read end of its standard output; -1 when it was not asked for.
    private var output: Int32

    /// Starts a program.
    /// - Parameters:
    ///   - core: the only core it may use; nil leaves the tool's own set.
    ///   - captured: its standard output is kept for `finish`, else thrown away. Its standard error goes to the tool's when `loud`.
    init(_ arguments: [String], environment: [String: String], core: Int? = nil, captured: Bool = true, loud: Bool = true) throws
    {
        name = String(arguments[0].split(separator: "/").last ?? "?")
        var ends: [Int32] = [-1, -1]
        if captured, pipe2(&ends, O_CLOEXEC) != 0 { throw BenchError.system("pipe") }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        if captured {
            posix_spawn_file_actions_adddup2(&actions, ends[1], 1)
        } else {
            posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0)
        }
        if !loud { posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0) }
        var words: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) } + [nil]
        var variables: [UnsafeMutablePointer<CChar>?] = environment.map { strdup("\($0.key)=\($0.value)") } + [nil]
        defer { for word in words + variables { free(word) } }
        // A program begins with no signal blocked, whatever thread of the tool starts it.
        var attributes = posix_spawnattr_t()
        var none = sigset_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        sigemptyset(&none)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK))
        var started = pid_t(0)
        let status = try withCore(core) { posix_spawn(&started, arguments[0], &actions, &attributes, &words, &variables) }
        if captured { close(ends[1]) }
        guard status == 0 else {
            if captured { close(ends[0]) }
            throw BenchError("\(arguments[0]): \(String(cString: strerror(status)))")
        }
        pid = started
        output = ends[0]
    }

    /// Waits for the end of the program and gives its output. Throws when it ends with a status other than 0. Blocks as `outcome`.
    mutating func finish(within seconds: Double) throws -> String {
        let (status, text) = try outcome(within: seconds)
        guard status == 0 else { throw BenchError("\(name) ended with status \(status): \(text.prefix(300))") }
        return text
    }

    /// Waits for the end of the program: its exit status (128 and more: a signal) and its output.
    /// Blocks for at most `seconds`, or until the tool is interrupted; then the program is killed and an error thrown.
    mutating func outcome(within seconds: Double) throws -> (status: Int32, text: String) {
        var text: [UInt8] = []
        var part = [UInt8](repeating: 0, count: 65536)
        let end = monotonicNanoseconds() + UInt64(seconds * 1e9)
        while output >= 0 {
            let now = monotonicNanoseconds()
            var waited = pollfd(fd: output, events: Int16(POLLIN), revents: 0)
            let ready = now < end ? poll(&waited, 1, Int32((end - now) / 1_000_000 + 1)) : 0
            if ready < 0 && errno == EINTR && !Interruption.happened { continue }
            if ready <= 0 {
                stop(SIGKILL)
                try Interruption.check()
                throw BenchError("\(name) did not finish within \(seconds) s")
            }
            let count = read(output, &part, part.count)
            if count <= 0 {
                close(output)
                output = -1
            } else {
                text.append(contentsOf: part[0..<count])
            }
        }
        return (reap(), String(decoding: text, as: UTF8.self))
    }

    /// Ends the program by a signal, waits for that, and kills it when it takes longer than five seconds.
    mutating func stop(_ signal: Int32 = SIGTERM) {
        kill(pid, signal)
        let end = monotonicNanoseconds() + 5_000_000_000
        var status: Int32 = 0
        while waitpid(pid, &status, WNOHANG) == 0 {
            if monotonicNanoseconds() > end { kill(pid, SIGKILL) }
            usleep(1000)
        }
        if output >= 0 { close(output) }
        output = -1
    }

    /// User and system time so far of the program and of the processes that it has started, in nanoseconds; those that it has reaped are
    /// known to a tick of the kernel's clock.
    func processorNanoseconds() throws -> UInt64 {
        let children = (contents(of: "/proc/\(pid)/task/\(pid)/children") ?? "").split(whereSeparator: { $0 == " " || $0 == "\n" }
        )
        var sum = reapedNanoseconds
        for process in [pid] + children.compactMap({ pid_t($0) }) {
            var clock = clockid_t()
            var time = timespec()
            guard clock_getcpuclockid(process, &clock) == 0, clock_gettime(clock, &time) == 0 else {
                throw BenchError("\(name) is not running any more")
            }
            sum += UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
        }
        return sum
    }

    private var reapedNanoseconds: UInt64 {
        // Behind the name, which may hold anything: the fields from the third on.
        let fields = (contents(of: "/proc/\(pid)/stat") ?? "").split(separator: ")").last?.split(separator: " ") ?? []
        guard fields.count > 14, let user = UInt64(fields[13]), let system = UInt64(fields[14]) else { return 0 }
        return (user + system) * (1_000_000_000 / UInt64(sysconf(Int32(_SC_CLK_TCK))))
    }

    private func reap() -> Int32 {
        var status: Int32 = 0
        while waitpid(pid, &status, 0) < 0 && errno == EINTR {}
        return status & 0x7f == 0 ? (status >> 8) & 0xff : 128 + (status & 0x7f)
    }
}

/// Runs `body` while the tool itself may use one core only: a program started in it inherits that.
private func withCore<Result>(_ core: Int?, _ body: () -> Result) throws -> Result {
    guard let core else { return body() }
    var before = cpu_set_t()
    sched_getaffinity(0, MemoryLayout<cpu_set_t>.size, &before)
    defer { sched_setaffinity(0, MemoryLayout<cpu_set_t>.size, &before) }
    var only = cpu_set_t()
    withUnsafeMutableBytes(of: &only) { $0[core / 8] = 1 << UInt8(core % 8) }
    guard sched_setaffinity(0, MemoryLayout<cpu_set_t>.size, &only) == 0 else {
        throw BenchError.system("pinning to core \(core)")
    }
    return body()
}
