// Nothing is warmed up first: whatever takes a flow over does so in the middle of these, at any datagram.
#include "datagrams.h"

static void ask(int fd, const dp_place *peer, uint32_t round, size_t size) {
    if (!dp_server) dp_send_number(fd, peer, size, 1, round);
    dp_recv_number(fd, size, 1, round);
    if (dp_server) dp_send_number(fd, peer, size, 1, round);
}

DP_DATAGRAM(datagram_switch, fresh_flows) {
    for (uint32_t i = 0; i < 10; i++) {
        dp_place peer;
        int fd = dp_udp_open(DP_COLD, &peer);
        if (i % 2) dp_udp_connect(fd, &peer);
        dp_sync("ready");
        for (uint32_t round = 0; round < 80; round++) ask(fd, i % 2 ? NULL : &peer, round, i + round * 11);
        dp_sync("asked");
        dp_close(fd);
    }
    dp_log("10 flows");
}

/// The reader stays one datagram behind, so that the queue is never empty.
DP_DATAGRAM(datagram_switch, one_waits_all_the_time) {
    int fd = dp_udp_pair(DP_COLD);
    enum { ROUNDS = 300 };
    for (uint32_t round = 0; round <= ROUNDS; round++) {
        if (round < ROUNDS) dp_send_number(fd, NULL, 8 + round, dp_server, round);
        if (round > 0) dp_recv_number(fd, 7 + round, !dp_server, round - 1);
    }
    dp_log("%d rounds", ROUNDS);
    dp_sync("end");
    dp_recv(fd, 10, MSG_DONTWAIT);
    dp_close(fd);
}

DP_DATAGRAM(datagram_switch, looks_and_cuts) {
    int fd = dp_udp_pair(DP_COLD);
    for (uint32_t round = 0; round < 150; round++) {
        uint8_t data[300];
        size_t size = 100 + round;
        if (!dp_server) dp_send_number(fd, NULL, size, 1, round);
        for (int look = 0; look < 2; look++)
            if (recv(fd, data, 50, MSG_PEEK | MSG_TRUNC) != (ssize_t)size) dp_fail("round %u: look", round);
        if (recv(fd, data, sizeof data, MSG_PEEK) != (ssize_t)size || !dp_is_number(data, size, 1, round)) dp_fail("round %u: second look", round);
        if (recv(fd, data, round % 2 ? 60 : sizeof data, 0) != (round % 2 ? 60 : (ssize_t)size)) dp_fail("round %u", round);
        if (dp_server) dp_send_number(fd, NULL, size, 1, round);
    }
    dp_log("150 rounds");
    dp_sync("end");
    dp_recv(fd, 10, MSG_DONTWAIT);
    dp_close(fd);
}

DP_DATAGRAM(datagram_switch, by_epoll_edges) {
    int fd = dp_udp_pair(DP_COLD | DP_NONBLOCK), set = (int)DP_MUST(epoll_create1(0));
    struct epoll_event event = {.events = EPOLLIN | EPOLLET};
    DP_MUST(epoll_ctl(set, EPOLL_CTL_ADD, fd, &event));
    for (uint32_t round = 0; round < 300; round++) {
        uint8_t data[100];
        ssize_t got = -1;
        if (!dp_server) dp_send_number(fd, NULL, 40, 1, round);
        while ((got = recv(fd, data, sizeof data, 0)) < 0)
            if (errno != EAGAIN || epoll_wait(set, &event, 1, -1) != 1) dp_fail("round %u: %s", round, dp_errno_name(errno));
        if (got != 40 || !dp_is_number(data, 40, 1, round)) dp_fail("round %u: wrong bytes", round);
        if (dp_server) dp_send_number(fd, NULL, 40, 1, round);
    }
    dp_log("300 rounds");
    dp_sync("end");
    DP(close(set));
    dp_close(fd);
}

/// An end of one kind after any number of rounds: some before, at, and after the switch.
static void end_after(bool refused) {
    for (uint32_t rounds = 0; rounds < 44; rounds += 1 + rounds / 8) {
        int fd = dp_udp_pair(DP_COLD);
        for (uint32_t round = 0; round < rounds; round++) ask(fd, NULL, round, 30);
        if (dp_server) dp_send_number(fd, NULL, 50, 2, rounds);
        if (dp_server) dp_close(fd);
        dp_sync("closed");
        if (!dp_server) {
            if (refused) dp_say(fd, "to nobody");
            if (refused) dp_settle_for(fd, POLLERR);
            if (refused) dp_recv(fd, 10, MSG_DONTWAIT);
            dp_recv_number(fd, 50, 2, rounds);
            dp_recv(fd, 10, MSG_DONTWAIT);
            dp_close(fd);
        }
        dp_sync("next");
    }
}
DP_DATAGRAM(datagram_switch, then_close) { end_after(false); }
DP_DATAGRAM(datagram_switch, then_close_and_refused) { end_after(true); }

/// A receiver that comes anew at its port after any number of datagrams loses what the old one had not read, and nothing else.
DP_DATAGRAM(datagram_switch, then_bound_anew, .kernel = "no flow lives for long") {
    int fd = dp_udp_fixed("127.0.0.1");
    dp_place peer = dp_udp_swap(fd, NULL), own = dp_place_of(fd);
    for (uint32_t rounds = 0; rounds < 44; rounds += 1 + rounds / 6) {
        for (uint32_t round = 0; round < rounds; round++) ask(fd, &peer, round, 40);
        if (!dp_server) dp_send_number(fd, &peer, 60, 5, rounds);
        dp_sync("sent");
        if (dp_server) {
            dp_close(fd);
            fd = dp_udp_bind("127.0.0.1", dp_place_port(&own));
        }
        dp_sync("bound anew");
    }
    ask(fd, &peer, 99, 10);
    dp_log("still there");
    dp_sync("end");
    dp_recv(fd, 10, MSG_DONTWAIT);
    dp_close(fd);
}

DP_DATAGRAM(datagram_switch, time_limits) {
    int fd = dp_udp_pair(DP_COLD);
    struct timeval wait = {0, 10000};
    DP(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait));
    for (uint32_t round = 0; round < 30; round++) {
        char data[20];
        if (dp_server && round % 5 == 0) {
            ssize_t got = recv(fd, data, sizeof data, 0);
            dp_log("round %u: %zd %s", round, got, got < 0 ? dp_errno_name(errno) : "");
        }
        dp_sync("round");
        if (!dp_server) dp_send_number(fd, NULL, 12, 1, round);
        dp_settle_for(fd, POLLIN);
        dp_recv_number(fd, 12, 1, round);
        if (dp_server) dp_send_number(fd, NULL, 12, 1, round);
        dp_sync("answered");
    }
    dp_close(fd);
}

/// Two processes of the server's side read one socket from the start.
DP_DATAGRAM(datagram_switch, forked_before, .kernel = "a socket that two processes hold from the start may stay in the kernel") {
    int fd = dp_udp_pair(DP_COLD);
    if (dp_server) {
        pid_t child = dp_fork();
        if (child == 0) {
            for (uint32_t round = 0; round < 100; round++) ask(fd, NULL, round, 64);
            dp_done(0);
        }
        dp_reap(child, "child");
        for (uint32_t round = 100; round < 200; round++) ask(fd, NULL, round, 64);
    } else {
        for (uint32_t round = 0; round < 200; round++) ask(fd, NULL, round, 64);
    }
    dp_log("200 rounds");
    dp_sync("end");
    dp_close(fd);
}
