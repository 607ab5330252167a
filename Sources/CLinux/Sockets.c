// Structures that Swift cannot import as they are: addresses, control messages, tcp_info, sock_diag.
#include "CLinux.h"
#include "sluice.h"
#include <linux/capability.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <linux/tcp.h>
#include <sys/vfs.h>

// Programs were built with it.
_Static_assert(sizeof(so_nkp_stats_t) == 40, "so_nkp_stats_t");

static uint16_t swapped(uint16_t port) { return (uint16_t)(port >> 8 | port << 8); }

long slc_address_of(const void *name, uint32_t length, struct slc_address *out) {
    struct sockaddr_storage a = {0};
    memset(out, 0, sizeof *out);
    memcpy(&a, name, length < sizeof a ? length : sizeof a);
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)&a;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&a;
    if (a.ss_family == AF_INET && length >= sizeof *v4) {
        out->ip[10] = out->ip[11] = 0xff;
        memcpy(out->ip + 12, &v4->sin_addr, 4);
        out->port = swapped(v4->sin_port);
    } else if (a.ss_family == AF_INET6 && length >= 24) { // SIN6_LEN_RFC2133: without a scope
        memcpy(out->ip, &v6->sin6_addr, 16);
        out->port = swapped(v6->sin6_port);
        out->scope = v6->sin6_scope_id;
    } else {
        return -EAFNOSUPPORT;
    }
    out->family = a.ss_family;
    return 0;
}

uint32_t slc_name_of(const struct slc_address *a, void *name, uint32_t room) {
    union {
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } out;
    uint32_t length = a->family == AF_INET ? sizeof out.v4 : sizeof out.v6;
    memset(&out, 0, sizeof out);
    if (a->family == AF_INET) {
        out.v4 = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = swapped(a->port)};
        memcpy(&out.v4.sin_addr, a->ip + 12, 4);
    } else {
        out.v6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = swapped(a->port), .sin6_scope_id = a->scope};
        memcpy(&out.v6.sin6_addr, a->ip, 16);
    }
    memcpy(name, &out, length < room ? length : room);
    return length;
}

long slc_socket_address(int fd, int peer, struct slc_address *out) {
    struct sockaddr_storage a;
    uint32_t n = sizeof a;
    long r = peer ? slc_getpeername(fd, &a, &n) : slc_getsockname(fd, &a, &n);
    if (r < 0) return r;
    return slc_address_of(&a, n, out);
}

uint32_t slc_abstract(struct sockaddr_un *out, const void *name, size_t length) {
    memset(out, 0, sizeof *out);
    out->sun_family = AF_UNIX;
    if (length > sizeof out->sun_path - 1) length = sizeof out->sun_path - 1;
    memcpy(out->sun_path + 1, name, length);
    return (uint32_t)(offsetof(struct sockaddr_un, sun_path) + 1 + length);
}

long slc_send_message(int fd, const void *p, size_t n, int pass) {
    struct iovec v = {(void *)p, n};
    union {
        char room[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control;
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};
    if (pass >= 0) {
        memset(&control, 0, sizeof control);
        m.msg_control = control.room;
        m.msg_controllen = sizeof control.room;
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &pass, sizeof(int));
    }
    return slc_sendmsg(fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
}

long slc_receive_message(int fd, void *p, size_t n, int *passed) {
    struct iovec v = {p, n};
    union {
        char room[CMSG_SPACE(16 * sizeof(int))];
        struct cmsghdr align;
    } control;
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control.room, .msg_controllen = sizeof control.room};
    *passed = -1;
    long r = slc_recvmsg(fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (r < 0) return r;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS || c->cmsg_len < CMSG_LEN(0)) continue;
        size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int got;
            memcpy(&got, CMSG_DATA(c) + i * sizeof(int), sizeof got);
            if (*passed < 0) *passed = got;
            else slc_close(got);
        }
    }
    if (m.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) {
        if (*passed >= 0) slc_close(*passed);
        *passed = -1;
        return -EPROTO;
    }
    return r;
}

