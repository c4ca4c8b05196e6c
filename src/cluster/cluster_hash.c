/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cluster_hash.c - the balancer that sends a key to the same member every time.
 *
 * May touch:  base, config. Never: sockets, clocks, shared writes.
 * Cost:       one look-up in the ring; HASH_POINTS_MAX of its points when members cannot take it.
 * Follows:    Mirrokni, Thorup and Zadimoghaddam, "Consistent Hashing with Bounded Loads" (2016).
 */
#include "cluster/cluster_balance_priv.h"

#include <math.h>

#define HASH_POINTS_MAX 128 /* of the ring, looked at for one key */

static void
tell_way(const struct cluster__choice *choice, enum cluster_pick_way way)
{
    if (choice->pick->out_way)
        *choice->pick->out_way = way;
}

/* A member that ramps up takes a part of its keys that grows with its weight in force, always the
 * same ones first: a key that has come stays. */
static bool
ramp_takes(const struct cluster__choice *choice, const struct cluster_endpoint *endpoint,
           uint32_t weight)
{
    if (weight == endpoint->weight)
        return true;
    uint64_t draw = cluster_ring_mix(choice->pick->key) >> 32;
    return draw * endpoint->weight < (uint64_t)weight << 32;
}

/* Whether one more request keeps it within `bound` times its fair share of all that are in flight,
 * this one included. Rounded up, so that the shares add up to no less than there is. */
static bool
within_bound(const struct cluster__choice *choice, const struct cluster_endpoint *endpoint,
             uint32_t weight)
{
    double bound = choice->view->config->hash.bound;
    if (bound <= 0)
        return true;
    double fair =
        (double)(choice->pick->in_flight + 1) * weight / (double)choice->view->roster.weight_sum;
    return (double)cluster__in_flight(choice, endpoint) + 1 <= ceil(bound * fair);
}

/* The first member at or behind the key on the ring that may take it. When all that were looked at
 * have more than their share, the least loaded of them. */
const struct cluster_endpoint *
cluster__pick_hash(const struct cluster__choice *choice)
{
    const struct cluster_view *view = choice->view;
    const struct cluster_endpoint *least = NULL, *ramping = NULL;
    uint32_t least_weight = 0, last = UINT32_MAX;
    enum cluster_pick_way way = CLUSTER_PICK_HOME;
    if (!choice->pick->keyed || !view->ring) {
        tell_way(choice, CLUSTER_PICK_KEYLESS);
        return cluster__pick_p2c(choice);
    }
    struct cluster_ring_point point = cluster_ring_find(view->ring, choice->pick->key);
    for (int i = 0; i < HASH_POINTS_MAX; i++) {
        uint32_t index = cluster_ring_next(view->ring, &point);
        const struct cluster_endpoint *endpoint = cluster_view_at(view, index);
        uint32_t weight = index == last ? 0 : cluster__choice_weight(choice, endpoint);
        last = index;
        if (weight > 0 && !ramp_takes(choice, endpoint, weight)) {
            ramping = ramping ? ramping : endpoint;
            weight = 0;
        }
        if (weight > 0 && within_bound(choice, endpoint, weight)) {
            tell_way(choice, way);
            return endpoint;
        }
        if (weight > 0)
            way = CLUSTER_PICK_SPILLED;
        else if (way == CLUSTER_PICK_HOME)
            way = CLUSTER_PICK_NEXT;
        if (weight > 0 && (!least || cluster__load_compare(
                                         cluster__in_flight(choice, endpoint), weight,
                                         cluster__in_flight(choice, least), least_weight) < 0)) {
            least = endpoint;
            least_weight = weight;
        }
    }
    tell_way(choice, way);
    if (least || ramping)
        return least ? least : ramping;
    return cluster__pick_p2c(choice);
}
