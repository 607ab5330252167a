// One round: sets up the three processes, cuts the victim's call off, lets the others go on to the end.
#include "Steps.h"
#include <sys/ptrace.h>

int stopped_ms = 10;
static const char *const who_names[] = {"peer", "victim", "third", "successor"};
static struct round *r;
static bool is_private, peer_told;

void prepare_rounds(bool own) {
    r = shared_memory(sizeof *r);
    is_private = own;
}

static void let_go(struct round *round, enum who who) {
    if (write(round->go[who][1], "g", 1) != 1) die("go: %s", strerror(errno));
}
static void tell_peer(struct round *round) {
    if (!peer_told) let_go(round, PEER);
    peer_told = true;
}

static void open_pipes(void) {
    if (pipe2(r->ready, O_CLOEXEC) < 0) die("pipe: %s", strerror(errno));
    for (int i = 0; i < EVERYONE; i++)
        if (pipe2(r->go[i], O_CLOEXEC) < 0) die("pipe: %s", strerror(errno));
}
static void close_pipes(void) {
    close(r->ready[0]), close(r->ready[1]);
    for (int i = 0; i < EVERYONE; i++) close(r->go[i][0]), close(r->go[i][1]);
}

static bool await_ready(int n) {
    for (int64_t end = now_ms() + LIMIT_MS; n > 0; n--) {
        struct pollfd p = {.fd = r->ready[0], .events = POLLIN};
        int64_t left = end - now_ms();
        char c;
        if (left <= 0 || poll(&p, 1, (int)left) != 1 || read(r->ready[0], &c, 1) != 1) return false;
    }
    return true;
}

static pid_t start(void (*program)(struct round *)) {
    pid_t pid = fork();
    if (pid < 0) die("fork: %s", strerror(errno));
    if (pid > 0) return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    alarm(60);
    program(r);
    _exit(1);
}

/// Says what is wrong, once.
static void complain(struct outcome *o, const char *format, ...) {
    if (o->why[0]) return;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(o->why, sizeof o->why, format, arguments);
    va_end(arguments);
}

/// Waits for the end of one, which must be in order unless it has said why not.
static void collect(pid_t pid, enum who who, struct outcome *o) {
    int status = wait_for(pid, LIMIT_MS);
    if (status < 0) {
        complain(o, "the %s hangs at stage %ld", who_names[who], r->stage[who]);
        end_process(pid);
    } else if (status != 0 && !r->problem[who][0]) complain(o, "the %s ended with status %#x", who_names[who], status);
}

/// The sharer is an orphan by now, and so our child. Nobody else may be left.
static void collect_rest(struct outcome *o) {
    if (r->sharer) collect(r->sharer, SHARER, o);
    int status;
    // Behind a failure some are only about to end.
    for (int64_t end = now_ms() + LIMIT_MS; o->why[0] && now_ms() < end && waitpid(-1, &status, WNOHANG | __WALL) >= 0;) breathe();
    if (waitpid(-1, &status, WNOHANG | __WALL) >= 0) complain(o, "a process stays behind");
    if (is_private && open_names() > 0) complain(o, "%d names stay behind", open_names());
}

/// Every byte (or datagram) came, and none that nobody sent. Asked when all have ended, for a byte may arrive before its sender knows.
static void count_bytes(struct outcome *o) {
    long sent = r->sent[VICTIM], most = r->mode == KILL ? r->most : sent;
    if (r->got[VICTIM] < sent) complain(o, "%ld came of %ld that were sent", r->got[VICTIM], sent);
    if (r->got[VICTIM] > most) complain(o, "%ld came, but at most %ld were sent", r->got[VICTIM], most);
    if (r->got[SHARER] != r->sent[SHARER]) complain(o, "of %s %ld came of %ld", third, r->got[SHARER], r->sent[SHARER]);
}

