/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cache_disk.c - between the store and its disk: what is to be written, what was taken back, and
 * what was found.
 *
 * May touch:  base, http.
 * Threads:    any; the queue has a lock, the rest is atomic or the index's. Locks of the store may
 *             be held while those of this file are taken, never the other way round.
 * Memory:     the index takes a sixth of the store's budget at most; the queue is of fixed length
 *             and holds at most QUEUE_SHARE of the budget in references.
 * When full:  dropped and counted; an older one of it on disk is taken back then.
 * Follows:    RFC 9111 section 4.4: what was invalidated is not found again, not by a restart
 *             either.
 *
 * Everything that the store takes in gets a stamp, under the lock of its shard. So whoever takes
 * a key back afterwards knows a stamp that is not older than any that it concerns:
 *
 *     gone[hash of the key] = the newest stamp        what was stamped up to it never counts again
 *
 * gone is part of the file and mapped, so that this is true after a kill, too. It is written only
 * where something of the key is on disk or on its way there; keys that share a place go together.
 */
#include "cache/cache_disk_priv.h"

#include "base/fr_check.h"
#include "base/fr_mem.h"

#define DISK_MAGIC 0x4344534bu
#define INDEX_SHARE 6            /* of memory, at most */
#define FILE_BYTES_EXPECTED 1024 /* of the file, for one response */
#define QUEUE_SHARE 8
#define WINDOWS_MIN 8
#define HOT_HITS 8 /* in memory: what must not leave the disk for what was asked for once */
#define PENDING_ROWS 2
#define PENDING 32768 /* a row */

struct cache_disk {
    uint32_t magic;
    /* set once */
    struct cache_disk_layout layout;
    struct cache__disk_map map;
    struct cache__spots *spots;
    uint64_t bytes;
    uint64_t queue_bytes_max;
    int64_t starts_us;
    uint64_t windows_max;
    void (*wake)(void *ctx);
    void *wake_ctx;
    /* under the lock */
    struct fr_lock lock;
    struct cache_disk_job *queue; /* a ring */
    size_t queue_first, queue_count;
    uint64_t queue_bytes;
    bool closed;
    /* shared, atomic */
    bool ready;
    uint64_t windows;
    struct cache_disk_counters counters;
    /* Stamped, and neither written nor given up: each counts in every row, by another part of its
     * hash, so that what shares a place with one in all of them is rare with a full queue, too. */
    uint16_t pending[PENDING_ROWS][PENDING];
};

static void
count(uint64_t *counter, uint64_t n)
{
    __atomic_fetch_add(counter, n, __ATOMIC_RELAXED);
}

/* ---- life ------------------------------------------------------------------------------------ */

static size_t
capacity_for(const struct cache_disk_layout *layout, uint64_t memory_bytes)
{
    uint64_t fits = memory_bytes / INDEX_SHARE / CACHE_DISK_SPOT_BYTES;
    uint64_t wanted = layout->file_bytes / FILE_BYTES_EXPECTED;
    return (size_t)(wanted < fits ? wanted : fits);
}

enum fr_err
cache_disk_new(void *mapped, const struct cache_disk_layout *layout, uint64_t memory_bytes,
               struct cache_disk **out)
{
    size_t capacity = capacity_for(layout, memory_bytes);
    struct cache_disk *disk = fr_alloc(sizeof(*disk));
    if (!disk)
        return FR_ERR_NOMEM;
    disk->layout = *layout;
    cache__disk_map(mapped, layout, &disk->map);
    disk->queue = fr_alloc(CACHE_DISK_QUEUE_MAX * sizeof(*disk->queue));
    disk->spots = disk->queue ? cache__spots_new(capacity) : NULL;
    if (!disk->spots) {
        fr_free(disk->queue);
        fr_free(disk);
        return FR_ERR_NOMEM;
    }
    disk->bytes = sizeof(*disk) + CACHE_DISK_QUEUE_MAX * sizeof(*disk->queue) +
                  cache__spots_bytes(capacity) + layout->mapped_bytes;
    disk->queue_bytes_max = memory_bytes / QUEUE_SHARE;
    disk->starts_us = INT64_MAX;
    disk->windows_max = memory_bytes / CACHE_DISK_WINDOWS_SHARE /
                        (CACHE_DISK_WINDOW_PIECES * (uint64_t)CACHE_DISK_PIECE_BYTES);
    if (disk->windows_max < WINDOWS_MIN)
        disk->windows_max = WINDOWS_MIN;
    fr_lock_init(&disk->lock);
    disk->magic = DISK_MAGIC;
    *out = disk;
    return FR_OK;
}

