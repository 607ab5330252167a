// One run of a case: its processes, their environment and limits, what they wrote, how they ended.
#include "suite.h"
#include <dirent.h>
#include <grp.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>

double dp_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static void die(const char *what) {
    fprintf(stderr, "diff-peer: %s: %s\n", what, strerror(errno));
    _exit(96);
}

static void read_only(const char *path) {
    if (mount(path, path, NULL, MS_BIND, NULL) || mount(NULL, path, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL)) die(path);
}

static void apply_limits(int limits) {
    if (limits & DP_LIMIT_NOFILE) {
        struct rlimit few = {64, 64};
        if (setrlimit(RLIMIT_NOFILE, &few)) die("RLIMIT_NOFILE");
    }
    if (limits & DP_LIMIT_MLOCK) setenv("DIFF_MLOCK", "1", 1);
    if (!(limits & DP_LIMIT_NOBODY)) return;
    if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL)) die("mount namespace");
    read_only("/tmp");
    if (access("/dev/shm", F_OK) == 0) read_only("/dev/shm");
    if (setgroups(0, NULL) || setresgid(65534, 65534, 65534) || setresuid(65534, 65534, 65534)) die("uid 65534");
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) die("no_new_privs");
}

/// Variables that steer the library: a role has only those that the plan gives it.
static void clear_environment(void) {
    extern char **environ;
    for (char **at = environ; *at;) {
        bool ours = !strncmp(*at, "SLUICE_", 7) || !strncmp(*at, "EF_", 3) || !strncmp(*at, "LD_PRELOAD=", 11) || !strncmp(*at, "DIFF_PROOF=", 11);
        if (!ours) { at++; continue; }
        char name[128];
        snprintf(name, sizeof name, "%.*s", (int)strcspn(*at, "="), *at);
        unsetenv(name);
        at = environ;
    }
}

static void set_environment(const dp_plan *plan, int role) {
    clear_environment();
    for (int i = 0; i < plan->env_count; i++) putenv((char *)plan->env[i]);
    if (!plan->preload[role]) return;
    setenv("LD_PRELOAD", plan->preload[role], 1);
    setenv("DIFF_PROOF", "1", 1);
    if (strcmp(plan->mode, "first") == 0) setenv("SLUICE_LANE_AT", "0", 1);
    if (strncmp(plan->mode, "chaos:", 6) == 0) setenv("SLUICE_CHAOS", plan->mode + 6, 1);
}

static _Noreturn void become_role(const dp_run *run, const dp_plan *plan, int role, const int channel[2]) {
    setpgid(0, 0);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    for (int number = 1; number < NSIG; number++) signal(number, SIG_DFL);
    // The wanted descriptors may stand on each other's final numbers: first far away, then to their places.
    int sources[3] = {channel[role], run->log[role], run->proof[role]};
    for (int i = 0; i < 3; i++)
        if ((sources[i] = fcntl(sources[i], F_DUPFD, 200)) < 0) die("F_DUPFD");
    int null = open("/dev/null", O_RDWR);
    if (null < 0 || dup2(null, 0) < 0) die("/dev/null");
    if (!plan->raw_stderr && (dup2(sources[1], 1) < 0 || dup2(sources[1], 2) < 0)) die("dup2");
    for (int i = 0; i < 3; i++)
        if (dup2(sources[i], DP_FD_CHANNEL + i) < 0) die("dup2");
    close_range(DP_FD_FIRST, ~0u, 0);
    set_environment(plan, role);
    apply_limits(plan->limits);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    char name[128];
    snprintf(name, sizeof name, "%s/%s", plan->c->group, plan->c->name);
    char *arguments[] = {"diff-peer", "role", role ? "client" : "server", name, NULL};
    execv("/proc/self/exe", arguments);
    die("exec");
    _exit(96);
}

static int make_sink(const char *name) {
    int fd = memfd_create(name, MFD_CLOEXEC);
    if (fd < 0 || fcntl(fd, F_SETFL, O_APPEND)) die("memfd");
    return fd;
}

void dp_run_begin(dp_run *run, const dp_plan *plan, double timeout) {
    int channel[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, channel)) die("socketpair");
    double now = dp_now();
    *run = (dp_run){.left = plan->c->solo ? 1 : DP_ROLES, .start = now, .deadline = now + timeout};
    for (int role = 0; role < DP_ROLES; role++) {
        run->log[role] = make_sink("transcript");
        run->proof[role] = make_sink("proof");
    }
    for (int role = 0; role < run->left; role++) {
        run->pid[role] = fork();
        if (run->pid[role] < 0) die("fork");
        if (run->pid[role] == 0) become_role(run, plan, role, channel);
        setpgid(run->pid[role], run->pid[role]);
    }
    close(channel[0]);
    close(channel[1]);
}

