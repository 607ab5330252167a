// Signals: interrupted and restarted calls, jumps out of a call, SIGPIPE, stop and continue.
#include "harness.h"
#include <setjmp.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/time.h>

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

static void log_caught(void) {
    dp_log("caught %d", caught);
    caught = 0;
}

/// The client waits until the server sleeps in its call, and then sends it the signal.
static void signal_when_blocked(int number) {
    dp_until_peer_blocked("blocks");
    DP(kill(dp_peer_pid, number));
}

static void recv_with(int flags, bool timeout) {
    int fd = dp_pair(0);
    if (dp_server) {
        struct timeval wait = {30, 0};
        catch(SIGUSR1, count, flags);
        if (timeout) DP(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait));
        dp_tell("blocks");
        dp_recv(fd, 100, 0);
        log_caught();
        dp_tell("next");
        dp_recv(fd, 100, 0);
    } else {
        signal_when_blocked(SIGUSR1);
        if (flags & SA_RESTART && !timeout) {
            dp_until_asleep(dp_peer_pid);
            dp_say(fd, "first");
        }
        dp_hear("next");
        dp_say(fd, "second");
    }
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(signals, recv_interrupted) { recv_with(0, false); }
DP_CASE(signals, recv_restarted) { recv_with(SA_RESTART, false); }
DP_CASE(signals, recv_with_timeout_is_not_restarted) { recv_with(SA_RESTART, true); }
DP_CASE(signals, recv_with_timeout_interrupted) { recv_with(0, true); }

/// The handler is installed by the system call, as some run-time libraries do.
static void catch_by_syscall(int number, void (*handler)(int), unsigned long flags) {
    struct { void (*handler)(int); unsigned long flags; void *restorer; unsigned long mask; } action, before;
    catch(number, SIG_IGN, 0);
    catch(number, count, SA_NODEFER);  // libc's restorer comes with it
    DP(syscall(SYS_rt_sigaction, number, NULL, &before, sizeof before.mask));
    dp_log("%s, flags %lx", before.handler == count ? "count" : "another", before.flags & ~0x4000000ul);
    action = before;
    action.handler = handler;
    action.flags = flags | 0x4000000;
    DP(syscall(SYS_rt_sigaction, number, &action, &before, sizeof action.mask));
    DP(syscall(SYS_rt_sigaction, number, NULL, &before, sizeof action.mask));
    dp_log("%s, flags %lx", before.handler == handler ? "it" : "another", before.flags & ~0x4000000ul);
    DP(syscall(SYS_rt_sigaction, number, &action, NULL, 4));
    DP(syscall(SYS_rt_sigaction, SIGKILL, &action, NULL, sizeof action.mask));
}

