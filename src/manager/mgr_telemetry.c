/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mgr_telemetry.c - sources, and storing what they report.
 *
 * May touch:  base, loop (the time), config. Never: sockets, files.
 * Threads:    the manager's loop.
 * Memory:     1,088 bytes a server and source (a ring of 120 samples), at most MGR_SERIES_MAX.
 * Cost:       a sample of a server that stands where it stood in the report before: two compares,
 *             no look-up, no allocation. One that moved: one look-up by hash.
 * Trusts:     nothing in a report: ids are checked, numbers saturate, nonsense is no number.
 * When full:  the newcomer is left out and counted.
 */
#include "manager/mgr_priv.h"

#include "base/fr_check.h"

#include <math.h>

#define UTILIZATION_MAX 1000.0 /* what is beyond says no more than this does */

static double
utilization_checked(double value)
{
    return isfinite(value) && value >= 0 ? fmin(value, UTILIZATION_MAX) : (double)NAN;
}

static uint64_t
count_checked(uint64_t value)
{
    return value == WIRE_NONE ? 0 : value;
}

static uint16_t
saturate16(uint64_t value)
{
    return value < UINT16_MAX ? (uint16_t)value : UINT16_MAX;
}

static void
ring_push(struct mgr_ring *ring, double utilization, uint64_t in_flight, uint64_t requests,
          int64_t gap_us)
{
    struct mgr_sample *sample = &ring->sample[ring->head];

    sample->utilization = UINT16_MAX;
    if (!isnan(utilization)) /* one below UINT16_MAX, which says "none" */
        sample->utilization = (uint16_t)fmin(utilization * MGR_SAMPLE_SCALE, UINT16_MAX - 1);
    sample->in_flight = saturate16(in_flight);
    sample->requests = saturate16(requests);
    sample->gap_ms = saturate16(gap_us > 0 ? (uint64_t)gap_us / 1000 : 0);
    ring->head = (uint16_t)((ring->head + 1) % MGR_SAMPLES);
    if (ring->count < MGR_SAMPLES)
        ring->count++;
}

void
mgr_ring_summary(const struct mgr_ring *ring, double *out_mean, double *out_highest)
{
    double sum = 0;
    double highest = (double)NAN;
    unsigned count = 0;

    for (unsigned i = 0; i < ring->count; i++) {
        if (ring->sample[i].utilization == UINT16_MAX)
            continue;
        double value = ring->sample[i].utilization / MGR_SAMPLE_SCALE;
        sum += value;
        highest = fmax(highest, value);
        count++;
    }
    *out_mean = count ? sum / count : (double)NAN;
    *out_highest = highest;
}

/* A counter that went back began anew with its process. */
static uint64_t
counted_since(uint64_t before, uint64_t now)
{
    return now >= before ? now - before : now;
}

static enum mgr_state
state_parse(struct fr_view text)
{
    static const struct {
        struct fr_view word;
        enum mgr_state state;
    } words[] = {
        {{"ready", 5}, MGR_STATE_READY},
        {{"starting", 8}, MGR_STATE_STARTING},
        {{"draining", 8}, MGR_STATE_DRAINING},
        {{"unhealthy", 9}, MGR_STATE_UNHEALTHY},
        {{"ejected", 7}, MGR_STATE_EJECTED},
    };

    if (text.len == 0)
        return MGR_STATE_READY;
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (fr_view_eq(text, words[i].word))
            return words[i].state;
    return MGR_STATE_OTHER;
}

const char *
mgr_state_name(enum mgr_state state)
{
    switch (state) {
    case MGR_STATE_READY: return "ready";
    case MGR_STATE_STARTING: return "starting";
    case MGR_STATE_DRAINING: return "draining";
    case MGR_STATE_UNHEALTHY: return "unhealthy";
    case MGR_STATE_EJECTED: return "ejected";
    case MGR_STATE_OTHER: break;
    }
    return "other";
}

/* ---- sources -------------------------------------------------------------------------------- */

struct mgr_source *
mgr_source_find(const struct mgr *mgr, struct fr_view id)
{
    return fr_map_get(mgr->sources, id);
}

