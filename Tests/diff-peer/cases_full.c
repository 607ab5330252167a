// Ends of a connection whose buffers are full, and of a process that leaves without a word.
#include "harness.h"
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>

/// All that fits is sent, then the send buffer is made smaller than what is under way, and the sender ends.
static void full_and(int (*end)(int fd), const char *name) {
    int fd = dp_pair(0);
    if (dp_server) {
        dp_hear("ended");
        dp_drain(fd, 3);
        dp_recv(fd, 10, 0);
        dp_close(fd);
    } else {
        int small = 4096;
        size_t count = dp_stuff(fd, 3, 65536, 0);
        DP(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof small));
        dp_proof(fd);
        dp_result(name, end(fd));
        dp_tell("ended");
        dp_tell_sent(count);
    }
    dp_sync("end");
}
static int shut(int fd) { return shutdown(fd, SHUT_WR); }
DP_CASE(transfer, full_then_close) { full_and(close, "close"); }
DP_CASE(transfer, full_then_shutdown) { full_and(shut, "shutdown"); }

/// The peer of a process that ends has its bytes, also where stdio reads them, which only the kernel can serve.
static void leaves(void (*way)(int)) {
    int fd = dp_pair(0);
    if (dp_server) {
        dp_settle_for(fd, POLLRDHUP);
        dp_proof(fd);
        FILE *stream = fdopen(fd, "r");
        char line[100] = "";
        for (int i = 0; i < 3; i++) dp_log("fgets: %s", fgets(line, sizeof line, stream) ? line : "end");
        fclose(stream);
    } else {
        dp_say(fd, "farewell\n");
        dp_say(fd, "for ever\n");
        dp_proof(fd);
        way(0);
    }
}
DP_CASE(ends, exit_without_close) { leaves(exit); }
DP_CASE(ends, immediate_exit_without_close) { leaves(_exit); }

DP_CASE(ends, exit_with_unread_data) {
    int fd = dp_pair(0);
    if (dp_server) {
        dp_settle(fd, 6);
        dp_proof(fd);
        _exit(0);
    }
    dp_say(fd, "unread");
    dp_settle_for(fd, POLLERR | POLLHUP);
    dp_recv(fd, 10, 0);
    dp_recv(fd, 10, 0);
    dp_send(fd, "x", 1, MSG_NOSIGNAL);
    dp_close(fd);
}

/// The peer has shut its own sending half and reads nothing: a blocked sender sleeps, and goes on when it reads again.
DP_CASE(blocking, sender_blocks_behind_a_half_close) {
    int fd = dp_pair(0);
    size_t total = 12 << 20;
    if (dp_server) {
        DP(shutdown(fd, SHUT_WR));
        dp_until_peer_blocked("sending");
        dp_get(fd, 1, total, 100000);
    } else {
        dp_settle_for(fd, POLLRDHUP);
        dp_tell("sending");
        dp_put(fd, 1, total, total);
    }
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(ends, sendfile_to_a_killed_peer) {
    int fd = dp_pair(0);
    if (dp_server) {
        dp_hear("kill");
        dp_proof(fd);
        raise(SIGKILL);
    }
    off_t size = 64 << 20;
    int file = memfd_create("zeros", 0);
    DP_MUST(ftruncate(file, size));
    signal(SIGPIPE, SIG_IGN);
    dp_tell("kill");
    ssize_t sent;
    do sent = sendfile(fd, file, NULL, size);
    while (sent > 0);
    dp_log("sendfile: %s", sent == 0 ? "end of file" : errno == EPIPE || errno == ECONNRESET ? "the peer is gone" : dp_errno_name(errno));
    dp_close(fd);
}

static int echo_fd;
static void echo(void *unused) {
    (void)unused;
    char text[16];
    while (recv(echo_fd, text, sizeof text, MSG_WAITALL) == sizeof text)
        if (send(echo_fd, text, sizeof text, 0) != sizeof text) dp_fail("echo");
}
DP_CASE(threads, lanes_open_under_two_threads, .kernel = "each connection is young when it ends") {
    // One thread waits in a call while the other's calls open the lane: no byte is taken by the wrong one.
    int listener = dp_server ? dp_listen("127.0.0.1", 0) : -1;
    uint16_t port = 0;
    (void)port;
    for (int i = 0; i < 60; i++) {
        int fd = dp_server ? dp_accept(listener, 0) : dp_dial("127.0.0.1", 0);
        if (dp_server) {
            dp_worker w;
            echo_fd = fd;
            dp_start(&w, "echo", echo, NULL);
            dp_join(&w);
        } else {
            for (int n = 0; n < 60; n++) {
                char out[16], back[16];
                snprintf(out, sizeof out, "%d of %d", n, i);
                if (send(fd, out, sizeof out, 0) != sizeof out || recv(fd, back, sizeof back, MSG_WAITALL) != sizeof back || memcmp(out, back, sizeof out))
                    dp_fail("message %d of %d", n, i);
            }
        }
        close(fd);
    }
    dp_log("all came");
    dp_sync("end");
}

DP_CASE(messages, sendfile_of_what_is_no_file) {
    // A device, a pipe, a directory, a descriptor that cannot be read: the bytes that move stay in their order.
    int fd = dp_pair(0);
    if (dp_server) {
        dp_hear("sent");
        dp_settle(fd, 4106);
        dp_get(fd, 0, 5, 5);
        dp_recv(fd, 4096, MSG_WAITALL);
        dp_recv(fd, 5, MSG_WAITALL);
    } else {
        int zero = open("/dev/zero", O_RDONLY), folder = open("/", O_RDONLY | O_DIRECTORY), ends[2];
        off_t offset = 0;
        uint8_t first[5];
        DP_MUST(pipe(ends));
        DP_MUST(write(ends[1], "piped", 5));
        dp_fill(first, sizeof first, 0, 0);
        DP_MUST(send(fd, first, sizeof first, 0));
        DP(sendfile(fd, folder, &offset, 100));
        DP(sendfile(fd, ends[0], &offset, 5));
        DP(sendfile(fd, ends[1], &offset, 5));
        DP(sendfile(fd, zero, NULL, 4096));
        dp_say(fd, "after");
        dp_tell("sent");
        close(zero), close(folder), close(ends[0]), close(ends[1]);
    }
    dp_sync("end");
    dp_close(fd);
}

static int shut_and_close(int fd) { return shutdown(fd, SHUT_WR) | close(fd); }
DP_CASE(transfer, full_then_shutdown_and_close) { full_and(shut_and_close, "shutdown and close"); }
