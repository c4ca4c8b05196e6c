/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cache_store.c - the shelf's index: finds, admits, replaces and invalidates stored responses.
 *
 * May touch:  base, http. Never: sockets, clocks, files.
 * Threads:    any. A key belongs to one of CACHE__SHARDS shards. Readers (cache_reader.c) walk its
 *             chains without a lock; whoever changes one holds the shard's mutex, for one insertion
 *             or removal, and retires what it took out.
 * Memory:     cache_evict.c. The tables are made once.
 * Cost:       a hit by a reader: one key copied and hashed, the chain walked, one pin. No lock, no
 *             write that another reader would see, but for the first visit since SIEVE came by and
 *             the first CACHE__SAMPLE hits.
 * Follows:    RFC 9111 sections 4, 4.1 and 4.4; docs/decisions/0019.
 */
#include "cache/cache_shelf.h"

#include "base/fr_check.h"
#include "base/fr_time.h"

#define STORE_MAGIC 0x43535452u
#define BUCKETS_MIN 64
#define ENTRY_BYTES_EXPECTED 2048 /* one bucket for so many bytes of budget */
#define SPARE_SHARE 64            /* of the budget */
#define SPARE_BYTES_MAX (16 << 20)
#define CLOCK_STEP_US 1000 /* what is read of two clocks differs by less */
#define ENTRY_LINES 6      /* with its head, mostly */
#define BODY_LINES 10      /* from where on the processor sees by itself where it goes */
#define VARIANTS_MAX 16    /* entries of one key; then the oldest leaves */

/* An invalidation further than this in the future of a response was made by a clock that has been
 * set back since. */
#define MARK_AHEAD_MAX_US (3600 * FR_US_PER_S)

struct key_of {
    struct fr_hash128 hash;
    struct fr_view text;
};
struct walk {
    cache__walk_fn fn;
    void *ctx;
};

/* ---- making and freeing ---------------------------------------------------------------------- */

static size_t
bucket_count_for(uint64_t memory_bytes)
{
    size_t count = BUCKETS_MIN;
    while (count < CACHE__BUCKETS_MAX &&
           count * CACHE__SHARDS * ENTRY_BYTES_EXPECTED < memory_bytes)
        count *= 2;
    return count;
}

enum fr_err
cache_store_new(const struct cache_options *options, struct cache_store **out)
{
    uint64_t memory = options->memory_bytes;
    size_t bucket_count = bucket_count_for(memory);
    uint64_t bucket_bytes = CACHE__SHARDS * bucket_count * sizeof(struct cache_entry *);
    uint64_t index_bytes = sizeof(struct cache_store) + bucket_bytes +
                           cache__purges_bytes(options->disk ? 0 : memory) +
                           cache__mem_tables_bytes(memory);
    if (options->disk)
        index_bytes += cache_disk_bytes(options->disk);
    if (memory < CACHE_MEMORY_BYTES_MIN || (options->disk && 2 * index_bytes >= memory))
        return FR_ERR_RANGE;
    fr_insist(2 * index_bytes < memory);
    enum fr_err err = FR_ERR_NOMEM;
    struct cache_store *store = fr_xalloc_lines(sizeof(*store));
    store->magic = STORE_MAGIC;
    store->flights = cache__flights_new();
    store->options = *options;
    store->bucket_count = bucket_count;
    store->clock_ahead_us = INT64_MIN;
    store->index_bytes = index_bytes;
    store->spare_bytes = memory / SPARE_SHARE;
    if (store->spare_bytes > SPARE_BYTES_MAX)
        store->spare_bytes = SPARE_BYTES_MAX;
    cache__limbo_init(&store->limbo);
    if (options->disk) /* hashes are the same after a restart */
        store->hash_key = *cache__disk_map_of(options->disk)->hash_key;
    else
        fr_hash_key_random(&store->hash_key);
    store->mem = cache__mem_new(memory - index_bytes);
    store->bucket_memory = fr_mem_map_large(bucket_bytes);
    store->purges = cache__purges_new(memory, &store->hash_key, options->disk);
    if (!store->mem || !store->bucket_memory || !store->purges)
        goto out;
    for (size_t i = 0; i < CACHE__SHARDS; i++) {
        struct cache__shard *shard = &store->shards[i];
        fr_lock_init(&shard->lock);
        shard->buckets = store->bucket_memory + i * bucket_count;
        fr_list_init(&shard->queue);
        shard->hand = &shard->queue;
        for (size_t m = 0; m < CACHE__MARKS; m++)
            shard->marks[m] = (struct cache__mark){0, INT64_MIN, INT64_MIN};
        store->shard_count++;
    }
    *out = store;
    return FR_OK;
out:
    cache_store_free(&store);
    return err;
}

