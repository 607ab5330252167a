// Scatter and gather, message calls, several messages in one call.
#include "harness.h"

DP_CASE(messages, writev_and_readv) {
    int fd = dp_pair(0);
    if (dp_server) {
        char a[3], b[5], c[20];
        struct iovec parts[3] = {{a, sizeof a}, {b, sizeof b}, {c, sizeof c}};
        dp_settle(fd, 14);
        ssize_t got = DP(readv(fd, parts, 3));
        dp_log("%s", dp_bytes(a, 3));
        dp_log("%s", dp_bytes(b, 5));
        dp_log("%s", dp_bytes(c, got > 8 ? got - 8 : 0));
    } else {
        struct iovec parts[4] = {{"one", 3}, {"", 0}, {"-two-", 5}, {"three!", 6}};
        DP(writev(fd, parts, 4));
    }
    dp_sync("end");
    dp_close(fd);
}

static void many_parts(int count, size_t each) {
    int fd = dp_pair(0);
    uint8_t *data = malloc(count * each);
    struct iovec *parts = malloc(count * sizeof *parts);
    for (int i = 0; i < count; i++) parts[i] = (struct iovec){data + i * each, each};
    if (dp_server) {
        struct msghdr message = {.msg_iov = parts, .msg_iovlen = count};
        if (count * each < 4000) {
            dp_settle(fd, count * each);
            DP(readv(fd, parts, count));
        } else {
            DP(recvmsg(fd, &message, MSG_WAITALL));
        }
        dp_log("%s", dp_bytes(data, count * each));
    } else {
        dp_fill(data, count * each, 1, 0);
        DP(writev(fd, parts, count));
    }
    free(data);
    free(parts);
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(messages, parts_1024_of_one_byte) { many_parts(1024, 1); }
DP_CASE(messages, parts_1024_of_33_bytes) { many_parts(1024, 33); }
DP_CASE(messages, parts_100_of_500_bytes) { many_parts(100, 500); }

DP_CASE(messages, too_many_parts) {
    int fd = dp_pair(0);
    static char data[2];
    static struct iovec parts[1025];
    for (int i = 0; i < 1025; i++) parts[i] = (struct iovec){data, 1};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 1025};
    DP(writev(fd, parts, 1025));
    DP(readv(fd, parts, 1025));
    volatile int negative = -1;
    DP(writev(fd, parts, negative));
    DP(sendmsg(fd, &message, 0));
    DP(recvmsg(fd, &message, 0));
    parts[0].iov_len = (size_t)-1;
    DP(writev(fd, parts, 2));
    message.msg_iovlen = 2;
    DP(sendmsg(fd, &message, 0));
    message.msg_iovlen = 0;
    DP(sendmsg(fd, &message, 0));
    DP(writev(fd, parts, 0));
    DP(recvmsg(fd, &message, MSG_DONTWAIT));
    DP(readv(fd, parts, 0));
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(messages, preadv2_and_pwritev2) {
    int fd = dp_pair(0);
    if (dp_server) {
        char text[20];
        struct iovec part = {text, sizeof text};
        DP(preadv2(fd, &part, 1, -1, RWF_NOWAIT));
        dp_tell("go");
        dp_settle(fd, 8);
        ssize_t got = DP(preadv2(fd, &part, 1, -1, 0));
        dp_log("%s", dp_bytes(text, got > 0 ? got : 0));
        DP(preadv2(fd, &part, 1, 0, 0));
        DP(preadv(fd, &part, 1, 0));
        DP(pread(fd, text, 1, 0));
    } else {
        struct iovec parts[2] = {{"with", 4}, {"flag", 4}};
        dp_hear("go");
        DP(pwritev2(fd, parts, 2, -1, 0));
        DP(pwritev2(fd, parts, 2, 0, 0));
        DP(pwritev(fd, parts, 2, 0));
        DP(pwrite(fd, "x", 1, 0));
    }
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(messages, recvmsg_fields) {
    int fd = dp_pair(0);
    if (dp_server) {
        char first[4], second[4], control[64];
        struct iovec parts[2] = {{first, 4}, {second, 4}};
        struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2, .msg_control = control, .msg_controllen = sizeof control, .msg_flags = -1};
        dp_settle(fd, 12);
        DP(recvmsg(fd, &message, MSG_PEEK));
        dp_log("%s control %zu flags %d", dp_bytes(first, 4), message.msg_controllen, message.msg_flags);
        message.msg_controllen = sizeof control;
        DP(recvmsg(fd, &message, MSG_WAITALL));
        dp_log("%s control %zu flags %d", dp_bytes(second, 4), message.msg_controllen, message.msg_flags);
        DP(recvmsg(fd, &message, MSG_DONTWAIT));
        dp_log("%s", dp_bytes(first, 4));
        DP(recvmsg(fd, &message, MSG_DONTWAIT));
    } else {
        dp_say(fd, "abcdefghijkl");
    }
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(messages, cmsg_cloexec_flag) {
    int fd = dp_pair(0);
    if (dp_server) {
        char text[8];
        struct iovec part = {text, sizeof text};
        struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
        dp_settle(fd, 3);
        DP(recvmsg(fd, &message, MSG_CMSG_CLOEXEC));
        dp_log("flags %x", message.msg_flags);
    } else {
        dp_say(fd, "abc");
    }
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(messages, sendmmsg_and_recvmmsg) {
    int fd = dp_pair(0);
    if (dp_server) {
        char text[3][4];
        struct iovec parts[3];
        struct mmsghdr messages[3];
        memset(messages, 0, sizeof messages);
        for (int i = 0; i < 3; i++) {
            parts[i] = (struct iovec){text[i], 4};
            messages[i].msg_hdr.msg_iov = &parts[i];
            messages[i].msg_hdr.msg_iovlen = 1;
        }
        dp_settle(fd, 10);
        DP(recvmmsg(fd, messages, 3, 0, NULL));
        for (int i = 0; i < 3; i++) dp_log("%u %s", messages[i].msg_len, dp_bytes(text[i], messages[i].msg_len));
        DP(recvmmsg(fd, messages, 3, MSG_DONTWAIT, NULL));
        DP(recvmmsg(fd, messages, 0, MSG_DONTWAIT, NULL));
    } else {
        struct iovec parts[3] = {{"one", 3}, {"two", 3}, {"four", 4}};
        struct mmsghdr messages[3];
        memset(messages, 0, sizeof messages);
        for (int i = 0; i < 3; i++) {
            messages[i].msg_hdr.msg_iov = &parts[i];
            messages[i].msg_hdr.msg_iovlen = 1;
        }
        DP(sendmmsg(fd, messages, 3, 0));
        for (int i = 0; i < 3; i++) dp_log("%u", messages[i].msg_len);
        DP(sendmmsg(fd, messages, 0, 0));
    }
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(messages, recvmmsg_wait_for_one) {
    int fd = dp_pair(0);
    if (dp_server) {
        char text[4][16];
        struct iovec parts[4];
        struct mmsghdr messages[4];
        memset(messages, 0, sizeof messages);
        for (int i = 0; i < 4; i++) {
            parts[i] = (struct iovec){text[i], 16};
            messages[i].msg_hdr.msg_iov = &parts[i];
            messages[i].msg_hdr.msg_iovlen = 1;
        }
        dp_tell("blocks");
        DP(recvmmsg(fd, messages, 4, MSG_WAITFORONE, NULL));
        dp_log("%s", dp_bytes(text[0], messages[0].msg_len));
        struct timespec soon = {0, 30000000};
        dp_tell("two");
        dp_settle(fd, 16);
        DP(recvmmsg(fd, messages, 2, MSG_DONTWAIT, &soon));
        dp_log("%u", messages[0].msg_len);
    } else {
        dp_until_peer_blocked("blocks");
        dp_say(fd, "just one");
        dp_hear("two");
        dp_say(fd, "sixteen letters.");
    }
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(messages, recvmmsg_meets_the_end) {
    int fd = dp_pair(0);
    if (dp_server) {
        char text[3][4];
        struct iovec parts[3];
        struct mmsghdr messages[3];
        memset(messages, 0, sizeof messages);
        for (int i = 0; i < 3; i++) {
            parts[i] = (struct iovec){text[i], 4};
            messages[i].msg_hdr.msg_iov = &parts[i];
            messages[i].msg_hdr.msg_iovlen = 1;
        }
        dp_settle_for(fd, POLLRDHUP);
        DP(recvmmsg(fd, messages, 3, 0, NULL));
        for (int i = 0; i < 3; i++) dp_log("%u", messages[i].msg_len);
    } else {
        dp_say(fd, "sixby");
        DP(shutdown(fd, SHUT_WR));
    }
    dp_sync("end");
    dp_close(fd);
}
