// A timer's signal every millisecond, and ten times as often, while bytes move: calls restart, or say EINTR, as signal(7)
// has it, no byte is lost, and the handlers run as often as on the kernel. Handlers that send on the same socket, and
// handlers that leave by siglongjmp.
// usage: alarms [--bytes N | --rate STYLE FLAGS]
#include "Faults.h"
#include <setjmp.h>
#include <sys/epoll.h>
#include <sys/time.h>

struct state {
    volatile int port;
    volatile long interrupted, alarms, by_ring, nanoseconds;
    char problem[200];
};
static struct state *s;
static long bytes_wanted = 8 << 20;
static int interval = 1000; // us

static volatile sig_atomic_t alarms;
static void on_alarm(int signal) {
    (void)signal;
    alarms++;
}

static void set_alarm(void (*handler)(int), int flags, int microseconds) {
    struct sigaction a = {.sa_handler = handler, .sa_flags = flags};
    struct itimerval t = {{0, microseconds}, {0, microseconds}};
    sigaction(SIGALRM, &a, NULL);
    setitimer(ITIMER_REAL, &t, NULL);
}

enum style { CALLS, READY, PEERS };
static enum style style;
static int flags;
static bool answers;
static void (*program)(int fd);

/// Both ways at once: what comes is checked, what goes is a stream too. A reply of 64 bytes for 64 bytes keeps both ends
/// asleep half of the time.
static void chatter(int fd, bool first) {
    uint8_t out[4096], in[4096];
    uint64_t random = 3;
    long done = 0;
    while (done < bytes_wanted) {
        // Mostly small, so that there are many waits.
        long n = next_random(&random) % 16 ? 64 : 4096;
        for (long i = 0; i < n; i++) out[i] = stream_byte((uint64_t)first, (uint64_t)(done + i));
        for (int turn = 0; turn < 2; turn++) {
            bool sends = (turn == 0) == first;
            for (long k = 0; k < n;) {
                if (style == READY) {
                    struct pollfd p = {.fd = fd, .events = sends ? POLLOUT : POLLIN};
                    // poll says EINTR whatever the flags.
                    int r = poll(&p, 1, LIMIT_MS);
                    if (r < 0 && errno == EINTR) {
                        s->interrupted++;
                        continue;
                    }
                    if (r != 1) problem("poll: nothing in %d ms at %ld", LIMIT_MS, done);
                }
                ssize_t r = sends ? send(fd, out + k, (size_t)(n - k), MSG_NOSIGNAL) : recv(fd, in + k, (size_t)(n - k), 0);
                if (r < 0 && errno == EINTR) {
                    s->interrupted++;
                    if (flags & SA_RESTART && style == CALLS) problem("%s: EINTR in spite of SA_RESTART", sends ? "send" : "recv");
                    continue;
                }
                if (r == 0) problem("end of stream at %ld", done);
                if (r < 0) problem("%s at %ld: %s", sends ? "send" : "recv", done, strerror(errno));
                k += r;
            }
        }
        for (long i = 0; i < n; i++)
            if (in[i] != stream_byte(!first, (uint64_t)(done + i))) problem("byte %ld is wrong", done + i);
        done += n;
    }
}

static void chat(int fd) {
    int64_t began = now_ns();
    set_alarm(on_alarm, flags, interval);
    chatter(fd, !answers);
    set_alarm(SIG_IGN, 0, 0);
    __atomic_fetch_add(&s->alarms, alarms, __ATOMIC_SEQ_CST);
    __atomic_fetch_add(&s->nanoseconds, now_ns() - began, __ATOMIC_SEQ_CST);
    __atomic_fetch_add(&s->by_ring, bytes_by_ring(fd, bytes_wanted), __ATOMIC_SEQ_CST);
    close(fd);
    exit(0);
}

// MARK: a handler that sends

