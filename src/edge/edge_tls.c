/* SPDX-License-Identifier: Apache-2.0 */
/*
 * edge_tls.c - the listeners' certificates: read, watched, replaced, warned of.
 *
 * Files are looked at again and again rather than watched by inotify: what replaces certificates
 * often moves a symbolic link two folders up. Connections that stand keep what they began with.
 *
 * Threads:  control loop.
 */
#include "edge/edge_priv.h"

#define POLL_US 2000000
#define WARN_BEFORE_S (14 * 86400LL)
#define WARN_AGAIN_US (86400 * 1000000LL)

enum fr_err
edge_tls_manner(struct edge *edge, const struct config_listen *listen, struct proxy_manner *out,
                char **out_why)
{
    static const int64_t defer_us[] = {
        [CONFIG_DEFER_AUTO] = LOOP_DEFER_WHEN_BUSY, [CONFIG_DEFER_1S] = FR_US_PER_S,
        [CONFIG_DEFER_3S] = 3 * FR_US_PER_S,        [CONFIG_DEFER_7S] = 7 * FR_US_PER_S,
        [CONFIG_DEFER_15S] = 15 * FR_US_PER_S,
    };
    char *why = NULL;
    *out = (struct proxy_manner){.preface = listen->proxy_protocol,
                                 .h2 = listen->http2,
                                 .defer_us = defer_us[listen->defer]};
    if (!listen->tls.enabled)
        return FR_OK;
    if (edge->tls.tickets == NULL)
        edge->tls.tickets = tls_tickets_new();
    enum fr_err err = edge_acme_placeholder(edge, &listen->tls, &why);
    if (err == FR_OK)
        err = config_tls_server(listen, edge->tls.tickets, &out->tls, &why);
    if (err == FR_OK)
        tls_server_challenge(out->tls, edge->tls.challenges);
    if (err != FR_OK)
        *out_why = fr_xprintf("listen %s: %s", listen->text, why);
    fr_free(why);
    return err;
}

/* ---- what the files look like --------------------------------------------------------------- */

static uint64_t
look_at_pair(uint64_t sum, const struct config_certificate *pair)
{
    return tls_files_look(tls_files_look(tls_files_look(sum, pair->certificate), pair->key),
                          pair->ocsp);
}

static uint64_t
look_at_all(const struct config *config)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < config->listen_count; i++) {
        const struct config_listen_tls *tls = &config->listen[i].tls;
        sum = tls_files_look(look_at_pair(sum, &tls->first), tls->client_ca);
        sum = tls_files_look(sum, tls->client_crl);
        for (size_t k = 0; k < tls->certificate_count; k++)
            sum = look_at_pair(sum, &tls->certificates[k]);
    }
    return sum;
}

/* ---- ends ----------------------------------------------------------------------------------- */

static void
warn_of_ends(struct edge *edge)
{
    int64_t now_s = loop_wall_us(edge->loop) / FR_US_PER_S;
    edge->tls.warned_at_us = loop_now_us(edge->loop);
    for (size_t i = 0; i < edge->listener_count; i++) {
        const struct tls_server *server = edge->listeners[i].manner.tls;
        if (server)
            tls_revocations_warn("edge", tls_server_revocations(server), now_s);
        for (size_t k = 0; server && k < tls_server_certificate_count(server); k++) {
            int64_t left_s = tls_server_certificate_ends_s(server, k) - now_s;
            if (left_s < WARN_BEFORE_S)
                fr_log(FR_LOG_WARN, "edge",
                       left_s < 0 ? "a certificate has ended" : "a certificate ends soon",
                       FR_S("file", tls_server_certificate_name(server, k)),
                       FR_I("seconds-left", left_s));
        }
    }
}

/* ---- rounds --------------------------------------------------------------------------------- */

static void
on_rotate(void *ctx)
{
    struct edge *edge = ctx;
    tls_tickets_rotate(edge->tls.tickets);
    loop_timer_start(edge->loop, &edge->tls.rotate_timer, TLS_TICKET_ROTATE_US, on_rotate, edge);
}

static void
on_poll(void *ctx)
{
    struct edge *edge = ctx;
    char *why = NULL;
    if (look_at_all(edge->config) == edge->tls.files) {
        if (loop_now_us(edge->loop) - edge->tls.warned_at_us > WARN_AGAIN_US)
            warn_of_ends(edge);
        loop_timer_start(edge->loop, &edge->tls.poll_timer, POLL_US, on_poll, edge);
        return;
    }
    if (edge_listen_sync(edge, edge->config, &why) != FR_OK) {
        edge->tls.reloads_failed++;
        fr_log(FR_LOG_ERROR, "edge", "certificates changed and are refused, the old ones stay",
               FR_S("why", why));
        loop_timer_start(edge->loop, &edge->tls.poll_timer, POLL_US, on_poll, edge);
    }
    fr_free(why);
}

void
edge_tls_look_soon(struct edge *edge)
{
    if (loop_timer_running(&edge->tls.poll_timer))
        loop_timer_start(edge->loop, &edge->tls.poll_timer, 0, on_poll, edge);
}

bool
edge_tls_look(struct edge *edge, const struct config *config)
{
    uint64_t in_force = look_at_all(edge->config);
    bool replaces = edge->tls.tickets != NULL && in_force != edge->tls.files;
    edge->tls.files = config == edge->config ? in_force : look_at_all(config);
    return replaces;
}

void
edge_tls_replaced(struct edge *edge)
{
    edge->tls.reloads++;
    fr_log(FR_LOG_INFO, "edge", "certificates replaced");
}

void
edge_tls_watch(struct edge *edge)
{
    if (edge->tls.tickets == NULL)
        return; /* no listener ever spoke TLS */
    loop_timer_start(edge->loop, &edge->tls.poll_timer, POLL_US, on_poll, edge);
    if (!loop_timer_running(&edge->tls.rotate_timer))
        loop_timer_start(edge->loop, &edge->tls.rotate_timer, TLS_TICKET_ROTATE_US, on_rotate,
                         edge);
    warn_of_ends(edge);
}

void
edge_tls_stop(struct edge *edge)
{
    loop_timer_stop(&edge->tls.poll_timer);
    loop_timer_stop(&edge->tls.rotate_timer);
}
