import ArgumentParser
import Glibc

struct Capture: ParsableCommand {
    static var configuration: CommandConfiguration {
        CommandConfiguration(
            commandName: "capture",
            abstract: "Writes the packets that bypass the kernel to a file that Wireshark and tcpdump read.",
            discussion: """
                Like tcpdump on the interface lo, for what the kernel does not see: each publication to a ring is a packet \
                of TCP, each datagram one of UDP, with the addresses of their sockets. What a connection carried by the \
                kernel, at its begin for instance, is missing in its sequence numbers. Needs that you may read the \
                processes; one tool at a time captures a process.

                Ctrl-C ends it, and so does the end of the processes that were named by number. A process never waits for \
                this tool: packets that it is too slow for are dropped, and counted.
                """)
    }

    @Argument(help: ArgumentHelp("Processes by number or by name; without any, all.", valueName: "PROCESS"))
    var processes: [String] = []

    @Option(name: [.customShort("w")], help: ArgumentHelp("The file (pcap); - is standard output.", valueName: "FILE"))
    var file: String

    @Option(name: .shortAndLong, help: "Ends after so many packets.")
    var count: Int?

    @Option(name: [.customShort("s"), .long], help: "Bytes that are kept of a packet; 0: all.")
    var snaplen = 0

    @Option(
        name: [.customShort("B"), .long],
        help: "KiB of memory for each process, in which packets wait for this tool: 1024 to 65536, a power of two.")
    var bufferSize = 8192

    @Option(name: .shortAndLong, help: "Only packets from or to this port.")
    var port: UInt16?

    @Option(name: [.customShort("P")], help: "Only this protocol: tcp or udp.")
    var transport: TransportProtocol?

    @Option(help: "Ends after so many seconds.")
    var seconds: Double?

    func validate() throws {
        if let count, count < 1 { throw ValidationError("At least one packet.") }
        guard (0...PacketBytes.defaultSnapshot).contains(snaplen) else {
            throw ValidationError("At most \(PacketBytes.defaultSnapshot) bytes are kept of a packet.")
        }
        guard (1024...65536).contains(bufferSize), bufferSize.nonzeroBitCount == 1 else {
            throw ValidationError("Buffers are of 1024 to 65536 KiB, a power of two.")
        }
        if port == 0 { throw ValidationError("Ports are of 1 to 65535.") }
        if let seconds, !(0.01...1e8).contains(seconds) { throw ValidationError("Seconds are a positive number.") }
        if processes.contains(where: { Int32($0).map { $0 <= 0 } ?? $0.isEmpty }) {
            throw ValidationError("A process is named by a positive number or by its name.")
        }
    }

    func run() throws {
        let choice = try self.choice()
        let signals = endSignals()
        signal(SIGPIPE, SIG_IGN)
        var session = CaptureSession(choice)
        session.scan()
        if session.processCount == 0 && session.failures > 0 { throw ExitCode(Failure.unreadable.rawValue) }
        var output = CaptureFile(file, choice.snapshot, most: count, signals: signals)
        let name = file == "-" ? "standard output" : file
        let processes = "\(session.processCount) \(session.processCount == 1 ? "process" : "processes")"
        warn("capturing \(processes) to \(name), link-type RAW, snapshot length \(choice.snapshot) bytes")
        var loop = CaptureLoop(end: seconds.map { milliseconds() + Int64($0 * 1000) }, signals: signals)
        loop.run(&session, &output)
        warn("\(output.packets) packets captured, \(session.dropped) dropped")
        if let error = output.error, error != EPIPE { fail("\(name): \(errorText(error))", .unreadable) }
    }

    private func choice() throws -> CaptureChoice {
        var choice = CaptureChoice()
        choice.protocolNumber = transport.map { $0 == .tcp ? 6 : 17 } ?? 0
        choice.port = port ?? 0
        choice.ringBytes = bufferSize << 10
        if snaplen > 0 { choice.snapshot = snaplen }
        for process in processes {
            if let id = Int32(process) {
                let record = ProcessRecord.found(id)
                if record.stackDescriptors.isEmpty && !record.hasLoadedSluice {
                    try record.failWithoutStack(StackSurvey([record]))
                }
                choice.processIDs.insert(id)
            } else {
                choice.names.insert(process)
            }
        }
        return choice
    }
}

/// Reads what the processes write until something ends it.
struct CaptureLoop {
    /// Milliseconds on the monotonic clock.
    var end: Int64?
    var signals: Int32

    mutating func run(_ session: inout CaptureSession, _ output: inout CaptureFile) {
        var pending: [CapturedPacket] = []
        var pause: Int32 = 1
        var nextScan = milliseconds() + 200
        while !output.isFull, output.error == nil {
            let now = realTime()
            let before = pending.count
            let oldest = session.drain(into: &pending, now: now)
            // While much comes, a pause would fill the rings.
            pause = pending.count - before >= 64 ? 0 : pending.count > before ? 1 : min(max(pause, 1) * 2, 16)
            output.write(&pending, olderThan: oldest) { session.beat() }
            if milliseconds() >= nextScan {
                let began = milliseconds()
                session.scan()
                // On a host with very many processes this takes a while.
                nextScan = milliseconds() + max(200, (milliseconds() - began) * 10)
                if !session.choice.processIDs.isEmpty && session.choice.names.isEmpty && !session.hasProcesses { break }
            }
            let left = end.map { $0 - milliseconds() }
            if let left, left <= 0 { break }
            if waitForInput([signals], milliseconds: min(pause, Int32(clamping: left ?? 16)))[0], readSignal(signals) != nil {
                break
            }
        }
        session.end(into: &pending)
        output.write(&pending, olderThan: .max) {}
    }

    /// Nanoseconds of CLOCK_REALTIME.
    private func realTime() -> UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }
}
