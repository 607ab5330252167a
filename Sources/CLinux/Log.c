// Lines on standard error or in a file, without stdio: it may be closed, full, or in the middle of a call of the program.
#include "CLinux.h"
#include <poll.h>
#include <string.h>

static char *append(char *p, const char *end, const char *text, size_t n) {
    for (; n && p < end; n--) *p++ = *text++;
    return p;
}

static char *append_number(char *p, const char *end, long v) {
    char digits[24];
    int n = (int)sizeof digits;
    unsigned long u = v < 0 ? 0ul - (unsigned long)v : (unsigned long)v;
    do digits[--n] = (char)('0' + u % 10);
    while (u /= 10);
    if (v < 0) digits[--n] = '-';
    return append(p, end, digits + n, sizeof digits - (size_t)n);
}

/// A file that grew beyond RLIMIT_FSIZE would raise SIGXFSZ in the program.
static int is_within_limit(int fd, size_t n) {
    struct stat file;
    struct rlimit now;
    if (slc_syscall3(SYS_fstat, fd, SLC_P(&file), 0) != 0) return 0;
    if (!S_ISREG(file.st_mode)) return 1;
    return slc_syscall6(SYS_prlimit64, 0, RLIMIT_FSIZE, 0, SLC_P(&now), 0, 0) == 0 &&
           (now.rlim_cur == RLIM_INFINITY || (rlim_t)file.st_size + n <= now.rlim_cur);
}

long slc_open_log(const char *path) {
    // Without O_NONBLOCK a pipe that nobody reads would hold the program.
    int flags = O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
    return slc_syscall4(SYS_openat, AT_FDCWD, SLC_P(path), flags, 0644);
}

void slc_log(int fd, const char *text, const char *word, long number) {
    char line[256], *p = line, *end = line + sizeof line - 1;
    p = append(p, end, "sluice[", 7);
    p = append_number(p, end, slc_getpid());
    p = append(p, end, "]: ", 3);
    for (; *text; text++) {
        if (text[0] == '%' && text[1] == 's') p = append(p, end, word, strlen(word)), text++;
        else if (text[0] == '%' && text[1] == 'd') p = append_number(p, end, number), text++;
        else p = append(p, end, text, 1);
    }
    *p++ = '\n';
    struct pollfd place = {.fd = fd, .events = POLLOUT};
    struct timespec now = {0};
    if (slc_ppoll(&place, 1, &now, 0) == 1 && place.revents == POLLOUT && is_within_limit(fd, (size_t)(p - line)))
        slc_write(fd, line, (size_t)(p - line));
}
