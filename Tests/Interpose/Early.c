// A library whose constructor uses sockets, waits, signals and exits of others before the preload library's own has run.
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static char told[64] = "nothing";
static volatile sig_atomic_t hits;
static void count(int signal) { (void)signal, hits++; }
static int wrong(int at) { return snprintf(told, sizeof told, "step %d: errno %d", at, errno), 1; }

static int use(void) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    int l = socket(AF_INET, SOCK_STREAM, 0), c = (int)syscall(SYS_socket, AF_INET, SOCK_STREAM, 0), set = epoll_create1(0);
    if (l < 0 || c < 0 || set < 0) return wrong(1);
    if (bind(l, (struct sockaddr *)&a, n) || listen(l, 1) || getsockname(l, (struct sockaddr *)&a, &n)) return wrong(2);
    if (connect(c, (struct sockaddr *)&a, n)) return wrong(3);
    int s = accept(l, NULL, NULL);
    if (s < 0 || send(s, "early", 5, 0) != 5) return wrong(4);
    struct pollfd f = {c, POLLIN, 0};
    struct epoll_event e = {EPOLLIN, {0}};
    if (poll(&f, 1, 5000) != 1 || epoll_ctl(set, EPOLL_CTL_ADD, c, &e) || epoll_wait(set, &e, 1, 5000) != 1) return wrong(5);
    if (recv(c, told, sizeof told, 0) != 5) return wrong(6);
    signal(SIGUSR1, count);
    raise(SIGUSR1);
    if (!hits) return wrong(7);
    pid_t pid = fork();
    if (pid == 0) _exit(send(s, "child", 5, 0) != 5);
    int status;
    if (waitpid(pid, &status, 0) != pid || status || read(c, told, 5) != 5) return wrong(8);
    close(l), close(c), close(s), close(set);
    told[5] = 0;
    return 0;
}
__attribute__((constructor)) static void early(void) { use(); }
const char *early_told(void) { return told; }
