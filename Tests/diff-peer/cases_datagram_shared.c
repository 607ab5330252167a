// Ports that several sockets share, groups, broadcast: who gets a datagram is the kernel's affair.
#include "datagrams.h"

static int bind_shared(const char *address, uint16_t port, int option) {
    dp_place place = dp_place_at(address, port);
    int fd = dp_udp_loose(place.address.ss_family), on = 1;
    DP_MUST(setsockopt(fd, SOL_SOCKET, option, &on, sizeof on));
    DP_MUST(bind(fd, dp_sockaddr(&place), place.length));
    return fd;
}

/// The receiver that was alone so far says that its port may be shared; the next to bind there gets all.
DP_DATAGRAM(datagram_shared, last_bound_takes_all) {
    int fd = dp_udp_fixed("127.0.0.1");
    dp_place peer = dp_udp_swap(fd, NULL);
    dp_udp_warm(fd, &peer);
    if (dp_server) {
        dp_set(fd, SOL_SOCKET, SO_REUSEADDR, 1, "SO_REUSEADDR");
        dp_sync("may be shared");
        dp_recv_from(fd, 100, 0);
        int second = bind_shared("127.0.0.1", dp_port_of(fd), SO_REUSEADDR);
        dp_sync("shared");
        for (int i = 0; i < 20; i++) dp_recv_from(second, 100, 0);
        dp_recv_from(fd, 100, MSG_DONTWAIT);
        dp_close(second);
        dp_sync("alone again");
        dp_recv_from(fd, 100, 0);
    } else {
        dp_sync("may be shared");
        dp_say_to(fd, "to the first", &peer);
        dp_sync("shared");
        for (int i = 0; i < 20; i++) dp_say_to(fd, "to the second", &peer);
        dp_sync("alone again");
        dp_say_to(fd, "to the first again", &peer);
    }
    dp_udp_warm(fd, &peer);
    dp_close(fd);
}

/// A server that answers each client by a socket of its own, of the same port and connected, as DTLS servers do.
DP_DATAGRAM(datagram_shared, connected_one_takes_its_peers, .kernel = "a port that may be shared may stay in the kernel") {
    int fd = dp_server ? bind_shared("127.0.0.1", dp_udp_free_port("127.0.0.1"), SO_REUSEADDR) : dp_udp("127.0.0.1", 0);
    dp_place peer = dp_udp_swap(fd, NULL);
    dp_udp_warm(fd, &peer);
    if (dp_server) {
        int own = bind_shared("127.0.0.1", dp_port_of(fd), SO_REUSEADDR);
        dp_udp_connect(own, &peer);
        dp_sync("connected");
        dp_recv_from(own, 100, 0);
        dp_say(own, "from the connected one");
        dp_udp_warm(own, NULL);
        dp_recv_from(fd, 100, MSG_DONTWAIT);
        dp_close(own);
        dp_sync("closed");
    } else {
        dp_sync("connected");
        dp_say_to(fd, "hello", &peer);
        dp_recv_from(fd, 100, 0);
        dp_udp_warm(fd, &peer);
        dp_sync("closed");
    }
    dp_udp_warm(fd, &peer);
    dp_close(fd);
}

/// Where both are bound with SO_REUSEPORT each sender has one of them, always the same.
DP_DATAGRAM(datagram_shared, by_SO_REUSEPORT, .kernel = "which of two sockets gets it, the kernel says by a hash") {
    enum { SENDERS = 6, EACH = 40 };
    if (dp_server) {
        int fds[2];
        fds[0] = bind_shared("127.0.0.1", dp_udp_free_port("127.0.0.1"), SO_REUSEPORT);
        uint16_t port = dp_port_of(fds[0]);
        fds[1] = bind_shared("127.0.0.1", port, SO_REUSEPORT);
        dp_tell_data(&port, sizeof port);
        int owner[SENDERS], total = 0, wrong = 0;
        uint32_t next[SENDERS] = {0};
        memset(owner, -1, sizeof owner);
        while (total < SENDERS * EACH) {
            struct pollfd p[2] = {{fds[0], POLLIN, 0}, {fds[1], POLLIN, 0}};
            if (poll(p, 2, -1) < 1) dp_fail("poll");
            for (int i = 0; i < 2; i++) {
                uint8_t data[200];
                uint32_t stream = SENDERS, number = 0;
                ssize_t got = p[i].revents & POLLIN ? recv(fds[i], data, sizeof data, 0) : 0;
                if (got <= 0) continue;
                if (!dp_which_number(data, got, &stream, &number) || stream >= SENDERS) dp_fail("damaged");
                if (owner[stream] < 0) owner[stream] = i;
                wrong += owner[stream] != i || number != next[stream]++;
                if (++total % SENDERS == 0) dp_tell("next");
            }
        }
        dp_log("%d datagrams, %d not where and when they should be", total, wrong);
        dp_sync("end");
        dp_close(fds[0]);
        dp_close(fds[1]);
    } else {
        int fds[SENDERS];
        dp_place server = dp_place_at("127.0.0.1", dp_hear_port());
        for (int i = 0; i < SENDERS; i++) fds[i] = dp_udp("127.0.0.1", 0);
        for (uint32_t number = 0; number < EACH; number++) {
            for (int i = 0; i < SENDERS; i++) dp_send_number(fds[i], &server, 20 + number, i, number);
            dp_hear("next");
        }
        dp_sync("end");
        for (int i = 0; i < SENDERS; i++) dp_close(fds[i]);
    }
}

