/* SPDX-License-Identifier: Apache-2.0 */
/*
 * edge_reconfigure.c - carries out what the manager asks for: each request all or nothing, once.
 *
 * Shape:    one row an operation. A function answers its request at once, or keeps it for the
 *           allocator's answer or a member's drain.
 * Threads:  control loop.
 */
#include "edge/edge_priv.h"

#include "config/config_tree.h"

#include <assert.h>

typedef void (*operation_fn)(struct edge_request *request, const struct wire_reconfigure *from,
                             struct edge_cluster *cluster);

static void
refuse(struct edge_request *request, enum fr_err err, const char *what, struct fr_view name)
{
    char *why = fr_xprintf("%s: %.*s", what, FR_VIEW_ARG(name));
    edge_request_answer(request, err, why);
    fr_free(why);
}

static void
on_allocator_done(void *ctx, const struct allocator_answer *answer)
{
    struct edge_request *request = ctx;
    for (size_t i = 0; i < answer->server_count; i++)
        edge_request_add_server(request, answer->servers[i].id, answer->servers[i].address,
                                answer->servers[i].pool);
    edge_request_answer(request, answer->err, answer->why);
}

static void
do_allocate(struct edge_request *request, const struct wire_reconfigure *from,
            struct edge_cluster *cluster)
{
    char id[WIRE_REQUEST_ID_BYTES];
    static_assert(sizeof(id) <= CLUSTER_REQUEST_BYTES, "a request id fits into the ledger");
    if (from->count == WIRE_NONE || from->count == 0 || from->count > 1000) {
        edge_request_answer(request, FR_ERR_RANGE, "count must be 1 to 1000");
        return;
    }
    /* The id goes into the ledger with the servers: asked again after a crash, it is answered from
     * there. All other requests name what they want to be so, and are harmless twice. */
    wire_request_id_format(from->id, id);
    const struct allocator_asked asked = {
        .cluster = fr_view_of(cluster->config->name),
        .count = (uint32_t)from->count,
        .wanted = from->server,
        .pool = from->pool,
        .request = fr_view_of(id),
    };
    allocator_allocate_asked(request->edge->allocator, &asked, on_allocator_done, request);
}

/* How much rather one of that pool leaves than others: by cost, then by the order of preference. */
static uint64_t
pool_burden(const struct edge_cluster *cluster, const char *name)
{
    const struct config_scale *scale = &cluster->config->scale;
    uint64_t rank = 0;
    while (rank < CONFIG_SCALE_POOLS_MAX && scale->from[rank][0] &&
           strcmp(scale->from[rank], name) != 0)
        rank++;
    uint64_t cost = allocator_pool_cost(cluster->edge->allocator, name);
    return cost * (CONFIG_SCALE_POOLS_MAX + 1) + rank;
}

struct edge_member *
edge_pick_victim(struct edge_cluster *cluster)
{
    struct edge_member *victim = NULL;
    uint64_t victim_in_flight = 0, victim_burden = 0;
    FR_LIST_EACH(&cluster->members, node) {
        struct edge_member *member = FR_CONTAINER(node, struct edge_member, link);
        struct cluster_member_stats sum;
        if (member->origin != EDGE_FROM_POOL)
            continue;
        uint64_t burden = pool_burden(cluster, member->shared->pool);
        cluster_member_sum(member->shared, loop_now_us(cluster->edge->loop), &sum);
        if (victim == NULL || burden > victim_burden ||
            (burden == victim_burden && sum.in_flight <= victim_in_flight)) { /* newest of equals */
            victim = member;
            victim_in_flight = sum.in_flight;
            victim_burden = burden;
        }
    }
    return victim;
}

static bool
allocator_knows(struct edge *edge, struct fr_view id)
{
    struct allocator_server server;
    for (const void *at = NULL; allocator_server_next(edge->allocator, &at, &server);)
        if (fr_view_is(id, server.id))
            return true;
    return false;
}

static void
do_deallocate(struct edge_request *request, const struct wire_reconfigure *from,
              struct edge_cluster *cluster)
{
    struct edge *edge = request->edge;
    struct fr_view id = from->server;
    if (id.len == 0) {
        struct edge_member *victim = edge_pick_victim(cluster);
        if (victim == NULL) {
            edge_request_answer(request, FR_ERR_NOT_FOUND,
                                "no server of the cluster came from a pool");
            return;
        }
        id = fr_view_of(victim->shared->id);
    } else if (!allocator_knows(edge, id) && edge_member_find(cluster, id) == NULL) {
        refuse(request, FR_ERR_NOT_FOUND, "no such server in the cluster", id);
        return;
    }
    allocator_deallocate(edge->allocator, fr_view_of(cluster->config->name), &id, 1,
                         on_allocator_done, request);
}

