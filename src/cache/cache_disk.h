/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cache_disk.h - what of the cache stands on disk: the format of the file, where in it things are,
 * what is to be written. src/disk reads and writes; this decides.
 *
 * May touch:  base, http. Never: descriptors, clocks, threads of its own.
 * Threads:    any, unless a function says whose it is. The file's beginning is mapped memory that
 *             the owner gives: what is noted there is there after a kill at any instant.
 * Memory:     an index of at most CACHE_DISK_SPOT_BYTES a response, a queue of references, all
 *             counted in the budget of the store (cache_disk_bytes).
 * When full:  what cannot be queued or indexed is not on disk, and counted.
 * Follows:    docs/decisions/0022.
 *
 *     file:     [super][marks][segment 0][segment 1] ...        super and marks are mapped
 *     segment:  [segment head][record][record] ...               one is written, the oldest leaves
 *     record:   [front][fixed | tags key vary range head | check][piece | check][piece | check] ...
 */
#ifndef CACHE_DISK_H
#define CACHE_DISK_H

#include "base/fr_err.h"
#include "base/fr_hash.h"
#include "cache/cache.h"

#define CACHE_DISK_FILE_BYTES_MIN (16 * 1024 * 1024)
#define CACHE_DISK_MEMORY_BYTES_MIN (16 * 1024 * 1024) /* of the store with a disk */
#define CACHE_DISK_MEMORY_SHARE 256 /* ... and at least such a part of the file */
#define CACHE_DISK_SPOT_BYTES 56    /* in memory, for one response on disk */
#define CACHE_DISK_PIECE_BYTES 65536
#define CACHE_DISK_UNIT_BYTES_MAX (160 * 1024) /* a record's head, or a piece with its check */
#define CACHE_DISK_SEGMENT_HEAD_BYTES 64
#define CACHE_DISK_BOOT_BYTES 40
#define CACHE_DISK_QUEUE_MAX 4096 /* responses that wait to be written */
/* A longer body is not taken into memory when it is found: it is sent from disk, piece by piece,
 * and whoever it is sent to holds so many pieces at a time. All of them hold such a part of the
 * memory at most; beyond it what is on disk is as if it was not. */
#define CACHE_DISK_WHOLE_BYTES_MAX (256 * 1024)
#define CACHE_DISK_WINDOW_PIECES 2
#define CACHE_DISK_WINDOWS_SHARE 4

struct cache_disk; /* one a file */

/* ---- the file -------------------------------------------------------------------------------- */

struct cache_disk_layout {
    uint64_t file_bytes;
    uint64_t mapped_bytes; /* super and marks; the first segment begins here */
    uint64_t segment_bytes;
    uint32_t segment_count;
    uint32_t slot_count; /* of purges */
    uint32_t gone_count; /* of keys taken back */
};
/* False: too small. */
bool cache_disk_layout(uint64_t file_bytes, struct cache_disk_layout *out);
uint64_t cache_disk_segment_at(const struct cache_disk_layout *layout, uint32_t segment);

/* boot: what the system is called since it started, at most CACHE_DISK_BOOT_BYTES - 1 bytes. */
enum cache_disk_fit {
    CACHE_DISK_FITS,
    CACHE_DISK_OTHER,  /* another format, version or size, or damaged */
    CACHE_DISK_UNSURE, /* the system stopped while it was in use: what was purged may be lost */
};
enum cache_disk_fit cache_disk_judge(const void *mapped, const struct cache_disk_layout *layout,
                                     struct fr_view boot);
void cache_disk_format(void *mapped, const struct cache_disk_layout *layout); /* empty, new key */
void cache_disk_in_use(void *mapped, struct fr_view boot);
void cache_disk_at_rest(void *mapped); /* all that is written is on the medium */

/* mapped is zeroed or in the format already, and outlives it. memory_bytes: of the store. */
FR_MUST_USE enum fr_err cache_disk_new(void *mapped, const struct cache_disk_layout *layout,
                                       uint64_t memory_bytes, struct cache_disk **out);
/* Before the first scan: what came later than this is forgotten. It came before the clock was set
 * back, and nobody knows how old it is. */
