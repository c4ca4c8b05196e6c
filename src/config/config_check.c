/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config_check.c - what only the whole file shows: names that must meet, places that must not.
 *
 * May touch:  base, loop (addresses).
 * Trusts:     single values were checked before; those that failed are passed over here.
 */
#include "config/config_priv.h"

#include "base/fr_map.h"
#include "base/fr_mem.h"
#include "base/fr_thread.h"

#include <stdio.h>

/* An unknown name: what it is, which there are, and the nearest. */
static void
report_name(struct config__reader *reader, const struct config_node *place, const char *where,
            const char *what, const char *name, struct fr_view known)
{
    struct fr_view near = config__nearest(fr_view_of(name), known);
    config_diag_add(reader->diag, place->line, place->column,
                    "%s is \"%s\", which is not a %s, expected %s%.*s%s%.*s%s", where, name, what,
                    known.len ? "one of " : "one in the file", FR_VIEW_ARG(known),
                    near.len ? " (did you mean \"" : "", FR_VIEW_ARG(near), near.len ? "\"?)" : "");
}

static void
cluster_names(const struct config *config, struct fr_buf *out)
{
    for (size_t i = 0; i < config->cluster_count; i++)
        if (fr_buf_printf(out, "%s%s", i ? ", " : "", config->clusters[i]->name))
            return; /* enough for a message */
}

static void
pool_names(const struct config *config, struct fr_buf *out)
{
    for (size_t i = 0; i < config->pool_count; i++)
        if (fr_buf_printf(out, "%s%s", i ? ", " : "", config->pools[i]->name))
            return; /* enough for a message */
}

#define NAMES_BYTES_MAX 600

static void
check_routes(struct config__reader *reader, const struct config_node *root,
             const struct config *config)
{
    const struct config_node *list = config_node_get(root, "routes");
    const struct config_node *item = list ? list->first_child : NULL;
    struct fr_map *names = fr_map_new();
    struct fr_buf known;
    fr_buf_init(&known, NAMES_BYTES_MAX);
    cluster_names(config, &known);
    for (size_t i = 0; i < config->route_count && item; i++, item = item->next) {
        const struct config_route *route = config->routes[i];
        char where[64];
        fr_give_way();
        const struct config_node *place = config__place(item, "cluster");
        (void)snprintf(where, sizeof(where), "routes[%zu].cluster", i);
        if (route->cluster[0] && !config_find_cluster(config, fr_view_of(route->cluster)))
            report_name(reader, place, where, "cluster", route->cluster, fr_buf_view(&known));
        place = config__place(item, "handover");
        (void)snprintf(where, sizeof(where), "routes[%zu].handover", i);
        if (route->handover[0] && !config_find_cluster(config, fr_view_of(route->handover)))
            report_name(reader, place, where, "cluster", route->handover, fr_buf_view(&known));
        place = config__place(item, "name");
        if (fr_map_put(names, fr_view_of(route->name), config->routes[i]))
            config_diag_add(reader->diag, place->line, place->column,
                            "routes[%zu] has the name %s, which another route has, expected every "
                            "name once",
                            i, route->name);
    }
    fr_buf_fini(&known);
    fr_map_free(&names, NULL);
}

/* How many servers a pool can have out at once. */
static uint64_t
pool_size(const struct config_pool *pool)
{
    if (pool->port_first)
        return (uint64_t)(pool->port_last - pool->port_first) + 1;
    return pool->server_count;
}

/* False: one of them is not there, and that was said. Otherwise *out_size is how many servers they
 * can have out together. */
static bool
check_scale_pools(struct config__reader *reader, const struct config_node *item,
                  const struct config *config, const struct config_cluster *cluster,
                  struct fr_view known, uint64_t *out_size)
{
    const struct config_node *place = config__place(item, "scale.from");
    const struct config_node *each = place->kind == CONFIG_SEQUENCE ? place->first_child : NULL;
    char where[128];
    bool found = true;
    *out_size = 0;
    (void)snprintf(where, sizeof(where), "clusters.%s.scale.from", cluster->name);
    for (size_t i = 0; i < CONFIG_SCALE_POOLS_MAX && cluster->scale.from[i][0]; i++) {
        const char *name = cluster->scale.from[i];
        const struct config_pool *pool = config_find_pool(config, fr_view_of(name));
        if (pool)
            *out_size += pool_size(pool);
        else
            report_name(reader, each ? each : place, where, "pool", name, known);
        found = found && pool;
        each = each ? each->next : NULL;
    }
    return found;
}