static void
do_weight(struct edge_request *request, const struct wire_reconfigure *from,
          struct edge_cluster *cluster)
{
    struct edge_member *member = edge_member_find(cluster, from->server);
    if (member == NULL) {
        refuse(request, FR_ERR_NOT_FOUND, "no such server in the cluster", from->server);
        return;
    }
    if (from->weight > 65535) {
        edge_request_answer(request, FR_ERR_RANGE, "weight must be 0 to 65535");
        return;
    }
    uint32_t weight = (uint32_t)from->weight;
    enum fr_err err = FR_OK;
    if (member->origin != EDGE_FROM_MANAGER) /* whoever is responsible for it keeps its weight */
        err = allocator_weight(request->edge->allocator, from->server, weight);
    if (err == FR_OK)
        edge_member_weight(member, weight);
    edge_request_answer(request, err, NULL);
}

static void
do_move(struct edge_request *request, const struct wire_reconfigure *from,
        struct edge_cluster *cluster)
{
    struct edge *edge = request->edge;
    struct edge_cluster *to = edge_cluster_find(edge, from->to);
    if (to == NULL) {
        refuse(request, FR_ERR_NOT_FOUND, "unknown cluster", from->to);
        return;
    }
    struct edge_member *there = edge_member_find(to, from->server);
    if (there != NULL && there->origin == EDGE_FROM_POOL) { /* repeated across a restart */
        edge_request_answer(request, FR_OK, NULL);
        return;
    }
    if (edge_member_find(cluster, from->server) == NULL) {
        refuse(request, FR_ERR_NOT_FOUND, "no such server in the cluster", from->server);
        return;
    }
    allocator_move(edge->allocator, from->server, from->to, on_allocator_done, request);
}

static void
do_join(struct edge_request *request, const struct wire_reconfigure *from,
        struct edge_cluster *cluster)
{
    struct loop_addr addr;
    if (from->weight != WIRE_NONE && from->weight > 65535) {
        edge_request_answer(request, FR_ERR_RANGE, "weight must be 0 to 65535");
        return;
    }
    uint32_t weight = from->weight == WIRE_NONE ? 100 : (uint32_t)from->weight;
    /* On the stream a name may have what would end a metric's label or a path of the admin. */
    if (!config_name_valid(from->server) || (from->pool.len && !config_name_valid(from->pool))) {
        refuse(request, FR_ERR_SYNTAX, "not a name",
               config_name_valid(from->server) ? from->pool : from->server);
        return;
    }
    if (loop_addr_parse(from->address, &addr) != FR_OK) {
        refuse(request, FR_ERR_SYNTAX, "not an address", from->address);
        return;
    }
    struct edge_member *member = edge_member_find(cluster, from->server);
    if (member != NULL && !loop_addr_equal(&member->shared->addr, &addr)) {
        refuse(request, FR_ERR_EXISTS, "here already at another address", from->server);
        return;
    }
    if (member == NULL)
        member = edge_member_join(cluster, &(struct edge_member_init){
                                               .id = from->server,
                                               .pool = from->pool,
                                               .addr = &addr,
                                               .origin = EDGE_FROM_MANAGER,
                                               .weight = weight,
                                               .weight_normal = weight,
                                               .ramp = true,
                                           });
    edge_request_answer(request, member != NULL ? FR_OK : FR_ERR_RANGE, NULL);
}

/* Asked by another request already (of a manager before this one, say): "done" must still wait
 * until nothing is on it, because the server is stopped after that. */
static bool
is_leaving(const struct edge_cluster *cluster, struct fr_view id)
{
    FR_LIST_EACH(&cluster->edge->leaving, node) {
        const struct edge_member *member = FR_CONTAINER(node, struct edge_member, link);
        if (fr_view_is(id, member->shared->id) &&
            strcmp(member->cluster_name, cluster->config->name) == 0)
            return true;
    }
    return false;
}