/// Small enough for one piece on any socket that has room.
struct record {
    uint32_t sender, number;
    uint64_t check;
};
static struct record record_of(uint32_t sender, uint32_t number) {
    return (struct record){sender, number, sender * 77777ull + number * 0x9e3779b97f4a7c15u};
}
enum { RECORDS = 60000 };
static int handlers_socket;
static volatile uint32_t handlers_number;
static void send_in_handler(int signal) {
    (void)signal;
    int saved = errno;
    struct record r = record_of(1, handlers_number);
    // The interrupted call may have taken all the room.
    ssize_t n = send(handlers_socket, &r, sizeof r, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n == sizeof r) handlers_number++;
    else if (n > 0 || errno != EAGAIN) problem("the handler's send: %zd, %s", n, strerror(errno));
    errno = saved;
}

static void records(int fd) {
    if (!answers) {
        handlers_socket = fd;
        set_alarm(send_in_handler, SA_RESTART, 500);
        for (uint32_t i = 0; i < RECORDS; i++) {
            struct record r = record_of(0, i);
            ssize_t n = send(fd, &r, sizeof r, MSG_NOSIGNAL);
            if (n != sizeof r) problem("send of record %u: %zd, %s", i, n, strerror(errno));
        }
        set_alarm(SIG_IGN, 0, 0);
        s->alarms = handlers_number;
        shutdown(fd, SHUT_WR);
        char c;
        if (recv(fd, &c, 1, 0) != 0) problem("the end: %s", strerror(errno));
        exit(0);
    }
    uint32_t next[2] = {0, 0};
    struct record r, wanted;
    while (recv_all(fd, &r, sizeof r)) {
        if (r.sender > 1) problem("record of sender %u", r.sender);
        wanted = record_of(r.sender, next[r.sender]++);
        if (memcmp(&r, &wanted, sizeof r)) problem("record %u of %u instead of %u", r.number, r.sender, wanted.number);
    }
    if (errno) problem("recv: %s", strerror(errno));
    if (next[0] != RECORDS) problem("%u records", next[0]);
    exit(0);
}

// MARK: a handler that leaves

static sigjmp_buf away;
static volatile sig_atomic_t may_leave;
static void leave(int signal) {
    (void)signal;
    if (may_leave) {
        may_leave = 0;
        siglongjmp(away, 1);
    }
}

static bool echo_one(int fd, uint32_t i) {
    struct record r = record_of(2, i), back;
    return send_all(fd, &r, sizeof r) && recv_all(fd, &back, sizeof back) && memcmp(&r, &back, sizeof r) == 0;
}

/// Out of a recv, a poll and an epoll_wait in which nothing comes; the connection is used in between.
static void jumps(int fd) {
    if (answers) {
        struct record r;
        while (recv_all(fd, &r, sizeof r))
            if (!send_all(fd, &r, sizeof r)) problem("answer: %s", strerror(errno));
        exit(0);
    }
    int set = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event e = {.events = EPOLLIN};
    uint32_t number = 0;
    for (int i = 0; i < 20; i++)
        if (!echo_one(fd, number++)) problem("before the first jump");
    epoll_ctl(set, EPOLL_CTL_ADD, fd, &e);
    set_alarm(leave, SA_RESTART, 1000);
    for (volatile int i = 0; i < 300; i++) {
        if (sigsetjmp(away, 1) == 0) {
            may_leave = 1;
            if (i % 3 == 0) {
                char c;
                recv(fd, &c, 1, 0);
            } else if (i % 3 == 1) {
                struct pollfd p = {.fd = fd, .events = POLLIN};
                poll(&p, 1, -1);
            } else epoll_wait(set, &e, 1, -1);
            if (may_leave) problem("call %d returned with nothing there", i);
        }
        may_leave = 0;
        if (!echo_one(fd, number++)) problem("after jump %d: %s", i, strerror(errno));
    }
    set_alarm(SIG_IGN, 0, 0);
    close(fd);
    exit(0);
}