void
cache_disk_free(struct cache_disk **disk)
{
    struct cache_disk *old = *disk;
    *disk = NULL;
    if (!old)
        return;
    fr_require(old->magic == DISK_MAGIC);
    cache_disk_close(old);
    old->magic = 0;
    cache__spots_free(&old->spots);
    fr_lock_fini(&old->lock);
    fr_free(old->queue);
    fr_free(old);
}

void
cache_disk_starts_at(struct cache_disk *disk, int64_t wall_us)
{
    disk->starts_us = wall_us;
}

uint64_t
cache_disk_bytes(const struct cache_disk *disk)
{
    return disk->bytes;
}

void
cache_disk_note_memory(struct cache_disk *disk, uint64_t bytes)
{
    disk->bytes += bytes;
}

const struct cache_disk_layout *
cache_disk_layout_of(const struct cache_disk *disk)
{
    return &disk->layout;
}

const struct cache__disk_map *
cache__disk_map_of(const struct cache_disk *disk)
{
    return &disk->map;
}

struct cache__spots *
cache__disk_spots(const struct cache_disk *disk)
{
    return disk->spots;
}

bool
cache__disk_window_take(struct cache_disk *disk)
{
    if (__atomic_add_fetch(&disk->windows, 1, __ATOMIC_RELAXED) <= disk->windows_max)
        return true;
    cache__disk_window_give(disk);
    return false;
}

void
cache__disk_window_give(struct cache_disk *disk)
{
    __atomic_sub_fetch(&disk->windows, 1, __ATOMIC_RELAXED);
}

void
cache_disk_read_counters(const struct cache_disk *disk, struct cache_disk_counters *out)
{
    const uint64_t *from = &disk->counters.entries;
    uint64_t *to = &out->entries;
    for (size_t i = 0; i < offsetof(struct cache_disk_counters, ready) / sizeof(uint64_t); i++)
        to[i] = __atomic_load_n(&from[i], __ATOMIC_RELAXED);
    cache__spots_sum(disk->spots, &out->entries, &out->bytes);
    out->ready = __atomic_load_n(&disk->ready, __ATOMIC_RELAXED);
}

void
cache_disk_count_error(struct cache_disk *disk)
{
    count(&disk->counters.errors, 1);
}

void
cache_disk_count_late(struct cache_disk *disk)
{
    count(&disk->counters.late, 1);
}

void
cache_disk_count_no_room(struct cache_disk *disk)
{
    count(&disk->counters.no_room, 1);
}

void
cache_disk_count_kept(struct cache_disk *disk)
{
    count(&disk->counters.kept, 1);
}

void
cache__disk_count_loaded(struct cache_disk *disk, bool there)
{
    count(there ? &disk->counters.hits : &disk->counters.purged, 1);
}

void
cache_disk_count_streamed(struct cache_disk *disk)
{
    count(&disk->counters.streamed, 1);
}

void
cache_disk_count_cut(struct cache_disk *disk)
{
    count(&disk->counters.cut, 1);
}

/* ---- what was taken back --------------------------------------------------------------------- */

static uint64_t *
gone_of(const struct cache_disk *disk, struct fr_hash128 hash)
{
    return &disk->map.gone[hash.lo & (disk->layout.gone_count - 1)];
}

