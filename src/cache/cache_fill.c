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
 * Follows:    RFC 9111 sections 3, 3.3 (an incomplete response is never stored) and 3.4 (parts are
 *             put together).
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
    bool joins;      /* the body is one part with room for what another entry held of it */
    uint64_t length; /* of what comes */
    size_t at;       /* joins: where the next byte goes */
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

/* Where a new part and the part of an entry lie to each other. */
struct join {
    struct cache_piece piece; /* both together */
    size_t old_at, new_at;
};

static bool
is_strong(struct fr_view etag)
{
    return etag.len > 0 && etag.ptr[0] == '"';
}

/* Section 3.4: parts may be put together if a strong validator says that they are of the same. */
static bool
may_join(const struct cache_entry *old, const struct http_head *response,
         const struct cache_piece *piece, uint64_t length, uint64_t bytes_max, struct join *out)
{
    const struct http_field *etag = http_head_find(response, HTTP_FIELD_ETAG);
    if (!old->part_of || !etag || !is_strong(old->etag) || !fr_view_eq(etag->value, old->etag))
        return false;
    const struct cache_piece *had = &old->part_of->piece;
    if (had->total != piece->total || length != piece->last - piece->first + 1 ||
        old->body->bytes != had->last - had->first + 1)
        return false;
    if (piece->first > had->last + 1 || had->first > piece->last + 1)
        return false; /* there would be a hole */
    out->piece = (struct cache_piece){
        .first = piece->first < had->first ? piece->first : had->first,
        .last = piece->last > had->last ? piece->last : had->last,
        .total = piece->total,
    };
    out->old_at = had->first - out->piece.first;
    out->new_at = piece->first - out->piece.first;
    return out->piece.last - out->piece.first < bytes_max;
}

static bool
piece_is_whole(const struct cache_piece *piece)
{
    return piece->first == 0 && piece->last == piece->total - 1;
}

/* One part for both, with what the old entry holds in its place. */
static bool
join_fill(struct cache_entry *entry, const struct cache_entry *old, const struct join *join)
{
    size_t bytes = (size_t)(join->piece.last - join->piece.first + 1);
    struct fr_view part;
    if (!part_add(entry, bytes))
        return false;
    char *at = entry->body->parts[0].data + join->old_at;
    for (size_t i = 0; cache_entry_body(old, i, &part); i++) {
        if (part.len)
            memcpy(at, part.ptr, part.len);
        at += part.len;
    }
    return true;
}

static struct cache_filler *
filler_new(struct cache_entry *entry, bool length_known, uint64_t length)
{
    struct cache_filler *filler = memory_take(entry, NULL, 0, sizeof(*filler));
    if (filler)
        *filler = (struct cache_filler){
            .magic = FILLER_MAGIC,
            .length_known = length_known,
            .length = length,
            .entry = entry,
        };
    return filler;
}

/* A 206 that continues what is stored: the fields of both, the bytes of both. NULL: it does not, or
 * there is no room. */
static struct cache_filler *
join_begin(struct cache_store *store, const struct cache_request *request,
           const struct http_head *response, struct cache__entry_plan *plan, uint64_t length)
{
    struct join join;
    struct cache__part_of part_of = {.range = FR_VIEW("")};
    struct cache_filler *filler = NULL;
    struct cache_entry *entry = NULL;
    struct cache__merged *merged = NULL;
    struct cache_entry *old = cache__store_find(store, plan->key, request->head);
    if (!old || !may_join(old, response, &plan->part_of->piece, length,
                          cache__store_object_max(store), &join))
        goto out;
    bool whole = piece_is_whole(&join.piece);
    merged = cache__merge(old, response,
                          whole ? FR_VIEW("HTTP/1.1 200 OK\r\n")
                                : FR_VIEW("HTTP/1.1 206 Partial Content\r\n"));
    if (!merged)
        goto out;
    part_of.piece = join.piece;
    plan->response = &merged->head;
    plan->part_of = whole ? NULL : &part_of;
    entry = cache__entry_make(store, plan);
    if (!entry || !join_fill(entry, old, &join))
        goto out;
    filler = filler_new(entry, true, length);
    if (filler) {
        filler->joins = true;
        filler->at = join.new_at;
        entry = NULL;
    }
out:
    plan->response = response;
    fr_free(merged);
    if (entry)
        cache__entry_free(entry);
    cache_entry_unref(&old);
    return filler;
}

