#include "Interpose.h"
#include <dlfcn.h>

// Before the table is filled: the system call itself.
#define X(result, name, parameters, arguments, call)                                                                   \
    static result raw_##name parameters { return (result)sli_result(call); }
SLI_CALLS(X)
#undef X

void *sli_next(const char *name) {
    // The pointer goes through a volatile so that no call of dlsym with RTLD_NEXT is ever the last of a function: as a
    // tail call it would look after the caller's caller.
    void *volatile found = dlsym(RTLD_NEXT, name);
    return found;
}

// Before the table is filled: look up, then call. A null means that this libc has no such function.
#define X(result, name, parameters, arguments, missing)                                                                \
    static result first_##name parameters {                                                                            \
        void *found = sli_next(#name);                                                                                 \
        if (!found) {                                                                                                  \
            errno = ENOSYS;                                                                                            \
            return missing;                                                                                            \
        }                                                                                                              \
        __atomic_store_n((void **)&sli_real.name, found, __ATOMIC_RELAXED);                                            \
        return ((result(*) parameters)found)arguments;                                                                 \
    }
SLI_EARLY_FUNCTIONS(X)
SLI_LATE_FUNCTIONS(X)
#undef X

struct sli_real sli_real = {
#define X(result, name, ...) .name = raw_##name,
    SLI_CALLS(X)
#undef X
#define X(result, name, ...) .name = first_##name,
    SLI_EARLY_FUNCTIONS(X) SLI_LATE_FUNCTIONS(X)
#undef X
};

enum { EMPTY, FILLING, FILLED };
static uint32_t state = EMPTY;

void sli_resolve(void) {
    if (!slc_cas_u32(&state, EMPTY, FILLING)) return;
    // What a libc lacks keeps its system call, which may answer ENOSYS.
#define X(result, name, ...)                                                                                           \
    {                                                                                                                  \
        void *found = sli_next(#name);                                                                                 \
        if (found) __atomic_store_n((void **)&sli_real.name, found, __ATOMIC_RELAXED);                                 \
    }
    SLI_CALLS(X)
    SLI_EARLY_FUNCTIONS(X)
#undef X
    slc_release_u32(&state, FILLED);
}

// What the core calls. errno stays as it was: a failed call inside a successful one must not show.

#define SLI_KEEPING_ERRNO(call)                                                                                        \
    int saved = errno;                                                                                                 \
    long result = (long)(call);                                                                                        \
    if (result < 0) {                                                                                                  \
        result = -errno;                                                                                               \
        errno = saved;                                                                                                 \
    }                                                                                                                  \
    return result

long sluice_real_recv(int fd, void *buffer, size_t length, int flags, int call) {
    SLI_KEEPING_ERRNO(call == SLUICE_CALL_READ ? SLI_REAL(read)(fd, buffer, length) : SLI_REAL(recv)(fd, buffer, length, flags));
}
long sluice_real_send(int fd, const void *buffer, size_t length, int flags, int call) {
    SLI_KEEPING_ERRNO(call == SLUICE_CALL_WRITE ? SLI_REAL(write)(fd, buffer, length) : SLI_REAL(send)(fd, buffer, length, flags));
}
long sluice_real_connect(int fd, const struct sockaddr *address, socklen_t length) {
    SLI_KEEPING_ERRNO(SLI_REAL(connect)(fd, address, length));
}
long sluice_real_recvmsg(int fd, struct msghdr *msg, int flags) { SLI_KEEPING_ERRNO(SLI_REAL(recvmsg)(fd, msg, flags)); }
long sluice_real_sendmsg(int fd, const struct msghdr *msg, int flags) { SLI_KEEPING_ERRNO(SLI_REAL(sendmsg)(fd, msg, flags)); }
long sluice_real_recvmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags, struct timespec *timeout) {
    SLI_KEEPING_ERRNO(SLI_REAL(recvmmsg)(fd, messages, count, flags, timeout));
}
long sluice_real_sendmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags) {
    SLI_KEEPING_ERRNO(SLI_REAL(sendmmsg)(fd, messages, count, flags));
}
long sluice_real_readv(int fd, const struct iovec *iov, size_t count) { SLI_KEEPING_ERRNO(SLI_REAL(readv)(fd, iov, (int)count)); }
long sluice_real_writev(int fd, const struct iovec *iov, size_t count) {
    SLI_KEEPING_ERRNO(SLI_REAL(writev)(fd, iov, (int)count));
}
long sluice_real_ppoll(struct pollfd *fds, size_t count, const struct timespec *timeout, const sigset_t *mask) {
    SLI_KEEPING_ERRNO(SLI_REAL(ppoll)(fds, count, timeout, mask));
}
long sluice_real_sendfile(int fd, int in, off_t *offset, size_t count) { SLI_KEEPING_ERRNO(SLI_REAL(sendfile)(fd, in, offset, count)); }

static int wait_exactly(int set, struct epoll_event *events, int max, int64_t timeout_ns, const sigset_t *mask) {
    int64_t ms = timeout_ns < 0 ? -1 : timeout_ns / 1000000;
    if (timeout_ns > 0 && timeout_ns % 1000000) {
        struct timespec t = {timeout_ns / 1000000000, timeout_ns % 1000000000};
        int got = SLI_REAL(epoll_pwait2)(set, events, max, &t, mask);
        if (got >= 0 || errno != ENOSYS) return got;
        ms++; // a kernel before 5.11: never earlier than asked
    }
    int whole = ms > INT32_MAX ? INT32_MAX : (int)ms;
    return mask ? SLI_REAL(epoll_pwait)(set, events, max, whole, mask) : SLI_REAL(epoll_wait)(set, events, max, whole);
}
long sluice_real_epoll_pwait(int set, struct epoll_event *events, int max, int64_t timeout_ns, const sigset_t *mask) {
    SLI_KEEPING_ERRNO(wait_exactly(set, events, max, timeout_ns, mask));
}
