// Long flows, flows that begin oddly, and flows that are faster than their receiver.
#include "datagrams.h"

/// The same numbers in both roles: a size mostly small, at times large.
static size_t size_of(uint32_t number) {
    uint32_t x = number * 2654435761u + 12345;
    x ^= x >> 15;
    x *= 2246822519u;
    x ^= x >> 13;
    if (x % 100 == 0) return x / 100 % (DP_LARGEST + 1);
    if (x % 10 == 0) return x / 10 % 9001;
    return x / 100 % 1500;
}

DP_DATAGRAM(datagram_flows, ping_pong) {
    enum { ROUNDS = 20000 };
    int fd = dp_udp_pair(DP_COLD);
    for (uint32_t i = 0; i < ROUNDS; i++) {
        if (!dp_server) dp_send_number(fd, NULL, size_of(i), 1, i);
        dp_recv_number(fd, size_of(i), dp_server ? 1 : 2, i);
        if (dp_server) dp_send_number(fd, NULL, size_of(i), 2, i);
    }
    dp_log("%d rounds", ROUNDS);
    dp_sync("end");
    dp_close(fd);
}

DP_DATAGRAM(datagram_flows, ping_pong_unconnected_v6) {
    dp_place peer;
    int fd = dp_udp_open(DP_COLD | DP_V6, &peer);
    for (uint32_t i = 0; i < 3000; i++) {
        if (!dp_server) dp_send_number(fd, &peer, size_of(i), 1, i);
        dp_recv_number(fd, size_of(i), dp_server ? 1 : 2, i);
        if (dp_server) dp_send_number(fd, &peer, size_of(i), 2, i);
    }
    dp_log("3000 rounds");
    dp_sync("end");
    dp_close(fd);
}

/// Acknowledged by the receiver, AHEAD under way at most: nothing is lost, everything is in order.
static void stream(uint32_t total, uint32_t ahead, size_t largest, int flags) {
    dp_place peer;
    int fd = dp_udp_open(DP_COLD | flags, &peer);
    uint32_t done = 0;
    if (dp_server) {
        for (; done < total; done++) {
            dp_recv_number(fd, 8 + size_of(done) % largest, 1, done);
            if (done % ahead == ahead - 1) dp_send_number(fd, &peer, 8, 2, done / ahead);
        }
    } else {
        for (; done < total; done++) {
            if (done >= 2 * ahead && done % ahead == 0) dp_recv_number(fd, 8, 2, done / ahead - 2);
            dp_send_number(fd, &peer, 8 + size_of(done) % largest, 1, done);
        }
        for (uint32_t i = total / ahead - 2; i < total / ahead; i++) dp_recv_number(fd, 8, 2, i);
    }
    dp_log("%u in order", done);
    dp_sync("end");
    dp_close(fd);
}
DP_DATAGRAM(datagram_flows, stream_of_small_ones) { stream(20000, 50, 56, 0); }
DP_DATAGRAM(datagram_flows, stream_of_mixed_sizes) { stream(6000, 20, 1500, 0); }
DP_DATAGRAM(datagram_flows, stream_nonblocking) { stream(4000, 40, 500, DP_NONBLOCK); }

/// Both send and receive at once, with the window of each in the answers of the other.
DP_DATAGRAM(datagram_flows, both_directions_at_once) {
    enum { TOTAL = 4000, WINDOW = 30 };
    int fd = dp_udp_pair(DP_COLD | DP_NONBLOCK);
    uint32_t sent = 0, received = 0;
    while (sent < TOTAL || received < TOTAL) {
        bool may = sent < TOTAL && sent < received + WINDOW;
        struct pollfd p = {fd, POLLIN | (may ? POLLOUT : 0), 0};
        if (poll(&p, 1, -1) != 1) dp_fail("poll");
        if (p.revents & POLLIN) {
            dp_recv_number(fd, 8 + size_of(received) % 1400, !dp_server, received);
            received++;
        }
        if (p.revents & POLLOUT) {
            dp_send_number(fd, NULL, 8 + size_of(sent) % 1400, dp_server, sent);
            sent++;
        }
    }
    dp_log("%d each way", TOTAL);
    dp_sync("end");
    dp_close(fd);
}

