/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proxy_carrier.c - connections to members that carry the streams of many exchanges.
 *
 * May touch:  base, loop, http, tls, cluster, config.
 * Limits:     the cluster's `streams`, and what the member allows, on one connection; further ones
 *             are made as they are needed, and closed as HTTP/1.1's are. Until a member's SETTINGS
 *             have come it is given one request: what it allows is not known.
 * Cost:       frames of one turn of the loop go out in one send.
 * Trusts:     nothing: a connection that breaks a rule is ended, with every request on it.
 * Follows:    RFC 9113 sections 3.4, 5.1.2, 6.7, 6.8 and 9.1.
 *
 *     connecting --(ALPN, or h2c)--> SHARED --> leaving (GOAWAY, or it is not wanted) --> closed
 *                                      '---------- broken, dead, ended ----------------------^
 */
#include "proxy/proxy_carrier.h"

#include <errno.h>

#define ORPHANED_MAX 2 /* connections that end under one request that waits for them */

static void on_task(void *ctx);

static const struct config_cluster *
config_of(const struct proxy_exchange *x)
{
    return x->cluster->view->config;
}

/* ---- its life ------------------------------------------------------------------------------- */

static struct proxy_carrier *
h2_new(struct proxy_upstream *up)
{
    struct proxy_carrier *h2 = fr_alloc(sizeof(*h2));
    if (!h2)
        return NULL;
    fr_list_init(&h2->streams);
    fr_list_init(&h2->dirty);
    fr_buf_init(&h2->out, 4 * PROXY_CARRIER_OUT_BYTES);
    h2->carrier = up;
    if (http2_client_new(&proxy_lane_ops, h2, &up->worker->http_limits, &h2->client) == FR_OK &&
        fr_buf_append(&h2->out, up->preface, up->preface_len) == FR_OK)
        return h2;
    http2_client_free(&h2->client);
    fr_buf_fini(&h2->out);
    fr_free(h2);
    return NULL;
}

static void
count_idle(struct proxy_carrier *h2, int change)
{
    struct proxy_pool *pool = h2->carrier->pool;
    pool->carriers_idle += (uint32_t)change;
    proxy_pool_count(pool);
}

void
proxy_carrier_use_http1(struct proxy_pool *pool)
{
    pool->http1_until_us = loop_now_us(pool->worker->loop) + PROXY_HTTP1_REQUIRED_US;
}

/* Of a connection without streams. */
static void
h2_close(struct proxy_carrier *h2)
{
    struct proxy_upstream *carrier = h2->carrier;
    fr_insist(!h2->running && h2->count == 0);
    loop_defer_cancel(&h2->task);
    loop_timer_stop(&h2->ping_timer);
    carrier->pool->carriers_idle--;
    carrier->h2 = NULL;
    proxy_upstream_close(carrier);
    http2_client_free(&h2->client);
    fr_buf_fini(&h2->out);
    fr_free(h2);
}

static void
unfollow(struct proxy_lane *lane)
{
    fr_list_remove(&lane->link);
    lane->leader->follower_count--;
    lane->leader = NULL;
}

/* It has carried nothing, and will not. Whoever waits for it was its founder, or waits for what the
 * founder asked for: on a new connection it would fare no better, so that this was a try. */
static void
fail_followers(struct proxy_carrier *h2, enum proxy_attempt_end why)
{
    struct fr_list *followers = &h2->carrier->followers;
    h2->leaving = true; /* none of them comes back to it */
    while (!fr_list_empty(followers)) {
        struct proxy_lane *lane = FR_CONTAINER(followers->next, struct proxy_lane, link);
        unfollow(lane);
        proxy_forward_failed(lane->up->exchange, why);
    }
}

/* Why a connection that says so from its beginning takes no request. */
static enum proxy_attempt_end
why_useless(struct proxy_carrier *h2)
{
    if (h2->broken)
        return PROXY_ATTEMPT_H2_BROKEN;
    if (!http2_client_http1_required(h2->client))
        return PROXY_ATTEMPT_GONE_AWAY;
    proxy_carrier_use_http1(h2->carrier->pool);
    return PROXY_ATTEMPT_HTTP1_REQUIRED;
}

