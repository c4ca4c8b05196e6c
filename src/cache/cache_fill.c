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

struct cache_filler {
    uint32_t magic;
    bool length_known;
    bool passing;    /* too much: nothing of it is kept but what those who follow have to get */
    bool joins;      /* the body is one part with room for what another entry held of it */
    uint64_t length; /* of what comes */
    int64_t request_us;
    struct cache__filling filling;
    uint64_t at; /* joins: where the next byte goes */
    uint64_t joined_bytes;
    struct cache_entry *entry;
    struct cache_flight *flight; /* whose waiters see it coming; or NULL */
};

static uint32_t
owner_of(const struct cache_entry *entry)
{
    return cache__owner_of(cache__entry_hash(entry));
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
    const struct cache__part_of *part_of = cache__entry_part_of(old);
    struct fr_view old_etag = cache__entry_etag(old);
    if (!part_of || old->body->far || old->body->bytes > CACHE__JOIN_BYTES_MAX || !etag ||
        !is_strong(old_etag) || !fr_view_eq(etag->value, old_etag))
        return false;
    const struct cache_piece *had = &part_of->piece;
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

/* Room for both, with what the old entry holds in its place. */
static bool
join_fill(struct cache_filler *filler, const struct cache_entry *old, const struct join *join)
{
    struct cache_entry *entry = filler->entry;
    uint64_t bytes = join->piece.last - join->piece.first + 1;
    uint64_t at = join->old_at;
    struct fr_view part;
    if (!cache__body_reserve(entry->store, owner_of(entry), entry->body, &filler->filling, bytes))
        return false;
    for (size_t i = 0; cache_entry_body(old, i, &part); i++) {
        cache__body_write(entry->body, at, part);
        at += part.len;
    }
    return true;
}

/* Takes the entry over, which may be NULL; frees it where there is no memory. */
static struct cache_filler *
filler_new(struct cache_entry *entry, bool length_known, uint64_t length, int64_t request_us)
{
    struct cache_filler *filler = entry ? fr_alloc(sizeof(*filler)) : NULL;
    if (!filler) {
        if (entry)
            cache__entry_free(entry);
        return NULL;
    }
    *filler = (struct cache_filler){
        .magic = FILLER_MAGIC,
        .length_known = length_known,
        .length = length,
        .request_us = request_us,
        .entry = entry,
    };
    cache__filling_init(&filler->filling, entry->body);
    return filler;
}

/* Nothing came in yet, and nobody knows of it. */
static void
filler_undo(struct cache_filler **filler)
{
    cache__entry_free((*filler)->entry);
    fr_free(*filler);
    *filler = NULL;
}

/* A 206 that continues what is stored: the fields of both, the bytes of both. NULL: it does not, or
 * there is no room. */
static struct cache_filler *
join_begin(struct cache_store *store, const struct cache_request *request,
           const struct http_head *response, struct cache__entry_plan *plan, uint64_t length,
           int64_t request_us)
{
    struct join join;
    struct cache__part_of part_of = {.range = FR_VIEW("")};
    struct cache_filler *filler = NULL;
    struct cache__merged *merged = NULL;
    struct cache_entry *old = cache__store_find(store, NULL, plan->key, request->head);
    /* What was purged does not come back as a part of something new. */
    if (!old || cache__purges_judge(cache__store_purges(store), old) == CACHE__PURGED_HARD ||
        !may_join(old, response, &plan->part_of->piece, length, cache__store_object_max(store),
                  &join))
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
    plan->body_bytes = join.piece.last - join.piece.first + 1;
    filler = filler_new(cache__entry_make(store, plan), true, length, request_us);
    if (!filler)
        goto out;
    filler->joins = true;
    filler->at = join.new_at;
    filler->joined_bytes = plan->body_bytes;
    if (!join_fill(filler, old, &join))
        filler_undo(&filler);
out:
    plan->response = response;
    fr_free(merged);
    cache_entry_unref(&old);
    return filler;
}

static struct cache_filler *
begin(struct cache_store *store, struct cache__entry_plan *plan, bool length_known, uint64_t length,
      int64_t request_us)
{
    if (!cache__store_could_hold(store, length)) { /* nobody is evicted for what cannot be */
        cache__store_refused(store, CACHE__REFUSED_FULL);
        return NULL;
    }
    if (!cache__store_admits(store, plan->key->hash, length)) {
        cache__store_refused(store, CACHE__REFUSED_ONCE);
        return NULL;
    }
    plan->body_bytes = length;
    struct cache_filler *filler =
        filler_new(cache__entry_make(store, plan), length_known, length, request_us);
    if (!filler || cache__body_reserve(store, owner_of(filler->entry), filler->entry->body,
                                       &filler->filling, length))
        return filler;
    cache__store_refused(store, CACHE__REFUSED_FULL);
    filler_undo(&filler);
    return NULL;
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
    if (!cache__may_store(request->head, response, framing, policy, request_us - request->ahead_us,
                          response_us - request->ahead_us, &freshness))
        return NULL;
    freshness.response_us = response_us;
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
    };
    if (!cache__entry_plan(&plan, store, request, &room))
        return NULL;
    if (response->status != 206)
        return begin(store, &plan, length_known, length, request_us);
    const struct http_field *range = http_head_find(request->head, HTTP_FIELD_RANGE);
    if (!range || !length_known || length == 0 || !cache__piece_read(response, &part_of.piece))
        return NULL; /* nothing was asked of it in parts, or it cannot be placed */
    part_of.range = range->value;
    plan.part_of = &part_of;
    struct cache_filler *filler = join_begin(store, request, response, &plan, length, request_us);
    if (filler)
        return filler;
    plan.part_of = &part_of;
    return begin(store, &plan, length_known, length, request_us);
}

