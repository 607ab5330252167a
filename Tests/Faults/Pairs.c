// Who may use a pair's memory, and who may meet at all: an impostor that holds connections to both ends of a pair and knows
// their nonces and the pair's token; a process that becomes another user; names of connections that fell silent.
// usage: pairs
#include "Faults.h"
#include "CStackLayout.h"
#include <dirent.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/un.h>

enum { MESSAGE = 64, SILENT = 64, OTHER = 65534 };

struct state {
    volatile int port, own_port;
    volatile bool has_lane, goes_on, is_over;
    volatile int regions[2];
    char problem[200];
};
static struct state *s;

// MARK: honest programs

/// Echoes on every connection until it is killed. By epoll: no call touches a connection that is silent.
static void serve(void) {
    int port, set = epoll_create1(EPOLL_CLOEXEC), listener = listen_here(&port);
    uint8_t bytes[MESSAGE];
    struct epoll_event e = {.events = EPOLLIN, .data.fd = listener};
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    epoll_ctl(set, EPOLL_CTL_ADD, listener, &e);
    s->port = port;
    while (epoll_wait(set, &e, 1, -1) == 1) {
        int fd = e.data.fd;
        if (fd == listener) {
            e.data.fd = accept_one(listener);
            e.events = EPOLLIN;
            epoll_ctl(set, EPOLL_CTL_ADD, e.data.fd, &e);
        } else if (!recv_all(fd, bytes, MESSAGE) || !send_all(fd, bytes, MESSAGE)) {
            close(fd);
        }
    }
    problem("the server's epoll_wait: %s", strerror(errno));
}

/// One message and its echo; true when the echo came by a ring. `plainly`: by calls that the library does not see.
static bool ask(int fd, int number, bool plainly) {
    uint8_t out[MESSAGE], in[MESSAGE];
    bool by_ring = false;
    for (int k = 0; k < MESSAGE; k++) out[k] = stream_byte((uint64_t)number, (uint64_t)k);
    if (plainly) {
        if (raw_call(SYS_sendto, fd, (long)out, MESSAGE, MSG_NOSIGNAL, 0) != MESSAGE) problem("plain send %d", number);
        if (raw_call(SYS_recvfrom, fd, (long)in, MESSAGE, MSG_WAITALL, 0) != MESSAGE) problem("plain recv %d", number);
    } else {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (!send_all(fd, out, MESSAGE)) problem("send %d: %s", number, strerror(errno));
        if (poll(&p, 1, LIMIT_MS) != 1) problem("echo %d did not come", number);
        by_ring = kernel_unread(fd) == 0;
        if (!recv_all(fd, in, MESSAGE)) problem("recv %d: %s", number, errno ? strerror(errno) : "end");
    }
    if (memcmp(in, out, MESSAGE)) problem("echo %d is wrong", number);
    return by_ring;
}

/// Talks until the echoes come by a ring; false when they never do.
static bool ask_for_lane(int fd) {
    int number = 0;
    for (int64_t end = now_ms() + LIMIT_MS; now_ms() < end;)
        if (ask(fd, number++, false)) return true;
    return false;
}

static pid_t start(void (*body)(void)) {
    pid_t pid = fork();
    if (pid < 0) die("fork");
    if (pid) return pid;
    alarm(60);
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    body();
    exit(0);
}

/// Memfds of that name in process `pid`; the last one, which is no inherited one, is opened; -1: none.
static int memory_of(pid_t pid, const char *name, int *count) {
    int found = -1;
    char wanted[60], target[100], path[40];
    snprintf(wanted, sizeof wanted, "/memfd:%s (deleted)", name);
    snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
    DIR *all = opendir(path);
    *count = 0;
    for (struct dirent *d; all && (d = readdir(all));) {
        ssize_t n = readlinkat(dirfd(all), d->d_name, target, sizeof target - 1);
        if (n < 0) continue;
        target[n] = 0;
        if (strcmp(target, wanted)) continue;
        if (found >= 0) close(found);
        found = openat(dirfd(all), d->d_name, O_RDONLY | O_CLOEXEC);
        ++*count;
    }
    if (all) closedir(all);
    return found;
}

