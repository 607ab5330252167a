import CLinux
import CStackLayout
import CTestSupport
import Counters
import SharedMemory
import Testing

@testable import Stacks

extension StacksTests {
    /// Somebody who holds a connection, knows the rules, and claims to be somebody else, or counts wrong.
    @Suite struct TrustTests {
        private let ring: UInt64 = 1 << 16

        /// A pair with ourselves as the kernel sees it, with a channel of its own; `fake` is the peer's end.
        private func pair(side: Int32, nonce: UInt64, token: UInt64 = 5) throws -> (UnsafeMutablePointer<Pair>, FakeEnd) {
            process.start()
            let (fake, core) = FakeEnd.pair()
            var peer = sl_message()
            peer.nonce = nonce
            process.lock.acquire()
            defer { process.lock.release() }
            let pair = try #require(Pair.make(side: side, peer: peer, uid: slc_geteuid(), channel: core))
            pair.pointee.ringBytes = ring
            pair.pointee.token = (token, token)
            return (pair, fake)
        }

        /// The accepting end after a good greeting by `nonce`, which holds the connecting end.
        private func greeted(_ c: Connection, nonce: UInt64) throws -> FakeEnd {
            _ = Rendezvous.step(c.acceptor, c.server)
            let fake = try #require(FakeEnd.knocking(at: c.name()))
            let set = proof(c.client)
            var m = hello()
            m.nonce = nonce
            fake.send(m, [set])
            slc_close(set)
            _ = Rendezvous.step(c.acceptor, c.server)
            #expect(c.acceptor.local.pointee.meeting.step == .proven)
            return fake
        }

        private func offer(nonce: UInt64, token: UInt64, slot: UInt32, ticket: UInt64 = openTicket) -> sl_message {
            var m = hello()
            m.kind = UInt32(SL_MESSAGE_REGION)
            m.nonce = nonce
            m.token = (token, token)
            m.slot = slot
            m.ticket = ticket
            m.region_bytes = UInt64(Pair.regionBytes(ring))
            return m
        }

        /// What the peer was told last.
        private func answer(_ fake: FakeEnd) -> sl_message? {
            var last: sl_message? = nil
            while let m = fake.receive() { last = m }
            return last
        }

        @Test("a nonce alone is nobody: another user, another process, one that the kernel cannot name, another token")
        func whoIsWho() throws {
            let (pair, fake) = try pair(side: 0, nonce: 99)
            process.lock.acquire()
            defer { process.lock.release() }
            let (uid, pid) = (slc_geteuid(), slc_getpid())
            #expect(Pair.find(side: 0, met(nonce: 99)) == pair)
            #expect(Pair.find(side: 1, met(nonce: 99)) == nil && Pair.find(side: 0, met(nonce: 98)) == nil)
            #expect(Pair.find(side: 0, met(nonce: 99, uid: uid &+ 1)) == nil)
            #expect(Pair.find(side: 0, met(nonce: 99, pid: pid &+ 1)) == nil)
            #expect(Pair.find(side: 0, met(nonce: 99), token: (5, 5)) == pair)
            #expect(Pair.find(side: 0, met(nonce: 99), token: (5, 6)) == nil)
            pair.pointee.peerPid = 0
            #expect(Pair.find(side: 0, met(nonce: 99, pid: 0)) == nil)
            pair.pointee.side = 1
            #expect(Pair.find(side: 1, met(nonce: 99, pid: 0), token: (5, 5)) == pair, "it knows what only the peer was told")
            #expect(Pair.find(side: 1, met(nonce: 99, pid: 0), token: (5, 6)) == nil)
            #expect(Pair.find(side: 1, met(nonce: 99), token: (5, 5)) == nil)
            pair.pointee.side = 0
            pair.pointee.peerPid = pid
            pair.pointee.ownUid = uid &+ 1
            #expect(Pair.find(side: 0, met(nonce: 99)) == nil, "made as another user")
            pair.pointee.ownUid = uid
            #expect(Pair.find(side: 0, met(nonce: 99)) == pair)
            fake.close()
            #expect(Pair.find(side: 0, met(nonce: 99)) == nil, "that process has ended")
            discard(pair)
        }

        @Test("a pair that cannot be extended goes when its last slot is left, though the peer lives")
        func usedUp() throws {
            let (pair, fake) = try pair(side: 0, nonce: 98)
            process.lock.acquire()
            let (region, slot) = try #require(pair.takeSlot())
            pair.pointee.liveSlots += 1
            #expect(Pair.takeUnused() == nil)
            pair.pointee.peerPid = 0
            #expect(Pair.takeUnused() == nil, "a slot is open")
            pair.leaveSlot(region, slot)
            #expect(Pair.takeUnused() == pair)
            Pair.dispose(pair)
            process.lock.release()
            fake.close()
        }

