/// The exercise: every interposed function is called, and what it answers is printed. The transcript must be the same with
/// and without the library.
#pragma once
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "StandIn.h"
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/// Prints a call's name, result and errno (only when it failed, for it is written only then).
#define SAY(name, call)                                                                                                \
    do {                                                                                                               \
        errno = 77;                                                                                                    \
        long said = (long)(call);                                                                                      \
        say(name, said, errno);                                                                                        \
    } while (0)
void say(const char *name, long result, int error);
void say_text(const char *name, const char *bytes, long count);
/// Ends the run: something that is not under test went wrong.
void must(int truth, const char *what);

/// Prints whether the stand-in core still tracks a socket: only there the call works. Nowhere may it after a hand back.
#define SAY_TRACKED(name, fd) SAY(name " tracked", ioctl(fd, STANDIN_HANDLERS, (uint32_t[2]){0}))

/// A connected pair over 127.0.0.1: [0] the connecting end, [1] the accepted one.
void tcp_pair(int pair[2]);
/// A listening socket on a free port of 127.0.0.1, and its address.
int listener(struct sockaddr_in *address);
/// Waits for `pid` and prints how it ended.
void say_end(const char *name, pid_t pid);

void exercise_sockets(void);
void exercise_bytes(void);
void exercise_messages(void);
void exercise_readiness(void);
void exercise_select(void);
void exercise_descriptors(void);
void exercise_makers(void);
void exercise_hand_back(void);
void exercise_process(const char *self);
void exercise_exec(const char *self);
void exercise_spawn(void);
void exercise_syscall(void);
