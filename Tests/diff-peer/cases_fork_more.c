// fork in servers and in programs with threads, vfork, and children that close everything.
#include "harness.h"
#include <spawn.h>
#include <sys/syscall.h>

DP_CASE(fork, prefork_children_accept) {
    enum { CHILDREN = 2, CLIENTS = 6 };
    if (!dp_server) {
        for (int i = 0; i < CLIENTS; i++) {
            int fd = dp_dial("127.0.0.1", 0);
            dp_warm_alone(fd);
            dp_say(fd, "who are you?");
            dp_recv(fd, 100, 0);
            dp_recv(fd, 100, 0);
            dp_close(fd);
        }
        dp_sync("end");
        return;
    }
    int listener = dp_listen("127.0.0.1", 0);
    dp_gate served = dp_gate_make();
    pid_t children[CHILDREN];
    for (int i = 0; i < CHILDREN; i++) {
        children[i] = dp_fork();
        if (children[i]) continue;
        for (;;) {
            int fd = accept(listener, NULL, NULL);
            if (fd < 0) dp_fail("accept: %s", dp_errno_name(errno));
            dp_warm_alone(fd);
            char question[100];
            if (recv(fd, question, sizeof question, 0) != 12 || send(fd, "a worker", 8, 0) != 8) dp_log("worker broke");
            dp_proof(fd);
            close(fd);
            dp_gate_open(&served);
        }
    }
    for (int i = 0; i < CLIENTS; i++) dp_gate_wait(&served);
    dp_sync("end");
    for (int i = 0; i < CHILDREN; i++) {
        DP(kill(children[i], SIGKILL));
        dp_reap(children[i], "child");
    }
    dp_close(listener);
}

static int busy_fd;
static void put_body(void *argument) {
    (void)argument;
    dp_put(busy_fd, 1, 8 << 20, 30000);
}

DP_CASE(fork, fork_beside_a_busy_thread) {
    busy_fd = dp_pair(0);
    if (dp_server) {
        dp_worker w;
        dp_start(&w, "writer", put_body, NULL);
        for (int i = 0; i < 10; i++) {
            pid_t child = dp_fork();
            if (child == 0) _exit(i);
            dp_reap(child, "child");
        }
        dp_join(&w);
    } else {
        dp_get(busy_fd, 1, 8 << 20, 50000);
    }
    dp_sync("end");
    dp_close(busy_fd);
}

