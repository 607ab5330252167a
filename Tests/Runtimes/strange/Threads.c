// Connections made in a constructor and used by threads that allocate and free all the time, over fork; an allocator may be
// preloaded before or behind the library.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS = 6, ROUNDS = 800 };
static int ends[THREADS][2];

__attribute__((constructor)) static void early(void) {
    for (int i = 0; i < THREADS; i++) {
        struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t n = sizeof a;
        int l = socket(AF_INET, SOCK_STREAM, 0);
        ends[i][0] = socket(AF_INET, SOCK_STREAM, 0);
        if (bind(l, (struct sockaddr *)&a, n) || listen(l, 1) || getsockname(l, (struct sockaddr *)&a, &n)) abort();
        if (connect(ends[i][0], (struct sockaddr *)&a, n)) abort();
        ends[i][1] = accept(l, NULL, NULL);
        close(l);
    }
}
static void *answers(void *p) {
    int fd = (int)(intptr_t)p;
    for (;;) {
        uint32_t n;
        if (recv(fd, &n, 4, MSG_WAITALL) != 4) return NULL;
        char *bytes = malloc(n);
        if (recv(fd, bytes, n, MSG_WAITALL) != (long)n) return NULL;
        char *copy = memcpy(calloc(1, n + 7), bytes, n);
        free(bytes);
        if (send(fd, copy, n, 0) != (long)n) abort();
        free(copy);
    }
}
static void *asks(void *p) {
    int fd = (int)(intptr_t)p, set = epoll_create1(0);
    struct epoll_event e = {EPOLLIN, {0}};
    epoll_ctl(set, EPOLL_CTL_ADD, fd, &e);
    for (int i = 0; i < ROUNDS; i++) {
        uint32_t n = 1 + (uint32_t)i * 53 % 3000;
        char *out = malloc(n), *in = malloc(n);
        memset(out, i, n);
        if (send(fd, &n, 4, MSG_MORE) != 4 || send(fd, out, n, 0) != (long)n) abort();
        if (i % 2 && epoll_wait(set, &e, 1, 20000) != 1) abort();
        if (recv(fd, in, n, MSG_WAITALL) != (long)n || memcmp(in, out, n)) abort();
        free(in), free(out);
    }
    close(set);
    return NULL;
}
static void all(void) {
    pthread_t t[THREADS][2];
    for (int i = 0; i < THREADS; i++) {
        pthread_create(&t[i][0], NULL, asks, (void *)(intptr_t)ends[i][0]);
        pthread_create(&t[i][1], NULL, answers, (void *)(intptr_t)ends[i][1]);
    }
    for (int k = 0; k < 10; k++) { // forks in a threaded program whose children allocate
        pid_t pid = fork();
        if (pid == 0) {
            for (int i = 0; i < 100; i++) free(malloc((size_t)i * 100));
            _exit(0);
        }
        int status;
        if (waitpid(pid, &status, 0) != pid || status) printf("child: %d\n", status);
    }
    for (int i = 0; i < THREADS; i++) pthread_join(t[i][0], NULL);
    for (int i = 0; i < THREADS; i++) shutdown(ends[i][0], SHUT_RDWR), pthread_join(t[i][1], NULL);
}
int main(void) {
    all();
    for (int i = 0; i < THREADS; i++) close(ends[i][0]), close(ends[i][1]);
    early();
    all();
    puts("done");
    return 0;
}
