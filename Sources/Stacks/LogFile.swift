import CLinux
import SharedMemory

/// EF_LOG_FILE: opened at the first socket and kept as one of our own descriptors, so that a chroot or another user later
/// changes nothing, and fork children write into the same file. It ends with exec.
public enum LogFile {
    nonisolated(unsafe) private static var descriptor: Int32 = -1
    /// Of the file: a number that the program has closed past libc, and used again, gets nothing.
    nonisolated(unsafe) private static var inode: UInt64 = 0
    nonisolated(unsafe) private static var wasOpened = false
    /// A filter of system calls would kill this process for opening it.
    nonisolated(unsafe) private static var isForbidden = false

    /// The user wants one.
    static var isWanted: Bool { unsafe EnvironmentReview.logPath != nil }

    static func forbid() { unsafe isForbidden = true }

    /// Lines have their own place. False: they go to standard error.
    static var isInUse: Bool { unsafe wasOpened }

    /// Under the process lock. False: it was wanted, and cannot be had.
    static func open() -> Bool {
        guard let path = unsafe EnvironmentReview.logPath, unsafe !wasOpened else { return true }
        if unsafe !isForbidden { unsafe descriptor = unsafe OwnDescriptor.adopt(slc_open_log(path)) }
        guard unsafe descriptor >= 0 else { return false }
        unsafe inode = slc_inode(descriptor)
        unsafe wasOpened = true
        return true
    }

    static func write(_ text: UnsafePointer<CChar>, _ word: UnsafePointer<CChar>, _ number: Int) {
        unsafe OwnDescriptor.use(&descriptor) { fd in
            if unsafe slc_inode(fd) == inode { unsafe slc_log(fd, text, word, number) }
        }
    }

    /// Our descriptor has another number now. Under the process lock.
    public static func renumber(_ old: Int32, _ new: Int32) {
        if unsafe descriptor == old { unsafe descriptor = new }
    }

    /// To be closed: the program needs the number. Lines are lost from now on.
    public static func retireDescriptor() { unsafe OwnDescriptor.retire(&descriptor) }
}
