/* SPDX-License-Identifier: Apache-2.0 */
/*
 * allocator_request.c - allocate, deallocate, move: checked, begun, counted, answered exactly once.
 *
 * May touch:  base, loop, config, cluster, provider.  Never: files, logs.
 * Threads:    the control thread's loop.
 * Memory:     one allocation and its slots a request; as many as servers at most, since each waits
 *             for one.
 * When full:  FR_ERR_AT_MAX, FR_ERR_POOL_EMPTY, FR_ERR_FULL.
 *
 * All or nothing: of several servers each joins as soon as it is ready, because capacity is needed
 * now; when a later one fails, those that joined leave again by the ordinary drain, so that no
 * client request is lost, and the request is answered when the last of them is back in its pool.
 */
#include "allocator/allocator_priv.h"

#include "base/fr_check.h"
#include "base/fr_mem.h"

#include <stdio.h>

size_t
allocator__cluster_size(const struct allocator *allocator, const struct config_cluster *cluster)
{
    size_t count = cluster->member_count;
    FR_LIST_EACH(&allocator->servers, node) {
        const struct allocator__server *server = FR_CONTAINER(node, struct allocator__server, link);
        if (server->state == CLUSTER_SERVER_STARTING || server->state == CLUSTER_SERVER_READY)
            count += strcmp(server->provided.cluster, cluster->name) == 0;
        else if (server->state == CLUSTER_SERVER_DRAINING)
            count += strcmp(server->move_to, cluster->name) == 0;
    }
    return count;
}

/* ---- answers ----------------------------------------------------------------------------------
 */

__attribute__((format(printf, 5, 6))) static void
refuse(struct allocator *allocator, allocator_done_fn fn, void *ctx, enum fr_err err,
       const char *format, ...)
{
    char why[ALLOCATOR_WHY_BYTES];
    struct allocator_answer answer = {
        .err = err, .why = why, .generation = allocator->ledger.generation};
    va_list args;
    va_start(args, format);
    (void)vsnprintf(why, sizeof(why), format, args); /* cut is fine: words */
    va_end(args);
    if (fn)
        fn(ctx, &answer);
    else
        allocator__fill_failed(allocator);
}

static void
slot_keep(struct allocator__slot *slot, const struct allocator__server *server)
{
    memcpy(slot->id, server->provided.id, sizeof(slot->id));
    memcpy(slot->cluster, server->provided.cluster, sizeof(slot->cluster));
    memcpy(slot->pool, server->pool->name, sizeof(slot->pool));
    memcpy(slot->address, server->provided.address, sizeof(slot->address));
    slot->addr = server->provided.addr;
    slot->weight = server->weight;
    slot->weight_normal = server->weight_normal;
    slot->since_us = server->since_us;
    slot->state = server->state;
}

static void
request_free(struct allocator__request *request)
{
    for (size_t i = 0; i < request->slot_count; i++)
        if (request->slots[i].server)
            request->slots[i].server->request = NULL;
    fr_list_remove(&request->link);
    fr_free(request->slots);
    fr_free(request);
}

static void
request_answer(struct allocator__request *request)
{
    struct allocator *allocator = request->allocator;
    struct allocator_server *servers = fr_xalloc((request->slot_count + 1) * sizeof(*servers));
    for (size_t i = 0; i < request->slot_count; i++) {
        struct allocator__slot *slot = &request->slots[i];
        if (slot->server) {
            slot_keep(slot, slot->server);
            slot->server->request = NULL;
            slot->server = NULL;
        }
        servers[i] = (struct allocator_server){.id = slot->id,
                                               .cluster = slot->cluster,
                                               .pool = slot->pool,
                                               .address = slot->address,
                                               .addr = &slot->addr,
                                               .state = slot->state,
                                               .weight = slot->weight,
                                               .weight_normal = slot->weight_normal,
                                               .since_us = slot->since_us};
    }
    struct allocator_answer answer = {.err = request->err,
                                      .why = request->why,
                                      .servers = servers,
                                      .server_count = request->slot_count,
                                      .generation = allocator->ledger.generation};
    /* Out of the list first: whoever hears the answer may ask for something new. */
    fr_list_remove(&request->link);
    if (request->fn)
        request->fn(request->ctx, &answer);
    else if (request->err && !allocator->closing)
        allocator__fill_failed(allocator);
    else
        allocator->fill_retry_us = ALLOCATOR_FILL_RETRY_US;
    fr_free(servers);
    request_free(request);
}