        @Test("nonce and token of a true pair, and a slot that is in use: refused; after it was left: taken")
        func slotInUse() throws {
            let (pair, channel) = try pair(side: 1, nonce: 77)
            process.lock.acquire()
            #expect(
                pair.adoptRegion(try #require(regionFile(bytes: Pair.regionBytes(ring))), offer(nonce: 77, token: 5, slot: 0))
                    == nil)
            for (region, slot) in [(1, 3), (0, 64), (-1, 0), (0, -1)] as [(Int32, Int32)] { #expect(!pair.isFree(region, slot)) }
            #expect(pair.isFree(0, 3) && !pair.claim(0, 3, 8) && !pair.claim(0, 3, 0) && pair.isFree(0, 3), "another ticket")
            #expect(pair.claim(0, 3, openTicket) && !pair.isFree(0, 3) && !pair.claim(0, 3, openTicket))
            process.lock.release()
            sl_offer(pair.map(0), 3).pointee = openTicket
            for (nonce, token, slot, reason) in [
                (77, 5, 3, Reason.proof), (77, 6, 4, .resources), (78, 5, 4, .resources),
            ] as [(UInt64, UInt64, UInt32, Reason)] {
                let c = try Connection()
                let fake = try greeted(c, nonce: nonce)
                fake.send(offer(nonce: nonce, token: token, slot: slot))
                #expect(failure(Rendezvous.step(c.acceptor, c.server)) == reason)
                let told = try #require(answer(fake))
                #expect(told.kind == UInt32(SL_MESSAGE_REFUSE) && told.reason == reason.number)
                fake.close()
            }
            process.lock.acquire()
            pair.leaveSlot(0, 3)
            process.lock.release()
            sl_offer(pair.map(0), 3).pointee = 10
            let gone = try Connection()
            let leaver = try greeted(gone, nonce: 77)
            leaver.send(offer(nonce: 77, token: 5, slot: 3))
            #expect(failure(Rendezvous.step(gone.acceptor, gone.server)) == .plainPeer, "taken back since")
            leaver.close()
            let c = try Connection()
            let fake = try greeted(c, nonce: 77)
            fake.send(offer(nonce: 77, token: 5, slot: 3, ticket: 10))
            guard case .met(let found, 0, 3, let rings) = Rendezvous.step(c.acceptor, c.server) else {
                Issue.record("refused")
                return
            }
            #expect(found == pair && answer(fake)?.kind == UInt32(SL_MESSAGE_READY))
            Memory.unmap(UInt64(UInt(bitPattern: rings)), 2 * Int(ring))
            fake.close()
            channel.close()
            forgetPairs()
        }

        @Test("regions with other users: so many for all processes of one user together")
        func quota() throws {
            process.start()
            let other = slc_geteuid() &+ 7
            process.lock.acquire()
            defer { process.lock.release() }
            var pairs: [UnsafeMutablePointer<Pair>] = []
            for number in 0..<Pair.foreignRegions {
                #expect(!Pair.isOverQuota(other))
                // As many processes as connections in the first half, then one with many.
                if number <= Pair.foreignRegions / 2 {
                    pairs.append(try #require(Pair.make(side: number & 1, peer: sl_message(), uid: other, channel: -1)))
                }
                var m = offer(nonce: 0, token: 0, slot: 0)
                m.region = UInt32(pairs.last!.pointee.regionCount)
                #expect(pairs.last!.adoptRegion(try #require(regionFile(bytes: Pair.regionBytes(ring))), m) == nil)
            }
            #expect(Pair.isOverQuota(other) && !Pair.isOverQuota(other &+ 1) && !Pair.isOverQuota(slc_geteuid()))
            var m = offer(nonce: 0, token: 0, slot: 0)
            m.region = UInt32(pairs.last!.pointee.regionCount)
            #expect(pairs.last!.adoptRegion(try #require(regionFile(bytes: Pair.regionBytes(ring))), m) == .limit)
            #expect(pairs[0].addRegion() == nil)
            discard(pairs.removeFirst())
            #expect(!Pair.isOverQuota(other), "one has gone")
            for pair in pairs { discard(pair) }
        }

        /// What a greeting of the connecting end comes to, with these counts.
        private func greet(_ c: Connection, _ change: (inout sl_message) -> Void) throws -> Reason? {
            _ = Rendezvous.step(c.acceptor, c.server)
            let fake = try #require(FakeEnd.knocking(at: c.name()))
            var m = hello()
            change(&m)
            let set = proof(c.client)
            fake.send(m, [set])
            slc_close(set)
            let result = failure(Rendezvous.step(c.acceptor, c.server))
            fake.close()
            Rendezvous.withdraw(c.acceptor)
            return result
        }

        @Test("a greeting with counts that cannot be of the same connection")
        func counts() throws {
            for wrong in hostileNumbers where wrong > 1000 {
                let fields: [WritableKeyPath<sl_message, UInt64>] = [\.received, \.sent, \.unacknowledged]
                for field in fields {
                    let c = try Connection()
                    #expect(c.send(c.client, 100) && c.receive(c.server, 100) && c.send(c.server, 50) && c.receive(c.client, 50))
                    let reason = try greet(c) {
                        ($0.sent, $0.received) = (100, 50)
                        $0[keyPath: field] = wrong
                    }
                    #expect(reason == .counts, "\(wrong)")
                }
            }
            for (sent, received, unacknowledged, agrees) in [
                (100, 50, 0, true), (101, 50, 0, false), (100, 51, 0, false), (100, 49, 0, true), (99, 50, 0, true),
                (160, 50, 60, true), (160, 50, 59, false), (10, 50, 11, false),
            ] as [(UInt64, UInt64, UInt64, Bool)] {
                let c = try Connection()
                #expect(c.send(c.client, 100) && c.receive(c.server, 100) && c.send(c.server, 50) && c.receive(c.client, 50))
                let reason = try greet(c) { ($0.sent, $0.received, $0.unacknowledged) = (sent, received, unacknowledged) }
                #expect((reason == nil) == agrees && (agrees || reason == .counts), "\(sent) \(received) \(unacknowledged)")
            }
        }

        @Test("an offer whose counts were taken behind ours: on a quiet connection only the same numbers will do")
        func quietCounts() throws {
            for (sent, received) in [(100, 50), (99, 50), (101, 50), (100, 49), (100, 51), (0, 0), (.max, .max)]
                as [(UInt64, UInt64)]
            {
                let c = try Connection()
                #expect(c.send(c.client, 100) && c.receive(c.server, 100) && c.send(c.server, 50) && c.receive(c.client, 50))
                let fake = try greeted(c, nonce: 500)
                var m = offer(nonce: 500, token: 1, slot: 0)
                m.index = 1
                (m.counted, m.sent, m.received) = (1, sent, received)
                let file = try #require(regionFile(bytes: Pair.regionBytes(ring)))
                fake.send(m, [file])
                slc_close(file)
                let result = Rendezvous.step(c.acceptor, c.server)
                if sent == 100 && received == 50 {
                    guard case .met(let pair, _, _, let rings) = result else {
                        Issue.record("\(result)")
                        continue
                    }
                    Memory.unmap(UInt64(UInt(bitPattern: rings)), 2 * Int(pair.pointee.ringBytes))
                } else {
                    #expect(failure(result) == .counts, "\(sent) \(received)")
                    #expect(answer(fake)?.reason == Reason.counts.number)
                }
                fake.close()
                forgetPairs()
            }
        }

        @Test("two true ends agree, whatever moves between their steps")
        func movingCounts() throws {
            var random = SeededRandom(seed: 31)
            for _ in 0..<100 {
                let c = try Connection()
                var (a, b) = (MeetingResult.goOn, MeetingResult.goOn)
                for _ in 0..<200 {
                    let n = Int.random(in: 1...3000, using: &random)
                    switch random.next() % 5 {
                    case 0: #expect(c.send(c.client, n))
                    case 1: #expect(c.send(c.server, n))
                    case 2:
                        if KernelCounts.take(c.server, connecting: false).map({ $0.received - $0.read > 40 }) == true {
                            #expect(c.receive(c.server, 40))
                        }
                    case 3: if case .goOn = b { b = Rendezvous.step(c.acceptor, c.server) }
                    default: if case .goOn = a { a = Rendezvous.step(c.connector, c.client) }
                    }
                    if case .goOn = a { continue }
                    if case .goOn = b { continue }
                    break
                }
                guard case .met(_, _, _, let ringsA) = a, case .met(let pair, _, _, let ringsB) = b else {
                    Issue.record("\(a), \(b)")
                    continue
                }
                for rings in [ringsA, ringsB] { Memory.unmap(UInt64(UInt(bitPattern: rings)), 2 * Int(pair.pointee.ringBytes)) }
            }
            forgetPairs()
        }

        @Test("64 names are open: a further one waits until one of them has been open for too long, and takes its place")
        func names() throws {
            var connections: [Connection] = []
            for _ in 0..<OpenNames.most {
                let c = try Connection()
                _ = Rendezvous.step(c.acceptor, c.server)
                #expect(c.acceptor.local.pointee.meeting.step == .listening)
                connections.append(c)
            }
            let late = try Connection()
            // The first name's meeting is being worked on: the second one is closed instead.
            connections[0].acceptor.local.pointee.meetingBusy = 1
            let end = slc_now_ns() + 10_000_000_000
            while late.acceptor.local.pointee.meeting.step == .idle && slc_now_ns() < end {
                _ = Rendezvous.step(late.acceptor, late.server)
            }
            #expect(late.acceptor.local.pointee.meeting.step == .listening && OpenNames.count == 64)
            connections[0].acceptor.local.pointee.meetingBusy = 0
            #expect(FakeEnd.knocking(at: connections[1].name()) == nil)
            #expect(failure(Rendezvous.step(connections[1].acceptor, connections[1].server)) == .plainPeer)
            let knocks = try #require(FakeEnd.knocking(at: connections[0].name()))
            knocks.close()
            for c in connections + [late] { Rendezvous.withdraw(c.acceptor) }
            #expect(OpenNames.count == 0)
        }
    }
}
