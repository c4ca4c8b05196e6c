/* SPDX-License-Identifier: Apache-2.0 */
/*
 * policy_target.c - keeps the mean utilization at a target: so many members that the same load
 * would make them that busy.
 *
 * May touch:  base.
 * Calm:       within a tenth of the target nothing changes; shrinking goes to the highest wish of
 *             five minutes.
 * Follows:    the rule of Kubernetes' HorizontalPodAutoscaler, in its documentation: desired =
 *             ceil(current * metric / target), with its tolerance and its stabilisation window.
 */
#include "policy/policy_priv.h"

#include <math.h>

#define TARGET_USUAL 0.7
#define TOLERANCE 0.1
#define WINDOW_US 300000000LL
#define SLICE_US (WINDOW_US / POLICY_TARGET_SLICES)

/* What was wished is not known any more: as if all that there is had been. */
void
policy__target_forget(struct policy_target *target, uint32_t have, int64_t now_us)
{
    for (size_t i = 0; i < POLICY_TARGET_SLICES; i++)
        target->wish[i] = have;
    target->slice_us = now_us;
}

/* The highest wish of the window, this one included. */
static uint32_t
remember(struct policy_target *target, uint32_t wish, int64_t now_us)
{
    uint32_t highest = wish;

    if (target->slice_us == 0)
        target->slice_us = now_us;
    /* After a long silence the old wishes are all too old: one round forgets them. */
    for (size_t i = 0; i < POLICY_TARGET_SLICES && now_us - target->slice_us >= SLICE_US; i++) {
        target->slice = (target->slice + 1) % POLICY_TARGET_SLICES;
        target->wish[target->slice] = 0;
        target->slice_us += SLICE_US;
    }
    if (now_us - target->slice_us >= SLICE_US)
        target->slice_us = now_us;
    if (wish > target->wish[target->slice])
        target->wish[target->slice] = wish;
    for (size_t i = 0; i < POLICY_TARGET_SLICES; i++)
        highest = target->wish[i] > highest ? target->wish[i] : highest;
    return highest;
}

void
policy__target(const struct policy_settings *settings, struct policy_state *state,
               const struct policy_observation *seen, struct policy_decision *out)
{
    uint32_t have = policy__have(state, seen);
    double target = settings->target > 0 ? settings->target : TARGET_USUAL;
    uint32_t desired = have;

    if (seen->usable > 0) {
        double ratio = seen->mean / target;
        double wish = fabs(ratio - 1) <= TOLERANCE ? have : ceil(ratio * seen->usable);
        uint32_t count = wish < 1e6 ? (uint32_t)wish : 1000000;
        if (fabs(ratio - 1) > TOLERANCE)
            count += settings->spare;
        uint32_t highest = remember(&state->target, count, seen->now_us);
        desired = count < have ? (highest < have ? highest : have) : count;
        if (count > have && ratio < 1) /* those on their way will do */
            desired = have;
    }
    policy__settle(settings, state, seen, desired, out);
    if (out->rule == POLICY_RULE_ENOUGH && seen->usable == 0)
        out->rule = POLICY_RULE_UNKNOWN;
}
