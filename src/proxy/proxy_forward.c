/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proxy_forward.c - the request on its way to a member: tries, retries, and the body's relay.
 *
 * May touch:  base, loop, http, cluster, config.
 * Limits:     PROXY_ATTEMPTS_MAX members a request, and the cluster's retry budget.
 * Memory:     the body goes from the client's receive buffers to the member's socket; nothing is
 *             read from the client while both buffers are full.
 * Follows:    RFC 9110 section 9.2.2 (what may be repeated), RFC 9112 section 9.3.1.
 *
 * What is tried again:
 *     no connection, no TLS   any method: no byte of the request has been sent. One that must not
 *                             be sent twice is given one more member, others as many as refuse
 *                             within PROXY_TRIES_MAX; neither costs the budget, for a refusal
 *                             is no work for the member and comes at once.
 *     closed before the first response byte
 *                             idempotent methods, if the body is absent or whole in its buffer;
 *                             once. A kept connection that had died of old age does not count
 *                             against the budget: the member has not seen the request.
 *     anything later          never
 */
#include "proxy/proxy_carrier.h"
#include "proxy/proxy_grpc.h"
#include "proxy/proxy_park.h"

static bool attempt_start(struct proxy_exchange *x, const struct cluster_endpoint *endpoint);

/* ---- choosing ------------------------------------------------------------------------------- */

static void
count_way(struct proxy_worker *worker, enum cluster_pick_way way)
{
    if (way == CLUSTER_PICK_NEXT)
        PROXY_COUNT(worker, hash_next);
    else if (way == CLUSTER_PICK_SPILLED)
        PROXY_COUNT(worker, hash_spilled);
    else
        PROXY_COUNT(worker, hash_keyless);
}

static const struct cluster_endpoint *
choose(struct proxy_exchange *x, bool avoid_tried)
{
    struct proxy_worker *worker = x->worker;
    enum cluster_pick_way way = CLUSTER_PICK_HOME;
    struct cluster_pick pick = {
        .worker = worker->index,
        .now_us = loop_now_us(worker->loop),
        .rand = &worker->rand,
        .judgements = worker->judgements,
        .avoid = x->tried,
        .avoid_count = avoid_tried ? x->tried_count : 0,
        .keyed = x->keyed,
        .key = x->key,
        .in_flight = x->cluster->state->on_members,
        .prequal = x->cluster->state->prequal,
        .out_way = &way,
    };
    const struct cluster_endpoint *endpoint = proxy_sticky_choose(x, &pick);
    if (endpoint)
        return endpoint;
    endpoint = cluster_balance_pick(x->cluster->view, &pick);
    if (way != CLUSTER_PICK_HOME)
        count_way(worker, way);
    return endpoint;
}

static void
no_member(struct proxy_exchange *x)
{
    PROXY_COUNT(x->worker, no_member);
    cluster_count_add(&x->cluster->state->counters.no_member, 1);
    proxy_exchange_fail(x, 503, "no member can take the request");
}

void
proxy_forward(struct proxy_exchange *x, const struct http_head *request,
              const struct cluster_view *view)
{
    x->cluster = proxy_cluster_of(x->worker, view);
    proxy_cluster_use(x->cluster);
    proxy_budget_request(x->cluster, loop_now_us(x->worker->loop));
    proxy_key_take(x, request, view->config);
    proxy_sticky_take(x, request);
    const struct cluster_endpoint *endpoint = choose(x, false);
    if (!endpoint && !proxy_park_wants(x)) {
        no_member(x);
        return;
    }
    if (proxy_head_request(x, request, endpoint ? endpoint->member : NULL) != FR_OK) {
        proxy_exchange_out_of_memory(x);
        return;
    }
    /* A stream that the member did nothing for is tried again whatever the method. */
    x->hold =
        !x->request_done && (http_method_idempotent(x->method) || proxy_carrier_may(view->config));
    x->replay_pos = x->client->in.pos;
    if (!endpoint) {
        proxy_park_look(x, request);
        proxy_park_enter(x);
        return;
    }
    if (proxy_queue_enter(x) && !attempt_start(x, endpoint))
        proxy_forward_failed(x, PROXY_ATTEMPT_REFUSED);
}

/* ---- one try -------------------------------------------------------------------------------- */

