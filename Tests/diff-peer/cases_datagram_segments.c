// Datagrams that are put together or taken apart on their way: cork, UDP_SEGMENT, UDP_GRO, files, pipes, zero copy.
#include "datagrams.h"
#include <linux/errqueue.h>
#include <netinet/udp.h>
#include <sys/mman.h>
#include <sys/sendfile.h>

DP_DATAGRAM(datagram_segments, more_to_come) {
    int fd = dp_udp_pair(0);
    if (dp_server) {
        dp_sync("corked");
        dp_recv(fd, 100, MSG_DONTWAIT);
        dp_sync("looked");
        for (int i = 0; i < 3; i++) dp_recv(fd, 100, 0);
    } else {
        dp_send(fd, "one ", 4, MSG_MORE);
        dp_send(fd, "two ", 4, MSG_MORE);
        dp_sync("corked");
        dp_sync("looked");
        dp_send(fd, "three", 5, 0);
        dp_send(fd, "alone", 5, 0);
        dp_send(fd, "", 0, MSG_MORE);
        dp_send(fd, "after none", 10, 0);
    }
    dp_sync("end");
    dp_recv(fd, 100, MSG_DONTWAIT);
    dp_close(fd);
}

DP_DATAGRAM(datagram_segments, corked) {
    int fd = dp_udp_pair(0);
    if (!dp_server) {
        dp_set(fd, IPPROTO_UDP, UDP_CORK, 1, "UDP_CORK");
        dp_say(fd, "one, ");
        dp_say(fd, "two, ");
        dp_say(fd, "three");
        dp_sync("corked");
        dp_sync("looked");
        dp_set(fd, IPPROTO_UDP, UDP_CORK, 0, "UDP_CORK");
        dp_say(fd, "loose");
    } else {
        dp_sync("corked");
        dp_recv(fd, 100, MSG_DONTWAIT);
        dp_sync("looked");
        dp_recv(fd, 100, 0);
        dp_recv(fd, 100, 0);
    }
    dp_udp_warm(fd, NULL);
    dp_close(fd);
}

/// A cork is the socket's: its plain datagrams wait for the end of the corked one.
DP_DATAGRAM(datagram_segments, corked_to_the_limit) {
    int fd = dp_udp_pair(0);
    static char data[40000];
    if (!dp_server) {
        dp_set(fd, IPPROTO_UDP, UDP_CORK, 1, "UDP_CORK");
        dp_send(fd, data, sizeof data, 0);
        dp_send(fd, data, sizeof data, 0);
        dp_send(fd, data, 20000, 0);
        dp_set(fd, IPPROTO_UDP, UDP_CORK, 0, "UDP_CORK");
    } else {
        dp_recv(fd, 70000, 0);
    }
    dp_sync("end");
    dp_recv(fd, 70000, MSG_DONTWAIT);
    dp_close(fd);
}

static ssize_t send_segments(int fd, const void *data, size_t length, uint16_t size) {
    union { char bytes[CMSG_SPACE(sizeof size)]; struct cmsghdr align; } control = {{0}};
    struct iovec part = {(void *)data, length};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
    struct cmsghdr *c = CMSG_FIRSTHDR(&message);
    *c = (struct cmsghdr){.cmsg_level = IPPROTO_UDP, .cmsg_type = UDP_SEGMENT, .cmsg_len = CMSG_LEN(sizeof size)};
    memcpy(CMSG_DATA(c), &size, sizeof size);
    return sendmsg(fd, &message, 0);
}

/// One call, many datagrams.
DP_DATAGRAM(datagram_segments, cut_into_segments) {
    int fd = dp_udp_pair(0);
    static char data[4000];
    if (!dp_server) {
        dp_fill(data, sizeof data, 5, 0);
        DP(send_segments(fd, data, 3500, 1000));
        DP(send_segments(fd, data, 300, 300));
        DP(send_segments(fd, data, 200, 300));
        dp_set(fd, IPPROTO_UDP, UDP_SEGMENT, 1200, "UDP_SEGMENT");
        dp_send(fd, data, 2400, 0);
        dp_send(fd, data, 10, 0);
        dp_set(fd, IPPROTO_UDP, UDP_SEGMENT, 0, "UDP_SEGMENT");
        dp_send(fd, data, 2400, 0);
    } else {
        for (int i = 0; i < 4 + 1 + 1 + 2 + 1 + 1; i++) dp_recv(fd, sizeof data, 0);
    }
    dp_udp_warm(fd, NULL);
    dp_recv(fd, 100, MSG_DONTWAIT);
    dp_close(fd);
}

