#include "Ring.h"

#include <string.h>

#include "Clock.h"

void ring_write(struct ring_end *end, const void *bytes, size_t count) {
    struct ring *ring = end->ring;
    const unsigned char *from = bytes;
    while (count > 0) {
        uint64_t space;
        while ((space = RING_BYTES - (end->position - end->seen)) < count && space < RING_BYTES / 2) {
            end->seen = atomic_load_explicit(&ring->consumed, memory_order_acquire);
            relax();
        }
        size_t offset = end->position & (RING_BYTES - 1);
        size_t part = count < space ? count : space;
        if (part > RING_BYTES - offset) part = RING_BYTES - offset;
        memcpy(ring->bytes + offset, from, part);
        end->position += part;
        from += part;
        count -= part;
        atomic_store_explicit(&ring->produced, end->position, memory_order_release);
    }
}

size_t ring_read(struct ring_end *end, void *bytes, size_t count) {
    struct ring *ring = end->ring;
    while (end->seen == end->position) {
        bool closed = atomic_load_explicit(&ring->closed, memory_order_acquire);
        end->seen = atomic_load_explicit(&ring->produced, memory_order_acquire);
        if (end->seen != end->position) break;
        if (closed) return 0;
        for (unsigned i = 0; i < end->pauses; i++) relax();
    }
    size_t offset = end->position & (RING_BYTES - 1);
    size_t part = end->seen - end->position;
    if (part > count) part = count;
    if (part > RING_BYTES - offset) part = RING_BYTES - offset;
    memcpy(bytes, ring->bytes + offset, part);
    end->position += part;
    atomic_store_explicit(&ring->consumed, end->position, memory_order_release);
    return part;
}

void ring_close(struct ring_end *end) { atomic_store_explicit(&end->ring->closed, true, memory_order_release); }
