/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proxy_relay.c - the response on its way to the client.
 *
 * May touch:  base, loop, http, cache, cluster.
 * Memory:     payload is sent from the buffer it was received into, chunk framing as iovecs beside
 *             it; while the client is slow at most two buffers wait and the member is not read.
 * Cost:       a small response: one receive, one send, no copy of the body.
 * Trusts:     nothing of the member's: what breaks off or is not well-formed never looks whole.
 * Follows:    RFC 9110 sections 15.2 and 10.1.1, RFC 9112 sections 6.3, 7.1 and 8.
 */
#include "proxy/proxy_carrier.h"
#include "proxy/proxy_grpc.h"
#include "proxy/proxy_h2.h"

#include "cluster/cluster_utilization.h"

#define ORCA_MILLION 1000000.0

/* ---- interim responses ---------------------------------------------------------------------- */

static void
after_interim(struct proxy_exchange *x)
{
    x->interim = false;
    if (x->fail_status != 0) {
        proxy_exchange_fail(x, x->fail_status, x->fail_words);
        return;
    }
    proxy_relay(x);
}

/* RFC 9110 section 15.2: a proxy forwards 1xx responses, but 1.0 clients know none. True: the next
 * head may be looked for at once. */
static bool
relay_interim(struct proxy_exchange *x, const struct http_head *response)
{
    x->interim_count++;
    if (response->status == 101 && proxy_tunnel_begin(x, response))
        return false;
    /* Another 101 is consent to what nobody asked for. */
    if (response->status == 101 || x->interim_count > HTTP_INTERIM_MAX) {
        proxy_forward_failed(x, response->status == 101 ? PROXY_ATTEMPT_UNASKED
                                                        : PROXY_ATTEMPT_INTERIMS);
        return false;
    }
    if (response->status == 100 && x->expecting) {
        x->expecting = false;
        proxy_pace_wait(x->client, &x->sending);
    }
    bool send = !x->http10;
    if (send && proxy_head_1xx(x, response) != FR_OK) {
        proxy_exchange_out_of_memory(x);
        return false;
    }
    proxy_partial_clear(&x->up->partial);
    proxy_input_shift(&x->up->in);
    if (!send)
        return true;
    x->interim = true;
    proxy_note_head(x, x->down_head.len, false);
    struct iovec iov = {x->down_head.data, x->down_head.len};
    proxy_exchange_send(x, &iov, 1, after_interim);
    return false;
}

/* ---- the head ------------------------------------------------------------------------------- */

static void
take_orca(struct proxy_exchange *x, const struct http_head *response)
{
    const struct http_field *field = http_head_find(response, HTTP_FIELD_ENDPOINT_LOAD_METRICS);
    double value;
    if (!field || !cluster_utilization_parse_orca(field->value, &value))
        return;
    struct cluster_member_stats *stats = x->pool->stats;
    cluster_count_set(&stats->orca_utilization, (uint64_t)(value * ORCA_MILLION));
    __atomic_store_n(&stats->orca_at_us, loop_now_us(x->worker->loop), __ATOMIC_RELEASE);
}

static void
decide_framing(struct proxy_exchange *x, const struct http_head *response)
{
    x->response_framing = http_response_framing(response, x->method);
    x->client_framing = x->response_framing;
    /* What clients make of a list with a coding that they do not know they disagree about: whatever
     * else one of them reads here is of this response. */
    if (response->unknown_coding)
        x->keep_alive = false;
    if (response->unknown_coding && response->framing == HTTP_BODY_TO_CLOSE) {
        /* It goes on as it comes, and ends with the connection: in chunks, it would be another. */
        x->response_keep = false;
        return;
    }
    if (x->response_framing == HTTP_BODY_CHUNKED || x->response_framing == HTTP_BODY_TO_CLOSE)
        x->client_framing = proxy_exchange_open_framing(x);
    x->response_keep = response->keep_alive && x->response_framing != HTTP_BODY_TO_CLOSE;
    /* A response that overtakes its request ends the connection: what is left of the request may
     * come or not. */
    if (x->client_framing == HTTP_BODY_TO_CLOSE || !x->request_done || x->worker->draining)
        x->keep_alive = false;
}