struct mgr_source *
mgr_source_get(struct mgr *mgr, struct fr_view id, enum wire_role role)
{
    struct mgr_source *source = mgr_source_find(mgr, id);

    fr_require(config_name_valid(id));
    if (!source) {
        if (fr_map_count(mgr->sources) >= MGR_SOURCES_MAX) {
            mgr->counters.sources_ignored++;
            return NULL;
        }
        source = fr_xalloc(sizeof(*source));
        source->mgr = mgr;
        source->first_at_us = loop_now_us(mgr->loop);
        source->interval_us = mgr->stream.report_interval_us;
        source->self.cpu = source->self.utilization = (double)NAN;
        source->self.relief = WIRE_NONE;
        fr_list_init(&source->pools);
        (void)fr_view_copy(id, source->id, sizeof(source->id)); /* a valid name fits */
        (void)fr_map_put(mgr->sources, id, source);             /* it was absent */
    }
    source->role = role;
    return source;
}

bool
mgr_source_is_stale(const struct mgr_source *source, int64_t now_us)
{
    return now_us > source->fresh_until_us;
}

struct mgr_view *
mgr_view_find(const struct mgr_source *source, const struct mgr_cluster *cluster)
{
    for (size_t i = 0; i < source->view_count; i++)
        if (source->views[i]->cluster == cluster)
            return source->views[i];
    return NULL;
}

static void
view_drop(struct mgr_source *source, size_t index)
{
    struct mgr_view *view = source->views[index];
    struct mgr_cluster *cluster = view->cluster;

    while (view->series_count > 0)
        mgr_series_drop(view->series[view->series_count - 1]);
    if (cluster->responsible == view)
        cluster->responsible = NULL;
    fr_list_remove(&view->cluster_link);
    memmove(&source->views[index], &source->views[index + 1],
            (source->view_count - index - 1) * sizeof(source->views[0]));
    source->view_count--;
    fr_free(view->series);
    fr_free(view);
    mgr_cluster_release(cluster);
}

static void
host_forget(struct mgr_source *source)
{
    struct mgr *mgr = source->mgr;
    struct fr_view id = fr_view_of(source->self.id);
    struct fr_view address = fr_view_of(source->self.address);

    if (id.len && fr_map_get(mgr->hosts_by_id, id) == source)
        (void)fr_map_remove(mgr->hosts_by_id, id);
    if (address.len && fr_map_get(mgr->hosts_by_address, address) == source)
        (void)fr_map_remove(mgr->hosts_by_address, address);
}

#define POOL_KEY_BYTES (2 * MGR_ID_BYTES)

/* Edges that share a configuration each have a pool of that name, and its servers to themselves. */
static struct fr_view
pool_key(char out[POOL_KEY_BYTES], const struct mgr_source *source, struct fr_view name)
{
    int len = snprintf(out, POOL_KEY_BYTES, "%s\n%.*s", source->id, FR_VIEW_ARG(name));
    return fr_view_make(out, (size_t)len); /* two names fit */
}

/* Those that the source's report of this number did not name. */
static void
pools_forget(struct mgr_source *source, uint64_t but_shown_in)
{
    char key[POOL_KEY_BYTES];

    FR_LIST_EACH_SAFE(&source->pools, node) {
        struct mgr_pool *pool = FR_CONTAINER(node, struct mgr_pool, source_link);
        if (pool->shown_in == but_shown_in)
            continue;
        (void)fr_map_remove(source->mgr->pools, pool_key(key, source, fr_view_of(pool->name)));
        fr_list_remove(&pool->source_link);
        fr_free(pool);
    }
}

void
mgr_source_drop(struct mgr *mgr, struct mgr_source *source)
{
    fr_insist(source->session == NULL);
    pools_forget(source, UINT64_MAX);
    while (source->view_count > 0)
        view_drop(source, source->view_count - 1);
    host_forget(source);
    (void)fr_map_remove(mgr->sources, fr_view_of(source->id));
    fr_free(source->views);
    fr_free(source);
}

void
mgr_source_lost(struct mgr *mgr, struct mgr_source *source)
{
    source->session = NULL;
    source->session_lost_at_us = loop_now_us(mgr->loop);
    for (size_t i = 0; i < source->view_count; i++) {
        struct mgr_view *view = source->views[i];
        view->is_responsible = false;
        view->is_resent = false;
        view->is_whole = false;
        view->levels_upper = view->levels_lower = (double)NAN;
        if (view->cluster->responsible == view)
            view->cluster->responsible = NULL;
    }
}

