// What becomes of a flow when its receiver is closed, shut down, killed, or replaced by another on the same port.
#include "datagrams.h"

/// The receiver's socket is replaced by another one of the same port, in the same process.
static void bound_anew(bool connected, bool unread) {
    int fd = dp_udp_fixed("127.0.0.1");
    dp_place peer = dp_udp_swap(fd, NULL), own = dp_place_of(fd);
    if (connected) dp_udp_connect(fd, &peer);
    dp_sync("connected");
    dp_udp_warm(fd, connected ? NULL : &peer);
    if (!dp_server && unread) dp_say_to(fd, "dies with the old one", &peer);
    if (dp_server && unread) dp_settle_for(fd, POLLIN);
    dp_sync("running");
    if (dp_server) {
        dp_close(fd);
        fd = dp_udp_bind("127.0.0.1", dp_place_port(&own));
        if (connected) dp_udp_connect(fd, &peer);
    }
    dp_sync("bound anew");
    if (!dp_server) {
        dp_say_to(fd, "to the new one", &peer);
        dp_say_to(fd, "second to the new one", &peer);
        dp_recv_from(fd, 100, 0);
    } else {
        dp_recv_from(fd, 100, 0);
        dp_recv_from(fd, 100, 0);
        dp_say_to(fd, "from the new one", &peer);
    }
    dp_udp_warm(fd, connected ? NULL : &peer);
    dp_recv(fd, 100, MSG_DONTWAIT);
    dp_sync("end");
    dp_close(fd);
}
DP_DATAGRAM(datagram_ends, bound_anew) { bound_anew(false, false); }
DP_DATAGRAM(datagram_ends, bound_anew_with_unread_datagrams) { bound_anew(false, true); }
DP_DATAGRAM(datagram_ends, bound_and_connected_anew) { bound_anew(true, false); }
DP_DATAGRAM(datagram_ends, bound_and_connected_anew_with_unread_datagrams) { bound_anew(true, true); }

/// The sender's socket is replaced by another one of the same port: the same two addresses, one of them new behind.
DP_DATAGRAM(datagram_ends, sender_bound_anew) {
    int fd = dp_udp_fixed("127.0.0.1");
    dp_place peer = dp_udp_swap(fd, NULL), own = dp_place_of(fd);
    for (int life = 0; life < 4; life++) {
        dp_udp_warm(fd, &peer);
        if (dp_server) {
            dp_recv_from(fd, 100, 0);
        } else {
            dp_say_to(fd, "last words", &peer);
            dp_close(fd);
            fd = dp_udp_bind("127.0.0.1", dp_place_port(&own));
        }
    }
    dp_udp_warm(fd, &peer);
    dp_sync("end");
    dp_close(fd);
}

/// What a sender sent before it ended is still there, all of it.
DP_DATAGRAM(datagram_ends, sender_gone_before_the_receiver_reads) {
    dp_place peer;
    int fd = dp_udp_open(0, &peer);
    if (!dp_server) {
        for (uint32_t i = 0; i < 30; i++) dp_send_number(fd, &peer, 100 + i, 1, i);
        dp_close(fd);
    }
    dp_sync("gone");
    if (dp_server) {
        for (uint32_t i = 0; i < 30; i++) dp_recv_number(fd, 100 + i, 1, i);
        dp_recv(fd, 10, MSG_DONTWAIT);
        dp_close(fd);
    }
    dp_log("30 datagrams");
    dp_sync("end");
}

/// The server's part of a case in a child process of its own; the client talks with that child.
static pid_t start_receiver(dp_gate *ready, uint16_t port, void (*body)(int fd, const dp_place *peer)) {
    pid_t child = dp_fork();
    if (child != 0) return child;
    int fd = dp_udp_bind("127.0.0.1", port);
    dp_place peer = dp_udp_swap(fd, NULL);
    dp_udp_connect(fd, &peer);
    dp_sync("connected");
    dp_udp_warm(fd, NULL);
    body(fd, &peer);
    dp_proof(fd);
    dp_gate_open(ready);
    for (;;) pause();
}

static void nothing_more(int fd, const dp_place *peer) {
    (void)fd;
    (void)peer;
}

static void leave_some_unread(int fd, const dp_place *peer) {
    (void)peer;
    dp_sync("some sent");
    dp_settle_for(fd, POLLIN);
}

