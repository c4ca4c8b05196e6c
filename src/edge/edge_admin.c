/* SPDX-License-Identifier: Apache-2.0 */
/*
 * edge_admin.c - the admin socket: what it is asked, and what it changes.
 *
 *     GET  /metrics                              Prometheus text
 *     GET  /status                               JSON
 *     POST /clusters/NAME/allocate?count=&server=
 *     POST /clusters/NAME/deallocate?server=     no server: the least loaded
 *     POST /clusters/NAME/drain?server=          weight 0: stays a member, takes nothing new
 *     POST /clusters/NAME/weight?server=&weight=  its normal weight from now on
 *     GET  /cache                                 what it holds (edge_cache_admin.c)
 *     POST /cache/purge?url=|prefix=|tag=|all&soft
 *
 *     POST /certificates/reload                   listeners' and our own: read again, at once
 *
 * A call that changes something answers when it is done. Access is by the socket file's mode, over
 * TCP by admin.users (admin_access.c).
 * Threads:  control loop.
 */
#include "edge/edge_priv.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>

#define STATUS_BYTES_MAX ((size_t)64 << 20)

static void
answer_print(struct admin_exchange *exchange, struct edge *edge, const char *type,
             enum fr_err (*print)(struct edge *edge, struct fr_buf *out))
{
    struct fr_buf out;
    fr_buf_init(&out, STATUS_BYTES_MAX);
    enum fr_err err = print(edge, &out);
    if (err == FR_OK)
        admin_answer(exchange, 200, type, fr_buf_view(&out));
    else
        admin_answer_error(exchange, 500, "%s", fr_err_words(err));
    fr_buf_fini(&out);
}

static void
get_metrics(void *ctx, struct admin_exchange *exchange, const struct admin_request *request)
{
    (void)request; /* takes no parameters */
    answer_print(exchange, ctx, "text/plain; version=0.0.4; charset=utf-8", edge_metrics_print);
}

static void
get_status(void *ctx, struct admin_exchange *exchange, const struct admin_request *request)
{
    (void)request; /* takes no parameters */
    answer_print(exchange, ctx, "application/json", edge_status_print);
}

static int
status_of(enum fr_err err)
{
    switch (err) {
    case FR_ERR_NOT_FOUND:
        return 404;
    case FR_ERR_RANGE:
    case FR_ERR_SYNTAX:
    case FR_ERR_CONFIG:
        return 400;
    case FR_ERR_POOL_EMPTY:
    case FR_ERR_AT_MAX:
    case FR_ERR_AT_MIN:
    case FR_ERR_STATE:
    case FR_ERR_EXISTS:
        return 409;
    default:
        return 500;
    }
}

/* An answer that waits until what it says is in force. */
struct pending_answer {
    struct admin_exchange *exchange;
    char *text;
};

static void
send_pending(void *ctx)
{
    struct pending_answer *pending = ctx;
    admin_answer(pending->exchange, 200, NULL, fr_view_of(pending->text));
    fr_free(pending->text);
    fr_free(pending);
}

static void
answer_when_in_force(struct edge *edge, struct admin_exchange *exchange, const char *text)
{
    struct pending_answer *pending = fr_xalloc(sizeof(*pending));
    pending->exchange = exchange;
    pending->text = fr_xstrdup(text);
    edge_when_in_force(edge, send_pending, pending);
}

struct pending_change {
    struct edge *edge;
    struct admin_exchange *exchange;
};

static struct pending_change *
change_new(struct edge *edge, struct admin_exchange *exchange)
{
    struct pending_change *change = fr_xalloc(sizeof(*change));
    *change = (struct pending_change){edge, exchange};
    return change;
}

static void
on_done(void *ctx, const struct allocator_answer *answer)
{
    struct pending_change *change = ctx;
    if (answer->err != FR_OK) {
        admin_answer_error(change->exchange, status_of(answer->err), "%s",
                           answer->why ? answer->why : fr_err_words(answer->err));
        fr_free(change);
        return;
    }
    json_t *servers = json_array();
    for (size_t i = 0; i < answer->server_count; i++)
        json_array_append_new(servers, json_pack("{s:s, s:s}", "id", answer->servers[i].id,
                                                 "address", answer->servers[i].address));
    json_t *root = json_pack("{s:s, s:I, s:o}", "status", "done", "generation",
                             (json_int_t)answer->generation, "servers", servers);
    char *text = json_dumps(root, 0);
    answer_when_in_force(change->edge, change->exchange, text ? text : "{}");
    free(text); /* tidy: allow call: Jansson's allocation, not ours */
    json_decref(root);
    fr_free(change);
}

static void
answer_err(struct edge *edge, struct admin_exchange *exchange, enum fr_err err)
{
    if (err == FR_OK)
        answer_when_in_force(edge, exchange, "{\"status\": \"done\"}\n");
    else
        admin_answer_error(exchange, status_of(err), "%s", fr_err_words(err));
}

