// Handlers run through a trampoline: it counts them, so that a wait of ours knows whether to restart, and puts off those
// that arrive inside a critical section until its end.
//
// Rules. SIG_DFL and SIG_IGN are passed straight through. What the kernel holds decides: the program's own action is shown
// in place of the trampoline and only there, so changes inside libc (system, sigignore) or by the kernel (SA_RESETHAND)
// stay true. A deferred handler gets the siginfo of its arrival and the mask it would have had; it runs on the current
// stack even with SA_ONSTACK, and its ucontext describes the end of the critical section. Others that came meanwhile are
// pending and come when its mask is set, which may be before its first instruction, as with any two pending signals.
#include "Signals.h"

enum { LAST = 64 };
/// SS_AUTODISARM of sigaltstack(2).
#define AUTODISARM (1 << 31)
#define BIT(s) (1ull << ((s) - 1))
/// Faults and clocks of profilers are never put off and never blocked by us. 32 and 33 belong to libc.
static const uint64_t prompt = BIT(SIGSEGV) | BIT(SIGBUS) | BIT(SIGILL) | BIT(SIGFPE) | BIT(SIGTRAP) | BIT(SIGPROF) | BIT(SIGSYS);
static const uint64_t untouched = prompt | BIT(32) | BIT(33) | BIT(SIGKILL) | BIT(SIGSTOP);

/// A program's action; never changed and never freed once another thread or a handler may see it.
struct action {
    void (*handler)(int, siginfo_t *, void *);
    uint64_t mask;
    struct action *next; // further ones known for the same signal
    uint32_t flags;
};
static struct action *current[LAST + 1], *known[LAST + 1];

/// The arrival that waits for the end of the critical section: one, since all others are blocked until then.
static __thread struct {
    const struct action *action;
    uint64_t mask; ///< of the interrupted code
    int signal;
    siginfo_t info;
} waiting __attribute__((tls_model("initial-exec")));

// Room for actions: a signal-safe bump allocator. Equal actions are one, so a program fills it by new handlers only.
enum { ROOM = 100 };
static struct room {
    uint32_t used;
    struct action actions[ROOM];
} first_room, *room = &first_room;

