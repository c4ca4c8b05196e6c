/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cache_disk_priv.h - what the files of the disk tier and the store share.
 *
 * May touch:  base, http. Included by src/cache and its tests only.
 */
#ifndef CACHE_DISK_PRIV_H
#define CACHE_DISK_PRIV_H

#include "cache/cache_disk.h"
#include "cache/cache_priv.h"

/* ---- marks (cache_disk_marks.c): mapped, so that they outlive the process ----------------------
 */

#define CACHE__PREFIXES 256
#define CACHE__PREFIX_BYTES_MAX 1000
#define CACHE__SOFT_TIMES 1024

/* What purges know (cache_purge.c). Shared, atomic; written by purges alone. */
struct cache__marks {
    uint64_t last; /* the newest serial */
    uint64_t all_hard;
    uint64_t all_soft;
    uint64_t prefix_last;
    uint64_t prefix_floor; /* prefixes up to this serial are forgotten */
};
struct cache__slot { /* shared, atomic: serials, 0 = never */
    uint64_t hard;
    uint64_t soft;
};
struct cache__prefix_mark { /* written under the purges' lock; serial 0: none */
    uint64_t serial;
    uint32_t soft;
    uint32_t len;
    char text[CACHE__PREFIX_BYTES_MAX];
    char rest[8];
};
struct cache__soft_time {
    uint64_t serial;
    int64_t us;
};
/* Where in the mapped part things are. */
struct cache__disk_map {
    struct cache__marks *marks;
    uint64_t *stamp; /* the newest one given out; atomic */
    uint64_t *left;  /* segments up to this sequence are empty, whatever stands there; atomic */
    struct cache__slot *slots;
    uint64_t *gone; /* by hash of the key: what was stamped up to this is taken back; atomic */
    struct cache__prefix_mark *prefixes;
    struct cache__soft_time *soft_times;
    const struct fr_hash_key *hash_key;
};
void cache__disk_map(void *mapped, const struct cache_disk_layout *layout,
                     struct cache__disk_map *out);

/* ---- spots (cache_disk_spots.c): where what is -------------------------------------------------
 */

#define CACHE__VARIES_MAX 256 /* different values of Vary on one disk */

struct cache__spots;
struct cache__spot_place {
    struct fr_hash128 hash, select;
    uint64_t stamp, birth, serial;
    struct fr_view vary;
    uint32_t segment, bytes;
    uint64_t offset;
};
enum cache__spot_put {
    CACHE__SPOT_PUT,
    CACHE__SPOT_OLD,
    CACHE__SPOT_FULL,
    CACHE__SPOT_REFUSED, /* one more value of Vary, which nothing that leaves makes room for */
};
struct cache__spots *cache__spots_new(size_t capacity); /* NULL: no memory */
void cache__spots_free(struct cache__spots **spots);
uint64_t cache__spots_bytes(size_t capacity);
/* Whether there is room for what varies by this. */
bool cache__spots_takes(struct cache__spots *spots, struct fr_view vary);
/* Takes the place of older variants of it, and of all that vary by something else. */
enum cache__spot_put cache__spots_put(struct cache__spots *spots,
                                      const struct cache__spot_place *place);
/* Forgets what one with this stamp will replace. True: there was something. */
bool cache__spots_supersede(struct cache__spots *spots, const struct cache__spot_place *place);
size_t cache__spots_forget(struct cache__spots *spots, struct fr_hash128 hash);
bool cache__spots_find(struct cache__spots *spots, const struct fr_hash_key *hash_key,
                       struct fr_hash128 hash, const struct http_head *request,
                       uint64_t serial_least, struct cache_disk_place *out);
/* The record of this birth, wherever it is by now; visits it. */
bool cache__spots_locate(struct cache__spots *spots, struct fr_hash128 hash, uint64_t birth,
                         struct cache_disk_place *out);
/* The record of this very variant and birth is to get a head with this stamp and serial. Returns
 * its birth; 0: there is none. */
