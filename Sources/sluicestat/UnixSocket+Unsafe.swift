import CLinux
import Glibc

/// The address of a unix socket; nil when the path is empty or too long.
private func unixAddress(_ path: String) -> sockaddr_un? {
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    let bytes = Array(path.utf8)
    guard !bytes.isEmpty, bytes.count < MemoryLayout.size(ofValue: address.sun_path) else { return nil }
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
    return address
}

/// A listening unix socket at the path. A socket that nobody listens on any more is replaced; nothing else is.
func listenOn(_ path: String) throws(SocketFailure) -> Int32 {
    guard var address = unixAddress(path) else { throw SocketFailure(words: "the path is empty or too long") }
    let length = UInt32(MemoryLayout<sockaddr_un>.size)
    let descriptor = try newSocket()
    var result = slc_bind(descriptor, &address, length)
    if result == -Int(EADDRINUSE) {
        let probe = try newSocket()
        let answer = slc_connect(probe, &address, length)
        close(probe)
        var status = stat()
        if answer == -Int(ECONNREFUSED), lstat(path, &status) == 0, status.st_mode & S_IFMT == S_IFSOCK {
            unlink(path)
            result = slc_bind(descriptor, &address, length)
        }
    }
    if result == 0 { result = slc_listen(descriptor, 16) }
    guard result == 0 else {
        close(descriptor)
        throw SocketFailure(words: errorText(Int32(-result)))
    }
    return descriptor
}

private func newSocket() throws(SocketFailure) -> Int32 {
    // 1 is SOCK_STREAM; the flags of sockets are those of open.
    let descriptor = slc_socket(AF_UNIX, 1 | O_CLOEXEC | O_NONBLOCK, 0)
    guard descriptor >= 0 else { throw SocketFailure(words: errorText(Int32(-descriptor))) }
    return Int32(descriptor)
}

/// The next connection; nil when it has gone, or there is none. It does not block.
func acceptFrom(_ listener: Int32) -> Int32? {
    let descriptor = slc_accept4(listener, nil, nil, O_CLOEXEC | O_NONBLOCK)
    return descriptor < 0 ? nil : Int32(descriptor)
}

struct SocketFailure: Error {
    var words: String
}

/// Sends what there is room for: its count, or an error's number below 0. Neither waits nor raises SIGPIPE.
func sendSome(_ descriptor: Int32, _ bytes: ArraySlice<UInt8>) -> Int {
    bytes.withUnsafeBytes { slc_sendto(descriptor, $0.baseAddress, $0.count, 0x4040) }  // MSG_DONTWAIT | MSG_NOSIGNAL
}

/// Waits until a descriptor can be written or has failed, at most for so long.
func waitForRoom(_ descriptor: Int32, milliseconds: Int32) {
    var record = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
    _ = poll(&record, 1, milliseconds)
}
