// One socket with many others: senders are told apart, and each one's datagrams stay in order.
#include "datagrams.h"

enum { MANY = 12, ROUNDS = 40 };

/// The server's socket and MANY of the client's; `places` are those of the other side, `count` of them.
static int gather(int *fds, dp_place *places, bool connected) {
    char name[32];
    if (dp_server) {
        fds[0] = dp_udp("127.0.0.1", 0);
        for (int i = 0; i < MANY; i++) {
            places[i] = dp_udp_swap(fds[0], NULL);
            snprintf(name, sizeof name, "client %d", i);
            dp_name(dp_place_port(&places[i]), name);
        }
        return 1;
    }
    for (int i = 0; i < MANY; i++) {
        fds[i] = dp_udp("127.0.0.1", 0);
        places[i] = dp_udp_swap(fds[i], NULL);
        if (connected) dp_udp_connect(fds[i], &places[i]);
    }
    return MANY;
}

static void close_all(int *fds, int count) {
    dp_sync("end");
    for (int i = 0; i < count; i++) dp_close(fds[i]);
}

/// Which of the places is it?
static int which(const dp_place *places, const struct sockaddr_storage *from) {
    for (int i = 0; i < MANY; i++)
        if (dp_place_port(&places[i]) == ntohs(((const struct sockaddr_in *)from)->sin_port)) return i;
    return -1;
}

static void one_with_many(bool connected) {
    int fds[MANY];
    dp_place places[MANY];
    int count = gather(fds, places, connected);
    for (int i = 0; i < MANY; i++) dp_udp_warm(dp_server ? fds[0] : fds[i], dp_server ? &places[i] : connected ? NULL : &places[i]);
    for (uint32_t round = 0; round < ROUNDS * MANY; round++) {
        uint32_t i = (round * 7 + round / MANY) % MANY;
        uint8_t data[600];
        if (dp_server) {
            dp_place from = {.length = sizeof from.address};
            ssize_t got = recvfrom(fds[0], data, sizeof data, 0, dp_sockaddr(&from), &from.length);
            if (got < 0 || !dp_is_number(data, got, i, round)) dp_fail("round %u: wrong datagram", round);
            if (which(places, &from.address) != (int)i) dp_fail("round %u: from %s", round, dp_who(&from.address, from.length));
            dp_send_number(fds[0], &from, 20 + round, i, round);
        } else {
            dp_send_number(fds[i], connected ? NULL : &places[i], 8 + round, i, round);
            dp_recv_number(fds[i], 20 + round, i, round);
        }
    }
    dp_log("%d rounds", ROUNDS * MANY);
    close_all(fds, count);
}
DP_DATAGRAM(datagram_many, connected_clients) { one_with_many(true); }
DP_DATAGRAM(datagram_many, unconnected_clients) { one_with_many(false); }

/// All have sent before the server looks: flow by flow everything is there, in order, from the right address.
DP_DATAGRAM(datagram_many, all_at_once) {
    enum { EACH = 10 };
    int fds[MANY];
    dp_place places[MANY];
    int count = gather(fds, places, false);
    for (int i = 0; i < MANY; i++) dp_udp_warm(dp_server ? fds[0] : fds[i], &places[i]);
    for (uint32_t number = 0; !dp_server && number < EACH; number++)
        for (int i = 0; i < MANY; i++) dp_send_number(fds[i], &places[i], 20 + i, i, number);
    dp_sync("all sent");
    if (dp_server) {
        uint32_t next[MANY] = {0};
        for (int got = 0; got < EACH * MANY; got++) {
            uint8_t data[100];
            dp_place from = {.length = sizeof from.address};
            ssize_t length = recvfrom(fds[0], data, sizeof data, 0, dp_sockaddr(&from), &from.length);
            int i = which(places, &from.address);
            if (i < 0 || length != 20 + i || !dp_is_number(data, length, i, next[i]++)) dp_fail("wrong datagram from %d", i);
        }
        dp_recv(fds[0], 10, MSG_DONTWAIT);
        dp_log("%d of each of %d", EACH, MANY);
    }
    close_all(fds, count);
}

