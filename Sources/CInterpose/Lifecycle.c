#include "Interpose.h"
#include <stdlib.h>
#include <sys/auxv.h>
#include <unistd.h>

uint32_t sli_started, sli_silent;
static int process; // who owns this memory

int __register_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void), void *object);
int __cxa_at_quick_exit(void (*function)(void *), void *object);
extern void *__dso_handle;

void sli_remember_process(void) { process = slc_getpid(); }
_Bool sli_in_vfork_child(void) { return process && slc_getpid() != process; }

void sli_after_fork_in_child(void) {
    if (sli_is_silent()) return;
    sli_remember_process();
    sluice_fork_child();
}
static void before_fork(void) { SLI_TELL(sluice_fork_prepare()); }
static void after_fork_in_parent(void) { SLI_TELL(sluice_fork_parent()); }
static void before_quick_exit(void *ignored) {
    (void)ignored;
    SLI_TELL(sluice_at_exit());
}

int sli_crowded_from = INT32_MAX;
void sluice_crowded_from(int fd) { sli_crowded_from = fd; }

_Bool sli_made_room(void) {
    if ((errno != EMFILE && errno != ENFILE) || sli_is_silent() || !slc_acquire_u32(&sli_started)) return 0;
    return sluice_give_back(1);
}

void sli_begin(void) {
    static uint32_t beginner;
    uint32_t self = (uint32_t)slc_gettid();
    if (!slc_cas_u32(&beginner, 0, self)) {
        // A call of ours from a look-up below, or from a handler, goes on without the core; another thread waits for it.
        while (slc_relaxed_u32(&beginner) != self && !slc_acquire_u32(&sli_started)) slc_syscall3(SYS_sched_yield, 0, 0, 0);
        return;
    }
    sli_remember_process();
    sli_resolve();
    __register_atfork(before_fork, after_fork_in_parent, sli_after_fork_in_child, &__dso_handle);
    __cxa_at_quick_exit(before_quick_exit, &__dso_handle);
    sluice_start();
    slc_release_u32(&sli_started, 1);
}

// Other libraries' constructors may come first; then the first call that makes a socket has started Sluice already.
__attribute__((constructor(101))) static void constructed(void) { sli_begin_once(); }
__attribute__((destructor)) static void ending(void) { SLI_TELL(sluice_at_exit()); }

void sli_fall_silent(void) {
    if (sli_is_silent()) return;
    sluice_hand_back_all(SLI_REASON_SEALED_OFF);
    sli_bare_handlers();
    slc_release_u32(&sli_silent, 1);
}

SLI_EXPORT(_exit);
SLI_EXPORT_AS(_Exit, sli__exit);
__attribute__((noreturn)) void sli__exit(int status) {
    SLI_TELL(sluice_at_exit());
    // libc's _exit is no more than this, and cannot be told from it.
    for (;;) slc_syscall3(SYS_exit_group, status, 0, 0);
}

// libc's fork handlers do the work, whoever calls it; they are not told when there is no child.
SLI_EXPORT(fork);
SLI_EXPORT_AS(__fork, sli_fork);
pid_t sli_fork(void) {
    pid_t pid = SLI_REAL(fork)();
    if (SLI_UNLIKELY(pid < 0)) sli_fork_failed();
    return pid;
}

void sli_fork_failed(void) {
    int error = errno;
    SLI_TELL(sluice_fork_failed());
    errno = error;
}

// glibc's _Fork runs no fork handlers.
SLI_EXPORT(_Fork);
pid_t sli__Fork(void) {
    before_fork();
    pid_t pid = SLI_REAL(_Fork)();
    if (pid == 0)
        sli_after_fork_in_child();
    else
        after_fork_in_parent();
    if (pid < 0) sli_fork_failed();
    return pid;
}

const char *sluice_getenv(const char *name) { return secure_getenv(name); }
const char *sluice_variable(long place) { return environ && !getauxval(AT_SECURE) ? environ[place] : 0; }

/// The version of the library, as text.
__attribute__((visibility("default"))) const char *sluice_version(void) { return SLC_VERSION; }
