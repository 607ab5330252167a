// Cases that a deliberate fault (Tests/Mutants) showed to be missing.
#include "harness.h"

static volatile sig_atomic_t pipes;
static void count_pipe(int number) { (void)number; pipes++; }

DP_CASE(passing, closed_copy_with_unread_data) {
    int fd = dp_pair(0);
    if (dp_server) {
        dp_settle(fd, 9);
        int copy = (int)DP_MUST(dup(fd));
        DP(close(copy));  // no end: another number holds the connection
        dp_recv(fd, 4, 0);
        dp_say(fd, "still here");
        dp_recv(fd, 100, 0);
        dp_recv(fd, 100, 0);
    } else {
        dp_say(fd, "some data");
        dp_recv(fd, 100, 0);
        DP(shutdown(fd, SHUT_WR));
        dp_recv(fd, 100, 0);
    }
    dp_close(fd);
    if (dp_server) dp_tell("end");
    else dp_hear("end");
}

DP_CASE(signals, sigpipe_after_a_kill) {
    int fd = dp_pair(0);
    if (dp_server) {
        dp_settle(fd, 8);
        dp_proof(fd);
        dp_tell("dying");
        kill(getpid(), SIGKILL);
    }
    signal(SIGPIPE, count_pipe);
    dp_say(fd, "question");
    dp_hear("dying");
    dp_settle_for(fd, POLLERR);
    dp_recv(fd, 100, 0);
    dp_say(fd, "x");
    dp_log("%d", pipes);
    dp_send(fd, "x", 1, MSG_NOSIGNAL);
    dp_log("%d", pipes);
    dp_say(fd, "x");
    dp_log("%d", pipes);
    dp_close(fd);
}

DP_CASE(transfer, unread_data_on_many_connections) {
    enum { MANY = 20, SIZE = 3000 };
    int fds[MANY];
    uint8_t data[SIZE], got[SIZE];
    for (int i = 0; i < MANY; i++) fds[i] = dp_pair(0);
    for (int i = 0; i < MANY && !dp_server; i++) {
        dp_fill(data, SIZE, i + 1, 0);
        if (send(fds[i], data, SIZE, 0) != SIZE) dp_fail("send");
    }
    dp_sync("sent on all");
    for (int i = MANY - 1; i >= 0 && dp_server; i--) {
        dp_fill(data, SIZE, i + 1, 0);
        if (recv(fds[i], got, SIZE, MSG_WAITALL) != SIZE || memcmp(got, data, SIZE)) dp_log("connection %d is wrong", i);
    }
    dp_log("%d connections", MANY);
    dp_sync("end");
    for (int i = 0; i < MANY; i++) dp_close(fds[i]);
}
