/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cache_purge.c - takes back what was stored: by URL, prefix or tag, or all of it.
 *
 * May touch:  base, http.
 * Threads:    any may purge; one, always the same, sweeps.
 * Memory:     two serials a tag slot, counted with the index; CACHE_PURGES_MAX purges are
 *             remembered, and what each cluster lost (OWNERS_BYTES, once anything was purged).
 *             With a disk serials, slots, prefixes and the times of soft purges are the file's.
 * When full:  a prefix is refused while CACHE_PURGES_MAX purges wait for the sweep; other purges
 *             are done, but what each of them took is not counted for itself.
 * Cost:       a look-up: one comparison while nothing was purged since the entry was last looked
 *             at; else one for each of its tags, and one for each prefix purged since.
 *
 * Every purge takes the next serial. An entry knows up to which serial it has been judged, at first
 * the one at which its request went out; whatever was purged after that and concerns it takes
 * it back. So a purge is in force when cache_purge returns, whatever the number of objects, and
 * a response that was on its way meanwhile is not stored.
 *
 *     tag, URL     slots[hash of it].hard or .soft = serial: both are tags, the URL unspoken.
 *                  Two that share a slot go together, which takes too much and never too little.
 *                  A URL has several: without its host, and without its query, too (cache_key.c).
 *     prefix       remembered in a ring, compared with the key
 *     all          one serial
 *
 * The sweep walks the index afterwards, a slice at a time: it counts what went, and gives its
 * memory back before eviction would.
 */
#include "cache/cache_disk_priv.h"

#include "base/fr_buf.h"
#include "base/fr_check.h"
#include "base/fr_lock.h"
#include "base/fr_mem.h"
#include "base/fr_time.h"

#define SLOTS_MIN 64
#define SLOTS_MAX 1048576
#define SLOT_MEMORY 4096 /* one slot for so many bytes of budget */
#define OWNERS_BYTES (CACHE_OWNERS_MAX * sizeof(struct cache_purged))
#define STALE_MS_MAX INT64_C(0xfffffffe) /* what was purged later counts as purged then: staler */
#define AGE_MIN_US FR_US_PER_S           /* a rate over less says little */

struct record {
    uint64_t serial; /* 0: free */
    enum cache_purge_kind kind;
    bool soft;
    bool swept;
    uint32_t tags[CACHE__URL_TAGS]; /* of a URL, or one tag; 0 = no more */
    struct fr_view prefix;          /* from the host on; ours */
    struct cache_purged sum;
};

struct cache__purges {
    /* set once */
    const struct fr_hash_key *hash_key;
    struct cache__marks *marks; /* our own, or the disk's */
    struct cache__slot *slots;  /* likewise */
    size_t slot_count;
    struct cache__prefix_mark *prefixes; /* the disk's; NULL: records hold the prefixes */
    struct cache__soft_time *soft_times; /* the disk's, or NULL */
    /* shared, atomic; written by purges alone */
    struct cache__marks own;
    struct cache__slot *own_slots;
    uint64_t swept; /* all up to this serial are */
    /* under the lock */
    struct fr_lock lock;
    struct record records[CACHE_PURGES_MAX]; /* in no order */
    struct cache_purged *owners;             /* NULL until it is needed */
    struct cache_purged total;
    /* the sweeper's */
    struct cache__cursor cursor;
    uint64_t target; /* of the round under way; 0: none */
};

static uint64_t
load(const uint64_t *from)
{
    return __atomic_load_n(from, __ATOMIC_ACQUIRE);
}

static void
store(uint64_t *to, uint64_t value)
{
    __atomic_store_n(to, value, __ATOMIC_RELEASE);
}

static size_t
slot_count_for(uint64_t memory_bytes)
{
    size_t count = SLOTS_MIN;
    while (count < SLOTS_MAX && count * SLOT_MEMORY < memory_bytes)
        count *= 2;
    return count;
}

uint64_t
cache__purges_bytes(uint64_t memory_bytes)
{
    return sizeof(struct cache__purges) + slot_count_for(memory_bytes) * sizeof(struct cache__slot);
}

