import Glibc

/// The file of a capture, written as the packets come: whoever reads it meanwhile sees whole packets.
struct CaptureFile {
    private let descriptor: Int32
    private let snapshot: Int
    /// Bytes of one write; a pipe that has room takes so many without waiting.
    private let piece: Int
    private let most: Int
    private let signals: Int32
    private var flows = CaptureFlows()
    private(set) var packets = 0
    /// Why nothing more can be written.
    private(set) var error: Int32?

    var isFull: Bool { packets >= most }

    /// Makes the file, anew; ends the tool when that is not possible. What programs say to each other is nobody else's to read.
    init(_ path: String, _ snapshot: Int, most: Int?, signals: Int32) {
        if path == "-" {
            if isatty(STDOUT_FILENO) == 1 { fail("standard output is a terminal: packets are no text", .unreadable) }
            descriptor = STDOUT_FILENO
        } else {
            descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
            if descriptor < 0 { fail("\(path): \(errorText(errno))", .unreadable) }
        }
        var status = stat()
        piece = fstat(descriptor, &status) == 0 && status.st_mode & S_IFMT == S_IFREG ? 1 << 20 : 4096
        self.snapshot = snapshot
        self.most = most ?? Int.max
        self.signals = signals
        put(PacketBytes.fileHeader(snapshot: snapshot)) {}
    }

    /// Writes the packets that are older than that, in their order, and keeps the others. `meanwhile` is called while the
    /// reader of the file lets us wait.
    mutating func write(_ pending: inout [CapturedPacket], olderThan time: UInt64, _ meanwhile: () -> Void) {
        guard !pending.isEmpty else { return }
        // Of the same time: the sender first.
        pending.sort { $0.time != $1.time ? $0.time < $1.time : !$0.isReceived && $1.isReceived }
        let count = pending.firstIndex { $0.time >= time } ?? pending.count
        var bytes: [UInt8] = []
        for var packet in pending[..<count] where !isFull && error == nil {
            guard flows.admit(&packet) else { continue }
            packets += 1
            PacketBytes.append(packet, number: UInt16(truncatingIfNeeded: packets), snapshot: snapshot, to: &bytes)
            if bytes.count > 1 << 20 {
                put(bytes, meanwhile)
                bytes.removeAll(keepingCapacity: true)
            }
        }
        put(bytes, meanwhile)
        pending.removeFirst(count)
    }

    /// A pipe whose reader stands still is not waited for without end: a signal ends that, too.
    private mutating func put(_ bytes: [UInt8], _ meanwhile: () -> Void) {
        var at = 0
        while at < bytes.count, error == nil {
            var records = [
                pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0),
                pollfd(fd: signals, events: Int16(POLLIN), revents: 0),
            ]
            let ready = poll(&records, 2, 100)
            meanwhile()
            if records[0].revents == 0 {
                // The signal is read by the loop.
                if ready > 0 && records[1].revents != 0 { error = EPIPE }
                continue
            }
            let end = min(bytes.count, at + piece)
            if let failure = writeAll(descriptor, Array(bytes[at..<end])) { error = failure }
            at = end
        }
    }
}
