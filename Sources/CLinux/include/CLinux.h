/// Thin shims over Linux: raw system calls that touch neither errno nor cancellation, atomics over plain words, the
/// thread-local block, and constants that Swift cannot import from macros.
#pragma once
#ifndef _GNU_SOURCE
#error "_GNU_SOURCE is needed"
#endif
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>

/// Of library and tools; Scripts/sluice, which runs without them, says the same.
#define SLC_VERSION "0.1.0"

#define SLC_HIDDEN __attribute__((visibility("hidden")))
#define SLC_INLINE static inline __attribute__((always_inline))

// MARK: raw system calls (result or -errno)

SLC_INLINE long slc_syscall6(long nr, long a, long b, long c, long d, long e, long f) {
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    long ret;
    __asm__ volatile("syscall"
                     : "=a"(ret)
                     : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return ret;
}
SLC_INLINE long slc_syscall3(long nr, long a, long b, long c) {
    long ret;
    __asm__ volatile("syscall" : "=a"(ret) : "a"(nr), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
    return ret;
}
SLC_INLINE long slc_syscall4(long nr, long a, long b, long c, long d) {
    register long r10 __asm__("r10") = d;
    long ret;
    __asm__ volatile("syscall" : "=a"(ret) : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10) : "rcx", "r11", "memory");
    return ret;
}

#define SLC_P(x) ((long)(uintptr_t)(x))
SLC_INLINE long slc_read(int fd, void *p, size_t n) { return slc_syscall3(SYS_read, fd, SLC_P(p), (long)n); }
SLC_INLINE long slc_write(int fd, const void *p, size_t n) { return slc_syscall3(SYS_write, fd, SLC_P(p), (long)n); }
SLC_INLINE long slc_pread(int fd, void *p, size_t n, off_t o) { return slc_syscall4(SYS_pread64, fd, SLC_P(p), (long)n, o); }
SLC_INLINE long slc_close(int fd) { return slc_syscall3(SYS_close, fd, 0, 0); }
SLC_INLINE long slc_socket(int d, int t, int p) { return slc_syscall3(SYS_socket, d, t, p); }
SLC_INLINE long slc_bind(int fd, const void *a, uint32_t n) { return slc_syscall3(SYS_bind, fd, SLC_P(a), n); }
SLC_INLINE long slc_connect(int fd, const void *a, uint32_t n) { return slc_syscall3(SYS_connect, fd, SLC_P(a), n); }
SLC_INLINE long slc_listen(int fd, int n) { return slc_syscall3(SYS_listen, fd, n, 0); }
SLC_INLINE long slc_accept4(int fd, void *a, uint32_t *n, int fl) { return slc_syscall4(SYS_accept4, fd, SLC_P(a), SLC_P(n), fl); }
SLC_INLINE long slc_shutdown(int fd, int how) { return slc_syscall3(SYS_shutdown, fd, how, 0); }
SLC_INLINE long slc_getsockname(int fd, void *a, uint32_t *n) { return slc_syscall3(SYS_getsockname, fd, SLC_P(a), SLC_P(n)); }
SLC_INLINE long slc_getpeername(int fd, void *a, uint32_t *n) { return slc_syscall3(SYS_getpeername, fd, SLC_P(a), SLC_P(n)); }
SLC_INLINE long slc_getsockopt(int fd, int l, int o, void *v, uint32_t *n) {
    return slc_syscall6(SYS_getsockopt, fd, l, o, SLC_P(v), SLC_P(n), 0);
}
SLC_INLINE long slc_setsockopt(int fd, int l, int o, const void *v, uint32_t n) {
    return slc_syscall6(SYS_setsockopt, fd, l, o, SLC_P(v), n, 0);
}
SLC_INLINE long slc_sendto(int fd, const void *p, size_t n, int fl) {
    return slc_syscall6(SYS_sendto, fd, SLC_P(p), (long)n, fl, 0, 0);
}
SLC_INLINE long slc_recvfrom(int fd, void *p, size_t n, int fl) {
    return slc_syscall6(SYS_recvfrom, fd, SLC_P(p), (long)n, fl, 0, 0);
}
SLC_INLINE long slc_sched_yield(void) { return slc_syscall3(SYS_sched_yield, 0, 0, 0); }
SLC_INLINE long slc_sendmsg(int fd, const struct msghdr *m, int fl) { return slc_syscall3(SYS_sendmsg, fd, SLC_P(m), fl); }
SLC_INLINE long slc_recvmsg(int fd, struct msghdr *m, int fl) { return slc_syscall3(SYS_recvmsg, fd, SLC_P(m), fl); }
SLC_INLINE long slc_ioctl(int fd, unsigned long r, void *p) { return slc_syscall3(SYS_ioctl, fd, (long)r, SLC_P(p)); }
SLC_INLINE long slc_fcntl(int fd, int cmd, long arg) { return slc_syscall3(SYS_fcntl, fd, cmd, arg); }
SLC_INLINE long slc_ppoll(struct pollfd *p, size_t n, const struct timespec *t, const sigset_t *m) {
    struct timespec copy;
    if (t) copy = *t;
    return slc_syscall6(SYS_ppoll, SLC_P(p), (long)n, SLC_P(t ? &copy : 0), SLC_P(m), 8, 0);
}
SLC_INLINE long slc_epoll_create1(int fl) { return slc_syscall3(SYS_epoll_create1, fl, 0, 0); }
SLC_INLINE long slc_epoll_ctl(int ep, int op, int fd, struct epoll_event *e) {
    return slc_syscall4(SYS_epoll_ctl, ep, op, fd, SLC_P(e));
}
SLC_INLINE long slc_epoll_wait(int ep, struct epoll_event *e, int n, int ms) {
    return slc_syscall6(SYS_epoll_pwait, ep, SLC_P(e), n, ms, 0, 8);
}
SLC_INLINE long slc_eventfd(unsigned v, int fl) { return slc_syscall3(SYS_eventfd2, v, fl, 0); }
SLC_INLINE long slc_memfd_create(const char *name, unsigned fl) { return slc_syscall3(SYS_memfd_create, SLC_P(name), fl, 0); }
SLC_INLINE long slc_ftruncate(int fd, off_t n) { return slc_syscall3(SYS_ftruncate, fd, n, 0); }
SLC_INLINE long slc_fallocate(int fd, int mode, off_t o, off_t n) { return slc_syscall4(SYS_fallocate, fd, mode, o, n); }
/// Address, or a value in -4095...-1.
SLC_INLINE long slc_mmap(void *a, size_t n, int prot, int fl, int fd, off_t o) {
    return slc_syscall6(SYS_mmap, SLC_P(a), (long)n, prot, fl, fd, o);
}
SLC_INLINE long slc_munmap(void *a, size_t n) { return slc_syscall3(SYS_munmap, SLC_P(a), (long)n, 0); }
SLC_INLINE long slc_mprotect(void *a, size_t n, int prot) { return slc_syscall3(SYS_mprotect, SLC_P(a), (long)n, prot); }
SLC_INLINE long slc_madvise(void *a, size_t n, int adv) { return slc_syscall3(SYS_madvise, SLC_P(a), (long)n, adv); }
SLC_INLINE long slc_munlock(void *a, size_t n) { return slc_syscall3(SYS_munlock, SLC_P(a), (long)n, 0); }
SLC_INLINE long slc_futex_wait(uint32_t *w, uint32_t v, const struct timespec *t) {
    return slc_syscall6(SYS_futex, SLC_P(w), FUTEX_WAIT, v, SLC_P(t), 0, 0);
}
SLC_INLINE long slc_futex_wake(uint32_t *w, int n) { return slc_syscall6(SYS_futex, SLC_P(w), FUTEX_WAKE, n, 0, 0, 0); }
SLC_INLINE int slc_getpid(void) { return (int)slc_syscall3(SYS_getpid, 0, 0, 0); }
SLC_INLINE int slc_gettid(void) { return (int)slc_syscall3(SYS_gettid, 0, 0, 0); }
SLC_INLINE uint32_t slc_geteuid(void) { return (uint32_t)slc_syscall3(SYS_geteuid, 0, 0, 0); }
SLC_INLINE long slc_getrandom(void *p, size_t n) { return slc_syscall3(SYS_getrandom, SLC_P(p), (long)n, 1 /* NONBLOCK */); }
SLC_INLINE long slc_openat(int d, const char *path, int fl) { return slc_syscall4(SYS_openat, d, SLC_P(path), fl, 0); }
SLC_INLINE long slc_readlink(const char *path, char *b, size_t n) { return slc_syscall4(SYS_readlinkat, AT_FDCWD, SLC_P(path), SLC_P(b), (long)n); }
SLC_INLINE long slc_prlimit(int res, const struct rlimit *n, struct rlimit *o) {
    return slc_syscall4(SYS_prlimit64, 0, res, SLC_P(n), SLC_P(o));
}
SLC_INLINE long slc_get_robust_list(unsigned long *head, long *length) {
    return slc_syscall3(SYS_get_robust_list, 0, SLC_P(head), SLC_P(length));
}
/// Stands in for a thread's robust list where libc has registered none.
SLC_HIDDEN uint64_t *slc_no_robust_list(void);
SLC_INLINE long slc_kill(int pid, int sig) { return slc_syscall3(SYS_kill, pid, sig, 0); }
/// A signal to the calling thread.
SLC_INLINE long slc_raise(int sig) { return slc_syscall3(SYS_tgkill, slc_getpid(), slc_gettid(), sig); }

// MARK: odd structures (CLinux.c); 0 or a value, or -errno

/// An address with IPv4 stored mapped (::ffff:a.b.c.d); port in host order.
struct slc_address {
    uint8_t ip[16];
    uint16_t port, family;
    uint32_t scope;
};
/// The local (`peer` 0) or remote address of an IPv4 or IPv6 socket; -EAFNOSUPPORT for others.
SLC_HIDDEN long slc_socket_address(int fd, int peer, struct slc_address *out);
/// The address in a sockaddr of `length` bytes; -EAFNOSUPPORT when it is none of IPv4 or IPv6, or too short for its family.
SLC_HIDDEN long slc_address_of(const void *name, uint32_t length, struct slc_address *out);
/// Writes the sockaddr of an address, as much of it as there is room for; returns its whole length.
SLC_HIDDEN uint32_t slc_name_of(const struct slc_address *a, void *name, uint32_t room);
/// An abstract unix address made of `name`; returns its length for bind and connect.
SLC_HIDDEN uint32_t slc_abstract(struct sockaddr_un *out, const void *name, size_t length);
/// Sends one message, with `pass` as a descriptor when it is not negative.
SLC_HIDDEN long slc_send_message(int fd, const void *p, size_t n, int pass);
/// Receives one message without blocking; at most one descriptor is kept in *passed (else -1), others are closed.
/// -EPROTO when the message was cut off.
SLC_HIDDEN long slc_receive_message(int fd, void *p, size_t n, int *passed);
/// Byte counts of an established TCP connection, with `after_fin` also of one whose peer has ended (the FIN is not counted);
/// -ENOTCONN when it is in any other state.
SLC_HIDDEN long slc_tcp_counts(int fd, int after_fin, uint64_t *acked, uint64_t *received);
/// Another number when the peer has acknowledged more, or has made room by reading (TCP_INFO: bytes_acked, snd_wnd).
SLC_HIDDEN uint64_t slc_tcp_progress(int fd);
/// Inode of the established TCP socket at `found` whose other end is `other`, or of the UDP socket to which a datagram from
/// `other` to `found` would go, as this network namespace's sock_diag tells.
SLC_HIDDEN long slc_diag_inode(int netlink, int protocol, const struct slc_address *found, const struct slc_address *other, uint32_t *inode);
/// The inode of the one member of the epoll set `fd`, by /proc; -EPERM when it is no epoll set with exactly one member.
SLC_HIDDEN long slc_epoll_member_inode(int fd, uint64_t *inode);
/// The process's command name into 32 bytes at `target`.
SLC_HIDDEN long slc_own_name(char *target);
/// What cpu.max of a control group says (cgroups(7), version 2), in thousandths of a CPU; 0: no quota, or not understood.
SLC_HIDDEN uint32_t slc_parse_quota(const char *text, size_t n);
/// The least quota of this process's group and those above it; 0: none. Reads some files.
SLC_HIDDEN uint32_t slc_cpu_quota(void);
/// 1 when `fd` is a tmpfs file of exactly this size, sealed against shrinking, growing and further seals.
SLC_HIDDEN long slc_is_sealed_memory(int fd, uint64_t bytes);
/// Opens a file for lines at its end, made where there is none; no symbolic link. The descriptor, or -errno.
SLC_HIDDEN long slc_open_log(const char *path);
/// One line `sluice[PID]: TEXT` to `fd`, where %s stands for `word` and %d for `number`. Left out where it would block, or
/// raise SIGPIPE or SIGXFSZ.
SLC_HIDDEN void slc_log(int fd, const char *text, const char *word, long number);
/// 1 when the process has exactly the capabilities, effective and permitted, of the calling thread (capget(2)); 0: others; or -errno.
SLC_HIDDEN long slc_has_our_capabilities(int pid);
/// SO_PEERCRED: process id of the other end, in our namespace.
SLC_HIDDEN long slc_peer_pid(int fd);
/// The first line of a file that begins so, in `text`, without its end; null: none.
SLC_HIDDEN char *slc_find_line(const char *path, const char *start, char *text, size_t size);
/// Is this thread under a filter of system calls (seccomp)?
SLC_HIDDEN int slc_is_filtered(void);
/// Does a child live that makes every system call of ours once, with those that take descriptors of others or without, with the
/// opening of a log file or without?
SLC_HIDDEN int slc_trial(int with_peers_descriptors, int with_log_file);
/// slc_foreign_descriptor fails from now on: a filter kills at it.
SLC_HIDDEN void slc_refuse_foreign_descriptors(void);
/// A duplicate of another process's descriptor (pidfd_getfd(2): what ptrace access allows).
SLC_HIDDEN long slc_foreign_descriptor(int pid, int number);
/// 1 when the descriptor is a regular file.
SLC_HIDDEN long slc_is_regular(int fd);
/// The inode of a descriptor, 0 on failure.
SLC_HIDDEN uint64_t slc_inode(int fd);
/// What a line of /proc/net/softnet_stat says of packets that wait for its CPU, its twelfth word; -1: it does not (before Linux 5.10).
SLC_HIDDEN long slc_parse_backlog(const char *line);
/// Packets that this host has sent to itself and that no socket has yet, of all CPUs; or -errno.
SLC_HIDDEN long slc_backlog(void);
/// Calls `each(argument, number, data)` for every member of the epoll set `fd`, by /proc. 0, or -errno.
SLC_HIDDEN long slc_each_epoll_member(int fd, void (*each)(void *argument, int number, uint64_t data), void *argument);
/// SO_PEERCRED: user id of the other end, as it was at connect or listen.
SLC_HIDDEN long slc_peer_credentials(int fd, uint32_t *uid, int32_t *pid);

// MARK: atomics over plain words (shared memory, TLS)

#define SLC_ATOMICS(T, S)                                                                                              \
    SLC_INLINE T slc_relaxed_##S(const T *p) { return __atomic_load_n(p, __ATOMIC_RELAXED); }                          \
    SLC_INLINE T slc_acquire_##S(const T *p) { return __atomic_load_n(p, __ATOMIC_ACQUIRE); }                          \
    SLC_INLINE void slc_set_##S(T *p, T v) { __atomic_store_n(p, v, __ATOMIC_RELAXED); }                               \
    SLC_INLINE void slc_release_##S(T *p, T v) { __atomic_store_n(p, v, __ATOMIC_RELEASE); }                           \
    SLC_INLINE T slc_exchange_##S(T *p, T v) { return __atomic_exchange_n(p, v, __ATOMIC_SEQ_CST); }                   \
    SLC_INLINE T slc_or_##S(T *p, T v) { return __atomic_fetch_or(p, v, __ATOMIC_SEQ_CST); }                           \
    SLC_INLINE T slc_and_##S(T *p, T v) { return __atomic_fetch_and(p, v, __ATOMIC_SEQ_CST); }                         \
    SLC_INLINE T slc_add_##S(T *p, T v) { return __atomic_fetch_add(p, v, __ATOMIC_SEQ_CST); }                         \
    SLC_INLINE T slc_sub_##S(T *p, T v) { return __atomic_fetch_sub(p, v, __ATOMIC_SEQ_CST); }                         \
    SLC_INLINE _Bool slc_cas_##S(T *p, T expected, T v) {                                                              \
        return __atomic_compare_exchange_n(p, &expected, v, 0, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);                    \
    }
