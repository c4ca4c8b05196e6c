/* SPDX-License-Identifier: Apache-2.0 */
/*
 * policy_model.c - the arithmetic cluster: within a tick each member is a stationary M/M/k queue
 * (Erlang C, exponential tail); work beyond what the ready ones finish is a backlog that delays
 * everybody.
 *
 * May touch:  base.
 * Memory:     the struct; the oracle's plan is the caller's.
 * Follows:    A. K. Erlang 1917; the elasticity measures of Herbst et al., "Ready for Rain?",
 *             SPEC-RG-2016-01.
 */
#include "policy/policy_model.h"

#include "base/fr_check.h"

#include <math.h>
#include <string.h>

#define REVERSAL_S 600.0 /* a change of direction within this counts as a reversal */
#define GAUSS_FROM 50.0  /* a Poisson mean from which the bell curve is close enough */

const struct policy_model_settings policy_model_settings_default = {
    .dt_s = 5,
    .capacity = 100,
    .workers = 8,
    .slo_latency_s = 0.3,
    .slo_quantile = 0.99,
    .queue_max_s = 2,
    .startup_s = 30,
    .startup_jitter = 0.2,
    .drain_s = 30,
    .min = 1,
    .pool = 80,
    .seed = 1,
};

/* ---- chance --------------------------------------------------------------------------------- */

/* SplitMix64: small, and the same on every machine. */
static double
uniform(uint64_t *rng)
{
    uint64_t z = (*rng += 0x9e3779b97f4a7c15ULL);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    z ^= z >> 31;
    return (double)(z >> 11) * 0x1.0p-53;
}

static double
poisson(uint64_t *rng, double mean)
{
    if (!(mean > 0))
        return 0;
    if (mean > GAUSS_FROM) { /* Box and Muller 1958 */
        double a = uniform(rng);
        double b = uniform(rng);
        double normal = sqrt(-2 * log(1 - a)) * cos(2 * 3.14159265358979323846 * b);
        return fmax(0, mean + normal * sqrt(mean));
    }
    double limit = exp(-mean);
    double x = uniform(rng);
    double count = 0;
    while (x > limit) {
        count++;
        x *= uniform(rng);
    }
    return count;
}

/* ---- waiting -------------------------------------------------------------------------------- */

/* The chance to wait with `workers` workers and `load` erlangs. */
static double
erlang_c(uint32_t workers, double load)
{
    double inverse = 1;

    if (!(load > 0))
        return 0;
    if (load >= workers)
        return 1;
    for (uint32_t i = 1; i <= workers; i++)
        inverse = 1 + inverse * i / load;
    double blocked = 1 / inverse;
    return blocked / (1 - load / workers * (1 - blocked));
}

static double
service_s(const struct policy_model *model)
{
    return model->settings.workers / model->settings.capacity;
}

static double
slack_s(const struct policy_model *model)
{
    return fmax(0, model->settings.slo_latency_s - service_s(model));
}

/* The share of requests over the goal when each also waits base_wait_s in the backlog. */
static double
slow_share(const struct policy_model *model, double rho, double base_wait_s)
{
    double left_s = slack_s(model) - base_wait_s;

    if (left_s <= 0 || rho >= 1)
        return 1;
    double x = rho * POLICY_MODEL_GRID;
    size_t i = (size_t)x;
    double f = x - (double)i;
    double share = model->wait_share[i] + f * (model->wait_share[i + 1] - model->wait_share[i]);
    double rate = model->wait_rate[i] + f * (model->wait_rate[i + 1] - model->wait_rate[i]);
    return share * exp(-rate * left_s);
}

static double
wait_quantile(const struct policy_model *model, double rho, double q)
{
    if (rho >= 1)
        return model->settings.queue_max_s;
    size_t i = (size_t)(rho * POLICY_MODEL_GRID);
    double share = model->wait_share[i];
    if (share <= 1 - q)
        return 0;
    return fmin(model->settings.queue_max_s, log(share / (1 - q)) / model->wait_rate[i]);
}

