// siglongjmp out of spins, out of waits with a time limit, out of the first call of a connection. After each jump the program
// goes on with that connection and with another one.
#include "Jumps.h"
#include <setjmp.h>

static char bytes[1 << 16];
static sigset_t no_signals;
static const sigset_t *mask = &no_signals; // of calls that take one; with one they do not spin
static fd_set one(int fd) {
    fd_set set;
    FD_ZERO(&set);
    FD_SET(fd, &set);
    return set;
}
static struct timespec long_time(void) { return (struct timespec){600, 0}; }
static int member(int fd) {
    static int set = -1;
    if (set >= 0) close(set);
    MUST(set = epoll_create1(EPOLL_CLOEXEC));
    MUST(epoll_ctl(set, EPOLL_CTL_ADD, fd, &(struct epoll_event){EPOLLIN, {.fd = fd}}));
    return set;
}
static long by_recv(int fd) { return recv(fd, bytes, 10, 0); }
static long by_read(int fd) { return read(fd, bytes, 10); }
static long by_readv(int fd) { return readv(fd, &(struct iovec){bytes, 10}, 1); }
static long by_recv_all(int fd) { return recv(fd, bytes, 10, MSG_WAITALL); }
static long by_poll(int fd) { return poll(&(struct pollfd){fd, POLLIN, 0}, 1, -1); }
static long by_poll_with_time(int fd) { return poll(&(struct pollfd){fd, POLLIN, 0}, 1, 600000); }
static long by_ppoll(int fd) { struct timespec t = long_time(); return ppoll(&(struct pollfd){fd, POLLIN, 0}, 1, &t, mask); }
static long by_select(int fd) { fd_set set = one(fd); return select(fd + 1, &set, NULL, NULL, NULL); }
static long by_select_with_time(int fd) { fd_set set = one(fd); return select(fd + 1, &set, NULL, NULL, &(struct timeval){600, 0}); }
static long by_pselect(int fd) { fd_set set = one(fd); struct timespec t = long_time(); return pselect(fd + 1, &set, NULL, NULL, &t, mask); }
static long by_epoll_wait(int fd) { struct epoll_event e; return epoll_wait(member(fd), &e, 1, -1); }
static long by_epoll_pwait(int fd) { struct epoll_event e; return epoll_pwait(member(fd), &e, 1, 600000, mask); }
static long by_epoll_pwait2(int fd) { struct epoll_event e; struct timespec t = long_time(); return epoll_pwait2(member(fd), &e, 1, &t, mask); }
static long by_raw_epoll_pwait2(int fd) { struct epoll_event e; return syscall(SYS_epoll_pwait2, member(fd), &e, 1, NULL, NULL, 8L); }

static const struct { const char *name; long (*call)(int); } calls[] = {
    {"recv", by_recv}, {"read", by_read}, {"readv", by_readv}, {"waitall", by_recv_all}, {"poll", by_poll},
    {"poll with a time", by_poll_with_time}, {"ppoll", by_ppoll}, {"select", by_select},
    {"select with a time", by_select_with_time}, {"pselect", by_pselect}, {"epoll_wait", by_epoll_wait},
    {"epoll_pwait", by_epoll_pwait}, {"epoll_pwait2", by_epoll_pwait2}, {"raw epoll_pwait2", by_raw_epoll_pwait2},
};
enum { CALLS = sizeof calls / sizeof *calls };
static void go_on(int fd, int other) {
    talk(fd, 3), look(fd, fd);
    talk(other, 3), look(other, other);
}

CASE(jumps_out_of_more_readers, LANE) {
    signal(SIGUSR1, jump);
    int fd = warm(), other = warm();
    for (int i = 0; i < 2 * CALLS; i++) left(calls[i % CALLS].name, calls[i % CALLS].call, fd), go_on(fd, other);
}

