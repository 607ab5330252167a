// Processes and threads come and go: vfork with exec, storms of forks in a threaded program, cancelled threads, pipelines.
#include "Exercise.h"
#include <pthread.h>
#include <spawn.h>

static void vforks(void) {
    int good = 0;
    for (int i = 0; i < 100; i++) {
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        pid_t pid = vfork();
        if (pid == 0) { // what subprocess libraries do in the child
            signal(SIGPIPE, SIG_DFL);
            if (dup2(2, 50) < 0) _exit(1);
            close_range(51, ~0u, 0);
            close(50);
            execl("/bin/true", "true", NULL);
            _exit(2);
        }
        int status = -1;
        waitpid(pid, &status, 0);
        int value = 1;
        good += !status && !setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &value, sizeof value);
        close(fd);
    }
    printf("vfork and exec %d\n", good);
}

// The child makes a duplicate for the program that it runs; the parent's end is left to the kernel from then on.
static void vfork_passes(void) {
    int p[2];
    char in[16];
    tcp_pair(p);
    pid_t pid = vfork();
    if (pid == 0) {
        dup2(p[0], 1);
        execl("/bin/echo", "echo", "from the child", NULL);
        _exit(2);
    }
    SAY("tracked", ioctl(p[0], STANDIN_HANDLERS, (uint32_t[2]){0}));
    long n = recv(p[1], in, 15, MSG_WAITALL);
    say_text("passed", in, n > 0 ? n - 1 : n);
    say_end("vfork", pid);
    close(p[0]), close(p[1]);
}

static volatile int stop;
static void *talk(void *p) {
    int *pair = p;
    char c;
    while (!stop)
        if (send(pair[0], "x", 1, 0) != 1 || recv(pair[1], &c, 1, 0) != 1) return "broken";
    return NULL;
}
// Both ends made by one thread: they meet only when the talk begins, just as the first forks come.
static void pair_alone(int p[2]) {
    struct sockaddr_in address;
    int l = listener(&address);
    p[0] = socket(AF_INET, SOCK_STREAM, 0);
    must(p[0] >= 0 && !connect(p[0], (struct sockaddr *)&address, sizeof address), "connect");
    must((p[1] = accept(l, NULL, NULL)) >= 0, "accept");
    close(l);
}
static void forks(void) {
    int pairs[3][2], good = 0;
    pthread_t threads[3];
    for (int i = 0; i < 3; i++) {
        pair_alone(pairs[i]);
        pthread_create(&threads[i], NULL, talk, pairs[i]);
    }
    for (int i = 0; i < 100; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            int p[2];
            if (i < 3)
                pair_alone(p); // meanwhile the parent's ends meet, of which these children know nothing
            else
                tcp_pair(p);
            char c = 0;
            send(p[0], "y", 1, 0), recv(p[1], &c, 1, 0);
            if (i % 3 == 0) execl("/bin/true", "true", NULL);
            if (i % 3 == 1) exit(c != 'y');
            _exit(c != 'y');
        }
        int status = -1;
        waitpid(pid, &status, 0);
        if (status) printf("child %d: status %x\n", i, status);
        good += status == 0;
    }
    stop = 1;
    for (int i = 0; i < 3; i++) {
        void *result;
        pthread_join(threads[i], &result);
        printf("thread %s\n", result ? (char *)result : "fine");
        close(pairs[i][0]), close(pairs[i][1]);
    }
    printf("forks %d\n", good);
}

static int pair[2], cleaned;
static void clean(void *ignored) { (void)ignored, cleaned++; }
static void *sleep_in(void *how) {
    char c;
    struct pollfd f = {pair[0], POLLIN, 0};
    fd_set set;
    FD_ZERO(&set);
    FD_SET(pair[0], &set);
    struct sockaddr_in address;
    struct epoll_event e = {EPOLLIN, {0}};
    int l = -1, epoll = epoll_create1(0);
    epoll_ctl(epoll, EPOLL_CTL_ADD, pair[0], &e);
    pthread_cleanup_push(clean, NULL);
    switch ((int)(intptr_t)how) {
    case 0: recv(pair[0], &c, 1, 0); break;
    case 1: read(pair[0], &c, 1); break;
    case 2: poll(&f, 1, -1); break;
    case 3: select(pair[0] + 1, &set, NULL, NULL, NULL); break;
    case 4: epoll_wait(epoll, &e, 1, -1); break;
    case 5: accept(l = listener(&address), NULL, NULL); break;
    case 6: recvfrom(pair[0], &c, 1, 0, (struct sockaddr *)&address, &(socklen_t){sizeof address}); break;
    case 7: readv(pair[0], &(struct iovec){&c, 1}, 1); break;
    }
    pthread_cleanup_pop(0);
    return NULL;
}
static void cancels(void) {
    tcp_pair(pair);
    for (intptr_t how = 0; how < 8; how++) {
        pthread_t t;
        void *result = NULL;
        pthread_create(&t, NULL, sleep_in, (void *)how);
        pthread_cancel(t); // before or in the call: both must end it there
        pthread_join(t, &result);
        printf("cancelled %d\n", result == PTHREAD_CANCELED);
    }
    printf("cleaned %d\n", cleaned);
}

static void spawns(void) {
    int good = 0;
    for (int i = 0; i < 30; i++) {
        posix_spawn_file_actions_t actions;
        int way[2];
        pid_t pid;
        char text[16] = "";
        must(!pipe(way), "pipe");
        posix_spawn_file_actions_init(&actions);
        posix_spawn_file_actions_adddup2(&actions, way[1], 1);
        posix_spawn_file_actions_addclose(&actions, way[0]);
        must(!posix_spawnp(&pid, "echo", &actions, NULL, (char *[]){"echo", "hello", NULL}, environ), "spawn");
        close(way[1]);
        good += read(way[0], text, sizeof text) == 6 && waitpid(pid, NULL, 0) == pid;
        close(way[0]);
        posix_spawn_file_actions_destroy(&actions);
    }
    FILE *f = popen("echo from a shell", "r");
    char line[64] = "";
    fgets(line, sizeof line, f);
    printf("spawned %d, %s", good, line);
    printf("pclose %d\n", pclose(f));
}

int main(void) {
    setvbuf(stdout, NULL, _IOLBF, 1 << 16);
    vforks();
    forks(); // before any two ends have met
    vfork_passes();
    cancels();
    spawns();
    return 0;
}
