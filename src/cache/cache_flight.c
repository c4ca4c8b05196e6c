/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cache_flight.c - one fetch for many: who fetches a target, and who waits for it.
 *
 * May touch:  base, http.
 * Threads:    any. A flight belongs to one of SHARDS shards, whose mutex guards it, its waiters,
 *             and the entry that its leader fills, from when that is shared until it is whole.
 *             Waiters are woken under it: their callback posts a message and nothing else.
 * Memory:     one struct a flight, at most one for each request under way. Which targets are not
 *             for sharing is remembered in a table of fixed size, where a later one takes the place
 *             of an earlier.
 * When full:  no memory: everybody fetches alone.
 * Follows:    RFC 9111 section 4, last paragraph but one (collapsed requests).
 *
 *     PENDING -- share --> COMING -- whole --> WHOLE      waiters answer from the entry
 *        |                    |----- cut ---> BROKEN      ... those that have not begun ask again
 *        |                    '- too much --> PASSING -- whole --> PASSED    ... likewise
 *        |-- alone --> ALONE                              waiters ask, each for itself
 *        |-- fail ---> FAILED                             waiters get the leader's error
 *        '-- lost: PENDING without a leader               the waiter woken first leads
 *
 * Only PENDING and COMING are found by newcomers.
 *
 * What outgrows the store while others stream along goes by them in a window of
 * CACHE_PASSING_BYTES. The leader waits for the slowest of them, up to a limit that is the
 * caller's; then that one is left behind and told so.
 */
#include "cache/cache_priv.h"

#include "base/fr_check.h"
#include "base/fr_lock.h"
#include "base/fr_mem.h"
#include "base/fr_time.h"

#define FLIGHT_MAGIC 0x43464c54u
#define SHARDS 16
#define BUCKETS 16       /* a shard */
#define ALONE_SLOTS 1024 /* targets remembered as not for sharing */
#define ALONE_S 120      /* for so long: then one is tried again */

/* The last bytes of what goes by. */
struct window {
    uint64_t first;                 /* of the whole: what is before stands in the entry */
    uint64_t end;                   /* behind the last byte that came */
    char data[CACHE_PASSING_BYTES]; /* byte n is at n % CACHE_PASSING_BYTES */
};

struct cache_flight {
    uint32_t magic;
    uint32_t refs; /* atomic */
    /* set once */
    struct cache__flights *flights;
    struct flight_shard *shard;
    struct cache_flight_id id;
    uint64_t serial; /* of the newest purge when it began: later ones may concern it */
    /* under the shard's lock */
    bool listed;
    bool led;
    struct fr_list link;
    enum cache_flight_state state;
    int status;      /* FAILED: of the answer */
    uint64_t length; /* COMING: constant from then on; or CACHE_LENGTH_UNKNOWN */
    struct cache_entry *entry;
    struct window *window; /* NULL until it passes */
    struct fr_list waiters;
};

struct flight_shard {
    struct fr_lock lock;
    struct fr_list buckets[BUCKETS];
} __attribute__((aligned(FR_CACHE_LINE)));

struct cache__flights {
    /* shared, atomic: the upper half of the id and, in seconds, until when */
    uint64_t alone[ALONE_SLOTS];
    uint32_t windows;
    struct flight_shard shards[SHARDS];
};

struct cache__flights *
cache__flights_new(void)
{
    struct cache__flights *flights = fr_xalloc_lines(sizeof(*flights));
    for (size_t i = 0; i < SHARDS; i++) {
        fr_lock_init(&flights->shards[i].lock);
        for (size_t b = 0; b < BUCKETS; b++)
            fr_list_init(&flights->shards[i].buckets[b]);
    }
    return flights;
}

void
cache__flights_free(struct cache__flights **flights)
{
    struct cache__flights *old = *flights;
    *flights = NULL;
    for (size_t i = 0; old && i < SHARDS; i++)
        fr_lock_fini(&old->shards[i].lock);
    fr_free(old);
}

/* ---- what is not for sharing ----------------------------------------------------------------- */

static uint64_t *
alone_slot(struct cache__flights *flights, const struct cache_flight_id *id)
{
    return &flights->alone[id->key.lo % ALONE_SLOTS];
}

static void
alone_remember(struct cache__flights *flights, const struct cache_flight_id *id, int64_t now_us)
{
    uint64_t until_s = (uint64_t)(now_us / FR_US_PER_S) + ALONE_S;
    uint64_t slot = (id->key.hi & ~UINT64_C(0xffffffff)) | (uint32_t)until_s;
    __atomic_store_n(alone_slot(flights, id), slot, __ATOMIC_RELAXED);
}