static void
do_leave(struct edge_request *request, const struct wire_reconfigure *from,
         struct edge_cluster *cluster)
{
    struct edge_member *member = edge_member_find(cluster, from->server);
    if (member == NULL && !is_leaving(cluster, from->server)) {
        edge_request_answer(request, FR_OK, NULL); /* gone already, or never here */
        return;
    }
    if (member != NULL && member->origin == EDGE_FROM_POOL) {
        refuse(request, FR_ERR_STATE, "this server is responsible for it: deallocate it",
               from->server);
        return;
    }
    request->waits_leave = true;
    (void)fr_view_copy(from->server, request->leaves, sizeof(request->leaves)); /* it was found */
    (void)fr_view_copy(fr_view_of(cluster->config->name), request->leaves_cluster,
                       sizeof(request->leaves_cluster)); /* same size */
    if (member != NULL)
        edge_member_leave(member);
}

static void
do_release(struct edge_request *request, const struct wire_reconfigure *from,
           struct edge_cluster *cluster)
{
    (void)cluster; /* the server left it already */
    allocator_release(request->edge->allocator, from->server);
    edge_request_answer(request, FR_OK, NULL);
}

/* Where other edges serve the same servers, one that leaves is stopped only after the manager said
 * that all of them let go of it. An allocator sees no traffic at all: it always waits for that. */
static void
update_release(struct edge *edge)
{
    bool needed = edge->role == WIRE_ROLE_ALLOCATOR;
    size_t cursor = 0;
    void *value = NULL;
    while (fr_map_next(edge->clusters, &cursor, NULL, &value))
        needed |= ((const struct edge_cluster *)value)->followers > 0;
    allocator_set_needs_release(edge->allocator, needed);
}

static void
do_levels(struct edge_request *request, const struct wire_reconfigure *from,
          struct edge_cluster *cluster)
{
    cluster->upper = from->upper;
    cluster->lower = from->lower;
    /* One that says none may be of before goals were sent. */
    int64_t own_us = cluster->config->scale.enabled ? cluster->config->scale.slo_latency_us : 0;
    int64_t goal_us = from->goal_us > 0 ? (int64_t)from->goal_us : own_us;
    if (goal_us != cluster->goal_us) { /* the workers count, by their views */
        cluster->goal_us = goal_us;
        cluster->dirty = true;
        edge_publish_soon(request->edge);
    }
    cluster->followers = from->followers == WIRE_NONE ? 0 : from->followers;
    update_release(request->edge);
    edge_request_answer(request, FR_OK, NULL);
}

void
edge_set_relief(struct edge *edge, uint32_t step)
{
    if (edge->relief_step == step)
        return;
    fr_log(FR_LOG_WARN, "edge", step > edge->relief_step ? "relieving myself" : "relief eased",
           FR_I("step", step));
    edge->relief_step = step;
    edge_publish_soon(edge);
    edge_report_soon(edge, true);
}

static void
do_relieve(struct edge_request *request, const struct wire_reconfigure *from,
           struct edge_cluster *cluster)
{
    (void)cluster; /* concerns the edge as a whole */
    struct edge *edge = request->edge;
    if (edge->proxy == NULL || from->step > edge->config->relief.step_count) {
        edge_request_answer(request, FR_ERR_RANGE, "this server has no such relief step");
        return;
    }
    edge_set_relief(edge, (uint32_t)from->step);
    edge_request_answer(request, FR_OK, NULL);
}

static void
on_purged(void *ctx, const struct cache_purged *purged)
{
    struct edge_request *request = ctx;
    if (purged == NULL)
        return; /* the edge ends, and its requests with it */
    request->purged = *purged;
    edge_request_answer(request, FR_OK, NULL);
}

static void
do_purge(struct edge_request *request, const struct wire_reconfigure *from,
         struct edge_cluster *cluster)
{
    struct cache_purge purge = {.soft = from->soft, .text = from->text};
    (void)cluster; /* concerns the cache as a whole */
    if (!edge_purge_kind(from->what, &purge.kind)) {
        refuse(request, FR_ERR_UNSUPPORTED, "nothing that can be purged", from->what);
        return;
    }
    enum fr_err err = edge_purge(request->edge, &purge, on_purged, request);
    if (err == FR_ERR_STATE)
        edge_request_answer(request, err, "this server has no cache");
    else if (err != FR_OK)
        refuse(request, err, "not purged", from->text);
}

/* ---- routes, clusters, pools introduced at run time --------------------------------------- */

/* Attributes become scalars, elements with text scalars, elements with <item> children sequences,
 * other elements mappings. */
