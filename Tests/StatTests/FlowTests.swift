import CLinux
import CStackLayout
import Counters
import Foundation
import Testing

@testable import sluicestat

/// Three UDP sockets of this process: `server` without a peer, `client`, connected to it, and `other`, which has no stack's word.
final class DatagramSockets {
    let server: Int32
    let client: Int32
    let other: Int32

    init() throws {
        (server, client, other) = (try Self.bound(), try Self.bound(), try Self.bound())
        var name = Self.name(try Self.port(server))
        try #require(slc_connect(client, &name, 16) == 0)
    }

    deinit { for descriptor in [server, client, other] { slc_close(descriptor) } }

    private static func name(_ port: UInt16) -> sockaddr_in {
        var name = sockaddr_in()
        name.sin_family = sa_family_t(AF_INET)
        name.sin_addr.s_addr = in_addr_t(0x7f00_0001).bigEndian
        name.sin_port = port.bigEndian
        return name
    }

    private static func bound() throws -> Int32 {
        let descriptor = slc_socket(AF_INET, 2 | 0o2000000, 0)
        try #require(descriptor >= 0)
        var name = name(0)
        try #require(slc_bind(Int32(descriptor), &name, 16) == 0)
        return Int32(descriptor)
    }

    private static func port(_ descriptor: Int32) throws -> UInt16 {
        var (name, length) = (sockaddr_in(), UInt32(16))
        try #require(slc_getsockname(descriptor, &name, &length) == 0)
        return UInt16(bigEndian: name.sin_port)
    }

    func address(_ descriptor: Int32) throws -> SocketAddress {
        SocketAddress(ipv4: 0x7f00_0001, port: try Self.port(descriptor))
    }

    func cookie(_ descriptor: Int32) -> UInt64 {
        var (value, length) = (UInt64(0), UInt32(8))
        return slc_getsockopt(descriptor, SOL_SOCKET, 57, &value, &length) == 0 ? value : 0
    }
}

/// What a stack says of them: the server has a flow with a lane to the client and one without to a third address.
struct FlowScene {
    let sockets: DatagramSockets
    let image: StackImage
    let memory: StackMemory
    let (here, there, far): (String, String, String)

    init() throws {
        sockets = try DatagramSockets()
        let (server, client) = (try sockets.address(sockets.server), try sockets.address(sockets.client))
        let third = SocketAddress(ipv4: 0x7f00_0001, port: 9)
        var image = StackImage()
        let (mine, its) = (sockets.cookie(sockets.server), sockets.cookie(sockets.client))
        image.add(
            state: SL_ENDPOINT_LIVE, lane: SL_LANE_KERNEL, reason: Reason.young.number, flags: SL_EP_GIVEN_UP, cookie: mine,
            local: server, isDatagram: true)
        image.add(
            lane: SL_LANE_LOOPBACK, flags: SL_EP_FLOW, cookie: mine, local: server, remote: client, rx: 11, tx: 22, drops: 33,
            isDatagram: true)
        image.add(
            lane: SL_LANE_KERNEL, reason: Reason.plainPeer.number, flags: SL_EP_FLOW | SL_EP_GIVEN_UP, cookie: mine,
            local: server, remote: third, isDatagram: true)
        image.add(
            lane: SL_LANE_KERNEL, reason: Reason.young.number, flags: SL_EP_GIVEN_UP, cookie: its, local: client, remote: server,
            isDatagram: true)
        // It sends alone: no datagram that came has told it that the lane is in use.
        image.add(
            lane: SL_LANE_LOOPBACK, reason: Reason.young.number, flags: SL_EP_FLOW, cookie: its, local: client, remote: server,
            tx: 44, isDatagram: true)
        // Of a socket that nobody holds any more.
        image.add(
            lane: SL_LANE_LOOPBACK, flags: SL_EP_FLOW, cookie: .max - 9, local: third, remote: server, isDatagram: true)
        self.image = image
        memory = StackMemory(image.bytes)
        (here, there, far) = (server.dotted, client.dotted, third.dotted)
    }
}

