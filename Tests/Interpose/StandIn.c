// A small core in place of the Swift one: every internet socket and epoll set is tracked, every entry forwards to the
// kernel and is counted. So the exercise must give the kernel's transcript, and the counts show that each door was used.
#include "../../Sources/CInterpose/include/SluiceEntry.h"
#include "StandIn.h"

enum {
#define X(name) E_##name,
    ENTRIES(X) COUNT
#undef X
};
static uint32_t *counts; // shared with children
#define SEEN(name) (counts ? (void)slc_add_u32(&counts[E_##name], 1) : (void)0)

static int own = -1; // a descriptor of the core's own, for the closing loops
static int home;     // the process whose tables these are

static void store(int fd, unsigned kind) {
    static uint32_t record[16] __attribute__((aligned(64))); // every endpoint's, of generation 0
    if (fd < 0 || fd >= SLC_FD_MAX) return;
    uint64_t **chunk = &slc_fd_chunks[fd >> SLC_FD_CHUNK_BITS];
    if (!*chunk) *chunk = (uint64_t *)slc_mmap(NULL, 8u << SLC_FD_CHUNK_BITS, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    (*chunk)[fd & ((1 << SLC_FD_CHUNK_BITS) - 1)] = kind ? (uint64_t)(uintptr_t)record | kind : 0;
}
/// In a vfork child the table stays.
static void put(int fd, unsigned kind) {
    if (slc_getpid() == home) store(fd, kind);
}
static unsigned kind(int fd) { return SLC_FD_KIND(slc_fd_entry(fd)); }

// The counts stand in a file, one word per entry, mapped by every process of the run.
void sluice_start(void) {
    home = slc_getpid();
    const char *path = sluice_getenv("STANDIN_COUNTS");
    if (path) {
        int fd = (int)slc_openat(AT_FDCWD, path, O_RDWR | O_CLOEXEC);
        if (fd >= 0) {
            long at = slc_mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
            if (at > 0) counts = (uint32_t *)at;
            slc_close(fd);
        }
    }
    SEEN(start);
    if (sluice_getenv("STANDIN_OWN")) {
        int fd = (int)slc_eventfd(0, 0);
        own = (int)slc_fcntl(fd, F_DUPFD_CLOEXEC, 700);
        slc_close(fd);
        put(own, SLC_FD_OWN);
    }
}
void sluice_made_socket(int fd, int domain, int type, int protocol) {
    SEEN(made_socket);
    (void)protocol;
    put(fd, (domain == AF_INET || domain == AF_INET6) && (type & 15) == SOCK_STREAM ? SLC_FD_ENDPOINT : SLC_FD_NONE);
}
void sluice_made_accepted(int listener, uint64_t entry, int fd, int flags) {
    SEEN(made_accepted);
    (void)listener, (void)flags;
    put(fd, entry ? SLC_FD_ENDPOINT : SLC_FD_NONE);
}
void sluice_made_other(int fd) { SEEN(made_other), put(fd, SLC_FD_NONE); }
void sluice_made_epoll(int fd) { SEEN(made_epoll), put(fd, SLC_FD_EPOLL); }
long sluice_before_close(int fd, uint64_t entry) {
    SEEN(before_close);
    if (SLC_FD_KIND(entry) == SLC_FD_OWN) return -EBADF;
    put(fd, SLC_FD_NONE);
    return 0;
}
void sluice_duplicated(int from, uint64_t from_entry, int to) { SEEN(duplicated), (void)from, put(to, SLC_FD_KIND(from_entry)); }
long sluice_before_replace(int to, uint64_t entry) {
    SEEN(before_replace);
    if (SLC_FD_KIND(entry) == SLC_FD_OWN) { // moved away
        own = (int)slc_fcntl(to, F_DUPFD_CLOEXEC, 800);
        put(own, SLC_FD_OWN);
    }
    put(to, SLC_FD_NONE);
    return 0;
}
int sluice_next_own(int first, int last) {
    SEEN(next_own);
    return own >= first && own <= last && kind(own) == SLC_FD_OWN ? own : -1;
}

/// An entry of a number that is no internet socket any more: the door should have forgotten it.
static void check_alive(int fd, const char *name) {
    int domain = 0;
    socklen_t n = sizeof domain;
    long failed = slc_getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &n);
    if (failed == -EBADF || (!failed && (domain == AF_INET || domain == AF_INET6))) return;
    slc_write(1, "stale entry: ", 13);
    slc_write(1, name, strlen(name));
    slc_write(1, "\n", 1);
}
#define ENDPOINT(name) SEEN(name), (void)entry, check_alive(fd, #name)
long sluice_connect(int fd, uint64_t entry, const struct sockaddr *a, socklen_t n) { return ENDPOINT(connect), slc_connect(fd, a, n); }
long sluice_bind(int fd, uint64_t entry, const struct sockaddr *a, socklen_t n) { return ENDPOINT(bind), slc_bind(fd, a, n); }
long sluice_listen(int fd, uint64_t entry, int n) { return ENDPOINT(listen), slc_listen(fd, n); }
long sluice_shutdown(int fd, uint64_t entry, int how) { return ENDPOINT(shutdown), slc_shutdown(fd, how); }
long sluice_recv(int fd, uint64_t entry, void *b, size_t n, int flags, int call) {
    return ENDPOINT(recv), sluice_real_recv(fd, b, n, flags, call);
}
long sluice_send(int fd, uint64_t entry, const void *b, size_t n, int flags, int call) {
    return ENDPOINT(send), sluice_real_send(fd, b, n, flags, call);
}
long sluice_recvmsg(int fd, uint64_t entry, struct msghdr *m, const struct iovec *v, size_t n, int flags, int call) {
    (void)call;
    return ENDPOINT(recvmsg), m ? sluice_real_recvmsg(fd, m, flags) : sluice_real_readv(fd, v, n);
}
long sluice_sendmsg(int fd, uint64_t entry, const struct msghdr *m, const struct iovec *v, size_t n, int flags, int call) {
    (void)call;
    return ENDPOINT(sendmsg), m ? sluice_real_sendmsg(fd, m, flags) : sluice_real_writev(fd, v, n);
}
long sluice_recvmmsg(int fd, uint64_t entry, struct mmsghdr *m, unsigned n, int flags, struct timespec *t) {
    (void)m, (void)n, (void)flags, (void)t;
    return ENDPOINT(recvmsg), SLUICE_ONE_BY_ONE;
}
long sluice_sendmmsg(int fd, uint64_t entry, struct mmsghdr *m, unsigned n, int flags) {
    (void)m, (void)n, (void)flags;
    return ENDPOINT(sendmsg), SLUICE_ONE_BY_ONE;
}
long sluice_sendfile(int fd, uint64_t entry, int in, off_t *o, size_t n) { return ENDPOINT(sendfile), sluice_real_sendfile(fd, in, o, n); }
void sluice_hand_back(int fd, uint64_t entry, uint32_t reason) { ENDPOINT(hand_back), (void)reason, store(fd, SLC_FD_NONE); }
_Bool sluice_give_back(_Bool is_none_left) { (void)is_none_left; return SEEN(give_back), 0; }
void sluice_hand_back_all(uint32_t reason) { SEEN(hand_back_all), (void)reason; }
long sluice_getsockopt(int fd, uint64_t entry, int l, int o, void *v, socklen_t *n) { return ENDPOINT(getsockopt), slc_getsockopt(fd, l, o, v, n); }
long sluice_setsockopt(int fd, uint64_t entry, int l, int o, const void *v, socklen_t n) {
    return ENDPOINT(setsockopt), slc_setsockopt(fd, l, o, v, n);
}
long sluice_ioctl(int fd, uint64_t entry, unsigned long r, void *a) {
    ENDPOINT(ioctl);
    struct slc_thread *t = slc_self();
    if (r == STANDIN_HANDLERS) {
        ((uint32_t *)a)[0] = t->handlers_restart;
        ((uint32_t *)a)[1] = t->handlers_norestart;
        return 0;
    }
    if (r != STANDIN_CRITICAL) return slc_ioctl(fd, r, a);
    slc_enter();
    ((void (*)(void))a)();
    long waits = t->deferred;
    slc_leave();
    return waits;
}
long sluice_fcntl(int fd, uint64_t entry, int c, long a) { return ENDPOINT(fcntl), slc_fcntl(fd, c, a); }

