import CLinux
import CStackLayout
import Settings
import SharedMemory

/// What this process is and has: identity, settings, its stack, its pairs. Private memory, one per process; everything
/// that several threads change is changed under `lock`.
@safe public struct ProcessState {
    public var started = false
    /// The process that these tables belong to. A vfork child, or a raw clone, has another one.
    public var pid: Int32 = 0
    /// Identity towards peers; new after fork. Never 0 once started.
    public var nonce: UInt64 = 0
    public var lock = PrivateLock()
    public var pool = RecordPool()
    public var settings = Settings()
    public var stack: UnsafeMutablePointer<sl_stack_header>? = nil
    public var stackDescriptor: Int32 = -1
    /// Where packets are captured for a tool. `captureLock` is taken last, with any other lock held.
    public var capture = CaptureRing()
    public var captureLock = PrivateLock()
    /// Where waits are timed (SLUICE_LATENCY), in the stack's memory; nil: they are not.
    public var waits: UnsafeMutablePointer<sl_waits_area>? = nil
    /// Mapped chunks of 64 endpoints.
    public var chunks: UnsafeMutablePointer<UnsafeMutableRawPointer?>? = nil
    public var pairs: UnsafeMutablePointer<Pair>? = nil
    /// First of the process's epoll sets, and of the records of closed ones (Sockets). Both are under `setsLock`.
    public var sets: UnsafeMutableRawPointer? = nil
    public var freeSets: UnsafeMutableRawPointer? = nil
    /// Before any set's lock, which comes before `lock`.
    public var setsLock = PrivateLock()
    /// Lanes that are open now; 0 lets many paths stay short.
    public var lanes: UInt32 = 0
    /// Forks that were prepared.
    public var forks: UInt32 = 0
    /// Turned off for good: a seccomp filter, io_uring or a library bound deeply hides calls from us.
    public var sealed = false
    /// A filter of system calls would kill this process at a call of ours: there is no stack, nothing is tracked.
    public var isRefused = false
    /// It is known whether `isRefused`.
    public var isTried = false
    public var startTicks: UInt64 = 0
    /// Time stamp counter of the last look at any kernel socket for its end.
    public var kernelLook: UInt64 = 0
    public var startNs: UInt64 = 0
    public var ticksPerUs: UInt64 = 0
    /// The CPU quota of this process's control group in thousandths of a CPU, when the first lane opened; 0: none.
    public var cpuQuota: UInt32 = 0
    /// The program needs every number it may have: Sluice makes no descriptors any more.
    public var isCrowded = false
    public var random: UInt64 = 0
    /// Nonce of the process when it began to end; a fork child has another one.
    public var exited: UInt64 = 0

    public init() {}

    /// Time stamp counter ticks of one microsecond, at least 1.
    @inline(__always) public var tickRate: UInt64 { ticksPerUs == 0 ? 2000 : ticksPerUs }
}

public nonisolated(unsafe) var process = ProcessState()

extension ProcessState {
    /// Reads settings and makes the identity. Idempotent.
    public mutating func start() {
        if started { return }
        lock.acquire()
        if !started {
            pid = slc_getpid()
            startTicks = slc_tsc()
            startNs = slc_now_ns()
            renewNonce()
            unsafe settings.load { unsafe sluice_getenv($0) }
            EnvironmentReview.run(settings)
            random = settings.chaos
            // Chaos: a ring of one page is full and empty all the time.
            if random != 0 { settings.ringBytes = 4096 }
            started = true
        }
        lock.release()
    }

    public mutating func renewNonce() {
        var fresh: UInt64 = 0
        let got = unsafe withUnsafeMutablePointer(to: &fresh) { unsafe slc_getrandom($0, 8) }
        if got != 8 { fresh = slc_tsc() &* 0x9e37_79b9_7f4a_7c15 ^ UInt64(UInt32(bitPattern: pid)) }
        nonce = fresh | 1
    }

    /// Learns the rate of the time stamp counter from the time since start, and the quota.
    public mutating func calibrate() {
        guard ticksPerUs == 0 else { return }
        cpuQuota = slc_cpu_quota()
        var ns = slc_now_ns() &- startNs
        while ns < 100_000 { ns = slc_now_ns() &- startNs }
        ticksPerUs = max(1, (slc_tsc() &- startTicks) / max(1, ns / 1000))
    }

    /// Are we the process whose tables these are? A vfork child shares our memory and must change nothing.
    @inline(__always) public var isOwner: Bool { slc_getpid() == pid }

    /// xorshift, for the chaos mode only.
    public mutating func nextRandom() -> UInt64 {
        random ^= random << 13
        random ^= random >> 7
        random ^= random << 17
        return random
    }
}

/// A process-wide count, by its place in the counter table.
@inline(__always) public func count(_ index: Int, _ n: UInt64 = 1) {
    guard let s = unsafe process.stack else { return }
    let first = unsafe UnsafeMutableRawPointer(s) + 352
    let p = unsafe first.assumingMemoryBound(to: UInt64.self) + (index & 31)
    unsafe p.pointee = unsafe p.pointee &+ n
}
