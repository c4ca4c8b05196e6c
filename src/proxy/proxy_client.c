/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proxy_client.c - one client connection: heads out of its bytes, one exchange after the other.
 *
 * May touch:  base, loop, http.
 * Limits:     header_timeout_us for a head, client_idle_us between requests, proxy_pace.c's rates,
 *             requests_per_connection, two receive buffers of input (pipelined requests wait there
 *             and, behind them, in the kernel).
 * Follows:    RFC 9112 section 9.
 *
 *     IDLE -- bytes --> HEAD -- whole head --> BUSY -- reply, keep-alive --> IDLE
 *       |                |                      |
 *       '------ close ---+---- answered, close -'--> LINGER --> CLOSED --> free list
 */
#include "proxy/proxy_h2.h"

#include <errno.h>
#include <unistd.h>

static void on_recv(void *ctx, struct loop_buf *buf, int status);
static void process(struct proxy_client *client);

/* ---- life --------------------------------------------------------------------------------- */

static void
on_closed(void *ctx)
{
    struct proxy_client *client = ctx;
    struct proxy_worker *worker = client->worker;
    fr_insist(client->magic == PROXY_CLIENT_MAGIC);
    client->magic = 0;
    if (!proxy_free_list_give(&worker->free_clients, &client->link))
        fr_free(client);
    proxy_worker_sockets(worker, -1);
}

/* Only a client that had an answer is idle: closing it breaks no promise (RFC 9112 section 9.3). */
static void
idle_begin(struct proxy_client *client)
{
    struct proxy_worker *worker = client->worker;
    fr_list_push_back(&worker->idle_clients, &client->idle_link);
    if (worker->client_count > worker->limits.connections)
        (void)proxy_worker_reclaim(worker); /* may be this one; if it is none, all are busy */
    else
        proxy_worker_pause(worker);
}

static void
idle_end(struct proxy_client *client)
{
    fr_list_remove(&client->idle_link);
    proxy_pace_moved(client, &client->reading);
    proxy_worker_pause(client->worker);
}

void
proxy_client_idle(struct proxy_client *client, bool idle)
{
    if (idle)
        idle_begin(client);
    else
        idle_end(client);
}

static void
client_end(struct proxy_client *client, bool reset)
{
    struct proxy_worker *worker = client->worker;
    fr_insist(client->magic == PROXY_CLIENT_MAGIC && client->state != PROXY_CLIENT_CLOSED);
    fr_insist(!client->exchange);
    if (client->stream) {
        proxy_stream_over(client, false);
        return;
    }
    client->state = PROXY_CLIENT_CLOSED;
    proxy_address_leave(client);
    if (client->h2)
        proxy_h2_say_goodbye(client);
    client->tls = NULL;
    fr_free(client->certificate);
    client->certificate = NULL;
    tls_server_unref(&client->tls_next);
    loop_timer_stop(&client->timer);
    if (reset)
        loop_abort(&client->sock, on_closed, client);
    else
        loop_close(&client->sock, on_closed, client);
    if (client->h2)
        proxy_h2_free(client);
    proxy_input_clear(&client->in);
    proxy_partial_clear(&client->partial);
    fr_list_remove(&client->link);
    fr_list_remove(&client->idle_link);
    worker->client_count--;
    cluster_count_set(&worker->counters.connections_open, worker->client_count);
    proxy_worker_pause(worker);
    proxy_drain_check(worker);
}

void
proxy_client_close(struct proxy_client *client)
{
    client_end(client, false);
}

void
proxy_client_abort(struct proxy_client *client)
{
    client_end(client, true);
}

static void
on_timer(void *ctx)
{
    struct proxy_client *client = ctx;
    fr_insist(client->magic == PROXY_CLIENT_MAGIC);
    switch (client->state) {
    case PROXY_CLIENT_HEAD:
        PROXY_COUNT(client->worker, header_timeouts);
        proxy_exchange_refuse(client, 408, "the request's head took too long");
        break;
    case PROXY_CLIENT_BUSY:
        proxy_pace_judge(client->exchange);
        break;
    case PROXY_CLIENT_PREFACE:
        PROXY_COUNT(client->worker, proxy_header_timeouts);
        proxy_client_close(client);
        break;
    case PROXY_CLIENT_IDLE:
        proxy_pace_idle_judge(client);
        break;
    case PROXY_CLIENT_H2:
        proxy_h2_timer(client);
        break;
    case PROXY_CLIENT_LINGER:
        proxy_pace_linger_judge(client);
        break;
    case PROXY_CLIENT_CLOSED:
        break;
    }
}

void
proxy_client_timer(struct proxy_client *client, int64_t delay_us)
{
    loop_timer_start(client->worker->loop, &client->timer, delay_us, on_timer, client);
}

