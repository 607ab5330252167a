// One way: messages as fast as they go, then the end of the stream, then the receiver's count of bytes as final acknowledgement.
#include <stdlib.h>
#include <string.h>

#include "Clock.h"
#include "Link.h"
#include "Peer.h"

void stream_server(void) {
    struct link link;
    link_open(&link);
    link.ring_in.pauses = 16;
    char *bytes = aligned_alloc(4096, (options.read_size + 4095) & ~(size_t)4095);
    if (!bytes) wrong("memory");
    memset(bytes, 0, options.read_size);
    uint64_t total = 0;
    size_t n;
    while ((n = link_receive(&link, bytes, options.read_size)) > 0) total += n;
    link_send(&link, &total, sizeof total);
    link_end_sending(&link);
    link_close(&link);
}

void stream_client(void) {
    struct link link;
    link_open(&link);
    char *bytes = aligned_alloc(4096, (options.size + 4095) & ~(size_t)4095);
    if (!bytes) wrong("memory");
    memset(bytes, 7, options.size);
    // Looking at the clock for each message would be a good part of a fast one's cost.
    unsigned batch = options.size >= 16384 ? 4 : 64;
    uint64_t ms = ticks_per_ms(), stop = ticks() + ms * options.warmup_ms, sent = 0, before, total = 0;
    while (ticks() < stop)
        for (unsigned i = 0; i < batch; i++, sent++) link_send(&link, bytes, options.size);
    measure_begin();
    before = sent;
    stop = ticks() + ms * options.run_ms;
    do {
        for (unsigned i = 0; i < batch; i++, sent++) link_send(&link, bytes, options.size);
    } while (ticks() < stop);
    link_end_sending(&link);
    if (!link_receive_all(&link, &total, sizeof total)) wrong("no final acknowledgement");
    measure_end();
    if (total != sent * options.size) wrong("%llu bytes were sent, %llu arrived", (unsigned long long)(sent * options.size), (unsigned long long)total);
    control->messages = sent - before;
    control->bytes = control->messages * options.size;
    link_close(&link);
}
