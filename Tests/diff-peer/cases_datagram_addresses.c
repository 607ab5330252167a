// Where sockets are bound, in both families, and what each end learns about the other's address.
#include "datagrams.h"

/// The server is bound to `at` and reached at `to`; the client is bound to `from`, or not at all.
static void converse_by(int server, int client, const char *to) {
    dp_place place = {0};
    int fd = dp_server ? server : client;
    if (dp_server) {
        uint16_t port = dp_port_of(fd);
        dp_name(port, "server");
        dp_tell_data(&port, sizeof port);
        char data[10];
        place.length = sizeof place.address;
        DP_MUST(recvfrom(fd, data, sizeof data, 0, dp_sockaddr(&place), &place.length));
        dp_name(dp_place_port(&place), "client");
        dp_log("first from %s", dp_who(&place.address, place.length));
        dp_log_names(fd);
        dp_udp_warm_as(fd, &place, true);
        dp_recv_from(fd, 100, 0);
        dp_recv_message(fd, 100, 0);
        dp_say_to(fd, "answer", &place);
    } else {
        place = dp_place_at(to, dp_hear_port());
        dp_name(dp_place_port(&place), "server");
        dp_log_names(fd);
        dp_say_to(fd, "hello", &place);
        dp_name(dp_port_of(fd), "client");
        dp_log_names(fd);
        dp_udp_warm_as(fd, &place, false);
        dp_say_to(fd, "who am I?", &place);
        dp_udp_connect(fd, &place);
        dp_say(fd, "and now?");
        dp_log_names(fd);
        dp_recv_from(fd, 100, 0);
    }
    dp_sync("end");
    dp_close(fd);
}

static void converse(const char *at, const char *to, const char *from) {
    bool v6 = strchr(to, ':') != NULL;
    if (dp_server) converse_by(dp_udp(at, 0), -1, to);
    else converse_by(-1, from ? dp_udp(from, 0) : dp_udp_loose(v6 ? AF_INET6 : AF_INET), to);
}

DP_DATAGRAM(datagram_addresses, loopback) { converse("127.0.0.1", "127.0.0.1", NULL); }
DP_DATAGRAM(datagram_addresses, another_loopback) { converse("127.0.0.2", "127.0.0.2", NULL); }
DP_DATAGRAM(datagram_addresses, two_loopbacks) { converse("127.0.0.2", "127.0.0.2", "127.0.0.3"); }
DP_DATAGRAM(datagram_addresses, any) { converse("0.0.0.0", "127.0.0.1", NULL); }
DP_DATAGRAM(datagram_addresses, any_on_both_sides) { converse("0.0.0.0", "127.0.0.1", "0.0.0.0"); }
DP_DATAGRAM(datagram_addresses, sent_to_any, .kernel = "one port at two addresses may be one socket") { converse("127.0.0.1", "0.0.0.0", NULL); }
DP_DATAGRAM(datagram_addresses, v6) { converse("::1", "::1", NULL); }
DP_DATAGRAM(datagram_addresses, v6_any) { converse("::", "::1", "::1"); }
DP_DATAGRAM(datagram_addresses, v6_sent_to_any, .kernel = "one port at two addresses may be one socket") { converse("::1", "::", NULL); }
DP_DATAGRAM(datagram_addresses, v4_to_dual_stack) { converse("::", "127.0.0.1", NULL); }
DP_DATAGRAM(datagram_addresses, mapped_to_v4) { converse("127.0.0.1", "::ffff:127.0.0.1", NULL); }
DP_DATAGRAM(datagram_addresses, mapped_to_dual_stack) { converse("::", "::ffff:127.0.0.1", "::"); }
DP_DATAGRAM(datagram_addresses, bound_to_a_mapped_one) { converse("::ffff:127.0.0.1", "127.0.0.1", "127.0.0.1"); }

