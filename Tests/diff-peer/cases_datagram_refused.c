// Nobody at the other end: ECONNREFUSED for those that are connected, the error queue for those that ask for it.
#include "datagrams.h"
#include <linux/errqueue.h>

static void settle_error(int fd) { dp_settle_for(fd, POLLERR); }

/// A connected socket whose peer's port nobody has.
static int connected_to_nobody(const char *address, int flags) {
    dp_place nobody = dp_place_at(address, dp_udp_free_port(address));
    int fd = dp_udp(address, flags);
    dp_name(dp_place_port(&nobody), "nobody's port");
    dp_udp_connect(fd, &nobody);
    return fd;
}

DP_DATAGRAM(datagram_refused, at_the_next_send, .solo = true, .kernel = "nobody receives") {
    int fd = connected_to_nobody("127.0.0.1", 0);
    dp_say(fd, "one");
    settle_error(fd);
    dp_say(fd, "two");
    dp_say(fd, "three");
    settle_error(fd);
    dp_say(fd, "four");
    dp_socket_error(fd);
    dp_close(fd);
}

DP_DATAGRAM(datagram_refused, at_the_next_receive, .solo = true, .kernel = "nobody receives") {
    int fd = connected_to_nobody("127.0.0.1", 0);
    dp_say(fd, "one");
    settle_error(fd);
    dp_poll(fd, POLLIN | POLLOUT, 0);
    dp_poll(fd, 0, 0);
    dp_recv(fd, 10, 0);
    dp_poll(fd, POLLIN | POLLOUT, 0);
    dp_recv(fd, 10, MSG_DONTWAIT);
    dp_say(fd, "two");
    settle_error(fd);
    dp_recv(fd, 10, MSG_DONTWAIT | MSG_PEEK);
    dp_recv(fd, 10, MSG_DONTWAIT);
    dp_close(fd);
}

DP_DATAGRAM(datagram_refused, by_SO_ERROR, .solo = true, .kernel = "nobody receives") {
    int fd = connected_to_nobody("::1", DP_NONBLOCK);
    dp_say(fd, "one");
    settle_error(fd);
    dp_socket_error(fd);
    dp_socket_error(fd);
    dp_poll(fd, POLLIN | POLLOUT, 0);
    dp_recv(fd, 10, 0);
    dp_say(fd, "two");
    settle_error(fd);
    dp_recv(fd, 10, 0);
    dp_recv(fd, 10, 0);
    dp_close(fd);
}

/// The receiver sleeps in recv when another of its threads sends to the port that nobody has.
static int refused_fd;

static void receive_body(void *unused) {
    (void)unused;
    dp_about_to_block();
    dp_recv(refused_fd, 10, 0);
}

DP_DATAGRAM(datagram_refused, wakes_a_sleeper, .solo = true, .kernel = "nobody receives") {
    refused_fd = connected_to_nobody("127.0.0.1", 0);
    dp_worker w;
    dp_start(&w, "sleeper", receive_body, NULL);
    dp_until_blocked(&w);
    dp_say(refused_fd, "one");
    dp_join(&w);
    dp_poll(refused_fd, POLLIN | POLLOUT, 0);
    dp_close(refused_fd);
}

DP_DATAGRAM(datagram_refused, unconnected_hears_nothing, .solo = true, .kernel = "nobody receives") {
    int fd = dp_udp("127.0.0.1", 0);
    dp_place nobody = dp_place_at("127.0.0.1", dp_udp_free_port("127.0.0.1"));
    for (int i = 0; i < 3; i++) {
        dp_say_to(fd, "is anybody there?", &nobody);
        dp_poll(fd, POLLIN, 20);
    }
    dp_socket_error(fd);
    dp_recv(fd, 10, MSG_DONTWAIT);
    dp_close(fd);
}

