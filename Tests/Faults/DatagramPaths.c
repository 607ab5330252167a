// The calls under test on UDP sockets. `before` brings the flow into the state that the call meets.
#include "DatagramSteps.h"
#include <spawn.h>
#include <sys/epoll.h>

static void peer_sends(struct round *r, int fd, size_t bytes) {
    if (!send_one(r, PEER, fd, bytes)) round_problem(r, PEER, "send before: %s", strerror(errno));
}
static void peer_sends_3(struct round *r, int fd) {
    for (int i = 0; i < 3; i++) peer_sends(r, fd, SMALL);
}
/// The second goes by the kernel, and the third behind it.
static void peer_sends_by_both(struct round *r, int fd) {
    peer_sends(r, fd, SMALL);
    peer_sends(r, fd, LARGE);
    peer_sends(r, fd, SMALL);
}
static void await_3(struct round *r, int fd) {
    (void)fd;
    await_sent(r, VICTIM, PEER, r->read_by_victim + 3);
}
static void victim_fills(struct round *r, int fd) {
    for (int i = 0; i < 3; i++)
        if (!send_one(r, VICTIM, fd, MIDDLE)) round_problem(r, VICTIM, "send before: %s", strerror(errno));
}
static void both_unread(struct round *r, int fd) {
    await_3(r, fd);
    victim_fills(r, fd);
}
/// A descriptor is about to be given away: what is unread goes into the kernel's queue.
static void give_away(struct round *r, int fd) {
    posix_spawn_file_actions_t actions;
    (void)r;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, fd, 50);
    posix_spawn_file_actions_destroy(&actions);
}

static void send_1(struct round *r, int fd) { send_one(r, VICTIM, fd, SMALL); }
static void send_3(struct round *r, int fd) {
    for (int i = 0; i < 3; i++) send_one(r, VICTIM, fd, MIDDLE);
}
/// Past the ring, and one behind it.
static void send_large(struct round *r, int fd) {
    send_one(r, VICTIM, fd, LARGE);
    send_one(r, VICTIM, fd, SMALL);
}
static void recv_1(struct round *r, int fd) { victim_takes(r, fd, 0); }
static void recv_3(struct round *r, int fd) {
    for (int i = 0; i < 3; i++) victim_takes(r, fd, 0);
    victim_takes(r, fd, MSG_DONTWAIT); // the queue is found empty
}
static void send_and_recv(struct round *r, int fd) {
    for (int i = 0; i < 12; i++) {
        if (!send_one(r, VICTIM, fd, SMALL)) round_problem(r, VICTIM, "send: %s", strerror(errno));
        victim_takes(r, fd, 0);
    }
}
static void close_it(struct round *r, int fd) {
    (void)r;
    close(fd);
}
static void exit_with_it(struct round *r, int fd) {
    (void)r, (void)fd;
    exit(0);
}
static void poll_and_recv(struct round *r, int fd) {
    struct pollfd p = {.fd = fd, .events = POLLIN};
    while (poll(&p, 1, -1) < 0 && errno == EINTR) {}
    victim_takes(r, fd, 0);
}
static int set = -1;
static void make_set(struct round *r, int fd) {
    (void)r;
    struct epoll_event e = {.events = EPOLLIN};
    set = epoll_create1(EPOLL_CLOEXEC);
    epoll_ctl(set, EPOLL_CTL_ADD, fd, &e);
    epoll_wait(set, &e, 1, 0);
}
static void epoll_and_recv(struct round *r, int fd) {
    struct epoll_event e;
    while (epoll_wait(set, &e, 1, -1) < 0 && errno == EINTR) {}
    victim_takes(r, fd, 0);
}

const struct path paths[] = {
    {"send", 0, true, IDLE, .sends = 1, .call = send_1},
    {"send, left", 0, true, IDLE, .then_peer = give_away, .sends = 1, .call = send_1},
    {"wake", 0, true, LISTENING, .sends = 1, .call = send_1},
    {"full", 0, true, IDLE, .before = victim_fills, .sends = 3, .call = send_3},
    {"pass by", 0, true, IDLE, .sends = 2, .call = send_large},
    {"pass by, left", 0, true, IDLE, .then_peer = give_away, .sends = 2, .call = send_large},
    {"recv", 0, true, IDLE, .before_peer = peer_sends_3, .before = await_3, .call = recv_1},
    {"recv by both", 0, true, IDLE, .before_peer = peer_sends_by_both, .before = await_3, .call = recv_3},
    {"sleep", 0, true, ANSWERING, .victim_sleeps = true, .call = recv_1},
    {"poll", 0, true, ANSWERING, .victim_sleeps = true, .call = poll_and_recv},
    {"epoll", 0, true, ANSWERING, .victim_sleeps = true, .before = make_set, .call = epoll_and_recv},
    {"give away", 0, true, IDLE, .before_peer = peer_sends_by_both, .before = both_unread, .call = give_away},
    {"asked", 0, true, IDLE, .before_peer = give_away, .sends = 1, .call = send_1},
    {"close", 0, true, IDLE, .ends = true, .before = victim_fills, .call = close_it},
    {"close unread", 0, true, IDLE, .ends = true, .before_peer = peer_sends_by_both, .before = both_unread, .call = close_it},
    {"exit", 0, true, IDLE, .ends = true, .before = victim_fills, .call = exit_with_it},
    {"match", 4, false, ECHOING, .sends = 12, .call = send_and_recv},
};
const int path_count = sizeof paths / sizeof *paths;
