// Epoll sets over fork: children that close, end, use or change the set; forks beside changes; sets in great number.
#include "harness.h"
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <dirent.h>
#include <setjmp.h>

static int new_set(void) { return (int)DP_MUST(epoll_create1(EPOLL_CLOEXEC)); }

/// The parent's set works on, whatever the child closes.
static void child_closes(bool socket, bool set_too, bool raw) {
    int fd = dp_pair(0), set = new_set();
    if (dp_server) {
        dp_watch(set, EPOLL_CTL_ADD, fd, EPOLLIN, 'a');
        dp_epoll(set, 8, 0);
        pid_t child = dp_fork();
        if (child == 0) {
            if (socket) close(fd);
            if (set_too) close(set);
            if (raw) _exit(0);
            dp_done(0);
        }
        dp_reap(child, "child");
        dp_tell("child is gone");
        dp_epoll(set, 8, -1);
        dp_recv(fd, 100, 0);
        dp_epoll(set, 8, 0);
        dp_tell("again");
        dp_epoll(set, 8, -1);
        dp_recv(fd, 100, 0);
    } else {
        dp_hear("child is gone");
        dp_say(fd, "for the parent");
        dp_hear("again");
        dp_say(fd, "once more");
    }
    dp_sync("end");
    DP(close(set));
    dp_close(fd);
}
DP_CASE(readiness, epoll_child_closes_socket_and_set) { child_closes(true, true, true); }
DP_CASE(readiness, epoll_child_closes_socket) { child_closes(true, false, false); }
DP_CASE(readiness, epoll_child_closes_set) { child_closes(false, true, false); }
DP_CASE(readiness, epoll_child_only_ends) { child_closes(false, false, true); }

DP_CASE(readiness, epoll_child_closes_while_parent_sleeps) {
    int fd = dp_pair(0), set = new_set();
    if (dp_server) {
        pid_t parent = getpid();
        dp_watch(set, EPOLL_CTL_ADD, fd, EPOLLIN, 'a');
        pid_t child = dp_fork();
        if (child == 0) {
            dp_until_asleep(parent);
            close(fd);
            close(set);
            dp_tell("send");
            dp_done(0);
        }
        dp_epoll(set, 8, -1);
        dp_recv(fd, 100, 0);
        dp_reap(child, "child");
    } else {
        dp_hear("send");
        dp_say(fd, "for the sleeper");
    }
    dp_sync("end");
    DP(close(set));
    dp_close(fd);
}

