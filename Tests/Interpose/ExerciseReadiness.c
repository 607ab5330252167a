// Waiting for several descriptors.
#include "Exercise.h"

int __poll(struct pollfd *, nfds_t, int);
int __poll_chk(struct pollfd *, nfds_t, int, size_t);
int __ppoll_chk(struct pollfd *, nfds_t, const struct timespec *, const sigset_t *, size_t);
int __select(int, fd_set *, fd_set *, fd_set *, struct timeval *);

static void nothing(int signal) { (void)signal; }

static void poll_family(const int p[2], const int pipes[2]) {
    struct pollfd f[3] = {{p[0], POLLOUT, 0}, {pipes[0], POLLIN, 0}, {-1, POLLIN, 0}};
    struct timespec none = {0, 0}, bad = {0, 1000000000}, negative = {-1, 0};
    SAY("poll", poll(f, 3, 1000));
    printf("revents %x %x %x\n", f[0].revents, f[1].revents, f[2].revents);
    f[0].events = POLLIN;
    SAY("poll 0", poll(f, 2, 0));
    SAY("poll 5 ms", poll(f, 2, 5));
    SAY("__poll", __poll(f, 2, 0));
    SAY("__poll_chk", __poll_chk(f, 2, 0, sizeof f));
    SAY("ppoll", ppoll(f, 2, &none, NULL));
    SAY("__ppoll_chk", __ppoll_chk(f, 2, &none, NULL, sizeof f));
    SAY("ppoll bad time", ppoll(f, 2, &bad, NULL));
    SAY("ppoll negative", ppoll(f, 2, &negative, NULL));
    SAY("poll nothing", poll(NULL, 0, 0));
    SAY("poll null", poll(NULL, 1, 0));
    SAY("poll with a closed one", (f[2].fd = 999, poll(f, 3, 1000)));
    printf("revents %x %x %x\n", f[0].revents, f[1].revents, f[2].revents);

    // A handler always ends a poll, with SA_RESTART too; a mask opens the gate for the wait alone.
    sigset_t block, open;
    sigemptyset(&block), sigemptyset(&open);
    sigaddset(&block, SIGUSR1);
    signal(SIGUSR1, nothing);
    sigprocmask(SIG_BLOCK, &block, NULL);
    raise(SIGUSR1);
    SAY("ppoll with a mask", ppoll(f, 2, NULL, &open));
    raise(SIGUSR1);
    fd_set set;
    FD_ZERO(&set);
    FD_SET(p[0], &set);
    SAY("pselect with a mask", pselect(p[0] + 1, &set, NULL, NULL, NULL, &open));
    printf("kept %d\n", FD_ISSET(p[0], &set));
    sigprocmask(SIG_UNBLOCK, &block, NULL);
}

static void epoll_family(const int p[2], const int pipes[2]) {
    SAY("epoll_create 0", epoll_create(0));
    SAY("epoll_create1 wrong", epoll_create1(12345));
    int set = epoll_create1(EPOLL_CLOEXEC), second = epoll_create(5);
    struct epoll_event e = {EPOLLIN, {.u64 = 11}}, got[4];
    struct timespec soon = {0, 3000000}, bad = {0, -1};
    SAY("epoll_ctl add", epoll_ctl(set, EPOLL_CTL_ADD, p[0], &e));
    SAY("epoll_ctl add again", epoll_ctl(set, EPOLL_CTL_ADD, p[0], &e));
    SAY("epoll_ctl closed", epoll_ctl(set, EPOLL_CTL_ADD, 999, &e));
    e.data.u64 = 12;
    SAY("epoll_ctl pipe", epoll_ctl(set, EPOLL_CTL_ADD, pipes[0], &e));
    SAY("epoll_wait nothing", epoll_wait(set, got, 4, 3));
    SAY("epoll_pwait nothing", epoll_pwait(set, got, 4, 0, NULL));
    SAY("epoll_pwait2 nothing", epoll_pwait2(set, got, 4, &soon, NULL));
    SAY("epoll_pwait2 bad time", epoll_pwait2(set, got, 4, &bad, NULL));
    SAY("epoll_wait no room", epoll_wait(set, got, 0, 0));
    must(send(p[1], "x", 1, 0) == 1 && write(pipes[1], "y", 1) == 1, "write");
    SAY("epoll_wait", epoll_wait(set, got, 4, 1000));
    printf("data sum %d\n", (int)(got[0].data.u64 + got[1].data.u64));
    e.events = EPOLLOUT | EPOLLET;
    SAY("epoll_ctl mod", epoll_ctl(set, EPOLL_CTL_MOD, p[0], &e));
    SAY("epoll_pwait2 for ever", epoll_pwait2(set, got, 4, NULL, NULL) > 0); // of two, in one call or two
    SAY("epoll_ctl del", epoll_ctl(set, EPOLL_CTL_DEL, pipes[0], NULL));
    e.events = EPOLLIN;
    SAY("epoll_ctl nested", epoll_ctl(second, EPOLL_CTL_ADD, set, &e));
    SAY("epoll_wait on a socket", epoll_wait(p[0], got, 4, 0));
    SAY("epoll_ctl on a socket", epoll_ctl(p[0], EPOLL_CTL_ADD, p[1], &e));
    while (epoll_wait(set, got, 4, 0) > 0) {}
    SAY("epoll_wait, edge is spent", epoll_wait(set, got, 4, 0));
    struct pollfd f = {set, POLLIN, 0};
    SAY("poll a set", poll(&f, 1, 0));
    recv(p[0], &(char){0}, 1, 0);
    must(read(pipes[0], &(char){0}, 1) == 1, "read");
    close(set), close(second);
}

