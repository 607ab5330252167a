// The other ways to install a handler, in terms of sigaction: libc's own would call its own sigaction, unseen.
#include "Served.h"
#include "Signals.h"

typedef void (*handler)(int);

/// Signals whose calls `siginterrupt` has made interruptible; `signal` obeys it. Bit s - 1.
static uint64_t interrupting;

static _Bool wrong(int signal, handler action) {
    if (action != SIG_ERR && signal >= 1 && signal < NSIG) return 0;
    errno = EINVAL;
    return 1;
}
static handler install(int signal, handler action, int flags, _Bool masks_itself) {
    struct sigaction new = {.sa_handler = action, .sa_flags = flags}, old;
    if (wrong(signal, action)) return SIG_ERR;
    if (masks_itself) sigaddset(&new.sa_mask, signal);
    return sli_sigaction(signal, &new, &old) < 0 ? SIG_ERR : old.sa_handler;
}

SLI_EXPORT(signal);
SLI_EXPORT_AS(bsd_signal, sli_signal);
SLI_EXPORT_AS(ssignal, sli_signal);
handler sli_signal(int signal, handler action) {
    _Bool interrupts = signal >= 1 && signal < NSIG && slc_relaxed_u64(&interrupting) >> (signal - 1) & 1;
    return install(signal, action, interrupts ? 0 : SA_RESTART, 1);
}

SLI_EXPORT(sysv_signal);
SLI_EXPORT_AS(__sysv_signal, sli_sysv_signal);
handler sli_sysv_signal(int signal, handler action) {
    return install(signal, action, (int)SA_RESETHAND | SA_NODEFER | SA_INTERRUPT, 0);
}

SLI_EXPORT(sigset);
handler sli_sigset(int signal, handler action) {
    sigset_t one, before;
    struct sigaction old;
    if (wrong(signal, action)) return SIG_ERR;
    sigemptyset(&one);
    sigaddset(&one, signal);
    if (action == SIG_HOLD) {
        if (sigprocmask(SIG_BLOCK, &one, &before) < 0) return SIG_ERR;
        if (sigismember(&before, signal)) return SIG_HOLD;
        return sli_sigaction(signal, NULL, &old) < 0 ? SIG_ERR : old.sa_handler;
    }
    handler was = install(signal, action, 0, 0);
    if (was == SIG_ERR || sigprocmask(SIG_UNBLOCK, &one, &before) < 0) return SIG_ERR;
    return sigismember(&before, signal) ? SIG_HOLD : was;
}

SLI_EXPORT(siginterrupt);
int sli_siginterrupt(int signal, int interrupts) {
    struct sigaction action;
    if (sli_sigaction(signal, NULL, &action) < 0) return -1;
    uint64_t bit = 1ull << (signal - 1);
    if (interrupts) {
        slc_or_u64(&interrupting, bit);
        action.sa_flags &= ~SA_RESTART;
    } else {
        slc_and_u64(&interrupting, ~bit);
        action.sa_flags |= SA_RESTART;
    }
    return sli_sigaction(signal, &action, NULL);
}

/// What the kernel takes, in its own order.
struct kernel_action {
    void *handler;
    uint64_t flags;
    void (*restorer)(void);
    uint64_t mask;
};

// As the system call rt_sigaction. What libc's function would refuse, or never do, is the kernel's.
long sli_kernel_sigaction(long signal, const void *new, void *old, size_t mask_bytes) {
    _Bool is_libcs = signal == 32 || signal == 33, is_address = (!new || SLC_P(new) >= 4096) && (!old || SLC_P(old) >= 4096);
    if (mask_bytes != sizeof(uint64_t) || signal < 1 || signal >= NSIG || signal == SIGKILL || signal == SIGSTOP || is_libcs
        || !is_address)
        return SLI_REAL(syscall)(SYS_rt_sigaction, signal, SLC_P(new), SLC_P(old), (long)mask_bytes, 0, 0);
    const struct kernel_action *wanted = new;
    struct kernel_action *shown = old;
    struct sigaction in = {0}, before = {0};
    if (wanted) {
        in.sa_handler = (handler)wanted->handler;
        in.sa_flags = (int)wanted->flags;
        in.sa_restorer = wanted->restorer;
        memcpy(&in.sa_mask, &wanted->mask, sizeof wanted->mask);
    }
    if (sli_sigaction((int)signal, wanted ? &in : NULL, shown ? &before : NULL) < 0) return -1;
    if (shown) {
        *shown = (struct kernel_action){(void *)before.sa_handler, (unsigned)before.sa_flags, before.sa_restorer, 0};
        memcpy(&shown->mask, &before.sa_mask, sizeof shown->mask);
    }
    return 0;
}
