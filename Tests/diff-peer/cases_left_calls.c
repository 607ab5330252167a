// Calls that never return: a handler jumps out of them, or their thread is cancelled in them. Nothing of such a call stays
// behind: a close ends the connection as if the call had never been made.
#include "harness.h"
#include <setjmp.h>

enum { STACK = 256 * 1024 };
static sigjmp_buf back, inner;
static int first_fd, second_fd;

static void jump(int number) {
    (void)number;
    siglongjmp(back, 1);
}
static void catch(int number, void (*handler)(int), int flags) {
    struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
    sigemptyset(&action.sa_mask);
    DP_MUST(sigaction(number, &action, NULL));
}

static void recv_call(int fd) {
    char byte;
    dp_log("recv: %zd", recv(fd, &byte, 1, 0));
}
static void send_call(int fd) {
    static char much[1 << 20];
    while (send(fd, much, sizeof much, 0) > 0) {}
    dp_log("send failed");
}
static void poll_call(int fd) { dp_poll(fd, POLLIN, -1); }
static void select_call(int fd) {
    fd_set set;
    FD_ZERO(&set);
    FD_SET(fd, &set);
    DP(select(fd + 1, &set, NULL, NULL, NULL));
}
static void poll_many_call(int fd) {
    struct pollfd many[50];
    for (int i = 0; i < 50; i++) many[i] = (struct pollfd){.fd = i == 40 ? fd : -1, .events = POLLIN};
    DP(poll(many, 50, -1));
}
static void epoll_call(int fd) {
    int set = epoll_create1(EPOLL_CLOEXEC);
    dp_watch(set, EPOLL_CTL_ADD, fd, EPOLLIN, 'a');
    dp_epoll(set, 1, -1);
}

/// Reads to the end, whatever comes before it.
static void read_to_the_end(int fd) {
    static char data[100000];
    ssize_t got;
    while ((got = recv(fd, data, sizeof data, 0)) > 0) {}
    dp_result("the end", got);
}

/// The server is jumped out of its call and closes; the client sees the end.
static void jump_then_close(void (*call)(int fd), int flags) {
    int fd = dp_pair(0);
    if (dp_server) {
        catch(SIGUSR1, jump, flags);
        if (sigsetjmp(back, 1) == 0) {
            dp_tell("blocks");
            call(fd);
        }
        dp_log("jumped out");
        dp_close(fd);
    } else {
        dp_until_peer_blocked("blocks");
        DP(kill(dp_peer_pid, SIGUSR1));
        read_to_the_end(fd);
        dp_close(fd);
    }
    dp_sync("end");
}

DP_CASE(signals, close_after_a_jump_out_of_recv) { jump_then_close(recv_call, 0); }
DP_CASE(signals, close_after_a_jump_out_of_send) { jump_then_close(send_call, 0); }
DP_CASE(signals, close_after_a_jump_out_of_poll) { jump_then_close(poll_call, 0); }
DP_CASE(signals, close_after_a_jump_out_of_a_large_poll) { jump_then_close(poll_many_call, 0); }
DP_CASE(signals, close_after_a_jump_out_of_select) { jump_then_close(select_call, 0); }
DP_CASE(signals, close_after_a_jump_out_of_epoll_wait) { jump_then_close(epoll_call, 0); }

DP_CASE(signals, close_after_a_jump_from_another_stack) {
    stack_t stack = {.ss_sp = malloc(STACK), .ss_size = STACK};
    DP_MUST(sigaltstack(&stack, NULL));
    jump_then_close(recv_call, SA_ONSTACK);
}

static void left_again_and_again(int fd, void (*call)(int fd)) {
    for (volatile int i = 0; i < 60; i++) {
        if (sigsetjmp(back, 1) == 0) {
            dp_tell("blocks");
            call(fd);
        }
    }
}

DP_CASE(signals, close_after_many_jumps) {
    int fd = dp_pair(0);
    if (dp_server) {
        catch(SIGUSR1, jump, 0);
        left_again_and_again(fd, recv_call);
        left_again_and_again(fd, poll_call);
        dp_say(fd, "still here");
        dp_close(fd);
    } else {
        for (int i = 0; i < 120; i++) {
            dp_until_peer_blocked("blocks");
            DP_MUST(kill(dp_peer_pid, SIGUSR1));
        }
        dp_recv(fd, 100, MSG_WAITALL);
        dp_close(fd);
    }
    dp_sync("end");
}

static void left_at_once(int fd) {
    catch(SIGUSR1, jump, 0);
    if (sigsetjmp(back, 1) == 0) {
        dp_tell("blocks");
        recv_call(fd);
    }
    dp_tell("jumped");
}
static void make_it_jump(void) {
    dp_until_peer_blocked("blocks");
    DP(kill(dp_peer_pid, SIGUSR1));
    dp_hear("jumped");
}