struct cache__purges *
cache__purges_new(uint64_t memory_bytes, const struct fr_hash_key *hash_key,
                  const struct cache_disk *disk)
{
    struct cache__purges *self = fr_alloc(sizeof(*self));
    if (!self)
        return NULL;
    self->hash_key = hash_key;
    if (disk) { /* what was purged before a restart stays purged */
        const struct cache__disk_map *map = cache__disk_map_of(disk);
        self->marks = map->marks;
        self->slots = map->slots;
        self->slot_count = cache_disk_layout_of(disk)->slot_count;
        self->prefixes = map->prefixes;
        self->soft_times = map->soft_times;
    } else {
        self->marks = &self->own;
        self->marks->last = 1; /* 0 in a request: nobody asked */
        self->slot_count = slot_count_for(memory_bytes);
        self->own_slots = fr_alloc(self->slot_count * sizeof(*self->slots));
        self->slots = self->own_slots;
    }
    if (!self->slots) {
        fr_free(self);
        return NULL;
    }
    self->swept = load(&self->marks->last);
    fr_lock_init(&self->lock);
    return self;
}

void
cache__purges_free(struct cache__purges **purges)
{
    struct cache__purges *self = *purges;
    *purges = NULL;
    if (!self)
        return;
    for (size_t i = 0; i < CACHE_PURGES_MAX; i++)
        fr_free((char *)(uintptr_t)self->records[i].prefix.ptr);
    fr_lock_fini(&self->lock);
    fr_free(self->owners);
    fr_free(self->own_slots);
    fr_free(self);
}

/* ---- judging --------------------------------------------------------------------------------- */

/* The key from its host on: what is purged is purged for http and https. */
static struct fr_view
after_scheme(struct fr_view key)
{
    const char *at = memchr(key.ptr, ':', key.len);
    size_t skip = at ? (size_t)(at - key.ptr) + 3 : 0;
    return skip < key.len ? fr_view_make(key.ptr + skip, key.len - skip) : key;
}

static enum cache__purged
harder(enum cache__purged a, enum cache__purged b)
{
    return a > b ? a : b;
}

static enum cache__purged
judge_tags(const struct cache__purges *self, const struct cache_entry *entry, uint64_t since)
{
    const uint32_t *tags = cache__entry_tags(entry);
    enum cache__purged found = CACHE__PURGED_NOT;
    for (size_t i = 0; i < entry->tag_count; i++) {
        const struct cache__slot *slot = &self->slots[tags[i] & (self->slot_count - 1)];
        if (load(&slot->hard) > since)
            return CACHE__PURGED_HARD;
        if (load(&slot->soft) > since)
            found = CACHE__PURGED_SOFT;
    }
    return found;
}

static bool
record_fits(const struct cache__purges *self, const struct record *record,
            const struct cache_entry *entry)
{
    const uint32_t *tags = cache__entry_tags(entry);
    size_t mask = self->slot_count - 1;
    switch (record->kind) {
    case CACHE_PURGE_ALL:
        return true;
    case CACHE_PURGE_PREFIX:
        return cache__url_starts(after_scheme(cache__entry_key(entry)), record->prefix);
    case CACHE_PURGE_TAG:
    case CACHE_PURGE_URL:
        break;
    }
    for (size_t i = 0; i < entry->tag_count; i++)
        for (size_t r = 0; r < CACHE__URL_TAGS && record->tags[r] != 0; r++)
            if ((tags[i] & mask) == (record->tags[r] & mask))
                return true;
    return false;
}

/* The lock is held. */
static enum cache__purged
judge_records(const struct cache__purges *self, const struct cache_entry *entry, uint64_t since)
{
    enum cache__purged found = CACHE__PURGED_NOT;
    for (size_t i = 0; i < CACHE_PURGES_MAX; i++) {
        const struct record *record = &self->records[i];
        if (record->serial > since && record->kind == CACHE_PURGE_PREFIX &&
            record_fits(self, record, entry))
            found = harder(found, record->soft ? CACHE__PURGED_SOFT : CACHE__PURGED_HARD);
    }
    return found;
}

