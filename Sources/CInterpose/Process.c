// exec, identity, filters, clone. fork goes by libc's fork handlers (Lifecycle.c), vfork is libc's own.
#include "Interpose.h"
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/prctl.h>

/// The image is still the old one.
static int exec_failed(int result) {
    SLI_TELL(sluice_exec_failed());
    return result;
}

SLI_EXPORT(execve);
int sli_execve(const char *path, char *const *arguments, char *const *environment) {
    SLI_TELL(sluice_before_exec());
    return exec_failed(SLI_REAL(execve)(path, arguments, environment));
}

SLI_EXPORT(execv);
int sli_execv(const char *path, char *const *arguments) {
    SLI_TELL(sluice_before_exec());
    return exec_failed(SLI_REAL(execv)(path, arguments));
}

SLI_EXPORT(execvp);
int sli_execvp(const char *file, char *const *arguments) {
    SLI_TELL(sluice_before_exec());
    return exec_failed(SLI_REAL(execvp)(file, arguments));
}

SLI_EXPORT(execvpe);
int sli_execvpe(const char *file, char *const *arguments, char *const *environment) {
    SLI_TELL(sluice_before_exec());
    return exec_failed(SLI_REAL(execvpe)(file, arguments, environment));
}

SLI_EXPORT(execveat);
int sli_execveat(int at, const char *path, char *const *arguments, char *const *environment, int flags) {
    SLI_TELL(sluice_before_exec());
    return exec_failed(SLI_REAL(execveat)(at, path, arguments, environment, flags));
}

SLI_EXPORT(fexecve);
int sli_fexecve(int fd, char *const *arguments, char *const *environment) {
    SLI_TELL(sluice_before_exec());
    return exec_failed(SLI_REAL(fexecve)(fd, arguments, environment));
}

/// The arguments of a call up to its null, as a vector on the caller's stack.
#define SLI_ARGUMENTS(vector, first)                                                                                   \
    va_list rest;                                                                                                      \
    size_t count = 0;                                                                                                  \
    va_start(rest, first);                                                                                             \
    for (const char *a = first; a; a = va_arg(rest, const char *)) count++;                                            \
    va_end(rest);                                                                                                      \
    char *vector[count + 1];                                                                                           \
    vector[0] = (char *)(uintptr_t)first;                                                                              \
    va_start(rest, first);                                                                                             \
    for (size_t i = 1; i <= count; i++) vector[i] = va_arg(rest, char *)

SLI_EXPORT(execl);
int sli_execl(const char *path, const char *first, ...) {
    SLI_ARGUMENTS(arguments, first);
    va_end(rest);
    return sli_execv(path, arguments);
}

SLI_EXPORT(execlp);
int sli_execlp(const char *file, const char *first, ...) {
    SLI_ARGUMENTS(arguments, first);
    va_end(rest);
    return sli_execvp(file, arguments);
}

SLI_EXPORT(execle);
int sli_execle(const char *path, const char *first, ...) {
    SLI_ARGUMENTS(arguments, first);
    char *const *environment = va_arg(rest, char *const *);
    va_end(rest);
    return sli_execve(path, arguments, environment);
}

// Identity. The core asks for the new one when it next needs it.

static int changed(int result) {
    if (result == 0) SLI_TELL(sluice_identity_changed());
    return result;
}
SLI_EXPORT(setuid);
int sli_setuid(uid_t id) { return changed(SLI_REAL(setuid)(id)); }
SLI_EXPORT(seteuid);
int sli_seteuid(uid_t id) { return changed(SLI_REAL(seteuid)(id)); }
SLI_EXPORT(setreuid);
int sli_setreuid(uid_t real, uid_t effective) { return changed(SLI_REAL(setreuid)(real, effective)); }
SLI_EXPORT(setresuid);
int sli_setresuid(uid_t real, uid_t effective, uid_t saved) { return changed(SLI_REAL(setresuid)(real, effective, saved)); }
SLI_EXPORT(setgid);
int sli_setgid(gid_t id) { return changed(SLI_REAL(setgid)(id)); }
SLI_EXPORT(setegid);
int sli_setegid(gid_t id) { return changed(SLI_REAL(setegid)(id)); }
SLI_EXPORT(setregid);
int sli_setregid(gid_t real, gid_t effective) { return changed(SLI_REAL(setregid)(real, effective)); }
SLI_EXPORT(setresgid);
int sli_setresgid(gid_t real, gid_t effective, gid_t saved) { return changed(SLI_REAL(setresgid)(real, effective, saved)); }
SLI_EXPORT(setgroups);
int sli_setgroups(size_t count, const gid_t *groups) { return changed(SLI_REAL(setgroups)(count, groups)); }
SLI_EXPORT(initgroups);
int sli_initgroups(const char *user, gid_t group) { return changed(SLI_REAL(initgroups)(user, group)); }
SLI_EXPORT(capset);
int sli_capset(void *header, const void *data) { return changed(SLI_REAL(capset)(header, data)); }
SLI_EXPORT(unshare);
int sli_unshare(int flags) { return changed(SLI_REAL(unshare)(flags)); }
SLI_EXPORT(setns);
int sli_setns(int fd, int type) { return changed(SLI_REAL(setns)(fd, type)); }

// These two answer the id before and never fail.
SLI_EXPORT(setfsuid);
int sli_setfsuid(uid_t id) {
    int before = SLI_REAL(setfsuid)(id);
    SLI_TELL(sluice_identity_changed());
    return before;
}
SLI_EXPORT(setfsgid);
int sli_setfsgid(gid_t id) {
    int before = SLI_REAL(setfsgid)(id);
    SLI_TELL(sluice_identity_changed());
    return before;
}

// A filter of null only asks whether filters exist.
SLI_EXPORT(prctl);
int sli_prctl(int option, long a, long b, long c, long d) {
    if (option == PR_SET_SECCOMP && (a == SECCOMP_MODE_STRICT || b)) sli_fall_silent();
    int result = SLI_REAL(prctl)(option, a, b, c, d);
    return option == PR_SET_DUMPABLE ? changed(result) : result;
}

/// What a cloned child runs; its copy of the parent's stack holds it.
struct cloned {
    int (*function)(void *);
    void *argument;
};
static int run_cloned(void *p) {
    struct cloned c = *(struct cloned *)p;
    sli_after_fork_in_child();
    return c.function(c.argument);
}

// A child with memory of its own is a fork by another name. One that shares it is a thread or a vfork.
SLI_EXPORT(clone);
SLI_EXPORT_AS(__clone, sli_clone);
int sli_clone(int (*function)(void *), void *stack, int flags, void *argument, void *parent_id, void *tls, void *child_id) {
    if (flags & CLONE_VM || !function || !stack)
        return SLI_REAL(clone)(function, stack, flags, argument, parent_id, tls, child_id);
    struct cloned c = {function, argument};
    SLI_TELL(sluice_fork_prepare());
    int pid = SLI_REAL(clone)(run_cloned, stack, flags, &c, parent_id, tls, child_id);
    SLI_TELL(sluice_fork_parent());
    if (pid < 0) sli_fork_failed();
    return pid;
}