void exercise_readiness(void) {
    int p[2], pipes[2];
    tcp_pair(p);
    must(!pipe(pipes), "pipe");
    poll_family(p, pipes);
    epoll_family(p, pipes);
    close(p[0]), close(p[1]), close(pipes[0]), close(pipes[1]);
}

/// Prints what a select answers: the count, the members, the time that is left (in whole seconds).
static void say_select(const char *name, long result, int error, const fd_set *r, const fd_set *w, const fd_set *x) {
    say(name, result, error);
    printf(" ");
    for (int fd = 0; fd < FD_SETSIZE; fd++)
        if ((r && FD_ISSET(fd, r)) || (w && FD_ISSET(fd, w)) || (x && FD_ISSET(fd, x)))
            printf(" %d%s%s%s", fd, r && FD_ISSET(fd, r) ? "r" : "", w && FD_ISSET(fd, w) ? "w" : "", x && FD_ISSET(fd, x) ? "x" : "");
    printf("\n");
}
#define SELECT(name, count, r, w, x, t)                                                                                \
    do {                                                                                                               \
        errno = 77;                                                                                                    \
        int said = select(count, r, w, x, t);                                                                          \
        say_select(name, said, errno, r, w, x);                                                                        \
    } while (0)

void exercise_select(void) {
    int p[2], pipes[2];
    tcp_pair(p);
    must(!pipe(pipes), "pipe");
    fd_set r, w, x;
    FD_ZERO(&r);
    FD_ZERO(&w);
    FD_ZERO(&x);
    FD_SET(p[0], &r), FD_SET(p[1], &w), FD_SET(p[0], &x), FD_SET(pipes[0], &r);
    SELECT("select writable", 64, &r, &w, &x, NULL);
    struct timeval t = {0, 4000};
    FD_SET(p[0], &r), FD_SET(pipes[0], &r);
    SELECT("select times out", 64, &r, NULL, NULL, &t);
    printf("left %ld.%06ld\n", (long)t.tv_sec, (long)t.tv_usec);
    must(send(p[1], "x", 1, 0) == 1, "send");
    t = (struct timeval){5, 3000000};
    FD_SET(p[0], &r), FD_SET(pipes[0], &r);
    SELECT("select readable", 64, &r, NULL, NULL, &t);
    printf("left %ld, normal %d\n", (long)t.tv_sec, t.tv_usec < 1000000);
    t = (struct timeval){-1, 0};
    FD_SET(p[0], &r);
    SELECT("select negative time", 64, &r, NULL, NULL, &t);
    SELECT("select negative count", -1, &r, NULL, NULL, NULL);
    t = (struct timeval){0, 0};
    FD_SET(p[0], &r), FD_SET(63, &r);
    SELECT("select closed member", 64, &r, NULL, NULL, &t);
    FD_CLR(63, &r);
    SAY("__select", __select(64, &r, NULL, NULL, &t));
    // A bit beyond the count does not count. (One beyond the kernel's table would not either; the table is made large.)
    close(dup2(0, 1023));
    FD_ZERO(&r);
    FD_SET(p[0], &r), FD_SET(pipes[1], &w);
    SELECT("select few", p[0] + 1, &r, NULL, NULL, NULL);
    FD_SET(p[0], &r), FD_SET(1023, &r);
    SELECT("select far member", 1024, &r, NULL, NULL, NULL);
    // An end shows as readable, not as exceptional; urgent data as exceptional.
    must(send(p[1], "!", 1, MSG_OOB) == 1, "urgent");
    FD_ZERO(&x);
    FD_SET(p[0], &x);
    t = (struct timeval){5, 0};
    SELECT("select urgent", 64, NULL, NULL, &x, &t);
    recv(p[0], &(char){0}, 1, MSG_OOB);
    recv(p[0], &(char[8]){0}, 8, MSG_DONTWAIT);
    shutdown(p[0], SHUT_WR);
    close(p[1]);
    SAY("poll shows the end", poll(&(struct pollfd){p[0], 0, 0}, 1, 5000));
    FD_SET(p[0], &x);
    t = (struct timeval){0, 20000};
    SELECT("select end, exceptional only", 64, NULL, NULL, &x, &t);
    printf("left %ld.%06ld\n", (long)t.tv_sec, (long)t.tv_usec);
    struct timespec none = {0, 0}, bad = {0, -1};
    FD_ZERO(&r);
    FD_SET(p[0], &r);
    SAY("pselect", pselect(64, &r, NULL, NULL, &none, NULL));
    SAY("pselect bad time", pselect(64, &r, NULL, NULL, &bad, NULL));
    // More members than fit on a stack.
    int many[300], n = 0;
    FD_ZERO(&r);
    for (; n < 300 && (many[n] = dup(pipes[0])) >= 0 && many[n] < FD_SETSIZE; n++) FD_SET(many[n], &r);
    FD_SET(p[0], &r);
    SAY("select many", select(FD_SETSIZE, &r, NULL, NULL, NULL));
    for (int i = 0; i < n; i++) close(many[i]);
    close(p[0]), close(pipes[0]), close(pipes[1]);
}
