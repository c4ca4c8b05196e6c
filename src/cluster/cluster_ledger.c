/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cluster_ledger.c - the ledger's content: read, checked, changed, saved.
 *
 * May touch:  base, config, loop (addresses), files.
 * Threads:    control thread. Blocking.
 * Memory:     the ledger's own arrays; routes, clusters and pools are referenced.
 * When full:  a file past CONFIG_TREE_BYTES_MAX is neither written nor read.
 * Trusts:     nothing: people edit the file.
 */
#include "cluster/cluster_ledger.h"

#include "base/fr_check.h"
#include "base/fr_file.h"
#include "base/fr_mem.h"

#include <errno.h>
#include <stdio.h>

#define LEDGER_MODE 0600      /* a pool's environment may hold secrets */
#define PID_MAX_LIMIT 4194304 /* the kernel's own, 64 bit */
#define WEIGHT_MAX 65535
#define WEIGHT_DEFAULT 100
#define NUMBER_MAX ((uint64_t)INT64_MAX)

static const char *const state_names[] = {
    [CLUSTER_SERVER_AVAILABLE] = "available", [CLUSTER_SERVER_STARTING] = "starting",
    [CLUSTER_SERVER_READY] = "ready",         [CLUSTER_SERVER_DRAINING] = "draining",
    [CLUSTER_SERVER_STOPPING] = "stopping",
};
#define STATE_COUNT (sizeof(state_names) / sizeof(state_names[0]))

const char *
cluster_server_state_name(enum cluster_server_state state)
{
    fr_require((size_t)state < STATE_COUNT);
    return state_names[state];
}

void
cluster_ledger_init(struct cluster_ledger *ledger)
{
    *ledger = (struct cluster_ledger){0};
}

void
cluster_ledger_fini(struct cluster_ledger *ledger)
{
    for (size_t i = 0; i < ledger->route_count; i++)
        config_route_unref(&ledger->routes[i]);
    for (size_t i = 0; i < ledger->cluster_count; i++)
        config_cluster_unref(&ledger->clusters[i]);
    for (size_t i = 0; i < ledger->pool_count; i++)
        config_pool_unref(&ledger->pools[i]);
    fr_free(ledger->servers);
    fr_free(ledger->weights);
    fr_free(ledger->routes);
    fr_free(ledger->clusters);
    fr_free(ledger->pools);
    fr_free(ledger->removed_routes);
    fr_free(ledger->removed_clusters);
    fr_free(ledger->removed_pools);
    *ledger = (struct cluster_ledger){0};
}

struct cluster_ledger_server *
cluster_ledger_find(struct cluster_ledger *ledger, const char *id)
{
    for (size_t i = 0; i < ledger->server_count; i++)
        if (strcmp(ledger->servers[i].id, id) == 0)
            return &ledger->servers[i];
    return NULL;
}

static struct cluster_ledger_server *
server_add(struct cluster_ledger *ledger)
{
    fr_xgrow((void **)&ledger->servers, &ledger->server_cap, ledger->server_count + 1,
             sizeof(*ledger->servers));
    struct cluster_ledger_server *server = &ledger->servers[ledger->server_count++];
    *server = (struct cluster_ledger_server){.state = CLUSTER_SERVER_STARTING,
                                             .weight = WEIGHT_DEFAULT,
                                             .weight_normal = WEIGHT_DEFAULT};
    return server;
}

struct cluster_ledger_server *
cluster_ledger_add(struct cluster_ledger *ledger, const char *id)
{
    fr_require(config_name_valid(fr_view_of(id)));
    fr_slow_check(!cluster_ledger_find(ledger, id));
    struct cluster_ledger_server *server = server_add(ledger);
    fr_insist(fr_view_copy(fr_view_of(id), server->id, sizeof(server->id)));
    return server;
}

