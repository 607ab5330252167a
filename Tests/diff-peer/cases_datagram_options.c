// Options that are set on a flow in full run: it goes on with each, and they say what they say on the kernel.
#include "datagrams.h"
#include <linux/filter.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <netinet/udp.h>

static void question(int fd, const char *text) {
    if (dp_server) {
        dp_recv_from(fd, 100, 0);
        dp_say(fd, text);
    } else {
        dp_say(fd, text);
        dp_recv_from(fd, 100, 0);
    }
}

/// Each of these on both sides, and a question after each.
DP_DATAGRAM(datagram_options, set_one_by_one) {
    static const struct { int level, name, value; const char *text; } all[] = {
        {SOL_SOCKET, SO_PRIORITY, 3, "SO_PRIORITY"}, {SOL_SOCKET, SO_PRIORITY, 7, "SO_PRIORITY"}, {SOL_SOCKET, SO_MARK, 9, "SO_MARK"},
        {SOL_SOCKET, SO_SNDBUF, 100000, "SO_SNDBUF"}, {SOL_SOCKET, SO_RCVBUF, 200000, "SO_RCVBUF"},
        {SOL_SOCKET, SO_KEEPALIVE, 1, "SO_KEEPALIVE"}, {SOL_SOCKET, SO_OOBINLINE, 1, "SO_OOBINLINE"},
        {SOL_SOCKET, SO_BROADCAST, 1, "SO_BROADCAST"}, {SOL_SOCKET, SO_DONTROUTE, 1, "SO_DONTROUTE"},
        {SOL_SOCKET, SO_DONTROUTE, 0, "SO_DONTROUTE"}, {SOL_SOCKET, SO_NO_CHECK, 1, "SO_NO_CHECK"}, {SOL_SOCKET, SO_RCVLOWAT, 50, "SO_RCVLOWAT"},
        {SOL_SOCKET, SO_MAX_PACING_RATE, 1 << 30, "SO_MAX_PACING_RATE"}, {IPPROTO_IP, IP_TTL, 9, "IP_TTL"}, {IPPROTO_IP, IP_TTL, 300, "IP_TTL"},
        {IPPROTO_IP, IP_TOS, 0x10, "IP_TOS"}, {IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO, "IP_MTU_DISCOVER"},
        {IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT, "IP_MTU_DISCOVER"}, {IPPROTO_IP, IP_RECVERR, 1, "IP_RECVERR"},
        {IPPROTO_IP, IP_MULTICAST_TTL, 4, "IP_MULTICAST_TTL"}, {IPPROTO_UDP, UDP_CORK, 0, "UDP_CORK"},
        {IPPROTO_TCP, TCP_NODELAY, 1, "TCP_NODELAY"}, {SOL_SOCKET, 9999, 1, "9999"},
    };
    int fd = dp_udp_pair(0);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        dp_set(fd, all[i].level, all[i].name, all[i].value, all[i].text);
        dp_option(fd, all[i].level, all[i].name, all[i].text);
        question(fd, all[i].text);
    }
    dp_sync("end");
    dp_close(fd);
}

