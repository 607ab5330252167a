import Counters
import Glibc

/// A stack and the processes that hold it (places in `StackSurvey.processes`; several after a fork).
struct StackHolding {
    /// Of its memory: no other stack has it.
    var identity: FileIdentity
    var record: StackRecord
    var holders: [Int]
}

/// The stacks of running programs at one moment, without the kernel's sockets.
struct StackSurvey {
    let processes: [ProcessRecord]
    /// In the order of the processes.
    private(set) var stacks: [StackHolding] = []
    /// Stacks that could not be read, with the process and the reason.
    private(set) var badStacks: [(process: Int32, error: StackError)] = []

    init(_ processes: [ProcessRecord], readsWaits: Bool = false) {
        self.processes = processes
        var places: [FileIdentity: Int] = [:]
        for (place, process) in processes.enumerated() {
            for descriptor in process.stackDescriptors {
                guard let file = StackFile(path: "/proc/\(process.id)/fd/\(descriptor)") else { continue }
                if let known = places[file.identity] {
                    if stacks[known].holders.last != place { stacks[known].holders.append(place) }
                    continue
                }
                do throws(StackError) {
                    let record = try StackRecord(file, readsWaits: readsWaits)
                    places[file.identity] = stacks.count
                    stacks.append(StackHolding(identity: file.identity, record: record, holders: [place]))
                } catch {
                    badStacks.append((process.id, error))
                }
            }
        }
    }

    /// The process that stands for a stack: the one that made it while it holds it, else the first of those that do.
    func process(of stack: StackHolding) -> ProcessRecord {
        let holders = stack.holders.map { processes[$0] }
        return holders.count == 1 ? holders[0] : holders.first { $0.made(stack.record.header) } ?? holders[0]
    }

    /// One line on stderr for each stack that could not be read.
    func warnOfBadStacks() {
        for bad in badStacks { warn("process \(bad.process): \(bad.error.sentence)") }
    }
}

extension ProcessScan {
    /// Says on stderr how many were skipped, and what follows.
    func warnOfUnreadable(_ what: String = "") {
        guard unreadable > 0 else { return }
        let why = geteuid() == 0 ? "protected" : "root sees all"
        warn("\(unreadable) \(unreadable == 1 ? "process" : "processes") could not be read (\(why))\(what)")
    }
}

/// The counters of one stack, or of several together.
struct StackSum {
    private(set) var stacks = 0
    private(set) var endpoints = 0
    /// Connections, and flows of UDP sockets, whose bytes travel in shared memory.
    private(set) var lanes = 0
    /// Through rings, both directions, also of sockets that have ended.
    private(set) var ringBytes: UInt64 = 0
    /// Through the kernel, both directions, of sockets that are open.
    private(set) var kernelBytes: UInt64 = 0
    /// In the order of `StackCounter`.
    private(set) var processCounters = [UInt64](repeating: 0, count: StackCounter.count)
    /// Of the sockets that are open, in the order of `EndpointCounter`.
    private(set) var socketCounters = [UInt64](repeating: 0, count: EndpointCounter.count)

    init() {}

    init(_ record: StackRecord) { add(record) }

    /// What a stack says is input: sums wrap around, they do not trap.
    mutating func add(_ record: StackRecord) {
        stacks += 1
        endpoints += record.endpoints.count { !$0.isFlow }
        for (place, value) in record.header.counters.enumerated() { processCounters[place] &+= value }
        ringBytes &+= record.header.counters[StackCounter.ringBytesEnded]
        for endpoint in record.endpoints {
            if endpoint.isBypassed { lanes += 1 }
            ringBytes &+= endpoint.rxRingBytes &+ endpoint.txRingBytes
            kernelBytes &+= endpoint.rxKernelBytes &+ endpoint.txKernelBytes
            for (place, value) in endpoint.counters.enumerated() {
                if Self.isMaximum[place] {
                    socketCounters[place] = max(socketCounters[place], value)
                } else {
                    socketCounters[place] &+= value
                }
            }
        }
    }

    private static let isMaximum = (0..<EndpointCounter.count).map { EndpointCounter.row($0)?.isMaximum ?? false }
}
