/* SPDX-License-Identifier: Apache-2.0 */
/*
 * policy_weight.c - shifting load away from a member at its level, and back.
 *
 * May touch:  base.
 * Bounded:    never below a tenth of the normal weight, never above it; one change a member a call,
 *             POLICY_WEIGHTS_MAX changes a call; less than 5 % of normal is not worth a request.
 * Calm:       weight is given back only where the utilization that it would bring stays below the
 *             upper level, so that giving and taking do not chase each other.
 */
#include "policy/policy_priv.h"

#include <math.h>

#define FLOOR_SHARE 0.10   /* of the normal weight: a trickle keeps the measurement alive */
#define LEAST_SHARE 0.05   /* of the normal weight: the smallest change worth making */
#define UNEVEN_FACTOR 1.15 /* above the mean of the others: else all are busy, no weight helps */
#define NEAR_SHARE 0.05    /* of the mean: as busy as all the others */
#define RESTORE_FACTOR 1.25

/* The weight that would bring this member down to what the others do; its weight if there is no
 * reason, or no use, in changing it. */
static uint32_t
relieved_weight(const struct policy_settings *settings, const struct policy_observation *seen,
                const struct policy_member *member)
{
    if (seen->usable < 2 || !(member->utilization >= settings->upper))
        return member->weight;
    double others = (seen->sum - member->utilization) / (seen->usable - 1);
    /* At utilization 0 (an upper level of 0) there is nothing to shift and nothing to divide by. */
    if (!(others < settings->upper) || !(member->utilization > UNEVEN_FACTOR * others) ||
        !(member->utilization > 0))
        return member->weight;
    double least = ceil(FLOOR_SHARE * member->weight_normal);
    double weight = floor(member->weight * (others / member->utilization));
    weight = weight > least ? weight : least;
    return weight < member->weight ? (uint32_t)weight : member->weight;
}

/* A member that was relieved may get no request at all any more, so that nobody says how it does:
 * with nothing under way on it, it counts as cool, or it would never come back. */
static bool
is_silent(const struct policy_member *member)
{
    return isnan(member->utilization) && member->in_flight == 0 && !member->stale &&
           member->healthy && !member->starting && !member->draining;
}

static uint32_t
restored_weight(const struct policy_settings *settings, const struct policy_observation *seen,
                const struct policy_member *member)
{
    double lower = settings->lower >= 0 && settings->lower < settings->upper ? settings->lower : 0;
    double utilization = is_silent(member) ? 0 : member->utilization;
    bool cool = utilization < (lower + settings->upper) / 2;
    bool even = fabs(utilization - seen->mean) <= NEAR_SHARE * seen->mean;
    if (member->weight >= member->weight_normal || utilization >= settings->upper ||
        !(cool || even))
        return member->weight;
    /* From the floor a quarter more would be less than the smallest change. */
    double weight = ceil(member->weight * RESTORE_FACTOR);
    double least = member->weight + ceil(LEAST_SHARE * member->weight_normal);
    weight = weight > least ? weight : least;
    /* What would be left to go is less than the smallest change: then all of it, now. */
    if (weight > member->weight_normal - ceil(LEAST_SHARE * member->weight_normal))
        weight = member->weight_normal;
    if (!(utilization * (weight / member->weight) < settings->upper))
        return member->weight;
    return (uint32_t)weight;
}

size_t
policy__weights(const struct policy_settings *settings, const struct policy_observation *seen,
                const struct policy_member *members, size_t count, bool held,
                struct policy_decision *out, size_t max)
{
    size_t made = 0;
    if (!settings->relieve_by_weight || !(settings->upper >= 0))
        return 0;
    if (max > POLICY_WEIGHTS_MAX)
        max = POLICY_WEIGHTS_MAX;
    for (size_t i = 0; i < count && made < max; i++) {
        const struct policy_member *member = &members[i];
        bool usable = policy__is_usable(member);
        if (!(usable || is_silent(member)) || !policy__can_name(member) || member->weight == 0 ||
            member->weight_normal == 0)
            continue;
        uint32_t weight = member->weight;
        if (held && usable)
            weight = relieved_weight(settings, seen, member);
        bool relief = weight != member->weight;
        if (!relief)
            weight = restored_weight(settings, seen, member);
        double change = fabs((double)weight - (double)member->weight);
        if (weight == member->weight || change < LEAST_SHARE * member->weight_normal)
            continue;
        policy__fill(seen, &out[made]);
        out[made].verdict = POLICY_WEIGHT;
        out[made].rule = relief ? POLICY_RULE_RELIEVE_WEIGHT : POLICY_RULE_RESTORE_WEIGHT;
        out[made].weight = weight;
        policy__copy_id(member->id, out[made].member);
        made++;
    }
    return made;
}
