import CLinux
import CStackLayout
import SharedMemory
import Stacks

/// What one call of a thread holds while it may sleep. A call may never return: a handler leaves it by siglongjmp, or the
/// thread is cancelled in it. Then what it held is let go by the jump, by a close of the thread, or by the thread's end.
///
/// The records of a thread lie in memory of its own, the newest last. Only the thread and its handlers use them, and those
/// are put off meanwhile: whoever adds a record and makes what it tells true does both in one critical section.
@safe struct Held {
    enum Kind: UInt32 {
        /// An endpoint's lane (`Lane.hold`).
        case lane
        /// A plain call of the receiving or the sending half is counted.
        case receiving, sending
        /// Mapped memory; `number` is its length in bytes.
        case memory
    }
    var address: UInt
    /// Somewhere in the call's part of the stack.
    var frame: UInt64
    var kind: Kind
    /// The endpoint's generation.
    var number: UInt32

    typealias List = UnsafeMutablePointer<Held>
    static var firstBytes: Int { 512 }
    static var stride: Int { MemoryLayout<Held>.stride }
}

extension Held {
    /// In a critical section. Without memory the call goes on without a record.
    @inline(__always) static func note(_ kind: Kind, _ address: UInt, _ number: UInt32) {
        let me = unsafe slc_self()!
        let n = unsafe me.pointee.held_count
        if unsafe n == me.pointee.held_room && !grow(me) { return }
        guard let list = unsafe List(bitPattern: UInt(me.pointee.held)) else { return }
        // A profiler's handler is not put off: its calls go behind this one.
        unsafe list[Int(n)].address = 0
        unsafe me.pointee.held_count = n &+ 1
        slc_compiler_fence()
        unsafe list[Int(n)] = Held(address: address, frame: slc_frame(), kind: kind, number: number)
    }

    @inline(__always) static func note(_ kind: Kind, _ e: Endpoint) {
        unsafe note(kind, UInt(bitPattern: e), e.pointee.generation)
    }

    /// In a critical section: takes the newest such record out. Its number; nil when there is none.
    @discardableResult @inline(__always) static func drop(_ kind: Kind, _ address: UInt) -> UInt32? {
        let me = unsafe slc_self()!
        guard let list = unsafe List(bitPattern: UInt(me.pointee.held)) else { return nil }
        var i = unsafe Int(me.pointee.held_count)
        while i > 0 {
            i &-= 1
            if unsafe list[i].address == address && list[i].kind == kind {
                let number = unsafe list[i].number
                unsafe remove(me, list, i)
                return number
            }
        }
        return nil
    }

    @inline(__always) private static func remove(_ me: UnsafeMutablePointer<slc_thread>, _ list: List, _ index: Int) {
        let last = unsafe Int(me.pointee.held_count) &- 1
        var i = index
        while i < last {
            unsafe list[i] = unsafe list[i &+ 1]
            i &+= 1
        }
        unsafe me.pointee.held_count = UInt32(truncatingIfNeeded: last)
    }

    private static func bytes(_ room: UInt32) -> Int {
        var n = firstBytes
        while n / stride < Int(room) { n *= 2 }
        return n
    }

    /// Twice the room; at first some.
    @inline(never) private static func grow(_ me: UnsafeMutablePointer<slc_thread>) -> Bool {
        let room = unsafe me.pointee.held_room
        let old = room == 0 ? 0 : bytes(room)
        let fresh = room == 0 ? firstBytes : old * 2
        guard fresh <= 1 << 24 else { return false }
        unsafe process.lock.acquire()
        let m = unsafe fresh <= 65536 ? process.pool.take(fresh) : Memory.anonymous(fresh)
        unsafe process.lock.release()
        guard let m = unsafe m else { return false }
        if let list = unsafe UnsafeMutableRawPointer(bitPattern: UInt(me.pointee.held)) {
            _ = unsafe memcpy(m, list, old)
            unsafe giveBack(list, old)
        } else {
            Waiter.watchThreadExit()
        }
        unsafe me.pointee.held = UInt64(UInt(bitPattern: m))
        unsafe me.pointee.held_room = UInt32(truncatingIfNeeded: fresh / stride)
        return true
    }

    private static func giveBack(_ list: UnsafeMutableRawPointer, _ bytes: Int) {
        guard bytes <= 65536 else {
            _ = unsafe slc_munmap(list, bytes)
            return
        }
        unsafe process.lock.acquire()
        unsafe process.pool.give(list, bytes)
        unsafe process.lock.release()
    }
}

// MARK: calls that never return

extension Held {
    /// Lets go what `self` tells of; the record is out of the list.
    private func letGo() {
        switch kind {
        case .lane:
            guard let e = unsafe Endpoint(bitPattern: address), unsafe e.pointee.generation == number else { return }
            if let w = unsafe Waiter.known() { _ = unsafe Waiter.silence(w, on: e) }
            unsafe Lane.release(e)
        case .receiving, .sending:
            guard let e = unsafe Endpoint(bitPattern: address), unsafe e.pointee.generation == number else { return }
            let half = unsafe kind == .receiving ? e.rx : e.tx
            _ = unsafe slc_sub_u32(&half.pointee.plain_calls, 1)
        case .memory: Memory.unmap(UInt64(address), Int(number))
        }
    }

