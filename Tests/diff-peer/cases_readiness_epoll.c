// epoll: level and edge triggered, one shot, errors, changes of what is watched.
#include "harness.h"
#include <sys/eventfd.h>

static int new_set(void) { return (int)DP_MUST(epoll_create1(EPOLL_CLOEXEC)); }

DP_CASE(readiness, epoll_level) {
    int fd = dp_pair(0), set = new_set();
    dp_watch(set, EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLRDHUP, 'a');
    dp_epoll(set, 8, 0);
    dp_sync("watching");
    if (dp_server) {
        dp_epoll(set, 8, -1);
        dp_epoll(set, 8, -1);
        dp_recv(fd, 2, 0);
        dp_epoll(set, 8, -1);
        dp_recv(fd, 100, 0);
        dp_epoll(set, 8, 0);
        dp_tell("close");
        dp_epoll(set, 8, -1);
        dp_recv(fd, 100, 0);
        dp_epoll(set, 8, 0);
    } else {
        dp_say(fd, "level");
        dp_hear("close");
        DP(shutdown(fd, SHUT_WR));
    }
    dp_sync("end");
    DP(close(set));
    dp_close(fd);
}

DP_CASE(readiness, epoll_edge) {
    int fd = dp_pair(0), set = new_set();
    dp_watch(set, EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLET, 'a');
    dp_epoll(set, 8, 0);
    dp_sync("watching");
    if (dp_server) {
        dp_epoll(set, 8, -1);
        dp_epoll(set, 8, 0);  // told once
        dp_recv(fd, 2, 0);
        dp_epoll(set, 8, 0);  // the rest is nothing new
        dp_tell("more");
        dp_settle(fd, 6);
        dp_epoll(set, 8, -1);
        dp_epoll(set, 8, 0);
        dp_recv(fd, 100, 0);
        dp_epoll(set, 8, 0);
        dp_tell("again");
        dp_epoll(set, 8, -1);
        dp_recv(fd, 100, 0);
    } else {
        dp_say(fd, "edge");
        dp_hear("more");
        dp_say(fd, "more");
        dp_hear("again");
        dp_say(fd, "again");
    }
    dp_sync("end");
    DP(close(set));
    dp_close(fd);
}

DP_CASE(readiness, epoll_edge_in_and_out) {
    int fd = dp_pair(0), set = new_set();
    dp_watch(set, EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, 'a');
    dp_epoll(set, 8, -1);
    dp_epoll(set, 8, 0);
    dp_sync("watching");
    if (dp_server) {
        dp_epoll(set, 8, -1);
        dp_epoll(set, 8, 0);
        dp_recv(fd, 100, 0);
        dp_say(fd, "reply");
        dp_epoll(set, 8, 0);
        dp_tell("close");
        dp_epoll(set, 8, -1);
        dp_epoll(set, 8, 0);
    } else {
        dp_say(fd, "hello");
        dp_epoll(set, 8, -1);
        dp_recv(fd, 100, 0);
        dp_epoll(set, 8, 0);
        dp_hear("close");
        DP(shutdown(fd, SHUT_WR));
    }
    dp_sync("end");
    DP(close(set));
    dp_close(fd);
}

DP_CASE(readiness, epoll_edge_writable_again) {
    int fd = dp_pair(DP_NONBLOCK), set = new_set();
    if (dp_server) {
        dp_watch(set, EPOLL_CTL_ADD, fd, EPOLLOUT | EPOLLET, 'a');
        dp_epoll(set, 8, -1);
        dp_epoll(set, 8, 0);
        size_t sent = dp_stuff(fd, 1, 4000, 0);
        dp_epoll(set, 8, 0);
        dp_tell_sent(sent);
        dp_epoll(set, 8, -1);
        dp_settle_out(fd);
    } else {
        dp_drain(fd, 1);
    }
    dp_sync("end");
    DP(close(set));
    dp_close(fd);
}

