// A hostile peer of another user: EF_SHARE_WITH lets it have a lane with a victim that serves others, too. It writes what it
// likes into the memory that the two share, floods and breaks the control channel, or speaks the protocol itself. The
// others must get their bytes, and in time; nothing may kill the victim or keep it busy; the attacked connection alone ends,
// with its reason, and leaves nothing behind.
// usage: hostile [SLUICESTAT]
#include "Hostile.h"
#include <dirent.h>

enum { TURNS = 16, CALM_MS = 150, ATTACK_MS = 250, CALL_MS = 1, LONGEST_MS = 25, IDLE_MS = 5 };

struct state *s;
static const char *stat_tool;

// MARK: what is measured

static int64_t cpu_ns(pid_t pid) {
    struct timespec t;
    clockid_t clock = (~(clockid_t)pid << 3) | 2;
    return clock_gettime(clock, &t) == 0 ? t.tv_sec * 1000000000ll + t.tv_nsec : 0;
}

/// The third longest of all calls: where the machine's processors are shared with others, the clock of a thread's CPU time
/// takes a leap now and then (17 ms between two readings of a loop that does nothing else), and one of these is no call's.
static long third_longest(const uint32_t *row) {
    uint64_t seen = 0;
    for (int i = BUCKETS - 1; i >= 0; i--)
        if ((seen += row[i]) >= 3) return bucket_ns(i);
    return 0;
}

/// The smallest time that `permille` of all `rows` of buckets do not exceed.
static long quantile(const uint32_t (*rows)[BUCKETS], int n, int permille) {
    uint64_t all = 0, seen = 0;
    for (int r = 0; r < n; r++)
        for (int i = 0; i < BUCKETS; i++) all += rows[r][i];
    for (int i = 0; i < BUCKETS; i++) {
        for (int r = 0; r < n; r++) seen += rows[r][i];
        if (all && seen * 1000 >= all * (uint64_t)permille) return bucket_ns(i);
    }
    return 0;
}

static void rest_ms(int ms) {
    for (int64_t end = now_ms() + ms; now_ms() < end && !s->problem[0];) breathe();
}

static long good_rounds(void) {
    long n = 0;
    for (int c = 0; c < GOOD; c++) n += s->rounds[c];
    return n;
}

/// Waits until the good ones have made `n` more exchanges.
static bool go_on(long n) {
    for (int64_t end = now_ms() + 2 * LIMIT_MS, wanted = good_rounds() + n; good_rounds() < wanted; breathe())
        if (now_ms() > end || s->problem[0]) return false;
    return true;
}

static int descriptors_of(pid_t pid) {
    char path[40];
    snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
    DIR *d = opendir(path);
    int n = -2;
    while (d && readdir(d)) n++;
    if (d) closedir(d);
    return n;
}

// MARK: what sluicestat says

static const char *ask(const char *what) {
    static char text[1 << 20];
    char command[400];
    snprintf(command, sizeof command, "env -u LD_PRELOAD %s why %s 2>&1", stat_tool, what);
    FILE *f = popen(command, "r");
    size_t n = f ? fread(text, 1, sizeof text - 1, f) : 0;
    text[n] = 0;
    if (f) pclose(f);
    return text;
}

static long bells_rung(pid_t pid) {
    char what[40];
    snprintf(what, sizeof what, "%d --json", (int)pid);
    const char *at = strstr(ask(what), "\"bells_rung\" :");
    return at ? atol(at + 14) : -1;
}

struct findings {
    long p99[2], call_p99, call_most, idle, rung, queued;
    int turns, before, after, asked, damaged;
    char reasons[200], wrong[100];
};

/// Asks for the attacked connections that have ended last, one by one.
static void ask_reasons(const struct attack *attack, pid_t pid, struct findings *f) {
    int n = s->kept_count;
    for (int i = n > 4 ? n - 4 : 0; i < n; i++) {
        char what[60], name[40] = "";
        snprintf(what, sizeof what, "%d:%d", (int)pid, s->kept[i]);
        const char *text = ask(what), *at = strstr(text, "\nReason ");
        if (strstr(text, "is not bound")) strcpy(name, "unbound");
        else if (strstr(text, "\nLane            loopback")) strcpy(name, "loopback"); // it has ended in order
        else if (!at || sscanf(at, "\nReason %39s", name) != 1) snprintf(f->wrong, sizeof f->wrong, "%.90s", strstr(text, "\nState") ? strstr(text, "\nState") + 1 : text);
        if (*name && !strstr(attack->reasons, name)) snprintf(f->wrong, sizeof f->wrong, "%s", name);
        f->asked++;
        f->damaged += !strcmp(name, "damaged");
        if (!strstr(f->reasons, name)) snprintf(f->reasons + strlen(f->reasons), sizeof f->reasons - strlen(f->reasons), " %s", name);
    }
}

