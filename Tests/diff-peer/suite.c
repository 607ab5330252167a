// The suite: every chosen case on the plain kernel, then in each placement and mode, several at a time.
#include "suite.h"
#include <fnmatch.h>

enum { MAX_MODES = 32, MAX_JOBS = 32, MAX_GLOBS = 64, PROOF_TRIES = 10, MAX_STEPS = 1 + MAX_MODES * 3 };

typedef struct options {
    const char *preload, *modes[MAX_MODES], *globs[MAX_GLOBS], *env[DP_MAX_ENV], *placements;
    int mode_count, glob_count, env_count, jobs, limits, repeat;
    double timeout;
    bool need_proof, verbose;
} options;

/// One step of a case: the first is the plain kernel's transcript, the others are compared with it.
typedef struct step { const char *mode, *placement; const char *preload[DP_ROLES]; } step;

typedef struct job { const dp_case *c; step steps[MAX_STEPS]; int count, at, tries; dp_run run; dp_outcome kernel; } job;

/// Whether rings carry datagrams: then a case about datagrams must show ring bytes as any other, unless it has a `.kernel`.
static const bool datagrams_have_lanes = true;

static options o;
static int passed, failed, accepted_count;

static bool chosen(const dp_case *c) {
    char name[128];
    snprintf(name, sizeof name, "%s/%s", c->group, c->name);
    if (o.glob_count == 0) return true;
    for (int i = 0; i < o.glob_count; i++)
        if (fnmatch(o.globs[i], name, 0) == 0) return true;
    return false;
}

static void add_step(job *j, const char *mode, const char *placement, bool server, bool client) {
    if (o.placements && !strstr(o.placements, placement)) return;
    j->steps[j->count++] = (step){mode, placement, {server ? o.preload : NULL, client ? o.preload : NULL}};
}

static void plan_steps(job *j) {
    j->count = j->at = 0;
    j->steps[j->count++] = (step){"kernel", "kernel", {NULL, NULL}};
    if (!o.preload)
        for (int i = 0; i < o.repeat && j->count < MAX_STEPS; i++) j->steps[j->count++] = j->steps[0];
    for (int m = 0; o.preload && m < o.mode_count; m++) {
        add_step(j, o.modes[m], "both", true, true);
        if (j->c->solo) continue;
        add_step(j, o.modes[m], "server", true, false);
        add_step(j, o.modes[m], "client", false, true);
    }
}

static void begin(job *j) {
    step *s = &j->steps[j->at];
    dp_plan plan = {.c = j->c, .preload = {s->preload[0], s->preload[1]}, .mode = s->mode, .limits = o.limits, .env_count = o.env_count};
    memcpy(plan.env, o.env, sizeof plan.env);
    dp_run_begin(&j->run, &plan, o.timeout);
}

static void report(const job *j, const step *s, const char *verdict, const char *text) {
    printf("%s %s/%s %s %s: %s\n", verdict, j->c->group, j->c->name, s->placement, s->mode, text);
}

static void fail(const job *j, const step *s, const char *text, const dp_outcome *got) {
    static const char *const roles[] = {"server", "client"};
    failed++;
    report(j, s, "FAIL", text);
    for (int role = 0; got && role < (j->c->solo ? 1 : DP_ROLES); role++) {
        printf("    %s%s\n", roles[role], s->preload[role] ? " (preloaded):" : ":");
        if (j->kernel.transcript[role] && got != &j->kernel) dp_print_difference(j->kernel.transcript[role], got->transcript[role], "      ");
        else dp_print_indented(got->transcript[role], "      ");
    }
    if (got && got->proof_text[0]) dp_print_indented(got->proof_text, "    ");
    fflush(stdout);
}

static bool same(const dp_outcome *a, const dp_outcome *b) {
    return strcmp(a->transcript[0], b->transcript[0]) == 0 && strcmp(a->transcript[1], b->transcript[1]) == 0;
}

/// Both ends run the library, in a mode in which a lane surely opens, and the case does not say why there may be none.
static bool needs_proof(const job *j, const step *s) {
    if (!o.need_proof || j->c->kernel || (j->c->datagrams && !datagrams_have_lanes)) return false;
    return s->preload[0] && (j->c->solo || s->preload[1]) && strncmp(s->mode, "chaos", 5) != 0;
}

