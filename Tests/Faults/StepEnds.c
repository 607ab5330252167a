// The programs of peer, victim and sharer, and what they check.
#include "Steps.h"

enum { LAST_WORDS = 500 };

void round_problem(struct round *r, enum who me, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(r->problem[me], sizeof r->problem[me], format, arguments);
    va_end(arguments);
    raw_call(231 /* exit_group: nothing of ours shall be tidied */, 1, 0, 0, 0, 0);
    __builtin_unreachable();
}

static void tell_ready(struct round *r, enum who me) {
    char c = "pvs"[me];
    if (write(r->ready[1], &c, 1) != 1) round_problem(r, me, "ready: %s", strerror(errno));
}
static void await_go(struct round *r, enum who me) {
    char c;
    ssize_t n;
    while ((n = read(r->go[me][0], &c, 1)) < 0 && errno == EINTR) {}
    if (n != 1) round_problem(r, me, "the driver is gone");
}

/// The streams, made before so that a call under test has few instructions of ours. Victim's bytes have the high bit clear
/// and sharer's have it set, so that one reader can tell them apart.
enum { LONGEST = 1 << 15 };
static uint8_t streams[EVERYONE][LONGEST];
void make_streams(void) {
    for (int who = 0; who < EVERYONE; who++)
        for (long i = 0; i < LONGEST; i++) {
            uint8_t b = stream_byte((uint64_t)who, (uint64_t)i);
            streams[who][i] = who == PEER ? b : who == VICTIM ? b & 0x7f : b | 0x80;
        }
}

bool send_next(struct round *r, enum who me, int fd, long n) {
    long first = r->sent[me];
    if (me == VICTIM && r->most < first + n) r->most = first + n;
    bool sent = send_all(fd, streams[me] + first, (size_t)n);
    if (sent) r->sent[me] = first + n;
    return sent;
}

void victim_reads(struct round *r, int fd, long n) {
    static uint8_t bytes[6000];
    if (!recv_all(fd, bytes, (size_t)n)) round_problem(r, VICTIM, "recv: %s", errno ? strerror(errno) : "end of stream");
    if (memcmp(bytes, streams[PEER] + r->read_by_victim, (size_t)n)) round_problem(r, VICTIM, "bytes from %ld on are wrong", r->read_by_victim);
    r->read_by_victim += n;
}

// MARK: peer

static void check(struct round *r, const uint8_t *bytes, long n) {
    for (long i = 0; i < n; i++) {
        enum who who = bytes[i] & 0x80 ? SHARER : VICTIM;
        if (who == SHARER && !r->has_sharer) round_problem(r, PEER, "byte %ld is nobody's", r->got[VICTIM] + i);
        if (r->got[who] >= LONGEST || bytes[i] != streams[who][r->got[who]]) round_problem(r, PEER, "byte %ld of the %s is wrong", r->got[who], who == VICTIM ? "victim" : "sharer");
        r->got[who]++;
    }
}

/// Reads what comes; 0 at the end, or the error.
static int read_to_end(struct round *r, int fd) {
    uint8_t bytes[4096];
    for (;;) {
        ssize_t n = recv(fd, bytes, sizeof bytes, 0);
        if (n > 0) check(r, bytes, n);
        if (n == 0) return 0;
        if (n < 0 && errno != EINTR) return errno;
    }
}

/// Warm, the peer's part: a message each way, which must travel by ring.
static void warm_peer(struct round *r, int fd) {
    uint8_t bytes[8];
    for (int i = 0; i < 2; i++) {
        if (!send_next(r, PEER, fd, 8)) round_problem(r, PEER, "warming up: %s", strerror(errno));
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (poll(&p, 1, LIMIT_MS) != 1) round_problem(r, PEER, "warming up: nothing came");
        if (i == 1 && kernel_unread(fd) != 0) r->no_lane = true;
        if (!recv_all(fd, bytes, 8)) round_problem(r, PEER, "warming up: %s", strerror(errno));
        check(r, bytes, 8);
    }
}
static void warm_victim(struct round *r, int fd) {
    for (int i = 0; i < 2; i++) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (poll(&p, 1, LIMIT_MS) != 1) round_problem(r, VICTIM, "warming up: nothing came");
        if (i == 1 && kernel_unread(fd) != 0) r->no_lane = true;
        victim_reads(r, fd, 8);
        if (!send_next(r, VICTIM, fd, 8)) round_problem(r, VICTIM, "warming up: %s", strerror(errno));
    }
}

static void while_it_runs(struct round *r, int fd) {
    uint8_t bytes[8];
    switch (r->path->during) {
        case IDLE:
        case DRAINING: // reads from then on
            await_go(r, PEER);
            break;
        case LISTENING: break;
        case FEEDING: // an error is for the end to tell
            send_next(r, PEER, fd, 6000);
            break;
        case ANSWERING:
            await_go(r, PEER);
            send_next(r, PEER, fd, 64);
            break;
        case ECHOING:
            while (r->got[VICTIM] < r->path->sends && recv_all(fd, bytes, 8)) {
                check(r, bytes, 8);
                if (!send_next(r, PEER, fd, 8)) break;
            }
            break;
    }
}

