// What the parts of bench-peer share: the options, the control block of a run, and the record of a side.
//
// The program is its own parent: it makes the control block, starts itself twice (a server and a client, each in a
// process of its own, so that they are two ordinary programs to whatever is preloaded), waits for both, and prints one JSON object.
#ifndef PEER_H
#define PEER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum transport {
    TRANSPORT_TCP, TRANSPORT_TCP_NODELAY, TRANSPORT_UNIX, TRANSPORT_PIPE, TRANSPORT_RING, TRANSPORT_SOCKMAP,
    /// These keep messages apart, and have patterns of their own.
    TRANSPORT_UDP, TRANSPORT_UNIX_DATAGRAM
};
enum wait_style { WAIT_BLOCK, WAIT_SPIN, WAIT_POLL, WAIT_EPOLL };
enum role { ROLE_PARENT, ROLE_SERVER, ROLE_CLIENT, ROLE_SINGLE };

struct options {
    const char *pattern;
    enum transport transport;
    enum wait_style wait;
    enum role role;
    int control_fd;
    /// Cores of the server and the client; -1: not pinned.
    int core[2];
    /// Core of a process that computes all the time; -1 on no fixed core; -2 there is none.
    int neighbour;
    size_t size;
    size_t read_size;
    unsigned warmup_ms;
    unsigned run_ms;
    /// Stops the run, whatever it does.
    unsigned limit_ms;
    unsigned connections;
    unsigned busy;
    unsigned rate;
    unsigned long messages;
    const char *call;
    /// Where memcached is, and its process.
    unsigned port;
    const char *path;
    pid_t server_pid;
    const char *preload;
    bool preload_side[2];
};

/// Latencies in ticks of the clock, in buckets at most 1/128 wide.
enum { RECORD_BITS = 7, RECORD_BUCKETS = (64 - RECORD_BITS + 1) << RECORD_BITS };
struct record {
    uint64_t total;
    uint64_t maximum;
    uint64_t bucket[RECORD_BUCKETS];
};

/// One side of a run as the parent reports it.
struct side {
    _Atomic uint32_t step;
    pid_t pid;
    /// User and system time inside the measured interval.
    uint64_t cpu_ns;
    /// Proportional share of resident memory before and after, and its plain resident size.
    uint64_t pss_before, pss_after, rss_before, rss_after;
    char failure[240];
    char skipped[240];
};

/// Shared by the three processes of a run.
struct control {
    struct side side[2];
    uint16_t port;
    uint64_t messages;
    /// Messages that were sent, where some may be lost; 0: all arrive.
    uint64_t sent;
    uint64_t bytes;
    uint64_t elapsed_ns;
    uint64_t ticks;
    /// Middle cost of a call or of a process start, where that is the result.
    double cost_ns;
    struct record record;
    /// Of the pattern with many client processes: how far the run is, how many clients are there, how many have counted a round trip, and
    /// from when to when one counts.
    _Atomic uint32_t stage, ready, counting;
    uint64_t begin_ticks;
    _Atomic uint64_t end_ticks;
};

enum { SERVER = 0, CLIENT = 1 };
/// The steps that a side reaches; the other waits for them.
enum { STEP_LISTENING = 1, STEP_LINKED = 2, STEP_READY = 3, STEP_DONE = 4 };

enum { STAGE_GO = 1, STAGE_OVER = 2 };

extern struct options options;
extern struct control *control;

/// Where the rings of the bare-ring transport lie, behind the control block.
void *control_rings(void);
size_t control_size(void);

int options_parse(int argc, char **argv);
/// Whether the run has taken longer than it may.
bool parent_expired(void);
void json_print(int failed);

/// Ends this side because a call failed; the parent prints the message and the text of errno.
_Noreturn void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
/// Ends this side because something is not as it must be.
_Noreturn void wrong(const char *format, ...) __attribute__((format(printf, 1, 2)));
/// Ends this side because the system refuses what the run needs.
_Noreturn void skip(const char *format, ...) __attribute__((format(printf, 1, 2)));
void reach(uint32_t step);
/// Blocks until the other side has reached the step.
void await(uint32_t step);
/// The same for so long at most; whether it was reached.
bool await_briefly(uint32_t step, unsigned microseconds);
void pin(int core);

void record_add(struct record *record, uint64_t ticks);
uint64_t record_value(unsigned index);

/// Processor time of a process, of any of this user's, to the nanosecond.
uint64_t processor_ns(pid_t pid);
/// Marks begin and end of the measured interval on the side that knows them: clock, and processor time of both sides.
void measure_begin(void);
void measure_end(void);
/// The middle one of these numbers of ticks, in nanoseconds once the run is over.
double middle(uint64_t *values, unsigned count);

// Patterns: one function per side, or one for both where there is one process only.
void pingpong_server(void);
void pingpong_client(void);
void stream_server(void);
void stream_client(void);
void churn_server(void);
void churn_client(void);
void many_server(void);
void many_client(void);
void rate_client(void);
void memory_server(void);
void memory_client(void);
void datagram_pingpong_server(void);
void datagram_pingpong_client(void);
void datagram_stream_server(void);
void datagram_stream_client(void);
void clients_server(void);
void clients_client(void);
void datagram_clients_server(void);
void datagram_clients_client(void);
/// What the parent does while they run; the server is the first of the processes.
void clients_conduct(const pid_t *pids, unsigned count);
void calls_single(void);
void start_single(void);
void observe_single(void);
void memcache_single(void);

#endif
