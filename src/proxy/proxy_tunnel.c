/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proxy_tunnel.c - behind a 101: bytes both ways, unread, until both sides or the clock end it.
 *
 * May touch:  base, loop, http, cluster, config.
 * Memory:     as for bodies: received buffers are sent from, two a direction at most.
 * Limits:     timeouts.tunnel of silence both ways, a side that takes nothing included.
 * Trusts:     a 101 only where an Upgrade went on, and only to a protocol that was in it. HTTP and
 *             TLS never go on: they would put requests past every rule of this room.
 * Follows:    RFC 9110 section 7.8, RFC 9112 section 9.7.
 */
#include "proxy/proxy_carrier.h"
#include "proxy/proxy_h2.h"

#include "http/http_websocket.h"

/* Without its version: "HTTP/2.0" is HTTP. */
static struct fr_view
protocol_name(struct fr_view protocol)
{
    struct fr_view rest = protocol, name = {0};
    (void)fr_view_split(&rest, '/',
                        &name); /* false only where nothing is left, and then it is "" */
    return name;
}

static bool
may_go_on(struct fr_view protocol)
{
    struct fr_view name = protocol_name(protocol);
    return http_is_token(name) && !fr_view_ieq(name, FR_VIEW("h2c")) &&
           !fr_view_ieq(name, FR_VIEW("h2")) && !fr_view_ieq(name, FR_VIEW("http")) &&
           !fr_view_ieq(name, FR_VIEW("tls"));
}

void
proxy_tunnel_offer(struct proxy_exchange *x, const struct http_head *request)
{
    /* A body would have to be over before the switch; nobody who upgrades sends one. */
    if (!request->upgrade || request->framing != HTTP_BODY_NONE)
        return;
    const struct http_field *field = http_head_find(request, HTTP_FIELD_UPGRADE);
    for (; field; field = http_head_next(request, field)) {
        struct fr_view rest = field->value, item;
        while (http_list_next(&rest, &item)) {
            size_t comma = x->upgrade_len ? 2 : 0;
            if (!may_go_on(item) || x->upgrade_len + comma + item.len > sizeof(x->upgrade))
                continue;
            memcpy(x->upgrade + x->upgrade_len, ", ", comma);
            memcpy(x->upgrade + x->upgrade_len + comma, item.ptr, item.len);
            x->upgrade_len += (uint32_t)(comma + item.len);
        }
    }
}

static bool
was_offered(const struct proxy_exchange *x, struct fr_view protocol)
{
    struct fr_view rest = fr_view_make(x->upgrade, x->upgrade_len), item;
    while (http_list_next(&rest, &item))
        if (fr_view_ieq(item, protocol))
            return true;
    return false;
}

/* The key of a WebSocket that a client asked for on a stream was made here, and nobody else looks
 * whether the member has read it (RFC 6455 section 4.1, RFC 8441 section 5). */
static bool
proves_key(const struct proxy_exchange *x, const struct http_head *response,
           struct fr_view switched)
{
    char expected[32];
    if (!x->client->stream || x->up->lane || !fr_view_ieq(switched, FR_VIEW("websocket")))
        return true;
    const struct http_field *accept =
        http_head_find_name(response, FR_VIEW("sec-websocket-accept"));
    http_websocket_accept(http_websocket_key(fr_buf_view(&x->up_head)), expected);
    return accept && !http_head_next(response, accept) &&
           fr_view_eq(accept->value, fr_view_of(expected));
}

static void
after_switch(struct proxy_exchange *x)
{
    struct proxy_client *client = x->client;
    proxy_tunnel_down(x);
    if (client->exchange == x) /* else it has ended already */
        proxy_tunnel_up(x);
}

