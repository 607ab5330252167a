// Several messages in one call, and the descriptors that messages carry.
#include "Interpose.h"

enum { MAX_PARTS = 1024, MAX_MESSAGES = 1024 };

/// Calls `visit` for each descriptor number in the control data.
static void each_passed(const struct msghdr *msg, void (*visit)(int fd)) {
    if (!msg->msg_control || msg->msg_controllen < sizeof(struct cmsghdr)) return;
    struct msghdr *m = (struct msghdr *)(uintptr_t)msg; // CMSG_NXTHDR wants it writable and only reads
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS || c->cmsg_len < CMSG_LEN(0)) continue;
        size_t room = (size_t)((const char *)m->msg_control + m->msg_controllen - (const char *)CMSG_DATA(c));
        size_t bytes = c->cmsg_len - CMSG_LEN(0);
        if (bytes > room) bytes = room; // the program's own fault; the kernel will refuse it
        for (size_t i = 0; i + sizeof(int) <= bytes; i += sizeof(int)) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + i, sizeof fd);
            visit(fd);
        }
    }
}
static void received(int fd) { sli_made(fd); }
static void passed(int fd) { sli_hand_back(fd, SLI_REASON_PASSED); }

void sli_made_by_message(const struct msghdr *msg) { each_passed(msg, received); }
void sli_pass_message(const struct msghdr *msg) { each_passed(msg, passed); }

// The kernel's rules: an error counts only while nothing was sent; then the next call shows it.
SLI_EXPORT(sendmmsg);
SLI_EXPORT_AS(__sendmmsg, sli_sendmmsg);
int sli_sendmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags) {
    uint64_t entry = sli_endpoint(fd);
    if (!entry) {
        for (unsigned i = 0; messages && i < count && i < MAX_MESSAGES; i++)
            if (messages[i].msg_hdr.msg_controllen) sli_pass_message(&messages[i].msg_hdr);
        return SLI_REAL(sendmmsg)(fd, messages, count, flags);
    }
    long batch = sluice_sendmmsg(fd, entry, messages, count, flags);
    if (batch != SLUICE_ONE_BY_ONE) return (int)sli_result(batch);
    unsigned done = 0;
    long sent = 0;
    for (; done < count && done < MAX_MESSAGES; done++) {
        struct msghdr *m = &messages[done].msg_hdr;
        sent = m->msg_iovlen > MAX_PARTS
            ? -EMSGSIZE
            : sluice_sendmsg(fd, entry, m, m->msg_iov, m->msg_iovlen, flags, SLUICE_CALL_SENDMSG);
        if (sent < 0) break;
        messages[done].msg_len = (unsigned)sent;
    }
    return done ? (int)done : (int)sli_result(sent);
}

/// What is left of a time that ends at `end` (0: for ever).
static void write_remaining(struct timespec *timeout, uint64_t end) {
    uint64_t now = slc_now_ns(), left = end > now ? end - now : 0;
    timeout->tv_sec = (time_t)(left / 1000000000);
    timeout->tv_nsec = (long)(left % 1000000000);
}

// The kernel's rules: the time is looked at after each message and never ends a wait; MSG_WAITFORONE waits for the first
// only; urgent data ends the call; an error after the first message is left to the next call.
SLI_EXPORT(recvmmsg);
int sli_recvmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags, struct timespec *timeout) {
    uint64_t entry = sli_endpoint(fd);
    if (!entry) {
        int got = SLI_REAL(recvmmsg)(fd, messages, count, flags, timeout);
        for (int i = 0; i < got; i++)
            if (messages[i].msg_hdr.msg_controllen) sli_made_by_message(&messages[i].msg_hdr);
        return got;
    }
    long batch = sluice_recvmmsg(fd, entry, messages, count, flags, timeout);
    if (batch != SLUICE_ONE_BY_ONE) return (int)sli_result(batch);
    int64_t allowed = sli_nanoseconds(timeout);
    if (timeout && allowed < 0) return (int)sli_result(allowed);
    uint64_t now = timeout ? slc_now_ns() : 0;
    uint64_t end = timeout ? ((uint64_t)allowed > UINT64_MAX - now ? UINT64_MAX : now + (uint64_t)allowed) : 0;
    unsigned done = 0;
    long got = 0;
    while (done < count && done < MAX_MESSAGES) {
        struct msghdr *m = &messages[done].msg_hdr;
        int call_flags = flags & ~MSG_WAITFORONE;
        if (done && flags & MSG_WAITFORONE) call_flags |= MSG_DONTWAIT;
        got = m->msg_iovlen > MAX_PARTS
            ? -EMSGSIZE
            : sluice_recvmsg(fd, entry, m, m->msg_iov, m->msg_iovlen, call_flags, SLUICE_CALL_RECVMSG);
        if (got < 0) break;
        messages[done++].msg_len = (unsigned)got;
        if (timeout) {
            write_remaining(timeout, end);
            if (!timeout->tv_sec && !timeout->tv_nsec) break;
        }
        if (m->msg_flags & MSG_OOB) break;
    }
    return done ? (int)done : (int)sli_result(got);
}
