/// libc's own functions behind the interposed symbols. Until the table is filled, a call that is a plain system call goes
/// to the kernel directly, so that no symbol is looked up inside a call (a look-up may allocate, an allocator may call us).
#pragma once
#include "SluiceReal.h"
#include <aio.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/select.h>
#include <sys/uio.h>
#include <unistd.h>

#define SLI_S6(nr, a, b, c, d, e, f) slc_syscall6(SYS_##nr, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))
#define SLI_S4(nr, a, b, c, d) slc_syscall4(SYS_##nr, (long)(a), (long)(b), (long)(c), (long)(d))
#define SLI_S3(nr, a, b, c) slc_syscall3(SYS_##nr, (long)(a), (long)(b), (long)(c))
#define SLI_S1(nr, a) slc_syscall3(SYS_##nr, (long)(a), 0, 0)

typedef struct sockaddr *sli_address;
typedef const struct sockaddr *sli_const_address;

/// What the kernel takes as sixth argument of pselect6.
struct sli_select_mask {
    const sigset_t *mask;
    size_t bytes;
};

/// Calls with a system call of the same meaning: X(result, name, parameters, arguments, system call).
/// Functions that are variadic in libc have fixed parameters here: the two conventions agree on x86-64.
#define SLI_SOCKET_CALLS(X)                                                                                            \
    X(int, socket, (int d, int t, int p), (d, t, p), SLI_S3(socket, d, t, p))                                          \
    X(int, bind, (int fd, sli_const_address a, socklen_t n), (fd, a, n), SLI_S3(bind, fd, a, n))                       \
    X(int, listen, (int fd, int n), (fd, n), SLI_S3(listen, fd, n, 0))                                                 \
    X(int, accept, (int fd, sli_address a, socklen_t *n), (fd, a, n), SLI_S3(accept, fd, a, n))                        \
    X(int, accept4, (int fd, sli_address a, socklen_t *n, int f), (fd, a, n, f), SLI_S4(accept4, fd, a, n, f))         \
    X(int, connect, (int fd, sli_const_address a, socklen_t n), (fd, a, n), SLI_S3(connect, fd, a, n))                 \
    X(int, shutdown, (int fd, int how), (fd, how), SLI_S3(shutdown, fd, how, 0))                                       \
    X(int, getsockopt, (int fd, int l, int o, void *v, socklen_t *n), (fd, l, o, v, n),                                \
      SLI_S6(getsockopt, fd, l, o, v, n, 0))                                                                           \
    X(int, setsockopt, (int fd, int l, int o, const void *v, socklen_t n), (fd, l, o, v, n),                           \
      SLI_S6(setsockopt, fd, l, o, v, n, 0))                                                                           \
    X(int, socketpair, (int d, int t, int p, int *v), (d, t, p, v), SLI_S4(socketpair, d, t, p, v))

#define SLI_BYTE_CALLS(X)                                                                                              \
    X(ssize_t, read, (int fd, void *b, size_t n), (fd, b, n), SLI_S3(read, fd, b, n))                                  \
    X(ssize_t, write, (int fd, const void *b, size_t n), (fd, b, n), SLI_S3(write, fd, b, n))                          \
    X(ssize_t, readv, (int fd, const struct iovec *v, int n), (fd, v, n), SLI_S3(readv, fd, v, n))                     \
    X(ssize_t, writev, (int fd, const struct iovec *v, int n), (fd, v, n), SLI_S3(writev, fd, v, n))                   \
    X(ssize_t, preadv2, (int fd, const struct iovec *v, int n, off_t o, int f), (fd, v, n, o, f),                      \
      SLI_S6(preadv2, fd, v, n, o, 0, f))                                                                              \
    X(ssize_t, pwritev2, (int fd, const struct iovec *v, int n, off_t o, int f), (fd, v, n, o, f),                     \
      SLI_S6(pwritev2, fd, v, n, o, 0, f))                                                                             \
    X(ssize_t, recv, (int fd, void *b, size_t n, int f), (fd, b, n, f), SLI_S6(recvfrom, fd, b, n, f, 0, 0))           \
    X(ssize_t, recvfrom, (int fd, void *b, size_t n, int f, sli_address a, socklen_t *l), (fd, b, n, f, a, l),         \
      SLI_S6(recvfrom, fd, b, n, f, a, l))                                                                             \
    X(ssize_t, recvmsg, (int fd, struct msghdr *m, int f), (fd, m, f), SLI_S3(recvmsg, fd, m, f))                      \
    X(int, recvmmsg, (int fd, struct mmsghdr *m, unsigned n, int f, struct timespec *t), (fd, m, n, f, t),             \
      SLI_S6(recvmmsg, fd, m, n, f, t, 0))                                                                             \
    X(ssize_t, send, (int fd, const void *b, size_t n, int f), (fd, b, n, f), SLI_S6(sendto, fd, b, n, f, 0, 0))       \
    X(ssize_t, sendto, (int fd, const void *b, size_t n, int f, sli_const_address a, socklen_t l), (fd, b, n, f, a, l), \
      SLI_S6(sendto, fd, b, n, f, a, l))                                                                               \
    X(ssize_t, sendmsg, (int fd, const struct msghdr *m, int f), (fd, m, f), SLI_S3(sendmsg, fd, m, f))                \
    X(int, sendmmsg, (int fd, struct mmsghdr *m, unsigned n, int f), (fd, m, n, f), SLI_S4(sendmmsg, fd, m, n, f))     \
    X(ssize_t, sendfile, (int o, int i, off_t *p, size_t n), (o, i, p, n), SLI_S4(sendfile, o, i, p, n))               \
    X(ssize_t, splice, (int i, off64_t *pi, int o, off64_t *po, size_t n, unsigned f), (i, pi, o, po, n, f),           \
      SLI_S6(splice, i, pi, o, po, n, f))

