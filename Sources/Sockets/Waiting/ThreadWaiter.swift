import CLinux
import CStackLayout
import SharedMemory
import Stacks

/// What sleeps: a thread inside a blocking call, or an epoll set. Its bell is an event descriptor that peers of the same
/// trust write to. A private record.
@safe struct Waiter {
    var bell: Int32 = -1
    var isSet = false
    /// Of a set that is a member of another one, or polled.
    var isWatched = false
    /// Of the sleep under way or the last one.
    var number: UInt64 = 0
    /// Nonce of the process that made it: a fork child makes its own.
    var owner: UInt64 = 0
    /// Odd while its thread polls by numbers of ours; another number at each poll.
    var polls: UInt32 = 0
    var nextFree: UnsafeMutablePointer<Waiter>? = nil
    var nextOfAll: UnsafeMutablePointer<Waiter>? = nil
}

nonisolated(unsafe) private var freeWaiters: UnsafeMutablePointer<Waiter>? = nil
nonisolated(unsafe) private var allWaiters: UnsafeMutablePointer<Waiter>? = nil
/// What sets without a bell have, all the same one.
nonisolated(unsafe) private var deafWaiter: UnsafeMutablePointer<Waiter>? = nil
nonisolated(unsafe) private var exitKey: UInt32 = 0
nonisolated(unsafe) private var hasExitKey = false

extension Waiter {
    /// Of the calling thread, made at its first sleep. Nil: no descriptor or no memory.
    static func ofThread() -> UnsafeMutablePointer<Waiter>? {
        let me = unsafe slc_self()!
        if let w = unsafe known() { return unsafe w }
        guard let w = unsafe make(isSet: false) else { return nil }
        unsafe me.pointee.waiter = UInt64(UInt(bitPattern: w))
        watchThreadExit()
        return unsafe w
    }

    /// What the thread has from us is given back when it ends.
    static func watchThreadExit() {
        unsafe process.lock.acquire()
        if unsafe !hasExitKey { unsafe hasExitKey = unsafe pthread_key_create(&exitKey, { _ in Waiter.threadExits() }) == 0 }
        unsafe process.lock.release()
        if unsafe hasExitKey { _ = unsafe pthread_setspecific(exitKey, slc_self()) }
    }

    /// Of the calling thread, if it has one.
    static func known() -> UnsafeMutablePointer<Waiter>? {
        guard let w = unsafe UnsafeMutablePointer<Waiter>(bitPattern: UInt(slc_self()!.pointee.waiter)),
            unsafe w.pointee.owner == process.nonce
        else { return nil }
        return unsafe w
    }

    /// The waiter does not wait on the lane of `e` any more, which the caller holds. True when it was rung.
    static func silence(_ w: UnsafeMutablePointer<Waiter>, on e: Endpoint) -> Bool {
        guard let pair = unsafe e.local.pointee.pair, let region = unsafe e.region,
            let index = unsafe pair.known(UInt(bitPattern: w))
        else { return false }
        let rung = unsafe Sleeper.awake(sl_region_waiter(region, Int(e.pointee.side), index), number: w.pointee.number)
        let rx = unsafe sl_region_direction(region, Int(e.pointee.slot), 1 - Int(e.pointee.side))!
        let tx = unsafe sl_region_direction(region, Int(e.pointee.slot), Int(e.pointee.side))!
        _ = unsafe slc_and_u64(sl_data_waiters(rx), ~(1 << UInt64(index)))
        _ = unsafe slc_and_u64(sl_space_waiters(tx), ~(1 << UInt64(index)))
        return rung
    }

    static func make(isSet: Bool) -> UnsafeMutablePointer<Waiter>? {
        unsafe process.lock.acquire()
        defer { unsafe process.lock.release() }
        while let f = unsafe freeWaiters {
            unsafe freeWaiters = unsafe f.pointee.nextFree
            // Peers know its bell by its number already.
            guard unsafe f.pointee.owner == process.nonce else { continue }
            unsafe f.pointee.isSet = isSet
            unsafe silence(f)
            return unsafe f
        }
        let bell = OwnDescriptor.adopt(slc_eventfd(0, 0o2000000 | 0o4000))
        guard bell >= 0 else { return nil }
        guard let m = unsafe process.pool.take(MemoryLayout<Waiter>.stride) else {
            OwnDescriptor.close(bell)
            return nil
        }
        let w = unsafe m.assumingMemoryBound(to: Waiter.self)
        unsafe w.initialize(to: Waiter(bell: bell, isSet: isSet, number: slc_tsc() & 0xffff_ffff, owner: process.nonce))
        unsafe w.pointee.nextOfAll = unsafe allWaiters
        unsafe allWaiters = unsafe w
        return unsafe w
    }

