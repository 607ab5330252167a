// Non-blocking calls: EAGAIN, connects in progress, full buffers, O_NONBLOCK set in every way.
#include "harness.h"

DP_CASE(nonblocking, nothing_there) {
    int fd = dp_pair(DP_NONBLOCK);
    dp_recv(fd, 10, 0);
    dp_read(fd, 10);
    dp_recv(fd, 10, MSG_PEEK);
    dp_recv(fd, 10, MSG_WAITALL);
    struct iovec part = {(char[4]){0}, 4};
    DP(readv(fd, &part, 1));
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    DP(recvmsg(fd, &message, 0));
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(nonblocking, dontwait_on_blocking) {
    int fd = dp_pair(0);
    if (dp_server) {
        dp_recv(fd, 10, MSG_DONTWAIT);
        dp_tell("now");
        dp_settle(fd, 4);
        dp_recv(fd, 10, MSG_DONTWAIT);
        dp_recv(fd, 10, MSG_DONTWAIT);
    } else {
        dp_hear("now");
        dp_send(fd, "data", 4, MSG_DONTWAIT);
    }
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(nonblocking, waitall_returns_what_is_there) {
    int fd = dp_pair(DP_NONBLOCK);
    if (dp_server) {
        dp_settle(fd, 4);
        dp_recv(fd, 10, MSG_WAITALL);
        dp_recv(fd, 10, MSG_WAITALL);
    } else {
        dp_say(fd, "part");
    }
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(nonblocking, fcntl_switches) {
    int fd = dp_pair(0);
    if (dp_server) {
        dp_log("O_NONBLOCK %s", fcntl(fd, F_GETFL) & O_NONBLOCK ? "on" : "off");
        dp_nonblocking(fd, true);
        dp_log("O_NONBLOCK %s", fcntl(fd, F_GETFL) & O_NONBLOCK ? "on" : "off");
        dp_recv(fd, 10, 0);
        dp_nonblocking(fd, false);
        dp_log("O_NONBLOCK %s", fcntl(fd, F_GETFL) & O_NONBLOCK ? "on" : "off");
        dp_tell("blocks");
        dp_recv(fd, 10, 0);
    } else {
        dp_until_peer_blocked("blocks");
        dp_say(fd, "after");
    }
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(nonblocking, fionbio_switches) {
    int fd = dp_pair(0);
    int on = 1, off = 0;
    if (dp_server) {
        DP(ioctl(fd, FIONBIO, &on));
        dp_log("O_NONBLOCK %s", fcntl(fd, F_GETFL) & O_NONBLOCK ? "on" : "off");
        dp_recv(fd, 10, 0);
        DP(ioctl(fd, FIONBIO, &off));
        dp_log("O_NONBLOCK %s", fcntl(fd, F_GETFL) & O_NONBLOCK ? "on" : "off");
        dp_tell("blocks");
        dp_recv(fd, 10, 0);
    } else {
        dp_until_peer_blocked("blocks");
        dp_say(fd, "after");
    }
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(nonblocking, full_then_drained) {
    int fd = dp_pair(DP_NONBLOCK);
    if (dp_server) {
        dp_drain(fd, 6);
        dp_recv(fd, 10, 0);
    } else {
        dp_poll(fd, POLLOUT, 0);
        size_t sent = dp_stuff(fd, 6, 5000, 0);
        dp_poll(fd, POLLOUT, 0);
        dp_send(fd, "x", 1, 0);
        dp_tell_sent(sent);
        dp_settle_for(fd, POLLOUT);
        dp_settle_out(fd);
        dp_poll(fd, POLLOUT, 0);
    }
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(nonblocking, full_in_both_directions) {
    int fd = dp_pair(DP_NONBLOCK);
    size_t sent = dp_stuff(fd, dp_server ? 7 : 8, 3000, 0);
    dp_sync("both full");
    dp_poll(fd, POLLOUT | POLLIN, 0);
    dp_tell_sent(sent);
    dp_drain(fd, dp_server ? 8 : 7);
    dp_sync("drained");
    dp_settle_out(fd);
    dp_poll(fd, POLLOUT | POLLIN, 0);
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(nonblocking, partial_write) {
    int fd = dp_pair(DP_NONBLOCK);
    size_t piece = 64 << 20;
    if (dp_server) {
        dp_drain(fd, 9);
    } else {
        char *data = malloc(piece);
        dp_fill(data, piece, 9, 0);
        ssize_t sent = send(fd, data, piece, 0);
        dp_log("%s", sent > 0 && (size_t)sent < piece ? "a part was sent" : "not a part");
        free(data);
        dp_tell_sent(sent > 0 ? sent : 0);
    }
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(nonblocking, connect_in_progress, .kernel = "no bytes") {
    if (dp_server) {
        int listener = dp_listen("127.0.0.1", 0);
        int fd = dp_accept(listener, 0);
        dp_sync("connected");
        dp_close(fd);
        return;
    }
    uint16_t port = dp_hear_port();
    int fd = dp_socket_for("127.0.0.1", DP_NONBLOCK);
    struct sockaddr_storage to;
    socklen_t length = dp_address("127.0.0.1", port, &to);
    DP(connect(fd, (struct sockaddr *)&to, length));
    dp_settle_for(fd, POLLOUT);
    dp_poll(fd, POLLOUT | POLLIN, 0);
    dp_socket_error(fd);
    DP(connect(fd, (struct sockaddr *)&to, length));
    DP(connect(fd, (struct sockaddr *)&to, length));
    dp_sync("connected");
    dp_close(fd);
}

DP_CASE(nonblocking, connect_refused, .solo = true, .kernel = "no connection") {
    int listener = dp_socket_for("127.0.0.1", 0);
    struct sockaddr_storage at;
    socklen_t length = dp_address("127.0.0.1", 0, &at);
    DP_MUST(bind(listener, (struct sockaddr *)&at, length));  // bound, but not listening
    length = dp_address("127.0.0.1", dp_port_of(listener), &at);
    int fd = dp_socket_for("127.0.0.1", DP_NONBLOCK);
    DP(connect(fd, (struct sockaddr *)&at, length));
    dp_poll(fd, POLLOUT | POLLIN, 5000);
    dp_socket_error(fd);
    dp_socket_error(fd);
    dp_send(fd, "x", 1, MSG_NOSIGNAL);
    dp_recv(fd, 1, 0);
    dp_close(fd);
    dp_close(listener);
}

DP_CASE(nonblocking, accept_empty, .solo = true, .kernel = "no connection") {
    int listener = dp_socket_for("127.0.0.1", DP_NONBLOCK);
    struct sockaddr_storage at;
    socklen_t length = dp_address("127.0.0.1", 0, &at);
    DP(bind(listener, (struct sockaddr *)&at, length));
    DP(listen(listener, 5));
    DP(accept(listener, NULL, NULL));
    DP(accept4(listener, NULL, NULL, SOCK_NONBLOCK));
    dp_poll(listener, POLLIN, 0);
    dp_close(listener);
}

DP_CASE(nonblocking, accept4_flags) {
    if (!dp_server) {
        int first = dp_dial("127.0.0.1", 0), second = dp_dial("127.0.0.1", 0);
        dp_warm(first);
        dp_warm(second);
        dp_sync("end");
        dp_close(first);
        dp_close(second);
        return;
    }
    int listener = dp_listen("127.0.0.1", 0);
    int first = (int)DP_MUST(accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC));
    int second = (int)DP_MUST(accept4(listener, NULL, NULL, 0));
    dp_warm(first);
    dp_warm(second);
    dp_log("first: %s %s", fcntl(first, F_GETFL) & O_NONBLOCK ? "non-blocking" : "blocking", fcntl(first, F_GETFD) & FD_CLOEXEC ? "cloexec" : "kept");
    dp_log("second: %s %s", fcntl(second, F_GETFL) & O_NONBLOCK ? "non-blocking" : "blocking", fcntl(second, F_GETFD) & FD_CLOEXEC ? "cloexec" : "kept");
    dp_recv(first, 1, 0);
    dp_sync("end");
    dp_close(first);
    dp_close(second);
}

DP_CASE(nonblocking, ping_pong_of_mixed_sizes) {
    int fd = dp_pair(DP_NONBLOCK);
    size_t size = 1;
    for (int round = 0; round < 400; round++) {
        size = (size * 37 + 11) % 20011;
        char *buffer = malloc(size + 1), *expected = malloc(size + 1);
        dp_fill(expected, size, round, 0);
        for (int turn = 0; turn < 2; turn++) {
            bool sending = (turn == 0) != dp_server;
            for (size_t done = 0; done < size;) {
                ssize_t n = sending ? send(fd, expected + done, size - done, 0) : recv(fd, buffer + done, size - done, 0);
                if (n < 0 && errno == EAGAIN) dp_settle_for(fd, sending ? POLLOUT : POLLIN);
                else if (n <= 0) dp_fail("round %d: %s", round, dp_errno_name(errno));
                else done += n;
            }
        }
        if (memcmp(buffer, expected, size) != 0) dp_log("round %d: wrong bytes", round);
        free(buffer);
        free(expected);
    }
    dp_log("400 rounds");
    dp_sync("end");
    dp_close(fd);
}