void
cluster_ledger_drop(struct cluster_ledger *ledger, const char *id)
{
    struct cluster_ledger_server *server = cluster_ledger_find(ledger, id);
    if (!server)
        return;
    size_t index = (size_t)(server - ledger->servers);
    memmove(server, server + 1, (ledger->server_count - index - 1) * sizeof(*server));
    ledger->server_count--;
}

/* ---- reading ------------------------------------------------------------------------------------
 */

struct ledger_reader {
    struct config_diag *diag;
    struct cluster_ledger *ledger;
    struct fr_map *ids, *addresses; /* of the servers read so far; values mean nothing */
};

/* A key that is there without a value says the same as one that is not there. */
static const struct config_node *
given(const struct config_node *mapping, const char *key)
{
    const struct config_node *node = config_node_get(mapping, key);
    bool empty = node && node->kind == CONFIG_SCALAR && node->value.len == 0 && !node->quoted;
    return empty ? NULL : node;
}

static bool
expect(struct ledger_reader *reader, const struct config_node *node, enum config_node_kind kind,
       const char *what, const char *expected)
{
    if (node->kind == kind)
        return true;
    config_diag_add(reader->diag, node->line, node->column, "%s is %s, expected %s", what,
                    node->kind == CONFIG_MAPPING    ? "a mapping"
                    : node->kind == CONFIG_SEQUENCE ? "a list"
                                                    : "a single value",
                    expected);
    return false;
}

static struct fr_view
cut(struct fr_view text)
{
    return fr_view_make(text.ptr, text.len < 200 ? text.len : 200);
}

/* A number that need not be there: node NULL leaves *out. */
static void
read_number(struct ledger_reader *reader, const struct config_node *node, const char *key,
            uint64_t max, uint64_t *out)
{
    uint64_t value;
    if (!node)
        return;
    if (node->kind == CONFIG_SCALAR && fr_view_u64(node->value, &value) && value <= max) {
        *out = value;
        return;
    }
    struct fr_view text = node->kind == CONFIG_SCALAR ? cut(node->value) : FR_VIEW("a list");
    config_diag_add(reader->diag, node->line, node->column,
                    "%s is \"%.*s\", expected a whole number from 0 to %llu", key,
                    FR_VIEW_ARG(text), (unsigned long long)max);
}

static bool
name_good(struct ledger_reader *reader, struct fr_view name, unsigned line, unsigned column,
          const char *what)
{
    if (config_name_valid(name))
        return true;
    struct fr_view shown = cut(name);
    config_diag_add(reader->diag, line, column,
                    "%s is \"%.*s\", expected letters, digits, '.', '_' and '-', beginning with a "
                    "letter or digit, at most %d",
                    what, FR_VIEW_ARG(shown), CONFIG_NAME_BYTES - 1);
    return false;
}

/* A name that must be there. */
static bool
read_name(struct ledger_reader *reader, const struct config_node *mapping, const char *key,
          char out[CONFIG_NAME_BYTES])
{
    const struct config_node *node = given(mapping, key);
    if (!node) {
        config_diag_add(reader->diag, mapping->line, mapping->column,
                        "a server without %s, expected id, address and pool", key);
        return false;
    }
    return expect(reader, node, CONFIG_SCALAR, key, "a name") &&
           name_good(reader, node->value, node->line, node->column, key) &&
           fr_view_copy(node->value, out, CONFIG_NAME_BYTES);
}

static bool
read_address(struct ledger_reader *reader, const struct config_node *mapping,
             struct cluster_ledger_server *server)
{
    const struct config_node *node = given(mapping, "address");
    struct loop_addr addr;
    if (!node) {
        config_diag_add(reader->diag, mapping->line, mapping->column,
                        "a server without address, expected id, address and pool");
        return false;
    }
    if (!expect(reader, node, CONFIG_SCALAR, "address", "HOST:PORT or unix:PATH"))
        return false;
    if (loop_addr_parse(node->value, &addr) ||
        (addr.sa.any.sa_family != AF_UNIX && loop_addr_port(&addr) == 0)) {
        struct fr_view shown = cut(node->value);
        config_diag_add(reader->diag, node->line, node->column,
                        "address is \"%.*s\", expected a numeric HOST:PORT or unix:PATH",
                        FR_VIEW_ARG(shown));
        return false;
    }
    loop_addr_format(&addr, server->address);
    if (fr_map_put(reader->addresses, fr_view_of(server->address), reader)) {
        config_diag_add(reader->diag, node->line, node->column,
                        "address %s a second time, expected every server once", server->address);
        return false;
    }
    return true;
}

