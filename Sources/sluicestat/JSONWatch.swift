extension JSONReport {
    struct Watch: Encodable {
        var version = 1
        var seconds: Double
        var stacks: Int
        var endpoints: Int
        var lanes: Int
        var unreadableProcesses: Int
        var connections: [Connection]
    }

    struct Connection: Encodable {
        var pid: Int32
        var user: String
        var command: String
        var local: Address
        var remote: Address
        var lane: String
        var rxBytesPerSecond: Double
        var txBytesPerSecond: Double
        var rxPacketsPerSecond: Double
        var txPacketsPerSecond: Double
    }
}

extension JSONReport.Watch {
    init(_ frame: Frame) {
        seconds = frame.seconds
        stacks = frame.sum.stacks
        endpoints = frame.sum.endpoints
        lanes = frame.sum.lanes
        unreadableProcesses = frame.unreadable
        connections = frame.connections.map { row in
            let rate = row.rate ?? Traffic()
            return JSONReport.Connection(
                pid: row.process.id, user: userName(row.process.userID), command: row.command,
                local: JSONReport.Address(address: row.endpoint.local.host, port: row.endpoint.local.port),
                remote: JSONReport.Address(address: row.endpoint.remote.host, port: row.endpoint.remote.port),
                lane: row.endpoint.laneName, rxBytesPerSecond: rate.rxBytes, txBytesPerSecond: rate.txBytes,
                rxPacketsPerSecond: rate.rxPackets, txPacketsPerSecond: rate.txPackets)
        }
    }
}
