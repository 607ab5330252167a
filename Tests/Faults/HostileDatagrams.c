// A peer over UDP, of the same user, that writes what it likes into the memory that it shares with a victim: words of its flow and
// headers of datagrams. The victim answers others, too. They get their answers, each once and in order, all the time; nothing
// kills the victim, stops it, or keeps it busy when nobody sends.
// usage: hostile-datagrams [--turns N] [--seed N]
#include "Faults.h"
#include "CStackLayout.h"
#include <dirent.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/syscall.h>

enum { ATTACK_MS = 300, IDLE_MS = 200, BUSY_MS = 60, MORE = 200, SHOWN = 40, END = 1 << 30 };
enum style { RECV, POLL, EPOLL, STYLES };
static const char *const style_names[] = {"recv", "poll", "epoll"};

static struct state {
    volatile int port;
    volatile bool attacks, quiet, over;
    volatile long answered, blows, regions;
    char problem[200];
} *s;

static int udp(int port) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    if (fd < 0 || (port ? connect : bind)(fd, (struct sockaddr *)&a, sizeof a) < 0) problem("socket: %s", strerror(errno));
    return fd;
}

// MARK: victim

static void await(int fd, int set, enum style style) {
    struct pollfd p = {.fd = fd, .events = POLLIN};
    struct epoll_event e;
    if (style == POLL) poll(&p, 1, -1);
    if (style == EPOLL) epoll_wait(set, &e, 1, -1);
}

/// Answers each datagram; the word END ends it.
static void victim(enum style style) {
    static char bytes[65536];
    struct sockaddr_in a;
    socklen_t length = sizeof a;
    int fd = udp(0), set = epoll_create1(0);
    struct epoll_event e = {.events = EPOLLIN};
    getsockname(fd, (struct sockaddr *)&a, &length);
    epoll_ctl(set, EPOLL_CTL_ADD, fd, &e);
    s->port = ntohs(a.sin_port);
    for (;;) {
        await(fd, set, style);
        length = sizeof a;
        ssize_t n = recvfrom(fd, bytes, sizeof bytes, style == RECV ? 0 : MSG_DONTWAIT, (struct sockaddr *)&a, &length);
        if (n < 0 && errno != EAGAIN && errno != EINTR) problem("the victim's recvfrom: %s", strerror(errno));
        if (n < 0) continue;
        if (n == 4 && *(int *)bytes == END) break;
        if (sendto(fd, bytes, (size_t)n, 0, (struct sockaddr *)&a, length) != n) problem("the victim's sendto: %s", strerror(errno));
    }
    close(fd);
    exit(0);
}

// MARK: others

static void good(void) {
    int fd = udp(s->port);
    struct timeval limit = {.tv_sec = LIMIT_MS / 1000};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    for (uint64_t i = 0; !s->over; i++) {
        while (s->quiet && !s->over) breathe();
        uint64_t sent[8] = {i, stream_byte(1, i)}, got[64];
        if (send(fd, sent, sizeof sent, 0) != sizeof sent) problem("a good one's send: %s", strerror(errno));
        ssize_t n = recv(fd, got, sizeof got, 0);
        if (n < 0) problem("number %ld of a good one has no answer: %s", (long)i, strerror(errno));
        if (n != sizeof sent || memcmp(sent, got, sizeof sent)) problem("the answer to number %ld is another one's", (long)i);
        s->answered++;
    }
    int end = END;
    send(fd, &end, sizeof end, 0);
    exit(0);
}

