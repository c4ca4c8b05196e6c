/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cache_reader.c - how workers read what others change: without a lock, and without a write that
 * another worker would see.
 *
 * May touch:  base.
 * Threads:    a reader is one worker's; the limbo is everybody's, under its lock.
 * Memory:     a pin for each entry that a worker is sending; what is in the limbo is bounded by the
 *             budget that it still counts in.
 * When full:  no memory for a pin: the look-up is a miss.
 * Cost:       a hit: one slot of a table that only this worker touches. A turn: one comparison
 *             while nothing was retired; else a look at the worker's own pins, amortised over what
 *             was retired.
 * Follows:    quiescent states, as in McKenney's RCU (QSBR); docs/decisions/0019.
 *
 * An entry that is unlinked from the index may be in the hands of a worker that found it before. So
 * it waits in the limbo, with the reference that the index had, until every reader has passed
 * a moment in which it was between two look-ups (cache_reader_turn). A worker that is still sending
 * it then takes a reference that all can see, once, however many sends there are; from that on it
 * lives as long as that reference:
 *
 *     in the index --retire--> limbo --every reader turned--> freed, or by the last reference
 *          |                              ^
 *          +-- pin (own table) -- turn ---+  sees that it is retired: a counted reference
 *
 * A worker that sleeps is woken when its turn is waited for.
 */
#include "cache/cache_priv.h"

#include "base/fr_check.h"
#include "base/fr_lock.h"
#include "base/fr_mem.h"

#define READER_MAGIC 0x43524452u
#define PINS_MIN 64
#define TURN_PINS 32 /* with more pins a turn waits until as many were retired */

struct pin {
    struct cache_entry *entry; /* NULL: free */
    uint32_t count;
    bool held; /* with a counted reference: it is retired */
};

struct cache_reader {
    uint32_t magic;
    struct cache_store *store;
    struct cache__limbo *limbo;
    cache_wake_fn wake;
    void *wake_ctx;
    struct fr_list link; /* under the limbo's lock */
    /* owner */
    struct pin *pins; /* open addressing; a power of two */
    size_t pin_cap, pin_count;
    uint32_t hits;
    /* shared, atomic */
    uint64_t seen __attribute__((aligned(FR_CACHE_LINE))); /* retired up to this: looked at */
    uint32_t waking;
} __attribute__((aligned(FR_CACHE_LINE)));

/* ---- pins ------------------------------------------------------------------------------------ */

static size_t
pin_home(const struct cache_reader *reader, const struct cache_entry *entry)
{
    uint64_t x = (uint64_t)(uintptr_t)entry >> 4;
    return (size_t)((x * 0x9e3779b97f4a7c15u) >> 32) & (reader->pin_cap - 1);
}

/* Where it is, or where it would be. */
static struct pin *
pin_at(const struct cache_reader *reader, const struct cache_entry *entry)
{
    size_t at = pin_home(reader, entry);
    while (reader->pins[at].entry && reader->pins[at].entry != entry)
        at = (at + 1) & (reader->pin_cap - 1);
    return &reader->pins[at];
}

static bool
pins_grow(struct cache_reader *reader)
{
    struct pin *old = reader->pins;
    size_t old_cap = reader->pin_cap;
    size_t cap = old_cap * 2;
    struct pin *pins = fr_alloc(cap * sizeof(*pins));
    if (!pins)
        return false;
    reader->pins = pins;
    reader->pin_cap = cap;
    for (size_t i = 0; i < old_cap; i++)
        if (old[i].entry)
            *pin_at(reader, old[i].entry) = old[i];
    fr_free(old);
    return true;
}

/* Takes it out and moves up what stands behind it, so that no look-up ends too soon. */
static void
pin_remove(struct cache_reader *reader, struct pin *pin)
{
    size_t mask = reader->pin_cap - 1;
    size_t hole = (size_t)(pin - reader->pins);
    for (size_t at = (hole + 1) & mask; reader->pins[at].entry; at = (at + 1) & mask) {
        size_t home = pin_home(reader, reader->pins[at].entry);
        if (((at - home) & mask) < ((at - hole) & mask))
            continue;
        reader->pins[hole] = reader->pins[at];
        hole = at;
    }
    reader->pins[hole] = (struct pin){.entry = NULL};
    reader->pin_count--;
}

