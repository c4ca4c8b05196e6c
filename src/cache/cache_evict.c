/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cache_evict.c - memory for what is stored and comes in, and who leaves for it.
 *
 * May touch:  base.
 * Threads:    any. A shard's lock is held for one eviction, never together with another lock.
 * Memory:     cache_mem.c's; what is evicted while a reader may have it counts until it has not.
 * When full:  what is large (LARGE_SHARE) is taken in when it is asked for a second time, not at
 *             the first: it would drive out many others. Then evict, from the fuller of two shards,
 *             by SIEVE; where what was freed lies scattered, at last the entries of the page that
 *             has the fewest, whoever they are. If that is not enough, or readers still hold it,
 *             refuse: NULL.
 * Follows:    Zhang et al., "SIEVE is Simpler than LRU" (NSDI 2024); docs/decisions/0019.
 *
 *     shard.queue:   newest <-> ... <-> hand <-> ... <-> oldest        (fr_list, newest first)
 *                                    <--- the hand walks from old to new, spares what was visited
 *                                         since it last came by, and evicts the first that was not.
 */
#include "cache/cache_shelf.h"

#include "base/fr_check.h"
#include "base/fr_time.h"

#define EVICT_SLACK_BYTES 65536 /* evicted beyond what is needed, before it is given up */
#define EVICT_PAGES 8           /* ... and so many pages' worth */
#define PAGE_AFTER 4 /* pages' worth evicted by SIEVE; then it is one page that has to go */
#define SIEVE_RUN 64 /* ... or so many entries */
#define ROUNDS_MAX 256
#define OWNERS_MAX 1024
#define SPARE_RUN 8
#define LARGE_SHARE 64 /* of the budget, from which on an object has to be asked for twice */

static struct cache_entry *
entry_of(struct fr_list *node)
{
    return FR_CONTAINER(node, struct cache_entry, queue);
}

/* SIEVE: the entry that leaves next; NULL when the shard is empty. */
static struct cache_entry *
victim_take(struct cache_store *store, struct cache__shard *shard)
{
    if (shard->entry_count == 0)
        return NULL;
    struct fr_list *hand = shard->hand;
    for (;;) {
        if (hand == &shard->queue)
            hand = shard->queue.prev; /* the oldest */
        struct cache_entry *entry = entry_of(hand);
        if (!__atomic_load_n(&entry->visited, __ATOMIC_RELAXED)) {
            shard->hand = hand;
            cache__shelf_unlink(store, shard, entry); /* moves the hand on */
            return entry;
        }
        __atomic_store_n(&entry->visited, false, __ATOMIC_RELAXED);
        hand = hand->prev;
    }
}

/* The fuller one of two shards. Taking from each in turn would let their sizes drift apart until
 * small ones lose what everybody asks for; of two choices the fuller one keeps them level. */
static struct cache__shard *
shard_to_evict(struct cache_store *store)
{
    uint32_t turn = __atomic_fetch_add(&store->evict_next, 1, __ATOMIC_RELAXED);
    struct cache__shard *one = &store->shards[turn % CACHE__SHARDS];
    struct cache__shard *other = &store->shards[(turn * 0x9e3779b1u >> 16) % CACHE__SHARDS];
    return cache__counted(&one->bytes) >= cache__counted(&other->bytes) ? one : other;
}

/* Evicts one entry. Returns its bytes; 0 when all shards are empty: each is `one` once in as many
 * turns, and `other` is taken only where it holds something. */
static uint64_t
evict_one(struct cache_store *store)
{
    for (size_t tries = 0; tries < CACHE__SHARDS; tries++) {
        struct cache__shard *shard = shard_to_evict(store);
        fr_lock_take(&shard->lock);
        struct cache_entry *victim = victim_take(store, shard);
        fr_lock_give(&shard->lock);
        if (!victim)
            continue;
        uint64_t bytes = cache__entry_counted(victim);
        cache__limbo_retire(&store->limbo, victim);
        cache__count(&store->evicted, 1);
        return bytes;
    }
    return 0;
}

/* What stands together in one page. */
static void
evict_page(struct cache_store *store)
{
    uint32_t owners[OWNERS_MAX];
    size_t count = cache__mem_poorest(store->mem, owners, OWNERS_MAX);
    for (size_t i = 0; i < count; i++)
        cache__store_evict_owner(store, owners[i]);
}

/* Readers need not turn before the next one finds room: some is kept free. What waits for them is
 * as good as that, once they are told. */
static void
keep_spare(struct cache_store *store, uint64_t bytes)
{
    struct cache__mem_stat stat;
    uint64_t evicted_bytes = 0, waiting_bytes = cache__counted(&store->limbo.waiting_bytes);
    cache__mem_stat(store->mem, &stat);
    if (stat.free_bytes + stat.slack_bytes >= store->spare_bytes)
        return;
    if (waiting_bytes > 0)
        cache__limbo_wake(&store->limbo);
    if (stat.free_bytes + stat.slack_bytes + waiting_bytes >= store->spare_bytes)
        return;
    for (size_t i = 0; i < SPARE_RUN && evicted_bytes < 2 * bytes; i++)
        evicted_bytes += evict_one(store);
    if (evicted_bytes < bytes) /* small ones leave for a large one */
        evict_page(store);
    cache__limbo_empty(&store->limbo);
}

