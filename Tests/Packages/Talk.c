// Two programs that talk over TCP. `talk serve`: prints its port, echoes one connection to its end. `talk ask PORT N`: sends
// N different messages one by one, compares the answers, prints a line, and stays connected until a line comes on its input.
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static int serve(void) {
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof name;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listener, (struct sockaddr *)&name, length) || listen(listener, 1)) fail("listen");
    if (getsockname(listener, (struct sockaddr *)&name, &length)) fail("getsockname");
    printf("%d\n", ntohs(name.sin_port));
    fflush(stdout);
    int fd = accept(listener, NULL, NULL);
    if (fd < 0) fail("accept");
    char bytes[4096];
    ssize_t n;
    while ((n = recv(fd, bytes, sizeof bytes, 0)) > 0)
        if (send(fd, bytes, (size_t)n, MSG_NOSIGNAL) != n) fail("send");
    return n < 0;
}

static int ask(int port, int count) {
    struct sockaddr_in name = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(fd, (struct sockaddr *)&name, sizeof name)) fail("connect");
    for (int i = 0; i < count; i++) {
        char question[64], answer[64];
        snprintf(question, sizeof question, "%063d", i);
        if (send(fd, question, sizeof question, MSG_NOSIGNAL) != sizeof question) fail("send");
        if (recv(fd, answer, sizeof answer, MSG_WAITALL) != sizeof answer) fail("recv");
        if (memcmp(question, answer, sizeof answer)) fail("other bytes");
    }
    printf("verified %d\n", count);
    fflush(stdout);
    return getchar() == EOF;
}

int main(int count, char **words) {
    if (count == 2 && !strcmp(words[1], "serve")) return serve();
    if (count == 4 && !strcmp(words[1], "ask")) return ask(atoi(words[2]), atoi(words[3]));
    fprintf(stderr, "usage: talk serve | talk ask PORT N\n");
    return 2;
}