/// A receiver is killed in the middle; its place is taken by another process, and later by the server itself.
static void killed(void (*body)(int, const dp_place *)) {
    dp_gate ready = dp_gate_make();
    uint16_t port = dp_server ? dp_udp_free_port("127.0.0.1") : 0;
    int fd = dp_server ? -1 : dp_udp("127.0.0.1", 0);
    for (int life = 0; life < 2; life++) {
        if (dp_server) {
            pid_t child = start_receiver(&ready, port, body);
            dp_gate_wait(&ready);
            DP_MUST(kill(child, SIGKILL));
            dp_reap(child, "receiver");
        } else {
            dp_place peer = dp_udp_swap(fd, NULL);
            if (life == 0) dp_udp_connect(fd, &peer);
            dp_sync("connected");
            dp_udp_warm(fd, NULL);
            if (body == leave_some_unread) {
                for (uint32_t i = 0; i < 10; i++) dp_send_number(fd, NULL, 200, 1, i);
                dp_sync("some sent");
            }
        }
        dp_sync("killed");
        if (!dp_server) {
            dp_recv(fd, 10, MSG_DONTWAIT);
            dp_say(fd, "to a dead one");
            dp_settle_for(fd, POLLERR);
            dp_say(fd, "refused");
            dp_poll(fd, POLLIN | POLLOUT, 0);
        }
        dp_sync("refused");
    }
    if (dp_server) fd = dp_udp_bind("127.0.0.1", port);
    dp_place peer = dp_udp_swap(fd, NULL);
    if (dp_server) dp_udp_connect(fd, &peer);
    dp_sync("connected");
    dp_udp_warm(fd, NULL);
    dp_log("goes on with the third");
    dp_sync("end");
    dp_close(fd);
}
DP_DATAGRAM(datagram_ends, receiver_killed) { killed(nothing_more); }
DP_DATAGRAM(datagram_ends, receiver_killed_with_unread_datagrams) { killed(leave_some_unread); }

/// A receiver is killed with datagrams unread, and the server takes its port before the sender waits: it gets none of those.
DP_DATAGRAM(datagram_ends, unread_datagrams_do_not_reach_a_successor) {
    dp_gate ready = dp_gate_make();
    uint16_t port = dp_server ? dp_udp_free_port("127.0.0.1") : 0;
    int fd = dp_server ? -1 : dp_udp("127.0.0.1", 0);
    if (dp_server) {
        pid_t child = start_receiver(&ready, port, leave_some_unread);
        dp_gate_wait(&ready);
        DP_MUST(kill(child, SIGKILL));
        dp_reap(child, "receiver");
        fd = dp_udp_bind("127.0.0.1", port);
    } else {
        dp_place peer = dp_udp_swap(fd, NULL);
        dp_udp_connect(fd, &peer);
        dp_sync("connected");
        dp_udp_warm(fd, NULL);
        for (uint32_t i = 0; i < 10; i++) dp_send_number(fd, NULL, 200, 1, i);
        dp_sync("some sent");
    }
    dp_sync("replaced");
    if (!dp_server) dp_poll(fd, POLLIN, 20);
    dp_sync("waited");
    if (dp_server) dp_recv(fd, 300, MSG_DONTWAIT);
    dp_sync("nothing");
    dp_close(fd);
}

/// A sender that is killed: what it had sent arrives, and the next process on its port is another flow to the receiver.
DP_DATAGRAM(datagram_ends, sender_killed) {
    dp_gate ready = dp_gate_make();
    uint16_t port = dp_server ? 0 : dp_udp_free_port("127.0.0.1");
    int fd = dp_server ? dp_udp("127.0.0.1", 0) : -1;
    for (uint32_t life = 0; life < 3; life++) {
        if (!dp_server) {
            pid_t child = dp_fork();
            if (child == 0) {
                fd = dp_udp_bind("127.0.0.1", port);
                dp_place peer = dp_udp_swap(fd, NULL);
                dp_udp_warm(fd, &peer);
                for (uint32_t i = 0; i < 20; i++) dp_send_number(fd, &peer, 100, life, i);
                dp_proof(fd);
                dp_gate_open(&ready);
                for (;;) pause();
            }
            dp_gate_wait(&ready);
            DP_MUST(kill(child, SIGKILL));
            dp_reap(child, "sender");
        } else {
            dp_place peer = dp_udp_swap(fd, NULL);
            dp_udp_warm(fd, &peer);
        }
        dp_sync("killed");
        for (uint32_t i = 0; dp_server && i < 20; i++) dp_recv_number(fd, 100, life, i);
        dp_sync("read");
    }
    dp_log("three lives");
    if (dp_server) dp_close(fd);
}

