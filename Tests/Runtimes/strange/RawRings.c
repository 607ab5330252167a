// io_uring without liburing: by libc's syscall(), which is seen, and by instructions of the program's own, which are not.
#include "Strange.h"
#include <linux/io_uring.h>

struct ring {
    long (*call)(long number, long a, long b, long c, long d, long e, long f);
    int fd;
    struct io_uring_params p;
    char *sq, *cq;
    struct io_uring_sqe *entries;
};
static long libc_call(long number, long a, long b, long c, long d, long e, long f) {
    long r = syscall(number, a, b, c, d, e, f);
    return r < 0 ? -errno : r;
}
static void *mapped(struct ring *r, size_t bytes, off_t what) {
    void *m = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, r->fd, what);
    if (m == MAP_FAILED) fail("mmap: %s", strerror(errno));
    return m;
}
static void make(struct ring *r) {
    r->fd = (int)r->call(SYS_io_uring_setup, 4, (long)&r->p, 0, 0, 0, 0);
    if (r->fd < 0) skip("no io_uring");
    r->sq = mapped(r, r->p.sq_off.array + r->p.sq_entries * 4, IORING_OFF_SQ_RING);
    r->cq = mapped(r, r->p.cq_off.cqes + r->p.cq_entries * sizeof(struct io_uring_cqe), IORING_OFF_CQ_RING);
    r->entries = mapped(r, r->p.sq_entries * sizeof(struct io_uring_sqe), IORING_OFF_SQES);
}
static unsigned *word(char *ring, unsigned at) { return (unsigned *)(ring + at); }
/// One operation and its result.
static int done(struct ring *r, int operation, int fd, void *bytes, size_t n, int flags) {
    unsigned mask = *word(r->sq, r->p.sq_off.ring_mask), *tail = word(r->sq, r->p.sq_off.tail);
    unsigned *head = word(r->cq, r->p.cq_off.head), last = *word(r->cq, r->p.cq_off.ring_mask);
    r->entries[*tail & mask] = (struct io_uring_sqe){.opcode = (uint8_t)operation, .fd = fd, .addr = (uint64_t)(uintptr_t)bytes, .len = (unsigned)n, .msg_flags = (unsigned)flags};
    word(r->sq, r->p.sq_off.array)[*tail & mask] = *tail & mask;
    __atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
    long entered = r->call(SYS_io_uring_enter, r->fd, 1, 1, IORING_ENTER_GETEVENTS, 0, 0);
    if (entered != 1) fail("enter: %ld", entered);
    while (__atomic_load_n(word(r->cq, r->p.cq_off.tail), __ATOMIC_ACQUIRE) == *head) sched_yield();
    int result = ((struct io_uring_cqe *)(r->cq + r->p.cq_off.cqes))[*head & last].res;
    __atomic_store_n(head, *head + 1, __ATOMIC_RELEASE);
    return result;
}
static void ring_talk(struct ring *r, int fd, int rounds) {
    for (int i = 0; i < rounds; i++) {
        char out[700], in[700];
        memset(out, i + 1, sizeof out);
        if (done(r, IORING_OP_SEND, fd, out, sizeof out, MSG_NOSIGNAL) != sizeof out) fail("send by ring");
        if (done(r, IORING_OP_RECV, fd, in, sizeof in, MSG_WAITALL) != sizeof in) fail("recv by ring");
        if (memcmp(in, out, sizeof in)) fail("other bytes by ring in round %d", i);
    }
}
CASE(uring_by_system_calls, LANE) {
    struct ring r = {.call = libc_call};
    int fd = warm(), ends[2];
    char text[8] = "";
    warm_pair(ends);
    if (!send_all(ends[0], "unread", 6)) fail("send");
    make(&r);
    from_now(KERNEL("io_uring works past Sluice"));
    for (int i = 0; i < 3; i++) ring_talk(&r, fd, 30), talk(fd, 30);
    if (done(&r, IORING_OP_RECV, ends[1], text, 6, MSG_WAITALL) != 6 || strcmp(text, "unread")) fail("unread: '%s'", text);
    pass(ends[0], ends[1], 20);
    look(ends[0], ends[1]);
    ring_talk(&r, warm(), 30);
    close(r.fd);
    talk(warm(), 30);
}
CASE(uring_by_own_instructions, LANE) { // the lane stays, and the ring of the kernel does not see what comes by it
    struct ring r = {.call = raw_call};
    int fd = warm();
    if (getenv("SLUICE_CHAOS")) return;
    char text[8] = "";
    make(&r);
    look(fd, fd);
    if (!send_all(fd, "echoed", 6)) fail("send");
    if (poll(&(struct pollfd){fd, POLLIN, 0}, 1, 20000) != 1) fail("poll");
    int n = done(&r, IORING_OP_RECV, fd, text, 6, MSG_DONTWAIT);
    if (n != (is_as_said() ? -EAGAIN : 6)) fail("recv by ring: %d", n);
    if (is_as_said() && (!recv_all(fd, text, 6) || strcmp(text, "echoed"))) fail("'%s'", text);
    talk(fd, 30);
}