/* The connection is of no use any more: every stream on it ends as it stands. */
static void
h2_break(struct proxy_carrier *h2, enum proxy_attempt_end why)
{
    struct proxy_upstream *carrier = h2->carrier;
    h2->leaving = h2->running = true;
    if (h2->requests == 0)
        fail_followers(h2, why != PROXY_ATTEMPT_OK ? why : PROXY_ATTEMPT_CLOSED);
    proxy_carrier_orphan(carrier);
    while (!fr_list_empty(&h2->streams)) {
        struct proxy_lane *lane = FR_CONTAINER(h2->streams.next, struct proxy_lane, link);
        lane->up->alerted = carrier->alerted;
        proxy_lane_cut(lane, why);
    }
    h2->running = false;
    h2_close(h2);
}

void
proxy_carrier_wake(struct proxy_carrier *h2)
{
    loop_defer(h2->carrier->worker->loop, &h2->task, on_task, h2);
}

void
proxy_carrier_left(struct proxy_carrier *h2)
{
    if (h2->count == 0)
        count_idle(h2, 1);
    proxy_carrier_wake(h2);
}

/* ---- whether it lives ----------------------------------------------------------------------- */

static void
on_ping_timer(void *ctx)
{
    struct proxy_carrier *h2 = ctx;
    struct proxy_worker *worker = h2->carrier->worker;
    if (h2->count == 0)
        return; /* it starts with the next stream */
    if (!h2->heard && h2->pinged) {
        PROXY_COUNT(worker, member_h2_pings_lost);
        h2_break(h2, PROXY_ATTEMPT_OK);
        return;
    }
    if (!h2->heard) {
        h2->pinged = true;
        http2_client_ping(h2->client);
        proxy_carrier_wake(h2);
    }
    h2->heard = false;
    loop_timer_start(worker->loop, &h2->ping_timer, h2->ping_us, on_ping_timer, h2);
}

static void
watch_life(struct proxy_carrier *h2)
{
    if (h2->ping_us <= 0 || loop_timer_running(&h2->ping_timer))
        return;
    h2->heard = h2->pinged = false;
    loop_timer_start(h2->carrier->worker->loop, &h2->ping_timer, h2->ping_us, on_ping_timer, h2);
}

/* ---- giving streams ------------------------------------------------------------------------- */

static bool
may_carry(const struct proxy_upstream *up, const struct proxy_exchange *x)
{
    return up->owner == proxy_preface_owner(x) && up->tls_client == config_of(x)->tls.client;
}

/* Another member might, or this one in HTTP/1.1. */
static bool
refuses_connect(const struct proxy_carrier *h2, const struct proxy_exchange *x)
{
    return x->upgrade_len > 0 && http2_client_settled(h2->client) &&
           !http2_client_takes_connect(h2->client);
}

static uint32_t
room_of(const struct proxy_carrier *h2, const struct proxy_exchange *x)
{
    uint32_t room = http2_client_room(h2->client);
    uint32_t most = config_of(x)->streams;
    if (h2->leaving || h2->count >= most)
        return 0;
    if (x->upgrade_len > 0 && !http2_client_takes_connect(h2->client))
        return 0;
    return room < most - h2->count ? room : most - h2->count;
}

static void
attach(struct proxy_upstream *up, struct proxy_carrier *h2)
{
    struct proxy_exchange *x = up->exchange;
    const struct config_cluster *config = config_of(x);
    proxy_upstream_timer_stop(h2->carrier);
    if (h2->count == 0)
        count_idle(h2, -1);
    h2->keepalive_us = config->timeouts.keepalive_us;
    h2->ping_us = config->timeouts.ping_us;
    x->reused = h2->requests++ > 0;
    if (x->reused)
        PROXY_COUNT(x->worker, member_reuses);
    proxy_lane_attach(up, h2);
    watch_life(h2);
}

static void
follow(struct proxy_upstream *up, struct proxy_upstream *leader)
{
    up->lane->leader = leader;
    fr_list_push_back(&leader->followers, &up->lane->link);
    leader->follower_count++;
    proxy_upstream_timer(up, config_of(up->exchange)->timeouts.connect_us);
}