void
proxy_client_want(struct proxy_client *client)
{
    if (client->stream)
        proxy_stream_want(client);
    else if (!proxy_input_full(&client->in) && !loop_recv_pending(&client->sock))
        loop_recv(&client->sock, on_recv, client);
}

bool
proxy_client_sending(const struct proxy_client *client)
{
    if (client->sink)
        return loop_timer_running(&client->timer);
    return client->stream ? proxy_stream_sending(client) : loop_send_pending(&client->sock);
}

/* The answer is out and our half is closed. Closing the other half with bytes unread would reset
 * the connection, and the reset can overtake the answer (RFC 9112 section 9.6). */
void
proxy_client_linger(struct proxy_client *client)
{
    client->state = PROXY_CLIENT_LINGER;
    proxy_input_clear(&client->in);
    proxy_partial_clear(&client->partial);
    loop_shutdown_send(&client->sock);
    proxy_client_timer(client, PROXY_LINGER_US);
    proxy_client_want(client);
}

void
proxy_client_peer(struct proxy_client *client, const struct loop_addr *peer)
{
    char text[LOOP_ADDR_TEXT_BYTES] = "";
    client->peer = *peer;
    loop_addr_unmap(&client->peer); /* a dual-stack socket shows IPv4 in IPv6's clothes */
    if (peer->sa.any.sa_family != AF_UNIX)
        loop_addr_format_host(&client->peer, text);
    (void)fr_view_copy(fr_view_of(text), client->address, sizeof(client->address));
    client->address_len = (uint32_t)strlen(client->address);
    proxy_trust_peer(client);
}

static struct proxy_client *
client_new(struct proxy_worker *worker)
{
    size_t offset = offsetof(struct proxy_client, link);
    struct proxy_client *client = proxy_free_list_take(&worker->free_clients, offset);
    if (client)
        memset(client, 0, sizeof(*client));
    else
        client = fr_alloc(sizeof(*client));
    return client;
}

void
proxy_client_accept(void *ctx, int fd, const struct loop_addr *peer)
{
    const struct proxy_listener *listener = ctx;
    struct proxy_worker *worker = listener->worker;
    if (listener->manner.preface && !proxy_preface_allowed(worker, peer)) {
        PROXY_COUNT(worker, proxy_peers_refused);
        (void)close(fd); /* whoever it is cannot say in whose name it speaks */
        return;
    }
    if (worker->client_count >= worker->limits.connections)
        (void)proxy_worker_reclaim(worker); /* without effect: one past the limit, then none */
    struct proxy_client *client = client_new(worker);
    if (!client) {
        PROXY_COUNT(worker, memory_refusals);
        (void)close(fd); /* the client sees it closed; there is no memory to say more */
        return;
    }
    loop_sock_open(&client->sock, worker->loop, fd);
    if (listener->listener.defer_us > 0) {
        loop_sock_expect(&client->sock);
        PROXY_COUNT(worker, connections_deferred);
    }
    client->worker = worker;
    client->magic = PROXY_CLIENT_MAGIC;
    client->state = listener->manner.preface ? PROXY_CLIENT_PREFACE : PROXY_CLIENT_IDLE;
    client->may_h2 = listener->manner.h2;
    client->serial = ++worker->client_serial;
    fr_buf_init(&client->partial.buf, worker->http_limits.head_bytes_max + PROXY_KEPT_BUF_BYTES);
    proxy_client_peer(client, peer);
    fr_list_push_back(&worker->clients, &client->link);
    fr_list_init(&client->idle_link);
    worker->client_count++;
    proxy_worker_sockets(worker, 1);
    PROXY_COUNT(worker, connections_accepted);
    cluster_count_set(&worker->counters.connections_open, worker->client_count);
    proxy_worker_pause(worker);
    if (client->state != PROXY_CLIENT_PREFACE && !proxy_address_enter(client)) {
        proxy_client_close(client);
        return;
    }
    proxy_client_timer(client, worker->limits.header_timeout_us);
    if (listener->manner.tls && listener->manner.preface)
        client->tls_next = tls_server_ref(listener->manner.tls);
    else if (listener->manner.tls && !proxy_tls_begin(client, listener->manner.tls))
        return;
    proxy_client_want(client);
}

/* ---- bytes -------------------------------------------------------------------------------- */

static void
on_recv_lingering(struct proxy_client *client, struct loop_buf *buf, int status)
{
    loop_buf_give_back(buf);
    if (status > 0)
        client->linger_bytes += (uint32_t)status;
    if (status == 0 && proxy_pace_unread(client))
        return; /* it has said all, and still reads: its timer runs */
    if (status <= 0 || client->linger_bytes > PROXY_LINGER_BYTES_MAX)
        proxy_client_close(client);
    else
        proxy_client_want(client);
}

