// Calls that must fail, and how.
#include "harness.h"
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>

DP_CASE(errors, closed_descriptor, .solo = true, .kernel = "no connection") {
    int fd = dp_socket_for("127.0.0.1", 0);
    struct sockaddr_storage address;
    socklen_t length = dp_address("127.0.0.1", 1, &address);
    struct iovec part = {(char[1]){0}, 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    struct mmsghdr several = {.msg_hdr = message};
    int value = 0;
    DP(close(fd));
    DP(close(fd));
    DP(read(fd, part.iov_base, 1));
    DP(write(fd, "", 1));
    DP(readv(fd, &part, 1));
    DP(writev(fd, &part, 1));
    DP(recv(fd, part.iov_base, 1, 0));
    DP(send(fd, "", 1, 0));
    DP(recvfrom(fd, part.iov_base, 1, 0, NULL, NULL));
    DP(sendto(fd, "", 1, 0, (struct sockaddr *)&address, length));
    DP(recvmsg(fd, &message, 0));
    DP(sendmsg(fd, &message, 0));
    DP(recvmmsg(fd, &several, 1, 0, NULL));
    DP(sendmmsg(fd, &several, 1, 0));
    DP(connect(fd, (struct sockaddr *)&address, length));
    DP(bind(fd, (struct sockaddr *)&address, length));
    DP(listen(fd, 1));
    DP(accept(fd, NULL, NULL));
    DP(accept4(fd, NULL, NULL, 0));
    DP(shutdown(fd, SHUT_RDWR));
    length = sizeof value;
    DP(getsockopt(fd, SOL_SOCKET, SO_ERROR, &value, &length));
    DP(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &value, length));
    DP(getsockname(fd, (struct sockaddr *)&address, &length));
    DP(getpeername(fd, (struct sockaddr *)&address, &length));
    DP(ioctl(fd, FIONREAD, &value));
    DP(fcntl(fd, F_GETFL));
    DP(fcntl(fd, F_SETFL, 0));
    DP(fcntl(fd, F_DUPFD, 0));
    DP(dup(fd));
    DP(dup2(fd, fd));
    DP(dup2(fd, 50));
    DP(dup3(fd, 50, 0));
    DP(sendfile(fd, DP_FD_LOG, NULL, 1));
    dp_poll(fd, POLLIN, 0);
}

DP_CASE(errors, negative_descriptor, .solo = true, .kernel = "no socket") {
    char byte;
    DP(read(-1, &byte, 1));
    DP(recv(-1, &byte, 1, 0));
    DP(send(-1, &byte, 1, 0));
    DP(close(-1));
    DP(close(1 << 30));
    DP(dup2(0, -1));
    DP(dup2(0, 1 << 30));
    DP(shutdown(-1, 0));
    DP(accept(-1, NULL, NULL));
    DP(read(1 << 29, &byte, 1));
    DP(listen(1 << 29, 1));
    dp_poll(-1, POLLIN, 0);
}

DP_CASE(errors, not_a_socket, .solo = true, .kernel = "no socket") {
    int ends[2], value = 0;
    char byte;
    socklen_t length = sizeof value;
    DP_MUST(pipe(ends));
    DP(recv(ends[0], &byte, 1, 0));
    DP(send(ends[1], &byte, 1, 0));
    DP(listen(ends[0], 1));
    DP(accept(ends[0], NULL, NULL));
    DP(shutdown(ends[0], 0));
    DP(getsockopt(ends[0], SOL_SOCKET, SO_ERROR, &value, &length));
    DP(setsockopt(ends[0], SOL_SOCKET, SO_KEEPALIVE, &value, length));
    DP(write(ends[1], "p", 1));
    DP(read(ends[0], &byte, 1));
    DP(close(ends[0]));
    DP(close(ends[1]));
}

DP_CASE(errors, not_connected, .solo = true, .kernel = "no connection") {
    int fd = dp_socket_for("127.0.0.1", 0);
    struct sockaddr_storage address;
    socklen_t length = sizeof address;
    char byte;
    signal(SIGPIPE, SIG_IGN);
    DP(recv(fd, &byte, 1, 0));
    DP(read(fd, &byte, 1));
    DP(send(fd, &byte, 1, 0));
    DP(write(fd, &byte, 1));
    DP(getpeername(fd, (struct sockaddr *)&address, &length));
    DP(shutdown(fd, SHUT_WR));
    DP(shutdown(fd, SHUT_RD));
    DP(accept(fd, NULL, NULL));
    dp_poll(fd, POLLIN | POLLOUT | POLLRDHUP, 0);
    int available = 0;
    DP(ioctl(fd, FIONREAD, &available));
    dp_close(fd);
}

