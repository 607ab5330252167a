// The programs of peer, victim, neighbour and successor, and what they check.
#include "DatagramSteps.h"

const char *const third = "with a neighbour";
enum { MOST = 200, ROUND_TRIPS = 10, LAST_WORDS = 2, WARM_TURNS = 60 };

void round_problem(struct round *r, enum who me, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(r->problem[me], sizeof r->problem[me], format, arguments);
    va_end(arguments);
    raw_call(231 /* exit_group: nothing of ours shall be tidied */, 1, 0, 0, 0, 0);
    __builtin_unreachable();
}

static void tell_ready(struct round *r, enum who me) {
    if (write(r->ready[1], "r", 1) != 1) round_problem(r, me, "ready: %s", strerror(errno));
}
static void await_go(struct round *r, enum who me, int from) {
    char c;
    ssize_t n;
    while ((n = read(from, &c, 1)) < 0 && errno == EINTR) {}
    if (n != 1) round_problem(r, me, "the driver is gone");
}

/// Made before, so that a call under test has few instructions of ours.
static struct datagram {
    uint8_t who, number;
    uint8_t bytes[LARGE - 2];
} datagrams[EVERYONE][MOST];
void make_streams(void) {
    for (int who = 0; who < EVERYONE; who++)
        for (int k = 0; k < MOST; k++) {
            struct datagram *d = &datagrams[who][k];
            d->who = (uint8_t)who, d->number = (uint8_t)k;
            for (size_t i = 0; i < sizeof d->bytes; i++) d->bytes[i] = stream_byte((uint64_t)(who * MOST + k), i);
        }
}

// MARK: sockets

static struct sockaddr_in address_of(int port) {
    return (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)port)};
}
static int bound(struct round *r, enum who me, int port) {
    struct sockaddr_in a = address_of(port);
    int s = socket(AF_INET, SOCK_DGRAM, 0);
    if (s < 0) round_problem(r, me, "socket: %s", strerror(errno));
    if (bind(s, (struct sockaddr *)&a, sizeof a) == 0) return s;
    close(s);
    return -1;
}
static int own_port(int fd) {
    struct sockaddr_in a;
    socklen_t n = sizeof a;
    return getsockname(fd, (struct sockaddr *)&a, &n) < 0 ? 0 : ntohs(a.sin_port);
}
static void connect_socket(struct round *r, enum who me, int fd, int port) {
    struct sockaddr_in a = address_of(port);
    if (connect(fd, (struct sockaddr *)&a, sizeof a) < 0) round_problem(r, me, "connect: %s", strerror(errno));
}
/// Who has a neighbour must not connect its socket; then the victim does not either, and both send by address.
static bool is_connected(const struct round *r) { return !r->has_sharer; }

bool send_one(struct round *r, enum who me, int fd, size_t bytes) {
    long number = r->sent[me];
    ssize_t n;
    if (number >= MOST) round_problem(r, me, "too many datagrams");
    if (me == VICTIM && r->most < number + 1) r->most = number + 1;
    if (is_connected(r) || me > VICTIM) n = send(fd, &datagrams[me][number], bytes, 0);
    else {
        struct sockaddr_in to = address_of(me == PEER ? r->victim_port : r->port);
        n = sendto(fd, &datagrams[me][number], bytes, 0, (struct sockaddr *)&to, sizeof to);
    }
    if (n < 0) return false;
    if (n != (ssize_t)bytes) round_problem(r, me, "send returned %zd", n);
    r->sent[me] = number + 1;
    return true;
}

/// Receives one datagram, from one of them; checks all but its number. Its sender, or EVERYONE with errno.
static enum who take(struct round *r, enum who me, int fd, int flags, struct datagram *d, ssize_t *bytes) {
    struct sockaddr_in from = {0};
    socklen_t length = sizeof from;
    do *bytes = recvfrom(fd, d, sizeof *d, flags, (struct sockaddr *)&from, &length);
    while (*bytes < 0 && errno == EINTR);
    if (*bytes < 0) return EVERYONE;
    if (*bytes != SMALL && *bytes != MIDDLE && *bytes != LARGE) round_problem(r, me, "%zd bytes came", *bytes);
    if (d->who >= EVERYONE || d->number >= MOST || memcmp(d, &datagrams[d->who][d->number], (size_t)*bytes))
        round_problem(r, me, "a datagram (who %d, number %d) is damaged", d->who, d->number);
    int port = ntohs(from.sin_port);
    int expected = me != PEER ? r->port : d->who == SHARER ? r->neighbour_port : r->victim_port;
    if (length != sizeof from || port != expected)
        round_problem(r, me, "a datagram (who %d, number %d) came from port %d", d->who, d->number, port);
    return d->who;
}

