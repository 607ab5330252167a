// SIGPIPE, masks, stop and continue, signals by descriptor.
#include "harness.h"
#include <sys/signalfd.h>

static volatile sig_atomic_t caught;
static void count(int number) {
    (void)number;
    caught++;
}

static void catch(int number, int flags) {
    struct sigaction action = {.sa_handler = count, .sa_flags = flags};
    sigemptyset(&action.sa_mask);
    DP_MUST(sigaction(number, &action, NULL));
}

DP_CASE(signals, sigpipe_kills) {
    int fd = dp_pair(0);
    if (dp_server) {
        DP(shutdown(fd, SHUT_WR));
        dp_proof(fd);
        dp_tell("dying");
        dp_say(fd, "x");
        dp_log("survived");
    } else {
        dp_recv(fd, 10, 0);
        dp_hear("dying");
        dp_close(fd);
    }
}

DP_CASE(signals, sigpipe_caught) {
    int fd = dp_pair(0);
    if (dp_server) {
        catch(SIGPIPE, 0);
        DP(shutdown(fd, SHUT_WR));
        struct iovec part = {"x", 1};
        struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
        dp_say(fd, "x");
        dp_log("%d", caught);
        dp_send(fd, "x", 1, 0);
        dp_log("%d", caught);
        dp_send(fd, "x", 1, MSG_NOSIGNAL);
        dp_log("%d", caught);
        DP(writev(fd, &part, 1));
        dp_log("%d", caught);
        DP(sendmsg(fd, &message, 0));
        dp_log("%d", caught);
        DP(sendmsg(fd, &message, MSG_NOSIGNAL));
        dp_log("%d", caught);
        dp_send(fd, "", 0, 0);
        dp_log("%d", caught);
    }
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(signals, sigpipe_ignored) {
    int fd = dp_pair(0);
    signal(SIGPIPE, SIG_IGN);
    if (dp_server) {
        dp_close(fd);
        dp_sync("closed");
    } else {
        dp_sync("closed");
        dp_settle_for(fd, POLLRDHUP);
        dp_say(fd, "answered by a reset");
        dp_settle_for(fd, POLLERR);
        dp_say(fd, "x");
        dp_say(fd, "x");
        dp_close(fd);
    }
    dp_sync("end");
}

DP_CASE(signals, sigpipe_after_reset) {
    int fd = dp_pair(0);
    catch(SIGPIPE, 0);
    if (dp_server) {
        struct linger reset = {1, 0};
        DP_MUST(setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset));
        dp_close(fd);
        dp_sync("reset");
    } else {
        dp_sync("reset");
        dp_settle_for(fd, POLLERR);
        dp_say(fd, "x");
        dp_log("%d", caught);
        dp_say(fd, "x");
        dp_log("%d", caught);
        dp_recv(fd, 10, 0);
        dp_close(fd);
    }
    dp_sync("end");
}