long slc_tcp_counts(int fd, int after_fin, uint64_t *acked, uint64_t *received) {
    struct tcp_info i;
    uint32_t n = sizeof i;
    memset(&i, 0, sizeof i);
    long r = slc_getsockopt(fd, IPPROTO_TCP, TCP_INFO, &i, &n);
    if (r < 0) return r;
    if (n < offsetof(struct tcp_info, tcpi_bytes_received) + 8) return -EOPNOTSUPP;
    int fin = after_fin && i.tcpi_state == 8 /* CLOSE_WAIT */;
    if (i.tcpi_state != 1 /* ESTABLISHED */ && !fin) return -ENOTCONN;
    *acked = i.tcpi_bytes_acked;
    *received = i.tcpi_bytes_received - (uint64_t)fin;
    return 0;
}

uint64_t slc_tcp_progress(int fd) {
    struct tcp_info i;
    uint32_t n = sizeof i;
    memset(&i, 0, sizeof i);
    slc_getsockopt(fd, IPPROTO_TCP, TCP_INFO, &i, &n);
    return i.tcpi_bytes_acked * 0x9e3779b97f4a7c15 + i.tcpi_snd_wnd;
}

static int is_mapped(const uint8_t *ip) {
    static const uint8_t prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    return memcmp(ip, prefix, 12) == 0;
}

// For UDP the kernel takes the two ends as those of a packet: source is the sender's address (udp_diag.c says
// "for historical reasons"). So a socket is found by what would be delivered to it, connected or not.
long slc_diag_inode(int netlink, int protocol, const struct slc_address *found, const struct slc_address *other, uint32_t *inode) {
    const int is_udp = protocol == IPPROTO_UDP;
    const struct slc_address *source = is_udp ? other : found, *target = is_udp ? found : other;
    struct {
        struct nlmsghdr h;
        struct inet_diag_req_v2 r;
    } q = {.h = {.nlmsg_len = sizeof q, .nlmsg_type = SOCK_DIAG_BY_FAMILY, .nlmsg_flags = NLM_F_REQUEST, .nlmsg_seq = 1}};
    q.r.sdiag_protocol = (uint8_t)protocol;
    q.r.idiag_states = is_udp ? ~0u : 1u << 1; // ESTABLISHED
    q.r.id.idiag_sport = swapped(source->port);
    q.r.id.idiag_dport = swapped(target->port);
    q.r.id.idiag_cookie[0] = INET_DIAG_NOCOOKIE;
    q.r.id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;
    if (is_mapped(source->ip)) {
        q.r.sdiag_family = AF_INET;
        memcpy(q.r.id.idiag_src, source->ip + 12, 4);
        memcpy(q.r.id.idiag_dst, target->ip + 12, 4);
    } else {
        q.r.sdiag_family = AF_INET6;
        memcpy(q.r.id.idiag_src, source->ip, 16);
        memcpy(q.r.id.idiag_dst, target->ip, 16);
        q.r.id.idiag_if = target->scope;
    }
    long r = slc_sendto(netlink, &q, sizeof q, MSG_DONTWAIT);
    if (r < 0) return r;
    union {
        char bytes[2048];
        struct nlmsghdr h;
    } answer;
    r = slc_recvfrom(netlink, &answer, sizeof answer, MSG_DONTWAIT);
    if (r < 0) return r;
    if (r < (long)sizeof(struct nlmsghdr) || answer.h.nlmsg_len > (uint32_t)r) return -EPROTO;
    if (answer.h.nlmsg_type == NLMSG_ERROR) {
        const struct nlmsgerr *e = NLMSG_DATA(&answer.h);
        return e->error < 0 ? e->error : -EPROTO;
    }
    if (answer.h.nlmsg_type != SOCK_DIAG_BY_FAMILY || answer.h.nlmsg_len < NLMSG_LENGTH(sizeof(struct inet_diag_msg))) return -EPROTO;
    const struct inet_diag_msg *m = NLMSG_DATA(&answer.h);
    // An unconnected UDP socket knows no other end.
    if (m->id.idiag_sport != swapped(found->port) || (m->id.idiag_dport != swapped(other->port) && (!is_udp || m->id.idiag_dport)))
        return -ENOENT;
    if (!is_udp && m->idiag_state != 1) return -ENOENT;
    *inode = m->idiag_inode;
    return 0;
}

