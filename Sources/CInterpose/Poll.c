// poll and ppoll: a set with one descriptor of ours goes to the core, any other to the kernel.
#include "Interpose.h"

/// More descriptors than this cannot be open; the kernel refuses by RLIMIT_NOFILE.
static inline _Bool has_ours(const struct pollfd *fds, nfds_t count) {
    if (SLI_UNLIKELY(!fds || count > SLC_FD_MAX)) return 0;
    for (nfds_t i = 0; i < count; i++)
        if (SLI_UNLIKELY(sli_waits_for(fds[i].fd))) return 1;
    return 0;
}
_Bool sli_poll_has_ours(const struct pollfd *fds, nfds_t count) { return has_ours(fds, count); }
/// The kernel refuses a set with more entries than the soft limit of descriptors.
static _Bool too_many(nfds_t count) {
    struct rlimit limit;
    return count > 256 && slc_prlimit(RLIMIT_NOFILE, NULL, &limit) == 0 && count > limit.rlim_cur;
}

// Apart, so that a set without ours costs no stack frame.
static __attribute__((noinline)) int poll_ours(struct pollfd *fds, nfds_t count, int timeout_ms) {
    if (too_many(count)) return SLI_REAL(poll)(fds, count, timeout_ms);
    return (int)sli_result(sluice_poll(fds, count, sli_milliseconds(timeout_ms), NULL));
}

SLI_EXPORT(poll);
SLI_EXPORT_AS(__poll, sli_poll);
int sli_poll(struct pollfd *fds, nfds_t count, int timeout_ms) {
    if (has_ours(fds, count)) return poll_ours(fds, count, timeout_ms);
    return SLI_REAL(poll)(fds, count, timeout_ms);
}

SLI_EXPORT(ppoll);
int sli_ppoll(struct pollfd *fds, nfds_t count, const struct timespec *timeout, const sigset_t *mask) {
    if (!has_ours(fds, count) || too_many(count)) return SLI_REAL(ppoll)(fds, count, timeout, mask);
    int64_t ns = sli_nanoseconds(timeout);
    if (timeout && ns < 0) return (int)sli_result(ns);
    return (int)sli_result(sluice_poll(fds, count, ns, mask));
}

// The forms of _FORTIFY_SOURCE. libc's own one is called where it must end the program.

SLI_EXPORT(__poll_chk);
int sli___poll_chk(struct pollfd *fds, nfds_t count, int timeout_ms, size_t room) {
    if (room / sizeof *fds < count) return SLI_REAL(__poll_chk)(fds, count, timeout_ms, room);
    return sli_poll(fds, count, timeout_ms);
}

SLI_EXPORT(__ppoll_chk);
int sli___ppoll_chk(struct pollfd *fds, nfds_t count, const struct timespec *timeout, const sigset_t *mask, size_t room) {
    if (room / sizeof *fds < count) return SLI_REAL(__ppoll_chk)(fds, count, timeout, mask, room);
    return sli_ppoll(fds, count, timeout, mask);
}
