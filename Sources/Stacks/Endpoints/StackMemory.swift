import CLinux
import CStackLayout
import Counters
import Settings
import SharedMemory

/// The memory of a process's stack: one sealed memfd named "sluice", shared from the start, so that forked sharers see
/// endpoints, counts and locks, and tools read them without stopping the process. It is sparse and mapped in chunks of
/// 64 endpoints as they are needed; chunks are never unmapped, so an endpoint's address stays good.
public enum StackMemory {
    public static var capacity: UInt32 { 1 << 17 }
    static var chunkEndpoints: UInt32 { 64 }
    static var endpointBytes: Int { MemoryLayout<sl_endpoint>.stride }
    static var firstEndpoint: Int { 4096 }

    /// Makes the stack of this process. Under the process lock. False when memory or descriptors are missing.
    static func create() -> Bool {
        if unsafe process.stack != nil { return true }
        guard isAllowed() else { return false }
        let endpointsEnd = firstEndpoint + endpointBytes * Int(capacity)
        let bytes = CaptureMemory.fileBytes(atLeast: endpointsEnd + waitsBytes)
        let fd = unsafe OwnDescriptor.adopt(slc_memfd_create("sluice", UInt32(MFD_CLOEXEC_FLAG | MFD_ALLOW_SEALING_FLAG)))
        guard fd >= 0 else { return false }
        guard fitsFileSizeLimit(bytes), slc_ftruncate(fd, off_t(bytes)) == 0,
            slc_fcntl(fd, F_ADD_SEALS_NUMBER, Int(SEALS)) == 0,
            let header = unsafe Memory.shared(fd, offset: 0, bytes: firstEndpoint),
            let roots = unsafe Memory.anonymous(Int(capacity / chunkEndpoints) * 8)
        else {
            OwnDescriptor.close(fd)
            return false
        }
        let h = unsafe header.assumingMemoryBound(to: sl_stack_header.self)
        unsafe h.pointee.version = SL_LAYOUT_VERSION
        unsafe h.pointee.endpoint_bytes = UInt32(endpointBytes)
        unsafe h.pointee.nonce = unsafe process.nonce
        unsafe h.pointee.start_ns = slc_now_ns()
        unsafe h.pointee.pid = unsafe UInt32(bitPattern: process.pid)
        unsafe h.pointee.uid = slc_geteuid()
        unsafe h.pointee.first_endpoint = UInt32(firstEndpoint)
        unsafe h.pointee.endpoint_capacity = capacity
        unsafe h.pointee.settings_given = unsafe process.settings.given
        unsafe h.pointee.settings_bad = unsafe process.settings.bad
        unsafe tellSettings((UnsafeMutableRawPointer(h) + settingsOffset).assumingMemoryBound(to: Int64.self))
        _ = unsafe slc_own_name((UnsafeMutableRawPointer(h) + 64).assumingMemoryBound(to: CChar.self))
        unsafe process.chunks = unsafe roots.assumingMemoryBound(to: UnsafeMutableRawPointer?.self)
        unsafe process.stackDescriptor = fd
        if unsafe process.settings.latency { unsafe timeWaits(h, fd, at: endpointsEnd) }
        unsafe slc_release_u64(&h.pointee.magic, SL_STACK_MAGIC_VALUE)
        unsafe process.stack = unsafe h
        return true
    }

    /// In whole pages.
    private static var waitsBytes: Int { (MemoryLayout<sl_waits_area>.size + 4095) & ~4095 }

    /// Without memory for it waits are not timed.
    private static func timeWaits(_ h: UnsafeMutablePointer<sl_stack_header>, _ fd: Int32, at offset: Int) {
        guard let memory = unsafe Memory.shared(fd, offset: offset, bytes: waitsBytes) else { return }
        let area = unsafe memory.assumingMemoryBound(to: sl_waits_area.self)
        unsafe area.pointee.magic = SL_WAITS_MAGIC_VALUE
        unsafe area.pointee.kinds = UInt32(SL_WAIT_KINDS)
        unsafe area.pointee.buckets = UInt32(MemoryLayout<sl_waits>.size / 8 - 2)
        unsafe h.pointee.waits_offset = UInt64(offset)
        unsafe process.waits = unsafe area
    }

    /// What is in force, for tools.
    private static func tellSettings(_ words: UnsafeMutablePointer<Int64>) {
        var place = 0
        while place < Setting.count {
            if let setting = Setting(rawValue: place) { unsafe words[place] = unsafe process.settings.value(of: setting) }
            place += 1
        }
    }

    /// Of the settings in the header, as asserted in CStackLayout.
    private static var settingsOffset: Int { 96 }

