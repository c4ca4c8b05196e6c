/* SPDX-License-Identifier: Apache-2.0 */
/*
 * edge_metrics.c - GET /metrics: the counters in Prometheus' text exposition format.
 *
 * Names:    freshet_ + what + unit; _total for what only grows.
 * Threads:  control loop; reads the workers' counters.
 */
#include "edge/edge_access.h"
#include "edge/edge_priv.h"

#include <math.h>

struct metrics {
    struct fr_buf *out;
    enum fr_err err; /* the first one; afterwards nothing is written */
};

__attribute__((format(printf, 2, 3))) static void
put(struct metrics *metrics, const char *format, ...)
{
    va_list args;
    if (metrics->err != FR_OK)
        return;
    va_start(args, format);
    metrics->err = fr_buf_vprintf(metrics->out, format, args);
    va_end(args);
}

static bool
is_now(const char *help)
{
    size_t len = strlen(help);
    return len > 4 && strcmp(help + len - 4, " now") == 0;
}

static void
put_worker_counters(struct metrics *metrics, struct edge *edge)
{
    struct proxy_counters *all = fr_xalloc(edge->worker_count * sizeof(*all) + FR_CACHE_LINE);
    for (uint32_t i = 0; i < edge->worker_count; i++)
        proxy_read_counters(edge->proxy, i, &all[i]);
#define PROXY_COUNTER_ROW(name, help)                                                              \
    put(metrics, "# HELP freshet_%s%s %s\n# TYPE freshet_%s%s %s\n", #name,                        \
        is_now(help) ? "" : "_total", help, #name, is_now(help) ? "" : "_total",                   \
        is_now(help) ? "gauge" : "counter");                                                       \
    for (uint32_t i = 0; i < edge->worker_count; i++)                                              \
        put(metrics, "freshet_%s%s{worker=\"%u\"} %llu\n", #name, is_now(help) ? "" : "_total", i, \
            (unsigned long long)all[i].name);
#include "proxy/proxy_counters.def"
#undef PROXY_COUNTER_ROW
    fr_free(all);
    put(metrics, "# HELP freshet_worker_cpu_ratio Share of a core a worker used since the last "
                 "report\n# TYPE freshet_worker_cpu_ratio gauge\n");
    for (uint32_t i = 0; i < edge->worker_count; i++)
        put(metrics, "freshet_worker_cpu_ratio{worker=\"%u\"} %.4f\n", i,
            edge->worker_cpu_share[i]);
}

/* Backslash, quote and line end are what a label's value escapes. */
static void
put_label(struct metrics *metrics, const char *text)
{
    for (; *text; text++) {
        if (*text == '\n')
            put(metrics, "\\n");
        else
            put(metrics, "%s%c", *text == '"' || *text == '\\' ? "\\" : "", *text);
    }
}

static void
put_certificates(struct metrics *metrics, const struct edge *edge)
{
    put(metrics, "# HELP freshet_certificate_end_seconds When a listener's certificate ends, in "
                 "seconds since 1970\n# TYPE freshet_certificate_end_seconds gauge\n");
    for (size_t i = 0; i < edge->listener_count; i++) {
        const struct tls_server *server = edge->listeners[i].manner.tls;
        char address[LOOP_ADDR_TEXT_BYTES];
        loop_addr_format(&edge->listeners[i].bound, address);
        for (size_t k = 0; server && k < tls_server_certificate_count(server); k++) {
            put(metrics, "freshet_certificate_end_seconds{listener=\"%s\",file=\"", address);
            put_label(metrics, tls_server_certificate_name(server, k));
            put(metrics, "\"} %lld\n", (long long)tls_server_certificate_ends_s(server, k));
        }
    }
    put(metrics,
        "# HELP freshet_certificate_reloads_total Times that changed certificates were taken\n"
        "# TYPE freshet_certificate_reloads_total counter\n"
        "freshet_certificate_reloads_total %llu\n"
        "# HELP freshet_certificate_reloads_failed_total Times that they were refused\n"
        "# TYPE freshet_certificate_reloads_failed_total counter\n"
        "freshet_certificate_reloads_failed_total %llu\n",
        (unsigned long long)edge->tls.reloads, (unsigned long long)edge->tls.reloads_failed);
}

