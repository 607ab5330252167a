import CLinux
import CStackLayout
import CTestSupport
import SharedMemory
import Testing

@Suite(.timeLimit(.minutes(2))) struct SleeperTests {
    private func withWaiter(_ body: (UnsafeMutablePointer<sl_waiter>) throws -> Void) rethrows {
        let waiter = UnsafeMutablePointer<sl_waiter>.allocate(capacity: 1)
        waiter.initialize(to: sl_waiter())
        defer { waiter.deallocate() }
        try body(waiter)
    }

    @Test("a ring for this sleep is told, and only once")
    func ring() throws {
        try withWaiter { waiter in
            Sleeper.announce(waiter, number: 7)
            #expect(waiter.pointee.cpu != 0)
            let word = try #require(Sleeper.asleep(waiter))
            #expect(word == 7 << 2)
            Sleeper.markRung(waiter, word)
            #expect(Sleeper.asleep(waiter) == nil, "rung already")
            #expect(Sleeper.awake(waiter, number: 7))
            #expect(Sleeper.asleep(waiter) == nil && !Sleeper.awake(waiter, number: 7))
        }
    }

    @Test("a late mark cannot cancel a later sleep")
    func lateMark() throws {
        try withWaiter { waiter in
            Sleeper.announce(waiter, number: 1)
            let word = try #require(Sleeper.asleep(waiter))
            #expect(!Sleeper.awake(waiter, number: 1))
            Sleeper.markRung(waiter, word)
            #expect(Sleeper.asleep(waiter) == nil, "awake stays awake")
            Sleeper.announce(waiter, number: 2)
            Sleeper.markRung(waiter, word)
            #expect(Sleeper.asleep(waiter) == 2 << 2, "the second sleep has not been rung")
            #expect(!Sleeper.awake(waiter, number: 2))
        }
    }

    @Test("initial, unknown and damaged words count as asleep: a ring too many, never one too few")
    func damaged() {
        for number in hostileNumbers { damaged(number) }
    }

    private func damaged(_ number: UInt64) {
        withWaiter { waiter in
            waiter.pointee.word = number
            let state = number & 3
            #expect((Sleeper.asleep(waiter) == nil) == (state == UInt64(SL_AWAKE) || state == UInt64(SL_RUNG)))
            if let word = Sleeper.asleep(waiter) {
                #expect(word == number)
                Sleeper.markRung(waiter, word)
                #expect(Sleeper.asleep(waiter) == nil)
            }
            // Whatever stood there: the next sleep is asleep.
            Sleeper.announce(waiter, number: number >> 2)
            #expect(Sleeper.asleep(waiter) != nil)
        }
    }

    /// A counter is published and looked at as a lane does it; the bell is an event descriptor. A lost wake hangs.
    @Test("a waker that looks only when the word says so never leaves a sleeper behind")
    func noLostWake() {
        nonisolated(unsafe) let waiter = UnsafeMutablePointer<sl_waiter>.allocate(capacity: 1)
        waiter.initialize(to: sl_waiter())
        nonisolated(unsafe) let published = UnsafeMutablePointer<UInt64>.allocate(capacity: 1)
        published.initialize(to: 0)
        nonisolated(unsafe) let seen = UnsafeMutablePointer<UInt64>.allocate(capacity: 1)
        seen.initialize(to: 0)
        let bell = Int32(slc_eventfd(0, 0o2000000 | 0o4000))
        let rounds: UInt64 = 5_000
        nonisolated(unsafe) var hung = false
        inThreads(2) { side in
            if side == 0 {
                for n in 1...rounds {
                    slc_release_u64(published, n)
                    slc_fence()
                    if let word = Sleeper.asleep(waiter) {
                        var one: UInt64 = 1
                        _ = slc_write(bell, &one, 8)
                        Sleeper.markRung(waiter, word)
                    }
                    while slc_acquire_u64(seen) != n && !hung { CTestSupport_yield() }
                }
                return
            }
            for n in 1...rounds {
                Sleeper.announce(waiter, number: n)
                if slc_acquire_u64(published) < n {
                    var p = pollfd(fd: bell, events: Int16(POLLIN), revents: 0)
                    var limit = timespec(tv_sec: 20, tv_nsec: 0)
                    if slc_ppoll(&p, 1, &limit, nil) != 1 { hung = true }
                }
                let rung = Sleeper.awake(waiter, number: n)
                var count: UInt64 = 0
                _ = slc_read(bell, &count, 8)
                // The mark may come after we awoke; a mark without a ring never does.
                if rung && count == 0 { hung = true }
                while slc_acquire_u64(published) < n && !hung { CTestSupport_yield() }
                slc_release_u64(seen, n)
                if hung { return }
            }
        }
        #expect(!hung)
        slc_close(bell)
        waiter.deallocate()
        published.deallocate()
        seen.deallocate()
    }
}
