// exec: an image, with or without the preload, goes on with a socket that it inherited.
#include "harness.h"
#include <spawn.h>

extern char **environ;

static void talk_to_child(int fd) {
    for (int i = 0; i < 5; i++) {
        dp_say(fd, "are you there?");
        dp_recv(fd, 100, 0);
    }
}

DP_CASE(exec, child_image_goes_on) {
    int fd = dp_pair(0);
    if (dp_server) {
        pid_t child = dp_fork();
        if (child == 0) {
            dp_exec_child("echo", fd);
            dp_fail("exec: %s", dp_errno_name(errno));
        }
        dp_close(fd);
        dp_reap(child, "child");
    } else {
        talk_to_child(fd);
        dp_close(fd);
    }
    dp_sync("end");
}

DP_CASE(exec, role_becomes_another_image) {
    int fd = dp_pair(0);
    if (dp_server) {
        dp_proof(fd);
        dp_exec_child("echo", fd);
        dp_fail("exec: %s", dp_errno_name(errno));
    }
    talk_to_child(fd);
    dp_close(fd);
}

DP_CASE(exec, unread_data_is_kept) {
    int fd = dp_pair(0);
    if (dp_server) {
        dp_settle(fd, 300);
        dp_recv(fd, 100, 0);
        dp_proof(fd);
        dp_exec_child("read-rest", fd);
        dp_fail("exec: %s", dp_errno_name(errno));
    }
    dp_put(fd, 1, 300, 100);
    dp_hear("child reads");
    dp_put(fd, 2, 100, 100);
    DP(shutdown(fd, SHUT_WR));
    dp_recv(fd, 100, 0);
    dp_close(fd);
}

DP_CASE(exec, much_unread_data_is_kept) {
    int fd = dp_pair(0);
    if (dp_server) {
        dp_settle(fd, 3000);  // the rest may still be under way
        dp_proof(fd);
        dp_exec_child("read-rest", fd);
        dp_fail("exec: %s", dp_errno_name(errno));
    }
    dp_put(fd, 1, 60000, 1000);
    dp_hear("child reads");
    dp_put(fd, 2, 100, 100);
    DP(shutdown(fd, SHUT_WR));
    dp_recv(fd, 100, 0);
    dp_close(fd);
}

DP_CASE(exec, cloexec_closes) {
    int fd = dp_pair(0);
    if (dp_server) {
        DP(fcntl(fd, F_SETFD, FD_CLOEXEC));
        dp_proof(fd);
        dp_exec_child("closed", fd);
        dp_fail("exec: %s", dp_errno_name(errno));
    }
    dp_recv(fd, 100, 0);
    dp_close(fd);
}

DP_CASE(exec, image_without_preload) {
    int fd = dp_pair(0);
    if (dp_server) {
        pid_t child = dp_fork();
        if (child == 0) {
            char number[16];
            snprintf(number, sizeof number, "%d", fd);
            char *arguments[] = {"diff-peer", "child", "echo", number, "server", NULL}, *empty[] = {NULL};
            execve("/proc/self/exe", arguments, empty);
            dp_fail("exec: %s", dp_errno_name(errno));
        }
        dp_close(fd);
        dp_reap(child, "child");
    } else {
        talk_to_child(fd);
        dp_close(fd);
    }
    dp_sync("end");
}

DP_CASE(exec, failed_exec_changes_nothing) {
    int fd = dp_pair(0);
    if (dp_server) {
        dp_settle(fd, 6);
        DP(execl("/nonexistent/program", "program", (char *)NULL));
        dp_recv(fd, 100, 0);
        dp_say(fd, "after");
        dp_recv(fd, 100, 0);
    } else {
        dp_say(fd, "before");
        dp_recv(fd, 100, 0);
        dp_say(fd, "works on");
    }
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(exec, posix_spawn_with_socket_as_stdin) {
    int fd = dp_pair(0);
    if (dp_server) {
        posix_spawn_file_actions_t actions;
        posix_spawn_file_actions_init(&actions);
        posix_spawn_file_actions_adddup2(&actions, fd, 0);
        posix_spawn_file_actions_adddup2(&actions, fd, 1);
        posix_spawn_file_actions_addclose(&actions, fd);
        char *arguments[] = {"diff-peer", "child", "echo", "0", "server", NULL};
        pid_t child;
        DP(posix_spawn(&child, "/proc/self/exe", &actions, NULL, arguments, environ));
        dp_close(fd);
        dp_reap(child, "child");
        posix_spawn_file_actions_destroy(&actions);
    } else {
        talk_to_child(fd);
        dp_close(fd);
    }
    dp_sync("end");
}

DP_CASE(exec, socket_as_standard_streams) {
    int fd = dp_pair(0);
    if (dp_server) {
        pid_t child = dp_fork();
        if (child == 0) {
            dup2(fd, 0);
            dup2(fd, 1);
            close(fd);
            dp_exec_child("stdio", 0);
            _exit(1);
        }
        dp_close(fd);
        dp_reap(child, "child");
    } else {
        dp_say(fd, "first line\nsecond line\n");
        DP(shutdown(fd, SHUT_WR));
        dp_get(fd, 0, 0, 1);
        char reply[200];
        size_t used = 0;
        for (ssize_t got; (got = recv(fd, reply + used, sizeof reply - used, 0)) > 0;) used += got;
        dp_log("%s", dp_bytes(reply, used));
        dp_close(fd);
    }
    dp_sync("end");
}

static pid_t vfork_and_exec(void) {
    pid_t child = vfork();
    if (child == 0) {
        execl("/proc/self/exe", "diff-peer", "child", "nothing", "0", "server", (char *)NULL);
        _exit(9);
    }
    return child;
}

DP_CASE(exec, unrelated_children) {
    int fd = dp_pair(0);
    if (dp_server) {
        for (int i = 0; i < 3; i++) {
            dp_reap(vfork_and_exec(), "child");
            dp_recv(fd, 100, 0);
            dp_say(fd, "parent");
        }
    } else {
        for (int i = 0; i < 3; i++) {
            dp_say(fd, "and now?");
            dp_recv(fd, 100, 0);
        }
    }
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(exec, parent_and_image_share) {
    int fd = dp_pair(0);
    if (dp_server) {
        pid_t child = dp_fork();
        if (child == 0) {
            dp_exec_child("say", fd);
            _exit(1);
        }
        dp_reap(child, "child");
        dp_recv(fd, 100, 0);
        dp_say(fd, "parent");
    } else {
        dp_recv(fd, 100, 0);
        dp_say(fd, "more");
        dp_recv(fd, 100, 0);
    }
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(exec, listener_is_inherited) {
    if (dp_server) {
        int listener = dp_listen("127.0.0.1", 0);
        pid_t child = dp_fork();
        if (child == 0) {
            dp_exec_child("serve", listener);
            _exit(1);
        }
        dp_close(listener);
        dp_reap(child, "child");
    } else {
        int fd = dp_dial("127.0.0.1", 0);
        dp_warm(fd);
        dp_say(fd, "hello, image");
        dp_recv(fd, 100, 0);
        dp_close(fd);
    }
    dp_sync("end");
}