SLC_ATOMICS(uint32_t, u32)
SLC_ATOMICS(uint64_t, u64)
SLC_INLINE void slc_fence(void) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
SLC_INLINE void slc_compiler_fence(void) { __atomic_signal_fence(__ATOMIC_SEQ_CST); }
SLC_INLINE void slc_pause(void) { __builtin_ia32_pause(); }
SLC_INLINE uint64_t slc_tsc(void) { return __builtin_ia32_rdtsc(); }
/// The CPU this thread runs on now (rdtscp's auxiliary word; no system call).
SLC_INLINE uint32_t slc_cpu(void) {
    unsigned aux;
    __builtin_ia32_rdtscp(&aux);
    return aux & 0xfff;
}
/// CLOCK_MONOTONIC in nanoseconds (vDSO).
SLC_INLINE uint64_t slc_now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}
/// CLOCK_REALTIME in nanoseconds (vDSO).
SLC_INLINE uint64_t slc_real_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

// MARK: the thread-local block

/// One per thread, initial-exec. Plain fields: only the thread and its own signal handlers touch them.
struct slc_thread {
    /// Depth of critical sections; above zero, handlers are deferred.
    uint32_t critical;
    /// A handler waits to run when `critical` returns to zero.
    uint32_t deferred;
    /// Kernel thread id, 0 until known; reset in a fork child.
    uint32_t tid;
    /// Handlers run on this thread since its start, with and without SA_RESTART.
    uint32_t handlers_restart;
    uint32_t handlers_norestart;
    /// The address of the thread's `struct robust_list_head`, 0 until known.
    uint64_t robust_head;
    /// What stood in its list_op_pending before ours (libc's own, when a handler interrupted it).
    uint64_t robust_saved;
    /// SharedMemory's and Sockets' per-thread waiter (address), 0 until the first sleep.
    uint64_t waiter;
    /// Sockets' records of what the calls of this thread hold (address), 0 until the first one; how many, and room for.
    uint64_t held;
    uint32_t held_count, held_room;
    /// We are inside one of our own entry points (guards against re-entry through malloc or handlers).
    uint32_t inside;
    /// Handlers have run on a stack that the kernel forgets meanwhile (SS_AUTODISARM).
    uint32_t hidden_stack;
    /// Number of the last fork that the thread has prepared, in this process.
    uint32_t fork;
    /// How often waits of this thread have slept.
    uint32_t sleeps;
};
extern __thread struct slc_thread slc_thread_block __attribute__((tls_model("initial-exec"), visibility("hidden")));
SLC_INLINE struct slc_thread *slc_self(void) { return &slc_thread_block; }

