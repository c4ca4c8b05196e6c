/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proxy_lane.c - one stream of an HTTP/2 connection to a member, dressed as a connection of its
 * exchange.
 *
 * May touch:  base, loop, http, cluster, config.
 * Memory:     what comes is copied from the frames into receive buffers, packed, so that small
 *             frames cost no more than large ones. The stream's window is given back as the client
 *             takes the bytes: at most the window waits for a slow one. It is
 *             HTTP2_CALL_WINDOW_BYTES, but the streams of one HTTP/2 client share what their
 *             connection may hold (PROXY_H2_HELD_BYTES_MAX): each is given a part of what is left
 *             of it, down to HTTP2_CALL_FIRST_BYTES, and more when it has taken some.
 * When full:  no buffer is to be had: the stream is reset, as a broken response.
 * Follows:    RFC 9113 sections 5.4.2, 6.4, 6.9 and 8.1, RFC 8441 section 5.
 */
#include "proxy/proxy_carrier.h"
#include "proxy/proxy_h2.h"

#include "http/http_websocket.h"

#include <errno.h>

#define WINDOW_SHARE 8  /* of what is left of the account, for one stream */
#define TAKERS_SHARES 4 /* the account, for streams whose client has taken some */

/* ---- making and ending ---------------------------------------------------------------------- */

struct proxy_upstream *
proxy_lane_new(struct proxy_pool *pool, struct proxy_exchange *x)
{
    struct proxy_worker *worker = pool->worker;
    struct proxy_upstream *up = proxy_upstream_new(worker);
    struct proxy_lane *lane = up ? fr_alloc(sizeof(*lane)) : NULL;
    if (!lane) {
        if (up)
            proxy_upstream_free(up);
        return NULL;
    }
    lane->up = up;
    fr_list_init(&lane->link);
    fr_list_init(&lane->dirty_link);
    fr_list_init(&lane->queue);
    fr_buf_init(&lane->trailers, HTTP_TRAILER_BYTES_MAX + sizeof(PROXY_TRAILERS_LEAD));
    up->sock.fd = -1;
    up->lane = lane;
    up->state = PROXY_UPSTREAM_CONNECTING;
    up->pool = pool;
    up->exchange = x;
    fr_list_push_back(&pool->busy, &up->link);
    proxy_worker_sockets(worker, 1); /* the worker does not end before its storage is free */
    return up;
}

void
proxy_lane_attach(struct proxy_upstream *up, struct proxy_carrier *h2)
{
    struct proxy_lane *lane = up->lane;
    fr_insist(!lane->h2 && !lane->leader);
    lane->h2 = h2;
    fr_list_push_back(&h2->streams, &lane->link);
    h2->count++;
    proxy_upstream_timer_stop(up);
    up->state = PROXY_UPSTREAM_BUSY;
}

static void
on_free(void *ctx)
{
    struct proxy_upstream *up = ctx;
    struct proxy_worker *worker = up->worker;
    fr_free(up->lane);
    proxy_upstream_free(up);
    proxy_worker_sockets(worker, -1);
}

static void
let_go(struct proxy_lane *lane)
{
    struct proxy_carrier *h2 = lane->h2;
    fr_list_remove(&lane->link);
    fr_list_remove(&lane->dirty_link);
    if (lane->leader) {
        lane->leader->follower_count--;
        if (lane->leader->h2) /* nobody may wait for it any more */
            proxy_carrier_wake(lane->leader->h2);
    }
    lane->leader = NULL;
    if (!h2)
        return;
    http2_client_cancel(h2->client, &lane->h2s, lane->h2s.ended);
    lane->h2 = NULL;
    h2->count--;
    proxy_carrier_left(h2);
}

void
proxy_lane_release(struct proxy_upstream *up)
{
    struct proxy_lane *lane = up->lane;
    if (lane->committed_bytes > 0)
        proxy_exchange_account(up->exchange)->bytes -= lane->committed_bytes;
    lane->committed_bytes = 0;
}

void
proxy_lane_close(struct proxy_upstream *up)
{
    struct proxy_lane *lane = up->lane;
    struct proxy_pool *pool = up->pool;
    struct fr_list *link;
    fr_insist(up->magic == PROXY_UPSTREAM_MAGIC && up->state != PROXY_UPSTREAM_CLOSED);
    loop_timer_stop(&up->timer);
    loop_defer_cancel(&up->secured_task);
    let_go(lane);
    proxy_input_clear(&up->in);
    proxy_partial_clear(&up->partial);
    while ((link = fr_list_pop_front(&lane->queue)))
        loop_buf_give_back(FR_CONTAINER(link, struct loop_buf, link));
    fr_buf_fini(&lane->trailers);
    fr_list_remove(&up->link);
    proxy_lane_release(up);
    up->state = PROXY_UPSTREAM_CLOSED;
    up->exchange = NULL;
    up->pool = NULL;
    /* Who called may look at it once more. */
    loop_defer(up->worker->loop, &up->secured_task, on_free, up);
    proxy_pool_settle(pool);
}