static void
request_check(struct allocator__request *request)
{
    for (size_t i = 0; i < request->slot_count; i++) {
        const struct allocator__slot *slot = &request->slots[i];
        bool undoing = request->err && request->kind == ALLOCATOR_REQUEST_ALLOCATE;
        if (slot->server && (undoing || !slot->settled))
            return;
    }
    request_answer(request);
}

static struct allocator__slot *
slot_of(const struct allocator__server *server)
{
    struct allocator__request *request = server->request;
    size_t i = 0;
    while (i < request->slot_count && request->slots[i].server != server)
        i++;
    fr_insist(i < request->slot_count); /* both ends of the link are set and cleared together */
    return &request->slots[i];
}

void
allocator__request_ready(struct allocator__server *server)
{
    struct allocator__request *request = server->request;
    if (!request || request->kind == ALLOCATOR_REQUEST_DEALLOCATE)
        return;
    slot_of(server)->settled = true;
    request_check(request);
}

void
allocator__request_gone(struct allocator__server *server)
{
    struct allocator__request *request = server->request;
    if (!request)
        return;
    struct allocator__slot *slot = slot_of(server);
    slot_keep(slot, server);
    slot->server = NULL;
    server->request = NULL;
    /* All or nothing: the others of an allocation go back too, or nobody would ever be answered. */
    if (request->kind != ALLOCATOR_REQUEST_DEALLOCATE)
        allocator__request_fail(request, FR_ERR_PROVIDER,
                                server->why[0] ? server->why : "it was given back meanwhile");
    request_check(request);
}

void
allocator__request_mark(struct allocator__request *request, enum fr_err err, const char *why)
{
    if (!request || request->err)
        return;
    request->err = err;
    (void)fr_view_copy(fr_view_of(why), request->why, sizeof(request->why));
}

void
allocator__request_fail(struct allocator__request *request, enum fr_err err, const char *why)
{
    allocator__request_mark(request, err, why);
    if (request->kind != ALLOCATOR_REQUEST_ALLOCATE)
        return;
    for (size_t i = 0; i < request->slot_count; i++) {
        if (!request->slots[i].server)
            continue;
        request->slots[i].server->asked[0] = '\0'; /* asked again, it is done anew */
        (void)allocator__event(request->slots[i].server, ALLOCATOR_GIVE_BACK, false);
    }
}

void
allocator__requests_cancel(struct allocator *allocator)
{
    while (!fr_list_empty(&allocator->requests)) {
        struct allocator__request *request =
            FR_CONTAINER(allocator->requests.next, struct allocator__request, link);
        allocator__request_mark(request, FR_ERR_CANCELLED, "the allocator is closing");
        request_answer(request);
    }
}

static struct allocator__request *
request_new(struct allocator *allocator, enum allocator__request_kind kind, size_t slot_count,
            allocator_done_fn fn, void *ctx)
{
    struct allocator__request *request = fr_xalloc(sizeof(*request));
    request->allocator = allocator;
    request->kind = kind;
    request->fn = fn;
    request->ctx = ctx;
    request->slots = fr_xalloc(slot_count * sizeof(request->slots[0]));
    request->slot_count = slot_count;
    fr_list_push_back(&allocator->requests, &request->link);
    return request;
}

static void
request_wait(struct allocator__request *request, size_t index, struct allocator__server *server)
{
    request->slots[index].server = server;
    server->request = request;
    slot_keep(&request->slots[index], server);
}

/* ---- allocate
 * ------------------------------------------------------------------------------------ */

static bool
pool_has(struct allocator *allocator, const struct allocator__pool *pool, struct fr_view wanted)
{
    struct provider_server probe = {0};
    return !pool->retired && pool->ops->choose(pool->provider, wanted, allocator__address_taken,
                                               allocator, &probe) == FR_OK;
}

/* The first of the cluster's pools that has a server. One whose last start failed is passed over
 * for a while, as long as another has any. NULL: it has no pool; where all are dry it is the first,
 * whose word on it will do. */
