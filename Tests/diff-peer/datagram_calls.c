// Calls on datagrams that log what they did: bytes, sender, flags and control messages.
#include "datagrams.h"
#include <linux/errqueue.h>
#include <net/if.h>
#include <netinet/udp.h>
#include <time.h>

ssize_t dp_send_to(int fd, const void *data, size_t length, int flags, const dp_place *to) {
    errno = 0;
    ssize_t sent = sendto(fd, data, length, flags, (const struct sockaddr *)&to->address, to->length);
    int error = errno;
    if (sent < 0) dp_log("sendto(%zu bytes to %s) = -1 %s", length, dp_who(&to->address, to->length), dp_errno_name(error));
    else dp_log("sendto(%zu bytes to %s) = %zd%s", length, dp_who(&to->address, to->length), sent, error ? " (errno touched)" : "");
    errno = error;
    return sent;
}

ssize_t dp_say_to(int fd, const char *text, const dp_place *to) { return dp_send_to(fd, text, strlen(text), 0, to); }

static const char *flag_names(int flags) {
    static const struct { int bit; const char *name; } all[] = {
        {MSG_PEEK, "PEEK"}, {MSG_TRUNC, "TRUNC"}, {MSG_DONTWAIT, "DONTWAIT"}, {MSG_WAITALL, "WAITALL"}, {MSG_CTRUNC, "CTRUNC"},
        {MSG_EOR, "EOR"}, {MSG_ERRQUEUE, "ERRQUEUE"}, {MSG_OOB, "OOB"}, {MSG_CMSG_CLOEXEC, "CMSG_CLOEXEC"},
    };
    static __thread char joined[128];
    joined[0] = 0;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        if (!(flags & all[i].bit)) continue;
        if (joined[0]) strcat(joined, "|");
        strcat(joined, all[i].name);
        flags &= ~all[i].bit;
    }
    if (flags) snprintf(joined + strlen(joined), 16, "|0x%x", flags);
    return joined[0] ? joined : "0";
}

ssize_t dp_recv_from(int fd, size_t size, int flags) {
    char *buffer = malloc(size + 1);
    struct sockaddr_storage from = {0};
    socklen_t length = sizeof from;
    errno = 0;
    ssize_t got = recvfrom(fd, buffer, size, flags, (struct sockaddr *)&from, &length);
    int error = errno;
    if (got < 0) dp_log("recvfrom(%zu, %s) = -1 %s", size, flag_names(flags), dp_errno_name(error));
    else dp_log("recvfrom(%zu, %s) = %zd %s from %s%s", size, flag_names(flags), got,
                dp_bytes(buffer, (size_t)got < size ? (size_t)got : size), dp_who(&from, length), error ? " (errno touched)" : "");
    free(buffer);
    errno = error;
    return got;
}

// ───────────────────────────── control messages ─────────────────────────────

static const char *interface_name(unsigned index) {
    static __thread char name[IF_NAMESIZE];
    return index == 0 ? "no interface" : if_indextoname(index, name) ? name : "unknown interface";
}

static void log_packet_info(const struct cmsghdr *c) {
    char own[INET6_ADDRSTRLEN] = "?", to[INET6_ADDRSTRLEN] = "?";
    if (c->cmsg_level == IPPROTO_IP) {
        struct in_pktinfo info;
        memcpy(&info, CMSG_DATA(c), sizeof info);
        inet_ntop(AF_INET, &info.ipi_spec_dst, own, sizeof own);
        inet_ntop(AF_INET, &info.ipi_addr, to, sizeof to);
        dp_log("  IP_PKTINFO: %s, to %s, own %s", interface_name(info.ipi_ifindex), to, own);
    } else {
        struct in6_pktinfo info;
        memcpy(&info, CMSG_DATA(c), sizeof info);
        inet_ntop(AF_INET6, &info.ipi6_addr, to, sizeof to);
        dp_log("  IPV6_PKTINFO: %s, to %s", interface_name(info.ipi6_ifindex), to);
    }
}

static void log_extended_error(const struct cmsghdr *c) {
    struct sock_extended_err e;
    memcpy(&e, CMSG_DATA(c), sizeof e);
    struct sockaddr_storage offender = {0};
    socklen_t length = c->cmsg_level == IPPROTO_IP ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
    memcpy(&offender, CMSG_DATA(c) + sizeof e, length);
    dp_log("  RECVERR: %s, origin %d, type %d, code %d, info %u, data %u, offender %s", dp_errno_name(e.ee_errno), e.ee_origin, e.ee_type,
           e.ee_code, e.ee_info, e.ee_data, offender.ss_family ? dp_who(&offender, length) : "none");
}

/// A time of arrival is shown as whether it can be true.
static void log_time(const char *name, time_t seconds) {
    time_t now = time(NULL);
    dp_log("  %s: %s", name, seconds > now - 3600 && seconds <= now + 1 ? "a time of late" : "not a time of late");
}

