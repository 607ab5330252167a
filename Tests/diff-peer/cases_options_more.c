// Options of listeners, TCP_INFO, and options that the lane does not serve.
#include "harness.h"
#include <linux/errqueue.h>
#include <linux/filter.h>
#include <linux/sockios.h>

static void talk(int fd) {
    dp_sync("talk");
    if (dp_server) {
        dp_recv(fd, 100, 0);
        dp_say(fd, "and back");
    } else {
        dp_say(fd, "there");
        dp_recv(fd, 100, 0);
    }
    dp_sync("end");
}

/// struct tcp_info as the kernel headers have it; the C library's ends before the byte counts.
typedef struct info { uint8_t first[8]; uint32_t words[24]; uint64_t pacing[2], bytes_acked, bytes_received; } info;

static info get_info(int fd) {
    info i;
    memset(&i, 0, sizeof i);
    socklen_t length = sizeof i;
    DP_MUST(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &i, &length));
    if (length != sizeof i) dp_log("TCP_INFO has %u bytes", length);
    return i;
}

/// The same up to the bytes sent.
typedef struct info_long {
    info start;
    uint32_t segs_out, segs_in, notsent_bytes, min_rtt, data_segs_in, data_segs_out;
    uint64_t delivery_rate, busy_time, rwnd_limited, sndbuf_limited;
    uint32_t delivered, delivered_ce;
    uint64_t bytes_sent;
} info_long;

static info_long get_long_info(int fd) {
    info_long i;
    memset(&i, 0, sizeof i);
    socklen_t length = sizeof i;
    DP_MUST(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &i, &length));
    if (length != sizeof i) dp_log("TCP_INFO has %u bytes", length);
    return i;
}

DP_CASE(options, tcp_info_byte_counts) {
    int fd = dp_pair(0);
    dp_settle_out(fd);
    dp_sync("quiet");
    info before = get_info(fd);
    dp_log("state %u, acknowledged %llu, received %llu", before.first[0], (unsigned long long)before.bytes_acked, (unsigned long long)before.bytes_received);
    dp_sync("counted");
    if (dp_server) {
        dp_get(fd, 1, 30000, 30000);
        dp_put(fd, 2, 700, 70);
    } else {
        dp_put(fd, 1, 30000, 1000);
        dp_get(fd, 2, 700, 700);
    }
    dp_sync("moved");
    dp_settle_out(fd);
    dp_sync("quiet");
    info after = get_info(fd);
    dp_log("more: acknowledged %llu, received %llu", (unsigned long long)(after.bytes_acked - before.bytes_acked),
           (unsigned long long)(after.bytes_received - before.bytes_received));
    dp_sync("end");
    dp_close(fd);
}

/// The counts as linux/tcp.h has them, and a count of segments, of which only its growth is told.
static void log_sent(const char *when, const info_long *from, const info_long *to) {
    dp_log("%s: sent %llu, acknowledged %llu, received %llu; segments out %d, in %d, delivered %d", when,
           (unsigned long long)(to->bytes_sent - from->bytes_sent), (unsigned long long)(to->start.bytes_acked - from->start.bytes_acked),
           (unsigned long long)(to->start.bytes_received - from->start.bytes_received), to->data_segs_out > from->data_segs_out,
           to->data_segs_in > from->data_segs_in, to->delivered > from->delivered);
}

