// What the hostile peer does: blows at the memory and the channel that Sluice has made for it.
#include "Hostile.h"
#include "CStackLayout.h"
#include <dirent.h>
#include <pthread.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>

static uint8_t *control;  ///< the region's words, and its rings behind them; or of `decoy` while it does not attack
static uint8_t *real, *decoy;
static size_t all_bytes;
static int side;          ///< 0: this process has connected

static struct sl_region *region(void) { return (struct sl_region *)control; }

/// Maps the newest region that Sluice has for the connection, for itself: as long as it likes. False: there is none yet.
static bool find_region(void) {
    static ino_t known;
    DIR *d = opendir("/proc/self/fd");
    struct dirent *entry;
    while (d && (entry = readdir(d))) {
        char target[64] = "";
        struct stat st;
        if (readlinkat(dirfd(d), entry->d_name, target, sizeof target - 1) < 0 || strncmp(target, "/memfd:sluice-pair", 18)) continue;
        int fd = atoi(entry->d_name);
        if (raw_call(SYS_fstat, fd, (long)&st, 0, 0, 0) < 0 || st.st_ino == known) continue;
        void *p = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
        if (p == MAP_FAILED) continue;
        if (real) munmap(real, all_bytes), munmap(decoy, all_bytes);
        real = p, all_bytes = (size_t)st.st_size, known = st.st_ino;
        decoy = mmap(NULL, all_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (decoy == MAP_FAILED) problem("decoy: %s", strerror(errno));
        memcpy(decoy, real, sizeof(struct sl_region));
    }
    if (d) closedir(d);
    return real != NULL;
}

/// The control channel, by the kernel's word: a socket of unix packets. -1: none.
static int find_channel(void) {
    for (int fd = 0; fd < 70000; fd++) {
        int domain = 0, type = 0;
        socklen_t n = sizeof domain;
        if (raw_call(SYS_getsockopt, fd, SOL_SOCKET, SO_DOMAIN, (long)&domain, (long)&n) < 0 || domain != AF_UNIX) continue;
        n = sizeof type;
        if (raw_call(SYS_getsockopt, fd, SOL_SOCKET, SO_TYPE, (long)&type, (long)&n) == 0 && type == SOCK_SEQPACKET) return fd;
        if (fd == 4200) fd = 65000;
    }
    return -1;
}

static uint64_t wild(uint64_t *random, uint64_t now) {
    static const uint64_t edges[] = {0, 1, 63, 64, 255, 4095, 4096, 1u << 20, 1u << 31, 1ull << 32, 1ull << 62, 1ull << 63, ~0ull - 4096, ~0ull};
    uint64_t x = next_random(random);
    switch (x % 5) {
    case 0: return edges[x / 8 % (sizeof edges / sizeof *edges)];
    case 1: return now + x / 8 % 256;
    case 2: return now - x / 8 % 256;
    case 3: return now ^ 1ull << x / 8 % 64;
    default: return x;
    }
}

static volatile uint64_t *word(size_t offset) { return (volatile uint64_t *)(control + offset); }

// MARK: blows

static void random_words(uint64_t *random) {
    uint64_t x = next_random(random);
    size_t slots = offsetof(struct sl_region, slot), all = sizeof(struct sl_region);
    size_t at = x & 3 ? slots + x / 16 % 4096 : x / 16 % all;
    at &= ~7ul;
    if (x & 8) *(volatile uint32_t *)(control + at + (x & 4)) = (uint32_t)wild(random, 0);
    else *word(at) = wild(random, *word(at));
    control[sizeof(struct sl_region) + next_random(random) % (all_bytes / 64)] = (uint8_t)x;
}

/// Every word of the region in turn.
static void every_word(uint64_t *random) {
    static size_t at;
    *word(at) = wild(random, *word(at));
    at = (at + 8) % sizeof(struct sl_region);
}

static struct sl_direction *mine(int slot) { return sl_region_direction(region(), slot, side); }
static struct sl_direction *theirs(int slot) { return sl_region_direction(region(), slot, 1 - side); }

static void backwards(uint64_t *random) {
    int slot = (int)(next_random(random) % 8);
    mine(slot)->producer -= next_random(random) % 8192;
    theirs(slot)->consumer -= next_random(random) % 8192;
}

static void asleep_for_ever(uint64_t *random) {
    for (int i = 0; i < SL_WAITERS; i++) sl_region_waiter(region(), side, i)->word = next_random(random) << 2;
    for (int slot = 0; slot < SL_SLOTS; slot++) {
        theirs(slot)->space_waiters = mine(slot)->space_waiters = ~0ull;
        theirs(slot)->data_waiters = mine(slot)->data_waiters = ~0ull;
    }
    *(volatile uint64_t *)sl_numbers(region(), 1 - side) = ~0ull;
}

/// News that is none, of all slots, for whoever asks.
static void news(uint64_t *random) {
    (void)random;
    for (int i = 0; i < SL_WAITERS; i++) sl_region_waiter(region(), 1 - side, i)->ready = ~0ull;
}

static void pass(int channel, const void *bytes, size_t n, const int *fds, int count) {
    struct iovec v = {(void *)bytes, n};
    union {
        char room[CMSG_SPACE(16 * sizeof(int))];
        struct cmsghdr align;
    } c = {0};
    struct msghdr h = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = count ? &c : NULL, .msg_controllen = count ? CMSG_SPACE((size_t)count * sizeof(int)) : 0};
    if (count) {
        struct cmsghdr *m = CMSG_FIRSTHDR(&h);
        m->cmsg_level = SOL_SOCKET, m->cmsg_type = SCM_RIGHTS, m->cmsg_len = CMSG_LEN((size_t)count * sizeof(int));
        memcpy(CMSG_DATA(m), fds, (size_t)count * sizeof(int));
    }
    if (s->attacks) raw_call(SYS_sendmsg, channel, (long)&h, MSG_NOSIGNAL | MSG_DONTWAIT, 0, 0);
}

