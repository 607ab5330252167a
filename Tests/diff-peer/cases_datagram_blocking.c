// Waiting for datagrams: time limits, calls that do not wait, signals.
#include "datagrams.h"
#include <setjmp.h>
#include <time.h>

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

DP_DATAGRAM(datagram_blocking, waits_for_each) {
    int fd = dp_udp_pair(0);
    for (int i = 0; i < 4; i++) {
        if (dp_server) {
            dp_tell("blocks");
            i % 2 ? dp_read(fd, 100) : dp_recv_message(fd, 100, 0);
        } else {
            dp_until_peer_blocked("blocks");
            dp_say(fd, "worth waiting for");
        }
    }
    dp_sync("end");
    dp_close(fd);
}

/// The receiver never sends: it sleeps in recv for every datagram.
DP_DATAGRAM(datagram_blocking, one_way) {
    int fd = dp_udp_pair(DP_COLD);
    dp_udp_warm_one_way(fd, NULL);
    for (int i = 0; i < 5; i++) {
        if (dp_server) {
            dp_tell("blocks");
            dp_recv_from(fd, 100, 0);
        } else {
            dp_until_peer_blocked("blocks");
            dp_say(fd, "news");
        }
    }
    dp_sync("end");
    dp_recv(fd, 100, MSG_DONTWAIT);
    dp_close(fd);
}

DP_DATAGRAM(datagram_blocking, time_limit) {
    int fd = dp_udp_pair(0);
    struct timeval limit = {0, 40000}, asked;
    socklen_t length = sizeof asked;
    DP(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit));
    DP(getsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &asked, &length));
    dp_log("%ld.%06ld", (long)asked.tv_sec, (long)asked.tv_usec);
    if (dp_server) {
        double start = now();
        dp_recv(fd, 100, 0);
        dp_log("%s", now() - start >= 0.035 ? "waited" : "came back early");
        dp_recv(fd, 100, MSG_DONTWAIT);
        dp_recv_message(fd, 100, MSG_PEEK);
        dp_sync("late");
        dp_settle_for(fd, POLLIN);
        dp_recv(fd, 100, 0);
        limit = (struct timeval){0, 0};
        DP(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit));
        dp_tell("blocks");
        dp_recv(fd, 100, 0);
        limit = (struct timeval){0, 2000000};
        DP(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit));
    } else {
        dp_sync("late");
        dp_say(fd, "late");
        dp_until_peer_blocked("blocks");
        poll(NULL, 0, 60);
        dp_say(fd, "without a limit");
    }
    dp_sync("end");
    dp_close(fd);
}

DP_DATAGRAM(datagram_blocking, limit_of_sending_does_nothing) {
    int fd = dp_udp_pair(0);
    struct timeval limit = {0, 1000};
    DP(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit));
    if (dp_server) {
        dp_tell("blocks");
        dp_recv(fd, 100, 0);
    } else {
        dp_until_peer_blocked("blocks");
        poll(NULL, 0, 20);
        dp_say(fd, "after the limit of sending");
    }
    dp_udp_warm(fd, NULL);
    dp_close(fd);
}

DP_DATAGRAM(datagram_blocking, calls_that_do_not_wait) {
    dp_place peer;
    int fd = dp_udp_open(0, &peer);
    dp_recv(fd, 10, MSG_DONTWAIT);
    dp_recv_from(fd, 10, MSG_DONTWAIT | MSG_PEEK);
    dp_recv_message(fd, 10, MSG_DONTWAIT | MSG_WAITALL);
    dp_nonblocking(fd, true);
    dp_read(fd, 10);
    dp_recv_from(fd, 0, 0);
    dp_sync("empty");
    if (!dp_server) {
        dp_send_to(fd, "there", 5, MSG_DONTWAIT, &peer);
        dp_say_to(fd, "again", &peer);
        dp_say_to(fd, "thrice", &peer);
    }
    dp_sync("sent");
    if (dp_server) {
        for (int i = 0; i < 3; i++) {
            dp_settle_for(fd, POLLIN);
            if (i == 2) dp_nonblocking(fd, false);
            dp_recv_from(fd, 10, i == 1 ? MSG_DONTWAIT : 0);
        }
        dp_recv_from(fd, 10, MSG_DONTWAIT);
    }
    dp_sync("end");
    dp_close(fd);
}

// ───────────────────────────── signals ─────────────────────────────

static volatile sig_atomic_t caught;
static int handler_fd;
static sigjmp_buf back;

static void count(int number) { caught = number; }
static void jump(int number) {
    caught = number;
    siglongjmp(back, 1);
}
static void send_in_handler(int number) {
    caught = number;
    if (send(handler_fd, "from the handler", 16, MSG_DONTWAIT) != 16) _exit(90);
}

