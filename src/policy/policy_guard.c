/* SPDX-License-Identifier: Apache-2.0 */
/*
 * policy_guard.c - how often a cluster may change, whoever decides: a budget of start/stop pairs an
 * hour, and a limit of changes a minute.
 *
 * May touch:  base.
 * Pairs:      a release costs one if a member was started since the release before; a long ebb that
 *             gives back one after the other costs one, a load that swings costs one each time.
 * Never held: what the minimum asks for, and a member for requests that are parked. They cost what
 *             is left of the minute's limit. What a higher priority takes is not held by the budget
 *             and costs nothing of it.
 * Bounded:    a clock that goes back refills nothing.
 */
#include "policy/policy_priv.h"

#include <math.h>

#define BURST_SHARE 0.83 /* of an hour's budget that may be spent at once */

static double
burst_of(const struct policy_settings *settings)
{
    return fmax(1, settings->flaps_per_hour * BURST_SHARE);
}

static void
refill(const struct policy_settings *settings, struct policy_guard *guard, int64_t now_us)
{
    double changes_max = fmax(1, settings->changes_per_minute);
    double hours = (double)(now_us - guard->at_us) / 3.6e9;

    if (guard->at_us == 0) {
        guard->flaps_left = burst_of(settings);
        guard->changes_left = changes_max;
    } else if (hours > 0) {
        guard->flaps_left += hours * settings->flaps_per_hour;
        guard->changes_left += hours * 60 * settings->changes_per_minute;
    }
    guard->flaps_left = fmin(guard->flaps_left, burst_of(settings));
    guard->changes_left = fmin(guard->changes_left, changes_max);
    guard->at_us = now_us;
}

/* How long until there is one whole of what refills so fast. */
static int64_t
until_one(double left, double per_hour)
{
    double us = (1 - left) / per_hour * 3.6e9;
    return us > 0 && us < 1e15 ? (int64_t)us : 0;
}

/* What the minute has room for; the rest is said to be held back. */
static void
keep_to_limit(const struct policy_settings *settings, struct policy_guard *guard,
              struct policy_decision *out)
{
    bool is_free = out->rule == POLICY_RULE_BELOW_MIN || out->rule == POLICY_RULE_WAKE;
    uint32_t room = guard->changes_left >= 1 ? (uint32_t)fmin(guard->changes_left, 1e6) : 0;

    if (!(settings->changes_per_minute > 0))
        return;
    if (!is_free && room == 0) {
        policy__hold(out, POLICY_RULE_CHANGE_LIMIT,
                     until_one(guard->changes_left, settings->changes_per_minute * 60));
        return;
    }
    if (!is_free && out->count > room) {
        out->held_back = out->count - room;
        out->count = room;
    }
    guard->changes_left = fmax(0, guard->changes_left - out->count);
}

/* The fewer pairs the budget has left, the more members a release must be about. */
static bool
is_worth_a_pair(const struct policy_settings *settings, const struct policy_guard *guard,
                uint32_t have, uint32_t surplus)
{
    double full = burst_of(settings);

    if (guard->flaps_left < 1) /* also where a whole one is more than half of the burst */
        return false;
    if (guard->flaps_left >= full / 2)
        return true;
    return surplus >= floor(1 + 0.1 * have * (1 - 2 * guard->flaps_left / full));
}

static void
keep_to_budget(const struct policy_settings *settings, const struct policy_guard *guard,
               uint32_t have, struct policy_decision *out)
{
    uint32_t surplus = have > out->needed ? have - out->needed : 0;

    surplus = surplus > out->count ? surplus : out->count;
    if (!(settings->flaps_per_hour > 0) || !guard->has_grown || out->rule == POLICY_RULE_TAKEN ||
        is_worth_a_pair(settings, guard, have, surplus))
        return;
    policy__hold(out, POLICY_RULE_FLAP_BUDGET,
                 until_one(guard->flaps_left, settings->flaps_per_hour));
}

void
policy__guard(const struct policy_settings *settings, struct policy_state *state,
              const struct policy_observation *seen, struct policy_decision *out)
{
    struct policy_guard *guard = &state->guard;

    refill(settings, guard, seen->now_us);
    /* More do not leave in one look, and what does not happen is not charged. */
    if (out->verdict == POLICY_DEALLOCATE && out->count > POLICY_RELEASES_MAX)
        out->count = POLICY_RELEASES_MAX;
    if (out->verdict == POLICY_DEALLOCATE)
        keep_to_budget(settings, guard, policy__have(state, seen), out);
    if (out->verdict == POLICY_ALLOCATE || out->verdict == POLICY_DEALLOCATE)
        keep_to_limit(settings, guard, out);
    if (out->verdict == POLICY_ALLOCATE) {
        guard->has_grown = true;
    } else if (out->verdict == POLICY_DEALLOCATE && out->rule != POLICY_RULE_TAKEN) {
        if (guard->has_grown && settings->flaps_per_hour > 0)
            guard->flaps_left = fmax(0, guard->flaps_left - 1);
        guard->has_grown = false;
    }
}
