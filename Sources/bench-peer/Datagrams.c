// The patterns of transports that keep messages apart: ping-pong, and one way, where some may be lost.
#include <stdlib.h>
#include <string.h>

#include "Clock.h"
#include "Peer.h"
#include "Post.h"

static char *buffer_of(size_t size) {
    char *bytes = aligned_alloc(4096, (size + 4095) & ~(size_t)4095);
    if (!bytes) wrong("memory");
    memset(bytes, 7, size);
    return bytes;
}

/// Answers until a datagram comes that is shorter than the messages.
void datagram_pingpong_server(void) {
    struct post post;
    char *bytes = buffer_of(options.size);
    post_open(&post);
    while (post_receive(&post, bytes, options.size) == options.size) post_send(&post, bytes, options.size);
    post_close(&post);
}

static uint64_t sequence;

static void round_trip(struct post *post, char *bytes) {
    uint64_t expected = ++sequence, got;
    memcpy(bytes, &expected, sizeof expected);
    post_send(post, bytes, options.size);
    if (post_receive(post, bytes, options.size) != options.size) wrong("a shorter datagram came back");
    memcpy(&got, bytes, sizeof got);
    if (got != expected) wrong("datagram %llu came back as %llu", (unsigned long long)expected, (unsigned long long)got);
}

void datagram_pingpong_client(void) {
    struct post post;
    char *bytes = buffer_of(options.size);
    post_open(&post);
    uint64_t ms = ticks_per_ms(), now = ticks(), stop = now + ms * options.warmup_ms, before;
    while ((now = ticks()) < stop) round_trip(&post, bytes);
    measure_begin();
    uint64_t first = sequence;
    before = ticks();
    stop = before + ms * options.run_ms;
    do {
        round_trip(&post, bytes);
        now = ticks();
        record_add(&control->record, now - before);
        before = now;
    } while (now < stop);
    measure_end();
    control->messages = sequence - first;
    control->bytes = control->messages * options.size;
    post_send(&post, bytes, 1);
    post_close(&post);
}

/// What the first eight bytes of a message of the one-way pattern say.
enum { WARMING = 0, MEASURED = 1, LAST = 2 };

/// Counts those of the measured interval until it is told that this was the last one.
void datagram_stream_server(void) {
    struct post post;
    char *bytes = buffer_of(options.size);
    uint64_t counted = 0, word;
    post_open(&post);
    for (;;) {
        if (post_receive(&post, bytes, options.size) != options.size) wrong("a shorter datagram arrived");
        memcpy(&word, bytes, sizeof word);
        if (word == LAST) break;
        if (word > LAST) wrong("a datagram of something else arrived");
        counted += word;
    }
    control->messages = counted;
    reach(STEP_READY);
    await(STEP_DONE);
    post_close(&post);
}

static void send_word(struct post *post, char *bytes, uint64_t word) {
    memcpy(bytes, &word, sizeof word);
    post_send(post, bytes, options.size);
}

/// As fast as they go. The interval ends when the other side has got to the last one, which is sent until it has arrived.
void datagram_stream_client(void) {
    struct post post;
    char *bytes = buffer_of(options.size);
    post_open(&post);
    unsigned batch = options.size >= 16384 ? 4 : 64;
    uint64_t ms = ticks_per_ms(), stop = ticks() + ms * options.warmup_ms, sent = 0;
    while (ticks() < stop)
        for (unsigned i = 0; i < batch; i++) send_word(&post, bytes, WARMING);
    measure_begin();
    stop = ticks() + ms * options.run_ms;
    do {
        for (unsigned i = 0; i < batch; i++, sent++) send_word(&post, bytes, MEASURED);
    } while (ticks() < stop);
    send_word(&post, bytes, LAST);
    // A unix socket loses nothing, and blocks who sends while nobody receives.
    if (options.transport == TRANSPORT_UNIX_DATAGRAM) await(STEP_READY);
    else while (!await_briefly(STEP_READY, 1000)) send_word(&post, bytes, LAST);
    measure_end();
    control->sent = sent;
    if (control->messages > sent) wrong("%llu datagrams were sent, %llu arrived", (unsigned long long)sent, (unsigned long long)control->messages);
    control->bytes = control->messages * options.size;
    post_close(&post);
}
