// Socket options: values that are set and read back, and what they do.
#include "harness.h"
#include <linux/sockios.h>

static void set(int fd, int level, int name, int value, const char *text) {
    errno = 0;
    int result = setsockopt(fd, level, name, &value, sizeof value);
    dp_log("set %s to %d: %d %s", text, value, result, result ? dp_errno_name(errno) : "");
    dp_option(fd, level, name, text);
}
#define SET(fd, level, name, value) set(fd, level, name, value, #name)
#define SHOW(fd, level, name) dp_option(fd, level, name, #name)

static void ends_can_talk(int fd) {
    dp_sync("talk");
    if (dp_server) {
        dp_recv(fd, 100, 0);
        dp_say(fd, "and back");
    } else {
        dp_say(fd, "there");
        dp_recv(fd, 100, 0);
    }
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(options, identity) {
    int fd = dp_pair(0);
    SHOW(fd, SOL_SOCKET, SO_TYPE);
    SHOW(fd, SOL_SOCKET, SO_DOMAIN);
    SHOW(fd, SOL_SOCKET, SO_PROTOCOL);
    SHOW(fd, SOL_SOCKET, SO_ACCEPTCONN);
    SHOW(fd, SOL_SOCKET, SO_ERROR);
    ends_can_talk(fd);
}

DP_CASE(options, tcp_values) {
    int fd = dp_pair(0);
    SET(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    SET(fd, IPPROTO_TCP, TCP_NODELAY, 0);
    SET(fd, IPPROTO_TCP, TCP_CORK, 0);
    SET(fd, IPPROTO_TCP, TCP_KEEPIDLE, 33);
    SET(fd, IPPROTO_TCP, TCP_KEEPINTVL, 7);
    SET(fd, IPPROTO_TCP, TCP_KEEPCNT, 4);
    SET(fd, IPPROTO_TCP, TCP_SYNCNT, 3);
    SET(fd, IPPROTO_TCP, TCP_LINGER2, 9);
    SET(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, 5000);
    SET(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, 20000);
    SET(fd, IPPROTO_TCP, TCP_WINDOW_CLAMP, 100000);
    SET(fd, IPPROTO_TCP, TCP_QUICKACK, 1);
    ends_can_talk(fd);
}

DP_CASE(options, socket_values) {
    int fd = dp_pair(0);
    SET(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    SET(fd, SOL_SOCKET, SO_KEEPALIVE, 0);
    SET(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    SET(fd, SOL_SOCKET, SO_PRIORITY, 3);
    SET(fd, SOL_SOCKET, SO_OOBINLINE, 1);
    SET(fd, SOL_SOCKET, SO_DONTROUTE, 1);
    SET(fd, SOL_SOCKET, SO_DONTROUTE, 0);
    SET(fd, SOL_SOCKET, SO_RCVLOWAT, 5);
    SET(fd, SOL_SOCKET, SO_RCVLOWAT, 1);
    SET(fd, SOL_SOCKET, SO_RCVLOWAT, 0);
    SET(fd, SOL_SOCKET, SO_BUSY_POLL, 0);
    SET(fd, IPPROTO_IP, IP_TOS, 16);
    SET(fd, IPPROTO_IP, IP_TTL, 20);
    ends_can_talk(fd);
}

DP_CASE(options, buffer_sizes) {
    int fd = dp_pair(0);
    SET(fd, SOL_SOCKET, SO_SNDBUF, 20000);
    SET(fd, SOL_SOCKET, SO_RCVBUF, 30000);
    SET(fd, SOL_SOCKET, SO_SNDBUF, 1);
    SET(fd, SOL_SOCKET, SO_RCVBUF, 1);
    SET(fd, SOL_SOCKET, SO_SNDBUF, 100000);
    ends_can_talk(fd);
}

DP_CASE(options, linger_value) {
    int fd = dp_pair(0);
    struct linger value = {1, 3}, back = {9, 9};
    socklen_t length = sizeof back;
    DP(getsockopt(fd, SOL_SOCKET, SO_LINGER, &back, &length));
    dp_log("linger %d %d, %u bytes", back.l_onoff, back.l_linger, length);
    DP(setsockopt(fd, SOL_SOCKET, SO_LINGER, &value, sizeof value));
    DP(getsockopt(fd, SOL_SOCKET, SO_LINGER, &back, &length));
    dp_log("linger %d %d", back.l_onoff, back.l_linger);
    DP(setsockopt(fd, SOL_SOCKET, SO_LINGER, &value, 4));
    ends_can_talk(fd);
}

DP_CASE(options, timeouts_read_back) {
    int fd = dp_pair(0);
    struct timeval value = {2, 250000}, back = {9, 9};
    socklen_t length = sizeof back;
    DP(getsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &back, &length));
    dp_log("%ld.%06ld, %u bytes", back.tv_sec, back.tv_usec, length);
    DP(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &value, sizeof value));
    DP(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &value, sizeof value));
    DP(getsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &back, &length));
    dp_log("%ld.%06ld", back.tv_sec, back.tv_usec);
    DP(getsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &back, &length));
    dp_log("%ld.%06ld", back.tv_sec, back.tv_usec);
    value.tv_usec = 2000000;
    DP(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &value, sizeof value));
    value = (struct timeval){-1, 0};
    DP(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &value, sizeof value));
    DP(getsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &back, &length));
    dp_log("%ld.%06ld", back.tv_sec, back.tv_usec);
    dp_recv(fd, 10, 0);  // a negative time: does not wait at all
    value.tv_sec = 0;
    DP(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &value, sizeof value));
    ends_can_talk(fd);
}