/* True: it does, or it may yet. */
static bool
begins_h2(struct proxy_client *client)
{
    struct fr_view view = proxy_input_view(&client->in);
    switch (proxy_h2_look(client)) {
    case PROXY_H2_NO:
        client->may_h2 = false;
        return false;
    case PROXY_H2_MORE: /* at most the preface's bytes: there is room */
        if (view.len > 0 && fr_buf_append_view(&client->partial.buf, view) != FR_OK) {
            PROXY_COUNT(client->worker, memory_refusals);
            proxy_client_close(client);
            return true;
        }
        client->in.pos += (uint32_t)view.len;
        proxy_input_shift(&client->in);
        proxy_client_want(client);
        return true;
    case PROXY_H2_YES:
        client->may_h2 = false;
        proxy_h2_begin(client);
        return true;
    }
    return false;
}

static void
on_recv(void *ctx, struct loop_buf *buf, int status)
{
    struct proxy_client *client = ctx;
    fr_insist(client->magic == PROXY_CLIENT_MAGIC);
    if (client->state == PROXY_CLIENT_LINGER) {
        on_recv_lingering(client, buf, status);
        return;
    }
    if (client->h2) {
        proxy_h2_received(client, buf, status);
        return;
    }
    if (status == 0 && client->exchange && client->exchange->tunnel) {
        client->exchange->client_ended = true; /* half closed: the member may still be talking */
        proxy_tunnel_up(client->exchange);
        return;
    }
    client->ended |= status == 0;
    /* What has not been decoded yet may be the rest of the request, or lack something. */
    if (status == 0 && client->exchange && (client->exchange->request_done || client->in.buf[0])) {
        proxy_exchange_half_closed(client->exchange);
        proxy_client_want(client); /* tells when it is gone altogether */
        return;
    }
    if (status == -ENOSPC || status == -ENOMEM) /* the kernel cannot tell of one more */
        PROXY_COUNT(client->worker, connections_refused);
    if (status <= 0) {
        if (client->exchange) {
            PROXY_COUNT(client->worker, client_aborts);
            proxy_exchange_drop(client->exchange);
        } else {
            proxy_client_close(client);
        }
        return;
    }
    cluster_count_add(&client->worker->counters.bytes_in, (uint64_t)status);
    proxy_input_push(&client->in, buf);
    if (client->state == PROXY_CLIENT_PREFACE && !proxy_preface_read(client))
        return;
    if (client->may_h2 && begins_h2(client))
        return;
    if (client->exchange)
        proxy_exchange_input(client->exchange, (size_t)status);
    else
        process(client);
}

void
proxy_count_refusal(struct proxy_worker *worker, enum http_limit limit)
{
    PROXY_COUNT(worker, bad_requests);
    switch (limit) {
    case HTTP_LIMIT_LINE:
        PROXY_COUNT(worker, request_lines_too_long);
        break;
    case HTTP_LIMIT_HEAD:
        PROXY_COUNT(worker, heads_too_long);
        break;
    case HTTP_LIMIT_FIELDS:
        PROXY_COUNT(worker, too_many_fields);
        break;
    case HTTP_LIMIT_NONE:
        break;
    }
}

/* Between two requests: looks for the next head in what has come. */
static void
process(struct proxy_client *client)
{
    struct proxy_worker *worker = client->worker;
    struct fr_view raw;
    struct http_err err;
    proxy_exchange_await(worker);
    enum http_step step = proxy_input_head(&client->in, &client->partial, http_request_parse,
                                           &worker->http_limits, &worker->request_head, &raw, &err);
    if (step != HTTP_MORE || client->partial.buf.len > 0)
        idle_end(client);
    if (step == HTTP_DONE) {
        client->state = PROXY_CLIENT_BUSY;
        client->requests++; /* its timer is left running: see proxy_pace_idle */
        proxy_exchange_begin(client, raw);
        if (client->ended && client->exchange)
            proxy_exchange_half_closed(client->exchange);
        return;
    }
    if (step == HTTP_BAD) {
        proxy_count_refusal(worker, err.limit);
        proxy_exchange_refuse(client, err.status, err.words);
        return;
    }
    if (client->ended) {
        proxy_client_close(client);
        return;
    }
    if (client->state == PROXY_CLIENT_IDLE && client->partial.buf.len > 0) {
        client->state = PROXY_CLIENT_HEAD;
        proxy_client_timer(client, worker->limits.header_timeout_us);
    }
    proxy_client_want(client);
}

void
proxy_client_next(struct proxy_client *client)
{
    struct proxy_worker *worker = client->worker;
    client->state = PROXY_CLIENT_IDLE;
    proxy_input_shift(&client->in);
    if (!client->in.buf[0] && (client->ended || worker->draining || worker->stopping)) {
        proxy_client_close(client);
        return;
    }
    if (client->in.buf[0]) {
        process(client);
    } else {
        proxy_pace_idle(client);
        proxy_client_want(client);
        idle_begin(client);
    }
}
