import CLinux
import SharedMemory

/// The names under which this process waits for connecting ends now: at most 64. Each belongs to the meeting of one connection,
/// which closes it inside a call of the program on that connection; where no such call comes, another connection that needs
/// a name closes the oldest of those that have been open for longer than they may. Under a lock of its own, taken last.
public enum OpenNames {
    @safe private struct Name {
        var local: UnsafeMutablePointer<Local>? = nil
        var listener: Int32 = -1
        var began: UInt64 = 0
    }
    nonisolated(unsafe) private static var names: UnsafeMutablePointer<Name>? = nil
    nonisolated(unsafe) private static var lock = PrivateLock()
    nonisolated(unsafe) static var count: Int32 = 0

    static var most: Int { 64 }
    /// How long a name may stay open when others are wanted.
    static var longestNs: UInt64 { 50_000_000 }

    /// In a fork child: the names are the parent's.
    public static func afterFork() {
        unsafe lock = PrivateLock()
        unsafe count = 0
        if let names = unsafe names { unsafe names.initialize(repeating: Name(), count: most) }
    }

    /// Sees to it that there is room for one more. False: not now.
    static func makeRoom() -> Bool {
        unsafe lock.acquire()
        defer { unsafe lock.release() }
        if unsafe names == nil, let p = unsafe Memory.anonymous(MemoryLayout<Name>.stride * most) {
            let fresh = unsafe p.assumingMemoryBound(to: Name.self)
            unsafe fresh.initialize(repeating: Name(), count: most)
            unsafe names = unsafe fresh
        }
        guard let names = unsafe names else { return false }
        return unsafe count < Int32(most) || closeOldest(names)
    }

    /// The name of a meeting is open. False: another thread took the last place; the name is closed again.
    static func add(_ local: UnsafeMutablePointer<Local>, _ listener: Int32) -> Bool {
        unsafe lock.acquire()
        defer { unsafe lock.release() }
        var i = 0
        while i < most, let names = unsafe names {
            if unsafe names[i].local == nil {
                unsafe names[i] = unsafe Name(local: local, listener: listener, began: slc_now_ns())
                unsafe count += 1
                unsafe local.pointee.meeting.listener = listener
                return true
            }
            i += 1
        }
        OwnDescriptor.close(listener)
        return false
    }

    /// Closes the name of a meeting, if it is still open.
    static func close(_ listener: inout Int32) {
        unsafe lock.acquire()
        defer { unsafe lock.release() }
        let open = unsafe take(&listener)
        var i = 0
        while open >= 0, i < most, let names = unsafe names {
            if unsafe names[i].listener == open {
                unsafe names[i] = Name()
                unsafe count -= 1
            }
            i += 1
        }
        OwnDescriptor.close(open)
    }

    /// The meeting's name has another number from now on. The meeting is busy with the caller.
    public static func renumber(_ listener: inout Int32, _ new: Int32) {
        unsafe lock.acquire()
        defer { unsafe lock.release() }
        var i = 0
        while i < most, let names = unsafe names {
            if unsafe names[i].listener == listener { unsafe names[i].listener = new }
            i += 1
        }
        listener = new
    }

    private static func take(_ listener: UnsafeMutablePointer<Int32>) -> Int32 {
        unsafe Int32(bitPattern: slc_exchange_u32(UnsafeMutableRawPointer(listener).assumingMemoryBound(to: UInt32.self), ~0))
    }

    /// Under the lock: the oldest of the names that have been open too long and whose meeting no thread works on. That
    /// meeting finds no name at its next step.
    private static func closeOldest(_ names: UnsafeMutablePointer<Name>) -> Bool {
        let now = slc_now_ns()
        var oldest = -1
        var age = longestNs
        var i = 0
        while i < most {
            if let local = unsafe names[i].local, unsafe slc_relaxed_u32(&local.pointee.meetingBusy) == 0,
                unsafe now &- names[i].began > age
            {
                oldest = i
                age = unsafe now &- names[i].began
            }
            i += 1
        }
        guard oldest >= 0, let local = unsafe names[oldest].local, unsafe slc_cas_u32(&local.pointee.meetingBusy, 0, 1) else {
            return false
        }
        unsafe OwnDescriptor.close(take(&local.pointee.meeting.listener))
        unsafe names[oldest] = Name()
        unsafe count -= 1
        unsafe slc_release_u32(&local.pointee.meetingBusy, 0)
        return true
    }
}
