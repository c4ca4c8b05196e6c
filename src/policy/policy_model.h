/* SPDX-License-Identifier: Apache-2.0 */
/*
 * policy_model.h - a cluster made of arithmetic, to try policies on: requests that arrive, members
 * that start and drain, queues that grow. docs/simulate.md writes the model down.
 *
 * May touch: base.
 */
#ifndef POLICY_MODEL_H
#define POLICY_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define POLICY_MODEL_MEMBERS_MAX 4096 /* starting, and draining, at a time */
#define POLICY_MODEL_GRID 1000        /* steps of utilization in the table of waits */

struct policy_model_settings {
    double dt_s;            /* one tick */
    double capacity;        /* requests/s that one member finishes when always busy */
    uint32_t workers;       /* parallel ones in a member */
    double slo_latency_s;   /* a slower request violates */
    double slo_quantile;    /* so many must be fast enough */
    double queue_max_s;     /* who would wait longer is refused */
    double startup_s;       /* from asked for to serving */
    double startup_jitter;  /* each start takes startup x uniform(1 - jitter, 1 + jitter) */
    double drain_s;         /* paid for after it was released */
    uint32_t min, pool;     /* members: at least, and at most */
    uint64_t seed;
};
extern const struct policy_model_settings policy_model_settings_default;

/* What a tick looked like from outside: the measuring stick's observation. */
struct policy_model_view {
    double at_s;
    double rate, utilization, p50_s, p99_s, slow, dropped, queue;
    uint32_t ready, starting, draining, desired;
    double last_startup_s; /* 0: none yet */
};

struct policy_model_totals {
    double requests, violating, dropped;
    uint64_t member_ticks, ticks;
    uint64_t actions, starts, stops, reversals;
};

struct policy_model {
    struct policy_model_settings settings;
    double wait_share[POLICY_MODEL_GRID + 1], wait_rate[POLICY_MODEL_GRID + 1];
    double rho_max; /* the utilization that just meets the goal */
    uint64_t arrivals_rng, starts_rng;
    uint64_t tick;
    uint32_t ready, desired;
    struct {
        uint64_t due, asked;
    } starting[POLICY_MODEL_MEMBERS_MAX];
    uint32_t starting_count;
    uint64_t draining[POLICY_MODEL_MEMBERS_MAX]; /* gone at that tick, in order */
    uint32_t draining_count;
    double queue;
    int last_direction;
    uint64_t last_direction_tick;
    struct policy_model_view view;
    struct policy_model_totals totals;
};

/* first_rates: what the first start-up time will bring, so that everybody begins with enough. */
void policy_model_init(struct policy_model *model, const struct policy_model_settings *settings,
                       const double *rates, size_t rate_count);
/* The fewest members that meet the goal at a steady rate. */
uint32_t policy_model_need(const struct policy_model *model, double rate);
/* Arrivals and departures of members up to now: what the policy sees before it decides. */
const struct policy_model_view *policy_model_look(struct policy_model *model);
/* The decision takes effect, then the tick happens at this mean rate. */
void policy_model_step(struct policy_model *model, uint32_t desired, double rate);
/* The cheapest schedule that covers need() at every tick, for one who knows the future: how many
 * members at each tick, into out_plan[rate_count]. */
void policy_model_oracle(const struct policy_model *model, const double *rates, size_t rate_count,
                         uint32_t *out_plan);

#endif
