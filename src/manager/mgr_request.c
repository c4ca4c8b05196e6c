/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mgr_request.c - reconfiguration requests: journalled, sent, repeated, answered.
 *
 * May touch:  base, wire, stream, the journal.
 * Threads:    the manager's loop.
 * Memory:     MGR_REQUESTS_MAX unanswered ones; answered ones live in the journal alone.
 * When full:  nothing more is asked for until an answer comes.
 * Trusts:     a result only from the server that was asked, and only for what is unanswered.
 *
 * Life of one:   waiting --sent--> waiting --result--> done | refused
 *                   ^                 |  \--10 min on an open stream--> given-up
 *                   +--stream lost----+  (allocate, deallocate: kept, and sent again with its id)
 *                                      \ (all others: superseded; the next reports tell anew
 *                                         what is to be asked for)
 */
#include "manager/mgr_priv.h"

#include "base/fr_check.h"
#include "base/fr_fault.h"

#include <math.h>

#ifdef FR_FAULT_POINTS
/* A row of fault_points.def, where the operation has one. */
static void
fault(enum wire_operation operation, const char *where)
{
    char name[64];

    (void)snprintf(name, sizeof(name), "manager-%s-%s", wire_operation_name(operation), where);
    FR_FAULT(name);
}
#define REQUEST_FAULT(operation, where) fault(operation, where)
#else
#define REQUEST_FAULT(operation, where) ((void)0)
#endif

/* What would be lost for good if it were not repeated. Everything else follows from reports. */
static bool
operation_lasts(enum wire_operation operation)
{
    return operation == WIRE_ALLOCATE || operation == WIRE_DEALLOCATE;
}

/* "OPERATION TARGET CLUSTER SERVER", by which mgr_sync asks whether it has asked already. A weight
 * for each member of many edges can be under way at once: no list should be walked for that. */
#define KEY_BYTES (4 * MGR_ID_BYTES)

static struct fr_view
key_make(char out[KEY_BYTES], enum wire_operation operation, const char *target,
         const char *cluster, const char *server)
{
    const char *parts[] = {target, cluster, server};
    size_t used = 0;

    out[used++] = (char)operation;
    for (unsigned i = 0; i < 3; i++) {
        size_t len = strnlen(parts[i], MGR_ID_BYTES - 1);
        memcpy(out + used, parts[i], len);
        used += len;
        out[used++] = '\n';
    }
    return fr_view_make(out, used);
}

static struct fr_view
key_of(char out[KEY_BYTES], const struct mgr_request *request)
{
    return key_make(out, request->operation, request->target, request->cluster, request->server);
}

static void
request_free(struct mgr *mgr, struct mgr_request *request)
{
    fr_list_remove(&request->link);
    mgr->request_count--;
    mgr->request_counts[request->operation]--;
    char key[KEY_BYTES];
    struct fr_view found = key_of(key, request);
    if (fr_map_get(mgr->requests_by_key, found) == request) /* not a newer one of the same key */
        (void)fr_map_remove(mgr->requests_by_key, found);
    fr_free(request->text);
    fr_free(request);
}

void
mgr_request_free_all(struct mgr *mgr)
{
    FR_LIST_EACH_SAFE(&mgr->requests, node)
        request_free(mgr, FR_CONTAINER(node, struct mgr_request, link));
}

static void
request_add(struct mgr *mgr, struct mgr_request *request)
{
    fr_list_init(&request->link);
    fr_list_push_back(&mgr->requests, &request->link);
    mgr->request_count++;
    mgr->request_counts[request->operation]++;
    char key[KEY_BYTES];
    if (!operation_lasts(request->operation)) /* the target of those that last may change */
        (void)fr_map_put(mgr->requests_by_key, key_of(key, request), request); /* the newest */
}

