import Glibc

/// A stack's memfd, opened through /proc. It is read by `pread`, not mapped: a file that its owner shortens meanwhile
/// gives a short read here, where a mapping would give SIGBUS.
struct StackFile: StackSource, ~Copyable {
    private let descriptor: Int32
    let byteCount: Int
    /// Identifies the memory among all processes that hold it.
    let identity: FileIdentity

    /// What the link of such a descriptor in /proc/PID/fd says.
    static var linkText: String { "/memfd:sluice (deleted)" }

    /// Opens the link read-only; nil when it may not be opened or is no plain file. Never blocks.
    init?(path: String) {
        // A link of that text may also lead to a deleted FIFO or device of that name: neither wait for nor adopt it.
        descriptor = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG, status.st_size >= 0 else {
            close(descriptor)
            return nil
        }
        byteCount = Int(status.st_size)
        identity = FileIdentity(device: UInt64(status.st_dev), inode: UInt64(status.st_ino))
    }

    func read(_ offset: Int, _ count: Int) -> [UInt8]? {
        var isWhole = false
        let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
            while filled < count {
                let result = pread(descriptor, buffer.baseAddress! + filled, count - filled, off_t(offset + filled))
                if result < 0, errno == EINTR { continue }
                guard result > 0 else { return }
                filled += result
            }
            isWhole = true
        }
        return isWhole ? bytes : nil
    }

    deinit { close(descriptor) }
}

/// Device and inode number of a file.
struct FileIdentity: Hashable {
    var device: UInt64
    var inode: UInt64
}

extension FileIdentity {
    /// Of the file that the path leads to; nil when there is none.
    init?(path: String) {
        var status = stat()
        guard stat(path, &status) == 0 else { return nil }
        self.init(device: UInt64(status.st_dev), inode: UInt64(status.st_ino))
    }
}
