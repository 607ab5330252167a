/// What the files of this room share: how a symbol is exported, how a result becomes errno, how a descriptor is looked up.
#pragma once
#include "RealLibc.h"
#include "SluiceEntry.h"

#define SLI_LIKELY(x) __builtin_expect(!!(x), 1)
#define SLI_UNLIKELY(x) __builtin_expect(!!(x), 0)

/// Gives `sli_name` of the same file the exported name `name`. An alias by the assembler: libc's headers declare some of
/// these functions with types that a definition cannot repeat. The library's own calls use `sli_name` or `SLI_REAL(name)`,
/// never the exported name, which a program may define itself.
#define SLI_EXPORT_AS(name, function)                                                                                  \
    __asm__(".globl " #name "\n.type " #name ",@function\n.set " #name ", " #function)
#define SLI_EXPORT(name) SLI_EXPORT_AS(name, sli_##name)

/// The result of a core entry or raw system call as libc returns it: errno is written on failure only.
SLC_INLINE long sli_result(long result) {
    if (SLI_UNLIKELY((unsigned long)result > -4096ul)) {
        errno = (int)-result;
        return -1;
    }
    return result;
}
/// Set for good before a system call filter: from then on every call is passed on as it came and the core is not called,
/// for a system call that the program would not make itself may end it.
extern uint32_t sli_silent;
SLC_INLINE _Bool sli_is_silent(void) { return slc_relaxed_u32(&sli_silent); }
/// Calls an entry of the core that only takes note.
#define SLI_TELL(call)                                                                                                 \
    do {                                                                                                               \
        if (SLI_LIKELY(!sli_is_silent())) call;                                                                        \
    } while (0)

/// The table's word if `fd` is of this kind and the core is to be asked, else 0.
SLC_INLINE uint64_t sli_entry(int fd, unsigned kind) {
    uint64_t entry = slc_fd_entry(fd);
    return SLC_FD_KIND(entry) == kind && SLI_LIKELY(!sli_is_silent()) ? entry : 0;
}
/// The table's word if `fd` is an endpoint, else 0. In a forked sharer that has closed its number past libc the place may be
/// another socket's by now: then its generation, the first word of an endpoint, is not the entry's.
SLC_INLINE uint64_t sli_endpoint(int fd) {
    uint64_t entry = sli_entry(fd, SLC_FD_ENDPOINT);
    if (!entry) return 0;
    uint32_t generation = slc_relaxed_u32((uint32_t *)(uintptr_t)SLC_FD_ADDRESS(entry));
    return SLI_LIKELY((generation & 0xffff) == SLC_FD_GENERATION(entry)) ? entry : 0;
}
/// The table's word if `fd` is an epoll set that Sluice tracks, else 0.
SLC_INLINE uint64_t sli_epoll(int fd) { return sli_entry(fd, SLC_FD_EPOLL); }
/// Whether a wait on `fd` must go through the core.
SLC_INLINE _Bool sli_waits_for(int fd) {
    unsigned kind = SLC_FD_KIND(slc_fd_entry(fd));
    return (kind == SLC_FD_ENDPOINT || kind == SLC_FD_EPOLL) && SLI_LIKELY(!sli_is_silent());
}
/// Before the real close of a number: 0, or -EBADF for a descriptor of Sluice's own.
SLC_INLINE long sli_before_close(int fd) {
    uint64_t entry = slc_fd_entry(fd);
    if (SLI_LIKELY(!entry)) return 0;
    if (sli_is_silent()) return SLC_FD_KIND(entry) == SLC_FD_OWN ? -EBADF : 0;
    return sluice_before_close(fd, entry);
}
/// Numbers from here on say that the program is about to need those that Sluice holds.
extern int sli_crowded_from;
/// Gives descriptors of Sluice's own back to the program when a call has just failed for want of them. True: call again.
_Bool sli_made_room(void);
SLC_INLINE void sli_watch_crowd(int fd) {
    if (SLI_UNLIKELY(fd >= sli_crowded_from)) SLI_TELL(sluice_give_back(0));
}
/// A call that makes descriptors, again after room was made; true while it fails.
#define SLI_AGAIN(failed) (SLI_UNLIKELY(failed) && sli_made_room())
/// The real call has just returned `fd`, which is nothing that Sluice serves: a stale entry is forgotten.
SLC_INLINE int sli_made(int fd) {
    if (fd >= 0 && SLI_UNLIKELY(slc_fd_entry(fd))) SLI_TELL(sluice_made_other(fd));
    sli_watch_crowd(fd);
    return fd;
}
/// Makes a number that Sluice does not serve.
#define SLI_MAKE(call)                                                                                                 \
    ({                                                                                                                 \
        int sli_fresh = (call);                                                                                        \
        while (SLI_AGAIN(sli_fresh < 0)) sli_fresh = (call);                                                           \
        sli_made(sli_fresh);                                                                                           \
    })
/// Hands an endpoint back before libc or the kernel moves its bytes by itself.
SLC_INLINE void sli_hand_back(int fd, uint32_t reason) {
    uint64_t entry = sli_endpoint(fd);
    if (SLI_UNLIKELY(entry)) sluice_hand_back(fd, entry, reason);
}

/// Numbers of the reason table (Counters/Reason.swift).
enum { SLI_REASON_PASSED = 14, SLI_REASON_FOREIGN_CALL = 15, SLI_REASON_SEALED_OFF = 18 };

/// Nanoseconds of a relative time, -1 for null (for ever), -EINVAL when it is not a time.
SLC_INLINE int64_t sli_nanoseconds(const struct timespec *t) {
    if (!t) return -1;
    if (t->tv_sec < 0 || (uint64_t)t->tv_nsec >= 1000000000u) return -EINVAL;
    if (t->tv_sec >= INT64_MAX / 1000000000) return INT64_MAX;
    return t->tv_sec * 1000000000 + t->tv_nsec;
}
SLC_INLINE int64_t sli_milliseconds(int ms) { return ms < 0 ? -1 : (int64_t)ms * 1000000; }

/// Hands everything back before a system call filter or a strict mode is set, and is silent from then on.
void sli_fall_silent(void);
/// Installs the program's handlers without the trampoline, which makes a system call of its own.
void sli_bare_handlers(void);

/// Makes sure that the table is filled and the core started: before the first descriptor that the core may track.
void sli_begin(void);
extern uint32_t sli_started;
SLC_INLINE void sli_begin_once(void) {
    if (SLI_UNLIKELY(!slc_acquire_u32(&sli_started))) sli_begin();
}
/// Whether this is a vfork child, which shares the parent's memory: tables of the process must not change there.
_Bool sli_in_vfork_child(void);
/// Remembers the process that owns this memory: at start and in a fork child.
void sli_remember_process(void);

/// Reports the descriptor numbers that a received message carries.
void sli_made_by_message(const struct msghdr *message);
/// Hands back what a message is about to pass to another process.
void sli_pass_message(const struct msghdr *message);
/// A new number, made by a duplicating call, refers to what `from` refers to.
int sli_duplicated(int from, uint64_t from_entry, int to);
/// Tells the core that this process is a fork child.
void sli_after_fork_in_child(void);
void sli_fork_failed(void);
struct iocb;
/// Hands back what kernel aio is about to use.
void sli_hand_back_submitted(long count, struct iocb *const *blocks);
/// Whether a wait must go through the core.
_Bool sli_poll_has_ours(const struct pollfd *fds, nfds_t count);
_Bool sli_select_has_ours(int count, fd_set *read, fd_set *write, fd_set *except);
