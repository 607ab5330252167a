// Threads: several users of one socket, and what happens to those that wait on it.
#include "harness.h"

static int shared_fd;

static void put_body(void *argument) { dp_put(shared_fd, (unsigned)(uintptr_t)argument, 2 << 20, 9000); }
static void get_body(void *argument) { dp_get(shared_fd, (unsigned)(uintptr_t)argument, 2 << 20, 70000); }

static void recv_body(void *argument) {
    (void)argument;
    dp_about_to_block();
    dp_recv(shared_fd, 100, 0);
}

DP_CASE(threads, reader_and_writer) {
    shared_fd = dp_pair(0);
    dp_worker in, out;
    dp_start(&out, "out", put_body, (void *)(uintptr_t)(dp_server ? 1 : 2));
    dp_start(&in, "in", get_body, (void *)(uintptr_t)(dp_server ? 2 : 1));
    dp_join(&out);
    dp_join(&in);
    dp_sync("end");
    dp_close(shared_fd);
}

enum { RECORDS = 1500, RECORD = 16 };
static _Atomic int records_seen[3];

static void write_records(void *argument) {
    char record[RECORD];
    memset(record, 'a' + (int)(uintptr_t)argument, sizeof record);
    for (int i = 0; i < RECORDS; i++)
        if (send(shared_fd, record, sizeof record, 0) != RECORD) dp_fail("send: %s", dp_errno_name(errno));
}

static void count_record(const char *record) {
    for (int i = 1; i < RECORD; i++)
        if (record[i] != record[0]) dp_log("torn record");
    if (record[0] >= 'a' && record[0] < 'd') records_seen[record[0] - 'a']++;
    else dp_log("foreign record");
}

static void read_records(void *argument) {
    (void)argument;
    char record[RECORD];
    ssize_t got;
    while ((got = recv(shared_fd, record, sizeof record, MSG_WAITALL)) == RECORD) count_record(record);
    dp_log("records end with %zd", got);
}

DP_CASE(threads, several_writers) {
    shared_fd = dp_pair(0);
    if (dp_server) {
        read_records(NULL);
        dp_log("%d %d %d", records_seen[0], records_seen[1], records_seen[2]);
    } else {
        dp_worker writers[3];
        for (int i = 0; i < 3; i++) dp_start(&writers[i], "writer", write_records, (void *)(uintptr_t)i);
        for (int i = 0; i < 3; i++) dp_join(&writers[i]);
        DP(shutdown(shared_fd, SHUT_WR));
    }
    dp_sync("end");
    dp_close(shared_fd);
}

static _Atomic size_t bytes_read;

static void count_bytes(void *argument) {
    (void)argument;
    char buffer[100];
    for (ssize_t got; (got = recv(shared_fd, buffer, sizeof buffer, 0)) > 0;) bytes_read += got;
}

DP_CASE(threads, several_readers) {
    shared_fd = dp_pair(0);
    if (dp_server) {
        dp_worker readers[3];
        for (int i = 0; i < 3; i++) dp_start(&readers[i], "reader", count_bytes, NULL);
        for (int i = 0; i < 3; i++) dp_join(&readers[i]);
        dp_log("%zu bytes", bytes_read);
    } else {
        dp_put(shared_fd, 1, 500000, 777);
        DP(shutdown(shared_fd, SHUT_WR));
    }
    dp_sync("end");
    dp_close(shared_fd);
}

static _Atomic char got_byte[2];

static void one_byte(void *argument) {
    char byte = 0;
    dp_about_to_block();
    if (recv(shared_fd, &byte, 1, 0) != 1) dp_log("no byte");
    got_byte[(uintptr_t)argument] = byte;
}

DP_CASE(threads, two_sleepers_one_byte_each) {
    shared_fd = dp_pair(0);
    if (dp_server) {
        dp_worker sleepers[2];
        for (uintptr_t i = 0; i < 2; i++) dp_start(&sleepers[i], "sleeper", one_byte, (void *)i);
        for (int i = 0; i < 2; i++) dp_until_blocked(&sleepers[i]);
        dp_sync("asleep");
        for (int i = 0; i < 2; i++) dp_join(&sleepers[i]);
        dp_log("together %d", got_byte[0] + got_byte[1]);
        dp_sync("got");
    } else {
        dp_sync("asleep");
        dp_say(shared_fd, "\001");
        dp_settle_out(shared_fd);
        dp_say(shared_fd, "\002");
        dp_sync("got");
    }
    dp_close(shared_fd);
}

