/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proxy_h2.c - a client connection that speaks HTTP/2: its bytes to the session and back, its
 * clock, and how it ends.
 *
 * May touch:  base, loop, tls (what ALPN agreed on), http.
 * Life:       begun with the first bytes of a connection, ends with it.
 * Memory:     the session; a room of HTTP2_ROOM_BYTES while something is being sent.
 * Limits:     header_timeout_us for the preface and for each head, client_idle_us without a
 *             stream, requests_per_connection, the least rate of reading (proxy_pace.c), and those
 *             of http2_limits.c.
 * When full:  GOAWAY, then the connection lingers and is closed.
 * Cost:       one send for the answers to what one receive brought, up to the room's size: requests
 *             are answered before another connection is read, while their memory is in the cache.
 * Follows:    RFC 9113 sections 3.3, 3.4, 6.8 and 9.1.
 */
#include "proxy/proxy_h2.h"

#include "base/fr_check.h"

#define ROOM_REST_BYTES_MIN 2048 /* with less than this left a room is full */
#define SPARE_ROOMS_MAX 32

static void run(void *ctx);

/* ---- how it begins --------------------------------------------------------------------------- */

enum proxy_h2_look
proxy_h2_look(const struct proxy_client *client)
{
    struct fr_view preface = FR_VIEW(HTTP2_PREFACE);
    struct fr_view views[] = {fr_buf_view(&client->partial.buf), proxy_input_view(&client->in)};
    if (client->tls)
        return fr_view_is(tls_session_protocol(client->tls), "h2") ? PROXY_H2_YES : PROXY_H2_NO;
    for (size_t i = 0; i < 2; i++) {
        size_t bytes = views[i].len < preface.len ? views[i].len : preface.len;
        if (bytes > 0 && memcmp(views[i].ptr, preface.ptr, bytes) != 0)
            return PROXY_H2_NO;
        preface = fr_view_make(preface.ptr + bytes, preface.len - bytes);
    }
    return preface.len == 0 ? PROXY_H2_YES : PROXY_H2_MORE;
}

static struct http2_limits
limits_of(const struct proxy_worker *worker)
{
    return (struct http2_limits){
        .head = worker->http_limits,
        .streams = worker->limits.h2_streams,
        .stream_window_bytes = worker->limits.h2_stream_window,
        .connection_window_bytes = worker->limits.h2_connection_window,
        .resets = worker->limits.h2_resets,
        .idle_frames = worker->limits.h2_idle_frames,
    };
}

/* What has come already: in the partial, which held the preface's parts, and in the buffers. */
static void
take_early(struct proxy_client *client)
{
    struct proxy_input *in = &client->in;
    int64_t now_us = loop_now_us(client->worker->loop);
    http2_session_receive(client->h2->session, fr_buf_view(&client->partial.buf), now_us);
    proxy_partial_clear(&client->partial);
    while (in->buf[0]) {
        struct fr_view view = proxy_input_view(in);
        http2_session_receive(client->h2->session, view, now_us);
        in->pos += (uint32_t)view.len;
        proxy_input_shift(in);
    }
}

void
proxy_h2_begin(struct proxy_client *client)
{
    struct proxy_worker *worker = client->worker;
    struct http2_limits limits = limits_of(worker);
    struct proxy_h2 *h2 = fr_alloc(sizeof(*h2));
    if (!h2 || http2_session_new(&limits, &proxy_stream_handlers, h2, worker->split,
                                 &h2->session) != FR_OK) {
        fr_free(h2);
        PROXY_COUNT(worker, memory_refusals);
        proxy_client_close(client);
        return;
    }
    h2->client = client;
    h2->magic = PROXY_H2_MAGIC;
    fr_list_init(&h2->streams);
    fr_list_init(&h2->due);
    h2->held.bytes_max = PROXY_H2_HELD_BYTES_MAX;
    h2->unread.bytes_max = PROXY_H2_UNREAD_BYTES_MAX;
    h2->in_head = true; /* the preface, and the first head */
    client->h2 = h2;
    client->state = PROXY_CLIENT_H2;
    h2->deadline_us = loop_now_us(worker->loop) + worker->limits.header_timeout_us;
    proxy_client_timer(client, worker->limits.header_timeout_us);
    PROXY_COUNT(worker, h2_connections);
    take_early(client);
    proxy_client_want(client);
    proxy_h2_wake(h2);
}

