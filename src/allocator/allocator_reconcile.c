/* SPDX-License-Identifier: Apache-2.0 */
/*
 * allocator_reconcile.c - the start: what the ledger says against what runs; and the minimum kept.
 *
 * May touch:  base, loop, config, cluster, provider.  Never: files, logs.
 * Threads:    the control thread.
 *
 *   the ledger says   and it runs                    and it does not
 *   starting          adopted, checked on            started again if the cluster needs it,
 *                                                    else given back: nobody waits any more
 *   ready             adopted, in the cluster        started again (restart_max), else replaced
 *                     at once: no gap
 *   draining          stopped; with needs_release    given back
 *                     drained and released again
 *   stopping          stopped                        given back
 *   nothing           stopped: an orphan
 */
#include "allocator/allocator_priv.h"

#include "base/fr_check.h"

#include <stdio.h>

static bool
is_known(void *ctx, const char *id)
{
    return allocator__server_find(ctx, fr_view_of(id)) != NULL;
}

static void
orphans_stop(struct allocator *allocator)
{
    FR_LIST_EACH(&allocator->pools, node) {
        struct allocator__pool *pool = FR_CONTAINER(node, struct allocator__pool, link);
        size_t count = pool->ops->stop_orphans(pool->provider, is_known, allocator);
        if (count)
            allocator__note(allocator, NULL,
                            "pool %s: %zu servers of an earlier life that the ledger does not know "
                            "are stopped",
                            pool->name, count);
    }
}

static void
reconcile_starting(struct allocator__server *server, bool runs)
{
    const struct config_cluster *cluster =
        allocator__settings_cluster(&server->allocator->settings, server->provided.cluster);
    if (runs) {
        (void)allocator__event(server, ALLOCATOR_STARTED, false);
        return;
    }
    const struct cluster_ledger_server *row =
        cluster_ledger_find(&server->allocator->ledger, server->provided.id);
    /* It counts itself in the size. What somebody wrote in by hand is wanted. */
    bool needed = (row && row->edited) ||
                  (cluster->scale.enabled &&
                   allocator__cluster_size(server->allocator, cluster) <= cluster->scale.min);
    if (!needed)
        server->asked[0] = '\0'; /* nothing came of the request: asked again, it is done anew */
    (void)allocator__event(server, needed ? ALLOCATOR_RESTART : ALLOCATOR_GIVE_BACK, false);
}

static void
reconcile_server(struct allocator__server *server)
{
    struct allocator *allocator = server->allocator;
    bool runs = server->pool->ops->adopt(server->pool->provider, &server->provided) == FR_OK;
    if (!allocator__settings_cluster(&allocator->settings, server->provided.cluster)) {
        allocator__note(allocator, server, "is stopped: its cluster is gone");
        (void)allocator__event(server, ALLOCATOR_ABANDON, false);
        return;
    }
    switch (server->state) {
    case CLUSTER_SERVER_STARTING:
        reconcile_starting(server, runs);
        break;
    case CLUSTER_SERVER_READY:
        if (runs)
            (void)allocator__event(server, ALLOCATOR_ADOPTED, false);
        else
            allocator__server_lost(server, "did not run any more when Freshet started");
        break;
    case CLUSTER_SERVER_DRAINING:
        /* Other edges may still use it: they are asked again. */
        server->joined = runs && allocator->needs_release;
        (void)allocator__event(server, server->joined ? ALLOCATOR_ADOPTED : ALLOCATOR_ABANDON,
                               false);
        break;
    case CLUSTER_SERVER_STOPPING:
    case CLUSTER_SERVER_AVAILABLE:
        (void)allocator__event(server, ALLOCATOR_ABANDON, false);
        break;
    }
}