static void judge_proof(const job *j, const step *s, const dp_outcome *got) {
    bool wanted = needs_proof(j, s);
    if (wanted && got->proofs == 0) return fail(j, s, "no lane proof: no socket of the case knows the library", got);
    if (wanted && got->ring_bytes == 0) return fail(j, s, "no lane proof: every byte went through the kernel", got);
    passed++;
    char text[64];
    snprintf(text, sizeof text, "%s, %.2f s", got->ring_bytes ? "ring bytes flowed" : "kernel lane", dp_now() - j->run.start);
    if (o.verbose) report(j, s, "pass", text);
}

static void judge(job *j, const step *s, const dp_outcome *got) {
    if (got->hung) return fail(j, s, "hung", got);
    if (got->broken) return fail(j, s, "the case could not go on", got);
    const dp_difference *known = dp_accepted(j->c, s->placement, s->mode);
    if (same(&j->kernel, got)) {
        if (known) report(j, s, "note", "is in the list of accepted differences but did not differ");
        return judge_proof(j, s, got);
    }
    if (!known) return fail(j, s, "transcripts differ", got);
    accepted_count++;
    if (o.verbose) report(j, s, "accepted", known->reason);
}

/// The current step of the job has ended. True when the job has another one.
static bool advance(job *j) {
    dp_outcome got = dp_run_finish(&j->run);
    const step *s = &j->steps[j->at];
    if (j->at == 0) {
        j->kernel = got;
        if (got.hung || got.broken) {
            fail(j, s, got.hung ? "hung on the plain kernel" : "the case could not go on, on the plain kernel", &j->kernel);
            dp_outcome_free(&j->kernel);
            return false;
        }
    } else {
        // On a busy machine two ends may be too late to meet within a short case: then it is run again for the proof.
        bool again = !got.hung && !got.broken && got.ring_bytes == 0 && needs_proof(j, s) && same(&j->kernel, &got) && ++j->tries < PROOF_TRIES;
        if (!again) judge(j, s, &got);
        dp_outcome_free(&got);
        if (again) return true;
        j->tries = 0;
    }
    if (++j->at < j->count) return true;
    dp_outcome_free(&j->kernel);
    return false;
}

static void take_ended(job *jobs) {
    int status;
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;)
        for (int i = 0; i < o.jobs; i++)
            if (jobs[i].c && dp_run_ended(&jobs[i].run, pid, status)) break;
}

static const dp_case *next_chosen(const dp_case *c) {
    while (c && !chosen(c)) c = c->next;
    return c;
}

static void run_all(void) {
    static job jobs[MAX_JOBS];
    const dp_case *next = next_chosen(dp_cases);
    sigset_t child;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    sigprocmask(SIG_BLOCK, &child, NULL);
    for (;;) {
        int busy = 0;
        for (int i = 0; i < o.jobs; i++) {
            job *j = &jobs[i];
            if (j->c && j->run.left == 0) {
                if (advance(j)) begin(j);
                else j->c = NULL;
            }
            if (!j->c && next) {
                *j = (job){.c = next};
                next = next_chosen(next->next);
                plan_steps(j);
                begin(j);
            }
            if (j->c && !j->run.hung && dp_now() > j->run.deadline) dp_run_abort(&j->run);
            busy += j->c != NULL;
        }
        if (!busy) return;
        struct timespec look = {0, 100000000};
        sigtimedwait(&child, NULL, &look);
        take_ended(jobs);
    }
}

int dp_limits_named(const char *names) {
    int limits = 0;
    if (strstr(names, "nobody")) limits |= DP_LIMIT_NOBODY;
    if (strstr(names, "nofile")) limits |= DP_LIMIT_NOFILE;
    if (strstr(names, "mlock")) limits |= DP_LIMIT_MLOCK;
    return limits;
}

static int usage(const char *argument) {
    fprintf(stderr, "diff-peer suite: unknown or incomplete argument '%s'\n"
            "usage: diff-peer suite [--preload LIB] [--mode default|first|chaos:N]... [--placements both,server,client]\n"
            "       [--limits nobody,nofile,mlock] [--jobs N] [--timeout SECONDS] [--env K=V]... [--repeat N] [--no-proof] [--verbose] [GLOB]...\n"
            "Without --preload each case is compared with itself on the plain kernel, --repeat times.\n", argument);
    return 2;
}

