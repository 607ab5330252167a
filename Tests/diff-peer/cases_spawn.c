// Programs that libc starts by itself (posix_spawn, system, popen, wordexp), beside sockets that they inherit.
#include "harness.h"
#include <spawn.h>
#include <wordexp.h>

extern char **environ;

/// A shell command about the descriptor `fd`. Valid until the next call.
static const char *about(const char *format, int fd) {
    static char text[200];
    if (fd > 9) dp_fail("shells know descriptors of one digit only");
    snprintf(text, sizeof text, format, fd);
    return text;
}

static void by_system(int fd) { DP(system(about("exec printf 'by the command, ' >&%d", fd))); }
static void by_popen(int fd) {
    FILE *stream = popen(about("exec printf 'by the command, ' >&%d", fd), "r");
    if (!stream) dp_fail("popen");
    dp_log("%d", fgetc(stream));
    DP(pclose(stream));
}
static void by_wordexp(int fd) {
    wordexp_t words;
    DP(wordexp(about("$(printf 'by the command, ' >&%d) word", fd), &words, 0));
    dp_log("%zu %s", words.we_wordc, words.we_wordv[0]);
    wordfree(&words);
}
static void by_spawn(int fd) {
    char *arguments[] = {"sh", "-c", (char *)about("exec printf 'by the command, ' >&%d", fd), NULL};
    pid_t child = 0;
    DP(posix_spawn(&child, "/bin/sh", NULL, NULL, arguments, environ));
    dp_reap(child, "child");
}
static void by_spawnp(int fd) {
    char *arguments[] = {"sh", "-c", (char *)about("exec printf 'by the command, ' >&%d", fd), NULL};
    pid_t child = 0;
    DP(posix_spawnp(&child, "sh", NULL, NULL, arguments, environ));
    dp_reap(child, "child");
}

/// The bytes of the program before, of the command, and of the program after come in this order.
static void in_order(void (*command)(int fd)) {
    int fd = dp_pair(0);
    if (dp_server) {
        dp_say(fd, "before, ");
        command(fd);
        dp_say(fd, "after");
    } else {
        dp_hear("all is sent");
        dp_recv(fd, 28, MSG_WAITALL);
    }
    if (dp_server) dp_tell("all is sent");
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(exec, bytes_of_a_system_command_come_in_order) { in_order(by_system); }
DP_CASE(exec, bytes_of_a_popen_command_come_in_order) { in_order(by_popen); }
DP_CASE(exec, bytes_of_a_wordexp_command_come_in_order) { in_order(by_wordexp); }
DP_CASE(exec, bytes_of_a_spawned_program_come_in_order) { in_order(by_spawn); }
DP_CASE(exec, bytes_of_a_program_spawned_by_name_come_in_order) { in_order(by_spawnp); }

// What lies unread in the program, and what comes while the command runs, is the command's to read.
DP_CASE(exec, system_command_reads) {
    int fd = dp_pair(0);
    if (dp_server) {
        dp_settle(fd, 3);
        dp_tell("starts");
        DP(system(about("read line <&%d && test \"$line\" = hello", fd)));
        dp_tell("has read");
        dp_recv(fd, 100, 0);
        dp_say(fd, "thanks");
    } else {
        dp_say(fd, "hel");
        dp_hear("starts");
        dp_say(fd, "lo\n");
        dp_hear("has read");
        dp_say(fd, "for the program");
        dp_recv(fd, 100, 0);
    }
    dp_sync("end");
    dp_close(fd);
}

// One that does not inherit the socket changes nothing, whatever it does.
DP_CASE(exec, command_beside_a_socket_that_it_does_not_get) {
    int fd = dp_pair(0);
    DP(fcntl(fd, F_SETFD, FD_CLOEXEC));
    for (int i = 0; i < 5; i++) {
        DP(system("true"));
        if (!dp_server) dp_say(fd, "question");
        dp_recv(fd, 100, 0);
        if (dp_server) dp_say(fd, "answer");
    }
    dp_sync("end");
    dp_close(fd);
}

/// A program that was started holds the listener, and no more: what is accepted later is none of its business.
static void accept_after(void (*start)(void)) {
    int fd;
    if (dp_server) {
        int listener = dp_listen("127.0.0.1", 0);
        start();
        fd = dp_accept(listener, 0);
        DP_MUST(close(listener));
    } else {
        fd = dp_dial("127.0.0.1", 0);
    }
    dp_warm(fd);
    if (dp_server) dp_recv(fd, 100, 0);
    else dp_say(fd, "accepted afterwards");
    dp_sync("end");
    dp_close(fd);
}

static void start_by_fork(void) {
    pid_t child = dp_fork();
    if (child == 0) {
        execl("/bin/true", "true", (char *)NULL);
        _exit(1);
    }
    dp_reap(child, "child");
}
static void start_by_system(void) { DP(system("true")); }

DP_CASE(exec, accept_after_an_image_was_started) { accept_after(start_by_fork); }
DP_CASE(exec, accept_after_a_shell_command) { accept_after(start_by_system); }
