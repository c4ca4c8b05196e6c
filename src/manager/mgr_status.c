/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mgr_status.c - what the manager knows, as JSON (GET /status) and Prometheus text (GET /metrics).
 *
 * May touch:  base, config. Reads everything, changes nothing.
 * Threads:    the manager's loop.
 * Memory:     the caller's buffer, with its ceiling.
 */
#include "manager/mgr_priv.h"

#include <inttypes.h>
#include <math.h>

/* A writer that remembers the first failure, so that callers need ask only once. */
struct writer {
    struct fr_buf *buf;
    enum fr_err err;
};

__attribute__((format(printf, 2, 3))) static void
put(struct writer *writer, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    if (writer->err == FR_OK)
        writer->err = fr_buf_vprintf(writer->buf, format, args);
    va_end(args);
}

static void
put_string(struct writer *writer, const char *key, const char *text)
{
    put(writer, "\"%s\":", key);
    if (writer->err == FR_OK)
        writer->err = admin_json_string(writer->buf, fr_view_of(text));
}

static void
put_number(struct writer *writer, const char *key, double value)
{
    if (isfinite(value))
        put(writer, ",\"%s\":%.4f", key, value);
    else
        put(writer, ",\"%s\":null", key);
}

static void
put_count(struct writer *writer, const char *key, uint64_t value)
{
    if (value == WIRE_NONE)
        put(writer, ",\"%s\":null", key);
    else
        put(writer, ",\"%s\":%" PRIu64, key, value);
}

static void
put_flag(struct writer *writer, const char *key, bool value)
{
    put(writer, ",\"%s\":%s", key, value ? "true" : "false");
}

/* ---- JSON ----------------------------------------------------------------------------------- */

static void
put_source(struct writer *writer, const struct mgr_source *source, int64_t now_us)
{
    const struct mgr_self *self = &source->self;
    double mean = (double)NAN;
    double highest = (double)NAN;

    put(writer, "{");
    put_string(writer, "id", source->id);
    put(writer, ",");
    put_string(writer, "role", wire_role_name(source->role));
    put_flag(writer, "connected", source->session != NULL);
    put_flag(writer, "posts", source->is_poster);
    put_flag(writer, "stale", mgr_source_is_stale(source, now_us));
    put(writer, ",\"silent_ms\":%" PRId64,
        source->reports ? (int64_t)((now_us - source->last_at_us) / FR_US_PER_MS) : (int64_t)0);
    put_count(writer, "reports", source->reports);
    put_count(writer, "seq", source->seq);
    if (self->is_said) {
        mgr_ring_summary(&self->ring, &mean, &highest);
        put_number(writer, "utilization", self->utilization);
        put_number(writer, "utilization_mean", mean);
        put_number(writer, "utilization_highest", highest);
        put_number(writer, "cpu", self->cpu);
        put_count(writer, "requests", self->requests);
        put_count(writer, "errors", self->errors);
        put_count(writer, "in_flight", self->in_flight);
        put_count(writer, "connections", self->connections);
        put_count(writer, "memory_bytes", self->memory_bytes);
        put_count(writer, "cache_hits", self->cache_hits);
        put_count(writer, "cache_misses", self->cache_misses);
        put_count(writer, "cache_revalidations", self->cache_revalidations);
        put_count(writer, "cache_collapses", self->cache_collapses);
        put_count(writer, "cache_bytes", self->cache_bytes);
        put_count(writer, "origin_requests", self->origin_requests);
        put_count(writer, "relief", self->relief);
    }
    put(writer, ",\"clusters\":[");
    for (size_t i = 0; i < source->view_count; i++)
        put(writer, "%s\"%s\"", i ? "," : "", source->views[i]->cluster->name);
    put(writer, "]}");
}

/* The series to speak for a member: the responsible server's, else the first there is. */
static const struct mgr_series *
spokesman(const struct mgr_member *member)
{
    const struct mgr_view *responsible = member->cluster->responsible;
    const struct mgr_series *series = responsible ? mgr_view_series(responsible, member) : NULL;

    return series ? series : member->sights[0].series;
}

