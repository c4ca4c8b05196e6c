/* SPDX-License-Identifier: Apache-2.0 */
/*
 * edge_report.c - turns what was measured into a report: at every interval, and at once when a
 * level was crossed or a server changed its state. Where hundreds of servers come and go in a
 * second, the changes of EDGE_REPORT_US share a report.
 *
 * Memory:   one arena a report.
 * Threads:  control loop.
 */
#include "edge/edge_priv.h"

#include "base/fr_arena.h"
#include "base/fr_file.h"
#include "base/fr_thread.h"

#include <math.h>
#include <unistd.h>

#define REPORT_BYTES_MAX ((size_t)16 << 20)

struct report {
    struct edge *edge;
    struct fr_arena arena;
    struct wire_report wire;
    bool crossing;
    struct allocator_server *moving; /* those of the allocator that no member stands for */
    size_t moving_count;
};

static uint64_t
resident_bytes(void)
{
    struct fr_buf text;
    uint64_t pages = 0;
    fr_buf_init(&text, 256);
    if (fr_file_read("/proc/self/statm", &text, NULL) == FR_OK) {
        struct fr_view rest = fr_buf_view(&text), word;
        if (fr_view_split(&rest, ' ', &word) && fr_view_split(&rest, ' ', &word))
            (void)fr_view_u64(word, &pages); /* 0 when the kernel speaks otherwise */
    }
    fr_buf_fini(&text);
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void
fill_counters(struct edge *edge, struct wire_server *self)
{
    struct proxy_counters sum;
    proxy_sum_counters(edge->proxy, &sum);
    self->requests = sum.requests;
    self->errors = sum.errors;
    self->in_flight = sum.requests_active;
    self->connections = sum.connections_open;
    self->bytes_in = sum.bytes_in;
    self->bytes_out = sum.bytes_out;
    self->cache_hits = sum.cache_hits; /* those answered stale among them */
    self->cache_misses = sum.cache_misses;
    self->cache_revalidations = sum.cache_validated;
    self->origin_requests = sum.requests_forwarded;
    if (edge->cache != NULL) {
        struct cache_counters cache;
        cache_store_counters(edge->cache, &cache);
        self->cache_bytes = cache.bytes;
    }
}

static void
fill_self(struct report *report)
{
    struct edge *edge = report->edge;
    struct wire_server *self = &report->wire.self;
    *self = wire_server_none();
    report->wire.has_self = true;
    self->id = fr_view_of(edge->config->id);
    self->role = fr_view_of(wire_role_name(edge->role));
    self->utilization = edge->self_utilization;
    self->cpu = edge->process_cpu_share;
    self->memory_bytes = resident_bytes();
    self->relief = edge->relief_step;
    if (edge->proxy == NULL)
        return;
    fill_counters(edge, self);
    report->wire.workers =
        fr_arena_alloc(&report->arena, edge->worker_count * sizeof(*report->wire.workers));
    if (report->wire.workers == NULL)
        return;
    report->wire.worker_count = edge->worker_count;
    for (uint32_t i = 0; i < edge->worker_count; i++)
        report->wire.workers[i] =
            (struct wire_worker){.index = i, .cpu = edge->worker_cpu_share[i]};
}

/* Latency since the last regular report; a crossing does not begin a new interval. */
static void
fill_latency(struct report *report, struct edge_member *member, struct wire_server *out)
{
    struct fr_hist now, since;
    cluster_member_latency(member->shared, &now);
    if (!member->last_latency && fr_hist_count(&now) == 0)
        return; /* of thousands of members most are silent: nothing is kept for them */
    if (!member->last_latency)
        member->last_latency = fr_xalloc(sizeof(*member->last_latency));
    fr_hist_since(&since, &now, member->last_latency);
    if (fr_hist_count(&since) > 0) {
        out->p50_ms = (double)fr_hist_quantile_us(&since, 0.50) / 1000;
        out->p90_ms = (double)fr_hist_quantile_us(&since, 0.90) / 1000;
        out->p99_ms = (double)fr_hist_quantile_us(&since, 0.99) / 1000;
    }
    if (!report->crossing)
        *member->last_latency = now;
}

#define SESSION_US (3600 * FR_US_PER_S) /* of a cookie that ends with its browser, as a guess */

/* A cookie says nobody when its session ended. One that goes on is renewed in its second half, so
 * that a session is counted about once in half the time it may rest; what is older fades. */
static void
fill_sessions(struct edge_member *member, uint64_t given, int64_t now_us, struct wire_server *out)
{
    const struct config_sticky *sticky = member->cluster ? &member->cluster->config->sticky : NULL;
    if (!sticky || !sticky->cookie)
        return;
    double life_us = sticky->for_us ? (double)sticky->for_us / 2 : (double)SESSION_US;
    if (member->sessions_at_us != 0)
        member->sessions *= exp(-(double)(now_us - member->sessions_at_us) / life_us);
    member->sessions += (double)(given - member->last_sessions_given);
    member->sessions_at_us = now_us;
    member->last_sessions_given = given;
    out->sessions = (uint64_t)(member->sessions + 0.5);
}

static void
fill_member(struct report *report, struct edge_member *member, struct wire_server *out)
{
    struct edge *edge = report->edge;
    struct cluster_member_stats sum;
    *out = wire_server_none();
    out->id = fr_view_of(member->shared->id);
    out->address = fr_view_of(member->shared->address);
    out->pool = fr_view_of(member->shared->pool);
    out->state = fr_view_of(edge_member_state(member));
    out->weight = member->weight;
    out->weight_normal = member->weight_normal;
    if (edge->proxy == NULL)
        return; /* no traffic of ours: others measure it */
    cluster_member_sum(member->shared, loop_now_us(edge->loop), &sum);
    out->utilization = edge_member_utilization(member);
    out->requests = sum.requests;
    out->errors = sum.errors;
    out->connect_failures = sum.connect_failures;
    out->in_flight = sum.in_flight;
    out->connections = sum.connections;
    out->bytes_in = sum.bytes_in;
    out->bytes_out = sum.bytes_out;
    fill_latency(report, member, out);
    fill_sessions(member, sum.sessions_given, loop_now_us(edge->loop), out);
}

static bool
shown_as_leaving(struct edge *edge, const char *id)
{
    FR_LIST_EACH(&edge->leaving, node)
        if (strcmp(FR_CONTAINER(node, struct edge_member, link)->shared->id, id) == 0)
            return true;
    return false;
}

static bool
is_responsible(const struct edge *edge, const struct edge_cluster *cluster)
{
    return cluster->config->scale.enabled || edge->role == WIRE_ROLE_ALLOCATOR;
}

/* Looked for once, not once a cluster: there may be thousands of both. */
static bool
find_moving(struct report *report)
{
    struct edge *edge = report->edge;
    struct allocator_server server;
    size_t count = 0;
    for (const void *at = NULL; allocator_server_next(edge->allocator, &at, &server);)
        count += server.state != CLUSTER_SERVER_READY;
    report->moving = fr_arena_alloc(&report->arena, (count + 1) * sizeof(*report->moving));
    if (report->moving == NULL)
        return false;
    for (const void *at = NULL; allocator_server_next(edge->allocator, &at, &server);)
        if (server.state != CLUSTER_SERVER_READY && !shown_as_leaving(edge, server.id))
            report->moving[report->moving_count++] = server;
    return true;
}

static void
fill_moving(const struct allocator_server *server, struct wire_server *out)
{
    bool coming = server->state == CLUSTER_SERVER_STARTING;
    *out = wire_server_none();
    out->id = fr_view_of(server->id);
    out->address = fr_view_of(server->address);
    out->pool = fr_view_of(server->pool);
    out->state = coming ? FR_VIEW("starting") : FR_VIEW("draining");
    out->weight = server->weight;
    out->weight_normal = server->weight_normal;
}

/* Members, then those on their way in or out. */
static size_t
fill_servers(struct report *report, struct edge_cluster *cluster, struct wire_server *out)
{
    struct edge *edge = report->edge;
    const char *name = cluster->config->name;
    size_t count = 0;
    FR_LIST_EACH(&cluster->members, node)
        fill_member(report, FR_CONTAINER(node, struct edge_member, link), &out[count++]);
    FR_LIST_EACH(&edge->leaving, node) {
        struct edge_member *member = FR_CONTAINER(node, struct edge_member, link);
        if (strcmp(member->cluster_name, name) == 0)
            fill_member(report, member, &out[count++]);
    }
    for (size_t i = 0; i < report->moving_count; i++)
        if (strcmp(report->moving[i].cluster, name) == 0)
            fill_moving(&report->moving[i], &out[count++]);
    return count;
}

static size_t
servers_of(const struct report *report, const struct edge_cluster *cluster)
{
    const char *name = cluster->config->name;
    size_t count = cluster->member_count;
    FR_LIST_EACH(&report->edge->leaving, node)
        count += strcmp(FR_CONTAINER(node, struct edge_member, link)->cluster_name, name) == 0;
    for (size_t i = 0; i < report->moving_count; i++)
        count += strcmp(report->moving[i].cluster, name) == 0;
    return count;
}

/* What purges took since the last report: its members are about to be asked for it. */
static void
fill_purged(struct edge_cluster *cluster, struct wire_cluster *out)
{
    struct cache_purged now;
    cache_purge_owner(cluster->edge->cache, cluster->slot, &now);
    out->purged = now.objects - cluster->purged_before.objects;
    out->purged_rate = now.requests_per_s - cluster->purged_before.requests_per_s;
    if (!(out->purged_rate > 0))
        out->purged_rate = 0; /* what adding and taking away left */
    cluster->purged_before = now;
}

static bool
fill_cluster(struct report *report, struct edge_cluster *cluster, struct wire_cluster *out)
{
    struct edge *edge = report->edge;
    *out = (struct wire_cluster){.name = fr_view_of(cluster->config->name)};
    out->responsible = is_responsible(edge, cluster);
    out->generation = edge->generation;
    if (edge->proxy != NULL) {
        struct proxy_cluster_counters counters;
        proxy_read_cluster(edge->proxy, cluster->slot, &counters);
        out->requests = counters.requests - cluster->before.requests;
        out->waiting = counters.queued_now + counters.parked_now;
        out->rung = fr_view_of(edge_ladder_rung(cluster));
        out->stale = counters.ladder_stale - cluster->before.ladder_stale;
        out->refreshes = counters.ladder_refreshes - cluster->before.ladder_refreshes;
        out->goal_us = (uint64_t)cluster->goal_us;
        out->timed = counters.timed - cluster->before.timed;
        out->late = counters.late - cluster->before.late;
    }
    if (edge->cache != NULL)
        fill_purged(cluster, out);
    out->servers =
        fr_arena_alloc(&report->arena, (servers_of(report, cluster) + 1) * sizeof(*out->servers));
    if (out->servers == NULL)
        return false;
    out->server_count = fill_servers(report, cluster, out->servers);
    return true;
}

static bool
fill_clusters(struct report *report)
{
    struct edge *edge = report->edge;
    size_t cursor = 0;
    void *value = NULL;
    report->wire.clusters = fr_arena_alloc(&report->arena, (fr_map_count(edge->clusters) + 1) *
                                                               sizeof(struct wire_cluster));
    if (report->wire.clusters == NULL)
        return false;
    while (fr_map_next(edge->clusters, &cursor, NULL, &value)) {
        if (!fill_cluster(report, value, &report->wire.clusters[report->wire.cluster_count++]))
            return false;
        fr_give_way();
    }
    return true;
}

static bool
fill_pools(struct report *report)
{
    struct allocator *allocator = report->edge->allocator;
    size_t count = allocator_pool_count(allocator);
    report->wire.pools = fr_arena_alloc(&report->arena, (count + 1) * sizeof(*report->wire.pools));
    if (report->wire.pools == NULL)
        return false;
    struct allocator_pool pool;
    for (const void *at = NULL; allocator_pool_next(allocator, &at, &pool);)
        report->wire.pools[report->wire.pool_count++] = (struct wire_pool){
            .name = fr_view_of(pool.name),
            .available = pool.available,
            .allocated = pool.allocated,
            .cost = pool.cost ? pool.cost : WIRE_NONE,
        };
    return true;
}

static void
send_report(struct edge *edge, bool crossing)
{
    if (edge->stream == NULL || !stream_session_is_open(edge->stream))
        return;
    struct report report = {.edge = edge, .crossing = crossing};
    fr_arena_init(&report.arena, 16384, REPORT_BYTES_MAX);
    report.wire.seq = ++edge->report_seq;
    report.wire.at_us = loop_wall_us(edge->loop);
    report.wire.crossing = crossing;
    report.wire.full = true;
    fill_self(&report);
    enum fr_err err = FR_ERR_NOMEM;
    if (find_moving(&report) && fill_clusters(&report) && fill_pools(&report))
        err = stream_session_send_report(edge->stream, &report.wire);
    if (err != FR_OK)
        fr_log(FR_LOG_WARN, "edge", "report not sent, the next one says it all",
               FR_S("error", err == FR_ERR_RANGE
                                 ? "it is larger than stream.stanza-max, which may be raised here "
                                   "and at the manager"
                                 : fr_err_words(err)));
    fr_arena_fini(&report.arena);
}

static void
on_report_task(void *ctx)
{
    struct edge *edge = ctx;
    bool crossing = edge->report_crossing;
    int64_t now_us = loop_now_us(edge->loop);
    int64_t wait_us =
        fr_pace_wait_us(&edge->report_pace, now_us, EDGE_REPORT_US, EDGE_REPORT_BURST);
    if (wait_us > 0) {
        loop_timer_start(edge->loop, &edge->report_pace_timer, wait_us, on_report_task, edge);
        return;
    }
    loop_timer_stop(&edge->report_pace_timer);
    fr_pace_take(&edge->report_pace, now_us, EDGE_REPORT_US);
    edge->report_crossing = false;
    send_report(edge, crossing);
}

void
edge_report_soon(struct edge *edge, bool crossing)
{
    if (!edge->started)
        return;
    edge->report_crossing |= crossing;
    loop_defer(edge->loop, &edge->report_task, on_report_task, edge);
}

static void
on_interval(void *ctx)
{
    struct edge *edge = ctx;
    edge_measure_self(edge);
    send_report(edge, false);
    loop_timer_start(edge->loop, &edge->report_timer, edge->config->stream.report_interval_us,
                     on_interval, edge);
}

/* The first one at once: the manager has just met us. */
void
edge_report_start(struct edge *edge)
{
    loop_timer_start(edge->loop, &edge->report_timer, 0, on_interval, edge);
}