static void recv_with_raw(unsigned long flags) {
    int fd = dp_pair(0);
    if (dp_server) {
        catch_by_syscall(SIGUSR1, count, flags);
        dp_tell("blocks");
        dp_recv(fd, 100, 0);
        log_caught();
        dp_tell("next");
        dp_recv(fd, 100, 0);
    } else {
        signal_when_blocked(SIGUSR1);
        if (flags & SA_RESTART) {
            dp_until_asleep(dp_peer_pid);
            dp_say(fd, "first");
        }
        dp_hear("next");
        dp_say(fd, "second");
    }
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(signals, recv_interrupted_by_a_raw_handler) { recv_with_raw(0); }
DP_CASE(signals, recv_restarted_after_a_raw_handler) { recv_with_raw(SA_RESTART); }

static void send_with(int flags) {
    int fd = dp_pair(0);
    if (dp_server) {
        catch(SIGUSR1, count, flags);
        size_t sent = dp_stuff(fd, 1, 4000, 0);
        char data[1000];
        dp_tell_sent(sent);
        dp_tell("blocks");
        dp_fill(data, sizeof data, 1, sent);
        ssize_t more = DP(send(fd, data, sizeof data, 0));
        log_caught();
        dp_tell_sent(more > 0 ? more : 0);
    } else {
        size_t before = 0, after = 0;
        dp_hear_data(&before, sizeof before);
        signal_when_blocked(SIGUSR1);
        if (flags & SA_RESTART) dp_until_asleep(dp_peer_pid);
        dp_drain_count(fd, 1, 0, before);
        dp_hear_data(&after, sizeof after);
        dp_drain_count(fd, 1, before, after);
    }
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(signals, send_interrupted) { send_with(0); }
DP_CASE(signals, send_restarted) { send_with(SA_RESTART); }

DP_CASE(signals, waitall_interrupted_gives_its_part) {
    int fd = dp_pair(0);
    if (dp_server) {
        catch(SIGUSR1, count, 0);
        dp_settle(fd, 4);
        dp_tell("blocks");
        dp_recv(fd, 100, MSG_WAITALL);
        log_caught();
    } else {
        dp_say(fd, "part");
        signal_when_blocked(SIGUSR1);
    }
    dp_sync("end");
    dp_close(fd);
}

static void poll_call(int fd) { dp_poll(fd, POLLIN, -1); }
static void select_call(int fd) {
    fd_set set;
    FD_ZERO(&set);
    FD_SET(fd, &set);
    DP(select(fd + 1, &set, NULL, NULL, NULL));
}
static void epoll_call(int fd) {
    int set = epoll_create1(0);
    dp_watch(set, EPOLL_CTL_ADD, fd, EPOLLIN, 'a');
    dp_tell("watching");
    dp_epoll(set, 8, -1);
    DP(close(set));
}
static void accept_call(int fd) { DP(accept(fd, NULL, NULL)); }

/// These are interrupted even with SA_RESTART.
static void never_restarted(void (*call)(int), bool tells_itself) {
    int fd = dp_pair(0);
    if (dp_server) {
        catch(SIGUSR1, count, SA_RESTART);
        if (!tells_itself) dp_tell("watching");
        call(fd);
        log_caught();
    } else {
        dp_until_peer_blocked("watching");
        DP(kill(dp_peer_pid, SIGUSR1));
    }
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(signals, poll_is_never_restarted) { never_restarted(poll_call, false); }
DP_CASE(signals, select_is_never_restarted) { never_restarted(select_call, false); }
DP_CASE(signals, epoll_wait_is_never_restarted) { never_restarted(epoll_call, true); }

DP_CASE(signals, accept_interrupted, .kernel = "no connection") {
    if (dp_server) {
        int listener = dp_listen("127.0.0.1", 0);
        catch(SIGUSR1, count, 0);
        dp_tell("blocks");
        accept_call(listener);
        log_caught();
        dp_close(listener);
    } else {
        dp_hear_port();
        signal_when_blocked(SIGUSR1);
    }
    dp_sync("end");
}

static void jump_case(bool sending) {
    int fd = dp_pair(0);
    if (dp_server) {
        catch(SIGUSR1, jump, 0);
        volatile size_t sent = sending ? dp_stuff(fd, 1, 4000, 0) : 0;
        static char data[1000];
        dp_tell("blocks");
        if (sigsetjmp(back, 1) == 0) {
            ssize_t result = sending ? send(fd, data, sizeof data, 0) : recv(fd, data, sizeof data, 0);
            dp_log("returned %zd", result);
        } else {
            dp_log("jumped out");
        }
        log_caught();
        if (sending) dp_tell_sent(sent);
        else dp_tell("jumped");
        for (int i = 0; i < 3; i++) {
            dp_recv(fd, 100, 0);
            dp_say(fd, "reply");
        }
    } else {
        signal_when_blocked(SIGUSR1);
        if (sending) dp_drain(fd, 1);
        else dp_hear("jumped");
        for (int i = 0; i < 3; i++) {
            dp_say(fd, "request");
            dp_recv(fd, 100, 0);
        }
    }
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(signals, jump_out_of_recv) { jump_case(false); }
DP_CASE(signals, jump_out_of_send) { jump_case(true); }

DP_CASE(signals, jump_out_of_poll) {
    int fd = dp_pair(0);
    if (dp_server) {
        catch(SIGUSR1, jump, 0);
        for (volatile int i = 0; i < 3; i++) {
            if (sigsetjmp(back, 1) == 0) {
                dp_tell("blocks");
                dp_poll(fd, POLLIN, -1);
            } else {
                dp_log("jumped out");
            }
        }
        dp_tell("done");
        dp_recv(fd, 100, 0);
    } else {
        for (int i = 0; i < 3; i++) signal_when_blocked(SIGUSR1);
        dp_hear("done");
        dp_say(fd, "works");
    }
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(signals, handler_sends_on_the_same_socket) {
    int fd = dp_pair(0);
    if (dp_server) {
        handler_fd = fd;
        catch(SIGUSR1, send_in_handler, SA_RESTART);
        dp_tell("blocks");
        dp_recv(fd, 100, 0);
        log_caught();
    } else {
        signal_when_blocked(SIGUSR1);
        dp_recv(fd, 100, 0);
        dp_say(fd, "answer");
    }
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(signals, many_signals_during_transfers) {
    int fd = dp_pair(0);
    catch(SIGALRM, count, SA_RESTART);
    struct itimerval often = {{0, 2000}, {0, 2000}}, never = {{0, 0}, {0, 0}};
    DP_MUST(setitimer(ITIMER_REAL, &often, NULL));
    size_t total = 20 << 20;
    if (dp_server) {
        dp_get(fd, 1, total, 60000);
        dp_put(fd, 2, total, 50000);
    } else {
        dp_put(fd, 1, total, 50000);
        dp_get(fd, 2, total, 60000);
    }
    DP_MUST(setitimer(ITIMER_REAL, &never, NULL));
    dp_sync("end");
    dp_close(fd);
}
