// Calls after which libc or the kernel moves a socket's bytes by itself: the endpoint goes back to the kernel before.
#include "Interpose.h"
#include <dlfcn.h>
#include <linux/aio_abi.h>
#include <stdarg.h>

SLI_EXPORT(fdopen);
SLI_EXPORT_AS(_IO_fdopen, sli_fdopen);
FILE *sli_fdopen(int fd, const char *mode) {
    sli_hand_back(fd, SLI_REASON_FOREIGN_CALL);
    return SLI_REAL(fdopen)(fd, mode);
}

SLI_EXPORT(vdprintf);
int sli_vdprintf(int fd, const char *format, va_list arguments) {
    sli_hand_back(fd, SLI_REASON_FOREIGN_CALL);
    return SLI_REAL(vdprintf)(fd, format, arguments);
}

SLI_EXPORT(dprintf);
int sli_dprintf(int fd, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    int result = sli_vdprintf(fd, format, arguments);
    va_end(arguments);
    return result;
}

SLI_EXPORT(__vdprintf_chk);
int sli___vdprintf_chk(int fd, int check, const char *format, va_list arguments) {
    sli_hand_back(fd, SLI_REASON_FOREIGN_CALL);
    return SLI_REAL(__vdprintf_chk)(fd, check, format, arguments);
}

SLI_EXPORT(__dprintf_chk);
int sli___dprintf_chk(int fd, int check, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    int result = sli___vdprintf_chk(fd, check, format, arguments);
    va_end(arguments);
    return result;
}

// A spawned program gets the descriptor as a kernel socket; libc makes the duplicate in the child.
SLI_EXPORT(posix_spawn_file_actions_adddup2);
int sli_posix_spawn_file_actions_adddup2(void *actions, int fd, int to) {
    sli_hand_back(fd, SLI_REASON_PASSED);
    return SLI_REAL(posix_spawn_file_actions_adddup2)(actions, fd, to);
}

// POSIX aio: libc's own threads read and write. The 64-bit forms are the same on this architecture.

SLI_EXPORT(aio_read);
SLI_EXPORT_AS(aio_read64, sli_aio_read);
int sli_aio_read(struct aiocb *control) {
    sli_hand_back(control->aio_fildes, SLI_REASON_FOREIGN_CALL);
    return SLI_REAL(aio_read)(control);
}

SLI_EXPORT(aio_write);
SLI_EXPORT_AS(aio_write64, sli_aio_write);
int sli_aio_write(struct aiocb *control) {
    sli_hand_back(control->aio_fildes, SLI_REASON_FOREIGN_CALL);
    return SLI_REAL(aio_write)(control);
}

SLI_EXPORT(lio_listio);
SLI_EXPORT_AS(lio_listio64, sli_lio_listio);
int sli_lio_listio(int mode, struct aiocb *const *list, int count, struct sigevent *event) {
    for (int i = 0; i < count; i++)
        if (list[i]) sli_hand_back(list[i]->aio_fildes, SLI_REASON_FOREIGN_CALL);
    return SLI_REAL(lio_listio)(mode, list, count, event);
}

// Functions of liburing and libaio. They are passed on to the library that defines them; it may have been loaded where
// RTLD_NEXT does not look (a plugin with RTLD_LOCAL), so it is asked for by name then.

typedef long (*six)(long, long, long, long, long, long);
static six library_function(six *known, const char *name, const char *const *libraries) {
    six found = __atomic_load_n(known, __ATOMIC_RELAXED);
    if (found) return found;
    found = (six)sli_next(name);
    for (; !found && *libraries; libraries++) {
        void *library = dlopen(*libraries, RTLD_LAZY | RTLD_NOLOAD);
        if (!library) continue;
        found = (six)dlsym(library, name);
        dlclose(library); // the user of the function keeps it loaded
    }
    if (found) __atomic_store_n(known, found, __ATOMIC_RELAXED);
    return found;
}
static const char *const uring_libraries[] = {"liburing.so.2", "liburing.so.1", NULL};
static const char *const aio_libraries[] = {"libaio.so.1", "libaio.so.1t64", NULL};

// Their arguments are all integers and addresses, at most six of them. Requests go by memory, so nothing may stay with us.
#define URING(name)                                                                                                    \
    SLI_EXPORT(name);                                                                                                  \
    long sli_##name(long a, long b, long c, long d, long e, long f) {                                                  \
        static six known;                                                                                              \
        six real = library_function(&known, #name, uring_libraries);                                                   \
        if (!real) return -ENOSYS;                                                                                     \
        SLI_TELL(sluice_hand_back_all(SLI_REASON_SEALED_OFF));                                                                 \
        return real(a, b, c, d, e, f);                                                                                 \
    }
URING(io_uring_setup)
URING(io_uring_queue_init)
URING(io_uring_queue_init_params)
URING(io_uring_queue_init_mem)
URING(io_uring_register)
URING(io_uring_register_files)
URING(io_uring_register_files_tags)
URING(io_uring_register_files_sparse)
URING(io_uring_register_files_update)
URING(io_uring_register_files_update_tag)

void sli_hand_back_submitted(long count, struct iocb *const *blocks) {
    for (long i = 0; blocks && i < count; i++)
        if (blocks[i]) sli_hand_back((int)blocks[i]->aio_fildes, SLI_REASON_FOREIGN_CALL);
}

SLI_EXPORT(io_submit);
int sli_io_submit(void *context, long count, struct iocb **blocks) {
    static six known;
    six real = library_function(&known, "io_submit", aio_libraries);
    if (!real) return -ENOSYS;
    sli_hand_back_submitted(count, blocks);
    return (int)real((long)context, count, (long)blocks, 0, 0, 0);
}
