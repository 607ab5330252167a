import CLinux
import CStackLayout
import CTestSupport
import Counters
import SharedMemory
import Testing

@testable import Stacks

extension StacksTests {
    /// The accepting side takes a region that the peer has sent: only one that cannot hurt.
    @Suite struct AdoptRegionTests {
        private let ring: UInt64 = 1 << 16

        private func offer(_ change: (inout sl_message) -> Void = { _ in }) -> sl_message {
            var m = sl_message()
            m.magic = SL_MESSAGE_MAGIC
            m.kind = UInt32(SL_MESSAGE_REGION)
            m.nonce = 77
            m.ring_bytes = ring
            m.region_bytes = UInt64(Pair.regionBytes(ring))
            change(&m)
            return m
        }

        /// Is a file like this taken? What was refused must be closed.
        private func adopts(_ file: Int32?, _ message: sl_message) throws -> Bool {
            process.start()
            let file = try #require(file)
            let inode = slc_inode(file)
            process.lock.acquire()
            defer { process.lock.release() }
            let pair = try #require(Pair.make(side: 1, peer: message, uid: slc_geteuid(), channel: -1))
            defer { discard(pair) }
            let taken = pair.adoptRegion(file, message) == nil
            #expect(slc_inode(file) != inode, "the number that came is not kept")
            #expect(pair.pointee.regionCount == (taken ? 1 : 0))
            if taken {
                let record = pair.pointee.regions[0]
                #expect(
                    slc_inode(record.descriptor) == inode && pair.map(0) != nil && pair.pointee.ringBytes == message.ring_bytes)
            }
            return taken
        }

        @Test("the right size, kind and seals")
        func right() throws {
            let bytes = Pair.regionBytes(ring)
            #expect(try adopts(regionFile(bytes: bytes), offer()))
        }

        @Test("a size that is not exactly that of the rings")
        func size() throws {
            let bytes = Pair.regionBytes(ring)
            for wrong in [0, 4096, bytes - 4096, bytes - 1, bytes + 1, bytes + 4096, 2 * bytes] {
                #expect(try !adopts(regionFile(bytes: wrong), offer()), "\(wrong)")
                #expect(try !adopts(regionFile(bytes: wrong), offer { $0.region_bytes = UInt64(wrong) }), "\(wrong), and says so")
            }
        }

