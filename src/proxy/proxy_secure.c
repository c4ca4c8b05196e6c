/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proxy_secure.c - TLS under connections to members: a PROXY header in the clear where one is sent,
 * then the handshake, then the exchange that waits for the connection.
 *
 * May touch:  base, loop, tls, cluster, config.
 * Limits:     the cluster's connect timeout, which runs on until the handshake is over.
 * Why so:     the exchange hears of the connection only when it is secure: of a request whose
 *             handshake fails nothing was sent, so that another member may be given it.
 */
#include "proxy/proxy_carrier.h"
#include "proxy/proxy_trouble.h"

static void
secure_failed(struct proxy_upstream *up, const char *why)
{
    proxy_fault_tls_why(up->pool, why);
    proxy_forward_failed(up->exchange, PROXY_ATTEMPT_TLS);
}

/* At the end of the turn: inside of the handshake's own call nothing can be sent. */
static void
on_secured(void *ctx)
{
    struct proxy_upstream *up = ctx;
    fr_insist(up->magic == PROXY_UPSTREAM_MAGIC && up->state == PROXY_UPSTREAM_CONNECTING);
    if (proxy_carrier_chosen(up)) {
        proxy_carrier_begin(up);
        return;
    }
    if (up->exchange->cluster->view->config->protocol == CONFIG_PROTOCOL_H2) {
        secure_failed(up, "the member chose no HTTP/2");
        return;
    }
    if (!up->http1_only)
        up->pool->speaks_h2 = false;
    proxy_carrier_orphan(up); /* it carries one request at a time after all */
    up->state = PROXY_UPSTREAM_BUSY;
    proxy_forward_connected(up->exchange, 0);
    if (up->state == PROXY_UPSTREAM_BUSY && up->in.buf[0])
        proxy_relay(up->exchange); /* it came with the handshake */
}

static void
on_handshake(void *ctx, enum tls_outcome outcome, const char *words)
{
    struct proxy_upstream *up = ctx;
    struct proxy_worker *worker = up->worker;
    fr_insist(up->magic == PROXY_UPSTREAM_MAGIC);
    if (outcome == TLS_FAILED) { /* the receive that it is part of fails, and that ends the try */
        proxy_fault_tls_why(up->pool, words);
        return;
    }
    PROXY_COUNT(worker, member_tls_handshakes);
    if (outcome == TLS_RESUMED)
        PROXY_COUNT(worker, member_tls_resumptions);
    /* In TLS 1.3 a member judges our certificate when for us the handshake is over. */
    proxy_fault_tls_why(up->pool,
                        "an alert behind the handshake, as of a member that wants a certificate");
    loop_defer(worker->loop, &up->secured_task, on_secured, up);
}

static void
handshake(struct proxy_upstream *up)
{
    const struct config_member_tls *tls = &up->exchange->cluster->view->config->tls;
    struct proxy_pool *pool = up->pool;
    struct tls_session *session;
    if (!tls->client) {
        secure_failed(up, tls->why ? tls->why : "its files were not read");
        return;
    }
    if (tls_connect(tls->client, &up->sock, pool->member->host, &pool->resume, on_handshake, up,
                    &session) != FR_OK) {
        PROXY_COUNT(up->worker, memory_refusals);
        secure_failed(up, "out of memory");
        return;
    }
    up->tls_client = tls->client;
    up->tls = session;
    if (up->http1_only)
        tls_session_http1_only(session);
    proxy_fault_tls_why(pool, "the member closed the connection");
    proxy_upstream_want(up);
}

static void
on_preface_sent(void *ctx, int status)
{
    struct proxy_upstream *up = ctx;
    fr_insist(up->magic == PROXY_UPSTREAM_MAGIC);
    if (status < 0) {
        secure_failed(up, "the member closed the connection");
        return;
    }
    cluster_count_add(&up->pool->stats->bytes_out, up->preface_len);
    up->preface_len = 0;
    handshake(up);
}

void
proxy_secure(struct proxy_upstream *up)
{
    if (up->preface_len == 0) {
        handshake(up);
        return;
    }
    struct iovec preface = {up->preface, up->preface_len};
    loop_send(&up->sock, &preface, 1, on_preface_sent, up);
}

void
proxy_secure_received(struct proxy_upstream *up, struct loop_buf *buf, int status)
{
    if (status > 0) {
        cluster_count_add(&up->pool->stats->bytes_in, (uint64_t)status);
        up->response_bytes += (uint64_t)status;
        proxy_input_push(&up->in, buf);
        return;
    }
    proxy_forward_failed(up->exchange, PROXY_ATTEMPT_TLS);
}
