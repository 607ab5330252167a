// The bare ring: bytes from one process to another through shared memory, copied in and out, nothing else. It is the limit that
// any transport of this kind can reach.
#ifndef RING_H
#define RING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { RING_BYTES = 1 << 20 };

/// Each counter on cache lines of its own: `produced` is written by the sender, `consumed` by the receiver.
struct ring {
    _Alignas(128) _Atomic uint64_t produced;
    _Atomic bool closed;
    _Alignas(128) _Atomic uint64_t consumed;
    _Alignas(128) unsigned char bytes[RING_BYTES];
};

/// One end: its own position and the last seen position of the other end.
struct ring_end {
    struct ring *ring;
    uint64_t position;
    uint64_t seen;
    /// Pauses between two looks at an empty ring: none for the shortest answer; some for a stream, so that its sender's cache line is not
    /// stolen at each message.
    unsigned pauses;
};

/// Blocks, spinning, while the ring is full.
void ring_write(struct ring_end *end, const void *bytes, size_t count);
/// Blocks, spinning, while the ring is empty; 0 when the sender has closed it.
size_t ring_read(struct ring_end *end, void *bytes, size_t count);
void ring_close(struct ring_end *end);

#endif
