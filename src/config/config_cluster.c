/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config_cluster.c - clusters and their members: made, read, counted.
 *
 * May touch:  base, loop (addresses).
 * Threads:    counting is atomic; the rest belongs to the control thread.
 */
#include "config/config_priv.h"

#include "base/fr_check.h"
#include "base/fr_file.h"
#include "base/fr_map.h"
#include "base/fr_mem.h"

#include <stdio.h>

struct config_cluster *
config_cluster_new(struct fr_view name)
{
    struct config_cluster *cluster = fr_xalloc(sizeof(*cluster));
    config__defaults(CONFIG_SCOPE_CLUSTER, cluster);
    (void)fr_view_copy(name, cluster->name, sizeof(cluster->name)); /* checked by the reader */
    atomic_init(&cluster->refs, 1);
    return cluster;
}

struct config_cluster *
config_cluster_ref(struct config_cluster *cluster)
{
    unsigned before = atomic_fetch_add_explicit(&cluster->refs, 1, memory_order_relaxed);
    fr_require(before > 0);
    return cluster;
}

void
config__members_free(struct config_member **members, size_t *count)
{
    for (size_t i = 0; i < *count; i++) {
        fr_free((*members)[i].address);
        fr_free((*members)[i].name);
    }
    fr_free(*members);
    *members = NULL;
    *count = 0;
}

void
config_cluster_unref(struct config_cluster **cluster_ptr)
{
    struct config_cluster *cluster = *cluster_ptr;
    *cluster_ptr = NULL;
    if (!cluster || atomic_fetch_sub_explicit(&cluster->refs, 1, memory_order_acq_rel) != 1)
        return;
    config__members_free(&cluster->members, &cluster->member_count);
    fr_free(cluster->hash.name);
    fr_free(cluster->sticky.cookie);
    fr_free(cluster->sticky.path);
    fr_free(cluster->health.path);
    fr_free(cluster->health.host);
    fr_free(cluster->health.service);
    fr_free(cluster->utilization.agent_check);
    fr_free(cluster->park.page);
    fr_free(cluster->park.page_text);
    config__member_tls_free(&cluster->tls);
    config__windows_free(&cluster->scale.windows, &cluster->scale.window_count);
    fr_free(cluster);
}

/* "web" and "[::1]:80" give "web-1-80": runs of what a name may not hold become one dash. Ids that
 * would be too long end in a hash of the whole, so that they stay different (FNV-1a). */
void
config_member_id(const char *owner, const char *address, char out[CONFIG_NAME_BYTES])
{
    char text[CONFIG_NAME_BYTES + LOOP_ADDR_TEXT_BYTES + 2];
    size_t len = (size_t)snprintf(text, sizeof(text), "%s-", owner);
    uint32_t hash = 2166136261u;
    for (const char *c = address; *c && len + 1 < sizeof(text); c++) {
        hash = (hash ^ (unsigned char)*c) * 16777619u;
        bool word = *c == '.' || *c == '_' || config_name_valid(fr_view_make(c, 1));
        if (word)
            text[len++] = *c;
        else if (text[len - 1] != '-')
            text[len++] = '-';
    }
    text[len] = '\0';
    if (len < CONFIG_NAME_BYTES)
        memcpy(out, text, len + 1);
    else
        (void)snprintf(out, CONFIG_NAME_BYTES, "%.50s-%08x", text, hash);
}

void
config__members_finish(struct config__reader *reader, const char *owner, bool names_wait,
                       const struct config_node *list, struct config_member *members, size_t count)
{
    struct fr_map *ids = fr_map_new();
    struct fr_map *addresses = fr_map_new();
    const struct config_node *item = list ? list->first_child : NULL;
    for (size_t i = 0; i < count && item; i++, item = item->next) {
        struct config_member *member = &members[i];
        if (!member->address)
            continue; /* said so already */
        if (member->name && member->addr.len == 0)
            (names_wait ? config_diag_warn : config_diag_add)(
                reader->diag, item->line, item->column,
                "%s names \"%s\", expected an address that resolves%s", reader->where, member->name,
                names_wait ? "; it is looked up again and again" : "");
        member->id_given = member->id[0];
        if (!member->id_given)
            config_member_id(owner, member->address, member->id);
        if (fr_map_put(addresses, fr_view_of(member->address), member))
            config_diag_add(reader->diag, item->line, item->column,
                            "%s has %s twice, expected every address once", reader->where,
                            member->address);
        else if (fr_map_put(ids, fr_view_of(member->id), member))
            config_diag_add(reader->diag, item->line, item->column,
                            "%s has two members with the id %s, expected every id once",
                            reader->where, member->id);
    }
    fr_map_free(&ids, NULL);
    fr_map_free(&addresses, NULL);
}

bool
config__name_check(struct config__reader *reader, struct fr_view name,
                   const struct config_node *node, const char *what)
{
    if (config_name_valid(name))
        return true;
    int len = (int)(name.len < 100 ? name.len : 100);
    config_diag_add(reader->diag, node->key_line, node->key_column,
                    "\"%.*s\" as the name of a %s, expected letters, digits, '.', '_' and '-', "
                    "beginning with a letter or digit, at most %d",
                    len, len ? name.ptr : "", what, CONFIG_NAME_BYTES - 1);
    return false;
}

