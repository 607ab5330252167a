import CLinux
import CStackLayout
import CTestSupport
import Counters
import SharedMemory
import Testing

@testable import Stacks

extension StacksTests {
    @Suite struct RendezvousTests {
        /// Steps both ends until each has met or failed; at most 1000 steps.
        private func meet(_ c: Connection) -> (MeetingResult, MeetingResult) {
            var a = MeetingResult.goOn
            var b = MeetingResult.goOn
            for _ in 0..<1000 {
                if case .goOn = b { b = Rendezvous.step(c.acceptor, c.server) }
                if case .goOn = a { a = Rendezvous.step(c.connector, c.client) }
                if case .goOn = a { continue }
                if case .goOn = b { continue }
                break
            }
            return (a, b)
        }

        @Test("two ends in one process meet: one region, one slot, the same rings; the next two take the next slot")
        func meeting() throws {
            var slots: [Int32] = []
            for _ in 0..<3 {
                let c = try Connection()
                let (a, b) = meet(c)
                guard case .met(let pairA, let regionA, let slotA, let ringsA) = a,
                    case .met(let pairB, let regionB, let slotB, let ringsB) = b
                else {
                    Issue.record("\(a), \(b)")
                    return
                }
                #expect(pairA.pointee.side == 0 && pairB.pointee.side == 1 && regionA == regionB && slotA == slotB)
                slots.append(slotA)
                ringsA.storeBytes(of: 0x1234_5678, as: UInt32.self)
                #expect(ringsB.load(as: UInt32.self) == 0x1234_5678)
                let map = try #require(pairB.map(regionB))
                #expect(map.pointee.token.0 == pairA.pointee.token.0 && map.pointee.ring_bytes == pairA.pointee.ringBytes)
                for rings in [ringsA, ringsB] { Memory.unmap(UInt64(UInt(bitPattern: rings)), 2 * Int(pairA.pointee.ringBytes)) }
                Rendezvous.withdraw(c.connector)
                Rendezvous.withdraw(c.acceptor)
            }
            #expect(slots == [0, 1, 2])
        }

        @Test("an offer that is never read costs nothing: the next meeting takes its slot, and the new region comes with it")
        func unread() throws {
            forgetPairs()
            let first = try Connection()
            guard case (.met(let pair, 0, 0, let a), .met(let far, 0, 0, let b)) = meet(first) else {
                Issue.record("they do not meet")
                return
            }
            for rings in [a, b] { Memory.unmap(UInt64(UInt(bitPattern: rings)), 2 * Int(pair.pointee.ringBytes)) }
            pair.pointee.regions[0].used = ~0
            first.connector.local.pointee.meeting.step = .over
            let gone = try Connection()
            for _ in 0..<100 where gone.connector.local.pointee.meeting.step != .offered {
                _ = Rendezvous.step(gone.connector, gone.client)
                if gone.acceptor.local.pointee.meeting.step != .proven { _ = Rendezvous.step(gone.acceptor, gone.server) }
            }
            #expect(pair.pointee.regionCount == 2 && far.pointee.regionCount == 1)
            process.lock.acquire()
            Rendezvous.withdraw(gone.connector)
            process.lock.release()
            #expect(pair.pointee.regions[1].used == 0)
            for slot in 0..<2 as Range<Int32> {
                let c = try Connection()
                guard case (.met(pair, 1, slot, let a), .met(far, 1, slot, let b)) = meet(c) else {
                    Issue.record("they do not meet")
                    return
                }
                for rings in [a, b] { Memory.unmap(UInt64(UInt(bitPattern: rings)), 2 * Int(pair.pointee.ringBytes)) }
                #expect(pair.pointee.regions[1].isTaken)
                c.connector.local.pointee.meeting.step = .over
            }
            // Its reader comes too late.
            #expect(failure(Rendezvous.step(gone.acceptor, gone.server)) == .plainPeer)
            Rendezvous.withdraw(gone.acceptor)
            forgetPairs()
        }

        @Test("nobody there: both ends give up")
        func nobody() throws {
            let c = try Connection()
            var looks = 0
            var result = MeetingResult.goOn
            while case .goOn = result, looks < 10_000 {
                result = Rendezvous.step(c.connector, c.client)
                looks += 1
            }
            guard case .failed(.plainPeer) = result else {
                Issue.record("\(result)")
                return
            }
            looks = 0
            result = .goOn
            while case .goOn = result, looks < 10_000 {
                result = Rendezvous.step(c.acceptor, c.server)
                looks += 1
            }
            guard case .failed(.plainPeer) = result else {
                Issue.record("\(result)")
                return
            }
            #expect(OpenNames.count == 1)
            Rendezvous.withdraw(c.acceptor)
            #expect(OpenNames.count == 0)
        }