static bool
transmit(struct mgr *mgr, struct mgr_source *target, struct mgr_request *request)
{
    struct wire_reconfigure said = {
        .id = request->id,
        .cluster = fr_view_of(request->cluster),
        .reason = fr_view_of(request->reason),
        .operation = request->operation,
        .count = request->count,
        .server = fr_view_of(request->server),
        .address = fr_view_of(request->address),
        .pool = fr_view_of(request->pool),
        .weight = request->weight,
        .upper = request->upper,
        .lower = request->lower,
        .step = request->step,
        .followers = request->followers,
        .goal_us = request->goal_us,
        .what = fr_view_of(request->what),
        .text = fr_view_of(request->text),
        .soft = request->soft,
    };

    if (!target->session)
        return false;
    enum fr_err err = stream_session_send_reconfigure(target->session->stream, &said);
    if (err == FR_ERR_FULL || err == FR_ERR_CLOSED || err == FR_ERR_NOMEM)
        return false; /* stays waiting; mgr_request_tick tries again */
    request->sent_at_us = loop_now_us(mgr->loop);
    if (err != FR_OK) { /* it cannot be said at all: it will be given up, never repeated */
        fr_log(FR_LOG_ERROR, "manager", "request cannot be put in words",
               FR_S("operation", wire_operation_name(request->operation)),
               FR_S("error", fr_err_words(err)));
        return true;
    }
    mgr->counters.requests_sent++;
    mgr->counters.requests_resent += request->sends > 0;
    request->sends++;
    mgr_journal_sent(mgr->journal, request->id, request->sends, loop_wall_us(mgr->loop));
    return true;
}

static void
request_copy(char *out, size_t out_bytes, const char *text)
{
    /* Texts come from our own tables, whose arrays are as large. */
    (void)fr_view_copy(fr_view_of(text ? text : ""), out, out_bytes);
}

bool
mgr_request_send(struct mgr *mgr, const struct mgr_ask *ask, struct wire_request_id *out_id)
{
    if (!ask->target->session || mgr->request_count >= MGR_REQUESTS_MAX)
        return false;
    struct mgr_request *request = fr_xalloc(sizeof(*request));
    request->id = (struct wire_request_id){mgr->epoch, ++mgr->sequence};
    request->operation = ask->operation;
    request->count = ask->count;
    request->weight = ask->weight;
    request->upper = ask->upper;
    request->lower = ask->lower;
    request->step = ask->step;
    request->followers = ask->followers;
    request->goal_us = ask->goal_us;
    request_copy(request->cluster, sizeof(request->cluster),
                 ask->cluster ? ask->cluster->name : NULL);
    request_copy(request->target, sizeof(request->target), ask->target->id);
    request_copy(request->server, sizeof(request->server), ask->server);
    request_copy(request->address, sizeof(request->address), ask->address);
    request_copy(request->pool, sizeof(request->pool), ask->pool);
    request_copy(request->reason, sizeof(request->reason), ask->reason);
    request_copy(request->what, sizeof(request->what), ask->what);
    request->text = fr_xstrdup(ask->text);
    request->soft = ask->soft;
    request->purge = ask->purge;
    request_add(mgr, request);
    REQUEST_FAULT(request->operation, "before-write");
    mgr_journal_request(mgr->journal, request, loop_wall_us(mgr->loop));
    REQUEST_FAULT(request->operation, "before-send");
    (void)transmit(mgr, ask->target, request); /* if not now, mgr_request_tick */
    REQUEST_FAULT(request->operation, "after-send");

    char id[WIRE_REQUEST_ID_BYTES];
    wire_request_id_format(request->id, id);
    bool is_quiet = ask->operation == WIRE_LEVELS;
    fr_log(is_quiet ? FR_LOG_DEBUG : FR_LOG_INFO, "manager", "request", FR_S("id", id),
           FR_S("operation", wire_operation_name(ask->operation)), FR_S("to", request->target),
           FR_S("cluster", request->cluster), FR_S("server", request->server),
           FR_S("reason", request->reason));
    if (out_id)
        *out_id = request->id;
    return true;
}

struct mgr_request *
mgr_request_pending(const struct mgr *mgr, const struct mgr_source *target,
                    const struct mgr_cluster *cluster, enum wire_operation operation,
                    const char *server)
{
    if (mgr->request_counts[operation] == 0)
        return NULL;
    if (target && cluster && server && !operation_lasts(operation)) {
        char key[KEY_BYTES];
        return fr_map_get(mgr->requests_by_key,
                          key_make(key, operation, target->id, cluster->name, server));
    }
    FR_LIST_EACH(&mgr->requests, node) {
        struct mgr_request *request = FR_CONTAINER(node, struct mgr_request, link);
        if (request->operation == operation &&
            (!target || strcmp(request->target, target->id) == 0) &&
            (!cluster || strcmp(request->cluster, cluster->name) == 0) &&
            (!server || strcmp(request->server, server) == 0))
            return request;
    }
    return NULL;
}