// Calls that the kernel served do not keep the connection from a lane when they were left.
DP_CASE(signals, life_after_a_jump_out_of_the_first_recv) {
    int fd = dp_pair(DP_COLD);
    if (dp_server) {
        left_at_once(fd);
        make_it_jump();
    } else {
        make_it_jump();
        left_at_once(fd);
    }
    dp_warm(fd);
    if (dp_server) {
        dp_recv(fd, 100, 0);
        dp_close(fd);
    } else {
        dp_say(fd, "after the jump");
        read_to_the_end(fd);
        dp_close(fd);
    }
    dp_sync("end");
}

/// Sleeps on the second connection, inside the call on the first one, until it is jumped out of that.
static void handle_second(int number) {
    (void)number;
    if (sigsetjmp(inner, 1) == 0) {
        dp_tell("blocks inside");
        recv_call(second_fd);
    }
    DP(close(second_fd));
}
static void jump_inside(int number) {
    (void)number;
    siglongjmp(inner, 1);
}

/// A call inside a handler is left; the one that the handler interrupted goes on.
static void jump_inside_a_handler(int flags) {
    first_fd = dp_pair(0);
    second_fd = dp_pair(0);
    if (dp_server) {
        catch(SIGUSR1, handle_second, SA_RESTART | flags);
        catch(SIGUSR2, jump_inside, SA_RESTART | SA_NODEFER);
        dp_proof(second_fd);
        dp_tell("blocks");
        dp_recv(first_fd, 100, 0);
        dp_close(first_fd);
    } else {
        dp_until_peer_blocked("blocks");
        DP(kill(dp_peer_pid, SIGUSR1));
        dp_until_peer_blocked("blocks inside");
        DP(kill(dp_peer_pid, SIGUSR2));
        read_to_the_end(second_fd);
        dp_until_asleep(dp_peer_pid);
        dp_say(first_fd, "for the first call");
        read_to_the_end(first_fd);
        dp_close(first_fd);
        dp_close(second_fd);
    }
    dp_sync("end");
}

DP_CASE(signals, jump_inside_a_handler) { jump_inside_a_handler(0); }
DP_CASE(signals, jump_inside_a_handler_on_another_stack) {
    stack_t stack = {.ss_sp = malloc(STACK), .ss_size = STACK};
    DP_MUST(sigaltstack(&stack, NULL));
    jump_inside_a_handler(SA_ONSTACK);
}

/// The child of a fork inside a handler goes on with the call, too, as far as its process is concerned.
static void fork_in_handler(int number) {
    (void)number;
    pid_t child = dp_fork();
    if (child == 0) {
        dp_as("child");
        return;
    }
    dp_reap(child, "child");
}

DP_CASE(signals, fork_inside_a_blocked_recv) {
    int fd = dp_pair(0);
    if (dp_server) {
        pid_t self = getpid();
        catch(SIGUSR1, fork_in_handler, 0);
        dp_tell("blocks");
        dp_recv(fd, 100, 0);
        if (getpid() != self) {
            dp_say(fd, "from the child");
            dp_proof(fd);
            _exit(0);
        }
        dp_close(fd);
    } else {
        dp_until_peer_blocked("blocks");
        DP(kill(dp_peer_pid, SIGUSR1));
        read_to_the_end(fd);
        dp_close(fd);
    }
    dp_sync("end");
}

// ───────────────────────────── cancellation ─────────────────────────────

static bool closes_itself;

static void clean_up(void *call) {
    (void)call;
    if (closes_itself) dp_close(first_fd);
}
static void body(void *call) {
    pthread_cleanup_push(clean_up, NULL);
    dp_about_to_block();
    ((void (*)(int))call)(first_fd);
    pthread_cleanup_pop(0);
}

static void cancel_then_close(void (*call)(int fd), bool in_cleanup) {
    first_fd = dp_pair(0);
    closes_itself = in_cleanup;
    if (dp_server) {
        dp_worker w;
        dp_start(&w, "worker", body, (void *)call);
        dp_until_blocked(&w);
        DP(pthread_cancel(w.thread));
        dp_join(&w);
        if (!in_cleanup) dp_close(first_fd);
    } else {
        read_to_the_end(first_fd);
        dp_close(first_fd);
    }
    dp_sync("end");
}

DP_CASE(threads, close_after_a_cancelled_recv) { cancel_then_close(recv_call, false); }
DP_CASE(threads, close_after_a_cancelled_send) { cancel_then_close(send_call, false); }
DP_CASE(threads, close_after_a_cancelled_poll) { cancel_then_close(poll_call, false); }
DP_CASE(threads, close_after_a_cancelled_large_poll) { cancel_then_close(poll_many_call, false); }
DP_CASE(threads, close_after_a_cancelled_epoll_wait) { cancel_then_close(epoll_call, false); }
DP_CASE(threads, close_in_the_cleanup_of_a_cancelled_recv) { cancel_then_close(recv_call, true); }
DP_CASE(threads, close_in_the_cleanup_of_a_cancelled_poll) { cancel_then_close(poll_call, true); }
