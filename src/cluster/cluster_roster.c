/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cluster_roster.c - the members of a cluster by index, and what is the same for them all.
 *
 * May touch:  base. Never: sockets, clocks.
 */
#include "cluster/cluster_roster.h"

#include "base/fr_check.h"

static void
endpoint_hold(void *item)
{
    const struct cluster_endpoint *endpoint = item;
    if (endpoint->member)
        (void)cluster_member_ref(endpoint->member); /* the pointer is stored already */
}

static void
endpoint_drop(void *item)
{
    struct cluster_endpoint *endpoint = item;
    cluster_member_unref(&endpoint->member);
}

static const struct fr_pvec_ops endpoint_ops = {sizeof(struct cluster_endpoint), endpoint_hold,
                                                endpoint_drop};

void
cluster_roster_init(struct cluster_roster *roster)
{
    *roster = (struct cluster_roster){0};
    fr_pvec_init(&roster->endpoints, &endpoint_ops);
}

void
cluster_roster_copy(const struct cluster_roster *from, struct cluster_roster *out)
{
    *out = *from;
    fr_pvec_copy(&from->endpoints, &out->endpoints);
}

void
cluster_roster_fini(struct cluster_roster *roster)
{
    fr_pvec_fini(&roster->endpoints);
    cluster_roster_init(roster);
}

/* ---- what is the same for them all -------------------------------------------------------- */

static void
count_in(struct cluster_roster *roster, const struct cluster_endpoint *endpoint)
{
    roster->healthy += endpoint->healthy;
    roster->weight_sum += endpoint->healthy ? endpoint->weight : 0;
    if (endpoint->weight > roster->weight_max) {
        roster->weight_max = endpoint->weight;
        roster->weight_max_count = 0;
    }
    roster->weight_max_count += endpoint->weight == roster->weight_max;
}

static void
count_out(struct cluster_roster *roster, const struct cluster_endpoint *endpoint)
{
    roster->healthy -= endpoint->healthy;
    roster->weight_sum -= endpoint->healthy ? endpoint->weight : 0;
    roster->weight_max_count -= endpoint->weight == roster->weight_max;
}

/* Nobody has the greatest weight any more. */
static void
find_weight_max(struct cluster_roster *roster)
{
    roster->weight_max = 0;
    for (uint32_t i = 0; i < roster->count; i++) {
        uint32_t weight = cluster_roster_at(roster, i)->weight;
        if (weight > roster->weight_max) {
            roster->weight_max = weight;
            roster->weight_max_count = 0;
        }
        roster->weight_max_count += weight == roster->weight_max;
    }
}

/* ---- changes ------------------------------------------------------------------------------ */

void
cluster_roster_put(struct cluster_roster *roster, uint32_t index,
                   const struct cluster_endpoint *endpoint)
{
    fr_require(index <= roster->count);
    struct cluster_endpoint *place = fr_pvec_own(&roster->endpoints, index);
    struct cluster_endpoint before = *place;
    if (before.member)
        count_out(roster, &before);
    else
        roster->count++;
    *place = *endpoint;
    place->member = cluster_member_ref(endpoint->member);
    place->slot = endpoint->member->slot;
    place->index = index;
    count_in(roster, place);
    if (roster->weight_max_count == 0)
        find_weight_max(roster);
    cluster_member_unref(&before.member);
}

void
cluster_roster_remove(struct cluster_roster *roster, uint32_t index)
{
    fr_require(index < roster->count);
    struct cluster_endpoint *place = fr_pvec_own(&roster->endpoints, index);
    struct cluster_endpoint *last = fr_pvec_own(&roster->endpoints, roster->count - 1);
    struct cluster_endpoint gone = *place;
    count_out(roster, &gone);
    *place = *last;
    place->index = index;
    *last = (struct cluster_endpoint){0}; /* the same one, if it was the last */
    roster->count--;
    if (roster->weight_max_count == 0)
        find_weight_max(roster);
    cluster_member_unref(&gone.member);
}

/* ---- comparing ---------------------------------------------------------------------------- */

struct compared {
    void (*fn)(void *ctx, const struct cluster_endpoint *before,
               const struct cluster_endpoint *after);
    void *ctx;
};

static void
on_places(void *ctx, uint32_t index, const void *before, const void *after)
{
    const struct compared *compared = ctx;
    const struct cluster_endpoint *old = before, *new = after;
    (void)index; /* it is in the endpoints */
    old = old && old->member ? old : NULL;
    new = new &&new->member ? new : NULL;
    if (old || new)
        compared->fn(compared->ctx, old, new);
}

void
cluster_roster_compare(const struct cluster_roster *before, const struct cluster_roster *after,
                       void (*fn)(void *ctx, const struct cluster_endpoint *before,
                                  const struct cluster_endpoint *after),
                       void *ctx)
{
    struct compared compared = {fn, ctx};
    struct cluster_roster none;
    cluster_roster_init(&none);
    fr_pvec_compare(before ? &before->endpoints : &none.endpoints,
                    after ? &after->endpoints : &none.endpoints, on_places, &compared);
}
