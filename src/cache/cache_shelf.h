/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cache_shelf.h - the store's inside, for the two files that keep it: cache_store.c (the index) and
 * cache_evict.c (memory, and who leaves for it).
 */
#ifndef CACHE_SHELF_H
#define CACHE_SHELF_H

#include "cache/cache_disk_priv.h"
#include "cache/cache_priv.h"

#include "base/fr_lock.h"
#include "base/fr_mem.h"

#define CACHE__KNOCKS 2048 /* large objects that were turned away, by hash */
#define CACHE__MARKS 64    /* invalidation marks a shard, by hash */

/* When the target of this hash was last invalidated, and any other one that had the place before.
 */
struct cache__mark {
    uint64_t hash;
    int64_t us;
    int64_t others_us;
};

struct cache__shard {
    struct fr_lock lock;
    /* under the lock */
    struct cache_entry **buckets;
    struct fr_list queue;
    struct fr_list *hand; /* next to be looked at; &queue: start at the oldest */
    size_t entry_count;
    struct cache__mark marks[CACHE__MARKS]; /* when targets were last invalidated */
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
    struct cache__flights *flights;
    struct cache__mem *mem;
    uint64_t index_bytes; /* tables, purges and the memory's own: all that is no page */
    uint64_t spare_bytes; /* kept free, so that what comes in need not wait for readers */
    struct cache__limbo limbo;
    struct cache__cursor age_cursor; /* of one thread, see cache_store_age */
    /* shared, atomic */
    uint64_t entries __attribute__((aligned(FR_CACHE_LINE)));
    uint64_t stored;
    uint64_t evicted;
    uint64_t refused_full;
    uint64_t refused_large;
    uint64_t refused_tags;
    uint64_t refused_purged;
    uint32_t evict_next;
    int64_t clock_ahead_us; /* of the clock that nobody sets; INT64_MIN: not asked for yet */
    uint64_t refused_once;
    uint32_t knocks[CACHE__KNOCKS];
    struct cache__shard shards[CACHE__SHARDS];
};

static inline void
cache__count(uint64_t *counter, uint64_t n)
{
    __atomic_fetch_add(counter, n, __ATOMIC_RELAXED);
}

static inline uint64_t
cache__counted(const uint64_t *counter)
{
    return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

/* The shard's lock is held. Takes the entry out of index and queue; the index's reference becomes
 * the caller's, who retires it when the lock is given back. */
void cache__shelf_unlink(struct cache_store *store, struct cache__shard *shard,
                         struct cache_entry *entry);

#endif