    /// Under a filter of system calls that came before the program: would it kill at a call of ours? Asked once; fork children
    /// know the answer.
    static func isAllowed() -> Bool {
        if unsafe process.isTried { return unsafe !process.isRefused }
        unsafe process.isTried = true
        if slc_is_filtered() == 0 { return true }
        if LogFile.isWanted && slc_trial(0, 1) == 0 { LogFile.forbid() }
        if slc_trial(1, 0) == 1 { return true }
        slc_refuse_foreign_descriptors()
        unsafe process.isRefused = slc_trial(0, 0) == 0
        return unsafe !process.isRefused
    }

    /// A file larger than RLIMIT_FSIZE would raise SIGXFSZ in the program.
    static func fitsFileSizeLimit(_ bytes: Int) -> Bool {
        var now = rlimit()
        return unsafe slc_prlimit(1, nil, &now) == 0 && now.rlim_cur >= UInt64(bytes)
    }

    /// A fresh endpoint with its private record; nil when memory is missing. Takes the process lock.
    public static func allocate() -> Endpoint? {
        unsafe process.lock.acquire()
        defer { unsafe process.lock.release() }
        guard create(), let stack = unsafe process.stack, let chunks = unsafe process.chunks else { return nil }
        LentEndpoints.sweep()
        let index: UInt32
        let lock = unsafe RobustLock(&stack.pointee.lock)
        lock.acquire()
        let head = unsafe stack.pointee.free_head
        if head != 0, let chunk = unsafe chunks[Int((head &- 1) / chunkEndpoints)] {
            index = head &- 1
            unsafe stack.pointee.free_head = unsafe address(chunk, index).pointee.slot
            lock.release()
        } else {
            index = unsafe stack.pointee.endpoints_used
            if index >= capacity {
                lock.release()
                return nil
            }
            lock.release()
            if unsafe chunks[Int(index / chunkEndpoints)] == nil {
                let bytes = endpointBytes * Int(chunkEndpoints)
                guard
                    let m = unsafe Memory.shared(
                        process.stackDescriptor, offset: firstEndpoint + bytes * Int(index / chunkEndpoints), bytes: bytes)
                else { return nil }
                unsafe chunks[Int(index / chunkEndpoints)] = unsafe m
            }
            unsafe slc_set_u32(&stack.pointee.endpoints_used, index &+ 1)
        }
        guard let chunk = unsafe chunks[Int(index / chunkEndpoints)] else { return nil }
        let e = unsafe address(chunk, index)
        let generation = unsafe e.pointee.generation &+ 1
        var local = unsafe e.pointee.local_address
        if local == 0 {
            guard let record = unsafe process.pool.take(MemoryLayout<Local>.stride) else { return nil }
            local = UInt64(UInt(bitPattern: record))
        }
        // A forked sharer may be looking at it: the address of the private record never changes.
        var fresh = sl_endpoint()
        fresh.generation = generation
        fresh.index = index
        fresh.local_address = local
        fresh.owner = unsafe process.nonce
        fresh.stack_address = UInt64(UInt(bitPattern: stack))
        fresh.descriptors = 1
        fresh.watched = unsafe slc_relaxed_u64(&stack.pointee.capture) != 0 ? UInt32(SL_WATCHED) : 0
        unsafe e.initialize(to: fresh)
        unsafe e.local.initialize(to: Local())
        unsafe e.local.pointee.descriptors = 1
        return unsafe e
    }

    /// All endpoints of the stack, also those whose places are free. Under the process lock.
    public static func each(_ body: (Endpoint) -> Void) {
        guard let stack = unsafe process.stack else { return }
        var index: UInt32 = 0
        while unsafe index < min(stack.pointee.endpoints_used, capacity) {
            if let e = unsafe at(index), unsafe e.pointee.local_address != 0 { unsafe body(e) }
            index += 1
        }
    }

    /// The endpoint of that number, nil when there is none yet.
    static func at(_ index: UInt32) -> Endpoint? {
        guard index < capacity, let chunk = unsafe process.chunks?[Int(index / chunkEndpoints)] else { return nil }
        return unsafe address(chunk, index)
    }

    @inline(__always) static func address(_ chunk: UnsafeMutableRawPointer, _ index: UInt32) -> Endpoint {
        unsafe (chunk + endpointBytes * Int(index % chunkEndpoints)).assumingMemoryBound(to: sl_endpoint.self)
    }

    /// An endpoint has no descriptors any more, in any process. In a forked sharer, whose private record is a copy, the owner
    /// finds it among those that it has lent.
    public static func free(_ e: Endpoint) {
        unsafe slc_release_u32(&e.pointee.state, UInt32(SL_ENDPOINT_FREE))
        if unsafe e.pointee.owner == process.nonce { unsafe recycle(e) }
    }

