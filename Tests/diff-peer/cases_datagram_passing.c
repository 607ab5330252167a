// One socket for datagrams that has several numbers, or goes to another process by SCM_RIGHTS.
#include "datagrams.h"

static void pass(int channel, int fd) {
    struct iovec part = {"f", 1};
    union { char bytes[CMSG_SPACE(sizeof(int))]; struct cmsghdr align; } control = {{0}};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
    *CMSG_FIRSTHDR(&message) = (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof fd)};
    memcpy(CMSG_DATA(CMSG_FIRSTHDR(&message)), &fd, sizeof fd);
    DP(sendmsg(channel, &message, 0));
}

static int take(int channel) {
    char byte;
    int fd = -1;
    struct iovec part = {&byte, 1};
    union { char bytes[CMSG_SPACE(sizeof(int))]; struct cmsghdr align; } control;
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
    DP(recvmsg(channel, &message, 0));
    if (!CMSG_FIRSTHDR(&message)) dp_fail("no descriptor came");
    memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof fd);
    return fd;
}

/// The server's socket goes to a process that was there before it, with some datagrams unread.
DP_DATAGRAM(datagram_passing, to_another_process) {
    int channel[2];
    DP_MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, channel));
    pid_t child = dp_server ? dp_fork() : 1;
    if (child == 0) {
        dp_as("child");
        int fd = take(channel[1]);
        for (int i = 0; i < 4; i++) dp_recv(fd, 100, 0);
        dp_say(fd, "from the other process");
        dp_udp_warm(fd, NULL);
        dp_done(0);
    }
    int fd = dp_udp_pair(0);
    for (int i = 0; !dp_server && i < 4; i++) dp_say(fd, "unread");
    dp_sync("sent");
    if (dp_server) {
        pass(channel[0], fd);
        dp_close(fd);
        dp_reap(child, "child");
    } else {
        dp_recv(fd, 100, 0);
        dp_udp_warm(fd, NULL);
        dp_close(fd);
    }
    dp_sync("end");
}

/// The client's own end goes to the server, which then has both ends of the flow in one process.
DP_DATAGRAM(datagram_passing, to_the_peer) {
    int fd = dp_udp_pair(0);
    if (!dp_server) {
        dp_say(fd, "before");
        pass(DP_FD_CHANNEL, fd);
        dp_close(fd);
        dp_tell("closed");
    } else {
        int other = take(DP_FD_CHANNEL);
        dp_hear("closed");
        dp_recv(fd, 100, 0);
        dp_udp_warm_solo(other, fd);
        dp_say(other, "by the passed one");
        dp_recv(fd, 100, 0);
        dp_close(other);
        dp_say(fd, "to nobody");
        dp_settle_for(fd, POLLERR);
        dp_socket_error(fd);
        dp_close(fd);
    }
    dp_sync("end");
}

DP_DATAGRAM(datagram_passing, several_numbers) {
    int fd = dp_udp_pair(0);
    int copies[4] = {dup(fd), fcntl(fd, F_DUPFD, 30), fcntl(fd, F_DUPFD_CLOEXEC, 30), dup3(fd, 45, O_CLOEXEC)};
    for (int i = 0; i < 4; i++) {
        if (dp_server) dp_recv(copies[i], 100, 0);
        else dp_say(copies[3 - i], "by a copy");
    }
    dp_nonblocking(copies[0], true);
    dp_sync("nonblocking");
    dp_recv(fd, 10, 0);
    dp_sync("looked");
    dp_nonblocking(copies[1], false);
    DP(close(fd));
    dp_udp_warm(copies[2], NULL);
    for (int i = 1; i < 4; i++) DP(close(copies[i]));
    if (dp_server) dp_say(copies[0], "by the last one");
    else dp_recv(copies[0], 100, 0);
    dp_sync("end");
    dp_close(copies[0]);
}

/// Another socket is put over the number of a warm one.
DP_DATAGRAM(datagram_passing, number_of_another) {
    int first = dp_udp_pair(0), second = dp_udp_pair(0);
    if (dp_server) {
        dp_proof(first);
        DP(dup2(second, first) == first);  // closes the first socket
        DP(close(second));
        dp_sync("replaced");
        dp_recv(first, 100, 0);
        dp_say(first, "by the second");
    } else {
        dp_sync("replaced");
        dp_say(first, "to nobody");
        dp_settle_for(first, POLLERR);
        dp_socket_error(first);
        dp_say(second, "to the second");
        dp_recv(second, 100, 0);
        dp_close(first);
    }
    dp_udp_warm(dp_server ? first : second, NULL);
    dp_close(dp_server ? first : second);
}
