/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cache_entry.c - one stored response: its bytes, its age, and who still reads it.
 *
 * May touch:  base, http.
 * Threads:    constant once stored, but for the counted reference; the shard's links are the
 *             store's.
 * Memory:     one block for struct, key, names and head; the body in parts. All of it counts until
 *             the last reader lets go, evicted or not.
 * Follows:    RFC 9111 sections 3.1, 4.2.3 and 4.3.2; RFC 9110 sections 6.6.1, 8.8.3 and 13.1.
 */
#include "cache/cache_priv.h"

#include "base/fr_check.h"
#include "base/fr_mem.h"
#include "base/fr_time.h"

#define ENTRY_MAGIC 0xce
#define US_PER_MS 1000
#define MS_MAX ((INT64_C(1) << 42) - 1)
#define LIFETIME_MS_MAX ((INT64_C(1) << 39) - 1) /* 17 years */
#define STATUS_BYTES 13 /* "HTTP/1.1 200 " */

/* What is not stored: what ends at this hop, what the sender writes itself (Age, Content-Length, of
 * a part also Content-Range), a member's load at that moment, which is nobody's a second
 * later, and what the response or the route keep from being shared. */
static bool
field_stays(const struct cache__entry_plan *plan, const struct http_field *field)
{
    switch (field->known) {
    case HTTP_FIELD_AGE:
    case HTTP_FIELD_CONTENT_LENGTH:
    case HTTP_FIELD_ENDPOINT_LOAD_METRICS:
        return false;
    case HTTP_FIELD_CONTENT_RANGE:
        if (plan->part_of)
            return false;
        break;
    case HTTP_FIELD_SET_COOKIE:
        if (plan->policy->ignore_cookies)
            return false;
        break;
    default:
        break;
    }
    return !field->hop && !cache__control_withholds(plan->said, field->name);
}

static size_t
head_bytes(const struct cache__entry_plan *plan)
{
    const struct http_head *response = plan->response;
    size_t bytes = STATUS_BYTES + response->reason.len + 2;
    for (size_t i = 0; i < response->field_count; i++) {
        const struct http_field *field = &response->fields[i];
        if (field_stays(plan, field))
            bytes += field->name.len + http_field_colon(field).len + field->value.len + 2;
    }
    if (!http_head_find(response, HTTP_FIELD_DATE))
        bytes += 6 + HTTP_DATE_BYTES - 1 + 2;
    return bytes;
}

static char *
put(char *at, struct fr_view text)
{
    if (text.len)
        memcpy(at, text.ptr, text.len);
    return at + text.len;
}

/* Writes head_bytes(plan) bytes at `at` and remembers where the entity tag is. */
static void
head_write(struct cache_entry *entry, char *at, const struct cache__entry_plan *plan)
{
    const struct http_head *response = plan->response;
    int64_t response_s = (plan->freshness->response_us - plan->ahead_us) / FR_US_PER_S;
    char *start = at;
    int status = response->status;
    const char digits[3] = {(char)('0' + status / 100), (char)('0' + status / 10 % 10),
                            (char)('0' + status % 10)};
    at = put(at, FR_VIEW("HTTP/1.1 "));
    at = put(at, fr_view_make(digits, 3));
    at = put(at, FR_VIEW(" "));
    at = put(at, response->reason);
    at = put(at, FR_VIEW("\r\n"));
    for (size_t i = 0; i < response->field_count; i++) {
        const struct http_field *field = &response->fields[i];
        if (!field_stays(plan, field))
            continue;
        at = put(at, field->name);
        at = put(at, http_field_colon(field));
        if (field->known == HTTP_FIELD_ETAG && entry->etag_at == 0 && field->value.len > 0)
            entry->etag_at = (uint16_t)(at - start);
        at = put(at, field->value);
        at = put(at, FR_VIEW("\r\n"));
    }
    /* RFC 9110 section 6.6.1: a response that came without gets the time it came. */
    if (!http_head_find(response, HTTP_FIELD_DATE)) {
        char date[HTTP_DATE_BYTES];
        http_date_format(response_s, date);
        at = put(at, FR_VIEW("Date: "));
        at = put(at, fr_view_make(date, HTTP_DATE_BYTES - 1));
        at = put(at, FR_VIEW("\r\n"));
    }
    entry->head_len = (uint16_t)(at - start);
}