/* False: no connection could even be begun; the try still has to be ended. */
static bool
attempt_start(struct proxy_exchange *x, const struct cluster_endpoint *endpoint)
{
    struct proxy_worker *worker = x->worker;
    struct proxy_pool *pool = worker->pools[endpoint->member->slot];
    fr_insist(pool && pool->member == endpoint->member);
    fr_insist(x->tried_count < PROXY_TRIES_MAX);
    x->tried[x->tried_count++] = endpoint->member;
    proxy_note_member(x, endpoint->member);
    x->endpoint = endpoint;
    x->pool = pool;
    x->up_head_sent = false;
    x->request_sent = false;
    pool->in_flight++;
    x->attempt_us = loop_now_us(worker->loop);
    if (x->cluster->state->prequal)
        x->in_flight_before = cluster_prequal_in_flight(endpoint->member);
    x->cluster->state->on_members++;
    cluster_member_enter(pool->member, worker->index, loop_now_us(worker->loop));
    x->reused = false;
    x->up = proxy_carrier_acquire(pool, x);
    if (!x->up && !x->fresh_only) {
        x->up = proxy_upstream_reuse(pool, x);
        x->reused = x->up != NULL;
    }
    if (x->up) {
        x->up->exchange = x;
        proxy_forward_pump(x); /* nothing yet of one that waits for its connection */
        return true;
    }
    x->up = proxy_upstream_connect(pool, x, x->cluster->view->config->timeouts.connect_us);
    return x->up != NULL;
}

void
proxy_forward_connected(struct proxy_exchange *x, int status)
{
    if (status < 0)
        proxy_forward_failed(x, PROXY_ATTEMPT_REFUSED);
    else
        proxy_forward_pump(x);
}

/* What it waited in the edge for a place counts: that is for want of members, too. */
void
proxy_forward_timed(struct proxy_exchange *x, int64_t took_us)
{
    struct proxy_cluster_state *state = x->cluster->state;
    if (state->goal_us == 0)
        return;
    cluster_count_add(&state->counters.timed, 1);
    if (x->queued_for_us + took_us > state->goal_us)
        cluster_count_add(&state->counters.late, 1);
}

static void
count_attempt(struct proxy_exchange *x, enum proxy_attempt_end end)
{
    struct proxy_worker *worker = x->worker;
    struct cluster_member_stats *stats = x->pool->stats;
    int64_t now_us = loop_now_us(worker->loop);
    bool ok = end == PROXY_ATTEMPT_OK;
    if (end == PROXY_ATTEMPT_DROPPED || end == PROXY_ATTEMPT_WITHDRAWN)
        return; /* not the member's doing */
    if (x->forgiven) {
        if (end == PROXY_ATTEMPT_HTTP1_REQUIRED)
            proxy_fault(x->pool, end);
        else
            PROXY_COUNT(worker, member_kept_closed);
        return;
    }
    cluster_count_add(&stats->requests, 1);
    cluster_count_add(&x->cluster->state->counters.requests, 1);
    if (!ok || x->status >= 500 || proxy_grpc_error(x)) {
        cluster_count_add(&stats->errors, 1);
        cluster_count_add(&x->cluster->state->counters.errors, 1);
    }
    if (ok && !x->tunnel) { /* a tunnel's is that of its 101 */
        fr_hist_record(&stats->latency, (uint64_t)(now_us - x->sent_us));
        proxy_forward_timed(x, now_us - x->sent_us);
    }
    bool unreachable = end == PROXY_ATTEMPT_REFUSED || end == PROXY_ATTEMPT_CONNECT_TIMEOUT;
    if (unreachable)
        cluster_count_add(&stats->connect_failures, 1);
    proxy_fault(x->pool, end);
    /* A kept connection that the member closed while we wrote says nothing about its health. */
    bool stale = end == PROXY_ATTEMPT_CLOSED && x->reused;
    bool failed = !ok || x->status == 502 || x->status == 503 || x->status == 504 ||
                  proxy_grpc_unavailable(x);
    if (x->cluster->state->prequal && !stale)
        cluster_prequal_observe(&worker->judgements[x->endpoint->member->slot], x->in_flight_before,
                                now_us - x->attempt_us, failed || x->status >= 500, now_us);
    if (stale || !cluster_judge(x->cluster->view, x->endpoint, worker->index, worker->judgements,
                                now_us, failed))
        return;
    cluster_count_add(&stats->ejections, 1);
    proxy_probe_start(x->pool, x->cluster->view->config->timeouts.connect_us, unreachable);
}

