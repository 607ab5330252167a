// epoll: nested and several sets, mixed members, closing, listeners and connects, waiting calls.
#include "harness.h"
#include <sys/eventfd.h>
#include <sys/timerfd.h>

static int new_set(void) { return (int)DP_MUST(epoll_create1(EPOLL_CLOEXEC)); }

DP_CASE(readiness, epoll_of_mixed_descriptors) {
    int fd = dp_pair(0), set = new_set();
    if (!dp_server) {
        dp_hear("send");
        dp_say(fd, "tcp");
        dp_sync("end");
        DP(close(set));
        dp_close(fd);
        return;
    }
    int ends[2], event = eventfd(0, 0);
    uint64_t one = 1;
    DP_MUST(pipe(ends));
    dp_watch(set, EPOLL_CTL_ADD, fd, EPOLLIN, 't');
    dp_watch(set, EPOLL_CTL_ADD, ends[0], EPOLLIN, 'p');
    dp_watch(set, EPOLL_CTL_ADD, event, EPOLLIN, 'e');
    dp_epoll(set, 8, 0);
    DP(write(ends[1], "p", 1));
    dp_epoll(set, 8, -1);
    DP(write(event, &one, sizeof one));
    dp_epoll(set, 8, -1);
    dp_tell("send");
    dp_settle(fd, 3);
    usleep(1000);  // while rings have news, the kernel is asked every 20 us
    dp_epoll(set, 8, -1);
    dp_read(ends[0], 1);
    dp_recv(fd, 10, 0);
    usleep(1000);
    dp_epoll(set, 8, -1);
    DP(close(ends[1]));
    dp_epoll(set, 8, -1);
    dp_sync("end");
    DP(close(set));
    dp_close(fd);
}

DP_CASE(readiness, epoll_kernel_members_do_not_starve) {
    // The socket is ready all the time; the pipe must be reported too.
    int fd = dp_pair(0), set = new_set();
    if (dp_server) {
        int ends[2], seen = 0;
        DP_MUST(pipe(ends));
        dp_watch(set, EPOLL_CTL_ADD, fd, EPOLLIN, 't');
        dp_watch(set, EPOLL_CTL_ADD, ends[0], EPOLLIN, 'p');
        dp_settle(fd, 4);
        DP(write(ends[1], "p", 1));
        for (int i = 0; i < 100 && seen != 3; i++) {
            struct epoll_event event;
            if (epoll_wait(set, &event, 1, -1) == 1) seen |= event.data.u64 == 't' ? 1 : 2;
        }
        dp_log("both were reported: %d", seen == 3);
    } else {
        dp_say(fd, "busy");
    }
    dp_sync("end");
    DP(close(set));
    dp_close(fd);
}

DP_CASE(readiness, epoll_few_at_a_time) {
    enum { MANY = 6 };
    int fds[MANY], set = new_set();
    for (int i = 0; i < MANY; i++) fds[i] = dp_pair(0);
    if (dp_server) {
        int seen[MANY] = {0};
        for (int i = 0; i < MANY; i++) {
            dp_watch(set, EPOLL_CTL_ADD, fds[i], EPOLLIN, 'a' + i);
            dp_settle(fds[i], 3);
        }
        for (int round = 0; round < MANY; round++) {
            struct epoll_event events[2];
            int count = (int)DP(epoll_wait(set, events, 2, -1));
            for (int i = 0; i < count; i++) seen[events[i].data.u64 - 'a']++;
        }
        for (int i = 0; i < MANY; i++) dp_log("%d", seen[i]);  // each has its turn
    } else {
        for (int i = 0; i < MANY; i++) dp_say(fds[i], "all");
    }
    dp_sync("end");
    DP(close(set));
    for (int i = 0; i < MANY; i++) dp_close(fds[i]);
}

DP_CASE(readiness, epoll_nested) {
    int fd = dp_pair(0), inner = new_set(), outer = new_set();
    if (dp_server) {
        dp_watch(inner, EPOLL_CTL_ADD, fd, EPOLLIN, 'a');
        dp_watch(outer, EPOLL_CTL_ADD, inner, EPOLLIN, 'i');
        dp_epoll(outer, 8, 0);
        dp_tell("blocks");
        dp_epoll(outer, 8, -1);
        dp_epoll(inner, 8, -1);
        dp_recv(fd, 100, 0);
        dp_epoll(inner, 8, 0);
        dp_epoll(outer, 8, 0);
        dp_tell("blocks");
        dp_poll(outer, POLLIN, -1);
        dp_recv(fd, 100, 0);
        dp_poll(outer, POLLIN, 0);
    } else {
        for (int i = 0; i < 2; i++) {
            dp_until_peer_blocked("blocks");
            dp_say(fd, "nested");
        }
    }
    dp_sync("end");
    DP(close(inner));
    DP(close(outer));
    dp_close(fd);
}

