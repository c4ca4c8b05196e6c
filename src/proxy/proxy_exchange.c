/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proxy_exchange.c - one request and its response, from the parsed head to its one end.
 *
 * May touch:  base, http, cluster, config.
 * Life:       begin (or refuse) -> cached answer | local answer | forward ... -> exactly one of
 *             reply (all of the answer is out), fail (an error is answered, or what was begun is
 *             cut off visibly), drop (nobody is there to answer).
 * Memory:     from the worker's free list, with buffers that keep their size.
 */
#include "proxy/proxy_grpc.h"
#include "proxy/proxy_h2.h"
#include "proxy/proxy_park.h"

#include "base/fr_put.h"

#include <errno.h>

#define CLEARED_BYTES offsetof(struct proxy_exchange, down_head) /* for the next request */
#define GATHERED_BYTES_MAX 4096 /* of an answer that is copied to go out with the next */
#define ALLOWED_METHODS "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"

/* ---- making and ending -------------------------------------------------------------------- */

static struct proxy_exchange *
exchange_alloc(const struct proxy_worker *worker)
{
    size_t head_bytes_max = 2 * worker->http_limits.head_bytes_max + PROXY_KEPT_BUF_BYTES;
    size_t trailers_max = HTTP_TRAILER_BYTES_MAX + sizeof(PROXY_TRAILERS_LEAD);
    struct proxy_exchange *x = fr_alloc(sizeof(*x));
    if (!x)
        return NULL;
    fr_buf_init(&x->up_head, head_bytes_max);
    fr_buf_init(&x->down_head, head_bytes_max);
    fr_buf_init(&x->raw_head, head_bytes_max);
    fr_buf_init(&x->up_trailers, trailers_max);
    fr_buf_init(&x->down_trailers, trailers_max);
    return x;
}

static struct proxy_exchange *
exchange_new(struct proxy_client *client)
{
    struct proxy_worker *worker = client->worker;
    size_t offset = offsetof(struct proxy_exchange, free_link);
    struct proxy_exchange *x = proxy_free_list_take(&worker->free_exchanges, offset);
    if (x)
        memset(x, 0, CLEARED_BYTES);
    else
        x = exchange_alloc(worker);
    if (!x)
        return NULL;
    x->worker = worker;
    x->client = client;
    x->magic = PROXY_EXCHANGE_MAGIC;
    x->asked_us = loop_now_us(worker->loop);
    client->exchange = x;
    client->state = PROXY_CLIENT_BUSY;
    if (!client->sink)
        cluster_count_add(&worker->counters.requests_active, 1);
    return x;
}

/* What it will be made of is fetched while the head is parsed: what the kernel does between two
 * requests drives it out of the nearest cache, and clearing it waited for every line. */
void
proxy_exchange_await(struct proxy_worker *worker)
{
    const char *link = (const char *)worker->free_exchanges.items.next; /* none: no harm */
    const char *x = link - offsetof(struct proxy_exchange, free_link);
    for (size_t at = 0; at < CLEARED_BYTES; at += FR_CACHE_LINE)
        __builtin_prefetch(x + at, 1);
}

struct proxy_exchange *
proxy_exchange_new_background(struct proxy_exchange *x)
{
    proxy_trust_make_names(x); /* it goes by the same */
    struct proxy_client *sink = proxy_sink_new(x->client);
    struct proxy_exchange *y = sink ? exchange_new(sink) : NULL;
    if (!y) {
        if (sink)
            proxy_sink_free(sink);
        return NULL;
    }
    y->method = HTTP_GET;
    y->request_done = y->client_closes = y->background = true;
    y->request_framing = HTTP_BODY_NONE;
    http_body_init(&y->request_body, HTTP_BODY_NONE, 0);
    y->trusted = x->trusted;
    y->https = x->https;
    y->address_len = x->address_len;
    memcpy(y->address, x->address, sizeof(y->address));
    y->request_id_len = x->request_id_len;
    memcpy(y->request_id, x->request_id, sizeof(y->request_id));
    y->trace_passed = x->trace_passed;
    y->trace_made = x->trace_made;
    memcpy(y->traceparent, x->traceparent, sizeof(y->traceparent));
    y->host_len = x->host_len;
    memcpy(y->host, x->host, x->host_len);
    y->cached = y->forwarded = true;
    y->cache_owner = x->cache_owner;
    y->policy = x->policy;
    memcpy(y->key_headers, x->key_headers, sizeof(y->key_headers));
    y->policy.key_headers.ptr = y->key_headers;
    return y;
}