static void log_socket_message(const struct cmsghdr *c) {
    struct timeval tv;
    struct timespec ts;
    if (c->cmsg_type == SCM_TIMESTAMP) {
        memcpy(&tv, CMSG_DATA(c), sizeof tv);
        log_time("TIMESTAMP", tv.tv_sec);
    } else if (c->cmsg_type == SCM_TIMESTAMPNS) {
        memcpy(&ts, CMSG_DATA(c), sizeof ts);
        log_time("TIMESTAMPNS", ts.tv_sec);
    } else if (c->cmsg_type == SO_RXQ_OVFL) {
        dp_log("  RXQ_OVFL");
    } else if (c->cmsg_type == SCM_TIMESTAMPING) {
        dp_log("  TIMESTAMPING");
    } else {
        dp_log("  SOL_SOCKET %d, %zu bytes", c->cmsg_type, (size_t)c->cmsg_len - sizeof *c);
    }
}

static void log_number(const char *name, const struct cmsghdr *c) {
    int value = 0;
    size_t length = c->cmsg_len - CMSG_LEN(0);
    memcpy(&value, CMSG_DATA(c), length < sizeof value ? length : sizeof value);
    dp_log("  %s: %d (%zu bytes)", name, value, length);
}

void dp_log_control(struct msghdr *message) {
    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
        bool v4 = c->cmsg_level == IPPROTO_IP, v6 = c->cmsg_level == IPPROTO_IPV6;
        if ((v4 && c->cmsg_type == IP_PKTINFO) || (v6 && c->cmsg_type == IPV6_PKTINFO)) log_packet_info(c);
        else if ((v4 && c->cmsg_type == IP_RECVERR) || (v6 && c->cmsg_type == IPV6_RECVERR)) log_extended_error(c);
        else if (v4 && c->cmsg_type == IP_TTL) log_number("IP_TTL", c);
        else if (v4 && c->cmsg_type == IP_TOS) log_number("IP_TOS", c);
        else if (v6 && c->cmsg_type == IPV6_HOPLIMIT) log_number("IPV6_HOPLIMIT", c);
        else if (v6 && c->cmsg_type == IPV6_TCLASS) log_number("IPV6_TCLASS", c);
        else if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO) log_number("UDP_GRO", c);
        else if (v4 && c->cmsg_type == IP_ORIGDSTADDR) {
            struct sockaddr_storage to = {0};
            memcpy(&to, CMSG_DATA(c), sizeof(struct sockaddr_in));
            dp_log("  IP_ORIGDSTADDR: %s", dp_who(&to, sizeof(struct sockaddr_in)));
        } else if (c->cmsg_level == SOL_SOCKET) log_socket_message(c);
        else dp_log("  control message %d, %d, %zu bytes", c->cmsg_level, c->cmsg_type, (size_t)c->cmsg_len - sizeof *c);
    }
}

ssize_t dp_recv_message(int fd, size_t size, int flags) {
    char *buffer = malloc(size + 1);
    struct sockaddr_storage from = {0};
    union { char bytes[600]; struct cmsghdr align; } control;
    struct iovec part = {buffer, size};
    struct msghdr message = {.msg_name = &from, .msg_namelen = sizeof from, .msg_iov = &part, .msg_iovlen = 1,
                             .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
    errno = 0;
    ssize_t got = recvmsg(fd, &message, flags);
    int error = errno;
    char asked[128];
    snprintf(asked, sizeof asked, "%s", flag_names(flags));
    if (got < 0) {
        dp_log("recvmsg(%zu, %s) = -1 %s", size, asked, dp_errno_name(error));
    } else {
        dp_log("recvmsg(%zu, %s) = %zd %s from %s, flags %s%s", size, asked, got, dp_bytes(buffer, (size_t)got < size ? (size_t)got : size),
               dp_who(&from, message.msg_namelen), flag_names(message.msg_flags), error ? " (errno touched)" : "");
        dp_log_control(&message);
    }
    free(buffer);
    errno = error;
    return got;
}

void dp_log_names(int fd) {
    struct sockaddr_storage address = {0};
    socklen_t length = sizeof address;
    DP_MUST(getsockname(fd, (struct sockaddr *)&address, &length));
    dp_log("own: %s", dp_who(&address, length));
    length = sizeof address;
    errno = 0;
    if (getpeername(fd, (struct sockaddr *)&address, &length) < 0) dp_log("peer: %s", dp_errno_name(errno));
    else dp_log("peer: %s", dp_who(&address, length));
}

void dp_set(int fd, int level, int name, int value, const char *text) {
    errno = 0;
    int result = setsockopt(fd, level, name, &value, sizeof value);
    if (result < 0) dp_log("setsockopt %s %d = -1 %s", text, value, dp_errno_name(errno));
    else dp_log("setsockopt %s %d = 0%s", text, value, errno ? " (errno touched)" : "");
}