DP_CASE(threads, dontwait_beside_a_sleeper) {
    shared_fd = dp_pair(0);
    if (dp_server) {
        dp_worker w;
        dp_start(&w, "sleeper", recv_body, NULL);
        dp_until_blocked(&w);
        dp_recv(shared_fd, 10, MSG_DONTWAIT);
        dp_send(shared_fd, "while you sleep", 15, 0);
        dp_join(&w);
    } else {
        dp_recv(shared_fd, 100, 0);
        dp_say(shared_fd, "wake");
    }
    dp_sync("end");
    dp_close(shared_fd);
}

static void send_body(void *argument) {
    (void)argument;
    char data[5000] = "";
    dp_about_to_block();
    DP(send(shared_fd, data, sizeof data, MSG_NOSIGNAL));
}

DP_CASE(threads, dontwait_send_beside_a_blocked_one) {
    shared_fd = dp_pair(0);
    if (dp_server) {
        dp_worker w;
        size_t sent = dp_stuff(shared_fd, 1, 4000, 0);
        dp_start(&w, "writer", send_body, NULL);
        dp_until_blocked(&w);
        dp_send(shared_fd, "x", 1, MSG_DONTWAIT);
        dp_tell_sent(sent);
        dp_join(&w);
    } else {
        dp_drain(shared_fd, 1);
        char data[5000];
        DP(recv(shared_fd, data, sizeof data, MSG_WAITALL));
    }
    dp_sync("end");
    dp_close(shared_fd);
}

DP_CASE(threads, close_under_a_reader) {
    shared_fd = dp_pair(0);
    if (dp_server) {
        dp_worker w;
        dp_start(&w, "reader", recv_body, NULL);
        dp_until_blocked(&w);
        dp_close(shared_fd);
        dp_recv(shared_fd, 1, 0);
        dp_tell("closed");
        dp_join(&w);
    } else {
        dp_hear("closed");
        dp_say(shared_fd, "the call goes on");
        dp_recv(shared_fd, 10, 0);  // now nobody holds the other end
        dp_close(shared_fd);
    }
    dp_sync("end");
}

DP_CASE(threads, number_reused_under_a_reader) {
    shared_fd = dp_pair(0);
    int second = dp_pair(0), number = shared_fd;
    if (dp_server) {
        dp_worker w;
        dp_start(&w, "reader", recv_body, NULL);
        dp_until_blocked(&w);
        DP(dup2(second, number) == number);
        dp_sync("replaced");
        dp_recv(number, 100, 0);
        dp_sync("read the second");
        dp_join(&w);
        dp_close(number);
    } else {
        dp_sync("replaced");
        dp_say(second, "to the second");
        dp_sync("read the second");
        dp_say(shared_fd, "to the first");
        dp_recv(shared_fd, 10, 0);
        dp_close(shared_fd);
    }
    dp_sync("end");
    dp_close(second);
}

static void recv_twice_body(void *unused) {
    (void)unused;
    dp_about_to_block();
    dp_recv(shared_fd, 13, MSG_WAITALL);
    dp_about_to_block();
    dp_recv(shared_fd, 100, 0);
}

DP_CASE(threads, high_numbers_are_the_programs) {
    // Libraries like high numbers for themselves: to the program they are free, at any moment.
    shared_fd = dp_pair(0);
    int polled = dp_pair(0), set = DP_MUST(epoll_create1(EPOLL_CLOEXEC));
    if (dp_server) {
        dp_worker w;
        int silent[2];
        DP_MUST(pipe(silent));
        dp_watch(set, EPOLL_CTL_ADD, polled, EPOLLIN, 'p');
        dp_start(&w, "reader", recv_twice_body, NULL);
        dp_until_blocked(&w);
        dp_epoll(set, 4, 20);
        int made = 0;
        for (int fd = 3000; fd < 3200; fd++) made += dup2(silent[0], fd) == fd;
        dp_log("they are had, or not one is: %d", made == 200 || made == 0);
        dp_tell("taken");
        dp_epoll(set, 4, -1);
        dp_recv(polled, 100, 0);
        dp_until_blocked(&w);
        dp_tell("asleep again");
        dp_join(&w);
        dp_say(polled, "back");
        int closed = 0;
        for (int fd = 3000; fd < 3200; fd++) closed += close(fd) == 0;
        dp_log("and closed: %d", closed == made);
        dp_tell("closed");
        dp_epoll(set, 4, -1);
        dp_recv(polled, 100, 0);
    } else {
        dp_hear("taken");
        dp_say(polled, "to the set");
        dp_say(shared_fd, "to the reader");
        dp_hear("asleep again");
        dp_say(shared_fd, "to it again");
        dp_recv(polled, 100, 0);
        dp_hear("closed");
        dp_say(polled, "once more");
    }
    int late = dp_pair(0);
    if (dp_server) dp_say(late, "a new one");
    else dp_recv(late, 100, 0);
    dp_sync("end");
    dp_close(late);
    DP(close(set));
    dp_close(polled);
    dp_close(shared_fd);
}

