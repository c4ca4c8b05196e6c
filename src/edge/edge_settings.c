/* SPDX-License-Identifier: Apache-2.0 */
/*
 * edge_settings.c - routes and clusters in force: the file's, less what was removed or replaced at
 * run time, plus what was introduced; and the members that the file names.
 *
 * Threads:  control loop.
 */
#include "edge/edge_priv.h"

#include "base/fr_thread.h"

static bool
is_removed(char (*names)[CONFIG_NAME_BYTES], size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

/* Names of the file's routes that the ledger has others for, or took away. */
static struct fr_map *
routes_replaced(const struct cluster_ledger *ledger)
{
    struct fr_map *names = fr_map_new();
    for (size_t i = 0; i < ledger->route_count; i++)
        (void)fr_map_put(names, fr_view_of(ledger->routes[i]->name), names); /* any value */
    for (size_t i = 0; i < ledger->removed_route_count; i++)
        (void)fr_map_put(names, fr_view_of(ledger->removed_routes[i]), names);
    return names;
}

static bool
cluster_replaced(const struct cluster_ledger *ledger, const char *name)
{
    for (size_t i = 0; i < ledger->cluster_count; i++)
        if (strcmp(ledger->clusters[i]->name, name) == 0)
            return true;
    return is_removed(ledger->removed_clusters, ledger->removed_cluster_count, name);
}

static void
free_routes(struct edge *edge)
{
    for (size_t i = 0; i < edge->route_count; i++)
        config_route_unref(&edge->routes[i]);
    fr_free(edge->routes);
    edge->routes = NULL;
    edge->route_count = 0;
}

static void
apply_routes(struct edge *edge, const struct cluster_ledger *ledger)
{
    const struct config *config = edge->config;
    free_routes(edge);
    edge->routes_changed = true;
    struct fr_map *replaced = routes_replaced(ledger);
    edge->routes =
        fr_xalloc((config->route_count + ledger->route_count + 1) * sizeof(struct config_route *));
    for (size_t i = 0; i < config->route_count; i++)
        if (!fr_map_get(replaced, fr_view_of(config->routes[i]->name)))
            edge->routes[edge->route_count++] = config_route_ref(config->routes[i]);
    for (size_t i = 0; i < ledger->route_count; i++)
        edge->routes[edge->route_count++] = config_route_ref(ledger->routes[i]);
    fr_map_free(&replaced, NULL);
}

static void
ledger_weight(const struct cluster_ledger *ledger, const struct config_member *member,
              uint32_t *out_weight, uint32_t *out_normal)
{
    *out_weight = *out_normal = member->weight;
    for (size_t i = 0; i < ledger->weight_count; i++) {
        const struct cluster_ledger_weight *row = &ledger->weights[i];
        if (strcmp(row->id, member->id) != 0)
            continue;
        *out_weight = row->weight;
        if (row->weight_normal != CLUSTER_WEIGHT_OF_FILE)
            *out_normal = row->weight_normal;
        return;
    }
}

static bool
is_wanted(const struct edge_wanted_list *list, const struct edge_member *member)
{
    const struct edge_wanted *found = edge_wanted_find(list, member->shared->id);
    return found && loop_addr_equal(&found->addr, &member->shared->addr);
}

static void
sync_member(struct edge_cluster *cluster, const struct edge_wanted *wanted,
            const struct cluster_ledger *ledger)
{
    uint32_t weight, normal;
    ledger_weight(ledger, wanted->from, &weight, &normal);
    struct edge_member *member = edge_member_find(cluster, fr_view_of(wanted->id));
    if (member != NULL) {
        member->weight_normal = normal;
        edge_member_weight(member, weight);
        return;
    }
    /* Where it cannot join, it is logged why. */
    (void)edge_member_join(cluster, &(struct edge_member_init){
                                        .id = fr_view_of(wanted->id),
                                        .addr = &wanted->addr,
                                        .name = wanted->from->name,
                                        .origin = EDGE_FROM_FILE,
                                        .weight = weight,
                                        .weight_normal = normal,
                                        .ramp = cluster->edge->started,
                                    });
}

/* Members that the file (or a cluster introduced at run time) names. */
static void
sync_members(struct edge_cluster *cluster, const struct cluster_ledger *ledger)
{
    struct edge_wanted_list wanted;
    fr_give_way();
    edge_names_expand(cluster->edge, cluster->config, &wanted);
    FR_LIST_EACH_SAFE(&cluster->members, node) {
        struct edge_member *member = FR_CONTAINER(node, struct edge_member, link);
        if (member->origin == EDGE_FROM_FILE && !is_wanted(&wanted, member))
            edge_member_leave(member);
    }
    for (size_t i = 0; i < wanted.count; i++)
        sync_member(cluster, &wanted.items[i], ledger);
    edge_wanted_free(&wanted);
}

static bool
in_force(const struct config *config, const struct cluster_ledger *ledger, const char *name)
{
    for (size_t i = 0; i < ledger->cluster_count; i++)
        if (strcmp(ledger->clusters[i]->name, name) == 0)
            return true;
    return config_find_cluster(config, fr_view_of(name)) != NULL &&
           !is_removed(ledger->removed_clusters, ledger->removed_cluster_count, name);
}

void
edge_settings_apply(struct edge *edge)
{
    const struct cluster_ledger *ledger = allocator_ledger(edge->allocator);
    const struct config *config = edge->config;
    apply_routes(edge, ledger);
    edge_names_sync(edge);
    for (size_t i = 0; i < config->cluster_count; i++)
        if (!cluster_replaced(ledger, config->clusters[i]->name))
            sync_members(edge_cluster_put(edge, config->clusters[i]), ledger);
    for (size_t i = 0; i < ledger->cluster_count; i++)
        sync_members(edge_cluster_put(edge, ledger->clusters[i]), ledger);
    size_t cursor = 0;
    void *value = NULL;
    while (fr_map_next(edge->clusters, &cursor, NULL, &value)) {
        struct edge_cluster *cluster = value;
        if (!in_force(config, ledger, cluster->config->name))
            edge_cluster_remove(edge, cluster);
    }
    edge_publish_soon(edge);
    edge_report_soon(edge, true);
}

bool
edge_settings_has_route(const struct edge *edge, struct fr_view name)
{
    for (size_t i = 0; i < edge->route_count; i++)
        if (fr_view_is(name, edge->routes[i]->name))
            return true;
    return false;
}

bool
edge_settings_file_has_route(const struct edge *edge, struct fr_view name)
{
    for (size_t i = 0; i < edge->config->route_count; i++)
        if (fr_view_is(name, edge->config->routes[i]->name))
            return true;
    return false;
}

char *
edge_settings_conflict(struct edge *edge, const struct config_route *new_route,
                       struct fr_view removed_cluster)
{
    if (new_route != NULL && config_route_action(new_route) == CONFIG_ACTION_CLUSTER &&
        edge_cluster_find(edge, fr_view_of(new_route->cluster)) == NULL)
        return fr_xprintf("route %s names an unknown cluster: %s", new_route->name,
                          new_route->cluster);
    if (new_route != NULL && new_route->handover[0] != '\0' &&
        edge_cluster_find(edge, fr_view_of(new_route->handover)) == NULL)
        return fr_xprintf("route %s hands over to an unknown cluster: %s", new_route->name,
                          new_route->handover);
    for (size_t i = 0; removed_cluster.len && i < edge->route_count; i++)
        if (fr_view_is(removed_cluster, edge->routes[i]->cluster) ||
            fr_view_is(removed_cluster, edge->routes[i]->handover))
            return fr_xprintf("route %s still names the cluster", edge->routes[i]->name);
    return NULL;
}

static char *
route_contradiction(const struct config *config, const struct cluster_ledger *ledger,
                    const struct config_route *route)
{
    if (config_route_action(route) == CONFIG_ACTION_CLUSTER &&
        !in_force(config, ledger, route->cluster))
        return fr_xprintf("route %s names an unknown cluster: %s", route->name, route->cluster);
    if (route->handover[0] != '\0' && !in_force(config, ledger, route->handover))
        return fr_xprintf("route %s hands over to an unknown cluster: %s", route->name,
                          route->handover);
    return NULL;
}

char *
edge_settings_contradiction(const struct config *config, const struct cluster_ledger *ledger,
                            const char **out_name)
{
    char *words = NULL;
    struct fr_map *replaced = routes_replaced(ledger);
    for (size_t i = 0; i < config->route_count && words == NULL; i++) {
        const struct config_route *route = config->routes[i];
        *out_name = route->cluster; /* the ledger took it away */
        if (!fr_map_get(replaced, fr_view_of(route->name)))
            words = route_contradiction(config, ledger, route);
    }
    fr_map_free(&replaced, NULL);
    for (size_t i = 0; i < ledger->route_count && words == NULL; i++) {
        *out_name = ledger->routes[i]->name;
        words = route_contradiction(config, ledger, ledger->routes[i]);
    }
    return words;
}

/* ---- what the ledger shows besides ------------------------------------------------------- */

static void
forget_serves(struct edge *edge)
{
    for (size_t i = 0; i < edge->serves_count; i++)
        fr_free(edge->serves_texts[i]);
    edge->serves_count = 0;
}

static void
add_serves(struct edge *edge, char *text)
{
    fr_xgrow((void **)&edge->serves_texts, &edge->serves_cap, edge->serves_count + 2,
             sizeof(*edge->serves_texts));
    edge->serves_texts[edge->serves_count++] = text;
    edge->serves_texts[edge->serves_count] = NULL;
}

/* "POST example.com/api/ x-tenant: blue": a type of request in one line. */
static char *
route_words(const struct config_route *route)
{
    const char *host = route->host != NULL && *route->host ? route->host : "*";
    const char *path = route->path != NULL && *route->path ? route->path : "/";
    const char *method = route->method != NULL ? route->method : "";
    const char *name = route->header_name != NULL ? route->header_name : "";
    const char *value = route->header_value != NULL ? route->header_value : "";
    return fr_xprintf("%s%s%s%s%s%s%s%s", method, *method ? " " : "", host, path, *name ? " " : "",
                      name, *value ? ": " : "", value);
}

static const char *const *
shown_serves(void *ctx, const char *cluster)
{
    struct edge *edge = ctx;
    forget_serves(edge);
    for (size_t i = 0; i < edge->route_count; i++)
        if (strcmp(edge->routes[i]->cluster, cluster) == 0)
            add_serves(edge, route_words(edge->routes[i]));
    return edge->serves_count ? (const char *const *)edge->serves_texts : NULL;
}

void
edge_settings_shown(struct edge *edge, struct cluster_ledger_shown *out)
{
    *out = (struct cluster_ledger_shown){.serves = shown_serves, .ctx = edge};
}

void
edge_settings_free(struct edge *edge)
{
    free_routes(edge);
    forget_serves(edge);
    fr_free(edge->serves_texts);
}
