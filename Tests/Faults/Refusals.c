// Memory and descriptors that run out at any moment: of the calls that the library makes, the n-th of a kind is refused, for
// n = 1, 2, ... to the last. The programs are traced; which calls are the library's own is told by the address that made them.
// usage: refusals [SLUICESTAT]
#include "Faults.h"
#include <sys/epoll.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>

enum { ROUNDS = 40, MESSAGE = 512, CASES = 400 };

static const struct kind {
    const char *name;
    long number;
    int error;
} kinds[] = {
    {"memfd_create", SYS_memfd_create, ENOMEM}, {"ftruncate", SYS_ftruncate, ENOMEM},         {"mmap", SYS_mmap, ENOMEM},
    {"eventfd2", SYS_eventfd2, EMFILE},         {"socket", SYS_socket, EMFILE},               {"epoll_create1", SYS_epoll_create1, EMFILE},
    {"dup above", SYS_fcntl, EMFILE},           {0},
};

struct state {
    volatile int port, fds[2];
    volatile bool settled, looked;
    volatile long by_ring[2];
    char problem[200];
};
static struct state *s;

// MARK: the programs

/// Both ways in turns by poll and epoll, contents checked. The program's own descriptors come and go meanwhile.
static void talk(int fd, bool first) {
    uint8_t bytes[MESSAGE];
    int set = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event e = {.events = EPOLLIN};
    struct pollfd p = {.fd = fd, .events = POLLIN};
    if (set < 0 || epoll_ctl(set, EPOLL_CTL_ADD, fd, &e) < 0) problem("epoll: %s", strerror(errno));
    for (int i = 0; i < 2 * ROUNDS; i++) {
        uint64_t seed = (uint64_t)i;
        if (i % 2 == first) {
            for (int k = 0; k < MESSAGE; k++) bytes[k] = stream_byte(seed, (uint64_t)k);
            if (!send_all(fd, bytes, MESSAGE)) problem("send %d: %s", i, strerror(errno));
            continue;
        }
        int r = i % 4 < 2 ? poll(&p, 1, LIMIT_MS) : epoll_wait(set, &e, 1, LIMIT_MS);
        if (r != 1) problem("message %d did not come: %s", i, r < 0 ? strerror(errno) : "nothing");
        if (!recv_all(fd, bytes, MESSAGE)) problem("receive %d: %s", i, errno ? strerror(errno) : "end of stream");
        for (int k = 0; k < MESSAGE; k++)
            if (bytes[k] != stream_byte(seed, (uint64_t)k)) problem("message %d is wrong", i);
        int other = dup(1);
        if (other < 0 || close(other) < 0) problem("dup: %s", strerror(errno));
    }
    s->by_ring[first] = bytes_by_ring(fd, (long)ROUNDS * MESSAGE);
    close(set);
}

/// Asked for while the connection is open.
static void await_look(int fd, bool first) {
    s->fds[first] = fd;
    for (int64_t end = now_ms() + 2 * LIMIT_MS; !s->looked && now_ms() < end;) breathe();
    close(fd);
}

static void program(bool first) {
    ptrace(PTRACE_TRACEME, 0, 0, 0);
    raise(SIGSTOP);
    alarm(40);
    int before = open("/dev/null", O_RDONLY), fd, port;
    close(before);
    if (first) {
        while (!s->port) breathe();
        fd = connect_to(s->port);
    } else {
        int listener = listen_here(&port);
        s->port = port;
        fd = accept_one(listener);
        close(listener);
    }
    if (fd != before + !first) problem("the connection has number %d, %d was free", fd, before);
    talk(fd, first);
    await_look(fd, first);
    int after = open("/dev/null", O_RDONLY);
    if (after != before) problem("the first free number is %d, it was %d", after, before);
    exit(0);
}

// MARK: the tracer

struct tracee {
    pid_t pid;
    unsigned long from, to; ///< where the library's instructions lie
    int seen, status;
    bool refuses, ended;
};

static void find_library(struct tracee *t) {
    char path[40], line[512];
    snprintf(path, sizeof path, "/proc/%d/maps", (int)t->pid);
    FILE *f = fopen(path, "r");
    while (f && fgets(line, sizeof line, f)) {
        unsigned long from, to;
        char rights[8];
        if (strstr(line, "libsluice") && sscanf(line, "%lx-%lx %7s", &from, &to, rights) == 3 && rights[2] == 'x') t->from = from, t->to = to;
    }
    if (f) fclose(f);
}

static bool is_meant(const struct kind *kind, const struct tracee *t, const struct __ptrace_syscall_info *info) {
    if (info->instruction_pointer < t->from || info->instruction_pointer >= t->to || (long)info->entry.nr != kind->number) return false;
    return kind->number != SYS_fcntl || info->entry.args[1] == F_DUPFD_CLOEXEC;
}

