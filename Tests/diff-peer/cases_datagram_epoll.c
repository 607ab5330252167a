// Readiness of sockets for datagrams by epoll: level, edge, one shot, exclusive, sets in sets.
#include "datagrams.h"

static int new_set(void) { return (int)DP_MUST(epoll_create1(EPOLL_CLOEXEC)); }

DP_DATAGRAM(datagram_epoll, level) {
    int fd = dp_udp_pair(0), set = new_set();
    dp_watch(set, EPOLL_CTL_ADD, fd, EPOLLIN, 'a');
    dp_epoll(set, 8, 0);
    dp_sync("watching");
    if (!dp_server) dp_say(fd, "one");
    if (!dp_server) dp_say(fd, "two");
    dp_sync("sent");
    if (dp_server) {
        dp_epoll(set, 8, -1);
        dp_epoll(set, 8, -1);
        dp_recv(fd, 10, 0);
        dp_epoll(set, 8, -1);  // one is left
        dp_recv(fd, 10, 0);
        dp_epoll(set, 8, 0);
        dp_watch(set, EPOLL_CTL_MOD, fd, EPOLLIN | EPOLLOUT, 'b');
        dp_epoll(set, 8, 0);
        dp_watch(set, EPOLL_CTL_DEL, fd, 0, 'b');
        dp_epoll(set, 8, 0);
    }
    dp_sync("end");
    DP(close(set));
    dp_close(fd);
}

DP_DATAGRAM(datagram_epoll, edge) {
    int fd = dp_udp_pair(0), set = new_set();
    if (dp_server) dp_watch(set, EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLET, 'a');
    dp_epoll(set, 8, 0);
    dp_sync("watching");
    if (dp_server) {
        dp_epoll(set, 8, -1);
        dp_epoll(set, 8, 0);  // told once
        dp_tell("more");
        dp_epoll(set, 8, -1);  // a new one, though the first was not read
        dp_epoll(set, 8, 0);
        dp_recv(fd, 10, 0);
        dp_epoll(set, 8, 0);  // the one that is left is not new
        dp_recv(fd, 10, 0);
        dp_recv(fd, 10, MSG_DONTWAIT);
        dp_tell("again");
        dp_epoll(set, 8, -1);
        dp_recv(fd, 10, 0);
        dp_epoll(set, 8, 0);
    } else {
        dp_say(fd, "one");
        dp_hear("more");
        dp_say(fd, "two");
        dp_hear("again");
        dp_say(fd, "three");
    }
    dp_sync("end");
    DP(close(set));
    dp_close(fd);
}

/// A loop that reads until EAGAIN at each edge misses nothing.
static void loop(uint32_t events, bool connected) {
    enum { TOTAL = 2000, AHEAD = 50 };
    dp_place peer;
    int fd = dp_udp_open(DP_NONBLOCK | DP_COLD, &peer), set = new_set();
    if (connected) dp_udp_connect(fd, &peer);
    dp_sync("ready");
    if (dp_server) {
        struct epoll_event event = {.events = events};
        DP_MUST(epoll_ctl(set, EPOLL_CTL_ADD, fd, &event));
        for (uint32_t next = 0; next < TOTAL;) {
            if (epoll_wait(set, &event, 1, -1) != 1) dp_fail("epoll_wait");
            uint8_t data[1500];
            for (ssize_t got; (got = recv(fd, data, sizeof data, 0)) >= 0; next++) {
                if (got != (ssize_t)(8 + next % 1000) || !dp_is_number(data, got, 1, next)) dp_fail("datagram %u", next);
                if (next % AHEAD == AHEAD - 1) dp_tell("read");
            }
            if (errno != EAGAIN) dp_fail("recv: %s", dp_errno_name(errno));
            event.events = events;
            if (events & EPOLLONESHOT) DP_MUST(epoll_ctl(set, EPOLL_CTL_MOD, fd, &event));
        }
    } else {
        for (uint32_t i = 0; i < TOTAL; i++) {
            dp_send_number(fd, connected ? NULL : &peer, 8 + i % 1000, 1, i);
            if (i % AHEAD == AHEAD - 1) dp_hear("read");
        }
    }
    dp_log("%d one way", TOTAL);
    dp_sync("end");
    DP(close(set));
    dp_close(fd);
}
DP_DATAGRAM(datagram_epoll, loop_by_levels) { loop(EPOLLIN, true); }
DP_DATAGRAM(datagram_epoll, loop_by_edges) { loop(EPOLLIN | EPOLLET, true); }
DP_DATAGRAM(datagram_epoll, loop_by_edges_unconnected) { loop(EPOLLIN | EPOLLET, false); }
DP_DATAGRAM(datagram_epoll, loop_by_single_shots, .kernel = "a member that disarms itself is the kernel's") { loop(EPOLLIN | EPOLLONESHOT, true); }
DP_DATAGRAM(datagram_epoll, loop_by_edges_of_both_kinds) { loop(EPOLLIN | EPOLLOUT | EPOLLET, true); }