void
mgr_request_count(const struct mgr *mgr, const struct mgr_cluster *cluster, uint32_t *out_up,
                  uint32_t *out_down)
{
    uint32_t up = 0;
    uint32_t down = 0;

    *out_up = *out_down = 0;
    if (mgr->request_counts[WIRE_ALLOCATE] + mgr->request_counts[WIRE_DEALLOCATE] == 0)
        return;
    FR_LIST_EACH(&mgr->requests, node) {
        const struct mgr_request *request = FR_CONTAINER(node, struct mgr_request, link);
        uint32_t count = request->count ? request->count : 1;
        if (strcmp(request->cluster, cluster->name) != 0)
            continue;
        if (request->operation == WIRE_ALLOCATE)
            up += count < UINT32_MAX - up ? count : 0;
        if (request->operation == WIRE_DEALLOCATE)
            down += count < UINT32_MAX - down ? count : 0;
    }
    *out_up = up;
    *out_down = down;
}

uint32_t
mgr_request_shown(const struct mgr *mgr, const struct mgr_view *view)
{
    uint32_t shown = 0;

    if (mgr->request_counts[WIRE_DEALLOCATE] == 0)
        return 0;
    FR_LIST_EACH(&mgr->requests, node) {
        const struct mgr_request *request = FR_CONTAINER(node, struct mgr_request, link);
        if (request->operation != WIRE_DEALLOCATE || !request->server[0] ||
            strcmp(request->cluster, view->cluster->name) != 0)
            continue;
        const struct mgr_member *member =
            mgr_member_find(view->cluster, fr_view_of(request->server));
        const struct mgr_series *series = member ? mgr_view_series(view, member) : NULL;
        shown += !series || series->state == MGR_STATE_DRAINING;
    }
    return shown;
}

/* ---- answers -------------------------------------------------------------------------------- */

/* The result is news that the next report only repeats: until then the manager would ask again for
 * what it just got. */
static void
view_foresee(struct mgr_view *view, const struct wire_server *server, enum mgr_state state)
{
    struct mgr_member *member = mgr_member_find(view->cluster, server->id);
    struct mgr_series *series = member ? mgr_view_series(view, member) : NULL;

    if (!series)
        series = mgr_series_new(view, server->id);
    if (!series)
        return;
    series->state = state;
    member = series->member;
    member->sights[series->sight_index].fresh_until_us = view->source->fresh_until_us;
    if (server->address.len)
        (void)fr_view_copy(server->address, member->address, sizeof(member->address));
    if (view->is_responsible && member->ready_since_us == 0)
        member->ready_since_us = loop_now_us(view->cluster->mgr->loop);
}

static void
view_forget(struct mgr_view *view, struct fr_view id)
{
    struct mgr_member *member = mgr_member_find(view->cluster, id);
    struct mgr_series *series = member ? mgr_view_series(view, member) : NULL;

    if (series)
        mgr_series_drop(series);
}

static void
weight_foresee(struct mgr_view *view, const struct mgr_request *request, bool is_done)
{
    struct mgr_member *member = mgr_member_find(view->cluster, fr_view_of(request->server));
    struct mgr_series *series = member ? mgr_view_series(view, member) : NULL;

    if (!series)
        return;
    int64_t now_us = loop_now_us(view->cluster->mgr->loop);
    if (is_done)
        series->weight = request->weight;
    else /* not the same again at once */
        series->synced_at_us = now_us;
    if (view->is_responsible)
        member->weight_rest_until_us = now_us + (is_done ? MGR_WEIGHT_REST_US : MGR_AGAIN_US);
}

static void
answer_apply(struct mgr *mgr, struct mgr_view *view, const struct mgr_request *request,
             const struct wire_result *result)
{
    struct mgr_cluster *cluster = view->cluster;
    struct fr_view server = fr_view_of(request->server);
    bool is_done = result->status == WIRE_DONE;
    int64_t now_us = loop_now_us(mgr->loop);

    switch (request->operation) {
    case WIRE_ALLOCATE:
        cluster->policy.changed_at_us = cluster->policy.grown_at_us = now_us;
        cluster->policy.grow_failed = !is_done;
        if (is_done && request->sent_at_us != 0)
            cluster->startup_s = (double)(now_us - request->sent_at_us) / FR_US_PER_S;
        cluster->is_report_awaited = is_done;
        for (size_t i = 0; is_done && i < result->server_count; i++) {
            view_foresee(view, &result->servers[i], MGR_STATE_READY);
            struct mgr_member *member = mgr_member_find(cluster, result->servers[i].id);
            if (member && result->servers[i].pool.len)
                (void)fr_view_copy(result->servers[i].pool, member->pool, sizeof(member->pool));
            else if (member && cluster->config && !member->pool[0])
                request_copy(member->pool, sizeof(member->pool), cluster->config->scale.from[0]);
        }
        break;
    case WIRE_DEALLOCATE:
        cluster->policy.changed_at_us = now_us;
        cluster->is_report_awaited = is_done;
        for (size_t i = 0; is_done && i < result->server_count; i++)
            view_forget(view, result->servers[i].id);
        break;
    case WIRE_JOIN:
        if (is_done) {
            struct wire_server joined = wire_server_none();
            joined.id = server;
            joined.address = fr_view_of(request->address);
            view_foresee(view, &joined, MGR_STATE_READY);
        } else {
            view->join_refused_at_us = now_us;
        }
        break;
    case WIRE_WEIGHT:
        weight_foresee(view, request, is_done);
        break;
    case WIRE_LEAVE: /* one that does not know it has let go of it */
        if (is_done || fr_view_is(result->code, "not-found"))
            view_forget(view, server);
        break;
    case WIRE_RELEASE:
    default:
        break;
    }
    mgr_cluster_mark(cluster);
}

