// syscall() by programs and libraries that go past libc's names (libuv, musl-style wrappers, allocators). A number that
// concerns Sluice is carried out as the named function would be; every other one goes on as it came.
#include "Interpose.h"
#include "Served.h"
#include <linux/sched.h>
#include <linux/seccomp.h>

#define FD(x) ((int)(x))
#define PTR(x) ((void *)(x))

/// Calls on an endpoint of ours.
static long on_endpoint(long nr, long a, long b, long c, long d, long e, long f) {
    switch (nr) {
    case SYS_read: return sli_read(FD(a), PTR(b), (size_t)c);
    case SYS_readv: return sli_readv(FD(a), PTR(b), (int)c);
    case SYS_preadv2: return sli_preadv2(FD(a), PTR(b), (int)c, d, (int)f);
    case SYS_recvfrom: return sli_recvfrom(FD(a), PTR(b), (size_t)c, (int)d, PTR(e), PTR(f));
    case SYS_write: return sli_write(FD(a), PTR(b), (size_t)c);
    case SYS_writev: return sli_writev(FD(a), PTR(b), (int)c);
    case SYS_pwritev2: return sli_pwritev2(FD(a), PTR(b), (int)c, d, (int)f);
    case SYS_sendto: return sli_sendto(FD(a), PTR(b), (size_t)c, (int)d, PTR(e), (socklen_t)f);
    case SYS_sendfile: return sli_sendfile(FD(a), FD(b), PTR(c), (size_t)d);
    case SYS_bind: return sli_bind(FD(a), PTR(b), (socklen_t)c);
    case SYS_listen: return sli_listen(FD(a), (int)b);
    case SYS_connect: return sli_connect(FD(a), PTR(b), (socklen_t)c);
    case SYS_shutdown: return sli_shutdown(FD(a), (int)b);
    case SYS_getsockopt: return sli_getsockopt(FD(a), (int)b, (int)c, PTR(d), PTR(e));
    case SYS_setsockopt: return sli_setsockopt(FD(a), (int)b, (int)c, PTR(d), (socklen_t)e);
    case SYS_ioctl: return sli_ioctl(FD(a), (unsigned long)b, PTR(c));
    default: return sli_result(-ENOSYS);
    }
}

/// Calls that wait for several descriptors, one of ours among them.
static long on_many(long nr, long a, long b, long c, long d, long e, long f) {
    sigset_t mask, *chosen = NULL;
    const sigset_t *given = NULL; // the kernel's eight bytes
    size_t bytes = 8;
    switch (nr) {
    case SYS_ppoll: given = PTR(d), bytes = (size_t)e; break;
    case SYS_epoll_pwait:
    case SYS_epoll_pwait2: given = PTR(e), bytes = (size_t)f; break;
    case SYS_pselect6:
        if (f) given = ((struct sli_select_mask *)f)->mask, bytes = ((struct sli_select_mask *)f)->bytes;
    }
    if (given) {
        if (bytes != 8) return sli_result(-EINVAL);
        sigemptyset(&mask);
        memcpy(&mask, given, 8);
        chosen = &mask;
    }
    uint64_t start = slc_now_ns();
    struct timespec *left = nr == SYS_ppoll ? PTR(c) : nr == SYS_pselect6 ? PTR(e) : NULL;
    int64_t allowed = sli_nanoseconds(left);
    long result = -1;
    switch (nr) {
    case SYS_poll: return sli_poll(PTR(a), (nfds_t)b, (int)c);
    case SYS_select: return sli_select(FD(a), PTR(b), PTR(c), PTR(d), PTR(e));
    case SYS_epoll_wait: return sli_epoll_wait(FD(a), PTR(b), (int)c, (int)d);
    case SYS_epoll_pwait: return sli_epoll_pwait(FD(a), PTR(b), (int)c, (int)d, chosen);
    case SYS_epoll_pwait2: return sli_epoll_pwait2(FD(a), PTR(b), (int)c, PTR(d), chosen);
    case SYS_ppoll: result = sli_ppoll(PTR(a), (nfds_t)b, PTR(c), chosen); break;
    case SYS_pselect6: result = sli_pselect(FD(a), PTR(b), PTR(c), PTR(d), PTR(e), chosen); break;
    }
    if (left && allowed >= 0) { // these two, unlike libc's forms, tell what is left of the time
        int64_t ns = allowed - (int64_t)(slc_now_ns() - start);
        *left = (struct timespec){ns > 0 ? ns / 1000000000 : 0, ns > 0 ? ns % 1000000000 : 0};
    }
    return result;
}

