/* SPDX-License-Identifier: Apache-2.0 */
/*
 * disk.h - the cache's file on disk: opened, read and written by threads of its own.
 *
 * May touch:  base, cache.
 * Threads:    one writes, DISK_READERS read; who asks is told on one of those and waits for nobody.
 * Memory:     their buffers, DISK_MEMORY_BYTES, counted in the cache's budget.
 * When full:  DISK_READS_MAX reads under way: no more are taken, and that is a miss. What the
 *             writer cannot follow is dropped by cache_disk.c.
 * Errors:     a read that fails is a miss, a write that fails is as if the response had not been
 *             for the disk; DISK_ERRORS_MAX failed writes in a row: it is written no more.
 * Follows:    docs/decisions/0022.
 */
#ifndef DISK_H
#define DISK_H

#include "cache/cache_disk.h"

#define DISK_READERS 4
#define DISK_READS_MAX 256
#define DISK_ERRORS_MAX 8
#define DISK_READ_BYTES (256 * 1024)
#define DISK_WRITE_BYTES (512 * 1024)
#define DISK_MEMORY_BYTES ((DISK_READERS + 1) * DISK_READ_BYTES + DISK_WRITE_BYTES)

struct disk;

/* For the log; ERROR, BAD and OFF once. */
enum disk_news {
    DISK_NEWS_ANEW,  /* what there was is not used: words say why */
    DISK_NEWS_READY, /* number: so many responses are found on it */
    DISK_NEWS_ERROR, /* number: errno */
    DISK_NEWS_BAD,   /* a check failed: number says where in the file */
    DISK_NEWS_OFF,   /* nothing is written any more */
};
typedef void (*disk_tell_fn)(void *ctx, enum disk_news news, const char *words, int64_t number);

struct disk_options {
    const char *path;
    uint64_t bytes;
    uint64_t memory_bytes; /* of the store */
    disk_tell_fn tell;     /* from any of its threads */
    void *ctx;
    int64_t wall_us; /* now: what seems to have come later is forgotten. 0: nothing is */
};
/* Opens or makes the file, at its whole length. Blocks: at start only.
 * FR_ERR_IO: *out_errno. FR_ERR_EXISTS: another process uses it. FR_ERR_RANGE: too small. */
FR_MUST_USE enum fr_err disk_open(const struct disk_options *options, struct disk **out,
                                  int *out_errno);
struct cache_disk *disk_cache(const struct disk *disk); /* for the store's options */
/* Looks through what is there, in the background, and takes what is stored from now on. */
FR_MUST_USE enum fr_err disk_start(struct disk *disk, struct cache_store *store);
/* Writes what is queued and ends the threads; who waits for a read is told. Nothing is read or
 * queued any more. */
void disk_stop(struct disk *disk);
void disk_free(struct disk **disk); /* stops; after the store was freed */

struct disk_waiter {
    struct fr_list link;
    void (*done)(void *ctx); /* on a thread of the disk's, once */
    void *ctx;
};
/* Brings it back into memory, once for all who ask meanwhile. False: too many reads, or stopped;
 * the waiter is not told then. */
bool disk_read(struct disk *disk, const struct cache_disk_place *place, uint32_t owner,
               struct disk_waiter *waiter);

/* A piece of a body that is sent from disk. */
enum disk_piece_end {
    DISK_PIECE_GOOD,
    DISK_PIECE_GONE, /* its segment was written over */
    DISK_PIECE_BAD,  /* a check failed, or the system */
};
struct disk_piece {
    struct fr_list link;
    void (*done)(void *ctx); /* on a thread of the disk's, once */
    void *ctx;
    struct cache_entry *entry;     /* whose body; held until done */
    struct cache_disk_place place; /* follows where it goes */
    uint64_t number;
    char *room; /* CACHE_DISK_PIECE_BYTES */
    enum disk_piece_end end;
};
/* Reads it into its room. False: stopped, and nobody is told. Whoever sends has one under way at
 * most, so that there are no more than may be sent (cache_disk_body_open). What is not GOOD is
 * found by nobody any more. */
bool disk_read_piece(struct disk *disk, struct disk_piece *piece);

#endif
