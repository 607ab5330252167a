import CStackLayout
import Testing

@testable import sluicestat

@Suite struct WatchTests {
    @Test(
        "a rate has five characters at most",
        arguments: [
            (0, "0"), (999.4, "999"), (999.6, "1.0k"), (1234, "1.23k"), (9994, "9.99k"), (9996, "10.0k"), (99_960, "100k"),
            (999_400, "999k"), (999_600, "1.0M"), (4.2e9, "4.2G"), (Double(UInt64.max), "18.4E"),
        ])
    func short(_ value: Double, _ text: String) {
        #expect(Watch.short(value) == text)
    }

    @Test("rates are differences; a connection that has moved less than before is a new one")
    func rates() throws {
        var image = StackImage()
        image.add(lane: SL_LANE_LOOPBACK, rx: 5, tx: 100)
        image.endpoints[0].counters.rx_ring_bytes = 1000
        image.endpoints[0].counters.rx_kernel_bytes = 500
        let before = try #require(try StackRecord(MemorySource(image.bytes)).endpoints.first)
        image.endpoints[0].counters.rx_ring_bytes = 3000
        image.endpoints[0].counters.rx_packets = 9
        image.endpoints[0].counters.tx_packets = 40
        let after = try #require(try StackRecord(MemorySource(image.bytes)).endpoints.first)
        let rate = after.traffic(since: before, seconds: 2)
        #expect(rate.rxBytes == 1000 && rate.txBytes == 0 && rate.rxPackets == 2 && rate.txPackets == 20)
        #expect(after.traffic(since: nil, seconds: 0.5).rxBytes == 7000)
    }
}
