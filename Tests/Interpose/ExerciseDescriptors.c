// The life of descriptor numbers, and calls by which libc or the kernel moves the bytes.
#include "Exercise.h"
#include <aio.h>
#include <spawn.h>
#include <stdarg.h>
#include <sys/eventfd.h>
#include <sys/fanotify.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/epoll.h>
#include <sys/pidfd.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <utmp.h>

int __close(int);
int __dup2(int, int);
int __fcntl(int, int, ...);
int __open(const char *, int, ...);
int __open64(const char *, int, ...);
int __open_2(const char *, int);
int __open64_2(const char *, int);
int __openat_2(int, const char *, int);
int __openat64_2(int, const char *, int);
int __pipe(int *);
int __dprintf_chk(int, int, const char *, ...);
int __vdprintf_chk(int, int, const char *, va_list);
FILE *_IO_fdopen(int, const char *);
int _IO_fclose(FILE *);

void exercise_descriptors(void) {
    int p[2];
    tcp_pair(p);
    SAY("close closed", close(999));
    SAY("__close closed", __close(999));
    int a = dup(p[0]);
    SAY("dup closed", dup(999));
    SAY("send by the duplicate", send(a, "dup", 3, 0));
    SAY("dup2 same", dup2(a, a));
    SAY("dup2 from closed", dup2(999, a));
    SAY("send still", send(a, "dup", 3, 0));
    SAY("dup2 over the socket", dup2(0, a) == a);
    SAY("send after", send(a, "dup", 3, 0));
    int low = dup(2);
    SAY("dup2 over stderr", dup2(p[0], 2));
    SAY_TRACKED("stderr", 2);
    SAY("stderr back", dup2(low, 2));
    close(low);
    SAY("__dup2", __dup2(p[0], a) == a);
    SAY("dup3 same", dup3(a, a, 0));
    SAY("dup3 wrong flags", dup3(p[0], a, 1));
    SAY("dup3", dup3(p[1], a, O_CLOEXEC) == a);
    SAY("cloexec", fcntl(a, F_GETFD));
    SAY("dup2 beyond", dup2(p[0], 1 << 30));
    SAY("close", close(a));
    SAY("close again", close(a));
    SAY("F_DUPFD", fcntl(p[0], F_DUPFD, 100));
    SAY("F_DUPFD_CLOEXEC", fcntl64(p[0], F_DUPFD_CLOEXEC, 100));
    SAY("F_SETFL", __fcntl(p[0], F_SETFL, O_NONBLOCK));
    SAY("F_GETFL", fcntl64(101, F_GETFL) == (O_RDWR | O_NONBLOCK));
    SAY("fcntl wrong", fcntl(p[0], 9999));
    SAY("fcntl closed", fcntl(999, F_GETFL));
    int n = -1;
    recv(p[1], &(char[64]){0}, 64, MSG_DONTWAIT);
    SAY("send", send(100, "four", 4, 0));
    struct pollfd wait = {p[1], POLLIN, 0};
    poll(&wait, 1, 5000);
    SAY("FIONREAD", ioctl(p[1], FIONREAD, &n));
    printf("%d bytes\n", n);
    SAY("FIONBIO", ioctl(p[1], FIONBIO, &n));
    SAY("ioctl closed", ioctl(999, FIONREAD, &n));
    SAY("ioctl wrong", ioctl(p[0], 0x5401 /* TCGETS */, &n));
    // Ranges. The numbers above 90 are ours; an open pipe stands above.
    int pipes[2];
    must(!pipe(pipes) && dup2(pipes[0], 120) == 120, "pipe");
    SAY("close_range wrong order", close_range(101, 100, 0));
    SAY("close_range wrong flags", close_range(100, 101, 64));
    SAY("close_range cloexec", close_range(100, 110, 4));
    SAY("still open", fcntl(100, F_GETFD));
    SAY("close_range", close_range(100, 110, 0));
    SAY("closed", fcntl(100, F_GETFD));
    SAY("closed", send(101, "x", 1, 0));
    SAY("kept", fcntl(120, F_GETFD));
    pid_t child = fork();
    if (child == 0) {
        closefrom(p[0]);
        _exit(fcntl(p[0], F_GETFD) < 0 && fcntl(p[1], F_GETFD) < 0 && fcntl(120, F_GETFD) < 0 ? 0 : 1);
    }
    say_end("closefrom", child);
    child = fork();
    if (child == 0) { // a socket at number 0, which then becomes something else inside libc
        close(0);
        must(socket(AF_INET, SOCK_STREAM, 0) == 0 && !daemon(1, 0), "daemon");
        _exit(write(0, "x", 1) == 1 ? 0 : 1);
    }
    say_end("daemon", child);
    child = fork();
    if (child == 0) {
        int terminal = posix_openpt(O_RDWR | O_NOCTTY);
        close(0);
        must(terminal >= 0 && !grantpt(terminal) && !unlockpt(terminal) && socket(AF_INET, SOCK_STREAM, 0) == 0, "terminal");
        setsid();
        int failed = login_tty(open(ptsname(terminal), O_RDWR));
        _exit(failed ? 2 : isatty(0) && write(0, "x", 1) == 1 ? 0 : 1);
    }
    say_end("login_tty", child);
    SAY("untouched by the child", send(p[0], "x", 1, 0));
    int free_number = dup(2);
    close(free_number);
    FILE *stream = fdopen(socket(AF_INET, SOCK_STREAM, 0), "r");
    SAY("freopen", (stream = freopen("/dev/null", "w", stream)) ? fileno(stream) == free_number : -1);
    SAY("write", write(fileno(stream), "x", 1));
    SAY("freopen64", (stream = freopen64("/dev/zero", "r", stream)) ? fileno(stream) == free_number : -1);
    SAY("read", read(fileno(stream), &(char){1}, 1));
    fclose(stream);
    SAY("fclose twice the same", fclose(fopen("/dev/null", "r")));
    close(120), close(pipes[0]), close(pipes[1]), close(p[0]), close(p[1]);
}