/* Section 3.4: the rest of it, all of the rest, and of the very same. */
static bool
continues(const struct cache_entry *part, const struct http_head *response, uint64_t bytes_max)
{
    struct join join;
    struct cache_piece piece;
    return response->status == 206 && cache__piece_read(response, &piece) &&
           may_join(part, response, &piece, response->content_length, bytes_max, &join) &&
           piece_is_whole(&join.piece) && join.old_at == 0 && join.new_at == part->body->bytes;
}

struct cache_filler *
cache_fill_rest(const struct cache_entry *part, const struct cache_request *request,
                const struct http_head *response, enum http_framing framing, int64_t request_us,
                int64_t response_us)
{
    struct cache_store *store = part->store;
    const struct cache_policy *policy = cache__policy(request);
    struct cache__freshness freshness;
    struct cache__control said;
    struct cache__plan_room room;
    struct cache_filler *filler = NULL;
    struct fr_view held;
    if (framing != HTTP_BODY_LENGTH || !continues(part, response, cache__store_object_max(store)))
        return NULL;
    if (part->surrogate && !http_head_find_name(response, FR_VIEW("surrogate-control")))
        return NULL; /* what ruled it is not stored, and was not said anew */
    struct cache__merged *merged = cache__merge(part, response, FR_VIEW("HTTP/1.1 200 OK\r\n"));
    if (!merged || !cache__may_store(request->head, &merged->head, framing, policy,
                                     request_us - request->ahead_us,
                                     response_us - request->ahead_us, &freshness))
        goto out;
    freshness.response_us = response_us;
    cache__control_read_response(&merged->head, policy, &said);
    struct cache__entry_plan plan = {
        .response = &merged->head,
        .said = &said,
        .policy = policy,
        .freshness = &freshness,
    };
    if (!cache__entry_plan(&plan, store, request, &room))
        goto out;
    /* What was purged since the part was looked up concerns both. */
    uint64_t judged = __atomic_load_n(&part->serial, __ATOMIC_RELAXED);
    if (judged < plan.serial)
        plan.serial = judged;
    filler = begin(store, &plan, true, part->body->bytes + response->content_length, request_us);
    for (size_t i = 0; filler && cache_entry_body(part, i, &held); i++)
        if (cache_fill_add(&filler, held) != FR_OK)
            break; /* it is NULL */
out:
    fr_free(merged);
    return filler;
}

struct cache_entry *
cache_fill_entry(struct cache_filler *filler)
{
    fr_require(filler->magic == FILLER_MAGIC);
    return cache_entry_ref(filler->entry);
}

/* The bytes go to their place; the part is as long as it will be only once all are there. */
static enum fr_err
join_add(struct cache_filler **filler, struct fr_view data)
{
    struct cache_filler *self = *filler;
    if (data.len > self->length) {
        cache_fill_drop(filler);
        return FR_ERR_FULL;
    }
    cache__body_write(self->entry->body, self->at, data);
    self->at += data.len;
    self->length -= data.len;
    if (self->length == 0)
        cache__body_set_whole(self->entry->body, self->joined_bytes);
    return FR_OK;
}

