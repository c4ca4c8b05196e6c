/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cluster_route.h - a set of routes in order of precedence, with what finds the one of a request.
 *
 * May touch:  base, config. Included by src/cluster only.
 * Life:       immutable, counted: snapshots share it while the set stays the same.
 */
#ifndef CLUSTER_ROUTE_H
#define CLUSTER_ROUTE_H

#include "cluster/cluster_snapshot.h"

struct cluster_routes;

struct cluster_routes *cluster__routes_new(struct config_route *const *routes, size_t count);
/* True: it was made of these, in this order. */
bool cluster__routes_are(const struct cluster_routes *set, struct config_route *const *routes,
                         size_t count);
struct cluster_routes *cluster__routes_ref(struct cluster_routes *set);
void cluster__routes_unref(struct cluster_routes **set);
/* By place in the order of precedence. */
struct config_route *cluster__routes_at(const struct cluster_routes *set, size_t place);
/* The first place that matches; SIZE_MAX: none does. */
size_t cluster__routes_find(const struct cluster_routes *set,
                            const struct cluster_request *request);

#endif
