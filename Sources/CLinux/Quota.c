// The CPU quota of this process's control group and those above it.
#include "CLinux.h"
#include <fcntl.h>
#include <string.h>

uint32_t slc_parse_quota(const char *text, size_t n) {
    uint64_t v[2] = {0, 0};
    size_t i = 0;
    for (int k = 0; k < 2; k++) {
        size_t first = i;
        for (; i < n && text[i] >= '0' && text[i] <= '9'; i++)
            if (v[k] < 1ull << 40) v[k] = v[k] * 10 + (uint64_t)(text[i] - '0');
        if (i == first) return 0; // "max", or nothing that we know
        while (i < n && text[i] == ' ') i++;
    }
    if (!v[0] || !v[1]) return 0;
    uint64_t permille = v[0] * 1000 / v[1];
    return permille < 1 ? 1 : permille > 1000000 ? 1000000 : (uint32_t)permille;
}

static long read_file(const char *path, char *text, size_t size) {
    long fd = slc_openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return fd;
    long n = slc_read((int)fd, text, size);
    slc_close((int)fd);
    return n;
}

char *slc_find_line(const char *path, const char *start, char *text, size_t size) {
    long n = -1, fd = slc_openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
    char *found = NULL;
    if (fd < 0) return NULL;
    // By parts, since the stack of the caller's thread may be small.
    for (size_t have = 0; !found && (n = slc_read((int)fd, text + have, size - 1 - have)) > 0;) {
        char *line = text, *end;
        have += (size_t)n;
        text[have] = 0;
        for (; !found && (end = strchr(line, '\n')); line = end + 1) {
            *end = 0;
            if (strncmp(line, start, strlen(start)) == 0) found = line;
        }
        if (found) break;
        have = (size_t)(text + have - line);
        memmove(text, line, have);
        if (have == size - 1) have = 0;
    }
    slc_close((int)fd);
    return found;
}

uint32_t slc_cpu_quota(void) {
    static const char root[] = "/sys/fs/cgroup", file[] = "/cpu.max";
    char path[1024];
    size_t base = sizeof root - 1;
    // The line of the unified hierarchy is "0::/its/path".
    char *line = slc_find_line("/proc/self/cgroup", "0::/", path, sizeof path);
    if (!line) return 0;
    size_t length = strlen(line + 3);
    if (base + length + sizeof file > sizeof path) return 0;
    memmove(path + base, line + 3, length);
    memcpy(path, root, base);
    uint32_t least = 0;
    for (size_t end = base + length;;) {
        while (end > base && path[end - 1] == '/') end--;
        memcpy(path + end, file, sizeof file);
        char text[64];
        long got = read_file(path, text, sizeof text);
        uint32_t quota = got > 0 ? slc_parse_quota(text, (size_t)got) : 0;
        if (quota && (!least || quota < least)) least = quota;
        if (end <= base) return least;
        while (end > base && path[end - 1] != '/') end--;
    }
}
