/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cluster_balance.c - the balancers, slow start and passive ejection.
 *
 * May touch:  base, config. Never: sockets, clocks, shared writes.
 * Seam:       one `struct balancer` and its row in `balancers`, by enum config_balance.
 * Cost:       p2c: constant where most endpoints can be used; a scan of the endpoints else.
 *             round-robin and least-request: one pass over the endpoints where there are few of
 *             them (SCAN_MAX); else constant, too, unless weights lie far apart. No allocation.
 * Follows:    Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing" (2001).
 */
#include "cluster/cluster_balance_priv.h"

#include "base/fr_check.h"

#define RAMP_FLOOR_PERCENT 10    /* slow start begins here; weight 100 begins at 10 */
#define SAMPLE_TRIES_MAX 16      /* of rejection sampling, before a scan settles it */
#define SCAN_MAX 64              /* endpoints that a pick looks at one by one */
#define LEAST_DRAWS 16           /* of more, so many are drawn and the least loaded is picked */
#define EJECTIONS_COUNTED_MAX 30 /* the ejection time grows up to this many times */

uint32_t
cluster_endpoint_weight(const struct cluster_view *view, const struct cluster_endpoint *endpoint,
                        int64_t now_us)
{
    int64_t ramp_us = view->config->slow_start_us;
    if (endpoint->weight == 0 || endpoint->ramp_from_us == 0 || ramp_us <= 0)
        return endpoint->weight;
    int64_t passed_us = now_us - endpoint->ramp_from_us;
    if (passed_us >= ramp_us)
        return endpoint->weight;
    double share = passed_us > 0 ? (double)passed_us / (double)ramp_us : 0;
    double floor_share = RAMP_FLOOR_PERCENT / 100.0;
    double weight = endpoint->weight * (floor_share + (1.0 - floor_share) * share);
    return weight < 1 ? 1 : (uint32_t)weight;
}

/* ---- balancers ------------------------------------------------------------------------------ */

struct balancer {
    const char *name;
    const struct cluster_endpoint *(*pick)(const struct cluster__choice *choice);
};

/* A round over many: each endpoint gains its weight when it is passed, and is picked for each
 * weight_max it has. Where a whole round makes nobody rich enough, because those with the large
 * weights are away, the richest is picked. */
static const struct cluster_endpoint *
pick_large_round(const struct cluster__choice *choice)
{
    const struct cluster_view *view = choice->view;
    struct cluster_judgement *judgements = choice->pick->judgements;
    struct cluster_judgement *richest = NULL;
    const struct cluster_endpoint *chosen = NULL;
    uint32_t *at = &judgements[cluster_view_at(view, 0)->slot].rr_at;
    for (uint32_t i = 0; i < view->roster.count; i++) {
        if (*at >= view->roster.count)
            *at = 0;
        const struct cluster_endpoint *endpoint = cluster_view_at(view, (*at)++);
        struct cluster_judgement *j = &judgements[endpoint->slot];
        uint32_t weight = cluster__choice_weight(choice, endpoint);
        if (j->rr_current >=
            view->roster.weight_max) /* left by a round over few, or by larger weights */
            j->rr_current = 0;
        if (weight == 0)
            continue;
        j->rr_current += weight;
        if (j->rr_current >= view->roster.weight_max) {
            j->rr_current -= view->roster.weight_max;
            return endpoint;
        }
        if (!richest || j->rr_current > richest->rr_current) {
            richest = j;
            chosen = endpoint;
        }
    }
    if (richest)
        richest->rr_current = 0;
    return chosen;
}

/* Smooth weighted round-robin: every endpoint gains its weight, the richest is picked and pays the
 * sum. Picks of one endpoint are spread, not bunched, and over `sum` picks each gets exactly its
 * weight. rr_current is a signed number in an unsigned field: the arithmetic wraps alike. */
static const struct cluster_endpoint *
pick_round_robin(const struct cluster__choice *choice)
{
    if (choice->view->roster.count > SCAN_MAX)
        return pick_large_round(choice);
    const struct cluster_endpoint *best = NULL;
    int64_t best_current = 0, sum = 0;
    for (uint32_t i = 0; i < choice->view->roster.count; i++) {
        const struct cluster_endpoint *endpoint = cluster_view_at(choice->view, i);
        uint32_t weight = cluster__choice_weight(choice, endpoint);
        if (weight == 0)
            continue;
        struct cluster_judgement *j = &choice->pick->judgements[endpoint->slot];
        j->rr_current += weight;
        sum += weight;
        if (!best || (int64_t)j->rr_current > best_current) {
            best = endpoint;
            best_current = (int64_t)j->rr_current;
        }
    }
    if (best)
        choice->pick->judgements[best->slot].rr_current -= (uint64_t)sum;
    return best;
}