static uint8_t *region_memory(size_t *bytes) {
    DIR *d = opendir("/proc/self/fd");
    struct dirent *entry;
    void *p = MAP_FAILED;
    while (d && p == MAP_FAILED && (entry = readdir(d))) {
        char target[64] = "";
        struct stat st;
        if (readlinkat(dirfd(d), entry->d_name, target, sizeof target - 1) < 0 || strncmp(target, "/memfd:sluice-pair", 18)) continue;
        int fd = atoi(entry->d_name);
        if (raw_call(SYS_fstat, fd, (long)&st, 0, 0, 0) < 0) continue;
        *bytes = (size_t)st.st_size;
        p = mmap(NULL, *bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
    }
    if (d) closedir(d);
    return p == MAP_FAILED ? NULL : p;
}

static uint64_t wild(uint64_t *random, uint64_t now) {
    static const uint64_t edges[] = {0, 1, 63, 64, 4096, 65507, 1u << 31, 1ull << 32, 1ull << 62, 1ull << 63, ~0ull - 63, ~0ull};
    uint64_t x = next_random(random);
    switch (x % 5) {
    case 0: return edges[x / 8 % (sizeof edges / sizeof *edges)];
    case 1: return now + x / 8 % 256;
    case 2: return now - x / 8 % 256;
    case 3: return now ^ 1ull << x / 8 % 64;
    default: return x;
    }
}

/// One blow at the first slots: a word of them, the word of a receiver, what was published, or a header in a ring.
static void blow(struct sl_region *region, size_t ring_bytes, uint64_t *random) {
    uint64_t x = next_random(random);
    struct sl_direction *d = sl_region_direction(region, (long)(x >> 8 & 1), (long)(x >> 9 & 1));
    volatile uint64_t *words = (volatile uint64_t *)d;
    switch (x % 6) {
    case 0: words[x >> 16 & 31] = wild(random, words[x >> 16 & 31]); break;
    case 1: *(volatile uint32_t *)&d->rx_control = (uint32_t)(x >> 16) % 12; break;
    case 2: *(volatile uint64_t *)&d->producer += 64 * (x >> 16 & 15); break;
    case 3: *(volatile uint64_t *)&d->kernel_begun = *(volatile uint64_t *)&d->kernel_count + (x >> 16 & 3); break;
    default: {
        uint8_t *rings = (uint8_t *)region + region->rings_offset;
        struct sl_record *r = (struct sl_record *)(rings + (x >> 16) % (4 * ring_bytes / 64) * 64);
        r->bytes = (uint32_t)wild(random, 64), r->kind = (uint16_t)(x >> 40 & 3), r->kernel_count = d->kernel_count + (x >> 48 & 1);
    }
    }
}

static void hostile(uint64_t random) {
    static char bytes[2000];
    size_t all = 0;
    int fd = udp(s->port);
    for (int i = 0; i < SHOWN; i++) {
        send(fd, bytes, 64, 0);
        recv(fd, bytes, sizeof bytes, 0);
    }
    struct sl_region *region = (struct sl_region *)region_memory(&all);
    if (region) s->regions++;
    size_t ring_bytes = region ? region->ring_bytes : 0;
    long answered = 0, credit = 0;
    while (s->attacks) {
        if (region) blow(region, ring_bytes, &random);
        s->blows++;
        // Not so many that the kernel's queue drops the good one's.
        if (answered != s->answered) answered = s->answered, credit = 20;
        if (credit > 0 && next_random(&random) % 8 == 0) credit--, send(fd, bytes, next_random(&random) % sizeof bytes, MSG_DONTWAIT);
        if (next_random(&random) % 4 == 0) recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
        if (next_random(&random) % 16 == 0) breathe();
    }
    raw_call(SYS_exit_group, 0, 0, 0, 0, 0);
}

// MARK: a turn

static int64_t cpu_ns(pid_t pid) {
    struct timespec t;
    return clock_gettime((~(clockid_t)pid << 3) | 2, &t) == 0 ? t.tv_sec * 1000000000ll + t.tv_nsec : 0;
}

static void rest_ms(int ms) {
    for (int64_t end = now_ms() + ms; now_ms() < end && !s->problem[0];) breathe();
}

/// Waits for `n` more answers.
static bool go_on(long n) {
    for (int64_t end = now_ms() + 4 * LIMIT_MS, wanted = s->answered + n; s->answered < wanted; breathe())
        if (now_ms() > end || s->problem[0]) return false;
    return true;
}

/// What is wrong, or null.
static const char *play(pid_t victim_pid, pid_t good_pid, pid_t hostile_pid) {
    static char text[300];
    bool went_on = go_on(MORE);
    rest_ms(ATTACK_MS);
    s->attacks = false;
    if (!went_on || !go_on(MORE)) return s->problem[0] ? s->problem : "the good one gets no answers";
    if (wait_for(hostile_pid, LIMIT_MS) < 0) return "the hostile one is stuck in a call";
    s->quiet = true;
    rest_ms(20);
    int64_t before = cpu_ns(victim_pid);
    rest_ms(IDLE_MS);
    int busy = (int)((cpu_ns(victim_pid) - before) / 1000000);
    s->quiet = false;
    if (!go_on(MORE)) return s->problem[0] ? s->problem : "the good one gets no answers afterwards";
    s->over = true;
    int ends[] = {wait_for(good_pid, LIMIT_MS), wait_for(victim_pid, LIMIT_MS)};
    if (s->problem[0]) return s->problem;
    snprintf(text, sizeof text, "good one: status %#x, victim: status %#x, %d ms of CPU in %d", ends[0], ends[1], busy, IDLE_MS);
    return ends[0] || ends[1] || busy > BUSY_MS ? text : NULL;
}

static pid_t start(void (*program)(void)) {
    pid_t pid = fork();
    if (pid < 0) die("fork: %s", strerror(errno));
    if (pid > 0) return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    program();
    _exit(1);
}
static enum style current;
static uint64_t current_seed;
static void be_victim(void) { victim(current); }
static void be_hostile(void) { hostile(current_seed); }

static void turn(enum style style, uint64_t seed, long *blows, long *regions) {
    memset((void *)s, 0, sizeof *s);
    problem_text = s->problem;
    s->attacks = true;
    current = style, current_seed = seed;
    pid_t pids[3] = {start(be_victim)};
    for (int64_t end = now_ms() + LIMIT_MS; !s->port && now_ms() < end;) breathe();
    pids[1] = start(good);
    pids[2] = start(be_hostile);
    const char *why = play(pids[0], pids[1], pids[2]);
    for (int i = 0; i < 3; i++)
        if (why) end_process(pids[i]);
    if (why) not_ok("a hostile peer, %s, seed %llu: %s", style_names[style], (unsigned long long)seed, why);
    *blows += s->blows, *regions += s->regions;
}

int main(int n, char **words) {
    int turns = 5;
    uint64_t seed = 1;
    for (int i = 1; i + 1 < n; i += 2) {
        if (!strcmp(words[i], "--turns")) turns = atoi(words[i + 1]);
        else if (!strcmp(words[i], "--seed")) seed = strtoull(words[i + 1], NULL, 0);
        else die("usage: hostile-datagrams [--turns N] [--seed N]");
    }
    s = shared_memory(sizeof *s);
    for (enum style style = RECV; style < STYLES; style++) {
        long blows = 0, regions = 0;
        for (int i = 0; i < turns; i++) turn(style, seed + (uint64_t)i, &blows, &regions);
        if (is_preloaded() && regions < turns) not_ok("a hostile peer, %s: only %ld of %d shared memory", style_names[style], regions, turns);
        else ok("a hostile peer, %s: %d turns, %ld blows", style_names[style], turns, blows);
    }
    return finish();
}