struct metric_row {
    const char *name, *type, *help;
    uint64_t value;
};

static void
put_rows(struct metrics *metrics, const struct metric_row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++)
        put(metrics, "# HELP freshet_%s %s\n# TYPE freshet_%s %s\nfreshet_%s %llu\n", rows[i].name,
            rows[i].help, rows[i].name, rows[i].type, rows[i].name,
            (unsigned long long)rows[i].value);
}

static void
put_disk(struct metrics *metrics, const struct edge *edge)
{
    struct cache_disk_counters disk = {0};
    if (edge->disk != NULL)
        cache_disk_read_counters(disk_cache(edge->disk), &disk);
    const struct metric_row rows[] = {
        {"cache_disk_ready", "gauge", "1: what the disk held at the start is known", disk.ready},
        {"cache_disk_entries", "gauge", "Responses the cache finds on disk", disk.entries},
        {"cache_disk_bytes", "gauge", "Of the disk, taken by them", disk.bytes},
        {"cache_disk_queued", "gauge", "Responses that wait to be written", disk.queued},
        {"cache_disk_hits_total", "counter", "Responses taken from disk into memory", disk.hits},
        {"cache_disk_misses_total", "counter", "Look-ups that memory and disk had nothing for",
         disk.misses},
        {"cache_disk_written_total", "counter", "Responses written", disk.written},
        {"cache_disk_heads_total", "counter", "... of them heads alone, of bodies there already",
         disk.heads},
        {"cache_disk_written_bytes_total", "counter", "Bytes of them", disk.written_bytes},
        {"cache_disk_kept_total", "counter", "Responses written again, as they are asked for",
         disk.kept},
        {"cache_disk_dropped_total", "counter", "Responses not written: the writer was behind",
         disk.dropped},
        {"cache_disk_refused_total", "counter", "Responses not written: too large, or index full",
         disk.refused},
        {"cache_disk_purged_total", "counter", "Responses found on disk that were purged",
         disk.purged},
        {"cache_disk_no_room_total", "counter", "Responses found on disk: memory had no room",
         disk.no_room},
        {"cache_disk_late_total", "counter", "Responses found on disk that did not come in time",
         disk.late},
        {"cache_disk_streamed_total", "counter", "Bodies sent from disk, piece by piece",
         disk.streamed},
        {"cache_disk_cut_total", "counter", "... of which a piece was wanting after the first byte",
         disk.cut},
        {"cache_disk_bad_total", "counter", "Responses found on disk whose check failed", disk.bad},
        {"cache_disk_errors_total", "counter", "Reads and writes that the system refused",
         disk.errors},
    };
    put_rows(metrics, rows, sizeof(rows) / sizeof(rows[0]));
}

static void
put_cache(struct metrics *metrics, const struct edge *edge)
{
    struct cache_counters cache;
    if (edge->cache == NULL)
        return;
    cache_store_counters(edge->cache, &cache);
    const struct metric_row rows[] = {
        {"cache_bytes", "gauge", "Memory the cache holds", cache.bytes},
        {"cache_index_bytes", "gauge", "Of it: tables", cache.index_bytes},
        {"cache_head_bytes", "gauge", "Of it: heads, keys and what is known of responses",
         cache.head_bytes},
        {"cache_body_bytes", "gauge", "Of it: bodies", cache.body_bytes},
        {"cache_slack_bytes", "gauge", "Of it: lost to rounding", cache.slack_bytes},
        {"cache_metadata_bytes", "gauge",
         "Of it: what responses take besides their keys, heads and bodies", cache.metadata_bytes},
        {"cache_free_bytes", "gauge", "Memory the cache has left", cache.free_bytes},
        {"cache_waiting", "gauge", "Responses evicted while workers may read them", cache.waiting},
        {"cache_entries", "gauge", "Responses the cache holds", cache.entries},
        {"cache_stored_total", "counter", "Responses stored", cache.stored},
        {"cache_evicted_total", "counter", "Responses evicted to make room", cache.evicted},
        {"cache_refused_full_total", "counter", "Responses not stored: no room",
         cache.refused_full},
        {"cache_refused_large_total", "counter", "Responses not stored: too large",
         cache.refused_large},
        {"cache_refused_tags_total", "counter", "Responses not stored: too many tags",
         cache.refused_tags},
        {"cache_refused_once_total", "counter",
         "Responses not stored: large, while memory is short, and asked for once",
         cache.refused_once},
        {"cache_refused_purged_total", "counter",
         "Responses not stored: purged while they were on their way", cache.refused_purged},
    };
    put_rows(metrics, rows, sizeof(rows) / sizeof(rows[0]));
    put_disk(metrics, edge);
}

