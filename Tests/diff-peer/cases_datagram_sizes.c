// Datagrams of every size, from none to the largest: they arrive whole, one by one, with their boundaries.
#include "datagrams.h"

static const size_t sizes[] = {0, 1, 2, 63, 64, 65, 512, 1472, 1473, 4096, 9000, 32768, 65506, DP_LARGEST};
enum { SIZES = sizeof sizes / sizeof *sizes };

/// A datagram of `size` from the client and back; each side says what it got.
static void to_and_fro(int fd, const dp_place *peer, size_t size) {
    static uint8_t data[70000];
    if (!dp_server) dp_send_number(fd, peer, size, 1, (uint32_t)size);
    ssize_t got = recv(fd, data, sizeof data, 0);
    dp_log("%zu bytes: %zd, %s", size, got, got == (ssize_t)size && dp_is_number(data, size, 1, (uint32_t)size) ? "whole" : "not so");
    if (dp_server) dp_send_number(fd, peer, size, 1, (uint32_t)size);
}

DP_DATAGRAM(datagram_sizes, connected) {
    int fd = dp_udp_pair(0);
    for (int i = 0; i < SIZES; i++) to_and_fro(fd, NULL, sizes[i]);
    dp_sync("end");
    dp_close(fd);
}

DP_DATAGRAM(datagram_sizes, unconnected) {
    dp_place peer;
    int fd = dp_udp_open(0, &peer);
    for (int i = 0; i < SIZES; i++) to_and_fro(fd, &peer, sizes[i]);
    dp_sync("end");
    dp_close(fd);
}

DP_DATAGRAM(datagram_sizes, v6) {
    int fd = dp_udp_pair(DP_V6);
    for (int i = 0; i < SIZES; i++) to_and_fro(fd, NULL, sizes[i]);
    to_and_fro(fd, NULL, DP_LARGEST_V6);
    dp_sync("end");
    dp_close(fd);
}

DP_DATAGRAM(datagram_sizes, nonblocking) {
    dp_place peer;
    int fd = dp_udp_open(DP_NONBLOCK, &peer);
    static uint8_t data[70000];
    for (int i = 0; i < SIZES; i++) {
        if (!dp_server) dp_send_number(fd, &peer, sizes[i], 2, i);
        dp_settle_for(fd, POLLIN);
        ssize_t got = recv(fd, data, sizeof data, 0);
        dp_log("%zu bytes: %s", sizes[i], got == (ssize_t)sizes[i] && dp_is_number(data, got, 2, i) ? "whole" : "not so");
        dp_recv_from(fd, 10, 0);
        if (dp_server) dp_send_number(fd, &peer, sizes[i], 2, i);
    }
    dp_sync("end");
    dp_close(fd);
}

/// One more byte than fits is refused by every call, and nothing of it arrives.
static void too_large(int flags, size_t largest) {
    static char data[70000];
    dp_place peer = {0};
    int fd = dp_udp_pair(flags);
    peer.length = sizeof peer.address;
    DP_MUST(getpeername(fd, dp_sockaddr(&peer), &peer.length));
    if (!dp_server) {
        struct iovec parts[2] = {{data, largest}, {data, 1}};
        struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
        dp_send(fd, data, largest + 1, 0);
        dp_send(fd, data, sizeof data, MSG_DONTWAIT);
        dp_send_to(fd, data, largest + 1, 0, &peer);
        DP(write(fd, data, largest + 1));
        DP(writev(fd, parts, 2));
        DP(sendmsg(fd, &message, 0));
        dp_socket_error(fd);
        dp_poll(fd, POLLIN | POLLOUT, 0);
        dp_say(fd, "this fits");
        dp_recv(fd, 100, 0);
    } else {
        dp_recv(fd, sizeof data, 0);
        dp_say(fd, "it does");
    }
    dp_sync("end");
    dp_close(fd);
}
DP_DATAGRAM(datagram_sizes, too_large) { too_large(0, DP_LARGEST); }
DP_DATAGRAM(datagram_sizes, too_large_v6) { too_large(DP_V6, DP_LARGEST_V6); }

DP_DATAGRAM(datagram_sizes, too_large_before_the_first, .kernel = "nothing that fits is sent") {
    static char data[70000];
    int fd = dp_udp_pair(DP_COLD);
    dp_send(fd, data, DP_LARGEST + 1, 0);
    dp_send(fd, data, sizeof data, 0);
    dp_sync("end");
    dp_recv(fd, 10, MSG_DONTWAIT);
    dp_close(fd);
}

DP_DATAGRAM(datagram_sizes, none_by_each_call) {
    int fd = dp_udp_pair(0);
    if (dp_server) {
        char data[50];
        struct iovec parts[2] = {{data, 20}, {data + 20, 30}};
        dp_recv(fd, 50, 0);
        dp_read(fd, 50);
        DP(readv(fd, parts, 2));
        dp_recv_from(fd, 50, 0);
        dp_recv_message(fd, 50, 0);
        dp_recv(fd, 0, 0);
        dp_recv(fd, 50, 0);
    } else {
        struct msghdr empty = {0};
        struct iovec parts[2] = {{"", 0}, {"", 0}};
        DP(send(fd, "", 0, 0));
        DP(send(fd, NULL, 0, 0));
        DP(write(fd, "", 0));
        DP(sendmsg(fd, &empty, 0));
        empty.msg_iov = parts;
        empty.msg_iovlen = 2;
        DP(sendmsg(fd, &empty, 0));
        DP(send(fd, "", 0, MSG_DONTWAIT));
        DP(writev(fd, parts, 2));  // sends nothing
        dp_say(fd, "some");
    }
    dp_sync("end");
    dp_recv(fd, 50, MSG_DONTWAIT);
    dp_close(fd);
}

