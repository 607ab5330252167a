// Pairs of processes exchange checked streams, several pairs at a time; one process of each is killed at a random moment.
// usage: kills [--kills N] [--seed N] [--within MS] [--style NAME]
#include "Faults.h"
#include <pthread.h>
#include <sys/epoll.h>

enum who { PEER, VICTIM, SHARER, EVERYONE };
enum style { ECHO, VICTIM_SENDS, PEER_SENDS, THREADS, POLLED, BY_EPOLL, STYLES };
static const char *const style_names[] = {"echo", "the victim sends", "the peer sends", "two threads", "poll", "epoll"};
enum { SLOTS = 4, PERIOD = 1000003, SHARERS_MOST = 64 << 20, SHARERS_BYTES = 300 };
static uint8_t streams[EVERYONE][PERIOD];

/// What one pair and the driver know of each other.
struct pair {
    enum style style;
    bool victim_connects, has_sharer;
    volatile int port;
    volatile bool up[EVERYONE];
    volatile long sent[EVERYONE], most[EVERYONE], got[EVERYONE];
    volatile bool killed, reset, send_failed, total_known;
    volatile pid_t sharer;
    uint64_t seed;
    char problem[200];
    // the driver's
    pid_t pids[2];
    int64_t kill_after, kill_at, give_up_at;
};
static struct pair *pairs;
static enum style only = STYLES;
static long within_ms = 40;
static __thread uint64_t chance;

static void pair_problem(struct pair *p, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(p->problem, sizeof p->problem, format, arguments);
    va_end(arguments);
    _exit(1);
}

static void make_streams(void) {
    for (int who = 0; who < EVERYONE; who++)
        for (long i = 0; i < PERIOD; i++) {
            uint8_t b = stream_byte((uint64_t)who + 11, (uint64_t)i);
            streams[who][i] = who == PEER ? b : who == VICTIM ? b & 0x7f : b | 0x80;
        }
}

/// One call, at most `n` bytes. What send says.
static ssize_t send_some(struct pair *p, enum who me, int fd, long n) {
    long at = p->sent[me] % PERIOD;
    if (n > PERIOD - at) n = PERIOD - at;
    p->most[me] = p->sent[me] + n;
    ssize_t r = send(fd, streams[me] + at, (size_t)n, MSG_NOSIGNAL);
    if (r > 0) p->sent[me] += r;
    return r;
}

/// What the victim and a sharer send is told apart by the high bit.
static void check(struct pair *p, enum who me, const uint8_t *bytes, ssize_t n) {
    for (ssize_t i = 0; i < n; i++) {
        enum who from = me != PEER ? PEER : bytes[i] & 0x80 ? SHARER : VICTIM;
        if (bytes[i] != streams[from][p->got[from] % PERIOD]) pair_problem(p, "byte %ld from %d is wrong", p->got[from], from);
        p->got[from]++;
    }
}

static ssize_t recv_some(struct pair *p, enum who me, int fd, long n) {
    static uint8_t bytes[1 << 16];
    ssize_t r = recv(fd, bytes, (size_t)n, 0);
    if (r > 0) check(p, me, bytes, r);
    return r;
}

static bool is_wait(ssize_t r) { return r < 0 && (errno == EAGAIN || errno == EINTR); }

/// One turn of the exchange. False when the connection has ended for sending or receiving; errno tells, 0: in order.
static bool turn(struct pair *p, enum who me, int fd, int set) {
    long size = 1 + (long)(next_random(&chance) % (next_random(&chance) % 8 ? 2000 : 40000));
    ssize_t r = 1;
    bool sends = p->style == VICTIM_SENDS ? me == VICTIM : p->style == PEER_SENDS ? me == PEER : me == VICTIM;
    if (p->style == THREADS) {
        errno = 0;
        return recv_some(p, me, fd, size) > 0;
    }
    if (p->style < POLLED) {
        errno = 0;
        if (sends) {
            if ((r = send_some(p, me, fd, size)) <= 0) return false;
            if (p->style != ECHO) return true;
            for (long left = r; left > 0; left -= r)
                if ((r = recv_some(p, me, fd, left < 65536 ? left : 65536)) <= 0) return false;
            return true;
        }
        if ((r = recv_some(p, me, fd, size)) <= 0) return false;
        if (p->style != ECHO) return true;
        for (long left = r; left > 0; left -= r)
            if ((r = send_some(p, me, fd, left)) <= 0) return false;
        return true;
    }
    short events = POLLIN | POLLOUT;
    if (p->style == BY_EPOLL) {
        struct epoll_event e;
        if (epoll_wait(set, &e, 1, -1) <= 0) return true;
        events = (short)e.events;
    } else {
        struct pollfd f = {.fd = fd, .events = POLLIN | POLLOUT};
        poll(&f, 1, -1);
        events = f.revents;
    }
    errno = 0;
    if (events & (POLLIN | POLLHUP | POLLERR)) {
        r = recv_some(p, me, fd, size);
        if (r <= 0 && !is_wait(r)) return false;
    }
    if (events & POLLOUT) {
        errno = 0;
        r = send_some(p, me, fd, size);
        if (r <= 0 && !is_wait(r)) return false;
    }
    return true;
}

