// Forks: one connection used by many processes, forks at any moment of a meeting, a server that outlives its clients.
// usage: storms [--rounds N]
#include "Faults.h"
#include <sys/epoll.h>

/// One message: atomic on a stream as long as the socket has room for it.
struct record {
    uint32_t sender, number;
    uint64_t check;
};
enum { MOST_SENDERS = 256 };

static struct record record_of(uint32_t sender, uint32_t number) {
    struct record r = {sender, number, 0};
    for (int i = 0; i < 8; i++) r.check = r.check << 8 | stream_byte(sender, number * 8ull + (uint64_t)i);
    return r;
}

struct tally {
    volatile int port;
    uint32_t got[MOST_SENDERS];
    int before, after;     ///< descriptors of the lasting server
    volatile long by_ring; ///< bytes
    char problem[200];
};
static struct tally *t;
static bool expects_lane;

/// Takes records to the end and counts them by sender, each of whom must be in order. `answers`: sends each back.
static void take(int fd, bool answers) {
    struct record r, wanted;
    for (long bytes = 0;; bytes += (long)sizeof r) {
        if (!recv_all(fd, &r, sizeof r)) {
            if (errno) problem("recv: %s", strerror(errno));
            t->by_ring += bytes_by_ring(fd, bytes);
            return;
        }
        if (r.sender >= MOST_SENDERS) problem("a record of sender %u", r.sender);
        wanted = record_of(r.sender, t->got[r.sender]);
        if (memcmp(&r, &wanted, sizeof r)) problem("sender %u: record %u instead of %u", r.sender, r.number, t->got[r.sender]);
        t->got[r.sender]++;
        if (answers && !send_all(fd, &r, sizeof r)) problem("answer: %s", strerror(errno));
    }
}

static void give(int fd, uint32_t sender, uint32_t first, uint32_t n) {
    for (uint32_t i = first; i < first + n; i++) {
        struct record r = record_of(sender, i);
        if (!send_all(fd, &r, sizeof r)) problem("sender %u: %s", sender, strerror(errno));
    }
}

/// An exchange by one of several that share the socket, in turns.
static void ask(int fd, uint32_t sender, uint32_t first, uint32_t n) {
    for (uint32_t i = first; i < first + n; i++) {
        struct record r = record_of(sender, i), back;
        if (!send_all(fd, &r, sizeof r)) problem("sender %u: %s", sender, strerror(errno));
        if (!recv_all(fd, &back, sizeof back)) problem("answer to %u: %s", sender, errno ? strerror(errno) : "end of stream");
        if (memcmp(&r, &back, sizeof r)) problem("answer to %u: record %u of %u", sender, back.number, back.sender);
    }
}

static pid_t child(void) {
    pid_t pid = fork();
    if (pid < 0) problem("fork: %s", strerror(errno));
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
        alarm(60);
    }
    return pid;
}

/// Runs a server that takes, and a client; both must end well. Expected: so many records of each of the first senders.
static void play(const char *name, bool answers, void (*client)(int fd, long n), long n, uint32_t senders, uint32_t records) {
    memset(t, 0, sizeof *t);
    pid_t pids[2];
    int status[2];
    if ((pids[0] = child()) == 0) {
        int port, listener = listen_here(&port);
        t->port = port;
        int fd = accept_one(listener);
        close(listener);
        take(fd, answers);
        exit(0);
    }
    if ((pids[1] = child()) == 0) {
        while (!t->port) breathe();
        int fd = connect_to(t->port);
        client(fd, n);
        close(fd);
        exit(0);
    }
    for (int i = 1; i >= 0; i--)
        if ((status[i] = wait_for(pids[i], i ? 6 * LIMIT_MS : LIMIT_MS)) < 0) end_process(pids[i]);
    for (uint32_t i = 0; i < senders && !t->problem[0]; i++)
        if (t->got[i] != records) snprintf(t->problem, sizeof t->problem, "%u records of sender %u, %u were sent", t->got[i], i, records);
    if (t->problem[0]) not_ok("%s: %s", name, t->problem);
    else if (status[0] || status[1]) not_ok("%s: server %#x, client %#x%s", name, status[0], status[1], status[1] < 0 || status[0] < 0 ? " (hangs)" : "");
    else if (expects_lane && t->by_ring == 0) not_ok("%s: no byte went by the ring", name);
    else ok("%s: %ld bytes by ring", name, t->by_ring);
}

/// Children come and go while the connection is used; each sends its records beside its parent's.
static void one_after_another(int fd, long n) {
    give(fd, 0, 0, 30);
    for (uint32_t i = 1; i < n; i++) {
        pid_t pid = child();
        if (pid == 0) {
            give(fd, i, 0, 30);
            // Each way of ending, also without tidying up.
            if (i % 4 == 0) exit(0);
            if (i % 4 == 1) _exit(0);
            if (i % 4 == 2) kill(getpid(), SIGKILL);
            execl("/bin/true", "true", (char *)NULL);
            _exit(1);
        }
        int status = wait_for(pid, LIMIT_MS);
        if (status != 0 && !(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)) problem("child %u ended with %#x", i, status);
    }
}

/// All at once, grandchildren too.
static void all_at_once(int fd, long n) {
    give(fd, 0, 0, 8);
    pid_t pids[MOST_SENDERS];
    for (uint32_t i = 1; i < n; i++)
        if ((pids[i] = child()) == 0) {
            pid_t grandchild = i % 3 == 0 ? child() : -1;
            if (grandchild == 0) {
                give(fd, i, 0, 250);
                exit(0);
            }
            if (grandchild > 0) exit(wait_for(grandchild, 5 * LIMIT_MS) != 0);
            give(fd, i, 0, 250);
            exit(0);
        }
    give(fd, 0, 8, 242);
    for (uint32_t i = 1; i < n; i++) {
        int status = wait_for(pids[i], 5 * LIMIT_MS);
        if (status != 0) problem("child %u ended with %#x", i, status);
    }
}

