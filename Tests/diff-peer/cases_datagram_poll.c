// Readiness of sockets for datagrams by poll, ppoll and select.
#include "datagrams.h"

DP_DATAGRAM(datagram_poll, before_and_after) {
    dp_place peer;
    int fd = dp_udp_open(DP_COLD, &peer);
    for (int warm = 0; warm < 2; warm++) {
        dp_poll(fd, POLLIN | POLLOUT, 0);
        dp_poll(fd, POLLIN | POLLRDNORM | POLLRDBAND | POLLPRI, 0);
        dp_poll(fd, POLLOUT | POLLWRNORM | POLLWRBAND, 0);
        dp_poll(fd, 0, 0);
        dp_poll(fd, POLLIN, 10);
        dp_sync("looked");
        if (!dp_server) dp_say_to(fd, "one", &peer);
        if (!dp_server) dp_say_to(fd, "two", &peer);
        dp_sync("sent");
        if (dp_server) {
            dp_settle_for(fd, POLLIN);
            dp_poll(fd, POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM, 0);
            dp_recv(fd, 10, 0);
            dp_settle_for(fd, POLLIN);
            dp_poll(fd, POLLIN | POLLOUT, 0);  // the other one is left
            dp_recv(fd, 10, MSG_PEEK);
            dp_poll(fd, POLLIN, 0);
            dp_recv(fd, 1, 0);
            dp_poll(fd, POLLIN, 0);  // what was cut off is not
        }
        dp_sync("read");
        if (!warm) dp_udp_warm(fd, &peer);
    }
    dp_close(fd);
}

static void sleep_until_datagram(int timeout) {
    int fd = dp_udp_pair(0);
    for (int i = 0; i < 3; i++) {
        if (dp_server) {
            dp_tell("blocks");
            dp_poll(fd, POLLIN, timeout);
            dp_recv(fd, 100, MSG_DONTWAIT);
            dp_tell("read");
        } else {
            dp_until_peer_blocked("blocks");
            dp_say(fd, "wake up");
            dp_hear("read");
        }
    }
    dp_sync("end");
    dp_close(fd);
}
DP_DATAGRAM(datagram_poll, sleeps_for_ever) { sleep_until_datagram(-1); }
DP_DATAGRAM(datagram_poll, sleeps_with_a_limit) { sleep_until_datagram(15000); }

/// The server never sends and sleeps in poll for each datagram.
DP_DATAGRAM(datagram_poll, one_way) {
    int fd = dp_udp_pair(DP_COLD);
    for (uint32_t i = 0; i < 300; i++) {
        struct pollfd p = {fd, POLLIN, 0};
        if (!dp_server) dp_send_number(fd, NULL, 40, 1, i);
        if (dp_server && (poll(&p, 1, -1) != 1 || p.revents != POLLIN)) dp_fail("poll: %x", p.revents);
        if (dp_server) dp_recv_number(fd, 40, 1, i);
        if (i % 4 == 3) dp_sync("four more");
    }
    dp_log("300");
    dp_close(fd);
}

DP_DATAGRAM(datagram_poll, several_sockets) {
    enum { MANY = 6 };
    int fds[MANY];
    dp_place peers[MANY];
    for (int i = 0; i < MANY; i++) fds[i] = dp_udp_open(i == 0 ? DP_COLD : 0, &peers[i]);
    for (int i = 0; i < 24; i++) {
        int which = i * 5 % MANY;
        if (dp_server) {
            struct pollfd p[MANY];
            for (int n = 0; n < MANY; n++) p[n] = (struct pollfd){fds[n], POLLIN, 0};
            dp_tell("blocks");
            int ready = poll(p, MANY, -1), at = -1;
            for (int n = 0; n < MANY; n++)
                if (p[n].revents) at = n;
            dp_log("%d ready, number %d: %s", ready, at, dp_poll_names((unsigned short)p[at].revents));
            dp_recv(fds[at], 10, MSG_DONTWAIT);
            dp_tell("read");
        } else {
            if (i % 4 == 0) dp_until_peer_blocked("blocks");
            else dp_hear("blocks");
            dp_say_to(fds[which], "here", &peers[which]);
            dp_hear("read");
        }
    }
    dp_sync("end");
    for (int i = 0; i < MANY; i++) dp_close(fds[i]);
}

