// Two containers of one network namespace: each end has its own mounts and process numbers, with a /proc of its own, and in one
// pass its own users, too. Contents right; a lane, or a reason for none.
// usage: containers [SLUICESTAT]
#include "Faults.h"
#include <sched.h>
#include <sys/mount.h>

enum { ROUNDS = 400, MESSAGE = 256 };
enum form { NUMBERS, USERS, NO_PROC, FORMS };
static const char *const names[] = {"own process numbers", "own users", "no /proc"};

struct state {
    volatile int port, fds[2];
    volatile long by_ring[2];
    volatile bool looked, refused;
    char problem[200];
};
static struct state *s;

static void write_line(const char *path, const char *line) {
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, line, strlen(line)) < 0) problem("%s: %s", path, strerror(errno));
    close(fd);
}

static void talk(bool first) {
    uint8_t bytes[MESSAGE];
    int fd, port, listener = -1;
    if (first) {
        while (!s->port) breathe();
        fd = connect_to(s->port);
    } else {
        listener = listen_here(&port);
        s->port = port;
        fd = accept_one(listener);
    }
    for (int i = 0; i < 2 * ROUNDS; i++) {
        if (i % 2 == first) {
            for (int k = 0; k < MESSAGE; k++) bytes[k] = stream_byte((uint64_t)i, (uint64_t)k);
            if (!send_all(fd, bytes, MESSAGE)) problem("send %d: %s", i, strerror(errno));
            continue;
        }
        if (!recv_all(fd, bytes, MESSAGE)) problem("receive %d: %s", i, errno ? strerror(errno) : "end of stream");
        for (int k = 0; k < MESSAGE; k++)
            if (bytes[k] != stream_byte((uint64_t)i, (uint64_t)k)) problem("message %d is wrong", i);
    }
    s->by_ring[first] = bytes_by_ring(fd, (long)ROUNDS * MESSAGE);
    s->fds[first] = fd;
    for (int64_t end = now_ms() + 2 * LIMIT_MS; !s->looked && now_ms() < end;) breathe();
    exit(0);
}

/// As `unshare -m -p -f --mount-proc`, with -U for its own users: in a process that waits for the first one of the container.
static void enter_container(enum form form, bool first, volatile pid_t *inside) {
    char line[40];
    uid_t uid = geteuid();
    if (unshare(CLONE_NEWNS | CLONE_NEWPID | (form == USERS ? CLONE_NEWUSER : 0)) < 0) {
        s->refused = true;
        exit(0);
    }
    if (form == USERS) {
        write_line("/proc/self/setgroups", "deny");
        snprintf(line, sizeof line, "0 %d 1", (int)uid);
        write_line("/proc/self/uid_map", line), write_line("/proc/self/gid_map", line);
    }
    pid_t pid = fork();
    if (pid < 0) problem("fork: %s", strerror(errno));
    if (pid > 0) {
        *inside = pid;
        int status = wait_for(pid, 4 * LIMIT_MS);
        if (status < 0) end_process(pid);
        exit(status != 0);
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    if (getpid() != 1) problem("the first process of the container has number %d", (int)getpid());
    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
    bool is_mounted = mount(form == NO_PROC ? "none" : "proc", "/proc", form == NO_PROC ? "tmpfs" : "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) == 0;
    if (!is_mounted) {
        s->refused = true;
        exit(0);
    }
    talk(first);
}

/// `one`: only the client is in a container. `server` and `client`: where the two may be.
static void play(enum form form, bool one, const char *stat_tool, const char *server, const char *client) {
    char name[120], said[2][100] = {"?", "?"};
    pid_t pids[2];
    int status[2];
    volatile pid_t *inside = shared_memory(2 * sizeof *inside);
    memset(s, 0, sizeof *s);
    for (int i = 0; i < 2; i++) {
        if ((pids[i] = fork()) < 0) die("fork");
        if (pids[i]) continue;
        prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
        if (one && i == 0) talk(false);
        enter_container(form, i, &inside[i]);
    }
    for (int64_t end = now_ms() + 2 * LIMIT_MS; now_ms() < end && !(s->fds[0] && s->fds[1]) && !s->problem[0] && !s->refused;) breathe();
    for (int i = 0; i < 2 && stat_tool && s->fds[0] && s->fds[1]; i++)
        snprintf(said[i], sizeof said[i], "%.99s", reason_of(stat_tool, one && i == 0 ? pids[0] : inside[i], s->fds[i]));
    s->looked = true;
    if (s->refused)
        for (int i = 0; i < 2; i++) kill(pids[i], SIGKILL);
    for (int i = 0; i < 2; i++)
        if ((status[i] = wait_for(pids[i], LIMIT_MS)) < 0) end_process(pids[i]);
    munmap((void *)inside, 2 * sizeof *inside);
    snprintf(name, sizeof name, "%s, %s", one ? "one container" : "two containers", names[form]);
    bool has_lanes = s->by_ring[0] > 0 && s->by_ring[1] > 0;
    if (s->refused) skip(name, "not permitted here");
    else if (status[0] || status[1] || s->problem[0]) not_ok("%s: %s (%#x, %#x)", name, s->problem, status[0], status[1]);
    else if (is_preloaded() && stat_tool && (!strstr(server, said[0]) || !strstr(client, said[1])))
        not_ok("%s: the server says %s, the client %s", name, said[0], said[1]);
    else if (is_preloaded() && stat_tool && has_lanes != !strcmp(said[0], "lane")) not_ok("%s: %ld and %ld bytes by ring", name, s->by_ring[0], s->by_ring[1]);
    else ok("%s: %ld and %ld bytes by ring, %s and %s", name, s->by_ring[0], s->by_ring[1], said[0], said[1]);
}

int main(int count, char **arguments) {
    const char *stat_tool = count > 1 ? arguments[1] : NULL;
    s = shared_memory(sizeof *s);
    problem_text = s->problem;
    signal(SIGPIPE, SIG_IGN);
    if (!own_network()) {
        skip("containers", "needs root");
        return finish();
    }
    for (int one = 0; one < 2; one++) play(NUMBERS, one, stat_tool, "lane", "lane");
    play(USERS, false, stat_tool, "lane", "lane");
    // The container's root has all capabilities; ours may lack some, and then they do not trust each other.
    play(USERS, true, stat_tool, "lane consent meeting", "lane consent plain_peer resources");
    play(NO_PROC, false, stat_tool, "no_proof", "no_proof");
    play(NO_PROC, true, stat_tool, "no_proof plain_peer", "no_proof");
    if (open_names() > 0) not_ok("%d names stay behind", open_names());
    return finish();
}