static bool
begin_response(struct proxy_exchange *x, const struct http_head *response)
{
    x->status = response->status;
    take_orca(x, response);
    proxy_grpc_head(x, response);
    decide_framing(x, response);
    /* RFC 9112 section 6.1: a 1.0 client knows no transfer codings; HTTP/2 has none. */
    if (response->unknown_coding && (x->http10 || x->client->stream) &&
        x->response_framing != HTTP_BODY_NONE) {
        if (x->flight) /* it may be an answer for those who wait */
            cache_flight_alone(x->worker->cache, &x->flight, true, proxy_cache_now_us(x->worker));
        x->status = 0;
        proxy_forward_failed(x, PROXY_ATTEMPT_BAD);
        return false;
    }
    if (proxy_rest_takes(x, response) || proxy_cached_takes(x, response))
        return false;
    x->gives_session = proxy_sticky_due(x); /* it answers this client alone: it is not stored */
    proxy_cached_response(x, response);
    if ((x->completes ? proxy_rest_head(x) : proxy_head_response(x, response)) != FR_OK) {
        proxy_exchange_out_of_memory(x);
        return false;
    }
    if (!x->request_sent)
        PROXY_COUNT(x->worker, member_early_responses);
    /* The end of a stream is told, and its length checked, by who takes the frames. */
    bool told = x->up->lane && x->response_framing != HTTP_BODY_NONE;
    http_body_init(&x->response_body, told ? HTTP_BODY_TO_CLOSE : x->response_framing,
                   response->content_length);
    proxy_partial_clear(&x->up->partial);
    x->head_ready = true;
    x->replayable = false;
    return true;
}

/* True: a final head is there. */
static bool
relay_head(struct proxy_exchange *x)
{
    struct proxy_worker *worker = x->worker;
    struct proxy_upstream *up = x->up;
    struct fr_view raw;
    struct http_err err;
    for (;;) {
        enum http_step step =
            proxy_input_head(&up->in, &up->partial, http_response_parse, &worker->http_limits,
                             &worker->response_head, &raw, &err);
        if (step == HTTP_BAD) {
            proxy_forward_failed(x, err.limit == HTTP_LIMIT_NONE ? PROXY_ATTEMPT_BAD
                                                                 : PROXY_ATTEMPT_TOO_LARGE);
            return false;
        }
        if (step == HTTP_MORE)
            break;
        proxy_head_ours(x, &worker->response_head);
        if (worker->response_head.status >= 200)
            return begin_response(x, &worker->response_head);
        if (!relay_interim(x, &worker->response_head))
            return false;
    }
    if (up->ended && up->why != PROXY_ATTEMPT_OK)
        proxy_forward_failed(x, up->why);
    else if (up->ended && up->response_bytes > 0)
        proxy_forward_failed(x, PROXY_ATTEMPT_HEAD_CUT);
    else if (up->ended) /* in TLS 1.3 members refuse our certificate after the handshake */
        proxy_forward_failed(x,
                             up->alerted && !x->reused ? PROXY_ATTEMPT_TLS : PROXY_ATTEMPT_CLOSED);
    else
        proxy_upstream_want(up);
    return false;
}

/* ---- the body ------------------------------------------------------------------------------- */

static void
after_body(struct proxy_exchange *x)
{
    if (x->response_done) {
        proxy_exchange_reply(x);
        return;
    }
    proxy_input_shift(&x->up->in);
    proxy_relay(x);
}

static bool
looks_split(struct fr_view behind)
{
    struct fr_view start = FR_VIEW("HTTP/");
    size_t len = behind.len < start.len ? behind.len : start.len;
    return fr_view_istarts(start, fr_view_make(behind.ptr, len));
}

/* The response is whole: the member is let go now, not when the client has read it all. What is
 * still being sent is taken along. */
static void
finish_response(struct proxy_exchange *x)
{
    struct proxy_input *in = &x->up->in;
    x->response_done = true;
    if (x->down_trailers.len > 0 && x->client_framing != HTTP_BODY_CHUNKED && !x->client->stream &&
        !x->client->sink)
        PROXY_COUNT(x->worker, trailers_dropped);
    if (in->buf[1] || proxy_input_view(in).len > 0) {
        /* Bytes that answer nothing: they go nowhere. A response behind the response is how a split
         * one looks (RFC 9112 section 11.1): what is before it is then not the member's own, and
         * not stored. A body that is longer than was told is stored as told. */
        x->response_keep = false;
        if (looks_split(proxy_input_view(in)))
            cache_fill_drop(&x->filler);
        proxy_fault(x->pool, PROXY_ATTEMPT_EXTRA_BYTES);
    }
    x->tail = in->buf[0];
    loop_buf_charge(x->tail, proxy_exchange_account(x));
    in->buf[0] = in->buf[1];
    in->buf[1] = NULL;
    in->pos = 0;
    if (x->filler)
        cache_fill_commit(&x->filler);
    if (x->status >= 500)
        PROXY_COUNT(x->worker, errors);
    proxy_forward_end(x, PROXY_ATTEMPT_OK);
}