void
proxy_forward_end(struct proxy_exchange *x, enum proxy_attempt_end end)
{
    struct proxy_worker *worker = x->worker;
    struct proxy_pool *pool = x->pool;
    struct proxy_upstream *up = x->up;
    if (!pool)
        return;
    count_attempt(x, end);
    proxy_pace_moved(x->client, &x->sending);
    if (end == PROXY_ATTEMPT_OK)
        proxy_queue_leave(x); /* what the client still has to read needs no member */
    cluster_member_leave(pool->member, worker->index, loop_now_us(worker->loop));
    pool->in_flight--;
    x->cluster->state->on_members--;
    x->pool = NULL;
    x->up = NULL;
    x->endpoint = NULL;
    if (!up) {
        proxy_pool_settle(pool);
        return;
    }
    /* Kept only after a whole request and a whole response with nothing behind it. */
    if (end == PROXY_ATTEMPT_OK && x->response_keep && x->request_sent && !up->in.buf[0] &&
        !up->lane)
        proxy_upstream_keep(up, x->cluster->view->config);
    else
        proxy_upstream_close(up);
}

/* ---- trying again --------------------------------------------------------------------------- */

static void
answer_failure(struct proxy_exchange *x, enum proxy_attempt_end end)
{
    struct proxy_fault_answer answer = proxy_fault_answer(end);
    proxy_exchange_fail(x, answer.status, answer.words);
}

/* The view this exchange began with may show members that are gone by now; a new try goes by the
 * snapshot in force. */
static bool
move_to_current(struct proxy_exchange *x)
{
    struct proxy_cluster *current = proxy_cluster_current(x->worker, x->cluster);
    if (!current)
        return false;
    if (current == x->cluster)
        return true;
    proxy_cluster_use(current);
    proxy_cluster_unuse(&x->cluster);
    x->cluster = current;
    return true;
}

void
proxy_forward_resume(struct proxy_exchange *x)
{
    bool known = move_to_current(x);
    const struct cluster_endpoint *endpoint = known ? choose(x, false) : NULL;
    if (!endpoint && known && proxy_park_wants(x)) { /* the last member left meanwhile */
        proxy_queue_leave(x);
        proxy_park_enter(x);
    } else if (!endpoint) {
        no_member(x);
    } else if (!attempt_start(x, endpoint)) {
        proxy_forward_failed(x, PROXY_ATTEMPT_REFUSED);
    }
}

bool
proxy_forward_unpark(struct proxy_exchange *x)
{
    bool known = move_to_current(x);
    const struct cluster_endpoint *endpoint = known ? choose(x, false) : NULL;
    if (!endpoint && known && proxy_park_wants(x))
        return false;
    proxy_park_leave(x);
    if (!endpoint) {
        no_member(x);
        return true;
    }
    PROXY_COUNT(x->worker, park_released);
    if (proxy_queue_enter(x) && !attempt_start(x, endpoint))
        proxy_forward_failed(x, PROXY_ATTEMPT_REFUSED);
    return true;
}

static void
rewind_request(struct proxy_exchange *x)
{
    if (x->request_framing == HTTP_BODY_NONE || !x->replayable)
        return;
    x->client->in.pos = x->replay_pos;
    http_body_init(&x->request_body, x->request_framing, x->request_length);
    fr_buf_clear(&x->up_trailers);
    x->request_done = false;
    x->replayable = false;
}

/* The member has seen nothing of the request. */
static bool
is_unreached(const struct proxy_exchange *x, enum proxy_attempt_end end)
{
    return end == PROXY_ATTEMPT_REFUSED || (end == PROXY_ATTEMPT_TLS && !x->up_head_sent);
}

/* Of a request on an HTTP/2 connection that is as certain, even if it was sent (RFC 9113 section
 * 8.7). */
static bool
is_unprocessed(enum proxy_attempt_end end)
{
    return end == PROXY_ATTEMPT_GONE_AWAY || end == PROXY_ATTEMPT_STREAM_REFUSED ||
           end == PROXY_ATTEMPT_HTTP1_REQUIRED;
}

/* Whether this end allows another try; budget aside. */
static bool
may_retry(const struct proxy_exchange *x, enum proxy_attempt_end end, bool silent)
{
    bool empty = x->request_framing == HTTP_BODY_NONE ||
                 (x->request_framing == HTTP_BODY_LENGTH && x->request_length == 0);
    /* Nothing of the body was taken from its buffer, or all of it still stands there. */
    bool untouched = !x->up_head_sent;
    uint32_t tries_max =
        http_method_idempotent(x->method) ? PROXY_TRIES_MAX : PROXY_TRIES_UNSAFE_MAX;
    if (x->tried_count >= tries_max || x->worker->stopping)
        return false;
    if (is_unreached(x, end))
        return true;
    if (x->tried_count - x->refused_count >= PROXY_ATTEMPTS_MAX)
        return false;
    if (end == PROXY_ATTEMPT_HTTP1_REQUIRED &&
        x->cluster->view->config->protocol != CONFIG_PROTOCOL_AUTO)
        return false; /* there is no other way */
    if (is_unprocessed(end))
        return silent && (untouched || empty || x->replayable);
    if (end == PROXY_ATTEMPT_CONNECT_TIMEOUT)
        return true;
    if (end == PROXY_ATTEMPT_WITHDRAWN && untouched)
        return true;
    return (end == PROXY_ATTEMPT_CLOSED || end == PROXY_ATTEMPT_TLS ||
            end == PROXY_ATTEMPT_WITHDRAWN) &&
           silent && !x->retried && http_method_idempotent(x->method) && (empty || x->replayable);
}

