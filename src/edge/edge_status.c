/* SPDX-License-Identifier: Apache-2.0 */
/*
 * edge_status.c - GET /status: everything a person or a tool asks first, as JSON.
 *
 * Threads:  control loop.
 */
#include "edge/edge_priv.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>

static json_t *
number(double value)
{
    return isnan(value) ? json_null() : json_real(round(value * 1e4) / 1e4);
}

static void
put_counters(json_t *root, struct edge *edge)
{
    struct proxy_counters sum;
    proxy_sum_counters(edge->proxy, &sum);
    json_t *counters = json_object();
#define PROXY_COUNTER_ROW(name, help)                                                              \
    json_object_set_new(counters, #name, json_integer((json_int_t)sum.name));
#include "proxy/proxy_counters.def"
#undef PROXY_COUNTER_ROW
    json_object_set_new(root, "counters", counters);
}

static json_t *
server_json(const char *id, const char *address, const char *pool, const char *state,
            uint32_t weight)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:i}", "id", id, "address", address, "pool", pool,
                     "state", state, "weight", (int)weight);
}

static json_t *
member_json(struct edge *edge, struct edge_member *member)
{
    struct cluster_member_stats sum;
    struct fr_hist hist;
    json_t *out = server_json(member->shared->id, member->shared->address, member->shared->pool,
                              edge_member_state(member), member->weight);
    if (out != NULL)
        json_object_set_new(out, "weight_normal", json_integer((json_int_t)member->weight_normal));
    if (out == NULL || edge->proxy == NULL)
        return out;
    cluster_member_sum(member->shared, loop_now_us(edge->loop), &sum);
    cluster_member_latency(member->shared, &hist);
    json_object_set_new(out, "utilization", number(edge_member_utilization(member)));
    json_object_set_new(out, "in_flight", json_integer((json_int_t)sum.in_flight));
    json_object_set_new(out, "requests", json_integer((json_int_t)sum.requests));
    json_object_set_new(out, "errors", json_integer((json_int_t)sum.errors));
    json_object_set_new(out, "p50_ms", number((double)fr_hist_quantile_us(&hist, 0.5) / 1000));
    json_object_set_new(out, "p99_ms", number((double)fr_hist_quantile_us(&hist, 0.99) / 1000));
    return out;
}

static json_t *
cluster_json(struct edge *edge, struct edge_cluster *cluster)
{
    const char *name = cluster->config->name;
    json_t *servers = json_array();
    FR_LIST_EACH(&cluster->members, node)
        json_array_append_new(servers,
                              member_json(edge, FR_CONTAINER(node, struct edge_member, link)));
    FR_LIST_EACH(&edge->leaving, node) {
        struct edge_member *member = FR_CONTAINER(node, struct edge_member, link);
        if (strcmp(member->cluster_name, name) == 0 && member->origin != EDGE_FROM_POOL)
            json_array_append_new(servers, member_json(edge, member));
    }
    struct allocator_server server;
    for (const void *at = NULL; allocator_server_next(edge->allocator, &at, &server);)
        if (strcmp(server.cluster, name) == 0 && server.state != CLUSTER_SERVER_READY)
            json_array_append_new(servers, server_json(server.id, server.address, server.pool,
                                                       cluster_server_state_name(server.state),
                                                       server.weight));
    json_t *out = json_pack("{s:s, s:o}", "name", name, "servers", servers);
    if (out != NULL && cluster->upper >= 0)
        json_object_set_new(out, "upper", number(cluster->upper));
    if (out != NULL && cluster->lower >= 0)
        json_object_set_new(out, "lower", number(cluster->lower));
    if (out == NULL || edge->proxy == NULL)
        return out;
    struct proxy_cluster_counters counters;
    proxy_read_cluster(edge->proxy, cluster->slot, &counters);
    json_object_set_new(out, "queued", json_integer((json_int_t)counters.queued_now));
    json_object_set_new(out, "parked", json_integer((json_int_t)counters.parked_now));
    json_object_set_new(out, "rung", json_string(edge_ladder_rung(cluster)));
    json_object_set_new(out, "ladder_climbs", json_integer((json_int_t)cluster->ladder_climbs));
    json_object_set_new(out, "ladder_descents", json_integer((json_int_t)cluster->ladder_descents));
    return out;
}