static bool
alone_known(struct cache__flights *flights, const struct cache_flight_id *id, int64_t now_us)
{
    uint64_t slot = __atomic_load_n(alone_slot(flights, id), __ATOMIC_RELAXED);
    return slot >> 32 == id->key.hi >> 32 && (uint32_t)(now_us / FR_US_PER_S) < (uint32_t)slot;
}

/* ---- life ------------------------------------------------------------------------------------ */

static bool
hash_eq(struct fr_hash128 a, struct fr_hash128 b)
{
    return a.lo == b.lo && a.hi == b.hi;
}

/* All variants of a target are in one shard and bucket. */
static struct flight_shard *
shard_of(struct cache__flights *flights, struct fr_hash128 key)
{
    return &flights->shards[key.hi % SHARDS];
}

static struct fr_list *
bucket_of(struct flight_shard *shard, struct fr_hash128 key)
{
    return &shard->buckets[key.lo % BUCKETS];
}

static struct window *
window_new(struct cache__flights *flights, uint64_t first)
{
    struct window *window = NULL;
    if (__atomic_fetch_add(&flights->windows, 1, __ATOMIC_RELAXED) < CACHE_PASSING_MAX)
        window = fr_alloc(sizeof(*window));
    if (window)
        window->first = window->end = first;
    else
        __atomic_fetch_sub(&flights->windows, 1, __ATOMIC_RELAXED);
    return window;
}

static void
window_free(struct cache__flights *flights, struct window *window)
{
    if (window)
        __atomic_fetch_sub(&flights->windows, 1, __ATOMIC_RELAXED);
    fr_free(window);
}

static void
flight_unref(struct cache_flight **flight)
{
    struct cache_flight *old = *flight;
    *flight = NULL;
    if (!old)
        return;
    fr_require(old->magic == FLIGHT_MAGIC);
    if (__atomic_fetch_sub(&old->refs, 1, __ATOMIC_ACQ_REL) > 1)
        return;
    fr_insist(!old->listed && fr_list_empty(&old->waiters));
    cache_entry_unref(&old->entry);
    window_free(old->flights, old->window);
    old->magic = 0;
    fr_free(old);
}

static void
unlist(struct cache_flight *flight)
{
    if (flight->listed)
        fr_list_remove(&flight->link);
    flight->listed = false;
}

/* One that began before the newest purge is not joined: what it brings may be purged. */
static struct cache_flight *
flight_find(struct flight_shard *shard, const struct cache_flight_id *id, uint64_t serial)
{
    FR_LIST_EACH(bucket_of(shard, id->key), node) {
        struct cache_flight *flight = FR_CONTAINER(node, struct cache_flight, link);
        if (!hash_eq(flight->id.key, id->key) || !hash_eq(flight->id.select, id->select))
            continue;
        if (flight->serial == serial)
            return flight;
        unlist(flight);
        return NULL;
    }
    return NULL;
}

static void
wake_all(struct cache_flight *flight)
{
    FR_LIST_EACH(&flight->waiters, node) {
        struct cache_waiter *waiter = FR_CONTAINER(node, struct cache_waiter, link);
        waiter->wake(waiter->ctx);
    }
}

enum cache_board
cache_flight_board(struct cache_store *store, const struct cache_flight_id *id, int64_t now_us,
                   struct cache_waiter *waiter, struct cache_flight **out)
{
    struct cache__flights *flights = cache__store_flights(store);
    struct flight_shard *shard = shard_of(flights, id->key);
    uint64_t serial = cache_purge_serial(store);
    enum cache_board board = CACHE_BOARD_ALONE;
    struct cache_flight *spare = NULL;
    if (alone_known(flights, id, now_us))
        return board;
    spare = fr_alloc(sizeof(*spare));
    if (!spare)
        return board;
    fr_lock_take(&shard->lock);
    struct cache_flight *flight = flight_find(shard, id, serial);
    if (!flight) {
        *spare = (struct cache_flight){
            .magic = FLIGHT_MAGIC, .flights = flights, .shard = shard, .id = *id, .serial = serial};
        flight = spare;
        spare = NULL;
        fr_list_init(&flight->waiters);
        fr_list_push_back(bucket_of(shard, id->key), &flight->link);
        flight->listed = true;
    }
    if (!flight->led) {
        flight->led = true;
        board = CACHE_BOARD_LEAD;
    } else if (waiter) {
        fr_list_push_back(&flight->waiters, &waiter->link);
        board = CACHE_BOARD_WAIT;
    }
    if (board != CACHE_BOARD_ALONE) {
        __atomic_fetch_add(&flight->refs, 1, __ATOMIC_RELAXED);
        *out = flight;
    }
    fr_lock_give(&shard->lock);
    fr_free(spare);
    return board;
}