bool
cache_fill_share(struct cache_filler *filler, struct cache_flight **flight)
{
    const struct cache_entry *entry = filler->entry;
    fr_require(filler->magic == FILLER_MAGIC && !filler->flight);
    if (entry->has_part_of || filler->joins || entry->always_validate ||
        entry->initial_age_ms >= entry->lifetime_ms)
        return false;
    filler->flight = *flight;
    *flight = NULL;
    cache__flight_share(filler->flight, filler->entry,
                        filler->length_known ? filler->length : CACHE_LENGTH_UNKNOWN);
    return true;
}

bool
cache_fill_wanted(const struct cache_filler *filler)
{
    return filler && filler->flight && cache_flight_wanted(filler->flight);
}

bool
cache_fill_stalls(const struct cache_filler *filler)
{
    return filler && filler->passing && cache__flight_stalls(filler->flight);
}

/* As cache_fill_add, the flight locked. False: it is too much, and *data is what was not taken. */
static bool
take_in(struct cache_filler *self, struct fr_view *data, enum cache__refusal *out_refusal)
{
    struct cache_entry *entry = self->entry;
    uint64_t max = self->length_known ? self->length : cache__store_object_max(entry->store);
    *out_refusal = CACHE__REFUSED_LARGE;
    if (data->len > max - entry->body->bytes)
        return false;
    *out_refusal = CACHE__REFUSED_FULL;
    while (data->len > 0) {
        size_t bytes = cache__body_append(entry->body, &self->filling, *data);
        *data = fr_view_make(data->ptr + bytes, data->len - bytes);
        if (data->len > 0 &&
            !cache__body_grow(entry->store, owner_of(entry), entry->body, &self->filling))
            return false;
    }
    return true;
}

/* It is theirs who follow, as long as there are any. */
static enum fr_err
pass_on(struct cache_filler **filler, struct fr_view data)
{
    if (cache__flight_pass_on((*filler)->flight, data))
        return FR_OK;
    cache_fill_drop(filler);
    return FR_ERR_FULL;
}

enum fr_err
cache_fill_add(struct cache_filler **filler, struct fr_view data)
{
    struct cache_filler *self = *filler;
    enum cache__refusal refusal;
    fr_require(self->magic == FILLER_MAGIC);
    if (self->joins)
        return join_add(filler, data);
    if (self->passing)
        return pass_on(filler, data);
    if (self->flight)
        cache__flight_lock(self->flight);
    bool taken = take_in(self, &data, &refusal);
    if (self->flight)
        cache__flight_unlock(self->flight);
    if (taken)
        return FR_OK;
    cache__store_refused(self->entry->store, refusal);
    self->passing = self->flight && cache__flight_pass(self->flight, self->entry);
    if (self->passing)
        return pass_on(filler, data);
    cache_fill_drop(filler);
    return FR_ERR_FULL;
}

/* The filler ends; its entry is the caller's, and so is the flight. */
static struct cache_entry *
filler_end(struct cache_filler **filler, struct cache_flight **out_flight)
{
    struct cache_filler *self = *filler;
    struct cache_entry *entry = self->entry;
    fr_require(self->magic == FILLER_MAGIC);
    *filler = NULL;
    *out_flight = self->flight;
    self->magic = 0;
    fr_free(self);
    return entry;
}

void
cache_fill_commit(struct cache_filler **filler)
{
    const struct cache_filler *self = *filler;
    int64_t request_us = self->request_us;
    bool kept = !self->passing;
    bool whole = !self->length_known ||
                 (self->joins ? self->length == 0 : self->entry->body->bytes == self->length);
    struct cache_flight *flight;
    struct cache_entry *entry = filler_end(filler, &flight);
    if (flight)
        cache__flight_lock(flight);
    if (whole && kept &&
        !(flight && cache__flight_read(flight))) /* what is being read stays in place */
        cache__body_trim(entry->store, owner_of(entry), entry->body);
    if (flight)
        cache__flight_unlock(flight);
    if (whole && kept)
        cache__store_take(entry->store, entry, request_us);
    if (flight)
        cache__flight_end(&flight, whole);
    cache_entry_unref(&entry);
}

void
cache_fill_drop(struct cache_filler **filler)
{
    if (!*filler)
        return;
    struct cache_flight *flight;
    struct cache_entry *entry = filler_end(filler, &flight);
    if (flight)
        cache__flight_end(&flight, false);
    cache_entry_unref(&entry);
}