/// The program anew with spins of ten minutes; its peer on another CPU, against which it spins.
CASE(jumps_out_of_spins, LANE) {
    cpu_set_t all, here, there;
    MUST(sched_getaffinity(0, sizeof all, &all));
    if (CPU_COUNT(&all) < 2) skip("needs two CPUs");
    if (!getenv("EF_POLL_USEC")) {
        setenv("EF_POLL_USEC", "600000000", 1);
        execl("/proc/self/exe", strange_arguments[0], strange_arguments[1], (char *)NULL);
        fail("exec: %s", strerror(errno));
    }
    CPU_ZERO(&here);
    CPU_ZERO(&there);
    for (int i = 0, n = 0; n < 2; i++)
        if (CPU_ISSET(i, &all)) { CPU_SET(i, n ? &there : &here); n++; }
    MUST(sched_setaffinity(0, sizeof there, &there));
    start_peer();
    MUST(sched_setaffinity(0, sizeof here, &here));
    mask = NULL;
    signal(SIGUSR1, jump);
    int fd = warm(), other = warm();
    for (int i = 0; i < 2 * CALLS; i++) left_spinning(calls[i % CALLS].name, calls[i % CALLS].call, fd), go_on(fd, other);
}

// Time limits of the socket itself.
static void limit(int fd, int option, long ms) {
    MUST(setsockopt(fd, SOL_SOCKET, option, &(struct timeval){ms / 1000, ms % 1000 * 1000}, sizeof(struct timeval)));
}
CASE(jumps_out_of_limited_readers, LANE) {
    signal(SIGUSR1, jump);
    int fd = warm(), other = warm();
    for (int i = 0; i < 12; i++) {
        limit(fd, SO_RCVTIMEO, 600000);
        left(calls[i % 4].name, calls[i % 4].call, fd);
        go_on(fd, other);
        limit(fd, SO_RCVTIMEO, 20); // and one that passes
        SAY(calls[i % 4].call(fd));
        limit(fd, SO_RCVTIMEO, 0);
        go_on(fd, other);
    }
}
static long sent;
static long by_send(int fd) {
    for (long n; (n = send(fd, bytes, sizeof bytes, 0)) > 0;) sent += n;
    return -1;
}
static void *takes(void *p) {
    static char in[1 << 16];
    long total = 0;
    for (long n; (n = recv(*(int *)p, in, sizeof in, 0)) > 0; total += n)
        for (long i = 0; i < n; i++)
            if (in[i] != (char)((total + i) % (long)sizeof bytes * 31)) fail("another byte at %ld", total + i);
    return (void *)total;
}
CASE(jumps_out_of_limited_writers, LANE) {
    signal(SIGUSR1, jump);
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (char)(i * 31);
    int other = warm();
    for (int i = 0; i < 3; i++) {
        int ends[2];
        pthread_t taker;
        void *total;
        warm_pair(ends);
        limit(ends[0], SO_SNDTIMEO, 600000);
        sent = 0;
        left("send", by_send, ends[0]);
        talk(other, 3), look(other, other);
        MUST(-pthread_create(&taker, NULL, takes, &ends[1]));
        shutdown(ends[0], SHUT_WR);
        pthread_join(taker, &total);
        if ((long)total < sent || (long)total > sent + (long)sizeof bytes) fail("%ld of %ld", (long)total, sent);
        look(ends[1], ends[0]);
        close(ends[0]), close(ends[1]);
    }
}

// The first call that a connection sees, in which it may be looking for its other end.
CASE(jumps_out_of_the_first_call, LANE) {
    signal(SIGUSR1, jump);
    int other = warm();
    for (int i = 0; i < CALLS; i++) {
        int fd = dial();
        left(calls[i].name, calls[i].call, fd);
        talk(fd, 60);
        go_on(fd, other);
        close(fd);
    }
}
/// The same, left at any moment, also before it waits.
static sigjmp_buf out;
static void jump_out(int signal) { siglongjmp(out, signal); }
CASE(jumps_out_of_the_first_call_anywhen, LANE) {
    signal(SIGALRM, jump_out);
    int other = warm();
    for (volatile int i = 0; i < 140; i++) {
        volatile int fd = dial();
        if (!sigsetjmp(out, 1)) {
            setitimer(ITIMER_REAL, &(struct itimerval){{0, 0}, {0, 1 + i / CALLS * 40}}, NULL);
            printf("%s returned %ld\n", calls[i % CALLS].name, calls[i % CALLS].call(fd));
        }
        talk(fd, 20);
        talk(other, 3), look(other, other);
        if (i % 7 == 0) talk(fd, 60), look(fd, fd);
        close(fd);
    }
}