DP_DATAGRAM(datagram_epoll, one_shot) {
    int fd = dp_udp_pair(0), set = new_set();
    if (dp_server) {
        dp_watch(set, EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLONESHOT, 'a');
        dp_tell("send");
        dp_epoll(set, 8, -1);
        dp_tell("send");
        dp_hear("sent");
        dp_epoll(set, 8, 0);  // disarmed
        dp_watch(set, EPOLL_CTL_MOD, fd, EPOLLIN | EPOLLONESHOT, 'b');
        dp_epoll(set, 8, -1);
        dp_recv(fd, 10, 0);
        dp_watch(set, EPOLL_CTL_MOD, fd, EPOLLIN | EPOLLONESHOT, 'c');
        dp_epoll(set, 8, -1);
        dp_recv(fd, 10, 0);
        dp_watch(set, EPOLL_CTL_MOD, fd, EPOLLIN | EPOLLONESHOT, 'd');
        dp_epoll(set, 8, 0);
    } else {
        dp_hear("send");
        dp_say(fd, "one");
        dp_hear("send");
        dp_say(fd, "two");
        dp_tell("sent");
    }
    dp_sync("end");
    DP(close(set));
    dp_close(fd);
}

DP_DATAGRAM(datagram_epoll, added_when_it_waits) {
    int fd = dp_udp_pair(0), set = new_set();
    if (!dp_server) dp_say(fd, "early");
    dp_sync("sent");
    if (dp_server) {
        dp_settle_for(fd, POLLIN);
        dp_watch(set, EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLET, 'a');
        dp_epoll(set, 8, -1);
        dp_epoll(set, 8, 0);
        dp_watch(set, EPOLL_CTL_MOD, fd, EPOLLIN | EPOLLET, 'b');
        dp_epoll(set, 8, -1);
        dp_recv(fd, 10, 0);
        dp_watch(set, EPOLL_CTL_MOD, fd, EPOLLIN | EPOLLET, 'c');
        dp_epoll(set, 8, 0);
    }
    dp_sync("end");
    DP(close(set));
    dp_close(fd);
}

DP_DATAGRAM(datagram_epoll, sleeper_is_woken) {
    int fd = dp_udp_pair(0), set = new_set();
    dp_watch(set, EPOLL_CTL_ADD, fd, EPOLLIN, 'a');
    for (int i = 0; i < 4; i++) {
        if (dp_server) {
            dp_tell("blocks");
            dp_epoll(set, 8, i % 2 ? 15000 : -1);
            dp_recv(fd, 10, MSG_DONTWAIT);
            dp_tell("read");
        } else {
            dp_until_peer_blocked("blocks");
            dp_send(fd, "abcdef", i, 0);
            dp_hear("read");
        }
    }
    dp_sync("end");
    DP(close(set));
    dp_close(fd);
}

DP_DATAGRAM(datagram_epoll, set_in_a_set) {
    int fd = dp_udp_pair(0), inner = new_set(), outer = new_set();
    dp_watch(inner, EPOLL_CTL_ADD, fd, EPOLLIN, 'i');
    dp_watch(outer, EPOLL_CTL_ADD, inner, EPOLLIN, 'o');
    dp_epoll(outer, 8, 0);
    dp_sync("watching");
    for (int i = 0; i < 3; i++) {
        if (dp_server) {
            dp_tell("blocks");
            dp_epoll(outer, 8, -1);
            dp_poll(inner, POLLIN, 0);
            dp_epoll(inner, 8, 0);
            dp_recv(fd, 10, MSG_DONTWAIT);
            dp_epoll(outer, 8, 0);
            dp_poll(inner, POLLIN, 0);
        } else {
            dp_until_peer_blocked("blocks");
            dp_say(fd, "inside");
        }
    }
    dp_sync("end");
    DP(close(inner));
    DP(close(outer));
    dp_close(fd);
}

