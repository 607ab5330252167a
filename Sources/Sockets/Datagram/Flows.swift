import CLinux
import CStackLayout
import Counters
import Settings
import SharedMemory
import Stacks

/// The bit of flow `i`, below `Flows.most`, in a word of flows.
@inline(__always) func flowBit(_ i: Int) -> UInt64 { 1 &<< UInt64(truncatingIfNeeded: i) }

/// One peer of a UDP socket, by its address as this socket sees it.
@safe struct Flow {
    var remote = sl_address()
    /// Datagrams of both directions by the kernel, until a lane is tried.
    var messages: UInt32 = 0
    /// Of each direction, also behind that: what was sent under `flowsTx`, what has come under `flowsRx`. Of two ends that have known
    /// each other from the first one on these are equal when nothing is under way.
    var sent: UInt64 = 0
    var received: UInt64 = 0
    /// Time stamp counter before the first of those, behind the first of these.
    var sentSince: UInt64 = 0
    var receivedSince: UInt64 = 0
    /// From the first one on: the entry is the first of this address.
    var isWhole = true
    /// What its sender had sent by the kernel before the queue was looked at. Under `flowsRx`.
    var counted: UInt64 = 0
    /// Datagrams that were sent by the kernel and are missed, and since when by the time stamp counter; 0: none are.
    var lateMissing: UInt64 = 0
    var lateSince: UInt64 = 0
    /// No meeting before so many.
    var nextAttempt: UInt32 = 0
    /// How many there were when a place was looked for last.
    var messagesThen: UInt32 = 0
    /// Set once, when the first meeting begins: a lane to this peer is an endpoint of its own.
    var endpoint: Endpoint? = nil
}

/// The peers of a UDP socket. A private record of the process, made with the socket's first datagram. It is found, changed and
/// freed under `Local.flowsRx` (what is received), `flowsTx` (what is sent), or both; where both are taken, in this order.
///
/// A datagram goes by the ring only while the receiver is awake, which it says per flow (`sl_direction.rx_control`). Before it
/// sleeps, in whatever call, it takes that back and looks once more; then the kernel carries the datagram that wakes it, and
/// those behind it find the ring open again. So nobody needs a bell, and the kernel's own ways of waiting stay what they are.
@safe struct Flows {
    static var most: Int { 64 }
    /// How long a datagram may be on its way on a busy machine, in us.
    static var lateUs: UInt64 { 200_000 }
    /// How long counts must differ by the same number before it is taken for lost, in us.
    static var lostUs: UInt64 { 100_000 }
    /// How long where nothing of this host waits on its way, in us.
    static var quietUs: UInt64 { 5_000 }

    /// Taken with either of the others held: entries are added, meetings go on.
    var lock = PrivateLock()
    var used: UInt32 = 0
    /// Flows with a lane; 0: all is the kernel's. Atomic.
    var open: UInt32 = 0
    /// Bits of flows, all under `flowsRx`. A lane that the process's epoll sets know of.
    var isKnown: UInt64 = 0
    /// `sl_half.kernel_bytes` is the sender's count of what has come by the kernel: both were equal once, or nothing came for long.
    var isCounted: UInt64 = 0
    /// Datagrams may lie in the ring, or come into it. Where the bit is missing, the ring is empty, or a datagram by the kernel
    /// was sent before those in it.
    var hasStock: UInt64 = 0
    /// Time stamp counter of the last look for packets that wait for a CPU, and the pause behind it.
    var backlogLook: UInt64 = 0
    var backlogPause: UInt64 = 0
    /// One thread has received while another slept.
    var isThreaded = false
    /// Time stamp counter of the last look for flows that have ended. Under `flowsRx`.
    var roomLook: UInt64 = 0
    /// Where the next look at the rings begins.
    var turn = 0
    /// Time stamp counter of the last look at the kernel's queue.
    var kernelLook: UInt64 = 0
    /// The flow of the peer that the socket is connected to, +1, since the kernel's queue was found empty; 0: unknown.
    var silent = 0
    /// Datagrams that the kernel has dropped for want of room, as far as flows have accounted for them.
    var drops: UInt32 = 0
    /// Bits of flows by whose ring something was sent. Under `flowsTx`.
    var hasSent: UInt64 = 0
    /// Bits of flows whose receiver is being woken by a datagram that is on its way. Under `flowsTx`.
    var isRinging: UInt64 = 0
    /// Bits of flows whose next datagram goes by the kernel. Under `flowsTx`.
    var mustPass: UInt64 = 0
    /// The peer that was sent to last waited on our CPU when we looked last.
    var isNear = false
    /// The flow that was sent to last. Under `flowsTx`.
    var lastSent = 0
    var entries: UnsafeMutablePointer<Flow>

