/// What the fault drivers share. They are plain programs; run.sh preloads the library.
#pragma once
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

/// The most that anything may take before it counts as hanging.
enum { LIMIT_MS = 5000 };

/// Says what is wrong on stderr and ends the process with 1. Never returns.
void die(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
/// CLOCK_MONOTONIC in milliseconds and in nanoseconds.
int64_t now_ms(void);
int64_t now_ns(void);
/// A pause between two looks at something that will come.
void breathe(void);
/// Zeroed memory that forked processes share.
void *shared_memory(size_t bytes);
/// xorshift: the next number of a seeded sequence.
uint64_t next_random(uint64_t *state);

/// Byte `i` of the stream `seed`: no loss, doubling or exchange of a few bytes leaves it the same.
static inline uint8_t stream_byte(uint64_t seed, uint64_t i) {
    uint64_t x = (i + 1) * 0x9e3779b97f4a7c15u + seed * 0xd1b54a32d192ed03u;
    x ^= x >> 29;
    x *= 0xbf58476d1ce4e5b9u;
    return (uint8_t)(x >> 56);
}

/// A listening socket on 127.0.0.1, its port in *port. An accepted or connected socket.
int listen_here(int *port);
int accept_one(int listener);
int connect_to(int port);

/// System calls that no library sees: what the kernel holds is told apart from what the program sees.
long raw_call(long number, long a, long b, long c, long d, long e);
/// Unread bytes in the kernel socket itself.
int kernel_unread(int fd);
/// Of the `bytes` that the program has received on a socket, those that the kernel has not seen.
long bytes_by_ring(int fd, long bytes);
/// True when a library is preloaded.
bool is_preloaded(void);

/// Moves this process to a network namespace of its own with lo up, so that /proc/net/unix and ports are its own. False:
/// not permitted.
bool own_network(void);
/// Names in /proc/net/unix that begin with @slu1.
int open_names(void);
/// Sends or receives all `n` bytes; false with errno (0: end of stream).
bool send_all(int fd, const void *p, size_t n);
bool recv_all(int fd, void *p, size_t n);
/// Open descriptors of this process that the kernel knows of, Sluice's own too.
int descriptor_count(void);
/// Waits for a process, at most `ms`; its wait status, or -1: it still runs.
int wait_for(pid_t pid, int ms);
/// Ends a process that this one started, and waits for it.
void end_process(pid_t pid);
/// The letter of a process's state (proc(5)), 0 when it is gone.
char process_state(pid_t pid);
/// Waits until a process sleeps in a call; false after LIMIT_MS.
bool wait_asleep(pid_t pid);

/// What `sluicestat why` says of a descriptor: the reason's name, "lane" (also of one that goes one way only, so far), "no stack",
/// or "no reason". Valid until the next call.
const char *reason_of(const char *stat_tool, pid_t pid, int fd);

/// The text of `problem`: 200 bytes of memory that the processes of a play share.
extern char *problem_text;
/// Notes the first problem that a process of the play has, and ends this one.
_Noreturn void problem(const char *format, ...) __attribute__((format(printf, 1, 2)));

/// Counts cases and prints them as the other suites do.
void ok(const char *format, ...) __attribute__((format(printf, 1, 2)));
void not_ok(const char *format, ...) __attribute__((format(printf, 1, 2)));
void skip(const char *name, const char *reason);
/// Prints the last line; the exit code.
int finish(void);