/* ---- the leader ------------------------------------------------------------------------------ */

static void
end(struct cache_flight *flight, enum cache_flight_state state, int status)
{
    fr_lock_take(&flight->shard->lock);
    fr_insist(flight->led);
    flight->state = state;
    flight->status = status;
    unlist(flight);
    wake_all(flight);
    fr_lock_give(&flight->shard->lock);
}

void
cache_flight_alone(struct cache_store *store, struct cache_flight **flight, bool remember,
                   int64_t now_us)
{
    if (remember)
        alone_remember(cache__store_flights(store), &(*flight)->id, now_us);
    end(*flight, CACHE_FLIGHT_ALONE, 0);
    flight_unref(flight);
}

void
cache_flight_fail(struct cache_flight **flight, int status)
{
    end(*flight, CACHE_FLIGHT_FAILED, status);
    flight_unref(flight);
}

void
cache_flight_whole(struct cache_flight **flight, struct cache_entry *entry)
{
    (*flight)->entry = cache_entry_ref(entry);
    end(*flight, CACHE_FLIGHT_WHOLE, 0);
    flight_unref(flight);
}

void
cache_flight_lost(struct cache_flight **flight)
{
    struct cache_flight *self = *flight;
    fr_lock_take(&self->shard->lock);
    fr_insist(self->led && self->state == CACHE_FLIGHT_PENDING);
    self->led = false;
    if (fr_list_empty(&self->waiters)) {
        unlist(self);
    } else {
        struct cache_waiter *first = FR_CONTAINER(self->waiters.next, struct cache_waiter, link);
        first->wake(first->ctx);
    }
    fr_lock_give(&self->shard->lock);
    flight_unref(flight);
}

bool
cache_flight_wanted(struct cache_flight *flight)
{
    fr_lock_take(&flight->shard->lock);
    bool wanted = !fr_list_empty(&flight->waiters);
    fr_lock_give(&flight->shard->lock);
    return wanted;
}

/* ---- the filler of a shared entry ------------------------------------------------------------ */

void
cache__flight_share(struct cache_flight *flight, struct cache_entry *entry, uint64_t length)
{
    fr_lock_take(&flight->shard->lock);
    flight->length = length;
    flight->entry = cache_entry_ref(entry);
    flight->state = CACHE_FLIGHT_COMING;
    wake_all(flight);
    fr_lock_give(&flight->shard->lock);
}

void
cache__flight_lock(struct cache_flight *flight)
{
    fr_lock_take(&flight->shard->lock);
}

bool
cache__flight_read(const struct cache_flight *flight)
{
    return !fr_list_empty(&flight->waiters);
}

void
cache__flight_unlock(struct cache_flight *flight)
{
    wake_all(flight);
    fr_lock_give(&flight->shard->lock);
}

void
cache__flight_end(struct cache_flight **flight, bool whole)
{
    enum cache_flight_state good = (*flight)->window ? CACHE_FLIGHT_PASSED : CACHE_FLIGHT_WHOLE;
    end(*flight, whole ? good : CACHE_FLIGHT_BROKEN, 0);
    flight_unref(flight);
}

/* ---- what goes by ---------------------------------------------------------------------------- */

/* The lock is held. False: nobody follows. *out: up to where everybody has taken it, those that
 * were left behind aside. */
static bool
slowest(const struct cache_flight *flight, uint64_t *out)
{
    const struct window *window = flight->window;
    bool any = false;
    *out = window->end;
    FR_LIST_EACH(&flight->waiters, node) {
        const struct cache_waiter *waiter = FR_CONTAINER(node, struct cache_waiter, link);
        uint64_t at = waiter->at > window->first ? waiter->at : window->first;
        if (!waiter->follows || window->end - at > CACHE_PASSING_BYTES)
            continue;
        any = true;
        if (at < *out)
            *out = at;
    }
    return any;
}

bool
cache__flight_pass(struct cache_flight *flight, const struct cache_entry *entry)
{
    uint64_t at;
    struct window *window = window_new(flight->flights, entry->body->bytes);
    alone_remember(flight->flights, &flight->id, cache__entry_freshness(entry).response_us);
    if (!window)
        return false;
    fr_lock_take(&flight->shard->lock);
    flight->window = window;
    bool any = slowest(flight, &at);
    if (any) {
        flight->state = CACHE_FLIGHT_PASSING;
        unlist(flight);
        wake_all(flight);
    } else {
        flight->window = NULL;
    }
    fr_lock_give(&flight->shard->lock);
    if (!any)
        window_free(flight->flights, window);
    return any;
}

