// A filter of system calls that was there before the program: it may kill at a call that the program alone would never make.
// A child tries what Sluice will do, before this process does.
#include "CLinux.h"
#include <fcntl.h>
#include <linux/netlink.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

int slc_is_filtered(void) {
    // The loader has opened and read files under the same filter; prctl(2) may be what it kills at.
    char text[512];
    const char *line = slc_find_line("/proc/thread-self/status", "Seccomp:", text, sizeof text);
    return line && line[9] != '0';
}

/// Every call with arguments that do nothing, or that concern the child's own copies.
static void try_all(int with_peers_descriptors, int with_log_file) {
    struct rlimit none = {0, 0}, now;
    slc_syscall6(SYS_prlimit64, 0, RLIMIT_CORE, SLC_P(&none), 0, 0, 0);
    slc_syscall6(SYS_prlimit64, 0, RLIMIT_NOFILE, 0, SLC_P(&now), 0, 0);
    static const short harmless[] = { // at descriptor -1, or of no bytes
        SYS_ftruncate, SYS_fcntl, SYS_fallocate, SYS_fstatfs, SYS_fstat, SYS_pread64, SYS_readlinkat, SYS_sendmsg, SYS_recvmsg,
        SYS_sendto, SYS_recvfrom, SYS_bind, SYS_listen, SYS_connect, SYS_accept4, SYS_shutdown, SYS_getsockopt, SYS_setsockopt,
        SYS_getsockname, SYS_getpeername, SYS_ioctl, SYS_epoll_ctl, SYS_epoll_pwait, SYS_read, SYS_write, SYS_close, SYS_capget,
        SYS_sched_yield,
    };
    for (size_t i = 0; i < sizeof harmless / sizeof *harmless; i++) slc_syscall6(harmless[i], -1, 0, 0, 0, 0, 0);
    long fd = slc_memfd_create("sluice", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    slc_syscall3(SYS_ftruncate, fd, 4096, 0);
    slc_syscall3(SYS_fcntl, fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
    slc_syscall3(SYS_fcntl, fd, F_DUPFD_CLOEXEC, 3);
    long page = slc_syscall6(SYS_mmap, 0, 4096, PROT_NONE, MAP_SHARED, fd, 0);
    slc_syscall3(SYS_munlock, page, 4096, 0);
    slc_syscall3(SYS_mprotect, page, 4096, PROT_READ | PROT_WRITE);
    slc_syscall3(SYS_madvise, page, 4096, MADV_DONTFORK);
    slc_syscall3(SYS_munmap, page, 4096, 0);
    slc_syscall3(SYS_eventfd2, 0, O_CLOEXEC | O_NONBLOCK, 0);
    slc_syscall3(SYS_epoll_create1, O_CLOEXEC, 0, 0);
    slc_socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    slc_socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
    struct timespec zero = {0, 0};
    slc_syscall6(SYS_ppoll, 0, 0, SLC_P(&zero), 0, 8, 0);
    long list, length;
    slc_syscall3(SYS_get_robust_list, 0, SLC_P(&list), SLC_P(&length));
    slc_syscall3(SYS_sigaltstack, 0, 0, 0);
    slc_syscall3(SYS_geteuid, 0, 0, 0);
    slc_syscall3(SYS_getrandom, SLC_P(&list), 0, 0);
    slc_syscall3(SYS_kill, slc_getpid(), 0, 0);
    slc_syscall3(SYS_tgkill, slc_getpid(), slc_syscall3(SYS_gettid, 0, 0, 0), 0);
    int word = 0;
    slc_syscall6(SYS_futex, SLC_P(&word), 1 /* FUTEX_WAKE */, 0, 0, 0, 0);
    if (with_log_file) slc_open_log("");
    if (!with_peers_descriptors) return;
    slc_syscall3(434 /* pidfd_open */, slc_getpid(), 0, 0);
    slc_syscall3(438 /* pidfd_getfd */, -1, 0, 0);
}

int slc_trial(int with_peers_descriptors, int with_log_file) {
    sigset_t every, before;
    memset(&every, 0xff, sizeof every);
    if (slc_syscall6(SYS_rt_sigprocmask, SIG_SETMASK, SLC_P(&every), SLC_P(&before), 8, 0, 0) < 0) return 0;
    // A fork with no handlers and no signal at its end, that wait(2) of the program does not see.
    long pid = slc_syscall6(SYS_clone, 0, 0, 0, 0, 0, 0);
    if (pid == 0) {
        try_all(with_peers_descriptors, with_log_file);
        for (;;) slc_syscall3(SYS_exit_group, 0, 0, 0);
    }
    int status = -1;
    long ended = -1;
    if (pid > 0) ended = slc_syscall6(SYS_wait4, pid, SLC_P(&status), (long)(unsigned)__WCLONE, 0, 0, 0);
    slc_syscall6(SYS_rt_sigprocmask, SIG_SETMASK, SLC_P(&before), 0, 8, 0, 0);
    return pid > 0 && ended == pid && status == 0;
}
