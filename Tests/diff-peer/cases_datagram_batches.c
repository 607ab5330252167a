// Many datagrams by one call: sendmmsg and recvmmsg.
#include "datagrams.h"

enum { MOST = 32, ROOM = 2000 };

typedef struct batch {
    struct mmsghdr messages[MOST];
    struct iovec parts[MOST];
    struct sockaddr_storage names[MOST];
    char data[MOST][ROOM];
} batch;

static batch *empty_batch(size_t room, bool named) {
    batch *b = calloc(1, sizeof *b);
    for (int i = 0; i < MOST; i++) {
        b->parts[i] = (struct iovec){b->data[i], room};
        b->messages[i].msg_hdr.msg_iov = &b->parts[i];
        b->messages[i].msg_hdr.msg_iovlen = 1;
        if (named) b->messages[i].msg_hdr.msg_name = &b->names[i];
        if (named) b->messages[i].msg_hdr.msg_namelen = sizeof b->names[i];
    }
    return b;
}

static int receive(int fd, unsigned count, size_t room, int flags, struct timespec *timeout) {
    batch *b = empty_batch(room, true);
    errno = 0;
    int got = recvmmsg(fd, b->messages, count, flags, timeout);
    if (got < 0) dp_log("recvmmsg(%u) = -1 %s", count, dp_errno_name(errno));
    else dp_log("recvmmsg(%u) = %d%s", count, got, errno ? " (errno touched)" : "");
    for (int i = 0; i < got; i++)
        dp_log("  %u %s from %s, flags %x", b->messages[i].msg_len, dp_bytes(b->data[i], b->messages[i].msg_len < room ? b->messages[i].msg_len : room),
               dp_who(&b->names[i], b->messages[i].msg_hdr.msg_namelen), (unsigned)b->messages[i].msg_hdr.msg_flags);
    free(b);
    return got;
}

/// Texts to the peer, or by `to` to others.
static void put_texts(batch *b, const char *const *texts, int count, dp_place *to) {
    for (int i = 0; i < count; i++) {
        b->parts[i].iov_len = strlen(texts[i]);
        memcpy(b->data[i], texts[i], b->parts[i].iov_len);
        if (to) b->messages[i].msg_hdr.msg_name = &to[i].address;
        if (to) b->messages[i].msg_hdr.msg_namelen = to[i].length;
    }
}

static void send_texts(int fd, const char *const *texts, int count, dp_place *to) {
    batch *b = empty_batch(0, false);
    put_texts(b, texts, count, to);
    DP(sendmmsg(fd, b->messages, count, 0));
    for (int i = 0; i < count; i++) dp_log("  %u sent", b->messages[i].msg_len);
    free(b);
}

static const char *const words[] = {"one", "two words", "", "the fourth one", "5"};

DP_DATAGRAM(datagram_batches, there_and_back) {
    int fd = dp_udp_pair(0);
    if (!dp_server) send_texts(fd, words, 5, NULL);
    dp_sync("sent");
    if (dp_server) receive(fd, 5, 100, 0, NULL);
    if (dp_server) send_texts(fd, words, 3, NULL);
    dp_sync("answered");
    if (!dp_server) receive(fd, 3, 100, 0, NULL);
    dp_sync("end");
    receive(fd, 8, 100, MSG_DONTWAIT, NULL);
    dp_close(fd);
}

DP_DATAGRAM(datagram_batches, cut_off) {
    int fd = dp_udp_pair(0);
    if (!dp_server) for (int i = 0; i < 2; i++) send_texts(fd, words, 5, NULL);
    dp_sync("sent");
    if (dp_server) {
        receive(fd, 5, 4, 0, NULL);
        receive(fd, 5, 4, MSG_TRUNC | MSG_PEEK, NULL);
        receive(fd, 5, 4, MSG_TRUNC, NULL);
    }
    dp_sync("end");
    dp_close(fd);
}

DP_DATAGRAM(datagram_batches, waits_for_all) {
    int fd = dp_udp_pair(0);
    if (dp_server) {
        dp_tell("blocks");
        receive(fd, 3, 100, 0, NULL);
    } else {
        dp_until_peer_blocked("blocks");
        for (int i = 0; i < 3; i++) {
            dp_say(fd, words[i]);
            dp_until_asleep(dp_peer_pid);
        }
        dp_say(fd, "not asked for");
    }
    dp_sync("end");
    if (dp_server) dp_recv(fd, 100, 0);
    dp_close(fd);
}

DP_DATAGRAM(datagram_batches, waits_for_one) {
    int fd = dp_udp_pair(0);
    if (dp_server) {
        dp_tell("blocks");
        receive(fd, 5, 100, MSG_WAITFORONE, NULL);
        dp_sync("more");
        dp_sync("sent");
        receive(fd, 5, 100, MSG_WAITFORONE, NULL);
        receive(fd, 5, 100, MSG_DONTWAIT, NULL);
    } else {
        dp_until_peer_blocked("blocks");
        dp_say(fd, "alone");
        dp_sync("more");
        for (int i = 0; i < 3; i++) dp_say(fd, words[i]);
        dp_sync("sent");
    }
    dp_sync("end");
    dp_close(fd);
}

