/// The part of a stack that keeps the times of waits.
#pragma once
#include <stddef.h>
#include <stdint.h>

/// How long calls waited (SLUICE_LATENCY). Buckets as of an HDR histogram: exact below 2^(SL_WAIT_BITS + 1) ns, from there on
/// 2^SL_WAIT_BITS of equal width up to each next power of two, so that a value is known to 1/32; the last one ends at 2^42 ns, 73
/// minutes, and has what is longer.
#define SL_WAITS_MAGIC 0x737469617773636cull
#define SL_WAIT_BITS 5
#define SL_WAIT_BUCKETS ((43 - SL_WAIT_BITS) << SL_WAIT_BITS)
/// What a call waited for: data of a stream, room for a stream, a datagram, events of poll or select, events of an epoll set.
enum { SL_WAIT_RECEIVE = 0, SL_WAIT_SEND = 1, SL_WAIT_DATAGRAM = 2, SL_WAIT_POLL = 3, SL_WAIT_EPOLL = 4, SL_WAIT_KINDS = 5 };
/// How it ended: while the call span, or behind a sleep in the kernel.
enum { SL_WAIT_SPUN = 0, SL_WAIT_SLEPT = 1 };
typedef struct sl_waits {
    uint64_t sum_ns, maximum_ns;
    uint64_t bucket[SL_WAIT_BUCKETS];
} sl_waits;
typedef struct sl_waits_area {
    uint64_t magic;
    uint32_t kinds, buckets;     ///< SL_WAIT_KINDS and SL_WAIT_BUCKETS of who wrote it
    uint64_t reserved[6];
    sl_waits waits[SL_WAIT_KINDS][2];
} sl_waits_area;
_Static_assert(SL_WAIT_BUCKETS == 1216 && sizeof(sl_waits) == 9744, "sl_waits");
_Static_assert(offsetof(sl_waits_area, waits) == 64 && sizeof(sl_waits_area) == 97504, "sl_waits_area");
/// The bucket of a time.
static inline uint32_t sl_wait_bucket(uint64_t ns) {
    if (ns >= 1ull << 42) return SL_WAIT_BUCKETS - 1;
    if (ns < 1u << (SL_WAIT_BITS + 1)) return (uint32_t)ns;
    uint32_t shift = 63u - (uint32_t)__builtin_clzll(ns) - SL_WAIT_BITS;
    return (shift << SL_WAIT_BITS) + (uint32_t)(ns >> shift);
}
/// The least time of a bucket; of the one behind the last where that ends.
static inline uint64_t sl_wait_bucket_begin(uint32_t bucket) {
    if (bucket < 2u << SL_WAIT_BITS) return bucket;
    uint32_t shift = (bucket >> SL_WAIT_BITS) - 1;
    return (uint64_t)(bucket - (shift << SL_WAIT_BITS)) << shift;
}
/// Counts a wait. Threads that do so at once may lose one, as with all counters.
static inline void sl_wait_count(sl_waits_area *area, uint32_t kind, uint32_t slept, uint64_t ns) {
    sl_waits *waits = &area->waits[kind < SL_WAIT_KINDS ? kind : 0][slept & 1];
    waits->sum_ns += ns;
    if (ns > waits->maximum_ns) waits->maximum_ns = ns;
    waits->bucket[sl_wait_bucket(ns)]++;
}
