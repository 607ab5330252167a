// poll and ppoll.
#include "harness.h"
#include <sys/eventfd.h>
#include <sys/timerfd.h>

DP_CASE(readiness, poll_states) {
    int fd = dp_pair(0);
    dp_poll(fd, POLLIN | POLLOUT, 0);
    dp_poll(fd, POLLIN, 0);
    dp_poll(fd, 0, 0);
    dp_poll(fd, POLLIN | POLLRDNORM | POLLOUT | POLLWRNORM | POLLWRBAND | POLLPRI | POLLRDBAND, 0);
    dp_sync("idle");
    if (dp_server) {
        dp_settle(fd, 4);
        dp_poll(fd, POLLIN | POLLOUT, 0);
        dp_poll(fd, POLLIN, -1);
        dp_poll(fd, POLLRDNORM, -1);
        dp_poll(fd, POLLPRI, 0);
        dp_recv(fd, 2, 0);
        dp_poll(fd, POLLIN, 0);
        dp_recv(fd, 2, 0);
        dp_poll(fd, POLLIN, 0);
    } else {
        dp_say(fd, "data");
    }
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(readiness, poll_waits_for_data) {
    int fd = dp_pair(0);
    if (dp_server) {
        for (int i = 0; i < 3; i++) {
            dp_tell("blocks");
            dp_poll(fd, POLLIN, i == 1 ? 10000 : -1);
            dp_recv(fd, 100, 0);
        }
    } else {
        for (int i = 0; i < 3; i++) {
            dp_until_peer_blocked("blocks");
            dp_say(fd, "wake up");
        }
    }
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(readiness, poll_waits_for_space) {
    int fd = dp_pair(DP_NONBLOCK);
    if (dp_server) {
        size_t sent = dp_stuff(fd, 1, 4000, 0);
        dp_tell("blocks");
        dp_poll(fd, POLLOUT, -1);
        dp_tell_sent(sent);
    } else {
        dp_until_peer_blocked("blocks");
        // The count is told when the peer wakes, so drain what is there until then.
        struct pollfd p = {DP_FD_CHANNEL, POLLIN, 0};
        static uint8_t buffer[65536];
        size_t done = 0, sent = 0;
        while (poll(&p, 1, 0) == 0) {
            ssize_t got = recv(fd, buffer, sizeof buffer, 0);
            if (got > 0) done += got;
        }
        dp_hear_data(&sent, sizeof sent);
        dp_drain_count(fd, 1, done, sent - done);
    }
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(readiness, poll_times_out) {
    int fd = dp_pair(0);
    dp_poll(fd, POLLIN, 30);
    dp_poll(fd, POLLIN, 1);
    dp_poll(fd, POLLIN | POLLPRI | POLLRDHUP, 0);
    struct pollfd p = {fd, POLLIN, 0x7f};
    struct timespec soon = {0, 20000000}, bad = {0, 2000000000};
    DP(ppoll(&p, 1, &soon, NULL));
    dp_log("%s, left %ld.%09ld", dp_poll_names(p.revents), (long)soon.tv_sec, soon.tv_nsec);
    DP(ppoll(&p, 1, &bad, NULL));
    bad = (struct timespec){-1, 0};
    DP(ppoll(&p, 1, &bad, NULL));
    DP(poll(NULL, 0, 1));
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(readiness, poll_sees_half_close) {
    int fd = dp_pair(0);
    if (dp_server) {
        dp_tell("blocks");
        dp_poll(fd, POLLRDHUP, -1);
        dp_poll(fd, POLLIN, 0);
        dp_poll(fd, POLLIN | POLLRDHUP | POLLOUT, 0);
        dp_recv(fd, 10, 0);
        dp_poll(fd, POLLIN | POLLRDHUP | POLLOUT, 0);
        dp_poll(fd, 0, 0);
        DP(shutdown(fd, SHUT_WR));
        dp_settle_for(fd, POLLHUP);
        dp_poll(fd, 0, 0);
    } else {
        dp_until_peer_blocked("blocks");
        DP(shutdown(fd, SHUT_WR));
    }
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(readiness, poll_sees_a_reset) {
    int fd = dp_pair(0);
    if (dp_server) {
        dp_tell("blocks");
        dp_poll(fd, 0, -1);  // ERR and HUP come unasked
        dp_poll(fd, POLLIN, 0);
        dp_poll(fd, POLLOUT, 0);
        dp_socket_error(fd);
        dp_poll(fd, POLLIN | POLLOUT | POLLRDHUP, 0);
        dp_close(fd);
    } else {
        struct linger none = {1, 0};
        DP_MUST(setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof none));
        dp_until_peer_blocked("blocks");
        dp_close(fd);
    }
    dp_sync("end");
}

DP_CASE(readiness, poll_of_unconnected_sockets, .solo = true, .kernel = "no connection") {
    int fd = dp_socket_for("127.0.0.1", 0);
    dp_poll(fd, POLLIN | POLLOUT | POLLRDHUP, 0);
    struct sockaddr_storage at;
    socklen_t length = dp_address("127.0.0.1", 0, &at);
    DP_MUST(bind(fd, (struct sockaddr *)&at, length));
    dp_poll(fd, POLLIN | POLLOUT | POLLRDHUP, 0);
    DP_MUST(listen(fd, 1));
    dp_poll(fd, POLLIN | POLLOUT | POLLRDHUP, 0);
    dp_close(fd);
}

static void poll_three(int fd, int other, int third, int timeout) {
    struct pollfd p[4] = {{other, POLLIN, 0}, {fd, POLLIN, 0}, {-5, POLLIN, 7}, {third, POLLIN, 0}};
    int ready = poll(p, 4, timeout);
    dp_log("poll = %d:", ready);
    for (int i = 0; i < 4; i++) dp_log("  %d: %s", i, dp_poll_names((unsigned short)p[i].revents));
}

DP_CASE(readiness, poll_of_mixed_descriptors) {
    int fd = dp_pair(0);
    if (!dp_server) {
        dp_hear("send");
        dp_say(fd, "tcp");
        dp_sync("end");
        dp_close(fd);
        return;
    }
    int ends[2], event = eventfd(0, 0);
    DP_MUST(pipe(ends));
    poll_three(fd, ends[0], event, 0);
    DP(write(ends[1], "p", 1));
    poll_three(fd, ends[0], event, -1);
    uint64_t one = 1;
    DP(write(event, &one, sizeof one));
    poll_three(fd, ends[0], event, -1);
    dp_tell("send");
    dp_settle(fd, 3);
    poll_three(fd, ends[0], event, -1);
    DP(close(ends[1]));
    dp_read(ends[0], 5);
    poll_three(fd, ends[0], event, -1);
    DP(close(ends[0]));
    poll_three(fd, ends[0], event, -1);
    DP(close(event));
    dp_sync("end");
    dp_close(fd);
}

static int wake_pipe[2];
static void write_to_pipe(void *argument) {
    dp_gate_wait(argument);
    if (write(wake_pipe[1], "w", 1) != 1) dp_log("pipe");
}

DP_CASE(readiness, poll_is_woken_by_another_descriptor) {
    int fd = dp_pair(0);
    DP_MUST(pipe(wake_pipe));
    dp_gate gate = dp_gate_make();
    dp_worker w;
    dp_start(&w, "worker", write_to_pipe, &gate);
    dp_gate_open(&gate);
    struct pollfd p[2] = {{fd, POLLIN, 0}, {wake_pipe[0], POLLIN, 0}};
    DP(poll(p, 2, -1));
    dp_log("%s", dp_poll_names(p[0].revents));
    dp_join(&w);
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(readiness, poll_with_a_timer) {
    int fd = dp_pair(0);
    int timer = timerfd_create(CLOCK_MONOTONIC, 0);
    struct itimerspec soon = {{0, 0}, {0, 20000000}};
    DP(timerfd_settime(timer, 0, &soon, NULL));
    struct pollfd p[2] = {{fd, POLLIN, 0}, {timer, POLLIN, 0}};
    DP(poll(p, 2, -1));
    dp_log("socket %s", dp_poll_names(p[0].revents));
    dp_log("timer %s", dp_poll_names(p[1].revents));
    DP(close(timer));
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(readiness, poll_many_sockets) {
    enum { MANY = 12 };
    int fds[MANY];
    for (int i = 0; i < MANY; i++) fds[i] = dp_pair(0);
    if (dp_server) {
        for (int round = 0; round < MANY; round++) {
            struct pollfd p[MANY];
            for (int i = 0; i < MANY; i++) p[i] = (struct pollfd){fds[i], POLLIN, 0};
            dp_tell("next");
            DP(poll(p, MANY, -1));
            for (int i = 0; i < MANY; i++)
                if (p[i].revents) {
                    dp_log("socket %d: %s", i, dp_poll_names(p[i].revents));
                    dp_recv(fds[i], 10, 0);
                }
        }
    } else {
        for (int round = 0; round < MANY; round++) {
            dp_hear("next");
            dp_say(fds[round * 5 % MANY], "hello");
        }
    }
    dp_sync("end");
    for (int i = 0; i < MANY; i++) dp_close(fds[i]);
}

DP_CASE(readiness, poll_same_socket_twice) {
    int fd = dp_pair(0);
    if (dp_server) {
        dp_settle(fd, 1);
        struct pollfd p[3] = {{fd, POLLIN, 0}, {fd, POLLOUT, 0}, {fd, POLLPRI, 0}};
        DP(poll(p, 3, -1));
        for (int i = 0; i < 3; i++) dp_log("%s", dp_poll_names(p[i].revents));
    } else {
        dp_say(fd, "x");
    }
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(readiness, poll_of_a_listener) {
    if (dp_server) {
        int listener = dp_listen("127.0.0.1", DP_NONBLOCK);
        dp_poll(listener, POLLIN | POLLOUT, 0);
        dp_tell("blocks");
        dp_poll(listener, POLLIN, -1);
        int fd = dp_accept(listener, 0);
        dp_poll(listener, POLLIN, 0);
        dp_warm(fd);
        dp_close(fd);
        dp_close(listener);
    } else {
        dp_hear_port();
        dp_until_peer_blocked("blocks");
        int fd = dp_dial("127.0.0.1", 0);
        dp_warm(fd);
        dp_close(fd);
    }
}