// MARK: the impostor

/// The first client: talks to the server by a lane, then also to the impostor, who claims to be that server.
static void first_client(void) {
    while (!s->port || !s->own_port) breathe();
    int fd = connect_to(s->port);
    if (!ask_for_lane(fd)) problem("no lane to begin with");
    s->has_lane = true;
    int other = connect_to(s->own_port);
    for (int i = 0; i < 400; i++) ask(other, i, false);
    s->goes_on = true;
    while (!s->is_over) breathe();
    for (int i = 0; i < 100; i++) ask(fd, i, false);
}

static uint64_t nonce_of(pid_t pid) {
    int count, fd = memory_of(pid, "sluice", &count);
    struct sl_stack_header h;
    if (fd < 0 || pread(fd, &h, sizeof h, 0) != sizeof h || h.pid != (uint32_t)pid) problem("no stack of %d", (int)pid);
    close(fd);
    return h.nonce;
}

static socklen_t name_of(struct sockaddr_un *a, int tcp, int acceptor, int connector) {
    uint8_t name[48] = "slu1", ip[16] = {[10] = 0xff, [11] = 0xff, [12] = 127, [15] = 1};
    uint32_t ports = (uint32_t)acceptor << 16 | (uint32_t)connector;
    uint64_t cookie = 0;
    socklen_t n = sizeof cookie;
    getsockopt(tcp, SOL_SOCKET, 71 /* SO_NETNS_COOKIE */, &cookie, &n);
    memcpy(name + 4, &ports, 4);
    memcpy(name + 8, &cookie, 8);
    memcpy(name + 16, ip, 16);
    memcpy(name + 32, ip, 16);
    *a = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(a->sun_path + 1, name, sizeof name);
    return offsetof(struct sockaddr_un, sun_path) + 1 + sizeof name;
}

static void say(int channel, struct sl_message text, int pass) {
    struct iovec v = {&text, sizeof text};
    union {
        char room[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {0};
    struct msghdr h = {.msg_iov = &v, .msg_iovlen = 1};
    if (pass >= 0) {
        h.msg_control = &control;
        h.msg_controllen = sizeof control.room;
        struct cmsghdr *c = CMSG_FIRSTHDR(&h);
        *c = (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int))};
        memcpy(CMSG_DATA(c), &pass, sizeof pass);
    }
    sendmsg(channel, &h, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void greet(int channel, uint64_t nonce, int tcp) {
    int set = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event e = {0};
    raw_call(SYS_epoll_ctl, set, EPOLL_CTL_ADD, tcp, (long)&e, 0);
    say(channel, (struct sl_message){.magic = SL_MESSAGE_MAGIC, .kind = SL_MESSAGE_HELLO, .nonce = nonce, .ring_bytes = 1 << 20, .uid = geteuid()}, set);
    close(set);
}

/// The next message but HELLO and RING, false: none. *memory: a descriptor came with it.
static bool listen_to(int channel, struct sl_message *text, bool *memory, bool *ended) {
    struct iovec v = {text, sizeof *text};
    union {
        char room[CMSG_SPACE(8 * sizeof(int))];
        struct cmsghdr align;
    } control;
    struct msghdr h = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control.room};
    ssize_t n = recvmsg(channel, &h, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    *ended = n == 0 || (n < 0 && errno != EAGAIN);
    if (n != sizeof *text) return false;
    *memory = false;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&h); c; c = CMSG_NXTHDR(&h, c)) {
        int fd;
        memcpy(&fd, CMSG_DATA(c), sizeof fd);
        *memory = true;
        close(fd);
    }
    return text->kind != SL_MESSAGE_HELLO && text->kind != SL_MESSAGE_RING;
}

