/// The hostile peer and its victim.
#pragma once
#include "Faults.h"

enum { GOOD = 3, GOOD_BYTES = 512, BUCKETS = 640, KEPT = 24, OTHER = 65534, ORDINARY = 65533, MANNERS = 10 };

/// What the processes of a round share.
struct state {
    volatile int port, attack_port, listener, wanted, dialled, ended, kept[KEPT], kept_count;
    volatile bool blocking, ordinary, over, paused, quiet, begun, attacks, armed, renews, tidies;
    volatile long served, count, rounds[GOOD], queued;
    uint32_t times[2][GOOD][BUCKETS]; ///< round trips, without the attack and under it
    uint32_t calls[BUCKETS];          ///< the victim's CPU time by calls
    volatile int tried[MANNERS], ready[MANNERS], refused[MANNERS]; ///< meetings by the memory that was offered, and answers
    char problem[200];
};
extern struct state *s;

/// Buckets of nanoseconds, sixteen to each power of two.
static inline int bucket_of(uint64_t ns) {
    if (ns < 16) return (int)ns;
    int top = 63 - __builtin_clzll(ns), bucket = (top - 3) * 16 + (int)(ns >> (top - 4) & 15);
    return bucket < BUCKETS ? bucket : BUCKETS - 1;
}
static inline long bucket_ns(int bucket) { return bucket < 16 ? bucket : (17l + bucket % 16) << (bucket / 16 - 1); }

struct attack {
    const char *name;
    void (*act)(uint64_t *random); ///< one blow; null: nothing is done to the victim
    const char *reasons;           ///< why an attacked connection may be in the kernel when it has ended
    bool needs_lane;               ///< it lets Sluice make the lane; else it speaks the protocol itself
    bool damages;                  ///< the attacked connection ends as damaged
    bool fills;                    ///< the channel is full, and the victim rings all the same
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
