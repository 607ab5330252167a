// Threads: accept elsewhere, cancellation, sockets that outlive their maker.
#include "harness.h"

static int shared_fd, made_fd;

static void accept_body(void *argument) {
    (void)argument;
    dp_about_to_block();
    made_fd = (int)dp_some("accept", (errno = 0, accept(shared_fd, NULL, NULL)));
}

DP_CASE(threads, accept_in_another_thread) {
    if (dp_server) {
        shared_fd = dp_listen("127.0.0.1", 0);
        dp_worker w;
        dp_start(&w, "accepter", accept_body, NULL);
        dp_until_blocked(&w);
        dp_tell("accepting");
        dp_join(&w);
        dp_warm(made_fd);
        dp_recv(made_fd, 100, 0);
        dp_close(made_fd);
    } else {
        dp_hear_port();
        dp_hear("accepting");
        int fd = dp_dial("127.0.0.1", 0);
        dp_warm(fd);
        dp_say(fd, "hello thread");
        dp_recv(fd, 1, 0);
        dp_close(fd);
    }
    dp_sync("end");
}

DP_CASE(threads, close_of_a_listener_under_accept) {
    if (dp_server) {
        shared_fd = dp_listen("127.0.0.1", 0);
        dp_worker w;
        dp_start(&w, "accepter", accept_body, NULL);
        dp_until_blocked(&w);
        DP(close(shared_fd));
        dp_tell("closed");  // the accept still holds the listener
        dp_join(&w);
        dp_warm(made_fd);
        dp_close(made_fd);
    } else {
        dp_hear_port();
        dp_hear("closed");
        int fd = dp_dial("127.0.0.1", 0);
        dp_warm(fd);
        dp_recv(fd, 1, 0);
        dp_close(fd);
    }
    dp_sync("end");
}

DP_CASE(threads, shutdown_of_a_listener_under_accept, .solo = true, .kernel = "no connection") {
    shared_fd = dp_socket_for("127.0.0.1", 0);
    struct sockaddr_storage at;
    socklen_t length = dp_address("127.0.0.1", 0, &at);
    DP_MUST(bind(shared_fd, (struct sockaddr *)&at, length));
    DP_MUST(listen(shared_fd, 1));
    dp_worker w;
    dp_start(&w, "accepter", accept_body, NULL);
    dp_until_blocked(&w);
    DP(shutdown(shared_fd, SHUT_RD));
    dp_join(&w);
    dp_close(shared_fd);
}

static void make_pair_body(void *argument) { dp_pair_solo(argument, 0); }

DP_CASE(threads, sockets_outlive_their_thread, .solo = true) {
    int fds[2];
    dp_worker w;
    dp_start(&w, "maker", make_pair_body, fds);
    dp_join(&w);
    dp_say(fds[0], "made by a thread that is gone");
    dp_recv(fds[1], 100, 0);
    dp_close(fds[0]);
    dp_recv(fds[1], 100, 0);
    dp_close(fds[1]);
}

static void cancelled_recv(void *argument) {
    (void)argument;
    char byte;
    dp_about_to_block();
    recv(shared_fd, &byte, 1, 0);
    dp_log("was not cancelled");
}

static void cancelled_poll(void *argument) {
    (void)argument;
    struct pollfd p = {shared_fd, POLLIN, 0};
    dp_about_to_block();
    poll(&p, 1, -1);
    dp_log("was not cancelled");
}

static void cancelled_epoll(void *argument) {
    (void)argument;
    int set = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN};
    epoll_ctl(set, EPOLL_CTL_ADD, shared_fd, &event);
    dp_about_to_block();
    epoll_wait(set, &event, 1, -1);
    dp_log("was not cancelled");
}

static void cancelled_send(void *argument) {
    (void)argument;
    char data[100] = "";
    dp_about_to_block();
    send(shared_fd, data, sizeof data, 0);
    dp_log("was not cancelled");
}

static void cancel_case(void (*body)(void *), bool fill) {
    shared_fd = dp_pair(0);
    if (dp_server) {
        dp_worker w;
        size_t sent = fill ? dp_stuff(shared_fd, 1, 4096, 0) : 0;
        dp_start(&w, "victim", body, NULL);
        dp_until_blocked(&w);
        void *result = NULL;
        DP(pthread_cancel(w.thread));
        DP(pthread_join(w.thread, &result));
        dp_log("%s", result == PTHREAD_CANCELED ? "cancelled" : "returned");
        if (fill) dp_tell_sent(sent);
        dp_say(shared_fd, "after");  // the socket works on
        dp_recv(shared_fd, 100, 0);
    } else {
        if (fill) dp_drain(shared_fd, 1);
        dp_recv(shared_fd, 100, 0);
        dp_say(shared_fd, "the cancel");
    }
    dp_sync("end");
    dp_close(shared_fd);
}

DP_CASE(threads, cancel_a_reader) { cancel_case(cancelled_recv, false); }
DP_CASE(threads, cancel_a_poll) { cancel_case(cancelled_poll, false); }
DP_CASE(threads, cancel_an_epoll_wait) { cancel_case(cancelled_epoll, false); }
DP_CASE(threads, cancel_a_writer) { cancel_case(cancelled_send, true); }

static void poll_body(void *argument) {
    (void)argument;
    dp_about_to_block();
    dp_poll(shared_fd, POLLIN, -1);
}

DP_CASE(threads, poll_beside_a_reader) {
    shared_fd = dp_pair(0);
    if (dp_server) {
        dp_worker w;
        dp_start(&w, "poller", poll_body, NULL);
        dp_until_blocked(&w);
        dp_tell("polls");
        dp_settle(shared_fd, 4);
        dp_join(&w);
        dp_recv(shared_fd, 10, 0);
    } else {
        dp_hear("polls");
        dp_say(shared_fd, "both");
    }
    dp_sync("end");
    dp_close(shared_fd);
}

static void accept_and_answer(void *argument) {
    int fd = (int)DP_MUST(accept(*(int *)argument, NULL, NULL));
    char buffer[64];
    for (ssize_t got; (got = recv(fd, buffer, sizeof buffer, 0)) > 0;)
        if (send(fd, buffer, got, 0) != got) dp_log("answer broke");
    close(fd);
}

DP_CASE(threads, several_threads_accept, .kernel = "the proof would need the threads' sockets; few bytes each") {
    enum { MANY = 4 };
    if (dp_server) {
        int listener = dp_listen("127.0.0.1", 0);
        dp_worker workers[MANY];
        for (int i = 0; i < MANY; i++) dp_start(&workers[i], "worker", accept_and_answer, &listener);
        for (int i = 0; i < MANY; i++) dp_join(&workers[i]);
        dp_close(listener);
    } else {
        for (int i = 0; i < MANY; i++) {
            int fd = dp_dial("127.0.0.1", 0);
            for (int round = 0; round < 30; round++) {
                char in[8];
                if (send(fd, "question", 8, 0) != 8 || recv(fd, in, 8, MSG_WAITALL) != 8) dp_log("round %d broke", round);
            }
            DP(shutdown(fd, SHUT_WR));
            dp_recv(fd, 10, 0);
            dp_close(fd);
        }
    }
    dp_sync("end");
}