static void
read_state(struct ledger_reader *reader, const struct config_node *mapping,
           struct cluster_ledger_server *server)
{
    const struct config_node *node = given(mapping, "state");
    server->edited = !node;
    if (!node)
        return;
    for (size_t i = CLUSTER_SERVER_STARTING; i < STATE_COUNT && node->kind == CONFIG_SCALAR; i++) {
        if (fr_view_is(node->value, state_names[i])) {
            server->state = (enum cluster_server_state)i;
            return;
        }
    }
    struct fr_view text = node->kind == CONFIG_SCALAR ? cut(node->value) : FR_VIEW("a list");
    config_diag_add(reader->diag, node->line, node->column,
                    "state is \"%.*s\", expected one of starting, ready, draining, stopping",
                    FR_VIEW_ARG(text));
}

/* "3:81", as the manager numbers them. */
static void
read_request(struct ledger_reader *reader, const struct config_node *mapping,
             struct cluster_ledger_server *server)
{
    const struct config_node *node = given(mapping, "request");
    uint64_t epoch, sequence;
    if (!node)
        return;
    if (node->kind == CONFIG_SCALAR) {
        struct fr_view rest = node->value, first;
        if (fr_view_split(&rest, ':', &first) && fr_view_u64(first, &epoch) &&
            fr_view_u64(rest, &sequence) &&
            fr_view_copy(node->value, server->request, sizeof(server->request)))
            return;
    }
    struct fr_view text = node->kind == CONFIG_SCALAR ? cut(node->value) : FR_VIEW("a list");
    config_diag_add(reader->diag, node->line, node->column,
                    "request is \"%.*s\", expected EPOCH:SEQUENCE, two numbers",
                    FR_VIEW_ARG(text));
}

static void
read_server(struct ledger_reader *reader, const char *cluster, const struct config_node *node)
{
    if (!expect(reader, node, CONFIG_MAPPING, "a server", "a mapping with id, address and pool"))
        return;
    (void)config_node_check_keys(node, "a server",
                                 "id, address, pool, state, weight, normal, pid, started, request",
                                 reader->diag);
    struct cluster_ledger_server server = {.state = CLUSTER_SERVER_STARTING};
    uint64_t weight = WEIGHT_DEFAULT, normal, pid = 0;
    bool good = read_name(reader, node, "id", server.id);
    good = read_address(reader, node, &server) && good;
    good = read_name(reader, node, "pool", server.pool) && good;
    read_state(reader, node, &server);
    read_number(reader, given(node, "weight"), "weight", WEIGHT_MAX, &weight);
    normal = weight; /* alone, it is what somebody wants for good */
    read_number(reader, given(node, "normal"), "normal", WEIGHT_MAX, &normal);
    read_request(reader, node, &server);
    read_number(reader, given(node, "pid"), "pid", PID_MAX_LIMIT, &pid);
    read_number(reader, given(node, "started"), "started", NUMBER_MAX, &server.started);
    if (server.id[0] && fr_map_put(reader->ids, fr_view_of(server.id), reader)) {
        const struct config_node *place = config_node_get(node, "id");
        config_diag_add(reader->diag, place->line, place->column,
                        "id %s a second time, expected every server once", server.id);
        good = false;
    }
    if (!good)
        return;
    server.weight = (uint32_t)weight;
    server.weight_normal = (uint32_t)normal;
    server.pid = (int64_t)pid;
    fr_insist(fr_view_copy(fr_view_of(cluster), server.cluster, sizeof(server.cluster)));
    *server_add(reader->ledger) = server;
}

