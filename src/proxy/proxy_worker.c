/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proxy_worker.c - one worker: its thread, listeners, free lists, and its end.
 *
 * May touch:  base, loop, cluster, config.
 * Threads:    made and freed by the control thread, everything between on the worker's own.
 * Limits:     limits.connections client connections. At the limit each newcomer takes the place of
 *             the client that has been idle longest; with none idle the listeners pause and the
 *             kernel's backlog waits. Likewise when descriptors run out.
 */
#include "proxy/proxy_h2.h"

#include <sys/socket.h>
#include <unistd.h>

/* Beyond the time of a deferral, which the kernel's timers may run late and a client answers behind
 * its round trip. */
#define LEAVE_MORE_US 500000LL
#define BACKLOG_ACCEPTS_MAX 8192 /* taken from a backlog before its listener closes */

static void
free_list_init(struct proxy_free_list *list)
{
    fr_list_init(&list->items);
    list->count = 0;
}

void *
proxy_free_list_take(struct proxy_free_list *list, size_t link_offset)
{
    struct fr_list *link = fr_list_pop_front(&list->items);
    if (!link)
        return NULL;
    list->count--;
    return (char *)link - link_offset;
}

/* False: the list is long enough, the caller frees. */
bool
proxy_free_list_give(struct proxy_free_list *list, struct fr_list *link)
{
    if (list->count >= PROXY_FREE_MAX)
        return false;
    fr_list_push_front(&list->items, link); /* the one whose lines are warm is taken first */
    list->count++;
    return true;
}

/* ---- life --------------------------------------------------------------------------------- */

struct proxy_worker *
proxy_worker_new(struct proxy *proxy, uint32_t index)
{
    struct proxy_worker *worker = fr_xalloc_lines(sizeof(*worker));
    worker->proxy = proxy;
    worker->index = index;
    fr_list_init(&worker->clients);
    fr_list_init(&worker->sinks);
    fr_list_init(&worker->idle_clients);
    fr_list_init(&worker->listeners);
    free_list_init(&worker->free_clients);
    free_list_init(&worker->free_exchanges);
    free_list_init(&worker->free_upstreams);
    free_list_init(&worker->free_notes);
    free_list_init(&worker->free_streams);
    free_list_init(&worker->free_rooms);
    worker->split = fr_xalloc(sizeof(*worker->split));
    fr_list_init(&worker->parking);
    worker->settings.forwarded = CONFIG_FORWARDED_X;
    fr_rand_init_random(&worker->rand);
    worker->date_s = -1;
    return worker;
}

static void
free_exchange_items(struct proxy_worker *worker)
{
    struct proxy_exchange *x;
    size_t offset = offsetof(struct proxy_exchange, free_link);
    while ((x = proxy_free_list_take(&worker->free_exchanges, offset))) {
        fr_buf_fini(&x->up_head);
        fr_buf_fini(&x->down_head);
        fr_buf_fini(&x->raw_head);
        fr_free(x);
    }
}

void
proxy_worker_free(struct proxy_worker **worker)
{
    struct proxy_worker *w = *worker;
    *worker = NULL;
    if (!w)
        return;
    void *item;
    proxy_worker_unlisten_all(w, true); /* a worker whose thread never ran has only these */
    proxy_adopt_none(w);
    free_exchange_items(w);
    proxy_notes_free(w);
    proxy_settings_forget(w);
    while ((item = proxy_free_list_take(&w->free_clients, offsetof(struct proxy_client, link))))
        fr_free(item);
    while ((item = proxy_free_list_take(&w->free_upstreams, offsetof(struct proxy_upstream, link))))
        fr_free(item);
    while ((item = proxy_free_list_take(&w->free_streams, offsetof(struct proxy_stream, link)))) {
        fr_buf_fini(&((struct proxy_stream *)item)->head);
        fr_buf_fini(&((struct proxy_stream *)item)->lines);
        fr_free(item);
    }
    while ((item = proxy_free_list_take(&w->free_rooms, 0)))
        fr_free(item);
    fr_free(w->split);
    for (size_t i = 0; i < PROXY_CLUSTER_BLOCKS; i++) {
        for (size_t k = 0; w->cluster_blocks[i] && k < PROXY_CLUSTER_BLOCK; k++)
            cluster_prequal_free(&w->cluster_blocks[i][k].prequal);
        fr_free(w->cluster_blocks[i]);
    }
    fr_free(w->clusters);
    fr_free(w->pools);
    fr_free(w->judgements);
    fr_free(w->addresses);
    cache_reader_free(&w->cache_reader);
    loop_free(&w->loop);
    fr_free(w);
}