static bool
is_gone(const struct cache_disk *disk, struct fr_hash128 hash, uint64_t stamp)
{
    return __atomic_load_n(gone_of(disk, hash), __ATOMIC_SEQ_CST) >= stamp;
}

static void
gone_up_to(struct cache_disk *disk, struct fr_hash128 hash, uint64_t stamp)
{
    uint64_t *gone = gone_of(disk, hash);
    uint64_t was = __atomic_load_n(gone, __ATOMIC_RELAXED);
    while (was < stamp && !__atomic_compare_exchange_n(gone, &was, stamp, false, __ATOMIC_SEQ_CST,
                                                       __ATOMIC_RELAXED))
        ;
}

static uint16_t *
pending_of(struct cache_disk *disk, struct fr_hash128 hash, size_t row)
{
    return &disk->pending[row][(row == 0 ? hash.lo : hash.hi) % PENDING];
}

static bool
is_pending(struct cache_disk *disk, struct fr_hash128 hash)
{
    for (size_t row = 0; row < PENDING_ROWS; row++)
        if (__atomic_load_n(pending_of(disk, hash, row), __ATOMIC_SEQ_CST) == 0)
            return false;
    return true;
}

/* Under the lock of its shard, as all that is stamped. True: another one of it may be pending. */
static bool
pending_begin(struct cache_disk *disk, struct fr_hash128 hash)
{
    bool others = true;
    for (size_t row = 0; row < PENDING_ROWS; row++)
        others &= __atomic_fetch_add(pending_of(disk, hash, row), 1, __ATOMIC_SEQ_CST) != 0;
    return others;
}

/* It is in the index by now, or given up: whoever sees it in one row no more finds that. */
static void
pending_end(struct cache_disk *disk, struct fr_hash128 hash)
{
    for (size_t row = 0; row < PENDING_ROWS; row++)
        __atomic_fetch_sub(pending_of(disk, hash, row), 1, __ATOMIC_SEQ_CST);
}

static bool
is_ready(const struct cache_disk *disk)
{
    return __atomic_load_n(&disk->ready, __ATOMIC_SEQ_CST);
}

/* What is pending now may be found before the second time, and is not indexed after it: whoever
 * indexes looks at `gone` afterwards. */
void
cache__disk_forget(struct cache_disk *disk, struct fr_hash128 hash)
{
    bool unknown = is_pending(disk, hash) || !is_ready(disk);
    if (cache__spots_forget(disk->spots, hash) == 0 && !unknown)
        return;
    gone_up_to(disk, hash, __atomic_load_n(disk->map.stamp, __ATOMIC_SEQ_CST));
    (void)cache__spots_forget(disk->spots, hash);
}

/* ---- what is to be written ------------------------------------------------------------------- */

void
cache_disk_on_queued(struct cache_disk *disk, void (*wake)(void *ctx), void *ctx)
{
    disk->wake = wake;
    disk->wake_ctx = ctx;
}

static struct cache__spot_place
spot_place(const struct cache_entry *entry, uint64_t stamp)
{
    return (struct cache__spot_place){
        .hash = cache__entry_hash(entry),
        .select = cache__entry_select(entry),
        .stamp = stamp,
        .serial = __atomic_load_n(&entry->serial, __ATOMIC_RELAXED),
        .vary = cache__entry_vary(entry),
    };
}

void
cache__disk_stamp(struct cache_disk *disk, struct cache_entry *entry, struct cache_disk_job *out)
{
    /* What is on its way replaces nothing yet that could be found, and would come later. */
    bool others = pending_begin(disk, cache__entry_hash(entry));
    uint64_t stamp = __atomic_add_fetch(disk->map.stamp, 1, __ATOMIC_SEQ_CST);
    struct cache__spot_place place = spot_place(entry, stamp);
    *out = (struct cache_disk_job){.entry = cache_entry_ref(entry), .stamp = stamp};
    place.birth = cache__body_birth(entry->body);
    if (place.birth)
        out->birth = cache__spots_restamp(disk->spots, &place);
    bool found = out->birth != 0 || cache__spots_supersede(disk->spots, &place);
    out->replaces = found || others || !is_ready(disk);
}

