import CLinux
import CStackLayout
import Counters
import Glibc
import Settings

@testable import StatSources

private struct Bytes: StackSource, ~Copyable {
    var bytes: [UInt8]
    /// What the file said of its size, before it changed.
    var byteCount: Int

    func read(_ offset: Int, _ count: Int) -> [UInt8]? {
        require(offset >= 0 && count >= 0, "a read of \(count) bytes at \(offset)")
        guard offset <= bytes.count, count <= bytes.count - offset else { return nil }
        return Array(bytes[offset..<(offset + count)])
    }
}

/// A stack's file: any bytes, or a good header in front of them so that endpoints are read.
func fuzzStack(_ input: inout Input) {
    let manner = input.byte()
    let missing = manner & 4 != 0 ? input.below(4096) : 0
    var bytes: [UInt8]
    if manner & 1 == 0 {
        bytes = input.rest()
    } else {
        var header = sl_stack_header()
        header.magic = SL_STACK_MAGIC
        header.version = SL_LAYOUT_VERSION
        header.endpoint_bytes = UInt32(MemoryLayout<sl_endpoint>.size)
        header.first_endpoint = UInt32(MemoryLayout<sl_stack_header>.size)
        header.endpoint_capacity = 1 << 17
        header.endpoints_used = manner & 2 == 0 ? UInt32(input.byte()) : input.number(UInt32.self)
        if manner & 8 != 0 { header.first_endpoint = input.number(UInt32.self) }
        bytes = withUnsafeBytes(of: header) { Array($0) }
        // Words at any place of a few endpoints.
        let count = 1 + Int(manner >> 6)
        bytes += [UInt8](repeating: 0, count: count * MemoryLayout<sl_endpoint>.size)
        while !input.isOver {
            let place = input.below(bytes.count)
            bytes[place] = input.byte()
        }
    }
    let size = manner & 16 != 0 ? Int(input.number(UInt32.self)) : bytes.count
    bytes.removeLast(min(missing, bytes.count))
    guard let record = try? StackRecord(Bytes(bytes: bytes, byteCount: size), readsWaits: true) else { return }
    require(record.endpoints.count <= StackRecord.mostEndpoints, "too many endpoints")
    for scalar in record.header.command.unicodeScalars { require(scalar.value >= 0x20, "a control character") }
    for e in record.endpoints {
        _ = e.isBound
        _ = e.local.dotted.count + e.remote.dotted.count
        _ = Reason(e.reason).text?.name.utf8CodeUnitCount
        require(e.counters.count == EndpointCounter.count, "\(e.counters.count) counters")
    }
}

/// What the kernel answers: sock_diag's messages, lines of /proc/net/tcp.
func fuzzKernel(_ input: inout Input) {
    let manner = input.byte()
    if manner & 1 == 0 {
        let text = String(decoding: input.rest(), as: UTF8.self)
        for line in text.split(separator: "\n") {
            guard let s = procNetSocket(String(line), isTCP: manner & 2 == 0, isIPv6: manner & 4 == 0, namespace: "") else {
                continue
            }
            _ = s.stateName.count + s.local.dotted.count + s.remote.host.count
        }
    } else {
        var found: [KernelSocket] = []
        _ = SockDiag.parse(input.rest(), isTCP: manner & 2 == 0, namespace: "", into: &found)
        for s in found { _ = s.stateName.count + s.local.dotted.count + s.remote.host.count }
    }
}