static bool
retry(struct proxy_exchange *x, bool unreached, bool stale)
{
    struct proxy_worker *worker = x->worker;
    if (!move_to_current(x))
        return false;
    const struct cluster_endpoint *endpoint = choose(x, !stale);
    if (!endpoint)
        return false;
    if (unreached) {
        cluster_count_add(&x->cluster->state->counters.retries, 1);
    } else if (!stale && !proxy_budget_allows(x->cluster, loop_now_us(worker->loop))) {
        PROXY_COUNT(worker, retry_budget_refusals);
        return false;
    }
    PROXY_COUNT(worker, retries);
    rewind_request(x);
    return attempt_start(x, endpoint);
}

void
proxy_forward_failed(struct proxy_exchange *x, enum proxy_attempt_end end)
{
    for (;;) {
        bool silent = !x->up || x->up->response_bytes == 0;
        bool again = may_retry(x, end, silent);
        bool stale = (end == PROXY_ATTEMPT_CLOSED && x->reused && !x->stale_retried) ||
                     end == PROXY_ATTEMPT_GONE_AWAY || end == PROXY_ATTEMPT_HTTP1_REQUIRED;
        x->forgiven = again && stale;
        bool unreached = is_unreached(x, end);
        x->refused_count += unreached;
        /* Held, because ending the try may let go of it. */
        struct cluster_member *member = cluster_member_ref(x->pool->member);
        proxy_forward_end(x, end);
        x->forgiven = false;
        if (!again) {
            cluster_member_unref(&member);
            break;
        }
        if (stale)
            x->stale_retried = x->fresh_only = true;
        else if (!unreached && !is_unprocessed(end) && end != PROXY_ATTEMPT_CONNECT_TIMEOUT)
            x->retried = true;
        bool started = retry(x, unreached, stale);
        if (started || x->pool)
            cluster_count_add(&member->stats[x->worker->index].retries, 1);
        cluster_member_unref(&member);
        if (started)
            return;
        if (!x->pool)
            break; /* nobody left to try, or not allowed to */
        end = PROXY_ATTEMPT_REFUSED;
    }
    answer_failure(x, end);
}

/* ---- request bytes -------------------------------------------------------------------------- */

static void
on_up_sent(void *ctx, int status)
{
    struct proxy_exchange *x = ctx;
    struct proxy_upstream *up = x->up;
    const struct config_timeouts *timeouts = &x->cluster->view->config->timeouts;
    fr_insist(x->magic == PROXY_EXCHANGE_MAGIC && up);
    if (status < 0) {
        /* The member may have answered before it closed; what it sent tells, or its end does. */
        up->send_failed = true;
        proxy_pace_moved(x->client, &x->sending);
        proxy_relay(x);
        return;
    }
    cluster_count_add(&x->pool->stats->bytes_out, x->up_sending_bytes);
    if (!x->replayable) {
        proxy_input_shift(&x->client->in);
        proxy_client_want(x->client);
    }
    if (x->request_done) {
        x->request_sent = true;
        x->sent_us = loop_now_us(x->worker->loop);
        if (!x->head_ready)
            proxy_upstream_timer(up, timeouts->response_us);
        return;
    }
    proxy_forward_pump(x);
}

/* The client has sent nothing more yet. */
static void
wait_for_client(struct proxy_exchange *x)
{
    if (x->client->ended && !x->request_done) { /* and never will */
        PROXY_COUNT(x->worker, client_aborts);
        proxy_exchange_drop(x);
        return;
    }
    proxy_client_want(x->client);
    if (!x->expecting)
        proxy_pace_wait(x->client, &x->sending);
    if (x->head_ready)
        return; /* the response's own timer runs */
    /* A client that waits for a 100 waits for the member; any other keeps the member waiting. */
    if (x->expecting)
        proxy_upstream_timer(x->up, x->cluster->view->config->timeouts.response_us);
    else
        proxy_upstream_timer_stop(x->up);
}

