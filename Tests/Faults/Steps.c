// Cuts calls off after each of their instructions. Usage: see usage() below.
//
// Each round sets up a new connection between two forked processes, runs the victim's call to one point, kills it there
// (or stops it for a while, or has it run a signal's handler), and lets the others go on to the end of both streams.
#include "Steps.h"
#include <dlfcn.h>

enum { MOST_POINTS = 1 << 18, MOST_FAILURES = 4, MOST_TURNS = 4 };
static const char *const mode_names[] = {"kill", "stop", "signal"};

static struct {
    const char *path, *mode;
    long points, only, connects, shared; ///< -1: all
    bool all, listing;
    uint64_t seed;
} options = {.points = 300, .only = -1, .connects = -1, .shared = -1, .seed = 1};

static struct point points[MOST_POINTS];
static long chosen[MOST_POINTS];
static long point_count;

static void usage(void) {
    die("usage: steps [--path NAME] [--mode kill|stop|signal] [--points N] [--all] [--only POINT] [--connects 0|1]\n"
        "             [--shared 0|1] [--stop MS] [--seed N] [--list]\n"
        "N points of each path are spread over its variants; --all takes every instruction in every variant, those of loops\n"
        "in their first four turns.");
}

/// system call, a locked instruction, or xchg with memory: others may see a difference after it.
static bool is_sharp(const struct point *p) {
    const uint8_t *c = (const uint8_t *)p->address;
    if (c[0] == 0x0f && c[1] == 0x05) return true;
    if (c[0] == 0xf0) return true;
    if ((c[0] & 0xf0) == 0x40) c++;
    return (c[0] == 0x87 || c[0] == 0x86) && c[1] >> 6 != 3;
}

/// Loops over tables are long and the same in each turn.
static bool is_early_turn(const struct point *p) { return p->occurrence <= MOST_TURNS; }

/// Chooses at most `n` points: half of them beside sharp instructions, the rest evenly, both from a random start.
static long choose(long n, uint64_t *random) {
    static bool taken[MOST_POINTS + 1];
    static long sharp[2 * MOST_POINTS];
    long sharps = 0, count = 0;
    memset(taken, 0, sizeof taken);
    for (long i = 0; i < point_count; i++)
        if (is_sharp(&points[i]) && is_early_turn(&points[i])) sharp[sharps++] = i, sharp[sharps++] = i + 1;
    long early = 0;
    for (long i = 0; i < point_count; i++) early += is_early_turn(&points[i]);
    if (n > early) n = early;
    for (long i = 0; i < n / 2 && i < sharps; i++) {
        long wanted = n / 2 >= sharps ? i : (long)((uint64_t)i * (uint64_t)sharps / (uint64_t)(n / 2) + next_random(random) % 2) % sharps;
        if (sharp[wanted] < point_count) taken[sharp[wanted]] = true;
    }
    for (long i = 0; i < point_count; i++) count += taken[i];
    double step = (double)point_count / (double)(n - count > 0 ? n - count : 1);
    double offset = step * (double)(next_random(random) % 1000) / 1000;
    for (double at = offset; at < (double)point_count && count < n; at += step)
        for (long i = (long)at; i < point_count; i++)
            if (!taken[i] && is_early_turn(&points[i])) {
                taken[i] = true;
                count++;
                break;
            }
    long k = 0;
    for (long i = 0; i < point_count; i++)
        if (taken[i] || (n == early && is_early_turn(&points[i]))) chosen[k++] = i;
    return k;
}

static const char *where(long i) {
    static char text[200];
    Dl_info info;
    if (i < 0) return "asleep";
    if (!dladdr((void *)points[i].address, &info) || !info.dli_fname) snprintf(text, sizeof text, "%#lx", (long)points[i].address);
    else {
        const char *name = strrchr(info.dli_fname, '/');
        snprintf(text, sizeof text, "%s+%#lx %s", name ? name + 1 : info.dli_fname, (long)(points[i].address - (uintptr_t)info.dli_fbase), info.dli_sname ? info.dli_sname : "");
    }
    return text;
}

struct variant {
    const struct path *path;
    enum mode mode;
    bool connects, shared;
};
static const char *name_of(const struct variant *v) {
    static char text[100];
    snprintf(text, sizeof text, "%s, victim %s, %s, %s", v->path->name, v->connects ? "connects" : "accepts", v->shared ? third : "alone", mode_names[v->mode]);
    return text;
}

