/* SPDX-License-Identifier: Apache-2.0 */
/*
 * edge_publish.c - one snapshot a turn of everything that changed in it.
 *
 * Order:    members that left are watched for their end only once the snapshot without them is out.
 * Threads:  control loop.
 */
#include "edge/edge_priv.h"

#include "base/fr_check.h"
#include "base/fr_thread.h"

void
edge_publish_without(const struct edge_cluster *cluster)
{
    struct edge *edge = cluster->edge;
    void *gone = edge->gone;
    fr_xgrow(&gone, &edge->gone_cap, edge->gone_count + 1, sizeof(*edge->gone));
    edge->gone = gone;
    edge->gone[edge->gone_count++] = cluster->slot;
}

static void
free_shown_routes(struct edge *edge)
{
    for (size_t i = 0; i < edge->shown_route_count; i++)
        config_route_unref(&edge->shown_routes[i]);
    fr_free(edge->shown_routes);
    edge->shown_routes = NULL;
    edge->shown_route_count = 0;
}

void
edge_publish_free(struct edge *edge)
{
    cluster_snapshot_unref(&edge->published);
    free_shown_routes(edge);
    fr_free(edge->gone);
    edge->gone = NULL;
    edge->gone_count = edge->gone_cap = 0;
}

void
edge_publish_soon(struct edge *edge)
{
    if (edge->started)
        loop_defer(edge->loop, &edge->publish_task, edge_publish, edge);
}

static void
refresh_view(struct edge_cluster *cluster)
{
    struct cluster_view *before = cluster->view;
    fr_give_way();
    fr_insist(cluster->roster.count == cluster->member_count);
    cluster->view = cluster_view_of(cluster->slot, cluster->config, &cluster->roster);
    edge_ladder_apply(cluster, cluster->view);
    cluster->view->goal_us = cluster->goal_us;
    cluster_view_complete(cluster->view, before, edge_sticky_of(cluster->edge, cluster->config));
    cluster_view_unref(&before);
    cluster->dirty = cluster->shown = false;
}

/* Relief steps 1..n of the configured ladder are in force. */
static unsigned
relief_set(const struct edge *edge)
{
    unsigned set = 0;
    for (size_t i = 0; i < edge->config->relief.step_count && i < edge->relief_step; i++)
        set |= 1u << edge->config->relief.steps[i];
    return set;
}

/* Those that are shown and stay come first, in the order they have; all others of those in force
 * are added behind them. A route that comes between two others moves those behind it. */
static struct config_route **
compare_routes(const struct edge *edge, struct cluster_change *change)
{
    size_t kept = 0;
    if (!edge->routes_changed)
        return NULL;
    struct config_route **dropped =
        fr_xalloc((edge->shown_route_count + 1) * sizeof(struct config_route *));
    for (size_t i = 0; i < edge->shown_route_count; i++)
        if (kept < edge->route_count && edge->shown_routes[i] == edge->routes[kept])
            kept++;
        else
            dropped[change->dropped_count++] = edge->shown_routes[i];
    change->dropped = dropped;
    change->added = edge->routes + kept;
    change->added_count = edge->route_count - kept;
    return dropped;
}

static void
note_shown(struct edge *edge)
{
    size_t cursor = 0;
    void *value = NULL;
    while (fr_map_next(edge->clusters, &cursor, NULL, &value))
        ((struct edge_cluster *)value)->shown = true;
    edge->gone_count = 0;
    if (!edge->routes_changed)
        return;
    free_shown_routes(edge);
    edge->shown_routes = fr_xalloc((edge->route_count + 1) * sizeof(struct config_route *));
    for (size_t i = 0; i < edge->route_count; i++)
        edge->shown_routes[i] = config_route_ref(edge->routes[i]);
    edge->shown_route_count = edge->route_count;
    edge->routes_changed = false;
}