/// Two receivers of one group on the loopback interface: both get each datagram. The group is nobody else's: the port is ours.
DP_DATAGRAM(datagram_shared, group, .kernel = "what is sent to a group stays in the kernel") {
    int fd = dp_server ? bind_shared("0.0.0.0", dp_udp_free_port("127.0.0.1"), SO_REUSEADDR) : dp_udp("127.0.0.1", 0);
    dp_place peer = dp_udp_swap(fd, dp_server ? "127.0.0.1" : NULL);
    struct ip_mreqn group = {0};
    inet_pton(AF_INET, "239.255.77.7", &group.imr_multiaddr);
    inet_pton(AF_INET, "127.0.0.1", &group.imr_address);
    if (dp_server) {
        int second = bind_shared("239.255.77.7", dp_port_of(fd), SO_REUSEADDR);
        DP(setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &group, sizeof group));
        DP(setsockopt(second, IPPROTO_IP, IP_ADD_MEMBERSHIP, &group, sizeof group));
        dp_set(fd, IPPROTO_IP, IP_PKTINFO, 1, "IP_PKTINFO");
        dp_sync("joined");
        for (int i = 0; i < 3; i++) {
            dp_recv_message(fd, 100, 0);
            if (i != 1) dp_recv_message(second, 100, 0);
        }
        DP(setsockopt(fd, IPPROTO_IP, IP_DROP_MEMBERSHIP, &group, sizeof group));
        DP(setsockopt(second, IPPROTO_IP, IP_DROP_MEMBERSHIP, &group, sizeof group));
        dp_recv(second, 100, MSG_DONTWAIT);
        dp_close(second);
    } else {
        dp_place to = dp_place_at("239.255.77.7", dp_place_port(&peer));
        dp_sync("joined");
        DP(setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &group, sizeof group));
        dp_say_to(fd, "to the group", &to);
        dp_say_to(fd, "to one", &peer);
        dp_say_to(fd, "to the group again", &to);
        dp_set(fd, IPPROTO_IP, IP_MULTICAST_LOOP, 0, "IP_MULTICAST_LOOP");
        dp_set(fd, IPPROTO_IP, IP_MULTICAST_LOOP, 1, "IP_MULTICAST_LOOP");
    }
    dp_sync("end");
    dp_recv(fd, 100, MSG_DONTWAIT);
    dp_close(fd);
}

/// A warm flow goes on beside what the same socket gets from a group.
DP_DATAGRAM(datagram_shared, flow_beside_a_group) {
    int fd = dp_server ? dp_udp_fixed("0.0.0.0") : dp_udp("127.0.0.1", 0);
    dp_place peer = dp_udp_swap(fd, dp_server ? "127.0.0.1" : NULL);
    dp_udp_warm(fd, &peer);
    struct ip_mreqn group = {0};
    inet_pton(AF_INET, "239.255.77.8", &group.imr_multiaddr);
    inet_pton(AF_INET, "127.0.0.1", &group.imr_address);
    dp_place to = dp_place_at("239.255.77.8", dp_place_port(&peer));
    if (dp_server) DP(setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &group, sizeof group));
    else DP(setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &group, sizeof group));
    dp_sync("joined");
    for (uint32_t i = 0; i < 100; i++) {
        if (!dp_server) dp_send_number(fd, i % 4 == 1 ? &to : &peer, 100, i % 4 == 1, i);
        if (dp_server) dp_recv_number(fd, 100, i % 4 == 1, i);
        dp_sync("one");
    }
    dp_log("100 by two ways");
    dp_close(fd);
}

DP_DATAGRAM(datagram_shared, broadcast, .kernel = "what is sent to all stays in the kernel") {
    int fd = dp_server ? dp_udp_fixed("0.0.0.0") : dp_udp("127.0.0.1", 0);
    dp_place peer = dp_udp_swap(fd, dp_server ? "127.0.0.1" : NULL);
    dp_place all = dp_place_at("127.255.255.255", dp_place_port(&peer));
    if (!dp_server) {
        dp_say_to(fd, "without a permit", &all);
        DP(connect(fd, dp_sockaddr(&all), all.length));
        dp_set(fd, SOL_SOCKET, SO_BROADCAST, 1, "SO_BROADCAST");
        dp_say_to(fd, "to all", &all);
        DP(connect(fd, dp_sockaddr(&all), all.length));
        dp_say(fd, "to all, connected");
    } else {
        dp_recv_from(fd, 100, 0);
        dp_recv_from(fd, 100, 0);
    }
    dp_sync("end");
    dp_recv(fd, 100, MSG_DONTWAIT);
    dp_close(fd);
}