DP_DATAGRAM(datagram_epoll, several_sockets_in_a_set) {
    enum { MANY = 8 };
    int fds[MANY], set = new_set();
    dp_place peers[MANY];
    for (int i = 0; i < MANY; i++) {
        fds[i] = dp_udp_open(i % 3 ? 0 : DP_COLD, &peers[i]);
        if (dp_server) dp_watch(set, EPOLL_CTL_ADD, fds[i], EPOLLIN, (char)('a' + i));
    }
    for (int round = 0; round < 6; round++) {
        if (!dp_server)
            for (int i = 0; i < MANY; i++)
                if ((round + i) % 3 == 0) dp_say_to(fds[i], "here", &peers[i]);
        dp_sync("sent");
        if (dp_server) {
            for (int i = 0; i < MANY; i++)
                if ((round + i) % 3 == 0) dp_settle_for(fds[i], POLLIN);
            dp_epoll(set, MANY, -1);
            dp_log("two of them at a time: %d", epoll_wait(set, (struct epoll_event[2]){{0}}, 2, 0));
            for (int i = 0; i < MANY; i++)
                if ((round + i) % 3 == 0) dp_recv(fds[i], 10, 0);
            dp_epoll(set, MANY, 0);
        }
        dp_sync("read");
    }
    DP(close(set));
    for (int i = 0; i < MANY; i++) dp_close(fds[i]);
}

// Two threads, each with a set of its own, exclusive: every datagram is read once, and none is left lying.
static int shared_fd;
static _Atomic int taken, stopped;

static void take_in_a_set(void *unused) {
    (void)unused;
    int set = new_set();
    struct epoll_event event = {.events = EPOLLIN | EPOLLEXCLUSIVE};
    DP_MUST(epoll_ctl(set, EPOLL_CTL_ADD, shared_fd, &event));
    for (bool stop = false; !stop;) {
        if (epoll_wait(set, &event, 1, -1) != 1) dp_fail("epoll_wait");
        char data[10];
        ssize_t got = recv(shared_fd, data, sizeof data, MSG_DONTWAIT);
        if (got < 0 && errno != EAGAIN) dp_fail("recv: %s", dp_errno_name(errno));
        if (got < 0) continue;
        stop = got == 4 && memcmp(data, "stop", 4) == 0;
        if (stop) stopped++;
        else taken++;
        dp_tell("read");
    }
    DP_MUST(close(set));
}

DP_DATAGRAM(datagram_epoll, exclusive) {
    shared_fd = dp_udp_pair(0);
    if (dp_server) {
        dp_worker w[2];
        for (int i = 0; i < 2; i++) dp_start(&w[i], "worker", take_in_a_set, NULL);
        for (int i = 0; i < 2; i++) dp_join(&w[i]);
        dp_log("%d taken, %d stopped", taken, stopped);
    } else {
        for (int i = 0; i < 200; i++) {
            if (send(shared_fd, "work", 4, 0) != 4) dp_fail("send");
            dp_hear("read");
        }
        for (int i = 0; i < 2; i++) {
            if (send(shared_fd, "stop", 4, 0) != 4) dp_fail("send");
            dp_hear("read");
        }
    }
    dp_sync("end");
    dp_close(shared_fd);
}

/// An error is told though nobody asked for it.
DP_DATAGRAM(datagram_epoll, refused) {
    int fd = dp_udp_pair(0), set = new_set();
    if (dp_server) dp_close(fd);
    dp_sync("closed");
    if (!dp_server) {
        dp_watch(set, EPOLL_CTL_ADD, fd, EPOLLIN, 'a');
        dp_epoll(set, 8, 0);
        dp_say(fd, "to nobody");
        dp_epoll(set, 8, -1);
        dp_socket_error(fd);
        dp_epoll(set, 8, 0);
        dp_close(fd);
    }
    dp_sync("end");
    DP(close(set));
}
