import CLinux
import CStackLayout
import Counters
import Glibc
import SharedMemory

@testable import Sockets
@testable import Stacks

private let ringBytes = 4096
nonisolated(unsafe) private var user = [UInt8](repeating: 7, count: 4 * ringBytes)

/// The lane of one connection as a hostile peer may see it: it has its own view of the region.
private struct Attack {
    let c: Connection
    let fd: Int32
    let far: Int32
    let e: Endpoint
    let pair: UnsafeMutablePointer<Pair>
    let fake: FakeEnd
    let slot: UnsafeMutableRawPointer
    let region: UnsafeMutableRawPointer
    let rings: UnsafeMutableRawPointer
    let side: Int

    init(_ c: Connection, manner: UInt8) {
        self.c = c
        side = Int(manner & 1)
        fd = side == 1 ? c.server : c.client
        far = side == 1 ? c.client : c.server
        e = c.endpoint(fd, role: UInt16(side))
        let channel: Int32
        (fake, channel) = FakeEnd.pair()
        process.lock.acquire()
        var peer = sl_message()
        peer.nonce = 99
        guard let pair = Pair.make(side: Int32(side), peer: peer, uid: slc_geteuid() &+ 1, channel: channel)
        else { complain("no pair") }
        pair.pointee.ringBytes = UInt64(ringBytes)
        guard let index = pair.addRegion(), let map = pair.map(index), let rings = pair.mapRings(index, 0) else {
            complain("no region")
        }
        pair.pointee.regions[0].used = 1
        pair.pointee.liveSlots = 1
        self.pair = pair
        self.rings = rings
        region = UnsafeMutableRawPointer(map)
        slot = UnsafeMutableRawPointer(sl_region_direction(map, 0, 0))
        Lane.map(e, fd, pair, index, 0, rings)
        process.lock.release()
        let word = DescriptorTable.word(kind: 1, address: UInt(bitPattern: e), generation: e.pointee.generation)
        DescriptorTable.set(fd, word)
    }

    /// The direction that we send (true) or that the peer sends.
    func direction(_ ours: Bool) -> Direction {
        (slot + (ours == (side == 0) ? 0 : 256)).assumingMemoryBound(to: sl_direction.self)
    }

    /// As an orderly peer would: bytes into its ring, or the next phase.
    func publish(_ n: Int) {
        let d = direction(false)
        if d.pointee.phase & 1 == 0 {
            guard d.pointee.rx_control == UInt32(SL_RX_OPEN), d.pointee.phase_reached == d.pointee.phase else { return }
            d.pointee.kernel_count = e.rx.pointee.kernel_bytes
            d.pointee.phase &+= 1
        }
        d.pointee.producer = d.pointee.producer &+ UInt64(n)
    }

    func consume() {
        let d = direction(true)
        if d.pointee.rx_control == UInt32(SL_RX_CLOSED) { d.pointee.rx_control = UInt32(SL_RX_OPEN) }
        d.pointee.phase_reached = d.pointee.phase
        if d.pointee.consumer & ringClaim != 0 || d.pointee.phase & 1 == 1 { d.pointee.consumer = d.pointee.producer }
    }

    func retreat() {
        let d = direction(false)
        guard d.pointee.phase & 1 == 1 else { return }
        d.pointee.ring_end = d.pointee.consumer & ~ringClaim
        d.pointee.consumer |= ringClaim
        d.pointee.phase &+= 1
    }

    /// False: the connection is not to be used again.
    func end(isShut: Bool) -> Bool {
        var isWhole = !isShut && e.pointee.flags & UInt32(SL_EP_RESET) == 0
        DescriptorTable.set(fd, 0)
        process.lock.acquire()
        process.lock.release()
        if isShut { bounded("the end") { Lane.endInOrder(e, fd) } } else { Lane.detach(e) }
        require(e.local.pointee.rings == 0, "rings stay mapped")
        StackMemory.free(e)
        slc_close(fake.socket)
        forgetPairs()
        isWhole = isWhole && c.drain()
        return isWhole
    }
}

private func call(_ a: Attack, _ input: inout Input, _ body: (inout UserBytes) -> Int) {
    let first = input.below(2 * ringBytes)
    let second = input.byte() & 3 == 0 ? input.below(ringBytes) : 0
    user.withUnsafeMutableBytes { room in
        withUnsafeTemporaryAllocation(of: iovec.self, capacity: 2) { parts in
            parts[0] = iovec(iov_base: room.baseAddress!, iov_len: first)
            parts[1] = iovec(iov_base: room.baseAddress! + first, iov_len: second)
            var bytes = UserBytes(UnsafePointer(parts.baseAddress!), 2)
            let r = body(&bytes)
            require(r <= bytes.total && bytes.done <= bytes.total, "\(r) bytes of \(bytes.total)")
        }
    }
}

/// What a report needs to be understood when the input alone does not lead there again.
private func state(_ e: Endpoint, _ fd: Int32) -> String {
    func half(_ h: Half, _ d: Direction?) -> String {
        "phase \(h.pointee.phase) flags \(h.pointee.flags) offset \(h.pointee.offset) other \(h.pointee.other_offset)"
            + " kernel \(h.pointee.kernel_bytes), shared: \(d.map { "\($0.pointee)" } ?? "none")"
    }
    return "flags \(e.pointee.flags) error \(e.pointee.error) lane \(e.pointee.lane) kernel \(Readiness.kernel(fd))"
        + " ticks \(process.tickRate)\n rx \(half(e.rx, e.rxDirection))\n tx \(half(e.tx, e.txDirection))"
}