static void
put_access_log(struct metrics *metrics, const struct edge *edge)
{
    struct edge_sink_counters sink = {0};
    if (edge->access_sink != NULL)
        edge_sink_read(edge->access_sink, &sink);
    put(metrics,
        "# HELP freshet_access_log_lines_total Lines written since the log was configured\n"
        "# TYPE freshet_access_log_lines_total counter\nfreshet_access_log_lines_total %llu\n"
        "# HELP freshet_access_log_lost_total Lines that the disk or the log daemon refused\n"
        "# TYPE freshet_access_log_lost_total counter\nfreshet_access_log_lost_total %llu\n"
        "# HELP freshet_access_log_errors_total Times it refused\n"
        "# TYPE freshet_access_log_errors_total counter\nfreshet_access_log_errors_total %llu\n",
        (unsigned long long)sink.lines, (unsigned long long)sink.lost,
        (unsigned long long)sink.errors);
}

typedef double (*member_value_fn)(const struct edge_member *member,
                                  const struct cluster_member_stats *sum);

#define MEMBER_COUNTER(field)                                                                      \
    static double value_##field(const struct edge_member *member,                                  \
                                const struct cluster_member_stats *sum)                            \
    {                                                                                              \
        (void)member;                                                                              \
        return (double)sum->field;                                                                 \
    }
MEMBER_COUNTER(in_flight)
MEMBER_COUNTER(connections)
MEMBER_COUNTER(requests)
MEMBER_COUNTER(errors)
MEMBER_COUNTER(connect_failures)
MEMBER_COUNTER(retries)
MEMBER_COUNTER(ejections)
MEMBER_COUNTER(bytes_in)
MEMBER_COUNTER(bytes_out)

static double
value_utilization(const struct edge_member *member, const struct cluster_member_stats *sum)
{
    (void)sum;
    return edge_member_utilization(member);
}

static double
value_weight(const struct edge_member *member, const struct cluster_member_stats *sum)
{
    (void)sum;
    return member->weight;
}

static double
value_healthy(const struct edge_member *member, const struct cluster_member_stats *sum)
{
    (void)sum;
    return member->healthy;
}

static const struct {
    const char *name, *type, *help;
    member_value_fn value;
} member_rows[] = {
    {"utilization_ratio", "gauge", "0..1: how much of what it can do it is doing",
     value_utilization},
    {"in_flight", "gauge", "Requests under way", value_in_flight},
    {"connections", "gauge", "Connections open, idle ones included", value_connections},
    {"weight", "gauge", "Weight in force", value_weight},
    {"healthy", "gauge", "1 while its checks pass", value_healthy},
    {"requests_total", "counter", "Requests finished", value_requests},
    {"errors_total", "counter", "Failed requests", value_errors},
    {"connect_failures_total", "counter", "Connections that failed", value_connect_failures},
    {"retries_total", "counter", "Requests taken to another member", value_retries},
    {"ejections_total", "counter", "Times it was taken out of the choice", value_ejections},
    {"received_bytes_total", "counter", "Bytes from it", value_bytes_in},
    {"sent_bytes_total", "counter", "Bytes to it", value_bytes_out},
};

