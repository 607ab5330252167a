// The calls under test. `before` brings the connection into the state that the call meets.
#include "Steps.h"
#include <spawn.h>
#include <sys/epoll.h>

const char *const third = "with a sharer";

static void peer_sends_200(struct round *r, int fd) {
    if (!send_next(r, PEER, fd, 200)) round_problem(r, PEER, "send before: %s", strerror(errno));
}
static void peer_sends_500(struct round *r, int fd) {
    if (!send_next(r, PEER, fd, 500)) round_problem(r, PEER, "send before: %s", strerror(errno));
}
static void await_unread(struct round *r, int fd) {
    struct pollfd p = {.fd = fd, .events = POLLIN};
    if (poll(&p, 1, LIMIT_MS) != 1) round_problem(r, VICTIM, "the peer's bytes did not come");
}
static void victim_sends_3000(struct round *r, int fd) {
    if (!send_next(r, VICTIM, fd, 3000)) round_problem(r, VICTIM, "send before: %s", strerror(errno));
}
static void both_unread(struct round *r, int fd) {
    victim_sends_3000(r, fd);
    await_unread(r, fd);
}
/// A descriptor is about to be given away: the connection goes back to the kernel.
static void give_away(struct round *r, int fd) {
    posix_spawn_file_actions_t actions;
    (void)r;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, fd, 50);
    posix_spawn_file_actions_destroy(&actions);
}

static void send_64(struct round *r, int fd) { send_next(r, VICTIM, fd, 64); }
static void send_6000(struct round *r, int fd) { send_next(r, VICTIM, fd, 6000); }
static void recv_64(struct round *r, int fd) { victim_reads(r, fd, 64); }
static void recv_3000(struct round *r, int fd) { victim_reads(r, fd, 3000); }
static void send_and_recv(struct round *r, int fd) {
    for (int i = 0; i < 24; i++) {
        send_next(r, VICTIM, fd, 8);
        victim_reads(r, fd, 8);
    }
}
static void shut(struct round *r, int fd) {
    (void)r;
    shutdown(fd, SHUT_WR);
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
    poll(&p, 1, -1);
    victim_reads(r, fd, 64);
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
    victim_reads(r, fd, 64);
}

const struct path paths[] = {
    {"send", 0, true, IDLE, ORDERLY, .sends = 64, .call = send_64},
    {"ring", 0, true, LISTENING, ORDERLY, .sends = 64, .call = send_64},
    {"recv", 0, true, IDLE, RESET, .before_peer = peer_sends_200, .before = await_unread, .call = recv_64},
    {"sleep", 0, true, ANSWERING, EITHER, .victim_sleeps = true, .call = recv_64},
    {"poll", 0, true, ANSWERING, EITHER, .victim_sleeps = true, .call = poll_and_recv},
    {"epoll", 0, true, ANSWERING, EITHER, .victim_sleeps = true, .before = make_set, .call = epoll_and_recv},
    {"full", 0, true, DRAINING, ORDERLY, .victim_sleeps = true, .ring_only = true, .sends = 6000, .call = send_6000},
    {"drain", 0, true, FEEDING, EITHER, .call = recv_3000},
    {"switch", 0, false, IDLE, ORDERLY, .sends = 64, .call = send_64},
    {"switch-recv", 0, false, IDLE, RESET, .before_peer = peer_sends_200, .before = await_unread, .call = recv_64},
    {"match", 4, false, ECHOING, EITHER, .no_sharer = true, .sends = 192, .call = send_and_recv},
    {"take-back", 0, true, IDLE, RESET, .before_peer = peer_sends_500, .before = both_unread, .call = give_away},
    {"asked", 0, true, IDLE, ORDERLY, .sends = 64, .before_peer = give_away, .call = send_64},
    {"shutdown", 0, true, IDLE, EITHER, .ends = true, .shuts = true, .before_peer = peer_sends_500, .before = both_unread, .call = shut},
    {"close", 0, true, IDLE, ORDERLY, .ends = true, .before = victim_sends_3000, .call = close_it},
    {"close-unread", 0, true, IDLE, RESET, .ends = true, .before_peer = peer_sends_500, .before = both_unread, .call = close_it},
    {"exit", 0, true, IDLE, ORDERLY, .ends = true, .before = victim_sends_3000, .call = exit_with_it},
};
const int path_count = sizeof paths / sizeof *paths;