/// Only the server speaks: the clients do nothing but receive.
DP_DATAGRAM(datagram_many, one_tells_all) {
    int fds[MANY];
    dp_place places[MANY];
    int count = gather(fds, places, false);
    for (uint32_t round = 0; round < 150; round++) {
        for (int i = 0; i < MANY; i++) {
            if (dp_server) dp_send_number(fds[0], &places[i], 8 + round * 3, i, round);
            else dp_recv_number(fds[i], 8 + round * 3, i, round);
        }
        if (round % 10 == 9) dp_sync("ten more");
    }
    dp_log("150 to each");
    close_all(fds, count);
}

/// One sender, two receivers in turn; each answers in its own flow.
DP_DATAGRAM(datagram_many, two_destinations_in_turn) {
    if (dp_server) {
        int fds[2] = {dp_udp("127.0.0.1", 0), dp_udp("127.0.0.1", 0)};
        dp_place peer = dp_udp_swap(fds[0], NULL);
        dp_udp_swap(fds[1], NULL);
        for (uint32_t i = 0; i < 600; i++) {
            dp_recv_number(fds[i % 2], 16 + i, i % 2, i);
            if (i % 2) dp_send_number(fds[0], &peer, 16, 0, i);
            if (i % 2) dp_send_number(fds[1], &peer, 16, 1, i);
        }
        dp_sync("end");
        dp_close(fds[0]);
        dp_close(fds[1]);
    } else {
        int fd = dp_udp("127.0.0.1", 0);
        dp_place peers[2] = {dp_udp_swap(fd, NULL), dp_udp_swap(fd, NULL)};
        for (uint32_t i = 0; i < 600; i++) {
            dp_send_number(fd, &peers[i % 2], 16 + i, i % 2, i);
            for (int answer = 0; i % 2 && answer < 2; answer++) {
                uint8_t data[16];
                dp_place from = {.length = sizeof from.address};
                if (recvfrom(fd, data, sizeof data, 0, dp_sockaddr(&from), &from.length) != 16) dp_fail("short");
                uint32_t stream = dp_place_port(&from) == dp_place_port(&peers[1]);
                if (!dp_is_number(data, 16, stream, i)) dp_fail("wrong answer %u of %u", i, stream);
            }
        }
        dp_sync("end");
        dp_close(fd);
    }
    dp_log("600 in turn");
}

/// A reader that stays behind, two senders that get ahead in turn: order of each is kept.
DP_DATAGRAM(datagram_many, two_senders_get_ahead) {
    enum { AHEAD = 20, TOTAL = 800 };
    int fds[MANY];
    dp_place places[MANY];
    int count = gather(fds, places, false);
    uint32_t next[2] = {0, 0};
    for (uint32_t block = 0; block < TOTAL / AHEAD; block++) {
        for (uint32_t i = 0; !dp_server && i < AHEAD; i++) {
            uint32_t sender = (block + i) % 2, number = (block * AHEAD + i) / 2;
            dp_send_number(fds[sender], &places[sender], 8 + number % 900, sender, number);
        }
        dp_sync("block");
        for (uint32_t i = 0; dp_server && i < AHEAD; i++) {
            uint8_t data[1000];
            uint32_t stream = 9, number = 0;
            ssize_t got = recv(fds[0], data, sizeof data, 0);
            if (got < 0 || !dp_which_number(data, got, &stream, &number) || stream > 1) dp_fail("damaged");
            if (number != next[stream]++) dp_fail("sender %u: %u came instead of %u", stream, number, next[stream] - 1);
        }
        dp_sync("read");
    }
    dp_log("%d in order", TOTAL);
    close_all(fds, count);
}