static void
trim(struct fr_buf *buf)
{
    if (buf->len > 0)
        fr_buf_clear(buf);
    if (buf->cap > PROXY_KEPT_BUF_BYTES)
        fr_buf_fini(buf);
}

static void
let_go(struct fr_buf *buf)
{
    if (buf->cap > 0)
        fr_buf_fini(buf);
}

void
proxy_exchange_timer(struct proxy_exchange *x, struct loop_timer *timer, int64_t delay_us,
                     loop_fn fn)
{
    x->timed = true;
    loop_timer_start(x->worker->loop, timer, delay_us, fn, x);
}

static void
stop_timers(struct proxy_exchange *x)
{
    if (!x->timed)
        return;
    loop_timer_stop(&x->half_closed);
    loop_timer_stop(&x->park_timer);
    loop_timer_stop(&x->stall);
    loop_timer_stop(&x->grpc_timer);
}

/* Lets go of everything but the client, who is given back. */
static struct proxy_client *
exchange_end(struct proxy_exchange *x, enum proxy_log_end end)
{
    struct proxy_worker *worker = x->worker;
    struct proxy_client *client = x->client;
    fr_insist(x->magic == PROXY_EXCHANGE_MAGIC && client->exchange == x);
    proxy_forward_end(x, PROXY_ATTEMPT_DROPPED);
    stop_timers(x);
    proxy_queue_leave(x);
    proxy_park_leave(x);
    proxy_note_end(x, end);
    proxy_cached_end(x);
    proxy_file_end(x);
    loop_buf_give_back(x->tail);
    x->tail = NULL;
    proxy_cluster_unuse(&x->cluster);
    if (!client->sink) {
        PROXY_COUNT(worker, requests);
        cluster_count_add(&worker->counters.requests_active, (uint64_t)-1);
    }
    client->exchange = NULL;
    x->magic = 0;
    trim(&x->up_head);
    trim(&x->down_head);
    trim(&x->raw_head);
    let_go(&x->up_trailers);
    let_go(&x->down_trailers);
    if (!proxy_free_list_give(&worker->free_exchanges, &x->free_link)) {
        fr_buf_fini(&x->up_head);
        fr_buf_fini(&x->down_head);
        fr_buf_fini(&x->raw_head);
        fr_free(x);
    }
    return client;
}

void
proxy_exchange_reply(struct proxy_exchange *x)
{
    bool keep = x->keep_alive && x->request_done;
    /* A client that has said its last word closes as we do; another may still be talking. */
    bool quiet = x->request_done && x->client_closes;
    if (x->client->stream)
        proxy_stream_finish(x);
    struct proxy_client *client = exchange_end(x, PROXY_LOG_DONE);
    if (client->sink) {
        proxy_sink_free(client);
        return;
    }
    if (client->stream) {
        proxy_stream_over(client, true);
        return;
    }
    if (client->requests >= client->worker->limits.requests_per_connection)
        PROXY_COUNT(client->worker, connections_used_up);
    if (keep) {
        proxy_client_next(client);
        return;
    }
    proxy_input_shift(&client->in);
    bool over = client->ended || (quiet && !client->in.buf[0]);
    if (over && !proxy_pace_unread(client))
        proxy_client_close(client);
    else
        proxy_client_linger(client);
}