static void
read_servers(struct ledger_reader *reader, const struct config_node *clusters)
{
    if (!clusters || !expect(reader, clusters, CONFIG_MAPPING, "clusters", "a mapping of names"))
        return;
    for (const struct config_node *node = clusters->first_child; node; node = node->next) {
        char name[CONFIG_NAME_BYTES];
        if (!name_good(reader, node->key, node->key_line, node->key_column, "a cluster's name") ||
            !fr_view_copy(node->key, name, sizeof(name)))
            continue;
        if (node->kind == CONFIG_SCALAR && node->value.len == 0)
            continue;
        if (!expect(reader, node, CONFIG_MAPPING, "a cluster", "a mapping with servers"))
            continue;
        (void)config_node_check_keys(node, "a cluster", "serves, servers", reader->diag);
        const struct config_node *list = given(node, "servers");
        if (!list || !expect(reader, list, CONFIG_SEQUENCE, "servers", "a list of servers"))
            continue;
        for (const struct config_node *item = list->first_child; item; item = item->next)
            read_server(reader, name, item);
    }
}

/* What the pools show is not read, but must not be nonsense: somebody may think that it is. */
static void
check_pools_shown(struct ledger_reader *reader, const struct config_node *pools)
{
    if (!pools || !expect(reader, pools, CONFIG_MAPPING, "pools", "a mapping of names"))
        return;
    for (const struct config_node *node = pools->first_child; node; node = node->next)
        if (node->kind == CONFIG_MAPPING)
            (void)config_node_check_keys(node, "a pool", "available", reader->diag);
}

/* A bare number is what a person wants for good; `{ weight: 20, normal: 100 }` is relieved. */
static void
read_weight(struct ledger_reader *reader, const struct config_node *node,
            struct cluster_ledger_weight *out)
{
    uint64_t weight = WEIGHT_DEFAULT, normal = CLUSTER_WEIGHT_OF_FILE;
    if (node->kind != CONFIG_MAPPING) {
        read_number(reader, node, out->id, WEIGHT_MAX, &weight);
        normal = weight;
    } else {
        (void)config_node_check_keys(node, out->id, "weight, normal", reader->diag);
        if (!given(node, "weight"))
            config_diag_add(reader->diag, node->line, node->column,
                            "%s has no weight, expected { weight: N, normal: N }", out->id);
        read_number(reader, given(node, "weight"), "weight", WEIGHT_MAX, &weight);
        read_number(reader, given(node, "normal"), "normal", WEIGHT_MAX, &normal);
    }
    out->weight = (uint32_t)weight;
    out->weight_normal = (uint32_t)normal;
}

static void
read_weights(struct ledger_reader *reader, const struct config_node *weights)
{
    struct cluster_ledger *ledger = reader->ledger;
    if (!weights || !expect(reader, weights, CONFIG_MAPPING, "weights", "a mapping of member ids"))
        return;
    for (const struct config_node *node = weights->first_child; node; node = node->next) {
        struct cluster_ledger_weight weight = {0};
        if (!name_good(reader, node->key, node->key_line, node->key_column, "a member's id") ||
            !fr_view_copy(node->key, weight.id, sizeof(weight.id)))
            continue;
        read_weight(reader, node, &weight);
        fr_xgrow((void **)&ledger->weights, &ledger->weight_cap, ledger->weight_count + 1,
                 sizeof(*ledger->weights));
        ledger->weights[ledger->weight_count++] = weight;
    }
}

static void
expect_at_most(struct ledger_reader *reader, const struct config_node *node, const char *what,
               size_t max)
{
    if (node->child_count > max)
        config_diag_add(reader->diag, node->line, node->column,
                        "%s has %zu entries, expected at most %zu", what, node->child_count, max);
}

