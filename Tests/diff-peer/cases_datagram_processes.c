// Sockets for datagrams in several processes: fork and exec.
#include "datagrams.h"
#include <spawn.h>

/// Parent and child read in turn from the socket that both hold.
DP_DATAGRAM(datagram_processes, fork_and_both_read) {
    enum { TOTAL = 100 };
    int fd = dp_udp_pair(0);
    if (dp_server) {
        dp_gate turn[2] = {dp_gate_make(), dp_gate_make()};
        pid_t child = dp_fork();
        for (uint32_t i = 0; i < TOTAL; i++) {
            if ((i % 2 == 0) != (child != 0)) continue;
            if (i) dp_gate_wait(&turn[i % 2]);
            dp_recv_number(fd, 30 + i, 1, i);
            dp_send_number(fd, NULL, 40 + i, 2, i);
            dp_gate_open(&turn[(i + 1) % 2]);
        }
        if (child == 0) dp_done(0);
        dp_reap(child, "child");
    } else {
        for (uint32_t i = 0; i < TOTAL; i++) {
            dp_send_number(fd, NULL, 30 + i, 1, i);
            dp_recv_number(fd, 40 + i, 2, i);
        }
    }
    dp_log("%d in turn", TOTAL);
    dp_udp_warm(fd, NULL);
    dp_close(fd);
}

/// What waits at the fork is read by both; the order of all is kept.
DP_DATAGRAM(datagram_processes, fork_with_unread_datagrams) {
    int fd = dp_udp_pair(0);
    for (uint32_t i = 0; !dp_server && i < 40; i++) dp_send_number(fd, NULL, 50, 1, i);
    dp_sync("sent");
    if (dp_server) {
        dp_recv_number(fd, 50, 1, 0);
        pid_t child = dp_fork();
        if (child == 0) {
            for (uint32_t i = 1; i < 20; i++) dp_recv_number(fd, 50, 1, i);
            dp_done(0);
        }
        dp_reap(child, "child");
        for (uint32_t i = 20; i < 40; i++) dp_recv_number(fd, 50, 1, i);
        dp_recv(fd, 10, MSG_DONTWAIT);
    }
    dp_sync("read");
    dp_udp_warm(fd, NULL);
    dp_close(fd);
}

/// The same where the kernel has some already that were sent last.
DP_DATAGRAM(datagram_processes, fork_with_unread_datagrams_of_both_ways) {
    int fd = dp_udp_pair(0);
    for (uint32_t i = 0; !dp_server && i < 10; i++) {
        if (i < 6) dp_send_number(fd, NULL, 50, 1, i);
        else dp_send_number_by_kernel(fd, 50, 1, i);
    }
    dp_sync("sent");
    if (dp_server) {
        pid_t child = dp_fork();
        if (child == 0) {
            for (uint32_t i = 0; i < 10; i++) dp_recv_number(fd, 50, 1, i);
            dp_done(0);
        }
        dp_reap(child, "child");
        dp_recv(fd, 10, MSG_DONTWAIT);
    }
    dp_sync("read");
    dp_close(fd);
}

/// Both write; the peer sees each one's datagrams in order.
DP_DATAGRAM(datagram_processes, fork_and_both_write) {
    enum { EACH = 60 };
    int fd = dp_udp_pair(0);
    if (dp_server) {
        pid_t child = dp_fork();
        uint32_t stream = child == 0;
        for (uint32_t i = 0; i < EACH; i++) dp_send_number(fd, NULL, 60, stream, i);
        if (child == 0) dp_done(0);
        dp_reap(child, "child");
    } else {
        uint32_t next[2] = {0, 0};
        for (int i = 0; i < 2 * EACH; i++) {
            uint8_t data[60];
            uint32_t stream = 2, number = 0;
            if (recv(fd, data, sizeof data, 0) != 60 || !dp_which_number(data, 60, &stream, &number) || stream > 1) dp_fail("damaged");
            if (number != next[stream]++) dp_fail("out of order");
        }
        dp_log("%d of each", EACH);
    }
    dp_udp_warm(fd, NULL);
    dp_close(fd);
}

DP_DATAGRAM(datagram_processes, child_goes_on_alone) {
    dp_place peer;
    int fd = dp_udp_open(0, &peer);
    if (dp_server) {
        dp_gate closed = dp_gate_make();
        pid_t child = dp_fork();
        if (child == 0) {
            dp_as("child");
            dp_gate_wait(&closed);
            for (int i = 0; i < 3; i++) {
                dp_recv_from(fd, 100, 0);
                dp_say_to(fd, "from the child", &peer);
            }
            dp_udp_warm(fd, &peer);
            dp_close(fd);
            dp_done(0);
        }
        dp_close(fd);
        dp_gate_open(&closed);
        dp_reap(child, "child");
    } else {
        for (int i = 0; i < 3; i++) {
            dp_say_to(fd, "to whom it concerns", &peer);
            dp_recv_from(fd, 100, 0);
        }
        dp_udp_warm(fd, &peer);
        dp_close(fd);
    }
    dp_sync("end");
}