    /// The owner may use the slot again.
    static func recycle(_ e: Endpoint) {
        guard let stack = unsafe UnsafeMutablePointer<sl_stack_header>(bitPattern: UInt(e.pointee.stack_address)) else { return }
        let lock = unsafe RobustLock(&stack.pointee.lock)
        lock.acquire()
        unsafe e.pointee.generation = unsafe e.pointee.generation &+ 1
        unsafe count(StackCounter.ringBytesEnded, e.pointee.counters.rx_ring_bytes &+ e.pointee.counters.tx_ring_bytes)
        unsafe e.pointee.slot = unsafe stack.pointee.free_head
        unsafe stack.pointee.free_head = unsafe e.pointee.index &+ 1
        lock.release()
    }

    static var MFD_CLOEXEC_FLAG: Int32 { 1 }
    static var MFD_ALLOW_SEALING_FLAG: Int32 { 2 }
    static var F_ADD_SEALS_NUMBER: Int32 { 1033 }
    /// SEAL, SHRINK, GROW.
    static var SEALS: Int32 { 1 | 2 | 4 }
    static var SL_STACK_MAGIC_VALUE: UInt64 { 0x6b63_6174_7373_6c73 }
    static var SL_WAITS_MAGIC_VALUE: UInt64 { 0x7374_6961_7773_636c }
}

/// What one process keeps privately for an endpoint. A fork child has a copy at the same address.
@safe public struct Local {
    /// Descriptors of this process that refer to the endpoint.
    public var descriptors: Int32 = 0
    /// Those of them that the shared count has lost already, since the process is ending. Under the process lock.
    public var countedOut: Int32 = 0
    /// Number of the last fork, the descriptors that were counted for its child, and whether the endpoint was shared before.
    public var lastFork: UInt32 = 0
    public var countedByFork: Int32 = 0
    public var wasShared = false
    /// Calls that sleep with the lane's memory in use; the mapping goes with the last of them.
    public var users: UInt32 = 0
    public var unmapWhenIdle = false
    /// With it: nobody else of this side uses the lane, so that its slot is left too.
    public var leavesSlot = false
    /// The two rings of the lane as mapped here, 0: not mapped; and the bytes of one.
    public var rings: UInt = 0
    public var ringBytes: UInt64 = 0
    /// The endpoint's generation then: in a sharer, its place may be another socket's by now.
    public var generation: UInt32 = 0
    /// The next one of those that only sharers hold.
    public var nextLent: Endpoint? = nil
    /// The kernel tells whether any process holds it, and did so in this reading last (LentEndpoints).
    public var isObserved = false
    public var seenIn: UInt32 = 0
    /// The program closed its last descriptor while a call sleeps on it: as the kernel keeps the file until that call
    /// returns, we keep it under this number, and end in order then.
    public var kept: Int32 = -1
    /// 1 while a thread works on the meeting.
    public var meetingBusy: UInt32 = 0
    public var meeting = Meeting()
    /// Of a flow: the inode of its peer's socket, 0: not known.
    public var farInode: UInt64 = 0
    /// Of a UDP socket: its peers (Sockets).
    public var flows: UnsafeMutableRawPointer? = nil
    /// Of a UDP socket: what its calls change in its flows, receiving and sending (Sockets).
    public var flowsRx = PrivateLock()
    public var flowsTx = PrivateLock()
    /// Of a UDP socket: bits of the options by which it is told more than the sender of a datagram; of a flow, what it is told (Sockets).
    public var told: UInt8 = 0
    /// Of a UDP socket: it has joined a group.
    public var joinsGroups = false
    public var ancillary: UnsafeMutableRawPointer? = nil
    /// First membership in an epoll set (Sockets).
    public var memberships: UnsafeMutableRawPointer? = nil
    /// Number of the descriptor last used for it, for calls of our own.
    public var descriptor: Int32 = -1
    public var pair: UnsafeMutablePointer<Pair>? = nil
    public var region: Int32 = -1
    /// Somebody of another user came to a meeting, and not both sides consent: the other end, or an impostor.
    public var hadStranger = false
    /// Meetings that failed.
    public var tries: UInt32 = 0
    public var slot: Int32 = -1

    public init() {}
}

extension UnsafeMutablePointer where Pointee == sl_endpoint {
    @inline(__always) public var local: UnsafeMutablePointer<Local> {
        unsafe UnsafeMutablePointer<Local>(bitPattern: UInt(pointee.local_address)).unsafelyUnwrapped
    }
}
