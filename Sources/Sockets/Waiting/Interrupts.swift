import CLinux

/// What signal handlers did to this thread since a call began (signal(7): which calls restart after SA_RESTART).
@safe struct Interrupts {
    private let restart: UInt32
    private let noRestart: UInt32

    @inline(__always) init() {
        let me = unsafe slc_self()!
        restart = unsafe me.pointee.handlers_restart
        noRestart = unsafe me.pointee.handlers_norestart
    }

    /// Must the call return EINTR? `hasTimeout`: with SO_RCVTIMEO or SO_SNDTIMEO set, SA_RESTART does not count.
    @inline(__always) func happened(hasTimeout: Bool) -> Bool {
        let me = unsafe slc_self()!
        return unsafe me.pointee.handlers_norestart != noRestart || hasTimeout && me.pointee.handlers_restart != restart
    }

    /// For calls that never restart (poll, select, epoll_wait).
    @inline(__always) func any() -> Bool { happened(hasTimeout: true) }
}