@Suite struct FlowTests {
    let me = String(getpid())

    @Test("netstat has a row for each flow, one for its socket, and one for a connected socket with its flow")
    func netstat() throws {
        let scene = try FlowScene()
        let run = try ToolRun(["netstat", "-a", "-P", "udp"])
        #expect(run.rows(scene.here, "*.*") == [[scene.here, "*.*", "Idle", "lo", "0", "0", "0"]])
        #expect(run.rows(scene.here, scene.there) == [[scene.here, scene.there, "Connected", "lo", "11", "22", "33"]])
        #expect(run.rows(scene.here, scene.far) == [[scene.here, scene.far, "Connected", "lo", "0", "0", "0"]])
        #expect(run.rows(scene.there, scene.here) == [[scene.there, scene.here, "Connected", "lo", "0", "44", "0"]])
        #expect(run.rows(scene.far, scene.here).isEmpty)
        let past = try ToolRun(["netstat", "-k", "-P", "udp", "-u"])
        #expect(past.rows(scene.here).count == 1 && past.rows(scene.here, scene.there).first?[8] == me)
        #expect(past.rows(scene.there, scene.here).count == 1)
    }

    @Test("why PID:FD of a UDP socket lists its flows with lane, reason and peer")
    func why() throws {
        let scene = try FlowScene()
        let server = try ToolRun(["why", "\(me):\(scene.sockets.server)"])
        #expect(server.status == 0 && server.output.contains("State           Idle") && !server.output.contains("young"))
        #expect(server.output.contains("lanes and reasons of their own"))
        let laned = try #require(server.rows(scene.here, scene.there).first)
        #expect(laned.dropFirst(2).starts(with: ["loopback", "-", "11", "22", "33", me]))
        #expect(server.rows(scene.here, scene.far).first?.dropFirst(2).starts(with: ["kernel", "plain_peer"]) == true)
        #expect(server.output.contains("\(Reason.plainPeer.text!.sentence)"))
        let client = try ToolRun(["why", "\(me):\(scene.sockets.client)"])
        #expect(client.output.contains("Lane            loopback") && !client.output.contains("Reason"))
        #expect(client.output.contains("Peer            \(me)"))
        let all = try ToolRun(["why", me])
        #expect(all.output.prefix { $0 != "\n" }.contains(" peers of UDP sockets, "))
        #expect(all.rows(String(scene.sockets.server)).count == 3)
        let other = try ToolRun(["why", "\(me):\(scene.sockets.other)"])
        #expect(other.output.contains("foreign_origin"))
    }

    @Test("JSON says which rows are flows")
    func json() throws {
        let scene = try FlowScene()
        let run = try ToolRun(["why", "\(me):\(scene.sockets.server)", "--json"])
        let sockets = try #require(run.object()["sockets"] as? [[String: Any]])
        #expect(sockets.count == 3 && sockets.count { $0["is_flow"] as? Bool == true } == 2)
        #expect(sockets.first?["is_flow"] == nil && sockets.first?["reason"] == nil)
        #expect(Set(sockets.compactMap { $0["inode"] as? Int }).count == 1)
    }

    @Test("sums count sockets, not flows, and lanes of flows")
    func sums() throws {
        let scene = try FlowScene()
        let record = try StackRecord(MemorySource(scene.image.bytes))
        let sum = StackSum(record)
        #expect(record.endpoints.count == 6 && sum.endpoints == 2 && sum.lanes == 3)
        let joined = record.joined
        #expect(joined.count == 5 && joined.count { $0.isBypassed } == 3)
        let page = Exposition.text([], [record], unreadable: 0)
        #expect(page.contains("sluice_sockets{lane=\"loopback\",reason=\"none\"} 3"))
    }
}
