// What comes and goes beside the data: addresses, TTL, TOS, times, and room for too little of it.
#include "datagrams.h"
#include <net/if.h>

/// The client's address does not change; the server tells what it sees.
static int start(int flags, dp_place *peer) {
    const char *any = flags & DP_V6 ? "::" : "0.0.0.0", *loopback = flags & DP_V6 ? "::1" : "127.0.0.1";
    int fd = dp_udp(dp_server ? any : loopback, 0);
    *peer = dp_udp_swap(fd, dp_server ? loopback : NULL);
    dp_udp_warm(fd, peer);
    return fd;
}

static void say_with(int fd, const char *text, const dp_place *to, int level, int type, const void *value, size_t length) {
    union { char bytes[200]; struct cmsghdr align; } control = {{0}};
    struct iovec part = {(char *)text, strlen(text)};
    struct msghdr message = {.msg_name = (void *)&to->address, .msg_namelen = to->length, .msg_iov = &part, .msg_iovlen = 1,
                             .msg_control = control.bytes, .msg_controllen = CMSG_SPACE(length)};
    struct cmsghdr *c = CMSG_FIRSTHDR(&message);
    c->cmsg_level = level;
    c->cmsg_type = type;
    c->cmsg_len = CMSG_LEN(length);
    memcpy(CMSG_DATA(c), value, length);
    DP(sendmsg(fd, &message, 0));
}

static void say_with_number(int fd, const char *text, const dp_place *to, int level, int type, int value) {
    say_with(fd, text, to, level, type, &value, sizeof value);
}

DP_DATAGRAM(datagram_control, where_it_was_sent_to) {
    dp_place peer;
    int fd = start(0, &peer);
    if (dp_server) {
        dp_recv_message(fd, 100, 0);
        dp_set(fd, IPPROTO_IP, IP_PKTINFO, 1, "IP_PKTINFO");
        dp_sync("asked for");
        for (int i = 0; i < 7; i++) {
            if (i < 5) dp_recv_message(fd, 100, 0);
            else i == 5 ? dp_recv(fd, 100, 0) : dp_recv_from(fd, 100, 0);
            dp_sync("read");
        }
        dp_set(fd, IPPROTO_IP, IP_PKTINFO, 0, "IP_PKTINFO");
        dp_sync("no more");
        dp_recv_message(fd, 100, 0);
    } else {
        dp_place other = dp_place_at("127.0.0.2", dp_place_port(&peer)), third = dp_place_at("127.3.3.3", dp_place_port(&peer));
        dp_say_to(fd, "before", &peer);
        dp_sync("asked for");
        const dp_place *to[] = {&peer, &other, &third, &peer, &third, &peer, &other};
        static const char *const texts[] = {"to the first", "to the second", "", "to the first", "to the third", "by recv", "by recvfrom"};
        for (int i = 0; i < 7; i++) {
            dp_say_to(fd, texts[i], to[i]);
            dp_sync("read");
        }
        dp_sync("no more");
        dp_say_to(fd, "after", &peer);
    }
    dp_sync("end");
    dp_close(fd);
}

DP_DATAGRAM(datagram_control, where_it_was_sent_to_v6) {
    dp_place peer;
    int fd = start(DP_V6, &peer);
    if (dp_server) {
        dp_set(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1, "IPV6_RECVPKTINFO");
        dp_set(fd, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 1, "IPV6_RECVHOPLIMIT");
        dp_set(fd, IPPROTO_IPV6, IPV6_RECVTCLASS, 1, "IPV6_RECVTCLASS");
        dp_sync("asked for");
        for (int i = 0; i < 4; i++) dp_recv_message(fd, 100, 0);
    } else {
        dp_sync("asked for");
        dp_say_to(fd, "plain", &peer);
        dp_set(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS, 7, "IPV6_UNICAST_HOPS");
        dp_set(fd, IPPROTO_IPV6, IPV6_TCLASS, 0x20, "IPV6_TCLASS");
        dp_say_to(fd, "by options", &peer);
        say_with_number(fd, "hop limit", &peer, IPPROTO_IPV6, IPV6_HOPLIMIT, 33);
        say_with_number(fd, "traffic class", &peer, IPPROTO_IPV6, IPV6_TCLASS, 0x48);
    }
    dp_sync("end");
    dp_close(fd);
}

DP_DATAGRAM(datagram_control, mapped_sender_of_a_dual_stack_socket) {
    int fd = dp_udp(dp_server ? "::" : "127.0.0.1", 0);
    dp_place peer = dp_udp_swap(fd, dp_server ? "127.0.0.1" : "::ffff:127.0.0.1");
    dp_udp_warm(fd, &peer);
    if (dp_server) {
        dp_set(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1, "IPV6_RECVPKTINFO");
        dp_set(fd, IPPROTO_IP, IP_RECVTTL, 1, "IP_RECVTTL");
        dp_sync("asked for");
        dp_recv_message(fd, 100, 0);
    } else {
        dp_sync("asked for");
        dp_say_to(fd, "by v4", &peer);
    }
    dp_sync("end");
    dp_close(fd);
}