/// Who takes the address of a killed one is answered at once, by two datagrams, not into the ring of the dead.
DP_DATAGRAM(datagram_ends, successor_of_a_killed_one_is_answered) {
    dp_gate ready = dp_gate_make();
    uint16_t port = dp_server ? 0 : dp_udp_free_port("127.0.0.1");
    int fd = dp_server ? dp_udp("127.0.0.1", 0) : -1;
    for (uint32_t life = 0; life < 3; life++) {
        pid_t child = dp_server ? -1 : dp_fork();
        if (child > 0) dp_gate_wait(&ready);
        else {
            if (child == 0) fd = dp_udp_bind("127.0.0.1", port);
            dp_place peer = dp_udp_swap(fd, NULL);
            if (life == 0) dp_udp_warm(fd, &peer);
            for (uint32_t i = 0; i < 10; i++) {
                if (child == 0) dp_send_number(fd, &peer, 100, life, i);
                if (dp_server) dp_recv_number(fd, 100, life, i);
                for (uint32_t k = 2 * i; k < 2 * i + 2; k++) {
                    if (dp_server) dp_send_number(fd, &peer, 100, life, k);
                    else dp_recv_number(fd, 100, life, k);
                }
            }
        }
        if (child == 0) {
            dp_proof(fd);
            dp_gate_open(&ready);
            for (;;) pause();
        }
        if (child > 0) {
            DP_MUST(kill(child, SIGKILL));
            dp_reap(child, "sender");
        }
        dp_sync("killed");
    }
    dp_log("three lives");
    if (dp_server) dp_close(fd);
}

static void shut(int how) {
    int fd = dp_udp_pair(0);
    if (!dp_server) {
        dp_say(fd, "before");
        dp_say(fd, "before, too");
    }
    dp_sync("running");
    if (dp_server) {
        dp_settle_for(fd, POLLIN);
        DP(shutdown(fd, how));
        dp_poll(fd, POLLIN | POLLOUT | POLLRDHUP, 0);
        dp_recv(fd, 100, 0);
        dp_recv(fd, 100, 0);
        dp_recv(fd, 100, MSG_DONTWAIT);
        dp_poll(fd, POLLIN | POLLOUT | POLLRDHUP, 0);
        dp_send(fd, "from here", 9, MSG_NOSIGNAL);
        dp_send(fd, "", 0, MSG_NOSIGNAL);
        dp_socket_error(fd);
    }
    dp_sync("shut");
    if (!dp_server) dp_say(fd, "after");
    if (!dp_server && how == SHUT_RD) dp_recv(fd, 100, 0);
    dp_sync("sent after");
    if (dp_server && how != SHUT_WR) dp_settle(fd, 5);
    if (dp_server) dp_recv(fd, 100, 0);
    dp_recv(fd, 100, MSG_DONTWAIT);
    dp_sync("end");
    dp_close(fd);
}
DP_DATAGRAM(datagram_ends, shutdown_of_reading) { shut(SHUT_RD); }
DP_DATAGRAM(datagram_ends, shutdown_of_writing) { shut(SHUT_WR); }
DP_DATAGRAM(datagram_ends, shutdown_of_both) { shut(SHUT_RDWR); }

DP_DATAGRAM(datagram_ends, shutdown_of_an_unconnected_one) {
    dp_place peer;
    int fd = dp_udp_open(0, &peer);
    if (dp_server) {
        DP(shutdown(fd, SHUT_RD));
        dp_poll(fd, POLLIN | POLLOUT | POLLRDHUP, 0);
        dp_recv(fd, 10, 0);
        DP(shutdown(fd, SHUT_WR));
        dp_send_to(fd, "x", 1, MSG_NOSIGNAL, &peer);
        dp_poll(fd, POLLIN | POLLOUT | POLLRDHUP, 0);
        DP(shutdown(fd, 7));
    }
    dp_sync("end");
    dp_recv(fd, 10, MSG_DONTWAIT);
    dp_close(fd);
}