static void
put_member(struct writer *writer, const struct mgr_member *member, int64_t now_us)
{
    const struct mgr_series *series = spokesman(member);
    struct mgr_load load = mgr_member_load(member, now_us);
    double mean = (double)NAN;
    double highest = (double)NAN;
    uint64_t requests = 0;
    uint64_t errors = 0;

    for (size_t i = 0; i < member->sight_count; i++) {
        requests += member->sights[i].series->requests;
        errors += member->sights[i].series->errors;
    }
    mgr_ring_summary(&series->ring, &mean, &highest);
    put(writer, "{");
    put_string(writer, "id", member->id);
    put(writer, ",");
    put_string(writer, "address", member->address);
    put(writer, ",");
    put_string(writer, "pool", member->pool);
    put(writer, ",\"state\":\"%s\"", mgr_state_name(series->state));
    put_count(writer, "weight", series->weight == UINT32_MAX ? WIRE_NONE : series->weight);
    put_number(writer, "utilization", load.utilization);
    put_number(writer, "utilization_mean", mean);
    put_number(writer, "utilization_highest", highest);
    put_count(writer, "in_flight", load.in_flight);
    put_flag(writer, "stale", load.is_stale);
    put_count(writer, "sources", member->sight_count);
    put_count(writer, "requests", requests);
    put_count(writer, "errors", errors);
    put_number(writer, "p50_ms", (double)series->p50_ms);
    put_number(writer, "p99_ms", (double)series->p99_ms);
    put(writer, "}");
}

/* Each edge climbs by itself. */
static void
put_rungs(struct writer *writer, const struct mgr_cluster *cluster, int64_t now_us)
{
    bool is_first = true;

    put(writer, ",\"rungs\":[");
    FR_LIST_EACH(&cluster->views, node) {
        const struct mgr_view *view = FR_CONTAINER(node, struct mgr_view, cluster_link);
        if (view->source->role != WIRE_ROLE_EDGE)
            continue;
        put(writer, "%s{", is_first ? "" : ",");
        put_string(writer, "edge", view->source->id);
        put(writer, ",");
        put_string(writer, "rung", view->rung);
        put_flag(writer, "stale", mgr_source_is_stale(view->source, now_us));
        put(writer, "}");
        is_first = false;
    }
    put(writer, "]");
}

static void
put_cluster(struct writer *writer, const struct mgr_cluster *cluster, int64_t now_us)
{
    const struct config_scale *scale = cluster->config ? &cluster->config->scale : NULL;
    uint32_t up = 0;
    uint32_t down = 0;
    size_t cursor = 0;
    void *member;
    bool is_first = true;

    mgr_request_count(cluster->mgr, cluster, &up, &down);
    put(writer, "{");
    put_string(writer, "name", cluster->name);
    put_flag(writer, "scales", scale && scale->enabled);
    put(writer, ",");
    put_string(writer, "responsible", cluster->responsible ? cluster->responsible->source->id : "");
    if (scale && scale->enabled) {
        put_number(writer, "upper", scale->upper.value >= 0 ? scale->upper.value : (double)NAN);
        put_number(writer, "lower", scale->lower.value >= 0 ? scale->lower.value : (double)NAN);
        put_count(writer, "min", scale->min);
        put_count(writer, "max", scale->max);
    }
    if (cluster->responsible) {
        put_count(writer, "generation", cluster->responsible->generation);
        put_count(writer, "requests", cluster->responsible->requests);
        put_count(writer, "waiting", cluster->responsible->waiting);
        put(writer, ",");
        put_string(writer, "rung", cluster->responsible->rung);
    }
    put_rungs(writer, cluster, now_us);
    put_count(writer, "allocating", up);
    put_count(writer, "deallocating", down);
    if (cluster->hold_row) {
        put(writer, ",");
        put_string(writer, "holding", policy_rule_name(cluster->hold.rule));
    }
    put(writer, ",\"members\":[");
    while (fr_map_next(cluster->members, &cursor, NULL, &member)) {
        put(writer, "%s", is_first ? "" : ",");
        put_member(writer, member, now_us);
        is_first = false;
    }
    put(writer, "]}");
}

static void
put_request(struct writer *writer, const struct mgr_request *request, int64_t now_us)
{
    char id[WIRE_REQUEST_ID_BYTES];

    wire_request_id_format(request->id, id);
    put(writer, "{\"id\":\"%s\",\"operation\":\"%s\",", id,
        wire_operation_name(request->operation));
    put_string(writer, "cluster", request->cluster);
    put(writer, ",");
    put_string(writer, "target", request->target);
    put(writer, ",");
    put_string(writer, "server", request->server);
    put_count(writer, "count", request->count);
    put_count(writer, "sends", request->sends);
    int64_t waiting_us = request->sent_at_us ? now_us - request->sent_at_us : 0;
    put(writer, ",\"waiting_ms\":%" PRId64, (int64_t)(waiting_us / FR_US_PER_MS));
    put(writer, ",");
    put_string(writer, "reason", request->reason);
    put(writer, "}");
}