void
proxy_exchange_fail(struct proxy_exchange *x, int status, const char *words)
{
    proxy_forward_end(x, PROXY_ATTEMPT_DROPPED);
    if (!x->begun && proxy_client_sending(x->client)) { /* a 1xx is on its way */
        x->fail_status = status;
        x->fail_words = words;
        return;
    }
    if (!x->begun && proxy_cached_rescues(x, &status))
        return;
    if (!x->begun) {
        struct proxy_answer answer = {.status = status, .words = words};
        proxy_local_answer(x, &answer);
        return;
    }
    /* Part of a response is out. RFC 9112 section 8: the client must see that it is incomplete. A
     * body that only the close ends needs a reset for that. */
    PROXY_COUNT(x->worker, errors);
    bool reset = x->client_framing == HTTP_BODY_TO_CLOSE;
    struct proxy_client *client = exchange_end(x, PROXY_LOG_CUT);
    if (client->sink)
        proxy_sink_free(client);
    else if (reset)
        proxy_client_abort(client);
    else
        proxy_client_close(client);
}

void
proxy_exchange_drop(struct proxy_exchange *x)
{
    bool reset = x->begun && x->client_framing == HTTP_BODY_TO_CLOSE;
    bool well = x->tunnel && !reset; /* both sides have ended it */
    if (proxy_sink_take_over(x))
        return;
    if (x->client->stream && well)
        proxy_stream_finish(x);
    struct proxy_client *client = exchange_end(x, PROXY_LOG_DROPPED);
    if (client->sink)
        proxy_sink_free(client);
    else if (client->stream)
        proxy_stream_over(client, well);
    else if (reset)
        proxy_client_abort(client);
    else
        proxy_client_close(client);
}

void
proxy_exchange_out_of_memory(struct proxy_exchange *x)
{
    PROXY_COUNT(x->worker, memory_refusals);
    proxy_exchange_fail(x, 503, "out of memory");
}

/* ---- sending ------------------------------------------------------------------------------ */

static void
on_sent(void *ctx, int status)
{
    struct proxy_exchange *x = ctx;
    fr_insist(x->magic == PROXY_EXCHANGE_MAGIC);
    if (status == -ENODATA && x->file) {
        /* What was promised cannot be sent any more, and must not look as if it had been. */
        PROXY_COUNT(x->worker, files_shrunk);
        proxy_exchange_fail(x, 500, "the file became shorter");
        return;
    }
    if (status < 0) {
        PROXY_COUNT(x->worker, client_aborts);
        proxy_exchange_drop(x);
        return;
    }
    proxy_exchange_sent(x);
}

void
proxy_exchange_sent(struct proxy_exchange *x)
{
    cluster_count_add(&x->worker->counters.bytes_out, x->down_sending_bytes);
    proxy_note_sent(x, x->down_sending_bytes);
    proxy_pace_moved(x->client, &x->client->reading);
    proxy_after_fn after = x->after;
    x->after = NULL;
    after(x);
}

/* The next request of a pipeline is here already, whose answer may go out with this one. */
static bool
another_follows(const struct proxy_exchange *x)
{
    return x->keep_alive && x->request_done && x->down_sending_bytes <= GATHERED_BYTES_MAX &&
           proxy_input_view(&x->client->in).len > 0;
}

void
proxy_exchange_send_file(struct proxy_exchange *x, const struct iovec *iov, int count,
                         const struct loop_file_piece *piece, proxy_after_fn after)
{
    if (x->client->sink) {
        proxy_sink_send(x, after);
        return;
    }
    x->after = after;
    x->down_sending_bytes = piece->bytes;
    for (int i = 0; i < count; i++)
        x->down_sending_bytes += iov[i].iov_len;
    if (x->client->stream) {
        proxy_stream_send(x, iov, count, piece);
        return;
    }
    if (!x->tunnel) /* it has a clock of its own */
        proxy_pace_wait(x->client, &x->client->reading);
    if (another_follows(x))
        loop_send_more(&x->client->sock);
    loop_send_file(&x->client->sock, iov, count, piece, on_sent, x);
}

void
proxy_exchange_send(struct proxy_exchange *x, const struct iovec *iov, int count,
                    proxy_after_fn after)
{
    struct loop_file_piece none = {.fd = -1};
    proxy_exchange_send_file(x, iov, count, &none, after);
}

/* ---- what the client does meanwhile ------------------------------------------------------- */

