// A library that is opened by dlopen: it makes connections, is given some, and closes one in its destructor.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

static int last = -1;
static int inside(int fd, int rounds) {
    char out[64], in[64];
    for (int i = 0; i < rounds; i++) {
        memset(out, i, sizeof out);
        struct pollfd p = {fd, POLLIN, 0};
        if (send(fd, out, sizeof out, MSG_NOSIGNAL) != sizeof out) return 10;
        if (i % 2 && poll(&p, 1, 20000) != 1) return 11;
        if (recv(fd, in, sizeof in, MSG_WAITALL) != sizeof in || memcmp(in, out, sizeof in)) return 12;
    }
    return 0;
}
int plugin_dials(int port, int rounds) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(fd, (struct sockaddr *)&a, sizeof a)) return 1;
    int result = inside(fd, rounds);
    last = fd;
    return result ? -result : fd;
}
int plugin_talks(int fd, int rounds) { return inside(fd, rounds); }
int plugin_waits(int fd) {
    int set = epoll_create1(0);
    struct epoll_event e = {EPOLLIN, {0}};
    int n = epoll_ctl(set, EPOLL_CTL_ADD, fd, &e) ? -1 : epoll_wait(set, &e, 1, 20000);
    close(set);
    return n;
}
int plugin_closes(int fd) { return close(fd); }
int plugin_duplicates(int from, int to) { return dup2(from, to); }
__attribute__((destructor)) static void ends(void) {
    if (last < 0) return;
    inside(last, 30);
    send(last, "end of the plugin", 17, MSG_NOSIGNAL);
    close(last);
}