static void be_sharer(struct pair *p, int fd) {
    static uint8_t bytes[SHARERS_MOST];
    long n = 0;
    alarm(60);
    prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0);
    p->sharer = getpid();
    while (!p->killed) breathe();
    for (long left = SHARERS_BYTES; left > 0;) {
        ssize_t r = send_some(p, SHARER, fd, left);
        // The victim may have left the socket non-blocking and full: what comes in goes first.
        if (r > 0) left -= r;
        else if (!is_wait(r)) pair_problem(p, "the sharer's send: %s", strerror(errno));
        struct pollfd f = {.fd = fd, .events = POLLIN | (left > 0 ? POLLOUT : 0)};
        if (left > 0 && poll(&f, 1, LIMIT_MS) == 1 && f.revents & POLLIN) {
            r = recv(fd, bytes + n, (size_t)(SHARERS_MOST - n), MSG_DONTWAIT);
            if (r > 0) n += r;
        }
    }
    for (;;) {
        if (n == SHARERS_MOST) pair_problem(p, "the sharer's memory is full");
        ssize_t r = recv(fd, bytes + n, (size_t)(SHARERS_MOST - n), 0);
        if (is_wait(r)) {
            struct pollfd f = {.fd = fd, .events = POLLIN};
            poll(&f, 1, LIMIT_MS);
            continue;
        }
        if (r < 0) pair_problem(p, "the sharer's recv: %s", strerror(errno));
        if (r == 0) break;
        n += r;
    }
    for (int64_t end = now_ms() + LIMIT_MS; !p->total_known && now_ms() < end;) breathe();
    long first = p->sent[PEER] - n;
    if (first < 0) pair_problem(p, "the sharer has %ld bytes, the peer sent %ld", n, p->sent[PEER]);
    for (long i = 0; i < n; i++)
        if (bytes[i] != streams[PEER][(first + i) % PERIOD]) pair_problem(p, "the sharer's byte %ld of %ld is wrong", i, n);
    _exit(0);
}

static int meet(struct pair *p, bool connects) {
    if (connects) {
        for (int64_t end = now_ms() + LIMIT_MS; !p->port && now_ms() < end;) breathe();
        return connect_to(p->port);
    }
    int port, listener = listen_here(&port);
    p->port = port;
    int fd = accept_one(listener);
    close(listener);
    return fd;
}

/// The sending thread of THREADS.
struct sending {
    struct pair *pair;
    enum who me;
    int fd;
};
static void *send_on(void *argument) {
    struct sending s = *(struct sending *)argument;
    chance = s.pair->seed + (uint64_t)s.me + 5;
    while (send_some(s.pair, s.me, s.fd, 1 + (long)(next_random(&chance) % 3000)) > 0)
        if (s.me == PEER && s.pair->got[SHARER] > 0) return NULL;
    // The error of a reset is told once, here or to the receiving thread.
    s.pair->send_failed |= s.me == PEER;
    return NULL;
}

static void become(struct pair *p, enum who me) {
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    alarm(60);
    chance = p->seed + (uint64_t)me;
    int fd = meet(p, (me == VICTIM) == p->victim_connects), set = -1;
    p->up[me] = true;
    if (me == VICTIM && p->has_sharer && fork() == 0) be_sharer(p, fd);
    if (p->style >= POLLED) fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    if (p->style == BY_EPOLL) {
        struct epoll_event e = {.events = EPOLLIN | EPOLLOUT};
        set = epoll_create1(EPOLL_CLOEXEC);
        epoll_ctl(set, EPOLL_CTL_ADD, fd, &e);
    }
    pthread_t sender;
    struct sending sending = {p, me, fd};
    if (p->style == THREADS && pthread_create(&sender, NULL, send_on, &sending)) pair_problem(p, "no thread");
    while (turn(p, me, fd, set)) {
        errno = 0;
        if (me == PEER && p->got[SHARER] > 0) break;
    }
    if (me == VICTIM) pair_problem(p, "the victim's connection ended: %s", strerror(errno));
    int error = errno;
    if (p->style == THREADS) pthread_join(sender, NULL);
    if (error != 0 && error != EPIPE && error != ECONNRESET && p->got[SHARER] == 0) pair_problem(p, "ended with %s", strerror(error));
    if (p->has_sharer) shutdown(fd, SHUT_WR);
    p->total_known = true;
    // What was sent before the end is still there.
    for (;;) {
        struct pollfd f = {.fd = fd, .events = POLLIN};
        if (poll(&f, 1, LIMIT_MS) != 1) pair_problem(p, "no end of stream");
        ssize_t r = recv_some(p, me, fd, 65536);
        if (r == 0) break;
        if (r < 0 && !is_wait(r)) {
            error = errno;
            break;
        }
    }
    p->reset = error == ECONNRESET || error == EPIPE || p->send_failed;
    if (p->has_sharer && p->reset) pair_problem(p, "a sharer was there, but the connection was reset");
    close(fd);
    exit(0);
}