void cache_disk_starts_at(struct cache_disk *disk, int64_t wall_us);
void cache_disk_free(struct cache_disk **disk); /* before the store is freed, after its last use */
uint64_t cache_disk_bytes(const struct cache_disk *disk); /* memory, the mapped part with it */
const struct cache_disk_layout *cache_disk_layout_of(const struct cache_disk *disk);
void cache_disk_note_memory(struct cache_disk *disk, uint64_t bytes); /* of the owner's buffers */

struct cache_disk_counters {
    uint64_t entries, bytes;               /* on disk, and found */
    uint64_t hits;                         /* found on disk and taken into memory */
    uint64_t misses;                       /* neither in memory nor on disk */
    uint64_t heads;                        /* of those written, heads alone */
    uint64_t written, written_bytes, kept; /* kept: written again when their segment left */
    uint64_t dropped;                      /* the writer was behind */
    uint64_t refused;                      /* too large, index or table of Vary full */
    uint64_t purged;                       /* found on disk, and purged meanwhile */
    uint64_t no_room;                      /* found on disk, and memory had no room */
    uint64_t late;                         /* found on disk, and not there in time */
    uint64_t streamed;                     /* bodies sent from disk */
    uint64_t cut;                          /* ... of which a piece was wanting */
    uint64_t bad;                          /* a check failed */
    uint64_t errors;                       /* the system's, reading or writing */
    uint64_t queued;
    bool ready; /* all that was there at the start is known */
};
void cache_disk_read_counters(const struct cache_disk *disk, struct cache_disk_counters *out);
void cache_disk_count_error(struct cache_disk *disk);
void cache_disk_count_late(struct cache_disk *disk);
void cache_disk_count_no_room(struct cache_disk *disk);
void cache_disk_count_kept(struct cache_disk *disk);
void cache_disk_count_streamed(struct cache_disk *disk);
void cache_disk_count_cut(struct cache_disk *disk);

/* ---- looking up ------------------------------------------------------------------------------ */

struct cache_disk_place {
    struct fr_hash128 hash;
    uint64_t stamp; /* of its head */
    uint64_t birth; /* of the record, whose name it is */
    uint32_t segment;
    uint32_t bytes;  /* the whole record */
    uint64_t offset; /* in the segment */
};
/* What memory does not hold (cache_found.absent): whether the disk may. */
bool cache_disk_find(struct cache_disk *disk, const struct cache_request *request,
                     struct cache_disk_place *out);
/* Whether it still is the one that is found, with this head; or with whatever head. */
bool cache_disk_holds(struct cache_disk *disk, const struct cache_disk_place *place);
bool cache_disk_is_there(struct cache_disk *disk, const struct cache_disk_place *place);
/* It cannot be read: it is not found any more, nor where it can be read again. */
void cache_disk_drop(struct cache_disk *disk, const struct cache_disk_place *place);
/* Something else came to stand there. Counted, and dropped. */
void cache_disk_found_bad(struct cache_disk *disk, const struct cache_disk_place *place);

/* A record's way back into memory: begin with its head, then the pieces in order, then end. */
struct cache_disk_loading;
enum cache_disk_step {
    CACHE_DISK_MORE, /* *out_bytes of the record are wanted next */
    CACHE_DISK_WHOLE,
    CACHE_DISK_BAD,
    CACHE_DISK_FULL, /* memory had no room: what was evicted for it may still be read by workers */
};
/* head: the record's first bytes, as many as cache_disk_head_bytes says of them. */
enum cache_disk_step cache_disk_load_begin(struct cache_store *store, struct cache_disk *disk,
                                           const struct cache_disk_place *place,
                                           struct fr_view head, uint32_t owner,
                                           struct cache_disk_loading **out, size_t *out_bytes);
enum cache_disk_step cache_disk_load_add(struct cache_disk_loading *loading, struct fr_view unit,
                                         size_t *out_bytes);
/* True: it is in memory now, for everybody. False: it is purged, or replaced meanwhile. Frees. */
bool cache_disk_load_end(struct cache_disk_loading **loading);
void cache_disk_load_drop(struct cache_disk_loading **loading);

/* A body that is sent from disk: of an entry that is far (cache_entry_is_far), which the caller
 * holds until the end. Any thread. */

