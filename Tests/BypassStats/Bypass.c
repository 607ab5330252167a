// SO_NET_KERNEL_BYPASS_STATS: each field against what this program itself has done. Two processes talk over one connection, one
// step after the other; a mapped page and pipes, not the connection, say whose turn it is.
// usage: bypass counts|spins|kernel|answers|untracked
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <sluice.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PATIENCE_S = 60 };
static int other[2], own[2]; // pipes: the other process's turn, and ours
static int fd;
static volatile int *calls; // in the mapped page: how often the other process has begun a call that will wait

static void fail(const char *what, long got, long wanted) {
    printf("%s: %ld, expected %ld\n", what, got, wanted);
    exit(1);
}
static void must(int yes, const char *what) {
    if (yes) return;
    printf("%s: %s\n", what, strerror(errno));
    exit(1);
}
static void equal(const char *what, long got, long wanted) {
    if (got != wanted) fail(what, got, wanted);
}

static void your_turn(void) { must(write(other[1], "", 1) == 1, "pipe"); }
static void my_turn(void) {
    char c;
    must(read(own[0], &c, 1) == 1, "the other process has ended");
}

static so_nkp_stats_t stats(void) {
    so_nkp_stats_t s;
    socklen_t length = sizeof s;
    memset(&s, 0xee, sizeof s);
    must(getsockopt(fd, SOL_SOCKET, SO_NET_KERNEL_BYPASS_STATS, &s, &length) == 0, "getsockopt");
    equal("length", length, 40);
    equal("reserved", s.nkps_reserved, 0);
    return s;
}
/// The counts are those of `before` and so many more.
static void grown(const char *what, so_nkp_stats_t before, long in, long in_spin, long out, long out_spin) {
    so_nkp_stats_t now = stats();
    char text[128];
    struct { const char *name; long got, wanted; } rows[] = {
        {"ipkts", (long)(now.nkps_ipkts - before.nkps_ipkts), in},
        {"ipkts_spin", (long)(now.nkps_ipkts_spin - before.nkps_ipkts_spin), in_spin},
        {"opkts", (long)(now.nkps_opkts - before.nkps_opkts), out},
        {"opkts_spin", (long)(now.nkps_opkts_spin - before.nkps_opkts_spin), out_spin},
    };
    for (int i = 0; i < 4; i++) {
        snprintf(text, sizeof text, "%s, %s", what, rows[i].name);
        equal(text, rows[i].got, rows[i].wanted);
    }
}

static void give(size_t n) {
    static char bytes[65536];
    must(send(fd, bytes, n, MSG_NOSIGNAL) == (ssize_t)n, "send");
}
static void get(size_t n) {
    static char bytes[65536];
    equal("recv", recv(fd, bytes, n, 0), (long)n);
}

/// Forks; both processes have one end of a connection in `fd`. 0 in the child.
static pid_t connect_two(void) {
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof name;
    int first[2], second[2];
    must(pipe(first) == 0 && pipe(second) == 0, "pipe");
    calls = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    must(calls != MAP_FAILED, "mmap");
    pid_t child = fork();
    must(child >= 0, "fork");
    memcpy(own, child ? first : second, sizeof own);
    memcpy(other, child ? second : first, sizeof other);
    close(own[1]), close(other[0]);
    if (child) {
        int listener = socket(AF_INET, SOCK_STREAM, 0);
        must(bind(listener, (struct sockaddr *)&name, length) == 0 && listen(listener, 1) == 0, "listen");
        must(getsockname(listener, (struct sockaddr *)&name, &length) == 0, "getsockname");
        must(write(other[1], &name.sin_port, 2) == 2, "pipe");
        must((fd = accept(listener, NULL, NULL)) >= 0, "accept");
        close(listener);
    } else {
        must(read(own[0], &name.sin_port, 2) == 2, "pipe");
        must((fd = socket(AF_INET, SOCK_STREAM, 0)) >= 0, "socket");
        must(connect(fd, (struct sockaddr *)&name, length) == 0, "connect");
    }
    return child;
}

/// Short messages there and back until both directions are in shared memory: asked of the counts themselves.
static void warm_up(int leads) {
    for (int i = 0;; i++) {
        so_nkp_stats_t before = stats(), now;
        char ready, peers;
        if (leads) give(64), get(64);
        else get(64), give(64);
        now = stats();
        ready = now.nkps_ipkts > before.nkps_ipkts && now.nkps_opkts > before.nkps_opkts;
        must(write(other[1], &ready, 1) == 1 && read(own[0], &peers, 1) == 1, "pipe");
        if (ready && peers) return;
        if (i == 10000) fail("messages by the kernel", i, 0);
    }
}

static int finish(pid_t child) {
    int status = 0;
    if (!child) {
        my_turn();
        exit(0);
    }
    your_turn();
    must(wait(&status) == child, "wait");
    equal("the other process's status", status, 0);
    return 0;
}