/* ---- how it ends ----------------------------------------------------------------------------- */

static void
give_room(struct proxy_h2 *h2)
{
    struct proxy_worker *worker = h2->client->worker;
    char *room = h2->room;
    h2->room = NULL;
    if (!room)
        return;
    if (worker->free_rooms.count < SPARE_ROOMS_MAX &&
        proxy_free_list_give(&worker->free_rooms, (struct fr_list *)(void *)room))
        return;
    fr_free(room);
}

static char *
take_room(struct proxy_worker *worker)
{
    char *room = proxy_free_list_take(&worker->free_rooms, 0);
    return room ? room : fr_alloc(HTTP2_ROOM_BYTES);
}

/* Every exchange is dropped; what they leave behind no stream will send. */
static void
drop_streams(struct proxy_h2 *h2)
{
    FR_LIST_EACH_SAFE(&h2->streams, link) {
        struct proxy_stream *stream = FR_CONTAINER(link, struct proxy_stream, link);
        struct proxy_exchange *x = stream->client.exchange;
        if (x) {
            PROXY_COUNT(x->worker, client_aborts);
            proxy_exchange_drop(x);
        }
    }
}

static void
count_calm(struct proxy_h2 *h2)
{
    struct proxy_worker *worker = h2->client->worker;
    switch (http2_session_calm(h2->session)) {
    case HTTP2_CALM_NONE:
        return;
    case HTTP2_CALM_RESETS:
        PROXY_COUNT(worker, h2_calmed_resets);
        return;
    case HTTP2_CALM_FRAMES:
        PROXY_COUNT(worker, h2_calmed_frames);
        return;
    case HTTP2_CALM_HEADS:
        PROXY_COUNT(worker, h2_calmed_heads);
        return;
    case HTTP2_CALM_UNREAD:
        PROXY_COUNT(worker, h2_calmed_unread);
        return;
    case HTTP2_CALM_MEMORY:
        PROXY_COUNT(worker, memory_refusals);
        return;
    }
}

void
proxy_h2_say_goodbye(struct proxy_client *client)
{
    struct proxy_h2 *h2 = client->h2;
    drop_streams(h2);
    if (loop_send_pending(&client->sock) || (!h2->room && !(h2->room = take_room(client->worker))))
        return;
    http2_session_end(h2->session, HTTP2_NO_ERROR);
    size_t bytes = http2_session_fill(h2->session, h2->room, HTTP2_ROOM_BYTES);
    struct iovec iov = {h2->room, bytes};
    if (bytes > 0) /* what the kernel does not take at once is let go */
        loop_send(&client->sock, &iov, 1, NULL, NULL);
}

void
proxy_h2_free(struct proxy_client *client)
{
    struct proxy_h2 *h2 = client->h2;
    fr_insist(h2->magic == PROXY_H2_MAGIC);
    drop_streams(h2);
    count_calm(h2);
    FR_LIST_EACH_SAFE(&h2->streams, link)
        proxy_stream_orphan(FR_CONTAINER(link, struct proxy_stream, link));
    http2_session_free(&h2->session);
    loop_defer_cancel(&h2->task);
    loop_timer_stop(&h2->leave_timer);
    give_room(h2);
    h2->magic = 0;
    client->h2 = NULL;
    fr_free(h2);
}

/* Both sides have said their last: what is sent still has to arrive. */
static void
close_down(struct proxy_h2 *h2)
{
    struct proxy_client *client = h2->client;
    bool over = client->ended;
    proxy_h2_free(client);
    if (over)
        proxy_client_close(client);
    else
        proxy_client_linger(client);
}