uint64_t cache__spots_restamp(struct cache__spots *spots, const struct cache__spot_place *place);
/* By its birth and where it is; exact: with this head. */
bool cache__spots_holds(struct cache__spots *spots, const struct cache_disk_place *place);
bool cache__spots_has(struct cache__spots *spots, const struct cache_disk_place *place);
bool cache__spots_visit(struct cache__spots *spots, const struct cache_disk_place *place);
bool cache__spots_drop(struct cache__spots *spots, const struct cache_disk_place *place);
bool cache__spots_move(struct cache__spots *spots, const struct cache_disk_place *place,
                       uint32_t segment, uint64_t offset);
/* What stands in a segment, so many spots from *cursor on. True: more follow. */
struct cache__spot_seen {
    struct cache_disk_place place;
    bool visited;
};
bool cache__spots_walk(struct cache__spots *spots, uint32_t segment, size_t *cursor, size_t count,
                       struct cache__spot_seen *out, size_t *out_count);
void cache__spots_sum(const struct cache__spots *spots, uint64_t *out_entries, uint64_t *out_bytes);
void cache__spots_check(struct cache__spots *spots); /* tests: asserts what must hold */

/* ---- records (cache_disk_record.c) -------------------------------------------------------------
 */

/* A decoded head; views into the bytes. */
struct cache__record {
    struct fr_hash128 hash, select;
    struct cache__freshness freshness;
    struct cache__part_of part_of;
    bool is_part;
    uint32_t stale; /* as of struct cache_entry */
    uint64_t stamp, birth, sequence, serial;
    uint64_t record_bytes, body_bytes;
    size_t head_bytes;
    struct fr_view key, vary, head;
    size_t tag_count;
    const char *tags; /* not aligned */
};
/* The check is right, and so is every length in it. */
/* Of the front alone: hash, birth, sequence, record_bytes, head_bytes. */
bool cache__record_front(const struct fr_hash_key *hash_key, struct fr_view bytes,
                         struct cache__record *out);
bool cache__record_read(const struct fr_hash_key *hash_key, struct fr_view bytes,
                        struct cache__record *out);

/* ---- the store and its disk --------------------------------------------------------------------
 */

const struct cache__disk_map *cache__disk_map_of(const struct cache_disk *disk);
struct cache__spots *cache__disk_spots(const struct cache_disk *disk);
void cache__disk_count_loaded(struct cache_disk *disk, bool there); /* or purged meanwhile */
/* False: as many as there may be. */
bool cache__disk_window_take(struct cache_disk *disk);
void cache__disk_window_give(struct cache_disk *disk);
/* ---- bodies that stay on disk (cache_disk_body.c) ----------------------------------------------
 */
/* Whether the body of a far entry is still there. */
bool cache__disk_body_there(struct cache_disk *disk, const struct cache_entry *entry);
/* Under the shard's lock, when an entry is about to be found in memory: older ones on disk are not
 * any more. Followed by _stored with the job. */
void cache__disk_stamp(struct cache_disk *disk, struct cache_entry *entry,
                       struct cache_disk_job *out);
void cache__disk_stored(struct cache_disk *disk, struct cache_disk_job *job);
/* Nothing of this key that is on disk, or on its way, is found any more, after a restart neither.
 * Before memory forgets it. */
void cache__disk_forget(struct cache_disk *disk, struct fr_hash128 hash);
/* What was read from disk goes back on the shelf, if nothing has come in meanwhile that is newer,
 * and nothing was taken back that concerns it. */
enum cache__put_back {
    CACHE__PUT_BACK_DONE,
    CACHE__PUT_BACK_HELD,   /* memory has one */
    CACHE__PUT_BACK_PURGED, /* by a purge */
    CACHE__PUT_BACK_OTHER,  /* it is on disk no more, or with another head */
};
enum cache__put_back cache__store_put_back(struct cache_store *store, struct cache_entry *entry,
                                           const struct cache_disk_place *place);
/* How often it was asked for in memory; 0: it is not there, or was not. */
uint32_t cache__store_hits(struct cache_store *store, struct fr_hash128 hash);

#endif
