// The cost of calls that a preload library sees but has nothing to do with, and of a process's start.
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "Clock.h"
#include "Peer.h"

static int zero, sink, pair[2], pipes[2][2], set;
static char bytes[64];

static void read_zero(void) { if (read(zero, bytes, 8) != 8) fail("read"); }
static void readv_zero(void) {
    struct iovec part = {bytes, 8};
    if (readv(zero, &part, 1) != 1 * 8) fail("readv");
}
static void write_null(void) { if (write(sink, bytes, 8) != 8) fail("write"); }
static void recv_unix(void) { if (recv(pair[0], bytes, 8, MSG_DONTWAIT) != -1) fail("recv"); }
static void exchange_unix(void) { if (send(pair[1], bytes, 8, 0) != 8 || recv(pair[0], bytes, 8, 0) != 8) fail("send, recv"); }
static void poll_pipes(void) {
    struct pollfd p[2] = {{.fd = pipes[0][0], .events = POLLIN}, {.fd = pipes[1][0], .events = POLLIN}};
    if (poll(p, 2, 0) != 0) fail("poll");
}
static void select_pipes(void) {
    fd_set wanted;
    struct timeval none = {0, 0};
    FD_ZERO(&wanted);
    FD_SET(pipes[0][0], &wanted);
    FD_SET(pipes[1][0], &wanted);
    if (select(pipes[1][0] + 1, &wanted, NULL, NULL, &none) != 0) fail("select");
}
static void epoll_pipes(void) {
    struct epoll_event event;
    if (epoll_wait(set, &event, 1, 0) != 0) fail("epoll_wait");
}
static void fcntl_file(void) { if (fcntl(zero, F_GETFL) < 0) fail("fcntl"); }
static void close_file(void) {
    int fd = dup(zero);
    if (fd < 0 || close(fd) != 0) fail("dup, close");
}
static void open_file(void) {
    int fd = open("/dev/null", O_RDONLY);
    if (fd < 0 || close(fd) != 0) fail("open, close");
}

struct call {
    const char *name;
    void (*body)(void);
    /// Calls in one turn.
    unsigned calls;
};
static const struct call calls[] = {
    {"read-zero", read_zero, 1}, {"readv-zero", readv_zero, 1}, {"write-null", write_null, 1}, {"recv-unix", recv_unix, 1},
    {"exchange-unix", exchange_unix, 2}, {"poll-pipes", poll_pipes, 1}, {"select-pipes", select_pipes, 1}, {"epoll-pipes", epoll_pipes, 1},
    {"fcntl-file", fcntl_file, 1}, {"dup-close", close_file, 2}, {"open-close", open_file, 2},
};

static void prepare(void) {
    zero = open("/dev/zero", O_RDONLY);
    sink = open("/dev/null", O_WRONLY);
    set = epoll_create1(0);
    if (zero < 0 || sink < 0 || set < 0 || pipe(pipes[0]) != 0 || pipe(pipes[1]) != 0) fail("descriptors");
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0) fail("socketpair");
    struct epoll_event event = {.events = EPOLLIN};
    for (int i = 0; i < 2; i++)
        if (epoll_ctl(set, EPOLL_CTL_ADD, pipes[i][0], &event) != 0) fail("epoll_ctl");
}

static int by_value(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/// Middle of the values, in nanoseconds of the measured interval's clock.
double middle(uint64_t *values, unsigned count) {
    qsort(values, count, sizeof *values, by_value);
    return (double)values[count / 2] * (double)control->elapsed_ns / (double)control->ticks;
}

void calls_single(void) {
    enum { BATCH = 500, BATCHES = 4000 };
    static uint64_t took[BATCHES];
    const struct call *call = NULL;
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
        if (strcmp(calls[i].name, options.call) == 0) call = &calls[i];
    if (!call) wrong("no call '%s'", options.call);
    prepare();
    for (int i = 0; i < BATCH * 4; i++) call->body();
    uint64_t ms = ticks_per_ms(), stop = ticks() + ms * options.run_ms;
    unsigned count = 0;
    measure_begin();
    // One at least, also where the whole time went by before this process had the processor again.
    do {
        uint64_t before = ticks();
        for (int i = 0; i < BATCH; i++) call->body();
        took[count++] = ticks() - before;
    } while (count < BATCHES && ticks() < stop);
    measure_end();
    control->messages = (uint64_t)count * BATCH * call->calls;
    control->cost_ns = middle(took, count) / BATCH / call->calls;
}

void start_single(void) {
    enum { MOST = 100000 };
    static uint64_t took[MOST];
    static char program[] = "/bin/true", library[4200] = "LD_PRELOAD=";
    char *arguments[] = {program, NULL}, *variables[] = {options.preload ? library : NULL, NULL};
    if (options.preload) strncat(library, options.preload, sizeof library - strlen(library) - 1);
    unsigned count = options.messages < MOST ? (unsigned)options.messages : MOST;
    for (unsigned i = 0; i < count + 5; i++) {
        // The first ones bring the files into memory.
        if (i == 5) measure_begin();
        uint64_t before = ticks();
        pid_t pid;
        int status;
        if (posix_spawn(&pid, program, NULL, NULL, arguments, variables) != 0) fail("posix_spawn");
        if (waitpid(pid, &status, 0) != pid || status != 0) wrong("%s did not end well", program);
        if (i >= 5) took[i - 5] = ticks() - before;
    }
    measure_end();
    control->messages = count;
    control->cost_ns = middle(took, count);
}
