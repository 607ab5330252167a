// What programs do around their sockets: raw system calls, fortified forms, asynchronous I/O, filters, other identities.
#include "harness.h"
#include <aio.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

static void talk(int fd) {
    dp_sync("talk");
    for (int i = 0; i < 20; i++) {
        char text[16];
        if (!dp_server && send(fd, "question", 8, 0) != 8) dp_fail("send");
        if (recv(fd, text, 8, MSG_WAITALL) != 8) dp_fail("recv");
        if (dp_server && send(fd, "answer..", 8, 0) != 8) dp_fail("send");
    }
    dp_log("20 rounds");
    dp_sync("end");
}

DP_CASE(programs, raw_system_calls) {
    int fd = dp_pair(0);
    char text[32];
    struct iovec part = {text, sizeof text};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (dp_server) {
        dp_settle(fd, 4);
        DP(syscall(SYS_read, fd, text, 4));
        dp_tell("next");
        dp_settle(fd, 4);
        DP(syscall(SYS_recvfrom, fd, text, 4, MSG_PEEK, NULL, NULL));
        DP(syscall(SYS_recvmsg, fd, &message, 0));
        dp_log("%s", dp_bytes(text, 4));
        DP(syscall(SYS_recvfrom, fd, text, 4, MSG_DONTWAIT, NULL, NULL));
        struct pollfd p = {fd, POLLIN, 0};
        DP(syscall(SYS_poll, &p, 1, 0));
        DP(syscall(SYS_write, fd, "done", 4));
    } else {
        DP(syscall(SYS_write, fd, "read", 4));
        dp_hear("next");
        DP(syscall(SYS_sendto, fd, "recv", 4, MSG_NOSIGNAL, NULL, 0));
        dp_recv(fd, 10, 0);
    }
    talk(fd);
    dp_proof(fd);
    DP(syscall(SYS_close, fd));
    dp_recv(fd, 1, 0);
}

DP_CASE(programs, raw_epoll) {
    int fd = dp_pair(0);
    if (dp_server) {
        int set = (int)syscall(SYS_epoll_create1, 0);
        struct epoll_event event = {.events = EPOLLIN, .data.u64 = 7};
        DP(syscall(SYS_epoll_ctl, set, EPOLL_CTL_ADD, fd, &event));
        dp_tell("blocks");
        DP(syscall(SYS_epoll_wait, set, &event, 1, -1));
        DP(syscall(SYS_epoll_pwait, set, &event, 1, -1, NULL, 8));
        dp_log("%d %s", (int)event.data.u64, dp_poll_names(event.events));
        dp_recv(fd, 10, 0);
        DP(syscall(SYS_close, set));
    } else {
        dp_until_peer_blocked("blocks");
        dp_say(fd, "raw");
    }
    talk(fd);
    dp_close(fd);
}

DP_CASE(programs, raw_socket_and_dup) {
    if (dp_server) {
        int listener = dp_listen("127.0.0.1", 0);
        int fd = (int)DP_MUST(syscall(SYS_accept4, listener, NULL, NULL, SOCK_CLOEXEC));
        dp_warm(fd);
        int copy = (int)DP_MUST(syscall(SYS_dup, fd));
        DP(syscall(SYS_close, fd));
        talk(copy);
        dp_close(copy);
        dp_close(listener);
    } else {
        uint16_t port = dp_hear_port();
        struct sockaddr_storage to;
        socklen_t length = dp_address("127.0.0.1", port, &to);
        int fd = (int)DP_MUST(syscall(SYS_socket, AF_INET, SOCK_STREAM, 0));
        DP(syscall(SYS_connect, fd, &to, length));
        dp_warm(fd);
        talk(fd);
        dp_close(fd);
    }
}

// The forms that fortified programs call.
extern ssize_t __read_chk(int, void *, size_t, size_t);
extern ssize_t __recv_chk(int, void *, size_t, size_t, int);
extern ssize_t __recvfrom_chk(int, void *, size_t, size_t, int, struct sockaddr *, socklen_t *);
extern int __poll_chk(struct pollfd *, nfds_t, int, size_t);
extern int __ppoll_chk(struct pollfd *, nfds_t, const struct timespec *, const sigset_t *, size_t);

DP_CASE(programs, fortified_forms) {
    int fd = dp_pair(0);
    if (dp_server) {
        char text[8];
        struct pollfd p = {fd, POLLIN, 0};
        DP(__poll_chk(&p, 1, -1, sizeof p));
        dp_settle(fd, 12);
        DP(__ppoll_chk(&p, 1, NULL, NULL, sizeof p));
        DP(__read_chk(fd, text, 4, sizeof text));
        DP(__recv_chk(fd, text, 4, sizeof text, MSG_PEEK));
        DP(__recv_chk(fd, text, 4, sizeof text, 0));
        DP(__recvfrom_chk(fd, text, 4, sizeof text, 0, NULL, NULL));
        dp_log("%s", dp_bytes(text, 4));
        DP(__recv_chk(fd, text, 4, sizeof text, MSG_DONTWAIT));
    } else {
        dp_say(fd, "readrecvfrom");
    }
    talk(fd);
    dp_close(fd);
}

extern ssize_t __read(int, void *, size_t);
extern ssize_t __write(int, const void *, size_t);
extern ssize_t __send(int, const void *, size_t, int);
extern int __poll(struct pollfd *, nfds_t, int);
extern int __close(int);