void
mgr_source_tick(struct mgr *mgr, int64_t now_us)
{
    size_t cursor = 0;
    void *value;

    while (fr_map_next(mgr->sources, &cursor, NULL, &value)) {
        struct mgr_source *source = value;
        bool stale = source->reports > 0 && mgr_source_is_stale(source, now_us);
        if (stale != source->is_stale) {
            source->is_stale = stale;
            fr_log(stale ? FR_LOG_WARN : FR_LOG_INFO, "manager",
                   stale ? "source is stale: its servers are not given back on its silence"
                         : "source reports again",
                   FR_S("source", source->id), FR_I("silent_ms", (now_us - source->last_at_us) /
                                                                    FR_US_PER_MS));
        }
        int64_t gone_us = now_us - (source->last_at_us ? source->last_at_us : source->first_at_us);
        if (!source->session && gone_us > mgr->forget_us)
            mgr_source_drop(mgr, source); /* removing the entry just returned is allowed */
    }
}

/* ---- storing -------------------------------------------------------------------------------- */

/* Learns the pace of a source that reports more rarely than we are configured to expect. */
static void
source_pace(struct mgr_source *source, bool is_crossing, int64_t now_us)
{
    int64_t least_us = source->mgr->stream.report_interval_us;

    if (!is_crossing) {
        int64_t gap_us = source->scheduled_at_us ? now_us - source->scheduled_at_us : least_us;
        if (gap_us > least_us * MGR_INTERVALS_OBSERVED_MAX)
            gap_us = least_us; /* that was silence, not its pace */
        source->interval_us = gap_us > least_us ? gap_us : least_us;
        source->scheduled_at_us = now_us;
    }
    source->last_at_us = now_us;
    source->fresh_until_us = now_us + source->interval_us * MGR_STALE_INTERVALS;
}

static void
store_self(struct mgr_source *source, const struct wire_server *said, int64_t now_us)
{
    struct mgr *mgr = source->mgr;
    struct mgr_self *self = &source->self;
    bool is_host = source->role == WIRE_ROLE_AGENT;

    if (!fr_view_is(said->id, self->id) || !fr_view_is(said->address, self->address)) {
        host_forget(source);
        if (!fr_view_copy(said->id, self->id, sizeof(self->id)) ||
            !fr_view_copy(said->address, self->address, sizeof(self->address)))
            mgr->counters.servers_ignored++;
    }
    if (is_host && self->id[0])
        (void)fr_map_put(mgr->hosts_by_id, fr_view_of(self->id), source); /* the newest wins */
    if (is_host && self->address[0])
        (void)fr_map_put(mgr->hosts_by_address, fr_view_of(self->address), source);

    uint64_t requests = count_checked(said->requests);
    self->utilization = utilization_checked(said->utilization);
    self->cpu = utilization_checked(said->cpu);
    self->in_flight = count_checked(said->in_flight);
    ring_push(&self->ring, isnan(self->utilization) ? self->cpu : self->utilization,
              self->in_flight, self->is_said ? counted_since(self->requests, requests) : 0,
              self->is_said ? now_us - self->at_us : 0);
    self->requests = requests;
    self->errors = count_checked(said->errors);
    self->connections = count_checked(said->connections);
    self->memory_bytes = count_checked(said->memory_bytes);
    self->cache_hits = count_checked(said->cache_hits);
    self->cache_misses = count_checked(said->cache_misses);
    self->cache_bytes = count_checked(said->cache_bytes);
    self->cache_revalidations = count_checked(said->cache_revalidations);
    self->cache_collapses = count_checked(said->cache_collapses);
    self->origin_requests = count_checked(said->origin_requests);
    self->relief = said->relief;
    self->at_us = now_us;
    self->is_said = true;
}

/* What the responsible server says of a member is so; others only fill gaps. */
static void
store_identity(struct mgr_series *series, const struct wire_server *said, int64_t now_us)
{
    struct mgr_member *member = series->member;
    bool is_responsible = series->view->is_responsible;

    if (said->address.len && (is_responsible || !member->address[0]) &&
        !fr_view_is(said->address, member->address)) {
        (void)fr_view_copy(said->address, member->address, sizeof(member->address)); /* or empty */
        member->weight_normal = UINT32_MAX;
    }
    if (said->pool.len && (is_responsible || !member->pool[0]) &&
        !fr_view_is(said->pool, member->pool)) {
        (void)fr_view_copy(said->pool, member->pool, sizeof(member->pool)); /* or empty */
        member->weight_normal = UINT32_MAX;
    }
    if (!is_responsible)
        return;
    if (said->pool.len == 0)
        member->pool[0] = '\0';
    if (series->state != MGR_STATE_READY)
        member->ready_since_us = 0;
    else if (member->ready_since_us == 0)
        member->ready_since_us = now_us;
    if (series->state != MGR_STATE_DRAINING)
        member->released_at_us = 0;
}

