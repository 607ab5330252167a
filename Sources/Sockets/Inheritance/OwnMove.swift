import CLinux
import CStackLayout
import SharedMemory
import Stacks

/// The program wants a number by dup2 that one of our descriptors has: ours moves to another one first.
enum OwnMove {
    /// True when done. False: there is no other number, or a thread is in the middle of using this one for too long.
    static func away(_ fd: Int32) -> Bool {
        let ofMeeting = moveMeeting(fd)
        if ofMeeting != .notFound { return ofMeeting == .moved }
        let fresh = OwnDescriptor.duplicate(fd)
        guard fresh >= 0 else {
            // Another thread is closing it just now, or it was closed past libc.
            guard slc_fcntl(fd, F_GETFD, 0) == -Int(EBADF) else { return false }
            DescriptorTable.set(fd, 0)
            return true
        }
        EpollSet.renumber(fd, fresh)
        unsafe process.lock.acquire()
        defer { unsafe process.lock.release() }
        if unsafe process.stackDescriptor == fd { unsafe process.stackDescriptor = fresh }
        Pair.renumber(fd, fresh)
        Waiter.renumber(fd, fresh)
        LentEndpoints.renumber(fd, fresh)
        LogFile.renumber(fd, fresh)
        unsafe StackMemory.each { if unsafe $0.local.pointee.kept == fd { unsafe $0.local.pointee.kept = fresh } }
        DescriptorTable.set(fd, 0)
        Waiter.pollAnew()
        return OwnDescriptor.awaitUsers()
    }

    private enum Outcome { case notFound, moved, busy }

    /// A name or a channel of a meeting: moved between two of its steps.
    private static func moveMeeting(_ fd: Int32) -> Outcome {
        var found: Endpoint? = nil
        DescriptorTable.each { _, entry in
            guard let e = unsafe tracked(entry) else { return true }
            let m = unsafe e.local.pointee.meeting
            if m.channel == fd || m.listener == fd { unsafe found = unsafe e }
            return unsafe found == nil
        }
        guard let local = unsafe found?.local else { return .notFound }
        let end = slc_now_ns() &+ 100_000_000
        while unsafe !slc_cas_u32(&local.pointee.meetingBusy, 0, 1) {
            if slc_now_ns() > end { return .busy }
            var pause = timespec(tv_sec: 0, tv_nsec: 20_000)
            _ = unsafe slc_ppoll(nil, 0, &pause, nil)
        }
        defer { unsafe slc_release_u32(&local.pointee.meetingBusy, 0) }
        let isListener = unsafe local.pointee.meeting.listener == fd
        guard unsafe isListener || local.pointee.meeting.channel == fd else { return .notFound }
        let fresh = OwnDescriptor.duplicate(fd)
        guard fresh >= 0 else { return .busy }
        if isListener {
            unsafe OpenNames.renumber(&local.pointee.meeting.listener, fresh)
        } else {
            unsafe local.pointee.meeting.channel = fresh
        }
        DescriptorTable.set(fd, 0)
        return .moved
    }
}
