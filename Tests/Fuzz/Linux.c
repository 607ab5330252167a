// The parsers of CLinux over answers of the fuzzer's choice: what they would read from /proc, sysfs and netlink comes from here.
#include "Fuzz.h"
#include "CLinux.h"
#include <stdio.h>
#include <stdlib.h>

static const uint8_t *answer;
static size_t answer_left;

static size_t take(void *target, size_t n) {
    if (n > answer_left) n = answer_left;
    memcpy(target, answer, n);
    answer += n, answer_left -= n;
    return n;
}

/// A record of `n` bytes: its own length, one byte, then what it says.
static long piece(void *target, size_t n) {
    if (!answer_left) return 0;
    size_t length = *answer++ * 8u;
    answer_left--;
    if (length == 255 * 8) return -EIO;
    return (long)take(target, length < n ? length : n);
}

static long answer_read(int fd, void *target, size_t n) {
    (void)fd;
    return piece(target, n);
}
static long answer_open(int d, const char *path, int flags) {
    (void)d, (void)flags;
    return strlen(path) < 2000 ? 1000 : -ENAMETOOLONG;
}
static long answer_close(int fd) {
    (void)fd;
    return 0;
}
static long answer_link(const char *path, char *target, size_t n) {
    static const char text[] = "anon_inode:[eventpoll]";
    (void)path;
    if (answer_left && answer[0] & 1) return piece(target, n);
    memcpy(target, text, sizeof text - 1);
    return sizeof text - 1;
}
static long answer_receive(int fd, void *target, size_t n, int flags) {
    (void)fd, (void)flags;
    return piece(target, n);
}
static long answer_send(int fd, const void *p, size_t n, int flags) {
    (void)fd, (void)p, (void)flags;
    return (long)n;
}
#define slc_read answer_read
#define slc_openat answer_open
#define slc_close answer_close
#define slc_readlink answer_link
#define slc_recvfrom answer_receive
#define slc_sendto answer_send
// Copies of their own, beside those that the other targets use.
#define slc_parse_quota copy_parse_quota
#define slc_cpu_quota copy_cpu_quota
#define slc_socket_address copy_socket_address
#define slc_abstract copy_abstract
#define slc_address_of copy_address_of
#define slc_name_of copy_name_of
#define slc_send_message copy_send_message
#define slc_receive_message copy_receive_message
#define slc_tcp_counts copy_tcp_counts
#define slc_tcp_progress copy_tcp_progress
#define slc_diag_inode copy_diag_inode
#define slc_epoll_member_inode copy_epoll_member_inode
#define slc_each_epoll_member copy_each_epoll_member
#define slc_parse_backlog copy_parse_backlog
#define slc_backlog copy_backlog
#define slc_peer_credentials copy_peer_credentials
#define slc_own_name copy_own_name
#define slc_is_sealed_memory copy_is_sealed_memory
#define slc_peer_pid copy_peer_pid
#define slc_foreign_descriptor copy_foreign_descriptor
#define slc_inode copy_inode
#define slc_is_regular copy_is_regular
#define slc_find_line copy_find_line
#define slc_has_our_capabilities copy_has_our_capabilities
#define slc_refuse_foreign_descriptors copy_refuse_foreign_descriptors
#include "../../Sources/CLinux/Quota.c"
#include "../../Sources/CLinux/Sockets.c"

static void member(void *argument, int number, uint64_t data) {
    (void)number, (void)data;
    if (++*(int *)argument > 1 << 16) abort();
}

void fuzz_linux(const uint8_t *bytes, size_t n) {
    if (!n) return;
    answer = bytes + 1, answer_left = n - 1;
    switch (bytes[0] % 7) {
    case 0: {
        uint32_t quota = slc_parse_quota((const char *)answer, answer_left);
        if (quota > 1000000) abort();
        break;
    }
    case 1:
        if (slc_cpu_quota() > 1000000) abort();
        break;
    case 2: {
        uint64_t inode = 0;
        slc_epoll_member_inode(5, &inode);
        break;
    }
    case 3: {
        int count = 0;
        slc_each_epoll_member(5, member, &count);
        break;
    }
    case 4: {
        struct slc_address a = {.family = AF_INET}, b = a;
        uint32_t inode = 0;
        take(&a, sizeof a);
        take(&b, sizeof b);
        slc_diag_inode(5, a.port & 1 ? IPPROTO_UDP : IPPROTO_TCP, &a, &b, &inode);
        break;
    }
    case 5:
        if (slc_backlog() > 64L << 32) abort();
        break;
    default: {
        char name[32];
        slc_own_name(name);
        if (strnlen(name, sizeof name) == sizeof name) abort();
    }
    }
}