static bool
add_setting(struct config_tree *tree, struct config_node *parent, struct fr_view key,
            const struct wire_setting *setting, unsigned depth)
{
    if (depth > 16)
        return false;
    bool leaf = setting->first_child == NULL;
    bool list = !leaf && fr_view_is(setting->first_child->name, "item");
    enum config_node_kind kind = leaf ? CONFIG_SCALAR : list ? CONFIG_SEQUENCE : CONFIG_MAPPING;
    struct config_node *node = config_node_add(tree, parent, kind, key, setting->value);
    if (node == NULL)
        return false;
    for (const struct wire_setting *at = setting->first_child; at != NULL; at = at->next) {
        struct fr_view child_key = list ? (struct fr_view){NULL, 0} : at->name;
        if (!add_setting(tree, node, child_key, at, depth + 1))
            return false;
    }
    return true;
}

/* `settings` is the <route>, <cluster> or <pool> element; a route's name is one of its settings,
 * those of the others are the keys they stand under (empty here). */
static bool
tree_from_settings(struct config_tree *tree, const struct wire_setting *settings,
                   struct fr_view name)
{
    struct fr_view none = {NULL, 0};
    config_tree_init(tree);
    struct config_node *root = config_node_add(tree, NULL, CONFIG_MAPPING, none, none);
    if (root == NULL)
        return false;
    if (name.len && !config_node_add(tree, root, CONFIG_SCALAR, FR_VIEW("name"), name))
        return false;
    if (settings == NULL)
        return true;
    for (const struct wire_setting *at = settings->first_child; at != NULL; at = at->next)
        if (!fr_view_is(at->name, "name") && !add_setting(tree, root, at->name, at, 0))
            return false;
    return true;
}

static void
answer_diag(struct edge_request *request, const struct config_diag *diag)
{
    struct fr_buf words;
    fr_buf_init(&words, 4096);
    if (config_diag_print_first(diag, &words) != FR_OK || words.len == 0)
        edge_request_answer(request, FR_ERR_CONFIG, NULL);
    else
        edge_request_answer(request, FR_ERR_CONFIG, words.data);
    fr_buf_fini(&words);
}

static enum fr_err
put_route(struct edge_request *request, const struct config_node *root, struct config_diag *diag)
{
    struct edge *edge = request->edge;
    struct config_route *route = NULL;
    enum fr_err err = config_route_from_tree(root, diag, &route);
    if (err != FR_OK)
        return err;
    char *conflict = edge_settings_conflict(edge, route, (struct fr_view){NULL, 0});
    err = conflict ? FR_ERR_NOT_FOUND : allocator_put_route(edge->allocator, route);
    if (err == FR_OK)
        edge_settings_apply(edge);
    edge_request_answer(request, err, conflict);
    fr_free(conflict);
    config_route_unref(&route);
    return FR_OK;
}

static enum fr_err
put_cluster(struct edge_request *request, const struct config_node *root, struct fr_view name,
            struct config_diag *diag)
{
    struct config_cluster *cluster = NULL;
    enum fr_err err = config_cluster_from_tree(name, root, diag, &cluster);
    if (err != FR_OK)
        return err;
    err = allocator_put_cluster(request->edge->allocator, cluster);
    if (err == FR_OK)
        edge_settings_apply(request->edge);
    edge_request_answer(request, err, NULL);
    config_cluster_unref(&cluster);
    return FR_OK;
}

static enum fr_err
put_pool(struct edge_request *request, const struct config_node *root, struct fr_view name,
         struct config_diag *diag)
{
    struct config_pool *pool = NULL;
    enum fr_err err = config_pool_from_tree(name, root, diag, &pool);
    if (err != FR_OK)
        return err;
    edge_request_answer(request, allocator_put_pool(request->edge->allocator, pool), NULL);
    config_pool_unref(&pool);
    return FR_OK;
}

