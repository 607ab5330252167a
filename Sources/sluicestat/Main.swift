import ArgumentParser
import CLinux
import Glibc

@main struct SluiceStat: ParsableCommand {
    static var configuration: CommandConfiguration {
        CommandConfiguration(
            commandName: "sluicestat",
            abstract: "Shows what Sluice does with the sockets of running programs.",
            discussion: """
                Reads, and captures, without stopping anything; you see processes of your own, or all as root.

                Exit status: 0 success; 1 the process or descriptor does not exist, is no socket, or does not run under \
                Sluice; 2 it, or a file, may not be read or written; 64 wrong usage.

                JSON follows the schema share/sluice/sluicestat.schema.json of the installation; see sluicestat(1).
                """,
            version: SLC_VERSION,
            subcommands: [
                Netstat.self, Why.self, Env.self, Stacks.self, Stats.self, DescribeStats.self, Prometheus.self, Watch.self,
                Capture.self, Latency.self, Tables.self,
            ])
    }
}

/// Help of `--json`, the same everywhere.
let jsonHelp: ArgumentHelp = "Writes JSON, as its schema tells."

/// Why the tool ends without success.
enum Failure: Int32 {
    case notFound = 1
    case unreadable = 2
}

/// Says it in one line on stderr and ends the tool.
func fail(_ message: String, _ failure: Failure) -> Never {
    warn(message)
    exit(failure.rawValue)
}

/// One line on stderr.
func warn(_ message: String) {
    let line = Array("sluicestat: \(message)\n".utf8)
    _ = write(STDERR_FILENO, line, line.count)
}
