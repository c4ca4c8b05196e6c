/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cache_update.c - fields of a newer response over those of a stored one: a 304, a HEAD, a further
 * part.
 *
 * May touch:  base, http.
 * Memory:     the merged head is written and parsed in a block of its own, freed at once. The new
 *             entry shares the old one's body.
 * Follows:    RFC 9111 sections 3.2, 3.4, 4.3.4 and 4.3.5.
 */
#include "cache/cache_priv.h"

#include "base/fr_check.h"
#include "base/fr_mem.h"
#include "base/fr_time.h"

#define MERGE_SLACK_BYTES 64

/* Section 4.3.4: a strong tag says what a 304 is about. To a request that named one tag it is about
 * that one; where it shows another, only what it says of time is taken from it. */
static bool
names_another(const struct cache_entry *entry, const struct http_head *response)
{
    const struct http_field *field = http_head_find(response, HTTP_FIELD_ETAG);
    struct fr_view etag = cache__entry_etag(entry);
    if (response->status != 304 || !field || etag.len == 0 || field->value.len == 0 ||
        field->value.ptr[0] != '"')
        return false;
    if (fr_view_starts(etag, FR_VIEW("W/")))
        etag = fr_view_make(etag.ptr + 2, etag.len - 2);
    return !fr_view_eq(field->value, etag);
}

