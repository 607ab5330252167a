// The moment at which a connection changes its way: nothing is warmed up first, so the lane opens in the middle.
#include "harness.h"

static void ask(int fd, unsigned round, size_t size) {
    uint8_t out[4096], in[4096];
    dp_fill(out, size, round, 0);
    if (!dp_server && send(fd, out, size, 0) != (ssize_t)size) dp_fail("round %u: send", round);
    if (recv(fd, in, size, MSG_WAITALL) != (ssize_t)size || memcmp(in, out, size)) dp_fail("round %u: wrong bytes", round);
    if (dp_server && send(fd, in, size, 0) != (ssize_t)size) dp_fail("round %u: send", round);
}

DP_CASE(switch, ping_pong) {
    int fd = dp_pair(DP_COLD);
    for (unsigned round = 0; round < 300; round++) ask(fd, round, 1 + round * 7 % 500);
    dp_log("300 rounds");
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(switch, many_fresh_connections) {
    for (unsigned i = 0; i < 12; i++) {
        int fd = dp_pair(DP_COLD);
        for (unsigned round = 0; round < 60; round++) ask(fd, i * 60 + round, 100);
        dp_sync("asked");
        dp_close(fd);
    }
    dp_log("12 connections");
}

DP_CASE(switch, both_directions_at_once) {
    int fd = dp_pair(DP_COLD | DP_NONBLOCK);
    size_t total = 16 << 20, sent = 0, received = 0;
    uint8_t out[3000], in[3000], expected[3000];
    unsigned own = dp_server ? 1 : 2;
    while (sent < total || received < total) {
        struct pollfd p = {fd, (sent < total ? POLLOUT : 0) | (received < total ? POLLIN : 0), 0};
        if (poll(&p, 1, -1) != 1) dp_fail("poll");
        if (p.revents & POLLOUT) {
            size_t want = total - sent < sizeof out ? total - sent : sizeof out;
            dp_fill(out, want, own, sent);
            ssize_t n = send(fd, out, want, 0);
            if (n > 0) sent += n;
        }
        if (p.revents & POLLIN) {
            ssize_t n = recv(fd, in, sizeof in, 0);
            if (n <= 0) continue;
            dp_fill(expected, n, 3 - own, received);
            if (memcmp(in, expected, n)) dp_fail("wrong bytes after %zu", received);
            received += n;
        }
    }
    dp_log("%zu each way", total);
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(switch, unread_data_all_the_time) {
    // The reader stays a message behind, so that the switch finds bytes in the kernel's queue.
    int fd = dp_pair(DP_COLD | DP_NODELAY);
    uint8_t text[50], expected[50];
    unsigned rounds = 200;
    for (unsigned round = 0; round <= rounds; round++) {
        if (round < rounds) {
            dp_fill(text, sizeof text, round, dp_server);
            if (send(fd, text, sizeof text, 0) != sizeof text) dp_fail("send");
        }
        if (round == 0) continue;
        if (recv(fd, text, sizeof text, MSG_WAITALL) != sizeof text) dp_fail("recv");
        dp_fill(expected, sizeof expected, round - 1, !dp_server);
        if (memcmp(text, expected, sizeof text)) dp_fail("round %u: wrong bytes", round);
    }
    dp_log("%u rounds", rounds);
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(switch, peeks_across) {
    int fd = dp_pair(DP_COLD);
    for (unsigned round = 0; round < 150; round++) {
        uint8_t out[64], peeked[64], in[64];
        dp_fill(out, sizeof out, round, 0);
        if (!dp_server && send(fd, out, sizeof out, 0) != sizeof out) dp_fail("send");
        if (recv(fd, peeked, 10, MSG_PEEK) != 10 || memcmp(peeked, out, 10)) dp_fail("round %u: peek", round);
        if (recv(fd, peeked, 64, MSG_PEEK | MSG_WAITALL) != 64 || memcmp(peeked, out, 64)) dp_fail("round %u: long peek", round);
        if (recv(fd, in, 64, MSG_WAITALL) != 64 || memcmp(in, out, 64)) dp_fail("round %u: recv", round);
        if (dp_server && send(fd, in, sizeof in, 0) != sizeof in) dp_fail("send");
    }
    dp_log("150 rounds");
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(switch, waitall_across) {
    int fd = dp_pair(DP_COLD | DP_NODELAY);
    size_t total = 500 * 100;
    uint8_t *data = malloc(total), piece[100];
    dp_fill(data, total, 1, 0);
    if (dp_server) {
        uint8_t *got = malloc(total);
        for (size_t done = 0; done < total; done += 500) {
            if (recv(fd, got + done, 500, MSG_WAITALL) != 500) dp_fail("recv");
            if (send(fd, "k", 1, 0) != 1) dp_fail("send");
        }
        dp_log("%s", memcmp(got, data, total) ? "wrong bytes" : "right bytes");
        free(got);
    } else {
        for (size_t done = 0; done < total; done += 100) {
            if (send(fd, data + done, 100, 0) != 100) dp_fail("send");
            if (done % 500 == 400 && recv(fd, piece, 1, 0) != 1) dp_fail("recv");
        }
    }
    free(data);
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(switch, edge_triggered_across) {
    int fd = dp_pair(DP_COLD | DP_NONBLOCK), set = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN | EPOLLET};
    DP_MUST(epoll_ctl(set, EPOLL_CTL_ADD, fd, &event));
    size_t got = 0;
    for (unsigned round = 0; round < 200; round++) {
        uint8_t out[80], in[80];
        dp_fill(out, sizeof out, round, 0);
        if (!dp_server && send(fd, out, sizeof out, 0) != sizeof out) dp_fail("send");
        for (got = 0; got < sizeof in;) {
            ssize_t n = recv(fd, in + got, sizeof in - got, 0);
            if (n > 0) got += n;
            else if (epoll_wait(set, &event, 1, -1) != 1) dp_fail("epoll_wait");
        }
        if (memcmp(in, out, sizeof in)) dp_fail("round %u: wrong bytes", round);
        if (dp_server && send(fd, in, sizeof in, 0) != sizeof in) dp_fail("send");
    }
    dp_log("200 rounds");
    dp_sync("end");
    DP(close(set));
    dp_close(fd);
}

DP_CASE(switch, level_triggered_across) {
    int fd = dp_pair(DP_COLD), set = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN};
    DP_MUST(epoll_ctl(set, EPOLL_CTL_ADD, fd, &event));
    for (unsigned round = 0; round < 200; round++) {
        if (!dp_server && send(fd, "level", 5, 0) != 5) dp_fail("send");
        if (epoll_wait(set, &event, 1, -1) != 1 || event.events != EPOLLIN) dp_fail("round %u: %x", round, event.events);
        char text[10];
        if (recv(fd, text, 10, 0) != 5) dp_fail("round %u: recv", round);
        if (epoll_wait(set, &event, 1, 0) != 0) dp_fail("round %u: not empty", round);
        if (dp_server && send(fd, "level", 5, 0) != 5) dp_fail("send");
        dp_sync("round");
    }
    dp_log("200 rounds");
    DP(close(set));
    dp_close(fd);
}

static int shared_fd;
static void echo_all(void *argument) {
    (void)argument;
    char buffer[200];
    for (ssize_t got; (got = recv(shared_fd, buffer, sizeof buffer, 0)) > 0;)
        if (send(shared_fd, buffer, got, 0) != got) dp_fail("echo");
}

DP_CASE(switch, while_two_threads_read) {
    shared_fd = dp_pair(DP_COLD);
    if (dp_server) {
        dp_worker workers[2];
        for (int i = 0; i < 2; i++) dp_start(&workers[i], "worker", echo_all, NULL);
        for (int i = 0; i < 2; i++) dp_join(&workers[i]);
    } else {
        for (unsigned round = 0; round < 300; round++) {
            char in[40];
            if (send(shared_fd, "to whichever thread reads", 25, 0) != 25 || recv(shared_fd, in, 25, MSG_WAITALL) != 25) dp_fail("round %u", round);
        }
        DP(shutdown(shared_fd, SHUT_WR));
    }
    dp_sync("end");
    dp_close(shared_fd);
}

DP_CASE(switch, forked_before, .kernel = "an end that two processes share from the start may stay in the kernel") {
    int fd = dp_pair(DP_COLD);
    if (dp_server) {
        pid_t child = dp_fork();
        if (child == 0) {
            for (unsigned round = 0; round < 200; round++) ask(fd, round, 64);
            dp_done(0);
        }
        dp_reap(child, "child");
        for (unsigned round = 200; round < 260; round++) ask(fd, round, 64);
    } else {
        for (unsigned round = 0; round < 260; round++) ask(fd, round, 64);
    }
    dp_log("done");
    dp_sync("end");
    dp_close(fd);
}

/// Rounds of questions, then an end of one kind, at every distance from the start: some before, at, and after the switch.
static void end_after(void (*end)(int)) {
    for (unsigned rounds = 0; rounds < 44; rounds += 1 + rounds / 8) {
        int fd = dp_pair(DP_COLD);
        for (unsigned round = 0; round < rounds; round++) ask(fd, round, 30);
        dp_sync("asked");
        if (dp_server) end(fd);
        else dp_settle_for(fd, POLLRDHUP);
        dp_sync("ended");
        if (!dp_server) {
            dp_recv(fd, 10, 0);
            dp_recv(fd, 10, 0);
        }
        dp_close(fd);
    }
}

static void end_by_shutdown(int fd) { DP(shutdown(fd, SHUT_WR)); }
static void end_with_last_word(int fd) {
    dp_say(fd, "end");
    DP(shutdown(fd, SHUT_WR));
}
static void end_by_reset(int fd) {
    struct linger none = {1, 0};
    int copy = (int)DP_MUST(dup(fd));
    DP_MUST(setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof none));
    int nothing = open("/dev/null", O_RDONLY);
    DP_MUST(dup2(nothing, fd));  // the case closes the number once more
    DP_MUST(close(nothing));
    DP(close(copy));
}

DP_CASE(switch, then_shutdown) { end_after(end_by_shutdown); }
DP_CASE(switch, then_last_word_and_shutdown) { end_after(end_with_last_word); }
DP_CASE(switch, then_reset) { end_after(end_by_reset); }

DP_CASE(switch, one_way_stream_only) {
    // The receiver never sends: a lane must come, if at all, by the amount.
    int fd = dp_pair(DP_COLD);
    if (dp_server) dp_get(fd, 1, 60 << 20, 100000);
    else dp_put(fd, 1, 60 << 20, 40000);
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(switch, one_way_messages_only, .kernel = "small messages in one direction may stay in the kernel") {
    int fd = dp_pair(DP_COLD | DP_NODELAY);
    if (dp_server) dp_get(fd, 1, 100000, 50);
    else dp_put(fd, 1, 100000, 50);
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(switch, timeouts_across) {
    int fd = dp_pair(DP_COLD);
    struct timeval wait = {0, 15000};
    DP(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait));
    for (unsigned round = 0; round < 20; round++) {
        char byte;
        if (dp_server && round % 4 == 0) {
            ssize_t got = recv(fd, &byte, 1, 0);
            dp_log("round %u: %zd %s", round, got, got < 0 ? dp_errno_name(errno) : "");
        }
        dp_sync("round");
        if (!dp_server && send(fd, "t", 1, 0) != 1) dp_fail("send");
        dp_settle_for(fd, POLLIN);
        if (recv(fd, &byte, 1, 0) != 1) dp_fail("recv: %s", dp_errno_name(errno));
        if (dp_server && send(fd, "t", 1, 0) != 1) dp_fail("send");
        dp_sync("answered");
    }
    dp_close(fd);
}
