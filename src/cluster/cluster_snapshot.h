/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cluster_snapshot.h - what the workers route by: immutable, counted, published whole.
 *
 * Life:     the control thread builds one for every change (sharing every unchanged view), posts it
 *           to each worker, and each worker adopts it between two turns and drops the one before.
 *           Exchanges keep the cluster_view and cluster_member they use, not the snapshot.
 * Order:    generation grows by one with each; a worker that has acknowledged generation g has no
 *           new exchange on a member that g does not show.
 */
#ifndef CLUSTER_SNAPSHOT_H
#define CLUSTER_SNAPSHOT_H

#include "base/fr_trie.h"
#include "cluster/cluster_ring.h"
#include "cluster/cluster_roster.h"
#include "cluster/cluster_sticky.h"
#include "config/config.h"

struct cluster_view { /* immutable once published */
    atomic_uint refs;
    uint32_t slot; /* small index of the cluster, stable while it lives: workers' arrays use it */
    struct config_cluster *config;
    struct cluster_roster roster;
    const struct cluster_slots *slots; /* of their members; NULL: there are none */
    struct cluster_ring *ring;         /* balance: hash; NULL: none */
    struct cluster_sticky *sticky;     /* sessions; NULL: none */
    unsigned rungs;                    /* set of enum config_rung in force */
    uint32_t queue_limit; /* requests under way at most, while CONFIG_RUNG_QUEUE is in force */
    int64_t goal_us;      /* a request that takes longer is late; 0: no goal */
};

#define CLUSTER_SLOT_NONE UINT32_MAX

struct cluster_route {
    struct config_route *config; /* referenced by the set it is in */
    uint32_t cluster;            /* slot; CLUSTER_SLOT_NONE: the edge answers itself */
    uint32_t handover;           /* slot; CLUSTER_SLOT_NONE: none */
    uint64_t order;              /* of the configuration */
    bool plain;                  /* asks for nothing but its host and path */
};

struct cluster_routes { /* cluster_route.c */
    struct fr_trie by_place;
    size_t count, hosts, wildcards; /* routes; those for some host; those for a wildcard */
};

struct cluster_slot {
    struct cluster_view *view; /* NULL: the slot is free */
    uint64_t uses;             /* by routes */
};

struct cluster_snapshot {
    atomic_uint refs;
    uint64_t generation;
    struct fr_pvec clusters; /* of struct cluster_slot */
    struct fr_trie names;    /* of clusters; the value is a number: slot + 1 */
    struct cluster_routes routes;
    uint64_t route_order; /* of the next route */
    unsigned relief;      /* set of 1 << enum config_relief_step in force */
};

/* Shares what is in the roster now. */
struct cluster_view *cluster_view_of(uint32_t slot, struct config_cluster *config,
                                     const struct cluster_roster *roster);
/* With a roster of these. */
struct cluster_view *cluster_view_new(uint32_t slot, struct config_cluster *config,
                                      const struct cluster_endpoint *endpoints, uint32_t count);
static inline const struct cluster_endpoint *
cluster_view_at(const struct cluster_view *view, uint32_t index)
{
    return cluster_roster_at(&view->roster, index);
}
/* Adds the tables that the cluster's settings ask for, before the view is published; they
 * share what is the same with those of `before`, the cluster's view so far (NULL: none). */
void cluster_view_complete(struct cluster_view *view, const struct cluster_view *before,
                           const struct cluster_sticky_keys *keys);
struct cluster_view *cluster_view_ref(struct cluster_view *view);
void cluster_view_unref(struct cluster_view **view);

/* What is different in a snapshot from the one before. */
struct cluster_change {
    uint64_t generation;
    unsigned relief;
    const uint32_t *gone; /* slots of clusters that are there no more */
    size_t gone_count;
    struct cluster_view *const *views; /* of new clusters, and of changed ones */
    size_t view_count;
    struct config_route *const *dropped; /* each is in the one before */
    size_t dropped_count;
    struct config_route *const *added; /* in order, behind all that stay */
    size_t added_count;
};

/* before: NULL: nothing was there. What is the same is shared with it, so that the cost is that of
 * the change, unless a cluster that routes still name moves to another slot.
 * FR_ERR_NOT_FOUND: a route names a cluster that is not there (*out_route says which). */
FR_MUST_USE enum fr_err cluster_snapshot_change(const struct cluster_snapshot *before,
                                                const struct cluster_change *change,
                                                struct cluster_snapshot **out,
                                                const struct config_route **out_route);
/* From nothing. */
FR_MUST_USE enum fr_err cluster_snapshot_new(uint64_t generation, struct cluster_view *const *views,
                                             size_t view_count, struct config_route *const *routes,
                                             size_t route_count, unsigned relief,
                                             struct cluster_snapshot **out,
                                             const struct config_route **out_route);
/* NULL: the slot is free, or CLUSTER_SLOT_NONE. */
static inline struct cluster_view *
cluster_snapshot_view(const struct cluster_snapshot *snapshot, uint32_t slot)
{
    const struct cluster_slot *place = fr_pvec_at(&snapshot->clusters, slot);
    return place ? place->view : NULL;
}
struct cluster_snapshot *cluster_snapshot_ref(struct cluster_snapshot *snapshot);
void cluster_snapshot_unref(struct cluster_snapshot **snapshot);

/* What routing needs of a request; host without port, lower case. */
struct cluster_request {
    struct fr_view host, path, method;
    /* finds a field by lower-case name; false when absent */
    bool (*field)(const void *ctx, struct fr_view name, struct fr_view *out_value);
    const void *field_ctx;
};
/* Most specific first: exact host before wildcard before any; then longer path; then method; then
 * header; then order of configuration. NULL when nothing matches. */
const struct cluster_route *cluster_snapshot_route(const struct cluster_snapshot *snapshot,
                                                   const struct cluster_request *request);

#endif