/// What a child changes in the kernel's set it changes for both.
enum change { MODIFIES, TAKES_OUT, PUTS_BACK };
static void child_changes(enum change change, bool parent_sleeps, bool child_stays) {
    int fd = dp_pair(0), set = new_set();
    if (dp_server) {
        pid_t parent = getpid();
        dp_gate changed = dp_gate_make(), end = dp_gate_make();
        dp_watch(set, EPOLL_CTL_ADD, fd, EPOLLIN, 'a');
        dp_epoll(set, 8, 0);
        pid_t child = dp_fork();
        if (child == 0) {
            dp_as("child");
            if (parent_sleeps) dp_until_asleep(parent);
            if (change == MODIFIES) dp_watch(set, EPOLL_CTL_MOD, fd, EPOLLIN, 'b');
            else dp_watch(set, EPOLL_CTL_DEL, fd, 0, 'a');
            if (change == PUTS_BACK) dp_watch(set, EPOLL_CTL_ADD, fd, EPOLLIN, 'c');
            dp_tell("changed");
            dp_gate_open(&changed);
            if (child_stays) dp_gate_wait(&end);
            dp_done(0);
        }
        if (!parent_sleeps) {
            dp_gate_wait(&changed);
            dp_settle(fd, 3);
            if (!child_stays) dp_reap(child, "child");
        }
        dp_epoll(set, 8, change == TAKES_OUT ? 0 : -1);
        dp_recv(fd, 100, 0);
        dp_watch(set, EPOLL_CTL_MOD, fd, EPOLLIN, 'd');
        dp_watch(set, EPOLL_CTL_ADD, fd, EPOLLIN, 'd');
        dp_tell("more");
        dp_epoll(set, 8, -1);
        dp_recv(fd, 100, 0);
        dp_watch(set, EPOLL_CTL_DEL, fd, 0, 'd');
        dp_gate_open(&end);
        if (parent_sleeps || child_stays) dp_reap(child, "child");
    } else {
        dp_hear("changed");
        dp_say(fd, "one");
        dp_hear("more");
        dp_say(fd, "two");
    }
    dp_sync("end");
    DP(close(set));
    dp_close(fd);
}
DP_CASE(readiness, epoll_child_modifies) { child_changes(MODIFIES, false, false); }
DP_CASE(readiness, epoll_child_modifies_and_stays) { child_changes(MODIFIES, false, true); }
DP_CASE(readiness, epoll_child_modifies_under_a_sleeper) { child_changes(MODIFIES, true, true); }
DP_CASE(readiness, epoll_child_takes_out) { child_changes(TAKES_OUT, false, false); }
DP_CASE(readiness, epoll_child_takes_out_and_stays) { child_changes(TAKES_OUT, false, true); }
DP_CASE(readiness, epoll_child_puts_back) { child_changes(PUTS_BACK, false, false); }
DP_CASE(readiness, epoll_child_puts_back_under_a_sleeper) { child_changes(PUTS_BACK, true, true); }

DP_CASE(readiness, epoll_child_adds_another_socket) {
    int first = dp_pair(0), second = dp_pair(0), set = new_set();
    if (dp_server) {
        dp_watch(set, EPOLL_CTL_ADD, first, EPOLLIN, 'a');
        pid_t child = dp_fork();
        if (child == 0) {
            dp_as("child");
            dp_watch(set, EPOLL_CTL_ADD, second, EPOLLIN, 'b');
            dp_done(0);
        }
        dp_reap(child, "child");
        dp_tell("second");
        dp_epoll(set, 8, -1);
        dp_recv(second, 100, 0);
        dp_tell("first");
        dp_epoll(set, 8, -1);
        dp_recv(first, 100, 0);
    } else {
        dp_hear("second");
        dp_say(second, "the child's");
        dp_hear("first");
        dp_say(first, "the parent's");
    }
    dp_sync("end");
    DP(close(set));
    dp_close(first);
    dp_close(second);
}

DP_CASE(readiness, epoll_parent_and_child_are_told) {
    int fd = dp_pair(0), set = new_set();
    if (dp_server) {
        dp_gate told = dp_gate_make();
        dp_watch(set, EPOLL_CTL_ADD, fd, EPOLLIN, 'a');
        pid_t child = dp_fork();
        if (child == 0) {
            dp_as("child");
            dp_epoll(set, 8, -1);
            dp_gate_open(&told);
            dp_done(0);
        }
        dp_until_asleep(child);
        dp_tell("send");
        dp_epoll(set, 8, -1);
        dp_gate_wait(&told);
        dp_reap(child, "child");
        dp_epoll(set, 8, -1);
        dp_recv(fd, 100, 0);
        dp_epoll(set, 8, 0);
    } else {
        dp_hear("send");
        dp_say(fd, "both are told");
    }
    dp_sync("end");
    DP(close(set));
    dp_close(fd);
}

DP_CASE(readiness, epoll_edge_for_one_of_two_processes) {
    int fd = dp_pair(0), set = new_set();
    if (dp_server) {
        dp_watch(set, EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLET, 'a');
        pid_t child = dp_fork();
        if (child == 0) {
            dp_as("child");
            dp_epoll(set, 8, -1);
            dp_recv(fd, 100, 0);
            dp_done(0);
        }
        dp_until_asleep(child);
        dp_tell("first");
        dp_reap(child, "child");
        dp_tell("second");
        dp_epoll(set, 8, -1);
        dp_recv(fd, 100, 0);
        dp_epoll(set, 8, 0);
    } else {
        dp_hear("first");
        dp_say(fd, "child");
        dp_hear("second");
        dp_say(fd, "parent");
    }
    dp_sync("end");
    DP(close(set));
    dp_close(fd);
}