void
proxy_exchange_input(struct proxy_exchange *x, size_t bytes)
{
    struct proxy_client *client = x->client;
    if (x->tunnel) {
        proxy_tunnel_up(x);
        return;
    }
    if (!x->request_done) {
        x->expecting = false;
        x->body_bytes += bytes;
        proxy_pace_moved(client, &x->sending);
        if (x->pool)
            proxy_forward_pump(x);
        if (client->exchange != x)
            return; /* what came was no body, and the exchange has ended */
    }
    proxy_client_want(client);
}

static void
on_half_closed(void *ctx)
{
    struct proxy_exchange *x = ctx;
    fr_insist(x->magic == PROXY_EXCHANGE_MAGIC);
    if (x->begun)
        return; /* it reads, or the kernel tells that it is gone */
    PROXY_COUNT(x->worker, client_aborts);
    proxy_exchange_drop(x);
}

/* RFC 9112 section 9.6 has clients close when they have their answer, and some say with half a
 * close that they will ask nothing more. On the wire that is what leaving looks like, too, until we
 * send something: so a member is not kept at work for long. */
void
proxy_exchange_half_closed(struct proxy_exchange *x)
{
    x->client_ended = true;
    proxy_exchange_timer(x, &x->half_closed, PROXY_HALF_CLOSED_US, on_half_closed);
}

/* ---- beginning ---------------------------------------------------------------------------- */

void
proxy_exchange_refuse(struct proxy_client *client, int status, const char *words)
{
    struct proxy_exchange *x = exchange_new(client);
    if (!x) {
        PROXY_COUNT(client->worker, memory_refusals);
        proxy_client_close(client);
        return;
    }
    x->method = HTTP_GET;
    proxy_note_refused(x, client->partial.buf.len > 0 ? fr_buf_view(&client->partial.buf)
                                                      : proxy_input_view(&client->in));
    struct proxy_answer answer = {.status = status, .words = words};
    proxy_local_answer(x, &answer);
}

/* Takes from the head what outlives it. */
static void
exchange_take(struct proxy_exchange *x, const struct http_head *request)
{
    struct proxy_worker *worker = x->worker;
    x->method = request->method;
    x->http10 = request->version_minor == 0;
    x->te_trailers = request->te_trailers || x->client->stream; /* HTTP/2 has no other way */
    proxy_tunnel_offer(x, request);
    proxy_grpc_take(x, request);
    x->client_closes = !request->keep_alive;
    x->keep_alive = request->keep_alive && !worker->draining &&
                    x->client->requests < worker->limits.requests_per_connection;
    bool in_chunks = x->client->stream && proxy_stream_of(x->client)->chunked;
    x->request_framing = in_chunks ? HTTP_BODY_CHUNKED : request->framing;
    x->length_told = request->framing == HTTP_BODY_LENGTH;
    x->request_length = request->content_length;
    x->request_done = x->request_framing == HTTP_BODY_NONE ||
                      (x->request_framing == HTTP_BODY_LENGTH && request->content_length == 0);
    x->expecting = request->expect_continue && !x->request_done &&
                   proxy_input_view(&x->client->in).len == 0 && !x->client->in.buf[1];
    http_body_init(&x->request_body, x->request_framing, request->content_length);
}

static bool
find_field(const void *ctx, struct fr_view name, struct fr_view *out_value)
{
    const struct http_field *field = http_head_find_name(ctx, name);
    if (!field)
        return false;
    *out_value = field->value;
    return true;
}

/* RFC 9110 section 7.6.3: our own name in Via means that the request has been here before, and
 * would go round until something gives way. */
static bool
was_here(const struct proxy_worker *worker, const struct http_head *request)
{
    const struct http_field *field = http_head_find(request, HTTP_FIELD_VIA);
    for (; field; field = http_head_next(request, field)) {
        struct fr_view rest = field->value, item, protocol, by;
        while (http_list_next(&rest, &item)) {
            /* "1.1 name (comment)" */
            if (!fr_view_split(&item, ' ', &protocol))
                continue;
            item = fr_view_trim(item);
            if (fr_view_split(&item, ' ', &by) && fr_view_ieq(by, worker->via))
                return true;
        }
    }
    return false;
}

