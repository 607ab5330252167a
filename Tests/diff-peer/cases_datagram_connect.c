// Sockets that are connected, on either side or none, connected anew, and let loose again.
#include "datagrams.h"

/// A conversation in which each side is connected or names its peer each time.
static void converse(bool server_connected, bool client_connected) {
    dp_place peer;
    int fd = dp_udp_open(DP_COLD, &peer);
    bool connected = dp_server ? server_connected : client_connected;
    if (connected) dp_udp_connect(fd, &peer);
    dp_sync("ready");
    const dp_place *to = connected ? NULL : &peer;
    dp_udp_warm(fd, to);
    for (uint32_t i = 0; i < 40; i++) {
        if (!dp_server) dp_send_number(fd, to, 10 + i * 17, 1, i);
        dp_recv_number(fd, 10 + i * 17, 1, i);
        if (dp_server) dp_send_number(fd, to, 10 + i * 17, 1, i);
    }
    if (!dp_server) connected ? dp_say(fd, "who am I?") : dp_say_to(fd, "who am I?", &peer);
    else dp_recv_from(fd, 100, 0);
    if (dp_server) connected ? dp_say(fd, "the client") : dp_say_to(fd, "the client", &peer);
    else dp_recv_from(fd, 100, 0);
    dp_log_names(fd);
    dp_sync("end");
    dp_close(fd);
}
DP_DATAGRAM(datagram_connect, neither) { converse(false, false); }
DP_DATAGRAM(datagram_connect, only_the_client) { converse(false, true); }
DP_DATAGRAM(datagram_connect, only_the_server) { converse(true, false); }
DP_DATAGRAM(datagram_connect, both) { converse(true, true); }

/// The server has two sockets. The connected client writes to the second by name, and to the first without one.
DP_DATAGRAM(datagram_connect, another_address_than_the_peers) {
    int fd = dp_udp_pair(0);
    if (dp_server) {
        int other = dp_udp("127.0.0.1", 0);
        dp_place own = dp_place_of(other);
        dp_tell_data(&own, sizeof own);
        for (int i = 0; i < 3; i++) dp_recv_from(other, 100, 0);
        for (int i = 0; i < 3; i++) dp_recv_from(fd, 100, 0);
        dp_place peer = {.length = sizeof peer.address};
        DP_MUST(getpeername(fd, dp_sockaddr(&peer), &peer.length));
        dp_say_to(other, "not from the peer: dropped", &peer);
        dp_say(fd, "from the peer");
        dp_close(other);
    } else {
        dp_place other;
        dp_hear_data(&other, sizeof other);
        dp_name(dp_place_port(&other), "other");
        for (int i = 0; i < 3; i++) {
            dp_say(fd, "to the peer");
            dp_say_to(fd, "to the other", &other);
        }
        dp_recv_from(fd, 100, 0);
        dp_log_names(fd);
    }
    dp_sync("end");
    dp_recv(fd, 100, MSG_DONTWAIT);
    dp_close(fd);
}

DP_DATAGRAM(datagram_connect, nobody_to_send_to, .solo = true, .kernel = "nothing is sent") {
    int fd = dp_udp_loose(AF_INET);
    char data[10];
    dp_send(fd, "x", 1, 0);
    dp_say(fd, "x");
    DP(sendto(fd, "x", 1, 0, NULL, 0));
    DP(sendmsg(fd, &(struct msghdr){0}, 0));
    DP(send(fd, NULL, 0, 0));
    dp_log_names(fd);
    DP(recv(fd, data, sizeof data, MSG_DONTWAIT));
    dp_poll(fd, POLLIN | POLLOUT, 0);
    dp_close(fd);
}

