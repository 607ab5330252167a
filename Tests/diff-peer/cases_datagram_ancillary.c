// A receiver that has asked before the first datagram where each was sent to, and with what TTL and type of service: rings tell that, too.
#include "datagrams.h"
#include <setjmp.h>

enum { MANY = 40 };

/// The client's address does not change; the server asks for the options, and tells what it sees.
static int start(int flags, bool connects, dp_place *peer) {
    const char *any = flags & DP_V6 ? "::" : "0.0.0.0", *loopback = flags & DP_V6 ? "::1" : "127.0.0.1";
    int fd = dp_udp(dp_server ? any : loopback, flags & DP_NONBLOCK);
    if (dp_server && flags & DP_V6) {
        dp_set(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1, "IPV6_RECVPKTINFO");
        dp_set(fd, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 1, "IPV6_RECVHOPLIMIT");
        dp_set(fd, IPPROTO_IPV6, IPV6_RECVTCLASS, 1, "IPV6_RECVTCLASS");
    } else if (dp_server) {
        dp_set(fd, IPPROTO_IP, IP_PKTINFO, 1, "IP_PKTINFO");
        dp_set(fd, IPPROTO_IP, IP_RECVTTL, 1, "IP_RECVTTL");
        dp_set(fd, IPPROTO_IP, IP_RECVTOS, 1, "IP_RECVTOS");
    }
    *peer = dp_udp_swap(fd, dp_server ? loopback : NULL);
    if (connects) dp_udp_connect(fd, peer);
    dp_sync("known");
    dp_udp_warm(fd, connects ? NULL : peer);
    return fd;
}

/// Many at once, which are read as they come: most of them while the receiver is awake.
static void burst(int fd, const dp_place *to, const char *text) {
    for (int i = 0; i < MANY; i++) {
        if (dp_server) dp_recv_message(fd, 100, i % 8 == 5 ? MSG_PEEK : 0);
        else if (i % 8 != 5 && sendto(fd, text, strlen(text), 0, to ? dp_sockaddr((dp_place *)to) : NULL, to ? to->length : 0) < 0)
            dp_fail("sendto: %s", dp_errno_name(errno));
    }
    dp_sync(text);
}

