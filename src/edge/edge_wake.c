/* SPDX-License-Identifier: Apache-2.0 */
/*
 * edge_wake.c - requests are parked because their cluster has no member: sees to it that somebody
 * allocates one.
 *
 * Who:      the manager, which is told at once by a report. Without one, or a second after the
 *           first request if there is no stream to it, the edge does what the manager would have
 *           done, if it is responsible for the cluster and decisions of the cluster are carried
 *           out without asking (scale.mode: auto).
 * When:     with the first parked request, and every WAKE_US while any is: the manager may go
 *           away meanwhile, an allocation may fail.
 * Threads:  control loop.
 */
#include "edge/edge_priv.h"

#include <math.h>

#define WAKE_US (250 * FR_US_PER_MS)
#define WAKE_REST_US (2 * FR_US_PER_S) /* after an allocation that failed */
#define WAKE_ALONE_US FR_US_PER_S      /* a manager that is configured may be on its way */

static uint64_t
parked_now(const struct edge_cluster *cluster)
{
    struct proxy_cluster_counters counters;
    proxy_read_cluster(cluster->edge->proxy, cluster->slot, &counters);
    return counters.parked_now;
}

/* Somebody is there, on the way, or still on the way out: what the pool has it will tell. */
static bool
has_server(const struct edge_cluster *cluster)
{
    struct allocator_server server;
    if (cluster->member_count > 0)
        return true;
    for (const void *at = NULL; allocator_server_next(cluster->edge->allocator, &at, &server);)
        if (strcmp(server.cluster, cluster->config->name) == 0 &&
            (server.state == CLUSTER_SERVER_STARTING || server.state == CLUSTER_SERVER_READY))
            return true;
    return false;
}

static bool
may_wake(const struct edge_cluster *cluster, int64_t now_us)
{
    const struct edge *edge = cluster->edge;
    const struct config_scale *scale = &cluster->config->scale;
    bool managed = edge->stream != NULL && (stream_session_is_open(edge->stream) ||
                                            now_us - cluster->parked_since_us < WAKE_ALONE_US);
    return !managed && scale->enabled && scale->from[0][0] != '\0' &&
           scale->mode == CONFIG_MODE_AUTO && (scale->relief & CONFIG_RELIEF_ALLOCATE) != 0 &&
           !cluster->waking && now_us >= cluster->wake_rest_until_us && !has_server(cluster);
}

struct waking { /* outlives the cluster it is for */
    struct edge *edge;
    char cluster[CONFIG_NAME_BYTES];
};

static void
on_allocated(void *ctx, const struct allocator_answer *answer)
{
    struct waking *waking = ctx;
    struct edge *edge = waking->edge;
    struct edge_cluster *cluster = edge_cluster_find(edge, fr_view_of(waking->cluster));
    if (answer->err != FR_OK && edge->started)
        fr_log(FR_LOG_WARN, "edge", "cluster not woken", FR_S("cluster", waking->cluster),
               FR_S("why", answer->why ? answer->why : fr_err_words(answer->err)));
    if (cluster != NULL) {
        cluster->waking = false;
        if (answer->err != FR_OK)
            cluster->wake_rest_until_us = loop_now_us(edge->loop) + WAKE_REST_US;
    }
    fr_free(waking);
}

static void
wake(struct edge_cluster *cluster)
{
    struct edge *edge = cluster->edge;
    struct waking *waking = fr_xalloc(sizeof(*waking));
    waking->edge = edge;
    (void)fr_view_copy(fr_view_of(cluster->config->name), waking->cluster,
                       sizeof(waking->cluster)); /* same size */
    fr_log(FR_LOG_WARN, "edge", "no manager: waking the cluster by myself",
           FR_S("cluster", cluster->config->name));
    cluster->waking = true;
    allocator_allocate(edge->allocator, fr_view_of(cluster->config->name), 1,
                       (struct fr_view){NULL, 0}, on_allocated, waking);
}

static void
on_wake(void *ctx)
{
    struct edge *edge = ctx;
    int64_t now_us = loop_now_us(edge->loop);
    bool any = false;
    size_t cursor = 0;
    void *value = NULL;
    while (fr_map_next(edge->clusters, &cursor, NULL, &value)) {
        struct edge_cluster *cluster = value;
        if (cluster->config->scale.min > 0 || parked_now(cluster) == 0) {
            cluster->parked_since_us = 0;
            continue;
        }
        any = true;
        if (cluster->parked_since_us == 0)
            cluster->parked_since_us = now_us;
        if (may_wake(cluster, now_us))
            wake(cluster);
    }
    if (any)
        loop_timer_start(edge->loop, &edge->wake_timer, WAKE_US, on_wake, edge);
}

void
edge_wake_demand(void *ctx, uint32_t cluster_slot)
{
    struct edge *edge = ctx;
    size_t cursor = 0;
    void *value = NULL;
    bool is_new = false;
    while (fr_map_next(edge->clusters, &cursor, NULL, &value)) {
        const struct edge_cluster *cluster = value;
        is_new |= cluster->slot == cluster_slot && cluster->parked_since_us == 0;
    }
    if (!is_new || !edge->started || edge->stopping)
        return;
    edge_report_soon(edge, true);
    on_wake(edge);
}