static struct cache_filler *
begin(struct cache_store *store, const struct cache__entry_plan *plan, bool length_known,
      uint64_t length)
{
    struct cache_filler *filler = NULL;
    struct cache_entry *entry = cache__entry_make(store, plan);
    if (!entry)
        return NULL;
    if (length > 0 && !part_add(entry, (size_t)length))
        cache__store_refused(store, CACHE__REFUSED_FULL);
    else
        filler = filler_new(entry, length_known, length);
    if (!filler)
        cache__entry_free(entry);
    return filler;
}

struct cache_filler *
cache_fill_begin(struct cache_store *store, const struct cache_request *request,
                 const struct http_head *response, enum http_framing framing, int64_t request_us,
                 int64_t response_us)
{
    struct cache__freshness freshness;
    struct cache__control said;
    struct cache__plan_room room;
    struct cache__part_of part_of = {.range = FR_VIEW("")};
    const struct cache_policy *policy = cache__policy(request);
    if (!cache__may_store(request->head, response, framing, policy, request_us, response_us,
                          &freshness))
        return NULL;
    bool length_known = framing != HTTP_BODY_CHUNKED;
    uint64_t length = framing == HTTP_BODY_LENGTH ? response->content_length : 0;
    if (length > cache__store_object_max(store)) {
        cache__store_refused(store, CACHE__REFUSED_LARGE);
        return NULL;
    }
    cache__control_read_response(response, policy, &said);
    struct cache__entry_plan plan = {
        .response = response,
        .said = &said,
        .policy = policy,
        .freshness = &freshness,
        .request_us = request_us,
    };
    if (!cache__entry_plan(&plan, store, request, &room))
        return NULL;
    if (response->status != 206)
        return begin(store, &plan, length_known, length);
    const struct http_field *range = http_head_find(request->head, HTTP_FIELD_RANGE);
    if (!range || !length_known || length == 0 || !cache__piece_read(response, &part_of.piece))
        return NULL; /* nothing was asked of it in parts, or it cannot be placed */
    part_of.range = range->value;
    plan.part_of = &part_of;
    struct cache_filler *filler = join_begin(store, request, response, &plan, length);
    if (filler)
        return filler;
    plan.part_of = &part_of;
    return begin(store, &plan, length_known, length);
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

/* The bytes go to their place; the part is as long as it will be only once all are there. */
static enum fr_err
join_add(struct cache_filler **filler, struct fr_view data)
{
    struct cache_filler *self = *filler;
    struct cache__part *part = &self->entry->body->parts[0];
    if (data.len > self->length) {
        cache_fill_drop(filler);
        return FR_ERR_FULL;
    }
    if (data.len)
        memcpy(part->data + self->at, data.ptr, data.len);
    self->at += data.len;
    self->length -= data.len;
    if (self->length == 0) {
        part->len = part->cap;
        self->entry->body->bytes = part->len;
    }
    return FR_OK;
}

enum fr_err
cache_fill_add(struct cache_filler **filler, struct fr_view data)
{
    struct cache_filler *self = *filler;
    fr_require(self->magic == FILLER_MAGIC);
    struct cache_entry *entry = self->entry;
    if (self->joins)
        return join_add(filler, data);
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
    entry->body->counted_bytes -= bytes;
    cache__store_release(entry->store, bytes);
    return entry;
}

void
cache_fill_commit(struct cache_filler **filler)
{
    const struct cache_filler *self = *filler;
    bool whole = !self->length_known ||
                 (self->joins ? self->length == 0 : self->entry->body->bytes == self->length);
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