/// The server closes in the middle of a running flow: the client's next datagram is refused, and then the next call says so.
static void peer_closes(bool one_way, bool unread) {
    int fd = dp_udp_pair(DP_COLD);
    one_way ? dp_udp_warm_one_way(fd, NULL) : dp_udp_warm(fd, NULL);
    if (unread && !dp_server) {
        dp_say(fd, "never");
        dp_say(fd, "read");
    }
    if (unread && dp_server) dp_settle_for(fd, POLLIN);
    dp_sync("running");
    if (dp_server) dp_close(fd);
    dp_sync("closed");
    if (!dp_server) {
        dp_poll(fd, POLLIN | POLLOUT, 0);
        dp_recv(fd, 10, MSG_DONTWAIT);
        dp_say(fd, "to nobody");
        settle_error(fd);
        dp_poll(fd, POLLIN | POLLOUT, 0);
        dp_say(fd, "refused");
        dp_say(fd, "sent again");
        settle_error(fd);
        dp_recv(fd, 10, 0);
        dp_send(fd, "", 0, 0);
        settle_error(fd);
        dp_socket_error(fd);
        dp_recv(fd, 10, MSG_DONTWAIT);
        dp_close(fd);
    }
    dp_sync("end");
}
DP_DATAGRAM(datagram_refused, peer_closes) { peer_closes(false, false); }
DP_DATAGRAM(datagram_refused, peer_closes_with_unread_datagrams) { peer_closes(false, true); }
DP_DATAGRAM(datagram_refused, one_way_peer_closes) { peer_closes(true, false); }
DP_DATAGRAM(datagram_refused, one_way_peer_closes_with_unread_datagrams) { peer_closes(true, true); }

/// The client has unread answers when the server closes; they can be read after the error has been told.
DP_DATAGRAM(datagram_refused, answers_wait_behind_the_error) {
    int fd = dp_udp_pair(0);
    if (dp_server) {
        dp_say(fd, "answer one");
        dp_say(fd, "answer two");
        dp_close(fd);
    }
    dp_sync("closed");
    if (!dp_server) {
        dp_settle_for(fd, POLLIN);
        dp_say(fd, "to nobody");
        settle_error(fd);
        dp_poll(fd, POLLIN | POLLOUT, 0);
        dp_recv(fd, 100, 0);
        dp_recv(fd, 100, 0);
        dp_recv(fd, 100, 0);
        dp_recv(fd, 100, MSG_DONTWAIT);
        dp_close(fd);
    }
    dp_sync("end");
}

/// The unconnected client of a server that closes goes on without any error.
DP_DATAGRAM(datagram_refused, unconnected_when_the_peer_closes) {
    dp_place peer;
    int fd = dp_udp_open(0, &peer);
    if (dp_server) dp_close(fd);
    dp_sync("closed");
    if (!dp_server) {
        for (int i = 0; i < 3; i++) {
            dp_say_to(fd, "to nobody", &peer);
            dp_poll(fd, POLLIN | POLLOUT, 0);
        }
        dp_socket_error(fd);
        dp_recv(fd, 10, MSG_DONTWAIT);
        dp_close(fd);
    }
    dp_sync("end");
}

DP_DATAGRAM(datagram_refused, error_queue) {
    dp_place peer;
    int fd = dp_udp_open(0, &peer);
    if (dp_server) dp_close(fd);
    else dp_set(fd, IPPROTO_IP, IP_RECVERR, 1, "IP_RECVERR");
    dp_sync("closed");
    if (!dp_server) {
        dp_recv_message(fd, 100, MSG_ERRQUEUE);
        dp_say_to(fd, "what comes back", &peer);
        settle_error(fd);
        dp_recv_message(fd, 100, MSG_ERRQUEUE);
        dp_poll(fd, POLLIN, 0);
        dp_recv(fd, 10, MSG_DONTWAIT);
        dp_socket_error(fd);
        dp_say_to(fd, "again", &peer);
        settle_error(fd);
        dp_say_to(fd, "and again", &peer);  // it is told of the error, and not sent
        dp_recv_message(fd, 3, MSG_ERRQUEUE);
        dp_recv_message(fd, 3, MSG_ERRQUEUE);
        dp_recv(fd, 10, MSG_DONTWAIT);
        dp_close(fd);
    }
    dp_sync("end");
}

DP_DATAGRAM(datagram_refused, error_queue_of_a_connected_one_v6) {
    int fd = dp_udp_pair(DP_V6);
    if (dp_server) dp_close(fd);
    else dp_set(fd, IPPROTO_IPV6, IPV6_RECVERR, 1, "IPV6_RECVERR");
    dp_sync("closed");
    if (!dp_server) {
        dp_say(fd, "what comes back");
        settle_error(fd);
        dp_recv(fd, 10, MSG_DONTWAIT);
        dp_recv_message(fd, 100, MSG_ERRQUEUE);
        dp_recv_message(fd, 100, MSG_ERRQUEUE);
        dp_close(fd);
    }
    dp_sync("end");
}