bool
cache__flight_pass_on(struct cache_flight *flight, struct fr_view data)
{
    uint64_t at;
    fr_lock_take(&flight->shard->lock);
    struct window *window = flight->window;
    bool any = slowest(flight, &at);
    while (any && data.len > 0) {
        size_t to = window->end % CACHE_PASSING_BYTES;
        size_t bytes = CACHE_PASSING_BYTES - to < data.len ? CACHE_PASSING_BYTES - to : data.len;
        memcpy(window->data + to, data.ptr, bytes);
        window->end += bytes;
        data = fr_view_make(data.ptr + bytes, data.len - bytes);
    }
    wake_all(flight);
    fr_lock_give(&flight->shard->lock);
    return any;
}

bool
cache__flight_stalls(struct cache_flight *flight)
{
    uint64_t at;
    fr_lock_take(&flight->shard->lock);
    const struct window *window = flight->window;
    bool stalls = window && slowest(flight, &at) &&
                  window->end - at > CACHE_PASSING_BYTES - CACHE_PASSING_ADD_MAX;
    fr_lock_give(&flight->shard->lock);
    return stalls;
}

bool
cache_flight_follow(struct cache_flight *flight, struct cache_waiter *waiter)
{
    fr_lock_take(&flight->shard->lock);
    waiter->follows = flight->state == CACHE_FLIGHT_COMING || flight->state == CACHE_FLIGHT_WHOLE;
    waiter->at = 0;
    bool follows = waiter->follows;
    fr_lock_give(&flight->shard->lock);
    return follows;
}

bool
cache_flight_take(struct cache_flight *flight, struct cache_waiter *waiter, uint64_t at, char *out,
                  size_t max, size_t *out_bytes)
{
    size_t done = 0;
    fr_lock_take(&flight->shard->lock);
    const struct window *window = flight->window;
    bool there = window && at >= window->first;
    bool behind = there && window->end - at > CACHE_PASSING_BYTES;
    size_t bytes = there && !behind ? (size_t)(window->end - at) : 0;
    if (bytes > max)
        bytes = max;
    while (done < bytes) {
        size_t from = (at + done) % CACHE_PASSING_BYTES;
        size_t piece =
            CACHE_PASSING_BYTES - from < bytes - done ? CACHE_PASSING_BYTES - from : bytes - done;
        memcpy(out + done, window->data + from, piece);
        done += piece;
    }
    waiter->at = at + done;
    fr_lock_give(&flight->shard->lock);
    *out_bytes = done;
    return !behind;
}

/* ---- waiters --------------------------------------------------------------------------------- */

enum cache_flight_state
cache_flight_look(struct cache_flight *flight, struct cache_entry **out_entry, int *out_status)
{
    fr_lock_take(&flight->shard->lock);
    enum cache_flight_state state = flight->state;
    *out_status = flight->status;
    if (state == CACHE_FLIGHT_PENDING && !flight->led)
        state = CACHE_FLIGHT_LOST;
    if (out_entry)
        *out_entry = NULL;
    if (out_entry && (state == CACHE_FLIGHT_COMING || state == CACHE_FLIGHT_WHOLE))
        *out_entry = cache_entry_ref(flight->entry);
    fr_lock_give(&flight->shard->lock);
    return state;
}

uint64_t
cache_flight_length(const struct cache_flight *flight)
{
    return flight->length;
}

bool
cache_flight_part(struct cache_flight *flight, size_t index, struct fr_view *out)
{
    fr_lock_take(&flight->shard->lock);
    bool there = cache_entry_body(flight->entry, index, out);
    fr_lock_give(&flight->shard->lock);
    return there;
}

void
cache_flight_quit(struct cache_flight **flight, struct cache_waiter *waiter)
{
    struct cache_flight *self = *flight;
    fr_lock_take(&self->shard->lock);
    fr_list_remove(&waiter->link);
    /* It may have been the one that was to lead. */
    if (self->state == CACHE_FLIGHT_PENDING && !self->led) {
        if (fr_list_empty(&self->waiters)) {
            unlist(self);
        } else {
            struct cache_waiter *first =
                FR_CONTAINER(self->waiters.next, struct cache_waiter, link);
            first->wake(first->ctx);
        }
    }
    fr_lock_give(&self->shard->lock);
    flight_unref(flight);
}

void
cache__flights_forget(struct cache_store *store, struct fr_hash128 key)
{
    struct flight_shard *shard = shard_of(cache__store_flights(store), key);
    fr_lock_take(&shard->lock);
    FR_LIST_EACH_SAFE(bucket_of(shard, key), node) {
        struct cache_flight *flight = FR_CONTAINER(node, struct cache_flight, link);
        if (hash_eq(flight->id.key, key))
            unlist(flight);
    }
    fr_lock_give(&shard->lock);
}