DP_DATAGRAM(datagram_control, hops_and_service) {
    dp_place peer;
    int fd = start(0, &peer);
    if (dp_server) {
        dp_set(fd, IPPROTO_IP, IP_RECVTTL, 1, "IP_RECVTTL");
        dp_set(fd, IPPROTO_IP, IP_RECVTOS, 1, "IP_RECVTOS");
        dp_sync("asked for");
        for (int i = 0; i < 6; i++) dp_recv_message(fd, 100, 0);
    } else {
        dp_sync("asked for");
        dp_say_to(fd, "plain", &peer);
        dp_set(fd, IPPROTO_IP, IP_TTL, 17, "IP_TTL");
        dp_say_to(fd, "TTL by an option", &peer);
        dp_set(fd, IPPROTO_IP, IP_TOS, 0x28, "IP_TOS");
        dp_say_to(fd, "TOS by an option", &peer);
        say_with_number(fd, "TTL of this one", &peer, IPPROTO_IP, IP_TTL, 3);
        say_with_number(fd, "TOS of this one", &peer, IPPROTO_IP, IP_TOS, 0x10);
        dp_say_to(fd, "as before", &peer);
        say_with_number(fd, "no such TTL", &peer, IPPROTO_IP, IP_TTL, 300);
    }
    dp_sync("end");
    dp_recv_from(fd, 100, MSG_DONTWAIT);
    dp_close(fd);
}

/// The receiver asks when the datagrams wait already.
DP_DATAGRAM(datagram_control, asked_for_late) {
    dp_place peer;
    int fd = start(0, &peer);
    if (!dp_server) dp_set(fd, IPPROTO_IP, IP_TTL, 21, "IP_TTL");
    for (int i = 0; !dp_server && i < 3; i++) dp_say_to(fd, "waits", &peer);
    dp_sync("sent");
    if (dp_server) {
        dp_recv_message(fd, 100, 0);
        dp_set(fd, IPPROTO_IP, IP_RECVTTL, 1, "IP_RECVTTL");
        dp_recv_message(fd, 100, 0);
        dp_set(fd, SOL_SOCKET, SO_TIMESTAMPNS, 1, "SO_TIMESTAMPNS");
        dp_recv_message(fd, 100, 0);
    }
    dp_sync("end");
    dp_close(fd);
}

/// A server of several addresses answers from the one that was asked: the sender's address is chosen for each datagram.
DP_DATAGRAM(datagram_control, source_chosen_for_each) {
    static const char *const own[] = {"127.0.0.1", "127.0.0.5", "127.0.0.6"};
    dp_place peer;
    int fd = start(0, &peer);
    for (int i = 0; i < 60; i++) {
        if (dp_server) {
            struct in_pktinfo info = {0};
            inet_pton(AF_INET, own[i / 10 % 3], &info.ipi_spec_dst);
            if (i >= 30) info.ipi_ifindex = (int)if_nametoindex("lo");
            if (i % 10 == 0) say_with(fd, own[i / 10 % 3], &peer, IPPROTO_IP, IP_PKTINFO, &info, sizeof info);
            else dp_send_number(fd, &peer, 40, 1, i);
        } else if (i % 10 == 0) {
            dp_recv_from(fd, 100, 0);
        } else {
            dp_recv_number(fd, 40, 1, i);
        }
        dp_sync("told");
    }
    if (dp_server) {
        struct in_pktinfo foreign = {0};
        inet_pton(AF_INET, "203.0.113.7", &foreign.ipi_spec_dst);
        say_with(fd, "not ours", &peer, IPPROTO_IP, IP_PKTINFO, &foreign, sizeof foreign);
    }
    dp_sync("end");
    dp_recv_from(fd, 100, MSG_DONTWAIT);
    dp_close(fd);
}