/// Calls that make one number, change the process, or hide what follows. The real call is made here.
static long with_care(long nr, long a, long b, long c, long d, long e, long f) {
    long result;
    uint64_t entry = sli_endpoint(FD(a));
    switch (nr) {
    case SYS_execve:
    case SYS_execveat: SLI_TELL(sluice_before_exec()); break;
    case SYS_exit_group: SLI_TELL(sluice_at_exit()); break;
    case SYS_seccomp: // without its argument it only asks what the kernel can do
        if ((a == SECCOMP_SET_MODE_STRICT && !b) || (a == SECCOMP_SET_MODE_FILTER && c)) sli_fall_silent();
        break;
    case SYS_io_uring_setup:
    case SYS_io_uring_register: SLI_TELL(sluice_hand_back_all(SLI_REASON_SEALED_OFF)); break;
    case SYS_io_submit: sli_hand_back_submitted(b, PTR(c)); break;
    case SYS_socket:
    case SYS_accept:
    case SYS_accept4:
    case SYS_epoll_create:
    case SYS_epoll_create1: sli_begin_once(); break;
    case SYS_fork:
    case SYS_clone:
    case SYS_clone3: SLI_TELL(sluice_fork_prepare()); break;
    }
    result = SLI_REAL(syscall)(nr, a, b, c, d, e, f);
    // Not inside a fork, which holds the core's locks.
    if (nr != SYS_fork && nr != SYS_clone && nr != SYS_clone3)
        while (SLI_AGAIN(result < 0)) result = SLI_REAL(syscall)(nr, a, b, c, d, e, f);
    switch (nr) {
    case SYS_fork:
    case SYS_clone:
    case SYS_clone3:
        if (result)
            SLI_TELL(sluice_fork_parent());
        else
            sli_after_fork_in_child();
        if (result < 0) sli_fork_failed();
        return result;
    case SYS_execve:
    case SYS_execveat: SLI_TELL(sluice_exec_failed()); return result;
    case SYS_seccomp:
    case SYS_io_uring_register:
    case SYS_io_submit: return result;
    }
    if (result < 0) return result;
    switch (nr) {
    case SYS_socket: SLI_TELL(sluice_made_socket(FD(result), (int)a, (int)b, (int)c)); break;
    case SYS_accept: SLI_TELL(sluice_made_accepted(FD(a), entry, FD(result), 0)); break;
    case SYS_accept4: SLI_TELL(sluice_made_accepted(FD(a), entry, FD(result), (int)d)); break;
    case SYS_epoll_create:
    case SYS_epoll_create1: SLI_TELL(sluice_made_epoll(FD(result))); break;
    case SYS_pipe:
    case SYS_pipe2: sli_made(((int *)a)[0]), sli_made(((int *)a)[1]); break;
    case SYS_socketpair: sli_made(((int *)d)[0]), sli_made(((int *)d)[1]); break;
    case SYS_setuid:
    case SYS_setgid:
    case SYS_setreuid:
    case SYS_setregid:
    case SYS_setresuid:
    case SYS_setresgid:
    case SYS_setgroups:
    case SYS_setfsuid:
    case SYS_setfsgid:
    case SYS_capset:
    case SYS_unshare:
    case SYS_setns: SLI_TELL(sluice_identity_changed()); break;
    default: sli_made(FD(result)); // a new number
    }
    return result;
}

/// A clone without a stack and with memory of its own is a fork; the others cannot come back through a function of ours.
static _Bool is_fork(long nr, long a, long b) {
    if (nr == SYS_fork) return 1;
    if (nr == SYS_clone) return !(a & CLONE_VM) && !b;
    const struct clone_args *args = PTR(a);
    return (size_t)b >= 64 && !(args->flags & CLONE_VM) && !args->stack;
}

#define GO_ON __attribute__((musttail)) return SLI_REAL(syscall)(nr, a, b, c, d, e, f)

