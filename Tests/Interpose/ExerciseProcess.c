// exec, identity, clone, exits, and the same things by syscall().
#include "Exercise.h"
#include <grp.h>
#include <linux/aio_abi.h>
#include <linux/capability.h>
#include <gnu/libc-version.h>
#include <sched.h>
#include <spawn.h>
#include <sys/fsuid.h>
#include <sys/resource.h>
#include <sys/prctl.h>
#include <wordexp.h>

int capset(cap_user_header_t, const cap_user_data_t);
int capget(cap_user_header_t, cap_user_data_t);
pid_t __fork(void);
int __clone(int (*)(void *), void *, int, void *, ...);

/// Runs `body` in a child and prints how that ended.
#define CHILD(name, ...)                                                                                               \
    do {                                                                                                               \
        fflush(stdout);                                                                                                \
        pid_t pid = fork();                                                                                            \
        must(pid >= 0, "fork");                                                                                        \
        if (pid == 0) {                                                                                                \
            __VA_ARGS__;                                                                                                 \
            _exit(0);                                                                                                  \
        }                                                                                                              \
        say_end(name, pid);                                                                                            \
    } while (0)

static int clone_main(void *argument) {
    printf("cloned %s\n", (char *)argument);
    fflush(stdout);
    return 5;
}
static void say_quick(void) { must(write(1, "at quick exit\n", 14) == 14, "write"); }

void exercise_process(const char *self) {
    (void)self;
    CHILD("_exit", _exit(3));
    CHILD("_Exit", _Exit(4));
    CHILD("quick_exit", (at_quick_exit(say_quick), quick_exit(5)));
    CHILD("exit", exit(6));
    fflush(stdout);
    pid_t pid = _Fork();
    if (pid == 0) _exit(8);
    say_end("_Fork", pid);
    pid = __fork();
    if (pid == 0) _exit(7);
    say_end("__fork", pid);
    long failed = syscall(SYS_clone, CLONE_SIGHAND | SIGCHLD, 0, 0, 0, 0);
    printf("a fork that fails = %ld %s\n", failed, strerrorname_np(errno));
    static char stack[2][64 << 10] __attribute__((aligned(16)));
    fflush(stdout);
    say_end("clone", clone(clone_main, stack[0] + sizeof stack[0], SIGCHLD, "fork"));
    fflush(stdout);
    say_end("__clone", __clone(clone_main, stack[1] + sizeof stack[1], CLONE_VM | CLONE_VFORK | SIGCHLD, "vfork"));
    CHILD("setfsuid", { SAY("setfsuid", setfsuid(65534)); SAY("setfsgid", setfsgid(65534)); SAY("setfsuid", setfsuid(0)); });
    CHILD("setgroups", { SAY("setgroups", setgroups(1, (gid_t[]){65534})); SAY("initgroups", initgroups("nobody", 65534)); });
    CHILD("setgid", { SAY("setgid", setgid(65534)); SAY("setegid", setegid(0)); SAY("getegid", getegid()); });
    CHILD("setregid", { SAY("setregid", setregid(0, 65534)); SAY("setresgid", setresgid(65534, 65534, 65534)); });
    CHILD("seteuid", { SAY("seteuid", seteuid(65534)); SAY("setreuid", setreuid(65534, 65534)); SAY("setuid", setuid(0)); });
    CHILD("setuid", { SAY("setuid", setuid(65534)); SAY("setresuid", setresuid(0, 0, 0)); });
    CHILD("setresuid", SAY("setresuid", setresuid(65534, 65534, 65534)));
    CHILD("capset", {
        struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
        struct __user_cap_data_struct d[2] = {{0}};
        SAY("capget", capget(&h, d));
        d[0].effective = d[1].effective = 0;
        SAY("capset", capset(&h, d));
        SAY("capset wrong", capset(NULL, d));
    });
    CHILD("unshare", { SAY("unshare", unshare(CLONE_FS)); SAY("unshare wrong", unshare(1)); SAY("setns", setns(999, 0)); });
    CHILD("prctl", {
        SAY("prctl dumpable", prctl(PR_SET_DUMPABLE, 0, 0, 0, 0));
        SAY("prctl get", prctl(PR_GET_DUMPABLE, 0, 0, 0, 0));
        SAY("prctl wrong", prctl(99999, 0, 0, 0, 0));
        fflush(stdout);
        SAY("prctl seccomp", prctl(PR_SET_SECCOMP, 1, 0, 0, 0));
        fflush(stdout);
        syscall(SYS_exit, 0);
    });
}

