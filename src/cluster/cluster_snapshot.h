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

#include "cluster/cluster_member.h"
#include "cluster/cluster_ring.h"
#include "cluster/cluster_sticky.h"
#include "config/config.h"

struct cluster_endpoint { /* a member as one cluster shows it */
    struct cluster_member *member;
    uint32_t weight;      /* 0: takes no new requests */
    bool healthy;         /* by active checks */
    int64_t ramp_from_us; /* monotonic start of its slow start; 0: none */
};

struct cluster_view { /* immutable once published */
    atomic_uint refs;
    uint32_t slot; /* small index of the cluster, stable while it lives: workers' arrays use it */
    struct config_cluster *config;
    struct cluster_endpoint *endpoints;
    uint32_t endpoint_count;
    uint32_t weight_max;           /* of the endpoints */
    uint64_t weight_sum;           /* of the healthy ones */
    struct cluster_ring *ring;     /* balance: hash; NULL: none */
    struct cluster_sticky *sticky; /* sessions; NULL: none */
    unsigned rungs;                /* set of enum config_rung in force */
    uint32_t queue_limit; /* requests under way at most, while CONFIG_RUNG_QUEUE is in force */
};

struct cluster_route {
    struct config_route *config;   /* borrowed from the set */
    struct cluster_view *cluster;  /* borrowed from the snapshot; NULL: the edge answers itself */
    struct cluster_view *handover; /* NULL = none */
};

struct cluster_snapshot {
    atomic_uint refs;
    uint64_t generation;
    struct cluster_view **clusters; /* each referenced */
    size_t cluster_count;
    struct cluster_route *routes; /* in order of precedence: the first match wins */
    size_t route_count;
    struct cluster_routes *route_set; /* one reference: what finds them (cluster_route.c) */
    unsigned relief; /* set of 1 << enum config_relief_step in force */
};

/* endpoints are copied; every member referenced. */
struct cluster_view *cluster_view_new(uint32_t slot, struct config_cluster *config,
                                      const struct cluster_endpoint *endpoints, uint32_t count);
/* Adds the tables that the cluster's settings ask for, before the view is published; those of
 * `before`, the cluster's view so far (NULL: none), are shared where they still fit. */
void cluster_view_complete(struct cluster_view *view, const struct cluster_view *before,
                           const struct cluster_sticky_keys *keys);
struct cluster_view *cluster_view_ref(struct cluster_view *view);
void cluster_view_unref(struct cluster_view **view);

/* Sorts the routes by precedence and resolves their clusters.
 * FR_ERR_NOT_FOUND: a route names a cluster that is not there (*out_route says which). */
FR_MUST_USE enum fr_err cluster_snapshot_new(uint64_t generation, struct cluster_view *const *views,
                                             size_t view_count, struct config_route *const *routes,
                                             size_t route_count, unsigned relief,
                                             struct cluster_snapshot **out,
                                             const struct config_route **out_route);
/* Likewise. before: the snapshot that this one follows, with which it shares what is the same. */
FR_MUST_USE enum fr_err
cluster_snapshot_next(const struct cluster_snapshot *before, uint64_t generation,
                      struct cluster_view *const *views, size_t view_count,
                      struct config_route *const *routes, size_t route_count, unsigned relief,
                      struct cluster_snapshot **out, const struct config_route **out_route);
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