// MARK: a play

/// Turns without the attack and under it, until the others' 99th percentile is what it was, within the limit: whoever uses
/// the machine meanwhile must not count.
static void compare(const struct attack *attack, struct findings *f) {
    bool fits = false;
    for (f->turns = 0; f->turns < TURNS && !fits && !s->problem[0]; f->turns++) {
        memset(s->times, 0, sizeof s->times);
        for (int half = 0; half < 4; half++) {
            s->attacks = half % 2;
            rest_ms(half % 2 ? ATTACK_MS : CALM_MS);
        }
        s->attacks = false;
        for (int i = 0; i < 2; i++) f->p99[i] = quantile(s->times[i], GOOD, 990);
        long most = 2 * f->p99[0] > f->p99[0] + 1000000 ? 2 * f->p99[0] : f->p99[0] + 1000000;
        fits = f->p99[1] <= most && f->p99[1] > 0;
        if (!fits) continue;
        for (int k = 0; k < MANNERS && !attack->needs_lane; k++) fits = fits && s->tried[k] > 1;
    }
    if (f->turns == TURNS && !fits) f->turns++;
}

static pid_t start(const struct attack *attack, bool serves, int role) {
    pid_t pid = fork();
    if (pid < 0) die("fork");
    if (pid) return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    alarm(90);
    if (role == 0) victim();
    if (role == 1) hostile(attack, serves);
    good_client(role - 2);
}

static void observe(const struct attack *attack, const pid_t *pids, struct findings *f) {
    // Until the attack has found what it attacks.
    for (int64_t end = now_ms() + 2 * LIMIT_MS; now_ms() < end && !s->problem[0] && !s->armed;) breathe();
    s->begun = true;
    if (attack->last) rest_ms(200); // its lane has bytes
    else compare(attack, f);
    // The words stay as they are; nobody asks for anything: what is the victim busy with?
    s->quiet = s->paused = true;
    s->attacks = attack->last;
    rest_ms(attack->last ? 150 : 50);
    f->idle = 1000;
    for (int i = 0; i < 3 && f->idle > IDLE_MS; i++) {
        int64_t before = cpu_ns(pids[0]);
        rest_ms(300);
        long idle = (long)((cpu_ns(pids[0]) - before) / 1000000);
        if (idle < f->idle) f->idle = idle;
    }
    s->begun = false;
    f->call_p99 = quantile(&s->calls, 1, 990), f->call_most = third_longest(s->calls);
    if (stat_tool && is_preloaded()) {
        ask_reasons(attack, pids[0], f);
        if (attack->fills) f->rung = bells_rung(pids[0]), f->queued = s->queued;
    }
    s->paused = false;
}

/// What the victim holds when the attacker is gone and some connections of others have come: as before.
static void count_descriptors(pid_t pid, struct findings *f) {
    s->renews = s->tidies = true;
    for (int64_t end = now_ms() + LIMIT_MS; now_ms() < end && !s->problem[0]; breathe()) {
        f->after = descriptors_of(pid);
        if (abs(f->after - f->before) <= 2) break;
    }
}

