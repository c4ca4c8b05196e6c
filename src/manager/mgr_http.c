/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mgr_http.c - what the manager answers over HTTP: /status, /metrics, /why, POST /report and
 * /cache/purge (mgr_purge.c).
 *
 * May touch:  base, admin, wire.
 * Threads:    the manager's loop.
 * Trusts:     nothing: a posted report is decoded to its end before anything of it is stored.
 * Limits:     MGR_POST_BYTES_MAX in, MGR_ANSWER_BYTES_MAX out, MGR_WHY_ROWS_MAX rows.
 */
#include "manager/mgr_priv.h"

#include <inttypes.h>
#include <math.h>

/* ---- GET /status, /metrics ------------------------------------------------------------------- */

static void
answer_buffer(struct admin_exchange *exchange, const char *content_type, struct fr_buf *buf,
              enum fr_err err)
{
    if (err == FR_OK)
        admin_answer(exchange, 200, content_type, fr_buf_view(buf));
    else
        admin_answer_error(exchange, 503, "%s", fr_err_words(err));
    fr_buf_fini(buf);
}

static void
get_status(void *ctx, struct admin_exchange *exchange, const struct admin_request *request)
{
    struct fr_buf buf;

    (void)request;
    fr_buf_init(&buf, MGR_ANSWER_BYTES_MAX);
    enum fr_err err = mgr_status_json(ctx, &buf);
    answer_buffer(exchange, "application/json", &buf, err);
}

static void
get_metrics(void *ctx, struct admin_exchange *exchange, const struct admin_request *request)
{
    struct fr_buf buf;

    (void)request;
    fr_buf_init(&buf, MGR_ANSWER_BYTES_MAX);
    enum fr_err err = mgr_metrics_text(ctx, &buf);
    answer_buffer(exchange, "text/plain; version=0.0.4", &buf, err);
}

/* ---- GET /why -------------------------------------------------------------------------------- */

struct why_writer {
    struct fr_buf buf;
    bool is_json, is_first;
    enum fr_err err;
};

__attribute__((format(printf, 2, 3))) static void
put(struct why_writer *writer, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    if (writer->err == FR_OK)
        writer->err = fr_buf_vprintf(&writer->buf, format, args);
    va_end(args);
}

static void
put_json(struct why_writer *writer, const char *key, struct fr_view text)
{
    put(writer, ",\"%s\":", key);
    if (writer->err == FR_OK)
        writer->err = admin_json_string(&writer->buf, text);
}

static void
put_number(struct why_writer *writer, const char *key, double value)
{
    if (isfinite(value))
        put(writer, ",\"%s\":%.4f", key, value);
    else
        put(writer, ",\"%s\":null", key);
}

static void
why_json(struct why_writer *writer, const struct mgr_why *why)
{
    char at[FR_TIME_ISO_BYTES];
    char last[FR_TIME_ISO_BYTES];
    char answered[FR_TIME_ISO_BYTES];
    char id[WIRE_REQUEST_ID_BYTES];

    fr_time_format_iso(why->at_us, at);
    fr_time_format_iso(why->last_at_us, last);
    put(writer, "%s{\"at\":\"%s\",\"last_at\":\"%s\",\"repeats\":%" PRIu64,
        writer->is_first ? "" : ",\n", at, last, why->repeats);
    put_json(writer, "verdict", why->verdict);
    put_json(writer, "rule", why->rule);
    put_json(writer, "sentence", why->sentence);
    put_number(writer, "mean", why->mean);
    put_number(writer, "highest", why->highest);
    put(writer,
        ",\"ready\":%" PRIu64 ",\"starting\":%" PRIu64 ",\"draining\":%" PRIu64
        ",\"stale\":%" PRIu64,
        why->ready, why->starting, why->draining, why->stale);
    if (why->request.sequence) {
        wire_request_id_format(why->request, id);
        put(writer, ",\"request\":\"%s\"", id);
        put_json(writer, "status", why->status);
        put_json(writer, "code", why->code);
        put_json(writer, "reason", why->reason);
        put_json(writer, "servers", why->servers);
        if (why->answered_at_us) {
            fr_time_format_iso(why->answered_at_us, answered);
            put(writer, ",\"answered_at\":\"%s\"", answered);
        }
    }
    put(writer, "}");
}