bool
proxy_tunnel_begin(struct proxy_exchange *x, const struct http_head *response)
{
    const struct http_field *field = http_head_find(response, HTTP_FIELD_UPGRADE);
    if (x->upgrade_len == 0 || !response->upgrade || !x->request_sent ||
        http_head_next(response, field) || !was_offered(x, field->value))
        return false;
    if (!proves_key(x, response, field->value)) {
        proxy_forward_failed(x, PROXY_ATTEMPT_BAD_SWITCH);
        return true;
    }
    if (proxy_head_1xx(x, response) != FR_OK) {
        proxy_exchange_out_of_memory(x);
        return true;
    }
    PROXY_COUNT(x->worker, tunnels);
    int64_t took_us = loop_now_us(x->worker->loop) - x->sent_us;
    fr_hist_record(&x->pool->stats->latency, (uint64_t)took_us);
    proxy_forward_timed(x, took_us);
    proxy_partial_clear(&x->up->partial);
    proxy_input_shift(&x->up->in);
    x->status = 101;
    x->tunnel = x->head_ready = x->begun = true;
    x->keep_alive = x->response_keep = false;
    x->client_framing = HTTP_BODY_TO_CLOSE; /* what is cut is reset, so that it looks cut */
    proxy_upstream_timer(x->up, x->cluster->view->config->timeouts.tunnel_us);
    struct iovec iov = {x->down_head.data, x->down_head.len};
    proxy_exchange_send(x, &iov, 1, after_switch);
    return true;
}

static void
tunnel_end(struct proxy_exchange *x, bool proper)
{
    if (proper)
        x->client_framing = HTTP_BODY_NONE;
    proxy_forward_end(x, PROXY_ATTEMPT_OK);
    proxy_exchange_drop(x);
}

static void
on_up_sent(void *ctx, int status)
{
    struct proxy_exchange *x = ctx;
    fr_insist(x->magic == PROXY_EXCHANGE_MAGIC && x->up);
    if (status < 0) {
        tunnel_end(x, false);
        return;
    }
    cluster_count_add(&x->pool->stats->bytes_out, x->up_sending_bytes);
    proxy_input_shift(&x->client->in);
    proxy_tunnel_up(x);
}

void
proxy_tunnel_up(struct proxy_exchange *x)
{
    struct proxy_client *client = x->client;
    struct fr_view view = proxy_input_view(&client->in);
    if (!proxy_upstream_sending(x->up) && view.len > 0) {
        struct iovec iov = {(char *)(uintptr_t)view.ptr, view.len};
        client->in.pos += (uint32_t)view.len;
        x->up_sending_bytes = view.len;
        proxy_upstream_timer(x->up, x->cluster->view->config->timeouts.tunnel_us);
        proxy_upstream_send(x->up, iov, on_up_sent, x);
    } else if (!proxy_upstream_sending(x->up) && x->client_ended && !x->up_closed) {
        x->up_closed = true;
        if (x->down_closed) {
            tunnel_end(x, true);
            return;
        }
        proxy_upstream_end_sending(x->up);
    }
    if (!x->client_ended)
        proxy_client_want(client);
}

static void
after_down(struct proxy_exchange *x)
{
    proxy_input_shift(&x->up->in);
    proxy_tunnel_down(x);
}

void
proxy_tunnel_down(struct proxy_exchange *x)
{
    struct proxy_upstream *up = x->up;
    if (up->lane)
        proxy_lane_fill(up);
    struct fr_view view = proxy_input_view(&up->in);
    if (!proxy_client_sending(x->client) && view.len > 0) {
        struct iovec iov = {(char *)(uintptr_t)view.ptr, view.len};
        up->in.pos += (uint32_t)view.len;
        proxy_upstream_timer(up, x->cluster->view->config->timeouts.tunnel_us);
        proxy_exchange_send(x, &iov, 1, after_down);
    } else if (!proxy_client_sending(x->client) && up->ended && !x->down_closed) {
        x->down_closed = true;
        if (up->broken || x->up_closed) {
            tunnel_end(x, !up->broken);
            return;
        }
        if (x->client->stream)
            proxy_stream_finish(x);
        else
            loop_shutdown_send(&x->client->sock);
    }
    proxy_upstream_want(up);
}

void
proxy_tunnel_timeout(struct proxy_exchange *x)
{
    PROXY_COUNT(x->worker, tunnel_timeouts);
    tunnel_end(x, true);
}
