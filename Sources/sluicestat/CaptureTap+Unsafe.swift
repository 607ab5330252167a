import CLinux
import CStackLayout
import Glibc

/// Why a stack cannot be captured.
enum TapFailure: Error, Equatable {
    /// Another tool, whose process id this is, does so.
    case busy(UInt64)
    /// Its library was not made for it, or its file may not be so large.
    case noRoom
    case noStack
    case system(Int32)

    var sentence: String {
        switch self {
        case .busy(let tool): "sluicestat, process \(tool), captures it already"
        case .noRoom: "its stack has no room for a capture (RLIMIT_FSIZE, or an older library)"
        case .noStack: "its stack is damaged"
        case .system(let number): errorText(number)
        }
    }
}

/// An end of a connection, or of a flow, whose bytes travel in memory.
struct LaneEnd: Hashable {
    var protocolNumber: UInt16
    var namespace: UInt64
    var local: SocketAddress
    var remote: SocketAddress

    /// The other end, as its process sees it.
    var other: LaneEnd { LaneEnd(protocolNumber: protocolNumber, namespace: namespace, local: remote, remote: local) }
}

/// A stack whose packets are captured. Its memory is mapped: the file is sealed, so that it cannot become shorter, and a lock on
/// it keeps other tools away and ends with this one. What the process writes there is input.
final class CaptureTap {
    let identity: FileIdentity
    let header: StackHeader
    /// The process's own packets are captured here; else another one is that holds endpoints of this stack.
    private(set) var hasRing = false
    private let descriptor: Int32
    private let memory: UnsafeMutableRawPointer
    private let capture: UnsafeMutableRawPointer
    private let first: Int
    private let capacity: Int
    private var tail: UInt64 = 0
    private var droppedBefore: UInt64 = 0
    private var word: UInt64 = 0
    private var ringBytes = 0

    private static var captureBytes: Int { Int(SL_CAPTURE_CONTROL) + Int(SL_CAPTURE_ROOM) }
    private static var stride: Int { MemoryLayout<sl_endpoint>.size }

    init(path: String) throws(TapFailure) {
        let fd = open(path, O_RDWR | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)
        guard fd >= 0 else { throw .system(errno) }
        do throws(TapFailure) {
            (identity, header, first, capacity) = try Self.look(fd)
            if flock(fd, LOCK_EX | LOCK_NB) != 0 {
                guard errno == EWOULDBLOCK else { throw .system(errno) }
                var tool: UInt64 = 0
                pread(fd, &tool, 8, off_t(SL_CAPTURE_OFFSET) + 16)
                throw .busy(tool)
            }
            memory = try Self.map(fd, 0, first + capacity * Self.stride)
            do throws(TapFailure) {
                capture = try Self.map(fd, Int(SL_CAPTURE_OFFSET), Self.captureBytes)
            } catch {
                munmap(memory, first + capacity * Self.stride)
                throw error
            }
        } catch {
            close(fd)
            throw error
        }
        descriptor = fd
    }

