// Calls that log what they did, and transfers that are checked against a pattern.
#include "harness.h"

#define START_SUM 1469598103934665603ull

static const char *flag_names(int flags) {
    static const struct { int bit; const char *name; } names[] = {
        {MSG_PEEK, "PEEK"}, {MSG_WAITALL, "WAITALL"}, {MSG_TRUNC, "TRUNC"}, {MSG_DONTWAIT, "DONTWAIT"}, {MSG_MORE, "MORE"},
        {MSG_NOSIGNAL, "NOSIGNAL"}, {MSG_OOB, "OOB"}, {MSG_EOR, "EOR"}, {MSG_CTRUNC, "CTRUNC"}, {MSG_WAITFORONE, "WAITFORONE"},
    };
    static __thread char joined[128];
    joined[0] = 0;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (flags & names[i].bit) {
            strcat(joined, joined[0] ? "|" : ", ");
            strcat(joined, names[i].name);
        }
    return joined;
}

static void log_call(const char *what, size_t size, int flags, ssize_t result, const void *data, int error) {
    const char *touched = result >= 0 && error ? " (errno touched)" : "";
    if (result < 0) dp_log("%s(%zu%s) = -1 %s", what, size, flag_names(flags), dp_errno_name(error));
    else if (data && result) dp_log("%s(%zu%s) = %zd %s%s", what, size, flag_names(flags), result, dp_bytes(data, result), touched);
    else dp_log("%s(%zu%s) = %zd%s", what, size, flag_names(flags), result, touched);
}

ssize_t dp_send(int fd, const void *data, size_t length, int flags) {
    errno = 0;
    ssize_t sent = send(fd, data, length, flags);
    int error = errno;
    log_call("send", length, flags, sent, NULL, error);
    errno = error;
    return sent;
}

ssize_t dp_say(int fd, const char *text) {
    errno = 0;
    ssize_t sent = write(fd, text, strlen(text));
    int error = errno;
    log_call("write", strlen(text), 0, sent, NULL, error);
    errno = error;
    return sent;
}

static ssize_t receive(int fd, size_t size, int flags, bool plain_read) {
    char *buffer = malloc(size + 1);
    errno = 0;
    ssize_t got = plain_read ? read(fd, buffer, size) : recv(fd, buffer, size, flags);
    int error = errno;
    // MSG_TRUNC discards on a TCP socket: there are no bytes to show.
    log_call(plain_read ? "read" : "recv", size, flags, got, flags & (MSG_TRUNC) ? NULL : buffer, error);
    free(buffer);
    errno = error;
    return got;
}

ssize_t dp_recv(int fd, size_t size, int flags) { return receive(fd, size, flags, false); }
ssize_t dp_read(int fd, size_t size) { return receive(fd, size, 0, true); }

int dp_poll(int fd, short events, int timeout_ms) {
    struct pollfd p = {fd, events, 0};
    errno = 0;
    int ready = poll(&p, 1, timeout_ms);
    int error = errno;
    char asked[160];
    snprintf(asked, sizeof asked, "%s", dp_poll_names(events));
    if (ready < 0) dp_log("poll(%s) = -1 %s", asked, dp_errno_name(error));
    else dp_log("poll(%s) = %d %s%s", asked, ready, dp_poll_names((unsigned short)p.revents), error ? " (errno touched)" : "");
    return ready;
}

void dp_socket_error(int fd) { dp_option(fd, SOL_SOCKET, SO_ERROR, "SO_ERROR"); }

void dp_option(int fd, int level, int name, const char *text) {
    int value = -1;
    socklen_t length = sizeof value;
    errno = 0;
    int result = getsockopt(fd, level, name, &value, &length);
    if (result < 0) dp_log("getsockopt %s = -1 %s", text, dp_errno_name(errno));
    else if (level == SOL_SOCKET && name == SO_ERROR) dp_log("SO_ERROR: %s", value ? dp_errno_name(value) : "0");
    else dp_log("%s: %d (%u bytes)", text, value, length);
}

int dp_available(int fd) {
    int available = -1;
    errno = 0;
    int result = ioctl(fd, FIONREAD, &available);
    dp_log("FIONREAD = %d %s, %d", result, result ? dp_errno_name(errno) : "", available);
    return available;
}

void dp_watch(int set, int operation, int fd, unsigned events, char letter) {
    static const char *const names[] = {"?", "ADD", "DEL", "MOD"};
    struct epoll_event event = {.events = events, .data.u64 = (uint64_t)letter};
    errno = 0;
    int result = epoll_ctl(set, operation, fd, &event);
    if (result < 0) dp_log("epoll_ctl(%s %c) = -1 %s", names[operation & 3], letter, dp_errno_name(errno));
    else dp_log("epoll_ctl(%s %c) = 0%s", names[operation & 3], letter, errno ? " (errno touched)" : "");
}

/// What a case gave as data is a letter; anything else shows as a question mark.
static char letter(uint64_t data) { return data > 32 && data < 127 ? (char)data : '?'; }

static int by_letter(const void *a, const void *b) {
    const struct epoll_event *x = a, *y = b;
    return (int)x->data.u64 - (int)y->data.u64;
}

