/* SPDX-License-Identifier: Apache-2.0 */
/*
 * edge.c - builds a responsible server out of its rooms, and takes it down again.
 *
 * Order:    ledger, membership, workers, listeners, admin, manager: an edge that listens can serve.
 * Threads:  control loop.
 */
#include "edge/edge_access.h"
#include "edge/edge_priv.h"

#include "base/fr_check.h"
#include "base/fr_file.h"
#include "base/fr_hash.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <sys/file.h>
#include <unistd.h>

/* Two processes on one ledger would undo each other's work. */
static enum fr_err
lock_state(struct edge *edge, char **out_why)
{
    int error = 0;
    const char *state = edge->config->state;
    if (fr_file_make_folder(state, &error) != FR_OK) {
        *out_why = fr_xprintf("state folder %s: %s", state, strerror(error));
        return FR_ERR_IO;
    }
    char *path = fr_xprintf("%s/%s.lock", state, wire_role_name(edge->role));
    enum fr_err err = FR_OK;
    edge->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (edge->lock_fd < 0 || flock(edge->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        *out_why = errno == EWOULDBLOCK
                       ? fr_xprintf("state folder %s is in use by another %s: stop it, or give "
                                    "this one a state folder of its own",
                                    state, wire_role_name(edge->role))
                       : fr_xprintf("%s: %s", path, strerror(errno));
        err = FR_ERR_IO;
    }
    fr_free(path);
    return err;
}

static uint32_t
cores(void)
{
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online < 1 ? 1 : online > CLUSTER_WORKERS_MAX ? CLUSTER_WORKERS_MAX : (uint32_t)online;
}

static enum fr_err
make_data_plane(struct edge *edge, char **out_why)
{
    const struct config *config = edge->config;
    enum fr_err err = FR_OK;
    if (config->cache.enabled) {
        edge_disk_open(edge);
        const struct cache_options options = {.memory_bytes = config->cache.memory_bytes,
                                              .object_bytes_max = config->cache.object_bytes_max,
                                              .disk = edge->disk ? disk_cache(edge->disk) : NULL};
        err = cache_store_new(&options, &edge->cache);
        if (err == FR_OK)
            edge_disk_start(edge);
    }
    edge->tls.challenges = tls_challenges_new();
    edge->tls.answers = acme_answers_new();
    char via[32];
    struct fr_rand rand;
    fr_rand_init_random(&rand);
    /* Of this process alone: two edges in a row are no loop. It tells nothing of the host's name
     * (RFC 9110 section 7.6.3). */
    (void)snprintf(via, sizeof(via), "freshet-%08" PRIx64, fr_rand_next(&rand) >> 32);
    const struct proxy_options options = {
        .worker_count = edge->worker_count,
        .limits = &config->limits,
        .cache = edge->cache,
        .disk = edge->disk,
        .answers = edge->tls.answers,
        .via = via,
        .control = edge->loop,
        .fault_fn = edge_member_fault,
        .fault_ctx = edge,
        .demand_fn = edge_wake_demand,
        .demand_ctx = edge,
    };
    if (err == FR_OK)
        err = proxy_new(&options, &edge->proxy);
    if (err != FR_OK) {
        *out_why = fr_xprintf("workers or cache: %s", fr_err_words(err));
        return err;
    }
    struct edge_sink *sink = NULL;
    err = edge_access_open(edge, config, &sink, out_why);
    if (err == FR_OK)
        edge_access_apply(edge, sink);
    return err;
}

static enum fr_err
make_allocator(struct edge *edge, struct config_diag *diag, char **out_why)
{
    const struct config *config = edge->config;
    struct allocator_events events = *edge_allocator_events();
    events.ctx = edge;
    struct allocator_options options = {
        .state_folder = config->state,
        .needs_release = edge->role == WIRE_ROLE_ALLOCATOR,
    };
    edge_settings_shown(edge, &options.shown);
    enum fr_err err =
        allocator_new(edge->loop, &options, config->clusters, config->cluster_count, config->pools,
                      config->pool_count, &events, diag, &edge->allocator);
    if (err != FR_OK && err != FR_ERR_CONFIG)
        *out_why = fr_xprintf("ledger or pools in %s: %s", config->state, fr_err_words(err));
    return err;
}

enum fr_err
edge_new(struct loop *loop, struct config *config, enum wire_role role, struct config_diag *diag,
         struct edge **out, char **out_why)
{
    struct edge *edge = fr_xalloc(sizeof(*edge));
    struct fr_hash_key boot;
    edge->loop = loop;
    edge->config = config;
    edge->role = role;
    edge->lock_fd = -1;
    fr_buf_init(&edge->access_line, EDGE_ACCESS_LINE_BYTES_MAX);
    edge->worker_count = role == WIRE_ROLE_ALLOCATOR ? 1
                         : config->workers           ? config->workers
                                                     : cores();
    edge->worker_cpu_us = fr_xalloc(edge->worker_count * sizeof(*edge->worker_cpu_us));
    edge->worker_cpu_share = fr_xalloc(edge->worker_count * sizeof(*edge->worker_cpu_share));
    edge->clusters = fr_map_new();
    edge->members = fr_map_new();
    edge->requests_by_id = fr_map_new();
    edge->slots = cluster_slots_new();
    fr_list_init(&edge->leaving);
    fr_list_init(&edge->pending);
    fr_list_init(&edge->answered);
    fr_list_init(&edge->waiters);
    fr_list_init(&edge->purges);
    fr_list_init(&edge->names);
    fr_hash_key_random(&boot);
    (void)snprintf(edge->boot, sizeof(edge->boot), "%016llx", (unsigned long long)boot.k0);
    enum fr_err err = lock_state(edge, out_why);
    if (err == FR_OK && role == WIRE_ROLE_EDGE)
        err = edge_sticky_keys(edge, config, &edge->sticky_keys, out_why);
    if (err == FR_OK && role == WIRE_ROLE_EDGE)
        err = make_data_plane(edge, out_why);
    if (err == FR_OK)
        err = make_allocator(edge, diag, out_why);
    if (err != FR_OK) {
        edge_free(&edge);
        return err;
    }
    edge_names_boot(edge);
    edge_settings_apply(edge);
    *out = edge;
    return FR_OK;
}

/* ---- start ----------------------------------------------------------------------------------- */

/* A control thread that wakes up takes a free core at once, but not a worker's from under a request
 * (SCHED_BATCH: no preemption on wake-up, the same share otherwise). Under a stream of membership
 * changes on a busy machine that keeps 7 to 10 % more of the throughput. Servers that we start are
 * scheduled as ever. */
static void
control_schedule(void)
{
    const struct sched_param param = {0};
    if (sched_setscheduler(0, SCHED_BATCH | SCHED_RESET_ON_FORK, &param) != 0)
        fr_log(FR_LOG_DEBUG, "edge", "scheduled as a worker is", FR_S("why", strerror(errno)));
}

enum fr_err
edge_start(struct edge *edge, char **out_why)
{
    enum fr_err err = edge_admin_start(edge, out_why);
    if (err != FR_OK)
        return err;
    edge->started = true;
    edge_publish(edge);
    if (edge->proxy != NULL) {
        err = edge_listen_sync(edge, edge->config, out_why);
        if (err != FR_OK)
            return err;
        err = proxy_start(edge->proxy);
        if (err != FR_OK) {
            *out_why = fr_xprintf("worker threads: %s", fr_err_words(err));
            return err;
        }
        control_schedule();
        loop_give_way_between(edge->loop);
        edge_acme_apply(edge);
    }
    edge_measure_start(edge);
    err = edge_stream_start(edge, out_why);
    if (err != FR_OK && *out_why == NULL)
        *out_why = fr_xprintf("manager %s: %s", edge->config->manager.connect, fr_err_words(err));
    return err;
}

/* ---- reload --------------------------------------------------------------------------------- */

static bool
same_text(const char *a, const char *b)
{
    return fr_view_eq(fr_view_of(a), fr_view_of(b)) && (a == NULL) == (b == NULL);
}

static void
warn_of_restart_keys(const struct config *old, const struct config *new)
{
    if (old->workers != new->workers || strcmp(old->state, new->state) != 0 ||
        old->cache.enabled != new->cache.enabled ||
        old->cache.memory_bytes != new->cache.memory_bytes ||
        old->cache.disk_bytes != new->cache.disk_bytes ||
        !same_text(old->cache.disk_path, new->cache.disk_path))
        fr_log(FR_LOG_WARN, "edge",
               "workers, state and cache change with a restart only; the rest is in force");
}

enum fr_err
edge_reload(struct edge *edge, struct config *config, struct config_diag *diag, char **out_why)
{
    (void)diag; /* the file's own errors were found by config_load */
    const char *name = NULL;
    enum fr_err err = FR_OK;
    struct cluster_sticky_keys keys;
    /* What was introduced at run time stays, so the file must leave it its clusters. */
    *out_why = edge_settings_contradiction(config, allocator_ledger(edge->allocator), &name);
    if (*out_why != NULL)
        err = FR_ERR_CONFIG;
    if (err == FR_OK)
        err = edge_sticky_keys(edge, config, &keys, out_why);
    struct edge_sink *sink = NULL;
    if (err == FR_OK)
        err = edge_access_open(edge, config, &sink, out_why);
    if (err == FR_OK && edge->proxy != NULL)
        err = edge_listen_sync(edge, config, out_why);
    if (err == FR_OK) {
        err = allocator_reload(edge->allocator, config->clusters, config->cluster_count,
                               config->pools, config->pool_count);
        if (err != FR_OK) {
            *out_why = fr_xprintf("pools: %s", fr_err_words(err));
            char *ignored = NULL;
            (void)edge_tls_look(edge, edge->config); /* the way back replaces none */
            if (edge->proxy != NULL && edge_listen_sync(edge, edge->config, &ignored) != FR_OK)
                fr_log(FR_LOG_ERROR, "edge", "a listener was lost", FR_S("why", ignored));
            fr_free(ignored);
        }
    }
    if (err != FR_OK) {
        edge_sink_free(&sink);
        config_free(&config);
        return err;
    }
    struct config *old = edge->config;
    warn_of_restart_keys(old, config);
    edge_access_round(edge); /* what is there already goes where it was to go */
    edge->config = config;
    edge_sticky_take(edge, &keys);
    edge_access_apply(edge, sink);
    edge_settings_apply(edge);
    (void)edge_stream_reload(edge, NULL); /* logged; the old certificates stay */
    (void)edge_admin_reload(edge, NULL);
    if (edge->proxy != NULL)
        edge_acme_apply(edge);
    config_free(&old);
    return FR_OK;
}

/* ---- end ------------------------------------------------------------------------------------ */

static void
on_proxy_drained(void *ctx)
{
    struct edge *edge = ctx;
    edge->stop_fn(edge->stop_ctx);
}

void
edge_stop(struct edge *edge, int64_t deadline_us, loop_fn fn, void *ctx)
{
    fr_require(!edge->stopping);
    edge->stopping = true;
    edge->stop_fn = fn;
    edge->stop_ctx = ctx;
    fr_log(FR_LOG_INFO, "edge", "stopping, finishing what is under way");
    if (edge->stream != NULL)
        stream_session_close(edge->stream);
    edge_measure_stop(edge);
    edge_tls_stop(edge);
    if (edge->proxy != NULL)
        proxy_drain(edge->proxy, deadline_us, on_proxy_drained, edge);
    else
        loop_timer_start(edge->loop, &edge->sample_timer, 0, on_proxy_drained, edge);
}

static void
free_members(struct fr_list *list)
{
    FR_LIST_EACH_SAFE(list, node)
        edge_member_free(FR_CONTAINER(node, struct edge_member, link));
}

void
edge_free(struct edge **out)
{
    struct edge *edge = *out;
    if (edge == NULL)
        return;
    edge->started = false; /* what ends from here on publishes and reports nothing any more */
    edge_measure_stop(edge);
    edge_names_free(edge);
    acme_free(&edge->tls.acme);
    loop_defer_cancel(&edge->publish_task);
    loop_defer_cancel(&edge->report_task);
    edge_waiters_free(edge);
    edge->access_ending = true;
    edge_disk_stop(edge);
    proxy_free(&edge->proxy);
    edge_publish_free(edge);
    edge_access_end(edge);
    /* It answers whoever still waits, so those who asked have to be there. */
    allocator_free(&edge->allocator, false);
    stream_session_free(&edge->stream);
    admin_free(&edge->admin);
    tls_identity_fini(&edge->identity);
    tls_identity_fini(&edge->admin_identity);
    edge_purge_stop(edge);
    free_members(&edge->leaving);
    size_t cursor = 0;
    void *value = NULL;
    while (fr_map_next(edge->clusters, &cursor, NULL, &value)) {
        struct edge_cluster *cluster = value;
        free_members(&cluster->members);
        edge_cluster_free(cluster);
    }
    fr_map_free(&edge->clusters, NULL);
    fr_map_free(&edge->members, NULL);
    edge_requests_free(edge);
    edge_settings_free(edge);
    cache_store_free(&edge->cache);
    edge_disk_free(edge);
    cluster_slots_free(&edge->slots);
    edge_listen_end(edge);
    fr_free(edge->worker_cpu_us);
    fr_free(edge->worker_cpu_share);
    config_free(&edge->config);
    if (edge->lock_fd >= 0)
        (void)close(edge->lock_fd); /* gives up the lock */
    fr_free(edge);
    *out = NULL;
}