DP_DATAGRAM(datagram_processes, child_closes_its_copy) {
    int fd = dp_udp_pair(0);
    for (int i = 0; i < 3; i++) {
        pid_t child = dp_fork();
        if (child == 0) {
            if (i == 0) close(fd);
            if (i == 1) shutdown(fd, 77);
            _exit(0);
        }
        dp_reap(child, "child");
        dp_sync("child is gone");
        if (!dp_server) dp_say(fd, "still there?");
        dp_recv(fd, 100, 0);
        if (dp_server) dp_say(fd, "yes");
    }
    dp_udp_warm(fd, NULL);
    dp_close(fd);
}

/// A child that has ended leaves the socket to its parent: both go by the ring again.
DP_DATAGRAM(datagram_processes, rings_come_back_behind_a_fork) {
    int fd = dp_udp_pair(0);
    for (int life = 0; life < 4; life++) {
        uint64_t before = dp_ring_bytes(fd);
        uint8_t own = before != 0, other = 0;
        dp_tell_data(&own, 1);
        dp_hear_data(&other, 1);
        bool has_ring = own && other;
        if (dp_server == (life % 2 == 0)) {
            pid_t child = dp_fork();
            if (child == 0) _exit(0);
            dp_reap(child, "child");
        }
        dp_sync("child is gone");
        for (int times = 0; times < 30; times++) {
            dp_udp_warm(fd, NULL);
            usleep(1000); // a flow that begins anew looks for some time
            own = has_ring && dp_ring_bytes(fd) == before;
            dp_tell_data(&own, 1);
            dp_hear_data(&other, 1);
            if (!own && !other) break;
        }
        if (own || other) dp_proof(fd), dp_fail("no ring in life %d", life);
    }
    dp_log("both go on");
    dp_close(fd);
}

static void talk(int fd) {
    for (int i = 0; i < 5; i++) {
        dp_say(fd, "are you there?");
        dp_recv(fd, 100, 0);
    }
    dp_send(fd, "", 0, 0);  // the image takes it for the end
}

/// A program that inherits the socket, with and without the library.
static void inherited_by(void (*execute)(int fd)) {
    int fd = dp_udp_pair(0);
    if (dp_server) {
        pid_t child = dp_fork();
        if (child == 0) {
            execute(fd);
            dp_fail("exec: %s", dp_errno_name(errno));
        }
        dp_reap(child, "child");
    } else {
        talk(fd);
    }
    dp_sync("image is gone");
    dp_udp_warm(fd, NULL);
    dp_close(fd);
}

static void with_the_library(int fd) { dp_exec_child("echo", fd); }

static void without(int fd) {
    char number[16];
    snprintf(number, sizeof number, "%d", fd);
    char *arguments[] = {"diff-peer", "child", "echo", number, "server", NULL}, *empty[] = {NULL};
    execve("/proc/self/exe", arguments, empty);
}

static void as_its_stdin(int fd) {
    DP_MUST(dup2(fd, 0));
    DP_MUST(close(fd));
    without(0);
}

DP_DATAGRAM(datagram_processes, exec_of_an_image) { inherited_by(with_the_library); }
DP_DATAGRAM(datagram_processes, exec_of_a_plain_image) { inherited_by(without); }
DP_DATAGRAM(datagram_processes, exec_of_a_plain_image_with_it_as_stdin) { inherited_by(as_its_stdin); }

/// The role itself becomes a plain image; what waits unread is there for it.
DP_DATAGRAM(datagram_processes, role_becomes_a_plain_image) {
    int fd = dp_udp_pair(0);
    for (int i = 0; !dp_server && i < 5; i++) dp_say(fd, "sent before");
    dp_sync("sent");
    if (dp_server) {
        dp_recv(fd, 100, 0);
        dp_proof(fd);
        without(fd);
        dp_fail("exec: %s", dp_errno_name(errno));
    }
    for (int i = 0; i < 4; i++) dp_recv(fd, 100, 0);
    talk(fd);
    dp_close(fd);
}

/// cat reads its standard input until a datagram of no bytes.
DP_DATAGRAM(datagram_processes, cat_reads_a_socket) {
    int fd = dp_udp_pair(0);
    if (dp_server) {
        int out[2];
        pid_t child;
        char *arguments[] = {"cat", NULL}, *empty[] = {NULL}, text[200];
        size_t used = 0;
        DP_MUST(pipe(out));
        posix_spawn_file_actions_t actions;
        posix_spawn_file_actions_init(&actions);
        posix_spawn_file_actions_adddup2(&actions, fd, 0);
        posix_spawn_file_actions_adddup2(&actions, out[1], 1);
        if (posix_spawnp(&child, "cat", &actions, NULL, arguments, empty) != 0) dp_fail("posix_spawnp");
        DP_MUST(close(out[1]));
        for (ssize_t got; (got = read(out[0], text + used, sizeof text - used)) > 0;) used += got;
        dp_log("%s", dp_bytes(text, used));
        dp_reap(child, "cat");
        posix_spawn_file_actions_destroy(&actions);
        DP_MUST(close(out[0]));
    } else {
        dp_say(fd, "to cat, ");
        dp_say(fd, "which reads it");
        dp_send(fd, "", 0, 0);
    }
    dp_sync("cat is gone");
    dp_udp_warm(fd, NULL);
    dp_close(fd);
}