#define SLI_READINESS_CALLS(X)                                                                                         \
    X(int, poll, (struct pollfd * p, nfds_t n, int ms), (p, n, ms), SLI_S3(poll, p, n, ms))                            \
    X(int, ppoll, (struct pollfd * p, nfds_t n, const struct timespec *t, const sigset_t *m), (p, n, t, m),            \
      slc_ppoll(p, n, t, m))                                                                                           \
    X(int, select, (int n, fd_set *r, fd_set *w, fd_set *e, struct timeval *t), (n, r, w, e, t),                       \
      SLI_S6(select, n, r, w, e, t, 0))                                                                                \
    X(int, pselect, (int n, fd_set *r, fd_set *w, fd_set *e, const struct timespec *t, const sigset_t *m),             \
      (n, r, w, e, t, m), SLI_S6(pselect6, n, r, w, e, t, (&(struct sli_select_mask){m, 8})))                          \
    X(int, epoll_create, (int n), (n), SLI_S1(epoll_create, n))                                                        \
    X(int, epoll_create1, (int f), (f), SLI_S1(epoll_create1, f))                                                      \
    X(int, epoll_ctl, (int s, int o, int fd, struct epoll_event *e), (s, o, fd, e), SLI_S4(epoll_ctl, s, o, fd, e))    \
    X(int, epoll_wait, (int s, struct epoll_event *e, int n, int ms), (s, e, n, ms), SLI_S4(epoll_wait, s, e, n, ms))  \
    X(int, epoll_pwait, (int s, struct epoll_event *e, int n, int ms, const sigset_t *m), (s, e, n, ms, m),            \
      SLI_S6(epoll_pwait, s, e, n, ms, m, 8))                                                                          \
    X(int, epoll_pwait2, (int s, struct epoll_event *e, int n, const struct timespec *t, const sigset_t *m),           \
      (s, e, n, t, m), SLI_S6(epoll_pwait2, s, e, n, t, m, 8))

#define SLI_DESCRIPTOR_CALLS(X)                                                                                        \
    X(int, close, (int fd), (fd), SLI_S1(close, fd))                                                                   \
    X(int, close_range, (unsigned a, unsigned b, int f), (a, b, f), SLI_S3(close_range, a, b, f))                      \
    X(int, dup, (int fd), (fd), SLI_S1(dup, fd))                                                                       \
    X(int, dup2, (int a, int b), (a, b), SLI_S3(dup2, a, b, 0))                                                        \
    X(int, dup3, (int a, int b, int f), (a, b, f), SLI_S3(dup3, a, b, f))                                              \
    X(int, fcntl, (int fd, int c, void *a), (fd, c, a), SLI_S3(fcntl, fd, c, a))                                       \
    X(int, fcntl64, (int fd, int c, void *a), (fd, c, a), SLI_S3(fcntl, fd, c, a))                                     \
    X(int, ioctl, (int fd, unsigned long r, void *a), (fd, r, a), SLI_S3(ioctl, fd, r, a))                             \
    X(int, open, (const char *p, int f, mode_t m), (p, f, m), SLI_S4(openat, AT_FDCWD, p, f, m))                       \
    X(int, open64, (const char *p, int f, mode_t m), (p, f, m), SLI_S4(openat, AT_FDCWD, p, f, m))                     \
    X(int, openat, (int d, const char *p, int f, mode_t m), (d, p, f, m), SLI_S4(openat, d, p, f, m))                  \
    X(int, openat64, (int d, const char *p, int f, mode_t m), (d, p, f, m), SLI_S4(openat, d, p, f, m))                \
    X(int, creat, (const char *p, mode_t m), (p, m), SLI_S3(creat, p, m, 0))                                           \
    X(int, creat64, (const char *p, mode_t m), (p, m), SLI_S3(creat, p, m, 0))                                         \
    X(int, open_by_handle_at, (int d, void *h, int f), (d, h, f), SLI_S3(open_by_handle_at, d, h, f))                  \
    X(int, pipe, (int *v), (v), SLI_S1(pipe, v))                                                                       \
    X(int, pipe2, (int *v, int f), (v, f), SLI_S3(pipe2, v, f, 0))                                                     \
    X(int, eventfd, (unsigned n, int f), (n, f), SLI_S3(eventfd2, n, f, 0))                                            \
    X(int, timerfd_create, (int c, int f), (c, f), SLI_S3(timerfd_create, c, f, 0))                                    \
    X(int, signalfd, (int fd, const sigset_t *m, int f), (fd, m, f), SLI_S4(signalfd4, fd, m, 8, f))                   \
    X(int, inotify_init, (void), (), SLI_S1(inotify_init1, 0))                                                         \
    X(int, inotify_init1, (int f), (f), SLI_S1(inotify_init1, f))                                                      \
    X(int, fanotify_init, (unsigned f, unsigned e), (f, e), SLI_S3(fanotify_init, f, e, 0))                            \
    X(int, memfd_create, (const char *n, unsigned f), (n, f), SLI_S3(memfd_create, n, f, 0))                           \
    X(int, pidfd_open, (pid_t p, unsigned f), (p, f), SLI_S3(pidfd_open, p, f, 0))                                     \
    X(int, pidfd_getfd, (int p, int fd, unsigned f), (p, fd, f), SLI_S3(pidfd_getfd, p, fd, f))

