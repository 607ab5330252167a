// Bytes that come in.
#include "Interpose.h"

/// Parts that the kernel takes in one call; with more it refuses before it touches a byte.
enum { MAX_PARTS = 1024 };

SLI_EXPORT(read);
SLI_EXPORT_AS(__read, sli_read);
ssize_t sli_read(int fd, void *buffer, size_t length) {
    uint64_t entry = sli_endpoint(fd);
    if (!entry) return SLI_REAL(read)(fd, buffer, length);
    return sli_result(sluice_recv(fd, entry, buffer, length, 0, SLUICE_CALL_READ));
}

SLI_EXPORT(recv);
ssize_t sli_recv(int fd, void *buffer, size_t length, int flags) {
    uint64_t entry = sli_endpoint(fd);
    if (!entry) return SLI_REAL(recv)(fd, buffer, length, flags);
    return sli_result(sluice_recv(fd, entry, buffer, length, flags, SLUICE_CALL_RECV));
}

SLI_EXPORT(readv);
ssize_t sli_readv(int fd, const struct iovec *iov, int count) {
    uint64_t entry = sli_endpoint(fd);
    if (!entry || (unsigned)count > MAX_PARTS) return SLI_REAL(readv)(fd, iov, count);
    return sli_result(sluice_recvmsg(fd, entry, NULL, iov, (size_t)count, 0, SLUICE_CALL_READV));
}

// With offset -1 it is readv. Its flags are the kernel's business: the endpoint goes there for good.
SLI_EXPORT(preadv2);
SLI_EXPORT_AS(preadv64v2, sli_preadv2);
ssize_t sli_preadv2(int fd, const struct iovec *iov, int count, off_t offset, int flags) {
    uint64_t entry = sli_endpoint(fd);
    if (SLI_UNLIKELY(entry) && offset == -1) {
        if (!flags) return sli_readv(fd, iov, count);
        sluice_hand_back(fd, entry, SLI_REASON_FOREIGN_CALL);
    }
    return SLI_REAL(preadv2)(fd, iov, count, offset, flags);
}

SLI_EXPORT(recvfrom);
ssize_t sli_recvfrom(int fd, void *buffer, size_t length, int flags, struct sockaddr *address, socklen_t *address_length) {
    uint64_t entry = sli_endpoint(fd);
    if (!entry) return SLI_REAL(recvfrom)(fd, buffer, length, flags, address, address_length);
    if (!address) return sli_result(sluice_recv(fd, entry, buffer, length, flags, SLUICE_CALL_RECVFROM));
    if (!address_length || (int)*address_length < 0) { // noticed by the kernel when the bytes are gone
        long got = sluice_recv(fd, entry, buffer, length, flags, SLUICE_CALL_RECVFROM);
        return sli_result(got < 0 ? got : address_length ? -EINVAL : -EFAULT);
    }
    struct iovec part = {buffer, length};
    struct msghdr msg = {.msg_name = address, .msg_namelen = *address_length, .msg_iov = &part, .msg_iovlen = 1};
    long got = sluice_recvmsg(fd, entry, &msg, &part, 1, flags, SLUICE_CALL_RECVFROM);
    if (got >= 0) *address_length = msg.msg_namelen;
    return sli_result(got);
}

SLI_EXPORT(recvmsg);
ssize_t sli_recvmsg(int fd, struct msghdr *msg, int flags) {
    uint64_t entry = sli_endpoint(fd);
    if (!entry || !msg || msg->msg_iovlen > MAX_PARTS) {
        ssize_t got = SLI_REAL(recvmsg)(fd, msg, flags);
        if (got >= 0 && SLI_UNLIKELY(msg->msg_controllen)) sli_made_by_message(msg);
        return got;
    }
    return sli_result(sluice_recvmsg(fd, entry, msg, msg->msg_iov, msg->msg_iovlen, flags, SLUICE_CALL_RECVMSG));
}

// The forms of _FORTIFY_SOURCE. libc's own one is called where it must end the program.

SLI_EXPORT(__read_chk);
ssize_t sli___read_chk(int fd, void *buffer, size_t length, size_t room) {
    if (length > room) return SLI_REAL(__read_chk)(fd, buffer, length, room);
    return sli_read(fd, buffer, length);
}

SLI_EXPORT(__recv_chk);
ssize_t sli___recv_chk(int fd, void *buffer, size_t length, size_t room, int flags) {
    if (length > room) return SLI_REAL(__recv_chk)(fd, buffer, length, room, flags);
    return sli_recv(fd, buffer, length, flags);
}

SLI_EXPORT(__recvfrom_chk);
ssize_t sli___recvfrom_chk(int fd, void *buffer, size_t length, size_t room, int flags, struct sockaddr *address, socklen_t *n) {
    if (length > room) return SLI_REAL(__recvfrom_chk)(fd, buffer, length, room, flags, address, n);
    return sli_recvfrom(fd, buffer, length, flags, address, n);
}
