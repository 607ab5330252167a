import CLinux
import CStackLayout
import Counters
import SharedMemory
import Stacks

// fork: both processes own the same ends. Endpoints, counts and side locks are shared memory already; what is private
// (tables, pairs, sets) is copied. The child gets an identity and, at its first new socket, a stack of its own.

@c(sluice_fork_prepare) public func forkPrepare() {
    guard process.started else { return }
    process.lock.acquire()
    EpollSet.lockAll()
    guard process.isOwner else { return }
    DescriptorTable.each { _, entry in
        guard DescriptorTable.kind(entry) == 1 else { return true }
        let e = endpoint(entry)
        _ = slc_add_u32(&e.pointee.descriptors, 1)
        _ = slc_or_u32(&e.pointee.flags, UInt32(SL_EP_SHARED))
        if let d = e.txDirection, let r = e.rxDirection {
            slc_set_u32(&d.pointee.sender_shared, 1)
            _ = r
        }
        return true
    }
}

@c(sluice_fork_parent) public func forkParent() {
    guard process.started else { return }
    EpollSet.unlockAll()
    process.lock.release()
}

@c(sluice_fork_child) public func forkChild() {
    guard process.started else { return }
    let me = slc_self()!
    me.pointee.tid = 0
    me.pointee.robust_head = 0
    me.pointee.waiter = 0
    EpollSet.resetLocks()
    process.lock.resetAfterFork()
    process.pid = slc_getpid()
    process.renewNonce()
    process.stack = nil
    process.stackDescriptor = -1
    process.chunks = nil
    DescriptorTable.each { _, entry in
        guard DescriptorTable.kind(entry) == 1 else { return true }
        let local = endpoint(entry).local
        // The parent goes on with its meeting; our copies of its descriptors are of no use.
        if local.pointee.meeting.listener >= 0 || local.pointee.meeting.channel >= 0 {
            OwnDescriptor.close(local.pointee.meeting.listener)
            OwnDescriptor.close(local.pointee.meeting.channel)
        }
        local.pointee.meeting = Meeting()
        local.pointee.meetingBusy = 0
        local.pointee.users = 0
        return true
    }
    openNamesAfterFork()
    EpollSet.inheritedByChild()
}

/// Before exec: what the new image will hold must be whole in the kernel, and what CLOEXEC closes is let go.
@c(sluice_before_exec) public func beforeExec() {
    guard process.started else { return }
    // A vfork child shares our memory: it hands back, and counts nothing.
    let isOwner = process.isOwner
    DescriptorTable.each { fd, entry in
        guard DescriptorTable.kind(entry) == 1 else { return true }
        let e = endpoint(entry)
        let flags = slc_fcntl(fd, F_GETFD, 0)
        if flags >= 0 && flags & 1 == 0 {
            Lane.handBack(e, fd, .exec, foreign: true)
        } else if isOwner {
            _ = slc_sub_u32(&e.pointee.descriptors, 1)
        }
        return true
    }
}

/// exec has failed: the counts are as before. (What was handed back stays so.)
@c(sluice_exec_failed) public func execFailed() {
    guard process.started, process.isOwner else { return }
    DescriptorTable.each { fd, entry in
        guard DescriptorTable.kind(entry) == 1 else { return true }
        let flags = slc_fcntl(fd, F_GETFD, 0)
        if flags >= 0 && flags & 1 != 0 { _ = slc_add_u32(&endpoint(entry).pointee.descriptors, 1) }
        return true
    }
}

@c(sluice_at_exit) public func atExit() {
    guard process.started, process.isOwner else { return }
    var p = process.pairs
    while let pair = p {
        if pair.pointee.ownNonce != process.nonce {
            pair.giveBackNumbers(where: Waiter.isOurs)
        }
        p = pair.pointee.next
    }
    // A peer that left its end is owed what it had not read; counts of shared ends are kept true.
    DescriptorTable.each { fd, entry in
        guard DescriptorTable.kind(entry) == 1 else { return true }
        let e = endpoint(entry)
        Lane.service(e, fd)
        if e.pointee.flags & UInt32(SL_EP_SHARED) != 0 { _ = slc_sub_u32(&e.pointee.descriptors, 1) }
        return true
    }
}

/// New lanes go by the new identity, which is asked when it is needed; open ones stay between the processes that made them.
@c(sluice_identity_changed) public func identityChanged() {}
