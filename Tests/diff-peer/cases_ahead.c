// Both sides send, without blocking, more than a ring holds before either of them reads: the kernel's buffers take it, and
// whatever a program waits by must tell it that there is room.
#include "harness.h"

#include <sys/mman.h>
#include <sys/sendfile.h>

enum { AHEAD = 1500000 };

/// Sends everything by non-blocking calls of `piece` bytes at most; `wait` comes behind each that took less than was asked.
static void get_ahead(int fd, unsigned seed, size_t piece, void (*wait)(int fd)) {
    uint8_t *data = malloc(AHEAD);
    dp_fill(data, AHEAD, seed, 0);
    for (size_t sent = 0; sent < AHEAD;) {
        size_t want = AHEAD - sent < piece ? AHEAD - sent : piece;
        ssize_t n = send(fd, data + sent, want, MSG_DONTWAIT);
        if (n < 0 && errno != EAGAIN) dp_fail("send: %s", dp_errno_name(errno));
        if (n > 0) sent += n;
        if (n < (ssize_t)want) wait(fd);
    }
    free(data);
}

static void both_get_ahead(size_t piece, void (*prepare)(int fd), void (*wait)(int fd)) {
    int fd = dp_pair(DP_NONBLOCK);
    if (prepare) prepare(fd);
    get_ahead(fd, dp_server ? 3 : 4, piece, wait);
    dp_sync("both have sent all");
    dp_tell_sent(AHEAD);
    dp_drain(fd, dp_server ? 4 : 3);
    dp_sync("end");
    dp_close(fd);
}

static void by_poll(int fd) {
    struct pollfd p = {fd, POLLOUT, 0};
    if (poll(&p, 1, -1) != 1 || p.revents != POLLOUT) dp_fail("poll: %x", p.revents);
}

static void by_select(int fd) {
    fd_set out;
    FD_ZERO(&out);
    FD_SET(fd, &out);
    if (select(fd + 1, NULL, &out, NULL, NULL) != 1) dp_fail("select");
}

static void not_at_all(int fd) { (void)fd; }

static int set, outer;

static void add(int to, int fd, uint32_t events) {
    struct epoll_event event = {.events = events};
    DP_MUST(epoll_ctl(to, EPOLL_CTL_ADD, fd, &event));
}

static void into_set(int fd, uint32_t events) {
    set = epoll_create1(0);
    add(set, fd, events);
}

static void level(int fd) { into_set(fd, EPOLLOUT); }

static void edge(int fd) { into_set(fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET); }

static void by_set(int fd) {
    struct epoll_event event;
    (void)fd;
    do {
        if (epoll_wait(set, &event, 1, -1) != 1) dp_fail("epoll_wait");
    } while (!(event.events & EPOLLOUT));
}

static void late(int fd) {
    into_set(fd, EPOLLOUT | EPOLLONESHOT);
    by_set(fd);
}

static void armed_anew(int fd) {
    struct epoll_event event = {.events = EPOLLOUT | EPOLLONESHOT};
    DP_MUST(epoll_ctl(set, EPOLL_CTL_MOD, fd, &event));
    by_set(fd);
}

static void nested(int fd) {
    edge(fd);
    outer = epoll_create1(0);
    add(outer, set, EPOLLIN);
}

static void by_outer_set(int fd) {
    struct epoll_event event;
    if (epoll_wait(outer, &event, 1, -1) != 1) dp_fail("epoll_wait outside");
    by_set(fd);
}

static void by_poll_on_set(int fd) {
    struct pollfd p = {set, POLLIN, 0};
    if (poll(&p, 1, -1) != 1) dp_fail("poll on a set");
    by_set(fd);
}

DP_CASE(ahead, poll) { both_get_ahead(AHEAD, NULL, by_poll); }
DP_CASE(ahead, poll_with_small_sends) { both_get_ahead(700, NULL, by_poll); }
DP_CASE(ahead, select) { both_get_ahead(100000, NULL, by_select); }
DP_CASE(ahead, no_wait) { both_get_ahead(AHEAD, NULL, not_at_all); }
DP_CASE(ahead, epoll_level) { both_get_ahead(AHEAD, level, by_set); }
DP_CASE(ahead, epoll_edge) { both_get_ahead(100000, edge, by_set); }
DP_CASE(ahead, epoll_oneshot) { both_get_ahead(50000, late, armed_anew); }
DP_CASE(ahead, set_in_a_set) { both_get_ahead(AHEAD, nested, by_outer_set); }
DP_CASE(ahead, poll_on_a_set) { both_get_ahead(AHEAD, edge, by_poll_on_set); }

// ───────────────────────────── threads ─────────────────────────────

static int turns[2];

/// Sleeps in a set of its own while another thread sends, and tells it of room.
static void *sleeper(void *unused) {
    struct epoll_event event;
    for (char c; epoll_wait(set, &event, 1, -1) == 1 && event.data.fd != turns[0];) {
        c = event.events & EPOLLOUT ? 'o' : 'n';
        if (write(turns[1], &c, 1) != 1) break;
    }
    return unused;
}

static void by_another_thread(int fd) {
    char c = 0;
    (void)fd;
    while (c != 'o')
        if (read(turns[0], &c, 1) != 1) dp_fail("the other thread has gone");
}

DP_CASE(ahead, epoll_in_another_thread) {
    int fd = dp_pair(DP_NONBLOCK), ends[2];
    pthread_t thread;
    DP_MUST(pipe(turns));
    DP_MUST(pipe(ends));
    edge(fd);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = turns[0]};
    DP_MUST(epoll_ctl(set, EPOLL_CTL_ADD, ends[0], &event));
    DP_MUST(pthread_create(&thread, NULL, sleeper, NULL));
    get_ahead(fd, dp_server ? 3 : 4, 100000, by_another_thread);
    dp_sync("both have sent all");
    DP_MUST(write(ends[1], "e", 1));
    DP_MUST(pthread_join(thread, NULL));
    dp_tell_sent(AHEAD);
    dp_drain(fd, dp_server ? 4 : 3);
    dp_sync("end");
    dp_close(fd);
}

// ───────────────────────────── files ─────────────────────────────

DP_CASE(ahead, sendfile) {
    int fd = dp_pair(DP_NONBLOCK), file = (int)DP_MUST(memfd_create("ahead", 0));
    uint8_t *data = malloc(AHEAD);
    dp_fill(data, AHEAD, dp_server ? 3 : 4, 0);
    DP_MUST(write(file, data, AHEAD));
    free(data);
    off_t at = 0;
    while (at < AHEAD) {
        ssize_t n = sendfile(fd, file, &at, AHEAD - at);
        if (n < 0 && errno != EAGAIN) dp_fail("sendfile: %s", dp_errno_name(errno));
        if (n < 0) by_poll(fd);
    }
    dp_sync("both have sent all");
    dp_tell_sent(AHEAD);
    dp_drain(fd, dp_server ? 4 : 3);
    dp_sync("end");
    dp_close(fd);
}
