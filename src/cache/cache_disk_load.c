/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cache_disk_load.c - what was found on disk goes back into memory, piece by piece.
 *
 * May touch:  base, http.
 * Threads:    one for each loading; what comes is seen by nobody before all of it is there.
 * Memory:     the store's, reserved before the first piece; a block for the head meanwhile.
 * When full:  CACHE_DISK_FULL: it stays on disk.
 * Trusts:     nothing read: head and pieces are checked, each by itself.
 */
#include "cache/cache_disk_priv.h"

#include "base/fr_check.h"
#include "base/fr_mem.h"

struct cache_disk_loading {
    struct cache_disk *disk;
    struct cache_disk_place place;
    struct cache_entry *entry;
    struct cache__filling filling;
    uint64_t left, piece;
};

/* What cache__entry_make wants, from what is on disk. */
struct remake {
    struct cache__plan_room room;
    struct cache__control said; /* what it withheld is not in the head any more */
    struct http_head head;
    char text[CACHE_DISK_UNIT_BYTES_MAX + 2];
};

static bool
remake_head(struct remake *remake, struct fr_view head)
{
    static const struct http_limits limits = {1024 * 1024, 65536, HTTP_FIELDS_MAX};
    struct http_err err;
    size_t scanned = 0;
    if (head.len + 2 > sizeof(remake->text))
        return false;
    memcpy(remake->text, head.ptr, head.len);
    memcpy(remake->text + head.len, "\r\n", 2);
    return http_response_parse(fr_view_make(remake->text, head.len + 2), &limits, &scanned,
                               &remake->head, &err) == HTTP_DONE;
}

static struct cache_entry *
remake_entry(struct cache_store *store, const struct cache__record *record, uint32_t owner,
             struct remake *remake, struct cache__filling *filling)
{
    struct cache__entry_plan plan = {
        .key = &remake->room.key,
        .vary = record->vary,
        .tags = &remake->room.tags,
        .select = record->select,
        .response = &remake->head,
        .said = &remake->said,
        .policy = &cache_policy_default,
        .freshness = &record->freshness,
        .part_of = record->is_part ? &record->part_of : NULL,
        .owner = owner,
        .serial = record->serial,
        .body_bytes = record->body_bytes,
    };
    remake->room.key.hash = record->hash;
    remake->room.key.len = record->key.len;
    memcpy(remake->room.key.text, record->key.ptr, record->key.len);
    remake->room.tags.count = record->tag_count;
    memcpy(remake->room.tags.tags, record->tags, record->tag_count * sizeof(uint32_t));
    bool far = record->body_bytes > CACHE_DISK_WHOLE_BYTES_MAX;
    uint32_t owner_hash = cache__owner_of(record->hash);
    if (far) {
        const struct cache__far where = {.hash = record->hash};
        plan.body =
            cache__body_new_far(store, owner_hash, record->body_bytes, &where, record->birth);
        if (!plan.body)
            return NULL;
    }
    struct cache_entry *entry = cache__entry_make(store, &plan);
    cache__body_unref(store, plan.body); /* the entry has its own; NULL is allowed */
    if (!entry)
        return NULL;
    entry->stale = record->stale;
    if (far)
        return entry;
    cache__filling_init(filling, entry->body);
    if (cache__body_reserve(store, owner_hash, entry->body, filling, record->body_bytes))
        return entry;
    cache__entry_free(entry);
    return NULL;
}

static enum cache_disk_step
load_next(const struct cache_disk_loading *loading, size_t *out_bytes)
{
    if (loading->left == 0)
        return CACHE_DISK_WHOLE;
    *out_bytes = cache_disk_piece_bytes(loading->left);
    return CACHE_DISK_MORE;
}

enum cache_disk_step
cache_disk_load_begin(struct cache_store *store, struct cache_disk *disk,
                      const struct cache_disk_place *place, struct fr_view head, uint32_t owner,
                      struct cache_disk_loading **out, size_t *out_bytes)
{
    struct cache__record record;
    if (!cache__record_read(cache__disk_map_of(disk)->hash_key, head, &record) ||
        record.stamp != place->stamp || record.birth != place->birth ||
        record.record_bytes != place->bytes)
        return CACHE_DISK_BAD;
    struct cache_disk_loading *loading = fr_alloc(sizeof(*loading));
    struct remake *remake = fr_alloc(sizeof(*remake));
    enum cache_disk_step step = CACHE_DISK_FULL;
    if (loading && remake && !remake_head(remake, record.head))
        step = CACHE_DISK_BAD;
    else if (loading && remake)
        loading->entry = remake_entry(store, &record, owner, remake, &loading->filling);
    fr_free(remake);
    if (!loading || !loading->entry) {
        fr_free(loading);
        return step;
    }
    loading->disk = disk;
    loading->place = *place;
    loading->left = cache_entry_is_far(loading->entry) ? 0 : record.body_bytes;
    *out = loading;
    return load_next(loading, out_bytes);
}

enum cache_disk_step
cache_disk_load_add(struct cache_disk_loading *loading, struct fr_view unit, size_t *out_bytes)
{
    if (unit.len != cache_disk_piece_bytes(loading->left) ||
        !cache_disk_piece_good(loading->disk, loading->place.birth, loading->piece + 1, unit))
        return CACHE_DISK_BAD;
    size_t bytes =
        loading->left < CACHE_DISK_PIECE_BYTES ? (size_t)loading->left : CACHE_DISK_PIECE_BYTES;
    size_t taken =
        cache__body_append(loading->entry->body, &loading->filling, fr_view_make(unit.ptr, bytes));
    fr_insist(taken == bytes); /* it was reserved */
    loading->piece++;
    loading->left -= bytes;
    return load_next(loading, out_bytes);
}

bool
cache_disk_load_end(struct cache_disk_loading **loading)
{
    struct cache_disk_loading *self = *loading;
    struct cache_disk *disk = self->disk;
    struct cache_entry *entry = self->entry;
    fr_require(self->left == 0);
    cache__body_set_birth(entry->body, self->place.birth);
    enum cache__put_back put = cache__store_put_back(entry->store, entry, &self->place);
    if (put == CACHE__PUT_BACK_PURGED)
        (void)cache__spots_drop(cache__disk_spots(disk), &self->place); /* or it is gone already */
    bool there = put == CACHE__PUT_BACK_DONE || put == CACHE__PUT_BACK_HELD;
    cache__disk_count_loaded(disk, there);
    cache_disk_load_drop(loading);
    return there;
}

void
cache_disk_load_drop(struct cache_disk_loading **loading)
{
    struct cache_disk_loading *old = *loading;
    *loading = NULL;
    if (!old)
        return;
    cache_entry_unref(&old->entry);
    fr_free(old);
}
