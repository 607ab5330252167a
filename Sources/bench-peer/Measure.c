// The measured interval: clock, latencies, and the processor time of both sides.
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "Clock.h"
#include "Peer.h"

uint64_t ticks_per_ms(void) {
    uint64_t ns = clock_ns(), start = ticks();
    while (clock_ns() - ns < 2000000) {}
    return (ticks() - start) * 1000000 / (clock_ns() - ns);
}

void record_add(struct record *record, uint64_t value) {
    unsigned index = (unsigned)value;
    if (value >> RECORD_BITS) {
        unsigned shift = 63 - RECORD_BITS - (unsigned)__builtin_clzll(value);
        index = (shift << RECORD_BITS) + (unsigned)(value >> shift);
    }
    record->bucket[index]++;
    record->total++;
    if (value > record->maximum) record->maximum = value;
}

/// The middle of a bucket.
uint64_t record_value(unsigned index) {
    if (index < (1u << RECORD_BITS)) return index;
    unsigned shift = (index >> RECORD_BITS) - 1;
    uint64_t low = (uint64_t)((index & ((1u << RECORD_BITS) - 1)) | (1u << RECORD_BITS)) << shift;
    return low + ((1ull << shift) >> 1);
}

uint64_t processor_ns(pid_t pid) {
    clockid_t id;
    struct timespec t;
    if (clock_getcpuclockid(pid, &id) != 0 || clock_gettime(id, &t) != 0) fail("processor clock of process %d", (int)pid);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t begin_ns, begin_ticks, begin_cpu[2];

void measure_begin(void) {
    memset(&control->record, 0, sizeof control->record);
    for (int i = 0; i < 2; i++) begin_cpu[i] = control->side[i].pid ? processor_ns(control->side[i].pid) : 0;
    begin_ns = clock_ns();
    begin_ticks = ticks();
}

void measure_end(void) {
    control->ticks = ticks() - begin_ticks;
    control->elapsed_ns = clock_ns() - begin_ns;
    for (int i = 0; i < 2; i++) control->side[i].cpu_ns = control->side[i].pid ? processor_ns(control->side[i].pid) - begin_cpu[i] : 0;
}
