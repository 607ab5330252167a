/// What the cases of the differential suite are written with. A case is one C function that runs in two processes, the
/// server and the client (`dp_server` tells which), or alone (`.solo`). It writes a transcript of what its calls
/// returned; the same case with and without the library preloaded must write the same transcript.
///
/// Rules for a transcript: no descriptor numbers, ports, times, or counts that depend on how the kernel buffers.
/// The two processes keep in step over a side channel (a unix socket), never by waiting for time to pass.
#pragma once
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

// ───────────────────────────── cases ─────────────────────────────

typedef struct dp_case {
    const char *group, *name;
    void (*body)(void);
    const char *kernel;   ///< why no byte of this case can travel outside the kernel; null: a lane must carry some
    bool solo;            ///< one process plays both ends
    bool datagrams;       ///< it is about datagrams (DP_DATAGRAM in datagrams.h)
    struct dp_case *next;
} dp_case;

void dp_register(dp_case *c);
extern dp_case *dp_cases;

/// DP_CASE(group, name, .solo = true, .kernel = "reason") { body }
#define DP_CASE(g, n, ...)                                                                                             \
    static void g##_##n(void);                                                                                         \
    static dp_case g##_##n##_case = {.group = #g, .name = #n, .body = g##_##n, ##__VA_ARGS__};                         \
    __attribute__((constructor)) static void g##_##n##_register(void) { dp_register(&g##_##n##_case); }                \
    static void g##_##n(void)

extern bool dp_server;          ///< this process is the server of the case (true when solo)
extern const dp_case *dp_current;

// Descriptors that every role inherits.
enum { DP_FD_CHANNEL = 3, DP_FD_LOG = 4, DP_FD_PROOF = 5, DP_FD_FIRST = 6 };

/// The life of a role: `argv` is "role server|client CASE". Returns the exit status.
int dp_role(const dp_case *c, bool server);
const dp_case *dp_find(const char *name);
/// Executes this program anew as "child WHAT FD" (exec cases); only returns on failure.
void dp_exec_child(const char *what, int fd);
int dp_child(const char *what, int fd);

// ───────────────────────────── transcript ─────────────────────────────

/// From now on the lines of this thread carry this tag. Lines are compared in order within a tag only.
void dp_as(const char *tag);
void dp_log(const char *format, ...) __attribute__((format(printf, 1, 2)));
/// The case can't go on (not a result: a broken harness or a peer that is gone).
_Noreturn void dp_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
/// Logs the call's text with its result, errno's name when negative, and whether a success touched errno.
long dp_result(const char *what, long result);
#define DP(call) dp_result(#call, (errno = 0, (long)(call)))
/// As DP, for a count that depends on buffers: only its sign is logged.
#define DP_SOME(call) dp_some(#call, (errno = 0, (long)(call)))
long dp_some(const char *what, long result);
/// Must succeed; not logged.
#define DP_MUST(call) dp_must(#call, (long)(call))
long dp_must(const char *what, long result);
const char *dp_errno_name(int number);
/// Text of bytes: quoted when short, else length and checksum. Valid until the next call in this thread.
const char *dp_bytes(const void *data, size_t length);
const char *dp_poll_names(unsigned events);
/// Ring and kernel bytes of the socket so far, to the proof descriptor. Done by dp_close and at the role's end.
void dp_proof(int fd);
/// The case wants a lane to have carried, and this socket's has not carried anything yet.
bool dp_has_no_lane_yet(int fd);
uint64_t dp_ring_bytes(int fd);           ///< of both directions so far; 0 where that is not asked
extern bool dp_proving;                   ///< dp_proof asks at all

// ───────────────────────────── keeping in step ─────────────────────────────

void dp_tell(const char *tag);            ///< one way; never blocks for long
void dp_hear(const char *tag);            ///< waits for that message of the other role
void dp_sync(const char *tag);            ///< both roles have come here
void dp_tell_data(const void *data, size_t length);
size_t dp_hear_data(void *data, size_t size);
extern pid_t dp_peer_pid;                 ///< process of the other role

/// A latch between threads and forked processes. Made before them.
typedef struct dp_gate { int pipe[2]; } dp_gate;
dp_gate dp_gate_make(void);
void dp_gate_open(dp_gate *gate);         ///< lets one waiter through
void dp_gate_wait(dp_gate *gate);