static void shut_under_reader(int how) {
    shared_fd = dp_pair(0);
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

DP_CASE(threads, shutdown_read_wakes_the_reader) { shut_under_reader(SHUT_RD); }
DP_CASE(threads, shutdown_both_wakes_the_reader) { shut_under_reader(SHUT_RDWR); }

DP_CASE(threads, shutdown_write_wakes_the_writer) {
    shared_fd = dp_pair(0);
    if (dp_server) {
        dp_worker w;
        dp_stuff(shared_fd, 1, 4000, 0);
        dp_start(&w, "writer", send_body, NULL);
        dp_until_blocked(&w);
        DP(shutdown(shared_fd, SHUT_WR));
        dp_join(&w);
    }
    dp_sync("end");
    dp_close(shared_fd);
}

static void pass_on(void *argument) {
    dp_gate *gates = argument;
    for (int i = 0; i < 50; i++) {
        dp_gate_wait(&gates[1]);
        dp_recv(shared_fd, 10, 0);
        dp_say(shared_fd, "thread");
        dp_gate_open(&gates[0]);
    }
}

DP_CASE(threads, two_threads_take_turns) {
    shared_fd = dp_pair(0);
    if (dp_server) {
        dp_gate gates[2] = {dp_gate_make(), dp_gate_make()};
        dp_worker w;
        dp_start(&w, "thread", pass_on, gates);
        for (int i = 0; i < 50; i++) {
            dp_recv(shared_fd, 10, 0);
            dp_say(shared_fd, "main");
            dp_gate_open(&gates[1]);
            dp_gate_wait(&gates[0]);
        }
        dp_join(&w);
    } else {
        for (int i = 0; i < 100; i++) {
            dp_say(shared_fd, "turn");
            dp_recv(shared_fd, 10, 0);
        }
    }
    dp_sync("end");
    dp_close(shared_fd);
}

static void echo_body(void *argument) {
    int fd = *(int *)argument;
    char buffer[512];
    for (ssize_t got; (got = recv(fd, buffer, sizeof buffer, 0)) > 0;)
        if (send(fd, buffer, got, 0) != got) dp_log("echo broke");
}

DP_CASE(threads, both_ends_in_one_process, .solo = true) {
    int fds[2];
    dp_pair_solo(fds, 0);
    dp_worker w;
    dp_start(&w, "echo", echo_body, &fds[1]);
    for (int i = 0; i < 300; i++) {
        char out[200], in[200];
        dp_fill(out, sizeof out, i, 0);
        if (send(fds[0], out, sizeof out, 0) != sizeof out || recv(fds[0], in, sizeof in, MSG_WAITALL) != sizeof in) dp_log("round %d: short", i);
        if (memcmp(in, out, sizeof in)) dp_log("round %d: wrong", i);
    }
    DP(shutdown(fds[0], SHUT_WR));
    dp_join(&w);
    dp_recv(fds[0], 10, MSG_DONTWAIT);
    dp_close(fds[0]);
    dp_close(fds[1]);
}

static void client_of_many(void *argument) {
    int fd = *(int *)argument;
    for (unsigned i = 0; i < 200; i++) {
        char out[64], in[64];
        dp_fill(out, sizeof out, i, 0);
        if (send(fd, out, sizeof out, 0) != sizeof out || recv(fd, in, sizeof in, MSG_WAITALL) != sizeof in || memcmp(in, out, sizeof in))
            dp_fail("round %u went wrong", i);
    }
    shutdown(fd, SHUT_WR);
}

DP_CASE(threads, many_threads_with_own_sockets) {
    enum { MANY = 6 };
    int fds[MANY];
    dp_worker workers[MANY];
    for (int i = 0; i < MANY; i++) fds[i] = dp_pair(0);
    for (int i = 0; i < MANY; i++) dp_start(&workers[i], "worker", dp_server ? echo_body : client_of_many, &fds[i]);
    for (int i = 0; i < MANY; i++) dp_join(&workers[i]);
    dp_log("done");
    dp_sync("end");
    for (int i = 0; i < MANY; i++) dp_close(fds[i]);
}
