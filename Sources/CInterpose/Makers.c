// Calls that make descriptor numbers which Sluice does not serve: what stood at the number before is forgotten.
#include "Interpose.h"

// open and its kin are variadic in libc. The mode stands in the same register whether or not it was given; without O_CREAT
// nobody looks at it.

SLI_EXPORT(open);
SLI_EXPORT_AS(__open, sli_open);
int sli_open(const char *path, int flags, mode_t mode) { return SLI_MAKE(SLI_REAL(open)(path, flags, mode)); }

SLI_EXPORT(open64);
SLI_EXPORT_AS(__open64, sli_open64);
int sli_open64(const char *path, int flags, mode_t mode) { return SLI_MAKE(SLI_REAL(open64)(path, flags, mode)); }

SLI_EXPORT(openat);
int sli_openat(int at, const char *path, int flags, mode_t mode) { return SLI_MAKE(SLI_REAL(openat)(at, path, flags, mode)); }

SLI_EXPORT(openat64);
int sli_openat64(int at, const char *path, int flags, mode_t mode) { return SLI_MAKE(SLI_REAL(openat64)(at, path, flags, mode)); }

// The forms of _FORTIFY_SOURCE, which end a program that forgot the mode.

SLI_EXPORT(__open_2);
SLI_EXPORT_AS(__open64_2, sli___open_2);
int sli___open_2(const char *path, int flags) { return SLI_MAKE(SLI_REAL(__open_2)(path, flags)); }

SLI_EXPORT(__openat_2);
SLI_EXPORT_AS(__openat64_2, sli___openat_2);
int sli___openat_2(int at, const char *path, int flags) { return SLI_MAKE(SLI_REAL(__openat_2)(at, path, flags)); }

SLI_EXPORT(creat);
int sli_creat(const char *path, mode_t mode) { return SLI_MAKE(SLI_REAL(creat)(path, mode)); }

SLI_EXPORT(creat64);
int sli_creat64(const char *path, mode_t mode) { return SLI_MAKE(SLI_REAL(creat64)(path, mode)); }

SLI_EXPORT(open_by_handle_at);
int sli_open_by_handle_at(int mount, void *handle, int flags) { return SLI_MAKE(SLI_REAL(open_by_handle_at)(mount, handle, flags)); }

/// Both numbers of a pair.
#define MAKE_PAIR(call)                                                                                                \
    ({                                                                                                                 \
        int sli_failed = (call);                                                                                       \
        while (SLI_AGAIN(sli_failed)) sli_failed = (call);                                                             \
        if (!sli_failed) sli_made(pair[0]), sli_made(pair[1]);                                                         \
        sli_failed;                                                                                                    \
    })

SLI_EXPORT(pipe);
SLI_EXPORT_AS(__pipe, sli_pipe);
int sli_pipe(int *pair) { return MAKE_PAIR(SLI_REAL(pipe)(pair)); }

SLI_EXPORT(pipe2);
int sli_pipe2(int *pair, int flags) { return MAKE_PAIR(SLI_REAL(pipe2)(pair, flags)); }

SLI_EXPORT(socketpair);
int sli_socketpair(int domain, int type, int protocol, int *pair) {
    return MAKE_PAIR(SLI_REAL(socketpair)(domain, type, protocol, pair));
}

SLI_EXPORT(eventfd);
int sli_eventfd(unsigned count, int flags) { return SLI_MAKE(SLI_REAL(eventfd)(count, flags)); }

SLI_EXPORT(timerfd_create);
int sli_timerfd_create(int clock, int flags) { return SLI_MAKE(SLI_REAL(timerfd_create)(clock, flags)); }

// With a number it changes that one.
SLI_EXPORT(signalfd);
int sli_signalfd(int fd, const sigset_t *mask, int flags) { return SLI_MAKE(SLI_REAL(signalfd)(fd, mask, flags)); }

SLI_EXPORT(inotify_init);
int sli_inotify_init(void) { return SLI_MAKE(SLI_REAL(inotify_init)()); }

SLI_EXPORT(inotify_init1);
int sli_inotify_init1(int flags) { return SLI_MAKE(SLI_REAL(inotify_init1)(flags)); }

SLI_EXPORT(fanotify_init);
int sli_fanotify_init(unsigned flags, unsigned event_flags) { return SLI_MAKE(SLI_REAL(fanotify_init)(flags, event_flags)); }

SLI_EXPORT(memfd_create);
int sli_memfd_create(const char *name, unsigned flags) { return SLI_MAKE(SLI_REAL(memfd_create)(name, flags)); }

SLI_EXPORT(pidfd_open);
int sli_pidfd_open(pid_t pid, unsigned flags) { return SLI_MAKE(SLI_REAL(pidfd_open)(pid, flags)); }

// May be another process's socket: it is not tracked, so its bytes stay in the kernel.
SLI_EXPORT(pidfd_getfd);
int sli_pidfd_getfd(int pidfd, int fd, unsigned flags) { return SLI_MAKE(SLI_REAL(pidfd_getfd)(pidfd, fd, flags)); }
