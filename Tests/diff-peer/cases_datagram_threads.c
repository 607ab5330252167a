// Threads that share a socket for datagrams, what ends their waits, and signals.
#include "datagrams.h"

static int shared_fd;
enum { STREAM_ROUNDS = 1500, AHEAD = 50 };

/// Numbers one way, with a word of the receiver after each AHEAD by another socket's flow.
static int ack_fd;

static void put_body(void *argument) {
    (void)argument;
    for (uint32_t i = 0; i < STREAM_ROUNDS; i++) {
        dp_send_number(shared_fd, NULL, 8 + i % 1200, dp_server, i);
        if (i % AHEAD == AHEAD - 1) dp_recv_number(ack_fd, 8, 9, i);
    }
    dp_log("put");
}

static void get_body(void *argument) {
    (void)argument;
    for (uint32_t i = 0; i < STREAM_ROUNDS; i++) {
        dp_recv_number(shared_fd, 8 + i % 1200, !dp_server, i);
        if (i % AHEAD == AHEAD - 1) dp_send_number(ack_fd, NULL, 8, 9, i);
    }
    dp_log("got");
}

DP_DATAGRAM(datagram_threads, one_reads_one_writes) {
    shared_fd = dp_udp_pair(0);
    ack_fd = dp_udp_pair(0);
    dp_worker in, out;
    dp_start(&out, "out", put_body, NULL);
    dp_start(&in, "in", get_body, NULL);
    dp_join(&out);
    dp_join(&in);
    dp_sync("end");
    dp_close(ack_fd);
    dp_close(shared_fd);
}

// Two or three threads in recv of one socket: each datagram is read once.
enum { WORK = 600 };
static _Atomic int seen[WORK], stops;

static void worker_body(void *blocking) {
    for (;;) {
        uint8_t data[300];
        uint32_t stream = 0, number = 0;
        ssize_t got = recv(shared_fd, data, sizeof data, 0);
        if (got < 0 && errno == EAGAIN && !blocking) { dp_settle_for(shared_fd, POLLIN); continue; }
        if (got < 0) dp_fail("recv: %s", dp_errno_name(errno));
        if (got == 0) break;
        if (!dp_which_number(data, got, &stream, &number) || number >= WORK) dp_fail("damaged");
        seen[number]++;
        dp_tell("read");
    }
    stops++;
    dp_tell("read");
}

static void several_readers(int threads, int flags) {
    shared_fd = dp_udp_pair(flags);
    if (dp_server) {
        dp_worker w[3];
        for (int i = 0; i < threads; i++) dp_start(&w[i], "worker", worker_body, flags & DP_NONBLOCK ? NULL : w);
        for (int i = 0; i < threads; i++) dp_join(&w[i]);
        int once = 0;
        for (int i = 0; i < WORK; i++) once += seen[i] == 1;
        dp_log("%d read once, %d threads stopped", once, stops);
    } else {
        for (uint32_t i = 0; i < WORK; i++) {
            dp_send_number(shared_fd, NULL, 100 + i % 200, 1, i);
            if (i >= 10) dp_hear("read");  // ten are under way
        }
        for (int i = 0; i < 10; i++) dp_hear("read");
        for (int i = 0; i < threads; i++) {
            dp_send(shared_fd, "", 0, 0);
            dp_hear("read");
        }
    }
    dp_sync("end");
    dp_close(shared_fd);
}
DP_DATAGRAM(datagram_threads, two_readers) { several_readers(2, 0); }
DP_DATAGRAM(datagram_threads, three_readers_nonblocking) { several_readers(3, DP_NONBLOCK); }

static void write_stream(void *argument) {
    uint32_t stream = (uint32_t)(uintptr_t)argument;
    for (uint32_t i = 0; i < 100; i++) dp_send_number(shared_fd, NULL, 40 + stream, stream, i);
}

DP_DATAGRAM(datagram_threads, several_writers) {
    enum { WRITERS = 3 };
    shared_fd = dp_udp_pair(0);
    if (dp_server) {
        int room = 1 << 20;
        DP_MUST(setsockopt(shared_fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room));
    }
    dp_sync("room");
    if (!dp_server) {
        dp_worker w[WRITERS];
        for (uintptr_t i = 0; i < WRITERS; i++) dp_start(&w[i], "writer", write_stream, (void *)i);
        for (int i = 0; i < WRITERS; i++) dp_join(&w[i]);
    } else {
        uint32_t next[WRITERS] = {0};
        for (int i = 0; i < WRITERS * 100; i++) {
            uint8_t data[100];
            uint32_t stream = WRITERS, number = 0;
            ssize_t got = recv(shared_fd, data, sizeof data, 0);
            if (got < 0 || !dp_which_number(data, got, &stream, &number) || stream >= WRITERS || got != 40 + (int)stream) dp_fail("damaged");
            if (number != next[stream]++) dp_fail("out of order");
        }
        dp_log("%u %u %u", next[0], next[1], next[2]);
    }
    dp_sync("end");
    dp_close(shared_fd);
}

static void recv_body(void *unused) {
    (void)unused;
    dp_about_to_block();
    dp_recv(shared_fd, 100, 0);
}

