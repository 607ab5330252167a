import CLinux
import CStackLayout
import Foundation
import Testing

@testable import sluicestat

@Suite struct CaptureTests {
    private static let one = SocketAddress(ipv4: 0x7f00_0001, port: 40000)
    private static let other = SocketAddress(ipv4: 0x7f00_0001, port: 80)

    private func packet(
        _ bytes: [UInt8], at position: UInt64 = 0, isTCP: Bool = true, isReceived: Bool = false, life: UInt32 = 1,
        local: SocketAddress = one, remote: SocketAddress = other, length: Int? = nil
    ) -> CapturedPacket {
        CapturedPacket(
            time: 1_700_000_000_123_456_789, isTCP: isTCP, isReceived: isReceived, namespace: 1,
            life: EndpointLife(owner: 7, index: 0, generation: life, lane: 0), local: isReceived ? remote : local,
            remote: isReceived ? local : remote, position: position, acknowledged: 5, length: length ?? bytes.count, bytes: bytes)
    }

    /// The internet checksum as RFC 1071 has it, two bytes at a time.
    private func slowSum(_ bytes: [UInt8]) -> UInt16 {
        var total = 0
        for (place, byte) in bytes.enumerated() { total += place % 2 == 0 ? Int(byte) << 8 : Int(byte) }
        while total > 0xffff { total = total % 0x10000 + total / 0x10000 }
        return UInt16(total)
    }

    @Test("the sum equals that of the specification, for every length")
    func sums() {
        var random = SeededGenerator(state: 1)
        for length in 0..<300 {
            let bytes = (0..<length).map { _ in UInt8(truncatingIfNeeded: random.next()) }
            #expect(PacketBytes.sum(bytes) == slowSum(bytes))
            #expect(PacketBytes.sum(bytes, 0xabcd) == slowSum([0xab, 0xcd] + bytes))
        }
        #expect(PacketBytes.sum([UInt8](repeating: 0xff, count: 65536)) == 0xffff)
    }

    @Test("a packet of TCP over IPv4, byte by byte")
    func tcp() {
        let headers = PacketBytes.headers(of: packet([1, 2, 3], at: 999), number: 0x0102)
        let expected: [UInt8] = [
            0x45, 0, 0, 43, 1, 2, 0x40, 0, 64, 6, 0x3b, 0xc9, 127, 0, 0, 1, 127, 0, 0, 1,  //
            0x9c, 0x40, 0, 80, 0, 0, 3, 0xe8, 0, 0, 0, 6, 0x50, 0x18, 0xff, 0xff,
        ]
        #expect(Array(headers.prefix(36)) == expected && headers.count == 40)
        #expect(slowSum(Array(headers.prefix(20))) == 0xffff)
        let pseudo: [UInt8] = [127, 0, 0, 1, 127, 0, 0, 1, 0, 6, 0, 23]
        #expect(slowSum(pseudo + headers.dropFirst(20) + [1, 2, 3]) == 0xffff)
    }

    @Test("datagrams over IPv6; one whose checksum comes to 0 has the other zero")
    func udp() {
        let near = SocketAddress(bytes: [UInt8](repeating: 0, count: 15) + [1], port: 1)
        for value in 0..<0x10000 {
            let data = [UInt8(value >> 8), UInt8(value & 0xff)]
            let headers = PacketBytes.headers(of: packet(data, isTCP: false, local: near, remote: near), number: 1)
            #expect(headers.count == 48 && headers[0] == 0x60 && headers[5] == 10 && headers[6] == 17)
            let pseudo = Array(headers[8..<40]) + [0, 10, 0, 17]
            if slowSum(pseudo + headers.dropFirst(40) + data) != 0xffff || headers[46] == 0 && headers[47] == 0 {
                Issue.record("the checksum of \(value)")
            }
        }
    }

