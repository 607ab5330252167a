#include "Strange.h"
#include <stdarg.h>
#include <sys/ioctl.h>

int peer_port;
pid_t peer_id;
char **strange_arguments;
static strange *cases;
void add_case(strange *c) { c->next = cases, cases = c; }

void fail(const char *format, ...) {
    va_list list;
    va_start(list, format);
    vprintf(format, list);
    puts("");
    fflush(stdout);
    _exit(3);
}
void say_result(const char *what, long result) {
    if (result < 0) printf("%s: %ld %s\n", what, result, strerror(errno));
    else printf("%s: %ld\n", what, result);
    fflush(stdout);
}
bool send_all(int fd, const void *bytes, size_t n) {
    for (long r; n; bytes = (const char *)bytes + r, n -= (size_t)r)
        if ((r = send(fd, bytes, n, MSG_NOSIGNAL)) <= 0) return false;
    return true;
}
bool recv_all(int fd, void *bytes, size_t n) {
    for (long r; n; bytes = (char *)bytes + r, n -= (size_t)r)
        if ((r = recv(fd, bytes, n, 0)) <= 0) return false;
    return true;
}

void skip(const char *reason) {
    printf("skip: %s\n", reason);
    fflush(stdout);
    _exit(77);
}
void needs_root(void) {
    if (geteuid()) skip("needs root");
}

// Where the bytes are: what has come by the ring is readable, but the kernel holds none of it.
static const char *wanted; // NULL: the ring
static bool anywhere;
static int looks;
static bool mode_is(const char *name) {
    const char *mode = getenv("STRANGE_PLACE");
    return mode && !strcmp(mode, name);
}
bool is_as_said(void) { return mode_is("as said"); }
void from_now(const char *place) {
    anywhere = mode_is("anywhere");
    wanted = is_as_said() ? place : KERNEL("nothing is preloaded");
}
long raw_call(long number, long a, long b, long c, long d, long e, long f) {
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}
static bool comes_by_ring(int from, int to) {
    int unread = -1;
    char byte = 0;
    if (!send_all(from, "l", 1)) fail("look: send: %s", strerror(errno));
    if (poll(&(struct pollfd){to, POLLIN, 0}, 1, 20000) != 1) fail("look: no byte comes");
    long r = raw_call(SYS_ioctl, to, FIONREAD, (long)&unread, 0, 0, 0);
    if (r || unread < 0 || unread > 1) fail("look: FIONREAD: %ld, %d", r, unread);
    if (!recv_all(to, &byte, 1) || byte != 'l') fail("look: another byte");
    return unread == 0;
}
void look(int from, int to) {
    // Ends that have missed each other look again when their bytes have doubled.
    for (int i = 0; i < 8; i++) {
        bool ring = comes_by_ring(from, to);
        looks++;
        if (anywhere || (ring && !wanted)) return;
        if (ring) fail("a byte came by the ring, to be expected from %s", wanted);
        if (!wanted) from == to ? talk(from, 40 << i) : pass(from, to, 20 << i);
        else if (i == 2) return;
    }
    fail("no byte came by the ring");
}

static void echo(int listener, pid_t parent) {
    static char bytes[1 << 16];
    struct pollfd p[64] = {{listener, POLLIN, 0}};
    for (int n = 1; getppid() == parent;) {
        if (poll(p, (nfds_t)n, 100) <= 0) continue;
        if (p[0].revents && n < 64) p[n++] = (struct pollfd){accept(listener, NULL, NULL), POLLIN, 0};
        for (int i = 1; i < n; i++) {
            if (!p[i].revents) continue;
            long got = recv(p[i].fd, bytes, sizeof bytes, 0);
            if (got > 0 && send_all(p[i].fd, bytes, (size_t)got)) continue;
            close(p[i].fd);
            p[i--] = p[--n];
        }
    }
    _exit(0);
}
void start_peer(void) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    int l = (int)MUST(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    MUST(bind(l, (struct sockaddr *)&a, n));
    MUST(listen(l, 64));
    MUST(getsockname(l, (struct sockaddr *)&a, &n));
    peer_port = ntohs(a.sin_port);
    pid_t parent = getpid();
    if ((peer_id = (pid_t)MUST(fork())) == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); // not when the parent becomes another user
        echo(l, parent);
    }
    close(l);
}
int dial(void) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)peer_port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = (int)MUST(socket(AF_INET, SOCK_STREAM, 0));
    MUST(connect(fd, (struct sockaddr *)&a, sizeof a));
    return fd;
}
static void fill(unsigned char *bytes, int n, unsigned seed) {
    for (int i = 0; i < n; i++) bytes[i] = (unsigned char)(i * 7 + (i >> 8) + (int)seed);
}
static void round_trip(int from, int to, bool there, int round) {
    unsigned char out[2100], in[2100];
    int n = 1 + round * 37 % 2000;
    fill(out, n, (unsigned)round);
    if (!send_all(from, out, (size_t)n)) fail("send in round %d: %s", round, strerror(errno));
    if (!recv_all(there ? to : from, in, (size_t)n)) fail("recv in round %d: %s", round, strerror(errno));
    if (memcmp(out, in, (size_t)n)) fail("other bytes in round %d", round);
}
void talk(int fd, int rounds) {
    for (int i = 0; i < rounds; i++) round_trip(fd, fd, false, i);
}
void pass(int from, int to, int rounds) {
    for (int i = 0; i < rounds; i++) round_trip(from, to, true, i), round_trip(to, from, true, i + 1);
}
int warm(void) {
    int fd = dial();
    talk(fd, 60);
    look(fd, fd);
    return fd;
}
void warm_pair(int ends[2]) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    int l = (int)MUST(socket(AF_INET, SOCK_STREAM, 0));
    MUST(bind(l, (struct sockaddr *)&a, n));
    MUST(listen(l, 64));
    MUST(getsockname(l, (struct sockaddr *)&a, &n));
    ends[0] = (int)MUST(socket(AF_INET, SOCK_STREAM, 0));
    MUST(connect(ends[0], (struct sockaddr *)&a, n));
    ends[1] = (int)MUST(accept(l, NULL, NULL));
    close(l);
    pass(ends[0], ends[1], 60);
    look(ends[0], ends[1]);
    look(ends[1], ends[0]);
}
bool is_asleep(pid_t thread) {
    char path[64], text[256];
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", thread);
    int fd = (int)MUST(open(path, O_RDONLY | O_CLOEXEC));
    long n = MUST(read(fd, text, sizeof text - 1));
    close(fd);
    text[n] = 0;
    char *at = strrchr(text, ')');
    return at && at[2] == 'S';
}
void until_asleep(pid_t thread) {
    for (int quiet = 0; quiet < 3; usleep(2000)) quiet = is_asleep(thread) ? quiet + 1 : 0;
}

int main(int count, char **arguments) {
    setvbuf(stdout, NULL, _IOLBF, 4096);
    signal(SIGPIPE, SIG_IGN);
    strange_arguments = arguments;
    if (count < 2) {
        for (strange *c = cases; c; c = c->next) puts(c->name);
        return 0;
    }
    for (strange *c = cases; c; c = c->next)
        if (!strcmp(c->name, arguments[1])) {
            start_peer();
            from_now(c->place);
            c->body();
            if (!looks) fail("no connection was looked at");
            puts("done");
            return 0;
        }
    fail("no case %s", arguments[1]);
}