/* Bytes whose readers are slow do not come back at once. Evicting on for their sake would empty the
 * shelf and gain nothing, so that there is an end to it. */
static void *
evict_and_take(struct cache_store *store, size_t bytes, uint32_t owner, enum cache__kind kind)
{
    uint64_t page_bytes = cache__mem_page_bytes(store->mem), evicted_bytes = 0;
    uint64_t page_due = PAGE_AFTER * page_bytes;
    uint64_t enough_bytes = EVICT_PAGES * page_bytes + EVICT_SLACK_BYTES;
    size_t run = 0;
    cache__limbo_empty(&store->limbo);
    void *out = cache__mem_take(store->mem, bytes, owner, kind);
    for (size_t round = 1; round <= ROUNDS_MAX && !out; round++) {
        if (cache__counted(&store->limbo.waiting_bytes) > enough_bytes)
            break;
        if (evicted_bytes >= page_due || run == SIEVE_RUN) {
            evict_page(store);
            page_due = evicted_bytes + page_bytes;
            run = 0;
        } else {
            uint64_t gained = evict_one(store);
            if (gained == 0 || evicted_bytes > enough_bytes)
                break;
            evicted_bytes += gained;
            run++;
        }
        cache__limbo_empty(&store->limbo);
        out = cache__mem_take(store->mem, bytes, owner, kind);
    }
    if (!out)
        cache__limbo_wake(&store->limbo);
    return out;
}

void *
cache__store_alloc(struct cache_store *store, size_t bytes, uint32_t owner, enum cache__kind kind)
{
    void *out = cache__mem_take(store->mem, bytes, owner, kind);
    if (!out)
        return evict_and_take(store, bytes, owner, kind);
    keep_spare(store, bytes);
    return out;
}

void
cache__store_give(struct cache_store *store, void *ptr, size_t bytes, enum cache__kind kind)
{
    cache__mem_give(store->mem, ptr, bytes, kind);
}

bool
cache__store_could_hold(const struct cache_store *store, uint64_t bytes)
{
    struct cache__mem_stat stat;
    cache__mem_stat(store->mem, &stat);
    return bytes <= stat.used_bytes + stat.free_bytes;
}

bool
cache__store_admits(struct cache_store *store, struct fr_hash128 hash, uint64_t bytes)
{
    struct cache__mem_stat stat;
    if (bytes < store->options.memory_bytes / LARGE_SHARE)
        return true;
    cache__mem_stat(store->mem, &stat);
    if (stat.free_bytes >= bytes + store->spare_bytes)
        return true;
    uint32_t name = (uint32_t)(hash.lo >> 32) | 1;
    uint32_t *knock = &store->knocks[hash.hi % CACHE__KNOCKS];
    return __atomic_exchange_n(knock, name, __ATOMIC_RELAXED) == name;
}

size_t
cache__store_piece_max(const struct cache_store *store)
{
    return cache__mem_page_bytes(store->mem);
}

/* ---- what is of no use any more -------------------------------------------------------------- */

static bool
is_over(const struct cache_entry *entry, int64_t now_us)
{
    const struct cache__freshness freshness = cache__entry_freshness(entry);
    int64_t age_us = cache__age_us(&freshness, now_us);
    return age_us - freshness.while_revalidate_s * FR_US_PER_S >= freshness.lifetime_us;
}

/* The lock is held: the entry is what the hand comes to next, and was not visited. */
static void
put_before_hand(struct cache__shard *shard, struct cache_entry *entry)
{
    if (shard->hand == &entry->queue)
        shard->hand = entry->queue.prev;
    fr_list_remove(&entry->queue);
    if (shard->hand == &shard->queue)
        fr_list_push_back(&shard->queue, &entry->queue);
    else
        fr_list_push_front(shard->hand, &entry->queue); /* behind it, where the older ones are */
    shard->hand = &entry->queue;
    __atomic_store_n(&entry->visited, false, __ATOMIC_RELAXED);
}

struct ageing {
    struct cache_store *store;
    int64_t now_us;
    size_t shard;
};

static bool
age_one(void *ctx, struct cache_entry *entry)
{
    const struct ageing *ageing = ctx;
    if (is_over(entry, ageing->now_us))
        put_before_hand(&ageing->store->shards[ageing->shard], entry);
    return false;
}

void
cache_store_age(struct cache_store *store, size_t buckets, int64_t now_us)
{
    struct cache__mem_stat stat;
    cache__mem_stat(store->mem, &stat);
    if (stat.free_bytes > 4 * store->spare_bytes)
        return;
    while (buckets-- > 0) {
        struct ageing ageing = {store, now_us, store->age_cursor.shard};
        (void)cache__store_walk(store, &store->age_cursor, 1, age_one, &ageing); /* on and on */
    }
}
