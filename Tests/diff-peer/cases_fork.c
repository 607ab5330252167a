// fork: parent and child share the socket.
#include "harness.h"
#include <spawn.h>

DP_CASE(fork, child_reads_and_answers) {
    int fd = dp_pair(0);
    if (dp_server) {
        pid_t child = dp_fork();
        if (child == 0) {
            dp_as("child");
            dp_recv(fd, 100, 0);
            dp_say(fd, "answer of the child");
            dp_done(0);
        }
        dp_reap(child, "child");
        dp_say(fd, ", parent too");
    } else {
        dp_say(fd, "question");
        char text[31];
        DP(recv(fd, text, sizeof text, MSG_WAITALL));
        dp_log("%s", dp_bytes(text, sizeof text));
    }
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(fork, parent_and_child_take_turns) {
    int fd = dp_pair(0);
    if (!dp_server) {
        for (int i = 0; i < 60; i++) {
            dp_say(fd, "turn");
            dp_recv(fd, 10, 0);
        }
        dp_sync("end");
        dp_close(fd);
        return;
    }
    dp_gate to_child = dp_gate_make(), to_parent = dp_gate_make();
    pid_t child = dp_fork();
    for (int i = 0; i < 30; i++) {
        if (child == 0) dp_gate_wait(&to_child);
        dp_as(child ? "parent" : "child");
        dp_recv(fd, 10, 0);
        dp_say(fd, child ? "parent" : "child");
        dp_gate_open(child ? &to_child : &to_parent);
        if (child) dp_gate_wait(&to_parent);
    }
    if (child == 0) dp_done(0);
    dp_reap(child, "child");
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(fork, child_reads_what_came_before) {
    int fd = dp_pair(0);
    if (dp_server) {
        dp_settle(fd, 14);
        dp_recv(fd, 7, 0);
        pid_t child = dp_fork();
        if (child == 0) {
            dp_as("child");
            dp_recv(fd, 100, 0);
            dp_done(0);
        }
        dp_reap(child, "child");
        dp_recv(fd, 100, MSG_DONTWAIT);
    } else {
        dp_say(fd, "before, ");
        dp_say(fd, "forked");
    }
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(fork, accept_fork_close) {
    enum { CLIENTS = 3 };
    if (!dp_server) {
        for (int i = 0; i < CLIENTS; i++) {
            int fd = dp_dial("127.0.0.1", 0);
            dp_warm(fd);
            dp_say(fd, "request");
            dp_recv(fd, 100, 0);
            dp_recv(fd, 100, 0);
            dp_sync("child ended");
            dp_close(fd);
        }
        return;
    }
    int listener = dp_listen("127.0.0.1", 0);
    for (int i = 0; i < CLIENTS; i++) {
        int fd = dp_accept(listener, 0);
        pid_t child = dp_fork();
        if (child == 0) {
            dp_as("child");
            DP(close(listener));
            dp_warm(fd);
            dp_recv(fd, 100, 0);
            dp_say(fd, "response");
            dp_close(fd);
            dp_done(0);
        }
        DP(close(fd));
        dp_reap(child, "child");
        dp_sync("child ended");
    }
    dp_close(listener);
}

DP_CASE(fork, close_by_one_is_no_end) {
    int fd = dp_pair(0);
    if (dp_server) {
        pid_t child = dp_fork();
        if (child == 0) {
            dp_as("child");
            dp_close(fd);
            dp_done(0);
        }
        dp_reap(child, "child");
        dp_sync("child closed");
        dp_recv(fd, 100, 0);
    } else {
        dp_sync("child closed");
        dp_recv(fd, 100, MSG_DONTWAIT);
        dp_say(fd, "still there");
        dp_recv(fd, 100, 0);
    }
    dp_close(fd);
    dp_sync("end");
}

DP_CASE(fork, close_by_one_with_unread_data) {
    int fd = dp_pair(0);
    if (dp_server) {
        dp_settle(fd, 4);
        pid_t child = dp_fork();
        if (child == 0) dp_done(0);  // its end must not reset what the parent still reads
        dp_reap(child, "child");
        dp_recv(fd, 100, 0);
        dp_say(fd, "reply");
    } else {
        dp_say(fd, "data");
        dp_recv(fd, 100, 0);
    }
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(fork, last_close_ends) {
    int fd = dp_pair(0);
    if (dp_server) {
        dp_gate go = dp_gate_make();
        pid_t child = dp_fork();
        if (child == 0) {
            dp_as("child");
            dp_gate_wait(&go);
            dp_say(fd, "from the last holder");
            dp_close(fd);
            dp_done(0);
        }
        dp_close(fd);
        dp_sync("parent closed");
        dp_sync("looked");
        dp_gate_open(&go);
        dp_reap(child, "child");
    } else {
        dp_sync("parent closed");
        dp_recv(fd, 100, MSG_DONTWAIT);
        dp_sync("looked");
        dp_recv(fd, 100, 0);
        dp_recv(fd, 100, 0);
        dp_close(fd);
    }
    dp_sync("end");
}

DP_CASE(fork, shutdown_in_the_child) {
    int fd = dp_pair(0);
    if (dp_server) {
        pid_t child = dp_fork();
        if (child == 0) {
            dp_as("child");
            DP(shutdown(fd, SHUT_WR));
            dp_done(0);
        }
        dp_reap(child, "child");
        dp_send(fd, "x", 1, MSG_NOSIGNAL);
        dp_recv(fd, 100, 0);
    } else {
        dp_recv(fd, 100, 0);
        dp_say(fd, "the other way works");
    }
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(fork, nonblocking_is_shared) {
    int fd = dp_pair(0);
    if (dp_server) {
        pid_t child = dp_fork();
        if (child == 0) {
            dp_nonblocking(fd, true);
            dp_done(0);
        }
        dp_reap(child, "child");
        dp_log("O_NONBLOCK %s", fcntl(fd, F_GETFL) & O_NONBLOCK ? "on" : "off");
        dp_recv(fd, 10, 0);
    }
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(fork, child_writes_while_parent_reads) {
    int fd = dp_pair(0);
    pid_t child = dp_fork();
    if (child == 0) {
        dp_as("child");
        dp_put(fd, dp_server ? 1 : 2, 3 << 20, 5000);
        dp_done(0);
    }
    dp_get(fd, dp_server ? 2 : 1, 3 << 20, 8000);
    dp_reap(child, "child");
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(fork, several_children_write) {
    enum { CHILDREN = 4, RECORDS = 200 };
    int fd = dp_pair(0);
    if (dp_server) {
        int seen[CHILDREN] = {0};
        char record[16];
        ssize_t got;
        while ((got = recv(fd, record, sizeof record, MSG_WAITALL)) == sizeof record) {
            for (int i = 1; i < 16; i++)
                if (record[i] != record[0]) dp_log("torn record");
            if ((unsigned)(record[0] - 'a') < CHILDREN) seen[record[0] - 'a']++;
        }
        for (int i = 0; i < CHILDREN; i++) dp_log("%c: %d", 'a' + i, seen[i]);
    } else {
        pid_t children[CHILDREN];
        for (int i = 0; i < CHILDREN; i++) {
            children[i] = dp_fork();
            if (children[i]) continue;
            char record[16];
            memset(record, 'a' + i, sizeof record);
            for (int n = 0; n < RECORDS; n++)
                if (send(fd, record, sizeof record, 0) != sizeof record) dp_fail("send");
            dp_done(0);
        }
        for (int i = 0; i < CHILDREN; i++) dp_reap(children[i], "child");
        DP(shutdown(fd, SHUT_WR));
    }
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(fork, killed_child_does_not_hurt) {
    int fd = dp_pair(0);
    if (dp_server) {
        dp_gate started = dp_gate_make();
        pid_t child = dp_fork();
        if (child == 0) {
            char byte;
            dp_gate_open(&started);
            recv(fd, &byte, 1, 0);
            dp_done(1);
        }
        dp_gate_wait(&started);
        dp_until_asleep(child);
        DP(kill(child, SIGKILL));
        dp_reap(child, "child");
        dp_tell("killed");
        dp_recv(fd, 100, 0);
        dp_say(fd, "parent lives");
    } else {
        dp_hear("killed");
        dp_say(fd, "anyone?");
        dp_recv(fd, 100, 0);
    }
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(fork, grandchild_goes_on_alone) {
    int fd = dp_pair(0);
    if (dp_server) {
        dp_gate done = dp_gate_make();
        pid_t child = dp_fork();
        if (child == 0) {
            if (fork() == 0) {  // not dp_fork: it must outlive its parent
                dp_as("grandchild");
                for (int i = 0; i < 40; i++) {
                    dp_recv(fd, 10, 0);
                    dp_say(fd, "served");
                }
                dp_proof(fd);
                dp_gate_open(&done);
                _exit(0);
            }
            _exit(0);
        }
        dp_close(fd);
        dp_reap(child, "child");
        dp_gate_wait(&done);
    } else {
        for (int i = 0; i < 40; i++) {
            dp_say(fd, "serve");
            dp_recv(fd, 10, 0);
        }
        dp_close(fd);
    }
    dp_sync("end");
}