void exercise_exec(const char *self) {
    char *arguments[] = {"exercise", "--echo", "one", "two", NULL}, *environment[] = {"EXERCISE=set", NULL};
    const char *preload = getenv("LD_PRELOAD"), *counts = getenv("STANDIN_COUNTS");
    char keep[2][4096];
    snprintf(keep[0], sizeof keep[0], "LD_PRELOAD=%s", preload ? preload : "");
    snprintf(keep[1], sizeof keep[1], "STANDIN_COUNTS=%s", counts ? counts : "");
    char *kept[] = {"EXERCISE=kept", keep[0], keep[1], "PATH=/bin:/usr/bin", NULL};
    CHILD("execve", execve(self, arguments, environment));
    CHILD("execv", execv(self, arguments));
    CHILD("execvp", execvp(self, arguments));
    CHILD("execvpe", execvpe(self, arguments, kept));
    CHILD("execl", execl(self, "exercise", "--echo", "l", NULL));
    CHILD("execlp", execlp("sh", "sh", "-c", "echo lp $0 $1", "a", "b", NULL));
    CHILD("execle", execle(self, "exercise", "--echo", "le", NULL, kept));
    int fd = open(self, O_RDONLY | O_CLOEXEC);
    CHILD("fexecve", fexecve(fd, arguments, environment));
    CHILD("execveat", execveat(fd, "", arguments, kept, AT_EMPTY_PATH));
    close(fd);
    CHILD("exec fails", { SAY("execv", execv("/nonexistent", arguments)); SAY("execlp", execlp("nonexistent-x", "x", NULL)); });
    pid_t pid = vfork();
    if (pid == 0) {
        execv(self, arguments);
        _exit(1);
    }
    say_end("vfork", pid);
}

FILE *_IO_popen(const char *, const char *);
/// Programs that libc starts by itself.
void exercise_spawn(void) {
    char *arguments[] = {"sh", "-c", "exit 7", NULL};
    pid_t pid = -1;
    fflush(stdout);
    SAY("posix_spawn", posix_spawn(&pid, "/bin/sh", NULL, NULL, arguments, environ));
    say_end("posix_spawn", pid);
    SAY("posix_spawnp", posix_spawnp(&pid, "sh", NULL, NULL, arguments, environ));
    say_end("posix_spawnp", pid);
    SAY("posix_spawn fails", posix_spawn(&pid, "/nonexistent", NULL, NULL, arguments, environ));
    const char *const later[] = {"pidfd_spawn", "pidfd_spawnp"};
    for (int i = 0; i < 2; i++) {
        int (*start)(int *, const char *, const void *, const void *, char *const *, char *const *) = dlsym(RTLD_DEFAULT, later[i]);
        int fd = -1;
        if (strverscmp(gnu_get_libc_version(), "2.39") < 0 || !start) continue;
        SAY(later[i], start(&fd, "/bin/sh", NULL, NULL, arguments, environ));
        wait(NULL);
        SAY("its close", close(fd));
    }
    SAY("system", system("exit 3"));
    SAY("system asks", system(NULL) != 0);
    char line[64] = "";
    FILE *f = popen("echo from popen", "r");
    SAY("popen reads", fgets(line, sizeof line, f) == line);
    printf("%s", line);
    SAY("pclose", pclose(f));
    f = _IO_popen("exit 4", "w");
    SAY("_IO_popen", pclose(f));
    SAY("popen wrong", popen("true", "x") != NULL);
    wordexp_t words;
    SAY("wordexp", wordexp("$(echo a b) c", &words, 0));
    printf("%zu %s %s\n", words.we_wordc, words.we_wordv[0], words.we_wordv[2]);
    wordfree(&words);
    SAY("wordexp wrong", wordexp("a | b", &words, 0));
    CHILD("no descriptors", {
        struct rlimit few = {3, 3};
        SAY("setrlimit", setrlimit(RLIMIT_NOFILE, &few));
        SAY("dup", dup(0));
    });
}

