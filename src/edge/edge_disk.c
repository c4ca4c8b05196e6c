/* SPDX-License-Identifier: Apache-2.0 */
/*
 * edge_disk.c - the cache's file: opened with the edge, told of in its log.
 *
 * May touch:  base, cache, disk, config.
 * Threads:    the control thread; news come from the disk's, and go to the log, which takes lines
 *             from any.
 * When full:  a disk that cannot be used is none: the edge says so, and serves from memory and
 *             members.
 */
#include "edge/edge_priv.h"

#include <inttypes.h>

_Static_assert(CONFIG_DISK_MEMORY_SHARE == CACHE_DISK_MEMORY_SHARE, "as the cache has it");
_Static_assert(CONFIG_DISK_MEMORY_BYTES_MIN == CACHE_DISK_MEMORY_BYTES_MIN, "likewise");

static void
on_news(void *ctx, enum disk_news news, const char *words, int64_t number)
{
    const char *path = ctx; /* not the edge: its configuration changes under other threads */
    switch (news) {
    case DISK_NEWS_ANEW:
        fr_log(FR_LOG_WARN, "edge", "the cache on disk begins anew", FR_S("path", path),
               FR_S("why", words));
        break;
    case DISK_NEWS_READY:
        fr_log(FR_LOG_INFO, "edge", "the cache on disk is ready", FR_S("path", path),
               FR_I("responses", number));
        break;
    case DISK_NEWS_ERROR:
        fr_log(FR_LOG_ERROR, "edge",
               "the cache on disk has an error, what it concerns comes from members",
               FR_S("path", path), FR_S("why", words));
        break;
    case DISK_NEWS_BAD:
        fr_log(FR_LOG_ERROR, "edge",
               "the cache on disk holds a damaged response, which comes from a member",
               FR_S("path", path), FR_I("at", number));
        break;
    case DISK_NEWS_OFF:
        fr_log(FR_LOG_ERROR, "edge", "nothing is written to the cache on disk any more",
               FR_S("path", path));
        break;
    }
}

void
edge_disk_open(struct edge *edge)
{
    const struct config_cache *cache = &edge->config->cache;
    struct disk_options options = {
        .path = cache->disk_path,
        .bytes = cache->disk_bytes,
        .memory_bytes = cache->memory_bytes,
        .tell = on_news,
        .wall_us = loop_wall_us(edge->loop),
    };
    int error = 0;
    if (!cache->disk_path)
        return;
    options.ctx = edge->disk_path = fr_xstrdup(cache->disk_path);
    enum fr_err err = disk_open(&options, &edge->disk, &error);
    if (err == FR_OK)
        return;
    fr_log(FR_LOG_ERROR, "edge", "no cache on disk, memory alone is used",
           FR_S("path", cache->disk_path),
           FR_S("why", err == FR_ERR_EXISTS ? "another process uses it"
                       : error != 0         ? strerror(error)
                                            : fr_err_words(err)));
}

void
edge_disk_start(struct edge *edge)
{
    if (edge->disk && disk_start(edge->disk, edge->cache) != FR_OK) {
        fr_log(FR_LOG_ERROR, "edge", "no thread for the cache on disk, memory alone is used");
        disk_stop(edge->disk);
    }
}

/* Those who wait for it are told, by messages to their workers, who have to be there. */
void
edge_disk_stop(struct edge *edge)
{
    if (edge->disk)
        disk_stop(edge->disk);
}

void
edge_disk_free(struct edge *edge)
{
    disk_free(&edge->disk);
    fr_free(edge->disk_path);
    edge->disk_path = NULL;
}

enum fr_err
edge_disk_print(const struct edge *edge, struct fr_buf *out)
{
    struct cache_disk_counters c;
    if (!edge->disk)
        return FR_OK;
    cache_disk_read_counters(disk_cache(edge->disk), &c);
    return fr_buf_printf(
        out,
        ", \"disk\": %" PRIu64 ", \"disk_ready\": %d, \"disk_entries\": %" PRIu64
        ", \"disk_bytes\": %" PRIu64 ", \"disk_hits\": %" PRIu64 ", \"disk_misses\": %" PRIu64
        ", \"disk_heads\": %" PRIu64 ", \"disk_written\": %" PRIu64
        ", \"disk_written_bytes\": %" PRIu64 ", \"disk_kept\": %" PRIu64
        ", \"disk_queued\": %" PRIu64 ", \"disk_dropped\": %" PRIu64 ", \"disk_refused\": %" PRIu64
        ", \"disk_purged\": %" PRIu64 ", \"disk_no_room\": %" PRIu64 ", \"disk_late\": %" PRIu64
        ", \"disk_streamed\": %" PRIu64 ", \"disk_cut\": %" PRIu64 ", \"disk_bad\": %" PRIu64
        ", \"disk_errors\": %" PRIu64,
        cache_disk_layout_of(disk_cache(edge->disk))->file_bytes, c.ready, c.entries, c.bytes,
        c.hits, c.misses, c.heads, c.written, c.written_bytes, c.kept, c.queued, c.dropped,
        c.refused, c.purged, c.no_room, c.late, c.streamed, c.cut, c.bad, c.errors);
}
