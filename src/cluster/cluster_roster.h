/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cluster_roster.h - the members of one cluster, as it shows them.
 *
 * Life:     the control thread has one a cluster and changes it as things happen; each view has a
 *           copy, which stays as it is. A change copies the block that its member is in, as far as
 *           a copy shares it (fr_pvec.h); so what it costs does not grow with the members.
 * Order:    a member keeps its index until it leaves; then the last one takes its place.
 * Threads:  a roster belongs to one thread; copies may be read and dropped by others.
 * Memory:   process lifetime; holds its members.
 */
#ifndef CLUSTER_ROSTER_H
#define CLUSTER_ROSTER_H

#include "base/fr_pvec.h"
#include "cluster/cluster_member.h"

struct cluster_endpoint { /* a member as one cluster shows it */
    struct cluster_member *member;
    uint32_t weight;      /* 0: takes no new requests */
    bool healthy;         /* by active checks */
    int64_t ramp_from_us; /* monotonic start of its slow start; 0: none */
    uint32_t slot;        /* the member's; a roster fills in these two */
    uint32_t index;
};

struct cluster_roster {
    struct fr_pvec endpoints;
    uint32_t count;
    uint32_t healthy;          /* so many of them are */
    uint32_t weight_max;       /* of them all */
    uint32_t weight_max_count; /* so many have it */
    uint64_t weight_sum;       /* of the healthy ones */
};

void cluster_roster_init(struct cluster_roster *roster);
void cluster_roster_copy(const struct cluster_roster *from, struct cluster_roster *out);
void cluster_roster_fini(struct cluster_roster *roster);

/* index: one that is there, or the count: one more. The endpoint is copied, its member referenced.
 * Where the last of those with the greatest weight loses it, all are looked at. */
void cluster_roster_put(struct cluster_roster *roster, uint32_t index,
                        const struct cluster_endpoint *endpoint);
void cluster_roster_remove(struct cluster_roster *roster, uint32_t index);

/* index: below the count. Good as long as the roster is unchanged. */
static inline const struct cluster_endpoint *
cluster_roster_at(const struct cluster_roster *roster, uint32_t index)
{
    const struct cluster_endpoint *block = fr_pvec_block(&roster->endpoints, index);
    return &block[index & (FR_PVEC_BLOCK - 1)];
}

/* Shows where two may differ, index by index: blocks that they share are passed over. NULL: there
 * is no such roster; in a call: it has no member there. */
void cluster_roster_compare(const struct cluster_roster *before, const struct cluster_roster *after,
                            void (*fn)(void *ctx, const struct cluster_endpoint *before,
                                       const struct cluster_endpoint *after),
                            void *ctx);

#endif
