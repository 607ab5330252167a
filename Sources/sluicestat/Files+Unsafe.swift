import Glibc

/// The words of an error number.
func errorText(_ number: Int32) -> String { String(cString: strerror(number)) }

/// Writes all bytes; nil, or the error.
func writeAll(_ descriptor: Int32, _ bytes: [UInt8]) -> Int32? {
    var done = 0
    while done < bytes.count {
        let count = bytes.withUnsafeBytes { write(descriptor, $0.baseAddress! + done, bytes.count - done) }
        if count < 0, errno == EINTR { continue }
        if count < 0 { return errno }
        done += count
    }
    return nil
}

/// Puts a file in its place, whole or not at all: written beside it under another name, then renamed. Returns nil, or what
/// went wrong.
func writeFile(_ path: String, _ text: String) -> String? {
    let scratch = "\(path).\(getpid()).new"
    let descriptor = open(scratch, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o644)
    guard descriptor >= 0 else { return errorText(errno) }
    var error = writeAll(descriptor, Array(text.utf8))
    if error == nil, fsync(descriptor) != 0 { error = errno }
    if close(descriptor) != 0, error == nil { error = errno }
    if error == nil, rename(scratch, path) != 0 { error = errno }
    guard let error else { return nil }
    unlink(scratch)
    return errorText(error)
}