/// Sets up a round; false with a reason. The victim stands before its call then.
static bool set_up(const struct path *path, enum mode mode, bool connects, bool shared, pid_t *peer, pid_t *victim, struct outcome *o) {
    int status = 0;
    memset(r, 0, sizeof *r);
    peer_told = false;
    r->path = path;
    r->mode = mode;
    r->victim_connects = connects;
    r->has_sharer = shared;
    open_pipes();
    *peer = start(be_peer);
    *victim = start(be_victim);
    bool ready = await_ready(shared ? 3 : 2);
    if (ready && (path->during == LISTENING || path->during == FEEDING)) ready = wait_asleep(*peer);
    if (ready) let_go(r, VICTIM);
    if (ready && waitpid(*victim, &status, __WALL) == *victim && WIFSTOPPED(status)) return true;
    complain(o, "set-up: peer at stage %ld, victim at stage %ld, status %#x; they sent %ld and %ld, and got %ld and %ld", r->stage[PEER],
             r->stage[VICTIM], status, r->sent[PEER], r->sent[VICTIM], r->got[VICTIM], r->read_by_victim);
    end_process(*victim);
    end_process(*peer);
    if (r->sharer) end_process(r->sharer);
    return false;
}

static void tear_down(struct outcome *o) {
    close_pipes();
    for (int i = 0; i < EVERYONE; i++)
        if (r->problem[i][0]) snprintf(o->why, sizeof o->why, "%s: %s", who_names[i], r->problem[i]);
    if (o->why[0]) o->verdict = BAD;
    if (is_preloaded() && r->no_lane) o->verdict = AGAIN;
}

/// Cuts the victim off in its sleep.
static enum reached cut_asleep(pid_t victim) {
    int status;
    r->untraced = r->mode != KILL;
    ptrace(PTRACE_CONT, victim, 0, 0);
    if (!wait_asleep(victim)) return STUCK;
    if (r->mode == KILL) return AT_POINT;
    kill(victim, r->mode == STOP ? SIGSTOP : SIGUSR1);
    return waitpid(victim, &status, __WALL) == victim && WIFSTOPPED(status) ? AT_POINT : STUCK;
}

/// Lets the victim end after it was cut off: dead, or free to go on.
static void release(pid_t victim, enum reached reached, struct outcome *o) {
    if (reached == STUCK) complain(o, "the victim is stuck");
    if (reached == STUCK || r->mode == KILL) {
        r->mode = KILL;
        if (reached != GONE) end_process(victim);
        return;
    }
    if (reached == GONE) return;
    r->untraced = true;
    bool at_point = reached == AT_POINT;
    ptrace(PTRACE_DETACH, victim, 0, !at_point ? 0 : r->mode == STOP ? SIGSTOP : SIGUSR1);
}

static void go_on(pid_t peer, pid_t victim, enum reached reached, struct outcome *o) {
    r->cut_off = true;
    tell_peer(r);
    if (r->has_sharer) let_go(r, SHARER);
    if (r->mode != KILL && reached != GONE) {
        if (r->mode == STOP && reached == AT_POINT) {
            for (int64_t end = now_ms() + stopped_ms; now_ms() < end;) breathe();
            kill(victim, SIGCONT);
        }
        collect(victim, VICTIM, o);
    }
    if (r->has_sharer && r->mode != KILL) let_go(r, SHARER);
    collect(peer, PEER, o);
    collect_rest(o);
    for (int i = 0; i < EVERYONE; i++)
        if (r->problem[i][0]) return;
    count_bytes(o);
}

struct outcome play(const struct path *path, enum mode mode, bool connects, bool shared, const struct point *point) {
    struct outcome o = {.verdict = GOOD};
    pid_t peer, victim;
    if (set_up(path, mode, connects, shared, &peer, &victim, &o)) {
        enum reached reached = point ? run_to(victim, point, r, tell_peer) : cut_asleep(victim);
        o.reached = reached == AT_POINT;
        release(victim, reached, &o);
        go_on(peer, victim, reached, &o);
    }
    tear_down(&o);
    return o;
}

long play_recording(const struct path *path, bool connects, bool shared, struct point *points, long most, struct outcome *o) {
    pid_t peer, victim;
    long n = 0;
    *o = (struct outcome){.verdict = GOOD};
    if (set_up(path, KILL, connects, shared, &peer, &victim, o)) {
        n = record_points(victim, points, most, r, tell_peer);
        if (n == most) complain(o, "the call has more than %ld instructions", most);
        kill(victim, SIGKILL);
        waitpid(victim, NULL, __WALL);
        go_on(peer, victim, GONE, o);
    }
    tear_down(o);
    return n;
}
