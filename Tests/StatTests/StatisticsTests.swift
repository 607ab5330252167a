import CStackLayout
import Counters
import Foundation
import Testing

@testable import sluicestat

@Suite struct SurveyTests {
    private func socket(state: UInt8, inode: UInt64, cookie: UInt64?) -> KernelSocket {
        KernelSocket(
            isTCP: true, isIPv6: false, state: state, local: SocketAddress(ipv4: 1, port: 2),
            remote: SocketAddress(ipv4: 3, port: 4),
            interface: 0, userID: 0, inode: inode, cookie: cookie, namespace: "n")
    }

    @Test("a socket that the kernel tells twice is there once, as it was told last")
    func twice() throws {
        var kernel = KernelSockets(includesUDP: false)
        let before = kernel.all.count
        let (inode, cookie) = (UInt64.max, UInt64.max - 1)
        kernel.add(socket(state: 1, inode: inode, cookie: cookie))
        kernel.add(socket(state: 1, inode: inode, cookie: cookie))
        // In TIME_WAIT it has no inode any more.
        kernel.add(socket(state: 6, inode: 0, cookie: cookie))
        #expect(kernel.all.count == before + 1)
        let place = try #require(kernel.byCookie[cookie])
        #expect(kernel.all[place].stateName == "TIME_WAIT" && kernel.byInode[inode] == place)
        // From /proc: by inode alone, and without one each is another.
        kernel.add(socket(state: 1, inode: inode - 1, cookie: nil))
        kernel.add(socket(state: 8, inode: inode - 1, cookie: nil))
        kernel.add(socket(state: 6, inode: 0, cookie: nil))
        kernel.add(socket(state: 6, inode: 0, cookie: nil))
        #expect(kernel.all.count == before + 4)
    }

    @Test("an endpoint that has no cookie yet, of a socket that came after the look at the process, makes no second row")
    func young() throws {
        let process = try #require(ProcessRecord(id: getpid()))
        let pair = try LoopbackPair()
        var image = StackImage()
        image.add(
            lane: SL_LANE_KERNEL, local: SocketAddress(ipv4: 0x7f00_0001, port: pair.clientPort),
            remote: SocketAddress(ipv4: 0x7f00_0001, port: pair.port))
        // One that tells nothing yet.
        image.add(lane: SL_LANE_KERNEL)
        // One that the kernel does not list at all keeps its row.
        image.add(lane: SL_LANE_KERNEL, local: SocketAddress(ipv4: 0x7f00_0001, port: 1), remote: SocketAddress(ipv4: 1, port: 7))
        let memory = StackMemory(image.bytes)
        var earlier = process
        earlier.stackDescriptors = [memory.descriptor]
        let survey = Survey([earlier], includesUDP: false)
        withExtendedLifetime(memory) {}
        let rows = survey.rows.filter { $0.local.port == pair.clientPort && $0.remote.port == pair.port }
        #expect(rows.count == 1 && rows.first?.kernel != nil)
        #expect(!survey.rows.contains { $0.kernel == nil && $0.local.port == 0 })
        #expect(survey.rows.count { $0.remote.port == 7 && $0.local.port == 1 } == 1)
    }

    @Test("two stacks of one process that know one socket, which the kernel does not list, make one row")
    func shared() throws {
        var images = [StackImage(), StackImage()]
        for (place, lane) in [SL_LANE_KERNEL, SL_LANE_LOOPBACK].enumerated() {
            images[place].add(lane: lane, cookie: .max - 7, remote: SocketAddress(ipv4: 1, port: 7))
        }
        let memories = images.map { StackMemory($0.bytes) }
        var process = try #require(ProcessRecord(id: getpid()))
        process.stackDescriptors = memories.map { $0.descriptor }
        let rows = Survey([process], includesUDP: false).rows.filter { $0.endpoint?.cookie == .max - 7 }
        withExtendedLifetime(memories) {}
        #expect(rows.count == 1 && rows.first?.isBypassed == true && rows.first?.holders.count == 1)
    }
}

@Suite struct StatisticsTests {
    @Test("sums are of all, of a maximum the greatest; no number traps")
    func sums() throws {
        var image = StackImage()
        image.header.counters.2 = .max
        for value: UInt64 in [3, .max] {
            image.add(lane: SL_LANE_LOOPBACK, rx: value)
            image.endpoints[image.endpoints.count - 1].counters.rx_ring_bytes = value
        }
        image.endpoints[1].counters.send_spin_max = 9
        let record = try StackRecord(MemorySource(image.bytes))
        var sum = StackSum(record)
        #expect(sum.lanes == 2 && sum.endpoints == 2 && sum.socketCounters[0] == 2 && sum.ringBytes == 2)
        sum.add(record)
        #expect(sum.stacks == 2 && sum.processCounters[StackCounter.lanesOpened] == .max - 1 && sum.socketCounters[13] == 9)
    }
}
