/// What the core calls in C: libc's own functions behind the interposed symbols, and the kinds of calls. CInterpose
/// defines them in the preload library.
#pragma once
#include "CLinux.h"
#include <sys/uio.h>

/// In place of a result of sluice_recvmmsg and sluice_sendmmsg: each message is to be a call of its own.
#define SLUICE_ONE_BY_ONE (-100010L)

/// Which libc call arrives; decides details that differ (length 0, cancellation, names in logs).
enum sluice_call {
    SLUICE_CALL_READ, SLUICE_CALL_READV, SLUICE_CALL_RECV, SLUICE_CALL_RECVFROM, SLUICE_CALL_RECVMSG,
    SLUICE_CALL_WRITE, SLUICE_CALL_WRITEV, SLUICE_CALL_SEND, SLUICE_CALL_SENDTO, SLUICE_CALL_SENDMSG,
    SLUICE_CALL_POLL, SLUICE_CALL_SELECT, SLUICE_CALL_EPOLL,
};

// libc's own functions (cancellation points), never our interposed ones. Result or -errno.
long sluice_real_connect(int fd, const struct sockaddr *address, socklen_t length);
long sluice_real_recv(int fd, void *buffer, size_t length, int flags, int call);
long sluice_real_send(int fd, const void *buffer, size_t length, int flags, int call);
long sluice_real_recvmsg(int fd, struct msghdr *msg, int flags);
long sluice_real_sendmsg(int fd, const struct msghdr *msg, int flags);
long sluice_real_recvmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags, struct timespec *timeout);
long sluice_real_sendmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags);
long sluice_real_readv(int fd, const struct iovec *iov, size_t count);
long sluice_real_writev(int fd, const struct iovec *iov, size_t count);
long sluice_real_ppoll(struct pollfd *fds, size_t count, const struct timespec *timeout, const sigset_t *mask);
long sluice_real_epoll_pwait(int set, struct epoll_event *events, int max, int64_t timeout_ns, const sigset_t *mask);
long sluice_real_sendfile(int fd, int in, off_t *offset, size_t count);
/// getenv by secure_getenv's rule, usable before main.
const char *sluice_getenv(const char *name);
/// NAME=value at `place`, which grows by one from 0 to the null at the end; none in a program that secure_getenv refuses.
const char *sluice_variable(long place);
/// From now on the core is asked to give its descriptors back when the program gets this number or a higher one.
void sluice_crowded_from(int fd);