/// The frame of the function that this stands in.
SLC_INLINE uint64_t slc_frame(void) { return (uint64_t)(uintptr_t)__builtin_frame_address(0); }
/// Where the thread's alternate signal stack lies; both 0 when there is none.
SLC_INLINE void slc_signal_stack(uint64_t *low, uint64_t *high) {
    stack_t now;
    *low = *high = 0;
    if (slc_syscall3(SYS_sigaltstack, 0, SLC_P(&now), 0) || now.ss_flags & SS_DISABLE) return;
    *low = (uint64_t)(uintptr_t)now.ss_sp;
    *high = *low + now.ss_size;
}

/// Runs the handler that was deferred while `critical` was above zero. Defined in CInterpose.
void slc_run_deferred(void) __attribute__((visibility("hidden")));

/// Enters and leaves a critical section (at most 1 us, no wait inside).
SLC_INLINE void slc_enter(void) {
    slc_self()->critical++;
    slc_compiler_fence();
}
SLC_INLINE void slc_leave(void) {
    slc_compiler_fence();
    struct slc_thread *t = slc_self();
    if (--t->critical == 0 && __builtin_expect(t->deferred, 0)) slc_run_deferred();
}

// MARK: calls that may be left

/// On the stack of a call that counts on something: what is to run when the thread leaves the call by siglongjmp out of a
/// handler, by cancellation or by pthread_exit. (The old form of cleanup handlers: glibc's longjmp runs them as well.)
struct slc_stay {
    struct _pthread_cleanup_buffer buffer;
};
void _pthread_cleanup_push(struct _pthread_cleanup_buffer *buffer, void (*routine)(void *), void *argument);
void _pthread_cleanup_pop(struct _pthread_cleanup_buffer *buffer, int execute);
SLC_INLINE void slc_begin_stay(struct slc_stay *stay, void (*left)(void *), void *argument) {
    _pthread_cleanup_push(&stay->buffer, left, argument);
}
SLC_INLINE void slc_end_stay(struct slc_stay *stay) { _pthread_cleanup_pop(&stay->buffer, 0); }

