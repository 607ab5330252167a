import CStackLayout
import Counters

/// A socket: what the kernel and what Sluice say about it. At least one of the two is there. Or a flow of a UDP socket that has
/// a row of its own: one peer of it.
struct SocketRow {
    var kernel: KernelSocket?
    /// Of a flow: its socket.
    var owner: KernelSocket?
    /// It has flows, in other rows or taken into its own.
    var hasFlows = false
    var endpoint: EndpointRecord?
    /// Who holds it, by process id and descriptor.
    var holders: [Holder] = []

    struct Holder: Hashable {
        var process: Int
        var descriptor: Int32
    }

    var local: SocketAddress { kernel?.local ?? endpoint?.local ?? SocketAddress(bytes: [], port: 0) }
    var remote: SocketAddress { kernel?.remote ?? endpoint?.remote ?? SocketAddress(bytes: [], port: 0) }
    var isTCP: Bool { kernel?.isTCP ?? (endpoint?.protocolNumber != 17) }
    var isBypassed: Bool { endpoint?.isBypassed ?? false }
    var isFlow: Bool { owner != nil }

    /// The state as the kernel tells it, else as the stack does.
    var stateName: String {
        if let kernel { return kernel.stateName }
        if !isTCP { return remote.port == 0 ? "Idle" : "Connected" }
        switch endpoint?.state {
        case UInt32(SL_ENDPOINT_LISTENING): return "LISTEN"
        case UInt32(SL_ENDPOINT_CONNECTING): return "SYN_SENT"
        case UInt32(SL_ENDPOINT_CONNECTED): return "ESTABLISHED"
        default: return "-"
        }
    }
}

/// Everything that the tool knows at one moment: processes, their stacks, the kernel's sockets, and the rows made of them.
struct Survey {
    let found: StackSurvey
    private(set) var kernel: KernelSockets
    private(set) var rows: [SocketRow] = []
    /// Places of the processes that hold a stack.
    private let withStack: Set<Int>
    /// Why the processes, which have loaded the library, do not track a socket; nil: for what their stacks tell.
    var untracked: (tcp: Reason, udp: Reason)?

    /// Looks at these processes and at all sockets of their network namespaces and of the tool's own.
    init(_ processes: [ProcessRecord], includesUDP: Bool) {
        found = StackSurvey(processes)
        withStack = Set(found.stacks.flatMap { $0.holders })
        kernel = KernelSockets(includesUDP: includesUDP)
        let namespaces = processes.map { $0.stackDescriptors.isEmpty ? nil : $0.namespace }
        for (process, namespace) in zip(processes, namespaces) {
            if let namespace { kernel.add(namespace, of: process) }
        }
        join(namespaces)
    }

    var processes: [ProcessRecord] { found.processes }
    var stacks: [StackHolding] { found.stacks }

    /// Makes one row for each kernel socket, and one for each endpoint that has none.
    private mutating func join(_ namespaces: [String?]) {
        rows = kernel.all.map { SocketRow(kernel: $0) }
        for (place, process) in processes.enumerated() {
            for (inode, descriptors) in process.socketDescriptors {
                guard let index = kernel.byInode[inode] else { continue }
                rows[index].holders += descriptors.map { SocketRow.Holder(process: place, descriptor: $0) }
            }
        }
        let addressed = Set(kernel.all.map { NamedPair(namespace: $0.namespace, pair: AddressPair($0)) })
        // Rows of endpoints that the kernel does not list, by cookie.
        var alone: [UInt64: Int] = [:]
        for stack in stacks {
            let byAddress = cookieless(stack.holders)
            let byDescriptor = descriptors(stack)
            let namespace = stack.holders.first.flatMap { namespaces[$0] } ?? kernel.ownNamespace
            for endpoint in stack.record.endpoints where !endpoint.isFlow {
                if endpoint.cookie == 0, let index = byDescriptor[endpoint.descriptor], rows[index].endpoint == nil {
                    give(endpoint, to: index)
                } else if let index = kernel.byCookie[endpoint.cookie] {
                    if isHeld(kernel.all[index].inode, stack.holders) { give(endpoint, to: index) }
                } else if let index = byAddress[AddressPair(endpoint)] {
                    give(endpoint, to: index)
                } else if let index = alone[endpoint.cookie], areJoined(rows[index], stack) {
                    give(endpoint, to: index)
                } else if endpoint.isBound {
                    // Without its cookie the kernel's row of these addresses is taken for it: it came or went meanwhile.
                    let isListed = addressed.contains(NamedPair(namespace: namespace, pair: AddressPair(endpoint)))
                    if isListed, endpoint.cookie == 0 || !kernel.tellsCookies(namespace) { continue }
                    let holders = holders(of: endpoint, stack, byDescriptor)
                    // A young one tells neither cookie nor addresses: made after the look at the process, it has the kernel's row.
                    if endpoint.cookie == 0, endpoint.local.port == 0, holders.allSatisfy({ $0.descriptor < 0 }) { continue }
                    if endpoint.cookie != 0 { alone[endpoint.cookie] = rows.count }
                    rows.append(SocketRow(endpoint: endpoint, holders: holders))
                }
            }
            addFlows(stack, byDescriptor)
        }
    }

