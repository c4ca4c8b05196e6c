/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cache_select.c - what of a stored response a request gets: all of it, a range, or the word that
 * it has it already.
 *
 * May touch:  base, http.
 * Limits:     one range; for several the whole goes out, as RFC 9110 section 14.2 allows.
 * Follows:    RFC 9111 sections 3.3, 3.4 and 4.3.2; RFC 9110 sections 13.1, 14 and 15.3.7.
 */
#include "cache/cache_priv.h"

#include "http/http_select.h"

#include "base/fr_time.h"

/* ---- Content-Range --------------------------------------------------------------------------- */

static bool
take_number(struct fr_view *rest, char end, uint64_t *out)
{
    struct fr_view digits;
    return fr_view_split(rest, end, &digits) && rest->ptr && fr_view_u64(digits, out);
}

bool
cache__piece_read(const struct http_head *response, struct cache_piece *out)
{
    const struct http_field *field = http_head_find(response, HTTP_FIELD_CONTENT_RANGE);
    struct fr_view unit;
    if (!field || http_head_next(response, field))
        return false;
    struct fr_view rest = field->value;
    if (!fr_view_split(&rest, ' ', &unit) || !fr_view_ieq(unit, FR_VIEW("bytes")) ||
        !take_number(&rest, '-', &out->first) || !take_number(&rest, '/', &out->last))
        return false;
    out->total = CACHE_LENGTH_UNKNOWN;
    if (!fr_view_is(rest, "*") && !fr_view_u64(rest, &out->total))
        return false;
    /* RFC 9110 section 14.4: else it is invalid. */
    return out->first <= out->last && out->last < out->total;
}

/* ---- conditions ------------------------------------------------------------------------------ */

/* The opaque part of an entity tag, quotes included: weak comparison (RFC 9110 section 8.8.3.2). */
static struct fr_view
opaque_of(struct fr_view tag)
{
    if (fr_view_starts(tag, FR_VIEW("W/")))
        return fr_view_make(tag.ptr + 2, tag.len - 2);
    return tag;
}

/* True when one of the list's tags is `tag`. A backslash in a tag is no escape (section 8.8.3), so
 * that http_list_next is not the reader for these. */
static bool
tags_hold(struct fr_view list, struct fr_view tag)
{
    const char *at = list.ptr;
    const char *end = at + list.len;
    while (at < end) {
        if (*at != '"') {
            at++; /* blanks, commas, "W/" */
            continue;
        }
        const char *close = memchr(at + 1, '"', (size_t)(end - at - 1));
        if (!close)
            return false;
        if (fr_view_eq(fr_view_make(at, (size_t)(close - at) + 1), tag))
            return true;
        at = close + 1;
    }
    return false;
}

static bool
none_match_holds(const struct cache_entry *entry, const struct http_head *request,
                 const struct http_field *field)
{
    struct fr_view tag = opaque_of(cache__entry_etag(entry));
    for (; field; field = http_head_next(request, field)) {
        if (fr_view_is(field->value, "*"))
            return true;
        if (tag.len && tags_hold(field->value, tag))
            return true;
    }
    return false;
}

bool
cache_entry_not_modified(const struct cache_entry *entry, const struct http_head *request)
{
    /* RFC 9110 section 13.2.1: conditions count only where the answer would be a success. */
    if (entry->status < 200 || entry->status > 299)
        return false;
    const struct http_field *field = http_head_find(request, HTTP_FIELD_IF_NONE_MATCH);
    if (field) /* section 13.1.3: then If-Modified-Since is ignored */
        return none_match_holds(entry, request, field);
    field = http_head_find(request, HTTP_FIELD_IF_MODIFIED_SINCE);
    int64_t since_s;
    int64_t response_s = (int64_t)entry->response_ms / 1000;
    return field && http_date_parse(field->value, response_s, &since_s) &&
           cache__entry_modified_s(entry) <= since_s;
}

/* ---- ranges ---------------------------------------------------------------------------------- */

/* RFC 9110 section 13.1.5; only a Last-Modified is a date to compare with. */
static bool
if_range_holds(const struct cache_entry *entry, const struct http_head *request, int64_t now_us)
{
    if (!http_head_find(request, HTTP_FIELD_IF_RANGE))
        return true;
    struct http_validators is = {
        .etag = cache__entry_etag(entry),
        .modified_s = cache__entry_modified(entry).len ? cache__entry_modified_s(entry) : INT64_MIN,
    };
    return http_condition_if_range(request, &is, now_us / FR_US_PER_S);
}

static bool
select_whole(const struct cache_entry *entry, struct cache_selection *out)
{
    *out = (struct cache_selection){.status = entry->status, .bytes = entry->body->bytes};
    return true;
}

