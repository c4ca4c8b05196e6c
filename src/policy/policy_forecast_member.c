/* SPDX-License-Identifier: Apache-2.0 */
/*
 * policy_forecast_member.c - what one member can do, and how long it takes to be useful: learnt
 * from what the cluster shows.
 *
 * May touch:  base.
 * Trusts:     nothing: only numbers that fit each other teach.
 * Follows:    service demand law, U = X * S (Denning and Buzen, "The Operational Analysis of
 *             Queueing Network Models", ACM Computing Surveys 1978); the shape of the latency curve
 *             before it was seen is an M/M/k queue's tail (Erlang 1917).
 */
#include "policy/policy_forecast_priv.h"

#include <math.h>

#define USEFUL_UTILIZATION 0.05 /* what is below says little ... */
#define LEAST_UTILIZATION 0.005 /* ... which is more than nothing, until so much is known: */
#define LITTLE_WEIGHT 0.01
#define WEIGHT_MAX 200.0     /* of what was seen of the capacity: older fades */
#define CURVE_FADE 0.9995    /* per tick that teaches the same step */
#define PRIOR_STEEP 22.0     /* late share before anything was seen: exp(-22 (1 - u)) */
#define PRIOR_REQUESTS 500.0 /* what that guess is worth */
#define SHIFT_LATE 5.0    /* late requests, seen and guessed, from which the guess is corrected */
#define SHIFT_MAX 3.0     /* in logarithms */
#define OVERLOAD_COST 1.0 /* beyond 1 the backlog makes more late than the excess alone */
#define STARTUP_GUESS_S 60.0

static double
prior_slow(double utilization)
{
    return utilization >= 1 ? 1 : exp(-PRIOR_STEEP * (1 - utilization));
}

void
policy__member_init(struct policy__member_model *model)
{
    *model = (struct policy__member_model){
        .startup_mean_s = STARTUP_GUESS_S,
        .startup_high_s = STARTUP_GUESS_S,
        .queue = (double)NAN,
    };
    policy__member_rebuild(model);
}

/* Requests/s that were finished; of those that came some were refused, and some wait. What left a
 * queue may have been finished or have given up, and who waits may have come before anybody looked:
 * NaN then. */
static double
served_of(const struct policy__member_model *model, const struct policy_traffic *traffic)
{
    if (traffic->served > 0)
        return traffic->served;
    double dropped = traffic->dropped > 0 ? traffic->dropped : 0;
    double queued = traffic->queue > 0 ? traffic->queue : 0;
    double before = isnan(model->queue) && !(queued > 0) ? 0 : model->queue;
    if (!(queued >= before))
        return (double)NAN;
    return traffic->rate - dropped - (queued - before) / traffic->dt_s;
}

static void
learn_capacity(struct policy__member_model *model, const struct policy_observation *seen,
               double utilization)
{
    utilization = fmin(utilization, 1); /* more waits there, but no more is done */
    const struct policy_traffic *traffic = &seen->traffic;
    double served = served_of(model, traffic);
    double capacity = served / (traffic->busy > 0 ? traffic->busy : utilization * seen->usable);
    if (!(capacity > 0) || !isfinite(capacity))
        return;
    double weight = utilization * utilization; /* a busy member tells more */
    double value = log(capacity);
    if (model->weight > 5) /* one liar among the ticks moves it little */
        value = fmax(model->log_capacity - 1, fmin(model->log_capacity + 1, value));
    model->weight = fmin(model->weight + weight, WEIGHT_MAX);
    model->log_capacity += weight / model->weight * (value - model->log_capacity);
}

