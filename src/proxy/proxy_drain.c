/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proxy_drain.c - leaving: of one member (watch, cut), and of the whole edge (drain).
 *
 * May touch:  base, loop, cluster.
 * Shape:      the control thread sends each worker a leg; the worker holds it until its condition
 *             is met and sends it back; when every leg is back the callback runs on the control
 *             loop. Messages of one sender arrive in order, so a leg always meets the snapshot that
 *             was published before it.
 */
#include "proxy/proxy_h2.h"

/* ---- watching a member ---------------------------------------------------------------------- */

struct proxy_watch;

struct proxy_watch_leg {
    struct loop_msg msg;
    struct proxy_watch *watch;
    struct proxy_worker *worker;
    struct fr_list link; /* in its pool's watches, while waiting */
};

struct proxy_watch {
    struct proxy *proxy;
    struct cluster_member *member; /* one reference */
    proxy_drained_fn fn;
    void *ctx;
    uint32_t waiting;
    struct proxy_watch_leg legs[];
};

static void
watch_leg_back(void *ctx)
{
    struct proxy_watch_leg *leg = ctx;
    struct proxy_watch *watch = leg->watch;
    if (--watch->waiting > 0)
        return;
    watch->fn(watch->ctx, watch->member);
    cluster_member_unref(&watch->member);
    fr_free(watch);
}

static void
watch_leg_home(struct proxy_watch_leg *leg)
{
    loop_post(proxy_control(leg->watch->proxy), &leg->msg, watch_leg_back, leg);
}

void
proxy_watch_settled(struct proxy_pool *pool)
{
    struct fr_list *link;
    while ((link = fr_list_pop_front(&pool->watches)))
        watch_leg_home(FR_CONTAINER(link, struct proxy_watch_leg, link));
}

static struct proxy_pool *
pool_of(struct proxy_worker *worker, const struct cluster_member *member)
{
    struct proxy_pool *pool = member->slot < worker->slot_cap ? worker->pools[member->slot] : NULL;
    return pool && pool->member == member ? pool : NULL;
}

static void
watch_leg_there(void *ctx)
{
    struct proxy_watch_leg *leg = ctx;
    struct proxy_pool *pool = pool_of(leg->worker, leg->watch->member);
    if (pool)
        fr_list_push_back(&pool->watches, &leg->link);
    else
        watch_leg_home(leg); /* nothing of it is left here */
}

void
proxy_watch_drained(struct proxy *proxy, struct cluster_member *member, proxy_drained_fn fn,
                    void *ctx)
{
    uint32_t count = proxy_worker_count(proxy);
    struct proxy_watch *watch = fr_xalloc(sizeof(*watch) + count * sizeof(watch->legs[0]));
    watch->proxy = proxy;
    watch->member = cluster_member_ref(member);
    watch->fn = fn;
    watch->ctx = ctx;
    watch->waiting = count;
    for (uint32_t i = 0; i < count; i++) {
        struct proxy_watch_leg *leg = &watch->legs[i];
        leg->watch = watch;
        leg->worker = proxy_worker_at(proxy, i);
        loop_post(leg->worker->loop, &leg->msg, watch_leg_there, leg);
    }
}

/* ---- cutting a member ----------------------------------------------------------------------- */

struct cut_leg {
    struct loop_msg msg;
    struct proxy_worker *worker;
    struct cluster_member *member; /* one reference */
};

static void
cut_leg_there(void *ctx)
{
    struct cut_leg *leg = ctx;
    struct proxy_pool *pool = pool_of(leg->worker, leg->member);
    /* A withdrawn exchange may be tried again, but not here: the snapshot shows the member no
     * more, unless it was put back since; then one pass is all there is to do. */
    for (uint32_t left = pool ? pool->in_flight : 0; left > 0; left--) {
        pool = pool_of(leg->worker, leg->member);
        if (!pool || fr_list_empty(&pool->busy))
            break;
        proxy_forward_withdraw(
            FR_CONTAINER(pool->busy.next, struct proxy_upstream, link)->exchange);
    }
    pool = pool_of(leg->worker, leg->member);
    if (pool)
        proxy_pool_close_idle(pool);
    cluster_member_unref(&leg->member);
    fr_free(leg);
}

