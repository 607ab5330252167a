// Two network namespaces with the same 4-tuple at once, and one process that holds sockets of both and moves between them.
// usage: namespaces [--rounds N]
#include "Faults.h"
#include <sched.h>

enum { SERVER_PORT = 7000, CLIENT_PORT = 7001, MESSAGE = 96 };
enum { REQUESTS = 40, ANSWERS = 50 }; // seeds of the streams, plus the number of the namespace

static int spaces[2];

static void enter(int i) {
    if (setns(spaces[i], CLONE_NEWNET) < 0) die("setns: %s", strerror(errno));
}

static struct sockaddr_in here(int port) {
    return (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)port)};
}

static void fill(uint8_t *bytes, int seed, uint64_t first) {
    for (int i = 0; i < MESSAGE; i++) bytes[i] = stream_byte((uint64_t)seed, first + (uint64_t)i);
}

/// Answers each message, having checked that it belongs to this namespace.
static void serve(int i, int ready) {
    enter(i);
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    alarm(120);
    struct sockaddr_in a = here(SERVER_PORT);
    int one = 1, s = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(s, (struct sockaddr *)&a, sizeof a) < 0 || listen(s, 4) < 0) die("server %d: %s", i, strerror(errno));
    if (write(ready, "r", 1) != 1) die("ready");
    int c = accept_one(s);
    uint8_t got[MESSAGE], wanted[MESSAGE], answer[MESSAGE];
    for (uint64_t at = 0;; at += MESSAGE) {
        if (!recv_all(c, got, MESSAGE)) {
            if (errno == 0) exit(0);
            die("server %d: %s", i, strerror(errno));
        }
        fill(wanted, REQUESTS + i, at);
        if (memcmp(got, wanted, MESSAGE)) die("server %d: bytes that are not its own at %llu", i, (unsigned long long)at);
        fill(answer, ANSWERS + i, at);
        if (!send_all(c, answer, MESSAGE)) die("server %d: %s", i, strerror(errno));
    }
}

static int connect_from(int port) {
    struct sockaddr_in a = here(port), to = here(SERVER_PORT);
    int one = 1, s = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(s, (struct sockaddr *)&a, sizeof a) < 0 || connect(s, (struct sockaddr *)&to, sizeof to) < 0) die("connect: %s", strerror(errno));
    return s;
}

/// Sends one message to server `i` and checks the answer. True when the answer did not lie in the kernel's socket.
static bool exchange(int fd, int i, uint64_t at) {
    uint8_t bytes[MESSAGE], wanted[MESSAGE];
    fill(bytes, REQUESTS + i, at);
    if (!send_all(fd, bytes, MESSAGE)) die("client %d: %s", i, strerror(errno));
    struct pollfd p = {.fd = fd, .events = POLLIN};
    if (poll(&p, 1, LIMIT_MS) != 1) die("client %d: no answer at %llu", i, (unsigned long long)at);
    bool by_ring = kernel_unread(fd) == 0;
    if (!recv_all(fd, bytes, MESSAGE)) die("client %d: %s", i, strerror(errno));
    fill(wanted, ANSWERS + i, at);
    if (memcmp(bytes, wanted, MESSAGE)) die("client %d: bytes that are not its own at %llu", i, (unsigned long long)at);
    return by_ring;
}

/// One process with both connections. `astray`: it sits in the other namespace whenever it uses one of them.
static void both_in_one(bool astray, int rounds) {
    int ready[2], fds[2];
    pid_t servers[2];
    long by_ring[2] = {0, 0};
    if (pipe2(ready, O_CLOEXEC) < 0) die("pipe");
    for (int i = 0; i < 2; i++) {
        if ((servers[i] = fork()) == 0) serve(i, ready[1]);
        char c;
        if (read(ready[0], &c, 1) != 1) die("server %d did not start", i);
    }
    for (int i = 0; i < 2; i++) {
        enter(i);
        fds[i] = connect_from(CLIENT_PORT);
    }
    for (int n = 0; n < rounds; n++)
        for (int i = 0; i < 2; i++) {
            enter(astray ? 1 - i : i);
            by_ring[i] += exchange(fds[i], i, (uint64_t)n * MESSAGE);
        }
    for (int i = 0; i < 2; i++) {
        close(fds[i]);
        int status = wait_for(servers[i], LIMIT_MS);
        if (status != 0) die("server %d ended with %#x", i, status);
    }
    const char *name = astray ? "one process in the other namespace" : "one process in both namespaces";
    if (is_preloaded() && !astray && (by_ring[0] == 0 || by_ring[1] == 0))
        not_ok("%s: no lane (%ld and %ld answers by ring)", name, by_ring[0], by_ring[1]);
    else ok("%s: %d messages each, %ld and %ld by ring", name, rounds, by_ring[0], by_ring[1]);
    close(ready[0]), close(ready[1]);
}

/// A client and a server in each namespace, all four at once.
static void each_its_own(int rounds) {
    int ready[2];
    pid_t servers[2], clients[2];
    if (pipe2(ready, O_CLOEXEC) < 0) die("pipe");
    for (int i = 0; i < 2; i++) {
        if ((servers[i] = fork()) == 0) serve(i, ready[1]);
        char c;
        if (read(ready[0], &c, 1) != 1) die("server %d did not start", i);
    }
    for (int i = 0; i < 2; i++)
        if ((clients[i] = fork()) == 0) {
            enter(i);
            alarm(120);
            int fd = connect_from(CLIENT_PORT + 1);
            long by_ring = 0;
            for (int n = 0; n < rounds; n++) by_ring += exchange(fd, i, (uint64_t)n * MESSAGE);
            exit(is_preloaded() && by_ring == 0 ? 3 : 0);
        }
    int bad = 0;
    for (int i = 0; i < 2; i++) bad |= wait_for(clients[i], 12 * LIMIT_MS) | wait_for(servers[i], LIMIT_MS);
    if (bad == 3 << 8) not_ok("two pairs with one 4-tuple: no lane");
    else if (bad) not_ok("two pairs with one 4-tuple: status %#x", bad);
    else ok("two pairs with one 4-tuple: %d messages each", rounds);
    close(ready[0]), close(ready[1]);
}

int main(int n, char **words) {
    int rounds = n > 2 && !strcmp(words[1], "--rounds") ? atoi(words[2]) : 500;
    for (int i = 0; i < 2; i++) {
        if (!own_network()) {
            skip("two network namespaces", "not permitted here; needs root");
            return finish();
        }
        if ((spaces[i] = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC)) < 0) die("ns: %s", strerror(errno));
    }
    each_its_own(rounds);
    both_in_one(false, rounds);
    both_in_one(true, rounds);
    for (int i = 0; i < 2; i++) {
        enter(i);
        if (open_names() > 0) not_ok("%d names stay behind in namespace %d", open_names(), i);
    }
    return finish();
}