/// Bound to any, reached by one address of the loopback network: the answer comes from another one.
DP_DATAGRAM(datagram_addresses, answers_from_another_address, .kernel = "each direction is a flow of its own, with one end that does not know its address") {
    int fd = dp_udp(dp_server ? "0.0.0.0" : "127.0.0.1", 0);
    dp_place peer = dp_udp_swap(fd, dp_server ? "127.0.0.9" : NULL);
    dp_udp_warm(fd, &peer);
    if (dp_server) {
        dp_recv_from(fd, 100, 0);
        dp_say_to(fd, "answer", &peer);
    } else {
        dp_say_to(fd, "to 127.0.0.9", &peer);
        dp_recv_from(fd, 100, 0);
    }
    dp_sync("end");
    dp_close(fd);
}

/// One socket bound to any is reached by several addresses: flows of one port, each in its order.
DP_DATAGRAM(datagram_addresses, several_addresses_of_one_socket, .kernel = "one port at two addresses may be one socket") {
    static const char *const ways[] = {"127.0.0.1", "127.0.0.2", "127.0.0.3", "127.255.0.1"};
    int fd = dp_udp(dp_server ? "0.0.0.0" : "127.0.0.1", 0);
    dp_place peer = dp_udp_swap(fd, dp_server ? "127.0.0.1" : NULL);
    for (uint32_t i = 0; i < 400; i++) {
        dp_place way = dp_place_at(ways[i % 4], dp_place_port(&peer));
        if (!dp_server) dp_send_number(fd, &way, 30 + i, i % 4, i);
        dp_recv_number(fd, 30 + i, i % 4, i);
        if (dp_server) dp_send_number(fd, &peer, 30 + i, i % 4, i);
    }
    dp_log("400 there and back");
    dp_sync("end");
    dp_close(fd);
}

/// Two sockets of one port, each with an address of its own: each has its own datagrams.
DP_DATAGRAM(datagram_addresses, one_port_two_addresses) {
    int one = dp_server ? dp_udp_fixed("127.0.0.2") : dp_udp("127.0.0.1", 0), two = -1;
    dp_place peer = dp_udp_swap(one, NULL);
    if (dp_server) two = dp_udp_bind("127.0.0.3", dp_port_of(one));
    dp_udp_warm(one, &peer);
    dp_place second = dp_place_at("127.0.0.3", dp_place_port(&peer));
    dp_udp_warm(dp_server ? two : one, dp_server ? &peer : &second);
    for (int i = 0; i < 5; i++) {
        if (dp_server) {
            dp_recv_from(one, 100, 0);
            dp_recv_from(two, 100, 0);
        } else {
            dp_say_to(one, "to the first", &peer);
            dp_say_to(one, "to the second", &second);
        }
    }
    dp_sync("end");
    if (two >= 0) dp_close(two);
    dp_close(one);
}

DP_DATAGRAM(datagram_addresses, v6_only_beside_v4) {
    int six = -1, four = -1;
    if (dp_server) {
        six = dp_udp_loose(AF_INET6);
        four = dp_udp_fixed("0.0.0.0");
        dp_place any = dp_place_at("::", dp_port_of(four));
        DP(bind(six, dp_sockaddr(&any), any.length));
        dp_set(six, IPPROTO_IPV6, IPV6_V6ONLY, 1, "IPV6_V6ONLY");
        DP(bind(six, dp_sockaddr(&any), any.length));
        dp_set(six, IPPROTO_IPV6, IPV6_V6ONLY, 0, "IPV6_V6ONLY");
    } else {
        six = dp_udp("::1", 0);
        four = dp_udp("127.0.0.1", 0);
    }
    dp_place peer4 = dp_udp_swap(four, dp_server ? "127.0.0.1" : NULL), peer6 = dp_udp_swap(six, dp_server ? "::1" : NULL);
    dp_udp_warm(four, &peer4);
    dp_udp_warm(six, &peer6);
    if (dp_server) {
        dp_recv_from(six, 100, 0);
        dp_recv_from(four, 100, 0);
        dp_recv_from(six, 100, MSG_DONTWAIT);
    } else {
        dp_say_to(six, "by the sixth", &peer6);
        dp_say_to(four, "by the fourth", &peer4);
    }
    dp_sync("end");
    dp_close(six);
    dp_close(four);
}

