// Two users who have agreed to share lanes (EF_SHARE_WITH): no bell of a thread goes between them, every wake-up goes by
// the control channel, whatever the sleeping call.
// usage: users
#include "Faults.h"
#include <sys/epoll.h>

enum { MESSAGES = 3000, STREAM = 2 << 20, OTHER = 65534, ORDINARY = 65533 };
enum style { BLOCKING, POLLED, BY_EPOLL, STYLES };
static const char *const names[] = {"recv and send", "poll", "epoll"};

struct state {
    volatile int port;
    volatile long by_ring;
    char problem[200];
};
static struct state *s;

/// Waits for `events` as the style says. A set for each of the two directions.
static void await(int fd, short events, enum style style, const int *sets) {
    struct epoll_event e;
    struct pollfd p = {.fd = fd, .events = events};
    if (style == POLLED && poll(&p, 1, LIMIT_MS) != 1) problem("poll for %d: nothing", events);
    if (style == BY_EPOLL && epoll_wait(sets[events == POLLOUT], &e, 1, LIMIT_MS) != 1) problem("epoll for %d: nothing", events);
}

static void move(int fd, bool sends, uint8_t *bytes, long n, enum style style, const int *sets) {
    for (long k = 0; k < n;) {
        await(fd, sends ? POLLOUT : POLLIN, style, sets);
        if (style != BLOCKING && !sends && kernel_unread(fd) == 0) s->by_ring++;
        int flags = style == BLOCKING ? MSG_NOSIGNAL : MSG_NOSIGNAL | MSG_DONTWAIT;
        ssize_t r = sends ? send(fd, bytes + k, (size_t)(n - k), flags) : recv(fd, bytes + k, (size_t)(n - k), flags);
        if (r < 0 && errno == EAGAIN) continue;
        if (r <= 0) problem("%s: %s", sends ? "send" : "recv", r ? strerror(errno) : "end of stream");
        k += r;
    }
}

static void talk(int fd, bool first, enum style style) {
    static uint8_t out[STREAM], in[STREAM];
    int sets[2] = {epoll_create1(EPOLL_CLOEXEC), epoll_create1(EPOLL_CLOEXEC)};
    struct epoll_event e = {.events = EPOLLIN};
    epoll_ctl(sets[0], EPOLL_CTL_ADD, fd, &e);
    e.events = EPOLLOUT;
    epoll_ctl(sets[1], EPOLL_CTL_ADD, fd, &e);
    for (long i = 0; i < MESSAGES; i++) {
        for (int k = 0; k < 32; k++) out[k] = stream_byte(first, (uint64_t)(i * 32 + k));
        move(fd, first, first ? out : in, 32, style, sets);
        move(fd, !first, first ? in : out, 32, style, sets);
        for (int k = 0; k < 32; k++)
            if (in[k] != stream_byte(!first, (uint64_t)(i * 32 + k))) problem("message %ld is wrong", i);
    }
    // One way, so that the sender waits for room.
    for (long i = 0; i < STREAM; i++) out[i] = stream_byte(7, (uint64_t)i);
    move(fd, first, first ? out : in, STREAM, style, sets);
    if (!first && memcmp(in, out, STREAM)) problem("the stream is wrong");
    char c;
    if (first) shutdown(fd, SHUT_WR);
    if (recv(fd, &c, 1, 0) != 0) problem("the end: %s", strerror(errno));
    exit(0);
}

int main(void) {
    s = shared_memory(sizeof *s);
    problem_text = s->problem;
    signal(SIGPIPE, SIG_IGN);
    if (geteuid() != 0 || !own_network()) {
        skip("lanes between users", "needs root");
        return finish();
    }
    for (enum style style = 0; style < STYLES; style++)
        for (int form = 0; form < 4; form++) {
            int other = form % 2;
            uid_t ours = form < 2 ? 0 : ORDINARY;
            memset(s, 0, sizeof *s);
            pid_t pids[2];
            int status[2];
            for (int i = 0; i < 2; i++) {
                if ((pids[i] = fork()) < 0) die("fork");
                if (pids[i]) continue;
                prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
                alarm(60);
                uid_t own = i == other ? OTHER : ours;
                if (setresuid(own, own, own) < 0) problem("setresuid");
                prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
                int port, fd, listener = -1;
                if (i == 0) {
                    listener = listen_here(&port);
                    s->port = port;
                    fd = accept_one(listener);
                } else {
                    while (!s->port) breathe();
                    fd = connect_to(s->port);
                }
                talk(fd, i == 1, style);
            }
            for (int i = 1; i >= 0; i--)
                if ((status[i] = wait_for(pids[i], 4 * LIMIT_MS)) < 0) end_process(pids[i]);
            char name[80];
            snprintf(name, sizeof name, "%s, %s, the %s is the other", ours ? "two ordinary users" : "two users", names[style], other ? "client" : "server");
            if (status[0] || status[1] || s->problem[0]) not_ok("%s: %s (%#x, %#x)", name, s->problem, status[0], status[1]);
            else if (is_preloaded() && style != BLOCKING && s->by_ring == 0) not_ok("%s: no lane", name);
            else ok("%s: %ld by ring", name, s->by_ring);
        }
    return finish();
}