DP_CASE(fork, child_closes_every_descriptor) {
    int fd = dp_pair(0);
    if (dp_server) {
        pid_t child = dp_fork();
        if (child == 0) {
            for (int i = DP_FD_FIRST; i < 1024; i++) close(i);
            dp_as("child");
            dp_recv(fd, 1, 0);
            dp_done(0);
        }
        dp_reap(child, "child");
        dp_tell("closed");
        dp_recv(fd, 100, 0);
        dp_say(fd, "untouched");
    } else {
        dp_hear("closed");
        dp_say(fd, "well?");
        dp_recv(fd, 100, 0);
    }
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(fork, close_range_keeps_what_is_below) {
    int fd = dp_pair(0);
    if (dp_server) {
        int copy = (int)DP_MUST(fcntl(fd, F_DUPFD, 40));
        DP(close_range(40, ~0u, 0));
        dp_send(copy, "x", 1, 0);
        dp_tell("closed");
        dp_recv(fd, 100, 0);
        dp_say(fd, "the first descriptor lives");
    } else {
        dp_hear("closed");
        dp_say(fd, "well?");
        dp_recv(fd, 100, 0);
    }
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(fork, program_closes_every_descriptor) {
    int first = dp_pair(0), second = dp_pair(0);
    if (dp_server) {
        dp_proof(second);
        for (int i = DP_FD_FIRST; i < 1024; i++)
            if (i != first) close(i);
        dp_tell("closed");
        for (int i = 0; i < 100; i++) {
            char buffer[20];
            if (recv(first, buffer, 20, MSG_WAITALL) != 20 || send(first, buffer, 20, 0) != 20) dp_fail("round %d", i);
        }
        dp_log("100 rounds");
    } else {
        dp_hear("closed");
        dp_recv(second, 10, 0);
        for (int i = 0; i < 100; i++) {
            char buffer[20] = "round", back[20];
            if (send(first, buffer, 20, 0) != 20 || recv(first, back, 20, MSG_WAITALL) != 20 || memcmp(buffer, back, 20)) dp_fail("round %d", i);
        }
        dp_log("100 rounds");
    }
    dp_sync("end");
    dp_close(first);
}

DP_CASE(fork, vfork_child_changes_nothing) {
    int fd = dp_pair(0);
    if (dp_server) {
        pid_t child = vfork();
        if (child == 0) {
            close(fd);
            _exit(3);
        }
        dp_reap(child, "child");
        dp_say(fd, "open in the parent");
        dp_recv(fd, 100, 0);
    } else {
        dp_recv(fd, 100, 0);
        dp_say(fd, "good");
    }
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(fork, child_polls_what_parent_sends) {
    int fd = dp_pair(0);
    if (dp_server) {
        dp_gate ready = dp_gate_make();
        pid_t child = dp_fork();
        if (child == 0) {
            dp_as("child");
            dp_gate_open(&ready);
            dp_poll(fd, POLLIN, -1);
            dp_recv(fd, 100, 0);
            dp_done(0);
        }
        dp_gate_wait(&ready);
        dp_until_asleep(child);
        dp_say(fd, "parent sends");
        dp_reap(child, "child");
    } else {
        dp_recv(fd, 100, 0);
        dp_say(fd, "child hears");
    }
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(fork, two_processes_sleep_in_recv) {
    int fd = dp_pair(0);
    if (!dp_server) {
        dp_sync("asleep");
        dp_say(fd, "1");
        dp_settle_out(fd);
        dp_say(fd, "2");
        dp_sync("end");
        dp_close(fd);
        return;
    }
    dp_gate ready = dp_gate_make();
    pid_t children[2];
    for (int i = 0; i < 2; i++) {
        children[i] = dp_fork();
        if (children[i]) continue;
        char byte = 0;
        dp_gate_open(&ready);
        if (recv(fd, &byte, 1, 0) != 1) dp_log("no byte");
        _exit(byte - '0');
    }
    for (int i = 0; i < 2; i++) dp_gate_wait(&ready);
    for (int i = 0; i < 2; i++) dp_until_asleep(children[i]);
    dp_sync("asleep");
    int together = 0;
    for (int i = 0; i < 2; i++) {
        int status = 0;
        DP_MUST(waitpid(children[i], &status, 0));
        together += WEXITSTATUS(status);
    }
    dp_log("together %d", together);
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(fork, new_connection_of_the_child) {
    if (dp_server) {
        int listener = dp_listen("127.0.0.1", 0);
        int fd = dp_accept(listener, 0);
        dp_warm(fd);
        dp_recv(fd, 100, 0);
        dp_recv(fd, 100, 0);
        dp_close(fd);
        dp_close(listener);
        dp_sync("end");
        return;
    }
    dp_hear_port();
    pid_t child = dp_fork();
    if (child == 0) {
        dp_as("child");
        int fd = dp_dial("127.0.0.1", 0);
        dp_warm(fd);
        dp_say(fd, "a connection made by a child");
        dp_close(fd);
        dp_done(0);
    }
    dp_reap(child, "child");
    dp_sync("end");
}

DP_CASE(fork, parent_ends_first, .solo = true) {
    int fds[2];
    dp_pair_solo(fds, 0);
    dp_gate finished = dp_gate_make();
    pid_t child = dp_fork();
    if (child == 0) {
        if (fork() == 0) {
            dp_as("grandchild");
            DP(close(fds[0]));
            dp_recv(fds[1], 100, 0);
            dp_say(fds[1], "still here");
            dp_recv(fds[1], 100, 0);
            dp_gate_open(&finished);
            _exit(0);
        }
        _exit(0);
    }
    dp_reap(child, "child");
    DP(close(fds[1]));
    dp_say(fds[0], "parent gone?");
    dp_recv(fds[0], 100, 0);
    dp_close(fds[0]);
    dp_gate_wait(&finished);
}

DP_CASE(fork, fork_fails, .solo = true) {
    // A process namespace whose first process has ended makes no others.
    int fds[2], set = DP_MUST(epoll_create1(0));
    dp_pair_solo(fds, 0);
    dp_watch(set, EPOLL_CTL_ADD, fds[0], EPOLLIN, 's');
    if (unshare(CLONE_NEWPID)) {
        dp_log("not permitted");
        return;
    }
    pid_t child = fork();
    if (child == 0) _exit(0);
    dp_reap(child, "first");
    DP(fork());
    DP(_Fork());
    DP(syscall(SYS_fork));
    dp_proof(fds[0]);
    dp_say(fds[1], "unread");
    dp_epoll(set, 4, -1);
    DP(close(fds[0]));  // the last one: a reset
    dp_poll(fds[1], POLLIN, -1);
    dp_recv(fds[1], 100, 0);
    dp_close(fds[1]);
    DP(close(set));
}