/// At a call's entry or exit: the `n`-th that is meant is left out and has the error.
static void refuse(const struct kind *kind, struct tracee *t, int n) {
    struct __ptrace_syscall_info info = {0};
    struct user_regs_struct registers;
    if (ptrace(PTRACE_GET_SYSCALL_INFO, t->pid, sizeof info, &info) <= 0) return;
    if (info.op == PTRACE_SYSCALL_INFO_ENTRY && is_meant(kind, t, &info)) t->refuses = ++t->seen == n;
    else if (info.op != PTRACE_SYSCALL_INFO_EXIT) return;
    if (!t->refuses) return;
    ptrace(PTRACE_GETREGS, t->pid, 0, &registers);
    if (info.op == PTRACE_SYSCALL_INFO_ENTRY) registers.orig_rax = (unsigned long long)-1;
    else registers.rax = (unsigned long long)-kind->error, t->refuses = false;
    ptrace(PTRACE_SETREGS, t->pid, 0, &registers);
}

struct outcome {
    char reasons[2][40];
    bool was_there, is_wrong;
};

/// One run; the tracee of `side` is refused its `n`-th.
static void run_once(const struct kind *kind, int side, int n, const char *stat_tool, struct outcome *o) {
    struct tracee t[2] = {0};
    int status;
    memset(s, 0, sizeof *s);
    for (int i = 0; i < 2; i++) {
        if ((t[i].pid = fork()) < 0) die("fork");
        if (t[i].pid == 0) program(i);
        waitpid(t[i].pid, &status, 0);
        ptrace(PTRACE_SETOPTIONS, t[i].pid, 0, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL);
        find_library(&t[i]);
    }
    for (int i = 0; i < 2; i++) ptrace(PTRACE_SYSCALL, t[i].pid, 0, 0);
    while (!t[0].ended || !t[1].ended) {
        pid_t pid = waitpid(-1, &status, __WALL);
        if (pid < 0) die("waitpid: %s", strerror(errno));
        struct tracee *one = pid == t[0].pid ? &t[0] : pid == t[1].pid ? &t[1] : NULL;
        if (!one) continue;
        if (!WIFSTOPPED(status)) {
            one->ended = true, one->status = status;
            continue;
        }
        int signal = WSTOPSIG(status) == (SIGTRAP | 0x80) ? 0 : WSTOPSIG(status);
        if (!signal && one == &t[side]) refuse(kind, one, n);
        if (s->fds[0] && s->fds[1] && !s->looked) {
            for (int i = 0; i < 2; i++)
                snprintf(o->reasons[i], sizeof o->reasons[i], "%s", s->by_ring[i] ? "lane" : stat_tool ? reason_of(stat_tool, t[i].pid, s->fds[i]) : "?");
            s->looked = true;
        }
        ptrace(PTRACE_SYSCALL, pid, 0, signal);
    }
    o->was_there = t[side].seen >= n;
    o->is_wrong = t[0].status || t[1].status || s->problem[0];
    if (o->is_wrong && !s->problem[0]) snprintf(s->problem, sizeof s->problem, "they ended with %#x and %#x", t[0].status, t[1].status);
}

static bool is_one_of(const char *word, const char *const *list) {
    while (*list && strcmp(*list, word)) list++;
    return *list != NULL;
}

/// Whether a side may be there: it has a lane, or is in the kernel for want of something, its own or its peer's.
static bool is_right(const struct kind *kind, const char *reason, bool is_refused) {
    static const char *const own[] = {"lane", "?", "resources", "no stack", "no_proof", NULL};
    static const char *const others[] = {"lane", "?", "resources", "plain_peer", "peer_handed_back", "meeting", NULL};
    // No memory for the socket's record: nothing says whose it is.
    if (is_refused && kind->number == SYS_mmap && !strcmp(reason, "foreign_origin")) return true;
    return is_one_of(reason, is_refused ? own : others);
}

static void play(const struct kind *kind, int side, const char *stat_tool) {
    char name[100], seen[200] = "";
    int n = 0, lanes = 0;
    snprintf(name, sizeof name, "the %s's %s", side ? "client" : "server", kind->name);
    for (n = 1; n < CASES; n++) {
        struct outcome o = {0};
        run_once(kind, side, n, stat_tool, &o);
        if (o.is_wrong) return not_ok("%s, the %d. is refused: %s", name, n, s->problem);
        if (open_names() > 0) return not_ok("%s, the %d. is refused: %d names stay behind", name, n, open_names());
        if (!o.was_there) break;
        for (int i = 0; i < 2; i++) {
            if (is_preloaded() && !is_right(kind, o.reasons[i], i == side))
                return not_ok("%s, the %d. is refused: the %s says %s", name, n, i ? "client" : "server", o.reasons[i]);
            if (!strstr(seen, o.reasons[i])) snprintf(seen + strlen(seen), sizeof seen - strlen(seen), " %s", o.reasons[i]);
        }
        lanes += s->by_ring[0] > 0;
    }
    if (n == CASES) not_ok("%s: no end of them", name);
    else if (is_preloaded() && (lanes == 0 || n < 2)) not_ok("%s: %d calls, %d lanes: not what is meant", name, n - 1, lanes);
    else ok("%s: %d calls, %d lanes all the same:%s", name, n - 1, lanes, seen);
}

int main(int count, char **arguments) {
    s = shared_memory(sizeof *s);
    problem_text = s->problem;
    signal(SIGPIPE, SIG_IGN);
    if (!own_network()) {
        skip("refused calls", "needs root");
        return finish();
    }
    for (const struct kind *k = kinds; k->name; k++)
        for (int side = 0; side < 2; side++) play(k, side, count > 1 ? arguments[1] : NULL);
    return finish();
}
