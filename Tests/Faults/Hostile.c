// A hostile peer of another user: EF_SHARE_WITH lets it have a lane with a victim that serves others, too. It writes what it
// likes into the memory that the two share, floods and breaks the control channel, or speaks the protocol itself. The
// others must get their bytes, and in time; nothing may kill the victim or keep it busy; the attacked connection alone ends.
// usage: hostile [SLUICESTAT]
#include "Hostile.h"
#include <pthread.h>
#include <sys/epoll.h>

struct state *s;

void problem(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    if (!s->problem[0]) vsnprintf(s->problem, sizeof s->problem, format, arguments);
    va_end(arguments);
    _exit(1);
}

// MARK: the victim

enum { KEPT = 24 };
static int kept[KEPT], kept_count;

/// An attacked connection has ended: its number stays open for a while, so that its reason can be asked for.
static void keep_ended(int fd) {
    s->ended++;
    s->ended_fd = fd;
    if (kept_count == KEPT) {
        close(kept[0]);
        memmove(kept, kept + 1, sizeof kept - sizeof *kept);
        kept_count--;
    }
    kept[kept_count++] = fd;
}

/// Sends back what comes. False: the connection is over.
static bool serve(int fd, int flags) {
    static __thread uint8_t bytes[1 << 16];
    ssize_t n = recv(fd, bytes, sizeof bytes, flags);
    if (n < 0) return errno == EAGAIN || errno == EINTR;
    if (n == 0) return false;
    s->served++;
    // A good one has never more under way than fits; of a bad one the rest is left out.
    return send(fd, bytes, (size_t)n, flags | MSG_NOSIGNAL) >= 0 || errno == EAGAIN || errno == EINTR;
}

static void *block_on(void *argument) {
    int fd = (int)(long)argument;
    struct timeval t = {.tv_usec = 200000};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof t);
    while (!s->over && serve(fd, 0)) {}
    shutdown(fd, SHUT_RDWR);
    close(fd);
    s->ended++;
    return NULL;
}

static void watch(int set, int fd) {
    struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};
    if (s->blocking && fd != s->listener) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, block_on, (void *)(long)fd) == 0) pthread_detach(thread);
    } else if (epoll_ctl(set, EPOLL_CTL_ADD, fd, &e) < 0) problem("epoll_ctl: %s", strerror(errno));
}

void victim(void) {
    struct epoll_event events[16];
    int set = epoll_create1(EPOLL_CLOEXEC), port = 0;
    s->listener = listen_here(&port);
    watch(set, s->listener);
    s->port = port;
    while (!s->over) {
        if (s->attack_port && s->wanted > s->dialled) {
            s->dialled++;
            int fd = socket(AF_INET, SOCK_STREAM, 0);
            struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)s->attack_port)};
            if (connect(fd, (struct sockaddr *)&a, sizeof a) == 0) {
                send(fd, "H", 1, MSG_NOSIGNAL);
                watch(set, fd);
            } else close(fd);
        }
        int n = epoll_wait(set, events, 16, 20);
        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;
            if (fd == s->listener) {
                fd = accept(fd, NULL, NULL);
                if (fd >= 0) watch(set, fd);
            } else if (!serve(fd, MSG_DONTWAIT)) {
                epoll_ctl(set, EPOLL_CTL_DEL, fd, NULL);
                keep_ended(fd);
            }
        }
    }
    exit(0);
}

// MARK: the others

void good_client(int index) {
    uint8_t out[GOOD_BYTES], in[GOOD_BYTES];
    while (!s->port) breathe();
    int fd = connect_to(s->port);
    for (uint64_t i = 0; !s->over; i++) {
        if (s->paused) {
            breathe();
            continue;
        }
        for (int k = 0; k < GOOD_BYTES; k++) out[k] = stream_byte((uint64_t)index, i * GOOD_BYTES + (uint64_t)k);
        int64_t began = now_ns();
        bool is_sent = send_all(fd, out, sizeof out), is_there = is_sent && recv_all(fd, in, sizeof in);
        if (s->over) exit(0);
        if (!is_there) problem("client %d %s: %s", index, is_sent ? "receives" : "sends", errno ? strerror(errno) : "end of stream");
        if (memcmp(in, out, sizeof in)) problem("client %d: message %lu is wrong", index, (unsigned long)i);
        int64_t us = (now_ns() - began) / 1000;
        s->times[index][us < TIMES ? us / 1000 : TIMES / 1000 - 1]++;
        s->rounds[index]++;
        if (i % 64 == 63) breathe();
    }
    exit(0);
}

// MARK: rounds

static int64_t cpu_ns(pid_t pid) {
    struct timespec t;
    clockid_t clock = (~(clockid_t)pid << 3) | 2;
    return clock_gettime(clock, &t) == 0 ? t.tv_sec * 1000000000ll + t.tv_nsec : 0;
}

/// The 99th percentile of the good clients' round trips, in ms.
static int p99(void) {
    long all = 0, seen = 0;
    for (int c = 0; c < GOOD; c++)
        for (int i = 0; i < TIMES / 1000; i++) all += s->times[c][i];
    for (int i = 0; i < TIMES / 1000; i++) {
        for (int c = 0; c < GOOD; c++) seen += s->times[c][i];
        if (seen * 100 >= all * 99) return i;
    }
    return TIMES;
}