DP_CASE(readiness, poll_and_select_of_an_epoll_set) {
    int fd = dp_pair(0), set = new_set();
    if (dp_server) {
        dp_watch(set, EPOLL_CTL_ADD, fd, EPOLLIN, 'a');
        dp_poll(set, POLLIN | POLLOUT, 0);
        dp_tell("blocks");
        dp_poll(set, POLLIN, -1);
        fd_set members;
        FD_ZERO(&members);
        FD_SET(set, &members);
        DP(select(set + 1, &members, NULL, NULL, NULL));
        dp_epoll(set, 8, 0);
        dp_recv(fd, 10, 0);
        dp_poll(set, POLLIN, 0);
    } else {
        dp_until_peer_blocked("blocks");
        dp_say(fd, "x");
    }
    dp_sync("end");
    DP(close(set));
    dp_close(fd);
}

DP_CASE(readiness, one_socket_in_several_sets) {
    int fd = dp_pair(0), sets[3] = {new_set(), new_set(), new_set()};
    if (dp_server) {
        dp_watch(sets[0], EPOLL_CTL_ADD, fd, EPOLLIN, 'l');
        dp_watch(sets[1], EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLET, 'e');
        dp_watch(sets[2], EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLONESHOT, 'o');
        dp_tell("send");
        for (int i = 0; i < 3; i++) dp_epoll(sets[i], 8, -1);
        for (int i = 0; i < 3; i++) dp_epoll(sets[i], 8, 0);
        dp_recv(fd, 100, 0);
        dp_tell("send");
        dp_settle(fd, 5);
        for (int i = 0; i < 3; i++) dp_epoll(sets[i], 8, 0);
        DP(close(sets[0]));
        dp_epoll(sets[1], 8, 0);
    } else {
        for (int i = 0; i < 2; i++) {
            dp_hear("send");
            dp_say(fd, "three");
        }
    }
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(readiness, epoll_forgets_closed_sockets) {
    int first = dp_pair(0), second = dp_pair(0), set = new_set();
    if (dp_server) {
        dp_watch(set, EPOLL_CTL_ADD, first, EPOLLIN, 'a');
        dp_watch(set, EPOLL_CTL_ADD, second, EPOLLIN, 'b');
        dp_settle(first, 3);
        dp_settle(second, 3);
        dp_close(first);
        dp_epoll(set, 8, -1);
        dp_watch(set, EPOLL_CTL_DEL, first, 0, 'a');
        dp_recv(second, 10, 0);
        dp_epoll(set, 8, 0);
    } else {
        dp_say(first, "one");
        dp_say(second, "two");
    }
    dp_sync("end");
    DP(close(set));
    if (!dp_server) dp_close(first);
    dp_close(second);
}

DP_CASE(readiness, epoll_keeps_what_a_dup_holds) {
    int fd = dp_pair(0), set = new_set();
    if (dp_server) {
        int copy = (int)DP_MUST(dup(fd));
        dp_watch(set, EPOLL_CTL_ADD, fd, EPOLLIN, 'a');
        dp_watch(set, EPOLL_CTL_ADD, copy, EPOLLIN, 'c');
        dp_settle(fd, 3);
        dp_epoll(set, 8, -1);
        DP(close(fd));  // still reported: the description lives
        dp_epoll(set, 8, -1);
        dp_watch(set, EPOLL_CTL_DEL, fd, 0, 'a');
        dp_recv(copy, 10, 0);
        dp_epoll(set, 8, 0);
        fd = copy;
    } else {
        dp_say(fd, "dup");
    }
    dp_sync("end");
    dp_close(fd);
    if (dp_server) dp_epoll(set, 8, 0);
    DP(close(set));
}

DP_CASE(readiness, epoll_number_used_again) {
    int first = dp_pair(0), second = dp_pair(0), set = new_set();
    if (dp_server) {
        dp_watch(set, EPOLL_CTL_ADD, first, EPOLLIN, 'a');
        int number = first;
        dp_proof(first);
        DP(close(first));
        first = (int)DP(dup(second)) == number ? number : -1;
        dp_watch(set, EPOLL_CTL_MOD, number, EPOLLIN, 'm');
        dp_watch(set, EPOLL_CTL_ADD, number, EPOLLIN, 'n');
        dp_tell("send");
        dp_epoll(set, 8, -1);
        dp_recv(number, 10, 0);
        DP(close(number));
    } else {
        dp_hear("send");
        dp_say(second, "new");
    }
    dp_sync("end");
    DP(close(set));
    if (!dp_server) dp_close(first);
    dp_close(second);
}

DP_CASE(readiness, epoll_event_loop_server) {
    // A listener and its connections in one set, as servers have it.
    enum { CLIENTS = 4, ROUNDS = 30 };
    if (!dp_server) {
        int fds[CLIENTS];
        for (int i = 0; i < CLIENTS; i++) fds[i] = dp_dial("127.0.0.1", 0);
        for (int round = 0; round < ROUNDS; round++)
            for (int i = 0; i < CLIENTS; i++) {
                char out[40], back[40];
                int length = snprintf(out, sizeof out, "client %d round %d", i, round);
                if (send(fds[i], out, length, 0) != length || recv(fds[i], back, length, MSG_WAITALL) != length || memcmp(out, back, length))
                    dp_fail("client %d round %d", i, round);
            }
        for (int i = 0; i < CLIENTS; i++) dp_close(fds[i]);
        dp_log("%d requests", CLIENTS * ROUNDS);
        dp_sync("end");
        return;
    }
    int listener = dp_listen("127.0.0.1", DP_NONBLOCK), set = new_set(), closed = 0, requests = 0;
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener};
    DP_MUST(epoll_ctl(set, EPOLL_CTL_ADD, listener, &event));
    while (closed < CLIENTS) {
        DP_MUST(epoll_wait(set, &event, 1, -1));
        int fd = event.data.fd;
        char text[40];
        if (fd == listener) {
            fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
            event = (struct epoll_event){.events = EPOLLIN | EPOLLET, .data.fd = fd};
            DP_MUST(epoll_ctl(set, EPOLL_CTL_ADD, fd, &event));
            continue;
        }
        ssize_t got;
        while ((got = recv(fd, text, sizeof text, 0)) > 0) {
            requests++;
            if (send(fd, text, got, 0) != got) dp_fail("send");
        }
        if (got == 0) {
            dp_proof(fd);
            close(fd);
            closed++;
        }
    }
    dp_log("%d requests", requests);
    dp_sync("end");
    DP(close(set));
    dp_close(listener);
}

