/* SPDX-License-Identifier: Apache-2.0 */
/*
 * edge_cache_admin.c - the cache on the admin socket: what it holds, and purging it.
 *
 * Threads:  control loop.
 */
#include "edge/edge_priv.h"

#include <inttypes.h>
#include <stdio.h>

#define ANSWER_BYTES_MAX 4096
#define TEXT_BYTES_MAX 4097 /* as long as the stream takes it */

void
edge_admin_get_cache(void *ctx, struct admin_exchange *exchange,
                     const struct admin_request *request)
{
    struct edge *edge = ctx;
    struct cache_counters c;
    struct cache_purged purged;
    struct fr_buf out;
    (void)request; /* takes no parameters */
    if (edge->cache == NULL) {
        admin_answer_error(exchange, 404, "this edge has no cache");
        return;
    }
    cache_store_counters(edge->cache, &c);
    cache_purge_total(edge->cache, &purged);
    fr_buf_init(&out, ANSWER_BYTES_MAX);
    enum fr_err err = fr_buf_printf(
        &out,
        "{\"memory\": %" PRIu64 ", \"bytes\": %" PRIu64 ", \"index_bytes\": %" PRIu64
        ", \"head_bytes\": %" PRIu64 ", \"body_bytes\": %" PRIu64 ", \"slack_bytes\": %" PRIu64
        ", \"free_bytes\": %" PRIu64 ", \"metadata_bytes\": %" PRIu64 ", \"entries\": %" PRIu64
        ", \"waiting\": %" PRIu64 ", \"stored\": %" PRIu64 ", \"evicted\": %" PRIu64
        ", \"purged\": %" PRIu64 ", \"refused_full\": %" PRIu64 ", \"refused_large\": %" PRIu64
        ", \"refused_tags\": %" PRIu64 ", \"refused_purged\": %" PRIu64
        ", \"refused_once\": %" PRIu64,
        edge->config->cache.memory_bytes, c.bytes, c.index_bytes, c.head_bytes, c.body_bytes,
        c.slack_bytes, c.free_bytes, c.metadata_bytes, c.entries, c.waiting, c.stored, c.evicted,
        purged.objects, c.refused_full, c.refused_large, c.refused_tags, c.refused_purged,
        c.refused_once);
    if (err == FR_OK)
        err = edge_disk_print(edge, &out);
    if (err == FR_OK)
        err = fr_buf_append_view(&out, FR_VIEW("}\n"));
    if (err == FR_OK)
        admin_answer(exchange, 200, NULL, fr_buf_view(&out));
    else
        admin_answer_error(exchange, 500, "%s", fr_err_words(err));
    fr_buf_fini(&out);
}

static void
on_purged(void *ctx, const struct cache_purged *purged)
{
    struct admin_exchange *exchange = ctx;
    char text[256];
    if (purged == NULL)
        return; /* the exchange is gone */
    (void)snprintf(text, sizeof(text),
                   "{\"status\": \"done\", \"objects\": %" PRIu64 ", \"bytes\": %" PRIu64
                   ", \"requests_per_s\": %.3f}\n",
                   purged->objects, purged->bytes, purged->requests_per_s);
    admin_answer(exchange, 200, NULL, fr_view_of(text));
}

void
edge_admin_post_purge(void *ctx, struct admin_exchange *exchange,
                      const struct admin_request *request)
{
    static const char *const names[] = {"url", "prefix", "tag", "all"};
    struct edge *edge = ctx;
    char text[TEXT_BYTES_MAX], flag[8];
    struct cache_purge purge = {0};
    unsigned said = 0;
    purge.soft = admin_query(request->query, "soft", flag, sizeof(flag)) && flag[0] != '0';
    char found[TEXT_BYTES_MAX] = "";
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (!admin_query(request->query, names[i], text, sizeof(text)))
            continue;
        said++;
        (void)edge_purge_kind(fr_view_of(names[i]), &purge.kind); /* they are its names */
        memcpy(found, text, sizeof(found));
    }
    if (said != 1) {
        admin_answer_error(exchange, 400, "what? give one of url=, prefix=, tag=, all");
        return;
    }
    purge.text = fr_view_of(found);
    enum fr_err err = edge_purge(edge, &purge, on_purged, exchange);
    if (err == FR_ERR_SYNTAX)
        admin_answer_error(exchange, 400,
                           "\"%s\": expected http://host/path, //host/path, or a tag", found);
    else if (err == FR_ERR_STATE)
        admin_answer_error(exchange, 404, "this edge has no cache");
    else if (err != FR_OK)
        admin_answer_error(exchange, 503, "%s", fr_err_words(err));
}
