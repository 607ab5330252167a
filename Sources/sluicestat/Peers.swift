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
        let wanted = Set(rows.compactMap(Self.otherEnd))
        for socket in kernel.all where socket.remote.port != 0 {
            let connection = Self.connection(socket)
            // Without an inode the kernel has it for itself: not accepted yet, or closed.
            if wanted.contains(connection), socket.inode != 0 { ends[connection] = End(socket: socket, holders: []) }
        }
        let unconnected = wanted.filter { !$0.isTCP && $0.remote.port != 0 && ends[$0] == nil }
        if !unconnected.isEmpty {
            let bound = Dictionary(
                grouping: kernel.all.filter { !$0.isTCP && $0.remote.port == 0 && $0.inode != 0 }, by: { $0.local.port })
            for end in unconnected {
                ends[end] = Self.receiver(of: end, bound[end.local.port] ?? []).map { End(socket: $0, holders: []) }
            }
        }
        guard !ends.isEmpty else { return }
        let connections = Dictionary(grouping: ends.keys) { ends[$0]?.socket.inode ?? 0 }
        for process in ProcessScan().processes {
            for (inode, descriptors) in process.socketDescriptors {
                for connection in connections[inode] ?? [] { ends[connection]?.holders.append((process, descriptors[0])) }
            }
        }
    }

    subscript(row: SocketRow) -> End? { Self.otherEnd(row).flatMap { ends[$0] } }

    /// Of the UDP sockets without a peer at this port the one that gets what is sent to the address: bound to it, or to all.
    private static func receiver(of end: Connection, _ sockets: [KernelSocket]) -> KernelSocket? {
        let bound = sockets.filter { $0.namespace == end.namespace }
        return bound.first { $0.local == end.local } ?? bound.first { $0.local.isWildcard }
    }

    private static func connection(_ socket: KernelSocket) -> Connection {
        Connection(namespace: socket.namespace, isTCP: socket.isTCP, local: socket.local, remote: socket.remote)
    }

    private static func otherEnd(_ row: SocketRow) -> Connection? {
        guard let socket = row.kernel ?? row.owner, row.remote.port != 0 else { return nil }
        return Connection(namespace: socket.namespace, isTCP: socket.isTCP, local: row.remote, remote: row.local)
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
