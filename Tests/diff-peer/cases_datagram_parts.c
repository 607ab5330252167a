// What is cut off, what is only looked at, and datagrams made of and read into several parts.
#include "datagrams.h"
#include <limits.h>

DP_DATAGRAM(datagram_parts, cut_by_each_call) {
    int fd = dp_udp_pair(0);
    for (int i = 0; !dp_server && i < 6; i++) dp_say(fd, "0123456789abcdef");
    if (dp_server) {
        char data[8];
        struct iovec parts[2] = {{data, 3}, {data + 3, 4}};
        dp_recv(fd, 10, 0);
        dp_read(fd, 1);
        dp_recv_from(fd, 15, 0);
        dp_recv_message(fd, 4, 0);
        DP(readv(fd, parts, 2));
        dp_log("%s", dp_bytes(data, 7));
        dp_recv_message(fd, 16, 0);  // the rest of one is never the start of the next
    }
    dp_sync("end");
    dp_recv(fd, 100, MSG_DONTWAIT);
    dp_close(fd);
}

DP_DATAGRAM(datagram_parts, real_length_by_MSG_TRUNC) {
    int fd = dp_udp_pair(0);
    if (dp_server) {
        dp_recv_from(fd, 5, MSG_TRUNC);
        dp_recv_message(fd, 5, MSG_TRUNC);
        dp_recv_from(fd, 100, MSG_TRUNC);
        dp_recv_message(fd, 100, MSG_TRUNC);
        dp_recv_from(fd, 0, MSG_TRUNC);
        dp_recv_from(fd, 0, MSG_TRUNC | MSG_PEEK);
        dp_recv_from(fd, 70000, MSG_TRUNC);
    } else {
        for (int i = 0; i < 5; i++) dp_say(fd, "a datagram of 28 bytes, say.");
        dp_send_number(fd, NULL, 60000, 1, 1);
    }
    dp_sync("end");
    dp_close(fd);
}

DP_DATAGRAM(datagram_parts, looks_before_the_read) {
    int fd = dp_udp_pair(0);
    if (dp_server) {
        dp_tell("blocks");
        dp_recv(fd, 100, MSG_PEEK);
        dp_settle_for(fd, POLLIN);
        for (int i = 0; i < 3; i++) dp_recv_from(fd, 100, MSG_PEEK);
        dp_recv_from(fd, 4, MSG_PEEK);
        dp_recv_message(fd, 4, MSG_PEEK);
        dp_recv_from(fd, 4, MSG_PEEK | MSG_TRUNC);
        dp_recv_message(fd, 4, MSG_PEEK | MSG_TRUNC | MSG_DONTWAIT);
        dp_poll(fd, POLLIN, 0);
        dp_available(fd);
        dp_recv_from(fd, 100, 0);
        dp_recv_from(fd, 100, MSG_PEEK);
        dp_recv_from(fd, 2, 0);
        dp_recv_from(fd, 100, MSG_PEEK | MSG_DONTWAIT);
    } else {
        dp_until_peer_blocked("blocks");
        dp_say(fd, "looked at often");
        dp_say(fd, "and once");
    }
    dp_sync("end");
    dp_close(fd);
}

DP_DATAGRAM(datagram_parts, looks_with_an_offset) {
    int fd = dp_udp_pair(0);
    if (dp_server) {
        dp_set(fd, SOL_SOCKET, SO_PEEK_OFF, 0, "SO_PEEK_OFF");
        dp_settle_for(fd, POLLIN);
        dp_recv(fd, 4, MSG_PEEK);
        dp_recv(fd, 4, MSG_PEEK);
        dp_option(fd, SOL_SOCKET, SO_PEEK_OFF, "SO_PEEK_OFF");
        dp_recv(fd, 4, MSG_PEEK);
        dp_set(fd, SOL_SOCKET, SO_PEEK_OFF, 2, "SO_PEEK_OFF");
        dp_recv(fd, 4, MSG_PEEK);
        dp_recv(fd, 100, 0);
        dp_option(fd, SOL_SOCKET, SO_PEEK_OFF, "SO_PEEK_OFF");
        dp_set(fd, SOL_SOCKET, SO_PEEK_OFF, -1, "SO_PEEK_OFF");
        dp_recv(fd, 4, MSG_PEEK);
        dp_recv(fd, 100, 0);
    } else {
        dp_say(fd, "0123456789abcdef");
        dp_say(fd, "ghijklmnop");
    }
    dp_sync("end");
    dp_close(fd);
}

DP_DATAGRAM(datagram_parts, gathered) {
    int fd = dp_udp_pair(0);
    if (dp_server) {
        for (int i = 0; i < 4; i++) dp_recv(fd, 9000, 0);
    } else {
        static char large[5000];
        dp_fill(large, sizeof large, 7, 0);
        struct iovec parts[6] = {{"one ", 4}, {"", 0}, {"two ", 4}, {NULL, 0}, {"three", 5}, {large, sizeof large}};
        struct msghdr message = {.msg_iov = parts, .msg_iovlen = 5};
        DP(writev(fd, parts, 5));
        DP(sendmsg(fd, &message, 0));
        message.msg_iovlen = 6;
        DP(sendmsg(fd, &message, MSG_DONTWAIT));
        DP(writev(fd, parts + 5, 1));
    }
    dp_sync("end");
    dp_close(fd);
}