DP_CASE(programs, underscore_names) {
    int fd = dp_pair(0);
    if (dp_server) {
        char text[8];
        struct pollfd p = {fd, POLLIN, 0};
        DP(__poll(&p, 1, -1));
        DP(__read(fd, text, 8));
        dp_log("%s", dp_bytes(text, 4));
        DP(__write(fd, "okay", 4));
    } else {
        DP(__send(fd, "send", 4, 0));
        dp_recv(fd, 10, 0);
    }
    talk(fd);
    dp_proof(fd);
    DP(__close(fd));
}

DP_CASE(programs, asynchronous_read_and_write) {
    int fd = dp_pair(0);
    char text[16] = "aio";
    struct aiocb request = {.aio_fildes = fd, .aio_buf = text, .aio_nbytes = 3};
    const struct aiocb *list[1] = {&request};
    if (dp_server) {
        request.aio_nbytes = sizeof text;
        DP(aio_read(&request));
    } else {
        DP(aio_write(&request));
    }
    while (aio_error(&request) == EINPROGRESS) aio_suspend(list, 1, NULL);
    DP(aio_error(&request));
    dp_log("%zd %s", aio_return(&request), dp_bytes(text, 3));
    talk(fd);
    dp_close(fd);
}

DP_CASE(programs, shell_commands_beside) {
    int fd = dp_pair(0);
    DP(system("exit 3") >> 8);
    FILE *command = popen("echo from the shell", "r");
    char line[64] = "";
    if (command && fgets(line, sizeof line, command)) dp_log("%s", dp_bytes(line, strlen(line)));
    if (command) DP(pclose(command));
    talk(fd);
    dp_close(fd);
}

/// Allows everything but a call that no program makes here: enough to make the process a filtered one.
static void install_filter(void) {
    struct sock_filter rules[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_swapon, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof rules / sizeof *rules, rules};
    DP(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    DP(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program));
}

DP_CASE(programs, filter_of_system_calls) {
    int fd = dp_pair(0);
    if (dp_server) install_filter();
    talk(fd);
    dp_close(fd);
}

/// Kills the process at any call that a plain program with sockets has no need of.
static void install_strict_filter(void) {
    static const int allowed[] = {
        SYS_read, SYS_write, SYS_sendto, SYS_recvfrom, SYS_sendmsg, SYS_recvmsg, SYS_close, SYS_exit_group, SYS_exit,
        SYS_getsockopt, SYS_poll, SYS_ioctl, SYS_rt_sigreturn, SYS_futex, SYS_munmap, SYS_mmap, SYS_brk, SYS_getpid,
    };
    enum { COUNT = sizeof allowed / sizeof *allowed };
    struct sock_filter rules[2 + 2 * COUNT];
    rules[0] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (int i = 0; i < COUNT; i++) {
        rules[1 + 2 * i] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)allowed[i], 0, 1);
        rules[2 + 2 * i] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    }
    rules[1 + 2 * COUNT] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
    struct sock_fprog program = {2 + 2 * COUNT, rules};
    DP(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    DP(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program));
}

DP_CASE(programs, filter_that_kills) {
    int fd = dp_pair(0);
    if (dp_server) {
        dp_proof(fd);
        install_strict_filter();
        dp_proving = false;  // it would be one more system call
    }
    talk(fd);
    dp_close(fd);
}

DP_CASE(programs, another_user_id) {
    int fd = dp_pair(0);
    if (dp_server) {
        DP(setresgid(65534, 65534, 65534));  // refused without the right: then nothing changes
        DP(setresuid(65534, 65534, 65534));
    }
    talk(fd);
    int more = dp_pair(0);
    talk(more);
    dp_close(more);
    dp_close(fd);
}

DP_CASE(programs, not_dumpable) {
    int fd = dp_pair(0);
    if (dp_server) DP(prctl(PR_SET_DUMPABLE, 0));
    talk(fd);
    int more = dp_pair(0);
    talk(more);
    dp_close(more);
    dp_close(fd);
}

DP_CASE(programs, memory_locked_in_the_middle) {
    int fd = dp_pair(0);
    DP_SOME(mlockall(MCL_CURRENT | MCL_FUTURE));
    talk(fd);
    int more = dp_pair(0);
    talk(more);
    DP(munlockall());
    dp_close(more);
    dp_close(fd);
}

DP_CASE(programs, descriptor_limit_lowered) {
    int first = dp_pair(0);
    struct rlimit few = {20, 20};
    DP(setrlimit(RLIMIT_NOFILE, &few));
    int second = dp_pair(0);
    talk(first);
    talk(second);
    dp_close(first);
    dp_close(second);
}

DP_CASE(programs, high_descriptor_numbers) {
    int fd = dp_pair(0);
    int high = fcntl(fd, F_DUPFD, 3000);
    dp_log("%s", high >= 3000 ? "high" : dp_errno_name(errno));
    if (high >= 3000) {
        DP(close(fd));
        fd = high;
    }
    dp_poll(fd, POLLOUT | POLLIN, 0);
    talk(fd);
    dp_close(fd);
}

static int exit_fd = -1;
static void say_at_exit(void) {
    if (exit_fd >= 0) dp_say(exit_fd, "said at exit");
}

DP_CASE(programs, sends_in_an_exit_handler) {
    int fd = dp_pair(0);
    if (dp_server) {
        exit_fd = fd;
        atexit(say_at_exit);
        dp_proof(fd);
        exit(0);
    }
    dp_recv(fd, 100, 0);
    dp_recv(fd, 100, 0);
    dp_close(fd);
}

DP_CASE(programs, cwd_root_and_umask) {
    int fd = dp_pair(0);
    DP(chdir("/"));
    umask(0777);
    clearenv();
    talk(fd);
    int more = dp_pair(0);
    talk(more);
    dp_close(more);
    dp_close(fd);
}