static void send_with(int fd, const char *text, const dp_place *to, int level, int type, int value) {
    union { char bytes[CMSG_SPACE(sizeof(int))]; struct cmsghdr align; } control = {{0}};
    struct iovec part = {(char *)text, strlen(text)};
    struct msghdr message = {.msg_name = (void *)&to->address, .msg_namelen = to->length, .msg_iov = &part, .msg_iovlen = 1,
                             .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
    *CMSG_FIRSTHDR(&message) = (struct cmsghdr){.cmsg_level = level, .cmsg_type = type, .cmsg_len = CMSG_LEN(sizeof value)};
    memcpy(CMSG_DATA(CMSG_FIRSTHDR(&message)), &value, sizeof value);
    DP(sendmsg(fd, &message, 0));
}

static void options_that_change(int flags) {
    bool v6 = flags & DP_V6;
    int level = v6 ? IPPROTO_IPV6 : IPPROTO_IP, ttl = v6 ? IPV6_UNICAST_HOPS : IP_TTL, tos = v6 ? IPV6_TCLASS : IP_TOS;
    dp_place peer;
    int fd = start(flags, false, &peer);
    burst(fd, &peer, "as ever");
    if (!dp_server) dp_set(fd, level, ttl, 17, "TTL");
    burst(fd, &peer, "another TTL");
    if (!dp_server) dp_set(fd, level, tos, 0x28, "TOS");
    burst(fd, &peer, "another TOS");
    if (!dp_server) send_with(fd, "TTL of this one", &peer, level, v6 ? IPV6_HOPLIMIT : IP_TTL, 3);
    burst(fd, &peer, "the others as before");
    if (dp_server) dp_recv_message(fd, 100, 0);
    dp_sync("end");
    dp_recv_from(fd, 100, MSG_DONTWAIT);
    dp_close(fd);
}

DP_DATAGRAM(datagram_ancillary, options_that_change) { options_that_change(0); }
DP_DATAGRAM(datagram_ancillary, options_that_change_v6) { options_that_change(DP_V6); }

/// Without a wait between the change and what follows it.
DP_DATAGRAM(datagram_ancillary, changes_on_the_way) {
    dp_place peer;
    int fd = start(0, false, &peer);
    for (int i = 0; i < 120; i++) {
        if (dp_server) {
            dp_recv_message(fd, 100, 0);
            if (i % 60 == 59) dp_sync("sixty");
            continue;
        }
        if (i % 20 == 7) dp_set(fd, IPPROTO_IP, IP_TTL, 10 + i, "IP_TTL");
        if (i % 30 == 11) send_with(fd, "TOS of this one", &peer, IPPROTO_IP, IP_TOS, 0x10);
        else if (sendto(fd, "on", 2, 0, dp_sockaddr(&peer), peer.length) != 2) dp_fail("sendto: %s", dp_errno_name(errno));
        if (i % 60 == 59) dp_sync("sixty");
    }
    dp_close(fd);
}

DP_DATAGRAM(datagram_ancillary, connected) {
    dp_place peer;
    int fd = start(0, true, &peer);
    burst(fd, NULL, "hello");
    if (!dp_server) dp_set(fd, IPPROTO_IP, IP_TTL, 17, "IP_TTL");
    burst(fd, NULL, "again");
    dp_close(fd);
}

DP_DATAGRAM(datagram_ancillary, sent_to_two_addresses) {
    dp_place peer;
    int fd = start(0, false, &peer);
    dp_place other = dp_place_at("127.0.0.2", dp_place_port(&peer));
    for (int i = 0; i < 4; i++) burst(fd, i % 2 ? &other : &peer, i % 2 ? "to the second" : "to the first");
    for (int i = 0; i < 30; i++) {
        if (dp_server) dp_recv_message(fd, 100, 0);
        else dp_say_to(fd, "in turn", i % 2 ? &other : &peer);
        if (i % 3 == 2) dp_sync("three");
    }
    dp_close(fd);
}

DP_DATAGRAM(datagram_ancillary, mapped_sender) {
    int fd = dp_udp(dp_server ? "::" : "127.0.0.1", 0);
    if (dp_server) {
        dp_set(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1, "IPV6_RECVPKTINFO");
        dp_set(fd, IPPROTO_IP, IP_RECVTTL, 1, "IP_RECVTTL");
    }
    dp_place peer = dp_udp_swap(fd, dp_server ? "127.0.0.1" : "::ffff:127.0.0.1");
    dp_udp_warm(fd, &peer);
    burst(fd, &peer, "by v4");
    dp_close(fd);
}

/// Room from none to enough.
DP_DATAGRAM(datagram_ancillary, too_little_room) {
    dp_place peer;
    int fd = start(0, false, &peer);
    for (size_t room = 0; room <= 88; room += 4) {
        if (!dp_server) {
            for (int i = 0; i < 4; i++)
                if (sendto(fd, "much", 4, 0, dp_sockaddr(&peer), peer.length) != 4) dp_fail("sendto: %s", dp_errno_name(errno));
            dp_sync("read");
            continue;
        }
        for (int i = 0; i < 2; i++) {
            char data[10];
            union { char bytes[96]; struct cmsghdr align; } control;
            memset(&control, 0x5a, sizeof control);
            struct iovec part = {data, sizeof data};
            struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = i ? control.bytes : room ? control.bytes : NULL, .msg_controllen = room};
            ssize_t got = recvmsg(fd, &message, 0);
            dp_log("room %zu: %zd, left %zu, flags %x, %s", room, got, message.msg_controllen, message.msg_flags, dp_bytes(control.bytes, sizeof control.bytes));
        }
        dp_recv(fd, 10, 0);
        dp_recv_from(fd, 3, MSG_TRUNC);
        dp_sync("read");
    }
    dp_close(fd);
}