/// Answers the first client, whose connection `tcp` is, as the server would, and looks at what it is offered.
static void pretend_server(int listener, uint64_t nonce, const uint64_t *token) {
    struct sockaddr_in peer;
    socklen_t n = sizeof peer;
    int tcp = (int)raw_call(SYS_accept4, listener, (long)&peer, (long)&n, SOCK_CLOEXEC, 0), channel = -1;
    struct sockaddr_un a;
    n = name_of(&a, tcp, s->own_port, ntohs(peer.sin_port));
    int name = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (bind(name, (struct sockaddr *)&a, n) < 0 || listen(name, 8) < 0) problem("the impostor's name: %s", strerror(errno));
    bool was_offered = false;
    while (!s->goes_on) {
        uint8_t bytes[MESSAGE];
        struct sl_message text;
        bool memory, ended = false;
        if (raw_call(SYS_recvfrom, tcp, (long)bytes, MESSAGE, MSG_DONTWAIT | MSG_PEEK, 0) == MESSAGE) {
            raw_call(SYS_recvfrom, tcp, (long)bytes, MESSAGE, 0, 0);
            raw_call(SYS_sendto, tcp, (long)bytes, MESSAGE, MSG_NOSIGNAL, 0);
        }
        if (channel < 0 && (channel = accept4(name, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) greet(channel, nonce, tcp);
        if (channel < 0 || !listen_to(channel, &text, &memory, &ended)) continue;
        if (text.kind != SL_MESSAGE_REGION) continue;
        was_offered = true;
        if (text.token[0] == token[0] && text.token[1] == token[1]) problem("the impostor was told the token");
        if (text.index != 1 || !memory) problem("the impostor was offered a slot of the other's pair");
    }
    if (!was_offered) problem("the impostor was not believed to hold its own connection");
    close(name), close(channel), close(tcp);
}

/// Offers the server a slot of the first client's pair.
static void pretend_client(uint64_t nonce, const uint64_t *token, uint32_t slot) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)s->port)}, own;
    struct sockaddr_un a;
    socklen_t n = sizeof own;
    int tcp = (int)raw_call(SYS_socket, AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0, 0, 0), channel = -1, number = 0;
    if (raw_call(SYS_connect, tcp, (long)&to, sizeof to, 0, 0) < 0) problem("the impostor's connection");
    getsockname(tcp, (struct sockaddr *)&own, &n);
    n = name_of(&a, tcp, s->port, ntohs(own.sin_port));
    for (int64_t end = now_ms() + LIMIT_MS;;) {
        struct sl_message text;
        bool memory, ended = false;
        if (now_ms() > end) problem("the server did not answer the impostor");
        ask(tcp, number++, true);
        if (channel < 0) {
            channel = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
            if (connect(channel, (struct sockaddr *)&a, n) < 0) {
                close(channel), channel = -1;
                continue;
            }
            greet(channel, nonce, tcp);
            say(channel, (struct sl_message){.magic = SL_MESSAGE_MAGIC, .kind = SL_MESSAGE_REGION, .nonce = nonce, .token = {token[0], token[1]},
                                             .slot = slot, .ring_bytes = 1 << 20, .region_bytes = 1 << 27}, -1);
        }
        if (listen_to(channel, &text, &memory, &ended) && text.kind == SL_MESSAGE_READY) problem("the impostor was let into slot %u", slot);
        if (ended || text.kind == SL_MESSAGE_REFUSE) break;
    }
    for (int i = 0; i < 50; i++) ask(tcp, number++, true);
    close(channel), close(tcp);
}

static pid_t server, client;
static int impostors_listener;

static void impostor(void) {
    int count;
    while (!s->has_lane) breathe();
    struct sl_region region;
    int fd = memory_of(client, "sluice-pair", &count);
    if (fd < 0 || pread(fd, &region, offsetof(struct sl_region, waiters), 0) <= 0) problem("no region");
    close(fd);
    uint64_t of_server = nonce_of(server), of_client = nonce_of(client);
    pretend_server(impostors_listener, of_server, region.token);
    for (uint32_t slot = 0; slot < 2; slot++) pretend_client(of_client, region.token, slot);
    s->is_over = true;
}