static struct cluster_snapshot *
build_snapshot(struct edge *edge)
{
    size_t count = 0, cursor = 0;
    void *value = NULL;
    struct cluster_view **views =
        fr_xalloc((fr_map_count(edge->clusters) + 1) * sizeof(struct cluster_view *));
    while (fr_map_next(edge->clusters, &cursor, NULL, &value)) {
        struct edge_cluster *cluster = value;
        if (cluster->dirty || cluster->view == NULL)
            refresh_view(cluster);
        if (!cluster->shown)
            views[count++] = cluster->view;
    }
    struct cluster_change change = {.generation = edge->generation + 1,
                                    .relief = relief_set(edge),
                                    .gone = edge->gone,
                                    .gone_count = edge->gone_count,
                                    .views = views,
                                    .view_count = count};
    struct config_route **dropped = compare_routes(edge, &change);
    struct cluster_snapshot *snapshot = NULL;
    const struct config_route *bad = NULL;
    enum fr_err err = cluster_snapshot_change(edge->published, &change, &snapshot, &bad);
    fr_free(views);
    fr_free(dropped);
    if (err == FR_OK) {
        edge->generation++; /* only what goes out counts: others wait until workers have it */
        note_shown(edge);
        return snapshot;
    }
    /* Settings are checked before they come into force; if one slips through, what stands stays. */
    fr_log(FR_LOG_ERROR, "edge", "snapshot not built, the one before stays in force",
           FR_S("error", fr_err_words(err)), FR_S("route", bad ? bad->name : ""));
    return NULL;
}

/* ---- what waits until a change is in force -------------------------------------------------- */

struct waiter {
    struct fr_list link;
    loop_fn fn;
    void *ctx;
};

static void
run_waiters(struct edge *edge)
{
    struct fr_list waiting; /* those of now: a waiter's function may bring another */
    fr_list_init(&waiting);
    for (struct fr_list *node; (node = fr_list_pop_front(&edge->waiters)) != NULL;)
        fr_list_push_back(&waiting, node);
    for (struct fr_list *node; (node = fr_list_pop_front(&waiting)) != NULL;) {
        struct waiter *waiter = FR_CONTAINER(node, struct waiter, link);
        waiter->fn(waiter->ctx);
        fr_free(waiter);
    }
}

static void
on_settle(void *ctx)
{
    struct edge *edge = ctx;
    if (edge->publish_task.queued) {
        loop_defer_cancel(&edge->publish_task);
        edge_publish(edge);
    }
    if (edge->proxy != NULL && !edge->stopping &&
        proxy_generation(edge->proxy) < edge->generation) {
        loop_timer_start(edge->loop, &edge->settle_timer, FR_US_PER_MS, on_settle, edge);
        return;
    }
    run_waiters(edge);
}

void
edge_when_in_force(struct edge *edge, loop_fn fn, void *ctx)
{
    if (!edge->started) { /* nobody routes by it yet, or any more */
        fn(ctx);
        return;
    }
    struct waiter *waiter = fr_xalloc(sizeof(*waiter));
    waiter->fn = fn;
    waiter->ctx = ctx;
    fr_list_push_back(&edge->waiters, &waiter->link);
    loop_defer(edge->loop, &edge->settle_task, on_settle, edge);
}

void
edge_waiters_free(struct edge *edge)
{
    loop_defer_cancel(&edge->settle_task);
    loop_timer_stop(&edge->settle_timer);
    run_waiters(edge);
}

void
edge_publish(void *ctx)
{
    struct edge *edge = ctx;
    if (edge->proxy != NULL) {
        struct cluster_snapshot *snapshot = build_snapshot(edge);
        if (snapshot == NULL)
            return;
        proxy_publish(edge->proxy, snapshot);
        cluster_snapshot_unref(&edge->published);
        edge->published = snapshot;
    } else {
        edge->generation++;
        edge->gone_count = 0;
    }
    FR_LIST_EACH_SAFE(&edge->leaving, node) {
        struct edge_member *member = FR_CONTAINER(node, struct edge_member, link);
        if (!member->drain_watched)
            edge_member_watch_drained(member);
    }
}
