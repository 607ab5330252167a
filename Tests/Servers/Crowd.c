// Many clients of one UDP socket: a server in several forms, and a program that starts its clients, each a process of its own.
//   crowd serve recvfrom|recvmmsg|epoll PORT
//   crowd ask PORT CLIENTS ROUNDS WINDOW connected|unconnected    each answer is the next one that is due, and exact
//   crowd replace PORT CLIENTS LIVES    clients are killed while they ask; others take their places and ports
//   crowd steady PORT CLIENTS    says `refused` when the kernel has refused a datagram of each, `answered` when each had answers again
// It says `verified N`, and waits for the end of its input with the clients alive. No answer may be late by a minute: nobody has more
// under way than a receive buffer holds.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MOST = 256, BYTES = 200, LIFE = 1000, BATCH = 16 };
struct message {
    unsigned id, number;
    unsigned char fill[BYTES];
};

static void fail(const char *form, ...) {
    va_list rest;
    va_start(rest, form);
    vfprintf(stderr, form, rest);
    fprintf(stderr, " (%s)\n", strerror(errno));
    exit(1);
}

static struct sockaddr_in address(int port) {
    return (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static int bound(int port) {
    struct sockaddr_in name = address(port);
    int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), big = 1 << 20;
    // The socket of a client that was killed may be in use by somebody's epoll set for a moment.
    for (int tries = 0; s >= 0 && bind(s, (void *)&name, sizeof name) < 0; tries++) {
        if (errno != EADDRINUSE || port == 0 || tries == 5000) fail("bind to %d", port);
        usleep(1000);
    }
    if (s < 0) fail("socket");
    setsockopt(s, SOL_SOCKET, SO_RCVBUF, &big, sizeof big);
    return s;
}

// Stays on one processor: what a program sends from two, the kernel itself may deliver in another order.
static void settle(unsigned choice) {
    cpu_set_t all, one;
    if (sched_getaffinity(0, sizeof all, &all) < 0) return; // some filters forbid it
    unsigned at = choice % (unsigned)CPU_COUNT(&all);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, &all) || at-- != 0) continue;
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        sched_setaffinity(0, sizeof one, &one);
        return;
    }
}

// The server.

static void answer(int s, char *bytes, ssize_t n, struct sockaddr_in *from) {
    if (sendto(s, bytes, n, 0, (void *)from, sizeof *from) != n && errno != ECONNREFUSED) fail("sendto");
}

static void serve_recvfrom(int s) {
    for (;;) {
        char bytes[2000];
        struct sockaddr_in from;
        socklen_t length = sizeof from;
        ssize_t n = recvfrom(s, bytes, sizeof bytes, 0, (void *)&from, &length);
        if (n >= 0) answer(s, bytes, n, &from);
        else if (errno != ECONNREFUSED) fail("recvfrom");
    }
}

static void serve_recvmmsg(int s) {
    static char bytes[BATCH][2000];
    for (;;) {
        struct mmsghdr all[BATCH];
        struct iovec parts[BATCH];
        struct sockaddr_in from[BATCH];
        for (int i = 0; i < BATCH; i++) {
            parts[i] = (struct iovec){bytes[i], sizeof bytes[i]};
            all[i] = (struct mmsghdr){.msg_hdr = {.msg_name = &from[i], .msg_namelen = sizeof from[i], .msg_iov = &parts[i], .msg_iovlen = 1}};
        }
        int n = recvmmsg(s, all, BATCH, MSG_WAITFORONE, NULL);
        if (n < 0 && errno != ECONNREFUSED) fail("recvmmsg");
        for (int i = 0; i < n; i++) parts[i].iov_len = all[i].msg_len;
        for (int sent = 0, m; sent < n; sent += m)
            if ((m = sendmmsg(s, all + sent, n - sent, 0)) < 0) fail("sendmmsg");
    }
}

static void serve_epoll(int s) {
    int set = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN};
    if (set < 0 || epoll_ctl(set, EPOLL_CTL_ADD, s, &event) < 0) fail("epoll");
    for (;;) {
        if (epoll_wait(set, &event, 1, -1) < 0) fail("epoll_wait");
        char bytes[2000];
        struct sockaddr_in from;
        socklen_t length = sizeof from;
        ssize_t n;
        while ((n = recvfrom(s, bytes, sizeof bytes, MSG_DONTWAIT, (void *)&from, &length)) >= 0) answer(s, bytes, n, &from);
        if (errno != EAGAIN && errno != ECONNREFUSED) fail("recvfrom");
    }
}

// A client.

static size_t make(struct message *m, unsigned id, unsigned number) {
    size_t n = (number * 37 + id) % (BYTES - 7);
    m->id = id, m->number = number;
    for (size_t i = 0; i < n; i++) m->fill[i] = (unsigned char)(id * 31 + number + i);
    return n + 8;
}