static size_t
part_of_bytes(const struct cache__entry_plan *plan)
{
    return plan->part_of ? sizeof(*plan->part_of) + plan->part_of->range.len : 0;
}

static size_t
entry_bytes(const struct cache__entry_plan *plan)
{
    return sizeof(struct cache_entry) + part_of_bytes(plan) +
           (plan->vary.len ? sizeof(plan->select) : 0) + plan->tags->count * sizeof(uint32_t) +
           plan->key->len + plan->vary.len + head_bytes(plan);
}

static uint64_t
block_bytes(const struct cache_entry *entry)
{
    struct fr_view vary = cache__entry_vary(entry);
    return (size_t)(vary.ptr + vary.len - (const char *)entry) + entry->head_len;
}

uint64_t
cache__entry_counted(const struct cache_entry *entry)
{
    return block_bytes(entry) + cache__body_counted(entry->body);
}

/* ---- what is told from the head -------------------------------------------------------------- */

struct fr_view
cache_entry_head(const struct cache_entry *entry)
{
    struct fr_view vary = cache__entry_vary(entry);
    return fr_view_make(vary.ptr + vary.len, entry->head_len);
}

struct fr_view
cache__entry_etag(const struct cache_entry *entry)
{
    struct fr_view head = cache_entry_head(entry);
    if (entry->etag_at == 0)
        return fr_view_make("", 0);
    struct fr_view rest = fr_view_make(head.ptr + entry->etag_at, head.len - entry->etag_at);
    struct fr_view value;
    (void)fr_view_split(&rest, '\r', &value); /* every line has its CR */
    return value;
}

/* The first field of this name that is a date. */
static bool
date_find(const struct cache_entry *entry, struct fr_view name, struct fr_view *out, int64_t *out_s)
{
    int64_t response_s = (int64_t)entry->response_ms / 1000;
    struct fr_view rest = cache_entry_head(entry), line, found;
    while (fr_view_split(&rest, '\n', &line)) {
        if (!fr_view_istarts(line, name) || !fr_view_split(&line, ':', &found) ||
            found.len != name.len)
            continue;
        *out = fr_view_trim(line);
        if (out->len > 0 && out->ptr[out->len - 1] == '\r')
            *out = fr_view_trim(fr_view_make(out->ptr, out->len - 1));
        if (http_date_parse(*out, response_s, out_s))
            return true;
    }
    *out = fr_view_make("", 0);
    return false;
}

struct fr_view
cache__entry_modified(const struct cache_entry *entry)
{
    struct fr_view value;
    int64_t s;
    (void)date_find(entry, FR_VIEW("last-modified"), &value, &s);
    return value;
}

int64_t
cache__entry_modified_s(const struct cache_entry *entry)
{
    struct fr_view value;
    int64_t s;
    if (date_find(entry, FR_VIEW("last-modified"), &value, &s) ||
        date_find(entry, FR_VIEW("date"), &value, &s))
        return s;
    return (int64_t)entry->response_ms / 1000;
}

/* ---- freshness ------------------------------------------------------------------------------- */

static int64_t
ms_of(int64_t us)
{
    int64_t ms = us / US_PER_MS;
    return ms < 0 ? 0 : ms > MS_MAX ? MS_MAX : ms;
}

static void
freshness_set(struct cache_entry *entry, const struct cache__freshness *freshness)
{
    int64_t lifetime_ms = ms_of(freshness->lifetime_us);
    lifetime_ms = lifetime_ms < LIFETIME_MS_MAX ? lifetime_ms : LIFETIME_MS_MAX;
    entry->lifetime_ms = (uint64_t)lifetime_ms & LIFETIME_MS_MAX;
    /* Up, while the others go down: nothing becomes younger by being stored. */
    entry->initial_age_ms = (uint64_t)ms_of(freshness->initial_age_us + US_PER_MS - 1) & MS_MAX;
    entry->response_ms = (uint64_t)ms_of(freshness->response_us) & MS_MAX;
    entry->while_revalidate_s = (uint32_t)freshness->while_revalidate_s;
    entry->if_error_s = (uint32_t)freshness->if_error_s;
    entry->stale_forbidden = freshness->stale_forbidden;
    entry->always_validate = freshness->always_validate;
    entry->authorization_good = freshness->authorization_good;
    entry->surrogate = freshness->surrogate;
}

