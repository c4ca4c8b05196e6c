/* SPDX-License-Identifier: Apache-2.0 */
/*
 * disk_write.c - the log: records one behind the other into one segment, then the next.
 *
 * May touch:  base, cache.
 * Threads:    the writer.
 * Memory:     one buffer; records that are larger pass through it. Responses under way keep their
 *             memory until their record is in the file, DISK__BATCH_MAX of them.
 * When full:  the oldest segment leaves. Before that the one now written takes over what of it was
 *             asked for since, up to half of a segment.
 *
 *     segments by age:   [oldest] ........ [newest][written now]   [free]
 *                            '-- kept ones move --------^            '-- becomes the next one
 *
 * One segment is always free, so that what moves has somewhere to go.
 */
#include "disk/disk_priv.h"

#include "base/fr_check.h"

#include <errno.h>
#include <unistd.h>

static bool
write_at(struct disk *disk, const char *data, size_t bytes, uint64_t at)
{
    while (bytes > 0) {
        ssize_t put = pwrite(disk->fd, data, bytes, (off_t)at);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0) {
            cache_disk_count_error(disk->cache);
            disk__tell_error(disk, put < 0 ? errno : EIO);
            return false;
        }
        data += put;
        bytes -= (size_t)put;
        at += (uint64_t)put;
    }
    return true;
}

static uint64_t
position(const struct disk *disk)
{
    return disk->flushed + disk->write_count;
}

/* ---- which segment --------------------------------------------------------------------------- */

uint32_t
disk__segment_oldest(const struct disk *disk)
{
    uint32_t oldest = DISK__NO_SEGMENT;
    for (uint32_t i = 0; i < disk->layout.segment_count; i++)
        if (disk->used[i] && i != disk->segment &&
            (oldest == DISK__NO_SEGMENT || disk->sequences[i] < disk->sequences[oldest]))
            oldest = i;
    return oldest;
}

/* Of the free ones that which was written longest ago: what replaced something there never leaves
 * before what it replaced. */
static uint32_t
free_segment(const struct disk *disk)
{
    uint32_t found = DISK__NO_SEGMENT;
    for (uint32_t i = 0; i < disk->layout.segment_count; i++)
        if (!disk->used[i] &&
            (found == DISK__NO_SEGMENT || disk->sequences[i] < disk->sequences[found]))
            found = i;
    return found;
}

/* Nothing of it stays in the index, so that it may be written over. */
void
disk__segment_release(struct disk *disk, uint32_t oldest)
{
    cache_disk_leave(disk->cache, oldest, disk->sequences[oldest]);
    disk->used[oldest] = false;
}

/* ---- what was written is found --------------------------------------------------------------- */

static void
item_end(struct disk *disk, struct disk__item *item)
{
    if (item->moved) {
        if (cache_disk_moved(disk->cache, &item->from, disk->segment, item->offset))
            cache_disk_count_kept(disk->cache);
        return;
    }
    if (cache_disk_written(disk->cache, &item->job, disk->segment, item->offset))
        return;
    /* The index is full: what it names leaves sooner. */
    uint32_t oldest = disk__segment_oldest(disk);
    if (oldest != DISK__NO_SEGMENT)
        disk__segment_release(disk, oldest);
    if (!cache_disk_written(disk->cache, &item->job, disk->segment, item->offset))
        cache_disk_unfound(disk->cache, &item->job);
}

/* Of what failed some may be in the file all the same. */
static void
batch_end(struct disk *disk, bool good)
{
    for (size_t i = 0; i < disk->batch_count; i++) {
        struct disk__item *item = &disk->batch[i];
        if (good)
            item_end(disk, item);
        else if (item->moved)
            cache_disk_unmoved(disk->cache, &item->from);
        else
            cache_disk_unfound(disk->cache, &item->job);
    }
    disk->batch_count = 0;
}

static void
note_error(struct disk *disk)
{
    disk->segment = DISK__NO_SEGMENT; /* it is as it is; another one may be better */
    disk->write_count = 0;
    if (++disk->errors == DISK_ERRORS_MAX) {
        disk->off = true;
        disk->tell(disk->tell_ctx, DISK_NEWS_OFF, NULL, 0);
    }
}