static void
read_routes(struct ledger_reader *reader, const struct config_node *routes)
{
    struct cluster_ledger *ledger = reader->ledger;
    if (!routes || !expect(reader, routes, CONFIG_SEQUENCE, "routes", "a list of routes"))
        return;
    expect_at_most(reader, routes, "routes", CONFIG_ROUTES_MAX);
    struct fr_map *names = fr_map_new();
    for (const struct config_node *node = routes->first_child; node; node = node->next) {
        struct config_route *route = NULL;
        if (config_route_restore(node, reader->diag, &route))
            continue; /* its errors are in the diag */
        if (fr_map_put(names, fr_view_of(route->name), ledger)) {
            config_diag_add(reader->diag, node->line, node->column,
                            "route %s a second time, expected every name once", route->name);
            config_route_unref(&route);
            continue;
        }
        fr_xgrow((void **)&ledger->routes, &ledger->route_cap, ledger->route_count + 1,
                 sizeof(*ledger->routes));
        ledger->routes[ledger->route_count++] = route;
    }
    fr_map_free(&names, NULL);
}

static void
read_new_clusters(struct ledger_reader *reader, const struct config_node *clusters)
{
    struct cluster_ledger *ledger = reader->ledger;
    if (!clusters ||
        !expect(reader, clusters, CONFIG_MAPPING, "new-clusters", "a mapping of names to clusters"))
        return;
    expect_at_most(reader, clusters, "new-clusters", CONFIG_CLUSTERS_MAX);
    for (const struct config_node *node = clusters->first_child; node; node = node->next) {
        struct config_cluster *cluster = NULL;
        if (config_cluster_restore(node->key, node, reader->diag, &cluster))
            continue; /* its errors are in the diag */
        fr_xgrow((void **)&ledger->clusters, &ledger->cluster_cap, ledger->cluster_count + 1,
                 sizeof(*ledger->clusters));
        ledger->clusters[ledger->cluster_count++] = cluster;
    }
}

static void
read_new_pools(struct ledger_reader *reader, const struct config_node *pools)
{
    struct cluster_ledger *ledger = reader->ledger;
    if (!pools ||
        !expect(reader, pools, CONFIG_MAPPING, "new-pools", "a mapping of names to pools"))
        return;
    expect_at_most(reader, pools, "new-pools", CONFIG_POOLS_MAX);
    for (const struct config_node *node = pools->first_child; node; node = node->next) {
        struct config_pool *pool = NULL;
        if (config_pool_restore(node->key, node, reader->diag, &pool))
            continue; /* its errors are in the diag */
        fr_xgrow((void **)&ledger->pools, &ledger->pool_cap, ledger->pool_count + 1,
                 sizeof(*ledger->pools));
        ledger->pools[ledger->pool_count++] = pool;
    }
}

static void
read_names(struct ledger_reader *reader, const struct config_node *list, const char *what,
           char (**names)[CONFIG_NAME_BYTES], size_t *count, size_t *cap)
{
    if (!list || !expect(reader, list, CONFIG_SEQUENCE, what, "a list of names"))
        return;
    for (const struct config_node *node = list->first_child; node; node = node->next) {
        if (!expect(reader, node, CONFIG_SCALAR, what, "a list of names") ||
            !name_good(reader, node->value, node->line, node->column, "a name"))
            continue;
        fr_xgrow((void **)names, cap, *count + 1, sizeof(**names));
        (void)fr_view_copy(node->value, (*names)[*count], CONFIG_NAME_BYTES); /* valid: it fits */
        (*count)++;
    }
}

