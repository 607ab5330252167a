// The older ways to install a handler, in terms of sigaction: libc's own would call its own sigaction, unseen.
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