static struct allocator__pool *
pool_preferred(struct allocator *allocator, const struct config_cluster *cluster,
               struct fr_view only)
{
    int64_t now_us = loop_now_us(allocator->loop);
    struct allocator__pool *first = NULL, *resting = NULL;
    for (size_t i = 0; i < CONFIG_SCALE_POOLS_MAX && cluster->scale.enabled; i++) {
        struct allocator__pool *pool = cluster->scale.from[i][0]
                                           ? allocator__pool_find(allocator, cluster->scale.from[i])
                                           : NULL;
        if (!pool || pool->retired || (only.len && !fr_view_is(only, pool->name)))
            continue;
        first = first ? first : pool;
        if (!pool_has(allocator, pool, FR_VIEW("")))
            continue;
        if (now_us >= pool->rests_until_us)
            return pool;
        resting = resting ? resting : pool;
    }
    return resting ? resting : first;
}

/* The one that has the wanted address, whoever's it is; or by preference. */
static struct allocator__pool *
pool_choose(struct allocator *allocator, const struct config_cluster *cluster,
            const struct allocator_asked *asked)
{
    struct fr_view wanted = asked->wanted;
    FR_LIST_EACH(&allocator->pools, node) {
        struct allocator__pool *pool = FR_CONTAINER(node, struct allocator__pool, link);
        if (wanted.len && pool_has(allocator, pool, wanted))
            return pool;
    }
    return pool_preferred(allocator, cluster, asked->pool);
}

/* The next server after `from` (NULL: the first) that this request brought to this cluster. */
static struct allocator__server *
next_asked(struct allocator *allocator, const struct allocator_asked *asked,
           const struct allocator__server *from)
{
    const struct fr_list *node = from ? from->link.next : allocator->servers.next;
    for (; asked->request.len && node != &allocator->servers; node = node->next) {
        struct allocator__server *server = FR_CONTAINER(node, struct allocator__server, link);
        if (server->state != CLUSTER_SERVER_AVAILABLE &&
            fr_view_is(asked->request, server->asked) &&
            fr_view_is(asked->cluster, server->provided.cluster))
            return server;
    }
    return NULL;
}

/* An earlier life of this process began the request: what came of it is taken up. A server that
 * somebody else waits for, or that leaves again, need not be waited for: it came. */
static size_t
take_up(struct allocator__request *request, const struct allocator_asked *asked)
{
    struct allocator__server *server = NULL;
    size_t count = 0;
    while (count < request->slot_count &&
           (server = next_asked(request->allocator, asked, server)) != NULL) {
        struct allocator__slot *slot = &request->slots[count];
        bool stays =
            server->state == CLUSTER_SERVER_STARTING || server->state == CLUSTER_SERVER_READY;
        if (stays && !server->request)
            request_wait(request, count, server);
        else
            slot_keep(slot, server);
        slot->settled = server->state != CLUSTER_SERVER_STARTING;
        count++;
    }
    return count;
}

/* All or nothing: what was begun or taken up goes back before the refusal. */
static void
request_drop(struct allocator__request *request)
{
    for (size_t i = 0; i < request->slot_count; i++) {
        struct allocator__server *server = request->slots[i].server;
        if (!server)
            continue;
        request->slots[i].server = NULL;
        server->request = NULL;
        server->asked[0] = '\0'; /* asked again, it is done anew */
        if (server->state == CLUSTER_SERVER_AVAILABLE)
            allocator__server_free(server);
        else
            (void)allocator__event(server, ALLOCATOR_GIVE_BACK, false);
    }
    request_free(request);
}

static enum fr_err
choose_server(struct allocator__request *request, size_t index, const struct allocator_asked *asked,
              const char *cluster, struct allocator__pool *pool)
{
    char id[CONFIG_NAME_BYTES];
    allocator__pool_id(pool, id);
    struct allocator__server *server =
        allocator__server_new(request->allocator, pool, id, cluster, CLUSTER_SERVER_AVAILABLE);
    enum fr_err err = pool->ops->choose(pool->provider, asked->wanted, allocator__address_taken,
                                        request->allocator, &server->provided);
    if (err == FR_OK)
        allocator__address_hold(server);
    server->weight = allocator__pool_weight(pool, server->provided.address);
    server->weight_normal = server->weight;
    (void)fr_view_copy(asked->request, server->asked, sizeof(server->asked)); /* or nobody's */
    request_wait(request, index, server);
    return err;
}

