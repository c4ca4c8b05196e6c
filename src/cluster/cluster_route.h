/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cluster_route.h - a set of routes, with what finds the one of a request.
 *
 * May touch:  base, config. Included by src/cluster only.
 * Life:       a copy shares with the set it is made of what is the same in both.
 */
#ifndef CLUSTER_ROUTE_H
#define CLUSTER_ROUTE_H

#include "cluster/cluster_snapshot.h"

void cluster__routes_init(struct cluster_routes *set);
void cluster__routes_copy(const struct cluster_routes *from, struct cluster_routes *out);
void cluster__routes_fini(struct cluster_routes *set);

/* The set holds the route's settings. Of routes for the same requests the one of the lowest order
 * comes first. */
void cluster__routes_add(struct cluster_routes *set, const struct cluster_route *route);
/* False: it has no such route. *out is the one it had; its settings are the caller's business. */
bool cluster__routes_drop(struct cluster_routes *set, const struct config_route *config,
                          struct cluster_route *out);
void cluster__routes_each(const struct cluster_routes *set,
                          void (*fn)(void *ctx, const struct cluster_route *route), void *ctx);
/* NULL: none. */
const struct cluster_route *cluster__routes_find(const struct cluster_routes *set,
                                                 const struct cluster_request *request);

#endif