/// Rings whoever sleeps, so that he looks.
static void wake(void) {
    static int channel = -1;
    struct sl_message m = {.magic = SL_MESSAGE_MAGIC, .kind = SL_MESSAGE_RING};
    if (channel < 0) channel = find_channel();
    for (int i = 0; i < SL_WAITERS; i++) sl_region_waiter(region(), 1 - side, i)->ready = ~0ull;
    pass(channel, &m, sizeof m, NULL, 0);
}

/// Says that it has claimed what it has sent, and leaves it at that.
static void claims(uint64_t *random) {
    (void)random;
    for (int slot = 0; slot < 64; slot++) {
        struct sl_direction *d = mine(slot);
        if (d->phase & 1 && !(d->consumer >> 63)) {
            d->consumer |= 1ull << 63, d->producer += 5;
            wake();
        }
        theirs(slot)->closed = 1;
    }
}

/// The reader's own offset is not what the reader has made of it.
static void wrong_consumer(uint64_t *random) {
    (void)random;
    for (int slot = 0; slot < 64; slot++) {
        struct sl_direction *d = mine(slot);
        if (d->phase & 1 && d->consumer == d->producer) {
            d->consumer ^= 1ull << 40, d->producer += 5;
            wake();
        }
    }
}

/// Takes part in the changes of phases, faster than anybody who is honest.
static void phases(uint64_t *random) {
    for (int slot = 0; slot < 4; slot++) {
        struct sl_direction *d = theirs(slot);
        for (int i = 0; i < 50; i++) {
            d->consumer = d->producer | 1ull << 63;
            d->phase_reached = (d->phase + 1) & ~1u;
            d->rx_control = i % 2 ? SL_RX_OPEN : (uint32_t)(next_random(random) % 6);
        }
    }
}

static void taking(uint64_t *random) {
    (void)random;
    for (int slot = 0; slot < 4; slot++) {
        struct sl_direction *d = theirs(slot);
        d->rx_control = d->phase & 1 ? SL_RX_TAKING : SL_RX_OPEN;
        d->phase_reached = d->phase;
        if (d->phase & 1) continue;
        d->consumer = d->producer;
    }
}

static void flood(uint64_t *random) {
    static int channel = -1, bell = -1;
    int fds[16];
    uint64_t full = ~0ull - 1;
    if (channel < 0) {
        channel = find_channel();
        // Whoever rings this one waits for ever.
        bell = (int)raw_call(SYS_eventfd2, 0, 0, 0, 0, 0);
        raw_call(SYS_write, bell, (long)&full, 8, 0, 0);
    }
    for (int i = 0; i < 16; i++) fds[i] = bell;
    struct sl_message m = {.magic = SL_MESSAGE_MAGIC, .kind = (uint32_t)(next_random(random) % 8), .index = (uint32_t)(next_random(random) % 70)};
    pass(channel, &m, next_random(random) % 4 ? sizeof m : 5, fds, next_random(random) % 2 ? 16 : 1);
}

/// Its end of the channel goes; the memory and the connection stay.
static void closes_channel(uint64_t *random) {
    static bool done;
    (void)random;
    if (done || !s->attacks) return;
    done = true;
    int channel = find_channel();
    if (channel < 0) return;
    raw_call(SYS_shutdown, channel, SHUT_RDWR, 0, 0, 0);
    raw_call(SYS_close, channel, 0, 0, 0, 0);
}