/// What readiness promises a call must keep, or end the connection: else a program would go round for ever.
private func isHonest(_ e: Endpoint, _ fd: Int32) {
    e.pointee.rx_lowat = 1
    for events in [Readiness.IN, Readiness.OUT] {
        var turns = 0
        while Readiness.ring(e) & events != 0 {
            turns += 1
            require(turns < 4, "ready for \(events), and nothing comes of it: \(state(e, fd))")
            e.rx.pointee.kernel_look = 0
            process.kernelLook = 0
            let r = user.withUnsafeMutableBytes { room in
                withUnsafeTemporaryAllocation(of: iovec.self, capacity: 1) { part in
                    part[0] = iovec(iov_base: room.baseAddress!, iov_len: 1)
                    var bytes = UserBytes(UnsafePointer(part.baseAddress!), 1)
                    return events == Readiness.IN
                        ? streamReceive(e, fd, &bytes, ReceiveFlags(raw: 0x40)) : streamSend(e, fd, &bytes, 0x4040)
                }
            }
            if r != -Int(EAGAIN) { break }
        }
    }
}

/// A stream on its lane, whose peer writes what it likes into every shared word between two steps of ours.
func fuzzStream(_ input: inout Input) {
    let manner = input.byte()
    let c = connection ?? Connection()
    connection = c
    let a = Attack(c, manner: manner)
    let e = a.e
    let fd = a.fd
    var isShut = false
    var turns = 0
    while !input.isOver, turns < 40 {
        turns += 1
        switch input.byte() % 20 {
        case 0, 1, 2:
            let place = 8 * (Int(input.byte()) & 63)
            let now = a.slot.load(fromByteOffset: place, as: UInt64.self)
            a.slot.storeBytes(of: input.word(near: now), toByteOffset: place, as: UInt64.self)
        case 3, 4:
            let place = 4 * (Int(input.byte()) & 127)
            let now = UInt64(a.slot.load(fromByteOffset: place, as: UInt32.self))
            a.slot.storeBytes(of: UInt32(truncatingIfNeeded: input.word(near: now)), toByteOffset: place, as: UInt32.self)
        case 5:
            let place = 8 * input.below(MemoryLayout<sl_region>.size / 8)
            let now = a.region.load(fromByteOffset: place, as: UInt64.self)
            a.region.storeBytes(of: input.word(near: now), toByteOffset: place, as: UInt64.self)
        case 6, 7: call(a, &input) { bytes in bounded("a send") { streamSend(e, fd, &bytes, 0x4040) } }
        case 8, 9:
            let flags = ReceiveFlags(raw: [0x40, 0x42, 0x140, 0x60][Int(input.byte() & 3)])
            call(a, &input) { bytes in bounded("a receive") { streamReceive(e, fd, &bytes, flags) } }
        case 10: _ = slc_sendto(a.far, user, input.below(ringBytes), 0x4040)
        case 11: _ = slc_recvfrom(a.far, &user, input.below(2 * ringBytes), 0x40)
        case 12: bounded("service") { Lane.service(e, fd) }
        case 13: a.publish(input.below(ringBytes))
        case 14: a.consume()
        case 15: a.retreat()
        case 16:
            // The kernel tells no lies: the end of a connection that has not ended is left out.
            let kernel = UInt32(input.number(UInt16.self)) & ~(Readiness.RDHUP | Readiness.HUP | Readiness.ERR)
            bounded("readiness") {
                let ring = Readiness.ring(e)
                _ = Readiness.merge(e, ring: ring, kernel: kernel)
                _ = Readiness.kernelCarries(e) || Readiness.isBack(e)
            }
            isHonest(e, fd)
        case 17:
            bounded("options") { _ = Lane.unreadIn(e) &+ Lane.arrivedByKernel(e) &+ Lane.unacknowledged(e) }
            bounded("a wake") { Lane.notifyAll(e) }
        case 18:
            let choice = input.byte()
            switch choice & 7 {
            case 0: bounded("handing back") { _ = Lane.beginHandBack(e, fd, .option, foreign: choice & 8 != 0) }
            case 1: bounded("mending") { Lane.mendSend(e, fd) }
            case 2: bounded("mending") { Lane.mendReceive(e, fd) }
            case 3:
                bounded("shutdown") { Lane.shutdown(e, fd, Int32(choice >> 3) % 3) }
                isShut = true
            case 4: e.pointee.rx_lowat = UInt32(input.number(UInt16.self))
            default: a.fake.drain()
            }
        default:
            let side = input.byte() & 1 == 0
            let d = a.direction(side)
            d.pointee.rx_control = UInt32(input.byte() % 7)
        }
    }
    // `e` counts as shut, too, when something was found damaged.
    if !a.end(isShut: isShut || input.byte() & 1 == 1 || manner & 4 != 0) { connection = nil }
}