static const struct cluster_endpoint *
pick_least_of_all(const struct cluster__choice *choice)
{
    const struct cluster_endpoint *best = NULL;
    uint32_t best_weight = 0, ties = 0;
    for (uint32_t i = 0; i < choice->view->roster.count; i++) {
        const struct cluster_endpoint *endpoint = cluster_view_at(choice->view, i);
        uint32_t weight = cluster__choice_weight(choice, endpoint);
        if (weight == 0)
            continue;
        int order = best ? cluster__load_compare(cluster__in_flight(choice, endpoint), weight,
                                                 cluster__in_flight(choice, best), best_weight)
                         : -1;
        if (order > 0)
            continue;
        ties = order < 0 ? 1 : ties + 1;
        /* One of n that tie must win with 1/n each (reservoir sampling), or every worker would
         * send the first request of a quiet moment to the same member. */
        if (order < 0 || fr_rand_below(choice->pick->rand, ties) == 0) {
            best = endpoint;
            best_weight = weight;
        }
    }
    return best;
}

/* One endpoint with a chance in proportion to its weight in force, by a pass over all of them. */
static struct cluster__drawn
sample_by_scan(const struct cluster__choice *choice, const struct cluster_endpoint *except)
{
    uint64_t sum = 0;
    struct cluster__drawn chosen = {NULL, 0};
    for (uint32_t i = 0; i < choice->view->roster.count; i++) {
        const struct cluster_endpoint *endpoint = cluster_view_at(choice->view, i);
        uint32_t weight = endpoint == except ? 0 : cluster__choice_weight(choice, endpoint);
        if (weight == 0)
            continue;
        sum += weight;
        if (fr_rand_unit(choice->pick->rand) * (double)sum < weight)
            chosen = (struct cluster__drawn){endpoint, weight};
    }
    return chosen;
}

struct cluster__drawn
cluster__sample(const struct cluster__choice *choice, const struct cluster_endpoint *except)
{
    const struct cluster_view *view = choice->view;
    for (int i = 0; i < SAMPLE_TRIES_MAX; i++) {
        const struct cluster_endpoint *endpoint =
            cluster_view_at(view, fr_rand_below(choice->pick->rand, view->roster.count));
        if (endpoint == except)
            continue;
        uint32_t weight = cluster__choice_weight(choice, endpoint);
        if (weight > 0 && (weight == view->roster.weight_max ||
                           fr_rand_below(choice->pick->rand, view->roster.weight_max) < weight))
            return (struct cluster__drawn){endpoint, weight};
    }
    return sample_by_scan(choice, except);
}

/* With in-flight counts of many endpoints there is nearly always one that has none, and a scan that
 * finds it costs more than it saves: the least loaded of some is as good. None is less loaded than
 * one that has nothing in flight, so that drawing ends with it. */
static const struct cluster_endpoint *
pick_least_of_some(const struct cluster__choice *choice)
{
    struct cluster__drawn best = cluster__sample(choice, NULL);
    uint64_t least = best.endpoint ? cluster__in_flight(choice, best.endpoint) : 0;
    for (int i = 1; i < LEAST_DRAWS && least > 0; i++) {
        struct cluster__drawn other = cluster__sample(choice, best.endpoint);
        if (!other.endpoint)
            break;
        uint64_t in_flight = cluster__in_flight(choice, other.endpoint);
        if (cluster__load_compare(in_flight, other.weight, least, best.weight) < 0) {
            best = other;
            least = in_flight;
        }
    }
    return best.endpoint;
}