static char *put_decimal(char *p, unsigned v) {
    char digits[10];
    int n = 0;
    do digits[n++] = (char)('0' + v % 10);
    while (v /= 10);
    while (n) *p++ = digits[--n];
    *p = 0;
    return p;
}

long slc_epoll_member_inode(int fd, uint64_t *inode) {
    char path[64], text[512];
    put_decimal(stpcpy(path, "/proc/self/fd/"), (unsigned)fd);
    long n = slc_readlink(path, text, sizeof text - 1);
    if (n < 0) return n;
    text[n] = 0;
    if (strcmp(text, "anon_inode:[eventpoll]") != 0) return -EPERM;
    put_decimal(stpcpy(path, "/proc/self/fdinfo/"), (unsigned)fd);
    long info = slc_openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
    if (info < 0) return info;
    n = slc_read((int)info, text, sizeof text - 1);
    slc_close((int)info);
    if (n < 0) return n;
    text[n] = 0;
    const char *line = strstr(text, "tfd:");
    if (!line || strstr(line + 4, "tfd:")) return -EPERM;
    const char *p = strstr(line, "ino:");
    if (!p) return -EOPNOTSUPP;
    uint64_t v = 0;
    int digits = 0;
    for (p += 4; digits < 16; p++, digits++) {
        int d = *p >= '0' && *p <= '9' ? *p - '0' : *p >= 'a' && *p <= 'f' ? *p - 'a' + 10 : -1;
        if (d < 0) break;
        v = v << 4 | (unsigned)d;
    }
    if (!digits) return -EPERM;
    *inode = v;
    return 0;
}

/// 16 and more: none.
static unsigned digit(char c) {
    return c >= '0' && c <= '9' ? (unsigned)(c - '0') : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10 : 99;
}

static uint64_t number_after(const char *line, const char *word, unsigned base) {
    const char *p = strstr(line, word);
    uint64_t v = 0;
    if (!p) return 0;
    for (p += strlen(word); *p == ' '; p++) {}
    for (;; p++) {
        unsigned d = digit(*p);
        if (d >= base) return v;
        v = v * base + d;
    }
}

/// Every line of a file, by parts, since the stack of the caller's thread may be small; one that is longer than a part is none.
static long each_line(const char *path, void (*each)(void *, const char *), void *argument) {
    char text[1024];
    long n, fd = slc_openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return fd;
    size_t have = 0;
    while ((n = slc_read((int)fd, text + have, sizeof text - 1 - have)) > 0) {
        char *line = text, *end;
        have += (size_t)n;
        text[have] = 0;
        for (; (end = strchr(line, '\n')); line = end + 1) {
            *end = 0;
            each(argument, line);
        }
        have = (size_t)(text + have - line);
        memmove(text, line, have);
        if (have == sizeof text - 1) have = 0;
    }
    slc_close((int)fd);
    return n;
}

struct members {
    void (*each)(void *, int, uint64_t);
    void *argument;
};

static void member_line(void *argument, const char *line) {
    const struct members *m = argument;
    if (strncmp(line, "tfd:", 4) == 0) m->each(m->argument, (int)number_after(line, "tfd:", 10), number_after(line, "data:", 16));
}

long slc_each_epoll_member(int fd, void (*each)(void *, int, uint64_t), void *argument) {
    char path[64];
    struct members m = {each, argument};
    put_decimal(stpcpy(path, "/proc/self/fdinfo/"), (unsigned)fd);
    return each_line(path, member_line, &m);
}

