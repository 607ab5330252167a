// A hostile peer that speaks the protocol by itself, by system calls that no library sees.
#include "Hostile.h"
#include "CStackLayout.h"
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/un.h>

enum { RING = 4096 };
static const size_t region_bytes = ((sizeof(struct sl_region) + 4095) & ~4095ul) + 64 * 2 * RING;

static long sys(long number, long a, long b, long c, long d, long e) { return raw_call(number, a, b, c, d, e); }

static void say(int channel, struct sl_message *m, const int *fds, int count) {
    struct iovec v = {m, sizeof *m};
    union {
        char room[CMSG_SPACE(16 * sizeof(int))];
        struct cmsghdr align;
    } c = {0};
    struct msghdr h = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = count ? &c : NULL, .msg_controllen = count ? CMSG_SPACE((size_t)count * sizeof(int)) : 0};
    if (count) {
        struct cmsghdr *x = CMSG_FIRSTHDR(&h);
        x->cmsg_level = SOL_SOCKET, x->cmsg_type = SCM_RIGHTS, x->cmsg_len = CMSG_LEN((size_t)count * sizeof(int));
        memcpy(CMSG_DATA(x), fds, (size_t)count * sizeof(int));
    }
    sys(SYS_sendmsg, channel, (long)&h, MSG_NOSIGNAL | MSG_DONTWAIT, 0, 0);
}

/// A region's memory with something wrong about it, by `manner`; 0 and 1 are as they should be.
static int region_file(int manner) {
    int huge = manner == 4 ? MFD_HUGETLB : 0;
    int fd = manner == 9 ? open("/dev/shm", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600) : memfd_create("own", MFD_CLOEXEC | MFD_ALLOW_SEALING | (unsigned)huge);
    size_t n = region_bytes;
    if (manner == 2) n -= 4096;  // truncated
    if (manner == 3) n += 1u << 30; // larger than said
    if (manner == 4) n = 2u << 20;
    if (manner == 5) n = 0;
    if (fd < 0 || ftruncate(fd, (off_t)n) < 0) return fd;
    int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
    if (manner == 6) seals = F_SEAL_GROW;         // could be made shorter later
    if (manner == 7) seals |= F_SEAL_FUTURE_WRITE; // nobody may map it to write
    if (manner < 8) fcntl(fd, F_ADD_SEALS, seals); // without seals, or no memfd at all
    uint64_t ticket = 9;
    for (int slot = 0; slot < SL_SLOTS; slot++) {
        off_t at = (off_t)(offsetof(struct sl_region, slot) + (size_t)slot * sizeof(struct sl_slot) + offsetof(struct sl_direction, offer));
        if (pwrite(fd, &ticket, 8, at) < 0) break;
    }
    return fd;
}

static int channel_to_name(int fd) {
    struct sockaddr_in a = {0};
    socklen_t n = sizeof a;
    uint64_t cookie = 0;
    sys(SYS_getsockname, fd, (long)&a, (long)&n, 0, 0);
    n = sizeof cookie;
    sys(SYS_getsockopt, fd, SOL_SOCKET, 71 /* SO_NETNS_COOKIE */, (long)&cookie, (long)&n);
    uint8_t name[48] = "slu1", ip[16] = {[10] = 0xff, [11] = 0xff, [12] = 127, [15] = 1};
    uint32_t ports = (uint32_t)s->port << 16 | ntohs(a.sin_port);
    memcpy(name + 4, &ports, 4);
    memcpy(name + 8, &cookie, 8);
    memcpy(name + 16, ip, 16);
    memcpy(name + 32, ip, 16);
    struct sockaddr_un u = {.sun_family = AF_UNIX};
    memcpy(u.sun_path + 1, name, sizeof name);
    int c = (int)sys(SYS_socket, AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, 0, 0);
    if (sys(SYS_connect, c, (long)&u, offsetof(struct sockaddr_un, sun_path) + 1 + sizeof name, 0, 0) == 0) return c;
    sys(SYS_close, c, 0, 0, 0, 0);
    return -1;
}

