import CLinux
import CStackLayout
import Counters
import SharedMemory
import Stacks

/// How flows end: with the socket, or by what makes the kernel's word on it another one.
extension Flows {
    /// connect(2), also of AF_UNSPEC: from now on other datagrams come.
    static func connected(_ e: Endpoint, _ fd: Int32) {
        unsafe handBack(e, .option)
        if unsafe !Identity.learn(e, fd) { unsafe e.pointee.state = UInt32(SL_ENDPOINT_LIVE) }
    }

    /// Both directions of all flows go by the kernel from now on, for good; what is unread is still read here.
    static func handBack(_ e: Endpoint, _ reason: Reason) {
        guard let flows = unsafe known(e) else { return }
        var i = 0
        while unsafe i < Int(slc_relaxed_u32(&flows.pointee.count)) {
            if let f = unsafe flows.pointee.entries[i].endpoint { unsafe leave(f, reason) }
            i += 1
        }
    }

    /// Under the process lock, as everything in front of a fork: a child has the socket, too, and none of the rings.
    static func handBackBeforeFork(_ e: Endpoint) { unsafe handBack(e, .sharedByFork) }

    private static func leave(_ f: Endpoint, _ reason: Reason) {
        unsafe f.pointee.flags |= UInt32(SL_EP_GIVEN_UP)
        unsafe f.pointee.reason = reason.number
        guard unsafe slc_acquire_u32(&f.pointee.lane) == UInt32(SL_LANE_LOOPBACK) else { return }
        let lock = unsafe RobustLock(&f.tx.pointee.lock)
        lock.acquire()
        unsafe FlowLane.leave(f)
        if let d = unsafe f.rxDirection { _ = unsafe slc_exchange_u32(&d.pointee.rx_control, UInt32(SL_RX_GONE)) }
        lock.release()
    }

    /// The socket's last descriptor here is being closed: what is unread goes with it, as in the kernel.
    static func end(_ e: Endpoint) {
        guard let flows = unsafe known(e) else { return }
        unsafe handBack(e, .ended)
        var i = 0
        while unsafe i < Int(slc_relaxed_u32(&flows.pointee.count)) {
            if let f = unsafe flows.pointee.entries[i].endpoint {
                unsafe process.lock.acquire()
                unsafe Rendezvous.withdraw(f)
                unsafe process.lock.release()
                if unsafe slc_acquire_u32(&f.pointee.lane) == UInt32(SL_LANE_LOOPBACK) { unsafe Lane.detach(f) }
                unsafe f.pointee.descriptors = 0
                unsafe StackMemory.free(f)
            }
            i += 1
        }
        unsafe process.lock.acquire()
        unsafe e.local.pointee.flows = nil
        unsafe process.pool.give(UnsafeMutableRawPointer(flows.pointee.entries), MemoryLayout<Flow>.stride * most)
        unsafe process.pool.give(UnsafeMutableRawPointer(flows), MemoryLayout<Flows>.stride)
        unsafe process.lock.release()
    }
}
