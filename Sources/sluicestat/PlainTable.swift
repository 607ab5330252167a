import TextTable

/// Columns two spaces apart, nothing else: easy to read and to cut.
enum NetstatStyle: TextTableStyle {
    static func prepare(_ text: String, for column: Column) -> String { Plain.prepare(text, for: column) }
    static func escape(_ text: String) -> String { text }
    static func begin(_ table: inout String, index: Int, columns: [Column]) {}
    static func end(_ table: inout String, index: Int, columns: [Column]) {}

    static func header(_ table: inout String, index: Int, columns: [Column]) {
        line(&table, columns.map { $0.headerString(for: self) })
    }

    static func row(_ table: inout String, index: Int, columns: [Column]) {
        line(&table, columns.map { $0.string(for: self) })
    }

    private static func line(_ table: inout String, _ cells: [String]) {
        var text = cells.joined(separator: "  ")
        while text.last == " " { text.removeLast() }
        table += text + "\n"
    }
}

/// A table of ready cells. Without rows it is its titles.
struct PlainTable {
    var titles: [String]
    /// Titles of columns of numbers, which stand at the right.
    var numbers: Set<String> = []
    var rows: [[String]] = []

    var text: String {
        guard !rows.isEmpty else { return titles.joined(separator: "  ") + "\n" }
        let table = TextTable<[String]> { cells in
            zip(titles, cells).map { title, cell in
                Column(title: title, value: cell, align: numbers.contains(title) ? .right : .left)
            }
        }
        return table.string(for: rows, style: NetstatStyle.self) ?? ""
    }
}