DP_DATAGRAM(datagram_threads, close_under_a_reader) {
    shared_fd = dp_udp_pair(0);
    if (dp_server) {
        dp_worker w;
        dp_start(&w, "reader", recv_body, NULL);
        dp_until_blocked(&w);
        dp_close(shared_fd);
        dp_recv(shared_fd, 1, 0);
        dp_tell("closed");
        dp_join(&w);
        dp_tell("gone");
    } else {
        dp_hear("closed");
        dp_say(shared_fd, "the call goes on");
        dp_hear("gone");
        dp_say(shared_fd, "now nobody is there");
        dp_settle_for(shared_fd, POLLERR);
        dp_socket_error(shared_fd);
        dp_close(shared_fd);
    }
    dp_sync("end");
}

static void shut_under_a_reader(int how, bool connected) {
    dp_place peer;
    shared_fd = dp_udp_open(0, &peer);
    if (connected) dp_udp_connect(shared_fd, &peer);
    if (dp_server) {
        dp_worker w;
        dp_start(&w, "reader", recv_body, NULL);
        dp_until_blocked(&w);
        DP(shutdown(shared_fd, how));
        dp_join(&w);
    }
    dp_sync("end");
    dp_close(shared_fd);
}
DP_DATAGRAM(datagram_threads, shutdown_wakes_the_reader) { shut_under_a_reader(SHUT_RD, true); }
DP_DATAGRAM(datagram_threads, shutdown_of_both_wakes_the_reader) { shut_under_a_reader(SHUT_RDWR, true); }
DP_DATAGRAM(datagram_threads, shutdown_wakes_the_reader_of_an_unconnected_one) { shut_under_a_reader(SHUT_RD, false); }

DP_DATAGRAM(datagram_threads, dontwait_beside_a_sleeper) {
    shared_fd = dp_udp_pair(0);
    if (dp_server) {
        dp_worker w;
        dp_start(&w, "sleeper", recv_body, NULL);
        dp_until_blocked(&w);
        dp_recv(shared_fd, 10, MSG_DONTWAIT);
        dp_say(shared_fd, "while it sleeps");
        dp_join(&w);
    } else {
        dp_recv(shared_fd, 100, 0);
        dp_say(shared_fd, "wake");
    }
    dp_sync("end");
    dp_close(shared_fd);
}

// ───────────────────────────── both ends in one process ─────────────────────────────

static void echo_body(void *argument) {
    int fd = *(int *)argument;
    static char data[70000];
    for (ssize_t got; (got = recv(fd, data, sizeof data, 0)) > 0;)
        if (send(fd, data, got, 0) != got) dp_log("echo broke");
}

DP_DATAGRAM(datagram_threads, both_ends_in_one_process, .solo = true) {
    int fds[2];
    dp_udp_pair_solo(fds, 0);
    dp_worker w;
    dp_start(&w, "echo", echo_body, &fds[1]);
    for (uint32_t i = 0; i < 500; i++) {
        dp_send_number(fds[0], NULL, 1 + i * 131 % 60000, 1, i);
        dp_recv_number(fds[0], 1 + i * 131 % 60000, 1, i);
    }
    dp_log("500 there and back");
    dp_send(fds[0], "", 0, 0);
    dp_join(&w);
    dp_recv(fds[0], 10, MSG_DONTWAIT);
    dp_close(fds[0]);
    dp_close(fds[1]);
}

DP_DATAGRAM(datagram_threads, both_ends_in_one_thread, .solo = true) {
    int fds[2];
    dp_udp_pair_solo(fds, 0);
    for (int round = 0; round < 3; round++) {
        dp_say(fds[0], "from the first");
        dp_say(fds[1], "from the second");
        dp_recv_from(fds[1], 100, 0);
        dp_recv_from(fds[0], 100, 0);
        dp_recv_from(fds[0], 100, MSG_DONTWAIT);
    }
    dp_close(fds[1]);
    dp_say(fds[0], "to nobody");
    dp_settle_for(fds[0], POLLERR);
    dp_recv(fds[0], 100, 0);
    dp_close(fds[0]);
}

/// A socket that is its own peer.
DP_DATAGRAM(datagram_threads, sends_to_itself, .solo = true, .kernel = "what a socket sends to itself may stay in the kernel") {
    for (int connected = 0; connected < 2; connected++) {
        int fd = dp_udp("127.0.0.1", 0);
        dp_place own = dp_place_of(fd);
        dp_name(dp_place_port(&own), "myself");
        if (connected) dp_udp_connect(fd, &own);
        for (uint32_t i = 0; i < 200; i++) {
            dp_send_number(fd, connected ? NULL : &own, 20 + i, 1, i);
            if (i % 4 != 3) continue;
            for (uint32_t n = i - 3; n <= i; n++) dp_recv_number(fd, 20 + n, 1, n);
        }
        connected ? dp_say(fd, "hello, me") : dp_say_to(fd, "hello, me", &own);
        dp_poll(fd, POLLIN | POLLOUT, -1);
        dp_recv_from(fd, 100, 0);
        dp_recv_from(fd, 100, MSG_DONTWAIT);
        dp_log_names(fd);
        dp_close(fd);
    }
}