/* One range of what is held. */
static bool
select_range(const struct cache_entry *entry, const struct http_range *range,
             struct cache_selection *out)
{
    const struct cache__part_of *part_of = cache__entry_part_of(entry);
    uint64_t held_first = part_of ? part_of->piece.first : 0;
    uint64_t held = entry->body->bytes;
    uint64_t total = part_of ? part_of->piece.total : held;
    uint64_t bytes = range->bytes;
    if (range->first < held_first || range->first - held_first >= held)
        return false;
    uint64_t at = range->first - held_first;
    if (bytes > held - at) {
        /* A member that told of a piece up to the end and sent less of it gave what it has: that is
         * all there is to give (RFC 9110 section 15.3.7: a part of what was asked for). */
        bool told_all =
            part_of && part_of->piece.last == total - 1 && total != CACHE_LENGTH_UNKNOWN;
        if (!told_all)
            return false;
        bytes = held - at;
    }
    *out = (struct cache_selection){206, at, bytes, range->first, total};
    return true;
}

/* "bytes=-5": so many from the end. */
static bool
is_suffix(struct fr_view range)
{
    return fr_view_istarts(range, FR_VIEW("bytes=-")) && !memchr(range.ptr, ',', range.len);
}

/* What answered a request for the last bytes ends where the representation ends (RFC 9110 section
 * 14.1.2), even where the member's Content-Range counts more than it sent: so the last ones of them
 * are there. */
static bool
select_suffix(const struct cache_entry *entry, const struct http_range *range,
              struct cache_selection *out)
{
    const struct cache__part_of *part_of = cache__entry_part_of(entry);
    uint64_t total = part_of->piece.total, held = entry->body->bytes;
    if (total == CACHE_LENGTH_UNKNOWN || !is_suffix(part_of->range) ||
        part_of->piece.last != total - 1 || range->bytes > held)
        return false;
    *out = (struct cache_selection){206, held - range->bytes, range->bytes, range->first, total};
    return true;
}

/* Several ranges, a unit that is not known, or what is malformed: all of it, where it is there. */
static bool
select_by_range(const struct cache_entry *entry, struct fr_view value, struct cache_selection *out)
{
    struct http_range ranges[HTTP_RANGES_MAX];
    size_t count = 0;
    const struct cache__part_of *part_of = cache__entry_part_of(entry);
    uint64_t total = part_of ? part_of->piece.total : entry->body->bytes;
    /* Parts that were put together answered no one range. */
    if (part_of && part_of->range.len > 0 && fr_view_eq(value, part_of->range)) {
        *out = (struct cache_selection){206, 0, entry->body->bytes, part_of->piece.first, total};
        return true;
    }
    switch (http_range_parse(value, total, HTTP_RANGES_MAX, ranges, &count)) {
    case HTTP_RANGE_PARTS:
        if (count == 1)
            return (part_of && is_suffix(value) && select_suffix(entry, &ranges[0], out)) ||
                   select_range(entry, &ranges[0], out);
        break;
    case HTTP_RANGE_REFUSED:
        if (total == CACHE_LENGTH_UNKNOWN)
            return false;
        *out = (struct cache_selection){.status = 416, .total = total};
        return true;
    case HTTP_RANGE_WHOLE:
        break;
    }
    return !part_of && select_whole(entry, out);
}

bool
cache_entry_rest(const struct cache_entry *entry, uint64_t *out_first, struct fr_view *out_etag)
{
    const struct cache__part_of *part_of = cache__entry_part_of(entry);
    struct fr_view etag = cache__entry_etag(entry);
    bool strong = etag.len > 0 && etag.ptr[0] == '"';
    /* What is on disk alone is not put together with anything. */
    if (!part_of || entry->body->far || entry->body->bytes > CACHE__JOIN_BYTES_MAX ||
        part_of->piece.first != 0 || part_of->piece.total == CACHE_LENGTH_UNKNOWN ||
        part_of->piece.last + 1 >= part_of->piece.total)
        return false;
    /* Without a strong one nothing can be put together (RFC 9111 section 3.4). Of what has none at
     * all the rest is asked for nonetheless, once: a member that says so little is likely to answer
     * with all of it. */
    if (!strong && (etag.len > 0 || cache__entry_modified(entry).len > 0))
        return false;
    *out_first = part_of->piece.last + 1;
    *out_etag = etag;
    return true;
}

bool
cache_entry_select(const struct cache_entry *entry, const struct http_head *request, int64_t now_us,
                   struct cache_selection *out)
{
    const uint64_t selecting =
        HTTP_SET(IF_NONE_MATCH) | HTTP_SET(IF_MODIFIED_SINCE) | HTTP_SET(RANGE);
    if (!http_head_has(request, selecting)) /* as most: it asks for what there is */
        return !entry->has_part_of && select_whole(entry, out);
    if (cache_entry_not_modified(entry, request)) {
        *out = (struct cache_selection){.status = 304};
        return true;
    }
    const struct http_field *field = http_head_find(request, HTTP_FIELD_RANGE);
    /* RFC 9110 section 14.2: of a GET for what is there, and once. */
    bool ranged = field && !http_head_next(request, field) && request->method == HTTP_GET &&
                  (entry->status == 200 || entry->has_part_of);
    if (ranged && if_range_holds(entry, request, now_us))
        return select_by_range(entry, field->value, out);
    return !entry->has_part_of && select_whole(entry, out);
}
