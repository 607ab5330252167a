// A load client for memcached, by its text protocol: one process, an event loop, one question on its way per connection. The same code for
// TCP and for the server's unix socket.
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "Clock.h"
#include "Link.h"
#include "Peer.h"

static const char question[] = "get bench\r\n", stored[] = "STORED\r\n";

struct asker {
    int fd;
    uint64_t sent_at;
    /// How much of the answer is there.
    size_t have;
    char *bytes;
};

static char *answer;
static size_t answer_size;

static int connect_to_server(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)options.port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    if (options.path) snprintf(name.sun_path, sizeof name.sun_path, "%s", options.path);
    int fd = socket(options.path ? AF_UNIX : AF_INET, SOCK_STREAM, 0), on = 1;
    if (fd < 0) fail("socket");
    // As the clients in use do.
    if (!options.path && setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0) fail("TCP_NODELAY");
    if (connect(fd, options.path ? (struct sockaddr *)&name : (struct sockaddr *)&address, options.path ? sizeof name : sizeof address) != 0)
        fail("connecting to memcached");
    return fd;
}

static void send_whole(int fd, const char *bytes, size_t count) {
    for (size_t done = 0; done < count;) {
        ssize_t n = send(fd, bytes + done, count - done, MSG_NOSIGNAL);
        if (n < 0 && errno != EINTR) fail("send");
        if (n > 0) done += (size_t)n;
    }
}

/// Stores the item, and makes the answer that each question must get.
static void store(void) {
    answer = malloc(options.size + 128);
    char *request = malloc(options.size + 128), reply[sizeof stored];
    if (!answer || !request) wrong("memory");
    char *value = malloc(options.size);
    for (size_t i = 0; i < options.size; i++) value[i] = (char)('a' + i % 26);
    int head = sprintf(request, "set bench 0 0 %zu\r\n", options.size);
    memcpy(request + head, value, options.size);
    memcpy(request + head + options.size, "\r\n", 2);
    int fd = connect_to_server();
    send_whole(fd, request, (size_t)head + options.size + 2);
    for (size_t have = 0; have < sizeof stored - 1;) {
        ssize_t n = recv(fd, reply + have, sizeof stored - 1 - have, 0);
        if (n == 0) wrong("memcached ended the connection");
        if (n < 0 && errno != EINTR) fail("recv");
        if (n > 0) have += (size_t)n;
    }
    if (memcmp(reply, stored, sizeof stored - 1) != 0) wrong("memcached did not store the item");
    close(fd);
    head = sprintf(answer, "VALUE bench 0 %zu\r\n", options.size);
    memcpy(answer + head, value, options.size);
    memcpy(answer + head + options.size, "\r\nEND\r\n", 7);
    answer_size = (size_t)head + options.size + 7;
    free(request);
    free(value);
}

static void ask(struct asker *asker) {
    asker->have = 0;
    asker->sent_at = ticks();
    // Room for it there always is: nothing else is on its way.
    if (send(asker->fd, question, sizeof question - 1, MSG_NOSIGNAL) != sizeof question - 1) fail("send");
}

/// Takes what has come; whether the answer is whole now.
static bool take(struct asker *asker) {
    ssize_t n = recv(asker->fd, asker->bytes + asker->have, answer_size - asker->have, 0);
    if (n == 0) wrong("memcached ended a connection");
    if (n < 0 && errno != EINTR && errno != EAGAIN) fail("recv");
    if (n > 0) asker->have += (size_t)n;
    if (asker->have < answer_size) return false;
    if (memcmp(asker->bytes, answer, answer_size) != 0) wrong("an answer with other bytes");
    return true;
}

/// Until the time is over and all answers are there.
static void load(struct asker *askers, int set, uint64_t duration, bool measured) {
    struct epoll_event events[128];
    uint64_t stop = ticks() + duration;
    unsigned outstanding = options.connections;
    for (unsigned i = 0; i < options.connections; i++) ask(&askers[i]);
    while (outstanding > 0) {
        int n = epoll_wait(set, events, 128, -1);
        if (n < 0 && errno != EINTR) fail("epoll_wait");
        for (int i = 0; i < n; i++) {
            struct asker *asker = &askers[events[i].data.u32];
            if (!take(asker)) continue;
            uint64_t now = ticks();
            if (measured) {
                record_add(&control->record, now - asker->sent_at);
                control->messages++;
            }
            if (now < stop) ask(asker);
            else outstanding--;
        }
    }
}

void memcache_single(void) {
    if (!options.port && !options.path) wrong("memcache wants --port or --path");
    // Its processor time stands beside ours.
    control->side[CLIENT].pid = options.server_pid;
    store();
    struct asker *askers = calloc(options.connections, sizeof *askers);
    int set = epoll_create1(EPOLL_CLOEXEC);
    if (!askers || set < 0) fail("epoll_create1");
    for (unsigned i = 0; i < options.connections; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = i};
        askers[i].fd = connect_to_server();
        askers[i].bytes = malloc(answer_size);
        if (!askers[i].bytes) wrong("memory");
        link_set_blocking(askers[i].fd, 0);
        if (epoll_ctl(set, EPOLL_CTL_ADD, askers[i].fd, &event) != 0) fail("epoll_ctl");
    }
    uint64_t ms = ticks_per_ms();
    load(askers, set, ms * options.warmup_ms, false);
    measure_begin();
    load(askers, set, ms * options.run_ms, true);
    measure_end();
    control->bytes = control->messages * options.size;
    for (unsigned i = 0; i < options.connections; i++) close(askers[i].fd);
}
