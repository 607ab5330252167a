// Connections that are accepted, shared with a forked child, and ended there: in order, by exit, or by a kill. What the
// parent keeps for them must come back: their places in its stack, their mappings, and their slots in the pair's regions.
// usage: sharers
#include "Faults.h"
#include "CStackLayout.h"
#include <dirent.h>
#include <sched.h>
#include <sys/syscall.h>

enum { CONNECTIONS = 200, ROUNDS = 20, MESSAGE = 32, SOCKETS = 150 };

/// How the child ends its connection.
enum manner { CLOSES, CLOSES_LATER, EXITS, RAW_EXITS, KILLED, MANNERS };
static const char *const manner_names[] = {"closes first", "closes last", "exits", "ends by a raw exit", "is killed"};

struct state {
    volatile int port;
    volatile long ring_regions; ///< of the connecting process at its end
    char problem[200];
};
static struct state *s;

/// Descriptors of this process that refer to a memfd of that name; `each` may end the search.
static int memories_named(const char *name, bool (*each)(int fd)) {
    int count = 0;
    char wanted[60], target[100];
    snprintf(wanted, sizeof wanted, "/memfd:%s (deleted)", name);
    DIR *all = opendir("/proc/self/fd");
    for (struct dirent *d; all && (d = readdir(all));) {
        ssize_t n = readlinkat(dirfd(all), d->d_name, target, sizeof target - 1);
        if (n < 0) continue;
        target[n] = 0;
        if (strcmp(target, wanted)) continue;
        count++;
        if (each && each(atoi(d->d_name))) break;
    }
    if (all) closedir(all);
    return count;
}

/// The head of this process's stack and its first endpoint. (A fork child has its parent's memory open, too.)
static struct sl_stack_header head;
static struct sl_endpoint first_endpoint;
static int own_stack;
static bool is_own_stack(int fd) {
    struct sl_stack_header h;
    if (pread(fd, &h, sizeof h, 0) != sizeof h || h.magic != SL_STACK_MAGIC || h.pid != (uint32_t)getpid()) return false;
    head = h;
    own_stack = fd;
    return pread(fd, &first_endpoint, sizeof first_endpoint, h.first_endpoint) == sizeof first_endpoint;
}

/// Places of endpoints that this process has ever used; 0 without the library.
static uint32_t places(void) {
    memset(&head, 0, sizeof head);
    memories_named("sluice", is_own_stack);
    return head.endpoints_used;
}

/// Mapped rings of this process: the mappings of regions but for their control words.
static int mapped_rings(void) {
    char line[400];
    FILE *f = fopen("/proc/self/maps", "re");
    int n = 0;
    while (f && fgets(line, sizeof line, f)) {
        unsigned long from, to, offset;
        if (strstr(line, "memfd:sluice-pair") && sscanf(line, "%lx-%lx %*s %lx", &from, &to, &offset) == 3) n += offset != 0;
    }
    if (f) fclose(f);
    return n;
}

/// How many places of this process's stack are free.
static uint32_t free_places(void) {
    uint32_t used = places(), live = 0;
    for (uint32_t i = 0; i < used; i++) {
        struct sl_endpoint e;
        off_t at = (off_t)head.first_endpoint + (off_t)i * (off_t)sizeof e;
        if (pread(own_stack, &e, sizeof e, at) == sizeof e && e.state != SL_ENDPOINT_FREE) live++;
    }
    return used - live;
}

/// How many places, that no socket has had before, are needed for that many sockets. Places come back as sockets are made;
/// the kernel is asked now and then whose socket nobody holds any more.
static uint32_t fresh_places(void) {
    int fds[SOCKETS];
    for (int tries = 0; is_preloaded() && places() >= SOCKETS && free_places() < SOCKETS && tries < LIMIT_MS / 10; tries++) {
        breathe();
        usleep(10000);
        close(socket(AF_INET, SOCK_STREAM, 0));
    }
    uint32_t before = places();
    for (int i = 0; i < SOCKETS; i++) fds[i] = socket(AF_INET, SOCK_STREAM, 0);
    uint32_t after = places();
    for (int i = 0; i < SOCKETS; i++) close(fds[i]);
    return after - before;
}

static void exchange(int fd, bool first, int rounds) {
    uint8_t out[MESSAGE], in[MESSAGE];
    for (int i = 0; i < rounds; i++)
        for (int turn = 0; turn < 2; turn++) {
            if ((turn == 0) == first) {
                memset(out, i, sizeof out);
                if (!send_all(fd, out, sizeof out)) problem("send: %s", strerror(errno));
            } else {
                if (!recv_all(fd, in, sizeof in)) problem("recv: %s", errno ? strerror(errno) : "end");
                for (int k = 0; k < MESSAGE; k++)
                    if (in[k] != (uint8_t)i) problem("round %d is wrong", i);
            }
        }
}

