// A victim under ptrace: recording the instructions of a call, and running it again up to one of them. Running goes by a
// breakpoint, not by steps, so that a point late in a call costs no more than an early one.
#include "Steps.h"
#include <stddef.h>
#include <sys/ptrace.h>
#include <sys/user.h>

static uintptr_t program_counter(pid_t pid) { return (uintptr_t)ptrace(PTRACE_PEEKUSER, pid, offsetof(struct user, regs.rip), 0); }
static void set_program_counter(pid_t pid, uintptr_t address) {
    ptrace(PTRACE_POKEUSER, pid, offsetof(struct user, regs.rip), address);
}

/// Waits for the next stop or the end. `asleep` is called when the process is seen asleep; once, then it is cleared.
static bool next_stop(pid_t pid, int *status, struct round *r, void (**asleep)(struct round *)) {
    int looks = 0;
    for (int64_t end = now_ms() + LIMIT_MS;;) {
        pid_t got = waitpid(pid, status, *asleep && r->path->victim_sleeps ? WNOHANG | __WALL : __WALL);
        if (got == pid) return true;
        if (got < 0 && errno != EINTR) return false;
        if (now_ms() > end) return false;
        // Twice, for a short wait on a lock is no sleep.
        if (process_state(pid) == 'S' ? ++looks > 2 : (looks = 0)) {
            void (*call)(struct round *) = *asleep;
            *asleep = NULL;
            call(r);
        }
        if (looks) breathe();
    }
}

/// Occurrence numbers by a table of addresses.
enum { SEEN = 1 << 16 };
static struct {
    uintptr_t address;
    uint32_t count;
} seen[SEEN];
static uint32_t occurrence(uintptr_t address) {
    size_t i = (address * 0x9e3779b97f4a7c15u) >> 48;
    while (seen[i].address && seen[i].address != address) i = (i + 1) % SEEN;
    seen[i].address = address;
    return ++seen[i].count;
}

long record_points(pid_t pid, struct point *points, long most, struct round *r, void (*asleep)(struct round *)) {
    long n = 0;
    int status;
    memset(seen, 0, sizeof seen);
    for (;;) {
        uintptr_t at = program_counter(pid);
        if (at == (uintptr_t)step_window_end) return n;
        if (n == most) return n;
        points[n++] = (struct point){at, occurrence(at)};
        if (ptrace(PTRACE_SINGLESTEP, pid, 0, 0) < 0) return n;
        if (!next_stop(pid, &status, r, &asleep)) return n;
        if (!WIFSTOPPED(status)) return n;
    }
}

static uintptr_t broken;
static long original;

static bool set_breakpoint(pid_t pid, uintptr_t address) {
    errno = 0;
    original = ptrace(PTRACE_PEEKTEXT, pid, address, 0);
    if (errno || ptrace(PTRACE_POKETEXT, pid, address, (original & ~0xffl) | 0xcc) < 0) return false;
    broken = address;
    return true;
}
void clear_breakpoint(pid_t pid) {
    if (broken) ptrace(PTRACE_POKETEXT, pid, broken, original);
    broken = 0;
}

enum reached run_to(pid_t pid, const struct point *point, struct round *r, void (*asleep)(struct round *)) {
    int status = 0, deliver = 0;
    uint32_t hits = 0;
    broken = 0;
    if (point && point->occurrence == 1 && program_counter(pid) == point->address) return AT_POINT;
    if (point && !set_breakpoint(pid, point->address)) return STUCK;
    if (point && program_counter(pid) == point->address) hits = 1;
    bool step_over = hits == 1;
    for (;;) {
        if (step_over) {
            uintptr_t address = broken;
            clear_breakpoint(pid);
            if (ptrace(PTRACE_SINGLESTEP, pid, 0, 0) < 0 || !next_stop(pid, &status, r, &asleep)) return STUCK;
            if (!WIFSTOPPED(status)) return GONE;
            set_breakpoint(pid, address);
            step_over = false;
        }
        if (ptrace(PTRACE_CONT, pid, 0, deliver) < 0 || !next_stop(pid, &status, r, &asleep)) return STUCK;
        if (!WIFSTOPPED(status)) return GONE;
        deliver = 0;
        if (WSTOPSIG(status) != SIGTRAP) {
            deliver = WSTOPSIG(status);
            continue;
        }
        uintptr_t at = program_counter(pid) - 1;
        if (at == (uintptr_t)step_window_end) {
            clear_breakpoint(pid);
            return AT_END;
        }
        if (!point || at != broken) return STUCK;
        set_program_counter(pid, at);
        if (++hits == point->occurrence) {
            clear_breakpoint(pid);
            return AT_POINT;
        }
        step_over = true;
    }
}