DP_CASE(options, bad_lengths_and_names) {
    int fd = dp_pair(0);
    int value = 1;
    char tiny = 0;
    socklen_t length = 1;
    DP(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &value, 1));
    DP(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &value, 2));
    DP(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &value, sizeof value));
    DP(setsockopt(fd, SOL_SOCKET, 9999, &value, sizeof value));
    DP(setsockopt(fd, IPPROTO_TCP, 9999, &value, sizeof value));
    DP(setsockopt(fd, 9999, 1, &value, sizeof value));
    DP(getsockopt(fd, SOL_SOCKET, SO_TYPE, &tiny, &length));
    dp_log("truncated to %u bytes: %d", length, tiny);
    length = sizeof value;
    DP(getsockopt(fd, SOL_SOCKET, 9999, &value, &length));
    DP(getsockopt(fd, 9999, 1, &value, &length));
    length = (socklen_t)-1;
    DP(getsockopt(fd, SOL_SOCKET, SO_TYPE, &value, &length));
    length = 100;
    struct { int first, rest[24]; } room = {7, {7}};
    DP(getsockopt(fd, SOL_SOCKET, SO_TYPE, &room, &length));
    dp_log("%u bytes, next word %d", length, room.rest[0]);
    DP(setsockopt(fd, SOL_SOCKET, SO_TYPE, &value, sizeof value));
    ends_can_talk(fd);
}

DP_CASE(options, receive_low_water_mark) {
    int fd = dp_pair(0);
    if (dp_server) {
        int mark = 10;
        DP(setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &mark, sizeof mark));
        dp_tell("go");
        dp_hear("five");
        dp_settle(fd, 5);
        dp_poll(fd, POLLIN, 0);
        dp_recv(fd, 100, MSG_DONTWAIT | MSG_PEEK);
        dp_tell("blocks");
        dp_recv(fd, 100, 0);  // wants ten
        dp_tell("more");
        dp_settle(fd, 3);
        dp_recv(fd, 3, 0);    // asks for less than the mark
        dp_tell("last");
        dp_recv(fd, 100, 0);  // the end counts too
    } else {
        dp_hear("go");
        dp_say(fd, "12345");
        dp_tell("five");
        dp_until_peer_blocked("blocks");
        dp_say(fd, "67890ABCDE");  // five alone would not wake it: the kernel counts from what the call has taken
        dp_hear("more");
        dp_say(fd, "abc");
        dp_hear("last");
        dp_say(fd, "end");
        DP(shutdown(fd, SHUT_WR));
    }
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(options, low_water_mark_in_epoll) {
    int fd = dp_pair(0);
    if (dp_server) {
        int mark = 8, set = epoll_create1(0);
        DP(setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &mark, sizeof mark));
        dp_watch(set, EPOLL_CTL_ADD, fd, EPOLLIN, 'a');
        dp_sync("set");
        dp_hear("four");
        dp_settle(fd, 4);
        dp_epoll(set, 8, 0);
        dp_tell("more");
        dp_epoll(set, 8, 10000);
        dp_recv(fd, 100, 0);
        DP(close(set));
    } else {
        dp_sync("set");
        dp_say(fd, "four");
        dp_tell("four");
        dp_hear("more");
        dp_say(fd, "more");
    }
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(options, fionread) {
    int fd = dp_pair(0);
    if (dp_server) {
        dp_available(fd);
        dp_tell("go");
        dp_settle(fd, 11);
        dp_available(fd);
        int other = -1;
        DP(ioctl(fd, SIOCINQ, &other));
        dp_log("SIOCINQ %d", other);
        dp_recv(fd, 4, 0);
        dp_available(fd);
        dp_recv(fd, 4, MSG_PEEK);
        dp_available(fd);
        dp_recv(fd, 100, 0);
        dp_available(fd);
        dp_tell("close");
        dp_settle_for(fd, POLLRDHUP);
        dp_available(fd);
    } else {
        dp_hear("go");
        dp_say(fd, "eleven char");
        dp_hear("close");
        dp_close(fd);
    }
    dp_sync("end");
    if (dp_server) dp_close(fd);
}

DP_CASE(options, unsent_and_unacknowledged) {
    int fd = dp_pair(0);
    int queued = -1;
    if (dp_server) {
        dp_settle(fd, 1000);
        dp_sync("arrived");
        dp_sync("asked");
        dp_get(fd, 1, 1000, 1000);
    } else {
        dp_put(fd, 1, 1000, 1000);
        dp_sync("arrived");
        dp_settle_out(fd);
        DP(ioctl(fd, SIOCOUTQ, &queued));
        dp_log("SIOCOUTQ %d", queued);
        DP(ioctl(fd, SIOCOUTQNSD, &queued));
        dp_log("SIOCOUTQNSD %d", queued);
        dp_sync("asked");
    }
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(options, outq_when_full) {
    int fd = dp_pair(0);
    if (dp_server) {
        dp_drain(fd, 1);
    } else {
        size_t sent = dp_stuff(fd, 1, 8000, 0);
        int queued = -1;
        DP(ioctl(fd, SIOCOUTQ, &queued));
        dp_log("SIOCOUTQ %s", queued > 0 && (size_t)queued <= sent ? "some" : "none");
        dp_tell_sent(sent);
        dp_settle_out(fd);
        DP(ioctl(fd, SIOCOUTQ, &queued));
        dp_log("SIOCOUTQ %d", queued);
    }
    dp_sync("end");
    dp_close(fd);
}
