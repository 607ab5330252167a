// Sockets for datagrams, warming flows up, datagrams that show whether they came whole.
#include "datagrams.h"

enum { WARM_ROUNDS = 64, NAMES = 64, BUFFER = 66000 };

static struct { uint16_t port; char name[32]; } names[NAMES];
static int name_count;

dp_place dp_place_at(const char *address, uint16_t port) {
    dp_place place = {0};
    place.length = dp_address(address, port, &place.address);
    return place;
}

dp_place dp_place_of(int fd) {
    dp_place place = {.length = sizeof place.address};
    DP_MUST(getsockname(fd, dp_sockaddr(&place), &place.length));
    return place;
}

struct sockaddr *dp_sockaddr(dp_place *place) { return (struct sockaddr *)&place->address; }

uint16_t dp_place_port(const dp_place *place) { return ntohs(((const struct sockaddr_in *)&place->address)->sin_port); }

void dp_name(uint16_t port, const char *name) {
    int at = 0;
    while (at < name_count && names[at].port != port) at++;
    if (at == NAMES) dp_fail("too many names");
    names[at].port = port;
    snprintf(names[at].name, sizeof names[at].name, "%s", name);
    if (at == name_count) name_count++;
}

const char *dp_who(const struct sockaddr_storage *address, socklen_t length) {
    static __thread char text[160];
    char host[INET6_ADDRSTRLEN] = "?";
    const struct sockaddr_in *v4 = (const void *)address;
    const struct sockaddr_in6 *v6 = (const void *)address;
    if (length == 0) return "no address";
    if (address->ss_family == AF_INET && length == sizeof *v4) inet_ntop(AF_INET, &v4->sin_addr, host, sizeof host);
    else if (address->ss_family == AF_INET6 && length == sizeof *v6) inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof host);
    else snprintf(host, sizeof host, "family %d, %u bytes", address->ss_family, length);
    const char *name = v4->sin_port ? "somebody" : "nobody";
    for (int i = 0; i < name_count; i++)
        if (names[i].port == ntohs(v4->sin_port)) name = names[i].name;
    snprintf(text, sizeof text, "%s at %s", name, host);
    return text;
}

// ───────────────────────────── sockets ─────────────────────────────

int dp_udp_loose(int family) { return (int)DP_MUST(socket(family, SOCK_DGRAM, 0)); }

int dp_udp_bind(const char *address, uint16_t port) {
    dp_place place = dp_place_at(address, port);
    int fd = dp_udp_loose(place.address.ss_family);
    DP_MUST(bind(fd, dp_sockaddr(&place), place.length));
    return fd;
}

int dp_udp(const char *address, int flags) {
    int fd = dp_udp_bind(address, 0);
    if (flags & DP_NONBLOCK) dp_nonblocking(fd, true);
    return fd;
}

int dp_udp_fixed(const char *address) {
    enum { FIRST = 20000, COUNT = 12000 };  // below what net.ipv4.ip_local_port_range gives away
    static unsigned turn;
    for (int look = 0; look < 200; look++) {
        dp_place place = dp_place_at(address, (uint16_t)(FIRST + (getpid() * 31u + turn++ * 7u) % COUNT));
        int fd = dp_udp_loose(place.address.ss_family);
        if (bind(fd, dp_sockaddr(&place), place.length) == 0) return fd;
        DP_MUST(close(fd));
    }
    dp_fail("no free port");
}

uint16_t dp_udp_free_port(const char *address) {
    int fd = dp_udp_fixed(address);
    uint16_t port = dp_port_of(fd);
    DP_MUST(close(fd));
    return port;
}

void dp_udp_connect(int fd, const dp_place *to) { DP_MUST(connect(fd, (const struct sockaddr *)&to->address, to->length)); }

dp_place dp_udp_swap(int fd, const char *as) {
    dp_place own = dp_place_of(fd), other = {0};
    if (as) own = dp_place_at(as, dp_place_port(&own));
    dp_tell_data(&own, sizeof own);
    if (dp_hear_data(&other, sizeof other) != sizeof other) dp_fail("waits for a place");
    dp_name(dp_place_port(&own), "myself");
    dp_name(dp_place_port(&other), "peer");
    return other;
}

int dp_udp_open(int flags, dp_place *peer) {
    int fd = dp_udp(flags & DP_V6 ? "::1" : "127.0.0.1", flags);
    *peer = dp_udp_swap(fd, NULL);
    if (!(flags & DP_COLD)) dp_udp_warm(fd, peer);
    return fd;
}

int dp_udp_pair(int flags) {
    dp_place peer;
    int fd = dp_udp_open(flags | DP_COLD, &peer);
    dp_udp_connect(fd, &peer);
    dp_sync("connected");
    if (!(flags & DP_COLD)) dp_udp_warm(fd, NULL);
    return fd;
}

void dp_udp_pair_solo(int fds[2], int flags) {
    dp_place places[2];
    for (int i = 0; i < 2; i++) {
        fds[i] = dp_udp(flags & DP_V6 ? "::1" : "127.0.0.1", flags);
        places[i] = dp_place_of(fds[i]);
        dp_name(dp_place_port(&places[i]), i ? "second" : "first");
    }
    for (int i = 0; i < 2; i++) dp_udp_connect(fds[i], &places[!i]);
    if (!(flags & DP_COLD)) dp_udp_warm_solo(fds[0], fds[1]);
}

