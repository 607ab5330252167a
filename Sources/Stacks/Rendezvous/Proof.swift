import CLinux
import CStackLayout
import Counters
import Settings
import SharedMemory

/// Who may share memory with us: the same effective user with the same capabilities, or whom EF_SHARE_WITH names on both sides.
public enum Consent {
    /// `pid`: 0 when the process is of another pid namespace, whose capabilities cannot be asked for.
    public static func admits(_ uid: UInt32, _ pid: Int32) -> Bool {
        if uid == slc_geteuid() && (pid == 0 || slc_has_our_capabilities(pid) != 0) { return true }
        let with = unsafe process.settings.shareWith
        return with == -1 || with > 0 && with == Int64(uid)
    }
}

/// Possession of the far end: the epoll set that came over the channel has one member, and its inode is the one that
/// sock_diag reports for the far end of our own connection. Whoever could add that socket to a set holds it.
enum Proof {
    static func check(_ set: Int32, _ e: Endpoint) -> Reason {
        var member: UInt64 = 0
        let r = unsafe slc_epoll_member_inode(set, &member)
        if r == -Int(ENOENT) || r == -Int(EACCES) || r == -Int(EOPNOTSUPP) { return .noProof }
        guard r == 0 else { return .proof }
        guard let inode = unsafe farInode(e) else { return .noProof }
        return inode != 0 && inode == member ? .none : .proof
    }

    /// The inode of the far end of `e`, 0 when there is none in this namespace, nil when it cannot be asked.
    static func farInode(_ e: Endpoint) -> UInt64? {
        guard let diag = Diagnosis() else { return nil }
        defer { diag.end() }
        guard unsafe diag.namespace == e.pointee.netns_cookie else { return 0 }
        var inode: UInt32 = 0
        var far = unsafe slc_address(e.pointee.remote)
        var near = unsafe slc_address(e.pointee.local)
        let r = unsafe slc_diag_inode(diag.fd, Int32(e.pointee.protocol), &far, &near, &inode)
        if r == -Int(ENOENT) { return 0 }
        return r == 0 ? UInt64(inode) : nil
    }
}

/// A sock_diag socket of the calling thread's network namespace, and the cookie of that. Nil: not to be had here.
private struct Diagnosis {
    let fd: Int32
    var namespace: UInt64 = 0

    init?() {
        let s = slc_socket(16, 3 | 0o2000000, 4)  // AF_NETLINK, SOCK_RAW | CLOEXEC, NETLINK_SOCK_DIAG
        guard s >= 0 else { return nil }
        fd = Int32(truncatingIfNeeded: s)
        var n: UInt32 = 8
        guard unsafe slc_getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &namespace, &n) == 0 else {
            _ = slc_close(fd)
            return nil
        }
    }

    func end() { _ = slc_close(fd) }
}

/// Whether the far end of `e` is a socket of this host and namespace. Nil: cannot be asked.
public func farEndIsHere(_ e: Endpoint) -> Bool? {
    guard let inode = unsafe Proof.farInode(e) else { return nil }
    return inode != 0
}

/// The inode of the far end of `e`; 0: not here, nil: cannot be asked.
public func farEndInode(_ e: Endpoint) -> UInt64? { unsafe Proof.farInode(e) }

extension slc_address {
    public init(_ a: sl_address) {
        self.init(ip: a.ip, port: a.port, family: a.family, scope: a.scope)
    }
}
