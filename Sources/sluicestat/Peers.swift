/// Who is at the other end of connections, when that is on this host and in the same network namespace.
struct Peers {
    /// The socket at the other end, and the processes that hold it, as far as the user may read them.
    struct End {
        var socket: KernelSocket
        var holders: [(process: ProcessRecord, descriptor: Int32)]
    }

    private struct Connection: Hashable {
        var namespace: String
        var isTCP: Bool
        var local: SocketAddress
        var remote: SocketAddress
    }

    private var ends: [Connection: End] = [:]

    /// Looks for the other ends of these rows; at all processes, where there is one.
    init(of rows: [SocketRow], _ kernel: KernelSockets) {
        let wanted = Set(rows.compactMap { $0.kernel.map(Self.otherEnd) })
        for socket in kernel.all where socket.remote.port != 0 {
            let connection = Self.connection(socket)
            // Without an inode the kernel has it for itself: not accepted yet, or closed.
            if wanted.contains(connection), socket.inode != 0 { ends[connection] = End(socket: socket, holders: []) }
        }
        guard !ends.isEmpty else { return }
        let processes = ProcessScan().processes
        for (connection, end) in ends {
            for process in processes {
                guard let descriptor = process.socketDescriptors[end.socket.inode]?.first else { continue }
                ends[connection]?.holders.append((process, descriptor))
            }
        }
    }

    subscript(row: SocketRow) -> End? { row.kernel.flatMap { ends[Self.otherEnd($0)] } }

    private static func connection(_ socket: KernelSocket) -> Connection {
        Connection(namespace: socket.namespace, isTCP: socket.isTCP, local: socket.local, remote: socket.remote)
    }

    private static func otherEnd(_ socket: KernelSocket) -> Connection {
        Connection(namespace: socket.namespace, isTCP: socket.isTCP, local: socket.remote, remote: socket.local)
    }
}

extension Peers.End {
    /// The first holder, and how many more there are; the user alone, where no process may be read.
    var words: String {
        guard let first = holders.first?.process else { return "of \(userName(socket.userID))" }
        return "\(first.id) (\(first.command))" + (holders.count > 1 ? " +\(holders.count - 1)" : "")
    }
}

extension JSONReport {
    struct Peer: Encodable {
        var uid: UInt32
        var inode: UInt64
        var holders: [Holder]

        init(_ end: Peers.End) {
            uid = end.socket.userID
            inode = end.socket.inode
            holders = end.holders.map {
                Holder(
                    pid: $0.process.id, fd: $0.descriptor, user: userName($0.process.userID), command: $0.process.command)
            }
        }
    }
}