static void
put_pools(struct writer *writer, const struct mgr *mgr)
{
    size_t cursor = 0;
    void *value;
    bool is_first = true;

    put(writer, ",\"pools\":[");
    while (fr_map_next(mgr->pools, &cursor, NULL, &value)) {
        const struct mgr_pool *pool = value;
        put(writer, "%s{", is_first ? "" : ",");
        put_string(writer, "name", pool->name);
        put(writer, ",");
        put_string(writer, "source", pool->source);
        put_count(writer, "available", pool->available);
        put_count(writer, "allocated", pool->allocated);
        put_count(writer, "cost", pool->cost);
        put(writer, "}");
        is_first = false;
    }
    put(writer, "]");
}

enum fr_err
mgr_status_json(struct mgr *mgr, struct fr_buf *out)
{
    struct writer writer = {.buf = out};
    int64_t now_us = loop_now_us(mgr->loop);
    size_t cursor = 0;
    void *value;
    bool is_first = true;

    put(&writer, "{");
    put_string(&writer, "id", mgr->id);
    put(&writer, ",\"role\":\"manager\",\"version\":\"%s\"", FRESHET_VERSION);
    put_count(&writer, "epoch", mgr->epoch);
    put(&writer, ",\"uptime_ms\":%" PRId64,
        (int64_t)((now_us - mgr->started_at_us) / FR_US_PER_MS));
    put(&writer, ",\"journal\":{");
    put_string(&writer, "path", mgr_journal_on_disk(mgr->journal) ? mgr->journal_path : "");
    put_count(&writer, "rows", mgr_journal_rows(mgr->journal));
    put_count(&writer, "failures", mgr_journal_failures(mgr->journal));
    put(&writer, "},\"sources\":[");
    while (fr_map_next(mgr->sources, &cursor, NULL, &value)) {
        put(&writer, "%s", is_first ? "" : ",");
        put_source(&writer, value, now_us);
        is_first = false;
    }
    put(&writer, "],\"clusters\":[");
    cursor = 0;
    is_first = true;
    while (fr_map_next(mgr->clusters, &cursor, NULL, &value)) {
        put(&writer, "%s", is_first ? "" : ",");
        put_cluster(&writer, value, now_us);
        is_first = false;
    }
    put(&writer, "]");
    put_pools(&writer, mgr);
    put(&writer, ",\"requests\":[");
    is_first = true;
    FR_LIST_EACH(&mgr->requests, node) {
        put(&writer, "%s", is_first ? "" : ",");
        put_request(&writer, FR_CONTAINER(node, struct mgr_request, link), now_us);
        is_first = false;
    }
    put(&writer, "]}\n");
    return writer.err;
}

/* ---- Prometheus ------------------------------------------------------------------------------ */

static void
metric(struct writer *writer, const char *name, const char *type, const char *help, uint64_t value)
{
    put(writer,
        "# HELP freshet_manager_%s %s\n# TYPE freshet_manager_%s %s\n"
        "freshet_manager_%s %" PRIu64 "\n",
        name, help, name, type, name, value);
}

static void
put_member_metrics(struct writer *writer, struct mgr *mgr)
{
    int64_t now_us = loop_now_us(mgr->loop);
    size_t cursor = 0;
    void *value;

    put(writer, "# HELP freshet_manager_member_utilization Highest fresh utilization of a member.\n"
                "# TYPE freshet_manager_member_utilization gauge\n");
    while (fr_map_next(mgr->clusters, &cursor, NULL, &value)) {
        const struct mgr_cluster *cluster = value;
        size_t at = 0;
        void *member;
        while (fr_map_next(cluster->members, &at, NULL, &member)) {
            struct mgr_load load = mgr_member_load(member, now_us);
            if (isfinite(load.utilization)) /* names need no escaping: they are names */
                put(writer,
                    "freshet_manager_member_utilization{cluster=\"%s\",member=\"%s\"} %.4f\n",
                    cluster->name, ((struct mgr_member *)member)->id, load.utilization);
        }
    }
    put(writer, "# HELP freshet_manager_members Members the responsible server shows.\n"
                "# TYPE freshet_manager_members gauge\n");
    cursor = 0;
    while (fr_map_next(mgr->clusters, &cursor, NULL, &value)) {
        const struct mgr_cluster *cluster = value;
        put(writer, "freshet_manager_members{cluster=\"%s\"} %zu\n", cluster->name,
            cluster->responsible ? cluster->responsible->series_count : (size_t)0);
    }
}