static bool
is_retired(const struct cache_entry *entry)
{
    return __atomic_load_n(&entry->retired, __ATOMIC_ACQUIRE) != 0;
}

/* The entry is sure to live until this reader's next turn: it was found since the last one, or the
 * caller has a counted reference. */
bool
cache__reader_pin(struct cache_reader *reader, struct cache_entry *entry)
{
    struct pin *pin = pin_at(reader, entry);
    if (pin->entry) {
        pin->count++;
        return true;
    }
    if (2 * (reader->pin_count + 1) > reader->pin_cap) {
        if (!pins_grow(reader))
            return false;
        pin = pin_at(reader, entry);
    }
    bool held = is_retired(entry);
    if (held)
        (void)cache_entry_ref(entry);
    *pin = (struct pin){entry, 1, held};
    reader->pin_count++;
    return true;
}

uint32_t
cache__reader_sample(struct cache_reader *reader)
{
    return ++reader->hits % CACHE__SAMPLE == 0 ? CACHE__SAMPLE : 0;
}

struct cache_entry *
cache_entry_hold(struct cache_reader *reader, struct cache_entry *entry)
{
    if (!reader)
        return cache_entry_ref(entry);
    struct pin *pin = pin_at(reader, entry);
    if (pin->entry != entry) /* a counted reference that was handed on */
        return cache_entry_ref(entry);
    pin->count++;
    return entry;
}

void
cache_entry_release(struct cache_reader *reader, struct cache_entry **entry)
{
    struct cache_entry *old = *entry;
    if (!reader) {
        cache_entry_unref(entry);
        return;
    }
    *entry = NULL;
    struct pin *pin = pin_at(reader, old);
    if (pin->entry != old) { /* a counted reference that was handed on */
        cache_entry_unref(&old);
        return;
    }
    if (--pin->count > 0)
        return;
    bool held = pin->held;
    pin_remove(reader, pin);
    if (held)
        cache_entry_unref(&old);
}

/* ---- turns ----------------------------------------------------------------------------------- */

static void
turn(struct cache_reader *reader, uint64_t epoch)
{
    size_t left = reader->pin_count;
    for (size_t i = 0; left > 0; i++) {
        struct pin *pin = &reader->pins[i];
        if (!pin->entry)
            continue;
        left--;
        if (pin->held || !is_retired(pin->entry))
            continue;
        (void)cache_entry_ref(pin->entry); /* the limbo's is there until we say that we turned */
        pin->held = true;
    }
    __atomic_store_n(&reader->seen, epoch, __ATOMIC_RELEASE);
}

void
cache__reader_pass(struct cache_reader *reader)
{
    uint64_t epoch = __atomic_load_n(&reader->limbo->epoch, __ATOMIC_ACQUIRE);
    uint64_t behind = epoch - reader->seen;
    if (behind == 0 || (reader->pin_count > TURN_PINS && behind < reader->pin_count))
        return;
    turn(reader, epoch);
}

void
cache_reader_turn(struct cache_reader *reader)
{
    fr_require(reader->magic == READER_MAGIC);
    __atomic_store_n(&reader->waking, 0, __ATOMIC_RELEASE); /* what was told is read */
    turn(reader, __atomic_load_n(&reader->limbo->epoch, __ATOMIC_ACQUIRE));
    cache__limbo_empty(reader->limbo);
}

/* ---- life ------------------------------------------------------------------------------------ */

enum fr_err
cache_reader_new(struct cache_store *store, cache_wake_fn wake, void *ctx,
                 struct cache_reader **out)
{
    struct cache__limbo *limbo = cache__store_limbo(store);
    struct cache_reader *reader = fr_xalloc_lines(sizeof(*reader));
    reader->store = store;
    reader->limbo = limbo;
    reader->wake = wake;
    reader->wake_ctx = ctx;
    reader->pin_cap = PINS_MIN;
    reader->pins = fr_alloc(PINS_MIN * sizeof(*reader->pins));
    if (!reader->pins) {
        fr_free(reader);
        return FR_ERR_NOMEM;
    }
    fr_lock_take(&limbo->lock);
    reader->seen = limbo->epoch;
    fr_list_push_back(&limbo->readers, &reader->link);
    fr_lock_give(&limbo->lock);
    reader->magic = READER_MAGIC;
    *out = reader;
    return FR_OK;
}