static void play_impostor(void) {
    const char *name = "an impostor that knows nonces and token";
    int port;
    if (!is_preloaded()) return skip(name, "there are no pairs on the kernel");
    memset(s, 0, sizeof *s);
    impostors_listener = listen_here(&port);
    server = start(serve);
    client = start(first_client);
    s->own_port = port;
    pid_t third = start(impostor);
    int status[2] = {wait_for(third, 4 * LIMIT_MS), s->problem[0] ? 0 : wait_for(client, 2 * LIMIT_MS)};
    if (status[0] < 0) end_process(third);
    if (status[1] <= 0 && s->problem[0]) end_process(client);
    end_process(server);
    close(impostors_listener);
    if (s->problem[0] || status[0] || status[1]) not_ok("%s: %s (%#x, %#x)", name, s->problem, status[0], status[1]);
    else ok("%s: gets memory of its own only, and is refused", name);
}

// MARK: another user

static void changing_client(void) {
    while (!s->port) breathe();
    int count, first = connect_to(s->port), second;
    if (is_preloaded() && !ask_for_lane(first)) problem("no lane as root");
    close(memory_of(getpid(), "sluice-pair", &count));
    s->regions[0] = count;
    if (setresuid(OTHER, OTHER, OTHER) < 0) problem("setresuid: %s", strerror(errno));
    // Its own descriptors in /proc are readable again.
    prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
    second = connect_to(s->port);
    if (is_preloaded() && !ask_for_lane(second)) problem("no lane as the other user");
    int fd = memory_of(getpid(), "sluice-pair", &count);
    if (fd >= 0) close(fd);
    s->regions[1] = count;
    for (int i = 0; i < 100; i++) {
        if (!ask(first, i, false) && is_preloaded()) problem("the first lane has ended");
        ask(second, i, false);
    }
}

static void play_change(void) {
    const char *name = "a process that becomes another user";
    if (geteuid() != 0) return skip(name, "needs root");
    memset(s, 0, sizeof *s);
    server = start(serve);
    client = start(changing_client);
    int status = wait_for(client, 4 * LIMIT_MS);
    if (status < 0) end_process(client);
    end_process(server);
    if (s->problem[0] || status) not_ok("%s: %s (%#x)", name, s->problem, status);
    else if (is_preloaded() && (s->regions[0] != 1 || s->regions[1] != 2)) not_ok("%s: %d regions, then %d", name, s->regions[0], s->regions[1]);
    else ok("%s: a new region for its new connection", name);
}

// MARK: names

static void many_clients(void) {
    while (!s->port) breathe();
    for (int i = 0; i < SILENT; i++) {
        int fd = connect_to(s->port);
        ask(fd, 0, false);
        ask(fd, 1, false);
        // Unseen here, so that the server opens a name and nobody comes.
        ask(fd, 2, true);
    }
    if (is_preloaded() && open_names() != SILENT) problem("%d names are open, not %d", open_names(), SILENT);
    int late = connect_to(s->port);
    if (!ask_for_lane(late) && is_preloaded()) problem("no lane beside %d connections that fell silent, %d names", SILENT, open_names());
}

static void play_names(void) {
    const char *name = "connections that fell silent while they met";
    memset(s, 0, sizeof *s);
    server = start(serve);
    client = start(many_clients);
    int status = wait_for(client, 4 * LIMIT_MS);
    if (status < 0) end_process(client);
    end_process(server);
    if (s->problem[0] || status) not_ok("%s: %s (%#x)", name, s->problem, status);
    else ok("%s: a later one gets its lane", name);
}

int main(void) {
    s = shared_memory(sizeof *s);
    problem_text = s->problem;
    signal(SIGPIPE, SIG_IGN);
    if (!own_network()) {
        skip("pairs", "needs a network namespace of its own");
        return finish();
    }
    play_impostor();
    play_change();
    play_names();
    return finish();
}
