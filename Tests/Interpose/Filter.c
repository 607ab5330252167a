// A program that shuts itself in: a filter kills it at any system call but its own few. Nothing of the library's may be
// among the others, neither for sockets made before nor at signals, ends and exits.
#include "Exercise.h"
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>

static const int allowed[] = {
    SYS_read, SYS_write, SYS_readv, SYS_sendto, SYS_recvfrom, SYS_poll, SYS_select, SYS_pselect6, SYS_epoll_wait, SYS_close,
    SYS_dup2, SYS_socket, SYS_fcntl, SYS_getsockopt, SYS_getpid, SYS_gettid, SYS_tgkill, SYS_rt_sigreturn, SYS_rt_sigaction,
    SYS_exit_group,
};
enum { COUNT = sizeof allowed / sizeof *allowed };
static volatile sig_atomic_t hits;
static void count(int signal) { (void)signal, hits++; }

static void shut_in(int by_syscall) {
    struct sock_filter code[COUNT + 3] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr))};
    for (int i = 0; i < COUNT; i++) code[i + 1] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, allowed[i], COUNT - i, 0);
    code[COUNT + 1] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
    code[COUNT + 2] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    struct sock_fprog program = {COUNT + 3, code};
    SAY("no new privileges", prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    if (by_syscall)
        SAY("filter", syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program));
    else
        SAY("filter", prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0));
}

int main(int arguments, char **ignored) {
    (void)ignored;
    static char buffer[4096];
    setvbuf(stdout, buffer, _IOLBF, sizeof buffer);
    puts("begins");
    int p[2], set = epoll_create1(0);
    tcp_pair(p);
    struct epoll_event e = {EPOLLIN, {0}};
    must(!epoll_ctl(set, EPOLL_CTL_ADD, p[1], &e), "epoll_ctl");
    signal(SIGUSR1, count);
    struct sigaction before, after;
    sigaction(SIGUSR1, NULL, &before);
    SAY("asking", prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, NULL, 0, 0)); // leaves everything as it is
    SAY("alive", fcntl(p[0], F_GETFL) == O_RDWR);
    shut_in(arguments > 1);
    struct sockaddr_in from;
    struct timeval t = {0, 0};
    struct timespec none = {0, 0};
    char in[8];
    fd_set set_of_one;
    FD_ZERO(&set_of_one);
    FD_SET(p[1], &set_of_one);
    SAY("send", send(p[0], "bytes", 5, 0));
    SAY("poll", poll(&(struct pollfd){p[1], POLLIN, 0}, 1, 1000));
    SAY("select", select(p[1] + 1, &set_of_one, NULL, NULL, &t));
    SAY("pselect", pselect(p[1] + 1, &set_of_one, NULL, NULL, &none, NULL));
    SAY("epoll_wait", epoll_wait(set, &e, 1, 1000));
    SAY("recvfrom", recvfrom(p[1], in, 2, 0, (struct sockaddr *)&from, &(socklen_t){sizeof from}));
    SAY("read", read(p[1], in, 2));
    SAY("readv", readv(p[1], &(struct iovec){in, 2}, 1));
    SAY("raise", raise(SIGUSR1));
    printf("handled %d\n", hits);
    SAY("sigaction", sigaction(SIGUSR1, NULL, &after));
    printf("as before %d\n", after.sa_handler == before.sa_handler && after.sa_flags == before.sa_flags);
    signal(SIGUSR1, count);
    raise(SIGUSR1);
    printf("handled %d\n", hits);
    SAY("dup2", dup2(p[0], 50));
    SAY("dup2", dup2(0, p[0]) == p[0]);
    int another = socket(AF_INET, SOCK_STREAM, 0);
    SAY("close", close(another));
    SAY("close", close(50));
    SAY("end", read(p[1], in, 2));
    SAY("close", close(p[1]));
    exit(0);
}
