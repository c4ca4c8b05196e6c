/* SPDX-License-Identifier: Apache-2.0 */
/*
 * policy_take.c - clusters that share a pool which ran dry: who may be given a server of whom.
 *
 * May touch:  base.
 * Bounded:    only from a lower priority to a higher one, so that no server goes in circles; never
 *             beyond the taker's max, below the giver's min, nor its last member; not on silence;
 *             within the giver's limit of changes a minute and the taker's step and cooldown. A
 *             taker that gave servers back only just now waits: it may not have been surplus.
 */
#include "policy/policy_priv.h"

static bool
is_resting(const struct policy_taker *taker, int64_t now_us)
{
    if (policy__remaining(taker->taken_at_us, taker->cooldown_up_us, now_us) > 0)
        return true;
    return !taker->is_bare &&
           policy__remaining(taker->released_at_us, 2 * taker->cooldown_down_us, now_us) > 0;
}

static uint32_t
spare_of(const struct policy_rival *rival)
{
    uint32_t floor = rival->min > 1 ? rival->min : 1;
    uint32_t spare = rival->ready > floor ? rival->ready - floor : 0;
    return rival->is_known && spare > 0 ? (spare < rival->givable ? spare : rival->givable) : 0;
}

/* The lowest priority gives first; of equals the one that has most to give. */
static bool
gives_before(const struct policy_rival *a, const struct policy_rival *b)
{
    if (a->priority != b->priority)
        return a->priority < b->priority;
    return spare_of(a) > spare_of(b);
}

bool
policy_take(const struct policy_taker *taker, const struct policy_rival *rivals, size_t count,
            int64_t now_us, size_t *out_giver, uint32_t *out_count)
{
    const struct policy_rival *giver = NULL;

    if (taker->lacking <= taker->coming || is_resting(taker, now_us))
        return false;
    for (size_t i = 0; i < count; i++)
        if (rivals[i].priority < taker->priority && spare_of(&rivals[i]) > 0 &&
            (!giver || gives_before(&rivals[i], giver)))
            giver = &rivals[i];
    if (!giver)
        return false;
    uint64_t wanted = taker->lacking - taker->coming;
    uint32_t step = taker->step_max > 0 ? taker->step_max : 1;
    wanted = wanted < step ? wanted : step;
    wanted = wanted < POLICY_RELEASES_MAX ? wanted : POLICY_RELEASES_MAX;
    *out_giver = (size_t)(giver - rivals);
    *out_count = (uint32_t)(wanted < spare_of(giver) ? wanted : spare_of(giver));
    return true;
}

bool
policy_wants_taken(const struct policy_settings *settings, const struct policy_decision *decision,
                   uint32_t have)
{
    if (decision->verdict != POLICY_HOLD || decision->rule != POLICY_RULE_POOL_EMPTY)
        return false;
    double factor = decision->level_factor > 0 ? decision->level_factor : 1;
    return settings->demand || have < settings->min ||
           (settings->upper >= 0 && decision->highest >= settings->upper * factor);
}

uint32_t
policy_lacking(const struct policy_settings *settings, const struct policy_decision *decision,
               uint32_t have)
{
    uint32_t room = settings->max > have ? settings->max - have : 0;
    uint32_t lacking = decision->needed > have ? decision->needed - have : 1;
    return lacking < room ? lacking : room;
}

size_t
policy_give(const struct policy_settings *settings, struct policy_state *state,
            const struct policy_member *members, size_t member_count,
            const struct policy_claim *claim, int64_t now_us, struct policy_decision *out,
            size_t max)
{
    struct policy_observation seen;
    struct policy_decision release;

    policy__survey(members, member_count, now_us, &seen);
    const struct policy_rival self = {
        .is_known = seen.stale == 0,
        .priority = settings->priority,
        .min = settings->min,
        .ready = seen.ready > state->pending_down ? seen.ready - state->pending_down : 0,
        .givable = seen.removable,
    };
    uint32_t spare = self.priority < claim->priority ? spare_of(&self) : 0;
    uint32_t count = claim->count < spare ? claim->count : spare;
    if (count == 0)
        return 0;
    policy__fill(&seen, &release);
    release.verdict = POLICY_DEALLOCATE;
    release.rule = POLICY_RULE_TAKEN;
    release.count = count;
    release.needed = seen.ready;
    policy__guard(settings, state, &seen, &release);
    if (release.verdict != POLICY_DEALLOCATE)
        return 0;
    release.desired = seen.ready - release.count;
    release.priority = claim->priority;
    policy__copy_id(claim->taker, release.other);
    return policy__victims(&release, members, member_count, out, max);
}
