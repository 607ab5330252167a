// More than one descriptor for a socket: dup, and passing by SCM_RIGHTS to processes with and without the library.
#include "harness.h"

static void pass(int channel, int fd) {
    char byte = 'f';
    struct iovec part = {&byte, 1};
    union { char bytes[CMSG_SPACE(sizeof(int))]; struct cmsghdr align; } control = {{0}};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(header), &fd, sizeof fd);
    DP(sendmsg(channel, &message, 0));
}

static int take(int channel) {
    char byte = 0;
    struct iovec part = {&byte, 1};
    union { char bytes[CMSG_SPACE(sizeof(int))]; struct cmsghdr align; } control;
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
    DP(recvmsg(channel, &message, 0));
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    int fd = -1;
    if (!header || header->cmsg_type != SCM_RIGHTS) dp_fail("no descriptor came");
    memcpy(&fd, CMSG_DATA(header), sizeof fd);
    return fd;
}

DP_CASE(passing, dup_reads_and_writes) {
    int fd = dp_pair(0);
    if (dp_server) {
        int copy = (int)DP_MUST(dup(fd));
        dp_recv(copy, 100, 0);
        dp_say(fd, "by the first");
        DP(close(fd));
        dp_recv(fd, 1, 0);
        dp_recv(copy, 100, 0);
        dp_say(copy, "by the copy");
        dp_close(copy);
    } else {
        dp_say(fd, "one");
        dp_recv(fd, 100, 0);
        dp_say(fd, "two");
        dp_recv(fd, 100, 0);
        dp_recv(fd, 100, 0);
        dp_close(fd);
    }
    dp_sync("end");
}

