/* SPDX-License-Identifier: Apache-2.0 */
/*
 * policy_slo.c - a latency goal that any engine steers to: levels and target are ceilings, and what
 * of them counts is learnt from the requests that were late.
 *
 * May touch:  base.
 * Shape:      two ticks in a row with too many late ones: from now on a bit less busy than this is
 *             the level. Ticks with few, or with too few requests to judge, give it back, a little
 *             at a time. An engine that looks ahead has no level to lower; its price of a late
 *             request rises instead.
 * Bounded:    never above what was configured, never below FACTOR_MIN of it; an idle cluster that
 *             is late is not late for want of members, and learns nothing.
 */
#include "policy/policy_priv.h"

#include <math.h>

#define REQUESTS_MIN 20.0 /* of a tick: fewer say nothing of a share */
#define MISSES_MIN 2      /* ticks in a row */
#define BUSY_MIN 0.1      /* of the level: below it members are not what lacks */
#define JUST_BELOW 0.88   /* of how busy it was when it missed; more than target's tolerance */
#define FACTOR_MIN 0.25
#define FACTOR_STEP 0.0005 /* given back by a tick: a quarter of the level in 40 min of 5 s */
#define TARGET_USUAL 0.7

double
policy_late_share(double p50_ms, double p90_ms, double p99_ms, double goal_ms)
{
    if (!(p50_ms >= 0) || !(p99_ms >= p50_ms) || !isfinite(p99_ms) || !(goal_ms > 0))
        return (double)NAN;
    if (!(p90_ms >= p50_ms) || p90_ms > p99_ms) /* on an exponential tail through both */
        p90_ms = p50_ms + (p99_ms - p50_ms) * log(5) / log(50);
    if (goal_ms < p50_ms) { /* as far below the median as the ninth tenth is above it */
        double least_ms = fmax(0, 2 * p50_ms - p90_ms);
        return goal_ms > least_ms ? 1 - 0.5 * (goal_ms - least_ms) / (p50_ms - least_ms) : 1;
    }
    if (goal_ms < p90_ms)
        return 0.5 * pow(0.2, (goal_ms - p50_ms) / (p90_ms - p50_ms));
    if (!(p99_ms > p90_ms))
        return goal_ms < p99_ms ? 0.1 : 0;
    return 0.1 * pow(0.1, (goal_ms - p90_ms) / (p99_ms - p90_ms));
}

/* How busy the engine lets the cluster become, and how busy it is in the same sense. */
static double
level_of(const struct policy_settings *settings)
{
    if (settings->kind == POLICY_TARGET)
        return settings->target > 0 ? settings->target : TARGET_USUAL;
    return settings->upper;
}

static double
busy_of(const struct policy_settings *settings, const struct policy_observation *seen)
{
    return settings->kind == POLICY_TARGET ? seen->mean : seen->highest;
}

static void
learn(const struct policy_settings *settings, const struct policy_state *state,
      const struct policy_observation *seen, struct policy_slo *slo)
{
    const struct policy_traffic *traffic = &seen->traffic;
    double share = busy_of(settings, seen) / level_of(settings);
    bool is_awaited = seen->starting > 0 || state->pending_up > 0;

    double requests = traffic->rate * traffic->dt_s;

    if (traffic->is_known && requests >= 0 && requests < REQUESTS_MIN) {
        slo->misses = 0; /* nor is a miss before and one after in a row */
        slo->factor = fmin(1, slo->factor + FACTOR_STEP);
        return;
    }
    if (!traffic->is_known || !(traffic->slow >= 0 && traffic->slow <= 1) ||
        !(requests >= REQUESTS_MIN))
        return;
    slo->late = traffic->slow;
    slo->is_known = true;
    slo->misses = slo->late > settings->late_max ? slo->misses + 1 : 0;
    if (slo->misses == 0 && slo->late <= settings->late_max / 2)
        slo->factor = fmin(1, slo->factor + FACTOR_STEP);
    /* What was asked for has to show what it does first. */
    if (slo->misses < MISSES_MIN || is_awaited || !(share > BUSY_MIN))
        return;
    slo->factor = fmax(FACTOR_MIN, fmin(slo->factor, JUST_BELOW * share));
    slo->misses = 0;
}

const struct policy_settings *
policy__slo(const struct policy_settings *settings, struct policy_state *state,
            const struct policy_observation *seen, struct policy_settings *scratch)
{
    struct policy_slo *slo = &state->slo;

    if (!(settings->late_max > 0)) {
        *slo = (struct policy_slo){.factor = 1};
        return settings;
    }
    if (!(slo->factor > 0))
        slo->factor = 1;
    learn(settings, state, seen, slo);
    if (settings->kind == POLICY_FORECAST)
        slo->factor = 1;
    *scratch = *settings;
    scratch->target = (settings->target > 0 ? settings->target : TARGET_USUAL) * slo->factor;
    scratch->upper = settings->upper >= 0 ? settings->upper * slo->factor : settings->upper;
    scratch->lower = settings->lower >= 0 ? settings->lower * slo->factor : settings->lower;
    return scratch;
}
