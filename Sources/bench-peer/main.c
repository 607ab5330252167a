// bench-peer: the two ends of one benchmark run, in plain C on libc, so that a preload library meets an ordinary program.
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "Peer.h"
#include "Ring.h"

struct control *control;

struct pattern {
    const char *name;
    void (*server)(void);
    void (*client)(void);
    bool plain;
    /// As many client processes as the run has connections.
    bool crowd;
};

/// Without a client the pattern has one process. Such a one that only starts others is not preloaded itself.
static const struct pattern patterns[] = {
    {"pingpong", pingpong_server, pingpong_client, false}, {"stream", stream_server, stream_client, false},
    {"churn", churn_server, churn_client, false},          {"many", many_server, many_client, false},
    {"rate", pingpong_server, rate_client, false},         {"memory", memory_server, memory_client, false},
    {"calls", calls_single, NULL, false},                  {"start", start_single, NULL, true},
    {"observe", observe_single, NULL, false},
    {"clients", clients_server, clients_client, false, true}, {"memcache", memcache_single, NULL, false},
};

/// With transports that keep messages apart.
static const struct pattern datagram_patterns[] = {
    {"pingpong", datagram_pingpong_server, datagram_pingpong_client, false},
    {"stream", datagram_stream_server, datagram_stream_client, false},
    {"clients", datagram_clients_server, datagram_clients_client, false, true},
};

static size_t control_bytes(void) { return (sizeof(struct control) + 4095) & ~(size_t)4095; }
size_t control_size(void) { return control_bytes() + 2 * sizeof(struct ring); }
void *control_rings(void) { return (char *)control + control_bytes(); }

static const struct pattern *find_pattern(void) {
    bool datagrams = options.transport >= TRANSPORT_UDP;
    const struct pattern *list = datagrams ? datagram_patterns : patterns;
    size_t count = datagrams ? sizeof datagram_patterns / sizeof *list : sizeof patterns / sizeof *list;
    for (size_t i = 0; i < count; i++)
        if (strcmp(list[i].name, options.pattern) == 0) return &list[i];
    return NULL;
}

static int map_control(int fd) {
    void *at = mmap(NULL, control_size(), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED) return -1;
    control = at;
    return 0;
}

static int run_side(const struct pattern *pattern) {
    if (map_control(options.control_fd) != 0) {
        perror("bench-peer: control block");
        return 1;
    }
    close(options.control_fd);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int side = options.role == ROLE_CLIENT ? CLIENT : SERVER;
    control->side[side].pid = getpid();
    pin(options.core[side]);
    if (side == CLIENT) {
        pattern->client();
        reach(STEP_DONE);
    } else {
        pattern->server();
        // Its processor time is read by the client at the end of the interval.
        if (pattern->client) await(STEP_DONE);
    }
    return 0;
}

static volatile sig_atomic_t expired;
static void expire(int number) { (void)number; expired = 1; }
bool parent_expired(void) { return expired; }

static pid_t start_side(char **argv, const char *role, int side, int fd, bool plain) {
    pid_t parent = getpid(), pid = fork();
    if (pid != 0) return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(1);
    if (options.preload && options.preload_side[side] && !plain) setenv("LD_PRELOAD", options.preload, 1);
    int count = 0;
    while (argv[count]) count++;
    char **arguments = calloc((size_t)count + 3, sizeof *arguments);
    char word[32];
    snprintf(word, sizeof word, "%s:%d", role, fd);
    arguments[0] = argv[0];
    arguments[1] = "--role";
    arguments[2] = word;
    for (int i = 1; i < count; i++) arguments[i + 2] = argv[i];
    execv("/proc/self/exe", arguments);
    _exit(127);
}

static pid_t start_neighbour(void) {
    pid_t pid = fork();
    if (pid != 0) return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    pin(options.neighbour);
    for (volatile unsigned long n = 0;; n++) {}
}

/// Waits for both sides; when one fails the other is ended too.
static int await_sides(pid_t *pids, int count) {
    int failed = 0, left = count;
    while (left > 0) {
        int status;
        pid_t pid = waitpid(-1, &status, 0);
        if (pid < 0 && errno != EINTR) return 1;
        bool bad = expired || (pid > 0 && (!WIFEXITED(status) || WEXITSTATUS(status) != 0));
        if (bad && !failed) {
            failed = 1;
            if (expired) snprintf(control->side[SERVER].failure, sizeof control->side[SERVER].failure, "not finished after %u ms", options.limit_ms);
            else if (pid > 0 && WIFSIGNALED(status) && !control->side[SERVER].failure[0])
                snprintf(control->side[SERVER].failure, sizeof control->side[SERVER].failure, "a side was ended by signal %d", WTERMSIG(status));
            for (int i = 0; i < count; i++)
                if (pids[i] > 0) kill(pids[i], SIGKILL);
        }
        for (int i = 0; i < count; i++)
            if (pid > 0 && pids[i] == pid) {
                pids[i] = 0;
                left--;
            }
    }
    return failed;
}

static int run_parent(const struct pattern *pattern, char **argv) {
    int fd = memfd_create("bench-peer", 0);
    if (fd < 0 || ftruncate(fd, (off_t)control_size()) != 0 || map_control(fd) != 0) {
        perror("bench-peer: control block");
        return 1;
    }
    struct sigaction action = {.sa_handler = expire};
    sigaction(SIGALRM, &action, NULL);
    pid_t neighbour = options.neighbour >= -1 ? start_neighbour() : 0;
    int count = !pattern->client ? 1 : pattern->crowd ? 1 + (int)options.connections : 2;
    pid_t *pids = calloc((size_t)count, sizeof *pids);
    if (!pids) return 1;
    pids[0] = start_side(argv, pattern->client ? "server" : "single", SERVER, fd, pattern->plain);
    for (int i = 1; i < count; i++) pids[i] = start_side(argv, "client", CLIENT, fd, false);
    alarm(options.limit_ms / 1000 + 1);
    if (pattern->crowd) clients_conduct(pids, (unsigned)count);
    int failed = await_sides(pids, count);
    alarm(0);
    if (neighbour > 0) {
        kill(neighbour, SIGKILL);
        waitpid(neighbour, NULL, 0);
    }
    json_print(failed);
    bool skipped = control->side[SERVER].skipped[0] || control->side[CLIENT].skipped[0];
    return failed && !skipped;
}

int main(int argc, char **argv) {
    int status = options_parse(argc, argv);
    if (status != 0) return status;
    const struct pattern *pattern = find_pattern();
    if (!pattern) {
        fprintf(stderr, "bench-peer: no pattern '%s' with this transport\n", options.pattern);
        return 2;
    }
    return options.role == ROLE_PARENT ? run_parent(pattern, argv) : run_side(pattern);
}
