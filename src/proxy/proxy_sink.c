/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proxy_sink.c - exchanges without a client: what they send goes nowhere, the cache keeps it.
 *
 * May touch:  base, loop, cache.
 * Life:       an exchange begins with a sink where what was answered stale is to be fetched anew,
 *             or comes to one when its client goes away while others wait for what it fetches.
 * Limits:     one for each flight: at most as many as targets are being fetched. The member's
 *             timeouts end one whose member is silent.
 * Memory:     a client's struct without a socket, from the clients' free list.
 *
 * A sink takes everything at once, but as any send it completes in a later turn: so a response is
 * relayed by the same code whether or not anybody reads it.
 */
#include "proxy/proxy_carrier.h"

static struct proxy_client *
sink_new(struct proxy_worker *worker)
{
    size_t offset = offsetof(struct proxy_client, link);
    struct proxy_client *sink = proxy_free_list_take(&worker->free_clients, offset);
    if (sink)
        memset(sink, 0, sizeof(*sink));
    else
        sink = fr_alloc(sizeof(*sink));
    if (!sink)
        return NULL;
    sink->worker = worker;
    sink->magic = PROXY_CLIENT_MAGIC;
    sink->sink = true;
    sink->state = PROXY_CLIENT_BUSY;
    fr_list_init(&sink->idle_link);
    fr_list_push_back(&worker->sinks, &sink->link);
    return sink;
}

void
proxy_sink_free(struct proxy_client *sink)
{
    struct proxy_worker *worker = sink->worker;
    fr_insist(sink->sink && !sink->exchange);
    loop_timer_stop(&sink->timer);
    fr_list_remove(&sink->link);
    sink->magic = 0;
    if (!proxy_free_list_give(&worker->free_clients, &sink->link))
        fr_free(sink);
}

/* Who the client is goes on to the member (Forwarded, PROXY headers). */
static void
take_identity(struct proxy_client *sink, const struct proxy_client *client)
{
    sink->peer = client->peer;
    sink->serial = client->serial;
    sink->address_len = client->address_len;
    memcpy(sink->address, client->address, sizeof(sink->address));
    sink->https = client->https;
    sink->spoken_for_unknown = client->spoken_for_unknown;
    sink->trusted = client->trusted;
    sink->trusted_by = client->trusted_by;
}

struct proxy_client *
proxy_sink_new(const struct proxy_client *client)
{
    struct proxy_client *sink = sink_new(client->worker);
    if (sink)
        take_identity(sink, client);
    return sink;
}

static void
on_absorbed(void *ctx)
{
    struct proxy_exchange *x = ((struct proxy_client *)ctx)->exchange;
    fr_insist(x && x->magic == PROXY_EXCHANGE_MAGIC);
    proxy_after_fn after = x->after;
    x->after = NULL;
    after(x);
}

void
proxy_sink_send(struct proxy_exchange *x, proxy_after_fn after)
{
    x->after = after;
    loop_timer_start(x->worker->loop, &x->client->timer, 0, on_absorbed, x->client);
}

/* The connection whose streams held this together goes; the sink takes at once. */
static void
leave_account(struct proxy_exchange *x)
{
    struct proxy_upstream *up = x->up;
    loop_buf_charge(x->tail, NULL);
    if (!up)
        return;
    loop_buf_charge(up->in.buf[0], NULL);
    loop_buf_charge(up->in.buf[1], NULL);
    up->sock.account = NULL;
    if (up->lane)
        proxy_lane_release(up);
}

bool
proxy_sink_take_over(struct proxy_exchange *x)
{
    struct proxy_client *client = x->client;
    if (client->sink || x->worker->stopping || !x->request_done)
        return false;
    bool wanted = x->flight ? cache_flight_wanted(x->flight) : cache_fill_wanted(x->filler);
    struct proxy_client *sink = wanted ? proxy_sink_new(client) : NULL;
    if (!sink)
        return false;
    proxy_note_end(x, PROXY_LOG_DROPPED);
    PROXY_COUNT(x->worker, requests);
    cluster_count_add(&x->worker->counters.requests_active, (uint64_t)-1);
    PROXY_COUNT(x->worker, cache_fetches);
    leave_account(x);
    client->exchange = NULL;
    x->client = sink;
    x->keep_alive = false;
    sink->exchange = x;
    if (x->after) /* a send is under way, or failed just now: its bytes go nowhere */
        proxy_sink_send(x, x->after);
    proxy_client_close(client);
    return true;
}