/* What came of the request, as the end of the sentence. */
static void
why_outcome(struct why_writer *writer, const struct mgr_why *why)
{
    double after_s = (double)(why->answered_at_us - why->at_us) / FR_US_PER_S;

    if (why->request.sequence == 0) {
        if (!fr_view_is(why->verdict, "hold") && !fr_view_is(why->verdict, "observe") &&
            !fr_view_is(why->verdict, "propose") && !fr_view_is(why->verdict, "denied") &&
            !fr_view_is(why->verdict, "ladder")) /* the edge's own doing */
            put(writer, " -> could not be asked for");
        return;
    }
    if (fr_view_is(why->status, "done"))
        put(writer, " -> done after %.2f s%s%.*s", after_s, why->servers.len ? ": " : "",
            FR_VIEW_ARG(why->servers));
    else if (fr_view_is(why->status, "refused"))
        put(writer, " -> refused after %.2f s: %.*s%s%.*s", after_s, FR_VIEW_ARG(why->code),
            why->reason.len ? ": " : "", FR_VIEW_ARG(why->reason));
    else if (fr_view_is(why->status, "waiting"))
        put(writer, " -> not answered yet");
    else if (why->status.len)
        put(writer, " -> %.*s: %.*s", FR_VIEW_ARG(why->status), FR_VIEW_ARG(why->reason));
}

static void
why_text(struct why_writer *writer, const struct mgr_why *why)
{
    char at[FR_TIME_ISO_BYTES];

    fr_time_format_iso(why->at_us, at);
    put(writer, "%s  %.*s", at, FR_VIEW_ARG(why->sentence));
    if (why->repeats > 1) {
        fr_time_format_iso(why->last_at_us, at);
        put(writer, " (%" PRIu64 " times, last %s)", why->repeats, at);
    }
    why_outcome(writer, why);
    put(writer, "\n");
}

static void
why_row(void *ctx, const struct mgr_why *why)
{
    struct why_writer *writer = ctx;

    if (writer->is_json)
        why_json(writer, why);
    else
        why_text(writer, why);
    writer->is_first = false;
}

static void
answer_unknown_cluster(struct mgr *mgr, struct admin_exchange *exchange, const char *name)
{
    char known[512] = "";
    size_t used = 0;
    size_t cursor = 0;
    struct fr_view key;

    while (fr_map_next(mgr->clusters, &cursor, &key, NULL)) {
        int bytes = snprintf(known + used, sizeof(known) - used, "%s%.*s", used ? ", " : "",
                             FR_VIEW_ARG(key));
        if (bytes < 0 || (size_t)bytes >= sizeof(known) - used) {
            known[used] = '\0'; /* the rest does not fit: whole names only */
            break;
        }
        used += (size_t)bytes;
    }
    admin_answer_error(exchange, 404, "no cluster \"%s\" here; there is: %s", name,
                       used ? known : "none");
}

static void
why_empty(struct mgr *mgr, struct why_writer *writer, const char *name)
{
    const struct mgr_cluster *cluster = mgr_cluster_find(mgr, fr_view_of(name));

    if (writer->is_json)
        return;
    if (cluster && (!cluster->config || !cluster->config->scale.enabled))
        put(writer, "nothing: this manager's configuration does not scale %s\n", name);
    else if (cluster && !cluster->responsible)
        put(writer, "nothing yet: no server that is responsible for %s is connected\n", name);
    else
        put(writer, "nothing yet about %s\n", name);
}

static void
why_rung_json(struct why_writer *writer, const struct mgr_view *view, const char *since,
              int64_t silent_us)
{
    put(writer, "%s{\"edge\":", writer->is_first ? "" : ",");
    if (writer->err == FR_OK)
        writer->err = admin_json_string(&writer->buf, fr_view_of(view->source->id));
    put_json(writer, "rung", fr_view_of(view->rung));
    put_json(writer, "since", fr_view_of(since));
    put(writer, ",\"silent_ms\":%" PRId64 "}", (int64_t)(silent_us / FR_US_PER_MS));
}

static void
why_rung_text(struct why_writer *writer, const struct mgr_view *view, const char *since,
              int64_t silent_us)
{
    put(writer, "%s %s %s", writer->is_first ? "" : ",", view->source->id,
        view->rung[0] ? "at " : "on the ground");
    if (view->rung[0])
        put(writer, "%s since %s", view->rung, since);
    if (silent_us > 0)
        put(writer, " when last heard, %.0f s ago", (double)silent_us / FR_US_PER_S);
}

/* Behind the decisions: where each edge stands now. The rows say how it came there, but the last
 * one of an edge may be older than those that were asked for. */
