import CLinux
import Glibc

@testable import Settings

nonisolated(unsafe) private var texts: [[CChar]] = []
nonisolated(unsafe) private var asked = 0

/// Any text for any variable, one after the other.
func fuzzSettings(_ input: inout Input) {
    texts = []
    asked = 0
    var text: [CChar] = []
    for byte in input.rest() {
        if byte == 0 || byte == UInt8(ascii: "\n") {
            texts.append(text + [0])
            text = []
        } else {
            text.append(CChar(bitPattern: byte))
        }
    }
    texts.append(text + [0])
    var settings = Settings()
    settings.load { _ in
        guard !texts.isEmpty else { return nil }
        asked += 1
        return texts[asked % texts.count].withUnsafeBufferPointer { $0.baseAddress }
    }
    let ring = settings.ringBytes
    require(ring >= 4096 && ring <= Settings.largestRing && ring & (ring - 1) == 0, "a ring of \(ring) bytes")
    require(settings.laneAt >= 0 && settings.spinUsec >= -1 && settings.shareWith >= -1, "a negative number")
}
