// Sockets come, connect and go. Every socket is made by the real call.
#include "Interpose.h"

SLI_EXPORT(socket);
int sli_socket(int domain, int type, int protocol) {
    sli_begin_once();
    int fd = SLI_REAL(socket)(domain, type, protocol);
    while (SLI_AGAIN(fd < 0)) fd = SLI_REAL(socket)(domain, type, protocol);
    if (SLI_LIKELY(fd >= 0)) SLI_TELL(sluice_made_socket(fd, domain, type, protocol));
    sli_watch_crowd(fd);
    return fd;
}

SLI_EXPORT(bind);
int sli_bind(int fd, const struct sockaddr *address, socklen_t length) {
    uint64_t entry = sli_endpoint(fd);
    if (!entry) return SLI_REAL(bind)(fd, address, length);
    return (int)sli_result(sluice_bind(fd, entry, address, length));
}

SLI_EXPORT(listen);
int sli_listen(int fd, int backlog) {
    uint64_t entry = sli_endpoint(fd);
    if (!entry) return SLI_REAL(listen)(fd, backlog);
    return (int)sli_result(sluice_listen(fd, entry, backlog));
}

SLI_EXPORT(connect);
SLI_EXPORT_AS(__connect, sli_connect);
int sli_connect(int fd, const struct sockaddr *address, socklen_t length) {
    uint64_t entry = sli_endpoint(fd);
    if (!entry) return SLI_REAL(connect)(fd, address, length);
    return (int)sli_result(sluice_connect(fd, entry, address, length));
}

SLI_EXPORT(shutdown);
int sli_shutdown(int fd, int how) {
    uint64_t entry = sli_endpoint(fd);
    if (!entry) return SLI_REAL(shutdown)(fd, how);
    return (int)sli_result(sluice_shutdown(fd, entry, how));
}

// The listener may be unknown (inherited over exec): the core is told with entry 0. Its word is read before the wait,
// the descriptor may be another one after it.
SLI_EXPORT(accept);
int sli_accept(int fd, struct sockaddr *address, socklen_t *length) {
    sli_begin_once();
    uint64_t entry = sli_endpoint(fd);
    int made = SLI_REAL(accept)(fd, address, length);
    while (SLI_AGAIN(made < 0)) made = SLI_REAL(accept)(fd, address, length);
    if (made >= 0) SLI_TELL(sluice_made_accepted(fd, entry, made, 0));
    sli_watch_crowd(made);
    return made;
}

SLI_EXPORT(accept4);
int sli_accept4(int fd, struct sockaddr *address, socklen_t *length, int flags) {
    sli_begin_once();
    uint64_t entry = sli_endpoint(fd);
    int made = SLI_REAL(accept4)(fd, address, length, flags);
    while (SLI_AGAIN(made < 0)) made = SLI_REAL(accept4)(fd, address, length, flags);
    if (made >= 0) SLI_TELL(sluice_made_accepted(fd, entry, made, flags));
    sli_watch_crowd(made);
    return made;
}

SLI_EXPORT(getsockopt);
int sli_getsockopt(int fd, int level, int name, void *value, socklen_t *length) {
    uint64_t entry = sli_endpoint(fd);
    if (!entry) return SLI_REAL(getsockopt)(fd, level, name, value, length);
    return (int)sli_result(sluice_getsockopt(fd, entry, level, name, value, length));
}

SLI_EXPORT(setsockopt);
int sli_setsockopt(int fd, int level, int name, const void *value, socklen_t length) {
    uint64_t entry = sli_endpoint(fd);
    if (!entry) return SLI_REAL(setsockopt)(fd, level, name, value, length);
    return (int)sli_result(sluice_setsockopt(fd, entry, level, name, value, length));
}