/// A number that was a socket is made anew behind the library's back, then by `make`: the old meaning must be gone.
#define ANEW(name, make)                                                                                               \
    do {                                                                                                               \
        int s = socket(AF_INET, SOCK_STREAM, 0);                                                                       \
        long gone = 0;                                                                                                 \
        __asm__ volatile("syscall" : "=a"(gone) : "a"(SYS_close), "D"((long)s) : "rcx", "r11", "memory");              \
        errno = 77;                                                                                                    \
        int made = (make);                                                                                             \
        printf("%s %s, write %s\n", name, made == s ? "same number" : made < 0 ? strerrorname_np(errno) : "other",     \
               write(made, "12345678", 8) < 0 ? strerrorname_np(errno) : "works");                                     \
        if (made >= 0) close(made);                                                                                    \
    } while (0)
static int first_of(int result, const int *pair) {
    if (result == 0) close(pair[1]);
    return result == 0 ? pair[0] : result;
}

/// The errors of calls that find the table of descriptors full.
static void when_none_is_left(void) {
    struct rlimit before, none;
    int v[2];
    getrlimit(RLIMIT_NOFILE, &before);
    none = before;
    none.rlim_cur = 0;
    setrlimit(RLIMIT_NOFILE, &none);
    SAY("open, none left", open("/dev/null", O_RDONLY));
    SAY("socket, none left", socket(AF_INET, SOCK_STREAM, 0));
    SAY("dup, none left", dup(1));
    SAY("pipe, none left", pipe(v));
    SAY("epoll_create1, none left", epoll_create1(0));
    setrlimit(RLIMIT_NOFILE, &before);
}

void exercise_makers(void) {
    int v[2];
    sigset_t none;
    sigemptyset(&none);
    char handle[sizeof(struct file_handle) + 128] = {0};
    ANEW("open", open("/dev/null", O_RDWR));
    ANEW("__open", __open("/dev/null", O_RDWR));
    ANEW("open64", open64("/dev/null", O_RDWR));
    ANEW("__open64", __open64("/dev/null", O_RDWR));
    ANEW("openat", openat(AT_FDCWD, "/dev/null", O_RDWR));
    ANEW("openat64", openat64(AT_FDCWD, "/dev/null", O_RDWR));
    ANEW("__open_2", __open_2("/dev/null", O_RDWR));
    ANEW("__open64_2", __open64_2("/dev/null", O_RDWR));
    ANEW("__openat_2", __openat_2(AT_FDCWD, "/dev/null", O_RDWR));
    ANEW("__openat64_2", __openat64_2(AT_FDCWD, "/dev/null", O_RDWR));
    ANEW("creat", creat("/dev/null", 0600));
    ANEW("creat64", creat64("/dev/null", 0600));
    ANEW("open_by_handle_at", open_by_handle_at(AT_FDCWD, (struct file_handle *)handle, O_RDONLY));
    ANEW("pipe", first_of(pipe(v), v));
    ANEW("__pipe", first_of(__pipe(v), v));
    ANEW("pipe2", first_of(pipe2(v, O_CLOEXEC), v));
    ANEW("socketpair", first_of(socketpair(AF_UNIX, SOCK_DGRAM, 0, v), v));
    ANEW("eventfd", eventfd(0, 0));
    ANEW("timerfd_create", timerfd_create(CLOCK_MONOTONIC, 0));
    ANEW("signalfd", signalfd(-1, &none, 0));
    ANEW("inotify_init", inotify_init());
    ANEW("inotify_init1", inotify_init1(IN_CLOEXEC));
    ANEW("fanotify_init", fanotify_init(0, O_RDONLY));
    ANEW("memfd_create", memfd_create("exercise", 0));
    ANEW("pidfd_open", pidfd_open(getpid(), 0));
    ANEW("socket", socket(AF_UNIX, SOCK_DGRAM, 0));
    ANEW("dup", dup(1) < 0 ? -1 : open("/dev/null", O_RDONLY)); // the duplicate keeps the number
    close(3);
    int self = pidfd_open(getpid(), 0), zero = open("/dev/null", O_RDWR);
    ANEW("pidfd_getfd", pidfd_getfd(self, zero, 0));
    close(self), close(zero);
    SAY("open with a mode", open("/nonexistent/x", O_CREAT | O_WRONLY, 0644));
    when_none_is_left();
}