DP_CASE(readiness, epoll_connect_in_progress) {
    if (dp_server) {
        int listener = dp_listen("127.0.0.1", 0);
        int fd = dp_accept(listener, 0);
        dp_warm(fd);
        dp_close(fd);
        dp_close(listener);
        return;
    }
    uint16_t port = dp_hear_port();
    int fd = dp_socket_for("127.0.0.1", DP_NONBLOCK), set = new_set();
    dp_watch(set, EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLOUT | EPOLLET, 'a');
    dp_epoll(set, 8, 0);
    struct sockaddr_storage to;
    socklen_t length = dp_address("127.0.0.1", port, &to);
    DP(connect(fd, (struct sockaddr *)&to, length));
    dp_settle_for(fd, POLLOUT);
    dp_epoll(set, 8, -1);
    dp_socket_error(fd);
    dp_warm(fd);
    DP(close(set));
    dp_close(fd);
}

DP_CASE(readiness, epoll_times_out) {
    int fd = dp_pair(0), set = new_set();
    struct epoll_event event;
    struct timespec soon = {0, 20000000}, bad = {0, 2000000000}, now = {0, 0};
    dp_watch(set, EPOLL_CTL_ADD, fd, EPOLLIN, 'a');
    dp_epoll(set, 8, 20);
    dp_epoll(set, 8, 0);
    DP(epoll_pwait(set, &event, 1, 10, NULL));
    DP(epoll_pwait2(set, &event, 1, &soon, NULL));
    DP(epoll_pwait2(set, &event, 1, &now, NULL));
    DP(epoll_pwait2(set, &event, 1, &bad, NULL));
    dp_sync("end");
    DP(close(set));
    dp_close(fd);
}

DP_CASE(readiness, epoll_waiting_calls) {
    int fd = dp_pair(0), set = new_set();
    if (dp_server) {
        struct epoll_event event = {0};
        struct timespec long_time = {20, 0};
        dp_watch(set, EPOLL_CTL_ADD, fd, EPOLLIN, 'a');
        for (int i = 0; i < 4; i++) {
            dp_tell("blocks");
            if (i == 0) DP(epoll_wait(set, &event, 1, -1));
            if (i == 1) DP(epoll_pwait(set, &event, 1, 20000, NULL));
            if (i == 2) DP(epoll_pwait2(set, &event, 1, &long_time, NULL));
            if (i == 3) DP(epoll_pwait2(set, &event, 1, NULL, NULL));
            dp_log("%c %s", (char)event.data.u64, dp_poll_names(event.events));
            dp_recv(fd, 10, 0);
        }
    } else {
        for (int i = 0; i < 4; i++) {
            dp_until_peer_blocked("blocks");
            dp_say(fd, "go");
        }
    }
    dp_sync("end");
    DP(close(set));
    dp_close(fd);
}