static void
fill_tables(struct policy_model *model)
{
    uint32_t workers = model->settings.workers;
    double low = 0;
    double high = 1 - 1e-9;

    for (size_t i = 0; i <= POLICY_MODEL_GRID; i++) {
        double rho = (double)i / POLICY_MODEL_GRID;
        model->wait_share[i] = erlang_c(workers, workers * rho);
        model->wait_rate[i] = workers * (1 - rho) / service_s(model);
    }
    for (int i = 0; i < 60; i++) {
        double middle = (low + high) / 2;
        if (slow_share(model, middle, 0) <= 1 - model->settings.slo_quantile)
            low = middle;
        else
            high = middle;
    }
    /* A goal shorter than one service is out of reach: half busy is as good as any. */
    model->rho_max = low > 0.05 ? low : 0.5;
}

/* ---- members -------------------------------------------------------------------------------- */

uint32_t
policy_model_need(const struct policy_model *model, double rate)
{
    const struct policy_model_settings *settings = &model->settings;
    double need = ceil(rate / (model->rho_max * settings->capacity) - 1e-9);

    if (!(need > settings->min))
        return settings->min;
    return need < POLICY_MODEL_MEMBERS_MAX ? (uint32_t)need : POLICY_MODEL_MEMBERS_MAX;
}

void
policy_model_init(struct policy_model *model, const struct policy_model_settings *settings,
                  const double *rates, size_t rate_count)
{
    uint32_t most = 0;

    fr_require(settings->pool <= POLICY_MODEL_MEMBERS_MAX && settings->workers > 0);
    memset(model, 0, sizeof(*model));
    model->settings = *settings;
    model->arrivals_rng = settings->seed;
    model->starts_rng = settings->seed + 7919;
    fill_tables(model);
    double ahead = settings->startup_s * (1 + settings->startup_jitter) / settings->dt_s;
    for (size_t i = 0; i < rate_count && (double)i <= ahead; i++) {
        uint32_t need = policy_model_need(model, rates[i]);
        most = need > most ? need : most;
    }
    model->ready = most + 1 < settings->pool ? most + 1 : settings->pool;
    model->desired = model->ready;
    if (rate_count > 0) {
        model->view.rate = rates[0];
        model->view.utilization = fmin(1, rates[0] / (model->ready * settings->capacity));
    }
}

const struct policy_model_view *
policy_model_look(struct policy_model *model)
{
    double dt_s = model->settings.dt_s;
    uint32_t kept = 0;

    for (uint32_t i = 0; i < model->starting_count; i++) {
        if (model->starting[i].due <= model->tick) {
            model->ready++;
            model->view.last_startup_s =
                (double)(model->starting[i].due - model->starting[i].asked) * dt_s;
        } else {
            model->starting[kept++] = model->starting[i];
        }
    }
    model->starting_count = kept;
    kept = 0;
    for (uint32_t i = 0; i < model->draining_count; i++)
        if (model->draining[i] > model->tick)
            model->draining[kept++] = model->draining[i];
    model->draining_count = kept;
    model->view.at_s = (double)model->tick * dt_s;
    model->view.ready = model->ready;
    model->view.starting = model->starting_count;
    model->view.draining = model->draining_count;
    model->view.desired = model->desired;
    return &model->view;
}

static int64_t
grow(struct policy_model *model, uint32_t count)
{
    const struct policy_model_settings *settings = &model->settings;
    uint32_t taken = model->ready + model->starting_count + model->draining_count;
    uint32_t room = settings->pool > taken ? settings->pool - taken : 0;

    count = count < room ? count : room;
    for (uint32_t i = 0; i < count; i++) {
        double spread = settings->startup_jitter * (2 * uniform(&model->starts_rng) - 1);
        double ticks = ceil(settings->startup_s * (1 + spread) / settings->dt_s - 1e-9);
        model->starting[model->starting_count].asked = model->tick;
        model->starting[model->starting_count++].due =
            model->tick + (ticks > 1 ? (uint64_t)ticks : 1);
    }
    model->totals.starts += count;
    return count;
}