/* The same of those that the disk keeps, for longer and over restarts. */
static enum cache__purged
judge_prefix_marks(const struct cache__purges *self, const struct cache_entry *entry,
                   uint64_t since)
{
    enum cache__purged found = CACHE__PURGED_NOT;
    struct fr_view text = after_scheme(cache__entry_key(entry));
    for (size_t i = 0; i < CACHE__PREFIXES; i++) {
        const struct cache__prefix_mark *mark = &self->prefixes[i];
        if (mark->serial > since && mark->len <= CACHE__PREFIX_BYTES_MAX &&
            cache__url_starts(text, fr_view_make(mark->text, mark->len)))
            found = harder(found, mark->soft ? CACHE__PURGED_SOFT : CACHE__PURGED_HARD);
    }
    return found;
}

static enum cache__purged
judge_prefixes(struct cache__purges *self, const struct cache_entry *entry, uint64_t since)
{
    if (load(&self->marks->prefix_last) <= since)
        return CACHE__PURGED_NOT;
    if (load(&self->marks->prefix_floor) > since) /* after prefixes that nobody remembers */
        return CACHE__PURGED_HARD;
    fr_lock_take(&self->lock);
    enum cache__purged found =
        self->prefixes ? judge_prefix_marks(self, entry, since) : judge_records(self, entry, since);
    fr_lock_give(&self->lock);
    return found;
}

enum cache__purged
cache__purges_judge(struct cache__purges *self, struct cache_entry *entry)
{
    uint64_t last = load(&self->marks->last);
    uint64_t since = __atomic_load_n(&entry->serial, __ATOMIC_RELAXED);
    if (since >= last)
        return CACHE__PURGED_NOT;
    enum cache__purged found = judge_tags(self, entry, since);
    if (load(&self->marks->all_hard) > since)
        found = CACHE__PURGED_HARD;
    if (load(&self->marks->all_soft) > since)
        found = harder(found, CACHE__PURGED_SOFT);
    if (found != CACHE__PURGED_HARD)
        found = harder(found, judge_prefixes(self, entry, since));
    if (found == CACHE__PURGED_NOT) /* judged up to here */
        __atomic_store_n(&entry->serial, last, __ATOMIC_RELAXED);
    return found;
}

static uint32_t
stale_since(const struct cache_entry *entry, int64_t us)
{
    int64_t ms = us / 1000 - (int64_t)entry->response_ms;
    return 1 + (uint32_t)(ms < 0 ? 0 : ms > STALE_MS_MAX ? STALE_MS_MAX : ms);
}

static void
soften(struct cache_entry *entry, int64_t now_us)
{
    uint32_t none = 0;
    uint32_t stale = stale_since(entry, now_us);
    (void)__atomic_compare_exchange_n(&entry->stale, &none, stale, false, __ATOMIC_RELAXED,
                                      __ATOMIC_RELAXED); /* the first one's time stays */
}

/* When the first soft purge after `since` was, whatever it concerned: not later than the one that
 * did. 0: nobody knows any more. */
static int64_t
soft_since(const struct cache__purges *self, uint64_t since)
{
    const struct cache__soft_time *first = NULL;
    uint64_t oldest = UINT64_MAX;
    size_t known = 0;
    for (size_t i = 0; i < CACHE__SOFT_TIMES; i++) {
        const struct cache__soft_time *time = &self->soft_times[i];
        if (time->serial == 0)
            continue;
        known++;
        if (time->serial < oldest)
            oldest = time->serial;
        if (time->serial > since && (!first || time->serial < first->serial))
            first = time;
    }
    bool complete = known < CACHE__SOFT_TIMES || oldest <= since;
    return first && complete ? first->us : 0;
}

