/* SPDX-License-Identifier: Apache-2.0 */
/*
 * edge_requests.c - remembers what the manager asked for and what came of it, so that doing a
 * request twice is the same as doing it once.
 *
 * Memory:   the last EDGE_RESULTS_KEPT answered requests; unanswered ones are never forgotten, and
 *           EDGE_REQUESTS_PENDING_MAX at most. Of what outlives this process, see do_allocate.
 * Threads:  control loop.
 */
#include "edge/edge_priv.h"

#include "base/fr_check.h"

#include <ctype.h>

static struct fr_view
key_of(const struct wire_request_id *id)
{
    return fr_view_make((const char *)id, sizeof(*id)); /* two numbers, nothing between them */
}

static void
free_request(struct edge_request *request)
{
    (void)fr_map_remove(request->edge->requests_by_id, key_of(&request->id));
    fr_list_remove(&request->link);
    fr_free(request->why);
    fr_free(request->servers);
    fr_free(request);
}

void
edge_requests_free(struct edge *edge)
{
    FR_LIST_EACH_SAFE(&edge->pending, node)
        free_request(FR_CONTAINER(node, struct edge_request, link));
    FR_LIST_EACH_SAFE(&edge->answered, node)
        free_request(FR_CONTAINER(node, struct edge_request, link));
    fr_map_free(&edge->requests_by_id, NULL);
}

struct edge_request *
edge_request_find(struct edge *edge, struct wire_request_id id)
{
    return fr_map_get(edge->requests_by_id, key_of(&id));
}

static void
note_answered(struct edge_request *request)
{
    struct edge *edge = request->edge;
    request->answered = true;
    fr_list_remove(&request->link);
    edge->pending_count--;
    fr_list_push_back(&edge->answered, &request->link);
    if (++edge->answered_count <= EDGE_RESULTS_KEPT)
        return;
    struct edge_request *oldest = FR_CONTAINER(edge->answered.next, struct edge_request, link);
    if (oldest->id.epoch > edge->forgotten.epoch ||
        (oldest->id.epoch == edge->forgotten.epoch &&
         oldest->id.sequence > edge->forgotten.sequence))
        edge->forgotten = oldest->id;
    free_request(oldest);
    edge->answered_count--;
}

bool
edge_request_is_old(const struct edge *edge, struct wire_request_id id)
{
    return id.epoch < edge->forgotten.epoch ||
           (id.epoch == edge->forgotten.epoch && id.sequence <= edge->forgotten.sequence);
}

void
edge_requests_left(struct edge *edge, const char *cluster, const char *id)
{
    FR_LIST_EACH_SAFE(&edge->pending, node) {
        struct edge_request *request = FR_CONTAINER(node, struct edge_request, link);
        if (!request->waits_leave || strcmp(request->leaves, id) != 0 ||
            strcmp(request->leaves_cluster, cluster) != 0)
            continue;
        request->waits_leave = false;
        edge_request_answer(request, FR_OK, NULL);
    }
}

struct edge_request *
edge_request_new(struct edge *edge, const struct wire_reconfigure *from)
{
    struct edge_request *request = fr_xalloc(sizeof(*request));
    request->edge = edge;
    request->id = from->id;
    request->operation = from->operation;
    fr_list_push_back(&edge->pending, &request->link);
    edge->pending_count++;
    (void)fr_map_put(edge->requests_by_id, key_of(&request->id), request); /* it was not there */
    return request;
}

void
edge_request_add_server(struct edge_request *request, const char *id, const char *address,
                        const char *pool)
{
    size_t count = request->server_count++;
    request->servers =
        fr_xrealloc(request->servers, request->server_count * sizeof(*request->servers));
    /* They come from structs of these very sizes. */
    (void)fr_view_copy(fr_view_of(id), request->servers[count].id,
                       sizeof(request->servers[count].id));
    (void)fr_view_copy(fr_view_of(address), request->servers[count].address,
                       sizeof(request->servers[count].address));
    (void)fr_view_copy(fr_view_of(pool), request->servers[count].pool,
                       sizeof(request->servers[count].pool));
}

/* "POOL_EMPTY" goes out as "pool-empty". */
static void
code_of(enum fr_err err, char *out, size_t out_bytes)
{
    (void)fr_view_copy(fr_view_of(fr_err_name(err)), out, out_bytes); /* names are short */
    for (char *c = out; *c != '\0'; c++)
        *c = *c == '_' ? '-' : (char)tolower((unsigned char)*c);
}

/* A result that finds no open stream is sent when the manager asks again. */
void
edge_request_send(struct edge_request *request)
{
    struct edge *edge = request->edge;
    char code[64];
    if (edge->stream == NULL || !stream_session_is_open(edge->stream))
        return;
    struct wire_server *servers = fr_xalloc((request->server_count + 1) * sizeof(*servers));
    for (size_t i = 0; i < request->server_count; i++) {
        servers[i] = wire_server_none();
        servers[i].id = fr_view_of(request->servers[i].id);
        servers[i].address = fr_view_of(request->servers[i].address);
        servers[i].pool = fr_view_of(request->servers[i].pool);
    }
    struct wire_result result = {
        .id = request->id,
        .status = request->err == FR_OK ? WIRE_DONE : WIRE_REFUSED,
        .generation = request->generation,
        .servers = servers,
        .server_count = request->server_count,
        .purged = request->purged.objects,
        .purged_bytes = request->purged.bytes,
        .purged_rate = request->purged.requests_per_s,
    };
    if (request->err != FR_OK) {
        code_of(request->err, code, sizeof(code));
        result.code = fr_view_of(code);
        result.reason = fr_view_of(request->why);
    }
    enum fr_err err = stream_session_send_result(edge->stream, &result);
    if (err != FR_OK)
        fr_log(FR_LOG_WARN, "edge", "result not sent, it goes out when the request is repeated",
               FR_S("error", fr_err_words(err)));
    fr_free(servers);
}

static void
finish(void *ctx)
{
    struct edge_request *request = ctx;
    char id[WIRE_REQUEST_ID_BYTES];
    bool done = request->err == FR_OK;
    note_answered(request);
    request->edge->requests_refused += !done;
    request->generation = allocator_ledger(request->edge->allocator)->generation;
    wire_request_id_format(request->id, id);
    fr_log(done ? FR_LOG_INFO : FR_LOG_WARN, "edge", done ? "request done" : "request refused",
           FR_S("id", id), FR_S("operation", wire_operation_name(request->operation)),
           FR_S("why", done ? "" : request->why));
    edge_request_send(request);
}

void
edge_request_answer(struct edge_request *request, enum fr_err err, const char *why)
{
    fr_require(!request->answered);
    request->err = err;
    request->why = err == FR_OK ? NULL : fr_xstrdup(why != NULL ? why : fr_err_words(err));
    if (err == FR_OK)
        edge_when_in_force(request->edge, finish, request);
    else
        finish(request);
}