DP_CASE(readiness, epoll_set_outlives_its_maker) {
    int fd = dp_pair(0);
    if (dp_server) {
        dp_gate gone = dp_gate_make(), done = dp_gate_make();
        pid_t child = dp_fork();
        if (child == 0) {
            int set = new_set();
            dp_as("child");
            dp_watch(set, EPOLL_CTL_ADD, fd, EPOLLIN, 'a');
            dp_epoll(set, 8, 0);
            if (fork()) _exit(0);
            dp_as("grandchild");
            dp_gate_wait(&gone);
            dp_tell("send");
            dp_epoll(set, 8, -1);
            dp_recv(fd, 100, 0);
            dp_watch(set, EPOLL_CTL_MOD, fd, EPOLLIN | EPOLLOUT, 'b');
            dp_epoll(set, 8, -1);
            dp_gate_open(&done);
            _exit(0);
        }
        dp_reap(child, "child");
        dp_gate_open(&gone);
        dp_gate_wait(&done);
    } else {
        dp_hear("send");
        dp_say(fd, "for the heir");
    }
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(readiness, epoll_taken_out_before_a_fork) {
    int fd = dp_pair(0), set = new_set();
    if (dp_server) {
        dp_gate end = dp_gate_make();
        dp_watch(set, EPOLL_CTL_ADD, fd, EPOLLIN, 'a');
        dp_watch(set, EPOLL_CTL_DEL, fd, 0, 'a');
        pid_t child = dp_fork();
        if (child == 0) {
            dp_gate_wait(&end);
            dp_done(0);
        }
        dp_watch(set, EPOLL_CTL_DEL, fd, 0, 'a');
        dp_watch(set, EPOLL_CTL_ADD, fd, EPOLLIN, 'b');
        dp_watch(set, EPOLL_CTL_ADD, fd, EPOLLIN, 'b');
        dp_tell("send");
        dp_epoll(set, 8, -1);
        dp_recv(fd, 100, 0);
        dp_gate_open(&end);
        dp_reap(child, "child");
    } else {
        dp_hear("send");
        dp_say(fd, "out and in");
    }
    dp_sync("end");
    DP(close(set));
    dp_close(fd);
}

static int busy_fd;
static _Atomic bool enough;
static void change_sets(void *argument) {
    (void)argument;
    int set = new_set(), other = new_set();
    struct epoll_event event = {.events = EPOLLIN};
    while (!enough) {
        int cold = socket(AF_INET, SOCK_STREAM, 0);
        epoll_ctl(set, EPOLL_CTL_ADD, busy_fd, &event);
        epoll_ctl(other, EPOLL_CTL_ADD, cold, &event);
        epoll_wait(set, &event, 1, 0);
        epoll_ctl(other, EPOLL_CTL_DEL, cold, &event);
        epoll_ctl(set, EPOLL_CTL_DEL, busy_fd, &event);
        close(cold);
    }
    close(set);
    close(other);
}

DP_CASE(fork, fork_beside_changes_of_sets) {
    busy_fd = dp_pair(0);
    if (dp_server) {
        dp_worker w;
        dp_start(&w, "changer", change_sets, NULL);
        for (int i = 0; i < 300; i++) {
            pid_t child = fork();
            if (child == 0) _exit(0);
            if (child < 0 || waitpid(child, NULL, 0) != child) dp_fail("fork %d", i);
        }
        enough = true;
        dp_join(&w);
        dp_say(busy_fd, "forked");
    } else {
        dp_recv(busy_fd, 100, 0);
    }
    dp_sync("end");
    dp_close(busy_fd);
}

DP_CASE(readiness, epoll_seventy_sets_for_one_peer) {
    int fds[70], sets[70];
    struct rlimit limit;
    DP_MUST(getrlimit(RLIMIT_NOFILE, &limit));
    const int count = limit.rlim_cur < 200 ? 20 : 70;
    for (int i = 0; i < count; i++) {
        fds[i] = dp_pair(0);
        sets[i] = new_set();
        if (dp_server) {
            struct epoll_event event = {.events = EPOLLIN | (i % 3 == 2 ? EPOLLET : 0u), .data.u64 = (unsigned)i};
            DP_MUST(epoll_ctl(sets[i], EPOLL_CTL_ADD, fds[i], &event));
        }
    }
    for (int round = 0; round < 3; round++) {
        dp_sync("round");
        for (int i = 0; i < count; i++) {
            char text[20];
            struct epoll_event event = {0};
            int length = snprintf(text, sizeof text, "set %d", i);
            if (!dp_server) {
                if (send(fds[i], text, (size_t)length, 0) != length) dp_fail("send %d", i);
                if (recv(fds[i], text, 1, 0) != 1) dp_fail("answer %d", i);
                continue;
            }
            int n = epoll_wait(sets[i], &event, 1, -1);
            if (n != 1 || event.data.u64 != (unsigned)i || event.events != EPOLLIN) dp_log("set %d: %d, %u", i, n, event.events);
            if (recv(fds[i], text, sizeof text, MSG_DONTWAIT) != length || send(fds[i], "y", 1, 0) != 1) dp_log("recv %d", i);
            if ((n = epoll_wait(sets[i], &event, 1, 0)) != 0) dp_log("set %d is ready: %u", i, event.events);
        }
    }
    dp_log("%d sets", count);
    dp_sync("end");
    for (int i = 0; i < count; i++) {
        close(sets[i]);
        dp_close(fds[i]);
    }
}

static sigjmp_buf away;
static void leave(int number) {
    (void)number;
    siglongjmp(away, 1);
}

/// Descriptors of epoll sets that the process has.
static int open_sets(void) {
    DIR *d = opendir("/proc/self/fd");
    int found = 0;
    for (struct dirent *e; d && (e = readdir(d));) {
        char text[64] = "", path[300];
        snprintf(path, sizeof path, "/proc/self/fd/%s", e->d_name);
        if (readlink(path, text, sizeof text - 1) > 0 && !strcmp(text, "anon_inode:[eventpoll]")) found++;
    }
    if (d) closedir(d);
    return found;
}

static int left_set, left_fd;
static void wait_and_be_told(void *argument) {
    (void)argument;
    dp_about_to_block();
    dp_epoll(left_set, 8, -1);
}

DP_CASE(signals, epoll_wait_left_by_jumps) {
    left_fd = dp_pair(0);
    if (dp_server) {
        struct sigaction action = {.sa_handler = leave};
        sigaction(SIGUSR1, &action, NULL);
        int before = open_sets();
        left_set = new_set();
        dp_watch(left_set, EPOLL_CTL_ADD, left_fd, EPOLLIN, 'a');
        for (volatile int i = 0; i < 5; i++) {
            if (sigsetjmp(away, 1) == 0) {
                dp_tell("blocks");
                dp_epoll(left_set, 8, -1);
            }
        }
        // Another thread's wait works, and the set is given up when it is closed.
        dp_worker w;
        dp_start(&w, "waiter", wait_and_be_told, NULL);
        dp_until_blocked(&w);
        dp_tell("send");
        dp_join(&w);
        dp_recv(left_fd, 100, 0);
        DP(close(left_set));
        dp_log("%d sets are left", open_sets() - before);
    } else {
        for (int i = 0; i < 5; i++) {
            dp_until_peer_blocked("blocks");
            DP(kill(dp_peer_pid, SIGUSR1));
        }
        dp_hear("send");
        dp_say(left_fd, "for the other thread");
    }
    dp_sync("end");
    dp_close(left_fd);
}

DP_CASE(threads, cancelled_epoll_wait_then_closed) {
    left_fd = dp_pair(0);
    if (dp_server) {
        int before = open_sets();
        left_set = new_set();
        dp_watch(left_set, EPOLL_CTL_ADD, left_fd, EPOLLIN, 'a');
        for (int i = 0; i < 3; i++) {
            dp_worker w;
            dp_start(&w, "victim", wait_and_be_told, NULL);
            dp_until_blocked(&w);
            DP(pthread_cancel(w.thread));
            DP(pthread_join(w.thread, NULL));
        }
        dp_tell("send");
        dp_epoll(left_set, 8, -1);
        dp_recv(left_fd, 100, 0);
        DP(close(left_set));
        dp_log("%d sets are left", open_sets() - before);
    } else {
        dp_hear("send");
        dp_say(left_fd, "after the cancels");
    }
    dp_sync("end");
    dp_close(left_fd);
}

static long resident_pages(void) {
    long all = 0, resident = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (!f || fscanf(f, "%ld %ld", &all, &resident) != 2) dp_fail("statm");
    fclose(f);
    return resident;
}

DP_CASE(readiness, epoll_sets_come_and_go, .solo = true, .kernel = "no byte is sent while sets come and go") {
    long before = 0;
    for (int i = 0; i < 20000; i++) {
        int set = epoll_create1(0), copy = i % 3 ? -1 : dup(set), fd = socket(AF_INET, SOCK_STREAM, 0);
        struct epoll_event event = {.events = EPOLLIN};
        if (set < 0 || epoll_ctl(set, EPOLL_CTL_ADD, fd, &event) < 0 || epoll_wait(set, &event, 1, i % 2) != 1) dp_fail("set %d", i);
        close(fd);
        close(set);
        if (copy >= 0) close(copy);
        if (i == 1000) before = resident_pages();
    }
    dp_log("grows: %d", resident_pages() - before > 512);
}

DP_CASE(readiness, epoll_sets_one_after_another) {
    // A set that is made after another one was closed begins anew.
    int fd = dp_pair(0);
    for (int i = 0; i < 3; i++) {
        if (dp_server) {
            int set = new_set();
            dp_watch(set, EPOLL_CTL_ADD, fd, EPOLLIN, 'a');
            dp_epoll(set, 8, 0);
            dp_sync("empty");
            dp_settle(fd, 4);
            dp_epoll(set, 8, 0);
            dp_recv(fd, 4, 0);
            dp_epoll(set, 8, 0);
            dp_sync("next");
            close(set);
        } else {
            dp_sync("empty");
            dp_say(fd, "news");
            dp_sync("next");
        }
    }
    dp_close(fd);
}

static int outer_set;
static void wait_outside(void *unused) {
    (void)unused;
    dp_about_to_block();
    dp_epoll(outer_set, 8, 10000);
}
DP_CASE(readiness, epoll_edge_beside_an_inner_set) {
    // An event that comes once, while the call sleeps, in a set that has another set as a member.
    int fd = dp_pair(0);
    if (dp_server) {
        int inner = new_set(), news = eventfd(0, EFD_NONBLOCK);
        outer_set = new_set();
        dp_watch(inner, EPOLL_CTL_ADD, fd, EPOLLIN, 'i');
        dp_watch(outer_set, EPOLL_CTL_ADD, inner, EPOLLIN, 's');
        dp_watch(outer_set, EPOLL_CTL_ADD, news, EPOLLIN | EPOLLET, 'e');
        dp_worker w;
        dp_start(&w, "waiter", wait_outside, NULL);
        dp_until_blocked(&w);
        uint64_t one = 1;
        DP_MUST(write(news, &one, 8));
        dp_join(&w);
        close(outer_set), close(inner), close(news);
    }
    dp_sync("end");
    dp_close(fd);
}
