/// The door between the interposed libc symbols (CInterpose, C) and the core (Sockets, Swift `@c`).
/// Every entry returns what the call returns, or -errno; the C side alone writes errno. `entry` is the descriptor
/// table's word for `fd`, read once by the C side; entries are called for it only when its kind says so.
#pragma once
#include "SluiceReal.h"

// Start: called once by the constructor, or lazily by the first call that makes a socket, after the real-libc table is
// filled. Idempotent; may run in another library's constructor.
void sluice_start(void);

// MARK: sockets come and go. `fd` is what the real call has just returned.
void sluice_made_socket(int fd, int domain, int type, int protocol);
void sluice_made_accepted(int listener, uint64_t listener_entry, int fd, int flags); ///< flags of accept4
/// A descriptor number was made by a call that we do not serve (open, pipe, eventfd, recvmsg ...): forget what stood there.
void sluice_made_other(int fd);
void sluice_made_epoll(int fd);
/// Before the real close; 0: go on with the real close, -errno: refuse (-EBADF: a descriptor of Sluice's own).
long sluice_before_close(int fd, uint64_t entry);
/// After a successful dup, dup2, dup3, F_DUPFD: `to` now refers to what `from` refers to.
void sluice_duplicated(int from, uint64_t from_entry, int to);
/// Before dup2 or dup3 over `to`, which is ours. 0, or -errno. A descriptor of Sluice's own is moved away first.
long sluice_before_replace(int to, uint64_t entry);
/// Before close_range or closefrom; returns the next number in [first, last] that must stay open, or -1.
int sluice_next_own(int first, int last);
/// The program needs the numbers that Sluice holds: lanes are handed back, own descriptors closed, no more made. False:
/// there was nothing (more) to give.
_Bool sluice_give_back(_Bool is_none_left);

long sluice_connect(int fd, uint64_t entry, const struct sockaddr *address, socklen_t length);
long sluice_bind(int fd, uint64_t entry, const struct sockaddr *address, socklen_t length);
long sluice_listen(int fd, uint64_t entry, int backlog);
long sluice_shutdown(int fd, uint64_t entry, int how);

// MARK: bytes (entry kind SLC_FD_ENDPOINT)
long sluice_recv(int fd, uint64_t entry, void *buffer, size_t length, int flags, int call);
long sluice_send(int fd, uint64_t entry, const void *buffer, size_t length, int flags, int call);
/// readv, recvmsg, recvfrom with an address. `msg` is null for readv; else its name, control and flags are filled too.
long sluice_recvmsg(int fd, uint64_t entry, struct msghdr *msg, const struct iovec *iov, size_t count, int flags, int call);
long sluice_sendmsg(int fd, uint64_t entry, const struct msghdr *msg, const struct iovec *iov, size_t count, int flags, int call);
/// Several messages by one call of the kernel's, where that is all there is; else SLUICE_ONE_BY_ONE.
long sluice_recvmmsg(int fd, uint64_t entry, struct mmsghdr *messages, unsigned count, int flags, struct timespec *timeout);
long sluice_sendmmsg(int fd, uint64_t entry, struct mmsghdr *messages, unsigned count, int flags);
/// sendfile with our socket as the target. `offset` may be null.
long sluice_sendfile(int fd, uint64_t entry, int in, off_t *offset, size_t count);
/// Before a real call of a kind that we don't serve takes bytes from or puts bytes to the socket (splice, aio, fdopen,
/// io_uring, MSG_ZEROCOPY, SCM_RIGHTS ...): hands the endpoint back for good. `reason` is a number of the reason table.
void sluice_hand_back(int fd, uint64_t entry, uint32_t reason);
/// Before the process does something that hides all later calls from us (exec, seccomp, io_uring set-up).
void sluice_hand_back_all(uint32_t reason);

// MARK: options
long sluice_getsockopt(int fd, uint64_t entry, int level, int name, void *value, socklen_t *length);
long sluice_setsockopt(int fd, uint64_t entry, int level, int name, const void *value, socklen_t length);
long sluice_ioctl(int fd, uint64_t entry, unsigned long request, void *argument);
/// F_GETFL, F_SETFL, F_SETOWN ... everything but F_DUPFD*, which the C side does.
long sluice_fcntl(int fd, uint64_t entry, int command, long argument);

// MARK: readiness
/// ppoll with any mixture of descriptors, at least one of ours among them. `timeout_ns` < 0: for ever.
long sluice_poll(struct pollfd *fds, size_t count, int64_t timeout_ns, const sigset_t *mask);
long sluice_epoll_ctl(int set, uint64_t set_entry, int operation, int fd, struct epoll_event *event);
/// What a real look at a set has reported that was the kernel's alone before it; returns how many events are the program's.
long sluice_epoll_sort(uint64_t set_entry, struct epoll_event *events, long count);
long sluice_epoll_wait(int set, uint64_t set_entry, struct epoll_event *events, int max, int64_t timeout_ns, const sigset_t *mask);

// MARK: process life
void sluice_fork_prepare(void);
void sluice_fork_parent(void);
/// Behind `sluice_fork_parent` of this thread: there is no child.
void sluice_fork_failed(void);
void sluice_fork_child(void);
void sluice_before_exec(void);
/// Before libc starts a program in a child that it clones by itself.
void sluice_before_spawn(void);
void sluice_at_exit(void);
/// euid changed, capset, PR_SET_DUMPABLE: new lanes by the new identity.
void sluice_identity_changed(void);
/// Before a jump that leaves all frames below the stack pointer `target`, with calls of this thread under way.
void sluice_before_jump(uint64_t target);

/// exec has failed; undoes what sluice_before_exec counted.
void sluice_exec_failed(void);
