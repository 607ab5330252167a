import Glibc

/// A process as /proc shows it.
struct ProcessRecord {
    var id: Int32
    var userID: UInt32
    /// Descriptors by the inode number of their socket.
    var socketDescriptors: [UInt64: [Int32]]
    /// Descriptors whose link says that they are a stack.
    var stackDescriptors: [Int32]

    /// Identifies its network namespace; nil when /proc does not tell.
    var namespace: String? { linkText("/proc/\(id)/ns/net") }

    /// Did it make the stack that says so of its maker? (In a container it knows itself by another number.)
    func made(_ header: StackHeader) -> Bool {
        UInt32(bitPattern: id) == header.processID || innerID == header.processID
    }

    /// The process id that it has in its own namespace; nil when /proc does not tell.
    private var innerID: UInt32? {
        let lines = (fileBytes("/proc/\(id)/status") ?? []).split(separator: UInt8(ascii: "\n"))
        guard let line = lines.first(where: { $0.starts(with: "NSpid:".utf8) }) else { return nil }
        return line.split(whereSeparator: { $0 == 9 || $0 == 32 }).last.flatMap { UInt32(String(decoding: $0, as: UTF8.self)) }
    }

    /// The short name of the program.
    var command: String {
        guard let bytes = fileBytes("/proc/\(id)/comm") else { return "-" }
        return printable(bytes.prefix { $0 != UInt8(ascii: "\n") })
    }

    /// Is it called so, by its short name (of 15 letters at most) or by its program's file?
    func isNamed(_ names: Set<String>) -> Bool {
        if names.contains(command) { return true }
        guard let file = linkText("/proc/\(id)/exe")?.split(separator: "/").last else { return false }
        return names.contains(String(file))
    }

    /// The program with its arguments, or the short name where there are none.
    var commandLine: String {
        guard let bytes = fileBytes("/proc/\(id)/cmdline"), !bytes.isEmpty else { return command }
        let trimmed = bytes.last == 0 ? bytes.dropLast() : bytes[...]
        return printable(trimmed.map { $0 == 0 ? UInt8(ascii: " ") : $0 })
    }

    /// Reads the descriptors of a process; nil when it is gone or may not be read (see errno).
    init?(id: Int32) {
        let directory = "/proc/\(id)"
        var status = stat()
        guard stat(directory, &status) == 0, let names = directoryEntries("\(directory)/fd") else { return nil }
        self.id = id
        userID = status.st_uid
        socketDescriptors = [:]
        stackDescriptors = []
        for name in names {
            guard let descriptor = Int32(name) else { continue }
            guard let text = linkText("\(directory)/fd/\(name)") else {
                // A process may be protected so that its descriptors are listed, but not told.
                if errno == EACCES || errno == EPERM { return nil }
                continue
            }
            if text.hasPrefix("socket:["), let inode = UInt64(text.dropFirst(8).dropLast()) {
                socketDescriptors[inode, default: []].append(descriptor)
            } else if text == StackFile.linkText {
                stackDescriptors.append(descriptor)
            }
        }
        stackDescriptors.sort()
        for inode in socketDescriptors.keys { socketDescriptors[inode]?.sort() }
    }
}

/// All processes whose descriptors the user may read, and how many were skipped because he may not.
struct ProcessScan {
    var processes: [ProcessRecord] = []
    var unreadable = 0

    init() {
        for name in directoryEntries("/proc") ?? [] {
            guard let id = Int32(name), id > 0 else { continue }
            errno = 0
            if let process = ProcessRecord(id: id) {
                processes.append(process)
            } else if errno == EACCES || errno == EPERM {
                unreadable += 1
            }
        }
        processes.sort { $0.id < $1.id }
    }
}
