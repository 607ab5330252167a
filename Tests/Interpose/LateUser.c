// A child of fork ends by exit, and a library closes its copy of a connection later still: the parent's goes on, with all
// that came meanwhile.
#include "Exercise.h"

extern int late_fd;
enum { ROUNDS = 100, SIZE = 64 };

static void peer(struct sockaddr_in *address, int ready) {
    char bytes[SIZE];
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    must(!connect(fd, (struct sockaddr *)address, sizeof *address), "connect");
    for (int i = 0; i < ROUNDS; i++)
        must(send(fd, bytes, SIZE, 0) == SIZE && recv(fd, bytes, SIZE, MSG_WAITALL) == SIZE, "rounds");
    must(send(fd, "unread by now", 13, 0) == 13, "send");
    must(write(ready, "x", 1) == 1, "write");
    must(recv(fd, bytes, SIZE, 0) == 11 && !memcmp(bytes, "still there", 11), "the peer reads");
    must(send(fd, "an answer", 9, 0) == 9, "the peer answers");
    must(recv(fd, bytes, SIZE, 0) == 0, "the peer sees the end");
    close(fd);
    _exit(0);
}

int main(void) {
    setvbuf(stdout, NULL, _IOLBF, 1 << 16);
    struct sockaddr_in address;
    int l = listener(&address), ready[2];
    char bytes[SIZE];
    must(!pipe(ready), "pipe");
    pid_t other = fork();
    if (other == 0) {
        close(l);
        peer(&address, ready[1]);
    }
    int fd = accept(l, NULL, NULL);
    for (int i = 0; i < ROUNDS; i++)
        must(recv(fd, bytes, SIZE, MSG_WAITALL) == SIZE && send(fd, bytes, SIZE, 0) == SIZE, "rounds");
    must(read(ready[0], bytes, 1) == 1, "read");
    for (int i = 0; i < 3; i++) {
        fflush(stdout);
        pid_t pid = fork();
        if (pid == 0) {
            late_fd = fd;
            exit(i);
        }
        say_end("child", pid);
    }
    long n = recv(fd, bytes, SIZE, 0);
    say_text("what came before", bytes, n);
    SAY("send", send(fd, "still there", 11, 0));
    n = recv(fd, bytes, SIZE, 0);
    say_text("answer", bytes, n);
    close(fd);
    say_end("peer", other);
    close(l);
    return 0;
}