static int told, go; // descriptors to and from the program that starts the clients

static void tell(char what) {
    if (write(told, &what, 1) != 1) exit(1);
}

static void stay(void) {
    char byte;
    while (read(go, &byte, 1) > 0) {}
    exit(0);
}

// The next answer: 0, or the error. Those to a predecessor at this port, which the kernel hands on too, are passed over.
static int hear(int s, int server, unsigned id, unsigned number) {
    struct message got, due;
    for (;;) {
        struct pollfd p = {.fd = s, .events = POLLIN};
        if (poll(&p, 1, 60000) != 1) fail("client %u: no answer to %u", id, number);
        struct sockaddr_in from;
        socklen_t length = sizeof from;
        ssize_t n = recvfrom(s, &got, sizeof got, 0, (void *)&from, &length);
        if (n < 0) return errno;
        if (from.sin_port != htons(server)) fail("client %u: from port %d", id, ntohs(from.sin_port));
        if (n >= 8 && got.id % LIFE == id % LIFE && got.id < id) continue;
        size_t want = make(&due, id, number);
        if ((size_t)n != want || memcmp(&got, &due, want) != 0) fail("client %u: %zd bytes, to client %u, number %u, where %u is due", id, n, got.id, got.number, number);
        return 0;
    }
}

static void ask(int s, int server, unsigned id, unsigned number) {
    struct sockaddr_in to = address(server);
    struct message m;
    size_t n = make(&m, id, number);
    if (sendto(s, &m, n, 0, (void *)&to, sizeof to) != (ssize_t)n) fail("client %u: send", id);
}

static void client_asks(int server, unsigned id, unsigned rounds, unsigned window, int is_connected) {
    struct sockaddr_in to = address(server);
    int s = bound(0), error;
    if (is_connected && connect(s, (void *)&to, sizeof to) < 0) fail("connect");
    for (unsigned sent = 0, got = 0; got < rounds; got++) {
        while (sent < rounds && sent - got < window) ask(s, server, id, sent++);
        if ((error = hear(s, server, id, got)) != 0) errno = error, fail("client %u: receive", id);
    }
    tell('d');
    stay();
}

// Asks on until it is killed, or in its last life until it has had enough.
static void client_lives(int server, unsigned id, int port, int is_last) {
    int s = bound(port), error;
    for (unsigned sent = 0, got = 0; !is_last || got < 200; got++) {
        while (sent - got < 4) ask(s, server, id, sent++);
        if ((error = hear(s, server, id, got)) != 0) errno = error, fail("client %u: receive", id);
        if (got == 30 + id % 50) tell('k');
    }
    tell('d');
    stay();
}

// Asks once more when it is refused, or when there is no answer for a while: it may have been lost with a server. So an answer may come
// more than once.
static void client_is_steady(int server, unsigned id) {
    struct sockaddr_in to = address(server);
    struct message m, got, due;
    int s = bound(0), has_told = 0;
    unsigned since = 0;
    if (connect(s, (void *)&to, sizeof to) < 0) fail("connect");
    for (unsigned number = 0; since < 400; number++) {
        int is_answered = 0;
        while (!is_answered) {
            size_t n = make(&m, id, number);
            ssize_t k = send(s, &m, n, 0);
            struct pollfd p = {.fd = s, .events = POLLIN};
            while (k >= 0 && !is_answered && poll(&p, 1, 500) == 1 && (k = recv(s, &got, sizeof got, MSG_DONTWAIT)) >= 0) {
                if (k < 8 || got.number > number || (size_t)k != make(&due, id, got.number) || memcmp(&got, &due, k) != 0)
                    fail("client %u: %zd bytes, to client %u, number %u, where %u is due", id, k, got.id, got.number, number);
                is_answered = got.number == number;
            }
            if (k >= 0 || errno == EAGAIN) continue;
            if (errno != ECONNREFUSED) fail("client %u", id);
            if (!has_told) tell('r');
            has_told = 1;
            usleep(20000);
        }
        since += has_told;
    }
    tell('d');
    stay();
}

// The program that starts them.

static struct {
    pid_t pid;
    int port, told;
    unsigned life;
} clients[MOST];
static int count, go_on;

// start NUMBER WORD...: an image of its own, with the ends of pipes.
static void start(int i, char **words) {
    int pipes[2];
    if (pipe(pipes) < 0) fail("pipe");
    clients[i].told = pipes[0];
    if ((clients[i].pid = fork()) < 0) fail("fork");
    if (clients[i].pid == 0) {
        char told_word[12], go_word[12];
        close(pipes[0]);
        close(go_on);
        for (int k = 0; k < i; k++) close(clients[k].told);
        snprintf(told_word, sizeof told_word, "%d", pipes[1]);
        snprintf(go_word, sizeof go_word, "%d", go);
        setenv("CROWD_TOLD", told_word, 1);
        setenv("CROWD_GO", go_word, 1);
        execv("/proc/self/exe", words);
        fail("exec");
    }
    close(pipes[1]);
}