static int by_list(int (*print)(int, const char *, va_list), int fd, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    int n = print(fd, format, arguments);
    va_end(arguments);
    return n;
}
static int by_checked_list(int fd, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    int n = __vdprintf_chk(fd, 1, format, arguments);
    va_end(arguments);
    return n;
}
static void await(struct aiocb *c) {
    while (aio_error(c) == EINPROGRESS) aio_suspend((const struct aiocb *const[]){c}, 1, NULL);
}
static char in[64];
/// Prints what arrives after `call` on the far end of a fresh pair; `fd` is the near one.
#define ARRIVES(name, call)                                                                                            \
    do {                                                                                                               \
        int p[2];                                                                                                      \
        tcp_pair(p);                                                                                                   \
        int fd = p[0];                                                                                                 \
        SAY(name, call);                                                                                               \
        if (fcntl(fd, F_GETFD) >= 0) SAY_TRACKED(name, fd);                                                            \
        say_text(name, in, recv(p[1], in, sizeof in, 0));                                                              \
        close(p[1]);                                                                                                   \
        close(fd);                                                                                                     \
    } while (0)
static int through_stream(int fd, FILE *(*opens)(int, const char *), int (*closes)(FILE *)) {
    FILE *f = opens(fd, "w");
    SAY_TRACKED("stream", fileno(f));
    fputs("by stdio", f);
    return closes(f);
}
static int through_aio(int fd, int (*call)(struct aiocb *)) {
    struct aiocb c = {.aio_fildes = fd, .aio_buf = "by aio", .aio_nbytes = 6};
    if (call(&c)) return -1;
    await(&c);
    return (int)aio_return(&c);
}
static int through_list(int fd, int (*call)(int, struct aiocb *const[], int, struct sigevent *)) {
    struct aiocb c = {.aio_fildes = fd, .aio_buf = "by list", .aio_nbytes = 7, .aio_lio_opcode = LIO_WRITE};
    return call(LIO_WAIT, (struct aiocb *const[]){NULL, &c}, 2, NULL);
}
static int read_by_aio(int fd, int (*call)(struct aiocb *)) {
    char got[8];
    struct aiocb c = {.aio_fildes = fd, .aio_buf = got, .aio_nbytes = sizeof got};
    if (call(&c)) return -1;
    shutdown(fd, SHUT_RD);
    await(&c);
    send(fd, "ended", 5, 0);
    return (int)aio_return(&c);
}
static int through_spawn(int fd) {
    posix_spawn_file_actions_t actions;
    pid_t pid;
    posix_spawn_file_actions_init(&actions);
    int failed = posix_spawn_file_actions_adddup2(&actions, fd, 1);
    failed |= posix_spawn(&pid, "/bin/echo", &actions, NULL, (char *[]){"echo", "spawned", NULL}, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (!failed) say_end("spawned", pid);
    return failed;
}

void exercise_hand_back(void) {
    ARRIVES("fdopen", through_stream(fd, fdopen, fclose));
    ARRIVES("_IO_fdopen", through_stream(fd, _IO_fdopen, _IO_fclose));
    ARRIVES("dprintf", dprintf(fd, "%d-%s", 42, "dprintf"));
    ARRIVES("vdprintf", by_list(vdprintf, fd, "%d-%s", 43, "vdprintf"));
    ARRIVES("__dprintf_chk", __dprintf_chk(fd, 1, "%d-%.1f", 44, 2.5));
    ARRIVES("__vdprintf_chk", by_checked_list(fd, "%d-%s", 45, "checked"));
    ARRIVES("posix_spawn_file_actions_adddup2", through_spawn(fd));
    ARRIVES("aio_write", through_aio(fd, aio_write));
    ARRIVES("aio_write64", through_aio(fd, (int (*)(struct aiocb *))aio_write64));
    ARRIVES("aio_read", read_by_aio(fd, aio_read));
    ARRIVES("aio_read64", read_by_aio(fd, (int (*)(struct aiocb *))aio_read64));
    ARRIVES("lio_listio", through_list(fd, lio_listio));
    ARRIVES("lio_listio64", through_list(fd, (int (*)(int, struct aiocb *const[], int, struct sigevent *))lio_listio64));
}
