import CLinux
import Settings
import SharedMemory

/// What EF_LOG asks for: single lines on standard error, or in EF_LOG_FILE. Nothing is written where that would wait, raise a signal, or go into
/// a connection that Sluice carries itself.
public enum Log {
    public enum Category {
        case banner, resourceWarnings, connectionDrop, configWarnings, moreConfigWarnings, usageWarnings

        var bit: Int64 {
            switch self {
            case .banner: LogCategory.banner
            case .resourceWarnings: LogCategory.resourceWarnings
            case .connectionDrop: LogCategory.connectionDrop
            case .configWarnings: LogCategory.configWarnings
            case .moreConfigWarnings: LogCategory.moreConfigWarnings
            case .usageWarnings: LogCategory.usageWarnings
            }
        }
    }

    nonisolated(unsafe) private static var hasIntroduced: UInt64 = 0
    /// Of standard error at the first socket: a file that the program has opened under its number since gets nothing.
    nonisolated(unsafe) private static var inode: UInt64 = 0

    /// `%d` in the text is the number, `%s` the word. Waits for nothing, as far as that can be seen beforehand.
    public static func write(_ category: Category, _ text: StaticString, _ number: Int32 = 0, word: StaticString = "") {
        if unsafe process.settings.log & category.bit != 0 { unsafe emit(text, number, bytes(word)) }
    }

    private static func bytes(_ text: StaticString) -> UnsafePointer<CChar> {
        unsafe UnsafeRawPointer(text.utf8Start).assumingMemoryBound(to: CChar.self)
    }

    @inline(never) private static func emit(_ text: StaticString, _ number: Int32, _ word: UnsafePointer<CChar>) {
        if LogFile.isInUse {
            unsafe LogFile.write(bytes(text), word, Int(number))
        } else if DescriptorTable.entry(2) == 0, unsafe inode == 0 || slc_inode(2) == inode {
            unsafe slc_log(2, bytes(text), word, Int(number))
        }
    }

    /// At the first socket of a process: what is in force, variables whose values cannot be used, and ones without effect.
    public static func introduce() {
        guard unsafe process.settings.log != 0 && hasIntroduced != process.nonce else { return }
        unsafe process.lock.acquire()
        let isFirst = unsafe hasIntroduced != process.nonce
        unsafe hasIntroduced = unsafe process.nonce
        unsafe inode = slc_inode(2)
        let hasFile = !isFirst || LogFile.open()
        unsafe process.lock.release()
        guard isFirst else { return }
        if !hasFile { write(.configWarnings, "EF_LOG_FILE: it cannot be opened, lines go to standard error") }
        let messages = unsafe Int32(truncatingIfNeeded: process.settings.laneAt)
        write(.banner, "TCP connections and UDP datagrams of this host travel in shared memory after %d messages", messages)
        var place = 0
        while place < Setting.count {
            if let setting = Setting(rawValue: place) {
                if unsafe setting == .ports && process.settings.isBad(setting) {
                    write(
                        .configWarnings, "%s: the value cannot be used, no connection leaves the kernel",
                        word: setting.definition.name)
                } else if unsafe setting == .log && process.settings.isBad(setting) {
                    write(.configWarnings, "%s: a word of it is not known, the others hold", word: setting.definition.name)
                } else if unsafe process.settings.isBad(setting) {
                    write(.configWarnings, "%s: the value cannot be used, the default holds", word: setting.definition.name)
                } else if unsafe process.settings.isGiven(setting) && setting.definition.status == .accepted {
                    write(.moreConfigWarnings, "%s is accepted and has no effect", word: setting.definition.name)
                }
            }
            place += 1
        }
        tellReview()
    }

    /// Variables of Onload's that do nothing here, and ones that nobody knows.
    private static func tellReview() {
        let log = unsafe process.settings.log
        unsafe EnvironmentReview.each { finding, name in
            let text: StaticString
            switch finding {
            case .bad: text = "%s: the value cannot be used, and would have no effect"
            case .unknown: text = "%s is not known"
            case .more: text = "there are more variables that are not known or have no effect"
            case .accepted: text = "%s is accepted and has no effect"
            case .notApplicable: text = "%s does not apply to Sluice"
            }
            let isMinor = finding == .accepted || finding == .notApplicable
            let category: Category = isMinor ? .moreConfigWarnings : .configWarnings
            if log & category.bit != 0 { unsafe emit(text, 0, name) }
        }
    }
}
