// Closing many numbers at once: Sluice's own descriptors stay open, everything tracked is taken leave of.
#include "Interpose.h"
#include <dirent.h>

enum { UNSHARE = 2, CLOEXEC = 4 }; // CLOSE_RANGE_*: linux/close_range.h is newer than some build hosts

/// Tells the core of each tracked descriptor in [first, last].
static void leave(int first, int last) {
    if (last >= SLC_FD_MAX) last = SLC_FD_MAX - 1;
    for (int fd = first; fd <= last; fd++) {
        if (!slc_fd_chunks[fd >> SLC_FD_CHUNK_BITS]) {
            fd |= (1 << SLC_FD_CHUNK_BITS) - 1;
            continue;
        }
        sli_before_close(fd);
    }
}

SLI_EXPORT(close_range);
int sli_close_range(unsigned first, unsigned last, int flags) {
    // Nothing is closed by CLOEXEC, and wrong arguments are the kernel's to refuse.
    if (flags & ~UNSHARE || first > last || first >= SLC_FD_MAX) return SLI_REAL(close_range)(first, last, flags);
    int end = last < SLC_FD_MAX ? (int)last : SLC_FD_MAX - 1;
    // Asked first: a kernel or filter without this call must refuse before anything is forgotten. An empty range has no
    // form, so the highest number stands for it.
    if (SLI_REAL(close_range)(~0u, ~0u, flags) < 0) return -1;
    for (unsigned from = first; from <= last;) {
        int own = from <= (unsigned)end && !sli_is_silent() ? sluice_next_own((int)from, end) : -1;
        unsigned to = own < 0 ? last : (unsigned)own - 1;
        if (own != (int)from) {
            if (from <= (unsigned)end) leave((int)from, to < (unsigned)end ? (int)to : end);
            int failed = SLI_REAL(close_range)(from, to, flags);
            if (failed) return failed;
        }
        if (own < 0) break;
        from = (unsigned)own + 1;
    }
    return 0;
}

/// Closes by the list of /proc. The list may change under it as numbers go; it starts over until a pass closes nothing.
static _Bool close_listed(int lowest) {
    for (;;) {
        int directory = (int)slc_openat(AT_FDCWD, "/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (directory < 0) return 0;
        _Bool closed = 0;
        _Alignas(struct dirent64) char text[1024];
        long n;
        while ((n = slc_syscall3(SYS_getdents64, directory, SLC_P(text), sizeof text)) > 0)
            for (long at = 0; at < n;) {
                const struct dirent64 *d = (const struct dirent64 *)(text + at);
                at += d->d_reclen;
                int fd = 0;
                const char *p = d->d_name;
                while (*p >= '0' && *p <= '9') fd = 10 * fd + (*p++ - '0');
                if (p == d->d_name || fd < lowest || fd == directory) continue;
                if (sli_before_close(fd) == 0) closed |= SLI_REAL(close)(fd) == 0;
            }
        slc_close(directory);
        if (n < 0) return 0;
        if (!closed) return 1;
    }
}

SLI_EXPORT(closefrom);
void sli_closefrom(int lowest) {
    int saved = errno;
    if (lowest < 0) lowest = 0;
    // libc ends the program in this case: descriptors that stay open would be a leak into another program.
    if (sli_close_range((unsigned)lowest, ~0u, 0) < 0 && !close_listed(lowest)) __builtin_trap();
    errno = saved;
}