/// The same source for a long time: a flow of its own.
DP_DATAGRAM(datagram_control, source_chosen_for_all) {
    dp_place peer;
    int fd = start(0, &peer);
    struct in_pktinfo info = {0};
    inet_pton(AF_INET, "127.0.0.44", &info.ipi_spec_dst);
    for (int i = 0; i < 100; i++) {
        if (dp_server) {
            union { char bytes[CMSG_SPACE(sizeof info)]; struct cmsghdr align; } control = {{0}};
            struct iovec part = {&i, sizeof i};
            struct msghdr message = {.msg_name = &peer.address, .msg_namelen = peer.length, .msg_iov = &part, .msg_iovlen = 1,
                                     .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
            *CMSG_FIRSTHDR(&message) = (struct cmsghdr){.cmsg_level = IPPROTO_IP, .cmsg_type = IP_PKTINFO, .cmsg_len = CMSG_LEN(sizeof info)};
            memcpy(CMSG_DATA(CMSG_FIRSTHDR(&message)), &info, sizeof info);
            if (sendmsg(fd, &message, 0) != sizeof i) dp_fail("sendmsg: %s", dp_errno_name(errno));
        } else {
            int number = -1;
            dp_place from = {.length = sizeof from.address};
            ssize_t got = recvfrom(fd, &number, sizeof number, 0, dp_sockaddr(&from), &from.length);
            if (got != sizeof number || number != i) dp_fail("%d came instead of %d", number, i);
            if (i % 25 == 24) dp_log("from %s", dp_who(&from.address, from.length));
        }
        if (i % 5 == 4) dp_sync("five more");
    }
    dp_close(fd);
}

DP_DATAGRAM(datagram_control, times) {
    dp_place peer;
    int fd = start(0, &peer);
    static const struct { int name; const char *text; } kinds[] = {{SO_TIMESTAMP, "SO_TIMESTAMP"}, {SO_TIMESTAMPNS, "SO_TIMESTAMPNS"}};
    for (int i = 0; i < 2; i++) {
        if (dp_server) dp_set(fd, SOL_SOCKET, kinds[i].name, 1, kinds[i].text);
        dp_sync("asked for");
        if (dp_server) {
            dp_recv_message(fd, 100, MSG_PEEK);
            dp_recv_message(fd, 100, 0);
            dp_recv(fd, 100, 0);
            dp_recv_message(fd, 2, 0);
            dp_set(fd, SOL_SOCKET, kinds[i].name, 0, kinds[i].text);
            dp_recv_message(fd, 100, 0);
        } else {
            for (int n = 0; n < 4; n++) dp_say_to(fd, "what time is it?", &peer);
        }
        dp_sync("told");
    }
    dp_close(fd);
}

/// Times of arrival never run backwards, whichever way the datagrams came.
DP_DATAGRAM(datagram_control, times_in_order, .kernel = "a receiver that asks for times may stay in the kernel from the start") {
    dp_place peer;
    int fd = dp_udp_open(DP_COLD, &peer);
    if (dp_server) dp_set(fd, SOL_SOCKET, SO_TIMESTAMPNS, 1, "SO_TIMESTAMPNS");
    dp_sync("asked for");
    struct timespec last = {0};
    int missing = 0, backwards = 0;
    for (uint32_t i = 0; i < 200; i++) {
        if (!dp_server) {
            dp_send_number(fd, &peer, 30, 1, i);
            dp_recv_number(fd, 30, 2, i);
            continue;
        }
        char data[30];
        union { char bytes[200]; struct cmsghdr align; } control;
        struct iovec part = {data, sizeof data};
        struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
        if (recvmsg(fd, &message, 0) != 30 || !dp_is_number(data, 30, 1, i)) dp_fail("datagram %u", i);
        struct cmsghdr *c = CMSG_FIRSTHDR(&message);
        struct timespec now = {0};
        if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_TIMESTAMPNS) memcpy(&now, CMSG_DATA(c), sizeof now);
        else missing++;
        // A datagram that came by the kernel may have been stamped a moment later than one by a ring: tolerance 10 ms.
        double gone = now.tv_sec - last.tv_sec + (now.tv_nsec - last.tv_nsec) / 1e9;
        if (gone < -0.01) backwards++;
        last = now;
        dp_send_number(fd, &peer, 30, 2, i);
    }
    dp_log("%d missing, %d backwards", missing, backwards);
    dp_sync("end");
    dp_close(fd);
}

/// Less room for control messages than they need.
DP_DATAGRAM(datagram_control, too_little_room) {
    dp_place peer;
    int fd = start(0, &peer);
    if (dp_server) {
        static const size_t rooms[] = {0, 8, 16, 20, 28, 40, 64};
        dp_set(fd, IPPROTO_IP, IP_PKTINFO, 1, "IP_PKTINFO");
        dp_set(fd, IPPROTO_IP, IP_RECVTTL, 1, "IP_RECVTTL");
        dp_sync("asked for");
        for (int i = 0; i < 7; i++) {
            char data[20];
            union { char bytes[64]; struct cmsghdr align; } control = {{0}};
            struct iovec part = {data, sizeof data};
            struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = rooms[i]};
            DP(recvmsg(fd, &message, 0));
            dp_log("room %zu: length %zu, flags %x", rooms[i], (size_t)message.msg_controllen, (unsigned)message.msg_flags);
        }
    } else {
        dp_sync("asked for");
        for (int i = 0; i < 7; i++) dp_say_to(fd, "control", &peer);
    }
    dp_sync("end");
    dp_close(fd);
}

DP_DATAGRAM(datagram_control, where_it_was_going) {
    dp_place peer;
    int fd = start(0, &peer);
    if (dp_server) {
        dp_set(fd, IPPROTO_IP, IP_RECVORIGDSTADDR, 1, "IP_RECVORIGDSTADDR");
        dp_set(fd, SOL_SOCKET, SO_RXQ_OVFL, 1, "SO_RXQ_OVFL");
        dp_sync("asked for");
        dp_recv_message(fd, 100, 0);
        dp_sync("read");
        dp_recv_message(fd, 100, 0);
    } else {
        dp_place other = dp_place_at("127.0.0.8", dp_place_port(&peer));
        dp_sync("asked for");
        dp_say_to(fd, "one", &peer);
        dp_sync("read");
        dp_say_to(fd, "two", &other);
    }
    dp_sync("end");
    dp_close(fd);
}
