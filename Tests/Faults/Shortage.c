// Shortage: RLIMIT_NOFILE reached while lanes are open and while they open; full buffers and slow readers. What a program
// may do on the kernel it may do here.
// usage: shortage
#include "Faults.h"
#include <sys/epoll.h>
#include <sys/resource.h>

struct state {
    volatile int port;
    volatile bool blocked;
    volatile long sent, by_ring;
    volatile int stage;
    char problem[200];
};
static struct state *s;

/// Asks and answers one message of 64 bytes; the answer is the question.
static void ask(int fd, uint64_t number) {
    uint8_t out[64], in[64];
    for (int i = 0; i < 64; i++) out[i] = stream_byte(3, number * 64 + (uint64_t)i);
    if (!send_all(fd, out, 64)) problem("send %llu: %s", (unsigned long long)number, strerror(errno));
    struct pollfd p = {.fd = fd, .events = POLLIN};
    if (poll(&p, 1, LIMIT_MS) != 1) problem("answer %llu did not come", (unsigned long long)number);
    if (kernel_unread(fd) == 0) s->by_ring++;
    if (!recv_all(fd, in, 64)) problem("answer %llu: %s", (unsigned long long)number, errno ? strerror(errno) : "end of stream");
    if (memcmp(in, out, 64)) problem("answer %llu is wrong", (unsigned long long)number);
}

/// Answers on all connections that come, until all have ended.
static void answer_all(int listener, int connections) {
    struct pollfd p[64];
    int n = 0, ended = 0;
    p[n++] = (struct pollfd){.fd = listener, .events = POLLIN};
    while (ended < connections) {
        if (poll(p, (nfds_t)n, LIMIT_MS * 4) <= 0) problem("the server hears nothing");
        if (p[0].revents) {
            p[n++] = (struct pollfd){.fd = accept_one(listener), .events = POLLIN};
            if (n == connections + 1) p[0].fd = -1;
        }
        for (int i = 1; i < n; i++) {
            uint8_t bytes[64];
            if (p[i].fd < 0 || !p[i].revents) continue;
            if (recv_all(p[i].fd, bytes, 64)) {
                if (!send_all(p[i].fd, bytes, 64)) problem("the server's send: %s", strerror(errno));
                continue;
            }
            close(p[i].fd);
            p[i].fd = -1;
            ended++;
        }
    }
}

static void limit_descriptors(rlim_t soft, rlim_t hard) {
    struct rlimit r = {soft, hard};
    if (setrlimit(RLIMIT_NOFILE, &r) < 0) problem("setrlimit: %s", strerror(errno));
}

/// Closes all but the first three, so that the program's descriptors can be counted.
static void only_standard(void) { close_range(3, ~0u, 0); }

enum { LIMIT = 40, CONNECTIONS = 4 };

/// The program holds `known` descriptors: it must get exactly the rest of its limit, by any call that makes one.
static void use_up(int known, bool hold, int *held, int *count) {
    *count = 0;
    int fd;
    for (;;) {
        switch (*count % 4) {
            case 0: fd = open("/dev/null", O_RDONLY); break;
            case 1: fd = dup(1); break;
            case 2: fd = socket(AF_INET, SOCK_STREAM, 0); break;
            default: fd = epoll_create1(0); break;
        }
        if (fd < 0) break;
        held[(*count)++] = fd;
    }
    if (errno != EMFILE) problem("descriptor %d: %s", known + *count, strerror(errno));
    if (known + *count != LIMIT) problem("the program got %d descriptors of its %d", known + *count, LIMIT);
    if (hold) return;
    while (*count > 0) close(held[--*count]);
}

/// A client with several connections; its table is full before, while or after the lanes open (`when` 0, 1, 2).
static void full_table(int when) {
    int held[LIMIT], count = 0, fds[CONNECTIONS], known = 3;
    only_standard();
    for (int i = 0; i < CONNECTIONS; i++) fds[i] = connect_to(s->port), known++;
    uint64_t number = 0;
    if (when == 0) use_up(known, true, held, &count);
    for (int round = 0; round < 60; round++) {
        if (when == 1 && round == 6) use_up(known, true, held, &count);
        if (when == 1 && round > 6 && round % 2 && count > 0) close(held[--count]);
        for (int i = 0; i < CONNECTIONS; i++) ask(fds[i], number++);
        if (when == 2 && round == 40) use_up(known, true, held, &count);
    }
    while (count > 0) close(held[--count]);
    // And again, with lanes or without, from the first to the last.
    use_up(known, false, held, &count);
    for (int i = 0; i < CONNECTIONS; i++) ask(fds[i], number++);
    // Room for two more connections after all.
    use_up(known, true, held, &count);
    close(held[--count]);
    int one = socket(AF_INET, SOCK_STREAM, 0);
    if (one < 0) problem("the last descriptor: %s", strerror(errno));
    exit(0);
}

