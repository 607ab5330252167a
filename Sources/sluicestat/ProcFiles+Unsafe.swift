import Glibc
import Synchronization

/// Names by number: each question reads a file, or asks a server.
private let userNames = Mutex<[UInt32: String]>([:])

/// The name of the user, or the number where it has none.
func userName(_ id: UInt32) -> String {
    userNames.withLock { names in
        if let name = names[id] { return name }
        let name = getpwuid(id)?.pointee.pw_name.map { String(cString: $0) } ?? String(id)
        names[id] = name
        return name
    }
}

/// The names in a directory but `.` and `..`; nil with errno when it can't be read.
func directoryEntries(_ path: String) -> [String]? {
    guard let directory = opendir(path) else { return nil }
    defer { closedir(directory) }
    var names: [String] = []
    while let entry = readdir(directory) {
        let name = withUnsafeBytes(of: &entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
        if name != "." && name != ".." { names.append(name) }
    }
    return names
}

/// What a symbolic link says; nil when it can't be read.
func linkText(_ path: String) -> String? {
    var bytes = [CChar](repeating: 0, count: 256)
    let count = readlink(path, &bytes, bytes.count)
    return count > 0 ? String(decoding: bytes[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self) : nil
}

/// The bytes of a file of /proc, at most 16 MB; nil when it can't be read.
func fileBytes(_ path: String) -> [UInt8]? {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    var bytes: [UInt8] = []
    var part = [UInt8](repeating: 0, count: 1 << 16)
    while bytes.count < 1 << 24 {
        let count = read(descriptor, &part, part.count)
        if count < 0, errno == EINTR { continue }
        guard count >= 0 else { return nil }
        if count == 0 { break }
        bytes += part[..<count]
    }
    return bytes
}