DP_DATAGRAM(datagram_options, asked_one_by_one) {
    static const struct { int level, name; const char *text; } all[] = {
        {SOL_SOCKET, SO_TYPE, "SO_TYPE"}, {SOL_SOCKET, SO_DOMAIN, "SO_DOMAIN"}, {SOL_SOCKET, SO_PROTOCOL, "SO_PROTOCOL"},
        {SOL_SOCKET, SO_ACCEPTCONN, "SO_ACCEPTCONN"}, {SOL_SOCKET, SO_ERROR, "SO_ERROR"}, {SOL_SOCKET, SO_REUSEADDR, "SO_REUSEADDR"},
        {SOL_SOCKET, SO_REUSEPORT, "SO_REUSEPORT"}, {SOL_SOCKET, SO_BROADCAST, "SO_BROADCAST"}, {SOL_SOCKET, SO_SNDBUF, "SO_SNDBUF"},
        {SOL_SOCKET, SO_RCVBUF, "SO_RCVBUF"}, {SOL_SOCKET, SO_RCVLOWAT, "SO_RCVLOWAT"}, {SOL_SOCKET, SO_SNDLOWAT, "SO_SNDLOWAT"},
        {SOL_SOCKET, SO_PEEK_OFF, "SO_PEEK_OFF"}, {SOL_SOCKET, SO_TIMESTAMP, "SO_TIMESTAMP"}, {IPPROTO_IP, IP_TTL, "IP_TTL"},
        {IPPROTO_IP, IP_TOS, "IP_TOS"}, {IPPROTO_IP, IP_MTU, "IP_MTU"}, {IPPROTO_IP, IP_MTU_DISCOVER, "IP_MTU_DISCOVER"},
        {IPPROTO_IP, IP_PKTINFO, "IP_PKTINFO"}, {IPPROTO_IP, IP_MULTICAST_LOOP, "IP_MULTICAST_LOOP"}, {IPPROTO_UDP, UDP_CORK, "UDP_CORK"},
        {IPPROTO_UDP, UDP_SEGMENT, "UDP_SEGMENT"}, {IPPROTO_UDP, UDP_GRO, "UDP_GRO"}, {IPPROTO_TCP, TCP_NODELAY, "TCP_NODELAY"},
    };
    int fd = dp_udp_pair(0);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) dp_option(fd, all[i].level, all[i].name, all[i].text);
    question(fd, "still there?");
    DP(connect(fd, &(struct sockaddr){.sa_family = AF_UNSPEC}, sizeof(struct sockaddr)));
    dp_option(fd, IPPROTO_IP, IP_MTU, "IP_MTU");
    dp_sync("end");
    dp_close(fd);
}

DP_DATAGRAM(datagram_options, linger) {
    int fd = dp_udp_pair(0);
    struct linger value = {1, 3};
    DP(setsockopt(fd, SOL_SOCKET, SO_LINGER, &value, sizeof value));
    question(fd, "lingering");
    if (!dp_server) {
        dp_say(fd, "last words");
        value.l_linger = 0;
        DP(setsockopt(fd, SOL_SOCKET, SO_LINGER, &value, sizeof value));
        dp_close(fd);
    }
    dp_sync("closed");
    if (dp_server) {
        dp_recv_from(fd, 100, 0);
        dp_recv_from(fd, 100, MSG_DONTWAIT);
        dp_close(fd);
    }
}

DP_DATAGRAM(datagram_options, bound_to_the_loopback_device) {
    int fd = dp_udp_pair(0);
    char name[IFNAMSIZ] = "";
    socklen_t length = sizeof name;
    DP(setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "lo", 3));
    DP(getsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, name, &length));
    dp_log("%s", name);
    question(fd, "by lo");
    DP(setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "", 0));
    question(fd, "by any");
    DP(setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "nosuchdevice", 13));
    question(fd, "as before");
    dp_sync("end");
    dp_close(fd);
}

/// A filter lets only datagrams through that begin with 'y', and later cuts all to five bytes of data.
DP_DATAGRAM(datagram_options, filter) {
    enum { UDP_HEADER = 8 };
    int fd = dp_udp_pair(0);
    struct sock_filter only_y[] = {
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, UDP_HEADER),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 'y', 0, 1),
        BPF_STMT(BPF_RET | BPF_K, 0xffff),
        BPF_STMT(BPF_RET | BPF_K, 0),
    };
    struct sock_filter cut[] = {BPF_STMT(BPF_RET | BPF_K, UDP_HEADER + 5)};
    if (dp_server) {
        DP(setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &(struct sock_fprog){4, only_y}, sizeof(struct sock_fprog)));
        dp_sync("filter");
        dp_sync("sent");
        dp_recv_from(fd, 100, 0);
        dp_recv_from(fd, 100, 0);
        dp_recv_from(fd, 100, MSG_DONTWAIT);
        DP(setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &(struct sock_fprog){1, cut}, sizeof(struct sock_fprog)));
        dp_sync("cut");
        dp_recv_message(fd, 100, 0);
        dp_set(fd, SOL_SOCKET, SO_DETACH_FILTER, 0, "SO_DETACH_FILTER");
        dp_sync("none");
    } else {
        dp_sync("filter");
        dp_say(fd, "no");
        dp_say(fd, "yes");
        dp_say(fd, "not this either");
        dp_say(fd, "yes, this");
        dp_sync("sent");
        dp_sync("cut");
        dp_say(fd, "cut to five");
        dp_sync("none");
    }
    question(fd, "n without a filter");
    dp_udp_warm(fd, NULL);
    dp_close(fd);
}