static enum fr_err
server_restore(struct allocator *allocator, const struct cluster_ledger_server *row,
               struct config_diag *diag)
{
    struct loop_addr addr;
    struct allocator__pool *pool = allocator__pool_find(allocator, row->pool);
    enum fr_err err = FR_OK;
    if (loop_addr_parse(fr_view_of(row->address), &addr)) {
        config_diag_add(diag, 0, 0, "server %s: address \"%s\" is none", row->id, row->address);
        return FR_ERR_CONFIG;
    }
    if (!pool) {
        allocator__note(allocator, NULL,
                        "server %s is of pool %s, which is gone: it is kept until it is given back",
                        row->id, row->pool);
        err = allocator__pool_retired(allocator, row->pool, row->pid > 0, &pool);
    }
    if (err) {
        config_diag_add(diag, 0, 0, "server %s: pool %s: %s", row->id, row->pool,
                        fr_err_words(err));
        return err;
    }
    /* Somebody wrote a new server in while we were away: it has to pass its check first. */
    struct allocator__server *server = allocator__server_new(
        allocator, pool, row->id, row->cluster, row->edited ? CLUSTER_SERVER_STARTING : row->state);
    (void)fr_view_copy(fr_view_of(row->address), server->provided.address,
                       sizeof(server->provided.address));
    server->provided.addr = addr;
    allocator__address_hold(server);
    server->provided.pid = row->pid;
    server->provided.started = row->started;
    server->weight = row->weight;
    server->weight_normal = row->weight_normal;
    memcpy(server->asked, row->request, sizeof(server->asked));
    server->born = allocator->ledger.generation;
    return FR_OK;
}

static void
on_rescan(void *ctx)
{
    orphans_stop(ctx);
}

enum fr_err
allocator__reconcile(struct allocator *allocator, struct config_diag *diag)
{
    enum fr_err err = FR_OK;
    for (size_t i = 0; i < allocator->ledger.server_count && !err; i++)
        err = server_restore(allocator, &allocator->ledger.servers[i], diag);
    if (err)
        return err;
    FR_LIST_EACH(&allocator->servers, node)
        reconcile_server(FR_CONTAINER(node, struct allocator__server, link));
    orphans_stop(allocator);
    /* A crash can fall between fork and exec: such a child bears its marker a moment later. */
    loop_timer_start(allocator->loop, &allocator->rescan_timer, ALLOCATOR_RESCAN_US, on_rescan,
                     allocator);
    allocator__fill_later(allocator);
    return FR_OK;
}

/* ---- the minimum ---------------------------------------------------------------------------- */

static size_t
cluster_lacks(const struct allocator *allocator, const struct config_cluster *cluster)
{
    size_t size = allocator__cluster_size(allocator, cluster);
    return cluster->scale.enabled && size < cluster->scale.min ? cluster->scale.min - size : 0;
}

static void
clusters_fill(struct allocator *allocator)
{
    for (size_t i = 0; i < allocator->settings.cluster_count; i++) {
        const struct config_cluster *cluster = allocator->settings.clusters[i];
        size_t lacks = cluster_lacks(allocator, cluster);
        /* One by one: two of three are better than none. */
        for (size_t k = 0; k < lacks && cluster_lacks(allocator, cluster); k++)
            allocator_allocate(allocator, fr_view_of(cluster->name), 1, FR_VIEW(""), NULL, NULL);
    }
}

static void
on_fill(void *ctx)
{
    clusters_fill(ctx);
}

void
allocator__fill_later(struct allocator *allocator)
{
    loop_timer_start(allocator->loop, &allocator->fill_timer, 0, on_fill, allocator);
}

void
allocator__fill_failed(struct allocator *allocator)
{
    if (allocator->closing || loop_timer_running(&allocator->fill_timer))
        return;
    for (size_t i = 0; i < allocator->settings.cluster_count; i++) {
        const struct config_cluster *cluster = allocator->settings.clusters[i];
        if (!cluster_lacks(allocator, cluster))
            continue;
        allocator__note(allocator, NULL,
                        "cluster %s is below its minimum of %u and no server can be had now",
                        cluster->name, cluster->scale.min);
        loop_timer_start(allocator->loop, &allocator->fill_timer, allocator->fill_retry_us, on_fill,
                         allocator);
        allocator->fill_retry_us *= 2;
        if (allocator->fill_retry_us > ALLOCATOR_FILL_RETRY_MAX_US)
            allocator->fill_retry_us = ALLOCATOR_FILL_RETRY_MAX_US;
        return;
    }
}