/* "web-4 10.0.0.9:8080, …", as much as fits. */
static void
servers_print(const struct wire_result *result, char *out, size_t out_bytes)
{
    size_t used = 0;

    out[0] = '\0';
    for (size_t i = 0; i < result->server_count && used < out_bytes; i++) {
        int put = snprintf(out + used, out_bytes - used, "%s%.*s %.*s", i ? ", " : "",
                           FR_VIEW_ARG(result->servers[i].id),
                           FR_VIEW_ARG(result->servers[i].address));
        used += put > 0 ? (size_t)put : out_bytes;
    }
}

static void
answer_log(const struct mgr_request *request, const struct wire_result *result, const char *servers)
{
    char id[WIRE_REQUEST_ID_BYTES];
    bool is_done = result->status == WIRE_DONE;
    enum fr_log_level level = !is_done                            ? FR_LOG_WARN
                              : request->operation == WIRE_LEVELS ? FR_LOG_DEBUG
                                                                  : FR_LOG_INFO;

    wire_request_id_format(request->id, id);
    fr_log(level, "manager", is_done ? "done" : "refused", FR_S("id", id),
           FR_S("operation", wire_operation_name(request->operation)),
           FR_S("by", request->target), FR_S("cluster", request->cluster),
           FR_S("server", request->server), FR_S("servers", servers), FR_V("code", result->code),
           FR_V("reason", result->reason));
}

void
mgr_request_result(struct mgr *mgr, struct mgr_source *source, const struct wire_result *result)
{
    struct mgr_request *request = NULL;
    char servers[MGR_SENTENCE_BYTES];

    FR_LIST_EACH(&mgr->requests, node) {
        struct mgr_request *candidate = FR_CONTAINER(node, struct mgr_request, link);
        if (candidate->id.sequence == result->id.sequence &&
            candidate->id.epoch == result->id.epoch &&
            strcmp(candidate->target, source->id) == 0) {
            request = candidate;
            break;
        }
    }
    if (!request) {
        mgr->counters.results_unknown++;
        return;
    }
    if (result->status == WIRE_DONE)
        mgr->counters.requests_done++;
    else
        mgr->counters.requests_refused++;
    servers_print(result, servers, sizeof(servers));
    answer_log(request, result, servers);
    REQUEST_FAULT(request->operation, "before-answer");
    mgr_journal_answer(mgr->journal, request->id,
                       result->status == WIRE_DONE ? "done" : "refused", result->code,
                       result->reason, servers, loop_wall_us(mgr->loop));
    REQUEST_FAULT(request->operation, "after-answer");
    struct mgr_cluster *cluster = mgr_cluster_find(mgr, fr_view_of(request->cluster));
    struct mgr_view *view = cluster ? mgr_view_find(source, cluster) : NULL;
    if (view)
        answer_apply(mgr, view, request, result);
    mgr_purge_receipt(request, result->status == WIRE_DONE ? "done" : "refused", result->reason,
                      result);
    if (request->operation == WIRE_RELIEVE && result->status == WIRE_DONE)
        source->self.relief = request->step;
    request_free(mgr, request);
    mgr_decide_soon(mgr);
}

/* ---- repeating and giving up ---------------------------------------------------------------- */

