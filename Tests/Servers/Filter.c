// Runs a command under the system call filter that a container engine, or a service manager, gives to ordinary servers.
// usage: filter container|service|service-kill|families COMMAND...
//
// container: the default set of Docker and its kin for a process without capabilities. service: systemd's @system-service with
// SystemCallErrorNumber=EPERM; service-kill: without it, so that a refused call ends the process; families: service-kill with
// RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6, which answers by an error in every case.
// All are written here as what they refuse; calls that are newer than they are do not exist (ENOSYS).
#define _GNU_SOURCE
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NAMESPACES (CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET)
enum { NEWEST = SYS_futex_waitv, MOST = 4096, AF_VSOCK_NUMBER = 40 };

static const int refused_by_both[] = {
    SYS_syslog, SYS_uselib, SYS_sysfs, SYS_vhangup, SYS_pivot_root, SYS__sysctl, SYS_chroot, SYS_acct, SYS_settimeofday,
    SYS_mount, SYS_umount2, SYS_swapon, SYS_swapoff, SYS_reboot, SYS_sethostname, SYS_setdomainname, SYS_iopl, SYS_ioperm,
    SYS_create_module, SYS_init_module, SYS_delete_module, SYS_get_kernel_syms, SYS_query_module, SYS_quotactl,
    SYS_nfsservctl, SYS_getpmsg, SYS_putpmsg, SYS_afs_syscall, SYS_tuxcall, SYS_security, SYS_lookup_dcookie,
    SYS_clock_settime, SYS_vserver, SYS_kexec_load, SYS_perf_event_open, SYS_fanotify_init, SYS_open_by_handle_at,
    SYS_finit_module, SYS_kexec_file_load, SYS_bpf, SYS_userfaultfd, SYS_open_tree, SYS_move_mount, SYS_fsopen,
    SYS_fsconfig, SYS_fsmount, SYS_fspick, SYS_pidfd_getfd, SYS_mount_setattr, SYS_quotactl_fd, SYS_ustat, -1,
};
static const int refused_by_container[] = {
    SYS_mbind, SYS_set_mempolicy, SYS_get_mempolicy, SYS_add_key, SYS_request_key, SYS_keyctl, SYS_migrate_pages,
    SYS_unshare, SYS_move_pages, SYS_setns, SYS_kcmp, SYS_io_uring_setup, SYS_io_uring_enter, SYS_io_uring_register,
    SYS_process_madvise, -1,
};
static const int refused_by_service[] = {
    SYS_ptrace, SYS_modify_ldt, SYS_adjtimex, SYS_clock_adjtime, SYS_seccomp, SYS_landlock_add_rule,
    SYS_landlock_create_ruleset, SYS_landlock_restrict_self, SYS_fanotify_mark, SYS_name_to_handle_at, -1,
};

static struct sock_filter code[MOST];
static unsigned short length;
static unsigned refusal = SECCOMP_RET_ERRNO | EPERM;

static void add(unsigned short what, unsigned char yes, unsigned char no, unsigned value) {
    code[length++] = (struct sock_filter){what, yes, no, value};
}
static void answer(unsigned value) { add(BPF_RET | BPF_K, 0, 0, value); }
static void load(size_t offset) { add(BPF_LD | BPF_W | BPF_ABS, 0, 0, (unsigned)offset); }

static void refuse(const int *numbers) {
    for (; *numbers >= 0; numbers++) {
        add(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, (unsigned)*numbers);
        answer(refusal);
    }
}

/// No call may make a namespace or a socket of a virtual machine; clone3, whose flags cannot be read, does not exist.
static void refuse_by_arguments(void) {
    add(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, SYS_clone3);
    answer(SECCOMP_RET_ERRNO | ENOSYS);
    add(BPF_JMP | BPF_JEQ | BPF_K, 0, 4, SYS_clone);
    load(offsetof(struct seccomp_data, args[0]));
    add(BPF_JMP | BPF_JSET | BPF_K, 0, 1, NAMESPACES);
    answer(SECCOMP_RET_ERRNO | EPERM);
    load(offsetof(struct seccomp_data, nr));
    add(BPF_JMP | BPF_JEQ | BPF_K, 0, 4, SYS_socket);
    load(offsetof(struct seccomp_data, args[0]));
    add(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, AF_VSOCK_NUMBER);
    answer(SECCOMP_RET_ERRNO | EPERM);
    load(offsetof(struct seccomp_data, nr));
}

static void refuse_families(void) {
    add(BPF_JMP | BPF_JEQ | BPF_K, 1, 0, SYS_socket);
    add(BPF_JMP | BPF_JEQ | BPF_K, 0, 5, SYS_socketpair);
    load(offsetof(struct seccomp_data, args[0]));
    add(BPF_JMP | BPF_JEQ | BPF_K, 3, 0, AF_UNIX);
    add(BPF_JMP | BPF_JEQ | BPF_K, 2, 0, AF_INET);
    add(BPF_JMP | BPF_JEQ | BPF_K, 1, 0, AF_INET6);
    answer(SECCOMP_RET_ERRNO | EAFNOSUPPORT);
    load(offsetof(struct seccomp_data, nr));
}

int main(int count, char **arguments) {
    static const char *const kinds[] = {"container", "service", "service-kill", "families"};
    int kind = 0;
    while (kind < 4 && (count < 3 || strcmp(arguments[1], kinds[kind]) != 0)) kind++;
    if (kind == 4) {
        fprintf(stderr, "usage: filter container|service|service-kill|families COMMAND...\n");
        return 2;
    }
    int container = kind == 0;
    if (kind >= 2) refusal = SECCOMP_RET_KILL_PROCESS;
    load(offsetof(struct seccomp_data, arch));
    add(BPF_JMP | BPF_JEQ | BPF_K, 1, 0, AUDIT_ARCH_X86_64);
    answer(SECCOMP_RET_KILL_PROCESS);
    load(offsetof(struct seccomp_data, nr));
    add(BPF_JMP | BPF_JGT | BPF_K, 0, 1, NEWEST);
    answer(SECCOMP_RET_ERRNO | ENOSYS);
    refuse(refused_by_both);
    refuse(container ? refused_by_container : refused_by_service);
    if (container) refuse_by_arguments();
    if (kind == 3) refuse_families();
    answer(SECCOMP_RET_ALLOW);
    struct sock_fprog program = {length, code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) {
        perror("filter");
        return 1;
    }
    execvp(arguments[2], arguments + 2);
    perror(arguments[2]);
    return 127;
}
