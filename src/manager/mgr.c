/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mgr.c - the manager's beginning, reload, tick and end.
 *
 * May touch:  everything of its room; admin, loop, config, files (the state folder).
 * Threads:    one loop.
 * Memory:     process lifetime; what grows has its limit in mgr_priv.h.
 */
#include "manager/mgr_priv.h"

#include "base/fr_check.h"
#include "base/fr_file.h"

#include <math.h>
#include <unistd.h>

/* ---- configuration -------------------------------------------------------------------------- */

static void
config_drop(struct mgr *mgr)
{
    for (size_t i = 0; i < mgr->clusters_config_count; i++)
        config_cluster_unref(&mgr->clusters_config[i]);
    for (size_t i = 0; i < mgr->pools_config_count; i++)
        config_pool_unref(&mgr->pools_config[i]);
    fr_free(mgr->clusters_config);
    fr_free(mgr->pools_config);
    mgr->clusters_config = NULL;
    mgr->pools_config = NULL;
    mgr->clusters_config_count = mgr->pools_config_count = 0;
}

/* Every cluster gets its configuration, or none; who is only reported stays. */
static void
clusters_settle(struct mgr *mgr)
{
    size_t cursor = 0;
    void *value;

    for (size_t i = 0; i < mgr->clusters_config_count; i++)
        (void)mgr_cluster_get(mgr, fr_view_of(mgr->clusters_config[i]->name)); /* or counted */
    while (fr_map_next(mgr->clusters, &cursor, NULL, &value)) {
        struct mgr_cluster *cluster = value;
        config_cluster_unref(&cluster->config);
        for (size_t i = 0; i < mgr->clusters_config_count; i++)
            if (strcmp(mgr->clusters_config[i]->name, cluster->name) == 0)
                cluster->config = config_cluster_ref(mgr->clusters_config[i]);
        size_t at = 0;
        void *member;
        while (fr_map_next(cluster->members, &at, NULL, &member))
            ((struct mgr_member *)member)->weight_normal = UINT32_MAX;
        mgr_cluster_mark(cluster);
        mgr_cluster_release(cluster); /* removing the entry just returned is allowed */
    }
}

static void
config_apply(struct mgr *mgr, const struct config *config)
{
    int64_t drain_us = 0;

    config_drop(mgr);
    mgr->config = config;
    for (size_t i = 0; i < mgr->admin_count; i++)
        admin_set_users(mgr->admins[i], &config->users);
    mgr->stream = config->stream;
    mgr->relief = config->relief;
    mgr->clusters_config = fr_xalloc((config->cluster_count + 1) * sizeof(mgr->clusters_config[0]));
    for (size_t i = 0; i < config->cluster_count; i++) {
        mgr->clusters_config[i] = config_cluster_ref(config->clusters[i]);
        if (config->clusters[i]->drain_us > drain_us)
            drain_us = config->clusters[i]->drain_us;
    }
    mgr->clusters_config_count = config->cluster_count;
    mgr->pools_config = fr_xalloc((config->pool_count + 1) * sizeof(mgr->pools_config[0]));
    for (size_t i = 0; i < config->pool_count; i++)
        mgr->pools_config[i] = config_pool_ref(config->pools[i]);
    mgr->pools_config_count = config->pool_count;
    /* A follower that is gone must be remembered until its drain deadline is over. */
    mgr->forget_us = drain_us > MGR_FORGET_US / 2 ? drain_us * 2 : MGR_FORGET_US;
    clusters_settle(mgr);
}

static struct tls_control_options
identity_options(const struct config *config)
{
    const struct config_control_tls *tls = &config->manager.tls;
    return (struct tls_control_options){.certificate = tls->certificate,
                                        .key = tls->key,
                                        .ca = tls->ca,
                                        .crl = tls->crl,
                                        .name = tls->name};
}

void
mgr_reload(struct mgr *mgr, const struct config *config)
{
    size_t cursor = 0;
    void *value;

    fr_require(mgr->magic == MGR_MAGIC);
    config_apply(mgr, config);
    const struct tls_control_options options = identity_options(config);
    (void)tls_identity_reload(&mgr->identity, &options, NULL); /* logged; the old ones stay */
    while (fr_map_next(mgr->sources, &cursor, NULL, &value)) {
        struct mgr_source *source = value;
        if (source->session)
            mgr_session_send_levels(source);
    }
    mgr_decide_soon(mgr);
    fr_log(FR_LOG_INFO, "manager", "configuration is in force",
           FR_I("clusters", mgr->clusters_config_count), FR_I("pools", mgr->pools_config_count));
}

/* ---- the tick ------------------------------------------------------------------------------- */

