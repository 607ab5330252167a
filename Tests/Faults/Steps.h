/// One call of a victim, cut off after each of its instructions: what the parts of the step driver share.
///
///     driver --fork--> peer      the other end of the connection
///            --fork--> victim    traced; its call stands between two breakpoint instructions
///                      --fork--> sharer   in half of the rounds: goes on with the victim's socket
///
/// Of UDP (Datagram*.c) the peer forks before it has a socket: in half of the rounds a neighbour, in the sharer's place, which
/// talks with the peer from a socket of its own; and a successor, which takes the victim's address when that has ended.
#pragma once
#include "Faults.h"

enum who { PEER, VICTIM, SHARER, SUCCESSOR, EVERYONE };
/// "a sharer", or who is there in its place.
extern const char *const third;
/// What happens after instruction n: the victim is killed; stopped for a while; or runs a handler.
enum mode { KILL, STOP, SIGNAL, MODES };
/// What the peer does while the call runs.
enum during {
    IDLE,      ///< nothing until it is over
    LISTENING, ///< sleeps in recv and reads on
    FEEDING,   ///< sleeps in a send that does not fit
    ANSWERING, ///< sends when the victim sleeps
    DRAINING,  ///< reads when the victim sleeps
    ECHOING,   ///< answers each message
};
/// How the peer's stream ends when the victim was killed and nobody shares its socket.
enum ending { ORDERLY, RESET, EITHER };

/// The streams and what of them is known; in memory that all four processes share.
struct round {
    const struct path *path;
    enum mode mode;
    bool victim_connects, has_sharer, on_kernel;
    volatile int port;
    volatile bool untraced;    ///< the victim runs freely: no breakpoint may follow
    volatile bool no_lane;     ///< warming up showed kernel bytes: the round says nothing
    volatile bool call_over;   ///< the victim's call returned
    volatile bool broken_pipe; ///< the sharer's first send found the direction shut
    volatile long sent[EVERYONE];  ///< stream bytes of calls that returned
    long got[EVERYONE];            ///< what the peer read of each
    volatile long most;            ///< bytes that the call under test may add
    volatile long read_by_victim;
    volatile long stage[EVERYONE]; ///< for the report of one who hangs
    volatile pid_t sharer;
    // of UDP; what is counted is datagrams
    volatile int victim_port, neighbour_port;
    volatile bool connected, victim_ready;
    volatile bool cut_off;         ///< the victim is dead, or stands where it was cut off
    volatile long before[EVERYONE]; ///< sent before the call
    volatile int warm[EVERYONE];   ///< how many came by the ring, one after the other
    volatile bool warmed;
    volatile long last[EVERYONE];  ///< how many it will have sent in all; 0: not known yet
    char problem[EVERYONE][200];
    int ready[2], go[EVERYONE][2]; ///< pipes of the driver
};

struct path {
    const char *name;
    int lane_at;        ///< the setting that this path wants
    bool warm;          ///< both directions are in the ring before
    enum during during;
    enum ending ending;
    bool victim_sleeps; ///< the call waits for what the peer does next
    bool ends;          ///< after the call the victim can say nothing more
    bool shuts;         ///< the direction may be shut for a sharer too
    bool no_sharer;
    bool ring_only;     ///< on the kernel the call does not wait
    long sends;         ///< bytes that the call sends
    void (*before_peer)(struct round *, int fd);
    void (*before)(struct round *, int fd);
    void (*then_peer)(struct round *, int fd); ///< of UDP: right behind the cut, where the peer is idle
    void (*call)(struct round *, int fd);
};
extern const struct path paths[];
extern const int path_count;

/// The programs of the three; they never return.
void be_peer(struct round *) __attribute__((noreturn));
void be_victim(struct round *) __attribute__((noreturn));
/// Fills the streams; before all else.
void make_streams(void);
/// Writes the problem into the round and ends this process.
void round_problem(struct round *, enum who, const char *format, ...) __attribute__((format(printf, 3, 4), noreturn));
/// Sends the next `n` bytes of the stream of `who`. False with errno.
bool send_next(struct round *, enum who, int fd, long n);
/// Reads exactly `n` bytes of the peer's stream, as the victim.
void victim_reads(struct round *, int fd, long n);

/// A place in a call: the n-th time that the instruction at `address` is about to run.
struct point {
    uintptr_t address;
    uint32_t occurrence;
};
/// One round, cut off at a point of the call; with `point` NULL in its sleep.
struct outcome {
    enum { GOOD, BAD, AGAIN } verdict; ///< AGAIN: no lane came about
    bool reached;                      ///< the point; else it was cut off after the call
    char why[400];
};
struct outcome play(const struct path *, enum mode, bool connects, bool shared, const struct point *);
/// A round that fills the points instead; their number, 0 when it failed (then with a reason).
long play_recording(const struct path *, bool connects, bool shared, struct point *, long most, struct outcome *);
/// How long a stopped victim stands still, in milliseconds.
extern int stopped_ms;
/// Memory for the rounds. `own`: the network is ours alone, so that names that stay behind can be seen.
void prepare_rounds(bool own);

/// Runs a traced victim, which stands at the first breakpoint, to the end of its call by single steps. Fills at most
/// `most` points; the number of them. `asleep` is called once, when the victim sleeps in the kernel.
long record_points(pid_t, struct point *, long most, struct round *, void (*asleep)(struct round *));
enum reached { AT_POINT, AT_END, GONE, STUCK };
/// Runs it to a point instead. Where `point` is NULL: until it sleeps.
enum reached run_to(pid_t, const struct point *, struct round *, void (*asleep)(struct round *));
/// Forgets the breakpoint that the last run_to has left behind, if any.
void clear_breakpoint(pid_t);
/// The address after which a call is over.
extern char step_window_end[];
