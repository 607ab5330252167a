#include "Faults.h"
#include <dirent.h>
#include <net/if.h>
#include <sched.h>
#include <sys/syscall.h>

void die(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    _exit(1);
}

int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ll + t.tv_nsec;
}
int64_t now_ms(void) { return now_ns() / 1000000; }

void breathe(void) {
    struct timespec pause = {0, 50000};
    nanosleep(&pause, NULL);
}

void *shared_memory(size_t bytes) {
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) die("mmap: %s", strerror(errno));
    return p;
}

uint64_t next_random(uint64_t *state) {
    uint64_t x = *state ? *state : 1;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return *state = x;
}

int listen_here(int *port) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    int s = socket(AF_INET, SOCK_STREAM, 0);
    if (s < 0 || bind(s, (struct sockaddr *)&a, n) < 0 || listen(s, 16) < 0 || getsockname(s, (struct sockaddr *)&a, &n) < 0)
        die("listen: %s", strerror(errno));
    *port = ntohs(a.sin_port);
    return s;
}

int accept_one(int listener) {
    int c = accept(listener, NULL, NULL);
    if (c < 0) die("accept: %s", strerror(errno));
    return c;
}

int connect_to(int port) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)port)};
    int s = socket(AF_INET, SOCK_STREAM, 0);
    if (s < 0 || connect(s, (struct sockaddr *)&a, sizeof a) < 0) die("connect: %s", strerror(errno));
    return s;
}

long raw_call(long number, long a, long b, long c, long d, long e) {
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = 0;
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}

int kernel_unread(int fd) {
    int n = 0;
    long r = raw_call(SYS_ioctl, fd, FIONREAD, (long)&n, 0, 0);
    return r < 0 ? (int)r : n;
}

long bytes_by_ring(int fd, long bytes) {
    uint64_t info[32] = {0};
    socklen_t n = sizeof info;
    if (raw_call(SYS_getsockopt, fd, IPPROTO_TCP, TCP_INFO, (long)info, (long)&n) < 0 || n < 136) return 0;
    long in_kernel = (long)info[16]; // tcpi_bytes_received, which older headers do not know
    return in_kernel < bytes ? bytes - in_kernel : 0;
}

bool is_preloaded(void) { return getenv("LD_PRELOAD") && strstr(getenv("LD_PRELOAD"), "libsluice"); }

bool own_network(void) {
    if (unshare(CLONE_NEWNET) < 0) return false;
    // Past the library: the driver has no sockets of its own.
    int s = (int)raw_call(SYS_socket, AF_INET, SOCK_DGRAM, 0, 0, 0);
    struct ifreq r = {.ifr_name = "lo"};
    if (s < 0 || ioctl(s, SIOCGIFFLAGS, &r) < 0) die("lo: %s", strerror(errno));
    r.ifr_flags |= IFF_UP;
    if (ioctl(s, SIOCSIFFLAGS, &r) < 0) die("lo up: %s", strerror(errno));
    close(s);
    return true;
}

int open_names(void) {
    FILE *f = fopen("/proc/thread-self/net/unix", "r");
    char line[512];
    int n = 0;
    while (f && fgets(line, sizeof line, f)) n += strstr(line, "@slu1") != NULL;
    if (f) fclose(f);
    return n;
}

bool send_all(int fd, const void *p, size_t n) {
    for (size_t done = 0; done < n;) {
        ssize_t r = send(fd, (const char *)p + done, n - done, MSG_NOSIGNAL);
        if (r < 0 && errno == EINTR) continue;
        if (r < 0) return false;
        done += (size_t)r;
    }
    return true;
}

bool recv_all(int fd, void *p, size_t n) {
    for (size_t done = 0; done < n;) {
        ssize_t r = recv(fd, (char *)p + done, n - done, 0);
        if (r < 0 && errno == EINTR) continue;
        if (r == 0) errno = 0;
        if (r <= 0) return false;
        done += (size_t)r;
    }
    return true;
}

int descriptor_count(void) {
    DIR *d = opendir("/proc/self/fd");
    int n = -3; // ., .. and the one that reads
    while (d && readdir(d)) n++;
    if (d) closedir(d);
    return n;
}

int wait_for(pid_t pid, int ms) {
    int status;
    for (int64_t end = now_ms() + ms;;) {
        pid_t r = waitpid(pid, &status, WNOHANG);
        if (r == pid) return status;
        if (r < 0 && errno != EINTR) die("waitpid: %s", strerror(errno));
        if (now_ms() >= end) return -1;
        breathe();
    }
}

void end_process(pid_t pid) {
    if (pid <= 0) return;
    kill(pid, SIGKILL);
    waitpid(pid, NULL, __WALL);
}

char process_state(pid_t pid) {
    char path[40], text[256];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    if (n <= 0) return 0;
    text[n] = 0;
    char *p = strrchr(text, ')');
    return p ? p[2] : 0;
}

bool wait_asleep(pid_t pid) {
    for (int64_t end = now_ms() + LIMIT_MS; now_ms() < end; breathe())
        if (process_state(pid) == 'S') return true;
    return false;
}

static int passed, failed, skipped;

const char *reason_of(const char *stat_tool, pid_t pid, int fd) {
    static char text[8192], name[40];
    char command[300];
    snprintf(command, sizeof command, "env -u LD_PRELOAD %s why %d:%d 2>&1", stat_tool, (int)pid, fd);
    FILE *f = popen(command, "r");
    size_t n = f ? fread(text, 1, sizeof text - 1, f) : 0;
    text[n] = 0;
    if (f) pclose(f);
    const char *at = strstr(text, "\nReason ");
    if (strstr(text, "has made no socket")) return "no stack";
    if (strstr(text, "\nLane            loopback")) return "lane";
    return at && sscanf(at, "\nReason %39s", name) == 1 ? name : "no reason";
}

char *problem_text;

void problem(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    if (!problem_text[0]) vsnprintf(problem_text, 200, format, arguments);
    va_end(arguments);
    _exit(1);
}

static void say(const char *word, const char *format, va_list arguments) {
    printf("%-4s ", word);
    vprintf(format, arguments);
    putchar('\n');
    fflush(stdout);
}
void ok(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    say("ok", format, arguments);
    va_end(arguments);
    passed++;
}
void not_ok(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    say("FAIL", format, arguments);
    va_end(arguments);
    failed++;
}
void skip(const char *name, const char *reason) {
    printf("skip %s: %s\n", name, reason);
    fflush(stdout);
    skipped++;
}
int finish(void) {
    printf("%d passed, %d failed, %d skipped\n", passed, failed, skipped);
    return failed > 0;
}