DP_CASE(options, tcp_info_bytes_sent_and_unread) {
    int fd = dp_pair(0);
    dp_settle_out(fd);
    dp_sync("quiet");
    info_long before = get_long_info(fd);
    dp_sync("counted");
    if (!dp_server) dp_put(fd, 1, 3000, 300);
    dp_sync("sent");
    if (dp_server) dp_settle(fd, 3000);
    else dp_settle_out(fd);
    dp_sync("arrived");
    info_long arrived = get_long_info(fd);
    log_sent("unread", &before, &arrived);
    if (dp_server) dp_get(fd, 1, 3000, 3000);
    dp_sync("read");
    info_long after = get_long_info(fd);
    log_sent("read", &before, &after);
    dp_sync("told");
    if (dp_server) dp_put(fd, 2, 70, 7);
    else dp_get(fd, 2, 70, 70);
    dp_sync("answered");
    dp_settle_out(fd);
    dp_sync("quiet");
    info_long answered = get_long_info(fd);
    log_sent("answered", &after, &answered);
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(options, tcp_info_states) {
    int fd = dp_pair(0);
    dp_log("state %u", get_info(fd).first[0]);
    dp_sync("first");
    if (dp_server) DP(shutdown(fd, SHUT_WR));
    else dp_recv(fd, 10, 0);
    dp_sync("half");
    dp_log("state %u", get_info(fd).first[0]);
    dp_sync("second");
    if (dp_server) dp_recv(fd, 10, 0);
    else DP(shutdown(fd, SHUT_WR));
    dp_sync("whole");
    dp_settle_for(fd, POLLHUP);
    dp_log("state %u", get_info(fd).first[0]);
    dp_close(fd);
}

DP_CASE(options, tcp_info_short) {
    int fd = dp_pair(0);
    unsigned char state = 0;
    socklen_t length = 1;
    DP(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &state, &length));
    dp_log("state %u, %u bytes", state, length);
    length = 0;
    DP(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &state, &length));
    dp_log("%u bytes", length);
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(options, inherited_from_the_listener) {
    if (!dp_server) {
        dp_hear_port();
        dp_hear("options are set");
        int fd = dp_dial("127.0.0.1", 0);
        dp_warm(fd);
        talk(fd);
        dp_close(fd);
        return;
    }
    int listener = dp_listen("127.0.0.1", 0), mark = 3, on = 1, value;
    struct timeval wait = {7, 0}, back;
    DP(setsockopt(listener, SOL_SOCKET, SO_RCVLOWAT, &mark, sizeof mark));
    DP(setsockopt(listener, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait));
    DP(setsockopt(listener, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on));
    DP(setsockopt(listener, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on));
    dp_nonblocking(listener, true);
    dp_tell("options are set");
    int fd = -1;
    dp_settle_for(listener, POLLIN);
    fd = (int)DP_MUST(accept(listener, NULL, NULL));
    socklen_t length = sizeof back;
    DP_MUST(getsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &back, &length));
    dp_log("timeout %ld", back.tv_sec);
    length = sizeof value;
    dp_option(fd, SOL_SOCKET, SO_RCVLOWAT, "SO_RCVLOWAT");
    dp_option(fd, SOL_SOCKET, SO_KEEPALIVE, "SO_KEEPALIVE");
    dp_option(fd, IPPROTO_TCP, TCP_NODELAY, "TCP_NODELAY");
    dp_log("O_NONBLOCK %s", fcntl(fd, F_GETFL) & O_NONBLOCK ? "on" : "off");
    dp_warm(fd);
    talk(fd);
    dp_close(fd);
    dp_close(listener);
}

DP_CASE(options, inherited_timeout_acts) {
    if (!dp_server) {
        int fd = dp_dial("127.0.0.1", 0);
        dp_warm(fd);
        dp_sync("end");
        dp_close(fd);
        return;
    }
    int listener = dp_listen("127.0.0.1", 0);
    struct timeval wait = {0, 50000}, none = {0, 0};
    int fd = (int)DP_MUST(accept(listener, NULL, NULL));
    dp_warm(fd);
    DP(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait));
    dp_recv(fd, 10, 0);
    DP(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &none, sizeof none));
    dp_recv(fd, 10, MSG_DONTWAIT);
    DP(setsockopt(listener, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait));
    DP(accept(listener, NULL, NULL));
    dp_sync("end");
    dp_close(fd);
    dp_close(listener);
}

DP_CASE(options, cookies) {
    int fd = dp_pair(0);
    uint64_t cookie = 0, copy_cookie = 0, space = 0;
    socklen_t length = sizeof cookie;
    int copy = (int)DP_MUST(dup(fd));
    DP(getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &length));
    DP(getsockopt(copy, SOL_SOCKET, SO_COOKIE, &copy_cookie, &length));
    DP(getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &space, &length));
    dp_log("%s %s", cookie ? "a cookie" : "none", cookie == copy_cookie ? "the same for the copy" : "different for the copy");
    DP(close(copy));
    talk(fd);
    dp_close(fd);
}

DP_CASE(options, filter_on_a_connected_socket) {
    int fd = dp_pair(0);
    struct sock_filter all[] = {BPF_STMT(BPF_RET | BPF_K, 0xffffffff)};
    struct sock_fprog program = {1, all};
    DP(setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program));
    if (dp_server) dp_get(fd, 1, 200000, 5000);
    else dp_put(fd, 1, 200000, 5000);
    talk(fd);
    int nothing = 0;
    DP(setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, &nothing, sizeof nothing));
    dp_close(fd);
}