DP_CASE(readiness, epoll_edge_data_before_add) {
    int fd = dp_pair(0), set = new_set();
    if (dp_server) {
        dp_settle(fd, 5);
        dp_watch(set, EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLET, 'a');
        dp_epoll(set, 8, -1);
        dp_epoll(set, 8, 0);
        dp_watch(set, EPOLL_CTL_MOD, fd, EPOLLIN | EPOLLET, 'b');  // a change tells anew
        dp_epoll(set, 8, -1);
        dp_epoll(set, 8, 0);
        dp_recv(fd, 100, 0);
        dp_watch(set, EPOLL_CTL_MOD, fd, EPOLLIN | EPOLLET, 'c');
        dp_epoll(set, 8, 0);
    } else {
        dp_say(fd, "early");
    }
    dp_sync("end");
    DP(close(set));
    dp_close(fd);
}

DP_CASE(readiness, epoll_one_shot) {
    int fd = dp_pair(0), set = new_set();
    if (dp_server) {
        dp_watch(set, EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLONESHOT, 'a');
        dp_tell("send");
        dp_epoll(set, 8, -1);
        dp_epoll(set, 8, 0);
        dp_tell("send");
        dp_settle(fd, 6);
        dp_epoll(set, 8, 0);
        dp_watch(set, EPOLL_CTL_MOD, fd, EPOLLIN | EPOLLONESHOT, 'b');
        dp_epoll(set, 8, -1);
        dp_recv(fd, 100, 0);
        dp_watch(set, EPOLL_CTL_MOD, fd, EPOLLIN | EPOLLOUT | EPOLLONESHOT | EPOLLET, 'c');
        dp_epoll(set, 8, -1);
        dp_epoll(set, 8, 0);
    } else {
        dp_hear("send");
        dp_say(fd, "one");
        dp_hear("send");
        dp_say(fd, "two");
    }
    dp_sync("end");
    DP(close(set));
    dp_close(fd);
}

DP_CASE(readiness, epoll_mod_changes_interest) {
    int fd = dp_pair(0), set = new_set();
    if (dp_server) {
        dp_settle(fd, 4);
        dp_watch(set, EPOLL_CTL_ADD, fd, EPOLLOUT, 'a');
        dp_epoll(set, 8, -1);
        dp_watch(set, EPOLL_CTL_MOD, fd, EPOLLIN, 'b');
        dp_epoll(set, 8, -1);
        dp_watch(set, EPOLL_CTL_MOD, fd, 0, 'c');
        dp_epoll(set, 8, 0);
        dp_watch(set, EPOLL_CTL_MOD, fd, EPOLLIN | EPOLLOUT, 'd');
        dp_epoll(set, 8, -1);
        dp_recv(fd, 100, 0);
        dp_epoll(set, 8, -1);
    } else {
        dp_say(fd, "data");
    }
    dp_sync("end");
    DP(close(set));
    dp_close(fd);
}

DP_CASE(readiness, epoll_del_and_add_in_a_loop) {
    int fd = dp_pair(0), set = new_set();
    for (int i = 0; i < 30; i++) {
        if (dp_server) {
            dp_watch(set, EPOLL_CTL_ADD, fd, i % 2 ? EPOLLIN | EPOLLET : EPOLLIN, 'a' + i % 26);
            dp_tell("added");
            dp_epoll(set, 8, -1);
            dp_recv(fd, 100, 0);
            dp_watch(set, EPOLL_CTL_DEL, fd, 0, 'x');
            dp_say(fd, "pong");
        } else {
            dp_hear("added");
            dp_say(fd, "ping");
            dp_recv(fd, 100, 0);
        }
    }
    dp_sync("end");
    dp_epoll(set, 8, 0);
    DP(close(set));
    dp_close(fd);
}

