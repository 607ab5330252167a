// Readiness shared by threads and over fork.
#include "harness.h"
#include <sys/eventfd.h>

static int shared_set, shared_fd;
static _Atomic int wakes;

static int new_set(void) { return (int)DP_MUST(epoll_create1(0)); }

static void wait_body(void *argument) {
    (void)argument;
    dp_about_to_block();
    dp_epoll(shared_set, 8, -1);
}

DP_CASE(readiness, epoll_add_while_another_thread_waits) {
    shared_fd = dp_pair(0);
    shared_set = new_set();
    if (dp_server) {
        dp_worker w;
        dp_start(&w, "waiter", wait_body, NULL);
        dp_until_blocked(&w);
        dp_watch(shared_set, EPOLL_CTL_ADD, shared_fd, EPOLLIN, 'a');
        dp_tell("added");
        dp_join(&w);
        dp_recv(shared_fd, 10, 0);
    } else {
        dp_hear("added");
        dp_say(shared_fd, "x");
    }
    dp_sync("end");
    DP(close(shared_set));
    dp_close(shared_fd);
}

DP_CASE(readiness, epoll_add_ready_socket_while_another_thread_waits) {
    shared_fd = dp_pair(0);
    shared_set = new_set();
    if (dp_server) {
        dp_worker w;
        dp_settle(shared_fd, 1);
        dp_start(&w, "waiter", wait_body, NULL);
        dp_until_blocked(&w);
        dp_watch(shared_set, EPOLL_CTL_ADD, shared_fd, EPOLLIN, 'a');
        dp_join(&w);
    } else {
        dp_say(shared_fd, "x");
    }
    dp_sync("end");
    DP(close(shared_set));
    dp_close(shared_fd);
}

DP_CASE(readiness, epoll_mod_while_another_thread_waits) {
    shared_fd = dp_pair(0);
    shared_set = new_set();
    if (dp_server) {
        dp_worker w;
        dp_watch(shared_set, EPOLL_CTL_ADD, shared_fd, EPOLLIN, 'a');
        dp_start(&w, "waiter", wait_body, NULL);
        dp_until_blocked(&w);
        dp_watch(shared_set, EPOLL_CTL_MOD, shared_fd, EPOLLOUT, 'b');
        dp_join(&w);
    }
    dp_sync("end");
    DP(close(shared_set));
    dp_close(shared_fd);
}

static void serve_one_shot(void *argument) {
    (void)argument;
    for (;;) {
        struct epoll_event event;
        if (epoll_wait(shared_set, &event, 1, -1) != 1) continue;
        char buffer[64];
        ssize_t got = recv(shared_fd, buffer, sizeof buffer, MSG_DONTWAIT);
        if (got == 0) break;
        if (got > 0 && send(shared_fd, buffer, got, 0) != got) dp_log("send");
        wakes++;
        event = (struct epoll_event){.events = EPOLLIN | EPOLLONESHOT};
        DP_MUST(epoll_ctl(shared_set, EPOLL_CTL_MOD, shared_fd, &event));
    }
    struct epoll_event event = {.events = EPOLLIN | EPOLLONESHOT};
    DP_MUST(epoll_ctl(shared_set, EPOLL_CTL_MOD, shared_fd, &event));  // for the next thread
}

DP_CASE(readiness, epoll_one_shot_among_threads) {
    enum { THREADS = 3, ROUNDS = 150 };
    shared_fd = dp_pair(0);
    shared_set = new_set();
    if (dp_server) {
        struct epoll_event event = {.events = EPOLLIN | EPOLLONESHOT};
        DP_MUST(epoll_ctl(shared_set, EPOLL_CTL_ADD, shared_fd, &event));
        dp_worker workers[THREADS];
        for (int i = 0; i < THREADS; i++) dp_start(&workers[i], "worker", serve_one_shot, NULL);
        for (int i = 0; i < THREADS; i++) dp_join(&workers[i]);
        dp_log("%d", wakes);
    } else {
        for (int i = 0; i < ROUNDS; i++) {
            char out[16] = "one shot", back[16];
            if (send(shared_fd, out, 16, 0) != 16 || recv(shared_fd, back, 16, MSG_WAITALL) != 16) dp_fail("round %d", i);
        }
        DP(shutdown(shared_fd, SHUT_WR));
    }
    dp_sync("end");
    dp_close(shared_fd);
}