static const char *judge(const struct attack *attack, const struct findings *f) {
    static char text[300];
    bool asks = stat_tool && is_preloaded();
    text[0] = 0;
#define FAIL_IF(condition, ...) if (!text[0] && (condition)) snprintf(text, sizeof text, __VA_ARGS__)
    FAIL_IF(!s->armed && is_preloaded(), "the attack found nothing to attack");
    FAIL_IF(f->turns > TURNS, "the others' p99 is %ld us, %ld without attack", f->p99[1] / 1000, f->p99[0] / 1000);
    FAIL_IF(f->call_p99 > CALL_MS * 1000000l, "one in a hundred of the victim's calls takes %ld us of CPU", f->call_p99 / 1000);
    FAIL_IF(f->call_most > LONGEST_MS * 1000000l, "three calls of the victim took %ld us of CPU or more", f->call_most / 1000);
    FAIL_IF(f->idle > IDLE_MS, "%ld ms of CPU in 300 ms without work", f->idle);
    FAIL_IF(abs(f->after - f->before) > 2, "the victim held %d descriptors before and %d after", f->before, f->after);
    FAIL_IF(attack->damages && asks && !f->damaged, "none of %d ended ones is damaged:%s", s->ended, f->reasons);
    FAIL_IF(f->wrong[0], "a connection that has ended says: %s", f->wrong);
    FAIL_IF(attack->fills && asks && (f->queued < 50 || f->rung < f->queued + 50), "%ld rings and %ld in the channel: it was never full", f->rung, f->queued);
    for (int k = 0; k < MANNERS && !attack->needs_lane && is_preloaded(); k++) {
        FAIL_IF(k < 2 && s->ready[k] == 0, "good memory %d was never taken (%d offers)", k, s->tried[k]);
        FAIL_IF(k >= 2 && (s->ready[k] || !s->refused[k]), "bad memory %d: %d offers, %d taken, %d refused", k, s->tried[k], s->ready[k], s->refused[k]);
    }
    return text[0] ? text : NULL;
}

static void play(const struct attack *attack, bool serves, bool blocking, bool ordinary) {
    pid_t pids[2 + GOOD];
    struct findings f = {0};
    memset(s, 0, sizeof *s);
    s->blocking = blocking, s->ordinary = ordinary, s->renews = s->tidies = true;
    for (int i = 0; i < 2 + GOOD; i++) pids[i] = i == 1 ? 0 : start(attack, serves, i);
    bool starts = go_on(600), goes_on;
    s->renews = false;
    // Its last connection has its lane, too.
    for (long n = s->rounds[0] + 100, end = now_ms() + LIMIT_MS; s->rounds[0] < n && now_ms() < end;) breathe();
    goes_on = go_on(100);
    s->tidies = false, s->ended = 0;
    f.before = descriptors_of(pids[0]);
    pids[1] = start(attack, serves, 1);
    observe(attack, pids, &f);
    goes_on = go_on(100) && goes_on;
    end_process(pids[1]);
    count_descriptors(pids[0], &f);
    s->over = true;
    int status = wait_for(pids[0], 2 * LIMIT_MS), bad = 0;
    if (status < 0) end_process(pids[0]);
    for (int i = 2; i < 2 + GOOD; i++) {
        int end_status = wait_for(pids[i], LIMIT_MS);
        if (end_status < 0) end_process(pids[i]);
        bad |= end_status;
    }
    char name[160];
    snprintf(name, sizeof name, "%s, %s, the attacker %s%s", attack->name, blocking ? "threads" : "epoll", serves ? "connects" : "accepts", ordinary ? ", two ordinary users" : "");
    const char *wrong = judge(attack, &f);
    if (s->problem[0]) not_ok("%s: %s", name, s->problem);
    else if (status) not_ok("%s: the victim ended with %#x", name, status);
    else if (bad) not_ok("%s: a good client ended with %#x", name, bad);
    else if (!starts || !goes_on) not_ok("%s: the others stand still", name);
    else if (wrong) not_ok("%s: %s", name, wrong);
    else ok("%s: p99 %ld us, %ld without, %d turns; calls %ld and %ld us, idle %ld ms; %ld attacks, %d ended%s; %d and %d descriptors", name, f.p99[1] / 1000,
            f.p99[0] / 1000, f.turns, f.call_p99 / 1000, f.call_most / 1000, f.idle, s->count, s->ended, f.reasons, f.before, f.after);
}

int main(int count, char **arguments) {
    s = shared_memory(sizeof *s);
    problem_text = s->problem;
    signal(SIGPIPE, SIG_IGN);
    if (count > 1) stat_tool = arguments[1];
    if (geteuid() != 0 || !own_network()) {
        skip("a hostile peer", "needs root");
        return finish();
    }
    for (const struct attack *a = attacks; a->name; a++) {
        if ((a->needs_lane && !is_preloaded()) || (count > 2 && !strstr(a->name, arguments[2]))) continue;
        play(a, false, false, false);
        if (a->alone) continue;
        play(a, true, false, true);
        play(a, false, true, true);
    }
    return finish();
}