static void
put_members(struct metrics *metrics, struct edge *edge)
{
    int64_t now_us = loop_now_us(edge->loop);
    for (size_t row = 0; row < sizeof(member_rows) / sizeof(member_rows[0]); row++) {
        size_t cursor = 0;
        void *value = NULL;
        put(metrics, "# HELP freshet_member_%s %s\n# TYPE freshet_member_%s %s\n",
            member_rows[row].name, member_rows[row].help, member_rows[row].name,
            member_rows[row].type);
        while (fr_map_next(edge->clusters, &cursor, NULL, &value)) {
            struct edge_cluster *cluster = value;
            FR_LIST_EACH(&cluster->members, node) {
                struct edge_member *member = FR_CONTAINER(node, struct edge_member, link);
                struct cluster_member_stats sum;
                cluster_member_sum(member->shared, now_us, &sum);
                double number = member_rows[row].value(member, &sum);
                if (!isnan(number))
                    put(metrics, "freshet_member_%s{cluster=\"%s\",member=\"%s\"} %.17g\n",
                        member_rows[row].name, member->cluster_name, member->shared->id, number);
            }
        }
    }
}

static void
put_latency(struct metrics *metrics, struct edge *edge)
{
    static const double quantiles[] = {0.5, 0.9, 0.99};
    size_t cursor = 0;
    void *value = NULL;
    put(metrics, "# HELP freshet_member_latency_seconds Request sent to last response byte, since "
                 "the member joined\n# TYPE freshet_member_latency_seconds summary\n");
    while (fr_map_next(edge->clusters, &cursor, NULL, &value)) {
        struct edge_cluster *cluster = value;
        FR_LIST_EACH(&cluster->members, node) {
            struct edge_member *member = FR_CONTAINER(node, struct edge_member, link);
            struct fr_hist hist;
            cluster_member_latency(member->shared, &hist);
            for (size_t i = 0; i < 3 && fr_hist_count(&hist) > 0; i++)
                put(metrics,
                    "freshet_member_latency_seconds{cluster=\"%s\",member=\"%s\",quantile=\"%g\"} "
                    "%.6f\n",
                    member->cluster_name, member->shared->id, quantiles[i],
                    (double)fr_hist_quantile_us(&hist, quantiles[i]) / 1e6);
            put(metrics,
                "freshet_member_latency_seconds_count{cluster=\"%s\",member=\"%s\"} %llu\n",
                member->cluster_name, member->shared->id, (unsigned long long)fr_hist_count(&hist));
        }
    }
}

