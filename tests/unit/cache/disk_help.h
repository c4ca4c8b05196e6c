/* SPDX-License-Identifier: Apache-2.0 */
/*
 * disk_help.h - a disk for the cache that is a piece of memory.
 */
#ifndef DISK_HELP_H
#define DISK_HELP_H

#include "cache/cache_disk_priv.h"
#include "cache_help.h"

#define DISK_BYTES ((uint64_t)16 * 1024 * 1024)
#define DISK_MEMORY ((uint64_t)16 * 1024 * 1024)

struct help_disk {
    char *file;
    struct cache_disk_layout layout;
    struct cache_disk *disk;
    struct cache_store *store;
};

static inline void
help_disk_begin(struct help_disk *help)
{
    assert_int_equal(cache_disk_new(help->file, &help->layout, DISK_MEMORY, &help->disk), FR_OK);
    struct cache_options options = {DISK_MEMORY, 1024 * 1024, help->disk};
    assert_int_equal(cache_store_new(&options, &help->store), FR_OK);
}

static inline struct help_disk
help_disk_new(void)
{
    struct help_disk help = {.file = fr_xalloc(DISK_BYTES)};
    assert_true(cache_disk_layout(DISK_BYTES, &help.layout));
    cache_disk_format(help.file, &help.layout);
    help_disk_begin(&help);
    return help;
}

/* As a process that ends; the file stays. */
static inline void
help_disk_end(struct help_disk *help)
{
    cache_disk_close(help->disk);
    cache_store_free(&help->store);
    cache_disk_free(&help->disk);
}

static inline void
help_disk_free(struct help_disk *help)
{
    help_disk_end(help);
    fr_free(help->file);
}

/* As the writer does it. False: the job is to be written whole; else it is over. */
static inline bool
help_write_head(struct cache_disk *disk, char *file, struct cache_disk_job *job)
{
    struct cache_disk_place place;
    static char unit[CACHE_DISK_UNIT_BYTES_MAX];
    size_t bytes;
    enum cache_disk_heading heading = cache_disk_heading(disk, job, &place);
    if (heading != CACHE_DISK_HEADING_HERE)
        return heading == CACHE_DISK_HEADING_NONE;
    uint64_t at = cache_disk_head_at(disk, job->entry, &place, &bytes);
    if (!cache_disk_encode_head(disk, job->entry, job->stamp, job->birth, bytes, unit))
        return !cache_disk_heading_whole(disk, job, &place);
    memcpy(file + at, unit, bytes);
    cache_disk_headed(disk, job, &place, bytes);
    return true;
}

/* One job, as the writer does it, into the segment behind *offset. */
static inline void
help_write_job(struct help_disk *help, struct cache_disk_job *job, uint32_t segment,
               uint64_t sequence, uint64_t *offset)
{
    struct cache_disk_encoder encoder;
    static char unit[CACHE_DISK_UNIT_BYTES_MAX];
    char *base = help->file + cache_disk_segment_at(&help->layout, segment);
    if (job->birth && help_write_head(help->disk, help->file, job))
        return;
    uint64_t at = *offset, bytes = cache_disk_record_bytes(job->entry);
    cache_disk_encode_begin(&encoder, help->disk, job, sequence);
    for (size_t put; (put = cache_disk_encode(&encoder, unit)) > 0; at += put)
        memcpy(base + at, unit, put);
    assert_int_equal(at - *offset, bytes);
    assert_true(cache_disk_written(help->disk, job, segment, *offset));
    *offset = at;
}

/* What is queued goes into the segment, one record behind the other. Returns how many jobs. */
static inline size_t
help_write(struct help_disk *help, uint32_t segment, uint64_t sequence, uint64_t *offset)
{
    struct cache_disk_job job;
    size_t count = 0;
    for (; cache_disk_next(help->disk, &job); count++)
        help_write_job(help, &job, segment, sequence, offset);
    return count;
}

/* As the start does it. Returns how many records there are. */
static inline size_t
help_scan(struct help_disk *help, uint32_t segment, uint64_t sequence)
{
    struct cache_disk_record_view record;
    uint64_t offset = CACHE_DISK_SEGMENT_HEAD_BYTES;
    size_t want, count = 0;
    const char *base = help->file + cache_disk_segment_at(&help->layout, segment);
    while (cache_disk_scan(help->disk, segment, sequence, offset,
                           fr_view_make(base + offset, help->layout.segment_bytes - offset),
                           &record, &want) == CACHE_DISK_SCAN_RECORD) {
        offset += record.place.bytes;
        count += !record.torn;
    }
    cache_disk_ready(help->disk);
    return count;
}

static inline bool
help_find(struct help_disk *help, const char *request, struct cache_disk_place *out)
{
    static __thread struct http_head req;
    help_request(&req, request);
    struct cache_request ask = help_ask(&req, 0);
    return cache_disk_find(help->disk, &ask, out);
}

/* A record's bytes back into memory. */
static inline enum cache_disk_step
help_load_bytes(struct help_disk *help, const struct cache_disk_place *place, struct fr_view bytes,
                bool *out_there)
{
    struct cache_disk_loading *loading = NULL;
    size_t want = 0, head = cache_disk_head_bytes(bytes);
    *out_there = false;
    if (head == 0 || head > bytes.len)
        return CACHE_DISK_BAD;
    enum cache_disk_step step =
        cache_disk_load_begin(help->store, help->disk, place, bytes, 0, &loading, &want);
    size_t at = head;
    while (step == CACHE_DISK_MORE) {
        size_t unit = want <= bytes.len - at ? want : bytes.len - at;
        step = cache_disk_load_add(loading, fr_view_make(bytes.ptr + at, unit), &want);
        at += unit;
    }
    if (step == CACHE_DISK_WHOLE)
        *out_there = cache_disk_load_end(&loading);
    cache_disk_load_drop(&loading);
    return step;
}

static inline bool
help_load(struct help_disk *help, const struct cache_disk_place *place)
{
    bool there;
    const char *at =
        help->file + cache_disk_segment_at(&help->layout, place->segment) + place->offset;
    enum cache_disk_step step =
        help_load_bytes(help, place, fr_view_make(at, place->bytes), &there);
    if (step == CACHE_DISK_BAD)
        cache_disk_found_bad(help->disk, place);
    return there;
}

#endif
