import CLinux
import Testing

/// What /proc/net/softnet_stat says of packets that wait.
@Suite struct BacklogTests {
    /// Its first eleven words.
    private static let others =
        "23ec6ea4 00000000 000000d4 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 "

    @Test func linesAreRead() {
        #expect(slc_parse_backlog(Self.others + "00000000 00000001") == 0)
        #expect(slc_parse_backlog(Self.others + "000000a3 00000000 000000a3 00000000 ") == 163)
        #expect(slc_parse_backlog(Self.others + "ffffffff 0") == 0xffff_ffff)
    }

    /// Older kernels tell neither this nor the CPU's number, which stands behind it.
    @Test func othersAreNot() {
        for end in ["", "00000007", "1 2 x", "123456789 0", "-1 0"] { #expect(slc_parse_backlog(Self.others + end) == -1) }
        #expect(slc_parse_backlog("") == -1)
    }

    @Test func anyLineIsRefusedOrRead() {
        var random = SeededRandom(seed: 5)
        let letters = Array("0123456789abcdef    \tx".utf8)
        for _ in 0..<20000 {
            let line = String(
                decoding: (0..<random.next() % 160).map { _ in letters.randomElement(using: &random)! }, as: UTF8.self)
            #expect((-1...0xffff_ffff).contains(slc_parse_backlog(line)))
        }
    }

    /// Whatever waits here, it can be asked.
    @Test func ownBacklogIsAsked() { #expect(slc_backlog() >= 0) }
}
