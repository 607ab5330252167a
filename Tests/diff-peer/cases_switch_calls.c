// What the other end does while a call of this end stands still just before its system call: the other role stops it there.
#include "harness.h"
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>

/// Lets the other role stop this process at calls on `fd`, and goes on when it does.
static void be_stopped(int fd) {
    prctl(PR_SET_PTRACER, (unsigned long)dp_peer_pid, 0, 0, 0);
    dp_tell_data(&fd, sizeof fd);
    dp_hear("seized");
}

static bool is_read(long number) { return number == SYS_read || number == SYS_recvfrom || number == SYS_recvmsg; }
static bool is_write(long number) {
    return number == SYS_write || number == SYS_sendto || number == SYS_sendmsg || number == SYS_shutdown;
}

/// Returns when the other role stands before such a system call on the descriptor that it has told.
static void stop_at(bool (*wanted)(long)) {
    int fd = -1, status;
    struct user_regs_struct r = {0};
    dp_hear_data(&fd, sizeof fd);
    DP_MUST(ptrace(PTRACE_SEIZE, dp_peer_pid, 0, PTRACE_O_TRACESYSGOOD));
    DP_MUST(ptrace(PTRACE_INTERRUPT, dp_peer_pid, 0, 0));
    DP_MUST(waitpid(dp_peer_pid, &status, __WALL));
    dp_tell("seized");
    do {
        DP_MUST(ptrace(PTRACE_SYSCALL, dp_peer_pid, 0, 0));
        if (waitpid(dp_peer_pid, &status, __WALL) != dp_peer_pid || !WIFSTOPPED(status)) dp_fail("the other role has ended");
        DP_MUST(ptrace(PTRACE_GETREGS, dp_peer_pid, 0, &r));
    } while (!wanted((long)r.orig_rax) || (int)r.rdi != fd || (long)r.rax != -ENOSYS);
}

static void let_go(void) { DP_MUST(ptrace(PTRACE_DETACH, dp_peer_pid, 0, 0)); }

/// Only one direction has carried bytes, and by the lane in the end: the other has not left the kernel yet.
static int one_way(void) {
    int fd = dp_pair(DP_COLD | DP_NODELAY);
    for (unsigned round = 0; round < 48; round++) {
        if (dp_server) dp_put(fd, round, 16384, 1024);
        else dp_get(fd, round, 16384, 1024);
        dp_sync("round");
    }
    return fd;
}

/// Reads without blocking until something comes.
static void read_on(int fd) {
    char text[64];
    ssize_t n;
    do {
        errno = 0;
        n = recv(fd, text, sizeof text, MSG_DONTWAIT);
    } while (n < 0 && errno == EAGAIN);
    dp_result("recv", n);
    if (n > 0) dp_log("%s", dp_bytes(text, (size_t)n));
}

DP_CASE(switch, bytes_and_end_under_a_read) {
    int fd = one_way();
    if (dp_server) {
        be_stopped(fd);
        read_on(fd);
        read_on(fd);
        dp_socket_error(fd);
        dp_say(fd, "last");
    } else {
        stop_at(is_read);
        dp_say(fd, "there and back");
        DP(shutdown(fd, SHUT_WR));
        let_go();
        dp_recv(fd, 64, 0);
    }
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(switch, bytes_and_close_under_a_read) {
    // The reader closes behind the bytes, without having seen the end.
    int fd = one_way();
    if (dp_server) {
        be_stopped(fd);
        read_on(fd);
        dp_close(fd);
        dp_sync("closed");
        return;
    }
    stop_at(is_read);
    dp_say(fd, "there and back");
    DP(shutdown(fd, SHUT_WR));
    let_go();
    dp_sync("closed");
    dp_recv(fd, 64, 0);
    dp_socket_error(fd);
    dp_close(fd);
}

DP_CASE(switch, bytes_under_a_read) {
    // They are in the ring when the kernel says that nothing has come.
    int fd = one_way();
    if (dp_server) {
        be_stopped(fd);
        read_on(fd);
        dp_say(fd, "heard");
    } else {
        stop_at(is_read);
        dp_say(fd, "there");
        let_go();
        dp_recv(fd, 64, 0);
    }
    dp_sync("end");
    dp_close(fd);
}

static void read_once(void *fd) { dp_recv(*(int *)fd, 64, MSG_DONTWAIT); }

/// The sender of these cases: what it has sent has been reported when it stops between ring and kernel.
static void stopped_while_it_takes_back(int fd) {
    dp_say(fd, "reported");
    dp_hear("reported");
    be_stopped(fd);
    DP(shutdown(fd, SHUT_WR));
    dp_recv(fd, 64, 0);
}

DP_CASE(switch, read_while_the_sender_takes_back) {
    // Bytes that poll has reported do not become unreadable while the sender brings them from the ring to the kernel.
    int fd = one_way();
    if (dp_server) {
        stopped_while_it_takes_back(fd);
    } else {
        dp_poll(fd, POLLIN, -1);
        dp_tell("reported");
        stop_at(is_write);
        dp_worker reader;
        dp_start(&reader, "reader", read_once, &fd);
        // A call that waits for the sender must find it going on; one that does not has long returned.
        usleep(5000);
        let_go();
        dp_join(&reader);
        dp_recv(fd, 64, 0);
        dp_say(fd, "read");
    }
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(switch, poll_while_the_sender_takes_back) {
    // An accepted difference: what poll has reported is with neither the ring nor the kernel for a moment.
    int fd = one_way();
    if (dp_server) {
        stopped_while_it_takes_back(fd);
    } else {
        dp_poll(fd, POLLIN, -1);
        dp_tell("reported");
        stop_at(is_write);
        dp_poll(fd, POLLIN, 0);
        let_go();
        dp_recv(fd, 64, 0);
        dp_say(fd, "read");
    }
    dp_sync("end");
    dp_close(fd);
}