// ───────────────────────────── warming up ─────────────────────────────

static uint32_t warm_rounds(void) {
    const char *rounds = getenv("DIFF_WARM");
    return rounds ? (uint32_t)atoi(rounds) : WARM_ROUNDS;
}

enum { WARM = 0x7761726d, WARM_BYTES = 24 };

void dp_udp_warm_alone(int fd, const dp_place *peer, bool answers) {
    for (uint32_t round = 0; round < warm_rounds(); round++) {
        if (!answers) dp_send_number(fd, peer, WARM_BYTES, WARM, round);
        dp_recv_number(fd, WARM_BYTES, WARM, round);
        if (answers) dp_send_number(fd, peer, WARM_BYTES, WARM, round);
    }
}

/// On a busy machine two ends need longer to meet. Both say whether one has no lane yet, up to some times.
static bool needs_more(int fd, int *times) {
    uint8_t own = dp_has_no_lane_yet(fd), other = 0;
    dp_tell_data(&own, 1);
    dp_hear_data(&other, 1);
    return (own || other) && ++*times < 30;
}

void dp_udp_warm_as(int fd, const dp_place *peer, bool answers) {
    int times = 0;
    do dp_udp_warm_alone(fd, peer, answers);
    while (needs_more(fd, &times));
}

void dp_udp_warm(int fd, const dp_place *peer) {
    dp_udp_warm_as(fd, peer, dp_server);
    dp_sync("warm");
}

void dp_udp_warm_one_way(int fd, const dp_place *peer) {
    int times = 0;
    do
        for (uint32_t round = 0; round < warm_rounds(); round++) {
            if (dp_server) dp_recv_number(fd, WARM_BYTES, WARM, round);
            else dp_send_number(fd, peer, WARM_BYTES, WARM, round);
            if (round % 8 == 7) dp_sync("eight more"); // never more than these wait
        }
    while (needs_more(fd, &times));
    dp_sync("warm");
}

void dp_udp_warm_solo(int a, int b) {
    int times = 0;
    do
        for (uint32_t round = 0; round < warm_rounds(); round++) {
            dp_send_number(a, NULL, WARM_BYTES, WARM, round);
            dp_recv_number(b, WARM_BYTES, WARM, round);
            dp_send_number(b, NULL, WARM_BYTES, WARM, round);
            dp_recv_number(a, WARM_BYTES, WARM, round);
        }
    while (dp_has_no_lane_yet(a) && ++times < 30);
}

// ───────────────────────────── numbered datagrams ─────────────────────────────

void dp_number(void *data, size_t length, uint32_t stream, uint32_t number) {
    uint32_t head[2] = {number, stream};
    dp_fill(data, length, stream * 31 + number, 0);
    if (length >= sizeof head) memcpy(data, head, sizeof head);
}

bool dp_is_number(const void *data, size_t length, uint32_t stream, uint32_t number) {
    static __thread uint8_t expected[BUFFER];
    if (length > sizeof expected) return false;
    dp_number(expected, length, stream, number);
    return memcmp(data, expected, length) == 0;
}

bool dp_which_number(const void *data, size_t length, uint32_t *stream, uint32_t *number) {
    uint32_t head[2] = {0, 0};
    if (length < sizeof head) return false;
    memcpy(head, data, sizeof head);
    *number = head[0];
    *stream = head[1];
    return dp_is_number(data, length, *stream, *number);
}

void dp_send_number(int fd, const dp_place *peer, size_t length, uint32_t stream, uint32_t number) {
    static __thread uint8_t data[BUFFER];
    if (length > sizeof data) dp_fail("a datagram of %zu bytes", length);
    dp_number(data, length, stream, number);
    for (;;) {
        ssize_t sent = peer ? sendto(fd, data, length, MSG_NOSIGNAL, (const struct sockaddr *)&peer->address, peer->length)
                            : send(fd, data, length, MSG_NOSIGNAL);
        if (sent == (ssize_t)length) return;
        if (sent >= 0) dp_fail("%zd of %zu bytes sent", sent, length);
        if (errno == EAGAIN) dp_settle_for(fd, POLLOUT);
        else if (errno != EINTR) dp_fail("datagram %u: send: %s", number, dp_errno_name(errno));
    }
}

void dp_send_number_by_kernel(int fd, size_t length, uint32_t stream, uint32_t number) {
    char data[2000];
    if (length > sizeof data) dp_fail("a datagram of %zu bytes", length);
    dp_number(data, length, stream, number);
    ssize_t sent = send(fd, data, length, MSG_NOSIGNAL | MSG_DONTROUTE);
    if (sent != (ssize_t)length) dp_fail("datagram %u: %zd of %zu bytes sent", number, sent, length);
}

void dp_recv_number(int fd, size_t length, uint32_t stream, uint32_t number) {
    static __thread uint8_t data[BUFFER];
    ssize_t got;
    while ((got = recv(fd, data, sizeof data, 0)) < 0) {
        if (errno == EAGAIN) dp_settle_for(fd, POLLIN);
        else if (errno != EINTR) dp_fail("datagram %u: recv: %s", number, dp_errno_name(errno));
    }
    if (got != (ssize_t)length) dp_fail("datagram %u: %zd of %zu bytes", number, got, length);
    if (!dp_is_number(data, length, stream, number)) dp_fail("datagram %u: wrong bytes", number);
}