bool
cache__purges_admit(struct cache__purges *self, struct cache_entry *entry)
{
    uint64_t last = load(&self->marks->last);
    uint64_t since = entry->serial;
    switch (cache__purges_judge(self, entry)) {
    case CACHE__PURGED_NOT:
        return true;
    case CACHE__PURGED_HARD:
        return false;
    case CACHE__PURGED_SOFT:
        break;
    }
    fr_lock_take(&self->lock);
    int64_t us = self->soft_times ? soft_since(self, since) : 0;
    fr_lock_give(&self->lock);
    if (us == 0)
        return false;
    uint32_t stale = stale_since(entry, us);
    if (entry->stale == 0 || stale < entry->stale)
        entry->stale = stale;
    entry->serial = last;
    return true;
}

void
cache__purges_shorten(const struct cache_entry *entry, int64_t now_us,
                      struct cache__freshness *freshness)
{
    uint32_t stale = __atomic_load_n(&entry->stale, __ATOMIC_RELAXED);
    if (stale == 0)
        return;
    int64_t age_us = cache__age_us(freshness, freshness->response_us + (int64_t)(stale - 1) * 1000);
    int64_t now_age_us = cache__age_us(freshness, now_us);
    if (now_age_us < age_us) /* the clock was set back since: it does not become fresh by that */
        age_us = now_age_us;
    if (age_us < freshness->lifetime_us)
        freshness->lifetime_us = age_us;
}

bool
cache__purges_apply(struct cache__purges *self, struct cache_entry *entry, int64_t now_us,
                    struct cache__freshness *freshness)
{
    enum cache__purged found = cache__purges_judge(self, entry);
    if (found == CACHE__PURGED_HARD)
        return false;
    if (found == CACHE__PURGED_SOFT)
        soften(entry, now_us);
    cache__purges_shorten(entry, now_us, freshness);
    return true;
}

/* ---- purging --------------------------------------------------------------------------------- */

/* "http://Host/path" and "//Host/path" become "host/path"; false for what is neither, or too long.
 * A URL without a path has the path "/" (RFC 9110 section 4.2.3), and a fragment is none's key. */
static bool
url_normalise(struct fr_view text, bool whole, struct fr_buf *out)
{
    const char *slashes = text.len ? memmem(text.ptr, text.len, "//", 2) : NULL;
    if (!slashes || (slashes > text.ptr && slashes[-1] != ':'))
        return false;
    size_t skip = (size_t)(slashes - text.ptr) + 2;
    text = fr_view_make(slashes + 2, text.len - skip);
    const char *fragment = text.len ? memchr(text.ptr, '#', text.len) : NULL;
    if (fragment && whole)
        text.len = (size_t)(fragment - text.ptr);
    size_t host_len = 0;
    while (host_len < text.len && text.ptr[host_len] != '/' && text.ptr[host_len] != '?')
        host_len++;
    if (host_len == 0 || text.len > CACHE__KEY_BYTES_MAX)
        return false;
    bool path = host_len < text.len && text.ptr[host_len] == '/';
    enum fr_err err = fr_buf_append_view(out, fr_view_make(text.ptr, host_len));
    if (err == FR_OK && !path && (whole || host_len < text.len))
        err = fr_buf_append_view(out, FR_VIEW("/"));
    if (err == FR_OK)
        err = fr_buf_append_view(out, fr_view_make(text.ptr + host_len, text.len - host_len));
    for (size_t i = 0; err == FR_OK && i < host_len; i++)
        if (out->data[i] >= 'A' && out->data[i] <= 'Z')
            out->data[i] = (char)(out->data[i] | 0x20);
    return err == FR_OK;
}

static void
slot_mark(struct cache__purges *self, uint32_t tag, uint64_t serial, bool soft)
{
    struct cache__slot *slot = &self->slots[tag & (self->slot_count - 1)];
    store(soft ? &slot->soft : &slot->hard, serial);
}

/* A record for a new serial: the oldest one that nobody waits for; NULL when there is none. */
static struct record *
record_take(struct cache__purges *self, uint64_t serial)
{
    struct record *record = NULL;
    for (size_t i = 0; i < CACHE_PURGES_MAX; i++) {
        struct record *other = &self->records[i];
        if ((other->serial == 0 || other->swept) && (!record || other->serial < record->serial))
            record = other;
    }
    if (!record)
        return NULL;
    if (!self->prefixes && record->kind == CACHE_PURGE_PREFIX &&
        record->serial > load(&self->marks->prefix_floor))
        store(&self->marks->prefix_floor, record->serial);
    fr_free((char *)(uintptr_t)record->prefix.ptr);
    *record = (struct record){.serial = serial};
    return record;
}