struct cache__freshness
cache__entry_freshness(const struct cache_entry *entry)
{
    return (struct cache__freshness){
        .lifetime_us = (int64_t)entry->lifetime_ms * US_PER_MS,
        .initial_age_us = (int64_t)entry->initial_age_ms * US_PER_MS,
        .response_us = (int64_t)entry->response_ms * US_PER_MS,
        .while_revalidate_s = entry->while_revalidate_s,
        .if_error_s = entry->if_error_s == (uint32_t)CACHE__ABSENT ? CACHE__ABSENT
                                                                   : (int64_t)entry->if_error_s,
        .stale_forbidden = entry->stale_forbidden,
        .always_validate = entry->always_validate,
        .authorization_good = entry->authorization_good,
        .surrogate = entry->surrogate,
    };
}

/* ---- entries --------------------------------------------------------------------------------- */

bool
cache__entry_plan(struct cache__entry_plan *plan, struct cache_store *store,
                  const struct cache_request *request, struct cache__plan_room *room)
{
    const struct fr_hash_key *hash_key = cache__store_hash_key(store);
    if (!cache__key_make(hash_key, request, &room->key) ||
        !cache__vary_read(plan->response, plan->policy, &room->vary))
        return false;
    plan->key = &room->key;
    plan->vary = fr_view_make(room->vary.names, room->vary.len);
    plan->tags = &room->tags;
    plan->owner = request->owner;
    plan->ahead_us = request->ahead_us;
    plan->serial = request->serial ? request->serial : cache_purge_serial(store);
    if (room->vary.len > 0 &&
        !cache__select_hash(hash_key, plan->vary, request->head, &plan->select))
        return false;
    if (cache__tags_read(hash_key, plan->response, cache__key_url(&room->key, request),
                         &room->tags))
        return true;
    cache__store_refused(store, CACHE__REFUSED_TAGS); /* a purge must not miss it */
    return false;
}

/* What stands behind the struct. */
static void
tail_write(struct cache_entry *entry, const struct cache__entry_plan *plan)
{
    struct cache__part_of *part_of = (struct cache__part_of *)(void *)(entry + 1);
    entry->has_part_of = plan->part_of != NULL;
    entry->vary_len = plan->vary.len & 0x3ff; /* at most CACHE__VARY_BYTES_MAX */
    entry->tag_count = plan->tags->count & 0x1ff;
    entry->key_len = (uint16_t)plan->key->len;
    struct fr_hash128 *select =
        (struct fr_hash128 *)(void *)(entry->has_part_of ? part_of + 1 : part_of);
    uint32_t *tags = (uint32_t *)(void *)(entry->vary_len ? select + 1 : select);
    char *at = (char *)(tags + plan->tags->count);
    if (plan->part_of) {
        *part_of = *plan->part_of;
        part_of->range = fr_view_make(at, plan->part_of->range.len);
        at = put(at, plan->part_of->range);
    }
    if (entry->vary_len)
        *select = plan->select;
    memcpy(tags, plan->tags->tags, plan->tags->count * sizeof(*tags));
    at = put(at, fr_view_make(plan->key->text, plan->key->len));
    at = put(at, plan->vary);
    head_write(entry, at, plan);
}

