import Glibc

/// A system call that failed, or a program that could not do its work; the text is for the user.
struct BenchError: Error, CustomStringConvertible {
    var description: String
    init(_ description: String) { self.description = description }
    /// With the text of `errno`.
    static func system(_ what: String) -> BenchError { BenchError("\(what): \(String(cString: strerror(errno)))") }
}

/// Monotonic time in nanoseconds.
func monotonicNanoseconds() -> UInt64 {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
}

/// The contents of a small file of /proc or /sys; nil when it cannot be read.
func contents(of path: String) -> String? {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    return readAll(descriptor)
}

/// Reads to the end of the file. Blocks.
func readAll(_ descriptor: Int32) -> String? {
    var bytes: [UInt8] = []
    var part = [UInt8](repeating: 0, count: 65536)
    while true {
        let count = read(descriptor, &part, part.count)
        if count == 0 { return String(decoding: bytes, as: UTF8.self) }
        if count < 0 {
            if errno == EINTR { continue }
            return nil
        }
        bytes.append(contentsOf: part[0..<count])
    }
}

/// Whether a program file can be started.
func isExecutable(_ path: String) -> Bool { access(path, X_OK) == 0 }

/// Whether the tool runs as root, which some servers do not like.
var runsAsRoot: Bool { geteuid() == 0 }

/// Writes a whole file.
func write(_ text: String, to path: String) throws { try write(text, to: path, O_CREAT | O_TRUNC) }

/// Writes to the end of a file that is there.
func append(_ text: String, to path: String) throws { try write(text, to: path, O_APPEND) }

private func write(_ text: String, to path: String, _ flags: Int32) throws {
    let descriptor = open(path, O_WRONLY | O_CLOEXEC | flags, 0o644)
    guard descriptor >= 0 else { throw BenchError.system(path) }
    defer { close(descriptor) }
    var bytes = Array(text.utf8)[...]
    while !bytes.isEmpty {
        let count = bytes.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
        guard count > 0 else { throw BenchError.system(path) }
        bytes = bytes.dropFirst(count)
    }
}

/// The two processors that pinned ends run on: the first two that the tool may use.
struct Cores {
    let server: Int
    let client: Int

    init(server: Int, client: Int) {
        self.server = server
        self.client = client
    }

    init() throws {
        var set = cpu_set_t()
        guard sched_getaffinity(0, MemoryLayout<cpu_set_t>.size, &set) == 0 else { throw BenchError.system("sched_getaffinity") }
        let allowed = withUnsafeBytes(of: &set) { bytes in
            (0..<bytes.count * 8).filter { bytes[$0 / 8] & (1 << UInt8($0 % 8)) != 0 }
        }
        guard allowed.count >= 2 else { throw BenchError("the benchmarks need two processors, \(allowed.count) is allowed") }
        (server, client) = (allowed[0], allowed[1])
    }
}

/// A port of 127.0.0.1 that was free a moment ago.
func freePort() throws -> UInt16 {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    guard descriptor >= 0 else { throw BenchError.system("socket") }
    defer { close(descriptor) }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let bound = withUnsafeMutablePointer(to: &address) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
            bind(descriptor, .init(__sockaddr__: $0), length) == 0
                && getsockname(descriptor, .init(__sockaddr__: $0), &length) == 0
        }
    }
    guard bound else { throw BenchError.system("a free port") }
    return UInt16(bigEndian: address.sin_port)
}

/// SIGINT, SIGTERM and SIGHUP end the tool in order: what it started is ended, its files are removed.
enum Interruption {
    private nonisolated(unsafe) static var signal: sig_atomic_t = 0
    static var happened: Bool { signal != 0 }

    static func watch() {
        var action = sigaction()
        action.__sigaction_handler.sa_handler = { Interruption.signal = $0 }
        for number in [SIGINT, SIGTERM, SIGHUP] { sigaction(number, &action, nil) }
    }

    static func check() throws {
        if happened { throw BenchError("interrupted") }
    }
}

/// A folder for the files of a program; `remove` when the program has ended.
struct Folder {
    let path: String

    init() throws {
        var template = Array("\(getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp")/sluicebench-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw BenchError.system("a temporary folder") }
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// Removes the folder with all that is in it.
    func remove() {
        nftw(path, { file, _, _, _ in file.map { Glibc.remove($0) } ?? 0 }, 16, Int32(FTW_DEPTH | FTW_PHYS))
    }
}

/// Blocks until something listens on the port of 127.0.0.1, at most five seconds.
func awaitListener(_ port: UInt16, of child: Child) throws {
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = port.bigEndian
    address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
    let end = monotonicNanoseconds() + 5_000_000_000
    while monotonicNanoseconds() < end && !Interruption.happened {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(descriptor) }
        let status = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, .init(__sockaddr__: $0), socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        if status == 0 { return }
        usleep(2000)
    }
    throw BenchError("\(child.name) does not listen on port \(port)")
}
