#include "Link.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "Peer.h"
#include "Sockmap.h"

static bool is_datagram(void) { return options.transport >= TRANSPORT_UDP; }
static bool is_unix(void) { return options.transport == TRANSPORT_UNIX || options.transport == TRANSPORT_UNIX_DATAGRAM; }
static int make_socket(void) {
    int fd = socket(is_unix() ? AF_UNIX : AF_INET, is_datagram() ? SOCK_DGRAM : SOCK_STREAM, 0);
    if (fd < 0) fail("socket");
    return fd;
}

/// The unix socket's name is abstract and made from the server's process: it leaves no file.
static socklen_t unix_name(struct sockaddr_un *name) {
    memset(name, 0, sizeof *name);
    name->sun_family = AF_UNIX;
    int n = snprintf(name->sun_path + 1, sizeof name->sun_path - 1, "bench-peer-%d", (int)control->side[SERVER].pid);
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n);
}

int link_listen(int backlog) {
    int fd = make_socket();
    struct sockaddr_un name;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = is_unix() ? unix_name(&name) : sizeof address;
    if (bind(fd, is_unix() ? (struct sockaddr *)&name : (struct sockaddr *)&address, length) != 0) fail("bind");
    if (!is_datagram() && listen(fd, backlog) != 0) fail("listen");
    if (!is_unix()) {
        if (getsockname(fd, (struct sockaddr *)&address, &length) != 0) fail("getsockname");
        control->port = ntohs(address.sin_port);
    }
    reach(STEP_LISTENING);
    return fd;
}

int link_connect(void) {
    int fd = make_socket();
    struct sockaddr_un name;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(control->port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = is_unix() ? unix_name(&name) : sizeof address;
    // So that it has a name to which answers go.
    sa_family_t any = AF_UNIX;
    if (is_unix() && is_datagram() && bind(fd, (struct sockaddr *)&any, sizeof any) != 0) fail("bind");
    if (connect(fd, is_unix() ? (struct sockaddr *)&name : (struct sockaddr *)&address, length) != 0) fail("connect");
    return fd;
}

void link_prepare(int fd) {
    int on = 1;
    if (options.transport == TRANSPORT_TCP_NODELAY && setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0) fail("TCP_NODELAY");
    if (options.wait != WAIT_BLOCK) link_set_blocking(fd, 0);
}

void link_set_blocking(int fd, int blocking) {
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, blocking ? flags & ~O_NONBLOCK : flags | O_NONBLOCK) != 0) fail("fcntl");
}

static void open_ring(struct link *link) {
    struct ring *rings = control_rings();
    bool server = options.role == ROLE_SERVER;
    link->ring_in.ring = &rings[server ? 0 : 1];
    link->ring_out.ring = &rings[server ? 1 : 0];
    reach(STEP_LINKED);
    await(STEP_LINKED);
}

/// Pipes of the server, which the client opens by the server's /proc/PID/fd.
static void open_pipes(struct link *link) {
    static const int number[2] = {100, 101};
    char path[64];
    if (options.role == ROLE_SERVER) {
        int up[2], down[2];
        if (pipe(up) != 0 || pipe(down) != 0) fail("pipe");
        if (dup2(up[1], number[0]) < 0 || dup2(down[0], number[1]) < 0) fail("dup2");
        close(up[1]);
        close(down[0]);
        link->in = up[0];
        link->out = down[1];
        reach(STEP_LISTENING);
        await(STEP_LINKED);
        close(number[0]);
        close(number[1]);
        reach(STEP_LINKED);
        return;
    }
    await(STEP_LISTENING);
    int *ends[2] = {&link->out, &link->in};
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)control->side[SERVER].pid, number[i]);
        *ends[i] = open(path, i == 0 ? O_WRONLY : O_RDONLY);
        if (*ends[i] < 0) fail("opening %s", path);
    }
    reach(STEP_LINKED);
    await(STEP_LINKED);
}

static void open_socket(struct link *link) {
    if (options.role == ROLE_SERVER) {
        int listener = link_listen(16);
        link->in = accept(listener, NULL, NULL);
        if (link->in < 0) fail("accept");
        close(listener);
    } else {
        await(STEP_LISTENING);
        link->in = link_connect();
    }
    link->out = link->in;
    if (options.transport == TRANSPORT_SOCKMAP) sockmap_join(link->in);
}

void link_open(struct link *link) {
    memset(link, 0, sizeof *link);
    link->in = link->out = link->set = -1;
    if (options.transport == TRANSPORT_RING) {
        open_ring(link);
        return;
    }
    if (options.transport == TRANSPORT_PIPE) open_pipes(link);
    else open_socket(link);
    link_prepare(link->in);
    if (link->out != link->in) link_prepare(link->out);
    if (options.wait == WAIT_EPOLL) {
        struct epoll_event event = {.events = EPOLLIN};
        link->set = epoll_create1(EPOLL_CLOEXEC);
        if (link->set < 0 || epoll_ctl(link->set, EPOLL_CTL_ADD, link->in, &event) != 0) fail("epoll");
    }
}

static void await_space(int fd) {
    if (options.wait == WAIT_SPIN) return;
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    poll(&p, 1, -1);
}

void link_send(struct link *link, const void *bytes, size_t count) {
    if (link->ring_out.ring) {
        ring_write(&link->ring_out, bytes, count);
        return;
    }
    const char *from = bytes;
    bool plain = options.transport == TRANSPORT_PIPE;
    while (count > 0) {
        ssize_t n = plain ? write(link->out, from, count) : send(link->out, from, count, MSG_NOSIGNAL);
        if (n > 0) {
            from += n;
            count -= (size_t)n;
        } else if (errno == EAGAIN) await_space(link->out);
        else if (errno != EINTR) fail("send");
    }
}

static void await_bytes(struct link *link) {
    if (options.wait == WAIT_POLL) {
        struct pollfd p = {.fd = link->in, .events = POLLIN};
        poll(&p, 1, -1);
    } else if (options.wait == WAIT_EPOLL) {
        struct epoll_event event;
        epoll_wait(link->set, &event, 1, -1);
    }
}

size_t link_receive(struct link *link, void *bytes, size_t most) {
    if (link->ring_in.ring) return ring_read(&link->ring_in, bytes, most);
    bool plain = options.transport == TRANSPORT_PIPE;
    for (;;) {
        // An event loop asks first and receives when told: that is the cost that its program pays.
        if (options.wait >= WAIT_POLL) await_bytes(link);
        ssize_t n = plain ? read(link->in, bytes, most) : recv(link->in, bytes, most, 0);
        if (n >= 0) return (size_t)n;
        if (errno != EAGAIN && errno != EINTR) fail("recv");
    }
}

int link_receive_all(struct link *link, void *bytes, size_t count) {
    char *at = bytes;
    while (count > 0) {
        size_t n = link_receive(link, at, count);
        if (n == 0) return 0;
        at += n;
        count -= n;
    }
    return 1;
}

void link_end_sending(struct link *link) {
    if (link->ring_out.ring) ring_close(&link->ring_out);
    else if (options.transport == TRANSPORT_PIPE) {
        close(link->out);
        link->out = -1;
    } else if (shutdown(link->out, SHUT_WR) != 0) fail("shutdown");
}

void link_close(struct link *link) {
    if (link->set >= 0) close(link->set);
    if (link->in >= 0) close(link->in);
    if (link->out >= 0 && link->out != link->in) close(link->out);
}