static void
why_rungs(struct why_writer *writer, const struct mgr_cluster *cluster)
{
    int64_t now_us = loop_now_us(cluster->mgr->loop);
    struct why_writer edges = {.is_json = writer->is_json, .is_first = true};

    fr_buf_init(&edges.buf, MGR_ANSWER_BYTES_MAX);
    FR_LIST_EACH(&cluster->views, node) {
        const struct mgr_view *view = FR_CONTAINER(node, struct mgr_view, cluster_link);
        char since[FR_TIME_ISO_BYTES] = "";
        if (view->source->role != WIRE_ROLE_EDGE)
            continue; /* without a data plane there is nothing to climb */
        if (view->rung_since_wall_us)
            fr_time_format_iso(view->rung_since_wall_us, since);
        bool is_silent = mgr_source_is_stale(view->source, now_us);
        (edges.is_json ? why_rung_json : why_rung_text)(
            &edges, view, since, is_silent ? now_us - view->source->last_at_us : 0);
        edges.is_first = false;
    }
    if (edges.err != FR_OK)
        writer->err = edges.err;
    if (!edges.is_first && writer->is_json)
        put(writer, "%s{\"verdict\":\"rungs\",\"rule\":\"ladder\",\"edges\":[%.*s]}",
            writer->is_first ? "" : ",\n", FR_VIEW_ARG(fr_buf_view(&edges.buf)));
    else if (!edges.is_first)
        put(writer, "ladder now:%.*s\n", FR_VIEW_ARG(fr_buf_view(&edges.buf)));
    fr_buf_fini(&edges.buf);
}

static void
get_why(void *ctx, struct admin_exchange *exchange, const struct admin_request *request)
{
    struct mgr *mgr = ctx;
    char name[MGR_ID_BYTES];
    char text[16];
    uint64_t rows = MGR_WHY_ROWS_DEFAULT;

    if (!admin_query(request->query, "cluster", name, sizeof(name)) &&
        !admin_query(request->query, "edge", name, sizeof(name))) {
        admin_answer_error(exchange, 400, "cluster=NAME (or edge=ID) is missing, or too long");
        return;
    }
    if (admin_query(request->query, "n", text, sizeof(text)) &&
        (!fr_view_u64(fr_view_of(text), &rows) || rows < 1 || rows > MGR_WHY_ROWS_MAX)) {
        admin_answer_error(exchange, 400, "n=\"%s\", expected a number from 1 to %d", text,
                           MGR_WHY_ROWS_MAX);
        return;
    }
    struct why_writer writer = {.is_first = true};
    writer.is_json =
        admin_query(request->query, "format", text, sizeof(text)) && strcmp(text, "json") == 0;
    fr_buf_init(&writer.buf, MGR_ANSWER_BYTES_MAX);
    struct mgr_cluster *cluster = mgr_cluster_find(mgr, fr_view_of(name));
    if (cluster)
        mgr_decide_flush(cluster); /* the count that is still open, too */
    if (writer.is_json)
        put(&writer, "[");
    bool any = mgr_journal_why(mgr->journal, fr_view_of(name), (unsigned)rows, why_row, &writer);
    if (!any && !cluster && !mgr_source_find(mgr, fr_view_of(name))) {
        fr_buf_fini(&writer.buf);
        answer_unknown_cluster(mgr, exchange, name);
        return;
    }
    if (!any)
        why_empty(mgr, &writer, name);
    if (cluster && cluster->config && cluster->config->scale.enabled)
        why_rungs(&writer, cluster);
    if (writer.is_json)
        put(&writer, "]\n");
    answer_buffer(exchange, writer.is_json ? "application/json" : "text/plain; charset=utf-8",
                  &writer.buf, writer.err);
}

/* ---- POST /report ---------------------------------------------------------------------------- */

struct posting {
    struct mgr *mgr;
    const struct admin_peer *peer;
    char id[MGR_ID_BYTES]; /* of the query; empty: the report's own */
    bool is_store;         /* the second pass: the document was whole and well-formed */
    int status;
    char words[MGR_REFUSAL_BYTES];
};

static bool
posting_refuse(struct posting *posting, int status, const char *words)
{
    posting->status = status;
    (void)snprintf(posting->words, sizeof(posting->words), "%s", words); /* a long rule is cut */
    return false;
}

