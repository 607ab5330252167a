import ArgumentParser

struct Stacks: ParsableCommand {
    static var configuration: CommandConfiguration {
        CommandConfiguration(
            commandName: "stacks",
            abstract: "Lists the stacks of running programs, one line each.",
            discussion: """
                Pid is the process that made the stack; one that has it by a fork too has a line for its own. Endpoints \
                are the sockets that Sluice tracks, Lanes those of them whose bytes travel in shared memory. Ring-bytes \
                counts both directions, also of sockets that have ended; Kernel-bytes those of open sockets.
                """)
    }

    @Flag(name: .short, help: "Says on stderr how many processes could not be read.")
    var verbose = false

    @Flag(help: jsonHelp)
    var json = false

    func run() throws {
        let scan = ProcessScan()
        let survey = StackSurvey(scan.processes)
        if json {
            let stacks = survey.stacks.map { JSONReport.StackLine($0, survey) }
            print(JSONReport.text(JSONReport.Stacks(stacks: stacks, unreadableProcesses: scan.unreadable)))
        } else {
            print(Self.table(survey).text, terminator: "")
        }
        survey.warnOfBadStacks()
        if verbose { scan.warnOfUnreadable() }
    }

    private static func table(_ survey: StackSurvey) -> PlainTable {
        var table = PlainTable(
            titles: ["Pid", "User", "Command", "Endpoints", "Lanes", "Ring-bytes", "Kernel-bytes"],
            numbers: ["Pid", "Endpoints", "Lanes", "Ring-bytes", "Kernel-bytes"])
        for stack in survey.stacks {
            let process = survey.process(of: stack)
            let sum = StackSum(stack.record)
            table.rows.append([
                String(process.id), userName(process.userID), stack.record.header.command, String(sum.endpoints),
                String(sum.lanes), String(sum.ringBytes), String(sum.kernelBytes),
            ])
        }
        return table
    }
}