/// The receiver takes them in one piece, with their size beside it.
DP_DATAGRAM(datagram_segments, taken_as_one) {
    int fd = dp_udp_pair(0);
    static char data[4000];
    if (dp_server) dp_set(fd, IPPROTO_UDP, UDP_GRO, 1, "UDP_GRO");
    dp_sync("asked for");
    if (!dp_server) {
        dp_fill(data, sizeof data, 6, 0);
        DP(send_segments(fd, data, 3500, 1000));
        dp_sync("taken");
        dp_send(fd, data, 500, 0);
    } else {
        dp_recv_message(fd, sizeof data, 0);
        dp_sync("taken");
        dp_recv_message(fd, sizeof data, 0);
        dp_set(fd, IPPROTO_UDP, UDP_GRO, 0, "UDP_GRO");
    }
    dp_udp_warm(fd, NULL);
    dp_close(fd);
}

static int file_with(size_t length, unsigned seed) {
    char *data = malloc(length);
    int file = (int)DP_MUST(memfd_create("datagrams", MFD_CLOEXEC));
    dp_fill(data, length, seed, 0);
    if (write(file, data, length) != (ssize_t)length) dp_fail("file");
    free(data);
    return file;
}

DP_DATAGRAM(datagram_segments, sent_from_a_file) {
    int fd = dp_udp_pair(0);
    if (!dp_server) {
        int file = file_with(20000, 7);
        off_t at = 100;
        DP(sendfile(fd, file, &at, 500));
        DP(sendfile(fd, file, &at, 3000));
        DP_MUST(lseek(file, 5000, SEEK_SET));
        DP(sendfile(fd, file, NULL, 9000));
        dp_log("file at %ld", (long)lseek(file, 0, SEEK_CUR));
        DP(sendfile(fd, file, &at, 0));
        dp_say(fd, "from no file");
        DP(close(file));
    } else {
        for (int i = 0; i < 4; i++) dp_recv(fd, 20000, 0);
    }
    dp_udp_warm(fd, NULL);
    dp_recv(fd, 100, MSG_DONTWAIT);
    dp_close(fd);
}

DP_DATAGRAM(datagram_segments, spliced) {
    int fd = dp_udp_pair(0), ends[2];
    DP_MUST(pipe(ends));
    if (!dp_server) {
        DP_MUST(write(ends[1], "through a pipe", 14));
        DP(splice(ends[0], NULL, fd, NULL, 14, 0));
        dp_say(fd, "into a pipe");
        dp_say(fd, "plain");
    } else {
        char data[100];
        dp_recv(fd, 100, 0);
        ssize_t n = DP(splice(fd, NULL, ends[1], NULL, 100, 0));
        if (n > 0 && read(ends[0], data, n) == n) dp_log("%s", dp_bytes(data, n));
        dp_recv(fd, 100, 0);
    }
    dp_udp_warm(fd, NULL);
    DP(close(ends[0]));
    DP(close(ends[1]));
    dp_close(fd);
}

/// MSG_ZEROCOPY: the notice that the memory is free comes by the error queue.
DP_DATAGRAM(datagram_segments, without_a_copy) {
    int fd = dp_udp_pair(0);
    static char data[9000];
    if (!dp_server) {
        dp_fill(data, sizeof data, 8, 0);
        dp_send(fd, data, 100, MSG_ZEROCOPY);  // not asked for: a plain one
        dp_set(fd, SOL_SOCKET, SO_ZEROCOPY, 1, "SO_ZEROCOPY");
        dp_send(fd, data, sizeof data, MSG_ZEROCOPY);
        dp_sync("read");
        dp_settle_for(fd, POLLERR);
        dp_recv_message(fd, 100, MSG_ERRQUEUE);
        dp_recv_message(fd, 100, MSG_ERRQUEUE);
    } else {
        dp_recv(fd, sizeof data, 0);
        dp_recv(fd, sizeof data, 0);
        dp_sync("read");
    }
    dp_udp_warm(fd, NULL);
    dp_close(fd);
}

/// stdio on a socket makes its calls inside libc.
DP_DATAGRAM(datagram_segments, by_stdio) {
    int fd = dp_udp_pair(0);
    if (dp_server) {
        FILE *in = fdopen(dup(fd), "r");
        char line[100] = "";
        for (int i = 0; i < 3; i++) dp_log("%s", fgets(line, sizeof line, in) ? dp_bytes(line, strlen(line)) : "end");
        fclose(in);
    } else {
        FILE *out = fdopen(dup(fd), "w");
        for (int i = 0; i < 3; i++) {
            fprintf(out, "line %d\n", i);
            fflush(out);
        }
        fclose(out);
    }
    dp_sync("end");
    dp_recv(fd, 100, MSG_DONTWAIT);
    dp_close(fd);
}