/* The lock is held. A kill between two lines forgets the mark that leaves, which the floor stands
 * in for, or the new purge, of which nobody was told yet. */
static void
prefix_mark(struct cache__purges *self, struct fr_view prefix, uint64_t serial, bool soft)
{
    struct cache__prefix_mark *mark = &self->prefixes[0];
    for (size_t i = 1; i < CACHE__PREFIXES; i++)
        if (self->prefixes[i].serial < mark->serial)
            mark = &self->prefixes[i];
    if (mark->serial > load(&self->marks->prefix_floor))
        store(&self->marks->prefix_floor, mark->serial);
    store(&mark->serial, 0);
    memcpy(mark->text, prefix.ptr, prefix.len);
    mark->len = (uint32_t)prefix.len;
    mark->soft = soft;
    store(&mark->serial, serial);
}

static void
soft_time_note(struct cache__purges *self, uint64_t serial, int64_t now_us)
{
    struct cache__soft_time *time = &self->soft_times[0];
    for (size_t i = 1; i < CACHE__SOFT_TIMES; i++)
        if (self->soft_times[i].serial < time->serial)
            time = &self->soft_times[i];
    store(&time->serial, 0);
    time->us = now_us;
    store(&time->serial, serial);
}

/* The lock is held. `text` is the normalised URL or prefix, or the tag. */
static enum fr_err
purge_locked(struct cache__purges *self, const struct cache_purge *purge, struct fr_view text,
             int64_t now_us, uint64_t *out_serial)
{
    uint64_t serial = load(&self->marks->last) + 1;
    struct record unrecorded = {0}; /* counts in the sums alone: there are more than can be kept */
    char *prefix = NULL;
    if (purge->kind == CACHE_PURGE_PREFIX) {
        /* More begins with a part of it than with all of it: too much goes, never too little. */
        if (self->prefixes && text.len > CACHE__PREFIX_BYTES_MAX)
            text.len = CACHE__PREFIX_BYTES_MAX;
        prefix = fr_alloc(text.len + 1);
        if (!prefix)
            return FR_ERR_NOMEM;
        memcpy(prefix, text.ptr, text.len);
    }
    struct record *record = record_take(self, serial);
    if (!record && prefix) {
        fr_free(prefix);
        return FR_ERR_FULL;
    }
    if (!record)
        record = &unrecorded;
    record->kind = purge->kind;
    record->soft = purge->soft;
    if (purge->soft && self->soft_times)
        soft_time_note(self, serial, now_us);
    switch (purge->kind) {
    case CACHE_PURGE_URL:
    case CACHE_PURGE_TAG:
        if (purge->kind == CACHE_PURGE_URL)
            cache__url_tags(self->hash_key, text, record->tags);
        else
            record->tags[0] = cache__tag(self->hash_key, text);
        for (size_t i = 0; i < CACHE__URL_TAGS && record->tags[i] != 0; i++)
            slot_mark(self, record->tags[i], serial, purge->soft);
        break;
    case CACHE_PURGE_PREFIX:
        record->prefix = fr_view_make(prefix, text.len);
        if (self->prefixes)
            prefix_mark(self, text, serial, purge->soft);
        store(&self->marks->prefix_last, serial);
        break;
    case CACHE_PURGE_ALL:
        store(purge->soft ? &self->marks->all_soft : &self->marks->all_hard, serial);
        break;
    }
    store(&self->marks->last, serial); /* from here on look-ups see it */
    *out_serial = serial;
    return FR_OK;
}

/* ---- sweeping -------------------------------------------------------------------------------- */

struct sweep {
    struct cache__purges *self;
    uint64_t target;
    int64_t now_us;
};

static void
sum_add(struct cache_purged *sum, const struct cache_purged *one)
{
    sum->objects += one->objects;
    sum->bytes += one->bytes;
    sum->requests_per_s += one->requests_per_s;
}

