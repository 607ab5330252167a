import CLinux
import Settings
import SharedMemory

/// What the environment says in vain, and the path of EF_LOG_FILE: read at start, where EF_LOG asks for lines at all, and used
/// from the first socket on. By then the program may have changed its environment.
enum EnvironmentReview {
    enum Finding: UInt8 {
        /// Of a variable that would have no effect anyway: its value cannot be used.
        case bad = 1
        case accepted
        case notApplicable
        case unknown
        /// There are more of them than `room`.
        case more
    }

    /// Records of a finding, the name and a zero, one after the other; nil: there are none. Never changed after start.
    nonisolated(unsafe) private static var records: UnsafeMutablePointer<UInt8>? = nil
    nonisolated(unsafe) private static var used = 0
    nonisolated(unsafe) private(set) static var logPath: UnsafePointer<CChar>? = nil
    private static var room: Int { 16384 }

    /// At start, when no other thread changes the environment yet.
    static func run(_ settings: Settings) {
        guard settings.log != 0 else { return }
        if settings.logFileBytes > 0, let path = unsafe sluice_getenv("EF_LOG_FILE"),
            let copy = unsafe Memory.anonymous(Int(settings.logFileBytes) + 1)
        {
            // The rest of the memory is zero.
            unsafe copy.copyMemory(from: path, byteCount: Int(settings.logFileBytes))
            unsafe logPath = UnsafePointer(copy.assumingMemoryBound(to: CChar.self))
        }
        guard settings.log & (LogCategory.configWarnings | LogCategory.moreConfigWarnings) != 0, settings.loadEnvironment else {
            return
        }
        var reader = Reader()
        OtherSettings.visit(&reader)
        guard settings.validateEnvironment else { return }
        var place = 0
        while let variable = unsafe sluice_variable(place) {
            let name = unsafe EnvironmentName(of: variable)
            place += 1
            guard name.isForeign else { continue }
            reader.sought = name
            reader.isFound = false
            OtherSettings.visit(&reader)
            if !reader.isFound { record(.unknown, name) }
        }
    }

    /// Looks into the environment for each row; with a name that is sought, only whether there is such a row.
    private struct Reader: SettingVisitor {
        var sought: EnvironmentName? = nil
        var isFound = false

        mutating func visit(_ row: SettingDefinition) {
            if let sought {
                if sought.equals(row.name) { isFound = true }
                return
            }
            guard let isUsable = unsafe row.isUsable({ unsafe sluice_getenv($0) }) else { return }
            let name = unsafe EnvironmentName(of: UnsafeRawPointer(row.name.utf8Start).assumingMemoryBound(to: CChar.self))
            record(isUsable ? row.status == .accepted ? .accepted : .notApplicable : .bad, name)
        }
    }

    private static func record(_ finding: Finding, _ name: EnvironmentName) {
        if unsafe records == nil { unsafe records = Memory.anonymous(room)?.assumingMemoryBound(to: UInt8.self) }
        guard let records = unsafe records, unsafe used + 4 <= room else { return }
        // Room for the record of `more` stays.
        let fits = unsafe used + name.count + 6 <= room
        unsafe records[used] = fits ? finding.rawValue : Finding.more.rawValue
        var at = 0
        while fits && at < name.count {
            // A line stays one line.
            unsafe records[used + 1 + at] = name.byte(at) < 0x20 ? UInt8(ascii: "?") : name.byte(at)
            at += 1
        }
        unsafe used = fits ? unsafe used + name.count + 2 : room
    }

    /// Calls `body` with each finding and the name, which ends with a zero.
    static func each(_ body: (Finding, UnsafePointer<CChar>) -> Void) {
        guard let records = unsafe records else { return }
        var at = 0
        while unsafe at < used, let finding = unsafe Finding(rawValue: records[at]) {
            let name = unsafe UnsafeRawPointer(records + at + 1).assumingMemoryBound(to: CChar.self)
            unsafe body(finding, name)
            at += 2
            while unsafe records[at - 1] != 0 { at += 1 }
        }
    }
}