    /// Identity, header, and where the endpoints lie; all of it checked.
    private static func look(_ fd: Int32) throws(TapFailure) -> (FileIdentity, StackHeader, Int, Int) {
        var status = stat()
        guard fstat(fd, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { throw .noStack }
        let seals = fcntl(fd, 1034)  // F_GET_SEALS
        guard seals >= 0, seals & 6 == 6 else { throw .noStack }
        let size = MemoryLayout<sl_stack_header>.size
        var bytes = [UInt8](repeating: 0, count: size)
        guard pread(fd, &bytes, size, 0) == size, let raw = Layout.header(bytes), raw.magic == SL_STACK_MAGIC,
            raw.version == SL_LAYOUT_VERSION, Int(raw.endpoint_bytes) == stride, raw.first_endpoint == SL_STACK_FIRST_ENDPOINT
        else { throw .noStack }
        guard status.st_size >= Int64(SL_CAPTURE_OFFSET) + Int64(captureBytes) else { throw .noRoom }
        let first = Int(raw.first_endpoint)
        let capacity = Int(raw.endpoint_capacity)
        guard capacity <= (Int(SL_CAPTURE_OFFSET) - first) / stride else { throw .noStack }
        let identity = FileIdentity(device: UInt64(status.st_dev), inode: UInt64(status.st_ino))
        return (identity, Layout.record(raw, bytes), first, capacity)
    }

    private static func map(_ fd: Int32, _ offset: Int, _ bytes: Int) throws(TapFailure) -> UnsafeMutableRawPointer {
        guard let result = mmap(nil, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, off_t(offset)), result != MAP_FAILED else {
            throw .system(errno)
        }
        return result
    }

    private var stack: UnsafeMutablePointer<sl_stack_header> { memory.assumingMemoryBound(to: sl_stack_header.self) }
    private var control: UnsafeMutablePointer<sl_capture> { capture.assumingMemoryBound(to: sl_capture.self) }
    private var state: UInt64 { slc_acquire_u64(&stack.pointee.capture) & 0xf }

    /// Packets that found no room since the begin.
    var dropped: UInt64 { hasRing ? slc_relaxed_u64(&control.pointee.dropped) &- droppedBefore : 0 }
    /// What the process writes now, and may not be seen yet, is not older than this (CLOCK_REALTIME, ns); nil: it does not write. One
    /// that was killed or stopped there is not waited for.
    func writing(now: UInt64) -> UInt64? {
        guard hasRing else { return nil }
        let since = slc_acquire_u64(&control.pointee.writing)
        return since == 0 || since > now || now - since > 1_000_000_000 ? nil : since
    }

    /// The process cannot, for want of memory or descriptors.
    var isRefused: Bool { hasRing && state == UInt64(SL_CAPTURE_REFUSED) }

    /// The process shall write its packets here from now on, as the choice says.
    func begin(_ choice: CaptureChoice) throws(TapFailure) {
        // Allocated by this tool, its pages count for it, and the process never runs out of memory for them.
        ringBytes = choice.ringBytes
        guard fallocate(descriptor, 0, off_t(SL_CAPTURE_OFFSET), off_t(SL_CAPTURE_CONTROL) + off_t(ringBytes)) == 0 else {
            throw .system(errno)
        }
        slc_set_u64(&control.pointee.tool, UInt64(getpid()))
        tail = slc_acquire_u64(&control.pointee.head)
        slc_release_u64(&control.pointee.tail, tail)
        droppedBefore = slc_relaxed_u64(&control.pointee.dropped)
        hasRing = true
        let size = UInt64((ringBytes / Int(SL_CAPTURE_LEAST)).trailingZeroBitCount)
        word = UInt64(SL_CAPTURE_ON) | size << 4 | choice.protocolNumber << 8 | UInt64(choice.port) << 16
        word |= UInt64(UInt32(clamping: choice.keptBytes)) << 32
        keepOn()
    }

    /// Says that this tool runs. A process that was not read for long has ended the capture by itself: it begins again.
    func keepOn() {
        slc_release_u64(&control.pointee.beat, slc_relaxed_u64(&control.pointee.beat) &+ 1)
        if hasRing {
            if state == UInt64(SL_CAPTURE_OFF) || state == UInt64(SL_CAPTURE_WATCH) {
                slc_release_u64(&stack.pointee.capture, word)
            }
        } else if state == UInt64(SL_CAPTURE_OFF) {
            slc_release_u64(&stack.pointee.capture, UInt64(SL_CAPTURE_WATCH))
        }
    }

    /// The endpoints in use, by their places; those whose bytes travel in memory with their addresses.
    func endpoints() -> [(place: Int, lane: LaneEnd?)] {
        let count = min(Int(slc_relaxed_u32(&stack.pointee.endpoints_used)), capacity)
        return (0..<count).compactMap { place in
            let e = endpoint(place)
            guard e.pointee.state != UInt32(SL_ENDPOINT_FREE) else { return nil }
            guard e.pointee.lane == UInt32(SL_LANE_LOOPBACK) else { return (place, nil) }
            let end = LaneEnd(
                protocolNumber: e.pointee.protocol, namespace: e.pointee.netns_cookie, local: Self.address(e.pointee.local),
                remote: Self.address(e.pointee.remote))
            return (place, end)
        }
    }

    /// What is to be captured of the endpoint at `place`, one of `endpoints`: SL_WATCHED*.
    func watch(_ place: Int, _ what: Int) {
        let e = endpoint(place)
        if slc_relaxed_u32(&e.pointee.watched) != UInt32(what) { slc_set_u32(&e.pointee.watched, UInt32(what)) }
    }

    private func endpoint(_ place: Int) -> UnsafeMutablePointer<sl_endpoint> {
        (memory + first + place * Self.stride).assumingMemoryBound(to: sl_endpoint.self)
    }

    private static func address(_ raw: sl_address) -> SocketAddress {
        withUnsafeBytes(of: raw.ip) { SocketAddress(bytes: $0, port: raw.port) }
    }

    /// Takes the packets that are there; none has a time behind `now`. False: what lies there are none; it is passed over.
    func drain(into packets: inout [CapturedPacket], now: UInt64) -> Bool {
        guard hasRing else { return true }
        let head = slc_acquire_u64(&control.pointee.head)
        defer { slc_release_u64(&control.pointee.tail, tail) }
        guard head &- tail <= UInt64(ringBytes) else {
            tail = head
            return false
        }
        while tail != head {
            guard let (record, taken) = packet(at: tail, head &- tail) else {
                tail = head
                return false
            }
            var packet = record
            packet.time = min(packet.time, now)
            packets.append(packet)
            tail &+= taken
            // The process may go on writing at once.
            slc_release_u64(&control.pointee.tail, tail)
        }
        return true
    }

    /// The record at this offset, when it is one and ends within `available` bytes; and what it takes.
    private func packet(at offset: UInt64, _ available: UInt64) -> (CapturedPacket, UInt64)? {
        let size = MemoryLayout<sl_capture_record>.size
        guard available >= UInt64(size) else { return nil }
        let raw = bytes(at: offset, size).withUnsafeBytes { $0.loadUnaligned(as: sl_capture_record.self) }
        let taken = UInt64(size) + (UInt64(raw.bytes) + 7) & ~7
        guard raw.magic == UInt32(SL_CAPTURE_MAGIC), raw.bytes <= raw.length, raw.length <= 65507, taken <= available,
            raw.protocol == 6 && raw.length <= 65495 || raw.protocol == 17, raw.is_received <= 1
        else { return nil }
        let packet = CapturedPacket(
            time: raw.time_ns, isTCP: raw.protocol == 6, isReceived: raw.is_received == 1, namespace: raw.netns_cookie,
            life: EndpointLife(
                owner: raw.owner, index: raw.index, generation: raw.generation,
                lane: raw.protocol == 17 ? raw.lane_generation : 0), local: Self.address(raw.local),
            remote: Self.address(raw.remote), position: raw.position, acknowledged: raw.acknowledged, length: Int(raw.length),
            bytes: bytes(at: offset &+ UInt64(size), Int(raw.bytes)))
        return (packet, taken)
    }

    /// A copy of the ring's bytes, around its end.
    private func bytes(at offset: UInt64, _ count: Int) -> [UInt8] {
        let ring = capture + Int(SL_CAPTURE_CONTROL)
        let place = Int(offset & UInt64(ringBytes - 1))
        let first = min(count, ringBytes - place)
        return [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
            if count > 0 { memcpy(buffer.baseAddress!, ring + place, first) }
            if first < count { memcpy(buffer.baseAddress! + first, ring, count - first) }
            filled = count
        }
    }

    /// The process writes no more.
    func stop() { slc_release_u64(&stack.pointee.capture, 0) }

    /// Gives the memory back; another tool may capture.
    func end() {
        // FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE. The offsets before it stay: the process goes on counting.
        let ring = off_t(SL_CAPTURE_OFFSET) + off_t(SL_CAPTURE_CONTROL)
        if hasRing { fallocate(descriptor, 3, ring, off_t(SL_CAPTURE_ROOM)) }
        munmap(memory, first + capacity * Self.stride)
        munmap(capture, Self.captureBytes)
        close(descriptor)
    }
}