/* False: it is not there any more, or too many are being sent. Else _close ends it. */
bool cache_disk_body_open(struct cache_disk *disk, const struct cache_entry *entry,
                          struct cache_disk_place *out);
void cache_disk_body_close(struct cache_disk *disk);
/* Of the store's memory, for one piece without its check. NULL: it has no room. */
char *cache_disk_room_take(const struct cache_entry *entry);
void cache_disk_room_give(const struct cache_entry *entry, char *room); /* NULL is allowed */
/* Piece `number`, from 0: where in the file, and what it takes there without its check. */
uint64_t cache_disk_piece_at(const struct cache_disk *disk, const struct cache_entry *entry,
                             const struct cache_disk_place *place, uint64_t number,
                             size_t *out_bytes);
bool cache_disk_piece_right(const struct cache_disk *disk, const struct cache_disk_place *place,
                            uint64_t number, struct fr_view padded, uint64_t check);
/* What was read at *place is not it. True: it is somewhere else by now, and *place tells. */
bool cache_disk_body_again(struct cache_disk *disk, const struct cache_entry *entry,
                           struct cache_disk_place *place);
/* It cannot be read: nobody finds it any more, in memory neither. */
void cache_disk_body_lost(struct cache_disk *disk, struct cache_entry *entry,
                          const struct cache_disk_place *place, bool bad);

/* ---- writing: one thread, always the same ---------------------------------------------------- */

/* Something is to be written; any thread. */
void cache_disk_on_queued(struct cache_disk *disk, void (*wake)(void *ctx), void *ctx);
struct cache_disk_job {
    struct cache_entry *entry; /* a counted reference */
    uint64_t stamp;
    uint64_t birth; /* of the record that has the body already: its head is to be written; or 0 */
    bool replaces;  /* an older one, on disk or on its way, which must not come back */
};
/* False: nothing is queued. Each job ends in _written or _unwritten. */
bool cache_disk_next(struct cache_disk *disk, struct cache_disk_job *out);
uint64_t cache_disk_record_bytes(const struct cache_entry *entry);
/* False: no room in the index, and the job is not over. */
bool cache_disk_written(struct cache_disk *disk, struct cache_disk_job *job, uint32_t segment,
                        uint64_t offset);
void cache_disk_unwritten(struct cache_disk *disk, struct cache_disk_job *job);
/* _unwritten, but its record may be in the file: no start finds it. */
void cache_disk_unfound(struct cache_disk *disk, struct cache_disk_job *job);
/* _unwritten, and never to be. */
void cache_disk_refuse(struct cache_disk *disk, struct cache_disk_job *job);
/* Of a job with a birth: what is to be done now. */
enum cache_disk_heading {
    CACHE_DISK_HEADING_HERE,  /* *out is where the record stands */
    CACHE_DISK_HEADING_WHOLE, /* the record is gone: the response is written as others are */
    CACHE_DISK_HEADING_NONE,  /* it is out of date, or nobody has its body any more */
};
enum cache_disk_heading cache_disk_heading(struct cache_disk *disk, struct cache_disk_job *job,
                                           struct cache_disk_place *out);
/* It cannot be written where it was: forgets that. False: then it is over. */
bool cache_disk_heading_whole(struct cache_disk *disk, struct cache_disk_job *job,
                              const struct cache_disk_place *place);
void cache_disk_headed(struct cache_disk *disk, struct cache_disk_job *job,
                       const struct cache_disk_place *place, size_t bytes);
void cache_disk_close(struct cache_disk *disk); /* nothing is queued any more */

/* A record as bytes, unit by unit: the head, then pieces. */
struct cache_disk_encoder {
    const struct cache_disk *disk;
    const struct cache_entry *entry;
    uint64_t stamp, sequence;
    bool head_done;
    uint64_t left; /* of the body */
    uint64_t piece;
    size_t part;        /* of the body */
    size_t part_offset; /* ... */
};
void cache_disk_encode_begin(struct cache_disk_encoder *encoder, const struct cache_disk *disk,
                             const struct cache_disk_job *job, uint64_t sequence);
/* The next unit into out, of CACHE_DISK_UNIT_BYTES_MAX; 0: that was the last. */
size_t cache_disk_encode(struct cache_disk_encoder *encoder, char *out);

