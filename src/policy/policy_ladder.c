/* SPDX-License-Identifier: Apache-2.0 */
/*
 * policy_ladder.c - the ladder of a cluster: a rung up while it is at its upper level, one down
 * when it is clearly below it.
 *
 * May touch:  base.
 * Calm:       each rung must prove too little for climb_us before the next, and utilization must
 *             stay a tenth below the level for descend_us before one is left: a load that swings
 *             about the level climbs and stays. Utilization is what the weight in force makes of
 *             it: weight is given back only where it stays below the level by it, and the rung of
 *             weights is left only when the member would with all of it.
 * Bounded:    an unknown number climbs nothing, and holds what is in force.
 */
#include "policy/policy.h"

#include <math.h>

#define WEIGHT_SHARE_MIN 0.25 /* of its weight, that the hottest member keeps */
#define WEIGHT_STEP 0.1       /* of its weight; a smaller change is not worth a snapshot */
#define WEIGHT_BACK 1.25      /* given back at a time, of what is in force */

static unsigned
lowest(unsigned set)
{
    return set & (~set + 1u);
}

static unsigned
highest_of(unsigned set)
{
    while (set & (set - 1))
        set &= set - 1;
    return set;
}

/* Since when a condition holds; the clock's 0 is made 1. */
static bool
held(bool condition, int64_t now_us, int64_t for_us, int64_t *since_us)
{
    if (!condition) {
        *since_us = 0;
        return false;
    }
    if (*since_us == 0 || *since_us > now_us)
        *since_us = now_us;
    return now_us - *since_us >= for_us;
}

bool
policy_ladder(const struct policy_ladder_settings *settings, struct policy_ladder_state *state,
              double highest, double mean, int64_t now_us)
{
    unsigned before = state->rungs;
    state->rungs &= settings->rungs; /* the ladder may have been changed */
    unsigned next = lowest(settings->rungs & ~state->rungs);
    unsigned top = highest_of(state->rungs);
    /* The first bit is for one hot member among others; the rest for all of them. */
    double up = next == 1 ? highest : mean;
    double down = top == 1 ? highest : mean;
    bool set = settings->upper >= 0;
    if (now_us <= 0)
        now_us = 1;
    bool climbs = held(set && next != 0 && up >= settings->upper, now_us, settings->climb_us,
                       &state->over_since_us);
    bool descends = held(top != 0 && (!set || down < settings->upper * POLICY_LADDER_BELOW), now_us,
                         settings->descend_us, &state->under_since_us);
    if (climbs)
        state->rungs |= next;
    else if (descends)
        state->rungs &= ~top;
    if (climbs || descends)
        state->over_since_us = state->under_since_us = 0; /* its effect must show first */
    return state->rungs != before;
}

uint32_t
policy_ladder_weight(uint32_t normal, uint32_t now, double utilization, double mean, double upper)
{
    double step = WEIGHT_STEP * normal;

    if (now > normal)
        return normal; /* it was lowered meanwhile, to drain for example, hot or not */
    if (utilization >= upper) {
        if (!(mean >= 0) || !(mean < utilization))
            return now;
        double least = fmax(1, ceil(normal * WEIGHT_SHARE_MIN));
        double kept = fmax(floor(now * (mean / utilization)), least);
        return kept + step <= now ? (uint32_t)kept : now;
    }
    double back = ceil(now + fmax(now * (WEIGHT_BACK - 1), step));
    if (back + step > normal)
        back = normal;
    /* An unknown number is no reason to give it more. */
    return utilization * (back / now) < upper ? (uint32_t)back : now;
}

double
policy_ladder_full(uint32_t normal, uint32_t now, double utilization)
{
    return now > 0 && now < normal ? utilization * ((double)normal / now) : utilization;
}