int dp_epoll(int set, int max, int timeout_ms) {
    struct epoll_event events[64];
    errno = 0;
    int count = epoll_wait(set, events, max, timeout_ms);
    if (count < 0) {
        dp_log("epoll_wait = -1 %s", dp_errno_name(errno));
        return count;
    }
    char line[1000];
    int used = snprintf(line, sizeof line, "epoll_wait = %d%s", count, errno ? " (errno touched)" : "");
    qsort(events, count, sizeof *events, by_letter);
    for (int i = 0; i < count && used < 900; i++)
        used += snprintf(line + used, sizeof line - used, " %c:%s", letter(events[i].data.u64), dp_poll_names(events[i].events));
    dp_log("%s", line);
    return count;
}

void dp_fill(void *data, size_t length, unsigned seed, size_t offset) {
    uint8_t *bytes = data;
    for (size_t i = 0; i < length; i++) bytes[i] = (uint8_t)(((offset + i + seed * 7919ull) * 0x9E3779B97F4A7C15ull) >> 56);
}

void dp_put(int fd, unsigned seed, size_t total, size_t chunk) {
    uint8_t *buffer = malloc(chunk);
    size_t done = 0;
    const char *ending = "complete";
    while (done < total) {
        size_t want = total - done < chunk ? total - done : chunk;
        dp_fill(buffer, want, seed, done);
        size_t part = 0;
        while (part < want) {
            ssize_t sent = send(fd, buffer + part, want - part, MSG_NOSIGNAL);
            if (sent > 0) part += sent;
            else if (sent < 0 && errno == EAGAIN) dp_settle_for(fd, POLLOUT);
            else if (sent == 0 || errno != EINTR) { ending = sent ? dp_errno_name(errno) : "zero"; break; }
        }
        done += part;
        if (part < want) break;
    }
    free(buffer);
    if (strcmp(ending, "complete") == 0) dp_log("put %zu bytes of pattern %u", done, seed);
    else dp_log("put ended early: %s", ending);
}

void dp_get(int fd, unsigned seed, size_t total, size_t chunk) {
    uint8_t *buffer = malloc(chunk), *expected = malloc(chunk);
    size_t done = 0, wrong = SIZE_MAX;
    uint64_t sum = START_SUM;
    const char *ending = "";
    while (done < total) {
        ssize_t got = recv(fd, buffer, total - done < chunk ? total - done : chunk, 0);
        if (got == 0) { ending = ", then the end"; break; }
        if (got < 0 && errno == EINTR) continue;
        if (got < 0 && errno == EAGAIN) { dp_settle_for(fd, POLLIN); continue; }
        if (got < 0) { ending = dp_errno_name(errno); break; }
        dp_fill(expected, got, seed, done);
        for (ssize_t i = 0; i < got && wrong == SIZE_MAX; i++)
            if (buffer[i] != expected[i]) wrong = done + i;
        sum = dp_sum(sum, buffer, got);
        done += got;
    }
    free(buffer);
    free(expected);
    dp_log("got %zu bytes of pattern %u, sum %016llx%s", done, seed, (unsigned long long)sum, ending);
    if (wrong != SIZE_MAX) dp_log("the first wrong byte stands at %zu", wrong);
}

size_t dp_stuff(int fd, unsigned seed, size_t chunk, size_t offset) {
    uint8_t *buffer = malloc(chunk);
    size_t done = 0;
    bool was_full = false;
    for (;;) {
        dp_fill(buffer, chunk, seed, offset + done);
        ssize_t sent = send(fd, buffer, chunk, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) continue;
        if (sent < 0 && (errno != EAGAIN || was_full)) break;
        if (sent > 0) done += sent;
        was_full = sent < 0;
        // What is under way between the two buffers still makes room: by the delayed acknowledgement (40 ms) and the
        // first window probe (200 ms). Full before and after a longer wait is full.
        struct pollfd p = {fd, POLLOUT, 0};
        if (was_full && poll(&p, 1, 350) == 1 && p.revents == POLLOUT) was_full = false;
    }
    dp_log("stuffed until %s", dp_errno_name(errno));
    free(buffer);
    return done;
}

void dp_tell_sent(size_t count) { dp_tell_data(&count, sizeof count); }

bool dp_drain_count(int fd, unsigned seed, size_t offset, size_t count) {
    enum { CHUNK = 65536 };
    static __thread uint8_t buffer[CHUNK], expected[CHUNK];
    for (size_t done = 0; done < count;) {
        ssize_t got = recv(fd, buffer, count - done < CHUNK ? count - done : CHUNK, 0);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0 && errno == EAGAIN) { dp_settle_for(fd, POLLIN); continue; }
        if (got <= 0) { dp_log("drain ended early: %s", got ? dp_errno_name(errno) : "end of stream"); return false; }
        dp_fill(expected, got, seed, offset + done);
        if (memcmp(buffer, expected, got) != 0) { dp_log("drained wrong bytes"); return false; }
        done += got;
    }
    dp_log("drained all that was sent");
    return true;
}

void dp_drain(int fd, unsigned seed) {
    size_t count = 0;
    if (dp_hear_data(&count, sizeof count) != sizeof count) dp_fail("waits for a count");
    dp_drain_count(fd, seed, 0, count);
}