/// A fork after each of the first messages: before, while and after the two ends meet. Then child and parent in turns.
static void fork_at(int fd, long n) {
    ask(fd, 0, 0, (uint32_t)n);
    int go[2], done[2];
    char c;
    if (pipe(go) < 0 || pipe(done) < 0) problem("pipe");
    pid_t pid = child();
    if (pid == 0) {
        for (uint32_t i = 0; i < 20; i++) {
            if (read(go[0], &c, 1) != 1) problem("the parent is gone");
            ask(fd, 1, i, 1);
            if (write(done[1], "d", 1) != 1) problem("the parent is gone");
        }
        exit(0);
    }
    for (uint32_t i = 0; i < 20; i++) {
        if (write(go[1], "g", 1) != 1 || read(done[0], &c, 1) != 1) problem("the child is gone");
        ask(fd, 0, (uint32_t)n + i, 1);
    }
    int status = wait_for(pid, LIMIT_MS);
    if (status != 0) problem("the child ended with %#x", status);
    ask(fd, 0, (uint32_t)n + 20, 40 - (uint32_t)n);
    ask(fd, 1, 20, 40);
}

/// The parent forks again and again while a child of it, and the parent itself, wait for answers.
static void fork_and_go(int fd, long n) {
    for (uint32_t i = 0; i < n; i++) {
        ask(fd, 0, i * 3, 3);
        pid_t pid = child();
        if (pid == 0) {
            // The child has the connection for itself now.
            if (i + 1 < n) continue;
            exit(0);
        }
        int status = wait_for(pid, 5 * LIMIT_MS);
        exit(status == 0 ? 0 : 1);
    }
}

/// A server in a process of its own, whose clients end one way or another after a lane. With `by_epoll` it waits in a set.
static void lasting_server(long n, bool by_epoll) {
    int port, listener = listen_here(&port), set = epoll_create1(EPOLL_CLOEXEC);
    for (long i = 0; i < n; i++) {
        pid_t pid = child();
        if (pid == 0) {
            int fd = connect_to(port);
            ask(fd, 0, 0, 24);
            if (i % 2) kill(getpid(), SIGKILL);
            exit(0);
        }
        int fd = accept_one(listener);
        struct epoll_event e = {.events = EPOLLIN};
        if (by_epoll) epoll_ctl(set, EPOLL_CTL_ADD, fd, &e);
        struct record r;
        long bytes = 0;
        for (; (!by_epoll || epoll_wait(set, &e, 1, -1) == 1) && recv_all(fd, &r, sizeof r); bytes += (long)sizeof r)
            if (!send_all(fd, &r, sizeof r)) break;
        t->by_ring += bytes_by_ring(fd, bytes);
        close(fd);
        if (wait_for(pid, LIMIT_MS) < 0) problem("client %ld hangs", i);
        if (i == 9) t->before = descriptor_count();
    }
    t->after = descriptor_count();
    exit(0);
}

static void outlive(long n, bool by_epoll) {
    const char *name = by_epoll ? "a server by epoll outlives its clients" : "a server outlives its clients";
    memset(t, 0, sizeof *t);
    pid_t pid = child();
    if (pid == 0) lasting_server(n, by_epoll);
    int status = wait_for(pid, 6 * LIMIT_MS);
    if (status < 0) end_process(pid);
    if (status || t->problem[0]) not_ok("%s: status %#x %s", name, status, t->problem);
    else if (t->after > t->before + 6) not_ok("%s: it held %d descriptors after ten of them, %d after %ld", name, t->before, t->after, n);
    else if (is_preloaded() && t->by_ring == 0) not_ok("%s: no byte went by the ring", name);
    else ok("%s, %ld and half of them killed: %d descriptors after ten, %d now, %ld bytes by ring", name, n, t->before, t->after, t->by_ring);
}

int main(int n, char **words) {
    long rounds = n > 2 && !strcmp(words[1], "--rounds") ? atol(words[2]) : 60;
    t = shared_memory(sizeof *t);
    problem_text = t->problem;
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    bool own = own_network(), is_at_once = getenv("SLUICE_LANE_AT") && atoi(getenv("SLUICE_LANE_AT")) == 0;
    // Who forks before the two ends have met may stay in the kernel.
    expects_lane = is_preloaded() && is_at_once;
    play("children one after another", false, one_after_another, rounds < 200 ? rounds : 200, (uint32_t)(rounds < 200 ? rounds : 200), 30);
    play("children all at once", false, all_at_once, 12, 12, 250);
    play("each goes on where its parent forked", true, fork_and_go, rounds < 100 ? rounds : 100, 1, (uint32_t)(3 * (rounds < 100 ? rounds : 100)));
    for (long i = 0; i <= 40; i += rounds > 100 || i < 16 ? 1 : 8) {
        char name[60];
        snprintf(name, sizeof name, "a fork after message %ld", i);
        expects_lane = is_preloaded() && (is_at_once || i >= 24);
        play(name, true, fork_at, i, 2, 60);
    }
    outlive(rounds, false);
    outlive(rounds, true);
    while (waitpid(-1, NULL, WNOHANG) > 0) {}
    if (own && open_names() > 0) not_ok("%d names stay behind", open_names());
    return finish();
}