/// Its end of the channel moves to a number that nobody reads, and the library has one that says nothing. The victim finds
/// sleepers all the time.
static void never_reads(uint64_t *random) {
    static int hidden = -1;
    int pair[2], unread = 0;
    if (s->attacks && hidden < 0) {
        int channel = find_channel();
        if (channel < 0 || raw_call(SYS_socketpair, AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, (long)pair, 0) < 0) return;
        hidden = (int)raw_call(SYS_fcntl, channel, F_DUPFD_CLOEXEC, 900, 0, 0);
        raw_call(SYS_dup3, pair[0], channel, O_CLOEXEC, 0, 0);
    }
    for (int i = 0; i < SL_WAITERS; i++) sl_region_waiter(region(), side, i)->word = next_random(random) << 2;
    for (int slot = 0; slot < 4; slot++) theirs(slot)->data_waiters = mine(slot)->space_waiters = ~0ull;
    raw_call(SYS_ioctl, hidden, FIONREAD, (long)&unread, 0, 0);
    s->queued = unread / (int)sizeof(struct sl_message);
}

// One that the kernel has reset before it had a lane has no address any more.
#define IN_ORDER "peer_handed_back ended unbound meeting loopback"

const struct attack attacks[] = {
    {.name = "random words", .act = random_words, .reasons = IN_ORDER " damaged", .needs_lane = true},
    {.name = "every word in turn", .act = every_word, .reasons = IN_ORDER " damaged", .needs_lane = true},
    {.name = "offsets that run backwards", .act = backwards, .reasons = IN_ORDER " damaged", .needs_lane = true},
    {.name = "sleepers that never wake", .act = asleep_for_ever, .reasons = IN_ORDER, .needs_lane = true},
    {.name = "news without end", .act = news, .reasons = IN_ORDER, .needs_lane = true},
    {.name = "claims that last", .act = claims, .reasons = IN_ORDER, .needs_lane = true, .last = true},
    {.name = "an offset of the reader's own", .act = wrong_consumer, .reasons = IN_ORDER " damaged", .needs_lane = true, .damages = true, .last = true},
    {.name = "phases that change all the time", .act = phases, .reasons = IN_ORDER " damaged", .needs_lane = true},
    {.name = "a receiver that takes for ever", .act = taking, .reasons = IN_ORDER " damaged", .needs_lane = true},
    {.name = "a flooded channel", .act = flood, .reasons = IN_ORDER, .needs_lane = true},
    {.name = "a channel that is closed", .act = closes_channel, .reasons = IN_ORDER, .needs_lane = true},
    {.name = "a channel that is never read", .act = never_reads, .reasons = IN_ORDER, .needs_lane = true, .fills = true},
    {.name = "the protocol in other hands", .act = speak_protocol, .reasons = IN_ORDER " resources proof plain_peer limit counts meeting", .alone = true},
    {0},
};

// MARK: the process

static int listener = -1;

static int reach_victim(void) {
    if (listener >= 0) {
        s->wanted++;
        struct pollfd p = {.fd = listener, .events = POLLIN};
        return poll(&p, 1, 500) == 1 ? accept(listener, NULL, NULL) : -1;
    }
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)s->port)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(fd, (struct sockaddr *)&a, sizeof a) < 0) return close(fd), -1;
    return fd;
}

/// Traffic on its connection, so that there is something to attack; another connection when it has ended.
static void *traffic(void *argument) {
    uint8_t bytes[3000] = {0};
    int fd = -1;
    (void)argument;
    for (uint64_t i = 0;; i++) {
        if (fd < 0 && (fd = reach_victim()) < 0) {
            breathe();
            continue;
        }
        if (s->quiet) {
            breathe();
            continue;
        }
        struct pollfd p = {.fd = fd, .events = POLLIN};
        ssize_t n = send(fd, bytes, 1 + i % sizeof bytes, MSG_NOSIGNAL | MSG_DONTWAIT), r = 0;
        if (poll(&p, 1, s->begun ? 1 : 20) > 0) r = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
        if ((n < 0 && errno != EAGAIN) || (p.revents && r <= 0)) {
            close(fd);
            fd = -1;
        }
        if (s->begun) breathe();
    }
    return NULL;
}

void hostile(const struct attack *attack, bool serves) {
    uint64_t random = 4711;
    pthread_t thread;
    int port = 0;
    while (!s->port) breathe();
    if (setresgid(OTHER, OTHER, OTHER) < 0 || setresuid(OTHER, OTHER, OTHER) < 0) problem("setresuid: %s", strerror(errno));
    prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
    if (!serves) { // the victim is asked to connect: this process accepts
        listener = listen_here(&port);
        s->attack_port = port;
        side = 1;
    }
    if (!attack->needs_lane) {
        s->armed = true;
        for (;; breathe())
            if (s->attacks && !s->quiet) attack->act(&random), s->count++;
    }
    pthread_create(&thread, NULL, traffic, NULL);
    while (!find_region()) breathe();
    s->armed = true;
    while (!s->begun) breathe();
    for (;;) {
        if (s->quiet != attack->last) {
            breathe();
            continue;
        }
        // The traffic has stopped by then.
        if (attack->last && s->count == 0) usleep(10000);
        // A connection that was made anew may have come to another region.
        if (s->count % 2048 == 0) find_region();
        control = s->attacks ? real : decoy;
        attack->act(&random);
        if (++s->count % 32 == 0) breathe();
    }
}
