import CLinux
import CStackLayout
import Counters
import SharedMemory
import Stacks

/// Another call of the program needs a number and there is none, or will soon be none: what Sluice holds is the program's.
/// Lanes are handed back in order (the peer leaves its rings at its next send, and what lies there is read from memory that
/// stays mapped), so no wait needs a bell any more. First all but the stack's own memory, by which tools see the process;
/// that one only when there is still none.
@c(sluice_give_back) public func giveBack(_ isNoneLeft: Bool) -> Bool {
    guard unsafe process.started, unsafe process.isOwner, OwnDescriptor.areInTheWay else { return false }
    unsafe process.lock.acquire()
    let isFirst = unsafe !process.isCrowded
    unsafe process.isCrowded = true
    if unsafe isNoneLeft && !isFirst && process.stackDescriptor >= 0 {
        unsafe OwnDescriptor.close(process.stackDescriptor)
        unsafe process.stackDescriptor = -1
        unsafe process.lock.release()
        return true
    }
    unsafe process.lock.release()
    guard isFirst else { return false }
    count(StackCounter.descriptorShortages)
    Log.write(.resourceWarnings, "descriptors ran out: Sluice gives its own back, connections stay in the kernel")
    DescriptorTable.each { fd, entry in
        guard let e = unsafe tracked(entry) else { return true }
        unsafe withdraw(e)
        unsafe Lane.handBack(e, fd, .resources, foreign: false)
        return true
    }
    EpollSet.retireBells()
    unsafe process.lock.acquire()
    Waiter.retireBells()
    LentEndpoints.retireDescriptors()
    LogFile.retireDescriptor()
    var next = unsafe process.pairs
    while let pair = unsafe next {
        unsafe pair.retireDescriptors()
        unsafe next = unsafe pair.pointee.next
    }
    OwnDescriptor.closeRetired()
    unsafe process.lock.release()
    return true
}

/// A meeting under way ends; one that a thread is working on finds no descriptors by itself.
private func withdraw(_ e: Endpoint) {
    let local = unsafe e.local
    guard unsafe slc_cas_u32(&local.pointee.meetingBusy, 0, 1) else { return }
    if unsafe e.pointee.lane == UInt32(SL_LANE_MEETING) {
        unsafe process.lock.acquire()
        unsafe Rendezvous.withdraw(e)
        unsafe process.lock.release()
        unsafe slc_release_u32(&e.pointee.lane, UInt32(SL_LANE_KERNEL))
    }
    unsafe slc_release_u32(&local.pointee.meetingBusy, 0)
}