static void
put_access_metrics(struct writer *w, const struct mgr *mgr)
{
    struct admin_counters sum = {0};
    for (size_t i = 0; i < mgr->admin_count; i++) {
        struct admin_counters one;
        admin_read_counters(mgr->admins[i], &one);
        sum.handshakes_failed += one.handshakes_failed;
        sum.unauthorized += one.unauthorized;
        sum.forbidden += one.forbidden;
    }
    metric(w, "forbidden_total", "counter", "Streams and reports that a rule refused.",
           mgr->counters.forbidden);
    metric(w, "handshakes_failed_total", "counter", "TLS handshakes that failed.",
           sum.handshakes_failed);
    metric(w, "http_unauthorized_total", "counter", "Requests without a good certificate or token.",
           sum.unauthorized);
    metric(w, "http_forbidden_total", "counter", "Requests beyond the role of who sent them.",
           sum.forbidden);
    metric(w, "joins_total", "counter", "Machines that joined by token.", mgr->counters.joins);
    metric(w, "joins_refused_total", "counter", "Joins refused.", mgr->counters.joins_refused);
    metric(w, "joins_limited_total", "counter", "Of those, unheard after too many bad tokens.",
           mgr->counters.joins_limited);
    metric(w, "renewals_total", "counter", "Certificates renewed for their holders.",
           mgr->counters.renewals);
    metric(w, "certificate_end_seconds", "gauge", "When our certificate ends, since 1970; 0: none.",
           (uint64_t)mgr->identity.ends_s);
}

enum fr_err
mgr_metrics_text(struct mgr *mgr, struct fr_buf *out)
{
    const struct mgr_counters *counters = &mgr->counters;
    struct writer writer = {.buf = out};
    struct writer *w = &writer;

    metric(w, "epoch", "gauge", "Epoch of the requests this manager sends.", mgr->epoch);
    metric(w, "sessions", "gauge", "Streams open.", mgr->session_count);
    metric(w, "sources", "gauge", "Sources remembered.", fr_map_count(mgr->sources));
    metric(w, "series", "gauge", "Servers shown, summed over sources.", mgr->series_count);
    metric(w, "requests_pending", "gauge", "Requests unanswered.", mgr->request_count);
    metric(w, "sessions_accepted_total", "counter", "Streams accepted.",
           counters->sessions_accepted);
    metric(w, "sessions_refused_total", "counter", "Streams refused for want of room.",
           counters->sessions_refused);
    metric(w, "sessions_replaced_total", "counter", "Streams ended by a newer one of their id.",
           counters->sessions_replaced);
    metric(w, "reports_total", "counter", "Reports stored.", counters->reports);
    metric(w, "reports_posted_total", "counter", "Of those, by POST.", counters->reports_posted);
    metric(w, "reports_bad_total", "counter", "Posted reports refused.", counters->reports_bad);
    metric(w, "crossings_total", "counter", "Reports sent because a level was crossed.",
           counters->crossings);
    metric(w, "samples_total", "counter", "Server samples stored.", counters->samples);
    metric(w, "servers_ignored_total", "counter", "Servers in reports left out: no name, no room.",
           counters->servers_ignored);
    metric(w, "clusters_ignored_total", "counter", "Clusters in reports left out.",
           counters->clusters_ignored);
    metric(w, "sources_ignored_total", "counter", "Sources left out for want of room.",
           counters->sources_ignored);
    metric(w, "decisions_total", "counter", "Decisions to act.", counters->decisions);
    metric(w, "holds_total", "counter", "Decisions not to act.", counters->holds);
    metric(w, "requests_sent_total", "counter", "Requests sent.", counters->requests_sent);
    metric(w, "requests_resent_total", "counter", "Of those, sent again.",
           counters->requests_resent);
    metric(w, "requests_done_total", "counter", "Requests answered: done.",
           counters->requests_done);
    metric(w, "requests_refused_total", "counter", "Requests answered: refused.",
           counters->requests_refused);
    metric(w, "requests_given_up_total", "counter", "Requests never answered.",
           counters->requests_given_up);
    metric(w, "results_unknown_total", "counter", "Results for nothing that is unanswered.",
           counters->results_unknown);
    metric(w, "sessions_refused_by_peer_total", "counter", "Streams that the other end refused.",
           counters->refused_by_peer);
    metric(w, "intruders_total", "counter", "Streams ended because the peer sent a reconfigure.",
           counters->intruders);
    put_access_metrics(w, mgr);
    metric(w, "journal_failures_total", "counter", "Rows the journal could not take.",
           mgr_journal_failures(mgr->journal));
    put_member_metrics(w, mgr);
    return writer.err;
}
