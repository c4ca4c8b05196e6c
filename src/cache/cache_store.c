/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cache_store.c - the shelf: finds, admits and evicts stored responses.
 *
 * May touch:  base, http. Never: sockets, clocks, files.
 * Threads:    any. A key belongs to one of SHARDS shards; a shard's mutex is held for one look-up,
 *             one insertion or one eviction, never while memory is taken or given back.
 * Memory:     memory_bytes in all: index, entries, bodies, and responses still coming in. What is
 *             evicted while it is read counts until its last reader leaves.
 * When full:  evict from the fuller of two shards; if what was evicted is still held, refuse to
 *             store.
 * Cost:       a hit: one key copied and hashed, one lock, one atomic increment.
 * Follows:    RFC 9111 sections 4, 4.1 and 4.4; Zhang et al., "SIEVE is Simpler than LRU".
 *
 *     shard.queue:   newest <-> ... <-> hand <-> ... <-> oldest        (fr_list, newest first)
 *                                    <--- the hand walks from old to new, spares what was visited
 *                                         since it last came by, and evicts the first that was not.
 */
#include "cache/cache_priv.h"

#include "base/fr_check.h"
#include "base/fr_lock.h"
#include "base/fr_mem.h"
#include "base/fr_time.h"

#define STORE_MAGIC 0x43535452u
#define SHARDS 32
#define BUCKETS_MIN 64
#define BUCKETS_MAX 65536
#define ENTRY_BYTES_EXPECTED 4096 /* one bucket for so many bytes of budget */
#define VARIANTS_MAX 16           /* entries of one key; then the oldest leaves */
#define MARKS 64                  /* invalidation marks a shard, by hash */
#define EVICT_SLACK_BYTES 65536

/* An invalidation further than this in the future of a response was made by a clock that has been
 * set back since. */
#define MARK_AHEAD_MAX_US (3600 * FR_US_PER_S)

/* When the target of this hash was last invalidated, and any other one that had the place before.
 */
struct mark {
    uint64_t hash;
    int64_t us;
    int64_t others_us;
};

struct shard {
    struct fr_lock lock;
    /* under the lock */
    struct cache_entry **buckets;
    struct fr_list queue;
    struct fr_list *hand; /* next to be looked at; &queue: start at the oldest */
    size_t entry_count;
    struct mark marks[MARKS]; /* when targets were last invalidated */
    /* written under the lock, read without: atomic */
    uint64_t bytes;
} __attribute__((aligned(FR_CACHE_LINE)));

struct cache_store {
    uint32_t magic;
    /* set once */
    struct cache_options options;
    struct fr_hash_key hash_key;
    size_t bucket_count; /* a shard; a power of two */
    size_t shard_count;  /* initialised so far */
    struct cache_entry **bucket_memory;
    struct cache__purges *purges;
    /* shared, atomic */
    uint64_t bytes __attribute__((aligned(FR_CACHE_LINE)));
    uint64_t entries;
    uint64_t stored;
    uint64_t evicted;
    uint64_t refused_full;
    uint64_t refused_large;
    uint64_t refused_tags;
    uint64_t refused_purged;
    uint32_t evict_next;
    struct shard shards[SHARDS];
};

struct key_of {
    struct fr_hash128 hash;
    struct fr_view text;
};
struct walk {
    cache__walk_fn fn;
    void *ctx;
};

static void
count_add(uint64_t *counter, uint64_t n)
{
    __atomic_fetch_add(counter, n, __ATOMIC_RELAXED);
}