static void rest_ms(int ms) {
    for (int64_t end = now_ms() + ms; now_ms() < end && !s->problem[0];) breathe();
}

/// What sluicestat says of an attacked connection that has ended.
static bool tells_reason(const char *stat_tool, pid_t victim_pid, char *said, size_t room) {
    static char text[1 << 20];
    char command[300];
    snprintf(command, sizeof command, "env -u LD_PRELOAD %s why %d", stat_tool, (int)victim_pid);
    FILE *f = popen(command, "r");
    size_t n = f ? fread(text, 1, sizeof text - 1, f) : 0;
    text[n] = 0;
    if (f) pclose(f);
    if (!strstr(text, "damaged")) return false;
    snprintf(said, room, "damaged");
    return true;
}

static void play(const struct attack *attack, bool serves, bool blocking, int *baseline, const char *stat_tool) {
    pid_t pids[2 + GOOD];
    char said[100] = "";
    bool is_damaged = false;
    memset(s, 0, sizeof *s);
    s->blocking = blocking;
    for (int i = 0; i < 2 + GOOD; i++) {
        if ((pids[i] = fork()) < 0) die("fork");
        if (pids[i]) continue;
        prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
        alarm(60);
        if (i == 0) victim();
        if (i == 1) hostile(attack, serves);
        good_client(i - 2);
    }
    int64_t end = now_ms() + 2 * LIMIT_MS;
    // Until everybody works, and the attack has found what it attacks.
    while (now_ms() < end && !s->problem[0]) {
        bool all = s->armed || !attack->act;
        for (int c = 0; c < GOOD; c++) all = all && s->rounds[c] > 200;
        if (all) break;
        breathe();
    }
    memset((void *)s->times, 0, sizeof s->times);
    s->attacks = true;
    rest_ms(attack->act ? 600 : 400);
    int reached = p99();
    // The words stay as they are; nobody asks for anything: what is the victim busy with?
    s->quiet = s->paused = true;
    rest_ms(50);
    int64_t before = cpu_ns(pids[0]);
    rest_ms(300);
    long idle = (long)((cpu_ns(pids[0]) - before) / 1000000);
    if (attack->damages && !blocking && stat_tool) is_damaged = tells_reason(stat_tool, pids[0], said, sizeof said);
    s->paused = false;
    long rounds = 0, after = 0;
    for (int c = 0; c < GOOD; c++) rounds += s->rounds[c];
    for (int64_t limit = now_ms() + LIMIT_MS; now_ms() < limit && after <= rounds + 100;) {
        breathe();
        after = 0;
        for (int c = 0; c < GOOD; c++) after += s->rounds[c];
    }
    s->over = true;
    int status = wait_for(pids[0], 2 * LIMIT_MS), bad = 0;
    if (status < 0) end_process(pids[0]);
    for (int i = 2; i < 2 + GOOD; i++) {
        int end_status = wait_for(pids[i], LIMIT_MS);
        if (end_status < 0) end_process(pids[i]);
        bad |= end_status;
    }
    if (wait_for(pids[1], 100) < 0) end_process(pids[1]);
    char name[160];
    snprintf(name, sizeof name, "%s, %s, the attacker %s", attack->name, blocking ? "threads" : "epoll", serves ? "connects" : "accepts");
    if (!attack->act) *baseline = reached;
    int most = 100 + 10 * *baseline;
    if (s->problem[0]) not_ok("%s: %s", name, s->problem);
    else if (status) not_ok("%s: the victim ended with %#x", name, status);
    else if (bad) not_ok("%s: a good client ended with %#x", name, bad);
    else if (attack->act && !s->armed && is_preloaded()) not_ok("%s: the attack found nothing to attack", name);
    else if (after <= rounds + 100) not_ok("%s: the others stand still", name);
    else if (reached > most) not_ok("%s: the others' p99 is %d ms, %d without attack", name, reached, *baseline);
    else if (idle > 150) not_ok("%s: %ld ms of CPU in 300 ms without work", name, idle);
    else if (attack->damages && !blocking && stat_tool && is_preloaded() && !is_damaged) not_ok("%s: no reason shown (%d ended)", name, s->ended);
    else ok("%s: p99 %d ms, %ld attacks, %d ended, idle %ld ms %s", name, reached, s->count, s->ended, idle, said);
}

int main(int count, char **arguments) {
    int baseline = 0;
    s = shared_memory(sizeof *s);
    signal(SIGPIPE, SIG_IGN);
    if (geteuid() != 0 || !own_network()) {
        skip("a hostile peer", "needs root");
        return finish();
    }
    for (const struct attack *a = attacks; a->name; a++) {
        if (a->needs_lane && !is_preloaded()) continue;
        play(a, false, false, &baseline, count > 1 ? arguments[1] : NULL);
        if (!a->act || a->alone) continue;
        play(a, true, false, &baseline, count > 1 ? arguments[1] : NULL);
        play(a, false, true, &baseline, NULL);
    }
    return finish();
}