static void start_client(int i, int server, const char *form, unsigned rounds, unsigned window, int is_last) {
    char texts[6][16];
    unsigned numbers[] = {(unsigned)server, (unsigned)i + clients[i].life * LIFE, rounds, window, (unsigned)clients[i].port, (unsigned)is_last};
    char *words[10] = {"crowd", "client", (char *)form};
    for (int k = 0; k < 6; k++) snprintf(texts[k], sizeof texts[k], "%u", numbers[k]), words[k + 3] = texts[k];
    start(i, words);
}

// What a client says next; who ends instead has said why.
static char heard(int i) {
    char what;
    if (read(clients[i].told, &what, 1) == 1) return what;
    int status = 0;
    waitpid(clients[i].pid, &status, 0);
    fail("client %d ended, status %x", i, status);
    return 0;
}

static void all_say(char what) {
    for (int i = 0; i < count; i++)
        if (heard(i) != what) fail("client %d says something else", i);
}

static void replace(int server, unsigned lives) {
    int held[MOST];
    for (int i = 0; i < count; i++) {
        struct sockaddr_in name;
        socklen_t length = sizeof name;
        getsockname(held[i] = bound(0), (void *)&name, &length);
        clients[i].port = ntohs(name.sin_port);
    }
    // Each has a port of its own: none is free before all are chosen.
    for (int i = 0; i < count; i++) {
        close(held[i]);
        start_client(i, server, "lives", 0, 0, lives == 1);
    }
    for (unsigned life = 1; life < lives; life++)
        for (int i = 0; i < count; i++) {
            if (heard(i) != 'k') fail("client %d says something else", i);
            kill(clients[i].pid, SIGKILL);
            waitpid(clients[i].pid, NULL, 0);
            close(clients[i].told);
            clients[i].life = life;
            start_client(i, server, "lives", 0, 0, life + 1 == lives);
        }
    for (int i = 0; i < count; i++)
        while (heard(i) != 'd') {}
}

static void start_clients(char **words, int n) {
    int server = atoi(words[1]), pipes[2];
    count = atoi(words[2]);
    if (count > MOST || count >= LIFE || pipe(pipes) < 0) fail("%d clients", count);
    go = pipes[0], go_on = pipes[1];
    unsigned long verified = (unsigned long)count;
    if (strcmp(words[0], "ask") == 0 && n == 6) {
        for (int i = 0; i < count; i++) start_client(i, server, words[5], (unsigned)atoi(words[3]), (unsigned)atoi(words[4]), 0);
        all_say('d');
        verified *= (unsigned)atoi(words[3]);
    } else if (strcmp(words[0], "replace") == 0 && n == 4) {
        replace(server, (unsigned)atoi(words[3]));
        verified *= (unsigned)atoi(words[3]);
    } else if (strcmp(words[0], "steady") == 0 && n == 3) {
        for (int i = 0; i < count; i++) start_client(i, server, words[0], 0, 0, 0);
        all_say('r');
        puts("refused"), fflush(stdout);
        all_say('d');
    } else {
        fail("usage");
    }
    printf("verified %lu\n", verified), fflush(stdout);
    char byte;
    while (read(0, &byte, 1) > 0 && byte != '\n') {}
    close(go_on);
    for (int i = 0, status; i < count; i++)
        if (waitpid(clients[i].pid, &status, 0) < 0 || status != 0) fail("client %d: status %x", i, status);
}

int main(int argc, char **argv) {
    if (argc == 4 && strcmp(argv[1], "serve") == 0) {
        settle(0);
        int s = bound(atoi(argv[3]));
        if (strcmp(argv[2], "recvmmsg") == 0) serve_recvmmsg(s);
        else if (strcmp(argv[2], "epoll") == 0) serve_epoll(s);
        else serve_recvfrom(s);
    }
    if (argc == 9 && strcmp(argv[1], "client") == 0) {
        int server = atoi(argv[3]);
        unsigned id = (unsigned)atoi(argv[4]);
        settle(id);
        told = atoi(getenv("CROWD_TOLD")), go = atoi(getenv("CROWD_GO"));
        if (strcmp(argv[2], "lives") == 0) client_lives(server, id, atoi(argv[7]), atoi(argv[8]));
        if (strcmp(argv[2], "steady") == 0) client_is_steady(server, id);
        client_asks(server, id, (unsigned)atoi(argv[5]), (unsigned)atoi(argv[6]), argv[2][0] == 'c');
    }
    if (argc < 4) fail("usage");
    start_clients(argv + 1, argc - 1);
    return 0;
}