/* What is well-formed and still refused before any route is looked for. True: answered. */
static bool
answer_refusal(struct proxy_exchange *x, const struct http_head *request)
{
    struct proxy_answer answer = {0};
    if (request->https && !x->https) {
        /* RFC 9110 section 7.4: https wants a secured connection, and this is none. */
        answer = (struct proxy_answer){.status = 421, .words = "this connection is not secured"};
    } else if (request->expect_other) {
        x->keep_alive = false; /* whether a body follows is as little known as the expectation */
        answer = (struct proxy_answer){.status = 417, .words = "an expectation that is not known"};
    } else if (was_here(x->worker, request)) {
        PROXY_COUNT(x->worker, loops);
        answer = (struct proxy_answer){.status = 508, .words = "this request has been here before"};
    } else {
        return false;
    }
    proxy_local_answer(x, &answer);
    return true;
}

/* Methods that end here. True: answered. */
static bool
answer_method(struct proxy_exchange *x, const struct http_head *request)
{
    struct proxy_answer answer = {.allow = ALLOWED_METHODS};
    uint64_t forwards;
    if (request->method == HTTP_CONNECT) {
        x->keep_alive = false; /* what follows may be no HTTP at all */
        answer = (struct proxy_answer){.status = 501, .words = "no tunnels here"};
    } else if (request->method == HTTP_TRACE) {
        answer.status = 405; /* it would show the member's clients what we add */
        answer.words = "TRACE is not allowed";
    } else if (request->method == HTTP_OPTIONS) {
        /* RFC 9110 section 7.6.2: at 0 we are the final recipient. */
        const struct http_field *field = http_head_find_name(request, FR_VIEW("max-forwards"));
        if (!field)
            return false;
        if (http_head_next(request, field) || !fr_view_u64(field->value, &forwards)) {
            x->keep_alive = false;
            answer = (struct proxy_answer){.status = 400, .words = "Max-Forwards is no number"};
        } else if (forwards > 0) {
            return false;
        } else {
            answer.status = 200;
        }
    } else {
        return false;
    }
    proxy_local_answer(x, &answer);
    return true;
}

/* Relieving the edge (what the snapshot says), then on to a member. */
static void
exchange_forward(struct proxy_exchange *x, const struct http_head *request,
                 const struct cluster_route *route)
{
    struct proxy_worker *worker = x->worker;
    const struct cluster_view *view = cluster_snapshot_view(worker->snapshot, route->cluster);
    const struct cluster_view *other = cluster_snapshot_view(worker->snapshot, route->handover);
    unsigned relief = worker->snapshot->relief;
    bool low = route->config->priority == CONFIG_PRIORITY_LOW;
    if (low && ((relief & (1u << CONFIG_STEP_SHED)) || (view->rungs & CONFIG_RUNG_SHED))) {
        struct proxy_answer answer = {
            .status = 503, .words = "too much to do: try again", .retry_after_s = 1};
        if (relief & (1u << CONFIG_STEP_SHED))
            PROXY_COUNT(worker, shed);
        else
            PROXY_COUNT(worker, ladder_shed);
        proxy_local_answer(x, &answer);
        return;
    }
    if ((relief & (1u << CONFIG_STEP_HANDOVER)) && other) {
        PROXY_COUNT(worker, handed_over);
        view = other;
    }
    proxy_forward(x, request, view);
}

bool
proxy_exchange_body_too_long(struct proxy_exchange *x, uint64_t bytes)
{
    if (x->body_bytes_max == 0 || bytes <= x->body_bytes_max)
        return false;
    PROXY_COUNT(x->worker, bodies_too_long);
    x->keep_alive = false;
    x->client_closes = false; /* it may still be sending: linger */
    x->request_done = true;   /* nothing of it is read any more */
    proxy_exchange_fail(x, 413, "the body is longer than its route allows");
    return true;
}

/* Where what is stored is stale, a new one is fetched meanwhile: first, because the answer may be
 * the end of the request's head. */