bool victim_takes(struct round *r, int fd, int flags) {
    struct datagram d;
    ssize_t n;
    enum who who = take(r, VICTIM, fd, flags, &d, &n);
    if (who == EVERYONE && errno == EAGAIN) return false;
    if (who == EVERYONE) round_problem(r, VICTIM, "recv: %s", strerror(errno));
    if (who != PEER || d.number != r->read_by_victim) round_problem(r, VICTIM, "number %d came (who %d), not %ld", d.number, who, r->read_by_victim);
    r->read_by_victim++;
    return true;
}

void await_sent(struct round *r, enum who me, enum who who, long n) {
    for (int64_t end = now_ms() + LIMIT_MS; r->sent[who] < n; breathe())
        if (now_ms() > end) round_problem(r, me, "number %ld was not sent", n - 1);
}

// MARK: peer

/// What the peer's checks need of one that has come.
static void note(struct round *r, enum who who, const struct datagram *d) {
    if (who == PEER) round_problem(r, PEER, "its own datagram came back");
    if (d->number != r->got[who]) round_problem(r, PEER, "number %d of %d came, not %ld", d->number, who, r->got[who]);
    r->got[who]++;
}

/// One datagram; those of neighbour and successor are answered. Its sender, or EVERYONE: it would block, or was told of a refusal.
static enum who serve_one(struct round *r, int fd, int flags) {
    struct datagram d;
    ssize_t n;
    enum who who = take(r, PEER, fd, flags, &d, &n);
    if (who == EVERYONE) {
        bool may_be_refused = is_connected(r) && (r->mode == KILL || r->path->ends);
        if (errno != EAGAIN && !(errno == ECONNREFUSED && may_be_refused)) round_problem(r, PEER, "recv: %s", strerror(errno));
        return who;
    }
    note(r, who, &d);
    if (who != SHARER && who != SUCCESSOR) return who;
    struct sockaddr_in to = address_of(who == SHARER ? r->neighbour_port : r->victim_port);
    ssize_t sent = -1;
    // A refusal that is still to be told is told once.
    for (int i = 0; i < 3 && sent < 0; i++)
        sent = is_connected(r) ? send(fd, &d, (size_t)n, 0) : sendto(fd, &d, (size_t)n, 0, (struct sockaddr *)&to, sizeof to);
    if (sent != n) round_problem(r, PEER, "answer: %s", strerror(errno));
    return who;
}

/// Exchanges datagrams without sleeping until both ways go by the ring.
static void warm_peer(struct round *r, int fd) {
    bool by_ring = is_preloaded();
    for (int turn = 0; turn < (by_ring ? WARM_TURNS : 2) && !(by_ring && r->warm[PEER] > 1 && r->warm[VICTIM] > 1); turn++) {
        if (!send_one(r, PEER, fd, SMALL)) round_problem(r, PEER, "warming up: %s", strerror(errno));
        await_sent(r, PEER, VICTIM, r->got[VICTIM] + 1);
        r->warm[PEER] = kernel_unread(fd) == 0 ? r->warm[PEER] + 1 : 0;
        while (serve_one(r, fd, MSG_DONTWAIT) != VICTIM) breathe();
        serve_one(r, fd, MSG_DONTWAIT);
    }
    if (r->warm[PEER] < 2 || r->warm[VICTIM] < 2) r->no_lane = true;
    r->warmed = true;
}
static void warm_victim(struct round *r, int fd) {
    for (int64_t end = now_ms() + LIMIT_MS; !r->warmed; breathe()) {
        if (now_ms() > end) round_problem(r, VICTIM, "warming up takes too long");
        if (r->sent[PEER] <= r->read_by_victim) continue;
        r->warm[VICTIM] = kernel_unread(fd) == 0 ? r->warm[VICTIM] + 1 : 0;
        while (!victim_takes(r, fd, MSG_DONTWAIT)) breathe();
        victim_takes(r, fd, MSG_DONTWAIT);
        if (!send_one(r, VICTIM, fd, SMALL)) round_problem(r, VICTIM, "warming up: %s", strerror(errno));
    }
}

/// Nobody is there any more: the kernel refuses what is sent, and a request with it.
static void probe_refusal(struct round *r, int fd, bool by_request) {
    char c[LARGE];
    struct timeval limit = {.tv_sec = LIMIT_MS / 1000};
    if (by_request) {
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
        send(fd, &datagrams[PEER][MOST - 1], SMALL, 0);
        ssize_t n = recv(fd, c, sizeof c, 0);
        if (n >= 0 || errno != ECONNREFUSED) round_problem(r, PEER, "a request to a dead process: recv %zd, %s", n, strerror(errno));
        limit.tv_sec = 0;
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    }
    for (int64_t end = now_ms() + LIMIT_MS; now_ms() < end; breathe()) {
        if (send(fd, &datagrams[PEER][MOST - 1], SMALL, 0) >= 0) continue;
        if (errno != ECONNREFUSED) round_problem(r, PEER, "send after the end: %s", strerror(errno));
        return;
    }
    round_problem(r, PEER, "sends after the end go on to succeed");
}