static void
store_server(struct mgr_series *series, const struct wire_server *said, int64_t now_us)
{
    struct mgr_sight *sight = &series->member->sights[series->sight_index];
    uint64_t requests = count_checked(said->requests);
    bool is_first = series->ring.count == 0;

    sight->utilization = utilization_checked(said->utilization);
    sight->in_flight = count_checked(said->in_flight);
    sight->fresh_until_us = series->view->source->fresh_until_us;
    uint64_t since = is_first ? 0 : counted_since(series->requests, requests);
    ring_push(&series->ring, sight->utilization, sight->in_flight, since,
              is_first ? 0 : now_us - series->at_us);
    if (!series->view->is_timed)
        mgr_scale_late(series->member->cluster, said, since);
    series->requests = requests;
    series->errors = count_checked(said->errors);
    series->connect_failures = count_checked(said->connect_failures);
    series->sessions = said->sessions < UINT32_MAX ? (uint32_t)said->sessions : 0;
    series->p50_ms = (float)said->p50_ms;
    series->p99_ms = (float)said->p99_ms;
    series->weight = said->weight < UINT32_MAX ? (uint32_t)said->weight : UINT32_MAX;
    series->weight_normal =
        said->weight_normal < UINT32_MAX ? (uint32_t)said->weight_normal : UINT32_MAX;
    series->state = state_parse(said->state);
    series->at_us = now_us;
    series->seen = series->view->serial;
    store_identity(series, said, now_us);
}

/* The series of the server that stands at `position` of the report; swapped to that place, so that
 * the next report finds it without looking. NULL: shown twice, no id, or no room. */
static struct mgr_series *
series_at(struct mgr_view *view, size_t position, struct fr_view id)
{
    struct mgr_series *series = NULL;

    if (position < view->series_count && fr_view_is(id, view->series[position]->member->id))
        return view->series[position];
    struct mgr_member *member = mgr_member_find(view->cluster, id);
    if (member)
        series = mgr_view_series(view, member);
    if (series && series->seen == view->serial)
        return NULL;
    if (!series)
        series = mgr_series_new(view, id);
    if (!series)
        return NULL;
    size_t found = view->series_count;
    while (view->series[found - 1] != series)
        found--;
    view->series[found - 1] = view->series[position];
    view->series[position] = series;
    return series;
}

static struct mgr_view *
view_at(struct mgr_source *source, size_t position, struct fr_view name)
{
    struct mgr *mgr = source->mgr;

    if (position < source->view_count &&
        fr_view_is(name, source->views[position]->cluster->name))
        return source->views[position];
    struct mgr_cluster *cluster = mgr_cluster_get(mgr, name);
    if (!cluster)
        return NULL;
    struct mgr_view *view = mgr_view_find(source, cluster);
    if (view)
        return view;
    if (source->view_count >= MGR_CLUSTERS_MAX) {
        mgr->counters.clusters_ignored++;
        return NULL;
    }
    view = fr_xalloc(sizeof(*view));
    view->source = source;
    view->cluster = cluster;
    view->levels_upper = view->levels_lower = (double)NAN;
    fr_list_push_back(&cluster->views, &view->cluster_link);
    fr_xgrow((void **)&source->views, &source->view_capacity, source->view_count + 1,
             sizeof(source->views[0]));
    source->views[source->view_count++] = view;
    return view;
}

static void
responsible_settle(struct mgr_view *view, bool claims)
{
    struct mgr_cluster *cluster = view->cluster;

    view->is_responsible = false;
    if (!claims || !view->source->session) {
        if (cluster->responsible == view)
            cluster->responsible = NULL;
        return;
    }
    if (cluster->responsible && cluster->responsible != view) {
        if (!cluster->is_rival_logged)
            fr_log(FR_LOG_WARN, "manager", "a second server says it is responsible: ignored",
                   FR_S("cluster", cluster->name),
                   FR_S("first", cluster->responsible->source->id),
                   FR_S("second", view->source->id));
        cluster->is_rival_logged = true;
        return;
    }
    if (!cluster->responsible) {
        cluster->is_rival_logged = false;
        fr_log(FR_LOG_INFO, "manager", "responsible server is here",
               FR_S("cluster", cluster->name), FR_S("server", view->source->id));
    }
    cluster->responsible = view;
    cluster->is_report_awaited = false;
    view->is_responsible = true;
}

