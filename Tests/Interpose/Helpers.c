// What the test programs share.
#include "Exercise.h"
#include <pthread.h>

void say(const char *name, long result, int error) {
    if (result >= 0 && error == 77)
        printf("%s = %ld\n", name, result);
    else if (result >= 0)
        printf("%s = %ld, but errno was changed to %s\n", name, result, strerrorname_np(error));
    else
        printf("%s = %ld %s\n", name, result, error == 77 ? "" : strerrorname_np(error));
}
void say_text(const char *name, const char *bytes, long count) { printf("%s: \"%.*s\"\n", name, count < 0 ? 0 : (int)count, bytes); }
void must(int truth, const char *what) {
    if (truth) return;
    printf("cannot go on: %s: %s\n", what, strerror(errno));
    fflush(stdout);
    _exit(99);
}
int listener(struct sockaddr_in *address) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    *address = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof *address;
    must(fd >= 0 && !bind(fd, (struct sockaddr *)address, n) && !listen(fd, 8) && !getsockname(fd, (struct sockaddr *)address, &n), "listen");
    return fd;
}
struct connecting {
    int fd;
    struct sockaddr_in address;
};
static void *connect_there(void *p) {
    struct connecting *c = p;
    must(!connect(c->fd, (struct sockaddr *)&c->address, sizeof c->address), "connect");
    return NULL;
}
void tcp_pair(int pair[2]) {
    // Two threads, so that both ends can meet before the first byte.
    struct connecting c;
    pthread_t thread;
    int l = listener(&c.address);
    c.fd = pair[0] = socket(AF_INET, SOCK_STREAM, 0);
    must(pair[0] >= 0 && !pthread_create(&thread, NULL, connect_there, &c), "thread");
    pair[1] = accept(l, NULL, NULL);
    must(pair[1] >= 0 && !pthread_join(thread, NULL), "accept");
    close(l);
}
void say_end(const char *name, pid_t pid) {
    int status = 0;
    must(waitpid(pid, &status, 0) == pid, "waitpid");
    if (WIFSIGNALED(status))
        printf("%s: signal %d\n", name, WTERMSIG(status));
    else
        printf("%s: exit %d\n", name, WEXITSTATUS(status));
}