/* Slots from `from` on are filled out of the pool. */
static enum fr_err
request_fill(struct allocator__request *request, size_t from, const struct allocator_asked *asked,
             const struct config_cluster *cluster, char *why, size_t why_bytes)
{
    struct allocator *allocator = request->allocator;
    size_t lacking = request->slot_count - from;
    size_t size = allocator__cluster_size(allocator, cluster);
    if (allocator->server_count + lacking > ALLOCATOR_SERVERS_MAX) {
        (void)snprintf(why, why_bytes, "at most %d servers are allocated", ALLOCATOR_SERVERS_MAX);
        return FR_ERR_FULL;
    }
    if (lacking && cluster->scale.enabled && size + lacking > cluster->scale.max) {
        (void)snprintf(why, why_bytes,
                       "members of cluster %s: %zu, and %zu more would exceed its maximum of %u",
                       cluster->name, size, lacking, cluster->scale.max);
        return FR_ERR_AT_MAX;
    }
    for (size_t i = from; i < request->slot_count; i++) {
        struct allocator__pool *pool = pool_choose(allocator, cluster, asked);
        if (!pool) {
            (void)snprintf(why, why_bytes, "cluster %s has no pool %.*s%sto allocate from",
                           cluster->name, FR_VIEW_ARG(asked->pool), asked->pool.len ? " " : "");
            return FR_ERR_STATE;
        }
        enum fr_err err = choose_server(request, i, asked, cluster->name, pool);
        if (err) {
            (void)snprintf(why, why_bytes, "pool %s%s: %s; asked for %u, %zu to be had", pool->name,
                           cluster->scale.from[1][0] && !asked->pool.len ? " and those after it"
                                                                         : "",
                           fr_err_words(err), asked->count, i);
            return err;
        }
    }
    return FR_OK;
}

static void
allocate_in(struct allocator *allocator, const struct config_cluster *cluster,
            const struct allocator_asked *asked, allocator_done_fn fn, void *ctx)
{
    char why[ALLOCATOR_WHY_BYTES] = "";
    struct allocator__request *request =
        request_new(allocator, ALLOCATOR_REQUEST_ALLOCATE, asked->count, fn, ctx);
    size_t had = take_up(request, asked);
    enum fr_err err = request_fill(request, had, asked, cluster, why, sizeof(why));
    if (err) {
        request_drop(request);
        refuse(allocator, fn, ctx, err, "%s", why);
        return;
    }
    if (had == request->slot_count) {
        request_check(request); /* answers when all of them stand already */
        return;
    }
    for (size_t i = had; i < request->slot_count; i++)
        (void)allocator__event(request->slots[i].server, ALLOCATOR_ALLOCATE, true);
}

void
allocator_allocate_asked(struct allocator *allocator, const struct allocator_asked *asked,
                         allocator_done_fn fn, void *ctx)
{
    char name[CONFIG_NAME_BYTES], canonical[LOOP_ADDR_TEXT_BYTES];
    struct loop_addr addr;
    const struct config_cluster *cluster = NULL;
    struct allocator_asked from = *asked;
    if (fr_view_copy(asked->cluster, name, sizeof(name)))
        cluster = allocator__settings_cluster(&allocator->settings, name);
    if (!cluster) {
        refuse(allocator, fn, ctx, FR_ERR_NOT_FOUND, "there is no cluster \"%.*s\"",
               FR_VIEW_ARG(asked->cluster));
        return;
    }
    if (from.count == 0 || from.count > ALLOCATOR_SERVERS_MAX ||
        (from.wanted.len && from.count > 1)) {
        refuse(allocator, fn, ctx, FR_ERR_RANGE, "%u servers can't be asked for%s", from.count,
               from.wanted.len ? " at one address" : "");
        return;
    }
    if (from.wanted.len && loop_addr_parse(from.wanted, &addr) == FR_OK) {
        loop_addr_format(&addr, canonical);
        from.wanted = fr_view_of(canonical);
    }
    allocate_in(allocator, cluster, &from, fn, ctx);
}

void
allocator_allocate(struct allocator *allocator, struct fr_view cluster, uint32_t count,
                   struct fr_view wanted, allocator_done_fn fn, void *ctx)
{
    const struct allocator_asked asked = {.cluster = cluster, .count = count, .wanted = wanted};
    allocator_allocate_asked(allocator, &asked, fn, ctx);
}