/* ---- leaving --------------------------------------------------------------------------------- */

static void
on_leave(void *ctx)
{
    struct proxy_h2 *h2 = ctx;
    fr_insist(h2->magic == PROXY_H2_MAGIC);
    http2_session_goaway(h2->session);
    proxy_h2_wake(h2);
}

void
proxy_h2_drain(struct proxy_client *client)
{
    struct proxy_h2 *h2 = client->h2;
    if (h2->warned)
        return;
    h2->warned = true;
    http2_session_warn(h2->session);
    loop_timer_start(client->worker->loop, &h2->leave_timer, PROXY_H2_GOAWAY_US, on_leave, h2);
    proxy_h2_wake(h2);
}

/* ---- sending --------------------------------------------------------------------------------- */

static void
on_sent(void *ctx, int status)
{
    struct proxy_h2 *h2 = ctx;
    struct proxy_client *client = h2->client;
    fr_insist(h2->magic == PROXY_H2_MAGIC);
    if (status < 0) {
        proxy_client_abort(client);
        return;
    }
    proxy_pace_moved(client, &client->reading);
    give_room(h2);
    run(h2);
}

static void
work_due(struct proxy_h2 *h2)
{
    struct fr_list *link;
    while ((link = fr_list_pop_front(&h2->due)))
        proxy_stream_work(FR_CONTAINER(link, struct proxy_stream, due_link));
}

/* Fills one room with what there is, and what becomes of telling that it was taken. */
static size_t
fill(struct proxy_h2 *h2)
{
    size_t used = 0;
    for (;;) {
        size_t bytes = http2_session_fill(h2->session, h2->room + used, HTTP2_ROOM_BYTES - used);
        struct http2_stream *stream;
        used += bytes;
        while ((stream = http2_session_taken(h2->session)))
            proxy_stream_taken(stream);
        work_due(h2);
        if (bytes == 0 || HTTP2_ROOM_BYTES - used < ROOM_REST_BYTES_MIN)
            return used;
    }
}

static void
send_what_is_due(struct proxy_h2 *h2)
{
    struct proxy_client *client = h2->client;
    if (loop_send_pending(&client->sock) || !http2_session_wants(h2->session))
        return;
    if (!h2->room)
        h2->room = take_room(client->worker);
    if (!h2->room) {
        PROXY_COUNT(client->worker, memory_refusals);
        http2_session_end(h2->session, HTTP2_INTERNAL_ERROR);
        h2->broken = true;
        return;
    }
    size_t bytes = fill(h2);
    if (bytes == 0) {
        give_room(h2);
        return;
    }
    struct iovec iov = {h2->room, bytes};
    proxy_pace_wait(client, &client->reading);
    loop_send(&client->sock, &iov, 1, on_sent, h2);
}

/* ---- its clock ------------------------------------------------------------------------------- */

static void
set_deadline(struct proxy_h2 *h2, int64_t delay_us)
{
    h2->deadline_us = loop_now_us(h2->client->worker->loop) + delay_us;
    struct loop_timer *timer = &h2->client->timer;
    if (!loop_timer_running(timer) || timer->due_us > h2->deadline_us)
        proxy_client_timer(h2->client, delay_us);
}

/* Heads have a time limit each, and so has silence between two requests. */
static void
watch(struct proxy_h2 *h2)
{
    struct proxy_worker *worker = h2->client->worker;
    bool in_head = http2_session_in_head(h2->session);
    bool idle = http2_session_streams(h2->session) == 0 && !in_head;
    if (http2_session_requests(h2->session) == 0)
        return; /* from the beginning there is one */
    if (in_head && !h2->in_head)
        set_deadline(h2, worker->limits.header_timeout_us);
    else if (!in_head && h2->in_head)
        h2->deadline_us = 0;
    h2->in_head = in_head;
    if (idle && !h2->idle) {
        h2->idle = true;
        set_deadline(h2, worker->limits.client_idle_us);
        proxy_client_idle(h2->client, true); /* it may be closed by that */
    } else if (!idle && h2->idle) {
        h2->idle = false;
        if (!in_head)
            h2->deadline_us = 0;
        proxy_client_idle(h2->client, false);
    }
}