    @Test("the record of a packet that is cut says how long it was")
    func cut() throws {
        var file = PacketBytes.fileHeader(snapshot: 60)
        PacketBytes.append(packet([UInt8](repeating: 9, count: 30), length: 1000), number: 1, snapshot: 60, to: &file)
        #expect(file.count == 24 + 16 + 60 && file.number(UInt32.self, at: 0) == 0xa1b2_3c4d)
        #expect(file.number(UInt32.self, at: 20) == 101 && file.number(UInt32.self, at: 24) == 1_700_000_000)
        #expect(file.number(UInt32.self, at: 28) == 123_456_789)
        #expect(file.number(UInt32.self, at: 32) == 60 && file.number(UInt32.self, at: 36) == 1040)
        var small: [UInt8] = []
        PacketBytes.append(packet([1, 2, 3]), number: 1, snapshot: 10, to: &small)
        #expect(small.count == 16 + 10)
    }

    @Test("each byte once, whoever tells of it; what was lost is a gap")
    func flows() {
        var flows = CaptureFlows()
        func admitted(_ packet: CapturedPacket) -> [UInt8]? {
            var copy = packet
            return flows.admit(&copy) ? copy.bytes : nil
        }
        #expect(admitted(packet([1, 2, 3], at: 100)) == [1, 2, 3])
        #expect(admitted(packet([1, 2], at: 100, isReceived: true)) == nil)
        #expect(admitted(packet([3, 4, 5], at: 102, isReceived: true)) == [4, 5])
        #expect(admitted(packet([4], at: 103)) == nil)
        #expect(admitted(packet([9], at: 200)) == [9])
        // The other direction is another.
        #expect(admitted(packet([7], at: 50, local: Self.other, remote: Self.one)) == [7])
        // Another socket at these addresses begins anew.
        #expect(admitted(packet([8], at: 0, life: 2)) == [8])
        #expect(admitted(packet([8], at: 0, isReceived: true, life: 3)) == nil)
        #expect(admitted(packet([8], at: UInt64.max)) == nil)
    }

    @Test("of datagrams, too; empty ones count")
    func datagrams() {
        var flows = CaptureFlows()
        func isAdmitted(_ bytes: [UInt8], _ position: UInt64, _ isReceived: Bool) -> Bool {
            var copy = packet(bytes, at: position, isTCP: false, isReceived: isReceived)
            return flows.admit(&copy)
        }
        #expect(
            isAdmitted([], 64, false) && !isAdmitted([], 64, true) && isAdmitted([], 128, true) && !isAdmitted([], 128, false))
        #expect(isAdmitted([1], 192, false))
    }
}

/// A stack in a file of its own, as a process that is not to be trusted may make it.
private struct HostileStack: ~Copyable {
    let descriptor: Int32
    var path: String { "/proc/self/fd/\(descriptor)" }

    init(
        _ header: [UInt8], bytes: Int = Int(SL_CAPTURE_OFFSET) + Int(SL_CAPTURE_CONTROL) + Int(SL_CAPTURE_ROOM), seals: Int32 = 7
    ) {
        descriptor = Int32(slc_memfd_create("sluice", 3))
        ftruncate(descriptor, off_t(bytes))
        put(header, at: 0)
        _ = fcntl(descriptor, 1033, seals)
    }

    func put(_ bytes: [UInt8], at offset: Int) { pwrite(descriptor, bytes, bytes.count, off_t(offset)) }

    deinit { close(descriptor) }
}

@Suite struct CaptureTapTests {
    private static let control = Int(SL_CAPTURE_OFFSET)