/// Other options when datagrams wait already.
DP_DATAGRAM(datagram_ancillary, asked_for_more_and_less) {
    static const struct { int name, value; const char *text; } steps[] = {
        {IP_RECVTOS, 0, "IP_RECVTOS"}, {IP_RECVTTL, 0, "IP_RECVTTL"}, {IP_RECVTTL, 1, "IP_RECVTTL"}, {IP_PKTINFO, 0, "IP_PKTINFO"}};
    dp_place peer;
    int fd = start(0, false, &peer);
    burst(fd, &peer, "before");
    for (int s = 0; s < 4; s++) {
        for (int i = 0; !dp_server && i < 10; i++) dp_say_to(fd, "waits", &peer);
        dp_sync("sent");
        if (dp_server) {
            dp_recv_message(fd, 100, 0);
            dp_set(fd, IPPROTO_IP, steps[s].name, steps[s].value, steps[s].text);
            for (int i = 1; i < 10; i++) dp_recv_message(fd, 100, 0);
        }
        dp_sync("read");
    }
    burst(fd, &peer, "after");
    dp_close(fd);
}

/// By recvmmsg, and by a loop that never blocks.
DP_DATAGRAM(datagram_ancillary, in_batches) {
    enum { BATCH = 6 };
    dp_place peer;
    int fd = start(0, false, &peer), count = 0;
    for (int i = 0; !dp_server && i < 60; i++)
        if (sendto(fd, &i, sizeof i, 0, dp_sockaddr(&peer), peer.length) != sizeof i) dp_fail("sendto: %s", dp_errno_name(errno));
    while (dp_server && count < 60) {
        int data[BATCH];
        union { char bytes[100]; struct cmsghdr align; } control[BATCH];
        struct iovec part[BATCH];
        struct mmsghdr batch[BATCH];
        for (int i = 0; i < BATCH; i++) {
            part[i] = (struct iovec){&data[i], sizeof data[i]};
            batch[i] = (struct mmsghdr){{.msg_iov = &part[i], .msg_iovlen = 1, .msg_control = control[i].bytes, .msg_controllen = sizeof control[i].bytes}, 0};
        }
        int n = recvmmsg(fd, batch, BATCH, count % 2 ? MSG_DONTWAIT : MSG_WAITFORONE, NULL);
        for (int i = 0; i < n; i++, count++) {
            if (batch[i].msg_len != sizeof(int) || data[i] != count) dp_fail("%d came instead of %d", data[i], count);
            if (count % 10 == 9) dp_log_control(&batch[i].msg_hdr);
        }
        if (n < 0 && errno != EAGAIN) dp_fail("recvmmsg: %s", dp_errno_name(errno));
    }
    dp_sync("end");
    dp_close(fd);
}

static sigjmp_buf back;
static void jump(int number) {
    (void)number;
    siglongjmp(back, 1);
}

/// A handler jumps out of a receive that waits: the message header is the program's own, and it receives with it once more.
DP_DATAGRAM(datagram_ancillary, header_of_a_call_that_was_left) {
    static char data[100];
    static struct iovec part = {data, sizeof data};
    static struct msghdr message;
    dp_place peer;
    int fd = start(0, false, &peer);
    burst(fd, &peer, "before");
    if (dp_server) {
        struct sigaction action = {.sa_handler = jump};
        DP_MUST(sigaction(SIGUSR1, &action, NULL));
        message = (struct msghdr){.msg_iov = &part, .msg_iovlen = 1};
        if (sigsetjmp(back, 1) == 0) {
            dp_tell("blocks");
            dp_log("recvmsg: %zd", recvmsg(fd, &message, 0));
        }
        dp_log("left: name %s %u, control %s %zu", message.msg_name ? "set" : "none", message.msg_namelen, message.msg_control ? "set" : "none", message.msg_controllen);
        dp_sync("left");
        ssize_t got = recvmsg(fd, &message, 0);
        dp_log("recvmsg: %zd %s, name %s %u, control %s %zu, flags %x", got, dp_bytes(data, got > 0 ? (size_t)got : 0), message.msg_name ? "set" : "none",
               message.msg_namelen, message.msg_control ? "set" : "none", message.msg_controllen, message.msg_flags);
    } else {
        dp_until_peer_blocked("blocks");
        DP(kill(dp_peer_pid, SIGUSR1));
        dp_sync("left");
        dp_say_to(fd, "and now?", &peer);
    }
    burst(fd, &peer, "after");
    dp_close(fd);
}