static void
job_end(struct cache_disk *disk, struct cache_disk_job *job)
{
    pending_end(disk, cache__entry_hash(job->entry));
    cache_entry_unref(&job->entry);
}

void
cache_disk_unwritten(struct cache_disk *disk, struct cache_disk_job *job)
{
    struct fr_hash128 hash = cache__entry_hash(job->entry);
    struct cache_disk_place place;
    if (job->birth && cache__spots_locate(disk->spots, hash, job->birth, &place))
        (void)cache__spots_drop(disk->spots, &place); /* or it went just now */
    if (job->replaces) { /* what was on its way is in the index now, or looks at `gone` */
        struct cache__spot_place replaced = spot_place(job->entry, job->stamp);
        gone_up_to(disk, hash, job->stamp);
        (void)cache__spots_supersede(disk->spots, &replaced);
    }
    job_end(disk, job);
}

/* What stands in the file and not in the index is taken back at once: whoever does it later finds
 * nothing to note, and whatever hides it now may leave before it. */
void
cache_disk_unfound(struct cache_disk *disk, struct cache_disk_job *job)
{
    gone_up_to(disk, cache__entry_hash(job->entry), job->stamp);
    cache_disk_unwritten(disk, job);
}

void
cache_disk_refuse(struct cache_disk *disk, struct cache_disk_job *job)
{
    count(&disk->counters.refused, 1);
    cache_disk_unwritten(disk, job);
}

static bool
enqueue(struct cache_disk *disk, const struct cache_disk_job *job)
{
    uint64_t bytes = cache__entry_counted(job->entry);
    fr_lock_take(&disk->lock);
    bool fits = !disk->closed && disk->queue_count < CACHE_DISK_QUEUE_MAX &&
                (disk->queue_count == 0 || disk->queue_bytes + bytes <= disk->queue_bytes_max);
    if (fits) {
        size_t at = (disk->queue_first + disk->queue_count++) % CACHE_DISK_QUEUE_MAX;
        disk->queue[at] = *job;
        disk->queue_bytes += bytes;
        __atomic_store_n(&disk->counters.queued, disk->queue_count, __ATOMIC_RELAXED);
    }
    fr_lock_give(&disk->lock);
    return fits;
}

void
cache__disk_stored(struct cache_disk *disk, struct cache_disk_job *job)
{
    uint64_t *why = &disk->counters.dropped;
    bool headless = job->entry->body->far && !job->birth; /* its body has gone meanwhile */
    bool large = cache_disk_record_bytes(job->entry) >
                 disk->layout.segment_bytes - CACHE_DISK_SEGMENT_HEAD_BYTES;
    bool takes = cache__spots_takes(disk->spots, cache__entry_vary(job->entry));
    if (headless || !takes || (large && !job->birth))
        why = &disk->counters.refused;
    else if (enqueue(disk, job)) {
        if (disk->wake)
            disk->wake(disk->wake_ctx);
        return;
    }
    count(why, 1);
    cache_disk_unwritten(disk, job);
}

bool
cache_disk_next(struct cache_disk *disk, struct cache_disk_job *out)
{
    fr_lock_take(&disk->lock);
    bool any = disk->queue_count > 0;
    if (any) {
        *out = disk->queue[disk->queue_first];
        disk->queue_first = (disk->queue_first + 1) % CACHE_DISK_QUEUE_MAX;
        disk->queue_count--;
        uint64_t bytes = cache__entry_counted(out->entry);
        disk->queue_bytes =
            disk->queue_count == 0 || disk->queue_bytes < bytes ? 0 : disk->queue_bytes - bytes;
        __atomic_store_n(&disk->counters.queued, disk->queue_count, __ATOMIC_RELAXED);
    }
    fr_lock_give(&disk->lock);
    return any;
}