static void
tick(void *ctx)
{
    struct mgr *mgr = ctx;
    int64_t now_us = loop_now_us(mgr->loop);
    size_t cursor = 0;
    void *value;

    mgr_source_tick(mgr, now_us);
    mgr_request_tick(mgr, now_us);
    while (fr_map_next(mgr->clusters, &cursor, NULL, &value)) {
        struct mgr_cluster *cluster = value;
        mgr_decide_cluster(cluster);
        mgr_sync_release(cluster);
        mgr_decide_flush(cluster);
    }
    cursor = 0;
    while (fr_map_next(mgr->sources, &cursor, NULL, &value)) {
        struct mgr_source *source = value;
        if (source->role == WIRE_ROLE_EDGE)
            mgr_decide_relief(source);
    }
    mgr_journal_tick(mgr->journal);
    loop_timer_start(mgr->loop, &mgr->tick, MGR_TICK_US, tick, mgr);
}

/* ---- beginning ------------------------------------------------------------------------------ */

static void
on_stream(void *ctx, const struct admin_handed *handed)
{
    mgr_session_accept(ctx, handed);
}

static void
on_refused(void *ctx, const char *what, const char *from, const char *why)
{
    (void)ctx;
    fr_log(FR_LOG_WARN, "manager", "refused", FR_S("what", what), FR_S("from", from),
           FR_S("why", why));
}

/* New connections are shown the new certificate; those that stand go on. */
static void
on_identity(void *ctx)
{
    struct mgr *mgr = ctx;
    for (size_t i = 0; i < mgr->admin_count; i++)
        admin_set_tls(mgr->admins[i], mgr->identity.server);
}

static enum fr_err
identity_begin(struct mgr *mgr, const struct config *config)
{
    const struct tls_control_options options = identity_options(config);
    char *why = NULL;
    if (!config->manager.tls.enabled)
        return FR_OK;
    enum fr_err err = tls_identity_init(&mgr->identity, mgr->loop, "manager", &options, true,
                                        on_identity, mgr, &why);
    if (err != FR_OK)
        fr_log(FR_LOG_ERROR, "manager", "no TLS for the stream", FR_S("why", why));
    else
        on_identity(mgr);
    fr_free(why);
    return err;
}

static enum fr_err
listeners_open(struct mgr *mgr, const int *fds, size_t fd_count)
{
    enum fr_err err = FR_OK;

    mgr->admins = fr_xalloc((fd_count + 1) * sizeof(mgr->admins[0]));
    for (size_t i = 0; i < fd_count; i++) {
        if (err != FR_OK) {
            (void)close(fds[i]); /* taken, even on failure */
            continue;
        }
        err = admin_new(mgr->loop, fds[i], mgr_http_routes, MGR_POST_BYTES_MAX, mgr,
                        &mgr->admins[mgr->admin_count]);
        if (err != FR_OK)
            continue;
        admin_on_refused(mgr->admins[mgr->admin_count], on_refused);
        admin_on_allow(mgr->admins[mgr->admin_count], mgr_access_request);
        admin_on_other(mgr->admins[mgr->admin_count++], on_stream);
    }
    return err;
}

/* mgr_request_restore writes to the table that is being read, so the rows are collected first. */
struct restored {
    struct mgr_request *requests;
    size_t count, capacity;
};

static void
collect_one(void *ctx, const struct mgr_request *request)
{
    struct restored *restored = ctx;

    if (restored->count >= MGR_REQUESTS_MAX)
        return; /* the rest stays in the journal, and is read at the next start */
    fr_xgrow((void **)&restored->requests, &restored->capacity, restored->count + 1,
             sizeof(restored->requests[0]));
    restored->requests[restored->count++] = *request;
}

static void
journal_begin(struct mgr *mgr, const struct config *config)
{
    const char *state = config->state ? config->state : "./state";
    int errno_value = 0;
    struct restored restored = {0};

    mgr->journal_path = fr_xprintf("%s/journal.sqlite", state);
    if (fr_file_make_folder(state, &errno_value) != FR_OK)
        fr_log(FR_LOG_WARN, "manager", "state folder cannot be made", FR_S("path", state),
               FR_S("error", strerror(errno_value)));
    mgr_journal_open(mgr->journal_path, mgr->journal_rows, loop_wall_us(mgr->loop), &mgr->journal,
                     &mgr->epoch);
    mgr_journal_unanswered(mgr->journal, collect_one, &restored);
    for (size_t i = 0; i < restored.count; i++)
        mgr_request_restore(mgr, &restored.requests[i]);
    fr_free(restored.requests);
    mgr_journal_commit(mgr->journal);
    if (mgr->epoch > 1)
        mgr->grace_until_us = mgr->started_at_us + MGR_GRACE_US;
    fr_log(FR_LOG_INFO, "manager", "manager starts", FR_I("epoch", mgr->epoch),
           FR_S("journal", mgr_journal_on_disk(mgr->journal) ? mgr->journal_path : "memory"),
           FR_I("unanswered", mgr->request_count));
}

