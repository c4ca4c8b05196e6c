/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cluster_snapshot.c - builds snapshots and finds the route of a request in one.
 *
 * May touch:  base, config. Never: sockets, clocks.
 * Threads:    built on the control thread; read by workers; dropped anywhere (atomic counts).
 * Memory:     one allocation a view, and of its roster and a snapshot what they do not share with
 *             the ones before.
 * Cost:       a snapshot: that of what changes (fr_pvec.h, fr_trie.h). Routing: see
 *             cluster_route.c.
 */
#include "cluster/cluster_route.h"

#include "base/fr_check.h"
#include "base/fr_mem.h"
#include "base/fr_thread.h"

#include <string.h>

#define ROUTES_AT_ONCE 32 /* then another thread gets its turn */

struct cluster_view *
cluster_view_of(uint32_t slot, struct config_cluster *config, const struct cluster_roster *roster)
{
    struct cluster_view *view = fr_xalloc(sizeof(*view));
    atomic_init(&view->refs, 1);
    view->slot = slot;
    view->config = config_cluster_ref(config);
    cluster_roster_copy(roster, &view->roster);
    view->slots = roster->count ? cluster_roster_at(roster, 0)->member->slots : NULL;
    return view;
}

struct cluster_view *
cluster_view_new(uint32_t slot, struct config_cluster *config,
                 const struct cluster_endpoint *endpoints, uint32_t count)
{
    struct cluster_roster roster;
    cluster_roster_init(&roster);
    for (uint32_t i = 0; i < count; i++)
        cluster_roster_put(&roster, i, &endpoints[i]);
    struct cluster_view *view = cluster_view_of(slot, config, &roster);
    cluster_roster_fini(&roster);
    return view;
}

void
cluster_view_complete(struct cluster_view *view, const struct cluster_view *before,
                      const struct cluster_sticky_keys *keys)
{
    const struct cluster_roster *roster = &view->roster;
    if (view->config->balance == CONFIG_BALANCE_HASH)
        view->ring = before && before->ring
                         ? cluster_ring_after(before->ring, &before->roster, roster)
                         : cluster_ring_new(roster);
    if (view->config->sticky.cookie)
        view->sticky =
            before && before->sticky
                ? cluster_sticky_after(before->sticky, keys, view->config, &before->roster, roster)
                : cluster_sticky_new(keys, view->config, roster);
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
    cluster_roster_fini(&v->roster);
    cluster_ring_unref(&v->ring);
    cluster_sticky_unref(&v->sticky);
    config_cluster_unref(&v->config);
    fr_free(v);
}

/* ---- snapshots ---------------------------------------------------------------------------- */

static void
slot_hold(void *item)
{
    const struct cluster_slot *slot = item;
    if (slot->view)
        (void)cluster_view_ref(slot->view); /* the pointer is stored already */
}

static void
slot_drop(void *item)
{
    struct cluster_slot *slot = item;
    cluster_view_unref(&slot->view);
}

static const struct fr_pvec_ops slot_ops = {sizeof(struct cluster_slot), slot_hold, slot_drop};
static const struct fr_trie_ops name_ops = {NULL, NULL};

static struct cluster_snapshot *
snapshot_after(const struct cluster_snapshot *before)
{
    struct cluster_snapshot *snapshot = fr_xalloc(sizeof(*snapshot));
    atomic_init(&snapshot->refs, 1);
    if (before) {
        fr_pvec_copy(&before->clusters, &snapshot->clusters);
        fr_trie_copy(&before->names, &snapshot->names);
        cluster__routes_copy(&before->routes, &snapshot->routes);
        snapshot->route_order = before->route_order;
        return snapshot;
    }
    fr_pvec_init(&snapshot->clusters, &slot_ops);
    fr_trie_init(&snapshot->names, &name_ops);
    cluster__routes_init(&snapshot->routes);
    return snapshot;
}

/* ---- clusters ------------------------------------------------------------------------------ */

static struct cluster_slot *
slot_own(struct cluster_snapshot *snapshot, uint32_t slot)
{
    return fr_pvec_own(&snapshot->clusters, slot);
}

static uint32_t
slot_of_name(const struct cluster_snapshot *snapshot, const char *name)
{
    uintptr_t number = (uintptr_t)fr_trie_get(&snapshot->names, fr_view_of(name));
    return number ? (uint32_t)(number - 1) : CLUSTER_SLOT_NONE;
}

/* True: routes name it still. */
static bool
take_away(struct cluster_snapshot *snapshot, uint32_t number)
{
    struct cluster_slot *slot = slot_own(snapshot, number);
    if (!slot->view)
        return false;
    const char *name = slot->view->config->name;
    if (slot_of_name(snapshot, name) == number) /* else it has moved already */
        (void)fr_trie_remove(&snapshot->names, fr_view_of(name));
    cluster_view_unref(&slot->view);
    return slot->uses > 0;
}

/* True: routes name another cluster that had its slot, or name it where it was before. */
static bool
show(struct cluster_snapshot *snapshot, struct cluster_view *view)
{
    const char *name = view->config->name;
    struct cluster_slot *slot = slot_own(snapshot, view->slot);
    bool moved = false;
    if (!slot->view || strcmp(slot->view->config->name, name) != 0) {
        uint32_t elsewhere = slot_of_name(snapshot, name);
        moved = take_away(snapshot, view->slot) || elsewhere != CLUSTER_SLOT_NONE;
        fr_trie_take_put(&snapshot->names, fr_view_of(name),
                         (void *)((uintptr_t)view->slot + 1)); /* a number, never followed */
    }
    struct cluster_view *before = slot->view;
    slot->view = cluster_view_ref(view);
    cluster_view_unref(&before);
    return moved;
}

