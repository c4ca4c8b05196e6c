/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proxy_upstream.c - connections to members: made, kept, taken again, closed.
 *
 * May touch:  base, loop, cluster, config.
 * Limits:     keepalive_max idle connections a worker and member; keepalive_us of idleness.
 * Order:      the connection used last is taken first, so that the others can grow old and go.
 * Trusts:     nothing: an idle connection has a receive posted, and whatever completes it (bytes,
 *             end, error) closes the connection. What came since the loop last asked the kernel is
 *             looked for before a connection is used again: it would be read as the answer to
 *             another client's request.
 * Cost:       one system call a reuse, for that.
 *
 *     CONNECTING -- connected --> BUSY -- keep --> IDLE -- reuse --> BUSY
 *         |                        |                |
 *         '------------------------+---- close -----'--> CLOSED --> free list
 */
#include "proxy/proxy_carrier.h"
#include "proxy/proxy_h2.h"

#include <errno.h>

void
proxy_pool_count(struct proxy_pool *pool)
{
    cluster_count_set(&pool->stats->connections, pool->connection_count);
    cluster_count_set(&pool->stats->idle_connections, pool->idle_count + pool->carriers_idle);
}

struct proxy_upstream *
proxy_upstream_new(struct proxy_worker *worker)
{
    size_t offset = offsetof(struct proxy_upstream, link);
    struct proxy_upstream *up = proxy_free_list_take(&worker->free_upstreams, offset);
    if (up)
        memset(up, 0, sizeof(*up));
    else
        up = fr_alloc(sizeof(*up));
    if (!up)
        return NULL;
    up->worker = worker;
    fr_list_init(&up->link);
    fr_list_init(&up->followers);
    fr_buf_init(&up->partial.buf, worker->http_limits.head_bytes_max + PROXY_KEPT_BUF_BYTES);
    up->magic = PROXY_UPSTREAM_MAGIC;
    return up;
}

void
proxy_upstream_free(struct proxy_upstream *up)
{
    struct proxy_worker *worker = up->worker;
    up->magic = 0;
    if (!proxy_free_list_give(&worker->free_upstreams, &up->link))
        fr_free(up);
}

static void
on_closed(void *ctx)
{
    struct proxy_upstream *up = ctx;
    struct proxy_worker *worker = up->worker;
    fr_insist(up->magic == PROXY_UPSTREAM_MAGIC);
    proxy_upstream_free(up);
    proxy_worker_sockets(worker, -1);
}

void
proxy_upstream_close(struct proxy_upstream *up)
{
    struct proxy_pool *pool = up->pool;
    if (up->lane) {
        proxy_lane_close(up);
        return;
    }
    fr_insist(up->magic == PROXY_UPSTREAM_MAGIC && up->state != PROXY_UPSTREAM_CLOSED);
    proxy_carrier_orphan(up);
    loop_timer_stop(&up->timer);
    loop_defer_cancel(&up->secured_task);
    proxy_input_clear(&up->in);
    proxy_partial_clear(&up->partial);
    fr_list_remove(&up->link);
    if (up->state == PROXY_UPSTREAM_IDLE)
        pool->idle_count--;
    up->state = PROXY_UPSTREAM_CLOSED;
    up->exchange = NULL;
    up->pool = NULL;
    pool->connection_count--;
    proxy_pool_count(pool);
    loop_close(&up->sock, on_closed, up);
    proxy_pool_settle(pool);
}

/* ---- receiving ---------------------------------------------------------------------------- */