/* ---- one shard; its lock is held ------------------------------------------------------------- */

static struct cache__shard *
shard_of(struct cache_store *store, struct fr_hash128 hash)
{
    return &store->shards[hash.hi % CACHE__SHARDS];
}

static struct cache_entry **
bucket_of(struct cache_store *store, struct cache__shard *shard, struct fr_hash128 hash)
{
    return &shard->buckets[hash.lo & (store->bucket_count - 1)];
}

static struct cache__mark *
mark_of(struct cache__shard *shard, struct fr_hash128 hash)
{
    return &shard->marks[hash.hi / CACHE__SHARDS % CACHE__MARKS];
}

static void
mark_set(struct cache__mark *mark, struct fr_hash128 hash, int64_t now_us)
{
    if (mark->hash != hash.lo && mark->us > mark->others_us)
        mark->others_us = mark->us;
    mark->hash = hash.lo;
    mark->us = now_us;
}

static bool
entry_has_key(const struct cache_entry *entry, struct fr_hash128 hash, struct fr_view key)
{
    return entry->hash_lo == hash.lo && entry->hash_hi == (hash.hi & 0xffff) &&
           fr_view_eq(cache__entry_key(entry), key);
}

static bool
hash_eq(struct fr_hash128 a, struct fr_hash128 b)
{
    return a.lo == b.lo && a.hi == b.hi;
}

static struct cache_entry *
chain_next(const struct cache_entry *entry)
{
    return __atomic_load_n(&entry->chain, __ATOMIC_ACQUIRE);
}

/* Readers may stand on the entry: where it leads to stays as it is. */
void
cache__shelf_unlink(struct cache_store *store, struct cache__shard *shard,
                    struct cache_entry *entry)
{
    struct cache_entry **link = bucket_of(store, shard, cache__entry_hash(entry));
    while (*link != entry)
        link = &(*link)->chain;
    __atomic_store_n(link, entry->chain, __ATOMIC_RELEASE);
    if (shard->hand == &entry->queue)
        shard->hand = entry->queue.prev;
    fr_list_remove(&entry->queue);
    shard->entry_count--;
    __atomic_fetch_sub(&shard->bytes, cache__entry_counted(entry), __ATOMIC_RELAXED);
    __atomic_fetch_sub(&store->entries, 1, __ATOMIC_RELAXED);
}

struct cache__limbo *
cache__store_limbo(struct cache_store *store)
{
    return &store->limbo;
}

static void
retire_all(struct cache_store *store, struct fr_list *gone)
{
    if (fr_list_empty(gone))
        return;
    while (!fr_list_empty(gone)) {
        struct cache_entry *entry = FR_CONTAINER(gone->next, struct cache_entry, queue);
        fr_list_remove(&entry->queue);
        cache__limbo_retire(&store->limbo, entry);
    }
    cache__limbo_empty(&store->limbo);
}

void
cache__store_refused(struct cache_store *store, enum cache__refusal refusal)
{
    uint64_t *counters[] = {
        [CACHE__REFUSED_FULL] = &store->refused_full,
        [CACHE__REFUSED_LARGE] = &store->refused_large,
        [CACHE__REFUSED_TAGS] = &store->refused_tags,
        [CACHE__REFUSED_ONCE] = &store->refused_once,
    };
    cache__count(counters[refusal], 1);
}