DP_CASE(signals, ignored_signals_do_not_interrupt) {
    int fd = dp_pair(0);
    if (dp_server) {
        signal(SIGUSR1, SIG_IGN);
        dp_tell("blocks");
        dp_recv(fd, 100, 0);
    } else {
        dp_until_peer_blocked("blocks");
        DP(kill(dp_peer_pid, SIGUSR1));
        DP(kill(dp_peer_pid, SIGWINCH));
        dp_until_asleep(dp_peer_pid);
        dp_say(fd, "undisturbed");
    }
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(signals, blocked_signals_do_not_interrupt) {
    int fd = dp_pair(0);
    if (dp_server) {
        sigset_t mask, pending;
        sigemptyset(&mask);
        sigaddset(&mask, SIGUSR1);
        catch(SIGUSR1, 0);
        DP(sigprocmask(SIG_BLOCK, &mask, NULL));
        dp_tell("blocks");
        dp_recv(fd, 100, 0);
        DP(sigpending(&pending));
        dp_log("caught %d, pending %d", caught, sigismember(&pending, SIGUSR1));
        DP(sigprocmask(SIG_UNBLOCK, &mask, NULL));
        dp_log("caught %d", caught);
    } else {
        dp_until_peer_blocked("blocks");
        DP(kill(dp_peer_pid, SIGUSR1));
        dp_until_asleep(dp_peer_pid);
        dp_say(fd, "undisturbed");
    }
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(signals, ppoll_opens_the_mask) {
    int fd = dp_pair(0);
    if (dp_server) {
        sigset_t mask, none;
        sigemptyset(&none);
        sigemptyset(&mask);
        sigaddset(&mask, SIGUSR1);
        catch(SIGUSR1, SA_RESTART);
        DP(sigprocmask(SIG_BLOCK, &mask, NULL));
        dp_tell("blocks");
        struct pollfd p = {fd, POLLIN, 0};
        DP(ppoll(&p, 1, NULL, &none));
        dp_log("caught %d", caught);
        DP(kill(getpid(), SIGUSR1));
        dp_log("caught %d", caught);
        DP(ppoll(&p, 1, NULL, &none));
        dp_log("caught %d", caught);
        sigset_t now;
        DP(sigprocmask(SIG_BLOCK, NULL, &now));
        dp_log("blocked again %d", sigismember(&now, SIGUSR1));
    } else {
        dp_until_peer_blocked("blocks");
        DP(kill(dp_peer_pid, SIGUSR1));
    }
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(signals, epoll_pwait_opens_the_mask) {
    int fd = dp_pair(0);
    if (dp_server) {
        sigset_t mask, none;
        sigemptyset(&none);
        sigemptyset(&mask);
        sigaddset(&mask, SIGUSR1);
        catch(SIGUSR1, SA_RESTART);
        DP(sigprocmask(SIG_BLOCK, &mask, NULL));
        int set = epoll_create1(0);
        struct epoll_event event = {0};
        dp_watch(set, EPOLL_CTL_ADD, fd, EPOLLIN, 'a');
        dp_tell("blocks");
        DP(epoll_pwait(set, &event, 1, -1, &none));
        dp_log("caught %d", caught);
        DP(epoll_pwait(set, &event, 1, 0, &none));
        struct timespec forever = {100, 0};
        dp_tell("data");
        DP(epoll_pwait2(set, &event, 1, &forever, &none));
        DP(close(set));
    } else {
        dp_until_peer_blocked("blocks");
        DP(kill(dp_peer_pid, SIGUSR1));
        dp_hear("data");
        dp_say(fd, "x");
    }
    dp_sync("end");
    dp_close(fd);
}

static void stop_and_continue(void (*call)(int)) {
    int fd = dp_pair(0);
    if (dp_server) {
        dp_tell("blocks");
        call(fd);
    } else {
        dp_until_peer_blocked("blocks");
        DP(kill(dp_peer_pid, SIGSTOP));
        DP(kill(dp_peer_pid, SIGCONT));
        dp_until_asleep(dp_peer_pid);
        dp_say(fd, "continued");
    }
    dp_sync("end");
    dp_close(fd);
}

static void recv_call(int fd) { dp_recv(fd, 100, 0); }
static void poll_call(int fd) { dp_poll(fd, POLLIN, -1); }

DP_CASE(signals, stopped_in_recv) { stop_and_continue(recv_call); }
DP_CASE(signals, stopped_in_poll) { stop_and_continue(poll_call); }

DP_CASE(signals, signal_descriptor_beside_a_socket) {
    int fd = dp_pair(0);
    if (dp_server) {
        sigset_t mask;
        sigemptyset(&mask);
        sigaddset(&mask, SIGUSR1);
        DP(sigprocmask(SIG_BLOCK, &mask, NULL));
        int signals = signalfd(-1, &mask, 0);
        struct pollfd both[2] = {{fd, POLLIN, 0}, {signals, POLLIN, 0}};
        dp_tell("blocks");
        DP(poll(both, 2, -1));
        dp_log("%s, %s", dp_poll_names(both[0].revents), both[1].revents ? "signal" : "no signal");
        struct signalfd_siginfo info;
        DP_SOME(read(signals, &info, sizeof info));
        dp_tell("now data");
        DP(poll(both, 2, -1));
        dp_log("%s, %s", dp_poll_names(both[0].revents), both[1].revents ? "signal" : "no signal");
        dp_recv(fd, 100, 0);
    } else {
        dp_until_peer_blocked("blocks");
        DP(kill(dp_peer_pid, SIGUSR1));
        dp_hear("now data");
        dp_say(fd, "data");
    }
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(signals, asynchronous_io) {
    int fd = dp_pair(0);
    if (dp_server) {
        catch(SIGIO, SA_RESTART);
        DP(fcntl(fd, F_SETOWN, getpid()));
        DP(fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_ASYNC));
        dp_tell("go");
        while (!caught) poll(NULL, 0, 1);
        dp_log("told by SIGIO");
        dp_settle(fd, 5);
        dp_recv(fd, 100, 0);
    } else {
        dp_hear("go");
        dp_say(fd, "async");
    }
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(signals, sigurg_for_the_owner) {
    int fd = dp_pair(0);
    if (dp_server) {
        catch(SIGURG, SA_RESTART);
        DP(fcntl(fd, F_SETOWN, getpid()));
        dp_log("owner %d", fcntl(fd, F_GETOWN) == getpid());
        dp_tell("go");
        while (!caught) poll(NULL, 0, 1);
        dp_recv(fd, 1, MSG_OOB);
    } else {
        dp_hear("go");
        dp_send(fd, "u", 1, MSG_OOB);
    }
    dp_sync("end");
    dp_close(fd);
}

static int reader_fd;
static void recv_body(void *argument) {
    (void)argument;
    dp_about_to_block();
    dp_recv(reader_fd, 100, 0);
}

static void replaced_under_reader(int flags) {
    int fd = dp_pair(0);
    if (dp_server) {
        int pair[2];
        DP_MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
        DP_MUST(shutdown(pair[0], SHUT_RDWR));
        catch(SIGUSR2, flags);
        reader_fd = fd;
        dp_proof(fd);
        dp_worker w;
        dp_start(&w, "reader", recv_body, NULL);
        dp_until_blocked(&w);
        DP(dup2(pair[0], fd) == fd);      // as the JDK closes a socket that a thread reads
        DP(pthread_kill(w.thread, SIGUSR2));
        dp_join(&w);
        dp_recv(fd, 10, 0);
        DP(close(fd));
    } else {
        dp_recv(fd, 10, 0);
        dp_close(fd);
    }
    dp_sync("end");
}

DP_CASE(signals, dup2_and_signal_wake_a_reader) { replaced_under_reader(0); }
DP_CASE(signals, dup2_and_restart_reads_the_new_file) { replaced_under_reader(SA_RESTART); }

DP_CASE(signals, restarted_call_sleeps_on) {
    // The peer's thread sleeps for the first time, which it tells, while the call has a handler's run behind it.
    reader_fd = dp_pair(0);
    if (dp_server) {
        catch(SIGUSR1, SA_RESTART);
        dp_tell("blocks");
        dp_recv(reader_fd, 100, 0);
        dp_say(reader_fd, "back");
    } else {
        dp_worker w;
        dp_until_peer_blocked("blocks");
        DP(kill(dp_peer_pid, SIGUSR1));
        dp_until_asleep(dp_peer_pid);
        dp_start(&w, "reader", recv_body, NULL);
        dp_until_blocked(&w);
        dp_until_asleep(dp_peer_pid);
        dp_say(reader_fd, "on");
        dp_join(&w);
    }
    dp_sync("end");
    dp_close(reader_fd);
}