bool dp_run_ended(dp_run *run, pid_t pid, int status) {
    for (int role = 0; role < DP_ROLES; role++) {
        if (run->pid[role] != pid) continue;
        run->status[role] = status;
        kill(-pid, SIGKILL);  // whoever it left behind
        run->pid[role] = 0;
        run->left--;
        return true;
    }
    return false;
}

/// First line of a file under /proc, or nothing.
static bool first_line(char *line, size_t size, const char *path) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    ssize_t got = read(fd, line, size - 1);
    close(fd);
    if (got <= 0) return false;
    line[got] = 0;
    line[strcspn(line, "\n")] = 0;
    return true;
}

/// Where each thread of a process stands, into the role's transcript.
static void note_threads(const char *pid, int log) {
    char path[300], line[128];
    snprintf(path, sizeof path, "/proc/%s/task", pid);
    DIR *tasks = opendir(path);
    for (struct dirent *entry; tasks && (entry = readdir(tasks));) {
        if (entry->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "/proc/%.20s/task/%.20s/syscall", pid, entry->d_name);
        if (first_line(line, sizeof line, path)) dprintf(log, "-- thread %s of %s is in system call %.60s\n", entry->d_name, pid, line);
    }
    if (tasks) closedir(tasks);
}

/// The same for every process that the role has started and that still lives.
static void note_processes(pid_t group, int log) {
    DIR *processes = opendir("/proc");
    for (struct dirent *entry; processes && (entry = readdir(processes));) {
        char path[300], line[256];
        int its_group = 0;
        if (entry->d_name[0] < '0' || entry->d_name[0] > '9') continue;
        snprintf(path, sizeof path, "/proc/%.20s/stat", entry->d_name);
        char *rest = first_line(line, sizeof line, path) ? strrchr(line, ')') : NULL;
        if (rest && sscanf(rest, ") %*c %*d %d", &its_group) == 1 && its_group == group) note_threads(entry->d_name, log);
    }
    if (processes) closedir(processes);
}

void dp_run_abort(dp_run *run) {
    run->hung = true;
    for (int role = 0; role < DP_ROLES; role++) {
        if (!run->pid[role]) continue;
        note_processes(run->pid[role], run->log[role]);
        kill(-run->pid[role], SIGKILL);
    }
}

static char *contents(int fd) {
    off_t size = lseek(fd, 0, SEEK_END);
    char *text = malloc(size + 1);
    ssize_t got = pread(fd, text, size, 0);
    text[got < 0 ? 0 : got] = 0;
    close(fd);
    return text;
}

static void add_proofs(dp_outcome *o, const char *text, const char *role) {
    for (const char *line = text; *line; line = strchr(line, '\n') + 1) {
        unsigned long long rx, tx, rx_kernel, tx_kernel, openings, handbacks;
        unsigned lane, reason;
        if (sscanf(line, "%llu %llu %llu %llu %llu %llu %u %u", &rx, &tx, &rx_kernel, &tx_kernel, &openings, &handbacks, &lane, &reason) == 8) {
            o->proofs++;
            o->ring_bytes += rx + tx;
            o->kernel_bytes += rx_kernel + tx_kernel;
            o->openings += openings;
            o->handbacks += handbacks;
            size_t used = strlen(o->proof_text);
            o->proof_text = realloc(o->proof_text, used + 200);
            snprintf(o->proof_text + used, 200, "%s: ring in %llu out %llu, kernel in %llu out %llu, opened %llu, handed back %llu, lane %u, reason %u\n",
                     role, rx, tx, rx_kernel, tx_kernel, openings, handbacks, lane, reason);
        }
        if (!strchr(line, '\n')) break;
    }
}

dp_outcome dp_run_finish(dp_run *run) {
    dp_outcome o = {.hung = run->hung, .proof_text = calloc(1, 1)};
    for (int role = 0; role < DP_ROLES; role++) {
        int status = run->status[role];
        if (run->hung) dprintf(run->log[role], "-- hung\n");
        else if (WIFSIGNALED(status)) dprintf(run->log[role], "-- ended by signal %d\n", WTERMSIG(status));
        else dprintf(run->log[role], "-- exit %d\n", WEXITSTATUS(status));
        char *text = contents(run->log[role]), *proofs = contents(run->proof[role]);
        o.broken |= strstr(text, "CASE BROKEN") != NULL;
        o.transcript[role] = dp_sort_by_tag(text);
        add_proofs(&o, proofs, role ? "client" : "server");
        free(text);
        free(proofs);
    }
    return o;
}

void dp_outcome_free(dp_outcome *o) {
    for (int role = 0; role < DP_ROLES; role++) free(o->transcript[role]);
    free(o->proof_text);
    *o = (dp_outcome){0};
}
