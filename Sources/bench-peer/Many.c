// Many connections of which few are busy: each busy one has always one message on its way.
#include "Clock.h"
#include "Crowd.h"
#include "Peer.h"

void many_server(void) { crowd_serve(); }

struct progress {
    uint64_t stop;
    unsigned outstanding;
    bool measured;
};

static void answered(struct crowd *crowd, unsigned index, void *context) {
    struct progress *progress = context;
    uint64_t now = ticks();
    if (progress->measured) {
        record_add(&control->record, now - crowd->sent_at[index]);
        control->messages++;
    }
    if (now < progress->stop) crowd_send(crowd, index);
    else progress->outstanding--;
}

/// Until the time is over and all answers are there.
static void drive(struct crowd *crowd, uint64_t duration, bool measured) {
    struct progress progress = {.stop = ticks() + duration, .outstanding = options.busy, .measured = measured};
    // Spread over the whole crowd, as busy ones are in life.
    for (unsigned i = 0; i < options.busy; i++) crowd_send(crowd, (unsigned)((uint64_t)i * crowd->count / options.busy));
    while (progress.outstanding > 0) crowd_wait(crowd, answered, &progress);
}

void many_client(void) {
    struct crowd crowd;
    uint64_t ms = ticks_per_ms();
    crowd_open(&crowd, NULL);
    drive(&crowd, ms * options.warmup_ms, false);
    measure_begin();
    drive(&crowd, ms * options.run_ms, true);
    measure_end();
    control->bytes = control->messages * options.size;
    crowd_close(&crowd);
}