DP_DATAGRAM(datagram_parts, scattered) {
    int fd = dp_udp_pair(0);
    if (dp_server) {
        char data[32];
        struct iovec parts[5] = {{data, 1}, {data, 0}, {data + 1, 5}, {data + 6, 2}, {data + 8, 12}};
        struct msghdr message = {.msg_iov = parts, .msg_iovlen = 5};
        for (int i = 0; i < 4; i++) {
            memset(data, '.', sizeof data);
            if (i < 2) DP(readv(fd, parts, 5));
            else DP(recvmsg(fd, &message, i == 3 ? MSG_TRUNC : 0));
            dp_log("%s, flags %x", dp_bytes(data, sizeof data), (unsigned)message.msg_flags);
        }
    } else {
        dp_say(fd, "0123456789abcdefghij");
        dp_say(fd, "short");
        dp_say(fd, "0123456789abcdefghij is too long");
        dp_say(fd, "0123456789abcdefghij is too long");
    }
    dp_sync("end");
    dp_close(fd);
}

/// A program that throws a datagram away, or asks for its sender alone; and one that has forgotten its parts.
DP_DATAGRAM(datagram_parts, no_parts) {
    int fd = dp_udp_pair(0);
    if (dp_server) {
        struct msghdr message = {0};
        DP(recvmsg(fd, &message, 0));
        dp_log("flags %x", (unsigned)message.msg_flags);
        DP(recvmsg(fd, &message, MSG_TRUNC));
        message.msg_iovlen = 2;
        DP(recvmsg(fd, &message, 0));
        dp_recv(fd, 20, 0);
    } else {
        for (int i = 0; i < 3; i++) dp_say(fd, "some");
    }
    dp_sync("end");
    dp_close(fd);
}

DP_DATAGRAM(datagram_parts, as_many_parts_as_there_may_be) {
    int fd = dp_udp_pair(0);
    static char data[IOV_MAX * 3];
    static struct iovec parts[IOV_MAX + 1];
    for (int i = 0; i <= IOV_MAX; i++) parts[i] = (struct iovec){data + i % IOV_MAX * 3, 3};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = IOV_MAX};
    if (dp_server) {
        DP(recvmsg(fd, &message, 0));
        dp_log("%s", dp_bytes(data, sizeof data));
        DP(readv(fd, parts, IOV_MAX));
        message.msg_iovlen = IOV_MAX + 1;
        DP(recvmsg(fd, &message, MSG_DONTWAIT));
        DP(readv(fd, parts, IOV_MAX + 1));
    } else {
        dp_fill(data, sizeof data, 8, 0);
        DP(sendmsg(fd, &message, 0));
        DP(writev(fd, parts, IOV_MAX));
        message.msg_iovlen = IOV_MAX + 1;
        DP(sendmsg(fd, &message, 0));
        DP(writev(fd, parts, IOV_MAX + 1));
    }
    dp_sync("end");
    dp_close(fd);
}

DP_DATAGRAM(datagram_parts, room_for_the_senders_name) {
    dp_place peer;
    int fd = dp_udp_open(0, &peer);
    if (dp_server) {
        unsigned char name[64];
        char data[20];
        static const socklen_t rooms[] = {0, 1, 4, 15, 16, 17, 64};
        for (int i = 0; i < 7; i++) {
            socklen_t length = rooms[i];
            memset(name, 0xee, sizeof name);
            ssize_t got = recvfrom(fd, data, sizeof data, 0, (struct sockaddr *)name, &length);
            dp_log("%zd, room %u, length %u, family %s, behind it %x", got, rooms[i], length, name[0] == AF_INET ? "there" : "not there",
                   rooms[i] < 64 ? name[rooms[i]] : 0xee);
        }
        struct iovec part = {data, sizeof data};
        struct msghdr message = {.msg_name = name, .msg_namelen = 7, .msg_iov = &part, .msg_iovlen = 1};
        DP(recvmsg(fd, &message, 0));
        dp_log("length %u, flags %x", message.msg_namelen, (unsigned)message.msg_flags);
        DP(recvfrom(fd, data, sizeof data, 0, NULL, NULL));
        socklen_t wrong = (socklen_t)-1;
        DP(recvfrom(fd, data, sizeof data, 0, (struct sockaddr *)name, &wrong));
    } else {
        for (int i = 0; i < 10; i++) dp_say_to(fd, "who?", &peer);
    }
    dp_sync("end");
    dp_close(fd);
}

DP_DATAGRAM(datagram_parts, flags_without_meaning) {
    int fd = dp_udp_pair(0);
    if (dp_server) {
        dp_recv(fd, 100, MSG_WAITALL);  // one datagram, whatever it has
        dp_recv_message(fd, 100, MSG_WAITALL);
        dp_recv_message(fd, 2, MSG_WAITALL);
        dp_recv_message(fd, 100, MSG_NOSIGNAL | MSG_CMSG_CLOEXEC);
        dp_recv(fd, 100, MSG_OOB | MSG_DONTWAIT);
    } else {
        dp_send(fd, "plain", 5, MSG_NOSIGNAL);
        dp_send(fd, "end of record", 13, MSG_EOR);
        dp_send(fd, "confirmed", 9, MSG_CONFIRM);
        dp_send(fd, "not routed", 10, MSG_DONTROUTE);
        dp_send(fd, "urgent", 6, MSG_OOB);
    }
    dp_sync("end");
    dp_recv(fd, 100, MSG_DONTWAIT);
    dp_close(fd);
}
