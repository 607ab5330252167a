// Lines on standard error, without stdio: it may be closed, full, or in the middle of a call of the program.
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

void slc_log(const char *text, const char *word, long number) {
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
    struct pollfd standard_error = {.fd = 2, .events = POLLOUT};
    struct timespec now = {0};
    if (slc_ppoll(&standard_error, 1, &now, 0) == 1 && standard_error.revents == POLLOUT) slc_write(2, line, (size_t)(p - line));
}
