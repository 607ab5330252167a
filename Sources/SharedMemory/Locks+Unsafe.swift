import CLinux

/// A lock word in shared memory that outlives its holder: one `list_op_pending` entry of the thread's robust list names
/// the word while it is wanted or held, so that the kernel marks it FUTEX_OWNER_DIED and wakes a waiter when the thread
/// dies at any instruction (get_robust_list(2), the kernel's robust-futex-ABI). A thread holds at most one at a time. The holder is inside a critical section: handlers are
/// deferred, nothing waits.
@safe public struct RobustLock {
    let word: UnsafeMutablePointer<UInt32>

    @inline(__always) public init(_ word: UnsafeMutablePointer<UInt32>) { unsafe self.word = unsafe word }

    /// Takes the lock. True when the last holder died in its critical section: then what it began may be half done.
    @inline(__always) @discardableResult public func acquire() -> Bool {
        slc_enter()
        let me = unsafe slc_self()!
        if unsafe me.pointee.robust_head == 0 { unsafe RobustLock.learn(me) }
        let head = unsafe UnsafeMutablePointer<UInt64>(bitPattern: UInt(me.pointee.robust_head)).unsafelyUnwrapped
        unsafe me.pointee.robust_saved = unsafe head[2]
        unsafe head[2] = unsafe UInt64(UInt(bitPattern: word)) &- head[1]
        slc_compiler_fence()
        return unsafe slc_cas_u32(word, 0, me.pointee.tid) ? false : acquireSlow(me)
    }

    /// Gives the lock back; a full barrier.
    @inline(__always) public func release() {
        let old = unsafe slc_exchange_u32(word, 0)
        if old & RobustLock.waiters != 0 { _ = unsafe slc_futex_wake(word, 1) }
        let me = unsafe slc_self()!
        let head = unsafe UnsafeMutablePointer<UInt64>(bitPattern: UInt(me.pointee.robust_head)).unsafelyUnwrapped
        slc_compiler_fence()
        unsafe head[2] = unsafe me.pointee.robust_saved
        slc_leave()
    }

    static var waiters: UInt32 { 0x8000_0000 }
    static var ownerDied: UInt32 { 0x4000_0000 }
    static var tidMask: UInt32 { 0x3fff_ffff }

    @inline(never) static func learn(_ me: UnsafeMutablePointer<slc_thread>) {
        if unsafe me.pointee.tid == 0 { unsafe me.pointee.tid = UInt32(bitPattern: slc_gettid()) }
        var head: UInt = 0
        var length = 0
        let r = unsafe withUnsafeMutablePointer(to: &head) { h in
            unsafe withUnsafeMutablePointer(to: &length) { unsafe slc_get_robust_list(h, $0) }
        }
        // Without a list (no known libc does so) a private dummy keeps the path alike.
        unsafe me.pointee.robust_head = unsafe r == 0 && head != 0 ? UInt64(head) : UInt64(UInt(bitPattern: slc_no_robust_list()))
    }

    @inline(never) func acquireSlow(_ me: UnsafeMutablePointer<slc_thread>) -> Bool {
        let tid = unsafe me.pointee.tid
        var keep: UInt32 = 0
        var spins = 0
        while true {
            let v = unsafe slc_relaxed_u32(word)
            if v & RobustLock.tidMask == 0 {
                if unsafe slc_cas_u32(word, v, tid | keep | (v & RobustLock.waiters)) { return v & RobustLock.ownerDied != 0 }
                continue
            }
            if spins < 64 {
                spins &+= 1
                slc_pause()
                continue
            }
            if unsafe v & RobustLock.waiters == 0 && !slc_cas_u32(word, v, v | RobustLock.waiters) { continue }
            keep = RobustLock.waiters
            _ = unsafe slc_futex_wait(word, v | RobustLock.waiters, nil)
        }
    }
}

/// A lock of this process alone, for slow paths (tables, lists). Held in a critical section; fork takes it first.
public struct PrivateLock {
    var word: UInt32 = 0

    public init() {}

    public mutating func acquire() {
        slc_enter()
        unsafe withUnsafeMutablePointer(to: &word) { w in
            if unsafe slc_cas_u32(w, 0, 1) { return }
            while unsafe slc_exchange_u32(w, 2) != 0 { _ = unsafe slc_futex_wait(w, 2, nil) }
        }
    }

    public mutating func tryAcquire() -> Bool {
        slc_enter()
        let taken = unsafe withUnsafeMutablePointer(to: &word) { unsafe slc_cas_u32($0, 0, 1) }
        if !taken { slc_leave() }
        return taken
    }

    public mutating func release() {
        unsafe withUnsafeMutablePointer(to: &word) { w in
            if unsafe slc_exchange_u32(w, 0) == 2 { _ = unsafe slc_futex_wake(w, 1) }
        }
        slc_leave()
    }

    /// In a fork child: the holder was the forking thread, which is the child's only one.
    public mutating func resetAfterFork() {
        word = 0
        slc_leave()
    }
}
