/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cli_simulate.c - `freshet simulate`: what a recorded load would have cost under this or that
 * policy, by the manager's own engines on an arithmetic cluster.
 */
#include "cli/cli.h"
#include "cli/cli_simulate.h"

#include "base/fr_mem.h"
#include "base/fr_time.h"
#include "base/fr_unit.h"
#include "policy/policy_lines.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PEAK_DEFAULT 40
#define POOL_FACTOR 2
#define BUDGET 0.005 /* of violations that cost nothing in the score */

struct simulation {
    struct policy_model_settings model;
    struct policy_settings policy;
    struct policy_window windows[CONFIG_WINDOWS_MAX];
    size_t window_count;
    bool is_goal_given;    /* in the file */
    struct config *config; /* what the windows are of; NULL: none */
    struct cli_trace trace;
    double hours;
    float need[CLI_SIMULATE_COLUMNS];
    struct cli_run runs[CLI_SIMULATE_RUNS_MAX];
    size_t run_count;
};

/* ---- running -------------------------------------------------------------------------------- */

struct driver {
    bool is_fixed; /* plan, or one number, instead of an engine */
    const uint32_t *plan;
    uint32_t count;
    struct policy_state state;
};

static uint32_t
desire(const struct simulation *simulation, struct driver *driver,
       const struct policy_model_view *view, size_t tick)
{
    struct policy_observation seen;
    struct policy_decision decision;

    if (driver->plan)
        return driver->plan[tick];
    if (driver->is_fixed)
        return driver->count;
    policy_survey_equals(view->ready, view->starting, view->draining, view->utilization,
                         1000000 + (int64_t)(view->at_s * 1e6), &seen);
    seen.traffic = (struct policy_traffic){
        .is_known = true,
        .dt_s = simulation->model.dt_s,
        .rate = view->rate,
        .slow = view->slow,
        .dropped = view->dropped,
        .queue = view->queue,
        .startup_s = view->last_startup_s,
        .drain_s = simulation->model.drain_s,
    };
    struct policy_settings settings = simulation->policy;
    policy_schedule(simulation->windows, simulation->window_count,
                    (int64_t)(simulation->trace.begin_s + view->at_s),
                    (int64_t)view->last_startup_s, &settings);
    policy_tick(&settings, &driver->state, &seen, &decision);
    if (decision.verdict != POLICY_HOLD)
        driver->state.changed_at_us = seen.now_us;
    if (decision.verdict == POLICY_ALLOCATE)
        driver->state.grown_at_us = seen.now_us;
    return decision.desired;
}

static void
run_one(struct simulation *simulation, const char *name, struct driver *driver,
        struct policy_model *model)
{
    struct cli_run *run = &simulation->runs[simulation->run_count++];
    size_t count = simulation->trace.count;
    double per_column[CLI_SIMULATE_COLUMNS] = {0};
    uint32_t ticks[CLI_SIMULATE_COLUMNS] = {0};

    *run = (struct cli_run){.name = name};
    policy_model_init(model, &simulation->model, simulation->trace.rate, count);
    for (size_t i = 0; i < count; i++) {
        const struct policy_model_view *view = policy_model_look(model);
        size_t column = i * CLI_SIMULATE_COLUMNS / count;
        per_column[column] += view->ready;
        ticks[column]++;
        policy_model_step(model, desire(simulation, driver, view, i), simulation->trace.rate[i]);
    }
    for (size_t c = 0; c < CLI_SIMULATE_COLUMNS; c++) {
        if (ticks[c] > 0)
            run->members[c] = (float)(per_column[c] / ticks[c]);
        else if (c > 0)
            run->members[c] = run->members[c - 1];
    }
    run->totals = model->totals;
    run->hours = (double)model->totals.member_ticks * simulation->model.dt_s / 3600;
    run->viol_share =
        model->totals.requests > 0 ? model->totals.violating / model->totals.requests : 0;
}

static void
run_engine(struct simulation *simulation, enum policy_kind kind, struct policy_model *model)
{
    struct driver driver = {.is_fixed = false};

    simulation->policy.kind = kind;
    if (kind == POLICY_FORECAST) {
        driver.state.forecast = fr_xalloc(policy_forecast_bytes());
        policy_forecast_init(driver.state.forecast);
    }
    run_one(simulation, policy_kind_name(kind), &driver, model);
    fr_free(driver.state.forecast);
}

