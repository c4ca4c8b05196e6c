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

#define ENTRY_MAGIC 0x43454e54u
#define STATUS_BYTES 13 /* "HTTP/1.1 200 " */

/* What is not stored: what ends at this hop, what the sender writes itself (Age, Content-Length, of
 * a part or a 200 also Content-Range), a member's load at that moment, which is nobody's a second
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
        /* It says nothing in a 200 (RFC 9110 section 14.4), and would contradict ours in a 206. */
        if (plan->part_of || plan->response->status == 200)
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
            bytes += field->name.len + 2 + field->value.len + 2;
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

/* Writes head_bytes(plan) bytes at `at` and remembers where the validators are. */
static void
head_write(struct cache_entry *entry, char *at, const struct cache__entry_plan *plan)
{
    const struct http_head *response = plan->response;
    int64_t response_s = plan->freshness->response_us / FR_US_PER_S;
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
        int64_t s;
        if (!field_stays(plan, field))
            continue;
        at = put(at, field->name);
        at = put(at, FR_VIEW(": "));
        if (field->known == HTTP_FIELD_ETAG && entry->etag.len == 0)
            entry->etag = fr_view_make(at, field->value.len);
        if (field->known == HTTP_FIELD_LAST_MODIFIED && entry->modified.len == 0 &&
            http_date_parse(field->value, response_s, &s))
            entry->modified = fr_view_make(at, field->value.len);
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
    entry->head = fr_view_make(start, (size_t)(at - start));
}

static size_t
part_of_bytes(const struct cache__entry_plan *plan)
{
    return plan->part_of ? sizeof(*plan->part_of) + plan->part_of->range.len : 0;
}

static size_t
entry_bytes(const struct cache__entry_plan *plan)
{
    return sizeof(struct cache_entry) + part_of_bytes(plan) + plan->tags->count * sizeof(uint32_t) +
           plan->key->len + plan->vary.len + head_bytes(plan);
}

uint64_t
cache__entry_counted(const struct cache_entry *entry)
{
    return entry->counted_bytes + entry->body->counted_bytes;
}

/* ---- entries --------------------------------------------------------------------------------- */

/* RFC 9111 section 4.3.2: Last-Modified, else Date, else when it came. */
static int64_t
modified_s(const struct http_head *response, int64_t response_s)
{
    static const enum http_known fields[] = {HTTP_FIELD_LAST_MODIFIED, HTTP_FIELD_DATE};
    for (size_t i = 0; i < 2; i++) {
        const struct http_field *field = http_head_find(response, fields[i]);
        int64_t s;
        if (field && http_date_parse(field->value, response_s, &s))
            return s;
    }
    return response_s;
}

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

static struct cache_entry *
entry_new(struct cache_store *store, const struct cache__entry_plan *plan, size_t bytes)
{
    uint64_t owner = cache__owner_of(plan->key->hash);
    if (bytes > cache__store_piece_max(store))
        return NULL;
    struct cache_entry *entry = cache__store_alloc(store, bytes, owner, CACHE__KIND_HEAD);
    if (!entry)
        return NULL;
    *entry = (struct cache_entry){.store = store};
    entry->body = plan->body ? cache__body_ref(plan->body)
                             : cache__body_new(store, owner, plan->body_bytes);
    if (!entry->body) {
        cache__store_give(store, entry, bytes, CACHE__KIND_HEAD);
        return NULL;
    }
    uint32_t *tags = (uint32_t *)(void *)(entry + 1);
    char *at = (char *)(tags + plan->tags->count);
    if (plan->part_of) { /* needs the alignment: before the tags */
        struct cache__part_of *part_of = (struct cache__part_of *)(void *)(entry + 1);
        tags = (uint32_t *)(void *)(part_of + 1);
        at = (char *)(tags + plan->tags->count);
        *part_of = *plan->part_of;
        part_of->range = fr_view_make(at, plan->part_of->range.len);
        at = put(at, plan->part_of->range);
        entry->part_of = part_of;
    }
    memcpy(tags, plan->tags->tags, plan->tags->count * sizeof(*tags));
    entry->tags = tags;
    entry->tag_count = (uint16_t)plan->tags->count;
    entry->status = plan->response->status;
    entry->refs = 1;
    entry->counted_bytes = bytes;
    entry->modified_s = modified_s(plan->response, plan->freshness->response_us / FR_US_PER_S);
    entry->key = fr_view_make(at, plan->key->len);
    at = put(at, fr_view_make(plan->key->text, plan->key->len));
    entry->vary = fr_view_make(at, plan->vary.len);
    at = put(at, plan->vary);
    head_write(entry, at, plan);
    entry->hash = plan->key->hash;
    entry->select = plan->select;
    entry->freshness = *plan->freshness;
    entry->request_us = plan->request_us;
    entry->owner = plan->owner;
    entry->serial = plan->serial;
    fr_list_init(&entry->queue);
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
    entry->magic = 0;
    struct cache_store *store = entry->store;
    cache__body_unref(store, entry->body);
    cache__store_give(store, entry, entry->counted_bytes, CACHE__KIND_HEAD);
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

struct fr_view
cache_entry_head(const struct cache_entry *entry)
{
    return entry->head;
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

int64_t
cache_entry_age_s(const struct cache_entry *entry, int64_t now_us)
{
    return cache__age_us(&entry->freshness, now_us) / FR_US_PER_S;
}

int64_t
cache_entry_left_s(const struct cache_entry *entry, int64_t now_us)
{
    int64_t left_us = entry->freshness.lifetime_us - cache__age_us(&entry->freshness, now_us);
    /* Rounded down: what is late by a moment is late. */
    return left_us >= 0 ? left_us / FR_US_PER_S : (left_us + 1) / FR_US_PER_S - 1;
}

void
cache_entry_validators(const struct cache_entry *entry, struct cache_validators *out)
{
    *out = (struct cache_validators){.etag = entry->etag, .modified = entry->modified};
}

bool
cache_entry_must_validate(const struct cache_entry *entry)
{
    return entry->freshness.stale_forbidden || entry->freshness.always_validate;
}

bool
cache_entry_serves_error(const struct cache_entry *entry, const struct cache_request *request,
                         bool answered)
{
    struct cache__control asked;
    cache__control_read(request->head, &asked);
    return cache__stale_serves(&entry->freshness, &asked, cache__policy(request), request->now_us,
                               answered);
}