static bool
is_of_time(struct fr_view name)
{
    static const char *const names[] = {"age",   "cache-control", "cdn-cache-control",
                                        "date",  "expires",       "surrogate-control",
                                        "pragma"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (fr_view_ieq(name, fr_view_of(names[i])))
            return true;
    return false;
}

/* Section 3.2 and what follows from a body that stays: fields that describe these very bytes. */
static bool
field_updates(const struct cache_entry *entry, const struct http_head *response,
              const struct http_field *field)
{
    switch (field->known) {
    case HTTP_FIELD_CONTENT_LENGTH:
    case HTTP_FIELD_CONTENT_RANGE:
        return false;
    case HTTP_FIELD_ETAG:
        return entry->etag_at == 0;
    default:
        return !field->hop && !fr_view_ieq(field->name, FR_VIEW("content-encoding")) &&
               !fr_view_ieq(field->name, FR_VIEW("content-md5")) &&
               (is_of_time(field->name) || !names_another(entry, response));
    }
}

static bool
updated(const struct cache_entry *entry, const struct http_head *response, struct fr_view name)
{
    const struct http_field *field = http_head_find_name(response, name);
    for (; field; field = http_head_next(response, field))
        if (field_updates(entry, response, field))
            return true;
    return false;
}

static char *
put(char *at, struct fr_view text)
{
    if (text.len)
        memcpy(at, text.ptr, text.len);
    return at + text.len;
}

static char *
put_stored(char *at, const struct cache_entry *entry, const struct http_head *response,
           struct fr_view status_line)
{
    struct fr_view rest = cache_entry_head(entry), line, name;
    (void)fr_view_split(&rest, '\n', &line); /* its own status line */
    at = put(at, status_line);
    while (fr_view_split(&rest, '\n', &line)) {
        struct fr_view value = line;
        if (line.len == 0 || !fr_view_split(&value, ':', &name))
            continue;
        /* Section 4.3.4: Date is updated too; a response without one came now. */
        if (updated(entry, response, name) || fr_view_ieq(name, FR_VIEW("date")))
            continue;
        at = put(at, line);
        at = put(at, FR_VIEW("\n"));
    }
    return at;
}

struct cache__merged *
cache__merge(const struct cache_entry *entry, const struct http_head *response,
             struct fr_view status_line)
{
    static const struct http_limits limits = {1024 * 1024, 65536, HTTP_FIELDS_MAX};
    struct http_err err;
    size_t scanned = 0;
    size_t bytes = status_line.len + entry->head_len + response->head_bytes +
                   4 * response->field_count + MERGE_SLACK_BYTES;
    struct cache__merged *merged = fr_alloc(sizeof(*merged) + bytes);
    if (!merged)
        return NULL;
    char *at = put_stored(merged->text, entry, response, status_line);
    for (size_t i = 0; i < response->field_count; i++) {
        const struct http_field *field = &response->fields[i];
        if (!field_updates(entry, response, field))
            continue;
        at = put(at, field->name);
        at = put(at, http_field_colon(field));
        at = put(at, field->value);
        at = put(at, FR_VIEW("\r\n"));
    }
    at = put(at, FR_VIEW("\r\n"));
    struct fr_view text = fr_view_make(merged->text, (size_t)(at - merged->text));
    fr_insist(text.len <= bytes);
    if (http_response_parse(text, &limits, &scanned, &merged->head, &err) == HTTP_DONE)
        return merged;
    fr_free(merged);
    return NULL;
}

/* Section 4.3.5: a HEAD whose validators or length differ is about something else. */
static bool
head_differs(const struct cache_entry *entry, const struct http_head *response)
{
    const struct http_field *field = http_head_find(response, HTTP_FIELD_ETAG);
    const struct cache__part_of *part_of = cache__entry_part_of(entry);
    struct fr_view modified = cache__entry_modified(entry);
    uint64_t bytes = part_of ? part_of->piece.total : entry->body->bytes;
    if (response->status != (int)entry->status && !(part_of && response->status == 200))
        return true;
    if (field && entry->etag_at && !fr_view_eq(field->value, cache__entry_etag(entry)))
        return true;
    field = http_head_find(response, HTTP_FIELD_LAST_MODIFIED);
    if (field && modified.len && !fr_view_eq(field->value, modified))
        return true;
    field = http_head_find(response, HTTP_FIELD_CONTENT_LENGTH);
    uint64_t told;
    return field && bytes != CACHE_LENGTH_UNKNOWN && fr_view_u64(field->value, &told) &&
           told != bytes;
}

static struct fr_view
status_line_of(const struct cache_entry *entry)
{
    struct fr_view rest = cache_entry_head(entry), line;
    (void)fr_view_split(&rest, '\n', &line);
    return fr_view_make(line.ptr, line.len + 1);
}

/* The freshness of an entry of which this is the head now. False: it may not be stored any more. */
static bool
judge_again(const struct cache_entry *entry, const struct cache_request *request,
            const struct http_head *head, const struct http_head *response, int64_t request_us,
            int64_t response_us, struct cache__freshness *out)
{
    const struct cache_policy *policy = cache__policy(request);
    struct http_head get = *request->head; /* a HEAD updates what a GET stored */
    get.method = HTTP_GET;
    *out = (struct cache__freshness){
        .response_us = response_us, .if_error_s = CACHE__ABSENT, .always_validate = true};
    if (!cache__may_store(&get, head, HTTP_BODY_LENGTH, policy, request_us - request->ahead_us,
                          response_us - request->ahead_us, out))
        return false;
    out->response_us = response_us;
    if (entry->surrogate && !http_head_find_name(response, FR_VIEW("surrogate-control"))) {
        /* What ruled it is not stored, and was not said anew: it still holds. */
        struct cache__freshness age = *out;
        *out = cache__entry_freshness(entry);
        out->initial_age_us = age.initial_age_us;
        out->response_us = age.response_us;
    }
    return true;
}

struct cache_entry *
cache_entry_freshen(struct cache_entry *entry, const struct cache_request *request,
                    const struct http_head *response, int64_t request_us, int64_t response_us,
                    bool *out_other)
{
    struct cache__plan_room room;
    struct cache__control said;
    struct cache__freshness freshness;
    struct cache_entry *fresh = NULL;
    *out_other = response->status != 304 && head_differs(entry, response);
    if (*out_other)
        return NULL;
    struct cache__merged *merged = cache__merge(entry, response, status_line_of(entry));
    if (!merged)
        return NULL;
    bool stored =
        judge_again(entry, request, &merged->head, response, request_us, response_us, &freshness);
    cache__control_read_response(&merged->head, cache__policy(request), &said);
    struct cache__entry_plan plan = {
        .response = &merged->head,
        .said = &said,
        .policy = cache__policy(request),
        .freshness = &freshness,
        .part_of = cache__entry_part_of(entry),
        .body = entry->body,
    };
    if (cache__entry_plan(&plan, entry->store, request, &room))
        fresh = cache__entry_make(entry->store, &plan);
    fr_free(merged);
    if (fresh && stored)
        cache__store_take(entry->store, fresh, request_us);
    return fresh;
}