typedef struct dp_worker {
    pthread_t thread;
    const char *tag;
    void (*body)(void *);
    void *argument;
    _Atomic int thread_id, blocking;
} dp_worker;
void dp_start(dp_worker *w, const char *tag, void (*body)(void *), void *argument);
void dp_join(dp_worker *w);
void dp_about_to_block(void);             ///< called by a worker: its next call is expected to block
void dp_until_blocked(dp_worker *w);      ///< until that worker sleeps in that call
void dp_until_asleep(pid_t process);      ///< until the main thread of the process sleeps
/// The other role says dp_tell(tag) and blocks: returns when it sleeps.
void dp_until_peer_blocked(const char *tag);
pid_t dp_fork(void);                      ///< 0 in the child, which must end by dp_done
_Noreturn void dp_done(int status);
void dp_reap(pid_t child, const char *name);

// ───────────────────────────── connections ─────────────────────────────

enum { DP_COLD = 1, DP_NODELAY = 2, DP_NONBLOCK = 4, DP_V6 = 8, DP_SMALL = 16 };
/// A connection between the roles over 127.0.0.1 (DP_V6: ::1), warmed up unless DP_COLD.
int dp_pair(int flags);
/// The same in one process: fds[0] connected, fds[1] was accepted.
void dp_pair_solo(int fds[2], int flags);
int dp_listen(const char *address, int flags);   ///< any port; tells it to the other role
int dp_accept(int listener, int flags);
int dp_dial(const char *address, int flags);     ///< to the port heard last (hears the first one itself)
/// Socket and address without a connect, for cases that do it themselves.
int dp_socket_for(const char *address, int flags);
socklen_t dp_address(const char *text, uint16_t port, struct sockaddr_storage *out);
uint16_t dp_hear_port(void);                     ///< of a further dp_listen of the other role
uint16_t dp_port_of(int fd);
/// Small messages in both directions, called by both ends, so that a lane has reason to open. Not logged.
void dp_warm(int fd);
void dp_warm_alone(int fd);                      ///< the same without the sync at its end
void dp_warm_solo(int client, int server);
void dp_nonblocking(int fd, bool on);
/// Proof, then a logged close.
void dp_close(int fd);

// Waiting until the network has delivered. Not logged.
void dp_settle(int fd, size_t bytes);      ///< at least so many bytes can be read
void dp_settle_for(int fd, short events);  ///< poll shows one of the events
void dp_settle_out(int fd);                ///< the peer has acknowledged all that was sent

// ───────────────────────────── logged calls ─────────────────────────────

ssize_t dp_send(int fd, const void *data, size_t length, int flags);
ssize_t dp_say(int fd, const char *text);                 ///< write of a text
ssize_t dp_recv(int fd, size_t size, int flags);          ///< recv, logs the bytes
ssize_t dp_read(int fd, size_t size);
int dp_poll(int fd, short events, int timeout_ms);        ///< logs result and events
void dp_socket_error(int fd);                             ///< SO_ERROR
void dp_option(int fd, int level, int name, const char *text);
/// epoll_wait; logs the events sorted by their data (a letter).
int dp_epoll(int set, int max, int timeout_ms);
void dp_watch(int set, int operation, int fd, unsigned events, char letter);
int dp_available(int fd);                                  ///< FIONREAD, logged
/// `total` bytes of the pattern `seed` in pieces of `chunk`, whatever blocking mode; logs the total and checksum.
void dp_put(int fd, unsigned seed, size_t total, size_t chunk);
/// Reads `total` bytes (or to the end) and checks them against the pattern; logs total, checksum and how it ended.
void dp_get(int fd, unsigned seed, size_t total, size_t chunk);
void dp_fill(void *data, size_t length, unsigned seed, size_t offset);
/// Non-blocking sends of the pattern from `offset` until the buffers stay full; returns the count and logs that it is full.
size_t dp_stuff(int fd, unsigned seed, size_t chunk, size_t offset);
void dp_tell_sent(size_t count);           ///< to the dp_drain of the other role
/// Reads as many bytes as the other role says by dp_tell_sent, which may come first or later; logs whether they are right.
void dp_drain(int fd, unsigned seed);
bool dp_drain_count(int fd, unsigned seed, size_t offset, size_t count);
uint64_t dp_sum(uint64_t sum, const void *data, size_t length);