/* ---- routes -------------------------------------------------------------------------------- */

static void
count_uses(struct cluster_snapshot *snapshot, const struct cluster_route *route, uint64_t change)
{
    if (route->cluster != CLUSTER_SLOT_NONE)
        slot_own(snapshot, route->cluster)->uses += change;
    if (route->handover != CLUSTER_SLOT_NONE)
        slot_own(snapshot, route->handover)->uses += change;
}

static void
drop_route(struct cluster_snapshot *snapshot, const struct config_route *config)
{
    struct cluster_route route;
    fr_require(cluster__routes_drop(&snapshot->routes, config, &route));
    count_uses(snapshot, &route, UINT64_MAX); /* which is minus one */
}

/* False: it names a cluster that is not there. */
static bool
add_route(struct cluster_snapshot *snapshot, struct config_route *config, uint64_t order)
{
    bool forwards = config_route_action(config) == CONFIG_ACTION_CLUSTER;
    struct cluster_route route = {.config = config,
                                  .cluster = CLUSTER_SLOT_NONE,
                                  .handover = CLUSTER_SLOT_NONE,
                                  .order = order};
    if (forwards)
        route.cluster = slot_of_name(snapshot, config->cluster);
    if (config->handover[0])
        route.handover = slot_of_name(snapshot, config->handover);
    if ((forwards && route.cluster == CLUSTER_SLOT_NONE) ||
        (config->handover[0] && route.handover == CLUSTER_SLOT_NONE))
        return false;
    cluster__routes_add(&snapshot->routes, &route);
    count_uses(snapshot, &route, 1);
    return true;
}

struct resolving {
    struct cluster_snapshot *snapshot;
    const struct config_route *bad; /* NULL: all were found */
};

static void
resolve_again(void *ctx, const struct cluster_route *route)
{
    struct resolving *resolving = ctx;
    if (!resolving->bad && !add_route(resolving->snapshot, route->config, route->order))
        resolving->bad = route->config;
}

static void
forget_uses(void *ctx, uint32_t index, const void *before, const void *after)
{
    (void)before;
    const struct cluster_slot *slot = after;
    if (slot->uses > 0)
        slot_own(ctx, index)->uses = 0;
}

/* Clusters have moved under routes that stay: each of these is added anew. */
static const struct config_route *
resolve_routes(struct cluster_snapshot *snapshot)
{
    struct cluster_routes routes = snapshot->routes;
    struct resolving resolving = {.snapshot = snapshot};
    struct fr_pvec none, all;
    fr_pvec_init(&none, &slot_ops);
    fr_pvec_copy(&snapshot->clusters, &all);
    fr_pvec_compare(&none, &all, forget_uses, snapshot);
    fr_pvec_fini(&all);
    cluster__routes_init(&snapshot->routes);
    cluster__routes_each(&routes, resolve_again, &resolving);
    cluster__routes_fini(&routes);
    return resolving.bad;
}

static enum fr_err
apply(struct cluster_snapshot *snapshot, const struct cluster_change *change,
      const struct config_route **out_route)
{
    bool moved = false;
    snapshot->generation = change->generation;
    snapshot->relief = change->relief;
    for (size_t i = 0; i < change->dropped_count; i++) {
        drop_route(snapshot, change->dropped[i]);
        if (i % ROUTES_AT_ONCE == 0)
            fr_give_way();
    }
    for (size_t i = 0; i < change->gone_count; i++)
        moved |= take_away(snapshot, change->gone[i]);
    for (size_t i = 0; i < change->view_count; i++)
        moved |= show(snapshot, change->views[i]);
    const struct config_route *bad = moved ? resolve_routes(snapshot) : NULL;
    for (size_t i = 0; i < change->added_count && !bad; i++) {
        if (!add_route(snapshot, change->added[i], snapshot->route_order++))
            bad = change->added[i];
        if (i % ROUTES_AT_ONCE == 0)
            fr_give_way();
    }
    if (bad)
        *out_route = bad;
    return bad ? FR_ERR_NOT_FOUND : FR_OK;
}

enum fr_err
cluster_snapshot_change(const struct cluster_snapshot *before, const struct cluster_change *change,
                        struct cluster_snapshot **out, const struct config_route **out_route)
{
    struct cluster_snapshot *snapshot = snapshot_after(before);
    enum fr_err err = apply(snapshot, change, out_route);
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
    const struct cluster_change change = {.generation = generation,
                                          .relief = relief,
                                          .views = views,
                                          .view_count = view_count,
                                          .added = routes,
                                          .added_count = route_count};
    return cluster_snapshot_change(NULL, &change, out, out_route);
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
    cluster__routes_fini(&s->routes);
    fr_trie_fini(&s->names);
    fr_pvec_fini(&s->clusters);
    fr_free(s);
}

const struct cluster_route *
cluster_snapshot_route(const struct cluster_snapshot *snapshot,
                       const struct cluster_request *request)
{
    return cluster__routes_find(&snapshot->routes, request);
}
