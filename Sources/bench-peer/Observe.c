// The time of a command that looks at many processes, of which each has a listening socket and does nothing.
#include <netinet/in.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "Clock.h"
#include "Peer.h"

/// A child with its socket, which lives until this process ends; `ready` gets a byte when the socket is there.
static pid_t start_one(int ready) {
    pid_t parent = getpid(), pid = fork();
    if (pid < 0) fail("fork");
    if (pid != 0) return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(1);
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    if (listener < 0 || listen(listener, 1) != 0 || write(ready, "", 1) != 1) _exit(1);
    for (;;) pause();
}

void observe_single(void) {
    enum { MOST = 1000, WORDS = 16 };
    static uint64_t took[MOST];
    static char text[4200], number[16];
    char *words[WORDS + 1] = {NULL}, *variables[] = {NULL}, byte;
    int ready[2], used = 0;
    if (pipe(ready) != 0) fail("pipe");
    pid_t *children = calloc(options.connections, sizeof *children);
    for (unsigned i = 0; i < options.connections; i++) children[i] = start_one(ready[1]);
    close(ready[1]);
    for (unsigned i = 0; i < options.connections; i++)
        if (read(ready[0], &byte, 1) != 1) wrong("a process has no socket");
    snprintf(text, sizeof text, "%s", options.call);
    snprintf(number, sizeof number, "%d", children[options.connections / 2]);
    for (char *word = strtok(text, " "); word && used < WORDS; word = strtok(NULL, " "))
        words[used++] = strcmp(word, "PID") == 0 ? number : word;
    if (!used) wrong("no command");
    posix_spawn_file_actions_t quiet;
    posix_spawn_file_actions_init(&quiet);
    posix_spawn_file_actions_addopen(&quiet, 1, "/dev/null", 1, 0);
    unsigned count = options.messages < MOST ? (unsigned)options.messages : MOST;
    measure_begin();
    for (unsigned i = 0; i < count; i++) {
        uint64_t before = ticks();
        pid_t pid;
        int status;
        if (posix_spawn(&pid, words[0], &quiet, NULL, words, variables) != 0) fail("posix_spawn");
        if (waitpid(pid, &status, 0) != pid || status != 0) wrong("%s did not end well", words[0]);
        took[i] = ticks() - before;
    }
    measure_end();
    control->messages = count;
    control->cost_ns = middle(took, count);
    for (unsigned i = 0; i < options.connections; i++) kill(children[i], SIGKILL);
    while (wait(NULL) > 0) {}
}