static void
post_allocate(struct edge *edge, struct edge_cluster *cluster, struct admin_exchange *exchange,
              struct fr_view query)
{
    char count_text[16], server[LOOP_ADDR_TEXT_BYTES];
    uint64_t count = 1;
    if (admin_query(query, "count", count_text, sizeof(count_text)) &&
        (!fr_view_u64(fr_view_of(count_text), &count) || count < 1 || count > 1000)) {
        admin_answer_error(exchange, 400, "count: expected a number from 1 to 1000, found \"%s\"",
                           count_text);
        return;
    }
    bool wanted = admin_query(query, "server", server, sizeof(server));
    allocator_allocate(edge->allocator, fr_view_of(cluster->config->name), (uint32_t)count,
                       wanted ? fr_view_of(server) : (struct fr_view){NULL, 0}, on_done,
                       change_new(edge, exchange));
}

/* The member that ?server= names, by id or address; answers when there is none. */
static struct edge_member *
named_member(struct edge_cluster *cluster, struct admin_exchange *exchange, struct fr_view query)
{
    char name[LOOP_ADDR_TEXT_BYTES];
    if (!admin_query(query, "server", name, sizeof(name))) {
        admin_answer_error(exchange, 400, "which server? give ?server=ID or its address");
        return NULL;
    }
    FR_LIST_EACH(&cluster->members, node) {
        struct edge_member *member = FR_CONTAINER(node, struct edge_member, link);
        if (strcmp(member->shared->id, name) == 0 || strcmp(member->shared->address, name) == 0)
            return member;
    }
    admin_answer_error(exchange, 404, "no server \"%s\" in cluster %s", name,
                       cluster->config->name);
    return NULL;
}

static void
post_deallocate(struct edge *edge, struct edge_cluster *cluster, struct admin_exchange *exchange,
                struct fr_view query)
{
    char ignored[LOOP_ADDR_TEXT_BYTES];
    bool named = admin_query(query, "server", ignored, sizeof(ignored));
    struct edge_member *victim =
        named ? named_member(cluster, exchange, query) : edge_pick_victim(cluster);
    if (victim == NULL) {
        if (!named)
            admin_answer_error(exchange, 409, "no server of cluster %s came from a pool",
                               cluster->config->name);
        return;
    }
    struct fr_view id = fr_view_of(victim->shared->id);
    allocator_deallocate(edge->allocator, fr_view_of(cluster->config->name), &id, 1, on_done,
                         change_new(edge, exchange));
}

static void
set_weight(struct edge *edge, struct edge_member *member, struct admin_exchange *exchange,
           uint32_t weight)
{
    enum fr_err err = FR_OK;
    if (member->origin != EDGE_FROM_MANAGER)
        err = allocator_weight_normal(edge->allocator, fr_view_of(member->shared->id), weight);
    if (err == FR_OK)
        edge_member_weight(member, weight);
    answer_err(edge, exchange, err);
}

static void
post_drain(struct edge *edge, struct edge_cluster *cluster, struct admin_exchange *exchange,
           struct fr_view query)
{
    struct edge_member *member = named_member(cluster, exchange, query);
    if (member != NULL)
        set_weight(edge, member, exchange, 0);
}

static void
post_weight(struct edge *edge, struct edge_cluster *cluster, struct admin_exchange *exchange,
            struct fr_view query)
{
    char text[16];
    uint64_t weight = 0;
    if (!admin_query(query, "weight", text, sizeof(text)) ||
        !fr_view_u64(fr_view_of(text), &weight) || weight > 65535) {
        admin_answer_error(exchange, 400, "weight: expected a number from 0 to 65535");
        return;
    }
    struct edge_member *member = named_member(cluster, exchange, query);
    if (member != NULL)
        set_weight(edge, member, exchange, (uint32_t)weight);
}

static void
post_cluster(void *ctx, struct admin_exchange *exchange, const struct admin_request *request)
{
    static const struct {
        const char *verb;
        void (*fn)(struct edge *, struct edge_cluster *, struct admin_exchange *, struct fr_view);
    } verbs[] = {{"allocate", post_allocate},
                 {"deallocate", post_deallocate},
                 {"drain", post_drain},
                 {"weight", post_weight}};
    struct edge *edge = ctx;
    struct fr_view rest = request->path, name;
    (void)fr_view_split(&rest, '/', &name); /* before the first slash: nothing */
    (void)fr_view_split(&rest, '/', &name); /* "clusters", or we would not be here */
    if (!fr_view_split(&rest, '/', &name) || name.len == 0 || rest.ptr == NULL) {
        admin_answer_error(exchange, 404, "expected /clusters/NAME/VERB");
        return;
    }
    struct edge_cluster *cluster = edge_cluster_find(edge, name);
    if (cluster == NULL) {
        admin_answer_error(exchange, 404, "unknown cluster \"%.*s\"", FR_VIEW_ARG(name));
        return;
    }
    for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
        if (fr_view_is(rest, verbs[i].verb)) {
            verbs[i].fn(edge, cluster, exchange, request->query);
            return;
        }
    }
    admin_answer_error(exchange, 404,
                       "unknown verb \"%.*s\", expected allocate, deallocate, drain or weight",
                       FR_VIEW_ARG(rest));
}

