// The unmodified program of the differential suite, and its orchestrator.
#include "suite.h"
#include <sys/mman.h>

/// Every TCP or UDP socket that is still open when the case ends shows what it carried.
static void prove_open_sockets(void) {
    for (int fd = DP_FD_FIRST; dp_proving && fd < 256; fd++) {
        int type = 0;
        socklen_t length = sizeof type;
        if (getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &type, &length) == 0 && (type == IPPROTO_TCP || type == IPPROTO_UDP)) dp_proof(fd);
    }
}

int dp_role(const dp_case *c, bool server) {
    dp_server = server;
    dp_current = c;
    if (getenv("DIFF_MLOCK")) DP_MUST(mlockall(MCL_CURRENT | MCL_FUTURE));
    if (!c->solo) {
        pid_t own = getpid();
        dp_tell_data(&own, sizeof own);
        dp_hear_data(&dp_peer_pid, sizeof dp_peer_pid);
    }
    c->body();
    prove_open_sockets();
    return 0;
}

void dp_exec_child(const char *what, int fd) {
    char number[16], role[8];
    snprintf(number, sizeof number, "%d", fd);
    snprintf(role, sizeof role, "%s", dp_server ? "server" : "client");
    execl("/proc/self/exe", "diff-peer", "child", what, number, role, (char *)NULL);
}

static int list(void) {
    for (const dp_case *c = dp_cases; c; c = c->next)
        printf("%s/%s%s%s%s\n", c->group, c->name, c->solo ? " (solo)" : "", c->kernel ? " kernel: " : "", c->kernel ? c->kernel : "");
    return 0;
}

int main(int count, char **arguments) {
    const char *word = count > 1 ? arguments[1] : "";
    dp_proving = getenv("DIFF_PROOF") != NULL;
    if (strcmp(word, "list") == 0) return list();
    if (strcmp(word, "suite") == 0) return dp_suite(count - 2, arguments + 2);
    if (strcmp(word, "run") == 0) return dp_run_one(count - 2, arguments + 2);
    if (strcmp(word, "child") == 0 && count == 5) {
        dp_server = strcmp(arguments[4], "server") == 0;
        return dp_child(arguments[2], atoi(arguments[3]));
    }
    const dp_case *c = strcmp(word, "role") == 0 && count == 4 ? dp_find(arguments[3]) : NULL;
    if (c) return dp_role(c, strcmp(arguments[2], "server") == 0);
    fprintf(stderr, "usage: diff-peer list | suite [options] [GLOB]... | run CASE [options]\n");
    return 2;
}
