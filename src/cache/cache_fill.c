/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cache_fill.c - takes a response in while it passes by, and shelves it once it is whole.
 *
 * May touch:  base, http.
 * Threads:    a filler is one worker's; nobody else sees the entry before the commit.
 * Memory:     every allocation is reserved in the store's budget first. A length known from the
 *             head is one part of exactly that size; else parts double, and the last one is cut to
 *             measure.
 * When full:  the response goes on to the client, unstored.
 * Follows:    RFC 9111 sections 3 and 3.3 (an incomplete response is never stored).
 *
 *     begin -> add ... add -> commit     the body came whole
 *                          -> drop       it did not
 *           -> add (FULL)                the filler is gone already
 */
#include "cache/cache_priv.h"

#include "base/fr_check.h"
#include "base/fr_mem.h"

#define FILLER_MAGIC 0x4346494cu
#define PART_BYTES_MIN 16384
#define PART_BYTES_MAX (1024 * 1024)
#define PARTS_GROWTH 8

struct cache_filler {
    uint32_t magic;
    bool length_known;
    uint64_t length;
    struct cache_entry *entry;
};

/* Reserves and takes; counted with the entry. NULL when there is no room. */
static void *
memory_take(struct cache_entry *entry, void *old, size_t old_bytes, size_t bytes)
{
    size_t extra = bytes - old_bytes + (old ? 0 : CACHE__ALLOC_OVERHEAD);
    if (!cache__store_reserve(entry->store, extra))
        return NULL;
    void *memory = fr_realloc(old, bytes);
    if (!memory) {
        cache__store_release(entry->store, extra);
        return NULL;
    }
    entry->body->counted_bytes += extra;
    return memory;
}

/* One more empty part of `bytes`; false when there is no room. */
static bool
part_add(struct cache_entry *entry, size_t bytes)
{
    struct cache__body *body = entry->body;
    if (body->part_count == body->part_cap) {
        uint32_t cap = body->part_cap + (body->part_cap ? PARTS_GROWTH : 1);
        struct cache__part *parts =
            memory_take(entry, body->parts, body->part_cap * sizeof(*parts), cap * sizeof(*parts));
        if (!parts)
            return false;
        body->parts = parts;
        body->part_cap = cap;
    }
    char *data = memory_take(entry, NULL, 0, bytes);
    if (!data)
        return false;
    body->parts[body->part_count++] = (struct cache__part){.data = data, .len = 0, .cap = bytes};
    return true;
}

/* An entry with everything but its body; NULL when there is no room or no key. */
static struct cache_entry *
entry_make(struct cache_store *store, const struct cache_request *request,
           const struct http_head *response, const struct cache__freshness *freshness,
           int64_t request_us)
{
    const struct fr_hash_key *hash_key = cache__store_hash_key(store);
    struct cache__key key;
    struct cache__vary vary;
    struct fr_hash128 select = {0, 0};
    if (!cache__key_make(hash_key, request, &key) || !cache__vary_read(response, &vary))
        return NULL;
    struct fr_view names = fr_view_make(vary.names, vary.len);
    if (vary.len && !cache__select_hash(hash_key, names, request->head, &select))
        return NULL;
    struct cache__tags tags;
    if (!cache__tags_read(hash_key, response, cache__key_url(&key, request), &tags)) {
        cache__store_refused(store, CACHE__REFUSED_TAGS); /* a purge must not miss it */
        return NULL;
    }
    struct cache__entry_plan plan = {
        .key = fr_view_make(key.text, key.len),
        .vary = names,
        .tags = &tags,
        .response = response,
        .response_us = freshness->response_us,
    };
    size_t bytes = cache__entry_bytes(&plan);
    if (!cache__store_reserve(store, bytes)) {
        cache__store_refused(store, CACHE__REFUSED_FULL);
        return NULL;
    }
    struct cache_entry *entry = cache__entry_new(&plan);
    if (!entry) {
        cache__store_release(store, bytes);
        return NULL;
    }
    entry->store = store;
    entry->hash = key.hash;
    entry->select = select;
    entry->freshness = *freshness;
    entry->request_us = request_us;
    entry->owner = request->owner;
    entry->serial = request->serial ? request->serial : cache_purge_serial(store);
    return entry;
}

