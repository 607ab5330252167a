/// What a test asks of the stand-in core by ioctl on one of its sockets.
#pragma once
#include <stdint.h>

/// Runs `argument` (a function) inside a critical section. Answers 1 when a handler waited at its end.
#define STANDIN_CRITICAL 0x5301
/// Fills `argument` (two words) with this thread's handlers run, with and without SA_RESTART.
#define STANDIN_HANDLERS 0x5302

/// The entries of the core, in the order of their counts.
#define ENTRIES(X)                                                                                                     \
    X(start) X(made_socket) X(made_accepted) X(made_other) X(made_epoll) X(before_close) X(duplicated)                 \
    X(before_replace) X(next_own) X(connect) X(bind) X(listen) X(shutdown) X(recv) X(send) X(recvmsg) X(sendmsg)       \
    X(sendfile) X(hand_back) X(hand_back_all) X(getsockopt) X(setsockopt) X(ioctl) X(fcntl) X(poll) X(epoll_ctl)       \
    X(epoll_wait) X(fork_prepare) X(fork_parent) X(fork_failed) X(fork_child) X(before_exec) X(exec_failed) X(at_exit) X(identity_changed) \
    X(give_back) X(epoll_sort) X(before_spawn) X(before_jump)
