// libc's own functions, as the core calls them: without libc's cancellation, and never for long.
#include "SluiceReal.h"

long sluice_real_connect(int fd, const struct sockaddr *address, socklen_t length) { return slc_connect(fd, address, length); }
long sluice_real_recv(int fd, void *buffer, size_t length, int flags, int call) {
    (void)call;
    return slc_recvfrom(fd, buffer, length, flags | MSG_DONTWAIT);
}
long sluice_real_send(int fd, const void *buffer, size_t length, int flags, int call) {
    (void)call;
    return slc_sendto(fd, buffer, length, flags | MSG_DONTWAIT | MSG_NOSIGNAL);
}
long sluice_real_recvmsg(int fd, struct msghdr *msg, int flags) { return slc_recvmsg(fd, msg, flags | MSG_DONTWAIT); }
long sluice_real_sendmsg(int fd, const struct msghdr *msg, int flags) { return slc_sendmsg(fd, msg, flags | MSG_DONTWAIT | MSG_NOSIGNAL); }
long sluice_real_recvmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags, struct timespec *timeout) {
    (void)fd, (void)messages, (void)count, (void)flags, (void)timeout;
    return SLUICE_ONE_BY_ONE;
}
long sluice_real_sendmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags) {
    (void)fd, (void)messages, (void)count, (void)flags;
    return SLUICE_ONE_BY_ONE;
}
long sluice_real_readv(int fd, const struct iovec *iov, size_t count) {
    struct msghdr m = {.msg_iov = (struct iovec *)iov, .msg_iovlen = count};
    return slc_recvmsg(fd, &m, MSG_DONTWAIT);
}
long sluice_real_writev(int fd, const struct iovec *iov, size_t count) {
    struct msghdr m = {.msg_iov = (struct iovec *)iov, .msg_iovlen = count};
    return slc_sendmsg(fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
}
long sluice_real_ppoll(struct pollfd *fds, size_t count, const struct timespec *timeout, const sigset_t *mask) {
    struct timespec none = {0};
    (void)timeout;
    return slc_ppoll(fds, count, &none, mask);
}
long sluice_real_epoll_pwait(int set, struct epoll_event *events, int max, int64_t timeout_ns, const sigset_t *mask) {
    (void)timeout_ns, (void)mask;
    return slc_epoll_wait(set, events, max, 0);
}
long sluice_real_sendfile(int fd, int in, off_t *offset, size_t count) {
    return slc_syscall4(SYS_sendfile, fd, in, SLC_P(offset), (long)count);
}
