import ArgumentParser
import Glibc

/// What commands ask of the one process that they were told.
extension ProcessRecord {
    /// The process of this number; ends the tool when there is none or it may not be read.
    static func found(_ id: Int32) -> ProcessRecord {
        errno = 0
        if let process = ProcessRecord(id: id) { return process }
        if errno == EACCES || errno == EPERM {
            fail("process \(id) may not be read: it belongs to another user or is protected", .unreadable)
        }
        fail("there is no process \(id)", .notFound)
    }

    var hasLoadedSluice: Bool {
        fileBytes("/proc/\(id)/maps").map { String(decoding: $0, as: UTF8.self).contains("libsluice.so") } ?? false
    }

    /// The variables as they were at its start, the first of each name; a program may have written over them since.
    var environment: [(name: String, text: String)] {
        var names: Set<String> = []
        return (fileBytes("/proc/\(id)/environ") ?? []).split(separator: 0).compactMap { bytes in
            guard let end = bytes.firstIndex(of: UInt8(ascii: "=")) else { return nil }
            let name = String(decoding: bytes[..<end], as: UTF8.self)
            guard names.insert(name).inserted else { return nil }
            return (name, String(decoding: bytes[(end + 1)...], as: UTF8.self))
        }
    }

    /// Does its environment, as it was at start, turn acceleration off for this protocol (EF_TCP, EF_UDP)?
    func isTurnedOff(_ name: String) -> Bool {
        let variables = environment
        func value(_ name: String) -> String? { variables.first { $0.name == name }?.text }
        guard value("EF_LOAD_ENV") != "0" else { return false }
        return value("EF_DONT_ACCELERATE") == "1" || value(name) == "0"
    }

    /// Does it run under a seccomp filter (proc(5))? Where that was there before its first socket, it has no stack.
    var isFiltered: Bool {
        let lines = (fileBytes("/proc/\(id)/status") ?? []).split(separator: UInt8(ascii: "\n"))
        return lines.contains { $0.starts(with: "Seccomp:".utf8) && $0.last != UInt8(ascii: "0") }
    }

    /// The family of a socket that is none of IPv4 or IPv6, by the lists of its namespace; nil: it is in none of them.
    func otherFamily(_ inode: UInt64) -> String? {
        // Where a line has the inode (unix(7), net/netlink/af_netlink.c, net/packet/af_packet.c).
        let families = [("unix", 6), ("netlink", 9), ("packet", 8)]
        return families.first { family, column in
            (fileBytes("/proc/\(id)/net/\(family)") ?? []).split(separator: UInt8(ascii: "\n")).dropFirst().contains { line in
                let fields = line.split(separator: UInt8(ascii: " "))
                return fields.count > column && UInt64(String(decoding: fields[column], as: UTF8.self)) == inode
            }
        }?.0
    }

    /// Ends the tool: the process has no stack, or none that can be read, which has been said.
    func failWithoutStack(_ survey: StackSurvey) throws -> Never {
        if !survey.badStacks.isEmpty { throw ExitCode(Failure.unreadable.rawValue) }
        if hasLoadedSluice {
            fail("process \(id) has loaded Sluice, but has made no socket, or acceleration is off", .notFound)
        }
        fail("process \(id) does not run under Sluice (not started with it, statically linked, or set-uid)", .notFound)
    }
}