/* What x can go on with, at once or soon; both NULL: nothing. */
static void
look(struct proxy_pool *pool, const struct proxy_exchange *x, struct proxy_carrier **out_h2,
     struct proxy_upstream **out_leader)
{
    uint32_t most = config_of(x)->streams;
    *out_h2 = NULL;
    *out_leader = NULL;
    FR_LIST_EACH(&pool->carriers, link) {
        struct proxy_upstream *carrier = FR_CONTAINER(link, struct proxy_upstream, link);
        struct proxy_carrier *h2 = carrier->h2;
        if (h2->leaving || !may_carry(carrier, x))
            continue;
        if (room_of(h2, x) > 0) {
            *out_h2 = h2;
            return;
        }
        if (!http2_client_settled(h2->client) && h2->count + carrier->follower_count < most)
            *out_leader = carrier;
    }
    bool sure = pool->speaks_h2 || config_of(x)->protocol != CONFIG_PROTOCOL_AUTO;
    FR_LIST_EACH(&pool->busy, link) {
        struct proxy_upstream *up = FR_CONTAINER(link, struct proxy_upstream, link);
        if (*out_leader || !sure)
            return;
        /* While it connects its client is its exchange's; later the two are the same. */
        if (!up->lane && up->state == PROXY_UPSTREAM_CONNECTING && !up->http1_only &&
            up->owner == proxy_preface_owner(x) && config_of(up->exchange) == config_of(x) &&
            up->follower_count + 1 < most)
            *out_leader = up;
    }
}

/* A connection that is there and settled would have carried it, were it an ordinary request. */
static bool
takes_no_connect(const struct proxy_pool *pool, const struct proxy_exchange *x)
{
    if (x->upgrade_len == 0)
        return false;
    FR_LIST_EACH(&pool->carriers, link) {
        struct proxy_upstream *carrier = FR_CONTAINER(link, struct proxy_upstream, link);
        if (may_carry(carrier, x) && !carrier->h2->leaving &&
            http2_client_settled(carrier->h2->client) &&
            !http2_client_takes_connect(carrier->h2->client))
            return true;
    }
    return false;
}

static void
on_unfit(void *ctx)
{
    struct proxy_upstream *up = ctx;
    proxy_forward_failed(up->exchange, PROXY_ATTEMPT_NO_CONNECT);
}

bool
proxy_carrier_may(const struct config_cluster *config)
{
    return config->protocol == CONFIG_PROTOCOL_AUTO ? config->tls.enabled
                                                    : config->protocol != CONFIG_PROTOCOL_HTTP1;
}

struct proxy_upstream *
proxy_carrier_acquire(struct proxy_pool *pool, struct proxy_exchange *x)
{
    const struct config_cluster *config = config_of(x);
    struct proxy_carrier *h2;
    struct proxy_upstream *leader;
    x->http1_only = false;
    if (!proxy_carrier_may(config))
        return NULL;
    bool told = pool->http1_until_us > loop_now_us(pool->worker->loop);
    if (told && config->protocol == CONFIG_PROTOCOL_AUTO) { /* RFC 9113 section 7 */
        x->http1_only = true;
        return NULL;
    }
    bool unfit = takes_no_connect(pool, x);
    if (unfit && config->protocol == CONFIG_PROTOCOL_AUTO) {
        x->http1_only = true; /* there is another way */
        return NULL;
    }
    look(pool, x, &h2, &leader);
    if (x->orphaned_count >= ORPHANED_MAX)
        leader = NULL; /* it makes one of its own */
    if (!unfit && !h2 && !leader)
        return NULL;
    struct proxy_upstream *up = proxy_lane_new(pool, x);
    if (!up)
        return NULL;
    if (unfit)
        loop_defer(pool->worker->loop, &up->secured_task, on_unfit, up);
    else if (h2)
        attach(up, h2);
    else
        follow(up, leader);
    return up;
}

/* What it waited for has not become what it needs. */
static void
on_orphaned(void *ctx)
{
    struct proxy_upstream *up = ctx;
    struct proxy_exchange *x = up->exchange;
    struct proxy_pool *pool = up->pool;
    x->up = proxy_carrier_acquire(pool, x);
    if (!x->up)
        x->up = proxy_upstream_connect(pool, x, x->cluster->view->config->timeouts.connect_us);
    proxy_lane_close(up); /* the pool stays: the exchange counts on it */
    if (!x->up)
        proxy_forward_failed(x, PROXY_ATTEMPT_REFUSED);
    else if (x->up->state == PROXY_UPSTREAM_BUSY)
        proxy_forward_pump(x);
}

void
proxy_carrier_orphan(struct proxy_upstream *leader)
{
    while (!fr_list_empty(&leader->followers)) {
        struct fr_list *link = leader->followers.next;
        struct proxy_lane *lane = FR_CONTAINER(link, struct proxy_lane, link);
        unfollow(lane);
        if (lane->up->exchange->orphaned_count < ORPHANED_MAX)
            lane->up->exchange->orphaned_count++;
        loop_defer(leader->worker->loop, &lane->up->secured_task, on_orphaned, lane->up);
    }
}