static json_t *
routes_json(const struct edge *edge)
{
    json_t *routes = json_array();
    for (size_t i = 0; i < edge->route_count; i++) {
        const struct config_route *route = edge->routes[i];
        json_t *out = json_pack("{s:s}", "name", route->name);
        const struct {
            const char *key, *value;
        } rows[] = {{"cluster", route->cluster},    {"redirect", route->redirect.to},
                    {"files", route->files.folder}, {"host", route->host},
                    {"path", route->path},          {"method", route->method},
                    {"header", route->header_name}, {"header_value", route->header_value}};
        for (size_t row = 0; row < sizeof(rows) / sizeof(rows[0]); row++)
            if (rows[row].value != NULL && rows[row].value[0] != '\0')
                json_object_set_new(out, rows[row].key, json_string(rows[row].value));
        if (config_route_action(route) == CONFIG_ACTION_RESPOND)
            json_object_set_new(out, "respond", json_integer((json_int_t)route->respond.status));
        json_array_append_new(routes, out);
    }
    return routes;
}

static json_t *
pools_json(const struct edge *edge)
{
    json_t *pools = json_array();
    struct allocator_pool pool;
    for (const void *at = NULL; allocator_pool_next(edge->allocator, &at, &pool);)
        json_array_append_new(pools,
                              json_pack("{s:s, s:I, s:I, s:I}", "name", pool.name, "available",
                                        (json_int_t)pool.available, "allocated",
                                        (json_int_t)pool.allocated, "cost", (json_int_t)pool.cost));
    return pools;
}

enum fr_err
edge_status_print(struct edge *edge, struct fr_buf *out)
{
    json_t *clusters = json_array();
    size_t cursor = 0;
    void *value = NULL;
    while (fr_map_next(edge->clusters, &cursor, NULL, &value))
        json_array_append_new(clusters, cluster_json(edge, value));
    bool connected = edge->stream != NULL && stream_session_is_open(edge->stream);
    json_t *root =
        json_pack("{s:s, s:s, s:s, s:b, s:b, s:I, s:I, s:i, s:o, s:o, s:o}", "role",
                  wire_role_name(edge->role), "id", edge->config->id, "version", FRESHET_VERSION,
                  "manager_configured", edge->config->manager.connect != NULL, "manager_connected",
                  connected, "manager_epoch", (json_int_t)edge->manager_epoch, "generation",
                  (json_int_t)allocator_ledger(edge->allocator)->generation, "relief_step",
                  (int)edge->relief_step, "clusters", clusters, "routes", routes_json(edge),
                  "pools", pools_json(edge));
    if (root == NULL)
        return FR_ERR_NOMEM;
    json_object_set_new(root, "allocations", json_integer((json_int_t)edge->allocations));
    json_object_set_new(root, "deallocations", json_integer((json_int_t)edge->deallocations));
    json_object_set_new(root, "utilization", number(edge->self_utilization));
    json_t *listeners = json_array();
    for (size_t i = 0; i < edge->listener_count; i++) {
        char text[LOOP_ADDR_TEXT_BYTES];
        loop_addr_format(&edge->listeners[i].bound, text);
        json_array_append_new(listeners, json_string(text));
    }
    json_object_set_new(root, "listen", listeners);
    if (edge->proxy != NULL)
        put_counters(root, edge);
    char *text = json_dumps(root, JSON_INDENT(2));
    enum fr_err err = text ? fr_buf_append(out, text, strlen(text)) : FR_ERR_NOMEM;
    if (err == FR_OK)
        err = fr_buf_append(out, "\n", 1);
    free(text); /* tidy: allow call: Jansson's allocation, not ours */
    json_decref(root);
    return err;
}