    /// Lets go all records from `first` on, the newest first.
    private static func letGo(from first: Int) {
        slc_enter()
        let me = unsafe slc_self()!
        while let list = unsafe List(bitPattern: UInt(me.pointee.held)), unsafe Int(me.pointee.held_count) > first {
            let last = unsafe me.pointee.held_count &- 1
            let record = unsafe list[Int(last)]
            unsafe me.pointee.held_count = last
            record.letGo()
        }
        slc_leave()
    }

    /// The thread ends.
    static func threadExits() {
        letGo(from: 0)
        slc_enter()
        let me = unsafe slc_self()!
        if let list = unsafe UnsafeMutableRawPointer(bitPattern: UInt(me.pointee.held)) {
            unsafe me.pointee.held = 0
            let room = unsafe me.pointee.held_room
            unsafe me.pointee.held_room = 0
            unsafe giveBack(list, bytes(room))
        }
        slc_leave()
    }

    /// In a fork child, whose only thread may be in a handler: its own calls go on.
    static func inheritedByChild() {
        let me = unsafe slc_self()!
        guard let list = unsafe List(bitPattern: UInt(me.pointee.held)) else { return }
        var i = 0
        while unsafe i < Int(me.pointee.held_count) {
            let record = unsafe list[i]
            i += 1
            switch record.kind {
            case .lane:
                guard let e = unsafe Endpoint(bitPattern: record.address) else { continue }
                if unsafe e.pointee.generation == record.number { unsafe e.local.pointee.users += 1 }
            case .receiving, .sending:
                guard let e = unsafe Endpoint(bitPattern: record.address), unsafe e.pointee.generation == record.number else {
                    continue
                }
                // The count is shared, and both processes will count down.
                let half = unsafe record.kind == .receiving ? e.rx : e.tx
                _ = unsafe slc_add_u32(&half.pointee.plain_calls, 1)
            case .memory: break
            }
        }
    }
}

/// Which frames are still in use, told by addresses: stacks grow down.
private struct SignalStack {
    private var low: UInt64 = 0
    private var high: UInt64 = 0

    init() { unsafe slc_signal_stack(&low, &high) }

    func contains(_ address: UInt64) -> Bool { address >= low && address < high }

    /// Does a jump to the stack pointer `target`, made by the frame `current`, leave `frame`? From a stack that is not
    /// known only what is certain.
    func jump(to target: UInt64, from current: UInt64, leaves frame: UInt64) -> Bool {
        if contains(frame) != contains(target) { return contains(frame) }
        guard frame < target else { return false }
        return unsafe slc_self()!.pointee.hidden_stack == 0 || current < frame
    }

    /// Is `frame` of a call that is over, since `current`, a little above it on the same stack, is in use?
    func shows(_ frame: UInt64, overBy current: UInt64) -> Bool {
        unsafe frame < current && current &- frame < 4096 && contains(frame) == contains(current)
            && slc_self()!.pointee.hidden_stack == 0
    }
}

/// The handler that interrupted the calls of this thread, or one of theirs, is about to jump. The oldest call that the
/// jump leaves was interrupted by what all later ones are part of. (A jump between stacks that the program switches by
/// itself, out of a handler, is not foreseen; C does not allow it.)
@c(sluice_before_jump) public func beforeJump(_ target: UInt64) {
    let me = unsafe slc_self()!
    // Out of a critical section, by a fault: what it changes is not whole.
    guard unsafe me.pointee.critical == 0, unsafe process.isOwner, let list = unsafe Held.List(bitPattern: UInt(me.pointee.held))
    else { return }
    let stack = SignalStack()
    let current = slc_frame()
    var i = 0
    while unsafe i < Int(me.pointee.held_count) && !stack.jump(to: target, from: current, leaves: list[i].frame) { i += 1 }
    Held.leave(from: i)
}

extension Held {
    fileprivate static func leave(from first: Int) { letGo(from: first) }

    /// Before a close by this thread: calls that were left in a way that nobody saw (cancellation whose cleanup closes, an
    /// exception thrown by a handler) let go what they hold, as far as that is certain.
    @inline(__always) static func sweep() {
        if unsafe slc_self()!.pointee.held_count != 0 { sweep(slc_frame()) }
    }

    @inline(never) private static func sweep(_ current: UInt64) {
        guard unsafe slc_self()!.pointee.critical == 0 else { return }
        let stack = SignalStack()
        slc_enter()
        let me = unsafe slc_self()!
        var i = 0
        while let list = unsafe List(bitPattern: UInt(me.pointee.held)), unsafe i < Int(me.pointee.held_count) {
            let record = unsafe list[i]
            if stack.shows(record.frame, overBy: current) {
                unsafe remove(me, list, i)
                record.letGo()
            } else {
                i += 1
            }
        }
        slc_leave()
    }
}