    /// Of the socket, made at first use; nil: no memory. Under `flowsRx` or `flowsTx`.
    static func of(_ e: Endpoint) -> UnsafeMutablePointer<Flows>? {
        if let known = unsafe known(e) { return unsafe known }
        unsafe process.lock.acquire()
        defer { unsafe process.lock.release() }
        if let known = unsafe known(e) { return unsafe known }
        guard let record = unsafe process.pool.take(MemoryLayout<Flows>.stride),
            let table = unsafe process.pool.take(MemoryLayout<Flow>.stride * most)
        else { return nil }
        let entries = unsafe table.assumingMemoryBound(to: Flow.self)
        unsafe entries.initialize(repeating: Flow(), count: most)
        let flows = unsafe record.assumingMemoryBound(to: Flows.self)
        unsafe flows.initialize(to: Flows(entries: entries))
        slc_fence()
        unsafe e.local.pointee.flows = UnsafeMutableRawPointer(flows)
        return unsafe flows
    }

    @inline(__always) static func known(_ e: Endpoint) -> UnsafeMutablePointer<Flows>? {
        unsafe e.local.pointee.flows?.assumingMemoryBound(to: Flows.self)
    }

    /// Has the socket ever had a lane? Without a lock, as the first look of each call.
    @inline(__always) static func hasOpen(_ e: Endpoint) -> Bool { unsafe e.pointee.lane_generation != 0 }
}

extension UnsafeMutablePointer where Pointee == Flows {
    @inline(__always) func isFlow(_ i: Int, _ remote: sl_address) -> Bool {
        unsafe pointee.entries[i].remote.port == remote.port && pointee.entries[i].remote.ip == remote.ip
    }

    /// The number of the flow to that peer; nil: it has none yet.
    @inline(__always) func find(_ remote: sl_address) -> Int? {
        let n = unsafe min(Int(slc_relaxed_u32(&pointee.used)), Flows.most)
        var i = 0
        while i < n {
            if unsafe isFlow(i, remote) { return i }
            i &+= 1
        }
        return nil
    }

    /// The same, and makes one; nil: the table is full of peers that live. Under `lock`.
    func findOrMake(_ remote: sl_address) -> Int? {
        if let i = unsafe find(remote) { return i }
        let n = unsafe Int(pointee.used)
        if n < Flows.most {
            unsafe pointee.entries[n].remote = remote
            unsafe slc_release_u32(&pointee.used, UInt32(n + 1))
            return n
        }
        // One that was given up, or the place of one that has come to nothing: who has just begun gets no lane, but counts.
        if let i = unsafe find(sl_address()) {
            unsafe pointee.entries[i] = Flow(remote: remote, isWhole: false)
            return i
        }
        var i = Int(slc_tsc() % UInt64(Flows.most))
        var turns = 0
        while turns < 8 {
            if unsafe pointee.entries[i].endpoint == nil {
                unsafe pointee.entries[i] = Flow(remote: remote, isWhole: false)
                return i
            }
            i = (i + 1) % Flows.most
            turns += 1
        }
        return nil
    }

    /// Has the socket another peer with this port?
    func hasTwin(_ remote: sl_address) -> Bool {
        let n = unsafe min(Int(slc_relaxed_u32(&pointee.used)), Flows.most)
        var i = 0
        while i < n {
            if unsafe pointee.entries[i].remote.port == remote.port && !isFlow(i, remote) { return true }
            i &+= 1
        }
        return false
    }

    /// The kernel's queue is empty. What a connected socket gets from now on is its peer's.
    func noteSilence(_ e: Endpoint) {
        guard unsafe e.pointee.state == UInt32(SL_ENDPOINT_CONNECTED), let i = unsafe find(e.pointee.remote) else { return }
        unsafe pointee.silent = i &+ 1
    }

    /// The peer has sent nothing by the kernel that has not come: its queue need not be asked each time. The peer counts all that
    /// it sends so, until it leaves the lane, which it says in the word that we send by; one that was killed cannot, for which
    /// the queue is looked at now and then all the same. Errors come of what we send by the kernel (`kernelLook`).
    @inline(__always) func isSilent() -> Bool {
        let i = unsafe pointee.silent &- 1
        guard i >= 0, unsafe pointee.isCounted & pointee.hasStock & flowBit(i) != 0, let f = unsafe laned(i),
            let rx = unsafe f.rxDirection, let tx = unsafe f.txDirection
        else { return false }
        let control = unsafe slc_relaxed_u32(&tx.pointee.rx_control)
        return unsafe f.pointee.flags & UInt32(SL_EP_GIVEN_UP) == 0 && control != UInt32(SL_RX_GONE)
            && control != UInt32(SL_RX_WANT)
            && slc_acquire_u64(&rx.pointee.kernel_begun) == f.rx.pointee.kernel_bytes
    }

    /// The flow's endpoint, while it has a lane.
    @inline(__always) func laned(_ i: Int) -> Endpoint? {
        guard let f = unsafe pointee.entries[i & (Flows.most &- 1)].endpoint,
            unsafe slc_acquire_u32(&f.pointee.lane) == UInt32(SL_LANE_LOOPBACK)
        else { return nil }
        return unsafe f
    }
}