/// The receiver makes its first call long after the sender's.
static void early(int flags, bool connected) {
    enum { EARLY = 60 };
    dp_place peer;
    int fd = dp_udp_open(DP_COLD | flags, &peer);
    if (connected) dp_udp_connect(fd, &peer);
    dp_sync("ready");
    for (uint32_t i = 0; !dp_server && i < EARLY; i++) dp_send_number(fd, connected ? NULL : &peer, 8 + i * 7, 1, i);
    dp_sync("sent");
    for (uint32_t i = 0; dp_server && i < EARLY; i++) dp_recv_number(fd, 8 + i * 7, 1, i);
    dp_recv(fd, 10, MSG_DONTWAIT);
    dp_sync("read");
    for (uint32_t i = 0; i < 100; i++) {
        if (!dp_server) dp_send_number(fd, connected ? NULL : &peer, 8 + i, 2, i);
        if (dp_server) dp_recv_number(fd, 8 + i, 2, i);
        if (i % 10 == 9) dp_sync("ten more");
    }
    dp_log("%d before the first call", EARLY);
    dp_close(fd);
}
DP_DATAGRAM(datagram_flows, early_sender) { early(0, true); }
DP_DATAGRAM(datagram_flows, early_sender_unconnected) { early(DP_V6, false); }

/// Some that only the kernel can carry, with others before and behind them.
DP_DATAGRAM(datagram_flows, by_both_ways) {
    int fd = dp_udp_pair(0);
    for (uint32_t round = 0; round < 20; round++) {
        for (uint32_t i = 0; !dp_server && i < 10; i++) {
            if (i % 4 == 2) dp_send_number_by_kernel(fd, 100, round, i);
            else dp_send_number(fd, NULL, 100, round, i);
        }
        dp_sync("sent");
        for (uint32_t i = 0; dp_server && i < 10; i++) dp_recv_number(fd, 100, round, i);
        if (dp_server) dp_recv(fd, 10, MSG_DONTWAIT);
        dp_sync("read");
    }
    dp_close(fd);
}

/// The receiver is bound only when the sender has sent in vain for a while.
DP_DATAGRAM(datagram_flows, sender_before_there_is_a_receiver) {
    uint16_t port = 0;
    int fd = -1;
    if (dp_server) {
        port = dp_udp_free_port("127.0.0.1");
        dp_tell_data(&port, sizeof port);
        dp_hear("sent in vain");
        fd = dp_udp_bind("127.0.0.1", port);
    } else {
        fd = dp_udp("127.0.0.1", 0);
        dp_place to = dp_place_at("127.0.0.1", dp_hear_port());
        for (uint32_t i = 0; i < 60; i++) dp_send_number(fd, &to, 100, 1, i);
        dp_tell("sent in vain");
    }
    dp_place peer = dp_udp_swap(fd, NULL);
    dp_udp_warm(fd, &peer);
    if (dp_server) dp_recv_from(fd, 100, 0);
    else dp_say_to(fd, "now it hears", &peer);
    dp_sync("end");
    dp_recv(fd, 10, MSG_DONTWAIT);
    dp_close(fd);
}

/// News in one direction only: the sender never receives. `wait` comes before each recv of the receiver.
static void news(void (*wait)(int fd), int flags) {
    enum { NEWS = 3000, AHEAD = 25 };
    int fd = dp_udp_pair(DP_COLD | flags);
    for (uint32_t i = 0; i < NEWS; i++) {
        if (dp_server && wait) wait(fd);
        if (dp_server) dp_recv_number(fd, 16 + i % 300, 1, i);
        else dp_send_number(fd, NULL, 16 + i % 300, 1, i);
        if (i % AHEAD == AHEAD - 1) dp_sync("so far");
    }
    dp_log("%d one way", NEWS);
    dp_close(fd);
}

static void by_poll(int fd) {
    struct pollfd p = {fd, POLLIN, 0};
    if (poll(&p, 1, -1) != 1 || p.revents != POLLIN) dp_fail("poll: %x", p.revents);
}

