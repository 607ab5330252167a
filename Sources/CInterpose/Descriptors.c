// The life of descriptor numbers: close, dup, fcntl, ioctl.
#include "Interpose.h"

SLI_EXPORT(close);
SLI_EXPORT_AS(__close, sli_close);
int sli_close(int fd) {
    long refused = sli_before_close(fd);
    if (SLI_UNLIKELY(refused)) return (int)sli_result(refused);
    return SLI_REAL(close)(fd);
}

// fclose closes the number inside libc. A stream without a number says -1, as does a stream that is no file.
SLI_EXPORT(fclose);
SLI_EXPORT_AS(_IO_fclose, sli_fclose);
int sli_fclose(FILE *stream) {
    int saved = errno, fd = stream ? fileno(stream) : -1;
    errno = saved;
    sli_before_close(fd);
    return SLI_REAL(fclose)(stream);
}

// The number of the new file may be the old one or another.
static FILE *reopened(const char *path, const char *mode, FILE *stream, FILE *(*real)(const char *, const char *, FILE *)) {
    int saved = errno, fd = stream ? fileno(stream) : -1;
    sli_before_close(fd);
    errno = saved;
    FILE *fresh = real(path, mode, stream);
    if (fresh) sli_made(fileno(fresh));
    return fresh;
}
SLI_EXPORT(freopen);
FILE *sli_freopen(const char *path, const char *mode, FILE *stream) { return reopened(path, mode, stream, SLI_REAL(freopen)); }
SLI_EXPORT(freopen64);
FILE *sli_freopen64(const char *path, const char *mode, FILE *stream) { return reopened(path, mode, stream, SLI_REAL(freopen64)); }

// These two put other files at the numbers 0 to 2.
static int stood_aside(int result) {
    for (int fd = STDIN_FILENO; result == 0 && fd <= STDERR_FILENO; fd++) sli_made(fd);
    return result;
}
SLI_EXPORT(daemon);
int sli_daemon(int keep_directory, int keep_files) {
    int result = SLI_REAL(daemon)(keep_directory, keep_files);
    return keep_files ? result : stood_aside(result);
}
SLI_EXPORT(login_tty);
int sli_login_tty(int fd) { return stood_aside(SLI_REAL(login_tty)(fd)); }

int sli_duplicated(int from, uint64_t from_entry, int to) {
    if (to < 0) return to;
    sli_watch_crowd(to);
    unsigned kind = SLC_FD_KIND(from_entry);
    if ((kind != SLC_FD_ENDPOINT && kind != SLC_FD_EPOLL) || sli_is_silent()) return sli_made(to);
    if (sli_in_vfork_child()) { // made for the program that it is about to run; the table is its parent's
        sli_hand_back(from, SLI_REASON_PASSED);
        return to;
    }
    sluice_duplicated(from, from_entry, to);
    // libc's own streams use these numbers by calls that nobody can see.
    if (to <= STDERR_FILENO) sli_hand_back(to, SLI_REASON_FOREIGN_CALL);
    return to;
}

SLI_EXPORT(dup);
int sli_dup(int fd) {
    uint64_t entry = slc_fd_entry(fd);
    int made = SLI_REAL(dup)(fd);
    while (SLI_AGAIN(made < 0)) made = SLI_REAL(dup)(fd);
    return sli_duplicated(fd, entry, made);
}

/// dup2 and dup3 close what `to` was, but only when `from` is a descriptor at all. 0, or -errno.
static long before_replace(int from, int to) {
    uint64_t entry = slc_fd_entry(to);
    if (SLI_LIKELY(!entry) || from == to || sli_is_silent()) return 0;
    long known = slc_fcntl(from, F_GETFD, 0);
    return known < 0 ? known : sluice_before_replace(to, entry);
}

SLI_EXPORT(dup2);
SLI_EXPORT_AS(__dup2, sli_dup2);
int sli_dup2(int from, int to) {
    uint64_t entry = slc_fd_entry(from);
    long refused = before_replace(from, to);
    if (refused < 0) return (int)sli_result(refused);
    int made = SLI_REAL(dup2)(from, to);
    return from == to ? made : sli_duplicated(from, entry, made);
}

SLI_EXPORT(dup3);
int sli_dup3(int from, int to, int flags) {
    uint64_t entry = slc_fd_entry(from);
    if (from == to || flags & ~O_CLOEXEC) return SLI_REAL(dup3)(from, to, flags); // refused by the kernel
    long refused = before_replace(from, to);
    if (refused < 0) return (int)sli_result(refused);
    return sli_duplicated(from, entry, SLI_REAL(dup3)(from, to, flags));
}

static inline int control(int fd, int command, void *argument, int (*real)(int, int, void *)) {
    uint64_t entry = slc_fd_entry(fd);
    if (SLI_LIKELY(!entry) && command != F_DUPFD && command != F_DUPFD_CLOEXEC) return real(fd, command, argument);
    if (command == F_DUPFD || command == F_DUPFD_CLOEXEC) {
        int made = real(fd, command, argument);
        while (SLI_AGAIN(made < 0)) made = real(fd, command, argument);
        return sli_duplicated(fd, entry, made);
    }
    if (SLC_FD_KIND(entry) != SLC_FD_ENDPOINT || sli_is_silent()) return real(fd, command, argument);
    return (int)sli_result(sluice_fcntl(fd, entry, command, (long)argument));
}

// Variadic in libc. The third argument, an int or an address, stands in the same register whatever its type.
SLI_EXPORT(fcntl);
SLI_EXPORT_AS(__fcntl, sli_fcntl);
int sli_fcntl(int fd, int command, void *argument) { return control(fd, command, argument, SLI_REAL(fcntl)); }
SLI_EXPORT(fcntl64);
int sli_fcntl64(int fd, int command, void *argument) { return control(fd, command, argument, SLI_REAL(fcntl64)); }

SLI_EXPORT(ioctl);
int sli_ioctl(int fd, unsigned long request, void *argument) {
    uint64_t entry = sli_endpoint(fd);
    if (!entry) return SLI_REAL(ioctl)(fd, request, argument);
    return (int)sli_result(sluice_ioctl(fd, entry, request, argument));
}