long slc_parse_backlog(const char *line) {
    long waiting = -1;
    unsigned word = 0, digits = 0;
    uint32_t v = 0;
    for (const char *p = line;; p++) {
        unsigned d = digit(*p);
        if (d < 16) {
            if (++digits > 8) return -1;
            v = v << 4 | d;
            continue;
        }
        if (*p && *p != ' ') return -1;
        if (digits && ++word == 12) waiting = (long)v;
        if (!*p) return word > 12 ? waiting : -1;
        digits = 0, v = 0;
    }
}

struct backlog {
    long waiting;
    int lines, is_told; // by all of them
};

static void backlog_line(void *argument, const char *line) {
    struct backlog *b = argument;
    long n = slc_parse_backlog(line);
    b->lines++;
    if (n < 0) b->is_told = 0;
    else b->waiting += n;
}

long slc_backlog(void) {
    struct backlog b = {.is_told = 1};
    long r = each_line("/proc/net/softnet_stat", backlog_line, &b);
    return r < 0 ? r : b.lines && b.is_told ? b.waiting : -EOPNOTSUPP;
}

long slc_has_our_capabilities(int pid) {
    struct __user_cap_header_struct who = {_LINUX_CAPABILITY_VERSION_3, 0}, whom = {_LINUX_CAPABILITY_VERSION_3, pid};
    struct __user_cap_data_struct ours[2], theirs[2];
    long r = slc_syscall3(SYS_capget, SLC_P(&who), SLC_P(ours), 0);
    if (r >= 0) r = slc_syscall3(SYS_capget, SLC_P(&whom), SLC_P(theirs), 0);
    if (r < 0) return r;
    for (int i = 0; i < 2; i++)
        if (ours[i].effective != theirs[i].effective || ours[i].permitted != theirs[i].permitted) return 0;
    return 1;
}

long slc_peer_credentials(int fd, uint32_t *uid, int32_t *pid) {
    struct ucred c;
    uint32_t n = sizeof c;
    long r = slc_getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &c, &n);
    if (r < 0) return r;
    *uid = c.uid;
    *pid = c.pid;
    return 0;
}

long slc_own_name(char *target) {
    memset(target, 0, 32);
    long fd = slc_openat(AT_FDCWD, "/proc/self/comm", O_RDONLY | O_CLOEXEC);
    if (fd < 0) return fd;
    long n = slc_read((int)fd, target, 31);
    slc_close((int)fd);
    if (n > 0 && target[n - 1] == '\n') target[n - 1] = 0;
    return n;
}

long slc_is_sealed_memory(int fd, uint64_t bytes) {
    struct statfs fs;
    struct stat st;
    long seals = slc_fcntl(fd, F_GET_SEALS, 0);
    if (seals < 0 || (seals & (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW)) != (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW)) return 0;
    if (slc_syscall3(SYS_fstatfs, fd, SLC_P(&fs), 0) < 0 || fs.f_type != 0x01021994 /* TMPFS_MAGIC */) return 0;
    if (slc_syscall3(SYS_fstat, fd, SLC_P(&st), 0) < 0 || (uint64_t)st.st_size != bytes) return 0;
    return 1;
}

long slc_peer_pid(int fd) {
    struct ucred c;
    uint32_t n = sizeof c;
    long r = slc_getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &c, &n);
    return r < 0 ? r : c.pid;
}

static int no_foreign_descriptors;
void slc_refuse_foreign_descriptors(void) { no_foreign_descriptors = 1; }
long slc_foreign_descriptor(int pid, int number) {
    if (no_foreign_descriptors) return -EPERM;
    long p = slc_syscall3(434 /* pidfd_open */, pid, 0, 0);
    if (p < 0) return p;
    long r = slc_syscall3(438 /* pidfd_getfd */, p, number, 0);
    slc_close((int)p);
    return r;
}

uint64_t slc_inode(int fd) {
    struct stat st;
    return slc_syscall3(SYS_fstat, fd, SLC_P(&st), 0) < 0 ? 0 : st.st_ino;
}

long slc_is_regular(int fd) {
    struct stat st;
    return slc_syscall3(SYS_fstat, fd, SLC_P(&st), 0) == 0 && S_ISREG(st.st_mode);
}