const struct fr_hash_key *
cache__store_hash_key(const struct cache_store *store)
{
    return &store->hash_key;
}

uint64_t
cache__store_object_max(const struct cache_store *store)
{
    return store->options.object_bytes_max;
}

void
cache_store_counters(const struct cache_store *store, struct cache_counters *out)
{
    struct cache__mem_stat mem;
    cache__mem_stat(store->mem, &mem);
    /* What is too little for a page is nobody's: it is slack from the start. */
    uint64_t rest =
        store->options.memory_bytes - store->index_bytes - mem.used_bytes - mem.free_bytes;
    out->index_bytes = store->index_bytes;
    out->head_bytes = mem.live_bytes[CACHE__KIND_HEAD];
    out->body_bytes = mem.live_bytes[CACHE__KIND_BODY];
    out->slack_bytes = mem.slack_bytes + rest;
    out->free_bytes = mem.free_bytes;
    out->bytes = store->index_bytes + mem.used_bytes + rest;
    out->waiting = cache__counted(&store->limbo.waiting);
    out->entries = cache__counted(&store->entries);
    out->metadata_bytes = out->entries * CACHE__OBJECT_BYTES;
    out->stored = cache__counted(&store->stored);
    out->evicted = cache__counted(&store->evicted);
    out->refused_full = cache__counted(&store->refused_full);
    out->refused_large = cache__counted(&store->refused_large);
    out->refused_tags = cache__counted(&store->refused_tags);
    out->refused_once = cache__counted(&store->refused_once);
    out->refused_purged = cache__counted(&store->refused_purged);
}

/* Written when the clock of the day is set ahead, and hardly ever else. */
int64_t
cache_clock_us(struct cache_store *store, int64_t wall_us, int64_t steady_us)
{
    int64_t now = wall_us - steady_us;
    int64_t ahead = __atomic_load_n(&store->clock_ahead_us, __ATOMIC_RELAXED);
    while (ahead == INT64_MIN || now - ahead > CLOCK_STEP_US)
        if (__atomic_compare_exchange_n(&store->clock_ahead_us, &ahead, now, false,
                                        __ATOMIC_RELAXED, __ATOMIC_RELAXED))
            ahead = now;
    return steady_us + ahead;
}

/* ---- looking up ------------------------------------------------------------------------------ */

/* Among many objects every line of one is far away, and each would be waited for when it is its
 * turn. A hit needs these: all at once. */
static void
fetch_lines(const void *at, size_t count)
{
    for (size_t i = 0; i < count; i++)
        __builtin_prefetch((const char *)at + i * FR_CACHE_LINE);
}

/* The variant of `key` that the request selects; NULL when there is none. All entries of a key vary
 * by the same fields (cache__store_take), so that one hash selects among them. The shard is locked,
 * or the caller is a reader between two of its turns. */
static struct cache_entry *
variant_find(struct cache_store *store, struct cache__shard *shard, const struct cache__key *key,
             const struct http_head *request)
{
    struct fr_view text = fr_view_make(key->text, key->len);
    struct fr_hash128 select;
    bool selected = false;
    struct cache_entry **bucket = bucket_of(store, shard, key->hash);
    struct cache_entry *entry = __atomic_load_n(bucket, __ATOMIC_ACQUIRE);
    for (; entry; entry = chain_next(entry)) {
        fetch_lines(entry, ENTRY_LINES);
        if (entry->hash_lo == key->hash.lo)
            fetch_lines(entry->body, BODY_LINES);
        if (!entry_has_key(entry, key->hash, text))
            continue;
        if (entry->vary_len == 0)
            return entry;
        if (!selected &&
            !cache__select_hash(&store->hash_key, cache__entry_vary(entry), request, &select))
            return NULL;
        selected = true;
        if (hash_eq(cache__entry_select(entry), select))
            return entry;
    }
    return NULL;
}