static void
on_cache_turn(void *ctx)
{
    struct proxy_worker *worker = ctx;
    cache_reader_turn(worker->cache_reader);
}

/* Any thread. */
void
proxy_worker_wake(void *ctx)
{
    struct proxy_worker *worker = ctx;
    loop_post(worker->loop, &worker->cache_msg, on_cache_turn, worker);
}

void *
proxy_worker_main(void *ctx)
{
    struct proxy_worker *worker = ctx;
    if (loop_run(worker->loop) != FR_OK)
        fr_check_failed("invariant", "the kernel waits for events", __FILE__, __LINE__);
    return NULL;
}

/* ---- the end ------------------------------------------------------------------------------ */

static void
stop_if_empty(struct proxy_worker *worker)
{
    if (worker->stopping && worker->socket_count == 0)
        loop_stop(worker->loop);
}

void
proxy_worker_sockets(struct proxy_worker *worker, int change)
{
    worker->socket_count += (uint32_t)change;
    stop_if_empty(worker);
}

void
proxy_worker_close_idle(struct proxy_worker *worker)
{
    for (size_t i = 0; i < worker->slot_cap; i++)
        if (worker->pools[i])
            proxy_pool_close_idle(worker->pools[i]);
}

void
proxy_worker_stop(void *ctx)
{
    struct proxy_worker *worker = ctx;
    worker->stopping = true;
    loop_timer_stop(&worker->drain_timer);
    proxy_worker_unlisten_all(worker, true);
    FR_LIST_EACH_SAFE(&worker->clients, link) {
        struct proxy_client *client = FR_CONTAINER(link, struct proxy_client, link);
        if (client->exchange)
            proxy_exchange_drop(client->exchange);
        else
            proxy_client_close(client);
    }
    FR_LIST_EACH_SAFE(&worker->sinks, link)
        proxy_exchange_drop(FR_CONTAINER(link, struct proxy_client, link)->exchange);
    for (size_t i = 0; i < worker->slot_cap; i++)
        if (worker->pools[i])
            proxy_probe_stop(worker->pools[i]);
    proxy_worker_close_idle(worker);
    stop_if_empty(worker);
}

/* ---- making room -------------------------------------------------------------------------- */

bool
proxy_worker_reclaim(struct proxy_worker *worker)
{
    int tries = 0;
    FR_LIST_EACH(&worker->idle_clients, link) {
        struct proxy_client *client = FR_CONTAINER(link, struct proxy_client, idle_link);
        /* A request that has come is answered, even if this turn has not seen it yet. */
        if (loop_sock_quiet(&client->sock)) {
            PROXY_COUNT(worker, connections_reclaimed);
            proxy_client_close(client);
            return true;
        }
        if (++tries == PROXY_RECLAIM_TRIES_MAX)
            break;
    }
    return false;
}

static bool
on_starved(void *ctx)
{
    struct proxy_listener *listener = ctx;
    return proxy_worker_reclaim(listener->worker);
}

/* ---- listeners ---------------------------------------------------------------------------- */

void
proxy_worker_listen(struct proxy_worker *worker, int fd, const struct proxy_manner *manner)
{
    struct proxy_listener *item = fr_xalloc(sizeof(*item));
    item->worker = worker;
    item->manner = *manner;
    (void)tls_server_ref(manner->tls);
    if (worker->draining || worker->stopping ||
        loop_listen(&item->listener, worker->loop, fd, proxy_client_accept, item) != FR_OK) {
        if (worker->draining || worker->stopping)
            (void)close(fd); /* nothing was accepted on it, so nothing is lost */
        tls_server_unref(&item->manner.tls);
        fr_free(item);
        return;
    }
    loop_listener_on_starved(&item->listener, on_starved);
    loop_listener_defer(&item->listener, manner->defer_us);
    fr_list_push_back(&worker->listeners, &item->link);
    loop_listener_pause(&item->listener, worker->paused);
}