void
cache_disk_close(struct cache_disk *disk)
{
    struct cache_disk_job job;
    fr_lock_take(&disk->lock);
    disk->closed = true;
    fr_lock_give(&disk->lock);
    while (cache_disk_next(disk, &job)) {
        count(&disk->counters.dropped, 1);
        cache_disk_unwritten(disk, &job);
    }
}

bool
cache_disk_written(struct cache_disk *disk, struct cache_disk_job *job, uint32_t segment,
                   uint64_t offset)
{
    struct cache__spot_place place = spot_place(job->entry, job->stamp);
    place.segment = segment;
    place.offset = offset;
    place.bytes = (uint32_t)cache_disk_record_bytes(job->entry);
    place.birth = job->stamp;
    struct cache_disk_place at = {
        .hash = place.hash, .birth = job->stamp, .segment = segment, .offset = offset};
    enum cache__spot_put put = cache__spots_put(disk->spots, &place);
    if (put == CACHE__SPOT_FULL)
        return false; /* the job is not over */
    if (put == CACHE__SPOT_REFUSED) {
        count(&disk->counters.refused, 1);
        cache_disk_unfound(disk, job);
        return true;
    }
    if (put == CACHE__SPOT_OLD)
        gone_up_to(disk, place.hash, job->stamp);
    if (put == CACHE__SPOT_PUT)
        cache__body_set_birth(job->entry->body, place.birth);
    if (put == CACHE__SPOT_PUT && is_gone(disk, place.hash, job->stamp))
        (void)cache__spots_drop(disk->spots, &at);
    count(&disk->counters.written, 1);
    count(&disk->counters.written_bytes, place.bytes);
    job_end(disk, job);
    return true;
}

/* ---- heads alone ----------------------------------------------------------------------------- */

enum cache_disk_heading
cache_disk_heading(struct cache_disk *disk, struct cache_disk_job *job,
                   struct cache_disk_place *out)
{
    struct fr_hash128 hash = cache__entry_hash(job->entry);
    bool there =
        !is_gone(disk, hash, job->stamp) && cache__spots_locate(disk->spots, hash, job->birth, out);
    if (there && out->stamp == job->stamp)
        return CACHE_DISK_HEADING_HERE;
    if (there) { /* a newer one is queued */
        count(&disk->counters.written, 1);
        job_end(disk, job);
        return CACHE_DISK_HEADING_NONE;
    }
    if (is_gone(disk, hash, job->stamp) || job->entry->body->far) {
        count(&disk->counters.dropped, 1);
        cache_disk_unwritten(disk, job);
        return CACHE_DISK_HEADING_NONE;
    }
    job->birth = 0;
    return CACHE_DISK_HEADING_WHOLE;
}

bool
cache_disk_heading_whole(struct cache_disk *disk, struct cache_disk_job *job,
                         const struct cache_disk_place *place)
{
    if (job->entry->body->far) {
        cache_disk_refuse(disk, job);
        return false;
    }
    (void)cache__spots_drop(disk->spots, place); /* or taken back just now */
    job->birth = 0;
    return true;
}

void
cache_disk_headed(struct cache_disk *disk, struct cache_disk_job *job,
                  const struct cache_disk_place *place, size_t bytes)
{
    if (is_gone(disk, cache__entry_hash(job->entry), job->stamp))
        (void)cache__spots_drop(disk->spots, place); /* or whoever took it back did */
    count(&disk->counters.written, 1);
    count(&disk->counters.heads, 1);
    count(&disk->counters.written_bytes, bytes);
    job_end(disk, job);
}

/* ---- looking up ------------------------------------------------------------------------------ */

bool
cache_disk_find(struct cache_disk *disk, const struct cache_request *request,
                struct cache_disk_place *out)
{
    struct cache__key key;
    if (!is_ready(disk) || !cache__key_make(disk->map.hash_key, request, &key))
        return false;
    uint64_t least = __atomic_load_n(&disk->map.marks->all_hard, __ATOMIC_ACQUIRE);
    /* What is on its way to the disk may be newer than what is there. */
    if (!is_pending(disk, key.hash) &&
        cache__spots_find(disk->spots, disk->map.hash_key, key.hash, request->head, least, out))
        return true;
    count(&disk->counters.misses, 1);
    return false;
}

