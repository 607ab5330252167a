// select and pselect with a descriptor of ours: carried out as a poll, with the rules of the kernel's select.
#include "Interpose.h"

enum { WORD_BITS = 8 * sizeof(unsigned long), ON_STACK = 256 };
// The events behind each set, as in the kernel's fs/select.c.
enum {
    READ_ASKED = POLLIN | POLLRDNORM | POLLRDBAND,
    WRITE_ASKED = POLLOUT | POLLWRNORM | POLLWRBAND,
    READ_SHOWN = READ_ASKED | POLLHUP | POLLERR,
    WRITE_SHOWN = WRITE_ASKED | POLLERR,
};

/// One of the three sets. A program may pass more bits than an fd_set has.
typedef unsigned long *bits;
static inline unsigned long word(bits set, int i) { return set ? set[i] : 0; }
static inline _Bool has(bits set, int fd) { return set && set[fd / WORD_BITS] >> (fd % WORD_BITS) & 1; }
static inline int put(bits set, int fd) {
    set[fd / WORD_BITS] |= 1ul << (fd % WORD_BITS);
    return 1;
}

struct sets {
    bits read, write, except;
    int count;
};

static _Bool chunk_has_ours(const struct sets *s, int first) {
    for (int fd = first; fd < first + (1 << SLC_FD_CHUNK_BITS) && fd < s->count; fd++)
        if (sli_waits_for(fd) && (has(s->read, fd) || has(s->write, fd) || has(s->except, fd))) return 1;
    return 0;
}
/// Reads no bit that the kernel would not read: programs pass getdtablesize() with sets of FD_SETSIZE bits, and the kernel
/// looks at those only that its descriptor table has room for.
static _Bool has_ours(const struct sets *s) {
    int near = s->count < FD_SETSIZE ? s->count : FD_SETSIZE;
    for (int first = 0; first < near; first += WORD_BITS) {
        int i = first / WORD_BITS;
        unsigned long any = word(s->read, i) | word(s->write, i) | word(s->except, i);
        for (; any; any &= any - 1) {
            int fd = first + __builtin_ctzl(any);
            if (fd < s->count && SLI_UNLIKELY(sli_waits_for(fd))) return 1;
        }
    }
    for (int c = FD_SETSIZE >> SLC_FD_CHUNK_BITS; c < SLC_FD_CHUNKS && c << SLC_FD_CHUNK_BITS < s->count; c++)
        if (slc_fd_chunks[c] && chunk_has_ours(s, c << SLC_FD_CHUNK_BITS)) return 1;
    return 0;
}

/// The size of the kernel's descriptor table (the line FDSize), beyond which select looks at nothing.
static int table_size(void) {
    char text[1024];
    long fd = slc_openat(AT_FDCWD, "/proc/self/status", O_RDONLY | O_CLOEXEC), n = -1;
    if (fd >= 0) {
        n = slc_read((int)fd, text, sizeof text - 1);
        slc_close((int)fd);
    }
    if (n < 0) return FD_SETSIZE;
    text[n] = 0;
    const char *p = strstr(text, "FDSize:");
    if (!p) return FD_SETSIZE;
    int size = 0;
    for (p += 7; *p == ' ' || *p == '\t'; p++) {}
    for (; *p >= '0' && *p <= '9' && size < SLC_FD_MAX; p++) size = 10 * size + (*p - '0');
    return size;
}

static size_t members(const struct sets *s) {
    size_t n = 0;
    for (int i = 0; i * (int)WORD_BITS < s->count; i++)
        n += (size_t)__builtin_popcountl(word(s->read, i) | word(s->write, i) | word(s->except, i));
    return n;
}
static size_t fill(const struct sets *s, struct pollfd *p) {
    size_t n = 0;
    for (int i = 0; i * (int)WORD_BITS < s->count; i++) {
        unsigned long any = word(s->read, i) | word(s->write, i) | word(s->except, i);
        for (; any; any &= any - 1) {
            int fd = i * (int)WORD_BITS + __builtin_ctzl(any);
            if (fd >= s->count) break;
            short events = (has(s->read, fd) ? READ_ASKED : 0) | (has(s->write, fd) ? WRITE_ASKED : 0);
            p[n++] = (struct pollfd){.fd = fd, .events = events | (has(s->except, fd) ? POLLPRI : 0)};
        }
    }
    return n;
}
/// What select would show of a descriptor, as the bits of `asked` that are true.
static short shown(short asked, short got) {
    short s = 0;
    if (asked & POLLIN && got & READ_SHOWN) s |= POLLIN;
    if (asked & POLLOUT && got & WRITE_SHOWN) s |= POLLOUT;
    if (asked & POLLPRI && got & POLLPRI) s |= POLLPRI;
    return s;
}
static long show(const struct sets *s, const struct pollfd *p, size_t n) {
    size_t bytes = ((size_t)s->count + WORD_BITS - 1) / WORD_BITS * sizeof(long);
    bits all[] = {s->read, s->write, s->except};
    for (int i = 0; i < 3; i++)
        if (all[i]) memset(all[i], 0, bytes);
    long total = 0;
    for (size_t i = 0; i < n; i++) {
        short is = p[i].fd < 0 ? 0 : shown(p[i].events, p[i].revents);
        if (is & POLLIN) total += put(s->read, p[i].fd);
        if (is & POLLOUT) total += put(s->write, p[i].fd);
        if (is & POLLPRI) total += put(s->except, p[i].fd);
    }
    return total;
}