static void
request_broken(struct proxy_exchange *x)
{
    x->keep_alive = false;
    x->client_closes = false; /* it may still be sending: linger */
    x->request_done = true;   /* nothing of it is read any more */
    PROXY_COUNT(x->worker, bad_requests);
    proxy_exchange_fail(x, 400, "the request's body is not well-formed");
}

void
proxy_forward_pump(struct proxy_exchange *x)
{
    struct proxy_upstream *up = x->up;
    struct proxy_input *in = &x->client->in;
    struct iovec iov[LOOP_IOV_MAX];
    bool chunked = x->request_framing == HTTP_BODY_CHUNKED && up && !up->lane;
    if (!up || up->state != PROXY_UPSTREAM_BUSY || proxy_upstream_sending(up) || up->send_failed ||
        x->request_sent)
        return;
    int count = 0;
    if (up->preface_len > 0 && up->requests == 0 && !x->up_head_sent)
        iov[count++] = (struct iovec){up->preface, up->preface_len};
    if (!x->up_head_sent && !up->lane)
        count += proxy_head_request_parts(x, iov + count);
    int chunk_at = count;
    struct proxy_runs runs = {iov, count + chunked, LOOP_IOV_MAX - chunked, 0, &x->up_trailers};
    bool was_done = x->request_done;
    while (!x->request_done && runs.bytes == 0) {
        enum http_step step = proxy_input_runs(in, &x->request_body, &runs);
        if (step == HTTP_BAD) {
            request_broken(x);
            return;
        }
        x->request_done = step == HTTP_DONE;
        if (x->request_done && !proxy_head_trailers(x->worker, &x->up_trailers, true)) {
            request_broken(x);
            return;
        }
        if (proxy_exchange_body_too_long(x, x->request_body.received))
            return;
        if (runs.bytes > 0 || x->request_done || !in->buf[0] || proxy_input_view(in).len > 0)
            break;
        proxy_input_shift(in); /* it held framing only */
        x->hold = false;
    }
    x->replayable = x->hold && x->request_done && !x->up_head_sent;
    x->hold = x->replayable;
    if (runs.bytes > 0 || (x->request_done && !was_done)) {
        count = runs.count;
        if (chunked)
            count = proxy_head_chunk(iov, chunk_at, count, runs.bytes, x->up_chunk, &x->up_trailers,
                                     x->request_done);
    }
    bool ends = up->lane && (!x->up_head_sent || (x->request_done && !was_done));
    if (count == 0 && !ends) {
        wait_for_client(x);
        return;
    }
    x->up_sending_bytes = 0;
    for (int i = 0; i < count; i++)
        x->up_sending_bytes += iov[i].iov_len;
    if (up->lane && !x->up_head_sent)
        x->up_sending_bytes += x->up_head.len;
    x->up_head_sent = true;
    x->sent_us = loop_now_us(x->worker->loop);
    up->requests++;
    PROXY_COUNT(x->worker, requests_forwarded);
    if (!x->head_ready)
        proxy_upstream_timer(up, x->cluster->view->config->timeouts.idle_us);
    if (up->lane) {
        if (!proxy_lane_send(x, iov, count, on_up_sent))
            proxy_exchange_out_of_memory(x);
        return;
    }
    loop_send(&up->sock, iov, count, on_up_sent, x);
    proxy_upstream_want(up);
}

/* ---- the member's time ---------------------------------------------------------------------- */

void
proxy_forward_broken(struct proxy_exchange *x, enum proxy_attempt_end end)
{
    proxy_forward_end(x, end);
    answer_failure(x, end);
}

void
proxy_forward_timeout(struct proxy_exchange *x)
{
    if (x->tunnel) {
        proxy_tunnel_timeout(x);
        return;
    }
    if (x->up->state == PROXY_UPSTREAM_CONNECTING) {
        proxy_forward_failed(x, PROXY_ATTEMPT_CONNECT_TIMEOUT);
        return;
    }
    enum proxy_attempt_end end = PROXY_ATTEMPT_TIMEOUT;
    if (!proxy_drip_timer(x, &end))
        proxy_forward_broken(x, end);
}

void
proxy_forward_withdraw(struct proxy_exchange *x)
{
    if (!x->head_ready && !x->interim) {
        proxy_forward_failed(x, PROXY_ATTEMPT_WITHDRAWN);
        return;
    }
    proxy_forward_broken(x, PROXY_ATTEMPT_WITHDRAWN);
}