DP_CASE(errors, on_a_listener, .solo = true, .kernel = "no connection") {
    int fd = dp_socket_for("127.0.0.1", 0), available = -1;
    struct sockaddr_storage address;
    socklen_t length = dp_address("127.0.0.1", 0, &address);
    char byte;
    signal(SIGPIPE, SIG_IGN);
    DP(bind(fd, (struct sockaddr *)&address, length));
    DP(bind(fd, (struct sockaddr *)&address, length));
    DP(listen(fd, 1));
    DP(listen(fd, 5));
    DP(recv(fd, &byte, 1, 0));
    DP(send(fd, &byte, 1, 0));
    DP(ioctl(fd, FIONREAD, &available));
    DP(getpeername(fd, (struct sockaddr *)&address, &length));
    length = dp_address("127.0.0.1", dp_port_of(fd), &address);
    DP(connect(fd, (struct sockaddr *)&address, length));
    dp_option(fd, SOL_SOCKET, SO_ACCEPTCONN, "SO_ACCEPTCONN");
    DP(shutdown(fd, SHUT_WR));
    DP(shutdown(fd, SHUT_RD));
    DP(accept(fd, NULL, NULL));
    dp_close(fd);
}

DP_CASE(errors, connected_twice) {
    int fd = dp_pair(0);
    struct sockaddr_storage address;
    socklen_t length = dp_address("127.0.0.1", 9, &address);
    DP(connect(fd, (struct sockaddr *)&address, length));
    DP(bind(fd, (struct sockaddr *)&address, length));
    DP(listen(fd, 1));
    DP(accept(fd, NULL, NULL));
    if (dp_server) dp_recv(fd, 10, 0);
    else dp_say(fd, "fine");
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(errors, connect_refused, .solo = true, .kernel = "no connection") {
    int bound = dp_socket_for("127.0.0.1", 0), fd = dp_socket_for("127.0.0.1", 0);
    struct sockaddr_storage address;
    socklen_t length = dp_address("127.0.0.1", 0, &address);
    DP_MUST(bind(bound, (struct sockaddr *)&address, length));
    length = dp_address("127.0.0.1", dp_port_of(bound), &address);
    DP(connect(fd, (struct sockaddr *)&address, length));
    dp_socket_error(fd);
    dp_poll(fd, POLLIN | POLLOUT, 0);
    DP(connect(fd, (struct sockaddr *)&address, length));
    DP(listen(bound, 1));
    DP(connect(fd, (struct sockaddr *)&address, length));  // the same socket may try again
    dp_say(fd, "x");
    dp_close(fd);
    dp_close(bound);
}

DP_CASE(errors, bad_addresses, .solo = true, .kernel = "no connection") {
    int fd = dp_socket_for("127.0.0.1", 0), other = dp_socket_for("127.0.0.1", 0);
    struct sockaddr_storage address;
    socklen_t length = dp_address("192.0.2.77", 0, &address);
    DP(bind(fd, (struct sockaddr *)&address, length));
    length = dp_address("127.0.0.1", 0, &address);
    DP(bind(fd, (struct sockaddr *)&address, 4));
    address.ss_family = AF_UNIX;
    DP(bind(fd, (struct sockaddr *)&address, length));
    DP(connect(fd, (struct sockaddr *)&address, length));
    address.ss_family = AF_INET;
    DP(connect(fd, (struct sockaddr *)&address, 3));
    DP(bind(fd, (struct sockaddr *)&address, length));
    length = dp_address("127.0.0.1", dp_port_of(fd), &address);
    DP(bind(other, (struct sockaddr *)&address, length));
    length = dp_address("::1", 1, &address);
    DP(connect(other, (struct sockaddr *)&address, length));
    dp_close(fd);
    dp_close(other);
}

DP_CASE(errors, disconnect_by_unspec) {
    int fd = dp_pair(0);
    if (dp_server) {
        dp_recv(fd, 10, 0);
        dp_recv(fd, 10, 0);
        dp_close(fd);
    } else {
        struct sockaddr_storage nobody = {.ss_family = AF_UNSPEC};
        dp_proof(fd);
        DP(connect(fd, (struct sockaddr *)&nobody, sizeof nobody));
        dp_recv(fd, 10, 0);
        dp_send(fd, "x", 1, MSG_NOSIGNAL);
        dp_poll(fd, POLLIN | POLLOUT, 0);
        dp_close(fd);
    }
    dp_sync("end");
}

DP_CASE(errors, bad_shutdown) {
    int fd = dp_pair(0);
    DP(shutdown(fd, 3));
    DP(shutdown(fd, -1));
    if (dp_server) dp_recv(fd, 10, 0);
    else dp_say(fd, "open");
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(errors, not_a_file) {
    int fd = dp_pair(0);
    struct stat status;
    DP(lseek(fd, 0, SEEK_SET));
    DP(ftruncate(fd, 10));
    DP(fsync(fd));
    DP(mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED);
    DP(fstat(fd, &status));
    dp_log("a socket: %d", S_ISSOCK(status.st_mode));
    DP(ioctl(fd, TCGETS, &status));
    DP(ioctl(fd, 0x12345678, &status));
    DP(fcntl(fd, 9999, 0));
    DP(isatty(fd));
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(errors, bad_flags_of_calls) {
    int fd = dp_pair(0);
    if (dp_server) {
        dp_recv(fd, 10, MSG_OOB);
        dp_recv(fd, 10, MSG_ERRQUEUE);
        dp_recv(fd, 10, MSG_DONTWAIT | MSG_WAITALL);
        dp_recv(fd, 10, MSG_DONTWAIT | MSG_NOSIGNAL | MSG_EOR | MSG_CONFIRM);
        dp_sync("looked");
        dp_recv(fd, 10, 0x40000);
    } else {
        dp_sync("looked");
        dp_send(fd, "abc", 3, MSG_EOR | MSG_CONFIRM | MSG_DONTROUTE);
    }
    DP(accept4(fd, NULL, NULL, 0x7));
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(errors, bad_sockets, .solo = true, .kernel = "no socket") {
    DP(socket(AF_INET, 77, 0));
    DP(socket(AF_INET, SOCK_STREAM, IPPROTO_UDP));
    DP(socket(999, SOCK_STREAM, 0));
    DP(socket(AF_INET, SOCK_STREAM | 0x100000, 0));
    int fd = (int)DP_SOME(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP));
    dp_log("cloexec %d, O_NONBLOCK %s", fcntl(fd, F_GETFD), fcntl(fd, F_GETFL) & O_NONBLOCK ? "on" : "off");
    dp_close(fd);
}

DP_CASE(errors, descriptors_run_out) {
    int fd = dp_pair(0);
    if (dp_server) {
        int last = -1, error;
        for (int i = 0; i < 30000; i++) {
            int more = socket(AF_INET, SOCK_STREAM, 0);
            if (more < 0) break;
            last = more;
        }
        error = errno;
        dp_log("%s", dp_errno_name(error));
        DP(dup(fd));
        DP(accept(fd, NULL, NULL));
        dp_recv(fd, 10, 0);
        dp_say(fd, "no room, but served");
        for (int i = last; i > fd; i--) close(i);
    } else {
        dp_say(fd, "hello?");
        dp_recv(fd, 100, 0);
    }
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(errors, error_is_told_once) {
    int fd = dp_pair(0);
    if (dp_server) {
        struct linger reset = {1, 0};
        DP_MUST(setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset));
        dp_close(fd);
        dp_sync("reset");
    } else {
        dp_sync("reset");
        dp_settle_for(fd, POLLERR);
        dp_recv(fd, 10, MSG_PEEK);
        dp_recv(fd, 10, 0);
        dp_recv(fd, 10, 0);
        dp_socket_error(fd);
        dp_send(fd, "x", 1, MSG_NOSIGNAL);
        dp_poll(fd, POLLIN | POLLOUT | POLLRDHUP, 0);
        DP(shutdown(fd, SHUT_RDWR));
        struct sockaddr_storage address;
        socklen_t length = sizeof address;
        DP(getpeername(fd, (struct sockaddr *)&address, &length));
        dp_close(fd);
    }
    dp_sync("end");
}

DP_CASE(errors, reset_told_to_the_sender) {
    int fd = dp_pair(0);
    if (dp_server) {
        struct linger reset = {1, 0};
        DP_MUST(setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset));
        dp_close(fd);
        dp_sync("reset");
    } else {
        dp_sync("reset");
        dp_settle_for(fd, POLLERR);
        dp_send(fd, "x", 1, MSG_NOSIGNAL);
        dp_send(fd, "x", 1, MSG_NOSIGNAL);
        dp_recv(fd, 10, 0);
        dp_close(fd);
    }
    dp_sync("end");
}
