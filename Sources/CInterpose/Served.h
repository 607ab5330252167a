/// The named functions that `syscall` leads to.
#pragma once
#include "RealLibc.h"

ssize_t sli_read(int fd, void *buffer, size_t length);
ssize_t sli_readv(int fd, const struct iovec *iov, int count);
ssize_t sli_preadv2(int fd, const struct iovec *iov, int count, off_t offset, int flags);
ssize_t sli_recvfrom(int fd, void *buffer, size_t length, int flags, struct sockaddr *address, socklen_t *address_length);
ssize_t sli_recvmsg(int fd, struct msghdr *msg, int flags);
int sli_recvmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags, struct timespec *timeout);
ssize_t sli_write(int fd, const void *buffer, size_t length);
ssize_t sli_writev(int fd, const struct iovec *iov, int count);
ssize_t sli_pwritev2(int fd, const struct iovec *iov, int count, off_t offset, int flags);
ssize_t sli_sendto(int fd, const void *buffer, size_t length, int flags, const struct sockaddr *address, socklen_t n);
ssize_t sli_sendmsg(int fd, const struct msghdr *msg, int flags);
int sli_sendmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags);
ssize_t sli_sendfile(int out, int in, off_t *offset, size_t count);
ssize_t sli_splice(int in, off64_t *in_offset, int out, off64_t *out_offset, size_t count, unsigned flags);
int sli_bind(int fd, const struct sockaddr *address, socklen_t length);
int sli_listen(int fd, int backlog);
int sli_connect(int fd, const struct sockaddr *address, socklen_t length);
int sli_shutdown(int fd, int how);
int sli_getsockopt(int fd, int level, int name, void *value, socklen_t *length);
int sli_setsockopt(int fd, int level, int name, const void *value, socklen_t length);
int sli_ioctl(int fd, unsigned long request, void *argument);
int sli_fcntl(int fd, int command, void *argument);
int sli_poll(struct pollfd *fds, nfds_t count, int timeout_ms);
int sli_ppoll(struct pollfd *fds, nfds_t count, const struct timespec *timeout, const sigset_t *mask);
int sli_select(int count, fd_set *read, fd_set *write, fd_set *except, struct timeval *timeout);
int sli_pselect(int count, fd_set *read, fd_set *write, fd_set *except, const struct timespec *timeout, const sigset_t *mask);
int sli_epoll_ctl(int set, int operation, int fd, struct epoll_event *event);
int sli_epoll_wait(int set, struct epoll_event *events, int max, int timeout_ms);
int sli_epoll_pwait(int set, struct epoll_event *events, int max, int timeout_ms, const sigset_t *mask);
int sli_epoll_pwait2(int set, struct epoll_event *events, int max, const struct timespec *timeout, const sigset_t *mask);
int sli_close(int fd);
int sli_close_range(unsigned first, unsigned last, int flags);
int sli_dup(int fd);
int sli_dup2(int from, int to);
int sli_dup3(int from, int to, int flags);
long sli_kernel_sigaction(long signal, const void *action, void *old, size_t mask_bytes);
int sli_prctl(int option, long a, long b, long c, long d);
