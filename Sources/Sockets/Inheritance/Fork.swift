import CLinux
import CStackLayout
import Counters
import SharedMemory
import Stacks

// fork: both processes own the same ends. Endpoints, counts and side locks are shared memory already; what is private
// (tables, pairs, sets) is copied. The child gets an identity and, at its first new socket, a stack of its own.

@c(sluice_fork_prepare) public func forkPrepare() {
    guard unsafe process.started else { return }
    let fork = unsafe slc_add_u32(&process.forks, 1) &+ 1
    unsafe slc_self()!.pointee.fork = fork
    EpollSet.prepareFork()
    unsafe process.lock.acquire()
    OwnDescriptor.lockForFork()
    guard unsafe process.isOwner else { return }
    DescriptorTable.each { _, entry in
        guard let e = unsafe tracked(entry) else { return true }
        unsafe e.local.pointee.prepare(fork, isShared: e.pointee.flags & UInt32(SL_EP_SHARED) != 0)
        // Before flows are given up for it: they begin anew where the counts say that we are alone.
        _ = unsafe slc_add_u32(&e.pointee.descriptors, 1)
        if unsafe e.isDatagram { unsafe Flows.handBackBeforeFork(e) }
        _ = unsafe slc_or_u32(&e.pointee.flags, UInt32(SL_EP_SHARED))
        if let d = unsafe e.txDirection { unsafe slc_set_u32(&d.pointee.sender_shared, 1) }
        return true
    }
}

extension Local {
    /// One descriptor more is counted for the child of fork number `fork`.
    fileprivate mutating func prepare(_ fork: UInt32, isShared: Bool) {
        if lastFork != fork {
            lastFork = fork
            countedByFork = 0
            wasShared = isShared
        }
        countedByFork += 1
    }
}

/// There is no child: what was counted for it is taken back. Not where another thread has forked since: what is counted too
/// high is found by the kernel's word later (LentEndpoints).
@c(sluice_fork_failed) public func forkFailed() {
    guard unsafe process.started, unsafe process.isOwner else { return }
    let fork = unsafe slc_self()!.pointee.fork
    EpollSet.forkFailed(fork)
    unsafe process.lock.acquire()
    defer { unsafe process.lock.release() }
    DescriptorTable.each { _, entry in
        guard let e = unsafe tracked(entry) else { return true }
        let local = unsafe e.local
        guard unsafe local.pointee.lastFork == fork && local.pointee.countedByFork > 0 else { return true }
        _ = unsafe slc_sub_u32(&e.pointee.descriptors, UInt32(local.pointee.countedByFork))
        unsafe local.pointee.countedByFork = 0
        if unsafe !local.pointee.wasShared {
            _ = unsafe slc_and_u32(&e.pointee.flags, ~UInt32(SL_EP_SHARED))
            if let d = unsafe e.txDirection { unsafe slc_set_u32(&d.pointee.sender_shared, 0) }
        }
        return true
    }
}

@c(sluice_fork_parent) public func forkParent() {
    guard unsafe process.started else { return }
    OwnDescriptor.unlockInParent()
    unsafe process.lock.release()
    EpollSet.endFork()
}

@c(sluice_fork_child) public func forkChild() {
    guard unsafe process.started else { return }
    let me = unsafe slc_self()!
    unsafe me.pointee.tid = 0
    unsafe me.pointee.robust_head = 0
    unsafe me.pointee.waiter = 0
    OwnDescriptor.unlockInChild()
    unsafe process.lock.resetAfterFork()
    unsafe process.pid = slc_getpid()
    unsafe process.renewNonce()
    unsafe process.stack = nil
    unsafe process.waits = nil
    unsafe process.stackDescriptor = -1
    unsafe process.chunks = nil
    CaptureMemory.afterFork()
    DescriptorTable.each { _, entry in
        guard let e = unsafe tracked(entry) else { return true }
        let local = unsafe e.local
        if unsafe e.isDatagram { unsafe Flows.forgetInChild(e) }
        // The parent goes on with its meeting; our copies of its descriptors are of no use.
        if unsafe local.pointee.meeting.listener >= 0 || local.pointee.meeting.channel >= 0 {
            unsafe OwnDescriptor.close(local.pointee.meeting.listener)
            unsafe OwnDescriptor.close(local.pointee.meeting.channel)
        }
        unsafe local.pointee.meeting = Meeting()
        unsafe local.pointee.meetingBusy = 0
        unsafe local.pointee.users = 0
        unsafe local.pointee.countedOut = 0
        return true
    }
    OpenNames.afterFork()
    LentEndpoints.afterFork()
    EpollSet.inheritedByChild()
    Held.inheritedByChild()
}

