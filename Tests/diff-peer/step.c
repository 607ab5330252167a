// How the processes and threads of a case keep in step: the side channel, gates, workers, "until it sleeps".
#include "harness.h"
#include <sys/prctl.h>
#include <sys/syscall.h>

bool dp_server;
const dp_case *dp_current;
pid_t dp_peer_pid;
dp_case *dp_cases;
static __thread dp_worker *this_worker;

void dp_register(dp_case *c) {
    dp_case **at = &dp_cases;
    for (; *at; at = &(*at)->next) {
        int order = strcmp((*at)->group, c->group);
        if (order > 0 || (order == 0 && strcmp((*at)->name, c->name) > 0)) break;
    }
    c->next = *at;
    *at = c;
}

const dp_case *dp_find(const char *name) {
    for (const dp_case *c = dp_cases; c; c = c->next) {
        size_t group = strlen(c->group);
        if (strncmp(name, c->group, group) == 0 && name[group] == '/' && strcmp(name + group + 1, c->name) == 0) return c;
    }
    return NULL;
}

void dp_tell_data(const void *data, size_t length) {
    while (send(DP_FD_CHANNEL, data, length, MSG_NOSIGNAL) < 0)
        if (errno != EINTR) dp_fail("side channel: send: %s", dp_errno_name(errno));
}

size_t dp_hear_data(void *data, size_t size) {
    ssize_t got;
    while ((got = recv(DP_FD_CHANNEL, data, size, 0)) < 0)
        if (errno != EINTR) dp_fail("side channel: recv: %s", dp_errno_name(errno));
    if (got == 0) dp_fail("the other role is gone");
    return got;
}

void dp_tell(const char *tag) { dp_tell_data(tag, strlen(tag) + 1); }

void dp_hear(const char *tag) {
    char heard[64] = "";
    dp_hear_data(heard, sizeof heard - 1);
    if (strcmp(heard, tag) != 0) dp_fail("waits for '%s', heard '%s'", tag, heard);
}

void dp_sync(const char *tag) {
    int saved = errno;
    dp_tell(tag);
    dp_hear(tag);
    errno = saved;
}

dp_gate dp_gate_make(void) {
    dp_gate gate;
    DP_MUST(pipe(gate.pipe));
    return gate;
}

void dp_gate_open(dp_gate *gate) {
    if (write(gate->pipe[1], "", 1) != 1) dp_fail("gate");
}

void dp_gate_wait(dp_gate *gate) {
    char byte;
    ssize_t got;
    while ((got = read(gate->pipe[0], &byte, 1)) < 0 && errno == EINTR) {}
    if (got != 1) dp_fail("gate");
}

/// State letter of a thread as /proc shows it; 0 when it is gone.
static char state_of(pid_t process, pid_t thread) {
    char path[64], line[256];
    snprintf(path, sizeof path, "/proc/%d/task/%d/stat", process, thread);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0;
    ssize_t got = read(fd, line, sizeof line - 1);
    close(fd);
    if (got <= 0) return 0;
    line[got] = 0;
    char *end = strrchr(line, ')');
    return end && end[1] == ' ' ? end[2] : 0;
}

static void until_asleep(pid_t process, pid_t thread) {
    int seen = 0;
    for (int look = 0; look < 10000; look++) {
        char state = state_of(process, thread);
        if (state == 0) return;  // ended: it did not block, its transcript will tell
        seen = state == 'S' ? seen + 1 : 0;
        if (seen == 3) return;
        poll(NULL, 0, 1);
    }
    dp_fail("never fell asleep");
}

void dp_until_asleep(pid_t process) { until_asleep(process, process); }

void dp_until_peer_blocked(const char *tag) {
    dp_hear(tag);
    until_asleep(dp_peer_pid, dp_peer_pid);
}

static void *run_worker(void *argument) {
    dp_worker *w = argument;
    this_worker = w;
    w->thread_id = (int)syscall(SYS_gettid);
    dp_as(w->tag);
    w->body(w->argument);
    w->blocking = 2;
    return NULL;
}

void dp_start(dp_worker *w, const char *tag, void (*body)(void *), void *argument) {
    w->tag = tag;
    w->body = body;
    w->argument = argument;
    w->thread_id = w->blocking = 0;
    int error = pthread_create(&w->thread, NULL, run_worker, w);
    if (error) dp_fail("pthread_create: %s", dp_errno_name(error));
}

void dp_join(dp_worker *w) { pthread_join(w->thread, NULL); }
void dp_about_to_block(void) { if (this_worker) this_worker->blocking = 1; }

void dp_until_blocked(dp_worker *w) {
    for (int look = 0; w->blocking == 0; look++) {
        if (look > 10000) dp_fail("worker never came to its call");
        poll(NULL, 0, 1);
    }
    if (w->blocking == 1) until_asleep(getpid(), w->thread_id);
}

pid_t dp_fork(void) {
    pid_t child = (pid_t)DP_MUST(fork());
    if (child == 0) prctl(PR_SET_PDEATHSIG, SIGKILL);
    return child;
}

void dp_done(int status) { exit(status); }

void dp_reap(pid_t child, const char *name) {
    int status = 0;
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR) dp_fail("waitpid: %s", dp_errno_name(errno));
    if (WIFSIGNALED(status)) dp_log("%s ended by signal %d", name, WTERMSIG(status));
    else dp_log("%s exited with %d", name, WEXITSTATUS(status));
}
