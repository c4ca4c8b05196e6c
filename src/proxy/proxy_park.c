/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proxy_park.c - requests that came while their cluster had no member wait until it has one.
 *
 * May touch:  base, loop, http, cluster, config.
 * For:        clusters that scale from 0 (scale.min), no others.
 * Life:       parked -> released (the snapshot that a worker adopts shows a member: in that very
 *             turn) | timed out | shown the page | gone (the client).
 * Demand:     the first of a turn tells the control thread, which has a server allocated.
 * Limits:     park.length requests and park.bytes of memory, a worker and cluster; park.wait for
 *             each, from its beginning on. Past them: 503 with Retry-After, or a stale response
 *             where one may stand in.
 * Memory:     what a parked request holds is counted at its highest: its heads, and what of
 *             a body may come before its client has to wait: two buffers, or a stream's window.
 */
#include "proxy/proxy_park.h"

#define PARK_RETRY_AFTER_S 5
#define PARK_REFRESH_S_MIN 1
#define PARK_BUF_BYTES ((size_t)16384) /* of one receive buffer */

static const char page_plain[] =
    "<!DOCTYPE html>\n"
    "<html lang=\"en\">\n"
    "<head><meta charset=\"utf-8\"><title>One moment</title></head>\n"
    "<body><p>One moment: the server is being started. This page loads anew by itself.</p></body>\n"
    "</html>\n";

bool
proxy_park_wants(const struct proxy_exchange *x)
{
    const struct config_cluster *config = x->cluster->view->config;
    return config->scale.enabled && config->scale.min == 0 && config->scale.from[0][0] != '\0' &&
           config->park.length > 0 && !x->worker->draining && !x->worker->stopping;
}

/* ---- telling that there is demand ----------------------------------------------------------- */

static void
on_demand(void *ctx)
{
    struct proxy_cluster_state *state = ctx;
    __atomic_store_n(&state->lot.demand_posted, false, __ATOMIC_RELEASE);
    proxy_tell_demand(state->worker->proxy, state->lot.slot);
}

static void
tell_demand(struct proxy_cluster_state *state)
{
    if (!__atomic_exchange_n(&state->lot.demand_posted, true, __ATOMIC_ACQ_REL))
        loop_post(proxy_control(state->worker->proxy), &state->lot.demand_msg, on_demand, state);
}

/* ---- answers -------------------------------------------------------------------------------- */

static void
refuse(struct proxy_exchange *x, const char *words)
{
    int status = 503;
    if (proxy_cached_rescues(x, &status))
        return;
    struct proxy_answer answer = {
        .status = status, .words = words, .retry_after_s = PARK_RETRY_AFTER_S};
    proxy_local_answer(x, &answer);
}

static void
show_page(struct proxy_exchange *x)
{
    const struct config_park *park = &x->cluster->view->config->park;
    struct fr_view body = fr_view_of(park->page_text ? park->page_text : page_plain);
    int64_t again_s = park->page_after_us / FR_US_PER_S;
    if (again_s < PARK_REFRESH_S_MIN)
        again_s = PARK_REFRESH_S_MIN;
    PROXY_COUNT(x->worker, park_pages);
    proxy_local_prepare(x, 503);
    enum fr_err err = proxy_answer_begin(x, 503);
    if (!err)
        err = fr_buf_printf(&x->down_head,
                            "Content-Type: text/html; charset=utf-8\r\nCache-Control: no-store\r\n"
                            "Retry-After: %d\r\nRefresh: %d\r\nContent-Length: %zu\r\n",
                            (int)again_s, (int)again_s, body.len);
    if (!err)
        err = proxy_answer_end(x);
    if (!err)
        err = fr_buf_append_view(&x->down_head, body); /* only GET is shown it */
    proxy_answer_send(x, err);
}

static void
on_park_timer(void *ctx)
{
    struct proxy_exchange *x = ctx;
    fr_insist(x->magic == PROXY_EXCHANGE_MAGIC && x->parked);
    bool page = x->wants_page;
    proxy_park_leave(x);
    if (page) {
        show_page(x);
        return;
    }
    PROXY_COUNT(x->worker, park_timeouts);
    refuse(x, "no member was ready in time: try again");
}

/* ---- in and out ----------------------------------------------------------------------------- */

