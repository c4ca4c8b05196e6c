/* SPDX-License-Identifier: Apache-2.0 */
/*
 * edge_stream.c - our end of the stream to the manager: reports out, requests in.
 *
 * Trusts:   the manager we connected to commands; nobody else can, because nobody connects to us.
 *           An epoch older than one we obeyed is a manager that was replaced: it is refused.
 * Threads:  control loop.
 */
#include "edge/edge_priv.h"

static void
on_opened(void *ctx, const struct wire_open *open)
{
    struct edge *edge = ctx;
    if (open->role != WIRE_ROLE_MANAGER) {
        stream_session_fail(edge->stream, "role", "only a manager commands an edge");
        return;
    }
    if (open->epoch < edge->manager_epoch) {
        fr_log(FR_LOG_ERROR, "edge", "manager refused: a newer one was obeyed already",
               FR_I("epoch", open->epoch), FR_I("obeyed", edge->manager_epoch));
        stream_session_fail(edge->stream, "stale-epoch", "a newer manager was obeyed already");
        return;
    }
    edge->manager_epoch = open->epoch;
    stream_session_set_epoch(edge->stream, open->epoch);
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

enum fr_err
edge_stream_start(struct edge *edge)
{
    const struct config *config = edge->config;
    if (config->manager.connect == NULL)
        return FR_OK;
    struct stream_options options = {
        .open = {.role = edge->role,
                 .id = fr_view_of(config->id),
                 .boot = fr_view_of(edge->boot)},
        .limits = wire_limits_default,
        .stanza_rate = config->stream.stanza_rate,
        .keepalive_us = config->stream.keepalive_us,
    };
    options.limits.stanza_bytes = config->stream.stanza_bytes;
    const struct stream_callbacks callbacks = {
        .opened = on_opened, .event = on_event, .ended = on_ended};
    return stream_session_connect(edge->loop, &config->manager.connect_addr, &options, &callbacks,
                                  edge, &edge->stream);
}
