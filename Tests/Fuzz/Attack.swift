import CLinux
import CStackLayout
import Counters
import Glibc
import SharedMemory

@testable import Sockets
@testable import Stacks

private let ringBytes = 4096
/// What the program sends, and where it receives.
nonisolated(unsafe) var userBytes = [UInt8](repeating: 7, count: 4 * ringBytes)

/// The lane of one connection as a hostile peer may see it: it has its own view of the region.
struct Attack {
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

    /// Writes what the input says into a word of the slot, or of all of the region.
    func scribble(_ input: inout Input, everywhere: Bool) {
        let place = 8 * (everywhere ? input.below(MemoryLayout<sl_region>.size / 8) : Int(input.byte()) & 63)
        let memory = everywhere ? region : slot
        let now = memory.load(fromByteOffset: place, as: UInt64.self)
        memory.storeBytes(of: input.word(near: now), toByteOffset: place, as: UInt64.self)
    }

    /// The same for half a word of the slot.
    func scribbleHalf(_ input: inout Input) {
        let place = 4 * (Int(input.byte()) & 127)
        let now = UInt64(slot.load(fromByteOffset: place, as: UInt32.self))
        slot.storeBytes(of: UInt32(truncatingIfNeeded: input.word(near: now)), toByteOffset: place, as: UInt32.self)
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

    /// The pair stays until `forgetPairs`. False: the connection is not to be used again.
    func end(isShut: Bool) -> Bool {
        var isWhole = !isShut && e.pointee.flags & UInt32(SL_EP_RESET) == 0
        DescriptorTable.set(fd, 0)
        process.lock.acquire()
        process.lock.release()
        if isShut { bounded("the end") { Lane.endInOrder(e, fd) } } else { Lane.detach(e) }
        require(e.local.pointee.rings == 0, "rings stay mapped")
        StackMemory.free(e)
        slc_close(fake.socket)
        isWhole = isWhole && c.drain()
        return isWhole
    }
}

/// One call of the program, with buffers as the input says.
func transfer(_ a: Attack, _ input: inout Input, _ body: (inout UserBytes) -> Int) {
    let first = input.below(2 * ringBytes)
    let second = input.byte() & 3 == 0 ? input.below(ringBytes) : 0
    userBytes.withUnsafeMutableBytes { room in
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
func state(_ e: Endpoint, _ fd: Int32) -> String {
    func half(_ h: Half, _ d: Direction?) -> String {
        "phase \(h.pointee.phase) flags \(h.pointee.flags) offset \(h.pointee.offset) other \(h.pointee.other_offset)"
            + " kernel \(h.pointee.kernel_bytes), shared: \(d.map { "\($0.pointee)" } ?? "none")"
    }
    return "flags \(e.pointee.flags) error \(e.pointee.error) lane \(e.pointee.lane) kernel \(Readiness.kernel(fd))"
        + " ticks \(process.tickRate)\n rx \(half(e.rx, e.rxDirection))\n tx \(half(e.tx, e.txDirection))"
}

private func byByte(_ body: (inout UserBytes) -> Int) -> Int {
    userBytes.withUnsafeMutableBytes { room in
        withUnsafeTemporaryAllocation(of: iovec.self, capacity: 1) { part in
            part[0] = iovec(iov_base: room.baseAddress!, iov_len: 1)
            var bytes = UserBytes(UnsafePointer(part.baseAddress!), 1)
            return body(&bytes)
        }
    }
}

func receiveByte(_ e: Endpoint, _ fd: Int32) -> Int { byByte { streamReceive(e, fd, &$0, ReceiveFlags(raw: 0x40)) } }

func sendByte(_ e: Endpoint, _ fd: Int32) -> Int { byByte { streamSend(e, fd, &$0, 0x4040) } }

/// What readiness promises a call must keep, or end the connection: else a program would go round for ever.
func isHonest(_ e: Endpoint, _ fd: Int32) {
    e.pointee.rx_lowat = 1
    for events in [Readiness.IN, Readiness.OUT] {
        var turns = 0
        while Readiness.ring(e) & events != 0 {
            turns += 1
            require(turns < 4, "ready for \(events), and nothing comes of it: \(state(e, fd))")
            e.rx.pointee.kernel_look = 0
            process.kernelLook = 0
            let r = events == Readiness.IN ? receiveByte(e, fd) : sendByte(e, fd)
            if r != -Int(EAGAIN) { break }
        }
    }
}
