// Both sides send, without blocking, more than a ring holds before either of them reads: the kernel's buffers take it, and
// whatever a program waits by must tell it that there is room.
#include "harness.h"

#include <sys/mman.h>
#include <sys/resource.h>
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

/// Only now does anybody read.
static void then_read(int fd) {
    dp_sync("both have sent all");
    dp_tell_sent(AHEAD);
    dp_drain(fd, dp_server ? 4 : 3);
    dp_sync("end");
    dp_close(fd);
}

static void both_get_ahead(size_t piece, void (*prepare)(int fd), void (*wait)(int fd)) {
    int fd = dp_pair(DP_NONBLOCK);
    if (prepare) prepare(fd);
    get_ahead(fd, dp_server ? 3 : 4, piece, wait);
    then_read(fd);
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

static void by_looks_of_poll(int fd) {
    struct pollfd p = {fd, POLLOUT, 0};
    while (poll(&p, 1, 0) != 1) {}
}

static void by_looks_of_select(int fd) {
    fd_set out;
    struct timeval none = {0, 0};
    do {
        FD_ZERO(&out);
        FD_SET(fd, &out);
    } while (select(fd + 1, NULL, &out, NULL, &none) != 1);
}

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
    struct epoll_event events[4];
    int n;
    (void)fd;
    do {
        n = epoll_wait(set, events, 4, -1);
        if (n < 1) dp_fail("epoll_wait");
    } while (!((n > 1 ? events[1].events | events[0].events : events[0].events) & EPOLLOUT));
}

static void by_looks_at_set(int fd) {
    struct epoll_event event;
    (void)fd;
    do event.events = 0;
    while (epoll_wait(set, &event, 1, 0) != 1 || !(event.events & EPOLLOUT));
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

// Without a send that failed: what fits leaves too little room for poll to say so.
enum { FITS = 900000 };
DP_CASE(ahead, looks_of_poll) { both_get_ahead(AHEAD, NULL, by_looks_of_poll); }
DP_CASE(ahead, looks_of_poll_after_what_fits) {
    int fd = dp_pair(DP_NONBLOCK);
    uint8_t *data = malloc(AHEAD);
    dp_fill(data, AHEAD, dp_server ? 3 : 4, 0);
    size_t sent = 0;
    for (ssize_t n; sent < AHEAD; sent += n) {
        n = send(fd, data + sent, sent ? AHEAD - sent : FITS, 0);
        if (n <= 0) dp_fail("send: %s", dp_errno_name(errno));
        if (sent % 2) by_looks_of_select(fd);
        else by_looks_of_poll(fd);
    }
    free(data);
    then_read(fd);
}
DP_CASE(ahead, looks_of_select) { both_get_ahead(AHEAD, NULL, by_looks_of_select); }
DP_CASE(ahead, looks_at_a_set) { both_get_ahead(AHEAD, level, by_looks_at_set); }
DP_CASE(ahead, looks_at_a_set_by_edges) { both_get_ahead(AHEAD, edge, by_looks_at_set); }

/// The set has another connection that always has news.
DP_CASE(ahead, set_with_a_busy_neighbour) {
    int fd = dp_pair(DP_NONBLOCK), busy = dp_pair(DP_NONBLOCK);
    DP_MUST(send(busy, "x", 1, 0));
    dp_settle(busy, 1);
    level(fd);
    add(set, busy, EPOLLIN);
    get_ahead(fd, dp_server ? 3 : 4, AHEAD, by_set);
    then_read(fd);
    dp_close(busy);
}

/// The member's number is closed, a duplicate of it sends: more than the kernel's buffers hold, too.
static void through_a_duplicate(uint32_t events) {
    int fd = dp_pair(DP_NONBLOCK);
    size_t total = 12 << 20;
    if (dp_server) {
        dp_hear("full");
        dp_get(fd, 3, total, 100000);
    } else {
        bool is_told = false;
        uint8_t *data = malloc(total);
        dp_fill(data, total, 3, 0);
        into_set(fd, events);
        int other = (int)DP_MUST(dup(fd));
        DP_MUST(close(fd));
        fd = other;
        for (size_t sent = 0; sent < total;) {
            ssize_t n = send(fd, data + sent, total - sent, 0);
            if (n < 0 && errno != EAGAIN) dp_fail("send: %s", dp_errno_name(errno));
            if (n > 0) sent += n;
            struct epoll_event event;
            // Nobody reads until there has been no room for a while.
            if (n < 0 && !is_told && epoll_wait(set, &event, 1, 300) == 0) {
                is_told = true;
                dp_tell("full");
            }
            if (n < 0 && is_told) by_set(fd);
        }
        free(data);
    }
    dp_sync("end");
    dp_close(fd);
}
DP_CASE(ahead, member_by_a_closed_number) { through_a_duplicate(EPOLLOUT); }
DP_CASE(ahead, member_by_a_closed_number_by_edges) { through_a_duplicate(EPOLLOUT | EPOLLET); }

// ───────────────────────────── nobody waits ─────────────────────────────

/// Fills the connection and sleeps in a set that does not ask for room any more: nothing may wake it.
static void sleep_without_asking(void (*unask)(int fd)) {
    int fd = dp_pair(DP_NONBLOCK);
    if (dp_server) {
        dp_drain(fd, 3);
    } else {
        into_set(fd, EPOLLOUT | EPOLLONESHOT);
        by_set(fd);
        uint8_t *data = malloc(8 << 20);
        dp_fill(data, 8 << 20, 3, 0);
        size_t sent = 0;
        for (ssize_t n; (n = send(fd, data + sent, (8 << 20) - sent, 0)) > 0;) sent += n;
        if (errno != EAGAIN) dp_fail("8 MB are not enough");
        free(data);
        unask(fd);
        dp_tell_sent(sent);
        dp_settle_out(fd);
        struct rusage before, after;
        struct epoll_event event;
        getrusage(RUSAGE_THREAD, &before);
        int n = epoll_wait(set, &event, 1, 300);
        getrusage(RUSAGE_THREAD, &after);
        dp_log("%d events, %s", n, after.ru_nvcsw - before.ru_nvcsw < 4 ? "asleep" : "not asleep");
    }
    dp_sync("end");
    dp_close(fd);
}
static void not_armed_again(int fd) { (void)fd; }
static void taken_out(int fd) { DP_MUST(epoll_ctl(set, EPOLL_CTL_DEL, fd, NULL)); }
DP_CASE(ahead, asleep_behind_a_oneshot) { sleep_without_asking(not_armed_again); }
DP_CASE(ahead, asleep_without_the_member) { sleep_without_asking(taken_out); }

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
    then_read(fd);
}

/// SO_SNDTIMEO counts from the call on, however often it looks again meanwhile: as where a child has the socket too.
DP_CASE(ahead, sendfile_with_a_time_limit) {
    int fd = dp_pair(0);
    if (!dp_server) {
        struct timeval limit = {0, 60000};
        int file = (int)DP_MUST(memfd_create("ahead", 0));
        off_t at = 0;
        DP_MUST(ftruncate(file, 40 << 20));
        DP_MUST(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit));
        pid_t child = dp_fork();
        if (child == 0) {
            pause();
            dp_done(0);
        }
        ssize_t n;
        while ((n = sendfile(fd, file, &at, (40 << 20) - at)) > 0) {}
        dp_log("%zd %s", n, dp_errno_name(errno));
        DP_MUST(kill(child, SIGKILL));
        DP_MUST(waitpid(child, NULL, 0));
    }
    dp_sync("end");
    dp_close(fd);
}
