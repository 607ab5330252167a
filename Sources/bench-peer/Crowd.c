#include "Crowd.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "Clock.h"
#include "Link.h"
#include "Peer.h"

enum { EVENTS = 128 };

/// The soft limit goes up to what the run needs; the rest is left to others in the process.
static void allow_descriptors(void) {
    struct rlimit limit;
    rlim_t needed = options.connections + 128;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) fail("getrlimit");
    if (limit.rlim_cur >= needed) return;
    if (limit.rlim_max < needed) skip("%u connections need %u descriptors, the hard limit is %u", options.connections, (unsigned)needed, (unsigned)limit.rlim_max);
    limit.rlim_cur = needed;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0) fail("setrlimit");
}

static void *zeroed(size_t count, size_t size) {
    void *memory = calloc(count, size);
    if (!memory) wrong("memory");
    // Touched now, so that it does not count as the connections' memory later.
    memset(memory, 0, count * size);
    return memory;
}

static void add(int set, int fd, unsigned index) {
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = index};
    if (epoll_ctl(set, EPOLL_CTL_ADD, fd, &event) != 0) fail("epoll_ctl");
}

/// Sends back what came; false when the connection has ended.
static bool serve_one(int fd, char *bytes) {
    for (;;) {
        ssize_t n = recv(fd, bytes, options.size, 0);
        if (n == 0) return false;
        if (n > 0) {
            if (send(fd, bytes, (size_t)n, MSG_NOSIGNAL) != n) wrong("a short send");
            return true;
        }
        // With one reader a level-triggered set tells of nothing that is not there.
        if (errno != EINTR) fail("recv after an event");
    }
}

void crowd_serve(void) {
    allow_descriptors();
    int *fds = zeroed(options.connections, sizeof *fds), set = epoll_create1(EPOLL_CLOEXEC);
    char *bytes = zeroed(1, options.size);
    struct epoll_event events[EVENTS];
    if (set < 0) fail("epoll_create1");
    int listener = link_listen(4096);
    for (unsigned i = 0; i < options.connections; i++) {
        fds[i] = accept(listener, NULL, NULL);
        if (fds[i] < 0) fail("accept");
        link_prepare(fds[i]);
        link_set_blocking(fds[i], 0);
        add(set, fds[i], i);
    }
    close(listener);
    reach(STEP_READY);
    for (unsigned open = options.connections; open > 0;) {
        int n = epoll_wait(set, events, EVENTS, -1);
        if (n < 0 && errno != EINTR) fail("epoll_wait");
        for (int i = 0; i < n; i++) {
            uint32_t index = events[i].data.u32;
            if (index >= options.connections) wrong("an event with the data %#llx, which no connection has", (unsigned long long)events[i].data.u64);
            int fd = fds[index];
            if (serve_one(fd, bytes)) continue;
            close(fd);
            open--;
        }
    }
    close(set);
}

void crowd_open(struct crowd *crowd, void (*before)(void)) {
    allow_descriptors();
    crowd->count = options.connections;
    crowd->fd = zeroed(crowd->count, sizeof *crowd->fd);
    crowd->sent_at = zeroed(crowd->count, sizeof *crowd->sent_at);
    crowd->number = zeroed(crowd->count, sizeof *crowd->number);
    crowd->bytes = zeroed(1, options.size);
    crowd->set = epoll_create1(EPOLL_CLOEXEC);
    if (crowd->set < 0) fail("epoll_create1");
    await(STEP_LISTENING);
    if (before) before();
    for (unsigned i = 0; i < crowd->count; i++) {
        crowd->fd[i] = link_connect();
        link_prepare(crowd->fd[i]);
        link_set_blocking(crowd->fd[i], 0);
        add(crowd->set, crowd->fd[i], i);
    }
    await(STEP_READY);
}

void crowd_send(struct crowd *crowd, unsigned index) {
    uint64_t mark = (uint64_t)index << 32 | ++crowd->number[index];
    memcpy(crowd->bytes, &mark, sizeof mark);
    crowd->sent_at[index] = ticks();
    if (send(crowd->fd[index], crowd->bytes, options.size, MSG_NOSIGNAL) != (ssize_t)options.size) wrong("a short send");
}

void crowd_wait(struct crowd *crowd, void (*answered)(struct crowd *, unsigned, void *), void *context) {
    struct epoll_event events[EVENTS];
    int n = epoll_wait(crowd->set, events, EVENTS, -1);
    if (n < 0 && errno != EINTR) fail("epoll_wait");
    for (int i = 0; i < n; i++) {
        unsigned index = events[i].data.u32;
        if (index >= crowd->count) wrong("an event with the data %#llx, which no connection has", (unsigned long long)events[i].data.u64);
        ssize_t got = recv(crowd->fd[index], crowd->bytes, options.size, 0);
        if (got < 0) fail("recv after the event %#x", events[i].events);
        // Small messages arrive whole: the client has one of them on its way per connection.
        if (got != (ssize_t)options.size) wrong("an answer of %zd bytes", got);
        uint64_t mark;
        memcpy(&mark, crowd->bytes, sizeof mark);
        if (mark != ((uint64_t)index << 32 | crowd->number[index])) wrong("connection %u got %#llx as answer to its message %u", index, (unsigned long long)mark, crowd->number[index]);
        answered(crowd, index, context);
    }
}

void crowd_close(struct crowd *crowd) {
    for (unsigned i = 0; i < crowd->count; i++) close(crowd->fd[i]);
    close(crowd->set);
}
