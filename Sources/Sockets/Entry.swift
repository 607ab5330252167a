import CLinux

// The doors from CInterpose. Stage (a): every byte in the kernel.
@c(sluice_start) public func start() {}
@c(sluice_made_socket) public func madeSocket(_ fd: Int32, _ domain: Int32, _ type: Int32, _ proto: Int32) {}
@c(sluice_made_accepted) public func madeAccepted(_ l: Int32, _ e: UInt64, _ fd: Int32, _ flags: Int32) {}
@c(sluice_made_other) public func madeOther(_ fd: Int32) {}
@c(sluice_made_epoll) public func madeEpoll(_ fd: Int32) {}
@c(sluice_before_close) public func beforeClose(_ fd: Int32, _ e: UInt64) -> Int { 0 }
@c(sluice_duplicated) public func duplicated(_ from: Int32, _ e: UInt64, _ to: Int32) {}
@c(sluice_before_replace) public func beforeReplace(_ to: Int32, _ e: UInt64) -> Int { 0 }
@c(sluice_next_own) public func nextOwn(_ first: Int32, _ last: Int32) -> Int32 { -1 }
@c(sluice_connect) public func connect(_ fd: Int32, _ e: UInt64, _ a: UnsafePointer<sockaddr>?, _ n: UInt32) -> Int { slc_connect(fd, a, n) }
@c(sluice_bind) public func bind(_ fd: Int32, _ e: UInt64, _ a: UnsafePointer<sockaddr>?, _ n: UInt32) -> Int { slc_bind(fd, a, n) }
@c(sluice_listen) public func listen(_ fd: Int32, _ e: UInt64, _ n: Int32) -> Int { slc_listen(fd, n) }
@c(sluice_shutdown) public func shutdown(_ fd: Int32, _ e: UInt64, _ how: Int32) -> Int { slc_shutdown(fd, how) }
@c(sluice_recv) public func recv(_ fd: Int32, _ e: UInt64, _ b: UnsafeMutableRawPointer?, _ n: Int, _ flags: Int32, _ call: Int32) -> Int { sluice_real_recv(fd, b, n, flags, call) }
@c(sluice_send) public func send(_ fd: Int32, _ e: UInt64, _ b: UnsafeRawPointer?, _ n: Int, _ flags: Int32, _ call: Int32) -> Int { sluice_real_send(fd, b, n, flags, call) }
@c(sluice_recvmsg) public func recvmsg(_ fd: Int32, _ e: UInt64, _ m: UnsafeMutablePointer<msghdr>?, _ v: UnsafePointer<iovec>?, _ n: Int, _ flags: Int32, _ call: Int32) -> Int {
    m == nil ? sluice_real_readv(fd, v, n) : sluice_real_recvmsg(fd, m, flags)
}
@c(sluice_sendmsg) public func sendmsg(_ fd: Int32, _ e: UInt64, _ m: UnsafePointer<msghdr>?, _ v: UnsafePointer<iovec>?, _ n: Int, _ flags: Int32, _ call: Int32) -> Int {
    m == nil ? sluice_real_writev(fd, v, n) : sluice_real_sendmsg(fd, m, flags)
}
@c(sluice_sendfile) public func sendfile(_ fd: Int32, _ e: UInt64, _ i: Int32, _ o: UnsafeMutablePointer<off_t>?, _ n: Int) -> Int { sluice_real_sendfile(fd, i, o, n) }
@c(sluice_hand_back) public func handBack(_ fd: Int32, _ e: UInt64, _ reason: UInt32) {}
@c(sluice_hand_back_all) public func handBackAll(_ reason: UInt32) {}
@c(sluice_getsockopt) public func getsockopt(_ fd: Int32, _ e: UInt64, _ l: Int32, _ o: Int32, _ v: UnsafeMutableRawPointer?, _ n: UnsafeMutablePointer<UInt32>?) -> Int { slc_getsockopt(fd, l, o, v, n) }
@c(sluice_setsockopt) public func setsockopt(_ fd: Int32, _ e: UInt64, _ l: Int32, _ o: Int32, _ v: UnsafeRawPointer?, _ n: UInt32) -> Int { slc_setsockopt(fd, l, o, v, n) }
@c(sluice_ioctl) public func ioctl(_ fd: Int32, _ e: UInt64, _ r: UInt, _ a: UnsafeMutableRawPointer?) -> Int { slc_ioctl(fd, r, a) }
@c(sluice_fcntl) public func fcntl(_ fd: Int32, _ e: UInt64, _ cmd: Int32, _ a: Int) -> Int { slc_fcntl(fd, cmd, a) }
@c(sluice_poll) public func poll(_ f: UnsafeMutablePointer<pollfd>?, _ n: Int, _ ns: Int64, _ mask: UnsafePointer<sigset_t>?) -> Int { 0 }
@c(sluice_epoll_ctl) public func epollCtl(_ s: Int32, _ e: UInt64, _ op: Int32, _ fd: Int32, _ ev: UnsafeMutablePointer<epoll_event>?) -> Int { slc_epoll_ctl(s, op, fd, ev) }
@c(sluice_epoll_wait) public func epollWait(_ s: Int32, _ e: UInt64, _ ev: UnsafeMutablePointer<epoll_event>?, _ n: Int32, _ ns: Int64, _ mask: UnsafePointer<sigset_t>?) -> Int { sluice_real_epoll_pwait(s, ev, n, ns, mask) }
@c(sluice_fork_prepare) public func forkPrepare() {}
@c(sluice_fork_parent) public func forkParent() {}
@c(sluice_fork_child) public func forkChild() {}
@c(sluice_before_exec) public func beforeExec() {}
@c(sluice_at_exit) public func atExit() {}
@c(sluice_identity_changed) public func identityChanged() {}