static void
check_clusters(struct config__reader *reader, const struct config_node *root,
               const struct config *config)
{
    const struct config_node *map = config_node_get(root, "clusters");
    const struct config_node *item = map ? map->first_child : NULL;
    struct fr_buf known;
    fr_buf_init(&known, NAMES_BYTES_MAX);
    pool_names(config, &known);
    for (size_t i = 0; i < config->cluster_count && item; i++, item = item->next) {
        const struct config_cluster *cluster = config->clusters[i];
        uint64_t size = 0;
        if (!cluster->scale.enabled || !cluster->scale.from[0][0])
            continue;
        if (!check_scale_pools(reader, item, config, cluster, fr_buf_view(&known), &size) ||
            size == 0)
            continue;
        size += cluster->member_count;
        const struct config_node *place =
            config__place(item, config__given(item, "scale.max") ? "scale.max" : "scale.from");
        bool single = !cluster->scale.from[1][0];
        if (size < cluster->scale.max)
            config_diag_warn(reader->diag, place->line, place->column,
                             "clusters.%s.scale.max is %u, but %s%s and its own members make "
                             "%llu, expected %s that can fill it",
                             cluster->name, cluster->scale.max, single ? "pool " : "its pools",
                             single ? cluster->scale.from[0] : "", (unsigned long long)size,
                             single ? "a pool" : "pools");
    }
    fr_buf_fini(&known);
}

/* An id is what reports, commands and the ledger call a member: one of each in the whole file. */
static void
check_member_ids(struct config__reader *reader, const struct config_node *root,
                 const struct config *config)
{
    const struct config_node *map = config_node_get(root, "clusters");
    const struct config_node *item = map ? map->first_child : NULL;
    struct fr_map *ids = fr_map_new();
    for (size_t i = 0; i < config->cluster_count && item; i++, item = item->next) {
        struct config_cluster *cluster = config->clusters[i];
        const struct config_node *list = config_node_get(item, "members");
        const struct config_node *place = list ? list->first_child : NULL;
        for (size_t k = 0; k < cluster->member_count && place; k++, place = place->next) {
            const char *id = cluster->members[k].id;
            const struct config_cluster *other =
                id[0] ? fr_map_put(ids, fr_view_of(id), cluster) : NULL;
            if (other && other != cluster)
                config_diag_add(reader->diag, place->line, place->column,
                                "clusters.%s has a member with the id %s, which cluster %s has "
                                "too, expected every id once",
                                cluster->name, id, other->name);
        }
    }
    fr_map_free(&ids, NULL);
}

static bool
ports_overlap(const struct config_pool *a, const struct config_pool *b)
{
    return a->port_first && b->port_first && a->port_first <= b->port_last &&
           b->port_first <= a->port_last && strcmp(a->host, b->host) == 0;
}

/* A static server in two pools could be allocated twice; so could a port. */
static void
check_pools(struct config__reader *reader, const struct config_node *root,
            const struct config *config)
{
    const struct config_node *map = config_node_get(root, "pools");
    const struct config_node *item = map ? map->first_child : NULL;
    struct fr_map *addresses = fr_map_new();
    for (size_t i = 0; i < config->pool_count && item; i++, item = item->next) {
        struct config_pool *pool = config->pools[i];
        const struct config_node *place = config__place(item, "ports");
        for (size_t k = 0; k < i; k++)
            if (ports_overlap(pool, config->pools[k]))
                config_diag_add(
                    reader->diag, place->line, place->column,
                    "pools.%s.ports is %u-%u, which overlaps %u-%u of pool %s, expected "
                    "every port in one pool",
                    pool->name, pool->port_first, pool->port_last, config->pools[k]->port_first,
                    config->pools[k]->port_last, config->pools[k]->name);
        const struct config_node *list = config_node_get(item, "servers");
        place = list ? list->first_child : NULL;
        for (size_t k = 0; k < pool->server_count && place; k++, place = place->next) {
            const char *address = pool->servers[k].address;
            const struct config_pool *other =
                address ? fr_map_put(addresses, fr_view_of(address), pool) : NULL;
            if (other && other != pool)
                config_diag_add(reader->diag, place->line, place->column,
                                "pools.%s has %s, which pool %s has too, expected every server in "
                                "one pool",
                                pool->name, address, other->name);
        }
    }
    fr_map_free(&addresses, NULL);
}

/* The place of one listener: an item of the list, or the value that stands for the only one. */
static const struct config_node *
listen_place(const struct config_node *node, size_t index)
{
    if (node && node->kind == CONFIG_SEQUENCE) {
        node = node->first_child;
        while (node && index-- > 0)
            node = node->next;
    }
    return node;
}

static void
check_listen_list(struct config__reader *reader, const struct config_node *node, const char *key,
                  const struct config_listen *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct config_node *place = listen_place(node, i);
        for (size_t k = 0; k < i && place && list[i].text; k++)
            if (list[k].text && loop_addr_equal(&list[i].addr, &list[k].addr) &&
                (loop_addr_port(&list[i].addr) != 0 || list[i].addr.sa.any.sa_family == AF_UNIX))
                config_diag_add(reader->diag, place->line, place->column,
                                "%s has %s twice, expected every address once", key, list[i].text);
    }
}