// Variadic in libc. All that a system call takes are six words, wherever they came from.
SLI_EXPORT(syscall);
long sli_syscall(long nr, long a, long b, long c, long d, long e, long f) {
    switch (nr) {
    case SYS_read: case SYS_readv: case SYS_preadv2: case SYS_recvfrom:
    case SYS_write: case SYS_writev: case SYS_pwritev2: case SYS_sendto: case SYS_sendfile:
    case SYS_bind: case SYS_listen: case SYS_connect: case SYS_shutdown:
    case SYS_getsockopt: case SYS_setsockopt: case SYS_ioctl:
        if (SLI_LIKELY(!sli_endpoint(FD(a)))) GO_ON;
        return on_endpoint(nr, a, b, c, d, e, f);
    case SYS_recvmsg: return sli_recvmsg(FD(a), PTR(b), (int)c);
    case SYS_recvmmsg: return sli_recvmmsg(FD(a), PTR(b), (unsigned)c, (int)d, PTR(e));
    case SYS_sendmsg: return sli_sendmsg(FD(a), PTR(b), (int)c);
    case SYS_sendmmsg: return sli_sendmmsg(FD(a), PTR(b), (unsigned)c, (int)d);
    case SYS_splice: return sli_splice(FD(a), PTR(b), FD(c), PTR(d), (size_t)e, (unsigned)f);
    case SYS_poll: case SYS_ppoll:
        if (SLI_LIKELY(!sli_poll_has_ours(PTR(a), (nfds_t)b))) GO_ON;
        return on_many(nr, a, b, c, d, e, f);
    case SYS_select: case SYS_pselect6:
        if (SLI_LIKELY(!sli_select_has_ours(FD(a), PTR(b), PTR(c), PTR(d)))) GO_ON;
        return on_many(nr, a, b, c, d, e, f);
    case SYS_epoll_wait: case SYS_epoll_pwait: case SYS_epoll_pwait2:
        if (SLI_LIKELY(!sli_epoll(FD(a)))) GO_ON;
        return on_many(nr, a, b, c, d, e, f);
    case SYS_epoll_ctl: return sli_epoll_ctl(FD(a), (int)b, FD(c), PTR(d));
    case SYS_close:
        if (SLI_LIKELY(!slc_fd_entry(FD(a)))) GO_ON;
        return sli_close(FD(a));
    case SYS_close_range: return sli_close_range((unsigned)a, (unsigned)b, (int)c);
    case SYS_dup: return sli_dup(FD(a));
    case SYS_dup2: return sli_dup2(FD(a), FD(b));
    case SYS_dup3: return sli_dup3(FD(a), FD(b), (int)c);
    case SYS_fcntl:
        if (SLI_LIKELY(!slc_fd_entry(FD(a)) && b != F_DUPFD && b != F_DUPFD_CLOEXEC)) GO_ON;
        return sli_fcntl(FD(a), (int)b, PTR(c));
    case SYS_rt_sigaction: return sli_kernel_sigaction(a, PTR(b), PTR(c), (size_t)d);
    case SYS_prctl: return sli_prctl((int)a, b, c, d, e);
    case SYS_fork: case SYS_clone: case SYS_clone3:
        if (!is_fork(nr, a, b)) GO_ON;
        return with_care(nr, a, b, c, d, e, f);
    case SYS_socket: case SYS_accept: case SYS_accept4: case SYS_epoll_create: case SYS_epoll_create1:
    case SYS_pipe: case SYS_pipe2: case SYS_socketpair:
    case SYS_open: case SYS_openat: case SYS_openat2: case SYS_creat: case SYS_open_by_handle_at:
    case SYS_eventfd: case SYS_eventfd2: case SYS_timerfd_create: case SYS_signalfd: case SYS_signalfd4:
    case SYS_inotify_init: case SYS_inotify_init1: case SYS_fanotify_init: case SYS_memfd_create:
    case SYS_pidfd_open: case SYS_pidfd_getfd: case SYS_userfaultfd: case SYS_perf_event_open: case SYS_bpf:
    case SYS_execve: case SYS_execveat: case SYS_exit_group: case SYS_seccomp:
    case SYS_io_uring_setup: case SYS_io_uring_register: case SYS_io_submit:
    case SYS_setuid: case SYS_setgid: case SYS_setreuid: case SYS_setregid: case SYS_setresuid: case SYS_setresgid:
    case SYS_setgroups: case SYS_setfsuid: case SYS_setfsgid: case SYS_capset: case SYS_unshare: case SYS_setns:
        return with_care(nr, a, b, c, d, e, f);
    default: GO_ON;
    }
}
