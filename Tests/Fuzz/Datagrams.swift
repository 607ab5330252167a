import CLinux
import CStackLayout
import Counters
import Glibc
import SharedMemory

@testable import Sockets
@testable import Stacks

private let ringBytes = 4096

/// A UDP socket of ours with a flow, whose peer has the region and the far socket in its hands.
private struct Target {
    let fd: Int32
    let far: Int32
    let e: Endpoint
    let f: Endpoint
    let flows: UnsafeMutablePointer<Flows>
    let fake: FakeEnd
    let slot: UnsafeMutableRawPointer
    let region: UnsafeMutableRawPointer
    let rings: UnsafeMutableRawPointer
    let side: Int
    let far_half: Half

    static func socket() -> (Int32, sl_address) {
        let fd = Int32(slc_socket(AF_INET, 2 | 0o2000000, 0))
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        var known = slc_address()
        guard slc_bind(fd, &address, UInt32(MemoryLayout<sockaddr_in>.size)) == 0, slc_socket_address(fd, 0, &known) == 0
        else { complain("no UDP socket") }
        return (fd, sl_address(known))
    }

    static func connect(_ fd: Int32, _ to: sl_address) {
        var name = sockaddr_in6()
        var far = slc_address(to)
        let n = slc_name_of(&far, &name, 28)
        guard slc_connect(fd, &name, n) == 0 else { complain("connect") }
    }

    private static func endpoint(_ fd: Int32, _ own: sl_address, _ remote: sl_address) -> Endpoint {
        guard let e = StackMemory.allocate() else { complain("no endpoint") }
        e.pointee.family = UInt16(AF_INET)
        e.pointee.type = 2
        e.pointee.protocol = 17
        e.pointee.rx_lowat = 1
        e.pointee.local = own
        e.pointee.remote = remote
        e.pointee.state = UInt32(SL_ENDPOINT_CONNECTED)
        e.local.pointee.descriptor = fd
        var n: UInt32 = 8
        _ = slc_getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &e.pointee.netns_cookie, &n)
        _ = slc_getsockopt(fd, SOL_SOCKET, SO_COOKIE, &e.pointee.cookie, &n)
        return e
    }

    init(manner: UInt8) {
        process.start()
        // What is waited for in microseconds shall not keep the fuzzer waiting.
        process.ticksPerUs = 1
        side = Int(manner & 1)
        let (own, far) = (Target.socket(), Target.socket())
        fd = own.0
        self.far = far.0
        e = Target.endpoint(fd, own.1, far.1)
        e.pointee.descriptors = 1
        e.local.pointee.descriptors = 1
        if manner & 2 == 0 {
            Target.connect(fd, far.1)
        } else {
            e.pointee.state = UInt32(SL_ENDPOINT_LIVE)
        }
        Target.connect(self.far, own.1)
        DescriptorTable.set(fd, DescriptorTable.word(kind: 1, address: UInt(bitPattern: e), generation: e.pointee.generation))
        f = Target.endpoint(fd, own.1, far.1)
        f.pointee.flags = UInt32(SL_EP_FLOW)
        guard let flows = Flows.of(e), let i = flows.findOrMake(far.1) else { complain("no flow") }
        self.flows = flows
        let channel: Int32
        (fake, channel) = FakeEnd.pair()
        process.lock.acquire()
        var peer = sl_message()
        peer.nonce = 99
        guard let pair = Pair.make(side: Int32(side), peer: peer, uid: slc_geteuid(), channel: channel) else {
            complain("no pair")
        }
        pair.pointee.ringBytes = UInt64(ringBytes)
        guard let index = pair.addRegion(), let map = pair.map(index), let rings = pair.mapRings(index, 0) else {
            complain("no region")
        }
        pair.pointee.regions[0].used = 1
        pair.pointee.liveSlots = 1
        self.rings = rings
        region = UnsafeMutableRawPointer(map)
        slot = UnsafeMutableRawPointer(sl_region_direction(map, 0, 0))
        Lane.map(f, fd, pair, index, 0, rings)
        process.lock.release()
        flows.pointee.entries[i].endpoint = f
        flows.pointee.open = 1
        e.pointee.lane_generation = 1
        Flows.opened(e)
        far_half = .allocate(capacity: 1)
        far_half.initialize(to: sl_half())
        direction(false).pointee.sender_descriptor = UInt32(self.far) + 1
        if manner & 4 == 0 { begin() }
    }

    /// The direction that we send (true) or that the peer sends.
    func direction(_ ours: Bool) -> Direction {
        (slot + (ours == (side == 0) ? 0 : 256)).assumingMemoryBound(to: sl_direction.self)
    }

    /// Both directions are open and counted.
    func begin() {
        e.local.pointee.flowsTx.acquire()
        FlowLane.beginCounts(f, Flow())
        e.local.pointee.flowsTx.release()
        direction(true).pointee.rx_control = UInt32(SL_RX_OPEN)
        direction(false).pointee.kernel_begun = 1
        direction(false).pointee.kernel_count = 1
        _ = receive(0x40, 10)
    }

    func ring(_ ours: Bool) -> UnsafeMutableRawPointer { rings + (ours == (side == 0) ? 0 : ringBytes) }

    /// As an orderly peer would: a datagram into its ring.
    func publish(_ n: Int, _ count: UInt64) {
        let d = direction(false)
        let w = RingWriter(direction: d, half: far_half, memory: ring(false), bytes: UInt64(ringBytes), limit: UInt64(ringBytes))
        var isDamaged = false
        guard let room = w.datagram(n, kernelCount: count, isDamaged: &isDamaged) else { return }
        memset(room.memory, 5, n)
        w.publish(room.next)
    }

    func receive(_ flags: Int32, _ n: Int) -> Int {
        let r = userBytes.withUnsafeMutableBytes { room in
            bounded("a receive") { datagramReceive(e, fd, room.baseAddress!, n, flags, 0) }
        }
        require(r <= (flags & 0x20 != 0 ? largestDatagram : n), "\(r) bytes of \(n)")
        return r
    }

    func send(_ n: Int, _ flags: Int32) {
        let r = userBytes.withUnsafeBytes { room in bounded("a send") { datagramSend(e, fd, room.baseAddress!, n, flags, 1) } }
        require(r == n || r < 0, "\(r) bytes sent of \(n)")
    }

    func end() {
        DescriptorTable.set(fd, 0)
        bounded("the end") { Flows.end(e) }
        require(e.local.pointee.flows == nil, "flows stay")
        e.pointee.descriptors = 0
        StackMemory.free(e)
        slc_close(fake.socket)
        slc_close(fd)
        slc_close(far)
        far_half.deallocate()
        forgetPairs()
        require(process.lanes == 0, "a lane")
    }
}

