/* SPDX-License-Identifier: Apache-2.0 */
/*
 * edge_purge.c - purges of the cache: asked for by the admin socket or the manager, counted, told.
 *
 * A purge is in force when cache_purge returns. What it took is known once the index is swept,
 * SWEEP_BUCKETS of it a millisecond, so that the control thread does its other work meanwhile; then
 * whoever asked gets the counts, and a report goes out at once: the manager sees how many requests
 * a second will soon be its members' instead of the cache's.
 *
 * Memory:   one struct a purge that waits; the cache bounds those.
 * Threads:  control loop. Workers purge by themselves (the PURGE method); edge_purge_poll notices.
 */
#include "edge/edge_priv.h"

#include "base/fr_thread.h"

#define SWEEP_BUCKETS 8192
#define SWEEP_BUCKETS_AT_ONCE 256

struct waiting {
    struct fr_list link; /* in edge.purges */
    uint64_t serial;
    edge_purged_fn fn;
    void *ctx;
};

int64_t
edge_cache_now_us(const struct edge *edge)
{
    return cache_clock_us(edge->cache, loop_wall_us(edge->loop), loop_now_us(edge->loop));
}

static void
answer_swept(struct edge *edge)
{
    FR_LIST_EACH_SAFE(&edge->purges, node) {
        struct waiting *waiting = FR_CONTAINER(node, struct waiting, link);
        struct cache_purged purged;
        if (!cache_purge_swept(edge->cache, waiting->serial, &purged))
            continue;
        fr_list_remove(&waiting->link);
        waiting->fn(waiting->ctx, &purged);
        fr_free(waiting);
    }
}

static void
announce(struct edge *edge)
{
    struct cache_purged total;
    cache_purge_total(edge->cache, &total);
    if (total.objects == edge->purged_objects)
        return;
    edge->purged_objects = total.objects;
    edge_report_soon(edge, false);
}

static void
on_sweep(void *ctx)
{
    struct edge *edge = ctx;
    int64_t now_us = edge_cache_now_us(edge);
    bool done = false;
    for (size_t i = 0; i < SWEEP_BUCKETS && !done; i += SWEEP_BUCKETS_AT_ONCE) {
        done = cache_purge_sweep(edge->cache, SWEEP_BUCKETS_AT_ONCE, now_us);
        fr_give_way();
    }
    answer_swept(edge);
    if (!done)
        loop_timer_start(edge->loop, &edge->purge_timer, FR_US_PER_MS, on_sweep, edge);
    else
        announce(edge);
}

enum fr_err
edge_purge(struct edge *edge, const struct cache_purge *purge, edge_purged_fn fn, void *ctx)
{
    static const char *const kinds[] = {
        [CACHE_PURGE_URL] = "url",
        [CACHE_PURGE_PREFIX] = "prefix",
        [CACHE_PURGE_TAG] = "tag",
        [CACHE_PURGE_ALL] = "all",
    };
    uint64_t serial = 0;
    if (edge->cache == NULL)
        return FR_ERR_STATE;
    enum fr_err err = cache_purge(edge->cache, purge, edge_cache_now_us(edge), &serial);
    if (err != FR_OK)
        return err;
    fr_log(FR_LOG_INFO, "edge", "cache purged", FR_S("by", kinds[purge->kind]),
           FR_V("what", purge->text), FR_S("how", purge->soft ? "soft" : "hard"));
    struct waiting *waiting = fr_xalloc(sizeof(*waiting));
    *waiting = (struct waiting){.serial = serial, .fn = fn, .ctx = ctx};
    fr_list_push_back(&edge->purges, &waiting->link);
    if (!loop_timer_running(&edge->purge_timer))
        loop_timer_start(edge->loop, &edge->purge_timer, 0, on_sweep, edge);
    return FR_OK;
}

bool
edge_purge_kind(struct fr_view text, enum cache_purge_kind *out)
{
    static const struct {
        const char *name;
        enum cache_purge_kind kind;
    } rows[] = {{"url", CACHE_PURGE_URL},
                {"prefix", CACHE_PURGE_PREFIX},
                {"tag", CACHE_PURGE_TAG},
                {"all", CACHE_PURGE_ALL}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (fr_view_is(text, rows[i].name)) {
            *out = rows[i].kind;
            return true;
        }
    }
    return false;
}

void
edge_purge_poll(struct edge *edge)
{
    if (edge->cache == NULL || loop_timer_running(&edge->purge_timer))
        return;
    struct cache_purged newest;
    if (cache_purge_swept(edge->cache, cache_purge_serial(edge->cache), &newest))
        announce(edge);
    else
        loop_timer_start(edge->loop, &edge->purge_timer, 0, on_sweep, edge);
}

void
edge_purge_stop(struct edge *edge)
{
    loop_timer_stop(&edge->purge_timer);
    FR_LIST_EACH_SAFE(&edge->purges, node) {
        struct waiting *waiting = FR_CONTAINER(node, struct waiting, link);
        fr_list_remove(&waiting->link);
        waiting->fn(waiting->ctx, NULL);
        fr_free(waiting);
    }
}