static void
on_recv(void *ctx, struct loop_buf *buf, int status)
{
    struct proxy_upstream *up = ctx;
    fr_insist(up->magic == PROXY_UPSTREAM_MAGIC);
    if (up->state == PROXY_UPSTREAM_SHARED) {
        proxy_carrier_received(up, buf, status);
        return;
    }
    if (up->state == PROXY_UPSTREAM_CONNECTING) {
        proxy_secure_received(up, buf, status);
        return;
    }
    if (up->state == PROXY_UPSTREAM_IDLE) {
        /* An idle member has nothing to say: an end, or bytes that answer nothing. */
        loop_buf_give_back(buf);
        if (status > 0)
            proxy_fault(up->pool, PROXY_ATTEMPT_IDLE_BYTES);
        proxy_upstream_close(up);
        return;
    }
    if (status > 0) {
        cluster_count_add(&up->pool->stats->bytes_in, (uint64_t)status);
        up->response_bytes += (uint64_t)status;
        if (buf->account && buf->cap <= LOOP_BUF_SMALL_BYTES)
            PROXY_COUNT(up->worker, h2_held_small);
        proxy_input_push(&up->in, buf);
    } else {
        up->ended = true;
        /* The kernel tells of a reset once: when a send has heard of it, this looks like an end. */
        up->broken = status < 0 || up->send_failed;
        up->alerted = status == -EPROTO;
    }
    proxy_relay(up->exchange);
}

void
proxy_upstream_want(struct proxy_upstream *up)
{
    const struct proxy_input *in = &up->in;
    if (up->lane || up->ended || proxy_input_full(in) || loop_recv_pending(&up->sock))
        return;
    /* What was received is being sent, and there is no room for more beside it. */
    if (loop_account_full(up->sock.account) && in->buf[0] && proxy_input_view(in).len == 0)
        return;
    loop_recv(&up->sock, on_recv, up);
}

/* ---- time --------------------------------------------------------------------------------- */

static void
on_timer(void *ctx)
{
    struct proxy_upstream *up = ctx;
    fr_insist(up->magic == PROXY_UPSTREAM_MAGIC);
    int64_t left_us = up->due_us - loop_now_us(up->worker->loop);
    if (up->due_us == 0)
        return; /* nothing is waited for any more */
    if (left_us > 0)
        loop_timer_start(up->worker->loop, &up->timer, left_us, on_timer, up);
    else if (up->state == PROXY_UPSTREAM_IDLE)
        proxy_upstream_close(up);
    else if (up->state == PROXY_UPSTREAM_SHARED)
        proxy_carrier_idle_over(up);
    else
        proxy_forward_timeout(up->exchange);
}

void
proxy_upstream_timer(struct proxy_upstream *up, int64_t delay_us)
{
    /* A request moves this three times. A timer that runs out before is started again for the
     * rest, which costs less than to move it each time. */
    up->due_us = loop_now_us(up->worker->loop) + delay_us;
    if (!loop_timer_running(&up->timer) || up->timer.due_us > up->due_us)
        loop_timer_start(up->worker->loop, &up->timer, delay_us, on_timer, up);
}

void
proxy_upstream_timer_stop(struct proxy_upstream *up)
{
    up->due_us = 0;
}

/* ---- making, keeping, taking -------------------------------------------------------------- */

static void
on_connected(void *ctx, int status)
{
    struct proxy_upstream *up = ctx;
    fr_insist(up->magic == PROXY_UPSTREAM_MAGIC);
    if (status == 0 && up->exchange->cluster->view->config->tls.enabled) {
        proxy_secure(up);
        return;
    }
    if (status == 0 && proxy_carrier_chosen(up)) {
        proxy_carrier_begin(up);
        return;
    }
    if (status == 0)
        up->state = PROXY_UPSTREAM_BUSY;
    proxy_forward_connected(up->exchange, status);
}

struct proxy_upstream *
proxy_upstream_connect(struct proxy_pool *pool, struct proxy_exchange *x, int64_t timeout_us)
{
    struct proxy_worker *worker = pool->worker;
    struct proxy_upstream *up = proxy_upstream_new(worker);
    if (!up)
        return NULL;
    const struct loop_addr *addr = &pool->member->addr;
    enum fr_err err = loop_connect(&up->sock, worker->loop, addr, on_connected, up);
    /* Out of descriptors: a request that is here matters more than a client that may ask again. */
    if (err == FR_ERR_FULL && proxy_worker_reclaim(worker))
        err = loop_connect(&up->sock, worker->loop, addr, on_connected, up);
    if (err != FR_OK) {
        proxy_upstream_free(up);
        return NULL;
    }
    up->state = PROXY_UPSTREAM_CONNECTING;
    up->pool = pool;
    up->exchange = x;
    up->sock.account = proxy_exchange_account(x);
    up->http1_only = x->http1_only;
    proxy_preface_write(x, up);
    fr_list_push_back(&pool->busy, &up->link);
    pool->connection_count++;
    proxy_pool_count(pool);
    proxy_worker_sockets(worker, 1);
    PROXY_COUNT(worker, member_connects);
    proxy_upstream_timer(up, timeout_us);
    return up;
}