const struct cluster_endpoint *
cluster__pick_p2c(const struct cluster__choice *choice)
{
    struct cluster__drawn a = cluster__sample(choice, NULL);
    uint64_t of_a = a.endpoint ? cluster__in_flight(choice, a.endpoint) : 0;
    if (of_a == 0 || choice->view->roster.count == 1)
        return a.endpoint;
    /* The first was drawn in proportion to the weights. It keeps the request if it is idle, or no
     * worse with it than the second would be: without the one in hand, a member of a tenth of the
     * weight would be better than any other that has a single request, and get a third of all. */
    struct cluster__drawn b = cluster__sample(choice, a.endpoint);
    if (!b.endpoint)
        return a.endpoint;
    uint64_t of_b = cluster__in_flight(choice, b.endpoint);
    int order = cluster__load_compare(of_a + 1, a.weight, of_b + 1, b.weight);
    return order <= 0 ? a.endpoint : b.endpoint;
}

static const struct cluster_endpoint *
pick_least_request(const struct cluster__choice *choice)
{
    return choice->view->roster.count > SCAN_MAX ? pick_least_of_some(choice)
                                                 : pick_least_of_all(choice);
}

static const struct balancer balancers[] = {
    [CONFIG_BALANCE_P2C] = {"p2c", cluster__pick_p2c},
    [CONFIG_BALANCE_ROUND_ROBIN] = {"round-robin", pick_round_robin},
    [CONFIG_BALANCE_LEAST_REQUEST] = {"least-request", pick_least_request},
    [CONFIG_BALANCE_HASH] = {"hash", cluster__pick_hash},
    [CONFIG_BALANCE_PREQUAL] = {"prequal", cluster__pick_prequal},
};

const struct cluster_endpoint *
cluster_balance_pick(const struct cluster_view *view, const struct cluster_pick *pick)
{
    fr_require((size_t)view->config->balance < sizeof(balancers) / sizeof(balancers[0]));
    if (view->roster.count == 0 || view->roster.weight_max == 0)
        return NULL;
    const struct balancer *balancer = &balancers[view->config->balance];
    struct cluster__choice choice = {
        .view = view, .pick = pick, .loads = cluster_slots_loads(view->slots, pick->worker)};
    const struct cluster_endpoint *endpoint = balancer->pick(&choice);
    if (endpoint)
        return endpoint;
    choice.panic = true;
    return balancer->pick(&choice);
}

bool
cluster_balance_session(const struct cluster_view *view, const struct cluster_pick *pick,
                        const struct cluster_endpoint *endpoint)
{
    bool draining = endpoint->weight == 0;
    return endpoint->healthy && !cluster__is_avoided(pick, endpoint->member) &&
           !cluster__is_ejected(&pick->judgements[endpoint->slot], pick->now_us) &&
           (!draining || view->config->sticky.draining == CONFIG_DRAINING_KEEP);
}

/* ---- passive ejection ----------------------------------------------------------------------- */

/* One more may be ejected without passing the cluster's share. */
static bool
may_eject(const struct cluster_view *view, const struct cluster_judgement *judgements,
          int64_t now_us)
{
    uint32_t ejected = 0;
    for (uint32_t i = 0; i < view->roster.count; i++)
        ejected += cluster__is_ejected(&judgements[cluster_view_at(view, i)->slot], now_us);
    return ejected + 1 <= view->config->ejection.max_share * view->roster.count;
}

void
cluster_eject(const struct cluster_member *member, uint32_t worker,
              struct cluster_judgement *judgements, int64_t until_us)
{
    judgements[member->slot].ejected_until_us = until_us;
    cluster_slots_loads(member->slots, worker)[member->slot].suspect = 1;
}

bool
cluster_judge(const struct cluster_view *view, const struct cluster_endpoint *endpoint,
              uint32_t worker, struct cluster_judgement *judgements, int64_t now_us, bool failed)
{
    const struct config_ejection *settings = &view->config->ejection;
    struct cluster_judgement *j = &judgements[endpoint->slot];
    /* What was sent before the ejection says nothing about the member since. */
    if (settings->failures == 0 || cluster__is_ejected(j, now_us))
        return false;
    if (!failed) {
        j->failures_in_row = 0;
        j->ejections_in_row = 0;
        return false;
    }
    if (j->failures_in_row < settings->failures)
        j->failures_in_row++;
    if (j->failures_in_row < settings->failures || !may_eject(view, judgements, now_us))
        return false;
    j->failures_in_row = 0;
    if (j->ejections_in_row < EJECTIONS_COUNTED_MAX)
        j->ejections_in_row++;
    cluster_eject(endpoint->member, worker, judgements,
                  now_us + settings->time_us * (int64_t)j->ejections_in_row);
    return true;
}