static long wait_shown(struct sets *s, struct pollfd *p, size_t n, int64_t timeout_ns, const sigset_t *mask) {
    uint64_t start = timeout_ns > 0 ? slc_now_ns() : 0;
    for (int64_t left = timeout_ns;;) {
        long got = sluice_poll(p, n, left, mask);
        if (got < 0) return got;
        if (got == 0) return show(s, p, 0);
        _Bool news = 0;
        for (size_t i = 0; i < n; i++) {
            if (p[i].fd < 0 || !p[i].revents) continue;
            if (p[i].revents & POLLNVAL) {
                int size = table_size();
                if (p[i].fd < size) return -EBADF;
                if (s->count > size) s->count = size; // neither looked at nor written
                p[i].fd = -1;
            } else if (shown(p[i].events, p[i].revents))
                news = 1;
            else
                p[i].fd = -1; // an end that poll always shows and select does not: it would only wake us again
        }
        if (news) return show(s, p, n);
        if (timeout_ns > 0) {
            int64_t spent = (int64_t)(slc_now_ns() - start);
            left = spent < timeout_ns ? timeout_ns - spent : 0;
        }
    }
}

static long select_ours(struct sets s, int64_t timeout_ns, const sigset_t *mask) {
    if (s.count > FD_SETSIZE) {
        int size = table_size();
        if (s.count > size) s.count = size;
    }
    struct pollfd near[ON_STACK], *p = near;
    size_t n = members(&s), bytes = n * sizeof *p;
    if (n > ON_STACK) {
        long at = slc_mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (at < 0 && at > -4096) return -ENOMEM;
        p = (struct pollfd *)at;
    }
    n = fill(&s, p);
    long result = wait_shown(&s, p, n, timeout_ns, mask);
    if (p != near) slc_munmap(p, bytes);
    return result;
}

SLI_EXPORT(select);
SLI_EXPORT_AS(__select, sli_select);
int sli_select(int count, fd_set *read, fd_set *write, fd_set *except, struct timeval *timeout) {
    struct sets s = {(bits)read, (bits)write, (bits)except, count};
    if (count <= 0 || !has_ours(&s)) return SLI_REAL(select)(count, read, write, except, timeout);
    if (!timeout) return (int)sli_result(select_ours(s, -1, NULL));
    if (timeout->tv_sec < 0 || timeout->tv_usec < 0) return (int)sli_result(-EINVAL);
    struct timespec t = {timeout->tv_sec, (timeout->tv_usec % 1000000) * 1000};
    if (__builtin_add_overflow(t.tv_sec, timeout->tv_usec / 1000000, &t.tv_sec)) t.tv_sec = INT64_MAX;
    int64_t ns = sli_nanoseconds(&t);
    uint64_t start = slc_now_ns();
    long result = select_ours(s, ns, NULL);
    int64_t left = ns - (int64_t)(slc_now_ns() - start);
    if (left < 0) left = 0;
    *timeout = (struct timeval){left / 1000000000, left % 1000000000 / 1000};
    return (int)sli_result(result);
}

SLI_EXPORT(pselect);
int sli_pselect(int count, fd_set *read, fd_set *write, fd_set *except, const struct timespec *timeout, const sigset_t *mask) {
    struct sets s = {(bits)read, (bits)write, (bits)except, count};
    if (count <= 0 || !has_ours(&s)) return SLI_REAL(pselect)(count, read, write, except, timeout, mask);
    int64_t ns = sli_nanoseconds(timeout);
    if (timeout && ns < 0) return (int)sli_result(ns);
    return (int)sli_result(select_ours(s, ns, mask));
}

_Bool sli_select_has_ours(int count, fd_set *read, fd_set *write, fd_set *except) {
    struct sets s = {(bits)read, (bits)write, (bits)except, count};
    return count > 0 && has_ours(&s);
}
