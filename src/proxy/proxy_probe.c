/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proxy_probe.c - a member that is left out of the choice and takes no connections is back in as
 * soon as it takes one, and no request is spent on finding out.
 *
 * May touch:  base, loop, cluster.
 * Threads:    the worker's own: each worker leaves out by what it met itself, and looks itself.
 * Cost:       a connection each PROXY_PROBE_US while the member is left out, with nothing sent.
 * Limits:     ends with the ejection; begins again with the next.
 *
 * What a member that connects but answers badly is worth no connection can tell: it stays out for
 * its time, unless active checks say that it is well again, or until it has been gone: one that
 * dies is often left out for what it broke off, before anybody is refused a connection.
 */
#include "proxy/proxy_trouble.h"

static void probe(void *ctx);

static bool
left_out(const struct proxy_pool *pool)
{
    const struct proxy_worker *worker = pool->worker;
    return worker->judgements[pool->member->slot].ejected_until_us > loop_now_us(worker->loop);
}

static void
on_closed(void *ctx)
{
    struct proxy_pool *pool = ctx;
    struct proxy_worker *worker = pool->worker;
    bool again = pool->shown > 0 && !worker->stopping && left_out(pool);
    pool->probing = false;
    pool->connection_count--;
    if (again)
        loop_timer_start(worker->loop, &pool->trouble->probe_timer, PROXY_PROBE_US, probe, pool);
    proxy_pool_settle(pool); /* may be its end */
    proxy_worker_sockets(worker, -1);
}

static void
probe_end(struct proxy_pool *pool)
{
    loop_timer_stop(&pool->trouble->probe_timer);
    if (pool->trouble->probe_sock.fd >= 0)
        loop_close(&pool->trouble->probe_sock, on_closed, pool);
}

static void
on_timeout(void *ctx)
{
    struct proxy_pool *pool = ctx;
    pool->probe_gone = true;
    probe_end(pool);
}

static void
on_connected(void *ctx, int status)
{
    struct proxy_pool *pool = ctx;
    if (status != 0) {
        pool->probe_gone = true;
    } else if (pool->probe_gone) {
        struct cluster_judgement *judgement = &pool->worker->judgements[pool->member->slot];
        judgement->ejected_until_us = 0;
        judgement->failures_in_row = 0;
        PROXY_COUNT(pool->worker, member_returns);
    }
    probe_end(pool);
}

static void
probe(void *ctx)
{
    struct proxy_pool *pool = ctx;
    struct proxy_worker *worker = pool->worker;
    if (!left_out(pool))
        return;
    if (loop_connect(&pool->trouble->probe_sock, worker->loop, &pool->member->addr, on_connected,
                     pool)) {
        pool->probe_gone = true;
        loop_timer_start(worker->loop, &pool->trouble->probe_timer, PROXY_PROBE_US, probe, pool);
        return;
    }
    pool->probing = true;
    pool->connection_count++;
    proxy_worker_sockets(worker, 1);
    PROXY_COUNT(worker, member_probes);
    loop_timer_start(worker->loop, &pool->trouble->probe_timer, pool->trouble->probe_timeout_us,
                     on_timeout, pool);
}

void
proxy_probe_start(struct proxy_pool *pool, int64_t timeout_us, bool gone)
{
    struct proxy_trouble *trouble = proxy_pool_trouble(pool);
    if (!trouble)
        return; /* it stays out for its time */
    trouble->probe_timeout_us = timeout_us;
    pool->probe_gone = gone;
    if (!pool->probing && !loop_timer_running(&trouble->probe_timer))
        loop_timer_start(pool->worker->loop, &trouble->probe_timer, gone ? PROXY_PROBE_US : 0,
                         probe, pool);
}

void
proxy_probe_stop(struct proxy_pool *pool)
{
    if (pool->probing)
        probe_end(pool);
    else if (pool->trouble)
        loop_timer_stop(&pool->trouble->probe_timer);
}