static struct cache_purged
weigh(const struct cache_entry *entry, int64_t now_us)
{
    int64_t age_us = now_us - cache__entry_freshness(entry).response_us;
    uint64_t hits = __atomic_load_n(&entry->hits, __ATOMIC_RELAXED);
    if (age_us < AGE_MIN_US)
        age_us = AGE_MIN_US;
    return (struct cache_purged){
        .objects = 1,
        .bytes = cache__entry_counted(entry),
        .requests_per_s = (double)hits * (double)FR_US_PER_S / (double)age_us,
    };
}

/* Notes what went with the first purge that concerns it, and whose it was. */
static void
note(struct sweep *sweep, const struct cache_entry *entry, uint64_t since)
{
    struct cache__purges *self = sweep->self;
    struct cache_purged one = weigh(entry, sweep->now_us);
    fr_lock_take(&self->lock);
    struct record *first = NULL;
    for (size_t i = 0; i < CACHE_PURGES_MAX; i++) {
        struct record *record = &self->records[i];
        if (record->serial > since && record->serial <= sweep->target &&
            (!first || record->serial < first->serial) && record_fits(self, record, entry))
            first = record;
    }
    if (first)
        sum_add(&first->sum, &one);
    if (!self->owners)
        self->owners = fr_alloc(OWNERS_BYTES);
    if (self->owners)
        sum_add(&self->owners[entry->owner], &one);
    sum_add(&self->total, &one);
    fr_lock_give(&self->lock);
}

/* The entry's shard is locked. True: it is to leave. */
static bool
sweep_one(void *ctx, struct cache_entry *entry)
{
    struct sweep *sweep = ctx;
    uint64_t since = __atomic_load_n(&entry->serial, __ATOMIC_RELAXED);
    bool first = __atomic_load_n(&entry->stale, __ATOMIC_RELAXED) == 0;
    if (since >= sweep->target)
        return false;
    switch (cache__purges_judge(sweep->self, entry)) {
    case CACHE__PURGED_NOT:
        return false;
    case CACHE__PURGED_SOFT:
        soften(entry, sweep->now_us);
        if (first)
            note(sweep, entry, since);
        __atomic_store_n(&entry->serial, sweep->target, __ATOMIC_RELAXED);
        return false;
    case CACHE__PURGED_HARD:
        break;
    }
    note(sweep, entry, since);
    return true;
}

/* The key of what stands for the URL in one of the ways in which a route may store it: bit 0 https,
 * bit 1 any host, bit 2 any query. */
static bool
key_put(struct fr_buf *out, struct fr_view url, unsigned way)
{
    size_t host_len = 0;
    while (host_len < url.len && url.ptr[host_len] != '/')
        host_len++;
    struct fr_view host = fr_view_make(url.ptr, host_len);
    struct fr_view rest = fr_view_make(url.ptr + host_len, url.len - host_len), path = rest;
    if (way & 4)
        (void)fr_view_split(&rest, '?', &path); /* or all of it is the path */
    fr_buf_clear(out);
    return fr_buf_append_view(out, way & 1 ? FR_VIEW("https://") : FR_VIEW("http://")) == FR_OK &&
           fr_buf_append_view(out, way & 2 ? FR_VIEW(CACHE__KEY_ANY_HOST) : host) == FR_OK &&
           fr_buf_append_view(out, path) == FR_OK &&
           (!(way & 4) || fr_buf_append_view(out, FR_VIEW(CACHE__KEY_ANY_QUERY)) == FR_OK);
}

/* What is stored for the URL itself goes at once; nothing is left for the sweep, unless it has
 * other purges before this one to see to. What has fields in its key, or sorted parameters, is
 * purged as well, and leaves when it is looked at. */