static bool
accepts_html(const struct http_head *request)
{
    const struct http_field *field = http_head_find_name(request, FR_VIEW("accept"));
    for (; field; field = http_head_next(request, field)) {
        struct fr_view rest = field->value, item, type;
        while (http_list_next(&rest, &item))
            if (fr_view_split(&item, ';', &type) &&
                fr_view_ieq(fr_view_trim(type), FR_VIEW("text/html")))
                return true;
    }
    return false;
}

void
proxy_park_look(struct proxy_exchange *x, const struct http_head *request)
{
    const struct config_park *park = &x->cluster->view->config->park;
    x->wants_page = park->page_after_us > 0 && park->page_after_us < park->wait_us &&
                    x->method == HTTP_GET && !x->background && accepts_html(request);
}

/* What a client may send of a body that nobody takes: of a stream, up to its window. */
static size_t
body_held(const struct proxy_exchange *x)
{
    size_t most = x->client->stream ? x->worker->limits.h2_stream_window : 2 * PARK_BUF_BYTES;
    if (x->request_done)
        return 0;
    return x->request_framing == HTTP_BODY_LENGTH && x->client->stream && x->request_length < most
               ? (size_t)x->request_length
               : most;
}

static size_t
bytes_held(const struct proxy_exchange *x)
{
    return x->up_head.cap + x->raw_head.cap + x->down_head.cap + body_held(x);
}

void
proxy_park_enter(struct proxy_exchange *x)
{
    struct proxy_worker *worker = x->worker;
    struct proxy_cluster_state *state = x->cluster->state;
    const struct config_park *park = &x->cluster->view->config->park;
    size_t bytes = bytes_held(x);
    if (state->lot.count >= park->length || state->lot.bytes + bytes > park->bytes_max) {
        PROXY_COUNT(worker, park_refusals);
        refuse(x, "too many requests wait for a member: try again");
        return;
    }
    if (!state->lot.parked.next)
        fr_list_init(&state->lot.parked);
    if (state->lot.count == 0)
        fr_list_push_back(&worker->parking, &state->lot.link);
    x->parked = true;
    x->parked_bytes = bytes;
    fr_list_push_back(&state->lot.parked, &x->queue_link);
    state->lot.count++;
    state->lot.bytes += bytes;
    PROXY_COUNT(worker, parked);
    PROXY_COUNT(worker, parked_now);
    cluster_count_add(&state->counters.parked_now, 1);
    /* From its beginning on: who has waited for another one's fetch does not begin anew. */
    int64_t waited_us = loop_now_us(worker->loop) - x->asked_us;
    int64_t left_us = (x->wants_page ? park->page_after_us : park->wait_us) - waited_us;
    proxy_exchange_timer(x, &x->park_timer, left_us > 0 ? left_us : 0, on_park_timer);
    tell_demand(state);
}

void
proxy_park_leave(struct proxy_exchange *x)
{
    if (!x->parked)
        return;
    struct proxy_cluster_state *state = x->cluster->state;
    x->parked = false;
    loop_timer_stop(&x->park_timer);
    fr_list_remove(&x->queue_link);
    state->lot.count--;
    state->lot.bytes -= x->parked_bytes;
    if (state->lot.count == 0)
        fr_list_remove(&state->lot.link);
    cluster_count_add(&x->worker->counters.parked_now, (uint64_t)-1);
    cluster_count_add(&state->counters.parked_now, (uint64_t)-1);
}

/* Oldest first, until one finds no member. */
static void
release(struct proxy_cluster_state *state)
{
    while (state->lot.count > 0) {
        struct proxy_exchange *x =
            FR_CONTAINER(state->lot.parked.next, struct proxy_exchange, queue_link);
        if (!proxy_forward_unpark(x))
            return;
    }
}

void
proxy_park_release(struct proxy_worker *worker)
{
    struct fr_list waiting; /* those of now: a released client may have more requests */
    fr_list_init(&waiting);
    for (struct fr_list *node; (node = fr_list_pop_front(&worker->parking)) != NULL;)
        fr_list_push_back(&waiting, node);
    for (struct fr_list *node; (node = fr_list_pop_front(&waiting)) != NULL;) {
        fr_list_push_back(&worker->parking, node);
        release(FR_CONTAINER(node, struct proxy_cluster_state, lot.link));
    }
}