/* False: what was in the buffer is not in the file, and nothing is open any more. */
static bool
flush(struct disk *disk)
{
    if (disk->segment == DISK__NO_SEGMENT)
        return true;
    uint64_t at = cache_disk_segment_at(&disk->layout, disk->segment) + disk->flushed;
    bool good = write_at(disk, disk->write_buf, disk->write_count, at);
    if (good) {
        disk->flushed += disk->write_count;
        disk->write_count = 0;
        disk->errors = 0;
    }
    batch_end(disk, good);
    if (!good)
        note_error(disk);
    return good;
}

void
disk__write_flush(struct disk *disk)
{
    (void)flush(disk); /* what failed was counted, and ended */
}

/* Room in the buffer for one more unit. */
static char *
unit_room(struct disk *disk)
{
    if (DISK_WRITE_BYTES - disk->write_count < CACHE_DISK_UNIT_BYTES_MAX && !flush(disk))
        return NULL;
    return disk->write_buf + disk->write_count;
}

static void
batch_add(struct disk *disk, const struct disk__item *item)
{
    disk->batch[disk->batch_count++] = *item;
    if (disk->batch_count == DISK__BATCH_MAX)
        disk__write_flush(disk);
}

/* ---- what moves ------------------------------------------------------------------------------ */

/* One unit of the old record into the buffer. */
static bool
copy_unit(struct disk *disk, struct disk__stream *stream, size_t bytes, char **out)
{
    *out = unit_room(disk);
    if (!*out)
        return false;
    struct fr_view unit = disk__stream_need(stream, bytes);
    if (bytes == 0 || unit.len < bytes)
        return false;
    memcpy(*out, unit.ptr, bytes);
    disk__stream_skip(stream, bytes);
    disk->write_count += bytes;
    return true;
}

static bool
copy_record(struct disk *disk, const struct cache_disk_place *place)
{
    struct disk__stream stream;
    uint64_t at = cache_disk_segment_at(&disk->layout, place->segment) + place->offset;
    char *unit;
    disk__stream_open(&stream, disk->fd, disk->scan_buf, at, at + place->bytes);
    size_t head = cache_disk_head_bytes(disk__stream_need(&stream, CACHE_DISK_FIRST_BYTES));
    if (!copy_unit(disk, &stream, head, &unit) ||
        !cache_disk_reseat(disk->cache, place, unit, head, disk->sequences[disk->segment]))
        return false;
    uint64_t left = place->bytes - head;
    for (uint64_t piece = 1; left > 0; piece++) {
        /* All pieces but the last are of one size. */
        size_t bytes =
            cache_disk_piece_bytes(left < sizeof(uint64_t) ? 0 : left - sizeof(uint64_t));
        if (bytes > left || !copy_unit(disk, &stream, bytes, &unit) ||
            !cache_disk_piece_good(disk->cache, place->birth, piece, fr_view_make(unit, bytes)))
            return false;
        left -= bytes;
    }
    return true;
}

/* What finds no room leaves with its segment. What began and did not come to its end is not left
 * where the next one would be looked for. */
static void
move(struct disk *disk, const struct cache_disk_place *place)
{
    uint64_t start = position(disk);
    if (disk->segment == DISK__NO_SEGMENT || start + place->bytes > disk->layout.segment_bytes)
        return;
    if (copy_record(disk, place)) {
        batch_add(disk, &(struct disk__item){.moved = true, .from = *place, .offset = start});
        return;
    }
    cache_disk_found_bad(disk->cache, place);
    if (disk->segment == DISK__NO_SEGMENT)
        return;
    if (start >= disk->flushed)
        disk->write_count = (size_t)(start - disk->flushed);
    else
        disk->segment = DISK__NO_SEGMENT; /* half of it is in the file: the segment ends there */
}

static void
move_all(struct disk *disk, struct cache_disk_sweep *sweep)
{
    struct cache_disk_place places[CACHE_DISK_SWEEP_SPOTS];
    size_t count;
    bool more = true;
    while (more) {
        more = cache_disk_sweep(disk->cache, disk->store, sweep, places, &count);
        for (size_t i = 0; i < count; i++)
            move(disk, &places[i]);
    }
    disk__write_flush(disk); /* so that they are not seen here again */
}

