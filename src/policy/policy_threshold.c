/* SPDX-License-Identifier: Apache-2.0 */
/*
 * policy_threshold.c - how many servers a cluster should have: grow at the upper level, give one
 * back below the lower one.
 *
 * May touch:  base.
 * Bounded:    never asks beyond max, never gives back below min, never gives back when what remains
 *             would come near the upper level. A number that is no number, negative or stale can
 *             only hold or grow.
 * Calm:       what growing aims at lies between the levels, and giving back is allowed only when
 *             the rest stays at or below that aim; so under a constant load no decision is followed
 *             by its opposite.
 */
#include "policy/policy_priv.h"

#include <math.h>

/* Where growing aims at. Midway between the levels is farthest from both, so that neither ebb nor
 * flood of an ordinary minute crosses one. But with a lower level far down, midway would keep twice
 * the servers that the load needs: six tenths of the upper level leave room enough. */
static double
pick_target(const struct policy_settings *settings)
{
    double upper = settings->upper >= 0 ? settings->upper : 1.0;
    double lower = settings->lower >= 0 && settings->lower < upper ? settings->lower : 0;
    double midway = (lower + upper) / 2;
    double least = 0.6 * upper;
    return midway > least ? midway : least;
}

/* ---- time ----------------------------------------------------------------------------------- */

/* Keeps *since while the condition holds; 0 says that it does not (the clock's own 0 is made 1). */
static void
track(bool condition, int64_t now_us, int64_t *since_us)
{
    if (!condition)
        *since_us = 0;
    else if (*since_us == 0 || *since_us > now_us)
        *since_us = now_us;
}

/* ---- growing -------------------------------------------------------------------------------- */

static uint32_t
count_needed(const struct policy_settings *settings, const struct policy_observation *seen)
{
    double target = pick_target(settings);
    double needed = target > 0 ? ceil(seen->sum / target) : (double)UINT32_MAX;
    /* Utilization is foreign: a sum beyond all servers in the world must not wrap. */
    return needed < (double)UINT32_MAX ? (uint32_t)needed : UINT32_MAX;
}

static void
decide_upper(const struct policy_settings *settings, const struct policy_state *state,
             const struct policy_observation *seen, struct policy_decision *out)
{
    out->needed = count_needed(settings, seen);
    uint64_t have = (uint64_t)seen->ready + seen->starting + state->pending_up;
    uint64_t room = policy__room_below_max(settings, state, seen);
    int64_t wait_us =
        policy__remaining(state->upper_since_us, settings->upper_for_us, seen->now_us);
    if (wait_us > 0) {
        policy__hold(out, POLICY_RULE_UPPER_WAIT, wait_us);
        return;
    }
    if (settings->single || !settings->allocate) {
        policy__hold(out, POLICY_RULE_UPPER_NO_POOL, 0);
        return;
    }
    /* Before the maximum: while the last ones are on their way, that is the truer answer. */
    if (have > seen->ready && have >= out->needed) {
        policy__hold(out, POLICY_RULE_UPPER_PENDING, 0);
        return;
    }
    if (room == 0) {
        policy__hold(out, POLICY_RULE_UPPER_MAX, 0);
        return;
    }
    uint64_t left = policy__left_in_pool(settings, state);
    if (left == 0) {
        policy__hold(out, POLICY_RULE_POOL_EMPTY, 0);
        return;
    }
    wait_us = policy__remaining(state->grown_at_us, settings->cooldown_up_us, seen->now_us);
    if (wait_us > 0) {
        policy__hold(out, POLICY_RULE_UPPER_COOLDOWN, wait_us);
        return;
    }
    uint64_t count = out->needed > have ? out->needed - have : 1;
    uint64_t step = settings->step_max > 0 ? settings->step_max : 1;
    if (count > step)
        count = step;
    room = room < left ? room : left;
    out->verdict = POLICY_ALLOCATE;
    out->rule = POLICY_RULE_UPPER;
    out->count = (uint32_t)(count < room ? count : room);
}

/* ---- giving back ---------------------------------------------------------------------------- */

static void
decide_lower(const struct policy_settings *settings, struct policy_state *state,
             const struct policy_observation *seen, struct policy_decision *out)
{
    out->needed = count_needed(settings, seen);
    /* What does not pass by itself comes before what does: it is the better answer to "why not". */
    if (seen->stale > 0) {
        state->lower_since_us = 0; /* silence does not count as quiet */
        policy__hold(out, POLICY_RULE_LOWER_STALE, 0);
        return;
    }
    if (seen->starting + seen->draining > 0 || state->pending_up > 0 ||
        state->pending_down > 0) {
        policy__hold(out, POLICY_RULE_LOWER_PENDING, 0);
        return;
    }
    if (seen->usable <= settings->min) {
        policy__hold(out, POLICY_RULE_LOWER_MIN, 0);
        return;
    }
    if (settings->single || seen->removable == 0) {
        policy__hold(out, POLICY_RULE_LOWER_NONE_OURS, 0);
        return;
    }
    /* The last one is never given back: there would be nobody to see the load return. */
    if (seen->usable > 1)
        out->after = seen->sum / (seen->usable - 1);
    if (!(out->after <= pick_target(settings))) {
        policy__hold(out, POLICY_RULE_LOWER_WOULD_CROSS, 0);
        return;
    }
    int64_t wait_us =
        policy__remaining(state->lower_since_us, settings->lower_for_us, seen->now_us);
    if (wait_us > 0) {
        policy__hold(out, POLICY_RULE_LOWER_WAIT, wait_us);
        return;
    }
    wait_us = policy__remaining(state->changed_at_us, settings->cooldown_down_us, seen->now_us);
    if (wait_us > 0) {
        policy__hold(out, POLICY_RULE_LOWER_COOLDOWN, wait_us);
        return;
    }
    out->verdict = POLICY_DEALLOCATE;
    out->rule = POLICY_RULE_LOWER;
    out->count = 1;
}

/* ---- all of it ------------------------------------------------------------------------------ */

void
policy__threshold(const struct policy_settings *settings, struct policy_state *state,
                  const struct policy_observation *seen, struct policy_decision *out)
{
    /* Comparisons with NaN are false: an unknown highest or mean is neither up nor down. */
    bool up = settings->upper >= 0 && seen->highest >= settings->upper;
    bool down = !up && settings->lower >= 0 && seen->mean < settings->lower;
    track(up, seen->now_us, &state->upper_since_us);
    track(down, seen->now_us, &state->lower_since_us);

    if (policy__below_min(settings, state, seen, out)) {
        /* Said already. */
    } else if (seen->usable == 0) {
        policy__hold(out, POLICY_RULE_UNKNOWN, 0);
    } else if (up) {
        decide_upper(settings, state, seen, out);
    } else if (down) {
        decide_lower(settings, state, seen, out);
    } else {
        out->needed = count_needed(settings, seen);
    }
}
