// Another root, other namespaces, another identity in the middle of connections.
#include "Strange.h"
#include <grp.h>
#include <linux/capability.h>

/// `later`: where the bytes of connections that are made from now on are to be.
static void go_on(int fd, const char *later) {
    talk(fd, 100);
    look(fd, fd);
    from_now(later);
    int more = warm();
    talk(more, 100);
    talk(fd, 100);
    close(more);
    close(fd);
}
CASE(chroot_in_the_middle, LANE) {
    needs_root();
    int fd = warm();
    char path[] = "/tmp/strangeXXXXXX";
    if (!mkdtemp(path)) fail("mkdtemp");
    MUST(chdir(path));
    MUST(rmdir(path));
    SAY(chroot("."));
    go_on(fd, KERNEL("without /proc no end is proven"));
}
static void leave(int flags) {
    if (unshare(flags) < 0 && errno == EPERM) skip("unshare is not allowed");
}
static void unshared(int flags) {
    int fd = warm();
    leave(flags);
    talk(fd, 200);
    look(fd, fd);
    close(fd);
}
CASE(other_network_in_the_middle, LANE) { unshared(CLONE_NEWNET); }
CASE(other_mounts_in_the_middle, LANE) { unshared(CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC); }
CASE(other_descriptor_table, LANE) { unshared(CLONE_FILES | CLONE_FS | CLONE_SYSVSEM); }
CASE(other_user_namespace, LANE) { unshared(CLONE_NEWUSER); }
CASE(setns_there_and_back, LANE) {
    int here = (int)MUST(open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC));
    int fd = warm();
    for (int i = 0; i < 5; i++) {
        leave(CLONE_NEWNET);
        talk(fd, 30);
        look(fd, fd);
        MUST(setns(here, CLONE_NEWNET));
        talk(fd, 30);
        look(fd, fd);
        int more = warm();
        close(more);
    }
}
CASE(pid_namespace_for_children, LANE) {
    int fd = warm(), status;
    leave(CLONE_NEWPID);
    talk(fd, 30);
    pid_t pid = (pid_t)MUST(fork());
    if (pid == 0) {
        talk(fd, 60);
        talk(warm(), 60);
        fflush(stdout);
        _exit(getpid());
    }
    MUST(waitpid(pid, &status, 0));
    printf("child %d\n", WEXITSTATUS(status));
    talk(fd, 30);
    look(fd, fd);
}
CASE(no_capabilities, LANE) {
    needs_root();
    int fd = warm();
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct none[2] = {0};
    SAY(syscall(SYS_capset, &header, none));
    SAY(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    go_on(fd, KERNEL("the other end has capabilities"));
}
CASE(keeps_capabilities_as_another_user, LANE) {
    needs_root();
    int fd = warm();
    SAY(prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0));
    SAY(setgroups(0, NULL));
    SAY(setresgid(65534, 65534, 65534));
    SAY(setresuid(65534, 65534, 65534));
    go_on(fd, KERNEL("the other end is another user"));
}
CASE(user_there_and_back, LANE) {
    needs_root();
    int fd = warm();
    for (int i = 0; i < 20; i++) {
        MUST(seteuid(65534));
        talk(fd, 10);
        from_now(KERNEL("the other end is another user"));
        if (i % 5 == 0) close(warm());
        MUST(seteuid(0));
        from_now(LANE);
        talk(fd, 10);
    }
    go_on(fd, LANE);
}
CASE(user_of_one_thread, LANE) { // by the system call: the other threads stay who they are
    needs_root();
    int fd = warm();
    SAY(syscall(SYS_setresuid, -1, 65534, -1));
    go_on(fd, KERNEL("the other end is another user"));
}
