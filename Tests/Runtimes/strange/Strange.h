/// What the strange processes are written with: a peer process that echoes, and talks with it that look at each byte. A case
/// prints lines that must be the same on the plain kernel and under Sluice, and says where its bytes travel under Sluice.
#pragma once
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

_Noreturn void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
/// Prints the call's text and its result, with errno when negative.
#define SAY(call) say_result(#call, (errno = 0, (long)(call)))
void say_result(const char *what, long result);
#define MUST(call) ({ long r_ = (long)(call); if (r_ < 0) fail("%s: %s", #call, strerror(errno)); r_; })

/// The port of the process that echoes every connection; it ends with the program.
extern int peer_port;
extern pid_t peer_id;
/// Another such process, from now on; as it is made, it has what this one has: user, limits.
void start_peer(void);
int dial(void);
/// `rounds` messages of growing length, there and back; says nothing unless a byte is wrong.
void talk(int fd, int rounds);
/// A connection that has talked long enough for a lane, and has been looked at.
int warm(void);
/// One byte there: the peer answers nothing until it is told to by `talk`.
bool send_all(int fd, const void *bytes, size_t n);
bool recv_all(int fd, void *bytes, size_t n);
/// A connection whose both ends are here, have talked, and have been looked at.
void warm_pair(int ends[2]);
void pass(int from, int to, int rounds);
/// Until a thread of this process sleeps in a system call.
bool is_asleep(pid_t thread);
void until_asleep(pid_t thread);

/// Where bytes are to be found under Sluice: in the ring, or, for a reason, in the kernel. Said by each case for its
/// connections; `from_now` says it for what follows. In the plain run all are to be in the kernel, in chaos anywhere.
#define LANE NULL
#define KERNEL(reason) ("the kernel: " reason)
void from_now(const char *place);
/// Runs under Sluice, and not in chaos.
bool is_as_said(void);
/// Fails when a byte that has come from one end to the other (the same: echoed) is not where it is to be. All have been read.
void look(int from, int to);
/// A system call past libc, which no library sees.
long raw_call(long number, long a, long b, long c, long d, long e, long f);
/// Ends the program: this machine or this user cannot run the case.
_Noreturn void skip(const char *reason);
void needs_root(void);

typedef struct strange { const char *name; const char *place; void (*body)(void); struct strange *next; } strange;
void add_case(strange *c);
#define CASE(n, place)                                                                                                 \
    static void case_##n(void);                                                                                        \
    static strange strange_##n = {#n, place, case_##n, NULL};                                                          \
    __attribute__((constructor)) static void add_##n(void) { add_case(&strange_##n); }                                 \
    static void case_##n(void)
extern char **strange_arguments;