static void start_pair(struct pair *p, uint64_t *random) {
    memset(p, 0, sizeof *p);
    p->style = only < STYLES ? only : (enum style)(next_random(random) % STYLES);
    p->victim_connects = next_random(random) % 2;
    // A sharer cannot end an echo or take over half of a message.
    p->has_sharer = next_random(random) % 3 == 0 && p->style != ECHO && p->style != PEER_SENDS;
    p->seed = next_random(random);
    p->kill_after = (int64_t)(next_random(random) % (uint64_t)(within_ms * 1000000));
    for (int who = 0; who < 2; who++) {
        pid_t pid = fork();
        if (pid < 0) die("fork: %s", strerror(errno));
        if (pid == 0) become(p, (enum who)who);
        p->pids[who] = pid;
    }
}

/// True when the pair is over; says what was wrong.
static bool end_pair(struct pair *p, long *failures) {
    if (!p->killed) {
        if (!p->up[PEER] || !p->up[VICTIM] || (p->has_sharer && !p->sharer)) return false;
        if (p->kill_at == 0) p->kill_at = now_ns() + p->kill_after;
        if (now_ns() < p->kill_at) return false;
        end_process(p->pids[VICTIM]);
        p->killed = true;
        p->give_up_at = now_ms() + 2 * LIMIT_MS;
    }
    for (int i = 0; i < 2; i++) {
        pid_t pid = i == 0 ? p->pids[PEER] : p->sharer;
        int status = pid ? wait_for(pid, 0) : 0;
        if (status == -1 && now_ms() < p->give_up_at) return false;
        if (status == -1) {
            if (!p->problem[0])
                snprintf(p->problem, sizeof p->problem, "the %s hangs; victim %ld of %ld, sharer %ld of %ld, peer sent %ld, asleep: %c, %c", i ? "sharer" : "peer",
                    p->got[VICTIM], p->sent[VICTIM], p->got[SHARER], p->sent[SHARER], p->sent[PEER], process_state(p->pids[PEER]), p->sharer ? process_state(p->sharer) : '-');
            end_process(pid);
        } else if (status != 0 && !p->problem[0]) snprintf(p->problem, sizeof p->problem, "the %s ended with status %#x", i ? "sharer" : "peer", status);
        if (i == 0) p->pids[PEER] = 0;
        else p->sharer = 0;
    }
    long got = p->got[VICTIM];
    if (!p->problem[0] && got > p->most[VICTIM]) snprintf(p->problem, sizeof p->problem, "%ld bytes came of at most %ld", got, p->most[VICTIM]);
    if (!p->problem[0] && !p->reset && got < p->sent[VICTIM]) snprintf(p->problem, sizeof p->problem, "%ld bytes came of %ld", got, p->sent[VICTIM]);
    if (!p->problem[0] && p->has_sharer && p->got[SHARER] != SHARERS_BYTES) snprintf(p->problem, sizeof p->problem, "%ld bytes of the sharer came", p->got[SHARER]);
    if (p->problem[0]) {
        ++*failures;
        not_ok("%s, victim %s%s: %s", style_names[p->style], p->victim_connects ? "connects" : "accepts", p->has_sharer ? ", with a sharer" : "", p->problem);
    }
    return true;
}

int main(int n, char **words) {
    long kills = 100, started = 0, over = 0, failures = 0, resets = 0, shared = 0;
    uint64_t random = 1;
    for (int i = 1; i + 1 < n; i += 2) {
        if (!strcmp(words[i], "--kills")) kills = atol(words[i + 1]);
        else if (!strcmp(words[i], "--seed")) random = strtoull(words[i + 1], NULL, 0);
        else if (!strcmp(words[i], "--within")) within_ms = atol(words[i + 1]);
        else if (!strcmp(words[i], "--style")) {
            for (only = 0; only < STYLES && strcmp(style_names[only], words[i + 1]);) only++;
        } else die("usage: kills [--kills N] [--seed N] [--within MS] [--style NAME]");
    }
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    bool own = own_network();
    make_streams();
    pairs = shared_memory(SLOTS * sizeof *pairs);
    bool busy[SLOTS] = {false};
    printf("kills: seed %llu\n", (unsigned long long)random);
    fflush(stdout);
    while (over < kills && failures < 10) {
        for (int i = 0; i < SLOTS; i++) {
            if (!busy[i] && started < kills) {
                start_pair(&pairs[i], &random);
                busy[i] = true;
                started++;
            } else if (busy[i] && end_pair(&pairs[i], &failures)) {
                busy[i] = false;
                over++;
                resets += pairs[i].reset;
                shared += pairs[i].has_sharer;
            }
        }
        breathe();
    }
    for (int i = 0; i < SLOTS; i++)
        if (busy[i])
            for (int who = 0; who < 2; who++) end_process(pairs[i].pids[who]);
    if (failures == 0) ok("%ld random kills under load: %ld resets, %ld with a sharer", over, resets, shared);
    if (failures == 0 && waitpid(-1, NULL, WNOHANG) >= 0) not_ok("a process stays behind");
    if (own && open_names() > 0) not_ok("%d names stay behind", open_names());
    return finish();
}
