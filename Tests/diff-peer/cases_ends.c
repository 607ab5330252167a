// How connections end: half close, shutdown each way, linger, unread data, reset, a killed peer.
#include "harness.h"

static void linger(int fd, int seconds) {
    struct linger value = {1, seconds};
    DP(setsockopt(fd, SOL_SOCKET, SO_LINGER, &value, sizeof value));
}

DP_CASE(ends, half_close) {
    int fd = dp_pair(0);
    if (dp_server) {
        dp_get(fd, 1, SIZE_MAX, 4096);
        dp_recv(fd, 10, 0);
        dp_say(fd, "still heard");
        dp_close(fd);
    } else {
        dp_put(fd, 1, 100000, 3333);
        DP(shutdown(fd, SHUT_WR));
        dp_send(fd, "x", 1, MSG_NOSIGNAL);
        dp_recv(fd, 100, 0);
        dp_recv(fd, 100, 0);
        dp_close(fd);
    }
    dp_sync("end");
}

DP_CASE(ends, close_ends_the_reader) {
    int fd = dp_pair(0);
    if (dp_server) {
        dp_settle_for(fd, POLLRDHUP);
        dp_poll(fd, POLLIN | POLLOUT | POLLRDHUP, 0);
        dp_recv(fd, 100, 0);
        dp_recv(fd, 100, 0);
        dp_recv(fd, 100, 0);
        dp_poll(fd, POLLIN | POLLOUT | POLLRDHUP, 0);
        dp_close(fd);
    } else {
        dp_say(fd, "goodbye");
        dp_close(fd);
    }
    dp_sync("end");
}