/* ---- what comes ----------------------------------------------------------------------------- */

static void
note(struct proxy_lane *lane)
{
    if (fr_list_empty(&lane->dirty_link))
        fr_list_push_back(&lane->h2->dirty, &lane->dirty_link);
    proxy_carrier_wake(lane->h2);
}

static bool
append(struct proxy_lane *lane, struct fr_view bytes)
{
    struct proxy_upstream *up = lane->up;
    up->response_bytes += bytes.len;
    while (bytes.len > 0) {
        struct loop_buf *buf = NULL;
        if (!fr_list_empty(&lane->queue))
            buf = FR_CONTAINER(lane->queue.prev, struct loop_buf, link);
        if (!buf || buf->len == buf->cap) {
            bool small = lane->window_bytes <= HTTP2_CALL_FIRST_BYTES;
            struct loop *loop = up->worker->loop;
            buf = small ? loop_buf_take_small(loop) : loop_buf_take(loop);
            if (buf && small && lane->opened)
                PROXY_COUNT(up->worker, h2_held_small);
            if (!buf) {
                PROXY_COUNT(up->worker, memory_refusals);
                return false;
            }
            buf->len = 0;
            fr_list_push_back(&lane->queue, &buf->link);
        }
        size_t run = buf->cap - buf->len < bytes.len ? buf->cap - buf->len : bytes.len;
        memcpy(buf->data + buf->len, bytes.ptr, run);
        buf->len += (uint32_t)run;
        bytes = fr_view_make(bytes.ptr + run, bytes.len - run);
    }
    lane->came = true;
    note(lane);
    return true;
}

static struct proxy_lane *
stream_of(struct http2_call *h2s)
{
    return FR_CONTAINER(h2s, struct proxy_lane, h2s);
}

/* The answer to an Upgrade, as RFC 8441 section 5 has it in the words of HTTP/1.1. */
static bool
append_switch(struct proxy_lane *lane, struct fr_view text)
{
    const struct proxy_exchange *x = lane->up->exchange;
    struct fr_view chunked = FR_VIEW("Transfer-Encoding: chunked\r\n\r\n"), line;
    (void)fr_view_split(&text, '\n', &line); /* its own status line */
    if (text.len >= chunked.len &&
        fr_view_eq(fr_view_make(text.ptr + text.len - chunked.len, chunked.len), chunked))
        text.len -= chunked.len; /* there is no body: the writer could not know */
    else
        text.len -= 2;
    return append(lane, FR_VIEW("HTTP/1.1 101 Switching Protocols\r\n"
                                "Connection: upgrade\r\nUpgrade: ")) &&
           append(lane, fr_view_make(x->upgrade, x->upgrade_len)) &&
           (!lane->websocket || (append(lane, FR_VIEW("\r\nSec-WebSocket-Accept: ")) &&
                                 append(lane, fr_view_of(lane->accept)))) &&
           append(lane, FR_VIEW("\r\n")) && append(lane, text) && append(lane, FR_VIEW("\r\n"));
}

static bool
on_head(void *ctx, struct http2_call *h2s, struct fr_view text, bool switched)
{
    (void)ctx;
    return switched ? append_switch(stream_of(h2s), text) : append(stream_of(h2s), text);
}

static bool
on_data(void *ctx, struct http2_call *h2s, struct fr_view bytes)
{
    (void)ctx;
    return append(stream_of(h2s), bytes);
}

static bool
on_trailers(void *ctx, struct http2_call *h2s, struct fr_view section)
{
    struct proxy_lane *lane = stream_of(h2s);
    (void)ctx;
    fr_buf_clear(&lane->trailers);
    lane->up->response_bytes += section.len;
    return fr_buf_append_view(&lane->trailers, FR_VIEW(PROXY_TRAILERS_LEAD)) == FR_OK &&
           fr_buf_append_view(&lane->trailers, section) == FR_OK;
}