// MARK: the descriptor table (process-private; docs in Sockets/DescriptorTable.swift)

#define SLC_FD_CHUNK_BITS 10
#define SLC_FD_CHUNKS 4096
#define SLC_FD_MAX (SLC_FD_CHUNKS << SLC_FD_CHUNK_BITS)
extern uint64_t *slc_fd_chunks[SLC_FD_CHUNKS] __attribute__((visibility("hidden")));

SLC_INLINE void *slc_fd_root(void) { return slc_fd_chunks; }

/// Kinds of entries, in the low five bits.
enum {
    SLC_FD_NONE = 0,      ///< not ours
    SLC_FD_ENDPOINT = 1,  ///< a socket that Sluice tracks; the address is its `sl_endpoint`
    SLC_FD_EPOLL = 2,     ///< an epoll set that Sluice tracks
    SLC_FD_OWN = 3,       ///< a descriptor of Sluice itself: the program must not close or replace it
};
#define SLC_FD_KIND(e) ((unsigned)((e) & 31))
/// Of an epoll set: the kernel alone serves it so far, so a look at it is the real call. Any change of that is seen in the
/// word afterwards.
#define SLC_FD_PLAIN_SET 32u
#define SLC_FD_ADDRESS(e) ((e) & 0x0000ffffffffffc0ull)
#define SLC_FD_GENERATION(e) ((unsigned)((e) >> 48))

SLC_INLINE uint64_t slc_fd_entry(int fd) {
    unsigned u = (unsigned)fd;
    if (__builtin_expect(u >= SLC_FD_MAX, 0)) return 0;
    uint64_t *c = __atomic_load_n(&slc_fd_chunks[u >> SLC_FD_CHUNK_BITS], __ATOMIC_RELAXED);
    if (!c) return 0;
    return __atomic_load_n(&c[u & ((1u << SLC_FD_CHUNK_BITS) - 1)], __ATOMIC_ACQUIRE);
}
