/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cluster_ledger_print.c - the ledger as text: one server, route, cluster or pool a line, so that a
 * difference between two versions reads well.
 *
 * May touch:  base, config.
 * When full:  the caller's buffer has the ceiling; FR_ERR_FULL.
 */
#include "cluster/cluster_ledger.h"

#include "base/fr_thread.h"

static const char head[] =
    "# Freshet's ledger: which servers each cluster has now. Freshet keeps this file; edit it if "
    "you\n"
    "# like: a change is picked up at once. A mistake is refused with its line and column, and "
    "what\n"
    "# was in force stays. To add a server, add a line with id, address and pool; to give one "
    "back,\n"
    "# delete its line. What stands under `serves` and `available` is only shown, not read.\n";

static enum fr_err
append(struct fr_buf *out, const char *text)
{
    return fr_buf_append_view(out, fr_view_of(text));
}

/* `["a", "b"]` of a NULL-terminated list. */
static enum fr_err
print_list(const char *const *list, struct fr_buf *out)
{
    enum fr_err err = append(out, "[");
    for (size_t i = 0; list && list[i] && !err; i++) {
        if (i)
            err = append(out, ", ");
        if (!err)
            err = config_print_scalar(fr_view_of(list[i]), out);
    }
    return err ? err : append(out, "]");
}

static enum fr_err
print_server(const struct cluster_ledger_server *server, struct fr_buf *out)
{
    enum fr_err err = append(out, "      - { id: ");
    if (!err)
        err = config_print_scalar(fr_view_of(server->id), out);
    if (!err)
        err = append(out, ", address: ");
    if (!err)
        err = config_print_scalar(fr_view_of(server->address), out);
    if (!err)
        err = append(out, ", pool: ");
    if (!err)
        err = config_print_scalar(fr_view_of(server->pool), out);
    if (!err)
        err = fr_buf_printf(out, ", state: %s", cluster_server_state_name(server->state));
    if (!err)
        err = fr_buf_printf(out, ", weight: %u", server->weight);
    if (!err && server->weight_normal != server->weight)
        err = fr_buf_printf(out, ", normal: %u", server->weight_normal);
    if (!err && server->pid)
        err = fr_buf_printf(out, ", pid: %lld", (long long)server->pid);
    if (!err && server->started)
        err = fr_buf_printf(out, ", started: %llu", (unsigned long long)server->started);
    if (!err && server->request[0])
        err = fr_buf_printf(out, ", request: \"%s\"", server->request);
    return err ? err : append(out, " }\n");
}

static enum fr_err
print_cluster_servers(const struct cluster_ledger *ledger, const struct cluster_ledger_shown *shown,
                      const char *cluster, struct fr_buf *out)
{
    const char *const *serves = shown && shown->serves ? shown->serves(shown->ctx, cluster) : NULL;
    size_t count = 0;
    enum fr_err err = append(out, "  ");
    if (!err)
        err = config_print_scalar(fr_view_of(cluster), out);
    if (!err)
        err = append(out, ":\n");
    if (!err && serves) {
        err = append(out, "    serves: ");
        if (!err)
            err = print_list(serves, out);
        if (!err)
            err = append(out, "\n");
    }
    for (size_t i = 0; i < ledger->server_count && !err; i++) {
        if (strcmp(ledger->servers[i].cluster, cluster) != 0)
            continue;
        if (count++ == 0)
            err = append(out, "    servers:\n");
        if (!err)
            err = print_server(&ledger->servers[i], out);
    }
    if (!err && count == 0)
        err = append(out, "    servers: []\n");
    return err;
}

static bool
is_in(const char *const *list, const char *name)
{
    for (size_t i = 0; list && list[i]; i++)
        if (strcmp(list[i], name) == 0)
            return true;
    return false;
}

/* The first of its cluster among the servers? Each cluster is printed once. */
static bool
is_first(const struct cluster_ledger *ledger, size_t index)
{
    for (size_t i = 0; i < index; i++)
        if (strcmp(ledger->servers[i].cluster, ledger->servers[index].cluster) == 0)
            return false;
    return true;
}

static enum fr_err
print_clusters(const struct cluster_ledger *ledger, const struct cluster_ledger_shown *shown,
               struct fr_buf *out)
{
    const char *const *names = shown ? shown->clusters : NULL;
    size_t before = out->len;
    enum fr_err err = append(out, "clusters:\n");
    size_t title = out->len;
    for (size_t i = 0; names && names[i] && !err; i++) {
        err = print_cluster_servers(ledger, shown, names[i], out);
        fr_give_way();
    }
    /* Servers of a cluster that is no longer in force are still ours: they stay in the ledger. */
    for (size_t i = 0; i < ledger->server_count && !err; i++)
        if (!is_in(names, ledger->servers[i].cluster) && is_first(ledger, i))
            err = print_cluster_servers(ledger, shown, ledger->servers[i].cluster, out);
    if (!err && out->len == title) { /* none: no title either */
        out->len = before;
        out->data[before] = '\0';
    }
    return err;
}

