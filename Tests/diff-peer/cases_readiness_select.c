// select and pselect.
#include "harness.h"

/// Logs select's result and which of the sets still hold each descriptor.
static void log_select(int count, const int *fds, bool in, bool out, bool except, struct timeval *timeout) {
    fd_set sets[3];
    int top = 0;
    for (int i = 0; i < 3; i++) FD_ZERO(&sets[i]);
    for (int i = 0; i < count; i++) {
        if (in) FD_SET(fds[i], &sets[0]);
        if (out) FD_SET(fds[i], &sets[1]);
        if (except) FD_SET(fds[i], &sets[2]);
        if (fds[i] >= top) top = fds[i] + 1;
    }
    errno = 0;
    int ready = select(top, in ? &sets[0] : NULL, out ? &sets[1] : NULL, except ? &sets[2] : NULL, timeout);
    if (ready < 0) {
        dp_log("select = -1 %s", dp_errno_name(errno));
        return;
    }
    dp_log("select = %d%s", ready, errno ? " (errno touched)" : "");
    for (int i = 0; i < count; i++)
        dp_log("  %d: %s%s%s", i, in && FD_ISSET(fds[i], &sets[0]) ? "r" : "", out && FD_ISSET(fds[i], &sets[1]) ? "w" : "",
               except && FD_ISSET(fds[i], &sets[2]) ? "x" : "");
}

DP_CASE(readiness, select_states) {
    int fd = dp_pair(0);
    struct timeval none = {0, 0};
    log_select(1, &fd, true, true, true, &none);
    log_select(1, &fd, true, false, true, &none);
    dp_sync("idle");
    if (dp_server) {
        dp_settle(fd, 4);
        log_select(1, &fd, true, true, true, NULL);
        log_select(1, &fd, true, false, false, NULL);
        dp_recv(fd, 10, 0);
        log_select(1, &fd, true, false, false, &none);
    } else {
        dp_say(fd, "data");
    }
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(readiness, select_waits) {
    int fds[3] = {dp_pair(0), dp_pair(0), -1};
    if (dp_server) {
        int ends[2];
        DP_MUST(pipe(ends));
        fds[2] = ends[0];
        for (int i = 0; i < 2; i++) {
            dp_tell("blocks");
            log_select(3, fds, true, false, false, NULL);
            dp_recv(fds[i], 10, 0);
        }
        DP(write(ends[1], "p", 1));
        log_select(3, fds, true, false, false, NULL);
    } else {
        for (int i = 0; i < 2; i++) {
            dp_until_peer_blocked("blocks");
            dp_say(fds[i], "selected");
        }
    }
    dp_sync("end");
    dp_close(fds[0]);
    dp_close(fds[1]);
}

DP_CASE(readiness, select_times_out) {
    int fd = dp_pair(0);
    struct timeval soon = {0, 20000}, bad = {0, -5}, long_one = {100, 0};
    log_select(1, &fd, true, false, false, &soon);
    dp_log("left %ld.%06ld", (long)soon.tv_sec, (long)soon.tv_usec);
    log_select(1, &fd, true, false, false, &bad);
    log_select(1, &fd, false, true, false, &long_one);
    dp_log("left more than 50: %d", long_one.tv_sec > 50);  // Linux writes back what is left
    struct timespec short_time = {0, 20000000};
    fd_set set;
    FD_ZERO(&set);
    FD_SET(fd, &set);
    DP(pselect(fd + 1, &set, NULL, NULL, &short_time, NULL));
    dp_log("unchanged %ld", short_time.tv_nsec);
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(readiness, select_sees_ends) {
    int fd = dp_pair(0);
    struct timeval none = {0, 0};
    if (dp_server) {
        dp_settle_for(fd, POLLRDHUP);
        log_select(1, &fd, true, true, true, &none);
        dp_recv(fd, 10, 0);
        log_select(1, &fd, true, true, true, &none);
        dp_sync("half");
        dp_settle_for(fd, POLLERR);
        log_select(1, &fd, true, true, true, &none);
        dp_close(fd);
    } else {
        struct linger reset = {1, 0};
        DP(shutdown(fd, SHUT_WR));
        DP_MUST(setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset));
        dp_sync("half");
        dp_close(fd);
    }
    dp_sync("end");
}

DP_CASE(readiness, select_urgent_data) {
    int fd = dp_pair(0);
    if (dp_server) {
        dp_settle_for(fd, POLLPRI);
        log_select(1, &fd, true, false, true, NULL);
        dp_recv(fd, 1, MSG_OOB);
        struct timeval none = {0, 0};
        log_select(1, &fd, true, false, true, &none);
    } else {
        dp_send(fd, "u", 1, MSG_OOB);
    }
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(readiness, select_full_and_drained) {
    int fd = dp_pair(DP_NONBLOCK);
    struct timeval none = {0, 0};
    if (dp_server) {
        size_t sent = dp_stuff(fd, 1, 4000, 0);
        log_select(1, &fd, true, true, false, &none);
        dp_tell_sent(sent);
        log_select(1, &fd, false, true, false, NULL);
    } else {
        dp_drain(fd, 1);
    }
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(readiness, select_bad_arguments) {
    int fd = dp_pair(0);
    fd_set set;
    FD_ZERO(&set);
    FD_SET(fd, &set);
    struct timeval none = {0, 0};
    DP(select(-1, &set, NULL, NULL, &none));
    DP(select(0, &set, NULL, NULL, &none));
    dp_log("untouched %d", FD_ISSET(fd, &set) != 0);
    int copy = (int)DP_MUST(dup(fd));
    FD_SET(copy, &set);
    DP(close(copy));
    DP(select(copy + 1, &set, NULL, NULL, &none));
    DP(select(0, NULL, NULL, NULL, &none));
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(readiness, pselect_waits_for_data) {
    int fd = dp_pair(0);
    if (dp_server) {
        fd_set set;
        FD_ZERO(&set);
        FD_SET(fd, &set);
        struct timespec long_time = {20, 0};
        dp_tell("blocks");
        DP(pselect(fd + 1, &set, NULL, NULL, &long_time, NULL));
        dp_log("readable %d, time unchanged %d", FD_ISSET(fd, &set) != 0, long_time.tv_sec == 20);
        dp_recv(fd, 10, 0);
    } else {
        dp_until_peer_blocked("blocks");
        dp_say(fd, "selected");
    }
    dp_sync("end");
    dp_close(fd);
}