static void catch(int number, void (*handler)(int), int flags) {
    struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
    sigemptyset(&action.sa_mask);
    DP_MUST(sigaction(number, &action, NULL));
}

static void interrupted(int flags, bool limited) {
    int fd = dp_udp_pair(0);
    if (dp_server) {
        struct timeval limit = {30, 0};
        catch(SIGUSR1, count, flags);
        if (limited) DP(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit));
        dp_tell("blocks");
        dp_recv_from(fd, 100, 0);
        dp_log("caught %d", caught == SIGUSR1);
        dp_tell("next");
        dp_recv_from(fd, 100, 0);
    } else {
        dp_until_peer_blocked("blocks");
        DP_MUST(kill(dp_peer_pid, SIGUSR1));
        if (flags & SA_RESTART && !limited) {
            dp_until_asleep(dp_peer_pid);
            dp_say(fd, "first");
        }
        dp_hear("next");
        dp_say(fd, "second");
    }
    dp_sync("end");
    dp_close(fd);
}
DP_DATAGRAM(datagram_blocking, interrupted) { interrupted(0, false); }
DP_DATAGRAM(datagram_blocking, restarted) { interrupted(SA_RESTART, false); }
DP_DATAGRAM(datagram_blocking, with_a_limit_interrupted) { interrupted(0, true); }
DP_DATAGRAM(datagram_blocking, with_a_limit_not_restarted) { interrupted(SA_RESTART, true); }

/// poll and epoll_wait are never restarted.
DP_DATAGRAM(datagram_blocking, waits_are_not_restarted) {
    int fd = dp_udp_pair(0), set = (int)DP_MUST(epoll_create1(0));
    dp_watch(set, EPOLL_CTL_ADD, fd, EPOLLIN, 'a');
    for (int way = 0; way < 2; way++) {
        if (dp_server) {
            catch(SIGUSR1, count, SA_RESTART);
            dp_tell("blocks");
            way ? dp_epoll(set, 1, -1) : dp_poll(fd, POLLIN, -1);
            dp_tell("again");
            way ? dp_epoll(set, 1, -1) : dp_poll(fd, POLLIN, -1);
            dp_recv(fd, 10, 0);
        } else {
            dp_until_peer_blocked("blocks");
            DP_MUST(kill(dp_peer_pid, SIGUSR1));
            dp_until_peer_blocked("again");
            dp_say(fd, "wake");
        }
    }
    dp_sync("end");
    DP(close(set));
    dp_close(fd);
}

/// A handler sends by the very socket whose recv it interrupts.
DP_DATAGRAM(datagram_blocking, handler_sends) {
    int fd = dp_udp_pair(0);
    if (dp_server) {
        handler_fd = fd;
        catch(SIGUSR1, send_in_handler, SA_RESTART);
        dp_tell("blocks");
        dp_recv(fd, 100, 0);
        dp_log("caught %d", caught == SIGUSR1);
    } else {
        dp_until_peer_blocked("blocks");
        DP_MUST(kill(dp_peer_pid, SIGUSR1));
        dp_recv(fd, 100, 0);
        dp_say(fd, "heard");
    }
    dp_udp_warm(fd, NULL);
    dp_close(fd);
}

DP_DATAGRAM(datagram_blocking, handler_jumps_out) {
    int fd = dp_udp_pair(0);
    for (int i = 0; i < 3; i++) {
        if (dp_server) {
            catch(SIGUSR1, jump, 0);
            if (sigsetjmp(back, 1) == 0) {
                dp_tell("blocks");
                dp_recv(fd, 100, 0);
                dp_log("came back");
            }
            dp_log("caught %d", caught == SIGUSR1);
            dp_tell("out");
            dp_recv(fd, 100, 0);
        } else {
            dp_until_peer_blocked("blocks");
            DP_MUST(kill(dp_peer_pid, SIGUSR1));
            dp_hear("out");
            dp_say(fd, "after the jump");
        }
    }
    dp_udp_warm(fd, NULL);
    dp_close(fd);
}

/// Stopped in recv and continued: it sleeps on.
DP_DATAGRAM(datagram_blocking, stopped_and_continued) {
    int fd = dp_udp_pair(0);
    if (dp_server) {
        dp_tell("blocks");
        dp_recv(fd, 100, 0);
        dp_recv(fd, 100, 0);
    } else {
        dp_until_peer_blocked("blocks");
        DP_MUST(kill(dp_peer_pid, SIGSTOP));
        dp_say(fd, "while it is stopped");
        dp_say(fd, "and another");
        DP_MUST(kill(dp_peer_pid, SIGCONT));
    }
    dp_sync("end");
    dp_close(fd);
}