/// After the end of the other side (which may be a moment away) sending fails, and with no other error than the kernel's.
static void probe_end(struct round *r, int fd) {
    for (int64_t end = now_ms() + LIMIT_MS / 2; now_ms() < end; breathe()) {
        if (send(fd, "x", 1, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0) continue;
        if (errno != EPIPE && errno != ECONNRESET) round_problem(r, PEER, "send after the end: %s", strerror(errno));
        return;
    }
    round_problem(r, PEER, "sends after the end go on to succeed");
}

static void check_end(struct round *r, int error, bool killed, bool shared) {
    enum ending ending = r->path->ending;
    if (error != 0 && error != ECONNRESET && error != EPIPE) round_problem(r, PEER, "ended with %s", strerror(error));
    if (killed && !shared) {
        if (ending == ORDERLY && error != 0) round_problem(r, PEER, "ended with %s", strerror(error));
        if (ending == RESET && error == 0) round_problem(r, PEER, "ended in order, but bytes were unread");
    }
    if (shared && error != 0 && !r->path->shuts) round_problem(r, PEER, "a sharer was there: ended with %s", strerror(error));
}

void be_peer(struct round *r) {
    int fd = -1, listener = -1, port = 0;
    r->stage[PEER] = 1;
    if (r->victim_connects) {
        listener = listen_here(&port);
        r->port = port;
        fd = accept_one(listener);
        close(listener);
    } else {
        for (int64_t end = now_ms() + LIMIT_MS; !r->port && now_ms() < end;) breathe();
        fd = connect_to(r->port);
    }
    r->stage[PEER] = 2;
    if (r->path->warm) warm_peer(r, fd);
    if (r->path->before_peer) r->path->before_peer(r, fd);
    tell_ready(r, PEER);
    r->stage[PEER] = 3;
    while_it_runs(r, fd);
    r->stage[PEER] = 4;
    bool killed = r->mode == KILL, alone = killed ? !r->has_sharer : r->path->ends && !r->has_sharer;
    int error = 0;
    if (alone) {
        error = read_to_end(r, fd);
        r->stage[PEER] = 5;
        check_end(r, error, killed, false);
        probe_end(r, fd);
    } else {
        if (!send_next(r, PEER, fd, LAST_WORDS)) round_problem(r, PEER, "last words: %s", strerror(errno));
        shutdown(fd, SHUT_WR);
        r->stage[PEER] = 6;
        error = read_to_end(r, fd);
        check_end(r, error, killed, true);
    }
    r->stage[PEER] = 7;
    close(fd);
    exit(0);
}

// MARK: victim and sharer

/// Reads the rest of the peer's stream to its end, knowing only where it ends.
static void read_rest(struct round *r, enum who me, int fd, long most) {
    static uint8_t bytes[20000];
    long n = 0;
    for (;;) {
        ssize_t k = recv(fd, bytes + n, sizeof bytes - (size_t)n, 0);
        if (k < 0 && errno == EINTR) continue;
        if (k < 0) round_problem(r, me, "the rest: %s", strerror(errno));
        if (k == 0) break;
        n += k;
    }
    long first = r->sent[PEER] - n;
    // The call under test may have taken bytes without having told of it.
    if (first < r->read_by_victim || first > r->read_by_victim + most)
        round_problem(r, me, "the rest: %ld bytes, but %ld of %ld were read before", n, r->read_by_victim, r->sent[PEER]);
    for (long i = 0; i < n; i++)
        if (bytes[i] != streams[PEER][first + i]) round_problem(r, me, "the rest: byte %ld is wrong", first + i);
}

static void be_sharer(struct round *r, int fd) {
    prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0);
    alarm(60);
    r->sharer = getpid();
    tell_ready(r, SHARER);
    await_go(r, SHARER);
    r->stage[SHARER] = 1;
    if (!send_next(r, SHARER, fd, 500)) {
        if (!r->path->shuts || errno != EPIPE) round_problem(r, SHARER, "send: %s", strerror(errno));
        r->broken_pipe = true;
    }
    // A victim that was only stopped has the first right to the bytes.
    if (r->mode != KILL) await_go(r, SHARER);
    r->stage[SHARER] = 2;
    read_rest(r, SHARER, fd, r->mode == KILL ? 3000 : 0);
    r->stage[SHARER] = 3;
    if (!r->broken_pipe && !send_next(r, SHARER, fd, 100) && !(r->path->shuts && errno == EPIPE))
        round_problem(r, SHARER, "second send: %s", strerror(errno));
    close(fd);
    exit(0);
}

/// The call between two breakpoints. Not inlined: its end has a name.
__attribute__((noinline, noclone)) static void window(struct round *r, int fd) {
    __asm__ volatile("int3" ::: "memory");
    r->path->call(r, fd);
    r->call_over = true;
    if (r->untraced) return;
    __asm__ volatile(".globl step_window_end\nstep_window_end: int3" ::: "memory");
}

void be_victim(struct round *r) {
    int fd = -1, port = 0;
    r->stage[VICTIM] = 1;
    if (!r->victim_connects) {
        int listener = listen_here(&port);
        r->port = port;
        fd = accept_one(listener);
        close(listener);
    } else {
        for (int64_t end = now_ms() + LIMIT_MS; !r->port && now_ms() < end;) breathe();
        fd = connect_to(r->port);
    }
    r->stage[VICTIM] = 2;
    if (r->path->warm) warm_victim(r, fd);
    if (r->path->before) r->path->before(r, fd);
    if (r->has_sharer && fork() == 0) be_sharer(r, fd);
    raw_call(101 /* ptrace */, 0 /* PTRACE_TRACEME */, 0, 0, 0, 0);
    tell_ready(r, VICTIM);
    await_go(r, VICTIM);
    r->stage[VICTIM] = 3;
    window(r, fd);
    r->stage[VICTIM] = 4;
    if (r->has_sharer || r->path->ends) exit(0);
    if (!send_next(r, VICTIM, fd, 100)) round_problem(r, VICTIM, "send after the call: %s", strerror(errno));
    read_rest(r, VICTIM, fd, 0);
    if (!send_next(r, VICTIM, fd, 100)) round_problem(r, VICTIM, "second send after the call: %s", strerror(errno));
    close(fd);
    exit(0);
}
