/// The hostile peer and its victim.
#pragma once
#include "Faults.h"

enum { GOOD = 3, GOOD_BYTES = 512, TIMES = 2000000, OTHER = 65534 };

/// What the processes of a round share.
struct state {
    volatile int port, attack_port, listener, wanted, dialled, ended, ended_fd;
    volatile bool blocking, over, paused, quiet, attacks, armed;
    volatile long served, count, rounds[GOOD];
    volatile long times[GOOD][TIMES / 1000]; ///< round trips by their ms
    char problem[200];
};
extern struct state *s;
void problem(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

struct attack {
    const char *name;
    void (*act)(uint64_t *random); ///< one blow; null: nothing is done to the victim
    bool needs_lane;               ///< it lets Sluice make the lane; else it speaks the protocol itself
    bool damages;                  ///< the attacked connection ends as damaged
    bool alone;                    ///< in one form only
    bool last;                     ///< it strikes when all others have stopped, and before the victim's CPU time is measured
};
extern const struct attack attacks[];

/// The hostile process: of another user, with a connection to the victim, which it accepts if it `serves`.
void hostile(const struct attack *attack, bool serves) __attribute__((noreturn));
void victim(void) __attribute__((noreturn));
void good_client(int index) __attribute__((noreturn));
/// Speaks the protocol by itself, on a connection that no library sees: one meeting with something wrong about it.
void speak_protocol(uint64_t *random);