DP_CASE(ends, shutdown_read_here) {
    int fd = dp_pair(0);
    if (dp_server) {
        DP(shutdown(fd, SHUT_RD));
        dp_recv(fd, 100, 0);
        dp_poll(fd, POLLIN | POLLOUT | POLLRDHUP, 0);
        dp_tell("shut");
        dp_settle(fd, 5);
        dp_recv(fd, 100, 0);  // Linux still delivers what arrives
        dp_recv(fd, 100, 0);
        dp_say(fd, "reply");
    } else {
        dp_hear("shut");
        dp_say(fd, "after");
        dp_recv(fd, 100, 0);
    }
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(ends, shutdown_read_with_data) {
    int fd = dp_pair(0);
    if (dp_server) {
        dp_settle(fd, 6);
        DP(shutdown(fd, SHUT_RD));
        dp_recv(fd, 3, 0);
        dp_recv(fd, 100, 0);
        dp_recv(fd, 100, 0);
    } else {
        dp_say(fd, "before");
    }
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(ends, shutdown_read_of_a_writer) {
    int fd = dp_pair(DP_NONBLOCK);
    if (dp_server) {
        DP(shutdown(fd, SHUT_RD));
        size_t sent = dp_stuff(fd, 1, 4000, 0);
        dp_poll(fd, POLLIN | POLLRDHUP, 0);
        dp_sync("full");
        dp_tell_sent(sent);
        dp_sync("drained");
        dp_nonblocking(fd, false);
        dp_say(fd, "goes on");
    } else {
        dp_sync("full");
        dp_drain(fd, 1);
        dp_sync("drained");
        dp_nonblocking(fd, false);
        dp_recv(fd, 100, 0);
    }
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(ends, shutdown_both) {
    int fd = dp_pair(0);
    if (dp_server) {
        DP(shutdown(fd, SHUT_RDWR));
        dp_recv(fd, 100, 0);
        dp_send(fd, "x", 1, MSG_NOSIGNAL);
        dp_sync("shut");
        dp_poll(fd, POLLIN | POLLOUT | POLLRDHUP, 0);
    } else {
        dp_recv(fd, 100, 0);
        dp_sync("shut");
        dp_poll(fd, POLLIN | POLLOUT | POLLRDHUP, 0);
    }
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(ends, shutdown_write_twice) {
    int fd = dp_pair(0);
    if (dp_server) {
        DP(shutdown(fd, SHUT_WR));
        DP(shutdown(fd, SHUT_WR));
        dp_sync("half");
        dp_settle_for(fd, POLLHUP);
    } else {
        dp_sync("half");
        dp_recv(fd, 10, 0);
        DP(shutdown(fd, SHUT_WR));
        dp_settle_for(fd, POLLHUP);
    }
    dp_recv(fd, 10, 0);
    dp_poll(fd, POLLIN | POLLOUT | POLLRDHUP, 0);
    DP(shutdown(fd, SHUT_WR));
    DP(shutdown(fd, SHUT_RD));
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(ends, close_with_unread_data) {
    int fd = dp_pair(0);
    if (dp_server) {
        dp_settle(fd, 6);
        dp_close(fd);
        dp_sync("closed");
    } else {
        dp_say(fd, "unread");
        dp_sync("closed");
        dp_settle_for(fd, POLLERR);
        dp_poll(fd, POLLIN | POLLOUT | POLLRDHUP, 0);
        dp_recv(fd, 10, 0);
        dp_recv(fd, 10, 0);
        dp_send(fd, "x", 1, MSG_NOSIGNAL);
        dp_socket_error(fd);
        dp_close(fd);
    }
    dp_sync("end");
}

DP_CASE(ends, reset_after_own_data) {
    int fd = dp_pair(0);
    if (dp_server) {
        dp_settle(fd, 6);
        dp_say(fd, "from the server");
        dp_settle_out(fd);
        dp_sync("sent");
        dp_close(fd);
        dp_sync("closed");
    } else {
        dp_say(fd, "unread");
        dp_sync("sent");
        dp_sync("closed");
        dp_settle_for(fd, POLLERR);
        dp_recv(fd, 100, 0);  // what had arrived is still readable
        dp_recv(fd, 100, 0);
        dp_recv(fd, 100, 0);
        dp_close(fd);
    }
    dp_sync("end");
}

DP_CASE(ends, linger_zero_resets) {
    int fd = dp_pair(0);
    if (dp_server) {
        linger(fd, 0);
        dp_close(fd);
        dp_sync("closed");
    } else {
        dp_sync("closed");
        dp_settle_for(fd, POLLERR);
        dp_poll(fd, POLLIN | POLLOUT | POLLRDHUP, 0);
        dp_socket_error(fd);
        dp_socket_error(fd);
        dp_recv(fd, 10, 0);
        dp_send(fd, "x", 1, MSG_NOSIGNAL);
        dp_close(fd);
    }
    dp_sync("end");
}

DP_CASE(ends, reset_wakes_a_reader) {
    int fd = dp_pair(0);
    if (dp_server) {
        dp_until_peer_blocked("blocks");
        linger(fd, 0);
        dp_close(fd);
    } else {
        dp_tell("blocks");
        dp_recv(fd, 10, 0);
        dp_recv(fd, 10, 0);
        dp_close(fd);
    }
    dp_sync("end");
}

DP_CASE(ends, reset_wakes_a_writer) {
    int fd = dp_pair(0);
    if (dp_server) {
        dp_until_peer_blocked("blocks");
        linger(fd, 0);
        dp_close(fd);
    } else {
        dp_stuff(fd, 1, 4096, 0);
        dp_tell("blocks");
        char data[1000] = "";
        DP(send(fd, data, sizeof data, MSG_NOSIGNAL));
        DP(send(fd, data, sizeof data, MSG_NOSIGNAL));
        dp_recv(fd, 10, 0);
        dp_close(fd);
    }
    dp_sync("end");
}

DP_CASE(ends, write_after_peer_closed) {
    int fd = dp_pair(0);
    if (dp_server) {
        dp_close(fd);
        dp_sync("closed");
    } else {
        dp_sync("closed");
        dp_settle_for(fd, POLLRDHUP);
        dp_send(fd, "one", 3, MSG_NOSIGNAL);  // is answered by a reset
        dp_settle_for(fd, POLLERR);
        dp_send(fd, "two", 3, MSG_NOSIGNAL);
        dp_send(fd, "three", 5, MSG_NOSIGNAL);
        dp_recv(fd, 10, 0);
        dp_close(fd);
    }
    dp_sync("end");
}

DP_CASE(ends, killed_peer_read_all) {
    int fd = dp_pair(0);
    if (dp_server) {
        dp_recv(fd, 100, 0);
        dp_say(fd, "last words");
        dp_settle_out(fd);
        dp_proof(fd);
        dp_tell("dying");
        kill(getpid(), SIGKILL);
    }
    dp_say(fd, "question");
    dp_hear("dying");
    dp_settle_for(fd, POLLRDHUP);
    dp_poll(fd, POLLIN | POLLOUT | POLLRDHUP, 0);
    dp_recv(fd, 100, 0);
    dp_recv(fd, 100, 0);
    dp_close(fd);
}

DP_CASE(ends, killed_peer_unread) {
    int fd = dp_pair(0);
    if (dp_server) {
        dp_settle(fd, 8);
        dp_proof(fd);
        dp_tell("dying");
        kill(getpid(), SIGKILL);
    }
    dp_say(fd, "question");
    dp_hear("dying");
    dp_settle_for(fd, POLLERR);
    dp_poll(fd, POLLIN | POLLOUT | POLLRDHUP, 0);
    dp_recv(fd, 100, 0);
    dp_recv(fd, 100, 0);
    dp_send(fd, "x", 1, MSG_NOSIGNAL);
    dp_close(fd);
}