/* Every hit comes by here: what is set already is not written again. */
static void
visit(struct cache_entry *entry)
{
    if (!__atomic_load_n(&entry->visited, __ATOMIC_RELAXED))
        __atomic_store_n(&entry->visited, true, __ATOMIC_RELAXED);
}

static struct cache_entry *
find_and_hold(struct cache_store *store, struct cache_reader *reader, const struct cache__key *key,
              const struct http_head *request)
{
    struct cache__shard *shard = shard_of(store, key->hash);
    if (reader) {
        struct cache_entry *entry = variant_find(store, shard, key, request);
        if (!entry || !cache__reader_pin(reader, entry))
            return NULL;
        visit(entry);
        return entry;
    }
    fr_lock_take(&shard->lock);
    struct cache_entry *entry = variant_find(store, shard, key, request);
    if (entry)
        visit(cache_entry_ref(entry)); /* the index's keeps it from being the last */
    fr_lock_give(&shard->lock);
    return entry;
}

static bool
is_it(void *ctx, struct cache_entry *entry)
{
    return ctx == entry;
}

static void
take_back(struct cache_store *store, struct cache_entry *entry)
{
    cache__store_walk_key(store, cache__entry_key(entry), is_it, entry);
}

/* What has its body on disk leaves when that has left. */
struct cache_entry *
cache__store_find(struct cache_store *store, struct cache_reader *reader,
                  const struct cache__key *key, const struct http_head *request)
{
    fr_require(store->magic == STORE_MAGIC);
    struct cache_entry *entry = find_and_hold(store, reader, key, request);
    if (!entry || !entry->body->far || cache__disk_body_there(store->options.disk, entry))
        return entry;
    take_back(store, entry);
    cache_entry_let_go(reader, &entry);
    return NULL;
}

/* Its variants select by the same fields. */
static bool
key_is_there(struct cache_store *store, struct cache__shard *shard, const struct cache__key *key,
             const struct http_head *request, struct fr_hash128 *out_select)
{
    struct fr_view text = fr_view_make(key->text, key->len);
    struct cache_entry **bucket = bucket_of(store, shard, key->hash);
    const struct cache_entry *entry = __atomic_load_n(bucket, __ATOMIC_ACQUIRE);
    while (entry && !entry_has_key(entry, key->hash, text))
        entry = chain_next(entry);
    return entry &&
           (entry->vary_len == 0 ||
            cache__select_hash(&store->hash_key, cache__entry_vary(entry), request, out_select));
}

bool
cache__store_has(struct cache_store *store, struct cache_reader *reader,
                 const struct cache__key *key, const struct http_head *request,
                 struct fr_hash128 *out_select)
{
    struct cache__shard *shard = shard_of(store, key->hash);
    if (reader)
        return key_is_there(store, shard, key, request, out_select);
    fr_lock_take(&shard->lock);
    bool there = key_is_there(store, shard, key, request, out_select);
    fr_lock_give(&shard->lock);
    return there;
}

struct cache__flights *
cache__store_flights(const struct cache_store *store)
{
    return store->flights;
}

/* ---- admitting and invalidating -------------------------------------------------------------- */

/* Unlinks what `entry`, which is in the index already, replaces: its own variant, all of a key that
 * varies by other fields now, and the oldest of too many. */
static void
replaced_take(struct cache_store *store, struct cache__shard *shard,
              const struct cache_entry *entry, struct fr_list *gone)
{
    struct cache_entry *oldest = NULL;
    size_t variants = 0;
    struct cache_entry *next = entry->chain;
    while (next) {
        struct cache_entry *other = next;
        next = other->chain;
        if (!entry_has_key(other, cache__entry_hash(entry), cache__entry_key(entry)))
            continue;
        if (!fr_view_eq(cache__entry_vary(other), cache__entry_vary(entry)) ||
            hash_eq(cache__entry_select(other), cache__entry_select(entry))) {
            cache__shelf_unlink(store, shard, other);
            fr_list_push_back(gone, &other->queue);
        } else {
            variants++;
            oldest = other; /* new ones are put first in their chain */
        }
    }
    if (variants >= VARIANTS_MAX) {
        cache__shelf_unlink(store, shard, oldest);
        fr_list_push_back(gone, &oldest->queue);
    }
}

