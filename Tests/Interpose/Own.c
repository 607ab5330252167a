// The closing loops of daemons against the core's own descriptor (number 700 of the stand-in): it stays, all others go.
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int failures;
#define EXPECT(truth)                                                                                                  \
    do {                                                                                                               \
        if (!(truth)) printf("line %d: not so: %s (%m)\n", __LINE__, #truth), failures++;                              \
    } while (0)
static int is_open(int fd) { return fcntl(fd, F_GETFD) >= 0; }
static void open_some(void) {
    for (int i = 0; i < 20; i++) EXPECT(socket(i & 1 ? AF_INET : AF_UNIX, SOCK_STREAM, 0) >= 0);
    EXPECT(dup2(3, 900) == 900);
}
static void expect_closed(int first) {
    for (int fd = first; fd < 1024; fd++)
        if (fd != 700 && fd != 800 && is_open(fd)) printf("%d is open\n", fd), failures++;
}
static void by_loop(void) {
    for (int fd = 3; fd < 1024; fd++) close(fd);
    EXPECT(close(700) == -1 && errno == EBADF);
}
static void by_range(void) { EXPECT(close_range(3, ~0u, 0) == 0); }
static void by_short_ranges(void) { EXPECT(!close_range(3, 700, 0) && !close_range(700, 700, 0) && !close_range(701, 5000, 2)); }
static void by_closefrom(void) { closefrom(3); }
static void by_list(void) { // without close_range, as under the filter of an old container
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_close_range, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    EXPECT(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    EXPECT(!prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &(struct sock_fprog){4, code}, 0, 0));
    EXPECT(close_range(3, ~0u, 0) == -1 && errno == EPERM && is_open(3));
    closefrom(3);
}
static void by_syscalls(void) {
    EXPECT(syscall(SYS_close, 700) == -1 && errno == EBADF);
    EXPECT(syscall(SYS_close_range, 3, ~0u, 0) == 0);
}
static void run(const char *name, void (*closes)(void)) {
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        open_some();
        closes();
        expect_closed(3);
        if (!is_open(700)) printf("own descriptor closed\n"), failures++;
        fflush(stdout);
        _exit(failures != 0);
    }
    int status;
    EXPECT(waitpid(pid, &status, 0) == pid);
    if (status) printf("%s: status %x\n", name, status), failures++;
}

int main(void) {
    for (int fd = 3; fd < 30; fd++) close(fd);
    EXPECT(is_open(700));
    run("close", by_loop);
    run("close_range", by_range);
    run("short ranges", by_short_ranges);
    run("closefrom", by_closefrom);
    run("closefrom by list", by_list);
    run("syscall", by_syscalls);
    // A program may want the very number: it gets it, and the core's descriptor has moved on.
    EXPECT(dup2(1, 700) == 700 && is_open(800));
    EXPECT(close(700) == 0 && !is_open(700));
    EXPECT(close(800) == -1 && is_open(800));
    EXPECT(dup3(1, 800, O_CLOEXEC) == 800);
    EXPECT(dup2(999, 800) == -1 && errno == EBADF);
    return failures != 0;
}