/// Runs `what` at both ends. False: a status in `status` or s->problem is bad.
static bool play(void (*what)(int), int *status) {
    memset(s, 0, sizeof *s);
    program = what;
    pid_t pids[2];
    for (int i = 0; i < 2; i++) {
        if ((pids[i] = fork()) < 0) die("fork");
        if (pids[i]) continue;
        prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
        answers = i == 0;
        if (answers) {
            int port, listener = listen_here(&port);
            s->port = port;
            int fd = accept_one(listener);
            close(listener);
            program(fd);
        }
        while (!s->port) breathe();
        program(connect_to(s->port));
    }
    for (int i = 1; i >= 0; i--)
        if ((status[i] = wait_for(pids[i], 12 * LIMIT_MS)) < 0) end_process(pids[i]);
    return !status[0] && !status[1] && !s->problem[0];
}

static void run(const char *name, void (*what)(int)) {
    int status[2];
    if (!play(what, status)) not_ok("%s: %s (%#x, %#x)", name, s->problem, status[0], status[1]);
    else if (is_preloaded() && what == chat && s->by_ring == 0) not_ok("%s: no lane", name);
    else ok("%s: %ld alarms, %ld times EINTR", name, s->alarms, s->interrupted);
}

// MARK: ten times as often

enum { FAST_US = 100, FAST_BYTES = 4 << 20, ROUNDS = 6 };

static long handled_a_second(void) { return s->nanoseconds ? (long)(s->alarms * 1e9 / (double)s->nanoseconds) : 0; }

/// What this machine handles without Sluice, now: the same program on the kernel.
static long nominal_rate(void) {
    char command[200], line[40] = "";
    snprintf(command, sizeof command, "env -u LD_PRELOAD /proc/%d/exe --rate %d %d", (int)getpid(), style, flags);
    FILE *f = popen(command, "r");
    if (!f || !fgets(line, sizeof line, f)) die("no rate");
    pclose(f);
    return atol(line);
}

/// At least half of the kernel's rate, in one of some rounds: others may use the machine.
static void run_fast(const char *name) {
    int status[2];
    long rate = 0, nominal = 0, finest = 0, least = 500000 / FAST_US;
    interval = FAST_US, bytes_wanted = FAST_BYTES;
    for (int round = 0; round < ROUNDS; round++) {
        nominal = nominal_rate();
        if (!play(chat, status)) return not_ok("%s: %s (%#x, %#x)", name, s->problem, status[0], status[1]);
        if (is_preloaded() && s->by_ring < bytes_wanted) return not_ok("%s: %ld of %ld bytes by ring", name, s->by_ring, 2 * bytes_wanted);
        rate = handled_a_second();
        if (nominal > finest) finest = nominal;
        if (nominal >= least && rate * 2 >= nominal) break;
    }
    if (finest < least) skip(name, "this machine's timer is too coarse");
    else if (rate * 2 < nominal) not_ok("%s: %ld handled a second, %ld on the kernel", name, rate, nominal);
    else ok("%s: %ld handled a second, %ld on the kernel, %ld times EINTR", name, rate, nominal, s->interrupted);
}

int main(int n, char **words) {
    if (n > 2 && !strcmp(words[1], "--bytes")) bytes_wanted = atol(words[2]);
    s = shared_memory(sizeof *s);
    problem_text = s->problem;
    signal(SIGPIPE, SIG_IGN);
    own_network();
    if (n > 3 && !strcmp(words[1], "--rate")) {
        int status[2];
        style = (enum style)atoi(words[2]), flags = atoi(words[3]), interval = FAST_US, bytes_wanted = FAST_BYTES;
        if (!play(chat, status)) die("%s", s->problem);
        printf("%ld\n", handled_a_second());
        return 0;
    }
    for (int fast = 0; fast < 2; fast++)
        for (int restart = 0; restart < 2; restart++)
            for (style = CALLS; style <= READY; style++) {
                char name[80];
                flags = restart ? SA_RESTART : 0;
                snprintf(name, sizeof name, "%s, %s SA_RESTART%s", style == CALLS ? "send and recv" : "poll", restart ? "with" : "without", fast ? ", 10 kHz" : "");
                if (fast) run_fast(name);
                else run(name, chat);
            }
    run("a handler that sends on the interrupted socket", records);
    run("a handler that leaves by siglongjmp", jumps);
    return finish();
}
