import Glibc

/// HTTP on a unix socket: one request and one answer per connection, one connection at a time.
enum MetricsServer {
    /// A request is not longer than this, nor takes longer.
    private static let mostBytes = 8192
    private static let patience: Int32 = 5000  // ms

    /// Answers until a signal ends the tool; then the socket's name is gone.
    static func serve(_ path: String, _ page: () -> String) -> Never {
        let signals = endSignals()
        let listener: Int32
        do throws(SocketFailure) {
            listener = try listenOn(path)
        } catch {
            fail("cannot listen on \(path): \(error.words)", .unreadable)
        }
        while true {
            let ready = waitForInput([signals, listener], milliseconds: -1)
            if ready[0], let number = readSignal(signals) {
                unlink(path)
                endTool(by: number)
            }
            guard ready[1], let connection = acceptFrom(listener) else { continue }
            answer(connection, signals, page)
            close(connection)
        }
    }

    private static func answer(_ connection: Int32, _ signals: Int32, _ page: () -> String) {
        guard let request = readRequest(connection, signals) else { return }
        let answer = Array(response(to: request, page).utf8)
        var done = 0
        let end = milliseconds() + Int64(patience)
        while done < answer.count, milliseconds() < end {
            let count = sendSome(connection, answer[done...])
            if count < 0, count != -Int(EAGAIN), count != -Int(EINTR) { return }
            done += max(0, count)
            if count < 0 { waitForRoom(connection, milliseconds: Int32(max(0, end - milliseconds()))) }
        }
    }

    /// The request's lines up to the empty one; nil when they do not come.
    private static func readRequest(_ connection: Int32, _ signals: Int32) -> String? {
        var bytes: [UInt8] = []
        var part = [UInt8](repeating: 0, count: 1024)
        let end = milliseconds() + Int64(patience)
        while bytes.count < mostBytes {
            let count = read(connection, &part, part.count)
            if count == 0 { return nil }
            if count < 0 {
                guard errno == EAGAIN || errno == EINTR, milliseconds() < end else { return nil }
                // A signal stays where it is, for the loop outside.
                if waitForInput([signals, connection], milliseconds: Int32(end - milliseconds()))[0] { return nil }
                continue
            }
            bytes += part[..<count]
            if hasEmptyLine(bytes) { return String(decoding: bytes, as: UTF8.self) }
        }
        return "too long"
    }

    /// Is there the empty line that ends the head of a request?
    private static func hasEmptyLine(_ bytes: [UInt8]) -> Bool {
        let ends = bytes.filter { $0 != UInt8(ascii: "\r") }
        return zip(ends, ends.dropFirst()).contains { $0 == UInt8(ascii: "\n") && $1 == $0 }
    }

    /// The whole answer, with its head.
    static func response(to request: String, _ page: () -> String) -> String {
        let words = request.prefix { !$0.isNewline }.split(separator: " ")
        guard words.count == 3, words[2].hasPrefix("HTTP/1.") else {
            return message("400 Bad Request", "not a request of HTTP/1\n")
        }
        guard words[0] == "GET" || words[0] == "HEAD" else {
            return message("405 Method Not Allowed", "only GET and HEAD\n", more: "Allow: GET, HEAD\r\n")
        }
        let path = words[1].prefix { $0 != "?" }
        guard path == "/metrics" || path == "/" else { return message("404 Not Found", "only /metrics\n") }
        return message("200 OK", page(), type: Exposition.contentType, isHead: words[0] == "HEAD")
    }

    private static func message(
        _ status: String, _ body: String, type: String = "text/plain; charset=utf-8", more: String = "", isHead: Bool = false
    ) -> String {
        "HTTP/1.1 \(status)\r\nContent-Type: \(type)\r\nContent-Length: \(body.utf8.count)\r\n\(more)Connection: close\r\n\r\n"
            + (isHead ? "" : body)
    }
}
