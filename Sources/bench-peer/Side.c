// What a side needs around its pattern: its end, its steps, its core.
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "Peer.h"

static struct side *mine(void) { return &control->side[options.role == ROLE_CLIENT ? CLIENT : SERVER]; }
static struct side *other(void) { return &control->side[options.role == ROLE_CLIENT ? SERVER : CLIENT]; }

static _Noreturn void end(char *text, size_t size, const char *format, va_list arguments, int error) {
    int n = vsnprintf(text, size, format, arguments);
    if (error && n > 0 && (size_t)n < size) snprintf(text + n, size - (size_t)n, ": %s", strerror(error));
    _exit(1);
}

void fail(const char *format, ...) {
    int error = errno;
    va_list arguments;
    va_start(arguments, format);
    end(mine()->failure, sizeof mine()->failure, format, arguments, error);
}

void wrong(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    end(mine()->failure, sizeof mine()->failure, format, arguments, 0);
}

void skip(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    end(mine()->skipped, sizeof mine()->skipped, format, arguments, 0);
}

void reach(uint32_t step) {
    atomic_store(&mine()->step, step);
    syscall(SYS_futex, &mine()->step, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

void await(uint32_t step) {
    uint32_t now;
    while ((now = atomic_load(&other()->step)) < step) syscall(SYS_futex, &other()->step, FUTEX_WAIT, now, NULL, NULL, 0);
}

bool await_briefly(uint32_t step, unsigned microseconds) {
    uint32_t now = atomic_load(&other()->step);
    struct timespec t = {.tv_sec = microseconds / 1000000, .tv_nsec = microseconds % 1000000 * 1000l};
    if (now < step) syscall(SYS_futex, &other()->step, FUTEX_WAIT, now, &t, NULL, 0);
    return atomic_load(&other()->step) >= step;
}

void pin(int core) {
    if (core < 0) return;
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(core, &set);
    if (sched_setaffinity(0, sizeof set, &set) != 0) fail("pinning to core %d", core);
}