    /// One without a bell: no peer can be told of it. Nil: no memory.
    static func deaf() -> UnsafeMutablePointer<Waiter>? {
        unsafe process.lock.acquire()
        defer { unsafe process.lock.release() }
        if unsafe deafWaiter == nil {
            unsafe deafWaiter = unsafe process.pool.take(MemoryLayout<Waiter>.stride)?.assumingMemoryBound(to: Waiter.self)
            unsafe deafWaiter?.initialize(to: Waiter(isSet: true))
        }
        return unsafe deafWaiter
    }

    /// Kept for the next one, with its bell and its numbers: a peer could not tell a new bell under an old number.
    static func retire(_ w: UnsafeMutablePointer<Waiter>) {
        unsafe process.lock.acquire()
        if unsafe w.pointee.owner == process.nonce && w != deafWaiter {
            unsafe endPoll(w)
            unsafe w.pointee.nextFree = unsafe freeWaiters
            unsafe freeWaiters = unsafe w
        }
        unsafe process.lock.release()
    }

    private static func threadExits() {
        guard unsafe process.isOwner else { return }
        Held.threadExits()
        let w = unsafe known()
        unsafe slc_self()!.pointee.waiter = 0
        if let w = unsafe w { unsafe retire(w) }
    }

    /// Was the waiter at this address made by this process, and not before a fork?
    static func isOurs(_ address: UInt) -> Bool {
        unsafe UnsafeMutablePointer<Waiter>(bitPattern: address)?.pointee.owner == process.nonce
    }

    /// From now on the thread looks up numbers of ours and polls by them.
    static func beginPoll(_ w: UnsafeMutablePointer<Waiter>?) {
        guard let w = unsafe w else { return }
        _ = unsafe slc_exchange_u32(&w.pointee.polls, (w.pointee.polls &+ 2) | 1)
    }

    static func endPoll(_ w: UnsafeMutablePointer<Waiter>?) {
        guard let w = unsafe w else { return }
        unsafe slc_release_u32(&w.pointee.polls, w.pointee.polls & ~1)
    }

    /// A bell has moved. Under the process lock.
    static func renumber(_ old: Int32, _ new: Int32) {
        var next = unsafe allWaiters
        while let w = unsafe next {
            unsafe next = unsafe w.pointee.nextOfAll
            if unsafe w.pointee.bell == old { unsafe w.pointee.bell = new }
        }
    }

    /// Numbers of ours have moved: the kernel looks them up at each turn of a poll, so whoever polls by them begins anew. Waits
    /// for that, a tenth of a second at most (a thread that has left its poll by siglongjmp never ends it). Under the process
    /// lock.
    static func pollAnew() {
        slc_fence()
        let me = unsafe known()
        let end = slc_now_ns() &+ 100_000_000
        var next = unsafe allWaiters
        while let w = unsafe next {
            unsafe next = unsafe w.pointee.nextOfAll
            let poll = unsafe slc_acquire_u32(&w.pointee.polls)
            guard unsafe w != me && poll & 1 != 0 && w.pointee.owner == process.nonce else { continue }
            _ = unsafe OwnDescriptor.ring(&w.pointee.bell)
            while unsafe slc_acquire_u32(&w.pointee.polls) == poll && slc_now_ns() < end {
                var pause = timespec(tv_sec: 0, tv_nsec: 20_000)
                _ = unsafe slc_ppoll(nil, 0, &pause, nil)
            }
        }
    }

    /// All bells but those that outer sets look at are to be closed. Under the process lock.
    static func retireBells() {
        var next = unsafe allWaiters
        while let w = unsafe next {
            unsafe next = unsafe w.pointee.nextOfAll
            if unsafe !w.pointee.isWatched { unsafe OwnDescriptor.retire(&w.pointee.bell) }
        }
    }

    /// Takes the rings out of the bell.
    static func silence(_ w: UnsafeMutablePointer<Waiter>) {
        unsafe OwnDescriptor.silence(&w.pointee.bell)
    }
}