/* ---- deallocate
 * ------------------------------------------------------------------------------------ */

static bool
is_configured_member(const struct allocator *allocator, struct fr_view id)
{
    for (size_t i = 0; i < allocator->settings.cluster_count; i++) {
        const struct config_cluster *cluster = allocator->settings.clusters[i];
        for (size_t k = 0; k < cluster->member_count; k++)
            if (fr_view_is(id, cluster->members[k].id))
                return true;
    }
    return false;
}

/* FR_OK, or why this server can't be taken from where it is. may_leave: one that leaves already,
 * and that nobody waits for, is as good. */
static enum fr_err
server_takeable(struct allocator *allocator, struct fr_view id, struct fr_view cluster,
                bool may_leave, struct allocator__server **out, char *why, size_t why_bytes)
{
    struct allocator__server *server = allocator__server_find(allocator, id);
    if (!server && is_configured_member(allocator, id)) {
        (void)snprintf(why, why_bytes, "%.*s is not allocated from a pool", FR_VIEW_ARG(id));
        return FR_ERR_STATE;
    }
    if (!server || (cluster.len && !fr_view_is(cluster, server->provided.cluster))) {
        (void)snprintf(why, why_bytes, "there is no server \"%.*s\"%s%.*s", FR_VIEW_ARG(id),
                       cluster.len ? " in cluster " : "", FR_VIEW_ARG(cluster));
        return FR_ERR_NOT_FOUND;
    }
    bool leaves =
        server->state == CLUSTER_SERVER_DRAINING || server->state == CLUSTER_SERVER_STOPPING;
    if (server->request || (leaves && (!may_leave || server->move_to[0]))) {
        if (server->state == CLUSTER_SERVER_READY) /* it serves, and its request is not answered */
            (void)snprintf(why, why_bytes, "%.*s has only just become ready: ask again",
                           FR_VIEW_ARG(id));
        else
            (void)snprintf(why, why_bytes, "%.*s is %s already", FR_VIEW_ARG(id),
                           cluster_server_state_name(server->state));
        return FR_ERR_STATE;
    }
    *out = server;
    return FR_OK;
}

/* The servers leave their clusters: does one fall below its minimum by that? */
static enum fr_err
minimum_check(struct allocator *allocator, struct allocator__request *request, char *why,
              size_t why_bytes)
{
    for (size_t i = 0; i < request->slot_count; i++) {
        const char *name = request->slots[i].cluster;
        const struct config_cluster *cluster =
            allocator__settings_cluster(&allocator->settings, name);
        size_t leaving = 0;
        if (!cluster || !cluster->scale.enabled)
            continue;
        for (size_t k = 0; k < request->slot_count; k++)
            leaving += strcmp(request->slots[k].cluster, name) == 0 &&
                       (request->slots[k].state == CLUSTER_SERVER_STARTING ||
                        request->slots[k].state == CLUSTER_SERVER_READY);
        size_t size = allocator__cluster_size(allocator, cluster);
        if (leaving && size < leaving + cluster->scale.min) {
            (void)snprintf(why, why_bytes,
                           "members of cluster %s: %zu, and %zu fewer would break its minimum "
                           "of %u",
                           name, size, leaving, cluster->scale.min);
            return FR_ERR_AT_MIN;
        }
    }
    return FR_OK;
}

void
allocator_deallocate(struct allocator *allocator, struct fr_view cluster, const struct fr_view *ids,
                     size_t id_count, allocator_done_fn fn, void *ctx)
{
    char why[ALLOCATOR_WHY_BYTES] = "";
    enum fr_err err = FR_OK;
    if (id_count == 0 || id_count > ALLOCATOR_SERVERS_MAX) {
        refuse(allocator, fn, ctx, FR_ERR_RANGE, "%zu servers can't be given back", id_count);
        return;
    }
    struct allocator__request *request =
        request_new(allocator, ALLOCATOR_REQUEST_DEALLOCATE, id_count, fn, ctx);
    for (size_t i = 0; i < id_count && !err; i++) {
        struct allocator__server *server = NULL;
        /* One named twice waits for this very request already: refused as being on its way. */
        err = server_takeable(allocator, ids[i], cluster, true, &server, why, sizeof(why));
        if (!err)
            request_wait(request, i, server);
    }
    if (!err)
        err = minimum_check(allocator, request, why, sizeof(why));
    if (err) {
        request_free(request);
        refuse(allocator, fn, ctx, err, "%s", why);
        return;
    }
    for (size_t i = 0; i < id_count; i++)
        (void)allocator__event(request->slots[i].server, ALLOCATOR_GIVE_BACK, true);
}

