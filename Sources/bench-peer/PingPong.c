// Ping-pong: one message there, the same back; the latency is the whole round trip.
#include <stdlib.h>
#include <string.h>

#include "Clock.h"
#include "Link.h"
#include "Peer.h"

static char *buffer_of(size_t size) {
    char *bytes = aligned_alloc(4096, (size + 4095) & ~(size_t)4095);
    if (!bytes) wrong("memory");
    memset(bytes, 7, size);
    return bytes;
}

void pingpong_server(void) {
    struct link link;
    link_open(&link);
    char *bytes = buffer_of(options.size);
    while (link_receive_all(&link, bytes, options.size)) link_send(&link, bytes, options.size);
    link_end_sending(&link);
    link_close(&link);
}

static uint64_t sequence;

static void round_trip(struct link *link, char *bytes) {
    uint64_t expected = ++sequence, got;
    memcpy(bytes, &expected, sizeof expected);
    link_send(link, bytes, options.size);
    if (!link_receive_all(link, bytes, options.size)) wrong("the server ended the connection");
    memcpy(&got, bytes, sizeof got);
    if (got != expected) wrong("message %llu came back as %llu", (unsigned long long)expected, (unsigned long long)got);
}

void pingpong_client(void) {
    struct link link;
    link_open(&link);
    char *bytes = buffer_of(options.size);
    uint64_t ms = ticks_per_ms(), now = ticks(), stop = now + ms * options.warmup_ms, before;
    while ((now = ticks()) < stop) round_trip(&link, bytes);
    measure_begin();
    uint64_t first = sequence;
    before = ticks();
    stop = before + ms * options.run_ms;
    do {
        round_trip(&link, bytes);
        now = ticks();
        record_add(&control->record, now - before);
        before = now;
    } while (now < stop);
    measure_end();
    control->messages = sequence - first;
    control->bytes = control->messages * options.size;
    link_end_sending(&link);
    if (link_receive(&link, bytes, options.size) != 0) wrong("bytes after the last answer");
    link_close(&link);
}