static enum proxy_attempt_end
why_of(const struct http2_call *h2s)
{
    switch (h2s->end) {
    case HTTP2_CALL_NONE:
    case HTTP2_CALL_OK:
    case HTTP2_CALL_NO_MEMORY:
        break;
    case HTTP2_CALL_REFUSED:
        return PROXY_ATTEMPT_STREAM_REFUSED;
    case HTTP2_CALL_UNPROCESSED:
        return h2s->http1_required ? PROXY_ATTEMPT_HTTP1_REQUIRED : PROXY_ATTEMPT_GONE_AWAY;
    case HTTP2_CALL_RESET:
        if (h2s->http1_required && !h2s->head_came)
            return PROXY_ATTEMPT_HTTP1_REQUIRED;
        return h2s->head_came ? PROXY_ATTEMPT_CUT : PROXY_ATTEMPT_STREAM_RESET;
    case HTTP2_CALL_BAD:
        return h2s->head_came ? PROXY_ATTEMPT_BAD_BODY : PROXY_ATTEMPT_BAD;
    case HTTP2_CALL_INTERIMS:
        return PROXY_ATTEMPT_INTERIMS;
    case HTTP2_CALL_TOO_LARGE:
        return h2s->head_came ? PROXY_ATTEMPT_BAD_BODY : PROXY_ATTEMPT_TOO_LARGE;
    }
    return PROXY_ATTEMPT_OK;
}

static void
on_ended(void *ctx, struct http2_call *h2s)
{
    struct proxy_lane *lane = stream_of(h2s);
    (void)ctx;
    lane->came = true;
    lane->over = true;
    lane->broken = !h2s->ended;
    if (lane->broken)
        lane->up->why = why_of(h2s);
    if (lane->up->why == PROXY_ATTEMPT_HTTP1_REQUIRED)
        proxy_carrier_use_http1(lane->up->pool);
    note(lane);
}

static void
on_sent(void *ctx, struct http2_call *h2s)
{
    struct proxy_lane *lane = stream_of(h2s);
    (void)ctx;
    lane->sent = true;
    note(lane);
}

const struct http2_client_ops proxy_lane_ops = {
    .head = on_head,
    .data = on_data,
    .trailers = on_trailers,
    .ended = on_ended,
    .sent = on_sent,
};

/* ---- windows -------------------------------------------------------------------------------- */

/* How much more the member may have on its way than it may now. A client that has taken some of the
 * body is trusted with more. */
static uint32_t
share_of_window(struct proxy_lane *lane)
{
    const struct proxy_exchange *x = lane->up->exchange;
    struct loop_account *held = proxy_exchange_account(x);
    uint32_t more = HTTP2_CALL_WINDOW_BYTES - lane->window_bytes;
    if (held) {
        bool taken = proxy_stream_of(x->client)->http2.taken_bytes > 0;
        size_t most = taken ? TAKERS_SHARES * held->bytes_max : held->bytes_max;
        size_t left = held->bytes < most ? most - held->bytes : 0;
        if (more > left / WINDOW_SHARE)
            more = (uint32_t)(left / WINDOW_SHARE);
        if (more < HTTP2_CALL_FIRST_BYTES)
            return 0;
        held->bytes += more;
        lane->committed_bytes += more;
    }
    lane->window_bytes += more;
    return more;
}

/* What the client has taken goes back to the stream's window. */
static void
give_window(struct proxy_lane *lane)
{
    const struct proxy_input *in = &lane->up->in;
    int held = (in->buf[0] != NULL) + (in->buf[1] != NULL);
    int passed = (lane->passed[0] > 0) + (lane->passed[1] > 0);
    if (passed <= held)
        return;
    for (; passed > held; passed--) {
        /* Heads count too: a little more window than was used. */
        if (lane->h2)
            http2_client_consume(lane->h2->client, &lane->h2s, lane->passed[0]);
        lane->passed[0] = lane->passed[1];
        lane->passed[1] = 0;
    }
    if (!lane->h2 || lane->over)
        return;
    if (lane->window_bytes < HTTP2_CALL_WINDOW_BYTES)
        http2_client_widen(lane->h2->client, &lane->h2s, share_of_window(lane));
    proxy_carrier_wake(lane->h2);
}

void
proxy_lane_fill(struct proxy_upstream *up)
{
    struct proxy_lane *lane = up->lane;
    give_window(lane);
    while (!proxy_input_full(&up->in) && !fr_list_empty(&lane->queue)) {
        struct fr_list *link = fr_list_pop_front(&lane->queue);
        struct loop_buf *buf = FR_CONTAINER(link, struct loop_buf, link);
        lane->passed[up->in.buf[0] ? 1 : 0] = buf->len;
        proxy_input_push(&up->in, buf);
    }
    if (!lane->over || !fr_list_empty(&lane->queue))
        return;
    up->ended = true;
    up->broken = lane->broken;
}

bool
proxy_lane_trailers(struct proxy_upstream *up, struct fr_buf *out)
{
    struct fr_buf *from = &up->lane->trailers;
    fr_buf_clear(out);
    return from->len == 0 || fr_buf_append_view(out, fr_buf_view(from)) == FR_OK;
}

/* ---- telling -------------------------------------------------------------------------------- */

static void
tell_sent(struct proxy_lane *lane, int status)
{
    loop_send_fn fn = lane->fn;
    lane->fn = NULL;
    lane->sent = false;
    if (fn)
        fn(lane->fn_ctx, status);
}

