// A connection that is mostly idle: a message and its answer so and so many times a second; what counts is the processor time of both ends.
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "Clock.h"
#include "Link.h"
#include "Peer.h"

static void sleep_until(uint64_t ns) {
    struct timespec t = {.tv_sec = (time_t)(ns / 1000000000), .tv_nsec = (long)(ns % 1000000000)};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR) {}
}

void rate_client(void) {
    struct link link;
    link_open(&link);
    char *bytes = calloc(1, options.size);
    uint64_t ms = ticks_per_ms(), stop = ticks() + ms * options.warmup_ms;
    do {
        link_send(&link, bytes, options.size);
        if (!link_receive_all(&link, bytes, options.size)) wrong("the server ended the connection");
    } while (ticks() < stop);
    uint64_t period = 1000000000 / options.rate, count = (uint64_t)options.run_ms * 1000000 / period;
    if (count == 0) count = 1;
    // Both ends go to rest before the interval begins.
    uint64_t next = clock_ns() + 20000000;
    sleep_until(next);
    measure_begin();
    for (uint64_t i = 0; i < count; i++) {
        next += period;
        sleep_until(next);
        uint64_t before = ticks();
        link_send(&link, bytes, options.size);
        if (!link_receive_all(&link, bytes, options.size)) wrong("the server ended the connection");
        record_add(&control->record, ticks() - before);
    }
    sleep_until(next + period);
    measure_end();
    control->messages = count;
    control->bytes = count * options.size;
    link_end_sending(&link);
    link_close(&link);
}
