// swift-tools-version: 6.0
// An echo server and its client on SwiftNIO: a program with the Swift runtime, under a library that is written in Swift too.
import PackageDescription

let package = Package(
    name: "nioecho",
    dependencies: [.package(url: "https://github.com/apple/swift-nio", exact: "2.101.2")],
    targets: [
        .executableTarget(
            name: "nioecho",
            dependencies: [.product(name: "NIOCore", package: "swift-nio"), .product(name: "NIOPosix", package: "swift-nio")])
    ])
