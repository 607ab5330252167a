import Glibc

/// Measures how much of the processors other processes used during a run.
///
/// All time by the root control group's counter (nanoseconds; /proc/stat, in ticks, where there is none) less the time of the tool and of
/// the programs that it started and reaped.
struct Neighbours {
    private enum Source { case cpuacct(String), cpuStat(String), procStat }
    private let source: Source
    private var all: UInt64 = 0
    private var own: UInt64 = 0
    private var clock: UInt64 = 0

    init() {
        let groups = ["/sys/fs/cgroup/cpuacct/cpuacct.usage", "/sys/fs/cgroup/cpu,cpuacct/cpuacct.usage"]
        if let path = groups.first(where: { contents(of: $0) != nil }) {
            source = .cpuacct(path)
        } else if contents(of: "/sys/fs/cgroup/cpu.stat") != nil {
            source = .cpuStat("/sys/fs/cgroup/cpu.stat")
        } else {
            source = .procStat
        }
    }

    /// Where the figures come from, for the report.
    var description: String {
        switch source {
        case .cpuacct(let path), .cpuStat(let path): path
        case .procStat: "/proc/stat"
        }
    }

    /// Starts an interval.
    mutating func begin() {
        all = allNanoseconds()
        own = ownNanoseconds()
        clock = monotonicNanoseconds()
    }

    /// Share of one processor that others used since `begin`: 0.1 is a tenth of a processor.
    func share() -> Double {
        let wall = Double(monotonicNanoseconds() - clock)
        let others = Double(allNanoseconds()) - Double(all) - (Double(ownNanoseconds()) - Double(own))
        return max(0, others / wall)
    }

    private func allNanoseconds() -> UInt64 {
        switch source {
        case .cpuacct(let path):
            return UInt64((contents(of: path) ?? "").split(separator: "\n").first ?? "") ?? 0
        case .cpuStat(let path):
            return (field("usage_usec", in: contents(of: path) ?? "") ?? 0) * 1000
        case .procStat:
            let words = (contents(of: "/proc/stat") ?? "").split(separator: "\n").first?.split(separator: " ") ?? []
            let numbers = words.dropFirst().compactMap { UInt64($0) }
            guard numbers.count >= 7 else { return 0 }
            // user, nice, system, irq, softirq; idle and iowait are no work.
            let ticks = numbers[0] + numbers[1] + numbers[2] + numbers[5] + numbers[6]
            return ticks * (1_000_000_000 / UInt64(sysconf(Int32(_SC_CLK_TCK))))
        }
    }

    private func ownNanoseconds() -> UInt64 { usedNanoseconds(RUSAGE_SELF) + usedNanoseconds(RUSAGE_CHILDREN) }
}

/// User and system time of the tool itself, or of what it has started and reaped.
func usedNanoseconds(_ who: __rusage_who) -> UInt64 {
    var usage = rusage()
    getrusage(who, &usage)
    return [usage.ru_utime, usage.ru_stime].reduce(0) { $0 + UInt64($1.tv_sec) * 1_000_000_000 + UInt64($1.tv_usec) * 1000 }
}

/// The number after a word at the begin of a line.
func field(_ name: String, in text: String) -> UInt64? {
    for line in text.split(separator: "\n") {
        let words = line.split(whereSeparator: { $0 == " " || $0 == "\t" })
        if words.count >= 2, words[0] == name { return UInt64(words[1]) }
    }
    return nil
}
