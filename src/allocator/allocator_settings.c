/* SPDX-License-Identifier: Apache-2.0 */
/*
 * allocator_settings.c - clusters and pools in force: the file's, and the ledger's laid over them.
 *
 * May touch:  base, config, cluster, provider.  Never: files, logs.
 * Threads:    the control thread.
 * Memory:     settings are counted references; a provider a pool.
 *
 * Every change is all or nothing: the new set is made beside the old one, checked, written into the
 * ledger, and only then put in its place. A pool that is no longer in force stays, retired, until
 * its last server has gone back: somebody must be able to stop it.
 */
#include "allocator/allocator_priv.h"

#include "base/fr_check.h"
#include "base/fr_mem.h"

#include <stdio.h>

/* ---- sets of settings ---------------------------------------------------------------------------
 */

void
allocator__settings_fini(struct allocator__settings *settings)
{
    for (size_t i = 0; i < settings->cluster_count; i++)
        config_cluster_unref(&settings->clusters[i]);
    for (size_t i = 0; i < settings->pool_count; i++)
        config_pool_unref(&settings->pools[i]);
    fr_free(settings->clusters);
    fr_free(settings->pools);
    *settings = (struct allocator__settings){0};
}

static void
settings_add_cluster(struct allocator__settings *settings, struct config_cluster *cluster)
{
    fr_xgrow((void **)&settings->clusters, &settings->cluster_cap, settings->cluster_count + 1,
             sizeof(settings->clusters[0]));
    settings->clusters[settings->cluster_count++] = config_cluster_ref(cluster);
}

static void
settings_add_pool(struct allocator__settings *settings, struct config_pool *pool)
{
    fr_xgrow((void **)&settings->pools, &settings->pool_cap, settings->pool_count + 1,
             sizeof(settings->pools[0]));
    settings->pools[settings->pool_count++] = config_pool_ref(pool);
}

void
allocator__settings_copy(struct config_cluster *const *clusters, size_t cluster_count,
                         struct config_pool *const *pools, size_t pool_count,
                         struct allocator__settings *out)
{
    *out = (struct allocator__settings){0};
    for (size_t i = 0; i < cluster_count; i++)
        settings_add_cluster(out, clusters[i]);
    for (size_t i = 0; i < pool_count; i++)
        settings_add_pool(out, pools[i]);
}

struct config_cluster *
allocator__settings_cluster(const struct allocator__settings *settings, const char *name)
{
    for (size_t i = 0; i < settings->cluster_count; i++)
        if (strcmp(settings->clusters[i]->name, name) == 0)
            return settings->clusters[i];
    return NULL;
}

struct config_pool *
allocator__settings_pool(const struct allocator__settings *settings, const char *name)
{
    for (size_t i = 0; i < settings->pool_count; i++)
        if (strcmp(settings->pools[i]->name, name) == 0)
            return settings->pools[i];
    return NULL;
}