/// What comes after the cut. The victim has ended, or goes on and says how much it has sent.
static void go_on(struct round *r, int fd, int successor_go, bool ended, bool probes) {
    bool killed = r->mode == KILL;
    // Who answered one that slept may be here before the cut.
    for (int64_t end = now_ms() + LIMIT_MS; ended && probes && !r->cut_off && now_ms() < end;) breathe();
    if (ended && probes) {
        while (r->got[VICTIM] < r->sent[VICTIM]) serve_one(r, fd, 0);
        if (killed)
            while (serve_one(r, fd, MSG_DONTWAIT) != EVERYONE) {}
        r->stage[PEER] = 5;
        if (is_connected(r)) probe_refusal(r, fd, killed);
        else if (!send_one(r, PEER, fd, SMALL)) round_problem(r, PEER, "send after the end: %s", strerror(errno));
        if (write(successor_go, "g", 1) != 1) round_problem(r, PEER, "go: %s", strerror(errno));
    }
    r->stage[PEER] = 6;
    if (!ended) {
        r->last[PEER] = r->sent[PEER] + LAST_WORDS;
        for (int i = 0; i < LAST_WORDS; i++)
            if (!send_one(r, PEER, fd, SMALL)) round_problem(r, PEER, "last words: %s", strerror(errno));
    }
    for (;;) {
        bool over = ended ? r->got[SUCCESSOR] == ROUND_TRIPS && r->got[VICTIM] >= r->sent[VICTIM] : r->last[VICTIM] && r->got[VICTIM] == r->last[VICTIM];
        if (over && (!r->has_sharer || r->got[SHARER] == 2 * ROUND_TRIPS)) break;
        serve_one(r, fd, 0);
    }
    r->stage[PEER] = 7;
}

static void while_it_runs(struct round *r, int fd) {
    switch (r->path->during) {
        case ANSWERING:
            await_go(r, PEER, r->go[PEER][0]);
            send_one(r, PEER, fd, SMALL);
            break;
        case LISTENING: // who succeeds the victim wakes it
            while (r->got[VICTIM] < r->path->sends + r->before[VICTIM] && r->got[SUCCESSOR] == 0) serve_one(r, fd, 0);
            break;
        case ECHOING:
            while (r->got[VICTIM] < r->path->sends + r->before[VICTIM] && r->got[SUCCESSOR] == 0)
                if (serve_one(r, fd, 0) == VICTIM && !send_one(r, PEER, fd, SMALL) && errno != ECONNREFUSED) round_problem(r, PEER, "send: %s", strerror(errno));
            break;
        default:
            await_go(r, PEER, r->go[PEER][0]);
            if (r->path->then_peer) r->path->then_peer(r, fd);
    }
}

// MARK: neighbour and successor

/// Sends datagrams and waits for the answer to each; what came for the victim is not for it.
static void round_trips(struct round *r, enum who me, int fd) {
    struct datagram d;
    ssize_t n;
    for (int i = 0; i < ROUND_TRIPS; i++) {
        if (!send_one(r, me, fd, SMALL)) round_problem(r, me, "send: %s", strerror(errno));
        enum who who;
        while ((who = take(r, me, fd, 0, &d, &n)) == PEER && me == SUCCESSOR) {}
        if (who == EVERYONE) round_problem(r, me, "recv: %s", strerror(errno));
        if (who != me || d.number != r->sent[me] - 1) round_problem(r, me, "number %d of %d came for the answer to %ld", d.number, who, r->sent[me] - 1);
    }
}

static void be_neighbour(struct round *r) {
    alarm(60);
    r->sharer = getpid();
    for (int64_t end = now_ms() + LIMIT_MS; !r->port && now_ms() < end;) breathe();
    int fd = bound(r, SHARER, 0);
    r->neighbour_port = own_port(fd);
    connect_socket(r, SHARER, fd, r->port);
    round_trips(r, SHARER, fd);
    tell_ready(r, SHARER);
    await_go(r, SHARER, r->go[SHARER][0]);
    round_trips(r, SHARER, fd);
    exit(0);
}

