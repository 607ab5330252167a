import CFuzz
import CLinux
import Glibc

/// What is fuzzed: the variable SLUICE_FUZZ names it.
nonisolated(unsafe) let targets: [String: (inout Input) -> Void] = [
    "ring": fuzzRing, "stream": fuzzStream, "meeting": fuzzMeeting, "pair": fuzzPair, "stack": fuzzStack, "kernel": fuzzKernel,
    "settings": fuzzSettings, "sets": fuzzSets, "linux": fuzzLinux, "records": fuzzRecords, "datagrams": fuzzDatagrams,
]

nonisolated(unsafe) let target: (inout Input) -> Void = {
    guard let name = getenv("SLUICE_FUZZ"), let found = targets[String(cString: name)] else {
        complain("SLUICE_FUZZ is not one of \(targets.keys.sorted().joined(separator: " "))")
    }
    return found
}()

@c(LLVMFuzzerTestOneInput) public func testOneInput(_ data: UnsafePointer<UInt8>?, _ count: Int) -> Int32 {
    var input = Input(data, count)
    target(&input)
    return 0
}

/// What must not be: the fuzzer keeps the input that leads here.
func complain(_ text: String) -> Never {
    let line = Array("fuzz: \(text)\n".utf8)
    _ = write(2, line, line.count)
    abort()
}

@inline(__always) func require(_ holds: Bool, _ text: @autoclosure () -> String) {
    if !holds { complain(text()) }
}

/// Nanoseconds of CPU that this thread has used.
func cpuTime() -> Int {
    var now = timespec()
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now)
    return now.tv_sec * 1_000_000_000 + now.tv_nsec
}

/// Runs a step of ours on words of somebody else: it must not go round and round. The law is 1 ms; instrumented code and
/// a machine that does other things too get more.
func bounded<R>(_ what: String, _ body: () -> R) -> R {
    let before = cpuTime()
    let result = body()
    let used = cpuTime() - before
    require(used < 200_000_000, "\(what) took \(used / 1000) us of CPU")
    return result
}

func fuzzLinux(_ input: inout Input) {
    let bytes = input.rest()
    fuzz_linux(bytes, bytes.count)
}