    private func word(_ value: UInt64) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.append(number: value)
        return bytes
    }

    /// A record with these bytes, as the library writes it.
    private func record(_ bytes: [UInt8], harm: (inout sl_capture_record) -> Void = { _ in }) -> [UInt8] {
        var raw = sl_capture_record()
        raw.magic = UInt32(SL_CAPTURE_MAGIC)
        raw.bytes = UInt32(bytes.count)
        raw.length = raw.bytes
        raw.protocol = 6
        raw.time_ns = 1000
        harm(&raw)
        let all = withUnsafeBytes(of: raw) { Array($0) } + bytes
        return all + [UInt8](repeating: 0, count: (8 - bytes.count % 8) % 8)
    }

    private func failure(_ stack: borrowing HostileStack) -> TapFailure? {
        do throws(TapFailure) {
            try CaptureTap(path: stack.path).end()
            return nil
        } catch {
            return error
        }
    }

    @Test("stacks that could become shorter, are too short, or say what cannot be, are refused")
    func refused() throws {
        #expect(failure(HostileStack(StackImage().bytes)) == nil)
        #expect(failure(HostileStack(StackImage().bytes, seals: 4)) == .noStack)
        #expect(failure(HostileStack(StackImage().bytes, bytes: 1 << 20)) == .noRoom)
        var image = StackImage()
        image.header.endpoint_capacity = 1 << 30
        #expect(failure(HostileStack(image.bytes)) == .noStack)
        image = StackImage()
        image.header.first_endpoint = 8
        #expect(failure(HostileStack(image.bytes)) == .noStack)
        #expect(failure(HostileStack([UInt8](repeating: 0, count: 640))) == .noStack)
    }

    @Test("one tool at a time")
    func busy() throws {
        let stack = HostileStack(StackImage().bytes)
        let tap = try CaptureTap(path: stack.path)
        try tap.begin(CaptureChoice())
        #expect(failure(stack) == .busy(UInt64(getpid())))
        tap.end()
        #expect(failure(stack) == nil)
    }

    @Test("records are read, also around the ring's end; what is none is passed over")
    func records() throws {
        let stack = HostileStack(StackImage().bytes)
        let tap = try CaptureTap(path: stack.path)
        defer { tap.end() }
        let size = 1 << 20
        let start = size - 140
        stack.put(word(UInt64(start)), at: Self.control + 64)
        var choice = CaptureChoice()
        choice.ringBytes = size
        try tap.begin(choice)
        let ring = Self.control + Int(SL_CAPTURE_CONTROL)
        let whole = record(Array(1...50))
        stack.put(Array(whole.prefix(140)), at: ring + start)
        stack.put(Array(whole.dropFirst(140)), at: ring)
        stack.put(word(UInt64(start + whole.count)), at: Self.control + 64)
        var packets: [CapturedPacket] = []
        #expect(tap.drain(into: &packets, now: 500))
        #expect(packets.count == 1 && packets[0].bytes == Array(1...50) && packets[0].time == 500)
        var at = start + whole.count
        let harms: [(inout sl_capture_record) -> Void] = [
            { $0.magic = 1 }, { $0.bytes = .max }, { $0.length = 0 }, { $0.length = 70000 }, { $0.protocol = 1 },
            { $0.is_received = 2 },
            {
                $0.bytes = 60
                $0.length = 60
            },
        ]
        for harm in harms {
            let bad = record([1, 2, 3], harm: harm)
            stack.put(bad, at: ring + at % size)
            at += bad.count
            stack.put(word(UInt64(at)), at: Self.control + 64)
            #expect(!tap.drain(into: &packets, now: .max) && packets.count == 1)
        }
        // More than the ring can hold.
        stack.put(word(UInt64(at + size + 8)), at: Self.control + 64)
        #expect(!tap.drain(into: &packets, now: .max) && packets.count == 1)
    }

    @Test("random bytes trap nothing", arguments: [1, 2, 3, 4] as [UInt64])
    func random(seed: UInt64) throws {
        var random = SeededGenerator(state: seed)
        let stack = HostileStack(StackImage().bytes)
        let tap = try CaptureTap(path: stack.path)
        defer { tap.end() }
        try tap.begin(CaptureChoice())
        var flows = CaptureFlows()
        var at: UInt64 = 0
        for _ in 0..<2000 {
            var bad = record((0..<Int(random.next() % 64)).map { UInt8($0) })
            let flips = Int(random.next() % 4)
            for _ in 0..<flips { bad[Int(random.next() % UInt64(bad.count))] = UInt8(truncatingIfNeeded: random.next()) }
            stack.put(bad, at: Self.control + Int(SL_CAPTURE_CONTROL) + Int(at % (8 << 20)))
            at += UInt64(bad.count)
            stack.put(word(at), at: Self.control + 64)
            var packets: [CapturedPacket] = []
            _ = tap.drain(into: &packets, now: .max)
            var file: [UInt8] = []
            for var packet in packets where flows.admit(&packet) {
                PacketBytes.append(packet, number: 1, snapshot: 100, to: &file)
            }
        }
    }
}