static void be_successor(struct round *r, int go) {
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    alarm(60);
    await_go(r, SUCCESSOR, go);
    if (r->mode != KILL && !r->path->ends) exit(0);
    int fd = -1;
    for (int64_t end = now_ms() + LIMIT_MS; fd < 0 && now_ms() < end; breathe()) fd = bound(r, SUCCESSOR, r->victim_port);
    if (fd < 0) round_problem(r, SUCCESSOR, "the victim's address is not free");
    connect_socket(r, SUCCESSOR, fd, r->port);
    round_trips(r, SUCCESSOR, fd);
    exit(0);
}

void be_peer(struct round *r) {
    int successor_go[2], fd = -1;
    r->stage[PEER] = 1;
    if (pipe(successor_go) < 0) round_problem(r, PEER, "pipe: %s", strerror(errno));
    bool probes = r->path->during != LISTENING && r->path->during != ECHOING;
    pid_t successor = fork();
    if (successor == 0) be_successor(r, probes ? successor_go[0] : r->go[PEER][0]);
    if (r->has_sharer && fork() == 0) be_neighbour(r);
    fd = bound(r, PEER, 0);
    r->port = own_port(fd);
    while (r->has_sharer && r->got[SHARER] < ROUND_TRIPS) serve_one(r, fd, 0);
    r->stage[PEER] = 2;
    for (int64_t end = now_ms() + LIMIT_MS; !r->victim_port && now_ms() < end;) breathe();
    if (is_connected(r)) connect_socket(r, PEER, fd, r->victim_port);
    r->connected = true;
    if (r->path->warm) warm_peer(r, fd);
    if (r->path->before_peer) r->path->before_peer(r, fd);
    for (int64_t end = now_ms() + LIMIT_MS; !r->victim_ready && now_ms() < end;) breathe();
    tell_ready(r, PEER);
    r->stage[PEER] = 3;
    while_it_runs(r, fd);
    r->stage[PEER] = 4;
    bool ended = r->mode == KILL || r->path->ends;
    go_on(r, fd, successor_go[1], ended, probes);
    if (!ended && probes && write(successor_go[1], "g", 1) != 1) round_problem(r, PEER, "go: %s", strerror(errno));
    int status = wait_for(successor, LIMIT_MS);
    if (status != 0 && !r->problem[SUCCESSOR][0]) round_problem(r, PEER, "the successor ended with status %#x", status);
    r->stage[PEER] = 8;
    if (ended && is_connected(r)) probe_refusal(r, fd, true);
    close(fd);
    exit(0);
}

// MARK: victim

/// The call between two breakpoints. Not inlined: its end has a name.
__attribute__((noinline, noclone)) static void window(struct round *r, int fd) {
    __asm__ volatile("int3" ::: "memory");
    r->path->call(r, fd);
    r->call_over = true;
    if (r->untraced) return;
    __asm__ volatile(".globl step_window_end\nstep_window_end: int3" ::: "memory");
}

/// The end with the larger port is the connecting one.
static int victim_socket(struct round *r) {
    for (int step = 1; step < 2000; step++) {
        int port = r->victim_connects ? r->port + step : r->port - step;
        int fd = port > 1024 && port < 65536 ? bound(r, VICTIM, port) : -1;
        if (fd >= 0) return fd;
    }
    round_problem(r, VICTIM, "no port");
}

void be_victim(struct round *r) {
    r->stage[VICTIM] = 1;
    for (int64_t end = now_ms() + LIMIT_MS; !r->port && now_ms() < end;) breathe();
    int fd = victim_socket(r);
    if (is_connected(r)) connect_socket(r, VICTIM, fd, r->port);
    r->victim_port = own_port(fd);
    for (int64_t end = now_ms() + LIMIT_MS; !r->connected && now_ms() < end;) breathe();
    r->stage[VICTIM] = 2;
    if (r->path->warm) warm_victim(r, fd);
    if (r->path->before) r->path->before(r, fd);
    r->before[VICTIM] = r->sent[VICTIM];
    r->victim_ready = true;
    raw_call(101 /* ptrace */, 0 /* PTRACE_TRACEME */, 0, 0, 0, 0);
    tell_ready(r, VICTIM);
    await_go(r, VICTIM, r->go[VICTIM][0]);
    r->stage[VICTIM] = 3;
    window(r, fd);
    r->stage[VICTIM] = 4;
    if (r->path->ends) exit(0);
    r->last[VICTIM] = r->sent[VICTIM] + LAST_WORDS;
    for (int i = 0; i < LAST_WORDS; i++)
        if (!send_one(r, VICTIM, fd, SMALL)) round_problem(r, VICTIM, "send after the call: %s", strerror(errno));
    for (int64_t end = now_ms() + LIMIT_MS; !r->last[PEER] && now_ms() < end;) breathe();
    while (r->read_by_victim < r->last[PEER]) victim_takes(r, fd, 0);
    close(fd);
    exit(0);
}
