// Ends with data under way: everything that was sent arrives, or the reset says that it may not have.
#include "harness.h"

DP_CASE(ends, close_right_after_much_data) {
    int fd = dp_pair(0);
    size_t total = 6 << 20;
    if (dp_server) {
        dp_get(fd, 1, SIZE_MAX, 30000);
        dp_recv(fd, 10, 0);
        dp_close(fd);
    } else {
        dp_put(fd, 1, total, 100000);
        dp_close(fd);
    }
    dp_sync("end");
}

DP_CASE(ends, exit_right_after_much_data) {
    int fd = dp_pair(0);
    if (dp_server) {
        dp_get(fd, 1, SIZE_MAX, 30000);
        dp_close(fd);
    } else {
        dp_put(fd, 1, 3 << 20, 100000);  // the process ends with the socket open
    }
}

DP_CASE(ends, raw_exit_right_after_much_data) {
    int fd = dp_pair(0);
    if (dp_server) {
        dp_get(fd, 1, SIZE_MAX, 30000);
        dp_close(fd);
    } else {
        dp_put(fd, 1, 3 << 20, 100000);
        dp_proof(fd);
        _exit(0);
    }
}

DP_CASE(ends, killed_right_after_data) {
    int fd = dp_pair(0);
    if (dp_server) {
        dp_hear("dying");
        dp_settle_for(fd, POLLRDHUP);
        dp_get(fd, 1, SIZE_MAX, 300);
        dp_close(fd);
    } else {
        dp_put(fd, 1, 3000, 1000);
        dp_settle_out(fd);
        dp_proof(fd);
        dp_tell("dying");
        kill(getpid(), SIGKILL);
    }
}

DP_CASE(ends, killed_while_it_reads) {
    int fd = dp_pair(0);
    if (dp_server) {
        dp_until_peer_blocked("blocks");
        DP(kill(dp_peer_pid, SIGKILL));
        dp_recv(fd, 10, 0);
        dp_send(fd, "x", 1, MSG_NOSIGNAL);
        dp_settle_for(fd, POLLERR);
        dp_send(fd, "x", 1, MSG_NOSIGNAL);
        dp_close(fd);
    } else {
        dp_proof(fd);
        dp_tell("blocks");
        dp_recv(fd, 10, 0);
    }
}

DP_CASE(ends, killed_peer_wakes_a_writer) {
    int fd = dp_pair(0);
    if (dp_server) {
        dp_stuff(fd, 1, 4000, 0);
        char data[1000] = "";
        dp_tell("blocks");
        DP(send(fd, data, sizeof data, MSG_NOSIGNAL));
        DP(send(fd, data, sizeof data, MSG_NOSIGNAL));
        dp_recv(fd, 10, 0);
        dp_close(fd);
    } else {
        dp_proof(fd);
        dp_until_peer_blocked("blocks");
        kill(getpid(), SIGKILL);
    }
}

DP_CASE(ends, linger_waits_for_the_reader) {
    int fd = dp_pair(0);
    if (dp_server) {
        dp_drain(fd, 1);
        dp_recv(fd, 10, 0);
        dp_close(fd);
    } else {
        struct linger wait = {1, 30};
        DP(setsockopt(fd, SOL_SOCKET, SO_LINGER, &wait, sizeof wait));
        size_t sent = dp_stuff(fd, 1, 4000, 0);
        dp_tell_sent(sent);
        dp_close(fd);  // returns when all is acknowledged
    }
    dp_sync("end");
}

DP_CASE(ends, linger_zero_throws_away) {
    int fd = dp_pair(0);
    if (dp_server) {
        dp_sync("closed");
        dp_settle_for(fd, POLLERR);
        size_t done = 0;
        char buffer[65536];
        ssize_t got;
        while ((got = recv(fd, buffer, sizeof buffer, 0)) > 0) done += got;
        dp_log("ends with %s", got ? dp_errno_name(errno) : "the end");
        dp_recv(fd, 10, 0);
        dp_close(fd);
    } else {
        struct linger none = {1, 0};
        DP(setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof none));
        dp_stuff(fd, 1, 4000, 0);
        dp_close(fd);
        dp_sync("closed");
    }
    dp_sync("end");
}

DP_CASE(ends, data_then_linger_zero) {
    int fd = dp_pair(0);
    if (dp_server) {
        dp_sync("closed");
        dp_settle_for(fd, POLLERR);
        dp_recv(fd, 100, 0);  // delivered before the reset
        dp_recv(fd, 100, 0);
        dp_recv(fd, 100, 0);
        dp_close(fd);
    } else {
        struct linger none = {1, 0};
        DP(setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof none));
        dp_say(fd, "delivered");
        dp_settle_out(fd);
        dp_close(fd);
        dp_sync("closed");
    }
    dp_sync("end");
}

DP_CASE(ends, linger_zero_after_shutdown) {
    int fd = dp_pair(0);
    if (dp_server) {
        dp_recv(fd, 10, 0);
        dp_sync("closed");
        dp_settle_for(fd, POLLERR);
        dp_poll(fd, POLLIN | POLLOUT | POLLRDHUP, 0);
        dp_recv(fd, 10, 0);
        dp_close(fd);
    } else {
        struct linger none = {1, 0};
        DP(shutdown(fd, SHUT_WR));
        DP(setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof none));
        dp_settle_out(fd);
        dp_close(fd);
        dp_sync("closed");
    }
    dp_sync("end");
}