static void run_full_table(int when, bool hard) {
    static const char *const names[] = {"before the lanes open", "while they open", "after"};
    memset(s, 0, sizeof *s);
    pid_t server = fork();
    if (server == 0) {
        int port, listener = listen_here(&port);
        s->port = port;
        answer_all(listener, CONNECTIONS);
        exit(0);
    }
    pid_t client = fork();
    if (client == 0) {
        while (!s->port) breathe();
        limit_descriptors(LIMIT, hard ? LIMIT : 4096);
        full_table(when);
    }
    int a = wait_for(client, 4 * LIMIT_MS), b = wait_for(server, LIMIT_MS);
    if (a < 0) end_process(client);
    if (b < 0) end_process(server);
    char name[100];
    snprintf(name, sizeof name, "a table full %s%s", names[when], hard ? ", hard limit" : "");
    if (a || b || s->problem[0]) not_ok("%s: %s (client %#x, server %#x)", name, s->problem, a, b);
    else if (is_preloaded() && when > 0 && s->by_ring == 0) not_ok("%s: no answer by ring", name);
    else ok("%s: %ld answers by ring", name, s->by_ring);
}

/// A server that may hold few descriptors must be able to accept up to its limit.
static void accept_to_the_limit(bool hard) {
    memset(s, 0, sizeof *s);
    enum { MOST = 24 };
    pid_t server = fork();
    if (server == 0) {
        only_standard();
        int port, listener = listen_here(&port), fds[MOST + 8], n = 0;
        limit_descriptors(MOST, hard ? MOST : 4096);
        s->port = port;
        // 0, 1, 2 and the listener.
        for (int known = 4; known < MOST; known++) {
            fds[n] = accept(listener, NULL, NULL);
            if (fds[n] < 0) problem("accept with %d of %d descriptors: %s", known, MOST, strerror(errno));
            uint8_t bytes[64];
            for (int i = 0; i < 24; i++)
                if (!recv_all(fds[n], bytes, 64) || !send_all(fds[n], bytes, 64)) problem("connection %d: %s", n, strerror(errno));
            n++;
        }
        int more = accept(listener, NULL, NULL);
        if (more >= 0 || errno != EMFILE) problem("accept beyond the limit: %s", more >= 0 ? "succeeded" : strerror(errno));
        s->stage = 1;
        for (int i = 0; i < n; i++) {
            char c;
            if (recv(fds[i], &c, 1, 0) != 0) problem("end of connection %d: %s", i, strerror(errno));
        }
        exit(0);
    }
    pid_t client = fork();
    if (client == 0) {
        while (!s->port) breathe();
        int fds[MOST];
        for (int i = 0; i < MOST - 4; i++) {
            fds[i] = connect_to(s->port);
            for (uint64_t k = 0; k < 24; k++) ask(fds[i], k);
        }
        connect_to(s->port);
        for (int64_t end = now_ms() + LIMIT_MS; !s->stage && now_ms() < end;) breathe();
        exit(0);
    }
    int a = wait_for(client, 4 * LIMIT_MS), b = wait_for(server, LIMIT_MS);
    if (a < 0) end_process(client);
    if (b < 0) end_process(server);
    const char *name = hard ? "accept to the limit, hard limit" : "accept to the limit";
    if (a || b || s->problem[0]) not_ok("%s: %s (client %#x, server %#x)", name, s->problem, a, b);
    else if (is_preloaded() && s->by_ring == 0) not_ok("%s: no answer by ring", name);
    else ok("%s: %ld answers by ring", name, s->by_ring);
}

// MARK: full buffers

enum { STREAM = 6 << 20 };
enum manner { BLOCKING, POLLING, EDGE, MANNERS };

