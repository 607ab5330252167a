// Bytes that go out.
#include "Interpose.h"

/// Parts that the kernel takes in one call; with more it refuses before it touches a byte.
enum { MAX_PARTS = 1024 };

SLI_EXPORT(write);
SLI_EXPORT_AS(__write, sli_write);
ssize_t sli_write(int fd, const void *buffer, size_t length) {
    uint64_t entry = sli_endpoint(fd);
    if (!entry) return SLI_REAL(write)(fd, buffer, length);
    return sli_result(sluice_send(fd, entry, buffer, length, 0, SLUICE_CALL_WRITE));
}

SLI_EXPORT(send);
SLI_EXPORT_AS(__send, sli_send);
ssize_t sli_send(int fd, const void *buffer, size_t length, int flags) {
    uint64_t entry = sli_endpoint(fd);
    if (!entry) return SLI_REAL(send)(fd, buffer, length, flags);
    return sli_result(sluice_send(fd, entry, buffer, length, flags, SLUICE_CALL_SEND));
}

SLI_EXPORT(writev);
ssize_t sli_writev(int fd, const struct iovec *iov, int count) {
    uint64_t entry = sli_endpoint(fd);
    if (!entry || (unsigned)count > MAX_PARTS) return SLI_REAL(writev)(fd, iov, count);
    return sli_result(sluice_sendmsg(fd, entry, NULL, iov, (size_t)count, 0, SLUICE_CALL_WRITEV));
}

// With offset -1 it is writev. Its flags are the kernel's business: the endpoint goes there for good.
SLI_EXPORT(pwritev2);
SLI_EXPORT_AS(pwritev64v2, sli_pwritev2);
ssize_t sli_pwritev2(int fd, const struct iovec *iov, int count, off_t offset, int flags) {
    uint64_t entry = sli_endpoint(fd);
    if (SLI_UNLIKELY(entry) && offset == -1) {
        if (!flags) return sli_writev(fd, iov, count);
        sluice_hand_back(fd, entry, SLI_REASON_FOREIGN_CALL);
    }
    return SLI_REAL(pwritev2)(fd, iov, count, offset, flags);
}

SLI_EXPORT(sendto);
ssize_t sli_sendto(int fd, const void *buffer, size_t length, int flags, const struct sockaddr *address, socklen_t n) {
    uint64_t entry = sli_endpoint(fd);
    if (!entry) return SLI_REAL(sendto)(fd, buffer, length, flags, address, n);
    if (!address) return sli_result(sluice_send(fd, entry, buffer, length, flags, SLUICE_CALL_SENDTO));
    if (n > sizeof(struct sockaddr_storage)) return sli_result(-EINVAL);
    struct iovec part = {(void *)(uintptr_t)buffer, length};
    struct msghdr msg = {.msg_name = (void *)(uintptr_t)address, .msg_namelen = n, .msg_iov = &part, .msg_iovlen = 1};
    return sli_result(sluice_sendmsg(fd, entry, &msg, &part, 1, flags, SLUICE_CALL_SENDTO));
}

SLI_EXPORT(sendmsg);
ssize_t sli_sendmsg(int fd, const struct msghdr *msg, int flags) {
    uint64_t entry = sli_endpoint(fd);
    if (!entry || !msg || msg->msg_iovlen > MAX_PARTS) {
        if (msg && SLI_UNLIKELY(msg->msg_controllen)) sli_pass_message(msg);
        return SLI_REAL(sendmsg)(fd, msg, flags);
    }
    return sli_result(sluice_sendmsg(fd, entry, msg, msg->msg_iov, msg->msg_iovlen, flags, SLUICE_CALL_SENDMSG));
}

SLI_EXPORT(sendfile);
SLI_EXPORT_AS(sendfile64, sli_sendfile);
ssize_t sli_sendfile(int out, int in, off_t *offset, size_t count) {
    uint64_t entry = sli_endpoint(out);
    sli_hand_back(in, SLI_REASON_FOREIGN_CALL); // a socket may be the source since Linux 6.5
    if (!entry) return SLI_REAL(sendfile)(out, in, offset, count);
    return sli_result(sluice_sendfile(out, entry, in, offset, count));
}

SLI_EXPORT(splice);
ssize_t sli_splice(int in, off64_t *in_offset, int out, off64_t *out_offset, size_t count, unsigned flags) {
    sli_hand_back(in, SLI_REASON_FOREIGN_CALL);
    sli_hand_back(out, SLI_REASON_FOREIGN_CALL);
    return SLI_REAL(splice)(in, in_offset, out, out_offset, count, flags);
}