void
proxy_h2_timer(struct proxy_client *client)
{
    struct proxy_h2 *h2 = client->h2;
    int64_t now_us = loop_now_us(client->worker->loop);
    if (proxy_pace_stalled(client)) {
        proxy_client_abort(client);
        return;
    }
    if (h2->deadline_us != 0 && h2->deadline_us <= now_us) {
        if (h2->idle)
            PROXY_COUNT(client->worker, idle_timeouts);
        else
            PROXY_COUNT(client->worker, header_timeouts);
        h2->deadline_us = 0;
        http2_session_end(h2->session, HTTP2_NO_ERROR);
        proxy_h2_wake(h2);
    } else if (h2->deadline_us != 0) {
        proxy_client_timer(client, h2->deadline_us - now_us);
    }
    proxy_pace_arm(client);
}

/* ---- bytes ----------------------------------------------------------------------------------- */

/* Behind each receive and each send: what streams have to be told, then what there is to send. */
static void
run(void *ctx)
{
    struct proxy_h2 *h2 = ctx;
    struct proxy_client *client = h2->client;
    fr_insist(h2->magic == PROXY_H2_MAGIC);
    work_due(h2);
    send_what_is_due(h2);
    if (http2_session_calm(h2->session) == HTTP2_CALM_UNREAD) {
        proxy_client_abort(client); /* what is being sent may never be read, too */
        return;
    }
    if (!h2->warned &&
        http2_session_requests(h2->session) >= client->worker->limits.requests_per_connection) {
        PROXY_COUNT(client->worker, connections_used_up);
        proxy_h2_drain(client);
    } else if (!h2->warned && client->worker->draining) {
        proxy_h2_drain(client);
    }
    bool sending = loop_send_pending(&client->sock), wants = http2_session_wants(h2->session);
    bool gone = client->ended && http2_session_streams(h2->session) == 0;
    if (fr_list_empty(&h2->due) && (sending || !wants))
        loop_defer_cancel(&h2->task); /* all that it was asked for meanwhile is done */
    if (!sending && (h2->broken || http2_session_over(h2->session) || (gone && !wants))) {
        close_down(h2);
        return;
    }
    watch(h2);
}

void
proxy_h2_wake(struct proxy_h2 *h2)
{
    loop_defer(h2->client->worker->loop, &h2->task, run, h2);
}

void
proxy_h2_due(struct proxy_stream *stream)
{
    if (!fr_list_empty(&stream->due_link))
        return; /* it is in the list */
    fr_list_push_back(&stream->h2->due, &stream->due_link);
    proxy_h2_wake(stream->h2);
}

static void
half_closed(struct proxy_h2 *h2)
{
    h2->client->ended = true;
    FR_LIST_EACH(&h2->streams, link) {
        struct proxy_stream *stream = FR_CONTAINER(link, struct proxy_stream, link);
        if (stream->client.exchange)
            proxy_exchange_half_closed(stream->client.exchange);
    }
    proxy_client_want(h2->client); /* tells when it is gone altogether */
    proxy_h2_wake(h2);
}

void
proxy_h2_received(struct proxy_client *client, struct loop_buf *buf, int status)
{
    struct proxy_h2 *h2 = client->h2;
    if (status == 0 && !client->ended && http2_session_streams(h2->session) > 0) {
        half_closed(h2);
        return;
    }
    if (status <= 0) {
        client->ended = true;
        proxy_client_close(client);
        return;
    }
    cluster_count_add(&client->worker->counters.bytes_in, (uint64_t)status);
    http2_session_receive(h2->session, fr_view_make(buf->data, buf->len),
                          loop_now_us(client->worker->loop));
    loop_buf_give_back(buf);
    proxy_client_want(client);
    run(h2);
}
