/* SPDX-License-Identifier: Apache-2.0 */
/*
 * policy_relief.c - the edge's own ladder: one step up while it is at its upper level, one down
 * while it is below its lower one.
 *
 * May touch:  base.
 * Calm:       after each step both conditions must hold anew, and for no less than
 *             POLICY_RELIEF_SETTLE_US, so that each step's effect is seen before the next.
 */
#include "policy/policy.h"

#include <math.h>

static bool
held(int64_t since_us, int64_t changed_at_us, int64_t for_us, int64_t now_us)
{
    if (changed_at_us != 0 && now_us - changed_at_us < POLICY_RELIEF_SETTLE_US)
        return false;
    int64_t from_us = since_us > changed_at_us ? since_us : changed_at_us;
    return since_us != 0 && now_us - from_us >= for_us;
}

static void
track(bool condition, int64_t now_us, int64_t *since_us)
{
    if (!condition)
        *since_us = 0;
    else if (*since_us == 0 || *since_us > now_us)
        *since_us = now_us;
}

bool
policy_relief(const struct policy_relief_settings *settings, struct policy_relief_state *state,
              double utilization, bool stale, int64_t now_us, uint32_t *out_step)
{
    bool usable = !stale && isfinite(utilization) && utilization >= 0;
    uint32_t step = state->step;
    if (now_us <= 0)
        now_us = 1; /* 0 says "never" in the state */
    if (state->changed_at_us > now_us)
        state->changed_at_us = now_us;
    track(usable && settings->upper >= 0 && utilization >= settings->upper, now_us,
          &state->upper_since_us);
    track(usable && utilization < settings->lower, now_us, &state->lower_since_us);
    if (step > settings->steps) {
        step = settings->steps; /* the ladder became shorter */
    } else if (step < settings->steps &&
               held(state->upper_since_us, state->changed_at_us, settings->upper_for_us, now_us)) {
        step++;
    } else if (step > 0 &&
               held(state->lower_since_us, state->changed_at_us, settings->lower_for_us, now_us)) {
        step--;
    }
    if (step == state->step)
        return false;
    state->step = step;
    state->changed_at_us = now_us;
    *out_step = step;
    return true;
}