        @Test("ring sizes that are no power of two, too small, or too large; any hostile number")
        func ringSize() throws {
            let bytes = Pair.regionBytes(ring)
            for wrong in hostileNumbers + [ring - 1, ring + 1, 3 * 4096, 2048] {
                let fits = wrong >= 4096 && wrong <= 1 << 28 && wrong & (wrong - 1) == 0
                let size = fits ? Pair.regionBytes(wrong) : bytes
                let message = offer {
                    $0.ring_bytes = wrong
                    $0.region_bytes = UInt64(size)
                }
                #expect(try adopts(regionFile(bytes: size), message) == fits, "\(wrong)")
            }
            for wrong in hostileNumbers { #expect(try !adopts(regionFile(bytes: bytes), offer { $0.region_bytes = wrong })) }
        }

        @Test("a missing seal")
        func seals() throws {
            let bytes = Pair.regionBytes(ring)
            for missing in [1, 2, 4, 7] {
                #expect(try !adopts(regionFile(bytes: bytes, seals: 7 & ~missing), offer()), "without \(missing)")
            }
            for more in [8, 16] {
                #expect(try !adopts(regionFile(bytes: bytes, seals: 7 | more), offer()), "nobody may write to it")
            }
        }

        @Test("no tmpfs: a file on disk, a pipe, a socket, an event descriptor, a directory")
        func otherFiles() throws {
            func opened(_ path: String, _ flags: Int32) -> Int32 { Int32(path.withCString { slc_openat(AT_FDCWD, $0, flags) }) }
            var ends: [Int32] = [-1, -1]
            #expect(CTestSupport_pipe(&ends) == 0)
            let files = [
                opened("/proc/self/exe", O_RDONLY), opened("/dev/zero", O_RDWR), opened("/", O_RDONLY), ends[0], ends[1],
                Int32(slc_socket(AF_UNIX, 1, 0)), Int32(slc_eventfd(0, 0)), Int32(slc_epoll_create1(0)),
            ]
            for file in files { #expect(try !adopts(file, offer()), "\(file)") }
        }

        private static let hasHugePages: Bool = {
            // MFD_HUGETLB: needs no page until it is touched.
            let fd = slc_memfd_create("probe", 1 | 2 | 4)
            if fd >= 0 { slc_close(Int32(fd)) }
            return fd >= 0
        }()

        @Test("hugetlbfs, which is sealed alike and faults when the pool is empty", .enabled(if: hasHugePages))
        func hugePages() throws {
            // The one ring size that makes whole huge pages is not needed: the kind of file system is asked.
            let bytes = (Pair.regionBytes(ring) + (2 << 20) - 1) & ~((2 << 20) - 1)
            let file = try #require(regionFile(bytes: bytes, flags: 1 | 2 | 4))
            #expect(slc_is_sealed_memory(file, UInt64(bytes)) == 0)
            let plain = try #require(regionFile(bytes: bytes))
            #expect(slc_is_sealed_memory(plain, UInt64(bytes)) == 1)
            slc_close(plain)
            #expect(try !adopts(file, offer()))
        }

        @Test("a region out of turn, or of another ring size than the pair's")
        func order() throws {
            let bytes = Pair.regionBytes(ring)
            for wrong in [1, 2, 255, 256, UInt32.max] {
                #expect(try !adopts(regionFile(bytes: bytes), offer { $0.region = wrong }))
            }
            process.lock.acquire()
            defer { process.lock.release() }
            let pair = try #require(Pair.make(side: 1, peer: offer(), uid: slc_geteuid(), channel: -1))
            defer { discard(pair) }
            pair.pointee.ringBytes = 4096
            #expect(pair.adoptRegion(try #require(regionFile(bytes: bytes)), offer()) == .resources)
        }
    }

    /// What a peer may write into the words by which slots come and go.
    @Suite struct SlotTests {
        @Test("slots are handed out once, and again when both sides have left")
        func handOut() throws {
            process.start()
            process.lock.acquire()
            defer { process.lock.release() }
            var peer = sl_message()
            peer.nonce = 1234
            let pair = try #require(Pair.make(side: 0, peer: peer, uid: slc_geteuid(), channel: -1))
            defer { discard(pair) }
            pair.pointee.ringBytes = 4096
            var seen: Set<Int32> = []
            for _ in 0..<130 {
                let (region, slot) = try #require(pair.takeSlot())
                pair.pointee.liveSlots += 1
                #expect(slot >= 0 && slot < 64 && region == Int32(seen.count / 64) && seen.insert(region * 64 + slot).inserted)
            }
            #expect(pair.pointee.regionCount == 3)
            // The peer leaves first, then we; or we first, and the slot comes back when it is needed.
            let d = try #require(sl_region_direction(pair.map(0), 5, 0))
            (d + 1).pointee.left = 1
            d.pointee.producer = 99
            pair.leaveSlot(0, 5)
            #expect(d.pointee.producer == 0 && d.pointee.left == 0)
            #expect(try #require(pair.takeSlot()) == (0, 5))
            pair.leaveSlot(0, 6)
            let other = try #require(sl_region_direction(pair.map(0), 6, 0))
            #expect(try #require(pair.takeSlot()).0 == 2, "the peer has not left yet")
            (other + 1).pointee.left = 1
            #expect(try #require(pair.takeSlot()) == (0, 6))
        }

        @Test("an offer that nobody has claimed is free at once when it is taken back, and claimed by nobody later")
        func takenBack() throws {
            process.start()
            process.lock.acquire()
            defer { process.lock.release() }
            let pair = try #require(Pair.make(side: 0, peer: sl_message(), uid: slc_geteuid(), channel: -1))
            defer { discard(pair) }
            pair.pointee.ringBytes = 4096
            func offer() throws -> UInt64 {
                #expect(try #require(pair.takeSlot()) == (0, 0))
                pair.pointee.liveSlots += 1
                return pair.offerSlot(0, 0)
            }
            let map = { sl_offer(pair.map(0), 0)! }
            let first = try offer()
            pair.takeBackSlot(0, 0, first)
            #expect(pair.pointee.liveSlots == 0 && map().pointee == 0)
            let second = try offer()
            #expect(second != first && !slc_cas_u64(map(), first, UInt64(SL_OFFER_CLAIMED)))
            // The peer is faster: the slot is in use until it has left it, too.
            #expect(slc_cas_u64(map(), second, UInt64(SL_OFFER_CLAIMED)))
            pair.takeBackSlot(0, 0, second)
            #expect(pair.pointee.liveSlots == 0)
            #expect(try #require(pair.takeSlot()) == (0, 1))
            (sl_region_direction(pair.map(0), 0, 0)! + 1).pointee.left = 1
            pair.pointee.regions[0].used = ~0
            #expect(try #require(pair.takeSlot()) == (0, 0))
        }

        @Test("a pair goes when its peer has ended and no slot is open, and takes all of its descriptors along")
        func end() throws {
            process.start()
            let passed = Passed()
            let (fake, core) = FakeEnd.pair()
            var peer = sl_message()
            peer.nonce = 4321
            process.lock.acquire()
            defer { process.lock.release() }
            let pair = try #require(Pair.make(side: 0, peer: peer, uid: slc_geteuid(), channel: core))
            pair.pointee.ringBytes = 4096
            let (region, slot) = try #require(pair.takeSlot())
            pair.pointee.liveSlots += 1
            let file = pair.pointee.regions[Int(region)].descriptor
            let inodes = [slc_inode(core), slc_inode(file)]
            var bell = peer
            bell.magic = SL_MESSAGE_MAGIC
            bell.kind = UInt32(SL_MESSAGE_BELL)
            fake.send(bell, [passed.descriptor])
            #expect(Pair.takeUnused() == nil)
            fake.close()
            #expect(Pair.takeUnused() == nil, "a slot is open")
            pair.leaveSlot(region, slot)
            // A child that another test has forked just now may hold the other end for a moment too.
            var unused: UnsafeMutablePointer<Pair>?
            for _ in 0..<10_000 where unused == nil {
                unused = Pair.takeUnused()
                if unused == nil { usleep(1000) }
            }
            try #require(unused == pair)
            #expect(Pair.find(side: 0, met(nonce: 4321)) == nil)
            Pair.dispose(pair)
            #expect(slc_inode(core) != inodes[0] && slc_inode(file) != inodes[1])
            #expect(passed.allAreClosed())
        }

        @Test("any words in the region: slots that we hand out are in range, and never one twice while it lives")
        func damage() throws {
            process.start()
            process.lock.acquire()
            defer { process.lock.release() }
            var random = SeededRandom(seed: 51)
            let pair = try #require(Pair.make(side: 0, peer: sl_message(), uid: slc_geteuid(), channel: -1))
            defer { discard(pair) }
            pair.pointee.ringBytes = 4096
            for _ in 0..<400 {
                if let map = pair.map(Int32.random(in: 0..<max(1, pair.pointee.regionCount), using: &random)) {
                    let place = 8 * Int.random(in: 0..<MemoryLayout<sl_region>.size / 8, using: &random)
                    UnsafeMutableRawPointer(map).storeBytes(
                        of: hostileNumbers.randomElement(using: &random)!, toByteOffset: place, as: UInt64.self)
                }
                guard let (region, slot) = pair.takeSlot() else { break }
                pair.pointee.liveSlots += 1
                #expect(region < pair.pointee.regionCount && slot >= 0 && slot < 64)
                let rings = try #require(pair.mapRings(region, slot))
                Memory.unmap(UInt64(UInt(bitPattern: rings)), 8192)
                if random.next() % 2 == 0 { pair.leaveSlot(region, slot) }
            }
            pair.leaveSlot(-1, 0)
            pair.leaveSlot(pair.pointee.regionCount, 0)
        }

        @Test("numbers of waiters: each waiter keeps its own, 64 at most, whatever the peer writes into their word")
        func numbers() throws {
            process.start()
            var random = SeededRandom(seed: 55)
            let (fake, core) = FakeEnd.pair()
            process.lock.acquire()
            let pair = try #require(Pair.make(side: 0, peer: sl_message(), uid: slc_geteuid(), channel: core))
            pair.pointee.ringBytes = 4096
            #expect(pair.takeSlot() != nil)
            let map = try #require(pair.map(0))
            process.lock.release()
            let passed = Passed()
            func number(_ waiter: Int) -> Int? {
                defer { while fake.receive() != nil {} }
                var bell = passed.descriptor
                return pair.number(of: UInt(waiter) << 6, bell: &bell)
            }
            for waiter in 1...64 { #expect(number(waiter) == waiter - 1 && number(waiter) == waiter - 1) }
            #expect(number(65) == nil && pair.known(65 << 6) == nil)
            for round in 0..<500 {
                let word = random.next() % 2 == 0 ? hostileNumbers.randomElement(using: &random)! : random.next()
                slc_set_u64(sl_numbers(map, 0), word)
                slc_set_u64(&sl_region_waiter(map, 1, round).pointee.bell, random.next() % 3)
                if let n = number(100 + round) { #expect(n >= 0 && n < 64 && pair.known(UInt(100 + round) << 6) == n) }
                pair.ring(Int.random(in: 0..<64, using: &random))
            }
            fake.close()
            process.lock.acquire()
            discard(pair)
            process.lock.release()
            #expect(passed.allAreClosed())
        }
    }
}