DP_CASE(ends, shutdown_then_close_with_unread_data) {
    int fd = dp_pair(0);
    if (dp_server) {
        dp_settle(fd, 6);
        DP(shutdown(fd, SHUT_RDWR));
        dp_sync("shut");
        dp_close(fd);
        dp_sync("closed");
    } else {
        dp_say(fd, "unread");
        dp_sync("shut");
        dp_recv(fd, 10, 0);
        dp_sync("closed");
        dp_settle_for(fd, POLLERR);
        dp_recv(fd, 10, 0);
        dp_send(fd, "x", 1, MSG_NOSIGNAL);
        dp_close(fd);
    }
    dp_sync("end");
}

DP_CASE(ends, data_arrives_after_close) {
    int fd = dp_pair(0);
    if (dp_server) {
        dp_say(fd, "farewell");
        dp_close(fd);
        dp_sync("closed");
    } else {
        dp_sync("closed");
        dp_settle_for(fd, POLLRDHUP);
        dp_say(fd, "too late");
        dp_settle_for(fd, POLLERR);
        dp_recv(fd, 100, 0);
        dp_recv(fd, 100, 0);
        dp_recv(fd, 100, 0);
        dp_close(fd);
    }
    dp_sync("end");
}

DP_CASE(ends, both_close_at_once) {
    int fd = dp_pair(0);
    dp_sync("now");
    dp_close(fd);
    dp_sync("end");
}

DP_CASE(ends, half_close_each_way_with_data) {
    int fd = dp_pair(0);
    dp_put(fd, dp_server ? 1 : 2, 3000, 700);
    DP(shutdown(fd, SHUT_WR));
    dp_get(fd, dp_server ? 2 : 1, SIZE_MAX, 1000);
    dp_recv(fd, 10, 0);
    dp_sync("end");
    dp_poll(fd, POLLIN | POLLOUT | POLLRDHUP, 0);
    dp_close(fd);
}

DP_CASE(ends, long_half_open_stream) {
    int fd = dp_pair(0);
    if (dp_server) {
        dp_recv(fd, 10, 0);
        dp_put(fd, 1, 5 << 20, 20000);
        dp_close(fd);
    } else {
        DP(shutdown(fd, SHUT_WR));
        dp_get(fd, 1, SIZE_MAX, 10000);
        dp_close(fd);
    }
    dp_sync("end");
}

DP_CASE(ends, many_short_connections, .kernel = "each lives for one request") {
    if (dp_server) {
        int listener = dp_listen("127.0.0.1", 0);
        for (int i = 0; i < 100; i++) {
            int fd = dp_accept(listener, 0);
            char text[32];
            ssize_t got = recv(fd, text, sizeof text, 0);
            if (got <= 0 || send(fd, text, got, 0) != got) dp_fail("connection %d", i);
            close(fd);
        }
        dp_close(listener);
        dp_log("100 served");
    } else {
        for (int i = 0; i < 100; i++) {
            int fd = dp_dial("127.0.0.1", 0);
            char text[32] = "", back[32] = "";
            int length = snprintf(text, sizeof text, "request %d", i);
            if (send(fd, text, length, 0) != length || recv(fd, back, sizeof back, MSG_WAITALL) != length || strcmp(text, back)) dp_log("connection %d", i);
            close(fd);
        }
        dp_log("100 asked");
    }
    dp_sync("end");
}

DP_CASE(ends, never_accepted, .kernel = "the other end was never given to a program") {
    if (dp_server) {
        int listener = dp_listen("127.0.0.1", 0);
        dp_hear("connected");
        dp_settle_for(listener, POLLIN);
        dp_close(listener);
        dp_tell("closed");
    } else {
        int fd = dp_dial("127.0.0.1", 0);
        dp_say(fd, "nobody reads this");
        dp_tell("connected");
        dp_hear("closed");
        dp_settle_for(fd, POLLERR);
        dp_recv(fd, 10, 0);
        dp_recv(fd, 10, 0);
        dp_close(fd);
    }
}

DP_CASE(ends, data_before_accept) {
    if (dp_server) {
        int listener = dp_listen("127.0.0.1", 0);
        dp_hear("sent and closed");
        int fd = dp_accept(listener, 0);
        dp_settle_for(fd, POLLRDHUP);
        dp_recv(fd, 100, 0);
        dp_recv(fd, 100, 0);
        dp_close(fd);
        fd = dp_accept(listener, 0);
        dp_warm(fd);
        dp_close(fd);
        dp_close(listener);
    } else {
        int fd = dp_dial("127.0.0.1", 0);
        dp_say(fd, "sent before the accept");
        dp_close(fd);
        dp_tell("sent and closed");
        fd = dp_dial("127.0.0.1", 0);
        dp_warm(fd);
        dp_close(fd);
    }
    dp_sync("end");
}