static bool
names_have(char (*names)[CONFIG_NAME_BYTES], size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

void
allocator__settings_make(const struct allocator__settings *file,
                         const struct cluster_ledger *ledger, struct allocator__settings *out)
{
    *out = (struct allocator__settings){0};
    for (size_t i = 0; i < ledger->cluster_count; i++)
        settings_add_cluster(out, ledger->clusters[i]);
    for (size_t i = 0; i < ledger->pool_count; i++)
        settings_add_pool(out, ledger->pools[i]);
    for (size_t i = 0; i < file->cluster_count; i++) {
        const char *name = file->clusters[i]->name;
        if (!allocator__settings_cluster(out, name) &&
            !names_have(ledger->removed_clusters, ledger->removed_cluster_count, name))
            settings_add_cluster(out, file->clusters[i]);
    }
    for (size_t i = 0; i < file->pool_count; i++) {
        const char *name = file->pools[i]->name;
        if (!allocator__settings_pool(out, name) &&
            !names_have(ledger->removed_pools, ledger->removed_pool_count, name))
            settings_add_pool(out, file->pools[i]);
    }
}

/* ---- pools and their providers
 * -------------------------------------------------------------------- */

struct allocator__pool *
allocator__pool_find(struct allocator *allocator, const char *name)
{
    FR_LIST_EACH(&allocator->pools, node) {
        struct allocator__pool *pool = FR_CONTAINER(node, struct allocator__pool, link);
        if (strcmp(pool->name, name) == 0)
            return pool;
    }
    return NULL;
}

size_t
allocator__pool_servers(const struct allocator__pool *pool)
{
    size_t count = 0;
    FR_LIST_EACH(&pool->allocator->servers, node)
        count += FR_CONTAINER(node, struct allocator__server, link)->pool == pool;
    return count;
}

static void
pool_free(struct allocator__pool *pool, bool leave_running)
{
    fr_list_remove(&pool->link);
    pool->ops->fini(&pool->provider, leave_running);
    config_pool_unref(&pool->config);
    fr_free(pool);
}

static enum fr_err
pool_new(struct allocator *allocator, struct config_pool *config, struct allocator__pool **out)
{
    const struct provider_ops *ops = config->provider ? provider_find(config->provider) : NULL;
    if (!ops)
        return FR_ERR_UNSUPPORTED;
    struct allocator__pool *pool = fr_xalloc(sizeof(*pool));
    enum fr_err err = ops->init(config, allocator->loop, &allocator__provider_events,
                                allocator->state_folder, &pool->provider);
    if (err) {
        fr_free(pool);
        return err;
    }
    pool->allocator = allocator;
    pool->config = config_pool_ref(config);
    pool->ops = ops;
    pool->id_next = 1;
    (void)fr_view_copy(fr_view_of(config->name), pool->name, sizeof(pool->name));
    fr_list_init(&pool->link);
    *out = pool;
    return FR_OK;
}

enum fr_err
allocator__pool_retired(struct allocator *allocator, const char *name, bool processes,
                        struct allocator__pool **out)
{
    struct config_pool *config = config_pool_new(fr_view_of(name));
    fr_free(config->provider);
    config->provider = fr_xstrdup(processes ? "process" : "static");
    enum fr_err err = pool_new(allocator, config, out);
    config_pool_unref(&config);
    if (!err) {
        (*out)->retired = true;
        fr_list_push_back(&allocator->pools, &(*out)->link);
    }
    return err;
}

void
allocator__pools_sweep(struct allocator *allocator)
{
    FR_LIST_EACH_SAFE(&allocator->pools, node) {
        struct allocator__pool *pool = FR_CONTAINER(node, struct allocator__pool, link);
        if (pool->retired && allocator__pool_servers(pool) == 0)
            pool_free(pool, true);
    }
}

void
allocator__pools_free(struct allocator *allocator, bool leave_running)
{
    FR_LIST_EACH_SAFE(&allocator->pools, node)
        pool_free(FR_CONTAINER(node, struct allocator__pool, link), leave_running);
}

void
allocator__pool_id(struct allocator__pool *pool, char out[CONFIG_NAME_BYTES])
{
    /* A long name is cut, so that the number always fits and the whole stays a name. */
    (void)snprintf(out, CONFIG_NAME_BYTES, "%.40s-%llu", pool->name,
                   (unsigned long long)pool->id_next);
    pool->id_next++;
}

void
allocator__pool_id_seen(struct allocator__pool *pool, const char *id)
{
    char prefix[CONFIG_NAME_BYTES];
    uint64_t number;
    int len = snprintf(prefix, sizeof(prefix), "%.40s-", pool->name);
    struct fr_view rest = fr_view_of(id);
    if (!fr_view_starts(rest, fr_view_of(prefix)))
        return;
    rest = fr_view_make(rest.ptr + len, rest.len - (size_t)len);
    if (fr_view_u64(rest, &number) && number >= pool->id_next && number < UINT64_MAX)
        pool->id_next = number + 1;
}

uint32_t
allocator__pool_weight(const struct allocator__pool *pool, const char *address)
{
    for (size_t i = 0; i < pool->config->server_count; i++)
        if (strcmp(pool->config->servers[i].address, address) == 0)
            return pool->config->servers[i].weight;
    return ALLOCATOR_WEIGHT_DEFAULT;
}

/* ---- a new set in force
 * --------------------------------------------------------------------------- */

enum fr_err
allocator__settings_check(struct allocator *allocator, const struct allocator__settings *settings,
                          char *why, size_t why_bytes)
{
    for (size_t i = 0; i < settings->pool_count; i++) {
        const struct config_pool *config = settings->pools[i];
        struct allocator__pool *pool = allocator__pool_find(allocator, config->name);
        const struct provider_ops *ops = config->provider ? provider_find(config->provider) : NULL;
        if (!ops) {
            (void)snprintf(why, why_bytes, "pool %s: provider is \"%s\", expected one of %s",
                           config->name, config->provider ? config->provider : "",
                           provider_names());
            return FR_ERR_CONFIG;
        }
        if (pool && pool->ops != ops && allocator__pool_servers(pool)) {
            (void)snprintf(why, why_bytes,
                           "pool %s: its provider can't change while servers are allocated from it",
                           config->name);
            return FR_ERR_STATE;
        }
    }
    return FR_OK;
}

/* Providers for the pools that have none yet. On failure those made here are gone again. */
static enum fr_err
pools_make(struct allocator *allocator, const struct allocator__settings *settings, char *why,
           size_t why_bytes)
{
    struct fr_list made;
    fr_list_init(&made);
    for (size_t i = 0; i < settings->pool_count; i++) {
        struct config_pool *config = settings->pools[i];
        struct allocator__pool *old = allocator__pool_find(allocator, config->name), *pool;
        if (old && old->ops == provider_find(config->provider))
            continue;
        enum fr_err err = pool_new(allocator, config, &pool);
        if (err) {
            (void)snprintf(why, why_bytes, "pool %s: %s", config->name, fr_err_words(err));
            FR_LIST_EACH_SAFE(&made, node)
                pool_free(FR_CONTAINER(node, struct allocator__pool, link), true);
            return err;
        }
        fr_list_push_back(&made, &pool->link);
    }
    while (!fr_list_empty(&made)) {
        struct allocator__pool *pool =
            FR_CONTAINER(fr_list_pop_front(&made), struct allocator__pool, link);
        struct allocator__pool *old = allocator__pool_find(allocator, pool->name);
        if (old) { /* of another provider, and without servers: checked */
            pool->id_next = old->id_next;
            pool_free(old, true);
        }
        fr_list_push_back(&allocator->pools, &pool->link);
    }
    return FR_OK;
}

enum fr_err
allocator__settings_apply(struct allocator *allocator, struct allocator__settings *settings,
                          char *why, size_t why_bytes)
{
    enum fr_err err = allocator__settings_check(allocator, settings, why, why_bytes);
    if (!err)
        err = pools_make(allocator, settings, why, why_bytes);
    if (err)
        return err;
    allocator__settings_fini(&allocator->settings);
    allocator->settings = *settings;
    *settings = (struct allocator__settings){0};
    allocator__addresses_stale(allocator);
    FR_LIST_EACH(&allocator->pools, node) {
        struct allocator__pool *pool = FR_CONTAINER(node, struct allocator__pool, link);
        struct config_pool *config = allocator__settings_pool(&allocator->settings, pool->name);
        pool->retired = !config;
        if (!config || config == pool->config)
            continue;
        config_pool_unref(&pool->config);
        pool->config = config_pool_ref(config);
        pool->ops->configure(pool->provider, config);
    }
    /* Servers of a cluster that is gone have no purpose left. */
    FR_LIST_EACH(&allocator->servers, node) {
        struct allocator__server *server = FR_CONTAINER(node, struct allocator__server, link);
        if (!allocator__settings_cluster(&allocator->settings, server->provided.cluster))
            (void)allocator__event(server, ALLOCATOR_GIVE_BACK, false);
    }
    allocator__pools_sweep(allocator);
    return FR_OK;
}

/* ---- the ledger's part
 * ------------------------------------------------------------------------------ */

static void
names_add(char (**names)[CONFIG_NAME_BYTES], size_t *count, size_t *cap, const char *name)
{
    if (names_have(*names, *count, name))
        return;
    fr_xgrow((void **)names, cap, *count + 1, CONFIG_NAME_BYTES);
    (void)fr_view_copy(fr_view_of(name), (*names)[(*count)++], CONFIG_NAME_BYTES);
}

static void
names_remove(char (*names)[CONFIG_NAME_BYTES], size_t *count, const char *name)
{
    for (size_t i = 0; i < *count; i++)
        if (strcmp(names[i], name) == 0) {
            memmove(names[i], names[i + 1], (*count - i - 1) * CONFIG_NAME_BYTES);
            (*count)--;
            return;
        }
}

static void
ledger_add_route(struct cluster_ledger *ledger, struct config_route *route)
{
    fr_xgrow((void **)&ledger->routes, &ledger->route_cap, ledger->route_count + 1,
             sizeof(ledger->routes[0]));
    ledger->routes[ledger->route_count++] = config_route_ref(route);
}

static void
ledger_add_cluster(struct cluster_ledger *ledger, struct config_cluster *cluster)
{
    fr_xgrow((void **)&ledger->clusters, &ledger->cluster_cap, ledger->cluster_count + 1,
             sizeof(ledger->clusters[0]));
    ledger->clusters[ledger->cluster_count++] = config_cluster_ref(cluster);
}

static void
ledger_add_pool(struct cluster_ledger *ledger, struct config_pool *pool)
{
    fr_xgrow((void **)&ledger->pools, &ledger->pool_cap, ledger->pool_count + 1,
             sizeof(ledger->pools[0]));
    ledger->pools[ledger->pool_count++] = config_pool_ref(pool);
}

void
allocator__ledger_copy(const struct cluster_ledger *from, struct cluster_ledger *out)
{
    cluster_ledger_init(out);
    out->generation = from->generation;
    for (size_t i = 0; i < from->weight_count; i++) {
        fr_xgrow((void **)&out->weights, &out->weight_cap, i + 1, sizeof(out->weights[0]));
        out->weights[out->weight_count++] = from->weights[i];
    }
    for (size_t i = 0; i < from->route_count; i++)
        ledger_add_route(out, from->routes[i]);
    for (size_t i = 0; i < from->cluster_count; i++)
        ledger_add_cluster(out, from->clusters[i]);
    for (size_t i = 0; i < from->pool_count; i++)
        ledger_add_pool(out, from->pools[i]);
    for (size_t i = 0; i < from->removed_route_count; i++)
        names_add(&out->removed_routes, &out->removed_route_count, &out->removed_route_cap,
                  from->removed_routes[i]);
    for (size_t i = 0; i < from->removed_cluster_count; i++)
        names_add(&out->removed_clusters, &out->removed_cluster_count, &out->removed_cluster_cap,
                  from->removed_clusters[i]);
    for (size_t i = 0; i < from->removed_pool_count; i++)
        names_add(&out->removed_pools, &out->removed_pool_count, &out->removed_pool_cap,
                  from->removed_pools[i]);
}

static bool
ledger_drop_route(struct cluster_ledger *ledger, const char *name)
{
    for (size_t i = 0; i < ledger->route_count; i++)
        if (strcmp(ledger->routes[i]->name, name) == 0) {
            config_route_unref(&ledger->routes[i]);
            memmove(&ledger->routes[i], &ledger->routes[i + 1],
                    (ledger->route_count - i - 1) * sizeof(ledger->routes[0]));
            ledger->route_count--;
            return true;
        }
    return false;
}

static void
ledger_drop_cluster(struct cluster_ledger *ledger, const char *name)
{
    for (size_t i = 0; i < ledger->cluster_count; i++)
        if (strcmp(ledger->clusters[i]->name, name) == 0) {
            config_cluster_unref(&ledger->clusters[i]);
            memmove(&ledger->clusters[i], &ledger->clusters[i + 1],
                    (ledger->cluster_count - i - 1) * sizeof(ledger->clusters[0]));
            ledger->cluster_count--;
            return;
        }
}

static void
ledger_drop_pool(struct cluster_ledger *ledger, const char *name)
{
    for (size_t i = 0; i < ledger->pool_count; i++)
        if (strcmp(ledger->pools[i]->name, name) == 0) {
            config_pool_unref(&ledger->pools[i]);
            memmove(&ledger->pools[i], &ledger->pools[i + 1],
                    (ledger->pool_count - i - 1) * sizeof(ledger->pools[0]));
            ledger->pool_count--;
            return;
        }
}

/* Checks, writes, and puts in force what *next says. Takes *next, on failure too. */
static enum fr_err
ledger_take(struct allocator *allocator, struct cluster_ledger *next)
{
    struct allocator__settings settings;
    char why[ALLOCATOR_WHY_BYTES] = "";
    allocator__settings_make(&allocator->file, next, &settings);
    enum fr_err err = allocator__settings_check(allocator, &settings, why, sizeof(why));
    if (!err)
        err = allocator__write(allocator, next);
    if (!err)
        err = allocator__settings_apply(allocator, &settings, why, sizeof(why));
    if (err) {
        if (why[0])
            allocator__note(allocator, NULL, "%s", why);
        if (next->generation != allocator->ledger.generation)
            allocator__dirty(allocator); /* written, but not in force: written back */
        cluster_ledger_fini(next);
    } else {
        cluster_ledger_fini(&allocator->ledger);
        allocator->ledger = *next;
        allocator__notify(allocator, true);
        allocator__fill_later(allocator);
    }
    allocator__settings_fini(&settings);
    return err;
}

/* A ledger with more would be refused when it is read again. */
static enum fr_err
ledger_full(struct cluster_ledger *next)
{
    cluster_ledger_fini(next);
    return FR_ERR_FULL;
}

/* ---- introduced and removed at run time
 * ---------------------------------------------------------- */

enum fr_err
allocator_put_route(struct allocator *allocator, struct config_route *route)
{
    struct cluster_ledger next;
    if (config_route_action(route) == CONFIG_ACTION_CLUSTER &&
        !allocator__settings_cluster(&allocator->settings, route->cluster))
        return FR_ERR_NOT_FOUND;
    allocator__ledger_copy(&allocator->ledger, &next);
    (void)ledger_drop_route(&next, route->name); /* put replaces */
    if (next.route_count >= CONFIG_ROUTES_MAX)
        return ledger_full(&next);
    names_remove(next.removed_routes, &next.removed_route_count, route->name);
    ledger_add_route(&next, route);
    return ledger_take(allocator, &next);
}

enum fr_err
allocator_remove_route(struct allocator *allocator, struct fr_view name_view, bool in_file)
{
    struct cluster_ledger next;
    char name[CONFIG_NAME_BYTES];
    if (!config_name_valid(name_view) || !fr_view_copy(name_view, name, sizeof(name)))
        return FR_ERR_NOT_FOUND;
    allocator__ledger_copy(&allocator->ledger, &next);
    bool ours = ledger_drop_route(&next, name);
    if (!ours && (!in_file || names_have(next.removed_routes, next.removed_route_count, name))) {
        cluster_ledger_fini(&next);
        return FR_ERR_NOT_FOUND;
    }
    /* The file's routes are the caller's: one of that name there is covered too. Only then, or the
     * ledger would grow with every route that ever came and went. */
    if (in_file)
        names_add(&next.removed_routes, &next.removed_route_count, &next.removed_route_cap, name);
    return ledger_take(allocator, &next);
}

enum fr_err
allocator_put_cluster(struct allocator *allocator, struct config_cluster *cluster)
{
    struct cluster_ledger next;
    for (size_t i = 0; i < CONFIG_SCALE_POOLS_MAX && cluster->scale.enabled; i++)
        if (cluster->scale.from[i][0] &&
            !allocator__settings_pool(&allocator->settings, cluster->scale.from[i]))
            return FR_ERR_NOT_FOUND;
    allocator__ledger_copy(&allocator->ledger, &next);
    ledger_drop_cluster(&next, cluster->name);
    if (next.cluster_count >= CONFIG_CLUSTERS_MAX)
        return ledger_full(&next);
    names_remove(next.removed_clusters, &next.removed_cluster_count, cluster->name);
    ledger_add_cluster(&next, cluster);
    return ledger_take(allocator, &next);
}

static bool
cluster_is_used(const struct allocator *allocator, const char *name)
{
    FR_LIST_EACH(&allocator->servers, node) {
        const struct allocator__server *server = FR_CONTAINER(node, struct allocator__server, link);
        if (strcmp(server->provided.cluster, name) == 0 || strcmp(server->move_to, name) == 0)
            return true;
    }
    return false;
}

enum fr_err
allocator_remove_cluster(struct allocator *allocator, struct fr_view name_view)
{
    struct cluster_ledger next;
    char name[CONFIG_NAME_BYTES];
    if (!fr_view_copy(name_view, name, sizeof(name)) ||
        !allocator__settings_cluster(&allocator->settings, name))
        return FR_ERR_NOT_FOUND;
    if (cluster_is_used(allocator, name))
        return FR_ERR_STATE;
    allocator__ledger_copy(&allocator->ledger, &next);
    ledger_drop_cluster(&next, name);
    if (allocator__settings_cluster(&allocator->file, name))
        names_add(&next.removed_clusters, &next.removed_cluster_count, &next.removed_cluster_cap,
                  name);
    return ledger_take(allocator, &next);
}

enum fr_err
allocator_put_pool(struct allocator *allocator, struct config_pool *pool)
{
    struct cluster_ledger next;
    allocator__ledger_copy(&allocator->ledger, &next);
    ledger_drop_pool(&next, pool->name);
    if (next.pool_count >= CONFIG_POOLS_MAX)
        return ledger_full(&next);
    names_remove(next.removed_pools, &next.removed_pool_count, pool->name);
    ledger_add_pool(&next, pool);
    return ledger_take(allocator, &next);
}

enum fr_err
allocator_remove_pool(struct allocator *allocator, struct fr_view name_view)
{
    struct cluster_ledger next;
    char name[CONFIG_NAME_BYTES];
    if (!fr_view_copy(name_view, name, sizeof(name)) ||
        !allocator__settings_pool(&allocator->settings, name))
        return FR_ERR_NOT_FOUND;
    struct allocator__pool *pool = allocator__pool_find(allocator, name);
    if (pool && allocator__pool_servers(pool))
        return FR_ERR_STATE;
    for (size_t i = 0; i < allocator->settings.cluster_count; i++)
        if (allocator->settings.clusters[i]->scale.enabled &&
            config_scale_has_pool(&allocator->settings.clusters[i]->scale, name))
            return FR_ERR_STATE; /* it would have nowhere to scale from */
    allocator__ledger_copy(&allocator->ledger, &next);
    ledger_drop_pool(&next, name);
    if (allocator__settings_pool(&allocator->file, name))
        names_add(&next.removed_pools, &next.removed_pool_count, &next.removed_pool_cap, name);
    return ledger_take(allocator, &next);
}

enum fr_err
allocator_reload(struct allocator *allocator, struct config_cluster *const *clusters,
                 size_t cluster_count, struct config_pool *const *pools, size_t pool_count)
{
    struct allocator__settings file, settings;
    char why[ALLOCATOR_WHY_BYTES] = "";
    allocator__settings_copy(clusters, cluster_count, pools, pool_count, &file);
    allocator__settings_make(&file, &allocator->ledger, &settings);
    enum fr_err err = allocator__settings_apply(allocator, &settings, why, sizeof(why));
    if (err) {
        allocator__note(allocator, NULL, "%s", why);
        allocator__settings_fini(&settings);
        allocator__settings_fini(&file);
        return err;
    }
    allocator__settings_fini(&allocator->file);
    allocator->file = file;
    allocator__dirty(allocator); /* what the ledger shows of pools and clusters may differ now */
    allocator__notify(allocator, false);
    allocator__fill_later(allocator);
    return FR_OK;
}