/// A new image that holds it moves its bytes by the kernel. (A listener has none, and what is accepted from it is another
/// matter.)
private func handToImage(_ e: Endpoint, _ fd: Int32) {
    if unsafe e.pointee.state != UInt32(SL_ENDPOINT_LISTENING) { _ = unsafe Lane.beginHandBack(e, fd, .exec, foreign: true) }
}

/// Before a new program is started by libc alone, in a child that this library does not see: what it will hold must be
/// whole in the kernel. The child's descriptors are counted by nobody, as those of a program that is not ours.
@c(sluice_before_spawn) public func beforeSpawn() {
    guard unsafe process.started else { return }
    DescriptorTable.each { fd, entry in
        guard let e = unsafe tracked(entry) else { return true }
        let flags = slc_fcntl(fd, F_GETFD, 0)
        if flags >= 0 && flags & 1 == 0 { unsafe handToImage(e, fd) }
        return true
    }
    awaitPeers()
}

/// Before exec: what the new image will hold must be whole in the kernel, and what CLOEXEC closes is let go.
@c(sluice_before_exec) public func beforeExec() {
    guard unsafe process.started else { return }
    // A vfork child shares our memory: it hands back, and counts nothing.
    let isOwner = unsafe process.isOwner
    if isOwner { EpollSet.leaveByExec() }
    DescriptorTable.each { fd, entry in
        guard let e = unsafe tracked(entry) else { return true }
        let flags = slc_fcntl(fd, F_GETFD, 0)
        if flags >= 0 && flags & 1 == 0 {
            unsafe handToImage(e, fd)
        } else if isOwner {
            _ = unsafe slc_sub_u32(&e.pointee.descriptors, 1)
        }
        return true
    }
    awaitPeers()
}

/// exec has failed: the counts are as before. (What was handed back stays so.)
@c(sluice_exec_failed) public func execFailed() {
    guard unsafe process.started, unsafe process.isOwner else { return }
    EpollSet.stay()
    DescriptorTable.each { fd, entry in
        guard let kept = unsafe tracked(entry) else { return true }
        let flags = slc_fcntl(fd, F_GETFD, 0)
        if flags >= 0 && flags & 1 != 0 { _ = unsafe slc_add_u32(&kept.pointee.descriptors, 1) }
        return true
    }
}

@c(sluice_at_exit) public func atExit() {
    guard unsafe process.started, unsafe process.isOwner, unsafe process.exited != process.nonce else { return }
    unsafe process.exited = unsafe process.nonce
    var p = unsafe process.pairs
    while let pair = unsafe p {
        if unsafe pair.pointee.ownNonce != process.nonce {
            unsafe pair.giveBackNumbers(where: Waiter.isOurs)
        }
        unsafe p = unsafe pair.pointee.next
    }
    EpollSet.leaveAll()
    // A peer that left its end is owed what it had not read; counts of shared ends are kept true.
    DescriptorTable.each { fd, entry in
        guard let e = unsafe tracked(entry) else { return true }
        if unsafe slc_relaxed_u32(&e.pointee.descriptors) == UInt32(bitPattern: e.local.pointee.descriptors) {
            unsafe Lane.atExit(e, fd)
        } else {
            unsafe Lane.service(e, fd)
        }
        if unsafe e.pointee.flags & UInt32(SL_EP_SHARED) != 0 {
            unsafe process.lock.acquire()
            unsafe e.local.pointee.countedOut += 1
            _ = unsafe slc_sub_u32(&e.pointee.descriptors, 1)
            unsafe process.lock.release()
        }
        return true
    }
}

/// New lanes go by the new identity, which the kernel is asked for at each meeting, since a plain system call may change it
/// unseen: a pair that was made as another user is not extended (`Pair.find`). Open lanes stay between those who made them.
@c(sluice_identity_changed) public func identityChanged() {}