static int set = -1;
static void by_epoll(int fd) {
    struct epoll_event event = {.events = EPOLLIN};
    if (set < 0) {
        set = (int)DP_MUST(epoll_create1(EPOLL_CLOEXEC));
        DP_MUST(epoll_ctl(set, EPOLL_CTL_ADD, fd, &event));
    }
    if (epoll_wait(set, &event, 1, -1) != 1 || event.events != EPOLLIN) dp_fail("epoll_wait: %x", event.events);
}

DP_DATAGRAM(datagram_flows, news_by_recv) { news(NULL, 0); }
DP_DATAGRAM(datagram_flows, news_by_poll) { news(by_poll, DP_NONBLOCK); }
DP_DATAGRAM(datagram_flows, news_by_epoll) { news(by_epoll, DP_NONBLOCK); }

// ───────────────────────────── more than the receiver takes ─────────────────────────────

/// Reads all that there is: the numbers rise, nothing is damaged. `last`: the highest number that may come.
static void drain(int fd, uint32_t from, uint32_t last) {
    uint32_t count = 0, next = from;
    static uint8_t data[70000];
    for (ssize_t got; (got = recv(fd, data, sizeof data, MSG_DONTWAIT)) >= 0; count++) {
        uint32_t stream = 0, number = 0;
        if (!dp_which_number(data, got, &stream, &number) || stream != 1) dp_fail("damaged");
        if (number < next || number > last) dp_fail("number %u after %u", number, next);
        next = number + 1;
    }
    dp_log("%s, in order, then %s", count ? "some" : "none", dp_errno_name(errno));
}

/// The sender is never told that the receiver's buffer is full.
static void overrun(int buffer, size_t size, uint32_t count) {
    int fd = dp_udp_pair(0);
    if (dp_server && buffer) dp_set(fd, SOL_SOCKET, SO_RCVBUF, buffer, "SO_RCVBUF");
    dp_sync("buffer");
    for (uint32_t round = 0; round < 3; round++) {
        for (uint32_t i = 0; !dp_server && i < count; i++) dp_send_number(fd, NULL, size, 1, round * count + i);
        dp_sync("sent");
        if (dp_server) dp_settle_for(fd, POLLIN);
        if (dp_server) drain(fd, round * count, (round + 1) * count - 1);
        dp_sync("drained");
        // Whatever was lost, new ones arrive.
        if (!dp_server) dp_send_number(fd, NULL, 24, 2, round);
        if (dp_server) dp_recv_number(fd, 24, 2, round);
        dp_sync("new one");
    }
    dp_udp_warm(fd, NULL);
    dp_close(fd);
}
DP_DATAGRAM(datagram_flows, overrun_of_a_small_buffer) { overrun(4096, 200, 500); }
DP_DATAGRAM(datagram_flows, overrun_of_the_smallest_buffer) { overrun(1, 60, 200); }
DP_DATAGRAM(datagram_flows, overrun_by_small_ones) { overrun(0, 20, 6000); }
DP_DATAGRAM(datagram_flows, overrun_by_the_largest) { overrun(0, DP_LARGEST, 100); }

/// After drops the receiver may be told of them.
DP_DATAGRAM(datagram_flows, overrun_is_told) {
    enum { MUCH = 8000 };  // more than any ring holds
    int fd = dp_udp_pair(0);
    if (dp_server) {
        dp_set(fd, SOL_SOCKET, SO_RCVBUF, 4096, "SO_RCVBUF");
        dp_set(fd, SOL_SOCKET, SO_RXQ_OVFL, 1, "SO_RXQ_OVFL");
    }
    dp_sync("asked for");
    for (uint32_t i = 0; !dp_server && i < MUCH; i++) dp_send_number(fd, NULL, 200, 1, i);
    dp_sync("sent");
    if (dp_server) dp_settle_for(fd, POLLIN);
    if (dp_server) drain(fd, 0, MUCH - 1);
    dp_sync("drained");
    if (!dp_server) dp_say(fd, "after the drops");
    if (dp_server) dp_recv_message(fd, 100, 0);
    dp_sync("end");
    dp_close(fd);
}