DP_DATAGRAM(datagram_sizes, none_among_others) {
    int fd = dp_udp_pair(0);
    if (!dp_server) {
        dp_say(fd, "first");
        DP(send(fd, "", 0, 0));
        dp_say(fd, "third");
        DP(send(fd, "", 0, 0));
        DP(send(fd, "", 0, 0));
        dp_say(fd, "last");
    }
    dp_sync("sent");
    for (int i = 0; dp_server && i < 6; i++) {
        dp_settle_for(fd, POLLIN);
        dp_available(fd);
        dp_poll(fd, POLLIN, 0);
        dp_recv_from(fd, 100, MSG_PEEK);
        dp_recv_from(fd, 100, 0);
    }
    if (dp_server) dp_poll(fd, POLLIN, 0);
    dp_sync("end");
    dp_close(fd);
}

DP_DATAGRAM(datagram_sizes, a_hundred_of_none) {
    int fd = dp_udp_pair(0);
    int count = 0;
    for (int i = 0; i < 100; i++) {
        if (dp_server) count += recv(fd, NULL, 0, 0) == 0;
        else count += send(fd, NULL, 0, 0) == 0;
        if (i % 10 == 9) dp_sync("ten more");
    }
    dp_log("%d", count);
    dp_recv(fd, 10, MSG_DONTWAIT);
    dp_sync("end");
    dp_close(fd);
}

/// recv of no bytes takes a datagram; read of no bytes takes none.
DP_DATAGRAM(datagram_sizes, into_no_room) {
    int fd = dp_udp_pair(0);
    if (dp_server) {
        char none[1];
        struct iovec part = {none, 0};
        dp_settle_for(fd, POLLIN);
        DP(read(fd, none, 0));
        DP(readv(fd, &part, 1));
        dp_recv(fd, 100, MSG_PEEK);
        dp_recv(fd, 0, MSG_PEEK);
        dp_recv(fd, 0, 0);
        dp_recv_message(fd, 0, 0);
        DP(recv(fd, NULL, 0, MSG_TRUNC));
        dp_recv(fd, 100, 0);
    } else {
        dp_say(fd, "one");
        dp_say(fd, "two!");
        dp_say(fd, "three");
        dp_say(fd, "four!!");
    }
    dp_sync("end");
    dp_recv(fd, 100, MSG_DONTWAIT);
    dp_close(fd);
}

DP_DATAGRAM(datagram_sizes, boundaries_in_the_queue) {
    int fd = dp_udp_pair(0);
    static const size_t queued[] = {65, 0, 64, 1473, 1, 63, 1472, 0, 9000, 7};
    enum { COUNT = sizeof queued / sizeof *queued };
    for (int i = 0; !dp_server && i < COUNT; i++) dp_send_number(fd, NULL, queued[i], 3, i);
    dp_sync("all sent");
    for (int i = 0; dp_server && i < COUNT; i++) {
        dp_settle_for(fd, POLLIN);
        if (dp_available(fd) == (int)queued[i]) dp_recv_number(fd, queued[i], 3, i);
    }
    dp_recv(fd, 10, MSG_DONTWAIT);
    dp_sync("end");
    dp_close(fd);
}

DP_DATAGRAM(datagram_sizes, rising) {
    int fd = dp_udp_pair(0);
    for (uint32_t size = 0; size < 20000; size += 1 + size / 40) {
        if (!dp_server) dp_send_number(fd, NULL, size, 4, size);
        dp_recv_number(fd, size, 4, size);
        if (dp_server) dp_send_number(fd, NULL, size, 4, size);
    }
    dp_log("all whole");
    dp_sync("end");
    dp_close(fd);
}

DP_DATAGRAM(datagram_sizes, large_and_small_in_turn) {
    dp_place peer;
    int fd = dp_udp_open(0, &peer);
    for (uint32_t i = 0; i < 200; i++) {
        size_t size = i % 2 ? 1 + i % 90 : DP_LARGEST - i;
        if (!dp_server) dp_send_number(fd, &peer, size, 5, i);
        dp_recv_number(fd, size, 5, i);
        if (dp_server) dp_send_number(fd, &peer, size, 5, i);
    }
    dp_log("all whole");
    dp_sync("end");
    dp_close(fd);
}

/// The largest, as many as the receiver's buffer surely takes, before it looks.
DP_DATAGRAM(datagram_sizes, two_of_the_largest_wait) {
    int fd = dp_udp_pair(0), room = 1 << 20;
    DP_MUST(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room));
    dp_sync("room");
    for (uint32_t i = 0; !dp_server && i < 2; i++) dp_send_number(fd, NULL, DP_LARGEST, 6, i);
    dp_sync("sent");
    for (uint32_t i = 0; dp_server && i < 2; i++) dp_recv_number(fd, DP_LARGEST, 6, i);
    dp_log("both whole");
    dp_sync("end");
    dp_close(fd);
}
