/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cluster_balance_priv.h - what the balancers share: who may be picked, and with what weight.
 */
#ifndef CLUSTER_BALANCE_PRIV_H
#define CLUSTER_BALANCE_PRIV_H

#include "cluster/cluster_balance.h"

struct cluster__choice { /* one picking: what the balancers are given */
    const struct cluster_view *view;
    const struct cluster_pick *pick;
    struct cluster_load *loads; /* the worker's, by slot */
    bool panic;                 /* none is left but ejected ones: they may be picked */
};

static inline bool
cluster__is_avoided(const struct cluster_pick *pick, const struct cluster_member *member)
{
    for (size_t i = 0; i < pick->avoid_count; i++)
        if (pick->avoid[i] == member)
            return true;
    return false;
}

static inline bool
cluster__is_ejected(const struct cluster_judgement *judgement, int64_t now_us)
{
    return judgement->ejected_until_us > now_us;
}

/* Its judgement is looked at only where there was an ejection: it is one more cache line, which
 * among many members is hardly ever a near one. */
static inline bool
cluster__left_out(const struct cluster__choice *choice, const struct cluster_endpoint *endpoint)
{
    struct cluster_load *load = &choice->loads[endpoint->slot];
    if (!load->suspect)
        return false;
    bool ejected =
        cluster__is_ejected(&choice->pick->judgements[endpoint->slot], choice->pick->now_us);
    load->suspect = ejected;
    return ejected;
}

/* The weight it takes part with; 0: it does not. */
static inline uint32_t
cluster__choice_weight(const struct cluster__choice *choice,
                       const struct cluster_endpoint *endpoint)
{
    const struct cluster_pick *pick = choice->pick;
    if (endpoint->weight == 0 || !endpoint->healthy || cluster__is_avoided(pick, endpoint->member))
        return 0;
    if (!choice->panic && cluster__left_out(choice, endpoint))
        return 0;
    return cluster_endpoint_weight(choice->view, endpoint, pick->now_us);
}

static inline uint64_t
cluster__in_flight(const struct cluster__choice *choice, const struct cluster_endpoint *endpoint)
{
    return choice->loads[endpoint->slot].in_flight;
}

/* a/wa < b/wb without division: -1, 0, 1. Products stay far below 2^63: counts of connections times
 * weights of at most 65535. */
static inline int
cluster__load_compare(uint64_t a, uint32_t weight_a, uint64_t b, uint32_t weight_b)
{
    uint64_t left = a * weight_b, right = b * weight_a;
    return left < right ? -1 : left > right;
}

struct cluster__drawn {
    const struct cluster_endpoint *endpoint; /* NULL: none can take part */
    uint32_t weight;                         /* it takes part with */
};

/* One endpoint with a chance in proportion to its weight; `except` NULL: any. */
struct cluster__drawn cluster__sample(const struct cluster__choice *choice,
                                      const struct cluster_endpoint *except);
const struct cluster_endpoint *cluster__pick_prequal(const struct cluster__choice *choice);
const struct cluster_endpoint *cluster__pick_p2c(const struct cluster__choice *choice);
const struct cluster_endpoint *cluster__pick_hash(const struct cluster__choice *choice);

#endif