DP_DATAGRAM(datagram_connect, addresses_that_are_none, .solo = true, .kernel = "nothing is sent") {
    int fd = dp_udp_loose(AF_INET), six = dp_udp_loose(AF_INET6);
    dp_place four = dp_place_at("127.0.0.1", 9), zero = dp_place_at("127.0.0.1", 0), far = dp_place_at("::1", 9);
    dp_send_to(fd, "x", 1, 0, &zero);
    dp_send_to(fd, "x", 1, 0, &far);
    four.length = 8;
    dp_send_to(fd, "x", 1, 0, &four);
    DP(connect(fd, dp_sockaddr(&four), 8));
    DP(connect(fd, dp_sockaddr(&far), far.length));
    DP(connect(six, dp_sockaddr(&four), 16));
    DP(connect(six, dp_sockaddr(&far), 20));
    four.address.ss_family = 77;
    DP(connect(fd, dp_sockaddr(&four), 16));
    dp_send_to(fd, "x", 1, 0, &(dp_place){four.address, 16});
    DP(listen(fd, 5));
    DP(accept(fd, NULL, NULL));
    dp_log_names(fd);
    dp_close(six);
    dp_close(fd);
}

/// The client turns from the first of the server's sockets to the second, in the middle of two flows.
DP_DATAGRAM(datagram_connect, connected_to_another) {
    dp_place first, second;
    int fd = dp_udp_open(0, &first);
    if (dp_server) {
        int other = dp_udp("127.0.0.1", 0);
        dp_place own = dp_place_of(other), client = first;
        dp_tell_data(&own, sizeof own);
        dp_recv_from(fd, 100, 0);
        dp_sync("turned");
        dp_say_to(fd, "too late", &client);
        dp_udp_warm(other, &client);
        dp_recv_from(other, 100, 0);
        dp_sync("back");
        dp_say_to(other, "too late, too", &client);
        dp_say_to(fd, "welcome back", &client);
        dp_recv_from(fd, 100, 0);
        dp_close(other);
    } else {
        dp_hear_data(&second, sizeof second);
        dp_name(dp_place_port(&second), "second");
        dp_udp_connect(fd, &first);
        dp_say(fd, "to the first");
        DP(connect(fd, dp_sockaddr(&second), second.length));
        dp_log_names(fd);
        dp_sync("turned");
        dp_udp_warm(fd, NULL);
        dp_say(fd, "to the second");
        DP(connect(fd, dp_sockaddr(&first), first.length));
        dp_sync("back");
        dp_recv_from(fd, 100, 0);
        dp_say(fd, "to the first again");
    }
    dp_sync("end");
    dp_recv(fd, 100, MSG_DONTWAIT);
    dp_close(fd);
}

/// A port that the program chose stays when the socket is let loose; one that the kernel chose goes.
static void let_loose(int fd) {
    dp_place peer = dp_udp_swap(fd, NULL);
    dp_udp_connect(fd, &peer);
    dp_sync("connected");
    dp_udp_warm(fd, NULL);
    struct sockaddr nobody = {.sa_family = AF_UNSPEC};
    if (dp_server) DP(connect(fd, &nobody, sizeof nobody));
    dp_sync("loose");
    dp_log_names(fd);
    if (dp_server) {
        dp_say(fd, "nobody hears");
        dp_say_to(fd, "answer", &peer);
        DP(connect(fd, dp_sockaddr(&peer), peer.length));
        dp_say(fd, "connected again");
        dp_sync("connected again");
    } else {
        dp_sync("connected again");
    }
    dp_close(fd);
}
DP_DATAGRAM(datagram_connect, let_loose_with_a_port_of_its_own) { let_loose(dp_udp_fixed("127.0.0.1")); }
DP_DATAGRAM(datagram_connect, let_loose_with_a_port_of_the_kernels) { let_loose(dp_udp("127.0.0.1", 0)); }