/* ---- move ---------------------------------------------------------------------------------------
 */

static enum fr_err
move_check(struct allocator *allocator, const struct allocator__server *server,
           const struct config_cluster *to, char *why, size_t why_bytes)
{
    if (server->state != CLUSTER_SERVER_READY || strcmp(server->provided.cluster, to->name) == 0) {
        (void)snprintf(why, why_bytes, "%s is %s in cluster %s", server->provided.id,
                       cluster_server_state_name(server->state), server->provided.cluster);
        return FR_ERR_STATE;
    }
    size_t size = allocator__cluster_size(allocator, to);
    if (to->scale.enabled && size + 1 > to->scale.max) {
        (void)snprintf(why, why_bytes, "cluster %s has %zu members, its maximum", to->name, size);
        return FR_ERR_AT_MAX;
    }
    return FR_OK;
}

void
allocator_move(struct allocator *allocator, struct fr_view id, struct fr_view to_name,
               allocator_done_fn fn, void *ctx)
{
    char name[CONFIG_NAME_BYTES], why[ALLOCATOR_WHY_BYTES] = "";
    struct allocator__server *server = NULL;
    const struct config_cluster *to = NULL;
    if (fr_view_copy(to_name, name, sizeof(name)))
        to = allocator__settings_cluster(&allocator->settings, name);
    if (!to) {
        refuse(allocator, fn, ctx, FR_ERR_NOT_FOUND, "there is no cluster \"%.*s\"",
               FR_VIEW_ARG(to_name));
        return;
    }
    enum fr_err err = server_takeable(allocator, id, FR_VIEW(""), false, &server, why, sizeof(why));
    if (!err)
        err = move_check(allocator, server, to, why, sizeof(why));
    if (err) {
        refuse(allocator, fn, ctx, err, "%s", why);
        return;
    }
    struct allocator__request *request = request_new(allocator, ALLOCATOR_REQUEST_MOVE, 1, fn, ctx);
    request_wait(request, 0, server);
    err = minimum_check(allocator, request, why, sizeof(why));
    if (err) {
        request_free(request);
        refuse(allocator, fn, ctx, err, "%s", why);
        return;
    }
    (void)allocator__event(server, ALLOCATOR_MOVE, true);
    memcpy(server->move_to, to->name, sizeof(server->move_to));
}

/* ---- what the owner tells ---------------------------------------------------------------------
 */

void
allocator_drained(struct allocator *allocator, struct fr_view id)
{
    struct allocator__server *server = allocator__server_find(allocator, id);
    if (!server || server->state != CLUSTER_SERVER_DRAINING || server->joined)
        return; /* too late, or not asked for yet */
    server->drained = true;
    allocator__drain_check(server);
}

void
allocator_release(struct allocator *allocator, struct fr_view id)
{
    struct allocator__server *server = allocator__server_find(allocator, id);
    if (!server || server->state != CLUSTER_SERVER_DRAINING || server->joined)
        return;
    server->released = true;
    allocator__drain_check(server);
}

void
allocator_set_needs_release(struct allocator *allocator, bool needs_release)
{
    allocator->needs_release = needs_release;
    FR_LIST_EACH(&allocator->servers, node) {
        struct allocator__server *server = FR_CONTAINER(node, struct allocator__server, link);
        if (!server->joined)
            allocator__drain_check(server);
    }
}

void
allocator_unhealthy(struct allocator *allocator, struct fr_view id, const char *why)
{
    struct allocator__server *server = allocator__server_find(allocator, id);
    if (!server || server->state != CLUSTER_SERVER_READY || server->request)
        return;
    (void)fr_view_copy(fr_view_of(why), server->why, sizeof(server->why));
    allocator__note(allocator, server, "is unhealthy: %s", why);
    (void)allocator__event(server, ALLOCATOR_GIVE_BACK, false);
    allocator__server_replace(server); /* started while this one drains */
}