static char in[64];
static void syscall_bytes(void) {
    struct sockaddr_in address;
    int l = listener(&address);
    long a = syscall(SYS_socket, AF_INET, SOCK_STREAM, 0);
    SAY("connect", syscall(SYS_connect, a, &address, sizeof address));
    long b = syscall(SYS_accept4, l, NULL, NULL, SOCK_CLOEXEC);
    SAY("accept", syscall(SYS_accept, 999, NULL, NULL));
    struct iovec part = {"vector", 6}, room = {in, sizeof in};
    struct msghdr out = {.msg_iov = &part, .msg_iovlen = 1}, back = {.msg_iov = &room, .msg_iovlen = 1};
    struct mmsghdr outs = {.msg_hdr = out}, backs = {.msg_hdr = back};
    int value = 1;
    socklen_t n = sizeof value;
    SAY("write", syscall(SYS_write, a, "bytes", 5));
    SAY("read", syscall(SYS_read, b, in, sizeof in));
    SAY("writev", syscall(SYS_writev, a, &part, 1));
    SAY("readv", syscall(SYS_readv, b, &room, 1));
    SAY("pwritev2", syscall(SYS_pwritev2, a, &part, 1, -1L, -1L, 0));
    SAY("preadv2", syscall(SYS_preadv2, b, &room, 1, -1L, -1L, 0));
    SAY("sendto", syscall(SYS_sendto, a, "to", 2, 0, NULL, 0));
    SAY("recvfrom", syscall(SYS_recvfrom, b, in, sizeof in, 0, NULL, NULL));
    SAY("sendmsg", syscall(SYS_sendmsg, a, &out, 0));
    SAY("recvmsg", syscall(SYS_recvmsg, b, &back, 0));
    SAY("sendmmsg", syscall(SYS_sendmmsg, a, &outs, 1, 0));
    SAY("recvmmsg", syscall(SYS_recvmmsg, b, &backs, 1, 0, NULL));
    SAY("getsockopt", syscall(SYS_getsockopt, a, SOL_SOCKET, SO_ERROR, &value, &n));
    SAY("setsockopt", syscall(SYS_setsockopt, a, SOL_SOCKET, SO_KEEPALIVE, &value, n));
    SAY("ioctl", syscall(SYS_ioctl, a, FIONREAD, &value));
    SAY("fcntl", syscall(SYS_fcntl, a, F_GETFL));
    SAY("sendfile", syscall(SYS_sendfile, a, 999, NULL, 5));
    SAY("splice", syscall(SYS_splice, 999, NULL, a, NULL, 5, 0));
    long d = syscall(SYS_dup, a);
    SAY("dup2", syscall(SYS_dup2, a, d) == d);
    SAY("dup3", syscall(SYS_dup3, a, d, O_CLOEXEC) == d);
    SAY("dupfd", syscall(SYS_fcntl, a, F_DUPFD, 200));
    SAY("shutdown", syscall(SYS_shutdown, 200, SHUT_WR));
    SAY("read end", syscall(SYS_read, b, in, sizeof in));
    SAY("bind", syscall(SYS_bind, a, &address, 3));
    SAY("listen", syscall(SYS_listen, a, 3));
    SAY("close_range", syscall(SYS_close_range, 200, 210, 0));
    SAY("close", syscall(SYS_close, a));
    SAY("close again", syscall(SYS_close, a));
    close((int)b), close((int)d), close(l);
}
static void syscall_waits(void) {
    int p[2];
    tcp_pair(p);
    struct pollfd f = {p[0], POLLIN, 0};
    struct timespec t = {0, 3000000};
    struct timeval tv = {0, 3000};
    fd_set r;
    FD_ZERO(&r);
    FD_SET(p[0], &r);
    SAY("poll", syscall(SYS_poll, &f, 1, 2));
    SAY("ppoll", syscall(SYS_ppoll, &f, 1, &t, NULL, 8));
    printf("left %ld\n", t.tv_nsec);
    t.tv_nsec = 3000000;
    unsigned long mask = 0;
    SAY("ppoll wrong mask", syscall(SYS_ppoll, &f, 1, &t, &mask, 4));
    SAY("select", syscall(SYS_select, 64, &r, NULL, NULL, &tv));
    struct {
        unsigned long *mask;
        size_t bytes;
    } sixth = {&mask, 8};
    FD_SET(p[0], &r);
    SAY("pselect6", syscall(SYS_pselect6, 64, &r, NULL, NULL, &t, &sixth));
    printf("left %ld\n", t.tv_nsec);
    t.tv_nsec = 3000000;
    long set = syscall(SYS_epoll_create1, 0), old = syscall(SYS_epoll_create, 3);
    struct epoll_event e = {EPOLLOUT, {0}}, got;
    SAY("epoll_ctl", syscall(SYS_epoll_ctl, set, EPOLL_CTL_ADD, p[0], &e));
    SAY("epoll_wait", syscall(SYS_epoll_wait, set, &got, 1, 100));
    SAY("epoll_pwait", syscall(SYS_epoll_pwait, set, &got, 1, 100, &mask, 8));
    SAY("epoll_pwait2", syscall(SYS_epoll_pwait2, set, &got, 1, &t, NULL, 8));
    close((int)set), close((int)old), close(p[0]), close(p[1]);
}

void exercise_syscall(void) {
    syscall_bytes();
    syscall_waits();
    SAY("unknown", syscall(9999));
    SAY("gettid", syscall(SYS_gettid) == gettid());
    SAY("mmap", syscall(SYS_mmap, 0L, 4096L, 3L, 0x22L, -1L, 0L) > 4096);
    SAY("open", syscall(SYS_openat, AT_FDCWD, "/nonexistent", O_RDONLY, 0));
    fflush(stdout);
    long pid = __fork();
    if (pid == 0) _exit(8);
    say_end("__fork", (pid_t)pid);
    pid = syscall(SYS_fork);
    if (pid == 0) _exit(9);
    say_end("fork", (pid_t)pid);
    pid = syscall(SYS_clone, SIGCHLD, 0L, 0L, 0L, 0L);
    if (pid == 0) syscall(SYS_exit_group, 10);
    say_end("clone", (pid_t)pid);
    CHILD("setuid", SAY("setuid", syscall(SYS_setuid, 65534)));
    CHILD("seccomp", SAY("seccomp wrong", syscall(SYS_seccomp, 0L, 1L, 0L)));
    CHILD("prctl", SAY("prctl", syscall(SYS_prctl, PR_SET_DUMPABLE, 1L, 0L, 0L, 0L)));
    SAY("io_uring_setup", syscall(SYS_io_uring_setup, 0L, 0L));
    SAY("io_submit", syscall(SYS_io_submit, 0L, 0L, 0L));
    CHILD("execve", syscall(SYS_execve, "/bin/true", (char *[]){"true", NULL}, (char *[]){NULL}));
}