/// The reader never finds its queue empty while the sender sends: it gets a ring all the same, and the order stays.
DP_DATAGRAM(datagram_many, a_queue_that_is_never_empty) {
    enum { AHEAD = 8, TOTAL = 1000 };
    int fd = dp_udp_pair(DP_COLD);
    for (uint32_t i = 0; i < TOTAL + AHEAD; i++) {
        if (!dp_server && i < TOTAL) dp_send_number(fd, NULL, 100, 1, i);
        dp_sync("sent");
        if (dp_server && i >= AHEAD) dp_recv_number(fd, 100, 1, i - AHEAD);
    }
    dp_log("%d in order", TOTAL);
    dp_close(fd);
}

/// New clients come and go at one server: a flow of few datagrams each.
DP_DATAGRAM(datagram_many, short_lives, .kernel = "one question of each client: a ring has no reason to open") {
    int fd = dp_server ? dp_udp("127.0.0.1", 0) : -1;
    dp_place server = {0};
    if (dp_server) {
        uint16_t port = dp_port_of(fd);
        dp_tell_data(&port, sizeof port);
    } else {
        server = dp_place_at("127.0.0.1", dp_hear_port());
    }
    for (uint32_t i = 0; i < 200; i++) {
        uint8_t data[100];
        if (dp_server) {
            dp_place from = {.length = sizeof from.address};
            if (recvfrom(fd, data, sizeof data, 0, dp_sockaddr(&from), &from.length) != 50 || !dp_is_number(data, 50, 1, i)) dp_fail("question %u", i);
            dp_send_number(fd, &from, 70, 2, i);
        } else {
            int own = dp_udp_loose(AF_INET);
            dp_send_number(own, &server, 50, 1, i);
            dp_recv_number(own, 70, 2, i);
            DP_MUST(close(own));
        }
    }
    dp_log("200 clients");
    dp_sync("end");
    if (dp_server) dp_close(fd);
}

/// As many rounds as make a flow, of one client.
static void exchange(int fd, const dp_place *server, uint32_t rounds, uint32_t stream) {
    for (uint32_t i = 0; i < rounds; i++) {
        uint8_t data[100];
        if (dp_server) {
            dp_place from = {.length = sizeof from.address};
            if (recvfrom(fd, data, sizeof data, 0, dp_sockaddr(&from), &from.length) != 60 || !dp_is_number(data, 60, stream, i)) dp_fail("client %u: question %u", stream, i);
            dp_send_number(fd, &from, 80, stream, i);
        } else {
            dp_send_number(fd, server, 60, stream, i);
            dp_recv_number(fd, 80, stream, i);
        }
    }
}

/// More clients one after the other than a socket has room for, each long enough to have a lane: the last one has one too.
DP_DATAGRAM(datagram_many, successors) {
    enum { CLIENTS = 70 };
    int fd = dp_udp("127.0.0.1", 0);
    dp_place peer = dp_udp_swap(fd, NULL);
    // A new socket of a program under Sluice has none.
    uint8_t is_here = dp_has_no_lane_yet(fd), is_there = 0;
    dp_tell_data(&is_here, 1);
    dp_hear_data(&is_there, 1);
    for (uint32_t i = 0; i < CLIENTS; i++) {
        int own = dp_server ? fd : dp_udp_loose(AF_INET);
        exchange(own, &peer, 24, i);
        if (!dp_server) DP_MUST(close(own));
    }
    // Two looks at flows that are idle, with some time between.
    for (uint32_t i = 0; i < 3; i++) {
        exchange(fd, &peer, 1, CLIENTS + i);
        usleep(150000);
    }
    dp_udp_warm(fd, &peer);
    if (!dp_server && is_here && is_there && dp_has_no_lane_yet(fd)) dp_fail("no lane");
    exchange(fd, &peer, 100, 1000);
    dp_log("%d clients", CLIENTS);
    close_all(&fd, 1);
}