struct cache_filler *
cache_fill_begin(struct cache_store *store, const struct cache_request *request,
                 const struct http_head *response, enum http_framing framing, int64_t request_us,
                 int64_t response_us)
{
    struct cache__freshness freshness;
    if (!cache__may_store(request->head, response, framing, request_us, response_us, &freshness))
        return NULL;
    bool length_known = framing != HTTP_BODY_CHUNKED;
    uint64_t length = framing == HTTP_BODY_LENGTH ? response->content_length : 0;
    if (length > cache__store_object_max(store)) {
        cache__store_refused(store, CACHE__REFUSED_LARGE);
        return NULL;
    }
    struct cache_entry *entry = entry_make(store, request, response, &freshness, request_us);
    if (!entry)
        return NULL;
    struct cache_filler *filler = NULL;
    if (length > 0 && !part_add(entry, (size_t)length)) {
        cache__store_refused(store, CACHE__REFUSED_FULL);
        goto out;
    }
    filler = memory_take(entry, NULL, 0, sizeof(*filler));
    if (!filler)
        goto out;
    *filler = (struct cache_filler){FILLER_MAGIC, length_known, length, entry};
    entry = NULL;
out:
    if (entry)
        cache__entry_free(entry);
    return filler;
}

/* Room for more: a part twice as large as the last one, within bounds. */
static bool
room_make(struct cache_filler *filler)
{
    struct cache_entry *entry = filler->entry;
    size_t bytes = PART_BYTES_MIN;
    if (entry->body->part_count > 0)
        bytes = entry->body->parts[entry->body->part_count - 1].cap * 2;
    if (bytes > PART_BYTES_MAX)
        bytes = PART_BYTES_MAX;
    return part_add(entry, bytes);
}

/* Copies as much as the last part takes. Returns how much that was. */
static size_t
part_fill(struct cache_entry *entry, struct fr_view data)
{
    if (entry->body->part_count == 0)
        return 0;
    struct cache__part *part = &entry->body->parts[entry->body->part_count - 1];
    size_t bytes = part->cap - part->len;
    if (bytes > data.len)
        bytes = data.len;
    if (bytes)
        memcpy(part->data + part->len, data.ptr, bytes);
    part->len += bytes;
    entry->body->bytes += bytes;
    return bytes;
}

enum fr_err
cache_fill_add(struct cache_filler **filler, struct fr_view data)
{
    struct cache_filler *self = *filler;
    fr_require(self->magic == FILLER_MAGIC);
    struct cache_entry *entry = self->entry;
    uint64_t max = self->length_known ? self->length : cache__store_object_max(entry->store);
    enum cache__refusal refusal = CACHE__REFUSED_LARGE;
    if (data.len > max - entry->body->bytes)
        goto refuse;
    refusal = CACHE__REFUSED_FULL;
    while (data.len > 0) {
        size_t bytes = part_fill(entry, data);
        data = fr_view_make(data.ptr + bytes, data.len - bytes);
        if (data.len > 0 && !room_make(self))
            goto refuse;
    }
    return FR_OK;
refuse:
    cache__store_refused(entry->store, refusal);
    cache_fill_drop(filler);
    return FR_ERR_FULL;
}

/* Gives back what the last part has too much. */
static void
part_trim(struct cache_entry *entry)
{
    if (entry->body->part_count == 0)
        return;
    struct cache__part *part = &entry->body->parts[entry->body->part_count - 1];
    if (part->len == part->cap || part->len == 0)
        return;
    char *data = fr_realloc(part->data, part->len);
    if (!data)
        return; /* it stays as it is, and stays counted */
    size_t less = part->cap - part->len;
    part->data = data;
    part->cap = part->len;
    entry->body->counted_bytes -= less;
    cache__store_release(entry->store, less);
}

/* The filler ends; its entry is the caller's. */
static struct cache_entry *
filler_end(struct cache_filler **filler)
{
    struct cache_filler *self = *filler;
    struct cache_entry *entry = self->entry;
    fr_require(self->magic == FILLER_MAGIC);
    *filler = NULL;
    self->magic = 0;
    fr_free(self);
    size_t bytes = sizeof(*self) + CACHE__ALLOC_OVERHEAD;
    entry->counted_bytes -= bytes;
    cache__store_release(entry->store, bytes);
    return entry;
}

void
cache_fill_commit(struct cache_filler **filler)
{
    bool whole = !(*filler)->length_known || (*filler)->entry->body->bytes == (*filler)->length;
    struct cache_entry *entry = filler_end(filler);
    if (whole) {
        part_trim(entry);
        cache__store_take(entry->store, entry);
    }
    cache_entry_unref(&entry);
}

void
cache_fill_drop(struct cache_filler **filler)
{
    if (!*filler)
        return;
    struct cache_entry *entry = filler_end(filler);
    cache_entry_unref(&entry);
}
