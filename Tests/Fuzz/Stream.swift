import CLinux
import CStackLayout
import Counters
import Glibc
import SharedMemory

@testable import Sockets
@testable import Stacks

private let ringBytes = 4096

/// A stream on its lane, whose peer writes what it likes into every shared word between two steps of ours.
func fuzzStream(_ input: inout Input) {
    let manner = input.byte()
    let c = connection ?? Connection()
    connection = c
    let a = Attack(c, manner: manner)
    let e = a.e
    let fd = a.fd
    var isShut = false
    var turns = 0
    while !input.isOver, turns < 40 {
        turns += 1
        switch input.byte() % 20 {
        case 0, 1, 2: a.scribble(&input, everywhere: false)
        case 3, 4: a.scribbleHalf(&input)
        case 5: a.scribble(&input, everywhere: true)
        case 6, 7: transfer(a, &input) { bytes in bounded("a send") { streamSend(e, fd, &bytes, 0x4040) } }
        case 8, 9:
            let flags = ReceiveFlags(raw: [0x40, 0x42, 0x140, 0x60][Int(input.byte() & 3)])
            transfer(a, &input) { bytes in bounded("a receive") { streamReceive(e, fd, &bytes, flags) } }
        case 10: _ = slc_sendto(a.far, userBytes, input.below(ringBytes), 0x4040)
        case 11: _ = slc_recvfrom(a.far, &userBytes, input.below(2 * ringBytes), 0x40)
        case 12: bounded("service") { Lane.service(e, fd) }
        case 13: a.publish(input.below(ringBytes))
        case 14: a.consume()
        case 15: a.retreat()
        case 16:
            // The kernel tells no lies: the end of a connection that has not ended is left out.
            let kernel = UInt32(input.number(UInt16.self)) & ~(Readiness.RDHUP | Readiness.HUP | Readiness.ERR)
            bounded("readiness") {
                let ring = Readiness.ring(e)
                _ = Readiness.merge(e, ring: ring, kernel: kernel)
                _ = Readiness.kernelCarries(e) || Readiness.isBack(e)
            }
            isHonest(e, fd)
        case 17:
            bounded("options") { _ = Lane.unreadIn(e) &+ Lane.arrivedByKernel(e) &+ Lane.unacknowledged(e) }
            bounded("a wake") { Lane.notifyAll(e) }
        case 18:
            let choice = input.byte()
            switch choice & 7 {
            case 0: bounded("handing back") { _ = Lane.beginHandBack(e, fd, .option, foreign: choice & 8 != 0) }
            case 1: bounded("mending") { Lane.mendSend(e, fd) }
            case 2: bounded("mending") { Lane.mendReceive(e, fd) }
            case 3:
                bounded("shutdown") { Lane.shutdown(e, fd, Int32(choice >> 3) % 3) }
                isShut = true
            case 4: e.pointee.rx_lowat = UInt32(input.number(UInt16.self))
            default: a.fake.drain()
            }
        default:
            let side = input.byte() & 1 == 0
            let d = a.direction(side)
            d.pointee.rx_control = UInt32(input.byte() % 7)
        }
    }
    // `e` counts as shut, too, when something was found damaged.
    if !a.end(isShut: isShut || input.byte() & 1 == 1 || manner & 4 != 0) { connection = nil }
    forgetPairs()
}