enum fr_err
mgr_new(struct loop *loop, const struct config *config, const int *fds, size_t fd_count,
        struct mgr **out)
{
    struct mgr *mgr = fr_xalloc(sizeof(*mgr));

    mgr->magic = MGR_MAGIC;
    mgr->loop = loop;
    mgr->started_at_us = loop_now_us(loop);
    mgr->journal_rows = config->manager.journal_rows;
    fr_list_init(&mgr->sessions);
    fr_list_init(&mgr->requests);
    fr_list_init(&mgr->dirty);
    mgr->sources = fr_map_new();
    mgr->clusters = fr_map_new();
    mgr->pools = fr_map_new();
    mgr->requests_by_key = fr_map_new();
    fr_list_init(&mgr->purges);
    mgr->hosts_by_id = fr_map_new();
    mgr->hosts_by_address = fr_map_new();
    mgr->scratch = fr_xalloc(MGR_MEMBERS_DECIDED * sizeof(mgr->scratch[0]));
    (void)fr_view_copy(fr_view_of(config->id), mgr->id, sizeof(mgr->id)); /* as large */
    enum fr_err err = listeners_open(mgr, fds, fd_count);
    if (err == FR_OK)
        err = identity_begin(mgr, config);
    if (err != FR_OK) {
        mgr_free(&mgr);
        return err;
    }
    config_apply(mgr, config);
    journal_begin(mgr, config);
    loop_timer_start(loop, &mgr->tick, MGR_TICK_US, tick, mgr);
    *out = mgr;
    return FR_OK;
}

const struct loop_addr *
mgr_addr(const struct mgr *mgr, size_t index)
{
    return index < mgr->admin_count ? admin_addr(mgr->admins[index]) : NULL;
}

/* ---- the end -------------------------------------------------------------------------------- */

void
mgr_stop(struct mgr *mgr, loop_fn fn, void *ctx)
{
    fr_require(mgr->magic == MGR_MAGIC);
    fr_require(mgr->stop_fn == NULL);
    mgr->stop_fn = fn;
    mgr->stop_ctx = ctx;
    FR_LIST_EACH(&mgr->sessions, node)
        stream_session_close(FR_CONTAINER(node, struct mgr_session, link)->stream);
    if (mgr->session_count == 0)
        loop_timer_start(mgr->loop, &mgr->stop_timer, 0, fn, ctx);
}

static void
sources_free(struct mgr *mgr)
{
    size_t cursor = 0;
    void *value;

    while (fr_map_next(mgr->sources, &cursor, NULL, &value))
        mgr_source_drop(mgr, value); /* removes the entry just returned */
    cursor = 0;
    while (fr_map_next(mgr->clusters, &cursor, NULL, &value)) {
        struct mgr_cluster *cluster = value;
        config_cluster_unref(&cluster->config);
        mgr_cluster_release(cluster);
    }
}

void
mgr_free(struct mgr **mgr)
{
    struct mgr *old = *mgr;

    if (!old)
        return;
    fr_require(old->magic == MGR_MAGIC);
    loop_timer_stop(&old->tick);
    loop_timer_stop(&old->stop_timer);
    loop_defer_cancel(&old->decide_task);
    for (size_t i = 0; i < old->admin_count; i++)
        admin_free(&old->admins[i]);
    tls_identity_fini(&old->identity);
    size_t cursor = 0;
    void *value;
    while (old->journal && fr_map_next(old->clusters, &cursor, NULL, &value))
        mgr_decide_flush(value);
    FR_LIST_EACH_SAFE(&old->sessions, node)
        mgr_session_free(FR_CONTAINER(node, struct mgr_session, link));
    sources_free(old);
    mgr_purges_free(old);
    mgr_request_free_all(old);
    mgr_journal_close(&old->journal);
    config_drop(old);
    fr_map_free(&old->requests_by_key, NULL);
    fr_map_free(&old->hosts_by_id, NULL);
    fr_map_free(&old->hosts_by_address, NULL);
    fr_map_free(&old->sources, NULL);
    fr_map_free(&old->clusters, NULL);
    fr_map_free(&old->pools, fr_free);
    fr_free(old->scratch);
    fr_free(old->admins);
    fr_free(old->journal_path);
    old->magic = 0;
    fr_free(old);
    *mgr = NULL;
}