static enum fr_err
print_pools(const struct cluster_ledger_shown *shown, struct fr_buf *out)
{
    bool titled = false;
    enum fr_err err = FR_OK;
    if (!shown || !shown->pools || !shown->available)
        return FR_OK;
    for (size_t i = 0; shown->pools[i] && !err; i++) {
        const char *const *list = shown->available(shown->ctx, shown->pools[i]);
        if (!list)
            continue;
        err = append(out, titled ? "  " : "pools:\n  ");
        titled = true;
        if (!err)
            err = config_print_scalar(fr_view_of(shown->pools[i]), out);
        if (!err)
            err = append(out, ": { available: ");
        if (!err)
            err = print_list(list, out);
        if (!err)
            err = append(out, " }\n");
    }
    return err;
}

static enum fr_err
print_weight(const struct cluster_ledger_weight *weight, struct fr_buf *out)
{
    if (weight->weight_normal == weight->weight)
        return fr_buf_printf(out, ": %u\n", weight->weight);
    if (weight->weight_normal == CLUSTER_WEIGHT_OF_FILE)
        return fr_buf_printf(out, ": { weight: %u }\n", weight->weight);
    return fr_buf_printf(out, ": { weight: %u, normal: %u }\n", weight->weight,
                         weight->weight_normal);
}

static enum fr_err
print_weights(const struct cluster_ledger *ledger, struct fr_buf *out)
{
    enum fr_err err = ledger->weight_count ? append(out, "weights:\n") : FR_OK;
    for (size_t i = 0; i < ledger->weight_count && !err; i++) {
        err = append(out, "  ");
        if (!err)
            err = config_print_scalar(fr_view_of(ledger->weights[i].id), out);
        if (!err)
            err = print_weight(&ledger->weights[i], out);
    }
    return err;
}

static enum fr_err
print_name(const char *name, struct fr_buf *out)
{
    enum fr_err err = append(out, "  ");
    if (!err)
        err = config_print_scalar(fr_view_of(name), out);
    return err ? err : append(out, ": ");
}

static enum fr_err
print_new(const struct cluster_ledger *ledger, struct fr_buf *out)
{
    enum fr_err err = ledger->route_count ? append(out, "routes:\n") : FR_OK;
    for (size_t i = 0; i < ledger->route_count && !err; i++) {
        err = append(out, "  - ");
        if (!err)
            err = config_route_print(ledger->routes[i], out);
        if (!err)
            err = append(out, "\n");
    }
    if (!err && ledger->cluster_count)
        err = append(out, "new-clusters:\n");
    for (size_t i = 0; i < ledger->cluster_count && !err; i++) {
        err = print_name(ledger->clusters[i]->name, out);
        if (!err)
            err = config_cluster_print(ledger->clusters[i], out);
        if (!err)
            err = append(out, "\n");
    }
    if (!err && ledger->pool_count)
        err = append(out, "new-pools:\n");
    for (size_t i = 0; i < ledger->pool_count && !err; i++) {
        err = print_name(ledger->pools[i]->name, out);
        if (!err)
            err = config_pool_print(ledger->pools[i], out);
        if (!err)
            err = append(out, "\n");
    }
    return err;
}

static enum fr_err
print_names(const char *key, char (*names)[CONFIG_NAME_BYTES], size_t count, struct fr_buf *out)
{
    enum fr_err err = fr_buf_printf(out, "  %s: [", key);
    for (size_t i = 0; i < count && !err; i++) {
        if (i)
            err = append(out, ", ");
        if (!err)
            err = config_print_scalar(fr_view_of(names[i]), out);
    }
    return err ? err : append(out, "]\n");
}

static enum fr_err
print_removed(const struct cluster_ledger *ledger, struct fr_buf *out)
{
    enum fr_err err = FR_OK;
    if (ledger->removed_route_count + ledger->removed_cluster_count + ledger->removed_pool_count)
        err = append(out, "removed:\n");
    if (!err && ledger->removed_route_count)
        err = print_names("routes", ledger->removed_routes, ledger->removed_route_count, out);
    if (!err && ledger->removed_cluster_count)
        err = print_names("clusters", ledger->removed_clusters, ledger->removed_cluster_count, out);
    if (!err && ledger->removed_pool_count)
        err = print_names("pools", ledger->removed_pools, ledger->removed_pool_count, out);
    return err;
}

enum fr_err
cluster_ledger_print(const struct cluster_ledger *ledger, const struct cluster_ledger_shown *shown,
                     struct fr_buf *out)
{
    enum fr_err err = append(out, head);
    if (!err)
        err = fr_buf_printf(out, "generation: %llu\n", (unsigned long long)ledger->generation);
    if (!err)
        err = print_clusters(ledger, shown, out);
    if (!err)
        err = print_pools(shown, out);
    if (!err)
        err = print_weights(ledger, out);
    if (!err)
        err = print_new(ledger, out);
    if (!err)
        err = print_removed(ledger, out);
    return err;
}
