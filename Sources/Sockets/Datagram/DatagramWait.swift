import CLinux
import CStackLayout
import Counters
import SharedMemory
import Stacks

/// A receive on a UDP socket that has lanes: looks, spins where that pays, and then sleeps in the kernel's own call, which has
/// the program's time-out and takes the datagram that wakes it.
@safe struct DatagramWait {
    let call: DatagramCall
    let interrupts = Interrupts()
    private var e: Endpoint { unsafe call.e }

    init(_ call: DatagramCall) { self.call = call }

    func run() -> Int {
        let dontWait = call.dontWait
        let (nameRoom, controlRoom) = unsafe (call.msg.pointee.msg_namelen, call.msg.pointee.msg_controllen)
        var trial = unsafe e.pointee.spin_trial
        let budget = dontWait ? 0 : spinBudget(&trial)
        var r = look(comesBack: budget != 0)
        if r != -Int(EAGAIN) || dontWait { return r }
        unsafe e.pointee.spin_trial = trial
        let (began, timed) = (slc_tsc(), TimedWait())
        defer { timed.end(.datagram) }
        if budget != 0 {
            r = spin(began, budget)
            if unsafe r == -Int(EAGAIN) && interrupts.happened(hasTimeout: e.pointee.rx_timeout_ns != 0) { return -Int(EINTR) }
            if unsafe r == -Int(EAGAIN) && slc_tsc() &- began >= timeLimit { return r }
            if r == -Int(EAGAIN) && !isOurs { return -Int(EBADF) }
        }
        var firstLook: UInt64 = 0
        while r == -Int(EAGAIN) {
            unsafe call.msg.pointee.msg_namelen = nameRoom
            unsafe call.msg.pointee.msg_controllen = controlRoom
            r = sleep()
            guard r == lookAgain else { break }
            guard isOurs else { return -Int(EBADF) }
            if unsafe interrupts.happened(hasTimeout: e.pointee.rx_timeout_ns != 0) { return -Int(EINTR) }
            r = look(comesBack: false)
            // The time-out is the kernel's, but for a sender that stands still while it writes.
            if unsafe e.pointee.rx_timeout_ns != 0 {
                let now = slc_now_ns()
                if firstLook == 0 { firstLook = now }
                if unsafe r == -Int(EAGAIN) && now &- firstLook > e.pointee.rx_timeout_ns { break }
            }
        }
        unsafe SpinPolicy.learn(&e.pointee.sleep_average_ns, ticks: Flows.lastRing(e, began) &- began)
        return r
    }

    /// The number may be another file's by now.
    private var isOurs: Bool {
        unsafe DescriptorTable.address(DescriptorTable.entry(call.fd)) == UInt(bitPattern: e)
    }

    /// SO_RCVTIMEO in ticks.
    private var timeLimit: UInt64 {
        let ns = unsafe e.pointee.rx_timeout_ns
        return unsafe ns == 0 ? .max : (ns / 1000 &+ 1) &* process.tickRate
    }

    private func look(comesBack: Bool) -> Int {
        var hasOpened = false
        unsafe e.local.pointee.flowsRx.acquire()
        let r = call.now(&hasOpened, comesBack: comesBack)
        unsafe e.local.pointee.flowsRx.release()
        if hasOpened { unsafe Flows.opened(e) }
        return r
    }

    /// How long this call may spin; 0: not at all.
    private func spinBudget(_ trial: inout UInt32) -> UInt64 {
        guard unsafe slc_relaxed_u32(&e.rx.pointee.plain_calls) == 0 else { return 0 }
        return unsafe SpinPolicy.budget(.datagram, average: e.pointee.sleep_average_ns, trial: &trial)
    }

    /// Bytes, -EAGAIN: sleep now, or another -errno.
    private func spin(_ began: UInt64, _ budget: UInt64) -> Int {
        count(StackCounter.spins)
        var looked = began
        var hasAsked = false
        while true {
            let now = slc_tsc()
            unsafe e.local.pointee.flowsRx.acquire()
            let hasNews = unsafe Flows.hasNews(e)
            // Asked when an answer takes long, or the peer was here the last time.
            let asks = unsafe !hasAsked && (now &- began > 3 &* process.tickRate || Flows.wasHere(e))
            let isHere = unsafe asks && Flows.peerIsHere(e)
            unsafe e.local.pointee.flowsRx.release()
            if asks { hasAsked = true }
            if isHere && !hasNews { return -Int(EAGAIN) }
            if unsafe hasNews || now &- looked > 20 &* process.tickRate {
                looked = now
                if !isOurs { return -Int(EAGAIN) }
                let r = look(comesBack: true)
                if r != -Int(EAGAIN) {
                    count(StackCounter.spinsPaid)
                    unsafe e.pointee.counters.rx_packets_spin &+= 1
                    return r
                }
            }
            if unsafe now &- began > min(budget, timeLimit) || interrupts.happened(hasTimeout: e.pointee.rx_timeout_ns != 0) {
                return -Int(EAGAIN)
            }
            slc_pause()
        }
    }

    private let lookAgain = -100_003

    /// The kernel's call, or `lookAgain`: something came before it, or nobody can wake us.
    private func sleep() -> Int {
        let fd = call.fd
        let msg = unsafe call.msg
        slc_enter()
        unsafe Held.note(.receiving, e)
        _ = unsafe slc_add_u32(&e.rx.pointee.plain_calls, 1)
        slc_leave()
        let generation = unsafe e.pointee.generation
        var isCounted = true
        unsafe e.local.pointee.flowsRx.acquire()
        let isWhole = unsafe Flows.fallAsleep(e)
        let hasNews = unsafe Flows.hasNews(e)
        if !hasNews { unsafe FlowLane.askPeers(e) }
        unsafe e.local.pointee.flowsRx.release()
        var hasOpened = false
        var r = lookAgain
        if !hasNews && isWhole {
            TimedWait.sleeps()
            unsafe e.pointee.counters.sleeps &+= 1
            r = unsafe withSender(e, msg) { m in
                unsafe sluice_real_recvmsg(fd, m, call.flags)
            } then: { r, from, m in
                guard unsafe !call.isPeek && e.pointee.generation == generation else { return }
                letGo(generation, &isCounted)
                unsafe e.local.pointee.flowsRx.acquire()
                unsafe noteKernel(e, fd, from, r, m, &hasOpened)
                unsafe e.local.pointee.flowsRx.release()
            }
        } else if !hasNews {
            var p = pollfd(fd: fd, events: Int16(POLLIN), revents: 0)
            var slice = timespec(tv_sec: 0, tv_nsec: 1_000_000)
            _ = unsafe slc_ppoll(&p, 1, &slice, nil)
        }
        letGo(generation, &isCounted)
        if hasNews {
            unsafe e.local.pointee.flowsRx.acquire()
            unsafe Flows.stayAwake(e)
            unsafe e.local.pointee.flowsRx.release()
        }
        if hasOpened { unsafe Flows.opened(e) }
        return r
    }

    /// This call sleeps no more.
    private func letGo(_ generation: UInt32, _ isCounted: inout Bool) {
        guard isCounted else { return }
        isCounted = false
        slc_enter()
        Held.drop(.receiving, UInt(bitPattern: unsafe e))
        // The socket may have been closed meanwhile, and its slot be another's.
        if unsafe e.pointee.generation == generation { _ = unsafe slc_sub_u32(&e.rx.pointee.plain_calls, 1) }
        slc_leave()
    }
}
