/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cli_simulate.h - what the files of `freshet simulate` share: a recorded rate, and runs over it.
 */
#ifndef CLI_SIMULATE_H
#define CLI_SIMULATE_H

#include "base/fr_buf.h"
#include "policy/policy.h"
#include "policy/policy_model.h"

#define CLI_SIMULATE_TICKS_MAX 8000000 /* a year at 5 s is 6.3 million */
#define CLI_SIMULATE_RUNS_MAX 8
#define CLI_SIMULATE_COLUMNS 480 /* places at which a curve is drawn */

/* The rate of each tick. */
struct cli_trace {
    double *rate;
    size_t count, capacity;
    double begin_s;         /* of the first tick, since 1970; of a CSV as its first column has it */
    uint64_t lines_skipped; /* of an access log: not understood */
};

/* Reads "seconds,rate" lines, or an access log (common, combined, or JSON with "time"), told apart
 * by the first line. False after saying why; free with cli_trace_fini either way. */
bool cli_trace_read(const char *path, double dt_s, struct cli_trace *out);
void cli_trace_fini(struct cli_trace *trace);

struct cli_run {
    const char *name;
    struct policy_model_totals totals;
    double hours;                        /* server-hours */
    double viol_share;                   /* of all requests: slow or refused */
    float members[CLI_SIMULATE_COLUMNS]; /* ready ones, the mean of each column */
};

/* The demand, in members, beside what each run had. */
struct cli_picture {
    double hours;
    const float *need; /* CLI_SIMULATE_COLUMNS */
    const struct cli_run *runs;
    size_t run_count;
};
void cli_picture_blocks(const struct cli_picture *picture); /* to stdout */
/* An SVG, or a page with it where the name ends in .html; false after saying why. */
bool cli_picture_write(const struct cli_picture *picture, const char *path);

#endif
