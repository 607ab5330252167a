import CLinux
import Testing

@Suite struct QuotaTests {
    private func parsed(_ text: String) -> UInt32 {
        let bytes = Array(text.utf8)
        return bytes.withUnsafeBufferPointer { p in
            p.withMemoryRebound(to: CChar.self) { slc_parse_quota($0.baseAddress, $0.count) }
        }
    }

    @Test(arguments: [
        ("max 100000\n", 0), ("50000 100000\n", 500), ("100000 100000", 1000), ("250000 100000\n", 2500), ("1 1000000\n", 1),
        ("", 0), ("5", 0), ("5 ", 0), ("0 100000", 0), ("5 0", 0), ("-5 100000", 0), ("99999999999999999999 1\n", 1_000_000),
    ])
    func quotasAreRead(text: String, permille: UInt32) {
        #expect(parsed(text) == permille)
    }

    @Test func anyTextIsRefusedOrRead() {
        var random = SeededRandom(seed: 11)
        for _ in 0..<20000 {
            let letters = Array("0123456789 max\n-".utf8)
            let text = String(
                decoding: (0..<random.next() % 24).map { _ in letters.randomElement(using: &random)! }, as: UTF8.self)
            #expect(parsed(text) <= 1_000_000)
        }
    }

    /// Whatever this machine has, it can be asked.
    @Test func ownQuotaIsAsked() { #expect(slc_cpu_quota() <= 1_000_000) }
}