bool
cache_disk_holds(struct cache_disk *disk, const struct cache_disk_place *place)
{
    return cache__spots_holds(disk->spots, place);
}

bool
cache_disk_is_there(struct cache_disk *disk, const struct cache_disk_place *place)
{
    return cache__spots_has(disk->spots, place);
}

/* Noted before it is forgotten, so that who takes it back meanwhile finds one or the other. Its
 * head in the file may be newer than the one in `place`. */
static bool
drop(struct cache_disk *disk, const struct cache_disk_place *place)
{
    if (!cache__spots_holds(disk->spots, place))
        return false;
    gone_up_to(disk, place->hash, __atomic_load_n(disk->map.stamp, __ATOMIC_SEQ_CST));
    return cache__spots_drop(disk->spots, place);
}

void
cache_disk_drop(struct cache_disk *disk, const struct cache_disk_place *place)
{
    (void)drop(disk, place); /* or it is gone already */
}

void
cache_disk_found_bad(struct cache_disk *disk, const struct cache_disk_place *place)
{
    if (drop(disk, place)) /* what was moved or replaced while it was read is no error */
        count(&disk->counters.bad, 1);
}

/* ---- segments and the start ------------------------------------------------------------------ */

bool
cache_disk_sweep(struct cache_disk *disk, struct cache_store *store, struct cache_disk_sweep *sweep,
                 struct cache_disk_place out[CACHE_DISK_SWEEP_SPOTS], size_t *out_count)
{
    struct cache__spot_seen seen[CACHE_DISK_SWEEP_SPOTS];
    size_t found;
    *out_count = 0;
    bool more = cache__spots_walk(disk->spots, sweep->segment, &sweep->cursor,
                                  CACHE_DISK_SWEEP_SPOTS, seen, &found);
    for (size_t i = 0; i < found; i++) {
        const struct cache_disk_place *place = &seen[i].place;
        uint32_t hits = cache__store_hits(store, place->hash);
        bool wanted = sweep->hottest ? hits >= HOT_HITS : hits > 0 || seen[i].visited;
        if (place->bytes <= sweep->keep_bytes && wanted) {
            sweep->keep_bytes -= place->bytes;
            out[(*out_count)++] = *place;
        }
    }
    return more;
}

/* A key that the index does not know is taken back without a mark. So the file says that the
 * segment has left before the index forgets what stands there. */
void
cache_disk_leave(struct cache_disk *disk, uint32_t segment, uint64_t sequence)
{
    struct cache__spot_seen seen[CACHE_DISK_SWEEP_SPOTS];
    size_t cursor = 0, found;
    bool more = true;
    __atomic_store_n(disk->map.left, sequence, __ATOMIC_SEQ_CST);
    while (more) {
        more =
            cache__spots_walk(disk->spots, segment, &cursor, CACHE_DISK_SWEEP_SPOTS, seen, &found);
        for (size_t i = 0; i < found; i++)
            (void)cache__spots_drop(disk->spots, &seen[i].place); /* or taken back just now */
    }
}

uint64_t
cache_disk_left(const struct cache_disk *disk)
{
    return __atomic_load_n(disk->map.left, __ATOMIC_SEQ_CST);
}

bool
cache_disk_moved(struct cache_disk *disk, const struct cache_disk_place *place, uint32_t segment,
                 uint64_t offset)
{
    return cache__spots_move(disk->spots, place, segment, offset);
}

void
cache_disk_unmoved(struct cache_disk *disk, const struct cache_disk_place *place)
{
    gone_up_to(disk, place->hash, place->stamp);
}

