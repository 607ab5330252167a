// swift-tools-version: 6.2
import PackageDescription

let root = Context.packageDirectory

/// The core is written in the Embedded subset. The trait `Embedded` builds the preload library that way; without it the
/// same sources are full Swift, for tests and tools.
let dialect: [SwiftSetting] = [
    // Not enableExperimentalFeature: SwiftPM 6.3 gives that to the linker of tests and tools too, whatever the trait.
    .unsafeFlags(["-enable-experimental-feature", "Embedded"], .when(traits: ["Embedded"])),
    .enableUpcomingFeature("MemberImportVisibility"),
    .unsafeFlags(["-Xcc", "-D_GNU_SOURCE", "-Xcc", "-ftls-model=initial-exec", "-enforce-exclusivity=unchecked"]),
    // Functions in sections of their own: the linker then drops derived hashing, which wants arc4random_buf (glibc 2.36).
    .unsafeFlags(["-Xfrontend", "-function-sections"]),
]
/// In the rooms every unsafe expression is marked; an unmarked one is an error.
let core: [SwiftSetting] = dialect + [.strictMemorySafety(), .treatWarning("StrictMemorySafety", as: .error)]
let c: [CSetting] = [
    .define("_GNU_SOURCE"), .unsafeFlags(["-fvisibility=hidden", "-ftls-model=initial-exec", "-O2", "-Wall", "-Wextra"]),
]
let tools: [SwiftSetting] = [.unsafeFlags(["-Xcc", "-D_GNU_SOURCE"])]

let package = Package(
    name: "sluice",
    products: [
        .library(name: "sluice", type: .dynamic, targets: ["CInterpose", "Sockets"]),
        .executable(name: "sluicestat", targets: ["sluicestat"]),
        .executable(name: "sluicebench", targets: ["sluicebench"]),
    ],
    traits: [
        .trait(name: "Embedded", description: "Embedded Swift: the preload library then needs libc only.")
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0"),
        .package(url: "https://github.com/ordo-one/TextTable", from: "0.0.2"),
        .package(url: "https://github.com/HdrHistogram/hdrhistogram-swift", from: "0.2.0"),
    ],
    // In the order of the data's way: a target may depend only on those below it in this list.
    targets: [
        // libc symbols, real-libc table, constructor, fork hooks, exports map: C, no logic.
        .target(
            name: "CInterpose", dependencies: ["CLinux"], exclude: ["exports.map"], cSettings: c,
            linkerSettings: [
                .unsafeFlags([
                    "-Xlinker", "--version-script=\(root)/Sources/CInterpose/exports.map",
                    "-Xlinker", "-zrelro", "-Xlinker", "-znodelete",
                    // The default linker keeps undefined symbols of sections that it drops (arc4random_buf, glibc 2.36).
                    "-use-ld=lld", "-Xlinker", "--undefined-version", "-Xlinker", "--gc-sections",
                ]),
                .unsafeFlags(["-enable-experimental-feature", "Embedded"], .when(traits: ["Embedded"])),
            ]),
        // descriptor table, blocking rules, lanes, readiness, options, inheritance.
        .target(
            name: "Sockets", dependencies: ["Stacks", "SharedMemory", "Settings", "Counters", "CStackLayout", "CLinux"],
            swiftSettings: core),
        // a process's stack and its endpoints, rendezvous, pair regions.
        .target(
            name: "Stacks", dependencies: ["SharedMemory", "Settings", "Counters", "CStackLayout", "CLinux"], swiftSettings: core),
        // rings, pools, robust locks, words of sleepers: where unsafe lives.
        .target(name: "SharedMemory", dependencies: ["CStackLayout", "CLinux"], swiftSettings: core),
        // one table each; parser, help, tools and manual are made from them.
        .target(name: "Settings", dependencies: ["CLinux"], swiftSettings: core),
        .target(name: "Counters", dependencies: ["CStackLayout"], swiftSettings: core),
        // C headers: shared structures with static asserts; system calls, atomics, thread-local block.
        .target(name: "CStackLayout"),
        .target(name: "CLinux", cSettings: c),

        // Older versions of functions of libm and libstdc++, for what is linked into the tools.
        .target(name: "COlder", linkerSettings: [.linkedLibrary("m"), .linkedLibrary("stdc++")]),
        // Tools, in full Swift.
        .executableTarget(
            name: "sluicestat",
            dependencies: [
                "Settings", "Counters", "CStackLayout", "CLinux", "COlder",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "TextTable", package: "TextTable"),
                .product(name: "Histogram", package: "hdrhistogram-swift"),
            ], swiftSettings: tools),
        .executableTarget(
            name: "sluicebench",
            dependencies: [
                "COlder",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "TextTable", package: "TextTable"),
                .product(name: "Histogram", package: "hdrhistogram-swift"),
            ], swiftSettings: tools),
        // The unmodified programs that the benchmarks and the differential suite run: plain C, libc only.
        .executableTarget(name: "bench-peer", cSettings: [.define("_GNU_SOURCE"), .unsafeFlags(["-O2", "-Wall"])]),
        .executableTarget(
            name: "diff-peer", path: "Tests/diff-peer", cSettings: [.define("_GNU_SOURCE"), .unsafeFlags(["-O1", "-Wall"])]),

        .testTarget(name: "BenchTests", dependencies: ["sluicebench", "bench-peer"], swiftSettings: tools),
        .testTarget(name: "DifferentialTests", swiftSettings: tools),
        .testTarget(name: "SettingsTests", dependencies: ["Settings", "Counters"], swiftSettings: dialect),
        .testTarget(
            name: "StatTests", dependencies: ["sluicestat", "Settings", "Counters", "CStackLayout", "CLinux"],
            swiftSettings: tools),
        .target(name: "CTestSupport", path: "Tests/CTestSupport", cSettings: c),
        .testTarget(
            name: "SharedMemoryTests", dependencies: ["SharedMemory", "CStackLayout", "CLinux", "CTestSupport"],
            swiftSettings: dialect),
        .testTarget(
            name: "StacksTests", dependencies: ["Stacks", "SharedMemory", "Counters", "CStackLayout", "CLinux", "CTestSupport"],
            swiftSettings: dialect),
    ]
)
