/* SPDX-License-Identifier: Apache-2.0 */
/*
 * policy_victim.c - who leaves, when it is known how many.
 *
 * May touch:  base.
 * Order:      of the costliest pool; of those, the least loaded; of those about as little loaded,
 *             with the fewest sticky sessions; of those, the coldest, which is the youngest.
 * Bounded:    only members that came from a pool, are ready, healthy and have a number.
 */
#include "policy/policy_priv.h"

#include <math.h>
#include <string.h>

/* Load moves about by more than this between two looks: what is nearer than that is the same, and
 * leaves the choice to what lasts. */
#define NEAR 0.05

/* What a candidate must be like by the rules so far. */
struct sieve {
    uint32_t cost, rank; /* at least */
    double utilization;  /* at most */
    uint64_t sessions;   /* at most */
    int64_t age_us;      /* at most */
};

static bool
passes(const struct sieve *sieve, const struct policy_member *member)
{
    return member->cost >= sieve->cost && member->rank >= sieve->rank &&
           member->utilization <= sieve->utilization && member->sessions <= sieve->sessions &&
           member->age_us <= sieve->age_us;
}

static bool
is_candidate(const struct policy_member *member, const struct policy_decision *chosen,
             size_t chosen_count)
{
    if (!policy__is_usable(member) || !member->allocated || !policy__can_name(member))
        return false;
    for (size_t i = 0; i < chosen_count; i++)
        if (strcmp(chosen[i].member, member->id) == 0)
            return false;
    return true;
}

/* By one rule, -1 when a goes before b. */
static int
compare(unsigned rule, const struct policy_member *a, const struct policy_member *b)
{
    switch (rule) {
    case 0:
        return (a->cost < b->cost) - (a->cost > b->cost);
    case 1:
        return (a->rank < b->rank) - (a->rank > b->rank);
    case 2:
        return (a->utilization > b->utilization) - (a->utilization < b->utilization);
    case 3:
        return (a->sessions > b->sessions) - (a->sessions < b->sessions);
    case 4:
        return (a->age_us > b->age_us) - (a->age_us < b->age_us);
    default:
        return (a->in_flight > b->in_flight) - (a->in_flight < b->in_flight);
    }
}

static void
tighten(struct sieve *sieve, unsigned rule, const struct policy_member *best)
{
    switch (rule) {
    case 0:
        sieve->cost = best->cost;
        break;
    case 1:
        sieve->rank = best->rank;
        break;
    case 2:
        sieve->utilization = best->utilization + NEAR;
        break;
    case 3:
        sieve->sessions = best->sessions;
        break;
    default:
        sieve->age_us = best->age_us;
        break;
    }
}

static const struct policy_member *
choose(const struct policy_member *members, size_t count, const struct policy_decision *chosen,
       size_t chosen_count)
{
    struct sieve sieve = {.utilization = INFINITY, .sessions = UINT64_MAX, .age_us = INT64_MAX};
    const struct policy_member *best = NULL;

    for (unsigned rule = 0; rule <= 5; rule++) {
        best = NULL;
        for (size_t i = 0; i < count; i++)
            if (is_candidate(&members[i], chosen, chosen_count) && passes(&sieve, &members[i]) &&
                (!best || compare(rule, &members[i], best) < 0))
                best = &members[i];
        if (!best)
            return NULL;
        tighten(&sieve, rule, best);
    }
    return best;
}

size_t
policy__victims(const struct policy_decision *release, const struct policy_member *members,
                size_t count, struct policy_decision *out, size_t max)
{
    size_t made = 0;
    size_t wanted = release->count < POLICY_RELEASES_MAX ? release->count : POLICY_RELEASES_MAX;

    while (made < wanted && made < max) {
        const struct policy_member *victim = choose(members, count, out, made);
        if (victim == NULL)
            break;
        out[made] = *release;
        out[made].count = 1;
        policy__copy_id(victim->id, out[made].member);
        policy__copy_id(victim->pool, out[made].victim.pool);
        out[made].victim.cost = victim->cost;
        out[made].victim.utilization = victim->utilization;
        out[made].victim.sessions = victim->sessions;
        out[made].victim.age_us = victim->age_us;
        out[made].victim.is_said = true;
        made++;
    }
    return made;
}