static void
check_listen(struct config__reader *reader, const struct config_node *root,
             const struct config *config)
{
    const struct config_manager *manager = &config->manager;
    const struct config_node *node = config__given(root, "manager.listen");
    check_listen_list(reader, config_node_get(root, "listen"), "listen", config->listen,
                      config->listen_count);
    check_listen_list(reader, node, "manager.listen", manager->listen, manager->listen_count);
    for (size_t i = 0; i < manager->listen_count; i++) {
        const struct config_node *place = listen_place(node, i);
        if (manager->listen[i].text && place && !manager->tls.enabled &&
            !loop_addr_is_local(&manager->listen[i].addr))
            config_diag_add(
                reader->diag, place->line, place->column,
                "manager.listen has %s without manager.tls, expected both, or unix:PATH "
                "or a loopback address: the stream leaves the machine encrypted only",
                manager->listen[i].text);
        if (manager->listen[i].tls.enabled && place)
            config_diag_add(reader->diag, place->line, place->column,
                            "manager.listen has tls, expected it as manager.tls, which is for "
                            "both ends of the stream");
        for (size_t k = 0; k < config->listen_count && place; k++)
            if (manager->listen[i].text && config->listen[k].text &&
                loop_addr_equal(&manager->listen[i].addr, &config->listen[k].addr) &&
                loop_addr_port(&config->listen[k].addr) != 0)
                config_diag_add(reader->diag, place->line, place->column,
                                "manager.listen has %s, which listen has too, expected every "
                                "address once",
                                manager->listen[i].text);
    }
    node = config__given(root, "manager.connect");
    if (node && manager->connect && !manager->tls.enabled &&
        !loop_addr_is_local(&manager->connect_addr))
        config_diag_add(reader->diag, node->line, node->column,
                        "manager.connect is %s without manager.tls, expected both, or unix:PATH or "
                        "a loopback address: the stream leaves the machine encrypted only",
                        manager->connect);
}

static void
need(struct config__reader *reader, const struct config_node *root, const char *path,
     const char *role, const char *what)
{
    const struct config_node *node = config__given(root, path);
    bool empty = node && node->kind != CONFIG_SCALAR && node->child_count == 0;
    bool listen = fr_view_is(fr_view_of(what), "an address or a list of them");
    if (node && (!empty || listen)) /* an empty list of listeners was refused by its type */
        return;
    if (empty)
        config_diag_add(reader->diag, node->line, node->column, "%s is empty, expected %s", path,
                        what);
    else
        config_diag_add(reader->diag, 0, 0, "no %s, expected %s: %s needs it", path, what, role);
}

/* An edge that answers everything by itself needs no cluster. */
static bool
all_answered_here(const struct config *config)
{
    for (size_t i = 0; i < config->route_count; i++)
        if (config_route_action(config->routes[i]) == CONFIG_ACTION_CLUSTER)
            return false;
    return config->route_count > 0;
}

static void
check_role(struct config__reader *reader, const struct config_node *root, enum config_role role,
           const struct config *config)
{
    static const char *const names[] = {"freshet run", "freshet edge", "freshet manager",
                                        "freshet agent", "freshet allocator"};
    const char *name = names[role];
    if (role == CONFIG_ROLE_RUN || role == CONFIG_ROLE_EDGE) {
        need(reader, root, "listen", name, "an address or a list of them");
        need(reader, root, "routes", name, "a list of routes");
        if (!all_answered_here(config))
            need(reader, root, "clusters", name, "clusters by name");
    }
    if (role == CONFIG_ROLE_MANAGER)
        need(reader, root, "manager.listen", name, "an address or a list of them");
    if (role == CONFIG_ROLE_ALLOCATOR) {
        need(reader, root, "clusters", name, "clusters by name");
        need(reader, root, "pools", name, "pools by name");
    }
    if (role == CONFIG_ROLE_ALLOCATOR || role == CONFIG_ROLE_AGENT)
        need(reader, root, "manager.connect", name, "the manager's address");
}

static void
check_relief(struct config__reader *reader, const struct config_node *root,
             const struct config *config)
{
    const struct config_edge_relief *relief = &config->relief;
    if (!relief->enabled || relief->upper.value > relief->lower.value)
        return;
    const struct config_node *place = config__place(
        root, config__given(root, "edge.relief.upper") ? "edge.relief.upper" : "edge.relief.lower");
    config_diag_add(reader->diag, place->line, place->column,
                    "edge.relief.upper is %g and lower is %g, expected upper to be above lower",
                    relief->upper.value, relief->lower.value);
}

void
config__check_file(struct config__reader *reader, const struct config_node *root,
                   enum config_role role, const struct config *config)
{
    if (!root || root->kind == CONFIG_MAPPING)
        check_role(reader, root, role, config);
    if (!root)
        return;
    check_routes(reader, root, config);
    check_clusters(reader, root, config);
    check_member_ids(reader, root, config);
    check_pools(reader, root, config);
    check_listen(reader, root, config);
    config__check_control(reader, root, config);
    config__check_trust(reader, root, config);
    check_relief(reader, root, config);
    config__check_sticky_keys(reader, root, config);
}