static void connecting(enum manner manner, bool shares_lane) {
    char c;
    alarm(100);
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    while (!s->port) breathe();
    for (int i = 0; i < CONNECTIONS; i++) {
        int fd = connect_to(s->port);
        if (shares_lane) exchange(fd, true, ROUNDS);
        exchange(fd, true, 2);
        ssize_t r = recv(fd, &c, 1, 0);
        if (r > 0 || (r < 0 && manner != KILLED)) problem("the end: %zd %s", r, strerror(errno));
        close(fd);
    }
    s->ring_regions = memories_named("sluice-pair", NULL);
    exit(0);
}

static void serve(int fd, enum manner manner, int *to_parent) {
    exchange(fd, false, 2);
    if (manner == CLOSES || manner == CLOSES_LATER) close(fd);
    if (write(to_parent[1], "x", 1) != 1) problem("pipe");
    if (manner == KILLED) pause();
    if (manner == RAW_EXITS) raw_call(SYS_exit_group, 0, 0, 0, 0, 0);
    if (manner == EXITS) exit(0);
    _exit(0);
}

static void play(enum manner manner, bool shares_lane) {
    char name[100], c;
    int rings = 0;
    memset(s, 0, sizeof *s);
    pid_t other = fork();
    if (other == 0) connecting(manner, shares_lane);
    int port, listener = listen_here(&port);
    s->port = port;
    for (int i = 0; i < CONNECTIONS && !s->problem[0]; i++) {
        int to_parent[2], fd = accept_one(listener);
        if (shares_lane) exchange(fd, false, ROUNDS);
        if (pipe(to_parent) < 0) die("pipe");
        pid_t child = fork();
        if (child == 0) {
            close(listener);
            serve(fd, manner, to_parent);
        }
        if (manner != CLOSES) close(fd);
        if (read(to_parent[0], &c, 1) != 1 && !s->problem[0]) die("the child broke");
        if (manner == KILLED) kill(child, SIGKILL);
        wait_for(child, LIMIT_MS);
        if (manner == CLOSES) close(fd);
        close(to_parent[0]), close(to_parent[1]);
    }
    rings = mapped_rings();
    uint32_t used = places(), more = fresh_places();
    close(listener);
    int status = wait_for(other, 2 * LIMIT_MS);
    if (status < 0) end_process(other);
    snprintf(name, sizeof name, "%s, the child %s", shares_lane ? "a lane is shared" : "accept and fork", manner_names[manner]);
    if (s->problem[0] || status) not_ok("%s: %s (%#x)", name, s->problem, status);
    else if (is_preloaded() && used == 0) not_ok("%s: no stack", name);
    else if (more > 4) not_ok("%s: %u more places for %d sockets", name, more, SOCKETS);
    else if (rings > 0) not_ok("%s: %d rings stay mapped", name, rings);
    else if (shares_lane && is_preloaded() && s->ring_regions == 0) not_ok("%s: no lane", name);
    else if (s->ring_regions > (manner == EXITS || manner == RAW_EXITS || manner == KILLED ? 4 : 1))
        not_ok("%s: %ld regions, slots do not come back", name, s->ring_regions);
    else ok("%s: %u more places, %d rings mapped, %ld regions", name, more, rings, s->ring_regions);
}

/// A fork that fails leaves no sharer behind: in a process namespace whose first process has ended.
static void failed_forks(void) {
    memset(s, 0, sizeof *s);
    pid_t child = fork();
    if (child == 0) {
        if (unshare(CLONE_NEWPID)) problem("unshare: %s", strerror(errno));
        pid_t first = fork();
        if (first == 0) raw_call(SYS_exit_group, 0, 0, 0, 0, 0);
        waitpid(first, NULL, 0);
        if (socket(AF_INET, SOCK_STREAM, 0) < 0) problem("socket");
        if (fork() >= 0 || _Fork() >= 0 || syscall(SYS_fork) >= 0) problem("a fork did not fail");
        uint32_t used = places();
        if (is_preloaded() && used != 1) problem("%u places", used);
        if (used && (first_endpoint.descriptors != 1 || first_endpoint.flags & SL_EP_SHARED))
            problem("%u descriptors, flags %#x", first_endpoint.descriptors, first_endpoint.flags);
        _exit(0);
    }
    int status = wait_for(child, LIMIT_MS);
    if (status) not_ok("forks that fail: %s (%#x)", s->problem, status);
    else ok("forks that fail are not counted");
}

int main(void) {
    s = shared_memory(sizeof *s);
    problem_text = s->problem;
    signal(SIGPIPE, SIG_IGN);
    fresh_places();
    for (int shares_lane = 0; shares_lane < 2; shares_lane++)
        for (enum manner manner = 0; manner < MANNERS; manner++) play(manner, shares_lane);
    failed_forks();
    return finish();
}