static bool
posting_report(struct posting *posting, const struct wire_report *report)
{
    struct mgr *mgr = posting->mgr;
    struct fr_view id = posting->id[0] ? fr_view_of(posting->id) : report->self.id;
    enum wire_role role = WIRE_ROLE_AGENT;

    if (!posting->id[0] && (!report->has_self || report->self.id.len == 0))
        return posting_refuse(posting, 400,
                              "who reports? give <report> a <server id=\"...\">, or say ?id=NAME");
    if (!config_name_valid(id))
        return posting_refuse(posting, 400,
                              "the id must be a name: letters, digits, '.', '_', '-', at most 63");
    if (!wire_role_parse(report->self.role, &role) || role == WIRE_ROLE_MANAGER)
        role = WIRE_ROLE_AGENT;
    char rule[MGR_REFUSAL_BYTES];
    const struct wire_open who = {.role = role, .id = id};
    if (posting->peer->names[0] &&
        (!mgr_access_open(mgr, posting->peer, &who, rule) ||
         !mgr_access_report(mgr, posting->peer, role, report, rule))) {
        mgr->counters.forbidden += !posting->is_store;
        return posting_refuse(posting, 403, rule);
    }
    struct mgr_source *source = mgr_source_find(mgr, id);
    if (source && source->session)
        return posting_refuse(posting, 409, "this id reports over a stream of its own");
    if (!posting->is_store)
        return true;
    source = mgr_source_get(mgr, id, role);
    if (!source)
        return posting_refuse(posting, 503, "the manager remembers too many sources");
    source->is_poster = true;
    mgr->counters.reports_posted++;
    mgr_source_store(mgr, source, report);
    mgr_decide_soon(mgr);
    return true;
}

static bool
posting_event(void *ctx, const struct wire_event *event)
{
    return event->kind != WIRE_EVENT_REPORT || posting_report(ctx, event->as.report);
}

/* True when the document was decoded to its end. Otherwise posting->status and words say why. */
static bool
posting_decode(struct posting *posting, struct fr_view body)
{
    struct wire_decoder *decoder = NULL;
    struct wire_limits limits = wire_limits_default;

    limits.stanza_bytes = posting->mgr->stream.stanza_bytes;
    if (wire_decoder_new(WIRE_REPORT_DOCUMENT, &limits, posting_event, posting, &decoder) != FR_OK)
        return posting_refuse(posting, 503, "out of memory");
    enum wire_error err = wire_decoder_feed(decoder, body);
    if (err == WIRE_OK)
        err = wire_decoder_finish(decoder);
    if (err != WIRE_OK && err != WIRE_STOPPED) {
        posting->status = err == WIRE_NO_MEMORY ? 503 : 400;
        (void)snprintf(posting->words, sizeof(posting->words), "%s: %s", wire_error_code(err),
                       wire_decoder_words(decoder));
    }
    wire_decoder_free(&decoder);
    return err == WIRE_OK;
}

static void
post_report(void *ctx, struct admin_exchange *exchange, const struct admin_request *request)
{
    struct mgr *mgr = ctx;
    struct posting posting = {.mgr = mgr, .peer = request->peer};

    (void)admin_query(request->query, "id", posting.id, sizeof(posting.id)); /* or empty */
    bool is_taken = posting_decode(&posting, request->body);
    if (is_taken) {
        posting.is_store = true;
        is_taken = posting_decode(&posting, request->body);
    }
    if (is_taken) {
        admin_answer(exchange, 204, NULL, (struct fr_view){"", 0});
        return;
    }
    mgr->counters.reports_bad++;
    admin_answer_error(exchange, posting.status, "%s", posting.words);
}

const struct admin_route mgr_http_routes[] = {
    {"GET", "/status", get_status, ADMIN_NEEDS_READ},
    {"GET", "/metrics", get_metrics, ADMIN_NEEDS_READ},
    {"GET", "/why", get_why, ADMIN_NEEDS_READ},
    {"POST", "/report", post_report, ADMIN_NEEDS_OPERATE},
    {"POST", "/approve", mgr_scale_approve, ADMIN_NEEDS_OPERATE},
    {"POST", "/deny", mgr_scale_deny, ADMIN_NEEDS_OPERATE},
    {"POST", "/cache/purge", mgr_post_purge, ADMIN_NEEDS_OPERATE},
    {"POST", "/join", mgr_post_join, ADMIN_NEEDS_NOTHING},   /* by token */
    {"POST", "/renew", mgr_post_renew, ADMIN_NEEDS_NOTHING}, /* by certificate */
    {"POST", "/tokens", mgr_post_tokens, ADMIN_NEEDS_ADMIN},
    {NULL, NULL, NULL, ADMIN_NEEDS_ADMIN},
};
