// What a role writes: transcript lines, call results, proof lines.
#include "harness.h"
#include <ctype.h>
#include <stdarg.h>

static __thread const char *tag;
static __thread char text[640];

bool dp_proving;

void dp_as(const char *name) { tag = name; }

static void write_line(int fd, const char *format, va_list arguments) {
    char line[1200];
    int used = tag ? snprintf(line, 64, "[%s] ", tag) : 0;
    int more = vsnprintf(line + used, sizeof line - used - 1, format, arguments);
    if (more > (int)sizeof line - used - 2) more = sizeof line - used - 2;
    used += more;
    line[used++] = '\n';
    if (write(fd, line, used) != used) _exit(98);
}

void dp_log(const char *format, ...) {
    int saved = errno;
    va_list arguments;
    va_start(arguments, format);
    write_line(DP_FD_LOG, format, arguments);
    va_end(arguments);
    errno = saved;
}

void dp_fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    char reason[512];
    vsnprintf(reason, sizeof reason, format, arguments);
    va_end(arguments);
    dp_log("CASE BROKEN: %s", reason);
    _exit(97);
}

const char *dp_errno_name(int number) {
    const char *name = strerrorname_np(number);
    return name ? name : "(no error)";
}

long dp_result(const char *what, long result) {
    int error = errno;
    if (result < 0) dp_log("%s = %ld %s", what, result, dp_errno_name(error));
    else dp_log("%s = %ld%s", what, result, error ? " (errno touched)" : "");
    errno = error;
    return result;
}

long dp_some(const char *what, long result) {
    int error = errno;
    if (result < 0) dp_log("%s = %ld %s", what, result, dp_errno_name(error));
    else dp_log("%s = %s%s", what, result ? "some" : "0", error ? " (errno touched)" : "");
    errno = error;
    return result;
}

long dp_must(const char *what, long result) {
    if (result < 0) dp_fail("%s: %s", what, dp_errno_name(errno));
    return result;
}

uint64_t dp_sum(uint64_t sum, const void *data, size_t length) {
    const uint8_t *bytes = data;
    for (size_t i = 0; i < length; i++) sum = (sum ^ bytes[i]) * 0x100000001b3ull;
    return sum;
}

const char *dp_bytes(const void *data, size_t length) {
    if (length > 64) {
        snprintf(text, sizeof text, "%zu bytes, sum %016llx", length, (unsigned long long)dp_sum(1469598103934665603ull, data, length));
        return text;
    }
    const uint8_t *bytes = data;
    size_t used = 0;
    text[used++] = '"';
    for (size_t i = 0; i < length; i++) {
        if (isprint(bytes[i]) && bytes[i] != '"' && bytes[i] != '\\') text[used++] = bytes[i];
        else used += snprintf(text + used, 8, "\\x%02x", bytes[i]);
    }
    text[used++] = '"';
    text[used] = 0;
    return text;
}

const char *dp_poll_names(unsigned events) {
    static const struct { unsigned bit; const char *name; } names[] = {
        {POLLIN, "IN"}, {POLLPRI, "PRI"}, {POLLOUT, "OUT"}, {POLLERR, "ERR"}, {POLLHUP, "HUP"}, {POLLNVAL, "NVAL"},
        {POLLRDNORM, "RDNORM"}, {POLLRDBAND, "RDBAND"}, {POLLWRNORM, "WRNORM"}, {POLLWRBAND, "WRBAND"}, {POLLRDHUP, "RDHUP"},
    };
    static __thread char joined[160];
    joined[0] = 0;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (!(events & names[i].bit)) continue;
        if (joined[0]) strcat(joined, "|");
        strcat(joined, names[i].name);
        events &= ~names[i].bit;
    }
    if (events) snprintf(joined + strlen(joined), 16, "|0x%x", events);
    return joined[0] ? joined : "none";
}

/// The start of sl_endpoint_counters as the library's private socket option returns it, then lane and reason.
typedef struct proof {
    uint64_t packets[4], rx_ring, tx_ring, rx_kernel, tx_kernel, drops, openings, handbacks, rest[5];
    uint32_t lane, reason;
} proof;
_Static_assert(sizeof(proof) == 136, "proof");

/// A stream beside the datagrams that a case is about proves nothing.
static bool is_witness(int fd) {
    int type = 0;
    socklen_t length = sizeof type;
    if (!dp_current || !dp_current->datagrams) return true;
    return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) == 0 && type == SOCK_DGRAM;
}

bool dp_has_no_lane_yet(int fd) {
    if (!dp_proving || !dp_current || dp_current->kernel) return false;
    int saved = errno;
    proof p = {0};
    socklen_t length = sizeof p;
    bool has_none = getsockopt(fd, SOL_SOCKET, 0x534C02, &p, &length) == 0 && length >= sizeof p && p.rx_ring + p.tx_ring == 0;
    errno = saved;
    return has_none;
}

uint64_t dp_ring_bytes(int fd) {
    int saved = errno;
    proof p = {0};
    socklen_t length = sizeof p;
    bool is_told = dp_proving && getsockopt(fd, SOL_SOCKET, 0x534C02, &p, &length) == 0 && length >= sizeof p;
    errno = saved;
    return is_told ? p.rx_ring + p.tx_ring : 0;
}

void dp_proof(int fd) {
    if (!dp_proving) return;
    int saved = errno;
    proof p = {0};
    socklen_t length = sizeof p;
    if (is_witness(fd) && getsockopt(fd, SOL_SOCKET, 0x534C02, &p, &length) == 0 && length >= sizeof p)
        dprintf(DP_FD_PROOF, "%llu %llu %llu %llu %llu %llu %u %u\n", (unsigned long long)p.rx_ring, (unsigned long long)p.tx_ring,
                (unsigned long long)p.rx_kernel, (unsigned long long)p.tx_kernel, (unsigned long long)p.openings,
                (unsigned long long)p.handbacks, p.lane, p.reason);
    errno = saved;
}