/* An unsafe request changed the target after this response was asked for (section 4.4). */
static bool
outdated(struct cache__shard *shard, const struct cache_entry *entry, int64_t request_us)
{
    const struct cache__mark *mark = mark_of(shard, cache__entry_hash(entry));
    int64_t mark_us = mark->others_us;
    if (mark->hash == entry->hash_lo && mark->us > mark_us)
        mark_us = mark->us;
    return mark_us >= request_us &&
           mark_us <= cache__entry_freshness(entry).response_us + MARK_AHEAD_MAX_US;
}

static void
shelf_link(struct cache_store *store, struct cache__shard *shard, struct cache_entry *entry)
{
    struct cache_entry **bucket = bucket_of(store, shard, cache__entry_hash(entry));
    entry->chain = *bucket;
    __atomic_store_n(bucket, cache_entry_ref(entry), __ATOMIC_RELEASE);
    fr_list_push_front(&shard->queue, &entry->queue);
    shard->entry_count++;
    cache__count(&shard->bytes, cache__entry_counted(entry));
    cache__count(&store->entries, 1);
}

void
cache__store_take(struct cache_store *store, struct cache_entry *entry, int64_t request_us)
{
    struct fr_list gone;
    struct cache__shard *shard = shard_of(store, cache__entry_hash(entry));
    struct cache_disk *disk = store->options.disk;
    struct cache_disk_job job = {.entry = NULL};
    fr_list_init(&gone);
    fr_lock_take(&shard->lock);
    bool purged = cache__purges_judge(store->purges, entry) != CACHE__PURGED_NOT;
    bool taken = !purged && !outdated(shard, entry, request_us);
    if (taken) {
        if (disk)
            cache__disk_stamp(disk, entry, &job);
        shelf_link(store, shard, entry);
        replaced_take(store, shard, entry, &gone); /* so that readers find one or the other */
    }
    fr_lock_give(&shard->lock);
    if (job.entry)
        cache__disk_stored(disk, &job);
    if (taken)
        cache__count(&store->stored, 1);
    if (purged)
        cache__count(&store->refused_purged, 1);
    retire_all(store, &gone);
}

static bool
leave(void *ctx, struct cache_entry *entry)
{
    (void)ctx;
    (void)entry; /* whoever it is */
    return true;
}

void
cache_invalidate(struct cache_store *store, const struct cache_request *request)
{
    if (!http_method_safe(request->head->method))
        cache_forget(store, request);
}

void
cache_forget(struct cache_store *store, const struct cache_request *request)
{
    struct cache__key key;
    if (!cache__key_make(&store->hash_key, request, &key))
        return; /* what has no key is not stored */
    struct cache__shard *shard = shard_of(store, key.hash);
    fr_lock_take(&shard->lock);
    mark_set(mark_of(shard, key.hash), key.hash, request->now_us);
    fr_lock_give(&shard->lock);
    if (store->options.disk) /* before memory: what comes from there looks back at it */
        cache__disk_forget(store->options.disk, key.hash);
    cache__store_walk_key(store, fr_view_make(key.text, key.len), leave, NULL);
    cache__flights_forget(store, key.hash);
}

/* ---- what comes from disk -------------------------------------------------------------------- */

