/* SPDX-License-Identifier: Apache-2.0 */
/*
 * edge_stream.c - our end of the stream to the manager: reports out, requests in.
 *
 * Trusts:   the manager we connected to commands; nobody else can, because nobody connects to us.
 *           An epoch older than one we obeyed is a manager that was replaced: it is refused.
 * Threads:  control loop.
 */
#include "edge/edge_priv.h"

#include "base/fr_file.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* ---- the epoch ------------------------------------------------------------------------------ */

/* A restart must not make us forget whom we obeyed: the manager that was replaced may be there
 * still. Without the file, or with a damaged one, the first manager is believed. */
static void
epoch_read(struct edge *edge)
{
    struct fr_buf text;
    struct fr_view rest, line;
    uint64_t epoch = 0;
    char *path = fr_xprintf("%s/epoch", edge->config->state);
    fr_buf_init(&text, 64);
    if (fr_file_read(path, &text, NULL) == FR_OK) {
        rest = fr_buf_view(&text);
        if (fr_view_split(&rest, '\n', &line) && fr_view_u64(line, &epoch))
            edge->manager_epoch = epoch;
    }
    fr_buf_fini(&text);
    fr_free(path);
}

static void
epoch_obey(struct edge *edge, uint64_t epoch)
{
    char text[32];
    int error = 0;
    stream_session_set_epoch(edge->stream, epoch);
    if (epoch == edge->manager_epoch)
        return;
    edge->manager_epoch = epoch;
    char *path = fr_xprintf("%s/epoch", edge->config->state);
    int len = snprintf(text, sizeof(text), "%" PRIu64 "\n", epoch);
    if (fr_file_replace(path, fr_view_make(text, (size_t)len), 0600, &error) != FR_OK)
        fr_log(FR_LOG_WARN, "edge", "epoch not kept, a restart would forget it", FR_S("path", path),
               FR_S("error", strerror(error)));
    fr_free(path);
}

/* ---- the stream ----------------------------------------------------------------------------- */

static void
on_opened(void *ctx, const struct wire_open *open)
{
    struct edge *edge = ctx;
    if (open->role != WIRE_ROLE_MANAGER) {
        stream_session_fail(edge->stream, "role", "only a manager commands an edge");
        return;
    }
    if (open->epoch < edge->manager_epoch) {
        edge->managers_refused++;
        fr_log(FR_LOG_ERROR, "edge", "manager refused: a newer one was obeyed already",
               FR_I("epoch", open->epoch), FR_I("obeyed", edge->manager_epoch));
        stream_session_fail(edge->stream, "stale-epoch", "a newer manager was obeyed already");
        return;
    }
    epoch_obey(edge, open->epoch);
    fr_log(FR_LOG_INFO, "edge", "manager connected", FR_V("manager", open->id),
           FR_I("epoch", open->epoch));
    edge_report_start(edge);
}

static void
on_event(void *ctx, const struct wire_event *event)
{
    struct edge *edge = ctx;
    if (event->kind == WIRE_EVENT_RECONFIGURE)
        edge_reconfigure(edge, event->as.reconfigure);
    else
        stream_session_fail(edge->stream, "unexpected", "an edge takes reconfigure stanzas only");
}

static void
on_ended(void *ctx, const char *why)
{
    struct edge *edge = ctx;
    if (edge->stopping)
        return;
    fr_log(FR_LOG_WARN, "edge", "no stream to the manager, going on with what the ledger says",
           FR_S("why", why));
    /* Whoever followed still does: a server that they may use is not stopped behind their backs, it
     * waits until the manager is back. */
    if (edge->relief_step != 0)
        edge_set_relief(edge, 0); /* nobody would ever take it back */
}

static void
on_identity(void *ctx)
{
    struct edge *edge = ctx;
    stream_session_set_tls(edge->stream, edge->identity.client);
}

static struct tls_control_options
identity_options(const struct config *config)
{
    const struct config_control_tls *tls = &config->manager.tls;
    return (struct tls_control_options){.certificate = tls->certificate,
                                        .key = tls->key,
                                        .ca = tls->ca,
                                        .crl = tls->crl,
                                        .name = tls->name};
}

enum fr_err
edge_stream_reload(struct edge *edge, char **out_why)
{
    const struct tls_control_options options = identity_options(edge->config);
    return tls_identity_reload(&edge->identity, &options, out_why);
}

enum fr_err
edge_stream_start(struct edge *edge, char **out_why)
{
    const struct config *config = edge->config;
    if (config->manager.connect == NULL)
        return FR_OK;
    const struct tls_control_options control = identity_options(config);
    if (config->manager.tls.enabled && config->manager.connect_addr.sa.any.sa_family != AF_UNIX) {
        enum fr_err err = tls_identity_init(&edge->identity, edge->loop, "edge", &control, false,
                                            on_identity, edge, out_why);
        if (err != FR_OK)
            return err;
    }
    epoch_read(edge);
    struct stream_options options = {
        .open = {.role = edge->role,
                 .id = fr_view_of(config->id),
                 .epoch = edge->manager_epoch,
                 .boot = fr_view_of(edge->boot)},
        .limits = wire_limits_default,
        .stanza_rate = config->stream.stanza_rate,
        .keepalive_us = config->stream.keepalive_us,
        .tls = edge->identity.client,
    };
    options.limits.stanza_bytes = config->stream.stanza_bytes;
    const struct stream_callbacks callbacks = {
        .opened = on_opened, .event = on_event, .ended = on_ended};
    return stream_session_connect(edge->loop, &config->manager.connect_addr, &options, &callbacks,
                                  edge, &edge->stream);
}