/// One point, again while no lane comes about.
static struct outcome play_again(const struct variant *v, const struct point *point) {
    struct outcome o;
    for (int i = 0; i < 20; i++) {
        o = play(v->path, v->mode, v->connects, v->shared, point);
        if (o.verdict != AGAIN) return o;
    }
    o.verdict = BAD;
    snprintf(o.why, sizeof o.why, "no lane in 20 tries");
    return o;
}

static void run_variant(const struct variant *v, long n, uint64_t *random) {
    long failures = 0, reached = 0, count = options.only >= 0 ? 1 : choose(n, random);
    if (options.only >= 0) chosen[0] = options.only;
    if (v->path->victim_sleeps && options.only < 0) chosen[count++] = -1;
    long i = 0;
    for (; i < count && failures < MOST_FAILURES; i++) {
        long at = chosen[i];
        struct outcome o = play_again(v, at < 0 ? NULL : &points[at]);
        reached += o.reached;
        if (o.verdict == GOOD) continue;
        failures++;
        not_ok("%s: point %ld of %ld (%s): %s", name_of(v), at, point_count, where(at), o.why);
    }
    if (failures == 0) ok("%s: %ld points of %ld, %ld reached", name_of(v), count, point_count, reached);
}

static bool selected(const struct path *p) {
    if (!is_preloaded() && p->ring_only) return false;
    const char *text = getenv("SLUICE_LANE_AT");
    if (options.path && strcmp(options.path, p->name)) return false;
    return !is_preloaded() || p->lane_at == (text ? atoi(text) : 16);
}

/// All modes of one path with one role and with or without a sharer.
static void run_path(const struct path *p, bool connects, bool shared, uint64_t *random) {
    static const long parts[] = {6, 3, 3}; // of 12
    struct outcome o;
    for (int i = 0; i < 20; i++) {
        point_count = play_recording(p, connects, shared, points, MOST_POINTS, &o);
        if (o.verdict != AGAIN) break;
    }
    struct variant v = {p, KILL, connects, shared};
    if (o.verdict != GOOD) {
        not_ok("%s: recording: %s", name_of(&v), o.verdict == AGAIN ? "no lane in 20 tries" : o.why);
        return;
    }
    if (options.listing) {
        for (long i = 0; i < point_count; i++) printf("%ld %s %d%s\n", i, where(i), points[i].occurrence, is_sharp(&points[i]) ? " sharp" : "");
        return;
    }
    long share = options.points / (p->no_sharer ? 2 : 4);
    for (v.mode = KILL; v.mode < MODES; v.mode++) {
        if (options.mode && strcmp(options.mode, mode_names[v.mode])) continue;
        run_variant(&v, options.all ? MOST_POINTS : options.mode ? share : share * parts[v.mode] / 12, random);
    }
}

static void on_signal(int signal) { (void)signal; }

static void read_options(int n, char **words) {
    for (int i = 1; i < n; i++) {
        const char *w = words[i];
        if (!strcmp(w, "--all")) options.all = true;
        else if (!strcmp(w, "--list")) options.listing = true;
        else if (i + 1 >= n) usage();
        else if (!strcmp(w, "--path")) options.path = words[++i];
        else if (!strcmp(w, "--mode")) options.mode = words[++i];
        else if (!strcmp(w, "--points")) options.points = atol(words[++i]);
        else if (!strcmp(w, "--only")) options.only = atol(words[++i]);
        else if (!strcmp(w, "--connects")) options.connects = atol(words[++i]);
        else if (!strcmp(w, "--shared")) options.shared = atol(words[++i]);
        else if (!strcmp(w, "--stop")) stopped_ms = atoi(words[++i]);
        else if (!strcmp(w, "--seed")) options.seed = strtoull(words[++i], NULL, 0);
        else usage();
    }
}

int main(int n, char **words) {
    read_options(n, words);
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigaction(SIGUSR1, &action, NULL);
    sigaction(SIGTRAP, &action, NULL); // a victim that is let go close to the end of its call still runs into the breakpoint
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    make_streams();
    prepare_rounds(own_network());
    printf("steps: seed %llu\n", (unsigned long long)options.seed);
    fflush(stdout);
    uint64_t random = options.seed;
    for (int i = 0; i < path_count; i++) {
        if (!selected(&paths[i])) continue;
        for (int connects = 0; connects < 2; connects++)
            for (int shared = 0; shared < (paths[i].no_sharer ? 1 : 2); shared++)
                if (options.connects != !connects && options.shared != !shared) run_path(&paths[i], connects, shared, &random);
    }
    return finish();
}
