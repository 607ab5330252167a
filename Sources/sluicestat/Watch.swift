import ArgumentParser
import Glibc

struct Watch: ParsableCommand {
    static var configuration: CommandConfiguration {
        CommandConfiguration(
            commandName: "watch",
            abstract: "Shows connections as they run, the fastest first.",
            discussion: """
                A new frame each second. On a terminal it fills the screen; q or Ctrl-C ends it. Else frames are written as \
                text, one after another. Rx and Tx are bytes per second by ring and kernel together, Ipkts and Opkts \
                publications to rings per second. Each end under Sluice has its own line.
                """)
    }

    @Option(help: "Ends after so many frames.")
    var count: Int?

    @Option(help: "Seconds from frame to frame.")
    var interval = 1.0

    @Flag(help: "Writes JSON, one line for each frame.")
    var json = false

    func validate() throws {
        if let count, count < 1 { throw ValidationError("At least one frame.") }
        guard (0.05...3600).contains(interval) else { throw ValidationError("Intervals are of 0.05 to 3600 seconds.") }
    }

    func run() throws {
        var screen = json ? nil : Screen()
        var last = Moment()
        var frames = 0
        // On a terminal something is to be seen at once, without rates.
        screen?.show(Self.lines(Frame(last, since: nil)))
        while count.map({ frames < $0 }) ?? true {
            let isEnded = screen?.wait(milliseconds: Int64(interval * 1000)) == false
            if isEnded { break }
            if screen == nil { usleep(UInt32(interval * 1_000_000)) }
            let moment = Moment()
            let frame = Frame(moment, since: last)
            last = moment
            frames += 1
            if json {
                write(JSONReport.line(JSONReport.Watch(frame)) + "\n")
            } else if screen != nil {
                screen?.show(Self.lines(frame))
            } else {
                write((frames > 1 ? "\n" : "") + Self.lines(frame).joined(separator: "\n") + "\n")
            }
        }
        screen?.leave()
    }

    /// At once, also into a pipe; whoever reads no more ends the tool.
    private func write(_ text: String) {
        if writeAll(STDOUT_FILENO, Array(text.utf8)) != nil { Glibc.exit(0) }
    }

    private static func lines(_ frame: Frame) -> [String] {
        var table = PlainTable(
            titles: ["Local Address", "Remote Address", "Lane", "Rx/s", "Tx/s", "Ipkts/s", "Opkts/s", "Pid", "Command"],
            numbers: ["Rx/s", "Tx/s", "Ipkts/s", "Opkts/s", "Pid"])
        table.rows = frame.connections.map { row in
            let rates = row.rate.map { [$0.rxBytes, $0.txBytes, $0.rxPackets, $0.txPackets].map(short) } ?? ["-", "-", "-", "-"]
            return [row.endpoint.local.dotted, row.endpoint.remote.dotted, row.endpoint.laneName] + rates
                + [String(row.process.id), row.command]
        }
        let words = frame.isFirst ? "" : ", \(short(frame.bytesPerSecond)) bytes/s"
        let head =
            "sluicestat: \(frame.sum.stacks) stacks, \(frame.sum.endpoints) sockets, \(frame.sum.lanes) past the kernel\(words)"
        return [head, ""] + table.text.split(separator: "\n").map(String.init)
    }

    /// A number of at most five characters: 999, 12.3k, 4.56M.
    static func short(_ value: Double) -> String {
        var (rest, unit) = (value, "")
        for next in ["k", "M", "G", "T", "P", "E"] where rest >= 999.5 { (rest, unit) = (rest / 1000, next) }
        if unit.isEmpty { return String(Int(rest.rounded())) }
        let places: Double = rest < 9.995 ? 100 : rest < 99.95 ? 10 : 1
        let rounded = (rest * places).rounded() / places
        return (places == 1 ? String(Int(rounded)) : String(rounded)) + unit
    }
}