/* The lock is held: whether there is one that this one would take the place of. */
static bool
stands_for(struct cache_store *store, struct cache__shard *shard, const struct cache_entry *entry)
{
    struct fr_hash128 hash = cache__entry_hash(entry);
    struct fr_view key = cache__entry_key(entry), vary = cache__entry_vary(entry);
    struct cache_entry *other = *bucket_of(store, shard, hash);
    for (; other; other = other->chain)
        if (entry_has_key(other, hash, key) &&
            (!fr_view_eq(cache__entry_vary(other), vary) ||
             hash_eq(cache__entry_select(other), cache__entry_select(entry))))
            return true;
    return false;
}

enum cache__put_back
cache__store_put_back(struct cache_store *store, struct cache_entry *entry,
                      const struct cache_disk_place *place)
{
    enum cache__put_back put = CACHE__PUT_BACK_PURGED;
    struct cache__spots *spots = cache__disk_spots(store->options.disk);
    struct cache__shard *shard = shard_of(store, cache__entry_hash(entry));
    fr_lock_take(&shard->lock);
    if (stands_for(store, shard, entry)) {
        put = CACHE__PUT_BACK_HELD;
    } else if (cache__purges_admit(store->purges, entry)) {
        /* What takes it back on disk from now on sees to memory afterwards, which waits for this
         * lock; and what would replace it gets its stamp under it. */
        put = cache__spots_visit(spots, place) ? CACHE__PUT_BACK_DONE : CACHE__PUT_BACK_OTHER;
        if (put == CACHE__PUT_BACK_DONE)
            shelf_link(store, shard, entry);
    }
    fr_lock_give(&shard->lock);
    return put;
}

uint32_t
cache__store_hits(struct cache_store *store, struct fr_hash128 hash)
{
    struct cache__shard *shard = shard_of(store, hash);
    fr_lock_take(&shard->lock);
    const struct cache_entry *entry = *bucket_of(store, shard, hash);
    while (entry && !(entry->hash_lo == hash.lo && entry->hash_hi == (hash.hi & 0xffff)))
        entry = entry->chain;
    uint32_t hits = entry ? __atomic_load_n(&entry->hits, __ATOMIC_RELAXED) : 0;
    fr_lock_give(&shard->lock);
    return hits;
}

/* ---- walking --------------------------------------------------------------------------------- */

struct cache__purges *
cache__store_purges(const struct cache_store *store)
{
    return store->purges;
}

/* One bucket. An entry whose key is not `key` is passed by. */
static void
bucket_walk(struct cache_store *store, struct cache__shard *shard, struct cache_entry *next,
            const struct key_of *key, const struct walk *walk, struct fr_list *gone)
{
    while (next) {
        struct cache_entry *entry = next;
        next = entry->chain;
        if ((key && !entry_has_key(entry, key->hash, key->text)) || !walk->fn(walk->ctx, entry))
            continue;
        cache__shelf_unlink(store, shard, entry);
        fr_list_push_back(gone, &entry->queue);
    }
}

bool
cache__store_walk(struct cache_store *store, struct cache__cursor *cursor, size_t buckets,
                  cache__walk_fn fn, void *ctx)
{
    struct walk walk = {fn, ctx};
    struct fr_list gone;
    bool more = true;
    fr_list_init(&gone);
    for (; buckets > 0 && more; buckets--) {
        struct cache__shard *shard = &store->shards[cursor->shard];
        fr_lock_take(&shard->lock);
        bucket_walk(store, shard, shard->buckets[cursor->bucket], NULL, &walk, &gone);
        fr_lock_give(&shard->lock);
        if (++cursor->bucket < store->bucket_count)
            continue;
        cursor->bucket = 0;
        if (++cursor->shard == CACHE__SHARDS) {
            cursor->shard = 0;
            more = false;
        }
    }
    retire_all(store, &gone);
    return more;
}