DP_DATAGRAM(datagram_connect, loose_takes_from_everybody) {
    int fd = dp_udp_fixed("127.0.0.1");
    dp_place peer = dp_udp_swap(fd, NULL), own = dp_place_of(fd);
    dp_udp_connect(fd, &peer);
    dp_sync("connected");
    dp_udp_warm(fd, NULL);
    int other = dp_udp("127.0.0.1", 0);
    dp_name(dp_port_of(other), "other");
    struct sockaddr nobody = {.sa_family = AF_UNSPEC};
    dp_say_to(other, "dropped", &own);
    DP(connect(fd, &nobody, sizeof nobody));
    dp_say_to(other, "from the other", &own);
    dp_recv_from(fd, 100, 0);
    dp_sync("loose");
    dp_say_to(fd, "from the peer", &peer);
    dp_recv_from(fd, 100, 0);
    dp_udp_warm(fd, &peer);
    dp_recv_from(fd, 100, MSG_DONTWAIT);
    dp_sync("end");
    dp_close(other);
    dp_close(fd);
}

/// What waits when a socket is connected stays; what others send later does not come.
DP_DATAGRAM(datagram_connect, others_before_and_after) {
    int fd = dp_udp_fixed("127.0.0.1");
    dp_place peer = dp_udp_swap(fd, NULL);
    dp_udp_warm(fd, &peer);
    if (dp_server) {
        int friend = dp_udp("127.0.0.1", 0);
        dp_place own = dp_place_of(fd), far = dp_place_of(friend);
        dp_name(dp_place_port(&far), "friend");
        dp_sync("sent before");
        dp_settle_for(fd, POLLIN);
        dp_udp_connect(fd, &far);
        dp_sync("connected");
        dp_sync("sent after");
        dp_recv_from(fd, 100, 0);
        dp_recv_from(fd, 100, 0);
        dp_recv_from(fd, 100, MSG_DONTWAIT);
        dp_say_to(friend, "from the friend", &own);
        dp_recv_from(fd, 100, 0);
        struct sockaddr nobody = {.sa_family = AF_UNSPEC};
        DP(connect(fd, &nobody, sizeof nobody));
        dp_sync("loose");
        dp_recv_from(fd, 100, 0);
        dp_close(friend);
    } else {
        dp_say_to(fd, "before", &peer);
        dp_say_to(fd, "before, too", &peer);
        dp_sync("sent before");
        dp_sync("connected");
        dp_say_to(fd, "after", &peer);
        dp_sync("sent after");
        dp_sync("loose");
        dp_say_to(fd, "at last", &peer);
    }
    dp_sync("end");
    dp_recv(fd, 100, MSG_DONTWAIT);
    dp_close(fd);
}

DP_DATAGRAM(datagram_connect, binds_by_itself) {
    if (dp_server) {
        int fd = dp_udp("127.0.0.1", 0);
        uint16_t port = dp_port_of(fd);
        dp_tell_data(&port, sizeof port);
        for (int i = 0; i < 2; i++) dp_udp_warm_alone(fd, &(dp_place[]){dp_place_at("127.0.0.1", dp_hear_port())}[0], true);
        dp_sync("end");
        dp_close(fd);
        return;
    }
    dp_place server = dp_place_at("127.0.0.1", dp_hear_port());
    dp_name(dp_place_port(&server), "server");
    for (int way = 0; way < 2; way++) {
        int fd = dp_udp_loose(AF_INET);
        dp_log_names(fd);
        if (way) dp_udp_connect(fd, &server);
        else DP(sendto(fd, "", 0, 0, (struct sockaddr *)&(struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(9)}, 16));
        uint16_t port = dp_port_of(fd);
        dp_name(port, "myself");
        dp_log_names(fd);
        dp_tell_data(&port, sizeof port);
        dp_udp_warm_alone(fd, way ? NULL : &server, false);
        dp_log_names(fd);
        DP(connect(fd, &(struct sockaddr){.sa_family = AF_UNSPEC}, sizeof(struct sockaddr)));
        dp_log_names(fd);
        dp_close(fd);
    }
    dp_sync("end");
}