#define SLI_PROCESS_CALLS(X)                                                                                           \
    X(int, execve, (const char *p, char *const *a, char *const *e), (p, a, e), SLI_S3(execve, p, a, e))                \
    X(int, execveat, (int d, const char *p, char *const *a, char *const *e, int f), (d, p, a, e, f),                   \
      SLI_S6(execveat, d, p, a, e, f, 0))                                                                              \
    X(int, prctl, (int o, long a, long b, long c, long d), (o, a, b, c, d), SLI_S6(prctl, o, a, b, c, d, 0))           \
    X(int, capset, (void *h, const void *d), (h, d), SLI_S3(capset, h, d, 0))                                          \
    X(int, unshare, (int f), (f), SLI_S1(unshare, f))                                                                  \
    X(int, setns, (int fd, int t), (fd, t), SLI_S3(setns, fd, t, 0))                                                   \
    X(int, setfsuid, (uid_t u), (u), SLI_S1(setfsuid, u))                                                              \
    X(int, setfsgid, (gid_t g), (g), SLI_S1(setfsgid, g))                                                              \
    X(long, syscall, (long nr, long a, long b, long c, long d, long e, long f), (nr, a, b, c, d, e, f),                \
      slc_syscall6(nr, a, b, c, d, e, f))

#define SLI_CALLS(X) SLI_SOCKET_CALLS(X) SLI_BYTE_CALLS(X) SLI_READINESS_CALLS(X) SLI_DESCRIPTOR_CALLS(X) SLI_PROCESS_CALLS(X)

/// Functions that are more than a system call, needed where no symbol may be looked up (fork children, handlers):
/// X(result, name, parameters, arguments, result when libc has no such function).
#define SLI_EARLY_FUNCTIONS(X)                                                                                         \
    X(int, execv, (const char *p, char *const *a), (p, a), -1)                                                         \
    X(int, execvp, (const char *p, char *const *a), (p, a), -1)                                                        \
    X(int, execvpe, (const char *p, char *const *a, char *const *e), (p, a, e), -1)                                    \
    X(int, fexecve, (int fd, char *const *a, char *const *e), (fd, a, e), -1)                                          \
    X(int, setuid, (uid_t a), (a), -1)                                                                                 \
    X(int, seteuid, (uid_t a), (a), -1)                                                                                \
    X(int, setreuid, (uid_t a, uid_t b), (a, b), -1)                                                                   \
    X(int, setresuid, (uid_t a, uid_t b, uid_t c), (a, b, c), -1)                                                      \
    X(int, setgid, (gid_t a), (a), -1)                                                                                 \
    X(int, setegid, (gid_t a), (a), -1)                                                                                \
    X(int, setregid, (gid_t a, gid_t b), (a, b), -1)                                                                   \
    X(int, setresgid, (gid_t a, gid_t b, gid_t c), (a, b, c), -1)                                                      \
    X(int, setgroups, (size_t n, const gid_t *l), (n, l), -1)                                                          \
    X(int, initgroups, (const char *u, gid_t g), (u, g), -1)                                                           \
    X(pid_t, fork, (void), (), -1)                                                                                     \
    X(pid_t, _Fork, (void), (), -1)                                                                                    \
    X(int, sigaction, (int s, const struct sigaction *n, struct sigaction *o), (s, n, o), -1)                          \
    X(void *, dlopen, (const char *n, int f), (n, f), NULL)                                                            \
    X(void *, dlmopen, (long s, const char *n, int f), (s, n, f), NULL)                                                \
    X(int, fclose, (FILE * f), (f), EOF)                                                                               \
    X(void, longjmp, (void *b, int v), (b, v), (void)0)                                                                \
    X(void, _longjmp, (void *b, int v), (b, v), (void)0)                                                               \
    X(void, siglongjmp, (void *b, int v), (b, v), (void)0)                                                             \
    X(void, __longjmp_chk, (void *b, int v), (b, v), (void)0)