/* The stream's and the admin interface's own, each read whatever the other says. */
static enum fr_err
reload_control(struct edge *edge, char **out_why)
{
    enum fr_err stream = edge_stream_reload(edge, out_why);
    enum fr_err admin = edge_admin_reload(edge, stream == FR_OK ? out_why : NULL);
    return stream != FR_OK ? stream : admin;
}

/* All or nothing for the listeners; a file that is no good leaves what is in force. */
static void
post_certificates(void *ctx, struct admin_exchange *exchange, const struct admin_request *request)
{
    struct edge *edge = ctx;
    char *why = NULL;
    (void)request; /* takes no parameters */
    enum fr_err err = FR_OK, control = FR_OK;
    if (edge->proxy != NULL)
        err = edge_listen_sync(edge, edge->config, &why);
    if (err == FR_OK)
        control = reload_control(edge, &why);
    if (control != FR_OK) {
        admin_answer_error(exchange, 409, "refused, the old one stays (the listeners' are new): %s",
                           why ? why : fr_err_words(control));
    } else if (err == FR_OK) {
        answer_when_in_force(edge, exchange, "{\"status\": \"done\"}\n");
    } else {
        edge->tls.reloads_failed++;
        fr_log(FR_LOG_ERROR, "edge", "certificates are refused, the old ones stay",
               FR_S("by", "admin"), FR_S("why", why ? why : fr_err_words(err)));
        admin_answer_error(exchange, 409, "refused, the old ones stay: %s",
                           why ? why : fr_err_words(err));
    }
    fr_free(why);
}

static const struct admin_route edge_routes[] = {
    {"GET", "/metrics", get_metrics, ADMIN_NEEDS_READ},
    {"GET", "/status", get_status, ADMIN_NEEDS_READ},
    {"POST", "/clusters/", post_cluster, ADMIN_NEEDS_OPERATE},
    {"GET", "/cache", edge_admin_get_cache, ADMIN_NEEDS_READ},
    {"POST", "/cache/purge", edge_admin_post_purge, ADMIN_NEEDS_OPERATE},
    {"POST", "/certificates/reload", post_certificates, ADMIN_NEEDS_ADMIN},
    {NULL, NULL, NULL, ADMIN_NEEDS_ADMIN},
};

/* ---- access --------------------------------------------------------------------------------- */

static void
on_refused(void *ctx, const char *what, const char *from, const char *why)
{
    (void)ctx;
    fr_log(FR_LOG_WARN, "edge", "admin refused", FR_S("what", what), FR_S("from", from),
           FR_S("why", why));
}

static void
on_identity(void *ctx)
{
    struct edge *edge = ctx;
    admin_set_tls(edge->admin, edge->admin_identity.server);
}

static struct tls_control_options
identity_options(const struct config *config)
{
    const struct config_control_tls *tls = &config->users.tls;
    return (struct tls_control_options){
        .certificate = tls->certificate, .key = tls->key, .ca = tls->ca, .crl = tls->crl};
}

enum fr_err
edge_admin_reload(struct edge *edge, char **out_why)
{
    const struct tls_control_options options = identity_options(edge->config);
    enum fr_err err = tls_identity_reload(&edge->admin_identity, &options, out_why);
    if (edge->admin != NULL)
        admin_set_users(edge->admin, &edge->config->users);
    return err;
}

static enum fr_err
secure(struct edge *edge, char **out_why)
{
    const struct config *config = edge->config;
    const struct tls_control_options options = identity_options(config);
    admin_set_users(edge->admin, &config->users);
    admin_on_refused(edge->admin, on_refused);
    if (!config->users.tls.enabled)
        return FR_OK;
    enum fr_err err = tls_identity_init(&edge->admin_identity, edge->loop, "edge", &options, true,
                                        on_identity, edge, out_why);
    if (err == FR_OK)
        on_identity(edge);
    return err;
}

enum fr_err
edge_admin_start(struct edge *edge, char **out_why)
{
    const struct config *config = edge->config;
    int fd = -1, error = 0;
    if (config->admin == NULL)
        return FR_OK;
    enum fr_err err = loop_bind(&config->admin_addr, false, &fd, &error);
    if (err == FR_OK)
        err = admin_new(edge->loop, fd, edge_routes, EDGE_ADMIN_BODY_BYTES_MAX, edge, &edge->admin);
    if (err != FR_OK) {
        *out_why =
            fr_xprintf("admin %s: %s", config->admin, error ? strerror(error) : fr_err_words(err));
        return err;
    }
    return secure(edge, out_why);
}