static void
read_removed(struct ledger_reader *reader, const struct config_node *removed)
{
    struct cluster_ledger *ledger = reader->ledger;
    if (!removed || !expect(reader, removed, CONFIG_MAPPING, "removed",
                            "a mapping with routes, clusters and pools"))
        return;
    (void)config_node_check_keys(removed, "removed", "routes, clusters, pools", reader->diag);
    read_names(reader, given(removed, "routes"), "routes", &ledger->removed_routes,
               &ledger->removed_route_count, &ledger->removed_route_cap);
    read_names(reader, given(removed, "clusters"), "clusters", &ledger->removed_clusters,
               &ledger->removed_cluster_count, &ledger->removed_cluster_cap);
    read_names(reader, given(removed, "pools"), "pools", &ledger->removed_pools,
               &ledger->removed_pool_count, &ledger->removed_pool_cap);
}

static void
read_root(struct ledger_reader *reader, const struct config_node *root)
{
    if (!expect(reader, root, CONFIG_MAPPING, "the ledger", "a mapping"))
        return;
    (void)config_node_check_keys(root, "the ledger",
                                 "generation, clusters, pools, weights, routes, new-clusters, "
                                 "new-pools, removed",
                                 reader->diag);
    read_number(reader, given(root, "generation"), "generation", NUMBER_MAX,
                &reader->ledger->generation);
    read_servers(reader, given(root, "clusters"));
    check_pools_shown(reader, given(root, "pools"));
    read_weights(reader, given(root, "weights"));
    read_routes(reader, given(root, "routes"));
    read_new_clusters(reader, given(root, "new-clusters"));
    read_new_pools(reader, given(root, "new-pools"));
    read_removed(reader, given(root, "removed"));
}

enum fr_err
cluster_ledger_parse(struct fr_view text, const char *name, struct config_diag *diag,
                     struct cluster_ledger *out)
{
    struct config_tree tree;
    struct cluster_ledger ledger;
    cluster_ledger_init(&ledger);
    size_t errors = diag->error_count;
    config_diag_source(diag, name, text);
    struct ledger_reader reader = {
        .diag = diag, .ledger = &ledger, .ids = fr_map_new(), .addresses = fr_map_new()};
    enum fr_err err = config_tree_parse(text, diag, &tree);
    if (tree.root)
        read_root(&reader, tree.root);
    if (diag->error_count > errors)
        err = FR_ERR_CONFIG;
    if (!err)
        *out = ledger;
    else
        cluster_ledger_fini(&ledger);
    fr_map_free(&reader.ids, NULL);
    fr_map_free(&reader.addresses, NULL);
    config_tree_fini(&tree);
    return err;
}

enum fr_err
cluster_ledger_load(const char *path, struct config_diag *diag, struct cluster_ledger *out)
{
    struct fr_buf text;
    int why = 0;
    fr_buf_init(&text, CONFIG_TREE_BYTES_MAX + 1); /* one more shows that there is too much */
    enum fr_err err = fr_file_read(path, &text, &why);
    if (err == FR_ERR_IO && why == ENOENT) {
        cluster_ledger_init(out);
        err = FR_OK;
    } else if (err) {
        config_diag_source(diag, path, (struct fr_view){0});
        config_diag_add(diag, 0, 0, "cannot be read: %s",
                        err == FR_ERR_FULL ? "more than 4 MiB" : strerror(why));
        err = FR_ERR_CONFIG;
    } else {
        err = cluster_ledger_parse(fr_buf_view(&text), path, diag, out);
    }
    fr_buf_fini(&text);
    return err;
}

enum fr_err
cluster_ledger_save(const struct cluster_ledger *ledger, const struct cluster_ledger_shown *shown,
                    const char *path, int *out_errno)
{
    struct fr_buf text;
    fr_buf_init(&text, CONFIG_TREE_BYTES_MAX);
    enum fr_err err = cluster_ledger_print(ledger, shown, &text);
    if (err && out_errno)
        *out_errno = err == FR_ERR_NOMEM ? ENOMEM : EFBIG;
    if (!err)
        err = fr_file_replace(path, fr_buf_view(&text), LEDGER_MODE, out_errno);
    fr_buf_fini(&text);
    return err;
}