long sluice_poll(struct pollfd *p, size_t n, int64_t ns, const sigset_t *m) {
    SEEN(poll);
    struct timespec t = {ns / 1000000000, ns % 1000000000};
    slc_self()->held_count++;
    long result = sluice_real_ppoll(p, n, ns < 0 ? NULL : &t, m);
    slc_self()->held_count--;
    return result;
}
long sluice_epoll_ctl(int set, uint64_t entry, int op, int fd, struct epoll_event *e) {
    (void)entry;
    return SEEN(epoll_ctl), slc_epoll_ctl(set, op, fd, e);
}
long sluice_epoll_wait(int set, uint64_t entry, struct epoll_event *e, int n, int64_t ns, const sigset_t *m) {
    (void)entry;
    return SEEN(epoll_wait), sluice_real_epoll_pwait(set, e, n, ns, m);
}

long sluice_epoll_sort(uint64_t entry, struct epoll_event *e, long n) {
    (void)entry, (void)e;
    return SEEN(epoll_sort), n;
}

void sluice_fork_prepare(void) { SEEN(fork_prepare); }
void sluice_fork_parent(void) { SEEN(fork_parent); }
void sluice_fork_failed(void) { SEEN(fork_failed); }
void sluice_fork_child(void) { SEEN(fork_child), home = slc_getpid(); }
void sluice_before_spawn(void) { SEEN(before_spawn); }
/// A jump out of a poll: from the frame of the handler, to one above that of the poll.
void sluice_before_jump(uint64_t target) {
    SEEN(before_jump);
    slc_self()->held_count = 0;
    if (target <= slc_frame() || target > slc_frame() + (1 << 20)) slc_write(1, "strange target\n", 15);
}
void sluice_before_exec(void) { SEEN(before_exec); }
void sluice_exec_failed(void) { SEEN(exec_failed); }
void sluice_at_exit(void) { SEEN(at_exit); }
void sluice_identity_changed(void) { SEEN(identity_changed); }