void
proxy_cut(struct proxy *proxy, struct cluster_member *member)
{
    for (uint32_t i = 0; i < proxy_worker_count(proxy); i++) {
        struct cut_leg *leg = fr_xalloc(sizeof(*leg));
        leg->worker = proxy_worker_at(proxy, i);
        leg->member = cluster_member_ref(member);
        loop_post(leg->worker->loop, &leg->msg, cut_leg_there, leg);
    }
}

/* ---- draining the edge ---------------------------------------------------------------------- */

struct proxy_draining {
    struct proxy *proxy;
    uint32_t waiting;
    void (*fn)(void *ctx);
    void *ctx;
    struct proxy_drain_leg {
        struct loop_msg msg;
        struct proxy_draining *draining;
        struct proxy_worker *worker;
        int64_t deadline_us; /* from the start of draining */
    } legs[];
};

static void
drain_leg_back(void *ctx)
{
    struct proxy_drain_leg *leg = ctx;
    struct proxy_draining *draining = leg->draining;
    if (--draining->waiting > 0)
        return;
    draining->fn(draining->ctx);
    fr_free(draining);
}

void
proxy_drain_check(struct proxy_worker *worker)
{
    struct proxy_drain_leg *leg = worker->drain;
    if (!leg || worker->client_count > 0 || !fr_list_empty(&worker->listeners))
        return;
    worker->drain = NULL;
    loop_timer_stop(&worker->drain_timer);
    proxy_worker_close_idle(worker);
    loop_post(proxy_control(worker->proxy), &leg->msg, drain_leg_back, leg);
}

static void
close_clients(struct proxy_worker *worker, bool all)
{
    FR_LIST_EACH_SAFE(&worker->clients, link) {
        struct proxy_client *client = FR_CONTAINER(link, struct proxy_client, link);
        if (client->exchange) {
            if (all)
                proxy_exchange_drop(client->exchange);
        } else if (client->h2 && !all) {
            proxy_h2_drain(client);
        } else if (all || (client->state == PROXY_CLIENT_IDLE && client->requests > 0)) {
            /* One that has not sent its first request yet may be about to: it gets its answer. */
            proxy_client_close(client);
        }
    }
}

static void
on_drain_deadline(void *ctx)
{
    struct proxy_worker *worker = ctx;
    proxy_worker_unlisten_all(worker, true);
    close_clients(worker, true);
    proxy_drain_check(worker);
}

static void
drain_leg_there(void *ctx)
{
    struct proxy_drain_leg *leg = ctx;
    struct proxy_worker *worker = leg->worker;
    worker->draining = true;
    proxy_worker_unlisten_all(worker, false);
    close_clients(worker, false);
    proxy_worker_close_idle(worker);
    worker->drain = leg;
    loop_timer_start(worker->loop, &worker->drain_timer, leg->deadline_us, on_drain_deadline,
                     worker);
    proxy_drain_check(worker);
}

void
proxy_drain(struct proxy *proxy, int64_t deadline_us, void (*fn)(void *ctx), void *ctx)
{
    uint32_t count = proxy_worker_count(proxy);
    struct proxy_draining *draining =
        fr_xalloc(sizeof(*draining) + count * sizeof(draining->legs[0]));
    *draining = (struct proxy_draining){.proxy = proxy, .waiting = count, .fn = fn, .ctx = ctx};
    for (uint32_t i = 0; i < count; i++) {
        struct proxy_drain_leg *leg = &draining->legs[i];
        leg->draining = draining;
        leg->worker = proxy_worker_at(proxy, i);
        leg->deadline_us = deadline_us;
        loop_post(leg->worker->loop, &leg->msg, drain_leg_there, leg);
    }
}