DP_CASE(options, filter_with_unread_data) {
    int fd = dp_pair(0);
    if (dp_server) {
        struct sock_filter all[] = {BPF_STMT(BPF_RET | BPF_K, 0xffffffff)};
        struct sock_fprog program = {1, all};
        dp_settle(fd, 9);
        dp_recv(fd, 2, 0);
        DP(setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program));
        dp_recv(fd, 100, 0);
    } else {
        dp_say(fd, "queued up");
    }
    talk(fd);
    dp_close(fd);
}

DP_CASE(options, upper_layer_protocol) {
    int fd = dp_pair(0);
    DP(setsockopt(fd, IPPROTO_TCP, TCP_ULP, "nonsense", 8));
    DP_SOME(setsockopt(fd, IPPROTO_TCP, TCP_ULP, "tls", 3));
    talk(fd);
    dp_close(fd);
}

DP_CASE(options, congestion_control) {
    int fd = dp_pair(0);
    char name[16] = "";
    socklen_t length = sizeof name;
    DP(getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, &length));
    dp_log("%s, %u bytes", name, length);
    DP(setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "reno", 4));
    DP(setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "nonsense", 8));
    talk(fd);
    dp_close(fd);
}

DP_CASE(options, peek_offset) {
    int fd = dp_pair(0);
    if (dp_server) {
        int offset = 2;
        dp_settle(fd, 10);
        DP(setsockopt(fd, SOL_SOCKET, SO_PEEK_OFF, &offset, sizeof offset));
        dp_recv(fd, 3, MSG_PEEK);
        dp_recv(fd, 3, MSG_PEEK);
        dp_option(fd, SOL_SOCKET, SO_PEEK_OFF, "SO_PEEK_OFF");
        dp_recv(fd, 4, 0);
        dp_recv(fd, 3, MSG_PEEK);
        offset = -1;
        DP(setsockopt(fd, SOL_SOCKET, SO_PEEK_OFF, &offset, sizeof offset));
        dp_recv(fd, 3, MSG_PEEK);
        dp_recv(fd, 100, 0);
    } else {
        dp_say(fd, "0123456789");
    }
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(options, zero_copy_send) {
    int fd = dp_pair(0);
    static char data[70000];
    if (dp_server) {
        dp_get(fd, 1, sizeof data, 5000);
    } else {
        int on = 1;
        DP(setsockopt(fd, SOL_SOCKET, SO_ZEROCOPY, &on, sizeof on));
        dp_fill(data, sizeof data, 1, 0);
        DP(send(fd, data, sizeof data, MSG_ZEROCOPY));
        dp_settle_for(fd, POLLERR);
        char control[200];
        struct msghdr message = {.msg_control = control, .msg_controllen = sizeof control};
        DP(recvmsg(fd, &message, MSG_ERRQUEUE));
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        struct sock_extended_err *error = header ? (void *)CMSG_DATA(header) : NULL;
        if (error) dp_log("origin %u, from %u to %u", error->ee_origin, error->ee_info, error->ee_data);
    }
    dp_sync("end");
    dp_close(fd);
}

/// One message; whether a time stamp came with it.
static bool stamped(int fd) {
    char text[16], control[100];
    struct iovec part = {text, sizeof text};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    if (recvmsg(fd, &message, 0) != 6 || memcmp(text, "timing", 6) != 0) dp_fail("wrong message");
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (header) dp_log("control: level %d type %d, flags %d", header->cmsg_level, header->cmsg_type, message.msg_flags);
    return header != NULL;
}

DP_CASE(options, receive_timestamps) {
    int fd = dp_pair(0);
    int on = 1;
    DP(setsockopt(fd, SOL_SOCKET, SO_TIMESTAMP, &on, sizeof on));
    // The kernel turns stamping on in the background, so the first messages may come without.
    for (bool found = false; !found;) {
        if (dp_server) {
            dp_tell("send");
            found = stamped(fd);
            dp_tell_data(&found, sizeof found);
        } else {
            dp_hear("send");
            if (send(fd, "timing", 6, 0) != 6) dp_fail("send");
            dp_hear_data(&found, sizeof found);
        }
    }
    talk(fd);
    dp_close(fd);
}

DP_CASE(options, device_binding) {
    int fd = dp_pair(0);
    char name[32] = "";
    socklen_t length = sizeof name;
    DP(setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "lo", 3));
    DP(getsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, name, &length));
    dp_log("%s, %u bytes", name, length);
    talk(fd);
    dp_close(fd);
}
