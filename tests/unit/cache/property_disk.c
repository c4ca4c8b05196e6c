/* SPDX-License-Identifier: Apache-2.0 */
/*
 * property_disk.c - the property test's disk: a file that is a piece of memory, written as
 * src/disk/disk_write.c writes one, by no thread, and killed in the middle of it.
 */
#include "property_world.h"

#include <stdlib.h>

#define FILE_BYTES ((uint64_t)16 * 1024 * 1024)

static char *
at_of(const struct medium *m, uint32_t segment, uint64_t offset)
{
    return m->file + cache_disk_segment_at(&m->layout, segment) + offset;
}

/* ---- segments -------------------------------------------------------------------------------- */

static uint32_t
oldest(const struct medium *m, bool in_use)
{
    uint32_t found = SEGMENTS;
    for (uint32_t i = 0; i < m->layout.segment_count; i++)
        if (m->in_use[i] == in_use && i != m->segment &&
            (found == SEGMENTS || m->sequences[i] < m->sequences[found]))
            found = i;
    return found;
}

static void
release(struct world *w, uint32_t segment)
{
    cache_disk_leave(w->medium.disk, segment, w->medium.sequences[segment]);
    w->medium.in_use[segment] = false;
}

static void
move(struct world *w, const struct cache_disk_place *place)
{
    struct medium *m = &w->medium;
    char *to = at_of(m, m->segment, m->offset);
    if (m->offset + place->bytes > m->layout.segment_bytes)
        return;
    memcpy(to, at_of(m, place->segment, place->offset), place->bytes);
    size_t head = cache_disk_head_bytes(fr_view_make(to, place->bytes));
    if (head == 0 || head > place->bytes ||
        !cache_disk_reseat(m->disk, place, to, head, m->sequences[m->segment])) {
        cache_disk_found_bad(m->disk, place);
        memset(to, 0, place->bytes);
        return;
    }
    if (cache_disk_moved(m->disk, place, m->segment, m->offset))
        w->moved++;
    m->offset += place->bytes;
}

/* What was asked for moves on, as much as there is room for. */
static void
evacuate(struct world *w, uint32_t segment)
{
    struct medium *m = &w->medium;
    struct cache_disk_place places[CACHE_DISK_SWEEP_SPOTS];
    struct cache_disk_sweep sweep = {.segment = segment, .keep_bytes = m->layout.segment_bytes / 2};
    size_t count;
    bool more = true;
    while (more) {
        more = cache_disk_sweep(m->disk, w->store, &sweep, places, &count);
        for (size_t i = 0; i < count; i++)
            move(w, &places[i]);
    }
    release(w, segment);
}

static void
segment_open(struct world *w)
{
    struct medium *m = &w->medium;
    m->segment = SEGMENTS;
    uint32_t next = oldest(m, false);
    if (next == SEGMENTS) {
        next = oldest(m, true);
        release(w, next);
    }
    cache_disk_segment_head(m->disk, next, ++m->sequence, at_of(m, next, 0));
    m->sequences[next] = m->sequence;
    m->in_use[next] = true;
    m->segment = next;
    m->offset = CACHE_DISK_SEGMENT_HEAD_BYTES;
    if (oldest(m, false) == SEGMENTS)
        evacuate(w, oldest(m, true));
}

/* ---- writing --------------------------------------------------------------------------------- */

/* The record's units, one behind the other; at most `most` bytes of them. */
static void
encode(struct world *w, const struct cache_disk_job *job, uint64_t most)
{
    struct medium *m = &w->medium;
    struct cache_disk_encoder encoder;
    static char unit[CACHE_DISK_UNIT_BYTES_MAX];
    uint64_t done = 0;
    cache_disk_encode_begin(&encoder, m->disk, job, m->sequences[m->segment]);
    for (size_t put; done < most && (put = cache_disk_encode(&encoder, unit)) > 0; done += put)
        memcpy(at_of(m, m->segment, m->offset + done), unit,
               put < most - done ? put : (size_t)(most - done));
}