/// The time limit of recvmmsg is looked at only when a datagram has come: it does not wake anybody.
DP_DATAGRAM(datagram_batches, time_limit) {
    int fd = dp_udp_pair(0);
    if (dp_server) {
        struct timespec limit = {0, 20000000}, long_one = {100, 0}, wrong = {0, 2000000000}, none = {0, 0};
        dp_tell("blocks");
        receive(fd, 4, 100, 0, &limit);
        dp_log("left: %s", limit.tv_sec || limit.tv_nsec ? "some" : "none");
        dp_tell("more");
        receive(fd, 2, 100, 0, &long_one);
        dp_log("left: %s", long_one.tv_sec >= 50 && long_one.tv_sec < 100 ? "much" : "not much");
        receive(fd, 2, 100, 0, &wrong);
        dp_sync("third");
        receive(fd, 2, 100, 0, &none);
    } else {
        dp_until_peer_blocked("blocks");
        poll(NULL, 0, 60);
        dp_say(fd, "after the limit");
        dp_hear("more");
        dp_say(fd, "one");
        dp_say(fd, "two");
        dp_say(fd, "three");
        dp_sync("third");
    }
    dp_sync("end");
    dp_close(fd);
}

DP_DATAGRAM(datagram_batches, one_in_the_middle_fails) {
    int fd = dp_udp_pair(0);
    if (!dp_server) {
        static char large[70000];
        batch *b = empty_batch(0, false);
        put_texts(b, words, 5, NULL);
        b->parts[2] = (struct iovec){large, sizeof large};
        DP(sendmmsg(fd, b->messages, 5, 0));
        DP(sendmmsg(fd, b->messages + 2, 3, 0));
        DP(sendmmsg(fd, b->messages + 3, 2, MSG_DONTWAIT));
        DP(sendmmsg(fd, b->messages, 0, 0));
        dp_socket_error(fd);
        free(b);
    }
    dp_sync("sent");
    if (dp_server) receive(fd, 4, 100, 0, NULL);
    dp_sync("end");
    receive(fd, 4, 100, MSG_DONTWAIT, NULL);
    dp_close(fd);
}

/// One call, several receivers: one of them in the other role, two here, and one that nobody has.
DP_DATAGRAM(datagram_batches, several_destinations) {
    dp_place peer;
    int fd = dp_udp_open(0, &peer);
    if (dp_server) {
        dp_sync("sent");
        receive(fd, 2, 100, 0, NULL);
    } else {
        int here[2] = {dp_udp("127.0.0.1", 0), dp_udp("127.0.0.1", 0)};
        dp_place own[2] = {dp_place_of(here[0]), dp_place_of(here[1])};
        dp_place nobody = dp_place_at("127.0.0.1", dp_udp_free_port("127.0.0.1"));
        dp_place to[8] = {peer, own[0], own[1], nobody, peer, own[0], {{0}, 0}, peer};
        static const char *const texts[] = {"p1", "a1", "b1", "nobody", "p2", "a2", "to no address", "never"};
        send_texts(fd, texts, 8, to);
        dp_sync("sent");
        receive(here[0], 2, 100, 0, NULL);
        receive(here[1], 1, 100, 0, NULL);
        dp_recv(here[0], 10, MSG_DONTWAIT);
        dp_recv(here[1], 10, MSG_DONTWAIT);
        dp_close(here[0]);
        dp_close(here[1]);
    }
    dp_sync("end");
    receive(fd, 4, 100, MSG_DONTWAIT, NULL);
    dp_close(fd);
}

/// Batches of every size from one to thirty-two, all numbers in order.
static void flood(int flags) {
    dp_place peer;
    int fd = dp_udp_open(flags, &peer);
    batch *b = empty_batch(ROOM, false);
    uint32_t next = 0;
    for (unsigned round = 0; round < 96; round++) {
        unsigned count = 1 + round % MOST;
        for (unsigned i = 0; i < count; i++) {
            size_t size = 8 + (next + i) * 37 % 1400;
            if (!dp_server) dp_number(b->data[i], size, 1, next + i);
            b->parts[i].iov_len = dp_server ? ROOM : size;
            b->messages[i].msg_hdr.msg_name = dp_server ? NULL : &peer.address;
            b->messages[i].msg_hdr.msg_namelen = dp_server ? 0 : peer.length;
        }
        for (unsigned done = 0; done < count;) {
            if (dp_server && flags & DP_NONBLOCK) dp_settle_for(fd, POLLIN);
            int n = dp_server ? recvmmsg(fd, b->messages + done, count - done, 0, NULL) : sendmmsg(fd, b->messages + done, count - done, 0);
            if (n <= 0) dp_fail("round %u: %s", round, dp_errno_name(errno));
            done += n;
        }
        for (unsigned i = 0; dp_server && i < count; i++)
            if (b->messages[i].msg_len != 8 + (next + i) * 37 % 1400 || !dp_is_number(b->data[i], b->messages[i].msg_len, 1, next + i))
                dp_fail("datagram %u is wrong", next + i);
        next += count;
        dp_sync("round");
    }
    dp_log("%u in order", next);
    free(b);
    dp_close(fd);
}
DP_DATAGRAM(datagram_batches, flood) { flood(0); }
DP_DATAGRAM(datagram_batches, flood_nonblocking) { flood(DP_NONBLOCK); }

/// A signal ends the wait of recvmmsg; what had come before is its result.
static void nothing(int number) { (void)number; }

DP_DATAGRAM(datagram_batches, interrupted) {
    int fd = dp_udp_pair(0);
    if (dp_server) {
        struct sigaction action = {.sa_handler = nothing};
        sigaction(SIGUSR1, &action, NULL);
        dp_tell("blocks");
        receive(fd, 3, 100, 0, NULL);
        dp_socket_error(fd);
        dp_tell("blocks again");
        receive(fd, 3, 100, 0, NULL);  // Linux leaves a number of its own as the socket's error: no call after this
    } else {
        dp_until_peer_blocked("blocks");
        DP_MUST(kill(dp_peer_pid, SIGUSR1));
        dp_until_peer_blocked("blocks again");
        dp_say(fd, "one");
        dp_until_asleep(dp_peer_pid);
        DP_MUST(kill(dp_peer_pid, SIGUSR1));
    }
    dp_sync("end");
    dp_close(fd);
}
