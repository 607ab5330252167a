import CLinux
import CStackLayout
import Counters
import Glibc
import SharedMemory

@testable import Stacks

/// A greeting of somebody who has counted no bytes.
private func hello() -> sl_message {
    var m = sl_message()
    m.magic = SL_MESSAGE_MAGIC
    m.kind = UInt32(SL_MESSAGE_HELLO)
    m.nonce = 0xabcd
    m.ring_bytes = 1 << 12
    return m
}

private func address(_ e: Endpoint) -> (sockaddr_un, UInt32) {
    let isAcceptor = e.pointee.role == 1
    var name = MeetingName(
        cookie: e.pointee.netns_cookie, acceptor: isAcceptor ? e.pointee.local : e.pointee.remote,
        connector: isAcceptor ? e.pointee.remote : e.pointee.local)
    var a = sockaddr_un()
    let n = name.address(&a)
    return (a, n)
}

nonisolated(unsafe) private var runs = 0
nonisolated(unsafe) private var before = 0

/// A meeting with somebody who may hold the connection, and says what he likes.
func fuzzMeeting(_ input: inout Input) {
    let manner = input.byte()
    let c = connection ?? Connection()
    connection = c
    let accepts = manner & 1 == 1
    let fd = accepts ? c.server : c.client
    let e = c.endpoint(fd, role: accepts ? 1 : 0)
    var name = address(e)
    var fake: FakeEnd? = nil
    var listener: Int32 = -1
    if !accepts {
        listener = Int32(slc_socket(AF_UNIX, 5 | 0o2000000 | 0o4000, 0))
        _ = slc_bind(listener, &name.0, name.1)
        _ = slc_listen(listener, 4)
    }
    var met: (UnsafeMutablePointer<Pair>, Int32, Int32)? = nil
    func step() {
        guard met == nil else { return }
        if case .met(let pair, let region, let slot, let rings) = bounded("a step", { Rendezvous.step(e, fd) }) {
            require(region >= 0 && region < pair.pointee.regionCount && slot >= 0 && slot < 64, "slot \(slot) of \(region)")
            process.lock.acquire()
            Memory.unmap(UInt64(UInt(bitPattern: rings)), 2 * Int(pair.pointee.ringBytes))
            process.lock.release()
            met = (pair, region, slot)
        }
    }
    step()
    if accepts {
        let end = Int32(slc_socket(AF_UNIX, 5 | 0o2000000 | 0o4000, 0))
        if slc_connect(end, &name.0, name.1) == 0 { fake = FakeEnd(socket: end) } else { slc_close(end) }
    } else {
        let end = slc_accept4(listener, nil, nil, 0o2000000 | 0o4000)
        if end >= 0 { fake = FakeEnd(socket: Int32(end)) }
    }
    var model = hello()
    var turns = 0
    while !input.isOver, turns < 12, let fake {
        turns += 1
        let choice = input.byte()
        // The rules are known to him: the greeting comes first, then the region or the answer.
        if choice & 1 == 0 && model.kind == UInt32(SL_MESSAGE_HELLO) && turns > 1 {
            model.kind = UInt32(accepts ? SL_MESSAGE_REGION : SL_MESSAGE_READY)
            model.index = 1
            model.region_bytes = UInt64(Pair.regionBytes(1 << 12))
            model.ticket = 0
        }
        let m = message(&input, like: model)
        let passed = descriptors(&input, proof: accepts ? c.client : c.server, regionBytes: Int(model.region_bytes))
        if let memory = passed.first, model.kind == UInt32(SL_MESSAGE_REGION) {
            // The offer stands in the region.
            var ticket = m.ticket
            let place = MemoryLayout<sl_region>.offset(of: \.slot)! + Int(m.slot & 63) * MemoryLayout<sl_slot>.stride
            pwrite(memory, &ticket, 8, off_t(place + MemoryLayout<sl_direction>.offset(of: \.offer)!))
        }
        fake.send(m, length: choice & 0x40 == 0 ? MemoryLayout<sl_message>.size : Int(input.byte()), passed)
        for d in passed { slc_close(d) }
        if choice & 0x80 == 0 { step() }
    }
    if let fake, manner & 2 != 0 {
        fake.drain()
        slc_close(fake.socket)
    }
    for _ in 0..<3 { step() }
    process.lock.acquire()
    if let met { met.0.leaveSlot(met.1, met.2) }
    Rendezvous.withdraw(e)
    process.lock.release()
    StackMemory.free(e)
    if let fake, manner & 2 == 0 { slc_close(fake.socket) }
    if listener >= 0 { slc_close(listener) }
    forgetPairs()
    require(process.lanes == 0, "a lane")
    // Nothing that was passed stays behind.
    runs += 1
    if runs == 100 { before = openDescriptors() }
    if runs > 100 && runs % 1000 == 0 {
        let now = openDescriptors()
        require(now <= before + 2, "\(now) descriptors are open, \(before) were")
    }
}
