/// The main results of a document as a picture: SVG that stands alone, for light and for dark backgrounds.
struct Picture {
    private let panels: [Panel]
    private let document: Document

    private let width = 860.0
    private let margin = 16.0
    /// Two columns; where bars begin in one, and how long the longest is: its figure stands behind it.
    private let column = 422.0
    private let left = 100.0
    private let full = 240.0
    private let barHeight = 16.0
    private let step = 21.0

    /// - Throws: when the document has none of the main results.
    init(_ document: Document) throws {
        self.document = document
        panels = Panel.panels(document)
        guard !panels.isEmpty else { throw BenchError("no picture: none of the main results was measured") }
    }

    var text: String {
        var y = 44.0
        var body = ""
        for first in stride(from: 0, to: panels.count, by: 2) {
            var lowest = y
            for (place, panel) in panels[first..<min(first + 2, panels.count)].enumerated() {
                var below = y
                body += draw(panel, Double(place) * column, &below)
                lowest = max(lowest, below)
            }
            y = lowest
        }
        let notes = [
            document.machine.line,
            "Medians of \(rounds) in turns, each end on a core of its own; rates are a second's. Measured by sluicebench.",
        ]
        for note in notes {
            body += Self.label(margin, y + 6, "n", note)
            y += 16
        }
        return """
            <svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 \(Self.number(width)) \(Self.number(y + 6))" \
            width="\(Self.number(width))" height="\(Self.number(y + 6))" role="img" aria-labelledby="t">
            <title id="t">Sluice beside the kernel, unix sockets and the bare ring</title>
            \(Self.style)
            \(Self.label(margin, 24, "h", "Sluice beside the kernel, unix sockets and the bare ring"))\(body)</svg>

            """
    }

    /// Of the bars, the fewest and the most.
    private var rounds: String {
        let counts = panels.flatMap(\.bars).map(\.rounds)
        let (least, most) = (counts.min() ?? 0, counts.max() ?? 0)
        return roundsText(least, most)
    }

    /// The background stays the page's; colours of words and lines follow its mode, those of bars are seen on both.
    private static let style = """
        <style>
        text { font: 12px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; fill: #1f2328 }
        .h { font-size: 16px; font-weight: 600 } .p { font-size: 13px; font-weight: 600 } .n { font-size: 11px }
        .n, .d { fill: #59636e } .d { font-size: 10px; text-anchor: middle } .e { text-anchor: end }
        line { stroke: #59636e; stroke-opacity: 0.35 }
        .s { fill: #1a7f64 } .k { fill: #c2571a } .u { fill: #7a6ff0 } .r { fill: #8b949e }
        @media (prefers-color-scheme: dark) {
        text { fill: #e6edf3 } .n, .d { fill: #9198a1 } line { stroke: #9198a1 }
        .s { fill: #2fb38f } .k { fill: #e07b39 } .u { fill: #988ff5 }
        }
        </style>
        """

    /// Draws below `y`, and moves it on; `x` is where its column begins.
    private func draw(_ panel: Panel, _ x: Double, _ y: inout Double) -> String {
        let left = x + left
        var result = Self.label(x + margin, y + 12, "p", panel.title) + Self.label(x + column, y + 12, "n e", panel.hint)
        y += 22
        let scale = panel.scale
        let end = y + Double(panel.bars.count) * step
        for value in scale.decades {
            let x = Self.number(left + full * scale.part(value))
            result += "<line x1=\"\(x)\" y1=\"\(Self.number(y))\" x2=\"\(x)\" y2=\"\(Self.number(end))\"/>\n"
            result += Self.label(left + full * scale.part(value), end + 10, "d", panel.metric.show(value))
        }
        for bar in panel.bars {
            let length = full * scale.part(bar.value)
            result += Self.label(left - 8, y + 13, "e", bar.label)
            result += """
                <rect class="\(bar.kind)" x="\(Self.number(left))" y="\(Self.number(y + 1))" width="\(Self.number(length))" \
                height="\(Self.number(barHeight))" rx="2"/>

                """
            result += Self.label(left + length + 6, y + 13, "v", panel.metric.show(bar.value))
            y += step
        }
        y += scale.isLogarithmic ? 26 : 14
        return result
    }

    private static func label(_ x: Double, _ y: Double, _ kind: String, _ words: String) -> String {
        "<text class=\"\(kind)\" x=\"\(number(x))\" y=\"\(number(y))\">\(escaped(words))</text>\n"
    }

    /// With one digit behind the point.
    private static func number(_ value: Double) -> String { "\((value * 10).rounded() / 10)" }

    private static func escaped(_ words: String) -> String {
        words.reduce(into: "") { result, letter in
            switch letter {
            case "&": result += "&amp;"
            case "<": result += "&lt;"
            case ">": result += "&gt;"
            default: result.append(letter)
            }
        }
    }
}