/* Before the engines: the one who knows the future, and the peak all the time. */
static void
run_bars(struct simulation *simulation, struct policy_model *model)
{
    size_t count = simulation->trace.count;
    uint32_t *plan = fr_xalloc(count * sizeof(plan[0]));
    struct driver driver = {.plan = plan};
    uint32_t peak = 0;

    policy_model_init(model, &simulation->model, simulation->trace.rate, count);
    policy_model_oracle(model, simulation->trace.rate, count, plan);
    for (size_t i = 0; i < count; i++) {
        uint32_t need = policy_model_need(model, simulation->trace.rate[i]);
        size_t column = i * CLI_SIMULATE_COLUMNS / count;
        peak = need > peak ? need : peak;
        simulation->need[column] = fmaxf(simulation->need[column], (float)need);
    }
    for (size_t c = 1; c < CLI_SIMULATE_COLUMNS; c++)
        if (!(simulation->need[c] > 0))
            simulation->need[c] = simulation->need[c - 1];
    run_one(simulation, "oracle", &driver, model);
    driver = (struct driver){.is_fixed = true, .count = peak};
    run_one(simulation, "fixed peak", &driver, model);
    fr_free(plan);
}

static void
print_table(const struct simulation *simulation)
{
    double least = simulation->runs[0].hours;

    printf("%-11s %11s %12s %9s %9s %9s %7s\n", "policy", "violations", "server-hours", "x oracle",
           "actions/h", "reversals", "score");
    for (size_t i = 0; i < simulation->run_count; i++) {
        const struct cli_run *run = &simulation->runs[i];
        double ratio = run->hours / least;
        printf("%-11s %9.3f %% %12.1f %9.3f %9.1f %9" PRIu64 " %7.3f\n", run->name,
               100 * run->viol_share, run->hours, ratio,
               (double)run->totals.actions / simulation->hours, run->totals.reversals,
               ratio + fmax(0, 100 * (run->viol_share - BUDGET)));
    }
}

/* Where nobody meets the goal, the goal or the member is not what was meant. */
static void
print_note(const struct simulation *simulation)
{
    const struct policy_model_settings *model = &simulation->model;
    double alone_ms = 1e3 * model->workers / model->capacity;

    if (simulation->runs[0].viol_share <= 0.02)
        return;
    printf(
        "Even the oracle misses the goal: a member of %.0f requests/s is taken to need %.0f ms for "
        "a\nrequest that waits for nobody, and the goal is %.0f ms. --goal sets another.\n",
        model->capacity, alone_ms, 1e3 * model->slo_latency_s);
}

/* ---- options -------------------------------------------------------------------------------- */

struct wishes {
    const char *file, *cluster, *startup, *drain, *goal, *capacity, *peak, *seed, *min, *max,
        *jitter, *plot, *begin;
    const char *policies[POLICY_KIND_COUNT];
    size_t policy_count;
    bool no_picture;
};

static bool
take_seconds(const char *option, const char *text, double *out_s)
{
    int64_t us;

    if (!text)
        return true;
    if (!fr_unit_parse_duration(fr_view_of(text), &us) || us < 0 || us > 86400 * FR_US_PER_S) {
        (void)cli_usage("simulate", "%s: found \"%s\", expected a duration such as 30s", option,
                        text);
        return false;
    }
    *out_s = (double)us / 1e6;
    return true;
}

static bool
take_count(const char *option, const char *text, uint64_t low, uint64_t high, uint32_t *out)
{
    uint64_t value;

    if (!text)
        return true;
    if (!cli_number("simulate", option, text, low, high, &value))
        return false;
    *out = (uint32_t)value;
    return true;
}

static void
take_windows(const struct config_scale *scale, struct simulation *simulation)
{
    for (size_t i = 0; i < scale->window_count; i++)
        simulation->windows[simulation->window_count++] = (struct policy_window){
            .cron = &scale->windows[i].cron,
            .zone = scale->windows[i].zone,
            .for_s = scale->windows[i].for_us / FR_US_PER_S,
            .min = scale->windows[i].min,
            .max = scale->windows[i].max,
            .words = scale->windows[i].words,
        };
}