/* What a 304 says, before the body that is there. False: it is to be written whole. */
static bool
head_write(struct world *w, struct cache_disk_job *job)
{
    struct medium *m = &w->medium;
    struct cache_disk_place place;
    static char unit[CACHE_DISK_UNIT_BYTES_MAX];
    size_t bytes;
    enum cache_disk_heading heading = cache_disk_heading(m->disk, job, &place);
    if (heading != CACHE_DISK_HEADING_HERE)
        return heading == CACHE_DISK_HEADING_NONE;
    uint64_t at = cache_disk_head_at(m->disk, job->entry, &place, &bytes);
    if (!cache_disk_encode_head(m->disk, job->entry, job->stamp, job->birth, bytes, unit))
        return !cache_disk_heading_whole(m->disk, job, &place);
    memcpy(m->file + at, unit, bytes);
    cache_disk_headed(m->disk, job, &place, bytes);
    w->heads++;
    return true;
}

static bool
job_take(struct world *w, struct cache_disk_job *job)
{
    struct medium *m = &w->medium;
    do {
        if (!cache_disk_next(m->disk, job))
            return false;
    } while (job->birth && head_write(w, job));
    if (m->segment == SEGMENTS ||
        m->offset + cache_disk_record_bytes(job->entry) > m->layout.segment_bytes)
        segment_open(w);
    return true;
}

void
medium_write(struct world *w, size_t jobs_max)
{
    struct medium *m = &w->medium;
    struct cache_disk_job job;
    for (; jobs_max > 0 && job_take(w, &job); jobs_max--) {
        uint64_t bytes = cache_disk_record_bytes(job.entry);
        if (chance(w, 50)) { /* the writer is behind, or the disk has an error */
            cache_disk_unwritten(m->disk, &job);
            continue;
        }
        encode(w, &job, bytes);
        if (!cache_disk_written(m->disk, &job, m->segment, m->offset))
            cache_disk_unwritten(m->disk, &job);
        m->offset += bytes;
        w->written++;
    }
}

void
medium_tear(struct world *w)
{
    struct medium *m = &w->medium;
    struct cache_disk_job jobs[4];
    size_t count = 0;
    w->kills++;
    /* Some are whole in the file, and the index never heard of them; of the last one a piece. */
    while (count < 4 && job_take(w, &jobs[count])) {
        uint64_t bytes = cache_disk_record_bytes(jobs[count].entry);
        bool torn = chance(w, 2) || count == 3;
        encode(w, &jobs[count], torn ? 1 + fr_rand_below(&w->rand, (uint32_t)bytes) : bytes);
        m->offset += bytes;
        count++;
        if (torn)
            break;
    }
    /* Nobody ends these jobs; the memory is given back all the same. */
    for (size_t i = 0; i < count; i++)
        cache_entry_unref(&jobs[i].entry);
}

void
medium_damage(struct world *w)
{
    struct medium *m = &w->medium;
    for (int i = 0; i < 8; i++) {
        uint64_t at = m->layout.mapped_bytes +
                      fr_rand_below(&w->rand, (uint32_t)(FILE_BYTES - m->layout.mapped_bytes));
        m->file[at] = (char)(m->file[at] ^ (1 << fr_rand_below(&w->rand, 8)));
    }
    w->damaged++;
}

/* ---- the start ------------------------------------------------------------------------------- */

/* The last record of a segment may be torn. */
static void
check_last(struct medium *m, const struct cache_disk_record_view *last)
{
    const char *at = at_of(m, last->place.segment, last->place.offset) + last->head_bytes;
    uint64_t left = last->body_bytes;
    for (uint64_t piece = 1; left > 0; piece++) {
        size_t bytes = cache_disk_piece_bytes(left);
        if (!cache_disk_piece_good(m->disk, last->place.stamp, piece, fr_view_make(at, bytes))) {
            cache_disk_drop(m->disk, &last->place);
            return;
        }
        at += bytes;
        left -= left < CACHE_DISK_PIECE_BYTES ? left : CACHE_DISK_PIECE_BYTES;
    }
}

static void
scan(struct medium *m, uint32_t segment)
{
    struct cache_disk_record_view record, last = {.head_bytes = 0};
    uint64_t offset = CACHE_DISK_SEGMENT_HEAD_BYTES;
    size_t want;
    while (cache_disk_scan(
               m->disk, segment, m->sequences[segment], offset,
               fr_view_make(at_of(m, segment, offset), (size_t)(m->layout.segment_bytes - offset)),
               &record, &want) == CACHE_DISK_SCAN_RECORD) {
        offset += record.place.bytes;
        last = record;
    }
    if (last.head_bytes > 0)
        check_last(m, &last);
}