/* Its SETTINGS came: now it is known how many may go on, and which. */
static void
promote(struct proxy_carrier *h2)
{
    struct proxy_upstream *carrier = h2->carrier;
    struct fr_list *end = &carrier->followers;
    if (!http2_client_settled(h2->client))
        return;
    h2->running = true;
    while (!fr_list_empty(end)) {
        struct proxy_lane *lane = FR_CONTAINER(end->next, struct proxy_lane, link);
        struct proxy_exchange *x = lane->up->exchange;
        if (h2->requests == 0 && room_of(h2, x) == 0 && !refuses_connect(h2, x)) {
            fail_followers(h2, why_useless(h2));
            break;
        }
        unfollow(lane);
        if (room_of(h2, x) > 0) {
            attach(lane->up, h2);
            proxy_forward_connected(x, 0);
        } else {
            loop_defer(carrier->worker->loop, &lane->up->secured_task, on_orphaned, lane->up);
        }
    }
    h2->running = false;
}

/* ---- bytes ---------------------------------------------------------------------------------- */

/* False: no memory. */
static bool
gather(struct proxy_carrier *h2)
{
    struct fr_view bytes;
    while (h2->out.len < PROXY_CARRIER_OUT_BYTES) {
        if (!http2_client_output(h2->client, &bytes))
            return false;
        if (bytes.len == 0)
            break;
        if (fr_buf_append_view(&h2->out, bytes) != FR_OK)
            return false;
    }
    return true;
}

static void
on_out_sent(void *ctx, int status)
{
    struct proxy_upstream *carrier = ctx;
    struct proxy_carrier *h2 = carrier->h2;
    fr_buf_clear(&h2->out);
    if (status == 0)
        proxy_carrier_wake(h2);
    else
        carrier->send_failed = true; /* what it has sent before tells, or its end does */
}

static void
flush(struct proxy_carrier *h2)
{
    struct proxy_upstream *carrier = h2->carrier;
    if (h2->out.len == 0 || loop_send_pending(&carrier->sock) || carrier->send_failed)
        return;
    struct iovec iov = {h2->out.data, h2->out.len};
    loop_send(&carrier->sock, &iov, 1, on_out_sent, carrier);
}

/* Tells what was noted, and gathers what is to go; what is sent may let more come of it. */
static bool
tell_and_gather(struct proxy_carrier *h2)
{
    bool fine = true, pending = loop_send_pending(&h2->carrier->sock);
    h2->running = true;
    do {
        while (!fr_list_empty(&h2->dirty)) {
            struct fr_list *link = h2->dirty.next;
            fr_list_remove(link);
            proxy_lane_tell(FR_CONTAINER(link, struct proxy_lane, dirty_link));
        }
        if (!pending)
            fine = gather(h2);
    } while (fine && !pending && !fr_list_empty(&h2->dirty) &&
             h2->out.len < PROXY_CARRIER_OUT_BYTES);
    h2->running = false;
    h2->broken |= http2_client_broken(h2->client);
    return fine;
}

static void
leave(struct proxy_carrier *h2)
{
    http2_client_goaway(h2->client);
    if (!loop_send_pending(&h2->carrier->sock) && gather(h2))
        flush(h2); /* it goes now, or the connection's end tells as well */
    h2_close(h2);
}

static void
without_streams(struct proxy_carrier *h2)
{
    struct proxy_upstream *carrier = h2->carrier;
    struct proxy_worker *worker = carrier->worker;
    bool shown = carrier->pool->shown > 0;
    if (carrier->follower_count > 0)
        return;
    if (h2->leaving || http2_client_leaving(h2->client) || !http2_client_settled(h2->client) ||
        !shown || worker->stopping || worker->draining || h2->keepalive_us <= 0)
        leave(h2);
    else if (carrier->due_us == 0)
        proxy_upstream_timer(carrier, h2->keepalive_us);
}

static void
on_task(void *ctx)
{
    struct proxy_carrier *h2 = ctx;
    if (!h2->broken)
        promote(h2);
    bool fine = tell_and_gather(h2);
    if (!fine || h2->broken) {
        flush(h2); /* a GOAWAY that says why */
        h2_break(h2, fine ? PROXY_ATTEMPT_H2_BROKEN : PROXY_ATTEMPT_OK);
        return;
    }
    flush(h2);
    if (h2->count == 0)
        without_streams(h2);
}