void
cache__store_walk_key(struct cache_store *store, struct fr_view key, cache__walk_fn fn, void *ctx)
{
    struct walk walk = {fn, ctx};
    struct fr_list gone;
    struct key_of of = {fr_hash128(&store->hash_key, key.ptr, key.len), key};
    struct cache__shard *shard = shard_of(store, of.hash);
    fr_list_init(&gone);
    fr_lock_take(&shard->lock);
    bucket_walk(store, shard, *bucket_of(store, shard, of.hash), &of, &walk, &gone);
    fr_lock_give(&shard->lock);
    retire_all(store, &gone);
}

void
cache__store_evict_owner(struct cache_store *store, uint32_t owner)
{
    struct fr_list gone;
    uint32_t mask = (1u << CACHE__OWNER_BITS) - 1;
    struct fr_hash128 hash = {.lo = owner & mask, .hi = owner >> CACHE__OWNER_BITS};
    struct cache__shard *shard = shard_of(store, hash);
    fr_list_init(&gone);
    fr_lock_take(&shard->lock);
    struct cache_entry *next = *bucket_of(store, shard, hash);
    while (next) {
        struct cache_entry *entry = next;
        next = entry->chain;
        if ((entry->hash_lo & mask) != hash.lo)
            continue;
        cache__shelf_unlink(store, shard, entry);
        fr_list_push_back(&gone, &entry->queue);
        cache__count(&store->evicted, 1);
    }
    fr_lock_give(&shard->lock);
    retire_all(store, &gone);
}

bool
cache__store_fits_less(const struct cache_store *store, size_t bytes, size_t less)
{
    return cache__mem_fits_less(store->mem, bytes, less);
}

void
cache_store_free(struct cache_store **store)
{
    struct cache_store *old = *store;
    *store = NULL;
    if (!old)
        return;
    fr_require(old->magic == STORE_MAGIC);
    for (size_t i = 0; i < old->shard_count; i++) {
        struct cache__shard *shard = &old->shards[i];
        while (!fr_list_empty(&shard->queue)) {
            struct cache_entry *entry = FR_CONTAINER(shard->queue.next, struct cache_entry, queue);
            cache__shelf_unlink(old, shard, entry);
            cache_entry_unref(&entry);
        }
        fr_lock_fini(&shard->lock);
    }
    old->magic = 0;
    cache__limbo_fini(&old->limbo);
    cache__mem_free(&old->mem);
    cache__purges_free(&old->purges);
    cache__flights_free(&old->flights);
    fr_mem_unmap(old->bucket_memory,
                 CACHE__SHARDS * old->bucket_count * sizeof(struct cache_entry *));
    fr_free(old);
}

static void
shard_check(struct cache_store *store, struct cache__shard *shard)
{
    size_t queued = 0;
    size_t chained = 0;
    uint64_t bytes = 0;
    bool hand_seen = shard->hand == &shard->queue;
    FR_LIST_EACH(&shard->queue, node) {
        hand_seen |= node == shard->hand;
        queued++;
    }
    for (size_t i = 0; i < store->bucket_count; i++) {
        for (struct cache_entry *entry = shard->buckets[i]; entry; entry = entry->chain) {
            struct fr_hash128 hash = cache__entry_hash(entry);
            fr_insist(bucket_of(store, shard, hash) == &shard->buckets[i]);
            fr_insist(shard_of(store, hash) == shard);
            fr_insist(entry->store == store);
            fr_insist(!fr_list_empty(&entry->queue));
            bytes += cache__entry_counted(entry);
            chained++;
        }
    }
    fr_insist(hand_seen);
    fr_insist(queued == shard->entry_count);
    fr_insist(chained == shard->entry_count);
    fr_insist(bytes == cache__counted(&shard->bytes));
}

void
cache__store_check(struct cache_store *store)
{
    for (size_t i = 0; i < CACHE__SHARDS; i++) {
        struct cache__shard *shard = &store->shards[i];
        fr_lock_take(&shard->lock);
        shard_check(store, shard);
        fr_lock_give(&shard->lock);
    }
    struct cache_counters counters;
    cache_store_counters(store, &counters);
    fr_insist(counters.bytes + counters.free_bytes == store->options.memory_bytes);
}
