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
    // Seen by the library, which hands all back; the program that is started then finds the filter there from birth.
    MUST(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &(struct sock_fprog){(unsigned short)(count + 3), code}, 0, 0));
}
/// The program anew, under the filter: it lives in `then`.
static void reborn(const char *then, const char *place, const char *later) {
    execl("/proc/self/exe", strange_arguments[0], then, place ? place : "", later ? later : "", (char *)NULL);
    fail("exec: %s", strerror(errno));
}
/// `of_member`: of the connection that has been waited for in an epoll set.
static void live(const char *place, const char *of_member) {
    from_now(place);
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
    for (int i = 0; i < 4; i++) {
        talk(fds[i], 100);
        from_now(i ? place : of_member);
        look(fds[i], fds[i]);
        close(fds[i]);
    }
}
/// The arguments: why in the kernel, and why the member of a set; empty for a lane.
CASE(live, LANE) {
    char **why = strange_arguments + 2;
    live(why[0] && *why[0] ? why[0] : LANE, why[0] && *why[1] ? why[1] : LANE);
}

static const int memfd[] = {SYS_memfd_create};
static const int events[] = {SYS_eventfd2};
static const int debug[] = {SYS_pidfd_getfd, SYS_ptrace, SYS_process_vm_readv, SYS_process_vm_writev, SYS_perf_event_open, SYS_kcmp};
static const int odd[] = {SYS_memfd_create, SYS_pidfd_getfd, SYS_pidfd_open, SYS_kcmp, SYS_fallocate, SYS_get_robust_list, SYS_fstatfs};
#define NO_MEMFD KERNEL("no memory to share")
#define KILLS KERNEL("the filter kills at a call of Sluice")
#define NO_UNIX KERNEL("no unix socket to meet by")
#define BORN(name, action, calls, place, later)                                                                          \
    CASE(born_##name, place) {                                                                                         \
        refuse(action, calls, sizeof calls / sizeof *calls);                                                           \
        reborn("live", place, later);                                                                                         \
    }
BORN(no_memfd_eperm, SECCOMP_RET_ERRNO | EPERM, memfd, NO_MEMFD, NO_MEMFD)
BORN(no_memfd_enosys, SECCOMP_RET_ERRNO | ENOSYS, memfd, NO_MEMFD, NO_MEMFD)
BORN(no_eventfd, SECCOMP_RET_ERRNO | EPERM, events, LANE, KERNEL("no bell of a set"))
BORN(odd_calls_eperm, SECCOMP_RET_ERRNO | EPERM, odd, NO_MEMFD, NO_MEMFD)
BORN(odd_calls_enosys, SECCOMP_RET_ERRNO | ENOSYS, odd, NO_MEMFD, NO_MEMFD)
BORN(killing_debuggers, SECCOMP_RET_KILL_PROCESS, debug, LANE, LANE)
BORN(killing_odd_calls, SECCOMP_RET_KILL_PROCESS, odd, KILLS, KILLS)

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
    reborn("live", NO_UNIX, NO_UNIX);
}
CASE(born_only_internet, LANE) { only_internet(SECCOMP_RET_ERRNO | EAFNOSUPPORT); }
CASE(born_only_internet_killing, LANE) { only_internet(SECCOMP_RET_KILL_PROCESS); }

/// `strange under_filter COMMAND...`: a filter that kills at what debuggers call, as services are given.
CASE(under_filter, LANE) {
    if (!strange_arguments[2]) {
        warm();
        return;
    }
    refuse(SECCOMP_RET_KILL_PROCESS, debug, sizeof debug / sizeof *debug);
    execvp(strange_arguments[2], strange_arguments + 2);
    fail("exec: %s", strerror(errno));
}

// The filter is one thread's; the other talks before, meanwhile and after. Each has its connection, and both one.
static pthread_barrier_t turns;
static volatile bool filtered;
static int ends[2];
static void *goes_on(void *ignored) {
    (void)ignored;
    int fd = warm(), more;
    pthread_barrier_wait(&turns);
    while (!filtered) talk(fd, 3), pass(ends[0], ends[1], 3);
    talk(fd, 100);
    look(fd, fd);
    more = warm();
    talk(more, 100);
    pthread_barrier_wait(&turns);
    pass(ends[0], ends[1], 100);
    return NULL;
}
static void *is_filtered(void *ignored) {
    (void)ignored;
    int fd = warm();
    pthread_barrier_wait(&turns);
    talk(fd, 3000);
    refuse(SECCOMP_RET_KILL_PROCESS, odd, sizeof odd / sizeof *odd);
    from_now(KERNEL("a filter was put on"));
    filtered = true;
    talk(fd, 100);
    look(fd, fd);
    talk(warm(), 100);
    pthread_barrier_wait(&turns);
    return NULL;
}
static void filter_in_a_thread(void *(*first)(void *), void *(*second)(void *)) {
    pthread_t thread;
    warm_pair(ends);
    pthread_barrier_init(&turns, NULL, 2);
    MUST(-pthread_create(&thread, NULL, second, NULL));
    first(NULL);
    pthread_join(thread, NULL);
    look(ends[0], ends[1]);
}
CASE(killing_filter_in_a_thread, LANE) { filter_in_a_thread(goes_on, is_filtered); }
CASE(killing_filter_beside_a_thread, LANE) { filter_in_a_thread(is_filtered, goes_on); }