void
medium_scan(struct world *w)
{
    struct medium *m = &w->medium;
    uint64_t done = 0;
    m->sequence = cache_disk_left(m->disk);
    for (uint32_t i = 0; i < m->layout.segment_count; i++) {
        m->sequences[i] = cache_disk_segment_sequence(
            m->disk, i, fr_view_make(at_of(m, i, 0), CACHE_DISK_SEGMENT_HEAD_BYTES));
        m->in_use[i] = m->sequences[i] > 0;
        if (m->sequences[i] > m->sequence)
            m->sequence = m->sequences[i];
    }
    for (;;) { /* older ones first */
        uint32_t next = SEGMENTS;
        for (uint32_t i = 0; i < m->layout.segment_count; i++)
            if (m->sequences[i] > done &&
                (next == SEGMENTS || m->sequences[i] < m->sequences[next]))
                next = i;
        if (next == SEGMENTS)
            break;
        done = m->sequences[next];
        scan(m, next);
    }
    cache_disk_ready(m->disk);
}

void
medium_start(struct world *w)
{
    struct medium *m = &w->medium;
    assert_int_equal(cache_disk_new(m->file, &m->layout, PROPERTY_MEMORY, &m->disk), FR_OK);
    cache_disk_starts_at(m->disk, w->wall_us);
    m->segment = SEGMENTS;
}

void
medium_new(struct world *w)
{
    struct medium *m = &w->medium;
    m->file = fr_xalloc(FILE_BYTES);
    assert_true(cache_disk_layout(FILE_BYTES, &m->layout));
    assert_true(m->layout.segment_count <= SEGMENTS);
    cache_disk_format(m->file, &m->layout);
    struct cache__disk_map map;
    cache__disk_map(m->file, &m->layout, &map);
    /* The same key in every run: which keys share a mark is no matter of luck. */
    *(struct fr_hash_key *)(uintptr_t)map.hash_key = (struct fr_hash_key){1, 2};
}

/* Who is killed gives nothing up in an orderly way: the marks stay as they are. */
void
medium_stop(struct world *w, bool killed)
{
    struct medium *m = &w->medium;
    char *marks = fr_xalloc(m->layout.mapped_bytes);
    memcpy(marks, m->file, m->layout.mapped_bytes);
    cache_disk_load_drop(&m->loading);
    cache_disk_close(m->disk);
    if (killed)
        memcpy(m->file, marks, m->layout.mapped_bytes);
    fr_free(marks);
}

void
medium_free(struct world *w)
{
    fr_free(w->medium.file);
}

/* ---- back into memory ------------------------------------------------------------------------ */

void
medium_read(struct world *w, const struct cache_request *ask)
{
    struct medium *m = &w->medium;
    struct cache_disk_place place;
    size_t want = 0;
    if (m->loading || !cache_disk_find(m->disk, ask, &place))
        return;
    if (chance(w, 20)) { /* one octet is not what was written */
        char *octet = at_of(m, place.segment, place.offset) + fr_rand_below(&w->rand, place.bytes);
        *octet = (char)(*octet ^ (1 << fr_rand_below(&w->rand, 8)));
        w->damaged++;
    }
    struct fr_view record = fr_view_make(at_of(m, place.segment, place.offset), place.bytes);
    size_t at = cache_disk_head_bytes(record);
    enum cache_disk_step step = CACHE_DISK_BAD;
    if (at > 0 && at <= record.len)
        step = cache_disk_load_begin(w->store, m->disk, &place, record, 0, &m->loading, &want);
    while (step == CACHE_DISK_MORE) {
        size_t unit = want <= record.len - at ? want : record.len - at;
        step = cache_disk_load_add(m->loading, fr_view_make(record.ptr + at, unit), &want);
        at += unit;
    }
    if (step == CACHE_DISK_WHOLE)
        return;
    cache_disk_load_drop(&m->loading);
    if (step == CACHE_DISK_BAD)
        cache_disk_found_bad(m->disk, &place);
}

void
medium_arrive(struct world *w)
{
    struct medium *m = &w->medium;
    if (m->loading && cache_disk_load_end(&m->loading))
        w->from_disk++;
}