DP_CASE(readiness, epoll_errors) {
    int fd = dp_pair(0), set = new_set(), other = new_set(), ends[2];
    DP_MUST(pipe(ends));
    dp_watch(set, EPOLL_CTL_ADD, fd, EPOLLIN, 'a');
    dp_watch(set, EPOLL_CTL_ADD, fd, EPOLLIN, 'a');
    dp_watch(set, EPOLL_CTL_DEL, fd, 0, 'a');
    dp_watch(set, EPOLL_CTL_DEL, fd, 0, 'a');
    dp_watch(set, EPOLL_CTL_MOD, fd, EPOLLIN, 'a');
    dp_watch(set, 0, fd, EPOLLIN, 'a');
    dp_watch(set, EPOLL_CTL_ADD, -1, EPOLLIN, 'a');
    dp_watch(set, EPOLL_CTL_ADD, set, EPOLLIN, 'a');
    dp_watch(set, EPOLL_CTL_ADD, DP_FD_LOG, EPOLLIN, 'a');
    dp_watch(fd, EPOLL_CTL_ADD, set, EPOLLIN, 'a');
    dp_watch(-1, EPOLL_CTL_ADD, fd, EPOLLIN, 'a');
    dp_watch(set, EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLEXCLUSIVE | EPOLLONESHOT, 'a');
    dp_watch(set, EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLEXCLUSIVE, 'a');
    dp_watch(set, EPOLL_CTL_MOD, fd, EPOLLIN, 'a');
    dp_watch(set, EPOLL_CTL_ADD, other, EPOLLIN, 'o');
    dp_watch(other, EPOLL_CTL_ADD, set, EPOLLIN, 's');
    struct epoll_event event;
    DP(epoll_wait(set, &event, 0, 0));
    volatile int negative = -1;
    DP(epoll_wait(set, &event, negative, 0));
    DP(epoll_wait(fd, &event, 1, 0));
    DP(epoll_wait(-1, &event, 1, 0));
    DP(epoll_wait(ends[0], &event, 1, 0));
    DP(epoll_create1(77));
    DP(epoll_create(0));
    dp_sync("end");
    DP(close(set));
    DP(close(other));
    dp_close(fd);
}

DP_CASE(readiness, epoll_sees_ends) {
    int fd = dp_pair(0), set = new_set();
    if (dp_server) {
        dp_watch(set, EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLRDHUP | EPOLLET, 'a');
        dp_tell("blocks");
        dp_epoll(set, 8, -1);
        dp_epoll(set, 8, 0);
        dp_recv(fd, 10, 0);
        DP(shutdown(fd, SHUT_WR));
        dp_settle_for(fd, POLLHUP);
        dp_epoll(set, 8, -1);
        dp_watch(set, EPOLL_CTL_MOD, fd, 0, 'b');
        dp_epoll(set, 8, -1);
    } else {
        dp_until_peer_blocked("blocks");
        DP(shutdown(fd, SHUT_WR));
    }
    dp_sync("end");
    DP(close(set));
    dp_close(fd);
}

DP_CASE(readiness, epoll_sees_a_reset) {
    int fd = dp_pair(0), set = new_set();
    if (dp_server) {
        dp_watch(set, EPOLL_CTL_ADD, fd, EPOLLIN, 'a');
        dp_tell("blocks");
        dp_epoll(set, 8, -1);
        dp_epoll(set, 8, -1);
        dp_socket_error(fd);
        dp_epoll(set, 8, -1);
        dp_close(fd);
        dp_epoll(set, 8, 0);
    } else {
        struct linger none = {1, 0};
        DP_MUST(setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof none));
        dp_until_peer_blocked("blocks");
        dp_close(fd);
    }
    dp_sync("end");
    DP(close(set));
}

DP_CASE(readiness, epoll_sees_urgent_data) {
    int fd = dp_pair(0), set = new_set();
    if (dp_server) {
        dp_watch(set, EPOLL_CTL_ADD, fd, EPOLLPRI, 'a');
        dp_tell("go");
        dp_epoll(set, 8, -1);
        dp_recv(fd, 1, MSG_OOB);
        dp_epoll(set, 8, 0);
    } else {
        dp_hear("go");
        dp_send(fd, "u", 1, MSG_OOB);
    }
    dp_sync("end");
    DP(close(set));
    dp_close(fd);
}
