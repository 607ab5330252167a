import CLinux
import CStackLayout
import Counters
import Glibc
import SharedMemory

@testable import Sockets
@testable import Stacks

nonisolated(unsafe) private var second: Connection? = nil
private let names: [UInt64] = [0xa, 0xb]

/// A program's set, and its calls that wait, over two lanes.
private struct Watcher {
    let fd: Int32
    let entry: UInt64
    let ends: [Attack]

    init(_ ends: [Attack]) {
        self.ends = ends
        fd = Int32(slc_epoll_create1(0o2000000))
        madeEpoll(fd)
        entry = DescriptorTable.entry(fd)
        require(DescriptorTable.kind(entry) == 2, "the set is not known")
    }

    func control(_ operation: Int32, _ i: Int, _ events: UInt32) {
        var event = epoll_event(events: events, data: epoll_data_t(u64: names[i]))
        let r = bounded("epoll_ctl") { epollCtl(fd, entry, operation, ends[i].fd, &event) }
        require(r == 0 || r == -Int(EEXIST) || r == -Int(ENOENT) || r == -Int(EINVAL), "epoll_ctl: \(r)")
    }

    /// What was reported, by member.
    func wait(_ most: Int, timeoutNs: Int64) -> [UInt32] {
        var found: [UInt32] = [0, 0]
        withUnsafeTemporaryAllocation(of: epoll_event.self, capacity: most) { room in
            let n = bounded("epoll_wait") { epollWait(fd, entry, room.baseAddress!, Int32(most), timeoutNs, nil) }
            require(n >= -Int(EINTR) && n <= most && n != -1, "epoll_wait: \(n) of \(most)")
            for event in room.prefix(max(0, n)) {
                guard let i = names.firstIndex(of: event.data.u64) else { complain("an event for \(event.data.u64)") }
                require(found[i] == 0, "two events for one member")
                found[i] = event.events
            }
        }
        return found
    }

    func poll(_ events: Int16, timeoutNs: Int64) {
        var fds = ends.map { pollfd(fd: $0.fd, events: events, revents: 0) }
        let n = fds.withUnsafeMutableBufferPointer { all in
            bounded("poll") { Sockets.poll(all.baseAddress!, all.count, timeoutNs, nil) }
        }
        let ready = fds.filter { $0.revents != 0 }.count
        require(n == ready || n == -Int(EINTR), "poll: \(n), and \(ready) are ready")
        require(fds.allSatisfy { $0.revents & ~(events | 0x38) == 0 }, "poll reports what nobody asked for")
    }

    /// A level-triggered report of bytes is kept by the next call, or the program would go round for ever.
    func isHonest(_ i: Int) {
        control(EPOLL_CTL_MOD, i, Readiness.IN)
        control(EPOLL_CTL_ADD, i, Readiness.IN)
        let e = ends[i].e
        e.pointee.rx_lowat = 1
        var turns = 0
        while wait(2, timeoutNs: 0)[i] & Readiness.IN != 0 {
            turns += 1
            require(turns < 4, "epoll_wait reports bytes, and nothing comes: \(state(e, ends[i].fd))")
            process.kernelLook = 0
            e.rx.pointee.kernel_look = 0
            let r = receiveByte(e, ends[i].fd)
            if r != -Int(EAGAIN) { break }
        }
    }

    func close() {
        bounded("close") {
            _ = beforeClose(fd, entry)
            slc_close(fd)
        }
    }
}

/// Two lanes in one epoll set, whose peers write what they like into the words by which a sleeper is known and woken.
func fuzzSets(_ input: inout Input) {
    let manner = input.byte()
    let one = connection ?? Connection()
    let two = second ?? Connection()
    (connection, second) = (one, two)
    let ends = [Attack(one, manner: manner), Attack(two, manner: manner >> 1)]
    let watcher = Watcher(ends)
    watcher.control(EPOLL_CTL_ADD, 0, Readiness.IN)
    if manner & 8 != 0 { watcher.control(EPOLL_CTL_ADD, 1, Readiness.IN | Readiness.OUT | 1 << 31) }
    var turns = 0
    while !input.isOver, turns < 40 {
        turns += 1
        let choice = input.byte()
        let i = Int(choice >> 7)
        let a = ends[i]
        switch choice & 0x7f % 18 {
        case 0, 1: a.scribble(&input, everywhere: false)
        case 2, 3, 4: a.scribble(&input, everywhere: true)
        case 5: a.publish(input.below(4096))
        case 6: a.consume()
        case 7: a.retreat()
        case 8: _ = slc_sendto(a.far, userBytes, input.below(4096), 0x4040)
        case 9: a.fake.drain()
        case 10: watcher.control(EPOLL_CTL_MOD, i, UInt32(input.number(UInt16.self)) | UInt32(input.byte()) << 24)
        case 11: watcher.control(input.byte() & 1 == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, i, Readiness.IN)
        case 12, 13: _ = watcher.wait(1 + Int(input.byte() & 3), timeoutNs: Int64(input.byte() & 1))
        case 14: watcher.poll(Int16(input.byte()) & 0xc7, timeoutNs: Int64(input.byte() & 1))
        case 15:
            // A call that waits: a microsecond at most.
            a.e.pointee.rx_timeout_ns = 1000
            a.e.pointee.tx_timeout_ns = 1000
            a.e.pointee.status_flags = 0
            transfer(a, &input) { bytes in
                bounded("a call that waits") {
                    choice & 0x40 == 0
                        ? streamReceive(a.e, a.fd, &bytes, ReceiveFlags(raw: 0)) : streamSend(a.e, a.fd, &bytes, 0x4000)
                }
            }
            a.e.pointee.status_flags = 0o4000
        case 16: watcher.isHonest(i)
        default:
            var bell = sl_message()
            bell.magic = SL_MESSAGE_MAGIC
            bell.nonce = 99
            bell.kind = UInt32(SL_MESSAGE_BELL)
            bell.index = UInt32(input.byte() % 70)
            let passed = descriptors(&input, proof: 0, regionBytes: 4096)
            a.fake.send(message(&input, like: bell), passed)
            for d in passed { slc_close(d) }
        }
    }
    watcher.close()
    if !ends[0].end(isShut: manner & 4 != 0) { connection = nil }
    if !ends[1].end(isShut: manner & 4 != 0) { second = nil }
    forgetPairs()
}
