/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proxy_preface.c - PROXY headers: read in front of a client's first request, written in front of a
 * member's.
 *
 * May touch:  base, loop, config.
 * Limits:     LOOP_PREFACE_BYTES_MAX, within header_timeout_us.
 * Trusts:     headers of trusted-proxies only; others are not even read, their connections closed.
 * Cost:       of a listener without them: nothing. To a member: one getsockname a connection, which
 *             then serves one client connection only, as the header speaks for all that follows.
 */
#include "proxy/proxy_h2.h"

#include "loop/loop_preface.h"

#include <assert.h>
#include <sys/socket.h>

static_assert(sizeof(((struct proxy_upstream *)0)->preface) == LOOP_PREFACE_OUT_BYTES,
              "room for any");

bool
proxy_preface_allowed(const struct proxy_worker *worker, const struct loop_addr *peer)
{
    return loop_nets_have(worker->settings.trusted, worker->settings.trusted_count, peer);
}

/* What it says is in force for the connection; what follows it is HTTP. */
static void
preface_take(struct proxy_client *client, const struct loop_preface *preface)
{
    PROXY_COUNT(client->worker, proxy_headers);
    if (preface->kind == LOOP_PREFACE_ADDRESS)
        proxy_client_peer(client, &preface->source);
    client->spoken_for_unknown = preface->kind == LOOP_PREFACE_UNKNOWN;
    client->https = preface->tls || client->tls_next;
    proxy_trust_peer(client);
}

static enum loop_preface_step
preface_step(struct proxy_client *client, struct loop_preface *out)
{
    struct proxy_input *in = &client->in;
    struct fr_buf *gathered = &client->partial.buf;
    enum loop_preface_step step = LOOP_PREFACE_MORE;
    while (step == LOOP_PREFACE_MORE && in->buf[0]) {
        const char *words = NULL;
        size_t before = gathered->len;
        struct fr_view view = proxy_input_view(in);
        /* Whole in its first buffer, the ordinary case: read where it lies. */
        step = before > 0 ? LOOP_PREFACE_MORE : loop_preface_parse(view, out, &words);
        if (step == LOOP_PREFACE_MORE) {
            if (fr_buf_append_view(gathered, view) != FR_OK)
                return LOOP_PREFACE_BAD;
            if (before > 0)
                step = loop_preface_parse(fr_buf_view(gathered), out, &words);
        }
        in->pos += (uint32_t)(step == LOOP_PREFACE_DONE ? out->bytes - before : view.len);
        proxy_input_shift(in);
    }
    return step;
}

bool
proxy_preface_read(struct proxy_client *client)
{
    struct loop_preface preface;
    switch (preface_step(client, &preface)) {
    case LOOP_PREFACE_MORE:
        proxy_client_want(client);
        return false;
    case LOOP_PREFACE_BAD:
        PROXY_COUNT(client->worker, proxy_headers_bad);
        proxy_client_close(client);
        return false;
    case LOOP_PREFACE_DONE:
        break;
    }
    proxy_partial_clear(&client->partial);
    preface_take(client, &preface);
    client->state = PROXY_CLIENT_IDLE;
    struct tls_server *server = client->tls_next;
    client->tls_next = NULL;
    bool welcome = proxy_address_enter(client);
    if (!welcome)
        proxy_client_close(client);
    else if (server && proxy_tls_begin(client, server)) /* with what stands behind the header */
        proxy_client_want(client);
    bool http = welcome && !server;
    tls_server_unref(&server);
    return http;
}

/* ---- to members ----------------------------------------------------------------------------- */

uint64_t
proxy_preface_owner(const struct proxy_exchange *x)
{
    return x->cluster->view->config->send_proxy == CONFIG_SEND_PROXY_OFF ? 0 : x->client->serial;
}

void
proxy_preface_write(const struct proxy_exchange *x, struct proxy_upstream *up)
{
    const struct proxy_client *client = x->client;
    struct loop_addr here = {.len = sizeof(here.sa)};
    up->owner = proxy_preface_owner(x);
    if (up->owner == 0)
        return;
    int fd = client->stream ? proxy_stream_of(client)->h2->client->sock.fd : client->sock.fd;
    bool known = !client->spoken_for_unknown && getsockname(fd, &here.sa.any, &here.len) == 0;
    loop_addr_unmap(&here);
    up->preface_len = (uint32_t)loop_preface_write(false, known ? &client->peer : NULL,
                                                   known ? &here : NULL, up->preface);
}
