import Glibc

/// Stands in for that of sluicestat's Main.swift, which needs the parser of command lines.
enum Failure { case unreadable }

func fail(_ message: String, _ failure: Failure) -> Never { abort() }
