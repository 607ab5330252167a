// Strangers at the rendezvous: a process that binds the name of a connection that is about to meet, or connects to it,
// before the true other end does. It must get nothing, and the connection must work on.
// usage: impostor
#include "Faults.h"
#include "CStackLayout.h"
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/un.h>

enum { MESSAGE = 64, MESSAGES = 600, PARKED = 8 };

/// How the stranger behaves once it is in touch.
enum manner {
    SILENT,   ///< says nothing
    GARBAGE,  ///< sends what is no message
    PRETENDS, ///< says hello with an epoll set of its own that holds another socket
    PUSHES,   ///< goes on as if it had been believed: offers a region of its own, or says ready
    MANNERS
};
static const char *const manner_names[] = {"silent", "garbage", "a hello of its own", "goes on regardless"};

struct meeting {
    volatile int port, client_port;
    volatile uint64_t cookie;
    volatile bool knocks, in_place, over, by_ring;
    volatile long touched, memory, hellos, messages;
    char problem[200];
};
static struct meeting *m;

// MARK: the connection

static void echo(bool connects) {
    uint8_t out[MESSAGE], in[MESSAGE];
    int fd, port;
    alarm(60);
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    if (connects) {
        while (!m->port) breathe();
        fd = connect_to(m->port);
        struct sockaddr_in a;
        socklen_t n = sizeof a;
        getsockname(fd, (struct sockaddr *)&a, &n);
        uint64_t cookie = 0;
        n = sizeof cookie;
        getsockopt(fd, SOL_SOCKET, 71 /* SO_NETNS_COOKIE */, &cookie, &n);
        m->cookie = cookie;
        m->client_port = ntohs(a.sin_port);
    } else {
        int listener = listen_here(&port);
        m->port = port;
        fd = accept_one(listener);
        close(listener);
    }
    for (int64_t end = now_ms() + LIMIT_MS; !m->in_place && now_ms() < end;) breathe();
    for (int i = 0; i < MESSAGES; i++) {
        // Unseen by the library, so that the other end opens the name while this one does not knock yet.
        bool waits = connects && m->knocks && m->touched < 3 && i < MESSAGES / 4;
        for (int turn = 0; turn < 2; turn++) {
            uint64_t at = (uint64_t)i * MESSAGE;
            if ((turn == 0) == connects) {
                for (int k = 0; k < MESSAGE; k++) out[k] = stream_byte((uint64_t)connects, at + (uint64_t)k);
                if (waits) {
                    if (raw_call(SYS_sendto, fd, (long)out, MESSAGE, MSG_NOSIGNAL, 0) != MESSAGE) problem("raw send");
                } else if (!send_all(fd, out, MESSAGE)) problem("send: %s", strerror(errno));
                continue;
            }
            if (waits) {
                if (raw_call(SYS_recvfrom, fd, (long)in, MESSAGE, MSG_WAITALL, 0) != MESSAGE) problem("raw recv");
                breathe();
            } else {
                struct pollfd p = {.fd = fd, .events = POLLIN};
                if (poll(&p, 1, LIMIT_MS) != 1) problem("message %d did not come", i);
                if (kernel_unread(fd) == 0) m->by_ring = true;
            }
            if (!waits && !recv_all(fd, in, MESSAGE)) problem("recv: %s", errno ? strerror(errno) : "end of stream");
            for (int k = 0; k < MESSAGE; k++)
                if (in[k] != stream_byte((uint64_t)!connects, at + (uint64_t)k)) problem("message %d is wrong", i);
        }
    }
    exit(0);
}

// MARK: the stranger

static socklen_t name_of(struct sockaddr_un *a) {
    uint8_t name[48] = "slu1", ip[16] = {[10] = 0xff, [11] = 0xff, [12] = 127, [15] = 1};
    uint32_t ports = (uint32_t)m->port << 16 | (uint32_t)m->client_port;
    uint64_t cookie = m->cookie;
    memcpy(name + 4, &ports, 4);
    memcpy(name + 8, &cookie, 8);
    memcpy(name + 16, ip, 16);
    memcpy(name + 32, ip, 16);
    *a = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(a->sun_path + 1, name, sizeof name);
    return offsetof(struct sockaddr_un, sun_path) + 1 + sizeof name;
}

static void say(int channel, uint32_t kind, int pass) {
    struct sl_message text = {.magic = SL_MESSAGE_MAGIC, .kind = kind, .nonce = 4711, .ring_bytes = 1 << 20, .index = 1, .uid = geteuid()};
    text.region_bytes = 1 << 27;
    struct iovec v = {&text, sizeof text};
    union {
        char room[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {0};
    struct msghdr h = {.msg_iov = &v, .msg_iovlen = 1};
    if (pass >= 0) {
        h.msg_control = &control;
        h.msg_controllen = sizeof control.room;
        struct cmsghdr *c = CMSG_FIRSTHDR(&h);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &pass, sizeof pass);
    }
    sendmsg(channel, &h, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/// Takes in whatever comes. A memfd, or a descriptor that is no epoll set, is what must never come.
static void listen_to(int channel) {
    uint8_t bytes[4096];
    struct iovec v = {bytes, sizeof bytes};
    union {
        char room[CMSG_SPACE(8 * sizeof(int))];
        struct cmsghdr align;
    } control;
    struct msghdr h = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control.room};
    if (recvmsg(channel, &h, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) <= 0) return;
    m->messages++;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&h); c; c = CMSG_NXTHDR(&h, c))
        for (size_t i = 0; i < (c->cmsg_len - CMSG_LEN(0)) / sizeof(int); i++) {
            int fd;
            char path[64], target[200] = "";
            memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
            snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
            if (readlink(path, target, sizeof target - 1) < 0) continue;
            if (!strstr(target, "eventpoll")) m->memory++;
            // Nothing can be read by it: it is no socket.
            else if (recv(fd, bytes, 1, MSG_PEEK | MSG_DONTWAIT) >= 0 || errno != ENOTSOCK) m->memory++;
            close(fd);
        }
}

