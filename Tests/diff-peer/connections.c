// Making connections, warming them up, waiting until the network has delivered.
#include "harness.h"
#include <linux/sockios.h>

socklen_t dp_address(const char *text, uint16_t port, struct sockaddr_storage *out) {
    memset(out, 0, sizeof *out);
    struct sockaddr_in *v4 = (void *)out;
    struct sockaddr_in6 *v6 = (void *)out;
    if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(port);
        return sizeof *v4;
    }
    if (inet_pton(AF_INET6, text, &v6->sin6_addr) != 1) dp_fail("address %s", text);
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
    return sizeof *v6;
}

int dp_socket_for(const char *address, int flags) {
    int type = SOCK_STREAM | (flags & DP_NONBLOCK ? SOCK_NONBLOCK : 0);
    int fd = (int)DP_MUST(socket(strchr(address, ':') ? AF_INET6 : AF_INET, type, 0));
    int on = 1, small = 8192;
    if (flags & DP_NODELAY) DP_MUST(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on));
    if (flags & DP_SMALL) {
        DP_MUST(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof small));
        DP_MUST(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small));
    }
    return fd;
}

uint16_t dp_port_of(int fd) {
    struct sockaddr_storage address;
    socklen_t length = sizeof address;
    DP_MUST(getsockname(fd, (struct sockaddr *)&address, &length));
    return ntohs(((struct sockaddr_in *)&address)->sin_port);  // the same place in both families
}

static int listen_quietly(const char *address, int flags) {
    int fd = dp_socket_for(address, flags);
    struct sockaddr_storage at;
    socklen_t length = dp_address(address, 0, &at);
    DP_MUST(bind(fd, (struct sockaddr *)&at, length));
    DP_MUST(listen(fd, 128));
    return fd;
}

int dp_listen(const char *address, int flags) {
    int fd = listen_quietly(address, flags);
    uint16_t port = dp_port_of(fd);
    dp_tell_data(&port, sizeof port);
    return fd;
}

int dp_accept(int listener, int flags) {
    if (flags & DP_NONBLOCK) dp_settle_for(listener, POLLIN);
    int fd = (int)DP_MUST(accept4(listener, NULL, NULL, flags & DP_NONBLOCK ? SOCK_NONBLOCK : 0));
    return fd;
}

static uint16_t told_port;

uint16_t dp_hear_port(void) {
    if (dp_hear_data(&told_port, sizeof told_port) != sizeof told_port) dp_fail("waits for a port");
    return told_port;
}

static void connect_quietly(int fd, const char *address, uint16_t port) {
    struct sockaddr_storage to;
    socklen_t length = dp_address(address, port, &to);
    if (connect(fd, (struct sockaddr *)&to, length) == 0) return;
    if (errno != EINPROGRESS) dp_fail("connect: %s", dp_errno_name(errno));
    dp_settle_for(fd, POLLOUT);
    int error = 0;
    length = sizeof error;
    DP_MUST(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length));
    if (error) dp_fail("connect: %s", dp_errno_name(error));
}

int dp_dial(const char *address, int flags) {
    if (told_port == 0) dp_hear_port();
    int fd = dp_socket_for(address, flags);
    connect_quietly(fd, address, told_port);
    return fd;
}

int dp_pair(int flags) {
    const char *address = flags & DP_V6 ? "::1" : "127.0.0.1";
    int fd;
    if (dp_server) {
        int listener = dp_listen(address, flags);
        fd = dp_accept(listener, flags);
        DP_MUST(close(listener));
    } else {
        dp_hear_port();
        fd = dp_dial(address, flags);
    }
    if (flags & DP_COLD) dp_sync("paired");
    else dp_warm(fd);
    return fd;
}

void dp_pair_solo(int fds[2], int flags) {
    const char *address = flags & DP_V6 ? "::1" : "127.0.0.1";
    int listener = listen_quietly(address, flags);
    fds[0] = dp_socket_for(address, flags);
    connect_quietly(fds[0], address, dp_port_of(listener));
    fds[1] = dp_accept(listener, flags);
    DP_MUST(close(listener));
    if (!(flags & DP_COLD)) dp_warm_solo(fds[0], fds[1]);
}

void dp_nonblocking(int fd, bool on) {
    int flags = (int)DP_MUST(fcntl(fd, F_GETFL));
    DP_MUST(fcntl(fd, F_SETFL, on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK));
}

static void warm_send(int fd, uint32_t round) {
    uint32_t message[4] = {round, ~round, 0x6d726177, round * 31};
    for (size_t done = 0; done < sizeof message;) {
        ssize_t sent = send(fd, (char *)message + done, sizeof message - done, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN && errno != EINTR) dp_fail("warm-up: send: %s", dp_errno_name(errno));
        if (sent < 0) dp_settle_for(fd, POLLOUT);
        else done += sent;
    }
}

static void warm_receive(int fd, uint32_t round) {
    uint32_t message[4];
    for (size_t done = 0; done < sizeof message;) {
        ssize_t got = recv(fd, (char *)message + done, sizeof message - done, 0);
        if (got == 0) dp_fail("warm-up: end of stream");
        if (got < 0 && errno != EAGAIN && errno != EINTR) dp_fail("warm-up: recv: %s", dp_errno_name(errno));
        if (got < 0) dp_settle_for(fd, POLLIN);
        else done += got;
    }
    if (message[0] != round || message[1] != ~round || message[3] != round * 31) dp_fail("warm-up: wrong bytes in round %u", round);
}

static uint32_t warm_rounds(void) {
    const char *rounds = getenv("DIFF_WARM");
    return rounds ? (uint32_t)atoi(rounds) : 40;
}

void dp_warm_alone(int fd) {
    for (uint32_t round = 0; round < warm_rounds(); round++) {
        if (!dp_server) warm_send(fd, round);
        warm_receive(fd, round);
        if (dp_server) warm_send(fd, round);
    }
}

void dp_warm(int fd) {
    dp_warm_alone(fd);
    dp_sync("warm");
}

void dp_warm_solo(int client, int server) {
    for (uint32_t round = 0; round < warm_rounds(); round++) {
        warm_send(client, round);
        warm_receive(server, round);
        warm_send(server, round);
        warm_receive(client, round);
    }
}

void dp_close(int fd) {
    dp_proof(fd);
    dp_result("close", (errno = 0, close(fd)));
}

void dp_settle(int fd, size_t bytes) {
    for (int look = 0; look < 15000; look++) {
        int available = 0;
        DP_MUST(ioctl(fd, FIONREAD, &available));
        if ((size_t)available >= bytes) return;
        poll(NULL, 0, 1);
    }
    dp_fail("%zu bytes never arrived", bytes);
}

void dp_settle_for(int fd, short events) {
    for (int look = 0; look < 2000; look++) {
        struct pollfd p = {fd, events, 0};
        int ready = poll(&p, 1, 10);
        if (ready < 0 && errno != EINTR) dp_fail("poll: %s", dp_errno_name(errno));
        if (ready == 1 && p.revents & (events | POLLERR)) return;
        if (ready == 1) poll(NULL, 0, 1);  // POLLHUP alone comes before some of them
    }
    dp_fail("%s never came", dp_poll_names(events));
}

void dp_settle_out(int fd) {
    for (int look = 0; look < 15000; look++) {
        int queued = 0;
        DP_MUST(ioctl(fd, SIOCOUTQ, &queued));
        if (queued == 0) return;
        poll(NULL, 0, 1);
    }
    dp_fail("bytes were never acknowledged");
}
