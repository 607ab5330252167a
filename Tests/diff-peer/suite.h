/// The orchestrator: starts the roles of a case with their environments, gathers and compares transcripts.
#pragma once
#include "harness.h"

enum { DP_ROLES = 2, DP_MAX_ENV = 16 };
enum { DP_LIMIT_NOBODY = 1, DP_LIMIT_NOFILE = 2, DP_LIMIT_MLOCK = 4 };

/// How the roles of one run are started.
typedef struct dp_plan {
    const dp_case *c;
    const char *preload[DP_ROLES];      ///< library of the server, of the client; null: plain kernel
    const char *mode;                   ///< default, first, chaos:N
    const char *env[DP_MAX_ENV];        ///< K=V for both roles
    int env_count;
    int limits;
    bool raw_stderr;                    ///< standard error is ours instead of part of the transcript
} dp_plan;

/// One run under way or ended.
typedef struct dp_run {
    pid_t pid[DP_ROLES];
    int log[DP_ROLES], proof[DP_ROLES], status[DP_ROLES];
    int left;                           ///< roles that have not ended
    double start, deadline;             ///< CLOCK_MONOTONIC seconds
    bool hung;
} dp_run;

/// What a run gave. Texts are allocated.
typedef struct dp_outcome {
    char *transcript[DP_ROLES];         ///< sorted by tag, ended by how the role ended
    unsigned long long ring_bytes, kernel_bytes, openings, handbacks;
    int proofs;                         ///< sockets that answered
    char *proof_text;
    bool hung, broken;
} dp_outcome;

double dp_now(void);
void dp_run_begin(dp_run *run, const dp_plan *plan, double timeout);
/// Tells the run that a process ended; true when it was one of its roles.
bool dp_run_ended(dp_run *run, pid_t pid, int status);
/// Kills the run's processes because its time is over.
void dp_run_abort(dp_run *run);
dp_outcome dp_run_finish(dp_run *run);
void dp_outcome_free(dp_outcome *o);

/// Stable sort of the lines by their tag. Allocated.
char *dp_sort_by_tag(const char *text);
/// Prints the lines that differ, with context, each after `indent`.
void dp_print_difference(const char *expected, const char *got, const char *indent);
void dp_print_indented(const char *text, const char *indent);

/// A difference that is known and accepted, with its reason, or null.
typedef struct dp_difference { const char *c, *placement, *mode, *what, *reason; } dp_difference;
const dp_difference *dp_accepted(const dp_case *c, const char *placement, const char *mode);

/// `diff-peer suite ...` and `diff-peer run ...`, from the first argument after that word.
int dp_suite(int count, char **arguments);
int dp_run_one(int count, char **arguments);
int dp_limits_named(const char *names);
