import CLinux
import CStackLayout
import SharedMemory

/// What a tool wants to be captured: `sl_stack_header.capture`, read once.
@safe public struct CaptureWish {
    let word: UInt64

    var state: UInt64 { word & 0xf }
    public var ringBytes: Int { Int(SL_CAPTURE_LEAST) &<< Int(truncatingIfNeeded: word >> 4 & 0xf) }
    public var keptBytes: Int { Int(truncatingIfNeeded: word >> 32) }

    func includes(_ e: Endpoint) -> Bool {
        let proto = UInt16(truncatingIfNeeded: word >> 8 & 0xff)
        let port = UInt16(truncatingIfNeeded: word >> 16)
        if unsafe proto != 0 && proto != e.pointee.protocol { return false }
        return unsafe port == 0 || port == e.pointee.local.port || port == e.pointee.remote.port
    }
}

/// The part of a process's stack in which packets are captured. It is mapped when a tool asks for it, and stays so; until then it
/// costs nothing but a larger size of the sparse file. Each process writes to its own stack, whichever stack the endpoint
/// lies in: so one process writes the ring, under a lock that nobody holds who was killed.
public enum CaptureMemory {
    private static var offset: Int { Int(SL_CAPTURE_OFFSET) }

    /// The size of a stack's file, with this part if RLIMIT_FSIZE admits that.
    static func fileBytes(atLeast bytes: Int) -> Int {
        let whole = offset + CaptureRing.mappedBytes
        return bytes <= offset && StackMemory.fitsFileSizeLimit(whole) ? whole : bytes
    }

    /// Is the endpoint's traffic to be captured now? Then the ring is locked, and `end` must follow. The caller may hold the lock of
    /// a half or of a socket's flows.
    public static func begin(_ e: Endpoint, isReceived: Bool) -> CaptureWish? {
        if unsafe isReceived && e.pointee.watched == UInt32(SL_WATCHED_SENDING) { return nil }
        guard let wish = unsafe wish(e), unsafe wish.includes(e) else { return nil }
        if unsafe !process.capture.isMapped && !map() { return nil }
        unsafe process.captureLock.acquire()
        unsafe process.capture.begin()
        return wish
    }

    /// Gives the ring back. A packet that found no room: has the tool that asked for it ended?
    public static func end(isFull: Bool) {
        unsafe process.capture.end()
        if unsafe isFull && process.capture.isAbandoned() { setState(SL_CAPTURE_OFF) }
        unsafe process.captureLock.release()
    }

    private static func wish(_ e: Endpoint) -> CaptureWish? {
        // A fork child that has made no socket yet.
        if unsafe process.stack == nil {
            unsafe process.lock.acquire()
            _ = StackMemory.create()
            unsafe process.lock.release()
        }
        guard let stack = unsafe process.stack else { return nil }
        let wish = unsafe CaptureWish(word: slc_relaxed_u64(&stack.pointee.capture))
        if wish.state == UInt64(SL_CAPTURE_ON) { return wish }
        if wish.state == UInt64(SL_CAPTURE_OFF), let home = unsafe e.home, unsafe slc_relaxed_u64(&home.pointee.capture) == 0 {
            unsafe slc_set_u32(&e.pointee.watched, 0)
        }
        return nil
    }

    /// False: the process may not, or can't; then the tool is told so. Takes the process lock.
    @inline(never) private static func map() -> Bool {
        unsafe process.lock.acquire()
        defer { unsafe process.lock.release() }
        if unsafe process.capture.isMapped { return true }
        guard unsafe process.stackDescriptor >= 0, fitsFile(),
            let memory = unsafe Memory.shared(process.stackDescriptor, offset: offset, bytes: CaptureRing.mappedBytes)
        else {
            setState(SL_CAPTURE_REFUSED)
            return false
        }
        unsafe process.capture.use(memory)
        return true
    }

    /// Was the file made with this part? Memory beyond its end would be SIGBUS.
    private static func fitsFile() -> Bool {
        unsafe slc_is_sealed_memory(process.stackDescriptor, UInt64(offset + CaptureRing.mappedBytes)) == 1
    }

    private static func setState(_ state: Int) {
        guard let stack = unsafe process.stack else { return }
        let word = unsafe slc_relaxed_u64(&stack.pointee.capture)
        if word != 0 { _ = unsafe slc_cas_u64(&stack.pointee.capture, word, UInt64(state)) }
    }

    /// In a fork child.
    public static func afterFork() {
        unsafe process.capture.forget()
        unsafe process.captureLock = PrivateLock()
    }
}