static void
put_access(struct metrics *metrics, struct edge *edge)
{
    struct stream_counters stream = {0};
    struct admin_counters admin = {0};
    if (edge->stream != NULL)
        stream_session_read_counters(edge->stream, &stream);
    if (edge->admin != NULL)
        admin_read_counters(edge->admin, &admin);
    put(metrics,
        "# HELP freshet_reconfigures_refused_total Requests of the manager that were refused\n"
        "# TYPE freshet_reconfigures_refused_total counter\n"
        "freshet_reconfigures_refused_total %llu\n"
        "# HELP freshet_reconfigures_stale_total Of those, of an older epoch, or older than those "
        "remembered\n"
        "# TYPE freshet_reconfigures_stale_total counter\n"
        "freshet_reconfigures_stale_total %llu\n"
        "# HELP freshet_managers_refused_total Streams of a manager that a newer one replaced\n"
        "# TYPE freshet_managers_refused_total counter\nfreshet_managers_refused_total %llu\n",
        (unsigned long long)edge->requests_refused, (unsigned long long)edge->requests_stale,
        (unsigned long long)edge->managers_refused);
    put(metrics,
        "# HELP freshet_stream_refusals_total Streams that the manager ended with an error\n"
        "# TYPE freshet_stream_refusals_total counter\nfreshet_stream_refusals_total %llu\n"
        "# HELP freshet_stream_tls_failures_total Streams that TLS ended, certificates refused by "
        "either end\n"
        "# TYPE freshet_stream_tls_failures_total counter\nfreshet_stream_tls_failures_total %llu\n"
        "# HELP freshet_admin_handshakes_failed_total TLS handshakes of the admin listener that "
        "failed\n"
        "# TYPE freshet_admin_handshakes_failed_total counter\n"
        "freshet_admin_handshakes_failed_total %llu\n"
        "# HELP freshet_admin_unauthorized_total Admin requests without a good certificate or "
        "token\n"
        "# TYPE freshet_admin_unauthorized_total counter\nfreshet_admin_unauthorized_total %llu\n"
        "# HELP freshet_admin_forbidden_total Admin requests beyond the role of who sent them\n"
        "# TYPE freshet_admin_forbidden_total counter\nfreshet_admin_forbidden_total %llu\n",
        (unsigned long long)stream.refusals, (unsigned long long)stream.tls_failures,
        (unsigned long long)admin.handshakes_failed, (unsigned long long)admin.unauthorized,
        (unsigned long long)admin.forbidden);
    struct acme_counters acme = {0};
    if (edge->tls.acme != NULL)
        acme_read_counters(edge->tls.acme, &acme);
    put(metrics,
        "# HELP freshet_acme_certified_total Certificates fetched\n"
        "# TYPE freshet_acme_certified_total counter\nfreshet_acme_certified_total %llu\n"
        "# HELP freshet_acme_failed_total Orders that failed\n"
        "# TYPE freshet_acme_failed_total counter\nfreshet_acme_failed_total %llu\n",
        (unsigned long long)acme.certified, (unsigned long long)acme.failed);
    put(metrics,
        "# HELP freshet_control_certificate_end_seconds When a certificate of the stream or "
        "the admin listener ends, since 1970\n"
        "# TYPE freshet_control_certificate_end_seconds gauge\n");
    if (edge->identity.ends_s != 0)
        put(metrics, "freshet_control_certificate_end_seconds{of=\"stream\"} %lld\n",
            (long long)edge->identity.ends_s);
    if (edge->admin_identity.ends_s != 0)
        put(metrics, "freshet_control_certificate_end_seconds{of=\"admin\"} %lld\n",
            (long long)edge->admin_identity.ends_s);
}

static void
put_control(struct metrics *metrics, struct edge *edge)
{
    put(metrics,
        "# HELP freshet_build_info Version\n# TYPE freshet_build_info gauge\n"
        "freshet_build_info{version=\"%s\",role=\"%s\"} 1\n"
        "# HELP freshet_cpu_ratio Cores used by the process since the last report\n"
        "# TYPE freshet_cpu_ratio gauge\nfreshet_cpu_ratio %.4f\n"
        "# HELP freshet_relief_step Relief step in force, 0 = none\n"
        "# TYPE freshet_relief_step gauge\nfreshet_relief_step %u\n"
        "# HELP freshet_generation Snapshots published\n"
        "# TYPE freshet_generation gauge\nfreshet_generation %llu\n"
        "# HELP freshet_manager_connected 1 while a stream to the manager is open\n"
        "# TYPE freshet_manager_connected gauge\nfreshet_manager_connected %d\n",
        FRESHET_VERSION, wire_role_name(edge->role), edge->process_cpu_share, edge->relief_step,
        (unsigned long long)edge->generation,
        edge->stream != NULL && stream_session_is_open(edge->stream));
    put(metrics,
        "# HELP freshet_allocations_total Servers of pools that joined a cluster\n"
        "# TYPE freshet_allocations_total counter\nfreshet_allocations_total %llu\n"
        "# HELP freshet_deallocations_total Servers of pools that left a cluster\n"
        "# TYPE freshet_deallocations_total counter\nfreshet_deallocations_total %llu\n",
        (unsigned long long)edge->allocations, (unsigned long long)edge->deallocations);
    put(metrics,
        "# HELP freshet_name_lookups_total Names of members looked up\n"
        "# TYPE freshet_name_lookups_total counter\nfreshet_name_lookups_total %llu\n"
        "# HELP freshet_name_failures_total Look-ups without an answer, or without an address\n"
        "# TYPE freshet_name_failures_total counter\nfreshet_name_failures_total %llu\n"
        "# HELP freshet_name_changes_total Look-ups that changed a name's addresses\n"
        "# TYPE freshet_name_changes_total counter\nfreshet_name_changes_total %llu\n",
        (unsigned long long)edge->name_lookups, (unsigned long long)edge->name_failures,
        (unsigned long long)edge->name_changes);
    struct allocator_pool pool;
    put(metrics, "# HELP freshet_pool_available Servers that can be allocated\n"
                 "# TYPE freshet_pool_available gauge\n");
    for (const void *at = NULL; allocator_pool_next(edge->allocator, &at, &pool);)
        put(metrics, "freshet_pool_available{pool=\"%s\"} %llu\n", pool.name,
            (unsigned long long)pool.available);
    put(metrics, "# HELP freshet_pool_allocated Servers in clusters\n"
                 "# TYPE freshet_pool_allocated gauge\n");
    for (const void *at = NULL; allocator_pool_next(edge->allocator, &at, &pool);)
        put(metrics, "freshet_pool_allocated{pool=\"%s\"} %llu\n", pool.name,
            (unsigned long long)pool.allocated);
}