/* The youngest starts are taken back first; only then do ready ones leave. */
static void
shrink(struct policy_model *model, uint32_t count)
{
    uint64_t gone = model->tick + (uint64_t)(model->settings.drain_s / model->settings.dt_s + 0.5);

    while (count > 0 && model->starting_count > 0) {
        uint32_t youngest = 0;
        for (uint32_t i = 1; i < model->starting_count; i++)
            if (model->starting[i].asked > model->starting[youngest].asked)
                youngest = i;
        model->starting[youngest] = model->starting[--model->starting_count];
        model->totals.stops++;
        count--;
    }
    while (count > 0 && model->ready > model->settings.min &&
           model->draining_count < POLICY_MODEL_MEMBERS_MAX) {
        model->ready--;
        model->draining[model->draining_count++] = gone;
        model->totals.stops++;
        count--;
    }
}

static void
change_members(struct policy_model *model, uint32_t desired)
{
    const struct policy_model_settings *settings = &model->settings;
    uint32_t have = model->ready + model->starting_count;
    int direction = 0;

    desired = desired < settings->min ? settings->min : desired;
    desired = desired > settings->pool ? settings->pool : desired;
    model->desired = desired;
    if (desired > have && grow(model, desired - have) > 0)
        direction = 1;
    if (desired < have) {
        shrink(model, have - desired);
        direction = -1;
    }
    if (direction == 0)
        return;
    model->totals.actions++;
    if (model->last_direction != 0 && direction != model->last_direction &&
        (double)(model->tick - model->last_direction_tick) * settings->dt_s <= REVERSAL_S)
        model->totals.reversals++;
    model->last_direction = direction;
    model->last_direction_tick = model->tick;
}

/* ---- requests ------------------------------------------------------------------------------- */

void
policy_model_step(struct policy_model *model, uint32_t desired, double rate)
{
    const struct policy_model_settings *settings = &model->settings;
    struct policy_model_view *view = &model->view;
    double dt_s = settings->dt_s;

    change_members(model, desired);
    double arrived = poisson(&model->arrivals_rng, rate * dt_s);
    double per_s = model->ready * settings->capacity;
    double offered = model->queue + arrived;
    double served = fmin(offered, per_s * dt_s);
    double left = offered - served;
    double dropped = fmax(0, left - per_s * settings->queue_max_s);
    left -= dropped;
    double rho = per_s > 0 ? served / (per_s * dt_s) : 1;
    double wait_before_s = per_s > 0 ? model->queue / per_s : settings->queue_max_s;
    double wait_after_s = per_s > 0 ? left / per_s : settings->queue_max_s;
    double wait_s = (wait_before_s + wait_after_s) / 2;
    double share;
    if (left <= 0 && model->queue > 0) {
        /* The backlog is gone before the tick ends: only its part of the tick is late. */
        double busy =
            per_s * dt_s > arrived ? fmin(1, model->queue / (per_s * dt_s - arrived)) : 1;
        double late = busy * fmax(0, 1 - slack_s(model) / wait_before_s);
        share = late + (1 - late) * slow_share(model, rho, 0);
    } else {
        share = slow_share(model, rho, wait_s);
    }
    double slow = share * fmax(0, arrived - dropped) + fmin(dropped, arrived);
    model->queue = left;
    view->rate = arrived / dt_s;
    view->utilization = rho;
    view->p50_s = service_s(model) + wait_s + wait_quantile(model, rho, 0.5);
    view->p99_s = service_s(model) + wait_s + wait_quantile(model, rho, 0.99);
    view->slow = arrived > 0 ? slow / arrived : 0;
    view->dropped = dropped / dt_s;
    view->queue = left;
    model->totals.ticks++;
    model->totals.requests += arrived;
    model->totals.violating += slow;
    model->totals.dropped += dropped;
    model->totals.member_ticks += model->ready + model->starting_count + model->draining_count;
    model->tick++;
}