/* Closing a listener resets what its backlog holds. Those clients were promised a connection by the
 * kernel, so they are taken first. */
static void
listener_free(struct proxy_listener *item)
{
    struct proxy_worker *worker = item->worker;
    for (int i = 0; i < BACKLOG_ACCEPTS_MAX && !worker->stopping; i++) {
        struct loop_addr peer = {.len = sizeof(peer.sa)};
        int fd = accept4(item->listener.fd, &peer.sa.any, &peer.len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0)
            break; /* empty, or out of descriptors: nothing more can be done for them */
        proxy_client_accept(item, fd, &peer);
    }
    loop_timer_stop(&item->leave_timer);
    loop_listener_close(&item->listener);
    tls_server_unref(&item->manner.tls);
    fr_list_remove(&item->link);
    fr_free(item);
}

static void
on_left(void *ctx)
{
    struct proxy_listener *item = ctx;
    struct proxy_worker *worker = item->worker;
    listener_free(item);
    proxy_drain_check(worker);
}

/* Silent connections that the kernel keeps would be reset with the listener, though their clients
 * have been told that they stand. So it goes on for as long as one may be kept. */
static void
listener_leave(struct proxy_listener *item)
{
    int64_t kept_us = loop_listener_kept_us(&item->listener);
    if (loop_timer_running(&item->leave_timer))
        return;
    if (kept_us == 0) {
        listener_free(item);
        return;
    }
    loop_listener_defer(&item->listener, 0);
    loop_timer_start(item->worker->loop, &item->leave_timer, kept_us + LEAVE_MORE_US, on_left,
                     item);
}

void
proxy_worker_listen_change(struct proxy_worker *worker, const struct loop_addr *bound,
                           const struct proxy_manner *manner)
{
    FR_LIST_EACH(&worker->listeners, link) {
        struct proxy_listener *item = FR_CONTAINER(link, struct proxy_listener, link);
        if (!loop_addr_equal(&item->listener.addr, bound) || loop_timer_running(&item->leave_timer))
            continue;
        if (item->manner.defer_us != manner->defer_us)
            loop_listener_defer(&item->listener, manner->defer_us);
        tls_server_unref(&item->manner.tls);
        item->manner = *manner;
        (void)tls_server_ref(manner->tls);
    }
}

void
proxy_worker_unlisten(struct proxy_worker *worker, const struct loop_addr *bound)
{
    FR_LIST_EACH_SAFE(&worker->listeners, link) {
        struct proxy_listener *item = FR_CONTAINER(link, struct proxy_listener, link);
        if (loop_addr_equal(&item->listener.addr, bound))
            listener_leave(item);
    }
}

void
proxy_worker_unlisten_all(struct proxy_worker *worker, bool at_once)
{
    FR_LIST_EACH_SAFE(&worker->listeners, link) {
        struct proxy_listener *item = FR_CONTAINER(link, struct proxy_listener, link);
        if (at_once)
            listener_free(item);
        else
            listener_leave(item);
    }
}

void
proxy_worker_pause(struct proxy_worker *worker)
{
    /* One past the limit is possible: a newcomer was taken, and every client that seemed idle had
     * sent something. */
    uint32_t limit = worker->limits.connections;
    bool full = worker->client_count > limit ||
                (worker->client_count == limit && fr_list_empty(&worker->idle_clients));
    if (full == worker->paused)
        return;
    worker->paused = full;
    FR_LIST_EACH(&worker->listeners, link)
        loop_listener_pause(&FR_CONTAINER(link, struct proxy_listener, link)->listener, full);
}

struct fr_view
proxy_worker_date(struct proxy_worker *worker)
{
    int64_t now_s = loop_wall_us(worker->loop) / FR_US_PER_S;
    if (now_s != worker->date_s) {
        http_date_format(now_s, worker->date);
        worker->date_s = now_s;
    }
    return fr_view_of(worker->date);
}
