/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cluster_snapshot.c - builds snapshots and finds the route of a request in one.
 *
 * May touch:  base, config. Never: sockets, clocks.
 * Threads:    built on the control thread; read by workers; dropped anywhere (atomic counts).
 * Memory:     one allocation a view, three a snapshot, which shares its routes' index with the one
 *             before while they are the same.
 * Cost:       a snapshot: a pointer and a count a cluster, a few pointers a route. Routing: see
 *             cluster_route.c.
 */
#include "cluster/cluster_route.h"

#include "base/fr_map.h"
#include "base/fr_mem.h"

#include <string.h>

struct cluster_view *
cluster_view_new(uint32_t slot, struct config_cluster *config,
                 const struct cluster_endpoint *endpoints, uint32_t count)
{
    struct cluster_view *view = fr_xalloc(sizeof(*view));
    atomic_init(&view->refs, 1);
    view->slot = slot;
    view->config = config_cluster_ref(config);
    view->endpoints = fr_xalloc((count ? count : 1) * sizeof(*endpoints));
    view->endpoint_count = count;
    for (uint32_t i = 0; i < count; i++) {
        view->endpoints[i] = endpoints[i];
        (void)cluster_member_ref(endpoints[i].member); /* the pointer is stored already */
        if (endpoints[i].weight > view->weight_max)
            view->weight_max = endpoints[i].weight;
        if (endpoints[i].healthy)
            view->weight_sum += endpoints[i].weight;
    }
    return view;
}

static void
complete_ring(struct cluster_view *view, const struct cluster_view *before)
{
    if (view->config->balance != CONFIG_BALANCE_HASH)
        return;
    bool fits = before && before->ring &&
                cluster_ring_fits(before->ring, view->endpoints, view->endpoint_count);
    view->ring = fits ? cluster_ring_ref(before->ring)
                      : cluster_ring_new(view->endpoints, view->endpoint_count);
}

static void
complete_sticky(struct cluster_view *view, const struct cluster_view *before,
                const struct cluster_sticky_keys *keys)
{
    if (!view->config->sticky.cookie)
        return;
    bool fits = before && before->sticky &&
                cluster_sticky_fits(before->sticky, keys, view->config, view->endpoints,
                                    view->endpoint_count);
    view->sticky =
        fits ? cluster_sticky_ref(before->sticky)
             : cluster_sticky_new(keys, view->config, view->endpoints, view->endpoint_count);
}

void
cluster_view_complete(struct cluster_view *view, const struct cluster_view *before,
                      const struct cluster_sticky_keys *keys)
{
    complete_ring(view, before);
    complete_sticky(view, before, keys);
}

struct cluster_view *
cluster_view_ref(struct cluster_view *view)
{
    atomic_fetch_add_explicit(&view->refs, 1, memory_order_relaxed);
    return view;
}

void
cluster_view_unref(struct cluster_view **view)
{
    struct cluster_view *v = *view;
    *view = NULL;
    if (!v || atomic_fetch_sub_explicit(&v->refs, 1, memory_order_acq_rel) > 1)
        return;
    for (uint32_t i = 0; i < v->endpoint_count; i++)
        cluster_member_unref(&v->endpoints[i].member);
    cluster_ring_unref(&v->ring);
    cluster_sticky_unref(&v->sticky);
    fr_free(v->endpoints);
    config_cluster_unref(&v->config);
    fr_free(v);
}

/* ---- snapshots ---------------------------------------------------------------------------- */

struct finder {
    struct cluster_view *const *views;
    size_t count;
    struct cluster_view **by_slot; /* slot_count of them */
    size_t slot_count;
    struct fr_map *by_name; /* NULL: nobody had to be looked for by name yet */
};

static void
finder_init(struct finder *finder, struct cluster_view *const *views, size_t count)
{
    *finder = (struct finder){.views = views, .count = count};
    for (size_t i = 0; i < count; i++)
        if (views[i]->slot >= finder->slot_count)
            finder->slot_count = views[i]->slot + (size_t)1;
    finder->by_slot = fr_xalloc((finder->slot_count + 1) * sizeof(struct cluster_view *));
    for (size_t i = 0; i < count; i++)
        finder->by_slot[views[i]->slot] = views[i];
}

static void
finder_fini(struct finder *finder)
{
    fr_map_free(&finder->by_name, NULL);
    fr_free(finder->by_slot);
}

/* before: the same cluster's view in the snapshot before, or NULL. Its slot tells where the new one
 * is, as long as the slot has not gone to another. */