/* Of one number of each cluster. */
static void
put_ladder_and_goal(struct metrics *metrics, struct edge *edge)
{
    static const struct {
        const char *name, *type, *help;
    } rows[] = {
        {"ladder_rungs", "gauge",
         "Rungs of the ladder in force: 1 weight, 2 stale, 4 queue, 8 shed"},
        {"ladder_climbs_total", "counter", "Rungs of the ladder climbed"},
        {"ladder_descents_total", "counter", "Rungs of the ladder left"},
        {"ladder_stale_total", "counter", "Requests answered stale by rung stale"},
        {"ladder_refreshes_total", "counter", "Stale responses fetched anew while it was in force"},
        {"ladder_refreshes_held_total", "counter",
         "Stale responses not fetched anew: ladder.refreshes were under way"},
        {"slo_requests_total", "counter", "Requests timed against scale.slo.latency"},
        {"slo_late_total", "counter", "Of those: slower than it"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        size_t cursor = 0;
        void *value = NULL;
        put(metrics, "# HELP freshet_%s %s\n# TYPE freshet_%s %s\n", rows[i].name, rows[i].help,
            rows[i].name, rows[i].type);
        while (fr_map_next(edge->clusters, &cursor, NULL, &value)) {
            const struct edge_cluster *cluster = value;
            const struct proxy_cluster_counters *before = &cluster->before;
            struct proxy_cluster_counters counters;
            proxy_read_cluster(edge->proxy, cluster->slot, &counters);
            const uint64_t numbers[] = {
                cluster->ladder.rungs,
                cluster->ladder_climbs,
                cluster->ladder_descents,
                counters.ladder_stale - before->ladder_stale,
                counters.ladder_refreshes - before->ladder_refreshes,
                counters.ladder_refreshes_held - before->ladder_refreshes_held,
                counters.timed - before->timed,
                counters.late - before->late,
            };
            put(metrics, "freshet_%s{cluster=\"%s\"} %llu\n", rows[i].name, cluster->config->name,
                (unsigned long long)numbers[i]);
        }
    }
}

enum fr_err
edge_metrics_print(struct edge *edge, struct fr_buf *out)
{
    struct metrics metrics = {.out = out};
    put_control(&metrics, edge);
    put_access(&metrics, edge);
    if (edge->proxy != NULL) {
        put_worker_counters(&metrics, edge);
        put_certificates(&metrics, edge);
        put_cache(&metrics, edge);
        put_access_log(&metrics, edge);
        put_members(&metrics, edge);
        put_ladder_and_goal(&metrics, edge);
        put_latency(&metrics, edge);
    }
    return metrics.err;
}