static void send_stream(int fd, enum manner manner) {
    static uint8_t bytes[STREAM];
    for (long i = 0; i < STREAM; i++) bytes[i] = stream_byte(9, (uint64_t)i);
    int set = -1;
    struct epoll_event e = {.events = EPOLLOUT | EPOLLET};
    if (manner != BLOCKING) fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    if (manner == EDGE) {
        set = epoll_create1(EPOLL_CLOEXEC);
        epoll_ctl(set, EPOLL_CTL_ADD, fd, &e);
    }
    for (long done = 0; done < STREAM;) {
        ssize_t r = send(fd, bytes + done, (size_t)(STREAM - done), MSG_NOSIGNAL);
        if (r > 0) done += r;
        s->sent = done;
        if (r > 0) continue;
        if (errno != EAGAIN) problem("send at %ld: %s", done, strerror(errno));
        s->blocked = true;
        struct pollfd p = {.fd = fd, .events = POLLOUT};
        if (manner == EDGE ? epoll_wait(set, &e, 1, LIMIT_MS) != 1 : poll(&p, 1, LIMIT_MS) != 1) problem("no room at %ld", done);
    }
    shutdown(fd, SHUT_WR);
    char c;
    if (recv(fd, &c, 1, 0) < 0 && errno != EAGAIN) problem("the reader's end: %s", strerror(errno));
    exit(0);
}

/// Reads nothing until the sender waits for room; then in small pieces, then in large ones.
static void read_slowly(int fd, pid_t sender) {
    static uint8_t bytes[65536];
    if (!wait_asleep(sender)) problem("the sender never waits");
    long sent = s->sent;
    uint64_t random = 5;
    for (long got = 0;;) {
        size_t n = got < 200000 ? 1 + next_random(&random) % 300 : 1 + next_random(&random) % sizeof bytes;
        ssize_t r = recv(fd, bytes, n, 0);
        if (r < 0) problem("recv at %ld: %s", got, strerror(errno));
        if (r == 0) {
            if (got != STREAM) problem("%ld bytes came", got);
            break;
        }
        for (ssize_t i = 0; i < r; i++)
            if (bytes[i] != stream_byte(9, (uint64_t)(got + i))) problem("byte %ld is wrong", got + i);
        got += r;
    }
    (void)sent;
    exit(0);
}

static void run_slow_reader(enum manner manner) {
    static const char *const names[] = {"blocking", "poll", "edge-triggered epoll"};
    memset(s, 0, sizeof *s);
    volatile pid_t *sender_id = shared_memory(sizeof *sender_id);
    pid_t sender = fork();
    if (sender == 0) {
        *sender_id = getpid();
        while (!s->port) breathe();
        int fd = connect_to(s->port);
        for (uint64_t i = 0; i < 32; i++) ask(fd, i);
        send_stream(fd, manner);
    }
    pid_t reader = fork();
    if (reader == 0) {
        int port, listener = listen_here(&port);
        s->port = port;
        int fd = accept_one(listener);
        uint8_t message[64];
        for (int i = 0; i < 32; i++)
            if (!recv_all(fd, message, 64) || !send_all(fd, message, 64)) problem("before: %s", strerror(errno));
        read_slowly(fd, *sender_id);
    }
    int a = wait_for(sender, 6 * LIMIT_MS), b = wait_for(reader, LIMIT_MS);
    if (a < 0) end_process(sender);
    if (b < 0) end_process(reader);
    munmap((void *)sender_id, sizeof *sender_id);
    if (a || b || s->problem[0]) not_ok("a slow reader, %s: %s (sender %#x, reader %#x)", names[manner], s->problem, a, b);
    else if (is_preloaded() && s->by_ring == 0) not_ok("a slow reader, %s: no answer by ring", names[manner]);
    else ok("a slow reader, %s: %ld answers by ring before", names[manner], s->by_ring);
}

int main(void) {
    s = shared_memory(sizeof *s);
    problem_text = s->problem;
    signal(SIGPIPE, SIG_IGN);
    own_network();
    for (int hard = 0; hard < 2; hard++) {
        for (int when = 0; when < 3; when++) run_full_table(when, hard);
        accept_to_the_limit(hard);
    }
    for (enum manner m = 0; m < MANNERS; m++) run_slow_reader(m);
    return finish();
}