static struct cluster_view *
find_view(struct finder *finder, const char *name, const struct cluster_view *before)
{
    if (before && before->slot < finder->slot_count) {
        struct cluster_view *view = finder->by_slot[before->slot];
        if (view && (view == before || strcmp(view->config->name, name) == 0))
            return view;
    }
    if (!finder->by_name) {
        finder->by_name = fr_map_new();
        for (size_t i = 0; i < finder->count; i++)
            (void)fr_map_put(finder->by_name, fr_view_of(finder->views[i]->config->name),
                             finder->views[i]);
    }
    return fr_map_get(finder->by_name, fr_view_of(name));
}

static bool
resolve_route(struct finder *finder, struct config_route *config,
              const struct cluster_route *before, struct cluster_route *out)
{
    bool forwards = config_route_action(config) == CONFIG_ACTION_CLUSTER;
    out->cluster =
        forwards ? find_view(finder, config->cluster, before ? before->cluster : NULL) : NULL;
    out->handover = NULL;
    if (config->handover[0])
        out->handover = find_view(finder, config->handover, before ? before->handover : NULL);
    if ((forwards && !out->cluster) || (config->handover[0] && !out->handover))
        return false;
    out->config = config; /* its set holds it */
    return true;
}

static enum fr_err
resolve_routes(struct cluster_snapshot *snapshot, const struct cluster_snapshot *before,
               const struct config_route **out_route)
{
    struct finder finder;
    enum fr_err err = FR_OK;
    bool same = before && before->route_set == snapshot->route_set;
    finder_init(&finder, snapshot->clusters, snapshot->cluster_count);
    for (size_t i = 0; i < snapshot->route_count && !err; i++) {
        struct config_route *config = cluster__routes_at(snapshot->route_set, i);
        if (resolve_route(&finder, config, same ? &before->routes[i] : NULL, &snapshot->routes[i]))
            continue;
        *out_route = config;
        err = FR_ERR_NOT_FOUND;
    }
    finder_fini(&finder);
    return err;
}

enum fr_err
cluster_snapshot_next(const struct cluster_snapshot *before, uint64_t generation,
                      struct cluster_view *const *views, size_t view_count,
                      struct config_route *const *routes, size_t route_count, unsigned relief,
                      struct cluster_snapshot **out, const struct config_route **out_route)
{
    struct cluster_snapshot *snapshot = fr_xalloc(sizeof(*snapshot));
    atomic_init(&snapshot->refs, 1);
    snapshot->generation = generation;
    snapshot->relief = relief;
    snapshot->clusters = fr_xalloc((view_count + 1) * sizeof(struct cluster_view *));
    for (size_t i = 0; i < view_count; i++)
        snapshot->clusters[i] = cluster_view_ref(views[i]);
    snapshot->cluster_count = view_count;
    bool same = before && cluster__routes_are(before->route_set, routes, route_count);
    snapshot->route_set =
        same ? cluster__routes_ref(before->route_set) : cluster__routes_new(routes, route_count);
    snapshot->routes = fr_xalloc((route_count + 1) * sizeof(struct cluster_route));
    snapshot->route_count = route_count;
    enum fr_err err = resolve_routes(snapshot, before, out_route);
    if (!err) {
        *out = snapshot;
        snapshot = NULL;
    }
    cluster_snapshot_unref(&snapshot);
    return err;
}

enum fr_err
cluster_snapshot_new(uint64_t generation, struct cluster_view *const *views, size_t view_count,
                     struct config_route *const *routes, size_t route_count, unsigned relief,
                     struct cluster_snapshot **out, const struct config_route **out_route)
{
    return cluster_snapshot_next(NULL, generation, views, view_count, routes, route_count, relief,
                                 out, out_route);
}

struct cluster_snapshot *
cluster_snapshot_ref(struct cluster_snapshot *snapshot)
{
    atomic_fetch_add_explicit(&snapshot->refs, 1, memory_order_relaxed);
    return snapshot;
}

void
cluster_snapshot_unref(struct cluster_snapshot **snapshot)
{
    struct cluster_snapshot *s = *snapshot;
    *snapshot = NULL;
    if (!s || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) > 1)
        return;
    cluster__routes_unref(&s->route_set);
    for (size_t i = 0; i < s->cluster_count; i++)
        cluster_view_unref(&s->clusters[i]);
    fr_free(s->routes);
    fr_free(s->clusters);
    fr_free(s);
}

const struct cluster_route *
cluster_snapshot_route(const struct cluster_snapshot *snapshot,
                       const struct cluster_request *request)
{
    size_t place = cluster__routes_find(snapshot->route_set, request);
    return place == SIZE_MAX ? NULL : &snapshot->routes[place];
}