static struct action *new_action(void) {
    for (;;) {
        struct room *r = __atomic_load_n(&room, __ATOMIC_ACQUIRE);
        uint32_t i = slc_relaxed_u32(&r->used) < ROOM ? slc_add_u32(&r->used, 1) : ROOM;
        if (i < ROOM) return &r->actions[i];
        long at = slc_mmap(NULL, sizeof *r, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (at < 0 && at > -4096) return NULL;
        if (!__atomic_compare_exchange_n(&room, &r, (struct room *)at, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
            slc_munmap((void *)at, sizeof *r);
    }
}

static struct action *action_for(int signal, const struct sigaction *user) {
    uint64_t mask;
    memcpy(&mask, &user->sa_mask, sizeof mask);
    mask &= ~(BIT(SIGKILL) | BIT(SIGSTOP));
    struct action *head = __atomic_load_n(&known[signal], __ATOMIC_ACQUIRE);
    for (struct action *a = head; a; a = a->next)
        if (a->handler == user->sa_sigaction && a->mask == mask && a->flags == (uint32_t)user->sa_flags) return a;
    struct action *a = new_action();
    if (!a) return NULL;
    *a = (struct action){user->sa_sigaction, mask, head, (uint32_t)user->sa_flags};
    while (!__atomic_compare_exchange_n(&known[signal], &a->next, a, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {}
    return a;
}

static void set_mask(uint64_t mask) { slc_syscall4(SYS_rt_sigprocmask, SIG_SETMASK, SLC_P(&mask), 0, sizeof mask); }
static uint64_t mask_in_handler(const struct action *a, int signal, uint64_t interrupted) {
    return interrupted | a->mask | (a->flags & SA_NODEFER ? 0 : BIT(signal));
}
// Before the handler runs, for it may leave by siglongjmp.
static void count(const struct action *a) {
    struct slc_thread *t = slc_self();
    if (a->flags & SA_RESTART)
        t->handlers_restart++;
    else
        t->handlers_norestart++;
    slc_compiler_fence();
}

static void trampoline(int signal, siginfo_t *info, void *context) {
    const struct action *a = __atomic_load_n(&current[signal], __ATOMIC_ACQUIRE);
    ucontext_t *interrupted = context;
    uint64_t mask;
    memcpy(&mask, &interrupted->uc_sigmask, sizeof mask);
    struct slc_thread *t = slc_self();
    if (SLI_UNLIKELY(interrupted->uc_stack.ss_flags & AUTODISARM)) t->hidden_stack = 1;
    if (prompt & BIT(signal)) {
        count(a);
    } else if (t->critical) {
        // All but the prompt ones are blocked now and stay so in the interrupted code.
        waiting.action = a;
        waiting.mask = mask;
        waiting.signal = signal;
        waiting.info = *info;
        uint64_t all = ~untouched | mask;
        memcpy(&interrupted->uc_sigmask, &all, sizeof all);
        slc_compiler_fence();
        t->deferred = 1;
        return;
    } else {
        count(a);
        set_mask(mask_in_handler(a, signal, mask));
    }
    a->handler(signal, info, context);
}

void slc_run_deferred(void) {
    slc_self()->deferred = 0;
    const struct action *a = waiting.action;
    int signal = waiting.signal;
    uint64_t mask = waiting.mask;
    siginfo_t info = waiting.info;
    ucontext_t here;
    getcontext(&here);
    memcpy(&here.uc_sigmask, &mask, sizeof mask);
    count(a);
    set_mask(mask_in_handler(a, signal, mask));
    a->handler(signal, &info, &here);
    memcpy(&mask, &here.uc_sigmask, sizeof mask); // a handler may change what it returns to
    set_mask(mask);
}

/// What the kernel is asked to install for an action of the program.
static void wrap(int signal, struct sigaction *action) {
    action->sa_sigaction = trampoline;
    action->sa_flags |= SA_SIGINFO;
    if (prompt & BIT(signal)) return; // its own mask, since it runs at once
    // Nothing may interrupt the trampoline itself; it sets the program's mask before the handler.
    uint64_t all = ~untouched;
    memcpy(&action->sa_mask, &all, sizeof all);
}
/// Shows the program its own action in place of the trampoline. One that the kernel has reset (SA_RESETHAND) still has the
/// flags and the mask that it was installed with.
static void unwrap(int signal, struct sigaction *old, const struct action *a) {
    if (!a) return;
    struct sigaction wrapped = {.sa_mask = old->sa_mask};
    wrap(signal, &wrapped);
    _Bool reset = old->sa_handler == SIG_DFL && a->flags & old->sa_flags & SA_RESETHAND && !memcmp(&old->sa_mask, &wrapped.sa_mask, 8);
    if (old->sa_sigaction != trampoline && !reset) return;
    if (!reset) old->sa_sigaction = a->handler;
    if (!(a->flags & SA_SIGINFO)) old->sa_flags &= ~SA_SIGINFO;
    memcpy(&old->sa_mask, &a->mask, sizeof a->mask);
}

void sli_bare_handlers(void) {
    for (int signal = 1; signal <= LAST; signal++) {
        const struct action *a = __atomic_load_n(&current[signal], __ATOMIC_ACQUIRE);
        struct sigaction now;
        if (!a || SLI_REAL(sigaction)(signal, NULL, &now) < 0 || now.sa_sigaction != trampoline) continue;
        unwrap(signal, &now, a);
        SLI_REAL(sigaction)(signal, &now, NULL);
    }
}

SLI_EXPORT(sigaction);
SLI_EXPORT_AS(__sigaction, sli_sigaction);
int sli_sigaction(int signal, const struct sigaction *new, struct sigaction *old) {
    if (signal < 1 || signal > LAST || signal == SIGKILL || signal == SIGSTOP || sli_is_silent())
        return SLI_REAL(sigaction)(signal, new, old);
    struct action *before = __atomic_load_n(&current[signal], __ATOMIC_ACQUIRE), *mine = NULL;
    struct sigaction wrapped;
    // A vfork child installs the program's handler itself: the table is its parent's.
    if (new && new->sa_handler != SIG_DFL && new->sa_handler != SIG_IGN && new->sa_sigaction != trampoline && !sli_in_vfork_child()) {
        mine = action_for(signal, new);
        if (!mine) {
            errno = ENOMEM;
            return -1;
        }
        wrapped = *new;
        wrap(signal, &wrapped);
        new = &wrapped;
        __atomic_store_n(&current[signal], mine, __ATOMIC_RELEASE); // first: it may arrive within the call
    }
    int result = SLI_REAL(sigaction)(signal, new, old);
    if (result < 0 && mine)
        __atomic_compare_exchange_n(&current[signal], &mine, before, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
    if (result == 0 && old) unwrap(signal, old, before);
    return result;
}
