import CLinux
import CStackLayout
import SharedMemory
import Stacks

/// What sleeps: a thread inside a blocking call, or an epoll set. Its bell is an event descriptor that peers of the same
/// trust write to. A private record.
struct Waiter {
    var bell: Int32 = -1
    var isSet = false
    /// Of the sleep under way or the last one.
    var number: UInt64 = 0
    /// Nonce of the process that made it: a fork child makes its own.
    var owner: UInt64 = 0
    var nextFree: UnsafeMutablePointer<Waiter>? = nil
}

nonisolated(unsafe) private var freeWaiters: UnsafeMutablePointer<Waiter>? = nil
nonisolated(unsafe) private var exitKey: UInt32 = 0
nonisolated(unsafe) private var hasExitKey = false

extension Waiter {
    /// Of the calling thread, made at its first sleep. Nil: no descriptor or no memory.
    static func ofThread() -> UnsafeMutablePointer<Waiter>? {
        let me = slc_self()!
        if let w = UnsafeMutablePointer<Waiter>(bitPattern: UInt(me.pointee.waiter)), w.pointee.owner == process.nonce {
            return w
        }
        guard let w = make(isSet: false) else { return nil }
        me.pointee.waiter = UInt64(UInt(bitPattern: w))
        process.lock.acquire()
        if !hasExitKey {
            hasExitKey = pthread_key_create(&exitKey, { p in Waiter.threadExits(p) }) == 0
        }
        process.lock.release()
        if hasExitKey { _ = pthread_setspecific(exitKey, w) }
        return w
    }

    static func make(isSet: Bool) -> UnsafeMutablePointer<Waiter>? {
        process.lock.acquire()
        defer { process.lock.release() }
        while let f = freeWaiters {
            freeWaiters = f.pointee.nextFree
            // Peers know its bell by its number already.
            guard f.pointee.owner == process.nonce else { continue }
            f.pointee.isSet = isSet
            silence(f)
            return f
        }
        let bell = OwnDescriptor.adopt(slc_eventfd(0, 0o2000000 | 0o4000))
        guard bell >= 0 else { return nil }
        guard let m = process.pool.take(MemoryLayout<Waiter>.stride) else {
            OwnDescriptor.close(bell)
            return nil
        }
        let w = m.assumingMemoryBound(to: Waiter.self)
        w.initialize(to: Waiter(bell: bell, isSet: isSet, number: slc_tsc() & 0xffff_ffff, owner: process.nonce))
        return w
    }

    /// Kept for the next one, with its bell and its numbers: a peer could not tell a new bell under an old number.
    static func retire(_ w: UnsafeMutablePointer<Waiter>) {
        process.lock.acquire()
        if w.pointee.owner == process.nonce {
            w.pointee.nextFree = freeWaiters
            freeWaiters = w
        }
        process.lock.release()
    }

    private static func threadExits(_ p: UnsafeMutableRawPointer?) {
        guard let w = p?.assumingMemoryBound(to: Waiter.self), process.isOwner else { return }
        slc_self()!.pointee.waiter = 0
        if w.pointee.owner == process.nonce { retire(w) }
    }

    /// Was the waiter at this address made by this process, and not before a fork?
    static func isOurs(_ address: UInt) -> Bool {
        UnsafeMutablePointer<Waiter>(bitPattern: address)?.pointee.owner == process.nonce
    }

    /// Takes the rings out of the bell.
    static func silence(_ w: UnsafeMutablePointer<Waiter>) {
        var n: UInt64 = 0
        _ = slc_read(w.pointee.bell, &n, 8)
    }
}