static void count_edge(void *argument) {
    (void)argument;
    struct epoll_event event;
    dp_about_to_block();
    if (epoll_wait(shared_set, &event, 1, -1) == 1 && event.data.u64 == 'a') {
        wakes++;
        // Let the other one out.
        uint64_t one = 1;
        if (write((int)(intptr_t)argument, &one, sizeof one) != sizeof one) dp_log("eventfd");
    }
}

DP_CASE(readiness, epoll_edge_wakes_one_thread) {
    shared_fd = dp_pair(0);
    shared_set = new_set();
    if (dp_server) {
        int out = eventfd(0, 0);
        dp_worker workers[2];
        dp_watch(shared_set, EPOLL_CTL_ADD, shared_fd, EPOLLIN | EPOLLET, 'a');
        for (int i = 0; i < 2; i++) dp_start(&workers[i], "worker", count_edge, (void *)(intptr_t)out);
        for (int i = 0; i < 2; i++) dp_until_blocked(&workers[i]);
        dp_tell("asleep");
        dp_settle_for(out, POLLIN);
        dp_watch(shared_set, EPOLL_CTL_ADD, out, EPOLLIN, 'x');
        for (int i = 0; i < 2; i++) dp_join(&workers[i]);
        dp_log("%d", wakes);
    } else {
        dp_hear("asleep");
        dp_say(shared_fd, "edge");
    }
    dp_sync("end");
    dp_close(shared_fd);
}

DP_CASE(readiness, epoll_exclusive_wakes_somebody) {
    shared_fd = dp_pair(0);
    if (dp_server) {
        int sets[2];
        for (int i = 0; i < 2; i++) {
            sets[i] = new_set();
            dp_watch(sets[i], EPOLL_CTL_ADD, shared_fd, EPOLLIN | EPOLLEXCLUSIVE, 'a');
        }
        dp_tell("send");
        dp_settle(shared_fd, 4);
        struct pollfd p[2] = {{sets[0], POLLIN, 0}, {sets[1], POLLIN, 0}};
        dp_log("somebody is told: %d", poll(p, 2, -1) >= 1);
        dp_recv(shared_fd, 10, 0);
        for (int i = 0; i < 2; i++) {
            dp_epoll(sets[i], 8, 0);
            dp_watch(sets[i], EPOLL_CTL_DEL, shared_fd, 0, 'a');
            DP(close(sets[i]));
        }
    } else {
        dp_hear("send");
        dp_say(shared_fd, "excl");
    }
    dp_sync("end");
    dp_close(shared_fd);
}

DP_CASE(readiness, epoll_set_over_fork) {
    shared_fd = dp_pair(0);
    shared_set = new_set();
    if (dp_server) {
        dp_gate ready = dp_gate_make();
        dp_watch(shared_set, EPOLL_CTL_ADD, shared_fd, EPOLLIN, 'a');
        pid_t child = dp_fork();
        if (child == 0) {
            dp_as("child");
            dp_gate_open(&ready);
            dp_epoll(shared_set, 8, -1);
            dp_recv(shared_fd, 100, 0);
            dp_watch(shared_set, EPOLL_CTL_DEL, shared_fd, 0, 'a');
            dp_done(0);
        }
        dp_gate_wait(&ready);
        dp_until_asleep(child);
        dp_tell("child waits");
        dp_reap(child, "child");
        dp_tell("parent's turn");
        dp_settle(shared_fd, 6);
        dp_epoll(shared_set, 8, 0);  // the child took it out of the shared set
        dp_watch(shared_set, EPOLL_CTL_ADD, shared_fd, EPOLLIN, 'b');
        dp_epoll(shared_set, 8, -1);
        dp_recv(shared_fd, 100, 0);
    } else {
        dp_hear("child waits");
        dp_say(shared_fd, "for the child");
        dp_hear("parent's turn");
        dp_say(shared_fd, "parent");
    }
    dp_sync("end");
    DP(close(shared_set));
    dp_close(shared_fd);
}