DP_CASE(passing, dup_shares_status_flags) {
    int fd = dp_pair(0);
    int copy = (int)DP_MUST(dup(fd));
    dp_nonblocking(copy, true);
    dp_log("O_NONBLOCK %s", fcntl(fd, F_GETFL) & O_NONBLOCK ? "on" : "off");
    dp_recv(fd, 1, 0);
    DP(fcntl(copy, F_SETFD, FD_CLOEXEC));
    dp_log("cloexec of the first: %d", fcntl(fd, F_GETFD));
    DP(close(copy));
    dp_recv(fd, 1, 0);
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(passing, every_kind_of_dup) {
    int fd = dp_pair(0);
    if (dp_server) {
        int copies[4] = {dup(fd), fcntl(fd, F_DUPFD, 30), fcntl(fd, F_DUPFD_CLOEXEC, 30), dup3(fd, 45, O_CLOEXEC)};
        dp_log("numbers: %d %d", copies[1] >= 30, copies[3] == 45);
        for (int i = 0; i < 4; i++) {
            dp_log("cloexec %d", fcntl(copies[i], F_GETFD));
            dp_say(copies[i], "copy ");
        }
        for (int i = 0; i < 4; i++) DP(close(copies[i]));
        DP(dup2(fd, fd) == fd);
        DP(dup3(fd, fd, 0));
        dp_say(fd, "original");
    } else {
        dp_settle(fd, 28);
        dp_recv(fd, 100, 0);
    }
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(passing, dup2_replaces_a_connection) {
    int first = dp_pair(0), second = dp_pair(0);
    if (dp_server) {
        dp_proof(first);
        DP(dup2(second, first) == first);  // closes the first connection
        dp_say(first, "on the second");
        DP(close(second));
        dp_recv(first, 100, 0);
        dp_close(first);
    } else {
        dp_recv(first, 100, 0);
        dp_recv(second, 100, 0);
        dp_say(second, "heard");
        dp_close(first);
        dp_close(second);
    }
    dp_sync("end");
}

DP_CASE(passing, dup2_of_another_file_over_a_socket) {
    int fd = dp_pair(0);
    if (dp_server) {
        int ends[2];
        DP_MUST(pipe(ends));
        dp_proof(fd);
        DP(dup2(ends[1], fd) == fd);
        dp_say(fd, "into the pipe");
        dp_read(ends[0], 100);
        dp_send(fd, "x", 1, 0);
        DP(close(fd));
    } else {
        dp_recv(fd, 100, 0);
        dp_close(fd);
    }
    dp_sync("end");
}

DP_CASE(passing, to_itself) {
    int fd = dp_pair(0);
    if (dp_server) {
        int pair[2];
        DP_MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
        pass(pair[0], fd);
        dp_close(fd);
        fd = take(pair[1]);
        dp_recv(fd, 100, 0);
        dp_say(fd, "passed to myself");
    } else {
        dp_say(fd, "first");
        dp_recv(fd, 100, 0);
    }
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(passing, in_flight_with_unread_data) {
    int fd = dp_pair(0);
    if (dp_server) {
        int pair[2];
        DP_MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
        dp_settle(fd, 12);
        dp_recv(fd, 4, 0);
        pass(pair[0], fd);
        dp_close(fd);  // the only reference is in flight now
        fd = take(pair[1]);
        dp_recv(fd, 100, 0);
        dp_tell("more");
        dp_recv(fd, 100, 0);
    } else {
        dp_say(fd, "headand-tail");
        dp_hear("more");
        dp_say(fd, "more");
    }
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(passing, to_a_child) {
    int fd = dp_pair(0);
    if (dp_server) {
        int pair[2];
        DP_MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
        pid_t child = dp_fork();
        if (child == 0) {
            dp_as("child");
            DP(close(fd));
            int passed = take(pair[1]);
            dp_recv(passed, 100, 0);
            dp_say(passed, "from the child");
            dp_done(0);
        }
        pass(pair[0], fd);
        dp_reap(child, "child");
        dp_recv(fd, 100, 0);
        dp_say(fd, "from the parent");
    } else {
        dp_say(fd, "question");
        dp_recv(fd, 100, 0);
        dp_say(fd, "another");
        dp_recv(fd, 100, 0);
    }
    dp_sync("end");
    dp_close(fd);
}

/// The client passes its end of a connection to the server's process, which may run with the library when the client does not.
static void pass_to_other_role(bool unread, bool keep) {
    int fd = dp_pair(0);
    if (dp_server) {
        if (unread) dp_say(fd, "unread at the time");
        dp_sync("go");
        int other = take(DP_FD_CHANNEL);
        if (!unread) dp_say(fd, "to myself");
        dp_settle(other, unread ? 18 : 9);
        dp_recv(other, 100, 0);
        dp_say(other, "and back");
        dp_recv(fd, 100, 0);
        dp_tell("done");
        if (keep) dp_recv(fd, 100, 0);
        dp_close(other);
        dp_hear("finished");
        dp_close(fd);
    } else {
        dp_sync("go");
        if (unread) dp_settle(fd, 18);
        pass(DP_FD_CHANNEL, fd);
        if (!keep) dp_close(fd);
        dp_hear("done");
        if (keep) {
            dp_say(fd, "kept in the client");
            dp_close(fd);
        }
        dp_tell("finished");
    }
}

DP_CASE(passing, to_the_other_process) { pass_to_other_role(false, false); }
DP_CASE(passing, to_the_other_process_unread) { pass_to_other_role(true, false); }
DP_CASE(passing, to_the_other_process_and_kept) { pass_to_other_role(false, true); }
DP_CASE(passing, kept_with_unread_data) { pass_to_other_role(true, true); }

DP_CASE(passing, a_listener) {
    if (dp_server) {
        int fd = dp_listen("127.0.0.1", 0);
        dp_sync("listening");
        int first = dp_accept(fd, 0);
        dp_warm(first);
        dp_recv(first, 100, 0);
        dp_sync("end");
        dp_close(first);
        return;
    }
    dp_hear_port();
    dp_sync("listening");
    int fd = dp_dial("127.0.0.1", 0);
    dp_warm(fd);
    int pair[2];
    DP_MUST(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair));
    int listener = dp_socket_for("127.0.0.1", 0);
    struct sockaddr_storage at;
    socklen_t length = dp_address("127.0.0.1", 0, &at);
    DP_MUST(bind(listener, (struct sockaddr *)&at, length));
    DP_MUST(listen(listener, 1));
    length = dp_address("127.0.0.1", dp_port_of(listener), &at);
    pass(pair[0], listener);
    DP(close(listener));
    listener = take(pair[1]);
    int out = dp_socket_for("127.0.0.1", 0);
    DP(connect(out, (struct sockaddr *)&at, length));
    int in = dp_accept(listener, 0);
    dp_warm_solo(out, in);
    dp_say(out, "through a passed listener");
    dp_recv(in, 100, 0);
    dp_say(fd, "end");
    dp_sync("end");
    dp_close(in);
    dp_close(out);
    dp_close(fd);
}