/* Decodes the next runs. MORE without runs: everything received is used up. */
static enum http_step
next_runs(struct proxy_exchange *x, struct proxy_runs *runs)
{
    struct proxy_input *in = &x->up->in;
    for (;;) {
        enum http_step step = proxy_input_runs(in, &x->response_body, runs);
        if (step != HTTP_MORE || runs->bytes > 0)
            return step;
        if (!in->buf[0] || proxy_input_view(in).len > 0)
            return step;
        proxy_input_shift(in); /* it held framing only */
    }
}

static void
store_runs(struct proxy_exchange *x, const struct proxy_runs *runs, int first)
{
    for (int i = first; x->filler && i < runs->count; i++)
        proxy_cached_add(x, fr_view_make(runs->iov[i].iov_base, runs->iov[i].iov_len));
}

/* Nothing follows what was decoded. Of a stream that is known with its last bytes. */
static bool
body_is_over(const struct proxy_upstream *up, size_t decoded)
{
    if (!up->ended || decoded == 0)
        return up->ended;
    return up->lane && !up->broken && !up->in.buf[1] && proxy_input_view(&up->in).len == 0;
}

static void
relay_body(struct proxy_exchange *x)
{
    struct proxy_upstream *up = x->up;
    struct iovec iov[LOOP_IOV_MAX];
    bool chunked = x->client_framing == HTTP_BODY_CHUNKED;
    int count = x->begun ? 0 : 1;
    int chunk_at = count, first = count + chunked;
    struct proxy_runs runs = {iov, first, LOOP_IOV_MAX - chunked, 0, &x->down_trailers};
    iov[0] = (struct iovec){x->down_head.data, x->down_head.len};
    enum http_step step = next_runs(x, &runs);
    enum proxy_attempt_end end = PROXY_ATTEMPT_BAD_BODY;
    if (step == HTTP_MORE && body_is_over(up, runs.bytes)) {
        step = !up->broken && http_body_closed(&x->response_body) ? HTTP_DONE : HTTP_BAD;
        end = up->why != PROXY_ATTEMPT_OK ? up->why : PROXY_ATTEMPT_CUT;
    }
    if (step == HTTP_DONE && up->lane && !proxy_lane_trailers(up, &x->down_trailers))
        step = HTTP_BAD;
    if (step == HTTP_DONE)
        proxy_grpc_trailers(x);
    if (step == HTTP_DONE && !proxy_head_trailers(x->worker, &x->down_trailers, x->te_trailers))
        step = HTTP_BAD;
    if (step == HTTP_MORE && !proxy_drip_came(x)) {
        end = PROXY_ATTEMPT_SLOW;
        step = HTTP_BAD;
    }
    if (step == HTTP_BAD) {
        proxy_forward_broken(x, end);
        return;
    }
    store_runs(x, &runs, first);
    if (x->outgrown && step == HTTP_MORE) {
        proxy_exchange_drop(x); /* nobody would read the rest */
        return;
    }
    if (step == HTTP_DONE)
        finish_response(x);
    if (chunked && (runs.bytes > 0 || x->response_done))
        count = proxy_head_chunk(iov, chunk_at, runs.count, runs.bytes, x->down_chunk,
                                 &x->down_trailers, x->response_done);
    else if (runs.bytes > 0)
        count = runs.count;
    if (count == 0 && x->response_done) { /* the close that ends the body came by itself */
        proxy_exchange_reply(x);
        return;
    }
    if (x->up)
        proxy_upstream_want(x->up);
    if (count == 0) {
        proxy_drip_wait(x);
        return;
    }
    if (x->up) /* while the client is the slow one, silence is not the member's */
        proxy_upstream_timer_stop(x->up);
    if (!x->begun)
        proxy_note_head(x, x->down_head.len, true);
    x->begun = true;
    proxy_exchange_send(x, iov, count, after_body);
}

void
proxy_relay(struct proxy_exchange *x)
{
    fr_insist(x->magic == PROXY_EXCHANGE_MAGIC);
    if (x->tunnel) {
        proxy_tunnel_down(x);
        return;
    }
    if (x->up->lane)
        proxy_lane_fill(x->up);
    if (proxy_client_sending(x->client)) {
        proxy_upstream_want(x->up);
        return; /* comes back here when the client took it */
    }
    if ((x->head_ready || relay_head(x)) && !proxy_rest_send(x) && !proxy_cached_stalls(x))
        relay_body(x);
}
