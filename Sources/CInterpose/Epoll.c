// Epoll sets. Every set is the kernel's; the core serves those whose members may become ready in user space.
#include "Interpose.h"

SLI_EXPORT(epoll_create);
int sli_epoll_create(int size) {
    sli_begin_once();
    int set = SLI_REAL(epoll_create)(size);
    while (SLI_AGAIN(set < 0)) set = SLI_REAL(epoll_create)(size);
    if (set >= 0) SLI_TELL(sluice_made_epoll(set));
    sli_watch_crowd(set);
    return set;
}

SLI_EXPORT(epoll_create1);
int sli_epoll_create1(int flags) {
    sli_begin_once();
    int set = SLI_REAL(epoll_create1)(flags);
    while (SLI_AGAIN(set < 0)) set = SLI_REAL(epoll_create1)(flags);
    if (set >= 0) SLI_TELL(sluice_made_epoll(set));
    sli_watch_crowd(set);
    return set;
}

SLI_EXPORT(epoll_ctl);
int sli_epoll_ctl(int set, int operation, int fd, struct epoll_event *event) {
    uint64_t entry = sli_epoll(set);
    if (SLI_LIKELY(entry)) return (int)sli_result(sluice_epoll_ctl(set, entry, operation, fd, event));
    // A set that came from elsewhere is waited for by the kernel alone, so its members stay there too.
    if (operation != EPOLL_CTL_DEL) sli_hand_back(fd, SLI_REASON_FOREIGN_CALL);
    return SLI_REAL(epoll_ctl)(set, operation, fd, event);
}

// A look at a set that the kernel alone serves. Few registers are saved here: a call that is not ours must cost nothing.
__attribute__((noinline)) static int look(int set, struct epoll_event *events, int max, uint64_t entry) {
    int got = SLI_REAL(epoll_wait)(set, events, max, 0);
    if (SLI_LIKELY(got <= 0) || slc_fd_entry(set) == entry) return got;
    return (int)sluice_epoll_sort(entry, events, got);
}
__attribute__((noinline)) static int wait_by_core(int set, struct epoll_event *events, int max, int timeout_ms, uint64_t entry);

SLI_EXPORT(epoll_wait);
int sli_epoll_wait(int set, struct epoll_event *events, int max, int timeout_ms) {
    uint64_t entry = sli_epoll(set);
    if (!entry) return SLI_REAL(epoll_wait)(set, events, max, timeout_ms);
    if (timeout_ms == 0 && entry & SLC_FD_PLAIN_SET) return look(set, events, max, entry);
    return wait_by_core(set, events, max, timeout_ms, entry);
}

static int wait_by_core(int set, struct epoll_event *events, int max, int timeout_ms, uint64_t entry) {
    return (int)sli_result(sluice_epoll_wait(set, entry, events, max, sli_milliseconds(timeout_ms), NULL));
}

SLI_EXPORT(epoll_pwait);
int sli_epoll_pwait(int set, struct epoll_event *events, int max, int timeout_ms, const sigset_t *mask) {
    uint64_t entry = sli_epoll(set);
    if (!entry) return SLI_REAL(epoll_pwait)(set, events, max, timeout_ms, mask);
    return (int)sli_result(sluice_epoll_wait(set, entry, events, max, sli_milliseconds(timeout_ms), mask));
}

SLI_EXPORT(epoll_pwait2);
int sli_epoll_pwait2(int set, struct epoll_event *events, int max, const struct timespec *timeout, const sigset_t *mask) {
    uint64_t entry = sli_epoll(set);
    int64_t ns = sli_nanoseconds(timeout);
    if (!entry || (timeout && ns < 0)) return SLI_REAL(epoll_pwait2)(set, events, max, timeout, mask);
    return (int)sli_result(sluice_epoll_wait(set, entry, events, max, ns, mask));
}
