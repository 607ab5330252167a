import CLinux
import CTestSupport

/// Runs `body(0)` to `body(count - 1)`, each in a thread of its own, and waits for all of them.
func inThreads(_ count: Int32, _ body: @escaping (Int) -> Void) {
    let box = Unmanaged.passRetained(Body(body))
    CTestSupport_threads(
        count,
        { context, index in Unmanaged<Body>.fromOpaque(context!).takeUnretainedValue().call(Int(index)) },
        box.toOpaque())
    box.release()
}

private final class Body {
    let call: (Int) -> Void
    init(_ call: @escaping (Int) -> Void) { self.call = call }
}

/// Threads wait here until all have come.
final class StartLine: @unchecked Sendable {
    private let word = UnsafeMutablePointer<UInt32>.allocate(capacity: 1)

    init(_ count: UInt32) { word.initialize(to: count) }
    deinit { word.deallocate() }

    func cross() {
        _ = slc_sub_u32(word, 1)
        while slc_acquire_u32(word) != 0 { CTestSupport_yield() }
    }
}