int dp_suite(int count, char **arguments) {
    o = (options){.jobs = 8, .timeout = 20, .repeat = 5, .need_proof = true};
    for (int i = 0; i < count; i++) {
        const char *a = arguments[i], *value = i + 1 < count ? arguments[i + 1] : NULL;
        if (strcmp(a, "--no-proof") == 0) { o.need_proof = false; continue; }
        if (strcmp(a, "--verbose") == 0) { o.verbose = true; continue; }
        if (a[0] != '-') {
            if (o.glob_count < MAX_GLOBS) o.globs[o.glob_count++] = a;
            continue;
        }
        if (!value) return usage(a);
        i++;
        if (strcmp(a, "--preload") == 0) o.preload = value;
        else if (strcmp(a, "--mode") == 0 && o.mode_count < MAX_MODES) o.modes[o.mode_count++] = value;
        else if (strcmp(a, "--placements") == 0) o.placements = value;
        else if (strcmp(a, "--limits") == 0) o.limits = dp_limits_named(value);
        else if (strcmp(a, "--jobs") == 0) o.jobs = atoi(value);
        else if (strcmp(a, "--timeout") == 0) o.timeout = atof(value);
        else if (strcmp(a, "--repeat") == 0) o.repeat = atoi(value);
        else if (strcmp(a, "--env") == 0 && o.env_count < DP_MAX_ENV) o.env[o.env_count++] = value;
        else return usage(a);
    }
    if (o.jobs < 1 || o.jobs > MAX_JOBS) o.jobs = 8;
    if (o.mode_count == 0) o.modes[o.mode_count++] = "default";
    if (o.preload && access(o.preload, R_OK) != 0) {
        fprintf(stderr, "diff-peer: %s: %s\n", o.preload, strerror(errno));
        return 2;
    }
    int cases = 0;
    for (const dp_case *c = next_chosen(dp_cases); c; c = next_chosen(c->next)) cases++;
    double start = dp_now();
    run_all();
    printf("%d cases, %.1f s", cases, dp_now() - start);
    if (accepted_count) printf(", %d accepted differences", accepted_count);
    printf("\n%d passed, %d failed\n", passed, failed);
    return failed || !cases ? 1 : 0;
}

int dp_run_one(int count, char **arguments) {
    dp_plan plan = {.mode = "default"};
    double timeout = 20;
    for (int i = 0; i < count; i++) {
        const char *a = arguments[i], *value = i + 1 < count ? arguments[i + 1] : NULL;
        if (strcmp(a, "--raw") == 0) { plan.raw_stderr = true; continue; }
        if (a[0] != '-') { plan.c = dp_find(a); if (!plan.c) { fprintf(stderr, "diff-peer: no case '%s'\n", a); return 2; } continue; }
        if (!value) return usage(a);
        i++;
        if (strcmp(a, "--server-preload") == 0) plan.preload[0] = value;
        else if (strcmp(a, "--client-preload") == 0) plan.preload[1] = value;
        else if (strcmp(a, "--preload") == 0) plan.preload[0] = plan.preload[1] = value;
        else if (strcmp(a, "--mode") == 0) plan.mode = value;
        else if (strcmp(a, "--limits") == 0) plan.limits = dp_limits_named(value);
        else if (strcmp(a, "--timeout") == 0) timeout = atof(value);
        else if (strcmp(a, "--env") == 0 && plan.env_count < DP_MAX_ENV) plan.env[plan.env_count++] = value;
        else return usage(a);
    }
    if (!plan.c) return usage("CASE");
    dp_run run;
    dp_run_begin(&run, &plan, timeout);
    while (run.left) {
        int status;
        pid_t pid = waitpid(-1, &status, WNOHANG);
        if (pid > 0) dp_run_ended(&run, pid, status);
        else poll(NULL, 0, 2);
        if (!run.hung && dp_now() > run.deadline) dp_run_abort(&run);
    }
    dp_outcome got = dp_run_finish(&run);
    printf("server:\n");
    dp_print_indented(got.transcript[0], "  ");
    if (!plan.c->solo) {
        printf("client:\n");
        dp_print_indented(got.transcript[1], "  ");
    }
    printf("%s", got.proof_text[0] ? got.proof_text : "no socket knows the library\n");
    int result = got.hung || got.broken;
    dp_outcome_free(&got);
    return result;
}