DP_CASE(readiness, epoll_set_of_the_child) {
    shared_fd = dp_pair(0);
    if (dp_server) {
        pid_t child = dp_fork();
        if (child == 0) {
            dp_as("child");
            int set = new_set();
            dp_watch(set, EPOLL_CTL_ADD, shared_fd, EPOLLIN | EPOLLOUT | EPOLLET, 'c');
            dp_epoll(set, 8, -1);
            dp_tell("send");
            dp_epoll(set, 8, -1);
            dp_recv(shared_fd, 100, 0);
            dp_epoll(set, 8, 0);
            dp_done(0);
        }
        dp_reap(child, "child");
    } else {
        dp_hear("send");
        dp_say(shared_fd, "child's own set");
    }
    dp_sync("end");
    dp_close(shared_fd);
}

DP_CASE(readiness, epoll_prefork_workers) {
    // Workers that inherited the listener, each with its own set and EPOLLEXCLUSIVE.
    enum { WORKERS = 2, CLIENTS = 6 };
    if (!dp_server) {
        for (int i = 0; i < CLIENTS; i++) {
            int fd = dp_dial("127.0.0.1", 0);
            dp_warm_alone(fd);
            dp_say(fd, "bye");
            dp_recv(fd, 10, 0);
            dp_close(fd);
        }
        dp_sync("end");
        return;
    }
    int listener = dp_listen("127.0.0.1", DP_NONBLOCK);
    dp_gate served = dp_gate_make();
    pid_t workers[WORKERS];
    for (int i = 0; i < WORKERS; i++) {
        workers[i] = dp_fork();
        if (workers[i]) continue;
        int set = new_set();
        struct epoll_event event = {.events = EPOLLIN | EPOLLEXCLUSIVE};
        DP_MUST(epoll_ctl(set, EPOLL_CTL_ADD, listener, &event));
        for (;;) {
            if (epoll_wait(set, &event, 1, -1) != 1) continue;
            int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
            if (fd < 0) continue;
            dp_warm_alone(fd);
            dp_settle(fd, 3);
            char text[10];
            if (recv(fd, text, sizeof text, 0) != 3) dp_log("worker broke");
            dp_proof(fd);
            close(fd);
            dp_gate_open(&served);
        }
    }
    for (int i = 0; i < CLIENTS; i++) dp_gate_wait(&served);
    dp_sync("end");
    for (int i = 0; i < WORKERS; i++) {
        DP(kill(workers[i], SIGKILL));
        dp_reap(workers[i], "worker");
    }
    dp_close(listener);
}

DP_CASE(readiness, poll_in_one_thread_epoll_in_another) {
    shared_fd = dp_pair(0);
    shared_set = new_set();
    if (dp_server) {
        dp_watch(shared_set, EPOLL_CTL_ADD, shared_fd, EPOLLIN, 'a');
        dp_worker w;
        dp_start(&w, "waiter", wait_body, NULL);
        dp_until_blocked(&w);
        dp_tell("blocks");
        dp_poll(shared_fd, POLLIN, -1);
        dp_join(&w);
        dp_recv(shared_fd, 10, 0);
    } else {
        dp_until_peer_blocked("blocks");
        dp_say(shared_fd, "both");
    }
    dp_sync("end");
    DP(close(shared_set));
    dp_close(shared_fd);
}

DP_CASE(readiness, epoll_close_of_the_set_under_a_waiter) {
    shared_fd = dp_pair(0);
    shared_set = new_set();
    if (dp_server) {
        dp_watch(shared_set, EPOLL_CTL_ADD, shared_fd, EPOLLIN, 'a');
        dp_worker w;
        dp_start(&w, "waiter", wait_body, NULL);
        dp_until_blocked(&w);
        DP(close(shared_set));  // the wait goes on
        dp_tell("send");
        dp_join(&w);
        dp_recv(shared_fd, 10, 0);
    } else {
        dp_hear("send");
        dp_say(shared_fd, "late");
    }
    dp_sync("end");
    dp_close(shared_fd);
}