/* Who writes levels means them, and who writes a target; who writes neither has no wish but to be
 * served well. docs/decisions/0021. */
static enum config_scale_policy
policy_meant(const struct config_node *node)
{
    if (config__given(node, "scale.upper") || config__given(node, "scale.lower"))
        return CONFIG_POLICY_THRESHOLD;
    return config__given(node, "scale.target") ? CONFIG_POLICY_TARGET : CONFIG_POLICY_FORECAST;
}

static void
check_scale(struct config__reader *reader, const struct config_node *node,
            const struct config_cluster *cluster)
{
    const struct config_scale *scale = &cluster->scale;
    const struct config_node *place;
    if (!scale->from[0][0] && (scale->relief & CONFIG_RELIEF_ALLOCATE) &&
        !config__given(node, "scale.from")) {
        place = config__place(node, "scale");
        config_diag_add(reader->diag, place->line, place->column,
                        "%s.scale has no from, expected the name of a pool (or relief: [weight])",
                        reader->where);
    }
    config__check_windows(reader, node, scale);
    if (scale->min > scale->max) {
        place = config__place(node, config__given(node, "scale.min") ? "scale.min" : "scale.max");
        config_diag_add(reader->diag, place->line, place->column,
                        "%s.scale.min is %u and max is %u, expected min to be at most max",
                        reader->where, scale->min, scale->max);
    }
    if (!(scale->upper.value > scale->lower.value)) {
        place =
            config__place(node, config__given(node, "scale.upper") ? "scale.upper" : "scale.lower");
        config_diag_add(reader->diag, place->line, place->column,
                        "%s.scale.upper is %g and lower is %g, expected upper to be above lower",
                        reader->where, scale->upper.value, scale->lower.value);
    }
}

static void
check_hash(struct config__reader *reader, const struct config_node *node,
           const struct config_cluster *cluster)
{
    const struct config_hash *hash = &cluster->hash;
    bool named = hash->by == CONFIG_HASH_HEADER || hash->by == CONFIG_HASH_COOKIE;
    const struct config_node *place = config__place(node, "hash");
    if (cluster->balance != CONFIG_BALANCE_HASH)
        config_diag_add(reader->diag, place->key_line, place->key_column,
                        "%s.hash is given, but balance is not hash, expected balance: hash",
                        reader->where);
    if (named && !hash->name && !config__given(node, "hash.name")) {
        place = config__place(node, "hash.by");
        config_diag_add(reader->diag, place->line, place->column,
                        "%s.hash.by is %s without a name, expected hash.name", reader->where,
                        hash->by == CONFIG_HASH_HEADER ? "header" : "cookie");
    }
    if (!named && hash->name) {
        place = config__place(node, "hash.name");
        config_diag_add(reader->diag, place->line, place->column,
                        "%s.hash.name is given, expected it with by: header or by: cookie only",
                        reader->where);
    }
    if (hash->bound > 0 && hash->bound < 1) {
        place = config__place(node, "hash.bound");
        config_diag_add(reader->diag, place->line, place->column,
                        "%s.hash.bound is %g, expected 0 (no bound) or at least 1", reader->where,
                        hash->bound);
    }
}

/* The page is read here, because a worker opens no file. */
static void
read_page(struct config__reader *reader, const struct config_node *node,
          struct config_cluster *cluster)
{
    struct fr_buf text;
    int why = 0;
    if (!cluster->park.page || (!reader->world && !reader->restoring))
        return;
    fr_buf_init(&text, CONFIG_PAGE_BYTES_MAX);
    enum fr_err err = fr_file_read(cluster->park.page, &text, &why);
    if (err == FR_OK) {
        cluster->park.page_text = fr_xprintf("%.*s", (int)text.len, text.len ? text.data : "");
    } else {
        const struct config_node *place = config__place(node, "park.page");
        (reader->restoring ? config_diag_warn : config_diag_add)(
            reader->diag, place->line, place->column,
            "%s.park.page is \"%.200s\", which cannot be read: %s", reader->where,
            cluster->park.page, why ? strerror(why) : fr_err_words(err));
    }
    fr_buf_fini(&text);
}

static void
check_protocol(struct config__reader *reader, const struct config_node *node,
               const struct config_cluster *cluster)
{
    bool secured = cluster->tls.enabled;
    if (!(cluster->protocol == CONFIG_PROTOCOL_H2 && !secured) &&
        !(cluster->protocol == CONFIG_PROTOCOL_H2C && secured))
        return;
    const struct config_node *place = config__place(node, "protocol");
    config_diag_add(reader->diag, place->line, place->column,
                    "%s.protocol is %s %s tls, expected %s", reader->where, secured ? "h2c" : "h2",
                    secured ? "with" : "without", secured ? "h2" : "h2c");
}