void
cache_reader_free(struct cache_reader **reader)
{
    struct cache_reader *old = *reader;
    *reader = NULL;
    if (!old)
        return;
    fr_require(old->magic == READER_MAGIC);
    fr_require(old->pin_count == 0);
    fr_lock_take(&old->limbo->lock);
    fr_list_remove(&old->link);
    fr_lock_give(&old->limbo->lock);
    cache__limbo_empty(old->limbo);
    old->magic = 0;
    fr_free(old->pins);
    fr_free(old);
}

/* ---- the limbo ------------------------------------------------------------------------------- */

void
cache__limbo_init(struct cache__limbo *limbo)
{
    fr_lock_init(&limbo->lock);
    fr_list_init(&limbo->readers);
    fr_list_init(&limbo->entries);
}

void
cache__limbo_fini(struct cache__limbo *limbo)
{
    fr_require(fr_list_empty(&limbo->readers));
    cache__limbo_empty(limbo);
    fr_insist(fr_list_empty(&limbo->entries));
    fr_slow_check(limbo->waiting == 0 && limbo->waiting_bytes == 0); /* it adds up */
    fr_lock_fini(&limbo->lock);
}

void
cache__limbo_retire(struct cache__limbo *limbo, struct cache_entry *entry)
{
    fr_lock_take(&limbo->lock);
    uint64_t epoch = limbo->epoch + 1;
    if ((uint32_t)epoch == 0) /* it would read as not retired */
        epoch++;
    __atomic_store_n(&entry->retired, (uint32_t)epoch, __ATOMIC_RELEASE);
    fr_list_push_back(&limbo->entries, &entry->queue);
    __atomic_fetch_add(&limbo->waiting, 1, __ATOMIC_RELAXED);
    __atomic_fetch_add(&limbo->waiting_bytes, cache__entry_counted(entry), __ATOMIC_RELAXED);
    __atomic_store_n(&limbo->epoch, epoch, __ATOMIC_RELEASE); /* whoever sees it sees the above */
    fr_lock_give(&limbo->lock);
}

/* The lock is held: up to where every reader has turned. */
static uint64_t
turned(const struct cache__limbo *limbo)
{
    uint64_t least = limbo->epoch;
    FR_LIST_EACH(&limbo->readers, node) {
        const struct cache_reader *reader = FR_CONTAINER(node, struct cache_reader, link);
        uint64_t seen = __atomic_load_n(&reader->seen, __ATOMIC_ACQUIRE);
        if (seen < least)
            least = seen;
    }
    return least;
}

void
cache__limbo_empty(struct cache__limbo *limbo)
{
    struct fr_list gone;
    fr_list_init(&gone);
    fr_lock_take(&limbo->lock);
    uint64_t least = turned(limbo);
    while (!fr_list_empty(&limbo->entries)) {
        struct cache_entry *entry = FR_CONTAINER(limbo->entries.next, struct cache_entry, queue);
        /* Less than 2^31 apart: no more of them wait. */
        if ((int32_t)((uint32_t)least - entry->retired) < 0)
            break;
        fr_list_remove(&entry->queue);
        fr_list_push_back(&gone, &entry->queue);
        __atomic_fetch_sub(&limbo->waiting, 1, __ATOMIC_RELAXED);
        __atomic_fetch_sub(&limbo->waiting_bytes, cache__entry_counted(entry), __ATOMIC_RELAXED);
    }
    fr_lock_give(&limbo->lock);
    while (!fr_list_empty(&gone)) {
        struct cache_entry *entry = FR_CONTAINER(gone.next, struct cache_entry, queue);
        fr_list_remove(&entry->queue);
        cache_entry_unref(&entry);
    }
}

void
cache__limbo_wake(struct cache__limbo *limbo)
{
    fr_lock_take(&limbo->lock);
    FR_LIST_EACH(&limbo->readers, node) {
        struct cache_reader *reader = FR_CONTAINER(node, struct cache_reader, link);
        if (__atomic_load_n(&reader->seen, __ATOMIC_RELAXED) < limbo->epoch && reader->wake &&
            !__atomic_exchange_n(&reader->waking, 1, __ATOMIC_ACQUIRE))
            reader->wake(reader->wake_ctx);
    }
    fr_lock_give(&limbo->lock);
}
