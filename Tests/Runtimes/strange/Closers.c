// Daemons that close all descriptors, in every manner, and go on with connections that they keep and with new ones.
#include "Strange.h"
#include <dirent.h>

enum { KEPT = 10 };
static void by_loop(void) { for (int fd = KEPT + 1; fd < 70000; fd++) close(fd); }
static void by_loop_down(void) { for (int fd = 70000; fd > KEPT; fd--) close(fd); }
static void by_range(void) { close_range(KEPT + 1, ~0u, 0); }
static void by_raw_range(void) { syscall(SYS_close_range, KEPT + 1, ~0u, 0); }
static void by_closefrom(void) { closefrom(KEPT + 1); }
static void by_list(void) {
    DIR *list = opendir("/proc/self/fd");
    if (!list) fail("opendir");
    for (struct dirent *e; (e = readdir(list));)
        if (atoi(e->d_name) > KEPT && atoi(e->d_name) != dirfd(list)) close(atoi(e->d_name));
    closedir(list);
}

/// The daemon closes all but one connection, which has bytes unread, and talks on, in the process itself or in a forked one.
static void daemon_closes(void (*closes)(void), bool forks) {
    int kept = warm(), set;
    for (int i = 0; i < 3; i++) warm();
    MUST(dup2(kept, KEPT));
    MUST(set = epoll_create1(0));
    int end = 0;
    if (forks) {
        pid_t pid = (pid_t)MUST(fork());
        if (pid) {
            MUST(waitpid(pid, &end, 0));
            printf("daemon: %d\n", end);
            return;
        }
        MUST(setsid());
    }
    if (!send_all(KEPT, "unread", 6)) fail("send");
    MUST(poll(&(struct pollfd){KEPT, POLLIN, 0}, 1, 20000));
    closes();
    for (int fd = 3; fd < KEPT; fd++) close(fd);
    char text[8] = "";
    if (!recv_all(KEPT, text, 6) || memcmp(text, "unread", 6)) fail("unread bytes: %s", text);
    talk(KEPT, 100);
    int more = warm();
    talk(more, 100);
    talk(KEPT, 100);
    set = epoll_create1(0);
    struct epoll_event e = {EPOLLIN, {.fd = KEPT}};
    MUST(epoll_ctl(set, EPOLL_CTL_ADD, KEPT, &e));
    SAY(epoll_wait(set, &e, 1, 0));
    if (!send_all(KEPT, "news", 4)) fail("send");
    SAY(epoll_wait(set, &e, 1, 20000));
    if (!recv_all(KEPT, text, 4) || memcmp(text, "news", 4)) fail("news: %s", text);
    look(more, more);
    look(KEPT, KEPT);
    printf("numbers %d %d\n", more, set);
    fflush(stdout);
    if (forks) _exit(0);
}
#define BOTH(name)                                                                                                     \
    CASE(close_all_##name, LANE) { daemon_closes(name, false); }                                                             \
    CASE(daemon_##name, LANE) { daemon_closes(name, true); }
BOTH(by_loop)
BOTH(by_loop_down)
BOTH(by_range)
BOTH(by_raw_range)
BOTH(by_closefrom)
BOTH(by_list)