static void behave(int channel, enum manner manner, bool bound) {
    if (manner == GARBAGE) send(channel, "who is there?", 13, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (manner < PRETENDS) return;
    int set = epoll_create1(EPOLL_CLOEXEC), other = socket(AF_INET, SOCK_STREAM, 0), memory = memfd_create("own", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    struct epoll_event e = {0};
    epoll_ctl(set, EPOLL_CTL_ADD, other, &e);
    say(channel, SL_MESSAGE_HELLO, set);
    if (manner == PUSHES) {
        if (ftruncate(memory, 1 << 27) < 0) problem("memfd");
        fcntl(memory, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
        say(channel, bound ? SL_MESSAGE_READY : SL_MESSAGE_REGION, bound ? -1 : memory);
    }
    close(set), close(other), close(memory);
}

/// Binds the name and waits there, or knocks at it until it gets in, again and again.
static void intrude(bool binds, enum manner manner, uid_t uid) {
    int channels[PARKED], count = 0, s = -1;
    struct sockaddr_un a;
    alarm(60);
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    if (uid && setresuid(uid, uid, uid) < 0) problem("setresuid: %s", strerror(errno));
    for (int64_t end = now_ms() + LIMIT_MS; !m->client_port && now_ms() < end;) breathe();
    socklen_t n = name_of(&a);
    if (binds) {
        s = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (bind(s, (struct sockaddr *)&a, n) < 0 || listen(s, 8) < 0) problem("the stranger's bind: %s", strerror(errno));
    }
    m->in_place = true;
    while (!m->over) {
        int c = -1;
        if (count == PARKED) {
            close(channels[0]);
            memmove(channels, channels + 1, sizeof channels - sizeof *channels);
            count--;
        }
        if (binds) c = accept4(s, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        else {
            c = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
            if (connect(c, (struct sockaddr *)&a, n) < 0) close(c), c = -1;
        }
        if (c >= 0) {
            m->touched++;
            channels[count++] = c;
            behave(c, manner, binds);
        }
        for (int i = 0; i < count; i++) listen_to(channels[i]);
        if (c < 0) breathe();
    }
    exit(0);
}

static void play(bool binds, enum manner manner, uid_t uid) {
    memset(m, 0, sizeof *m);
    m->knocks = !binds && is_preloaded();
    pid_t pids[3];
    for (int i = 0; i < 3; i++) {
        if ((pids[i] = fork()) < 0) die("fork");
        if (pids[i] == 0) {
            if (i < 2) echo(i == 0);
            intrude(binds, manner, uid);
        }
    }
    int status[3];
    for (int i = 0; i < 3; i++) {
        if (i == 2) m->over = true;
        status[i] = wait_for(pids[i], 2 * LIMIT_MS);
        if (status[i] < 0) end_process(pids[i]);
    }
    char name[200];
    snprintf(name, sizeof name, "a stranger %s first, %s user, %s", binds ? "binds the name" : "connects", uid ? "another" : "the same", manner_names[manner]);
    if (m->problem[0]) not_ok("%s: %s", name, m->problem);
    else if (status[0] || status[1] || status[2]) not_ok("%s: ended with %#x, %#x, %#x", name, status[0], status[1], status[2]);
    else if (m->memory) not_ok("%s: it was given %ld descriptors", name, m->memory);
    else if (is_preloaded() && !m->touched) not_ok("%s: it was never in touch", name);
    else if (uid && m->messages) not_ok("%s: it was sent %ld messages", name, m->messages);
    else if (open_names() > 0) not_ok("%s: %d names stay behind", name, open_names());
    else ok("%s: in touch %ld times, %ld messages; the connection went on by %s", name, m->touched, m->messages, m->by_ring ? "its lane" : "the kernel");
}

int main(void) {
    m = shared_memory(sizeof *m);
    problem_text = m->problem;
    if (!own_network()) {
        skip("strangers at the rendezvous", "needs a network namespace of its own");
        return finish();
    }
    signal(SIGPIPE, SIG_IGN);
    for (int other = 0; other < 2; other++) {
        if (other && geteuid() != 0) {
            skip("strangers of another user", "needs root");
            break;
        }
        for (int binds = 0; binds < 2; binds++)
            for (enum manner manner = 0; manner < MANNERS; manner++) play(binds, manner, other ? 65534 : 0);
    }
    return finish();
}