// MARK: the cases

/// Sends and receives of which this program knows the number. Bytes always lie there before they are received: nothing spins.
static int counts(void) {
    pid_t child = connect_two();
    warm_up(child != 0);
    so_nkp_stats_t before = stats();
    if (child) {
        for (int i = 1; i <= 200; i++) give((size_t)i), your_turn(), my_turn();
        grown("200 sends", before, 0, 0, 200, 0);
        give(100), your_turn(), my_turn();                      // taken in two
        for (int i = 0; i < 3; i++) give(100);                  // taken in one
        your_turn(), my_turn();
        get(7);
        grown("204 sends, a receive", before, 1, 0, 204, 0);
    } else {
        for (int i = 1; i <= 200; i++) my_turn(), get((size_t)i), your_turn();
        grown("200 receives", before, 200, 0, 0, 0);
        my_turn(), get(50), get(50), your_turn();
        grown("two halves", before, 202, 0, 0, 0);
        char bytes[300];
        my_turn();
        equal("recv, MSG_PEEK", recv(fd, bytes, sizeof bytes, MSG_PEEK), 300);
        get(300);
        grown("three in one", before, 203, 0, 0, 0);
        give(7), your_turn();
        grown("a send", before, 203, 0, 1, 0);
    }
    equal("spun for room", stats().nkps_send_spin_max, 0);
    return finish(child);
}

static long long now_ns(clockid_t clock) {
    struct timespec t;
    must(clock_gettime(clock, &t) == 0, "clock_gettime");
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

/// Returns when the other process, after it said that it begins call number `n`, has used so much processor time: it spins.
static void until_it_spins(pid_t child, int n, long long ns) {
    clockid_t clock;
    must(clock_getcpuclockid(child, &clock) == 0, "clock_getcpuclockid");
    long long end = now_ns(CLOCK_MONOTONIC) + PATIENCE_S * 1000000000LL;
    while (*calls < n)
        if (now_ns(CLOCK_MONOTONIC) > end) fail("call", *calls, n);
    long long begin = now_ns(clock);
    while (now_ns(clock) < begin + ns)
        if (now_ns(CLOCK_MONOTONIC) > end) fail("processor time of a call that is to spin", (long)(now_ns(clock) - begin), (long)ns);
}

/// Fills the ring and then sends once more, which waits; the other process takes everything. True when the lane lasted: it is left
/// when a reader does not come for 20 ms.
static int waits_for_room(int n) {
    static char bytes[4096];
    so_nkp_stats_t before = stats();
    long long filled = 0, sends = 0, k;
    while ((k = send(fd, bytes, sizeof bytes, MSG_DONTWAIT | MSG_NOSIGNAL)) > 0) filled += k, sends++;
    must(errno == EAGAIN, "send");
    long long begin = now_ns(CLOCK_MONOTONIC);
    *calls = n;
    give(64);
    long long spent = now_ns(CLOCK_MONOTONIC) - begin;
    filled += 64, sends++;
    must(write(other[1], &filled, sizeof filled) == sizeof filled, "pipe");
    so_nkp_stats_t now = stats();
    int lasted = now.nkps_opkts - before.nkps_opkts == (uint64_t)sends;
    if (lasted) {
        grown("a send that waits", before, 0, 0, (long)sends, 1);
        if (now.nkps_send_spin_max == 0 || now.nkps_send_spin_max > spent) fail("turns in ns", now.nkps_send_spin_max, (long)spent);
    }
    char c = (char)lasted;
    must(write(other[1], &c, 1) == 1, "pipe");
    return lasted;
}
static int takes_all(pid_t child, int n) {
    static char bytes[65536];
    long long taken = 0, filled = -1, k;
    char lasted;
    until_it_spins(child, n, 300000);
    // Until it has said how much that is it sends no more: what is asked for once more is there, or will be.
    while (filled < 0 || taken < filled) {
        if ((k = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT)) > 0) taken += k;
        else must(k < 0 && errno == EAGAIN, "recv");
        if (filled < 0) {
            struct pollfd said = {.fd = own[0], .events = POLLIN};
            if (poll(&said, 1, 0) == 1) must(read(own[0], &filled, sizeof filled) == sizeof filled, "pipe");
        }
    }
    must(read(own[0], &lasted, 1) == 1, "pipe");
    return lasted;
}