void
proxy_carrier_received(struct proxy_upstream *carrier, struct loop_buf *buf, int status)
{
    struct proxy_carrier *h2 = carrier->h2;
    struct proxy_worker *worker = carrier->worker;
    if (status <= 0) {
        carrier->alerted = status == -EPROTO;
        /* What came before it is told first. */
        if (tell_and_gather(h2))
            flush(h2);
        h2_break(h2, PROXY_ATTEMPT_OK);
        return;
    }
    cluster_count_add(&carrier->pool->stats->bytes_in, (uint64_t)status);
    h2->heard = true;
    h2->pinged = false;
    if (!h2->broken && !http2_client_receive(h2->client, fr_view_make(buf->data, buf->len),
                                             loop_now_us(worker->loop)))
        h2->leaving = h2->broken = true;
    loop_buf_give_back(buf);
    proxy_upstream_want(carrier);
    proxy_carrier_wake(h2);
}

/* ---- beginning and ending ------------------------------------------------------------------- */

bool
proxy_carrier_chosen(const struct proxy_upstream *up)
{
    if (!up->tls)
        return config_of(up->exchange)->protocol == CONFIG_PROTOCOL_H2C;
    return fr_view_is(tls_session_protocol(up->tls), "h2");
}

static void
feed_early(struct proxy_carrier *h2)
{
    struct proxy_input *in = &h2->carrier->in;
    struct fr_view view;
    while ((view = proxy_input_view(in)).len > 0) {
        if (!h2->broken && !http2_client_receive(h2->client, view, 0))
            h2->leaving = h2->broken = true;
        in->pos += (uint32_t)view.len;
        proxy_input_shift(in);
    }
}

void
proxy_carrier_begin(struct proxy_upstream *up)
{
    struct proxy_exchange *x = up->exchange;
    struct proxy_pool *pool = up->pool;
    struct proxy_carrier *h2 = h2_new(up);
    struct proxy_upstream *first = h2 ? proxy_lane_new(pool, x) : NULL;
    up->h2 = h2;
    if (!first) {
        if (h2) {
            http2_client_free(&h2->client);
            fr_buf_fini(&h2->out);
            fr_free(h2);
            up->h2 = NULL;
        }
        proxy_exchange_out_of_memory(x);
        return;
    }
    PROXY_COUNT(up->worker, member_h2_connections);
    pool->speaks_h2 = true;
    up->preface_len = 0;
    proxy_upstream_timer_stop(up);
    fr_list_remove(&up->link);
    fr_list_push_back(&pool->carriers, &up->link);
    up->state = PROXY_UPSTREAM_SHARED;
    up->sock.account = NULL;
    up->exchange = NULL;
    h2->keepalive_us = config_of(x)->timeouts.keepalive_us;
    count_idle(h2, 1);
    x->up = first;
    feed_early(h2);
    h2->running = true;
    if (room_of(h2, x) > 0) {
        attach(first, h2);
        proxy_forward_connected(x, 0);
    } else if (refuses_connect(h2, x) || (!http2_client_settled(h2->client) && !h2->leaving)) {
        follow(first, up); /* a WebSocket: whether it takes one its SETTINGS tell */
    } else {
        h2->leaving = true;
        proxy_forward_failed(x, why_useless(h2));
    }
    h2->running = false;
    proxy_upstream_want(up);
    proxy_carrier_wake(h2);
}

void
proxy_carrier_idle_over(struct proxy_upstream *carrier)
{
    if (carrier->h2->count == 0 && carrier->follower_count == 0)
        leave(carrier->h2);
}

void
proxy_carrier_close_idle(struct proxy_pool *pool)
{
    uint32_t left = pool->carriers_idle;
    struct fr_list *link = pool->carriers.next;
    while (left > 0) {
        struct proxy_upstream *carrier = FR_CONTAINER(link, struct proxy_upstream, link);
        struct proxy_carrier *h2 = carrier->h2;
        link = link->next;
        if (h2->count > 0)
            continue;
        left--;
        h2->leaving = true; /* in its task, or with followers, it sees to that itself */
        if (h2->running || carrier->follower_count > 0)
            proxy_carrier_wake(h2);
        else
            leave(h2); /* the last one may settle, and so free, the pool */
    }
}
