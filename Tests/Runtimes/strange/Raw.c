// Programs with system call instructions of their own, which no preloaded library sees. All by itself a connection works, by the
// kernel. Beside libc's calls, on a connection that has a lane, it does not: what comes by the ring is not there for such a
// read, and what such a write sends is overtaken. These cases show that; nothing is lost as long as libc's calls read the rest.
#include "Strange.h"

static long raw_read(int fd, void *to, size_t n) { return raw_call(SYS_read, fd, (long)to, (long)n, 0, 0, 0); }
static long raw_write(int fd, const void *from, size_t n) { return raw_call(SYS_write, fd, (long)from, (long)n, 0, 0, 0); }
static int raw_poll(int fd, int ms) { return (int)raw_call(SYS_poll, (long)&(struct pollfd){fd, POLLIN, 0}, 1, ms, 0, 0, 0); }
static void libc_reads(int fd, const char *wanted) {
    char text[64] = "";
    if (poll(&(struct pollfd){fd, POLLIN, 0}, 1, 20000) != 1) fail("'%s' does not come", wanted);
    if (!recv_all(fd, text, strlen(wanted)) || strcmp(text, wanted)) fail("'%s' instead of '%s'", text, wanted);
}
static void raw_talk(int fd, int rounds) {
    for (int i = 0; i < rounds; i++) {
        char out[1500], in[1500];
        memset(out, i + 1, sizeof out);
        if (raw_write(fd, out, sizeof out) != sizeof out) fail("raw write");
        for (long n = 0, r; n < (long)sizeof in; n += r)
            if ((r = raw_read(fd, in + n, sizeof in - (size_t)n)) <= 0) fail("raw read: %ld", r);
        if (memcmp(in, out, sizeof in)) fail("other bytes in round %d", i);
    }
}

CASE(raw_from_the_start, KERNEL("no call is seen")) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)peer_port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = (int)raw_call(SYS_socket, AF_INET, SOCK_STREAM, 0, 0, 0, 0);
    if (fd < 0 || raw_call(SYS_connect, fd, (long)&a, sizeof a, 0, 0, 0)) fail("raw connect");
    raw_talk(fd, 200);
    look(fd, fd);
    talk(fd, 100); // a number that the library does not know
    raw_talk(fd, 100);
    look(fd, fd);
}
CASE(raw_in_a_young_connection, LANE) { // bytes that libc's calls have not carried are in the kernel's counts
    const char *at = getenv("SLUICE_LANE_AT");
    if (at && !strcmp(at, "0")) { warm(); return; } // it has a lane at once, and the first raw read would sleep for ever
    int fd = dial();
    raw_talk(fd, 5);
    talk(fd, 60);
    look(fd, fd);
}
CASE(raw_read_on_a_lane, LANE) {
    int ends[2], fd = warm();
    char text[64] = "";
    bool lane = is_as_said();
    warm_pair(ends);
    if (getenv("SLUICE_CHAOS")) return; // either may happen
    MUST(setsockopt(ends[1], SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){0, 100000}, sizeof(struct timeval)));
    for (int i = 0; i < 5; i++) {
        if (!send_all(ends[0], "by libc", 7)) fail("send");
        if (poll(&(struct pollfd){ends[1], POLLIN, 0}, 1, 20000) != 1) fail("poll");
        if (raw_poll(ends[1], 0) != !lane) fail("the kernel's poll does not say %d", !lane);
        // Without the time limit it would sleep for ever.
        long n = raw_read(ends[1], text, sizeof text);
        if (n != (lane ? -EAGAIN : 7)) fail("raw read: %ld", n);
        if (lane) libc_reads(ends[1], "by libc");
        pass(ends[0], ends[1], 3);
        if (!send_all(fd, "echoed", 6)) fail("send");
        if (poll(&(struct pollfd){fd, POLLIN, 0}, 1, 20000) != 1) fail("poll");
        n = raw_call(SYS_recvfrom, fd, (long)text, sizeof text, MSG_DONTWAIT, 0, 0);
        if (n != (lane ? -EAGAIN : 6)) fail("raw recv: %ld", n);
        if (lane) libc_reads(fd, "echoed");
        talk(fd, 3);
    }
    look(fd, fd);
}
CASE(raw_write_on_a_lane, LANE) {
    int ends[2];
    bool lane = is_as_said();
    warm_pair(ends);
    if (getenv("SLUICE_CHAOS")) return;
    for (int i = 0; i < 5; i++) { // in an empty ring's place it comes at once
        if (raw_write(ends[0], "raw", 3) != 3) fail("raw write");
        libc_reads(ends[1], "raw");
        pass(ends[0], ends[1], 3);
    }
    // What is sent later by the ring comes first.
    if (raw_write(ends[0], "first ", 6) != 6 || !send_all(ends[0], "second ", 7)) fail("send");
    libc_reads(ends[1], lane ? "second first " : "first second ");
    pass(ends[0], ends[1], 20);
    look(ends[0], ends[1]);
    // Handed back with such bytes unread: what is taken back from the ring is sent behind them.
    if (raw_write(ends[0], "third ", 6) != 6 || !send_all(ends[0], "fourth ", 7)) fail("send");
    FILE *stream = fdopen(dup(ends[0]), "w");
    from_now(KERNEL("handed back to stdio"));
    fprintf(stream, "fifth");
    fclose(stream);
    char text[64] = "";
    if (!recv_all(ends[1], text, 18)) fail("recv");
    if (strcmp(text, "third fourth fifth")) fail("'%s'", text);
    pass(ends[0], ends[1], 30);
    look(ends[0], ends[1]);
}