/* The limits and levels of a configured cluster: the one named, else the first that scales. */
static int
take_file(const struct wishes *wishes, struct simulation *simulation)
{
    int status = CLI_DONE;
    const struct config_scale *scale = NULL;

    if (!wishes->file)
        return CLI_DONE;
    struct config *config = cli_load(wishes->file, CONFIG_ROLE_MANAGER, &status);
    if (!config)
        return status;
    for (size_t i = 0; i < config->cluster_count && !scale; i++)
        if (config->clusters[i]->scale.enabled &&
            (!wishes->cluster || strcmp(config->clusters[i]->name, wishes->cluster) == 0))
            scale = &config->clusters[i]->scale;
    if (scale) {
        simulation->policy.upper = scale->upper.value;
        simulation->policy.lower = scale->lower.value;
        simulation->policy.upper_for_us = scale->upper.for_us;
        simulation->policy.lower_for_us = scale->lower.for_us;
        simulation->policy.cooldown_up_us = scale->cooldown_up_us;
        simulation->policy.cooldown_down_us = scale->cooldown_down_us;
        simulation->policy.step_max = scale->step_max;
        simulation->policy.min = simulation->model.min = scale->min;
        simulation->policy.max = scale->max;
        simulation->policy.target = scale->target;
        simulation->policy.spare = scale->spare;
        simulation->policy.changes_per_minute = scale->changes;
        simulation->policy.flaps_per_hour = scale->releases;
        if (scale->slo_latency_us > 0) {
            simulation->is_goal_given = true;
            simulation->model.slo_latency_s = (double)scale->slo_latency_us / 1e6;
            simulation->model.slo_quantile = scale->slo_share;
        }
        take_windows(scale, simulation);
    } else {
        status = cli_usage("simulate", "%s has no %s that scales", wishes->file,
                           wishes->cluster ? wishes->cluster : "cluster");
    }
    simulation->config = config;
    return status;
}

static int
take_wishes(const struct wishes *wishes, struct simulation *simulation)
{
    struct policy_model_settings *model = &simulation->model;
    uint32_t seed = 1;
    uint32_t jitter = 20;

    simulation->policy = (struct policy_settings){
        .upper = 0.75,
        .lower = 0.45,
        .cooldown_up_us = 2 * FR_US_PER_S,
        .cooldown_down_us = 30 * FR_US_PER_S,
        .min = 1,
        .step_max = 4,
        .allocate = true,
        .flaps_per_hour = POLICY_FLAPS_PER_HOUR,
    };
    *model = policy_model_settings_default;
    int status = take_file(wishes, simulation);
    if (status != CLI_DONE)
        return status;
    if (!take_seconds("--startup", wishes->startup, &model->startup_s) ||
        !take_seconds("--drain", wishes->drain, &model->drain_s) ||
        !take_seconds("--goal", wishes->goal, &model->slo_latency_s) ||
        !take_count("--seed", wishes->seed, 0, UINT32_MAX, &seed) ||
        !take_count("--jitter", wishes->jitter, 0, 90, &jitter) ||
        !take_count("--min", wishes->min, 1, 1000, &simulation->policy.min) ||
        !take_count("--max", wishes->max, 1, 2000, &simulation->policy.max))
        return CLI_USAGE;
    if (simulation->is_goal_given || wishes->goal) {
        simulation->policy.late_max = 1 - model->slo_quantile;
        simulation->policy.slo_latency_us = (int64_t)(model->slo_latency_s * 1e6);
    }
    model->seed = seed;
    model->startup_jitter = jitter / 100.0;
    model->min = simulation->policy.min;
    return CLI_DONE;
}