/* Where the head of a record of this entry stands, and how much room it has; 0: this one's does not
 * fit there. */
uint64_t cache_disk_head_at(const struct cache_disk *disk, const struct cache_entry *entry,
                            const struct cache_disk_place *place, size_t *out_bytes);
/* So many bytes. False: it does not fit. */
bool cache_disk_encode_head(const struct cache_disk *disk, const struct cache_entry *entry,
                            uint64_t stamp, uint64_t birth, size_t bytes, char *out);

/* ---- segments: the writer's ------------------------------------------------------------------ */

void cache_disk_segment_head(const struct cache_disk *disk, uint32_t segment, uint64_t sequence,
                             char out[CACHE_DISK_SEGMENT_HEAD_BYTES]);
/* The sequence of a segment with this head; 0: it is empty, or has left. */
uint64_t cache_disk_segment_sequence(const struct cache_disk *disk, uint32_t segment,
                                     struct fr_view head);

/* What stands in a segment and should not leave with it: asked for since it was written. So many
 * places of the index at a time. */
struct cache_disk_sweep {
    uint32_t segment;
    size_t cursor;
    uint64_t keep_bytes; /* at most */
    bool hottest;        /* they alone */
};
/* False: that was the last part. Fills out with what is to be moved. */
#define CACHE_DISK_SWEEP_SPOTS 512
bool cache_disk_sweep(struct cache_disk *disk, struct cache_store *store,
                      struct cache_disk_sweep *sweep,
                      struct cache_disk_place out[CACHE_DISK_SWEEP_SPOTS], size_t *out_count);
/* The record's head for its new segment. False: it is bad. */
bool cache_disk_reseat(const struct cache_disk *disk, const struct cache_disk_place *place,
                       char *head, size_t bytes, uint64_t sequence);
bool cache_disk_piece_good(const struct cache_disk *disk, uint64_t birth, uint64_t piece,
                           struct fr_view unit);
/* It stands elsewhere now. False: it was taken back meanwhile. */
bool cache_disk_moved(struct cache_disk *disk, const struct cache_disk_place *place,
                      uint32_t segment, uint64_t offset);
/* It may stand elsewhere, too, where no start is to find it. */
void cache_disk_unmoved(struct cache_disk *disk, const struct cache_disk_place *place);
/* The segment leaves, of all that are in use the one with the least sequence: nothing of it is
 * found any more, after a restart neither, whatever stands there. What moved is in the file. */
void cache_disk_leave(struct cache_disk *disk, uint32_t segment, uint64_t sequence);
uint64_t cache_disk_left(const struct cache_disk *disk); /* the newest of them, or 0 */

/* ---- the start: the writer's ----------------------------------------------------------------- */

enum cache_disk_scan {
    CACHE_DISK_SCAN_RECORD, /* out is it */
    CACHE_DISK_SCAN_SHORT,  /* *out_bytes are needed */
    CACHE_DISK_SCAN_FULL,   /* out is one more than the index has room for */
    CACHE_DISK_SCAN_END,
};
struct cache_disk_record_view {
    struct cache_disk_place place;
    uint64_t body_bytes;
    size_t head_bytes;
    bool torn; /* its head is not what was written: it is gone, with what it replaced */
};
/* Reads one record's head at offset. A RECORD is found from cache_disk_ready on, unless a newer one
 * is known or it was taken back. */
enum cache_disk_scan cache_disk_scan(struct cache_disk *disk, uint32_t segment, uint64_t sequence,
                                     uint64_t offset, struct fr_view bytes,
                                     struct cache_disk_record_view *out, size_t *out_bytes);
void cache_disk_scan_refuse(struct cache_disk *disk, const struct cache_disk_place *place);
void cache_disk_scan_torn(struct cache_disk *disk, const struct cache_disk_place *place);
void cache_disk_ready(struct cache_disk *disk);
/* How long a record's front and head are, from its first bytes; 0: it is none. */
size_t cache_disk_head_bytes(struct fr_view bytes);
#define CACHE_DISK_FIRST_BYTES 56
/* Bytes of a piece with its check, of a body of which so many are left. */
size_t cache_disk_piece_bytes(uint64_t left);

#endif