/* What is being sent goes nowhere, whether the response is whole or not. */
static bool
is_deaf(const struct proxy_lane *lane)
{
    return lane->broken || !lane->h2 || (lane->opened && lane->h2s.id == 0);
}

void
proxy_lane_tell(struct proxy_lane *lane)
{
    struct proxy_upstream *up = lane->up;
    if (lane->sent)
        tell_sent(lane, 0);
    else if (lane->fn && is_deaf(lane))
        tell_sent(lane, -ECONNRESET);
    if (up->state != PROXY_UPSTREAM_BUSY || !lane->came)
        return;
    lane->came = false;
    proxy_relay(up->exchange);
}

void
proxy_lane_cut(struct proxy_lane *lane, enum proxy_attempt_end why)
{
    struct proxy_carrier *h2 = lane->h2;
    fr_list_remove(&lane->link);
    fr_list_remove(&lane->dirty_link);
    lane->h2 = NULL;
    lane->h2s.id = 0;
    h2->count--;
    proxy_carrier_left(h2);
    if (!lane->over) {
        lane->broken = true;
        lane->up->why = why;
    }
    lane->over = lane->came = true;
    proxy_lane_tell(lane);
}

/* ---- what goes ------------------------------------------------------------------------------ */

/* A WebSocket's client waits for proof that its key was read, which nobody but us can give here. */
static void
prepare_accept(struct proxy_lane *lane, const struct proxy_exchange *x)
{
    struct fr_view key = http_websocket_key(fr_buf_view(&x->up_head));
    lane->websocket =
        key.len > 0 && fr_view_ieq(fr_view_make(x->upgrade, x->upgrade_len), FR_VIEW("websocket"));
    if (lane->websocket)
        http_websocket_accept(key, lane->accept);
}

static bool
open_stream(struct proxy_exchange *x, bool bodiless)
{
    struct proxy_lane *lane = x->up->lane;
    bool connect = x->upgrade_len > 0;
    if (connect)
        prepare_accept(lane, x);
    lane->window_bytes = HTTP2_CALL_FIRST_BYTES;
    (void)share_of_window(lane);
    struct http2_request request = {
        .window_bytes = lane->window_bytes,
        .head = fr_buf_view(&x->up_head),
        .https = lane->h2->carrier->tls_client != NULL,
        .bodiless = bodiless && !connect,
        .head_only = x->method == HTTP_HEAD,
        .connect = connect,
    };
    lane->opened = true;
    return http2_client_open(lane->h2->client, &lane->h2s, &request) == FR_OK;
}

static void
on_nowhere(void *ctx)
{
    struct proxy_upstream *up = ctx;
    proxy_lane_tell(up->lane);
}

/* What the stream's end, or its connection's, has made pointless. A response that was whole by then
 * stays so. */
static void
send_nowhere(struct proxy_lane *lane)
{
    if (!lane->over)
        lane->broken = lane->over = true;
    lane->came = true;
    if (lane->h2)
        note(lane);
    else
        loop_defer(lane->up->worker->loop, &lane->up->secured_task, on_nowhere, lane->up);
}

bool
proxy_lane_send(struct proxy_exchange *x, const struct iovec *parts, int count, loop_send_fn fn)
{
    struct proxy_lane *lane = x->up->lane;
    bool last = x->request_done && x->upgrade_len == 0;
    bool bodiless = last && count == 0 && x->up_trailers.len == 0 && !lane->opened;
    size_t lead = sizeof(PROXY_TRAILERS_LEAD) - 1;
    struct fr_view trailers = {0};
    if (last && x->up_trailers.len > lead)
        trailers = fr_view_make(x->up_trailers.data + lead, x->up_trailers.len - lead);
    if (!lane->opened && lane->h2 && !open_stream(x, bodiless))
        return false;
    lane->fn = fn;
    lane->fn_ctx = x;
    if (!lane->h2 || lane->h2s.id == 0)
        send_nowhere(lane);
    else if (!bodiless || x->upgrade_len > 0)
        http2_client_send(lane->h2->client, &lane->h2s, parts, count, last, trailers);
    if (lane->h2)
        proxy_carrier_wake(lane->h2);
    return true;
}

void
proxy_lane_send_on(struct proxy_upstream *up, const struct iovec *part, bool last, loop_send_fn fn,
                   void *ctx)
{
    struct proxy_lane *lane = up->lane;
    if (!lane->h2 || lane->h2s.id == 0) {
        lane->fn = fn;
        lane->fn_ctx = ctx;
        send_nowhere(lane);
        return;
    }
    lane->fn = fn;
    lane->fn_ctx = ctx;
    http2_client_send(lane->h2->client, &lane->h2s, part, part ? 1 : 0, last, (struct fr_view){0});
    proxy_carrier_wake(lane->h2);
}
