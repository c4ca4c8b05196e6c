/* SPDX-License-Identifier: Apache-2.0 */
/*
 * disk_priv.h - what the disk's threads share.
 *
 * May touch:  base, cache. Included by src/disk and its tests only.
 */
#ifndef DISK_PRIV_H
#define DISK_PRIV_H

#include "disk/disk.h"

#include "base/fr_list.h"

#include <pthread.h>

#define DISK__BATCH_MAX 256
#define DISK__NO_SEGMENT UINT32_MAX

/* One read under way. */
struct disk__request {
    struct fr_list link;
    struct cache_disk_place place;
    uint32_t owner;
    struct fr_list waiters;
};

/* Written, but not yet where a reader would find it. */
struct disk__item {
    bool moved;                   /* from another segment */
    struct cache_disk_job job;    /* else */
    struct cache_disk_place from; /* moved */
    uint64_t offset;              /* in the segment */
};

/* A stretch of the file through a buffer. */
struct disk__stream {
    int fd;
    char *buf;           /* DISK_READ_BYTES */
    uint64_t at, end;    /* in the file: what buf[first] is, and where the stretch ends */
    size_t first, count; /* in buf */
    bool failed;         /* the system said no: errno is error */
    int error;
};
void disk__stream_open(struct disk__stream *stream, int fd, char *buf, uint64_t at, uint64_t end);
/* At least so many bytes (at most DISK_READ_BYTES), or fewer at the end or on failure. */
struct fr_view disk__stream_need(struct disk__stream *stream, size_t bytes);
void disk__stream_skip(struct disk__stream *stream, uint64_t bytes);

struct disk {
    /* set once */
    int fd;
    void *mapped;
    struct cache_disk_layout layout;
    struct cache_disk *cache;
    struct cache_store *store;
    disk_tell_fn tell;
    void *tell_ctx;
    pthread_t writer, readers[DISK_READERS];
    bool writing;        /* the writer was started */
    size_t reader_count; /* so many were */
    char *buffers[DISK_READERS];
    /* under the lock */
    pthread_mutex_t lock;
    pthread_cond_t more_reads, more_writes;
    struct fr_list waiting, running; /* of disk__request */
    struct fr_list pieces;           /* of disk_piece */
    bool piece_last;                 /* one of them was taken last: the others' turn */
    size_t read_count;
    bool stopping;
    /* shared, atomic */
    bool awake; /* the writer knows that something is queued */
    bool told_error, told_bad;
    /* the writer's */
    char *write_buf, *scan_buf;
    uint64_t *sequences; /* of segments, as it is in the file; 0: none */
    bool *used;          /* segments of which the index knows something, or is to */
    uint64_t sequence;
    uint32_t segment;   /* being written, or DISK__NO_SEGMENT */
    uint64_t flushed;   /* in it: up to here it is in the file */
    size_t write_count; /* in write_buf */
    struct disk__item *batch;
    size_t batch_count;
    unsigned errors; /* in a row */
    bool off;
};

enum fr_err disk__file_open(const struct disk_options *options, struct disk *disk, int *out_errno);
void disk__file_close(struct disk *disk);
void disk__file_rest(struct disk *disk); /* all of it is on the medium: said so in it */

void *disk__read_main(void *ctx); /* struct disk */
void disk__reads_fail(struct disk *disk);
void disk__read_piece(struct disk *disk, struct disk_piece *piece); /* tells */

void disk__start_scan(struct disk *disk);
bool disk__write_job(struct disk *disk, struct cache_disk_job *job); /* false: given up, ended */
void disk__write_flush(struct disk *disk);
uint32_t disk__segment_oldest(const struct disk *disk); /* of those in use, but the one written */
void disk__segment_release(struct disk *disk, uint32_t oldest);
void disk__tell_error(struct disk *disk, int error);
void disk__tell_bad(struct disk *disk, const struct cache_disk_place *place);
bool disk__stopping(struct disk *disk);

#endif