void
policy__member_learn(struct policy__member_model *model, const struct policy_observation *seen)
{
    const struct policy_traffic *traffic = &seen->traffic;
    double busy =
        traffic->busy_usable > 0 && traffic->busy > 0 ? traffic->busy_usable : traffic->busy;
    double utilization = busy == 0 ? seen->mean : busy / fmax(1, (double)seen->usable);

    if (traffic->startup_s > 0 && isfinite(traffic->startup_s)) {
        double startup_s = fmin(traffic->startup_s, 86400);
        if (!model->is_startup_known)
            model->startup_mean_s = model->startup_high_s = startup_s;
        model->is_startup_known = true;
        model->startup_mean_s += 0.05 * (startup_s - model->startup_mean_s);
        double faded =
            model->startup_high_s + 0.0005 * (model->startup_mean_s - model->startup_high_s);
        model->startup_high_s = fmax(startup_s, faded);
    }
    /* What a member does whose number is missing, or a lie, is in the rate too. */
    double useful = model->weight > LITTLE_WEIGHT ? USEFUL_UTILIZATION : LEAST_UTILIZATION;
    bool is_sound =
        utilization > useful && traffic->rate > 0 && seen->usable > 0 && seen->stale == 0;
    if (is_sound)
        learn_capacity(model, seen, utilization);
    /* While a backlog is worked off requests are late, however busy members are. */
    bool is_backlog = traffic->queue > 0 || traffic->dropped > 0 || utilization >= 1;
    bool is_clear = !is_backlog && !model->is_backlog;
    model->is_backlog = is_backlog;
    model->queue = traffic->queue > 0 ? traffic->queue : 0;
    if (!is_sound || !is_clear || !(traffic->slow >= 0) || traffic->slow > 1)
        return;
    size_t step = (size_t)(utilization * POLICY__CURVE_STEPS);
    double requests = traffic->rate * traffic->dt_s;
    model->bad[step] = model->bad[step] * CURVE_FADE + traffic->slow * requests;
    model->requests[step] = model->requests[step] * CURVE_FADE + requests;
}

/* How far what was seen is from the guess, in logarithms. */
static double
prior_shift(const struct policy__member_model *model)
{
    double seen = SHIFT_LATE;
    double guessed = SHIFT_LATE;

    for (size_t i = POLICY__CURVE_STEPS / 2; i < POLICY__CURVE_STEPS; i++) {
        seen += model->bad[i];
        guessed += model->requests[i] * prior_slow(((double)i + 0.5) / POLICY__CURVE_STEPS);
    }
    return fmax(-SHIFT_MAX, fmin(SHIFT_MAX, log(seen / guessed)));
}

/* Never falls with utilization: more load on a member cannot make fewer requests late. So a step is
 * no worse than all above it together, and no better than the one below. */
void
policy__member_rebuild(struct policy__member_model *model)
{
    double step[POLICY__CURVE_STEPS + 1];
    double bad = 0;
    double requests = 0;
    double least = 1e-9;
    double factor = exp(prior_shift(model));

    step[POLICY__CURVE_STEPS] = 1;
    for (size_t i = POLICY__CURVE_STEPS; i-- > 0;) {
        double guess = fmin(1, prior_slow(((double)i + 0.5) / POLICY__CURVE_STEPS) * factor);
        bad += model->bad[i];
        requests += model->requests[i];
        double own =
            (model->bad[i] + guess * PRIOR_REQUESTS) / (model->requests[i] + PRIOR_REQUESTS);
        double above = (bad + guess * PRIOR_REQUESTS) / (requests + PRIOR_REQUESTS);
        step[i] = fmin(1, fmin(own, above));
    }
    for (size_t i = 0; i < POLICY__CURVE_STEPS; i++)
        step[i] = least = fmax(least, step[i]);
    for (size_t i = 0; i < POLICY__CURVE_FINE; i++) {
        double x = (double)i / POLICY__CURVE_FINE * POLICY__CURVE_STEPS - 0.5;
        size_t at = x > 0 ? (size_t)x : 0;
        double part = x > 0 ? x - (double)at : 0;
        model->slow[i] = (float)(step[at] * exp(part * log(step[at + 1] / step[at])));
    }
    model->slow[POLICY__CURVE_FINE] = 1;
}

double
policy__member_capacity(const struct policy__member_model *model)
{
    return model->weight > 0 ? exp(model->log_capacity) : 0;
}

double
policy__member_slow(const struct policy__member_model *model, double utilization)
{
    if (!(utilization < 1))
        return 1 + (utilization - 1) * OVERLOAD_COST;
    double x = utilization > 0 ? utilization * POLICY__CURVE_FINE : 0;
    size_t i = (size_t)x;
    double a = model->slow[i];
    double b = model->slow[i + 1];
    return a + (x - (double)i) * (b - a);
}

/* Between the mean and the slowest: half of the members are later than the mean. */
double
policy__member_startup_s(const struct policy__member_model *model)
{
    return (model->startup_mean_s + model->startup_high_s) / 2;
}
