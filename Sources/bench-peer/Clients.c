// Many client processes on one server: each has one message on its way all the time. The parent says when all are there, and which interval
// counts.
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "Clock.h"
#include "Crowd.h"
#include "Link.h"
#include "Peer.h"
#include "Post.h"

static void set_stage(uint32_t stage) {
    atomic_store(&control->stage, stage);
    syscall(SYS_futex, &control->stage, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

static void await_stage(uint32_t stage) {
    uint32_t now;
    while ((now = atomic_load(&control->stage)) < stage) syscall(SYS_futex, &control->stage, FUTEX_WAIT, now, NULL, NULL, 0);
}

static struct record own;

/// Adds what this client has measured to that of the others.
static void merge(void) {
    struct record *all = &control->record;
    for (unsigned i = 0; i < RECORD_BUCKETS; i++)
        if (own.bucket[i]) __atomic_fetch_add(&all->bucket[i], own.bucket[i], __ATOMIC_RELAXED);
    __atomic_fetch_add(&all->total, own.total, __ATOMIC_RELAXED);
    __atomic_fetch_add(&control->messages, own.total, __ATOMIC_RELAXED);
    uint64_t most = __atomic_load_n(&all->maximum, __ATOMIC_RELAXED);
    while (own.maximum > most && !__atomic_compare_exchange_n(&all->maximum, &most, own.maximum, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {}
}

/// Round trips from the moment when all are there until the interval is over.
static void drive(void (*round_trip)(void *link, char *bytes, uint64_t number), void *link) {
    char *bytes = calloc(1, options.size);
    if (!bytes) wrong("memory");
    uint64_t number = 0;
    // The first one proves that the server is there.
    round_trip(link, bytes, ++number);
    atomic_fetch_add(&control->ready, 1);
    await_stage(STAGE_GO);
    uint64_t before = ticks(), now;
    do {
        round_trip(link, bytes, ++number);
        now = ticks();
        if (before >= control->begin_ticks && before < control->end_ticks) {
            if (own.total == 0) atomic_fetch_add(&control->counting, 1);
            record_add(&own, now - before);
        }
        before = now;
    } while (now < control->end_ticks);
    merge();
    // Until then the parent looks at its processor time.
    await_stage(STAGE_OVER);
    free(bytes);
}

static void check(const char *bytes, uint64_t number) {
    uint64_t got;
    memcpy(&got, bytes, sizeof got);
    if (got != number) wrong("message %llu came back as %llu", (unsigned long long)number, (unsigned long long)got);
}

static void by_stream(void *link, char *bytes, uint64_t number) {
    memcpy(bytes, &number, sizeof number);
    link_send(link, bytes, options.size);
    if (!link_receive_all(link, bytes, options.size)) wrong("the server ended the connection");
    check(bytes, number);
}

static void by_datagram(void *post, char *bytes, uint64_t number) {
    memcpy(bytes, &number, sizeof number);
    post_send(post, bytes, options.size);
    if (post_receive(post, bytes, options.size) != options.size) wrong("a shorter datagram came back");
    check(bytes, number);
}

void clients_server(void) { crowd_serve(); }

void clients_client(void) {
    struct link link;
    link_open(&link);
    drive(by_stream, &link);
    link_close(&link);
}

/// One socket for all; a datagram that is shorter than the messages is a client's last.
void datagram_clients_server(void) {
    struct post post;
    char *bytes = calloc(1, options.size);
    if (!bytes) wrong("memory");
    post_open(&post);
    for (unsigned left = options.connections; left > 0;)
        if (post_receive(&post, bytes, options.size) == options.size) post_send(&post, bytes, options.size);
        else left--;
    post_close(&post);
}

void datagram_clients_client(void) {
    struct post post;
    post_open(&post);
    drive(by_datagram, &post);
    post_send(&post, "", 1);
    post_close(&post);
}

static void sleep_until_ticks(uint64_t stop, uint64_t per_ms) {
    for (uint64_t now; (now = ticks()) < stop && !parent_expired();) {
        uint64_t us = (stop - now) * 1000 / per_ms + 1;
        struct timespec t = {.tv_sec = (time_t)(us / 1000000), .tv_nsec = (long)(us % 1000000) * 1000};
        nanosleep(&t, NULL);
    }
}

static uint64_t processor_of(const pid_t *pids, unsigned first, unsigned count) {
    uint64_t sum = 0;
    for (unsigned i = first; i < count; i++) sum += processor_ns(pids[i]);
    return sum;
}

/// Of the parent. Comes back when the interval is over, or when one has failed.
void clients_conduct(const pid_t *pids, unsigned count) {
    while (atomic_load(&control->ready) < count - 1) {
        if (control->side[SERVER].failure[0] || control->side[CLIENT].failure[0] || parent_expired()) return;
        usleep(1000);
    }
    uint64_t ms = ticks_per_ms();
    control->begin_ticks = ticks() + ms * options.warmup_ms;
    control->end_ticks = control->begin_ticks + ms * options.run_ms;
    set_stage(STAGE_GO);
    sleep_until_ticks(control->begin_ticks, ms);
    uint64_t begin_ns = clock_ns(), begin = ticks(), server = processor_of(pids, 0, 1), clients = processor_of(pids, 1, count);
    // Where the processors are so busy that nobody has come back yet, the interval goes on.
    uint64_t before_end = ms * options.run_ms / 8;
    do {
        sleep_until_ticks(control->end_ticks - before_end, ms);
        if (atomic_load(&control->counting) == 0) control->end_ticks += ms * options.run_ms;
    } while (atomic_load(&control->counting) == 0 && !parent_expired());
    sleep_until_ticks(control->end_ticks, ms);
    // The parent is late by what the processors were busy: the interval is the clients' own, by the rate of these two clocks.
    double part = (double)(control->end_ticks - control->begin_ticks) / (double)(ticks() - begin);
    control->ticks = control->end_ticks - control->begin_ticks;
    control->elapsed_ns = (uint64_t)((double)(clock_ns() - begin_ns) * part);
    control->side[SERVER].cpu_ns = (uint64_t)((double)(processor_of(pids, 0, 1) - server) * part);
    control->side[CLIENT].cpu_ns = (uint64_t)((double)(processor_of(pids, 1, count) - clients) * part);
    set_stage(STAGE_OVER);
}
