// Programs that libc starts in a child that it clones by itself: what they inherit goes back to the kernel before.
#include "Interpose.h"

SLI_EXPORT(posix_spawn);
int sli_posix_spawn(
    pid_t *id, const char *path, const void *actions, const void *attributes, char *const *arguments, char *const *environment) {
    SLI_TELL(sluice_before_spawn());
    return SLI_REAL(posix_spawn)(id, path, actions, attributes, arguments, environment);
}

SLI_EXPORT(posix_spawnp);
int sli_posix_spawnp(
    pid_t *id, const char *file, const void *actions, const void *attributes, char *const *arguments, char *const *environment) {
    SLI_TELL(sluice_before_spawn());
    return SLI_REAL(posix_spawnp)(id, file, actions, attributes, arguments, environment);
}

// These two make a descriptor of the child.
SLI_EXPORT(pidfd_spawn);
int sli_pidfd_spawn(
    int *fd, const char *path, const void *actions, const void *attributes, char *const *arguments, char *const *environment) {
    SLI_TELL(sluice_before_spawn());
    int failed = SLI_REAL(pidfd_spawn)(fd, path, actions, attributes, arguments, environment);
    if (!failed) sli_made(*fd);
    return failed;
}

SLI_EXPORT(pidfd_spawnp);
int sli_pidfd_spawnp(
    int *fd, const char *file, const void *actions, const void *attributes, char *const *arguments, char *const *environment) {
    SLI_TELL(sluice_before_spawn());
    int failed = SLI_REAL(pidfd_spawnp)(fd, file, actions, attributes, arguments, environment);
    if (!failed) sli_made(*fd);
    return failed;
}

// Without a command it only asks whether there is a shell.
SLI_EXPORT(system);
int sli_system(const char *command) {
    if (command) SLI_TELL(sluice_before_spawn());
    return SLI_REAL(system)(command);
}

SLI_EXPORT(popen);
SLI_EXPORT_AS(_IO_popen, sli_popen);
FILE *sli_popen(const char *command, const char *mode) {
    SLI_TELL(sluice_before_spawn());
    FILE *stream = SLI_REAL(popen)(command, mode);
    if (stream) sli_made(fileno(stream));
    return stream;
}

// Only a command in the words starts a shell.
SLI_EXPORT(wordexp);
int sli_wordexp(const char *words, void *result, int flags) {
    if (strpbrk(words, "$`")) SLI_TELL(sluice_before_spawn());
    return SLI_REAL(wordexp)(words, result, flags);
}