DP_DATAGRAM(datagram_poll, beside_a_stream) {
    int stream = dp_pair(0), fd = dp_udp_pair(0);
    for (int i = 0; i < 40; i++) {
        bool by_stream = i % 3 == 0;
        if (dp_server) {
            struct pollfd p[2] = {{stream, POLLIN, 0}, {fd, POLLIN, 0}};
            if (poll(p, 2, -1) != 1) dp_fail("poll");
            if (!!p[0].revents != by_stream) dp_fail("the wrong one is ready");
            char data[10];
            if (recv(by_stream ? stream : fd, data, sizeof data, MSG_DONTWAIT) != 5) dp_fail("recv: %s", dp_errno_name(errno));
        } else if (send(by_stream ? stream : fd, "hello", 5, 0) != 5) {
            dp_fail("send");
        }
        dp_sync("next");
    }
    dp_log("40 by two ways");
    dp_close(fd);
    dp_close(stream);
}

DP_DATAGRAM(datagram_poll, by_select) {
    int fd = dp_udp_pair(0);
    for (int i = 0; i < 4; i++) {
        fd_set in, out, bad;
        FD_ZERO(&in);
        FD_ZERO(&out);
        FD_ZERO(&bad);
        FD_SET(fd, &in);
        FD_SET(fd, &out);
        FD_SET(fd, &bad);
        struct timeval none = {0, 0};
        if (!dp_server && i % 2) dp_say(fd, "one");
        if (!dp_server && i % 2) dp_say(fd, "two");
        dp_sync("sent");
        if (dp_server && i % 2) dp_settle_for(fd, POLLIN);
        dp_log("select = %d", select(fd + 1, &in, &out, &bad, &none));
        dp_log("in %d, out %d, exceptions %d", FD_ISSET(fd, &in), FD_ISSET(fd, &out), FD_ISSET(fd, &bad));
        if (dp_server && i % 2) dp_recv(fd, 10, 0), dp_recv(fd, 10, 0);
        dp_sync("looked");
    }
    if (dp_server) {
        fd_set in;
        FD_ZERO(&in);
        FD_SET(fd, &in);
        dp_tell("blocks");
        dp_log("select = %d", select(fd + 1, &in, NULL, NULL, NULL));
        dp_recv(fd, 10, MSG_DONTWAIT);
    } else {
        dp_until_peer_blocked("blocks");
        dp_say(fd, "wake");
    }
    dp_sync("end");
    dp_close(fd);
}

static volatile sig_atomic_t caught;
static void catch(int number) { caught = number; }

/// ppoll lets a signal in that is blocked outside; a datagram beside it is told as soon as it is there.
DP_DATAGRAM(datagram_poll, with_a_mask) {
    int fd = dp_udp_pair(0);
    if (dp_server) {
        sigset_t blocked, none;
        struct sigaction action = {.sa_handler = catch};
        sigemptyset(&none);
        sigemptyset(&blocked);
        sigaddset(&blocked, SIGUSR1);
        DP_MUST(sigprocmask(SIG_BLOCK, &blocked, NULL));
        DP_MUST(sigaction(SIGUSR1, &action, NULL));
        struct pollfd p = {fd, POLLIN, 0};
        struct timespec limit = {0, 20000000};
        DP(ppoll(&p, 1, &limit, NULL));
        dp_tell("blocks");
        DP(ppoll(&p, 1, NULL, &none));
        dp_log("caught %s", caught == SIGUSR1 ? "it" : "nothing");
        dp_tell("blocks again");
        DP(ppoll(&p, 1, NULL, &none));
        dp_recv(fd, 10, MSG_DONTWAIT);
    } else {
        dp_until_peer_blocked("blocks");
        DP_MUST(kill(dp_peer_pid, SIGUSR1));
        dp_until_peer_blocked("blocks again");
        dp_say(fd, "wake");
    }
    dp_sync("end");
    dp_close(fd);
}

/// A socket is writable at once, whatever its receiver does.
DP_DATAGRAM(datagram_poll, always_writable) {
    int fd = dp_udp_pair(DP_NONBLOCK);
    if (!dp_server) {
        int refused = 0, ready = 0;
        char data[1000] = "";
        for (int i = 0; i < 2000; i++) {
            struct pollfd p = {fd, POLLOUT, 0};
            ready += poll(&p, 1, 0) == 1 && p.revents == POLLOUT;
            refused += send(fd, data, sizeof data, 0) != sizeof data;
        }
        dp_log("%d times writable, %d sends refused", ready, refused);
    }
    dp_sync("sent");  // the server has read nothing of it
    if (dp_server) {
        int got = 0;
        char data[1001];
        while (recv(fd, data, sizeof data, 0) == 1000) got++;
        dp_log("%s, then %s", got > 0 ? "some arrived" : "none arrived", dp_errno_name(errno));
    }
    dp_sync("drained");
    dp_udp_warm(fd, NULL);
    dp_close(fd);
}