static void
purge_url_now(struct cache_store *store_, struct fr_view url, uint64_t serial, int64_t now_us)
{
    struct cache__purges *self = cache__store_purges(store_);
    struct sweep sweep = {self, serial, now_us};
    struct fr_buf key;
    fr_buf_init(&key, CACHE__KEY_BYTES_MAX);
    bool whole = true;
    for (unsigned way = 0; way < 8; way++) {
        bool fits = key_put(&key, url, way);
        if (fits)
            cache__store_walk_key(store_, fr_buf_view(&key), sweep_one, &sweep);
        whole &= fits;
    }
    fr_buf_fini(&key);
    fr_lock_take(&self->lock);
    if (whole && load(&self->swept) == serial - 1) {
        for (size_t i = 0; i < CACHE_PURGES_MAX; i++)
            self->records[i].swept |= self->records[i].serial == serial;
        store(&self->swept, serial);
    }
    fr_lock_give(&self->lock);
}

enum fr_err
cache_purge(struct cache_store *store_, const struct cache_purge *purge, int64_t now_us,
            uint64_t *out_serial)
{
    struct cache__purges *self = cache__store_purges(store_);
    struct fr_buf url;
    struct fr_view text = fr_view_trim(purge->text);
    fr_buf_init(&url, CACHE__KEY_BYTES_MAX + 2);
    enum fr_err err = FR_OK;
    if (purge->kind == CACHE_PURGE_URL || purge->kind == CACHE_PURGE_PREFIX) {
        if (!url_normalise(text, purge->kind == CACHE_PURGE_URL, &url))
            err = FR_ERR_SYNTAX;
        text = fr_buf_view(&url);
    } else if (purge->kind == CACHE_PURGE_TAG && text.len == 0) {
        err = FR_ERR_SYNTAX;
    }
    if (err == FR_OK) {
        fr_lock_take(&self->lock);
        err = purge_locked(self, purge, text, now_us, out_serial);
        fr_lock_give(&self->lock);
    }
    if (err == FR_OK && purge->kind == CACHE_PURGE_URL)
        purge_url_now(store_, text, *out_serial, now_us);
    fr_buf_fini(&url);
    return err;
}

uint64_t
cache_purge_serial(const struct cache_store *store_)
{
    return load(&cache__store_purges(store_)->marks->last);
}

static void
round_end(struct cache__purges *self)
{
    fr_lock_take(&self->lock);
    for (size_t i = 0; i < CACHE_PURGES_MAX; i++)
        self->records[i].swept |= self->records[i].serial <= self->target;
    fr_lock_give(&self->lock);
    store(&self->swept, self->target);
    self->target = 0;
}

bool
cache_purge_sweep(struct cache_store *store_, size_t buckets, int64_t now_us)
{
    struct cache__purges *self = cache__store_purges(store_);
    if (self->target == 0) {
        self->target = load(&self->marks->last);
        if (self->target == load(&self->swept)) {
            self->target = 0;
            return true;
        }
    }
    struct sweep sweep = {self, self->target, now_us};
    if (!cache__store_walk(store_, &self->cursor, buckets, sweep_one, &sweep))
        round_end(self);
    return load(&self->swept) == load(&self->marks->last);
}

bool
cache_purge_swept(const struct cache_store *store_, uint64_t serial, struct cache_purged *out)
{
    struct cache__purges *self = cache__store_purges(store_);
    *out = (struct cache_purged){0};
    if (load(&self->swept) < serial)
        return false;
    fr_lock_take(&self->lock);
    for (size_t i = 0; i < CACHE_PURGES_MAX; i++)
        if (self->records[i].serial == serial)
            *out = self->records[i].sum;
    fr_lock_give(&self->lock);
    return true;
}

void
cache_purge_total(const struct cache_store *store_, struct cache_purged *out)
{
    struct cache__purges *self = cache__store_purges(store_);
    fr_lock_take(&self->lock);
    *out = self->total;
    fr_lock_give(&self->lock);
}

void
cache_purge_owner(const struct cache_store *store_, uint32_t owner, struct cache_purged *out)
{
    struct cache__purges *self = cache__store_purges(store_);
    *out = (struct cache_purged){0};
    fr_lock_take(&self->lock);
    if (self->owners && owner < CACHE_OWNERS_MAX)
        *out = self->owners[owner];
    fr_lock_give(&self->lock);
}