/// Functions looked up at their first call.
#define SLI_LATE_FUNCTIONS(X)                                                                                          \
    X(FILE *, fdopen, (int fd, const char *m), (fd, m), NULL)                                                          \
    X(int, vdprintf, (int fd, const char *f, va_list a), (fd, f, a), -1)                                               \
    X(int, __vdprintf_chk, (int fd, int c, const char *f, va_list a), (fd, c, f, a), -1)                               \
    X(int, aio_read, (struct aiocb * c), (c), -1)                                                                      \
    X(int, aio_write, (struct aiocb * c), (c), -1)                                                                     \
    X(int, lio_listio, (int m, struct aiocb *const *l, int n, struct sigevent *s), (m, l, n, s), -1)                   \
    X(int, posix_spawn, (pid_t * i, const char *p, const void *f, const void *t, char *const *a, char *const *e),      \
      (i, p, f, t, a, e), ENOSYS)                                                                                      \
    X(int, posix_spawnp, (pid_t * i, const char *p, const void *f, const void *t, char *const *a, char *const *e),     \
      (i, p, f, t, a, e), ENOSYS)                                                                                      \
    X(int, pidfd_spawn, (int *i, const char *p, const void *f, const void *t, char *const *a, char *const *e),         \
      (i, p, f, t, a, e), ENOSYS)                                                                                      \
    X(int, pidfd_spawnp, (int *i, const char *p, const void *f, const void *t, char *const *a, char *const *e),        \
      (i, p, f, t, a, e), ENOSYS)                                                                                      \
    X(int, system, (const char *c), (c), -1)                                                                           \
    X(FILE *, popen, (const char *c, const char *m), (c, m), NULL)                                                     \
    X(int, wordexp, (const char *w, void *r, int f), (w, r, f), 5 /* WRDE_SYNTAX */)                                   \
    X(int, posix_spawn_file_actions_adddup2, (void *a, int fd, int to), (a, fd, to), ENOSYS)                           \
    X(ssize_t, __read_chk, (int fd, void *b, size_t n, size_t s), (fd, b, n, s), -1)                                   \
    X(ssize_t, __recv_chk, (int fd, void *b, size_t n, size_t s, int f), (fd, b, n, s, f), -1)                         \
    X(ssize_t, __recvfrom_chk, (int fd, void *b, size_t n, size_t s, int f, sli_address a, socklen_t *l),              \
      (fd, b, n, s, f, a, l), -1)                                                                                      \
    X(int, __poll_chk, (struct pollfd * p, nfds_t n, int ms, size_t s), (p, n, ms, s), -1)                             \
    X(int, __ppoll_chk, (struct pollfd * p, nfds_t n, const struct timespec *t, const sigset_t *m, size_t s),          \
      (p, n, t, m, s), -1)                                                                                             \
    X(int, __open_2, (const char *p, int f), (p, f), -1)                                                               \
    X(int, __openat_2, (int d, const char *p, int f), (d, p, f), -1)                                                   \
    X(FILE *, freopen, (const char *p, const char *m, FILE *f), (p, m, f), NULL)                                       \
    X(FILE *, freopen64, (const char *p, const char *m, FILE *f), (p, m, f), NULL)                                     \
    X(int, daemon, (int d, int f), (d, f), -1)                                                                         \
    X(int, login_tty, (int fd), (fd), -1)                                                                              \
    X(int, clone, (int (*fn)(void *), void *s, int f, void *a, void *pt, void *tls, void *ct),                         \
      (fn, s, f, a, pt, tls, ct), -1)

struct sli_real {
#define X(result, name, parameters, ...) result(*name) parameters;
    SLI_CALLS(X) SLI_EARLY_FUNCTIONS(X) SLI_LATE_FUNCTIONS(X)
#undef X
};
extern struct sli_real sli_real;
/// Calls libc's own function.
#define SLI_REAL(name) (sli_real.name)

/// Fills the table. Idempotent; returns at once while another call of it is under way.
void sli_resolve(void);
/// The next definition of a symbol after this library, or null.
void *sli_next(const char *name);