static bool echo(int fd) {
    char bytes[64] = {0};
    if (sys(SYS_sendto, fd, (long)bytes, sizeof bytes, MSG_NOSIGNAL, 0) <= 0) return false;
    struct pollfd p = {.fd = fd, .events = POLLIN};
    struct timespec t = {.tv_nsec = 5000000};
    return sys(SYS_ppoll, (long)&p, 1, (long)&t, 0, 8) <= 0 || sys(SYS_recvfrom, fd, (long)bytes, sizeof bytes, MSG_DONTWAIT, 0) > 0;
}

/// Takes what has come over the channel: the last answer to an offer, 0: none.
static uint32_t answer(int channel) {
    struct sl_message m;
    uint32_t kind = 0;
    while (sys(SYS_recvfrom, channel, (long)&m, sizeof m, MSG_DONTWAIT, 0) == sizeof m)
        if (m.kind == SL_MESSAGE_READY || m.kind == SL_MESSAGE_REFUSE) kind = m.kind;
    return kind;
}

void speak_protocol(uint64_t *random) {
    static int manner;
    static int kept[4] = {-1, -1, -1, -1}, turn;
    int kind = manner % MANNERS, odd = manner / MANNERS % 2 ? manner : 0, fds[16];
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)s->port)};
    int fd = (int)sys(SYS_socket, AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0, 0, 0), c = -1;
    if (fd < 0 || sys(SYS_connect, fd, (long)&a, sizeof a, 0, 0) < 0) return (void)sys(SYS_close, fd, 0, 0, 0, 0);
    for (int i = 0; i < 40 && c < 0 && echo(fd); i++) c = channel_to_name(fd);
    if (c < 0) return (void)sys(SYS_close, fd, 0, 0, 0, 0);
    int set = epoll_create1(EPOLL_CLOEXEC), file = region_file(kind);
    // A set that the library does not know: it must not mind the socket either.
    struct epoll_event e = {0};
    sys(SYS_epoll_ctl, set, EPOLL_CTL_ADD, fd, (long)&e, 0);
    struct sl_message m = {.magic = SL_MESSAGE_MAGIC, .kind = SL_MESSAGE_HELLO, .nonce = 0x1234 + (uint64_t)(odd ? 0 : manner), .ring_bytes = RING};
    for (int i = 0; i < 16; i++) fds[i] = odd % 3 ? set : file;
    fds[0] = set;
    say(c, &m, fds, odd % 5 == 4 ? 16 : 1);
    echo(fd);
    m.kind = SL_MESSAGE_REGION;
    m.region_bytes = kind == 4 ? 2u << 20 : region_bytes;
    m.index = odd % 4 < 2;
    m.slot = odd % 7 == 6 ? (uint32_t)(next_random(random) % 200) : 0; // the same one again and again
    m.region = odd % 11 == 10 ? (uint32_t)next_random(random) : 0;
    m.ticket = 9;
    for (int i = 0; i < 16; i++) fds[i] = file;
    say(c, &m, fds, odd % 5 == 3 ? 16 : 1);
    for (int i = 0; i < 6; i++) echo(fd);
    uint32_t said = answer(c);
    if (!odd) s->tried[kind]++;
    if (!odd && said == SL_MESSAGE_REFUSE) s->refused[kind]++;
    if (!odd && said == SL_MESSAGE_READY) s->ready[kind]++;
    manner++;
    sys(SYS_close, set, 0, 0, 0, 0);
    sys(SYS_close, file, 0, 0, 0, 0);
    if (kept[turn] >= 0) sys(SYS_close, kept[turn], 0, 0, 0, 0);
    kept[turn] = c;
    turn = (turn + 1) % 4;
    sys(SYS_close, fd, 0, 0, 0, 0);
}