static void
store_cluster(struct mgr_view *view, const struct wire_cluster *said, bool is_full, int64_t now_us)
{
    struct mgr *mgr = view->cluster->mgr;
    size_t position = 0;

    responsible_settle(view, said->responsible);
    view->serial++;
    view->shown_in = view->source->reports;
    view->at_us = now_us;
    view->requests = count_checked(said->requests);
    mgr_purge_announced(view, said, now_us);
    mgr_scale_count(view, said);
    view->waiting = count_checked(said->waiting);
    view->generation = count_checked(said->generation);
    view->is_whole |= is_full;
    view->is_dirty = true;
    for (size_t i = 0; i < said->server_count; i++) {
        struct mgr_series *series = series_at(view, position, said->servers[i].id);
        if (!series) {
            mgr->counters.servers_ignored++;
            continue;
        }
        store_server(series, &said->servers[i], now_us);
        position++;
    }
    mgr_zero_rung(view, said);
    mgr->counters.samples += position;
    /* What a full report does not show any more stands behind what it shows. */
    while (is_full && view->series_count > position)
        mgr_series_drop(view->series[view->series_count - 1]);
    mgr_cluster_mark(view->cluster);
}

const struct mgr_pool *
mgr_pool_find(const struct mgr_source *source, const char *name)
{
    char key[POOL_KEY_BYTES];
    return fr_map_get(source->mgr->pools, pool_key(key, source, fr_view_of(name)));
}

static void
store_pool(struct mgr_source *source, const struct wire_pool *said)
{
    struct mgr *mgr = source->mgr;
    char key[POOL_KEY_BYTES];

    if (!config_name_valid(said->name))
        return;
    struct mgr_pool *pool = fr_map_get(mgr->pools, pool_key(key, source, said->name));
    if (!pool) {
        if (fr_map_count(mgr->pools) >= MGR_POOLS_MAX)
            return;
        pool = fr_xalloc(sizeof(*pool));
        (void)fr_view_copy(said->name, pool->name, sizeof(pool->name)); /* a valid name fits */
        (void)fr_map_put(mgr->pools, pool_key(key, source, said->name), pool); /* was absent */
        fr_list_push_back(&source->pools, &pool->source_link);
    }
    (void)fr_view_copy(fr_view_of(source->id), pool->source, sizeof(pool->source)); /* fits */
    pool->available = said->available;
    pool->allocated = said->allocated;
    pool->cost = said->cost == WIRE_NONE ? 0 : (uint32_t)said->cost; /* bounded by the decoder */
    pool->shown_in = source->reports;
}

/* An agent's word concerns every cluster that has the member; there are few clusters, and the mark
 * costs nothing where it concerns none. */
static void
mark_hosted(struct mgr *mgr, const struct mgr_source *agent)
{
    size_t cursor = 0;
    void *value;

    while (fr_map_next(mgr->clusters, &cursor, NULL, &value)) {
        struct mgr_cluster *cluster = value;
        if (cluster->config && cluster->config->scale.enabled && agent->self.is_said)
            mgr_cluster_mark(cluster);
    }
}

void
mgr_source_store(struct mgr *mgr, struct mgr_source *source, const struct wire_report *report)
{
    int64_t now_us = loop_now_us(mgr->loop);

    source->reports++;
    source->seq = report->seq;
    mgr->counters.reports++;
    mgr->counters.crossings += report->crossing;
    source_pace(source, report->crossing, now_us);
    if (report->has_self)
        store_self(source, &report->self, now_us);
    for (size_t i = 0; i < report->cluster_count; i++) {
        struct mgr_view *view = view_at(source, i, report->clusters[i].name);
        if (!view || view->shown_in == source->reports)
            continue;
        store_cluster(view, &report->clusters[i], report->full, now_us);
        view->cluster->is_look_due |= !report->crossing;
    }
    for (size_t i = source->view_count; report->full && i > 0; i--)
        if (source->views[i - 1]->shown_in != source->reports) {
            mgr_cluster_mark(source->views[i - 1]->cluster);
            view_drop(source, i - 1);
        }
    for (size_t i = 0; i < report->pool_count; i++)
        store_pool(source, &report->pools[i]);
    if (report->full)
        pools_forget(source, source->reports);
    if (source->role == WIRE_ROLE_AGENT)
        mark_hosted(mgr, source);
}