        @Test("an impostor at the name first: without the connection it proves nothing, and the true end still meets")
        func impostor() throws {
            let c = try Connection()
            guard case .goOn = Rendezvous.step(c.acceptor, c.server) else {
                Issue.record("no name")
                return
            }
            let impostor = try #require(FakeEnd.knocking(at: c.name()))
            let other = try Connection()
            let set = Int32(slc_epoll_create1(0))
            var event = epoll_event()
            #expect(slc_epoll_ctl(set, EPOLL_CTL_ADD, other.client, &event) == 0)
            impostor.send(hello(), [set])
            slc_close(set)
            let (a, b) = meet(c)
            guard case .met = a, case .met = b else {
                Issue.record("\(a), \(b)")
                return
            }
            while let m = impostor.receive() { #expect(m.kind == UInt32(SL_MESSAGE_HELLO), "no region for the impostor") }
            impostor.close()
        }

        /// Steps until it ends, 300 at most; what it has mapped or made is given back.
        @discardableResult
        private func exhaust(_ e: Endpoint, _ fd: Int32, keepingPairs: Bool = false) -> Bool {
            var hasMet = false
            for _ in 0..<300 {
                switch Rendezvous.step(e, fd) {
                case .goOn: continue
                case .met(let pair, let region, let slot, let rings):
                    #expect(region >= 0 && region < pair.pointee.regionCount && slot >= 0 && slot < 64)
                    Memory.unmap(UInt64(UInt(bitPattern: rings)), 2 * Int(pair.pointee.ringBytes))
                    process.lock.acquire()
                    pair.leaveSlot(region, slot)
                    process.lock.release()
                    hasMet = true
                case .failed: break
                }
                break
            }
            Rendezvous.withdraw(e)
            if !keepingPairs { forgetPairs() }
            return hasMet
        }

        @Test("accepting end: wild greetings with wild descriptors", arguments: [61, 62, 63] as [UInt64])
        func wildGreeting(seed: UInt64) throws {
            var random = SeededRandom(seed: seed)
            let passed = Passed()
            for _ in 0..<60 {
                let c = try Connection()
                _ = Rendezvous.step(c.acceptor, c.server)
                for _ in 0..<Int.random(in: 1...10, using: &random) {
                    guard let fake = FakeEnd.knocking(at: c.name()) else { break }
                    let count = [0, 0, 1, 1, 2, 16, 20, 200].randomElement(using: &random)!
                    let length = random.next() % 4 == 0 ? Int.random(in: 0...96, using: &random) : 96
                    fake.send(
                        wildMessage(&random, like: hello()), length: length, Array(repeating: passed.descriptor, count: count))
                    _ = Rendezvous.step(c.acceptor, c.server)
                    _ = Rendezvous.step(c.acceptor, c.server)
                    fake.close()
                }
                exhaust(c.acceptor, c.server)
            }
            #expect(passed.allAreClosed())
            #expect(OpenNames.count == 0)
        }

        @Test("accepting end: wild regions from somebody who holds the connection", arguments: [71, 72, 73] as [UInt64])
        func wildRegion(seed: UInt64) throws {
            var random = SeededRandom(seed: seed)
            let passed = Passed()
            var returns = 0
            var slots = 0
            var channels: [FakeEnd] = []
            for round in 0..<300 {
                let c = try Connection()
                _ = Rendezvous.step(c.acceptor, c.server)
                let fake = try #require(FakeEnd.knocking(at: c.name()))
                let set = proof(c.client)
                fake.send(hello(), [set])
                slc_close(set)
                _ = Rendezvous.step(c.acceptor, c.server)
                #expect(c.acceptor.local.pointee.meeting.step == .proven)
                var offer = hello()
                offer.kind = UInt32(SL_MESSAGE_REGION)
                offer.ticket = openTicket
                // The first of a few rounds makes the pair, the others come back to it.
                let known = Pair.find(side: 1, met(nonce: offer.nonce))
                if known != nil { returns += 1 }
                offer.index = known == nil ? 1 : 0
                offer.region = known.map { UInt32($0.pointee.regionCount) } ?? 0
                offer.region_bytes = UInt64(Pair.regionBytes(offer.ring_bytes))
                let isWild = random.next() % 4 != 0
                switch random.next() % 4 {
                case 0:
                    offer.region = 0
                    fake.send(isWild ? wildMessage(&random, like: offer) : offer)
                case 1: fake.send(isWild ? wildMessage(&random, like: offer) : offer, [passed.descriptor])
                default:
                    let size = random.next() % 4 == 0 ? Int.random(in: 0...1 << 22, using: &random) : Int(offer.region_bytes)
                    let file = try #require(regionFile(bytes: size, seals: random.next() % 4 == 0 ? 3 : 7))
                    fake.send(
                        isWild ? wildMessage(&random, like: offer) : offer,
                        [file] + (random.next() % 2 == 0 ? [passed.descriptor] : []))
                    slc_close(file)
                }
                // The channel of a pair stays as long as the pair is to be found.
                let makesPair = known == nil
                let closesFirst = !makesPair && random.next() % 2 == 0
                if closesFirst { fake.close() }
                if exhaust(c.acceptor, c.server, keepingPairs: round % 12 != 11) { slots += 1 }
                if makesPair { channels.append(fake) } else if !closesFirst { fake.close() }
                if round % 12 == 11 {
                    for channel in channels { channel.close() }
                    channels = []
                }
            }
            #expect(returns > 100 && slots > 15)
            #expect(passed.allAreClosed())
        }

        @Test("connecting end: wild greetings and answers", arguments: [81, 82, 83] as [UInt64])
        func wildAnswers(seed: UInt64) throws {
            var random = SeededRandom(seed: seed)
            let passed = Passed()
            for round in 0..<80 {
                let c = try Connection()
                let name = Int32(slc_socket(AF_UNIX, 5 | 0o2000000 | 0o4000, 0))
                var (address, length) = c.name()
                try #require(slc_bind(name, &address, length) == 0 && slc_listen(name, 4) == 0)
                _ = Rendezvous.step(c.connector, c.client)
                let fake = FakeEnd(socket: Int32(slc_accept4(name, nil, nil, 0o2000000 | 0o4000)))
                if round % 2 == 0 {
                    fake.send(wildMessage(&random, like: hello()), round % 4 == 0 ? [passed.descriptor] : [])
                } else {
                    let set = proof(c.server)
                    fake.send(hello(), [set])
                    slc_close(set)
                    _ = Rendezvous.step(c.connector, c.client)
                    #expect(c.connector.local.pointee.meeting.step == .offered)
                    var ready = hello()
                    ready.kind = UInt32(SL_MESSAGE_READY)
                    fake.send(random.next() % 8 == 0 ? ready : wildMessage(&random, like: ready), [passed.descriptor])
                }
                let closesFirst = random.next() % 2 == 0
                if closesFirst { fake.close() }
                exhaust(c.connector, c.client)
                if !closesFirst { fake.close() }
                slc_close(name)
            }
            #expect(passed.allAreClosed())
        }

        @Test("connecting end: an answer that another connection of the pair reads is kept for the meeting")
        func answerReadByAnother() throws {
            let c = try Connection()
            let name = Int32(slc_socket(AF_UNIX, 5 | 0o2000000 | 0o4000, 0))
            var (address, length) = c.name()
            try #require(slc_bind(name, &address, length) == 0 && slc_listen(name, 4) == 0)
            defer { slc_close(name) }
            _ = Rendezvous.step(c.connector, c.client)
            let fake = FakeEnd(socket: Int32(slc_accept4(name, nil, nil, 0o2000000 | 0o4000)))
            let set = proof(c.server)
            fake.send(hello(), [set])
            slc_close(set)
            _ = Rendezvous.step(c.connector, c.client)
            try #require(c.connector.local.pointee.meeting.step == .offered)
            let pair = try #require(process.pairs)
            var ready = hello()
            ready.kind = UInt32(SL_MESSAGE_READY)
            fake.send(ready)
            // What would keep a sleeper of another connection awake is gone from the channel.
            process.lock.acquire()
            pair.readChannel()
            process.lock.release()
            var byte: UInt8 = 0
            #expect(slc_recvfrom(pair.pointee.channel, &byte, 1, 0x42) == -Int(EAGAIN))
            guard case .met(_, _, _, let rings) = Rendezvous.step(c.connector, c.client) else {
                Issue.record("no lane")
                return
            }
            Memory.unmap(UInt64(UInt(bitPattern: rings)), 2 * Int(pair.pointee.ringBytes))
            #expect(!pair.pointee.awaitsReady)
            c.connector.local.pointee.meeting.end()
            fake.close()
            forgetPairs()
        }

        @Test("an open control channel: wild messages, wild descriptors", arguments: [91, 92, 93, 94] as [UInt64])
        func wildChannel(seed: UInt64) throws {
            process.start()
            var random = SeededRandom(seed: seed)
            let passed = Passed()
            let (fake, core) = FakeEnd.pair()
            var peer = hello()
            peer.nonce = seed
            process.lock.acquire()
            let pair = try #require(Pair.make(side: 1, peer: peer, uid: slc_geteuid() &+ UInt32(seed & 1), channel: core))
            process.lock.release()
            var bell = hello()
            bell.kind = UInt32(SL_MESSAGE_BELL)
            for _ in 0..<2_000 {
                bell.index = UInt32.random(in: 0...70, using: &random)
                let count = [0, 1, 1, 1, 2, 16, 17, 100].randomElement(using: &random)!
                let message = random.next() % 3 == 0 ? bell : wildMessage(&random, like: bell)
                let length = random.next() % 8 == 0 ? Int.random(in: 0...96, using: &random) : 96
                fake.send(message, length: length, Array(repeating: passed.descriptor, count: count))
                if random.next() % 3 == 0 {
                    process.lock.acquire()
                    pair.readChannel()
                    process.lock.release()
                    #expect(
                        !pair.pointee.isStranger || (0..<64).allSatisfy { pair.pointee.bells[$0] == -1 },
                        "a stranger has no bells")
                }
                if random.next() % 16 == 0 { pair.ring(Int.random(in: 0..<64, using: &random)) }
            }
            fake.close()
            process.lock.acquire()
            for _ in 0..<100 where !pair.pointee.peerIsGone { pair.readChannel() }
            #expect(pair.pointee.peerIsGone)
            process.lock.release()
            forgetPairs()
            #expect(passed.allAreClosed())
        }
    }
}