    /// A row for each flow of the stack's UDP sockets; a connected socket and the flow to its peer are one. Without a socket that
    /// the kernel lists a flow is the remains of one.
    private mutating func addFlows(_ stack: StackHolding, _ byDescriptor: [Int32: Int]) {
        for flow in stack.record.endpoints where flow.isFlow && flow.isBound {
            guard let index = kernel.byCookie[flow.cookie] ?? byDescriptor[flow.descriptor] else { continue }
            let owner = kernel.all[index]
            guard !owner.isTCP, owner.local.port == flow.local.port, isHeld(owner.inode, stack.holders) else { continue }
            if owner.remote == flow.remote {
                // Since a fork two stacks may know it.
                guard let own = rows[index].endpoint, !own.isFlow else { continue }
                rows[index].endpoint = own.joined(with: flow)
            } else {
                let holders = rows[index].holders.filter { stack.holders.contains($0.process) }
                rows.append(SocketRow(owner: owner, endpoint: flow, holders: holders))
            }
            rows[index].hasFlows = true
        }
    }

    /// Since a fork two stacks may know one socket: then a process has both.
    private func areJoined(_ row: SocketRow, _ stack: StackHolding) -> Bool {
        row.holders.contains { stack.holders.contains($0.process) }
    }

    /// Who holds an endpoint that the kernel does not list.
    private func holders(of endpoint: EndpointRecord, _ stack: StackHolding, _ byDescriptor: [Int32: Int]) -> [SocketRow.Holder] {
        let number = byDescriptor[endpoint.descriptor] == nil ? endpoint.descriptor : -1
        return stack.holders.map { SocketRow.Holder(process: $0, descriptor: isOwn(number, $0, stack) ? number : -1) }
    }

    /// Has the stack's own process a socket of this number, the same now as at the look at it? (One that the kernel has reset is
    /// in none of the kernel's lists.)
    private func isOwn(_ number: Int32, _ place: Int, _ stack: StackHolding) -> Bool {
        let process = processes[place]
        guard process.made(stack.record.header),
            let inode = process.socketDescriptors.first(where: { $0.value.contains(number) })?.key
        else { return false }
        return linkText("/proc/\(process.id)/fd/\(number)") == "socket:[\(inode)]"
    }

    /// A stack may claim any socket's cookie, but it speaks only for sockets that one of its own processes holds.
    private func isHeld(_ inode: UInt64, _ holders: [Int]) -> Bool {
        holders.contains { processes[$0].socketDescriptors[inode] != nil }
    }

    /// Where two stacks know one socket since a fork, the one with the lane tells more.
    private mutating func give(_ endpoint: EndpointRecord, to index: Int) {
        if !rows[index].isBypassed { rows[index].endpoint = endpoint }
    }

    /// The number of the reason why the socket travels by the kernel; nil: it does not, or none of its processes is under Sluice.
    func reason(of row: SocketRow) -> UInt32? {
        if let endpoint = row.endpoint {
            // A socket with flows has come of age: these have reasons of their own.
            let isTold = row.hasFlows && !endpoint.isFlow && endpoint.reason == Reason.young.number
            return endpoint.isBypassed || isTold ? nil : endpoint.reason
        }
        let hasStack = row.holders.contains { withStack.contains($0.process) }
        guard hasStack || untracked != nil && !row.holders.isEmpty else { return nil }
        return ((row.isTCP ? untracked?.tcp : untracked?.udp) ?? .foreignOrigin).number
    }

    /// The sockets of the process that made the stack by number, for endpoints that have not asked for their cookie yet: in a forked
    /// sharer the number may be another socket.
    private func descriptors(_ stack: StackHolding) -> [Int32: Int] {
        var found: [Int32: Int] = [:]
        for holder in stack.holders where processes[holder].made(stack.record.header) {
            for (inode, numbers) in processes[holder].socketDescriptors {
                guard let index = kernel.byInode[inode] else { continue }
                for number in numbers { found[number] = index }
            }
        }
        return found
    }

    /// The sockets of these processes whose cookie is not known, by their addresses.
    private func cookieless(_ holders: [Int]) -> [AddressPair: Int] {
        var found: [AddressPair: Int] = [:]
        for holder in holders {
            for inode in processes[holder].socketDescriptors.keys {
                guard let index = kernel.byInode[inode], kernel.all[index].cookie == nil else { continue }
                found[AddressPair(kernel.all[index])] = index
            }
        }
        return found
    }
}

private struct NamedPair: Hashable {
    let namespace: String
    let pair: AddressPair
}

private struct AddressPair: Hashable {
    let local: SocketAddress
    let remote: SocketAddress

    /// Both wildcards, of IPv4 and of IPv6, count as one: a stack and the kernel may write it differently.
    init(_ socket: KernelSocket) { self.init(socket.local, socket.remote) }
    init(_ endpoint: EndpointRecord) { self.init(endpoint.local, endpoint.remote) }

    private init(_ local: SocketAddress, _ remote: SocketAddress) {
        self.local = local.isWildcard ? SocketAddress(bytes: [], port: local.port) : local
        self.remote = remote.isWildcard ? SocketAddress(bytes: [], port: remote.port) : remote
    }
}