static uint64_t
count_read(const uint64_t *counter)
{
    return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

/* ---- making and freeing ---------------------------------------------------------------------- */

static size_t
bucket_count_for(uint64_t memory_bytes)
{
    size_t count = BUCKETS_MIN;
    while (count < BUCKETS_MAX && count * SHARDS * ENTRY_BYTES_EXPECTED < memory_bytes)
        count *= 2;
    return count;
}

enum fr_err
cache_store_new(const struct cache_options *options, struct cache_store **out)
{
    size_t bucket_count = bucket_count_for(options->memory_bytes);
    uint64_t index_bytes = sizeof(struct cache_store) +
                           SHARDS * bucket_count * sizeof(struct cache_entry *) +
                           2 * CACHE__ALLOC_OVERHEAD + cache__purges_bytes(options->memory_bytes);
    if (options->memory_bytes < CACHE_MEMORY_BYTES_MIN)
        return FR_ERR_RANGE;
    fr_insist(2 * index_bytes < options->memory_bytes);
    enum fr_err err = FR_ERR_NOMEM;
    struct cache_store *store = fr_xalloc_lines(sizeof(*store));
    store->magic = STORE_MAGIC;
    store->options = *options;
    store->bucket_count = bucket_count;
    store->bytes = index_bytes;
    store->bucket_memory = fr_alloc(SHARDS * bucket_count * sizeof(struct cache_entry *));
    if (!store->bucket_memory)
        goto out;
    fr_hash_key_random(&store->hash_key);
    store->purges = cache__purges_new(options->memory_bytes, &store->hash_key);
    if (!store->purges)
        goto out;
    for (size_t i = 0; i < SHARDS; i++) {
        struct shard *shard = &store->shards[i];
        fr_lock_init(&shard->lock);
        shard->buckets = store->bucket_memory + i * bucket_count;
        fr_list_init(&shard->queue);
        shard->hand = &shard->queue;
        for (size_t m = 0; m < MARKS; m++)
            shard->marks[m] = (struct mark){0, INT64_MIN, INT64_MIN};
        store->shard_count++;
    }
    *out = store;
    return FR_OK;
out:
    cache_store_free(&store);
    return err;
}

/* ---- one shard; its lock is held ------------------------------------------------------------- */

static struct shard *
shard_of(struct cache_store *store, struct fr_hash128 hash)
{
    return &store->shards[hash.hi % SHARDS];
}

static struct cache_entry **
bucket_of(struct cache_store *store, struct shard *shard, struct fr_hash128 hash)
{
    return &shard->buckets[hash.lo & (store->bucket_count - 1)];
}

static struct mark *
mark_of(struct shard *shard, struct fr_hash128 hash)
{
    return &shard->marks[hash.hi / SHARDS % MARKS];
}

static void
mark_set(struct mark *mark, struct fr_hash128 hash, int64_t now_us)
{
    if (mark->hash != hash.lo && mark->us > mark->others_us)
        mark->others_us = mark->us;
    mark->hash = hash.lo;
    mark->us = now_us;
}

static bool
entry_has_key(const struct cache_entry *entry, struct fr_hash128 hash, struct fr_view key)
{
    return entry->hash.lo == hash.lo && entry->hash.hi == hash.hi && fr_view_eq(entry->key, key);
}

static bool
hash_eq(struct fr_hash128 a, struct fr_hash128 b)
{
    return a.lo == b.lo && a.hi == b.hi;
}

/* Takes *link out of its chain and of the queue. The shard's reference becomes the caller's. */
static struct cache_entry *
entry_unlink(struct cache_store *store, struct shard *shard, struct cache_entry **link)
{
    struct cache_entry *entry = *link;
    *link = entry->chain;
    entry->chain = NULL;
    if (shard->hand == &entry->queue)
        shard->hand = entry->queue.prev;
    fr_list_remove(&entry->queue);
    shard->entry_count--;
    __atomic_fetch_sub(&shard->bytes, cache__entry_counted(entry), __ATOMIC_RELAXED);
    __atomic_fetch_sub(&store->entries, 1, __ATOMIC_RELAXED);
    return entry;
}

static struct cache_entry *
entry_unlink_self(struct cache_store *store, struct shard *shard, struct cache_entry *entry)
{
    struct cache_entry **link = bucket_of(store, shard, entry->hash);
    while (*link != entry)
        link = &(*link)->chain;
    return entry_unlink(store, shard, link);
}

/* SIEVE: the entry that leaves next; NULL when the shard is empty. */
static struct cache_entry *
victim_take(struct cache_store *store, struct shard *shard)
{
    if (shard->entry_count == 0)
        return NULL;
    struct fr_list *hand = shard->hand;
    for (;;) {
        if (hand == &shard->queue)
            hand = shard->queue.prev; /* the oldest */
        struct cache_entry *entry = FR_CONTAINER(hand, struct cache_entry, queue);
        if (!entry->visited) {
            shard->hand = hand;
            return entry_unlink_self(store, shard, entry); /* moves the hand on */
        }
        entry->visited = false;
        hand = hand->prev;
    }
}

/* ---- the budget ------------------------------------------------------------------------------ */

static bool
reserve_try(struct cache_store *store, uint64_t bytes)
{
    uint64_t have = count_read(&store->bytes);
    do {
        if (bytes > store->options.memory_bytes - have)
            return false;
    } while (!__atomic_compare_exchange_n(&store->bytes, &have, have + bytes, true,
                                          __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    return true;
}

/* The fuller one of two shards. Taking from each in turn would let their sizes drift apart until
 * small ones lose what everybody asks for; of two choices the fuller one keeps them level. */
static struct shard *
shard_to_evict(struct cache_store *store)
{
    uint32_t turn = __atomic_fetch_add(&store->evict_next, 1, __ATOMIC_RELAXED);
    struct shard *one = &store->shards[turn % SHARDS];
    struct shard *other = &store->shards[(turn * 0x9e3779b1u >> 16) % SHARDS];
    return count_read(&one->bytes) >= count_read(&other->bytes) ? one : other;
}

/* Evicts one entry. Returns its bytes; 0 when all shards are empty: each is `one` once in SHARDS
 * turns, and `other` is taken only where it holds something. */
static uint64_t
evict_one(struct cache_store *store)
{
    for (size_t tries = 0; tries < SHARDS; tries++) {
        struct shard *shard = shard_to_evict(store);
        fr_lock_take(&shard->lock);
        struct cache_entry *victim = victim_take(store, shard);
        fr_lock_give(&shard->lock);
        if (!victim)
            continue;
        uint64_t bytes = cache__entry_counted(victim);
        cache_entry_unref(&victim);
        count_add(&store->evicted, 1);
        return bytes;
    }
    return 0;
}

bool
cache__store_reserve(struct cache_store *store, uint64_t bytes)
{
    /* Bytes whose readers are slow do not come back at once. Evicting on for their sake would empty
     * the shelf and gain nothing, so that there is an end to it. */
    uint64_t evicted_bytes = 0;
    while (!reserve_try(store, bytes)) {
        if (bytes > store->options.memory_bytes || evicted_bytes > 2 * bytes + EVICT_SLACK_BYTES)
            return false;
        uint64_t gained = evict_one(store);
        if (gained == 0)
            return false;
        evicted_bytes += gained;
    }
    return true;
}

void
cache__store_release(struct cache_store *store, uint64_t bytes)
{
    uint64_t was = __atomic_fetch_sub(&store->bytes, bytes, __ATOMIC_RELAXED);
    fr_insist(was >= bytes);
}

void
cache__store_refused(struct cache_store *store, enum cache__refusal refusal)
{
    uint64_t *counters[] = {
        [CACHE__REFUSED_FULL] = &store->refused_full,
        [CACHE__REFUSED_LARGE] = &store->refused_large,
        [CACHE__REFUSED_TAGS] = &store->refused_tags,
    };
    count_add(counters[refusal], 1);
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
    out->bytes = count_read(&store->bytes);
    out->entries = count_read(&store->entries);
    out->stored = count_read(&store->stored);
    out->evicted = count_read(&store->evicted);
    out->refused_full = count_read(&store->refused_full);
    out->refused_large = count_read(&store->refused_large);
    out->refused_tags = count_read(&store->refused_tags);
    out->refused_purged = count_read(&store->refused_purged);
}

/* ---- looking up ------------------------------------------------------------------------------ */

/* The variant of `key` that the request selects, referenced; NULL when there is none. All entries
 * of a key vary by the same fields (cache__store_take), so that one hash selects among them. */
static struct cache_entry *
variant_find(struct cache_store *store, struct shard *shard, const struct cache__key *key,
             const struct http_head *request)
{
    struct fr_view text = fr_view_make(key->text, key->len);
    struct fr_hash128 select;
    bool selected = false;
    struct cache_entry *entry = *bucket_of(store, shard, key->hash);
    for (; entry; entry = entry->chain) {
        if (!entry_has_key(entry, key->hash, text))
            continue;
        if (entry->vary.len == 0)
            return cache_entry_ref(entry);
        if (!selected && !cache__select_hash(&store->hash_key, entry->vary, request, &select))
            return NULL;
        selected = true;
        if (hash_eq(entry->select, select))
            return cache_entry_ref(entry);
    }
    return NULL;
}

struct cache_entry *
cache__store_find(struct cache_store *store, const struct cache__key *key,
                  const struct http_head *request)
{
    struct shard *shard = shard_of(store, key->hash);
    fr_require(store->magic == STORE_MAGIC);
    fr_lock_take(&shard->lock);
    struct cache_entry *entry = variant_find(store, shard, key, request);
    if (entry)
        entry->visited = true;
    fr_lock_give(&shard->lock);
    return entry;
}

bool
cache__store_has(struct cache_store *store, const struct cache__key *key)
{
    struct shard *shard = shard_of(store, key->hash);
    struct fr_view text = fr_view_make(key->text, key->len);
    fr_lock_take(&shard->lock);
    const struct cache_entry *entry = *bucket_of(store, shard, key->hash);
    while (entry && !entry_has_key(entry, key->hash, text))
        entry = entry->chain;
    fr_lock_give(&shard->lock);
    return entry != NULL;
}

/* ---- admitting and invalidating -------------------------------------------------------------- */

/* Unlinks what `entry` replaces: its own variant, all of a key that varies by other fields now, and
 * the oldest of too many. Returns them, chained. */
static struct cache_entry *
replaced_take(struct cache_store *store, struct shard *shard, const struct cache_entry *entry)
{
    struct cache_entry *out = NULL;
    struct cache_entry **oldest = NULL;
    size_t variants = 0;
    struct cache_entry **link = bucket_of(store, shard, entry->hash);
    while (*link) {
        struct cache_entry *other = *link;
        if (!entry_has_key(other, entry->hash, entry->key)) {
            link = &other->chain;
        } else if (!fr_view_eq(other->vary, entry->vary) || hash_eq(other->select, entry->select)) {
            entry_unlink(store, shard, link);
            other->chain = out;
            out = other;
        } else {
            /* New ones are put first in their chain: the last one is the oldest. */
            variants++;
            oldest = link;
            link = &other->chain;
        }
    }
    if (variants >= VARIANTS_MAX) {
        struct cache_entry *other = entry_unlink(store, shard, oldest);
        other->chain = out;
        out = other;
    }
    return out;
}

static void
chain_unref(struct cache_entry *entry)
{
    while (entry) {
        struct cache_entry *next = entry->chain;
        entry->chain = NULL;
        cache_entry_unref(&entry);
        entry = next;
    }
}

/* An unsafe request changed the target after this response was asked for (section 4.4). */
static bool
outdated(struct shard *shard, const struct cache_entry *entry)
{
    const struct mark *mark = mark_of(shard, entry->hash);
    int64_t mark_us = mark->others_us;
    if (mark->hash == entry->hash.lo && mark->us > mark_us)
        mark_us = mark->us;
    return mark_us >= entry->request_us &&
           mark_us <= entry->freshness.response_us + MARK_AHEAD_MAX_US;
}

void
cache__store_take(struct cache_store *store, struct cache_entry *entry)
{
    struct cache_entry *replaced = NULL;
    struct shard *shard = shard_of(store, entry->hash);
    fr_lock_take(&shard->lock);
    bool purged = cache__purges_judge(store->purges, entry) != CACHE__PURGED_NOT;
    bool taken = !purged && !outdated(shard, entry);
    if (taken) {
        replaced = replaced_take(store, shard, entry);
        struct cache_entry **bucket = bucket_of(store, shard, entry->hash);
        entry->chain = *bucket;
        *bucket = cache_entry_ref(entry);
        fr_list_push_front(&shard->queue, &entry->queue);
        shard->entry_count++;
        count_add(&shard->bytes, cache__entry_counted(entry));
        count_add(&store->entries, 1);
    }
    fr_lock_give(&shard->lock);
    if (taken)
        count_add(&store->stored, 1);
    if (purged)
        count_add(&store->refused_purged, 1);
    chain_unref(replaced);
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
    struct shard *shard = shard_of(store, key.hash);
    fr_lock_take(&shard->lock);
    mark_set(mark_of(shard, key.hash), key.hash, request->now_us);
    fr_lock_give(&shard->lock);
    cache__store_walk_key(store, fr_view_make(key.text, key.len), leave, NULL);
}

/* ---- walking --------------------------------------------------------------------------------- */

struct cache__purges *
cache__store_purges(const struct cache_store *store)
{
    return store->purges;
}

/* One bucket; returns what leaves, chained. An entry whose key is not `key` is passed by. */
static struct cache_entry *
bucket_walk(struct cache_store *store, struct shard *shard, struct cache_entry **link,
            const struct key_of *key, struct walk *walk)
{
    struct cache_entry *gone = NULL;
    while (*link) {
        struct cache_entry *entry = *link;
        if ((key && !entry_has_key(entry, key->hash, key->text)) || !walk->fn(walk->ctx, entry)) {
            link = &entry->chain;
            continue;
        }
        entry_unlink(store, shard, link);
        entry->chain = gone;
        gone = entry;
    }
    return gone;
}

bool
cache__store_walk(struct cache_store *store, struct cache__cursor *cursor, size_t buckets,
                  cache__walk_fn fn, void *ctx)
{
    struct walk walk = {fn, ctx};
    for (; buckets > 0; buckets--) {
        struct shard *shard = &store->shards[cursor->shard];
        fr_lock_take(&shard->lock);
        struct cache_entry *gone =
            bucket_walk(store, shard, &shard->buckets[cursor->bucket], NULL, &walk);
        fr_lock_give(&shard->lock);
        chain_unref(gone);
        if (++cursor->bucket < store->bucket_count)
            continue;
        cursor->bucket = 0;
        if (++cursor->shard == SHARDS) {
            cursor->shard = 0;
            return false;
        }
    }
    return true;
}

void
cache__store_walk_key(struct cache_store *store, struct fr_view key, cache__walk_fn fn, void *ctx)
{
    struct walk walk = {fn, ctx};
    struct key_of of = {fr_hash128(&store->hash_key, key.ptr, key.len), key};
    struct shard *shard = shard_of(store, of.hash);
    fr_lock_take(&shard->lock);
    struct cache_entry *gone =
        bucket_walk(store, shard, bucket_of(store, shard, of.hash), &of, &walk);
    fr_lock_give(&shard->lock);
    chain_unref(gone);
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
        struct shard *shard = &old->shards[i];
        while (!fr_list_empty(&shard->queue)) {
            struct cache_entry *entry = FR_CONTAINER(shard->queue.next, struct cache_entry, queue);
            entry = entry_unlink_self(old, shard, entry);
            cache_entry_unref(&entry);
        }
        fr_lock_fini(&shard->lock);
    }
    old->magic = 0;
    cache__purges_free(&old->purges);
    fr_free(old->bucket_memory);
    fr_free(old);
}

static void
shard_check(struct cache_store *store, struct shard *shard)
{
    size_t queued = 0;
    size_t chained = 0;
    uint64_t bytes = 0;
    bool hand_seen = shard->hand == &shard->queue;
    FR_LIST_EACH(&shard->queue, node)
    {
        hand_seen |= node == shard->hand;
        queued++;
    }
    for (size_t i = 0; i < store->bucket_count; i++) {
        for (struct cache_entry *entry = shard->buckets[i]; entry; entry = entry->chain) {
            fr_insist(bucket_of(store, shard, entry->hash) == &shard->buckets[i]);
            fr_insist(shard_of(store, entry->hash) == shard);
            fr_insist(entry->store == store);
            fr_insist(!fr_list_empty(&entry->queue));
            bytes += cache__entry_counted(entry);
            chained++;
        }
    }
    fr_insist(hand_seen);
    fr_insist(queued == shard->entry_count);
    fr_insist(chained == shard->entry_count);
    fr_insist(bytes == count_read(&shard->bytes));
}

void
cache__store_check(struct cache_store *store)
{
    for (size_t i = 0; i < SHARDS; i++) {
        struct shard *shard = &store->shards[i];
        fr_lock_take(&shard->lock);
        shard_check(store, shard);
        fr_lock_give(&shard->lock);
    }
    fr_insist(count_read(&store->bytes) <= store->options.memory_bytes);
}
