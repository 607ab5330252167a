import CStackLayout
import Glibc

/// Which processes are captured, and what of their packets.
struct CaptureChoice {
    /// Both empty: all that may be read.
    var processIDs: Set<Int32> = []
    var names: Set<String> = []
    /// 6, 17, or 0: both.
    var protocolNumber: UInt64 = 0
    /// 0: any.
    var port: UInt16 = 0
    var snapshot = PacketBytes.defaultSnapshot
    /// Of each process: a power of two of SL_CAPTURE_LEAST to SL_CAPTURE_ROOM.
    var ringBytes = 8 << 20

    var isAll: Bool { processIDs.isEmpty && names.isEmpty }

    /// At least so many bytes of a packet are wanted, whatever its headers are: those of IPv4 and UDP are the shortest.
    var keptBytes: Int { max(0, snapshot - 28) }

    /// The processes as they are now.
    func processes() -> [ProcessRecord] {
        if names.isEmpty && !isAll { return processIDs.sorted().compactMap { ProcessRecord(id: $0) } }
        let all = ProcessScan().processes
        return isAll ? all : all.filter { processIDs.contains($0.id) || $0.isNamed(names) }
    }
}

/// The stacks that are captured at the moment.
struct CaptureSession {
    let choice: CaptureChoice
    private var taps: [FileIdentity: CaptureTap] = [:]
    /// Stacks that cannot be captured, which has been said.
    private var refused: Set<FileIdentity> = []
    /// How often those were looked at that could not be read.
    private var looks: [FileIdentity: Int] = [:]
    /// Of stacks that have ended.
    private var droppedBefore: UInt64 = 0
    private var damaged: UInt64 = 0
    private(set) var hasProcesses = false
    /// Other tools that are in the way, and other failures, so far.
    private(set) var failures = 0

    init(_ choice: CaptureChoice) { self.choice = choice }

    var processCount: Int { taps.values.count { $0.hasRing } }
    var dropped: UInt64 { taps.values.reduce(droppedBefore) { $0 &+ $1.dropped } &+ damaged }

    /// A stack and those of the chosen processes that hold it.
    private struct Holding {
        /// Its name under the first of them.
        var path: String
        var holders: [ProcessRecord]
    }

    /// Looks at the processes again: stacks come and go.
    mutating func scan() {
        var found: [FileIdentity: Holding] = [:]
        let processes = choice.processes()
        hasProcesses = !processes.isEmpty
        for process in processes {
            for descriptor in process.stackDescriptors {
                let path = "/proc/\(process.id)/fd/\(descriptor)"
                guard let identity = FileIdentity(path: path) else { continue }
                found[identity, default: Holding(path: path, holders: [])].holders.append(process)
            }
        }
        for (identity, holding) in found where !refused.contains(identity) { take(identity, holding) }
        for (identity, tap) in taps where found[identity] == nil || tap.isRefused {
            if tap.isRefused { refuse(identity, found[identity], "it has no memory or descriptors for a capture") }
            leave(identity)
        }
        watch(Set(found.filter { $0.value.holders.count == 1 }.keys))
    }

    private mutating func take(_ identity: FileIdentity, _ holding: Holding) {
        do throws(TapFailure) {
            let tap: CaptureTap
            if let known = taps[identity] { tap = known } else { tap = try CaptureTap(path: holding.path) }
            guard tap.identity == identity else {
                tap.end()
                return
            }
            taps[identity] = tap
            // What the maker of a stack sends and receives is written there; what another holder does, to his own.
            if !tap.hasRing, holding.holders.contains(where: { $0.made(tap.header) }) {
                try tap.begin(choice)
            }
        } catch {
            leave(identity)
            // A process that has just ended is no failure.
            if error == .system(ENOENT) || error == .noStack && isYoung(identity) { return }
            refuse(identity, holding, error.sentence)
        }
    }

    /// A stack that is being made cannot be read yet: it is looked at again.
    private mutating func isYoung(_ identity: FileIdentity) -> Bool {
        looks[identity, default: 0] += 1
        return looks[identity, default: 0] < 5
    }

    private mutating func refuse(_ identity: FileIdentity, _ holding: Holding?, _ why: String) {
        refused.insert(identity)
        failures += 1
        warn("process \(holding?.holders.first.map { String($0.id) } ?? "?"): \(why)")
    }

    private mutating func leave(_ identity: FileIdentity) {
        guard let tap = taps.removeValue(forKey: identity) else { return }
        droppedBefore &+= tap.dropped
        tap.stop()
        tap.end()
    }

    /// Says of each endpoint what is wanted of it: where the sender at the other end is captured, only what it sends itself.
    private func watch(_ single: Set<FileIdentity>) {
        let lists = taps.map { identity, tap in (identity, tap, tap.endpoints()) }
        var senders: Set<LaneEnd> = []
        // Where a fork child holds a connection, too, it may be the sender, and have no stack yet.
        for (identity, tap, list) in lists where tap.hasRing && single.contains(identity) {
            for (_, lane) in list { if let lane { senders.insert(lane) } }
        }
        for (_, tap, list) in lists {
            for (place, lane) in list {
                tap.watch(place, lane.map { senders.contains($0.other) } ?? false ? SL_WATCHED_SENDING : SL_WATCHED)
            }
        }
    }

    /// Takes what the processes have written until now (CLOCK_REALTIME, ns), and says that the tool runs. What will come later is
    /// not older than the time that is returned.
    mutating func drain(into packets: inout [CapturedPacket], now: UInt64) -> UInt64 {
        // Looked at first: who is not writing now takes a later time.
        let oldest = taps.values.reduce(now) { min($0, $1.writing(now: now) ?? now) }
        for tap in taps.values {
            tap.keepOn()
            if !tap.drain(into: &packets, now: now) { damaged &+= 1 }
        }
        return oldest
    }

    /// Says that the tool runs, though it does not read.
    func beat() { for tap in taps.values { tap.keepOn() } }

    /// The processes write no more; takes the rest.
    mutating func end(into packets: inout [CapturedPacket]) {
        for tap in taps.values { tap.stop() }
        for tap in taps.values where !tap.drain(into: &packets, now: .max) { damaged &+= 1 }
        for identity in Array(taps.keys) { leave(identity) }
    }
}
