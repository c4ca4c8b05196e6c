/* SPDX-License-Identifier: Apache-2.0 */
/*
 * edge_access.c - the control thread's side of the access log: comes when workers call, reads their
 * records, has them written.
 *
 * Threads:    control loop.
 * Cost:       a write holds what GATHER_US brought; nothing runs while nothing is asked.
 * When full:  while the sink takes nothing, records stay in the rings: workers drop and count.
 */
#include "edge/edge_access.h"

#include "edge/edge_priv.h"

#define GATHER_US (20 * FR_US_PER_MS)
#define RECORDS_A_ROUND 2048 /* of one worker, before the next one's turn and a write */

static void
on_timer(void *ctx)
{
    edge_access_round(ctx);
}

/* Some records of one worker as lines; true: there are more. */
static bool
read_worker(struct edge *edge, uint32_t worker)
{
    const struct proxy_log_record *record = NULL;
    int left = RECORDS_A_ROUND;
    while (left-- > 0 && edge_sink_has_room(edge->access_sink) &&
           (record = proxy_log_peek(edge->access_proxy, worker)) != NULL) {
        fr_buf_clear(&edge->access_line);
        if (edge_access_format(edge->config->access_log.format, record, &edge->access_line) ==
            FR_OK)
            edge_sink_add(edge->access_sink, fr_buf_view(&edge->access_line), record->wall_us);
        proxy_log_take(edge->access_proxy, worker, record);
    }
    return record != NULL;
}

static void
discard(struct edge *edge)
{
    const struct proxy_log_record *record;
    for (uint32_t i = 0; i < edge->worker_count; i++)
        while ((record = proxy_log_peek(edge->access_proxy, i)) != NULL)
            proxy_log_take(edge->access_proxy, i, record);
}

void
edge_access_round(struct edge *edge)
{
    bool more = false;
    if (edge->access_proxy == NULL)
        return;
    proxy_log_came(edge->access_proxy);
    if (edge->access_sink == NULL) {
        discard(edge);
        return;
    }
    for (uint32_t i = 0; i < edge->worker_count; i++)
        more = read_worker(edge, i) || more;
    bool written = edge_sink_write(edge->access_sink, loop_now_us(edge->loop));
    if (more || !written)
        loop_timer_start(edge->loop, &edge->access_timer, written ? 0 : GATHER_US, on_timer, edge);
}

static void
on_call(void *ctx, bool now)
{
    struct edge *edge = ctx;
    if (edge->access_ending || now)
        edge_access_round(edge);
    else if (!loop_timer_running(&edge->access_timer))
        loop_timer_start(edge->loop, &edge->access_timer, GATHER_US, on_timer, edge);
}

enum fr_err
edge_access_open(struct edge *edge, const struct config *config, struct edge_sink **out,
                 char **out_why)
{
    *out = NULL;
    if (edge->role != WIRE_ROLE_EDGE || config->access_log.to == NULL)
        return FR_OK;
    return edge_sink_new(&config->access_log, config->id, out, out_why);
}

void
edge_access_apply(struct edge *edge, struct edge_sink *take_sink)
{
    const struct config *config = edge->config;
    edge_sink_free(&edge->access_sink);
    edge->access_sink = take_sink;
    edge->access_proxy = edge->proxy;
    if (edge->proxy == NULL)
        return;
    const struct proxy_settings settings = {
        .trusted = config->trusted,
        .trusted_count = config->trusted_count,
        .purge_from = config->cache.purge_from,
        .purge_from_count = config->cache.purge_from_count,
        .forwarded = config->forwarded,
        .id_make = config->request_id.make,
        .id_respond = config->request_id.respond,
        .trace_make = config->traceparent == CONFIG_TRACE_MAKE,
        .log_fn = take_sink != NULL ? on_call : NULL,
        .log_ctx = edge,
        .log_bytes = config->access_log.buffer_bytes,
    };
    proxy_configure(edge->proxy, &settings);
}

void
edge_access_reopen(struct edge *edge)
{
    char *why = NULL;
    if (edge->access_sink == NULL)
        return;
    edge_access_round(edge); /* lines of before belong into the old file */
    if (edge_sink_reopen(edge->access_sink, &why) != FR_OK)
        fr_log(FR_LOG_ERROR, "edge", "access log not opened anew, the old one is kept",
               FR_S("why", why));
    else
        fr_log(FR_LOG_INFO, "edge", "access log opened anew",
               FR_S("to", edge->config->access_log.to));
    fr_free(why);
}

/* The workers' last records were read by proxy_free; a sink that is stuck gets no more time. */
void
edge_access_end(struct edge *edge)
{
    loop_timer_stop(&edge->access_timer);
    edge_sink_free(&edge->access_sink);
    fr_buf_fini(&edge->access_line);
}