/* False: the index is full. */
static bool
found_at_start(struct cache_disk *disk, const struct cache__record *record,
               const struct cache_disk_place *at)
{
    struct cache__spot_place place = {
        .hash = record->hash,
        .select = record->select,
        .stamp = record->stamp,
        .birth = record->birth,
        .serial = record->serial,
        .vary = record->vary,
        .segment = at->segment,
        .bytes = at->bytes,
        .offset = at->offset,
    };
    if (is_gone(disk, place.hash, place.stamp))
        return true;
    if (record->freshness.response_us > disk->starts_us) { /* nor what it replaced */
        gone_up_to(disk, place.hash, place.stamp);
        (void)cache__spots_forget(disk->spots, place.hash);
        return true;
    }
    enum cache__spot_put put = cache__spots_put(disk->spots, &place);
    if (put == CACHE__SPOT_FULL)
        return false;
    if (put == CACHE__SPOT_REFUSED)
        cache_disk_scan_refuse(disk, at);
    else if (put == CACHE__SPOT_OLD)
        gone_up_to(disk, place.hash, place.stamp);
    else if (is_gone(disk, place.hash, place.stamp)) /* by now */
        (void)cache__spots_drop(disk->spots, at);
    return true;
}

/* What it replaced is older than its record, whatever variant that was. It needs no mark: it leaves
 * before this front does, which says so at every start. */
static void
torn_at_start(struct cache_disk *disk, const struct cache__record *record)
{
    struct cache__spot_place all = {.hash = record->hash, .stamp = record->birth};
    (void)cache__spots_supersede(disk->spots, &all);
}

enum cache_disk_scan
cache_disk_scan(struct cache_disk *disk, uint32_t segment, uint64_t sequence, uint64_t offset,
                struct fr_view bytes, struct cache_disk_record_view *out, size_t *out_bytes)
{
    struct cache__record record;
    uint64_t left = disk->layout.segment_bytes - offset;
    *out_bytes = CACHE_DISK_FIRST_BYTES;
    if (left < CACHE_DISK_FIRST_BYTES)
        return CACHE_DISK_SCAN_END;
    if (bytes.len < CACHE_DISK_FIRST_BYTES)
        return CACHE_DISK_SCAN_SHORT;
    size_t head_bytes = cache_disk_head_bytes(bytes);
    if (head_bytes == 0 || head_bytes > left)
        return CACHE_DISK_SCAN_END;
    *out_bytes = head_bytes;
    if (bytes.len < head_bytes)
        return CACHE_DISK_SCAN_SHORT;
    if (!cache__record_front(disk->map.hash_key, bytes, &record) || record.sequence != sequence ||
        record.record_bytes > left)
        return CACHE_DISK_SCAN_END;
    bool torn = !cache__record_read(disk->map.hash_key, bytes, &record) ||
                record.stamp > __atomic_load_n(disk->map.stamp, __ATOMIC_RELAXED);
    *out = (struct cache_disk_record_view){
        .place = {.hash = record.hash,
                  .stamp = record.stamp,
                  .birth = record.birth,
                  .segment = segment,
                  .bytes = (uint32_t)record.record_bytes,
                  .offset = offset},
        .body_bytes = record.body_bytes,
        .head_bytes = head_bytes,
        .torn = torn,
    };
    if (torn)
        torn_at_start(disk, &record);
    return torn || found_at_start(disk, &record, &out->place) ? CACHE_DISK_SCAN_RECORD
                                                              : CACHE_DISK_SCAN_FULL;
}

void
cache_disk_scan_refuse(struct cache_disk *disk, const struct cache_disk_place *place)
{
    count(&disk->counters.refused, 1);
    gone_up_to(disk, place->hash, place->stamp);
}

/* Its body is not whole, and will not be for the next start either: nothing is to be noted. */
void
cache_disk_scan_torn(struct cache_disk *disk, const struct cache_disk_place *place)
{
    (void)cache__spots_drop(disk->spots, place); /* or it is gone already */
}

void
cache_disk_ready(struct cache_disk *disk)
{
    __atomic_store_n(&disk->ready, true, __ATOMIC_SEQ_CST);
}
