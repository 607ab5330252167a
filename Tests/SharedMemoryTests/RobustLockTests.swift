import CLinux
import CTestSupport
import SharedMemory
import Testing

/// Words that a forked child and we have in common.
private struct SharedWords: @unchecked Sendable {
    let lock: UnsafeMutablePointer<UInt32>
    /// 1 once the child holds the lock.
    let held: UnsafeMutablePointer<UInt32>
    /// Critical sections begun and ended; equal while nobody is inside.
    let begun: UnsafeMutablePointer<UInt64>
    let ended: UnsafeMutablePointer<UInt64>
    private let page: UnsafeMutableRawPointer

    init() {
        let fd = Int32(slc_memfd_create("words", 1))
        precondition(slc_ftruncate(fd, 4096) == 0)
        page = Memory.shared(fd, offset: 0, bytes: 4096)!
        slc_close(fd)
        lock = page.assumingMemoryBound(to: UInt32.self)
        held = lock + 16
        begun = (page + 256).assumingMemoryBound(to: UInt64.self)
        ended = begun + 1
        // Nothing is made at first use in the child.
        RobustLock(lock).acquire()
        RobustLock(lock).release()
    }

    func free() { Memory.unmap(UInt64(UInt(bitPattern: page)), 4096) }

    /// Runs `body` in a child whose thread is known to the lock anew.
    func child(_ body: @escaping @convention(c) (UnsafeMutableRawPointer?) -> Int32) -> pid_t { CTestSupport_fork(body, page) }

    /// In a child, from the context.
    static func lock(_ context: UnsafeMutableRawPointer?) -> UnsafeMutablePointer<UInt32> {
        let me = slc_self()!
        me.pointee.tid = 0
        me.pointee.robust_head = 0
        return context!.assumingMemoryBound(to: UInt32.self)
    }

    func waitUntilHeld() {
        while slc_acquire_u32(held) == 0 { CTestSupport_yield() }
    }
}

@Suite(.serialized, .timeLimit(.minutes(2))) struct RobustLockTests {
    @Test("taken and given back: nothing of it is left in the thread's robust list")
    func plain() {
        let words = SharedWords()
        defer { words.free() }
        let me = slc_self()!
        let critical = me.pointee.critical
        let pending = UnsafePointer<UInt64>(bitPattern: UInt(me.pointee.robust_head))! + 2
        let before = pending.pointee
        RobustLock(words.lock).acquire()
        #expect(words.lock.pointee & 0x3fff_ffff == UInt32(bitPattern: slc_gettid()))
        #expect(me.pointee.critical == critical + 1 && pending.pointee != before)
        RobustLock(words.lock).release()
        #expect(words.lock.pointee == 0 && me.pointee.critical == critical && pending.pointee == before)
    }

    @Test("threads exclude each other")
    func exclusion() {
        let words = SharedWords()
        defer { words.free() }
        nonisolated(unsafe) var count = 0
        inThreads(4) { _ in
            for _ in 0..<20_000 {
                RobustLock(words.lock).acquire()
                count += 1
                RobustLock(words.lock).release()
            }
        }
        #expect(count == 80_000 && words.lock.pointee == 0)
    }

    @Test("the holder is killed: a survivor acquires")
    func ownerDies() {
        let words = SharedWords()
        defer { words.free() }
        let holder = words.child { context in
            let lock = SharedWords.lock(context)
            RobustLock(lock).acquire()
            slc_release_u32(lock + 16, 1)
            while true { _ = slc_ppoll(nil, 0, nil, nil) }
        }
        words.waitUntilHeld()
        #expect(words.lock.pointee & 0x3fff_ffff == UInt32(holder))
        CTestSupport_kill(holder)
        #expect(words.lock.pointee == 0x4000_0000, "FUTEX_OWNER_DIED, nobody waits")
        #expect(survivorStatus(words) == 0)
        #expect(words.lock.pointee == 0)
    }

    @Test("the holder is killed while a survivor sleeps on the lock")
    func ownerDiesUnderWaiter() {
        let words = SharedWords()
        defer { words.free() }
        let holder = words.child { context in
            let lock = SharedWords.lock(context)
            RobustLock(lock).acquire()
            slc_release_u32(lock + 16, 1)
            while true { _ = slc_ppoll(nil, 0, nil, nil) }
        }
        words.waitUntilHeld()
        let waiter = words.child(Self.survive)
        // FUTEX_WAITERS: it is about to sleep or sleeps.
        while slc_acquire_u32(words.lock) & 0x8000_0000 == 0 { CTestSupport_yield() }
        CTestSupport_kill(holder)
        let status = CTestSupport_await(waiter, 10_000)
        if status == -1 { CTestSupport_kill(waiter) }
        #expect(status == 0)
        #expect(words.lock.pointee == 0)
    }

    @Test("killed at any moment of taking and giving back")
    func killedAnywhere() {
        for round in 0..<60 where !killed(after: round * 37) { return }
    }

    private func killed(after pauses: Int) -> Bool {
        let words = SharedWords()
        defer { words.free() }
        let holder = words.child { context in
            let lock = SharedWords.lock(context)
            let begun = (context! + 256).assumingMemoryBound(to: UInt64.self)
            slc_release_u32(lock + 16, 1)
            while true {
                RobustLock(lock).acquire()
                slc_set_u64(begun, begun.pointee &+ 1)
                slc_set_u64(begun + 1, begun.pointee)
                RobustLock(lock).release()
            }
        }
        words.waitUntilHeld()
        for _ in 0..<pauses { slc_pause() }
        CTestSupport_kill(holder)
        #expect(words.begun.pointee == words.ended.pointee || words.begun.pointee == words.ended.pointee + 1)
        let status = survivorStatus(words)
        #expect(status == 0, "after \(pauses) pauses")
        return status == 0
    }

    private static let survive: @convention(c) (UnsafeMutableRawPointer?) -> Int32 = { context in
        let lock = SharedWords.lock(context)
        RobustLock(lock).acquire()
        RobustLock(lock).release()
        return 0
    }

    /// The exit status of a child that takes the lock and gives it back; -1 when it hangs.
    private func survivorStatus(_ words: SharedWords) -> Int32 {
        let child = words.child(Self.survive)
        let status = CTestSupport_await(child, 10_000)
        if status == -1 { CTestSupport_kill(child) }
        return status
    }

    @Test("a private lock excludes, can be tried, and is free in a fork child")
    func privateLock() {
        nonisolated(unsafe) var lock = PrivateLock()
        nonisolated(unsafe) var count = 0
        inThreads(4) { _ in
            for _ in 0..<10_000 {
                lock.acquire()
                count += 1
                lock.release()
            }
        }
        #expect(count == 40_000)
        let tries = [lock.tryAcquire(), lock.tryAcquire()]
        #expect(tries == [true, false])
        lock.resetAfterFork()
        let again = lock.tryAcquire()
        #expect(again)
        lock.release()
        #expect(slc_self()!.pointee.critical == 0)
    }
}