static int
compare(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

/* With a member's capacity the rates count as they are; without, they are scaled so that the 99.9th
 * percentile needs `peak` members. */
static bool
scale_rates(const struct wishes *wishes, struct simulation *simulation, struct policy_model *model)
{
    struct cli_trace *trace = &simulation->trace;
    uint32_t peak = PEAK_DEFAULT;
    uint32_t capacity = 0;

    if (!take_count("--peak", wishes->peak, 1, 1000, &peak) ||
        !take_count("--capacity", wishes->capacity, 1, 1000000, &capacity))
        return false;
    double *sorted = fr_xalloc(trace->count * sizeof(sorted[0]));
    memcpy(sorted, trace->rate, trace->count * sizeof(sorted[0]));
    qsort(sorted, trace->count, sizeof(sorted[0]), compare);
    double high = sorted[(size_t)((double)(trace->count - 1) * 0.999)];
    fr_free(sorted);
    if (capacity) {
        double service_s = simulation->model.workers / simulation->model.capacity;
        simulation->model.capacity = capacity;
        simulation->model.workers = (uint32_t)fmax(1, round(capacity * service_s));
    }
    policy_model_init(model, &simulation->model, NULL, 0);
    double per_member = model->rho_max * simulation->model.capacity;
    double factor = capacity || !(high > 0) ? 1 : peak * per_member / high;
    for (size_t i = 0; i < trace->count; i++)
        trace->rate[i] *= factor;
    double pool = ceil(high * factor / per_member) * POOL_FACTOR;
    if (simulation->policy.max == 0)
        simulation->policy.max = (uint32_t)fmax(1, fmin(pool, POLICY_MODEL_MEMBERS_MAX));
    simulation->model.pool = simulation->policy.max;
    return true;
}

static int
simulate_file(const char *path, const struct wishes *wishes, struct simulation *simulation,
              struct policy_model *model)
{
    int status = take_wishes(wishes, simulation);
    if (status != CLI_DONE)
        return status;
    if (!cli_trace_read(path, simulation->model.dt_s, &simulation->trace))
        return CLI_FAILED;
    int64_t begin_us;
    if (wishes->begin && !fr_time_parse_iso(fr_view_of(wishes->begin), &begin_us))
        return cli_usage("simulate",
                         "--begin: found \"%s\", expected a time such as "
                         "2026-11-23T00:00:00Z",
                         wishes->begin);
    if (wishes->begin)
        simulation->trace.begin_s = (double)begin_us / 1e6;
    if (!scale_rates(wishes, simulation, model))
        return CLI_USAGE;
    simulation->hours = (double)simulation->trace.count * simulation->model.dt_s / 3600;
    printf("%s: %.1f h, start-up %.0f s, at most %u members\n", path, simulation->hours,
           simulation->model.startup_s, simulation->policy.max);
    if (simulation->trace.lines_skipped > 0)
        printf("%" PRIu64 " lines were not understood and left out\n",
               simulation->trace.lines_skipped);
    run_bars(simulation, model);
    for (size_t i = 0; i < wishes->policy_count; i++) {
        enum policy_kind kind;
        if (!policy_kind_parse(fr_view_of(wishes->policies[i]), &kind))
            return cli_usage("simulate", "--policy \"%s\", expected threshold, target or forecast",
                             wishes->policies[i]);
        run_engine(simulation, kind, model);
    }
    for (size_t kind = 0; wishes->policy_count == 0 && kind < POLICY_KIND_COUNT; kind++)
        run_engine(simulation, (enum policy_kind)kind, model);
    print_table(simulation);
    print_note(simulation);
    struct cli_picture picture = {.hours = simulation->hours,
                                  .need = simulation->need,
                                  .runs = simulation->runs,
                                  .run_count = simulation->run_count};
    if (!wishes->no_picture)
        cli_picture_blocks(&picture);
    return wishes->plot && !cli_picture_write(&picture, wishes->plot) ? CLI_FAILED : CLI_DONE;
}

int
cli_simulate(int argc, char **argv)
{
    struct wishes wishes = {.file = NULL};
    int operands = 0;
    const struct cli_option options[] = {
        {"--config", "-c", .text = &wishes.file, .words = "take limits and levels from this file"},
        {"--cluster", NULL, .text = &wishes.cluster, .words = "of this cluster"},
        {"--policy", "-p", .list = wishes.policies, .list_count = &wishes.policy_count,
         .list_max = POLICY_KIND_COUNT, .words = "threshold, target or forecast; repeatable (all)"},
        {"--startup", NULL, .text = &wishes.startup, .words = "until a member serves (30s)"},
        {"--drain", NULL, .text = &wishes.drain, .words = "a released one is still paid for (30s)"},
        {"--goal", NULL, .text = &wishes.goal,
         .words = "that 99 % must meet and policies steer to (300ms, untold)"},
        {"--capacity", NULL, .text = &wishes.capacity, .words = "requests/s of one member"},
        {"--peak", NULL, .text = &wishes.peak, .words = "without --capacity: members at peak (40)"},
        {"--min", NULL, .text = &wishes.min, .words = "members (1)"},
        {"--max", NULL, .text = &wishes.max, .words = "members (twice the peak)"},
        {"--jitter", NULL, .text = &wishes.jitter, .words = "of start-ups, in percent (20)"},
        {"--seed", NULL, .text = &wishes.seed, .words = "of chance (1)"},
        {"--begin", NULL, .text = &wishes.begin,
         .words = "when the first second was, for a schedule (as logged; 1970)"},
        {"--plot", NULL, .text = &wishes.plot, .words = "write an .svg or .html"},
        {"--no-picture", NULL, .flag = &wishes.no_picture, .words = "the table only"},
        {.name = NULL},
    };
    int status = cli_options(argc, argv, options, &operands);
    if (status != CLI_DONE)
        return status;
    if (operands == 0)
        return cli_usage("simulate", "a recorded rate or an access log is needed");
    struct simulation *simulation = fr_xalloc(sizeof(*simulation));
    struct policy_model *model = fr_xalloc(sizeof(*model));
    for (int i = 1; i <= operands && status == CLI_DONE; i++) {
        memset(simulation, 0, sizeof(*simulation));
        status = simulate_file(argv[i], &wishes, simulation, model);
        cli_trace_fini(&simulation->trace);
        if (simulation->config)
            config_free(&simulation->config);
    }
    fr_free(model);
    fr_free(simulation);
    return status;
}