static void
check_health(struct config__reader *reader, const struct config_node *node,
             const struct config_cluster *cluster)
{
    const struct config_node *place = config__place(node, "health.type");
    if (cluster->health.kind == CONFIG_HEALTH_HTTP && !cluster->health.path)
        config_diag_add(reader->diag, place->line, place->column,
                        "%s.health.type is http without a path, expected health.path",
                        reader->where);
    if (cluster->health.kind == CONFIG_HEALTH_GRPC && cluster->protocol == CONFIG_PROTOCOL_HTTP1)
        config_diag_add(reader->diag, place->line, place->column,
                        "%s.health.type is grpc with protocol http1, expected auto, h2 or h2c",
                        reader->where);
}

static void
check_servers(struct config__reader *reader, const struct config_node *node,
              const struct config_cluster *cluster)
{
    const struct config_node *members = config__given(node, "members");
    if (cluster->member_count == 0 && !cluster->scale.enabled &&
        (!members || (members->kind == CONFIG_SEQUENCE && !reader->managed)))
        config_diag_add(reader->diag, node->key_line, node->key_column,
                        "%s has neither members nor scale, expected at least one of them",
                        reader->where);
}

static void
finish_cluster(struct config__reader *reader, const struct config_node *node,
               struct config_cluster *cluster)
{
    if (!config__given(node, "health.type"))
        cluster->health.kind = cluster->health.service  ? CONFIG_HEALTH_GRPC
                               : cluster->health.path   ? CONFIG_HEALTH_HTTP
                               : cluster->scale.enabled ? CONFIG_HEALTH_TCP
                                                        : CONFIG_HEALTH_NONE;
    if (config__given(node, "hash"))
        check_hash(reader, node, cluster);
    if (config__given(node, "sticky"))
        config__check_sticky(reader, node, cluster);
    check_protocol(reader, node, cluster);
    check_health(reader, node, cluster);
    config__check_member_tls(reader, node, cluster);
    read_page(reader, node, cluster);
    config__members_finish(reader, cluster->name, true, config_node_get(node, "members"),
                           cluster->members, cluster->member_count);
    if (cluster->scale.enabled) {
        if (!config__given(node, "scale.policy"))
            cluster->scale.policy = policy_meant(node);
        check_scale(reader, node, cluster);
    }
    if (cluster->scale.enabled && cluster->member_count > cluster->scale.max) {
        const struct config_node *place = config__place(node, "scale.max");
        config_diag_warn(reader->diag, place->line, place->column,
                         "%s.scale.max is %u, but it has %zu members of its own, expected at least "
                         "as many",
                         reader->where, cluster->scale.max, cluster->member_count);
    }
}

struct config_cluster *
config__cluster_read(struct config__reader *reader, struct fr_view name,
                     const struct config_node *node)
{
    size_t saved;
    struct config_cluster *cluster = config_cluster_new(name);
    cluster->runtime = reader->runtime;
    (void)config__name_check(reader, name, node, "cluster");
    config__where_into(reader, &saved, "clusters.%.*s", (int)(name.len < 64 ? name.len : 64),
                       name.len ? name.ptr : "");
    size_t mistakes = reader->diag->error_count;
    config__read_scope(reader, CONFIG_SCOPE_CLUSTER, node, cluster);
    bool plain = reader->diag->error_count == mistakes; /* "membres" is no cluster without any */
    if (node->kind == CONFIG_MAPPING)
        finish_cluster(reader, node, cluster);
    if (node->kind == CONFIG_MAPPING && plain)
        check_servers(reader, node, cluster);
    config__where_back(reader, saved);
    return cluster;
}

static enum fr_err
cluster_read(struct fr_view name, const struct config_node *node, bool world,
             struct config_diag *diag, struct config_cluster **out)
{
    struct config__reader reader = {
        .diag = diag, .world = world, .runtime = true, .restoring = !world};
    size_t errors = diag->error_count;
    struct config_cluster *cluster = config__cluster_read(&reader, name, node);
    if (diag->error_count > errors) {
        config_cluster_unref(&cluster);
        return FR_ERR_CONFIG;
    }
    *out = cluster;
    return FR_OK;
}

enum fr_err
config_cluster_from_tree(struct fr_view name, const struct config_node *node,
                         struct config_diag *diag, struct config_cluster **out)
{
    return cluster_read(name, node, true, diag, out);
}

enum fr_err
config_cluster_restore(struct fr_view name, const struct config_node *node,
                       struct config_diag *diag, struct config_cluster **out)
{
    return cluster_read(name, node, false, diag, out);
}

enum fr_err
config_cluster_print(const struct config_cluster *cluster, struct fr_buf *out)
{
    struct config_cluster *defaults = config_cluster_new(fr_view_of(cluster->name));
    enum fr_err err = config__print_scope(CONFIG_SCOPE_CLUSTER, cluster, defaults, out);
    config_cluster_unref(&defaults);
    return err;
}

struct config_cluster *
config_find_cluster(const struct config *config, struct fr_view name)
{
    for (size_t i = 0; i < config->cluster_count; i++)
        if (fr_view_is(name, config->clusters[i]->name))
            return config->clusters[i];
    return NULL;
}