/* What everybody asks for comes first: of the others there may be more than there is room for. */
static void
evacuate(struct disk *disk, uint32_t segment, uint64_t wanted)
{
    uint64_t room = disk->layout.segment_bytes - position(disk);
    struct cache_disk_sweep sweep = {
        .segment = segment, .keep_bytes = disk->layout.segment_bytes / 2, .hottest = true};
    if (sweep.keep_bytes > room - wanted)
        sweep.keep_bytes = room - wanted;
    move_all(disk, &sweep);
    sweep.hottest = false;
    sweep.cursor = 0;
    move_all(disk, &sweep);
    disk__segment_release(disk, segment);
}

/* ---- the next segment ------------------------------------------------------------------------ */

/* The next one, with room for so many bytes. */
static bool
segment_open(struct disk *disk, uint64_t bytes)
{
    char head[CACHE_DISK_SEGMENT_HEAD_BYTES];
    if (!flush(disk) && disk->off)
        return false;
    disk->segment = DISK__NO_SEGMENT;
    uint32_t next = free_segment(disk);
    if (next == DISK__NO_SEGMENT) {
        next = disk__segment_oldest(disk);
        disk__segment_release(disk, next);
    }
    cache_disk_segment_head(disk->cache, next, disk->sequence + 1, head);
    if (!write_at(disk, head, sizeof(head), cache_disk_segment_at(&disk->layout, next))) {
        note_error(disk);
        return false;
    }
    disk->sequences[next] = ++disk->sequence;
    disk->used[next] = true;
    disk->segment = next;
    disk->flushed = sizeof(head);
    disk->write_count = 0;
    if (free_segment(disk) == DISK__NO_SEGMENT)
        evacuate(disk, disk__segment_oldest(disk), bytes);
    return disk->segment != DISK__NO_SEGMENT &&
           position(disk) + bytes <= disk->layout.segment_bytes;
}

static bool
has_room(struct disk *disk, uint64_t bytes)
{
    if (disk->segment != DISK__NO_SEGMENT && position(disk) + bytes <= disk->layout.segment_bytes)
        return true;
    return segment_open(disk, bytes);
}

/* ---- jobs ------------------------------------------------------------------------------------ */

/* The head of a record that is in the file already, in its place: a store into some bytes of the
 * log, so that what a 304 says costs a head and not a body. False: the response is to be written
 * whole; else the job is over. */
static bool
write_head(struct disk *disk, struct cache_disk_job *job)
{
    struct cache_disk_place place;
    size_t bytes;
    (void)flush(disk); /* it may be in the buffer; and then the buffer is free */
    enum cache_disk_heading heading = cache_disk_heading(disk->cache, job, &place);
    if (heading != CACHE_DISK_HEADING_HERE)
        return heading == CACHE_DISK_HEADING_NONE;
    uint64_t at = cache_disk_head_at(disk->cache, job->entry, &place, &bytes);
    if (!cache_disk_encode_head(disk->cache, job->entry, job->stamp, job->birth, bytes,
                                disk->write_buf))
        return !cache_disk_heading_whole(disk->cache, job, &place);
    if (disk->off || !write_at(disk, disk->write_buf, bytes, at)) {
        cache_disk_unwritten(disk->cache, job);
        if (!disk->off)
            note_error(disk);
        return true;
    }
    cache_disk_headed(disk->cache, job, &place, bytes);
    return true;
}

bool
disk__write_job(struct disk *disk, struct cache_disk_job *job)
{
    struct cache_disk_encoder encoder;
    if (job->birth && write_head(disk, job))
        return true;
    uint64_t bytes = cache_disk_record_bytes(job->entry);
    if (bytes > disk->layout.segment_bytes - CACHE_DISK_SEGMENT_HEAD_BYTES) {
        /* It fitted with the head that it had before its 304. */
        cache_disk_refuse(disk->cache, job);
        return false;
    }
    if (disk->off || !has_room(disk, bytes)) {
        cache_disk_unwritten(disk->cache, job);
        return false;
    }
    uint64_t start = position(disk);
    cache_disk_encode_begin(&encoder, disk->cache, job, disk->sequences[disk->segment]);
    for (;;) {
        char *unit = unit_room(disk);
        if (!unit) {
            cache_disk_unwritten(disk->cache, job);
            return false;
        }
        size_t put = cache_disk_encode(&encoder, unit);
        if (put == 0)
            break;
        disk->write_count += put;
    }
    fr_insist(position(disk) == start + bytes);
    batch_add(disk, &(struct disk__item){.job = *job, .offset = start});
    return true;
}