static void
give_up(struct mgr *mgr, struct mgr_request *request, const char *status, const char *words)
{
    char id[WIRE_REQUEST_ID_BYTES];

    wire_request_id_format(request->id, id);
    fr_log(operation_lasts(request->operation) ? FR_LOG_WARN : FR_LOG_DEBUG, "manager",
           "request ends unanswered", FR_S("id", id), FR_S("status", status),
           FR_S("operation", wire_operation_name(request->operation)),
           FR_S("to", request->target), FR_S("cluster", request->cluster), FR_S("why", words));
    mgr_journal_answer(mgr->journal, request->id, status, (struct fr_view){"", 0},
                       fr_view_of(words), "", loop_wall_us(mgr->loop));
    mgr_purge_receipt(request, "silent", fr_view_of(words), NULL);
    struct mgr_cluster *cluster = mgr_cluster_find(mgr, fr_view_of(request->cluster));
    if (cluster && operation_lasts(request->operation))
        cluster->policy.changed_at_us = loop_now_us(mgr->loop);
    if (cluster && request->operation == WIRE_ALLOCATE) {
        cluster->policy.grown_at_us = cluster->policy.changed_at_us;
        cluster->policy.grow_failed = true;
    }
    request_free(mgr, request);
}

void
mgr_request_stream_lost(struct mgr *mgr, struct mgr_source *source)
{
    FR_LIST_EACH_SAFE(&mgr->requests, node) {
        struct mgr_request *request = FR_CONTAINER(node, struct mgr_request, link);
        if (strcmp(request->target, source->id) != 0)
            continue;
        request->sent_at_us = 0;
        if (!operation_lasts(request->operation))
            give_up(mgr, request, "superseded", "the stream ended; reports will tell anew");
    }
}

void
mgr_request_resend(struct mgr *mgr, struct mgr_view *view)
{
    view->is_resent = true;
    FR_LIST_EACH(&mgr->requests, node) {
        struct mgr_request *request = FR_CONTAINER(node, struct mgr_request, link);
        if (request->sent_at_us != 0 || !operation_lasts(request->operation) ||
            strcmp(request->cluster, view->cluster->name) != 0)
            continue;
        char id[WIRE_REQUEST_ID_BYTES];
        wire_request_id_format(request->id, id);
        fr_log(FR_LOG_INFO, "manager", "request is sent again", FR_S("id", id),
               FR_S("to", view->source->id), FR_S("cluster", request->cluster),
               FR_S("operation", wire_operation_name(request->operation)));
        request_copy(request->target, sizeof(request->target), view->source->id);
        (void)transmit(mgr, view->source, request); /* if not now, mgr_request_tick */
    }
}

static void
request_tick(struct mgr *mgr, struct mgr_request *request, int64_t now_us)
{
    struct mgr_cluster *cluster = mgr_cluster_find(mgr, fr_view_of(request->cluster));

    if (request->cluster[0] && operation_lasts(request->operation) &&
        (!cluster || !cluster->config)) {
        give_up(mgr, request, "given-up", "the cluster is not in the configuration any more");
        return;
    }
    if (request->sent_at_us != 0) {
        if (now_us - request->sent_at_us < MGR_GIVE_UP_US)
            return;
        mgr->counters.requests_given_up++;
        give_up(mgr, request, "given-up", "no answer on an open stream");
        return;
    }
    /* There was no room in its stream's queue, or it waits for its server. */
    struct mgr_source *target = mgr_source_find(mgr, fr_view_of(request->target));
    if (operation_lasts(request->operation))
        target = cluster && cluster->responsible && cluster->responsible->is_resent
                     ? cluster->responsible->source
                     : NULL;
    if (target && target->session && strcmp(target->id, request->target) == 0)
        (void)transmit(mgr, target, request); /* if not now, next time */
}

void
mgr_request_tick(struct mgr *mgr, int64_t now_us)
{
    FR_LIST_EACH_SAFE(&mgr->requests, node)
        request_tick(mgr, FR_CONTAINER(node, struct mgr_request, link), now_us);
}

void
mgr_request_restore(struct mgr *mgr, const struct mgr_request *request)
{
    if (mgr->request_count >= MGR_REQUESTS_MAX || !operation_lasts(request->operation)) {
        mgr_journal_answer(mgr->journal, request->id, "superseded", (struct fr_view){"", 0},
                           FR_VIEW("the manager started anew; reports will tell anew"), "",
                           loop_wall_us(mgr->loop));
        return;
    }
    struct mgr_request *copy = fr_xalloc(sizeof(*copy));
    *copy = *request;
    copy->sent_at_us = 0;
    copy->sends = 1; /* it went out in its own epoch, or nearly so */
    request_add(mgr, copy);
}