static struct cache_entry *
entry_new(struct cache_store *store, const struct cache__entry_plan *plan, size_t bytes)
{
    uint32_t owner = cache__owner_of(plan->key->hash);
    if (bytes > cache__store_piece_max(store))
        return NULL;
    struct cache_entry *entry = cache__store_alloc(store, bytes, owner, CACHE__KIND_HEAD);
    if (!entry)
        return NULL;
    *entry = (struct cache_entry){.store = store, .refs = 1};
    entry->body =
        plan->body ? cache__body_ref(plan->body) : cache__body_new(store, owner, plan->body_bytes);
    if (!entry->body) {
        cache__store_give(store, entry, bytes, CACHE__KIND_HEAD);
        return NULL;
    }
    entry->hash_lo = plan->key->hash.lo;
    entry->hash_hi = plan->key->hash.hi & 0xffff;
    entry->status = (unsigned)plan->response->status & 0x3ff; /* three digits */
    entry->owner = (plan->owner < CACHE_OWNERS_MAX ? plan->owner : CACHE_OWNERS_MAX - 1) & 0x7fff;
    freshness_set(entry, plan->freshness);
    entry->serial = plan->serial;
    fr_list_init(&entry->queue);
    tail_write(entry, plan);
    fr_insist(block_bytes(entry) == bytes);
    entry->magic = ENTRY_MAGIC;
    return entry;
}

struct cache_entry *
cache__entry_make(struct cache_store *store, const struct cache__entry_plan *plan)
{
    struct cache_entry *entry = entry_new(store, plan, entry_bytes(plan));
    if (!entry)
        cache__store_refused(store, CACHE__REFUSED_FULL);
    return entry;
}

void
cache__entry_free(struct cache_entry *entry)
{
    fr_require(entry->magic == ENTRY_MAGIC);
    struct cache_store *store = entry->store;
    uint64_t bytes = block_bytes(entry);
    entry->magic = 0;
    cache__body_unref(store, entry->body);
    cache__store_give(store, entry, bytes, CACHE__KIND_HEAD);
}

struct cache_entry *
cache_entry_ref(struct cache_entry *entry)
{
    fr_require(entry->magic == ENTRY_MAGIC);
    __atomic_fetch_add(&entry->refs, 1, __ATOMIC_RELAXED);
    return entry;
}

void
cache_entry_unref(struct cache_entry **entry)
{
    struct cache_entry *old = *entry;
    *entry = NULL;
    if (!old)
        return;
    fr_require(old->magic == ENTRY_MAGIC);
    uint32_t was = __atomic_fetch_sub(&old->refs, 1, __ATOMIC_ACQ_REL);
    fr_require(was > 0);
    if (was == 1)
        cache__entry_free(old);
}

int
cache_entry_status(const struct cache_entry *entry)
{
    return entry->status;
}

uint64_t
cache_entry_body_bytes(const struct cache_entry *entry)
{
    return entry->body->bytes;
}

bool
cache_entry_body(const struct cache_entry *entry, size_t index, struct fr_view *out)
{
    return cache__body_part(entry->body, index, out);
}

bool
cache_entry_is_far(const struct cache_entry *entry)
{
    return entry->body->far;
}

int64_t
cache_entry_age_s(const struct cache_entry *entry, int64_t now_us)
{
    struct cache__freshness freshness = cache__entry_freshness(entry);
    return cache__age_us(&freshness, now_us) / FR_US_PER_S;
}

int64_t
cache_entry_left_s(const struct cache_entry *entry, int64_t now_us)
{
    struct cache__freshness freshness = cache__entry_freshness(entry);
    cache__purges_shorten(entry, now_us, &freshness);
    int64_t left_us = freshness.lifetime_us - cache__age_us(&freshness, now_us);
    /* Rounded down: what is late by a moment is late. */
    return left_us >= 0 ? left_us / FR_US_PER_S : (left_us + 1) / FR_US_PER_S - 1;
}

void
cache_entry_validators(const struct cache_entry *entry, struct cache_validators *out)
{
    *out = (struct cache_validators){.etag = cache__entry_etag(entry),
                                     .modified = cache__entry_modified(entry)};
}

bool
cache_entry_must_validate(const struct cache_entry *entry)
{
    return entry->stale_forbidden || entry->always_validate;
}

bool
cache_entry_serves_error(struct cache_entry *entry, const struct cache_request *request,
                         bool answered)
{
    struct cache__control asked;
    struct cache__freshness freshness = cache__entry_freshness(entry);
    if (!cache__purges_apply(cache__store_purges(entry->store), entry, request->now_us, &freshness))
        return false; /* purged while the member was asked */
    cache__control_read(request->head, &asked);
    return cache__stale_serves(&freshness, &asked, cache__policy(request), request->now_us,
                               answered);
}