DP_DATAGRAM(datagram_options, amounts_that_wait) {
    int fd = dp_udp_pair(0), value = -1;
    if (dp_server) {
        dp_available(fd);
        dp_sync("send");
        dp_sync("sent");
        for (int i = 0; i < 4; i++) {
            dp_settle_for(fd, POLLIN);
            dp_available(fd);  // of the next one, not of all
            DP(ioctl(fd, SIOCINQ, &value));
            dp_log("%d", value);
            dp_recv(fd, 4, 0);
        }
        dp_available(fd);
        DP(ioctl(fd, SIOCATMARK, &value));
    } else {
        dp_sync("send");
        dp_say(fd, "four");
        dp_say(fd, "");
        dp_say(fd, "twelve bytes");
        dp_say(fd, "six...");
        DP(ioctl(fd, SIOCOUTQ, &value));
        dp_log("%d on the way", value);
        dp_sync("sent");
    }
    dp_sync("end");
    dp_close(fd);
}

DP_DATAGRAM(datagram_options, nonblocking_by_ioctl) {
    int fd = dp_udp_pair(0), on = 1, off = 0;
    if (dp_server) {
        DP(ioctl(fd, FIONBIO, &on));
        dp_recv(fd, 10, 0);
        dp_log("O_NONBLOCK %s", fcntl(fd, F_GETFL) & O_NONBLOCK ? "on" : "off");
        DP(ioctl(fd, FIONBIO, &off));
        dp_tell("blocks");
        dp_recv(fd, 10, 0);
    } else {
        dp_until_peer_blocked("blocks");
        dp_say(fd, "wake");
    }
    dp_sync("end");
    dp_close(fd);
}

static _Atomic int signals;
static void count_signal(int number) {
    (void)number;
    signals++;
}

/// SIGIO tells of a datagram.
DP_DATAGRAM(datagram_options, signal_for_each_arrival) {
    int fd = dp_udp_pair(0);
    if (dp_server) {
        signal(SIGIO, count_signal);
        DP(fcntl(fd, F_SETOWN, getpid()));
        DP(fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_ASYNC | O_NONBLOCK));
        for (int i = 0; i < 3; i++) {
            dp_tell("send");
            for (int look = 0; signals <= i && look < 10000; look++) poll(NULL, 0, 1);
            dp_log("told: %s", signals > i ? "yes" : "no");
            dp_settle_for(fd, POLLIN);
            dp_recv(fd, 10, 0);
            signals = i + 1;
        }
        DP(fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~(O_ASYNC | O_NONBLOCK)));
    } else {
        for (int i = 0; i < 3; i++) {
            dp_hear("send");
            dp_say(fd, "ring");
        }
    }
    dp_udp_warm(fd, NULL);
    dp_close(fd);
}

/// SO_RCVLOWAT means nothing to datagrams.
DP_DATAGRAM(datagram_options, low_water_mark) {
    int fd = dp_udp_pair(0);
    if (dp_server) {
        dp_set(fd, SOL_SOCKET, SO_RCVLOWAT, 1000, "SO_RCVLOWAT");
        dp_sync("send");
        dp_poll(fd, POLLIN, -1);
        dp_recv(fd, 10, 0);
        dp_recv(fd, 10, 0);
    } else {
        dp_sync("send");
        dp_say(fd, "few");
        dp_say(fd, "bytes");
    }
    dp_sync("end");
    dp_close(fd);
}
