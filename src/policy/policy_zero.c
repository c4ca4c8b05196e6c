/* SPDX-License-Identifier: Apache-2.0 */
/*
 * policy_zero.c - to no member and back: a cluster of min 0 that nobody uses has none, and the
 * first request that is parked wakes it.
 *
 * May touch:  base.
 * Over all engines alike: they size a cluster for its load, and with none there is nothing to size.
 * Bounded:    silence of an edge (idle_for_us is 0 then) or a change under way keep the last
 *             members. Engines never give back the last one by themselves: little load is not none.
 */
#include "policy/policy_priv.h"

static bool
is_empty(const struct policy_state *state, const struct policy_observation *seen)
{
    return seen->total == 0 && state->pending_up == 0;
}

const struct policy_settings *
policy__zero_floor(const struct policy_settings *settings, const struct policy_state *state,
                   const struct policy_observation *seen, struct policy_settings *scratch)
{
    if (settings->min > 0 || settings->single || is_empty(state, seen))
        return settings;
    *scratch = *settings;
    scratch->min = 1;
    return scratch;
}

static void
wake(const struct policy_settings *settings, const struct policy_state *state,
     const struct policy_observation *seen, struct policy_decision *out)
{
    /* A server that was refused is not asked for again in the same breath. */
    int64_t wait_us = state->grow_failed ? policy__remaining(state->grown_at_us,
                                                             settings->cooldown_up_us, seen->now_us)
                                         : 0;
    out->needed = settings->demand ? 1 : 0;
    if (!settings->demand)
        policy__hold(out, POLICY_RULE_ASLEEP, 0);
    else if (!settings->allocate)
        policy__hold(out, POLICY_RULE_UPPER_NO_POOL, 0);
    else if (policy__left_in_pool(settings, state) == 0)
        policy__hold(out, POLICY_RULE_POOL_EMPTY, 0);
    else if (wait_us > 0)
        policy__hold(out, POLICY_RULE_UPPER_COOLDOWN, wait_us);
    else {
        out->verdict = POLICY_ALLOCATE;
        out->rule = POLICY_RULE_WAKE;
        out->count = 1;
    }
}

static bool
is_idle(const struct policy_settings *settings, const struct policy_state *state,
        const struct policy_observation *seen)
{
    return settings->idle_us > 0 && settings->idle_for_us >= settings->idle_us &&
           !settings->demand && seen->starting == 0 && seen->draining == 0 &&
           state->pending_up == 0 && state->pending_down == 0 && seen->pooled > 0;
}

void
policy__zero(const struct policy_settings *settings, const struct policy_state *state,
             const struct policy_observation *seen, struct policy_decision *out)
{
    if (settings->min > 0 || settings->single || out->verdict == POLICY_ALLOCATE)
        return; /* an engine that looks ahead may wake a cluster before its first request */
    if (is_empty(state, seen)) {
        wake(settings, state, seen, out);
        return;
    }
    if (!is_idle(settings, state, seen))
        return;
    out->verdict = POLICY_DEALLOCATE;
    out->rule = POLICY_RULE_IDLE;
    out->count = seen->pooled;
    out->needed = 0;
    out->wait_us = 0;
}

/* That nobody uses them is known from the edges, so that no utilization is asked for. */
size_t
policy__zero_victims(const struct policy_decision *release, const struct policy_member *members,
                     size_t count, struct policy_decision *out, size_t max)
{
    size_t made = 0;
    for (size_t i = 0; i < count && made < max && made < release->count; i++) {
        const struct policy_member *member = &members[i];
        if (!member->healthy || member->starting || member->draining || !member->allocated ||
            !policy__can_name(member))
            continue;
        out[made] = *release;
        out[made].count = 1;
        policy__copy_id(member->id, out[made].member);
        made++;
    }
    return made;
}