DP_DATAGRAM(datagram_addresses, v6_only_sends_no_mapped, .solo = true, .kernel = "nothing is sent") {
    int fd = dp_udp_loose(AF_INET6), bound = dp_udp("::1", 0);
    dp_place mapped = dp_place_at("::ffff:127.0.0.1", 9);
    dp_set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1, "IPV6_V6ONLY");
    dp_send_to(fd, "x", 1, 0, &mapped);
    DP(connect(fd, dp_sockaddr(&mapped), mapped.length));
    dp_send_to(bound, "x", 1, 0, &mapped);
    DP(connect(bound, dp_sockaddr(&mapped), mapped.length));
    dp_close(bound);
    dp_close(fd);
}

/// Both families at one dual-stack socket, in turn: the senders' addresses are right each time.
DP_DATAGRAM(datagram_addresses, both_families_at_one_socket) {
    if (dp_server) {
        int fd = dp_udp("::", 0);
        dp_place four = dp_udp_swap(fd, "127.0.0.1"), six = dp_udp_swap(fd, "::1");
        dp_place mapped = dp_place_at("::ffff:127.0.0.1", dp_place_port(&four));
        dp_name(dp_place_port(&four), "fourth");
        dp_name(dp_place_port(&six), "sixth");
        dp_udp_warm(fd, &mapped);
        dp_udp_warm(fd, &six);
        for (int i = 0; i < 4; i++) {
            dp_recv_from(fd, 100, 0);
            dp_say_to(fd, "go on", i % 2 ? &six : &mapped);
        }
        dp_send_to(fd, "x", 1, 0, &four);
        dp_sync("end");
        dp_close(fd);
    } else {
        int four = dp_udp("127.0.0.1", 0), six = dp_udp("::1", 0);
        dp_place peer4 = dp_udp_swap(four, NULL), peer6 = dp_udp_swap(six, NULL);
        dp_udp_warm(four, &peer4);
        dp_udp_warm(six, &peer6);
        for (int i = 0; i < 2; i++) {
            dp_say_to(four, "from the fourth", &peer4);
            dp_recv_from(four, 100, 0);
            dp_say_to(six, "from the sixth", &peer6);
            dp_recv_from(six, 100, 0);
        }
        dp_sync("end");
        dp_close(six);
        dp_close(four);
    }
}

DP_DATAGRAM(datagram_addresses, binds_that_fail, .solo = true, .kernel = "nothing is sent") {
    int first = dp_udp_fixed("127.0.0.1"), second = dp_udp_loose(AF_INET), six = dp_udp_loose(AF_INET6);
    dp_place taken = dp_place_of(first), any = dp_place_at("0.0.0.0", dp_place_port(&taken)), any6 = dp_place_at("::", dp_place_port(&taken));
    dp_place foreign = dp_place_at("203.0.113.7", 0), wrong = taken;
    DP(bind(second, dp_sockaddr(&taken), taken.length));
    DP(bind(second, dp_sockaddr(&any), any.length));
    DP(bind(six, dp_sockaddr(&any6), any6.length));
    DP(bind(second, dp_sockaddr(&foreign), foreign.length));
    DP(bind(second, dp_sockaddr(&taken), 4));
    wrong.address.ss_family = AF_INET6;
    DP(bind(second, dp_sockaddr(&wrong), wrong.length));
    DP(bind(first, dp_sockaddr(&taken), taken.length));
    dp_close(first);
    DP(bind(second, dp_sockaddr(&taken), taken.length));
    DP(bind(second, dp_sockaddr(&taken), taken.length));
    dp_close(second);
    dp_close(six);
}
