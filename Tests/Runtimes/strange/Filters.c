// Filters of system calls, there from birth or put on in the middle.
#include "Strange.h"
#include <linux/filter.h>
#include <linux/seccomp.h>

enum { MAX = 24 };
static void refuse(unsigned action, const int *calls, int count) {
    struct sock_filter code[MAX + 3] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr))};
    for (int i = 0; i < count; i++)
        code[i + 1] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)calls[i], (uint8_t)(count - i), 0);
    code[count + 1] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    code[count + 2] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, action);
    MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    // Past the library, as by a parent that does not run under it.
    MUST(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &(struct sock_fprog){(unsigned short)(count + 3), code}, 0, 0));
}
/// The program anew, under the filter: it lives in `then`.
static void reborn(const char *then) {
    execl("/proc/self/exe", strange_arguments[0], then, (char *)NULL);
    fail("exec: %s", strerror(errno));
}
static void live(void) {
    int fds[4];
    for (int i = 0; i < 4; i++) fds[i] = warm();
    int ends[2];
    warm_pair(ends);
    pass(ends[0], ends[1], 100);
    int set = epoll_create1(0), status;
    struct epoll_event e = {EPOLLIN, {.fd = fds[0]}};
    MUST(epoll_ctl(set, EPOLL_CTL_ADD, fds[0], &e));
    if (!send_all(fds[0], "x", 1)) fail("send");
    SAY(epoll_wait(set, &e, 1, 20000));
    if (!recv_all(fds[0], &(char){0}, 1)) fail("recv");
    pid_t pid = (pid_t)MUST(fork());
    if (pid == 0) {
        talk(fds[1], 60);
        _exit(0);
    }
    MUST(waitpid(pid, &status, 0));
    printf("child %d\n", status);
    for (int i = 0; i < 4; i++) talk(fds[i], 100), close(fds[i]);
}
CASE(live) { live(); }

static const int memfd[] = {SYS_memfd_create};
static const int events[] = {SYS_eventfd2};
static const int debug[] = {SYS_pidfd_getfd, SYS_ptrace, SYS_process_vm_readv, SYS_process_vm_writev, SYS_perf_event_open, SYS_kcmp};
static const int odd[] = {SYS_memfd_create, SYS_pidfd_getfd, SYS_pidfd_open, SYS_kcmp, SYS_fallocate, SYS_get_robust_list, SYS_fstatfs};
#define BORN(name, action, calls)                                                                                      \
    CASE(born_##name) {                                                                                                \
        refuse(action, calls, sizeof calls / sizeof *calls);                                                           \
        reborn("live");                                                                                                \
    }
BORN(no_memfd_eperm, SECCOMP_RET_ERRNO | EPERM, memfd)
BORN(no_memfd_enosys, SECCOMP_RET_ERRNO | ENOSYS, memfd)
BORN(no_eventfd, SECCOMP_RET_ERRNO | EPERM, events)
BORN(odd_calls_eperm, SECCOMP_RET_ERRNO | EPERM, odd)
BORN(odd_calls_enosys, SECCOMP_RET_ERRNO | ENOSYS, odd)
BORN(killing_debuggers, SECCOMP_RET_KILL_PROCESS, debug)
BORN(killing_odd_calls, SECCOMP_RET_KILL_PROCESS, odd)

/// Refuses netlink and unix sockets, as services with RestrictAddressFamilies=AF_INET do.
static void only_internet(unsigned action) {
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_socket, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_INET, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, action),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    MUST(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &(struct sock_fprog){6, code}, 0, 0));
    reborn("live");
}
CASE(born_only_internet) { only_internet(SECCOMP_RET_ERRNO | EAFNOSUPPORT); }
CASE(born_only_internet_killing) { only_internet(SECCOMP_RET_KILL_PROCESS); }

/// `strange under_filter COMMAND...`: a filter that kills at what debuggers call, as services are given.
CASE(under_filter) {
    if (!strange_arguments[2]) return;
    refuse(SECCOMP_RET_KILL_PROCESS, debug, sizeof debug / sizeof *debug);
    execvp(strange_arguments[2], strange_arguments + 2);
    fail("exec: %s", strerror(errno));
}

CASE(killing_filter_in_a_thread) { // the filter of one thread, while others talk
    int ends[2], fd = warm();
    warm_pair(ends);
    refuse(SECCOMP_RET_KILL_PROCESS, odd, sizeof odd / sizeof *odd);
    talk(fd, 100);
    pass(ends[0], ends[1], 100);
    talk(warm(), 100);
}
