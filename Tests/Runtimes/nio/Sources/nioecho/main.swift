// usage: nioecho serve | nioecho load PORT CONNECTIONS ROUNDS
import Glibc
import NIOCore
import NIOPosix

/// Byte `at` of the stream of a connection.
func streamByte(_ connection: Int, _ at: Int) -> UInt8 { UInt8(truncatingIfNeeded: at &* 7 &+ connection &* 13 &+ at >> 8) }

final class Echo: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    func channelRead(context: ChannelHandlerContext, data: NIOAny) { context.write(data, promise: nil) }
    func channelReadComplete(context: ChannelHandlerContext) { context.flush() }
}

/// Sends rounds of growing length and looks at each byte that comes back.
final class Load: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer
    let connection: Int, rounds: Int, done: EventLoopPromise<Int>
    var round = 0, sent = 0, seen = 0

    init(connection: Int, rounds: Int, done: EventLoopPromise<Int>) {
        self.connection = connection
        self.rounds = rounds
        self.done = done
    }

    func ask(_ context: ChannelHandlerContext) {
        let length = 1 + round * 37 % 5000
        var buffer = context.channel.allocator.buffer(capacity: length)
        for i in 0..<length { buffer.writeInteger(streamByte(connection, sent + i)) }
        sent += length
        round += 1
        context.writeAndFlush(wrapOutboundOut(buffer), promise: nil)
    }

    func channelActive(context: ChannelHandlerContext) { ask(context) }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        for byte in unwrapInboundIn(data).readableBytesView {
            guard byte == streamByte(connection, seen) else { return done.fail(ChannelError.inputClosed) }
            seen += 1
        }
        guard seen == sent else { return }
        if round < rounds { ask(context) } else { done.succeed(round) }
    }

    func channelInactive(context: ChannelHandlerContext) { done.fail(ChannelError.eof) }
    func errorCaught(context: ChannelHandlerContext, error: Error) { done.fail(error) }
}

let arguments = CommandLine.arguments
let group = MultiThreadedEventLoopGroup(numberOfThreads: 2)
if arguments[1] == "serve" {
    let server = try ServerBootstrap(group: group)
        .serverChannelOption(.backlog, value: 256)
        .childChannelInitializer { channel in
            channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(Echo()) }
        }
        .bind(host: "127.0.0.1", port: 0).wait()
    print(server.localAddress!.port!)
    fflush(nil)
    _ = readLine()
    try server.close().wait()
} else {
    let port = Int(arguments[2])!, connections = Int(arguments[3])!, rounds = Int(arguments[4])!
    var results: [EventLoopFuture<Int>] = []
    for connection in 0..<connections {
        let done = group.next().makePromise(of: Int.self)
        results.append(done.futureResult)
        ClientBootstrap(group: group)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(Load(connection: connection, rounds: rounds, done: done))
                }
            }
            .connect(host: "127.0.0.1", port: port).cascadeFailure(to: done)
    }
    var total = 0
    for result in results { total += try result.wait() }
    print("verified \(total)")
    fflush(nil)
    _ = readLine()
}
try group.syncShutdownGracefully()