static void
answer_cached(struct proxy_exchange *x, const struct http_head *request, struct fr_view raw,
              const struct cluster_route *route)
{
    const struct cluster_snapshot *snapshot = x->worker->snapshot;
    unsigned relief = snapshot->relief;
    bool shed = ((relief & (1u << CONFIG_STEP_SHED)) ||
                 (cluster_snapshot_view(snapshot, route->cluster)->rungs & CONFIG_RUNG_SHED)) &&
                route->config->priority == CONFIG_PRIORITY_LOW;
    struct proxy_exchange *fetch =
        x->refresh && !shed ? proxy_cached_refresh(x, request, raw) : NULL;
    if (fetch)
        exchange_forward(fetch, request, route);
    proxy_cached_answer(x, request);
}

/* Lower case, the port kept: two ports are two origins (RFC 9110 section 4.3.1). */
static bool
take_host(struct proxy_exchange *x, struct fr_view authority)
{
    if (authority.len > sizeof(x->host))
        return false;
    (void)fr_put_lower(x->host, authority);
    x->host_len = authority.len;
    return true;
}

static void
exchange_route(struct proxy_exchange *x, const struct http_head *request, struct fr_view raw)
{
    struct proxy_worker *worker = x->worker;
    if (!take_host(x, request->host)) {
        struct proxy_answer answer = {.status = 400, .words = "the host is not usable"};
        proxy_local_answer(x, &answer);
        return;
    }
    struct cluster_request wanted = {
        .host = fr_view_make(x->host, http_host_bytes(request->host)),
        .path = request->path,
        .method = request->method_text,
        .field = find_field,
        .field_ctx = request,
    };
    if (proxy_answer_challenge(x, request))
        return;
    const struct cluster_route *route =
        worker->snapshot ? cluster_snapshot_route(worker->snapshot, &wanted) : NULL;
    if (!route) {
        struct proxy_answer answer = {.status = 404, .words = "no route matches this request"};
        PROXY_COUNT(worker, no_route);
        proxy_local_answer(x, &answer);
        return;
    }
    x->body_bytes_max = route->config->body_bytes_max;
    if (proxy_exchange_body_too_long(x, x->request_length))
        return;
    proxy_note_route(x, route->config->name);
    if (route->cluster == CLUSTER_SLOT_NONE) {
        proxy_answer(x, request, route->config, wanted.host);
        return;
    }
    x->cache_owner = route->cluster;
    enum proxy_cached cached = PROXY_CACHED_FORWARD;
    if (worker->cache && route->config->cache != CONFIG_CACHE_OFF && x->upgrade_len == 0)
        cached = proxy_cached_look_up(x, request, raw, route->config);
    switch (cached) {
    case PROXY_CACHED_HIT:
        answer_cached(x, request, raw, route);
        return;
    case PROXY_CACHED_WAIT:
        return;
    case PROXY_CACHED_FORWARD:
        exchange_forward(x, request, route);
        return;
    case PROXY_CACHED_REFUSED:
        break;
    }
    struct proxy_answer answer = {.status = 504, .words = "not in the cache"};
    proxy_local_answer(x, &answer);
}

void
proxy_exchange_again(struct proxy_exchange *x)
{
    if (!proxy_cached_parse_again(x)) {
        proxy_exchange_fail(x, 500, "the request is gone");
        return;
    }
    const struct http_head *request = &x->worker->request_head;
    cache_entry_let_go(x->worker->cache_reader, &x->stale);
    proxy_trust_resolve(x, request);
    exchange_route(x, request, fr_buf_view(&x->raw_head));
}

void
proxy_exchange_begin(struct proxy_client *client, struct fr_view raw)
{
    struct proxy_worker *worker = client->worker;
    const struct http_head *request = &worker->request_head;
    struct proxy_exchange *x = exchange_new(client);
    if (!x) {
        PROXY_COUNT(worker, memory_refusals);
        proxy_client_close(client);
        return;
    }
    exchange_take(x, request);
    proxy_trust_resolve(x, request);
    proxy_trust_name(x, request);
    proxy_note_begin(x, request);
    bool whole = x->request_done; /* nothing of the input is being sent on */
    if (!answer_refusal(x, request) && !answer_method(x, request) && !proxy_purge(x, request))
        exchange_route(x, request, raw);
    if (client->exchange != x)
        return;
    proxy_partial_clear(&client->partial); /* the head's views end here */
    if (whole)
        proxy_input_shift(&client->in);
    proxy_client_want(client);
}
