/// Sees the rows of `OtherSettings`. (One type of it in the library, which has the code of all rows once for each.)
public protocol SettingVisitor {
    mutating func visit(_ row: SettingDefinition)
}

// The makers of rows. One with `why` is not applicable. The library is given what it checks, in registers.
extension SettingVisitor {
    @inline(__always) mutating func flag(
        _ name: StaticString, _ value: Int64, _ doc: StaticString, _ status: SettingStatus = .acts, why: StaticString = "",
        text: StaticString = ""
    ) {
        #if hasFeature(Embedded)
            bare(name, .flag, 0, 1, isAccepted: why.utf8CodeUnitCount == 0)
        #else
            visit(.flag(name, value, doc, status, why: why, text: text))
        #endif
    }

    @inline(__always) mutating func number(
        _ name: StaticString, _ value: Int64, _ range: ClosedRange<Int64>, _ doc: StaticString, _ status: SettingStatus = .acts,
        why: StaticString = "", unit: StaticString = "", text: StaticString = "", kind: SettingKind = .number
    ) {
        #if hasFeature(Embedded)
            bare(name, kind, range.lowerBound, range.upperBound, isAccepted: why.utf8CodeUnitCount == 0)
        #else
            visit(.number(name, value, range, doc, status, why: why, unit: unit, text: text, kind: kind))
        #endif
    }

    @inline(__always) mutating func words(
        _ name: StaticString, _ kind: SettingKind, _ words: StaticString, text: StaticString, _ doc: StaticString,
        _ status: SettingStatus = .acts, why: StaticString = ""
    ) {
        visit(.words(name, kind, words, text: text, doc, status, why: why))
    }

    @inline(__always) mutating func text(
        _ name: StaticString, _ longest: Int64, _ doc: StaticString, _ status: SettingStatus = .acts, why: StaticString = "",
        text: StaticString = "unset"
    ) {
        #if hasFeature(Embedded)
            bare(name, .text, 0, longest, isAccepted: why.utf8CodeUnitCount == 0)
        #else
            visit(.text(name, longest, doc, status, why: why, text: text))
        #endif
    }

    #if hasFeature(Embedded)
        @inline(never) private mutating func bare(
            _ name: StaticString, _ kind: SettingKind, _ minimum: Int64, _ maximum: Int64, isAccepted: Bool
        ) {
            visit(SettingDefinition(name, kind, 0, minimum, maximum, "", isAccepted ? .accepted : .notApplicable))
        }
    #endif
}