static void
do_put(struct edge_request *request, const struct wire_reconfigure *from,
       struct edge_cluster *cluster)
{
    struct config_tree tree;
    struct config_diag diag;
    enum fr_err err = FR_ERR_RANGE;
    (void)cluster; /* what is put may be the cluster itself */
    config_diag_init(&diag);
    config_diag_source(&diag, "request", FR_VIEW(""));
    struct fr_view name = from->operation == WIRE_PUT_ROUTE ? from->name : FR_VIEW("");
    if (!tree_from_settings(&tree, from->settings, name))
        edge_request_answer(request, FR_ERR_RANGE, "settings too deep or too many");
    else if (from->operation == WIRE_PUT_ROUTE)
        err = put_route(request, tree.root, &diag);
    else if (from->operation == WIRE_PUT_CLUSTER)
        err = put_cluster(request, tree.root, from->name, &diag);
    else
        err = put_pool(request, tree.root, from->name, &diag);
    if (!request->answered && err != FR_OK)
        answer_diag(request, &diag);
    config_tree_fini(&tree);
    config_diag_fini(&diag);
}

static void
do_remove(struct edge_request *request, const struct wire_reconfigure *from,
          struct edge_cluster *cluster)
{
    struct edge *edge = request->edge;
    char *conflict = NULL;
    enum fr_err err = FR_OK;
    (void)cluster; /* named by `name` */
    if (from->operation == WIRE_REMOVE_ROUTE) {
        bool in_file = edge_settings_file_has_route(edge, from->name);
        err = edge_settings_has_route(edge, from->name)
                  ? allocator_remove_route(edge->allocator, from->name, in_file)
                  : FR_ERR_NOT_FOUND;
    } else if (from->operation == WIRE_REMOVE_POOL) {
        err = allocator_remove_pool(edge->allocator, from->name);
    } else {
        conflict = edge_settings_conflict(edge, NULL, from->name);
        err = conflict ? FR_ERR_STATE : allocator_remove_cluster(edge->allocator, from->name);
    }
    if (err == FR_OK)
        edge_settings_apply(edge);
    edge_request_answer(request, err, conflict);
    fr_free(conflict);
}

static const struct operation_row {
    operation_fn fn;
    bool needs_cluster;
} operations[WIRE_OPERATION_COUNT] = {
    [WIRE_ALLOCATE] = {do_allocate, true},
    [WIRE_DEALLOCATE] = {do_deallocate, true},
    [WIRE_WEIGHT] = {do_weight, true},
    [WIRE_MOVE] = {do_move, true},
    [WIRE_JOIN] = {do_join, true},
    [WIRE_LEAVE] = {do_leave, true},
    [WIRE_RELEASE] = {do_release, false},
    [WIRE_LEVELS] = {do_levels, true},
    [WIRE_RELIEVE] = {do_relieve, false},
    [WIRE_PUT_ROUTE] = {do_put, false},
    [WIRE_REMOVE_ROUTE] = {do_remove, false},
    [WIRE_PUT_CLUSTER] = {do_put, false},
    [WIRE_REMOVE_CLUSTER] = {do_remove, false},
    [WIRE_PUT_POOL] = {do_put, false},
    [WIRE_REMOVE_POOL] = {do_remove, false},
    [WIRE_PURGE] = {do_purge, false},
};

static void
refuse_stale(struct edge_request *request, const char *why)
{
    request->edge->requests_stale++;
    edge_request_answer(request, FR_ERR_STATE, why);
}

void
edge_reconfigure(struct edge *edge, const struct wire_reconfigure *from)
{
    struct edge_request *request = edge_request_find(edge, from->id);
    if (request != NULL) { /* repeated: answered again, or still under way */
        if (request->answered)
            edge_request_send(request);
        return;
    }
    bool full = edge->pending_count >= EDGE_REQUESTS_PENDING_MAX;
    request = edge_request_new(edge, from);
    struct edge_cluster *cluster =
        from->cluster.len ? edge_cluster_find(edge, from->cluster) : NULL;
    if (full)
        edge_request_answer(request, FR_ERR_FULL, "too many requests are under way");
    else if (edge->stopping)
        edge_request_answer(request, FR_ERR_STATE, "this server is stopping");
    else if (from->operation >= WIRE_OPERATION_COUNT) /* of a newer manager */
        edge_request_answer(request, FR_ERR_UNSUPPORTED, "this version knows no such operation");
    else if (from->id.epoch < edge->manager_epoch) /* a newer manager has decided since */
        refuse_stale(request, "the request is of an older epoch");
    else if (edge_request_is_old(edge, from->id))
        refuse_stale(request,
                     "the request is older than those remembered: sent again, or out of order");
    else if (operations[from->operation].needs_cluster && cluster == NULL)
        refuse(request, FR_ERR_NOT_FOUND, "unknown cluster", from->cluster);
    else
        operations[from->operation].fn(request, from, cluster);
}
