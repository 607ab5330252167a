import CLinux
import CStackLayout
import Counters
import Settings
import SharedMemory
import Stacks

/// One peer of a UDP socket, by its address as this socket sees it.
@safe struct Flow {
    var remote = sl_address()
    /// Datagrams of both directions by the kernel, until a lane is tried.
    var messages: UInt32 = 0
    /// No meeting before so many.
    var nextAttempt: UInt32 = 0
    /// Set once, when the first meeting begins: a lane to this peer is an endpoint of its own.
    var endpoint: Endpoint? = nil
}

/// The peers of a UDP socket. A private record of the process, made with the socket's first datagram; entries are added under
/// `lock` and stay where they are until the socket is closed, so that they are found without it.
@safe struct Flows {
    static var most: Int { 64 }

    var lock = PrivateLock()
    var count: UInt32 = 0
    /// Flows that have met; 0: all is the kernel's.
    var open: UInt32 = 0
    /// Where the next look at the rings begins.
    var turn: Int32 = 0
    /// Time stamp counter of the last look at the kernel's queue.
    var kernelLook: UInt64 = 0
    var entries: UnsafeMutablePointer<Flow>

    /// Of the socket, made at first use; nil: no memory, or the socket does not share.
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

    /// The flows of a socket of which at least one has a lane.
    @inline(__always) static func open(_ e: Endpoint) -> UnsafeMutablePointer<Flows>? {
        guard let flows = unsafe known(e), unsafe slc_relaxed_u32(&flows.pointee.open) != 0 else { return nil }
        return unsafe flows
    }
}

extension UnsafeMutablePointer where Pointee == Flows {
    @inline(__always) private func isFlow(_ i: Int, _ remote: sl_address) -> Bool {
        unsafe pointee.entries[i].remote.port == remote.port && pointee.entries[i].remote.ip == remote.ip
    }

    /// The flow to that peer; nil: it has none yet.
    @inline(__always) func find(_ remote: sl_address) -> UnsafeMutablePointer<Flow>? {
        let n = unsafe min(Int(slc_relaxed_u32(&pointee.count)), Flows.most)
        var i = 0
        while i < n {
            if unsafe isFlow(i, remote) { return unsafe pointee.entries + i }
            i &+= 1
        }
        return nil
    }

    /// The same, and makes one; nil: the table is full of peers that live.
    func findOrMake(_ remote: sl_address) -> UnsafeMutablePointer<Flow>? {
        if let flow = unsafe find(remote) { return unsafe flow }
        unsafe pointee.lock.acquire()
        defer { unsafe pointee.lock.release() }
        if let flow = unsafe find(remote) { return unsafe flow }
        let n = unsafe Int(pointee.count)
        if n < Flows.most {
            unsafe pointee.entries[n].remote = remote
            unsafe slc_release_u32(&pointee.count, UInt32(n + 1))
            return unsafe pointee.entries + n
        }
        // The place of one that has come to nothing: who has just begun gets no lane, but counts.
        var i = unsafe Int(slc_tsc() % UInt64(Flows.most))
        var turns = 0
        while turns < 8 {
            if unsafe pointee.entries[i].endpoint == nil {
                unsafe pointee.entries[i] = Flow(remote: remote)
                return unsafe pointee.entries + i
            }
            i = (i + 1) % Flows.most
            turns += 1
        }
        return nil
    }

    /// Calls `body` with each flow that has a lane, beginning with the next in turn, until it says false.
    @inline(__always) func eachOpen(_ body: (Endpoint, Int) -> Bool) {
        let n = unsafe min(Int(pointee.count), Flows.most)
        var left = n
        var i = unsafe n == 0 ? 0 : Int(pointee.turn) % n
        while left > 0 {
            left &-= 1
            if let f = unsafe pointee.entries[i].endpoint, unsafe slc_acquire_u32(&f.pointee.lane) == UInt32(SL_LANE_LOOPBACK),
                unsafe !body(f, i)
            {
                return
            }
            i &+= 1
            if i == n { i = 0 }
        }
    }
}
