/* SPDX-License-Identifier: Apache-2.0 */
/*
 * disk_start.c - what stands on the disk when it starts: heads are read, bodies passed by.
 *
 * May touch:  base, cache.
 * Threads:    the writer, before it writes.
 * Limits:     none is needed: a segment ends where its records do.
 *
 * Whoever was killed may have left one record half written, and only as the last of its segment:
 * the last ones are read whole. All others are judged when they are asked for. A head that was
 * being written anew just then is gone with its record; what stands behind it is not.
 *
 * Where the disk does not let itself be read, nobody knows what was replaced or taken back there:
 * what is older leaves with it.
 */
#include "disk/disk_priv.h"

#include "base/fr_mem.h"

#include <stdlib.h>

/* More than there can be beyond those that were read. */
#define SEQUENCES_UNKNOWN (1 << 20)

struct order {
    uint32_t segment;
    uint64_t sequence;
};

static int
older_first(const void *a, const void *b)
{
    const struct order *one = a, *other = b;
    return (one->sequence > other->sequence) - (one->sequence < other->sequence);
}

/* False: it cannot be read. */
static bool
check_last(struct disk *disk, const struct cache_disk_record_view *last,
           struct disk__stream *stream)
{
    const struct cache_disk_place *place = &last->place;
    uint64_t at = cache_disk_segment_at(&disk->layout, place->segment) + place->offset;
    uint64_t left = last->body_bytes;
    disk__stream_open(stream, disk->fd, disk->scan_buf, at + last->head_bytes, at + place->bytes);
    for (uint64_t piece = 1; left > 0; piece++) {
        size_t want = cache_disk_piece_bytes(left);
        struct fr_view bytes = disk__stream_need(stream, want);
        if (stream->failed)
            return false;
        if (bytes.len < want || !cache_disk_piece_good(disk->cache, place->birth, piece,
                                                       fr_view_make(bytes.ptr, want))) {
            cache_disk_scan_torn(disk->cache, place);
            return true;
        }
        disk__stream_skip(stream, want);
        left -= left < CACHE_DISK_PIECE_BYTES ? left : CACHE_DISK_PIECE_BYTES;
    }
    return true;
}

/* One more than the index has room for: the oldest segment leaves for it. False: that is its own,
 * and it is not found. */
static bool
make_room(struct disk *disk, uint32_t segment, const struct cache_disk_place *place)
{
    uint32_t oldest = disk__segment_oldest(disk);
    if (oldest != segment) {
        disk__segment_release(disk, oldest);
        return true;
    }
    cache_disk_scan_refuse(disk->cache, place);
    return false;
}

static void
note_unread(struct disk *disk, const struct disk__stream *stream)
{
    cache_disk_count_error(disk->cache);
    disk__tell_error(disk, stream->error);
}

/* What cannot be read of it may have replaced what stands before, and may be read the next time. */
static void
leave_with(struct disk *disk, const struct order *order)
{
    while (disk->used[order->segment])
        disk__segment_release(disk, disk__segment_oldest(disk));
}

static void
scan_segment(struct disk *disk, const struct order *order)
{
    struct disk__stream stream;
    struct cache_disk_record_view record, last = {.head_bytes = 0};
    uint64_t start = cache_disk_segment_at(&disk->layout, order->segment);
    uint64_t offset = CACHE_DISK_SEGMENT_HEAD_BYTES;
    size_t want = CACHE_DISK_FIRST_BYTES;
    disk__stream_open(&stream, disk->fd, disk->scan_buf, start + offset,
                      start + disk->layout.segment_bytes);
    while (!disk__stopping(disk)) {
        struct fr_view bytes = disk__stream_need(&stream, want);
        if (bytes.len < want)
            break;
        enum cache_disk_scan scan = cache_disk_scan(disk->cache, order->segment, order->sequence,
                                                    offset, bytes, &record, &want);
        if (scan == CACHE_DISK_SCAN_END)
            break;
        if (scan == CACHE_DISK_SCAN_SHORT ||
            (scan == CACHE_DISK_SCAN_FULL && make_room(disk, order->segment, &record.place)))
            continue;
        offset += record.place.bytes;
        disk__stream_skip(&stream, record.place.bytes);
        want = CACHE_DISK_FIRST_BYTES;
        if (!record.torn)
            last = record;
    }
    if (stream.failed || (last.head_bytes > 0 && !check_last(disk, &last, &stream))) {
        note_unread(disk, &stream);
        leave_with(disk, order);
    }
}

/* The sequences of all segments, and of those in use the order. False: one cannot be read. */
static bool
read_heads(struct disk *disk, struct order *orders, uint32_t *out_used)
{
    bool good = true;
    *out_used = 0;
    for (uint32_t i = 0; i < disk->layout.segment_count; i++) {
        struct disk__stream stream;
        uint64_t at = cache_disk_segment_at(&disk->layout, i);
        disk__stream_open(&stream, disk->fd, disk->scan_buf, at,
                          at + CACHE_DISK_SEGMENT_HEAD_BYTES);
        uint64_t sequence = cache_disk_segment_sequence(
            disk->cache, i, disk__stream_need(&stream, CACHE_DISK_SEGMENT_HEAD_BYTES));
        if (stream.failed)
            note_unread(disk, &stream);
        good &= !stream.failed;
        disk->sequences[i] = sequence;
        disk->used[i] = sequence > 0;
        if (sequence > disk->sequence)
            disk->sequence = sequence;
        if (sequence > 0)
            orders[(*out_used)++] = (struct order){i, sequence};
    }
    return good;
}

/* Nobody knows whether it is the newest: all of them leave, and so does it when it can be read. */
static void
leave_all(struct disk *disk)
{
    for (uint32_t i = 0; i < disk->layout.segment_count; i++)
        disk->used[i] = false;
    disk->sequence += SEQUENCES_UNKNOWN;
    cache_disk_leave(disk->cache, 0, disk->sequence);
}

void
disk__start_scan(struct disk *disk)
{
    struct order *orders = fr_xalloc(disk->layout.segment_count * sizeof(*orders));
    uint32_t used;
    disk->sequence = cache_disk_left(disk->cache);
    if (!read_heads(disk, orders, &used)) {
        leave_all(disk);
        used = 0;
    }
    qsort(orders, used, sizeof(*orders), older_first);
    for (uint32_t i = 0; i < used; i++)
        scan_segment(disk, &orders[i]);
    fr_free(orders);
    if (disk__stopping(disk))
        return; /* it does not know all that is there */
    struct cache_disk_counters counters;
    cache_disk_ready(disk->cache);
    cache_disk_read_counters(disk->cache, &counters);
    disk->tell(disk->tell_ctx, DISK_NEWS_READY, NULL, (int64_t)counters.entries);
}