/* Clusters that share a member may ask different things of its certificate, or speak no TLS. */
static bool
may_carry(const struct proxy_upstream *up, const struct proxy_exchange *x)
{
    return up->owner == proxy_preface_owner(x) &&
           up->tls_client == x->cluster->view->config->tls.client;
}

/* The one used last that may carry x; stale ones on the way are closed. */
struct proxy_upstream *
proxy_upstream_reuse(struct proxy_pool *pool, const struct proxy_exchange *x)
{
    enum config_protocol protocol = x->cluster->view->config->protocol;
    if (protocol == CONFIG_PROTOCOL_H2 || protocol == CONFIG_PROTOCOL_H2C)
        return NULL;
    FR_LIST_EACH_SAFE(&pool->idle, link) {
        struct proxy_upstream *up = FR_CONTAINER(link, struct proxy_upstream, link);
        if (!may_carry(up, x))
            continue;
        enum loop_waiting waiting = loop_sock_waiting(&up->sock);
        if (waiting != LOOP_WAITING_NOTHING) {
            if (waiting == LOOP_WAITING_BYTES)
                proxy_fault(pool, PROXY_ATTEMPT_IDLE_BYTES);
            proxy_upstream_close(up);
            continue;
        }
        proxy_upstream_timer_stop(up);
        fr_list_remove(&up->link);
        fr_list_push_back(&pool->busy, &up->link);
        pool->idle_count--;
        up->state = PROXY_UPSTREAM_BUSY;
        up->sock.account = proxy_exchange_account(x);
        up->response_bytes = 0;
        proxy_pool_count(pool);
        PROXY_COUNT(pool->worker, member_reuses);
        return up;
    }
    return NULL;
}

void
proxy_upstream_keep(struct proxy_upstream *up, const struct config_cluster *config)
{
    struct proxy_pool *pool = up->pool;
    bool shown = pool->shown > 0;
    if (!shown || up->worker->stopping || up->worker->draining || up->ended ||
        pool->idle_count >= config->keepalive_max || config->timeouts.keepalive_us <= 0) {
        proxy_upstream_close(up);
        return;
    }
    fr_insist(!up->in.buf[0] && !loop_send_pending(&up->sock));
    up->state = PROXY_UPSTREAM_IDLE;
    up->sock.account = NULL;
    up->exchange = NULL;
    fr_list_remove(&up->link);
    fr_list_push_front(&pool->idle, &up->link);
    pool->idle_count++;
    proxy_pool_count(pool);
    proxy_upstream_timer(up, config->timeouts.keepalive_us);
    proxy_upstream_want(up);
}

void
proxy_pool_close_idle(struct proxy_pool *pool)
{
    bool carriers = pool->carriers_idle > 0;
    /* Closing the last one may settle, and so free, the pool. */
    for (uint32_t left = pool->idle_count; left > 0; left--)
        proxy_upstream_close(FR_CONTAINER(pool->idle.next, struct proxy_upstream, link));
    if (carriers)
        proxy_carrier_close_idle(pool);
}

/* ---- for tunnels -------------------------------------------------------------------------- */

void
proxy_upstream_send(struct proxy_upstream *up, struct iovec part, loop_send_fn fn, void *ctx)
{
    if (up->lane)
        proxy_lane_send_on(up, &part, false, fn, ctx);
    else
        loop_send(&up->sock, &part, 1, fn, ctx);
}

bool
proxy_upstream_sending(const struct proxy_upstream *up)
{
    return up->lane ? up->lane->fn != NULL : loop_send_pending(&up->sock);
}

static void
on_end_sent(void *ctx, int status)
{
    (void)ctx;
    (void)status; /* what is wrong the other direction tells */
}

void
proxy_upstream_end_sending(struct proxy_upstream *up)
{
    if (up->lane)
        proxy_lane_send_on(up, NULL, true, on_end_sent, NULL);
    else
        loop_shutdown_send(&up->sock);
}