/// Waits that end while the caller spins, each seen to spin by its processor time.
static int spins(void) {
    cpu_set_t set, one;
    int cpus[2], count = 0;
    must(sched_getaffinity(0, sizeof set, &set) == 0, "sched_getaffinity");
    for (int i = 0; i < CPU_SETSIZE && count < 2; i++)
        if (CPU_ISSET(i, &set)) cpus[count++] = i;
    if (count < 2) return 77;
    pid_t child = connect_two();
    // On one processor nobody spins.
    CPU_ZERO(&one);
    CPU_SET(cpus[child != 0], &one);
    must(sched_setaffinity(0, sizeof one, &one) == 0, "sched_setaffinity");
    int n = 0, lasted = 0;
    warm_up(child != 0);
    so_nkp_stats_t before = stats();
    for (n = 1; n <= 20; n++) {
        if (child) {
            until_it_spins(child, n, 2000000);
            give(64);
            my_turn();
        } else {
            *calls = n;
            get(64);
            your_turn();
        }
    }
    if (child) grown("20 sends", before, 0, 0, 20, 0);
    else grown("20 receives that spin", before, 20, 20, 0, 0);
    equal("spun for room", stats().nkps_send_spin_max, 0);
    for (int tries = 0; tries < 100 && !lasted; tries++, n++) {
        warm_up(child != 0);
        lasted = child ? takes_all(child, n) : waits_for_room(n);
    }
    if (!lasted) fail("lanes that lasted", 0, 1);
    return finish(child);
}

/// Messages of a socket that Sluice follows, by the kernel.
static int kernel(void) {
    pid_t child = connect_two();
    for (int i = 0; i < 100; i++) {
        if (child) give(64), get(64);
        else get(64), give(64);
    }
    grown("100 messages by the kernel", (so_nkp_stats_t){0}, 0, 0, 0, 0);
    equal("spun for room", stats().nkps_send_spin_max, 0);
    return finish(child);
}

static void answer(int socket, int name, void *value, long size, long wanted, const char *what) {
    socklen_t length = (socklen_t)size;
    errno = 0;
    int r = getsockopt(socket, SOL_SOCKET, name, value, value ? &length : NULL);
    equal(what, r < 0 ? errno : 0, wanted);
}

/// Lengths, of this version and of others, and what cannot be.
static int answers(void) {
    pid_t child = connect_two();
    unsigned char bytes[64];
    socklen_t length = sizeof bytes;
    answer(fd, SO_NET_KERNEL_BYPASS_STATS, bytes, 39, EINVAL, "39 bytes");
    answer(fd, SO_NET_KERNEL_BYPASS_STATS, bytes, 0, EINVAL, "no bytes");
    answer(fd, SO_NET_KERNEL_BYPASS_STATS, bytes, -1, EINVAL, "a negative length");
    answer(fd, SO_NET_KERNEL_BYPASS_STATS, NULL, 40, EFAULT, "nowhere");
    answer(fd, SO_NET_KERNEL_BYPASS_STATS, bytes, 40, 0, "40 bytes");
    memset(bytes, 0xee, sizeof bytes);
    must(getsockopt(fd, SOL_SOCKET, SO_NET_KERNEL_BYPASS_STATS, bytes, &length) == 0, "getsockopt");
    equal("the length of a longer structure", length, 40);
    for (int i = 0; i < 64; i++) equal("a byte of a longer structure", bytes[i], i < 40 ? 0 : 0xee);
    equal("setsockopt", setsockopt(fd, SOL_SOCKET, SO_NET_KERNEL_BYPASS_STATS, bytes, 40) < 0 ? errno : 0, ENOPROTOOPT);
    return finish(child);
}

/// The kernel's answers, for everything that Sluice does not follow.
static int untracked(void) {
    unsigned char bytes[64];
    int ends[2], sockets[3] = {socket(AF_INET, SOCK_DGRAM, 0), socket(AF_UNIX, SOCK_STREAM, 0), socket(AF_INET, SOCK_STREAM, 0)};
    for (int i = 0; i < 3; i++) {
        answer(sockets[i], SO_NET_KERNEL_BYPASS_STATS, bytes, 40, ENOPROTOOPT, "a socket");
        answer(sockets[i], SO_NET_KERNEL_BYPASS_STATS, bytes, 4, ENOPROTOOPT, "a socket, 4 bytes");
        equal("setsockopt", setsockopt(sockets[i], SOL_SOCKET, SO_NET_KERNEL_BYPASS_STATS, bytes, 40) < 0 ? errno : 0, ENOPROTOOPT);
    }
    must(pipe(ends) == 0, "pipe");
    answer(ends[0], SO_NET_KERNEL_BYPASS_STATS, bytes, 40, ENOTSOCK, "a pipe");
    answer(-1, SO_NET_KERNEL_BYPASS_STATS, bytes, 40, EBADF, "no descriptor");
    return 0;
}

int main(int count, char **words) {
    struct { const char *name; int (*run)(void); } cases[] = {
        {"counts", counts}, {"spins", spins}, {"kernel", kernel}, {"answers", answers}, {"untracked", untracked}};
    setvbuf(stdout, NULL, _IONBF, 0);
    for (size_t i = 0; count == 2 && i < sizeof cases / sizeof *cases; i++)
        if (!strcmp(words[1], cases[i].name)) return cases[i].run();
    fprintf(stderr, "usage: bypass counts|spins|kernel|answers|untracked\n");
    return 2;
}