/// A UDP socket whose peer writes what it likes into every shared word and into the ring between two calls of ours.
func fuzzDatagrams(_ input: inout Input) {
    let manner = input.byte()
    let t = Target(manner: manner)
    let (e, fd) = (t.e, t.fd)
    var turns = 0
    while !input.isOver, turns < 40 {
        turns += 1
        let choice = input.byte()
        switch choice % 20 {
        case 0, 1: scribble(t, &input)
        case 2:
            let d = t.direction(choice & 0x40 == 0)
            d.pointee.rx_control = UInt32(input.byte() % 12)
        case 3: scribbleHeader(&input, t.ring(false), ringBytes, count: t.f.rx.pointee.kernel_bytes)
        case 4, 5, 6:
            t.publish(input.below(1200), t.f.rx.pointee.kernel_bytes &+ UInt64(choice & 0x80 == 0 ? 0 : input.byte() & 3))
        case 7: t.direction(true).pointee.consumer = t.direction(true).pointee.producer
        case 8, 9: t.send(input.below(2000), [0x4040, 0x40, 0x40c0, 0x8040][Int(choice >> 6)])
        case 10, 11, 12: _ = t.receive([0x40, 0x42, 0x60, 0x62][Int(choice >> 6)], input.below(3000))
        case 13:
            // One that waits, for 1 ms.
            e.pointee.rx_timeout_ns = 1_000_000
            _ = t.receive(0, input.below(3000))
        case 14:
            _ = slc_sendto(t.far, userBytes, input.below(2000), 0x4040)
            if choice & 0x80 != 0 {
                t.direction(false).pointee.kernel_begun &+= 1
                t.direction(false).pointee.kernel_count &+= 1
            }
        case 15:
            var fds = pollfd(fd: fd, events: Int16(POLLIN | POLLOUT), revents: 0)
            let n = bounded("poll") { Sockets.poll(&fds, 1, Int64(choice >> 7) * 1_000_000, nil) }
            require(n >= 0 || n == -Int(EINTR), "poll: \(n)")
        case 16:
            e.local.pointee.flowsRx.acquire()
            bounded("the sum") {
                _ = nextInRings(e)
                _ = Flows.arrived(e)
                Flows.countBeforeSleep(e, fd)
                FlowLane.askPeers(e)
            }
            e.local.pointee.flowsRx.release()
        case 17 where choice & 0x80 != 0:
            bounded("handing back") { Flows.handBack(e, .option, foreign: choice & 0x40 != 0) }
        case 18 where choice & 0x80 != 0: t.fake.drain()
        default: t.direction(false).pointee.kernel_begun = input.word(near: t.f.rx.pointee.kernel_bytes)
        }
    }
    t.end()
}

private func scribble(_ t: Target, _ input: inout Input) {
    let choice = input.byte()
    let memory = choice & 0x80 == 0 ? t.slot : t.region
    let place = 8 * (choice & 0x80 == 0 ? Int(choice & 63) : input.below(MemoryLayout<sl_region>.size / 8))
    let now = memory.load(fromByteOffset: place, as: UInt64.self)
    memory.storeBytes(of: input.word(near: now), toByteOffset: place, as: UInt64.self)
}
