import Glibc

/// The terminal on standard output, with keys from standard input where that is a terminal too. `leave` brings back what was
/// there before; so do the signals that end the tool.
struct Screen {
    private let signals: Int32
    private var before: termios?

    /// Nil when standard output is no terminal.
    init?() {
        guard isatty(STDOUT_FILENO) == 1 else { return nil }
        signals = endSignals()
        enter()
    }

    private mutating func enter() {
        var modes = termios()
        if isatty(STDIN_FILENO) == 1, tcgetattr(STDIN_FILENO, &modes) == 0 {
            before = modes
            // Ctrl-C and Ctrl-Z come as keys: the terminal is put back before they act.
            modes.c_lflag &= ~tcflag_t(ICANON | ECHO | ISIG | IEXTEN)
            tcsetattr(STDIN_FILENO, TCSAFLUSH, &modes)
        }
        // The other screen, no cursor, no wrapped lines.
        put("\u{1b}[?1049h\u{1b}[?25l\u{1b}[?7l")
    }

    /// Leaves the terminal as it was.
    mutating func leave() {
        _ = writeAll(STDOUT_FILENO, Array("\u{1b}[?7h\u{1b}[?25h\u{1b}[?1049l".utf8))
        if var modes = before { tcsetattr(STDIN_FILENO, TCSAFLUSH, &modes) }
        before = nil
    }

    /// Fills the screen with these lines, as far as they fit.
    func show(_ lines: [String]) {
        var size = winsize()
        let isKnown = ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &size) == 0 && size.ws_row > 0 && size.ws_col > 0
        let (rows, columns) = isKnown ? (Int(size.ws_row), Int(size.ws_col)) : (24, 80)
        let cut = lines.prefix(rows).map { String($0.prefix(columns)) + "\u{1b}[K" }
        put("\u{1b}[H" + cut.joined(separator: "\r\n") + "\u{1b}[J")
    }

    /// Waits so long; false when the user has asked for the end. A signal that ends the tool does it here.
    mutating func wait(milliseconds patience: Int64) -> Bool {
        let end = milliseconds() + patience
        while true {
            let left = end - milliseconds()
            guard left > 0 else { return true }
            let ready = waitForInput([signals, before == nil ? -1 : STDIN_FILENO], milliseconds: Int32(left))
            if ready[0], let number = readSignal(signals) {
                leave()
                endTool(by: number)
            }
            guard ready[1] else { continue }
            var key: UInt8 = 0
            guard read(STDIN_FILENO, &key, 1) == 1 else { return false }
            switch key {
            case UInt8(ascii: "q"), UInt8(ascii: "Q"), 3: return false
            case 26:
                leave()
                raise(SIGTSTP)
                enter()
            default: break
            }
        }
    }

    private func put(_ text: String) {
        if writeAll(STDOUT_FILENO, Array(text.utf8)) != nil { exit(0) }
    }
}
